"""Where `pocketlm` and `python -m pocketlm` begin.

It knows one thing: what Ctrl-C does. While Python imports the program, and when it is done, Ctrl-C
ends the process at once, as it ends any other, and without a word. In between it is a
KeyboardInterrupt, which the program may catch, and which ends it otherwise.
"""

import sys

# Not `signal`, whose import takes milliseconds, in which Ctrl-C would show a traceback.
from _signal import (  # type: ignore[import-not-found]
    SIG_DFL,
    SIGINT,
    default_int_handler,
    getsignal,
    signal,
)

#: Whether Ctrl-C is ours at all: a process may have been started with SIGINT ignored.
_heard = getsignal(SIGINT) is default_int_handler
if _heard:
    signal(SIGINT, SIG_DFL)


def main() -> None:
    """Run the program. Exits 0, 1 (failure), 2 (misuse) or 130 (Ctrl-C)."""
    from pocketlm.cli.main import main as program

    try:
        if _heard:
            sys.unraisablehook = _raise_again
            signal(SIGINT, default_int_handler)
        program()
    except (KeyboardInterrupt, Exception) as error:
        if not _from_ctrl_c(error):
            raise
        raise SystemExit(130) from None
    finally:
        if _heard:
            signal(SIGINT, SIG_DFL)


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
