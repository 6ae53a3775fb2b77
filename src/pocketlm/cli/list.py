"""`pocketlm list`: the models on this machine, and those that can be brought by name."""

import json as json_format

from pocketlm.cli.options import Json


def list_models(json: Json = False) -> None:
    """List the models on this machine, wherever they lie, and those known by a short name.

    Models in the hub cache, in Ollama's and in LM Studio's stores are used in place.

    \b
    Examples:
      pocketlm list
      pocketlm list --json
    """
    from pocketlm.cli.output import size, table
    from pocketlm.store import Store

    store = Store()
    here = store.list()
    others = [e for e in store.catalogue.entries if store.find(e.name) is None]
    if json:
        models = [
            {
                "name": entry.name,
                "path": str(entry.path),
                "kind": entry.kind,
                "bytes": entry.size,
                "where": entry.where,
            }
            for entry in here
        ]
        available = [{"name": e.name, "title": e.title, "license": e.license} for e in others]
        print(json_format.dumps({"models": models, "available": available}, indent=1))
        return
    if here:
        print(table([(e.name, size(e.size), e.where, str(e.path)) for e in here]))
    else:
        print("no model on this machine yet")
    if others:
        print("\nto bring with `pocketlm pull NAME`:")
        print(table([(e.name, f"{e.title}, {e.license}") for e in others]))
