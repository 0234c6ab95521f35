"""Recurrent dynamics on sensors, read out anywhere: what no answer may depend on."""

from __future__ import annotations

import json

import pytest
import torch

from sciml import registry
from sciml.contracts import SensorBatch, Signature, build
from sciml.errors import InputError
from sciml.operators import ContinuousFromSparse

EPS = 1e-12  # of float64, over some thousand operations on numbers of order one
SMALL = {"width": 16, "heads": 2, "frequencies": 2, "reach": 4}


@pytest.fixture
def operator() -> ContinuousFromSparse:
    torch.manual_seed(0)
    return build(ContinuousFromSparse, Signature(2, 2, 2, n_params=1), SMALL).double()


def batch(sensors: int = 14, instants: int = 5, queries: int = 30, lattice: bool = True) -> SensorBatch:
    """Two samples; sensors on a lattice are equally far from many others."""
    draw = torch.Generator().manual_seed(1)

    def random(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=draw, dtype=torch.float64)

    places = random(2, sensors, 2)
    if lattice:
        x = torch.cartesian_prod(torch.arange(5.0), torch.arange(5.0)).double() / 5
        places = torch.stack([x[torch.randperm(25, generator=draw)[:sensors]] for _ in range(2)])
    times = torch.cumsum(0.3 + random(2, instants), 1)
    times = times - times[:, :1]
    when = random(2, queries, 1) * (times[:, -1:, None] + 1.0)
    seen = (random(2, instants, sensors) > 0.2).double()
    seen[:, 0] = 1.0
    return SensorBatch(
        random(2, instants, sensors, 2) - 0.5, seen, places, times, torch.cat([random(2, queries, 2), when], -1),
        random(2, 1),
    )  # fmt: skip


def answer(operator: ContinuousFromSparse, b: SensorBatch, **changes: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return operator(**b.arguments() | changes)


def test_what_is_measured_later_changes_nothing_before(operator: ContinuousFromSparse) -> None:
    b = batch()
    for k in range(1, 5):
        values = b.values.clone()
        values[:, k:] += 1.0
        seen = b.seen.clone()
        seen[:, k:] = 1.0
        before = b.points[..., -1] < b.instants[:, k : k + 1]
        first, then = answer(operator, b), answer(operator, b, values=values, seen=seen)
        assert torch.equal(first[before], then[before])
        gap = (then - first).abs().amax(-1)[~before & (b.points[..., -1] > b.instants[:, k : k + 1])]
        assert (gap > 1e-6).all()
        # nor does it matter when the later instants are, or whether there are any
        cut = {n: getattr(b, n)[:, :k] for n in ("values", "seen", "instants")}
        assert (answer(operator, b, **cut)[before] - first[before]).abs().max() <= EPS


def test_numbering_of_sensors_means_nothing(operator: ContinuousFromSparse) -> None:
    b = batch()
    order = torch.randperm(14, generator=torch.Generator().manual_seed(3))
    other = answer(operator, b, values=b.values[:, :, order], seen=b.seen[..., order], sensors=b.sensors[:, order])
    assert (other - answer(operator, b)).abs().max() <= EPS


def test_sensors_that_measure_nothing_change_nothing(operator: ContinuousFromSparse) -> None:
    b = batch()

    def padded(a: torch.Tensor, axis: int, value: float) -> torch.Tensor:
        shape = list(a.shape)
        shape[axis] = 3
        return torch.cat([a, torch.full(shape, value, dtype=a.dtype)], axis)

    more = {"values": padded(b.values, 2, torch.nan), "seen": padded(b.seen, 2, 0.0),
            "sensors": padded(b.sensors, 1, 0.4)}  # fmt: skip
    assert (answer(operator, b, **more) - answer(operator, b)).abs().max() <= EPS
    unseen = torch.where(b.seen[..., None] > 0, b.values, torch.nan)
    assert torch.equal(answer(operator, b, values=unseen), answer(operator, b))


def test_queries_and_samples_are_answered_alone_as_together(operator: ContinuousFromSparse) -> None:
    b = batch()
    together = answer(operator, b)
    for q in (0, 7, 29):
        assert (answer(operator, b, points=b.points[:, q : q + 1])[:, 0] - together[:, q]).abs().max() <= EPS
    alone = SensorBatch(**{n: v[1:] for n, v in b.arguments().items()})
    assert (answer(operator, alone)[0] - together[1]).abs().max() <= EPS


def test_attention_that_prefers_the_nearest_gives_back_what_was_measured(operator: ContinuousFromSparse) -> None:
    """With a sharp enough preference, and nothing added, the answer at a sensor is what it measured last."""
    b = batch(lattice=False)
    operator.settings["anchors"] = 1
    with torch.no_grad():
        operator.nearness.fill_(-1e6)
        operator.answer[-1].weight.zero_()
        operator.answer[-1].bias.zero_()
    seen = torch.ones_like(b.seen)
    for k in range(5):
        at = torch.cat([b.sensors, (b.instants[:, k, None, None] + 1e-3).expand(-1, 14, 1)], -1)
        assert (answer(operator, b, points=at, seen=seen) - b.values[:, k]).abs().max() <= EPS


def test_all_weights_learn_and_one_batch_is_learned(operator: ContinuousFromSparse) -> None:
    b = batch(queries=12)
    target = torch.sin(5 * b.points[..., :2] + b.points[..., 2:])
    (operator(**b.arguments()) - target).square().mean().backward()
    for name, p in operator.named_parameters():
        assert p.grad is not None and p.grad.abs().max() > 0, name
    optimiser = torch.optim.Adam(operator.parameters(), lr=1e-2)
    for _ in range(150):
        optimiser.zero_grad()
        loss = (operator(**b.arguments()) - target).square().mean()
        loss.backward()
        optimiser.step()
    assert loss < 1e-2 * target.square().mean()


def test_config_and_single_sensor() -> None:
    operator = build(ContinuousFromSparse, Signature(1, 1, 1), SMALL)
    again = registry.operators.get("continuous_from_sparse")(**json.loads(json.dumps(operator.config())))
    again.load_state_dict(operator.state_dict())
    args = [torch.ones(1, 2, 1, 1), torch.ones(1, 2, 1), torch.full((1, 1, 1), 0.5), torch.tensor([[0.0, 1.0]])]
    points = torch.tensor([[[0.2, 0.5], [0.9, 3.0]]])
    assert torch.equal(operator(*args, points), again(*args, points))
    assert operator(*args, points).isfinite().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 0}, "heads: expected a whole number"),
        ({"reach": 0}, "reach: expected a whole number"),
        ({"widht": 8}, "continuous_from_sparse: widht: no option is called so; did you mean 'width'"),
    ],
)
def test_refuses_options(options: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(ContinuousFromSparse, Signature(2, 2, 2), options)


def test_refuses_shapes(operator: ContinuousFromSparse) -> None:
    b = batch()
    for name, value, message in (
        ("points", b.points[..., :2], "points: expected shape"),
        ("seen", b.seen[:, :2], "seen: expected shape"),
        ("params", None, "params: expected shape"),
        ("values", b.values[0], "values: expected 4 axes"),
    ):
        with pytest.raises(InputError, match=message):
            operator(**b.arguments() | {name: value})
