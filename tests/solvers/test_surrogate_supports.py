"""Surrogates on every kind of support: masked, stretched, periodic grids in 1 to 3 dimensions, nodes, graphs."""

import dataclasses
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from _made import FEW, SPEEDS, cube, fno, hole, own, recipe, started, triangles, values, waves
from torch import nn

from sciml import data, registry
from sciml.contracts import GraphBatch, Operator
from sciml.errors import InputError
from sciml.operators import FNO, DeepONet, UNet
from sciml.problems import Burgers, TaylorGreen
from sciml.solvers import Surrogate, load
from sciml.support import Mesh, Points
from sciml.training import Autoregressive, Query, Steady, Window

pytestmark = pytest.mark.usefixtures("one_thread")

# -- masks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operator", "options", "stepping"),
    [
        (FNO, {"width": 6, "modes": (3, 3), "layers": 1}, Autoregressive(history=2)),
        (UNet, {"width": 4, "multipliers": (1, 2)}, Window(2, 2)),
        (DeepONet, {"width": 16, "basis": 8, "depth": 2}, Autoregressive()),
        (DeepONet, {"width": 16, "basis": 8, "depth": 2}, Query()),
    ],
)  # fmt: skip
def test_what_lies_outside_of_the_mask_changes_nothing(operator, options, stepping):
    mask = hole()
    made = [waves(cube(2, mask=mask), speed=v, phase=v) for v in SPEEDS]
    wild = [m.copy(deep=True) for m in made]
    for m in wild:
        for name in "ab":
            m[name].values[..., mask == 0] = 1e7
    models = [Surrogate(operator, stepping, **options).fit(several, recipe(), **FEW) for several in (made, wild)]
    for a, b in zip(*(m.operator.state_dict().values() for m in models), strict=True):
        assert torch.equal(a, b)
    case = data.case(data.pack([made[0]], dtype=None), 0)[0]
    times = [0.1, 0.2, 0.3, 0.4, 0.5]
    found, other = (models[0].resume(case, m.isel(time=slice(0, 2)), times) for m in (made[0], wild[0]))
    assert np.array_equal(values(found), values(other))
    assert (values(found)[..., mask == 0] == 0).all() and (values(found)[..., mask == 1] != 0).all()
    assert np.array_equal(found["mask"].values, mask)


def test_case_without_mask_of_its_own():
    """A case that says nothing lives on the training data's grid and mask, if these were the same for all."""
    made = [waves(cube(2, mask=hole()), speed=v) for v in SPEEDS]
    model = fno(*made, dimensions=2)
    assert model.encoding.shared and model.encoding.masked
    bare = own(2).case(speed=0.3)
    assert model.encoding.support(bare).inside is not None and model.encoding.support(bare).same(cube(2, mask=hole()))
    moved = fno(made[0], waves(cube(2, mask=hole()[::-1]), speed=0.3), dimensions=2)
    assert not moved.encoding.shared
    open_and_masked = fno(waves(cube(2), speed=0.2), made[1], dimensions=2)
    assert open_and_masked.encoding.masked and not open_and_masked.encoding.shared


# -- kinds of supports -----------------------------------------------------------------------------------------------


def roundtrip(model, made, tmp_path, exact=True):
    """Save, load, and answer the same: from a frame, and for the case alone where it says where it lives."""
    model.save(tmp_path / "run")
    again = load(tmp_path / "run")
    assert isinstance(again, Surrogate) and again.encoding.to_json() == model.encoding.to_json()
    assert again.encoding.template.same(model.encoding.template)
    for m in made:
        case = data.case(data.pack([m], dtype=None), 0)[0]
        times = m.time.values[1:4]
        a, b = (one.resume(case, m.isel(time=[0]), times) for one in (model, again))
        assert np.array_equal(values(a), values(b)) and a["a"].shape == m["a"].isel(time=slice(1, 4)).shape
        for axis in "xyz"[: model.encoding.template.dimensions]:
            np.testing.assert_allclose(a[axis], m[axis], atol=1e-12)
        # the answer is a solution that lives where the data do
        back = data.case(data.pack([a], dtype=None), 0)[0]
        assert back == case and back.support.same(case.support)
        asked = again.resume(case, m.isel(time=[0]), times)
        assert asked.attrs["status"] == "ok"
    return again


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("kind", ["uniform", "stretched", "periodic", "masked"])
def test_grids(dimensions, kind, tmp_path):
    n = {1: 12, 2: 8, 3: 6}[dimensions]
    mask = None
    if kind == "masked":
        mask = np.ones((n,) * dimensions)
        mask[(slice(2, 4),) * dimensions] = 0
    grid = cube(dimensions, n, 1.5 if kind == "stretched" else 1.0, mask, kind == "periodic")
    p = own(dimensions, periodic=(kind == "periodic",) * dimensions)
    made = [waves(grid, speed=v, problem=p) for v in SPEEDS]
    model = fno(*made, dimensions=dimensions)
    again = roundtrip(model, made, tmp_path)
    assert again.encoding.support(p.case(speed=0.3)).same(grid)


def test_a_stretched_grid_is_as_accurate_as_a_uniform_one():
    """The same flow on equal and on unequal cells is learned alike, and answered where the data are."""
    errors = []
    for power in (1.0, 1.4):
        grid = cube(1, 32, power)
        p = own(1, periodic=(False,))
        made = [waves(grid, speed=v, frames=5, problem=p, phase=f) for v in (0.3, 0.5) for f in np.arange(0, 6, 0.6)]
        model = Surrogate(FNO, width=12, modes=(6,), layers=2, padding=0.25).fit(
            made, recipe(250, batch=16, lr=6e-3), **FEW
        )
        held = waves(grid, speed=0.4, frames=5, problem=p, phase=1.0)
        case = data.case(data.pack([held], dtype=None), 0)[0]
        found = model.resume(case, held.isel(time=[0]), held.time.values[1:])
        np.testing.assert_allclose(found["x"], grid.centres[0], atol=1e-12)
        w = grid.weights()
        wrong = ((values(found) - values(held)[1:]) ** 2 * w).sum() / ((values(held)[1:] ** 2) * w).sum()
        errors.append(float(np.sqrt(wrong)))
        fresh = model.encoding.support(p.case(speed=0.4))
        np.testing.assert_allclose(fresh.points(), grid.points())
    assert max(errors) < 0.08 and errors[1] < 2.5 * errors[0] + 0.01


def test_data_of_half_a_domain_are_refused():
    x = (np.arange(16) + 0.5) / 32
    case = Burgers().case()
    with pytest.raises(InputError, match="tile the domain"):
        data.solution(case, [0.0, 0.1], {"u": (("time", "x"), np.zeros((2, 16)))}, {"x": x})
    whole = data.solution(case, [0.0, 0.1], {"u": (("time", "x"), np.zeros((2, 16)))}, {"x": 2 * x})
    with pytest.raises(InputError, match="tile the domain"):
        fno(whole.isel(x=slice(0, 8)))
    with pytest.raises(InputError, match="tile the domain"):
        fno(whole.assign_coords(x=x))


def test_equations_of_two_dimensions(tmp_path):
    """A problem with equations and an exact beginning: a case alone is enough."""
    made, n = [], 8
    centre = (np.arange(n) + 0.5) / n
    for v in (0.01, 0.02):
        case = TaylorGreen().case(viscosity=v)
        (a, b), (c, d) = case.geometry.extents
        t = 0.1 * np.arange(4)
        x, y = a + (b - a) * centre, c + (d - c) * centre
        exact = case.exact(t, (x, y))
        made.append(data.solution(case, t, {k: (("time", "y", "x"), exact[k]) for k in ("u", "v")}, {"x": x, "y": y}))
    model = Surrogate(FNO, width=6, modes=(3, 3), layers=1).fit(made, recipe(), **FEW)
    model.save(tmp_path / "run")
    case = TaylorGreen().case(viscosity=0.015)
    for one in (model, load(tmp_path / "run")):
        found = one.solve(case, [0.1, 0.2])
        assert found["u"].shape == (2, n, n) and found.attrs["status"] == "ok"
    first = model.solve(case, [0.0])
    np.testing.assert_allclose(
        first["u"].values[0], case.exact(np.zeros(1), (first.x.values, first.y.values))["u"][0], atol=1e-6
    )
    with pytest.raises(InputError, match="cannot solve the problem"):
        model.solve(Burgers().case(), [0.1])


@pytest.mark.parametrize("stepping", [Autoregressive(), Query()])
def test_nodes_that_all_cases_share(stepping, tmp_path):
    mesh = triangles()
    made = [waves(mesh, speed=v, phase=v) for v in SPEEDS]
    model = Surrogate(DeepONet, stepping, width=16, basis=8, depth=2).fit(made, recipe(), **FEW)
    again = roundtrip(model, made, tmp_path)
    assert isinstance(again.encoding.template, Mesh) and again.encoding.support(own(2).case(speed=0.3)).same(mesh)
    assert set(again.resume(data.case(data.pack(made, dtype=None), 0)[0], made[0].isel(time=[0]), [0.1]).dims) >= {
        "node",
        "cell",
    }


def test_nodes_of_their_own_for_each_case(tmp_path):
    meshes = [triangles(4, 1), triangles(5, 2), triangles(6, 3)]
    made = [waves(m, speed=v, phase=v) for m, v in zip(meshes, SPEEDS, strict=True)]
    model = Surrogate(DeepONet, width=16, basis=8, depth=2).fit(made, recipe(), **FEW)
    roundtrip(model, made, tmp_path)
    with pytest.raises(InputError, match=r"give case\.on\(support\)"):
        model.encoding.support(own(2).case(speed=0.3))
    # several at once are what each is alone
    starts, times = [started(m) for m in made], np.tile([0.1, 0.3], (3, 1))
    together = list(model.rollout(starts, times))
    for k, start in enumerate(starts):
        alone = list(model.rollout([start], times[:1]))
        for j in range(2):
            assert together[j][k].shape == (2, meshes[k].size)
            np.testing.assert_allclose(together[j][k], alone[j][0], atol=1e-6)


def test_steady_fields_on_nodes(tmp_path):
    p = own(2, steady=True, name="still")
    mesh = triangles()
    made = [waves(mesh, speed=v, problem=p, phase=v) for v in SPEEDS]
    model = Surrogate(DeepONet, width=16, basis=8, depth=2, frequencies=1).fit(made, recipe(80, lr=5e-3), **FEW)
    assert model.encoding.stepping == Steady()
    case = p.case(speed=0.3)
    found = model.solve(case)
    assert found["a"].dims == ("node",) and found["a"].shape == (mesh.size,)
    nodes = model.solve(case, points=mesh.points())
    np.testing.assert_allclose(nodes["a"].values, found["a"].values, atol=1e-6)
    between = np.array([[0.31, 0.52], [0.7, 0.21]])
    there = values(model.solve(case, points=between))
    assert np.abs(there - mesh.sample(values(found), between)).max() > 1e-4  # the network itself
    model.save(tmp_path / "run")
    assert np.array_equal(values(load(tmp_path / "run").solve(case)), values(found))


# -- graphs ----------------------------------------------------------------------------------------------------------


class Messages(Operator):
    """One round of messages along edges: h_i = MLP(x_i, p, mean_j MLP(x_i, x_j, s_j − s_i))."""

    name, title = "test_messages", "messages"
    takes: ClassVar = GraphBatch

    def __init__(self, in_channels, out_channels, dimensions=2, n_params=0, *, width=12):
        super().__init__()
        self._config = {"in_channels": in_channels, "out_channels": out_channels, "dimensions": dimensions}
        self._config |= {"n_params": n_params, "width": width}
        self.message = nn.Sequential(nn.Linear(2 * in_channels + dimensions, width), nn.GELU())
        self.update = nn.Sequential(
            nn.Linear(in_channels + n_params + width, width), nn.GELU(), nn.Linear(width, out_channels)
        )

    @classmethod
    def for_signature(cls, signature, **options):
        return cls(signature.channels_in, signature.channels_out, signature.dimensions, signature.n_params, **options)

    def config(self) -> dict[str, Any]:
        return self._config

    def forward(self, nodes, points, edges, offsets, graph, params=None, mask=None):
        sender, receiver = edges
        message = self.message(torch.cat([nodes[receiver], nodes[sender], -offsets], 1))
        total = message.new_zeros(len(nodes), message.shape[1]).index_add(0, receiver, message)
        count = message.new_zeros(len(nodes)).index_add(0, receiver, torch.ones_like(message[:, 0]))
        parts = [nodes, total / count.clamp(min=1)[:, None]] + ([] if params is None else [params[graph]])
        out = self.update(torch.cat(parts, 1))
        return out if mask is None else out * mask[:, None]


@pytest.fixture
def messages():
    registry.operators.register("test_messages")(Messages)
    yield Messages
    for table in vars(registry.operators).values():
        if isinstance(table, dict):
            for key in [k for k, v in table.items() if v is Messages or k == "test_messages"]:
                del table[key]


@pytest.mark.parametrize("kind", ["mesh", "meshes", "points", "grid"])
def test_an_operator_on_graphs(messages, kind, tmp_path):
    if kind == "grid":
        supports: list[Any] = [cube(2, 5, periodic=False)] * 3
    elif kind == "points":
        supports = [Points(np.random.default_rng(k).random((20 + k, 2))) for k in range(3)]
    else:
        supports = [triangles(5, 0)] * 3 if kind == "mesh" else [triangles(4 + k, k) for k in range(3)]
    made = [waves(s, speed=v, phase=v) for s, v in zip(supports, SPEEDS, strict=True)]
    model = Surrogate(messages, Autoregressive(history=2)).fit(made, recipe(60, lr=1e-2), **FEW)
    losses = [r["loss"] for r in model.metrics if "loss" in r]
    assert losses[-1] < 0.8 * losses[0]
    roundtrip(model, made, tmp_path)
    if kind == "grid":
        return
    # numbers of nodes are names only
    support = supports[1]
    shuffle = np.random.default_rng(0).permutation(support.size)
    place = np.argsort(shuffle)
    position = support.points()[shuffle]
    other = Points(position) if kind == "points" else Mesh(position, {"triangle": place[support.cells["triangle"]]})
    starts = [started(made[1], 1, 2)]
    moved = [
        dataclasses.replace(
            starts[0], case=starts[0].case.on(other), support=other, frames=starts[0].frames[..., shuffle]
        )
    ]
    times = np.array([[0.2, 0.4]])
    for a, b in zip(model.rollout(starts, times), model.rollout(moved, times), strict=True):
        np.testing.assert_allclose(b[0], a[0][:, shuffle], atol=1e-5)
    query = Surrogate(messages, Query()).fit(made, recipe(2), **FEW)
    assert query.resume(starts[0].case, made[1].isel(time=[0]), [0.03, 0.2])["a"].shape == (2, support.size)
