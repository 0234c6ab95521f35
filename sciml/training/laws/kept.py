"""What constraints keep from case to case."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any, TypeVar

T = TypeVar("T")


class Kept:
    """Things by what determines them, of which those that nobody asked for the longest are forgotten.

    A copy begins empty, and so does what comes out of a pickle: entries may go by the identity of an object.

    Args:
        most: how many.
    """

    def __init__(self, most: int = 256):
        self.most = most
        self._found: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._found)

    def __deepcopy__(self, memory: Any) -> Kept:
        return Kept(self.most)

    def __reduce__(self) -> tuple[Any, ...]:
        return Kept, (self.most,)

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The entry, made if there is none."""
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
                return self._found[key]
        found = make()
        with self._lock:
            found = self._found.setdefault(key, found)  # another thread may have been faster: all share one
            while len(self._found) > self.most:
                self._found.popitem(last=False)
        return found
