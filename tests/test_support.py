"""Supports against integrals and linear functions that are known exactly."""

import itertools

import numpy as np
import pytest

from sciml.errors import InputError
from sciml.geometry import Box
from sciml.support import Grid, Mesh, Points, kind_of, read

RNG = np.random.default_rng(0)
STRETCHED = np.array([0.0, 0.1, 0.3, 0.35, 0.7, 1.0])


def linear(points, dimensions):
    return 0.7 + np.asarray(points) @ np.array([2.0, -3.0, 0.5])[:dimensions]


def grid(dimensions, **more):
    return Grid(tuple((a + 1) * STRETCHED[: 6 - a] + a for a in range(dimensions)), **more)


def box_mesh(kind, n=3):
    """The unit cube, square or line out of n cells along each axis."""
    d = {"line": 1, "triangle": 2, "quadrilateral": 2, "tetrahedron": 3, "hexahedron": 3}[kind]
    axes = [np.linspace(0, 1, n + 1) ** (1 + 0.3 * a) for a in range(d)]
    position = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, d)
    number = np.arange(len(position)).reshape((n + 1,) * d)
    corner = {1: [(0,), (1,)], 2: [(0, 0), (1, 0), (1, 1), (0, 1)]}
    corner[3] = [(*c, k) for k in (0, 1) for c in corner[2]]
    cells = np.stack([number[tuple(slice(o, n + o) for o in c)].ravel() for c in corner[d]], 1)
    if kind == "triangle":
        cells = np.concatenate([cells[:, [0, 1, 2]], cells[:, [0, 3, 2]]])  # one half each way round
    if kind == "tetrahedron":  # Kuhn's six, of both orientations
        flat = np.stack(
            [number[tuple(slice(o, n + o) for o in c)].ravel() for c in itertools.product((0, 1), repeat=3)], 1
        )
        paths = [[0, 1 << a, (1 << a) | (1 << b), 7] for a, b, _ in itertools.permutations((0, 1, 2))]
        cells = np.concatenate([flat[:, p] for p in paths])
    return Mesh(position, {kind: cells})


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_grid_weights(dimensions):
    g = grid(dimensions)
    volume = float(np.prod([b - a for a, b in g.extents]))
    middle = np.array([(a + b) / 2 for a, b in g.extents])
    assert g.weights().shape == g.shape == g.points().shape[:-1]
    assert g.weights().sum() == pytest.approx(volume, rel=1e-13)
    assert (g.weights() * linear(g.points(), dimensions)).sum() == pytest.approx(volume * linear(middle, dimensions))
    assert not g.uniform_cells and Grid.uniform(Box((0.0,) * dimensions, (1.0,) * dimensions), 4).uniform_cells
    assert np.allclose(
        g.unit().reshape(-1, dimensions).max(0),
        [(c[-1] - f[0]) / np.ptp(f) for c, f in zip(g.centres, g.faces, strict=True)],
    )


def test_masked_grid_weights():
    mask = np.ones((4, 5))
    mask[1, 2] = 0
    g = grid(2, mask=mask)
    assert g.weights()[1, 2] == 0 and g.weights().sum() == pytest.approx(g.volumes().sum() - g.volumes()[1, 2])
    assert g.inside is not None and not g.inside[1, 2] and grid(2, mask=np.ones((4, 5))).inside is None


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_grid_stencil_is_exact_for_multilinear_functions(dimensions):
    g = grid(dimensions)

    def multilinear(p):
        return np.prod(1 + np.asarray(p) * np.array([0.5, -0.25, 2.0])[:dimensions], axis=-1)

    low, high = np.array(g.extents).T
    where = low + RNG.random((50, dimensions)) * (high - low)  # the half cells at the ends are among these
    stencil = g.stencil(where)
    assert stencil.index.shape == (50, 2**dimensions) and np.allclose(stencil.weight.sum(1), 1)
    np.testing.assert_allclose(g.sample(multilinear(g.points()), where), multilinear(where), rtol=1e-12)
    several = np.stack([multilinear(g.points())] * 3)[None]
    assert g.sample(several, where).shape == (1, 3, 50)
    np.testing.assert_allclose(
        g.sample(linear(g.points(), dimensions), g.points().reshape(-1, dimensions)),
        linear(g.points(), dimensions).ravel(),
    )


def test_seam_of_a_periodic_axis():
    n = 8
    g = Grid((np.linspace(0, 2, n + 1), np.linspace(0, 1, 4)), periodic=(True, False))
    values = np.broadcast_to(np.arange(n, dtype=float), (3, n))
    for x in (0.0, 2.0, 4.0, -2.0):  # midway between the last and the first cell
        assert g.sample(values, np.array([[x, 0.5]])) == pytest.approx([(n - 1) / 2])
    assert g.sample(values, np.array([[0.0625, 0.5]])) == pytest.approx([0.25 * (n - 1)])
    np.testing.assert_allclose(g.sample(values, g.points().reshape(-1, 2) + np.array([6.0, 0.0])), values.ravel())
    one = Grid((np.array([0.0, 1.0]),), periodic=(True,))
    assert one.sample(np.array([3.0]), np.array([[0.9], [-0.3]])).tolist() == [3.0, 3.0]


def test_cells_outside_the_mask_take_no_part():
    mask = np.ones((4, 5))
    mask[1, 2] = mask[3, 4] = 0
    g = grid(2, mask=mask)
    where = np.array([0.05, 1.2]) + RNG.random((40, 2)) * [0.9, 0.8]
    values = RNG.normal(size=(4, 5))
    other = np.where(mask > 0, values, np.pi * 1e6)
    assert np.array_equal(g.sample(values, where), g.sample(other, where))
    constant = np.where(mask > 0, 2.5, 7.0)
    inside = g.points()[mask > 0]
    np.testing.assert_allclose(g.sample(constant, inside), 2.5)
    np.testing.assert_array_equal(g.sample(values, inside), values[mask > 0])
    hole = g.points()[1, 2][None]  # the centre of a cell that is left out: the nearest of its neighbours
    assert g.stencil(hole).weight.sum() == pytest.approx(1) and g.sample(constant, hole) == pytest.approx([2.5])
    wide = np.ones((6, 6))
    wide[1:5, 1:5] = 0
    far = Grid.uniform(Box((0.0, 0.0), (1.0, 1.0)), 6)
    far = Grid(far.faces, mask=wide)
    assert far.sample(np.ones((6, 6)), np.array([[0.5, 0.5]])).tolist() == [0.0]  # nothing inside around it


def test_grid_from_centres_alone():
    g = Grid.from_centres((np.array([0.5, 1.5, 2.5]), np.array([0.0, 1.0, 3.0])))
    assert g.extents == ((0.0, 3.0), (-0.5, 4.0)) and g.periodic == (False, False) and g.shape == (3, 3)
    np.testing.assert_allclose(g.points()[..., 0][0], [0.5, 1.5, 2.5])
    np.testing.assert_allclose(g.points()[:, 0, 1], [0.0, 1.0, 3.0])
    assert g.weights().sum() == pytest.approx(3.0 * 4.5)
    with pytest.raises(InputError, match="two centres and more"):
        Grid.from_centres((np.array([0.5]),))
    with pytest.raises(InputError, match="1 axes, as the geometry has, got 2"):
        Grid.from_centres((np.arange(3.0), np.arange(3.0)), Box((-1.0,), (3.0,)))


def test_grid_from_centres():
    box = Box((0.0,), (1.0,))
    g = Grid.from_centres((np.diff(STRETCHED) / 2 + STRETCHED[:-1],), box)
    np.testing.assert_allclose(g.faces[0], STRETCHED, atol=1e-12)
    loose = Grid.from_centres((np.array([0.1, 0.2, 0.8]),), box)  # no faces have these as midpoints
    np.testing.assert_allclose(loose.faces[0], [0, 0.15, 0.5, 1])
    around = Grid.from_centres((np.arange(8) / 8,), Box((0.0,), (1.0,), periodic=(True,)))
    np.testing.assert_allclose(around.centres[0], np.arange(8) / 8, atol=1e-14)
    assert around.uniform_cells and around.weights().sum() == pytest.approx(1)


def test_onto_and_same():
    coarse, fine = (Grid.uniform(Box((0.0, 0.0), (2.0, 1.0)), n) for n in ((4, 8), (8, 16)))
    values = linear(coarse.points(), 2)
    np.testing.assert_allclose(coarse.onto(values, fine), linear(fine.points(), 2), atol=1e-12)
    assert (
        coarse.onto(values, Grid(coarse.faces)) is not None and coarse.same(Grid(coarse.faces)) and coarse.same(coarse)
    )
    assert not coarse.same(fine) and not coarse.same(Points(coarse.points().reshape(-1, 2)))
    shifted = Grid((coarse.faces[0] + 1e-9, coarse.faces[1]))
    assert coarse.same(shifted) and not coarse.same(Grid((coarse.faces[0] + 0.01, coarse.faces[1])))
    mask = np.ones((4, 8))
    mask[2, 3] = 0
    holed, moved = Grid(coarse.faces, mask=mask), Grid(coarse.faces, mask=np.roll(mask, 1, 1))
    assert (
        not holed.same(coarse)
        and not coarse.same(holed)
        and not holed.same(moved)
        and holed.same(Grid(coarse.faces, mask=mask))
    )
    filled = holed.onto(np.where(mask > 0, 5.0, 0.0), moved)
    np.testing.assert_allclose(filled[moved.inside], 5.0)
    mesh, fifths = box_mesh("triangle"), Grid.uniform(Box((0.0, 0.0), (1.0, 1.0)), 5)
    np.testing.assert_allclose(mesh.onto(linear(mesh.points(), 2), fifths), linear(fifths.points(), 2), atol=1e-12)


@pytest.mark.parametrize("kind", ["line", "triangle", "quadrilateral", "tetrahedron", "hexahedron"])
def test_mesh_weights_and_stencil(kind):
    mesh = box_mesh(kind)
    d = mesh.dimensions
    assert mesh.weights().sum() == pytest.approx(1, rel=1e-12) and (mesh.weights() > 0).all()
    assert (mesh.weights() * linear(mesh.points(), d)).sum() == pytest.approx(linear(np.full(d, 0.5), d), rel=1e-12)
    where = RNG.random((200, d))
    np.testing.assert_allclose(mesh.sample(linear(mesh.points(), d), where), linear(where, d), rtol=1e-9)
    np.testing.assert_allclose(
        mesh.sample(linear(mesh.points(), d), mesh.points()), linear(mesh.points(), d), rtol=1e-9
    )
    shuffled = RNG.permutation(mesh.size)
    moved = np.empty_like(shuffled)
    moved[shuffled] = np.arange(mesh.size)
    other = Mesh(mesh.position[shuffled], {kind: moved[mesh.cells[kind]]})
    np.testing.assert_allclose(other.weights(), mesh.weights()[shuffled], rtol=1e-12)
    turned = Mesh(
        mesh.position,
        {kind: np.roll(mesh.cells[kind], 1, 1) if kind in ("triangle", "quadrilateral") else mesh.cells[kind][::-1]},
    )
    np.testing.assert_allclose(turned.weights().sum(), 1)
    edges = mesh.edges()
    assert (edges[:, 0] < edges[:, 1]).all() and len(np.unique(edges, axis=0)) == len(edges)
    assert (
        len(edges)
        == {"line": 3, "triangle": 33, "quadrilateral": 24, "tetrahedron": 3 * 48 + 3 * 36 + 27, "hexahedron": 144}[
            kind
        ]
    )


def test_points_beyond_a_mesh_take_the_nearest_node():
    mesh = box_mesh("triangle")
    values = RNG.normal(size=mesh.size)
    corner = int(np.argmin(((mesh.position - 1) ** 2).sum(1)))
    assert mesh.sample(values, np.array([[1.5, 2.0]])) == pytest.approx([values[corner]])


def test_points_in_thin_cells_are_found():
    """Cells a thousand times longer than high: those with the nearest centres are not those that hold a point."""
    x, y = np.linspace(0, 1, 5), np.linspace(0, 0.02, 101)
    position = np.stack(np.meshgrid(x, y, indexing="ij"), -1).reshape(-1, 2)
    number = np.arange(505).reshape(5, 101)
    quads = np.stack([number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:]], -1).reshape(-1, 4)
    mesh = Mesh(position, {"quadrilateral": quads})
    where = RNG.random((300, 2)) * [1.0, 0.02]
    np.testing.assert_allclose(mesh.sample(linear(position, 2), where), linear(where, 2), rtol=1e-9)


def test_cells_of_several_kinds():
    position = np.array([[0, 0], [1, 0], [2, 0], [0, 1], [1, 1], [2, 1.0]])
    mesh = Mesh(
        position,
        {
            "quadrilateral": np.array([[0, 1, 4, 3]]),
            "triangle": np.array([[1, 2, 4], [2, 4, 5]]),
            "line": np.array([[0, 1]]),
        },
    )
    assert mesh.weights().sum() == pytest.approx(2)
    assert (mesh.weights() * linear(position, 2)).sum() == pytest.approx(2 * linear([1, 0.5], 2))
    where = RNG.random((50, 2)) * [2, 1]
    np.testing.assert_allclose(mesh.sample(linear(position, 2), where), linear(where, 2), rtol=1e-12)
    again = read({"x": position[:, 0], "y": position[:, 1]} | {k: v for k, (_, v) in mesh.variables().items()}, None)
    assert isinstance(again, Mesh) and again.same(mesh) and set(again.cells) == set(mesh.cells)
    assert kind_of(4, 2) == "quadrilateral" and kind_of(4, 3) == "tetrahedron"
    flat = Mesh(np.vstack([position, [[1, 0.5], [1.5, 0]]]), {"triangle": np.array([[0, 1, 2], [0, 1, 4], [1, 2, 4]])})
    assert np.isfinite(flat.sample(np.ones(8), where)).all()  # a cell without area does no harm


def test_surfaces_and_curves():
    circle = 2 * np.pi * np.arange(400) / 400
    ring = np.stack([np.cos(circle), np.sin(circle)], 1)
    curve = Mesh(ring, {"line": np.stack([np.arange(400), (np.arange(400) + 1) % 400], 1)})
    assert curve.weights().sum() == pytest.approx(2 * np.pi, rel=1e-4)
    np.testing.assert_allclose(curve.sample(linear(ring, 2), ring), linear(ring, 2), atol=1e-9)
    plane = box_mesh("triangle")
    tilted = np.column_stack([plane.position, plane.position @ [1.0, 2.0]])
    assert Mesh(tilted, plane.cells).weights().sum() == pytest.approx(np.sqrt(6))


def test_loose_points():
    position = RNG.random((30, 3))
    cloud = Points(position)
    assert cloud.weights().sum() == pytest.approx(np.prod(np.ptp(position, axis=0)))
    values = RNG.normal(size=(2, 30))
    np.testing.assert_allclose(cloud.sample(values, position), values, atol=1e-9)
    np.testing.assert_allclose(cloud.sample(np.full(30, 4.0), RNG.random((9, 3))), 4.0)
    assert Points(position, np.full(30, 0.5)).weights().tolist() == [0.5] * 30
    unit = cloud.unit()
    assert unit.min(0).tolist() == [0] * 3 and unit.max(0).tolist() == [1] * 3
    line = Points(np.array([[1.0, 5.0], [3.0, 5.0]]))  # no extent along y
    assert np.array_equal(line.unit(), [[0, 0], [1, 0]]) and line.weights().sum() == pytest.approx(2)
    assert Points(np.array([[1.0]])).sample(np.array([2.0]), np.array([[0.0]])).tolist() == [2.0]


SQUARE = np.array([[0, 0], [1, 0], [1, 1], [0, 1.0]])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Grid((np.array([0.0, 1.0, 0.5]),)), "increas"),
        (lambda: Grid((np.array([0.0, np.nan]),)), "finite"),
        (lambda: Grid((np.array([0.0]),)), "faces along x"),
        (lambda: Grid((STRETCHED,), periodic=(True, False)), "periodic"),
        (lambda: Grid((STRETCHED,), mask=np.ones(4)), "mask has shape"),
        (lambda: Grid((STRETCHED,), mask=np.zeros(5)), "leaves no cell"),
        (lambda: Grid.uniform(Box((0.0,), (1.0,)), (3, 3)), "cell counts"),
        (lambda: Points(np.zeros((0, 2))), "positions"),
        (lambda: Points(np.zeros(3)), "positions"),
        (lambda: Points([[0.0, np.nan], [1.0, 1.0]]), "position 0 is not finite"),
        (lambda: Points(SQUARE, np.ones(3)), "volumes"),
        (lambda: Points(SQUARE, np.zeros(4)), "volumes"),
        (lambda: Mesh([[0.0, 0.0], [1.0, np.inf], [1.0, 1.0]], {"triangle": [[0, 1, 2]]}), "position 1 is not finite"),
        (lambda: Mesh(SQUARE, {"triangle": [[0, 1, 4]]}), "names node 4, expected 0 to 3"),
        (lambda: Mesh(SQUARE, {"triangle": [[0, 1, -1]]}), "names node -1"),
        (lambda: Mesh(SQUARE, {"triangle": [[0, 1, 2, 3]]}), "triangle cells as integers"),
        (lambda: Mesh(SQUARE, {"triangle": [[0.0, 1.0, 2.0]]}), "triangle cells as integers"),
        (lambda: Mesh(SQUARE, {"pentagon": [[0, 1, 2]]}), "pentagon"),
        (lambda: Mesh(SQUARE, {}), "at least one cell"),
        (lambda: Mesh(SQUARE, {"triangle": np.zeros((0, 3), int)}), "at least one cell"),
        (lambda: kind_of(7, 3), "7 vertices"),
    ],
)  # fmt: skip
def test_refusals(make, message):
    with pytest.raises(InputError, match=message):
        make()
