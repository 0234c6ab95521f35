"""Export for ParaView: what is written is read back by another program with equal values, cells and types."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import Delaunay
from typer.testing import CliRunner

from sciml import cli, data, problems
from sciml.cli._app import app
from sciml.data import exporters
from sciml.data.exporters._vtk import write_vtu
from sciml.errors import InputError
from sciml.problem import Case
from sciml.support import Grid, Mesh, Points, Support

meshio = pytest.importorskip("meshio")
RNG = np.random.default_rng(0)
TIMES = [0.0, 0.125, 0.5]


def made(support: Support, position: np.ndarray | None = None, fields: tuple[str, ...] = ()) -> object:
    d = support.dimensions
    names = fields or ("u", "v", "w")[:d]
    problem = problems.DataProblem("smoke", list(names), ["rate"], d)
    case = problem.case(rate=1.0)
    values = {n: RNG.normal(size=(3, *support.shape)) for n in names}
    if position is None:
        return data.solution(case, TIMES, values, support)
    ends = zip(position.min((0, 1)).tolist(), position.max((0, 1)).tolist(), strict=True)
    case = Case(problem, {"rate": 1.0}, {}, extents=tuple(ends))
    coords = {a: position[..., k] for k, a in zip(range(d), "xyz", strict=False)}
    cells = dict(support.cells) if isinstance(support, Mesh) else None
    return data.solution(case, TIMES, {n: (("time", "node"), v) for n, v in values.items()}, coords, connectivity=cells)


def exported(tmp_path: Path, solutions: list, dtype: str | None = None) -> Path:
    data.write(data.pack(solutions, dtype=dtype), tmp_path / "a.h5")
    return exporters.get("vtu").export_tree(tmp_path / "a.h5", tmp_path / "out")


def series(place: Path) -> list[tuple[float, object]]:
    rows = ElementTree.parse(place).getroot().iter("DataSet")
    return [(float(r.get("timestep")), meshio.read(place.parent / r.get("file"))) for r in rows]


def triangles(n: int) -> Mesh:
    points = RNG.random((n, 2))
    return Mesh(points, {"triangle": Delaunay(points).simplices.astype(int)})


def tetrahedra(n: int) -> Mesh:
    points = RNG.random((n, 3))
    return Mesh(points, {"tetrahedron": Delaunay(points).simplices.astype(int)})


def mixed() -> Mesh:
    points = np.array([[0, 0], [1, 0], [2, 0], [0, 1], [1, 1], [2, 1.0]])
    return Mesh(points, {"quadrilateral": np.array([[0, 1, 4, 3]]), "triangle": np.array([[1, 2, 4], [2, 5, 4]])})


@pytest.mark.parametrize("make", [lambda: triangles(30), lambda: tetrahedra(30), mixed])
def test_meshes(tmp_path: Path, make) -> None:
    mesh = make()
    solution = made(mesh)
    found = series(exported(tmp_path, [solution]) / "case0000.pvd")
    assert [t for t, _ in found] == TIMES
    d = mesh.dimensions
    for k, (_, read) in enumerate(found):
        np.testing.assert_array_equal(read.points[:, :d], mesh.position)
        assert not read.points[:, d:].any() and read.points.dtype == np.float64
        theirs = {c.type: c.data for c in read.cells}
        names = {"triangle": "triangle", "quadrilateral": "quad", "tetrahedron": "tetra"}
        assert set(theirs) == {names[kind] for kind in mesh.cells}
        for kind, cells in mesh.cells.items():
            np.testing.assert_array_equal(theirs[names[kind]], cells)
        for i, name in enumerate("uvw"[:d]):
            np.testing.assert_array_equal(read.point_data[name], solution[name].values[k])
            np.testing.assert_array_equal(read.point_data["velocity"][:, i], solution[name].values[k])
        assert read.point_data["velocity"].shape == (mesh.size, 3)


def test_cases_with_meshes_of_their_own_and_float32(tmp_path: Path) -> None:
    meshes = [triangles(20), triangles(35)]
    solutions = [made(m) for m in meshes]
    root = exported(tmp_path, solutions, "float32")
    assert sorted(p.name for p in root.iterdir()) == ["case0000", "case0000.pvd", "case0001", "case0001.pvd"]
    for i, (mesh, solution) in enumerate(zip(meshes, solutions, strict=True)):
        for k, (_, read) in enumerate(series(root / f"case{i:04d}.pvd")):
            assert read.points.shape[0] == mesh.size and read.point_data["u"].dtype == np.float32
            np.testing.assert_array_equal(read.point_data["u"], solution["u"].values[k].astype(np.float32))


def test_moving_nodes(tmp_path: Path) -> None:
    mesh = tetrahedra(25)
    position = mesh.position + 0.01 * np.arange(3)[:, None, None]
    for k, (_, read) in enumerate(series(exported(tmp_path, [made(mesh, position)]) / "case0000.pvd")):
        np.testing.assert_allclose(read.points, position[k], rtol=1e-15)


def test_loose_points_that_come_and_go(tmp_path: Path) -> None:
    problem = problems.DataProblem("smoke", ["u", "v"], ["rate"])
    count, position = np.array([3, 5, 4]), RNG.random((3, 5, 2))
    values = {n: (("time", "node"), RNG.random((3, 5))) for n in "uv"}
    case = Case(problem, {"rate": 1.0}, {}, extents=((0.0, 1.0), (0.0, 1.0)))
    solution = data.solution(case, TIMES, values, {"x": position[..., 0], "y": position[..., 1]}, node_count=count)
    for k, (_, read) in enumerate(series(exported(tmp_path, [solution]) / "case0000.pvd")):
        np.testing.assert_allclose(read.points[:, :2], position[k, : count[k]], rtol=1e-15)
        np.testing.assert_array_equal(read.point_data["u"], values["u"][1][k, : count[k]])
        assert [c.type for c in read.cells] == ["vertex"] and len(read.cells[0].data) == count[k]


@pytest.mark.parametrize("d", [2, 3])
def test_particles_that_move(tmp_path: Path, d: int) -> None:
    """x = X + d at every time, with displacement and velocity as vectors in space, and what particles are."""
    first, moved = RNG.random((7, d)), 0.1 * np.arange(3)[:, None, None] * RNG.normal(size=(7, d))
    names = [f"{n}_{a}" for n in ("displacement", "velocity") for a in "xyz"[:d]]
    problem = problems.DataProblem("loose", names, [], d, velocity=names[d:])
    speed = np.broadcast_to(moved[1] / 0.1, moved.shape)
    values = np.moveaxis(np.concatenate([moved, speed], axis=-1), -1, 0)
    position = first + moved
    solution = data.solution(
        Case(problem, extents=((-1.0, 2.0),) * d), TIMES, {n: (("time", "node"), v) for n, v in
        zip(names, values, strict=True)}, dict(zip("xyz", np.moveaxis(position, -1, 0), strict=False)),
        node_attributes={"type": np.arange(7)},
    )  # fmt: skip
    found = series(exported(tmp_path, [solution], "float64") / "case0000.pvd")
    assert [t for t, _ in found] == TIMES
    for k, (_, read) in enumerate(found):
        np.testing.assert_array_equal(read.points[:, :d], position[k])
        assert [c.type for c in read.cells] == ["vertex"] and len(read.cells[0].data) == 7
        for name, vectors in (("displacement", moved[k]), ("velocity", speed[k])):
            assert read.point_data[name].shape == (7, 3) and not read.point_data[name][:, d:].any()
            np.testing.assert_array_equal(read.point_data[name][:, :d], vectors)
        np.testing.assert_allclose(read.points - read.point_data["displacement"], found[0][1].points, atol=1e-15)
        np.testing.assert_array_equal(read.point_data["node_type"], np.arange(7))


@pytest.mark.parametrize("d", [1, 2, 3])
def test_grids_are_cells(tmp_path: Path, d: int) -> None:
    faces = tuple(np.linspace(0, 1 + k, n + 1) for k, n in enumerate((4, 3, 2)[:d]))
    grid = Grid(faces)
    solution = made(grid)
    found = series(exported(tmp_path, [solution]) / "case0000.pvd")
    for k, (_, read) in enumerate(found):
        (block,) = read.cells
        assert block.type == ("line", "quad", "hexahedron")[d - 1]
        centres = read.points[block.data].mean(1)[:, :d]
        np.testing.assert_allclose(centres, grid.points().reshape(-1, d), atol=1e-14)
        np.testing.assert_array_equal(read.cell_data["u"][0], solution["u"].values[k].ravel())
        assert not read.point_data
    kind = {2: "quadrilateral", 3: "hexahedron"}.get(d)
    if kind:  # vertices run as those of a mesh do: anticlockwise, the lower ones first
        mesh = Mesh(found[0][1].points[:, :d], {kind: found[0][1].cells[0].data})
        assert mesh.weights().sum() == pytest.approx(grid.weights().sum(), rel=1e-12)


def test_cells_outside_of_a_mask_are_left_out(tmp_path: Path) -> None:
    mask = np.ones((4, 5), np.uint8)
    mask[1:3, 2] = 0
    grid = Grid((np.linspace(0, 1, 6), np.linspace(0, 2, 5)), mask=mask)
    solution = made(grid)
    (_, read), *_ = series(exported(tmp_path, [solution]) / "case0000.pvd")
    assert len(read.cells[0].data) == 18 and len(np.unique(read.cells[0].data)) == len(read.points)
    np.testing.assert_array_equal(read.cell_data["v"][0], solution["v"].values[0][mask > 0])
    centres = read.points[read.cells[0].data].mean(1)[:, :2]
    np.testing.assert_allclose(centres, grid.points()[mask > 0], atol=1e-14)


def test_node_attributes_and_points_without_velocity(tmp_path: Path) -> None:
    problem = problems.DataProblem("smoke", ["c"], ["rate"])
    support = Points(RNG.random((6, 2)))
    solution = data.solution(
        problem.case(rate=1.0), TIMES, {"c": RNG.random((3, 6))}, support, node_attributes={"material": np.arange(6)}
    )
    (_, read), *_ = series(exported(tmp_path, [solution]) / "case0000.pvd")
    np.testing.assert_array_equal(read.point_data["node_material"], np.arange(6))
    assert set(read.point_data) == {"c", "node_material"}


def test_arrays_of_more_than_one_block_and_of_all_types(tmp_path: Path) -> None:
    n = 200_001
    points = RNG.random((n, 3))
    given = {t: (100 * RNG.random(n)).astype(t) for t in ("f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")}
    write_vtu(tmp_path / "a.vtu", points, {"vertex": np.arange(n)[:, None]}, given, {"<a & b>": np.arange(n)})
    read = meshio.read(tmp_path / "a.vtu")
    np.testing.assert_array_equal(read.points, points)
    for name, values in given.items():
        np.testing.assert_array_equal(read.point_data[name], values)
        assert read.point_data[name].dtype == values.dtype
    np.testing.assert_array_equal(read.cell_data["<a & b>"][0], np.arange(n))
    with pytest.raises(InputError, match="expected 3 values"):
        write_vtu(tmp_path / "b.vtu", points[:3], {"triangle": np.array([[0, 1, 2]])}, {"u": np.zeros(2)})


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    data.write(data.pack([made(triangles(12))]), tmp_path / "a.h5")
    done = CliRunner().invoke(app, ["export", "vtu", str(tmp_path / "a.h5"), str(tmp_path / "out"), "--json"])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "smoke" / "case0000" / "frame00002.vtu").is_file()
    with pytest.raises(SystemExit) as ended:
        cli.main(["export", "vtu", str(tmp_path / "a.h5"), str(tmp_path / "out")])
    assert ended.value.code == 2 and "exists already" in capsys.readouterr().err


def test_what_is_wrong_leaves_nothing_behind(tmp_path: Path) -> None:
    packed = data.pack([made(triangles(12))])
    with pytest.raises(InputError, match="no subset 'none'"):
        exporters.get("vtu").export_tree(packed, tmp_path / "out", subset="none")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        exporters.get("vtu").export_tree(packed, tmp_path / "file" / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
