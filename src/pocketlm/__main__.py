"""Where `pocketlm` and `python -m pocketlm` begin.

It knows one thing: what Ctrl-C does. While Python imports the program, and when it is done, Ctrl-C
ends the process at once, as it ends any other, and without a word; in between it is the program's.
"""

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
            signal(SIGINT, default_int_handler)
        program()
    except KeyboardInterrupt:  # where the program itself was done with it
        raise SystemExit(130) from None
    finally:
        if _heard:
            signal(SIGINT, SIG_DFL)


if __name__ == "__main__":
    main()
