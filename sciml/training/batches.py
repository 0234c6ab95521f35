"""Sources of training batches: frames held in memory, or read as they are needed.

Which windows make up batch number i of an epoch depends on (seed, epoch, i) alone, by the rule of `sciml.data.Loader`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sciml.data.loader import order

Batch = dict[str, Tensor]


class MemoryBatches:
    """Windows over frames that are all in memory.

    Args:
        frames: (frame, field, *space) float32, normalised, case after case.
        features: (frame, feature) float32 of the step that starts there.
        windows: (window, 2): frame number, and first frame of its case.
        history, horizon: frames up to the present one, and after it. Where a case is younger than `history`, its
            first frame stands in for what was before.
        static: (case, channel, *space) input fields, or None;  mask: (case, 1, *space), or None.
        case: (frame,) row of `static` and `mask`.
        shuffle: whether to permute; without, the last, smaller batch is given as well.
    """

    def __init__(
        self,
        frames: np.ndarray,
        features: np.ndarray,
        windows: np.ndarray,
        *,
        history: int,
        horizon: int,
        batch_size: int,
        seed: int = 0,
        static: np.ndarray | None = None,
        mask: np.ndarray | None = None,
        case: np.ndarray | None = None,
        shuffle: bool = True,
    ):
        self.frames, self.features = torch.from_numpy(frames), torch.from_numpy(features)
        self.static = None if static is None else torch.from_numpy(static)
        self.mask = None if mask is None else torch.from_numpy(mask)
        self.case = np.zeros(len(frames), int) if case is None else case
        self.windows, self.history, self.horizon = windows, history, horizon
        self.batch_size, self.seed, self.shuffle = min(batch_size, max(len(windows), 1)), seed, shuffle

    def __len__(self) -> int:
        n = len(self.windows)
        return n // self.batch_size if self.shuffle else -(-n // self.batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        n = len(self.windows)
        sequence = order(n, self.seed, epoch) if self.shuffle else np.arange(n)
        for i in range(start, len(self)):
            yield self.batch(sequence[i * self.batch_size : (i + 1) * self.batch_size])

    def batch(self, pick: np.ndarray) -> Batch:
        present, first = self.windows[pick].T
        past = np.maximum(present[:, None] + np.arange(1 - self.history, 1), first[:, None])
        found = {"state": self.frames[torch.from_numpy(past)]}
        if self.horizon:
            future = torch.from_numpy(present[:, None] + np.arange(1, self.horizon + 1))
            found["target"] = self.frames[future]
            found["params"] = self.features[torch.from_numpy(present[:, None] + np.arange(self.horizon))]
        else:  # steady: the frame itself is the answer
            found["target"] = found.pop("state")
            found["params"] = self.features[torch.from_numpy(present[:, None])]
        rows = torch.from_numpy(self.case[present])
        if self.static is not None:
            found["static"] = self.static[rows]
        if self.mask is not None:
            found["mask"] = self.mask[rows]
        return found


class LoaderBatches:
    """Windows read from the file by `sciml.data.Loader`, normalised on the way.

    Args:
        loader: gives dicts with state (batch, history, field, *space), target, case and frame.
        scale: (case, field) by which each case's fields are divided.
        features: for each case (frame, feature), normalised.
        static, mask: input fields and masks over all cases of the file.
    """

    def __init__(
        self,
        loader: Any,
        scale: np.ndarray,
        features: list[np.ndarray],
        *,
        horizon: int,
        static: np.ndarray | None = None,
        mask: np.ndarray | None = None,
    ):
        self.loader, self.scale, self.features, self.horizon = loader, scale.astype(np.float32), features, horizon
        self.static = None if static is None else torch.from_numpy(static)
        self.mask = None if mask is None else torch.from_numpy(mask)

    def __len__(self) -> int:
        return len(self.loader)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        for raw in self.loader.epoch(epoch, start=start):
            case, frame = np.asarray(raw["case"]), np.asarray(raw["frame"])
            state, target = torch.as_tensor(raw["state"]), torch.as_tensor(raw["target"])
            scale = torch.from_numpy(self.scale[case])
            scale = scale.reshape(len(case), 1, -1, *[1] * (state.ndim - 3))
            present = frame + state.shape[1] - 1
            steps = [self.features[c][f : f + self.horizon] for c, f in zip(case, present, strict=True)]
            found = {"state": state / scale, "target": target / scale, "params": torch.from_numpy(np.stack(steps))}
            rows = torch.from_numpy(case.astype(np.int64))
            if self.static is not None:
                found["static"] = self.static[rows]
            if self.mask is not None:
                inside = self.mask[rows]
                found["mask"] = inside
                for name in ("state", "target"):
                    found[name] = torch.where(inside[:, None] > 0, found[name], torch.zeros(()))
            yield found


class Reflected:
    """Batches of which each sample is mirrored or not, by a coin that depends on (seed, epoch, index) alone.

    Args:
        batches: what to draw from.
        axis: space axis to reverse, counted from the end (-1 is x).
        fields, features: (field,) and (feature,) factors, −1 for what changes sign.
    """

    def __init__(self, batches: Any, axis: int, fields: np.ndarray, features: np.ndarray, seed: int = 0):
        self.batches, self.axis, self.seed = batches, axis, seed
        self.fields = torch.tensor(fields, dtype=torch.float32)
        self.features = torch.tensor(features, dtype=torch.float32)

    def __len__(self) -> int:
        return len(self.batches)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        for i, batch in enumerate(self.batches.epoch(epoch, start=start), start=start):
            generator = np.random.Generator(np.random.Philox(key=[self.seed, 1 << 32 | epoch], counter=i))
            coin = torch.from_numpy(generator.random(len(batch["target"])) < 0.5)
            yield {name: self._mirror(name, values, coin) for name, values in batch.items()}

    def _mirror(self, name: str, values: Tensor, coin: Tensor) -> Tensor:
        if name == "params":
            return torch.where(coin[:, None, None], values * self.features, values)
        other = values.flip(self.axis)
        if name in ("state", "target"):
            other = other * self.fields.reshape(1, 1, -1, *[1] * (values.ndim - 3))
        return torch.where(coin.reshape(-1, *[1] * (values.ndim - 1)), other, values)
