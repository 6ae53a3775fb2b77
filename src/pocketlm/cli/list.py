"""`pocketlm list`: models and adapters on this machine, and models that can be brought by name."""

import json as json_format

from pocketlm.cli.options import Json


def list_models(json: Json = False) -> None:
    """List the models and adapters on this machine, and the models known by a short name.

    Models in the hub cache, in Ollama's and in LM Studio's stores are used in place.

    \b
    Examples:
      pocketlm list
      pocketlm list --json
    """
    from pocketlm.cli.output import size, table
    from pocketlm.store import Store
    from pocketlm.store.adapters import Adapters

    store = Store()
    here = store.list()
    adapters = Adapters(store.home).list()
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
        installed = [
            {
                "name": each.name,
                "language": each.language,
                "model": each.base,
                "path": str(each.path),
                "bytes": each.size,
            }
            for each in adapters
        ]
        available = [{"name": e.name, "title": e.title, "license": e.license} for e in others]
        found = {"models": models, "adapters": installed, "available": available}
        print(json_format.dumps(found, indent=1))
        return
    if here:
        print(table([(e.name, size(e.size), e.where, str(e.path)) for e in here]))
    else:
        print("no model on this machine yet")
    if adapters:
        print("\nadapters for languages:")
        rows = [(e.name, size(e.size), f"{e.language} of {e.base}", str(e.path)) for e in adapters]
        print(table(rows))
    if others:
        print("\nto bring with `pocketlm pull NAME`:")
        print(table([(e.name, f"{e.title}, {e.license}") for e in others]))
