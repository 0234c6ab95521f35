"""Operators that go from frame to frame of a turbulent channel, beside large-eddy simulations on the same grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._ledger import WORK, Ledger
from benchmarks._turbulence_rows import Entry, bounded, costs, learned, one_step, trained
from sciml import load
from sciml.evaluation import EnergyHistory, Profiles, Spectra, Statistic, evaluate, profile_error, statistics_of
from sciml.solvers import WALE, ChannelFlow, DynamicSmagorinsky, generate

GRID, CASES, FRAMES = (16, 33, 16), 4, 601  # of the data: cells (z, y, x), flows, frames of each
LES = (24, 33, 24)  # cells with as many waves, after the 2/3 rule, as the data have
STEPS = 500  # of a rollout
FILMED = 120  # of these
THINNED = 5  # steps between those of a course that are kept
LAYERS = WORK / "turbulence" / "layers.npz"
HEIGHTS = (15.0, 40.0)  # y⁺ of spectra
#: sizes that learn something in minutes on a core; as published IFactFormer takes half a minute a step there
SMALL = {"width": 32, "heads": 2, "head_width": 16, "iterations": 5}
FOURIER = {"width": 24, "modes": (6, 8, 6), "padding": 0.25}
ROLLOUT = 5  # steps in a row that are trained, of every row alike
#: the most telling rows first
MAIN = {
    "IFactFormer-m": Entry("ifactformer", SMALL | {"parallel": True}, rollout=ROLLOUT),
    "FNO": Entry("fno", FOURIER, rollout=ROLLOUT),
    "Transformer": Entry("transformer", {"width": 128, "depth": 4, "patch": 4}, rollout=ROLLOUT),
    "IFactFormer-o": Entry("ifactformer", SMALL | {"parallel": False}, rollout=ROLLOUT),
    "IFNO": Entry("ifno", FOURIER, rollout=ROLLOUT),
    "FactFormer": Entry("factformer", {"width": 32, "heads": 2, "head_width": 16}, rollout=ROLLOUT),
}
#: what rollouts buy
STABLE = {
    "IFactFormer-m, one step": Entry("ifactformer", SMALL | {"parallel": True}),
    "FNO, one step": Entry("fno", FOURIER),
}


class Layer(Statistic):
    """u on one plane along the walls, of the first run of each row, for films. Result: {row: frames}.

    Args:
        y_plus: height of the plane above the lower wall, in wall units.
        most: frames.
    """

    name = "layer"

    def __init__(self, y_plus: float, most: int):
        self.y_plus, self.most = y_plus, most
        self.planes: dict[str, list[np.ndarray]] = {}

    def add(
        self, row: str, run: int, rollout: int, step: int, time: float, frame: np.ndarray, case: Any, support: Any
    ) -> None:
        if run == 0 and rollout == 0 and step < self.most:
            heights = (support.coordinate(1).ravel() + case.half_height) * case.problem.reynolds(case)
            at = int(np.argmin(np.abs(heights / case.half_height - self.y_plus)))
            self.planes.setdefault(row, []).append(np.asarray(frame[0][:, at], dtype=np.float32))

    def result(self) -> dict[str, int]:
        return {row: len(planes) for row, planes in self.planes.items()}

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, **{row: np.stack(planes) for row, planes in self.planes.items()})  # type: ignore[arg-type]


def made(folder: Path = WORK / "turbulence") -> Path:
    """The data set, made where it is not there yet: filtered from direct simulations."""
    path = folder / "channel.h5"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        generate("turbulent_channel", path, cases=CASES, frames=FRAMES, resolution=GRID, fields=("u", "v", "w"))
    return path


def simulations() -> dict[str, ChannelFlow]:
    """What the data's grid can do without learning."""
    closures = (("no model", None), ("WALE", WALE()), ("dynamic Smagorinsky", DynamicSmagorinsky()))
    return {f"LES, {title}": ChannelFlow(LES, closure, dtype="float32", cfl=1.2) for title, closure in closures}


def measure(ledger: Ledger, work: Any) -> None:
    """Trained models and simulations on the test flow: one step from many frames, one rollout with all statistics."""
    path = made()
    ledger.seeds(*range(work.seeds))
    folders = trained("channel", path, MAIN, STABLE, work.minutes, work.seeds)
    models = {row: [load(run) for run in several] for row, several in folders.items()}
    layer = Layer(15.0, FILMED)
    statistics = [Profiles(fold=True), Spectra(y_plus=HEIGHTS), EnergyHistory(gradients=False), layer]
    numerical = simulations()
    solvers = {**models, **numerical}
    found = evaluate(
        solvers, path, steps=STEPS, starts=(0,), statistics=statistics, examples=0, every_frame=False
    ).summary  # fmt: skip
    first = one_step(solvers, path)
    cost = costs({row: several[0] for row, several in models.items()} | numerical, path)
    layer.write(LAYERS)
    (truth,) = statistics_of(str(path), [Profiles(fold=True)])["profiles"]["entries"]  # of all flows
    profiles = found["statistics"]["profiles"]["entries"]
    courses = found["statistics"]["energy_history"]["entries"]
    spectra = found["statistics"]["spectra"]["entries"]
    told = {}
    for name in ["truth", *(row["name"] for row in found["rows"])]:
        row = next((r for r in found["rows"] if r["name"] == name), None)
        mine = [c for c in courses if c["row"] == name]
        within = {c["run"] for c in mine if not c["diverged"]}  # averages are of these alone
        runs = [e for e in profiles if e["row"] == name and e["run"] in within]
        told[name] = {
            "kind": "truth" if row is None else row["kind"], "runs": row["runs"] if row else None,
            "weights": models[name][0].weights if name in models else None,
            **(learned(folders[name]) if name in folders else {}),
            "rollout_steps": STEPS, **_bounds(mine),
            "frames_in_averages": [e["frames"] for e in runs], **_over_runs([_errors(e, truth) for e in runs]),
            "fluctuation_energy_deviation_over_true": _swing([c for c in mine if c["run"] in within], courses),
            **({} if row is None else _figures(row, first[name], cost.get(name))),
        }  # fmt: skip
        title = "filtered direct simulation, this flow alone" if row is None else name
        ledger.row(section="learned", row=title, **told[name])
    curves = {"truth", *solvers}
    for entry in (e for e in profiles if e["run"] == 0 and e["mean"] and e["row"] in curves):
        ledger.row(
            section="learned_profiles", row=entry["row"], y_plus=entry["wall_distance_plus"],
            mean_u=entry["mean"]["u"]["value"], shear_stress=[-v for v in entry["covariance"]["uv"]["value"]],
            **{f"rms_{c}": entry["rms"][c]["value"] for c in "uvw"},
        )  # fmt: skip
    for entry in (e for e in spectra if e["run"] == 0 and e["spectra"] and e["row"] in curves):
        for axis in "xz":
            ledger.row(
                section="learned_spectra", row=entry["row"], along=axis, y_plus=entry["wall_distance_plus"][0],
                wavenumber_h=entry["spectra"][axis]["wavenumber"],
                **{f"energy_{c}": entry["spectra"][axis]["energy"][c][0] for c in "uvw"},
            )  # fmt: skip
    for course in (c for c in courses if c["run"] == 0 and c["row"] in curves):
        ledger.row(section="learned_energy", row=course["row"], time_h_over_u_tau=course["time"][::THINNED],
                   fluctuation_energy=course["fluctuation_energy"][::THINNED])  # fmt: skip
    _check(ledger, told)


def measure_costs(ledger: Ledger, work: Any) -> None:
    """What a step of each row costs, without going over the rollouts again."""
    path = made()
    ledger.seeds(*range(work.seeds))
    folders = trained("channel", path, MAIN, STABLE, work.minutes, work.seeds)
    cost = costs({row: load(several[0]) for row, several in folders.items()} | simulations(), path)
    for row, seconds in cost.items():
        ledger.row(section="learned_costs", row=row, core_seconds_per_step=seconds)
    if "IFactFormer-m" in cost:
        _check_cost(ledger, cost["IFactFormer-m"], cost["LES, WALE"], cost["LES, no model"])


def _errors(own: dict[str, Any], truth: dict[str, Any]) -> dict[str, float]:
    """Of one run's averages over its rollout, against those of all frames of all flows."""
    y, widths = np.array(truth["wall_distance_plus"]), truth["width"]

    def error(*at: str) -> dict[str, float]:
        a, b = own, truth
        for key in at:
            a, b = a[key], b[key]
        return profile_error(y, a["value"], y, b["value"], widths=widths)

    mean, u = error("mean", "u"), own["mean"]["u"]
    spread = np.array(u["standard_error"], float) / np.array(u["value"], float)
    return {
        "mean_velocity_standard_error": float(np.nanmax(np.abs(spread))),
        "mean_velocity_largest_error": mean["largest"], "mean_velocity_relative_l2": mean["relative_l2"],
        **{f"{c}_rms_relative_l2": error("rms", c)["relative_l2"] for c in "uvw"},
        "shear_stress_relative_l2": error("covariance", "uv")["relative_l2"],
    }  # fmt: skip


def _swing(courses: list[dict[str, Any]], every: list[dict[str, Any]]) -> float | None:
    """Standard deviation in time of the energy of fluctuations over that of the truth, second half of the rollout: 0
    where a flow stands still."""

    def swing(course: dict[str, Any]) -> float:
        energy = np.array(course["fluctuation_energy"], float)
        return float(energy[len(energy) // 2 :].std())

    true = swing(next(c for c in every if c["row"] == "truth"))
    return float(np.mean([swing(c) for c in courses])) / true if courses else None


def _over_runs(errors: list[dict[str, float]]) -> dict[str, Any]:
    """The mean over runs, and the most where there are several."""
    found: dict[str, Any] = {}
    for key in errors[0] if errors else ():
        values = [e[key] for e in errors]
        found[key] = float(np.mean(values))
        if len(values) > 1:
            found[f"{key}_most"] = max(values)
    return found


def _bounds(courses: list[dict[str, Any]]) -> dict[str, Any]:
    left = [c["diverged"]["why"] for c in courses if c["diverged"]]
    return {"steps_bounded": [bounded(c, STEPS) for c in courses], "left_by": sorted(set(left))}


def _figures(row: dict[str, Any], first: dict[str, float], cost: float | None) -> dict[str, Any]:
    return {"one_step_nmse": first["mean"], "one_step_nmse_std": first["std"],
            "correlation_time": row["correlation_time"]["all"]["median"],
            "core_seconds_per_step": cost}  # fmt: skip


def _check(ledger: Ledger, rows: dict[str, dict[str, Any]]) -> None:
    """The goals of IFactFormer-m."""
    mine, peer = rows.get("IFactFormer-m"), rows["LES, WALE"]
    names = ("ifactformer_m_rollout_steps_bounded", "ifactformer_m_mean_velocity_relative", "ifactformer_m_cost_vs_les")
    if mine is None:
        for name in names:
            ledger.check(name, None, "training diverged")
        return
    runs = f"{mine['runs']} run{'s' if mine['runs'] > 1 else ''} of {mine['weights']:,} weights (published 1.2 million)"
    steps = mine["steps_bounded"]
    left = "; ".join(mine["left_by"]) or "never left"
    what = f"fewest of {runs}: {', '.join(map(str, steps))} steps; {left}; a flow that stands still is bounded, too"
    ledger.check(names[0], min(steps), what, note=what)
    what = f"a run of {runs} left its bounds" if min(steps) < STEPS else (
        f"largest error over the layers, mean over {runs}; in L2 {mine['mean_velocity_relative_l2']:.3g}; standard "
        f"error of an average so long {mine['mean_velocity_standard_error']:.3g}"
    )  # fmt: skip
    error = None if min(steps) < STEPS else mine["mean_velocity_largest_error"]
    ledger.check(names[1], error, what, note=what, status="missed" if error is None else None)
    _check_cost(ledger, *(r["core_seconds_per_step"] for r in (mine, peer, rows["LES, no model"])))


def _check_cost(ledger: Ledger, own: float, others: float, bare: float) -> None:
    """Seconds a step of IFactFormer-m, and of the simulations with WALE and without model."""
    ratio = others / own
    what = (
        f"a step of {others:.3g} s by LES with WALE on {LES[2]} x {LES[1]} x {LES[0]} cells, {bare:.3g} s without "
        f"model, against {own:.3g} s, one core, nothing compiled in it; at unequal error, training left out"
    )
    ledger.check("ifactformer_m_cost_vs_les", ratio, what, note=what)
