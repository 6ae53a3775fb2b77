"""Prompts with fields in braces, which seeds fill: those of the package, or a user's own file.

It knows files and braces. It does not know what the words ask for.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from pocketlm.errors import ParameterError
from pocketlm.recipe.data import prompts

_FIELD = re.compile(r"\{([a-z]+)\}")


class Template:
    """A prompt to be filled."""

    def __init__(self, name: str, own: Path | None, allowed: set[str], needed: set[str]) -> None:
        """The prompt `name` of the package, or the text of the file `own`.

        Raises ParameterError where the file cannot be read, names a field that is not `allowed`, or
        lacks one that is `needed`.
        """
        if own is None:
            self.text, self.version = prompts.prompt(name), prompts.version(name)
            return
        try:
            self.text = own.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ParameterError(f"{own}: cannot be read: {error}") from None
        digest = hashlib.sha256(self.text.encode()).hexdigest()
        self.version = f"{own.name} {digest[:12]}"
        fields = set(_FIELD.findall(self.text))
        if unknown := fields - allowed:
            known = ", ".join(f"{{{field}}}" for field in sorted(allowed))
            raise ParameterError(f"{own}: {{{min(unknown)}}} is no field; there are {known}")
        if missing := needed - fields:
            raise ParameterError(f"{own}: {{{min(missing)}}} is missing: the model must be told it")

    def filled(self, fields: Mapping[str, str]) -> str:
        """The prompt with its fields replaced; braces in their values stay as they are."""
        return _FIELD.sub(lambda match: fields[match[1]], self.text)
