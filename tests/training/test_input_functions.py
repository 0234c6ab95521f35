"""Input functions at points of their own reach operators on points, whatever their lengths."""

from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn

import sciml
import sciml.registry
from sciml.contracts import GridBatch, Operator, PointBatch
from sciml.data import pack, solution
from sciml.errors import InputError
from sciml.problem import InputSpec
from sciml.solvers import Surrogate
from sciml.training import Epochs, Recipe, Running, Steady
from sciml.training.batches import MemoryBatches
from sciml.training.encoding import encoding_for
from sciml.training.samples import table

RNG = np.random.default_rng(0)
MESH = sciml.Points(RNG.random((12, 2)))
PROBLEM = sciml.DataProblem(
    "sources", ["T"], ["level"], 2, steady=True,
    inputs=[
        InputSpec("strength", "1", "source", ("source",), at="places"),
        InputSpec("places", "m", "source", ("source", "coordinate")),
        InputSpec("wall", "1", "boundary", ("wall_point",), at="wall_places"),
        InputSpec("wall_places", "m", "boundary", ("wall_point", "coordinate")),
    ],
)  # fmt: skip


class Pooled(Operator):
    """y(s) = MLP(s, p, mean over the points of each function of MLP(value, point))."""

    name, title = "test_pooled", "pooled"
    takes: ClassVar = PointBatch

    def __init__(self, out_channels, dimensions, n_params=0, functions=()):
        super().__init__()
        self._config = {"out_channels": out_channels, "dimensions": dimensions, "n_params": n_params}
        self._config["functions"] = [list(f) for f in functions]
        self.inner = nn.ModuleList(nn.Sequential(nn.Linear(c + d, 16), nn.GELU()) for c, d in functions)
        self.outer = nn.Sequential(
            nn.Linear(dimensions + n_params + 16 * len(functions), 32), nn.GELU(), nn.Linear(32, out_channels)
        )

    @classmethod
    def for_signature(cls, signature, **options):
        functions = [(f.channels, f.dimensions) for f in signature.functions]
        return cls(signature.channels_out, signature.dimensions, signature.n_params, functions, **options)

    def config(self) -> dict[str, Any]:
        return self._config

    def forward(self, points, params=None, functions=(), mask=None):
        parts = [points] + ([] if params is None else [params[:, None].expand(-1, points.shape[1], -1)])
        for inner, (values, places, there, _) in zip(self.inner, functions, strict=True):
            h = inner(torch.cat([values, places], -1))
            w = torch.ones_like(values[..., 0]) if there is None else there
            h = (h * w[..., None]).sum(1) / w.sum(1, keepdim=True)
            parts.append(h[:, None].expand(-1, points.shape[1], -1))
        return self.outer(torch.cat(parts, -1))


def made(count: int, seed: int):
    """T(s) = Σ strength·exp(−|s − place|²) + mean of the wall's values."""
    r = np.random.default_rng(seed)
    strength, places, wall = r.random(count), r.random((count, 2)), r.random(3 + count)
    walls = r.random((3 + count, 2))
    case = PROBLEM.case(level=0.0, strength=strength, places=places, wall=wall, wall_places=walls)
    gap = ((MESH.points()[:, None] - places) ** 2).sum(-1)
    field = (strength * np.exp(-gap)).sum(1) + wall.mean()
    return solution(case, None, {"T": (("node",), field)}, MESH)


def test_lengths_differ_and_padding_changes_nothing():
    data = pack([made(n, n) for n in (2, 5, 3, 4)], dtype=None)
    t = table(data, None)
    e = encoding_for(PointBatch).fit(t, Steady(), dtype="float64")
    names = [(f.name, f.channels, f.sensors) for f in e.signature().functions]
    assert names == [("strength", 1, None), ("wall", 1, None)]
    (batch,) = MemoryBatches(t, e, batch_size=4, shuffle=False).epoch(0)
    (values, places, mask), (_, _, wall_mask) = batch.given.functions
    assert mask.sum(1).tolist() == [2, 5, 3, 4] and wall_mask.sum(1).tolist() == [5, 8, 6, 7]
    low, high = np.array(MESH.extents).T
    np.testing.assert_allclose(places[2, :3], (t.cases[2].places - low) / (high - low), rtol=1e-12)
    scaled = values[1, :5, 0] * e.given_functions.scale[0] + e.given_functions.offset[0]
    np.testing.assert_allclose(scaled, t.cases[1].strength, rtol=1e-12)
    operator = Pooled.for_signature(e.signature()).double()
    together = e.apply(operator, None, batch.given, batch.params[:, 0], None)
    for i in range(4):
        alone = e.given([t.cases[i]], [MESH])
        assert alone.functions[0][2] is None
        found = e.apply(operator, None, alone, batch.params[i : i + 1, 0], None)
        torch.testing.assert_close(found[0], together[i], rtol=1e-12, atol=1e-12)


def test_it_trains_saves_and_answers(tmp_path):
    sciml.registry.operators.register("test_pooled")(Pooled)
    try:
        data = pack([made(2 + n % 4, n) for n in range(24)])
        model = Surrogate(Pooled).fit(
            data, Recipe(length=Epochs(60)), validation=None, running=Running(progress=False, device="cpu")
        )
        case, truth = sciml.data.case(data, 3)
        error = np.linalg.norm(model.solve(case)["T"] - truth["T"]) / np.linalg.norm(truth["T"])
        assert error < 0.2
        model.save(tmp_path / "run")
        np.testing.assert_array_equal(sciml.load(tmp_path / "run").solve(case)["T"], model.solve(case)["T"])
        with pytest.raises(InputError, match="has no input 'strength', which the model sees"):
            model.solve(PROBLEM.case(level=0.0).on(MESH))
    finally:
        sciml.registry.operators._classes.pop("test_pooled", None)


def test_grids_have_no_place_for_them():
    with pytest.raises(InputError, match="strength, wall have points of their own"):
        encoding_for(GridBatch).fit(table(pack([made(2, 0), made(3, 1)]), None), Steady())


def test_fixed_sensors_say_that_they_lose_where_points_were():
    data = table(pack([made(3, n) for n in range(3)]), None)
    with pytest.warns(UserWarning, match="data: (strength|wall) lies at other points in some cases than in others"):
        encoding_for(PointBatch).fit(data, Steady(), sensors=4)
