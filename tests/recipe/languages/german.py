"""German documents, put together from parts: enough for filters to take them for prose."""

import json
from pathlib import Path

import numpy as np

_WHO = ["Die Gärtnerin", "Der Nachbar", "Ein alter Freund", "Das Kind", "Meine Großmutter"]
_DOES = ["erzählt von", "denkt oft an", "schreibt über", "freut sich auf", "wartet seit Tagen auf"]
_WHAT = ["die Äpfel", "den langen Weg", "das kleine Haus", "den Winter", "die Reise"]
_WHERE = ["hinter der Mühle", "am Fluss", "in der Küche", "vor dem Bahnhof", "unter der Brücke"]
_WHY = [
    "weil es dort ruhig ist",
    "und das ist nicht für jeden leicht",
    "die zu den schönsten im Lande gehören",
    "auch wenn es regnet und der Wind weht",
    "denn ein Tag mit Arbeit geht schnell vorbei",
]


_SYLLABLES = ["ber", "gen", "hof", "stein", "lin", "wal", "dorf", "mer", "tal", "sche", "rau"]


def document(seed: int) -> str:
    """About 200 words. Invented names keep documents, and lines, from being copies."""
    draw = np.random.default_rng(seed)

    def name() -> str:
        return "".join(draw.choice(_SYLLABLES, 3)).capitalize()

    def line() -> str:
        who, does, what, where, why = (
            str(draw.choice(part)) for part in (_WHO, _DOES, _WHAT, _WHERE, _WHY)
        )
        begin = f"{who} aus {name()} {does} {what} von {name()} {where}, {why}."
        return f"{begin} Das war im {name()}er Wald mit {name()} und {name()}."

    return "\n".join(line() for _ in range(8))


def write(folder: Path, count: int = 24) -> Path:
    """A folder of them, with some English that is to be left out."""
    folder.mkdir()
    for number in range(count):
        (folder / f"{number}.txt").write_text(document(number), "utf-8")
    english = "The miller and his wife have a house by the river, and that is where I met them. "
    (folder / "english.txt").write_text(english * 8, "utf-8")
    return folder


def write_chats(path: Path) -> Path:
    """Conversations of one turn."""
    rows = []
    for number in range(8):
        turns = [
            {"role": "user", "content": f"Wer ist es, {number}?"},
            {"role": "assistant", "content": _WHO[number % len(_WHO)]},
        ]
        rows.append(json.dumps({"messages": turns}, ensure_ascii=False))
    path.write_text("\n".join(rows) + "\n", "utf-8")
    return path
