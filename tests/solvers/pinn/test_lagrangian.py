"""Networks for characteristics: the transport of a balance, derivatives along x by labels, fast convection, diffusion
that is diffusion in space."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sciml.calculus import Derivative
from sciml.errors import InputError
from sciml.expressions import ZERO, Balance, Constant, Field, Parameter
from sciml.problems import Advection, Burgers, LidDrivenCavity, Poisson
from sciml.solvers import LagrangianPINN, load
from sciml.solvers.pinn import Adam, Architecture, LevenbergMarquardt, PINNRecipe
from sciml.solvers.pinn._transport import Along, along_x, derivatives, transport
from sciml.solvers.pinn.lagrangian import Carried, labels
from sciml.training import Running

QUIET = Running(progress=False)
SMALL = Architecture(12, 2)
X = np.linspace(0.0, 2 * np.pi, 129)


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def test_the_transport_of_known_equations():
    law = transport(Advection())
    assert law.speed == Parameter("speed") and law.rest == ZERO and law.field == "u"
    law = transport(Burgers())
    assert derivatives(law.rest, "u") == 2

    class Porous(Burgers):
        """∂t u + ∂x(−u ∂x u) = −u: no transport but that of diffusion, u_x² belongs to what is left."""

        def equations(self, q, d, theta, x):
            return {"mass": Balance(storage=2.0 * q.u, flux=-2.0 * q.u * d.grad(q.u), source=-2.0 * q.u)}

    law = transport(Porous())
    held = {Field("u"): 3.0, Derivative(Field("u"), (1, 0)): 0.5, Derivative(Field("u"), (2, 0)): -2.0}

    def value(e):
        from sciml.expressions import evaluate

        return evaluate(e, lambda leaf: leaf.value if isinstance(leaf, Constant) else held[leaf], None, {})

    assert value(law.speed) * 0.5 + value(law.rest) == pytest.approx(-(0.5**2) - 3.0 * -2.0 + 3.0)


def test_other_derivatives_in_time_are_refused():
    class Dispersive(Burgers):
        """∂t (u − ν ∂xx u) + ∂x u²/2 = 0 holds ∂t ∂xx u."""

        def equations(self, q, d, theta, x):
            stored = q.u - theta.viscosity * d.div(d.grad(q.u))
            return {"momentum": Balance(storage=stored, flux=d.vector(q.u**2 / 2))}

    with pytest.raises(InputError, match=r"\(2, 1\) derivatives, expected ∂t u alone in time"):
        transport(Dispersive())


def test_derivatives_along_x_by_labels():
    """w(ξ) = sin X(ξ): derivatives along x are those of the sine, however labels are stretched."""

    def place(z):
        return z[0] + 0.4 * jnp.sin(z[0]) + 0.3 * z[1]

    def state(z):
        return jnp.sin(place(z))

    z = jnp.asarray([0.8, 0.5])
    x = float(place(z))
    exact = [np.sin(x), np.cos(x), -np.sin(x), -np.cos(x)]
    np.testing.assert_allclose(np.array(along_x(state, place, z, 3)), exact, atol=1e-13)


def test_residuals_of_a_known_flow_vanish():
    """u = (x − c)/(1 + t) solves Burgers' equation with any viscosity, along X = ξ + (ξ − c) t with w = ξ − c; and the
    linear decay of sin(x − ct) solves advection, where w does not change."""

    class Flow:
        def place(self, z):
            return z[0] + (z[0] - 1.0) * z[1]

        def state(self, z):
            return z[0] - 1.0

    case = Burgers().case(viscosity=0.3, length=2.0)
    term = Along(case, transport(case.problem))
    found = term.scaled(Flow(), {"z": jnp.asarray([0.3, 0.6])}, case.parameters, {})
    np.testing.assert_allclose(np.asarray(found), 0, atol=1e-14)

    class Heat:
        """e^{−νt} sin(x − ct) along X = ξ + ct of convection and diffusion, made of Burgers' about a mean wind."""

        def place(self, z):
            return z[0] + 0.0 * z[1]

        def state(self, z):
            return jnp.exp(-0.3 * z[1]) * jnp.sin(z[0])

    class Diffusion(Burgers):
        def equations(self, q, d, theta, x):
            return {"heat": Balance(storage=q.u, flux=-theta.viscosity * d.grad(q.u))}

    case = Diffusion().case(viscosity=0.3, length=2 * np.pi)
    term = Along(case, transport(case.problem))
    found = term.scaled(Heat(), {"z": jnp.asarray([1.1, 0.6])}, case.parameters, {})
    np.testing.assert_allclose(np.asarray(found), 0, atol=1e-12)


@pytest.fixture(scope="module")
def fast():
    case = Advection().case(speed=50.0, length=2 * np.pi)
    recipe = PINNRecipe(until=1.0, phases=(Adam(300), LevenbergMarquardt(20)), points=300)
    return case, LagrangianPINN(SMALL, resolution=64).fit(case, recipe, running=QUIET)


def test_fast_convection(fast):
    case, network = fast
    t = np.linspace(0.0, 1.0, 21)
    answer = network.solve(case, t, X[:, None])
    exact = case.exact(t, (X,))["u"]
    assert np.linalg.norm(answer.u.values - exact) < 3e-3 * np.linalg.norm(exact)
    grid = network.solve(case, [0.0, 1.0])
    assert grid.u.shape == (2, 64) and "lagrangian" in grid.attrs["solver"].lower()
    np.testing.assert_allclose(grid.u.values[0], np.sin(grid.x.values), atol=1e-6)  # the beginning, which is exact


def test_in_a_directory(fast, tmp_path):
    case, network = fast
    network.save(tmp_path / "run")
    back = load(tmp_path / "run")
    assert type(back) is LagrangianPINN and len(back.history) == len(network.history)
    for wanted in ([0.3, 0.9],):
        one, other = (n.solve(case, wanted, X[:, None]).u.values for n in (network, back))
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("windows", [1, 2])
def test_diffusion_is_that_in_space(windows):
    """Burgers at ν = 0.1 until t = 1: an equation with derivatives along labels would be 10 % off."""
    case = Burgers().case(viscosity=0.1, length=2 * np.pi)
    recipe = PINNRecipe(until=1.0, windows=windows, phases=(LevenbergMarquardt(30),), points=300)
    network = LagrangianPINN(SMALL).fit(case, recipe, running=QUIET)
    answer, exact = network.solve(case, [0.5, 1.0], X[:, None]).u.values, case.exact([0.5, 1.0], (X,))["u"]
    assert np.linalg.norm(answer[1] - exact[1]) < 1e-3 * np.linalg.norm(exact[1])
    assert len(network.windows) == windows


def test_labels_are_found_and_crossing_characteristics_are_told():
    def place(bend):
        return lambda z: z[0] + bend * jnp.sin(z[0]) + 7.0 * z[1]

    x = np.linspace(0, 6, 7)
    label, wanted, apart = labels(place(0.5), 0.0, 2 * np.pi, 0.4, x)
    np.testing.assert_allclose(label + 0.5 * np.sin(label) + 2.8, wanted, atol=1e-6)
    turns = (wanted - x) / (2 * np.pi)
    np.testing.assert_allclose(turns, np.rint(turns), atol=1e-12)
    assert apart and not labels(place(1.5), 0.0, 2 * np.pi, 0.4, x)[2]


def test_crossing_is_told_once(fast):
    """A displacement blown up until it folds."""
    _, network = fast
    flow = network.windows[0].fields
    last = flow.network.displacement.out
    rough = eqx.tree_at(lambda f: f.network.displacement.out.weight, flow, 1e3 * (1 + jnp.abs(last.weight)))
    with pytest.warns(UserWarning, match=r"characteristics have crossed by time 0\.3") as seen:
        network._values(Carried((0.0, 1.0), rough), np.array([0.3, 0.6, 0.9]), X[:, None])
    assert len(seen) == 1


def test_errors(fast):
    _, network = fast
    with pytest.raises(InputError, match="poisson has 2 dimensions and 1 fields and is steady, expected one field"):
        LagrangianPINN().fit(Poisson().case())
    with pytest.raises(InputError, match="lid_driven_cavity has 2 dimensions and 3 fields"):
        LagrangianPINN().fit(LidDrivenCavity().case())
    with pytest.raises(InputError, match="was trained on"):
        network.solve(Advection().case(speed=1.0), [0.1])
    with pytest.raises(InputError, match="changes in time, expected PINNRecipe"):
        LagrangianPINN().fit(Advection().case(), PINNRecipe())
    with pytest.raises(InputError, match="call fit first"):
        LagrangianPINN().solve(Advection().case(), [0.1])
    assert LagrangianPINN().supports(Burgers()) and not LagrangianPINN().supports(Poisson())
