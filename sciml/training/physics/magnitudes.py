"""How large the terms of a balance are in a case: what its residual is measured in."""

from __future__ import annotations

import operator
from collections.abc import Mapping

from sciml._magnitudes import magnitude
from sciml.expressions import Balance
from sciml.problem import Case


def magnitudes(balance: Balance, case: Case, inputs: Mapping[str, float]) -> list[float]:
    """For each component |storage|/T + Σ_a |flux_a|/L + |source|, by the case's own scales: a field is as large as its
    scale, ∂/∂x divides by the length L, and the terms of a sum do not cancel.

    Args:
        inputs: root mean square of each input field.
    """
    scales, found = case.scales, []
    for storage, flux, source in balance.components():
        sizes = [magnitude(case, e, operator.add, inputs) for e in (*flux, source)]
        total = sum(sizes[:-1]) / scales.length + sizes[-1]
        if storage is not None:
            total += magnitude(case, storage, operator.add, inputs) / scales.time
        found.append(total if total > 0 else 1.0)
    return found
