"""/v1/embeddings: texts as vectors."""

from __future__ import annotations

import base64
from typing import Annotated, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from pocketlm.errors import ContextError
from pocketlm.serve.errors import ApiError
from pocketlm.serve.http import Body, Ids, Json, Many, post, read, while_connected
from pocketlm.serve.openai.shapes import texts_of
from pocketlm.serve.task import embedded


class EmbeddingsRequest(Body):
    """The body of a request."""

    model: str | None = None
    input: (
        str
        | Annotated[Ids, Field(min_length=1)]
        | Annotated[Many[str], Field(min_length=1)]
        | Annotated[Many[Ids], Field(min_length=1)]
    )
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None


async def create(request: Request) -> Response:
    """Embed texts.

    Where the server has an embedding model (`--embeddings`), and a request names it or none, that
    makes the vectors. A language model's are the mean of its hidden states: every one gives some,
    and none was trained to.
    """
    body = await read(request, EmbeddingsRequest)
    return await while_connected(request, _whole(request, body))


async def _whole(request: Request, body: EmbeddingsRequest) -> Response:
    texts = texts_of(body.input)
    try:
        name, vectors, tokens = await embedded(request.app.state, body.model, texts)
    except ContextError as error:
        raise ApiError(400, str(error), code="context_length_exceeded", param="input") from None
    width = vectors[0].size
    if body.dimensions not in (None, width):
        raise ApiError(400, f"dimensions is {body.dimensions}; this model's are {width}")
    data = []
    for index, vector in enumerate(vectors):
        shown: object = vector.tolist()
        if body.encoding_format == "base64":
            shown = base64.b64encode(vector.astype("<f4").tobytes()).decode()
        data.append({"object": "embedding", "index": index, "embedding": shown})
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return Json({"object": "list", "data": data, "model": name, "usage": usage})


routes = [post("/v1/embeddings", create, EmbeddingsRequest)]
