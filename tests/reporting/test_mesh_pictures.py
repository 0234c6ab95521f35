"""Pictures of meshes say what they are given: cells, colours, folded cells, frames of films."""

import itertools
import warnings

import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgba
from PIL import Image

from sciml import meshes
from sciml.errors import InputError
from sciml.geometry import Box, Disc
from sciml.reporting import meshes as pictures
from sciml.reporting import moving
from sciml.reporting._style import png
from sciml.support import Mesh

MESH = meshes.triangulate(Box((0, 0), (2, 1)) - Disc((0.7, 0.5), 0.2), 0.25)
CELLS = MESH.cells["triangle"]


def panels(figure):
    return [a for a in figure.axes if any(isinstance(c, PolyCollection) for c in a.collections)]


def test_a_gallery_draws_every_cell_to_one_scale():
    moved = Mesh(MESH.position * [1, 1.5], MESH.cells)
    at_nodes, in_cells = MESH.position[:, 0], np.linspace(-1, 3, len(CELLS))
    figure = pictures.gallery({"a": MESH, "b": moved, "c": MESH}, {"a": at_nodes, "b": in_cells}, unit="K", columns=2)
    one, two, three = panels(figure)
    for axes, mesh in ((one, MESH), (two, moved), (three, MESH)):
        drawn = axes.collections[0]
        assert len(drawn.get_paths()) == len(CELLS) and axes.get_aspect() == 1
        np.testing.assert_allclose(drawn.get_paths()[5].vertices[:3], mesh.position[CELLS[5]])
    assert one.get_xlim() == two.get_xlim() and one.get_ylim() == two.get_ylim()
    np.testing.assert_allclose(one.collections[0].get_array(), at_nodes[CELLS].mean(1))
    np.testing.assert_allclose(two.collections[0].get_array(), in_cells)
    assert one.collections[0].norm is two.collections[0].norm
    assert (one.collections[0].norm.vmin, one.collections[0].norm.vmax) == (-1, 3)
    assert [a.get_title(loc="left") for a in (one, two, three)] == ["a", "b", "c"]
    assert "K" in {a.get_ylabel() for a in figure.axes}
    assert one.get_position().y0 > three.get_position().y0 + 0.3  # a row below


@pytest.mark.parametrize("shape", [(1.0, 1.0), (6.0, 1.0), (1.0, 4.0)])
def test_nothing_of_a_picture_is_cut_off_or_lies_on_other_things(shape):
    mesh = Mesh(MESH.position * [shape[0] / 2, shape[1]], MESH.cells)
    several = dict.fromkeys(["a mesh", "another"], mesh)
    values = {name: mesh.position[:, 0] for name in several}
    for figure in (
        pictures.draw(mesh, mesh.position[:, 1], title="a mesh", unit="metre"),
        pictures.gallery(several, values, unit="monitor", notes={"a mesh": "σ/μ 0.1"}),
        pictures.error_maps(several, values),
        pictures.quality_maps(several),
    ):
        width, height = figure.get_size_inches() * figure.dpi
        figure.canvas.draw()
        boxes = [a.get_tightbbox() for a in figure.axes]
        assert all(b.x0 > -1 and b.y0 > -1 and b.x1 < width + 1 and b.y1 < height + 1 for b in boxes)
        for one, other in itertools.combinations(boxes, 2):
            across = min(one.x1, other.x1) - max(one.x0, other.x0)
            up = min(one.y1, other.y1) - max(one.y0, other.y0)
            assert min(across, up) < 3, (one, other)


def test_folded_cells_are_outlined_and_counted():
    position = MESH.position.copy()
    position[-1] += 0.4
    folded = Mesh(position, MESH.cells)
    figure = pictures.quality_maps({"folded": folded, "not": MESH})
    left, right = panels(figure)[0], panels(figure)[-1]
    turned = pictures._areas(position[CELLS]) <= 0
    assert 0 < turned.sum() == len(left.collections[1].get_paths())
    assert len(right.collections) == 1
    titles = {a.get_title(loc="right") for a in figure.axes}
    assert f"{len(CELLS)} cells, {turned.sum()} folded" in titles and f"{len(CELLS)} cells" in titles
    assert left.collections[0].get_array().min() < 0


def test_errors_have_three_decades_of_colours_at_most():
    errors = np.geomspace(1e-12, 1e-2, len(CELLS))
    drawn = panels(pictures.error_maps({"a": MESH}, {"a": -errors}))[0].collections[0]
    np.testing.assert_allclose([drawn.norm.vmin, drawn.norm.vmax], [1e-5, 1e-2])
    np.testing.assert_allclose(drawn.get_array(), errors)
    assert pictures.error_maps({"a": MESH}, {"a": np.zeros(MESH.size)})  # nothing but zeros


def test_cells_without_error_or_value_are_grey():
    errors = np.linspace(0, 1, len(CELLS))
    figure = pictures.error_maps({"a": MESH}, {"a": errors})
    figure.canvas.draw()
    colours = panels(figure)[0].collections[0].get_facecolors()
    grey = to_rgba(pictures.NONE)
    assert np.isclose(colours, grey).all(1).nonzero()[0].tolist() == [0]
    assert "error (grey: 0)" in {a.get_ylabel() for a in figure.axes}
    values = np.where(errors > 0.5, np.nan, errors)
    figure = pictures.draw(MESH, values)
    figure.canvas.draw()
    colours = panels(figure)[0].collections[0].get_facecolors()
    np.testing.assert_array_equal(np.isclose(colours, grey).all(1), errors > 0.5)


@pytest.mark.parametrize(("low", "high", "some"), [(1.2, 4.1, "2"), (0.3, 20, "0.5"), (2e-6, 1.5e-3, r"$10^{-5}$")])
def test_ticks_of_logarithmic_bars_are_plain(low, high, some):
    figure = pictures.error_maps({"a": MESH}, {"a": np.linspace(low, high, len(CELLS))})
    figure.canvas.draw()
    bar = figure.axes[-1]
    said = [t.get_text() for t in bar.get_yticklabels() if low <= t.get_position()[1] <= high]
    assert some in said and 2 <= len(said) <= 9 and not any(t.get_text() for t in bar.get_yticklabels(minor=True))


def test_titles_are_no_wider_than_their_panels():
    for mesh in (MESH, Mesh(MESH.position * [0.3, 2], MESH.cells)):
        figure = pictures.gallery({"a title that goes on and on and on and on, beyond all bounds": mesh, "b": mesh})
        figure.canvas.draw()
        axes = figure.axes[0]
        assert axes.get_title(loc="left")[:4] == "a ti" and figure.axes[1].get_title(loc="left") == "b"
        assert axes._left_title.get_window_extent().width < 1.03 * axes.get_window_extent().width


def test_films_of_frames_without_values(tmp_path):
    values = [np.full(MESH.size, np.nan), np.ones(MESH.size)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert moving.film(tmp_path / "a.gif", [MESH, MESH], values, dpi=40).is_file()


@pytest.mark.parametrize("ending", ["gif", "webp", "png"])
def test_films_have_a_frame_a_mesh(tmp_path, ending):
    frames = [Mesh(MESH.position * (1 + 0.1 * k), MESH.cells) for k in range(3)]
    values = [np.full(MESH.size, float(k)) for k in range(3)]
    out = moving.film(tmp_path / f"a.{ending}", frames, values, titles=["a", "b", "c"], milliseconds=50, dpi=40)
    with Image.open(out) as found:
        assert found.n_frames == 3
        shown = []
        for k in range(3):
            found.seek(k)
            shown.append(np.asarray(found.convert("RGB"), int))
    assert shown[0].shape == shown[1].shape == shown[2].shape
    assert all(np.abs(a - b).max() > 60 for a, b in itertools.pairwise(shown))
    assert [p.name for p in tmp_path.iterdir()] == [f"a.{ending}"]


def test_surfaces_in_space():
    cube = np.array([(x, y, z) for z in (0, 1) for x, y in ((0, 0), (1, 0), (1, 1), (0, 1))], float)
    sides = np.array([[0, 1, 5, 4], [1, 2, 6, 5]])
    box = Mesh(cube, {"quadrilateral": sides, "triangle": np.array([[4, 5, 6], [4, 6, 7]])})
    values = np.arange(8.0)
    values[[0, 1]] = np.nan  # of the first side, and of the second
    figure = moving.surfaces({"a": box, "b": box}, {"a": values, "b": values}, unit="mm")
    (drawn,) = figure.axes[0].collections
    colours = drawn.get_facecolor()
    assert len(colours) == 6
    clear = np.isclose(colours[:, 3], moving.PLAIN[3]).sum()
    whole = (colours[:, 3] == 1).sum()
    missing = sum(bool(np.isnan(values[c]).any()) for c in box.simplices())
    assert (clear, whole) == (missing, 6 - missing) and 0 < missing < 6
    assert png(figure)[:4] == b"\x89PNG"


def test_figures_over_time_and_files(tmp_path):
    figure = moving.over_time([0, 1, 2], {"mean": [0.5, 0.6, 0.7], "least": [0.1, 0.2, 0.1]}, ylabel="quality")
    assert [line.get_label() for line in figure.axes[0].lines] == ["mean", "least"]
    assert pictures.save(figure, tmp_path / "new" / "a.png").read_bytes()[:4] == b"\x89PNG"
    assert "<svg" in pictures.save(figure, tmp_path / "a.svg").read_text()
    for make, words in (
        (lambda: pictures.save(figure, tmp_path / "a.jpg"), "ends in .png or .svg, got 'a.jpg'"),
        (lambda: pictures.gallery({}), "expected one at least, got none"),
        (lambda: pictures.draw(MESH, "abc"), "values of '': expected numbers, got 'abc'"),
        (lambda: pictures.draw("x"), "mesh '': expected a Mesh, got 'x'"),
        (lambda: pictures.gallery([MESH]), "meshes: expected title -> meshes, got"),
        (lambda: pictures.gallery({"a": MESH}, {"b": np.ones(MESH.size)}), "no mesh is called 'b'; known: a"),
        (lambda: pictures.gallery({"a": MESH}, columns=0), "columns: expected a whole number ≥ 1, got 0"),
        (lambda: pictures.draw(MESH, np.ones(MESH.size), scale=(1,)), r"scale: expected \(low, high\), got \(1,\)"),
        (lambda: pictures.draw(MESH, np.ones(MESH.size), scale=(3, 1)), r"expected \(low, high\), got \(3, 1\)"),
        (lambda: pictures.draw(MESH, np.full(MESH.size, np.nan)), "expected some that are finite, got none"),
        (lambda: pictures.error_maps({"a": MESH}, {"a": "e"}), "values of 'a': expected numbers"),
        (lambda: moving.film(tmp_path / "a.gif", [MESH], [np.full(MESH.size, np.nan)]), "some that are finite"),
        (lambda: moving.film(tmp_path / "a.gif", ["x"]), "expected a Mesh, got 'x'"),
        (
            lambda: pictures.gallery({"a": MESH}, {"a": np.ones(3)}),
            f"one for each of {MESH.size} nodes or {len(CELLS)}",
        ),
        (
            lambda: pictures.draw(Mesh(np.eye(3), {"triangle": np.array([[0, 1, 2]])})),
            "of the plane, got triangle in 3-D",
        ),
        (lambda: moving.film(tmp_path / "a.gif", []), "expected one at least, got none"),
        (lambda: moving.film(tmp_path / "a.mov", [MESH]), "ends in .gif, .webp, .png, got 'a.mov'"),
        (
            lambda: moving.film(tmp_path / "a.gif", [MESH], titles=["a", "b"]),
            "titles: expected one for each of 1 meshes",
        ),
        (lambda: moving.surfaces({"a": MESH}), "expected a surface in space, got triangle in 2-D"),
    ):
        with pytest.raises(InputError, match=words):
            make()


BLOWN = """# vtk DataFile Version 2.0
a plate between two jaws
ASCII
DATASET UNSTRUCTURED_GRID
POINTS 8 float
0 0 0  1 0 0  1 1 0  0 1 0
0 0 2  1 0 2  1 1 2  0 1 2
CELLS 3 13
3 0 1 2
3 0 2 3
4 4 5 6 7
CELL_TYPES 3
5
5
9
POINT_DATA 8
"""


def test_numbered_displacements_are_a_moving_mesh(tmp_path):
    from benchmarks import _mesh_pictures

    text = BLOWN
    for k in range(3):
        up = [[0, 0, 0.25 * k]] * 4 + [[0, 0, -0.5 * k]] * 4
        text += f"VECTORS displacement{k} float\n" + "\n".join(" ".join(map(str, row)) for row in up) + "\n"
    for k in range(3):
        text += f"SCALARS thickness{k} float\nLOOKUP_TABLE default\n" + " ".join([str(1 - 0.25 * k)] * 8) + "\n"
    (tmp_path / "plate.vtk").write_text(text)
    times, found, thickness = _mesh_pictures.blow(tmp_path / "plate.vtk")
    assert times.tolist() == [0, 1, 2] and thickness.shape == (3, 8)
    np.testing.assert_allclose(thickness[:, 0], [1, 0.75, 0.5])
    for k, mesh in enumerate(found):
        z = np.repeat([0.25 * k, 2 - 0.5 * k], 4)
        np.testing.assert_allclose(mesh.position, np.column_stack([found[0].position[:, :2], z]))
        assert {kind: len(c) for kind, c in mesh.cells.items()} == {"triangle": 2, "quadrilateral": 1}
    made = _mesh_pictures.draw_blow(tmp_path / "out", tmp_path / "plate.vtk")
    assert [p.name for p in made] == ["mesh_blow.png", "mesh_blow.webp", "mesh_blow_quality.png"]
    with Image.open(made[1]) as film:
        assert film.n_frames == 3
    assert _mesh_pictures.draw_blow(tmp_path / "out", tmp_path / "missing.vtk") == []


def test_pictures_of_movers(tmp_path):
    from benchmarks import _mesh_pictures
    from sciml.meshing import Springs

    made = _mesh_pictures.draw({"springs": Springs()}, tmp_path, size=0.12)
    assert {p.name for p in made} == {"mesh_movers.png", "mesh_quality.png", "mesh_errors.png", "mesh_cylinders.png"}
    mesh = meshes.triangulate(Box((0, 0), (1, 1)), 0.2)
    exact = _mesh_pictures.interpolation_errors(mesh, lambda x: 3 * x[:, 0] - x[:, 1])
    np.testing.assert_allclose(exact, 0, atol=1e-7)
    one = Mesh(np.array([[0, 0], [1, 0], [0, 1.0]]), {"triangle": np.array([[0, 1, 2]])})
    square = _mesh_pictures.interpolation_errors(one, lambda x: x[:, 0] ** 2)[0] ** 2
    assert square == pytest.approx(1 / 60, rel=1e-12)  # ∫∫ (x² − x)² = ∫ x² (1 − x)³ dx
