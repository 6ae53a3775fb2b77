"""Where things lie in the folder of a demonstration. It knows names alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

#: The arms, in the order in which each is compared with those before it.
ARMS = ("raw", "filtered", "mixed")
#: What people read for them.
TITLES = {"raw": "raw", "filtered": "filtered", "mixed": "filtered + synthetic"}
#: Sets of held-back text, by the arm whose way of choosing text chose them.
SETS = {"textbook": "filtered", "raw": "raw"}


@dataclass(frozen=True)
class Layout:
    """The folder, and the places in it."""

    out: Path

    @property
    def setting(self) -> Path:
        """What the demonstration was begun with."""
        return self.out / "setting.json"

    @property
    def plan(self) -> Path:
        """How many steps a run takes, decided once."""
        return self.out / "plan.json"

    @property
    def collected(self) -> Path:
        """The corpus, as it was collected."""
        return self.out / "corpus"

    @property
    def split(self) -> Path:
        """The corpus in two: `training` and `held-back`."""
        return self.out / "split"

    @property
    def synthetic(self) -> Path:
        """What programs wrote."""
        return self.out / "synthetic.jsonl"

    @property
    def classifier(self) -> Path:
        """The quality classifier."""
        return self.out / "classifier"

    def recipe(self, build: str) -> Path:
        """The recipe of a build, which `pocketlm data build` reads."""
        return self.out / f"{build}.yaml"

    def build(self, build: str) -> Path:
        """The folder of a build: `raw`, `filtered`, `held-back-raw`, `held-back-filtered`."""
        return self.out / "builds" / build

    @property
    def tokenizer(self) -> Path:
        """The tokenizer that all share."""
        return self.out / "tokenizer"

    def documents(self, arm: str) -> Path:
        """The documents that an arm reads, to look at."""
        return self.out / "arms" / f"{arm}.jsonl"

    def shards(self, arm: str) -> Path:
        """The same as token shards."""
        return self.out / "arms" / arm

    def held_back(self, name: str) -> Path:
        """Held-back documents of a set that no arm's text overlaps with."""
        return self.out / "held-back" / f"{name}.jsonl"

    def held_back_shards(self, name: str) -> Path:
        """The same as token shards, for the curves of training."""
        return self.out / "held-back" / name

    def items(self, kind: str) -> Path:
        """The items of a measure: `choices`, `pairs`."""
        return self.out / "items" / f"{kind}.jsonl"

    def run_file(self, arm: str, seed: int) -> Path:
        """The configuration of a run, which `pocketlm train pretrain` reads."""
        return self.out / "runs" / f"{arm}-{seed}.yaml"

    def run(self, arm: str, seed: int) -> Path:
        """The folder of a run."""
        return self.out / "runs" / f"{arm}-{seed}"

    def judged(self, arm: str, seed: int) -> Path:
        """What a finished model scored, item by item."""
        return self.out / "judged" / f"{arm}-{seed}.npz"
