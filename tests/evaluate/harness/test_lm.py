"""The engine and transformers, asked the same by the harness, say the same.

The models are tiny random ones, with a vocabulary of letters and a context of 128 tokens.
"""

import lm_eval
import pytest
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

import pocketlm
from evaluate.harness import local
from pocketlm.errors import ContextError, Error, ParameterError
from pocketlm.evaluate.harness.lm import HarnessModel
from pocketlm.evaluate.harness.run import SEED, measure
from pocketlm.ledger import Ledger
from quantize import tiny

NAMES = ["llama, grouped and tied", "phi3 with a window", "phi3 with longrope"]
SHARED = "ab 12 abc er\n" * 4
PAIRS = [
    ("", "abc"),
    ("", "<s>ab"),
    ("ab 1", " 2"),
    ("ab ", "2 er"),  # its space goes to the continuation
    ("<s>ab", " ab"),
    ("a<|end|>b", " <tool>c"),
    (SHARED, "a"),
    (SHARED, "b"),
    (SHARED, "ab er"),
    (SHARED, "ab er 1"),
    (SHARED + "1", " 2"),
    (SHARED * 5, " 2 er"),  # longer than the context
    (SHARED * 5, "ab 12 abc er\n" * 2),
    ("é", "ü \t"),
    ("ab 1", " 2"),  # the same again
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {name: tmp_path_factory.mktemp("model") for name in NAMES}
    for name, folder in made.items():
        local.save(name, folder)
    return made


@pytest.fixture(scope="module")
def transformers_models(folders):
    return {name: HFLM(str(folders[name]), device="cpu", dtype="float32") for name in NAMES}


@pytest.fixture(params=NAMES)
def both(request, folders, transformers_models, tmp_path):
    """A model in the engine, and in transformers through the harness's back-end."""
    with (
        pocketlm.load(folders[request.param], threads=1, cache_type="f16") as model,
        Ledger(tmp_path / "ledger.jsonl", {}) as ledger,
    ):
        yield HarnessModel(model, ledger), transformers_models[request.param]


@pytest.fixture
def llama(folders):
    with pocketlm.load(folders[NAMES[0]], threads=1, cache_type="f16") as model:
        yield model


def requests(kind, arguments):
    return [
        Instance(kind, {}, each, 0, metadata=("task", place, 1))
        for place, each in enumerate(arguments)
    ]


def test_options_are_as_probable_as_for_transformers(both):
    ours, theirs = both
    asked = requests("loglikelihood", PAIRS)
    expected = theirs.loglikelihood(asked, disable_tqdm=True)
    found = ours.loglikelihood(asked)
    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]
    for (logprob, _), (reference, _) in zip(found, expected, strict=True):
        assert logprob == pytest.approx(reference, abs=1e-2)
    assert ours.cut == {"task": 2}


def test_whole_texts_are_as_probable_as_for_transformers(both):
    ours, theirs = both
    asked = requests("loglikelihood_rolling", [("",), ("ab",), (SHARED,), (SHARED * 6,)])
    expected = theirs.loglikelihood_rolling(asked, disable_tqdm=True)
    assert ours.loglikelihood_rolling(asked) == pytest.approx(expected, abs=1e-2)


@pytest.mark.parametrize("until", [["q", "ab"], []])
def test_answers_are_those_of_transformers(both, until):
    ours, theirs = both
    if theirs.config.rope_parameters["rope_type"] == "longrope":
        pytest.skip("transformers keeps keys of the other factors when a text grows long")
    options = {"until": until, "max_gen_toks": 20, "do_sample": False}
    prompts = ["ab 1", SHARED, SHARED + "1", SHARED * 5, "ab 1"]
    asked = requests("generate_until", [(prompt, dict(options)) for prompt in prompts])
    expected = theirs.generate_until(asked, disable_tqdm=True)
    assert ours.generate_until(asked) == expected
    assert ours.cut == {"task": 1}


def test_a_whole_evaluation_is_that_of_transformers(llama, transformers_models, tmp_path):
    tasks = [make(tmp_path) for make in (local.sums, local.letters, local.texts, local.answers)]
    theirs = transformers_models[NAMES[0]]
    known = TaskManager(include_defaults=False)
    expected = lm_eval.simple_evaluate(
        theirs, tasks=tasks, fewshot_random_seed=SEED, task_manager=known
    )
    results, samples = measure(llama, tmp_path / "out", tasks=tasks)
    for said in ("n-shot", "n-samples", "versions", "higher_is_better"):
        assert results[said] == expected[said]
    assert results["truncated"] == {}
    for task, figures in expected["results"].items():
        assert results["results"][task] == pytest.approx(figures, abs=1e-2), task
    for task, items in expected["samples"].items():
        for found, reference in zip(samples[task], items, strict=True):
            for same in ("doc_id", "prompt_hash", "target_hash", "doc_hash", "metrics"):
                assert found[same] == reference[same]
            for metric in {"acc", "acc_norm", "exact_match"} & {*reference["metrics"]}:
                assert found[metric] == reference[metric]
    assert [sample["filtered_resps"] for sample in samples["answers"]] == [
        sample["filtered_resps"] for sample in expected["samples"]["answers"]
    ]


def test_chats_are_those_of_transformers(both):
    ours, theirs = both
    chat = [{"role": "system", "content": "ab"}, {"role": "user", "content": "abc 1"}]
    assert ours.apply_chat_template(chat) == theirs.apply_chat_template(chat)
    begun = [*chat, {"role": "assistant", "content": "er "}]
    assert ours.apply_chat_template(begun, False) == theirs.apply_chat_template(begun, False)
    assert ours.chat_template(True) == theirs.chat_template(True) == tiny.TEMPLATE


def test_what_was_answered_is_not_asked_again(llama, tmp_path):
    asked = requests("loglikelihood", PAIRS)
    with Ledger(tmp_path / "ledger.jsonl", {}) as ledger:
        expected = HarnessModel(llama, ledger).loglikelihood(asked)
        llama.engine.runtime.run = None  # nothing can be computed any more
        again = HarnessModel(llama, ledger)
        assert again.loglikelihood(asked) == expected
        assert again.cut == {"task": 2}


def test_what_options_share_is_processed_once(llama, tmp_path):
    processed = []
    run = llama.engine.runtime.run
    llama.engine.runtime.run = lambda tokens, *rest: (
        processed.append(len(tokens)) or run(tokens, *rest)
    )
    pairs = [(f"{SHARED}{i}", letter) for i in range(6) for letter in "abe"]
    with Ledger(tmp_path / "ledger.jsonl", {}) as ledger:
        HarnessModel(llama, ledger).loglikelihood(requests("loglikelihood", pairs))
    shared = len(llama.tokenize(SHARED))
    assert sum(processed) == shared + 6  # after each item's own token, three letters are weighed
    assert len(processed) == 2


def test_sampled_answers_are_drawn_anew_and_alike_in_each_run(llama, tmp_path):
    options = {"until": [], "max_gen_toks": 12, "do_sample": True, "temperature": 1.5}
    asked = requests("generate_until", [("ab", options)] * 3)
    runs = []
    for run in range(2):
        with Ledger(tmp_path / f"{run}.jsonl", {}) as ledger:
            runs.append(HarnessModel(llama, ledger, seed=3).generate_until(asked))
    assert runs[0] == runs[1]
    assert len(set(runs[0])) == 3


def test_what_cannot_be_asked_is_refused(llama, tmp_path):
    with Ledger(tmp_path / "ledger.jsonl", {}) as ledger:
        model = HarnessModel(llama, ledger)
        with pytest.raises(ContextError, match=r"context window\s+129|window 128"):
            model.loglikelihood(requests("loglikelihood", [("a", "1" * 200)]))
        with pytest.raises(Error, match="no tokens of its own after 'ab'"):
            model.loglikelihood(requests("loglikelihood", [("ab", "")]))
        with pytest.raises(ContextError, match="200 tokens"):
            model.generate_until(requests("generate_until", [("a", {"max_gen_toks": 200})]))
        options = {"max_gen_toks": 9, "num_beams": 4}
        with pytest.raises(ParameterError, match="task: asks for num_beams=4"):
            model.generate_until(requests("generate_until", [("a", options)]))
