"""The prompt of every task with options, as appendix A of the Phi-3 report prints it.

    Question:
    Where was the coin?
    Options:
    A. In the cup
    B. In the hat
    Answer:

It knows items (see `items`) alone. The tasks' files name these functions, and no template, which
the harness would compile anew for each example of each item.
"""

from __future__ import annotations

from string import ascii_uppercase

from pocketlm.evaluate.harness.items import Item


def prompt(item: Item) -> str:
    """What stands before the answer."""
    lines = [
        f"{letter}. {text}" for letter, text in zip(letters(item), item["options"], strict=True)
    ]
    return "\n".join(["Question:", item["question"], "Options:", *lines, "Answer:"])


def letters(item: Item) -> list[str]:
    """What may be answered: a letter for each option."""
    return list(ascii_uppercase[: len(item["options"])])
