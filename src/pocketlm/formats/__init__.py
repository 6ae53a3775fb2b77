"""Bytes on disk to arrays and vocabularies: GGUF, safetensors and tokenizers.

This room trusts nothing that it reads: each size, offset and count goes through `checked` before
anything is read or allocated. It knows no architecture and no kernel. `open.open_checkpoint` is
the door.
"""
