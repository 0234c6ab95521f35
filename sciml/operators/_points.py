"""What operators on points share: their arguments, checks, and the vector of all that is given."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from sciml.contracts import Function, Operator, PointBatch, Signature
from sciml.errors import InputError, positive, suggest

ACTIVATIONS = {"gelu": nn.GELU, "silu": nn.SiLU, "relu": nn.ReLU}


def activation_named(name: str) -> str:
    """The name, if it is one of an activation.

    Raises:
        InputError: it is not.
    """
    if name not in ACTIVATIONS:
        known = tuple(ACTIVATIONS)
        raise InputError(f"activation: expected one of {known}, got {name!r}{suggest(str(name), known)}")
    return name


def perceptron(sizes: Sequence[int], activation: str, *, last: bool) -> nn.Sequential:
    """Affine maps between spaces of these sizes with an activation after each; after the final one only if `last`."""
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(itertools.pairwise(sizes)):
        layers.append(nn.Linear(a, b))
        if last or i < len(sizes) - 2:
            layers.append(ACTIVATIONS[activation]())
    return nn.Sequential(*layers)


class PointOperator(Operator):
    """An answer at any points, from parameters and input functions at fixed sensors.

    Args:
        out_channels: channels of the answer.
        dimensions: coordinates of a point (space, and time where the network is asked for times).
        n_params: scalar parameters a sample.
        functions: (channels, sensors) of every input function.
    """

    takes: ClassVar = PointBatch
    sensors: ClassVar[int | None] = 128  # the number that it asks for of every input function
    asks_times: ClassVar[bool] = True
    decided: ClassVar = {
        "out_channels": "channels_out",
        "dimensions": "dimensions",
        "n_params": "n_params",
        "functions": "functions",
    }

    def __init__(self, out_channels: int, dimensions: int, n_params: int, functions: Sequence[Sequence[int]]):
        super().__init__()
        self.out_channels, self.dimensions = positive("out_channels", out_channels), positive("dimensions", dimensions)
        self.n_params = positive("n_params", n_params, 0)
        self.functions = tuple((positive("functions", c), positive("functions", n)) for c, n in functions)
        if not self.given_count:
            raise InputError("n_params and functions: expected something that the answer depends on, got neither")

    @property
    def given_count(self) -> int:
        """Numbers of a sample that the answer depends on beside the point."""
        return self.n_params + sum(c * n for c, n in self.functions)

    @classmethod
    def for_signature(cls, signature: Signature, **options: Any) -> Self:
        """As the data are; every input function has to come at a fixed number of sensors."""
        for f in signature.functions:
            if f.sensors is None:
                raise InputError(f"{cls.name}: functions: {f.name}: expected a fixed number of sensors, got any number")
        return cls(
            signature.channels_out,
            signature.dimensions,
            signature.n_params,
            [(f.channels, f.sensors) for f in signature.functions if f.sensors is not None],
            **options,
        )

    def config(self) -> dict[str, Any]:
        return {
            "out_channels": self.out_channels,
            "dimensions": self.dimensions,
            "n_params": self.n_params,
            "functions": [list(f) for f in self.functions],
        }

    def given(self, params: Tensor | None, functions: tuple[Function, ...]) -> Tensor:
        """All that is given beside the points, (batch, n_params + Σ channels · sensors), in the weights' dtype."""
        parts = [] if params is None else [params]
        for f in functions:
            parts.append(only(f.values, None if f.mask is None else (f.mask > 0)[..., None]).flatten(1))
        return torch.cat([p.to(self.dtype) for p in parts], dim=1)

    def check(
        self, points: Tensor, params: Tensor | None, functions: tuple[Function, ...], mask: Tensor | None
    ) -> None:
        """Refuse tensors whose shapes do not fit, in one line that says which and why."""
        title = type(self).__name__
        if points.ndim != 3 or points.shape[2] != self.dimensions or not points.is_floating_point():
            expected = f"floating-point (batch, point, {self.dimensions})"
            raise InputError(f"{title}: points: expected {expected}, got {points.dtype} {tuple(points.shape)}")
        batch = points.shape[0]
        if params is None and self.n_params:
            raise InputError(f"{title}: params: expected (batch, {self.n_params}), got None")
        if params is not None and tuple(params.shape) != (batch, self.n_params):
            raise InputError(f"{title}: params: expected ({batch}, {self.n_params}), got {tuple(params.shape)}")
        if len(functions) != len(self.functions):
            raise InputError(f"{title}: functions: expected {len(self.functions)} of them, got {len(functions)}")
        for i, (f, (channels, sensors)) in enumerate(zip(functions, self.functions, strict=True)):
            if tuple(f.values.shape) != (batch, sensors, channels):
                expected = (batch, sensors, channels)
                raise InputError(f"{title}: functions[{i}].values: expected {expected}, got {tuple(f.values.shape)}")
        if mask is not None and tuple(mask.shape) != tuple(points.shape[:2]):
            raise InputError(f"{title}: mask: expected {tuple(points.shape[:2])}, got {tuple(mask.shape)}")

    def extra_repr(self) -> str:
        return f"{self.out_channels}, {self.dimensions}, n_params={self.n_params}, functions={self.functions}"


def only(values: Tensor, inside: Tensor | None) -> Tensor:
    """Zero where not inside; not a product, or a NaN out there would come in as 0 · NaN."""
    if inside is None:
        return values
    return torch.where(inside, values, torch.zeros((), dtype=values.dtype, device=values.device))
