"""Reads the size that a shared library must have from its ELF header, to detect truncated files.

The header gives the offset and size of the table of sections, which is at the end of the file.
Tools that change the file, such as `strip`, update the header.
"""

from __future__ import annotations

import struct
from pathlib import Path

# Fields of the 64-bit header: offset of the section table, size of an entry, number of entries.
_HEADER_FIELDS = "40xQ10xHH"


def elf_size(path: Path) -> int | None:
    """Returns the size of `path` in bytes by its header; None if it is not a 64-bit ELF file."""
    with open(path, "rb") as file:
        header = file.read(64)
    if len(header) < 64 or header[:5] != b"\x7fELF\x02":
        return None
    order = ">" if header[5] == 2 else "<"
    offset, entry_size, entries = struct.unpack_from(order + _HEADER_FIELDS, header)
    return offset + entry_size * entries
