"""`pocketlm rm`: remove a model that pocketlm brought."""

from pocketlm.cli.options import Model


def rm(model: Model) -> None:
    """Remove a model that pocketlm brought, and what was kept of texts that it read.

    A path, and what the hub cache, Ollama or LM Studio keep, is never touched.

    \b
    Examples:
      pocketlm rm phi3
    """
    from pocketlm.engine.prefixes import forget
    from pocketlm.store import Store

    store = Store()
    path = store.find(model)
    removed = store.remove(model)
    if path is not None and path.is_relative_to(removed):
        forget(store.home / "prefixes", path)
    print(f"removed {removed}")
