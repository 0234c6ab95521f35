"""Case folders of OpenFOAM and files of EnSight Gold, small ones of the genuine layout, and damaged ones."""

import gzip
import itertools
import tomllib

import numpy as np
import pytest

from sciml import data
from sciml.data import importers
from sciml.data.importers import _ensight, _foam
from sciml.errors import FileFormatError

HEAD = """/*--------------------------------*- C++ -*----------------------------------*\\
  =========                 |
\\*---------------------------------------------------------------------------*/
FoamFile
{{
    version     2.0;
    format      {format};
    class       {cls};{arch}
    object      {name};
}}
// * * * * //

"""
ARCH = '\n    arch        "LSB;label=32;scalar=64";'


def imported(source, tmp_path, **plan):
    out = tmp_path.parent / f"{tmp_path.name}.h5"
    found = importers.import_data(source, out, plan=plan or None, overwrite=True)
    return data.open(found.path).load(), found.notes


def box(nx, ny, h=1.0):
    """Points, faces (inner ones first), owner and neighbour of nx x ny cubes, one layer thick."""

    def point(i, j, k):
        return i + (nx + 1) * (j + (ny + 1) * k)

    points = [(i * h, j * h, k * h) for k in range(2) for j in range(ny + 1) for i in range(nx + 1)]
    inner, outer = [], []
    for j, i in itertools.product(range(ny), range(nx)):
        cell = i + nx * j
        right = [point(i + 1, j, 0), point(i + 1, j + 1, 0), point(i + 1, j + 1, 1), point(i + 1, j, 1)]
        upper = [point(i, j + 1, 0), point(i, j + 1, 1), point(i + 1, j + 1, 1), point(i + 1, j + 1, 0)]
        for side, other in ((right, cell + 1 if i < nx - 1 else None), (upper, cell + nx if j < ny - 1 else None)):
            (outer if other is None else inner).append((side, cell, other))
        if i == 0:
            outer.append(([point(0, j, 0), point(0, j, 1), point(0, j + 1, 1), point(0, j + 1, 0)], cell, None))
        if j == 0:
            outer.append(([point(i, 0, 0), point(i + 1, 0, 0), point(i + 1, 0, 1), point(i, 0, 1)], cell, None))
        for k in range(2):
            ring = [point(i, j, k), point(i, j + 1, k), point(i + 1, j + 1, k), point(i + 1, j, k)]
            outer.append((ring if k == 0 else ring[::-1], cell, None))
    faces = inner + outer
    return np.array(points), [f for f, _, _ in faces], [c for _, c, _ in faces], [n for _, _, n in inner]


def foam_list(rows):
    return f"{len(rows)}\n(\n" + "\n".join(rows) + "\n)\n"


def mesh_files(nx=3, ny=2, binary=False):
    points, faces, owner, neighbour = box(nx, ny)
    form = {"format": "binary" if binary else "ascii", "arch": ARCH if binary else ""}

    def made(name, cls, text, content=b""):
        return HEAD.format(cls=cls, name=name, **form).encode() + (content if binary else text.encode())

    def packed(array):
        array = np.ascontiguousarray(array)
        return f"{len(array)}\n(".encode() + array.tobytes() + b")\n"

    ends = np.cumsum([0] + [len(f) for f in faces]).astype("<i4")
    return {
        "points": made("points", "vectorField", foam_list([f"({a:g} {b:g} {c:g})" for a, b, c in points]),
                       packed(points.astype("<f8"))),
        "faces": made("faces", "faceCompactList" if binary else "faceList",
                      foam_list([f"{len(f)}({' '.join(map(str, f))})" for f in faces]),
                      packed(ends) + packed(np.concatenate(faces).astype("<i4"))),
        "owner": made("owner", "labelList", foam_list(list(map(str, owner))), packed(np.array(owner, "<i4"))),
        "neighbour": made("neighbour", "labelList", foam_list(list(map(str, neighbour))),
                          packed(np.array(neighbour, "<i4"))),
    }  # fmt: skip


def field_file(name, cls, kind, rows, dimensions="[0 1 -1 0 0 0 0]"):
    text = HEAD.format(format="ascii", cls=cls, name=name, arch="")
    values = f"nonuniform List<{kind}> {foam_list(rows)}" if isinstance(rows, list) else f"uniform {rows}"
    return text + f"dimensions      {dimensions};\n\ninternalField   {values};\n\nboundaryField\n{{\n}}\n"


def foam_case(folder, nu=0.01, nx=3, ny=2, times=("0", "0.5", "10")):
    mesh = folder / "constant" / "polyMesh"
    mesh.mkdir(parents=True)
    for name, content in mesh_files(nx, ny).items():
        (mesh / name).write_bytes(content)
    text = HEAD.format(format="ascii", cls="dictionary", name="transportProperties", arch="")
    (folder / "constant" / "transportProperties").write_text(text + f"nu  nu [ 0 2 -1 0 0 0 0 ] {nu}; // kinematic\n")
    for k, t in enumerate(times):
        (folder / t).mkdir()
        velocity = "(0 0 0)" if k == 0 else [f"({c} {10 * k} 0)" for c in range(nx * ny)]
        (folder / t / "U").write_text(field_file("U", "volVectorField", "vector", velocity))
        if k:
            flux = field_file("phi", "surfaceScalarField", "scalar", ["1", "2"])
            (folder / t / "phi").write_text(flux)
    return folder


@pytest.mark.parametrize("binary", [False, True])
def test_cells_of_a_mesh_have_their_centres_and_volumes(binary):
    found = _foam.mesh(mesh_files(3, 2, binary), "polyMesh")
    np.testing.assert_allclose(found.volumes, 1.0, rtol=1e-12)
    x, y = np.meshgrid(np.arange(3) + 0.5, np.arange(2) + 0.5)
    np.testing.assert_allclose(found.centres, np.stack([x.ravel(), y.ravel(), np.full(6, 0.5)], 1), atol=1e-12)


def test_centres_of_a_tetrahedron_are_means_of_its_corners():
    p = np.array([[0, 0, 0], [3, 0, 0], [0, 2, 0], [0.5, 0.5, 1.0]])
    faces = [(0, 2, 1), (0, 1, 3), (1, 2, 3), (0, 3, 2)]
    centres, volumes = _foam._cells(p, np.arange(0, 13, 3), np.array(faces).ravel(), np.zeros(4, int),
                                    np.zeros(0, int), 1)  # fmt: skip
    np.testing.assert_allclose(volumes, 1.0, rtol=1e-12)
    np.testing.assert_allclose(centres[0], p.mean(0), rtol=1e-12)


def test_a_case_becomes_frames_on_a_grid(tmp_path):
    folder = foam_case(tmp_path / "run")
    (folder / "postProcessing").mkdir()
    (folder / "postProcessing" / "forces.dat").write_text("1 2 3")
    found, notes = imported(folder, tmp_path)
    assert any("not read: postProcessing" in n for n in notes)
    assert found["time"].values.tolist() == [0, 0.5, 10] and found["time"].attrs["units"] == "s"
    assert found["nu"].values.tolist() == [0.01] and found["U_x"].attrs["units"] == "m s-1"
    np.testing.assert_array_equal(found["U_x"].values[1], [[0, 1, 2], [3, 4, 5]])
    assert found["U_y"].values[2, 0, 0] == 20
    case, _ = data.case(found, 0)
    assert case.support.extents == ((0.0, 3.0), (0.0, 2.0)) and case.problem.velocity == ("U_x", "U_y")
    assert any("phi is surfaceScalarField" in n for n in notes) and any("z components are zero" in n for n in notes)


def test_a_draft_imports_what_would_be_imported_without_it(tmp_path):
    for source in (foam_case(tmp_path / "run"), ensight(tmp_path / "case")):
        found, text = importers.draft(source)
        told = tomllib.loads(text)
        assert told["layout"] == found.layout and any("component" in f for f in told["fields"].values()) == (
            found.layout == "openfoam"
        )
        plain, _ = imported(source, tmp_path)
        again, _ = imported(source, tmp_path, **told)
        assert plain.attrs["problem_json"] == again.attrs["problem_json"]
        for name in plain.attrs["fields"].split():
            np.testing.assert_array_equal(plain[name].values, again[name].values)


def test_folders_are_cases_and_compressed_files_are_read(tmp_path):
    source = tmp_path / "sweep"
    for k in range(3):
        foam_case(source / f"case_{k}", nu=0.01 * (k + 1))
    plain = source / "case_1" / "10" / "U"
    (source / "case_1" / "10" / "U.gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    found, _ = imported(source, tmp_path)
    assert found.sizes["case"] == 3 and found["nu"].values.tolist() == [0.01, 0.02, 0.03]


def test_what_cannot_be_read_says_the_way_out(tmp_path):
    folder = foam_case(tmp_path / "a")
    (folder / "processor0" / "constant").mkdir(parents=True)
    (folder / "constant" / "polyMesh").rename(folder / "processor0" / "constant" / "polyMesh")
    with pytest.raises(FileFormatError, match="run reconstructPar first"):
        imported(folder, tmp_path)
    (folder / "constant" / "air").mkdir()
    (folder / "processor0" / "constant" / "polyMesh").rename(folder / "constant" / "air" / "polyMesh")
    with pytest.raises(FileFormatError, match="several regions"):
        imported(folder, tmp_path)
    moving = foam_case(tmp_path / "b")
    (moving / "10" / "polyMesh").mkdir()
    (moving / "10" / "polyMesh" / "points").write_bytes(b"x")
    with pytest.raises(FileFormatError, match="the mesh moves; write the case with foamToVTK"):
        imported(moving, tmp_path)


def damaged(key, old, new):
    files = mesh_files()
    assert old.encode() in files[key]
    return files | {key: files[key].replace(old.encode(), new.encode(), 1)}


@pytest.mark.parametrize(
    ("key", "old", "new", "said"),
    [
        ("points", "(1 0 0)", "(1,0 0 0)", "points: line 16: expected numbers, got '1,0'"),
        ("points", "(1 0 0)", "(nan 0 0)", "finite"),
        ("points", "24\n(", "240000000\n(", "240000000 x 3 numbers are told"),
        ("points", "24\n(", "-24\n(", "a list of -24 entries"),
        ("points", "24\n(", "25\n(", "25 x 3 numbers are told, but the list has 72"),
        ("points", "FoamFile", "Foam", "expected a FoamFile entry"),
        ("faces", "4(1 5 17 13)", "4(1 5 99 13)", "face 0 refers to point 99, but points are 0 to 23"),
        ("faces", "4(1 5 17 13)", "4(1 5 -17 13)", "face 0 refers to point -17"),
        ("faces", "4(1 5 17 13)", "9(1 5 17 13)", "faces take|not whole|refers to point"),
        ("owner", "(\n0\n", "(\n7000\n", "cell 7000 among 29 faces"),
        ("owner", "(\n0\n", "(\n-5\n", "negative"),
        ("neighbour", "7\n(", "7\n", "expected a list"),
    ],
)
def test_damaged_meshes_are_refused_in_one_line(key, old, new, said):
    with pytest.raises(FileFormatError, match=said) as error:
        _foam.mesh(damaged(key, old, new), "polyMesh")
    assert "\n" not in str(error.value)


def test_damaged_fields_are_refused_in_one_line():
    good = field_file("p", "volScalarField", "scalar", ["1", "2", "3"])
    values, unit = _foam.field(good.encode(), "p", 3)
    assert values.tolist() == [1, 2, 3] and unit == "m s-1"
    same = field_file("p", "volScalarField", "scalar", "4.5")
    assert _foam.field(same.encode(), "p", 2)[0].tolist() == [4.5, 4.5]
    short = good.replace("3\n(", "3{7}").replace("\n1\n2\n3\n)\n", "")
    assert _foam.field(short.encode(), "p", 3)[0].tolist() == [7, 7, 7]
    for content, said in (
        (good[: good.index("3\n)")], "ends within a list|are told"),
        (good.replace("internalField", "internal"), "expected an internalField"),
        (good.replace("List<scalar>", "List<vector>"), "expected values of volScalarField"),
        (good.replace("\n2\n", "\n2,5\n"), "expected numbers, got '2,5'"),
        (good.replace("3\n(", "4\n("), "4 x 1 numbers are told, but the list has 3"),
        ("", "empty"),
    ):
        with pytest.raises(FileFormatError, match=said):
            _foam.field(content.encode(), "p", 3)
    with pytest.raises(FileFormatError, match="3 values, but the mesh has 5 cells"):
        _foam.field(good.encode(), "p", 5)


# -- EnSight --------------------------------------------------------------------------------------------------------

CASE = """FORMAT
type: ensight gold
GEOMETRY
model: flow.geo
VARIABLE
scalar per node: 1 p flow.***.p
vector per element: 1 U flow.***.U
TIME
time set: 1
number of steps: 2
filename start number: 5
filename increment: 5
time values: 0.5
1.5
"""
TEXT = """a title
another
node id assign
element id assign
part
         1
fluid
coordinates
         5
{x}
hexa8
         0
tria3
         1
         2         5         3
quad4
         1
         1         2         3         4
""".replace("hexa8\n         0\n", "")
POINTS = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [2, 0.8, 0]], float)


def geo():
    return TEXT.format(x="\n".join(f"{v:12.5e}" for v in POINTS.T.ravel()))


def ensight(folder, binary=False, order="<"):
    folder.mkdir()
    (folder / "flow.case").write_text(CASE)

    def line(text):
        return text.encode().ljust(80, b"\0")

    def whole(*values):
        return np.array(values, f"{order}i4").tobytes()

    def real(values):
        return np.asarray(values, f"{order}f4").tobytes()

    if not binary:
        (folder / "flow.geo").write_text(geo())
    else:
        (folder / "flow.geo").write_bytes(
            line("C Binary") + line("a") + line("b") + line("node id assign") + line("element id assign") + line("part")
            + whole(1) + line("fluid") + line("coordinates") + whole(5) + real(POINTS.T) + line("tria3") + whole(1)
            + whole(2, 5, 3) + line("quad4") + whole(1) + whole(1, 2, 3, 4)
        )  # fmt: skip
    for k, number in enumerate((5, 10)):
        p, u = k + np.arange(5.0), k + np.array([[1, 2], [3, 4], [0, 0]])  # of the triangle, then the quadrilateral
        if binary:
            (folder / f"flow.{number:03d}.p").write_bytes(
                line("p") + line("part") + whole(1) + line("coordinates") + real(p)
            )
            (folder / f"flow.{number:03d}.U").write_bytes(
                line("U") + line("part") + whole(1) + b"".join(
                    line(kind) + real(u[:, i]) for i, kind in enumerate(("tria3", "quad4")))
            )  # fmt: skip
        else:
            numbers = "\n".join(f"{v:12.5e}" for v in p)
            (folder / f"flow.{number:03d}.p").write_text(f"p\npart\n         1\ncoordinates\n{numbers}\n")
            parts = "".join(f"{kind}\n" + "\n".join(f"{v:12.5e}" for v in u[:, i]) + "\n"
                            for i, kind in enumerate(("tria3", "quad4")))  # fmt: skip
            (folder / f"flow.{number:03d}.U").write_text(f"U\npart\n         1\n{parts}")
    return folder


@pytest.mark.parametrize(("binary", "order"), [(False, "<"), (True, "<"), (True, ">")])
def test_text_and_bytes_of_ensight_are_the_same(tmp_path, binary, order):
    folder = ensight(tmp_path / "case", binary, order)
    (folder / "more.zip").write_bytes(b"PK")
    (folder / "remarks.txt").write_text("none")
    found, notes = imported(folder, tmp_path)
    assert found["time"].values.tolist() == [0.5, 1.5] and found.sizes["node"] == 5
    np.testing.assert_array_equal(found["p"].values, [0, 1, 2, 3, 4, 1, 2, 3, 4, 5])
    assert any('location = "cell"' in n for n in notes)
    assert any("more.zip: archives" in n for n in notes) and any("1 other files: remarks.txt" in n for n in notes)
    cells, _ = imported(folder, tmp_path, options={"location": "cell"})
    assert cells["U_y"].values.tolist() == [3, 4, 4, 5]
    np.testing.assert_allclose(np.sort(np.unique(cells["x"].values)), [0.5, 4 / 3])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("part\n", "parts\n", "expected 'part'"),
        ("coordinates\n         5", "coordinates\n       500000", "is told|are told"),
        ("coordinates\n         5", "coordinates\n        -5", "-5 is told"),
        ("         2         5         3", "         2         6         3", "cell 0 refers to node 5"),
        ("         2         5         3", "         0         5         3", "cell 0 refers to node -1"),
        ("node id assign", "nodes", "expected 'node id'"),
        ("element id assign", "element id given", "expected numbers|are told|the file ends"),
        (" 1.00000e+00", " 1,00000e+00", "expected numbers"),
        ("a title", "BEGIN TIME STEP", "several steps in one file"),
    ],
)
def test_damaged_geometries_are_refused_in_one_line(old, new, said):
    text = geo()
    assert old in text
    with pytest.raises(FileFormatError, match=said) as error:
        _ensight.geometry(text.replace(old, new, 1).encode(), "flow.geo", [])
    assert "\n" not in str(error.value)


def test_case_files_that_do_not_fit(tmp_path):
    for old, new, said in (
        ("ensight gold", "ensight", "expected 'ensight gold'"), ("model: flow.geo", "", "names no model"),
        ("number of steps: 2", "number of steps: 3", "3 steps, but 2 finite time values"),
        ("time values: 0.5", "time values: nan", "finite"),
    ):  # fmt: skip
        with pytest.raises(FileFormatError, match=said):
            _ensight.case(CASE.replace(old, new), "a.case")
    folder = ensight(tmp_path / "case")
    (folder / "flow.010.p").unlink()
    with pytest.raises(FileFormatError, match=r"names 'flow\.010\.p', which is not there"):
        imported(folder, tmp_path)
    with pytest.raises(FileFormatError, match="give the folder"):
        imported(folder / "flow.case", tmp_path)
    fortran = np.array([80], "<i4").tobytes() + b"Fortran Binary".ljust(80) + b"\0" * 80
    with pytest.raises(FileFormatError, match="bytes of Fortran"):
        _ensight.geometry(fortran, "a.geo", [])
