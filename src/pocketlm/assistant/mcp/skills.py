"""Tools of MCP servers as tools of ours: those that a person approved, as they approved them.

A tool that is new or was changed since is withheld, and so is one that cannot be called soundly;
each is told of with the reason. What a server writes reaches a model as a tool's description and as
a tool's result, and nowhere else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from pocketlm.assistant.mcp.client import Session
from pocketlm.assistant.mcp.pins import Offer, State, state
from pocketlm.assistant.mcp.servers import Server
from pocketlm.assistant.tools.skill import Skill
from pocketlm.assistant.visible import visible
from pocketlm.chat.tools import Tool, Toolbox
from pocketlm.engine.constraint import Compiler
from pocketlm.errors import Error

#: What of a schema is only read, and never written by a model.
_WORDS = ("title", "description", "$comment")


@dataclass(frozen=True)
class Listed:
    """A tool of a server's list: what a person has said of it, and why it could never be called."""

    offer: Offer
    state: State
    fault: str | None = None

    def withheld(self, server: str) -> str | None:
        """Why this tool of the server of that name is not used, or None."""
        if self.fault is not None or self.state is State.APPROVED:
            return self.fault
        new = self.state is State.NEW
        what = "it is new" if new else "its description changed since it was approved"
        return f"{what}; see `pocketlm mcp approve {server}`"


def skills(session: Session, server: Server, tell: Callable[[str], None]) -> list[Skill]:
    """The approved tools of a server, named NAME.tool. `tell` hears why others are left out.

    They have effects, so that a person is asked before each call, unless the server claims that a
    tool only reads and a person said that its word is to be taken.
    """
    found: list[Skill] = []
    for each in listed(session, server):
        offer = each.offer
        reason = each.withheld(session.name)
        if reason is not None:
            tell(f"{session.name}.{visible(offer.name[:80])} is left out: {reason}")
            continue
        effects = not (server.trusted and offer.claims_to_read_only)
        run = partial(_run, session, server, offer.name)
        found.append(Skill(tool(session.name, offer), run, effects))
    return found


def listed(session: Session, server: Server) -> list[Listed]:
    """All tools that a server offers now."""
    offers = session.offers()
    times = Counter(offer.name for offer in offers)
    return [_listed(session.name, server, offer, times[offer.name]) for offer in offers]


def _listed(name: str, server: Server, offer: Offer, times: int) -> Listed:
    if times > 1:
        return Listed(offer, State.NEW, f"the server has {times} tools of that name")
    try:
        tool(name, offer)
        return Listed(offer, state(offer, server.approved))
    except Error as error:
        return Listed(offer, State.NEW, str(error))


def tool(name: str, offer: Offer) -> Tool:
    """A tool as a model is told of it. Raises Error for one that no model could call soundly."""
    offer.written()  # raises for what is too long
    if not offer.name:
        raise Error("it has no name")
    if offer.parameters.get("type") != "object":
        raise Error("its arguments are no object")
    parameters = {key: _cleaned(key, value) for key, value in offer.parameters.items()}
    made = Tool(f"{name}.{offer.name}", visible(offer.description), parameters)
    try:
        _compiler().matcher(Toolbox([made]).constraint(), frozenset())
    except Error as error:
        if len(made.name) > 64:
            raise Error("its name is too long: add the server under a shorter one") from None
        raise Error(f"it cannot be called: {error}") from None
    return made


def _run(session: Session, server: Server, name: str, arguments: Mapping[str, Any]) -> str:
    """Call a tool, if the server still describes it as it was approved."""
    now = [each for each in listed(session, server) if each.offer.name == name]
    reason = now[0].withheld(session.name) if now else "the server does not offer it any more"
    if reason is not None:
        raise Error(f"{session.name}.{name} is not called: {reason}")
    return session.call(name, arguments)


def _cleaned(key: str, value: object) -> object:
    """A part of a schema without hidden characters. Raises Error where they mean something."""
    match value:
        case dict():
            return {_plain(k): _cleaned(k, v) for k, v in value.items()}
        case list():
            return [_cleaned("", each) for each in value]
        case str():
            return visible(value) if key in _WORDS else _plain(value)
    return value


def _plain(text: str) -> str:
    if visible(text) != text:
        raise Error(f"its arguments' schema has hidden characters: {visible(text)[:80]}")
    return text


@cache
def _compiler() -> Compiler:
    """Tells whether arguments can be constrained, whatever a model's vocabulary is."""
    return Compiler([bytes([each]) for each in range(256)], lambda text: [*text.encode()], 256)
