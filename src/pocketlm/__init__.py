"""Small language models, offline, on the device in your pocket.

>>> import pocketlm
>>> with pocketlm.load("smollm2") as model:
...     print(model.chat([{"role": "user", "content": "What is the capital of France?"}]).text)
"""

#: As `typing` has it, whose import takes milliseconds.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from pocketlm.api import Model, load
    from pocketlm.errors import Error

    __version__: str

__all__ = ["Error", "Model", "__version__", "load"]

_HOMES = {"Error": "pocketlm.errors", "Model": "pocketlm.api", "load": "pocketlm.api"}


def __getattr__(name: str) -> object:
    """Import on first use: `import pocketlm` alone is to take no time."""
    if name == "__version__":
        from importlib.metadata import version

        return version("pocketlm")
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'pocketlm' has no attribute {name!r}")
