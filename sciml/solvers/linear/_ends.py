"""What the two ends of an axis of a grid can be."""

from __future__ import annotations

from enum import Enum


class End(Enum):
    """What an end of an axis is."""

    PERIODIC = 0
    WALL = 1
    OPEN = 2


Ends = tuple[End, End]  # the lower and the upper one
