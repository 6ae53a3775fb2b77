"""What a person approved of a server's tools, and whether it still is what the server offers.

An offer is all that a server says of a tool: its name, its description, its arguments' schema and
what it claims of itself. It comes from the server, and is data. Knows neither how offers come here
nor where approvals are kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from difflib import unified_diff
from enum import StrEnum
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from pocketlm.assistant.visible import visible
from pocketlm.errors import Error

#: Most characters of an offer as JSON: a person is to read all of it.
MOST_CHARACTERS = 1 << 14


class Offer(BaseModel):
    """A tool as a server describes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    description: str = ""
    parameters: dict[str, Any] = Field(default_factory=dict)
    #: What the server claims: "readOnlyHint", "title", …
    claims: dict[str, Any] = Field(default_factory=dict)

    def written(self) -> str:
        """Everything that the offer says, as JSON.

        Raises Error for what JSON cannot write, or what is longer than a person would read.
        """
        try:
            written = json.dumps(self.model_dump(), sort_keys=True)
        except (ValueError, RecursionError):
            raise Error("its description is no sound JSON") from None
        if len(written) > MOST_CHARACTERS:
            raise Error(
                f"its description has {len(written):,} characters; {MOST_CHARACTERS:,} may be"
            )
        return written

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what is `written`, in hexadecimal digits. Raises Error as that does."""
        return hashlib.sha256(self.written().encode()).hexdigest()

    @property
    def claims_to_read_only(self) -> bool:
        """Whether the server says that the tool changes nothing. Nobody has checked that."""
        return self.claims.get("readOnlyHint") is True

    def lines(self) -> list[str]:
        """All of it, for a person to read: no character is hidden and nothing is left out."""
        described = [" ".join(line.split()) for line in visible(self.description).split("\n")]
        found = [line for line in described if line] or ["(no description)"]
        needed = self.parameters.get("required", ())
        for name, schema in _properties(self.parameters).items():
            is_needed = isinstance(needed, list) and name in needed
            found.append(f"{visible(name)}{'' if is_needed else '?'}: {_json(schema)}")
        others = {k: v for k, v in self.parameters.items() if k not in ("properties", "required")}
        if others != {"type": "object"}:
            found.append(f"arguments: {_json(others)}")
        if self.claims:
            found.append(f"claims: {_json(self.claims)}")
        return found


class State(StrEnum):
    """What a person has said of an offer."""

    APPROVED = "approved"
    #: Nothing yet.
    NEW = "new"
    #: They approved one of that name that was described otherwise.
    CHANGED = "changed"


def state(offer: Offer, approved: Mapping[str, Offer]) -> State:
    """Whether an offer is as it was approved. Raises Error as `Offer.digest`."""
    digest = offer.digest
    before = approved.get(offer.name)
    if before is None:
        return State.NEW
    return State.APPROVED if before.digest == digest else State.CHANGED


def difference(before: Offer, after: Offer) -> list[str]:
    """What was approved and what is offered now: lines that begin with "-" and "+"."""
    compared = unified_diff(before.lines(), after.lines(), lineterm="", n=0)
    lines = [line for line in compared if line[:3] not in ("---", "+++") and line[:2] != "@@"]
    return lines or ["+ (nothing but blanks)"]


def _properties(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    found = parameters.get("properties")
    return found if isinstance(found, dict) else {}


def _json(value: object) -> str:
    return visible(json.dumps(value, ensure_ascii=False))
