"""The real small model, its weights in float32, in the engine and in transformers."""

import lm_eval
import pytest
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

import pocketlm
from evaluate.harness import local
from parity import dequantise
from pocketlm.evaluate.harness.run import SEED, measure
from pocketlm.quantize.export import export

#: Items of each task.
LIMIT = 3


def tasks(folder, data):
    """Slices of published benchmarks, as they are commonly asked."""
    choice = {"output_type": "multiple_choice", "metric_list": local.ACCURACY}
    yield local.write(
        folder,
        "mmlu_slice",
        {"dev": data / "mmlu/dev_285.jsonl", "test": data / "mmlu/val_399.jsonl"},
        **choice,
        fewshot_split="dev",
        num_fewshot=2,
        doc_to_text="{{question}}\nA. {{choices[0]}}\nB. {{choices[1]}}\nC. {{choices[2]}}\n"
        "D. {{choices[3]}}\nAnswer:",
        doc_to_choice=["A", "B", "C", "D"],
        doc_to_target="{{['A', 'B', 'C', 'D'].index(answer)}}",
    )
    yield local.write(
        folder,
        "arc_slice",
        {"test": data / "arc/challenge_dev.jsonl"},
        **choice,
        doc_to_text="Question: {{question}}\nAnswer:",
        doc_to_choice="{{choices|map(attribute='text')|list}}",
        doc_to_target="{{(choices|map(attribute='label')|list).index(answerKey)}}",
    )
    yield local.write(
        folder,
        "hellaswag_slice",
        {"test": data / "hellaswag/sample_150.jsonl"},
        **choice,
        doc_to_text="{{context}}",
        doc_to_choice="{{endings}}",
        doc_to_target="{{label}}",
    )
    yield local.write(
        folder,
        "gsm8k_slice",
        {"test": data / "gsm8k/test_slice_200.jsonl"},
        output_type="generate_until",
        doc_to_text="Question: {{question}}\nAnswer:",
        doc_to_target="{{answer.split('#### ')[-1]}}",
        generation_kwargs={"until": ["Question:"], "max_gen_toks": 32, "do_sample": False},
        metric_list=[{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    )


@pytest.mark.slow
def test_benchmarks_are_answered_as_by_transformers(smollm2, test_data, tmp_path):
    dequantise.main(smollm2, tmp_path / "f32.gguf")
    export(smollm2, tmp_path / "hub", "safetensors", dtype="float32")
    wanted = list(tasks(tmp_path, test_data))
    theirs = HFLM(str(tmp_path / "hub"), device="cpu", dtype="float32", batch_size=4)
    expected = lm_eval.simple_evaluate(
        theirs,
        tasks=wanted,
        limit=LIMIT,
        fewshot_random_seed=SEED,
        task_manager=TaskManager(include_defaults=False),
    )
    with pocketlm.load(tmp_path / "f32.gguf", cache_type="f32", context=2048) as model:
        results, samples = measure(model, tmp_path / "out", tasks=wanted, limit=LIMIT)
    assert results["n-samples"] == expected["n-samples"]
    compared = 0
    for task, items in expected["samples"].items():
        for found, reference in zip(samples[task], items, strict=True):
            assert found["prompt_hash"] == reference["prompt_hash"]
            for metric in reference["metrics"]:  # the same items are right
                assert found[metric] == reference[metric]
            for ours, other in zip(
                found["filtered_resps"], reference["filtered_resps"], strict=True
            ):
                if isinstance(other, str):
                    assert ours == other
                else:
                    logprob, greedy = ours
                    assert float(logprob) == pytest.approx(other[0], abs=1e-2)
                    assert greedy == str(other[1])
                compared += 1
    assert compared == LIMIT * (3 * 4 + 1)
