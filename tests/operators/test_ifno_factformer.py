"""Operators that iterate a Fourier layer, and layers of axial attention: their steps written out, and the contract."""

import json

import pytest
import torch
from torch.nn import functional as F

from sciml import registry
from sciml.contracts import Signature, build
from sciml.errors import InputError
from sciml.operators import FNO, IFNO, FactFormer

KINDS = {
    "line": ("ifno", {"modes": (3,), "width": 4, "iterations": 3}, (9,)),
    "plane": ("ifno", {"modes": (3, 2), "width": 4, "iterations": 3, "n_params": 2, "masked": True}, (8, 7)),
    "space": ("ifno", {"modes": (2, 2, 2), "width": 4, "iterations": 2, "padding": (0.0, 0.25, 0.0)}, (6, 5, 6)),
    "carried": ("ifno", {"modes": (3, 2), "width": 4, "padding": 0.25, "extension": "carry"}, (8, 7)),
    "layers": ("factformer", {"width": 4, "heads": 2, "depth": 2, "n_params": 2}, (6, 5)),
    "channel": ("factformer", {"width": 4, "heads": 2, "depth": 2, "dimensions": 3,
                               "periodic": [True, False, True]}, (4, 5, 3)),
}  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make(name):
    torch.manual_seed(1)
    kind, arguments, space = KINDS[name]
    operator = registry.operators.get(kind)(2, 3, **arguments).double()
    x = torch.randn(2, 2, *space, dtype=torch.float64)
    params = torch.randn(2, 2, dtype=torch.float64) if operator.n_params else None
    mask = (torch.rand(2, 1, *space) > 0.3).double() if operator.masked else None
    return operator, x, params, mask


def test_steps_of_a_fourier_layer():
    """v + σ(W v + K v + b)/L, K on its modes by a full FFT."""
    operator, x, _, _ = make("line")
    layer, v = operator.layers[0], operator.lift(operator.assemble(x, None, None).movedim(1, -1))
    re, im = layer.spectral.weight.chunk(2, dim=-1)
    for _ in range(3):
        spectrum = torch.fft.rfft(v, dim=1)
        kept = torch.einsum("bkc,kcd->bkd", spectrum[:, :4], torch.complex(re, im))
        k = torch.fft.irfft(F.pad(kept, (0, 0, 0, 1)), n=9, dim=1)
        v = v + F.gelu(k + v @ layer.skip.weight + layer.bias) / 3
    y = operator.projection(v).movedim(-1, 1)
    assert torch.allclose(operator(x), y, atol=1e-12)


def test_one_step_of_a_layer_without_its_own_is_that_of_fno():
    operator, x, params, mask = make("plane")
    other = FNO(2, 3, modes=(3, 2), width=4, layers=1, mlp=0, n_params=2, masked=True).double()
    other.load_state_dict(operator.state_dict())
    operator.iterations = 1
    seen = []
    other.layers[0].register_forward_hook(lambda _, given, answer: seen.append((given[0], F.gelu(answer))))
    other(x, params, mask)
    (v, answer), *_ = seen
    y = operator.projection(v + answer).movedim(-1, 1) * mask
    assert torch.allclose(operator(x, params, mask), y, atol=1e-12)


def test_weights_do_not_go_with_the_iterations_but_with_the_layers():
    def count(operator):
        return sum(p.numel() for p in operator.parameters())

    assert count(IFNO(1, 1, iterations=2, modes=3)) == count(IFNO(1, 1, iterations=9, modes=3))
    one, two, three = (FactFormer(1, 1, width=8, depth=n) for n in (1, 2, 3))
    assert count(three) - count(two) == count(two) - count(one) == count(one.layers[0])


def test_layers_of_axial_attention():
    operator, x, params, _ = make("layers")
    grid = operator.grid([torch.arange(n).double()[None] / n + 0.5 / n for n in (6, 5)], None)
    lines = [torch.arange(n).double()[None] / n + 0.5 / n for n in (6, 5)]
    u = operator.lift(x.movedim(1, -1)) + operator.position(operator.waves_at(lines))
    for layer in operator.layers:
        assert not layer.parallel
        u = u + layer(u, grid, operator.embedding(params))
    assert torch.allclose(operator(x, params), operator.head(u).movedim(-1, 1), atol=1e-12)


@pytest.mark.parametrize("name", ["space", "channel"])
def test_shifts_along_periodic_axes_commute(name):
    kind, arguments, space = KINDS[name]
    options = {k: v for k, v in arguments.items() if k not in ("dimensions", "periodic")}
    options |= {"coordinates": False} if kind == "ifno" else {}
    channel = Signature(2, 2, 3, periodic=(True, False, True))
    operator = build(registry.operators.get(kind), channel, options).double()
    x = torch.randn(2, 2, *space, dtype=torch.float64)
    y, moved = operator(x), operator(x.roll((1, 2), (2, 4)))
    assert (moved - y.roll((1, 2), (2, 4))).norm() < 1e-12 * y.norm()
    assert (operator(x.roll(1, 3)) - y.roll(1, 3)).norm() > 1e-6 * y.norm()


@pytest.mark.parametrize("name", KINDS)
def test_gradients_storage_and_precision(name):
    operator, x, params, mask = make(name)
    y = operator(x, params, mask)
    y.square().sum().backward()
    for label, p in operator.named_parameters():
        assert p.grad is not None and p.grad.abs().max() > 0, label
    again = registry.operators.get(operator.name)(**json.loads(json.dumps(operator.config()))).double()
    again.load_state_dict(operator.state_dict())
    assert torch.equal(again(x, params, mask), y) and again.config() == operator.config()
    single = operator.float()(x, params, mask)
    assert single.dtype == torch.float32 and (single - y).norm() < 2e-5 * y.norm()


@pytest.mark.parametrize("name", ["plane", "layers"])
def test_overfits_one_batch(name):
    torch.manual_seed(0)
    more = {"width": 16, "modes": (4, 4), "iterations": 3} if name == "plane" else {"width": 16, "depth": 1}
    operator = registry.operators.get(KINDS[name][0])(1, 1, n_params=1, **more)
    x, y, params = torch.randn(2, 1, 8, 8), torch.randn(2, 1, 8, 8), torch.rand(2, 1)
    optimiser = torch.optim.Adam(operator.parameters(), lr=1e-2)
    for _ in range(300):
        optimiser.zero_grad()
        loss = (operator(x, params) - y).square().mean()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.02 * y.square().mean().item()


@pytest.mark.parametrize("name", ["plane", "layers"])
def test_export(name, tmp_path):
    operator, x, params, mask = make(name)
    batch = {0: torch.export.Dim("batch")}
    shapes = {"x": batch, "params": batch, "mask": None if mask is None else batch}
    program = torch.export.export(operator.eval(), (x, params, mask), dynamic_shapes=shapes)
    torch.export.save(program, tmp_path / "operator.pt2")
    again = torch.export.load(tmp_path / "operator.pt2").module()
    x, params, mask = (None if t is None else torch.cat([t, t[:1]]) for t in (x, params, mask))
    with torch.no_grad():
        assert torch.allclose(again(x, params, mask), operator(x, params, mask), atol=1e-12)


def test_wrong_arguments_are_named():
    with pytest.raises(InputError, match="iterations: expected a whole number ≥ 1"):
        IFNO(1, 1, iterations=0)
    with pytest.raises(InputError, match="depth: expected a whole number ≥ 1"):
        FactFormer(1, 1, depth=0)
    with pytest.raises(InputError, match="ifno: layers: no option is called so"):
        build(IFNO, Signature(1, 1, 2), {"layers": 3})
