"""The published baselines and the plain transformer: sizes, formulas, and what every operator keeps."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from sciml import registry
from sciml.contracts import Function, FunctionSignature, GridBatch, PointBatch, Signature, build
from sciml.errors import InputError
from sciml.operators import AutoFFN, Transformer, UNetEx

ONE = Signature(1, 1, 2, n_params=5, space=(64, 64))
FLOW = Signature(2, 2, 2, n_params=5, masked=True, space=(64, 64))
DISC = Signature(2, 2, 2, n_params=8, masked=True, space=(64, 64))
QUERY = Signature(0, 1, 3, n_params=5)
GRIDS = {
    "auto_ffn": {"width": 24, "depth": 3},
    "auto_deeponet": {"width": 24, "basis": 16, "depth": 3},
    "auto_edeeponet": {"width": 24, "basis": 16, "depth": 3},
    "auto_deeponetcnn": {"channels": 8, "width": 24},
    "resnet": {"blocks": 2, "middle": 16},
    "unet_2015": {"levels": 2},
    "unetex": {"filters": (8, 8)},
    "transformer": {"width": 32, "depth": 2},
}


def count(name, signature, **options):
    return sum(p.numel() for p in build(registry.operators.get(name), signature, options).parameters())


def test_sizes_are_those_of_the_published_networks():
    """CFDBench, from its description: 71,701 (72,001 with eight parameters), 1.10 M, 552 k, 623 k, 535 k (544 k), 1.095
    M; DeepCFD: 819,763, and 582,611 with two convolutions a level."""
    assert (count("ffn", QUERY), count("ffn", Signature(0, 1, 3, n_params=8))) == (71_701, 72_001)
    published = {"width": 100, "basis": 100, "depth": 8, "activation": "relu"}
    assert count("deeponet", QUERY, **published) == 142_501 - 100
    assert count("auto_ffn", ONE) == 1_102_401
    assert (count("auto_deeponet", ONE), count("auto_edeeponet", ONE)) == (551_901, 622_701)
    assert (count("resnet", FLOW) + 932, count("resnet", DISC) + 932) == (534_696, 544_152)
    assert round(count("unet_2015", FLOW), -3) == 1_095_000
    assert count("auto_deeponetcnn", FLOW) == pytest.approx(743e3, rel=0.01)
    plain = Signature(3, 3, 2)
    assert (count("unetex", plain), count("unetex", plain, convolutions=2)) == (819_763, 582_611)


def grids(name, space=(16, 20), seed=0):
    torch.manual_seed(seed)
    signature = Signature(2, 3, len(space), n_params=2, masked=True, space=space)
    operator = build(registry.operators.get(name), signature, GRIDS[name]).eval()
    mask = (torch.rand(3, 1, *space) > 0.3).float()
    return operator, torch.randn(3, 2, *space), torch.randn(3, 2), mask


@pytest.mark.parametrize("name", GRIDS)
def test_gradients_storage_and_double(name, tmp_path):
    operator, x, params, mask = grids(name)
    y = operator(x, params, mask)
    y.square().sum().backward()
    for label, p in operator.named_parameters():
        assert p.grad is not None and p.grad.abs().max() > 0, label
    save_file(operator.state_dict(), tmp_path / "weights.safetensors")
    again = type(operator)(**operator.config()).eval()
    again.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    assert torch.equal(again(x, params, mask), y)
    assert (operator.double()(x.double(), params.double(), mask) - y).norm() <= 1e-5 * y.norm()


@pytest.mark.parametrize("name", GRIDS)
def test_samples_are_on_their_own_and_what_is_outside_does_not_matter(name):
    operator, x, params, mask = (a.double() for a in grids(name))
    y = operator(x, params, mask)
    alone = torch.cat([operator(x[i : i + 1], params[i : i + 1], mask[i : i + 1]) for i in range(3)])
    assert torch.allclose(y, alone, atol=1e-12)
    other = torch.where(mask > 0, x, torch.full_like(x, float("nan")))
    assert torch.equal(operator(other, params, mask), y)
    assert (y * (1 - mask) == 0).all() and (y != 0).any()


@pytest.mark.parametrize("name", GRIDS)
def test_parameters_and_fields_matter_everywhere(name):
    operator, x, params, mask = grids(name)
    everywhere = torch.ones_like(mask)
    y = operator(x, params, everywhere)
    assert ((operator(x, params + 1, everywhere) - y) != 0).float().mean() > 0.9
    assert ((operator(x + torch.randn(2, 1, 1), params, everywhere) - y) != 0).float().mean() > 0.9


@pytest.mark.parametrize("name", GRIDS)
def test_each_learns_one_batch(name):
    torch.manual_seed(0)
    signature = Signature(1, 1, 2, n_params=1, space=(16, 16))
    options = {k: v for k, v in GRIDS[name].items() if k != "channels"} | {"resnet": {"dropout": 0.0}}.get(name, {})
    net = build(registry.operators.get(name), signature, options)
    line = torch.linspace(-1, 1, 16)
    y = torch.stack([line[:, None] + 0 * line, line[:, None] * line + line])[:, None]
    x, params = torch.randn(2, 1, 16, 16), torch.tensor([[0.0], [1.0]])
    hard = ("auto_ffn", "auto_deeponetcnn")
    if name == "auto_deeponetcnn":  # sixteen convolutions without norms take long to tell samples apart
        y = y[1:].expand(2, -1, -1, -1)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3 if name in hard else 3e-3)
    for _ in range(150 if name in hard else 100):
        optimiser.zero_grad()
        loss = (net(x, params) - y).square().mean()
        loss.backward()
        optimiser.step()
    assert loss.item() < (0.5 if name in hard else 0.1) * y.square().mean().item()


def test_auto_ffn_is_one_perceptron_of_field_parameters_and_point():
    operator, x, params, mask = (a.double() for a in grids("auto_ffn", (4, 5)))
    mask = torch.ones_like(mask)
    y = operator(x, params, mask)
    weight = torch.cat([operator.of_field.weight, operator.of_point.weight], dim=1)
    for i, j in ((0, 0), (2, 4)):
        point = torch.tensor([[(i + 0.5) / 4, (j + 0.5) / 5]], dtype=torch.float64).expand(3, 2)
        field = torch.cat([x, mask], dim=1).flatten(1)
        h = torch.cat([field, params, point], dim=1) @ weight.T + operator.of_field.bias
        assert torch.allclose(operator.rest(h), y[:, :, i, j], atol=1e-12)


@pytest.mark.parametrize("name", ["auto_deeponet", "auto_edeeponet"])
def test_auto_deeponets_are_sums_over_a_basis(name):
    operator, x, params, mask = (a.double() for a in grids(name, (4, 5)))
    mask = torch.ones_like(mask)
    field = torch.cat([x, mask], dim=1).flatten(1)
    if name == "auto_deeponet":
        b = operator.branch[0](torch.cat([field, params], dim=1))
    else:
        b = operator.branch[0](field) * operator.branch[1](params)
    t = operator.trunk(torch.tensor([[2.5 / 4, 0.5 / 5]], dtype=torch.float64))
    y = (b * t).reshape(3, 3, 16).sum(-1) + operator.bias
    assert torch.allclose(operator(x, params, mask)[:, :, 2, 0], y, atol=1e-12)


def test_ffn_is_one_perceptron_and_its_points_are_on_their_own():
    torch.manual_seed(0)
    signature = Signature(0, 2, 3, n_params=1, functions=(FunctionSignature("start", 1, 2, 5),))
    net = build(registry.operators.get("ffn"), signature, {"width": 16, "depth": 2}).double()
    double = {"dtype": torch.float64}
    given = (Function(torch.randn(2, 5, 1, **double), torch.rand(2, 5, 2, **double)),)
    points, params, mask = torch.rand(2, 7, 3, **double), torch.randn(2, 1, **double), torch.ones(2, 7)
    mask[1, 4:] = 0
    batch = PointBatch(points, params, given, mask)
    y = net(**batch.arguments())
    assert y.shape == (2, 7, 2) and (y[1, 4:] == 0).all()
    assert torch.allclose(net(points[:, 2:3], params, given)[:, 0], y[:, 2], atol=1e-12)
    weight = torch.cat([net.of_given.weight, net.of_point.weight], dim=1)
    h = torch.cat([params, given[0].values[..., 0], points[:, 1]], dim=1) @ weight.T + net.of_given.bias
    assert torch.allclose(net.rest(h), y[:, 1], atol=1e-12)
    again = type(net)(**net.config())
    assert again.config() == net.config()


def test_unetex_puts_values_where_the_maxima_were():
    """One level, an encoder that lets its input through: what comes out of the pool goes back to where it came from."""
    net = UNetEx(1, 1, filters=(1,), convolutions=2, kernel=1)
    with torch.no_grad():
        for p in net.parameters():
            p.zero_()
        for layer in (net.encoder[0][0], net.encoder[0][2], net.decoders[0][0][2]):
            layer.weight.fill_(1.0)
        net.decoders[0][0][0].weight.copy_(torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1))  # unpooled values alone
    x = torch.rand(1, 1, 5, 6) + 0.1
    y = net(x)
    assert torch.equal(
        y[..., :4, :6] > 0,
        x[..., :4, :6] == torch.nn.functional.max_pool2d(x, 2).repeat_interleave(2, 2).repeat_interleave(2, 3),
    )
    assert (y[..., 4, :] == 0).all()
    shared = UNetEx(3, 3, separate=False)
    assert len(shared.decoders) == 1 and shared(torch.rand(1, 3, 16, 17)).shape == (1, 3, 16, 17)


def test_transformer_attends_by_softmax():
    torch.manual_seed(0)
    net = Transformer(1, 1, width=8, depth=1, heads=2, patch=2).double()
    block, h = net.blocks[0], torch.randn(2, 6, 8, dtype=torch.float64)
    normed = block.norms[0](h)
    q, k, v = block.qkv(normed).chunk(3, dim=-1)
    parts = []
    for head in range(2):
        part = slice(4 * head, 4 * head + 4)
        scores = q[..., part] @ k[..., part].transpose(1, 2) / 4**0.5
        parts.append(torch.softmax(scores, -1) @ v[..., part])
    mixed = h + block.mix(torch.cat(parts, -1))
    expected = mixed + block.perceptron(block.norms[1](mixed))
    assert torch.allclose(block(h, None), expected, atol=1e-12)


@pytest.mark.parametrize("space", [(16, 16), (13, 9), (3, 2)])
def test_transformer_takes_any_grid_and_moves_its_patches(space):
    torch.manual_seed(0)
    x = torch.randn(2, 1, *space)
    plain = Transformer(1, 1, width=16, depth=1, heads=2).eval()
    moved = Transformer(1, 1, width=16, depth=1, heads=2, jitter=2).eval()
    moved.load_state_dict(plain.state_dict())
    assert plain(x).shape == x.shape
    expected = (
        plain.shifted(plain.assemble(x, None, None), None, (0, 0))
        + plain.shifted(plain.assemble(x, None, None), None, (2, 2))
    ) / 2
    assert torch.allclose(moved(x), expected, atol=1e-6) and torch.equal(moved(x), moved(x))
    moved.train()
    assert len({moved(x).sum().item() for _ in range(20)}) > 5  # one of sixteen shifts each
    torch.manual_seed(3)
    first = moved(x)
    torch.manual_seed(3)
    assert torch.equal(moved(x), first)


def test_patches_of_the_transformer_go_around_periodic_axes():
    """With nothing said of the position a shift by whole patches commutes with the map along periodic axes alone."""
    torch.manual_seed(0)
    channel = Signature(1, 1, 3, periodic=(True, False, True), space=(8, 9, 12))
    net = build(Transformer, channel, {"width": 16, "depth": 1, "heads": 2, "patch": 2}).double().eval()
    assert net.periodic == (True, False, True) and Transformer(**net.config()).periodic == net.periodic
    x = torch.randn(2, 1, 8, 9, 12, dtype=torch.float64)
    h = torch.rand(1, 4 * 8, 4, 5, 6, dtype=torch.float64)  # channels: the field, then places along z, y, x
    period = torch.tensor([0.0, 1.0, 0.0, 1.0], dtype=torch.float64).repeat_interleave(8)[:, None, None, None]
    assert torch.allclose(net.waves(h + period), net.waves(h), atol=1e-12)
    assert not torch.allclose(net.waves(h + 0.5 * period), net.waves(h), atol=1e-2)
    with torch.no_grad():
        net.position.weight.zero_()
        net.tokens.weight.view(16, 4, 8)[:, 1:].zero_()
        for jitter in (0, 2):
            net.jitter = jitter
            y = net(x)
            assert (net(x.roll((2, 4), (2, 4))) - y.roll((2, 4), (2, 4))).norm() < 1e-12 * y.norm()
            assert (net(x.roll(2, 3)) - y.roll(2, 3)).norm() > 1e-3 * y.norm()
        net.periodic = (False, False, False)
        assert (net(x.roll(2, 2)) - net(x).roll(2, 2)).norm() > 1e-3 * y.norm()
    odd = Signature(1, 1, 3, periodic=(True, False, True), space=(7, 9, 12))
    assert build(Transformer, odd, {"patch": 2}).periodic == (False, False, True)
    assert Transformer(1, 1, width=8, depth=1, patch=2, dimensions=1, periodic=True)(torch.randn(1, 1, 7)).shape[2] == 7


def test_a_constant_field_stays_nearly_constant_under_shifts():
    """Without coordinates in its way, an answer by shifted patches is the answer of the shifted field."""
    torch.manual_seed(0)
    net = Transformer(1, 1, width=16, depth=1, heads=2).double().eval()
    with torch.no_grad():
        net.position.weight.zero_()
        net.tokens.weight[:, 16:] = 0  # of coordinates
    x = torch.randn(1, 1, 16, 16, dtype=torch.float64)
    coords = torch.zeros(1, 2, 16, 16, dtype=torch.float64)
    longer = torch.cat([x[:, :, :1]] * 2 + [x], dim=2)
    longer = torch.cat([longer[..., :1]] * 2 + [longer], dim=3)
    wide = torch.zeros(1, 2, 18, 18, dtype=torch.float64)
    shifted = net.shifted(net.assemble(x, None, coords), None, (2, 2))
    assert torch.allclose(net(longer, coords=wide)[..., 2:, 2:], shifted, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "signature", "options", "message"),
    [
        ("auto_ffn", Signature(1, 1, 2), {}, "auto_ffn: space: expected data on one grid, got grids of several sizes"),
        ("auto_edeeponet", Signature(1, 1, 2, space=(8, 8)), {}, "auto_edeeponet: n_params: expected at least one"),
        ("auto_deeponetcnn", Signature(1, 1, 2, space=(8, 64)), {}, "space: expected at least 16 points an axis"),
        ("auto_ffn", Signature(1, 1, 1, space=(8,)), {"activation": "tanh"}, "activation: expected one of"),
        ("resnet", Signature(1, 1, 2), {"kernel": 4}, "kernel: expected an odd number, got 4"),
        ("resnet", Signature(1, 1, 2), {"dropout": 1.0}, r"dropout: expected a number in \[0, 1\), got 1.0"),
        ("unetex", Signature(1, 1, 2), {"filters": ()}, "filters: expected at least one level"),
        ("unetex", Signature(1, 1, 4), {}, "unetex: dimensions: expected data on 1, 2 or 3 axes, got 4"),
        ("transformer", Signature(1, 1, 2), {"width": 30}, "width: expected a multiple of heads = 4, got 30"),
        ("transformer", Signature(1, 1, 2), {"jitter": 9}, "jitter: expected at most patch = 4 shifts, got 9"),
        ("ffn", Signature(0, 1, 2), {}, "n_params and functions: expected something that the answer depends on"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(name, signature, options, message):
    with pytest.raises(InputError, match=message):
        build(registry.operators.get(name), signature, options)


def test_grids_of_another_size_are_refused_in_one_line():
    net = AutoFFN(1, 1, (8, 8))
    with pytest.raises(InputError, match=r"AutoFFN: x: expected the grid \(8, 8\) it was made for, got \(8, 9\)"):
        net(**GridBatch(torch.ones(1, 1, 8, 9)).arguments())
    with pytest.raises(InputError, match="UNetEx: x: expected at least 16 points an axis for its levels"):
        UNetEx(1, 1)(torch.ones(1, 1, 16, 15))
