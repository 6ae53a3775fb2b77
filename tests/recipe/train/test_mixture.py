import numpy as np
import pytest
import torch

from pocketlm.errors import ParameterError
from pocketlm.recipe.data.shards import Shards
from pocketlm.recipe.train import models
from pocketlm.recipe.train.mixture import Mixture, Windows
from pocketlm.recipe.train.packing import pack
from recipe.train import small


@pytest.fixture(scope="module")
def sources(material):
    return {name: Windows(name, Shards(material / name), 32) for name in ("web", "fine")}


def test_windows_are_the_sources_tokens_one_after_another(material):
    shards = Shards(material / "web")
    windows = Windows("web", shards, 32)
    assert windows.count == (shards.tokens - 1) // 32
    ids = np.concatenate([windows[number].ids[:-1] for number in range(windows.count)])
    np.testing.assert_array_equal(ids, shards.read(0, windows.count * 32))
    for number in range(windows.count - 1):
        assert windows[number].ids[-1] == windows[number + 1].ids[0]


def test_a_document_begins_at_the_end_of_the_one_before(material):
    shards = Shards(material / "web")
    windows = Windows("web", shards, 32)
    for number in range(40):
        window = windows[number]
        changes = np.flatnonzero(np.diff(window.documents)) + 1
        np.testing.assert_array_equal(window.ids[changes], shards.end_of_document)
        ends = np.flatnonzero(window.ids[1:] == shards.end_of_document) + 1
        np.testing.assert_array_equal(changes, ends)


def test_shares_are_kept_and_an_epoch_has_each_window_once(sources):
    mixture = Mixture(sources, seed=1)
    drawn = mixture.batch(200, {"web": 3, "fine": 1}, {})
    assert [name for name, _ in drawn].count("web") == 150
    count = sources["fine"].count
    mixture = Mixture(sources, seed=1)
    first = mixture.batch(count, {"fine": 1}, {})
    second = mixture.batch(count, {"fine": 1}, {})
    assert sorted(number for _, number in first) == list(range(count))
    assert sorted(second) == sorted(first)
    assert second != first
    assert mixture.epochs() == {"web": 0, "fine": 2}


def test_a_phase_has_its_own_shares(sources):
    mixture = Mixture(sources, seed=1)
    mixture.batch(100, {"web": 1}, {})
    since = dict(mixture.taken)
    names = [name for name, _ in mixture.batch(100, {"web": 0.2, "fine": 0.8}, since)]
    assert names.count("fine") == 80
    assert "web" in names[:6]


def test_what_was_taken_decides_what_comes(sources):
    shares = {"web": 0.7, "fine": 0.3}
    whole = Mixture(sources, seed=5)
    drawn = [whole.batch(8, shares, {}) for _ in range(60)]
    later = Mixture(sources, seed=5)
    before = Mixture(sources, seed=5)
    for _ in range(37):
        before.batch(8, shares, {})
    later.taken = dict(before.taken)
    assert [later.batch(8, shares, {}) for _ in range(23)] == drawn[37:]
    other = Mixture(sources, seed=6)
    assert other.batch(8, shares, {}) != drawn[0]


def test_too_few_tokens_are_said(material):
    with pytest.raises(ParameterError, match="fewer than a window of 1,000,000"):
        Windows("web", Shards(material / "web"), 1_000_000)


def test_tokens_attend_to_their_own_document_alone(material, sources):
    """Each document of a window has the logits that it has by itself."""
    tokenizer = models.open_tokenizer(material / "tokenizer-byte-level")
    architecture = small.run(material, material / "none").model
    model = models.create(architecture, tokenizer, 32, seed=3).train(False)
    window = next(
        sources["web"][number]
        for number in range(sources["web"].count)
        if 5 < np.diff(sources["web"][number].documents[:-1]).argmax() < 25
    )
    plain = next(
        sources["web"][number]
        for number in range(sources["web"].count)
        if not np.diff(sources["web"][number].documents[:-1]).any()
    )
    batch = pack([window, plain], across_documents=False)
    assert batch.mask is not None
    with torch.no_grad():
        logits = model(
            input_ids=batch.inputs, position_ids=batch.positions, attention_mask=batch.mask
        ).logits
        cut = int(np.diff(window.documents[:-1]).argmax()) + 1
        for start, stop in ((0, cut), (cut, 32)):
            ids = torch.from_numpy(window.ids[None, start:stop])
            if len(set(window.documents[start:stop])) > 1:
                continue
            alone = model(input_ids=ids).logits[0]
            torch.testing.assert_close(logits[0, start:stop], alone, atol=1e-5, rtol=1e-4)
        alone = model(input_ids=torch.from_numpy(plain.ids[None, :-1])).logits[0]
        torch.testing.assert_close(logits[1], alone, atol=1e-5, rtol=1e-4)
        together = pack([window, plain], across_documents=True)
        assert together.mask is None
        other = model(input_ids=together.inputs, position_ids=together.positions).logits
    assert (other[0, cut:] - logits[0, cut:]).abs().max() > 1e-3
