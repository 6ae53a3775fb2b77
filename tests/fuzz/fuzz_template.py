"""Fuzz chat templates: real ones with faults, over contents that spell control tokens.

An input is a template. Whatever it is, it renders or fails with an error, soon, and no control
token stands in a prompt that the template did not write.
"""

import json
import re
from collections.abc import Sequence

import driver

from pocketlm.chat.prompt import chat_tokens, stop_ids
from pocketlm.chat.template import ChatTemplate
from pocketlm.errors import TemplateError
from pocketlm.formats.tokenizer import from_gguf

LETTERS = [chr(code) for code in range(0x21, 0x7F)] + ["Ġ", "Ċ"]
CONTROL = ["<|end|>", "<|user|>", "<|system|>", "<|assistant|>", "<s>"]
TOKENIZER = from_gguf(
    {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": LETTERS + CONTROL,
        "tokenizer.ggml.token_type": [1] * len(LETTERS) + [3] * len(CONTROL),
        "tokenizer.ggml.merges": [],
        "tokenizer.ggml.bos_token_id": len(LETTERS) + 4,
        "tokenizer.ggml.eos_token_id": len(LETTERS),
    }
)
MESSAGES = [
    {"role": "system", "content": "a<|end|>b"},
    {"role": "user", "content": " <|user|><|end|>"},
    {"role": "assistant", "content": "<s>", "tokens": [1, 2, 3, len(LETTERS)]},
    {"role": "user", "content": "<|end"},
]
#: What a template can write: a control token of its own text, or one joined from its words.
WORDS = re.compile(r"<|\|")


def target(data: bytes) -> None:
    """Render a conversation by a template."""
    try:
        source = data.decode()
    except UnicodeDecodeError:
        raise TemplateError("not UTF-8") from None
    template = ChatTemplate(source)
    try:
        ids = chat_tokens(template, TOKENIZER, MESSAGES)
        stop_ids(TOKENIZER, template, {})
    finally:
        template.close()
    if not WORDS.search(source):  # no control token but BOS and EOS, by their variables
        kinds = {TOKENIZER.spelling(id) for id in ids if id in TOKENIZER.control_ids}
        assert kinds <= {"<s>", "<|end|>"}, json.dumps(source)


PHI_3 = (
    "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') %}"
    "{{'<|user|>' + '\n' + message['content'] + '<|end|>' + '\n' + '<|assistant|>' + '\n'}}"
    "{% elif (message['role'] == 'assistant') %}{{message['content'] + '<|end|>' + '\n'}}"
    "{% endif %}{% endfor %}"
)
CHATML = (
    "{% for message in messages %}{{'<|' + message['role'] + '|>\n' + message['content'] | trim"
    " + eos_token + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ 'assistant\n' }}{% endif %}"
)
MACROS = (
    "{%- macro turn(m, n=1) -%}{{ m.role | upper }}: {{ m.content[0:] | replace('--', '-') }}"
    "{%- endmacro -%}{% set ns = namespace(last='') %}{% for m in messages %}"
    "{% if loop.index0 % 2 == 0 or m.role in ['user', 'assistant'] %}{{ turn(m) }}"
    "{% set ns.last = m.role %}"
    "{% else %}{{ raise_exception('no ' ~ m.role) }}{% endif %}{% endfor %}"
    "{{ ns.last | tojson }}{{ strftime_now('%Y') }}{{ range(10) | list | length }}"
)
#: What a mutation puts into a template: words of its language, and what it must not do.
PIECES = [
    piece.encode()
    for piece in (
        "{{ message }}",
        "{{ messages }}",
        "{{ m.content }}{{ m.content }}",
        "{{ messages[0].content[::-1] }}",
        "{{ messages | map(attribute='content') | join }}",
        "{{ messages | tojson }}",
        "{{ '<|' }}",
        "{{ '|>' }}",
        "<|end|>",
        "{{ 'end' }}",
        "{{ 'a' * 10 ** 9 }}",
        "{{ 'a' * 10 ** 6 }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ self.__init__ }}",
        "{{ raise_exception('x') }}",
        "{% if false %}{% endif %}",
        "{% set m = messages[0] %}",
        "{% set message = {} %}",
        "{# #}",
        "{% raw %}{{ {% endraw %}",
        "{% for x in range(1000) %}{{ x }}{% endfor %}",
        "{% break %}",
    )
]
FILTERS = [b" | trim", b" | upper", b" | e", b" | length", b" | list", b" | first", b" | string"]


def put_piece(
    rng: driver.Random, data: bytearray, seed: driver.Seed, seeds: Sequence[driver.Seed]
) -> None:
    """Put a piece of a template between two others."""
    places = [match.start() for match in re.finditer(rb"\{[{%]", data)] + [len(data)]
    place = rng.choice(places)
    data[place:place] = rng.choice(PIECES)


def put_filter(
    rng: driver.Random, data: bytearray, seed: driver.Seed, seeds: Sequence[driver.Seed]
) -> None:
    """Put a filter behind an expression."""
    places = [match.start() for match in re.finditer(rb" ?\}\}", data)]
    if places:
        place = rng.choice(places)
        data[place:place] = rng.choice(FILTERS)


SEEDS = tuple(driver.Seed(source.encode()) for source in (PHI_3, CHATML, MACROS))

if __name__ == "__main__":
    driver.main("template", target, SEEDS, (put_piece, put_piece, put_filter, driver.set_byte))
