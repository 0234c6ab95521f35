"""Fields at points, of a grid or scattered: input functions at sensors, answers wherever they are asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sciml.contracts import Function, FunctionSignature, PointBatch, Signature
from sciml.errors import InputError
from sciml.problem import Case
from sciml.support import Support
from sciml.training.encoding._flat import LooseEncoding, of_points
from sciml.training.encoding.functions import shares
from sciml.training.encoding.given import Given
from sciml.training.encoding.physical import Input, Physical, PhysicalPoints, asked, channels, listed


class PointEncoding(LooseEncoding):
    """Past frames and static inputs as one input function; positions (and the time that is asked for) as points.

    With fixed sensors the function is given at these, by linear interpolation from the points of the case's own
    support; without, at all of its points. With `Query` the function is how the case begins, and is left out where
    all training cases begin alike. Inputs at points of their own are further functions, each of any length; with fixed
    sensors each is given at sensors of its own, among the points at which training cases gave it, from the nearest of
    the case's points.
    """

    def signature(self) -> Signature:
        d = self.template.dimensions
        count = None if self.sensors is None else len(self.sensors)
        state = (FunctionSignature("state", self.channels_in, d, count),) if self.channels_in else ()
        return Signature(
            0, self.channels_out, d + self.stepping.queries, n_params=len(self.features.names),
            masked=self.masked or not self.shared, periodic=self.template.periodic,
            residual=self.stepping.residual, functions=state + self.functions(),
        )  # fmt: skip

    def place(self, case: Case, support: Support) -> dict[str, Any]:
        sensors = None
        if self.sensors is not None:
            low, high = np.array(support.extents, dtype=np.float64).T
            stencil = support.stencil(low + self.sensors * (high - low))
            sensors = (stencil.index, stencil.weight)
        return super().place(case, support) | {"sensors": sensors}

    def applied(
        self, operator: nn.Module, state: Tensor | None, given: Given, params: Tensor, time: Tensor | None
    ) -> Tensor:
        n = len(params)
        points, mask = self.points_in(given, n, time), of_points(given.mask, n)
        values = self.fields_in(state, given, n)
        functions: tuple[Function, ...] = ()
        if values is not None and given.sensors is None:
            functions = (Function(values.movedim(1, 2), self.points_in(given, n, None), mask),)
        elif values is not None and given.sensors is not None:
            assert self.sensors is not None
            places = torch.as_tensor(self.sensors, dtype=points.dtype, device=points.device)
            functions = (Function(_sampled(values, *given.sensors), places.expand(n, -1, -1)),)
        functions += self.functions_in(given, n)
        batch = PointBatch(points, params if params.shape[1] else None, functions, mask)
        return operator(**batch.arguments()).movedim(2, 1)

    @property
    def anywhere(self) -> bool:
        return self.sensors is not None and (self.stepping.past == 0 or self.stepping.queries)

    def at(
        self, given: Given, state: Tensor | None, support: Support, points: np.ndarray
    ) -> tuple[Given, Tensor | None]:
        coords = torch.from_numpy(shares(points, support).T.copy())[None].to(given.coords)
        return replace(given, coords=coords, mask=None), state

    def physical(self, operator: nn.Module) -> tuple[Physical, dict[str, Input]]:
        loose = [f.name for f in self.signature().functions if f.sensors is None]
        if self.given_functions.names:
            names = ", ".join(self.given_functions.names)
            raise InputError(f"export: {names}: expected no inputs at points of their own, got these")
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
