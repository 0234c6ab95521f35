"""What all operators on grids share: their arguments, checks, and the assembly of input channels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from sciml.contracts import GridBatch, Operator, Signature
from sciml.errors import InputError, is_number, positive
from sciml.operators._transform import Axis, cached

AXIS_NAMES = {1: ("x",), 2: ("y", "x"), 3: ("z", "y", "x")}


def grid_arguments(signature: Signature) -> dict[str, Any]:
    """The arguments that every operator on grids takes from a signature."""
    if signature.channels_in < 1:
        raise InputError("channels_in: an operator on grids expects at least one field that comes in, got 0")
    return {
        "in_channels": signature.channels_in,
        "out_channels": signature.channels_out,
        "n_params": signature.n_params,
    }


def per_axis(name: str, value: Any, dimensions: int) -> tuple[float, ...]:
    """One number for each axis from a number or a sequence."""
    values = list(value) if isinstance(value, Iterable) else [value] * dimensions
    if len(values) != dimensions or not all(map(is_number, values)):
        raise InputError(f"{name}: expected a number or {dimensions} numbers, got {value!r}")
    return tuple(float(v) for v in values)


def flags(name: str, value: Any, dimensions: int) -> tuple[bool, ...]:
    """One truth value for each axis from a truth value or a sequence."""
    values = [value] * dimensions if isinstance(value, bool) else list(value) if isinstance(value, Iterable) else []
    if len(values) != dimensions or not all(isinstance(v, bool) for v in values):
        raise InputError(f"{name}: expected True, False or {dimensions} of them, got {value!r}")
    return tuple(values)


def grid_coordinates(space: Sequence[int], sampling: str, like: Tensor) -> Float[Tensor, " {len(space)} *space"]:
    """Positions of the samples on the unit box, (d, *space), axis order that of the array."""
    axes = [Axis(n, 0, 1.0, sampling) for n in space]
    lines = [cached(("positions", axis), axis.positions, like) for axis in axes]
    return torch.stack(torch.meshgrid(*lines, indexing="ij"))


class GridOperator(Operator):
    """A learnable map between fields on one regular grid; `forward` takes the fields of `GridBatch`.

    Args:
        in_channels, out_channels: channels of input and output.
        dimensions: number of spatial axes.
        n_params: number of scalar parameters a sample; given to `forward` as (batch, n_params).
        coordinates: append the coordinates as input channels: those passed to `forward`, or else those of `sampling`
            on the unit box.
        masked: append the mask as an input channel (ones where none is passed).
        sampling: "centre" (j + ½)/N, "left" j/N, "ends" j/(N - 1).
    """

    takes: ClassVar = GridBatch

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dimensions: int,
        *,
        n_params: int = 0,
        coordinates: bool = True,
        masked: bool = False,
        sampling: str = "centre",
    ):
        super().__init__()
        self.in_channels = positive("in_channels", in_channels)
        self.out_channels = positive("out_channels", out_channels)
        self.dimensions = positive("dimensions", dimensions)
        self.n_params = positive("n_params", n_params, 0)
        self.coordinates, self.masked, self.sampling = bool(coordinates), bool(masked), sampling

    @property
    def assembled_channels(self) -> int:
        """Channels after coordinates and mask have been appended."""
        return self.in_channels + self.dimensions * self.coordinates + self.masked

    def forward(
        self,
        x: Float[Tensor, "batch channel *space"],
        params: Float[Tensor, "batch n_params"] | None = None,
        mask: Shaped[Tensor, "#batch 1 *space"] | None = None,
        coords: Float[Tensor, "#batch dimension *space"] | None = None,
    ) -> Float[Tensor, "batch channel_out *space"]:
        """Apply the operator.

        Args:
            x: (batch, in_channels, *space).
            params: (batch, n_params), or None where n_params = 0.
            mask: (batch or 1, 1, *space), 1 inside the domain. Values outside never matter, and the result is 0 there.
            coords: (batch or 1, d, *space) to take as coordinate channels.

        Returns:
            (batch, out_channels, *space), in the dtype of the weights.
        """
        raise NotImplementedError

    def check(self, x: Tensor, params: Tensor | None, mask: Tensor | None, coords: Tensor | None) -> None:
        """Refuse tensors whose shapes do not fit, in one line that says which and why."""
        name, d = type(self).__name__, self.dimensions
        space = ", ".join(AXIS_NAMES.get(d, ("*space",)))
        if x.ndim != d + 2 or x.shape[1] != self.in_channels:
            raise InputError(
                f"{name}: x: expected (batch, {self.in_channels}, {space}), got {tuple(x.shape)}"
                + (f" with {x.shape[1]} channels" if x.ndim == d + 2 else "")
            )
        if not x.is_floating_point():
            raise InputError(f"{name}: x: expected a floating-point tensor, got {x.dtype}")
        batch, points = x.shape[0], tuple(x.shape[2:])
        if min(points) < 1:
            raise InputError(f"{name}: x: expected at least one point an axis, got {tuple(x.shape)}")
        if self.n_params and params is None:
            raise InputError(f"{name}: params: expected (batch, {self.n_params}), got None")
        if params is not None and tuple(params.shape) != (batch, self.n_params):
            raise InputError(f"{name}: params: expected ({batch}, {self.n_params}), got {tuple(params.shape)}")
        for label, tensor, channels in (("mask", mask, 1), ("coords", coords, d)):
            if tensor is None:
                continue
            if tuple(tensor.shape[1:]) != (channels, *points) or tensor.shape[0] not in (1, batch):
                want = (batch, channels, *points)
                raise InputError(f"{name}: {label}: expected {want}, got {tuple(tensor.shape)}")

    def assemble(self, x: Tensor, mask: Tensor | None, coords: Tensor | None) -> Tensor:
        """Input channels in the weights' dtype: fields (zero outside the mask), then coordinates, then the mask."""
        x = x.to(self.dtype)
        batch, points = x.shape[0], x.shape[2:]
        if mask is not None:
            mask = mask.to(x.dtype)
            # where, not a product: a NaN outside the domain must not come in as 0 · NaN
            x = torch.where(mask > 0, x, torch.zeros((), dtype=x.dtype, device=x.device))
        parts = [x]
        if self.coordinates:
            if coords is None:
                coords = grid_coordinates(points, self.sampling, x)[None]
            parts.append(coords.to(x.dtype).expand(batch, *coords.shape[1:]))
        if self.masked:
            one = x.new_ones(batch, 1, *points) if mask is None else mask.expand(batch, *mask.shape[1:])
            parts.append(one)
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


class Embedding(nn.Module):
    """Scalars (batch, n_params) to a vector (batch, width): a two-layer perceptron with GELU after both layers."""

    def __init__(self, n_params: int, width: int):
        super().__init__()
        self.first = nn.Linear(n_params, width)
        self.second = nn.Linear(width, width)

    def forward(self, params: Float[Tensor, "batch n_params"]) -> Float[Tensor, "batch width"]:
        return nn.functional.gelu(self.second(nn.functional.gelu(self.first(params))))


class Modulation(nn.Module):
    """Gain and shift of each channel from an embedding: h ↦ (1 + γ) h + β (FiLM).

    Source: Perez, Strub, de Vries, Dumoulin, Courville, "FiLM: visual reasoning with a general conditioning layer",
    AAAI 2018.
    """

    def __init__(self, embedding: int, channels: int):
        super().__init__()
        self.linear = nn.Linear(embedding, 2 * channels)
        # small, so that training starts near the unconditioned map, but not zero: the embedding gets a gradient at once
        nn.init.normal_(self.linear.weight, std=0.1 / math.sqrt(embedding))
        nn.init.zeros_(self.linear.bias)

    def forward(
        self, embedding: Float[Tensor, "batch width"]
    ) -> tuple[Float[Tensor, "batch channel"], Float[Tensor, "batch channel"]]:
        gain, shift = self.linear(embedding).chunk(2, dim=-1)
        return 1 + gain, shift


def extend(x: Tensor, multiple: int | Sequence[int], periodic: bool | Sequence[bool] = False) -> Tensor:
    """Continue a field by its edge values, or periodically, so that every axis has a multiple of so many points."""
    around = [periodic] * (x.ndim - 2) if isinstance(periodic, bool) else periodic
    multiples = [multiple] * (x.ndim - 2) if isinstance(multiple, int) else multiple
    for axis in range(2, x.ndim):
        n, of = x.shape[axis], multiples[axis - 2]
        whole = (n + of - 1) // of * of
        if torch.compiler.is_exporting() or whole > n:  # a program for all sizes decides nothing by the size
            where = torch.arange(whole, device=x.device)
            where = torch.remainder(where, where.new_full((), n)) if around[axis - 2] else where.clamp(max=n - 1)
            x = x.index_select(axis, where)
    return x


def crop(x: Tensor, space: Sequence[int]) -> Tensor:
    """The first `space` points of the axes: what `extend` added taken off again."""
    if not torch.compiler.is_exporting():
        return x[(..., *(slice(0, n) for n in space))].contiguous()
    for axis, n in enumerate(space, 2):  # whether a slice is contiguous would follow the size
        x = x.index_select(axis, torch.arange(n, device=x.device))
    return x


def space_to_depth(x: Tensor, side: int) -> Tensor:
    """(batch, c, *space) to (batch, c · side^d, *space / side): each patch becomes channels."""
    if side == 1:
        return x
    batch, channels, *space = x.shape
    d = len(space)
    split: list[int] = [batch, channels]
    for n in space:
        split += [n // side, side]
    order = [0, 1, *range(3, 3 + 2 * d, 2), *range(2, 2 + 2 * d, 2)]
    return x.reshape(split).permute(order).reshape(batch, channels * side**d, *(n // side for n in space))


def depth_to_space(x: Tensor, side: int) -> Tensor:
    """The inverse of `space_to_depth`."""
    if side == 1:
        return x
    batch, channels, *space = x.shape
    d = len(space)
    x = x.reshape(batch, channels // side**d, *[side] * d, *space)
    order = [0, 1]
    for i in range(d):
        order += [2 + d + i, 2 + i]
    return x.permute(order).reshape(batch, channels // side**d, *(n * side for n in space))


def overlap_add(x: Tensor, side: int, periodic: Sequence[bool]) -> Tensor:
    """What every patch of `side` points says of itself and of half a patch around, added up.

        (batch, c · (2 side)^d, *space) -> (batch, c, *space · side)

    As a transposed convolution with kernel 2·side and stride side whose products are formed already. With patches
    that end at their edges (`depth_to_space`) nothing ties neighbours together, and an operator that is fed its own
    answers grows their outlines into the fields. At the ends of a periodic axis the halves go around, on others they
    are dropped. A side of 1 has no halves: x as it is.
    """
    if side == 1:
        return x
    batch, channels, *space = x.shape
    d = len(space)
    x = x.reshape(batch, channels // (2 * side) ** d, *[2 * side] * d, *space)
    for i, around in enumerate(periodic):
        x = x.movedim((2 + i, 2 + d + i), (-2, -1))
        # block j of the result lies between the middles of patches j - 1 and j
        x = nn.functional.pad(x[..., :side, :], (0, 1)) + nn.functional.pad(x[..., side:, :], (1, 0))
        if around:
            ends = x[..., :1] + x[..., -1:]
            x = torch.cat((ends, x[..., 1:-1], ends), dim=-1)
        x = x.movedim((-2, -1), (2 + i, 2 + d + i))
    x = depth_to_space(x.reshape(batch, -1, *(n + 1 for n in space)), side)
    before = side // 2
    return x[(..., *(slice(before, before + n * side) for n in space))]


def overlap_channels(channels: int, side: int, dimensions: int) -> int:
    """How many channels `overlap_add` makes so many of."""
    return channels * (2 * side if side > 1 else 1) ** dimensions
