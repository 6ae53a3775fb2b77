"""Tools of MCP servers as tools of ours: those that a person approved, as they approved them.

A tool that is new or was changed since is withheld, and so is one that cannot be called soundly;
each is told of with the reason. What a server writes reaches a model as a tool's description and as
a tool's result, and nowhere else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

from pocketlm.assistant.mcp.client import Session
from pocketlm.assistant.mcp.pins import Offer, State, state
from pocketlm.assistant.mcp.servers import Server
from pocketlm.assistant.mcp.visible import visible
from pocketlm.assistant.tools.skill import Skill
from pocketlm.chat.tools import Tool, Toolbox
from pocketlm.engine.constraint import Compiler
from pocketlm.errors import Error

#: What of a schema is only read, and never written by a model.
_WORDS = ("title", "description", "$comment")


def skills(session: Session, server: Server, tell: Callable[[str], None]) -> list[Skill]:
    """The approved tools of a server, named NAME.tool. `tell` hears why others are left out.

    They have effects, so that a person is asked before each call, unless the server claims that a
    tool only reads and a person said that its word is to be taken.
    """
    found: list[Skill] = []
    for offer, reason in offered(session, server):
        if reason is not None:
            tell(f"{session.name}.{visible(offer.name)[:80]} is left out: {reason}")
            continue
        effects = not (server.trusted and offer.claims_to_read_only)
        found.append(
            Skill(tool(session.name, offer), partial(_run, session, server, offer.name), effects)
        )
    return found


def offered(session: Session, server: Server) -> list[tuple[Offer, str | None]]:
    """All tools of a server, each with the reason why it is not to be used, if there is one."""
    offers = session.offers()
    times = Counter(offer.name for offer in offers)
    found: list[tuple[Offer, str | None]] = []
    for offer in offers:
        reason = None
        if times[offer.name] > 1:
            reason = "the server has several tools of that name"
        else:
            try:
                tool(session.name, offer)
                reason = _withheld(session.name, state(offer, server.approved))
            except Error as error:
                reason = str(error)
        found.append((offer, reason))
    return found


def tool(name: str, offer: Offer) -> Tool:
    """A tool as a model is told of it. Raises Error for one that no model could call soundly."""
    offer.digest  # noqa: B018 -- raises for what is too long
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
    now = [offer for offer in session.offers() if offer.name == name]
    if len(now) != 1:
        raise Error(f"{session.name}.{name} is not called: the server does not offer it any more")
    reason = _withheld(session.name, state(now[0], server.approved))
    if reason is not None:
        raise Error(f"{session.name}.{name} is not called: {reason}")
    return session.call(name, arguments)


def _withheld(name: str, found: State) -> str | None:
    """Why a tool of the server `name` in this state is not used."""
    if found is State.APPROVED:
        return None
    what = "it is new" if found is State.NEW else "its description changed since it was approved"
    return f"{what}; see `pocketlm mcp approve {name}`"


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
