"""Baselines: what they are by definition, and an interpolant that is exact at its nodes and smooth between them."""

import numpy as np
import pytest

from sciml import Series, data
from sciml.errors import InputError
from sciml.problems import Burgers, LidDrivenCavity, Poisson
from sciml.solver import Start
from sciml.solvers import MeanField, ParameterInterpolation, Persistence

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
    with pytest.raises(InputError, match="begin at 0 to 0.05 time scales"):
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
