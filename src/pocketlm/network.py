"""Which addresses are this machine, and whether others may be asked. It connects to nothing."""

from __future__ import annotations

import ipaddress
import os


def is_loopback(host: str) -> bool:
    """Whether an address, or a URL's host, is this machine and nobody else's."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def offline_by_environment() -> bool:
    """Whether `POCKETLM_OFFLINE` forbids the network."""
    value = os.environ.get("POCKETLM_OFFLINE", "").strip().lower()
    return value not in ("", "0", "false", "no", "off")
