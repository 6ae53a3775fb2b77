"""`--language`: which installed adapter answers, and when that changes.

It joins the store's adapters, the detector and a loaded model. Adapters are loaded when they are
first wanted, and belong to requests: the cache knows what was read with which.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketlm.chat.language import ENGLISH, spoken
from pocketlm.cli.output import Status
from pocketlm.errors import StoreError

if TYPE_CHECKING:
    from pocketlm.api import Adapter, Loras, Model
    from pocketlm.store.adapters import Installed

AUTO = "auto"
Wanted = Annotated[
    str | None,
    typer.Option(
        "--language",
        metavar="auto|CODE",
        help="Answer with the installed adapter of a language (de, …), or of each message's own.",
    ),
]


class Tongue:
    """The language that a conversation is in, and what is added to its model for it."""

    def __init__(self, model: "Model", name: str, wanted: str, home: Path, added: "Loras") -> None:
        """Look for adapters of the `model`, called `name`; those `added` are there in any case.

        Raises StoreError where there is none, and says how to get one.
        """
        from pocketlm.formats.identity import identity
        from pocketlm.store.adapters import Adapters

        self._model, self._auto, self._added = model, wanted == AUTO, added
        self._installed: dict[str, Installed] = Adapters(home).of(identity(model.checkpoint))
        there = bool(self._installed) if self._auto else wanted in (ENGLISH, *self._installed)
        if not there:
            raise StoreError(_none(name, wanted, sorted(self._installed)))
        self._loaded: dict[str, Adapter] = {}
        self.language = ENGLISH
        if self._auto:
            spoken("a word", self._installed)  # a package that is missing is told of now
        else:
            self._turn(wanted)

    def hear(self, text: str, *, quiet: bool = False) -> None:
        """Take up the language of a message, if it can be told; a line says so unless `quiet`."""
        if not self._auto:
            return
        heard = spoken(text, {ENGLISH, *self._installed})
        if heard is not None and heard != self.language:
            self._turn(heard)
            name = self._installed[heard].name if heard in self._installed else "no adapter"
            if not quiet:
                Status().note(f"language: {heard}, {name}")

    def _turn(self, language: str) -> None:
        if language not in self._loaded:
            mine = [(self._installed[language].path, 1.0)] if language in self._installed else []
            self._loaded[language] = self._model.adapter([*self._added, *mine])
        self.language = language
        self._model.engine.adapter = self._loaded[language]


def of(model: "Model", name: str, wanted: str | None, home: Path, added: "Loras") -> Tongue | None:
    """What `--language` asks for; None where it was not given."""
    return None if wanted is None else Tongue(model, name, wanted, home, added)


def _none(name: str, wanted: str, others: list[str]) -> str:
    """What to do where an adapter is missing."""
    code = "de" if wanted == AUTO else wanted
    what = "no adapter for a language" if wanted == AUTO else f"no adapter for {wanted}"
    have = f" (there is {', '.join(others)})" if others else ""
    return (
        f"{what} is installed for this model{have}; install one with `pocketlm adapter install"
        f" FOLDER --model {name} --language {code}`, or make one with `pocketlm train language"
        f" {code} --model {name} --data TEXTS --out FOLDER --then install`"
    )
