"""Where a conversation's messages come from: a terminal, standard input, or one option."""

import sys
from pathlib import Path

import typer

from pocketlm.cli.output import fail, printable
from pocketlm.cli.talk import COMMANDS, Leave, Talk
from pocketlm.errors import Error, ParameterError

#: Asked where nobody asks anything.
SAMPLE = "Why is the sky blue?"


def once(talk: Talk, prompt: str) -> None:
    """Answer one message. Exits with 130 when Ctrl-C ended the answer."""
    answer = talk.hear(prompt)
    if answer is not None and answer.interrupted:
        raise typer.Exit(130)


def lines(talk: Talk) -> None:
    """Answer standard input line by line, or one sample question if nothing is there."""
    heard = False
    try:
        for line in sys.stdin or ():
            if line.strip():
                if heard:
                    print()
                heard = True
                once(talk, line.strip())
    except Leave:
        return
    except UnicodeDecodeError as error:
        raise ParameterError(f"standard input is not UTF-8 text (byte {error.start})") from error
    if not heard:
        print(f">>> {SAMPLE}", flush=True)
        once(talk, SAMPLE)


def terminal(talk: Talk, folder: Path) -> None:
    """Answer a person, until Ctrl-D or /bye. Errors are told, and the conversation goes on."""
    from pocketlm.cli.terminal import Prompt

    prompt = Prompt({name: what for name, (_, what, _) in COMMANDS.items()}, folder / "prompts")
    print(printable(f"{talk.name}, {talk.model.context:,} tokens of context; /help lists commands"))
    while True:
        try:
            text = prompt.ask()
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        if not text.strip():
            continue
        try:
            answer = talk.hear(text)
        except Leave:
            return
        except Error as error:
            fail(error)
            continue
        except KeyboardInterrupt:
            continue
        if answer is not None and answer.interrupted:
            print("(stopped)")
        print()
