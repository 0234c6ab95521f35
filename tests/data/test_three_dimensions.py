"""Data on the nodes of meshes, labelled for xarray, in two and in three dimensions: what goes in comes out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from _make import assert_same_solution
from scipy.spatial import Delaunay
from typer.testing import CliRunner

from sciml import data, meshes, problems
from sciml.cli._app import app
from sciml.geometry import Box, Disc
from sciml.problem import Case
from sciml.support import Mesh

RNG = np.random.default_rng(5)
TIMES = np.array([0.0, 0.5, 2.0])
KIND = {2: "triangle", 3: "tetrahedron"}


def problem(d: int) -> problems.DataProblem:
    return problems.DataProblem("smoke", [*"uvw"[:d], "p"], ["rate"], d)


def mesh(d: int, n: int) -> Mesh:
    if d == 2:
        return meshes.triangulate(Box((0, 0), (1, 1)) - Disc((0.5, 0.5), 0.2), n**-0.5)
    points = RNG.random((n, 3))
    return Mesh(points, {"tetrahedron": Delaunay(points).simplices.astype(int)})


def solution(where: Mesh, rate: float, *, position: np.ndarray | None = None) -> xr.Dataset:
    d = where.dimensions
    p = where.position if position is None else position
    x = [p[..., k] if p.ndim == 3 else np.broadcast_to(p[:, k], (len(TIMES), len(p))) for k in range(d)]
    t = TIMES[:, None]
    values = {n: np.sin(rate * x[k]) * np.cos(t + x[k - 1]) for k, n in enumerate("uvw"[:d])}
    values["p"] = sum(x) * np.exp(-rate * t)
    ends = tuple(zip(p.reshape(-1, d).min(0).tolist(), p.reshape(-1, d).max(0).tolist(), strict=True))
    case = Case(problem(d), {"rate": rate}, {}, extents=ends)
    if position is None:
        return data.solution(case, TIMES, values, where)
    fields = {n: (("time", "node"), v) for n, v in values.items()}
    coords = {a: position[..., k] for k, a in zip(range(d), "xyz", strict=False)}
    return data.solution(case, TIMES, fields, coords, connectivity=dict(where.cells))


@pytest.mark.parametrize("ending", ["h5", "zarr"])
@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("moving", [False, True])
def test_cases_with_meshes_of_their_own(tmp_path: Path, d: int, moving: bool, ending: str) -> None:
    where = [mesh(d, n) for n in (40, 70, 55)]
    paths = [m.position + 0.02 * np.sin(TIMES)[:, None, None] * m.position[:, ::-1] if moving else None for m in where]
    made = [solution(m, 1.0 + k, position=p) for k, (m, p) in enumerate(zip(where, paths, strict=True))]
    file = tmp_path / f"a.{ending}"
    data.write(data.pack(made, dtype=None), file)
    assert data.validate(file)["checksums"] == 3
    opened = data.open(file)
    axes = "xyz"[:d]
    assert opened["node_row_size"].values.tolist() == [m.size for m in where]
    assert opened["x"].dims == (("obs",) if moving else ("node",))
    for i, (m, path, source) in enumerate(zip(where, paths, made, strict=True)):
        case, one = data.case(opened, i)
        assert_same_solution(one, source)
        assert one.sizes == {"time": 3, "node": m.size, **_cell_sizes(one)} and set(one.coords) == {"time", *axes}
        for a in axes:
            assert one[a].dims == (("time", "node") if moving else ("node",)) and one[a].attrs["axis"] == a.upper()
            assert one[a].attrs["units"] == "m"
        (name,) = [n for n in map(str, one.variables) if n.startswith("connectivity")]
        np.testing.assert_array_equal(one[name].values, m.cells[KIND[d]])
        assert one[name].attrs["cf_role"] == {2: "face", 3: "volume"}[d] + "_node_connectivity"
        assert one[name].attrs["start_index"] == 0 and case.parameters["rate"] == 1.0 + i
        for frame in range(3):
            found = data.support(opened, i, frame=frame)
            assert isinstance(found, Mesh) and set(found.cells) == {KIND[d]}
            np.testing.assert_array_equal(found.position, m.position if path is None else path[frame])
        # labelled: by time, and by where
        np.testing.assert_array_equal(one["p"].sel(time=0.5), source["p"].values[1])
        there = (one["x"].isel(time=0) if moving else one["x"]).compute() > 0.5
        right = one["p"].isel(time=0).where(there, drop=True)
        assert 0 < right.size < m.size


def _cell_sizes(one: xr.Dataset) -> dict[str, int]:
    return {str(k): v for k, v in one.sizes.items() if str(k).startswith(("cell", "vertex"))}


@pytest.mark.parametrize("d", [2, 3])
def test_integrals_of_a_stored_solution(tmp_path: Path, d: int) -> None:
    """∫ Σ xᵢ dV over the mesh, from what the file says of it alone."""
    m = mesh(d, 60)
    data.write(data.pack([solution(m, 0.0)], dtype=None), tmp_path / "a.h5")
    opened = data.open(tmp_path / "a.h5")
    weights = data.support(opened, 0).weights()
    p = m.position[m.cells[KIND[d]]]
    volume = np.abs(np.linalg.det(p[:, 1:] - p[:, :1])) / {2: 2, 3: 6}[d]
    exact = (volume * p.mean(1).sum(1)).sum()
    np.testing.assert_allclose(data.case(opened, 0)[1]["p"].values @ weights, exact, rtol=1e-12)


def test_several_kinds_of_solids(tmp_path: Path) -> None:
    cube = np.array([(x, y, z) for z in (0, 1) for x, y in ((0, 0), (1, 0), (1, 1), (0, 1))], dtype=float)
    position = np.concatenate([cube, [(0.5, 0.5, 2.0), (2, 0, 0), (2, 0, 1)]])
    several = Mesh(
        position,
        {
            "hexahedron": np.array([np.arange(8)]), "pyramid": np.array([[4, 5, 6, 7, 8]]),
            "prism": np.array([[1, 2, 9, 5, 6, 10]]),
        },
    )  # fmt: skip
    made = [solution(several, 1.0), solution(Mesh(position, {"hexahedron": np.array([np.arange(8)])}), 2.0)]
    made[1] = solution(
        Mesh(position, {"hexahedron": several.cells["hexahedron"], "pyramid": several.cells["pyramid"]}), 2.0
    )
    data.write(data.pack(made, dtype=None), tmp_path / "a.h5")
    opened = data.open(tmp_path / "a.h5")
    assert data.validate(tmp_path / "a.h5")["checksums"] == 2
    found = [data.support(opened, i) for i in (0, 1)]
    assert set(found[0].cells) == {"hexahedron", "pyramid", "prism"} and set(found[1].cells) == {
        "hexahedron",
        "pyramid",
    }
    assert found[0].weights().sum() == pytest.approx(1 + 1 / 3 + 1 / 2, rel=1e-12)
    assert found[1].weights().sum() == pytest.approx(1 + 1 / 3, rel=1e-12)
    assert_same_solution(data.case(opened, 0)[1], made[0])


def test_a_surface_of_quadrilaterals_in_space_is_not_taken_for_tetrahedra(tmp_path: Path) -> None:
    position = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0.5], [0, 1, 0.5], [2, 0, 0], [2, 1, 0.5]])
    surface = Mesh(position, {"quadrilateral": np.array([[0, 1, 2, 3], [1, 4, 5, 2]])})
    data.write(data.pack([solution(surface, 1.0)], dtype=None), tmp_path / "a.h5")
    found = data.support(data.open(tmp_path / "a.h5"), 0)
    assert set(found.cells) == {"quadrilateral"}
    assert found.weights().sum() == pytest.approx(2 * np.sqrt(1.25), rel=1e-12)


@pytest.mark.parametrize("d", [2, 3])
def test_info_says_where_values_live(tmp_path: Path, d: int) -> None:
    where = [mesh(d, n) for n in (40, 70)]
    data.write(data.pack([solution(m, 1.0 + k) for k, m in enumerate(where)]), tmp_path / "a.h5")
    done = CliRunner().invoke(app, ["info", str(tmp_path / "a.h5")])
    assert done.exit_code == 0, done.output
    text = " ".join(done.output.split())
    sizes = [m.size for m in where]
    cells = sorted(len(m.cells[KIND[d]]) for m in where)
    assert f"nodes {min(sizes)} to {max(sizes)} in {d}-D" in text
    assert f"cells {cells[0]} to {cells[1]} {'triangles' if d == 2 else 'tetrahedra'}" in text
    told = json.loads(CliRunner().invoke(app, ["info", str(tmp_path / "a.h5"), "--json"]).output)
    assert told["nodes"] == {
        "least": min(sizes), "most": max(sizes), "dimensions": d, "moving": False,
        "cells": {KIND[d]: {"least": cells[0], "most": cells[1]}},
    }  # fmt: skip
