"""Batches of windows for training, in an order that can be continued."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from sciml.data.windows import Windows
from sciml.errors import InputError, is_whole


def order(count: int, seed: int, epoch: int, *more: int) -> np.ndarray:
    """The permutation of 0 ... count − 1 of one epoch; another, independent one for each `more`. It is the order of
    Philox's raw output, which NumPy keeps the same in all versions."""
    bits = np.random.Philox(np.random.SeedSequence([seed, epoch, *more]))
    return np.argsort(bits.random_raw(count), kind="stable")


class Loader:
    """Batches of windows in an order that (seed, epoch, index) fixes, read in this process.

    Reading by offset is so much faster than training that processes beside it buy nothing; where something slow comes
    between, `torch.utils.data.DataLoader` takes `Windows` as they are, with workers of its own.

    Args:
        windows: what to read.
        batch_size: windows in a batch.
        seed: of the order.
        shuffle: a new random order each epoch; False keeps the order of the windows.
        drop_last: leave out a last batch that is not full.
        again: numbers of windows that come once more in every epoch, as often as they stand there.
        share: (r, n): of each batch every n-th window from number r on, for one of n processes.

    Raises:
        InputError: a number out of range.
    """

    def __init__(
        self,
        windows: Windows,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = True,
        drop_last: bool = False,
        again: Any = (),
        share: tuple[int, int] = (0, 1),
    ) -> None:
        for name, value, least in (("batch_size", batch_size, 1), ("seed", seed, 0)):
            if not is_whole(value) or value < least:
                raise InputError(f"{name}: expected an integer >= {least}, got {value!r}")
        more = np.asarray(again, dtype=np.int64).reshape(-1)
        if more.size and not 0 <= more.min() <= more.max() < len(windows):
            raise InputError(
                f"again: expected numbers of windows below {len(windows)}, got {more.min()} to {more.max()}"
            )
        self.sequence = np.concatenate([np.arange(len(windows)), more])
        if drop_last and batch_size > len(self.sequence):
            raise InputError(
                f"batch_size: {batch_size} is above the {len(self.sequence)} windows, and drop_last is set"
            )
        self.windows, self.batch_size, self.seed = windows, int(batch_size), int(seed)
        self.shuffle, self.drop_last, self.share = shuffle, drop_last, share

    def __len__(self) -> int:
        """Batches in an epoch."""
        full, rest = divmod(len(self.sequence), self.batch_size)
        return full if self.drop_last or not rest else full + 1

    def indices(self, epoch: int) -> list[np.ndarray]:
        """The window numbers of every batch of an epoch."""
        sequence = self.sequence
        if self.shuffle:
            sequence = sequence[order(len(sequence), self.seed, int(epoch))]
        return [sequence[k * self.batch_size : (k + 1) * self.batch_size] for k in range(len(self))]

    def epoch(self, epoch: int, start: int = 0) -> Iterator[dict[str, np.ndarray]]:
        """The batches of an epoch, from batch number `start` on: what `Windows.batch` gives, and "index" (B,).

        Raises:
            InputError: a negative number, or a `start` beyond the epoch.
        """
        if epoch < 0 or not 0 <= start <= len(self):
            raise InputError(f"epoch: expected epoch >= 0 and start from 0 to {len(self)}, got {epoch} and {start}")
        first, count = self.share
        shares = (indices[first::count] for indices in self.indices(epoch)[start:])
        return (self.windows.batch(indices) | {"index": indices} for indices in shares)
