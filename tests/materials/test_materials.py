"""What every material keeps, in the plane and in space."""

from __future__ import annotations

import numpy as np
import pytest
from algebra import determinant, deviator, eye, inverse, last, product, shifted, symmetric, trace, transposed, turned
from scipy.linalg import expm

import sciml
from sciml.errors import InputError
from sciml.materials import BinghamFluid, DruckerPrager, NeoHookean, NewtonianFluid, lame_constants
from sciml.materials import _tensors as t
from sciml.materials._material import power

MATERIALS = {
    "newtonian": NewtonianFluid(1000.0, 2e6),
    "viscous": NewtonianFluid(1000.0, 2e6, 3.0),
    "tearing": NewtonianFluid(1000.0, 2e6, 0.0, 0.0),
    "bingham": BinghamFluid(1000.0, 2e6, 3e5, 400.0, 5.0),
    "plastic": BinghamFluid(1000.0, 2e6, 3e5, 400.0),
    "neo_hookean": NeoHookean(1200.0, 4e5, 9e5),
    "sand": DruckerPrager(1600.0, 4e5, 3e5, 32.0),
}
ELASTIC = ("newtonian", "tearing", "neo_hookean")  # whose stress does nothing but store
N = 40


def gradients(d, size, seed=0, n=N):
    return size * np.random.default_rng(seed).standard_normal((d, d, n))


def rotations(d, seed=1, n=N):
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((n, d, d)))
    q[:, :, 0] *= np.sign(np.linalg.det(q))[:, None]
    return np.moveaxis(q, 0, -1)


def led(material, d, size=3e-3, steps=5, seed=0, step=1e-3):
    """A state somewhere, after some random steps."""
    state = material.begin(np, d, N, np.float64)
    for k in range(steps):
        state, _ = material.update(np, state, gradients(d, size / step, seed + k), step)
    return state


@pytest.mark.parametrize("d", [2, 3])
def test_tensors_are_those_of_linear_algebra(d):
    random = np.random.default_rng(d)
    a, b = random.standard_normal((2, d, d, N))
    spd = turned(a, eye(d, N)) + 0.1 * eye(d, N)
    spd[..., 0] = 2.5 * np.eye(d)  # equal principal values
    spd[..., 1] = np.diag([1.0, 3.0, 3.0][:d])
    one, other, third = (t.unpack(np, x) for x in (a, b, spd))
    np.testing.assert_array_equal(t.pack(np, one), a)
    close = {"rtol": 1e-11, "atol": 1e-12}
    np.testing.assert_allclose(t.pack(np, t.product(one, other)), product(a, b), **close)
    np.testing.assert_allclose(t.pack(np, t.congruence(one, third)), turned(a, spd), **close)
    np.testing.assert_allclose(t.pack(np, t.commuting(third, third)), product(spd, spd), **close)
    np.testing.assert_allclose(t.determinant(one), determinant(a), **close)
    np.testing.assert_allclose(t.pack(np, t.inverse(third)), inverse(spd), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(t.square(third), (spd**2).sum((0, 1)), **close)
    bound, top = t.largest(np, third), np.linalg.eigvalsh(last(spd))[:, -1]
    if d == 2:
        np.testing.assert_allclose(bound, top, **close)
    else:
        assert (bound >= top * (1 - 1e-12)).all() and (bound <= 1.25 * top).all()
        np.testing.assert_allclose(bound[0], top[0])


@pytest.mark.parametrize("d", [2, 3])
def test_hencky_s_strain_is_half_the_logarithm(d):
    """Where principal values are equal, too; in space up to what its series leave out, with volume exact."""
    random = np.random.default_rng(d)
    for size, close in ((1e-6, 1e-14), (0.1, 1e-12), (0.28, 1e-8), (0.5, 1e-5)):
        strain = symmetric(random.standard_normal((d, d, N)))
        strain[..., 0], strain[..., 1] = np.eye(d), np.diag([-1.0, 1.0, 1.0][:d])
        strain *= size / np.linalg.norm(deviator(strain), 2, axis=(0, 1)).max()
        volume, shear = trace(strain), deviator(strain)
        true = np.moveaxis(np.stack([expm(2 * m) for m in last(strain)]), 0, -1)
        close = close if d == 3 else 1e-13
        found = t.pack(np, t.cauchy_green(np, volume, t.unpack(np, shear)))
        np.testing.assert_allclose(found, true, rtol=2 * close, atol=2 * close)
        np.testing.assert_allclose(determinant(found), np.exp(2 * volume), rtol=1e-13)
        whole, rest = t.hencky(np, t.unpack(np, true))
        np.testing.assert_allclose(whole, volume, atol=1e-14)
        np.testing.assert_allclose(t.pack(np, rest), shear, atol=close)


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("name", MATERIALS)
def test_begins_without_stress_and_spinning_adds_none(name, d):
    material = MATERIALS[name]
    state, still = material.begin(np, d, N, np.float64), np.zeros((d, d, N))
    np.testing.assert_array_equal(material.stress(np, state, still), 0.0)
    np.testing.assert_array_equal(material.ratio(np, state), 1.0)
    np.testing.assert_array_equal(material.energy(np, state), 0.0)
    state, spin = led(material, d), gradients(d, 1.0)
    spin = spin - transposed(spin)
    found = material.stress(np, state, spin)
    np.testing.assert_allclose(found, material.stress(np, state, still), rtol=1e-12, atol=1e-12 * np.abs(found).max())


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("name", ["neo_hookean", "plastic", "sand"])
def test_what_is_turned_at_once_keeps_its_energy_and_its_stress_turns(name, d):
    material, turn = MATERIALS[name], rotations(d)
    state = led(material, d)
    after, stress = material.update(np, state, turn - eye(d, N), 1.0)
    expected = turned(turn, material.stress(np, state, 0 * turn))
    np.testing.assert_allclose(stress, expected, atol=1e-9 * np.abs(expected).max())
    scale = material.energy(np, state).max()
    np.testing.assert_allclose(material.energy(np, after), material.energy(np, state), atol=1e-9 * scale)


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("name", MATERIALS)
def test_stress_is_that_of_the_frame_in_which_one_looks(name, d):
    """The same motion seen by somebody who is turned: states and stresses turn with it."""
    material, turn = MATERIALS[name], rotations(d)
    one, other = material.begin(np, d, N, np.float64), material.begin(np, d, N, np.float64)
    for k in range(6):
        gradient = gradients(d, 4.0, k)
        one, stress = material.update(np, one, gradient, 1e-3)
        other, seen = material.update(np, other, product(product(turn, gradient), transposed(turn)), 1e-3)
    np.testing.assert_allclose(seen, turned(turn, stress), rtol=1e-9, atol=1e-9 * np.abs(stress).max())


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("name", [*ELASTIC, "bingham", "sand"])
def test_what_is_stored_is_what_stress_has_done(name, d):
    """dW/dt = τ : L along a path that yields nowhere, by central differences."""
    material = MATERIALS[name]
    if name == "sand":  # pressed hard, then sheared a little
        state, _ = material.update(np, material.begin(np, d, N, np.float64), -0.02 * eye(d, N), 1.0)
        gradient = gradients(d, 1e-3)
    elif name == "bingham":
        state, gradient = material.begin(np, d, N, np.float64), None
        state, _ = material.update(np, state, gradients(d, 1e-4), 1.0)
        gradient = gradients(d, 1e-4, 5)
    else:
        state, gradient = led(material, d), gradients(d, 1.0)
    h = 1e-4 if name in ELASTIC else 1e-1
    ahead, behind = (material.energy(np, material.update(np, state, gradient, s * h)[0]) for s in (1.0, -1.0))
    found = (ahead - behind) / (2 * h)
    done = power(gradient, material.stress(np, state, 0 * gradient))
    np.testing.assert_allclose(found, done, rtol=3e-5, atol=3e-5 * np.abs(done).max())


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("name", ["neo_hookean", "bingham", "sand"])
def test_small_strains_obey_hooke_s_law(name, d):
    material, size = MATERIALS[name], 1e-6
    gradient = gradients(d, size)
    state = material.begin(np, d, N, np.float64)
    if name == "sand":  # under a pressure that holds it
        gradient = gradient - 30 * size * eye(d, N)
    state, stress = material.update(np, state, gradient, 1.0)
    strain = symmetric(gradient)
    if name == "bingham":
        expected = shifted(2 * material.shear_modulus * deviator(strain), material.modulus * trace(strain))
    else:
        expected = shifted(2 * material.shear_modulus * strain, material.lame * trace(strain))
    np.testing.assert_allclose(stress, expected, atol=4e-4 * np.abs(expected).max())
    speed = material.speed(np, material.begin(np, d, N, np.float64))
    stiff = {"neo_hookean": (2 * 4e5 + 9e5) / 1200, "sand": (2 * 4e5 + 3e5) / 1600,
             "bingham": (2e6 + {2: 2.0, 3: 5 / 3}[d] * 3e5) / 1000}[name]  # fmt: skip
    np.testing.assert_allclose(speed, np.sqrt(stiff))


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("name", MATERIALS)
def test_volume_is_that_of_the_deformation(name, d):
    material = MATERIALS[name]
    state, deformation = material.begin(np, d, N, np.float64), eye(d, N)
    for k in range(5):
        gradient = gradients(d, 0.02, k)
        state, _ = material.update(np, state, gradient, 0.1)
        grown = eye(d, N) + 0.1 * gradient
        deformation = product(grown, deformation)
    # a fluid's J follows tr L, to first order in the step
    close = 2e-4 if isinstance(material, NewtonianFluid) else 1e-12
    np.testing.assert_allclose(material.ratio(np, state), determinant(deformation), rtol=close)
    np.testing.assert_allclose(
        material.ratio(np, material.deformed(np, deformation)), determinant(deformation), rtol=1e-12
    )


@pytest.mark.parametrize("d", [2, 3])
def test_an_elastic_solid_is_as_its_deformation_tells(d):
    material, deformation = MATERIALS["neo_hookean"], eye(d, N) + gradients(d, 0.1)
    state = material.deformed(np, deformation)
    np.testing.assert_allclose(state["b"], turned(deformation, eye(d, N)))
    step, _ = material.update(np, material.begin(np, d, N, np.float64), deformation - eye(d, N), 1.0)
    np.testing.assert_allclose(step["b"], state["b"])
    # P = ∂W/∂F = τ F⁻ᵀ
    h, stress = 1e-6, material.stress(np, state, 0 * deformation)
    first = product(stress, transposed(inverse(deformation)))
    for i in range(d):
        for j in range(d):
            change = np.zeros((d, d, N))
            change[i, j] = h
            w = [material.energy(np, material.deformed(np, deformation + s * change)) for s in (1, -1)]
            np.testing.assert_allclose((w[0] - w[1]) / (2 * h), first[i, j], rtol=1e-5, atol=1.0)


def test_a_fluid_s_stress_is_newton_s():
    material = MATERIALS["viscous"]
    state = material.begin(np, 2, 1, np.float64)
    gradient = np.array([[0.0, 2.0], [0.0, 0.0]])[..., None]  # simple shear
    np.testing.assert_allclose(material.stress(np, state, gradient)[..., 0], [[0, 6.0], [6.0, 0]])
    assert material.viscosity() == pytest.approx(3e-3) and MATERIALS["bingham"].viscosity() == 0
    np.testing.assert_allclose(material.speed(np, state), np.sqrt(2e6 / 1000))
    for ratio, tension in ((0.99, 1.0), (1.01, 1.0), (1.01, 0.0)):
        held = NewtonianFluid(1000.0, 2e6, 0.0, tension)
        found = held.stress(np, {"ratio": np.array([ratio])}, 0 * gradient)[0, 0, 0]
        pressure = 2e6 / 7 * (ratio**-7 - 1)
        assert found == pytest.approx(-ratio * pressure * (1.0 if pressure > 0 else tension))
    h = 1e-6
    p = [2e6 / 7 * ((1 - s * h) ** -7 - 1) for s in (1, -1)]
    assert (p[0] - p[1]) / (2 * h * 1000) == pytest.approx(held.speed(np, {"ratio": np.ones(1)})[0] ** 2)


def test_numbers_out_of_range_are_refused():
    for make, what in (
        (lambda: NewtonianFluid(0.0, 1.0), "density is 0"),
        (lambda: NewtonianFluid(1.0, 0.0), "modulus is 0"),
        (lambda: NewtonianFluid(1.0, 1.0, -1.0), "dynamic_viscosity is -1"),
        (lambda: BinghamFluid(1.0, 1.0, 1.0, -1.0), "yield_stress is -1"),
        (lambda: NeoHookean(1.0, 0.0, 1.0), "shear_modulus is 0"),
        (lambda: DruckerPrager(1.0, 1.0, 1.0, -3.0), "friction_angle is -3"),
        (lambda: DruckerPrager(1.0, 1.0, 1.0, 91.0), r"friction_angle is 91.*in \[0, 90\]"),
        (lambda: DruckerPrager(1.0, 1.0, 1.0, "30"), "friction_angle is '30'"),
        (lambda: NeoHookean(1.0, float("nan"), 1.0), "shear_modulus is nan"),
        (lambda: NeoHookean(float("inf"), 1.0, 1.0), "density is inf"),
        (lambda: NewtonianFluid(1.0, 1.0, 0.0, 1.5), r"tension is 1.5.*in \[0, 1\]"),
        (lambda: lame_constants(1e5, 0.5), r"poisson is 0.5, expected a number in \(-1, 0.5\)"),
        (lambda: lame_constants(1e5, float("nan")), "poisson is nan"),
        (lambda: lame_constants(-1.0, 0.3), "young is -1"),
    ):
        with pytest.raises(InputError, match=what):
            make()
    assert sciml.materials.NeoHookean(1.0, 2.0, 3.0).numbers == {"density": 1.0, "shear_modulus": 2.0, "lame": 3.0}
    mu, lame = lame_constants(2.5e5, 0.25)
    assert (mu, lame) == pytest.approx((1e5, 1e5))
    np.testing.assert_allclose(lame_constants(np.array([2.5e5, 5e5]), 0.25)[0], [1e5, 2e5])


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("name", MATERIALS)
def test_particles_that_lie_closer_than_they_know_are_told(name, d):
    """J goes down to what is seen, and never up; what else is known stays."""
    material = MATERIALS[name]
    state, _ = material.update(np, material.begin(np, d, N, np.float64), 0.05 * eye(d, N), 1.0)
    before = material.ratio(np, state)
    seen = np.where(np.arange(N) < N // 2, 1.02, 1.5)
    after = material.ratio(np, material.crowded(np, state, seen, 0.5))
    expected = (before + seen) / 2 if name != "sand" else np.sqrt(before * seen)
    solid = name == "neo_hookean"
    np.testing.assert_allclose(after[: N // 2], (before if solid else expected)[: N // 2], rtol=1e-12)
    np.testing.assert_array_equal(after[N // 2 :], before[N // 2 :])
    if name == "sand":  # grains that touch bear what they bore
        pressed, _ = material.update(np, material.begin(np, d, N, np.float64), -0.01 * eye(d, N), 1.0)
        told = material.crowded(np, pressed, 0.5 + 0 * seen, 1.0)
        np.testing.assert_array_equal(told["b"], pressed["b"])
        np.testing.assert_array_equal(told["excess"], 0.0)
