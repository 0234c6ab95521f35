"""Pictures of fields wherever they live: meshes, loose points, stretched and masked grids, one and three dimensions."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from _synthetic import small
from PIL import Image
from scipy.spatial import Delaunay

from sciml.reporting import films, images
from sciml.reporting.blocks import Figures, Film, Note, Page, Section, Tabs
from sciml.reporting.page import render
from sciml.reporting.sections import build
from sciml.reporting.sections.flow import _line, _on_line, profiles, spectra
from sciml.reporting.sections.pictures import fields, film
from sciml.reporting.study import Sample, Study
from sciml.support import Grid, Mesh, Points, Support

TIMES = np.linspace(0.0, 1.0, 5)


def annulus() -> Mesh:
    """Nodes between two circles; the hole and what lies beyond the outer circle are no part of it."""
    rings = [(r, a) for i, r in enumerate(np.linspace(0.4, 1.0, 10)) for a in (np.arange(48) + i % 2 / 2) / 48]
    position = np.array([(r * np.cos(2 * np.pi * a), r * np.sin(2 * np.pi * a)) for r, a in rings])
    found = []
    for i in range(9):
        for k in range(48):
            a, b, c, d = i * 48 + k, i * 48 + (k + 1) % 48, (i + 1) * 48 + k, (i + 1) * 48 + (k + 1) % 48
            found += [[a, b, c], [b, d, c]] if i % 2 == 0 else [[a, b, d], [a, d, c]]
    return Mesh(position, {"triangle": np.array(found)})


def supports() -> dict[str, Support]:
    rng = np.random.default_rng(0)
    x = np.linspace(-1, 1, 25)
    stretched = (np.tanh(2 * x) / np.tanh(2), 0.5 * (1 + np.tanh(1.5 * x) / np.tanh(1.5)))
    faces = (np.linspace(-1, 1, 33), np.linspace(0, 1, 17))
    plain = Grid(faces)
    hole = ((plain.points() - [0.2, 0.5]) ** 2).sum(-1) > 0.05
    cube = tuple(np.linspace(-1, 1, n + 1) for n in (12, 10, 8))
    nodes = rng.uniform(-1, 1, (900, 3))
    return {
        "mesh": annulus(),
        "points": Points(rng.uniform(-1, 1, (600, 2))),
        "stretched": Grid(stretched),
        "masked": Grid(faces, mask=hole),
        "line": Grid((np.linspace(0, 1, 41),)),
        "points on a line": Points(rng.uniform(0, 1, (40, 1))),
        "cube": Grid(cube),
        "nodes in space": Mesh(nodes, {"tetrahedron": Delaunay(nodes).simplices.astype(int)}),
        "points in space": Points(nodes),
    }


def values(support: Support) -> dict[str, np.ndarray]:
    p = support.points()
    x, y = p[..., 0], p[..., min(1, support.dimensions - 1)]
    t = TIMES.reshape(-1, *[1] * len(support.shape))
    return {"u": np.sin(2 * x + t) * np.cos(2 * y), "v": np.cos(2 * x + t) * np.sin(2 * y), "c": np.exp(-(x**2) - t)}


def drawn(support: Support, **changes: object) -> Study:
    truth = values(support)
    wobble = 0.05 * np.sin(9 * support.points()[..., 0])
    made = {k: v + wobble * TIMES.reshape(-1, *[1] * len(support.shape)) for k, v in truth.items()}
    kept = support.dimensions == 2
    sample = Sample("case 7", "ic", TIMES, support, truth, {"FNO": made}, {"rate": 2.0})
    wanted = {
        "fields": {"u": "m s-1", "v": "m s-1", "c": "1"} if kept else {"c": "1"}, "samples": [sample],
        "velocity": ("u", "v") if kept else (), "benchmarks": [], "runs": [],
    }  # fmt: skip
    return small(**wanted | changes)


@pytest.mark.parametrize("name", list(supports()))
def test_a_page_on_every_support(name):
    support = supports()[name]
    study = drawn(support)
    blocks = fields(study)
    parts = [Section("fields", "Fields", blocks), Section("lines", "Lines", profiles(study))]
    page = Page(study.title, "", "plain", [], [*parts, Section("spectra", "Spectra", spectra(study))])
    assert "case 7" in render(page)
    assert bool(page.sections[1].blocks) == (name in ("mesh", "stretched", "masked"))
    assert bool(page.sections[2].blocks) == (name in ("line", "cube"))
    shown = [f for f in blocks if isinstance(f, Figures)]
    each = {1: 2, 2: 4, 3: 3}[support.dimensions]  # of a cube three slices, in each truth, prediction and error
    plane = 4 if isinstance(support, Grid) else 3  # vorticity where there is a grid
    assert [len(f.items) for f in shown] == [each] * ({2: plane}.get(support.dimensions, 1))
    assert all(item.startswith("<svg") for f in shown for item in f.items)
    words = {"mesh": "nodes of a mesh", "points": "loose points", "stretched": "stretched grid", "cube": "Three slices",
             "nodes in space": "thin slab", "points in space": "thin slab"}  # fmt: skip
    if name in words:
        assert words[name] in next(b.text for b in blocks if isinstance(b, Note))
    if name.endswith("space"):
        assert re.search(r"Drawn are the \d+ of 900 nodes with z from", shown[0].caption)


@pytest.mark.parametrize("name", list(supports()))
def test_what_there_is_a_film_of(name):
    study = drawn(supports()[name])
    made = film(study)
    assert len(made) == (name in ("mesh", "stretched", "masked", "cube"))
    if made:
        (shown,) = made
        assert isinstance(shown, Film)
        note = {"mesh": "nodes of the mesh", "stretched": "stretched grid", "masked": "shown is speed",
                "cube": "on the plane z ="}[name]  # fmt: skip
        assert note in shown.caption.lower() and shown.frames == len(TIMES)
        png = Image.open(io.BytesIO(base64.b64decode(shown.strips[0].split(",")[1])))
        assert png.size == (shown.width * len(TIMES), shown.height)


def test_beyond_a_mesh_a_film_is_grey_and_within_it_linear():
    mesh = annulus()
    picture, _ = films.raster(mesh)
    r = np.linalg.norm(picture.points(), axis=-1)
    linear = mesh.points() @ [2.0, -1.0]
    found = films.frames_on(linear[None], mesh, picture)[0]
    assert np.isnan(found[r > 1.001]).all() and np.isnan(found[r < 0.39]).all()
    inner = (r > 0.405) & (r < 0.99)
    np.testing.assert_allclose(found[inner], (picture.points() @ [2.0, -1.0])[inner], atol=1e-12)


def test_films_of_stretched_and_masked_grids():
    grid = supports()["stretched"]
    picture, note = films.raster(grid)
    assert note and picture.uniform_cells and np.allclose(picture.extents, grid.extents)
    linear = grid.points() @ [1.0, 3.0]
    found = films.frames_on(linear[None], grid, picture)[0]
    np.testing.assert_allclose(found, picture.points() @ [1.0, 3.0], atol=1e-12)
    masked = supports()["masked"]
    picture, note = films.raster(masked)
    assert picture is masked and note == ""
    found = films.frames_on(np.ones((1, *masked.shape)), masked, picture)[0]
    assert (np.isnan(found) == ~masked.inside).all()
    both = Grid(grid.faces, mask=(grid.points()[..., 0] < 0.2).astype(int))
    picture, _ = films.raster(both)
    found = films.frames_on(linear[None], both, picture)[0]
    edge = both.faces[0][np.searchsorted(both.centres[0], 0.2)]
    x = picture.points()[..., 0]
    assert np.isnan(found[x > edge + 0.05]).all() and np.isfinite(found[x < edge - 0.05]).all()


def test_slices_are_the_middle_layers():
    grid = supports()["cube"]
    p = grid.points()
    for title, names, index, plane in images.slices(grid):
        normal = next(a for a in "xyz" if a not in names)
        assert title.startswith(f"{normal} = ")
        at = p[index][..., "xyz".index(normal)]
        assert np.ptp(at) == 0 and abs(at.flat[0]) < 0.2
        for axis, name in enumerate(names):
            np.testing.assert_allclose(plane.points()[..., axis], p[index][..., "xyz".index(name)])


def test_a_slab_holds_nodes_on_both_sides_of_the_middle():
    points = np.random.default_rng(1).uniform(0, 1, (4000, 3))
    near, low, high = images.slab(points)
    assert 300 < near.sum() < 500 and 0.44 < low < 0.46 and 0.54 < high < 0.56
    few, _, _ = images.slab(points[:60])
    assert few.sum() >= 50


def test_centre_lines_are_gaps_where_there_is_nothing():
    mesh = annulus()
    where, points = _line(mesh, 0, tuple((a + b) / 2 for a, b in mesh.extents))
    found = _on_line(mesh.points()[:, 0], mesh, points)
    hole = np.abs(where) < 0.39
    assert np.isnan(found[hole]).all()
    np.testing.assert_allclose(found[(np.abs(where) > 0.42) & (np.abs(where) < 0.99)],
                               where[(np.abs(where) > 0.42) & (np.abs(where) < 0.99)], atol=1e-12)  # fmt: skip
    grid = supports()["masked"]
    where, points = _line(grid, 0, tuple((a + b) / 2 for a, b in grid.extents))
    found = _on_line(np.ones(grid.shape), grid, points)
    solid = ~grid.inside[[7, 8]].all(axis=0)
    assert (np.isnan(found) == solid).all() and np.nanmax(np.abs(found - 1)) == 0


def test_figures_are_weighted_by_the_support():
    """An error of 1 in one cell of a stretched grid counts by its volume."""
    grid = Grid((np.array([0.0, 1.0, 3.0]), np.array([0.0, 1.0])))
    truth = np.ones((1, 1, 2))
    made = np.array([[[1.0, 2.0]]])
    sample = Sample("a", "ic", np.zeros(1), grid, {"c": truth}, {"FNO": {"c": made}})
    study = small(samples=[sample], fields={"c": "1"}, velocity=(), steady=True, benchmarks=[])
    (shown,) = [b for b in fields(study) if isinstance(b, Figures)]
    assert "NMSE 0.67" in shown.caption and "largest error 1" in shown.caption


def test_vorticity_of_a_rotation_is_twice_its_rate():
    grid = Grid((np.linspace(0, 2, 21), np.linspace(0, 1, 11)))
    x, y = grid.points()[..., 0], grid.points()[..., 1]
    turning = {"u": -3 * y[None], "v": 3 * x[None]}
    half = {k: 0.5 * v for k, v in turning.items()}
    sample = Sample("a", "ic", np.zeros(1), grid, turning, {"FNO": half})
    study = small(samples=[sample], fields={"u": "m s-1", "v": "m s-1"}, velocity=("u", "v"), benchmarks=[])
    caption = next(b.caption for b in fields(study) if isinstance(b, Figures) and b.caption.startswith("vorticity"))
    assert "NMSE 0.25" in caption and "largest error 3 s⁻¹" in caption


def test_films_are_as_wide_and_high_as_the_domain():
    wide = Grid((np.linspace(0, 0.22, 65), np.linspace(-0.06, 0.06, 65)))
    picture, note = films.raster(wide)
    ny, nx = picture.shape
    assert nx == films.LONGEST and abs(nx / ny - 0.22 / 0.12) < 0.05 and "square cells" in note
    square = Grid((np.linspace(0, 1, 33),) * 2)
    assert films.raster(square) == (square, "")


def test_values_that_are_not_finite_are_drawn():
    for name in ("mesh", "points", "stretched", "masked", "cube", "line"):
        support = supports()[name]
        study = drawn(support)
        broken = {k: np.full_like(v, np.nan) for k, v in study.samples[0].truth.items()}
        sample = Sample("a", "ic", TIMES, support, study.samples[0].truth, {"FNO": broken})
        shown = [b for b in fields(drawn(support, samples=[sample])) if isinstance(b, Figures)]
        assert "not finite" in shown[-1].caption


def test_the_film_shows_where_standing_still_errs_most():
    whole = small()
    grid = supports()["stretched"]
    samples = [Sample(f"case {s}", s, TIMES, grid, values(grid), {"FNO": values(grid)}) for s in ("bc", "ic")]
    for hardest in ("bc", "ic"):
        square = whole.square.copy()
        square[0] = np.where(np.array(whole.rollout_subset)[:, None] == hardest, 1.0, 0.1)
        study = small(samples=samples, square=square)
        assert study.hardest == hardest
        (shown,) = film(study)
        assert isinstance(shown, Film) and f"case {hardest}" in shown.caption
    worse = {k: v + 0.1 for k, v in values(grid).items()}
    samples = [Sample("good", "", TIMES, grid, values(grid), {"FNO": values(grid)}),
               Sample("bad", "", TIMES, grid, values(grid), {"FNO": worse})]  # fmt: skip
    (shown,) = film(small(samples=samples, subsets=["all"], rollout_subset=["all"] * len(whole.rollout_subset)))
    assert isinstance(shown, Film) and "bad" in shown.caption


def test_an_audit_without_equations():
    grid = supports()["stretched"]
    line = {"check": "bounds", "name": "c within 0 to 1", "unit": "1", "rms": 0.02, "largest": 0.1, "relative": 0.3,
            "floor": 0.0, "size": None, "length": None}  # fmt: skip
    sample = Sample("a", "ic", TIMES, grid, values(grid), {"FNO": values(grid)}, audits={"FNO": [line]},
                    notes=["divergence: not checked, no fields are known as a velocity"])  # fmt: skip
    page = build(small(samples=[sample], equations=False))
    (section,) = [s for s in page.sections if s.anchor == "audit"]
    assert "training data" in section.title
    text = render(page)
    for words in ("share of values beyond", "c within 0 to 1", "0.02 (0)", "Divergence: not checked"):
        assert words in text, words
    assert not any(isinstance(b, Tabs) for b in section.blocks)


def test_data_on_nodes_say_why_no_reference_and_no_audit_are_there():
    for on_nodes in (True, False):
        text = render(build(small(samples=[], rows=[r for r in small().rows if r.kind != "reference"],
                                  square=small().square[[r.kind != "reference" for r in small().rows]],
                                  on_nodes=on_nodes)))  # fmt: skip
        for words in ("no row of a reference solver", "it takes solutions on grids"):
            assert (words in text) == on_nodes


def mixed() -> Mesh:
    """A step: quadrilaterals in front, triangles behind, nothing in the corner below."""
    columns, rows = np.linspace(0, 3, 31), np.linspace(0, 1, 11)
    number, position, quads, triangles = {}, [], [], []
    for i, x in enumerate(columns):
        for k, y in enumerate(rows):
            if x >= 1 - 1e-9 or y >= 0.5 - 1e-9:
                number[i, k] = len(position)
                position.append((x, y))
    for i in range(30):
        for k in range(10):
            corners = [(i, k), (i + 1, k), (i + 1, k + 1), (i, k + 1)]
            if all(c in number for c in corners) and (columns[i] > 0.99 or rows[k] > 0.49):
                a, b, c, d = (number[c] for c in corners)
                if columns[i] < 1.5:
                    quads.append([a, b, c, d])
                else:
                    triangles += [[a, b, c], [a, d, c]]  # the second of them clockwise
    return Mesh(np.array(position), {"quadrilateral": np.array(quads), "triangle": np.array(triangles)})


@pytest.mark.parametrize("make", [annulus, mixed])
def test_what_is_coloured_is_the_cells_and_no_more(make):
    """By area: neither a hole nor a corner that bends in is filled."""
    mesh = make()
    _, axes, _ = images._panel(1.0)
    drawn = images._triangles(axes, mesh, np.ma.masked_invalid(np.ones(mesh.size)), (0.0, 2.0, "viridis"))
    corners = mesh.position[drawn._triangulation.triangles]
    area = np.abs(np.linalg.det(corners[:, 1:] - corners[:, :1])).sum() / 2
    assert area == pytest.approx(mesh.weights().sum(), rel=1e-12)
    hull = Delaunay(mesh.position).simplices
    filled = np.abs(np.linalg.det(mesh.position[hull][:, 1:] - mesh.position[hull][:, :1])).sum() / 2
    assert filled > 1.05 * area


def test_around_nodes_without_a_value_a_mesh_stays_grey():
    mesh = mixed()
    values = np.ones(mesh.size)
    values[17] = np.nan
    _, axes, _ = images._panel(1.0)
    drawn = images._triangles(axes, mesh, np.ma.masked_invalid(values), (0.0, 2.0, "viridis"))
    shown = drawn._triangulation.triangles
    assert 17 not in shown and len(shown) == (mesh.simplices() != 17).all(1).sum()


def test_truth_and_prediction_on_a_mesh_share_one_scale_and_the_error_has_its_own():
    blocks = fields(drawn(mixed()))
    (shown,) = [b for b in blocks if isinstance(b, Figures) and b.caption.startswith("c:")]
    scales = [re.search(r"scale from (\S+) to (\S+)", item).groups() for item in shown.items]
    assert scales[0] == scales[1] and scales[2] != scales[3]
    for low, high in scales[2:]:
        assert float(low) == -float(high)


def test_a_curve_in_the_plane_is_drawn_by_its_nodes():
    angle = 2 * np.pi * np.arange(60) / 60
    ring = Mesh(np.stack([np.cos(angle), np.sin(angle)], 1),
                {"line": np.stack([np.arange(60), (np.arange(60) + 1) % 60], 1)})  # fmt: skip
    study = drawn(ring)
    assert sum(isinstance(b, Figures) for b in fields(study)) == 3 and film(study) == []
