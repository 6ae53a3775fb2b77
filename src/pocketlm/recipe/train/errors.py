"""What can go wrong while a model is trained."""

from pocketlm.errors import Error


class TrainingError(Error):
    """Training cannot go on; the message says where it stopped and what is left."""
