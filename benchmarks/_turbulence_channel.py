"""The channel's flow solver: a wave that grows, a minimal flow unit against a published channel, subgrid models."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from benchmarks import _turbulence_stability
from benchmarks._ledger import WORK, Ledger
from sciml.evaluation import Profiles, Spectra, profile_error, statistics_of
from sciml.problem import Case
from sciml.problems import TurbulentChannel, _mkm
from sciml.solvers import WALE, ChannelFlow, DynamicSmagorinsky

FINE, COARSE = (36, 83, 48), (24, 33, 24)  # cells (z, y, x): resolved; with subgrid models
SEED, SETTLED, EVERY = 1, 6.0, 0.04  # of the disturbance; h/u_τ before averages begin; between frames
WINDOW = 25  # frames in a file
HEIGHTS = (5.0, 15.0, 40.0)  # y⁺ of spectra
UP_TO = 40.0  # y⁺ to which a minimal unit has the statistics of a wide channel (Jiménez, Moin 1991)


def windows(solver: ChannelFlow, case: Case, until: float, folder: Path = WORK / "turbulence") -> Iterator[xr.Dataset]:
    """The flow from `SETTLED` to `until` in files of some frames, made where they are not there yet."""
    key = json.dumps([solver.settings, dict(case.parameters), SETTLED, EVERY, WINDOW], sort_keys=True)
    place = folder / f"channel-{hashlib.sha256(key.encode()).hexdigest()[:10]}"
    place.mkdir(parents=True, exist_ok=True)
    frames = round((until - SETTLED) / EVERY)
    last = None
    for number, first in enumerate(range(0, frames, WINDOW)):
        path = place / f"{number:04d}.nc"
        if not path.exists():
            times = SETTLED + EVERY * np.arange(first, min(first + WINDOW, frames))
            began = time.process_time()
            found = solver.solve(case, times) if last is None else solver.resume(case, last, times)
            if found.attrs["status"] != "ok":
                raise RuntimeError(found.attrs["status"])
            found.attrs["cpu_seconds"] = time.process_time() - began
            found.to_netcdf(path.with_suffix(".tmp"), engine="h5netcdf")
            path.with_suffix(".tmp").replace(path)
        with xr.open_dataset(path, engine="h5netcdf", decode_timedelta=False) as file:
            last = file.load()
        yield last


def averages(solver: ChannelFlow, case: Case, until: float) -> dict[str, Any]:
    """Profiles and spectra of a flow, its mean cost, and the shear at its walls."""
    statistics = [Profiles(fold=True), Spectra(y_plus=HEIGHTS)]
    shear, cost, steps = [], [], 0

    def watched() -> Iterator[xr.Dataset]:
        nonlocal steps
        for number, found in enumerate(windows(solver, case, until)):
            shear.extend(found.wall_shear.values.tolist())
            if number:  # the first is with what comes before, and with compiling
                cost.append(found.attrs["cpu_seconds"] / (found.sizes["time"] * EVERY))
            steps += int(found.attrs["substeps"]) if number else 0
            yield found

    told = statistics_of(watched(), statistics)
    return {
        **told, "wall_shear": float(np.mean(shear)), "cpu_seconds_per_unit_time": float(np.median(cost)),
        "substeps_per_unit_time": steps / (len(cost) * WINDOW * EVERY),
    }  # fmt: skip


def against_published(profiles: dict[str, Any], up_to: float = UP_TO) -> dict[str, float]:
    """Errors of mean velocity, rms and shear stress against Moser, Kim and Mansour (1999), from the wall to `up_to`."""
    y = np.array(profiles["wall_distance_plus"])
    at, found = _mkm.y(), {}
    mean = np.array(profiles["mean"]["u"]["value"])
    found["mean_velocity"] = profile_error(y, mean, at, _mkm.mean(), low=1.0, high=up_to)["largest"]
    for name, pair in (("u_rms", "uu"), ("v_rms", "vv"), ("w_rms", "ww")):
        rms = np.array(profiles["rms"][pair[0]]["value"])
        found[name] = profile_error(y, rms, at, np.sqrt(_mkm.stress(pair)), low=1.0, high=up_to)["relative_l2"]
    shear = np.array(profiles["covariance"]["uv"]["value"])
    found["shear_stress"] = profile_error(y, shear, at, _mkm.stress("uv"), low=1.0, high=up_to)["relative_l2"]
    return found


def measure(ledger: Ledger, work: Any) -> None:
    """Stability, the resolved flow, the same on a coarse grid without and with subgrid models."""
    ledger.seeds(SEED)
    _stability(ledger, work)
    case = TurbulentChannel().case(seed=SEED)
    until = SETTLED + (2.0 if work.quick else work.span)
    flows = {"direct": ChannelFlow(FINE, cfl=1.2)}
    flows |= {
        f"coarse, {title}": ChannelFlow(COARSE, closure, cfl=1.2)
        for title, closure in (("no model", None), ("WALE", WALE()), ("dynamic Smagorinsky", DynamicSmagorinsky()))
    }
    for row, solver in flows.items():
        told = averages(solver, case, until)
        profiles = told["profiles"]["entries"][0]
        errors = against_published(profiles)
        defect = profiles["stress"]["relative_defect"]
        mean = profiles["mean"]["u"]
        y = np.array(profiles["wall_distance_plus"])
        error_bar = float(
            np.max(np.array(mean["standard_error"]) / np.array(mean["value"]), where=y <= UP_TO, initial=0)
        )
        ledger.row(
            section="channel", row=row, cells=" × ".join(map(str, solver.resolution[::-1])),
            time_h_over_u_tau=until - SETTLED,
            frames=profiles["frames"], mean_velocity_standard_error=error_bar, stress_balance_defect=defect,
            wall_shear_over_expected=told["wall_shear"], substeps_per_h_over_u_tau=told["substeps_per_unit_time"],
            cpu_seconds_per_h_over_u_tau=told["cpu_seconds_per_unit_time"],
            **{f"{n}_error_to_y_plus_{UP_TO:g}": e for n, e in errors.items()},
        )  # fmt: skip
        if row == "direct":
            what = f"{solver.resolution[::-1]} cells (x, y, z), {until - SETTLED:g} h/u_τ"
            spread = {"low": errors["mean_velocity"] - error_bar, "high": errors["mean_velocity"] + error_bar,
                      "of": "one standard error of the time average on either side"}  # fmt: skip
            ledger.check("channel_mean_velocity_vs_mkm_relative", errors["mean_velocity"], what, spread=spread,
                         note=f"largest for 1 <= y+ <= {UP_TO:g}; {what}")  # fmt: skip
            ledger.check("channel_stress_balance_relative", defect, what + (
                "; viscous and Reynolds' stress against the straight line, L2 over the channel"
            ))  # fmt: skip
        for k, height in enumerate(told["spectra"]["entries"][0]["wall_distance_plus"]):
            for axis in "xz":
                found = told["spectra"]["entries"][0]["spectra"][axis]
                ledger.row(section="spectra", row=row, y_plus=height, along=axis, wavenumber_h=found["wavenumber"],
                           **{f"energy_{c}": found["energy"][c][k] for c in "uvw"})  # fmt: skip
        ledger.row(
            section="profiles", row=row, y_plus=list(y), mean_u=mean["value"],
            mean_u_standard_error=mean["standard_error"],
            **{f"rms_{c}": profiles["rms"][c]["value"] for c in "uvw"},
            shear_stress=[-v for v in profiles["covariance"]["uv"]["value"]],
            total_stress=profiles["stress"]["total"],
        )  # fmt: skip


def _stability(ledger: Ledger, work: Any) -> None:
    errors = {}
    for cells, cfl in ((31, 0.2),) if work.quick else ((31, 0.2), (63, 0.4), (63, 0.2), (63, 0.1)):
        found, known = _turbulence_stability.growth(cells, cfl)
        errors[cells, cfl] = abs(found.imag / known.imag - 1)
        ledger.row(section="stability", row="Tollmien-Schlichting wave, Re 7500, alpha 1", cells_between_walls=cells,
                   cfl=cfl, growth_rate=found.imag, by_the_equation=known.imag, relative_error=errors[cells, cfl],
                   phase_speed=found.real, phase_speed_by_the_equation=known.real)  # fmt: skip
    (cells, cfl), value = list(errors.items())[-1]
    told = ", ".join(f"{c} cells, cfl {f:g}: {e:.2g}" for (c, f), e in errors.items())
    ledger.check("orr_sommerfeld_growth_rate_relative_error", value, told, note=told)
