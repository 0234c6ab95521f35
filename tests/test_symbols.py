"""Equations as symbols: for every problem in the plane that has some, and exactly."""

import numpy as np
import pytest

import sciml
from sciml import registry
from sciml.errors import InputError
from sciml.expressions import Parameter, leaves
from sciml.problem import PDEProblem
from sciml.symbols import Symbol, expressions_of, numbered, parameters, rows, symbols, vocabulary

KNOWN = [n for n in registry.problems.names() if n != "data"]
PLANE = [
    n for n in KNOWN if issubclass(k := registry.problems.get(n), PDEProblem) and k.dimensions == 2 and k().balances()
]


@pytest.mark.parametrize("name", PLANE)
def test_equations_are_read_again_as_they_were(name: str) -> None:
    case = registry.problems.get(name)().case()
    assert expressions_of(symbols(case), 2) == rows(case)


@pytest.mark.parametrize("name", PLANE)
def test_every_parameter_of_an_equation_is_told_by_its_value(name: str) -> None:
    problem = registry.problems.get(name)()
    several = [p for b in problem.balances().values() for row in b.components() for p in (row[0], *row[1], row[2])]
    spoken = {leaf.name for e in several if e is not None for leaf in leaves_of(e) if isinstance(leaf, Parameter)}
    first = problem.case()
    for spec in problem.parameters:
        if spec.name in spoken:
            other = problem.case(**{spec.name: spec.default * 0.875 + 0.03 * (spec.default == 0)})
            assert symbols(other) != symbols(first), spec.name


def leaves_of(e: object) -> set[object]:
    return leaves(e)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", PLANE)
def test_no_word_is_unknown(name: str) -> None:
    problem = registry.problems.get(name)()
    told, fields = symbols(problem.case(), step=0.1), [f.name for f in problem.fields]
    words, values = numbered(told, fields)
    assert words.min() > 0 and words.max() < len(vocabulary(fields)) and np.isfinite(values).all()
    assert told[-2:] == (Symbol("step"), Symbol("number", 0.1))


def test_boundary_values_and_bodies_are_told() -> None:
    cavity, cylinder = sciml.problems.LidDrivenCavity(), sciml.problems.CylinderFlow()
    assert symbols(cavity.case(lid_velocity=1.25)) != symbols(cavity.case(lid_velocity=1.5))
    assert symbols(cylinder.case(radius=0.01)) != symbols(cylinder.case(radius=0.011))
    assert Symbol("number", 1.25) in symbols(cavity.case(lid_velocity=1.25))


def test_parameters_alone_say_nothing_of_the_equation() -> None:
    told = parameters(sciml.problems.Swirl().case(speed=0.7, width=0.08), step=0.1)
    assert {s.word for s in told} == {"number", "step"} and told[-1].value == 0.1
    assert {0.7, 0.08} <= {s.value for s in told}


def test_bad_input_has_one_clear_line() -> None:
    with pytest.raises(InputError, match="no field is called 'v'"):
        numbered((Symbol("field:v"),), ("u",))
    with pytest.raises(InputError, match="middle of a row"):
        expressions_of((Symbol("row"), Symbol("add"), Symbol("field:u")), 2)
    with pytest.raises(InputError, match="states no equations"):
        symbols(sciml.problems.DamBreak().case())
