"""Take the shortest waves out of an output that was written patch by patch."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sciml.operators._grid import positive

ORDER = 4


def smoothing(order: int | None, patch: int) -> int:
    """The order of the filter for an operator: as given, or else `ORDER` with patches of two points, and 0."""
    if order is None:
        return ORDER if patch == 2 else 0
    return positive("smooth", order, 0)


def shapiro(x: Tensor, order: int, periodic: tuple[bool, ...], mask: Tensor | None = None) -> Tensor:
    """Apply Shapiro's filter along every axis, y = x − (−δ²/4)ⁿ x with δ² x_j = x_{j−1} − 2 x_j + x_{j+1}.

    In the interior a wave of wavenumber k on points h apart is multiplied by 1 − sin²ⁿ(kh/2): the one that changes its
    sign from point to point, which is what patches of two points leave behind, is gone, and polynomials of degree
    2n − 1 stay as they are. Beyond ends that are not periodic values are reflected in the last point, 2 x₀ − x_j: the
    last point stays as it is and straight lines do, and the filter is weaker on its neighbours. Points within n of one
    outside of the mask stay as they are along that axis.

    Args:
        x: (batch, channel, *space).
        order: n.
        periodic: for each axis.
        mask: (batch or 1, 1, *space).

    Source: R. Shapiro, Reviews of Geophysics and Space Physics 8, 359 (1970).
    """
    for axis, around in enumerate(periodic, start=2):
        size = x.shape[axis]
        n = min(order, size if around else size - 1)
        if n < 1:
            continue
        wide = _extend(x, axis, n, around)
        # (−1)ʲ C(2n, n + j) / 4ⁿ are the weights of (−δ²/4)ⁿ
        high = (math.comb(2 * n, n) / 4**n) * x
        for j in range(1, n + 1):
            both = wide.narrow(axis, n - j, size) + wide.narrow(axis, n + j, size)
            high = torch.add(high, both, alpha=(-1) ** j * math.comb(2 * n, n + j) / 4**n)
        if mask is not None:
            inside = _extend(mask.to(x.dtype), axis, n, around, odd=False)
            whole = inside.narrow(axis, 0, size)
            for j in range(1, 2 * n + 1):
                whole = torch.minimum(whole, inside.narrow(axis, j, size))
            high = high * whole
        x = x - high
    return x


def _extend(x: Tensor, axis: int, n: int, periodic: bool, odd: bool = True) -> Tensor:
    size = x.shape[axis]
    if periodic:
        return torch.cat((x.narrow(axis, size - n, n), x, x.narrow(axis, 0, n)), dim=axis)
    before, after = x.narrow(axis, 1, n).flip(axis), x.narrow(axis, size - 1 - n, n).flip(axis)
    if odd:
        before, after = 2 * x.narrow(axis, 0, 1) - before, 2 * x.narrow(axis, size - 1, 1) - after
    return torch.cat((before, x, after), dim=axis)
