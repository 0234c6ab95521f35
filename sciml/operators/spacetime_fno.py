"""A Fourier neural operator on trajectories: all frames of a window at once, at any times in it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from sciml import registry
from sciml.contracts import Signature
from sciml.errors import InputError, is_number, positive
from sciml.operators._fourier import FourierLayer, Perceptron, Pointwise, pointwise
from sciml.operators._grid import Embedding, GridOperator, grid_arguments, per_axis
from sciml.operators._spectral import SpectralConv
from sciml.operators._transform import Axis, analyse, cached, synthesise


@registry.operators.register("spacetime_fno")
class SpaceTimeFNO(GridOperator):
    """Frames of a window τ ∈ (0, 1] from past frames, by spectral convolutions in space and time:

        v₀(s, x) = P(u₋ₙ(x), ..., u₀(x), x, e(s)),   v_{l+1} = layer_l(v_l),   w = σ(A v_L + a),
        y(τ) = Σ_s ℓ_s(τ) E (K w + B w + b)(s)

    P is a perceptron, e(s) = (s, e^{βs} sin πms, e^{βs} cos πms) says how late it is, the layers are those of
    `FourierLayer` on the axes (s, *space), with the features continued by zero to twice the window, since time has no
    period. They live on a *latent* lattice: `steps` times s = 0 ... 1 and, along periodic axes, `points` cells, onto
    which the past frames are brought mode by mode. The last layer is linear: a spectral convolution K and a pointwise
    map B. E brings each of its frames back onto the grid, mode by mode, and ℓ_s are the cubic splines with
    ℓ_s(s') = δ_ss' at the latent times. So the number of frames and of cells asked for is free: `forward` takes any
    times. Weights serve all of them.

    With `Window(n_in, n_out)` one application answers the times τ = 1/n_out, 2/n_out, ..., 1; fewer frames are the
    first of these, and more come from applying it again.

    Args:
        in_channels, out_channels, n_params: see `GridOperator`.
        frames_out: frames of the window, n_out: the out_channels are those of one frame after another.
        periodic: for each axis of space, in the order of the arrays' axes, whether it is periodic.
        masked: see `GridOperator`; masks, and cells that are not equal, leave the latent grid that of the data.
        width: channels between the layers.
        modes: highest wavenumber kept along each axis of space.
        time_modes: highest that is kept in time, in waves across twice the window.
        layers: number of Fourier layers.
        steps: latent times, at least 4.
        points: most latent cells along periodic axes, a number or one an axis; None for those of the grid. At least
            twice the modes; waves that they do not carry are not seen, and no increments of them are made.
        waves: M of e(s), m = 1 ... M.
        growth: β.
        padding: length added along axes that are not periodic, as a share of the domain.
        mlp: as of `FNO`.
        coordinates, sampling: see `GridOperator`.

    Raises:
        InputError: an argument out of range, tensors whose shapes do not fit.

    Source: S. Cao, F. Brarda, R. Li, Y. Xi, "Spectral-Refiner: accurate fine-tuning of spatiotemporal Fourier neural
    operator for turbulent flows", ICLR 2025, section 3, for the window as an axis of the convolution and the linear
    last layer.
    """

    name, title = "spacetime_fno", "SpaceTimeFNO"
    frames: ClassVar = (4, 40)
    decided: ClassVar = {**GridOperator.decided, "frames_out": "frames_out", "periodic": "periodic", "masked": "masked"}

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        n_params: int = 0,
        frames_out: int = 1,
        periodic: Sequence[bool] = (),
        masked: bool = False,
        *,
        width: int = 20,
        modes: int | Sequence[int] = (12, 12),
        time_modes: int = 5,
        layers: int = 4,
        steps: int = 10,
        points: int | Sequence[int] | None = None,
        waves: int = 4,
        growth: float = 0.01,
        padding: float = 0.0,
        mlp: float = 0.5,
        coordinates: bool = True,
        sampling: str = "centre",
    ):
        modes = tuple(modes) if isinstance(modes, Iterable) else (modes,)
        if not 1 <= len(modes) <= 3:
            raise InputError(f"modes: expected 1 to 3 numbers, one an axis of space, got {modes}")
        d = len(modes)
        super().__init__(
            in_channels, out_channels, d, n_params=n_params, coordinates=coordinates, masked=masked, sampling=sampling
        )
        self.modes = tuple(positive("modes", m) for m in modes)
        self.time_modes, self.frames_out = positive("time_modes", time_modes), positive("frames_out", frames_out)
        if out_channels % frames_out:
            raise InputError(f"frames_out: {out_channels} channels are not those of {frames_out} frames")
        self.periodic = tuple(bool(p) for p in periodic) + (False,) * (d - len(periodic))
        self.width, layers, self.steps = (
            positive("width", width),
            positive("layers", layers),
            positive("steps", steps, 4),
        )
        self.waves, self.padding, self.growth = positive("waves", waves, 0), padding, growth
        for key, value, least in (("padding", padding, 0.0), ("mlp", mlp, 0.0)):
            if not is_number(value) or value < least:
                raise InputError(f"{key}: expected a number ≥ 0, got {value!r}")
        if not is_number(growth):
            raise InputError(f"growth: expected a number, got {growth!r}")
        self.mlp_ratio, self.padding, self.growth = float(mlp), float(padding), float(growth)
        self.points = None if points is None else tuple(int(p) for p in per_axis("points", points, d))
        for p, m in zip(self.points or (), self.modes, strict=False):
            if p < 2 * m:
                raise InputError(f"points: expected at least twice the modes {self.modes}, got {self.points}")

        embedding = max(width, 32) if n_params else 0
        hidden = 2 * width
        self.lift = Perceptron(self.assembled_channels, hidden, width)
        self.clock = nn.Parameter(torch.empty(1 + 2 * self.waves, hidden).uniform_(-1, 1) / math.sqrt(1 + 2 * waves))
        self.embedding = Embedding(n_params, embedding) if n_params else None
        self.lift_shift = nn.Linear(embedding, hidden) if n_params else None
        period = (2.0, *(1.0 if p else 1.0 + self.padding for p in self.periodic))
        kept = (self.time_modes, *self.modes)
        spectral: dict[str, Any] = {"period": period, "sampling": sampling}
        self.layers = nn.ModuleList(
            FourierLayer(
                width, SpectralConv(width, width, kept, **spectral), mlp=mlp, norm="none", embedding=embedding,
                last=i == layers - 1,
            )
            for i in range(layers)
        )  # fmt: skip
        self.projection = Pointwise(width, hidden)
        self.last = SpectralConv(hidden, self.channels, kept, **spectral)
        self.last_pointwise = Pointwise(hidden, self.channels)

    @property
    def channels(self) -> int:
        """Of a frame."""
        return self.out_channels // self.frames_out

    @classmethod
    def for_signature(cls, signature: Signature, **options: Any) -> Self:
        """As the data are: 12 modes an axis in one and two dimensions, 8 in three, on a latent grid of 32 cells along
        periodic axes that have more."""
        d = signature.dimensions
        if not 1 <= d <= 3:
            raise InputError(f"{cls.name}: dimensions: expected data on 1, 2 or 3 axes, got {d}")
        modes = options.get("modes", 12 if d <= 2 else 8)
        modes = tuple(modes) if isinstance(modes, Iterable) else (modes,) * d
        if len(modes) != d:
            raise InputError(f"{cls.name}: modes: expected {d} numbers, one an axis of the data, got {modes}")
        arguments = {"points": [max(32, 2 * m) for m in modes], **options, "modes": modes}
        around = [signature.is_periodic(axis) for axis in range(d)]
        given = {"frames_out": signature.frames_out, "periodic": around, "masked": signature.masked}
        return cls(**grid_arguments(signature), **given, **arguments)

    def config(self) -> dict[str, Any]:
        return {
            "in_channels": self.in_channels, "out_channels": self.out_channels, "n_params": self.n_params,
            "frames_out": self.frames_out, "periodic": list(self.periodic), "masked": self.masked, "width": self.width,
            "modes": list(self.modes), "time_modes": self.time_modes, "layers": len(self.layers), "steps": self.steps,
            "points": None if self.points is None else list(self.points), "waves": self.waves, "growth": self.growth,
            "padding": self.padding, "mlp": self.mlp_ratio, "coordinates": self.coordinates, "sampling": self.sampling,
        }  # fmt: skip

    def forward(
        self,
        x: Float[Tensor, "batch channel *space"],
        params: Float[Tensor, "batch n_params"] | None = None,
        mask: Shaped[Tensor, "#batch 1 *space"] | None = None,
        coords: Float[Tensor, "#batch dimension *space"] | None = None,
        times: Float[Tensor, " frame"] | None = None,
    ) -> Float[Tensor, "batch channel_out *space"]:
        """Apply the operator; arguments and result as in `GridOperator.forward`.

        Args:
            times: (frame,) τ in [0, 1], shares of the window; by default 1/frames_out, ..., 1. The result has their
                frames one after another as its channels.
        """
        self.check(x, params, mask, coords)
        space = x.shape[2:]
        w = self.hidden(x, params, mask, coords)
        frames = self.last(w, add_to=self.last_pointwise(w))  # (batch, steps, *latent, channel)
        split = self.splines(self.steps, self.frames_out, w) if times is None else _splines(self.steps, times.to(w))
        # what is linear in space and what is linear in time may be applied in either order: the fewer frames first
        wide = _resample(frames.flatten(0, 1), space, self.periodic, self.sampling)
        wide = wide.reshape(x.shape[0], self.steps, *space, self.channels)
        y = torch.einsum("ts,bs...->bt...", split, wide).movedim(-1, 2)
        y = y.flatten(1, 2)
        return (y if mask is None else y * mask.to(y.dtype)).contiguous()

    def hidden(
        self,
        x: Float[Tensor, "batch channel *space"],
        params: Float[Tensor, "batch n_params"] | None = None,
        mask: Shaped[Tensor, "#batch 1 *space"] | None = None,
        coords: Float[Tensor, "#batch dimension *space"] | None = None,
    ) -> Float[Tensor, "batch step *latent hidden"]:
        """w, on which the last layer acts."""
        space = x.shape[2:]
        wanted = zip(space, self.points or space, self.periodic, strict=True)
        whole = mask is not None or coords is not None  # what is not alike at all points has no waves to go by
        latent = [min(n, p) if around and not whole else n for n, p, around in wanted]
        seen = _resample(x.to(self.dtype).movedim(1, -1), latent, self.periodic, self.sampling).movedim(-1, 1)
        embedding = shift = None
        if self.embedding is not None and self.lift_shift is not None and params is not None:
            embedding = self.embedding(params.to(seen.dtype))
            shift = self.lift_shift(embedding)
        h = self.assemble(seen, mask, coords).movedim(1, -1)
        bias = self.lift.first.bias
        h = pointwise(h, self.lift.first.weight, bias if shift is None or bias is None else bias + shift)
        late = cached(("clock", self.steps, self.waves, self.growth), self._clock, h) @ self.clock
        late = late.reshape(self.steps, *[1] * self.dimensions, -1)
        v = self.lift.second(F.gelu(h[:, None] + late))
        v = v if mask is None else v * mask.to(v.dtype)[:, 0, None, ..., None]
        for layer in self.layers:
            v = self.through(layer, v, embedding)
        return F.gelu(self.projection(v))

    def _clock(self, device: torch.device) -> Tensor:
        """e(s), (step, 1 + 2 waves), float64."""
        s = torch.linspace(0, 1, self.steps, dtype=torch.float64, device=device)[:, None]
        m = math.pi * torch.arange(1, self.waves + 1, dtype=torch.float64, device=device)
        return torch.cat(
            (s, torch.exp(self.growth * s) * torch.sin(m * s), torch.exp(self.growth * s) * torch.cos(m * s)), 1
        )

    @staticmethod
    def splines(steps: int, frames: int, like: Tensor) -> Float[Tensor, "frame step"]:
        """ℓ_s at the times of a window's frames."""

        def build(device: torch.device) -> Tensor:
            return _splines(steps, torch.arange(1, frames + 1, dtype=torch.float64, device=device) / frames)

        return cached(("splines", steps, frames), build, like)

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, frames_out={self.frames_out}, width={self.width}, "
            f"modes={(self.time_modes, *self.modes)}"
        )  # fmt: skip


def _splines(steps: int, times: Float[Tensor, " frame"]) -> Float[Tensor, "frame step"]:
    """ℓ_s(τ) of the cubic spline through values at `steps` equal times on [0, 1] whose third derivative is continuous
    at the second and at the last but one (not-a-knot): cubic polynomials are met exactly.

    With unit spacing and second derivatives M it is, between two times and with b = its share of the way, a = 1 − b,
    a y₀ + b y₁ + ((a³ − a) M₀ + (b³ − b) M₁)/6.
    """
    n, like = steps, times
    y = torch.eye(n, dtype=torch.float64, device=like.device)
    rows = torch.zeros(n, n, dtype=torch.float64, device=like.device)
    right = torch.zeros(n, n, dtype=torch.float64, device=like.device)
    inner = torch.arange(1, n - 1, device=like.device)
    rows[inner, inner - 1], rows[inner, inner], rows[inner, inner + 1] = 1 / 6, 2 / 3, 1 / 6
    right[1:-1] = y[:-2] - 2 * y[1:-1] + y[2:]
    for row, (i, j, k) in ((0, (0, 1, 2)), (n - 1, (n - 3, n - 2, n - 1))):
        rows[row, i], rows[row, j], rows[row, k] = 1.0, -2.0, 1.0
    curvature = torch.linalg.solve(rows, right)
    place = times.double().clamp(0, 1) * (n - 1)
    left = place.floor().long().clamp(max=n - 2)
    b = (place - left)[:, None]
    a = 1 - b
    found = a * y[left] + b * y[left + 1] + ((a**3 - a) * curvature[left] + (b**3 - b) * curvature[left + 1]) / 6
    return found.to(like.dtype)


def _resample(
    x: Float[Tensor, "batch *space channel"], points: Sequence[int], periodic: Sequence[bool], sampling: str
) -> Float[Tensor, "batch *out channel"]:
    """The trigonometric interpolant of x along its periodic axes, on other points; waves that do not fit are left out.
    The other axes keep theirs."""
    for axis, (n, around) in enumerate(zip(points, periodic, strict=True)):
        m = x.shape[1 + axis]
        if n == m:
            continue
        if not around:
            raise InputError(
                f"points: axis {axis} has {m} points and is not periodic, expected {m} of the answer, got {n}"
            )
        line = x.movedim(1 + axis, 1)
        shape, most = line.shape, min(m, n) // 2
        have, want = Axis(m, most, 1.0, sampling), Axis(n, most, 1.0, sampling)
        line = synthesise(analyse(line.reshape(shape[0], m, -1), [have]), [want])
        x = line.reshape(shape[0], n, *shape[2:]).movedim(1, 1 + axis)
    return x
