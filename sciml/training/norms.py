"""Error norms over (batch, channel, *space), masked and quadrature-weighted: the mathematics of `losses`.

All take `prediction`, `target`, and keywords
    mask: 1 = fluid, broadcastable to (batch, 1, *space); values elsewhere do not count, and are not differentiated;
    weights: quadrature weights (cell areas), broadcastable likewise; a constant factor has no effect on the ratios.
Sums run in float32 at least, whatever the autocast state.

Norms: ‖a‖² = Σ_channels Σ_cells w a² / Σ_cells w, so that a field of ones has norm √channels on any grid.
`floor` is added to the label's norm in quadrature; targets are normalised to order one before they come here, so it
only matters where a label is all but zero (a flow that has come to rest), and keeps such samples from ruling a batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from sciml.errors import InputError
from sciml.training.processes import mean

Values = Float[Tensor, "batch channel *space"]
OnSpace = Shaped[Tensor, "#batch 1 *#space"] | Shaped[Tensor, "*#space"]
Scalar = Float[Tensor, ""]
Line = Float[Tensor, "#batch _cell"] | Float[Tensor, " _cell"]

_TINY = 1e-30


def _weight(a: Tensor, mask: Tensor | None, weights: Tensor | None) -> Tensor:
    """Σ-normalised cell weights (batch or 1, 1, *space) in the dtype of `a`; one number where all are equal."""
    if mask is None and weights is None:
        return torch.full((1,) * a.ndim, 1.0 / math.prod(a.shape[2:]), dtype=a.dtype, device=a.device)
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
    if mask is None and weights is None:  # all cells count alike: nothing is to be left out
        return p, t, w
    inside = w > 0
    zero = torch.zeros((), dtype=dtype, device=p.device)
    return torch.where(inside, p, zero), torch.where(inside, t, zero), w


def _square(a: Tensor, w: Tensor) -> Tensor:
    """‖a‖² of each sample: (batch,)."""
    if w.numel() == 1:  # equal weights: one pass over the values less, and as many in the gradient
        return a.square().flatten(1).sum(1) * w.flatten()
    return (w * a**2).flatten(1).sum(1)


def _root(a: Tensor) -> Tensor:
    """√a whose gradient at 0 is 0 rather than NaN."""
    return torch.sqrt(a.clamp_min(_TINY))


def mse(prediction: Values, target: Values, *, mask: OnSpace | None = None, weights: OnSpace | None = None) -> Scalar:
    """Mean over samples and channels of the mean square error, ⟨‖p − t‖²⟩ / channels."""
    p, t, w = _prepare(prediction, target, mask, weights)
    return _square(p - t, w).mean() / p.shape[1]


def nmse(
    prediction: Values,
    target: Values,
    *,
    mask: OnSpace | None = None,
    weights: OnSpace | None = None,
    floor: float = 1e-6,
) -> Scalar:
    """CFDBench's loss, Σ_batch ‖p − t‖² / (Σ_batch ‖t‖² + floor²): one ratio for the batch (Luo et al. 2023)."""
    p, t, w = _prepare(prediction, target, mask, weights)
    label, times = mean(_square(t, w).mean())
    return _square(p - t, w).mean() / (label + floor**2 / (times * len(p)))


def sample_nmse(
    prediction: Values,
    target: Values,
    *,
    mask: OnSpace | None = None,
    weights: OnSpace | None = None,
    floor: float = 1e-3,
) -> Scalar:
    """Mean over samples of ‖p − t‖² / (‖t‖² + floor²): quiet samples count as much as loud ones, down to `floor`."""
    p, t, w = _prepare(prediction, target, mask, weights)
    return (_square(p - t, w) / (_square(t, w) + floor**2)).mean()


def relative_l2(
    prediction: Values,
    target: Values,
    *,
    mask: OnSpace | None = None,
    weights: OnSpace | None = None,
    floor: float = 1e-3,
) -> Scalar:
    """Mean over samples of ‖p − t‖ / √(‖t‖² + floor²) (Li et al. 2021)."""
    p, t, w = _prepare(prediction, target, mask, weights)
    return (_root(_square(p - t, w)) / _root(_square(t, w) + floor**2)).mean()


def differences(
    a: Values,
    axis: int,
    positions: Line,
    period: Float[Tensor, "#batch"] | Float[Tensor, ""] | None = None,
    mask: OnSpace | None = None,
) -> Values:
    """∂a/∂x along one space axis of cell data, of second order on stretched axes too.

    With the slopes F = (a₊ − a)/h₊ and B = (a − a₋)/h₋ to the neighbours on both sides,

        ∂a/∂x = (h₋ F + h₊ B) / (h₋ + h₊)  inside,   F + (F − F₊) h₊/(h₊ + h₊₊)  at an end, F₊ the next slope,

    which are the derivatives of the parabola through three cells. An axis that is not periodic ends at its ends, and
    any axis at the solid cells of `mask`: there the one-sided formula is used, its first slope alone where there is
    one fluid neighbour and no second, and 0 where there is none. (Central differences that wrap round at the ends of
    an axis that is not periodic, as in neuraloperator's default, turn a ramp into a jump.)

    Args:
        a: (batch, channel, *space).
        axis: which dimension of `a`.
        positions: (batch or 1, n) or (n,): strictly monotone positions of the cells along the axis.
        period: length of the domain along the axis, (batch or 1,) or a scalar, where it is periodic; None elsewhere.
        mask: 1 = fluid, broadcastable to (batch, 1, *space).
    """
    n = a.shape[axis]
    if n < 2:
        return torch.zeros_like(a)
    x = positions.to(a.dtype).reshape(-1, n)
    inner = x[:, 1:] - x[:, :-1]
    if period is None:
        seam = inner[:, -1:]  # of no effect: the face there is closed
    else:
        length = torch.as_tensor(period, dtype=a.dtype, device=a.device).reshape(-1, 1)
        seam = torch.sign(inner[:, :1]) * length - (x[:, -1:] - x[:, :1])
    shape = [1] * a.ndim
    shape[0], shape[axis] = -1, n
    h = torch.cat([inner.expand(len(seam), -1), seam.expand(len(inner), -1)], 1).reshape(shape)
    fluid = torch.ones((1,) * a.ndim, dtype=torch.bool, device=a.device) if mask is None else mask != 0
    fluid = fluid.expand(*fluid.shape[:axis], n, *fluid.shape[axis + 1 :])
    open_ = torch.roll(fluid, -1, axis) & fluid  # whether the face after a cell joins it to the next one
    if period is None:
        open_ = open_.clone()
        open_.narrow(axis, n - 1, 1).fill_(False)
    zero = torch.zeros((), dtype=a.dtype, device=a.device)
    f = torch.where(open_, (torch.roll(a, -1, axis) - a) / h, zero)

    def side(first: int, second: int) -> tuple[Tensor, Tensor]:
        """The one-sided derivative from the faces at these offsets, and whether there is one."""
        s, t = torch.roll(f, first, axis), torch.roll(f, second, axis)
        p, q = torch.roll(h, first, axis), torch.roll(h, second, axis)
        has, has_next = torch.roll(open_, first, axis), torch.roll(open_, second, axis)
        return s + torch.where(has_next, (s - t) * (p / (p + q)), zero), has

    (after, right), (before, left) = side(0, -1), side(1, 2)
    back, step = torch.roll(f, 1, axis), torch.roll(h, 1, axis)
    central = (step * f + h * back) / (step + h)
    return torch.where(right & left, central, torch.where(right, after, torch.where(left, before, zero)))


def h1(
    prediction: Values,
    target: Values,
    *,
    mask: OnSpace | None = None,
    weights: OnSpace | None = None,
    axes: Sequence[Line],
    periods: Sequence[Float[Tensor, "#batch"] | Float[Tensor, ""] | None] | None = None,
    gradient_weight: float = 1.0,
    floor: float = 1e-3,
) -> Scalar:
    """Mean over samples of the relative H¹ norm, √((‖e‖² + γ‖∇e‖²) / (‖t‖² + γ‖∇t‖² + floor²)), e = p − t.

    Args:
        axes: positions of the cells along each space axis in the arrays' order, each (batch or 1, n) or (n,).
        periods: length of each periodic axis, None for one that is not; by default none is.
        gradient_weight: γ, in length² units.
    """
    p, t, w = _prepare(prediction, target, mask, weights)
    d = p.ndim - 2
    wraps = [None] * d if periods is None else list(periods)
    if len(axes) != d or len(wraps) != d:
        raise InputError(f"axes and periods: expected {d} entries each, got {len(axes)} and {len(wraps)}")
    e = p - t
    error, label = _square(e, w), _square(t, w)
    for i in range(d):
        if axes[i].shape[-1] != p.shape[2 + i]:
            raise InputError(f"axes: expected {p.shape[2 + i]} positions along axis {i}, got {axes[i].shape[-1]}")
        error = error + gradient_weight * _square(differences(e, 2 + i, axes[i], wraps[i], mask), w)
        label = label + gradient_weight * _square(differences(t, 2 + i, axes[i], wraps[i], mask), w)
    return (_root(error) / _root(label + floor**2)).mean()


def sobolev(
    prediction: Values,
    target: Values,
    *,
    order: float,
    axes: Sequence[Line],
    periods: Sequence[Float[Tensor, "#batch"] | Float[Tensor, ""] | None] | None = None,
    mask: OnSpace | None = None,
    weights: OnSpace | None = None,
    length: float = 1.0,
    relative: bool = True,
    floor: float = 1e-3,
) -> Scalar:
    """Mean over samples of ‖e‖_s / √(‖t‖_s² + floor²), e = p − t; not `relative`: of ‖e‖_s², over channels.

    Args:
        order: s.
        axes, periods: as of `h1`.
        length: ℓ, in the unit of the axes.

    Raises:
        InputError: an order that is no whole number from 0 on where the norm has to be taken by differences.
    """
    p, t, w = _prepare(prediction, target, mask, weights)
    d = p.ndim - 2
    wraps = [None] * d if periods is None else list(periods)
    if len(axes) != d or len(wraps) != d:
        raise InputError(f"axes and periods: expected {d} entries each, got {len(axes)} and {len(wraps)}")
    for i in range(d):
        if axes[i].shape[-1] != p.shape[2 + i]:
            raise InputError(f"axes: expected {p.shape[2 + i]} positions along axis {i}, got {axes[i].shape[-1]}")
    lengths = [period for period in wraps if period is not None]
    if len(lengths) == d and mask is None and weights is None:  # cells are equal

        def square(a: Tensor) -> Tensor:
            return spectral_square(a, order, lengths, length)
    else:
        if order < 0 or order != int(order):
            raise InputError(
                f"loss: the Sobolev norm of order {order:g} needs equal cells, periodic on every axis and without a "
                "mask; elsewhere orders are 0, 1, 2, ..."
            )

        def square(a: Tensor) -> Tensor:
            return difference_square(a, int(order), axes, wraps, w, mask, length)

    if not relative:
        return square(p - t).mean() / p.shape[1]
    return (_root(square(p - t)) / _root(square(t) + floor**2)).mean()


def spectral_square(
    a: Values, order: float, lengths: Sequence[Float[Tensor, "#batch"] | Float[Tensor, ""] | float], length: float = 1.0
) -> Float[Tensor, " batch"]:
    """‖a‖_s² = Σ_k (1 + ℓ²|k|²)^s |â_k|² of fields on equal cells of a box that is periodic on every axis, with
    k = 2πn/L; for s = 0 the mean square, summed over channels.

    Args:
        lengths: L by axis.
    """
    space = a.shape[2:]
    modes = torch.fft.rfftn(a, dim=tuple(range(2, a.ndim)), norm="forward")
    total = torch.ones((), dtype=a.dtype, device=a.device)
    for i, (n, size) in enumerate(zip(space, lengths, strict=True)):
        last = i == len(space) - 1
        number = (torch.fft.rfftfreq if last else torch.fft.fftfreq)(n, 1.0 / n, dtype=a.dtype, device=a.device)
        period = torch.as_tensor(size, dtype=a.dtype, device=a.device).reshape(-1, *[1] * (a.ndim - 1))
        wave = number.reshape(-1, *[1] * (len(space) - 1 - i)) * (2 * math.pi * length / period)
        total = total + wave.square()
    twice = torch.full((modes.shape[-1],), 2.0, dtype=a.dtype, device=a.device)  # a wave and its mirror image
    twice[0].fill_(1.0)
    if space[-1] % 2 == 0:
        twice[-1].fill_(1.0)
    power = modes.real.square() + modes.imag.square()
    return (twice * total**order * power).flatten(1).sum(1)


def difference_square(
    a: Values,
    order: int,
    axes: Sequence[Line],
    periods: Sequence[Float[Tensor, "#batch"] | Float[Tensor, ""] | None],
    weight: Tensor,
    mask: OnSpace | None = None,
    length: float = 1.0,
) -> Float[Tensor, " batch"]:
    """The same of order s = 0, 1, 2, ... by differences: ‖a‖_s² = ‖a‖_{s−1}² + ℓ² Σ_i ‖∂_i a‖_{s−1}².

    Args:
        weight: of the cells, with sum 1, as (batch or 1, 1, *space) or one number.
    """
    if order == 0:
        return _square(a, weight)
    total = difference_square(a, order - 1, axes, periods, weight, mask, length)
    for i in range(a.ndim - 2):
        slope = differences(a, 2 + i, axes[i], periods[i], mask)
        total = total + length**2 * difference_square(slope, order - 1, axes, periods, weight, mask, length)
    return total
