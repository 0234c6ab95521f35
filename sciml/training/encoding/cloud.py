"""Fields at points of any number, each with its quadrature weight."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from sciml.contracts import CloudBatch, Signature
from sciml.errors import InputError
from sciml.support import Support
from sciml.training.encoding._flat import LooseEncoding, of_points
from sciml.training.encoding.functions import shares
from sciml.training.encoding.given import Given
from sciml.training.encoding.physical import Input, Physical, PhysicalCloud, asked, channels, listed


class CloudEncoding(LooseEncoding):
    """Past frames and static inputs as values at the points of the case's own support, which also gives the weights.

    Points are the nodes of a mesh, loose points, or the cells of a grid, those outside of its mask ruled out. With
    `Query` the time that is asked for is one more coordinate of all points, and the values are how the case begins.
    Inputs at points of their own are functions, each of any length. Answers at other points than the support's are the
    operator's own, at points of weight 0 with interpolated values.
    """

    def signature(self) -> Signature:
        return Signature(
            self.channels_in, self.channels_out, self.template.dimensions + self.stepping.queries,
            n_params=len(self.features.names), masked=self.masked or not self.shared, periodic=self.template.periodic,
            residual=self.stepping.residual, functions=self.functions(),
        )  # fmt: skip

    def applied(
        self, operator: nn.Module, state: Tensor | None, given: Given, params: Tensor, time: Tensor | None
    ) -> Tensor:
        n = len(params)
        values = self.fields_in(state, given, n)
        batch = CloudBatch(
            self.points_in(given, n, time), None if values is None else values.movedim(1, 2),
            params if params.shape[1] else None, self.functions_in(given, n), of_points(given.mask, n),
            of_points(given.weights, n),
        )  # fmt: skip
        return operator(**batch.arguments()).movedim(2, 1)

    @property
    def anywhere(self) -> bool:
        return True

    def at(
        self, given: Given, state: Tensor | None, support: Support, points: np.ndarray
    ) -> tuple[Given, Tensor | None]:
        stencil = support.stencil(points)
        found = (stencil.weight != 0).any(1)  # else nothing is around that has a value
        index, weight = torch.from_numpy(stencil.index), torch.from_numpy(stencil.weight).to(self.torch_dtype)

        def longer(values: Tensor | None, more: Tensor | None = None) -> Tensor | None:
            """With what interpolation gives at the points, or with `more`."""
            if values is None:
                return None
            more = (values[..., index.to(values.device)] * weight.to(values)).sum(-1) if more is None else more
            return torch.cat([values, more.to(values)], dim=-1)

        assert given.coords is not None and given.weights is not None
        mask = given.mask
        if mask is None and not found.all():
            mask = torch.ones_like(given.weights)
        places = torch.from_numpy(shares(points, support).T.copy())[None]
        return replace(
            given, coords=longer(given.coords, places), static=longer(given.static),
            mask=longer(mask, torch.from_numpy(found)[None, None]),
            weights=longer(given.weights, torch.zeros(1, 1, len(points))),
        ), longer(state)  # fmt: skip

    def physical(self, operator: nn.Module) -> tuple[Physical, dict[str, Input]]:
        if self.given_functions.names:
            names = ", ".join(self.given_functions.names)
            raise InputError(f"export: {names}: expected functions at fixed sensors, got any points")
        points = ("point", self.template.size)
        where = (*(f"{a} as a share of the extent" for a in "xyz"[: self.template.dimensions]), *asked(self))
        inputs = (
            listed("points", "dimension", where, points)
            | listed("values", "channel", channels(self), points)
            | listed("params", "feature", self.features.names)
            | {"weights": Input(("batch", "point"), (2, self.template.size), ("quadrature weight",))}
            | listed("scales", "field", self.fields if self.problem.scaled else ())
        )
        return PhysicalCloud(operator, self), inputs
