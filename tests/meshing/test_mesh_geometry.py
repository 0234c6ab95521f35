"""Movers on meshes of regions and of files: circles, holes, what no mover takes, and how good cells are."""

import math
import shutil
import subprocess

import numpy as np
import pytest

from sciml import meshes
from sciml.errors import InputError
from sciml.geometry import Box, Disc, Polygon
from sciml.meshing import MeshMover, MongeAmpere, Springs, aspect_ratio, cell_quality, folded
from sciml.meshing._simplices import contents, outer_sides
from sciml.meshing.mover import LEAST, Proposal
from sciml.support import Mesh

CHANNEL = (
    Box((0, 0), (2, 1))
    .without(Disc((0.5, 0.4), 0.12), "one")
    .without(Disc((1.0, 0.7), 0.14), "two")
    .without(Disc((1.5, 0.35), 0.1), "three")
)
CIRCLES = (((0.5, 0.4), 0.12), ((1.0, 0.7), 0.14), ((1.5, 0.35), 0.1))
HOLED = Polygon([(0, 0), (2, 0), (2.4, 1), (1, 1.6), (0, 1)]).without(
    Polygon([(0.7, 0.5), (1.2, 0.5), (1.2, 0.9), (0.8, 1.0)])
)
MOVERS = [MongeAmpere(), Springs()]


def named(mover):
    return mover.name


def peak(x):
    return (
        1 + 10 * np.exp(-((x - [0.68, 0.42]) ** 2).sum(1) / 0.02) + 6 * np.exp(-((x - [1.2, 0.72]) ** 2).sum(1) / 0.03)
    )


def edge_nodes(mesh):
    return np.unique(outer_sides(mesh.cells["triangle"]))


class Wild(MeshMover):
    """Nodes anywhere."""

    name = "wild"

    def __init__(self, seed, size):
        self.seed, self.size = seed, size

    def _propose(self, domain):
        rng = np.random.default_rng(self.seed)
        return Proposal(domain.points + self.size * rng.standard_normal(domain.points.shape))


@pytest.mark.parametrize("mover", MOVERS, ids=named)
def test_nodes_slide_along_circles_that_are_known(mover):
    mesh = meshes.triangulate(CHANNEL, 0.09)
    still, _ = mover.moved(mesh, monitor=peak)
    moved, info = mover.moved(mesh, monitor=peak, geometry=CHANNEL)
    edge, slid = edge_nodes(mesh), 0.0
    for centre, radius in CIRCLES:
        on = edge[np.abs(np.linalg.norm(mesh.position[edge] - centre, axis=1) - radius) < 1e-9]
        assert len(on) >= 16
        np.testing.assert_allclose(np.linalg.norm(moved.position[on] - centre, axis=1), radius, atol=1e-13)
        np.testing.assert_array_equal(still.position[on], mesh.position[on])
        slid = max(slid, np.linalg.norm(moved.position[on] - mesh.position[on], axis=1).max())
    assert slid > 0.02
    for axis, end in ((0, 0), (0, 2), (1, 0), (1, 1)):  # straight sides as before
        on = mesh.position[:, axis] == end
        np.testing.assert_allclose(moved.position[on, axis], end, atol=1e-14)
    assert info.least_content > 0
    assert not folded(moved.position, mesh.cells["triangle"]).any()


def test_a_disc_is_equidistributed_only_if_its_nodes_slide():
    disc = Disc((0.3, -0.2), 1.0)
    mesh = meshes.triangulate(disc, 0.15)

    def m(x):
        return 1 + 8 * np.exp(-((x - [1.1, -0.2]) ** 2).sum(1) / 0.1)

    _, still = MongeAmpere().moved(mesh, monitor=m)
    _, info = MongeAmpere().moved(mesh, monitor=m, geometry=disc)
    assert info.converged and info.safeguard == 1
    assert info.equidistribution < 0.25 * info.equidistribution_before < 0.5 * still.equidistribution


def test_turned_circles_move_alike():
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    mesh = meshes.triangulate(Disc((0, 0), 1.0) - Disc((0.2, 0.1), 0.3), 0.2)
    expected, _ = Springs().move(
        mesh.position, mesh.cells["triangle"], monitor=peak, geometry=Disc((0, 0), 1.0) - Disc((0.2, 0.1), 0.3)
    )
    centre = turn @ [0.2, 0.1] + [1, 2]
    other, _ = Springs().move(
        mesh.position @ turn.T + [1, 2], mesh.cells["triangle"], monitor=lambda x: peak((x - [1, 2]) @ turn),
        geometry=Disc((1, 2), 1.0) - Disc(tuple(centre), 0.3),
    )  # fmt: skip
    np.testing.assert_allclose((other - [1, 2]) @ turn, expected, atol=1e-9)


def test_corners_of_arcs_and_chords_stay():
    """Half a disc: its boundary is inscribed in the circle, the chord is not of it."""
    half = Disc((0, 0), 1.0) & Box((-2, 0), (2, 2))
    mesh = meshes.triangulate(half, 0.2)
    moved, _ = Springs().moved(
        mesh, monitor=lambda x: 1 + 9 * np.exp(-((x - [0.5, 0.5]) ** 2).sum(1) / 0.1), geometry=half
    )
    flat = np.abs(mesh.position[:, 1]) < 1e-12
    np.testing.assert_allclose(moved.position[flat, 1], 0, atol=1e-14)
    ends = flat & (np.abs(np.abs(mesh.position[:, 0]) - 1) < 1e-9)
    assert ends.sum() == 2
    np.testing.assert_array_equal(moved.position[ends], mesh.position[ends])
    fan = Mesh(np.array([[1, 0], [0, 1], [-1, 0], [0, 0.3]]), {"triangle": np.array([[0, 1, 3], [1, 2, 3], [2, 0, 3]])})
    moved, _ = Wild(0, 0.01).moved(fan, monitor=np.ones(4), geometry=half)  # no node on the chord between its ends
    np.testing.assert_array_equal(moved.position[[0, 2]], fan.position[[0, 2]])
    assert np.linalg.norm(moved.position[1] - fan.position[1]) > 1e-3
    assert np.linalg.norm(moved.position[1]) == pytest.approx(1, abs=1e-14)


@pytest.mark.parametrize("size", [0.01, 1.0, 1e6, np.inf])
def test_no_mover_can_turn_a_cell_over_beside_a_circle(size):
    mesh = meshes.triangulate(CHANNEL, 0.2)
    cells, edge = mesh.cells["triangle"], edge_nodes(mesh)
    for seed in range(3):
        moved, info = Wild(seed, size).moved(mesh, monitor=np.ones(mesh.size), geometry=CHANNEL)
        assert (contents(moved.position, cells) >= LEAST * contents(mesh.position, cells) * (1 - 1e-12)).all()
        assert info.least_ratio >= LEAST * (1 - 1e-12)
        np.testing.assert_allclose(np.asarray(CHANNEL.signed_distance(moved.position[edge])), 0, atol=1e-12)


def test_held_nodes_stay_on_circles_too():
    mesh = meshes.triangulate(CHANNEL, 0.2)
    on = np.flatnonzero(np.abs(np.linalg.norm(mesh.position - CIRCLES[0][0], axis=1) - CIRCLES[0][1]) < 1e-9)
    moved, _ = Springs().moved(mesh, on, monitor=peak, geometry=CHANNEL)
    np.testing.assert_array_equal(moved.position[on], mesh.position[on])


@pytest.mark.parametrize("mover", MOVERS, ids=named)
@pytest.mark.parametrize("ending", ["msh", "vtu"])
def test_meshes_of_files_polygons_with_holes(tmp_path, mover, ending):
    made = meshes.triangulate(HOLED, 0.12)
    mesh = meshes.read(meshes.write(tmp_path / f"a.{ending}", made))
    moved, info = mover.moved(mesh, monitor=lambda x: 1 + 8 * np.exp(-((x - [1.3, 1.1]) ** 2).sum(1) / 0.05))
    assert info.equidistribution < info.equidistribution_before
    assert contents(moved.position, moved.cells["triangle"]).sum() == pytest.approx(2.92 - 0.205, abs=1e-12)
    edge = edge_nodes(mesh)
    np.testing.assert_allclose(np.asarray(HOLED.signed_distance(moved.position[edge])), 0, atol=1e-12)
    assert np.abs(moved.position[edge] - mesh.position[edge]).max() > 1e-3
    # back through a file, with what belongs to it
    values = {"monitor": np.arange(mesh.size) / 7, "step": moved.position - mesh.position}
    q = cell_quality(moved.position, moved.cells["triangle"])
    place = meshes.write(tmp_path / "moved.vtu", moved, node_values=values, cell_values={"quality": q})
    again, at_nodes, in_cells = meshes.read_values(place)
    np.testing.assert_array_equal(again.position, moved.position)
    np.testing.assert_array_equal(again.cells["triangle"], moved.cells["triangle"])
    np.testing.assert_array_equal(in_cells["quality"], q)
    for name, value in values.items():
        np.testing.assert_array_equal(at_nodes[name], value)


@pytest.mark.skipif(shutil.which("gmsh") is None, reason="Gmsh is not installed")
def test_a_mesh_of_gmsh(tmp_path):
    (tmp_path / "a.geo").write_text(
        'SetFactory("OpenCASCADE"); Rectangle(1) = {0, 0, 0, 2, 1}; Disk(2) = {1, 0.5, 0, 0.2, 0.2};\n'
        "BooleanDifference(3) = { Surface{1}; Delete; }{ Surface{2}; Delete; };\nMesh.CharacteristicLengthMax = 0.12;\n"
    )
    subprocess.run(["gmsh", "a.geo", "-2", "-nt", "1", "-v", "1", "-o", "a.msh"], cwd=tmp_path, check=True, timeout=60)
    mesh, region = meshes.read(tmp_path / "a.msh"), Box((0, 0), (2, 1)) - Disc((1, 0.5), 0.2)
    moved, info = Springs().moved(
        mesh, monitor=lambda x: 1 + 8 * np.exp(-((x - [1.25, 0.5]) ** 2).sum(1) / 0.02), geometry=region
    )
    edge = edge_nodes(mesh)
    before = np.abs(np.asarray(region.signed_distance(mesh.position[edge])))
    np.testing.assert_allclose(np.asarray(region.signed_distance(moved.position[edge])), 0, atol=before.max() + 1e-12)
    assert info.equidistribution < 0.7 * info.equidistribution_before


def test_a_mesh_of_a_line_moves_from_mesh_to_mesh():
    mesh = Mesh(np.linspace(0, 1, 11)[:, None], {"line": np.stack([np.arange(10), np.arange(1, 11)], 1)})
    moved, _ = Springs().moved(mesh, monitor=lambda x: 1 + x[:, 0])
    assert np.diff(moved.position[:, 0]).min() > 0 and moved.position[[0, -1], 0].tolist() == [0, 1]


def test_what_of_meshes_no_mover_can_take_is_said():
    mover, ones = Springs(), np.ones(4)
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1.0]])
    quad = Mesh(square, {"quadrilateral": np.array([[0, 1, 2, 3]])})
    with pytest.raises(
        InputError, match=r"expected triangle cells alone, got quadrilateral; .*simplices.* has them cut"
    ):
        mover.moved(quad, monitor=ones)
    cut = Mesh(square, {"triangle": quad.simplices()})
    np.testing.assert_array_equal(mover.moved(cut, monitor=ones)[0].position, square)
    space = Mesh(np.eye(3), {"triangle": np.array([[0, 1, 2]])})
    with pytest.raises(InputError, match="expected a mesh of a line or of the plane, got one in 3-D"):
        mover.moved(space, monitor=np.ones(3))
    with pytest.raises(InputError, match="mesh: expected a Mesh, got ndarray"):
        mover.moved(square, monitor=ones)
    clockwise = Mesh(square, {"triangle": np.array([[0, 2, 1], [0, 3, 2]])})
    with pytest.raises(InputError, match=r"cell 0 .* is inverted or flat \(2 such\); triangles run anticlockwise"):
        mover.moved(clockwise, monitor=ones)
    twice = np.array([[0, 1, 2], [0, 1, 3]])
    with pytest.raises(InputError, match=r"several triangles lie on the same side of the edge \(0, 1\)"):
        mover.move(square, twice, monitor=ones)
    with pytest.raises(InputError, match="several intervals start at node 0: cells lie on each other"):
        mover.move(np.array([[0.0], [1.0], [2.0]]), np.array([[0, 1], [0, 2]]), monitor=np.ones(3))
    region = Disc((5, 5), 1.0)
    with pytest.raises(
        InputError, match=r"geometry: the side of the mesh at \(1, 0.5\) is not on its boundary, one of 4"
    ):
        mover.moved(cut, monitor=ones, geometry=region)


def test_hanging_nodes_are_told_of_inside_and_at_the_boundary():
    x, y = (g.ravel() for g in np.meshgrid(np.arange(4.0), np.arange(4.0)))
    points, cells = np.stack([x, y], 1), []
    for i in range(3):
        for j in range(3):
            a = 4 * i + j
            cells += [[a, a + 1, a + 5], [a, a + 5, a + 4]]
    mover = Springs()
    # the triangle (5, 6, 10) inside is cut by the middle of its side from 5 to 10; its neighbour there is not
    points = np.concatenate([points, [[1.5, 1.5]]])
    halves = [c for c in cells if c != [5, 6, 10]] + [[5, 6, 16], [6, 10, 16]]
    with pytest.raises(InputError, match=r"node 16 hangs on the side from node (5 to node 10|10 to node 5)"):
        mover.move(points, np.array(halves), monitor=np.ones(17))
    # where such a side ends at the boundary, four of its sides meet
    points[16] = [0.5, 0.5]
    halves = [c for c in cells if c != [0, 1, 5]] + [[0, 1, 16], [1, 5, 16]]
    with pytest.raises(InputError, match="4 sides of the boundary meet at node 0, expected 2"):
        mover.move(points, np.array(halves), monitor=np.ones(17))
    # a slit whose banks have nodes in the same places is a boundary like others
    points[16] = points[6]  # from 5 by 6 to 10
    slit = np.array([[5, 16, 10] if c == [5, 6, 10] else c for c in cells])
    moved, _ = Wild(0, 0.05).move(points, slit, monitor=np.ones(17))
    np.testing.assert_array_equal(moved[[5, 6, 10, 16]], points[[5, 6, 10, 16]])  # it turns at all of them
    assert np.abs(moved[9] - points[9]).max() > 0
    assert contents(moved, slit).min() > 0


def test_quality_of_known_triangles():
    height = math.sqrt(3) / 2
    points = np.array([[0, 0], [1, 0], [0.5, height], [0, 1], [2, 0]])
    cells = np.array([[0, 1, 2], [0, 1, 3], [1, 0, 2], [0, 1, 4]])
    right = 4 * math.sqrt(3) * 0.5 / 4
    np.testing.assert_allclose(cell_quality(points, cells), [1, right, -1, 0], atol=1e-15)
    np.testing.assert_allclose(cell_quality(7 * points - 3, cells), [1, right, -1, 0], atol=1e-14)
    ratio = math.sqrt(2) * (2 + math.sqrt(2)) / (4 * math.sqrt(3) * 0.5)
    np.testing.assert_allclose(aspect_ratio(points, cells), [1, ratio, 1, np.inf], atol=1e-14)
    assert folded(points, cells).tolist() == [False, False, True, True]
    assert folded(points, cells, before=points).tolist() == [False, False, False, True]
    space = np.column_stack([points[:, 0], np.zeros(5), points[:, 1]])
    np.testing.assert_allclose(cell_quality(space, cells), [1, right, 1, 0], atol=1e-15)
    assert folded(np.array([[0.0], [1.0], [0.5]]), np.array([[0, 1], [1, 2]])).tolist() == [False, True]
    with pytest.raises(InputError, match=r"points: expected \(N, 2\) or \(N, 3\)"):
        cell_quality(np.ones((3, 1)), np.array([[0, 1]]))
    with pytest.raises(InputError, match="before: expected as many places"):
        folded(points, cells, before=np.zeros((9, 2)))


def test_a_folded_mesh_that_measures_of_unsigned_areas_do_not_see():
    """Two halves of a square, one folded onto the other: both have the area that they had."""
    points, cells = np.array([[0, 0], [1, 0], [1, 1], [0, 1.0]]), np.array([[0, 1, 3], [1, 2, 3]])
    bent = points.copy()
    bent[2] = 0
    sizes = np.abs(contents(bent, cells))
    np.testing.assert_array_equal(sizes, np.abs(contents(points, cells)))  # and so is all that is made of them
    assert sizes.std() == 0 and sizes.sum() == 1
    assert folded(bent, cells).tolist() == folded(bent, cells, before=points).tolist() == [False, True]
    assert cell_quality(bent, cells)[1] < 0 < cell_quality(bent, cells)[0]
    with pytest.raises(InputError, match=r"cell 1 .* is inverted or flat"):
        Springs().move(bent, cells, monitor=np.ones(4))
