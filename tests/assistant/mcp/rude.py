"""A small MCP server without the SDK, most often a bad one: `rude.py HOW [FOLDER]`."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

how = sys.argv[1]
folder = Path(sys.argv[-1])


def say(message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def pour(piece):
    """Write without end, as fast as it is read."""
    try:
        while True:
            os.write(1, piece)
    except BrokenPipeError:
        sys.exit(0)


def answers():
    """Answer the handshake; give each later request."""
    for line in sys.stdin:
        request = json.loads(line)
        match request.get("method"):
            case "initialize":
                result = {
                    "protocolVersion": request["params"]["protocolVersion"],
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": "rude", "version": "1"},
                }
                say({"id": request["id"], "result": result})
            case "server/discover":
                say({"id": request["id"], "error": {"code": -32601, "message": "no"}})
            case _ if "id" in request:
                yield request["id"]


TOOL = {"name": "t", "inputSchema": {"type": "object"}}

match how:
    case "silent":
        time.sleep(1000)
    case "deaf":  # never ends by itself, and neither does what it started
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen(["sleep", "1000"])
        (folder / "pids").write_text(f"{os.getpid()} {child.pid}")
        for id in answers():
            say({"id": id, "result": {"tools": []}})
        time.sleep(1000)
    case "ends":
        sys.stderr.write("\x1b[31mno \x07luck\n")
        sys.exit(3)
    case "closes":
        os.close(1)
        time.sleep(1000)
    case "garbage":
        pour(b"this is no message\n")
    case "binary":
        pour(bytes(range(256)))
    case "line":
        pour(b"x" * 65536)
    case "greets":
        print("Welcome!\n\n{]\nServer is running", flush=True)
        for id in answers():
            say({"id": id, "result": {"tools": [TOOL]}})

for number, id in enumerate(answers()):
    match how:
        case "pattern" if number == 0:  # one that takes a backtracking matcher for ever
            schema = {"type": "object", "properties": {"a": {"pattern": "^(a+)+$"}}}
            say({"id": id, "result": {"tools": [{**TOOL, "outputSchema": schema}]}})
        case "pattern":
            data = {"a": "a" * 60 + "!"}
            say({"id": id, "result": {"content": [], "structuredContent": data}})
        case "lists":  # in good manners, what tools.json says
            say({"id": id, "result": {"tools": json.loads((folder / "tools.json").read_text())}})
        case "hangs":
            time.sleep(1000)
        case "dies":
            sys.exit(7)
        case "chatters":  # sound messages, without end
            note = {"level": "info", "data": "x" * 1000}
            pour(
                json.dumps(
                    {"jsonrpc": "2.0", "method": "notifications/message", "params": note}
                ).encode()
                + b"\n"
            )
        case "asks":  # makes itself work, without end
            while True:
                say({"id": 1, "method": "ping"})
        case "huge":
            say({"id": id, "result": {"tools": [{**TOOL, "description": "x" * (5 << 20)}]}})
        case "deep":
            nested = '{"a":' * 100_000 + "1" + "}" * 100_000
            sys.stdout.write(f'{{"jsonrpc":"2.0","id":{id},"result":{nested}}}\n')
            sys.stdout.flush()
        case "many":
            tools = [{**TOOL, "name": f"t{each}"} for each in range(1000)]
            say({"id": id, "result": {"tools": tools}})
        case "pages":
            say({"id": id, "result": {"tools": [], "nextCursor": "on"}})
        case "unsound":
            say({"id": id, "result": {"tools": [{"name": 1}]}})
        case "other":
            say({"id": id, "result": {"tools": "none"}})
        case "refuses":
            say({"id": id, "error": {"code": -1, "message": "go \u202eaway\x1b[2J" + "!" * 5000}})
        case "strange":
            say({"id": id, "result": None})
