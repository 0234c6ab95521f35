"""Fields on one grid as channels of an array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from sciml.contracts import GridBatch, Signature
from sciml.errors import InputError
from sciml.problem import Case
from sciml.support import Grid, Mesh, Support
from sciml.training.encoding._base import Encoding
from sciml.training.encoding.given import Given
from sciml.training.encoding.physical import Input, Physical, PhysicalGrid, asked, channels, listed


class GridEncoding(Encoding):
    """Past frames and static inputs as channels; features, and the time that is asked for, as parameters.

    Positions are given to the operator where cells are not equal; on uniform grids it knows them itself.
    """

    flat: ClassVar[bool] = False

    def signature(self) -> Signature:
        template = self._grid(self.template)
        past = self.stepping.past if self.sees_start else 0
        channels = past * len(self.fields) + len(self.static.names)
        return Signature(
            max(channels, 1), self.channels_out, template.dimensions,
            n_params=len(self.features.names) + self.stepping.queries, masked=self.masked,
            periodic=tuple(reversed(template.periodic)), space=template.shape, residual=self.stepping.residual,
            frames_out=self.stepping.ahead,
        )  # fmt: skip

    def _grid(self, support: Support) -> Grid:
        if not isinstance(support, Grid):
            kind = "an unstructured mesh" if isinstance(support, Mesh) else "loose points"
            where = f"{kind} of {support.size} nodes"
            raise InputError(f"data: values live on {where}, but the operator takes fields on a grid")
        return support

    def place(self, case: Case, support: Support) -> dict[str, Any]:
        grid = self._grid(support)
        inside = grid.inside
        if inside is None and self.masked:
            inside = np.ones(grid.shape, bool)
        weights = grid.weights()
        equal = grid.uniform_cells and grid.mask is None
        centres = tuple(c.astype(self.dtype) for c in reversed(grid.centres))
        return {
            "static": self.inputs(case, support),
            "mask": None if inside is None else inside[None].astype(self.dtype),
            # one where all cells are alike: equal for all cases, whatever their size
            "weights": None if equal and not self.masked else (weights / weights[weights > 0].mean())[None],
            "coords": None if grid.uniform_cells else _positions(grid),
            "axes": centres,
            "lengths": np.array([b - a for a, b in reversed(grid.extents)]),
            "periodic": tuple(reversed(grid.periodic)),
        }

    def agree(self, places: list[dict[str, Any]], supports: Sequence[Support]) -> None:
        super().agree(places, supports)
        for k, support in enumerate(supports):
            grid = self._grid(support)
            for name, value in (("weights", np.ones((1, *grid.shape))), ("coords", _positions(grid))):
                if places[k][name] is None and any(p[name] is not None for p in places):
                    places[k] = places[k] | {name: value}

    def applied(
        self, operator: nn.Module, state: Tensor | None, given: Given, params: Tensor, time: Tensor | None
    ) -> Tensor:
        parts = [] if state is None or not self.sees_start else [state.flatten(1, 2)]
        if given.static is not None:
            static = given.static
            parts.append(static if len(static) == len(params) else static.expand(len(params), *static.shape[1:]))
        if not parts:
            assert given.axes is not None
            parts = [params.new_ones(len(params), 1, *(a.shape[1] for a in given.axes))]
        if time is not None:
            params = torch.cat([params, time[:, None]], dim=1)
        x = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        batch = GridBatch(x, params if params.shape[1] else None, given.mask, given.coords)
        return operator(**batch.arguments())

    def physical(self, operator: nn.Module) -> tuple[Physical, dict[str, Input]]:
        grid = self._grid(self.template)
        names, space = ("z", "y", "x")[-grid.dimensions :], grid.shape
        features = (*self.features.names, *asked(self))

        def spread(holds: Sequence[str]) -> Input:
            return Input(("batch", "channel", *names), (2, len(holds), *space), tuple(holds))

        inputs = {"x": spread(channels(self) or ("ones",))} | listed("params", "feature", features)
        if self.masked:
            inputs["mask"] = spread(("1 inside, 0 outside",))
        if not grid.uniform_cells:
            inputs["coords"] = spread([f"{n} as a share of the extent" for n in names])
        inputs |= listed("scales", "field", self.fields if self.problem.scaled else ())
        return PhysicalGrid(operator, self, grid.dimensions), inputs


def _positions(grid: Grid) -> np.ndarray:
    """(D, *shape) of the cells as shares of the extents, in array order of the axes."""
    return np.moveaxis(grid.unit()[..., ::-1], -1, 0).copy()
