"""Files of VTK as they are found: text and bytes, grids and meshes, series and pieces, and ways in which they are
damaged."""

import base64
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import KDTree

from sciml import data
from sciml.data import importers
from sciml.data.importers import _vtk_legacy, _vtk_xml
from sciml.data.importers._snapshot import Lattice, nodes
from sciml.errors import FileFormatError, InputError

SHARED = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "vtk"

TITLE = "# vtk DataFile Version 3.0\na title\n{}\n"
IMAGE = TITLE.format("ASCII") + (
    "DATASET STRUCTURED_POINTS\nDIMENSIONS 4 3 1\nORIGIN 1 2 0\nSPACING 0.5 0.25 1\nPOINT_DATA 12\n"
    "SCALARS T float\nLOOKUP_TABLE default\n0 1 2 3\n4 5 6 7\n8 9 10 11\nVECTORS U double\n" + "1 2 0\n" * 12
)
SQUARE = TITLE.format("ASCII") + (
    "DATASET UNSTRUCTURED_GRID\nPOINTS 5 float\n0 0 0 1 0 0 1 1 0 0 1 0 2 0.5 0\n"
    "CELLS 2 9\n4 0 1 2 3\n3 1 4 2\nCELL_TYPES 2\n9 5\nPOINT_DATA 5\nSCALARS p float 1\n"
    "LOOKUP_TABLE default\n1 2 3 4 5\n"
)


def legacy(text):
    return _vtk_legacy.parse(text.encode() if isinstance(text, str) else text, "a.vtk")


def imported(source, tmp_path, **plan):
    found = importers.import_data(source, tmp_path / "set.h5", plan=plan or None, overwrite=True)
    return data.open(found.path).load(), found.notes


def first(dataset):
    return data.case(dataset, 0)


def test_points_of_an_image_and_their_order():
    found = legacy(IMAGE)
    assert isinstance(found.place, Lattice)
    np.testing.assert_allclose(found.place.axes[0], [1, 1.5, 2, 2.5])
    np.testing.assert_allclose(found.place.axes[1], [2, 2.25, 2.5])
    np.testing.assert_array_equal(found.point["T"].reshape(3, 4)[2], [8, 9, 10, 11])
    assert found.point["U"].shape == (12, 3)


def test_text_and_big_endian_bytes_are_the_same():
    values = np.arange(12, dtype=">f4")
    head = TITLE.format("BINARY") + "DATASET RECTILINEAR_GRID\nDIMENSIONS 4 3 1\n"
    content = head.encode()
    axes = ([1, 1.5, 2.5, 3], [5, 4, 2], [0])
    for name, axis in zip("XYZ", axes, strict=True):
        content += f"{name}_COORDINATES {len(axis)} double\n".encode() + np.array(axis, ">f8").tobytes() + b"\n"
    content += b"POINT_DATA 12\nFIELD FieldData 1\nT%20mean 1 12 float\n" + values.tobytes() + b"\n"
    found = legacy(content)
    np.testing.assert_array_equal(found.point["T mean"], values)
    np.testing.assert_array_equal(found.place.axes[1], [5, 4, 2])


def test_cells_of_version_5_are_those_of_version_3():
    old = legacy(SQUARE).place
    five = SQUARE.replace(
        "CELLS 2 9\n4 0 1 2 3\n3 1 4 2\n",
        "CELLS 3 7\nOFFSETS vtktypeint64\n0 4 7\nCONNECTIVITY vtktypeint64\n0 1 2 3 1 4 2\n",
    )
    new = legacy(five).place
    for kind in ("quadrilateral", "triangle"):
        np.testing.assert_array_equal(old.cells[kind], new.cells[kind])
    assert old.count == 2


def test_windows_line_ends_metadata_and_time_in_the_file():
    text = SQUARE.replace("DATASET", "FIELD FieldData 1\nTIME 1 1 double\n2.5\nDATASET", 1)
    text = text.replace("POINT_DATA", "METADATA\nINFORMATION 0\n\nPOINT_DATA").replace("\n", "\r\n")
    found = legacy(text)
    assert found.time == 2.5 and found.point["p"].tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "empty"),
        ("hello", "line 1: expected '# vtk DataFile"),
        (IMAGE[:-10], "36 numbers are told, but 62 characters"),
        (IMAGE[:-3] + "      ", "line 26: U: the file ends after 35 of 36"),
        (IMAGE.replace("DIMENSIONS 4 3 1", "DIMENSIONS 4 3 -1"), "line 5: DIMENSIONS: expected at least 1, got -1"),
        (IMAGE.replace("DIMENSIONS 4 3 1", "DIMENSIONS 40000 30000 10000"), "but the file has"),
        (IMAGE.replace("POINT_DATA 12", "POINT_DATA 13"), "13 are told, but there are 12"),
        (IMAGE.replace("4 5 6 7", "4 5,5 6 7"), "line 12: T: expected numbers, got '5,5'"),
        (IMAGE.replace("SPACING 0.5", "SPACING 0"), "SPACING"),
        (IMAGE.replace("SPACING 0.5", "SPACING nan"), "finite"),
        (IMAGE.replace("SCALARS T float", "SCALARS T quad"), "no type of numbers is called 'quad'"),
        (SQUARE.replace("3 1 4 2", "3 1 9 2"), "cell 1 refers to node 9, but nodes are 0 to 4"),
        (SQUARE.replace("3 1 4 2", "3 1 -4 2"), "cell 1 refers to node -4"),
        (SQUARE.replace("CELLS 2 9\n4", "CELLS 2 9\n40"), "cell 0 runs beyond"),
        (SQUARE.replace("CELLS 2 9", "CELLS 2 999999999"), "999999999 numbers are told"),
        (SQUARE.replace("POINTS 5", "POINTS 5000000000"), "numbers are told"),
        (SQUARE.replace("0 0 0 1 0 0", "0 0 nan 1 0 0"), "point 0 is not finite"),
        (SQUARE.replace("9 5\n", "9 9\n"), r"cell 1 \(VTK type 9\) has 3 nodes, expected 4"),
        (SQUARE.replace("CELL_TYPES 2", "CELL_TYPES 1"), "1 are told, CELLS says 2"),
        (SQUARE.replace("UNSTRUCTURED_GRID", "ÜBUNG"), "no DATASET is called"),
    ],
)
def test_damaged_legacy_files_are_refused_in_one_line(content, said):
    with pytest.raises(FileFormatError, match=said) as error:
        legacy(content)
    assert "\n" not in str(error.value) and str(error.value).startswith("a.vtk")


def test_bytes_that_end_early_are_refused_before_anything_is_made():
    content = TITLE.format("BINARY").encode() + b"DATASET UNSTRUCTURED_GRID\nPOINTS 1000000000 double\n" + b"\0" * 80
    with pytest.raises(FileFormatError, match="3000000000 numbers of 8 bytes are told, but 80 bytes are left"):
        legacy(content)


def test_pixels_strips_and_polygons_keep_their_area():
    p = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0], [2, 0.5, 0]], float)
    notes = []
    found = nodes(p, np.array([8, 6, 7]), np.array([0, 4, 8, 13]),
                  np.array([0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 4, 3, 2]), "f", notes)  # fmt: skip

    def area(kind, number):
        c = p[found.cells[kind][found.number[kind] == number]][..., :2]
        after = np.roll(c, -1, axis=1)
        return ((c[..., 0] * after[..., 1] - after[..., 0] * c[..., 1]).sum(1) / 2).tolist()

    assert area("quadrilateral", 0) == [1.0] and area("triangle", 1) == [0.5, 0.5]
    assert sum(area("triangle", 2)) == 1.5 and "more than four corners" in notes[0]


# -- XML ------------------------------------------------------------------------------------------------------------


def vtu(form, points, cells, offsets, types, values):
    """A small VTU in one of the forms."""
    appended, arrays = b"", []
    kinds = {"f": "Float64", "i": "Int64", "u": "UInt8"}
    for name, array, width in (("v", values, 1), ("Points", points, 3), ("connectivity", cells, 1),
                               ("offsets", offsets, 1), ("types", types, 1)):  # fmt: skip
        array = np.ascontiguousarray(array)
        kind = kinds[array.dtype.kind]
        head = f'<DataArray type="{kind}" Name="{name}" NumberOfComponents="{width}" '
        data_ = array.tobytes()
        if form == "ascii":
            arrays.append(f'{head}format="ascii">{" ".join(map(str, array.ravel().tolist()))}</DataArray>')
        elif form == "binary":
            text = base64.b64encode(struct.pack("<I", len(data_)) + data_).decode()
            arrays.append(f'{head}format="binary">{text}</DataArray>')
        elif form == "zlib":
            packed = zlib.compress(data_)
            text = base64.b64encode(struct.pack("<4I", 1, len(data_), 0, len(packed))).decode()
            arrays.append(f'{head}format="binary">{text}{base64.b64encode(packed).decode()}</DataArray>')
        else:
            arrays.append(f'{head}format="appended" offset="{len(appended)}"/>')
            appended += struct.pack("<I", len(data_)) + data_
    compressor = ' compressor="vtkZLibDataCompressor"' if form == "zlib" else ""
    n, m = len(points), len(types)
    text = f'<?xml version="1.0"?>\n<VTKFile type="UnstructuredGrid" byte_order="LittleEndian"{compressor}>\n'
    text += f'<UnstructuredGrid><Piece NumberOfPoints="{n}" NumberOfCells="{m}">\n<PointData>{arrays[0]}</PointData>\n'
    text += f"<Points>{arrays[1]}</Points><Cells>{''.join(arrays[2:])}</Cells></Piece></UnstructuredGrid>"
    if form != "raw":
        return (text + "</VTKFile>").encode()
    return text.encode() + b'<AppendedData encoding="raw">_' + appended + b"</AppendedData></VTKFile>"


def square(shift=0.0, values=(1.0, 2.0, 3.0, 4.0)):
    points = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], float)
    points[:, 0] += shift
    return points, np.array([0, 1, 2, 0, 2, 3]), np.array([3, 6]), np.array([5, 5], np.uint8), np.array(values)


@pytest.mark.parametrize("form", ["ascii", "binary", "zlib", "raw"])
def test_forms_of_arrays_are_read_alike(form):
    found = _vtk_xml.parse(vtu(form, *square()), "a.vtu")
    assert found.point["v"].tolist() == [1, 2, 3, 4] and found.place.cells["triangle"].tolist() == [
        [0, 1, 2],
        [0, 2, 3],
    ]


def test_damaged_xml_is_refused_in_one_line():
    text = vtu("ascii", *square()).decode()
    packed = vtu("zlib", *square()).decode()
    huge = base64.b64encode(struct.pack("<4I", 1, 4_000_000_000, 0, 30)).decode()
    binary = vtu("binary", *square()).decode()
    at = binary.index('"binary">') + 9
    for content, said in (
        ("", "empty"),
        (text[:-30], "damaged XML"),
        (text.replace('NumberOfPoints="4"', 'NumberOfPoints="5"'), "12 numbers, expected 15"),
        (text.replace('NumberOfPoints="4"', 'NumberOfPoints="-1"'), "expected at least 0"),
        (text.replace(">1.0 2.0", ">1,0 2.0"), "expected numbers, got '1,0'"),
        (text.replace("0 1 2 0 2 3", "0 1 2 0 2 7"), "cell 1 refers to node 7"),
        (text.replace(">3 6<", ">3 60<"), "offsets end at 60"),
        (text.replace("<VTKFile", "<!DOCTYPE a [<!ENTITY b 'c'>]><VTKFile"), "declares entities"),
        (text.replace("UnstructuredGrid", "HyperTreeGrid"), "type 'HyperTreeGrid'"),
        (text.replace("<VTKFile", "<VTK").replace("</VTKFile", "</VTK"), "expected <VTKFile>"),
        (packed[: packed.index('"binary">') + 9] + huge + packed[packed.index('"binary">') + 9 + len(huge) :],
         "bytes are told, expected 32|from 30 are told"),
        (binary[:at] + "//////" + binary[at + 6 :], "bytes are told"),
        (text.replace("byte_order", 'compressor="vtkLZ4DataCompressor" byte_order').replace('format="ascii"',
         'format="binary"'), "write the file again"),
    ):  # fmt: skip
        with pytest.raises(FileFormatError, match=said) as error:
            _vtk_xml.parse(content.encode(), "a.vtu")
        assert "\n" not in str(error.value), error.value


def test_a_block_that_unpacks_to_more_than_it_says_is_refused():
    text = vtu("zlib", *square()).decode()
    at = text.index('"binary">') + 9
    bomb = zlib.compress(b"\0" * 10_000_000)
    head = base64.b64encode(struct.pack("<4I", 1, 32, 0, len(bomb))).decode() + base64.b64encode(bomb).decode()
    with pytest.raises(FileFormatError, match="a block of 33 bytes, expected 32"):
        _vtk_xml.parse((text[:at] + head + text[text.index("<", at) :]).encode(), "a.vtu")


def test_an_image_in_xml_with_values_in_cells(tmp_path):
    text = (
        '<VTKFile type="ImageData"><ImageData WholeExtent="0 3 0 2 0 0" Origin="0 0 0" Spacing="1 2 1">'
        '<Piece Extent="0 3 0 2 0 0"><CellData><DataArray type="Float32" Name="q [K]" format="ascii">1 2 3 4 5 6'
        "</DataArray></CellData></Piece></ImageData></VTKFile>"
    )
    (tmp_path / "a.vti").write_text(text)
    found, notes = imported(tmp_path / "a.vti", tmp_path)
    case, solution = first(found)
    assert case.support.extents == ((0.0, 3.0), (0.0, 4.0))
    np.testing.assert_array_equal(solution["q"].values, [[1, 2, 3], [4, 5, 6]])
    assert found["q"].attrs["units"] == "K" and any("along z" in n for n in notes)


# -- cases ----------------------------------------------------------------------------------------------------------


def test_a_rectangle_of_quadrilaterals_becomes_a_grid_and_others_a_mesh(tmp_path):
    (tmp_path / "a.vtk").write_text(SQUARE)
    found, _ = imported(tmp_path / "a.vtk", tmp_path)
    assert found.sizes["node"] == 5
    x, y = np.meshgrid(np.linspace(0, 2, 5), np.linspace(0, 1, 3))
    number = np.random.default_rng(0).permutation(15)  # nodes in any order
    points = np.zeros((15, 3))
    points[number, 0], points[number, 1] = x.ravel(), y.ravel()
    of = number.reshape(3, 5)
    cells = np.stack([of[:-1, :-1], of[:-1, 1:], of[1:, 1:], of[1:, :-1]], -1).reshape(-1)
    content = vtu("raw", points, cells, 4 * np.arange(1, 9), np.full(8, 9, np.uint8), points[:, 0] + 10 * points[:, 1])
    (tmp_path / "b.vtu").write_bytes(content)
    found, _ = imported(tmp_path / "b.vtu", tmp_path)
    np.testing.assert_allclose(first(found)[1]["v"].values, x + 10 * y)


def test_numbered_files_are_frames_in_the_order_of_their_numbers(tmp_path):
    folder = tmp_path / "Re=100"
    folder.mkdir()
    for k in (10, 2, 1):
        (folder / f"flow_{k}.vtk").write_text(IMAGE.replace("0 1 2 3\n", f"{k} 1 2 3\n"))
    found, notes = imported(tmp_path, tmp_path)
    assert found["T"].values[:, 0, 0].tolist() == [1, 2, 10] and found["Re"].values.tolist() == [100.0]
    assert any("frames of one case" in n for n in notes) and any("numbered from 0" in n for n in notes)
    assert any("U: z components are zero" in n for n in notes)
    found, _ = imported(tmp_path, tmp_path, time={"step": 0.5, "unit": "s"})
    assert found["time"].values.tolist() == [0, 0.5, 1]
    found, _ = imported(tmp_path, tmp_path, steady=True)
    assert found.sizes["case"] == 3 and "time" not in found.variables


def test_nodes_that_move_and_a_mesh_that_changes(tmp_path):
    for k in range(3):
        (tmp_path / f"m{k}.vtu").write_bytes(vtu("raw", *square(0.1 * k**2 * np.arange(4))))
    found, notes = imported(tmp_path, tmp_path / "..")
    assert any("nodes move" in n for n in notes)
    x = first(found)[1]["x"].values
    np.testing.assert_allclose(x[2] - x[0], 0.4 * np.arange(4), atol=1e-12)
    points, cells, offsets, types, values = square()
    less = (points[:3], cells[:3], offsets[:1], types[:1], values[:3])
    (tmp_path / "m3.vtu").write_bytes(vtu("raw", *less))
    with pytest.raises(FileFormatError, match=r'changes from frame to frame; \[options\] frames = "cases"'):
        imported(tmp_path, tmp_path / "..")


def test_a_list_of_times_and_what_it_may_not_name(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for k in range(2):
        (folder / f"a{k}.vtu").write_bytes(vtu("binary", *square(values=(k, 1, 2, 3.0))))
    sets = "".join(f'<DataSet timestep="{0.25 * k}" file="a{k}.vtu"/>' for k in range(2))
    text = '<VTKFile type="Collection"><Collection>{}</Collection></VTKFile>'
    (folder / "all.pvd").write_text(text.format(sets))
    found, notes = imported(folder, tmp_path)
    assert found["time"].values.tolist() == [0, 0.25] and not any("numbered from 0" in n for n in notes)
    for name, said in (("../x.vtu", "is not in the folder"), ("b.vtu", "which is not there")):
        (folder / "all.pvd").write_text(text.format(f'<DataSet timestep="0" file="{name}"/>'))
        with pytest.raises(FileFormatError, match=said):
            imported(folder, tmp_path)
    with pytest.raises(FileFormatError, match="give the folder"):
        imported(folder / "all.pvd", tmp_path)


def test_clockwise_cells_are_turned_and_holes_are_cut(tmp_path):
    points, cells, offsets, types, values = square()
    cells = np.array([0, 2, 1, 0, 2, 3])
    (tmp_path / "a.vtu").write_bytes(vtu("ascii", points, cells, offsets, types, values))
    _, notes = imported(tmp_path / "a.vtu", tmp_path)
    assert any("clockwise" in n for n in notes)
    (tmp_path / "b.vtk").write_text(IMAGE.replace("0 1 2 3\n", "nan 1 2 3\n").split("VECTORS")[0])
    found, notes = imported(tmp_path / "b.vtk", tmp_path)
    assert found["mask"].values.sum() == 11 and any("never have finite" in n for n in notes)


def test_parameters_from_a_table_and_fields_by_a_plan(tmp_path):
    folder = tmp_path / "set"
    for k in range(3):
        (folder / f"c{k}").mkdir(parents=True)
        (folder / f"c{k}" / "out.vtk").write_text(IMAGE.replace("0 1 2 3\n", f"{k} 1 2 3\n"))
    (folder / "cases.csv").write_text("case,inlet speed,angle\nc0,1,10\nc1,2,20\nc2,3,30\n")
    found, notes = imported(folder, tmp_path)
    assert found["inlet_speed"].values.tolist() == [1, 2, 3] and found["angle"].values.tolist() == [10, 20, 30]
    assert any("cases.csv" in n for n in notes)
    plan = {"T": {"from": "T", "unit": "K", "offset": 273.0}, "u": {"from": "U", "component": 0, "unit": "m/s"}}
    found, _ = imported(folder, tmp_path, fields=plan)
    assert found["T"].values[0, 0, 0] == 273 and found["u"].attrs["units"] == "m/s"
    with pytest.raises(InputError, match="has no 'W'"):
        imported(folder, tmp_path, fields={"w": {"from": "W"}})


def test_numbers_beside_the_fields_are_parameters(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    for name, value in (("left", 3), ("right", 4)):
        extra = f"FIELD FieldData 3\nRe 1 1 double\n{value}\nT 1 1 double\n{10 * value}\nCYCLE 1 1 int\n7\nDATASET"
        (folder / f"{name}.vtk").write_text(IMAGE.replace("DATASET", extra, 1))
    found, notes = imported(folder, tmp_path)
    assert found["Re"].values.tolist() == [3, 4] and found["T_number"].values.tolist() == [30, 40]
    assert found.attrs["parameters"].split() == ["Re", "T_number"] and any("T_number" in n for n in notes)
    plan = {"Reynolds": {"from": "Re", "scale": 2.0}}
    assert imported(folder, tmp_path, parameters=plan)[0]["Reynolds"].values.tolist() == [6, 8]
    (folder / "right.vtk").write_text(IMAGE)
    with pytest.raises(FileFormatError, match="has no finite number 'Re'"):
        imported(folder, tmp_path)


def test_other_kinds_of_files_are_named_for_what_they_are(tmp_path):
    for content, said in ((b"\x89HDF\r\n\x1a\n" + b"\0" * 90, "is HDF5"), (b"CDF\x01" + b"\0" * 90, "is NetCDF-3"),
                          (b"", "empty")):  # fmt: skip
        (tmp_path / "a.vtk").write_bytes(content)
        with pytest.raises(FileFormatError, match=said):
            imported(tmp_path / "a.vtk", tmp_path)


def test_published_files(tmp_path):
    if not SHARED.is_dir():
        pytest.skip("the folder with published files is not beside this checkout")
    found, notes = imported(SHARED / "blow.vtk", tmp_path)
    assert found.sizes["frame"] == 10 and found.sizes["node"] == 686 and any("10 frames" in n for n in notes)
    pieces, notes = imported(SHARED / "ex-blow_5", tmp_path)
    assert pieces.sizes["node"] == 686 and any("16 files" in n for n in notes)  # as many as the whole has
    # the pieces are of one of the steps, at the places to which nodes have moved then
    thickness = found["thickness"].values.reshape(10, -1)
    step = int(np.abs(thickness.mean(1) - pieces["THICKNESS"].values.mean()).argmin())
    moved = [found[a].values.ravel() + found[f"displacement_{a}"].values.reshape(10, -1)[step] for a in "xyz"]
    whole = np.stack([*moved, thickness[step]], 1)
    joined = np.stack([pieces[n].values.ravel() for n in ("x", "y", "z", "THICKNESS")], 1)
    distance, nearest = KDTree(whole).query(joined)
    assert distance.max() < 1e-4 and len(np.unique(nearest)) == 686
