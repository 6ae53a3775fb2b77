"""Counts the instructions that multiply, kernel by kernel, and fails where a kernel has none.

    python tests/native/instructions.py build/aarch64/libruntime.a [SHIPPED_LIBRARY]

A kernel written in intrinsics can lose them without giving a wrong number: to a compiler without
the extension, to a macro that is not defined, to a file that is left out. So the archive that a
library is linked from is taken apart by function. The library itself has no names left, and must
hold as many of these instructions as the archive. OBJDUMP names the program for the archive's
processor.
"""

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

# For each processor, the files of kernels; for each file, the functions that multiply, and by what.
_PROCESSORS = {
    "aarch64": {
        "kernels_neon": {"multiply": "sdot"},
        # One token leaves half of a matrix product idle.
        "kernels_i8mm": {"multiply": "smmla", "multiply of one token": "sdot"},
    },
    "x86-64": {
        "kernels_avx2": {"multiply_halves": "vpmaddubsw"},
        "kernels_avxvnni": {"multiply_halves": "vpdpbusd"},
        "kernels_avx512": {"multiply": "vpdpbusd"},
        "kernels_avx512vbmi": {"multiply": "vpdpbusd"},
        "kernels_amx": {
            "multiply": "vpdpbusd",
            "multiply_pair": "vpdpbusd",
            "add_groups": "tdpbssd",
        },
    },
}
_KERNEL = re.compile(r"(?P<name>\w+)<\(pocketlm::Type\)(?P<type>\d+)(?:, (?P<tokens>\d+))?")
_LAYOUT = Path(__file__).resolve().parents[2] / "src/pocketlm/native/layout.h"

Functions = dict[str, Counter[str]]


def disassembled(path: Path) -> dict[str, Functions]:
    """For each file in an archive, and each function in it, its instructions."""
    command = [os.environ.get("OBJDUMP", "objdump"), "-d", "-C", "--no-show-raw-insn", str(path)]
    members: dict[str, Functions] = {}
    counts: Counter[str] = Counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(" "):
                instruction = line.split("\t")[1].removeprefix("{vex} ")
                counts[instruction.split(maxsplit=1)[0]] += 1
            elif "file format" in line:
                functions = members.setdefault(line.partition(".")[0], {})
            elif line.endswith(">:\n"):
                counts = functions.setdefault(line.partition("<")[2], Counter())
    if process.returncode != 0:
        sys.exit(f"{command[0]} could not read {path}")
    return members


def missing(members: dict[str, Functions], processor: str) -> list[str]:
    """What lacks its instructions. What has them is printed, a line for each file and type."""
    found = re.search(r"enum class Type \{ (.*) \}", _LAYOUT.read_text(encoding="utf-8"))
    assert found is not None
    types = found[1].split(", ")
    lacking = []
    for file, kinds in _PROCESSORS[processor].items():
        seen = set()
        lines: dict[int, list[str]] = {}
        for function, counts in sorted(members.get(file, {}).items()):
            kernel = _KERNEL.search(function)
            if kernel is None:
                continue
            kind = kernel["name"]
            if kernel["tokens"] == "1" and f"{kind} of one token" in kinds:
                kind += " of one token"
            if kind not in kinds:
                continue
            seen.add(kind)
            count = counts[kinds[kind]]
            title = kernel["name"] + (f" {kernel['tokens']}" if kernel["tokens"] else "")
            line = f"{title}: {count} {kinds[kind]}"
            type_index = int(kernel["type"])
            lines.setdefault(type_index, []).append(line)
            if count == 0:
                lacking.append(f"{file}, {types[type_index]}, {line}")
        for type_index, line_parts in sorted(lines.items()):
            print(f"{file} {types[type_index]:6} {'; '.join(line_parts)}")
        lacking += [f"{file} has no {kind}" for kind in kinds.keys() - seen]
    return lacking


def main(archive: Path, shipped: Path | None = None) -> None:
    """Print the counts; exit with 1 where one should not be zero."""
    members = disassembled(archive)
    processor = "aarch64" if "kernels_neon" in members else "x86-64"
    lacking = missing(members, processor)
    wanted = {name for kinds in _PROCESSORS[processor].values() for name in kinds.values()}
    linked = _total(disassembled(shipped)) if shipped else Counter()
    for name in sorted(wanted):
        count = _total(members)[name]
        print(f"{archive}: {count} {name}")
        if shipped:
            print(f"{shipped}: {linked[name]} {name}")
            if linked[name] != count:
                lacking.append(f"{shipped} has {linked[name]} {name}, not {count}")
    if lacking:
        sys.exit("\n".join(lacking))


def _total(members: dict[str, Functions]) -> Counter[str]:
    total: Counter[str] = Counter()
    for functions in members.values():
        for counts in functions.values():
            total += counts
    return total


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
