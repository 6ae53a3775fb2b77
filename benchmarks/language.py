"""German for a small English model, from texts to figures: what it gains, and what English loses.

    python benchmarks/language.py --out german                     # all of it
    python benchmarks/language.py --out german --tokens 2000 --sentences 20      # that it works

Gathers German and English texts from Debian packages (the ones installed, else by `apt-get
download`), trains an adapter with `pocketlm train language de`, installs nothing, and measures bits
a byte with our engine without and with it: on texts of the corpus that training never saw, on
FLORES-200's sentences in both languages, and on WikiText. FLORES and WikiText are read for
measuring alone. Each sentence is one item; intervals are Student's over sentences, and the change
is of pairs. Goes on where it was stopped.
"""

import itertools
import json
import math
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import typer

import pocketlm
from comparison.machine import processor
from pocketlm.api import Adapter, Model
from pocketlm.evaluate import statistics

#: Packages, what of them is read, and their licences as /usr/share/doc/PACKAGE/copyright has them.
GERMAN = {
    "debian-handbook": ("usr/share/doc/debian-handbook/html/de-DE/*.html", "CC BY-SA 3.0, GPL-2+"),
    "fortunes-de": ("usr/share/games/fortunes/de/*.u8", "GPL-2+"),
    "debian-faq-de": ("usr/share/doc/debian/FAQ/de/*.html", "GPL-2+"),
    "debian-reference-de": ("usr/share/debian-reference/ch*.de.html", "GPL-2+"),
    "developers-reference-de": ("usr/share/developers-reference/de/*.html", "GPL-2+"),
}
ENGLISH = {
    "debian-handbook": ("usr/share/doc/debian-handbook/html/en-US/*.html", "CC BY-SA 3.0, GPL-2+"),
}
#: Jokes of a line or two are put together to documents of about so many characters.
_LONG = 1500
#: Training on so many takes about 20 minutes of two cores (85 tokens a second and core).
_TOKENS = 180_000
_CONTEXT = 512


def gather(out: Path, packages: dict[str, tuple[str, str]]) -> list[str]:
    """Put the packages' texts into a folder; what was taken, with licences."""
    taken = []
    for package, (pattern, licence) in packages.items():
        root = Path("/")
        if not any(root.glob(pattern)):
            root = unpacked(package, out.parent / "packages")
        files = sorted(root.glob(pattern))
        if not files:
            raise SystemExit(f"{package} has no {pattern}")
        for path in files:
            text = path.read_text("utf-8", errors="replace")
            if path.suffix == ".html":
                written = {f"{package}-{path.stem}.html": text}
            else:
                written = {
                    f"{package}-{path.stem}-{number:04}.txt": each
                    for number, each in enumerate(together(text))
                }
            for name, content in written.items():
                out.mkdir(parents=True, exist_ok=True)
                (out / name).write_text(content, "utf-8")
        size = sum(path.stat().st_size for path in files)
        taken.append(f"{package}: {len(files)} files, {size / 1e6:.1f} MB, {licence}")
    return taken


def unpacked(package: str, folder: Path) -> Path:
    """A Debian package's files, without installing it."""
    place = folder / package
    if place.is_dir():
        return place
    folder.mkdir(parents=True, exist_ok=True)
    try:
        subprocess.run(
            ["apt-get", "download", package], cwd=folder, check=True, capture_output=True
        )
        (archive,) = folder.glob(f"{package}_*.deb")
        subprocess.run(["dpkg-deb", "-x", archive, f"{place}.part"], check=True)
    except (OSError, subprocess.CalledProcessError, ValueError) as error:
        said = getattr(error, "stderr", b"") or str(error).encode()
        raise SystemExit(
            f"{package} could not be had: {said.decode(errors='replace').strip()}\n"
            f"Install it (apt-get install {package}), or name texts of your own by --german."
        ) from None
    Path(f"{place}.part").rename(place)
    archive.unlink()
    return place


def together(text: str) -> Iterator[str]:
    """The entries of a file of fortunes, some to a document."""
    document = ""
    for entry in re.split(r"(?m)^%\n", text):
        document += entry.strip() + "\n\n"
        if len(document) > _LONG:
            yield document
            document = ""
    if document.strip():
        yield document


def bits(model: Model, adapter: Adapter, text: str) -> float:
    """Bits a byte of a text, its first token predicted from the token that begins a text."""
    begin = model.tokenize("<|endoftext|>", special=True)
    ids = [begin[0], *model.tokenize(text)][: _CONTEXT + 1]
    logits = model.logits(ids[:-1], adapter=adapter).astype(np.float64)
    top = logits.max(axis=1)
    log_sum = np.log(np.exp(logits - top[:, None]).sum(axis=1)) + top
    nats = float((log_sum - logits[np.arange(len(ids) - 1), ids[1:]]).sum())
    return nats / math.log(2) / sum(len(model.tokenizer.token_bytes(id)) for id in ids[1:])


def sets(data: Path, held_back: Sequence[str], count: int) -> dict[str, list[str]]:
    """What is measured: sentences by name of the set, drawn by a fixed seed."""
    flores = data / "flores_dev"
    wikitext = (data / "text" / "wikitext2_train_5k.txt").read_text("utf-8").splitlines()
    found = {
        "German, held back": [
            part for text in held_back for part in text.split("\n") if len(part) > 80
        ],
        "German, FLORES": (flores / "deu_Latn.dev.txt").read_text("utf-8").splitlines(),
        "English, FLORES": (flores / "eng_Latn.dev.txt").read_text("utf-8").splitlines(),
        "English, WikiText": [line.strip() for line in wikitext if len(line) > 200],
    }
    return {
        name: random.Random(0).sample(lines, min(count, len(lines)))
        for name, lines in found.items()
    }


def measure(model: Model, adapter: Adapter, texts: Sequence[str]) -> dict[str, object]:
    """Bits a byte before and after, and their paired difference, with intervals."""
    none = model.adapter([])
    before = [bits(model, none, text) for text in texts]
    after = [bits(model, adapter, text) for text in texts]
    change = statistics.paired(before, after)
    low, high = change.interval()
    shown = {"sentences": len(texts)}
    for name, values in (("before", before), ("after", after)):
        mean = statistics.mean(values)
        shown[name] = {"value": mean.value, "low": mean.low, "high": mean.high}
    shown["change"] = {"value": change.value, "low": low, "high": high, "p": change.p}
    return shown


def held_back(out: Path) -> list[str]:
    """The corpus' documents that training did not see, as text again."""
    from pocketlm.recipe.data.shards import Shards, texts

    return list(texts(Shards(out / "run" / "shards" / "de" / "held-back")))


def main(
    out: Annotated[Path, typer.Option(help="Where all of it is made.")] = Path("german"),
    model: Annotated[str, typer.Option(help="The English model.")] = "smollm2",
    german: Annotated[
        Path | None, typer.Option(help="A folder of German texts, instead of the packages'.")
    ] = None,
    tokens: Annotated[int, typer.Option(help="Train on so many.")] = _TOKENS,
    sentences: Annotated[int, typer.Option(help="Measure so many of each set.")] = 400,
    threads: Annotated[int, typer.Option(help="Of PyTorch and of the engine.")] = 2,
    data: Annotated[
        Path, typer.Option(envvar="POCKETLM_TEST_DATA", help="FLORES and WikiText.")
    ] = Path("data"),
) -> None:
    """Gather, train, measure; print a table, and write it as JSON into OUT."""
    if not (data / "flores_dev").is_dir():
        raise SystemExit(f"{data} has no flores_dev; POCKETLM_TEST_DATA says where it is")
    texts, english = german or out / "texts" / "de", out / "texts" / "en"
    sources = [str(german)] if german else gather(texts, GERMAN)
    sources += gather(english, ENGLISH)
    print("texts:", *sources, sep="\n  ")
    began = time.monotonic()
    command = ["train", "language", "de", "--model", model, "--data", texts, "--english", english]
    command += ["--out", out / "run", "--tokens", tokens, "--threads", threads, "--json"]
    trained = subprocess.run(
        [sys.executable, "-m", "pocketlm", *map(str, command)], stdout=subprocess.PIPE
    )
    if trained.returncode:
        raise SystemExit(trained.returncode)
    adapter = Path(json.loads(trained.stdout)["adapter"])
    minutes = (time.monotonic() - began) / 60
    found = {}
    with pocketlm.load(model, threads=threads, cache_type="f16") as opened:
        loaded = opened.adapter([(adapter, 1.0)])
        for name, lines in sets(data, held_back(out), sentences).items():
            found[name] = measure(opened, loaded, lines)
            print_row(name, found[name])
    log = [json.loads(line) for line in (out / "run/pretrained/log.jsonl").open()]
    steps = [line for line in log if "seconds" in line]
    taken = [  # a measurement between two steps, or a stop, makes no median
        (after["tokens"] - before["tokens"]) / (after["seconds"] - before["seconds"])
        for before, after in itertools.pairwise(steps)
        if after["seconds"] > before["seconds"]
    ]
    result = {
        "model": model,
        "processor": processor(),
        "threads": threads,
        "date": time.strftime("%Y-%m-%d"),
        "texts": sources,
        "tokens": steps[-1]["tokens"],
        "steps": steps[-1]["step"],
        "tokens_per_s": median(taken),
        "minutes_of_this_run": minutes,
        "bits_per_byte": found,
    }
    (out / "result.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(f"{result['tokens']:,} tokens, {result['tokens_per_s']:.0f} a second; {out}/result.json")


def print_row(name: str, found: dict) -> None:
    """A line of the table, as soon as it is known."""
    cells = [
        f"{part} {found[part]['value']:.3f} [{found[part]['low']:.3f}, {found[part]['high']:.3f}]"
        for part in ("before", "after", "change")
    ]
    print(f"{name:18}  {found['sentences']:4} sentences  " + "  ".join(cells), flush=True)


if __name__ == "__main__":
    typer.run(main)
