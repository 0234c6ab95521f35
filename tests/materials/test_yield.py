"""Materials that yield: the surface is never left, below it nothing creeps, beyond it they flow as they should."""

from __future__ import annotations

import numpy as np
import pytest
from algebra import determinant, deviator, norm, trace

from sciml.materials import BinghamFluid, DruckerPrager

N = 30


def shear(d, rate, n=1):
    """∂v_x/∂y."""
    gradient = np.zeros((d, d, n))
    gradient[0, 1] = rate
    return gradient


def random_walk(material, d, steps=40, size=0.01, seed=3):
    random = np.random.default_rng(seed)
    state = material.begin(np, d, N, np.float64)
    for _ in range(steps):
        gradient = size * random.standard_normal((d, d, N))
        yield state, gradient, *material.update(np, state, gradient, 1.0)
        state, _ = material.update(np, state, gradient, 1.0)


@pytest.mark.parametrize("d", [2, 3])
def test_plastic_stress_never_leaves_the_yield_surface_and_dissipates(d):
    material = BinghamFluid(1000.0, 2e6, 3e5, 400.0)
    most = 0.0
    for state, gradient, after, stress in random_walk(material, d):
        size = norm(deviator(stress))
        most = max(most, float(size.max()))
        assert (size <= 2**0.5 * 400.0 * (1 + 1e-12)).all()
        np.testing.assert_allclose(determinant(after["b"]), 1.0, rtol=1e-12)
        # what is stored grows by no more than what is done: to second order in the step
        sheared = [material.shear_modulus / 2 * (trace(s["b"]) - d) for s in (state, after)]
        done = (deviator(stress) * gradient).sum((0, 1))
        assert (sheared[1] - sheared[0] <= done + 3e5 * 0.05**2 * 0.05).all()
    assert most > 0.999 * 2**0.5 * 400.0


@pytest.mark.parametrize("d", [2, 3])
def test_below_the_yield_stress_nothing_creeps(d):
    """Sheared to 0.9 of the yield stress and back in many steps, it is as at the start; held there, stress stays."""
    material = BinghamFluid(1000.0, 2e6, 3e5, 400.0, 5.0)
    state, strain = material.begin(np, d, 1, np.float64), 0.9 * 400.0 / 3e5
    for _ in range(10):
        state, stress = material.update(np, state, shear(d, strain / 10), 1.0)
    assert stress[0, 1, 0] == pytest.approx(360.0, rel=1e-5)
    for _ in range(100):
        state, held = material.update(np, state, 0 * shear(d, 1.0), 10.0)
    np.testing.assert_allclose(held, stress, rtol=1e-12)
    for _ in range(10):
        state, stress = material.update(np, state, shear(d, -strain / 10), 1.0)
    assert np.abs(stress).max() < 1e-9 * 360


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("rate", [0.3, 20.0])
def test_simple_shear_flows_with_bingham_s_stress(d, rate):
    """τ = τ_y + η γ̇, up to (τ/μ)², once it has yielded for long."""
    material, expected = BinghamFluid(1000.0, 2e9, 3e8, 40.0, 5.0), 40.0 + 5.0 * rate
    state = material.begin(np, d, 1, np.float64)
    for _ in range(400):
        state, stress = material.update(np, state, shear(d, rate), 1e-5 / rate)
    assert stress[0, 1, 0] == pytest.approx(expected, rel=2e-5)
    for _ in range(20):  # steps a hundred times as long change it by their strain squared
        state, stress = material.update(np, state, shear(d, rate), 1e-3 / rate)
    assert stress[0, 1, 0] == pytest.approx(expected, rel=2e-5)


def test_overstress_relaxes_at_the_rate_of_the_viscosity():
    """Held after a jump of strain, |s| − √2 τ_y falls as exp(−μ t/η)."""
    material = BinghamFluid(1000.0, 2e6, 1e5, 40.0, 500.0)
    state = material.begin(np, 3, 1, np.float64)
    state, stress = material.update(np, state, shear(3, 2e-3 / 1e-9), 1e-9)
    first = norm(deviator(stress))[0] - 2**0.5 * 40
    step = 0.005 / 200  # one time η/μ
    for _ in range(200):
        state, stress = material.update(np, state, shear(3, 0.0), step)
    last = norm(deviator(stress))[0] - 2**0.5 * 40
    assert last / first == pytest.approx(np.exp(-1), rel=4e-3)  # first order in the step: 1/(1 + 1/200)^200


def pressure(stress):
    return -trace(stress) / stress.shape[0]


@pytest.mark.parametrize("d", [2, 3])
def test_grains_stay_within_the_cone_and_bear_no_pull(d):
    material = DruckerPrager(1600.0, 4e5, 3e5, 30.0)
    slope, on = material.slope(np, d), 0
    for _, _, after, stress in random_walk(material, d, size=0.004):
        p, size = pressure(stress), norm(deviator(stress))
        assert (p >= 0).all()
        assert (size <= slope * d * p * (1 + 1e-9) + 1e-6).all()
        on += int(np.sum((p > 0) & (size > 0.999 * slope * d * p)))
        free = after["excess"] > 0
        np.testing.assert_array_equal(stress[..., free], 0.0)
        np.testing.assert_allclose(trace(stress)[~free] < 0, True)
    assert on > 20 and free.any() and not free.all()


def test_the_angle_is_that_of_mohr_and_coulomb():
    """Plane: the largest shear stress is p sin φ. Space, compressed along one axis: σ₁/σ₃ = (1 + sin φ)/(1 − sin φ)."""
    phi = 35.0
    sine = np.sin(np.radians(phi))
    for d in (2, 3):
        material = DruckerPrager(1600.0, 4e5, 3e5, phi)
        state = material.begin(np, d, 1, np.float64)
        state, _ = material.update(np, state, -0.02 * np.eye(d)[..., None], 1.0)
        squeeze = np.zeros((d, d, 1))
        squeeze[0, 0] = -1e-3
        for i in range(1, d):
            squeeze[i, i] = 1e-3 / (d - 1)
        for _ in range(200):
            state, stress = material.update(np, state, squeeze, 1.0)
        principal = np.sort(-np.diagonal(stress[..., 0]))
        assert principal[-1] / principal[0] == pytest.approx((1 + sine) / (1 - sine), rel=1e-9)
    fluid = DruckerPrager(1600.0, 4e5, 3e5, 0.0)
    *_, (_, _, _, stress) = random_walk(fluid, 3, size=0.004)
    assert np.abs(deviator(stress)).max() < 1e-9 * np.abs(stress).max()


@pytest.mark.parametrize("d", [2, 3])
def test_grains_that_part_and_meet_again_are_as_before(d):
    """Volume is made good before a load is borne: no volume is gained over a cycle."""
    material = DruckerPrager(1600.0, 4e5, 3e5, 30.0)
    state = material.begin(np, d, 1, np.float64)
    state, before = material.update(np, state, (np.exp(-0.01 / d) - 1) * np.eye(d)[..., None], 1.0)
    for share in (0.03, 0.05, -0.04, -0.03):
        state, stress = material.update(np, state, (np.exp(share / d) - 1) * np.eye(d)[..., None], 1.0)
        assert np.abs(stress).max() < 1e-8
    state, stress = material.update(np, state, (np.exp(-0.01 / d) - 1) * np.eye(d)[..., None], 1.0)
    np.testing.assert_allclose(stress, before, rtol=1e-9)
    assert np.log(material.ratio(np, state))[0] == pytest.approx(-0.01, rel=1e-9)


@pytest.mark.parametrize("d", [2, 3])
def test_shear_on_the_cone_changes_no_volume(d):
    material = DruckerPrager(1600.0, 4e5, 3e5, 30.0)
    state = material.begin(np, d, 1, np.float64)
    state, pressed = material.update(np, state, -0.01 * np.eye(d)[..., None], 1.0)
    for _ in range(300):
        state, stress = material.update(np, state, shear(d, 2e-3), 1.0)
    assert pressure(stress)[0] == pytest.approx(pressure(pressed)[0], rel=1e-9)
    size = norm(deviator(stress))[0]
    assert size == pytest.approx(material.slope(np, d) * d * pressure(stress)[0])


BINGHAM, SAND = np.array([1000.0, 2e6, 3e5, 400.0, 5.0, 1.0]), np.array([1600.0, 4e5, 3e5, 31.0])


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("make, numbers", [(BinghamFluid, BINGHAM), (DruckerPrager, SAND)])
def test_derivatives_are_finite_and_those_of_differences(make, numbers, d):
    """Through steps from the undeformed state, where principal values are equal, of particles that rest, that are
    apart, on the yield surface and within; by the path and by the material's numbers; compiled."""
    import jax
    import jax.numpy as jnp

    random = np.random.default_rng(d)
    path = np.stack([4e-3 * random.standard_normal((d, d, 12)) - 2e-3 * np.eye(d)[..., None] for _ in range(3)])
    path[:, :, :, 0] = 0.0  # stays as it is
    path[:, :, :, 1] = 2e-3 * np.eye(d)  # apart
    weight = random.standard_normal((d, d, 12))
    change = random.standard_normal(path.shape)
    change[:, :, :, 0] = 0.0  # at a kink

    def value(path, numbers):
        material = make(*numbers)

        def step(state, gradient):
            state, stress = material.update(jnp, state, gradient, 1.0)
            return state, (weight * stress).sum()

        state, sums = jax.lax.scan(step, material.begin(jnp, d, 12, path.dtype), path)
        return sums.sum() + material.speed(jnp, state).sum()

    with jax.enable_x64(True):
        compiled = jax.jit(jax.value_and_grad(value, argnums=(0, 1)))
        _, (by_path, by_numbers) = compiled(jnp.asarray(path), jnp.asarray(numbers))
        assert np.isfinite(by_path).all() and np.isfinite(by_numbers).all()
        h = 1e-8
        two = [compiled(jnp.asarray(path + s * h * change), jnp.asarray(numbers))[0] for s in (1, -1)]
        assert float((by_path * change).sum()) == pytest.approx(float(two[0] - two[1]) / (2 * h), rel=1e-5)
        for k in range(1, len(numbers)):
            step = np.zeros(len(numbers))
            step[k] = 1e-6 * numbers[k]
            two = [compiled(jnp.asarray(path), jnp.asarray(numbers + s * step))[0] for s in (1, -1)]
            slope = float(two[0] - two[1]) / (2 * step[k])
            assert float(by_numbers[k]) * numbers[k] == pytest.approx(slope * numbers[k], rel=1e-5, abs=1e-3)
