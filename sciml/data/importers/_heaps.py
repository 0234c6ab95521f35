"""Heaps of HDF5 files ("global heap collections") whose damage sends the library into a loop without end.

A collection is "GCOL", a version, its size, and objects one after another: index (2 bytes), count (2), reserved (4),
size (8), content up to a multiple of 8; index 0 is free space, whose size counts its own head. An object that takes
no room is passed for ever.

Source: HDF5 File Format Specification 3.0, III.E.
"""

from __future__ import annotations

import mmap
import os
import struct

LARGEST = 1 << 30  # bytes of files that are looked through
_HEAD = struct.Struct("<4sB3sQ")
_OBJECT = struct.Struct("<HH4sQ")


def endless(path: str) -> bool:
    """Whether a file holds such a heap; files that are too large to be looked through count as sound."""
    size = os.path.getsize(path)
    if not size or size > LARGEST:
        return False
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        at = content.find(b"GCOL")
        while at >= 0:
            if at + _HEAD.size <= size and _stuck(content, at, size):
                return True
            at = content.find(b"GCOL", at + 4)
    return False


def _stuck(content: mmap.mmap, at: int, end: int) -> bool:
    _, version, reserved, length = _HEAD.unpack_from(content, at)
    if version != 1 or reserved != b"\0\0\0" or length < _HEAD.size or at + length > end:
        return False  # no collection, or one that the library refuses itself
    place, last = at + _HEAD.size, at + length
    while place + _OBJECT.size <= last:
        index, _, _, size = _OBJECT.unpack_from(content, place)
        need = size if index == 0 else (_OBJECT.size + ((size + 7) & ~7)) % (1 << 64)
        if need == 0:
            return True
        place += need
    return False
