"""The benchmarks are scripts beside the package, with modules of their own."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
