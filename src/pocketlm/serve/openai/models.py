"""/v1/models: the models that may be named."""

from starlette.requests import Request
from starlette.routing import Route

from pocketlm.serve.http import Json


async def list_models(request: Request) -> Json:
    """All models."""
    names = await request.app.state.pool.names()
    return Json({"object": "list", "data": [_model(name) for name in names]})


async def get_model(request: Request) -> Json:
    """One model, or 404."""
    name, pool = request.path_params["name"], request.app.state.pool
    if await pool.preset(name) is None:
        name, _ = await pool.find(name)
    return Json(_model(name))


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "pocketlm"}


routes = [
    Route("/v1/models", list_models),
    Route("/v1/models/{name:path}", get_model),
]
