"""Operators on graphs as solvers: meshes of their own for each case, masked and periodic grids, loose points."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from _made import FEW, SPEEDS, cube, hole, own, recipe, started, triangles, values, waves

from sciml import data
from sciml.operators import PIORF, MeshGraphNet
from sciml.solvers import Surrogate, load
from sciml.support import Mesh, Points
from sciml.training import Autoregressive, Query, Running, Steady

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL: dict[str, Any] = {"width": 12, "layers": 2}


def case_of(solution):
    return data.case(data.pack([solution], dtype=None), 0)[0]


def supports_of(kind: str) -> list[Any]:
    if kind == "meshes":
        return [triangles(4 + k, k) for k in range(3)]
    if kind == "points":
        return [Points(np.random.default_rng(k).random((20 + k, 2))) for k in range(3)]
    return [cube(2, mask=hole()) if kind == "masked" else cube(2, 8, periodic=True)] * 3


@pytest.mark.parametrize("operator", [MeshGraphNet, PIORF])
@pytest.mark.parametrize("kind", ["meshes", "points", "masked", "periodic"])
def test_on_every_support(operator, kind, tmp_path):
    supports = supports_of(kind)
    p = own(2, periodic=(kind == "periodic",) * 2)
    made = [waves(s, speed=v, phase=v, problem=p) for s, v in zip(supports, SPEEDS, strict=True)]
    model = Surrogate(operator, **SMALL).fit(made, recipe(40, lr=5e-3), **FEW)
    losses = [r["loss"] for r in model.metrics if "loss" in r]
    assert losses[-1] < 0.8 * losses[0]
    if operator is PIORF:
        assert model.operator.periodic == model.encoding.template.periodic
    case, times = case_of(made[1]), [0.1, 0.2, 0.3]
    found = model.resume(case, made[1].isel(time=[0]), times)
    assert values(found).shape == (3, 2, *supports[1].shape) and np.isfinite(values(found)).all()
    if kind == "masked":
        assert (values(found)[..., hole() == 0] == 0).all()
    model.save(tmp_path / "run")
    again = load(tmp_path / "run")
    assert isinstance(again, Surrogate)
    assert np.array_equal(values(again.resume(case, made[1].isel(time=[0]), times)), values(found))


@pytest.mark.parametrize("operator", [MeshGraphNet, PIORF])
def test_several_meshes_at_once_are_what_each_is_alone(operator):
    meshes = supports_of("meshes")
    made = [waves(m, speed=v, phase=v) for m, v in zip(meshes, SPEEDS, strict=True)]
    model = Surrogate(operator, Autoregressive(history=2), **SMALL).fit(made, recipe(), **FEW)
    starts, times = [started(m, 1, 2) for m in made], np.tile([0.2, 0.4], (3, 1))
    together = list(model.rollout(starts, times))
    for k, start in enumerate(starts):
        for frame, alone in zip(together, model.rollout([start], times[:1]), strict=True):
            assert frame[k].shape == (2, meshes[k].size)
            np.testing.assert_allclose(frame[k], alone[0], atol=1e-5)
    shuffle = np.random.default_rng(0).permutation(meshes[1].size)
    place = np.argsort(shuffle)
    other = Mesh(meshes[1].points()[shuffle], {"triangle": place[meshes[1].cells["triangle"]]})
    start = starts[1]
    moved = dataclasses.replace(start, case=start.case.on(other), support=other, frames=start.frames[..., shuffle])
    for a, b in zip(model.rollout([start], times[:1]), model.rollout([moved], times[:1]), strict=True):
        np.testing.assert_allclose(b[0], a[0][:, shuffle], atol=1e-5)


def test_at_points_it_is_what_lies_between_the_nodes():
    """Asked at points beside the nodes it answers by linear interpolation on the mesh."""
    p, mesh = own(2, steady=True, name="still"), triangles()
    made = [waves(mesh, speed=v, problem=p, phase=v) for v in SPEEDS]
    model = Surrogate(MeshGraphNet, Steady(), **SMALL).fit(made, recipe(), **FEW)
    case, between = p.case(speed=0.3), np.array([[0.31, 0.52], [0.7, 0.21]])
    nodes = values(model.solve(case))
    np.testing.assert_allclose(values(model.solve(case, points=between)), mesh.sample(nodes, between), atol=1e-6)
    query = Surrogate(PIORF, Query(), **SMALL)
    moving = [waves(mesh, speed=v, phase=v) for v in SPEEDS]
    query.fit(moving, recipe(2), **FEW)
    assert query.resume(case_of(moving[1]), moving[1].isel(time=[0]), [0.03, 0.2])["a"].shape == (2, mesh.size)


@pytest.mark.parametrize("operator", [MeshGraphNet, PIORF])
def test_training_that_forgets_gives_the_same_weights(operator):
    made = [waves(m, speed=v) for m, v in zip(supports_of("meshes"), SPEEDS, strict=True)]
    models = [
        Surrogate(operator, **SMALL).fit(
            made, recipe(), validation=None, running=Running(progress=False, forget=forget)
        )
        for forget in (False, True)
    ]
    for a, b in zip(*(m.operator.state_dict().values() for m in models), strict=True):
        assert torch.allclose(a, b, atol=1e-7)
