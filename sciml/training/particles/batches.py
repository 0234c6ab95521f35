"""Training samples of particles in batches, with noise where the recipe asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sciml.data.loader import order
from sciml.errors import InputError
from sciml.training.losses import On
from sciml.training.particles.encoding import VARIANTS, ParticleEncoding, first_positions, placed, tracks
from sciml.training.particles.motion import Motion, Scene
from sciml.training.processes import ALONE, Processes
from sciml.training.samples import CaseTable


@dataclass(frozen=True, eq=False)
class ParticleSamples:
    """Samples with what is to come out of them.

    Args:
        state: before the first step.
        scene: what stays the same.
        target: (1, horizon, D, node), true differences of positions over each of the coming steps.
        spread: of the differences over a step, the unit of noise.
        part: what a sample counts, less than 1 where several processes have it.
    """

    state: Motion
    scene: Scene
    target: Float[Tensor, "1 horizon dimension node"]
    spread: float
    part: float = 1.0
    equations: Any = None
    unlabelled: Any = None

    def __len__(self) -> int:
        return len(self.scene.counts)

    @property
    def weight(self) -> float:
        """In the mean over a batch of which this is a part: errors are means over particles."""
        return self.part * self.target.shape[-1]

    @property
    def on(self) -> On:
        return On()

    def to(self, device: Any, dtype: Any = None) -> ParticleSamples:
        """On another device; positions stay float64, whatever the operator computes in."""
        state = Motion(self.state.place.to(device), self.state.moved.to(device))
        return replace(self, state=state, scene=self.scene.to(device), target=self.target.to(device))

    def disturbed(self, level: float, generator: np.random.Generator) -> ParticleSamples:
        """The samples with a random walk on their past: each difference of positions gets a Gaussian step more than
        the one before it, so that the last one is off by `level` times the spread, and positions by the sum of all.
        What is to come out stays: the operator learns to take back what the last velocity is off by.

        Source: Sanchez-Gonzalez et al. (2020), appendix B.
        """
        moved = self.state.moved
        shape = tuple(moved.shape)
        step = generator.standard_normal(shape) * (level * self.spread / shape[1] ** 0.5)
        walk = torch.from_numpy(np.cumsum(step, axis=1)).to(moved)
        return replace(self, state=Motion(self.state.place + walk.sum(1), moved + walk))

    def mirrored(self, which: np.ndarray, generator: np.random.Generator) -> ParticleSamples:
        raise InputError("augmentations: Mirror needs fields on a grid, got particles")

    def subsampled(self, points: int, generator: np.random.Generator) -> ParticleSamples:
        raise InputError("augmentations: Subsample needs points that nothing joins; particles have `nodes` for that")


class ParticleBatches:
    """Batches whose order is a function of (seed, epoch, index) alone.

    Args:
        table: of the split.
        horizon: steps in a row that a sample must have targets for.
        repeats: how often each sample comes in an epoch, of those that begin their case.
        shuffle: a new random order and new choices of particles each epoch; False for validation.
        most: samples at most, evenly chosen.
        memory: bytes up to which frames are held in memory.
        processes: each takes its share of every batch.
    """

    def __init__(
        self, table: CaseTable, encoding: ParticleEncoding, *, horizon: int, batch_size: int, seed: int = 0,
        repeats: Any = None, shuffle: bool = True, most: int | None = None, memory: float = 5e8,
        processes: Processes = ALONE,
    ):  # fmt: skip
        self.processes = processes
        self.table, self.e, self.horizon, self.size = table, encoding, horizon, batch_size
        self.seed, self.shuffle = seed, shuffle
        items = [
            (i, f) for i in range(len(table.cases)) for f in encoding.stepping.items(int(table.length[i]), horizon)
        ]
        found = np.array(items, dtype=np.int64).reshape(-1, 2)
        if most is not None and len(found) > most:
            found = found[np.unique(np.linspace(0, len(found) - 1, most).astype(int))]
        if repeats is not None and len(found):
            found = np.repeat(found, repeats(found[:, 1] == 0), axis=0)
        self.items = found
        self._firsts = [first_positions(table, i) for i in range(len(table.cases))]
        self._cases = [placed(table, i) for i in range(len(table.cases))]
        self._whole = 2 * table.bytes() <= memory  # they are held as float64
        self._tracks: dict[int, np.ndarray] = {}
        self._chosen: dict[tuple[int, int], np.ndarray] = {}

    def __len__(self) -> int:
        return -(-len(self.items) // self.size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[ParticleSamples]:
        """The batches of an epoch, from number `start` on."""
        rows = order(len(self.items), self.seed, int(epoch)) if self.shuffle else np.arange(len(self.items))
        for k in range(start, len(self)):
            some = rows[k * self.size : (k + 1) * self.size]
            drawn = np.random.Philox(np.random.SeedSequence([self.seed, 2, int(epoch), k])).random_raw(len(some))
            variants = drawn if self.shuffle else np.zeros(len(some), np.uint64)
            each = self.processes.share(list(zip(some, variants, strict=True)))
            samples = [self._sample(int(self.items[r, 0]), int(self.items[r, 1]), int(v)) for r, v in each]
            yield self._batch(samples, self.processes.part(len(some)))

    def _batch(self, samples: list[tuple[Motion, Scene, Tensor]], part: float) -> ParticleSamples:
        states, scenes, targets = zip(*samples, strict=True)
        state = Motion(torch.cat([s.place for s in states]), torch.cat([s.moved for s in states]))
        return ParticleSamples(state, Scene.together(list(scenes)), torch.cat(targets, -1)[None], self.e.velocity, part)

    def _sample(self, i: int, frame: int, variant: int) -> tuple[Motion, Scene, Tensor]:
        e, d, case = self.e, self.e.dimensions, self._cases[i]
        every = e.stepping.every
        chosen = self.chosen(int(i), variant)
        before = frame - every * np.arange(e.past, -1, -1)
        real = before[before >= 0]
        after = frame + every * np.arange(1, self.horizon + 1)
        frames = self._frames(int(i), np.concatenate([real, after]))[..., chosen]
        state = e.motion(self._firsts[i][chosen], frames[: len(real)], len(real), case)
        target = np.diff(frames[len(real) - 1 :, :d], axis=0)
        assert self.table.times is not None
        times = self.table.times[i][frame + every * np.arange(self.horizon)]
        return state, e.scene(case, len(chosen), times), torch.from_numpy(target)

    def _frames(self, i: int, rows: np.ndarray) -> np.ndarray:
        if not self._whole:
            first = int(rows[0])
            return tracks(self.table, i, slice(first, int(rows[-1]) + 1))[rows - first]
        if i not in self._tracks:
            self._tracks[i] = tracks(self.table, i)
        return self._tracks[i][rows]

    def chosen(self, i: int, variant: int) -> np.ndarray:
        """The particles of a case that take part in a sample."""
        points, nodes = self._firsts[i], self.e.nodes
        key = (i, variant % VARIANTS)
        if key not in self._chosen:
            self._chosen[key] = nodes.chosen(points, nodes.count(len(points)), key[1])
        return self._chosen[key]
