"""The cylinder's flows at the nodes of triangles: meshes, what is taken from cells, how cells are asked at nodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import _cfdbench_triangles as triangles
from sciml import data
from sciml.problems import CylinderFlow
from sciml.solver import Start
from sciml.solvers.baselines import Persistence
from sciml.support import Grid
from sciml.training.samples import open_data, table

CASES = ({}, {"radius": 0.025}, {"y_min": -0.02, "x_max": 0.2})
TIMES = np.array([0.0, 0.01, 0.02])
SPLITS = ["train", "test", "validation"]


def on_cells(case, cells=(24, 32)):
    grid = Grid.uniform(case.geometry, cells, masked=True)
    x, y = np.moveaxis(grid.points(), -1, 0)
    u, v = (f * grid.mask * (1 + TIMES[:, None, None]) for f in (1 + 3 * x - 2 * y, 0.5 * x + y))
    fields = {"u": (("time", "y", "x"), u), "v": (("time", "y", "x"), v)}
    coords = {"x": grid.centres[0], "y": grid.centres[1]}
    return data.solution(case, TIMES, fields, coords, mask=grid.mask)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> tuple[Path, Path]:
    """Data on cells, and what is made of them at nodes."""
    folder = tmp_path_factory.mktemp("triangles")
    cases = [CylinderFlow().case(**more, label=f"c{k}", subset="geo") for k, more in enumerate(CASES)]
    data.write(data.pack([on_cells(c) for c in cases], SPLITS, named_splits={"fold_0": SPLITS[::-1]}), folder / "c.h5")
    return folder / "c.h5", triangles.make(folder / "nodes" / "c.h5", folder / "c.h5")


@pytest.mark.parametrize("more", CASES)
def test_meshes_fill_the_channel_without_the_cylinder_and_are_fine_there(more):
    case = CylinderFlow().case(**more)
    mesh = triangles.mesh_of(case)
    p, cells = mesh.points(), mesh.cells["triangle"]
    a, b = p[cells[:, 1]] - p[cells[:, 0]], p[cells[:, 2]] - p[cells[:, 0]]
    double = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    assert double.min() > 0  # none is inverted
    (x0, x1), (y0, y1) = case.geometry.extents
    on = np.flatnonzero(np.abs(np.hypot(*p.T) - case.radius) < 1e-12)
    polygon = len(on) / 2 * np.sin(2 * np.pi / len(on)) * case.radius**2  # what chords leave of the disc
    assert double.sum() / 2 == pytest.approx((x1 - x0) * (y1 - y0) - polygon, rel=1e-12)
    assert 800 <= mesh.size <= 1500 and triangles.AROUND <= len(on) <= 1.1 * triangles.AROUND
    length = np.linalg.norm(np.diff(p[mesh.edges()], axis=1)[:, 0], axis=1)
    assert length[np.isin(mesh.edges(), on).all(1)].max() <= 2 * np.pi * case.radius / triangles.AROUND


@pytest.mark.parametrize("more", CASES)
def test_a_linear_field_is_taken_to_nodes_exactly(more):
    case = CylinderFlow().case(**more)
    grid, nodes = Grid.uniform(case.geometry, (24, 32), masked=True), triangles.mesh_of(case).points()
    sampling = triangles.Sampling(case, grid, nodes)
    given = {n: (1 + 3 * p[:, 0] - 2 * p[:, 1])[None] for n, p in sampling.places.items() if n != "x_max"}
    inside = grid.mask != 0
    values = np.where(inside, 1 + grid.points() @ [3.0, -2.0], np.nan)[None]  # what is solid must not matter
    beyond = np.where(np.isnan(values), 7.0, values)
    np.testing.assert_allclose(sampling(beyond, given)[0], 1 + nodes @ [3.0, -2.0], rtol=0, atol=1e-12)


def test_nothing_moves_on_the_cylinder_and_the_walls_and_the_inlet_has_its_speed(files):
    held = data.open(files[1])
    for i in range(len(CASES)):
        case, solution = data.case(held, i)
        x, y = solution["x"].values, solution["y"].values
        still = (np.abs(np.hypot(x, y) - case.radius) < 1e-9) | np.isin(y, case.geometry.extents[1])
        assert still.sum() > 60
        assert not solution["u"].values[:, still].any() and not solution["v"].values[:, still].any()
        inlet = (x == case.x_min) & ~still
        assert inlet.sum() > 5 and (solution["u"].values[:, inlet] == np.float32(case.inlet_velocity)).all()


def test_cases_times_splits_and_parameters_are_kept(files):
    before, after = (data.open(f) for f in files)
    assert after.attrs["problem"] == before.attrs["problem"] == "cylinder_flow"
    np.testing.assert_array_equal(before["time"], after["time"])
    for name in ("split", "split_fold_0", "subset", "row_size", *str(before.attrs["parameters"]).split()):
        np.testing.assert_array_equal(before[name].values, after[name].values, err_msg=name)
        assert before[name].attrs.get("flag_meanings") == after[name].attrs.get("flag_meanings")
    assert [data.case(after, i)[0].label for i in range(3)] == ["c0", "c1", "c2"]
    assert table(open_data(files[1])[0], "test", None).support(0).same(triangles.mesh_of(data.case(after, 1)[0]))


def test_cells_are_asked_from_their_own_true_frame(files):
    """What stays as it is on cells changes nothing at nodes, and its answers are the true cells at the nodes."""
    held = data.open(files[1])
    case, solution = data.case(held, 1)
    support = open_data(files[1])[0]
    mesh = table(support, "test", None).support(0)
    frame = np.stack([solution[f].values[1] for f in triangles.FIELDS])[None].astype(float)
    start = Start(case, mesh, frame, float(TIMES[1]))
    still = Persistence().fit(files[0], fields=triangles.FIELDS)
    answers, changes = ([f[0] for f in triangles.FromCells(files[0], still, c).rollout([start], TIMES[None, 2:])]
                        for c in (False, True))  # fmt: skip
    np.testing.assert_allclose(changes[0], frame[0], rtol=1e-12, atol=1e-12)
    true = next(triangles.FromCells(files[0]).rollout([start], TIMES[None, 1:2]))[0]
    np.testing.assert_allclose(answers[0], true, rtol=1e-6, atol=1e-6)
    then = next(triangles.FromCells(files[0]).rollout([start], TIMES[None, 2:]))[0]
    np.testing.assert_allclose(then, np.stack([solution[f].values[2] for f in triangles.FIELDS]), atol=1e-6)
