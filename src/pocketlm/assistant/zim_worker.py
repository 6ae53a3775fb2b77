"""The process in which ZIM archives are open. Started by `zim.py`."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from lxml import etree

from pocketlm.assistant.child import ChildError, serve
from pocketlm.assistant.documents.document import Document
from pocketlm.assistant.documents.html import parsed
from pocketlm.assistant.documents.split import Piece, passages

#: Most bytes of an article, passages of it, and redirections that lead to it.
_MOST_BYTES, _MOST_PASSAGES, _MOST_HOPS = 8 << 20, 200, 8
#: What an article has beside its text, by MediaWiki's names: tables of facts and of navigation,
#: notes, and what belongs to the page.
_CLASSES = frozenset(
    (
        *("reference", "references", "reflist", "mw-references-wrap", "mw-editsection", "navbox"),
        *("infobox", "metadata", "toc", "hatnote", "noprint", "thumb", "gallery", "sidebar"),
        *("mw-empty-elt", "ambox", "catlinks", "printfooter", "citation", "refbegin"),
    )
)


@lru_cache(maxsize=16)
def _opened(path: str, changed: int) -> Any:  # noqa: ANN401  (libzim has no types at run time)
    """The archive as it was when it changed last."""
    from libzim.reader import Archive

    try:
        return Archive(Path(path))
    except RuntimeError as error:
        raise ChildError(f"is no sound ZIM archive ({error})") from None


def _answer(request: dict[str, Any], data: bytes) -> Any:  # noqa: ANN401  (JSON)
    path = Path(request["archive"])
    try:
        archive = _opened(str(path), path.stat().st_mtime_ns)
    except OSError as error:
        raise ChildError(f"cannot be opened: {error.strerror}") from None
    what = request["do"]
    if what == "about":
        return _about(archive)
    if what == "read":
        return [_read(archive, entry) for entry in request["entries"]]
    if what == "suggest":
        return _suggested(archive, request["text"], request["count"])
    return _searched(archive, request["text"], request.get("count"))


def _about(archive: Any) -> dict[str, Any]:  # noqa: ANN401
    title = b""
    if "Title" in archive.metadata_keys:
        title = archive.get_metadata("Title")
    return {
        "title": title.decode(errors="replace")[:200],
        "articles": archive.article_count,
        "full_text": archive.has_fulltext_index,
    }


def _suggested(archive: Any, text: str, count: int) -> list[str]:  # noqa: ANN401
    from libzim.suggestion import SuggestionSearcher

    if not archive.has_title_index:
        return []
    return list(SuggestionSearcher(archive).suggest(text).getResults(0, count))


def _searched(archive: Any, text: str, count: int | None) -> Any:  # noqa: ANN401
    """Entries with all words of `text`, or how many these are."""
    from libzim.search import Query, Searcher

    if not archive.has_fulltext_index:
        return _suggested(archive, text, count) if count else 1
    search = Searcher(archive).search(Query().set_query(text))
    return list(search.getResults(0, count)) if count else search.getEstimatedMatches()


def _read(archive: Any, path: str) -> tuple[str, list[Piece]]:  # noqa: ANN401
    """Where an article is, and its passages; none of what is no article, or too large to be one."""
    entry = archive.get_entry_by_path(path)
    for _ in range(_MOST_HOPS):
        if not entry.is_redirect:
            break
        entry = entry.get_redirect_entry()
    else:
        return path, []
    item = entry.get_item()
    if item.size > _MOST_BYTES or not item.mimetype.startswith("text/html"):
        return entry.path, []
    page = parsed(bytes(item.content).decode(errors="replace"), drop=_is_beside)
    document = Document(page.blocks, entry.title)
    found = []
    for piece in passages(document, path):
        found.append(piece)
        if len(found) == _MOST_PASSAGES:
            break
    return entry.path, found


def _is_beside(element: etree._Element) -> bool:
    if element.tag == "table":
        return True
    classes = element.get("class")
    return classes is not None and not _CLASSES.isdisjoint(classes.split())


if __name__ == "__main__":
    serve(_answer)
