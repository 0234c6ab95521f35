"""Samples of sensors, instants and queries, drawn anew for every batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sciml.contracts import SensorBatch
from sciml.data.loader import order
from sciml.errors import InputError
from sciml.training.losses import On
from sciml.training.processes import ALONE, Processes
from sciml.training.samples import CaseTable
from sciml.training.sensors.encoding import SensorEncoding

BLIND = 0.25  # of the samples are measured at the first few instants alone, so that forecasts are learned too


@dataclass(frozen=True, eq=False)
class SensorSamples:
    """What goes in, and what is to come out of it at the queries, (batch, field, query), normalised.

    Args:
        part: what a sample counts, less than 1 where several processes have it.
    """

    batch: SensorBatch
    target: Tensor
    part: float = 1.0
    equations: Any = None
    unlabelled: Any = None

    def __len__(self) -> int:
        return len(self.target)

    @property
    def weight(self) -> float:
        return self.part * len(self)

    @property
    def on(self) -> On:
        return On()

    def to(self, device: Any, dtype: Any = None) -> SensorSamples:
        return replace(self, batch=self.batch.to(device, dtype), target=self.target.to(device, dtype))

    def disturbed(self, level: float, generator: np.random.Generator) -> SensorSamples:
        """With noise on what was measured, its level in units of the fields' scales."""
        v = self.batch.values
        noise = torch.from_numpy(generator.standard_normal(tuple(v.shape), dtype=np.float32)).to(v) * level
        return replace(self, batch=replace(self.batch, values=v + noise))

    def mirrored(self, which: np.ndarray, generator: np.random.Generator) -> SensorSamples:
        raise InputError("augmentations: Mirror needs fields on a grid, got sensors")

    def subsampled(self, points: int, generator: np.random.Generator) -> SensorSamples:
        raise InputError("augmentations: Subsample needs whole fields; of sensors, `queries` says how many")


class SensorBatches:
    """Batches that are a function of (seed, epoch, index) alone. An item is a frame of a case: the first instant. Each
    batch draws one share of sensors; each sample its sensors, the later instants, and queries among all points of its
    case and all frames up to the largest gap beyond its last instant.

    Args:
        table: of the split; held in memory.
        shuffle: a new random order and new draws each epoch; False for validation.
        most: samples at most, evenly chosen.
        processes: each takes its share of every batch.
    """

    def __init__(
        self, table: CaseTable, encoding: SensorEncoding, *, batch_size: int, seed: int = 0, repeats: Any = None,
        shuffle: bool = True, most: int | None = None, processes: Processes = ALONE,
    ):  # fmt: skip
        assert table.times is not None
        self.e, self.size, self.seed, self.shuffle, self.processes = encoding, batch_size, seed, shuffle, processes
        s = encoding.sensors
        self.frames, self.places, self.params, self.clocks = [], [], [], []
        for i, case in enumerate(table.cases):
            support = table.support(i)
            inside = np.ones(support.size, bool) if support.inside is None else support.inside.reshape(-1)
            points = support.points().reshape(-1, support.dimensions)[inside]
            frames = table.frames(i)
            values = np.moveaxis(frames.reshape(*frames.shape[:2], -1)[..., inside], 1, 2)
            values = (values - encoding.state.offset) / encoding.state.scale  # frames are in the problem's scales
            self.frames.append(values.astype(encoding.dtype))
            self.places.append(encoding.places(case, points, support))
            self.params.append(encoding.params(case, float(table.times[i][0])))
            self.clocks.append(table.times[i] / encoding.unit.of(case))
        rows = [(i, f) for i, n in enumerate(table.length.tolist()) for f in range(max(n - s.instants, 0))]
        found = np.array(rows, dtype=np.int64).reshape(-1, 2)
        if most is not None and len(found) > most:
            found = found[np.unique(np.linspace(0, len(found) - 1, most).astype(int))]
        if repeats is not None and len(found):
            found = np.repeat(found, repeats(found[:, 1] == 0), axis=0)
        self.items = found

    def __len__(self) -> int:
        return -(-len(self.items) // self.size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[SensorSamples]:
        """The batches of an epoch, from number `start` on."""
        rows = order(len(self.items), self.seed, int(epoch)) if self.shuffle else np.arange(len(self.items))
        for k in range(start, len(self)):
            some = rows[k * self.size : (k + 1) * self.size]
            key = np.random.SeedSequence([self.seed, 3, int(epoch) if self.shuffle else 0, k])
            share = np.random.Generator(np.random.Philox(key)).uniform(*self.e.sensors.share)
            mine = self.processes.share(list(zip(some.tolist(), key.spawn(len(some)), strict=True)))
            samples = [
                self._sample(
                    int(self.items[r, 0]), int(self.items[r, 1]), share, np.random.Generator(np.random.Philox(s))
                )
                for r, s in mine
            ]
            yield self._together(samples, self.processes.part(len(some)))

    def _sample(self, i: int, first: int, share: float, draw: np.random.Generator) -> tuple[np.ndarray, ...]:
        s, frames, places, clock = self.e.sensors, self.frames[i], self.places[i], self.clocks[i]
        count, total = len(frames), len(places)
        steps = draw.integers(1, s.gap + 1, s.instants - 1)
        while first + steps.sum() >= count:  # nearer instants where the case ends before
            steps[np.argmax(steps)] -= 1
        at = first + np.append(0, np.cumsum(steps))
        chosen = draw.choice(total, max(1, min(round(share * total), total)), replace=False)
        seen = np.ones((len(at), len(chosen)))
        if draw.random() < BLIND:
            seen[draw.integers(1, len(at) + 1) :] = 0.0
        when = draw.integers(first, min(at[-1] + s.gap, count - 1) + 1, s.queries)
        where = draw.integers(0, total, s.queries)
        queries = np.concatenate([places[where], (clock[when] - clock[first])[:, None]], 1)
        values = frames[at][:, chosen]
        return values, seen, places[chosen], clock[at] - clock[first], queries, self.params[i], frames[when, where].T

    def _together(self, samples: list[tuple[np.ndarray, ...]], part: float) -> SensorSamples:
        values, seen, places, instants, queries, params, target = zip(*samples, strict=True)
        most = max(len(p) for p in places)

        def padded(arrays: tuple[np.ndarray, ...], axis: int) -> np.ndarray:
            return np.stack([
                np.pad(a, [(0, most - a.shape[k] if k == axis else 0) for k in range(a.ndim)]) for a in arrays
            ])  # fmt: skip

        batch = self.e.batch(
            padded(values, 1), padded(seen, 1), padded(places, 0), np.stack(instants), np.stack(queries),
            np.stack(params),
        )  # fmt: skip
        return SensorSamples(batch, torch.as_tensor(np.stack(target), dtype=self.e.torch_dtype), part)
