"""The model store: what models there are, where they lie, and how they come here.

The only room that reaches a network for models. It knows names, files and checksums; it never looks
inside a model.
"""

from pocketlm.store.catalogue import DEFAULT_MODEL
from pocketlm.store.store import Entry, Store

__all__ = ["DEFAULT_MODEL", "Entry", "Store"]
