"""Tools that others made, by name: those of configured MCP servers, and those of plugins.

Joins the two; knows neither how a server is spoken to nor how a plugin is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from pocketlm.assistant import plugins
from pocketlm.assistant.mcp import check_sdk
from pocketlm.assistant.tools.skill import Skill
from pocketlm.errors import Error, ParameterError


def names() -> list[str]:
    """What `open_skills` knows: the configured servers, and the installed plugins."""
    from pocketlm.assistant.mcp.servers import Servers

    return sorted({*Servers().all(), *plugins.plugins()})


@contextmanager
def open_skills(wanted: Sequence[str] | None, tell: Callable[[str], None]) -> Iterator[list[Skill]]:
    """The tools of these servers and plugins, to be called as long as the block lasts.

    With None it is those of all that there are, and what fails is left out; one that is named and
    fails is an Error. `tell` hears what is left out, and why: a server that cannot be reached, a
    tool that a person has not approved as it is now.

    Raises ParameterError for a name that nothing has.
    """
    from pocketlm.assistant.mcp.servers import Servers
    from pocketlm.assistant.tools.builtin import ALL, NAMES

    servers = Servers().all()
    installed = plugins.plugins()
    known = sorted({*servers, *installed})
    for name in wanted or ():
        if name not in known:
            raise ParameterError(
                f"there is no MCP server or plugin {name[:80]!r}; there is: "
                + (", ".join(known) or "none; see `pocketlm mcp add --help`")
            )
    with ExitStack() as stack:
        found: list[Skill] = []
        portal = None
        for name in known if wanted is None else dict.fromkeys(wanted):
            try:
                entries = installed.get(name, [])
                if len(entries) + (name in servers) + (name in NAMES or name == ALL) > 1:
                    raise Error(
                        f"several servers, plugins or tools have the name {name}: remove one"
                    )
                if entries:
                    found += plugins.skills(entries[0])
                    continue
                check_sdk()
                from pocketlm.assistant.mcp.client import Session, event_loop
                from pocketlm.assistant.mcp.skills import skills

                portal = portal or stack.enter_context(event_loop())
                session = stack.enter_context(Session(name, servers[name], portal))
                found += skills(session, servers[name], tell)
            except Error as error:
                if wanted is not None:
                    raise
                tell(str(error))
        yield found
