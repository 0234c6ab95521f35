"""DeepONet: a sum over a basis of the points, and all that every operator promises."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sciml import registry
from sciml.contracts import Function, FunctionSignature, PointBatch, Signature, build
from sciml.errors import InputError
from sciml.operators import DeepONet

SIGNATURE = Signature(0, 3, 2, n_params=2, functions=(FunctionSignature("a", 2, 1, 5), FunctionSignature("b", 1, 2, 4)))
OPTIONS = {"width": 16, "basis": 6, "depth": 3, "frequencies": 2}


def make(points: int = 7) -> tuple[DeepONet, PointBatch]:
    torch.manual_seed(1)
    net = build(DeepONet, SIGNATURE, OPTIONS)
    functions = (
        Function(torch.randn(3, 5, 2), torch.rand(3, 5, 1)),
        Function(torch.randn(3, 4, 1), torch.rand(3, 4, 2)),
    )
    return net, PointBatch(torch.rand(3, points, 2), torch.randn(3, 2), functions)


class Lambda(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def test_separable_function_by_hand():
    """u(s; p) = p₁ sin(π s₁) + p₂ cos(π s₂) + 3: two functions of the basis, p as coefficients."""
    net = DeepONet(1, 2, 2, basis=2, frequencies=1).double()
    net.branch = nn.Sequential(nn.Linear(2, 2, bias=False, dtype=torch.float64))
    net.trunk = nn.Sequential(nn.Linear(6, 2, bias=False, dtype=torch.float64))  # s₁ s₂ cos cos sin sin
    with torch.no_grad():
        net.branch[0].weight.copy_(torch.eye(2))
        net.trunk[0].weight.copy_(torch.tensor([[0, 0, 0, 0, 1, 0], [0, 0, 0, 1, 0, 0]]))
        net.bias.fill_(3.0)
    s, p = torch.rand(4, 9, 2, dtype=torch.float64), torch.randn(4, 2, dtype=torch.float64)
    expected = p[:, :1] * torch.sin(math.pi * s[..., 0]) + p[:, 1:] * torch.cos(math.pi * s[..., 1]) + 3
    assert torch.allclose(net(s, p)[..., 0], expected, atol=1e-14)


def test_linear_in_the_basis():
    net, batch = make()
    net = net.double()
    batch = batch.to(dtype=torch.float64)
    first, second = net.trunk, DeepONet(**net.config()).double().trunk

    def answer(trunk):
        net.trunk = nn.Sequential(Lambda(trunk))
        return net(**batch.arguments()) - net.bias

    both = answer(lambda s: 2 * first(s) - 3 * second(s))
    assert torch.allclose(both, 2 * answer(first) - 3 * answer(second), atol=1e-13)


def test_every_channel_has_a_basis_of_its_own():
    net, batch = make()
    y = net(**batch.arguments())
    with torch.no_grad():
        net.trunk[-2].weight[: net.basis] = 0  # those of the first channel
        net.trunk[-2].bias[: net.basis] = 0
    other = net(**batch.arguments())
    assert torch.equal(other[..., 1:], y[..., 1:])
    assert torch.allclose(other[..., 0], net.bias[0].expand(3, 7))


def test_points_are_independent_and_padding_changes_nothing():
    net, batch = make()
    y = net(**batch.arguments())
    order = torch.randperm(7)
    shuffled = net(batch.points[:, order], batch.params, batch.functions)
    assert torch.allclose(shuffled, y[:, order], atol=1e-6)
    points = torch.cat((batch.points, torch.full((3, 2, 2), float("nan"))), dim=1).requires_grad_()
    mask = torch.cat((torch.ones(3, 7), torch.zeros(3, 2)), dim=1)
    padded = net(points, batch.params, batch.functions, mask)
    assert torch.allclose(padded[:, :7], y, atol=1e-6)
    assert (padded[:, 7:] == 0).all()
    padded.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())


def test_a_sample_does_not_depend_on_its_batch_mates():
    net, batch = make()
    alone = net(batch.points[1:2], batch.params[1:2], tuple(Function(f[0][1:2], f[1][1:2]) for f in batch.functions))
    assert torch.allclose(net(**batch.arguments())[1:2], alone, atol=1e-6)


def test_masked_sensors_are_refused():
    net, batch = make()
    a, b = batch.functions
    mask = torch.tensor([1, 1, 1, 0, 1]).expand(3, 5)
    with pytest.raises(InputError, match=r"functions\[0\]: sensor 3 is masked; expected values at all of the fixed"):
        net(batch.points, batch.params, (Function(a.values, a.points, mask), b))
    whole = net(batch.points, batch.params, (Function(a.values, a.points, torch.ones(3, 5)), b))
    assert torch.equal(whole, net(batch.points, batch.params, batch.functions))


def test_gradients_types_and_storage(tmp_path):
    net, batch = make()
    y = net(**batch.arguments())
    assert y.shape == (3, 7, 3)
    y.square().sum().backward()
    for label, p in net.named_parameters():
        assert p.grad is not None and p.grad.abs().max() > 0, label
    save_file(net.state_dict(), tmp_path / "weights.safetensors")
    again = registry.operators.get("deeponet")(**json.loads(json.dumps(net.config())))
    again.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    assert torch.equal(again(**batch.arguments()), y)
    double = net.double()(**batch.to(dtype=torch.float64).arguments())
    assert double.dtype == torch.float64
    assert (double - y).norm() <= 1e-5 * double.norm()


def test_export_for_any_number_of_points(tmp_path):
    torch.manual_seed(0)
    net = DeepONet(2, 2, 3, width=8, basis=4).eval()
    dynamic = {"points": {1: torch.export.Dim("point", min=2, max=4096)}, "params": None}
    program = torch.export.export(net, (torch.rand(2, 11, 2), torch.randn(2, 3)), dynamic_shapes=dynamic)
    torch.export.save(program, tmp_path / "net.pt2")
    again = torch.export.load(tmp_path / "net.pt2").module()
    points, params = torch.rand(2, 300, 2), torch.randn(2, 3)
    assert torch.allclose(again(points, params), net(points, params), atol=1e-6)


def test_export_with_functions():
    net, batch = make()
    program = torch.export.export(net.eval(), (batch.points, batch.params, batch.functions))
    assert torch.allclose(program.module()(batch.points, batch.params, batch.functions), net(**batch.arguments()))


def test_overfits_one_batch():
    net, batch = make()
    target = torch.randn(3, 7, 3)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
    loss = torch.tensor(math.inf)
    for _ in range(300):
        optimiser.zero_grad()
        loss = (net(**batch.arguments()) - target).square().mean()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.01 * target.square().mean().item()


def test_wrong_arguments_are_named():
    net, batch = make()
    for call, message in (
        (lambda: DeepONet(1, 2), "n_params and functions: expected something"),
        (lambda: DeepONet(1, 2, 1, activation="geluu"), "did you mean 'gelu'"),
        (lambda: DeepONet(1, 2, 1, depth=1), "depth: expected a whole number ≥ 2"),
        (
            lambda: DeepONet.for_signature(Signature(0, 1, 2, functions=(FunctionSignature("a", 1, 1),))),
            "a fixed number",
        ),
        (lambda: net(batch.points[0]), "points: expected"),
        (lambda: net(batch.points), r"params: expected \(3, 2\), got None"),
        (lambda: net(batch.points, batch.params[:1], batch.functions), r"params: expected \(3, 2\)"),
        (lambda: net(batch.points, batch.params), "functions: expected 2 of them, got 0"),
        (
            lambda: net(batch.points, batch.params, batch.functions[::-1]),
            r"functions\[0\].values: expected \(3, 5, 2\)",
        ),
        (lambda: net(batch.points[:, :0], batch.params, batch.functions), "points: expected at least one, got none"),
        (lambda: net(batch.points / 0, batch.params, batch.functions), "points: expected numbers, got nan or inf"),
        (lambda: net(batch.points, batch.params / 0, batch.functions), "params: expected numbers, got nan or inf"),
        (lambda: net(batch.points, batch.params, batch.functions, torch.ones(3, 6)), r"mask: expected \(3, 7\)"),
    ):
        with pytest.raises(InputError, match=message):
            call()
