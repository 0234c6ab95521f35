"""Conservation laws on moving meshes: what is even stays even, mass stays, orders, extremes, fronts, refusals."""

import itertools
import math
from functools import partial

import numpy as np
import pytest

import sciml
from sciml.boundary import Dirichlet
from sciml.derivatives.numpy import backend
from sciml.errors import InputError
from sciml.expressions import evaluate
from sciml.meshing import Equidistribution, MeshMover, MongeAmpere, MovingMesh, Springs, gradient
from sciml.meshing._dual_cells import DualCells, least_share
from sciml.meshing._simplices import contents, rule
from sciml.meshing.mover import Proposal
from sciml.problems import Burgers, BurgersFront, BurgersRamp, HeatEquation, Poisson, StepTransport, Swirl
from sciml.solvers._fe_space import made_mesh
from sciml.support import Mesh


class Shaken(MeshMover):
    """Nodes anywhere near where they were at first, another place every time."""

    name = "shaken"

    def __init__(self, size: float = 0.3):
        self.size, self.random = size, np.random.default_rng(0)

    def _propose(self, domain):
        d = domain.points.shape[1]
        side = (1 / len(domain.points)) ** (1 / d)
        return Proposal(domain.points + self.size * side * self.random.uniform(-1, 1, domain.points.shape))


class Swaying(MeshMover):
    """Nodes that sway to and fro, smoothly in space."""

    name = "swaying"

    def __init__(self):
        self.sign = 1.0

    def _propose(self, domain):
        self.sign, x = -self.sign, domain.points
        wave = np.sin(2 * np.pi * x[:, ::-1]) if x.shape[1] > 1 else 1.0
        return Proposal(x + 0.06 * self.sign * np.sin(np.pi * x) * wave)


class Even(Swirl):
    def initial_state(self, case, grid):
        return {"u": np.full(grid.shape, 0.7)}


class EvenFlow(BurgersFront):
    def initial_state(self, case, grid):
        return {"u": np.full(grid.shape, 0.7)}

    def boundary_conditions(self, case):
        return {b: {"u": Dirichlet(0.7)} for b in case.geometry.boundaries}


def errors(motion, case) -> np.ndarray:
    """In L², of the linear functions on the cells as they are, at all times."""
    places, weights = rule(motion.points.shape[2])
    found = []
    for t, x, u in zip(motion.times, motion.points, motion.values, strict=True):
        at = np.einsum("qk,ckd->cqd", places, x[motion.cells])
        exact = case.problem.values(case, at.reshape(-1, x.shape[1]), t).reshape(at.shape[:2])
        size = contents(x, motion.cells)
        found.append(np.sqrt(np.einsum("cq,q,c->", (u[motion.cells] @ places.T - exact) ** 2, weights, size)))
    return np.array(found)


def skewed(resolution: int) -> tuple[np.ndarray, np.ndarray]:
    """A mesh of the square that is no grid."""
    mesh = sciml.meshes.triangulate(sciml.geometry.Box((0.0, 0.0), (1.0, 1.0)), 1 / resolution)
    return mesh.points(), mesh.cells["triangle"]


def line(n: int) -> tuple[np.ndarray, np.ndarray]:
    return np.linspace(0, 1, n + 1)[:, None], np.stack([np.arange(n), np.arange(1, n + 1)], 1)


@pytest.mark.parametrize("mesh", [skewed(9), line(12)], ids=["plane", "line"])
def test_volumes_grow_by_what_their_faces_sweep_over(mesh):
    points, cells = mesh
    dual, random = DualCells(points, cells), np.random.default_rng(1)
    move = 0.02 * random.standard_normal(points.shape)
    faces = dual.faces(points + move / 2, move)
    grown = dual.difference @ faces.swept + np.bincount(dual.owner, faces.outer_swept, len(points))
    after = dual.volumes(points + move)
    np.testing.assert_allclose(grown, after - dual.volumes(points), atol=1e-15)
    assert after.sum() == pytest.approx(contents(points + move, cells).sum(), rel=1e-14)
    for axis in range(points.shape[1]):  # and they are closed
        closed = dual.difference @ faces.normals[:, axis]
        closed += np.bincount(dual.owner, faces.outwards[:, axis], len(points))
        np.testing.assert_allclose(closed, 0, atol=1e-14)


def test_cells_are_watched_on_their_way():
    """A triangle that is flat, or turned over, halfway."""
    before = np.array([[0, 0], [1, 0], [0, 1.0]])
    cells = np.array([[0, 1, 2]])
    turned = np.array([[0, 0], [-1, 0], [0, -1.0]])  # by half a turn: straight lines meet in the middle
    assert contents(turned, cells)[0] == 0.5
    assert least_share(before, turned, cells) == pytest.approx(0, abs=1e-15)
    assert least_share(before, 1.5 * before, cells) == 1
    assert least_share(before, 0.5 * before, cells) == pytest.approx(0.25)


def test_the_swirl_and_its_stream_function_are_one():
    problem = Swirl()
    case = problem.case(width=0.05)
    (balance,) = problem.balances().values()
    ((_, flux, _),) = balance.components()
    points, h = np.random.default_rng(3).uniform(0.05, 0.95, (40, 2)), 1e-6
    for time in (0.2, 0.5, 0.7):

        def leaf(e, time=time):
            kind = type(e).__name__
            if kind == "Field":
                return 1.0
            return time if kind == "Time" else points[:, e.axis] if kind == "Coordinate" else case.parameters[e.name]

        found = [evaluate(f, leaf, leaf, backend.functions) for f in flux]
        for axis, sign in ((0, 1), (1, -1)):
            step = np.zeros(2)
            step[1 - axis] = h
            slope = (problem.stream(case, points + step, time) - problem.stream(case, points - step, time)) / (2 * h)
            np.testing.assert_allclose(found[axis], sign * slope, atol=1e-9)
    np.testing.assert_allclose(problem.values(case, points, 1.0), problem.values(case, points, 0.0), atol=1e-12)
    back = problem.case(width=0.05, speed=-1.5, turn=9.0)  # there and, by another case, back
    start = problem.values(case, points, 0.3)
    assert np.abs(start - problem.values(case, points, 0.0)).max() > 0.1
    assert np.abs(problem.values(back, points, 0.3) - start).max() > 0.1
    np.testing.assert_allclose(problem.values(case, points, 0.7), start, atol=1e-12)


@pytest.mark.parametrize("mover", [None, Shaken(), Swaying()], ids=["static", "shaken", "swaying"])
@pytest.mark.parametrize(
    "problem, resolution", [(Even(), 12), (EvenFlow(1), 20), (EvenFlow(2), 10)], ids=["swirl", "line", "plane"]
)
def test_an_even_state_stays_even(problem, resolution, mover):
    case = problem.case() if not isinstance(problem, Even) else problem.case().on(
        sciml.meshes.triangulate(sciml.geometry.Box((0.0, 0.0), (1.0, 1.0)), 1 / resolution)
    )  # fmt: skip
    found = MovingMesh(mover, resolution=resolution, every=2).simulate(case, [0.1, 0.6])
    assert found.failure == ""
    assert np.abs(found.values - 0.7).max() < 1e-13
    assert (found.tally.moves > 5) == (mover is not None)


@pytest.mark.parametrize("mover", [None, Shaken(), Swaying()], ids=["static", "shaken", "swaying"])
def test_mass_stays_and_nothing_leaves_the_range_of_values(mover):
    """With steps that are as long as the theory has it; what is given are the values of the ring, 0 to 1."""
    case = Swirl().case(width=0.03)
    found = MovingMesh(mover, resolution=24, every=3, courant=1.0).simulate(case, [0.05, 0.5, 1.0])
    assert found.failure == ""
    assert np.abs(found.mass / found.mass[0] - 1).max() < 1e-12
    begun = DualCells(found.points[0], found.cells)
    assert begun.volumes(found.points[0]) @ found.values[0] == pytest.approx(found.mass[0], rel=1e-14)
    assert found.values.min() >= -1e-14 and found.values.max() <= 1 + 1e-14
    for x in found.points:
        assert contents(x, found.cells).min() > 0
        assert contents(x, found.cells).sum() == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("mover", [None, Swaying()], ids=["static", "swaying"])
def test_second_order_where_it_is_smooth(mover):
    """A blob in a swirl, on the way there and after the turn."""
    case = Swirl().case(speed=0.5, radius=0.0, width=0.15, turn=0.2, centre_y=0.6)
    off = []
    for n in (16, 32):
        found = MovingMesh(mover, resolution=n).simulate(case, [0.15, 0.3])
        off.append(errors(found, case))
    orders = [np.log2(a / b) for a, b in itertools.pairwise(off)]
    assert np.min(orders) > 1.8, (orders, off)


def test_second_order_in_one_dimension_with_diffusion_and_given_ends():
    case = BurgersFront().case(viscosity=0.03)
    for mover in (None, Swaying(), Equidistribution()):
        mild = partial(gradient, strength=1.0, smoothing=30.0)
        off = [errors(MovingMesh(mover, mild, resolution=n).simulate(case, [0.1, 0.3]), case) for n in (24, 48)]
        least = 1.8 if not isinstance(mover, Equidistribution) else 1.5  # whose mesh follows what it resolves
        assert np.log2(off[0] / off[1]).min() > least, (mover, off)
    warm = HeatEquation().case(diffusivity=0.1)  # ends in time, nothing carried
    off = []
    for n in (12, 24):
        found = MovingMesh(Swaying(), resolution=n).simulate(warm, [0.3])
        x = found.points[0][:, 0]
        off.append(np.abs(found.values[0] - warm.exact([0.3], (x,))["T"][0]).max())
    assert math.log2(off[0] / off[1]) > 1.8, off


def test_nodes_that_follow_a_front_are_worth_more():
    case = BurgersFront().case(viscosity=3e-3)
    still, moved = (errors(MovingMesh(m, resolution=40).simulate(case, [0.1, 0.3]), case)
                    for m in (None, Equidistribution()))  # fmt: skip
    assert (moved < 0.25 * still).all(), (still, moved)
    plane = BurgersFront(2).case(viscosity=5e-3)
    monitor = partial(gradient, strength=10.0, smoothing=5.0)
    still = errors(MovingMesh(None, resolution=16).simulate(plane, [0.1, 0.2]), plane)
    found = MovingMesh(MongeAmpere(3e-2), monitor, resolution=16, every=4).simulate(plane, [0.1, 0.2])
    assert (errors(found, plane) < 0.75 * still).all(), (still, errors(found, plane))
    assert min(contents(x, found.cells).min() for x in found.points) > 0


def test_steps_and_shocks_on_a_line_are_where_they_should_be():
    step = StepTransport().case()
    for mover in (None, Equidistribution(), Shaken()):
        found = MovingMesh(mover, resolution=40).simulate(step, [0.25])
        assert found.values.min() >= -1e-13 and found.values.max() <= 1 + 1e-13
        assert found.mass[0] == pytest.approx(0.75, abs=0.02)  # of a step that lies somewhere between two nodes
    ramp = BurgersRamp().case()
    found = MovingMesh(Equidistribution(), resolution=40).simulate(ramp, [2.0])
    x, u = found.points[0][:, 0], found.values[0]
    assert np.interp(-0.5, u[::-1], x[::-1]) == pytest.approx(x[-1])
    assert float(np.interp(-0.5, -u, x)) == pytest.approx(0.5, abs=0.02)


def test_the_turn_of_the_flow_ends_a_step_whether_it_is_asked_for_or_not():
    case = Swirl().case(radius=0.0, width=0.15, turn=0.037, speed=1.0)
    solver = MovingMesh(resolution=12)
    alone, both = solver.simulate(case, [0.074]), solver.simulate(case, [0.037, 0.074])
    np.testing.assert_array_equal(alone.values[-1], both.values[-1])


def test_answers_are_solutions_with_nodes_that_move(tmp_path):
    case = BurgersFront(2).case(viscosity=0.02)
    solver = MovingMesh(Springs(1), resolution=10, every=4)
    found, times = solver.solve(case, [0.1, 0.2]), [0.1, 0.2]
    assert found.attrs["status"] == "ok" and found.attrs["solver"] == "moving_mesh"
    assert found.x.dims == ("time", "node") and found.u.dims == ("time", "node")
    assert float(np.abs(found.x[1] - found.x[0]).max()) > 1e-3
    bare = solver.simulate(case, times)
    np.testing.assert_array_equal(found.u.values, bare.values)
    places = np.random.default_rng(0).uniform(0.1, 0.9, (20, 2))
    at = solver.solve(case, times, points=places)
    for k, x in enumerate(bare.points):
        expected = Mesh(x, {"triangle": bare.cells}).sample(bare.values[k][None], places)[0]
        np.testing.assert_allclose(at.u.values[k], expected, atol=1e-13)
    several = solver.solve_many([case, BurgersFront(2).case(viscosity=0.03)], times, progress=False)
    sciml.data.write(several, tmp_path / "fronts.h5")
    with sciml.data.open(tmp_path / "fronts.h5") as kept:
        np.testing.assert_allclose(kept.u.values[: found.u.size], found.u.values.ravel(), atol=1e-6)
        np.testing.assert_allclose(kept.x.values[: found.u.size], found.x.values.ravel(), atol=1e-6)


def test_meshes_that_come_with_a_case_are_those_of_its_domain():
    case = BurgersFront(2).case(viscosity=0.05)
    points, cells = skewed(6)
    solver, mesh = MovingMesh(Springs(1)), Mesh(points, {"triangle": cells})
    found = solver.simulate(case.on(mesh), [0.05])
    turned = solver.simulate(case.on(Mesh(points, {"triangle": cells[:, ::-1]})), [0.05])
    np.testing.assert_allclose(turned.values, found.values, atol=1e-9)
    x, y = np.meshgrid(np.linspace(0, 1, 4), np.linspace(0, 1, 4))
    first = np.add.outer(4 * np.arange(3), np.arange(3)).ravel()
    quads = Mesh(np.stack([x.ravel(), y.ravel()], 1), {"quadrilateral": first[:, None] + [0, 1, 5, 4]})
    assert solver.simulate(case.on(quads), [0.01]).cells.shape == (18, 3)
    twice = Mesh(
        np.concatenate([points, points + np.array([3, 0])]), {"triangle": np.concatenate([cells, cells + len(points)])}
    )
    for wrong, words in (
        (Mesh(points + 1e6, {"triangle": cells}), "where the domain has no boundary"),
        (Mesh(points / 2, {"triangle": cells}), "where the domain has no boundary"),
        (Mesh(points + np.array([0.2, 0]), {"triangle": cells}), "moving_mesh: BurgersFront.*: mesh: ends at"),
        (twice, "falls into 2 parts"),
    ):
        with pytest.raises(InputError, match=words):
            solver.solve(case.on(wrong), [0.05])


class Called:
    """A monitor that is an object."""

    def __call__(self, points, cells, field, u=0.0):
        return 1 + u * field**2


def test_settings_and_what_a_march_took():
    solver = MovingMesh(MongeAmpere(factor="lu"), partial(Called(), u=1), max_substeps=3)
    told = solver.settings
    assert told["monitor"] == {"name": "Called", "u": 1} and told["max_substeps"] == 3
    assert told["mover"]["name"] == "monge_ampere" and told["mover"]["factor"] == "lu"
    assert repr(solver).startswith("MovingMesh(mover=monge_ampere, monitor=Called, resolution=32, every=5")
    front = BurgersFront().case()
    found = MovingMesh(max_substeps=3).simulate(front, [1.0])
    assert "max_substeps = 3" in found.failure and found.tally.steps == 3 and found.tally.seconds > 0


def test_what_cannot_be_is_said_in_a_line():
    front = BurgersFront().case()
    for make, words in (
        (lambda: MovingMesh("springs"), "mover is 'springs', expected one such as"),
        (lambda: MovingMesh(monitor=3), "monitor is 3, expected a function"),
        (lambda: MovingMesh(every=0), "every is 0, expected a whole number from 1 on"),
        (lambda: MovingMesh(courant=1.5), r"courant is 1.5, expected a number in \(0, 1\]"),
        (lambda: MovingMesh(first=-1), "first is -1, expected a whole number from 0 on"),
        (lambda: MovingMesh().solve(front), "burgers_front changes in time"),
        (lambda: MovingMesh().solve(Burgers().case(), [0.1]), "its domain is periodic"),
        (lambda: MovingMesh().solve(Poisson().case()), "cannot solve the problem 'poisson': it is steady"),
        (lambda: MovingMesh().solve(sciml.problems.LidDrivenCavity().case(), [0.1]), "not one field"),
        (lambda: MovingMesh().solve(sciml.problems.AllenCahn().case(), [0.1]), "its domain is periodic"),
        (lambda: MovingMesh().solve(sciml.problems.DiffusionSorption().case(), [1.0]), "stores another thing"),
        (lambda: MovingMesh(Equidistribution()).solve(Swirl().case(), [0.1]), "expected a mesh of intervals"),
        (lambda: MovingMesh(Springs(), lambda *a: -a[2]).solve(front, [0.1]), "monitor: expected positive"),
        (
            lambda: MovingMesh(Springs(), lambda *a: a[2][:, None]).solve(front, [0.1]),
            r"moving_mesh: BurgersFront.*: monitor: expected a value for each of 33 nodes, got the shape \(33, 1\)",
        ),
        (lambda: MovingMesh(Springs(), lambda *a: None).solve(front, [0.1]), "of 33 nodes, got None"),
        (lambda: MovingMesh(Springs(), lambda *a: a[2][1:]).solve(front, [0.1]), r"got the shape \(32,\)"),
        (lambda: MovingMesh(Springs(), lambda *a: "wrong").solve(front, [0.1]), "nodes, got 'wrong'"),
        (
            lambda: MovingMesh().solve(front.on(made_mesh(Swirl().case().geometry, 3)), [0.1]),
            "mesh: has 2 dimensions, the domain 1",
        ),
    ):
        with pytest.raises(InputError, match=words):
            make()
    assert not MovingMesh().supports(Poisson()) and MovingMesh().supports(Swirl())
    with pytest.raises(sciml.errors.SolverError, match="reached max_substeps = 3 at t ="):
        MovingMesh(max_substeps=3).solve(front, [1.0])
