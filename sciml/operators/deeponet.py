"""Deep operator network: an answer at any points, from parameters and input functions at fixed sensors."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from sciml import registry
from sciml.contracts import Function, Operator, PointBatch, Signature
from sciml.errors import InputError, positive, suggest

ACTIVATIONS = {"gelu": nn.GELU, "silu": nn.SiLU}


def perceptron(sizes: Sequence[int], activation: str, *, last: bool) -> nn.Sequential:
    """Affine maps between spaces of these sizes with an activation after each; after the final one only if `last`."""
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(itertools.pairwise(sizes)):
        layers.append(nn.Linear(a, b))
        if last or i < len(sizes) - 2:
            layers.append(ACTIVATIONS[activation]())
    return nn.Sequential(*layers)


@registry.operators.register("deeponet")
class DeepONet(Operator):
    """Deep operator network: a basis of functions of the point, and coefficients from what is given.

        y_c(s) = Σ_k b_ck(u, p) t_ck(s) + a_c,   k = 1 … basis

    The branch b is a perceptron of the parameters p and of the values of all input functions u at their sensors; the
    trunk t is a perceptron of the point s, with an activation after its last layer too; a is a bias. Every channel has
    a basis of its own. There is no norm over the batch: an answer does not depend on the sample's batch mates.

    Args:
        out_channels: channels of the answer.
        dimensions: coordinates of a point (space, and time where the network is asked for times).
        n_params: scalar parameters a sample.
        functions: (channels, sensors) of every input function.
        width: units of the hidden layers.
        basis: functions of the basis, for each channel.
        depth: affine maps in the branch and in the trunk, at least 2.
        activation: "gelu" or "silu".
        frequencies: the trunk also gets cos(πks) and sin(πks) of every coordinate s, k = 1 … frequencies: with points
            on the unit box, waves down to a length of 2/frequencies. 0 leaves the point as it is.

    Raises:
        InputError: an argument out of range, no inputs at all, or tensors whose shapes do not fit.

    Source: Lu, Jin, Pang, Zhang, Karniadakis, "Learning nonlinear operators via DeepONet based on the universal
    approximation theorem of operators", Nature Machine Intelligence 3, 218 (2021), equation (2), unstacked and with the
    bias that is added there.
    """

    name, title = "deeponet", "DeepONet"
    takes: ClassVar = PointBatch
    sensors: ClassVar[int | None] = 128  # the number that it asks for of every input function
    asks_times: ClassVar[bool] = True
    decided: ClassVar = {
        "out_channels": "channels_out",
        "dimensions": "dimensions",
        "n_params": "n_params",
        "functions": "functions",
    }

    def __init__(
        self,
        out_channels: int,
        dimensions: int,
        n_params: int = 0,
        functions: Sequence[Sequence[int]] = (),
        *,
        width: int = 128,
        basis: int = 64,
        depth: int = 4,
        activation: str = "gelu",
        frequencies: int = 0,
    ):
        super().__init__()
        if activation not in ACTIVATIONS:
            known = tuple(ACTIVATIONS)
            raise InputError(
                f"activation: expected one of {known}, got {activation!r}{suggest(str(activation), known)}"
            )
        self.out_channels, self.dimensions = positive("out_channels", out_channels), positive("dimensions", dimensions)
        self.n_params = positive("n_params", n_params, 0)
        self.functions = tuple((positive("functions", c), positive("functions", n)) for c, n in functions)
        self.width, self.basis, self.depth = (
            positive("width", width),
            positive("basis", basis),
            positive("depth", depth, 2),
        )
        self.activation, self.frequencies = activation, positive("frequencies", frequencies, 0)
        given = self.n_params + sum(c * n for c, n in self.functions)
        if not given:
            raise InputError("n_params and functions: expected something that the answer depends on, got neither")
        hidden = [self.width] * (self.depth - 1)
        count = self.out_channels * self.basis
        self.branch = perceptron([given, *hidden, count], activation, last=False)
        self.trunk = perceptron([self.dimensions * (1 + 2 * self.frequencies), *hidden, count], activation, last=True)
        self.bias = nn.Parameter(torch.zeros(self.out_channels))

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
            "width": self.width,
            "basis": self.basis,
            "depth": self.depth,
            "activation": self.activation,
            "frequencies": self.frequencies,
        }

    def forward(
        self,
        points: Float[Tensor, "batch point dimension"],
        params: Float[Tensor, "batch n_params"] | None = None,
        functions: tuple[Function, ...] = (),
        mask: Shaped[Tensor, "batch point"] | None = None,
    ) -> Float[Tensor, "batch point channel_out"]:
        """Apply the operator.

        Args:
            points: (batch, point, dimensions).
            params: (batch, n_params), or None where n_params = 0.
            functions: values (batch, sensors, channels) of every input function, always at the same sensors.
            mask: (batch, point), 1 where a point is one. The others never matter, and the answer is 0 there.

        Returns:
            (batch, point, out_channels).
        """
        self.check(points, params, functions, mask)
        inside = None if mask is None else (mask > 0)[..., None]
        shape = (-1, self.out_channels, self.basis)
        coefficients = self.branch(self.given(params, functions)).reshape(shape)
        basis = self.trunk(self.features(_only(points.to(self.bias.dtype), inside)))
        basis = basis.reshape(*points.shape[:2], *shape[1:])
        return _only(torch.einsum("bck,bpck->bpc", coefficients, basis) + self.bias, inside)

    def given(self, params: Tensor | None, functions: tuple[Function, ...]) -> Tensor:
        """All that the branch takes, (batch, n_params + Σ channels · sensors), in the weights' dtype."""
        parts = [] if params is None else [params]
        for f in functions:
            values = _only(f.values, None if f.mask is None else (f.mask > 0)[..., None])
            parts.append(values.flatten(1))
        return torch.cat([p.to(self.bias.dtype) for p in parts], dim=1)

    def features(self, points: Tensor) -> Tensor:
        """Coordinates and their waves, (batch, point, dimensions · (1 + 2 frequencies))."""
        if not self.frequencies:
            return points
        k = torch.arange(1, self.frequencies + 1, device=points.device, dtype=points.dtype)
        angle = (math.pi * points[..., None] * k).flatten(-2)
        return torch.cat((points, torch.cos(angle), torch.sin(angle)), dim=-1)

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


def _only(values: Tensor, inside: Tensor | None) -> Tensor:
    """Zero where not inside; not a product, or a NaN out there would come in as 0 · NaN."""
    return (
        values
        if inside is None
        else torch.where(inside, values, torch.zeros((), dtype=values.dtype, device=values.device))
    )
