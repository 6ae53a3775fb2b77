"""The languages that come along: their files hold what they say of real text."""

import re

import pytest

from pocketlm.errors import ParameterError
from pocketlm.recipe.data.filters.language import likeliest
from pocketlm.recipe.languages.language import language, languages, read

#: Of FLORES-200, which is read here to be told apart, not to be learned.
FLORES = {
    "de": "deu_Latn",
    "es": "spa_Latn",
    "fr": "fra_Latn",
    "it": "ita_Latn",
    "pt": "por_Latn",
    "ru": "rus_Cyrl",
}


def test_all_files_are_sound():
    found = languages()
    assert {"cs", "de", "es", "fr", "it", "ru", "uk"} <= set(found)
    for code, each in found.items():
        assert each.code == code
        assert len(set(each.stop_words)) == 20, code
        assert all(word == word.strip().lower() for word in each.stop_words)


@pytest.mark.parametrize("code", FLORES)
def test_stop_words_are_in_the_language_and_not_in_english(code, test_data):
    def documents(name):
        lines = (test_data / "flores_dev" / f"{name}.dev.txt").read_text().splitlines()
        return [" ".join(lines[start : start + 5]) for start in range(0, 500, 5)]

    known = language(code)

    def holds(text):
        return len(set(known.stop_words) & set(re.findall(r"\w+", text.lower()))) >= 2

    own = documents(FLORES[code])
    assert all(holds(text) for text in own)
    assert all(likeliest(text)[0] in known.identified.codes for text in own)
    if code == "ru":
        assert not any(holds(text) for text in documents("eng_Latn"))


def test_others_are_named(tmp_path):
    with pytest.raises(ParameterError, match=r"no language 'xx'; There are cs, de"):
        language("xx")
    with pytest.raises(ParameterError, match="did you mean de"):
        language("german")
    path = tmp_path / "eo.yaml"
    text = language("de").model_dump_json().replace('"code":"de"', '"code":"eo"')
    path.write_text(text)
    assert read(path).code == "eo"
    path.write_text(text.replace('"english"', '"inglish"'))
    with pytest.raises(ParameterError, match="inglish: there is no such field"):
        read(path)
