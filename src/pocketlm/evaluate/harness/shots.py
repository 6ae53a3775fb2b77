"""The solved examples before an item: which, and in what order.

They are the same for every item of a task (of a subject, for MMLU), so that their prompt is read
once. It knows the harness's samplers and tasks; it does not know what an example says.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from lm_eval.api.samplers import ContextSampler
from lm_eval.api.task import ConfigurableTask, Task

from pocketlm.errors import ParameterError

Item = Mapping[str, Any]


class Drawn(ContextSampler):  # type: ignore[misc]
    """Examples drawn once, by the seed alone, and shown before every item; never the item itself.

    The harness's own sampler draws others for each item, which also depend on how many came before.
    """

    _seed: int | None = 0

    def set_rnd(self, rnd: int | None) -> Drawn:
        """Draw by this seed from now on."""
        self._seed = rnd
        return self

    def sample(
        self, n: int, eval_doc: Item | None = None, df: object = None, **kwargs: object
    ) -> Sequence[Item]:
        """Give `n` examples, `eval_doc` not among them. Raises ParameterError where too few are."""
        # One more than is wanted, to stand in where the item itself was drawn.
        drawn = random.Random(self._seed).sample(self.df, min(n + 1, len(self.df)))
        examples = [item for item in drawn if item != eval_doc][:n]
        _enough(n, examples)
        return examples


class BySubject(ConfigurableTask):  # type: ignore[misc]
    """A task whose examples are the first of the item's own `subject`, in the order of the data."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Take the configuration that names this class."""
        super().__init__(config={key: config[key] for key in config if key != "class"})
        self._examples = defaultdict(list)
        for item in self.fewshot_docs():
            self._examples[item["subject"]].append(item)

    def fewshot_context(self, doc: Item, num_fewshot: int, **options: object) -> str:
        """Build the prompt of an item, as any task does, from examples of its subject."""
        examples = self._examples[doc["subject"]][:num_fewshot]
        _enough(num_fewshot, examples)
        self.sampler.replace_df(examples)
        return str(super().fewshot_context(doc, num_fewshot, **options))


def enough(task: Task) -> None:
    """Raise ParameterError where a task is to show more examples than there are.

    The harness would come to it at the first item, and break off with an assertion.
    """
    sampler, wanted = getattr(task, "sampler", None), task.config.num_fewshot or 0
    if sampler is not None:
        _enough(wanted, sampler.df, f"{task.task_name}: ")


def _enough(wanted: int, found: Sequence[Item], task: str = "") -> None:
    if len(found) < wanted:
        raise ParameterError(
            f"{task}{wanted} examples are to be shown before each item, and there are "
            f"{len(found)}; ask for fewer by --shots, or place more items in the split that "
            "examples come from"
        )
