"""Training samples in batches: from frames held in memory, or read from the file as they are needed.

Which samples make up batch number i of an epoch depends on (seed, epoch, i) alone, by the rule of `sciml.data.Loader`.
Where samples differ in their numbers of points, those of like size make up a batch (`sciml.training.buckets`), which is
padded to its own longest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sciml.data.loader import Loader, order
from sciml.data.windows import Windows
from sciml.errors import InputError
from sciml.problem import Case
from sciml.support import Grid
from sciml.symmetry import Symmetry
from sciml.training.buckets import WINDOW, Frames, alike, padding
from sciml.training.encoding import Encoding, Given
from sciml.training.losses import On
from sciml.training.processes import ALONE, Processes
from sciml.training.samples import CaseTable


@dataclass(frozen=True, eq=False)
class Batch:
    """Samples in the model's units, with what is to come out of them.

    Args:
        target: (batch, horizon, ahead · field, *).
        params: (batch, horizon, feature).
        given: what stays the same through a rollout.
        state: (batch, past, field, *), or None where nothing goes in.
        time: (batch, horizon) share of the time that is asked for, or None.
        last: (batch, field, *) the latest true frame where `state` holds a disturbed one.
        images: (batch, symmetry, horizon, feature) parameters of the images under each symmetry.
        symmetries: with their action on the fields.
        field_names: of the fields.
        unit: (2, field) scales and offsets of the normalised fields.
        cases: the case of each sample, for objectives that ask for its parameters and scales.
        start: (batch,) times of the present frames, in the time unit of the cases; None for steady problems.
        times: (batch, 1 + horizon · ahead) those of the present frame and of all that are to come; None for steady
            problems, and where times are asked for.
        equations: what the balances of the cases need, for objectives that hold answers to them.
        unlabelled: a batch of cases without solutions, which the balances alone teach.
    """

    target: Tensor
    params: Tensor
    given: Given
    state: Tensor | None = None
    time: Tensor | None = None
    last: Tensor | None = None
    images: Tensor | None = None
    symmetries: tuple[Symmetry, ...] = ()
    field_names: tuple[str, ...] = ()
    unit: np.ndarray | None = None
    cases: tuple[Case, ...] = ()
    start: np.ndarray | None = None
    times: np.ndarray | None = None
    equations: Any = None
    unlabelled: Batch | None = None

    def __len__(self) -> int:
        return len(self.target)

    @property
    def weight(self) -> float:
        """In the mean over a batch of which this is a part."""
        return float(len(self))

    @property
    def on(self) -> On:
        g = self.given
        if g.axes is None:  # lengths and seams along axes are a grid's
            return On(g.mask, g.weights)
        return On(g.mask, g.weights, g.axes, g.periodic, g.lengths)

    def to(self, device: Any, dtype: Any = None) -> Batch:
        moved = {}
        for f in fields(self):
            value: Any = getattr(self, f.name)
            moves = isinstance(value, Tensor | Given) or (f.name in ("equations", "unlabelled") and value is not None)
            moved[f.name] = value.to(device) if moves and value is not None else value
        return Batch(**moved)

    def held_to(self, equations: Any, unlabelled: Batch | None = None) -> Batch:
        """The batch with what the balances of its cases need, and with cases beside it that nobody has solved."""
        return replace(self, equations=equations, unlabelled=unlabelled)

    def disturbed(self, level: float, generator: np.random.Generator) -> Batch:
        """The batch with Gaussian noise on the latest frame that goes in, inside masks; targets as they were."""
        if self.state is None:
            return self
        last = self.state[:, -1]
        noise = torch.from_numpy(generator.standard_normal(tuple(last.shape), dtype=np.float32)).to(last) * level
        if self.given.mask is not None:
            noise = noise * self.given.mask
        state = torch.cat([self.state[:, :-1], (last + noise)[:, None]], dim=1)
        return replace(self, state=state, last=last if self.last is None else self.last)

    def mirrored(self, which: np.ndarray, generator: np.random.Generator) -> Batch:
        """The batch with the samples of which `which` (batch,) is true mapped by a symmetry of the problem, drawn for
        each of them."""
        if not self.symmetries or self.images is None:
            raise InputError("augmentations: Mirror needs a problem that states a symmetry, and fields on a grid")
        drawn = generator.integers(0, len(self.symmetries), len(self))
        found = self
        for k, symmetry in enumerate(self.symmetries):
            chosen = torch.from_numpy(which & (drawn == k)).to(self.target.device)
            if bool(chosen.any()):
                found = found._mapped(symmetry, k, chosen)
        return found

    def _mapped(self, symmetry: Symmetry, k: int, chosen: Tensor) -> Batch:
        names = self.field_names
        source, sign = symmetry.sources(names), np.array(symmetry.signs(names))
        scale, offset = (np.ones(len(names)), np.zeros(len(names))) if self.unit is None else self.unit
        # fields that change places, or their sign, have scales and offsets of their own
        gain, shift = sign * scale[source] / scale, (sign * offset[source] - offset) / scale

        def pick(values: Tensor, image: Tensor) -> Tensor:
            if len(values) == 1 and len(chosen) > 1:
                values, image = values.expand(len(chosen), *values.shape[1:]), image.expand(
                    len(chosen), *image.shape[1:])  # fmt: skip
            return torch.where(chosen.reshape(-1, *[1] * (values.ndim - 1)), image, values)

        def of_fields(values: Tensor, lead: int) -> Tensor:
            shape = values.shape
            split = values.reshape(*shape[:lead], -1, len(names), *shape[lead + 1 :])
            factor, term = (
                torch.tensor(v, dtype=values.dtype, device=values.device).reshape(-1, *[1] * (len(shape) - lead - 1))
                for v in (gain, shift)
            )
            moved = symmetry.move(split.index_select(lead + 1, torch.tensor(source, device=values.device))) * factor
            if shift.any():
                moved = moved + term
                if self.given.mask is not None:
                    inside = symmetry.move(self.given.mask)
                    moved = moved * inside.reshape(len(inside), *[1] * (lead + 1), *inside.shape[2:])
            return pick(values, moved.reshape(shape))

        g = self.given
        each = {n: getattr(g, n) for n in ("static", "mask", "weights")}
        moved = {n: None if v is None else pick(v, symmetry.move(v)) for n, v in each.items()}
        assert self.images is not None
        return replace(
            self,
            target=of_fields(self.target, 2),
            state=None if self.state is None else of_fields(self.state, 2),
            last=None if self.last is None else of_fields(self.last, 1),
            params=pick(self.params, self.images[:, k]),
            cases=tuple(symmetry.case(c) if i else c for c, i in zip(self.cases, chosen.tolist(), strict=False)),
            given=replace(g, **moved),
        )

    def shortened(self, points: int) -> Batch:
        """The batch with the first so many of its points; what follows them has to be padding."""
        return replace(
            self, target=self.target[..., :points], given=self.given.shortened(points),
            state=None if self.state is None else self.state[..., :points],
            last=None if self.last is None else self.last[..., :points],
        )  # fmt: skip

    def subsampled(self, points: int, generator: np.random.Generator) -> Batch:
        """The batch with so many of its points. Operators that see functions at fixed sensors still see them whole, and
        answer at fewer points; others see and answer the same ones. Points keep their quadrature weights. Drawn for
        each sample where their points differ, else for all at once."""
        g = self.given
        if g.coords is None or g.axes is not None or g.edges:
            raise InputError("augmentations: Subsample needs an operator on points that nothing joins")
        if g.sensors is not None and self.state is not None and self.time is None:
            raise InputError("augmentations: Subsample needs Query or Steady, which ask for points of their own")
        n = g.coords.shape[-1]
        if points >= n:
            return self
        if g.mask is None or len(g.mask) == 1:
            own = np.arange(n) if g.mask is None else np.flatnonzero(g.mask[0, 0].cpu().numpy() > 0)
            if points >= len(own):
                return self
            pick = np.sort(generator.choice(own, points, replace=False))[None]
        else:
            rank = np.where(g.mask[:, 0].cpu().numpy() > 0, generator.random((len(g.mask), n)), 2.0)  # its own first
            pick = np.sort(np.argsort(rank, axis=1)[:, :points], axis=1)
        index = torch.from_numpy(pick).to(g.coords.device)

        def few(values: Tensor) -> Tensor:
            if len(index) == 1:
                return values[..., index[0]]
            values = values.expand(len(index), *values.shape[1:])
            shape = (len(index), *[1] * (values.ndim - 2), index.shape[1])
            return values.gather(-1, index.reshape(shape).expand(*values.shape[:-1], -1))

        whole = g.sensors is not None
        mine = {n: v for n in ("target", *(() if whole else ("state", "last"))) if (v := getattr(self, n)) is not None}
        if g.laws is not None and not g.laws.pointwise:
            raise InputError("augmentations: Subsample leaves points out, and a constraint holds whole fields to a law")
        each = ("coords", "mask", "weights", "factor", "extension")
        theirs = {n: v for n in (*each, *(() if whole else ("static",)))
                  if (v := getattr(g, n)) is not None}  # fmt: skip
        given = replace(g, **{name: few(v) for name, v in theirs.items()})
        return replace(self, given=given, **{name: few(v) for name, v in mine.items()})


class MemoryBatches:
    """Samples over frames that are all in memory.

    Args:
        table: the cases.
        encoding: what makes them tensors.
        horizon: applications in a row.
        batch_size, seed: of the batches, and of their order.
        repeats: for (item,) of which are first of their case, how often each comes.
        shuffle: whether to permute; without, the last, smaller batch is given as well, and all items span one step.
        most: how many items, evenly spread (0: all).
        symmetries: those that `Batch.mirrored` draws from.
        processes: each takes its share of every batch.
        window: where numbers of points differ and items are permuted, batches within which items are sorted by size; 0
            for batches as they are drawn.
    """

    def __init__(
        self, table: CaseTable, encoding: Encoding, *, horizon: int = 1, batch_size: int = 8, seed: int = 0,
        repeats: Any = None, shuffle: bool = True, most: int = 0, symmetries: Sequence[Symmetry] = (),
        window: int = WINDOW, processes: Processes = ALONE,
    ):  # fmt: skip
        self.processes = processes
        e, stepping = encoding, encoding.stepping
        self.e, self.horizon, self.seed, self.shuffle = e, horizon, seed, shuffle
        self.symmetries = tuple(symmetries)
        self.cases, self.clocks = table.cases, table.times
        supports = [table.support(i) for i in range(len(table.cases))]
        _check_symmetries(self.symmetries, supports, e.flat)
        self.sizes, self.window = np.array([s.size for s in supports]), window
        self.ragged = e.flat and bool(np.ptp(self.sizes))
        tail = (supports[0].size,) if e.flat else supports[0].shape
        count = 0 if self.ragged else int(table.length.sum())
        self.frames, self.lengthy = torch.zeros(count, len(e.fields), *tail, dtype=e.torch_dtype), Frames()
        rows, at, times = [], 0, []
        params, images = [], []
        strides = range(1, stepping.longest + 1) if shuffle else (1,)
        for i, (case, support) in enumerate(zip(table.cases, supports, strict=True)):
            count = int(table.length[i])
            scale = table.scales(i).reshape(-1, *[1] * len(support.shape))
            values = torch.from_numpy(e.normalise(case, table.frames(i) * scale, support))
            if not e.flat and values.shape[2:] != tail:
                raise InputError(f"data: grids of {tail} and {tuple(values.shape[2:])} cells, expected one shape")
            if self.ragged:
                self.lengthy.add(values)
            else:
                self.frames[at : at + count] = values
            for stride in strides:
                local = stepping.items(count, horizon, stride)
                rows.append(np.stack(np.broadcast_arrays(i, local, at, stride), 1))
            clock = np.zeros(count) if table.times is None else table.times[i]
            starts = clock[:1] if stepping.queries else clock
            shown = (case, *(s.case(case) for s in self.symmetries))
            own = [np.stack([e.params(c, starts, stride) for stride in strides]) for c in shown]  # (stride, start, ...)
            if stepping.queries:
                own = [np.repeat(p, count, axis=1) for p in own]
                times.append(e.share(case, clock, float(clock[0])))
            params.append(own[0])
            images.append(np.stack(own[1:], 2) if self.symmetries else None)
            at += count
        self.params = torch.from_numpy(np.concatenate(params, 1))
        self.images = torch.from_numpy(np.concatenate(images, 1)) if self.symmetries else None
        self.time = torch.from_numpy(np.concatenate(times)) if stepping.queries else None
        self.moving = table.moving and stepping.past > 0
        if self.moving:
            pairs = [(c, table.support(i, k)) for i, c in enumerate(table.cases) for k in range(int(table.length[i]))]
            self.given = e.given([c for c, _ in pairs], [s for _, s in pairs])
        else:
            self.given = e.given(table.cases, supports)
        every = np.concatenate(rows)
        if 0 < most < len(every):
            every = every[np.linspace(0, len(every) - 1, most).astype(int)]
        if repeats is not None:
            again = np.repeat(np.arange(len(every)), repeats(every[:, 1] == 0) - 1)
            every = np.concatenate([every, every[again]])
        self.items = every
        self.batch_size = min(batch_size, max(len(every), 1))

    def __len__(self) -> int:
        n = len(self.items)
        return n // self.batch_size if self.shuffle else -(-n // self.batch_size)

    def indices(self, epoch: int) -> list[np.ndarray]:
        """The numbers of the items of every batch of an epoch."""
        n = len(self.items)
        sequence = order(n, self.seed, epoch) if self.shuffle else np.arange(n)
        if self.shuffle and self.ragged:
            return alike(sequence, self.sizes[self.items[:, 0]], self.batch_size, self.seed, epoch, self.window)
        return [sequence[i * self.batch_size : (i + 1) * self.batch_size] for i in range(len(self))]

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        for pick in self.indices(epoch)[start:]:
            yield self.batch(self.processes.share(pick))

    def padding(self, epoch: int = 0) -> float:
        """The share of the points of an epoch's batches that are padding."""
        return padding(self.indices(epoch), self.sizes[self.items[:, 0]]) if self.ragged else 0.0

    def batch(self, pick: np.ndarray) -> Batch:
        case, present, first, stride = self.items[pick].T
        s = self.e.stepping
        past = torch.from_numpy(first[:, None] + s.before(present))
        future = torch.from_numpy(first[:, None, None] + s.after(present, self.horizon, stride))
        given = self.given.rows(torch.from_numpy(first + present if self.moving else case))
        if self.ragged:
            longest = int(self.sizes[case].max())
            target = self.lengthy.take(future, case, longest).flatten(2, 3)
            state = self.lengthy.take(past, case, longest) if s.past else None
            given = given.shortened(longest)
        else:
            target, state = self.frames[future].flatten(2, 3), self.frames[past] if s.past else None
        starts = torch.from_numpy(first[:, None] + _application_starts(s, present, self.horizon, stride))
        over = torch.from_numpy(stride - 1)[:, None]
        return Batch(
            target, self.params[over, starts], given, state=state,
            time=None if self.time is None else self.time[starts],
            images=None if self.images is None else self.images[over, starts].movedim(1, 2),
            symmetries=self.symmetries, field_names=self.e.fields, unit=_unit(self.e),
            cases=tuple(self.cases[i] for i in case),
            start=None if self.clocks is None else np.array(
                [self.clocks[i][k] for i, k in zip(case, present, strict=True)]),
            times=_times(self.clocks, case, present, s, self.horizon, stride),
        )  # fmt: skip


def _application_starts(stepping: Any, present: np.ndarray, horizon: int, stride: np.ndarray | int = 1) -> np.ndarray:
    """(item, horizon) frames from which each application starts."""
    if not stepping.past or stepping.queries:
        return np.repeat(present[:, None], horizon, axis=1)
    return present[:, None] + np.reshape(stride, (-1, 1)) * stepping.every * stepping.ahead * np.arange(horizon)


class LoaderBatches:
    """Samples read from the file by `sciml.data.Loader`, normalised on the way: frames after frames, or steady sets.

    Args:
        table: the cases; their frames come from the file `path`.
    """

    def __init__(
        self, table: CaseTable, encoding: Encoding, path: Path, *, horizon: int = 1, batch_size: int = 8,
        seed: int = 0, repeats: Any = None, symmetries: Sequence[Symmetry] = (), processes: Processes = ALONE,
    ):  # fmt: skip
        e, s = encoding, encoding.stepping
        if table.nodal or s.queries:
            raise InputError(
                f"memory_limit: the training split takes {table.bytes() / 1e9:.1f} GB, more than the limit, and "
                f"{'values on nodes' if table.nodal else 'Query'} cannot be read as they are needed; raise the limit"
            )
        if s.longest > 1:
            raise InputError(
                f"memory_limit: the training split takes {table.bytes() / 1e9:.1f} GB, more than the limit, and "
                "strides cannot be read as they are needed; raise the limit"
            )
        self.e, self.horizon, self.symmetries = e, horizon, tuple(symmetries)
        if e.dtype == "float64" and any(table.dataset[name].dtype != np.float32 for name in e.fields):
            raise InputError("memory_limit: values are read as float32, but the model takes float64; raise the limit")
        self.windows = Windows(
            path,
            fields=list(e.fields),
            history=s.past,
            horizon=horizon * s.ahead,
            step=s.every,
            cases=table.number,
            early=True,
        )
        first = np.zeros(len(self.windows), bool)
        first[self.windows.first_of_cases()] = True
        again = np.repeat(np.arange(len(first)), (repeats(first) if repeats else np.ones(len(first), int)) - 1)
        batch_size = min(batch_size, len(first) + len(again))
        share = processes.rank, processes.count
        self.loader = Loader(self.windows, batch_size, seed=seed, drop_last=True, again=again, share=share)
        self.cases, self.clocks = table.cases, table.times
        self.number = {int(n): i for i, n in enumerate(table.number)}
        supports = [table.support(i) for i in range(len(table.cases))]
        _check_symmetries(self.symmetries, supports, e.flat)
        self.given = e.given(table.cases, supports)
        self.multiplier, self.offset = (f.to(e.torch_dtype) for f in e.factors(table.cases))
        self.shifted = bool(self.offset.any())
        clocks = [np.zeros(int(n)) for n in table.length] if table.times is None else table.times
        self.params = [e.params(c, t) for c, t in zip(table.cases, clocks, strict=True)]
        self.images = [
            np.stack([e.params(sym.case(c), t) for sym in self.symmetries], 1)
            for c, t in zip(table.cases, clocks, strict=True)
        ] if self.symmetries else None  # fmt: skip

    def __len__(self) -> int:
        return len(self.loader)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        s = self.e.stepping
        for raw in self.loader.epoch(epoch, start=start):
            rows = np.array([self.number[int(c)] for c in np.asarray(raw["case"])])
            index = torch.from_numpy(rows)
            given = self.given.rows(index)
            scale, offset = self.multiplier[index][:, None], self.offset[index][:, None]
            parts = []
            for name in ("state", "target"):
                values = torch.as_tensor(raw[name])
                values = values.flatten(3) if self.e.flat else values
                values = values.to(scale.dtype)  # a buffer of this batch
                if self.shifted:  # a pass over memory
                    values.sub_(offset)
                values.div_(scale)
                if given.mask is not None:
                    values = torch.where(given.mask[:, None] > 0, values, torch.zeros((), dtype=values.dtype))
                parts.append(values)
            state, target = parts
            present = np.asarray(raw["frame"]) + s.every * max(s.past - 1, 0)
            at = _application_starts(s, present, self.horizon)
            params = np.stack([self.params[r][a] for r, a in zip(rows, at, strict=True)])
            images = None
            if self.images is not None:
                images = torch.from_numpy(np.stack([self.images[r][a] for r, a in zip(rows, at, strict=True)]))
            shape = (len(rows), self.horizon, s.ahead * len(self.e.fields), *target.shape[3:])
            yield Batch(
                target.reshape(shape), torch.from_numpy(params), given, state=state if s.past else None,
                images=None if images is None else images.movedim(1, 2), symmetries=self.symmetries,
                field_names=self.e.fields, unit=_unit(self.e), cases=tuple(self.cases[r] for r in rows),
                start=None if self.clocks is None else np.array(
                    [self.clocks[r][k] for r, k in zip(rows, present, strict=True)]),
                times=_times(self.clocks, rows, present, s, self.horizon),
            )  # fmt: skip


def _times(
    clocks: Any, case: np.ndarray, present: np.ndarray, stepping: Any, horizon: int, stride: np.ndarray | int = 1
) -> np.ndarray | None:
    """(item, 1 + horizon · ahead) times of the present frames and of those that come out."""
    if clocks is None or stepping.queries or not stepping.past:
        return None
    frames = np.concatenate([present[:, None], stepping.after(present, horizon, stride).reshape(len(present), -1)], 1)
    return np.array([clocks[i][k] for i, k in zip(case, frames, strict=True)])


def _unit(encoding: Encoding) -> np.ndarray:
    """(2, field) scales and offsets of the normalised fields."""
    return np.stack([encoding.state.scale, encoding.state.offset])


def _check_symmetries(symmetries: Sequence[Symmetry], supports: Sequence[Any], flat: bool) -> None:
    """Refuse grids that a symmetry does not map onto themselves, and operators that see no grid."""
    if symmetries and flat:
        raise InputError("augmentations: Mirror needs an operator on grids")
    for symmetry in symmetries:
        for support in supports:
            if not isinstance(support, Grid):
                raise InputError(f"augmentations: Mirror needs fields on a grid, got values on {support!r}")
            for axis in symmetry.flip:
                w = support.widths["xyz".index(axis)]
                if not np.allclose(w, w[::-1], rtol=1e-6):
                    raise InputError(f"augmentations: the grid is not its own mirror image along {axis}")
            if symmetry.swap:
                a, b = (support.faces["xyz".index(axis)] for axis in symmetry.swap)
                if a.shape != b.shape or not np.allclose(a - a[0], b - b[0]):
                    raise InputError(f"augmentations: the axes {' and '.join(symmetry.swap)} of the grid differ")
