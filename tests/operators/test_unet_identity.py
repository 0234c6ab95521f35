"""U-Net and persistence."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from sciml import registry
from sciml.errors import InputError
from sciml.operators import FNO, Identity, UNet
from sciml.operators._grid import depth_to_space, overlap_add, overlap_channels, space_to_depth

KINDS = {
    "line": ({"dimensions": 1, "masked": True}, (13,)),
    "plane": ({}, (16, 16)),
    "odd": ({"n_params": 2, "masked": True, "patch": 2}, (13, 9)),
    "circular": ({"boundary": "circular", "blocks": 2, "multipliers": (1, 2)}, (11, 6)),
    "replicate": ({"boundary": "replicate", "multipliers": (1,)}, (7, 5)),
    "space": ({"dimensions": 3, "n_params": 2, "multipliers": (1, 2)}, (5, 6, 7)),
}


def make(name):
    torch.manual_seed(1)
    arguments, space = KINDS[name]
    net = UNet(2, 3, **({"width": 8} | arguments))
    x = torch.randn(3, 2, *space)
    params = torch.randn(3, 2) if net.n_params else None
    mask = (torch.rand(3, 1, *space) > 0.3).float() if net.masked else None
    return net, x, params, mask


@pytest.mark.parametrize("name", KINDS)
def test_shapes_gradients_storage_and_double(name, tmp_path):
    net, x, params, mask = make(name)
    y = net(x, params, mask)
    assert y.shape == (3, 3, *x.shape[2:]) and y.dtype == torch.float32
    y.square().sum().backward()
    for label, p in net.named_parameters():
        assert p.grad is not None and p.grad.abs().max() > 0, label
    save_file(net.state_dict(), tmp_path / "weights.safetensors")
    again = registry.operators.get("unet")(**net.config())
    again.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    assert torch.equal(again(x, params, mask), y)
    double = net.double()(x.double(), None if params is None else params.double(), mask)
    assert (double - y).norm() <= 1e-5 * double.norm()


@pytest.mark.parametrize("name", KINDS)
def test_a_sample_does_not_depend_on_its_batch_mates(name):
    net, x, params, mask = make(name)
    alone = [net(x[i : i + 1], *(None if t is None else t[i : i + 1] for t in (params, mask))) for i in range(3)]
    assert torch.allclose(net(x, params, mask), torch.cat(alone), atol=1e-5)


@pytest.mark.parametrize("name", ["line", "odd"])
def test_values_outside_the_mask_never_matter(name):
    net, x, params, mask = make(name)
    other = torch.where(mask > 0, x, torch.full_like(x, float("nan")))
    a, b = net(x, params, mask), net(other, params, mask)
    assert torch.equal(a, b)
    assert (a * (1 - mask) == 0).all()


def test_periodic_network_commutes_with_whole_shifts():
    """On a periodic box of whole coarsest cells, a shift by such cells only shifts the result."""
    torch.manual_seed(0)
    net = UNet(1, 1, width=8, boundary="circular", coordinates=False).double()
    x = torch.randn(1, 1, 16, 16, dtype=torch.float64)
    shift = {"shifts": (4, 8), "dims": (2, 3)}
    assert torch.allclose(net(torch.roll(x, **shift)), torch.roll(net(x), **shift), atol=1e-12)


def test_patches_and_back():
    for shape in ((2, 3, 8), (2, 3, 8, 4), (2, 3, 4, 6, 2)):
        x = torch.randn(shape)
        z = space_to_depth(x, 2)
        assert z.shape[1] == 3 * 2 ** (len(shape) - 2)
        assert torch.equal(depth_to_space(z, 2), x)


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("side", [2, 3])
def test_overlapping_patches_are_a_transposed_convolution(d, side):
    channels, space = 2, (4, 5, 3)[:d]
    x = torch.randn(2, overlap_channels(channels, side, d), *space, dtype=torch.float64)
    made = overlap_add(x, side, [False] * d)
    kernel = torch.eye(x.shape[1], dtype=x.dtype).reshape(-1, channels, *[2 * side] * d)
    convolved = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[d - 1](x, kernel, stride=side)
    before = side // 2
    inner = convolved[(..., *(slice(before, before + n * side) for n in space))]
    torch.testing.assert_close(made, inner, rtol=0, atol=1e-14)
    shift, dims = (2,) * d, tuple(range(2, 2 + d))
    fine = tuple(side * s for s in shift)
    around = overlap_add(torch.roll(x, shift, dims), side, [True] * d)
    torch.testing.assert_close(around, torch.roll(overlap_add(x, side, [True] * d), fine, dims), rtol=0, atol=1e-14)
    assert around.sum().item() == pytest.approx(x.sum().item())  # nothing is lost around the ends
    assert overlap_add(x, 1, [False] * d) is x and overlap_channels(3, 1, d) == 3


@pytest.mark.parametrize("net", [
    UNet(1, 1, width=8, boundary="circular", coordinates=False, patch=2, multipliers=(1, 2)),
    FNO(1, 1, width=8, modes=(3, 3), coordinates=False, patch=2, layers=2),
])  # fmt: skip
def test_periodic_networks_with_patches_commute_with_shifts(net):
    net = net.double()
    x = torch.randn(1, 1, 16, 16, dtype=torch.float64)
    shift = {"shifts": (4, 8), "dims": (2, 3)}
    torch.testing.assert_close(net(torch.roll(x, **shift)), torch.roll(net(x), **shift), rtol=0, atol=1e-12)


def test_export_round_trip(tmp_path):
    net, x, params, mask = make("odd")
    program = torch.export.export(net.eval(), (x, params, mask))
    torch.export.save(program, tmp_path / "unet.pt2")
    again = torch.export.load(tmp_path / "unet.pt2").module()
    assert torch.allclose(again(x, params, mask), net(x, params, mask), atol=1e-5)


def test_overfits_one_batch():
    torch.manual_seed(0)
    net = UNet(1, 1, width=16, multipliers=(1, 2), n_params=1)
    x, y, params = torch.randn(2, 1, 16, 16), torch.randn(2, 1, 16, 16), torch.rand(2, 1)
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(200):
        optimiser.zero_grad()
        loss = (net(x, params) - y).square().mean()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.01 * y.square().mean().item()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"boundary": "periodic"}, "boundary: expected one of"),
        ({"multipliers": ()}, "multipliers: expected at least one"),
        ({"multipliers": (1, 0)}, "multipliers: expected a whole number ≥ 1, got 0"),
        ({"dimensions": 4}, "dimensions: expected 1, 2 or 3, got 4"),
        ({"patch": 0}, "patch: expected"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        UNet(1, 1, **arguments)


def test_identity_is_persistence():
    x = torch.randn(2, 4, 5, 6)
    assert torch.equal(Identity(4, 3)(x), x[:, :3])
    assert torch.equal(Identity(4, 3, increment=True)(x), torch.zeros(2, 3, 5, 6))
    mask = (torch.rand(2, 1, 5, 6) > 0.5).float()
    assert torch.equal(Identity(4, 3)(x, mask=mask), x[:, :3] * mask)
    assert registry.operators.get("identity")(**Identity(4, 3, 1, increment=True).config()).increment
    assert list(Identity(4, 3).parameters()) == []
    with pytest.raises(InputError, match="out_channels: expected at most 2, got 3"):
        Identity(2, 3)
    with pytest.raises(InputError, match="x: expected"):
        Identity(3, 3)(x)
