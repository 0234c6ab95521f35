"""What encodings share whose batches are points that nothing joins, and input functions at points of their own."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from sciml.contracts import Function, FunctionSignature
from sciml.problem import Case
from sciml.support import Grid, Support
from sciml.training.encoding._base import Encoding
from sciml.training.encoding.functions import at_sensors, shares
from sciml.training.encoding.given import Given
from sciml.training.samples import function_inputs, function_of


class LooseEncoding(Encoding):
    """Points with values; abstract. Inputs at points of their own are functions, each of any length; of operators with
    fixed sensors, at sensors of their own."""

    flat: ClassVar[bool] = True
    takes_functions: ClassVar[bool] = True

    @property
    def channels_in(self) -> int:
        """Fields that go in: past frames and static inputs."""
        return (self.stepping.past * len(self.fields) if self.sees_start else 0) + len(self.static.names)

    def functions(self) -> tuple[FunctionSignature, ...]:
        """The inputs at points of their own."""
        names, d = self.given_functions.names, self.template.dimensions
        counts = [len(a) for a in self.function_sensors] or [None] * len(names)
        return tuple(FunctionSignature(n, 1, d, count) for n, count in zip(names, counts, strict=True))

    def place(self, case: Case, support: Support) -> dict[str, Any]:
        grid = isinstance(support, Grid)
        return self.place_flat(case, support) | {
            "lengths": np.array([b - a for a, b in (reversed(support.extents) if grid else support.extents)]),
            "functions": tuple(self._given(case, support, n) for n in self.given_functions.names),
        }

    def _given(self, case: Case, support: Support, name: str) -> tuple[np.ndarray, np.ndarray]:
        """(N,) normalised values and (N, D) positions, as shares of the support's extents, of an input function."""
        values, points = function_of(case, name, function_inputs(case.problem)[name])
        i = self.given_functions.names.index(name)
        scaled = (values - self.given_functions.offset[i]) / self.given_functions.scale[i]
        places = shares(points, support)
        if not self.function_sensors:
            return scaled, places
        return at_sensors(scaled, places, self.function_sensors[i]), self.function_sensors[i]

    def fields_in(self, state: Tensor | None, given: Given, count: int) -> Tensor | None:
        """(count, channel, point) past frames and static inputs; None where there are none."""
        parts = [] if state is None or not self.sees_start else [state.flatten(1, 2)]
        if given.static is not None:
            parts.append(given.static.expand(count, -1, -1))
        return torch.cat(parts, dim=1) if parts else None

    def points_in(self, given: Given, count: int, time: Tensor | None) -> Tensor:
        """(count, point, dimension), with the time that is asked for as the last coordinate."""
        assert given.coords is not None
        coords = given.coords.movedim(1, 2).expand(count, -1, -1)
        if time is None:
            return coords
        return torch.cat([coords, time[:, None, None].expand(count, coords.shape[1], 1)], dim=2)

    def functions_in(self, given: Given, n: int) -> tuple[Function, ...]:
        """The inputs at points of their own."""
        return tuple(
            Function(v.expand(n, -1, -1), p.expand(n, -1, -1), None if m is None else m.expand(n, -1))
            for v, p, m in given.functions
        )


def of_points(values: Tensor | None, count: int) -> Tensor | None:
    """(count, point) of what `Given` holds as (batch or 1, 1, point)."""
    return None if values is None else values[:, 0].expand(count, -1)
