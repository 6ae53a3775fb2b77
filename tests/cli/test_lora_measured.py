"""`--lora` where models are measured: it counts, it is named, and results of two do not mix."""

import json
import shutil

import pytest
from program import check_refusal

from evaluate.harness import local
from models import adapters
from pocketlm.quantize.export import export


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A tiny model, two adapters of it, and the model with the first one merged."""
    folder = tmp_path_factory.mktemp("home")
    local.save("llama, grouped and tied", folder / "model")
    for seed, name in enumerate(("czech", "tone")):
        adapters.save(folder / "model", folder / name, adapters.TARGETS["llama"], seed, r=4)
    export(folder / "model", folder / "merged", "safetensors", adapter=folder / "czech")
    return folder


@pytest.fixture
def evaluate(pocketlm, home, tmp_path):
    """Run `eval` of the model, or another, on a text and sums."""
    tasks = f"{local.texts(tmp_path)},{local.sums(tmp_path)}"

    def run(out, *options, model=home / "model"):
        where = ("--out", tmp_path / out, "--threads", 1, "--cache-type", "f16")
        return pocketlm("eval", model, "--tasks", tasks, *where, *options)

    return run


def bits(folder):
    found = json.loads((folder / "results.json").read_text())
    return found["results"]["texts"]["bits_per_byte,none"]


def test_an_adapter_is_evaluated_and_named(pocketlm, evaluate, home, tmp_path):
    for out, options, model in (
        ("plain", (), home / "model"),
        ("adapted", ("--lora", home / "czech"), home / "model"),
        ("merged", (), home / "merged"),
    ):
        result = evaluate(out, *options, model=model)
        assert result.returncode == 0, result.stderr
    plain, adapted, merged = (bits(tmp_path / out) for out in ("plain", "adapted", "merged"))
    assert abs(adapted - merged) < 0.1 * abs(adapted - plain)
    about = json.loads((tmp_path / "adapted" / "results.json").read_text())["pocketlm"]
    assert about["model"] == str(home / "model")
    assert about["adapters"] == [str(home / "czech")]
    compared = pocketlm("eval", "compare", tmp_path / "plain", tmp_path / "adapted", "--json")
    names = json.loads(compared.stdout)
    assert (names["a"], names["b"]) == (
        f"{home / 'model'}",
        f"{home / 'model'} + {home / 'czech'}",
    )
    page = tmp_path / "page.html"
    reported = pocketlm("eval", "report", tmp_path / "plain", tmp_path / "adapted", "--out", page)
    assert reported.returncode == 0, reported.stderr
    assert f"model + {home / 'czech'}" in page.read_text()


def test_results_of_two_adapters_do_not_mix(evaluate, home, tmp_path):
    first = ("--lora", home / "czech")
    assert evaluate("out", *first, "--limit", 1).returncode == 0
    for other in ((), ("--lora", home / "tone"), ("--lora", f"{home / 'czech'}:0.5")):
        check_refusal(evaluate("out", *other), "holds results of another run (adapter", code=2)
    # The same numbers under another name are the same adapter, and one more item is asked.
    shutil.copytree(home / "czech", tmp_path / "copy")
    result = evaluate("out", "--lora", tmp_path / "copy", "--limit", 2)
    assert result.returncode == 0, result.stderr


def test_answers_that_were_kept_before_adapters_were_told_apart_count(evaluate, tmp_path):
    assert evaluate("out").returncode == 0
    ledger = tmp_path / "out" / "requests.jsonl"
    head, *answers = ledger.read_text().splitlines(keepends=True)
    work = json.loads(head)
    del work["work"]["adapter"]
    ledger.write_text(json.dumps(work) + "\n" + "".join(answers))
    before = ledger.read_text()
    assert evaluate("out").returncode == 0
    assert ledger.read_text() == before


def test_two_adapters_have_two_folders(pocketlm, home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    task = local.sums(tmp_path)
    for options in ((), ("--lora", "czech"), ("--lora", "tone:0.5")):
        adapted = [str(home / word) if word != "--lora" else word for word in options]
        result = pocketlm("eval", home / "model", "--tasks", task, "--threads", 1, *adapted)
        assert result.returncode == 0, result.stderr
    assert len(list(tmp_path.glob("eval-model-*"))) == 3


def test_quality_with_an_adapter(pocketlm, home, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("abc cab bca ab 12 ba ca cb 34 acb " * 60)
    loss = {}
    for against in ("merged", "model"):
        result = pocketlm(
            *("quality", home / "model", "--lora", home / "czech", "--against", home / against),
            *("--text", text, "--context", 32, "--tokens", 256, "--threads", 1, "--json"),
        )
        assert result.returncode == 0, result.stderr
        found = json.loads(result.stdout)
        assert found["lora"] == [str(home / "czech")]
        loss[against] = found["texts"][0]["models"][0]["kl_mean"]["value"]
    assert loss["merged"] < 1e-5
    assert loss["model"] > 100 * loss["merged"]
    told = pocketlm(
        *("quality", home / "model", "--lora", home / "czech", "--text", text),
        *("--context", 32, "--tokens", 256, "--threads", 1),
    )
    assert f"adapters  {home / 'czech'}" in told.stdout


def test_a_needle_with_an_adapter(pocketlm, smollm2, tmp_path):
    adapters.save_random(tmp_path / "strange", 1, scale=2.0)
    found = []
    for options in ((), ("--lora", tmp_path / "strange")):
        result = pocketlm(
            *("needle", smollm2, "--lengths", 128, "--depths", 50, "--trials", 2, "--json"),
            *("--threads", 1, "--plot", tmp_path / "needle.svg", *options),
        )
        assert result.returncode == 0, result.stderr
        said = json.loads(result.stdout)
        assert said["lora"] == [str(each) for each in options[1:]]
        found.append(sum(trial["found"] for trial in said["cells"][0]["trials"]))
    assert found == [2, 0]
    assert f"{smollm2.name} + {tmp_path / 'strange'}" in (tmp_path / "needle.svg").read_text()


@pytest.mark.parametrize("command", ["code", "needle", "quality", "eval"])
def test_an_adapter_that_is_not_there(pocketlm, home, tmp_path, command):
    text = tmp_path / "text.txt"
    text.write_text("abc " * 300)
    model = home / "model"
    arguments = {
        "code": ("print two", "--model", model),
        "needle": (model,),
        "quality": (model, "--text", text, "--context", 32, "--tokens", 256),
        "eval": (model, "--tasks", local.sums(tmp_path)),
    }
    result = pocketlm(command, *arguments[command], "--lora", tmp_path / "nowhere")
    check_refusal(result, "nowhere: no such file or folder")
