"""What operators on particles share: B-splines on a grid over the box, and how values come onto it and back.

A grid has m cells an axis; its values stand at the cells' centres x_c, and h is the size of a cell. A particle at y
sees the 3^D centres nearest to it with the weights of the quadratic B-spline, w_c(y) = Π_a N((x_c − y)_a / h_a),

    N(s) = 3/4 − s²  for |s| < 1/2,   (3/2 − |s|)² / 2  for 1/2 ≤ |s| < 3/2,   0 beyond,

which are smooth in y and have the sum 1: constants come through unchanged. A periodic axis goes round; others have one
more cell at both ends.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from sciml.contracts import Signature
from sciml.errors import InputError, positive
from sciml.operators._points import looked_at, tensors


class Stencil(NamedTuple):
    """What joins particles to the cells around them.

    Args:
        cell: (node, corner), numbers of cells among those of all samples.
        weight: (node, corner), with sum 1; 0 for what is no particle.
        offset: (node, corner, dimension), from particles to centres, in units of a cell.
        cells: of one sample, along each axis, those added at the ends included.
    """

    cell: Int64[Tensor, "node corner"]
    weight: Float[Tensor, "node corner"]
    offset: Float[Tensor, "node corner dimension"]
    cells: tuple[int, ...]


def cells_of(name: str, cells: Any, signature: Signature) -> tuple[int, ...]:
    """Cells along each axis x, y, z from a number or a sequence; by default as many as the data say.

    Raises:
        InputError: neither.
    """
    d = signature.dimensions
    if cells is None:
        if signature.space is None:
            raise InputError(f"{name}: cells: expected {d} numbers, one an axis, got None")
        return tuple(signature.space)
    return checked_cells(cells, d)


def checked_cells(cells: Any, dimensions: int) -> tuple[int, ...]:
    """One number of cells for each axis.

    Raises:
        InputError: other than that.
    """
    several = tuple(cells) if isinstance(cells, Iterable) else (cells,) * dimensions
    if len(several) != dimensions:
        raise InputError(f"cells: expected {dimensions} numbers, one an axis, got {cells!r}")
    return tuple(positive("cells", c, 3) for c in several)


def stencil(
    points: Float[Tensor, "node dimension"], graph: Int64[Tensor, " node"], mask: Tensor | None, cells: Sequence[int],
    periodic: Sequence[bool],
) -> Stencil:  # fmt: skip
    """The cells around every particle.

    Args:
        points: (node, D), shares of the box; those outside of it count as on its boundary.
        graph: (node,), the sample of each particle.
        mask: (node,), 1 for particles; None where all are.
        cells: m along each axis x, y, z.
        periodic: along which axes the box is periodic.
    """
    device, dtype, d = points.device, points.dtype, len(cells)
    around = [bool(periodic[a]) if a < len(periodic) else False for a in range(d)]
    total = tuple(m if p else m + 2 for m, p in zip(cells, around, strict=True))
    size = torch.tensor(cells, dtype=dtype, device=device)
    turning = torch.tensor(around, device=device)
    share = torch.where(turning, points - torch.floor(points), points.clamp(0.0, 1.0))
    place = share * size + torch.where(turning, 0.0, 1.0).to(dtype) - 0.5  # in cells, 0 at the first centre
    middle = torch.floor(place + 0.5)
    away = middle - place  # from −1/2 to 1/2
    lines = torch.stack((0.5 * (0.5 + away) ** 2, 0.75 - away**2, 0.5 * (0.5 - away) ** 2), -1)
    corners = torch.tensor(list(itertools.product((-1, 0, 1), repeat=d)), device=device)  # (corner, D)
    weight = torch.ones_like(points[:, :1]).expand(-1, len(corners))
    number = graph[:, None].expand(-1, len(corners))
    for a in range(d):
        weight = weight * lines[:, a].index_select(1, corners[:, a] + 1)
        index = (middle[:, a, None].long() + corners[:, a]) % total[a]
        number = number * total[a] + index
    offset = away[:, None] + corners.to(dtype)
    if mask is not None:
        weight = torch.where((mask > 0)[:, None], weight, torch.zeros((), dtype=dtype, device=device))
    return Stencil(number, weight, offset, total)


def scattered(values: Float[Tensor, "node corner channel"], where: Stencil, samples: int) -> Tensor:
    """Σ_i w_ci u_ic: (sample, channel, *cells) of values that particles have for each of their cells.

    Axes of the array are x, y, z.
    """
    channels = values.shape[-1]
    count = samples * math.prod(where.cells)
    flat = (values * where.weight[..., None]).reshape(-1, channels)
    total = flat.new_zeros(count, channels).index_add(0, where.cell.reshape(-1), flat)
    return total.reshape(samples, *where.cells, channels).movedim(-1, 1)


def gathered(grid: Float[Tensor, "sample channel *cells"], where: Stencil) -> Float[Tensor, "node corner channel"]:
    """The values of the cells around every particle; Σ_c w_ic of them is the interpolated value."""
    flat = grid.movedim(1, -1).reshape(-1, grid.shape[1])
    return flat.index_select(0, where.cell.reshape(-1)).reshape(*where.cell.shape, grid.shape[1])


def density(where: Stencil, samples: int) -> Float[Tensor, "sample 1 *cells"]:
    """Particles in each cell, Σ_i w_ci."""
    return scattered(torch.ones_like(where.weight)[..., None], where, samples)


def mean_of(total: Float[Tensor, "sample channel *cells"], count: Float[Tensor, "sample 1 *cells"]) -> Tensor:
    """total / count; 0 in cells without particles. Weights below 1e-6 count as none at all, or a cell that a particle
    hardly touches would hold its whole value."""
    return total * (count / (count**2 + 1e-6))


def check_lengths(title: str, lengths: Any, graph: Tensor, params: Tensor | None, dimensions: int) -> int:
    """The number of samples, if `lengths` has a row for each of them; see `looked_at`.

    Raises:
        InputError: it has not.
    """
    tensors(title, lengths=lengths)
    if lengths.ndim != 2 or lengths.shape[1] != dimensions:
        raise InputError(f"{title}: lengths: expected (graph, {dimensions}), got {tuple(lengths.shape)}")
    samples = lengths.shape[0]
    if params is not None and params.shape[0] != samples:
        raise InputError(f"{title}: lengths: expected a row for each of {params.shape[0]} samples, got {samples}")
    if looked_at(graph) and int(graph.max()) >= samples:
        raise InputError(f"{title}: lengths: expected a row for each of {int(graph.max()) + 1} samples, got {samples}")
    return samples
