"""Which problems the flow solvers integrate: those whose balances are theirs, term by term."""

from __future__ import annotations

from sciml.errors import InputError
from sciml.expressions import Field, Names, Operators, Parameter
from sciml.problem import Problem
from sciml.problems._incompressible import navier_stokes
from sciml.problems._two_phase import two_phase


def one_fluid(problem: Problem) -> bool:
    """One incompressible fluid with constant density and viscosity."""
    q = Names("field", {name: Field(name) for name in ("u", "v", "p")})
    theta = Names("parameter", {p.name: Parameter(p.name) for p in problem.parameters})
    try:
        wanted = navier_stokes(q, Operators(2), theta)
    except InputError:  # a parameter that incompressible flow needs is missing
        return False
    found = problem.balances()
    return {n: b.components() for n, b in found.items()} == {n: b.components() for n, b in wanted.items()}


def two_fluids(problem: Problem) -> bool:
    """Two immiscible incompressible fluids, with or without gravity along −y."""
    q = Names("field", {name: Field(name) for name in ("u", "v", "p", "alpha")})
    theta = Names("parameter", {p.name: Parameter(p.name) for p in problem.parameters})
    found = {n: b.components() for n, b in problem.balances().items()}
    for gravity in ("gravity", None):
        try:
            weight = None if gravity is None else getattr(theta, gravity)
            wanted = two_phase(q, Operators(2), theta, weight)
        except InputError:  # a parameter is missing
            continue
        if found == {n: b.components() for n, b in wanted.items()}:
            return True
    return False
