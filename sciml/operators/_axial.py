"""What operators of axial attention share: lift, features of the position, the grid, head."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from sciml.contracts import Signature
from sciml.errors import InputError, is_number, positive
from sciml.operators._fourier import Perceptron
from sciml.operators._grid import Embedding, GridOperator, flags, grid_arguments, grid_coordinates
from sciml.operators.layers.axial_attention import AxialAttention, Lattice, axis_lines, lattice, rotary_angles


class AxialOperator(GridOperator):
    """Lift, features of the position, steps of axial attention, head.

        u = P(x) + F(position),   u ← u + step · A(u),   y = Q(u)

    with P and Q two-layer perceptrons whose hidden width is width/2, and F a linear map of the cosines and sines of
    2π b·position for fixed random b.

    Args:
        in_channels, out_channels: channels of input and output.
        width: channels of u.
        heads, head_width: of the attention; head_width None for `width`.
        expansion: channels of q and k in a head over head_width.
        gain: of the initial weights of q and k, over Xavier's.
        rotation: fastest turn of the rotary embedding along an axis that is not periodic, in radians from end to end.
        waves: highest wavenumber of the rotary embedding on periodic axes.
        features: number of b; None for `width`, 0 for no features of the position.
        scale: standard deviation of b, in waves a box.
        periodic: whether axes are periodic, in the order of the arrays' axes, or one answer for all. On periodic axes
            rotary angles are whole multiples of 2π x and no feature of the position exists, so that to shift what
            comes in by whole cells shifts what goes out, where cells are equal. Not so in the published networks,
            which take every axis as one with two ends.
        n_params: scalar parameters a sample; they modulate every step.
        dimensions, masked, sampling: see `GridOperator`.
    """

    frequencies: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int,
        heads: int,
        head_width: int | None,
        n_params: int,
        dimensions: int,
        expansion: int,
        gain: float,
        rotation: float,
        waves: int,
        features: int | None,
        scale: float,
        periodic: bool | Sequence[bool],
        masked: bool,
        sampling: str,
    ):
        super().__init__(
            in_channels,
            out_channels,
            dimensions,
            n_params=n_params,
            coordinates=False,
            masked=masked,
            sampling=sampling,
        )
        if dimensions > 3:
            raise InputError(f"dimensions: expected 1, 2 or 3, got {dimensions}")
        self.width, self.heads = positive("width", width), positive("heads", heads)
        self.head_width = positive("head_width", width if head_width is None else head_width)
        self.expansion, self.waves = positive("expansion", expansion), positive("waves", waves, 0)
        if self.expansion * self.head_width % 2:
            raise InputError(
                f"head_width: expected expansion · head_width to be even, got {self.expansion} · {self.head_width}"
            )
        self.features = positive("features", width if features is None else features, 0)
        for name, value in (("gain", gain), ("rotation", rotation), ("scale", scale)):
            if not is_number(value) or not value > 0:
                raise InputError(f"{name}: expected a number > 0, got {value!r}")
        self.gain, self.rotation, self.scale = float(gain), float(rotation), float(scale)
        self.periodic = flags("periodic", periodic, dimensions)

        hidden, self.embedded = max(1, width // 2), max(width, 32) if n_params else 0
        self.embedding = Embedding(n_params, self.embedded) if n_params else None
        self.lift = Perceptron(self.assembled_channels, hidden, width)
        ends = [a for a, p in enumerate(self.periodic) if not p]
        self.placed = bool(self.features and ends)
        self.position = nn.Linear(2 * self.features, width, bias=False) if self.placed else None
        # drawn with the weights and stored among them, but never trained
        self.register_buffer("frequencies", self.scale * torch.randn(len(ends), self.features) if self.placed else None)
        self.head = Perceptron(width, hidden, out_channels)

    def block(self, parallel: bool) -> AxialAttention:
        """One more A with weights of its own."""
        return AxialAttention(
            self.dimensions, self.width, self.heads, self.head_width, self.expansion, parallel, self.gain, self.embedded
        )

    def steps(self) -> tuple[list[AxialAttention], float]:
        """The A of all steps in turn, and the size of a step."""
        raise NotImplementedError

    @classmethod
    def for_signature(cls, signature: Signature, **options: Any) -> Self:
        """As the data are, their periodic axes included."""
        if not 1 <= signature.dimensions <= 3:
            raise InputError(f"{cls.name}: dimensions: expected data on 1, 2 or 3 axes, got {signature.dimensions}")
        periodic = [bool(signature.is_periodic(a)) for a in range(signature.dimensions)]
        defaults = {"dimensions": signature.dimensions, "masked": signature.masked, "periodic": periodic}
        return cls(**grid_arguments(signature), **defaults | options)

    def config(self) -> dict[str, Any]:
        return {
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "width": self.width,
            "heads": self.heads,
            "head_width": self.head_width,
            "n_params": self.n_params,
            "dimensions": self.dimensions,
            "expansion": self.expansion,
            "gain": self.gain,
            "rotation": self.rotation,
            "waves": self.waves,
            "features": self.features,
            "scale": self.scale,
            "periodic": list(self.periodic),
            "masked": self.masked,
            "sampling": self.sampling,
        }

    def forward(
        self,
        x: Float[Tensor, "batch channel *space"],
        params: Float[Tensor, "batch n_params"] | None = None,
        mask: Shaped[Tensor, "#batch 1 *space"] | None = None,
        coords: Float[Tensor, "#batch dimension *space"] | None = None,
    ) -> Float[Tensor, "batch channel_out *space"]:
        """Apply the operator; arguments and result as in `GridOperator.forward`.

        `coords` are taken as those of a grid of all pairs (triples) of coordinates, which grow along their axes or fall
        along them: to turn an axis round, values and coordinates, turns what comes out.
        """
        self.check(x, params, mask, coords)
        h = self.assemble(x, mask, coords)
        lines = axis_lines(grid_coordinates(h.shape[2:], self.sampling, h)[None] if coords is None else coords.to(h))
        embedding = self.embedding(params.to(h.dtype)) if self.embedding is not None and params is not None else None
        u, grid = self.lift(h.movedim(1, -1)), self.grid(lines, mask)
        if self.position is not None:
            u = u + self.position(self.waves_at(lines))
        blocks, step = self.steps()
        for block in blocks:
            u = torch.add(u, self.through(block, u, grid, embedding), alpha=step)
        y = self.head(u).movedim(-1, 1)
        return (y if mask is None else y * mask.to(y.dtype)).contiguous()

    def grid(self, lines: list[Tensor], mask: Tensor | None) -> Lattice:
        """Quadrature weights and rotary angles on a grid with such coordinates along its axes."""
        pairs = self.expansion * self.head_width // 2
        angles = [
            rotary_angles(x, pairs, self.rotation, self.waves, p) for x, p in zip(lines, self.periodic, strict=True)
        ]
        return lattice(lines, angles, self.periodic, mask)

    def waves_at(self, lines: list[Tensor]) -> Float[Tensor, "batch *space feature"]:
        """Cosines and sines of 2π b·position, the position on axes that are not periodic; those are of size 1."""
        angle, number = torch.zeros((), dtype=lines[0].dtype, device=lines[0].device), 0
        for axis, x in enumerate(lines):
            if not self.periodic[axis]:
                shape = [x.shape[0], *(x.shape[1] if a == axis else 1 for a in range(self.dimensions)), 1]
                angle = angle + 2 * math.pi * x.reshape(shape) * self.frequencies[number]
                number += 1
        return torch.cat([torch.cos(angle), torch.sin(angle)], -1)

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, width={self.width}, periodic={self.periodic}"
