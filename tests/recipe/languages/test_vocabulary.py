import numpy as np
import pytest
import torch
import transformers

import pocketlm
from pocketlm.errors import ParameterError, UnsupportedError
from pocketlm.formats.open import open_checkpoint
from pocketlm.formats.tokenizer import Tokenizer, from_folder
from pocketlm.formats.tokenizer_folder import read_folder
from pocketlm.formats.tokenizer_gguf import read_gguf
from pocketlm.recipe.languages import vocabulary
from pocketlm.recipe.train import models
from pocketlm.recipe.train.configuration import Architecture
from recipe.train import small

#: Some Turkish, whose letters the tokenizer spells in two bytes each.
TEXT = "Küçük kedi büyük köprünün altında uyuyor, çünkü gölgede serinlik var. İğne düştü.\n" * 3
OTHER = "Köprünün altında küçük kedi.\n"


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def base(request, tmp_path_factory):
    """A model with random weights; the untied one has rows to spare."""
    folder = tmp_path_factory.mktemp("base")
    made = small.write_tokenizer(folder)
    architecture = Architecture(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        tie_word_embeddings=request.param,
        vocab_size=small.VOCABULARY + (0 if request.param else 10),
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
    for text in small.sentences(10, 5):
        assert after.encode(text) == before.encode(text)
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


def test_a_tokenizer_of_another_kind_is_refused(tmp_path):
    made = small.write_tokenizer(tmp_path, "byte-fallback")
    with pytest.raises(UnsupportedError, match="byte-level"):
        vocabulary.extend(read_folder(made), [TEXT], 10)


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
