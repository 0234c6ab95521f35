"""Densities and velocities by construction: exact determinants and inverses, the balance of mass by two derivatives,
mass, paths, a flow that is found from measurements."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sciml import Balance, Box
from sciml.errors import InputError
from sciml.problems import Advection, LidDrivenCavity, MassTransport, Poisson
from sciml.solvers import PINN, LagrangianFlowNetwork, load
from sciml.solvers.pinn import Adam, Architecture, Causal, LevenbergMarquardt, PINNRecipe
from sciml.solvers.pinn._continuity import continuity
from sciml.solvers.pinn._flow_map import FlowMap, Layer, flow_map, turned
from sciml.solvers.pinn._terms import Terms
from sciml.solvers.pinn.flow_network import Carrying, Masses, solved
from sciml.training import Running

pytestmark = pytest.mark.compiled_quickly
QUIET = Running(progress=False)
SMALL = Architecture(8, 1)
#: of the central rule of eighth order, at one to four steps
EIGHTH = (4 / 5, -1 / 5, 4 / 105, -1 / 280)


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def rough(dimensions, seed=0, size=1.0):
    """A map with weights at random, far from the identity."""
    tree, rest = eqx.partition(flow_map(dimensions, 2, 3, SMALL, jax.random.key(seed)), eqx.is_inexact_array)
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(jax.random.key(seed + 1), len(leaves))
    leaves = [a + size * jax.random.normal(k, a.shape, a.dtype) for a, k in zip(leaves, keys, strict=True)]
    return eqx.combine(jax.tree.unflatten(structure, leaves), rest)


def fields_of(made, dimensions, span=(0.0, 1.0), half=1.5, log_mass=0.3):
    low = np.array([-half] * dimensions + [span[0]])
    high = np.array([half] * dimensions + [span[1]])
    return Carrying(Masses(made, jnp.asarray(log_mass)), low, high - low, np.asarray(2.0), tuple(range(dimensions + 1)))


def scattered(dimensions, count=40, seed=3):
    random = np.random.default_rng(seed)
    return np.concatenate([random.uniform(-1.2, 1.2, (count, dimensions)), random.uniform(0.1, 0.9, (count, 1))], 1)


@pytest.mark.parametrize("dimensions", [1, 3])
def test_determinants_and_inverses_of_the_map(dimensions):
    made, points = rough(dimensions), jnp.asarray(scattered(dimensions))

    @jax.jit
    @jax.vmap
    def at(point):
        x, t = point[:-1], point[-1]
        z, log_det = made.forward(x, t)
        return log_det, jax.jacfwd(lambda x: made.forward(x, t)[0])(x), made.backward(z, t)

    log_det, whole, back = map(np.asarray, at(points))
    assert np.abs(log_det).max() > 0.5  # far from the identity
    signs, logs = np.linalg.slogdet(whole)
    np.testing.assert_allclose(logs, log_det, atol=1e-11)
    assert (signs > 0).all()
    np.testing.assert_allclose(back, points[:, :-1], atol=1e-9)


def test_turns_and_solutions_of_few_equations():
    x, angles = jnp.asarray([0.3, -1.0, 0.7]), jnp.asarray([0.4, -2.0, 1.1])
    there = turned(x, angles)
    np.testing.assert_allclose(jnp.linalg.norm(there), jnp.linalg.norm(x), rtol=1e-14)
    np.testing.assert_allclose(turned(there, angles, back=True), x, atol=1e-14)
    random = np.random.default_rng(0)
    for d in (1, 2, 3):
        a, b = random.standard_normal((d, d)), random.standard_normal(d)
        np.testing.assert_allclose(solved(jnp.asarray(a), jnp.asarray(b)), np.linalg.solve(a, b), rtol=1e-11)


class Spun(Layer):
    """z = R(−rate t) x / (1 + growth t)."""

    rate: float
    growth: float

    def forward(self, x, t):
        size = 1.0 + self.growth * t
        return turned(x, -self.rate * t[None]) / size, -2.0 * jnp.log(size)

    def backward(self, z, t):
        return turned(z, self.rate * t[None]) * (1.0 + self.growth * t)


def test_a_linear_flow_has_its_closed_form():
    """x = (1 + gs) R(ωs) X with s = 2t − 1: v = 2 (ω J + g/(1 + gs)) x, and a normal density that spreads."""
    rate, growth, half = 0.7, 0.2, 1.5
    fields = fields_of(FlowMap((), Spun(rate, growth)), 2, half=half)
    points = scattered(2)
    found = np.asarray(jax.vmap(fields)(jnp.asarray(points)))
    x, y, t = points.T
    s = 2 * t - 1
    stretch = growth / (1 + growth * s)
    np.testing.assert_allclose(found[:, 1], 2 * (-rate * y + stretch * x), atol=1e-13)
    np.testing.assert_allclose(found[:, 2], 2 * (rate * x + stretch * y), atol=1e-13)
    spread = half / 2 * (1 + growth * s)  # two standard deviations to the side at s = 0
    mass = 2.0 * np.exp(0.3) * half**2
    normal = np.exp(-(x**2 + y**2) / (2 * spread**2)) / (2 * np.pi * spread**2)
    np.testing.assert_allclose(found[:, 0], mass * normal, rtol=1e-12)


def defects(at, points, step=4e-3):
    """∂t ρ + ∇·(ρ v) by differences of eighth order, which know nothing of how the fields are made."""
    d = points.shape[1] - 1
    total = np.zeros(len(points))
    for axis, (j, weight), sign in itertools.product(range(d + 1), enumerate(EIGHTH, 1), (1, -1)):
        q = np.asarray(at(jnp.asarray(points + sign * j * step * np.eye(d + 1)[axis])))
        total += sign * weight / step * q[:, 0] * (1.0 if axis == d else q[:, 1 + axis])
    return total


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_the_balance_of_mass_holds_for_any_weights(dimensions):
    """By the package's own equation and jets, and by differences that know nothing of how the fields are made."""
    fields, points = fields_of(rough(dimensions, size=0.5), dimensions), scattered(dimensions)
    at = jax.jit(jax.vmap(fields))
    rates = [np.asarray(at(jnp.asarray(points + sign * 1e-4 * np.eye(dimensions + 1)[-1])))[:, 0] for sign in (1, -1)]
    size = np.abs(rates[0] - rates[1]).max() / 2e-4
    assert size > 0.05
    errors = [np.abs(defects(at, points, step)).max() for step in (3.2e-2, 1.6e-2, 4e-3)]
    assert errors[2] < 1e-8 * size
    assert errors[0] > 50 * errors[1]  # what differences see falls with their order
    if dimensions < 3:
        case = MassTransport(dimensions).case(half_width=1.5)
        interior = Terms(case, start=False).interior
        left = jax.jit(jax.vmap(lambda z: interior.values(fields, {"z": z}, case.parameters, {})[0]))
        assert np.abs(np.asarray(left(jnp.asarray(points)))).max() < 1e-12 * max(1.0, size)


LINE = MassTransport(1).case(half_width=2.0, speed=0.5)


def heap(points):
    """A normal density whose middle goes right while it spreads: v = ½ + (x − t/2 + ½)/(2 + t)."""
    x, t = points.T
    spread, gap = 0.4 * (1 + t / 2), x - (t / 2 - 0.5)
    return {"density": np.exp(-0.5 * (gap / spread) ** 2) / (1 + t / 2), "u": 0.5 + gap / (2 + t)}


@pytest.fixture(scope="module")
def fitted():
    """A flow from densities alone on the left of where it goes, and from velocities at some of these places."""
    random = np.random.default_rng(0)
    points = np.stack([random.uniform(-2.0, 0.3, 300), random.uniform(0.0, 1.0, 300)], axis=1)
    seen = heap(points)
    seen["u"][100:] = np.nan
    model = LagrangianFlowNetwork(SMALL, rounds=1, bends=3, resolution=64)
    recipe = PINNRecipe(until=1.0, phases=(LevenbergMarquardt(30),))
    return model.fit(LINE, recipe, observations={"points": points, **seen}, running=QUIET)


def test_a_flow_is_found_from_measurements(fitted):
    answer = fitted.solve(LINE, times=[0.0, 0.5, 1.0])
    x, t = np.meshgrid(answer.x.values, answer.time.values)
    wanted = heap(np.stack([x.ravel(), t.ravel()], axis=1))
    gap = answer.density.values.ravel() - wanted["density"]
    assert np.abs(gap).max() < 1e-3  # to the right of where anything was measured, too
    exact = 0.4 * np.sqrt(2 * np.pi)
    assert fitted.mass == pytest.approx(exact, rel=1e-3)
    far = np.linspace(-9.0, 9.0, 4001)[:, None]
    with jax.enable_x64(True):
        whole = fitted._values(fitted.windows[0], np.array([0.3]), far)[0, :, 0]
    assert float(np.trapezoid(whole, far[:, 0])) == pytest.approx(fitted.mass, rel=1e-9)


def test_velocities_alone_do_not_tell_the_density():
    points = np.random.default_rng(0).uniform((-2.0, 0.0), (0.3, 1.0), (50, 2))
    model = LagrangianFlowNetwork(SMALL, rounds=1, bends=3, resolution=64)
    recipe = PINNRecipe(until=1.0, phases=(LevenbergMarquardt(1),))
    told = {"points": points, "u": heap(points)["u"]}
    for more in ({}, {"density": np.full(50, np.nan)}):
        with pytest.warns(UserWarning, match="no density was measured"):
            model.fit(LINE, recipe, observations=told | more, running=QUIET)


def test_paths_go_along_the_velocity(fitted):
    start, step = np.array([[-0.7], [0.0], [0.4]]), 1e-4
    there = fitted.carried(start, 0.4, [0.4 - step, 0.4, 0.4 + step])
    np.testing.assert_allclose(there[1], start, atol=1e-10)
    speed = fitted.solve(LINE, [0.4], start).u.values[0]
    np.testing.assert_allclose((there[2] - there[0])[:, 0] / (2 * step), speed, rtol=1e-6)
    back = fitted.carried(fitted.carried(start, 0.4, [0.9])[0], 0.9, [0.4])[0]
    np.testing.assert_allclose(back, start, atol=1e-9)


def test_in_a_directory(fitted, tmp_path):
    fitted.save(tmp_path / "run")
    back = load(tmp_path / "run")
    assert type(back) is LagrangianFlowNetwork and back.settings == fitted.settings and back.mass == fitted.mass
    a, b = (m.solve(LINE, [0.2], [[0.1], [0.5]]) for m in (fitted, back))
    assert (a.density.values == b.density.values).all() and (a.u.values == b.u.values).all()


# -- what it cannot be asked ----------------------------------------------------------------------------------------


class Round(MassTransport):
    def geometry(self, case):
        return Box((0.0,) * self.dimensions, (1.0,) * self.dimensions, (True,) * self.dimensions)


SEEN = {"points": [[0.0, 0.0, 0.5]], "density": [1.0]}


def test_balances_of_mass_are_told_from_others():
    law = continuity(MassTransport(3), "it")
    assert (law.density, law.velocities) == ("density", ("u", "v", "w"))

    class Leaking(MassTransport):
        def equations(self, q, d, theta, x):
            return {
                "mass": Balance(storage=q.density, flux=d.vector(q.density * q.u, q.density * q.v), source=-q.density)
            }

    class Crossed(MassTransport):
        def equations(self, q, d, theta, x):
            return {"mass": Balance(storage=q.density, flux=d.vector(q.density * q.v, q.density * q.u))}

    assert continuity(Crossed(), "it").velocities == ("v", "u")
    for problem in (Leaking(), Advection(), LidDrivenCavity(), Poisson()):
        with pytest.raises(InputError, match="is no balance of mass, expected"):
            continuity(problem, "it")
        assert not LagrangianFlowNetwork().supports(problem)


@pytest.mark.parametrize(
    ("case", "recipe", "seen", "message"),
    [
        (MassTransport().case(), {}, None, "expected observations; without them"),
        (Round().case(), {}, SEEN, "is periodic, expected a window of open space"),
        (MassTransport().case(), {"windows": 2}, SEEN, "recipe: windows is set"),
        (MassTransport().case(), {"causal": Causal()}, SEEN, "recipe: causal is set"),
        (MassTransport().case(), {"until": 0.1}, SEEN, "all of them are later than until = 0.1"),
        (MassTransport().case(), {}, {**SEEN, "density": [0.0]}, "density: expected positive values somewhere"),
        (Advection().case(), {}, SEEN, "is no balance of mass"),
    ],
)  # fmt: skip
def test_requests_that_are_refused(case, recipe, seen, message):
    with pytest.raises(InputError, match=message):
        LagrangianFlowNetwork().fit(case, PINNRecipe(**{"until": 1.0, **recipe}), observations=seen, running=QUIET)


def test_dimensions_and_numbers_that_are_refused():
    with pytest.raises(InputError, match="dimensions is 4, expected 1, 2 or 3"):
        MassTransport(4)
    with pytest.raises(InputError, match="rounds: expected a whole number ≥ 1, got 0"):
        LagrangianFlowNetwork(rounds=0)
    with pytest.raises(InputError, match="nothing is known yet; call fit first"):
        LagrangianFlowNetwork().carried([[0.0, 0.0]], 0.0, [1.0])


def test_networks_of_equations_take_a_case_that_does_not_say_how_it_begins():
    """Where it was measured, a PINN needs no beginning; where it was not, it does."""
    recipe = PINNRecipe(until=1.0, phases=(Adam(1),), points=16)
    seen = {"points": [[0.0, 0.5], [0.2, 0.5]], "density": [1.0, 0.9]}
    model = PINN(SMALL).fit(LINE, recipe, observations=seen, running=QUIET)
    assert np.isfinite(model.solve(LINE, [0.5], [[0.1]]).density.values).all()
    with pytest.raises(InputError, match="no exact solution is known for this case"):
        PINN(SMALL).fit(LINE, recipe, running=QUIET)
