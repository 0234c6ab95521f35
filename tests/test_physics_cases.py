"""What the benchmark of physics-informed networks is made of: its flows, and how it proves them by values at points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks._physics_cases import GIVEN, Given, LidProfile, Step, TwoCoefficients, TwoDiscs
from benchmarks._physics_peer import PROGRAM
from benchmarks._physics_proof import derivatives, equations
from sciml import Flux
from sciml.derivatives import jax as provider
from sciml.problems import Burgers

VISCOSITY = 1 / 40
DECAY = 1 / (2 * VISCOSITY) - np.sqrt(1 / (4 * VISCOSITY**2) + 4 * np.pi**2)


def kovasznay(lib):
    """An exact solution of the steady equations (L. I. G. Kovasznay, 1948)."""
    return {
        "u": lambda z: 1 - lib.exp(DECAY * z[..., 0]) * lib.cos(2 * np.pi * z[..., 1]),
        "v": lambda z: DECAY / (2 * np.pi) * lib.exp(DECAY * z[..., 0]) * lib.sin(2 * np.pi * z[..., 1]),
        "p": lambda z: (1 - lib.exp(2 * DECAY * z[..., 0])) / 2 + 0 * z[..., 1],
    }


def test_the_equations_of_the_flows_hold_for_an_exact_solution():
    z = np.random.default_rng(0).uniform(0, 1, (50, 3))
    for problem in (LidProfile(), TwoDiscs(), Step()):
        balances = problem.balances()
        assert list(balances) == ["momentum", "continuity"]  # rows in the order of the fields u, v, p
        with jax.enable_x64(True):
            for balance in balances.values():
                given = {"parameters": {"viscosity": VISCOSITY, "lid": 1.0}}
                left = provider.residual(balance, kovasznay(jnp), jnp.asarray(z), **given)
                assert np.abs(left).max() < 1e-11


def test_the_proof_finds_the_coefficients_of_an_exact_solution():
    points = np.random.default_rng(1).uniform(0, 1, (3000, 2))
    fields = {n: f(points) for n, f in kovasznay(np).items()}
    found = equations(Given("", LidProfile().case(viscosity=VISCOSITY), points, fields))
    assert found["continuity"] < 2e-3 and found["momentum"] < 5e-3
    assert found["viscosity_best"] == pytest.approx(VISCOSITY, rel=2e-3)
    assert found["density_best"] == pytest.approx(1.0, rel=2e-3)
    wrong = equations(Given("", LidProfile().case(viscosity=2 * VISCOSITY), points, fields))
    assert wrong["momentum"] > 20 * found["momentum"]


@pytest.mark.parametrize("on_a_grid", [False, True])
def test_local_polynomials_are_exact_up_to_their_degree(on_a_grid):
    """Also where neighbours lie on few lines."""
    s = np.linspace(0, 1, 21)
    points = np.random.default_rng(2).uniform(0, 1, (500, 2))
    if on_a_grid:
        points = np.stack(np.meshgrid(s, s), axis=-1).reshape(-1, 2)
    x, y = points.T
    at = np.array([[0.5, 0.5], [0.31, 0.72]])
    a, b = at.T
    found = derivatives(points, (x**3 * y - 2 * y**4 + x)[:, None], at)
    expected = {
        (0, 0): a**3 * b - 2 * b**4 + a, (1, 0): 3 * a**2 * b + 1, (0, 1): a**3 - 8 * b**3,
        (2, 0): 6 * a * b, (1, 1): 3 * a**2, (0, 2): -24 * b**2,
    }  # fmt: skip
    for alpha, values in expected.items():
        np.testing.assert_allclose(found[alpha][:, 0], values, rtol=0, atol=1e-7)


def test_domains_and_conditions_of_the_flows():
    discs = TwoDiscs().case()
    assert set(discs.boundary_conditions) == set(discs.geometry.boundaries)
    assert isinstance(discs.boundary_conditions["x_max"]["u"], Flux)
    assert not discs.geometry.contains(np.array([[2.0, 1.4], [6.0, 5.1]])).any()
    assert discs.geometry.contains(np.array([[2.0, 1.6], [6.0, 4.9]])).all()
    middle = np.array([[0.0, 4.0]])
    assert discs.boundary_conditions["x_min"]["u"].at(0.0, middle) == pytest.approx(1.0)
    step = Step().case()
    assert set(step.boundary_conditions) == set(step.geometry.boundaries)
    assert step.geometry.contains(np.array([[1.0, 0.9], [2.1, 1.5]])).all()
    assert not step.geometry.contains(np.array([[1.0, 1.1], [1.9, 1.5]])).any()
    lid = LidProfile().case(lid=32.0).boundary_conditions["y_max"]["u"]
    assert lid.at(0.0, np.array([[0.5, 1.0]])) == pytest.approx(8.0)
    assert set(GIVEN) == {"burgers", "lid_2", "lid_8", "lid_32", "two_discs", "step"}


def test_two_coefficients_are_burgers_where_the_first_is_one():
    case = TwoCoefficients().case(viscosity=0.02)
    z = np.random.default_rng(3).uniform(0, 1, (20, 2))
    wave = {"u": lambda z: jnp.sin(2 * np.pi * z[0] - z[1])}
    with jax.enable_x64(True):
        both = [
            provider.residual(p.balances()["momentum"], wave, jnp.asarray(z), parameters=case.parameters)
            for p in (TwoCoefficients(), Burgers())
        ]
    np.testing.assert_allclose(*both, rtol=0, atol=1e-13)


def test_the_peer_imports_nothing_of_the_package_and_the_package_nothing_of_it():
    source = PROGRAM.read_text()
    assert "import sciml" not in source and "from sciml" not in source and "from benchmarks" not in source
    for path in (PROGRAM.parent.parent / "sciml").rglob("*.py"):
        assert "import deepxde" not in path.read_text()
