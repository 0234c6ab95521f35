"""Which numerical solver is the reference of a problem, and the rows that learned solvers are held against."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from sciml.errors import InputError
from sciml.particle_problem import ParticleProblem
from sciml.support import Grid, Support

if TYPE_CHECKING:
    from sciml.problem import Case, Problem
    from sciml.solver import Solver
    from sciml.solvers._numerical import NumericalSolver

SHARES = (Fraction(1, 4), Fraction(1, 2), Fraction(3, 4), Fraction(1))  # of the data's resolution
FEWEST = 4  # cells along an axis

#: (module, class): the first that supports a problem is its reference, the special ones before the general one
REFERENCES: list[tuple[str, str]] = [
    ("sciml.solvers.incompressible", "IncompressibleFlow"),
    ("sciml.solvers.two_phase", "TwoPhaseFlow"),
    ("sciml.solvers.channel", "ChannelFlow"),
    ("sciml.solvers.shock_capturing", "ShockCapturing"),
    ("sciml.solvers.finite_volume", "FiniteVolume"),
    ("sciml.solvers.pseudospectral", "PseudoSpectral"),
]
#: the same for problems whose fields all live on nodes
ON_NODES: list[tuple[str, str]] = [("sciml.solvers.finite_elements", "FiniteElements")]
#: the same for matter that is followed by particles
OF_PARTICLES: list[tuple[str, str]] = [("sciml.solvers.material_point", "MaterialPoint")]


def reference(problem: Problem, counts: Sequence[int], full: bool = False) -> NumericalSolver | None:
    """The first solver that supports the problem, on a grid of so many cells in array order (z, y, x).

    Args:
        full: in float64 and with all that an audit can make use of, rather than as fast as it goes.
    """
    for module, name in _candidates(problem):
        cls: type[NumericalSolver] = getattr(importlib.import_module(module), name)
        try:
            solver = cls.on(tuple(counts), "float64" if full else "float32", full)
        except InputError:  # not in so many dimensions, or not on so few cells
            continue
        if solver.is_reference(problem):
            return solver
    return None


def _candidates(problem: Problem) -> list[tuple[str, str]]:
    if isinstance(problem, ParticleProblem):
        return OF_PARTICLES
    if not problem.balances():
        return []
    return ON_NODES if all(f.location == "node" for f in problem.fields) else REFERENCES


def references(
    problem: Problem, template_support: Support, cases: Iterable[Case] = (), shares: Sequence[Fraction] = SHARES
) -> dict[str, Solver]:
    """Solvers at these shares of the data's resolution, by the names of their rows. The last one, at all of it, shows
    what a restart from the data loses, and what such data cost.

    Empty where the data live on nodes, and where no solver supports the problem. Left out are resolutions that are too
    coarse for a body in any of the cases.
    """
    if not isinstance(template_support, Grid):
        return {}
    cases = list(cases)
    found: dict[str, Solver] = {}
    for share in shares:
        whole = share == 1
        counts = tuple(n if whole else max(FEWEST, round(n * share / 4) * 4) for n in template_support.shape)
        if whole or counts != template_support.shape:
            solver = reference(problem, counts)
            if solver is None:
                return {}
            if all(takes(solver, case) for case in cases):
                found[f"reference {sized(counts)}"] = solver
    return found


def takes(solver: NumericalSolver, case: Case) -> bool:
    """Whether the solver's grid can hold the case."""
    try:
        solver.fit(case)
    except InputError:
        return False
    return True


def sized(counts: Sequence[int]) -> str:
    """Counts in array order as people write them, x first."""
    return " × ".join(str(n) for n in reversed(counts))
