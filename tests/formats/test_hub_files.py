"""The hub's JSON files: what each gives, and that a hostile one is refused on one line."""

import json
import os
import time

import pytest

from pocketlm.errors import ModelFileError, UnsupportedError
from pocketlm.formats.config import (
    parse_object,
    read_chat_template,
    read_config,
    read_generation_config,
)


def write(folder, name, value):
    content = value if isinstance(value, str) else json.dumps(value)
    (folder / name).write_bytes(content.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "not valid JSON"),
        (b"[1]", "not a JSON object"),
        (b'"a"', "not a JSON object"),
        (b'{"a": 1,}', r"not valid JSON: .* \(line 1, column"),
        (b'{"a": 1} x', "not valid JSON"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "holds the key 'c' twice"),
        (b'{"a": NaN}', "holds NaN, which is not a JSON number"),
        (b'{"a": -Infinity}', "holds -Infinity"),
        (b'{"a": "\xff"}', "not valid UTF-8"),
        (b"\xef\xbb\xbf{}", "not valid JSON"),
        (b'{"a": "\x00"}', "not valid JSON"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "a number of too many digits"),
    ],
)
def test_json_that_is_refused(data, match):
    with pytest.raises(ModelFileError, match=match):
        parse_object(data)


@pytest.mark.parametrize("depth", [10**3, 10**4, 10**5, 10**6])
def test_depth_bombs_are_refused_in_no_time(depth):
    begin = time.process_time()
    with pytest.raises(ModelFileError, match=r"nested too deep|more than 1000000 JSON values"):
        parse_object(b'{"a":' * depth + b"1" + b"}" * depth)
    assert time.process_time() - begin < 0.5


def test_deep_but_not_too_deep():
    assert parse_object(b'{"a":' * 100 + b"1" + b"}" * 100)


def test_config(tmp_path):
    write(tmp_path, "config.json", {"model_type": "llama", "architectures": ["LlamaForCausalLM"]})
    assert read_config(tmp_path)["model_type"] == "llama"
    write(tmp_path, "config.json", {"architectures": ["LlamaForSequenceClassification"]})
    with pytest.raises(UnsupportedError, match="'LlamaForSequenceClassification' is not a causal"):
        read_config(tmp_path)
    write(tmp_path, "config.json", "{")
    with pytest.raises(ModelFileError, match=r"config.json: not valid JSON"):
        read_config(tmp_path)
    write(tmp_path, "config.json", " " * (33 << 20))
    with pytest.raises(ModelFileError, match=r"config.json: larger than 32 MiB"):
        read_config(tmp_path)


def test_a_pipe_in_place_of_a_file(tmp_path):
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(ModelFileError, match=r"config\.json: not a regular file"):
        read_config(tmp_path)


@pytest.mark.parametrize("architectures", [5, [7], [None], {"a": 1}, "LlamaModel", [["x"]]])
def test_architectures_of_another_type(tmp_path, architectures):
    write(tmp_path, "config.json", {"architectures": architectures})
    with pytest.raises(UnsupportedError, match="is not a causal language model"):
        read_config(tmp_path)


def test_the_hubs_phi3_without_a_window_has_none(tmp_path):
    write(tmp_path, "config.json", {"model_type": "phi3"})
    assert read_config(tmp_path)["sliding_window"] is None
    write(tmp_path, "config.json", {"model_type": "phi3", "sliding_window": 2047})
    assert read_config(tmp_path)["sliding_window"] == 2047
    write(tmp_path, "config.json", {"model_type": "mistral"})
    assert "sliding_window" not in read_config(tmp_path)


def test_generation_config(tmp_path):
    assert read_generation_config(tmp_path, {}) == {}
    assert read_generation_config(tmp_path, {"eos_token_id": 2}) == {"eos_token_id": [2]}
    write(tmp_path, "generation_config.json", {"temperature": 0.6})
    assert read_generation_config(tmp_path, {"eos_token_id": [1, 2]}) == {
        "temperature": 0.6,
        "eos_token_id": [1, 2],
    }
    write(tmp_path, "generation_config.json", {"eos_token_id": [32000, 32001, 32007]})
    assert read_generation_config(tmp_path, {"eos_token_id": 2})["eos_token_id"] == [
        32000,
        32001,
        32007,
    ]


@pytest.mark.parametrize("ends", ["2", [2, "3"], -1, [2**31], 1.0, True, {"a": 1}, [[1]]])
def test_ends_that_are_no_tokens(tmp_path, ends):
    write(tmp_path, "generation_config.json", {"eos_token_id": ends})
    with pytest.raises(ModelFileError, match=r"generation_config.json: eos_token_id holds"):
        read_generation_config(tmp_path, {})
    (tmp_path / "generation_config.json").unlink()
    with pytest.raises(ModelFileError, match=r"/config.json: eos_token_id holds"):
        read_generation_config(tmp_path, {"eos_token_id": ends})


def test_chat_template(tmp_path):
    assert read_chat_template(tmp_path) is None
    write(tmp_path, "tokenizer_config.json", {"bos_token": "<s>"})
    assert read_chat_template(tmp_path) is None
    write(tmp_path, "tokenizer_config.json", {"chat_template": "one"})
    assert read_chat_template(tmp_path) == "one"
    named = [{"name": name, "template": f"two {name}"} for name in ("tool_use", "default")]
    write(tmp_path, "tokenizer_config.json", {"chat_template": named})
    assert read_chat_template(tmp_path) == "two default"
    write(tmp_path, "chat_template.json", {"chat_template": "three"})
    assert read_chat_template(tmp_path) == "three"
    write(tmp_path, "chat_template.jinja", "fo\u00fcr\n")
    assert read_chat_template(tmp_path) == "fo\u00fcr\n"


@pytest.mark.parametrize(
    ("template", "match"),
    [
        (7, "not a string"),
        ({"default": "x"}, "not a string"),
        ([], "without one named 'default'"),
        ([{"name": "tool_use", "template": "x"}], "without one named 'default'"),
        ([{"name": ["default"], "template": "x"}, 5, {"name": "default"}], "without one named"),
        ([{"name": "default", "template": 7}], "not a string"),
        ("\ud800", "half a surrogate pair"),
    ],
)
def test_templates_that_are_none(tmp_path, template, match):
    write(tmp_path, "tokenizer_config.json", {"chat_template": template})
    with pytest.raises(ModelFileError, match=f"tokenizer_config.json: chat_template .*{match}"):
        read_chat_template(tmp_path)


def test_a_template_file_that_is_not_text(tmp_path):
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff")
    with pytest.raises(ModelFileError, match=r"chat_template.jinja: not valid UTF-8"):
        read_chat_template(tmp_path)
