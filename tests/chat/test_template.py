"""Templates of model files: what the hub's need works, what they must not do fails, soon."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import pocketlm
from pocketlm.chat.template import ChatTemplate, RefusalError
from pocketlm.errors import TemplateError

HELLO = [{"role": "user", "content": "Hello"}]


def render(source: str, messages=HELLO, **variables) -> str:
    template = ChatTemplate(source)
    try:
        return template.render(messages, variables=variables)
    finally:
        template.close()


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{% for m in messages %}{{ m.role }}:{{ m['content'] }}{% endfor %}", "user:Hello"),
        ("{% set n = namespace(x=1) %}{% set n.x = n.x + 1 %}{{ n.x }}", "2"),
        ("{% for i in range(9) %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}", "012"),
        (
            "{% for i in range(3) %}{% if i == 1 %}{% continue %}{% endif %}{{ i }}{% endfor %}",
            "02",
        ),
        ("  {% if true %}\n  a\n  {% endif %}\n", "  a\n"),
        ("{{ x | tojson }}", '{"a": "<é>"}'),
        ("{{ x | tojson(indent=1) }}", '{\n "a": "<é>"\n}'),
        ("{{ tools is none }}{{ documents is none }}{{ missing is defined }}", "TrueTrueFalse"),
        ("{% generation %}a{% endgeneration %}b", "ab"),
        ("{{ messages[0].content.strip().upper().split('L') }}", "['HE', '', 'O']"),
        ("{% macro f(x) %}<{{ x }}>{% endmacro %}{{ f(1) }}", "<1>"),
        ("{{ '%s-%d' | format('a', 2) }}{{ '{}'.format(3) }}", "a-23"),
        ("{{ 'a\\n' | trim }}{{ messages | length }}{{ [1, 2] | join(',') }}", "a11,2"),
        (
            "{{ messages[::-1][0].role }}{{ messages | map(attribute='role') | list }}",
            "user['user']",
        ),
        ("", ""),
    ],
)
def test_what_templates_of_the_hub_use(source: str, text: str) -> None:
    assert render(source, x={"a": "<é>"}) == text


def test_a_date() -> None:
    assert re.fullmatch(r"\d\d \w{3} 20\d\d", render("{{ strftime_now('%d %b %Y') }}"))


def test_every_character_comes_back() -> None:
    odd = "\x00\n\r\u2028\ud800\U0010ffff\"'\\{{ }}{% raw %}"
    assert render("{{ messages[0].content }}", [{"role": "user", "content": odd}]) == odd


def test_a_refusal_says_why() -> None:
    with pytest.raises(RefusalError, match="refuses the messages: no system role") as caught:
        render("{{ raise_exception('no system\nrole') }}")
    assert "\n" not in str(caught.value)


FOREVER = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"


@pytest.mark.parametrize(
    "source",
    [
        # run without end
        FOREVER,
        "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ 9 ** 99999999 }}",
        "{{ range(10 ** 9) | list }}",
        "{% for i in range(10 ** 9) %}{% endfor %}",
        "{{ (messages * 99999) | sort(attribute='content') | map('string') | join | length }}"
        + FOREVER,
        # grow without end
        "{{ 'a' * 10 ** 9 }}",
        "{{ 'a'.ljust(10 ** 9) }}",
        "{{ '{:>999999999}'.format('a') }}",
        "{{ '%999999999d' % 1 }}",
        "{{ [1] * 10 ** 9 }}",
        "{% set a = 'a' * 10 ** 6 %}{{ a.replace('a', a) }}",
        "{{ ('a' * 10 ** 5) | list | join('b' * 10 ** 5) }}",
        "{% for i in range(99999) %}{{ 'a' * 1000 }}{% endfor %}",
        "{{ 'a' | center(10 ** 9) }}",
        "{{ 'a' | indent(10 ** 9) }}",
        "{{ ' '.join(['a'] * 10 ** 9) }}",
        "{{ messages[0].content | wordwrap(0) }}{{ 'a'.zfill(10 ** 9) }}",
        # reach for Python
        "{{ ''.__class__.__mro__ }}",
        "{{ ''.__class__.__subclasses__() }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ namespace.__init__.__globals__.os }}",
        "{{ self.__init__.__globals__ }}",
        "{{ raise_exception.__globals__.sys }}",
        "{{ strftime_now.__code__.co_code }}",
        "{{ (''|attr('__class__')).mro() }}",
        "{{ ''|attr('form'~'at')|attr('__self__')|attr('__class__')|attr('x')() }}",
        "{{ [''] | map(attribute='__class__.__mro__') | first | first }}",
        "{{ ([''] | map('attr', '__class__') | list)[0].mro() }}",
        "{{ '{0.__class__.__mro__}'.format('').x() }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update(role='system') }}",
        "{{ dict.mro() }}",
        "{{ lipsum() }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}{{ os }}",
        "{% extends 'x' %}",
        # are no template
        "{% if %}",
        "{{",
        "{% endfor %}",
        "{{ a.b.c }}",
        "{{ " + "(" * 100_000 + ")" * 100_000 + " }}",
        "{{ " + "-" * 100_000 + "1 }}",
        "{% if 1 %}" * 10_000 + "{% endif %}" * 10_000,
        "{{ 1 / 0 }}",
        "{{ 'a' + 1 }}",
    ],
)
def test_what_a_template_must_not_do(source: str) -> None:
    start = time.monotonic()
    with pytest.raises(TemplateError, match=r"^the chat template ") as caught:
        render(source)
    assert time.monotonic() - start < 5  # of which one is processor time
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 300


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__ }}",
        "{{ '{0.__class__}'.format('') }}",
        "{{ ''|attr('__class__') }}",
        "{{ raise_exception.__globals__ }}",
        "{{ self._TemplateReference__context }}",
        "{{ messages[0].__class__ }}",
        "{{ ['']|map(attribute='__class__')|list|string|replace('[', '')|replace(']', '') }}",
    ],
)
def test_internals_are_undefined(source: str) -> None:
    with contextlib.suppress(TemplateError):
        assert render(source) in ("", "Undefined")


def test_the_process_has_nothing_to_take() -> None:
    """What an escape from the sandbox would find: no files, no children, little memory."""
    template = ChatTemplate("{{ 1 }}")
    assert template.render(HELLO) == "1"
    pid = template._worker._process.pid
    limits = Path(f"/proc/{pid}/limits").read_text()
    for name in ("Max open files", "Max processes", "Max file size", "Max core file size"):
        assert int(re.search(rf"{name}\s+(\d+)", limits)[1]) <= 3, name
    assert int(re.search(r"Max address space\s+(\d+)", limits)[1]) < 1 << 30
    assert Path(f"/proc/{pid}/environ").read_bytes() == b""
    assert sorted(os.listdir(f"/proc/{pid}/fd")) == ["0", "1", "2"]
    template.close()
    assert not Path(f"/proc/{pid}").exists()


def test_where_little_memory_is_allowed_already() -> None:
    ask = (
        "import resource; from pocketlm.chat.template import ChatTemplate;"
        "resource.setrlimit(resource.RLIMIT_AS, (300 << 20, 300 << 20));"
        "print(ChatTemplate('{{ 1 }}').render([]))"
    )
    answer = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, timeout=60)
    assert answer.stdout == "1\n", answer.stderr


def test_a_template_goes_on_after_an_error() -> None:
    template = ChatTemplate(
        "{% if x is not defined %}{{ raise_exception('x') }}{% elif x %}"
        + FOREVER
        + "{% endif %}ok"
    )
    with pytest.raises(RefusalError):
        template.render(HELLO)
    assert template.render(HELLO, variables={"x": False}) == "ok"
    with pytest.raises(TemplateError, match="runs for more than 1 s"):
        template.render(HELLO, variables={"x": True})
    assert template.render(HELLO, variables={"x": False}) == "ok"
    os.kill(template._worker._process.pid, signal.SIGKILL)
    with pytest.raises(TemplateError, match="ended the process"):
        template.render(HELLO)
    assert template.render(HELLO, variables={"x": False}) == "ok"


def test_ctrl_c_does_not_end_the_process() -> None:
    template = ChatTemplate("ok")
    template.render(HELLO)
    os.kill(template._worker._process.pid, signal.SIGINT)
    assert template.render(HELLO) == "ok"


def test_threads() -> None:
    template = ChatTemplate("{{ messages[0].content }}")
    wrong = []

    def ask(name: str) -> None:
        for number in range(50):
            content = f"{name}{number}" * 100
            if template.render([{"role": "user", "content": content}]) != content:
                wrong.append(content)

    threads = [threading.Thread(target=ask, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_it_is_quick_once_it_runs() -> None:
    template = ChatTemplate("{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}")
    template.warm()
    assert template.render(HELLO) == "<user>Hello"
    start = time.monotonic()
    for _ in range(100):
        template.render(HELLO * 10)
    assert time.monotonic() - start < 1


def test_long_and_odd_input() -> None:
    long = "é" * 1_000_000
    assert render("{{ messages[0].content }}", [{"role": "user", "content": long}]) == long
    with pytest.raises(TemplateError, match="1048577 characters long"):
        ChatTemplate("a" * 1_048_577)
    with pytest.raises(TemplateError, match="JSON"):
        render("", x=object())


def test_environments_are_made_in_one_place() -> None:
    package = Path(pocketlm.__file__).parent
    makers = [
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if re.search(
            r"Environment\(|from_string\(|jinja2\.Template|import jinja2", path.read_text()
        )
    ]
    # The reports' templates are files of ours; what goes into them is escaped.
    pages = ["evaluate/report/report.py", "recipe/data/report/__init__.py"]
    assert sorted(makers) == ["chat/template_worker.py", *pages]
    assert all("autoescape=True" in (package / page).read_text() for page in pages)
