"""Which problems are the balance of mass alone."""

from __future__ import annotations

from dataclasses import dataclass

from sciml.calculus import Derivative, slope, strong
from sciml.errors import InputError
from sciml.expressions import ZERO, Constant, Expression, Field, rebuilt
from sciml.problem import Problem


@dataclass(frozen=True)
class Continuity:
    """∂t ρ + Σ_k ∂_k(ρ v_k) = 0.

    Args:
        density: the name of ρ.
        velocities: of the v_k, in the order of the axes.
    """

    density: str
    velocities: tuple[str, ...]


def continuity(problem: Problem, asks: str) -> Continuity:
    """The one balance of a problem, which is that of mass.

    Args:
        asks: who asks, for the message.

    Raises:
        InputError: another equation, more of them, or a steady problem.
    """
    d, names = problem.dimensions, [f.name for f in problem.fields]
    rows = [row for b in problem.balances().values() for row in strong(b)]
    if not problem.steady and len(rows) == 1 and len(names) == d + 1:
        (row,) = rows
        for density in names:
            found = _of(row, density, [n for n in names if n != density], d)
            if found is not None:
                return found
    raise InputError(
        f"{asks}: {problem.name} is no balance of mass, expected ∂t ρ + ∇·(ρ v) = 0 alone, for a density and "
        f"{d} components of a velocity, such as MassTransport({d})"
    )


def _of(row: Expression, density: str, others: list[str], d: int) -> Continuity | None:
    """The balance with `density` as ρ; None where it is another."""
    rho, units = Field(density), [tuple(int(k == axis) for k in range(d + 1)) for axis in range(d + 1)]
    if slope(row, Derivative(rho, units[d])) != Constant(1.0):
        return None
    velocities, known = [], {Derivative(rho, units[d])}
    for axis in range(d):
        here = Derivative(rho, units[axis])
        name = next((n for n in others if slope(row, here) == Field(n)), None)
        if name is None or slope(row, across := Derivative(Field(name), units[axis])) != rho:
            return None
        velocities.append(name)
        known |= {here, across}
    rest = rebuilt(row, lambda leaf: ZERO if leaf in known else leaf)
    return Continuity(density, tuple(velocities)) if rest == ZERO and len({*velocities}) == d else None
