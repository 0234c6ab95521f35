"""The pieces of the incompressible solver, and its order of accuracy on flows with known answers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import _flows
from sciml.geometry import Box
from sciml.solvers import _cut_cells, _stabilised, _staggered
from sciml.solvers.linear import Direct, End, GridSystem
from sciml.support import Apertures, Grid

pytestmark = pytest.mark.compiled_quickly

WALLS, AROUND, OUT = (End.WALL, End.WALL), (End.PERIODIC, End.PERIODIC), (End.WALL, End.OPEN)


def second_difference(phi: np.ndarray, spacing: tuple[float, float], ends) -> np.ndarray:
    result = np.zeros_like(phi)
    for axis, (h, kinds) in enumerate(zip(spacing[::-1], ends[::-1], strict=True)):
        wraps = kinds[0] is End.PERIODIC
        padded = np.pad(phi, [(1, 1) if a == axis else (0, 0) for a in (0, 1)], mode="wrap" if wraps else "edge")
        padded = np.moveaxis(padded, axis, 0)
        for end, at in zip(kinds, (0, -1), strict=True):
            padded[at] *= -1 if end is End.OPEN else 1  # zero midway between
        result += np.moveaxis(np.diff(padded, 2, axis=0), 0, axis) / h**2
    return result


@pytest.mark.parametrize(
    "ends",
    [(WALLS, WALLS), (AROUND, WALLS), (WALLS, AROUND), (AROUND, AROUND), (OUT, WALLS), (OUT[::-1], OUT),
     ((End.OPEN, End.OPEN), AROUND), (OUT, (End.OPEN, End.OPEN))],
)  # fmt: skip
@pytest.mark.parametrize("shape", [(8, 12), (9, 6), (5, 7), (6, 200)])
def test_pressure_equation_is_solved_to_rounding(shape, ends):
    rhs = np.random.default_rng(1).standard_normal(shape)
    closed = not any(end is End.OPEN for pair in ends for end in pair)
    rhs -= rhs.mean() if closed else 0
    with jax.enable_x64(True):
        phi = np.asarray(Direct().solve(GridSystem(shape, ends, (0.3, 0.7)), jnp.asarray(-rhs))[0])
    assert np.abs(second_difference(phi, (0.3, 0.7), ends) - rhs).max() < 1e-11
    assert not closed or abs(phi.mean()) < 1e-12


@pytest.mark.parametrize("ends", [(WALLS, WALLS), (OUT, WALLS), (OUT[::-1], OUT), (AROUND, (End.OPEN, End.OPEN))])
def test_projection_leaves_no_divergence_and_keeps_what_goes_through_walls(ends):
    layout, random, spacing = _staggered.Layout(9, 7, ends), np.random.default_rng(2), (0.3, 0.7)
    u, v = random.standard_normal(layout.u_shape), random.standard_normal(layout.v_shape)
    zero = jnp.zeros(())
    through = {"x_min_u": jnp.asarray(random.standard_normal(7)), "y_max_v": jnp.asarray(0.4)} if layout.open else {}
    walls = _staggered.Walls(*[zero] * 8)._replace(**through)
    with jax.enable_x64(True):
        lost = _staggered.divergence(layout, jnp.asarray(u), v, spacing, walls)
        phi, _ = Direct().solve(GridSystem((7, 9), ends, spacing), -lost)
        gx, gy = _staggered.gradient(layout, phi, spacing)
        assert gx.shape == u.shape and gy.shape == v.shape
        left = _staggered.divergence(layout, u - gx, v - gy, spacing, walls)
        uf, vf = _staggered.faces(layout, u - gx, v - gy, walls)
        again = _staggered.unknowns(layout, uf, vf)
        kept = np.asarray(u - gx), np.asarray(v - gy)
    assert np.abs(left).max() < 1e-12 and uf.shape == (7, 10) and vf.shape == (8, 9)
    assert np.array_equal(again[0], kept[0]) and np.array_equal(again[1], kept[1])
    if ends[0][0] is End.WALL:
        assert np.array_equal(uf[:, 0], np.broadcast_to(walls.x_min_u, 7))


def amplification(rows: np.ndarray, z: np.ndarray) -> np.ndarray:
    """The stability polynomial of a scheme, from its recurrence."""
    before, now = np.ones_like(z), 1 + rows[0, 2] * z
    for mu, nu, mu_t, gamma_t, _ in rows[1:]:
        before, now = now, (1 - mu - nu) + mu * now + nu * before + mu_t * z * now + gamma_t * z
    return now


def spectrum(diffusion: float, advection: float, aspect: float) -> np.ndarray:
    theta = np.linspace(0, np.pi, 61)
    tx, ty = np.meshgrid(theta, np.concatenate([-theta[::-1], theta]))
    share = aspect**2 / (1 + aspect**2)  # of diffusion in the direction of the shorter sides
    found = []
    for beta in (share, 1 - share):
        real = -diffusion * (beta * np.sin(tx / 2) ** 2 + (1 - beta) * np.sin(ty / 2) ** 2)
        found += [real + 1j * advection * (a * np.sin(tx) + (1 - a) * np.sin(ty)) for a in (0, 0.25, 0.5, 0.75, 1)]
    return np.stack(found)


@pytest.mark.parametrize("aspect", [1.0, 1.25, 1.5, 2.0, 3.0, 5.0])
def test_stability_limits_hold(aspect):
    four = _stabilised.four()
    for r in np.linspace(0, _stabilised.LIMIT_DIFFUSION_FOUR, 8):
        z = spectrum(r, _stabilised.LIMIT_ADVECTION, aspect)
        assert np.abs(amplification(four, z)).max() < 1 + 1e-3
    advection = float(_stabilised.limit_advection_chebyshev(aspect))
    for s in (5, 6, 8, 13, 40, _stabilised.MAX_STAGES):
        rows = _stabilised.chebyshev(s)
        # fewer stages would do below, and the four-stage scheme is cheaper below 1.75 s / 4
        least = max(_stabilised.LIMIT_DIFFUSION_CHEBYSHEV * (s - 1) ** 2 if s > 5 else 0, 1.75 * s / 4)
        for r in np.linspace(least, _stabilised.LIMIT_DIFFUSION_CHEBYSHEV * s**2, 8):
            assert np.abs(amplification(rows, spectrum(r, advection, aspect))).max() < 1 + 1e-3, (s, r)


@pytest.mark.parametrize("aspect", [1.0, 1.5, 3.0])
@pytest.mark.parametrize("damping", [0.02, 0.1, 0.4, 1.0, 3.0])
def test_modes_that_diffusion_hardly_damps_do_not_grow(damping, aspect):
    """A few stiff cells ask for many stages: elsewhere R is small, and Chebyshev schemes have no imaginary axis."""
    rate = 1 / (1.68 * damping**0.27)
    tau = 1 / float(_stabilised.pace_chebyshev(1.0, damping * rate))
    along = damping * rate * tau / 2  # of the long side
    for s in (5, 8, 40):
        if along * (1 + aspect**2) > _stabilised.LIMIT_DIFFUSION_CHEBYSHEV * s**2:
            continue  # too few stages
        z = spectrum(along * (1 + aspect**2), tau, aspect)
        assert np.abs(amplification(_stabilised.chebyshev(s), z)).max() < 1 + 1e-6, s


@pytest.mark.parametrize("scheme", [0, 2, 5, 17])
def test_schemes_are_of_second_order_with_forcing(scheme):
    """y' = −y + sin t: also the times at which stages are evaluated must be right."""
    rows = _stabilised.table()[scheme]
    stages = 4 if scheme == 0 else scheme + 3

    def march(steps: int) -> float:
        tau, y0, t = 1.0 / steps, 1.0, 0.0
        for _ in range(steps):
            f0 = -y0 + np.sin(t)
            before, now = y0, y0 + rows[0, 2] * tau * f0
            for j in range(1, stages):
                mu, nu, mu_t, gamma_t, _ = rows[j]
                f = -now + np.sin(t + rows[j - 1, 4] * tau)
                before, now = now, (1 - mu - nu) * y0 + mu * now + nu * before + mu_t * tau * f + gamma_t * tau * f0
            y0, t = now, t + tau
        return y0

    exact = 1.5 * np.exp(-1) + (np.sin(1) - np.cos(1)) / 2
    errors = [abs(march(n) - exact) for n in (20, 40)]
    assert 1.9 < np.log2(errors[0] / errors[1]) < 4.2


@pytest.mark.parametrize("ends", [(WALLS, WALLS), (AROUND, AROUND), (AROUND, WALLS)])
def test_advection_conserves_momentum_and_free_stream(ends):
    layout = _staggered.Layout(12, 10, ends)
    periodic = layout.periodic
    random = np.random.default_rng(3)
    u, v = random.standard_normal(layout.u_shape), random.standard_normal(layout.v_shape)
    zero = jnp.zeros(())
    with jax.enable_x64(True):
        padded = _staggered.pad(layout, jnp.asarray(u), jnp.asarray(v), _staggered.Walls(*[zero] * 8))
        au, av = _staggered.acceleration(layout, *padded, 0.0, (0.1, 0.2))
        if periodic[1] and periodic[0]:
            assert abs(float(jnp.sum(au))) < 1e-9 and abs(float(jnp.sum(av))) < 1e-9
            one = _staggered.pad(
                layout, jnp.ones(layout.u_shape), 2 * jnp.ones(layout.v_shape), _staggered.Walls(*[zero] * 8)
            )
            still = _staggered.acceleration(layout, *one, 0.7, (0.1, 0.2))
            assert max(float(jnp.abs(a).max()) for a in still) < 1e-10
        # what enters a row of u-volumes through a wall is zero; only wall faces in x exchange momentum
        elif periodic[0]:
            assert abs(float(jnp.sum(au))) < 1e-9


@pytest.mark.parametrize("ends", [(OUT, WALLS), (OUT[::-1], OUT[::-1]), (WALLS, OUT), (OUT[::-1], AROUND)])
def test_a_uniform_stream_through_walls_and_open_ends_is_left_alone(ends):
    """Along every axis that is not closed by it: u = 1, v = 2 has neither acceleration nor divergence."""
    layout = _staggered.Layout(12, 10, ends)
    with jax.enable_x64(True):
        one, two = jnp.ones(()), 2 * jnp.ones(())
        walls = _staggered.Walls(one, one, two, two, one, one, two, two)
        u, v = jnp.ones(layout.u_shape), 2 * jnp.ones(layout.v_shape)
        still = _staggered.acceleration(layout, *_staggered.pad(layout, u, v, walls), 0.7, (0.1, 0.2))
        assert max(float(jnp.abs(a).max()) for a in still) < 1e-10
        assert float(jnp.abs(_staggered.divergence(layout, u, v, (0.1, 0.2), walls)).max()) < 1e-12


def test_order_on_taylor_green():
    orders = _flows.orders([_flows.taylor_green(n) for n in (32, 64)])
    assert min(orders.values()) > 1.95, orders


def test_order_on_a_wall_bounded_flow():
    """Space and time refined together; walls slide along themselves, varying along them and in time."""
    orders = _flows.orders([_flows.manufactured(n, cfl=1.0, end=0.3)["errors"] for n in (48, 96)])
    assert min(orders.values()) > 1.9, orders


@pytest.fixture(scope="module")
def small_steps() -> dict[str, np.ndarray]:
    return _flows.manufactured(20, cfl=0.02)["fields"]


def test_order_in_time_alone(small_steps):
    """Against a solution on the same grid with small steps: u, v, p and the tendency."""
    errors = []
    for cfl in (2.0, 1.0):
        fields = _flows.manufactured(20, cfl=cfl)["fields"]
        errors.append({k: float(np.sqrt(np.mean((fields[k] - small_steps[k]) ** 2))) for k in fields})
    orders = _flows.orders(errors)
    assert min(orders.values()) > 1.9, orders


@pytest.mark.parametrize("ends", [(WALLS, WALLS), (OUT, WALLS), (AROUND, WALLS), (OUT[::-1], AROUND), (AROUND, OUT)])
def test_where_nothing_is_cut_control_volumes_are_those_without_a_body(ends):
    layout, spacing, random = _staggered.Layout(11, 9, ends), (0.1, 0.15), np.random.default_rng(5)
    grid = Grid.uniform(Box((0, 0), (1.1, 1.35)), (9, 11))
    whole = Apertures(
        (np.ones((9, 12)), np.ones((10, 11))), (np.full((9, 12), 9.0), np.full((10, 11), 9.0)),
        *((np.zeros((9, 12)), np.zeros((10, 11))),) * 2, np.ones((9, 11)),
    )  # fmt: skip
    body = _cut_cells.body_of(whole, grid, layout)
    u, v = random.standard_normal(layout.u_shape), random.standard_normal(layout.v_shape)
    walls = _staggered.Walls(*(jnp.asarray(a) for a in random.standard_normal(8)))
    with jax.enable_x64(True):
        pads = _staggered.pad(layout, jnp.asarray(u), jnp.asarray(v), walls)
        plain = _staggered.acceleration(layout, *pads, 0.3, spacing)
        cut = _cut_cells.acceleration(layout, jax.tree.map(jnp.asarray, body), *pads, 0.3, spacing)
    for a, b in zip(plain, cut, strict=True):
        assert np.abs(a - b).max() < 1e-11 * np.abs(a).max()
    # −8 ν/h², at most, is what the planner of steps takes without a body
    assert body.stiffness == pytest.approx(4 * (1 / 0.1**2 + 1 / 0.15**2))
