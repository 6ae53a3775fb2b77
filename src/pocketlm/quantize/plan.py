"""Which matrix takes how many bits, so that a model fits a budget with the least expected loss.

It knows sizes, what each type loses of normally distributed weights, and how much the parts of a
model mind. It does not look at weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pocketlm.errors import ParameterError
from pocketlm.formats.checkpoint import ELEMENT_TYPES, PANEL_BITS, PANEL_ROWS, panel_bytes

#: What a plan for a budget is made of. The last is for budgets with room to spare.
MIXED = ("P3", "P4", "P5", "P6", "Q8_0")
#: The same of types that llama.cpp opens. (For its bytes, Q4_K gains less than Q5_K.)
STANDARD = ("Q3_K", "IQ4_XS", "Q5_K", "Q6_K", "Q8_0")

#: Mean squared error of rounding a normal distribution of variance 1, by type
#: (`benchmarks/quantisation.py --types`).
ERRORS = {
    "P3": 0.0262,
    "P4": 0.00615,
    "P5": 0.00185,
    "P6": 0.00047,
    "Q3_K": 0.0206,
    "Q4_0": 0.00653,
    "Q4_1": 0.00472,
    "Q4_K": 0.00478,
    "Q5_0": 0.0016,
    "Q5_K": 0.00115,
    "Q6_K": 0.00027,
    "Q8_0": 0.000023,
    "IQ4_NL": 0.00536,
    "IQ4_XS": 0.00542,
    "F16": 0.00000004,
}

#: How much of a model's loss comes from each role when all have one type, measured on SmolLM2-135M
#: by rounding one role at a time (`benchmarks/quantisation.py --roles`, 2026-11-24): what a plan
#: goes by where nothing was measured on the model at hand (`sensitivity`).
SHARES = {
    "q": 0.046,
    "k": 0.035,
    "v": 0.254,
    "o": 0.041,
    "gate": 0.061,
    "up": 0.095,
    "down": 0.215,
    "embedding": 0.017,
    "head": 0.235,
}

#: Where a row's length is no multiple of 256, a type of blocks of 32 takes the place of one of 256.
_NARROW = {"Q3_K": "IQ4_NL", "Q4_K": "IQ4_NL", "IQ4_XS": "IQ4_NL", "Q5_K": "Q5_0", "Q6_K": "Q8_0"}


@dataclass(frozen=True)
class Group:
    """Rows that take one type: a role's of one layer, the embedding's, the head's."""

    name: str
    role: str
    rows: int
    columns: int
    #: The part of the model's loss that is this group's when all have one type.
    share: float

    @property
    def weights(self) -> int:
        """How many there are."""
        return self.rows * self.columns


@dataclass(frozen=True)
class Choice:
    """A group and its type."""

    group: Group
    type: str

    @property
    def nbytes(self) -> int:
        """Bytes in the file."""
        return stored_bytes(self.type, self.group.rows, self.group.columns)

    @property
    def loss(self) -> float:
        """Expected loss, in parts of what the whole model loses in P4."""
        return self.group.share * ERRORS[self.type] / ERRORS["P4"]


def stored_bytes(type_: str, rows: int, columns: int) -> int:
    """Bytes of a matrix as a file holds it."""
    if type_ in PANEL_BITS:
        return -(-rows // PANEL_ROWS) * panel_bytes(type_, columns)
    block, nbytes = ELEMENT_TYPES[type_]
    return rows * (columns // block) * nbytes


def fitting(type_: str, columns: int) -> str:
    """`type_`, or what takes its place for rows of this length: narrower blocks, then float16."""
    if type_ not in PANEL_BITS and columns % ELEMENT_TYPES[type_][0]:
        type_ = _NARROW.get(type_, type_)
    return "F16" if columns % (32 if type_ in PANEL_BITS else ELEMENT_TYPES[type_][0]) else type_


def uniform(groups: Sequence[Group], type_: str) -> list[Choice]:
    """One type for all, but at least 6 bits for the head, as is usual."""
    six = "P6" if type_ in PANEL_BITS else "Q6_K"
    head = type_ if type_ == "Q8_0" else six
    return [Choice(g, fitting(head if g.role == "head" else type_, g.columns)) for g in groups]


def within(groups: Sequence[Group], budget: int, types: Sequence[str] = MIXED) -> list[Choice]:
    """The plan of at most `budget` bytes whose expected loss is least.

    From the fewest bits on, whatever gains the most for its bytes takes the next of `types`, until
    nothing fits. Raises ParameterError, naming the least that is possible.
    """
    ladders = [list(dict.fromkeys(fitting(t, g.columns) for t in types)) for g in groups]
    steps = [0] * len(groups)

    def choice(index: int, step: int) -> Choice:
        return Choice(groups[index], ladders[index][step])

    def gain(index: int) -> float:
        now, then = choice(index, steps[index]), choice(index, steps[index] + 1)
        return (now.loss - then.loss) / (then.nbytes - now.nbytes)

    left = budget - sum(choice(i, 0).nbytes for i in range(len(groups)))
    if left < 0:
        least = budget - left
        raise ParameterError(
            f"{budget:,} bytes are too few for the weights; the least possible is {least:,}"
        )
    open_ = set(range(len(groups)))
    while open_:
        best = max(open_, key=gain)
        cost = choice(best, steps[best] + 1).nbytes - choice(best, steps[best]).nbytes
        if cost > left:
            open_.discard(best)
            continue
        left -= cost
        steps[best] += 1
        if steps[best] + 1 == len(ladders[best]):
            open_.discard(best)
    return [choice(i, step) for i, step in enumerate(steps)]
