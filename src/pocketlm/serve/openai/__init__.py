"""The dialect of OpenAI's API."""

from starlette.routing import Route

from pocketlm.serve.openai import chat, completions, embeddings, models, responses
from pocketlm.serve.openai.shapes import error

__all__ = ["error", "routes"]

routes: list[Route] = [
    *models.routes,
    *chat.routes,
    *completions.routes,
    *responses.routes,
    *embeddings.routes,
]
