"""Axial attention written out as matrices, quadratures, circles; the operators made of it."""

import itertools
import json
import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sciml import registry
from sciml.contracts import Signature, build
from sciml.errors import InputError
from sciml.operators import FactFormer, IFactFormer
from sciml.operators._grid import grid_coordinates
from sciml.operators.layers.axial_attention import AxialAttention, AxisKernel, axis_lines, cell_widths, rotary_angles

SMALL = {"width": 6, "heads": 2, "head_width": 4, "iterations": 2}
KINDS = {
    "line": ({"dimensions": 1}, (7,)),
    "plane": ({"dimensions": 2}, (5, 6)),
    "plane_o": ({"dimensions": 2, "parallel": False}, (5, 6)),
    "space": ({"dimensions": 3}, (4, 5, 3)),
    "space_o": ({"dimensions": 3, "parallel": False}, (4, 5, 3)),
    "channel": ({"dimensions": 3, "periodic": [True, False, True], "n_params": 2}, (4, 5, 3)),
    "circle": ({"dimensions": 1, "periodic": True}, (8,)),
    "masked": ({"dimensions": 2, "masked": True, "n_params": 2}, (6, 5)),
    "masked_o": ({"dimensions": 3, "masked": True, "parallel": False}, (4, 5, 3)),
}  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make(name: str, **more):
    """(operator, x, params, mask, coords) in double precision, on a grid stretched along all axes with two ends."""
    torch.manual_seed(1)
    arguments, space = KINDS[name]
    arguments = SMALL | arguments | more
    operator = IFactFormer(2, 3, **arguments).double()
    x = torch.randn(2, 2, *space, dtype=torch.float64)
    params = torch.randn(2, 2, dtype=torch.float64) if operator.n_params else None
    mask = (torch.rand(2, 1, *space) > 0.3).double() if operator.masked else None
    coords = grid_coordinates(space, "centre", x)[None]
    for axis, around in enumerate(operator.periodic):
        coords[:, axis] = coords[:, axis] if around else coords[:, axis] ** 1.5
    return operator, x, params, mask, coords


def explicit(block: AxialAttention, operator: IFactFormer, u: Tensor, coords: Tensor, mask, embedding) -> Tensor:
    """A as its docstring has it, every kernel a matrix between all points of the grid."""
    space, d = u.shape[1:-1], u.ndim - 2
    x = axis_lines(coords)
    w = [cell_widths(line, p)[0] for line, p in zip(x, operator.periodic, strict=True)]
    volume = w[0]
    for other in w[1:]:
        volume = volume[..., None] * other
    volume = volume.expand(len(u), *space) * (1.0 if mask is None else mask[:, 0])
    h = F.layer_norm(u, u.shape[-1:], block.norm.weight, block.norm.bias)
    if embedding is not None:
        gain, shift = (m.reshape(len(u), *[1] * d, -1) for m in block.modulation(embedding))
        h = gain * h + shift
    matrices = []
    for axis, kernel in enumerate(block.kernels):
        others = [a for a in range(1, d + 1) if a != axis + 1]
        over = volume[..., None]
        mean = (h * over).sum(others) / over.sum(others) if others else h * (over > 0)
        angle = rotary_angles(x[axis], kernel.pair.out_features // 2 // block.heads // 2, operator.rotation,
                              operator.waves, operator.periodic[axis])  # fmt: skip
        kappa = kernel(mean, (angle.cos()[:, None], angle.sin()[:, None]))
        size = (kappa.square() * w[axis][:, None] * w[axis]).sum((-1, -2), keepdim=True).sqrt()
        matrices.append(kappa / size * w[axis])  # (batch, head, i, j)
    v = block.value(h).unflatten(-1, (block.heads, -1)) * (volume > 0)[..., None, None]
    v = v.flatten(1, d).permute(0, 2, 1, 3)  # (batch, head, point, channel)
    eyes = [torch.eye(n, dtype=u.dtype).expand(len(u), block.heads, n, n) for n in space]
    if block.parallel:
        dense = [[m if a == axis else eyes[a] for a in range(d)] for axis, m in enumerate(matrices)]
    else:
        dense = [matrices]
    found = []
    for factors in dense:
        product = factors[0]
        for factor in factors[1:]:  # Kronecker's product
            product = (product[..., :, None, :, None] * factor[..., None, :, None, :]).flatten(2, 3).flatten(3, 4)
        found.append((product @ v).permute(0, 2, 1, 3).flatten(2))
    y, share = torch.cat(found, -1), (volume / volume.sum(list(range(1, d + 1)), keepdim=True)).flatten(1)[..., None]
    y = y - (share * y).sum(1, keepdim=True)
    y = y / torch.sqrt((share * y.square()).sum(1, keepdim=True) + block.eps)
    y = block.mix(F.gelu(block.merge(y * (share > 0))))
    return y.unflatten(1, space)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("iterations", [1, 3])
def test_equals_dense_matrices(name, iterations):
    operator, x, params, mask, coords = make(name, iterations=iterations)
    h = operator.assemble(x, mask, coords).movedim(1, -1)
    u = operator.lift(h)
    if operator.position is not None:
        at = coords[:, [not p for p in operator.periodic]].movedim(1, -1)
        phase = 2 * math.pi * at @ operator.frequencies
        u = u + operator.position(torch.cat([phase.cos(), phase.sin()], -1))
    embedding = None if params is None else operator.embedding(params)
    for _ in range(iterations):
        u = u + explicit(operator.attention, operator, u, coords, mask, embedding) / iterations
    y = operator.head(u).movedim(-1, 1) * (1.0 if mask is None else mask)
    found = operator(x, params, mask, coords)
    assert (found - y).abs().max() < 1e-12 and (found - operator.head(u * 0).movedim(-1, 1)).norm() > 0.1


def test_kernels_with_equal_latents_depend_on_the_distance_alone():
    torch.manual_seed(0)
    kernel = AxisKernel(6, 2, 8, 1.0).double()
    mean = torch.randn(1, 1, 6, dtype=torch.float64).expand(1, 12, 6)
    x = torch.arange(12, dtype=torch.float64)[None] / 12 + 0.01
    for periodic in (False, True):
        angle = rotary_angles(x, 4, 64.0, 5, periodic)
        found = kernel(mean, (angle.cos()[:, None], angle.sin()[:, None]))
        for offset in range(-11, 12):
            line = found.diagonal(offset, -2, -1)
            assert torch.allclose(line, line[..., :1].expand_as(line), atol=1e-12)
        if periodic:
            shifted = found.roll((1, 1), (-2, -1))
            assert torch.allclose(found, shifted, atol=1e-12)
        assert found.std() > 1e-3


def test_rotary_angles():
    x = torch.rand(1, 5, dtype=torch.float64)
    angles = rotary_angles(x, 144, 64.0, 8, False)[0]
    assert torch.allclose(angles[:, 0], 64 * x[0]) and torch.allclose(angles[:, 72], 0.64 * x[0])
    turns = rotary_angles(torch.ones(1, 1, dtype=torch.float64), 144, 64.0, 8, True)[0, 0] / (2 * math.pi)
    assert turns.tolist() == [k for k in range(9) for _ in range(16)]


@pytest.mark.parametrize("periodic", [False, True])
def test_widths_are_a_quadrature_of_second_order(periodic):
    """On stretched cells, by their centres, and on nodes that include the ends."""
    errors = []
    for n in (16, 32, 64):
        s = torch.linspace(0, 1, n + 1, dtype=torch.float64)
        faces = s + 0.1 * torch.sin(2 * math.pi * s)
        for x in ((faces[1:] + faces[:-1]) / 2, faces[:-1] if periodic else faces):
            w = cell_widths(x[None], periodic)[0]
            assert w.min() > 0 and abs(w.sum() - 1) < 1e-12
            f = torch.exp(torch.sin(2 * math.pi * x + 1)) if periodic else torch.exp(x)
            errors.append(abs((w * f).sum() - (1.2660658777520084 if periodic else math.e - 1)))
    for kind in (0, 1):
        a, b, c = errors[kind::2]
        assert max(b, 1e-14) < a / 3.5 or b < 1e-12
        assert max(c, 1e-14) < b / 3.5 or c < 1e-12
    assert cell_widths(torch.full((1, 1), 0.3), periodic).item() == pytest.approx(1.0)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("kind", ["ifactformer", "factformer"])
def test_the_direction_in_which_points_are_numbered_does_not_matter(kind, name):
    """Coordinates that fall along an axis, with the values there, give the same answer at the same places."""
    operator, x, params, mask, coords = make(name)
    if kind == "factformer":
        arguments = {n: v for n, v in KINDS[name][0].items() if n != "parallel"}
        operator = FactFormer(2, 3, width=6, heads=2, head_width=4, depth=2, **arguments).double()
    expected = operator(x, params, mask, coords)
    for axis in range(2, x.ndim):
        turned = [None if t is None else t.flip(axis) for t in (x, mask, coords)]
        found = operator(turned[0], params, turned[1], turned[2]).flip(axis)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize("power", [1.0, 1.7])
def test_untrained_answers_converge_with_the_grid(parallel, power):
    """Of second order, on stretched grids too; the values at nodes that all grids have."""
    torch.manual_seed(3)
    operator = IFactFormer(
        1, 1, width=8, heads=2, iterations=2, parallel=parallel, dimensions=2, rotation=8.0, scale=0.3
    ).double()
    answers = []
    for n in (9, 17, 33, 65):
        line = torch.linspace(0, 1, n, dtype=torch.float64) ** power
        y, x = torch.meshgrid(line, line, indexing="ij")
        field = (torch.sin(3 * x + 1) * torch.cos(2 * y) + x * y)[None, None]
        step = (n - 1) // 8
        with torch.no_grad():
            answers.append(operator(field, coords=torch.stack([y, x])[None])[..., ::step, ::step])
    moves = [(a - b).norm().item() / b.norm().item() for a, b in itertools.pairwise(answers)]
    assert moves[0] < 0.03 and moves[1] < 0.01
    orders = [math.log2(a / b) for a, b in itertools.pairwise(moves)]
    assert all(1.8 < o < 2.4 for o in orders[1:]), orders


@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_shifts_along_periodic_axes_commute(parallel, dtype, tolerance):
    torch.manual_seed(0)
    channel = Signature(3, 3, 3, periodic=(True, False, True))
    operator = build(IFactFormer, channel, {"width": 16, "heads": 2, "iterations": 2, "parallel": parallel}).to(dtype)
    x = torch.randn(2, 3, 8, 9, 12, dtype=dtype)
    faces = torch.tanh(torch.linspace(-1.5, 1.5, 10, dtype=torch.float64)) / math.tanh(1.5) / 2 + 0.5
    coords = grid_coordinates(x.shape[2:], "centre", x)[None].clone()
    coords[:, 1] = ((faces[1:] + faces[:-1]) / 2).to(dtype)[:, None]
    with torch.no_grad():
        y = operator(x, coords=coords)
        for shift in ((3, 0, 5), (1, 0, 0), (0, 0, 11)):
            moved = operator(x.roll(shift, (2, 3, 4)), coords=coords)
            assert (moved - y.roll(shift, (2, 3, 4))).norm() < tolerance * y.norm()
        # the published one knows where it is
        published = IFactFormer(3, 3, width=16, heads=2, iterations=2, parallel=parallel).to(dtype)
        y = published(x, coords=coords)
        assert (published(x.roll(3, 2), coords=coords) - y.roll(3, 2)).norm() > 1e-3 * y.norm()
        assert (operator(x.roll(3, 3), coords=coords) - operator(x, coords=coords).roll(3, 3)).norm() > 1e-3 * y.norm()


@pytest.mark.parametrize(("parallel", "count"), [(True, 1_163_331), (False, 1_071_171)])
def test_published_numbers_of_weights(parallel, count):
    operator = IFactFormer(3, 3, parallel=parallel)
    assert sum(p.numel() for p in operator.parameters()) == count
    assert sum(p.numel() for p in IFactFormer(3, 3, parallel=parallel, iterations=3).parameters()) == count


@pytest.mark.parametrize("name", KINDS)
def test_every_parameter_gets_a_gradient(name):
    operator, x, params, mask, coords = make(name)
    operator(x, params, mask, coords).square().sum().backward()
    for label, p in operator.named_parameters():
        assert p.grad is not None and p.grad.abs().max() > 0, label


@pytest.mark.parametrize("name", ["plane_o", "masked"])
def test_gradcheck_of_all_weights(name):
    operator, x, params, mask, coords = make(name, width=4, head_width=2, iterations=1)
    names = [n for n, _ in operator.named_parameters()]

    def call(x, *weights):
        given = dict(zip(names, weights, strict=True))
        return torch.func.functional_call(operator, given, (x, params, mask, coords))

    x = x.requires_grad_()
    assert torch.autograd.gradcheck(call, (x, *operator.parameters()), fast_mode=True)
    assert torch.autograd.gradgradcheck(call, (x, *operator.parameters()), fast_mode=True)


@pytest.mark.parametrize("name", KINDS)
def test_storage_precision_and_forgetting(name):
    operator, x, params, mask, coords = make(name)
    y = operator(x, params, mask, coords)
    stored = json.loads(json.dumps(operator.config()))
    again = registry.operators.get("ifactformer")(**stored).double()
    again.load_state_dict(operator.state_dict())
    assert torch.equal(again(x, params, mask, coords), y) and again.config() == operator.config()
    y.square().sum().backward()
    again.forgets = True
    again(x, params, mask, coords).square().sum().backward()
    for p, q in zip(operator.parameters(), again.parameters(), strict=True):
        assert torch.allclose(p.grad, q.grad, rtol=1e-12, atol=1e-14)
    single = operator.float()(x, params, mask, coords)
    assert single.dtype == torch.float32 and (single - y).norm() < 2e-5 * y.norm()


@pytest.mark.parametrize("name", ["masked", "masked_o"])
def test_values_outside_the_mask_never_matter(name):
    operator, x, params, mask, coords = make(name)
    other = torch.where(mask > 0, x, torch.full_like(x, float("nan")))
    y = operator(x, params, mask, coords)
    assert torch.equal(operator(other, params, mask, coords), y) and (y * (1 - mask) == 0).all()
    everywhere = torch.ones_like(mask)
    assert torch.allclose(operator(x, params, everywhere), operator(x, params), atol=1e-12)
    line = mask.clone()
    line[:, :, 1] = 0  # points of an axis about which there is nothing to know
    assert torch.isfinite(operator(x, params, line, coords)).all()


def test_a_sample_does_not_depend_on_its_batch_mates():
    for name in ("space_o", "channel", "masked"):
        operator, x, params, mask, coords = make(name)
        given = [None if t is None else t[1:] for t in (params, mask)]
        together = operator(x, params, mask, coords)[1:]
        assert torch.allclose(operator(x[1:], *given, coords), together, atol=1e-13)
        two = coords.expand(2, *coords.shape[1:])
        assert torch.allclose(operator(x, params, mask, two)[1:], together, atol=1e-13)


@pytest.mark.parametrize("parallel", [True, False])
def test_overfits_one_batch(parallel):
    torch.manual_seed(0)
    operator = IFactFormer(1, 1, width=16, heads=2, iterations=2, parallel=parallel, dimensions=2, n_params=1)
    x, y, params = torch.randn(2, 1, 8, 8), torch.randn(2, 1, 8, 8), torch.rand(2, 1)
    optimiser = torch.optim.Adam(operator.parameters(), lr=1e-2)
    for _ in range(100):
        optimiser.zero_grad()
        loss = (operator(x, params) - y).square().mean()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.01 * y.square().mean().item()


@pytest.mark.parametrize("name", ["channel", "masked"])
def test_one_exported_program_serves_all_grids(name, tmp_path):
    operator, x, params, mask, coords = make(name, iterations=1)
    operator = operator.eval()
    sizes = {0: torch.export.Dim("batch")} | {i: torch.export.Dim(f"n{i}", min=3) for i in range(2, x.ndim)}
    given = (x, params, mask, coords)
    shapes = {
        "x": sizes,
        "params": None if params is None else {0: sizes[0]},
        "mask": None if mask is None else sizes,
        "coords": {i: s for i, s in sizes.items() if i > 1},
    }
    program = torch.export.export(operator, given, dynamic_shapes=shapes)
    torch.export.save(program, tmp_path / "operator.pt2")
    again = torch.export.load(tmp_path / "operator.pt2").module()
    for many, n in ((2, 6), (3, 9)):
        space = tuple(n + i for i in range(x.ndim - 2))
        x = torch.randn(many, 2, *space, dtype=torch.float64)
        params = None if params is None else torch.randn(many, 2, dtype=torch.float64)
        mask = None if mask is None else (torch.rand(many, 1, *space) > 0.3).double()
        coords = grid_coordinates(space, "centre", x)[None] ** 2
        with torch.no_grad():
            expected = operator(x, params, mask, coords)
            assert torch.allclose(again(x, params, mask, coords), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dimensions": 4}, "dimensions: expected 1, 2 or 3, got 4"),
        ({"heads": 0}, "heads: expected a whole number ≥ 1"),
        ({"iterations": 0}, "iterations: expected a whole number ≥ 1"),
        ({"head_width": 3}, r"head_width: expected expansion · head_width to be even, got 3 · 3"),
        ({"gain": 0.0}, "gain: expected a number > 0"),
        ({"scale": -1.0}, "scale: expected a number > 0"),
        ({"periodic": [True]}, r"periodic: expected True, False or 3 of them, got \[True\]"),
        ({"periodic": [1, 0, 1]}, "periodic: expected True, False or 3"),
        ({"features": -1}, "features: expected a whole number ≥ 0"),
        ({"parallel": "no"}, r"parallel is 'no', expected True \(-m\) or False \(-o\)"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        IFactFormer(**({"in_channels": 1, "out_channels": 1} | arguments))
    with pytest.raises(InputError, match="ifactformer: dimensions: expected data on 1, 2 or 3 axes, got 4"):
        IFactFormer.for_signature(Signature(1, 1, 4))
