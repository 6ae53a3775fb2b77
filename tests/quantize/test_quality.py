"""What was lost: known distributions, a reference in float64, intervals that hold what they say."""

import json
import math
import xml.etree.ElementTree as ElementTree
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from parity.stories import write_gguf
from pocketlm.errors import ModelFileError, ParameterError
from pocketlm.quantize.plot import Point, by_bits, by_share
from pocketlm.quantize.quality import Estimate, Loss, compare, estimate, likelihood
from pocketlm.quantize.reading import (
    Reader,
    check_same_vocabulary,
    losses,
    measure,
    read_text,
    windows,
)
from pocketlm.quantize.reading import Size as ModelSize
from quantize import tiny


def logits(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 4, shape).astype(np.float32)


def mean(values: np.ndarray) -> float:
    return float(values.mean())


class TestCompare:
    def test_a_model_beside_itself_loses_nothing_at_all(self):
        of_model = logits(50, 300)
        loss = compare(of_model, of_model.copy(), np.arange(50))
        assert (loss.divergence == 0).all()
        assert (loss.probability_change == 0).all()
        assert (loss.same_top == 1).all()
        assert (loss.nll == loss.reference_nll).all()

    def test_known_distributions(self):
        reference = np.log(np.array([[0.5, 0.25, 0.25], [0.8, 0.1, 0.1]]))
        model = np.log(np.array([[0.25, 0.5, 0.25], [0.8, 0.1, 0.1]]))
        shift = np.array([[7.0], [-3.0]])  # which says nothing
        loss = compare(
            reference.astype(np.float32),
            (model + shift).astype(np.float32),
            np.array([0, 1]),
        )
        # 0.5 ln(0.5 / 0.25) + 0.25 ln(0.25 / 0.5)
        assert loss.divergence == pytest.approx([0.25 * math.log(2), 0], abs=1e-6)
        assert loss.reference_nll == pytest.approx([math.log(2), math.log(10)], abs=1e-6)
        assert loss.nll == pytest.approx([math.log(4), math.log(10)], abs=1e-6)
        assert loss.probability_change == pytest.approx([-0.25, 0], abs=1e-6)
        assert loss.same_top.tolist() == [0, 1]

    def test_the_reference_comes_first(self):
        """KL(reference || model): a model that rules out what may come loses without limit."""
        even, sure = np.zeros((1, 2), np.float32), np.array([[0, -40]], np.float32)
        assert compare(even, sure, np.array([0])).divergence[0] == pytest.approx(
            20 - math.log(2), abs=1e-6
        )
        assert compare(sure, even, np.array([0])).divergence[0] == pytest.approx(math.log(2))

    def test_against_float64(self):
        reference, model = logits(37, 1000), logits(37, 1000, seed=1)
        targets = np.random.default_rng(2).integers(1000, size=37)
        loss = compare(reference, model, targets)
        for row, target in enumerate(targets):
            z, w = (each[row].astype(np.longdouble) for each in (reference, model))
            p, q = (np.exp(each) / np.exp(each).sum() for each in (z, w))
            assert loss.divergence[row] == pytest.approx(float((p * np.log(p / q)).sum()))
            assert loss.nll[row] == pytest.approx(float(-np.log(q[target])))
            assert loss.reference_nll[row] == pytest.approx(float(-np.log(p[target])))
            assert loss.probability_change[row] == pytest.approx(float(q[target] - p[target]))
            assert loss.same_top[row] == (z.argmax() == w.argmax())
        assert (likelihood(model, targets).nll == loss.nll).all()

    def test_large_logits_do_not_overflow(self):
        reference = np.array([[3e4, 0, -3e4]], np.float32)
        loss = compare(reference, -reference, np.array([0]))
        assert loss.divergence[0] == pytest.approx(6e4)
        assert loss.nll[0] == pytest.approx(6e4)

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_logits_that_are_not_finite(self, bad):
        good, broken = logits(9, 20), logits(9, 20)
        broken[8, 3] = bad
        targets = np.zeros(9, np.intp)
        for pair in ((good, broken), (broken, good)):
            with pytest.raises(ParameterError, match="not finite"):
                compare(*pair, targets)
        with pytest.raises(ParameterError, match="not finite"):
            likelihood(broken, targets)

    def test_arrays_that_do_not_belong_together(self):
        with pytest.raises(ParameterError, match="do not belong together"):
            compare(logits(3, 5), logits(3, 6), np.zeros(3, np.intp))
        with pytest.raises(ParameterError, match="do not belong together"):
            compare(logits(3, 5), logits(3, 5), np.zeros(2, np.intp))


@pytest.fixture(scope="module")
def loss() -> Loss:
    """Six windows of 40 tokens."""
    parts = [
        compare(
            logits(20, 50, seed=seed),
            logits(20, 50, seed=seed) + logits(20, 50, seed=100 + seed) / 8,
            np.arange(20),
        )
        for seed in range(12)
    ]
    return Loss.joined(parts, windows=6)


class TestStatistics:
    def test_values(self, loss):
        assert all(getattr(loss, field.name).shape == (6, 40) for field in fields(loss))
        found = {name: each.value for name, each in loss.estimates().items()}
        assert found == pytest.approx(
            {
                "perplexity": np.exp(loss.nll.mean()),
                "reference_perplexity": np.exp(loss.reference_nll.mean()),
                "perplexity_ratio": np.exp(loss.nll.mean()) / np.exp(loss.reference_nll.mean()),
                "kl_mean": loss.divergence.mean(),
                "kl_median": np.median(loss.divergence),
                "kl_99": np.quantile(loss.divergence, 0.99),
                "rms_probability_change_percent": 100
                * np.sqrt((loss.probability_change**2).mean()),
                "same_top_percent": 100 * loss.same_top.mean(),
            }
        )
        assert loss.kl_max == loss.divergence.max()

    def test_intervals_hold_the_value_and_are_the_same_again(self, loss):
        again = Loss(*(getattr(loss, field.name) for field in fields(loss)))
        assert again.estimates() == loss.estimates()
        for each in loss.estimates().values():
            assert each.low <= each.value <= each.high
            assert each.low < each.high

    def test_a_ratio_is_surer_than_perplexities(self, loss):
        """Both models read the same tokens, so what is hard to predict cancels."""
        ratio, of_model = loss.perplexity_ratio, loss.perplexity
        assert (ratio.high - ratio.low) < (of_model.high - of_model.low) / of_model.value / 2

    @pytest.mark.parametrize("windows", [5, 16, 100])
    def test_95_of_100_intervals_hold_the_truth(self, windows):
        """Though the tokens of a window depend on each other."""
        rng = np.random.default_rng(windows)
        held, times = 0, 300
        for _ in range(times):
            shared = rng.normal(0, 1, (windows, 1))
            found = estimate(shared + rng.normal(0, 2, (windows, 20)), mean)
            held += found.low <= 0 <= found.high
        assert 0.90 < held / times < 0.985

    def test_equal_windows_leave_no_doubt(self):
        assert estimate(np.full((4, 10), 0.5), mean) == Estimate(0.5, 0.5, 0.5)

    def test_one_window_gives_no_interval(self):
        for values in (np.zeros((1, 10)), np.zeros(10)):
            with pytest.raises(ParameterError, match="two windows"):
                estimate(values, mean)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny")
    tiny.save("llama, grouped and tied", path)
    return path


TEXT = "abc ab a er\n\n Hello, 12 ers! " * 40


class TestReading:
    def test_logits_are_those_of_the_second_half(self, folder):
        import pocketlm

        with Reader(folder, context=100) as reader, pocketlm.load(folder, cache_type="f16") as m:
            (first, *_) = windows(TEXT, reader.tokenizer, context=100, tokens=300)
            found = np.concatenate(list(reader.logits(first)))
            assert (found == m.logits(first.tolist())[50:-1]).all()

    def test_a_window_of_several_steps(self, test_data, tmp_path):
        """A step has 256 tokens at most; the second half begins within one."""
        import pocketlm

        path = tmp_path / "stories.gguf"
        write_gguf(test_data / "models", path)
        text = read_text(test_data / "text" / "tinyshakespeare.txt")
        with Reader(path, context=510) as reader, pocketlm.load(path, cache_type="f16") as m:
            ids = windows(text, reader.tokenizer, context=510, tokens=1100)
            for window in ids:
                found = list(reader.logits(window))
                assert [len(part) for part in found] == [1, 253]
                exact = m.logits(window.tolist())[255:-1]
                assert (np.concatenate(found) == exact).all()
            (loss,) = losses([reader], reader, ids)
            right = np.take_along_axis(
                np.stack([m.logits(w.tolist())[255:-1] for w in ids]), ids[:, 256:, None], 2
            )
            assert loss.nll.shape == right[:, :, 0].shape
            assert (loss.divergence == 0).all()
            # A trained model predicts the text far better than chance: targets are the next tokens.
            assert loss.perplexity.value < 512 / 4

    def test_windows_are_those_of_the_text_each_with_bos(self, test_data, tmp_path):
        path = tmp_path / "stories.gguf"
        write_gguf(test_data / "models", path)
        text = read_text(test_data / "text" / "tinyshakespeare.txt")
        with Reader(path, context=64) as reader:
            tokenizer = reader.tokenizer
            ids = windows(text, tokenizer, context=64, tokens=1000)
            assert ids.shape == (15, 64)
            assert (ids[:, 0] == tokenizer.bos_id).all()
            whole = [tokenizer.bos_id, *tokenizer.encode(text[:8000])]
            assert (ids[:, 1:] == np.array(whole[:960]).reshape(15, 64)[:, 1:]).all()

    def test_sizes(self, folder):
        with Reader(folder, context=8) as reader:
            assert reader.size == ModelSize((folder / "model.safetensors").stat().st_size, 32.0)

    def test_measure_reads_all_models_in_step(self, folder, tmp_path):
        other, text = tmp_path / "other", tmp_path / "text.txt"
        tiny.save("llama with llama3 rope", other)
        text.write_text(TEXT)
        told: list[str] = []
        results = measure(
            [other, folder], [text, text], against=folder, context=64, tokens=200, threads=1,
            progress=told.append,
        )  # fmt: skip
        assert [len(reading.found) for reading in results.readings] == [2, 2]
        for reading in results.readings:
            lost, same = reading.found
            assert isinstance(lost, Loss)
            assert isinstance(same, Loss)
            assert lost.divergence.shape == (3, 31)
            assert lost.divergence.min() > 0
            assert (same.divergence == 0).all()
            assert (same.nll == lost.reference_nll).all()
        alone = measure([other], [text], context=64, tokens=200, threads=2)
        assert alone.reference is None
        assert (alone.readings[0].found[0].nll == results.readings[0].found[0].nll).all()
        assert told[0] == "loading other"
        assert told[-1] == f"reading {text}, window 3 of 3"

    @pytest.mark.parametrize(("context", "word"), [(3, "4 tokens at least"), (129, "129")])
    def test_contexts_that_cannot_be(self, folder, context, word):
        with pytest.raises(ParameterError, match=word):
            Reader(folder, context=context)

    def test_another_vocabulary(self, folder, tmp_path):
        other = tmp_path / "other"
        tiny.save("llama, grouped and tied", other)
        path = other / "tokenizer.json"
        file = json.loads(path.read_text())
        ids = file["model"]["vocab"]
        ids["x"], ids["y"] = ids["y"], ids["x"]
        path.write_text(json.dumps(file))
        with (
            Reader(folder, context=8) as model,
            Reader(other, context=8) as reference,
            pytest.raises(ParameterError, match=r"is 'x' in .* and 'y' in .* of one vocabulary"),
        ):
            check_same_vocabulary(model, reference)

    def test_damaged_weights_are_named(self, folder, tmp_path):
        from safetensors.numpy import load_file, save_file

        other = tmp_path / "other"
        tiny.save("llama, grouped and tied", other)
        tensors = load_file(other / "model.safetensors")
        tensors["model.layers.1.mlp.down_proj.weight"] *= 1e37  # finite; what it computes is not
        tensors["model.layers.1.mlp.up_proj.weight"] *= 1e30
        save_file(tensors, other / "model.safetensors")
        with Reader(other, context=16) as reader:
            ids = windows(TEXT, reader.tokenizer, context=16, tokens=64)
            with pytest.raises(ModelFileError, match="other: computes logits that are not finite"):
                list(reader.logits(ids[0]))


class TestPlots:
    def test_by_bits(self):
        points = [
            Point("a <b>", 4.5, Estimate(0.1, 0.05, 0.2)),
            Point("c", 8.5, Estimate(0.001, 0.0005, 0.002)),
        ]
        root = ElementTree.fromstring(by_bits({"one": points, "two & three": points}, "Loss"))
        texts = [each.text for each in root.iter() if each.text and each.text.strip()]
        assert texts.count("a <b>") == 1
        for text in ("Loss", "bits per weight", "one", "two & three", "c", "0.1"):
            assert text in texts
        circles = [c for c in root.iter() if c.tag.endswith("circle")]
        assert len(circles) == 4
        first, second = circles[:2]
        assert float(first.get("cx")) < float(second.get("cx"))  # more bits to the right
        assert float(first.get("cy")) < float(second.get("cy"))  # more loss upwards

    def test_by_share(self):
        rng = np.random.default_rng(0)
        root = ElementTree.fromstring(by_share({"one": rng.exponential(0.01, 5000)}, "Loss"))
        (line,) = (each for each in root.iter() if each.tag.endswith("polyline"))
        places = [tuple(map(float, pair.split(","))) for pair in line.get("points").split()]
        assert places == sorted(places, key=lambda place: (place[0], -place[1]))

    def test_nothing_lost_can_be_drawn(self):
        ElementTree.fromstring(by_share({"one": np.zeros(100)}, "Loss"))
        same = Point("same", 16.0, Estimate(0.0, 0.0, 0.0))
        ElementTree.fromstring(by_bits({"one": [same]}, "Loss"))
