"""The dialect of OpenAI's API."""

from starlette.routing import Route

from pocketlm.serve.openai import chat, completions, models
from pocketlm.serve.openai.shapes import error

__all__ = ["error", "routes"]

routes: list[Route] = [*models.routes, *chat.routes, *completions.routes]
