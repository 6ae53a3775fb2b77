"""Programs that a model wrote run in the sandbox, and nowhere else."""

import time

import pytest

from evaluate.harness import rows
from pocketlm.assistant import sandbox
from pocketlm.errors import ParameterError, SandboxError
from pocketlm.evaluate.harness import code


@pytest.fixture(scope="module")
def box():
    """Skip where no sandbox can be made."""
    try:
        sandbox.check()
    except SandboxError as error:
        pytest.skip(str(error))


@pytest.mark.usefixtures("box")
@pytest.mark.parametrize(
    ("written", "score"),
    [
        ("    return x + 3\n", 1.0),
        ("    return x + 4\n", 0.0),
        ("    return x +\n", 0.0),
        ("    return missing\n", 0.0),
        ("    import sys; sys.exit(0)\n", 0.0),
        ("    import os; os._exit(0)\n", 0.0),
        ("    print('noise'); return x + 3\n", 1.0),
        ("", 0.0),
        ("    return x + 3\n\ndef other(:\n", 1.0),
        ("    return x + 3\nSo it adds three.", 1.0),
        ("Here it is:\n```python\ndef add_3(x):\n    return x + 3\n```\nIt adds.", 1.0),
        ("```\ndef add_3(x):\n    return plus(x, 3)\n\ndef plus(a, b):\n    return a + b", 1.0),
        ("```python\n    return x + 3\n```", 1.0),
        ("    return x + 3\n```\nThis adds.\n```\n", 1.0),
        ("\n    return (\n        x + 3\n)\n\nOr:\n```python\npass\n```\n", 1.0),
        ("```python\ndef add_3(x):\n    return 3\n```", 0.0),
    ],
)
def test_humaneval(written, score):
    assert code.humaneval(rows.humaneval(3), [written]) == {"pass@1": score}


@pytest.mark.usefixtures("box")
@pytest.mark.parametrize(
    ("written", "score"),
    [
        ("def add(x):\n    return x + 3\n", 1.0),
        ("def add(x):\n    return 5\n", 0.0),  # right for the first test alone
        ("def plus(x):\n    return x + 3\n", 0.0),
        ("```python\ndef add(x):\n    return x + 3\n```\n", 1.0),
    ],
)
def test_mbpp(written, score):
    assert code.mbpp(rows.mbpp(3), [written]) == {"pass@1": score}


@pytest.mark.usefixtures("box")
def test_what_a_humaneval_prompt_holds_beside_its_function_stays():
    row = rows.humaneval(3)
    row["prompt"] = "import math\n\ndef three():\n    return math.floor(3.5)\n\n" + row["prompt"]
    for written in ("    return x + three()", "```\ndef add_3(x):\n    return x + three()\n```"):
        assert code.humaneval(row, [written]) == {"pass@1": 1.0}


@pytest.mark.usefixtures("box")
def test_mbpp_s_setup_runs_first():
    row = rows.mbpp(3) | {"test_setup_code": "three = 3"}
    assert code.mbpp(row, ["def add(x):\n    return x + three\n"]) == {"pass@1": 1.0}


@pytest.mark.usefixtures("box")
def test_a_program_that_does_not_end_is_ended():
    start = time.monotonic()
    assert not code.passes("while True: pass")
    assert time.monotonic() - start < 15


@pytest.mark.usefixtures("box")
def test_the_host_is_out_of_reach(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("word")
    assert not code.passes(f"open({str(secret)!r}).read()")
    assert not code.passes(f"open({str(tmp_path / 'new')!r}, 'w')")
    assert not code.passes("import socket; socket.create_connection(('127.0.0.1', 80), 1)")
    assert list(tmp_path.iterdir()) == [secret]


@pytest.mark.parametrize("names", [["humaneval"], ["phi3_piqa", "mbpp"], ["humaneval", "mbpp"]])
def test_the_harness_s_own_code_tasks_are_refused(manager, names):
    refused = ", ".join(name for name in names if "phi3" not in name)
    with pytest.raises(ParameterError, match=f"^{refused}: .*phi3_humaneval"):
        code.check(manager, names)


def test_no_sandbox_is_said_before_anything_runs(manager, monkeypatch):
    def none():
        raise SandboxError("there is none")

    monkeypatch.setattr(sandbox, "check", none)
    for name in ("phi3_humaneval", "phi3_mbpp", "phi3-report"):
        with pytest.raises(SandboxError):
            code.check(manager, [name])
    code.check(manager, ["phi3_piqa", "phi3_bbh", "phi3_anli", "arc_easy", "ai2_arc", "unknown"])


def test_code_inside_groups_and_tags_is_found(manager, tmp_path):
    from lm_eval.tasks import TaskManager

    (tmp_path / "group.yaml").write_text(
        "group: outer\ntask:\n"
        "  - {group: inner, task: [unsafe]}\n  - {task: own, unsafe_code: true}\n"
    )
    (tmp_path / "task.yaml").write_text("task: unsafe\ntag: tagged\nunsafe_code: true\n")
    found = TaskManager(include_path=str(tmp_path), include_defaults=False)
    with pytest.raises(ParameterError, match=r"^unsafe, outer::own:"):
        code.check(found, ["outer"])
    with pytest.raises(ParameterError, match=r"^unsafe:"):
        code.check(found, ["tagged"])
