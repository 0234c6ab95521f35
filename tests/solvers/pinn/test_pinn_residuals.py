"""Residuals of exact solutions are zero; for those of any functions see tests/integration/test_one_residual.py."""

import jax.numpy as jnp
import numpy as np
import pytest

import sciml
from sciml import Balance, Box, FieldSpec, Flux, PDEProblem, Scales
from sciml.calculus import strong
from sciml.expressions import Field, Input
from sciml.solvers.pinn import residuals
from sciml.solvers.pinn._rows import needed

RANDOM = np.random.default_rng(0)


def points(case, where, count=40, until=1.0):
    """Points for the residual of this name."""
    box = case.geometry.extents
    inside = np.concatenate([case.geometry.sample(count, RANDOM), RANDOM.uniform(0, until, (count, 1))], axis=1)
    boundary = where.split(".")[0]
    if boundary in case.geometry.boundaries:
        inside[:, : len(box)] = case.geometry.boundaries[boundary].sample(count, RANDOM)
    if boundary == "initial":
        inside[:, -1] = 0.0
    return inside


def greatest(case, fields, **given):
    return {
        name: float(np.abs(r(points(case, name))).max())
        for name, r in residuals(case, fields, scaled=True, **given).items()
    }


def test_poisson_heat_and_taylor_green():
    poisson = sciml.problems.Poisson().case()
    found = greatest(poisson, {"p": lambda z: jnp.sin(jnp.pi * z[0]) * jnp.sin(jnp.pi * z[1])})
    assert set(found) == {"potential", "x_min.p", "x_max.p", "y_min.p", "y_max.p"} and max(found.values()) < 1e-10
    heat = sciml.problems.HeatEquation().case(diffusivity=0.05)
    w, k = 2 * np.pi, np.sqrt(np.pi / 0.05)
    found = greatest(heat, lambda z: jnp.stack([jnp.exp(-k * z[0]) * jnp.cos(w * z[1] - k * z[0])]))
    assert set(found) == {"energy", "x_min.T", "x_max.T", "initial.T"} and max(found.values()) < 1e-10
    vortices = sciml.problems.TaylorGreen().case(viscosity=0.1, density=2.0, velocity=3.0)

    def flow(z):
        x, y, decay = z[0], z[1], jnp.exp(-2 * 0.05 * z[2])
        u, v = 3 * jnp.cos(x) * jnp.sin(y) * decay, -3 * jnp.sin(x) * jnp.cos(y) * decay
        return jnp.stack([u, v, -2 * 9 / 4 * (jnp.cos(2 * x) + jnp.cos(2 * y)) * decay**2])

    found = greatest(vortices, flow)
    assert {"continuity", "momentum.x", "momentum.y", "x_min~x_max.u'", "initial.v", "mean.p"} <= set(found)
    # a mean over random points is one only in their number
    assert found.pop("mean.p") < 0.2 and max(found.values()) < 1e-10


def test_burgers_by_cole_hopf():
    """u = −2ν ∂x ln φ with φ = 1 + a e^(−νk²t) cos kx solves it."""
    case = sciml.problems.Burgers().case(viscosity=0.05, length=2.0)
    nu, k = 0.05, np.pi

    def u(z):
        decay = 0.5 * jnp.exp(-nu * k**2 * z[1])
        return 2 * nu * k * decay * jnp.sin(k * z[0]) / (1 + decay * jnp.cos(k * z[0]))

    found = greatest(case, {"u": u})
    assert found["momentum"] < 1e-10 and found["x_min~x_max.u"] < 1e-12 and found["x_min~x_max.u'"] < 1e-12


def test_a_patch_of_an_elastic_plate():
    """A state of uniform stress: its tractions are those on the sides, and none within."""
    E, nu, s = 2.1e11, 0.3, 1e8
    case = sciml.problems.ElasticPlate().case(young_modulus=E, poisson_ratio=nu, traction_x=s)
    found = residuals(case, {"u": lambda z: s / E * z[0], "v": lambda z: -nu * s / E * z[1]})
    for name in ("momentum.x", "momentum.y", "x_max.u", "x_max.v", "y_min.u", "y_min.v", "y_max.v", "x_min.u"):
        assert np.abs(found[name](points(case, name))).max() < 1e-6 * s, name
    # on the hole the traction is σ·n, which is not free
    hole = points(case, "hole_0")
    normal = case.geometry.boundaries["hole_0"].normal(hole[:, :2])
    np.testing.assert_allclose(found["hole_0.u"](hole), -s * normal[:, 0], atol=1e-6 * s)


def test_given_inputs_are_smooth_and_right():
    x = (np.arange(40) + 0.5) / 40
    a = 1.5 + 0.4 * np.cos(2 * np.pi * x)[None, :] * np.sin(np.pi * x)[:, None]
    case = sciml.problems.Darcy().case(permeability=a)

    def p(z):
        return jnp.sin(z[0]) * z[1] ** 2

    at = points(case, "interior")
    ours = residuals(case, {"p": p})["mass"](at)
    exact = residuals(case, {"p": p}, inputs={
        "permeability": lambda z: 1.5 + 0.4 * jnp.cos(2 * jnp.pi * z[0]) * jnp.sin(jnp.pi * z[1])
    })["mass"](at)  # fmt: skip
    assert np.abs(ours - exact).max() < 0.02 * np.abs(exact).max()


def test_parameters_may_differ_from_those_of_the_case():
    case = sciml.problems.HeatEquation().case()
    at = points(case, "energy")

    def T(z):
        return z[0] ** 2 + 0 * z[1]

    r = residuals(case, {"T": T}, parameters={"diffusivity": 3.0})
    np.testing.assert_allclose(r["energy"](at), -6.0, atol=1e-12)


def test_one_clear_line():
    case = sciml.problems.TaylorGreen().case()
    with pytest.raises(sciml.InputError, match="expected a function for each of u, v, p, got none for 'v'"):
        residuals(case, {"u": lambda z: z[0]})
    found = residuals(case, lambda z: jnp.zeros(3))
    with pytest.raises(sciml.InputError, match=r"points: expected shape \(N, 3\), time last"):
        found["continuity"](np.zeros((4, 2)))


def test_expressions_hold_what_they_say():
    problem = sciml.problems.Darcy()
    (row,) = strong(problem.balances()["mass"])
    fields, inputs = needed([row], 2)
    assert fields == {"p": {(1, 0, 0), (0, 1, 0), (2, 0, 0), (0, 2, 0)}}
    assert inputs == {"permeability": {(0, 0, 0), (1, 0, 0), (0, 1, 0)}}
    assert Field("p") != Input("p")


def test_the_flux_of_a_field_is_that_of_its_own_balance():
    """In any order of the balances; and refused where several may be meant."""

    class Flow(PDEProblem):
        name, title, dimensions, steady = "flow_in_a_box", "Flow", 2, True
        fields = (FieldSpec("u", "1"), FieldSpec("v", "1"), FieldSpec("p", "1"))

        def geometry(self, case):
            return Box((0.0, 0.0), (1.0, 1.0))

        def boundary_conditions(self, case):
            return {b: {"u": Flux(0.0), "v": Flux(0.0)} for b in case.geometry.boundaries}

        def equations(self, q, d, theta, x):
            gradient = d.grad(d.vector(q.u, q.v))
            return {
                "continuity": Balance(flux=d.vector(q.u, q.v)),
                "momentum": Balance(flux=q.p * d.identity() - (gradient + d.transpose(gradient))),
            }

        def scales(self, case):
            return Scales(1.0, 1.0, {"u": 1.0, "v": 1.0, "p": 1.0})

    found = residuals(Flow().case(), lambda z: jnp.stack([z[0] ** 2, z[0] * z[1], 3.0 + z[1]]))
    at = np.array([[1.0, 0.3, 0.0], [1.0, 0.8, 0.0]])
    # σ·n = (p − 2 ∂x u, −(∂y u + ∂x v)) on x = 1
    np.testing.assert_allclose(found["x_max.u"](at), 3.0 + at[:, 1] - 4.0, atol=1e-12)
    np.testing.assert_allclose(found["x_max.v"](at), -at[:, 1], atol=1e-12)

    class Crossed(Flow):
        fields = (FieldSpec("u", "1"), FieldSpec("v", "1"))
        of = ((), ())

        def equations(self, q, d, theta, x):
            return {
                "a": Balance(flux=d.grad(q.u + 2.0 * q.v), of=self.of[0]),
                "b": Balance(flux=d.grad(3.0 * q.u + q.v), of=self.of[1]),
            }

    def both(z):
        return jnp.stack([z[0], 10.0 * z[0]])

    with pytest.raises(
        sciml.InputError, match=r"Flux of 'u' may be that of a, b; say whose it is, as in Balance\(.*'u'\)"
    ):
        residuals(Crossed().case(), both)

    class Said(Crossed):
        of = ("v", "u")

    found = residuals(Said().case(), both)
    np.testing.assert_allclose(found["x_max.u"](at), 13.0, atol=1e-12)
    np.testing.assert_allclose(found["x_max.v"](at), 21.0, atol=1e-12)
