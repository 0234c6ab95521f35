"""Statistics of particles on motions that are known: free flight, shifts, changed places, periodic boxes."""

import json

import numpy as np
import pytest
from moving_clouds import gas, thrown

import sciml
from sciml import data
from sciml.errors import InputError
from sciml.evaluation import (
    EnergyHistory,
    ParticleErrors,
    ParticleHistory,
    statistics_for,
    statistics_of,
)
from sciml.support import Grid, Points, support_of

G = 9.81


def frames(solution, names):
    return np.stack([solution[n].values for n in names], axis=1).astype(float)


def fed(statistic, solution, change):
    """The truth, and a row that `change` makes of each frame (k, frame) of it."""
    case, names = sciml.Case.from_parts(solution.attrs, {}), [f.name for f in statistic_fields(solution)]
    statistic.begin(names)
    values = frames(solution, names)
    for k, t in enumerate(solution["time"].values):
        where = support_of(case, solution, k)
        statistic.add("truth", 0, 0, k, t, values[k], case, where)
        statistic.add("row", 0, 0, k, t, change(k, values[k].copy()), case, where)
    truth, row = statistic.result()["entries"]
    json.dumps([truth, row], allow_nan=False)
    assert (truth["row"], row["row"], row["step"]) == ("truth", "row", list(range(1, len(values) + 1)))
    return truth, row


def statistic_fields(solution):
    return [f for f in sciml.Case.from_parts(solution.attrs, {}).problem.fields if f.name in solution]


@pytest.mark.parametrize("d", [2, 3])
def test_free_flight_keeps_its_energy_and_its_centre_follows_a_parabola(d):
    solution = thrown((0.5, 1.0, -0.25), spacing=0.05, dimensions=d)
    t = solution["time"].values
    (entry,) = statistics_of(solution, ParticleHistory())["particle_history"]["entries"]
    start = np.array([solution[a].values[0].mean() for a in "xyz"[:d]])
    for k, (a, speed) in enumerate(zip("xyz"[:d], (0.5, 1.0, -0.25), strict=False)):
        fall = G / 2 * t**2 if a == "y" else 0.0
        np.testing.assert_allclose(entry[f"centre_{a}"], start[k] + speed * t - fall, rtol=1e-12)
    kinetic = 0.5 * (sum(v**2 for v in (0.5, -0.25)[: d - 1]) + (1.0 - G * t) ** 2)
    np.testing.assert_allclose(entry["kinetic_energy"], kinetic, rtol=1e-12)
    total = np.add(entry["kinetic_energy"], entry["potential_energy"])
    np.testing.assert_allclose(total, total[0], rtol=1e-12)
    # the block is 0.2 wide from x = 0.2 on: of its four columns of particles the last holds the front
    np.testing.assert_allclose(entry["reach_x"], 0.375 + 0.5 * t, rtol=1e-12)


def test_reach_leaves_out_the_drops_that_fly_off():
    solution = thrown(spacing=0.02)
    for name in ("displacement_x", "x"):
        solution[name].values[1:, 0] += 5.0  # one of 100 particles
    (far,) = statistics_of(solution, ParticleHistory(share=0.995))["particle_history"]["entries"]
    assert far["reach_x"][1] - far["reach_x"][0] == pytest.approx(5.0 + 0.025 - 0.18)
    (near,) = statistics_of(solution, ParticleHistory(share=0.985))["particle_history"]["entries"]
    assert near["reach_x"][1] - near["reach_x"][0] == pytest.approx(0.025)


def test_a_row_that_lies_beside_the_truth():
    """All particles are 3 spacings of 0.025 to the right: so are positions, and so far has matter to be carried."""

    def aside(k, frame):
        frame[0] += 0.075
        return frame

    truth, row = fed(ParticleErrors(), thrown(), aside)
    assert row["spacing"] == pytest.approx(0.025) and row["cells"] == [10, 10]
    np.testing.assert_allclose(row["position_error"], 3.0, rtol=1e-5)
    np.testing.assert_allclose(row["carried"], 3.0, rtol=5e-3)
    assert all(0.2 < m < 0.5 for m in row["misplaced"])
    assert truth["position_error"] == truth["misplaced"] == [0.0] * 5
    history, other = fed(ParticleHistory(), thrown(), aside)
    np.testing.assert_allclose(np.subtract(other["centre_x"], history["centre_x"]), 0.075, rtol=1e-12)


def test_particles_that_change_places_are_no_error_of_the_whole():
    solution = thrown()
    count = solution.sizes["node"]
    first = np.stack([solution[a].values[0] for a in "xy"])
    swap = np.random.default_rng(0).permutation(count)

    def changed(k, frame):
        frame[:2] += first[:, swap] - first  # each is where another one should be
        return frame

    _, row = fed(ParticleErrors(), solution, changed)
    assert min(row["position_error"]) > 3
    assert max(row["carried"]) < 1e-5 and max(row["misplaced"]) < 1e-12


def test_what_is_not_finite_has_no_error_and_no_centre():
    def lost(k, frame):
        return np.full_like(frame, np.nan) if k >= 3 else frame

    _, row = fed(ParticleErrors(), thrown(), lost)
    assert row["position_error"][3:] == row["carried"][3:] == row["misplaced"][3:] == [None, None]
    assert row["misplaced"][:3] == [0.0] * 3
    _, row = fed(ParticleHistory(), thrown(), lost)
    assert row["centre_x"][3:] == row["reach_y"][3:] == row["kinetic_energy"][3:] == [None, None]


def test_a_periodic_box_is_gone_round_without_a_jump():
    solution = gas()
    moved = solution["displacement_x"].values
    start = solution["x"].values[0] - moved[0]
    assert np.abs(np.diff(solution["x"].values, axis=0)).max() > 0.5  # some do cross the seam
    (entry,) = statistics_of(solution, ParticleHistory())["particle_history"]["entries"]
    np.testing.assert_allclose(entry["centre_x"], (start + moved).mean(1), rtol=1e-12)
    assert entry["potential_energy"] == [None] * 6

    def round_once(k, frame):
        frame[1] += 1.0  # the same places in the box
        return frame

    truth, row = fed(ParticleErrors(), solution, round_once)
    np.testing.assert_allclose(row["position_error"], 1 / row["spacing"], rtol=1e-5)
    assert max(row["misplaced"]) < 1e-12 and row["carried"] == truth["carried"] == [None] * 6


def test_sciml_evaluate_gathers_them_of_particles_by_itself():
    """Particles that go straight on, and persistence, which leaves them where they are: off by √⟨|v|²⟩ k Δt."""
    packed = data.pack([gas(seed=k) for k in range(3)], dtype="float64", splits=["train", "test", "test"])
    found = sciml.evaluate({}, packed, steps=3, starts=(0, "1/3"))
    assert set(found.summary["statistics"]) == {"particle_history", "particle_errors"}
    entries = found.summary["statistics"]["particle_errors"]["entries"]
    rows = [e for e in entries if e["row"] == "persistence"]
    assert len(rows) == 4 and {e["row"] for e in entries} > {"truth", "persistence"}
    for e in rows:
        _, solution = data.case(packed, int(e["label"].removeprefix("gas ")))
        speed = np.sqrt(np.square(frames(solution, ["velocity_x", "velocity_y"])[0]).sum(0).mean())
        np.testing.assert_allclose(e["position_error"], speed * 0.1 * np.arange(1, 4) / e["spacing"], rtol=1e-4)
    history = found.summary["statistics"]["particle_history"]["entries"]
    still = next(e for e in history if e["row"] == "persistence")
    assert np.ptp(still["centre_x"]) == pytest.approx(0, abs=1e-12)
    assert sciml.evaluate({}, packed, steps=1, starts=(0,), statistics=()).summary["statistics"] == {}


def test_which_statistics_particles_have():
    case, solution = data.case(data.pack([thrown()]), 0)
    assert [s.name for s in statistics_for(case)] == ["particle_history", "particle_errors"]
    assert statistics_for(case, ("velocity_x", "velocity_y")) == []  # nobody knows where these are
    assert isinstance(case.support, Points)
    assert case.support.weights().sum() == pytest.approx(0.04)  # volumes are kept in files
    other = thrown(spacing=0.04)
    names = [f.name for f in statistic_fields(other)]
    grid = Grid.uniform(case.geometry, (4, 4))
    for statistic, message in (
        (ParticleHistory(), "expected particles with displacements, got Grid"),
        (EnergyHistory(), "expected values on a grid"),
    ):  # fmt: skip
        statistic.begin(names)
        with pytest.raises(InputError, match=message):
            where = grid if isinstance(statistic, ParticleHistory) else case.support
            statistic.add("truth", 0, 0, 0, 0.0, np.zeros((5, *where.shape)), case, where)
    errors = ParticleErrors()
    errors.begin(names)
    with pytest.raises(InputError, match="expected the truth of rollout 0, step 1 before 'row'"):
        errors.add("row", 0, 0, 0, 0.0, np.zeros((5, case.support.size)), case, case.support)
    with pytest.raises(InputError, match="share: expected a number between 0 and 1"):
        ParticleHistory(share=1.0)
    with pytest.raises(InputError, match="most: expected a whole number"):
        ParticleErrors(most=0)
    assert solution["node_volume"].dims == ("node",)
