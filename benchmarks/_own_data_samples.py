"""Small genuine sources of layouts that programs write: VTK, OpenFOAM, EnSight, velocimetry, The Well, LagrangeBench.

Each is written as the program that it is of writes it; see the modules of `sciml.data.importers` for the formats.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np


def vtk_series(folder: Path, rng: np.random.Generator) -> Path:
    """Legacy VTK with big-endian bytes, a file a frame."""
    root = folder / "frames"
    root.mkdir()
    for k in range(2):
        head = (
            "# vtk DataFile Version 3.0\na title\nBINARY\nDATASET STRUCTURED_POINTS\nDIMENSIONS 4 3 1\nORIGIN 0 0 0\n"
            "SPACING 0.5 0.5 1\nPOINT_DATA 12\nSCALARS T float 1\nLOOKUP_TABLE default\n"
        )
        values = rng.normal(size=12).astype(">f4").tobytes()
        (root / f"T_{k}.vtk").write_bytes(head.encode() + values + b"\n")
    return root


def vtk_mesh(folder: Path, rng: np.random.Generator) -> Path:
    """VTU as text."""

    def array(kind: str, name: str, width: int, values: np.ndarray) -> str:
        text = " ".join(f"{v:g}" for v in np.ravel(values))
        return f'<DataArray type="{kind}" Name="{name}" NumberOfComponents="{width}" format="ascii">{text}</DataArray>'

    points = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [2, 0.5, 0]])
    cells = array("Int64", "connectivity", 1, np.array([0, 1, 2, 0, 2, 3, 1, 4, 2]))
    cells += array("Int64", "offsets", 1, np.array([3, 6, 9])) + array("UInt8", "types", 1, np.full(3, 5))
    path = folder / "mesh.vtu"
    path.write_text(
        '<?xml version="1.0"?>\n<VTKFile type="UnstructuredGrid" byte_order="LittleEndian">\n<UnstructuredGrid>'
        f'<Piece NumberOfPoints="5" NumberOfCells="3"><PointData>{array("Float64", "p", 1, rng.normal(size=5))}'
        f"</PointData><Points>{array('Float64', 'Points', 3, points)}</Points><Cells>{cells}</Cells></Piece>"
        "</UnstructuredGrid></VTKFile>"
    )
    return path


def openfoam(folder: Path, rng: np.random.Generator) -> Path:
    """Two cubes beside each other at two times."""
    root = folder / "case"
    mesh = root / "constant" / "polyMesh"
    mesh.mkdir(parents=True)

    def text(cls: str, name: str, body: str) -> str:
        return f"FoamFile\n{{\n    version     2.0;\n    format      ascii;\n    class       {cls};\n    object      {name};\n}}\n\n{body}"  # noqa: E501

    def rows(values: list[str]) -> str:
        return f"{len(values)}\n(\n" + "\n".join(values) + "\n)\n"

    points = [(i, j, k) for k in range(2) for j in range(2) for i in range(3)]
    faces = [(1, 4, 10, 7), (0, 6, 9, 3), (0, 1, 7, 6), (3, 9, 10, 4), (0, 3, 4, 1), (6, 7, 10, 9),
             (2, 5, 11, 8), (1, 2, 8, 7), (4, 10, 11, 5), (1, 4, 5, 2), (7, 8, 11, 10)]  # fmt: skip
    owner = [0] * 6 + [1] * 5
    (mesh / "points").write_text(text("vectorField", "points", rows([f"({a} {b} {c})" for a, b, c in points])))
    (mesh / "faces").write_text(text("faceList", "faces", rows([f"4({' '.join(map(str, f))})" for f in faces])))
    (mesh / "owner").write_text(text("labelList", "owner", rows([str(o) for o in owner])))
    (mesh / "neighbour").write_text(text("labelList", "neighbour", rows(["1"])))
    for time in ("0", "0.5"):
        (root / time).mkdir()
        values = rows([f"{v:.5f}" for v in rng.normal(size=2)])
        body = f"dimensions      [0 2 -2 0 0 0 0];\n\ninternalField   nonuniform List<scalar> {values};\n\nboundaryField\n{{\n}}\n"  # noqa: E501
        (root / time / "p").write_text(text("volScalarField", "p", body))
    return root


def ensight(folder: Path, rng: np.random.Generator) -> Path:
    """EnSight Gold as the bytes of C."""
    root = folder / "ensight"
    root.mkdir()
    (root / "flow.case").write_text(
        "FORMAT\ntype: ensight gold\nGEOMETRY\nmodel: flow.geo\nVARIABLE\nscalar per node: 1 p flow.*.p\nTIME\n"
        "time set: 1\nnumber of steps: 2\nfilename start number: 0\nfilename increment: 1\ntime values: 0.5 1.5\n"
    )

    def line(words: str) -> bytes:
        return words.encode().ljust(80, b"\0")

    def whole(*values: int) -> bytes:
        return np.array(values, "<i4").tobytes()

    points = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [2, 0.8, 0]], "<f4")
    (root / "flow.geo").write_bytes(
        line("C Binary") + line("a") + line("b") + line("node id assign") + line("element id assign") + line("part")
        + whole(1) + line("fluid") + line("coordinates") + whole(5) + points.T.tobytes() + line("tria3") + whole(1)
        + whole(2, 5, 3) + line("quad4") + whole(1) + whole(1, 2, 3, 4)
    )  # fmt: skip
    for k in range(2):
        values = rng.normal(size=5).astype("<f4").tobytes()
        (root / f"flow.{k}.p").write_bytes(line("p") + line("part") + whole(1) + line("coordinates") + values)
    return root


def piv(folder: Path, rng: np.random.Generator) -> Path:
    """Insight's text, a file a frame, a bad vector in each."""
    root = folder / "piv"
    root.mkdir()
    head = (
        'TITLE="Run.vec" VARIABLES="X mm", "Y mm", "U m/s", "V m/s", "CHC", DATASETAUXDATA Application="PIV" '
        "ZONE I=4, J=3, F=POINT\n"
    )
    for k in range(2):
        rows = [
            f"{0.5 * i:.6f}, {-0.25 * j:.6f}, {rng.normal():.6f}, {rng.normal():.6f}, {-1 if (i, j) == (1, k) else 1}\n"
            for j in range(3)
            for i in range(4)
        ]
        (root / f"Run{k:06d}.vec").write_text(head + "".join(rows))
    return root


def davis(folder: Path, rng: np.random.Generator) -> Path:
    """DaVis' text with decimal commas."""
    path = folder / "B00001.txt"
    rows = [
        f"{0.5 * i:.2f}\t{3 - j:.1f}\t{rng.normal():.3f}\t{rng.normal():.3f}\n".replace(".", ",")
        for j in range(3)
        for i in range(4)
    ]
    head = '#DaVis 8.1.6 2D-vector 32 4 3 "position" "mm" "position" "mm" "velocity" "m/s"\n'
    path.write_text(head + "".join(rows))
    return path


def the_well(folder: Path, rng: np.random.Generator) -> Path:
    """One file of two trajectories."""
    import h5py

    path = folder / "shear_flow.hdf5"
    with h5py.File(path, "w") as file:
        file.attrs.update(
            dataset_name="shear_flow", grid_type="cartesian", n_spatial_dims=2, n_trajectories=2,
            simulation_parameters=["Reynolds"], Reynolds=1e4,
        )  # fmt: skip

        def put(group: h5py.Group, name: str, values: np.ndarray, sampled: bool, timed: bool, **more: object) -> None:
            stored = group.create_dataset(name, data=values)
            stored.attrs.update(sample_varying=sampled, time_varying=timed, **more)

        group = file.create_group("dimensions")
        group.attrs["spatial_dims"] = ["x", "y"]
        put(group, "time", np.linspace(0, 1, 3), False, True)
        put(group, "x", ((np.arange(5) + 0.5) / 5).astype("f4"), False, False)
        put(group, "y", ((np.arange(4) + 0.5) / 4).astype("f4"), False, False)
        for name, axis, count in (("x_periodic", "x", 5), ("y_wall", "y", 4)):
            group = file.create_group(f"boundary_conditions/{name}")
            kind = name.partition("_")[2].upper()
            group.attrs.update(associated_dims=[axis], bc_type=kind, sample_varying=False, time_varying=False)
            group["mask"] = np.zeros(count, bool)
        file.create_group("scalars").attrs["field_names"] = np.array([], "S1")
        for order, name, shape in ((0, "tracer", ()), (1, "velocity", (2,))):
            group = file.create_group(f"t{order}_fields")
            group.attrs["field_names"] = [name]
            values = rng.normal(size=(2, 3, 5, 4, *shape)).astype("f4")
            put(group, name, values, True, True, dim_varying=[True, True])
        file.create_group("t2_fields").attrs["field_names"] = np.array([], "S1")
    return path


def lagrangebench(folder: Path, rng: np.random.Generator) -> Path:
    """Particles in a box, all three parts."""
    import h5py

    root = folder / "particles"
    root.mkdir()
    for part in ("train", "valid", "test"):
        with h5py.File(root / f"{part}.h5", "w") as file:
            for k in range(2):
                group = file.create_group(f"{k:05d}")
                group["position"] = np.cumsum(0.01 * rng.normal(size=(5, 4, 2)), axis=0).astype("f4") % 1.0
                group["particle_type"] = np.zeros(4, "i4")
    about = {
        "dim": 2, "dx": 0.1, "dt": 0.01, "write_every": 5, "periodic_boundary_conditions": [True, True],
        "bounds": [[0.0, 1.0], [0.0, 1.0]], "case": "TGV",
    }  # fmt: skip
    (root / "metadata.json").write_text(json.dumps(about))
    return root
