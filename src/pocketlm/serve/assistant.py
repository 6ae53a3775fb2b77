"""What a server does beside writing, where it was told to: search for the page, and run tools.

Knows the assistant's sources, readers and skills; not who asks, nor how an answer is sent.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock

from pocketlm.api import Model
from pocketlm.assistant.asking import Answer, Asker
from pocketlm.assistant.citing import as_markdown, escaped
from pocketlm.assistant.index.ranking import Ranker
from pocketlm.assistant.passage import Source
from pocketlm.assistant.reading import choice
from pocketlm.assistant.sources import open_sources
from pocketlm.assistant.tools.builtin import open_tools
from pocketlm.assistant.tools.skill import Skill
from pocketlm.errors import ParameterError
from pocketlm.serve.aside import Tell, Threads
from pocketlm.serve.settings import Settings


@dataclass(frozen=True)
class Found:
    """An answer from sources: `text` is its Markdown, `whole` the same with the sources below."""

    answer: Answer
    text: str
    whole: str


class Searcher:
    """Answers questions from sources. Its methods may be called from several threads."""

    def __init__(
        self, sources: Sequence[Source], unkept: Sequence[Source], ranker: Ranker, home: Path
    ) -> None:
        """`unkept` are the same sources, which keep nothing of what they are asked."""
        self.names = [source.name for source in sources]
        self._sources = sources
        self._unkept = unkept
        self._ranker = ranker
        self._home = home
        self._measuring = Lock()

    def find(self, model: Model, question: str, tell: Tell[str], *, private: bool) -> Found:
        """The answer; `tell` hears what is done. Of what is `private` nothing is kept on disk.

        Raises Error where no source could be asked.
        """
        with self._measuring:  # once, however many ask
            freely = choice.measured(model, self._home, tell).freely
        sources = self._unkept if private else self._sources
        reader = _private(model) if private else model
        answer = Asker(reader, sources, self._ranker, freely=freely).ask(question, tell)
        # A phrase of a passage is words, and what a model writes is Markdown.
        text = answer.text if freely else escaped(answer.text)
        return Found(answer, text, as_markdown(answer, text))


class Assistant:
    """What the server has been told to offer; by default nothing."""

    def __init__(
        self, threads: Threads, searcher: Searcher | None = None, skills: Sequence[Skill] = ()
    ) -> None:
        """`skills` are those that may run without anybody being asked."""
        self.threads = threads
        self.searcher = searcher
        self.skills = skills


@contextmanager
def open_assistant(
    settings: Settings, home: Path, tell: Callable[[str], None]
) -> Iterator[Assistant]:
    """What the settings ask for, as long as the block lasts; `tell` hears what is left out.

    Raises Error for a name that there is not, and where what is named cannot be had.
    """
    threads = Threads(settings.parallel, settings.queue)
    with _searcher(settings, home) as searcher, _skills(settings, tell) as skills:
        yield Assistant(threads, searcher, skills)


@contextmanager
def _searcher(settings: Settings, home: Path) -> Iterator[Searcher | None]:
    if not settings.search:
        yield None
        return
    ranker = Ranker.installed()
    with open_sources(settings.search, home, ranker, searxng=settings.searxng) as sources:
        if "web" not in settings.search:
            yield Searcher(sources, sources, ranker, home)
            return
        from pocketlm.assistant.web.web import Web

        with Web(settings.searxng, home=home, keep=False) as web:
            unkept = [web if source.name == web.name else source for source in sources]
            yield Searcher(sources, unkept, ranker, home)


@contextmanager
def _skills(settings: Settings, tell: Callable[[str], None]) -> Iterator[Sequence[Skill]]:
    if not settings.tools:
        yield []
        return
    with open_tools(
        settings.tools, folders=settings.folders, searxng=settings.searxng, tell=tell
    ) as opened:
        yield _permitted(opened, settings.allowed, tell)


def _permitted(
    skills: Sequence[Skill], allowed: Collection[str], tell: Callable[[str], None]
) -> list[Skill]:
    """Those that may run though nobody is there to be asked."""
    names = {skill.tool.name for skill in skills}
    for name in sorted({*allowed} - names):
        raise ParameterError(f"--allow names {name!r}; these tools are {', '.join(sorted(names))}")
    found = [skill for skill in skills if not skill.effects or skill.tool.name in allowed]
    for name in sorted(names - {skill.tool.name for skill in found}):
        tell(f"{name} is left out: it has effects, and nobody is asked here; --allow {name}")
    return found


def chosen(skills: Sequence[Skill], wanted: bool | Collection[str]) -> list[Skill]:
    """The skills of these names; True is all. Raises ParameterError for others."""
    if isinstance(wanted, bool):
        return list(skills) if wanted else []
    names = {skill.tool.name for skill in skills}
    for name in wanted:
        if name not in names:
            raise ParameterError(
                f"this server has no tool {name[:80]!r}; it has "
                + (", ".join(sorted(names)) or "none (pocketlm serve --tools)")
            )
    return [skill for skill in skills if skill.tool.name in wanted]


def _private(model: Model) -> Model:
    """The same model, of whose texts the prefix cache keeps nothing on disk."""
    found = copy.copy(model)
    # An instance's own attribute goes before its class's method; mypy sees a method.
    found.answer = partial(model.answer, private=True)  # type: ignore[method-assign]
    return found
