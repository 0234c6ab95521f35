"""Operators are built from what the data are, and take and give what their annotations say."""

import pytest
import torch
from jaxtyping import TypeCheckError
from torch import nn

from sciml import registry
from sciml.contracts import (
    CellGraphBatch,
    CloudBatch,
    CurvedGraphBatch,
    Function,
    FunctionSignature,
    GraphBatch,
    GridBatch,
    Operator,
    ParticleBatch,
    PointBatch,
    SensorBatch,
    Signature,
    build,
)
from sciml.errors import InputError
from sciml.operators.prosefd import EquationBatch

GRID = Signature(2, 3, 2, n_params=1)
NAMES = registry.operators.names()


@pytest.mark.parametrize("name", NAMES)
def test_every_operator_keeps_the_contract(name):
    cls = registry.operators.get(name)
    assert issubclass(cls, Operator) and cls.name == name and cls.title
    graphs = (GraphBatch, CurvedGraphBatch, CellGraphBatch, ParticleBatch)
    assert cls.takes in (GridBatch, PointBatch, CloudBatch, SensorBatch, EquationBatch, *graphs)
    assert set(cls.decided) & set(cls.options()) == set()


@pytest.mark.parametrize("name", [n for n in NAMES if registry.operators.get(n).takes is GridBatch])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_grid_operators_from_a_signature(name, dimensions):
    cls = registry.operators.get(name)
    space = (18, 17, 16)[:dimensions]
    signature = Signature(3, 2, dimensions, n_params=2, masked=True, periodic=(True,) * dimensions, space=space)
    operator = build(cls, signature, {})
    batch = GridBatch(
        torch.randn(2, 3, *space), torch.randn(2, 2), torch.ones(1, 1, *space), torch.rand(2, dimensions, *space)
    )
    assert operator(**batch.arguments()).shape == (2, 2, *space)
    again = cls(**operator.config())
    assert again.config() == operator.config()
    double = operator.double()(**batch.to(dtype=torch.float64).arguments())
    assert double.dtype == torch.float64


def test_what_the_data_decide():
    FNO, UNet, Identity = (registry.operators.get(n) for n in ("fno", "unet", "identity"))
    assert FNO.for_signature(GRID).config()["modes"] == [12, 12]
    assert FNO.for_signature(Signature(1, 1, 3), width=2).config()["modes"] == [8, 8, 8]
    assert FNO.for_signature(GRID, modes=5).modes == (5, 5)
    half = Signature(1, 1, 2, periodic=(False, True))
    assert FNO.for_signature(half, padding=0.25).padding == (0.25, 0.0)
    assert FNO.for_signature(half, padding=(0.1, 0.2)).padding == (0.1, 0.0)
    assert FNO.for_signature(half).padding == (0.0, 0.0)
    assert UNet.for_signature(half).boundary == "zeros"
    assert UNet.for_signature(Signature(1, 1, 1, periodic=(True,))).boundary == "circular"
    assert UNet.for_signature(half, boundary="replicate").boundary == "replicate"
    assert UNet.for_signature(Signature(1, 1, 2, masked=True)).masked
    assert Identity.for_signature(Signature(2, 2, 1, residual=True)).increment
    assert not Identity.for_signature(Signature(2, 2, 1)).increment


@pytest.mark.parametrize(
    ("name", "signature", "options", "message"),
    [
        ("fno", GRID, {"widht": 3}, "fno: widht: no option is called so; did you mean 'width'"),
        ("fno", GRID, {"modes": (3,)}, r"fno: modes: expected 2 numbers, one an axis of the data, got \(3,\)"),
        ("fno", Signature(1, 1, 4), {}, "fno: dimensions: expected data on 1, 2 or 3 axes, got 4"),
        ("unet", Signature(1, 1, 4), {}, "unet: dimensions: expected data on 1, 2 or 3 axes, got 4"),
        ("unet", GRID, {"dimensions": 3}, "unet: dimensions: the data have 2, got 3"),
        ("identity", Signature(1, 2, 2), {}, "out_channels: expected at most 1, got 2"),
        ("fno", Signature(0, 1, 2), {}, "channels_in: an operator on grids"),
    ],
)
def test_what_does_not_fit_is_named(name, signature, options, message):
    with pytest.raises(InputError, match=message):
        build(registry.operators.get(name), signature, options)


def test_options_that_the_data_decide_may_agree():
    assert build(registry.operators.get("unet"), GRID, {"dimensions": 2, "width": 8}).dimensions == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels_in": -1}, "channels_in: expected a whole number ≥ 0, got -1"),
        ({"channels_out": 0}, "channels_out"),
        ({"dimensions": 1.5}, "dimensions"),
        ({"periodic": (True, True, False)}, "periodic: expected at most 2 values"),
        ({"space": (4, 4, 4)}, "space: expected at most 2 values"),
    ],
)
def test_wrong_signatures_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        Signature(**({"channels_in": 1, "channels_out": 1, "dimensions": 2} | arguments))
    with pytest.raises(InputError, match="functions: a: sensors"):
        FunctionSignature("a", 1, 2, 0)


def test_batches_hold_what_their_annotations_say():
    r = torch.randn
    GridBatch(r(2, 3, 4, 5), r(2, 1), torch.ones(1, 1, 4, 5), r(1, 2, 4, 5))
    PointBatch(r(2, 7, 2), r(2, 1), (Function(r(2, 5, 1), r(2, 5, 2)),), torch.ones(2, 7, dtype=torch.bool))
    function = Function(r(2, 5, 1), r(2, 5, 2), torch.ones(2, 5), torch.rand(2, 5))
    CloudBatch(r(2, 7, 2), r(2, 7, 3), r(2, 1), (function,), torch.ones(2, 7), torch.rand(2, 7))
    CloudBatch(r(2, 7, 2))
    edges = torch.zeros(2, 6, dtype=torch.int64)
    graph = torch.zeros(4, dtype=torch.int64)
    offsets = r(6, 2)
    GraphBatch(r(4, 3), r(4, 2), edges, offsets, graph, r(1, 2), torch.ones(4))
    for wrong in (
        lambda: GridBatch(r(2, 3, 4, 5), r(1, 1)),
        lambda: GridBatch(r(2, 3, 4, 5), mask=torch.ones(2, 1, 4, 4)),
        lambda: PointBatch(r(2, 7, 2), mask=torch.ones(2, 6)),
        lambda: CloudBatch(r(2, 7, 2), r(2, 6, 3)),
        lambda: CloudBatch(r(2, 7, 2), weights=torch.ones(7)),
        lambda: GraphBatch(r(4, 3), r(5, 2), edges, offsets, graph),
        lambda: GraphBatch(r(4, 3), r(4, 2), edges, r(5, 2), graph),
        lambda: GraphBatch(r(4, 3), r(4, 2), edges.float(), offsets, graph),
    ):
        with pytest.raises(TypeCheckError):
            wrong()


def test_batches_move_as_a_whole():
    function = Function(torch.ones(1, 3, 1), torch.ones(1, 3, 2))
    batch = PointBatch(torch.ones(1, 4, 2), functions=(function,), mask=torch.ones(1, 4, dtype=torch.bool))
    double = batch.to(dtype=torch.float64)
    assert double.points.dtype == double.functions[0].values.dtype == torch.float64
    assert double.mask is not None and double.mask.dtype == torch.bool and double.params is None


class Doubled(Operator):
    """2 sin x, by a block that counts how often it is called."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def block(self, x):
        self.calls += 1
        return 2 * torch.sin(x)

    def forward(self, x):
        return self.through(self.block, x)


@pytest.mark.parametrize(("forgets", "training", "calls"), [(False, True, 1), (True, True, 2), (True, False, 1)])
def test_a_block_that_is_forgotten_is_computed_again(forgets, training, calls):
    operator = Doubled().train(training)
    assert not operator.forgets
    operator.forgets = forgets
    x = torch.tensor([0.3, 1.0], dtype=torch.float64, requires_grad=True)
    operator(x).sum().backward()
    assert torch.equal(x.grad, 2 * torch.cos(x.detach())) and operator.calls == calls
    with torch.no_grad():
        operator(x)
    assert operator.calls == calls + 1


@pytest.mark.parametrize("name", ["fno", "transformer"])
def test_operators_on_grids_forget_too(name):
    operator = build(registry.operators.get(name), GRID, {"width": 8})
    x, params, grads = torch.randn(2, 2, 12, 12), torch.randn(2, 1), []
    for forgets in (False, True):
        operator.forgets = forgets
        operator.zero_grad()
        operator(x, params).square().sum().backward()
        grads.append([p.grad.clone() for p in operator.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


def test_operators_bring_no_objective_unless_they_say_so():
    assert Operator().objective() is None and isinstance(Operator(), nn.Module)


@pytest.fixture
def double_by_default():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("fno", {}),
        ("fno", {"norm": "group"}),
        ("fno", {"norm": "instance", "spectral": "fft"}),
        ("fno", {"patch": 2}),
        ("fno", {"padding": 0.25, "extension": "carry"}),
        ("unet", {}),
        ("identity", {}),
    ],
)
@pytest.mark.parametrize("half", [True, False])
def test_operators_compute_in_the_dtype_of_their_weights(name, options, half, double_by_default):
    """Weights follow torch's default dtype; what comes in may be of another, as data in float32 are."""
    signature = Signature(2, 2, 2, n_params=1, masked=name != "identity")
    operator = build(registry.operators.get(name), signature, options)
    dtype = torch.float32 if half else torch.float64
    if half:
        operator = operator.float()
    mask = torch.ones(1, 1, 8, 8)
    mask[..., :3, :2] = 0
    results = []
    for given in (torch.float32, torch.float64):
        torch.manual_seed(0)
        batch = GridBatch(torch.randn(2, 2, 8, 8, dtype=torch.float32), torch.rand(2, 1, dtype=torch.float32), mask)
        y = operator(**batch.to(dtype=given).arguments())
        assert y.dtype == (given if name == "identity" else dtype)
        if y.requires_grad:
            y.square().sum().backward()
            with torch.no_grad():
                assert torch.allclose(operator(**batch.arguments()), y, atol=1e-5)
        results.append(y.detach().double())
    assert torch.allclose(*results, atol=1e-6 if half else 1e-13)


def test_point_operators_too(double_by_default):
    operator = build(registry.operators.get("deeponet"), Signature(0, 1, 2, n_params=1), {})
    assert (
        operator(torch.rand(1, 3, 2, dtype=torch.float32), torch.rand(1, 1, dtype=torch.float32)).dtype == torch.float64
    )
