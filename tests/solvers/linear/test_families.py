"""Families of linear systems: equal seeds, coefficients within their bounds, one live region, right null spaces."""

import itertools

import jax
import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components

from sciml.errors import InputError
from sciml.solvers.linear import End, GridSystem
from sciml.solvers.linear._family import on_faces
from sciml.solvers.linear._random_fields import gaussian
from sciml.solvers.linear.families import Constant, Jumps, LogNormal, Mixed, Obstacles, Recorded

OPEN, WALLS, AROUND = (End.OPEN, End.OPEN), (End.WALL, End.WALL), (End.PERIODIC, End.PERIODIC)
FAMILIES = [
    Constant(None),
    Jumps(1e4, None),
    LogNormal(2.0, 0.1, None),
    Obstacles(),
    Obstacles((2, 5), cut=False, coefficients=LogNormal()),
    Mixed((Jumps(), 1.0), (Obstacles(coefficients=Jumps(1e2)), 2.0)),
]


def same(one: GridSystem, other: GridSystem) -> bool:
    if (one.shape, one.ends, one.spacing) != (other.shape, other.ends, other.spacing):
        return False
    leaves = zip(jax.tree.leaves(one.coefficients), jax.tree.leaves(other.coefficients), strict=True)
    return all(np.array_equal(a, b) for a, b in leaves)


@pytest.mark.parametrize("shape", [(18, 13), (7, 10, 8)])
@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: type(f).__name__)
def test_systems_are_what_is_promised(family, shape):
    assert same(family.draw(5, shape), family.draw(np.random.default_rng(5), shape))
    rng, seen = np.random.default_rng(0), set()
    for _ in range(8):
        system = family.draw(rng, shape)
        seen.add(system.ends)
        matrix = system.matrix()
        live = np.flatnonzero(system.live(np).ravel())
        assert len(live) >= 0.3 * system.size
        inner = matrix[live][:, live]
        assert abs(inner - inner.T).max() == 0  # as unknowns are joined both ways
        links = inner.copy()
        links.eliminate_zeros()
        assert connected_components(links, directed=False)[0] == 1
        values = np.linalg.eigvalsh(inner.toarray())
        null = system.null_space()
        # one constant where nothing fixes the level, and nothing else
        assert (null is None) == (not system.closed)
        assert null is None or null.shape[1] == 1
        assert (values[0] <= 1e-12 * values[-1]) == (null is not None)
        assert values[1] > 1e-11 * values[-1]
        if null is not None:
            assert np.abs(matrix @ null).max() <= 1e-12 * values[-1]
        # what any sum over faces gives is what the matrix gives
        phi = rng.standard_normal(shape)
        with jax.enable_x64(True):
            np.testing.assert_allclose(system.apply(phi).ravel(), matrix @ phi.ravel(), atol=1e-9 * values[-1])
        for k, pair in enumerate(system.ends):
            if pair[0] is End.PERIODIC and system.coefficients is not None:
                c = np.moveaxis(system.coefficients[k], len(shape) - 1 - k, 0)
                assert np.array_equal(c[0], c[-1])
    assert len(seen) > 1 or isinstance(family, Mixed)


@pytest.mark.parametrize("contrast", [1e4, 10.0])
def test_jumps_have_their_contrast_between_any_cells(contrast):
    rng, odd = np.random.default_rng(1), 0
    for _ in range(12):
        system = Jumps(contrast, WALLS).draw(rng, (32, 32))
        across = np.asarray(system.coefficients[0])[:, 1:-1]
        assert across.min() >= 1 - 1e-12 and across.max() <= contrast * (1 + 1e-12)
        # the harmonic mean of cells: of a and b at most twice the smaller
        cells = across.max()
        assert cells > 0.3 * contrast
        jump = np.abs(np.diff(np.log(across), axis=1)) > 0.1
        odd += jump[:, ::2].any() and jump[:, 1::2].any()
    assert odd == 12  # jumps are not between pairs of cells alone


def test_harmonic_means_carry_a_current_through_layers_exactly():
    # from φ = 1 at one end to φ = 0 at the other goes one over the sum of the layers' resistances
    cells, h = np.exp(np.random.default_rng(3).standard_normal(24)), 1 / 24
    ends = (OPEN, WALLS)
    system = GridSystem((2, 24), ends, (h, h), on_faces(np.tile(cells, (2, 1)), ends))
    rhs = np.zeros((2, 24))
    rhs[:, 0] = 2 * cells[0] / h**2
    phi = np.linalg.solve(system.matrix().toarray(), rhs.ravel()).reshape(2, 24)
    np.testing.assert_allclose(2 * cells[0] / h * (1 - phi[:, 0]), 1 / np.sum(h / cells), rtol=1e-10)


def test_gaussian_fields_have_unit_variance_and_their_correlation():
    rng, shape, length = np.random.default_rng(0), (40, 40), 0.1
    fields = np.stack([gaussian(rng, shape, (WALLS, AROUND), length) for _ in range(400)])
    assert abs(fields.var() - 1) < 0.05
    for axis in (1, 2):
        for lag in (2, 4):
            pair = np.take(fields, range(40 - lag), axis) * np.take(fields, range(lag, 40), axis)
            assert pair.mean() == pytest.approx(np.exp(-((lag / 40) ** 2) / (2 * length**2)), abs=0.05)
    # along y, which is periodic, both ends are one place; along x they have nothing to do with each other
    assert (fields[:, 0] * fields[:, -1]).mean() > 0.9
    assert abs((fields[:, :, 0] * fields[:, :, -1]).mean()) < 0.1


def test_lognormal_has_its_deviation():
    rng = np.random.default_rng(2)
    logs = [np.log(np.asarray(LogNormal(1.5, 0.05).draw(rng, (32, 32)).coefficients[0])[:, 0]) for _ in range(60)]
    assert np.std(logs) == pytest.approx(1.5, abs=0.1)  # at an open end faces have the cell's own


@pytest.mark.parametrize("shape", [(24, 24), (8, 8, 8)])
def test_obstacles_move_little_by_little(shape):
    family = Obstacles((3, 3), (WALLS,) * len(shape))
    systems = family.moving(3, shape, 6)
    assert len(systems) == 6 and same(systems[0], family.draw(3, shape))
    assert all(same(a, b) for a, b in zip(systems, family.moving(3, shape, 6), strict=True))
    change = [np.mean(np.abs(np.asarray(a.coefficients[0]) - np.asarray(b.coefficients[0])))
              for a, b in itertools.pairwise(systems)]  # fmt: skip
    assert max(change) < 0.1 and sum(c > 0 for c in change) >= len(change) // 2
    still = family.moving(3, shape, 2, pace=0.0)
    assert same(*still)


def test_ends_change_while_obstacles_move():
    systems = Obstacles((1, 3)).moving(0, (16, 16), 12, changes=3)
    assert len({s.ends for s in systems}) > 1
    assert all(len({s.ends for s in systems[k : k + 3]}) == 1 for k in range(0, 12, 3))


def test_a_cut_disc_leaves_its_area():
    # the open shares of faces are those of a disc: their mean, over faces, is that of what is left
    family = Obstacles((1, 1), WALLS, size=(0.2, 0.2))
    for seed in range(30):
        system = family.draw(seed, (64, 64))
        x = np.asarray(system.coefficients[0])
        assert 0 <= x.min() and x.max() == 1
        cut = (x > 0) & (x < 1)
        assert cut.any()
        if 1 - x[:, 1:-1].mean() == pytest.approx(np.pi * 0.04, rel=0.02):
            return
    pytest.fail("no whole disc was drawn")


def test_recorded_systems_are_drawn_by_shape():
    few = [Constant().draw(0, (8, 8)), Jumps().draw(0, (8, 8)), Jumps().draw(0, (4, 6))]
    family = Recorded(few)
    assert {id(family.draw(k, (8, 8))) for k in range(20)} == {id(few[0]), id(few[1])}
    assert family.draw(0, (4, 6)) is few[2]
    with pytest.raises(InputError, match="shape: expected one of the recorded systems, 4 × 6, 8 × 8, got"):
        family.draw(0, (5, 5))


def test_families_with_equal_settings_are_equal():
    assert Jumps(1e3) == Jumps(1e3) != Jumps(1e4)
    assert Mixed((Jumps(), 1.0)) == Mixed((Jumps(), 1)) != Mixed((Jumps(), 2.0))
    assert len({Obstacles(), Obstacles(), Obstacles(cut=False)}) == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Jumps(1.0), "contrast: expected a number > 1"),
        (lambda: LogNormal(-1.0), "sigma: expected a number > 0"),
        (lambda: Constant("open"), "ends: expected a pair of End"),
        (lambda: Constant((End.PERIODIC, End.WALL)), "both ends of an axis periodic"),
        (lambda: Constant((OPEN, OPEN, OPEN)).draw(0, (4, 4)), "expected 3 counts"),
        (lambda: Constant().draw(0, (4,) * 4), "expected 1 or 2 or 3 counts"),
        (lambda: Constant().draw("a", (4, 4)), "rng: expected a NumPy generator or a seed"),
        (lambda: Obstacles((4, 2)), "count: expected"),
        (lambda: Obstacles().draw(0, (4,)), "expected 2 or 3 counts"),
        (lambda: Obstacles((60, 60), size=(0.3, 0.4)).draw(0, (8, 8)), "left too little"),
        (lambda: Mixed(), "expected \\(family, weight > 0\\)"),
        (lambda: Recorded([]), "at least one"),
    ],
)
def test_what_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
