"""Baselines: what they are by definition, and an interpolant that is exact at its nodes and smooth between them."""

import numpy as np
import pytest

from sciml import Series, data
from sciml.errors import InputError
from sciml.problem import Case
from sciml.problems import Burgers, DataProblem, LidDrivenCavity, Poisson
from sciml.solver import Start
from sciml.solvers import MeanField, ParameterInterpolation, Persistence
from sciml.support import Grid, Mesh, Points

N = 32
DT = 0.05


def solution(reynolds, frames=9, velocity=1.0, subset=""):
    case = Burgers().case(viscosity=velocity / reynolds, velocity=velocity, subset=subset)
    times = np.arange(frames) * DT * case.scales.time
    x = (np.arange(N) + 0.5) / N
    return data.solution(case, times, {"u": (("time", "x"), case.exact(times, (x,))["u"])}, {"x": x})


@pytest.fixture(scope="module")
def burgers():
    speeds = (1.0, 2.0, 0.5)
    return data.pack([solution(r, velocity=speeds[i % 3]) for i, r in enumerate(np.geomspace(10, 100, 9))], dtype=None)


def go_on(solver, case, frames, start, times):
    """(time, field, *shape) from frames (history, field, *shape) at `start` on."""
    support = solver.layout.support(case, solver.name)
    begin = Start(case, support, np.asarray(frames), float(start))
    return np.stack([f[0] for f in solver.rollout([begin], np.asarray(times)[None])])


def relative(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


def test_persistence():
    ds = data.pack([solution(20)], dtype=None)
    case, truth = data.case(ds, 0)
    b = Persistence().fit(ds, split=None)
    assert b.supports(case.problem) and not b.supports(Poisson())
    initial = truth.u.values[3][None, None]
    found = go_on(b, case, initial, truth.time.values[3], truth.time.values[4:8])
    assert found.shape == (4, 1, N) and (found == initial).all()
    resumed = b.resume(case, truth.isel(time=slice(2, 4)), [0.33, 7.0])  # the last frame is where it goes on
    np.testing.assert_allclose(resumed.u.values, np.broadcast_to(initial[0, 0], (2, N)), rtol=1e-6)
    solved = b.solve(case, truth.time.values)
    np.testing.assert_allclose(solved.u.values, np.broadcast_to(truth.u.values[0], (9, N)), rtol=1e-6)


def test_mean_field(burgers):
    """The mean of velocities in units of the case's own, given back in the units of the case asked about."""
    b = MeanField().fit(burgers, split=None)
    every = np.stack([data.case(burgers, i)[1].u.values / data.case(burgers, i)[0].velocity for i in range(9)])
    case = Burgers().case(velocity=3.0, viscosity=0.1)
    step = DT / 3
    found = go_on(b, case, np.zeros((1, 1, N)), 2 * step, step * np.arange(3, 6))
    np.testing.assert_allclose(found[:, 0], 3 * every.mean(0)[3:6], rtol=1e-12, atol=1e-12)
    late = go_on(b, case, np.zeros((1, 1, N)), 6 * step, step * np.arange(7, 12))  # beyond the data the last one stays
    np.testing.assert_allclose(late[2:, 0], np.broadcast_to(late[1, 0], (3, N)))
    between = go_on(b, case, np.ones((1, 1, N)), 2 * step, [2 * step, 2.25 * step])  # linear between frames
    assert (between[0] == 1).all()  # at the start what is given
    np.testing.assert_allclose(between[1, 0], 3 * (0.75 * every.mean(0)[2] + 0.25 * every.mean(0)[3]), atol=1e-12)


def test_interpolation_meets_training_cases_and_lies_between(burgers):
    b = ParameterInterpolation().fit(burgers, split=None)
    for i in (0, 4, 8):
        case, truth = data.case(burgers, i)
        found = b.solve(case, truth.time.values)
        assert relative(found.u.values, truth.u.values) < 2e-3
    held = solution(10 ** (1 + 3.5 / 8), velocity=2.0)  # half way between two training cases
    case, truth = data.case(data.pack([held], dtype=None), 0)
    found = b.solve(case, truth.time.values)
    mean = MeanField().fit(burgers, split=None).solve(case, truth.time.values)
    near = data.case(burgers, 3)[1].u.values / data.case(burgers, 3)[0].velocity * 2.0
    error = relative(found.u.values, truth.u.values)
    assert error < 5e-3
    assert error < 0.05 * relative(mean.u.values, truth.u.values)
    assert error < 0.2 * relative(near, truth.u.values)  # better than the nearest neighbour


def cavity(rng, i, subset="ic"):
    """A made-up response, linear in lid and initial field, so that the right answer is known everywhere."""
    amplitude = rng.normal(size=3)
    knots = np.arange(3) * 0.5
    lid = rng.normal(size=3)
    n = 8
    x = (np.arange(n + 1)) / n
    psi = sum(a * np.outer(np.sin(np.pi * (k + 1) * x), np.sin(np.pi * x)) for k, a in enumerate(amplitude))
    case = LidDrivenCavity().case(initial_streamfunction=psi, lid_motion=Series(knots, lid), subset=subset)
    times = np.arange(5) * 0.25
    c = (np.arange(n) + 0.5) / n
    from sciml import Grid

    first = case.problem.initial_state(case, Grid.uniform(case.geometry, n))
    decay = np.exp(-times)[:, None, None]
    drive = np.interp(times, knots, lid)[:, None, None] * times[:, None, None] * c[None, :, None]
    fields = {"u": first["u"] * decay + drive, "v": first["v"] * decay}
    return data.solution(case, times, {k: (("time", "y", "x"), v) for k, v in fields.items()}, {"x": c, "y": c})


def test_initial_fields_and_lids_are_part_of_the_description():
    rng = np.random.default_rng(0)
    packed = data.pack([cavity(rng, i) for i in range(60)], dtype=None)
    b = ParameterInterpolation().fit(packed, split=None)
    assert [block.size > 0 for block in b.blocks] == [True, True, False, True]  # no coefficients or sources
    held = data.pack([cavity(rng, i) for i in range(5)], dtype=None)
    still = MeanField().fit(packed, split=None)
    for i in range(5):
        case, truth = data.case(held, i)
        times = truth.time.values
        u = truth.u.values
        assert relative(b.solve(case, times).u.values[1:], u[1:]) < 0.15
        assert relative(still.solve(case, times).u.values[1:], u[1:]) > 0.5


def test_what_it_misses_at_the_start_is_carried_on():
    """A constant offset that no feature tells: the frame at the start does."""
    rng = np.random.default_rng(1)

    def shifted():
        base = solution(30)
        offset = rng.normal()
        return base.assign(u=base.u + offset)

    packed = data.pack([shifted() for _ in range(12)], dtype=None)
    b = ParameterInterpolation().fit(packed, split=None)
    np.testing.assert_allclose(b.carry[""], 1.0, atol=0.05)
    case, truth = data.case(data.pack([shifted()], dtype=None), 0)
    found = go_on(b, case, truth.u.values[2][None, None], truth.time.values[2], truth.time.values[3:7])
    assert np.abs(found[:, 0] - truth.u.values[3:7]).max() < 0.1


def test_what_is_known_exactly_at_the_start_says_nothing_of_later(burgers):
    """All training cases share their initial state: its residuals are rounding, and must not be blown up."""
    b = ParameterInterpolation().fit(burgers, split=None)
    assert np.abs(b.carry[""]).max() < 2
    case, truth = data.case(data.pack([solution(10 ** (1 + 3.5 / 8))], dtype=None), 0)
    rough = truth.u.values[0] + 1e-6 * np.random.default_rng(0).standard_normal(N)
    found = go_on(b, case, rough[None, None], 0.0, truth.time.values[1:9])[-1, 0]
    assert relative(found, truth.u.values[8]) < 0.02


@pytest.mark.parametrize("cut", [1, 3])
def test_data_may_begin_later_than_time_zero(burgers, cut):
    """Cases known from step `cut` on are as well interpolated and averaged as whole ones."""
    late = [data.case(burgers, i)[1].isel(time=slice(cut, None)) for i in range(9)]
    packed = data.pack(late, dtype=None)
    case, truth = data.case(data.pack([solution(10 ** (1 + 3.5 / 8))], dtype=None), 0)
    start, want = truth.u.values[cut][None, None], truth.u.values[cut + 1 : cut + 4]
    later = (truth.time.values[cut], truth.time.values[cut + 1 : cut + 4])
    for kind, least in ((ParameterInterpolation, 0.01), (MeanField, None)):
        whole, part = kind().fit(burgers, split=None), kind().fit(packed, split=None)
        a, b = (go_on(k, case, start, *later)[:, 0] for k in (whole, part))
        if least is None:
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
        else:
            assert relative(b, want) < least
    with pytest.raises(InputError, match=r"begin at 0 to 0\.05 time scales"):
        MeanField().fit([solution(10), solution(20).isel(time=slice(1, None))], split=None)


def test_errors(burgers):
    with pytest.raises(InputError, match="call fit first"):
        Persistence().solve(Burgers().case(), [0.0])
    with pytest.raises(InputError, match="no case of the data set is in split 'test'"):
        MeanField().fit(burgers, split="test")
    b = Persistence().fit(burgers, split=None)
    with pytest.raises(InputError, match="from that of the frame on"):
        b.resume(Burgers().case(), solution(10).isel(time=slice(2, 3)), [0.05])
    x = (np.arange(4) + 0.5) / 4
    steady = data.solution(Poisson().case(), None, {"p": (("y", "x"), np.zeros((4, 4)))}, {"x": x, "y": x})
    with pytest.raises(InputError, match="steady"):
        Persistence().fit([steady], split=None)


# -- other supports, and problems that say little ---------------------------------------------------------------------

CLOCK = np.array([0.0, 0.25, 0.5, 1.0])


def lattice(n, shift=0.0):
    """n × n nodes of the unit square, joined by quadrilaterals; those inside moved by `shift`."""
    x = np.linspace(0, 1, n)
    points = np.stack(np.meshgrid(x, x), -1).reshape(-1, 2)
    points += shift * (points * (1 - points)).prod(1, keepdims=True) * 4
    k = np.arange(n * n).reshape(n, n)
    cells = np.stack([k[:-1, :-1], k[:-1, 1:], k[1:, 1:], k[1:, :-1]], -1).reshape(-1, 4)
    return Mesh(points, {"quadrilateral": cells})


def own(support, rate, steady=False):
    """Data without a class: a plane that tilts at a rate; linear in space, so that interpolation is exact."""
    family = DataProblem("plane", ["c"], ["rate"], support.dimensions, steady=steady)
    case = Case(family, {"rate": rate}, extents=support.extents)
    plane = 1 + support.points()[..., 0]
    values = plane * (1 + rate) if steady else np.stack([plane * (1 + rate * t) for t in CLOCK])
    dims = support.dims if steady else ("time", *support.dims)
    return data.solution(case, None if steady else CLOCK, {"c": (dims, values)}, support)


def test_cases_on_nodes_of_other_numbers_meet_on_those_of_the_first():
    rates = (0.0, 1.0, 2.0, 3.0)
    packed = data.pack([own(lattice(5 + i), r) for i, r in enumerate(rates)], dtype=None)
    b = MeanField().fit(packed, split=None)
    assert b.layout.mixed and not b.layout.shared and b.mean.shape == (4, 1, 25)
    case, truth = data.case(data.pack([own(lattice(9), 7.0)], dtype=None), 0)
    found = b.resume(case, truth.isel(time=[0]), CLOCK[1:])
    plane = 1 + case.support.points()[:, 0]
    np.testing.assert_allclose(found.c.values, [plane * (1 + 1.5 * t) for t in CLOCK[1:]], rtol=1e-6)
    smooth = ParameterInterpolation().fit(packed, split=None)
    for i in range(4):
        case, truth = data.case(packed, i)
        found = smooth.resume(case, truth.isel(time=[0]), [0.3, 1.0])  # 0.3 lies between frames: linear in time
        plane = 1 + case.support.points()[:, 0]
        np.testing.assert_allclose(found.c.values, [plane * (1 + rates[i] * t) for t in (0.3, 1.0)], rtol=2e-3)


def test_moved_nodes_of_equal_number_are_taken_one_by_one():
    """Values that are the same on node k of every mesh: the mean of the cases is the answer on any such mesh."""
    family = DataProblem("marks", ["c"], [], 2)
    mark = np.sin(np.arange(25.0))

    def marked(shift, phase):
        support = lattice(5, shift)
        values = np.outer(1 + CLOCK, mark) * phase
        return data.solution(
            Case(family, {}, extents=support.extents), CLOCK, {"c": (("time", "node"), values)}, support
        )

    packed = data.pack([marked(s, 1.0) for s in (0.0, 0.1, 0.3)], dtype=None)
    case, truth = data.case(data.pack([marked(0.2, 1.0)], dtype=None), 0)
    for kind in (MeanField, ParameterInterpolation):
        found = kind().fit(packed, split=None).resume(case, truth.isel(time=[0]), CLOCK[1:])
        np.testing.assert_allclose(found.c.values, truth.c.values[1:], rtol=1e-5)
        np.testing.assert_allclose(found.x.values, case.support.points()[:, 0])
    with pytest.raises(InputError, match="live on different nodes"):
        MeanField().fit(packed, split=None).solve(Case(family, {}, extents=((0, 1), (0, 1))), CLOCK)


def test_the_places_of_nodes_are_part_of_the_description():
    """Without parameters the shape of the mesh alone tells the answer."""
    family = DataProblem("shape", ["c"], [], 2, steady=True)

    def shaped(shift):
        support = lattice(5, shift)
        values = shift * np.sin(np.arange(25.0))
        return data.solution(Case(family, {}, extents=support.extents), None, {"c": (("node",), values)}, support)

    packed = data.pack([shaped(s) for s in np.linspace(-0.3, 0.3, 9)], dtype=None)
    case, truth = data.case(data.pack([shaped(0.11)], dtype=None), 0)
    b = ParameterInterpolation().fit(packed, split=None)
    assert relative(b.solve(case).c.values, truth.c.values) < 1e-2
    assert relative(MeanField().fit(packed, split=None).solve(case).c.values, truth.c.values) > 0.9


@pytest.mark.parametrize(
    "support",
    [
        Grid((np.linspace(0, 1, 6) ** 2,)),
        Grid((np.linspace(0, 1, 5), np.linspace(0, 2, 4) ** 2, np.linspace(0, 1, 4))),
        Points(np.random.default_rng(0).random((9, 3))),
    ],
    ids=["stretched line", "stretched box", "points"],
)
def test_one_to_three_dimensions_and_steady_problems(support):
    rates = np.linspace(0, 2, 6)
    for steady in (False, True):
        packed = data.pack([own(support, r, steady) for r in rates], dtype=None)
        case, truth = data.case(data.pack([own(support, 0.9, steady)], dtype=None), 0)
        mean, smooth = (k().fit(packed, split=None) for k in (MeanField, ParameterInterpolation))
        # all training cases begin alike, so that a case is known without its beginning
        answers = [b.solve(case, None if steady else CLOCK) for b in (mean, smooth)]
        assert support.same(data.case(data.pack(answers, dtype=None), 0)[0].support)
        tilt = 1 + rates.mean() if steady else 1 + rates.mean() * CLOCK.reshape(-1, *[1] * len(support.shape))
        np.testing.assert_allclose(answers[0].c.values, tilt * (1 + support.points()[..., 0]), rtol=1e-6)
        assert relative(answers[1].c.values, truth.c.values) < 5e-3


def test_what_a_case_does_not_say():
    """Own data do not say how a case begins: what stands on it refuses to solve, and can be resumed."""
    support = Grid((np.linspace(0, 1, 6),))
    family = DataProblem("wave", ["c"], [], 1)

    def shot(a):
        case = Case(family, {}, extents=support.extents)
        values = np.outer(np.exp(-CLOCK), a * (1 + support.points()[:, 0]))
        return data.solution(case, CLOCK, {"c": (("time", "x"), values)}, support)

    packed = data.pack([shot(a) for a in np.linspace(-1, 1, 8)], dtype=None)
    case, truth = data.case(data.pack([shot(0.37)], dtype=None), 0)
    for kind in (Persistence, ParameterInterpolation):
        with pytest.raises(InputError, match="do not say how a case begins"):
            kind().fit(packed, split=None).solve(case, CLOCK)
    b = ParameterInterpolation().fit(packed, split=None)
    np.testing.assert_allclose(b.resume(case, truth.isel(time=[0]), CLOCK).c.values, truth.c.values, atol=5e-3)
    # from a later frame alone: how it began is not known, and the mean is corrected by that frame
    late = b.resume(case, truth.isel(time=[2]), [0.5, 1.0])
    np.testing.assert_allclose(late.c.values[0], truth.c.values[2], rtol=1e-6)
    assert relative(late.c.values[1], truth.c.values[3]) < 0.7
    start = Start(case, support, truth.c.values[2:3, None], 0.5, first=(truth.c.values[:1], 0.0))
    (last,) = b.rollout([start], np.array([[1.0]]))
    np.testing.assert_allclose(last[0][0], truth.c.values[3], atol=5e-3)


def test_answers_at_points_and_on_grids_of_other_extents(burgers):
    case = Burgers().case(velocity=2.0, viscosity=0.05, length=4.0)
    b = MeanField().fit(burgers, split=None)
    solved = b.solve(case, [0.0, 0.05])
    np.testing.assert_allclose(solved.x.values, (np.arange(N) + 0.5) / N * 4)
    at = solved.x.values[[3, 17], None]
    np.testing.assert_allclose(b.solve(case, [0.0, 0.05], at).u.values, solved.u.values[:, [3, 17]], rtol=1e-5)


def test_titles():
    assert [k.title for k in (Persistence, MeanField, ParameterInterpolation)] == [
        "persistence", "mean field", "interpolation",
    ]  # fmt: skip
