"""Truncated Fourier transforms of real fields, as matrix products or through an FFT.

A field sampled at s_j on a domain of length 1 that is continued by zero to the period L ≥ 1 has the coefficients

    X(k) = 1/(N L) Σ_j x(s_j) exp(-2πi k s_j / L),        x(s) = Σ_k X(k) exp(2πi k s / L),

of which only |k| ≤ m are wanted, with m about twelve. Summing them is a product with a small matrix, and on a CPU that
costs 4(m + 1) multiply-adds a point whatever the number of points: less than a full FFT, which computes all
coefficients, moves channels about and is then cropped. For large m the FFT wins; `prefers_fft` holds the measured
cost of both.

The fields are channels-last, (batch, *space, channel), so that each product has the remaining axes and the channels as
its long side. The first axis is taken as the half axis of the real transform: k₁ = 0 … m₁; the others hold all
wavenumbers in the order 0 … m, -1 … -m. With an even number of points and L = 1 the Nyquist coefficient belongs half to
+N/2 and half to -N/2, which makes the interpolant real and the transform exact on any other grid: a spectrum is cropped
or extended about k = 0.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

OnSpace = Float[Tensor, "batch *space channel"]
Coefficients = Float[Tensor, "batch mode 2 channel"]
SAMPLING = ("left", "centre", "ends")


@dataclass(frozen=True)
class Axis:
    """One axis of a transform.

    Args:
        points: number of samples N.
        modes: highest wavenumber m that is kept.
        period: length L of the period in units of the domain, ≥ 1.
        sampling: where the samples lie on [0, 1]: "left" j/N, "centre" (j + ½)/N, "ends" j/(N - 1).
    """

    points: int
    modes: int
    period: float
    sampling: str

    @property
    def intervals(self) -> int:
        """Number of spacings in the domain."""
        return self.points - 1 if self.sampling == "ends" and self.points > 1 else self.points

    @property
    def spacing(self) -> float:
        return 1.0 / self.intervals

    @property
    def offset(self) -> float:
        """Position of the first sample."""
        return 0.5 / self.points if self.sampling == "centre" else 0.0

    @property
    def samples_a_period(self) -> float:
        return self.period * self.intervals

    # The next three compare whole numbers, so that they also hold for a size that `torch.export` leaves open.

    @property
    def carries_all(self) -> bool:
        """Whether the grid carries all modes, that of its Nyquist wavenumber included."""
        return self.intervals >= math.ceil((2 * self.modes - 1e-9) / self.period)

    @property
    def highest(self) -> int:
        """The highest of the modes that the grid carries."""
        return self.modes if self.carries_all else math.floor(self.samples_a_period / 2 + 1e-9)

    @property
    def ends_at_nyquist(self) -> bool:
        """Whether the highest mode is the Nyquist mode."""
        intervals = round(2 * self.modes / self.period)
        return abs(2 * self.modes - self.period * intervals) < 1e-9 and self.intervals <= intervals

    def shares(self, half: bool, device: torch.device) -> Tensor:
        """½ for the Nyquist mode, which two wavenumbers share, and 1 for the others; float64, as `wavenumbers`."""
        one = torch.ones(self.modes + 1 if half else 2 * self.modes + 1, dtype=torch.float64, device=device)
        if self.ends_at_nyquist:
            one[self.modes :: self.modes] *= 0.5
        return one

    def positions(self, device: torch.device) -> Tensor:
        """s_j, float64."""
        return self.offset + self.spacing * torch.arange(self.points, dtype=torch.float64, device=device)

    def angles(self, wavenumbers: Tensor) -> Tensor:
        """2π k s_j / L, (wavenumber, point), float64."""
        return 2 * math.pi / self.period * torch.outer(wavenumbers.double(), self.positions(wavenumbers.device))


def wavenumbers(modes: int, half: bool, device: torch.device) -> Tensor:
    """0 … m on the half axis; 0 … m, -1 … -m on the others."""
    positive = torch.arange(modes + 1, device=device)
    return positive if half else torch.cat((positive, -positive[1:]))


_CACHE: OrderedDict[tuple, Tensor] = OrderedDict()
_CACHE_LIMIT = 256
_CAPTURED: list[Tensor] = []  # a captured graph reads these wherever they lie, so they have to stay


def cached(
    key: tuple, build: Callable[[torch.device], Tensor], like: Tensor, dtype: torch.dtype | None = None
) -> Tensor:
    """What `build` makes in float64, on the device and in the dtype of `like` (or in `dtype`), copied there once.

    On a second call of the same key nothing goes from host to device, so that what is computed with it can be captured
    as a graph. While a program is traced for export, `build` becomes part of it: the sizes are then those of the call.
    """
    dtype = like.dtype if dtype is None else dtype
    if torch.compiler.is_compiling():
        return build(like.device).to(dtype)
    key = (*key, dtype, str(like.device))
    found = _CACHE.get(key)
    if found is None:
        # A matrix made under inference_mode could never be saved for a later backward pass.
        with torch.inference_mode(False), torch.no_grad():
            found = build(torch.device("cpu")).to(device=like.device, dtype=dtype).contiguous()
        _CACHE[key] = found
        while len(_CACHE) > _CACHE_LIMIT:
            _CACHE.popitem(last=False)
    else:
        _CACHE.move_to_end(key)
    if like.is_cuda and torch.cuda.is_current_stream_capturing():
        _CAPTURED.append(found)
    return found


def analysis_matrix(axis: Axis, half: bool, like: Tensor) -> Tensor:
    """The forward transform along one axis as a real matrix.

    Returns:
        On the half axis, whose input is real: (2 (m + 1), N), rows ordered (k, part) with part = real, imaginary.
        On the others, whose input is complex: (2 (2m + 1), 2 N), columns ordered (part, point).
    """

    def build(device: torch.device) -> Tensor:
        k = wavenumbers(axis.modes, half, device)
        share = axis.shares(half, device)[:, None] / axis.samples_a_period
        angle = axis.angles(k)
        c, s = torch.cos(angle) * share, torch.sin(angle) * share
        if half:
            return torch.stack((c, -s), dim=1).reshape(-1, axis.points)
        rows = torch.stack((torch.cat((c, s), dim=1), torch.cat((-s, c), dim=1)), dim=1)
        return rows.reshape(-1, 2 * axis.points)

    return cached(("analysis", axis, half), build, like)


def synthesis_matrix(axis: Axis, half: bool, like: Tensor) -> Tensor:
    """The inverse transform along one axis as a real matrix.

    Returns:
        On the half axis, whose output is real: (N, 2 (m + 1)); on the others (2 N, 2 (2m + 1)).
    """

    def build(device: torch.device) -> Tensor:
        k = wavenumbers(axis.modes, half, device)
        angle = axis.angles(k).T
        c, s = torch.cos(angle), torch.sin(angle)
        if half:
            twice = torch.where(k == 0, 1.0, 2.0).double()
            return torch.stack((c * twice, -s * twice), dim=2).reshape(axis.points, -1)
        real = torch.stack((c, -s), dim=2).reshape(axis.points, -1)
        imaginary = torch.stack((s, c), dim=2).reshape(axis.points, -1)
        return torch.cat((real, imaginary), dim=0)

    return cached(("synthesis", axis, half), build, like)


def left_multiply(matrix: Tensor, z: Tensor) -> Tensor:
    """matrix (r, q) times each of z (n, q, c); the matrix is shared without being copied."""
    return torch.bmm(matrix.expand(z.shape[0], *matrix.shape), z)


def analyse(x: OnSpace, axes: Sequence[Axis]) -> Coefficients:
    """Coefficients of real fields by matrix products.

    Args:
        x: (batch, *space, channel).
        axes: one for each spatial axis.

    Returns:
        (batch, mode, 2, channel); modes in row-major order of (k₁, …, k_d), part = real, imaginary.
    """
    batch, channels = x.shape[0], x.shape[-1]
    rows = batch
    z = x
    for i, axis in enumerate(axes):
        half = i == 0
        rest = math.prod(a.points for a in axes[i + 1 :]) * channels
        z = left_multiply(analysis_matrix(axis, half, x), z.reshape(rows, (1 if half else 2) * axis.points, rest))
        rows *= axis.modes + 1 if half else 2 * axis.modes + 1
    return z.reshape(batch, math.prod([axes[0].modes + 1, *(2 * a.modes + 1 for a in axes[1:])]), 2, channels)


def synthesise(coefficients: Coefficients, axes: Sequence[Axis], add_to: OnSpace | None = None) -> OnSpace:
    """Real fields from coefficients (batch, mode, 2, channel), by matrix products; the inverse of `analyse`.

    Args:
        add_to: (batch, *space, channel) to which the field is added, at no cost beyond the product.
    """
    batch, channels = coefficients.shape[0], coefficients.shape[-1]
    counts = [axes[0].modes + 1] + [2 * a.modes + 1 for a in axes[1:]]
    z = coefficients
    for i in range(len(axes) - 1, 0, -1):
        rest = math.prod(a.points for a in axes[i + 1 :]) * channels
        z = z.reshape(batch * math.prod(counts[:i]), 2 * counts[i], rest)
        z = left_multiply(synthesis_matrix(axes[i], False, z), z).reshape(-1, 2, axes[i].points, rest)
    rest = math.prod(a.points for a in axes[1:]) * channels
    z = z.reshape(batch, 2 * counts[0], rest)
    matrix = synthesis_matrix(axes[0], True, z)
    if add_to is None:
        z = left_multiply(matrix, z)
    else:
        base = add_to.reshape(batch, axes[0].points, rest)
        z = torch.baddbmm(base, matrix.expand(batch, *matrix.shape), z)
    return z.reshape(batch, *(a.points for a in axes), channels)


def fft_fits(axis: Axis) -> bool:
    """Whether the period is a whole number of samples and holds them all, which the FFT needs."""
    whole = round(axis.samples_a_period)
    return whole >= axis.points and abs(axis.samples_a_period - whole) < 1e-6


def _phase(axes: Sequence[Axis], like: Tensor, sign: int) -> Tensor | None:
    """exp(∓2πi k·s₀/L) over the kept modes, because the FFT counts from the first sample; None where s₀ = 0."""
    if all(a.offset == 0.0 for a in axes):
        return None

    def build(device: torch.device) -> Tensor:
        total = torch.zeros((), dtype=torch.float64, device=device)
        for i, a in enumerate(axes):
            shift = 2 * math.pi * a.offset / a.period * wavenumbers(a.modes, i == 0, device).double()
            total = total[..., None] + shift
        return torch.stack((torch.cos(total), sign * torch.sin(total)), dim=-1).reshape(-1, 2)

    return cached(("phase", *axes, sign), build, like)


def _rotate(z: Tensor, phase: Tensor | None) -> Tensor:
    """z (batch, mode, 2, channel) times a complex number for each mode."""
    if phase is None:
        return z
    c, s = phase[:, 0, None], phase[:, 1, None]
    return torch.stack((z[:, :, 0] * c - z[:, :, 1] * s, z[:, :, 0] * s + z[:, :, 1] * c), dim=2)


def _share(axes: Sequence[Axis], like: Tensor) -> Tensor | None:
    """½ for each axis on which a mode is the Nyquist mode; None where there is none."""
    if not any(a.ends_at_nyquist for a in axes):
        return None

    def build(device: torch.device) -> Tensor:
        total = torch.ones((), dtype=torch.float64, device=device)
        for i, a in enumerate(axes):
            total = total[..., None] * a.shares(i == 0, device)
        return total.reshape(-1)

    return cached(("share", *axes), build, like)


def _entries(axis: Axis, size: int, like: Tensor) -> Tensor:
    """Where the spectrum of an FFT holds the kept wavenumbers: the negative ones stand at the end; where m is the
    Nyquist wavenumber, +m and -m are the same entry."""
    build = lambda device: torch.remainder(wavenumbers(axis.modes, False, device), size)  # noqa: E731
    return cached(("entries", axis.modes, size), build, like, torch.int64)


def analyse_fft(x: OnSpace, axes: Sequence[Axis]) -> Coefficients:
    """As `analyse`, through an FFT of the field continued by zero to its period."""
    batch, d = x.shape[0], len(axes)
    sizes = [round(a.samples_a_period) for a in axes]
    # Space last, and the half axis the very last: torch transforms contiguous lines several times faster.
    order = [0, d + 1, *range(2, d + 1), 1]
    z = torch.fft.rfftn(x.permute(order).contiguous(), s=[*sizes[1:], sizes[0]], dim=list(range(2, d + 2)))
    z = z[..., : axes[0].modes + 1]
    for i, a in enumerate(axes[1:]):
        z = z.index_select(2 + i, _entries(a, sizes[i + 1], x))
    z = torch.view_as_real(z) / math.prod(sizes)  # (batch, channel, k2, ..., kd, k1, 2)
    z = z.permute(0, d + 1, *range(2, d + 1), d + 2, 1).reshape(batch, -1, 2, x.shape[-1])
    share = _share(axes, x)
    if share is not None:
        z = z * share[:, None, None]
    return _rotate(z, _phase(axes, x, -1))


def synthesise_fft(coefficients: Coefficients, axes: Sequence[Axis], add_to: OnSpace | None = None) -> OnSpace:
    """As `synthesise`, through an inverse FFT on the period, cropped to the domain."""
    batch, channels, d = coefficients.shape[0], coefficients.shape[-1], len(axes)
    sizes = [round(a.samples_a_period) for a in axes]
    counts = [axes[0].modes + 1] + [2 * a.modes + 1 for a in axes[1:]]
    z = _rotate(coefficients, _phase(axes, coefficients, +1)).reshape(batch, *counts, 2, channels)
    # irfft reads the Nyquist entry once where +m and -m both contribute to the samples.
    if axes[0].ends_at_nyquist:
        z = torch.cat((z[:, :-1], 2 * z[:, -1:]), dim=1)
    z = torch.view_as_complex(z.permute(0, d + 2, *range(2, d + 1), 1, d + 1).contiguous())
    for i, a in enumerate(axes[1:]):
        shape = list(z.shape)
        shape[2 + i] = sizes[i + 1]
        index = _entries(a, sizes[i + 1], coefficients)
        z = torch.zeros(shape, dtype=z.dtype, device=z.device).index_add(2 + i, index, z)
    y = torch.fft.irfftn(z, s=[*sizes[1:], sizes[0]], dim=list(range(2, d + 2)), norm="forward")
    y = y[(slice(None), slice(None), *(slice(0, a.points) for a in (*axes[1:], axes[0])))]
    y = y.permute(0, d + 1, *range(2, d + 1), 1)
    return y.contiguous() if add_to is None else add_to + y


# Fitted to process times on one core of an AMD EPYC (Zen 4, AVX-512), float32, torch 2.13, over the sizes that
# benchmarks/speed_fno.py lists under "transform", where measured and declared times stand side by side.
_NS_MULTIPLY_ADD = 0.024  # of the products
_NS_PRODUCT_POINT = 0.45  # reading and writing the field
_NS_FFT_POINT, _NS_FFT_LOG2 = 0.25, 0.18  # a point and axis: transposes and copies; butterflies
_NS_FFT_COEFFICIENT = 10.0  # picking a kept coefficient out of the spectrum


def product_cost(axes: Sequence[Axis]) -> float:
    """Declared cost of `analyse` in nanoseconds a field (one channel of one sample)."""
    total, rows = 0.0, 1.0
    points = math.prod(a.points for a in axes)
    for i, a in enumerate(axes):
        # the first matrix is real; the others are complex in and out, as real blocks
        total += 2 * (a.modes + 1) * points if i == 0 else 2 * (2 * a.modes + 1) * 2 * rows * points
        rows *= (a.modes + 1 if i == 0 else 2 * a.modes + 1) / a.points
    return total * _NS_MULTIPLY_ADD + points * _NS_PRODUCT_POINT


def fft_cost(axes: Sequence[Axis]) -> float:
    """Declared cost of `analyse_fft` in nanoseconds a field."""
    points = math.prod(a.samples_a_period for a in axes)
    kept = math.prod(a.modes + 1 if i == 0 else 2 * a.modes + 1 for i, a in enumerate(axes))
    each = len(axes) * (_NS_FFT_POINT + _NS_FFT_LOG2 * math.log2(max(points, 2)))
    return points * each + kept * _NS_FFT_COEFFICIENT


def prefers_fft(axes: Sequence[Axis]) -> bool:
    """Whether the declared cost model gives the transform to the FFT. A program traced for export takes products, which
    hold for every size."""
    return not torch.compiler.is_compiling() and all(fft_fits(a) for a in axes) and fft_cost(axes) < product_cost(axes)
