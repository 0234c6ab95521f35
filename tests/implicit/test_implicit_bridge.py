"""Functions across the bridge between JAX and torch: values, derivatives and types."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax.test_util import check_grads

from sciml.errors import InputError
from sciml.implicit import torch as implicit
from sciml.implicit.bridge import to_jax, to_torch
from sciml.problems import Burgers
from sciml.solvers import PseudoSpectral


def wave(given, scale, power=2):
    return {
        "sin": jnp.sin(given["a"] * scale) @ given["b"],
        "power": (given["a"] ** power).sum(),
        "count": jnp.arange(3),
    }


def tensors(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(s, generator=generator, dtype=torch.float64).to(dtype) for s in ((2, 3), (3,), ())]


def test_to_torch_keeps_types_and_derivatives_of_every_order():
    """float64 although JAX is set to float32, in torch's own gradcheck; containers, whole numbers, plain arguments."""
    bridged = to_torch(wave)
    a, b, scale = (t.requires_grad_() for t in tensors())
    assert not jax.config.jax_enable_x64
    out = bridged({"a": a, "b": b}, scale, 3)
    assert out["sin"].dtype == torch.float64 and not out["count"].requires_grad
    torch.testing.assert_close(out["sin"], torch.sin(a * scale) @ b, rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(out["power"], (a**3).sum(), rtol=1e-14, atol=1e-14)

    def plain(a, b, scale):
        found = bridged({"a": a, "b": b}, scale)
        return found["sin"], found["power"]

    assert torch.autograd.gradcheck(plain, (a, b, scale), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(plain, (a, b, scale))
    single = bridged({"a": a.detach().float(), "b": b.detach().float()}, scale.detach().float())
    assert single["sin"].dtype == torch.float32


def test_to_torch_under_transforms():
    bridged = to_torch(lambda x, p: jnp.exp(p * x).sum())
    x, _, p = tensors()
    rows = torch.func.vmap(bridged, in_dims=(1, None))(x, p)
    torch.testing.assert_close(rows, torch.exp(p * x).sum(0), rtol=1e-14, atol=0)
    slopes = torch.func.vmap(torch.func.grad(bridged), in_dims=(0, None))(x, p)
    torch.testing.assert_close(slopes, p * torch.exp(p * x), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("change", ["transposed", "expanded", "sliced", "reversed"])
def test_tensors_that_lie_otherwise(change):
    x = torch.arange(1.0, 7.0, dtype=torch.float64).reshape(2, 3)
    x = {"transposed": x.T, "expanded": x[:1].expand(4, 3), "sliced": x[:, 1:], "reversed": x.flip(0)}[change]
    x = x.requires_grad_() if x.is_leaf else x
    torch.testing.assert_close(to_torch(jnp.square)(x), x**2, rtol=0, atol=0)
    flat = torch.arange(9.0)[1:]  # not where a compiler would have put it
    torch.testing.assert_close(to_torch(jnp.square)(flat), flat**2, rtol=0, atol=0)


def test_changes_in_place_do_not_reach_across():
    held = jnp.arange(3.0)
    x = torch.ones(3)
    bridged = to_torch(lambda x: (x, held, x + held))
    same, constant, _ = bridged(x)
    constant.add_(5.0)
    same.add_(5.0)
    np.testing.assert_array_equal(held, [0, 1, 2])
    torch.testing.assert_close(x, torch.ones(3))
    torch.testing.assert_close(bridged(x)[1], torch.arange(3.0))
    x = torch.ones(3, requires_grad=True)
    y = to_torch(jnp.square)(x).sum()
    with torch.no_grad():
        x.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()
    with pytest.raises(InputError, match="hashable"):
        bridged(np.ones(2))


def test_to_jax_keeps_types_and_derivatives():
    weights = {"w": np.random.default_rng(0).standard_normal((3, 4)), "n": np.arange(4)}

    def layer(p, x):
        return torch.tanh(p["w"] @ x) * (1 + p["n"].sum()), p["n"] + 1

    def same(p, x):
        return jnp.tanh(p["w"] @ x) * (1 + p["n"].sum())

    bridged, x = to_jax(layer), np.linspace(-1, 1, 4)
    with pytest.raises(InputError, match="JAX is set to round float64"):
        bridged(weights, x)
    with jax.enable_x64(True):
        value, count = jax.jit(bridged)(weights, x)
        np.testing.assert_allclose(value, same(weights, x), rtol=1e-14)
        np.testing.assert_array_equal(count, [1, 2, 3, 4])

        def total(f):
            return lambda w, x: jnp.sin(f({**weights, "w": w}, x)).sum()

        pair = (weights["w"], jnp.asarray(x))
        wanted = jax.grad(total(same), (0, 1))(*pair)
        found = jax.jit(jax.grad(total(lambda *a: bridged(*a)[0]), (0, 1)))(*pair)
        for got, want in zip(found, wanted, strict=True):
            assert got.dtype == "float64"
            np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-14)
        many = jnp.stack([pair[1], 2 * pair[1]])
        rows = jax.vmap(jax.grad(lambda x: bridged(weights, x)[0].sum()))(many)
        np.testing.assert_allclose(rows, jax.vmap(jax.grad(lambda x: same(weights, x).sum()))(many), rtol=1e-12)
        check_grads(lambda x: bridged(weights, x)[0], (pair[1],), order=1, modes=["rev"])
        with pytest.raises(TypeError, match="forward-mode"):
            jax.jacfwd(lambda x: bridged(weights, x)[0])(pair[1])
    single = to_jax(torch.sin)(np.ones(2, "float32"))
    assert single.dtype == "float32"


def test_to_jax_of_functions_that_look_at_values():
    def solved(p):
        return implicit.root(lambda x, p: x**3 + x - p, torch.zeros_like(p), p)

    p = np.array([1.0, 2.0])
    with jax.enable_x64(True):
        with pytest.raises(InputError, match="give it as `like`"):
            to_jax(solved)(p)
        x, pull = jax.vjp(to_jax(solved, like=p), p)
        np.testing.assert_allclose(x**3 + x, p, rtol=1e-14)
        np.testing.assert_allclose(pull(jnp.ones(2))[0], 1 / (3 * x**2 + 1), rtol=1e-12)
        with pytest.raises(Exception, match="expected answers like"):
            jax.block_until_ready(to_jax(solved, like=np.ones(3))(p))


def test_a_solver_of_the_package_inside_a_module_of_torch():
    """Burgers' equation by `PseudoSpectral`, differentiated through with respect to viscosity and initial field."""
    problem, solver = Burgers(), PseudoSpectral(8)
    parameters, inputs = solver.arrays(problem.case(viscosity=0.05))

    class Final(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.viscosity = torch.nn.Parameter(torch.tensor(0.05, dtype=torch.float64))
            self.simulate = to_torch(
                lambda nu, u: solver.simulate(parameters | {"viscosity": nu}, inputs | {"u": u}, [0.02], problem)["u"]
            )

        def forward(self, u):
            return self.simulate(self.viscosity, u)[-1]

    model, u = Final(), torch.from_numpy(np.array(inputs["u"])).requires_grad_()
    truth = solver.solve(problem.case(viscosity=0.05), [0.02])["u"].values[-1]
    np.testing.assert_allclose(model(u).detach().numpy(), truth, rtol=1e-9, atol=1e-11)

    def final(nu, u):
        return torch.func.functional_call(model, {"viscosity": nu}, (u,))

    assert torch.autograd.gradcheck(final, (model.viscosity, u), eps=1e-6, atol=1e-7)
