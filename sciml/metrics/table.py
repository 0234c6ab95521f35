"""All pointwise metrics of a rollout at once, for each field and jointly, at each step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sciml.errors import InputError
from sciml.metrics import pointwise


def rollout_table(
    prediction: Any, target: Any, fields: Sequence[str], *, mask: Any = None, weights: Any = None
) -> dict[str, dict[str, np.ndarray]]:
    """Metrics by name, then by field ("joint" for all together), each (step,).

    Args:
        prediction, target: (sample, step, field, *space), in units that make the joint figures meaningful.
        fields: names along the field axis.
        mask, weights: broadcast to the arrays, e.g. (sample, 1, 1, *space).

    `nmse`, `relative_l2`, `vrmse`, `mse`, `rmse`, `mae` pool all samples of a step into one ratio or mean, `max_error`
    is the maximum over them; `nmse_per_frame` is CFDBench's mean of the per-frame NMSE.
    """
    ndim = len(prediction.shape)
    if ndim < 4 or prediction.shape[2] != len(fields):
        raise InputError(
            f"prediction: expected (sample, step, {len(fields)} fields, *space), got {tuple(prediction.shape)}"
        )
    pooled = {
        "mse": pointwise.mse,
        "nmse": pointwise.nmse,
        "mae": pointwise.mae,
        "rmse": pointwise.rmse,
        "relative_l2": pointwise.relative_l2,
        "vrmse": pointwise.vrmse,
    }
    axis = (0, *range(2, ndim))
    frame = tuple(range(2, ndim))
    table: dict[str, dict[str, np.ndarray]] = {name: {} for name in (*pooled, "max_error", "nmse_per_frame")}
    views: list[tuple[str, slice]] = [("joint", slice(None))]
    views += [(name, slice(i, i + 1)) for i, name in enumerate(fields)]

    def part(array: Any, cut: slice) -> Any:
        if array is None or len(array.shape) < ndim or array.shape[2] == 1:
            return array
        return array[:, :, cut]

    for name, cut in views:
        p, t = prediction[:, :, cut], target[:, :, cut]
        m, w = part(mask, cut), part(weights, cut)
        for metric, function in pooled.items():
            table[metric][name] = np.asarray(function(p, t, mask=m, weights=w, axis=axis))
        table["max_error"][name] = np.asarray(pointwise.max_error(p, t, mask=m, axis=axis))
        frames = np.asarray(pointwise.nmse(p, t, mask=m, weights=w, axis=frame))
        table["nmse_per_frame"][name] = frames.mean(axis=0)
    return table
