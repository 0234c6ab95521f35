"""Rectilinear grids for ParaView: the file's own words, and its values read back, of stretched grids in one to three
dimensions."""

from __future__ import annotations

import base64
import xml.etree.ElementTree as ElementTree
import zlib
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from sciml import data, problems
from sciml.cli._app import app
from sciml.data import exporters, importers
from sciml.errors import InputError
from sciml.support import Grid, Points

TIMES = [0.0, 0.125, 0.5]


def stretched(d: int) -> Grid:
    faces = (np.linspace(0, 2, 6), np.tanh(2 * np.linspace(-1, 1, 5)), np.linspace(0, 1, 4) ** 2)
    return Grid(faces[:d])


def exported(tmp_path: Path, grid: Grid, name: str = "vtr") -> tuple[Path, object]:
    names = ("u", "v", "w")[: grid.dimensions]
    problem = problems.DataProblem("smoke", [*names, "p"], ["rate"], grid.dimensions)
    random = np.random.default_rng(0)
    values = {n: random.normal(size=(3, *grid.shape)).astype(np.float32) for n in (*names, "p")}
    solution = data.solution(problem.case(rate=1.0), TIMES, values, grid)
    data.write(data.pack([solution]), tmp_path / "a.h5")
    return exporters.get(name).export_tree(tmp_path / "a.h5", tmp_path / name), solution


def array(node: ElementTree.Element) -> np.ndarray:
    """As VTK documents it: sizes of the blocks in front, then the blocks, both in base64."""
    kind = {"Float32": "<f4", "Float64": "<f8"}[node.get("type")]
    raw = base64.b64decode(node.text.strip()[: 4 * -(-8 // 3)])
    count = int(np.frombuffer(raw[:8], "<u8")[0])
    head = 4 * -(-8 * (3 + count) // 3)
    sizes = np.frombuffer(base64.b64decode(node.text[:head]), "<u8")[3 : 3 + count]
    body = base64.b64decode(node.text[head:])
    ends = np.cumsum(sizes)
    flat = np.frombuffer(b"".join(zlib.decompress(body[e - s : e]) for s, e in zip(sizes, ends, strict=True)), kind)
    parts = int(node.get("NumberOfComponents", 1))
    return flat.reshape(-1, parts) if parts > 1 else flat


@pytest.mark.parametrize("d", [1, 2, 3])
def test_a_file_says_faces_and_cells(tmp_path: Path, d: int) -> None:
    grid = stretched(d)
    root, solution = exported(tmp_path, grid)
    listed = ElementTree.parse(root / "case0000.pvd").getroot().iter("DataSet")
    for k, (time, row) in enumerate(zip(TIMES, listed, strict=True)):
        assert float(row.get("timestep")) == time and row.get("file").endswith(".vtr")
        tree = ElementTree.parse(root / row.get("file")).getroot()
        assert tree.get("type") == "RectilinearGrid"
        extent = " ".join(f"0 {n}" for n in [*reversed(grid.shape), 0, 0][:3])
        assert {tree.find("RectilinearGrid").get("WholeExtent"), tree.find(".//Piece").get("Extent")} == {extent}
        axes = [array(a) for a in tree.iter("DataArray") if a.get("Name") in "xyz"]
        for a, faces in enumerate(grid.faces):
            np.testing.assert_allclose(axes[a], faces, rtol=0.0, atol=1e-13)  # data sets keep centres
        assert all(len(a) == 1 for a in axes[d:])
        found = {a.get("Name"): array(a) for a in tree.find(".//CellData")}
        np.testing.assert_array_equal(found["p"], solution["p"].values[k].ravel())  # x runs fastest
        if d > 1:
            assert found["velocity"].shape == (grid.size, 3)
            np.testing.assert_array_equal(found["velocity"][:, d - 1], solution["uvw"[d - 1]].values[k].ravel())


def test_what_is_written_can_be_read_again(tmp_path: Path) -> None:
    grid = stretched(3)
    root, solution = exported(tmp_path, grid)
    importers.import_data(root, tmp_path / "back.h5")
    again = data.case(data.open(tmp_path / "back.h5"), 0)
    np.testing.assert_allclose(again[1]["time"].values, TIMES)
    for axis in range(3):
        np.testing.assert_allclose(again[0].support.centres[axis], grid.centres[axis], rtol=1e-6, atol=1e-7)
    for name, own in (("p", "p"), ("velocity_y", "v")):
        np.testing.assert_array_equal(again[1][name].values, solution[own].values)


def test_hexahedra_hold_the_same_cells(tmp_path: Path) -> None:
    meshio = pytest.importorskip("meshio")
    grid = stretched(3)
    root, solution = exported(tmp_path, grid, "vtu")
    read = meshio.read(root / "case0000" / "frame00001.vtu")
    centres = read.points[read.cells[0].data].mean(1)
    np.testing.assert_allclose(centres, grid.points().reshape(-1, 3), atol=1e-14)
    for k, name in enumerate("uvw"):
        np.testing.assert_array_equal(read.cell_data["velocity"][0][:, k], solution[name].values[1].ravel())


def test_masks_and_nodes_are_referred_to_vtu_and_nothing_is_left(tmp_path: Path) -> None:
    plain = stretched(2)
    mask = np.ones(plain.shape)
    mask[0, 0] = 0
    with pytest.raises(
        InputError, match="vtr: expected values of all cells of a grid, got a grid with a mask; use vtu"
    ):
        exported(tmp_path, Grid(plain.faces, mask=mask))
    assert not (tmp_path / "vtr").exists()
    problem = problems.DataProblem("smoke", ["c"], ["rate"])
    support = Points(np.random.default_rng(0).random((6, 2)))
    data.write(data.pack([data.solution(problem.case(rate=1.0), [0.0], {"c": np.zeros((1, 6))}, support)]),
               tmp_path / "b.h5")  # fmt: skip
    with pytest.raises(InputError, match="got a Points; use vtu"):
        exporters.get("vtr").export_tree(tmp_path / "b.h5", tmp_path / "out")


def test_the_command_writes_them(tmp_path: Path) -> None:
    exported(tmp_path, stretched(3))
    found = CliRunner().invoke(app, ["export", "vtr", str(tmp_path / "a.h5"), str(tmp_path / "more")])
    assert found.exit_code == 0 and len(list((tmp_path / "more" / "smoke" / "case0000").glob("*.vtr"))) == 3
