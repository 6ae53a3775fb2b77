"""How well the language of a few words is told, as `chat --language auto` does.

    python benchmarks/language_detection.py

The first words of FLORES-200's sentences, among the languages that there are adapters for: shares
told right, told wrong, and left undecided. And sentences of languages that there are none for.
"""

from pathlib import Path
from typing import Annotated

import typer

from pocketlm.chat.language import spoken

FILES = {
    "de": "deu_Latn",
    "en": "eng_Latn",
    "fr": "fra_Latn",
    "es": "spa_Latn",
    "it": "ita_Latn",
    "pt": "por_Latn",
    "ru": "rus_Cyrl",
}
WORDS = (1, 2, 3, 6, 10)


def main(
    data: Annotated[Path, typer.Option(envvar="POCKETLM_TEST_DATA", help="FLORES.")] = Path("data"),
    sentences: Annotated[int, typer.Option(help="Of each language.")] = 300,
) -> None:
    """Print a table."""
    lines = {
        code: (data / "flores_dev" / f"{name}.dev.txt").read_text("utf-8").splitlines()[:sentences]
        for code, name in FILES.items()
    }
    for among in (("de", "en"), tuple(FILES)):
        print(f"among {', '.join(among)}")
        for words in WORDS:
            told = [
                (spoken(" ".join(line.split()[:words]), among), code)
                for code in among
                for line in lines[code]
            ]
            right = sum(found == code for found, code in told) / len(told)
            wrong = sum(found not in (code, None) for found, code in told) / len(told)
            print(f"  {words:2} words: right {right:.1%}, wrong {wrong:.1%}")
    for code in ("fr", "es", "it", "pt"):
        taken = [spoken(" ".join(line.split()[:6]), ("de", "en")) for line in lines[code]]
        share = sum(found is not None for found in taken) / len(taken)
        print(f"6 words of {code} are taken for de or en: {share:.1%}")


if __name__ == "__main__":
    typer.run(main)
