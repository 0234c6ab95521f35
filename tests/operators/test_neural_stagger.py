"""Interleaved coarse fields: taken apart and put together without loss, one batch as good as a loop, and blind."""

import copy
import json

import numpy as np
import pytest
import torch
from test_contracts import GRID

from sciml import registry
from sciml.contracts import Signature, build
from sciml.errors import InputError
from sciml.operators import NeuralStagger
from sciml.operators.neural_stagger import merge, split

SMALL = {"width": 6, "middle": 8, "blocks": 2, "kernel": 3, "dropout": 0.0}
AROUND = (True, True)


def staggered(stagger=2, steps=1, around=AROUND, seed=0, channels=(2, 2), **options):
    """A small convolutional network on pieces of a grid, in double precision."""
    torch.manual_seed(seed)
    signature = Signature(*channels, 2, n_params=1, periodic=around)
    options = {"backbone": "resnet", "settings": SMALL} | options
    return build(NeuralStagger, signature, {"stagger": stagger, "steps": steps, **options}).double()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("stagger", [(1,), (3,), (1, 1), (2, 2), (4, 2), (1, 5), (2, 3, 4)])
def test_what_is_taken_apart_is_put_together_again(stagger, steps, dtype):
    space = tuple(s * n for s, n in zip(stagger, (5, 3, 2), strict=False))
    x = torch.randn(2, 2 * steps, *space, dtype=dtype)
    pieces = split(x, stagger, steps)
    assert pieces.shape == (steps * np.prod(stagger), 2, 2, *(n // s for n, s in zip(space, stagger, strict=True)))
    assert torch.equal(merge(pieces, stagger, steps), x)
    assert torch.equal(split(merge(pieces, stagger, steps), stagger, steps), pieces)


def test_pieces_are_where_they_are_said_to_be():
    x = torch.randn(2, 6, 4, 9)
    pieces = split(x, (2, 3), 2)
    for t in range(2):
        for p in range(2):
            for q in range(3):
                assert torch.equal(pieces[6 * t + 3 * p + q], x[:, 3 * t : 3 * t + 3, p::2, q::3])


@pytest.mark.parametrize("steps", [1, 2])
def test_one_batch_is_a_loop_over_the_pieces(steps):
    operator = staggered((2, 3), steps, channels=(3 * steps + (steps > 1), 3 * steps))
    x, params = torch.randn(2, operator.in_channels, 8, 9).double(), torch.randn(2, 1).double()
    (net,), alone = operator.pieces, []
    frames = [x[:, 3 * t : 3 * t + 3] for t in range(steps)]
    for frame in frames:
        for p in range(2):
            for q in range(3):
                seen = torch.cat((frame, x[:, 3 * steps :]), 1)
                alone.append(net(seen[..., p::2, q::3], params))
    expected = merge(torch.stack(alone), (2, 3), steps)
    if steps > 1:
        expected = x[:, : 3 * steps] + float(operator.gain[0].detach()) * expected
    torch.testing.assert_close(operator(x, params), expected, rtol=0, atol=1e-13)


def test_networks_of_their_own_are_as_good_as_one_where_they_are_alike():
    together, apart = staggered(), staggered(shared=False, seed=1)
    x, params = torch.randn(2, 2, 8, 8).double(), torch.randn(2, 1).double()
    assert len(apart.pieces) == 4 and not torch.allclose(apart(x, params), together(x, params))
    for net in apart.pieces:
        net.load_state_dict(together.pieces[0].state_dict())
    torch.testing.assert_close(apart(x, params), together(x, params), rtol=0, atol=1e-13)


def dilated(net, by):
    """The same convolutions, their weights `by` points apart."""
    net = copy.deepcopy(net)
    for conv in (m for m in net.modules() if isinstance(m, torch.nn.Conv2d)):
        reach = by * (conv.kernel_size[0] // 2)
        conv.dilation, conv.padding, conv._reversed_padding_repeated_twice = (by, by), (reach, reach), [reach] * 4
    return net


@pytest.mark.parametrize("by", [1, 2, 4])
def test_convolutions_on_pieces_are_dilated_convolutions(by):
    """With by = 1, N itself."""
    operator = staggered(by)
    x, params = torch.randn(2, 2, 16, 16).double(), torch.randn(2, 1).double()
    expected = dilated(operator.pieces[0], by)(x, params)
    torch.testing.assert_close(operator(x, params), expected, rtol=0, atol=1e-13)


def test_a_shift_by_one_point_goes_through_and_pieces_are_blind():
    operator = staggered(4)
    x, params = torch.randn(1, 2, 16, 16).double(), torch.randn(1, 1).double()
    y = operator(x, params)
    torch.testing.assert_close(operator(x.roll((1, -2), (2, 3)), params), y.roll((1, -2), (2, 3)), rtol=0, atol=1e-13)
    other = x.clone()
    other[..., 1::4, 2::4] += 1
    same = torch.ones(16, 16, dtype=torch.bool)
    same[1::4, 2::4] = False
    changed = operator(other, params)
    assert torch.equal(changed[..., same], y[..., same]) and (changed[..., ~same] != y[..., ~same]).all()


def test_pieces_are_told_where_they_are_and_what_is_inside():
    """A network of kernel 1 that is given positions and the mask does on pieces what it does on the whole."""
    options = SMALL | {"kernel": 1, "coordinates": True}
    operator = build(NeuralStagger, Signature(2, 2, 2, masked=True), {"backbone": "resnet", "settings": options})
    x, mask = torch.randn(2, 2, 7, 10), (torch.rand(1, 1, 7, 10) > 0.3).float()
    x[..., 0, 0], mask[..., 0, 0] = torch.nan, 0
    net = operator.pieces[0]
    torch.testing.assert_close(operator(x, None, mask), net(x, None, mask), rtol=0, atol=1e-6)
    coords = torch.rand(1, 2, 7, 10)
    torch.testing.assert_close(operator(x, None, mask, coords), net(x, None, mask, coords), rtol=0, atol=1e-6)


def test_gradients_storage_and_export(tmp_path):
    for options in ({}, {"shared": False}, {"steps": 2}):
        operator = staggered(**options)
        operator.forgets = bool(options)
        x, params = torch.randn(2, 2, 8, 8).double(), torch.randn(2, 1).double()
        y = operator(x, params)
        y.square().sum().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in operator.parameters())
        again = registry.operators.get("neural_stagger")(**json.loads(json.dumps(operator.config()))).double()
        again.load_state_dict(operator.state_dict())
        assert torch.equal(again(x, params), y)
        batch = torch.export.Dim("batch", min=1, max=64)
        program = torch.export.export(operator, (x, params), dynamic_shapes=({0: batch}, {0: batch}))
        three = torch.randn(3, 2, 8, 8).double(), torch.randn(3, 1).double()
        torch.testing.assert_close(program.module()(*three), operator(*three), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stagger": 0}, "stagger: expected a whole number"),
        ({"stagger": (2, 2, 2)}, r"stagger: expected a number or 2 numbers, got \(2, 2, 2\)"),
        ({"backbone": "deeponet"}, "backbone: expected an operator on grids, got 'deeponet'"),
        ({"backbone": 3}, "backbone: expected an operator on grids, got 3"),
        ({"backbone": "fnoo"}, "operator: no operator is called 'fnoo'; did you mean 'fno'"),
        ({"settings": {"widht": 3}}, "fno: widht: no option is called so; did you mean 'width'"),
        ({"settings": 3}, "settings: expected options of fno by name, got 3"),
        ({"steps": 2}, r"steps: expected Window\(n_in=2, n_out=2, increments=False\), got 2 channels in and 3 out"),
        ({"staggr": 2}, "neural_stagger: staggr: no option is called so; did you mean 'stagger'"),
    ],
)
def test_what_does_not_fit_is_named(options, message):
    with pytest.raises(InputError, match=message):
        build(NeuralStagger, GRID, options)


def test_pieces_that_do_not_fit_are_named():
    with pytest.raises(InputError, match=r"stagger: \(2, 2\) and 1 steps do not divide"):
        split(torch.zeros(1, 1, 4, 5), (2, 2))
    with pytest.raises(InputError, match="stagger: expected 2 numbers"):
        split(torch.zeros(1, 1, 4, 5), (2,))
    with pytest.raises(InputError, match=r"pieces: expected 1 · 2 · 2 pieces of 2 axes, got \(3, 1, 1, 2, 2\)"):
        merge(torch.zeros(3, 1, 1, 2, 2), (2, 2))
