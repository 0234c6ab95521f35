"""The operator on moving meshes as a solver: meshes of their own for each case, masked and periodic grids."""

from typing import Any

import numpy as np
import pytest
import torch
from _made import FEW, SPEEDS, cube, hole, own, recipe, started, triangles, values, waves

from sciml import data
from sciml.errors import InputError
from sciml.operators import MovingMeshOperator
from sciml.solvers import Surrogate, load
from sciml.support import Points
from sciml.training import Autoregressive

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL: dict[str, Any] = {"width": 12, "layers": 1, "map_width": 4, "map_modes": 4, "map_layers": 1}


def supports_of(kind: str) -> list[Any]:
    if kind == "meshes":
        return [triangles(4 + k, k) for k in range(3)]
    return [cube(2, mask=hole()) if kind == "masked" else cube(2, 8, periodic=True)] * 3


@pytest.mark.parametrize("kind", ["meshes", "masked", "periodic"])
def test_on_every_support_with_cells(kind, tmp_path):
    supports = supports_of(kind)
    p = own(2, periodic=(kind == "periodic",) * 2)
    made = [waves(s, speed=v, phase=v, problem=p) for s, v in zip(supports, SPEEDS, strict=True)]
    model = Surrogate(MovingMeshOperator, **SMALL).fit(made, recipe(40, lr=5e-3), **FEW)
    losses = [r["loss"] for r in model.metrics if "loss" in r]
    assert losses[-1] < 0.8 * losses[0]
    assert model.operator.periodic == model.encoding.template.periodic
    case, times = data.case(data.pack([made[1]], dtype=None), 0)[0], [0.1, 0.2, 0.3]
    found = model.resume(case, made[1].isel(time=[0]), times)
    assert values(found).shape == (3, 2, *supports[1].shape) and np.isfinite(values(found)).all()
    if kind == "masked":
        assert (values(found)[..., hole() == 0] == 0).all()
    model.save(tmp_path / "run")
    again = load(tmp_path / "run")
    assert isinstance(again, Surrogate)
    assert np.array_equal(values(again.resume(case, made[1].isel(time=[0]), times)), values(found))


def test_several_meshes_at_once_are_what_each_is_alone():
    meshes = supports_of("meshes")
    made = [waves(m, speed=v, phase=v) for m, v in zip(meshes, SPEEDS, strict=True)]
    model = Surrogate(MovingMeshOperator, Autoregressive(history=2), **SMALL).fit(made, recipe(), **FEW)
    with torch.no_grad():
        model.operator.mover.map.source.weight.mul_(30)
    starts, times = [started(m, 1, 2) for m in made], np.tile([0.2, 0.4], (3, 1))
    together = list(model.rollout(starts, times))
    for k, start in enumerate(starts):
        for frame, alone in zip(together, model.rollout([start], times[:1]), strict=True):
            assert frame[k].shape == (2, meshes[k].size)
            np.testing.assert_allclose(frame[k], alone[0], atol=1e-4)


def test_loose_points_are_refused_in_a_line():
    points = Points(np.random.default_rng(0).random((20, 2)))
    made = [waves(points, speed=v) for v in SPEEDS]
    with pytest.raises(InputError, match="loose points have no cells; expected a mesh or a grid"):
        Surrogate(MovingMeshOperator, **SMALL).fit(made, recipe(), **FEW)
