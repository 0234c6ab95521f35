"""Answers that are linear in some parameters, whatever the operator: loads of elastic bodies, sources of heat.

    û(f, q) = Σ_k f_k · operator(e_k, q),   f_k = p_k / s_k

of parameters p that the solution is linear in (taken together: without them it is zero) and others q. The operator is
applied once for each of them, with that one at its unit s_k and the others at zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from sciml.errors import InputError
from sciml.training.samples import features

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from sciml.problem import Case
    from sciml.training.encoding.given import Given
    from sciml.training.normalisation import FeatureScaler


def superposed(
    apply: Callable[[Given, Float[Tensor, "sample feature"]], Float[Tensor, "sample channel *space"]],
    given: Given,
    params: Float[Tensor, "batch feature"],
    columns: Sequence[int],
) -> Float[Tensor, "batch channel *space"]:
    """The sum of what `apply` answers to each unit load, times the loads, which stand in these columns of `params`."""
    n, k = len(params), len(columns)
    shown = params[:, None].repeat(1, k, 1)
    units = torch.eye(k, dtype=params.dtype, device=params.device)
    for i, column in enumerate(columns):  # numbers, not lists: these would be copied to the device
        shown[:, :, column] = units[i]
    answers = apply(given.repeated(k), shown.flatten(0, 1)).unflatten(0, (n, k))
    factors = torch.stack([params[:, c] for c in columns], 1)
    return (answers * factors.reshape(n, k, *[1] * (answers.ndim - 2))).sum(1)


def linear_features(cases: Sequence[Case], names: Sequence[str]) -> tuple[str, ...]:
    """The feature that tells each of the linear parameters.

    Raises:
        InputError: a parameter that is no feature, one that changes others as well or the scales of fields, or that is
            zero throughout.
    """
    found: list[str] = []
    few = [cases[i] for i in np.unique(np.linspace(0, len(cases) - 1, 5).astype(int))]
    for name in names:
        values = np.array([c.parameters[name] for c in cases])
        if not values.any():
            raise InputError(f"linear_in: {name} is zero in all training cases, so that nothing tells what it does")
        told = {f for case in few for f in _told(case, name, [values.min(), values.max()])}
        if len(told) != 1:
            what = f"those of {', '.join(sorted(told))}" if told else "none"
            raise InputError(f"linear_in: expected one feature in proportion to {name}, got {what}")
        found += told
    for feature, name in zip(found, names, strict=True):
        if found.count(feature) > 1:
            raise InputError(f"linear_in: expected a feature for {name} alone, got {feature}, which mixes several")
    return tuple(found)


def _told(case: Case, name: str, known: Sequence[float]) -> set[str]:
    """The features of a case that change with a parameter."""
    value, now, scales = case.parameters[name], features(case, np.zeros(1), 0.0)[0], case.scales.fields
    found: set[str] = set()
    tried = 0
    for other in (*known, value / 2, 2 * value, -value):
        if other == value:
            continue
        try:
            changed = replace(case, parameters={**case.parameters, name: float(other)}, inputs=dict(case.inputs))
        except InputError:  # beyond its range
            continue
        tried += 1
        if dict(changed.scales.fields) != dict(scales):
            raise InputError(f"linear_in: the scales of {case.problem.name}'s fields change with {name}")
        then = features(changed, np.zeros(1), 0.0)[0]
        for feature in now.keys() | then.keys():
            a, b = now.get(feature, np.nan), then.get(feature, np.nan)
            if a == b:
                continue
            found.add(feature)
            if not abs(b * value - a * other) <= 1e-9 * max(abs(b * value), abs(a * other)):
                raise InputError(f"linear_in: feature {feature} is not in proportion to {name}")
    if not tried:
        raise InputError(f"linear_in: {name} can be nothing but {value:g}")
    return found


def about_units(scaler: FeatureScaler, table: np.ndarray, names: Sequence[str]) -> FeatureScaler:
    """The scaler with these features over their units, zero staying zero: root mean squares of what is not zero."""
    mean, std = scaler.mean.copy(), scaler.std.copy()
    for i in map(scaler.names.index, names):
        there = table[table[:, i] != 0, i]
        mean[i], std[i] = 0.0, np.sqrt((there**2).mean())
    return replace(scaler, mean=mean, std=std)
