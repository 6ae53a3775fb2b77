"""Prompts, one a file; the number in the name goes up when the words change."""

from __future__ import annotations

import hashlib
from importlib.resources import files


def prompt(name: str) -> str:
    """The text of a prompt, with its fields in braces."""
    return files(__name__).joinpath(f"{name}.txt").read_text("utf-8")


def version(name: str) -> str:
    """Its name and a hash of its words: what an answer was an answer to."""
    return f"{name} {hashlib.sha256(prompt(name).encode()).hexdigest()[:12]}"
