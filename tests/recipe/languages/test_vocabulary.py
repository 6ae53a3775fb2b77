import json

import numpy as np
import pytest
import torch
import transformers

import pocketlm
from pocketlm.errors import ParameterError
from pocketlm.formats import gguf
from pocketlm.formats.gguf_keys import tokenizer_keys
from pocketlm.formats.open import open_checkpoint
from pocketlm.formats.tokenizer import Tokenizer, from_folder
from pocketlm.formats.tokenizer_folder import read_folder
from pocketlm.formats.tokenizer_gguf import read_gguf
from pocketlm.formats.tokenizer_json import tokenizer_json
from pocketlm.quantize.export import export
from pocketlm.recipe.languages import vocabulary
from pocketlm.recipe.train import models
from pocketlm.recipe.train.configuration import Architecture
from recipe.train import small

#: Some Turkish, whose letters the tokenizer spells in two bytes each.
TEXT = "Küçük kedi büyük köprünün altında uyuyor, çünkü gölgede serinlik var. İğne düştü.\n" * 3
OTHER = "Köprünün altında küçük kedi.\n"


@pytest.fixture(
    scope="module",
    params=[(True, "byte-level"), (False, "byte-level"), (True, "byte-fallback")],
    ids=["tied", "untied", "byte-fallback"],
)
def base(request, tmp_path_factory):
    """A model with random weights; the untied one has rows to spare."""
    tied, kind = request.param
    folder = tmp_path_factory.mktemp("base")
    made = small.write_tokenizer(folder, kind)
    architecture = Architecture(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        tie_word_embeddings=tied,
        vocab_size=small.VOCABULARY + (0 if tied else 10),
    )
    model = models.create(architecture, models.open_tokenizer(made), 64, seed=0)
    (folder / "model").mkdir()
    models.write(folder / "model", model, made)
    return folder / "model"


@pytest.fixture(scope="module")
def grown(base, tmp_path_factory):
    target = tmp_path_factory.mktemp("grown") / "model"
    return target, vocabulary.extend_model(base, target, [TEXT], 40)


def test_the_language_takes_fewer_tokens_and_what_was_known_the_same(base, grown):
    before, after = from_folder(base), from_folder(grown[0])
    assert after.vocab_size == before.vocab_size + len(grown[1].pieces)
    assert 30 <= len(grown[1].pieces) <= 40
    assert len(after.encode(TEXT)) < 0.6 * len(before.encode(TEXT))
    assert after.decode(after.encode(TEXT + OTHER)) == TEXT + OTHER
    same = 0
    for text in small.sentences(10, 5):
        if max(found := after.encode(text)) < before.vocab_size:
            assert found == before.encode(text)
            same += 1
    assert same >= 3
    assert after.control == before.control


def test_new_tokens_are_found_by_all_who_read_the_folder(grown):
    folder, extension = grown
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    ours = from_folder(folder)
    for text in (TEXT, OTHER, "the cat"):
        ids = ours.encode(text)
        assert theirs(text, add_special_tokens=False).input_ids == ids
        assert Tokenizer(extension.vocabulary).encode(text) == ids
    # A token that is nothing but a step to a longer one may be in no text; most are in this one.
    used = set(ours.encode(TEXT))
    assert sum(id >= extension.first for id in used) > 10


def test_a_new_row_is_the_mean_of_what_it_replaces(base, grown):
    folder, extension = grown
    old, new = models.load(base), models.load(folder)
    known = from_folder(base)
    for row, pieces in enumerate(extension.pieces, extension.first):
        spelled = b"".join(known.token_bytes(id) for id in pieces)
        assert from_folder(folder).token_bytes(row) == spelled
        for one, other in (
            (old.get_input_embeddings(), new.get_input_embeddings()),
            (old.get_output_embeddings(), new.get_output_embeddings()),
        ):
            torch.testing.assert_close(other.weight[row], one.weight[pieces].mean(0))
    size = known.vocab_size
    assert torch.equal(
        new.get_input_embeddings().weight[:size], old.get_input_embeddings().weight[:size]
    )


def test_the_engine_opens_it(grown):
    folder, _ = grown
    reference = models.load(folder).train(False)
    with pocketlm.load(folder, threads=1, cache_type="f16") as model:
        ids = model.text_tokens(OTHER)
        found = model.logits(ids)
    with torch.no_grad():
        expected = reference(torch.tensor([ids])).logits[0].numpy()
    rows = min(found.shape[1], expected.shape[1])
    np.testing.assert_allclose(found[:, :rows], expected[:, :rows], atol=2e-3)


def test_texts_that_teach_nothing_are_said(base):
    with pytest.raises(ParameterError, match="no new token"):
        vocabulary.extend(read_folder(base), ["a b c"], 10)


def test_characters_without_a_token_come_first_and_are_counted(tmp_path):
    known = read_folder(small.write_tokenizer(tmp_path, "byte-fallback"))
    assert not {"ü", "ğ", "ş"} & set(known.tokens)
    before = Tokenizer(known)
    extension = vocabulary.extend(known, ["ü ğ ü ş ü ğ\n\n\t"] * 2, 2)
    # No more than asked for, the most frequent first; lines and tabs keep their bytes.
    assert extension.vocabulary.tokens[extension.first :] == ["ü", "ğ"]
    for character, pieces in zip("üğ", extension.pieces, strict=True):
        assert bytes(before.token_bytes(id)[0] for id in pieces) == character.encode()
    after = Tokenizer(extension.vocabulary)
    assert after.encode("ş\n") == before.encode("ş\n")
    assert extension.first in after.encode("ü")


def test_words_end_where_no_token_should_reach_across(tmp_path):
    known = read_folder(small.write_tokenizer(tmp_path, "byte-fallback"))
    extension = vocabulary.extend(known, ["öy 12öy12 öy, (öy) öy öy"] * 20, 30)
    fresh = extension.vocabulary.tokens[extension.first :]
    assert "▁öy" in fresh
    assert "öy" in fresh
    for token in (token for token in fresh if len(token) > 1):
        assert token.rfind("▁") <= 0
        body = token.removeprefix("▁")
        assert len({character.isalpha() for character in body}) == 1, token
        assert not any(character.isdigit() for character in body), token


def test_scores_can_say_the_same_as_the_merges(grown, tmp_path):
    """GGUF holds SentencePiece's scores, which give every way to make a token."""
    folder, _ = grown
    export(folder, tmp_path / "model.gguf", "gguf")
    ours = from_folder(folder)
    with open_checkpoint(tmp_path / "model.gguf") as checkpoint:
        theirs = checkpoint.tokenizer()
    for text in (TEXT, OTHER, "köpköprüprü  altaltında\n1ü2", *small.sentences(5, 5)):
        assert theirs.encode(text) == ours.encode(text)


@pytest.fixture(scope="module")
def phi3(test_data):
    """Phi-3's own vocabulary."""
    file = test_data / "tokenizer" / "ggml-vocab-phi-3.gguf"
    return read_gguf(gguf.read_gguf(file.read_bytes()).metadata)


@pytest.mark.parametrize("language", ["hin_Deva", "deu_Latn"])
def test_phi_3_learns_a_language_and_keeps_what_it_knows(phi3, test_data, language, tmp_path):
    """Its letters may have no token (Hindi) or nearly all have one (German)."""
    texts = {
        name: (test_data / "flores_dev" / f"{name}.dev.txt").read_text().splitlines()
        for name in (language, "eng_Latn")
    }
    lines = texts[language]
    half = len(lines) // 2
    extension = vocabulary.extend(phi3, lines[:half], 1000)
    assert len(extension.pieces) == 1000
    before, after = Tokenizer(phi3), Tokenizer(extension.vocabulary)
    unseen = "\n".join(lines[half:])
    ids = after.encode(unseen)
    assert len(ids) < (0.4 if language == "hin_Deva" else 0.96) * len(before.encode(unseen))
    assert after.decode(ids) == unseen
    # Texts without a new token are what they were.
    checked = 0
    code = ["def f(x):\n\treturn x[0] + 12.5  # 日本\n", "<|user|> </s> ▁▁ 🙂"]
    for line in [*texts["eng_Latn"][:200], *code]:
        found = after.encode(line)
        if not any(id >= extension.first for id in found):
            assert found == before.encode(line)
            checked += 1
    assert checked > 100
    assert after.control == before.control
    # And all read the same: transformers from the folder's file, and who opens a GGUF file.
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps(tokenizer_json(extension.vocabulary)))
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_file=str(file))
    size = len(extension.vocabulary.tokens)
    of_gguf = Tokenizer(read_gguf(tokenizer_keys(extension.vocabulary, size, [])))
    for text in (*lines[half:], *texts["eng_Latn"][:50], unseen, code[0]):
        ids = after.encode(text)
        assert theirs(text, add_special_tokens=False).input_ids == ids
        assert of_gguf.encode(text) == ids


def test_a_real_tokenizer_learns_a_real_language(smollm2, test_data):
    """SmolLM2's own vocabulary and German sentences: others that it has not seen get shorter."""
    with open_checkpoint(smollm2) as checkpoint:
        known = read_gguf(checkpoint.metadata)
        before = checkpoint.tokenizer()
    lines = (test_data / "flores_dev" / "deu_Latn.dev.txt").read_text().splitlines()
    english = (test_data / "flores_dev" / "eng_Latn.dev.txt").read_text()
    half = len(lines) // 2
    extension = vocabulary.extend(known, lines[:half], 1000)
    after = Tokenizer(extension.vocabulary)
    assert len(extension.pieces) > 900
    unseen = "\n".join(lines[half:])
    assert len(after.encode(unseen)) < 0.85 * len(before.encode(unseen))
    assert len(after.encode(english)) <= len(before.encode(english))
    assert after.decode(after.encode(unseen)) == unseen
