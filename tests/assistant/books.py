"""Files of kinds that a text editor does not write: PDF, EPUB, ZIM."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path


def pdf(pages: Sequence[str], title: str = "") -> bytes:
    """A PDF file, a line of each page's text a line of the page."""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Count %d /Kids [%s] >>"
        % (len(pages), b" ".join(b"%d 0 R" % (5 + 2 * n) for n in range(len(pages)))),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Title (%s) >>" % title.encode(),
    ]
    for number, text in enumerate(pages):
        lines = b"".join(b"(%s) Tj T*\n" % line.encode() for line in text.split("\n"))
        stream = b"BT /F1 12 Tf 14 TL 50 700 Td\n" + lines + b"ET"
        objects += [
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R"
            b" /Resources << /Font << /F1 3 0 R >> >> >>" % (6 + 2 * number),
            b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        ]
    data = b"%PDF-1.4\n"
    places = []
    for number, body in enumerate(objects, 1):
        places.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return data + (
        b"xref\n0 %d\n0000000000 65535 f \n%strailer\n<< /Size %d /Root 1 0 R /Info 4 0 R >>\n"
        b"startxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table, len(objects) + 1, len(data))
    )


def epub(title: str, chapters: Mapping[str, str | bytes]) -> bytes:
    """An EPUB file: bodies of chapters by their names, in their order."""
    items = "".join(
        f'<item id="c{n}" href="{name}" media-type="application/xhtml+xml"/>'
        for n, name in enumerate(chapters)
    )
    spine = "".join(f'<itemref idref="c{n}"/>' for n in range(len(chapters)))
    package = f"""<?xml version="1.0"?>
<package xmlns="http://www.idpf.org/2007/opf" version="3.0">
<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>{title}</dc:title></metadata>
<manifest>{items}</manifest><spine>{spine}</spine></package>"""
    container = """<?xml version="1.0"?>
<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container" version="1.0"><rootfiles>
<rootfile full-path="book/package.opf" media-type="application/oebps-package+xml"/>
</rootfiles></container>"""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/epub+zip")
        archive.writestr("META-INF/container.xml", container)
        archive.writestr("book/package.opf", package)
        for name, body in chapters.items():
            page = body
            if isinstance(body, str):
                page = f"<?xml version='1.0'?><html><body>{body}</body></html>"
            archive.writestr(f"book/{name}", page)
    return written.getvalue()


def zim(
    path: Path,
    articles: Mapping[str, str],
    redirections: Mapping[str, str] | None = None,
    *,
    indexed: bool = True,
) -> Path:
    """An archive of articles (bodies by titles), with libzim's own full-text index."""
    from libzim.writer import Creator, Hint, Item, StringProvider

    class Article(Item):
        def __init__(self, title: str, body: str) -> None:
            super().__init__()
            self.title, self.body = title, body

        def get_path(self) -> str:
            return self.title.replace(" ", "_")

        def get_title(self) -> str:
            return self.title

        def get_mimetype(self) -> str:
            return "text/html"

        def get_contentprovider(self) -> StringProvider:
            return StringProvider(f"<html><body>{self.body}</body></html>")

        def get_hints(self) -> dict[Hint, int]:
            return {Hint.FRONT_ARTICLE: 1}

    with Creator(path).config_indexing(indexed, "eng") as creator:
        creator.set_mainpath(next(iter(articles)))
        for title, body in articles.items():
            creator.add_item(Article(title, body))
        for title, target in (redirections or {}).items():
            creator.add_redirection(title, title, target, {Hint.FRONT_ARTICLE: 1})
        about = {"Title": "A small encyclopedia", "Language": "eng", "Date": "2026-01-01"}
        for name, value in about.items():
            creator.add_metadata(name, value)
    return path
