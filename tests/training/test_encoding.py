"""Encodings and batches against frames, parameters and weights worked out by hand."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from sciml import data
from sciml.boundary import Series
from sciml.contracts import CloudBatch, GraphBatch, GridBatch, PointBatch
from sciml.errors import InputError
from sciml.geometry import Box
from sciml.problem import InputSpec
from sciml.problems import CylinderFlow, DataProblem, HeatEquation, LidDrivenCavity
from sciml.support import Grid, Mesh, Points
from sciml.training import Autoregressive, Noise, Query, Starts, Steady, Subsample, Window
from sciml.training.batches import LoaderBatches, MemoryBatches
from sciml.training.encoding import encoding_for, encoding_named
from sciml.training.encoding.graph import edges
from sciml.training.model import Model
from sciml.training.samples import feature_table, table

RNG = np.random.default_rng(3)
BOX = Box((0.0, 0.0), (2.0, 1.0))
GRID = Grid.uniform(BOX, (3, 4))
STRETCHED = Grid((np.array([0.0, 0.1, 0.4, 1.0, 2.0]), np.array([0.0, 0.2, 0.5, 1.0])))
MASK = np.ones((3, 4))
MASK[1, 2] = MASK[0, 0] = 0
MASKED = Grid(GRID.faces, mask=MASK)
CELLS = {"triangle": np.array([[0, 1, 2], [0, 2, 3], [2, 3, 4]])}
TRIANGLES = Mesh(np.array([[0, 0], [2, 0], [2, 1], [0, 1.0], [1, 2]]), CELLS)


def problem(**more):
    return DataProblem(**({"name": "swirl", "fields": ["u", "v"], "parameters": ["drive"], "dimensions": 2} | more))


def solution(support, frames=6, drive=1.0, p=None, start=0.0, values=None, **inputs):
    p = p or problem()
    case = p.case(drive=drive, **inputs).on(support)
    shape = (support.shape) if p.steady else (frames, *support.shape)
    dims = support.dims if p.steady else ("time", *support.dims)
    made = {n.name: RNG.normal(size=shape) for n in p.fields} if values is None else values
    return data.solution(
        case, None if p.steady else start + 0.5 * np.arange(frames), {k: (dims, v) for k, v in made.items()}, support
    )


def cases(*solutions):
    return table(data.pack(solutions, dtype=None), None)


def encode(takes, t, stepping, **more):
    return encoding_for(takes).fit(t, stepping, **more)


def only(batches):
    (batch,) = batches.epoch(0)
    return batch


# -- scales ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "support", [GRID, STRETCHED, MASKED, TRIANGLES], ids=["uniform", "stretched", "masked", "mesh"]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_round_trip(support, dtype):
    takes = GraphBatch if isinstance(support, Mesh) else GridBatch
    t = cases(solution(support, drive=1.0), solution(support, drive=2.0))
    e = encode(takes, t, Autoregressive(), dtype=dtype)
    frames = RNG.normal(size=(6, 2, *support.shape)) * 3
    there = e.normalise(t.cases[0], frames, support)
    assert there.dtype == dtype and there.shape == (6, 2, *support.shape)
    back = e.restore(t.cases[0], there, support)
    assert back.dtype == dtype
    expected = frames if support.inside is None else np.where(support.inside, frames, 0)
    np.testing.assert_allclose(
        back, expected, rtol=1e-14 if dtype == "float64" else 1e-6, atol=1e-15 if dtype == "float64" else 1e-6
    )
    again = encoding_named(e.to_json()["kind"], "here").from_json(e.to_json(), e.template, e.sensors, "here")
    assert again.to_json() == e.to_json() and np.array_equal(again.normalise(t.cases[0], frames, support), there)


def test_scales_are_those_of_the_volume():
    """On a stretched grid means are integrals over the domain: two grids of the same function have the same scale."""
    values = {"u": -np.ones((2, 3, 4)), "v": np.ones((2, 3, 4))}
    values["u"][:, :, 3] = 3.0  # half of the domain, a quarter of the cells
    values["v"][1] = 5.0
    e = encode(
        GridBatch, cases(solution(STRETCHED, 2, values=values), solution(STRETCHED, 2, values=values)), Autoregressive()
    )
    np.testing.assert_allclose(e.state.scale, [np.sqrt(5.0), 2.0])  # u about zero, v about its mean
    np.testing.assert_allclose(e.state.offset, [0.0, 3.0])
    np.testing.assert_allclose(e.increment, [[1.0, 4.0 / 2.0]])  # of u: none at all; of v: 4 in units of its scale


def test_increments_are_root_mean_squares_about_zero():
    """Of a field that grows everywhere at one rate the increment is that rate, not what it varies by."""
    t = np.arange(5.0)[:, None, None]
    wave = np.sin(np.arange(12.0)).reshape(3, 4)
    values = {"u": 10 * wave + 0.5 * t, "v": np.exp(-t) * wave}
    e = encode(GridBatch, cases(solution(GRID, 5, values=values)), Window(2, 3))
    np.testing.assert_allclose(e.increment[:, 0] * e.state.scale[0], [0.5, 1.0, 1.5], rtol=1e-12)
    v = values["v"]
    expected = [np.sqrt(np.mean((v[k:] - v[:-k]) ** 2)) for k in (1, 2, 3)]
    np.testing.assert_allclose(e.increment[:, 1] * e.state.scale[1], expected, rtol=1e-12)


def test_offsets_only_where_the_mean_dominates():
    t = 300 + RNG.normal(size=(6, 3, 4))
    small = 0.1 + RNG.normal(size=(6, 3, 4))
    e = encode(GridBatch, cases(solution(GRID, values={"u": t, "v": small})), Autoregressive())
    assert e.state.offset[0] == pytest.approx(t.mean()) and e.state.offset[1] == 0
    assert e.state.scale[0] == pytest.approx(t.std()) and e.state.scale[1] == pytest.approx(np.sqrt((small**2).mean()))
    assert (e.normalise(problem().case(), np.zeros((2, 3, 4)), GRID)[1] == 0).all()  # rest stays rest
    steady = problem(steady=True)
    e = encode(GridBatch, cases(solution(GRID, p=steady), solution(GRID, p=steady)), Steady())
    assert (e.state.offset != 0).all()


def test_values_outside_of_the_mask_count_for_nothing():
    values = {n: RNG.normal(size=(6, 3, 4)) for n in ("u", "v")}
    wild = {n: np.where(MASK > 0, v, 1e9) for n, v in values.items()}
    a, b = (encode(GridBatch, cases(solution(MASKED, values=v)), Autoregressive()) for v in (values, wild))
    assert a.to_json() == b.to_json() and a.masked


# -- batches ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("takes", "support"), [(GridBatch, GRID), (PointBatch, GRID), (GraphBatch, TRIANGLES)])
@pytest.mark.parametrize("stepping", [Autoregressive(2, 3), Window(3, 2), Autoregressive(history=2, increments=False)])
def test_batches_by_hand(takes, support, stepping):
    several = [solution(support, n, drive=d) for n, d in ((9, 1.0), (7, 2.0), (2, 3.0), (8, 4.0))]
    t = cases(*several)
    e = encode(takes, t, stepping, sensors=5 if takes is PointBatch else None)
    batch = only(MemoryBatches(t, e, horizon=2, batch_size=100, shuffle=False))
    at = 0
    for k, truth in enumerate(several):
        frames = np.stack([truth["u"].values, truth["v"].values], 1)
        known = e.normalise(t.cases[k], frames, support)
        known = known.reshape(len(known), 2, -1) if e.flat else known
        for present in range(len(frames) - 2 * stepping.every * stepping.ahead):
            past = [max(present - stepping.every * j, 0) for j in range(stepping.past)][::-1]
            assert batch.state is not None
            np.testing.assert_array_equal(batch.state[at], known[past])
            for j in range(2):
                future = [present + stepping.every * (1 + j * stepping.ahead + i) for i in range(stepping.ahead)]
                np.testing.assert_array_equal(batch.target[at, j], known[future].reshape(-1, *known.shape[2:]))
                time = truth.time.values[present + j * stepping.every * stepping.ahead]
                np.testing.assert_array_equal(batch.params[at, j], e.params(t.cases[k], np.array([time]))[0])
            at += 1
    assert at == len(batch) and batch.time is None


def test_batches_of_queries():
    several = [solution(GRID, n, drive=d, start=d) for n, d in ((4, 1.0), (3, 2.0))]
    t = cases(*several)
    e = encode(PointBatch, t, Query(), sensors=6)
    batch = only(MemoryBatches(t, e, batch_size=100, shuffle=False))
    assert len(batch) == 7 and e.sees_start and e.step is not None and e.step.value == 1.5
    np.testing.assert_allclose(batch.time[:, 0], [0, 1 / 3, 2 / 3, 1, 0, 1 / 3, 2 / 3], rtol=1e-6)
    first = e.normalise(t.cases[1], np.stack([several[1][n].values[0] for n in "uv"])[None], GRID)
    for k in range(4, 7):
        np.testing.assert_array_equal(batch.state[k], first)
    np.testing.assert_array_equal(batch.params[4:, 0], np.repeat(e.params(t.cases[1], np.array([2.0])), 3, 0))
    alike = {"u": np.zeros((3, 3, 4)), "v": np.arange(36.0).reshape(3, 3, 4)}
    same = cases(*(solution(GRID, 3, drive=d, values=alike) for d in (1.0, 2.0)))
    assert not encode(PointBatch, same, Query(), sensors=6).sees_start
    assert encode(PointBatch, same, Query(True), sensors=6).sees_start


def test_starts_come_as_often_as_asked():
    t = cases(solution(GRID, 6), solution(GRID, 4))
    e = encode(GridBatch, t, Autoregressive())
    more = MemoryBatches(t, e, repeats=Starts(3).repeats)
    found, counts = np.unique(more.items, axis=0, return_counts=True)
    assert np.array_equal(counts == 3, found[:, 1] == 0) and set(counts) == {1, 3} and len(found) == 8
    few = MemoryBatches(t, e, most=3, shuffle=False)
    assert few.items[:, :2].tolist() == [[0, 0], [0, 3], [1, 2]]


def test_images_under_a_symmetry_are_the_image_case():
    """A mirrored batch is the batch of the mirrored solutions."""
    x = (np.arange(6) + 0.5) / 6
    (mirror,) = LidDrivenCavity.symmetries
    case = LidDrivenCavity().case(lid_velocity=2.0)
    fields = {n: RNG.normal(size=(5, 6, 6)) for n in ("u", "v")}

    def packed(c, f):
        return cases(
            data.solution(c, 0.1 * np.arange(5), {k: (("time", "y", "x"), v) for k, v in f.items()}, {"x": x, "y": x})
        )

    one, other = packed(case, fields), packed(*mirror.solution(case, fields))
    e = encode(GridBatch, one, Autoregressive(history=2), symmetries=(mirror,))
    at = e.features.names.index("lid_now")
    assert e.features.mean[at] == 0 and e.features.std[at] == pytest.approx(1)
    batch = only(MemoryBatches(one, e, horizon=2, batch_size=9, shuffle=False, symmetries=(mirror,)))
    expected = only(MemoryBatches(other, e, horizon=2, batch_size=9, shuffle=False))
    which = np.array([True, False, True])
    found = batch.mirrored(which, np.random.default_rng(0))
    for name in ("state", "target", "params"):
        pick = torch.from_numpy(which).reshape(-1, *[1] * (getattr(batch, name).ndim - 1))
        torch.testing.assert_close(
            getattr(found, name), torch.where(pick, getattr(expected, name), getattr(batch, name))
        )
    flat = encode(PointBatch, one, Autoregressive(), sensors=4, symmetries=(mirror,))
    with pytest.raises(InputError, match="Mirror"):
        MemoryBatches(one, flat, symmetries=(mirror,))
    with pytest.raises(InputError, match="mirror image"):
        lopsided = cases(solution(STRETCHED), solution(STRETCHED))
        MemoryBatches(lopsided, encode(GridBatch, lopsided, Autoregressive()), symmetries=(mirror,))


def test_noise_keeps_the_true_frame():
    t = cases(solution(MASKED))
    e = encode(GridBatch, t, Autoregressive(history=2))
    batch = only(MemoryBatches(t, e, batch_size=9, shuffle=False))
    noisy = Noise(0.5)(batch, np.random.default_rng(0))
    assert torch.equal(noisy.last, batch.state[:, -1]) and torch.equal(noisy.target, batch.target)
    assert torch.equal(noisy.state[:, 0], batch.state[:, 0]) and not torch.equal(noisy.state[:, 1], batch.state[:, 1])
    outside = torch.from_numpy(MASK == 0)
    assert (noisy.state[..., outside] == 0).all()
    twice = Noise(0.5)(noisy, np.random.default_rng(1))
    assert torch.equal(twice.last, batch.state[:, -1])
    model = Model(nn.Identity(), e)
    assert torch.equal(model.start(noisy).last, batch.state[:, -1])


def test_subsample():
    t = cases(solution(GRID, drive=1.0), solution(GRID, drive=2.0))
    e = encode(PointBatch, t, Query(), sensors=5)
    batch = only(MemoryBatches(t, e, batch_size=99, shuffle=False))
    few = Subsample(5)(batch, np.random.default_rng(0))
    assert few.target.shape[-1] == few.given.coords.shape[-1] == 5 and few.state.shape[-1] == 12
    for k in range(5):
        (j,) = np.flatnonzero((batch.given.coords[0].T == few.given.coords[0, :, k]).all(1))
        assert torch.equal(few.target[..., k], batch.target[..., int(j)])
    whole = encode(GridBatch, t, Autoregressive())
    with pytest.raises(InputError, match="Subsample"):
        Subsample(5)(only(MemoryBatches(t, whole, batch_size=99)), np.random.default_rng(0))
    marching = encode(PointBatch, t, Autoregressive(), sensors=5)
    with pytest.raises(InputError, match="Subsample"):
        Subsample(5)(only(MemoryBatches(t, marching, batch_size=99)), np.random.default_rng(0))


@pytest.mark.parametrize("takes", [PointBatch, GraphBatch])
def test_cases_of_different_numbers_of_nodes(takes):
    supports = [Points(RNG.random((n, 2))) for n in (5, 9)]
    several = [solution(s, 3, drive=float(k)) for k, s in enumerate(supports)]
    t = cases(*several)
    e = encode(takes, t, Autoregressive(), sensors=3 if takes is PointBatch else None)
    assert e.signature().masked and not e.shared
    batch = only(MemoryBatches(t, e, batch_size=9, shuffle=False))
    g = batch.given
    assert batch.state.shape == (4, 1, 2, 9) and g.mask.shape == (4, 1, 9)
    assert g.mask[0, 0].tolist() == [1] * 5 + [0] * 4 and g.mask[2, 0].tolist() == [1] * 9
    assert (batch.state[0, ..., 5:] == 0).all() and (g.weights[0, 0, 5:] == 0).all()
    np.testing.assert_allclose(g.coords[0, :, :5], supports[0].unit().T, rtol=1e-6)
    np.testing.assert_allclose(g.coords[2], supports[1].unit().T, rtol=1e-6)
    np.testing.assert_allclose(g.weights[0, 0, :5], 1, rtol=1e-6)
    if takes is GraphBatch:
        assert len(g.edges) == 4 and [x.max().item() for x in g.edges] == [4, 4, 8, 8]
        np.testing.assert_array_equal(g.edges[2], edges(supports[1]))


def test_cases_of_equal_and_unequal_cells_in_one_batch():
    """What stands for nothing special in one case is written out where another case needs it."""
    for order in ((GRID, STRETCHED), (STRETCHED, GRID), (GRID, MASKED), (MASKED, GRID)):
        t = cases(*(solution(s, 3) for s in order))
        e = encode(GridBatch, t, Autoregressive())
        g = only(MemoryBatches(t, e, batch_size=9, shuffle=False)).given
        for k, support in zip((0, 2), order, strict=True):
            w = support.weights()
            np.testing.assert_allclose(g.weights[k, 0], w / w[w > 0].mean(), rtol=1e-6)
            if STRETCHED in order:
                np.testing.assert_allclose(g.coords[k], np.moveaxis(support.unit()[..., ::-1], -1, 0), rtol=1e-6)
            else:
                assert np.array_equal(g.mask[k, 0], MASK if support is MASKED else np.ones((3, 4)))
    plain = encode(GridBatch, cases(solution(GRID)), Autoregressive()).given([problem().case()], [GRID])
    assert plain.weights is None and plain.coords is None and plain.mask is None


def test_static_inputs():
    """Coefficients go over their own scale, in the layout of the operator."""
    p = problem(inputs=[InputSpec("kappa", "1", "coefficient", ("y", "x"))])
    kappa = [5 + RNG.random((3, 4)) for _ in range(2)]
    t = cases(*(solution(GRID, p=p, kappa=k) for k in kappa))
    for takes in (GridBatch, PointBatch):
        e = encode(takes, t, Autoregressive(), sensors=4 if takes is PointBatch else None)
        g = only(MemoryBatches(t, e, batch_size=99, shuffle=False)).given
        every = np.stack(kappa)
        expected = (kappa[1] - every.mean()) / every.std()
        np.testing.assert_allclose(g.static[-1, 0].reshape(3, 4), expected, rtol=1e-4, atol=1e-5)


def test_nodes_that_move():
    path = [np.array([[0, 0], [1, 0], [1, 1], [0, 1.0]]) * (1 + 0.5 * k) for k in range(4)]
    values = {n: (("time", "node"), RNG.normal(size=(4, 4))) for n in ("u", "v")}
    case = problem().case(drive=1.0).on(Points(path[0]))
    coords = {"x": np.stack(path)[..., 0], "y": np.stack(path)[..., 1]}
    t = cases(
        data.solution(
            dataclasses.replace(case, extents=((0.0, 3.0), (0.0, 3.0)), parameters=dict(case.parameters), inputs={}),
            np.arange(4.0),
            values,
            coords,
        )
    )
    assert t.moving
    e = encode(GraphBatch, t, Autoregressive())
    batch = only(MemoryBatches(t, e, batch_size=9, shuffle=False))
    assert len(batch) == 3 and batch.given.lengths.shape[0] in (1, 3)
    np.testing.assert_allclose(batch.given.lengths[:, 0], [1.0, 1.5, 2.0])


# -- from the file ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "swirl.h5"
    several = [solution(MASKED, n, drive=float(k)) for k, n in enumerate((9, 3, 12, 7, 8))]
    failed = solution(MASKED, 9, drive=9.0)
    failed.attrs["status"] = "failed"
    folds = {"fold_1": ["train", "train", "test", "train", "train", "train"]}
    split = ["train", "train", "train", "test", "train", "train"]
    data.write(data.pack([*several[:2], *several[2:], failed], splits=split, named_splits=folds), path)
    return path


@pytest.mark.parametrize("stepping", [Autoregressive(2, 2), Window(3, 2), Window(2, 1, step=2), Autoregressive()])
@pytest.mark.parametrize("split", ["train", "fold_1/train", None])
def test_read_from_the_file_as_from_memory(stored, stepping, split):
    t = table(data.open(stored), split)
    e = encode(GridBatch, t, stepping)
    how = {"horizon": 2, "batch_size": 4, "seed": 7, "repeats": Starts(3).repeats}
    memory, file = MemoryBatches(t, e, **how), LoaderBatches(t, e, stored, **how)
    assert len(memory) == len(file) > 1
    for epoch in (0, 1):
        pairs = list(zip(memory.epoch(epoch), file.epoch(epoch), strict=True))
        for a, b in pairs:
            torch.testing.assert_close(a.params, b.params)
            torch.testing.assert_close(a.state, b.state, rtol=1e-6, atol=1e-6)
            torch.testing.assert_close(a.target, b.target, rtol=1e-6, atol=1e-6)
            assert torch.equal(a.given.mask, b.given.mask) and a.target.dtype == b.target.dtype
    (last,) = list(file.epoch(0, start=len(file) - 1))
    torch.testing.assert_close(last.state, list(memory.epoch(0))[-1].state, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("stepping", [Steady(), Autoregressive(history=2)], ids=repr)
@pytest.mark.parametrize("grid", [GRID, MASKED], ids=["whole", "masked"])
@pytest.mark.parametrize("takes", [GridBatch, PointBatch, CloudBatch, GraphBatch])
def test_sets_from_the_file(takes, grid, stepping, tmp_path):
    """The same samples whatever a batch of them is: fields on a grid, or its cells as points."""
    steady = stepping == Steady()
    p = problem(steady=steady)
    path = tmp_path / "set.h5"
    data.write(data.pack([solution(grid, p=p, drive=float(k)) for k in range(5)]), path)
    t = table(data.open(path), None)
    e = encode(takes, t, stepping)
    how = {"batch_size": 2, "seed": 1}
    for a, b in zip(MemoryBatches(t, e, **how).epoch(0), LoaderBatches(t, e, path, **how).epoch(0), strict=True):
        torch.testing.assert_close(a.target, b.target, rtol=1e-6, atol=1e-6)
        assert torch.equal(a.params, b.params)
        if steady:
            assert a.state is None and b.state is None
        else:
            torch.testing.assert_close(a.state, b.state, rtol=1e-6, atol=1e-6)


def test_what_cannot_be_read_as_needed(tmp_path):
    for name, support, stepping in (("grid", GRID, Query()), ("nodes", TRIANGLES, Autoregressive())):
        path = tmp_path / f"{name}.h5"
        data.write(data.pack([solution(support)]), path)
        t = table(data.open(path), None)
        e = encode(GraphBatch, t, stepping)
        with pytest.raises(InputError, match="memory_limit"):
            LoaderBatches(t, e, path)
    path = tmp_path / "precise.h5"
    data.write(data.pack([solution(GRID)], dtype=None), path)
    t = table(data.open(path), None)
    with pytest.raises(InputError, match="float64"):
        LoaderBatches(t, encode(GridBatch, t, Autoregressive(), dtype="float64"), path)


# -- graphs ----------------------------------------------------------------------------------------------------------


def test_edges():
    found = edges(TRIANGLES)
    pairs = {(0, 1), (0, 2), (0, 3), (1, 2), (2, 3), (2, 4), (3, 4)}
    assert set(map(tuple, found.T.tolist())) == pairs | {(b, a) for a, b in pairs} and found.shape[1] == 14
    line = edges(Grid((np.linspace(0, 1, 5),), periodic=(True,)))
    assert {tuple(sorted(p)) for p in line.T.tolist()} == {(0, 1), (1, 2), (2, 3), (0, 3)}
    holed = edges(MASKED)
    gone = set(np.flatnonzero(MASK.ravel() == 0))
    assert not gone & set(holed.ravel().tolist()) and holed.shape[1] == 2 * (17 - 2 - 4)


class Recorder(nn.Module):
    """Keeps what it is given."""

    def forward(self, **arguments):
        self.seen = arguments
        return torch.zeros(len(arguments["nodes"]), 2)


def test_graphs_are_joined_one_after_another():
    supports = [Points(RNG.random((n, 2))) for n in (5, 9)]
    t = cases(*(solution(s, 3, drive=float(k)) for k, s in enumerate(supports)))
    e = encode(GraphBatch, t, Autoregressive(history=2))
    batch = only(MemoryBatches(t, e, batch_size=9, shuffle=False))
    operator = Recorder()
    e.apply(operator, batch.state, batch.given, batch.params[:, 0], None)
    seen = operator.seen
    assert seen["nodes"].shape == (36, 4) and seen["graph"].tolist() == sorted([0, 1, 2, 3] * 9)
    for k in range(4):
        s = supports[k // 2]
        own = seen["edges"][:, seen["graph"][seen["edges"][1]] == k] - 9 * k
        np.testing.assert_array_equal(own, edges(s))
        nodes = seen["nodes"][9 * k : 9 * k + s.size]
        np.testing.assert_array_equal(nodes, batch.state[k, ..., : s.size].flatten(0, 1).T)
    assert seen["mask"].reshape(4, 9).sum(1).tolist() == [5, 5, 9, 9]
    for k in range(4):
        s = supports[k // 2]
        mine = seen["graph"][seen["edges"][1]] == k
        sender, receiver = (seen["edges"][:, mine] - 9 * k).numpy()
        longest = max(b - a for a, b in s.extents)
        np.testing.assert_allclose(
            seen["offsets"][mine].numpy(), (s.points()[receiver] - s.points()[sender]) / longest, atol=1e-6
        )
    shared = cases(*(solution(TRIANGLES, 3, drive=float(k)) for k in range(2)))
    e = encode(GraphBatch, shared, Autoregressive())
    batch = only(MemoryBatches(shared, e, batch_size=9, shuffle=False))
    assert len(batch.given.edges) == 1
    e.apply(operator, batch.state, batch.given, batch.params[:, 0], None)
    assert operator.seen["edges"].shape[1] == 4 * 14 and operator.seen["edges"].max() == 19


def test_offsets_go_the_short_way_across_a_seam():
    around = Grid((np.linspace(0.0, 2.0, 5), np.linspace(0.0, 1.0, 4)), (True, False))
    t = cases(*(solution(around, 3, drive=float(k)) for k in range(2)))
    t.cases[0].problem.box = (True, False)
    for i, case in enumerate(t.cases):
        t.cases[i] = case.on(around)
    e = encode(GraphBatch, t, Autoregressive())
    batch = only(MemoryBatches(t, e, batch_size=4, shuffle=False))
    operator = Recorder()
    e.apply(operator, batch.state, batch.given, batch.params[:, 0], None)
    sizes = operator.seen["offsets"].abs()
    # cells are 0.5 × 1/3 and the longest extent is 2: no edge is longer than one cell
    assert sizes.max(0).values.tolist() == pytest.approx([0.25, 1 / 6], abs=1e-6)
    assert operator.seen["edges"].shape[1] == 4 * 2 * (3 * 4 + 2 * 4)


def test_features_at_many_times_are_those_one_by_one():
    """From one call where a problem takes arrays; of one that does not, or answers them otherwise, one by one."""
    times, dt = np.linspace(0, 3, 7), 0.1

    def one_by_one(case):
        return [list(case.problem.features(case, float(t), dt).values()) for t in times]

    class Numbers(LidDrivenCavity):
        def features(self, case, time, time_step):
            return {"late": 1.0 if time > 1 else 0.0}

    class Otherwise(LidDrivenCavity):
        def features(self, case, time, time_step):
            return {"time": float(np.max(time))}

    moving = Series([0, 1, 2], [0.5, 1, 0.2])
    cases = [kind().case(lid_motion=moving) for kind in (LidDrivenCavity, Numbers, Otherwise)]
    cases.append(CylinderFlow().case(inlet_motion=moving))
    cases += [HeatEquation().case(temperature_left=moving), HeatEquation().case()]
    for case in cases:
        names = tuple(case.problem.features(case, 0.0, dt))
        found = feature_table(case, times, dt, names)
        np.testing.assert_array_equal(found, one_by_one(case))
        assert np.ptp(found, axis=0).any()
    with pytest.raises(InputError, match="feature 'other' is not common to all cases"):
        feature_table(cases[0], times, dt, (*cases[0].problem.features(cases[0], 0.0, dt), "other"))


@pytest.mark.parametrize("block", [1, 5000, 1 << 20])
def test_cases_that_are_read_together_are_those_read_alone(stored, block, monkeypatch):
    monkeypatch.setattr("sciml.training.samples.BLOCK", block)
    packed = data.open(stored)
    whole = table(packed, None)
    for part in (whole, whole.keep(np.array([0, 1, 3])), whole.keep(np.array([2, 1]))):
        for i, (frames, weights) in enumerate(part.chunks()):
            np.testing.assert_array_equal(frames, part.frames(i))
            np.testing.assert_array_equal(weights, part.support(i).weights())
        assert i == len(part.cases) - 1
