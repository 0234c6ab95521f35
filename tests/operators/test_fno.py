"""The Fourier neural operator: fused against plain, resolution, masks, gradients, export, storage."""

import json
import math

import pytest
import torch
from beartype import beartype
from jaxtyping import Float, jaxtyped
from safetensors.torch import load_file, save_file
from torch import Tensor

from sciml import registry
from sciml.errors import InputError
from sciml.operators import FNO
from sciml.operators import _fused as fused

KINDS = {
    "line": ({"modes": (4,)}, (13,)),
    "plane": ({"modes": (4, 3)}, (9, 11)),
    "space": ({"modes": (3, 2, 2), "padding": 0.3}, (7, 6, 5)),
    "conditioned": ({"modes": (4, 3), "n_params": 2}, (8, 8)),
    "conditioned_space": ({"modes": (2, 2, 2), "n_params": 2, "masked": True}, (6, 5, 4)),
    "no_mlp": ({"modes": (4, 3), "mlp": 0}, (9, 11)),
    "conditioned_no_mlp": ({"modes": (4, 3), "mlp": 0, "n_params": 2}, (9, 11)),
    "wide_mlp": ({"modes": (4, 3), "mlp": 2.0, "layers": 1}, (9, 11)),
    "carried": ({"modes": (4, 3), "padding": 0.25, "extension": "carry", "masked": True}, (9, 11)),
    "both_sides": ({"modes": (4, 3), "padding": 0.2, "extension": "carry", "padding_sides": "both"}, (9, 11)),
}  # fmt: skip
PLAIN = {
    "group_norm": ({"modes": (4, 3), "norm": "group", "n_params": 2}, (9, 11)),
    "instance_norm": ({"modes": (4, 3), "norm": "instance"}, (9, 11)),
    "fft": ({"modes": (4, 3), "spectral": "fft", "n_params": 2}, (8, 10)),
}


def make(name: str, **more) -> tuple[FNO, Tensor, Tensor | None, Tensor | None]:
    torch.manual_seed(1)
    arguments, space = (KINDS | PLAIN)[name]
    fno = FNO(2, 3, **({"width": 8, "layers": 3, "spectral": "matmul"} | arguments | more))
    x = torch.randn(3, 2, *space)
    params = torch.randn(3, 2) if fno.n_params else None
    mask = (torch.rand(3, 1, *space) > 0.3).float() if fno.masked else None
    return fno, x, params, mask


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks of two samples out of three, so that sums over chunks and a short last chunk are exercised."""
    monkeypatch.setattr(fused, "_CHUNK_BYTES", 1)
    monkeypatch.setattr("sciml.operators._fused_layers.samples_a_chunk", lambda *_: 2)
    monkeypatch.setattr("sciml.operators.fno.samples_a_chunk", lambda *_: 2)


@pytest.mark.parametrize("name", KINDS)
def test_fused_layers_equal_the_plain_ones(name, small_chunks):
    fno, x, params, mask = make(name)
    fno = fno.double()
    plain = FNO(**(fno.config() | {"fused": False})).double()
    plain.load_state_dict(fno.state_dict())
    params = None if params is None else params.double()
    assert fno._plan(x.shape[2:]) is not None and plain._plan(x.shape[2:]) is None
    results = []
    for model in (fno, plain):
        leaf = x.double().requires_grad_()
        y = model(leaf * 1, params, mask)  # a leaf itself would take the plain layers
        y.backward(torch.linspace(-1, 1, y.numel(), dtype=torch.float64).reshape(y.shape))
        results.append((y, leaf.grad, [p.grad for p in model.parameters()]))
    (y, dx, dp), (y0, dx0, dp0) = results
    assert torch.allclose(y, y0, atol=1e-13)
    assert torch.allclose(dx, dx0, atol=1e-13)
    for (label, _), a, b in zip(fno.named_parameters(), dp, dp0, strict=True):
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-13 * b.abs().max().item()), label
    with torch.no_grad():
        assert torch.allclose(fno(x.double(), params, mask), y0, atol=1e-13)


@pytest.mark.parametrize("name", ["line", "conditioned", "no_mlp", "carried"])
def test_gradcheck_of_the_hand_written_backward_passes(name):
    fno, x, params, mask = make(name, width=3, layers=2)
    fno = fno.double()
    names = [n for n, _ in fno.named_parameters()]

    def call(x, *weights):
        return torch.func.functional_call(fno, dict(zip(names, weights, strict=True)), (x * 1, params, mask))

    params = None if params is None else params[:1].double()
    mask = None if mask is None else mask[:1]
    x = x[:1].double().requires_grad_()
    assert torch.autograd.gradcheck(call, (x, *fno.parameters()), fast_mode=True)


def penalised(model: FNO, x: Tensor, weight: float, params: Tensor | None = None) -> Tensor:
    """The gradient of ⟨u²⟩ + weight ⟨(du/dx)²⟩ for the parameters."""
    model.zero_grad()
    u = model(x, params)
    (du,) = torch.autograd.grad(u, x, torch.ones_like(u), create_graph=True)
    (u.square().mean() + weight * du.square().mean()).backward()
    # what a penalty alone does not reach has no gradient
    return torch.cat(
        [torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in model.parameters()]
    )


@pytest.mark.parametrize("name", ["line", "conditioned"])
def test_derivative_penalties_are_in_the_gradient(name):
    fno, x, params, _ = make(name)
    fno, x, params = fno.double(), x.double().requires_grad_(), None if params is None else params.double()
    plain = FNO(**(fno.config() | {"fused": False})).double()
    plain.load_state_dict(fno.state_dict())
    found, expected = (penalised(model, x, 100.0, params) for model in (fno, plain))
    assert torch.allclose(found, expected, rtol=1e-10, atol=1e-13)
    assert (found - penalised(fno, x, 0.0, params)).norm() > 0.1 * found.norm()


@pytest.mark.parametrize("name", ["line", "conditioned", "carried", "no_mlp"])
def test_second_derivatives_through_the_hand_written_layers_are_refused(name):
    """Between the steps of a rollout: right to first order, and an error that says what to do beyond."""
    fno, x, params, mask = make(name)
    fno = FNO(**(fno.config() | {"in_channels": 3})).double()
    x = torch.randn(3, 3, *x.shape[2:], dtype=torch.float64)
    params, mask = (None if t is None else t.double() for t in (params, mask))
    plain = FNO(**(fno.config() | {"fused": False})).double()
    plain.load_state_dict(fno.state_dict())
    gradients = []
    for model in (fno, plain):
        y = model(model(x, params, mask), params, mask).square().mean()
        gradients.append(torch.autograd.grad(y, list(model.parameters()), create_graph=True))
    for a, b in zip(*gradients, strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-13)
    for g in gradients[0]:
        with pytest.raises(InputError, match=r"second derivatives .* fused=False"):
            g.square().sum().backward(retain_graph=True)
    torch.autograd.grad(sum(g.square().sum() for g in gradients[1]), list(plain.parameters()))


def test_function_transforms_and_forward_mode():
    fno, x, params, _ = make("conditioned")
    plain = FNO(**(fno.config() | {"fused": False}))
    plain.load_state_dict(fno.state_dict())
    weights = dict(fno.named_parameters())

    def jacobian(model):
        return torch.func.jvp(lambda z: model(z, params), (x,), (torch.ones_like(x),))[1]

    def each(model):
        one = torch.func.grad(lambda w, z, p: torch.func.functional_call(model, w, (z[None], p[None])).square().sum())
        return torch.func.vmap(one, in_dims=(None, 0, 0))(weights, x, params)["layers.0.skip.weight"]

    for function in (jacobian, each):
        assert torch.allclose(function(fno), function(plain), rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        together = torch.func.vmap(lambda z, p: fno(z[None], p[None])[0])(x, params)
        assert torch.allclose(together, fno(x, params), atol=1e-5)


@pytest.mark.parametrize("name", KINDS | PLAIN)
def test_every_parameter_gets_a_gradient(name):
    fno, x, params, mask = make(name)
    fno(x, params, mask).square().sum().backward()
    for label, p in fno.named_parameters():
        assert p.grad is not None and p.grad.abs().max() > 0, label


@pytest.mark.parametrize("name", KINDS | PLAIN)
def test_shapes_dtypes_and_storage(name, tmp_path):
    fno, x, params, mask = make(name)

    @jaxtyped(typechecker=beartype)
    def call(
        x: Float[Tensor, "batch 2 *space"],
        params: Float[Tensor, "batch 2"] | None,
        mask: Float[Tensor, "batch 1 *space"] | None,
    ) -> Float[Tensor, "batch 3 *space"]:
        return fno(x, params, mask)

    y = call(x, params, mask).detach()
    save_file(fno.state_dict(), tmp_path / "weights.safetensors")
    text = json.dumps({"operator": registry.operators.name_of(type(fno)), "arguments": fno.config()})
    stored = json.loads(text)
    again = registry.operators.get(stored["operator"])(**stored["arguments"])
    again.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    assert torch.equal(again(x, params, mask), y)
    assert again.config() == fno.config()
    double = fno.double()(x.double(), None if params is None else params.double(), mask)
    assert double.dtype == torch.float64
    assert (double - y).norm() <= 2e-5 * double.norm()


@pytest.mark.parametrize("name", ["plane", "conditioned", "carried", "group_norm", "fft"])
def test_export_round_trip(name, tmp_path):
    fno, x, params, mask = make(name)
    fno = fno.eval()
    program = torch.export.export(fno, (x, params, mask))
    torch.export.save(program, tmp_path / "fno.pt2")
    again = torch.export.load(tmp_path / "fno.pt2").module()
    with torch.no_grad():
        expected = fno(x, params, mask)
    assert (again(x, params, mask) - expected).norm() <= 1e-6 * expected.norm()


def field(points: int) -> Tensor:
    s = torch.arange(points) / points
    waves = [torch.cos(2 * math.pi * k * s + k) for k in range(4)]
    return sum(a[:, None] * b for a in waves for b in waves)[None, None]


def test_untrained_operator_is_resolution_invariant():
    """Without coordinates nothing aliases but GELU's harmonics, which fall off within these grids."""
    torch.manual_seed(0)
    fno = FNO(1, 1, width=16, modes=(8, 8), coordinates=False, sampling="left").double()
    fine = fno(field(256).double())
    for points, tolerance in ((32, 3e-4), (64, 3e-5), (128, 3e-6)):
        coarse = fno(field(points).double())
        step = 256 // points
        assert (coarse - fine[..., ::step, ::step]).norm() <= tolerance * coarse.norm(), points


@pytest.mark.parametrize("name", ["carried", "conditioned_space"])
@pytest.mark.parametrize("gradients", [True, False])
def test_values_outside_the_mask_never_matter(name, gradients):
    fno, x, params, mask = make(name)
    assert mask is not None
    other = torch.where(mask > 0, x, torch.full_like(x, float("nan")))
    with torch.set_grad_enabled(gradients):
        a, b = fno(x, params, mask), fno(other, params, mask)
    assert torch.equal(a, b)
    assert (a * (1 - mask) == 0).all()


def test_passed_coordinates_replace_the_built_in_ones():
    fno, x, _, _ = make("plane")
    j, i = torch.meshgrid((torch.arange(9) + 0.5) / 9, (torch.arange(11) + 0.5) / 11, indexing="ij")
    own = torch.stack((j, i))[None]
    assert torch.allclose(fno(x, coords=own), fno(x), atol=1e-6)
    assert not torch.allclose(fno(x, coords=own + 1), fno(x), atol=1e-3)


def test_a_sample_does_not_depend_on_its_batch_mates():
    fno, x, params, _ = make("conditioned")
    with torch.no_grad():
        together = fno(x, params)
        alone = torch.cat([fno(x[i : i + 1], params[i : i + 1]) for i in range(3)])
    assert torch.allclose(together, alone, atol=1e-6)


def test_coarse_grids_use_the_modes_that_they_carry():
    fno = FNO(1, 1, width=4, modes=(12, 12))
    assert torch.isfinite(fno(torch.randn(1, 1, 6, 3))).all()
    assert torch.isfinite(fno(torch.randn(1, 1, 1, 2))).all()


def test_overfits_one_batch():
    torch.manual_seed(0)
    fno = FNO(1, 1, width=16, modes=(6, 6), layers=2, n_params=1)
    x, y, params = torch.randn(4, 1, 16, 16), torch.randn(4, 1, 16, 16), torch.rand(4, 1)
    optimiser = torch.optim.Adam(fno.parameters(), lr=1e-2)
    for _ in range(250):
        optimiser.zero_grad()
        loss = (fno(x, params) - y).square().mean()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.01 * y.square().mean().item()


def test_autocast_leaves_the_transforms_in_single_precision():
    fno, x, _, _ = make("plane")
    expected = fno(x)
    plain = FNO(**(fno.config() | {"fused": False}))
    plain.load_state_dict(fno.state_dict())
    spectral = plain.fourier_layers()[0].spectral
    v = torch.randn(2, 9, 11, 8)
    exact = spectral(v)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(fno(x), expected)
        assert torch.equal(spectral(v), exact)
        assert (plain(x).float() - expected).norm() <= 0.02 * expected.norm()


def test_inference_mode_and_training_may_alternate():
    fno, x, _, _ = make("plane")
    with torch.inference_mode():
        first = fno(x)
    fno(x).sum().backward()
    with torch.inference_mode():
        assert torch.equal(fno(x), first)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"modes": (4, 4, 4, 4)}, "modes: expected 1 to 3"),
        ({"modes": (4, 0)}, "modes: expected a whole number ≥ 1, got 0"),
        ({"width": 0}, "width: expected a whole number ≥ 1"),
        ({"layers": True}, "layers: expected a whole number"),
        ({"padding": -0.1}, "padding: expected numbers ≥ 0"),
        ({"padding": (0.1, 0.1, 0.1)}, "padding: expected a number or 2 numbers"),
        ({"norm": "groop"}, "did you mean 'group'"),
        ({"extension": "carry_on"}, "did you mean 'carry'"),
        ({"spectral": "mathmul"}, "did you mean 'matmul'"),
        ({"mlp": -1}, "mlp: expected a number ≥ 0"),
        ({"lift": 0}, "lift: expected a number > 0"),
        ({"in_channels": 0}, "in_channels: expected a whole number ≥ 1"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        FNO(**({"in_channels": 1, "out_channels": 1} | arguments))


def test_wrong_tensors_are_named():
    fno = FNO(2, 1, width=4, modes=(2, 2), n_params=3)
    x, p = torch.randn(2, 2, 8, 8), torch.randn(2, 3)
    for call, message in (
        (lambda: fno(x[:, :1], p), r"x: expected \(batch, 2, y, x\), got \(2, 1, 8, 8\) with 1 channels"),
        (lambda: fno(x[0], p), "x: expected"),
        (lambda: fno(x.long(), p), "floating-point"),
        (lambda: fno(x), r"params: expected \(batch, 3\), got None"),
        (lambda: fno(x, p[:1]), r"params: expected \(2, 3\)"),
        (lambda: fno(x, p, torch.ones(2, 8, 8)), "mask: expected"),
        (lambda: fno(x, p, torch.ones(2, 2, 8, 8)), "mask: expected"),
        (lambda: fno(x, p, None, torch.ones(2, 2, 8, 7)), "coords: expected"),
    ):
        with pytest.raises(InputError, match=message):
            call()
