"""Operators on clouds: their sums are quadratures, and nothing that is no point of a sample has a say."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file, save_file

from sciml import registry
from sciml.contracts import CloudBatch, Function, FunctionSignature, Signature, build
from sciml.errors import InputError
from sciml.operators import FLARE, GNOT, GalerkinTransformer, PointTransformer, Transolver
from sciml.operators.flare import LatentAttention
from sciml.operators.galerkin_transformer import SoftmaxFreeAttention
from sciml.operators.layers.attention import (
    HeterogeneousAttention,
    bias,
    linear_attention,
    merge,
    normalised_attention,
    shares,
    split,
)
from sciml.operators.layers.experts import Experts, largest
from sciml.operators.point_transformer import SoftmaxAttention
from sciml.operators.transolver import PhysicsAttention

SMALL = {"width": 16, "depth": 2, "heads": 2, "frequencies": 2}
KINDS = [
    pytest.param(FLARE, {"latents": 8}, id="flare"),
    pytest.param(GNOT, {}, id="gnot"),
    pytest.param(GNOT, {"top": 2}, id="gnot-top"),
    pytest.param(Transolver, {"slices": 8}, id="transolver"),
    pytest.param(GalerkinTransformer, {"attention": "galerkin"}, id="galerkin"),
    pytest.param(GalerkinTransformer, {"attention": "fourier"}, id="fourier"),
    pytest.param(PointTransformer, {}, id="point"),
]
every = pytest.mark.parametrize(("cls", "options"), KINDS)
F64 = {"dtype": torch.float64}


def make(cls, options, points=30, dimensions=2, batch=2, dtype=torch.float64, weights=True):
    """A network with two input functions, and a batch for it."""
    torch.manual_seed(0)
    net = cls(3, 2, dimensions, 2, [(1, dimensions), (2, 1)], **SMALL | options)
    net.to(dtype)
    r = lambda *shape: torch.rand(*shape, dtype=dtype)  # noqa: E731
    functions = (Function(r(batch, 5, 1), r(batch, 5, dimensions)), Function(r(batch, 4, 2), r(batch, 4, 1)))
    w = 0.5 + r(batch, points) if weights else None
    return net, CloudBatch(
        r(batch, points, dimensions), torch.randn(batch, points, 3, dtype=dtype), r(batch, 2), functions, weights=w
    )


def changed(batch, **more):
    return CloudBatch(**batch.arguments() | more)


def apart(a, b):
    return float(((a - b).abs().max() / b.abs().max()).detach())


# -- identities of the attentions ---------------------------------------------------------------------------------


def test_linear_forms_are_row_stochastic_kernels():
    torch.manual_seed(0)
    q, k = (torch.rand(2, 3, n, 8, **F64).softmax(-1) for n in (6, 9))
    v, share = torch.randn(2, 3, 9, 5, **F64), shares(torch.rand(2, 9, **F64), None, torch.float64)
    kernel = q @ k.transpose(-1, -2) * share[:, None, None]
    kernel = kernel / kernel.sum(-1, keepdim=True)
    assert apart(normalised_attention(q, k, v, share), kernel @ v) < 1e-14
    equal = q @ k.transpose(-1, -2)
    assert apart(normalised_attention(q, k, v), equal / equal.sum(-1, keepdim=True) @ v) < 1e-14
    ones = normalised_attention(q, k, torch.ones_like(v), share)
    assert apart(ones, torch.ones_like(ones)) < 1e-14
    assert apart(linear_attention(q, k, v, share), q @ k.transpose(-1, -2) @ (share[:, None, :, None] * v)) < 1e-14


def test_heterogeneous_attention_is_the_mean_of_kernels():
    torch.manual_seed(1)
    layer = HeterogeneousAttention(12, 3, 2).double()
    x, a, b = (torch.randn(2, n, 12, **F64) for n in (7, 4, 11))
    share = shares(torch.rand(2, 11, **F64), None, torch.float64)
    q = split(layer.query(x), 3).softmax(-1)
    found = q
    for pair, z, s in zip(layer.pairs, (a, b), (torch.full((2, 4), 0.25, **F64), share), strict=True):
        k, v = (split(part, 3) for part in pair(z).chunk(2, -1))
        kernel = q @ k.softmax(-1).transpose(-1, -2) * s[:, None, None]
        found = found + kernel / kernel.sum(-1, keepdim=True) @ v / 2
    assert apart(layer(x, [(a, None), (b, share)]), layer.mix(merge(found))) < 1e-13


def test_flare_is_a_row_stochastic_kernel_of_low_rank():
    torch.manual_seed(2)
    layer = LatentAttention(12, 2, 4).double()
    x, share = torch.randn(2, 15, 12, **F64), shares(torch.rand(2, 15, **F64), None, torch.float64)
    k, v = (split(part, 2) for part in layer.pair(x).chunk(2, -1))
    scores = k @ layer.latents.transpose(-1, -2) / math.sqrt(6)
    write = (scores.transpose(-1, -2).exp() * share[:, None, None]).double()
    kernel = scores.softmax(-1) @ (write / write.sum(-1, keepdim=True))
    assert apart(layer(x, bias(share)), layer.mix(merge(kernel @ v))) < 1e-13
    assert apart(kernel.sum(-1), torch.ones(2, 2, 15, **F64)) < 1e-13
    assert int(torch.linalg.matrix_rank(kernel).max()) == 4


def test_softmax_attention_is_a_quadrature():
    torch.manual_seed(3)
    layer = SoftmaxAttention(12, 2).double()
    x, share = torch.randn(2, 9, 12, **F64), shares(torch.rand(2, 9, **F64), None, torch.float64)
    q, k, v = (split(part, 2) for part in layer.qkv(x).chunk(3, -1))
    kernel = (q @ k.transpose(-1, -2) / math.sqrt(6)).exp() * share[:, None, None]
    assert apart(layer(x, bias(share)), layer.mix(merge(kernel / kernel.sum(-1, keepdim=True) @ v))) < 1e-13


@pytest.mark.parametrize("attention", ["galerkin", "fourier"])
def test_softmax_free_products_associate(attention):
    """Q(KᵀV) = (QKᵀ)V, weighed once, with coordinates in every head."""
    torch.manual_seed(4)
    layer = SoftmaxFreeAttention(12, 2, 2, attention).double()
    with torch.no_grad():
        for p in layer.parameters():
            p.add_(0.1 * torch.randn_like(p))
    x, points = torch.randn(2, 9, 12, **F64), torch.rand(2, 9, 2, **F64)
    share = shares(torch.rand(2, 9, **F64), None, torch.float64)
    q, k, v = (split(linear(x), 2) for linear in layer.qkv)

    def normed(which, a):
        a = (a - a.mean(-1, keepdim=True)) / (a.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
        return a * layer.gains[which] + layer.shifts[which]

    if attention == "galerkin":
        k, v = normed(0, k), normed(1, v)
    else:
        q, k = normed(0, q) / math.sqrt(8), normed(1, k)
    places = points[:, None].expand(-1, 2, -1, -1)
    first = places / math.sqrt(8) if attention == "fourier" else places
    q, k, v = (torch.cat(parts, -1) for parts in ((first, q), (places, k), (places, v)))
    expected = layer.mix(merge(q @ k.transpose(-1, -2) @ (share[:, None, :, None] * v)))
    assert apart(layer(x, points, share), expected) < 1e-12


def test_slices_by_hand_and_their_temperature():
    torch.manual_seed(5)
    layer = PhysicsAttention(12, 2, 5).double()
    assert torch.allclose(layer.temperature, torch.full((2, 1, 1), 0.5, **F64))
    x, share = torch.randn(2, 9, 12, **F64), shares(torch.rand(2, 9, **F64), None, torch.float64)
    where, what = (split(part, 2) for part in layer.points(x).chunk(2, -1))
    p = ((where @ layer.slices.weight.T + layer.slices.bias) / layer.temperature).softmax(-1)
    mean = torch.einsum("bn,bhnm,bhnc->bhmc", share, p, what) / torch.einsum("bn,bhnm->bhm", share, p)[..., None]
    q, k, v = layer.qkv(mean).chunk(3, -1)
    mean = (q @ k.transpose(-1, -2) / math.sqrt(6)).softmax(-1) @ v
    assert apart(layer(x, share), layer.mix(merge(p @ mean))) < 1e-12
    with torch.no_grad():  # what makes a free temperature negative, and its slices blow up
        layer.warmth.fill_(-50.0)
    x.requires_grad_()
    layer(x, share).square().sum().backward()
    assert layer.temperature.min() >= 0.1 and torch.isfinite(x.grad).all()


def test_experts():
    torch.manual_seed(6)
    x = torch.randn(2, 7, 4, **F64)
    gates = torch.randn(2, 7, 5, **F64).softmax(-1)
    one = Experts(4, 8, 1).double()
    plain = one.second(torch.nn.functional.gelu(one.first(x)))
    assert torch.equal(one(x, None), plain) and apart(one(x, torch.ones(2, 7, 1, **F64)), plain) < 1e-14
    dense, full, two = (Experts(4, 8, 5, top).double() for top in (None, 5, 2))
    for other in (full, two):
        other.load_state_dict(dense.state_dict())
    assert torch.equal(full(x, gates), dense(x, gates))
    kept = largest(gates, 2)
    assert ((kept > 0).sum(-1) == 2).all() and torch.allclose(kept.sum(-1), torch.ones(2, 7, **F64))
    each = [torch.nn.functional.gelu(x @ w1.T + b1) @ w2.T + b2 for w1, b1, w2, b2 in dense.parts]
    assert len(each) == 5
    for layer, g in ((dense, gates), (two, kept)):
        assert apart(layer(x, gates), sum(g[..., e, None] * y for e, y in enumerate(each))) < 1e-14
    assert torch.equal(largest(gates, 5), gates)
    with pytest.raises(InputError, match="top: expected at most experts = 5, got 6"):
        Experts(4, 8, 5, 6)


# -- what has a say, and what has none ----------------------------------------------------------------------------


@every
@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 2e-6), (torch.float64, 1e-13)])
def test_padding_changes_nothing(cls, options, dtype, close):
    for weights in (True, False):
        net, batch = make(cls, options, dtype=dtype, weights=weights)
        y = net(**batch.arguments())

        def filled(x):
            return None if x is None else torch.cat([x, torch.full_like(x[:, :6], math.nan)], 1)

        mask = torch.cat([torch.ones(2, 30), torch.zeros(2, 6)], 1)
        longer = [
            Function(*(torch.cat([part, torch.full_like(part[:, :2], math.nan)], 1) for part in f[:2]),
                     torch.cat([torch.ones(f.values.shape[:2]), torch.zeros(2, 2)], 1))
            for f in batch.functions
        ]  # fmt: skip
        padded = changed(
            batch, points=filled(batch.points), values=filled(batch.values), functions=tuple(longer), mask=mask,
            weights=filled(batch.weights),
        )  # fmt: skip
        found = net(**padded.arguments())
        assert apart(found[:, :30], y) < close and (found[:, 30:] == 0).all()
        found.square().sum().backward()
        assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


@every
def test_permutations_and_batch_mates(cls, options):
    net, batch = make(cls, options)
    y, order = net(**batch.arguments()), torch.randperm(30)
    moved = {name: getattr(batch, name)[:, order] for name in ("points", "values", "weights")}
    assert apart(net(**changed(batch, **moved).arguments()), y[:, order]) < 1e-12
    order = torch.randperm(5)
    first = batch.functions[0]
    functions = (Function(first.values[:, order], first.points[:, order]), batch.functions[1])
    assert apart(net(**changed(batch, functions=functions).arguments()), y) < 1e-12
    alone = CloudBatch(
        batch.points[1:], batch.values[1:], batch.params[1:],
        tuple(Function(f.values[1:], f.points[1:]) for f in functions), weights=batch.weights[1:],
    )  # fmt: skip
    assert apart(net(**alone.arguments())[0], y[1]) < 1e-12


@every
def test_duplicates_of_half_the_weight_change_nothing(cls, options):
    net, batch = make(cls, options)
    y = net(**batch.arguments())
    twice = lambda x: torch.cat([x, x], 1)  # noqa: E731
    functions = tuple(Function(twice(f.values), twice(f.points)) for f in batch.functions)
    both = changed(
        batch, points=twice(batch.points), values=twice(batch.values), functions=functions,
        weights=twice(batch.weights / 2),
    )  # fmt: skip
    assert apart(net(**both.arguments()), twice(y)) < 1e-12
    unequal = torch.cat([batch.weights * 0.3, batch.weights * 0.7], 1)
    assert apart(net(**changed(both, weights=unequal).arguments()), twice(y)) < 1e-12
    scaled = changed(batch, weights=1e3 * batch.weights)
    assert apart(net(**scaled.arguments()), y) < 1e-12


@every
def test_query_points_get_answers_and_influence_nobody(cls, options):
    net, batch = make(cls, options)
    y = net(**batch.arguments())
    more = {
        "points": torch.cat([batch.points, batch.points[:, :9], torch.rand(2, 5, 2, **F64)], 1),
        "values": torch.cat([batch.values, batch.values[:, :9], 1e3 * torch.randn(2, 5, 3, **F64)], 1),
        "weights": torch.cat([batch.weights, torch.zeros(2, 14, **F64)], 1),
    }
    found = net(**changed(batch, **more).arguments())
    assert apart(found[:, :30], y) < 1e-12
    assert apart(found[:, 30:39], y[:, :9]) < 1e-12  # at the place and with the values of a point, its answer


def line(count, uneven):
    """Points, midpoint rule, and values on [0, 1]: evenly, or four times as dense at one end."""
    edges = torch.linspace(0, 1, count + 1, **F64)
    edges = edges**2 if uneven else edges
    points, weights = (edges[1:] + edges[:-1]) / 2, edges.diff()
    values = torch.stack([torch.sin(5 * points), points**2, torch.cos(3 * points)], -1)
    return points[None, :, None], values[None], weights[None]


@every
def test_answers_converge_as_points_get_denser_wherever_they_do(cls, options):
    """The midpoint rule is of second order, so that four times the points leave a sixteenth of the error."""
    torch.manual_seed(0)
    net = cls(3, 2, 1, **SMALL | options).double()
    asked, at, _ = line(10, False)
    answers = {}
    for uneven in (False, True):
        for count in (40, 160, 640):
            points, values, weights = line(count, uneven)
            zeros = torch.zeros(1, 10, **F64)
            with torch.no_grad():
                answers[uneven, count] = net(
                    torch.cat([points, asked], 1), torch.cat([values, at], 1), weights=torch.cat([weights, zeros], 1)
                )[:, -10:]
    limit = answers[False, 640]
    for uneven in (False, True):
        errors = [apart(answers[uneven, n], limit) for n in (40, 160)]
        assert errors[1] < 1e-3 and errors[1] < errors[0] / 12, errors
    assert apart(answers[True, 640], limit) < 1e-4
    points, values, _ = line(640, True)
    with torch.no_grad():  # the same points without their weights: another integral
        wrong = net(torch.cat([points, asked], 1), torch.cat([values, at], 1))[:, -10:]
    assert apart(wrong, limit) > 20 * apart(answers[True, 640], limit)


# -- as modules ---------------------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_gradients_types_and_storage(cls, options, dimensions, tmp_path):
    net, batch = make(cls, options, dimensions=dimensions, dtype=torch.float32)
    y = net(**batch.arguments())
    assert y.shape == (2, 30, 2) and torch.equal(net(**batch.arguments()), y)
    assert torch.equal(net.eval()(**batch.arguments()), y)
    net.train()
    y.square().sum().backward()
    for label, p in net.named_parameters():
        chosen = "top" not in options or "experts" not in label  # an expert may have no point among its own
        assert p.grad is not None and (not chosen or p.grad.abs().max() > 0), label
    save_file(net.state_dict(), tmp_path / "weights.safetensors")
    again = registry.operators.get(cls.name)(**json.loads(json.dumps(net.config())))
    again.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    assert torch.equal(again(**batch.arguments()), y) and again.config() == net.config()
    double = net.double()(**batch.to(dtype=torch.float64).arguments())
    assert double.dtype == torch.float64 and apart(y.double(), double) < 1e-5
    assert net(**batch.arguments()).dtype == torch.float64


@every
def test_nothing_is_kept_where_it_forgets(cls, options):
    net, batch = make(cls, options)
    grads = []
    for forgets in (False, True):
        net.forgets = forgets
        kept = 0

        def count(t):
            nonlocal kept
            kept += t.numel()
            return t

        net.zero_grad()
        with torch.autograd.graph.saved_tensors_hooks(count, lambda t: t):
            loss = net(**batch.arguments()).square().sum()
        loss.backward()
        grads.append([p.grad.clone() for p in net.parameters()])
        if not forgets:
            most = kept
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True)) and kept < most / 2


@every
def test_overfits_one_batch(cls, options):
    net, batch = make(cls, options, points=12, dtype=torch.float32)
    torch.manual_seed(1)
    target = torch.randn(2, 12, 2)
    optimiser = torch.optim.Adam(net.parameters(), lr=5e-3)
    loss = torch.tensor(math.inf)
    for _ in range(300):
        optimiser.zero_grad()
        loss = (net(**batch.arguments()) - target).square().mean()
        loss.backward()
        optimiser.step()
        if loss.item() < 0.005:
            break
    assert loss.item() < 0.01 * target.square().mean().item()


@every
def test_export_for_any_number_of_points(cls, options):
    net, batch = make(cls, options, dtype=torch.float32)
    net.eval()
    point, sensor = torch.export.Dim("point", min=2, max=2**20), torch.export.Dim("sensor", min=2, max=2**20)
    functions = (Function({1: sensor}, {1: sensor}), Function({}, {}))
    dynamic = {"points": {1: point}, "values": {1: point}, "params": {}, "functions": functions, "mask": None,
               "weights": {1: point}}  # fmt: skip
    program = torch.export.export(net, (), batch.arguments(), dynamic_shapes=dynamic).module()
    _, other = make(cls, options, points=77, dtype=torch.float32)
    f = other.functions
    other = changed(other, functions=(Function(torch.rand(2, 21, 1), torch.rand(2, 21, 2)), f[1]))
    for given in (batch, other):
        assert apart(program(**given.arguments()), net(**given.arguments())) < 1e-5


@every
def test_built_from_a_signature(cls, options):
    signature = Signature(1, 2, 3, n_params=1, functions=(FunctionSignature("source", 1, 2),))
    net = build(cls, signature, SMALL | options)
    f = Function(torch.rand(1, 9, 1), torch.rand(1, 9, 2), weights=torch.rand(1, 9))
    assert net(torch.rand(1, 5, 3), torch.rand(1, 5, 1), torch.rand(1, 1), (f,)).shape == (1, 5, 2)
    bare = build(cls, Signature(0, 1, 2), SMALL | options)
    assert bare(torch.rand(1, 5, 2)).shape == (1, 5, 1)


def test_the_function_is_read():
    for cls in (FLARE, GNOT):
        net, batch = make(cls, {})
        f = batch.functions
        other = changed(batch, functions=(Function(f[0].values + 1, f[0].points), f[1]))
        assert apart(net(**other.arguments()), net(**batch.arguments())) > 1e-3


@every
def test_wrong_arguments_are_named(cls, options):
    net, batch = make(cls, options)
    name = cls.__name__
    points = batch.points.clone()
    points[1, 3, 0] = math.nan
    nothing = torch.ones_like(batch.weights)
    nothing[1] = 0
    f = batch.functions
    negative = batch.weights.clone()
    negative[0, 2] = -1
    for change, message in (
        ({"points": batch.points[..., :1]}, rf"{name}: points: expected floating-point \(batch, point, 2\), got"),
        ({"points": batch.points[:, :0]}, f"{name}: points: expected at least one, got none"),
        ({"points": points}, rf"{name}: points: expected numbers, got nan or inf in point \[1, 3\]"),
        ({"values": None}, rf"{name}: values: expected \(2, 30, 3\), got None"),
        ({"values": batch.values[..., :2]}, rf"{name}: values: expected \(2, 30, 3\), got \(2, 30, 2\)"),
        ({"values": batch.values / 0}, rf"{name}: values: expected numbers, got nan or inf, first at \[0, 0, 0\]"),
        ({"params": batch.params * math.inf}, rf"{name}: params: expected numbers, got nan or inf"),
        ({"functions": (Function(f[0].values / 0, f[0].points), f[1])}, r"functions\[0\].values: expected numbers"),
        ({"points": batch.points.numpy()}, f"{name}: points: expected a torch.Tensor, got ndarray"),
        ({"params": None}, rf"{name}: params: expected \(2, 2\), got None"),
        ({"functions": f[:1]}, f"{name}: functions: expected 2 of them, got 1"),
        ({"functions": f[::-1]}, rf"{name}: functions\[0\].values: expected \(2, 4, 1\), got \(2, 4, 2\)"),
        ({"functions": (Function(f[0].values[:, :0], f[0].points[:, :0]), f[1])}, "at least one point, got none"),
        ({"mask": torch.ones(2, 29)}, rf"{name}: mask: expected \(2, 30\), got \(2, 29\)"),
        ({"weights": batch.weights[:1]}, rf"{name}: weights: expected \(2, 30\), got \(1, 30\)"),
        ({"weights": negative}, rf"{name}: weights: expected numbers ≥ 0, got others, first at point \[0, 2\]"),
        ({"weights": nothing}, f"{name}: points: expected at least one that counts, got none in sample 1"),
        ({"mask": nothing}, "expected at least one that counts, got none in sample 1"),
    ):
        with pytest.raises(InputError, match=message):
            net(**batch.arguments() | change)
    with pytest.raises(InputError, match="width: expected a multiple of heads = 3, got 16"):
        cls(1, 1, 2, **SMALL | {"heads": 3})


def test_wrong_names_are_told():
    with pytest.raises(InputError, match=r"attention: expected one of .* got 'galerkinn'; did you mean 'galerkin'"):
        GalerkinTransformer(1, 1, 2, attention="galerkinn")
    with pytest.raises(InputError, match="top: expected at most experts = 3, got 4"):
        GNOT(1, 1, 2, top=4)
