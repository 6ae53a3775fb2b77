"""The page's dialect: its files, the chats in the history, and answers as HTML while they grow.

Errors have OpenAI's shape.
"""

from pocketlm.serve.ui import answer, chats, files

__all__ = ["routes"]

routes = [*files.routes, *chats.routes, *answer.routes]
