import json

import pytest
import transformers

from pocketlm.errors import ParameterError
from pocketlm.formats.tokenizer import from_folder
from pocketlm.recipe.train import tokenizer
from pocketlm.recipe.train.configuration import TokenizerRun
from recipe.train import small

TEXTS = [
    "The cat  reads\n\n\ta model.",
    " leading, and trailing ",
    "12345 año 日本 \U0001f600 <|end|> </s>",
    "",
]


@pytest.fixture(scope="module", params=["byte-level", "byte-fallback"])
def made(request, tmp_path_factory):
    return small.write_tokenizer(tmp_path_factory.mktemp("made"), request.param)


def test_it_is_read_alike_by_transformers_and_the_engine(made):
    ours, theirs = from_folder(made), transformers.AutoTokenizer.from_pretrained(made)
    assert len(theirs) == ours.vocab_size == small.VOCABULARY
    for text in [*TEXTS, *small.sentences(5, 9)]:
        found = ours.encode(text, special=True)
        assert theirs(text, add_special_tokens=False).input_ids == found
        plain = ours.encode(text)
        assert ours.decode(plain) == text
        assert not ours.control_ids.intersection(plain)
    assert theirs("The cat").input_ids[0] == ours.bos_id == ours.eos_id


def test_it_learned_words(made):
    ours = from_folder(made)
    text = "".join(small.sentences(20, 8))
    assert len(ours.encode(text)) < 0.4 * len(text)


def test_digits_stand_alone(made):
    ours = from_folder(made)
    ids = ours.encode("a 4096")
    assert [ours.decode([id]).strip() for id in ids[-4:]] == list("4096")


def test_conversations_have_phi_3s_form(made):
    theirs = transformers.AutoTokenizer.from_pretrained(made)
    turns = [{"role": "system", "content": "Be."}, {"role": "user", "content": "Why?"}]
    text = theirs.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert text == ("<|endoftext|><|system|>\nBe.<|end|>\n<|user|>\nWhy?<|end|>\n<|assistant|>\n")
    template = json.loads((made / "tokenizer_config.json").read_text())["chat_template"]
    assert template == tokenizer.CHAT_TEMPLATE


def test_too_little_text_is_said(tmp_path):
    (tmp_path / "a.txt").write_text("abc abc abc")
    run = TokenizerRun(out=tmp_path / "out", texts=(tmp_path / "a.txt",), vocabulary=1000)
    with pytest.raises(ParameterError, match=r"vocabulary: the texts \(11 bytes\) give 2\d\d tok"):
        tokenizer.train(run)
    assert not (tmp_path / "out").exists()


def test_a_broken_line_is_named(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "fine"}\n{"body": "x"}\n')
    run = TokenizerRun(out=tmp_path / "out", texts=(tmp_path / "a.jsonl",), vocabulary=300)
    with pytest.raises(ParameterError, match=r"a\.jsonl, line 2: there is no field 'text'"):
        tokenizer.train(run)
    missing = TokenizerRun(out=tmp_path / "out", texts=(tmp_path / "b.txt",), vocabulary=300)
    with pytest.raises(ParameterError, match=r"b\.txt: cannot be read: No such file"):
        tokenizer.train(missing)
