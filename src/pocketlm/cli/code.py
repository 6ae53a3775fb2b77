"""`pocketlm code`: a program, written by the model and checked by running it in a sandbox."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketlm.cli import options

if TYPE_CHECKING:
    from pocketlm.assistant.coder import Check, Checked


def code(
    task: Annotated[str, typer.Argument(metavar="TASK", help="What the program is to do.")],
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", metavar="MODEL", help="Which model writes."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="Where the program goes; else printed."),
    ] = None,
    game: Annotated[
        bool,
        typer.Option("--game", help="It must start in a terminal, draw and go on while keys come."),
    ] = False,
    expect: Annotated[
        Path | None, typer.Option(metavar="FILE", help="It must print what is in FILE.")
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Python that does `import program` and must not fail."),
    ] = None,
    rounds: Annotated[
        int, typer.Option(metavar="N", min=1, max=20, help="How often the model may try.")
    ] = 4,
    temperature: options.Temperature = None,
    seed: options.Seed = None,
    max_tokens: options.MaxTokens = None,
    threads: options.Threads = None,
    context: options.Context = None,
    lora: options.Lora = None,
    offline: options.Offline = False,
) -> None:
    """Have a Python program written, run in a sandbox, and repaired until it passes its check.

    Without --game, --expect or --test the check is that it ends by itself without an error and
    prints something. Only a program that passed is kept. What the model writes and what becomes of
    it is shown on standard error. It needs bubblewrap (`apt install bubblewrap`).

    \b
    Examples:
      pocketlm code "Print the numbers from 1 to 100." --expect numbers.txt --out count.py
      pocketlm code "Write the game Snake for the terminal with curses." --game --out snake.py
      pocketlm code "Write a function is_prime(n)." --test test_prime.py --model phi3
    """
    from pocketlm.assistant import coder, sandbox
    from pocketlm.cli.answer import loaded
    from pocketlm.cli.output import Status, Writer
    from pocketlm.errors import Error, OutputError
    from pocketlm.formats.output import new_file

    check = _check(game, expect, test)
    if out is not None and (out.exists() or not out.absolute().parent.is_dir()):
        why = "it is there already" if out.exists() else "its folder is not there"
        raise OutputError(f"{out}: cannot be written: {why}")
    sandbox.check()
    sampling = options.sampling(
        None, temperature=temperature, seed=seed, max_tokens=max_tokens or coder.MOST_TOKENS
    )
    if temperature is None:
        del sampling["frequency_penalty"]  # code repeats itself
    program = None
    said = ""
    with (
        loaded(model, threads=threads, context=context, lora=options.loras(lora)) as opened,
        Status() as status,
    ):
        writer = Writer(sys.stderr)
        ask = coder.asking(opened, sampling)
        for event in coder.code(task, ask, check, rounds=rounds):
            match event:
                case coder.Began():
                    status.note(f"round {event.round} of {rounds}")
                case coder.Wrote():
                    writer.write(event.piece.text)
                case coder.Checked():
                    writer.finish()
                    writer = Writer(sys.stderr)
                    said = _verdict(event)
                    status.note(said)
                case coder.Ended():
                    program = event.program
    if program is None:
        raise Error(
            f"no program passed in {rounds} round{'s' * (rounds > 1)}; the last one: {said}"
        )
    if out is None:
        print(program)
        return
    with new_file(out) as file:
        file.write(f"{program}\n".encode())
    print(out)


def _check(game: bool, expect: Path | None, test: Path | None) -> "Check":
    from pocketlm.assistant import coder
    from pocketlm.cli.attach import text_of
    from pocketlm.errors import ParameterError

    if sum((game, expect is not None, test is not None)) > 1:
        raise ParameterError("give one of --game, --expect and --test")
    if game:
        return coder.plays()
    if expect is not None:
        return coder.prints(text_of(expect))
    return coder.runs() if test is None else coder.meets(text_of(test))


def _verdict(event: "Checked") -> str:
    said = event.verdict.said.strip().splitlines() or [""]
    if event.verdict.passed:
        return f"passed: {said[-1][:200]}"
    return f"failed: {said[0]} {said[-1] if len(said) > 1 else ''}".strip()[:300]
