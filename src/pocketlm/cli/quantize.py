"""`pocketlm quantize`: a model in fewer bits."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketlm.cli.options import Model, Offline, bytes_of
from pocketlm.errors import ParameterError

if TYPE_CHECKING:
    from pocketlm.quantize.plan import Choice
    from pocketlm.quantize.quantizer import Result

#: The name of the text that comes with pocketlm.
_DEFAULT = "default"


def quantize(
    model: Model,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The GGUF file to write.")],
    size: Annotated[
        str | None, typer.Option(metavar="SIZE", help="The file's size at most: 1.8GiB, 900MB.")
    ] = None,
    bits: Annotated[
        float | None, typer.Option(metavar="N", help="Bits a weight on average.")
    ] = None,
    type_: Annotated[
        str | None,
        typer.Option(
            "--type",
            metavar="TYPE",
            help="One type: q4_0, q4_1, q4_k, q5_k, q6_k, q8_0, q3_k, iq4_nl or iq4_xs, which"
            " llama.cpp opens too; p3, p4, p5 or p6, which are ours.",
        ),
    ] = None,
    standard: Annotated[
        bool,
        typer.Option(
            "--standard", help="With --size or --bits: of types that llama.cpp opens alone."
        ),
    ] = False,
    calibrate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Measure activations and what errors cost on a text, and feed errors back;"
            " repeatable."
            " 'default' is a text that comes with pocketlm.",
        ),
    ] = None,
    tokens: Annotated[
        int | None,
        typer.Option(metavar="N", help="Calibrate on N tokens (default: 16384).", min=1),
    ] = None,
    requantise: Annotated[
        bool,
        typer.Option("--requantise", help="Let the source be rounded to fewer bits already."),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace what is at --out.")] = False,
    offline: Offline = False,
) -> None:
    """Write a model with fewer bits a weight.

    With --size or --bits, each part takes as many bits as its share of the loss deserves, in types
    of pocketlm's own, which are mapped and run as they lie in the file, or with --standard in those
    of llama.cpp. With --calibrate, what a part's errors cost is measured first, on the model at
    hand. Interrupted, it leaves nothing behind.

    \b
    Examples:
      pocketlm quantize ./phi3 --out phi3.gguf --size 1.8GiB --calibrate default
      pocketlm quantize ./phi3 --out phi3-q4.gguf --type q4_k
      pocketlm quantize ./phi3 --out phi3.gguf --bits 4 --calibrate mails.txt
      pocketlm quantize ./phi3 --out phi3.gguf --bits 4.5 --standard --calibrate default
    """
    from pocketlm.cli.output import Download, Status
    from pocketlm.quantize.calibration import default_text
    from pocketlm.quantize.quantizer import Goal
    from pocketlm.quantize.quantizer import quantize as write
    from pocketlm.quantize.reading import read_text
    from pocketlm.store import Store

    if sum(option is not None for option in (size, bits, type_)) != 1:
        raise ParameterError("say how small: one of --size, --bits and --type")
    if standard and type_ is not None:
        raise ParameterError("--standard is for --size and --bits; --type names one type")
    goal = Goal(None if size is None else bytes_of(size), bits, type_, standard)
    texts = None
    if calibrate:
        texts = [default_text() if c == _DEFAULT else read_text(Path(c)) for c in calibrate]
    elif tokens is not None:
        raise ParameterError("--tokens is for --calibrate")
    with Download() as progress:
        path = Store().resolve(model, progress=progress)
    with Download("quantising") as progress, Status() as status:

        def tell(choices: "list[Choice]") -> None:
            status.clear()
            print(_plan(choices), flush=True)

        result = write(
            path,
            out,
            goal,
            calibration=texts,
            tokens=tokens,
            requantise=requantise,
            force=force,
            progress=progress,
            note=status.note,
            show=status.show,
            planned=tell,
        )
    print(_summary(out, result))


def _plan(choices: "list[Choice]") -> str:
    """The plan, equal types of a role in one line."""
    from pocketlm.cli.output import size, table

    sums: dict[tuple[str, str], list[Choice]] = {}
    for choice in choices:
        sums.setdefault((choice.group.role, choice.type), []).append(choice)
    rows = [("group", "count", "type", "bits", "bytes", "expected loss")]
    for (role, type_), found in sums.items():
        nbytes = sum(choice.nbytes for choice in found)
        bits = 8 * nbytes / sum(choice.group.weights for choice in found)
        loss = sum(choice.loss for choice in found)
        rows.append(
            (role, str(len(found)), type_.lower(), f"{bits:.3f}", size(nbytes), f"{loss:.3f}")
        )
    total = sum(choice.loss for choice in choices)
    return table([*rows, ("all", str(len(choices)), "", "", "", f"{total:.3f} of p4's")])


def _summary(out: Path, result: "Result") -> str:
    from pocketlm.cli.output import size

    matrices = sum(choice.nbytes for choice in result.choices)
    return (
        f"wrote {out}: {result.file_bytes:,} bytes ({size(result.file_bytes)}), "
        f"{8 * matrices / result.weights:.3f} bits a weight"
    )
