"""Every error that a caller or a file can cause, and nothing else.

Each message is one line that says what was wrong, where, and what to do. The command line prints it
and exits with `exit_code`: 2 for misuse (bad arguments), 1 for failure (bad file, no network, …).
"""


class Error(Exception):
    """Base of every error that a caller or a file can cause."""

    exit_code = 1


class ParameterError(Error, ValueError):
    """An argument is outside what it may be (a negative temperature, an unknown cache type)."""

    exit_code = 2


class ConstraintError(ParameterError):
    """A schema, a regular expression or a grammar (`kind`) is unsound, or cannot be enforced."""

    def __init__(self, kind: str, message: str) -> None:
        """`message` begins with the kind, or says it."""
        super().__init__(message)
        self.kind = kind


class ModelFileError(Error):
    """A model file is missing, damaged or contradicts itself."""


class UnsupportedError(Error):
    """A file is sound, but holds something pocketlm does not run; the message names it."""


class StoreError(Error):
    """A model could not be found, brought, checked or removed."""


class OfflineError(StoreError):
    """The network would be needed, and `--offline` or `POCKETLM_OFFLINE` forbids it."""


class ContextError(Error):
    """A prompt is longer than the context window; the message gives both numbers."""


class TemplateError(Error):
    """A chat template is broken, or does what a template must not do."""


class HistoryError(Error):
    """A conversation could not be found, read or kept."""


class SearchError(Error):
    """The index of documents or an encyclopedia is missing, damaged or in use."""


class NotIndexedError(SearchError):
    """No document, or no encyclopedia, was added yet: there is nothing to search."""


class OutputError(Error):
    """A file could not be written; or it is there already and was not to be replaced."""


class WebError(Error):
    """A page or a search engine could not be reached, or answered what cannot be used."""


class AddressError(WebError):
    """A URL leads where nothing is fetched from: into a private network, or by another scheme."""


class SandboxError(Error):
    """A program was to run, and there is no place where it could do no harm."""


class JudgeError(Error):
    """The model that judges answers could not be reached, or answered what is no judgement."""
