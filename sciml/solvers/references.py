"""Numerical solvers that learned ones are held against: whichever supports the problem, on coarser grids."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from sciml.errors import InputError
from sciml.support import Grid, Support

if TYPE_CHECKING:
    from sciml.problem import Problem
    from sciml.solver import Solver

SHARES = (Fraction(1, 4), Fraction(1, 2), Fraction(3, 4))  # of the data's resolution
FEWEST = 4  # cells along an axis

Maker = Callable[[tuple[int, ...], bool], "Solver"]


def _flow(counts: tuple[int, ...], full: bool) -> Solver:
    from sciml.solvers.incompressible import IncompressibleFlow

    if len(counts) != 2:
        raise InputError(f"incompressible_flow: resolution is {counts}, expected two counts")
    dtype = "float64" if full else "float32"
    return IncompressibleFlow((counts[0], counts[1]), dtype=dtype, tendencies=full)


def _volumes(counts: tuple[int, ...], full: bool) -> Solver:
    from sciml.solvers.finite_volume import FiniteVolume

    return FiniteVolume(counts)


#: how a reference is made for a grid, the special ones before the general one
MAKERS: list[Maker] = [_flow, _volumes]


def reference(problem: Problem, counts: Sequence[int], full: bool = False) -> Solver | None:
    """The first solver that supports the problem, on a grid of so many cells in array order (z, y, x).

    Args:
        full: in float64 and with all that an audit can make use of, rather than as fast as it goes.
    """
    if not problem.balances():
        return None
    for make in MAKERS:
        try:
            solver = make(tuple(counts), full)
        except InputError:  # not in so many dimensions, or not on so few cells
            continue
        if solver.supports(problem):
            return solver
    return None


def references(problem: Problem, template_support: Support) -> dict[str, Solver]:
    """Solvers at a quarter, a half and three quarters of the data's resolution, by the names of their rows.

    None where the data live on nodes or leave cells out, and where no solver supports the problem.
    """
    if not isinstance(template_support, Grid) or template_support.inside is not None:
        return {}
    found: dict[str, Solver] = {}
    for share in SHARES:
        counts = tuple(max(FEWEST, round(n * share / 4) * 4) for n in template_support.shape)
        if counts != template_support.shape:
            solver = reference(problem, counts)
            if solver is None:
                return {}
            found[f"reference {sized(counts)}"] = solver
    return found


def sized(counts: Sequence[int]) -> str:
    """Counts in array order as people write them, x first."""
    return " × ".join(str(n) for n in reversed(counts))
