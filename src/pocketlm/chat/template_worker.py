"""The process in which chat templates run, and the one place that makes a Jinja environment.

A template comes from a model file: it is a program that nobody has read. It runs here in a sandbox
(no attributes that lead into Python, no changes to what it is given), in a process of its own with
little memory, no files, no children, and little processor time for each answer; the kernel ends it
when that is used up. `template.py` starts it, by path and without `site`, so that it is ready in
some 50 ms, and speaks lines of JSON with it: a template first, then variables for each rendering.

It imports nothing of pocketlm.
"""

import json
import resource
import signal
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment, Template

#: Processor seconds for one answer; sound templates need milliseconds.
CPU_SECONDS = 1.0
#: Address space beyond what the process needs to start.
MEMORY_BYTES = 384 << 20
#: Most characters that a template may write: these, and so many for each that it was given. What it
#: writes is tokenised, which takes a second for a million.
OUTPUT_CHARACTERS = 1 << 18
OUTPUT_FACTOR = 8


class _RefusalError(Exception):
    """The template called `raise_exception`."""


class _LengthError(Exception):
    """The template wrote more than it may."""


def _environment() -> "Environment":
    """The sandbox, with what the hub's templates expect of transformers."""
    import datetime

    # Imported when a template has a text in quotes, and when it fails; later no file can be opened.
    import encodings.unicode_escape  # noqa: F401

    import jinja2.debug  # noqa: F401
    from jinja2 import nodes
    from jinja2.ext import Extension, LoopControlExtension
    from jinja2.parser import Parser
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """`{% generation %}`, which marks answers for training, means nothing here."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Parser) -> list[nodes.Node]:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    def tojson(
        value: object,
        ensure_ascii: bool = False,
        indent: int | None = None,
        separators: tuple[str, str] | None = None,
        sort_keys: bool = False,
    ) -> str:
        return json.dumps(
            value,
            ensure_ascii=ensure_ascii,
            indent=indent,
            separators=separators,
            sort_keys=sort_keys,
        )

    def raise_exception(message: object) -> None:
        raise _RefusalError(str(message))

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[LoopControlExtension, Generation]
    )
    del environment.globals["lipsum"]
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda format: datetime.datetime.now().strftime(format)
    datetime.datetime.now().strftime("%c")  # reads the time zone's file while files can be opened
    return environment


def _limit() -> None:
    """Give up what a template has no need of; no privilege brings it back."""
    with open("/proc/self/statm" if sys.platform == "linux" else "/dev/null") as file:
        pages = int((file.read() or "0").split()[0])
    limits = {
        resource.RLIMIT_NOFILE: 3,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NPROC: 0,
    }
    if pages:  # elsewhere address space cannot be limited; time bounds what a template takes
        limits[resource.RLIMIT_AS] = pages * resource.getpagesize() + MEMORY_BYTES
    for what, limit in limits.items():
        _, hard = resource.getrlimit(what)
        if hard != resource.RLIM_INFINITY:
            limit = min(limit, hard)
        resource.setrlimit(what, (limit, limit))


def _answer(template: "Template", variables: dict[str, Any], limit: int) -> str:
    pieces = []
    length = 0
    for piece in template.generate(variables):
        length += len(piece)
        if length > limit:
            raise _LengthError
        pieces.append(piece)
    return "".join(pieces)


def main() -> None:
    """Compile the template of the first line, then render the variables of each line after it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    environment = _environment()
    _limit()
    template: Template | None = None
    for line in sys.stdin:
        request = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)  # SIGPROF ends the process
        try:
            limit = OUTPUT_CHARACTERS + OUTPUT_FACTOR * len(line)
            if template is None:
                template = environment.from_string(request)
                answer = {}
            else:
                answer = {"text": _answer(template, request, limit)}
            reply = json.dumps(answer)
        except _RefusalError as error:
            reply = json.dumps({"refused": str(error)[:1000]})
        except _LengthError:
            reply = json.dumps({"error": f"writes more than {limit} characters"})
        except MemoryError:
            reply = json.dumps({"error": "takes too much memory"})
        except Exception as error:
            reply = json.dumps({"error": f"{type(error).__name__}: {error}"[:1000]})
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.write(reply + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.path[:0] = sys.argv[1:]
    main()
