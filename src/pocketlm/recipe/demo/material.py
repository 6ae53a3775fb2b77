"""From the machine's own text to documents: collected, split, built raw and filtered.

It writes recipes and runs them as `pocketlm data build` does; each can be run by hand. What is
done is not done again. It knows documents; it knows no tokens and no arms' sizes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from pocketlm.formats.output import new_file, new_folder
from pocketlm.recipe.data import recipe, spool
from pocketlm.recipe.data.build import build
from pocketlm.recipe.data.classifier import About, Classifier, fit
from pocketlm.recipe.data.label import read_labels
from pocketlm.recipe.data.plan import DOCUMENTS
from pocketlm.recipe.data.report import write as write_report
from pocketlm.recipe.data.tallies import Tallies, read_tallies
from pocketlm.recipe.demo import corpus, programs
from pocketlm.recipe.demo.configuration import Demonstration
from pocketlm.recipe.demo.layout import Layout
from pocketlm.recipe.train.tell import Tell

#: Builds, and the part of the split that each reads.
BUILDS = {
    "raw": "training",
    "filtered": "training",
    "held-back-raw": "held-back",
    "held-back-filtered": "held-back",
}
_HERE = Path(__file__).parent
#: The shipped labels, and with how many points a document is worth learning from.
_LABELS, _SCORE = _HERE / "labels.jsonl", 2
#: Dollars a core and hour, for the builds' reports.
_PRICE = 0.04


def prepare(setting: Demonstration, layout: Layout, workers: int, tell: Tell) -> None:
    """Make all documents. Raises what collecting and building raise."""
    if not layout.collected.exists():
        megabytes, seed = setting.corpus.megabytes, setting.corpus.seed
        corpus.collect(layout.collected, megabytes=megabytes, seed=seed, tell=tell)
    if not layout.split.exists():
        tell("holding back one document of twenty")
        with new_folder(layout.split) as folder:
            _split(layout.collected, folder)
    if not layout.synthetic.exists():
        tell("writing synthetic text")
        programs.write(
            layout.synthetic, megabytes=setting.synthetic.megabytes, seed=setting.synthetic.seed
        )
    if not layout.classifier.exists():
        tell("fitting the quality classifier")
        fit(read_labels(_LABELS), _SCORE, "embeddings").save(layout.classifier)
    for name, part in BUILDS.items():
        _build(layout, name, layout.split / part, workers, tell)


def _build(layout: Layout, name: str, source: Path, workers: int, tell: Tell) -> None:
    _write_recipe(layout, name, source)
    out = layout.build(name)
    out.parent.mkdir(exist_ok=True)
    made = recipe.read(layout.recipe(name))
    build(made, out, "local", workers, lambda text: tell(f"{name}: {text}"))
    write_report(read_tallies(out), report_of(layout, name), _PRICE)


def report_of(layout: Layout, build: str) -> Path:
    """The page that `pocketlm data report` makes of a build."""
    return layout.build(build) / "report.html"


def tallies_of(layout: Layout, build: str) -> Tallies:
    """What a build counted."""
    return read_tallies(layout.build(build))


def classifier_of(layout: Layout) -> About:
    """What the quality classifier is worth."""
    return Classifier.load(layout.classifier).about


def texts_of(layout: Layout, build: str) -> Iterator[tuple[str, str]]:
    """The documents that a build left: identity and text."""
    for document in spool.documents(layout.build(build) / DOCUMENTS):
        yield document.id, document.text


def _split(collected: Path, folder: Path) -> None:
    """Each file in two, line by line, as each document's identity says."""
    parts = {held: folder / name for held, name in ((False, "training"), (True, "held-back"))}
    for part in parts.values():
        part.mkdir()
    for path in sorted(collected.rglob("*.jsonl")):
        with (
            path.open("rb") as file,
            (parts[False] / path.name).open("wb") as training,
            (parts[True] / path.name).open("wb") as held_back,
        ):
            for line in file:
                held = corpus.held_back(json.loads(line)["id"])
                (held_back if held else training).write(line)


def _write_recipe(layout: Layout, name: str, source: Path) -> None:
    """The recipe of a build: the shipped one, of which raw builds extract text and no more."""
    values: dict[str, Any] = yaml.safe_load((_HERE / "filtered.yaml").read_text("utf-8"))
    values["name"] = name
    values["sources"] = [{"kind": "jsonl", "path": str(source.relative_to(layout.out))}]
    if name.endswith("raw"):
        values["stages"] = [stage for stage in values["stages"] if stage["stage"] == "extract"]
    for stage in values["stages"]:
        if stage["stage"] == "quality":
            stage["classifier"] = str(layout.classifier.relative_to(layout.out))
    with new_file(layout.recipe(name)) as file:
        file.write(yaml.safe_dump(values, sort_keys=False).encode())
