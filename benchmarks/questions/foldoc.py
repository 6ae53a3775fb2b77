"""An encyclopedia and questions about it, from the Free On-line Dictionary of Computing.

Debian's package `dict-foldoc` has it (GNU Free Documentation License): some 16,000 entries, each a
page here. Questions are made of statements whose form is plain: who designed, wrote, developed or
invented what an entry is about, and when it was; the answer is what the entry says at that place.
A question names its entry and shares no other word with the statement than its verb; so finding
the entry is easy where its name is rare, and hard where many entries have it; finding the words in
the entry is the reader's task, as is saying nothing where the entry is taken away.
"""

import gzip
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from questions.reading import Question

_BY = re.compile(
    r"\b(?P<verb>designed|developed|invented|written|created|introduced|founded|proposed) by "
    r"(?P<who>(?:the )?(?:[A-Z][\w'.-]+ ?){1,4})(?= (?:at|of|in|and|for|as|to|from)\b|[.,;)])"
)
_WHEN = re.compile(
    r"\b(?P<verb>designed|developed|invented|written|created|introduced|founded|released)\b"
    r"[^.]{0,60}? in (?P<when>1[89]\d\d|20[01]\d)\b"
)
#: An entry begins with its names at the margin; its text is indented, but for lines that were long.
_ENTRY = r"^(\S.*)\n(?:\S.*\n)*\n((?:[ \t]+.*\n|\n|\S.*\n(?=[ \t]))+)"
_ASK = {"written": "wrote"}
_LEAST, _MOST = 200, 2500  # characters of an entry that is asked about


@dataclass(frozen=True)
class Entry:
    """A page of the encyclopedia."""

    title: str
    text: str

    @property
    def path(self) -> str:
        """Its address in a ZIM file."""
        return "A/" + re.sub(r"[^\w.+-]+", "_", self.title)

    @property
    def page(self) -> str:
        """As HTML."""
        paragraphs = "".join(f"<p>{html.escape(part)}</p>" for part in self.text.split("\n\n"))
        title = html.escape(self.title)
        body = f"<body><h1>{title}</h1>{paragraphs}</body>"
        return f"<html><head><title>{title}</title></head>{body}</html>"


def entries(path: Path) -> list[Entry]:
    """The dictionary's entries, without marks of cross-references and dates of changes."""
    text = gzip.decompress(path.read_bytes()).decode("utf-8", "replace")
    found: dict[str, Entry] = {}
    for match in re.finditer(
        r"^(\S.*)\n(?:\S.*\n)*\n((?:[ \t]+.*\n|\n|\S.*\n(?=[ \t]))+)", text, re.M
    ):
        title = match[1].strip()
        body = re.sub(r"\n\s*\n", "\0", match[2].strip())
        body = re.sub(r"\s+", " ", body.replace("{", "").replace("}", ""))
        body = re.sub(r"\0 ?\(\d{4}-\d\d-\d\d\)|^<[^>]*> ", "", body).replace("\0", "\n\n").strip()
        if body and not title.startswith("00-"):
            found.setdefault(title, Entry(title, body))
    return list(found.values())


def questions(every: list[Entry]) -> Iterator[Question]:
    """One question an entry at most; `passage` is the entry's path."""
    for entry in every:
        if not _LEAST < len(entry.text) < _MOST or len(entry.title) < 3:
            continue
        by, when = _BY.search(entry.text), _WHEN.search(entry.text)
        if by is not None:
            verb = _ASK.get(by["verb"], by["verb"])
            asked = f"Who {verb} {entry.title}?"
            answers: tuple[str, ...] = (by["who"].strip(), by["who"].strip().removeprefix("the "))
        elif when is not None:
            asked, answers = f"When was {entry.title} {when['verb']}?", (when["when"],)
        else:
            continue
        yield Question(asked, answers, entry.title, entry.path)


def write_zim(every: list[Entry], path: Path) -> None:
    """The encyclopedia as a ZIM file with a full-text index, as Kiwix's are."""
    from libzim.writer import Creator, Hint, Item, StringProvider

    class Page(Item):
        def __init__(self, entry: Entry) -> None:
            super().__init__()
            self.entry = entry

        def get_path(self) -> str:
            return self.entry.path

        def get_title(self) -> str:
            return self.entry.title

        def get_mimetype(self) -> str:
            return "text/html"

        def get_contentprovider(self) -> StringProvider:
            return StringProvider(self.entry.page)

        def get_hints(self) -> dict:
            return {Hint.FRONT_ARTICLE: True}

    with Creator(path).config_indexing(True, "eng") as creator:
        creator.set_mainpath(every[0].path)
        for entry in {entry.path: entry for entry in every}.values():
            creator.add_item(Page(entry))
        for name, value in (("Title", "FOLDOC"), ("Language", "eng"), ("Name", "foldoc")):
            creator.add_metadata(name, value)
