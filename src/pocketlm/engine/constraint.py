"""What a text must match (a JSON schema, a regular expression, a grammar), token by token.

It knows the bytes of a vocabulary's tokens, and asks llguidance which of them may come next. It
does not know logits, nor which token is chosen.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pocketlm.engine import schema as json_schema
from pocketlm.errors import ConstraintError, Error, ParameterError

if TYPE_CHECKING:
    import llguidance

#: Most characters of a regular expression and of a grammar, and a grammar's most lines: llguidance
#: goes down a chain of rules on the stack, which some 2,000 of them fill.
MOST_REGEX = 1 << 13
MOST_GRAMMAR = 1 << 16
MOST_RULES = 1000
#: Compiled constraints that are kept: programs ask for the same thing again and again.
KEPT = 64

#: JSON is written on one line, as most of what models have read of it that is: `{"a": 1, "b": 2}`.
#: Blanks that are free would let a model write nothing else.
_JSON: Any = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
    "coerce_one_of": False,
    "lenient": False,
}


@dataclass(frozen=True)
class Constraint:
    """What a text must match: `source` is a schema as JSON, a regex, or a grammar in Lark.

    `kind` ("schema", "regex", or what a grammar is for) also begins messages.
    """

    kind: str
    source: str

    @property
    def grammar(self) -> str:
        """As llguidance takes it."""
        import llguidance

        match self.kind:
            case "schema":
                return llguidance.LLMatcher.grammar_from_json_schema(self.source, overrides=_JSON)
            case "regex":
                return llguidance.LLMatcher.grammar_from_regex(self.source)
        return llguidance.LLMatcher.grammar_from_lark(self.source)


def from_schema(schema: object) -> Constraint:
    """JSON that a schema allows (see `schema.checked`). Raises ConstraintError."""
    text = json.dumps(json_schema.checked(schema), ensure_ascii=False)
    return Constraint("schema", _sound(text, "schema"))


def from_regex(pattern: object) -> Constraint:
    """Text that a regular expression matches from its first character to its last.

    The syntax is Rust's, which has no look-around and no back-references. Raises ConstraintError.
    """
    if not isinstance(pattern, str) or not pattern:
        raise ConstraintError("regex", "regex must be a string that is not empty")
    if len(pattern) > MOST_REGEX:
        raise ConstraintError(
            "regex", f"regex has {len(pattern):,} characters; {MOST_REGEX:,} may be"
        )
    return Constraint("regex", _sound(pattern, "regex"))


def from_grammar(text: object) -> Constraint:
    """Text of a context-free grammar, in llguidance's Lark or in GBNF. Raises ConstraintError."""
    from llguidance.gbnf_to_lark import any_to_lark

    if not isinstance(text, str) or not text.strip():
        raise ConstraintError("grammar", "grammar must be a string that is not empty")
    if len(text) > MOST_GRAMMAR:
        raise ConstraintError(
            "grammar", f"grammar has {len(text):,} characters; {MOST_GRAMMAR:,} may be"
        )
    _check_rules(text)
    if "%json" in text:
        raise ConstraintError("grammar", "grammar has '%json': give a schema by itself")
    try:
        lark = any_to_lark(_sound(text, "grammar"))
    except RecursionError:
        raise ConstraintError("grammar", "grammar is nested too deep") from None
    except Exception as error:  # the converter raises bare ones, too
        raise ConstraintError("grammar", f"grammar is not sound: {_line(error)}") from None
    _check_rules(lark)
    return Constraint("grammar", lark)


def json_rule(schema: Mapping[str, Any], *, lenient: bool = False) -> str:
    """The right side of a grammar's rule for JSON of a checked schema (see `schema.checked`)."""
    options = {**_JSON, "lenient": lenient}
    return f"%json {_sound(json.dumps({**schema, 'x-guidance': options}), 'schema')}"


def from_options(
    schema: object = None, regex: object = None, grammar: object = None
) -> Constraint | None:
    """The one that is given, or None. Raises ConstraintError for two, or an unsound one."""
    given = [value for value in (schema, regex, grammar) if value is not None]
    if len(given) > 1:
        raise ParameterError("give one of schema, regex and grammar")
    if schema is not None:
        return from_schema(schema)
    if regex is not None:
        return from_regex(regex)
    return None if grammar is None else from_grammar(grammar)


class Compiler:
    """Makes matchers for one vocabulary. Safe to use from several threads.

    `tokens` are the bytes of each id; an id without any is never allowed. `encode` gives the ids
    of a text that continues another.
    """

    def __init__(
        self, tokens: Sequence[bytes], encode: Callable[[str], list[int]], vocab_size: int
    ) -> None:
        """Build what is shared by all constraints (a tree of the tokens' bytes)."""
        import llguidance

        self._vocab_size = vocab_size
        # One more than the model has: what llguidance takes for the end, whatever ends an answer.
        words = [*tokens, *[b""] * (vocab_size - len(tokens)), b"<end>"]
        self._spelled = bytes(map(bool, words[:vocab_size]))
        self._tokenizer = llguidance.LLTokenizer(
            llguidance.TokenizerWrapper(_Vocabulary(words, encode))
        )
        self._limits = llguidance.LLParserLimits(verbose_errors=False)
        self._kept: OrderedDict[Constraint, llguidance.LLMatcher] = OrderedDict()
        self._lock = threading.Lock()

    def matcher(self, constraint: Constraint, stop_ids: frozenset[int]) -> Matcher:
        """The state of a text at its beginning, which any of `stop_ids` may end.

        Raises ConstraintError for a constraint that is unsound, too complex, or met by no text.
        """
        with self._lock:
            compiled = self._kept.pop(constraint, None) or self._compile(constraint)
            self._kept[constraint] = compiled
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
            return Matcher(compiled.deep_copy(), self._spelled, stop_ids)

    def _compile(self, constraint: Constraint) -> llguidance.LLMatcher:
        import llguidance

        matcher = llguidance.LLMatcher(
            self._tokenizer, constraint.grammar, log_level=0, limits=self._limits
        )
        if matcher.is_error():
            raise ConstraintError(
                constraint.kind, f"{constraint.kind}: {_line(matcher.get_error())}"
            )
        first = matcher.deep_copy()
        first.compute_bitmask()
        if first.is_stopped():
            raise ConstraintError(
                constraint.kind, f"{constraint.kind}: there is no text that meets it"
            )
        return matcher


class Matcher:
    """How far one text is. Used by one thread at a time."""

    def __init__(
        self, matcher: llguidance.LLMatcher, spelled: bytes, stop_ids: frozenset[int]
    ) -> None:
        """Begin; see `Compiler.matcher`. `spelled` says of each id whether it has any bytes."""
        self._matcher = matcher
        self._spelled = spelled
        self._end = len(spelled)
        self._ends = stop_ids
        self._stop_ids = np.array(sorted(stop_ids), dtype=np.intp)
        self._bits = np.zeros(self._end // 32 + 1, dtype=np.int32)

    @property
    def finished(self) -> bool:
        """Whether the text is whole, and nothing may follow."""
        return self._matcher.is_stopped() and not self._matcher.is_error()

    def allowed(self) -> npt.NDArray[np.bool_]:
        """Which ids may come next: bool [vocabulary].

        Raises pocketlm.Error where finding out takes too much.
        """
        self._matcher.unsafe_compute_mask_ptr(self._bits.ctypes.data, self._bits.nbytes)
        self._check()
        bits = np.unpackbits(self._bits.view(np.uint8), bitorder="little").view(np.bool_)
        bits[self._stop_ids] = bits[self._end]
        return bits[: self._end]

    def allows(self, token: int) -> bool:
        """Whether `token` may come next, found out much sooner than all that may.

        It may more often: where only one text can follow, `allowed` names the token that usually
        begins it, and this is true of any that does. Raises pocketlm.Error as `allowed`.
        """
        if token in self._ends:
            return self._matcher.is_accepting()
        allowed = self._matcher.validate_tokens([token]) == 1
        self._check()
        return allowed and bool(self._spelled[token])

    def advance(self, token: int) -> None:
        """The text goes on with `token`, which was allowed."""
        self._matcher.consume_token(token)
        self._check()

    def forced(self) -> list[int]:
        """Ids that most likely come next, because nothing else may be written; [] for a choice."""
        ids = self._matcher.compute_ff_tokens()
        return [id for id in ids if id < self._end]

    def _check(self) -> None:
        if self._matcher.is_error():
            raise Error(f"the constraint cannot be followed: {_line(self._matcher.get_error())}")


class _Vocabulary:
    """As llguidance wants a tokenizer."""

    bos_token_id = None

    def __init__(self, tokens: Sequence[bytes], encode: Callable[[str], list[int]]) -> None:
        self.tokens = tokens
        self.eos_token_id = len(tokens) - 1
        self.special_token_ids = [self.eos_token_id]
        self._encode = encode

    def __call__(self, text: str) -> list[int]:
        if not isinstance(text, str):
            raise TypeError("text is wanted")
        return self._encode(text)


def _sound(text: str, name: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConstraintError(name, f"{name} holds half of a surrogate pair") from None
    return text


def _check_rules(text: str) -> None:
    if text.count("\n") > MOST_RULES:
        raise ConstraintError("grammar", f"grammar has more than {MOST_RULES:,} lines")


def _line(error: object) -> str:
    """An error's message on one line, without what llguidance adds for its developers."""
    text = str(error).partition("<backtrace>")[0].removesuffix("<non-verbose/>")
    return " ".join(text.split())[:200]
