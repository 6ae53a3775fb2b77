"""A real browser, and runs of three models with all that a report can show."""

import random
import shutil

import pytest

from evaluate.runs import choices, keep, rights, written

PROBES = ("numbers", "snake", "shirts")
CATEGORIES = ("writing", "math", "coding", "stem")


@pytest.fixture(scope="module")
def chromium():
    """A real browser without a window."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("there is no chromium (Debian has it as a package)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Benchmarks, probes and ratings of a small model and of a large one."""
    home = tmp_path_factory.mktemp("runs")
    return [
        make(home / f"{model}-{make.__name__}", model, skill)
        for model, skill in (("smollm2", 0.3), ("phi3-mini.gguf", 0.7))
        for make in (benchmarks, probes, judged)
    ]


def benchmarks(folder, model, skill):
    tasks = ("phi3_mmlu", "phi3_gsm8k", "my_own")
    samples = {
        name: choices(rights(skill, 120, seed=seed), seed=seed) for seed, name in enumerate(tasks)
    }
    size = 98_000_000 if model == "smollm2" else 2_000_000_000
    return keep(folder, samples, model=model, file_bytes=size, suite="phi3-report")


def probes(folder, model, skill):
    samples, configs = {}, {}
    for number, probe in enumerate(PROBES, 1):
        for mode, gain in (("plain", 0.0), ("constrained", 0.1), ("tools", 0.3)):
            draw = random.Random(f"{probe} {mode}")
            passed = [draw.random() < skill + gain - 0.2 for _ in range(20)]
            name = f"probe_{probe}_{mode}"
            samples[name] = [
                written(
                    n,
                    {"passed": int(each), "score": 1.0 if each else 0.25},
                    f"Answer {n}.",
                    why="it is cut off",
                    doc={"question": f"{probe} {n}, {mode}"},
                )
                for n, each in enumerate(passed)
            ]
            configs[name] = {
                "description": f"asks for {probe}",
                "metadata": {"number": number, "seen": f"as seen: {probe}"},
            }
    return keep(folder, samples, model=model, suite="probes", results={"configs": configs})


def judged(folder, model, skill):
    draw = random.Random(model)
    items = []
    for n in range(40):
        first, second = (round(1 + 9 * min(1, skill * draw.random() * 1.4)) for _ in range(2))
        scores = {"rating": (first + second) / 2, "rating_1": first, "rating_2": second}
        document = {"question": f"question {n}", "category": CATEGORIES[n // 10]}
        items.append(written(n, scores, f"Answer {n}.", doc=document))
    metadata = {"judge": "a judge at http://127.0.0.1:1", "prompts": "pocketlm's own"}
    more = {
        "configs": {
            "mt_bench": {"metadata": metadata},
            "mt_bench_pairs": {"metadata": metadata | {"against": "eval-other"}},
        }
    }
    pairs = [
        written(n, {"win": (a + b) / 2, "agreed": 0.5}, "x", win_1=a, win_2=b)
        for n, (a, b) in enumerate([(1.0, 0.5), (1.0, 0.0), (0.5, 0.5)])
    ]
    samples = {"mt_bench": items, "mt_bench_pairs": pairs}
    return keep(folder, samples, model=model, suite="mt-bench", results=more)
