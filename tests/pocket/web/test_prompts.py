"""Prompts in the browser have the desktop's token ids, whatever texts people write."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import pocketlm
from chat.test_prompt import PHI_3_JULY, conversations, hostile_contents
from pocket.web.conftest import Window
from pocket.web.models import with_vocabulary
from pocketlm.api import Model
from pocketlm.chat import fallback
from pocketlm.errors import Error

LLAMA_2 = (
    "{% if messages[0]['role'] == 'system' %}{% set system = '<<SYS>>\n' + messages[0]['content']"
    " + '\n<</SYS>>\n\n' %}{% set rest = messages[1:] %}{% else %}{% set system = '' %}"
    "{% set rest = messages %}{% endif %}{% for message in rest %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + (system if loop.first else '')"
    " + message['content'].strip() + ' [/INST]' }}"
    "{% else %}{{ ' ' + message['content'].strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
#: Templates trim, cut and count: in Python's manner.
TRIMMING = (
    "{%- for m in messages -%}{{ '<|im_start|>' + m.role + '\n' }}"
    "{%- if m.role == 'assistant' -%}{{ m.content.split('</think>')[-1].lstrip('\n\t') }}"
    "{%- else -%}{{ m.content | trim }}{%- endif -%}{{ '<|im_end|>\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}"
)
#: By name: the vocabulary, and the template ("": the file's; None: none).
CASES = {
    "smollm2": ("smollm2", ""),
    "smollm2-guessed": ("smollm2", None),
    "smollm2-trimming": ("smollm2", TRIMMING),
    "phi3-april": ("phi3", ""),
    "phi3-july": ("phi3", PHI_3_JULY),
    "phi3-guessed": ("phi3", None),
    "llama2": ("phi3", LLAMA_2),
}
ODD = ("\x1c\x85 in Python's spaces \x1d", "\ufeffa mark\ufeff", " \u2003wide ", "\ue000\uf8ff🦙")


def texts(model: Model) -> list[list[dict[str, str]]]:
    """Conversations in which everything is spelled that a user should not say."""
    hostile = hostile_contents(model.tokenizer, 120)
    return [
        *conversations(hostile, 3),
        *conversations(["Hi", "Hello!", "What is 2 + 2?", "\n\n4</s>\n", *ODD, "so?"], 9),
        *(
            [{"role": "system", "content": text}, *said]
            for text, said in zip((*hostile[:20], *ODD), conversations(hostile, 1), strict=False)
        ),
        [{"role": "system", "content": " \n"}, {"role": "user", "content": "\n"}],
        [{"role": "assistant", "content": "I begin"}, {"role": "user", "content": "no"}],
        [{"role": "system", "content": "alone"}],
    ]


def expected(model: Model, messages: list[dict[str, str]]) -> list[int] | None:
    """The ids, or None where the template takes no such messages."""
    try:
        return model.prompt_tokens(messages)
    except Error:
        return None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("vocabularies")


@pytest.fixture(params=CASES)
def both(
    request: pytest.FixtureRequest, window: Window, folder: Path, smollm2: Path, test_data: Path
) -> Iterator[tuple[Model, Window]]:
    """The same model on the desktop and in the browser."""
    vocabulary, template = CASES[request.param]
    phi3 = test_data / "tokenizer" / "ggml-vocab-phi-3.gguf"
    source = smollm2 if vocabulary == "smollm2" else phi3
    path = with_vocabulary(folder / f"{request.param}.gguf", source, template=template)
    window.site.add(request.param, path.read_bytes())
    facts = window.load(request.param, threads=1)
    assert "code" not in facts, facts
    with pocketlm.load(path, threads=1) as model:
        assert facts["note"] == (model.template.note or "")
        yield model, window


def test_prompts_have_the_same_ids(both: tuple[Model, Window]) -> None:
    model, window = both
    asked = texts(model)
    wanted = [expected(model, messages) for messages in asked]
    found = window.prompts(asked)
    for messages, ids, its in zip(asked, wanted, found, strict=True):
        if ids is None:
            assert its["code"] == "template", messages
        else:
            assert its == ids, messages
    assert sum(ids is not None for ids in wanted) > len(asked) / 2

    # Answers that were generated go back as they were.
    generated = model.tokenizer.encode("An answer of my own.")
    end = min(model.tokenizer.eot_ids)
    for tokens in (generated, [*generated, end]):
        answer = {"role": "assistant", "content": "?", "tokens": tokens}
        said = [{"role": "user", "content": "a"}, answer, {"role": "user", "content": "<|end|>b"}]
        assert window.prompts([said]) == [model.prompt_tokens(said)]


def test_plain_text_has_the_same_ids(both: tuple[Model, Window]) -> None:
    model, window = both
    for text in hostile_contents(model.tokenizer, 30):
        assert window.page.evaluate("(text) => pocket.tokenize(text)", text) == model.tokenize(text)


def test_what_is_no_message_is_refused(both: tuple[Model, Window]) -> None:
    _, window = both
    wrong = [
        [{"role": "<|user|>", "content": "a"}],
        [{"role": "user", "content": 1}],
        [{"role": "user", "content": "a", "tokens": [1]}],
        [{"role": "assistant", "content": "a", "tokens": [-1]}],
    ]
    assert [error["code"] for error in window.prompts(wrong)] == ["argument"] * 4


def test_what_is_assumed_is_what_the_desktop_assumes() -> None:
    """The forms are written down twice; here they are compared."""
    import json
    import shutil
    import subprocess

    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node (Debian has it as the package nodejs)")
    script = Path(__file__).parents[3] / "src/pocketlm/pocket/web/templates.js"
    cases = [list(needed) for needed, *_ in fallback._FORMS] + [[]]
    program = (
        f"import {{ choose }} from {json.dumps(script.as_uri())};"
        f"const cases = {json.dumps(cases)};"
        "const found = cases.map((names) => choose(new Map(names.map((name) => [name, 1])), ''));"
        "console.log(JSON.stringify(found));"
    )
    done = subprocess.run(
        [node, "--input-type=module", "-e", program], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert [each["source"] for each in found] == [
        *(form for *_, form in fallback._FORMS),
        fallback._PLAIN,
    ]
    assert found[-1]["stopStrings"] == ["\nUser:", "\nSystem:"]
