"""Writes the help texts of the program into docs/reference.md, or checks that they are there.

    python docs/reference.py            # write
    python docs/reference.py --check    # exit 1 when the page is not what would be written

Each text stands between `<!-- help: COMMAND -->` and `<!-- end -->`; the rest of the page is ours.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).with_name("reference.md")
_PART = re.compile(r"(<!-- help: ?(?P<command>[\w ]*) -->\n).*?(<!-- end -->)", re.DOTALL)


def help_text(command: str) -> str:
    """What `pocketlm COMMAND --help` prints on a terminal of 100 columns."""
    arguments = [sys.executable, "-m", "pocketlm", *command.split(), "--help"]
    environment = os.environ | {"COLUMNS": "100", "NO_COLOR": "1"}
    result = subprocess.run(
        arguments, env=environment, capture_output=True, text=True, encoding="utf-8", check=True
    )
    return result.stdout.strip()


def generated(page: str) -> str:
    """The page with every help text as the program prints it now."""
    return _PART.sub(
        lambda part: f"{part[1]}```text\n{help_text(part['command'])}\n```\n{part[3]}", page
    )


if __name__ == "__main__":
    before = PAGE.read_text(encoding="utf-8")
    after = generated(before)
    if sys.argv[1:] == ["--check"]:
        if before != after:
            sys.exit("docs/reference.md is out of date: run `python docs/reference.py`")
    else:
        PAGE.write_text(after, encoding="utf-8")
