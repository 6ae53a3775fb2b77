"""Lessons of arithmetic."""

from __future__ import annotations

import random

from pocketlm.recipe.demo.programs.lesson import Lesson


def addition(chance: random.Random) -> list[str]:
    """Adding in columns."""
    a, b = chance.randint(11, 989), chance.randint(11, 989)
    ones = a % 10 + b % 10
    carry = (
        f"The ones give {a % 10} + {b % 10} = {ones}, so we write {ones % 10} and carry 1."
        if ones > 9
        else f"The ones give {a % 10} + {b % 10} = {ones}, and there is nothing to carry."
    )
    return [f"How much is {a} plus {b}? Begin with the ones.", carry, f"The sum is {a + b}."]


LESSONS: tuple[Lesson, ...] = (addition,)
