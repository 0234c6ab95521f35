"""Convolution on the lowest Fourier modes, in real arithmetic.

    y(s) = Σ_{|k| ≤ m} R(k) X(k) exp(2πi k·s / L)

with a complex matrix R(k) of input by output channels for each mode. R is stored as reals, ordered so that a mode is
one contiguous matrix [Re R | Im R]: real and imaginary parts of X are stacked as rows and meet it in a single product.

Source: Li, Kovachki, Azizzadenesheli, Liu, Bhattacharya, Stuart, Anandkumar, "Fourier neural operator for parametric
partial differential equations", ICLR 2021, equation (4).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.errors import InputError, suggest
from sciml.operators._transform import (
    SAMPLING,
    Axis,
    analyse,
    analyse_fft,
    fft_fits,
    prefers_fft,
    synthesise,
    synthesise_fft,
)

SPECTRAL = ("auto", "matmul", "fft")


def mode_counts(modes: Sequence[int]) -> list[int]:
    """Number of stored wavenumbers on each axis: 0 … m on the first; 0 … m, -1 … -m on the others."""
    return [modes[0] + 1] + [2 * m + 1 for m in modes[1:]]


def crop_modes(weight: Tensor, modes: Sequence[int], keep: Sequence[int]) -> Tensor:
    """Weights (*counts, ...) of the wavenumbers |k_j| ≤ keep_j."""
    if tuple(modes) == tuple(keep):
        return weight
    weight = weight[: keep[0] + 1]
    for axis, (m, q) in enumerate(zip(modes[1:], keep[1:], strict=True), start=1):
        if q < m:
            weight = torch.cat((weight.narrow(axis, 0, q + 1), weight.narrow(axis, m + 1, q)), dim=axis)
    return weight


def mix(
    coefficients: Float[Tensor, "batch mode 2 channel_in"], weight: Float[Tensor, "mode channel_in twice_channel_out"]
) -> Float[Tensor, "batch mode 2 {weight.shape[-1]//2}"]:
    """R(k) X(k) for all modes.

    Args:
        coefficients: (batch, mode, 2, channel in).
        weight: (mode, channel in, 2 · channel out), [Re R | Im R].

    Returns:
        (batch, mode, 2, channel out).
    """
    batch, count, _, channels = coefficients.shape
    rows = coefficients.permute(1, 2, 0, 3).reshape(count, 2 * batch, channels)
    of_real, of_imaginary = torch.bmm(rows, weight).reshape(count, 2, batch, 2, -1).unbind(1)
    (rr, ri), (ir, ii) = of_real.unbind(2), of_imaginary.unbind(2)
    return torch.stack((rr - ii, ri + ir), dim=2).transpose(0, 1)


class SpectralConv(nn.Module):
    """Convolution with a kernel of finitely many Fourier modes on a box.

    Args:
        in_channels, out_channels: channels.
        modes: highest wavenumber kept on each axis. On a grid too coarse for it (|k| > N/2) the lower ones alone act.
        period: length of the period on each axis in units of the domain; above 1 the field is continued by zero.
        sampling: where the samples lie, see `Axis`; it matters where the output grid differs from the input's.
        spectral: "matmul", "fft", or "auto": whichever the declared cost model expects to be faster.

    Raises:
        InputError: for an unknown `spectral` or `sampling`, or for "fft" where a period is no whole number of samples.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        modes: Sequence[int],
        *,
        period: float | Sequence[float] = 1.0,
        sampling: str = "centre",
        spectral: str = "auto",
    ):
        super().__init__()
        if spectral not in SPECTRAL:
            raise InputError(f"spectral: expected one of {SPECTRAL}, got {spectral!r}{suggest(spectral, SPECTRAL)}")
        if sampling not in SAMPLING:
            raise InputError(f"sampling: expected one of {SAMPLING}, got {sampling!r}{suggest(sampling, SAMPLING)}")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.modes = tuple(int(m) for m in modes)
        if not self.modes or min(self.modes) < 0:
            raise InputError(f"modes: expected one number ≥ 0 for each axis, got {tuple(modes)}")
        d = len(self.modes)
        self.period = (float(period),) * d if isinstance(period, int | float) else tuple(float(p) for p in period)
        if len(self.period) != d or min(self.period) < 1.0:
            raise InputError(f"period: expected {d} numbers ≥ 1, got {self.period}")
        self.sampling = sampling
        self.spectral = spectral
        self.weight = nn.Parameter(torch.empty(*mode_counts(self.modes), in_channels, 2 * out_channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """R(k) complex normal with variance 1/(channels in + channels out) in each part."""
        nn.init.normal_(self.weight, std=math.sqrt(1.0 / (self.in_channels + self.out_channels)))

    def axes(self, points: Sequence[int], out: Sequence[int] | None = None) -> tuple[list[Axis], list[Axis]]:
        """The axes of the forward and of the inverse transform, with the modes that both grids carry."""
        out = points if out is None else out
        keep = []
        for m, n, q, period in zip(self.modes, points, out, self.period, strict=True):
            grids = (Axis(n, m, period, self.sampling), Axis(q, m, period, self.sampling))
            keep.append(min(g.highest for g in grids))

        def make(sizes: Sequence[int]) -> list[Axis]:
            return [Axis(n, m, p, self.sampling) for n, m, p in zip(sizes, keep, self.period, strict=True)]

        return make(points), make(out)

    def uses_fft(self, axes: Sequence[Axis]) -> bool:
        """Which path the transform on these axes takes. A program made by `torch.export` takes products, which hold for
        every size, and which ONNX has too."""
        if torch.compiler.is_exporting():
            return False
        if self.spectral == "fft" and not all(fft_fits(a) for a in axes):
            raise InputError(
                "spectral: 'fft' needs a period of a whole number of samples, all of them in it; got "
                + ", ".join(f"{a.samples_a_period:g}" for a in axes)
            )
        return self.spectral == "fft" or (self.spectral == "auto" and prefers_fft(axes))

    def forward(
        self,
        x: Float[Tensor, "batch *space {self.in_channels}"],
        out_points: Sequence[int] | None = None,
        add_to: Float[Tensor, "batch *out channel"] | None = None,
        gain: Float[Tensor, "batch {self.out_channels}"] | None = None,
        then: Float[Tensor, "{self.out_channels} channel"] | None = None,
    ) -> Float[Tensor, "batch *out channel"]:
        """Apply the convolution.

        Args:
            x: (batch, *space, channel in), real, channels last.
            out_points: size of the output grid; the input's where None.
            add_to: (batch, *out_points, channel out) to add the result to.
            gain: (batch, channel out) that multiplies the coefficients.
            then: (channel out, channel) of a pointwise map that follows; it is applied to the coefficients.

        Returns:
            (batch, *out_points, channel out), or the channels of `then`.
        """
        device = x.device.type
        if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
            with torch.autocast(device, enabled=False):  # low precision would spoil the transforms
                operands = (None if t is None else t.to(self.weight.dtype) for t in (add_to, gain, then))
                return self.forward(x.to(self.weight.dtype), out_points, *operands)
        forward_axes, inverse_axes = self.axes(x.shape[1:-1], out_points)
        weight = crop_modes(self.weight, self.modes, [a.modes for a in forward_axes])
        weight = weight.reshape(-1, self.in_channels, 2 * self.out_channels)
        to = analyse_fft if self.uses_fft(forward_axes) else analyse
        back = synthesise_fft if self.uses_fft(inverse_axes) else synthesise
        y = mix(to(x, forward_axes), weight)
        if gain is not None:
            y = y * gain[:, None, None, :]
        if then is not None:
            y = y @ then
        return back(y, inverse_axes, add_to)

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, modes={self.modes}, period={self.period}, {self.spectral}"
