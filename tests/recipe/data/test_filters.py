"""Each filter keeps what it should and says why it drops the rest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from datatrove.data import Document
from datatrove.pipeline.filters.base_filter import BaseFilter
from tests.recipe.data.pages import BREAD, GERMAN, WATER, article, page

from pocketlm.errors import ParameterError
from pocketlm.recipe.data import recipe
from pocketlm.recipe.data.filters import heuristics
from pocketlm.recipe.data.filters.decontaminate import Decontaminate, Index
from pocketlm.recipe.data.filters.extract import Extract
from pocketlm.recipe.data.filters.language import Language
from pocketlm.recipe.data.runs import hashes, runs
from pocketlm.recipe.data.words import WORDS


def said(step: BaseFilter, text: str, **metadata: object) -> str:
    """ "kept", or the reason."""
    answer = step.filter(Document(text, "id", metadata=dict(metadata)))
    return answer[1] if isinstance(answer, tuple) else "kept" if answer else "dropped"


# Extraction


def extracted(*pages: str) -> tuple[list[str], list[str]]:
    reasons: list[str] = []

    class Writer:
        def write(self, doc: Document, rank: int = 0) -> None:
            reasons.append(doc.metadata["filter_reason"])

        def __enter__(self) -> Writer:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    step = Extract(seconds=2, precision=True)
    step.exclusion_writer = Writer()
    documents = [Document(text, str(n), metadata={"html": True}) for n, text in enumerate(pages)]
    return [doc.text for doc in step.run(documents)], reasons


def test_the_article_is_taken_out_of_its_page() -> None:
    texts, reasons = extracted(page("Water", WATER), page("Bread", BREAD))
    assert not reasons
    assert [WATER[0] in texts[0], BREAD[3] in texts[1]] == [True, True]
    for rest in ("login", "Click here", "cookies", "tracking"):
        assert rest not in texts[0]


def test_pages_without_text_have_a_reason() -> None:
    texts, reasons = extracted("<html><body></body></html>", "no page at all <<<>>>", "<")
    assert texts == []
    assert reasons == ["no main text"] * 3


def test_what_is_no_page_passes() -> None:
    step = Extract(seconds=5, precision=True)
    plain = Document("plain <text>", "0")
    assert [doc.text for doc in step.run([plain])] == ["plain <text>"]


def test_a_page_that_takes_too_long_is_dropped_and_the_next_is_read() -> None:
    endless = page("Endless", [" ".join(WATER)] * 20_000)
    texts, reasons = extracted(endless, page("Water", WATER))
    assert reasons == ["took too long"]
    assert WATER[0] in texts[0]


# Language


def test_languages() -> None:
    step = Language(["en"], 0.65)
    assert said(step, "\n".join(WATER)) == "kept"
    assert said(step, "\n".join(GERMAN)) == "language de"
    assert said(Language(["de", "en"], 0.65), "\n".join(GERMAN)) == "kept"
    assert said(Language(["en"], 1.0), "ok ok bon 12") in {"language unsure", "language fr"}
    assert said(step, "") != "kept"


def test_the_language_is_noted() -> None:
    doc = Document("\n".join(WATER), "id")
    Language(["en"], 0.5).filter(doc)
    assert doc.metadata["language"] == "en"
    assert doc.metadata["language_probability"] > 0.8


def test_real_languages(test_data: Path) -> None:
    for code, name in (("de", "deu_Latn"), ("fr", "fra_Latn"), ("ru", "rus_Cyrl")):
        lines = (test_data / f"flores_dev/{name}.dev.txt").read_text("utf-8").splitlines()
        step = Language([code], 0.5)
        kept = [said(step, " ".join(lines[n : n + 3])) == "kept" for n in range(0, 150, 3)]
        assert sum(kept) >= 49


# Words


def test_words_and_sentences() -> None:
    text = "Don't stop, it's 3.5 % \u2014 well-known! Really? Yes."
    assert WORDS.word_tokenize(text) == [
        *("Don't", "stop", "it's", "3.5", "%", "\u2014", "well-known", "Really", "Yes"),
    ]
    assert WORDS.sent_tokenize(text) == [
        "Don't stop, it's 3.5 % \u2014 well-known!",
        "Really?",
        "Yes.",
    ]
    assert WORDS.sent_tokenize("one\n\ntwo  \n") == ["one", "two"]
    assert WORDS.word_tokenize("हिन्दी में पानी") == ["हिन्दी", "में", "पानी"]


# Gopher, C4, FineWeb


def test_gopher_quality() -> None:
    step = heuristics.gopher_quality(recipe.GopherQuality(stage="gopher-quality"))
    good = "\n".join(WATER)
    assert said(step, good) == "kept"
    assert said(step, "Too short.") == "gopher_short_doc"
    assert said(step, "1 2 3 4 5 6 7 8 9 0 " * 20) == "gopher_below_avg_threshold"
    assert said(step, " ".join(f"{n}{n + 1}{n + 2}" for n in range(100))) == (
        "gopher_below_alpha_threshold"
    )
    assert said(step, "\n".join(f"- {line}" for line in " ".join(WATER).split(". "))) == (
        "gopher_too_many_bullets"
    )
    assert said(step, "# tag " * 100 + good) == "gopher_too_many_hashes"
    assert said(step, "kaufen jetzt günstig neue Schuhe hier schnell " * 12) == (
        "gopher_enough_stop_words"
    )
    german = recipe.GopherQuality(stage="gopher-quality", stop_words=("der", "und", "das", "die"))
    assert said(heuristics.gopher_quality(german), "\n".join(GERMAN)) == "kept"


def test_no_rule_breaks_on_texts_of_nothing() -> None:
    quality = recipe.GopherQuality(stage="gopher-quality", least_words=0)
    repetition = recipe.GopherRepetition(stage="gopher-repetition")
    for text in ("", " ", "\n\n", "\u200b", "...", "\u0301"):
        assert said(heuristics.gopher_quality(quality), text) != "kept"
        assert said(heuristics.c4(recipe.C4(stage="c4")), text) != "kept"
        assert said(heuristics.fineweb(recipe.FineWeb(stage="fineweb")), text) != "kept"
        if not text.strip():
            assert said(heuristics.gopher_repetition(repetition), text) == "empty"


def test_gopher_repetition() -> None:
    step = heuristics.gopher_repetition(recipe.GopherRepetition(stage="gopher-repetition"))
    assert said(step, "\n\n".join(WATER)) == "kept"
    assert said(step, "\n\n".join([WATER[0]] * 4)) == "dup_para_frac"
    assert said(step, "\n".join([WATER[0], WATER[1]] * 3)) == "dup_line_frac"
    letters = "abcdefghijklmnopqrstuvwxyz"
    assert said(step, " ".join(f"in fact {char * 6}" for char in letters)) == "top_2_gram"
    assert said(step, f"{WATER[0]} {WATER[0]} {WATER[1]}").startswith("duplicated_")
    assert said(step, "Water boils at heat.") == "kept"  # short, and nothing twice


def test_c4_takes_lines_away() -> None:
    step = heuristics.c4(recipe.C4(stage="c4"))
    doc = Document("Home\nPlease enable JavaScript now.\n" + "\n".join(WATER), "id")
    assert step.filter(doc) is True
    assert doc.text == "\n".join(WATER)
    assert said(step, "function() { return 1; }\n" + "\n".join(WATER)) == "curly_bracket"
    assert said(step, "lorem ipsum dolor sit amet.\n" * 6) == "lorem_ipsum"
    assert said(step, "One short line only here.") == "too_few_sentences"


def test_fineweb() -> None:
    step = heuristics.fineweb(recipe.FineWeb(stage="fineweb"))
    assert said(step, "\n".join(WATER)) == "kept"
    assert said(step, "\n".join(f"an entry of a long menu number {n}" for n in range(30))) == (
        "line_punct_ratio"
    )
    assert said(step, "\n".join(f"Short one {n}." for n in range(30))) == "short_line_ratio"
    assert said(step, "\n".join([*WATER, WATER[0]])) == "char_dup_ratio"


# Benchmarks

QUESTION = (
    "A farmer has seventeen sheep and buys nine more at the market, then sells half of all the "
    "sheep that he owns to his neighbour. How many sheep does the farmer have left?"
)
SHORT = "Which gas do plants take from the air at noon?"


@pytest.fixture
def benchmarks(tmp_path: Path) -> Path:
    folder = tmp_path / "benchmarks"
    (folder / "owner__farm").mkdir(parents=True)
    items = [
        {
            "id": "a long identity that is in every item of this file, as many have",
            "question": QUESTION,
        },
        {"id": "b", "question": SHORT, "choices": ["carbon dioxide", "oxygen"]},
        {"id": "c", "question": "Why?"},
    ]
    lines = "".join(json.dumps(item) + "\n" for item in items)
    (folder / "owner__farm/test.jsonl").write_text(lines)
    return folder


def test_documents_with_items_are_dropped(benchmarks: Path) -> None:
    step = Decontaminate(benchmarks, 13, 8)
    assert said(step, "\n".join(WATER)) == "kept"
    hidden = f"{WATER[0]} {QUESTION.upper().replace(',', ' ;')} {WATER[1]}"
    assert said(step, hidden) == "holds owner__farm/test"
    assert said(step, f"{WATER[0]} {SHORT} {WATER[1]}") == "holds owner__farm/test"
    part = " ".join(QUESTION.split()[4:18])
    assert said(step, f"{BREAD[0]} {part} {BREAD[1]}") == "holds owner__farm/test"


def test_less_than_an_item_is_kept(benchmarks: Path) -> None:
    step = Decontaminate(benchmarks, 13, 8)
    assert said(step, " ".join(QUESTION.split()[:12])) == "kept"
    assert said(step, "Which gas do plants take from the air?") == "kept"
    assert said(step, "Why? A long identity that is in every item of this file, as many have") == (
        "kept"
    )
    assert said(step, "") == "kept"


def test_other_numbers_are_the_same_item(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"q": "Tom has 12 apples and gives 5 to Ann now"}))
    step = Decontaminate(tmp_path, 13, 8)
    assert said(step, "So Tom has 31 apples and gives 7 to Ann now.") == "holds a"


def test_the_overlap_is_noted(benchmarks: Path) -> None:
    doc = Document(f"{WATER[0]} {SHORT}", "id")
    Decontaminate(benchmarks, 13, 8).filter(doc)
    assert doc.metadata["overlap"] == "which gas do plants take from the air at noon"


def test_items_of_real_benchmarks_are_found(test_data: Path) -> None:
    index = Index(test_data / "gsm8k", 13, 8)
    rows = (test_data / "gsm8k/test_slice_200.jsonl").read_text("utf-8").splitlines()
    found = [index.find(f"{WATER[0]} {json.loads(row)['question']}") for row in rows]
    assert all(each is not None for each in found)
    wiki = (test_data / "text/wikitext2_train_5k.txt").read_text("utf-8").splitlines()
    assert not any(index.find(line) for line in wiki[:2000])


def test_parquet_benchmarks(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"question": [QUESTION]}), tmp_path / "test.parquet")
    assert Index(tmp_path, 13, 8).find(QUESTION) is not None


def test_a_folder_without_items_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="no benchmark's items"):
        Index(tmp_path, 13, 8)
    (tmp_path / "a.jsonl").write_text("{")
    with pytest.raises(ParameterError, match=r"a\.jsonl: cannot be read"):
        Index(tmp_path, 13, 8)


def test_runs_are_equal_where_words_are() -> None:
    one, other = hashes(["a", "b", "c", "a", "b"]), hashes(["x", "a", "b"])
    assert runs(one, 2)[0] == runs(one, 2)[3] == runs(other, 2)[1]
    assert len(set(runs(one, 2).tolist())) == 3
    assert len(runs(one, 6)) == 0
    many = [" ".join(article(seed)).split() for seed in range(30)]
    flat = {tuple(words[i : i + 5]) for words in many for i in range(len(words) - 4)}
    hashed = {int(run) for words in many for run in runs(hashes(words), 5)}
    assert len(hashed) == len(flat)
