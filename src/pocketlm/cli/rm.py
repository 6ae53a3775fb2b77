"""`pocketlm rm`: remove a model that pocketlm brought."""

from pocketlm.cli.options import Model


def rm(model: Model) -> None:
    """Remove a model that pocketlm brought.

    A path, and what the hub cache, Ollama or LM Studio keep, is never touched.

    \b
    Examples:
      pocketlm rm phi3
    """
    from pocketlm.store import Store

    print(f"removed {Store().remove(model)}")
