"""/v1/models: the models that may be named."""

from starlette.requests import Request
from starlette.routing import Route

from pocketlm.serve.http import Json


async def list_models(request: Request) -> Json:
    """All models."""
    state = request.app.state
    names = await state.pool.names()
    if state.embedder is not None:
        names.append(state.embedder.name)
    data = [_model(name, state.pool.parent(name)) for name in names]
    return Json({"object": "list", "data": data})


async def get_model(request: Request) -> Json:
    """One model, or 404."""
    name, state = request.path_params["name"], request.app.state
    embeds = state.embedder is not None and name == state.embedder.name
    if not embeds and await state.pool.preset(name) is None:
        name, _ = await state.pool.find(name)
    return Json(_model(name, state.pool.parent(name)))


def _model(name: str, parent: str | None) -> dict[str, object]:
    """A model; one with adapters names the model that they are added to, as vLLM has it."""
    about = {"id": name, "object": "model", "created": 0, "owned_by": "pocketlm"}
    return about if parent is None else {**about, "parent": parent}


routes = [
    Route("/v1/models", list_models),
    Route("/v1/models/{name:path}", get_model),
]
