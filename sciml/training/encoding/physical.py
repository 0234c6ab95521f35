"""A trained operator with its scalings, as one module of plain tensor operations: what export writes to a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from sciml.contracts import Function

if TYPE_CHECKING:
    from sciml.training.encoding._base import Encoding


class Input(NamedTuple):
    """What one argument of a `Physical` is: the names and example sizes of its axes, and of what it holds, in order."""

    axes: tuple[str, ...]
    sizes: tuple[int, ...]
    holds: tuple[str, ...] = ()


class Physical(nn.Module):
    """One application of an operator, from physical fields u and raw features p to physical fields.

        û = c (σ·operator((u/c − μ)/σ, (p − μ_p)/σ_p) + μ),   or of residual models   û = u + c σ Δ·operator(...)

    with the problem's scales c of the fields for the case, scales σ and offsets μ of the training split, and root mean
    square increments Δ of the normalised fields; where answers are linear in parameters, the operator answers to each
    unit of these, and Σ stands before it. Subclasses have the fields of their batch type as arguments.

    Args:
        operator: in the dtype of the encoding, on the CPU.
        encoding: whose scalings these are.
        dimensions: axes of space that follow the channels; 0 where the channels are last.
    """

    offset: Tensor
    scale: Tensor
    increment: Tensor
    offset_in: Tensor
    scale_in: Tensor
    mean: Tensor
    rate: Tensor
    units: Tensor
    others: Tensor

    def __init__(self, operator: nn.Module, encoding: Encoding, dimensions: int):
        super().__init__()
        e, s = encoding, encoding.stepping
        self.operator, self.dimensions = operator, dimensions
        self.fields, self.ahead, self.residual = len(e.fields), s.ahead, s.residual
        self.past, self.statics = s.past if e.sees_start else 0, len(e.static.names)
        self.time_rate = [1.0 / e.step.value] if s.queries and e.step is not None else []
        timed = self.time_rate if dimensions else []  # among the parameters on grids, among the coordinates at points
        self.keep(
            e, offset=e.state.offset, scale=e.state.scale, increment=e.increment.reshape(-1),
            offset_in=[*np.tile(e.state.offset, self.past), *e.static.offset],
            scale_in=[*np.tile(e.state.scale, self.past), *e.static.scale],
            mean=[*e.features.mean, *(0.0 for _ in timed)],
            rate=[*(1.0 / std if std > 0 else 0.0 for std in e.features.std.tolist()), *timed],
        )  # fmt: skip
        self.columns = [e.features.names.index(n) for n in e.linear]
        units = np.eye(len(e.features.names))[self.columns]
        self.keep(e, units=units, others=1.0 - units.sum(0) if self.columns else [])

    def keep(self, e: Encoding, **values: Any) -> None:
        """Hold these as buffers in the encoding's dtype; an empty one has no use, and torch cannot always save it."""
        for name, value in values.items():
            if len(value):
                self.register_buffer(name, torch.as_tensor(np.asarray(value), dtype=e.torch_dtype))

    def along(self, values: Tensor) -> Tensor:
        """(batch or 1, channel) to the axes of fields."""
        return values[(..., *[None] * self.dimensions)] if self.dimensions else values[:, None]

    def superposed(self, ask: Callable[[Tensor | None], Tensor], params: Tensor | None) -> Tensor:
        """The operator's answer to normalised features; the sum of those to unit loads where it is linear in some."""
        if params is None or not self.columns:
            return ask(params)
        parts = [
            self.along(params[:, c : c + 1]) * ask(params * self.others + self.units[k])
            for k, c in enumerate(self.columns)
        ]
        return torch.stack(parts).sum(0)

    def normalised(self, values: Tensor, scales: Tensor | None) -> Tensor:
        """Past frames and static inputs from physical units."""
        c = self.scale.new_ones(1, self.fields) if scales is None else scales
        c = torch.cat([c.repeat(1, self.past), c.new_ones(c.shape[0], self.statics)], 1)
        return (values - self.along(c * self.offset_in)) / self.along(c * self.scale_in)

    def physical(self, out: Tensor, last: Tensor | None, scales: Tensor | None) -> Tensor:
        """What the operator says, in physical units; `last` is the frame that residual models add to."""
        c = self.scale.new_ones(1, self.fields) if scales is None else scales
        scale, offset = ((c * v).repeat(1, self.ahead) for v in (self.scale, self.offset))
        if last is None:
            return out * self.along(scale) + self.along(offset)
        last = torch.cat([last] * self.ahead, 1 if self.dimensions else 2)
        return last + out * self.along(scale * self.increment)


class PhysicalGrid(Physical):
    """`Physical` of an operator that takes `GridBatch`; a time that is asked for is the last of `params`."""

    def forward(
        self, x: Tensor, params: Tensor | None = None, mask: Tensor | None = None, coords: Tensor | None = None,
        scales: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        last = x[:, (self.past - 1) * self.fields : self.past * self.fields] if self.residual else None
        if self.past or self.statics:  # else one channel of ones says where the answer is wanted
            x = self.normalised(x, scales)
        if params is not None:
            params = (params - self.mean) * self.rate
        out = self.superposed(lambda p: self.operator(x=x, params=p, mask=mask, coords=coords), params)
        y = self.physical(out, last, scales)
        return y if mask is None else torch.where(mask > 0, y, torch.zeros_like(y))


class PhysicalPoints(Physical):
    """`Physical` of an operator that takes `PointBatch` with functions at fixed sensors; a time that is asked for is
    the last coordinate of `points`."""

    sensors: Tensor

    def __init__(self, operator: nn.Module, encoding: Encoding, sensors: Any):
        super().__init__(operator, encoding, 0)
        self.keep(encoding, sensors=sensors)

    def forward(
        self, points: Tensor, params: Tensor | None = None, functions: Tensor | None = None, last: Tensor | None = None,
        scales: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        if self.time_rate:
            points = torch.cat([points[..., :-1], points[..., -1:] * self.time_rate[0]], -1)
        if params is not None:
            params = (params - self.mean) * self.rate
        given: tuple[Function, ...] = ()
        if functions is not None:
            values = self.normalised(functions, scales)
            given = (Function(values, self.sensors.expand(values.shape[0], -1, -1)),)
        out = self.superposed(lambda p: self.operator(points=points, params=p, functions=given), params)
        return self.physical(out, last, scales)


class PhysicalCloud(Physical):
    """`Physical` of an operator that takes `CloudBatch`; a time that is asked for is the last coordinate of `points`,
    and a point of weight 0 is answered without a say in other answers."""

    def __init__(self, operator: nn.Module, encoding: Encoding):
        super().__init__(operator, encoding, 0)

    def forward(
        self, points: Tensor, values: Tensor | None = None, params: Tensor | None = None,
        weights: Tensor | None = None, scales: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        last = None
        if values is not None:
            last = values[..., (self.past - 1) * self.fields : self.past * self.fields] if self.residual else None
            values = self.normalised(values, scales)
        if self.time_rate:
            points = torch.cat([points[..., :-1], points[..., -1:] * self.time_rate[0]], -1)
        if params is not None:
            params = (params - self.mean) * self.rate
        out = self.superposed(lambda p: self.operator(points=points, values=values, params=p, weights=weights), params)
        return self.physical(out, last, scales)


def channels(e: Encoding) -> tuple[str, ...]:
    """Names of what goes in: past frames, the oldest first, then static inputs."""
    past = e.stepping.past if e.sees_start else 0
    when = ["start"] if e.stepping.queries else [f"t{-k or ''}" for k in reversed(range(past))]
    return tuple(f"{name}({t})" for t in when[:past] for name in e.fields) + e.static.names


def answered(e: Encoding) -> tuple[str, ...]:
    """Names of what comes out."""
    if not e.stepping.past or e.stepping.queries:
        return e.fields
    return tuple(f"{name}(t+{k})" for k in range(1, e.stepping.ahead + 1) for name in e.fields)


def asked(e: Encoding) -> tuple[str, ...]:
    """The name of the time that is asked for, counted from how the case begins, in the problem's unit or in the case's
    time scales."""
    if not e.stepping.queries or e.step is None:
        return ()
    return ("time in time scales" if e.step.kind == "nondimensional" else f"time ({e.problem.time_unit})",)


def listed(name: str, axis: str, holds: Sequence[str], *between: tuple[str, int]) -> dict[str, Input]:
    """An input (batch, *between, axis) that holds these; none where there are none."""
    axes, sizes = ("batch", *(n for n, _ in between), axis), (2, *(n for _, n in between), len(holds))
    return {name: Input(axes, sizes, tuple(holds))} if holds else {}
