"""The Fourier neural operator: its layers written out, resolution, masks, gradients, export, storage, copies."""

import itertools
import json
import math
from collections import OrderedDict

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from sciml import registry
from sciml.errors import InputError
from sciml.operators import FNO
from sciml.operators._fourier import FourierLayer

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


def explicit(layer: FourierLayer, x: Tensor, embedding: Tensor | None) -> Tensor:
    """A layer without norm as its docstring has it: K as a sum of waves over all points, nothing brought together."""
    spectral, space = layer.spectral, x.shape[1:-1]
    places = torch.stack(torch.meshgrid(*(torch.arange(n).double() / n for n in space), indexing="ij"), -1)
    apart = places.reshape(-1, 1, len(space)) - places.reshape(1, -1, len(space))  # (point out, point in, axis)
    flat, kx = x.flatten(1, -2), 0
    for number in itertools.product(*(range(n) for n in spectral.weight.shape[:-2])):
        share, phase = 1.0 if number[0] == 0 else 2.0, 0  # k and -k
        for i, (n, m, points, period) in enumerate(zip(number, spectral.modes, space, spectral.period, strict=True)):
            k = n if i == 0 or n <= m else m - n
            share *= (0.5 if 2 * m == points * period == 2 * abs(k) else 1.0) / (points * period)
            phase = phase + 2 * math.pi * k / period * apart[..., i]
        re, im = spectral.weight[number].chunk(2, dim=-1)
        kx = kx + share * (torch.cos(phase) @ flat @ re - torch.sin(phase) @ flat @ im)
    kx = kx.reshape(x.shape)
    gain, shift = 1.0, 0.0
    if layer.modulation is not None:
        gain, shift = (t[:, None, None] for t in layer.modulation(embedding))
    v = (kx + x @ layer.skip.weight) * gain + layer.bias + shift
    v = v if layer.last else F.gelu(v)
    if layer.mlp is None:
        return v
    first, second = layer.mlp.first, layer.mlp.second
    y = F.gelu(v @ first.weight + first.bias) @ second.weight + second.bias + layer.gate * x
    return y if layer.last else F.gelu(y)


@pytest.mark.parametrize("name", ["line", "plane", "space", "conditioned", "no_mlp", "conditioned_no_mlp", "wide_mlp"])
def test_layers_are_what_their_docstring_says(name):
    fno, x, params, _ = make(name, width=3, sampling="left")
    fno = fno.double()
    v = torch.randn(2, *x.shape[2:], 3, dtype=torch.float64)
    embedding = None if params is None else fno.embedding(params[:2].double())
    for layer in fno.layers:
        assert torch.allclose(layer(v, embedding), explicit(layer, v, embedding), atol=1e-12)


@pytest.mark.parametrize("name", ["line", "conditioned", "no_mlp", "carried"])
def test_gradcheck_of_all_weights(name):
    fno, x, params, mask = make(name, width=3, layers=2)
    fno = fno.double()
    names = [n for n, _ in fno.named_parameters()]

    def call(x, *weights):
        return torch.func.functional_call(fno, dict(zip(names, weights, strict=True)), (x, params, mask))

    params = None if params is None else params[:1].double()
    mask = None if mask is None else mask[:1]
    x = x[:1].double().requires_grad_()
    assert torch.autograd.gradcheck(call, (x, *fno.parameters()), fast_mode=True)
    assert torch.autograd.gradgradcheck(call, (x, *fno.parameters()), fast_mode=True)


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
    """Against finite differences along the penalty's own gradient."""
    fno, x, params, _ = make(name)
    fno, x, params = fno.double(), x.double().requires_grad_(), None if params is None else params.double()
    found = penalised(fno, x, 100.0, params)
    assert (found - penalised(fno, x, 0.0, params)).norm() > 0.1 * found.norm()

    def loss():
        u = fno(x, params)
        (du,) = torch.autograd.grad(u, x, torch.ones_like(u))
        return (u.square().mean() + 100.0 * du.square().mean()).item()

    start, step = torch.nn.utils.parameters_to_vector(fno.parameters()).detach(), 1e-5 * found / found.norm()
    values = []
    for sign in (1, -1):
        torch.nn.utils.vector_to_parameters(start + sign * step, fno.parameters())
        values.append(loss())
    assert math.isclose((values[0] - values[1]) / 2e-5, found.norm().item(), rel_tol=1e-6)


def test_function_transforms_and_forward_mode():
    fno, x, params, _ = make("conditioned")
    fno, x, params = fno.double(), x.double(), params.double()
    weights = dict(fno.named_parameters())
    _, tangent = torch.func.jvp(lambda z: fno(z, params), (x,), (torch.ones_like(x),))
    with torch.no_grad():
        difference = (fno(x + 1e-6, params) - fno(x - 1e-6, params)) / 2e-6
    assert torch.allclose(tangent, difference, rtol=1e-6, atol=1e-8)

    def loss(w, z, p):
        return torch.func.functional_call(fno, w, (z[None], p[None])).square().sum()

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(weights, x, params)
    for i in range(len(x)):
        fno.zero_grad()
        fno(x[i : i + 1], params[i : i + 1]).square().sum().backward()
        for label, p in fno.named_parameters():
            assert torch.allclose(each[label][i], p.grad, rtol=1e-9, atol=1e-12), label


@pytest.mark.parametrize("name", KINDS | PLAIN)
def test_every_parameter_gets_a_gradient(name):
    fno, x, params, mask = make(name)
    fno(x, params, mask).square().sum().backward()
    for label, p in fno.named_parameters():
        assert p.grad is not None and p.grad.abs().max() > 0, label


@pytest.mark.parametrize("name", KINDS | PLAIN)
def test_shapes_dtypes_and_storage(name, tmp_path):
    fno, x, params, mask = make(name)

    y = fno(x, params, mask).detach()
    assert y.shape == (x.shape[0], 3, *x.shape[2:])
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


@pytest.mark.parametrize("name", ["plane", "conditioned_space", "carried", "group_norm", "fft"])
def test_export_round_trip(name, tmp_path):
    """One program for all batch sizes; how the transforms are computed does not follow the size."""
    fno, x, params, mask = make(name)
    fno, batch = fno.eval(), torch.export.Dim("batch")
    program = torch.export.export(fno, (x, params, mask), dynamic_shapes=shapes(params, mask, {0: batch}))
    torch.export.save(program, tmp_path / "fno.pt2")
    again = torch.export.load(tmp_path / "fno.pt2").module()
    for many in (3, 7):
        x, params, mask = (None if t is None else t[:1].expand(many, *t.shape[1:]) for t in (x, params, mask))
        with torch.no_grad():
            expected = fno(x, params, mask)
        assert (again(x, params, mask) - expected).norm() <= 1e-6 * expected.norm()


def shapes(params: Tensor | None, mask: Tensor | None, sizes: dict) -> dict:
    return {"x": sizes, "params": None if params is None else {0: sizes[0]}, "mask": None if mask is None else sizes}


@pytest.mark.parametrize(
    ("name", "sampling"), [("line", "left"), ("conditioned", "centre"), ("group_norm", "left"), ("space", "ends")]
)
def test_one_exported_program_serves_all_grids(name, sampling, tmp_path):
    """All that carry the modes: more than 2 m points an axis (and what padding takes off)."""
    fno, x, params, mask = make(name, sampling=sampling)
    fno = fno.eval()
    sizes = {0: torch.export.Dim("batch")} | {
        i: torch.export.Dim(f"n{i}", min=2 * m + 2, max=4096) for i, m in enumerate(fno.modes, start=2)
    }
    x = torch.randn(3, 2, *(2 * m + 5 for m in fno.modes))
    mask = None if mask is None else torch.ones(3, 1, *x.shape[2:])
    program = torch.export.export(fno, (x, params, mask), dynamic_shapes=shapes(params, mask, sizes))
    torch.export.save(program, tmp_path / "fno.pt2")
    again = torch.export.load(tmp_path / "fno.pt2").module()
    for many, more in ((2, 2), (5, 9), (3, 20)):
        x = torch.randn(many, 2, *(2 * m + more for m in fno.modes))
        params = None if params is None else torch.randn(many, 2)
        with torch.no_grad():
            expected = fno(x, params)
            assert (again(x, params, None) - expected).norm() <= 1e-6 * expected.norm()


class Elsewhere(TorchDispatchMode):
    """Names of the operations that touch a tensor that is not on the given device; single numbers aside."""

    def __init__(self, device: str):
        self.device, self.found = device, []
        super().__init__()

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        result = function(*arguments, **(named or {}))
        for tensor in torch.utils._pytree.tree_leaves((arguments, named, result)):
            if isinstance(tensor, Tensor) and tensor.device.type != self.device:
                self.found.append(str(function))
        return result


@pytest.mark.parametrize("name", KINDS | PLAIN)
@pytest.mark.parametrize("patch", [1, 2])
def test_a_second_call_touches_nothing_on_the_host(name, patch, monkeypatch):
    """So that a forward pass, a training step and a rollout can be captured as a graph: with everything on the device
    without memory, an operation on the host, and a copy from it, would be one on another device."""
    monkeypatch.setattr("sciml.operators._transform._CACHE", OrderedDict())
    fno, x, params, mask = make(name, patch=patch)
    fno, x, params, mask = (None if t is None else t.to("meta") for t in (fno, x, params, mask))
    with Elsewhere("meta") as first:
        fno(x, params, mask).sum().backward()
    with Elsewhere("meta") as second:
        state = x
        for _ in range(2):
            state = fno(state, params, mask)[:, :2]
        state.sum().backward()
    assert first.found and not second.found


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
    spectral = fno.layers[0].spectral
    v = torch.randn(2, 9, 11, 8)
    exact = spectral(v)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(spectral(v), exact)
        assert (fno(x).float() - expected).norm() <= 0.02 * expected.norm()


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
