"""Asking as the page does: server-sent events of /ui/answer, and the history behind it."""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from servers import Running

from pocketlm.chat.history import History


def body_of(text=None, **more):
    return {"answer": secrets.token_hex(16), **({} if text is None else {"text": text}), **more}


def events(lines) -> Iterator[tuple[str, dict]]:
    name = ""
    for line in lines:
        if line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            yield name, json.loads(line[6:])


@contextmanager
def asking(server: Running, text=None, **more):
    """The events of an answer while they come."""
    body = body_of(text, **more)
    with (
        httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client,
        client.stream("POST", "/ui/answer", json=body) as response,
    ):
        if response.status_code != 200:
            response.read()
        assert response.status_code == 200, response.text
        yield body["answer"], events(response.iter_lines())


class Asked:
    """An answer that is over."""

    def __init__(self, server: Running, text=None, **more):
        more.setdefault("sampling", {"temperature": 0, "max_tokens": 16})
        self.blocks: list[str] = []
        self.names = []
        with asking(server, text, **more) as (_, found):
            for name, content in found:
                self.names.append(name)
                if name == "blocks":
                    self.blocks[content["from"] :] = content["blocks"]
                else:
                    setattr(self, name, content)

    @property
    def place(self):
        """What the next question in this chat says."""
        return {"chat": self.done["chat"], "revision": self.done["revision"]}


def kept(server: Running) -> list[list[tuple[str, str]]]:
    """What the history holds, newest first, as another program reads it."""
    with History(server.home / "history.db") as history:
        chats = [history.load(entry.id, fingerprint=None) for entry in history.list(100)]
    return [[(m["role"], m["content"]) for m in chat.messages] for chat in chats]
