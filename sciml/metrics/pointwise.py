"""Errors between two fields, cell by cell.

Every function takes `prediction` and `target` of one shape and reduces over `axis` (all axes by default):

- joint over fields and samples: `axis=None`;
- per field, arrays (sample, field, y, x): `axis=(0, 2, 3)`;
- at each rollout step, arrays (sample, step, field, y, x): `axis=(0, 2, 3, 4)`;
- per frame: `axis=(-3, -2, -1)`.

`mask` (1 = fluid) and `weights` (quadrature weights, e.g. cell areas) broadcast to that shape: every ⟨·⟩ below is
the mean Σ w a / Σ w over the fluid cells alone, and values outside the mask are never read. A joint figure over
fields of different units is only meaningful after division by the problem's scales.

Of `xarray.DataArray`s, dimensions go by their names: `prediction`, `mask` and `weights` are brought into the order of
`target`, to which `axis` refers. Other dimensions or coordinates than the target's are refused. A DataArray beside a
plain array needs its shape. Masked arrays with masked values are refused.

Edge cases: a ratio 0 / 0 is 0 (a zero field predicted exactly), a / 0 is ∞; a NaN inside the mask stays a NaN.
"""

from __future__ import annotations

from itertools import pairwise

from sciml.errors import InputError
from sciml.metrics._array import Factor, Kept, Line, Values, mean, namespace, prepare, ratio
from sciml.metrics.sums import Axis, Sums


def _sums(prediction: Values, target: Values, mask: Factor, weights: Factor, axis: Axis) -> Sums:
    _, p, t, w = prepare(prediction, target, mask, weights)
    return Sums.of(p, t, weights=w, axis=axis)


def mse(prediction: Values, target: Values, *, mask: Factor = None, weights: Factor = None, axis: Axis = None) -> Kept:
    """Mean squared error, ⟨(p − t)²⟩, in the field's unit squared.

    CFDBench (Luo et al. 2023) averages over all pixels and channels, solid ones included as zeros; here the mean is
    over the fluid, which equals theirs divided by the fluid's share of the pixels.
    """
    return _sums(prediction, target, mask, weights, axis).mse


def nmse(prediction: Values, target: Values, *, mask: Factor = None, weights: Factor = None, axis: Axis = None) -> Kept:
    """Normalised mean squared error, ⟨(p − t)²⟩ / ⟨t²⟩ (CFDBench, Luo et al. 2023).

    The definition divides by the mean over whatever is reduced, so the axes decide between its variants:
    `axis=None` over a batch is CFDBench's training loss (a pooled ratio: frames with large values dominate);
    CFDBench's test score uses batches of one frame and averages the values, which is `nmse_per_frame`.
    The mask's share of the pixels cancels. A zero label gives 0 if predicted exactly, else ∞.
    """
    return _sums(prediction, target, mask, weights, axis).nmse


def nmse_per_frame(
    prediction: Values,
    target: Values,
    *,
    mask: Factor = None,
    weights: Factor = None,
    frame_ndim: int = 3,
    axis: Axis = None,
) -> Kept:
    """CFDBench's test score: the NMSE of each frame (its last `frame_ndim` axes: field, y, x), averaged over `axis`.

    `axis` counts within the leading axes that remain after the frame is reduced (all of them by default).
    Near-rest frames blow this figure up (a zero label that is not predicted exactly makes it ∞); the pooled `nmse`
    does not have that weakness, but there loud frames hide quiet ones. Report both.
    """
    ndim = len(prediction.shape)
    if not 1 <= frame_ndim <= ndim:
        raise InputError(f"frame_ndim: expected 1 to {ndim} for arrays of {ndim} axes, got {frame_ndim}")
    frames = nmse(prediction, target, mask=mask, weights=weights, axis=tuple(range(-frame_ndim, 0)))
    return namespace(frames).mean(frames, axis=axis)


def mae(prediction: Values, target: Values, *, mask: Factor = None, weights: Factor = None, axis: Axis = None) -> Kept:
    """Mean absolute error, ⟨|p − t|⟩ (CFDBench, Luo et al. 2023; the mean is over the fluid, see `mse`)."""
    return _sums(prediction, target, mask, weights, axis).mae


def rmse(prediction: Values, target: Values, *, mask: Factor = None, weights: Factor = None, axis: Axis = None) -> Kept:
    """Root mean squared error, √⟨(p − t)²⟩."""
    return _sums(prediction, target, mask, weights, axis).rmse


def relative_l2(
    prediction: Values, target: Values, *, mask: Factor = None, weights: Factor = None, axis: Axis = None
) -> Kept:
    """Relative L² error, ‖p − t‖ / ‖t‖ = √nmse over `axis`.

    The operator-learning literature (Li et al. 2021) takes it for each sample and averages:
    `relative_l2(p, t, axis=(1, 2, 3)).mean()` for arrays (sample, field, y, x).
    """
    return _sums(prediction, target, mask, weights, axis).relative_l2


def vrmse(
    prediction: Values,
    target: Values,
    *,
    mask: Factor = None,
    weights: Factor = None,
    axis: Axis = None,
    epsilon: float = 0.0,
) -> Kept:
    """Variance-scaled RMSE, √(⟨(p − t)²⟩ / (⟨(t − ⟨t⟩)²⟩ + ε)) (The Well, Ohana et al. 2024, where ε = 1e-7).

    1 is the score of predicting the target's mean. A constant target has no variance: 0 if met exactly, else ∞.
    """
    xp, p, t, w = prepare(prediction, target, mask, weights)
    centred = t - mean(xp, t, w, axis, keepdims=True)
    # rounding in the mean of a constant field must not pass for variance
    floor = (4 * xp.finfo(t.dtype).eps) ** 2 * mean(xp, t**2, w, axis)
    variance = mean(xp, centred**2, w, axis)
    variance = xp.where(variance <= floor, xp.zeros_like(variance), variance) + epsilon
    return xp.sqrt(ratio(xp, mean(xp, (p - t) ** 2, w, axis), variance))


def max_error(prediction: Values, target: Values, *, mask: Factor = None, axis: Axis = None) -> Kept:
    """Largest error, max |p − t| over the fluid."""
    xp, p, t, w = prepare(prediction, target, mask, None)
    mean(xp, t, w, axis)  # an empty mask is an error here as everywhere
    return xp.max(xp.abs(p - t), axis=axis)


def correlation(
    prediction: Values, target: Values, *, mask: Factor = None, weights: Factor = None, axis: Axis = None
) -> Kept:
    """Pearson correlation, ⟨p′t′⟩ / √(⟨p′²⟩⟨t′²⟩) with p′ = p − ⟨p⟩.

    Constant fields: 1 where both are constant (nothing is left to disagree about but the mean), 0 where one is.
    """
    xp, p, t, w = prepare(prediction, target, mask, weights)
    parts = []
    for a in (p, t):
        centred = a - mean(xp, a, w, axis, keepdims=True)
        variance = mean(xp, centred**2, w, axis)
        floor = (4 * xp.finfo(a.dtype).eps) ** 2 * mean(xp, a**2, w, axis)
        parts.append((centred, xp.where(variance <= floor, xp.zeros_like(variance), variance)))
    (dp, vp), (dt, vt) = parts
    constant = (vp == 0) | (vt == 0)
    # the two roots are taken apart so that their product cannot underflow
    scale = xp.sqrt(xp.where(constant, xp.ones_like(vp), vp)) * xp.sqrt(xp.where(constant, xp.ones_like(vt), vt))
    value = xp.clip(mean(xp, dp * dt, w, axis) / scale, -1.0, 1.0)
    both = (vp == 0) & (vt == 0)
    return xp.where(constant, xp.where(both, xp.ones_like(value), xp.zeros_like(value)), value)


def correlation_time(
    prediction: Values,
    target: Values,
    times: Line,
    *,
    mask: Factor = None,
    weights: Factor = None,
    threshold: float = 0.9,
    time_axis: int = 0,
) -> float:
    """Time until the correlation of prediction and target first falls below `threshold` (Lippe et al. 2023).

    Args:
        prediction, target: arrays with one axis of time, by default the first; all others are reduced.
        times: (time,) in the unit wanted, strictly increasing.
        threshold: 0.9 by default.

    The crossing is interpolated linearly between the two times that bracket it. If the first time is already below
    the threshold the result is `times[0]`; if none is (or NaN never shows up) it is ∞: not within the window seen.
    A NaN counts as below.
    """
    ndim = len(prediction.shape)
    keep = time_axis % ndim
    rho = correlation(prediction, target, mask=mask, weights=weights, axis=tuple(i for i in range(ndim) if i != keep))
    return time_below(rho, times, threshold)


def time_below(correlations: Line, times: Line, threshold: float = 0.9) -> float:
    """Time at which a course of correlations first falls below `threshold`; see `correlation_time`."""
    values = [float(r) for r in correlations]
    clock = [float(t) for t in times]
    if len(clock) != len(values):
        raise InputError(f"times: expected {len(values)} values, one for each frame, got {len(clock)}")
    if any(b <= a for a, b in pairwise(clock)):
        raise InputError("times: expected strictly increasing values")
    for i, value in enumerate(values):
        if value >= threshold:
            continue
        if i == 0 or value != value:
            return clock[i]
        before = values[i - 1]
        return clock[i - 1] + (clock[i] - clock[i - 1]) * (before - threshold) / (before - value)
    return float("inf")
