"""A program's weights in the groups that a plan gives types to, and each one's share of the loss.

It knows programs and plans. It does not know files, nor look at weights.
"""

from collections.abc import Mapping, Sequence

from pocketlm.models.program import Program, Weight
from pocketlm.quantize import decoder, plan
from pocketlm.quantize.decoder import ROLES
from pocketlm.quantize.plan import Choice, Group


def is_tied(program: Program) -> bool:
    """Whether the head reads the embedding's rows."""
    return decoder.head(program).weights[0].name == decoder.embedding(program).name


def prior(program: Program) -> dict[str, float]:
    """The share that each group has in the loss, by what was measured on another model."""
    shares = dict(plan.SHARES)
    if is_tied(program):
        shares["embedding"] = shares.pop("head")
    total = sum(shares.values())
    found = {role: share / total for role, share in shares.items() if role not in ROLES}
    for index in range(program.layers):
        found |= {f"layer {index} {role}": shares[role] / total / program.layers for role in ROLES}
    return found


def groups(program: Program, shares: Mapping[str, float]) -> list[Group]:
    """The embedding, each layer's roles, and the head, if it is not the embedding."""
    queries, keys = program.heads * program.head_dim, program.kv_heads * program.head_dim
    found = [_group("embedding", decoder.embedding(program), shares)]
    for index, parts in enumerate(decoder.layers(program)):
        gate, down = parts.gate_up.weights[0], parts.down.weights[0]
        shapes = {
            "q": (queries, down.rows),
            "k": (keys, down.rows),
            "v": (keys, down.rows),
            "o": (down.rows, queries),
            "gate": (gate.rows, gate.columns),
            "up": (gate.rows, gate.columns),
            "down": (down.rows, down.columns),
        }
        for role, (rows, columns) in shapes.items():
            name = f"layer {index} {role}"
            found.append(Group(name, role, rows, columns, shares[name]))
    if not is_tied(program):
        found.append(_group("head", decoder.head(program).weights[0], shares))
    return found


def within_fused(
    parts: Sequence[Group], fused: Sequence[tuple[str, ...]], budget: int
) -> list[Choice]:
    """As `plan.within`, of llama.cpp's types: roles that it has in one tensor have one type."""
    whole = {role: "+".join(roles) for roles in fused for role in roles}
    together: dict[str, list[Group]] = {}
    for part in parts:
        name = part.name.removesuffix(part.role) + whole.get(part.role, part.role)
        together.setdefault(name, []).append(part)
    joined = [
        Group(
            name,
            several[0].role,
            sum(part.rows for part in several),
            several[0].columns,
            sum(part.share for part in several),
        )
        for name, several in together.items()
    ]
    types = {c.group.name: c.type for c in plan.within(joined, budget, plan.STANDARD)}
    return [Choice(part, types[name]) for name, several in together.items() for part in several]


def _group(role: str, weight: Weight, shares: Mapping[str, float]) -> Group:
    return Group(role, role, weight.rows, weight.columns, shares[role])
