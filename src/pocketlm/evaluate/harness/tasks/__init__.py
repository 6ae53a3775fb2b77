"""Task definitions of our own, in the harness's form: the set of the Phi-3 report, by letter.

`TaskManager(include_path=FOLDER)` finds them beside the harness's own tasks. Each is one YAML file;
those with options share the form in `_letters_yaml`, after appendix A of the report
(arXiv 2404.14219). docs/phi3-report.md says what is known of the published way, and what is not.
"""

from pathlib import Path

FOLDER = Path(__file__).parent
#: The group of all of them.
SUITE = "phi3-report"
