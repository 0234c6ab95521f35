"""Operators that go from frame to frame of a turbulent channel, beside large-eddy simulations on the same grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._ledger import WORK, Ledger
from benchmarks._turbulence_rows import SEEDS, Entry, bounded, trained
from sciml import load
from sciml.evaluation import EnergyHistory, Profiles, Spectra, evaluate, profile_error, statistics_of
from sciml.solvers import WALE, ChannelFlow, DynamicSmagorinsky, generate

GRID, CASES, FRAMES = (16, 33, 16), 4, 601  # of the data: cells (z, y, x), flows, frames of each
LES = (24, 33, 24)  # cells with as many waves, after the 2/3 rule, as the data have
STEPS = 500  # of a rollout
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
#: what rollouts buy, and noise in their place
STABLE = {
    "IFactFormer-m, one step": Entry("ifactformer", SMALL | {"parallel": True}),
    "FNO, one step": Entry("fno", FOURIER),
    "FNO, one step, noise 0.1": Entry("fno", FOURIER, noise=0.1),
}


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
    """Trained models and simulations on the test flow: one step from every frame, one rollout with all statistics."""
    path = made()
    ledger.seeds(*range(SEEDS))
    folders = trained("channel", path, MAIN, STABLE, work.minutes)
    models = {row: [load(run) for run in several] for row, several in folders.items()}
    statistics = [Profiles(fold=True), Spectra(y_plus=HEIGHTS), EnergyHistory(gradients=False)]
    found = evaluate(
        {**models, **simulations()}, path, steps=STEPS, starts=(0,), statistics=statistics, examples=0
    )  # fmt: skip
    summary = found.summary
    every = statistics_of(str(path), [Profiles(fold=True)])["profiles"]["entries"]  # one entry a kind of channel
    truth = every[0]
    y, widths = np.array(truth["wall_distance_plus"]), truth["width"]
    profiles = {e["row"]: e for e in summary["statistics"]["profiles"]["entries"] if e["run"] == 0}
    courses = summary["statistics"]["energy_history"]["entries"]
    for row in summary["rows"]:
        name = row["name"]
        own = profiles.get(name)
        kept = [bounded(c, STEPS) for c in courses if c["row"] == name]
        errors = {}
        if own is not None and own["mean"]:
            mean = profile_error(y, own["mean"]["u"]["value"], y, truth["mean"]["u"]["value"], widths=widths)
            errors["frames_in_averages"] = own["frames"]
            errors["mean_velocity_largest_error"] = mean["largest"]
            errors["mean_velocity_relative_l2"] = mean["relative_l2"]
            for c in "uvw":
                rms = profile_error(y, own["rms"][c]["value"], y, truth["rms"][c]["value"], widths=widths)
                errors[f"{c}_rms_relative_l2"] = rms["relative_l2"]
            shear = profile_error(
                y, own["covariance"]["uv"]["value"], y, truth["covariance"]["uv"]["value"], widths=widths
            )
            errors["shear_stress_relative_l2"] = shear["relative_l2"]
        ledger.row(section="learned", row=name, kind=row["kind"], seeds=len(models.get(name, [1])),
                   weights=models[name][0].weights if name in models else None,
                   rollout_steps=STEPS, steps_bounded=kept, **errors, **_figures(row))  # fmt: skip


def _figures(row: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in row.items() if k in ("one_step", "every_frame", "seconds_per_step", "correlation_time")}
