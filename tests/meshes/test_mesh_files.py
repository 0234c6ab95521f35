"""Meshes to and from files, and by Gmsh."""

from __future__ import annotations

import shutil
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import Delaunay

from sciml import meshes
from sciml.errors import FileFormatError, InputError, SolverError
from sciml.geometry import Box, Disc
from sciml.meshes import _gmsh
from sciml.support import Mesh

meshio = pytest.importorskip("meshio")
REGION = Box((0, 0), (2, 1)) - Disc((0.7, 0.5), 0.2)
CUBE = np.array([(x, y, z) for z in (0, 1) for x, y in ((0, 0), (1, 0), (1, 1), (0, 1))], dtype=float)


def _area(mesh: Mesh) -> np.ndarray:
    p = mesh.position[mesh.cells["triangle"]]
    a, b = p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]
    return (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) / 2


@pytest.mark.parametrize("ending", ["msh", "vtu", "vtk", "xdmf", "mesh", "inp"])
def test_round_trip_in_the_plane(tmp_path: Path, ending: str) -> None:
    mesh = meshes.triangulate(REGION, 0.15)
    again = meshes.read(meshes.write(tmp_path / f"a.{ending}", mesh))
    assert again.dimensions == 2
    np.testing.assert_allclose(again.position, mesh.position, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(again.cells["triangle"], mesh.cells["triangle"])
    assert [p.name for p in tmp_path.iterdir()] == [f"a.{ending}"]


@pytest.mark.parametrize("ending", ["msh", "vtu", "vtk", "xdmf"])
def test_round_trip_of_solids_of_several_kinds(tmp_path: Path, ending: str) -> None:
    position = np.concatenate([CUBE, [(0.5, 0.5, 2.0), (2, 0, 0), (2, 0, 1), (2, 1.5, 0.5)]])
    mesh = Mesh(
        position,
        {
            "hexahedron": np.array([np.arange(8)]), "pyramid": np.array([[4, 5, 6, 7, 8]]),
            "tetrahedron": np.array([[9, 10, 11, 2]]), "prism": np.array([[1, 2, 9, 5, 6, 10]]),
        },
    )  # fmt: skip
    again = meshes.read(meshes.write(tmp_path / f"a.{ending}", mesh))
    np.testing.assert_allclose(again.position, mesh.position, atol=1e-14)
    assert set(again.cells) == set(mesh.cells)
    np.testing.assert_allclose(again.weights().sum(), mesh.weights().sum(), rtol=1e-12)
    for kind in ("hexahedron", "pyramid", "prism"):
        np.testing.assert_array_equal(again.cells[kind], mesh.cells[kind])


@pytest.mark.parametrize("ending", ["msh", "vtu", "vtk", "xdmf"])
def test_values_at_nodes_and_in_cells_go_with_a_mesh(tmp_path: Path, ending: str) -> None:
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [2, 0.5]], float)
    mesh = Mesh(square, {"triangle": np.array([[1, 4, 2]]), "quadrilateral": np.array([[0, 1, 2, 3]])})
    nodes = {"a": np.arange(5) / 3, "vector": np.arange(10.0).reshape(5, 2), "inside": np.arange(5) > 2}
    cells = {"quality": np.array([0.1, 0.7])}
    if ending == "msh":
        with pytest.raises(InputError, match=r"cell_values: a.msh: .* triangle and quadrilateral; use .vtu"):
            meshes.write(tmp_path / "a.msh", mesh, cell_values=cells)
        mesh = Mesh(square, {"triangle": np.array([[1, 4, 2], *TWO])})
        cells = {"quality": np.array([0.1, 0.7, 0.3])}
    path = meshes.write(tmp_path / f"a.{ending}", mesh, node_values=nodes, cell_values=cells)
    again, at_nodes, in_cells = meshes.read_values(path)
    np.testing.assert_array_equal(again.position, mesh.position)
    for name, value in nodes.items():
        np.testing.assert_array_equal(at_nodes[name], value)
    order = list(again.cells) == list(mesh.cells)
    np.testing.assert_array_equal(in_cells["quality"], cells["quality"] if order else cells["quality"][::-1])
    for given, words in (
        ([1], r"node_values: expected name -> values, got \[1\]"),
        ({"a": np.ones(4)}, r"node_values: a: expected numbers \(5,\)"),
        ({"a": ["x"] * 5}, "expected"),
    ):
        with pytest.raises(InputError, match=words):
            meshes.write(path, mesh, node_values=given)
    with pytest.raises(InputError, match=r"cell_values: q: expected numbers \([23],\)"):
        meshes.write(path, mesh, cell_values={"q": np.ones(5)})


def test_values_of_what_is_left_out_are_left_out(tmp_path: Path) -> None:
    points = np.array([*SQUARE, [5, 5, 5]], float)[[4, 0, 1, 2, 3]]
    cells = np.array([[1, 2, 2], [1, 3, 2], [1, 3, 4]])  # flat, clockwise, as it should be
    given = {"at": np.arange(5.0)}, {"of": [np.arange(3.0)]}
    meshio.Mesh(points, [("triangle", cells)], *given).write(tmp_path / "a.vtu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mesh, at_nodes, in_cells = meshes.read_values(tmp_path / "a.vtu")
    assert at_nodes["at"].tolist() == [1, 2, 3, 4] and in_cells["of"].tolist() == [1, 2]
    np.testing.assert_array_equal(mesh.position[mesh.cells["triangle"][0]], [[0, 0], [1, 0], [1, 1]])


def test_clockwise_triangles_are_turned_and_told_of(tmp_path: Path) -> None:
    mesh = meshes.triangulate(REGION, 0.2)
    cells = mesh.cells["triangle"].copy()
    cells[::2] = cells[::2, ::-1]
    meshio.Mesh(np.column_stack([mesh.position, np.zeros(mesh.size)]), [("triangle", cells)]).write(tmp_path / "a.vtu")
    with pytest.warns(UserWarning, match=f"{len(cells[::2])} of {len(cells)} triangle cells were clockwise: turned"):
        again = meshes.read(tmp_path / "a.vtu")
    assert _area(again).min() > 0


def test_inverted_tetrahedra_and_hexahedra_are_turned(tmp_path: Path) -> None:
    points = np.random.default_rng(0).random((60, 3))
    tets = Delaunay(points).simplices.astype(int)
    meshio.Mesh(points, [("tetra", tets)]).write(tmp_path / "a.vtu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = meshes.read(tmp_path / "a.vtu")
    p = again.position[again.cells["tetrahedron"]]
    assert np.linalg.det(p[:, 1:] - p[:, :1]).min() > 0
    meshio.Mesh(CUBE, [("hexahedron", [[4, 5, 6, 7, 0, 1, 2, 3]])]).write(tmp_path / "b.vtu")
    with pytest.warns(UserWarning, match="1 of 1 hexahedron cells were inverted"):
        np.testing.assert_array_equal(meshes.read(tmp_path / "b.vtu").cells["hexahedron"], [np.arange(8)])


SQUARE = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0.0]]
TWO = [[0, 1, 2], [0, 2, 3]]


@pytest.mark.parametrize(
    ("points", "cells", "words", "nodes"),
    [
        ([*SQUARE, [0.5, 0, 0]], [*TWO, [0, 4, 1]], "1 of 3 triangle cells have no volume: left out", 4),
        (SQUARE, [*TWO, [0, 0, 1]], "1 of 3 triangle cells have no volume", 4),
        ([*SQUARE, [5, 5, 5]], TWO, "1 of 5 nodes belong to no cell: left out", 4),
        ([*SQUARE, [np.nan, 0, 0]], TWO, "1 of 5 nodes belong to no cell: left out", 4),
        ([*SQUARE, [5, 5, 0], [6, 5, 0], [5, 6, 0]], [*TWO, [4, 5, 6]], "2 parts that share no node", 7),
    ],
)
def test_what_does_no_harm_is_put_right(tmp_path: Path, points: list, cells: list, words: str, nodes: int) -> None:
    meshio.Mesh(np.array(points, float), [("triangle", np.array(cells))]).write(tmp_path / "a.vtu")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        mesh = meshes.read(tmp_path / "a.vtu")
    assert any(words in str(w.message) for w in told)
    assert mesh.size == nodes and mesh.dimensions == 2 and mesh.weights().min() > 0
    assert all("\n" not in str(w.message) for w in told)


@pytest.mark.parametrize(
    ("points", "cells", "words"),
    [
        ([[0, 0, 0], [1, 0, 0], [1, np.nan, 0], [0, 1, 0.0]], [("triangle", TWO)], "node 2 of a cell is not finite"),
        (SQUARE, [("quad", [[0, 2, 1, 3]])], "crosses itself"),
        (SQUARE, [("vertex", [[0], [1]])], "no cells of a known kind"),
        ([[0, 0, 0], [1, 1, 0], [2, 2, 0.0]], [("triangle", [[0, 1, 2]])], "no cell has a volume"),
        (SQUARE, [("triangle", [[0, 1, 7]])], "names node 7"),
    ],
)
def test_refuses(tmp_path: Path, points: list, cells: list, words: str) -> None:
    meshio.Mesh(np.array(points, float), [(k, np.array(c)) for k, c in cells]).write(tmp_path / "a.vtu")
    with pytest.raises(FileFormatError, match=words) as raised:
        meshes.read(tmp_path / "a.vtu")
    assert "\n" not in str(raised.value) and "a.vtu" in str(raised.value)


def test_boundary_cells_and_nodes_on_edges_are_left_out(tmp_path: Path) -> None:
    """Lines beside triangles, and triangles of six nodes."""
    points = np.array([*SQUARE[:3], [0.5, 0, 0], [1, 0.5, 0], [0.5, 0.5, 0]], float)
    meshio.Mesh(points, [("line", np.array([[0, 1]])), ("triangle6", np.array([[0, 1, 2, 3, 4, 5]]))]).write(
        tmp_path / "a.vtu"
    )
    with pytest.warns(UserWarning, match="3 of 6 nodes"):
        mesh = meshes.read(tmp_path / "a.vtu")
    assert set(mesh.cells) == {"triangle"} and mesh.size == 3


def test_a_surface_in_space_stays_there(tmp_path: Path) -> None:
    points = np.array([SQUARE[0], [1, 0, 1], *SQUARE[2:]])
    meshio.Mesh(points, [("triangle", np.array(TWO))]).write(tmp_path / "a.vtu")
    assert meshes.read(tmp_path / "a.vtu").dimensions == 3


def test_files_that_are_none(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    with pytest.raises(InputError, match="is not a file"):
        meshes.read(tmp_path / "none.vtu")
    for name in ("a.vtu", "a.msh", "a.strange", "a.vtk"):
        (tmp_path / name).write_text("nothing of the kind")
        with pytest.raises(FileFormatError, match="not readable as a mesh") as raised:
            meshes.read(tmp_path / name)
        assert "\n" not in str(raised.value)
    mesh = Mesh(np.array(SQUARE)[:, :2], {"triangle": np.array(TWO)})
    with pytest.raises(InputError, match="cannot write") as refused:
        meshes.write(tmp_path / "a.strange", mesh)
    assert str(refused.value).count(str(tmp_path)) == str(refused.value).count(str(tmp_path / "a.strange"))
    with pytest.raises(InputError, match="cannot write"):
        meshes.write(tmp_path / "no" / "a.vtu", mesh)
    assert capfd.readouterr() == ("", "")


def test_gmsh_that_is_missing_fails_or_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="gmsh: the program is not installed"):
        meshes.gmsh(REGION, 0.1)
    program = tmp_path / "gmsh"
    for body, words in (("echo wrong geometry >&2\nexit 3", "exit status 3: wrong geometry"), ("exit 0", "status 0"),
                        ("exec /bin/sleep 60", "no answer within 0.5 s")):  # fmt: skip
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
        with pytest.raises(SolverError, match=words):
            meshes.gmsh(REGION, 0.2, seconds=0.5)


def test_the_script_of_gmsh_says_all_of_the_boundary() -> None:
    text = _gmsh.script(REGION, 0.1)
    assert text.count("Curve Loop") == 2 and "Plane Surface(1) = {1, 2};" in text and "FromCurvature" not in text
    with pytest.raises(InputError, match="2 parts"):
        _gmsh.script(Disc((0, 0), 1.0) | Disc((3, 0), 1.0), 0.3)


@pytest.mark.integration
@pytest.mark.skipif(shutil.which("gmsh") is None, reason="Gmsh is not installed")
def test_gmsh(tmp_path: Path) -> None:
    mesh, ours = meshes.gmsh(REGION, 0.06), meshes.triangulate(REGION, 0.06)
    assert _area(mesh).min() > 0 and mesh.dimensions == 2
    np.testing.assert_allclose(mesh.weights().sum(), ours.weights().sum(), rtol=1e-12)  # the same boundary nodes
    assert 0.8 < mesh.size / ours.size < 1.25
    # what it writes itself is read as well, its own format among them
    source = tmp_path / "a.geo"
    source.write_text(_gmsh.script(REGION, 0.06))
    subprocess.run(["gmsh", str(source), "-2", "-v", "0", "-o", str(tmp_path / "a.msh")], check=True, timeout=60)
    again = meshes.read(tmp_path / "a.msh")
    np.testing.assert_allclose(np.sort(again.weights()), np.sort(mesh.weights()), rtol=1e-10)
