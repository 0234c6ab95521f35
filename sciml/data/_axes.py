"""Positions along the axes of a grid, as a packed data set holds them."""

from __future__ import annotations

import numpy as np
import xarray as xr

from sciml.data import schema


def uniform(dim: str, n: int, low: float, high: float) -> np.ndarray:
    """Positions along a uniform axis: n cell centres for "x", n points from end to end for "x_face" and "x_node"."""
    if dim in schema.SPACE:
        return low + (np.arange(n) + 0.5) * ((high - low) / n)
    return np.linspace(low, high, n)


def positions(dataset: xr.Dataset, i: int, dim: str) -> np.ndarray:
    """Positions along a grid axis of case i."""
    if f"{dim}_coordinate" in dataset.variables:
        return np.asarray(dataset[f"{dim}_coordinate"].values[i], dtype=np.float64)
    axis = schema.axis_of(dim)
    low, high = (float(dataset[f"{axis}_{end}"].values[i]) for end in ("min", "max"))
    return uniform(dim, dataset.sizes[dim], low, high)
