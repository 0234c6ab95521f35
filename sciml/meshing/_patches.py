"""The network of `LocalMover`: what a cell does, told from the cells around it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.meshing._medium import Medium
from sciml.meshing._simplices import rule
from sciml.meshing.mover import Domain

INPUTS, OUTPUTS = 6, 4
MOST = 1.5  # of the share of log ratio by which a medium gives way in a round
BEND = 1e-6  # of the size of a mesh: over which the slope of a monitor is taken


class Patchwork(nn.Module):
    """`rounds` small perceptrons, each the same for all cells: six invariants of a cell and its patch -> four
    coefficients of its stress.

    Args:
        rounds: of moving.
        width: of the two hidden layers.
        step: what the coefficient of log ratio is before training.
    """

    def __init__(self, rounds: int, width: int, step: float):
        super().__init__()
        self.rounds = nn.ModuleList(_perceptron(width, step) for _ in range(rounds))

    def forward(self, number: int, inputs: Float[Tensor, "cell input"]) -> Float[Tensor, "cell output"]:
        found = self.rounds[number](inputs)
        # a from 0 to MOST, the others to either side: what no training saw cannot be answered by anything wild
        return torch.cat([MOST * torch.sigmoid(found[:, :1]), MOST / 2 * torch.tanh(found[:, 1:])], 1)


def _perceptron(width: int, step: float) -> nn.Module:
    found = nn.Sequential(
        nn.Linear(INPUTS, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, OUTPUTS)
    )
    with torch.no_grad():
        last: Any = found[-1]
        last.weight *= 0.01
        last.bias.copy_(torch.tensor([math.log(step / (MOST - step)), 0.0, 0.0, 0.0]))
    return found


@dataclass
class Lesson:
    """A mesh, its medium and its monitor, as the network meets them."""

    domain: Domain
    medium: Medium
    cells: Tensor
    size: Tensor
    around: Tensor
    inverse: Tensor  # (C, D, D) of the edges from the first corner, of the mesh as it was
    diagonal: np.ndarray | None  # of the medium's matrix, where nodes give way each for itself
    field: Any = None
    floor: float = 1.0

    @classmethod
    def of(cls, domain: Domain, alone: bool, field: Any = None) -> Lesson:
        medium = Medium(domain)
        cells = torch.from_numpy(np.ascontiguousarray(domain.cells))
        size = torch.from_numpy(medium.size)
        corners = cells.shape[1]
        around = torch.zeros(len(domain.points), dtype=size.dtype)
        around = around.index_add(0, cells.reshape(-1), size.repeat_interleave(corners))
        edges = domain.points[domain.cells][:, 1:] - domain.points[domain.cells][:, :1]
        inverse = torch.from_numpy(np.linalg.inv(edges))
        found = cls(domain, medium, cells, size, around, inverse, medium.diagonal() if alone else None, field)
        if field is not None:
            found.floor = float(found.error(torch.from_numpy(domain.points)))
        return found

    def patch(self, values: Tensor) -> Tensor:
        """Means over the patches of nodes, and over the corners of each cell of these."""
        corners = self.cells.shape[1]
        weighted = (values * self.size).repeat_interleave(corners)
        nodes = torch.zeros_like(self.around).index_add(0, self.cells.reshape(-1), weighted) / self.around
        return nodes[self.cells].mean(1)

    def error(self, x: Tensor) -> Tensor:
        """‖u − Iu‖² of linear interpolation on the moved mesh."""
        places, weights = (torch.from_numpy(a) for a in rule(x.shape[1]))
        at = torch.einsum("qk,ckd->cqd", places, x[self.cells])
        exact = _Asked.apply(at.reshape(-1, x.shape[1]), self.field, self.field.gradient).reshape(at.shape[:2])
        nodes = _Asked.apply(x, self.field, self.field.gradient)
        off = torch.einsum("qk,ck->cq", places, nodes[self.cells]) - exact
        return torch.einsum("cq,q,c->", off**2, weights, sizes(edges(x, self.cells)))


def edges(x: Tensor, cells: Tensor) -> Float[Tensor, "cell corner dimension"]:
    corners = x[cells]
    return corners[:, 1:] - corners[:, :1]


def determinants(matrices: Tensor) -> Float[Tensor, " cell"]:
    if matrices.shape[1] == 1:
        return matrices[:, 0, 0]
    return matrices[:, 0, 0] * matrices[:, 1, 1] - matrices[:, 0, 1] * matrices[:, 1, 0]


def sizes(now: Tensor) -> Float[Tensor, " cell"]:
    """Lengths or areas of cells with these edges."""
    return determinants(now) / math.factorial(now.shape[1])


def moved(network: Any, lesson: Lesson, number: int, x: Tensor) -> tuple[Tensor, Tensor]:
    """One round: (nodes, log ratio of cells before it)."""
    dimensions = x.shape[1]
    m = monitored(lesson, x)
    now = edges(x, lesson.cells)
    ratio = logs(lesson, now, m)
    # x = ξ + δ: ∂x/∂ξ in each cell
    strain = torch.einsum("cid,cei->cde", now, lesson.inverse)
    det = determinants(strain)
    squeeze = torch.einsum("cde,cfe->cdf", strain, strain) / det.abs().clamp_min(1e-12)[:, None, None] ** (
        2 / dimensions
    )
    log_m = torch.log(m)
    rise = log_m[lesson.cells]
    slope = _slope(now, rise[:, 1:] - rise[:, :1]) * lesson.size.abs()[:, None] ** (1 / dimensions)
    smooth = lesson.patch(ratio)
    eye = torch.eye(dimensions, dtype=x.dtype)
    steep = torch.einsum("cd,ce->cde", slope, slope)
    square = slope.square().sum(1)
    stretch = torch.einsum("cdd->c", squeeze) / dimensions - 1
    inputs = torch.stack(
        [ratio.clamp(-4, 4), smooth.clamp(-4, 4), torch.sqrt(square + 1e-12),
         torch.log(det.abs().clamp_min(1e-6)).clamp(-4, 4), torch.log1p(stretch.clamp_min(0)),
         lesson.patch((ratio - smooth).abs())], 1,
    )  # fmt: skip
    a, b, c, d = network(number, inputs).unbind(1)
    pressure = a * ratio.clamp(-3, 3) + b * smooth.clamp(-3, 3)
    alike = steep / (1 + square)[:, None, None]
    stress = -pressure[:, None, None] * eye
    stress = (
        stress
        + c[:, None, None] * _deviator(alike, eye)
        + d[:, None, None] * _deviator(squeeze / (1 + stretch)[:, None, None], eye)
    )
    step = _Yield.apply(stress, lesson)
    share = lesson.medium.safe(x.detach().numpy(), step.detach().numpy())
    return x + share * step, ratio


def logs(lesson: Lesson, now: Tensor, m: Tensor) -> Tensor:
    """log(m |K|/(θ |K₀|))."""
    found = m[lesson.cells].mean(1) * sizes(now) / lesson.size
    theta = (found * lesson.size).sum() / lesson.size.sum()
    return torch.log((found / theta).clamp_min(1e-4))


def monitored(lesson: Lesson, x: Tensor) -> Tensor:
    return _Asked.apply(x, lesson.domain.monitor, None)


def _slope(now: Tensor, rise: Tensor) -> Tensor:
    """∇ of a linear function with these differences along the edges."""
    if now.shape[1] == 1:
        return rise / now[:, 0]
    det = determinants(now)[:, None]
    (a, b), (c, d) = (now[:, 0, 0], now[:, 0, 1]), (now[:, 1, 0], now[:, 1, 1])
    return torch.stack([d * rise[:, 0] - b * rise[:, 1], a * rise[:, 1] - c * rise[:, 0]], 1) / det


def _deviator(matrices: Tensor, eye: Tensor) -> Tensor:
    return matrices - torch.einsum("cdd->c", matrices)[:, None, None] * eye / len(eye)


class _Asked(torch.autograd.Function):
    """A function of points that NumPy has: values, and on the way back its slope, central differences if not given."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, function: Any, gradient: Any) -> Tensor:
        places = x.detach().numpy()
        ctx.asked = places, function, gradient
        return torch.from_numpy(np.array(function(places), np.float64))

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Any:
        places, function, gradient = ctx.asked
        if gradient is not None:
            return slope[:, None] * torch.from_numpy(gradient(places)), None, None
        h, found = BEND * float(np.ptp(places, axis=0).max()), np.empty_like(places)
        for axis in range(places.shape[1]):
            off = np.zeros(places.shape[1])
            off[axis] = h
            found[:, axis] = (function(places + off) - function(places - off)) / (2 * h)
        return slope[:, None] * torch.from_numpy(found), None, None


class _Yield(torch.autograd.Function):
    """Displacements of nodes under a stress."""

    @staticmethod
    def forward(ctx: Any, stress: Tensor, lesson: Lesson) -> Tensor:
        ctx.lesson, ctx.shape = lesson, stress.shape
        return torch.from_numpy(lesson.medium.yielded(stress.detach().numpy(), lesson.diagonal))

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Any:
        found = ctx.lesson.medium.pulled(slope.numpy(), ctx.lesson.diagonal)
        return torch.from_numpy(found).reshape(ctx.shape), None
