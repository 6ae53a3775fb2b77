"""`pocketlm pull`: bring a model to this machine."""

from pocketlm.cli.options import Model, Offline


def pull(model: Model, offline: Offline = False) -> None:
    """Bring a model here, or check it if it is here already.

    A download that was stopped goes on where it was. Nothing is used before every byte is checked.

    \b
    Examples:
      pocketlm pull smollm2
      pocketlm pull phi3:128k
      pocketlm pull microsoft/Phi-3-mini-4k-instruct-gguf
      pocketlm pull org/name:model-Q4_K_M.gguf
    """
    from pocketlm.cli.output import Download
    from pocketlm.store import Store

    with Download() as progress:
        path = Store().pull(model, progress)
    print(path)
