"""Clouds of points out of supports of any kind: values, weights and masks worked out by hand."""

import dataclasses

import numpy as np
import pytest
import torch

from sciml import data
from sciml.contracts import CloudBatch
from sciml.geometry import Box
from sciml.operators import FLARE
from sciml.problem import InputSpec
from sciml.problems import DataProblem
from sciml.support import Grid, Mesh, Points
from sciml.training import Autoregressive, Query, Steady, Subsample, Window
from sciml.training.batches import MemoryBatches
from sciml.training.encoding import CloudEncoding, encoding_for, encoding_named
from sciml.training.samples import table

RNG = np.random.default_rng(5)
GRID = Grid.uniform(Box((0.0, 0.0), (2.0, 1.0)), (3, 4))
MASK = np.ones((3, 4))
MASK[1, 2] = MASK[0, 0] = 0
MASKED = Grid(GRID.faces, mask=MASK)
CELLS = {"triangle": np.array([[0, 1, 2], [0, 2, 3], [2, 3, 4]])}
MESH = Mesh(np.array([[0, 0], [2, 0], [2, 1], [0, 1.0], [1, 2]]), CELLS)
LOOSE = Points(RNG.random((7, 2)))
STEPPINGS = [Autoregressive(), Autoregressive(history=2, increments=False), Window(2, 2), Query()]


class Echo(torch.nn.Module):
    """Keeps what it is given, and answers by numbers that tell places apart."""

    def __init__(self, channels):
        super().__init__()
        self.channels = channels

    def forward(self, **batch):
        self.batch = CloudBatch(**batch)
        return torch.cat([self.batch.points[..., :1] + k for k in range(self.channels)], -1)


def problem(**more):
    return DataProblem(**({"name": "swirl", "fields": ["u", "v"], "parameters": ["drive"], "dimensions": 2} | more))


def solution(support, frames=5, drive=1.0, p=None, **inputs):
    p = p or problem()
    case = p.case(drive=drive, **inputs).on(support)
    shape = support.shape if p.steady else (frames, *support.shape)
    dims = support.dims if p.steady else ("time", *support.dims)
    made = {f.name: (dims, RNG.normal(size=shape)) for f in p.fields}
    return data.solution(case, None if p.steady else 0.5 * np.arange(frames), made, support)


def encoded(stepping, *solutions, dtype="float64"):
    t = table(data.pack(solutions, dtype=None), None)
    e = encoding_for(CloudBatch).fit(t, stepping, dtype=dtype)
    assert isinstance(e, CloudEncoding)
    return t, e


def only(batches):
    (batch,) = batches.epoch(0)
    return batch


def applied(e, batch):
    echo = Echo(e.channels_out)
    time = None if batch.time is None else batch.time[:, 0]
    out = e.apply(echo, batch.state, batch.given, batch.params[:, 0], time)
    return echo.batch, out


@pytest.mark.parametrize("stepping", STEPPINGS, ids=repr)
@pytest.mark.parametrize("support", [GRID, MASKED, LOOSE, MESH], ids=["grid", "masked", "points", "mesh"])
def test_what_the_operator_sees(support, stepping):
    t, e = encoded(stepping, solution(support), solution(support, drive=2.0))
    batch = only(MemoryBatches(t, e, batch_size=99, shuffle=False))
    seen, out = applied(e, batch)
    n, past = support.size, 0 if not e.sees_start else stepping.past
    signature = e.signature()
    assert signature.channels_in == 2 * past == seen.values.shape[-1]
    assert signature.dimensions == 2 + stepping.queries == seen.points.shape[-1]
    assert out.shape == (len(batch), signature.channels_out, n) == batch.target[:, 0].shape
    np.testing.assert_allclose(seen.points[0, :, :2], support.unit().reshape(-1, 2), atol=1e-12)
    if stepping.queries:
        assert torch.equal(seen.points[..., 2], batch.time[:, :1].expand(-1, n))
    raw = np.stack([support_values(t, i, support) for i in range(2)])
    first = raw[0, 0] if stepping.queries else None
    for k in range(past):
        frame = first if first is not None else raw[0, max(k - past + 1, 0)]
        expected = (frame - e.state.offset[:, None]) / e.state.scale[:, None]
        inside = np.ones(n, bool) if support.inside is None else support.inside.reshape(-1)
        np.testing.assert_allclose(seen.values[0, :, 2 * k : 2 * k + 2].T, np.where(inside, expected, 0), atol=1e-12)
    weights = support.weights().reshape(-1)
    np.testing.assert_allclose(seen.weights[1] * weights.sum() / seen.weights[1].sum(), weights, atol=1e-12)
    assert (seen.mask is None) == (support is not MASKED)
    if support is MASKED:
        np.testing.assert_array_equal(seen.mask[1], MASK.reshape(-1))


def support_values(t, i, support):
    return (t.frames(i) * t.scales(i).reshape(1, -1, *[1] * len(support.shape))).reshape(-1, 2, support.size)


def test_ragged_batches():
    """Samples of 5 and 7 nodes in one batch are answered as each alone is."""
    mesh, loose = solution(MESH), solution(LOOSE, drive=2.0)
    t, e = encoded(Autoregressive(), mesh, loose)
    batch = only(MemoryBatches(t, e, batch_size=99, shuffle=False))
    assert e.signature().masked and batch.state.shape == (8, 1, 2, 7)
    assert batch.given.mask[:, 0].sum(-1).tolist() == [5] * 4 + [7] * 4
    torch.manual_seed(0)
    net = FLARE.for_signature(e.signature(), width=16, depth=2, heads=2, latents=4).double()
    with torch.no_grad():
        together = e.apply(net, batch.state, batch.given, batch.params[:, 0], None)
        assert (together[:4, :, 5:] == 0).all()
        for k, support in ((0, MESH), (4, LOOSE)):
            given = e.given([t.cases[k // 4]], [support])
            assert given.mask is None
            alone = e.apply(net, batch.state[k : k + 1, ..., : support.size], given, batch.params[k : k + 1, 0], None)
            assert torch.allclose(together[k, :, : support.size], alone[0], atol=1e-12)


def test_nodes_that_move():
    frames = [Points(LOOSE.points() + 0.1 * RNG.random((7, 2))) for _ in range(4)]
    x, y = np.moveaxis(np.stack([f.points() for f in frames]), -1, 0)
    p = problem()
    case = dataclasses.replace(
        p.case(drive=1.0), extents=((0.0, 2.0), (0.0, 2.0)), parameters={"drive": 1.0}, inputs={}
    )
    values = {f.name: (("time", "node"), RNG.normal(size=(4, 7))) for f in p.fields}
    moving = data.solution(case, 0.5 * np.arange(4), values, {"x": x, "y": y})
    t, e = encoded(Autoregressive(), moving)
    batch = only(MemoryBatches(t, e, batch_size=99, shuffle=False))
    seen, _ = applied(e, batch)
    for k in range(3):
        np.testing.assert_allclose(seen.points[k], frames[k].unit(), atol=1e-12)


def test_functions_and_static_inputs():
    p = problem(
        steady=True,
        inputs=[
            InputSpec("kappa", "1", "coefficient", ("node",)),
            InputSpec("strength", "1", "source", ("source",), at="places"),
            InputSpec("places", "m", "source", ("source", "coordinate")),
        ],
    )
    given = [
        {"kappa": RNG.random(5), "strength": RNG.random(n), "places": RNG.random((n, 2))} for n in (2, 4)
    ]  # fmt: skip
    t, e = encoded(Steady(), *(solution(MESH, p=p, **g) for g in given))
    seen, _ = applied(e, only(MemoryBatches(t, e, batch_size=9, shuffle=False)))
    kappa = np.stack([g["kappa"] for g in given])
    weights = np.broadcast_to(MESH.weights(), kappa.shape)
    mean = np.average(kappa, weights=weights)
    scaled = (kappa - mean) / np.sqrt(np.average((kappa - mean) ** 2, weights=weights))
    np.testing.assert_allclose(seen.values[..., 0], scaled, rtol=1e-6)
    (f,) = seen.functions
    assert f.mask.sum(1).tolist() == [2, 4] and [s.name for s in e.signature().functions] == ["strength"]
    np.testing.assert_allclose(f.points[1], given[1]["places"] / 2, atol=1e-12)  # the box around the mesh is [0, 2]²


@pytest.mark.parametrize("stepping", STEPPINGS, ids=repr)
def test_some_of_the_points(stepping):
    t, e = encoded(stepping, solution(MESH), solution(LOOSE, drive=2.0))
    batch = only(MemoryBatches(t, e, batch_size=99, shuffle=False))
    few = Subsample(4)(batch, np.random.default_rng(0))
    assert few.target.shape[-1] == few.given.coords.shape[-1] == 4 and (few.given.mask == 1).all()
    whole, some = batch.given, few.given
    picks = []
    for i in range(len(batch)):
        own = whole.mask[i, 0] > 0
        pick = [int(torch.nonzero((whole.coords[i].T == c).all(1) & own)[0, 0]) for c in some.coords[i].T]
        picks.append(tuple(pick))
        assert len(set(pick)) == 4
        assert torch.equal(few.target[i], batch.target[i][..., pick])
        assert torch.equal(few.state[i], batch.state[i][..., pick])
        assert torch.equal(some.weights[i], whole.weights[i][..., pick])
    assert len(set(picks)) > 2
    assert Subsample(7)(batch, np.random.default_rng(0)) is batch
    t, e = encoded(stepping, solution(MASKED), solution(MASKED, drive=2.0))
    few = Subsample(9)(only(MemoryBatches(t, e, batch_size=99, shuffle=False)), np.random.default_rng(0))
    assert few.given.mask.shape == (1, 1, 9) and (few.given.mask == 1).all()


@pytest.mark.parametrize("support", [MASKED, LOOSE, MESH], ids=["masked", "points", "mesh"])
def test_points_that_are_asked_for_come_last_with_interpolated_values(support):
    t, e = encoded(Autoregressive(), solution(support))
    batch = only(MemoryBatches(t, e, batch_size=99, shuffle=False))
    asked = np.array([[0.9, 0.5], [1.3, 0.7], [0.8, 0.2]])
    given, state = e.at(batch.given, batch.state, support, asked)
    n = support.size
    low, high = np.array(support.extents).T
    np.testing.assert_allclose(given.coords[0, :, n:].T, (asked - low) / (high - low), atol=1e-12)
    assert torch.equal(state[..., :n], batch.state) and (given.weights[..., n:] == 0).all()
    inside = np.ones(support.shape) if support.inside is None else support.inside
    raw = support_values(t, 0, support)[1].reshape(2, *support.shape) * inside
    expected = (support.sample(raw, asked) - e.state.offset[:, None]) / e.state.scale[:, None]
    np.testing.assert_allclose(state[1, 0, :, n:], expected, atol=1e-12)


def test_points_in_a_body_are_ruled_out():
    mask = np.ones((8, 8))
    mask[2:6, 2:6] = 0
    support = Grid(Grid.uniform(Box((0.0, 0.0), (1.0, 1.0)), (8, 8)).faces, mask=mask)
    t, e = encoded(Autoregressive(), solution(support))
    batch = only(MemoryBatches(t, e, batch_size=99, shuffle=False))
    given, _ = e.at(batch.given, batch.state, support, np.array([[0.5, 0.5], [0.1, 0.1]]))
    assert given.mask[0, 0, -2:].tolist() == [0, 1]


def test_files():
    _, e = encoded(Query(), solution(MESH), solution(LOOSE, drive=2.0))
    again = encoding_named("CloudEncoding", "x").from_json(e.to_json(), e.template, None, "x")
    assert again.to_json() == e.to_json() and again.signature() == e.signature()
