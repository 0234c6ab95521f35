"""Fourier neural operator on boxes in one, two and three dimensions."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Sequence
from typing import Any, Self, cast

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from sciml import registry
from sciml.contracts import Signature
from sciml.errors import InputError, is_number, positive, suggest
from sciml.operators._fourier import FourierLayer, Perceptron
from sciml.operators._fused import Plan, Workspace, samples_a_chunk
from sciml.operators._fused_layers import (
    Arena,
    ChainFunction,
    FourierLayerFunction,
    PerceptronFunction,
    Pool,
    layer_in_place,
    needs_plain,
    perceptron_chunk,
)
from sciml.operators._grid import (
    Embedding,
    GridOperator,
    extend,
    grid_arguments,
    overlap_add,
    overlap_channels,
    per_axis,
    space_to_depth,
)
from sciml.operators._parallel import shares, single
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
        fused: use the hand-written layers with their own backward pass wherever they apply (no norm, transforms by
            products). False runs the same mathematics as plain torch operations, through which any derivatives go. They
            are taken in any case under `torch.func` transforms and where an input is a leaf that requires a gradient;
            second derivatives through hand-written layers, as of inputs that come out of other operations, are refused
            with an error.

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
        fused: bool = True,
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
        self.spectral, self.fused, self.patch = spectral, bool(fused), positive("patch", patch)
        cells = self.patch ** len(modes)  # points in a patch
        self.written = overlap_channels(out_channels, self.patch, len(modes))
        self._pool = Pool()

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
            "fused": self.fused,
        }

    def fourier_layers(self) -> list[FourierLayer]:
        return [cast(FourierLayer, layer) for layer in self.layers]

    def forward(
        self,
        x: Float[Tensor, "batch channel *space"],
        params: Float[Tensor, "batch n_params"] | None = None,
        mask: Shaped[Tensor, "#batch 1 *space"] | None = None,
        coords: Float[Tensor, "#batch dimension *space"] | None = None,
    ) -> Float[Tensor, "batch channel_out *space"]:
        """Apply the operator; arguments and result as in `GridOperator.forward`."""
        self.check(x, params, mask, coords)
        space = tuple(-(-n // self.patch) for n in x.shape[2:])
        plan = self._plan(space)
        if plan is not None and needs_plain(x, params, mask, coords):
            plan = None
        # from here on nothing may keep other threads busy, if the layers are to have them
        several = plan is not None and len(shares(x.shape[0], x.shape[0] * math.prod(space) * self.width, x.device)) > 1
        with single() if several else contextlib.nullcontext():
            return self._forward(x, params, mask, coords, plan)

    def _forward(
        self, x: Tensor, params: Tensor | None, mask: Tensor | None, coords: Tensor | None, plan: Plan | None
    ) -> Tensor:
        if self.patch == 1:
            return self._apply_layers(self.assemble(x, mask, coords), params, mask, plan)
        fine = tuple(x.shape[2:])
        h = space_to_depth(extend(self.assemble(x, mask, coords), self.patch), self.patch)
        coarse = None  # a patch is inside if any of its points is
        if mask is not None:
            coarse = space_to_depth(extend(mask.to(h.dtype), self.patch), self.patch).amax(dim=1, keepdim=True)
        # axes that the layers take as periodic, for want of padding, are so here
        y = self._apply_layers(h, params, coarse, plan)
        y = overlap_add(y, self.patch, [p == 0 for p in self.padding])
        y = y[(..., *(slice(0, n) for n in fine))].contiguous()
        return y if mask is None else y * mask.to(y.dtype)

    def _apply_layers(self, x: Tensor, params: Tensor | None, mask: Tensor | None, plan: Plan | None) -> Tensor:
        """From assembled input channels to the output channels on the same grid."""
        if plan is None:
            return self._plain(x, params, mask)
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(self.lift.first.weight.dtype)
            if torch.is_grad_enabled():
                return self._fused(x, params, mask, plan)
            return self._inference(x, params, mask, plan)

    def _plan(self, space: Sequence[int]) -> Plan | None:
        """The transform matrices for this grid where the hand-written layers apply, else None."""
        if not self.fused or self.norm != "none" or torch.compiler.is_compiling():
            return None
        before, after = self.pads(space)
        points = [p + n + q for p, n, q in zip(before, space, after, strict=True)]
        spectral = self.fourier_layers()[0].spectral
        axes, _ = spectral.axes(points)
        return None if spectral.uses_fft(axes) else Plan(axes, self.lift.first.weight)

    def _plain(self, x: Tensor, params: Tensor | None, mask: Tensor | None) -> Tensor:
        batch, space = x.shape[0], tuple(x.shape[2:])
        h, embedding, shift = self._enter(x, params)
        v = self._pad(self._inside(self.lift(h, shift).reshape(batch, *space, self.width), mask))
        for layer in self.fourier_layers():
            v = layer(v, embedding)
        y = self.projection(self._unpad(v, space).reshape(batch, -1, self.width))
        return self._leave(y, space, mask)

    def _fused(self, x: Tensor, params: Tensor | None, mask: Tensor | None, plan: Plan) -> Tensor:
        batch, space = x.shape[0], tuple(x.shape[2:])
        arena = self._arena(x)
        h, embedding, shift = self._enter(x, params)
        layers = self.fourier_layers()
        if mask is None and tuple(plan.points) == space:  # nothing has to be done to whole fields in between
            stages: list[tuple[Any, tuple[Any, ...]]] = [(PerceptronFunction, (*self.lift.operands(shift), arena, 0))]
            for i, layer in enumerate(layers):
                operands = layer.operands(embedding, plan)
                stages.append((FourierLayerFunction, (*operands, plan, arena, i, layer.last)))
            stages.append((PerceptronFunction, (*self.projection.operands(None), arena, len(layers))))
            counts = [(function, len(inputs)) for function, inputs in stages]
            y = ChainFunction.apply(arena, counts, h, *(v for _, inputs in stages for v in inputs))
            if not y.requires_grad:
                arena.release()
            return self._leave(y, space, mask)
        v = PerceptronFunction.apply(h, *self.lift.operands(shift), arena, 0)
        v = self._pad(self._inside(v.reshape(batch, *space, self.width), mask)).reshape(batch, -1, self.width)
        for i, layer in enumerate(layers):
            v = FourierLayerFunction.apply(v, *layer.operands(embedding, plan), plan, arena, i, layer.last)
        v = self._unpad(v.reshape(batch, *plan.points, self.width), space).reshape(batch, -1, self.width)
        y = PerceptronFunction.apply(v, *self.projection.operands(None), arena, len(layers))
        if not y.requires_grad:
            arena.release()
        return self._leave(y, space, mask)

    def _inference(self, x: Tensor, params: Tensor | None, mask: Tensor | None, plan: Plan) -> Tensor:
        """No gradients: a few samples at a time go through the whole network, each layer written over its input."""
        space = tuple(x.shape[2:])
        points = math.prod(space)
        constant = [layer.operands(None, plan) for layer in self.fourier_layers()] if self.embedding is None else None
        out = x.new_empty(x.shape[0], self.written, *space)

        def work(index: int, part: slice, ws: Workspace) -> None:
            size = samples_a_chunk(points, self.width, x)
            for start in range(part.start, part.stop, size):
                s = slice(start, min(start + size, part.stop))
                n = s.stop - start
                ps, ms = (t if t is None or t.shape[0] != x.shape[0] else t[s] for t in (params, mask))
                h, embedding, shift = self._enter(x[s], ps)
                v = ws("state", n, points, self.width)
                perceptron_chunk(h, self.lift.operands(shift), ws, v)
                v = self._pad(self._inside(v.view(n, *space, self.width), ms)).reshape(n, -1, self.width)
                for i, layer in enumerate(self.fourier_layers()):
                    operands = layer.operands(embedding, plan) if constant is None else constant[i]
                    layer_in_place(v, operands, plan, ws, layer.last)
                v = self._unpad(v.view(n, *plan.points, self.width), space).reshape(n, -1, self.width)
                y = ws("result", n, points, self.written)
                perceptron_chunk(v, self.projection.operands(None), ws, y)
                out[s] = self._leave(y, space, ms)

        arena = self._arena(x)
        arena.run(work)
        arena.release()
        return out

    def _arena(self, x: Tensor) -> Arena:
        return self._pool.take(x.shape[0], x.shape[0] * math.prod(x.shape[2:]) * self.width, x)

    def _enter(self, x: Tensor, params: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Input channels (batch, point, channel), embedding of the parameters and the shift that they give the lift."""
        h = x.movedim(1, -1).reshape(x.shape[0], -1, x.shape[1])
        if self.embedding is None or self.lift_shift is None or params is None:
            return h, None, None
        embedding = self.embedding(params.to(h.dtype))
        return h, embedding, self.lift_shift(embedding)

    def _inside(self, v: Tensor, mask: Tensor | None) -> Tensor:
        return v if mask is None else v * mask.to(v.dtype).movedim(1, -1)

    def _pad(self, v: Tensor) -> Tensor:
        before, after = self.pads(v.shape[1:-1])
        if not any(after):
            return v
        widths = [0, 0]
        for p, q in zip(reversed(before), reversed(after), strict=True):
            widths += [p, q]
        return F.pad(v, widths)

    def _unpad(self, v: Tensor, space: Sequence[int]) -> Tensor:
        if tuple(v.shape[1:-1]) == tuple(space):
            return v
        before, _ = self.pads(space)
        return v[(slice(None), *(slice(p, p + n) for p, n in zip(before, space, strict=True)))]

    def _leave(self, y: Tensor, space: Sequence[int], mask: Tensor | None) -> Tensor:
        y = y.reshape(y.shape[0], *space, self.written).movedim(-1, 1).contiguous()
        return y if mask is None else y * mask.to(y.dtype)

    def pads(self, space: Sequence[int]) -> tuple[list[int], list[int]]:
        """Points added before and after each axis with extension="carry"."""
        if self.extension != "carry":
            return [0] * len(space), [0] * len(space)
        extra = [round(p * n) for p, n in zip(self.padding, space, strict=True)]
        return (extra if self.padding_sides == "both" else [0] * len(space)), extra

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, width={self.width}, modes={self.modes}"
