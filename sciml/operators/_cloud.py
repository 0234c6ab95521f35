"""What operators on clouds of points share: arguments, checks, how points come in and answers go out."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from sciml.contracts import CloudBatch, Function, Operator, Signature
from sciml.errors import InputError, positive
from sciml.operators._points import counted, finite, fitting, only, perceptron, tensors
from sciml.operators.layers.attention import HeterogeneousAttention, Source, check_heads, shares


class CloudOperator(Operator):
    """Fields at any points to fields at these points, by blocks on vectors h of the points; abstract.

        h = lift(s, waves(s), values, params),   h ← block(h) for all blocks,   answer = head(norm h)

    Sums over points are quadratures; see `CloudBatch`. Input functions at points of their own are read once, after
    the lifting, by heterogeneous attention, where a subclass does not do so in all of its blocks.

    Args:
        in_channels, out_channels: channels of the values and of the answer.
        dimensions: coordinates of a point (space, and time where the network is asked for times).
        n_params: scalar parameters a sample; every point gets them.
        functions: (channels, dimensions) of every input function.
        width: of the vectors; a multiple of `heads`.
        depth: blocks.
        heads: of the attention.
        frequencies: points also come as cos(πks) and sin(πks) of every coordinate s, k = 1 … frequencies: with points
            on the unit box, waves down to a length of 2/frequencies.
    """

    takes: ClassVar = CloudBatch
    decided: ClassVar = {
        "in_channels": "channels_in",
        "out_channels": "channels_out",
        "dimensions": "dimensions",
        "n_params": "n_params",
        "functions": "functions",
    }
    #: whether functions are read once, after the lifting
    reads_once: ClassVar[bool] = True

    blocks: nn.ModuleList

    def __init__(
        self, in_channels: int, out_channels: int, dimensions: int, n_params: int,
        functions: Sequence[Sequence[int]], width: int, depth: int, heads: int, frequencies: int,
    ):  # fmt: skip
        super().__init__()
        self.in_channels = positive("in_channels", in_channels, 0)
        self.out_channels = positive("out_channels", out_channels)
        self.dimensions, self.n_params = positive("dimensions", dimensions), positive("n_params", n_params, 0)
        self.functions = tuple((positive("functions", c), positive("functions", d)) for c, d in functions)
        self.width, self.depth = positive("width", width), positive("depth", depth)
        self.heads, self.frequencies = positive("heads", heads), positive("frequencies", frequencies, 0)
        check_heads(width, heads)
        waves = 1 + 2 * self.frequencies  # numbers that come of a coordinate
        self.lift = perceptron([dimensions * waves + in_channels + n_params, 2 * width, width], "gelu", last=False)
        self.sources = nn.ModuleList(
            perceptron([d * waves + c, 2 * width, width], "gelu", last=False) for c, d in self.functions
        )
        self.reading = None
        if self.functions and self.reads_once:
            self.reading = HeterogeneousAttention(width, heads, len(self.functions))
        self.norm = nn.LayerNorm(width)
        self.head = perceptron([width, width, out_channels], "gelu", last=False)

    @classmethod
    def for_signature(cls, signature: Signature, **options: Any) -> Self:
        """As the data are."""
        return cls(
            signature.channels_in, signature.channels_out, signature.dimensions, signature.n_params,
            [(f.channels, f.dimensions) for f in signature.functions], **options,
        )  # fmt: skip

    def config(self) -> dict[str, Any]:
        return {
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "dimensions": self.dimensions,
            "n_params": self.n_params,
            "functions": [list(f) for f in self.functions],
            "width": self.width,
            "depth": self.depth,
            "heads": self.heads,
            "frequencies": self.frequencies,
        }

    @abstractmethod
    def beside(self, h: Tensor, points: Tensor, share: Tensor | None, sources: Sequence[Source]) -> tuple[Any, ...]:
        """What every block takes beside the vectors of the points.

        Args:
            h: (batch, point, width), the vectors before the first block.
            points: (batch, point, dimension).
            share: (batch, point), of the quadrature; None where all are equal.
            sources: vectors (batch, sensor, width) and shares of every input function.
        """

    def forward(
        self,
        points: Float[Tensor, "batch point dimension"],
        values: Float[Tensor, "batch point channel"] | None = None,
        params: Float[Tensor, "batch n_params"] | None = None,
        functions: tuple[Function, ...] = (),
        mask: Shaped[Tensor, "batch point"] | None = None,
        weights: Float[Tensor, "batch point"] | None = None,
    ) -> Float[Tensor, "batch point channel_out"]:
        """Apply the operator.

        Args:
            points: (batch, point, dimensions).
            values: (batch, point, in_channels); None where in_channels = 0.
            params: (batch, n_params); None where n_params = 0.
            functions: the input functions, each at any number of points.
            mask: (batch, point), 1 where a point is one. The others never matter, and the answer is 0 there.
            weights: (batch, point), of the quadrature; a point of weight 0 gets an answer, and no other depends on it.

        Returns:
            (batch, point, out_channels).

        Raises:
            InputError: tensors whose shapes do not fit, samples without a point that counts, points that are no
                numbers (looked for on the CPU: on other devices that would have to wait for them).
        """
        self.check(points, values, params, functions, mask, weights)
        dtype = self.norm.weight.dtype
        inside = None if mask is None else mask > 0
        each = None if inside is None else inside[..., None]
        points = only(points.to(dtype), each)
        parts = [self.located(points)]
        if values is not None:
            parts.append(only(values.to(dtype), each))
        if params is not None:
            parts.append(params.to(dtype)[:, None].expand(-1, points.shape[1], -1))
        h = self.lift(torch.cat(parts, -1))
        sources = [self.source(lift, f) for lift, f in zip(self.sources, functions, strict=True)]
        if self.reading is not None:
            h = h + self.reading(h, sources)
        beside = self.beside(h, points, shares(weights, inside, dtype), sources)
        for block in self.blocks:
            h = self.through(block, h, *beside)
        return only(self.head(self.norm(h)), each)

    def source(self, lift: nn.Module, f: Function) -> Source:
        """Vectors and shares of the points of an input function."""
        dtype = self.norm.weight.dtype
        inside = None if f.mask is None else f.mask > 0
        each = None if inside is None else inside[..., None]
        points, values = only(f.points.to(dtype), each), only(f.values.to(dtype), each)
        return lift(torch.cat([self.located(points), values], -1)), shares(f.weights, inside, dtype)

    def located(self, points: Tensor) -> Tensor:
        """Coordinates, from −1 to 1 on the unit box, and their waves: (batch, point, number)."""
        centred = 2 * points - 1
        if not self.frequencies:
            return centred
        k = torch.arange(1, self.frequencies + 1, device=points.device, dtype=points.dtype)
        angle = (math.pi * points[..., None] * k).flatten(-2)
        return torch.cat([centred, torch.cos(angle), torch.sin(angle)], -1)

    def check(
        self, points: Tensor, values: Tensor | None, params: Tensor | None, functions: tuple[Function, ...],
        mask: Tensor | None, weights: Tensor | None,
    ) -> None:  # fmt: skip
        """Refuse tensors that do not fit, in one line that says which and why."""
        title = type(self).__name__
        tensors(title, points=points, values=values, params=params, mask=mask, weights=weights)
        if points.ndim != 3 or points.shape[2] != self.dimensions or not points.is_floating_point():
            expected = f"floating-point (batch, point, {self.dimensions})"
            raise InputError(f"{title}: points: expected {expected}, got {points.dtype} {tuple(points.shape)}")
        if not points.shape[1]:
            raise InputError(f"{title}: points: expected at least one, got none")
        batch, count = points.shape[:2]
        fitting(f"{title}: values", values, (batch, count, self.in_channels))
        fitting(f"{title}: params", params, (batch, self.n_params))
        fitting(f"{title}: mask", mask, (batch, count), needed=False)
        fitting(f"{title}: weights", weights, (batch, count), needed=False)
        counted(title, points, mask, weights)
        finite(f"{title}: values", values, mask)
        finite(f"{title}: params", params)
        if len(functions) != len(self.functions):
            raise InputError(f"{title}: functions: expected {len(self.functions)} of them, got {len(functions)}")
        for i, (f, (channels, dimensions)) in enumerate(zip(functions, self.functions, strict=True)):
            name, sensors = f"{title}: functions[{i}]", f.values.shape[1]
            if not sensors:
                raise InputError(f"{name}: expected at least one point, got none")
            fitting(f"{name}.values", f.values, (batch, sensors, channels))
            fitting(f"{name}.points", f.points, (batch, sensors, dimensions))
            fitting(f"{name}.mask", f.mask, (batch, sensors), needed=False)
            fitting(f"{name}.weights", f.weights, (batch, sensors), needed=False)
            counted(name, f.points, f.mask, f.weights)
            finite(f"{name}.values", f.values, f.mask)

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, {self.dimensions}, n_params={self.n_params}"
