"""Fields at points, of a grid or scattered: input functions at sensors, answers wherever they are asked for."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from sciml.contracts import Function, FunctionSignature, PointBatch, Signature
from sciml.errors import InputError
from sciml.problem import Case
from sciml.support import Grid, Support
from sciml.training.encoding._base import Encoding
from sciml.training.encoding.given import Given
from sciml.training.encoding.physical import Input, Physical, PhysicalPoints, asked, channels, listed
from sciml.training.samples import function_inputs, function_of


class PointEncoding(Encoding):
    """Past frames and static inputs as one input function; positions (and the time that is asked for) as points.

    With fixed sensors the function is given at these, by linear interpolation from the points of the case's own
    support; without, at all of its points. With `Query` the function is how the case begins, and is left out where
    all training cases begin alike. Inputs at points of their own are further functions, each of any length.
    """

    flat: ClassVar[bool] = True
    takes_functions: ClassVar[bool] = True

    @property
    def _function(self) -> int:
        """Channels of the input function."""
        state = self.stepping.past * len(self.fields) if self.sees_start else 0
        return state + len(self.static.names)

    def signature(self) -> Signature:
        d = self.template.dimensions
        channels = self._function
        count = None if self.sensors is None else len(self.sensors)
        functions = (FunctionSignature("state", channels, d, count),) if channels else ()
        functions += tuple(FunctionSignature(n, 1, d) for n in self.given_functions.names)
        return Signature(
            0, self.channels_out, d + self.stepping.queries, n_params=len(self.features.names),
            masked=self.masked or not self.shared, periodic=self.template.periodic,
            residual=self.stepping.residual, functions=functions,
        )  # fmt: skip

    def place(self, case: Case, support: Support) -> dict[str, Any]:
        sensors = None
        if self.sensors is not None:
            low, high = np.array(support.extents, dtype=np.float64).T
            stencil = support.stencil(low + self.sensors * (high - low))
            sensors = (stencil.index, stencil.weight)
        grid = isinstance(support, Grid)
        return self.place_flat(case, support) | {
            "lengths": np.array([b - a for a, b in (reversed(support.extents) if grid else support.extents)]),
            "sensors": sensors,
            "functions": tuple(self._given(case, support, n) for n in self.given_functions.names),
        }

    def _given(self, case: Case, support: Support, name: str) -> tuple[np.ndarray, np.ndarray]:
        """(N,) normalised values and (N, D) positions, as shares of the support's extents, of an input function."""
        values, points = function_of(case, name, function_inputs(case.problem)[name])
        i = self.given_functions.names.index(name)
        low, high = np.array(support.extents, dtype=np.float64).T
        scaled = (values - self.given_functions.offset[i]) / self.given_functions.scale[i]
        return scaled, (points - low) / np.where(high > low, high - low, 1.0)

    def apply(
        self, operator: nn.Module, state: Tensor | None, given: Given, params: Tensor, time: Tensor | None
    ) -> Tensor:
        n = len(params)
        assert given.coords is not None
        coords = given.coords.movedim(1, 2).expand(n, -1, -1)
        points = coords
        if time is not None:
            points = torch.cat([coords, time[:, None, None].expand(n, coords.shape[1], 1)], dim=2)
        parts = [] if state is None or not self.sees_start else [state.flatten(1, 2)]
        if given.static is not None:
            parts.append(given.static.expand(n, -1, -1))
        functions: tuple[Function, ...] = ()
        if parts:
            values = torch.cat(parts, dim=1)
            if given.sensors is None:
                where = None if given.mask is None else given.mask[:, 0].expand(n, -1)
                functions = (Function(values.movedim(1, 2), coords, where),)
            else:
                assert self.sensors is not None
                places = torch.as_tensor(self.sensors, dtype=points.dtype, device=points.device)
                functions = (Function(_sampled(values, *given.sensors), places.expand(n, -1, -1), None),)
        functions += tuple(Function(v, p, m) for v, p, m in given.functions)
        mask = None if given.mask is None else given.mask[:, 0].expand(n, -1)
        batch = PointBatch(points, params if params.shape[1] else None, functions, mask)
        return operator(**batch.arguments()).movedim(2, 1)

    def physical(self, operator: nn.Module) -> tuple[Physical, dict[str, Input]]:
        loose = [f.name for f in self.signature().functions if f.sensors is None]
        if loose:
            raise InputError(f"export: {', '.join(loose)}: expected functions at fixed sensors, got any points")
        sensors = np.zeros((0, 0)) if self.sensors is None else self.sensors
        points = ("point", self.template.size)
        where = (*(f"{a} as a share of the extent" for a in "xyz"[: self.template.dimensions]), *asked(self))
        inputs = (
            listed("points", "dimension", where, points)
            | listed("params", "feature", self.features.names)
            | listed("functions", "channel", channels(self), ("sensor", len(sensors)))
            | listed("last", "channel", self.fields if self.stepping.residual else (), points)
            | listed("scales", "field", self.fields if self.problem.scaled else ())
        )
        return PhysicalPoints(operator, self, sensors), inputs


def _sampled(values: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """(batch, channel, point) at sensors: (batch, sensor, channel); (batch or 1, sensor, corner) of each."""
    if len(index) == 1:
        return (values[:, :, index[0]] * weight[0]).sum(-1).movedim(1, 2)
    n, channels, _ = values.shape
    flat = index.reshape(n, 1, -1).expand(n, channels, -1)
    found = values.gather(2, flat).reshape(n, channels, *index.shape[1:])
    return (found * weight[:, None]).sum(-1).movedim(1, 2)
