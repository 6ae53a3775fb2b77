"""ik_llama.cpp, by its own bench program: `llama-bench`, started anew for each work.

With its repacking of weights at load (`-rtr 1`) and flash attention, as its author advises.
"""

import json
import subprocess

from comparison.works import Work


class IkLlamaCpp:
    """A model in ik_llama.cpp, one text at a time."""

    def __init__(self, program: str, path: str, threads: int) -> None:
        self.command = [program, "-m", path, "-t", str(threads), "-ngl", "0"]
        self.command += ["-fa", "1", "-rtr", "1", "-r", "1", "-o", "json"]
        self.name, self.version = "ik_llama.cpp", ""

    def seconds(self, work: Work) -> float | None:
        if work.texts > 1:
            return None
        result = subprocess.run([*self.command, *arguments(work)], capture_output=True, text=True)
        if result.returncode:
            raise SystemExit(f"{' '.join(result.args)} failed: {result.stderr.strip()[-500:]}")
        (test,) = json.loads(result.stdout)
        self.version = f"{test['build_commit']} ({test['build_number']})"
        return test["samples_ns"][0] / 1e9

    def close(self) -> None:
        """Nothing runs between two works."""


def arguments(work: Work) -> list[str]:
    """How the bench program is told of a work; without the other kinds that it does by default."""
    prompt = str(work.prompt)
    if work.depth:
        return ["-p", "0", "-n", "0", "-gp", f"{work.depth},{work.generate}"]
    return ["-p", prompt, "-n", str(work.generate)]
