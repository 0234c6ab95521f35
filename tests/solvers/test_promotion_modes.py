"""Numerical solvers give the same answers under JAX's strict promotion modes, and leave the modes as they are."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sciml.problems import Burgers, Darcy, HeatEquation, LidDrivenCavity, TaylorGreen
from sciml.solvers import FiniteVolume, IncompressibleFlow, PseudoSpectral
from sciml.solvers._promotion import standard

# sizes that no other test uses: what is compiled is compiled here
TASKS = {
    "burgers": lambda: PseudoSpectral(18).solve(Burgers().case(viscosity=0.1), [0, 0.1]),
    "vortices": lambda: PseudoSpectral(10).solve(TaylorGreen().case(), [0, 0.1]),
    "cavity": lambda: IncompressibleFlow(9).solve(LidDrivenCavity().case(), [0, 0.1]),
    "cavities": lambda: IncompressibleFlow(9).solve_many([LidDrivenCavity().case()] * 2, [0, 0.1], progress=False),
    "darcy": lambda: FiniteVolume(9).solve(Darcy().case()),
    "heat": lambda: FiniteVolume(9).solve(HeatEquation().case(), [0, 0.1]),
}


@contextlib.contextmanager
def strict():
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


@pytest.mark.parametrize("name", TASKS)
def test_answers_do_not_depend_on_the_modes(name):
    with strict():
        found = TASKS[name]()
        with pytest.raises((jax.errors.JAXTypeError, TypeError, ValueError)):
            jnp.ones(3, jnp.float32) * jnp.ones(3, jnp.int32)  # the mode is still the user's
    expected = TASKS[name]()
    for field in expected.data_vars:
        assert np.array_equal(found[field].values, expected[field].values, equal_nan=expected[field].dtype.kind == "f")


def test_products_of_solvers_keep_their_digits():
    (product,) = jax.make_jaxpr(standard(lambda a: a @ a))(jnp.ones((2, 2))).eqns
    assert set(product.params["precision"]) == {jax.lax.Precision.HIGHEST}


def test_gradients_under_strict_modes():
    solver = PseudoSpectral(18)
    parameters, inputs = solver.arrays(Burgers().case())

    def loss(viscosity):
        fields = solver.simulate(parameters | {"viscosity": viscosity}, inputs, [0.0, 0.1], Burgers())
        return jnp.sum(fields["u"][-1] ** 2)

    with jax.enable_x64(True):
        with strict():
            found = jax.grad(loss)(0.1)
        assert float(found) == pytest.approx(float(jax.grad(loss)(0.1)), rel=1e-12)
