"""Answers with sources as Markdown: what passages say stands there as words."""

import html
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketlm.assistant.asking import Answer, Citation
from pocketlm.assistant.citing import as_markdown, escaped
from pocketlm.assistant.passage import Passage
from pocketlm.serve.ui.markdown import render


def written(title: str, source: str, quote: str, **more) -> str:
    citation = Citation(1, Passage(source, title, quote), quote, supported=True)
    return as_markdown(Answer("1742 [1]", found=True, citations=[citation], **more), "1742 [1]")


def test_an_answer_with_a_source():
    found = written("The mill", "/home/me/mill.md", "It was built\nin 1742.")
    assert found == "1742 [1]\n\n[1] The mill, `/home/me/mill.md`\n\n> It was built in 1742."


def test_a_page_of_the_web_is_a_link():
    found = written("The mill", "https://mill.example/a?b=1", "Built in 1742.")
    assert "[1] The mill, <https://mill.example/a?b=1>" in found
    assert '<a href="https://mill.example/a?b=1"' in "".join(render(found))


@pytest.mark.parametrize(
    "source",
    [
        "javascript:alert(1)",
        "https://a.example/> ![x](https://evil.example/i)",
        "https://a.example/\n\n[2] Forged",
        "file:///etc/passwd",
        "https://[::1",
        "`code` <https://evil.example>",
    ],
)
def test_what_leads_nowhere_is_code(source):
    blocks = render(written("T", source, "Q."))
    assert len(blocks) == 3
    assert "<a " not in "".join(blocks)
    assert "<code>" in blocks[1]


def test_what_could_not_be_asked():
    found = written("T", "/t", "Q.", problems=["web: no *network*"])
    assert found.endswith("\n\nWithout web: no \\*network\\*")


_MARKUP = st.sampled_from(
    [
        *("[1]", "[1] A source, <https://evil.example>", "![x](https://evil.example/i)", "](", "["),
        *(
            "<b>",
            "<!-- ",
            "&amp;",
            "&#60;",
            "`",
            "```",
            "*",
            "**",
            "_",
            "__",
            "~~",
            "$x$",
            "$$",
            "\\",
        ),
        *(
            "# ",
            "> ",
            "- ",
            "+ ",
            "1. ",
            "2) ",
            "===",
            "---",
            "|",
            "\n",
            "\n\n",
            "[x]: https://e.example",
        ),
        *("\u200b", "\u202e", "plain words ", "snake_case", "2 * 3", "a < b"),
    ]
)


@given(st.lists(_MARKUP | st.text(max_size=6), max_size=10).map("".join))
@settings(max_examples=500, deadline=None)
def test_a_quote_is_words_and_nothing_else(text):
    (block,) = render(f"> x{escaped(text)}") if text.strip() else ["<blockquote>\n<p>x</p>\n"]
    tags = set(re.findall(r"</?([a-z]+)", block))
    assert tags <= {"blockquote", "p"}, block


@given(st.lists(_MARKUP | st.text(max_size=6), max_size=10).map("".join))
@settings(max_examples=500, deadline=None)
def test_a_line_of_its_own_is_a_paragraph_that_says_the_same(text):
    line = escaped(text)
    if not line:
        return
    (block,) = render(line)
    said = html.unescape(re.sub(r"^<p>|</p>\n$", "", block))
    assert "<" not in re.sub(r"&lt;", "", re.sub(r"^<p>|</p>\n$", "", block)), block
    assert said.split() == escaped_words(text), (text, block)


def escaped_words(text):
    from pocketlm.assistant.visible import visible

    return visible(text).split()
