"""One problem on a network, in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sciml.errors import InputError


@dataclass(frozen=True, eq=False)
class Network:
    """What is known at nodes and along edges, and what is asked for at the nodes.

    Args:
        nodes: (n, c) numbers at nodes.
        edges: (2, m) sender and receiver of every edge; both ways are two edges.
        links: (m, d) numbers along edges.
        points: (n, D) where nodes are, in units of the longest extent; None where they are nowhere.
        answer: (n, k) what is asked for, NaN where it is not known; None where nothing of it is.
        free: (n,) True where it is asked for: elsewhere `answer` is given, no part of a loss or an error.

    Raises:
        InputError: arrays whose shapes do not fit, or that hold no finite numbers.
    """

    nodes: np.ndarray
    edges: np.ndarray
    links: np.ndarray
    points: np.ndarray | None = None
    answer: np.ndarray | None = None
    free: Any = None

    def __post_init__(self) -> None:
        def kept(name: str, value: Any, shape: tuple[int | None, ...], known: np.ndarray | None = None) -> np.ndarray:
            try:
                found = np.asarray(value, np.float64)
            except (TypeError, ValueError):
                raise InputError(f"{name}: expected an array of numbers, got {type(value).__name__}") from None
            fits = found.ndim == len(shape) and all(
                s is None or s == n for s, n in zip(shape, found.shape, strict=True)
            )
            if not fits:
                wanted = ", ".join("any" if s is None else str(s) for s in shape)
                raise InputError(f"{name}: expected an array ({wanted}), got {found.shape}")
            if not (np.isfinite(found) if known is None else np.isfinite(found[known])).all():
                raise InputError(f"{name}: {int((~np.isfinite(found)).sum())} values are not finite")
            object.__setattr__(self, name, found)
            return found

        n = len(kept("nodes", self.nodes, (None, None)))
        if not n:
            raise InputError("nodes: expected at least one node, got none")
        edges = kept("edges", self.edges, (2, None))
        if edges.size and (edges.min() < 0 or edges.max() >= n or (edges != np.round(edges)).any()):
            raise InputError(f"edges: expected numbers of nodes from 0 to {n - 1}, got others")
        object.__setattr__(self, "edges", edges.astype(np.int64))
        kept("links", self.links, (edges.shape[1], None))
        if self.points is not None:
            kept("points", self.points, (n, None))
        free = np.ones(n, bool) if self.free is None else np.asarray(self.free)
        if free.shape != (n,) or free.dtype != bool:
            raise InputError(f"free: expected ({n},) of True and False, got {free.dtype} {free.shape}")
        if not free.any():
            raise InputError("free: expected at least one node at which something is asked for, got none")
        object.__setattr__(self, "free", free)
        if self.answer is not None:
            kept("answer", self.answer, (n, None), ~free)

    @property
    def solved(self) -> bool:
        """Whether the answer is known at all nodes."""
        return self.answer is not None and bool(np.isfinite(self.answer).all())

    def __len__(self) -> int:
        return len(self.nodes)
