"""Engines beside each other: the same work, the same file, each in a process of its own."""
