"""The Model Context Protocol: other programs' tools here, and our search and chat in theirs."""

from importlib.util import find_spec

from pocketlm.errors import Error


def check_sdk() -> None:
    """Raise Error where the package that speaks the protocol is not installed."""
    if find_spec("mcp") is None:
        raise Error("MCP needs the package mcp: pip install 'pocketlm[mcp]'")
