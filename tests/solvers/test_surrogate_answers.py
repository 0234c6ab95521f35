"""What a surrogate answers, held against loops over the bare operator; nothing goes wrong in silence."""

import gc
import tracemalloc
import warnings

import numpy as np
import pytest
import torch
from _made import FEW, QUIET, SPEEDS, cube, fno, own, recipe, started, values, waves

from sciml import data
from sciml.errors import InputError
from sciml.operators import FNO, DeepONet
from sciml.problems import Burgers, HeatEquation
from sciml.solvers import Surrogate, load
from sciml.support import Grid, Points
from sciml.training import Autoregressive, Query, Recipe, Rollout, Steps, Window
from sciml.training.devices import flushes_denormals
from sciml.training.samples import table
from sciml.training.validation import Validation

pytestmark = pytest.mark.usefixtures("one_thread")


def network(model):
    """The bare operator as a function of normalised float tensors."""
    return model.operator.eval()


# -- rollouts --------------------------------------------------------------------------------------------------------


def by_hand(model, solution, upto, applications):
    """Frames after `upto`, from nothing but the operator, the scales and Python's own loop."""
    e, s = model.encoding, model.encoding.stepping
    case = data.case(data.pack([solution], dtype=None), 0)[0]
    scale, offset = e.state.scale[:, None], e.state.offset[:, None]
    known = [(f - offset) / scale for f in values(solution)[: upto + 1 : 1]]
    window = [known[max(upto - s.every * k, 0)] for k in range(s.past)][::-1]
    t, found = float(solution.time.values[upto]), []
    dt = e.step.of(case)
    for k in range(applications):
        params = e.params(case, np.array([t + k * dt * s.ahead]))
        x = torch.from_numpy(np.concatenate(window)[None]).to(e.torch_dtype)
        with torch.no_grad():
            out = network(model)(x=x, params=torch.from_numpy(params) if params.shape[1] else None)
        out = out.double().numpy()[0].reshape(s.ahead, 2, -1)
        for j in range(s.ahead):
            frame = window[s.past - 1] + e.increment[j][:, None] * out[j] if s.residual else out[j]
            found.append(frame)
        window = (window + found[-s.ahead :])[-s.past :]
    return np.stack([f * scale + offset for f in found])


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize(
    "stepping",
    [
        Autoregressive(),
        Autoregressive(history=2),
        Autoregressive(2, 2, increments=False),
        Window(3, 2),
        Window(1, 3, step=2),
    ],
)
def test_rollout_equals_a_loop(stepping, precision):
    made = [waves(cube(1, 12), speed=v, frames=13) for v in SPEEDS]
    model = fno(*made, stepping=stepping, how={"precision": precision, "lr": 1e-2})
    upto, every = 4, stepping.every
    expected = by_hand(model, made[1], upto, 4)
    count = min(len(expected), 8 // every)
    times = made[1].time.values[upto] + 0.1 * every * np.arange(1, count + 1)
    found = model.resume(
        data.case(data.pack([made[1]], dtype=None), 0)[0], made[1].isel(time=slice(0, upto + 1)), times
    )
    assert found["a"].dtype == precision
    np.testing.assert_allclose(values(found), expected[:count], rtol=0, atol=1e-12 if precision == "float64" else 3e-6)


def test_patterns_of_times():
    """Skipped frames, several starts at different times, other frames for each case: all are frames of one rollout."""
    made = [waves(cube(1, 12), speed=v, frames=21) for v in SPEEDS]
    model = fno(*made, stepping=Autoregressive(history=2), how={"lr": 1e-2})
    alone = [list(model.rollout([started(m, 3, 2)], 0.3 + 0.1 * np.arange(15)[None])) for m in made]
    assert all(len(a) == 15 for a in alone)
    np.testing.assert_array_equal(alone[0][0][0], values(made[0])[3].astype("f4"))
    starts = [started(m, 3, 2) for m in made]

    def check(several, index, base=3):
        times = 0.1 * (np.asarray(index) + base)
        found = list(model.rollout(several, times))
        assert len(found) == times.shape[1]
        for j, frames in enumerate(found):
            for i, frame in enumerate(frames):
                np.testing.assert_allclose(frame, alone[i][index[i][j]][0], atol=2e-5)

    check(starts, [[1, 2, 3], [1, 2, 3], [1, 2, 3]])
    check(starts, [[0, 4, 9]] * 3)
    check(starts, [[1, 2, 3], [3, 6, 9], [2, 4, 6]])  # a case that is ahead waits, and loses none of its frames
    check(starts, [[9, 10, 14], [1, 2, 3], [5, 5, 6]])
    check(starts, [[0, 0, 0], [2, 2, 2], [1, 5, 14]])
    later = started(made[1], 7, 2)
    pair = [starts[1], later]
    other = list(model.rollout([later], 0.7 + 0.1 * np.arange(1, 4)[None]))
    both = list(model.rollout(pair, np.array([[0.4, 0.5, 0.6], [0.8, 0.9, 1.0]])))
    for j in range(3):
        np.testing.assert_allclose(both[j][0], alone[1][j + 1][0], atol=1e-6)
        np.testing.assert_allclose(both[j][1], other[j][0], atol=1e-6)
    many = [starts[k % 3] for k in range(40)]  # more than are carried at once
    (frames,) = model.rollout(many, np.full((40, 1), 0.5))
    for k, frame in enumerate(frames):
        np.testing.assert_allclose(frame, alone[k % 3][2][0], atol=1e-6)
    with pytest.raises(InputError, match="from that of the frame on"):
        list(model.rollout(starts, np.full((3, 1), 0.2)))
    with pytest.raises(InputError, match=r"cannot be reached with the step of 0\.1 s") as caught:
        list(model.rollout(starts, np.full((3, 1), 0.55)))
    assert "\n" not in str(caught.value)


def test_resume_equals_the_tail_of_solve():
    """From where a rollout has come to, it goes on as if it had not been cut."""
    x = (np.arange(16) + 0.5) / 16
    cases = [Burgers().case(viscosity=v) for v in (0.02, 0.05)]
    times = 0.05 * np.arange(9)
    made = [data.solution(c, times, {"u": (("time", "x"), c.exact(times, (x,))["u"])}, {"x": x}) for c in cases]
    for stepping in (Autoregressive(history=2), Window(2, 2), Autoregressive(2, 2)):
        model = fno(*made, stepping=stepping, how={"lr": 1e-2, "precision": "float64"})
        step = 0.05 * stepping.every
        whole = model.solve(cases[0], step * np.arange(1, 5))
        cut = whole.isel(time=slice(0, 2))
        rest = model.resume(cases[0], cut, step * np.arange(3, 5))
        np.testing.assert_allclose(rest["u"].values, whole["u"].values[2:], atol=1e-13)
        here = model.resume(cases[0], cut, [2 * step])
        np.testing.assert_array_equal(here["u"].values, cut["u"].values[-1:])
    fine = data.solution(
        cases[0],
        0.025 * np.arange(7),
        {"u": (("time", "x"), cases[0].exact(0.025 * np.arange(7), (x,))["u"])},
        {"x": x},
    )
    model = fno(*made, stepping=Autoregressive(history=2), how={"lr": 1e-2, "precision": "float64"})
    every, second = (
        model.resume(cases[0], f, [0.2, 0.25])["u"].values for f in (fine, fine.isel(time=slice(0, None, 2)))
    )
    np.testing.assert_array_equal(every, second)  # history is what the model's own step says, not the frames' spacing
    with pytest.raises(InputError, match=r"frame: has no time 0\.1 s"):
        model.resume(cases[0], fine.isel(time=[0, 1, 6]), [0.2])
    with pytest.raises(InputError, match="expected a solution"):
        model.resume(cases[0], 5, [0.2])
    with pytest.raises(InputError, match="no field 'u'"):
        model.resume(cases[0], fine.drop_vars("u"), [0.2])


def test_a_long_rollout_keeps_no_frames():
    made = [waves(cube(1, 512), speed=v, frames=3) for v in SPEEDS]
    model = fno(*made)
    times = 0.1 * np.arange(1, 201)[None]
    frame = made[0]["a"].nbytes // 3 * 2
    stream = model.rollout([started(made[0])], times)
    next(stream)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    count = sum(1 for _ in stream)
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert count == 199 and peak < 40 * frame


# -- times at once ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def asked():
    torch.set_num_threads(1)
    grid = cube(2, 6, power=1.3)
    made = [waves(grid, speed=v, times=[0.0, 0.1, 0.35, 0.8], phase=v) for v in SPEEDS]
    model = Surrogate(DeepONet, width=24, basis=16, depth=2)
    return made, model.fit(made, recipe(60, batch=12, lr=5e-3), **FEW)


def test_query_at_any_times_and_points(asked):
    made, model = asked
    assert model.encoding.stepping == Query() and model.encoding.sees_start
    case = data.case(data.pack([made[0]], dtype=None), 0)[0]
    start = made[0].isel(time=[0])
    times = [0.05, 0.123, 0.35, 0.7999]
    found = model.resume(case, start, times)
    alone = model.resume(case, start, [0.35])
    np.testing.assert_allclose(values(found)[2], values(alone)[0], atol=1e-6)
    assert found["a"].shape == (4, 6, 6)
    frames = list(model.rollout([started(m) for m in made], np.tile(times, (3, 1))))
    np.testing.assert_allclose(np.stack([f[0] for f in frames]), values(found), atol=1e-6)


def test_the_network_itself_is_asked_at_points():
    """Where a case is told in full, and no frame goes in: at the nodes the same, elsewhere no interpolation."""
    p = own(2)
    grid = cube(2, 6, power=1.3)
    made = [waves(grid, speed=1.0, times=[0.0, 0.1, 0.4], problem=p) for _ in range(2)]
    model = Surrogate(DeepONet, Query(False), width=24, basis=16, depth=2, frequencies=1).fit(
        made, recipe(40, lr=5e-3), **FEW
    )
    case = data.case(data.pack([made[0]], dtype=None), 0)[0]
    nodes = grid.points().reshape(-1, 2)
    whole = model.solve(case, [0.1, 0.25])
    at_nodes = model.solve(case, [0.1, 0.25], points=nodes)
    np.testing.assert_allclose(values(at_nodes), values(whole).reshape(2, 2, -1), atol=1e-6)
    between = np.random.default_rng(0).random((9, 2))
    found = values(model.solve(case, [0.1], points=between))
    interpolated = grid.sample(values(whole)[:1], between)
    assert found.shape == interpolated.shape and np.abs(found - interpolated).max() > 1e-4
    e = model.encoding
    share = np.float32(0.1 / 0.4)
    points = torch.from_numpy(np.column_stack([between, np.full(9, share)]).astype("f4"))[None]
    params = torch.from_numpy(e.params(case, np.array([0.0])))
    with torch.no_grad():
        bare = model.operator(points=points, params=params, functions=(), mask=None)[0].T.numpy()
    np.testing.assert_allclose(found[0], e.restore(case, bare, Points(between)), atol=1e-6)


def test_questions_that_begin_elsewhere_are_told():
    """The time before the data begin was never learned; the clock of a case counts from where training cases began."""
    p = Burgers()
    x = (np.arange(16) + 0.5) / 16

    def late(velocity):
        case = p.case(viscosity=0.05 * velocity, velocity=velocity)  # one Reynolds number, other units
        t = np.array([1.0, 1.2, 1.6, 2.0]) * case.scales.time
        return data.solution(case, t, {"u": (("time", "x"), case.exact(t, (x,))["u"])}, {"x": x})

    model = Surrogate(DeepONet, Query(False), width=16, basis=8, depth=2).fit([late(1.0), late(4.0)], recipe(), **FEW)
    fast = p.case(viscosity=0.2, velocity=4.0)  # L/U = 0.25 s: training began at 0.25 s
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = model.solve(fast, [0.25, 0.5])
    started_there = model.resume(fast, late(4.0).isel(time=[0]), [0.25, 0.5])
    np.testing.assert_allclose(found["u"].values, started_there["u"].values, atol=1e-6)
    with pytest.warns(UserWarning, match=r"begins at 0\.1 s, but training cases begin at 0\.25 s"):
        model.solve(fast, [0.1, 0.5])
    marching = fno(*(waves(cube(1), speed=v, start=0.5) for v in SPEEDS))
    case = data.case(data.pack([waves(cube(1), speed=0.3)], dtype=None), 0)[0]
    with pytest.warns(UserWarning, match=r"begins at 0 s, but training cases begin at 0\.5 s"):
        marching.resume(case, waves(cube(1), speed=0.3, frames=1, times=[0.0]), [0.6])
    step = late(1.0).assign_coords(time=[0.5, 0.6, 0.7, 0.8])
    begun = fno(step)
    with pytest.warns(UserWarning, match="begins at 0 s"):
        begun.solve(p.case(viscosity=0.05), [0.5])


# -- the process and its switches ------------------------------------------------------------------------------------


def test_the_process_is_left_as_it_was():
    made = [waves(cube(1), speed=v) for v in SPEEDS]
    expected = {k: v.clone() for k, v in fno(*made).operator.state_dict().items()}
    torch.manual_seed(5)
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    flushed = flushes_denormals()
    with torch.no_grad():
        a = fno(*made)
        assert not torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), state) and np.array_equal(np.random.get_state()[1], numpy_state)
    assert flushes_denormals() == flushed
    with torch.inference_mode():
        b = fno(*made)
    torch.set_default_dtype(torch.float64)
    try:
        c = fno(*made)
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    for model in (a, b, c):
        for name, weight in model.operator.state_dict().items():
            assert weight.dtype == expected[name].dtype and torch.equal(weight, expected[name])


def test_other_default_dtype_in_answering(tmp_path):
    made = [waves(cube(1), speed=v) for v in SPEEDS]
    model = fno(*made)
    model.save(tmp_path / "run")
    case = data.case(data.pack([made[0]], dtype=None), 0)[0]
    expected = values(model.resume(case, made[0].isel(time=[0]), [0.1, 0.2]))
    torch.set_default_dtype(torch.float64)
    try:
        again = load(tmp_path / "run")
        found = values(again.resume(case, made[0].isel(time=[0]), [0.1, 0.2]))
    finally:
        torch.set_default_dtype(torch.float32)
    assert found.dtype == np.float32 and np.array_equal(found, expected)


def test_a_compiled_operator(tmp_path):
    """torch.compile wraps the module; names in files and further training are those of the class."""
    made = [waves(cube(1), speed=v) for v in SPEEDS]
    model = fno(*made)
    case = data.case(data.pack([made[0]], dtype=None), 0)[0]
    expected = values(model.resume(case, made[0].isel(time=[0]), [0.1, 0.2]))
    model.operator = torch.compile(model.operator, backend="eager")
    np.testing.assert_allclose(values(model.resume(case, made[0].isel(time=[0]), [0.1, 0.2])), expected, atol=1e-6)
    model.save(tmp_path / "run")
    again = load(tmp_path / "run")
    np.testing.assert_array_equal(values(again.resume(case, made[0].isel(time=[0]), [0.1, 0.2])), expected)
    model.fit(made, recipe(1, lr=1e-9), **FEW)
    np.testing.assert_allclose(values(model.resume(case, made[0].isel(time=[0]), [0.1, 0.2])), expected, atol=1e-5)


def test_double_precision_from_end_to_end(tmp_path):
    made = [waves(cube(1, 12), speed=v) for v in SPEEDS]
    model = fno(*made, how={"precision": "float64"})
    assert {w.dtype for w in model.operator.state_dict().values()} <= {torch.float64, torch.complex128}
    model.save(tmp_path / "run")
    again = load(tmp_path / "run")
    case = data.case(data.pack([made[0]], dtype=None), 0)[0]
    for one in (model, again):
        found = one.resume(case, made[0].isel(time=[0]), [0.0, 0.1])
        assert found["a"].dtype == np.float64
        assert np.array_equal(values(found)[0], values(made[0])[0])  # not a digit is lost
        np.testing.assert_allclose(values(found)[1], by_hand(model, made[0], 0, 1)[0], rtol=0, atol=1e-12)
    exact = Surrogate(FNO, width=4, modes=(3,), layers=1).fit(
        [heat(0.02), heat(0.03)], Recipe(length=Steps(2), batch=2, precision="float64"), **FEW
    )
    many = exact.solve_many([HeatEquation().case(diffusivity=0.025)] * 2, [0.1, 0.2])
    assert many["T"].dtype == np.float64


def heat(diffusivity):
    case = HeatEquation().case(diffusivity=diffusivity)
    x, t = (np.arange(12) + 0.5) / 12, 0.1 * np.arange(4)
    return data.solution(case, t, {"T": (("time", "x"), case.exact(t, (x,))["T"])}, {"x": x})


def test_cases_that_do_not_say_how_they_begin():
    model = fno(*(waves(cube(1), speed=v) for v in SPEEDS))
    with pytest.raises(InputError, match="resume"):
        model.solve(own(1).case(speed=0.3), [0.1])
    with pytest.raises(InputError, match="points"):
        model.solve(own(1).case(speed=0.3), [0.1], points=[[0.1, 0.2]])


def test_cells_at_whole_numbers_of_steps(tmp_path):
    """Data of a periodic domain at i/N are answered at i/N, also for a case that comes without data."""
    grid = Grid((np.linspace(0, 1, 17) - 1 / 32,), (True,))  # cells at i/N
    p = own(1, periodic=(True,))
    made = [waves(grid, speed=v, problem=p) for v in SPEEDS]
    assert data.case(data.pack(made[:1], dtype=None), 0)[0].support.same(grid)
    model = Surrogate(FNO, width=8, modes=(4,), layers=1).fit(made, recipe(), **FEW)
    case = data.case(data.pack(made[:1], dtype=None), 0)[0]
    found = model.resume(case, made[0].isel(time=[0]), [0.0])
    np.testing.assert_allclose(found["x"], np.arange(16) / 16, atol=1e-12)
    np.testing.assert_allclose(values(found)[0], values(made[0])[0], atol=1e-6)
    x = np.arange(16) / 16 * 2.0
    case = Burgers().case(viscosity=0.05, length=2.0)
    t = 0.05 * np.arange(3) * case.scales.time
    exact = data.solution(case, t, {"u": (("time", "x"), case.exact(t, (x,))["u"])}, {"x": x})
    model = fno(exact)
    model.save(tmp_path / "run")
    for one in (model, load(tmp_path / "run")):
        again = one.solve(Burgers().case(viscosity=0.1, length=4.0), [0.0])
        np.testing.assert_allclose(again["x"], np.arange(16) / 4, atol=1e-12)


@pytest.mark.parametrize("steps", [1, 2])
def test_validation_is_the_error_of_what_is_trained(steps):
    """Σ w e² / Σ w t² over held-out cases and the steps of the objective's rollouts, of what the trained model answers,
    although training itself never came to take two steps."""
    mask = np.ones((6, 6))
    mask[1, 2:4] = 0
    grid = cube(2, 6, power=1.4, mask=mask)
    made = [waves(grid, speed=v, phase=v, frames=4) for v in (0.2, 0.3, 0.4, 0.25, 0.35)]
    packed_splits = ["train"] * 3 + ["validation"] * 2
    packed = data.pack(made, splits=packed_splits, dtype=None)
    how = recipe(4, average=0.0, objective=Rollout(steps=steps, after=1.0) if steps > 1 else None)
    model = Surrogate(FNO, width=6, modes=(3, 3), layers=1).fit(packed, how, running=QUIET)
    wrong, size, still = np.zeros(steps), np.zeros(steps), 0.0
    w = grid.weights()
    for k in (3, 4):
        case, truth = data.case(packed, k)
        for j in range(4 - steps):
            times = truth.time.values[j + 1 : j + 1 + steps]
            found = values(model.resume(case, truth.isel(time=slice(0, j + 1)), times))
            t, before = values(truth)[j + 1 : j + 1 + steps], values(truth)[j]
            wrong += (w * (found - t) ** 2).reshape(steps, -1).sum(1)
            size += (w * t**2).reshape(steps, -1).sum(1)
            still += (w * (before - t) ** 2).sum()
    last = model.metrics[-1]
    assert last["validation"] == pytest.approx(wrong.sum() / size.sum(), rel=1e-4)
    assert last["validation_gain"] == pytest.approx(still / wrong.sum(), rel=1e-4)
    if steps == 1:
        assert "validation_one_step" not in last
        return
    assert last["validation_one_step"] == pytest.approx(wrong[0] / size[0], rel=1e-4)
    # the cost is that of so many applications, however long rollouts are
    held, asked = table(packed, "validation"), []
    for most, expected in ((256, 4 * 2), (2, 2), (1, 2)):
        check = Validation.of(held, model.encoding, how.replace(validation_items=most), how.objective, steps)
        seen = model.operator.register_forward_pre_hook(lambda _, a, k: asked.append(len(k["x"])), with_kwargs=True)
        check(model.operator)
        seen.remove()
        assert sum(asked) == expected
        asked.clear()
    # cases that are too short for it choose nothing, and are refused where they are to
    short = data.pack([*made[:3], *(m.isel(time=slice(0, 2)) for m in made[3:])], splits=packed_splits, dtype=None)
    again = Surrogate(FNO, width=6, modes=(3, 3), layers=1)
    assert not any("validation" in r for r in again.fit(short, how, running=QUIET).metrics)
    for choosing in ({"keep": "best"}, {"patience": 3}):
        with pytest.raises(InputError, match=r"validation: no case has the frames that .* Rollout\(.*steps=2"):
            again.fit(short, how.replace(**choosing), running=QUIET)
