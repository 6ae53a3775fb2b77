"""What the tests know of strangers' servers."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from pocketlm.assistant.mcp.servers import Server

HERE = Path(__file__).parent


@dataclass
class Stranger:
    """A server that offers what it is told to, and writes down how it was called."""

    folder: Path
    server: Server

    def offer(self, *tools: dict) -> None:
        whole = [{"inputSchema": {"type": "object"}, "does": ["text", "done"], **t} for t in tools]
        (self.folder / "tools.json").write_text(json.dumps(whole))

    @property
    def calls(self) -> list:
        path = self.folder / "calls"
        return [json.loads(line) for line in path.open()] if path.exists() else []


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
