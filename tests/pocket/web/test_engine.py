"""The engine in a real Chromium beside the desktop: the same text, and the same ends."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser

import pocketlm
from pocket.web.conftest import Window, messages
from pocket.web.models import with_vocabulary
from pocket.web.site import Site
from pocketlm.api import Model
from pocketlm.engine.sampling import CHAT_SAMPLING

QUESTION = "What is the capital of France?"
QUESTIONS = (
    QUESTION,
    "Write a haiku about the sea.",
    "Count from 1 to 5 in French: 'un', …",
    "What is a tree?",
    "Tell me a story of two mice.",
)
SAMPLINGS: tuple[dict[str, Any], ...] = (
    {"temperature": 0},
    {"temperature": 1.0, "seed": 7},
    {**CHAT_SAMPLING, "seed": 2**53 - 1},
    {"temperature": 0.8, "top_k": 40, "min_p": 0.05, "repetition_penalty": 1.1, "seed": 3},
    {"temperature": 1.2, "top_p": 0.99, "presence_penalty": 0.5, "seed": 4},
)
VARIANTS = ("simd", "relaxed", "simd-threads", "relaxed-threads")


@pytest.fixture(scope="module")
def desktop(smollm2: Path) -> Iterator[Model]:
    with pocketlm.load(smollm2, threads=1) as model:
        yield model


@pytest.fixture(scope="module")
def real(window: Window, smollm2: Path) -> Window:
    """The window, whose site offers the real small model."""
    window.site.add("smollm2", smollm2.read_bytes(), 1 << 22)
    return window


def loaded(window: Window, variant: str) -> dict[str, Any]:
    vectors, _, threads = variant.partition("-")
    facts = window.load("smollm2", vectors=vectors, threads=2 if threads else 1)
    assert facts["variant"] == variant, facts
    assert facts["threads"] == (2 if threads else 1)
    assert bool(facts["single"]) == (not threads)
    return facts


@pytest.mark.parametrize("variant", VARIANTS)
def test_answers_are_the_desktops(variant: str, real: Window, desktop: Model) -> None:
    """Token for token: kernels of all instruction sets give the same logits to the bit."""
    facts = loaded(real, variant)
    assert facts["context"] == desktop.context
    for question, sampling in zip(QUESTIONS, SAMPLINGS, strict=True):
        found = real.chat(question, max_tokens=40, **sampling)
        wanted = desktop.chat(messages(question), max_tokens=40, **sampling)
        assert found["tokens"] == wanted.tokens
        assert found["text"] == wanted.text
        assert found["reason"] == wanted.finish_reason


def test_an_answer_is_stopped(real: Window) -> None:
    loaded(real, "relaxed-threads")
    found = real.page.evaluate(
        """async (messages) => {
          const stop = new AbortController();
          let pieces = 0;
          const answer = pocket.chat(messages, {}, stop.signal);
          for (;;) {
            const { done, value } = await answer.next();
            if (done) return { pieces, ...value };
            pieces += 1;
            if (pieces === 3) stop.abort();
          }
        }""",
        messages("Tell me a very long story."),
    )
    assert found["reason"] == "cancelled"
    assert 3 <= found["answer_tokens"] < 20
    # Leaving the loop is as good; then the next answer can begin.
    text = real.page.evaluate(
        """async (messages) => {
          for await (const piece of pocket.chat(messages)) return piece;
        }""",
        messages("Tell me a very long story."),
    )
    assert text
    assert real.chat(QUESTION, max_tokens=4)["reason"] == "length"
    stopped = real.page.evaluate(
        "(messages) => answered(messages, {}, AbortSignal.abort())", messages(QUESTION)
    )
    assert stopped["reason"] == "cancelled"
    assert stopped["text"] == ""


def test_how_much_of_a_prompt_is_read_is_told(real: Window) -> None:
    loaded(real, "relaxed")
    told = real.page.evaluate(
        """async (messages) => {
          const told = [];
          await answered(messages, { max_tokens: 1, onProgress: (...each) => told.push(each) });
          return told;
        }""",
        messages("Sum up: " + "the sea is wide. " * 60),
    )
    assert len(told) > 3
    assert told[-1][0] == told[-1][1]


def test_parameters_out_of_range(real: Window) -> None:
    loaded(real, "relaxed")
    wrong: tuple[dict[str, Any], ...] = (
        {"temperature": -1},
        {"temperature": "hot"},
        {"top_p": 0},
        {"max_tokens": 0},
        {"seed": -1},
        {"seed": 1.5},
        {"stop": [""]},
        {"topp": 1},
    )
    for options in wrong:
        assert real.chat(QUESTION, **options)["code"] == "argument", options
    both = real.page.evaluate(
        """async (messages) => {
          const first = answered(messages, { max_tokens: 3 });
          const second = await caught(() => answered(messages, { max_tokens: 3 }));
          return [(await first).reason, second.code];
        }""",
        messages(QUESTION),
    )
    assert both == ["length", "busy"]


def test_without_isolation_one_thread_computes(
    chromium: Browser, shipped: Site, real: Window
) -> None:
    shipped.isolated = False
    try:
        other = Window(chromium, shipped)
        facts = other.load("smollm2", threads=2)
        assert facts["threads"] == 1
        assert "cross-origin isolated" in facts["single"]
        assert other.chat(QUESTION, max_tokens=4)["answer_tokens"] == 4
        other.context.close()
    finally:
        shipped.isolated = True


def test_two_tabs_run_the_same_model(real: Window) -> None:
    from pocket.web.conftest import open_page

    loaded(real, "relaxed")
    other = open_page(real.context, real.site)
    other.evaluate("globalThis.facts = pocket.load('smollm2', { threads: 1 }); null")
    facts = loaded(real, "relaxed")
    assert other.evaluate("facts")["vocab_size"] == facts["vocab_size"]
    other.close()


# -- small models ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(window: Window, smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a context of 256 tokens, loaded as `small`."""
    path = with_vocabulary(tmp_path_factory.mktemp("small") / "small.gguf", smollm2)
    window.site.add("small", path.read_bytes())
    return path


@pytest.fixture
def same(window: Window, small: Path) -> Iterator[Model]:
    """The small model, loaded in the browser and here."""
    facts = window.load("small")
    assert facts["context"] == 256, facts
    with pocketlm.load(small, threads=1) as model:
        assert facts["weight_bytes"] == model.engine.runtime.weight_bytes
        yield model


def test_the_same_seed_gives_the_same_text(window: Window, same: Model) -> None:
    for sampling in SAMPLINGS:
        found = window.chat("Hi", max_tokens=100, **sampling)
        wanted = same.chat(messages("Hi"), max_tokens=100, **sampling)
        assert found["tokens"] == wanted.tokens
        assert found["text"] == wanted.text
        assert found["reason"] == wanted.finish_reason
    free = [window.chat("Hi", max_tokens=20, temperature=2)["text"] for _ in range(2)]
    assert free[0] != free[1]


def test_a_conversation_is_read_once(window: Window, same: Model) -> None:
    sampling = {"max_tokens": 20, "temperature": 1, "seed": 5}
    first = window.chat(QUESTION, **sampling)
    answer = {"role": "assistant", "content": first["text"], "tokens": first["tokens"]}
    said = (QUESTION, answer, "And of Spain?")
    second = window.chat(*said, **sampling)
    assert second["text"] == same.chat(messages(*said), **sampling).text
    begun = first["prompt_tokens"] + first["answer_tokens"]
    assert begun - 1 <= second["cached_tokens"] <= begun
    # The same again has all but the last token. An edited message goes back to what is common.
    again = window.chat(*said, **sampling)
    assert again["text"] == second["text"]
    assert again["cached_tokens"] == again["prompt_tokens"] - 1
    said = (QUESTION, answer, "And of Italy?")
    again = window.chat(*said, **sampling)
    assert begun <= again["cached_tokens"] < again["prompt_tokens"] - 1
    assert again["text"] == same.chat(messages(*said), **sampling).text


def test_a_system_prompt_and_stop_strings(window: Window, same: Model) -> None:
    said = [{"role": "system", "content": "You are a pirate."}, *messages("Hi")]
    sampling = {"max_tokens": 20, "temperature": 1, "seed": 6}
    whole = same.chat(said, **sampling).text
    stop = whole[20:24]
    found = window.chat("Hi", system="You are a pirate.", stop=[stop], **sampling)
    wanted = same.chat(said, stop=[stop], **sampling)
    assert wanted.stopped_by == stop
    assert found["text"] == wanted.text
    assert found["reason"] == "stop"
    assert found["tokens"] is None


def test_a_context_that_is_full(window: Window, same: Model) -> None:
    found = window.chat("Hi", temperature=1, seed=1)
    wanted = same.chat(messages("Hi"), temperature=1, seed=1)
    assert found["text"] == wanted.text
    assert wanted.finish_reason == "length"
    assert found["reason"] == "context"
    assert found["prompt_tokens"] + found["answer_tokens"] == 256
    assert window.chat("Hi", temperature=1, seed=1, max_tokens=3)["reason"] == "length"

    # The oldest turns go, as few as it takes.
    said = [word * 40 for word in ("one ", "two ", "three ", "four ", "five ", "six ", "so ")]
    found = window.chat(*said, temperature=1, seed=1, max_tokens=8)
    assert found["dropped"] > 0
    kept = messages(*said)[2 * found["dropped"] :]
    assert found["prompt_tokens"] == len(same.prompt_tokens(kept)) <= 256 - 8
    more = messages(*said)[2 * found["dropped"] - 2 :]
    assert len(same.prompt_tokens(more)) > 256 - 8
    wanted = same.chat(kept, temperature=1, seed=1, max_tokens=8)
    assert found["text"] == wanted.text
    error = window.chat("word " * 300)
    assert error["code"] == "context"
    assert "room for 192" in error["message"]
    assert window.chat("Hi", max_tokens=3)["reason"] == "length"


@pytest.mark.parametrize("cache_type", ["f32", "q4", "q8/q4"])
def test_cache_types(cache_type: str, window: Window, small: Path) -> None:
    facts = window.load("small", cacheType=cache_type)
    assert "code" not in facts
    with pocketlm.load(small, threads=1, cache_type=cache_type) as model:
        assert facts["block_bytes"] == model.engine.runtime.cache.block_bytes
        options = {"temperature": 1, "seed": 1, "max_tokens": 60}
        assert window.chat("Hi", **options)["text"] == model.chat(messages("Hi"), **options).text
    assert window.load("small", cacheType="q3")["code"] == "model"


def test_templates_that_do_harm(window: Window, smollm2: Path, tmp_path: Path) -> None:
    """The engine goes on, in at most some seconds."""
    cases = {
        "loops": (
            "{% for a in range(99999) %}{% for b in range(99999) %}{% set c = a * b %}"
            "{% endfor %}{% endfor %}",
            "runs for more than",
        ),
        "grows": ("{% for a in range(90000) %}{{ 'x' * 1000 }}{{ 'some words ' }}{% endfor %}", ""),
        "broken": ("{% for %}", "broken"),
        "refuses": ("{{ raise_exception('not today') }}", "refuses the messages: not today"),
        "forgets": ("{{ 'always the same' }}", 'role "user"'),
    }
    for name, (template, words) in cases.items():
        path = with_vocabulary(tmp_path / f"{name}.gguf", smollm2, template=template)
        window.site.add(name, path.read_bytes())
        assert "code" not in window.load(name)
        error = window.chat("Hi", max_tokens=2)
        assert error["code"] == "template", error
        assert words in error["message"]
        assert window.page.evaluate("pocket.tokenize('Hi')")


def test_files_that_are_no_models(window: Window, small: Path) -> None:
    content = small.read_bytes()
    cases = {
        "noise": np.random.default_rng(0).bytes(5000),
        "short": content[: len(content) // 2],
        "header": content[:2000],
        "other": content.replace(b"llama", b"gamma"),
    }
    for name, bytes_ in cases.items():
        window.site.add(name, bytes_)
        error = window.load(name)
        assert error["code"] == "model", error
        assert error["message"].endswith(".")
        assert window.page.evaluate("pocket.loaded") is None
    assert window.chat("Hi")["code"] == "missing"
    assert window.page.evaluate("caught(() => pocket.load('nothing'))")["code"] == "missing"
    assert window.load("small", threads=0)["code"] == "argument"


def test_a_stored_file_that_was_cut(window: Window, small: Path) -> None:
    assert "code" not in window.load("small")
    window.page.evaluate(
        """async () => {
          const folder = await models();
          for await (const [name, handle] of folder.entries()) {
            if (!/^small-.*gguf$/.test(name)) continue;
            const file = await handle.createWritable({ keepExistingData: true });
            await file.truncate(1000000);
            await file.close();
          }
        }"""
    )
    error = window.page.evaluate("caught(() => pocket.load('small'))")
    assert error["code"] == "damaged"
    assert "Remove" in error["message"]
    # A download finds what is missing.
    assert "code" not in window.load("small")
