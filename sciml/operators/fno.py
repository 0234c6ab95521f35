"""Fourier neural operator on boxes in one, two and three dimensions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Self

from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from sciml import registry
from sciml.contracts import Signature
from sciml.errors import InputError, is_number, positive, suggest
from sciml.operators._fourier import FourierLayer, Perceptron
from sciml.operators._grid import (
    Embedding,
    GridOperator,
    crop,
    extend,
    grid_arguments,
    overlap_add,
    overlap_channels,
    per_axis,
    space_to_depth,
)
from sciml.operators._spectral import SpectralConv

NORMS = ("none", "group", "instance")
EXTENSIONS = ("window", "carry")


@registry.operators.register("fno")
class FNO(GridOperator):
    """Fourier neural operator: pointwise lift, Fourier layers, pointwise projection.

        v₀ = P(x),   v_{l+1} = layer_l(v_l),   y = Q(v_L)

    with P and Q two-layer perceptrons and the layers of `FourierLayer`. Any grid size works with the same weights.

    Args:
        in_channels, out_channels: channels of input and output.
        width: channels between the layers.
        modes: highest wavenumber kept on each axis; its length is the number of axes (1 to 3). (12, 12) keeps
            |k| ≤ 12, which covers the "12 modes" of the original paper and n_modes = 24 of neuraloperator. On a grid
            with fewer than 2 m points an axis, the wavenumbers up to its Nyquist wavenumber act.
        layers: number of Fourier layers.
        n_params: scalar parameters a sample, (batch, n_params): they shift the lift and modulate every layer.
        padding: length added for non-periodic domains, as a fraction of the domain, a number or one for each axis.
        extension: what is in the added length. "window": zero, anew in every layer; costs nothing with matrix
            products. "carry": the features go on living there between lift and projection, as in neuraloperator.
        padding_sides: for "carry": "end" adds `padding` after the domain, "both" adds it before and after.
        lift, projection: hidden width of P and Q as a multiple of `width`.
        mlp: hidden width of the channel MLP as a multiple of `width`; 0 leaves it out.
        norm: "none", "group" (one group) or "instance", after K and after the channel MLP.
        patch: side of the patches of points that the lift takes as channels; 2 works on a grid half as fine, at a
            quarter of the cost in two dimensions. The projection writes patches of twice the side, which overlap and
            add up. The layers then see no scales below the patch, and what the lift and projection do within it holds
            for one resolution: leave it at 1 where the grid is to change.
        coordinates, masked, sampling: see `GridOperator`.
        spectral: "auto", "matmul" or "fft": how the transforms are computed.

    A program made by `torch.export` transforms by products. It serves all batch sizes and, without "carry",
    grids of more than 2 m spacings (of patches) an axis, if these dimensions are exported as dynamic.

    Raises:
        InputError: an argument out of range, or tensors whose shapes do not fit.

    Source: Li, Kovachki, Azizzadenesheli, Liu, Bhattacharya, Stuart, Anandkumar, ICLR 2021; channel MLP and gate as in
    Kossaifi, Kovachki, Azizzadenesheli, Anandkumar, "Multi-grid tensorized Fourier neural operator", TMLR 2024.
    """

    name, title = "fno", "FNO"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int = 32,
        modes: int | Sequence[int] = (12, 12),
        layers: int = 4,
        n_params: int = 0,
        padding: float | Sequence[float] = 0.0,
        *,
        extension: str = "window",
        padding_sides: str = "end",
        lift: float = 2.0,
        projection: float = 2.0,
        mlp: float = 0.5,
        norm: str = "none",
        patch: int = 1,
        coordinates: bool = True,
        masked: bool = False,
        sampling: str = "centre",
        spectral: str = "auto",
    ):
        modes = tuple(modes) if isinstance(modes, Iterable) else (modes,)
        if not 1 <= len(modes) <= 3:
            raise InputError(f"modes: expected 1 to 3 numbers, one an axis, got {modes}")
        modes = tuple(positive("modes", m) for m in modes)
        super().__init__(
            in_channels,
            out_channels,
            len(modes),
            n_params=n_params,
            coordinates=coordinates,
            masked=masked,
            sampling=sampling,
        )
        for name, value, options in (
            ("norm", norm, NORMS),
            ("extension", extension, EXTENSIONS),
            ("padding_sides", padding_sides, ("end", "both")),
        ):
            if value not in options:
                raise InputError(f"{name}: expected one of {options}, got {value!r}{suggest(str(value), options)}")
        for name, value, least in (("lift", lift, 0.0), ("projection", projection, 0.0), ("mlp", mlp, -1e-9)):
            if not is_number(value) or not value > least:
                raise InputError(f"{name}: expected a number {'≥' if name == 'mlp' else '>'} 0, got {value!r}")
        self.width, self.modes, layers = positive("width", width), modes, positive("layers", layers)
        self.padding = per_axis("padding", padding, len(modes))
        if min(self.padding) < 0:
            raise InputError(f"padding: expected numbers ≥ 0, got {padding}")
        self.extension, self.padding_sides, self.norm = extension, padding_sides, norm
        self.lift_ratio, self.projection_ratio, self.mlp_ratio = float(lift), float(projection), float(mlp)
        self.spectral, self.patch = spectral, positive("patch", patch)
        cells = self.patch ** len(modes)  # points in a patch
        self.written = overlap_channels(out_channels, self.patch, len(modes))

        embedding = max(width, 32) if n_params else 0
        hidden = max(1, round(width * lift))
        self.lift = Perceptron(self.assembled_channels * cells, hidden, width)
        self.embedding = Embedding(n_params, embedding) if n_params else None
        self.lift_shift = nn.Linear(embedding, hidden) if n_params else None
        period = tuple(1.0 + p for p in self.padding) if extension == "window" else 1.0
        self.layers = nn.ModuleList(
            FourierLayer(
                width,
                SpectralConv(width, width, modes, period=period, sampling=sampling, spectral=spectral),
                mlp=mlp,
                norm=norm,
                embedding=embedding,
                last=i == layers - 1,
            )
            for i in range(layers)
        )
        self.projection = Perceptron(width, max(1, round(width * projection)), self.written)

    @classmethod
    def for_signature(cls, signature: Signature, **options: Any) -> Self:
        """As the data are: 12 modes an axis in one and two dimensions, 8 in three; periodic axes are never padded, also
        where one number is given as `padding` for all axes."""
        d = signature.dimensions
        if not 1 <= d <= 3:
            raise InputError(f"{cls.name}: dimensions: expected data on 1, 2 or 3 axes, got {d}")
        modes = options.get("modes")
        if isinstance(modes, Iterable) and len(modes := tuple(modes)) != d:
            raise InputError(f"{cls.name}: modes: expected {d} numbers, one an axis of the data, got {modes}")
        modes = (12 if d <= 2 else 8,) * d if modes is None else modes if isinstance(modes, tuple) else (modes,) * d
        padding = per_axis("padding", options.get("padding", 0.0), d)
        padding = [0.0 if signature.is_periodic(axis) else p for axis, p in enumerate(padding)]
        arguments = {"masked": signature.masked, **options, "modes": modes, "padding": padding}
        return cls(**grid_arguments(signature), **arguments)

    def config(self) -> dict[str, Any]:
        return {
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "width": self.width,
            "modes": list(self.modes),
            "layers": len(self.layers),
            "n_params": self.n_params,
            "padding": list(self.padding),
            "extension": self.extension,
            "padding_sides": self.padding_sides,
            "lift": self.lift_ratio,
            "projection": self.projection_ratio,
            "mlp": self.mlp_ratio,
            "norm": self.norm,
            "patch": self.patch,
            "coordinates": self.coordinates,
            "masked": self.masked,
            "sampling": self.sampling,
            "spectral": self.spectral,
        }

    def forward(
        self,
        x: Float[Tensor, "batch channel *space"],
        params: Float[Tensor, "batch n_params"] | None = None,
        mask: Shaped[Tensor, "#batch 1 *space"] | None = None,
        coords: Float[Tensor, "#batch dimension *space"] | None = None,
    ) -> Float[Tensor, "batch channel_out *space"]:
        """Apply the operator; arguments and result as in `GridOperator.forward`."""
        self.check(x, params, mask, coords)
        h = self.assemble(x, mask, coords)
        inside = None if mask is None else mask.to(h.dtype)
        if self.patch > 1:  # a patch is inside if any of its points is
            h = space_to_depth(extend(h, self.patch), self.patch)
            if inside is not None:
                inside = space_to_depth(extend(inside, self.patch), self.patch).amax(dim=1, keepdim=True)
        embedding = shift = None
        if self.embedding is not None and self.lift_shift is not None and params is not None:
            embedding = self.embedding(params.to(h.dtype))
            shift = self.lift_shift(embedding)

        v = self.lift(h.movedim(1, -1), shift)  # (batch, *space, width)
        v = v if inside is None else v * inside.movedim(1, -1)
        v = self.evolve(self.pad(v), embedding)
        y = self.projection(self.unpad(v, h.shape[2:])).movedim(-1, 1)
        y = y if inside is None else y * inside

        if self.patch > 1:  # axes that the layers take as periodic, for want of padding, are so here
            y = overlap_add(y, self.patch, [p == 0 for p in self.padding])
            y = crop(y, x.shape[2:])
            y = y if mask is None else y * mask.to(y.dtype)
        return y.contiguous()

    def evolve(
        self, v: Float[Tensor, "batch *space width"], embedding: Float[Tensor, "batch embedding"] | None
    ) -> Float[Tensor, "batch *space width"]:
        """v_L from v₀."""
        for layer in self.layers:
            v = self.through(layer, v, embedding)
        return v

    def pads(self, space: Sequence[int]) -> list[tuple[int, int]]:
        """Points added before and after each axis with extension="carry"."""
        if self.extension != "carry":
            return [(0, 0)] * len(space)
        extra = [round(p * n) if p else 0 for p, n in zip(self.padding, space, strict=True)]
        return [(n if self.padding_sides == "both" else 0, n) for n in extra]

    def pad(self, v: Float[Tensor, "batch *space channel"]) -> Tensor:
        """v continued by zeros to where the layers work."""
        widths = [n for pair in reversed(self.pads(v.shape[1:-1])) for n in pair]
        return F.pad(v, [0, 0, *widths]) if any(widths) else v

    def unpad(self, v: Float[Tensor, "batch *space channel"], space: Sequence[int]) -> Tensor:
        """The part of v on the domain itself, which has `space` points."""
        return v[(slice(None), *(slice(p, p + n) for (p, _), n in zip(self.pads(space), space, strict=True)))]

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, width={self.width}, modes={self.modes}"
