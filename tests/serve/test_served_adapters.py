"""Models with adapters, each under a name of its own, as clients of every dialect meet them."""

import shutil
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
from servers import MODEL, end, start

import pocketlm
from models import adapters

NAMES = ["one", "two", "both"]
QUESTION = [{"role": "user", "content": "Write a short story about a dog."}]
EXACT = {"temperature": 0, "max_tokens": 16}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Three random adapters of the model."""
    home = tmp_path_factory.mktemp("adapters")
    for seed, name in enumerate(["one", "two", "three"]):
        adapters.save_random(home / name, seed)
    return home


@pytest.fixture(scope="module")
def shop(smollm2, folders, tmp_path_factory):
    home = tmp_path_factory.mktemp("serve") / "home"
    (home / "presets").mkdir(parents=True)
    (home / "presets" / "polite.toml").write_text('model = "two"\nsystem = "Be polite."\n')
    both = [f"both={folders / 'one'}", f"both={folders / 'two'}:0.5"]
    names = [f"one={folders / 'one'}", f"two={folders / 'two'}", *both]
    running = start(home, smollm2, *(part for name in names for part in ("--lora", name)))
    yield running
    end(running)


@pytest.fixture(scope="module")
def expected(smollm2, folders):
    """What the model says by each name, in Python."""
    with pocketlm.load(smollm2) as model:
        loras = {
            MODEL: [],
            "one": [(folders / "one", 1.0)],
            "two": [(folders / "two", 1.0)],
            "both": [(folders / "one", 1.0), (folders / "two", 0.5)],
            "three": [(folders / "three", 1.0)],
        }
        said = {
            name: model.chat(QUESTION, adapter=model.adapter(its), **EXACT).text
            for name, its in loras.items()
        }
    assert len(set(said.values())) == len(said)
    with pocketlm.load(smollm2, lora=loras["both"]) as model:
        assert model.chat(QUESTION, **EXACT).text == said["both"]
        assert model.chat(QUESTION, adapter=model.adapter([]), **EXACT).text == said[MODEL]
    return said


def ask(server, name):
    answer = server.openai.chat.completions.create(model=name, messages=QUESTION, **EXACT)
    assert answer.model == name
    return answer.choices[0].message.content


def test_models_with_adapters_are_listed_with_their_parent(shop):
    found = {model.id: getattr(model, "parent", None) for model in shop.openai.models.list()}
    assert found == {MODEL: None, **dict.fromkeys(NAMES, MODEL), "polite": None}
    assert shop.openai.models.retrieve("one").parent == MODEL
    assert {model.model for model in shop.ollama.list().models} == {MODEL, *NAMES}
    listed = {each["name"]: each for each in shop.http.get("/ui/models").json()["models"]}
    assert listed["one"]["context"] == listed[MODEL]["context"]


def test_each_name_answers_as_it_does_alone(shop, expected):
    for name in (*NAMES, MODEL, *NAMES):
        assert ask(shop, name) == expected[name]


def test_names_are_asked_at_the_same_time(shop, expected):
    names = [MODEL, *NAMES] * 2
    with ThreadPoolExecutor(len(names)) as pool:
        assert list(pool.map(lambda name: ask(shop, name), names)) == [expected[n] for n in names]


def test_every_dialect_knows_the_names(shop, expected):
    said = shop.ollama.chat("one:latest", QUESTION, options={"temperature": 0, "num_predict": 16})
    assert said.message.content == expected["one"]
    message = shop.anthropic.messages.create(
        model="two", messages=QUESTION, max_tokens=16, extra_body={"temperature": 0}
    )
    assert message.content[0].text == expected["two"]
    response = shop.openai.responses.create(
        model="both", input=QUESTION, temperature=0, max_output_tokens=16
    )
    assert response.output_text == expected["both"]
    shown = shop.ollama.show("one")
    assert shown.modelinfo["general.architecture"] == "llama"


def test_a_preset_may_name_one(shop, smollm2, folders):
    messages = [{"role": "system", "content": "Be polite."}, *QUESTION]
    with pocketlm.load(smollm2, lora=[(folders / "two", 1.0)]) as model:
        assert ask(shop, "polite") == model.chat(messages, **EXACT).text


def test_embeddings_are_an_adapters_own(shop):
    vectors = [
        shop.openai.embeddings.create(model=name, input="a text").data[0].embedding
        for name in (MODEL, "one", MODEL)
    ]
    assert vectors[0] == vectors[2] != vectors[1]


def test_the_page_talks_to_one(shop, expected):
    ask = {"text": QUESTION[0]["content"], "model": "one", "answer": "a" * 32, "sampling": EXACT}
    lines = shop.http.post("/ui/answer", json=ask, timeout=60)
    assert lines.status_code == 200, lines.text
    chats = shop.http.get("/ui/chats").json()["chats"]
    shown = shop.http.get(f"/ui/chats/{chats[0]['id']}").json()
    assert shown["model"] == "one"
    assert expected["one"].split()[0] in str(shown["messages"][-1])
    assert shown["context"]["used"] > 0


def test_a_changed_adapter_is_taken_up_and_a_damaged_one_refused(
    serve, smollm2, folders, tmp_path, expected
):
    folder = tmp_path / "adapter"
    shutil.copytree(folders / "one", folder)
    server = serve(smollm2, "--lora", f"it={folder}")
    assert ask(server, "it") == expected["one"]
    shutil.rmtree(folder)
    shutil.copytree(folders / "three", folder)
    assert ask(server, "it") == expected["three"]
    (folder / "adapter_model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    with pytest.raises(openai.InternalServerError, match=r"cannot load it: .*truncated"):
        ask(server, "it")
    assert ask(server, MODEL) == expected[MODEL]
    shutil.rmtree(folder)
    with pytest.raises(openai.InternalServerError, match="no such file or folder"):
        ask(server, "it")


def test_memory_counts_adapters_and_the_oldest_goes(serve, smollm2, folders, expected):
    size = (folders / "one" / "adapter_model.safetensors").stat().st_size
    names = ["one", "two", "three"]
    options = [part for name in names for part in ("--lora", f"{name}={folders / name}")]
    # Room for the model, its cache and two adapters.
    budget = smollm2.stat().st_size + 60_000_000 + int(2.5 * size)
    server = serve(smollm2, *options, "--memory", str(budget))
    for name in (*names, *names):
        assert ask(server, name) == expected[name]
        assert server.models()[0]["size"] < budget
    before = server.models()[0]["size"]
    server.ollama.generate("three", keep_alive=0)
    assert before - size * 1.1 < server.models()[0]["size"] < before - size * 0.9
    server.ollama.generate(MODEL, keep_alive=0)
    assert server.models() == []
    assert ask(server, "two") == expected["two"]
