"""What can go wrong with a request, and its HTTP status; each dialect has its own shape."""

from __future__ import annotations

from pocketlm.errors import ConstraintError, ContextError, Error, ParameterError, TemplateError


class ApiError(Exception):
    """A request that cannot be answered.

    `code` is a word for programs, `param` the field that is to blame, `retry_after` seconds.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        """See the class."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.retry_after = retry_after


class OverloadedError(ApiError):
    """There is more to do than the server takes on."""

    def __init__(self, message: str, *, status: int = 429) -> None:
        """Status 429 for too many requests, 503 where no request can be taken."""
        super().__init__(status, message, code="overloaded", retry_after=1)


def as_api_error(error: Exception) -> ApiError:
    """What a client is told of an error."""
    match error:
        case ApiError():
            return error
        case ContextError():
            return ApiError(400, str(error), code="context_length_exceeded", param="messages")
        case ConstraintError():
            field = {"schema": "response_format"}.get(error.kind, error.kind)
            return ApiError(400, str(error), code="invalid_constraint", param=field)
        case ParameterError() | TemplateError():
            return ApiError(400, str(error), code="invalid_value")
        case Error() | MemoryError():
            return ApiError(503, str(error) or "not enough memory", code="failed", retry_after=5)
    return ApiError(500, "the server has a fault, which its log tells of", code="internal_error")
