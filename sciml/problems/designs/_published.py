"""Designs of several axes: published tables of cases, and random ones beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from sciml.errors import InputError
from sciml.problem import Case, Problem

RANDOM = "ic"  # the subset of random starts, of which there are as many as are asked for
RANDOM_CASES = 100  # where no number is asked for

Table = list[dict[str, float]]


def tabled(
    problem: Problem, tables: Mapping[str, Table], subsets: Sequence[str], count: int | None,
    random_case: Callable[[int], Case] | None = None,
) -> list[Case]:  # fmt: skip
    """The cases to compute, subset by subset.

    Args:
        tables: parameters of all cases of each subset but the random one.
        count: how many in all, spread over subsets by their size and over the axes of each; None for all.
        random_case: the case of a number; None where there is no random subset.

    Raises:
        InputError: more cases than there are.
    """
    sizes = {s: RANDOM_CASES if s == RANDOM else len(tables[s]) for s in subsets}
    found: list[Case] = []
    for subset, n in _shares(sizes, count).items():
        if subset == RANDOM:
            assert random_case is not None
            found += [random_case(i) for i in range(n)]
        else:
            numbers = _spread(tables[subset], n)
            found += [problem.case(**tables[subset][i], label=f"{subset}{i:04d}", subset=subset) for i in numbers]
    return found


def _shares(sizes: dict[str, int], count: int | None) -> dict[str, int]:
    """How many cases of each subset: in proportion to its size, at least one while there are enough."""
    if count is None:
        return dict(sizes)
    if count < 1:
        raise InputError(f"cases: expected at least 1, got {count}")
    fixed = sum(n for s, n in sizes.items() if s != RANDOM)
    if RANDOM not in sizes and count > fixed:
        raise InputError(f"cases: {', '.join(sizes)} have {fixed} cases in all, got {count}")
    exact = {s: count * n / sum(sizes.values()) for s, n in sizes.items()}
    shares = {s: int(e) for s, e in exact.items()}
    by_remainder = sorted(sizes, key=lambda s: (shares[s] > 0, shares[s] - exact[s]))
    for s in by_remainder[: count - sum(shares.values())]:
        shares[s] += 1
    over = {s: max(shares[s] - n, 0) for s, n in sizes.items() if s != RANDOM}
    for s, extra in over.items():
        shares[s] -= extra
    if RANDOM in shares:
        shares[RANDOM] += sum(over.values())
    return shares


def _spread(table: Table, count: int) -> list[int]:
    """`count` cases far from each other in the axes that vary: each next one is farthest from those chosen."""
    if count == 0:
        return []
    values = np.array([list(case.values()) for case in table])
    places = values[:, np.ptp(values, axis=0) > 0]
    ranks = np.stack(
        [np.unique(axis, return_inverse=True)[1] / (np.unique(axis).size - 1) for axis in places.T], axis=1
    )
    chosen = [0]
    distance = np.linalg.norm(ranks - ranks[0], axis=1)
    while len(chosen) < count:
        chosen.append(int(np.argmax(distance)))
        distance = np.minimum(distance, np.linalg.norm(ranks - ranks[chosen[-1]], axis=1))
    return sorted(chosen)


def under_resolved(cases: Sequence[Case], cells: Sequence[float], layers: Sequence[float]) -> dict[str, float]:
    """label -> size of a cell over the thickness of a layer, where the cell is larger."""
    ratios = {case.label: cell / layer for case, cell, layer in zip(cases, cells, layers, strict=True)}
    return {label: round(ratio, 3) for label, ratio in ratios.items() if ratio > 1 + 1e-9}
