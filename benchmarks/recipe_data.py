"""How fast each stage of the data recipe is on one core, and what a terabyte would take.

Pages are made of a text (--text, UTF-8), with menus around the paragraphs and copies among them,
packed as a web archive; one worker reads them through every stage. Times are each stage's own, as
`pocketlm data report` shows them.

    .venv/bin/python benchmarks/recipe_data.py --text wiki.txt --megabytes 20
"""

from __future__ import annotations

import argparse
import io
import json
import platform
import tempfile
from pathlib import Path

from pocketlm.recipe.data import recipe
from pocketlm.recipe.data.build import build
from pocketlm.recipe.data.report import costs
from pocketlm.recipe.data.tallies import read_tallies

STAGES = ("extract", "gopher-quality", "gopher-repetition", "c4", "fineweb", "exact-duplicates")


def write_pages(text: str, path: Path, megabytes: float) -> None:
    """Fill a web archive with pages of `text` until they are so many megabytes of HTML."""
    from warcio.statusandheaders import StatusAndHeaders
    from warcio.warcwriter import WARCWriter

    paragraphs = [line for line in text.splitlines() if len(line) > 200]
    menu = "".join(f'<li><a href="/{n}">section {n}</a></li>' for n in range(40))
    written = number = 0
    with path.open("wb") as file:
        writer = WARCWriter(file, gzip=True)
        while written < megabytes * 1e6:
            start = number * 5 if number % 10 else 0  # every tenth page is the first again
            mine = [paragraphs[(start + n) % len(paragraphs)] for n in range(5)]
            body = "".join(f"<p>{paragraph}</p>" for paragraph in mine)
            html = f"<html><body><nav><ul>{menu}</ul></nav><article>{body}</article></body></html>"
            headers = StatusAndHeaders(
                "200 OK", [("Content-Type", "text/html; charset=utf-8")], protocol="HTTP/1.1"
            )
            record = writer.create_warc_record(
                f"http://bench.test/{number}",
                "response",
                payload=io.BytesIO(html.encode()),
                http_headers=headers,
            )
            writer.write_record(record)
            written += len(html.encode())
            number += 1


def main() -> None:
    """Build, measure, print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--megabytes", type=float, default=20)
    parser.add_argument("--benchmarks", type=Path, help="items to decontaminate against")
    parser.add_argument("--classifier", type=Path, help="of `pocketlm data classifier`")
    parser.add_argument("--tokenizer", type=Path, help="a tokenizer.json with <|endoftext|>")
    parser.add_argument("--executor", choices=("local", "ray"), default="local")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--price", type=float, default=0.04, help="dollars a core and hour")
    given = parser.parse_args()
    stages: list[dict[str, object]] = [{"stage": name} for name in STAGES]
    stages.insert(1, {"stage": "language", "keep": ["en"]})
    if given.classifier:
        stages.insert(6, {"stage": "quality", "classifier": given.classifier})
    stages.append({"stage": "near-duplicates"})
    if given.benchmarks:
        stages.append({"stage": "decontaminate", "benchmarks": given.benchmarks})
    stages.append({"stage": "mask"})
    with tempfile.TemporaryDirectory() as scratch:
        raw = Path(scratch) / "raw"
        raw.mkdir()
        for worker in range(given.workers):
            path = raw / f"{worker}.warc.gz"
            write_pages(given.text.read_text("utf-8"), path, given.megabytes / given.workers)
        wanted: dict[str, object] = {
            "name": "bench",
            "sources": [{"kind": "warc", "path": raw}],
            "stages": stages,
            "tasks": given.workers,
        }
        if given.tokenizer:
            wanted["shards"] = {"tokenizer": given.tokenizer, "end": "<|endoftext|>"}
        out = Path(scratch) / "out"
        checked = recipe.Recipe.model_validate(wanted)
        build(checked, out, given.executor, given.workers, lambda _: None)
        tallies = read_tallies(out)
    found = costs(tallies, given.price)
    print(
        json.dumps(
            {
                "machine": platform.processor() or platform.machine(),
                "executor": given.executor,
                "workers": given.workers,
                "text_bytes_read": tallies.deciding[0].bytes_out,
                "documents_kept": tallies.deciding[-1].documents_out,
                "stages": {
                    cost.key: {
                        "mb_per_second_core": cost.megabytes_a_second,
                        "core_hours_per_tb": cost.core_hours,
                    }
                    for cost in found
                },
                "core_hours_per_tb": sum(cost.core_hours for cost in found),
                "dollars_per_tb": sum(cost.dollars for cost in found),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
