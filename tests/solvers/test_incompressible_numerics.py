"""The pieces of the incompressible solver, and its order of accuracy on flows with known answers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import _flows
from sciml.solvers import _poisson, _stabilised, _staggered


def second_difference(phi: np.ndarray, spacing: tuple[float, float], periodic: tuple[bool, bool]) -> np.ndarray:
    result = np.zeros_like(phi)
    for axis, (h, wraps) in enumerate(zip(spacing[::-1], periodic[::-1], strict=True)):
        padded = np.pad(phi, [(1, 1) if a == axis else (0, 0) for a in (0, 1)], mode="wrap" if wraps else "edge")
        result += np.diff(padded, 2, axis=axis) / h**2
    return result


@pytest.mark.parametrize("periodic", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("shape", [(8, 12), (9, 6), (5, 7), (6, 200)])
def test_pressure_equation_is_solved_to_rounding(shape, periodic):
    rhs = np.random.default_rng(1).standard_normal(shape)
    rhs -= rhs.mean()
    with jax.enable_x64(True):
        phi = np.asarray(_poisson.direct(jnp.asarray(rhs), (0.3, 0.7), periodic))
    assert np.abs(second_difference(phi, (0.3, 0.7), periodic) - rhs).max() < 1e-11
    assert abs(phi.mean()) < 1e-12


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


@pytest.mark.parametrize("periodic", [(False, False), (True, True), (True, False)])
def test_advection_conserves_momentum_and_free_stream(periodic):
    layout = _staggered.Layout(12, 10, periodic)
    random = np.random.default_rng(3)
    u, v = random.standard_normal(layout.u_shape), random.standard_normal(layout.v_shape)
    zero = jnp.zeros(())
    with jax.enable_x64(True):
        padded = _staggered.pad(layout, jnp.asarray(u), jnp.asarray(v), _staggered.Walls(zero, zero, zero, zero))
        au, av = _staggered.acceleration(layout, *padded, 0.0, (0.1, 0.2))
        if periodic[1] and periodic[0]:
            assert abs(float(jnp.sum(au))) < 1e-9 and abs(float(jnp.sum(av))) < 1e-9
            one = _staggered.pad(
                layout, jnp.ones(layout.u_shape), 2 * jnp.ones(layout.v_shape), _staggered.Walls(*[zero] * 4)
            )
            still = _staggered.acceleration(layout, *one, 0.7, (0.1, 0.2))
            assert max(float(jnp.abs(a).max()) for a in still) < 1e-10
        # what enters a row of u-volumes through a wall is zero; only wall faces in x exchange momentum
        elif periodic[0]:
            assert abs(float(jnp.sum(au))) < 1e-9


def test_order_on_taylor_green():
    orders = _flows.orders([_flows.taylor_green(n) for n in (16, 32, 64)])
    assert min(orders.values()) > 1.95, orders


def test_order_on_a_wall_bounded_flow():
    """Space and time refined together; walls slide along themselves, varying along them and in time."""
    orders = _flows.orders([_flows.manufactured(n, cfl=1.0, end=0.3)["errors"] for n in (24, 48, 96)])
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
