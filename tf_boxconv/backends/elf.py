"""How large a shared library must be, by its own account.

An ELF file begins with a header that says where its segments and its table of sections lie. The
table comes last, so that a file cut short anywhere is shorter than its header says. Other changes,
such as stripping symbols, keep header and size in agreement.
"""

from __future__ import annotations

import struct
from pathlib import Path

# Offset of the section table, then size and number of its entries, in a 64-bit header.
_SECTIONS = "40xQ10xHH"


def elf_size(path: Path) -> int | None:
    """The size in bytes that the file's header requires; None if it is not a 64-bit ELF file."""
    with open(path, "rb") as file:
        header = file.read(64)
    if len(header) < 64 or header[:5] != b"\x7fELF\x02":
        return None
    order = ">" if header[5] == 2 else "<"
    offset, entry_size, entries = struct.unpack_from(order + _SECTIONS, header)
    return offset + entry_size * entries
