"""Whether two files hold the same model, however many bits its matrices have in them.

What quantising leaves as it is tells models apart: the norms' weights and the vocabulary. Training
all weights changes the norms; a low-rank adapter does not, so that a model and the base of its
adapters are one. It knows checkpoints. It does not know what an identity is used for.
"""

from hashlib import sha256

import numpy as np

from pocketlm.errors import UnsupportedError
from pocketlm.formats.checkpoint import Checkpoint, Tensor

#: Less than float16's least normal number is 0: an export in 16 bits may have lost its last bits.
_LEAST = 2.0**-14


def identity(checkpoint: Checkpoint) -> str:
    """A digest that all forms of a model share, but for norms that 16 bits have rounded.

    Those of models published in 16 bits are exact in every form. Raises UnsupportedError for a
    model without norms.
    """
    norms = sorted(name for name in checkpoint.tensors if name.endswith("norm.weight"))
    if not norms:
        raise UnsupportedError("the model has no norms to know it by")
    digest = sha256(checkpoint.tokenizer().fingerprint.encode())
    for name in norms:
        values = _floats(checkpoint.tensors[name])
        digest.update(f"{name} {values.shape}".encode())
        digest.update(np.where(np.abs(values) < _LEAST, np.float32(0), values).tobytes())
    return digest.hexdigest()


def _floats(tensor: Tensor) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    if tensor.type == "BF16":
        return (tensor.data.view("<u2").astype(np.uint32) << 16).view(np.float32)
    if tensor.type not in ("F32", "F16"):
        raise UnsupportedError(f"{tensor.name} is {tensor.type}; norms are floats")
    return tensor.data.view("<f4" if tensor.type == "F32" else "<f2").astype(np.float32)
