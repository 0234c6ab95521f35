"""Statistics of turbulence on fields whose spectra, correlations and stresses are known."""

import json
from pathlib import Path

import numpy as np
import pytest
from _processes import autoregressive

from sciml.data import pack, solution
from sciml.errors import InputError
from sciml.evaluation import (
    Correlations,
    EnergyHistory,
    Profiles,
    ShellSpectra,
    Spectra,
    evaluate,
    profile_error,
    sampling_error,
    statistics_of,
)
from sciml.geometry import Box
from sciml.metrics import energy_spectrum
from sciml.problem import Case
from sciml.problems import DataProblem
from sciml.solver import Restartable
from sciml.support import Grid, Points

UVW = ("u", "v", "w")
H, LX, LZ = 1.5, 4.0, 2.0


def faces(cells: int, stretch: float = 1.6) -> np.ndarray:
    return H * np.tanh(stretch * np.linspace(-1, 1, cells + 1)) / np.tanh(stretch)


def channel(cells=(16, 11, 12), y=None) -> Grid:
    nx, ny, nz = cells
    return Grid((np.linspace(0, LX, nx + 1), faces(ny) if y is None else y, np.linspace(0, LZ, nz + 1)),
                (True, False, True))  # fmt: skip


def flow(dimensions=3, periodic=(True, False, True), **more) -> DataProblem:
    return DataProblem("own_flow", UVW[:dimensions], dimensions=dimensions, periodic=periodic, **more)


def member(grid: Grid, problem=None, **parameters) -> Case:
    return Case(problem or flow(grid.dimensions, grid.periodic), parameters, {}, "", "", grid.extents)


def frames(grid: Grid, count: int, seed: int = 0) -> np.ndarray:
    """(time, component, z, y, x): random, correlated from frame to frame, of unequal strength across y."""
    random = np.random.default_rng(seed)
    state = random.standard_normal((3, *grid.shape))
    strength = 1.2 - (grid.coordinate(1) / H) ** 2
    found = []
    for _ in range(count):
        state = 0.8 * state + 0.6 * random.standard_normal(state.shape)
        found.append(state * strength)
    found = np.stack(found)
    found[:, 1] -= 0.4 * found[:, 0] * np.sign(-grid.coordinate(1))  # the shear stress is odd
    found[:, 0] += 5.0 * (1 - (grid.coordinate(1) / H) ** 2)
    return found


def run(statistic, grid, values, case=None, spacing=0.1, name="solution"):
    case = case or member(grid)
    parts = ((spacing * k, f) for k, f in enumerate(values))
    found = statistics_of(parts, statistic, case=case, support=grid, fields=UVW[: grid.dimensions], name=name)
    return json.loads(json.dumps(found))[statistic.name]["entries"]


def value(entry, *path):
    for p in path:
        entry = entry[p]
    return np.array(entry["value"] if isinstance(entry, dict) else entry)


# -- profiles ---------------------------------------------------------------------------------------------------------


def test_profiles_of_waves_are_those_of_their_amplitudes():
    """u' = a(y) cos φ, v' = b(y) cos(φ + 2), φ = 2π(2x/L_x − t): stresses a²/2, b²/2, ab cos 2 / 2; one period."""
    grid = channel()
    x, y, z = (grid.coordinate(a) for a in range(3))
    a, b, c = 1.0 + y**2, 0.3 * (H - y), 0.2 + 0.1 * y
    mean = 3.0 + y - 0.5 * y**2
    values = []
    for k in range(8):
        phase = 2 * np.pi * (2 * x / LX - k / 8)
        still = np.ones(grid.shape)
        values.append(np.stack([
            mean + a * np.cos(phase) * still, b * np.cos(phase + 2.0) * still, c * np.sin(2 * np.pi * z / LZ) * still,
        ]))  # fmt: skip
    (entry,) = run(Profiles(), grid, values)
    a, b, c, mean = (np.ravel(f) for f in (a, b, c, mean))
    tight = {"rtol": 0.0, "atol": 1e-13}
    np.testing.assert_allclose(value(entry, "mean", "u"), mean, **tight)
    np.testing.assert_allclose(value(entry, "covariance", "uu"), a**2 / 2, **tight)
    np.testing.assert_allclose(value(entry, "covariance", "vv"), b**2 / 2, **tight)
    np.testing.assert_allclose(value(entry, "covariance", "uv"), a * b * np.cos(2.0) / 2, **tight)
    np.testing.assert_allclose(value(entry, "covariance", "uw"), 0.0, **tight)
    np.testing.assert_allclose(value(entry, "rms", "w"), c / np.sqrt(2), **tight)
    assert entry["frames"] == 8 and entry["left_out"] == 0 and entry["place"] == pytest.approx(grid.centres[1])
    assert entry["friction_velocity"] is None  # nobody told a viscosity


def test_departures_are_from_the_mean_in_time_too():
    """A mean that swings as a whole, cos 2πt over one period, is turbulence of variance a half."""
    grid = channel()
    values = [np.full((3, *grid.shape), np.cos(2 * np.pi * k / 6)) for k in range(6)]
    (entry,) = run(Profiles(), grid, values)
    np.testing.assert_allclose(value(entry, "mean", "u"), 0.0, atol=1e-15)
    np.testing.assert_allclose(value(entry, "covariance", "uv"), 0.5, rtol=1e-14)


def test_unequal_cells_along_a_homogeneous_direction_weigh_by_their_widths():
    x = np.array([0.0, 1.0, 4.0])
    grid = Grid((x, faces(4), np.linspace(0, LZ, 4)), (True, False, True))
    frame = np.zeros((3, *grid.shape))
    frame[0, ..., 0], frame[0, ..., 1] = 4.0, 8.0
    (entry,) = run(Profiles(), grid, [frame, frame])
    np.testing.assert_allclose(value(entry, "mean", "u"), 7.0, rtol=1e-14)


def test_streaming_is_the_batch():
    grid = channel()
    values = frames(grid, 40)
    (entry,) = run(Profiles(), grid, values)
    axes = (0, 2, 4)
    mean = values.mean(axes)
    away = values - mean[:, None, :, None]
    for i, a in enumerate("uvw"):
        np.testing.assert_allclose(value(entry, "mean", a), mean[i], rtol=1e-12, atol=1e-13)
        for j, b in enumerate("uvw"[i:], i):
            both = (away[:, i] * away[:, j]).mean((0, 1, 3))
            np.testing.assert_allclose(value(entry, "covariance", a + b), both, rtol=1e-11, atol=1e-13)


def test_halves_are_averaged_with_the_right_signs():
    """Of a flow and its mirror image in turn, the folded averages are the lower half of the plain ones; and of the
    flow alone those of the flow and its image."""
    grid = channel()
    values = frames(grid, 10)
    image = values[:, :, :, ::-1].copy()
    image[:, 1] *= -1
    (both,) = run(Profiles(), grid, [f for pair in zip(values, image, strict=True) for f in pair])
    (folded,) = run(Profiles(fold=True), grid, values)
    assert folded["folded"] and len(folded["place"]) == 6
    for kind in ("mean", "covariance", "rms"):
        for name in both[kind]:
            np.testing.assert_allclose(
                value(folded, kind, name), value(both, kind, name)[:6], rtol=1e-12, atol=1e-13, err_msg=name
            )
    assert abs(value(folded, "mean", "v")[5]) < 1e-14  # odd about the centre plane
    assert value(folded, "covariance", "uv")[3] < -0.2  # halves of opposite sign add up


def test_the_balance_of_stresses_is_exact_for_a_laminar_flow_and_told_for_another():
    """U = (h² − y²) G/2ν has the linear stress −G y: the parabola at the walls and central differences are exact."""
    nu, g = 0.25, 2.0
    grid = channel()
    y = grid.coordinate(1)
    laminar = np.zeros((3, *grid.shape))
    laminar[0] = g / (2 * nu) * (H**2 - y**2)
    for fold in (False, True):
        (entry,) = run(Profiles(viscosity=nu, fold=fold), grid, [laminar, laminar])
        u = entry["friction_velocity"]
        assert u["source"] == "slope of the mean at the walls"
        assert u["value"] == pytest.approx(np.sqrt(g * H), rel=1e-12)
        assert u["reynolds"] == pytest.approx(np.sqrt(g * H) * H / nu, rel=1e-12)
        stress = entry["stress"]
        np.testing.assert_allclose(stress["total"], -g * np.array(entry["place"]), atol=1e-12)
        np.testing.assert_allclose(stress["linear"], -g * np.array(entry["place"]), atol=1e-12)
        assert stress["relative_defect"] < 1e-12
        plus = np.array(entry["wall_distance_plus"])
        np.testing.assert_allclose(plus, np.array(entry["wall_distance"]) * u["value"] / nu, rtol=1e-14)
    # u_τ as given: a force twice as large would need twice the stress; the defect is then a half
    (entry,) = run(Profiles(viscosity=nu, friction_velocity=np.sqrt(2 * g * H)), grid, [laminar, laminar])
    assert entry["friction_velocity"]["source"] == "given"
    assert entry["stress"]["relative_defect"] == pytest.approx(0.5, rel=1e-12)
    # a shear stress that the viscous one does not know of counts in full
    shaken = [laminar + s * np.array([1.0, -1.0, 0.0])[:, None, None, None] for s in (1.0, -1.0)]
    (entry,) = run(Profiles(viscosity=nu), grid, shaken)
    np.testing.assert_allclose(value(entry, "stress", "reynolds"), 1.0, rtol=1e-12)
    np.testing.assert_allclose(
        entry["stress"]["total"], np.array(entry["stress"]["viscous"]) + 1.0, rtol=1e-12, atol=1e-12
    )


def test_the_case_may_know_its_wall_units():
    class Driven(DataProblem):
        def wall_units(self, case):
            return 2.0, 0.5

    grid = channel()
    case = member(grid, Driven("driven", UVW, dimensions=3, periodic=(True, False, True)))
    (entry,) = run(Profiles(), grid, frames(grid, 4), case)
    u = entry["friction_velocity"]
    assert (u["value"], u["source"], u["reynolds"]) == (2.0, "the case", 2.0 * H / 0.5)
    (entry,) = run(Spectra(y_plus=(0.8, 3.0)), grid, frames(grid, 4), case)
    np.testing.assert_allclose(entry["wall_distance_plus"], np.array(entry["wall_distance"]) * 4.0)
    assert flow().wall_units(member(grid)) is None


def test_cases_that_differ_in_a_seed_are_averaged_and_others_are_not():
    class Seeded(DataProblem):
        def shown(self, case):
            return {"Reynolds number": 1.0 / case.viscosity}

    grid = channel()
    problem = Seeded("seeded", UVW, ["viscosity", "seed"], 3, periodic=(True, False, True))
    profiles = Profiles()
    for seed, viscosity in ((0.0, 0.1), (1.0, 0.1), (2.0, 0.2)):
        case = member(grid, problem, seed=seed, viscosity=viscosity)
        parts = list(enumerate(frames(grid, 3, int(seed))))
        statistics_of(parts, profiles, case=case, support=grid, fields=UVW, name=f"row {viscosity}")
    entries = profiles.result()["entries"]
    assert [(e["row"], e["frames"], e["rollouts"], e["parameters"]) for e in entries] == [
        ("row 0.1", 6, 2, {"Reynolds number": 10.0}), ("row 0.2", 3, 1, {"Reynolds number": 5.0}),
    ]  # fmt: skip


def test_the_wall_may_be_along_any_axis_and_a_plane_has_walls_too():
    grid = channel()
    values = frames(grid, 6)
    (entry,) = run(Profiles(), grid, values)
    turned = Grid((grid.faces[0], grid.faces[2], grid.faces[1]), (True, True, False))
    other = np.swapaxes(values[:, [0, 2, 1]], 2, 3)
    (up,) = run(Profiles(), turned, other)
    assert up["axis"] == "z" and up["normal"] == "w"
    np.testing.assert_allclose(value(up, "covariance", "uw"), value(entry, "covariance", "uv"), rtol=1e-12)
    plane = Grid(grid.faces[:2], grid.periodic[:2])
    (flat,) = run(Profiles(), plane, values[:, :2, 0])
    np.testing.assert_allclose(value(flat, "mean", "u"), values[:, 0, 0].mean((0, 2)), rtol=1e-12)


# -- spectra and correlations -----------------------------------------------------------------------------------------


def test_spectra_add_up_to_the_variances():
    for cells in ((16, 11, 12), (15, 10, 9)):
        grid = channel(cells)
        values = frames(grid, 12)
        (profile,) = run(Profiles(fold=True), grid, values)
        (entry,) = run(Spectra(y_over_h=(0.05, 0.4, 0.9)), grid, values)
        at = [int(np.argmin(np.abs(np.array(profile["wall_distance"]) - d))) for d in entry["wall_distance"]]
        for axis, part in entry["spectra"].items():
            for name in UVW:
                energy = np.array(part["energy"][name])
                assert energy.shape == (3, cells["xz".index(axis) * 2] // 2 + 1)
                # the mean of both halves is not taken before it is squared: odd means are not zero on either side
                whole = value(run(Profiles(), grid, values)[0], "covariance", name * 2)
                both = (whole + whole[::-1])[at] / 2
                np.testing.assert_allclose(energy.sum(1), both, rtol=1e-11)


def test_a_wave_is_one_line_of_its_spectrum():
    """cos 3x + cos 2z /2: ½ at k = 3 · 2π/L_x, of which the spectrum along z has all in k = 0; and so on."""
    grid = channel()
    x, _, z = (grid.coordinate(a) for a in range(3))
    frame = np.zeros((3, *grid.shape))
    frame[0] = 2.0 + np.cos(3 * 2 * np.pi * x / LX) + 0.5 * np.cos(2 * 2 * np.pi * z / LZ)
    (entry,) = run(Spectra(y_over_h=(0.5,)), grid, [frame, frame])
    along_x, along_z = (np.array(entry["spectra"][a]["energy"]["u"][0]) for a in "xz")
    assert along_x[3] == pytest.approx(0.5) and along_x[0] == pytest.approx(0.125)
    assert along_z[2] == pytest.approx(0.125) and along_z[0] == pytest.approx(0.5)
    assert along_x.sum() == pytest.approx(0.625) and along_z.sum() == pytest.approx(0.625)
    assert entry["spectra"]["x"]["wavenumber"][3] == pytest.approx(3 * 2 * np.pi / LX)


def test_statistics_do_not_know_where_the_axes_begin():
    grid = channel()
    values = frames(grid, 6)
    moved = np.roll(np.roll(values, 5, axis=-1), 3, axis=-3)
    for make in (
        lambda: Profiles(viscosity=0.1), lambda: Spectra(y_over_h=(0.2, 0.8)), lambda: Correlations(y_over_h=(0.5,)),
    ):  # fmt: skip
        one, two = (statistics_of(enumerate(v), make(), case=member(grid), support=grid, fields=UVW)
                    for v in (values, moved))  # fmt: skip
        flat_one, flat_two = (np.array(sorted(_numbers(f))) for f in (one, two))
        assert len(flat_one) > 20
        np.testing.assert_allclose(flat_one, flat_two, rtol=1e-8, atol=1e-10)


def _numbers(content):
    if isinstance(content, dict):
        content = list(content.values())
    if isinstance(content, list | tuple):
        return [n for c in content for n in _numbers(c)]
    return [float(content)] if isinstance(content, int | float) else []


def test_correlations_of_waves_and_of_what_is_shifted():
    """A wave correlates as cos kr; and by definition, with every shift."""
    grid = channel()
    x, _, z = (grid.coordinate(a) for a in range(3))
    values = []
    for k in range(4):
        frame = np.zeros((3, *grid.shape))
        frame[0] = 7.0 + np.cos(2 * np.pi * (2 * x / LX + k / 4))
        frame[1] = np.sin(2 * np.pi * (x / LX + k / 4)) * np.ones(grid.shape)
        frame[2] = np.cos(2 * np.pi * (z / LZ - k / 4))
        values.append(frame)
    (entry,) = run(Correlations(y_over_h=(0.3, 0.7)), grid, values)
    part = entry["correlations"]["x"]
    r = np.array(part["lag"])
    assert r[-1] == pytest.approx(LX / 2)
    for name, wave in (("u", 2), ("v", 1)):
        expected = np.tile(np.cos(2 * np.pi * wave * r / LX), (2, 1))
        np.testing.assert_allclose(part["correlation"][name], expected, atol=1e-12)
        half = np.pi * wave / 16  # of the trapezium rule on cos, up to its first zero: half · cot half
        exact = LX / (2 * np.pi * wave)
        assert part["integral_length"][name][0] == pytest.approx(exact * half / np.tan(half), rel=1e-10)
    np.testing.assert_allclose(part["correlation"]["w"], 1.0, atol=1e-12)
    values = frames(grid, 8)
    (entry,) = run(Correlations(y_over_h=(0.5,), walls="min"), grid, values)
    j = int(np.argmin(np.abs(grid.centres[1] + H - entry["wall_distance"][0])))
    away = values[:, :, :, j] - values[:, :, :, j].mean((0, 2, 3))[:, None, None]
    for lag in (0, 1, 5):
        both = (away[:, 2] * np.roll(away[:, 2], lag, axis=1)).mean() / (away[:, 2] ** 2).mean()
        assert entry["correlations"]["z"]["correlation"]["w"][0][lag] == pytest.approx(both, abs=1e-12)


def test_shells_of_a_box_hold_its_energy():
    grid = Grid.uniform(Box((0.0,) * 3, (2 * np.pi,) * 3, (True,) * 3), (8, 8, 8))
    values = np.random.default_rng(1).standard_normal((5, 3, 8, 8, 8))
    case = member(grid)
    (entry,) = run(ShellSpectra(), grid, values, case)
    k, energy = energy_spectrum(values, (2 * np.pi,) * 3, periodic=True)
    np.testing.assert_allclose(entry["wavenumber"], k)
    np.testing.assert_allclose(entry["energy"], energy.mean(0), rtol=1e-12)
    assert sum(entry["energy"]) == pytest.approx(0.5 * (values**2).sum(1).mean(), rel=1e-12)
    apart = run(ShellSpectra(steps=(1, 4)), grid, values, case)
    assert [e["step"] for e in apart] == [1, 4]
    np.testing.assert_allclose(apart[1]["energy"], energy[4], rtol=1e-12)
    with pytest.raises(InputError, match="expected a periodic direction, got y"):
        run(ShellSpectra(), channel(), frames(channel(), 1))


# -- energy -----------------------------------------------------------------------------------------------------------


def test_energy_enstrophy_and_dissipation_of_the_taylor_green_vortex():
    """u = cos x sin y cos z, v = −sin x cos y cos z: k = 1/8, Ω = 3/8, and ε = 2νΩ in a periodic box."""
    grid = Grid.uniform(Box((0.0,) * 3, (2 * np.pi,) * 3, (True,) * 3), (8, 8, 8))
    x, y, z = (grid.coordinate(a) for a in range(3))
    frame = np.stack([np.cos(x) * np.sin(y) * np.cos(z), -np.sin(x) * np.cos(y) * np.cos(z), 0 * x * y * z])
    (entry,) = run(EnergyHistory(viscosity=0.1), grid, [frame, 2 * frame])
    assert entry["kinetic_energy"] == pytest.approx([0.125, 0.5], rel=1e-13)
    assert entry["enstrophy"] == pytest.approx([0.375, 1.5], rel=1e-12)
    assert entry["dissipation"] == pytest.approx([0.075, 0.3], rel=1e-12)
    assert entry["step"] == [1, 2] and entry["diverged"] is None and entry["largest_energy"] is None


def test_gradients_across_walls_are_of_second_order():
    errors = []
    for n in (16, 32):
        grid = channel((8, n, 8))
        y = grid.coordinate(1) * np.ones(grid.shape)
        frame = np.stack([np.sin(np.pi * y / H), 0 * y, 0 * y])
        (entry,) = run(EnergyHistory(), grid, [frame])
        exact = 0.5 * (np.pi / H) ** 2 * 0.5
        errors.append(abs(entry["enstrophy"][0] - exact))
        assert entry["dissipation_over_viscosity"][0] == pytest.approx(2 * entry["enstrophy"][0], rel=1e-12)
    assert np.log2(errors[0] / errors[1]) > 1.8


class Wild(Restartable):
    """Repeats the last frame; from the given step on, in the given rollouts, with what is wrong with it."""

    name, title = "wild", "Wild"

    def __init__(self, wrong, factor):
        self.wrong, self.factor = wrong, factor

    @property
    def settings(self):
        return {}

    def supports(self, problem):
        return True

    def _solve(self, case, times):
        raise NotImplementedError

    def resume(self, case, frame, times):
        raise NotImplementedError

    def rollout(self, starts, times):
        for k in range(times.shape[1]):
            yield [s.frames[-1] * (self.factor if self.wrong.get(int(s.case.a), 99) <= k else 1.0) for s in starts]


def test_a_row_that_diverges_spoils_no_other_and_its_step_is_told():
    grid = channel((8, 7, 8))
    problem = flow(parameters=["a"])
    solutions = []
    for a in range(4):
        case = member(grid, problem, a=float(a))
        values = frames(grid, 7, seed=a)
        fields = {n: values[:, i] for i, n in enumerate(UVW)}
        solutions.append(solution(case, 0.1 * np.arange(7), fields, grid))
    data = pack(solutions, ["train", "train", "test", "test"], dtype=None)
    rows = {"good": Wild({}, 1.0), "nan": Wild({3: 2}, np.nan), "fast": Wild({2: 4, 3: 1}, 50.0),
            "wild": Wild({2: 3}, 1e200)}  # fmt: skip
    profiles, energy = Profiles(), EnergyHistory(bound=4.0)
    found = evaluate(rows, data, steps=6, starts=("0", "1/2"), baselines=False, every_frame=False,
                     statistics=[profiles, energy, Spectra(y_over_h=(0.5,))])  # fmt: skip
    told = json.loads(found.to_json())["statistics"]
    entries = {(e["row"], e["parameters"]["a"]): e for e in told["profiles"]["entries"]}
    # each frame of the truth counts once, though two rollouts pass the later ones
    assert entries["truth", 2.0]["frames"] == 6 and entries["good", 2.0]["frames"] == 6 + 3
    own = frames(grid, 7, seed=2)[1:]
    np.testing.assert_allclose(value(entries["truth", 2.0], "mean", "u"), own[:, 0].mean((0, 1, 3)), rtol=1e-6)
    # the row with a NaN has what came before it, of that rollout alone
    bad = entries["nan", 3.0]
    assert (bad["frames"], bad["left_out"]) == (2 + 2, 4 + 1)
    good = value(entries["good", 3.0], "covariance", "uu")
    assert np.isfinite(good).all() and np.isfinite(value(bad, "covariance", "uu")).all()
    for key in ("mean", "covariance"):
        assert entries["nan", 2.0][key] == entries["good", 2.0][key]
    assert (entries["wild", 2.0]["frames"], entries["wild", 2.0]["left_out"]) == (3 + 3, 3)
    assert found.row("good") and len(told["spectra"]["entries"]) == 10
    lost = {(e["row"], e["parameters"]["a"], e["rollout"]): e["diverged"] for e in told["energy_history"]["entries"]}
    assert not any(v for (row, *_), v in lost.items() if row in ("good", "truth"))
    first = {(row, a): min((v["step"] for (r, b, _), v in lost.items() if (r, b) == (row, a) and v), default=None)
             for row, a, _ in lost}  # fmt: skip
    assert first["nan", 3.0] == 3 and first["nan", 2.0] is None
    assert first["fast", 2.0] == 5 and first["fast", 3.0] == 2 and first["wild", 2.0] == 4
    why = {v["why"] for (row, *_), v in lost.items() if v and row in ("nan", "fast")}
    assert why == {"not finite", "energy beyond 4 times the largest of the truth"}
    assert profiles.dataset().sizes == {"entry": 10, "place": 7}


# -- sampling error ---------------------------------------------------------------------------------------------------


def test_errors_of_stresses_are_those_of_their_spread():
    """400 layers of the same turbulence: −⟨u'v'⟩ and rms scatter from layer to layer as their standard errors say,
    also where a mean that changes across the layers is far larger than the turbulence."""
    y = np.linspace(-H, H, 401)
    grid = Grid((np.linspace(0, 1, 3), y, np.linspace(0, 1, 3)), (True, False, True))
    a = autoregressive(0.5, 512, 3 * 1600, seed=3).T.reshape(512, 3, 2, 400, 2)
    a[:, 1] += 0.5 * a[:, 0]
    a[:, 0] += 100.0 * (H - np.abs(grid.coordinate(1)))
    (entry,) = run(Profiles(viscosity=0.1), grid, a)
    for part in (entry["covariance"]["uv"], entry["rms"]["u"], entry["stress"]["reynolds"], entry["mean"]["w"]):
        ratio = np.sqrt(np.mean(np.square(part["standard_error"]))) / np.std(part["value"], ddof=1)
        assert ratio == pytest.approx(1.0, abs=0.1)
    assert entry["mean"]["w"]["resolved"] and entry["mean"]["w"]["integral_time"] >= 0.15  # ½ (1 + φ)/(1 − φ) Δt

    means = a[:, 0].mean((1, 3))
    d1, d2 = (y[1] - y[0]) / 2, 1.5 * (y[1] - y[0])
    slopes = (means[:, [0, -1]] * d2**2 - means[:, [1, -2]] * d1**2) / (d1 * d2 * (d2 - d1))
    told = sampling_error(slopes.mean(1))
    u = np.sqrt(0.1 * told["mean"])
    found = entry["friction_velocity"]
    assert found["from_slope"] == pytest.approx(u, rel=1e-10)
    assert found["standard_error_from_slope"] == pytest.approx(0.1 * told["standard_error"] / (2 * u), rel=1e-8)


# -- solutions, data sets, refusals -----------------------------------------------------------------------------------


def test_solutions_streams_and_files_give_the_same(tmp_path: Path):
    from sciml.data import write

    grid = channel((8, 7, 8))
    values = frames(grid, 9)
    case = member(grid)

    def made(a, b):
        return solution(case, 0.1 * np.arange(a, b), {n: values[a:b, i] for i, n in enumerate(UVW)}, grid)

    whole = statistics_of(made(0, 9), Profiles())
    parts = statistics_of(((0, made(a, a + 3)) for a in (0, 3, 6)), Profiles())
    assert whole == parts and whole["profiles"]["entries"][0]["rollouts"] == 1
    write(pack([made(0, 9), made(0, 9)], dtype=None), tmp_path / "flow.h5")
    both = statistics_of(tmp_path / "flow.h5", [Profiles(), EnergyHistory()])
    entry = both["profiles"]["entries"][0]
    assert entry["rollouts"] == 2 and entry["frames"] == 18 and len(both["energy_history"]["entries"]) == 2
    np.testing.assert_allclose(
        value(entry, "covariance", "uv"), value(whole["profiles"]["entries"][0], "covariance", "uv"), rtol=1e-12
    )


def test_results_are_data_sets_too():
    grid = channel()
    values = frames(grid, 5)
    spectra, correlations, profiles = Spectra(y_over_h=(0.3, 0.9)), Correlations(y_over_h=(0.5,)), Profiles(viscosity=1)
    for s in (spectra, correlations, profiles):
        run(s, grid, values)
    found = spectra.dataset()
    assert found["spectra_x_energy_u"].dims == ("entry", "height", "wavenumber_x") and found.row.values[0] == "solution"
    assert correlations.dataset()["correlations_z_correlation_w"].dims == ("entry", "height", "lag_z")
    assert profiles.dataset()["stress_reynolds_value"].dims == ("entry", "place")
    assert float(profiles.dataset()["friction_velocity_value"][0]) > 0
    with pytest.raises(InputError, match="profiles: expected frames"):
        Profiles().dataset()


def one_line(error) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: Profiles(homogeneous=("x",)), "homogeneous: expected all axes but one"),
        (lambda: Profiles(homogeneous=("x", "q")), r"homogeneous: expected axes among \('x', 'y', 'z'\)"),
        (lambda: Spectra(y_over_h=(0.5,), homogeneous=("x", "y")), "expected a periodic direction, got y"),
        (lambda: Spectra(y_plus=(10,)), "y_plus: expected friction_velocity and viscosity"),
        (lambda: Spectra(y_plus=(1e3,), friction_velocity=1.0, viscosity=0.01), "heights up to the middle .150.*1000"),
        (lambda: Profiles(velocity=("u", "v", "q")), "velocity: expected 3 of the fields u, v, w, got u, v, q"),
    ],
)  # fmt: skip
def test_wrong_directions_and_heights_are_refused(make, expected):
    grid = channel()
    with pytest.raises(InputError, match=expected) as error:
        run(make(), grid, frames(grid, 1))
    one_line(error)


def test_masks_nodes_and_grids_without_a_mirror_image_are_refused():
    grid = channel()
    mask = np.ones(grid.shape)
    mask[0, 0, 0] = 0
    for make in (Profiles, EnergyHistory, lambda: Spectra(y_over_h=(0.5,)), lambda: Correlations(y_over_h=(0.5,))):
        with pytest.raises(InputError, match="expected a grid without a mask") as error:
            run(make(), Grid(grid.faces, grid.periodic, mask), frames(grid, 1))
        one_line(error)
        with pytest.raises(InputError, match="expected values on a grid, got Points") as error:
            statistics_of([(0.0, np.zeros((3, 5)))], make(), case=member(grid), support=Points(np.zeros((5, 3))),
                          fields=UVW)  # fmt: skip
        one_line(error)
    lopsided = channel(y=-H + 2 * H * np.linspace(0, 1, 12) ** 1.3)
    with pytest.raises(InputError, match="fold: expected cells along y that are symmetric"):
        run(Profiles(fold=True), lopsided, frames(lopsided, 1))
    run(Profiles(), lopsided, frames(lopsided, 1))
    box = Grid.uniform(Box((0.0,) * 3, (1.0,) * 3, (True,) * 3), (4, 4, 4))
    with pytest.raises(InputError, match="got x, y, z"):
        run(Profiles(), box, np.zeros((1, 3, 4, 4, 4)))


def test_arguments_are_checked():
    for make in (
        lambda: Profiles(skip=-1), lambda: Profiles(viscosity=0.0), lambda: Profiles(walls="top"),
        lambda: Profiles(fold=True, walls="min"), lambda: Spectra(), lambda: Spectra(y_plus=(1,), y_over_h=(1,)),
        lambda: Spectra(y_over_h=(-1,)), lambda: EnergyHistory(bound=1.0), lambda: ShellSpectra(steps=(0.5,)),
        lambda: Profiles(velocity="uvw", name=""), lambda: Profiles(fold="no"),  # type: ignore[arg-type]
    ):  # fmt: skip
        with pytest.raises(InputError):
            make()
    grid = channel()
    with pytest.raises(InputError, match="case, support, fields: expected all three"):
        statistics_of([(0.0, np.zeros((3, *grid.shape)))], Profiles())
    with pytest.raises(InputError, match="expected frames of shape"):
        statistics_of([(0.0, np.zeros((2, *grid.shape)))], Profiles(), case=member(grid), support=grid, fields=UVW)
    with pytest.raises(InputError, match="solution: expected frames, got none"):
        statistics_of([], Profiles())


# -- comparison -------------------------------------------------------------------------------------------------------


def test_profiles_are_compared_over_a_range_by_the_widths_of_cells():
    y = np.array([1.0, 2.0, 4.0])
    reference = np.linspace(0, 10, 21)
    found = profile_error(y, 1.04 * y, reference, reference)
    assert found == pytest.approx({"relative_l2": 0.04, "largest": 0.04, "offset": 0.04, "points": 3})
    off = y.copy()
    off[2] = 8.0
    assert profile_error(y, off, reference, reference, high=3.0)["largest"] < 1e-14
    w = np.array([1.0, 2.0, 3.0])
    expected = np.sqrt(3 * 16 / (1 + 2 * 4 + 3 * 16))
    assert profile_error(y, off, reference, reference, widths=w)["relative_l2"] == pytest.approx(expected)
    with pytest.raises(InputError, match="place: expected some in 20 to 30"):
        profile_error(y, y, reference, reference, low=20, high=30)
    with pytest.raises(InputError, match="reference_place: expected increasing"):
        profile_error(y, y, reference[::-1], reference)
