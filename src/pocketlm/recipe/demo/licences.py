"""Whether what a licence says makes a text free to use: by the names of free licences.

A coarse reading, on the safe side: a file that names no free licence, or that names terms of use,
is not free. It gives no legal advice.
"""

from __future__ import annotations

import re

_FREE = re.compile(
    r"\b(?:L?GPL|GNU (?:(?:Lesser|Library|Affero) )?General Public Licen[sc]e|GFDL|Expat|MIT|BSD"
    r"|ISC|Apache|zlib|MPL|Mozilla Public|Artistic|PSF|Python Software Foundation|CC0"
    r"|CC-BY(?:-SA)?|Public[- ]Domain"
    r"|Boost|Unlicense|Permission (?:is hereby granted|to use, copy)|Redistribution and use"
    r"|may be (?:freely )?(?:copied|distributed)|free software)\b",
    re.IGNORECASE,
)
_BOUND = re.compile(
    r"\b(?:end user licen[sc]e|EULA|terms of (?:service|use)|proprietary|non-?free|CC-BY-N[CD]"
    r"|NonCommercial|licen[sc]e agreement for nvidia)\b",
    re.IGNORECASE,
)


def is_free(said: str) -> bool:
    """Whether `said`, a licence's text or its name, names a free licence and no bounds."""
    return bool(_FREE.search(said)) and not _BOUND.search(said)
