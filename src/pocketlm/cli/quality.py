"""`pocketlm quality`: how much a quantised model lost."""

import json as json_format
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pocketlm.cli import options

if TYPE_CHECKING:
    from pocketlm.quantize.reading import Reading, Results

#: What is measured, as people call it; in the order of the table for one model.
_NAMES = {
    "perplexity": "perplexity",
    "reference_perplexity": "perplexity of the reference",
    "perplexity_ratio": "perplexity ratio",
    "kl_mean": "KL divergence, mean",
    "kl_median": "KL divergence, median",
    "kl_99": "KL divergence, 99 %",
    "kl_max": "KL divergence, maximum",
    "rms_probability_change_percent": "RMS change of right token's p, %",
    "same_top_percent": "same most likely token, %",
}
#: The columns of the table for several models.
_COLUMNS = {
    "perplexity": "perplexity",
    "perplexity_ratio": "ratio",
    "kl_mean": "KL mean",
    "kl_99": "KL 99 %",
    "same_top_percent": "same top, %",
}


def quality(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL",
            help="One model or several, named as for `pocketlm run`.",
            autocompletion=options.models,
        ),
    ],
    text: Annotated[
        list[Path],
        typer.Option(metavar="FILE", help="A text to read, UTF-8; repeatable."),
    ],
    against: Annotated[
        str | None,
        typer.Option(
            metavar="REFERENCE",
            help="The model before anything was lost. Without it: perplexity alone.",
            autocompletion=options.models,
        ),
    ] = None,
    tokens: Annotated[
        int, typer.Option(metavar="N", help="Read the first N tokens of each text.")
    ] = 8192,
    context: Annotated[
        int,
        typer.Option(
            metavar="N", help="Tokens of a window; those of its second half are predicted."
        ),
    ] = 512,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.svg",
            help="Draw the KL divergence: of one model by share of the tokens, of several over bits"
            " per weight.",
        ),
    ] = None,
    lora: Annotated[
        list[str] | None,
        typer.Option(
            "--lora",
            metavar="PATH[:SCALE]",
            help="Add a LoRA adapter to the models, not to the reference; repeated, their sum.",
        ),
    ] = None,
    threads: options.Threads = None,
    json: options.Json = False,
    offline: options.Offline = False,
) -> None:
    """Measure how much models lost against a reference, on texts.

    All read the same windows of the text, and their predictions are compared: perplexity,
    Kullback-Leibler divergence from the reference in nats, the change of the probability of the
    right token, the most likely token. Intervals are 95 % confidence intervals, by bootstrap over
    the windows. All models are in memory together.

    \b
    Examples:
      pocketlm quality small.gguf --against original.gguf --text wiki.txt
      pocketlm quality q4.gguf q5.gguf q8.gguf --against ./checkpoint --text wiki.txt --plot kl.svg
      pocketlm quality smollm2 --text one.txt --text two.txt --tokens 32768 --json
      pocketlm quality smollm2 --lora ./czech --against smollm2 --text czech.txt
    """
    from pocketlm.cli.output import Download, Status
    from pocketlm.errors import ParameterError
    from pocketlm.formats.output import new_file
    from pocketlm.store import Store

    if plot is not None and against is None:
        raise ParameterError("--plot draws the divergence from a reference: name it by --against")
    if plot is not None and not plot.parent.is_dir():
        raise ParameterError(f"there is no folder {plot.parent} for {plot.name}")
    with Download() as download:
        paths = [Store().resolve(name, progress=download) for name in models]
        beside = Store().resolve(against, progress=download) if against is not None else None
    from pocketlm.quantize.reading import measure

    with Status() as status:
        results = measure(
            paths,
            text,
            against=beside,
            lora=options.loras(lora),
            context=context,
            tokens=tokens,
            threads=threads,
            progress=status.show,
        )
    if plot is not None:
        with new_file(plot) as file:
            file.write(_plot(models, lora or [], results).encode())
    about = _as_json(models, lora or [], against, context, results)
    print(json_format.dumps(about, ensure_ascii=False) if json else _text(about))


def _as_json(
    models: Sequence[str],
    lora: Sequence[str],
    against: str | None,
    context: int,
    results: "Results",
) -> dict[str, Any]:
    from dataclasses import asdict

    from pocketlm.quantize.quality import Loss

    texts = []
    for reading in results.readings:
        rows = []
        for name, found in zip(models, reading.found, strict=True):
            row: dict[str, Any] = {"model": name}
            row |= {measure: asdict(value) for measure, value in found.estimates().items()}
            if isinstance(found, Loss):
                row["kl_max"] = found.kl_max
            rows.append(row)
        texts.append(
            {
                "text": reading.name,
                "tokens": reading.ids.size,
                "windows": len(reading.ids),
                "predicted": reading.found[0].nll.size,
                "models": rows,
            }
        )
    reference = results.reference
    return {
        "context": context,
        "lora": list(lora),
        "reference": None if reference is None else {"model": against, **asdict(reference)},
        "models": [
            {"model": name, **asdict(size)}
            for name, size in zip(models, results.models, strict=True)
        ],
        "texts": texts,
    }


def _text(about: dict[str, Any]) -> str:
    from pocketlm.cli.output import size, table

    def described(model: dict[str, Any]) -> str:
        bits = model["bits_per_weight"]
        return f"{model['model']}, {size(model['file_bytes'])}, {bits:.3f} bits a weight"

    parts = []
    for read in about["texts"]:
        counts = f"{read['tokens']:,} tokens in {read['windows']:,} windows of {about['context']:,}"
        facts = [("text", f"{read['text']}, {counts}; {read['predicted']:,} tokens predicted")]
        if about["reference"] is not None:
            facts.append(("reference", described(about["reference"])))
        if about["lora"]:
            facts.append(("adapters", " + ".join(about["lora"])))
        if len(about["models"]) == 1:
            facts.append(("model", described(about["models"][0])))
            rows = _rows(read["models"][0])
        else:
            rows = _columns(about["models"], read["models"])
        parts.append(f"{table(facts)}\n\n{table(rows)}")
    return "\n\n".join(parts)


def _rows(found: dict[str, Any]) -> list[Sequence[str]]:
    """The table for one model: a line for each measure."""
    rows: list[Sequence[str]] = [("measure", "value", "95 % interval")]
    for key, name in _NAMES.items():
        value = found.get(key)
        if isinstance(value, dict):
            interval = f"{_number(value['low'])} to {_number(value['high'])}"
            rows.append((name, _number(value["value"]), interval))
        elif value is not None:
            rows.append((name, _number(value), ""))
    return rows


def _columns(
    models: Sequence[dict[str, Any]], found: Sequence[dict[str, Any]]
) -> list[Sequence[str]]:
    """The table for several models: a line for each; ± is half of the 95 % interval."""
    from pocketlm.cli.output import size

    shown = {key: name for key, name in _COLUMNS.items() if key in found[0]}
    rows: list[Sequence[str]] = [("bits", "size", *shown.values(), "model")]
    for model, each in zip(models, found, strict=True):
        cells = []
        for value in (each[key] for key in shown):
            half = (value["high"] - value["low"]) / 2
            spread = f"{half:.0f}" if half >= 10 else f"{half:.2g}"
            cells.append(f"{_number(value['value'])} ± {spread}")
        bits, of_file = f"{model['bits_per_weight']:.3f}", size(model["file_bytes"])
        rows.append((bits, of_file, *cells, model["model"]))
    return rows


def _number(value: float) -> str:
    return f"{value:,.4f}" if value >= 1 else f"{value:.4g}"


def _plot(models: Sequence[str], lora: Sequence[str], results: "Results") -> str:
    from pocketlm.quantize.plot import Point, by_bits, by_share
    from pocketlm.quantize.quality import Loss

    def losses(reading: "Reading") -> list[Loss]:
        return [found for found in reading.found if isinstance(found, Loss)]

    labels = [" + ".join([label, *lora]) for label in _short(models)]
    texts = _short([reading.name for reading in results.readings])
    series = dict(zip(texts, map(losses, results.readings), strict=True))
    if len(models) == 1:
        shares = {text: of_text[0].divergence for text, of_text in series.items()}
        return by_share(shares, f"What {labels[0]} lost")
    points = {
        text: [
            Point(label, size.bits_per_weight, loss.kl_mean)
            for label, size, loss in zip(labels, results.models, of_text, strict=True)
        ]
        for text, of_text in series.items()
    }
    return by_bits(points, "What models lost")


def _short(names: Sequence[str]) -> list[str]:
    """File names instead of paths, where no two are alike."""
    short = [Path(name).name for name in names]
    return short if len(set(short)) == len(set(names)) else list(names)
