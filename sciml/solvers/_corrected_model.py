"""What a correction is applied to and what it answers: one network beside a coarse solver, in units of order one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from sciml.contracts import GridBatch, Signature
from sciml.problem import Case
from sciml.solvers._two_grids import TwoGrids, volumes
from sciml.support import Grid
from sciml.training.batches import Batch
from sciml.training.encoding import GridEncoding
from sciml.training.losses import Loss, Nmse, On


class Velocities(NamedTuple):
    """Through the faces of the coarse grid, in the problem's scales.

    Args:
        u: (batch, ny, nx + 1).
        v: (batch, ny + 1, nx).
    """

    u: Tensor
    v: Tensor


@dataclass(frozen=True, eq=False)
class Coarse:
    """What the network's tensors mean.

    Args:
        encoding: of the data's frames, whose scales of features, steps and supports are used.
        shape: (ny, nx) cells of the solver.
        details: whether what the coarse grid does not hold is carried along.
        units: (4, 2), for u and v each: root mean squares of what the solver changes in a step, of what it lacks, of
            what the coarse grid does not hold and of how that changes, in the problem's scales.
    """

    encoding: GridEncoding
    shape: tuple[int, int]
    details: bool
    units: np.ndarray

    @cached_property
    def grids(self) -> TwoGrids:
        template = self.encoding.template
        assert isinstance(template, Grid)
        return TwoGrids(template.shape, self.shape, template.periodic)

    @property
    def bodies(self) -> bool:
        """Whether the network is told where bodies are."""
        return self.encoding.masked

    def signature(self) -> Signature:
        """A cell's channels are the velocities through its four faces, how the solver changed them, and what the fine
        cells in it hold beside."""
        detail = 2 * int(np.prod(self.grids.ratio)) if self.details else 0
        e = self.encoding
        return Signature(
            8 + self.bodies + detail, 4 + detail, 2, n_params=len(e.features.names),
            periodic=tuple(reversed(self.grids.periodic)), space=self.shape, residual=True,
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """All but the encoding's support."""
        return {
            "encoding": self.encoding.to_json(), "shape": list(self.shape), "details": self.details,
            "units": self.units.tolist(),
        }  # fmt: skip

    @cached_property
    def matrices(self) -> Matrices:
        """The matrices and units in the network's number format."""
        g, e = self.grids, self.encoding

        def of(values: Any) -> Tensor:
            with torch.inference_mode(False):  # they are kept, for training too
                return torch.from_numpy(np.ascontiguousarray(values)).to(e.torch_dtype)

        one = (2, 1, 1)
        return Matrices(
            (of(g.u[0]), of(g.u[1].T)), (of(g.v[0]), of(g.v[1].T)),
            None if g.divided[0].shape[0] == g.divided[0].shape[1] and g.divided[1].shape[0] == g.divided[1].shape[1]
            else ((of(g.divided[0]), of(g.divided[1].T)), (of(g.united[0]), of(g.united[1].T))),
            g.ratio, of(e.state.offset.reshape(one)), of(e.state.scale.reshape(one)),
            *(of(u.reshape(one)) for u in self.units),
        )  # fmt: skip

    def fluid(self, case: Case) -> np.ndarray:
        """(1, ny, nx) the share of each coarse cell that is fluid."""
        return volumes(case, self.shape)[None].astype(self.encoding.dtype)


class Matrices(NamedTuple):
    """See `Coarse.matrices`; `resized` where fine cells are no whole number of coarse ones."""

    u: tuple[Tensor, Tensor]
    v: tuple[Tensor, Tensor]
    resized: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]] | None
    ratio: tuple[int, ...]
    offset: Tensor
    scale: Tensor
    change: Tensor
    lack: Tensor
    detail: Tensor
    turnover: Tensor

    def up(self, q: Velocities) -> Tensor:
        """(batch, 2, Y, X) velocities at the fine cells, by interpolation."""
        return torch.stack([self.u[0] @ q.u @ self.u[1], self.v[0] @ q.v @ self.v[1]], dim=1)

    def folded(self, fine: Tensor) -> Tensor:
        """(batch, 2, Y, X) as channels of the coarse cells."""
        if self.resized is not None:
            fine = self.resized[0][0] @ fine @ self.resized[0][1]
        return _folded(fine, self.ratio)

    def unfolded(self, channels: Tensor) -> Tensor:
        """The inverse of `folded`."""
        fine = _unfolded(channels, self.ratio)
        return fine if self.resized is None else self.resized[1][0] @ fine @ self.resized[1][1]


def _folded(fine: Tensor, ratio: Sequence[int]) -> Tensor:
    ry, rx = ratio
    b, c, y, x = fine.shape
    return fine.reshape(b, c, y // ry, ry, x // rx, rx).permute(0, 1, 3, 5, 2, 4).reshape(b, -1, y // ry, x // rx)


def _unfolded(channels: Tensor, ratio: Sequence[int]) -> Tensor:
    ry, rx = ratio
    b, c, y, x = channels.shape
    split = channels.reshape(b, c // (ry * rx), ry, rx, y, x).permute(0, 1, 4, 2, 5, 3)
    return split.reshape(b, c // (ry * rx), y * ry, x * rx)


def _of_cells(u: Tensor, v: Tensor) -> Tensor:
    """(batch, 4, ny, nx) the velocities through the four faces of each cell: left, right, lower, upper."""
    return torch.stack([u[..., :-1], u[..., 1:], v[..., :-1, :], v[..., 1:, :]], dim=1)


def _of_faces(cells: Tensor, periodic: Sequence[bool]) -> tuple[Tensor, Tensor]:
    """What cells say of their faces, as the mean of what the two say that a face lies between."""
    left, right, lower, upper = cells.unbind(1)
    found = []
    for before, behind, dim, around in ((left, right, -1, periodic[0]), (lower, upper, -2, periodic[1])):
        n = before.shape[dim]
        first, last = before.narrow(dim, 0, 1), behind.narrow(dim, n - 1, 1)
        if around:
            first = last = (first + last) / 2
        inner = (before.narrow(dim, 1, n - 1) + behind.narrow(dim, 0, n - 1)) / 2
        found.append(torch.cat([first, inner, last], dim=dim))
    return found[0], found[1]


class Correction:
    """The network in its units: (S(q), q, d, parameters) ↦ (C, D).

    Args:
        operator: the network.
        coarse: what its tensors mean.
    """

    def __init__(self, operator: nn.Module, coarse: Coarse):
        self.operator, self.coarse, self.m = operator, coarse, coarse.matrices

    def __call__(
        self, ahead: Velocities, q: Velocities, detail: Tensor | None, fluid: Tensor | None, params: Tensor
    ) -> tuple[Velocities, Tensor | None]:
        """What is to be added to S(q), and to the detail, in the problem's scales.

        Args:
            ahead: S(q).
            detail: (batch, 2, Y, X) what the coarse grid does not hold; None where it is not carried along.
            fluid: (batch, 1, ny, nx) share of each cell that is fluid, or None.
            params: (batch, feature).
        """
        m = self.m
        (ou, ov), (su, sv), (du, dv) = m.offset, m.scale, m.change
        parts = [
            _of_cells((q.u - ou) / su, (q.v - ov) / sv), _of_cells((ahead.u - q.u) / du, (ahead.v - q.v) / dv),
        ]  # fmt: skip
        if fluid is not None:
            parts.append(fluid)
        if detail is not None:
            parts.append(m.folded(detail / m.detail))
        found = self.operator(**GridBatch(torch.cat(parts, 1), params if params.shape[1] else None).arguments())
        u, v = _of_faces(found[:, :4], self.coarse.grids.periodic)
        added = Velocities(u * m.lack[0], v * m.lack[1])
        return added, None if detail is None else m.unfolded(found[:, 4:]) * m.turnover


@dataclass(frozen=True, eq=False)
class CoarseBatch(Batch):
    """A batch with what the coarse solver needs beside.

    Args:
        q: true velocities of the frames (batch, 1 + horizon, ...) through coarse faces, in the problem's scales.
        ahead: what the solver makes of the first of them (batch, ...).
        fluid: (batch, 1, ny, nx) or None.
        speed: (batch, 2) the problem's scales of u and v.
        march: parameters and inputs of the solver, a pytree of tensors over (batch, ...).
        clock: (batch, 2) time of the first frame, and the step.
    """

    q: Any = None
    ahead: Any = None
    fluid: Any = None
    speed: Any = None
    march: Any = None
    clock: Any = None

    def to(self, device: Any, dtype: Any = None) -> CoarseBatch:
        return self  # the solver runs where the data are


class Step(NamedTuple):
    """A state: a fine frame (batch, 2, Y, X) and coarse velocities, in the problem's scales, what the solver makes of
    these where that is known, and the last true frame (normalised) from which an increment counts."""

    fine: Tensor
    q: Velocities
    ahead: Velocities | None
    last: Tensor


class Answer(NamedTuple):
    """Of one step: the fine frame (batch, 2, Y, X), normalised, and (batch, 1, face) how far the coarse velocities went
    from the last true ones, and how far the truth went, in units of increments."""

    fine: Tensor
    moved: Tensor
    truly: Tensor


Bridged = Callable[..., Any]


class CorrectedModel:
    """A `Predictor` of `sciml.training.objectives`: coarse solver, network and projection as one map.

        q' = P(S(q) + C),   F' = I(q') + (F − I(q)) + D,   (C, D) = network(S(q), q, F − I(q), parameters)

    Args:
        operator: the network.
        coarse: what its tensors mean.
        advance, project: S and P as functions of torch, over a batch.
        in_the_loop: without, the network is held against what the solver lacks, and neither S nor P is asked.
        weight: of the error of the coarse velocities beside that of the fine frame.
    """

    default_loss: Loss = Nmse()

    def __init__(
        self, operator: nn.Module, coarse: Coarse, advance: Bridged, project: Bridged, in_the_loop: bool = True,
        weight: float = 1.0,
    ):  # fmt: skip
        self.correct, self.coarse, self.weight = Correction(operator, coarse), coarse, weight
        self.advance, self.project, self.in_the_loop = advance, project, in_the_loop
        e = coarse.encoding
        self.device = torch.device("cpu")
        self.increment = e.unit.reshape(-1, 1, 1)

    def start(self, batch: CoarseBatch) -> Step:
        assert batch.state is not None
        m, last = self.correct.m, batch.state[:, -1]
        fine = last * m.scale + m.offset
        q = Velocities(*(a[:, 0] for a in batch.q))
        return Step(_inside(fine, batch), q, Velocities(*batch.ahead), last)

    def __call__(self, state: Step, batch: CoarseBatch, k: int) -> tuple[Answer, Step]:
        m, q = self.correct.m, state.q
        now = batch.clock[:, 0] + k * batch.clock[:, 1]
        su, sv = batch.speed.unbind(1)
        size = Velocities(su[:, None, None], sv[:, None, None])
        ahead = state.ahead
        if ahead is None:
            u, v = self.advance(*batch.march, q.u * size.u, q.v * size.v, now, batch.clock[:, 1])
            ahead = Velocities(u / size.u, v / size.v)
        detail = state.fine - m.up(q) if self.coarse.details else None
        added, turned = self.correct(ahead, q, detail, batch.fluid, batch.params[:, k])
        new = Velocities(ahead.u + added.u, ahead.v + added.v)
        if self.in_the_loop:
            u, v = self.project(*batch.march, new.u * size.u, new.v * size.v, now + batch.clock[:, 1])
            new = Velocities(u / size.u, v / size.v)
        fine = m.up(new) if detail is None or turned is None else m.up(new) + detail + turned
        fine = _inside(fine, batch)
        normal = _inside((fine - m.offset) / m.scale, batch)
        # increments of frames and of velocities through faces are of one size
        unit = self.increment * m.scale
        before, after = (Velocities(*(a[:, j] for a in batch.q)) for j in (k, k + 1))
        moved, truly = (
            torch.cat([((a - b) / w).flatten(1) for a, b, w in zip(to, before, unit, strict=True)], 1)[:, None]
            for to in (new, after)
        )
        return Answer(normal, moved, truly), Step(fine, new, None, state.last)

    def compare(self, prediction: Answer, state: Step, target: Tensor, loss: Loss, on: On) -> Tensor:
        """Of increments, as of any residual model; coarse velocities count beside."""
        fine = loss((prediction.fine - state.last) / self.increment, (target - state.last) / self.increment, on)
        return fine + self.weight * loss(prediction.moved, prediction.truly, On())

    def frames(self, state: Step, prediction: Answer) -> tuple[Tensor | None, Tensor]:
        return state.last, prediction.fine[:, None]

    def feed(self, state: Step, target: Tensor) -> Step:
        return state._replace(last=target)


def _inside(fine: Tensor, batch: Batch) -> Tensor:
    return fine if batch.given.mask is None else fine * batch.given.mask
