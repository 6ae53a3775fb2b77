"""The Model Context Protocol: other programs' tools here, and our search and chat in theirs."""
