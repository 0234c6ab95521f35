"""Loss functions over (batch, channel, *space), masked and quadrature-weighted.

All take `prediction`, `target`, and keywords
    mask: 1 = fluid, broadcastable to (batch, 1, *space); values elsewhere do not count, and are not differentiated;
    weights: quadrature weights (cell areas), broadcastable likewise; a constant factor has no effect on the ratios.
Sums run in float32 at least, whatever the autocast state.

Norms: ‖a‖² = Σ_channels Σ_cells w a² / Σ_cells w, so that a field of ones has norm √channels on any grid.
`floor` is added to the label's norm in quadrature; targets are normalised to order one before they come here, so it
only matters where a label is all but zero (a flow that has come to rest), and keeps such samples from ruling a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sciml.errors import InputError, suggest

_TINY = 1e-30


def _weight(a: Tensor, mask: Tensor | None, weights: Tensor | None) -> Tensor:
    """Σ-normalised cell weights (batch or 1, 1, *space) in the dtype of `a`."""
    w = torch.ones((1, 1, *a.shape[2:]), dtype=a.dtype, device=a.device)
    for factor in (mask, weights):
        if factor is not None:
            w = w * factor.to(a.dtype)
    total = w.sum(dim=tuple(range(1, w.ndim)), keepdim=True)
    if bool((total <= 0).any()):
        raise InputError("mask: expected at least one fluid cell in each sample, got none")
    return w / total


def _prepare(p: Tensor, t: Tensor, mask: Tensor | None, weights: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    if p.shape != t.shape:
        raise InputError(f"prediction and target: expected equal shapes, got {tuple(p.shape)} and {tuple(t.shape)}")
    dtype = torch.promote_types(torch.promote_types(p.dtype, t.dtype), torch.float32)
    p, t = p.to(dtype), t.to(dtype)
    w = _weight(t, mask, weights)
    inside = w > 0
    zero = torch.zeros((), dtype=dtype, device=p.device)
    return torch.where(inside, p, zero), torch.where(inside, t, zero), w


def _square(a: Tensor, w: Tensor) -> Tensor:
    """‖a‖² of each sample: (batch,)."""
    return (w * a**2).flatten(1).sum(1)


def _root(a: Tensor) -> Tensor:
    """√a whose gradient at 0 is 0 rather than NaN."""
    return torch.sqrt(a.clamp_min(_TINY))


def mse(prediction: Tensor, target: Tensor, *, mask: Tensor | None = None, weights: Tensor | None = None) -> Tensor:
    """Mean over samples and channels of the mean square error, ⟨‖p − t‖²⟩ / channels."""
    p, t, w = _prepare(prediction, target, mask, weights)
    return _square(p - t, w).mean() / p.shape[1]


def nmse(
    prediction: Tensor,
    target: Tensor,
    *,
    mask: Tensor | None = None,
    weights: Tensor | None = None,
    floor: float = 1e-6,
) -> Tensor:
    """CFDBench's loss, Σ_batch ‖p − t‖² / (Σ_batch ‖t‖² + floor²): one ratio for the batch (Luo et al. 2023)."""
    p, t, w = _prepare(prediction, target, mask, weights)
    return _square(p - t, w).sum() / (_square(t, w).sum() + floor**2)


def sample_nmse(
    prediction: Tensor,
    target: Tensor,
    *,
    mask: Tensor | None = None,
    weights: Tensor | None = None,
    floor: float = 1e-3,
) -> Tensor:
    """Mean over samples of ‖p − t‖² / (‖t‖² + floor²): quiet samples count as much as loud ones, down to `floor`."""
    p, t, w = _prepare(prediction, target, mask, weights)
    return (_square(p - t, w) / (_square(t, w) + floor**2)).mean()


def relative_l2(
    prediction: Tensor,
    target: Tensor,
    *,
    mask: Tensor | None = None,
    weights: Tensor | None = None,
    floor: float = 1e-3,
) -> Tensor:
    """Mean over samples of ‖p − t‖ / √(‖t‖² + floor²) (Li et al. 2021)."""
    p, t, w = _prepare(prediction, target, mask, weights)
    return (_root(_square(p - t, w)) / _root(_square(t, w) + floor**2)).mean()


def differences(a: Tensor, axis: int, spacing: float, periodic: bool, mask: Tensor | None = None) -> Tensor:
    """∂a/∂x along one space axis of cell data, of second order away from bodies.

    Central differences inside; across the seam where `periodic`; one-sided of second order, (−3a₀ + 4a₁ − a₂)/2h, at
    the ends of an axis that is not (central differences that wrap round there, as in neuraloperator's default, turn
    a ramp into a jump). Beside a solid cell of `mask` only fluid neighbours are used: the one-sided first difference
    if there is one neighbour, 0 if there is none.
    """
    n = a.shape[axis]
    if n < 2:
        return torch.zeros_like(a)
    forward = (torch.roll(a, -1, axis) - a) / spacing
    backward = torch.roll(forward, 1, axis)
    if mask is None and (periodic or n < 3):
        if periodic:
            return (forward + backward) / 2
        forward = forward.narrow(axis, 0, 1)
        return torch.cat([forward, forward], axis)
    if mask is None:
        inner = ((forward + backward) / 2).narrow(axis, 1, n - 2)
        a0, a1, a2 = (a.narrow(axis, i, 1) for i in (0, 1, 2))
        b0, b1, b2 = (a.narrow(axis, n - 1 - i, 1) for i in (0, 1, 2))
        first = (-3 * a0 + 4 * a1 - a2) / (2 * spacing)
        last = (3 * b0 - 4 * b1 + b2) / (2 * spacing)
        return torch.cat([first, inner, last], axis)
    fluid = (mask != 0).to(a.dtype)
    right = torch.roll(fluid, -1, axis) * fluid  # whether the face to the right joins two fluid cells
    if not periodic:
        right = right.clone()
        right.narrow(axis, n - 1, 1).zero_()
    left = torch.roll(right, 1, axis)
    return (right * forward + left * backward) / (left + right).clamp_min(1)


def h1(
    prediction: Tensor,
    target: Tensor,
    *,
    mask: Tensor | None = None,
    weights: Tensor | None = None,
    spacing: Sequence[float] | None = None,
    periodic: Sequence[bool] | None = None,
    gradient_weight: float = 1.0,
    floor: float = 1e-3,
) -> Tensor:
    """Mean over samples of the relative H¹ norm, √((‖e‖² + γ‖∇e‖²) / (‖t‖² + γ‖∇t‖² + floor²)), e = p − t.

    Args:
        spacing: cell size along each space axis, in the arrays' order; by default 1/n (a unit domain).
        periodic: for each space axis; by default none is.
        gradient_weight: γ, in length² units.
    """
    p, t, w = _prepare(prediction, target, mask, weights)
    d = p.ndim - 2
    h = [1.0 / n for n in p.shape[2:]] if spacing is None else [float(s) for s in spacing]
    wraps = [False] * d if periodic is None else list(periodic)
    if len(h) != d or len(wraps) != d:
        raise InputError(f"spacing and periodic: expected {d} entries each, got {len(h)} and {len(wraps)}")
    e = p - t
    error, label = _square(e, w), _square(t, w)
    for i in range(d):
        error = error + gradient_weight * _square(differences(e, 2 + i, h[i], wraps[i], mask), w)
        label = label + gradient_weight * _square(differences(t, 2 + i, h[i], wraps[i], mask), w)
    return (_root(error) / _root(label + floor**2)).mean()


LOSSES: dict[str, Callable[..., Tensor]] = {
    "mse": mse,
    "nmse": nmse,
    "sample_nmse": sample_nmse,
    "relative_l2": relative_l2,
    "h1": h1,
}


def get(name: str) -> Callable[..., Tensor]:
    """The loss called `name`.

    Raises:
        InputError: no such loss; the message gives the nearest.
    """
    if name not in LOSSES:
        raise InputError(f"loss: no loss is called {name!r}{suggest(name, LOSSES)}")
    return LOSSES[name]
