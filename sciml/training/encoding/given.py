"""What stays the same through a rollout: inputs, mask, positions and quadrature weights of each sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sciml.training.laws.base import Laws

NUMBERS = ("edges", "cells")  # of nodes: as many a sample as it has edges and cells


@dataclass(frozen=True, eq=False)
class Given:
    """Tensors over (batch, ...); a leading 1 stands for the same in all samples.

    Args:
        static: (batch, channel, *shape) normalised input fields.
        mask: (batch, 1, *shape) 1 where there is something to have a value.
        weights: (batch, 1, *shape) quadrature weights with mean 1 over the mask.
        coords: (batch, D, *shape) positions as shares of the domain's extents, in array order of the axes on grids
            (y, x), in the order x, y, z for points.
        axes: for grids the positions of the cells along each axis, in array order, (batch, n).
        lengths: (batch, D) of the domain, in array order for grids.
        sensors: (index, weight), each (batch, sensor, corner): how values at sensors come from values at the points.
        functions: for each input function at points of its own (values (batch, N, 1), points (batch, N, D), mask
            (batch, N) where numbers of points differ).
        edges: for each sample (2, edge) of its graph; one entry if all are the same.
        cells: for each sample (corner, cell), for operators that ask for it; one entry if all are the same.
        periodic: in the order of `lengths`.
        curvature: (batch, 1, N) of the graph at its nodes, for operators that ask for it.
        free: (batch, D, N) shares of steps that nodes may take, for operators that ask for it.
        factor, extension: (batch, field, *shape) φ and g of answers û = g + φ N that meet boundary values, normalised.
        laws: that answers obey.
    """

    static: Tensor | None = None
    mask: Tensor | None = None
    weights: Tensor | None = None
    coords: Tensor | None = None
    axes: tuple[Tensor, ...] | None = None
    lengths: Tensor | None = None
    sensors: tuple[Tensor, Tensor] | None = None
    functions: tuple[tuple[Tensor, Tensor, Tensor | None], ...] = ()
    edges: tuple[Tensor, ...] = ()
    cells: tuple[Tensor, ...] = ()
    periodic: tuple[bool, ...] = field(default=())
    curvature: Tensor | None = None
    free: Tensor | None = None
    factor: Tensor | None = None
    extension: Tensor | None = None
    laws: Laws | None = None

    def to(self, device: Any) -> Given:
        return Given(**{f.name: _moved(getattr(self, f.name), device) for f in fields(self)})

    def rows(self, index: Tensor) -> Given:
        """The samples with these numbers; what is the same for all stays one."""
        found = {f.name: _rows(getattr(self, f.name), index) for f in fields(self) if f.name not in NUMBERS}
        for name in NUMBERS:
            each = getattr(self, name)
            found[name] = tuple(each[int(i)] for i in index) if len(each) > 1 else each
        return Given(**found)

    def repeated(self, times: int) -> Given:
        """Each sample so many times in a row; what is the same for all stays one."""
        found = {f.name: _repeated(getattr(self, f.name), times) for f in fields(self) if f.name not in NUMBERS}
        for name in NUMBERS:
            each = getattr(self, name)
            found[name] = tuple(e for e in each for _ in range(times)) if len(each) > 1 else each
        return Given(**found)

    def shortened(self, points: int) -> Given:
        """The first so many of the points; what follows them has to be padding. Input functions at points of their own
        end with the longest of these samples."""
        functions = tuple(_trimmed(*f) for f in self.functions)
        if self.coords is None or self.axes is not None:  # a grid's cells are all there
            return replace(self, functions=functions)
        each = {
            name: getattr(self, name)
            for name in ("static", "mask", "weights", "coords", "curvature", "free", "factor", "extension")
        }
        short = {name: v[..., :points] for name, v in each.items() if v is not None}
        return replace(self, functions=functions, **short)


def _trimmed(values: Tensor, points: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """An input function without the places that none of its samples fills."""
    if mask is None:
        return values, points, mask
    n = int(mask.sum(1).max())
    return values[:, :n], points[:, :n], mask[:, :n]


def _moved(value: Any, device: Any) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, Laws):
        return value.to(device)
    if isinstance(value, tuple):
        return tuple(_moved(v, device) for v in value)
    return value


def _rows(value: Any, index: Tensor) -> Any:
    if isinstance(value, Tensor):
        return value if len(value) == 1 else value[index]
    if isinstance(value, Laws):
        return value.rows(index)
    if isinstance(value, tuple) and value and isinstance(value[0], Tensor | tuple):
        return tuple(_rows(v, index) for v in value)
    return value


def _repeated(value: Any, times: int) -> Any:
    if isinstance(value, Tensor):
        return value if len(value) == 1 else value.repeat_interleave(times, 0)
    if isinstance(value, Laws):
        return value.repeated(times)
    if isinstance(value, tuple) and value and isinstance(value[0], Tensor | tuple):
        return tuple(_repeated(v, times) for v in value)
    return value


def collate(places: Sequence[dict[str, Any]], dtype: torch.dtype, points: int = 0) -> Given:
    """One `Given` from what an encoding says of each sample.

    Args:
        places: name -> array without the batch axis (or tuples of these, or None).
        points: pad the last axis to so many points, with mask 0; 0 for no padding.
    """
    if points:
        places = [_padded(p, points) for p in places]
    found: dict[str, Any] = {}
    for name in places[0]:
        values = [p[name] for p in places]
        if values[0] is None:
            found[name] = None
        elif name == "periodic":
            found[name] = values[0]
        elif name in NUMBERS:
            same = all(v is values[0] or np.array_equal(v, values[0]) for v in values)
            found[name] = tuple(torch.from_numpy(v) for v in (values[:1] if same else values))
        elif name == "functions":
            found[name] = tuple(_functions([v[k] for v in values], dtype) for k in range(len(values[0])))
        elif isinstance(values[0], tuple):
            found[name] = tuple(_stack([v[k] for v in values], dtype) for k in range(len(values[0])))
        else:
            found[name] = _stack(values, dtype)
    return Given(**found)


def _functions(given: Sequence[tuple[np.ndarray, np.ndarray]], dtype: torch.dtype) -> tuple[Any, Any, Any]:
    """One input function of several samples: (values, points, mask), filled up where they differ in length."""
    longest = max(len(v) for v, _ in given)
    values = np.zeros((len(given), longest, 1))
    points = np.zeros((len(given), longest, given[0][1].shape[1]))
    mask = np.zeros((len(given), longest))
    for i, (v, p) in enumerate(given):
        values[i, : len(v), 0], points[i, : len(v)], mask[i, : len(v)] = v, p, 1
        points[i, len(v) :] = p[:1]
    found = [torch.from_numpy(a).to(dtype) for a in (values, points, mask)]
    return found[0], found[1], None if mask.all() else found[2]


def _stack(values: Sequence[np.ndarray], dtype: torch.dtype) -> Tensor:
    first = values[0]
    if all(v is first or np.array_equal(v, first) for v in values[1:]):
        values = [first]
    stacked = torch.from_numpy(np.ascontiguousarray(np.stack(values)))
    return stacked.to(dtype) if stacked.is_floating_point() else stacked


def _padded(place: dict[str, Any], points: int) -> dict[str, Any]:
    """The last axis filled up: positions with the first point's, all else with zeros."""
    found = dict(place)
    n = place["coords"].shape[-1]
    extra = points - n
    mask = place["mask"]
    found["mask"] = np.pad(np.ones((1, n)) if mask is None else mask, ((0, 0), (0, extra)))
    if extra:
        found["coords"] = np.concatenate([place["coords"], np.repeat(place["coords"][:, :1], extra, 1)], 1)
        for name in ("static", "weights", "curvature", "free", "factor", "extension"):
            if place.get(name) is not None:
                found[name] = np.pad(place[name], ((0, 0), (0, extra)))
    return found
