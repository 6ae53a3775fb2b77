"""Options that name an endpoint, and the endpoint they name."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pocketlm.recipe.data.endpoint import Endpoint

Url = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        metavar="URL",
        help="An OpenAI-compatible endpoint, as http://127.0.0.1:8080/v1 of `pocketlm serve`."
        " Its key is read from POCKETLM_ENDPOINT_KEY.",
    ),
]
Model = Annotated[
    str | None,
    typer.Option("--model", metavar="NAME", help="Which of its models (default: the first)."),
]
Parallel = Annotated[
    int, typer.Option("--parallel", metavar="N", min=1, max=256, help="Requests side by side.")
]


def endpoint(url: str, model: str | None, seconds: float = 300) -> "Endpoint":
    """The endpoint, with so long for each request. Raises EndpointError where nothing answers."""
    import os

    from pocketlm.recipe.data.endpoint import Endpoint

    return Endpoint(url, model, os.environ.get("POCKETLM_ENDPOINT_KEY"), seconds=seconds)
