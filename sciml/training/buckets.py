"""Samples of different numbers of points: batches of those of like size, and frames that are held without padding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sciml.data.loader import order

WINDOW = 16  # batches among which samples are sorted; see `alike`


def alike(
    sequence: np.ndarray, sizes: np.ndarray, batch: int, seed: int, epoch: int, window: int = WINDOW
) -> list[np.ndarray]:
    """The whole batches of one epoch, each of samples of like size; a function of the arguments alone.

    The random sequence is sorted by size within windows of several batches, cut into batches, and the batches come in
    an order of their own: which samples meet changes from epoch to epoch, and sizes come in no order. A narrow window
    is nearer to batches drawn at random, a wide one pads less.

    Args:
        sequence: sample numbers in random order; what is left over at its end makes no batch.
        sizes: number of points of each sample, by sample number.
        batch: samples in a batch.
        seed, epoch: of the order of batches.
        window: batches that are sorted together; 0 or 1 for batches as they are drawn.
    """
    count = len(sequence) // batch
    if window <= 1:
        return list(sequence[: count * batch].reshape(count, batch))
    found: list[np.ndarray] = []
    for a in range(0, count, window):
        part = sequence[a * batch : min(a + window, count) * batch]
        found += list(part[np.argsort(sizes[part], kind="stable")].reshape(-1, batch))
    return [found[i] for i in order(count, seed, epoch, 1)]


def padding(batches: Sequence[np.ndarray], sizes: np.ndarray) -> float:
    """The share of points that are padding, 1 − Σ sizes / Σ (samples · longest), over batches of sample numbers."""
    taken = sum(len(b) * int(sizes[b].max()) for b in batches)
    return 1.0 - sum(int(sizes[b].sum()) for b in batches) / taken if taken else 0.0


class Frames:
    """Frames (field, point) of cases with different numbers of points, each at its own length.

    Frames are numbered through all cases, those of a case one after another.
    """

    def __init__(self) -> None:
        self._cases: list[Tensor] = []
        self._first: list[int] = []

    def add(self, values: Tensor) -> None:
        """(frame, field, point) of the next case."""
        self._first.append(self._first[-1] + len(self._cases[-1]) if self._cases else 0)
        self._cases.append(values)

    def take(self, number: Tensor, case: np.ndarray, points: int) -> Tensor:
        """(sample, ..., field, points) of the frames with these numbers (sample, ...), each of the sample's case, zero
        behind its own points."""
        values = self._cases[0]
        found = torch.zeros(*number.shape, values.shape[1], points, dtype=values.dtype)
        for k, i in enumerate(case.tolist()):
            chosen = self._cases[i][number[k] - self._first[i]]
            found[k, ..., : chosen.shape[-1]] = chosen
        return found
