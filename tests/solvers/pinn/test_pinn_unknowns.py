"""What is found beside the fields: inputs over space from a first guess, and what is refused as observations."""

from typing import Any

import numpy as np
import pytest

import sciml
from sciml import Balance, Box, Dirichlet, FieldSpec, Flux, InputError, ParameterSpec, PDEProblem, Running, Scales
from sciml.geometry import Disc
from sciml.problem import InputSpec
from sciml.solvers.pinn import PINN, Adam, Architecture, GradientNorms, LevenbergMarquardt, PINNRecipe
from sciml.solvers.pinn._observed import observed
from sciml.solvers.pinn._terms import Terms

QUIET = Running(progress=False)
X = (np.arange(512) + 0.5) / 512


class Rod(PDEProblem):
    """−∂x(k(x) ∂x u) = f(x) on [0, 1], k ∂x u = 1 at the one end, u = 0 at the other; k = 1 + ½ sin πx and the f of
    u = x(1 − x). The flux at one end, and hence everywhere, is known, and k with it."""

    name, title, dimensions, steady = "rod", "Rod", 1, True
    fields = (FieldSpec("u", "K"),)
    inputs = (
        InputSpec("conductivity", "W m-1 K-1", "coefficient", ("x",), positive=True),
        InputSpec("heating", "W m-3", "source", ("x",)),
    )

    def geometry(self, case):
        return Box((0.0,), (1.0,))

    def boundary_conditions(self, case):
        return {"x_min": {"u": Flux(1.0)}, "x_max": {"u": Dirichlet(0.0)}}

    def equations(self, q: Any, d: Any, theta: Any, x: Any):
        return {"heat": Balance(flux=-q.conductivity * d.grad(q.u), source=q.heating)}

    def scales(self, case):
        return Scales(1.0, 1.0, {"u": 0.25})


def conductivity(x):
    return 1 + 0.5 * np.sin(np.pi * x)


HEATING = 2 * conductivity(X) - 0.5 * np.pi * np.cos(np.pi * X) * (1 - 2 * X)


def test_an_input_over_space_is_found_from_a_first_guess():
    case = Rod().case(conductivity=np.full(512, 2.0), heating=HEATING)
    places = np.linspace(0.02, 0.98, 60)[:, None]
    seen = {"points": places, "u": (places * (1 - places))[:, 0]}
    pinn = PINN(Architecture(width=12, depth=2), unknown=("conductivity",))
    recipe = PINNRecipe(phases=(Adam(1000, 1e-2), LevenbergMarquardt(60)), points=100)
    pinn.fit(case, recipe, observations=seen, running=QUIET)
    gap = pinn.found["conductivity"](places) / conductivity(places[:, 0]) - 1
    assert np.sqrt((gap**2).mean()) < 0.08  # the guess is 60 % off


def test_the_case_has_the_first_guess():
    import jax

    from sciml.solvers.pinn._functions import evaluated
    from sciml.solvers.pinn._unknowns import input_network

    case = Rod().case(conductivity=1e-6 * conductivity(X), heating=HEATING)
    with jax.enable_x64(True):
        for name, values in (("conductivity", 1e-6 * conductivity(X)), ("heating", HEATING)):
            began = input_network(case, name, Architecture(8, 1), jax.random.key(0))
            found = evaluated(began, np.stack([X, 0 * X], axis=1))
            ratio = np.log(found / values) if name == "conductivity" else (found - values) / HEATING.std()
            assert np.abs(ratio).max() < 3, name  # a network of order one beside it


class Channel(PDEProblem):
    """Steady Stokes flow in [0, 1]²; the force on the outlet says what the pressure is."""

    name, title, dimensions, steady = "stokes_channel", "Channel", 2, True
    fields = (FieldSpec("u", "m s-1"), FieldSpec("v", "m s-1"), FieldSpec("p", "Pa", role="diagnostic"))

    def geometry(self, case):
        return Box((0.0, 0.0), (1.0, 1.0))

    def boundary_conditions(self, case):
        still = {"u": Dirichlet(0.0), "v": Dirichlet(0.0)}
        return {"x_min": still, "y_min": still, "y_max": still, "x_max": {"u": Flux(0.0), "v": Flux(0.0)}}

    def equations(self, q: Any, d: Any, theta: Any, x: Any):
        velocity = d.vector(q.u, q.v)
        return {
            "momentum": Balance(flux=q.p * d.identity() - d.grad(velocity)),
            "continuity": Balance(flux=velocity),
        }

    def scales(self, case):
        return Scales(1.0, 1.0, {"u": 1.0, "v": 1.0, "p": 1.0})


def test_a_pressure_floats_only_where_nothing_fixes_it():
    class Closed(Channel):
        def boundary_conditions(self, case):
            still = {"u": Dirichlet(0.0), "v": Dirichlet(0.0)}
            return dict.fromkeys(("x_min", "x_max", "y_min", "y_max"), still)

    assert Terms(Closed().case()).floating == ("p",)
    assert Terms(Channel().case()).floating == ()


def test_observations_know_when_and_where_they_are():
    case = sciml.problems.Burgers().case()
    truth = sciml.solvers.PseudoSpectral(64).solve(case, times=[0.1, 0.3])
    points, values = observed(case, truth.isel(time=-1))
    assert np.all(points[:, 1] == 0.3) and np.array_equal(values["u"], truth["u"].values[-1])
    bad = (
        (truth.isel(time=-1).drop_vars("time"), "changes in time, expected a coordinate 'time'"),
        ({"points": [[0.5, -3.0]], "u": [0.0]}, "expected times from 0 on, got -3"),
        ({"points": "abc", "u": [0.0]}, "points: expected an array of numbers"),
        ({"points": [[0.5, 0.1]], "u": "abc"}, "u: expected an array of numbers"),
    )
    for given, message in bad:
        with pytest.raises(InputError, match=message):
            observed(case, given)
    with pytest.raises(InputError, match=r"expected places within the domain, got \(50\)"):
        observed(sciml.problems.HeatEquation().case(), {"points": [[50.0, 0.1]], "T": [0.0]})


def test_unknowns_keep_to_one_window():
    case, seen = sciml.problems.Burgers().case(), {"points": [[0.5, 0.1]], "u": [0.0]}
    with pytest.raises(InputError, match="expected one window of time, got 3: each would find values of its own"):
        PINN(unknown=("viscosity",)).fit(case, PINNRecipe(until=0.3, windows=3), observations=seen, running=QUIET)


def test_unknowns_in_coefficients_defaults_and_holes_are_refused():
    class Base(Rod):
        parameters = (ParameterSpec("k", "W m-1 K-1", 2.0, 0.0),)

        def equations(self, q: Any, d: Any, theta: Any, x: Any):
            return {"heat": Balance(flux=-theta.k * d.grad(q.u), source=q.heating)}

    class InCoefficient(Base):
        def boundary_conditions(self, case):
            return {"x_min": {"u": sciml.Robin(0.0, 1.0, case.k)}, "x_max": {"u": Dirichlet(0.0)}}

    class InDefault(Base):
        inputs = (InputSpec("heating", "W m-3", "source", ("x",), default=lambda theta, x: theta["k"] * x),)

    class InHole(Base):
        dimensions = 2
        inputs = ()

        def geometry(self, case):
            return Box((0.0, 0.0), (1.0, 1.0)).without(Disc((0.5, 0.5), 0.1 * case.k), "hole")

        def boundary_conditions(self, case):
            return {b: {"u": Dirichlet(0.0)} for b in case.geometry.boundaries}

        def equations(self, q: Any, d: Any, theta: Any, x: Any):
            return {"heat": Balance(flux=-theta.k * d.grad(q.u), source=1.0)}

    given = {"heating": np.ones(16)}
    for case, where in (
        (InCoefficient().case(**given), "given on 'x_min'"), (InDefault().case(), "the default of 'heating'"),
        (InHole().case(), "the domain"),
    ):  # fmt: skip
        seen = {"points": np.full((1, case.problem.dimensions), 0.2), "u": [0.0]}
        with pytest.raises(InputError, match=f"'k' is in an equation, and in .*{where}"):
            PINN(unknown=("k",)).fit(case, PINNRecipe(), observations=seen, running=QUIET)


def test_balancing_sees_all_of_a_block():
    """Observations frame by frame: the first one agrees exactly with how things begin, and has no gradient."""
    case = sciml.problems.Burgers().case()
    x = (np.arange(600) + 0.5) / 600
    points = np.concatenate([np.stack([x, np.full(600, t)], axis=1) for t in (0.0, 0.1)])
    seen = {"points": points, "u": np.concatenate([np.sin(2 * np.pi * x), np.zeros(600)])}
    pinn = PINN(Architecture(8, 1), unknown=("viscosity",))
    recipe = PINNRecipe(until=0.1, phases=(LevenbergMarquardt(1),), points=64, balancing=GradientNorms())
    pinn.fit(case, recipe, observations=seen, running=QUIET)
    assert pinn.history[-1]["weights"]["observations.u"] < 1000  # where nothing is seen of a gradient it is 10⁴
