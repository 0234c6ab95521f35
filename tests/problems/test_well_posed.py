"""Which conditions determine a solution, and which do not."""

import pytest

from sciml import Balance, Box, Dirichlet, FieldSpec, InputError, ParameterSpec, PDEProblem, Scales, registry
from sciml._well_posed import required_conditions
from sciml.boundary import Outflow


def case_of(rows, names=("q",), given=None, periodic=(False,), **parameters):
    """A case on a box with the balances that `rows(q, d, theta, x)` gives."""

    class Here(PDEProblem):
        name, title, dimensions = "here", "Here", len(periodic)
        fields = tuple(FieldSpec(n, "1") for n in names)

        def geometry(self, case):
            return Box((0.0,) * len(periodic), (1.0,) * len(periodic), periodic)

        def boundary_conditions(self, case):
            return given or {}

        def equations(self, q, d, theta, x):
            return rows(q, d, theta, x)

        def scales(self, case):
            return Scales(1.0, 1.0, dict.fromkeys(names, 1.0))

    Here.parameters = tuple(ParameterSpec(n, "1", v) for n, v in parameters.items())
    return Here().case()


def carried(q, d, theta, x):
    return {"mass": Balance(storage=q.q, flux=theta.k * d.vector(q.q))}


def bent(q, d, theta, x):
    return {"bend": Balance(storage=q.q, flux=d.grad(d.div(d.grad(q.q))))}


STATED = [n for n in sorted(registry.problems.names())
          if issubclass(p := registry.problems.get(n), PDEProblem) and p.__module__.startswith("sciml.")]  # fmt: skip


@pytest.mark.parametrize("name", STATED)
def test_all_problems_of_the_package_are_well_posed(name):
    case = registry.problems.get(name)().case()
    assert set(required_conditions(case)) <= set(case.geometry.boundaries)


def test_what_is_carried_comes_in_from_somewhere():
    with pytest.raises(InputError, match="'q' is carried along x, but has no condition at either end"):
        required_conditions(case_of(carried, k=1.0))
    for end in ("x_min", "x_max"):
        required_conditions(case_of(carried, given={end: {"q": Dirichlet(0.0)}}, k=1.0))
    required_conditions(case_of(carried, periodic=(True,), k=1.0))
    required_conditions(case_of(carried, k=0.0))  # nothing moves

    def vanishing(q, d, theta, x):  # at both ends
        return {"mass": Balance(storage=q.q, flux=d.vector(x[0] * (1.0 - x[0]) * q.q))}

    required_conditions(case_of(vanishing))

    def plane(q, d, theta, x):
        return {"mass": Balance(storage=q.q, flux=d.vector(q.q, theta.k * q.q))}

    given = {"x_min": {"q": Dirichlet(1.0)}, "x_max": {"q": Outflow()}}
    required_conditions(case_of(plane, given=given, periodic=(False, False), k=0.0))
    with pytest.raises(InputError, match="'q' is carried along y"):
        required_conditions(case_of(plane, given=given, periodic=(False, False), k=1.0))


def test_waves_need_a_condition_of_one_of_their_fields():
    def sound(q, d, theta, x):
        return {"mass": Balance(storage=q.p, flux=d.vector(q.u)), "momentum": Balance(storage=q.u, flux=d.vector(q.p))}

    walls = {end: {"u": Dirichlet(0.0)} for end in ("x_min", "x_max")}
    required_conditions(case_of(sound, ("p", "u"), walls))
    with pytest.raises(InputError, match="is carried along x"):
        required_conditions(case_of(sound, ("p", "u")))


def test_more_derivatives_than_conditions():
    ends = {end: {"q": Dirichlet(0.0)} for end in ("x_min", "x_max")}
    with pytest.raises(InputError, match="'q' is differentiated 4 times in space, and one condition on each part"):
        required_conditions(case_of(bent, given=ends))
    required_conditions(case_of(bent, periodic=(True,)))


def test_of_some_balances_alone():
    """What is not held to a balance needs no condition."""

    def two(q, d, theta, x):
        return {"a": Balance(storage=q.a, flux=-d.grad(q.a)), "b": Balance(storage=q.b, flux=-d.grad(q.b))}

    case = case_of(two, ("a", "b"), {end: {"a": Dirichlet(0.0)} for end in ("x_min", "x_max")})
    with pytest.raises(InputError, match="no condition for 'b' on 'x_min'"):
        required_conditions(case)
    assert set(required_conditions(case, [case.problem.balances()["a"]])) == {"x_min", "x_max"}
