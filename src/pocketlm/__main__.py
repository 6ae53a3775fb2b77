"""Where `pocketlm` and `python -m pocketlm` begin.

It knows one thing: what Ctrl-C does, and other signals that end a program. While Python imports
the program, and when it is done, they end the process at once, as any other, and without a word.
In between Ctrl-C is a KeyboardInterrupt, which the program may catch, and which ends it otherwise.
What `kill` sends, or a terminal that is closed, is a SystemExit: nothing is left half written.
"""

import os
import sys

# Not `signal`, whose import takes milliseconds, in which Ctrl-C would show a traceback.
from _signal import (  # type: ignore[import-not-found]
    SIG_DFL,
    SIGHUP,
    SIGINT,
    SIGTERM,
    default_int_handler,
    getsignal,
    signal,
)
from types import FrameType

#: Whether Ctrl-C is ours at all: a process may have been started with SIGINT ignored.
_heard = getsignal(SIGINT) is default_int_handler
if _heard:
    signal(SIGINT, SIG_DFL)
#: The others, but those that it was started to ignore (`nohup`).
_ending = [number for number in (SIGHUP, SIGTERM) if getsignal(number) == SIG_DFL]


def main() -> None:
    """Run the program. Exits 0, 1 (failure), 2 (misuse), or 128 and the number of a signal."""
    from pocketlm.cli.main import main as program

    try:
        if _heard:
            sys.unraisablehook = _raise_again
            signal(SIGINT, default_int_handler)
        for number in _ending:
            signal(number, _end)
        os.register_at_fork(after_in_child=_as_others)
        program()
    except (KeyboardInterrupt, Exception) as error:
        if not _from_ctrl_c(error):
            raise
        raise SystemExit(130) from None
    finally:
        if _heard:
            signal(SIGINT, SIG_DFL)
        _as_others()


def _end(number: int, frame: FrameType | None) -> None:
    """End the program in order; a second signal does so at once."""
    _as_others()
    raise SystemExit(128 + number)


def _as_others() -> None:
    """Let signals end this process as they end any other."""
    for number in _ending:
        if getsignal(number) is _end:
            signal(number, SIG_DFL)


def _from_ctrl_c(error: BaseException | None) -> bool:
    """Whether Ctrl-C is behind an exception: a class under way, as in an import, disguises it."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _raise_again(lost: "sys.UnraisableHookArgs") -> None:
    """Raise a KeyboardInterrupt anew that came where Python can raise none, as in a finaliser."""
    if lost.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(lost)
        return
    from _thread import interrupt_main
    from threading import Timer

    Timer(0.01, interrupt_main).start()  # then the finaliser is over


if __name__ == "__main__":
    main()
