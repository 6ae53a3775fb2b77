"""`pocketlm needle`: whether a model finds one fact in a long text."""

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pocketlm.cli import options

if TYPE_CHECKING:
    from pocketlm.evaluate.needle import Cell


def needle(
    model: options.Model,
    lengths: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,…",
            help="Tokens of whole prompts. Without it: 512,1024,2048, as far as the context"
            " allows.",
        ),
    ] = None,
    depths: Annotated[
        str,
        typer.Option(
            metavar="N,N,…", help="Where the fact stands, in per cent of the text before it."
        ),
    ] = "0,25,50,75,100",
    trials: Annotated[
        int, typer.Option(metavar="N", help="Facts that are tried at each length and depth.")
    ] = 5,
    text: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Hide them in this text, UTF-8, instead of invented sentences."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Same seed, same facts.")] = 0,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.svg", help="Draw the scores as a heat map.")
    ] = None,
    threads: options.Threads = None,
    context: options.Context = None,
    cache_type: options.CacheType = options.CacheKind.Q8,
    lora: options.Lora = None,
    json: options.Json = False,
    offline: options.Offline = False,
) -> None:
    """Hide a fact in a long text, ask for it, and count how often the answer is right.

    The fact is "The secret number of the lighthouse is 48213.", with other places and numbers each
    time; an answer is right if it holds that number. The likeliest token is taken each time. The
    text is the same for all, so that little of each prompt but what follows the fact is processed.
    Ctrl-C shows what was measured so far.

    \b
    Examples:
      pocketlm needle smollm2
      pocketlm needle smollm2 --lengths 512,2048,8000 --trials 10 --plot needle.svg
      pocketlm needle phi3:128k --lengths 4000,32000 --depths 0,50,100 --cache-type q4
      pocketlm needle smollm2 --text novel.txt --json
    """
    from pocketlm.cli.answer import loaded
    from pocketlm.cli.output import Status
    from pocketlm.errors import ParameterError

    wanted = None if lengths is None else _numbers("--lengths", lengths)
    places = _numbers("--depths", depths)
    if plot is not None and not plot.parent.is_dir():
        raise ParameterError(f"there is no folder {plot.parent} for {plot.name}")
    said = None if text is None else _read(text)
    with loaded(
        model,
        threads=threads,
        context=context,
        cache_type=cache_type.value,
        lora=options.loras(lora),
    ) as opened:
        from pocketlm.evaluate.filler import invented, sentences
        from pocketlm.evaluate.needle import Haystack

        haystack = Haystack(
            opened,
            invented(seed) if said is None else sentences(said),
            lengths=wanted,
            depths=places,
            trials=trials,
            seed=seed,
        )
        interrupted = False
        with Status() as status:
            try:
                haystack.run(status.show)
            except KeyboardInterrupt:
                interrupted = True
    cells = haystack.cells
    if plot is not None and cells:
        _draw(plot, " + ".join([Path(model).name, *(lora or [])]), cache_type.value, cells)
    if json:
        about: dict[str, Any] = {"model": model, "cache_type": cache_type.value, "seed": seed}
        about["lora"] = lora or []
        about["text"] = None if text is None else str(text)
        about["cells"] = [cell.as_json() for cell in cells]
        print(json_format.dumps(about, ensure_ascii=False))
    else:
        print(_table(cells))
    if interrupted:
        raise typer.Exit(130)


def _numbers(option: str, said: str) -> list[int]:
    from pocketlm.errors import ParameterError

    parts = [part.strip() for part in said.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise ParameterError(f"{option} is {said!r}; it must be whole numbers with commas between")
    return [int(part) for part in parts]


def _read(path: Path) -> str:
    from pocketlm.errors import ParameterError

    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ParameterError(f"{path} is not UTF-8 text (byte {error.start})") from None


def _axes(cells: "list[Cell]") -> tuple[list[int], list[int]]:
    return sorted({cell.length for cell in cells}), sorted({cell.depth for cell in cells})


def _table(cells: "list[Cell]") -> str:
    """Depths down, lengths across; and all of it in a line."""
    from pocketlm.cli.output import table

    if not cells:
        return "nothing was measured"
    lengths, depths = _axes(cells)
    scores = {(cell.length, cell.depth): f"{100 * cell.score:.0f} %" for cell in cells}
    rows = [("depth", *(f"{length:,} tokens" for length in lengths))]
    for depth in depths:
        rows.append((f"{depth} %", *(scores.get((length, depth), "") for length in lengths)))
    trials = [trial for cell in cells for trial in cell.trials]
    found = sum(trial.found for trial in trials)
    return f"{table(rows)}\n\nfound {found:,} of {len(trials):,}"


def _draw(path: Path, model: str, cache_type: str, cells: "list[Cell]") -> None:
    import time

    from pocketlm.evaluate.heatmap import heat_map
    from pocketlm.formats.output import new_file

    lengths, depths = _axes(cells)
    trials = max(len(cell.trials) for cell in cells)
    picture = heat_map(
        {(f"{cell.length:,}", f"{cell.depth} %"): cell.score for cell in cells},
        [f"{length:,}" for length in lengths],
        [f"{depth} %" for depth in depths],
        title="How often a hidden number is found",
        subtitle=f"{model}, cache in {cache_type}; {trials} of them at each length and"
        f" depth; {time.strftime('%F')}",
        across="tokens of the prompt",
        down="text before it",
    )
    with new_file(path) as file:
        file.write(picture.encode())
