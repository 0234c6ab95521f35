"""Turbulence in a periodic cube: the Taylor-Green vortices at Re 1600 and the decay of isotropic turbulence, by the
pseudo-spectral solver, against published direct simulations.

    python -m benchmarks._turbulence_periodic --data FOLDER [--flow taylor_green isotropic] [--grids 32 48 64 96]

Runs what is missing, keeps it in benchmarks/work/turbulence and prints the rows; a run that is stopped goes on where it
was. `taylor_green` and `isotropic` are for a ledger.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray

from benchmarks._turbulence_kept import digest, kept, marched, mean
from sciml.metrics import energetics
from sciml.problem import Case
from sciml.problems import IsotropicTurbulence, TaylorGreen3D
from sciml.solvers import PseudoSpectral, SpectralEddyViscosity

REYNOLDS = 1600.0
STEP = 0.1  # between measured times of the vortices
#: of the decay: the kinematic viscosity
VISCOSITY = 3.5014006e-4
#: for how long the eddies develop, in u'/L of the initial spectrum, and in how many pieces, after each of which the
#: spectrum is brought back
DEVELOPED, PIECES = 2.0, 40


def _measure(extent: float, viscosity: float, spectrum: bool) -> Any:
    def measure(frame: xarray.Dataset) -> dict[str, Any]:
        e = energetics(np.stack([frame[n].values[-1] for n in "uvw"]), [extent] * 3)
        found = {
            "energy": float(e.energy), "enstrophy": float(e.enstrophy), "dissipation": float(e.dissipation(viscosity)),
            "tail": float(frame.attrs["spectrum_tail"]), "substeps": int(frame.attrs["substeps"]),
        }  # fmt: skip
        return found | ({"spectrum": e.spectrum[1:].tolist()} if spectrum else {})

    return measure


def _last(cells: int) -> int:
    """The last shell of waves that the 2/3 rule keeps whole."""
    return (cells - 1) // 3


# -- the Taylor-Green vortices ----------------------------------------------------------------------------------------


def vortices(
    cells: int, last: float = 10.0, dtype: str = "float32", cfl: float = 1.0, folder: Path | None = None
) -> dict[str, Any]:
    """Figures over the times 0, 0.1, ..., `last` at Re 1600 on so many cells along each axis."""
    case = TaylorGreen3D().at_reynolds(REYNOLDS)
    times = STEP * np.arange(round(last / STEP) + 1)

    solver = PseudoSpectral(cells, dtype=dtype, cfl=cfl)

    def make(path: Path) -> dict[str, Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # how much lies in the shortest waves is among the figures
            return marched(solver, case, times, _measure(case.length, case.viscosity, False), path)

    return kept(folder, digest(solver, case), make, what="taylor_green", cells=cells, last=last, dtype=dtype, cfl=cfl)


def reference_vortices(data: Path) -> dict[str, np.ndarray]:
    """Time, energy, −dE/dt and enstrophy ½⟨|ω|²⟩ of a pseudo-spectral simulation with 512³ modes.

    Source: W. M. van Rees, A. Leonard, D. I. Pullin, P. Koumoutsakos, J. Comput. Phys. 230, 2794 (2011); distributed
    for the International Workshop on High-Order CFD Methods.
    """
    table = np.loadtxt(data / "three_d" / "spectral_Re1600_512.gdiag")
    return dict(zip(("time", "energy", "dissipation", "enstrophy"), table.T, strict=True))


def peak(time: Any, values: Any) -> tuple[float, float]:
    """(value, time) of the largest value, by the parabola through it and its neighbours."""
    t, v = np.asarray(time), np.asarray(values)
    k = int(np.clip(v.argmax(), 1, len(v) - 2))
    a, b, c = v[k - 1 : k + 2]
    bend = a - 2 * b + c
    shift = 0.5 * (a - c) / bend if bend < 0 else 0.0
    if abs(shift) > 1:  # still rising at the end
        return float(v.max()), float(t[v.argmax()])
    return float(b - 0.25 * (a - c) * shift), float(t[k] + shift * (t[k + 1] - t[k]))


def taylor_green(
    data: Path,
    grids: Sequence[int] = (32, 48, 64, 96),
    last: float = 10.0,
    dtype: str = "float32",
    cfl: float = 1.0,
    folder: Path | None = None,
) -> list[dict[str, Any]]:
    """One row a grid: how far energy, dissipation 2ν⟨S_ij S_ij⟩ and enstrophy are off the reference over 0 ≤ t ≤ `last`
    in L2, the peak of the dissipation and its time, until when the dissipation is within 1 % of the reference, and
    k_max η at the reference's peak, above 1 where a grid may claim to hold all eddies.

    Args:
        data: the folder with the reference.
        last: 10, or up to 20.
        folder: where runs are kept.
    """
    truth = reference_vortices(data)
    highest, when = peak(truth["time"], truth["dissipation"])
    eta = (REYNOLDS**-3 / highest) ** 0.25
    rows = []
    for cells in grids:
        run = vortices(cells, last, dtype, cfl, folder)
        time = np.array(run["time"])
        exact = {n: np.interp(time, truth["time"], truth[n]) for n in ("energy", "dissipation", "enstrophy")}
        value, at = peak(time, run["dissipation"])
        off = np.abs(np.array(run["dissipation"]) / exact["dissipation"] - 1) > 0.01
        rows.append(
            {
                "flow": "taylor_green_1600", "cells": cells, "dtype": dtype, "cfl": cfl, "last_time": last,
                "dissipation_peak": value, "dissipation_peak_reference": highest,
                "dissipation_peak_relative_error": abs(value / highest - 1),
                "dissipation_peak_time": at, "dissipation_peak_time_reference": when,
                **{f"{n}_relative_l2": float(np.linalg.norm(np.array(run[n]) - v) / np.linalg.norm(v))
                   for n, v in exact.items()},
                "dissipation_within_1_percent_until_time": float(time[off.argmax()] if off.any() else time[-1]),
                "largest_wave_times_kolmogorov_length": _last(cells) * eta,
                "largest_share_of_shortest_waves": max(run["tail"]),
                "steps": sum(run["substeps"]), "cpu_seconds": run["cpu_seconds"],
            }
        )  # fmt: skip
    return rows


def dtypes(cells: int = 32, last: float = 10.0, folder: Path | None = None) -> dict[str, Any]:
    """What single precision and long steps change: the largest difference over time of each figure, over its largest
    value, from double precision with a quarter of the step."""
    fine = vortices(cells, last, "float64", 0.25, folder)
    found: dict[str, Any] = {"flow": "taylor_green_1600", "cells": cells, "what": "precision and step"}
    for name, dtype, cfl in (("float32", "float32", 0.25), ("cfl_1", "float64", 1.0), ("both", "float32", 1.0)):
        run = vortices(cells, last, dtype, cfl, folder)
        for n in ("energy", "dissipation"):
            gap = np.abs(np.array(run[n]) - np.array(fine[n])).max() / np.max(fine[n])
            found[f"{name}_{n}_relative_change"] = float(gap)
    return found


# -- decay --------------------------------------------------------------------------------------------------------


def reference_decay(data: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(shells 1, 2, ...), times, (time, shell) energies of decaying isotropic turbulence in a cube of side 2π.

    Source: A. Wray, case HOM02 of AGARD Advisory Report 345 (1998), a direct simulation with 512³ modes.
    """
    path = data / "reference" / "isotropic_decay_wray_spectra.csv"
    with open(path) as file:
        times = np.array([float(name.removeprefix("t=")) for name in file.readline().strip().split(",")[1:]])
    table = np.loadtxt(path, delimiter=",", skiprows=1)[1:]
    return table[:, 0].astype(int), times, table[:, 1:].T


def with_spectrum(frame: xarray.Dataset, energies: np.ndarray) -> xarray.Dataset:
    """The frame with the phases that it has and the energies of the shells 1, 2, ... as given, none beyond."""
    fields = np.stack([frame[n].values[-1] for n in "uvw"]).astype(float)
    shape, n = fields.shape[1:], fields.shape[-1]
    modes = np.fft.rfftn(fields, axes=(1, 2, 3))
    m = [np.fft.fftfreq(n, 1 / n), np.fft.fftfreq(n, 1 / n), np.fft.rfftfreq(n, 1 / n)]
    shell = np.rint(np.sqrt(sum(a**2 for a in np.meshgrid(*m, indexing="ij")))).astype(int)
    twice = np.where((m[2] > 0) & (2 * m[2] < n), 2.0, 1.0)
    power = (0.5 * (np.abs(modes) ** 2).sum(0) * twice / math.prod(shape) ** 2).ravel()
    held = np.bincount(shell.ravel(), power)
    wanted = np.zeros(len(held))
    count = min(len(energies), _last(n))
    wanted[1 : count + 1] = energies[:count]
    factor = np.sqrt(wanted / np.where(held > 0, held, 1.0))
    changed = np.fft.irfftn(modes * factor[shell], shape, axes=(1, 2, 3))
    out = frame.copy()
    for name, values in zip("uvw", changed, strict=True):
        out[name] = (frame[name].dims, values[None])
    return out


def decay(
    data: Path, cells: int, seed: int, begins: str, closed: bool, dtype: str = "float32", cfl: float = 1.0,
    folder: Path | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Spectra at the times of the reference from its first spectrum on.

    Args:
        begins: "random": with random phases; "developed": from a field that has marched for `DEVELOPED` turn-over times
            while its spectrum was brought back to the first one over and over.
        closed: with an eddy viscosity for what the grid does not hold.
    """
    _, times, energies = reference_decay(data)
    problem = IsotropicTurbulence()
    case = problem.case(viscosity=VISCOSITY, seed=seed, initial_spectrum=energies[0])
    solver = PseudoSpectral(cells, dtype=dtype, cfl=cfl, closure=SpectralEddyViscosity() if closed else None)

    def make(path: Path) -> dict[str, Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            frame, asked = None, times - times[0]
            if begins == "developed":
                frame = developed(solver, case, energies[0])
                asked = asked + float(frame["time"].values[-1])
            return marched(solver, case, asked, _measure(case.length, VISCOSITY, True), path, frame)

    settings = {"seed": seed, "begins": begins, "closed": closed, "dtype": dtype, "cfl": cfl}
    if begins == "developed":
        settings |= {"developed": DEVELOPED, "pieces": PIECES}
    return kept(folder, digest(solver, case), make, what="decay", cells=cells, **settings)


def developed(solver: PseudoSpectral, case: Case, energies: np.ndarray) -> xarray.Dataset:
    """A field with this spectrum whose phases are those of turbulence."""
    scales = case.scales
    pieces = DEVELOPED * scales.time / PIECES * np.arange(1, PIECES + 1)
    frame = solver.solve(case, [0.0])
    for time in pieces:
        frame = with_spectrum(solver.resume(case, frame, [time]), energies)
    return frame


def isotropic(
    data: Path,
    grids: Sequence[int] = (64, 96),
    seeds: Sequence[int] = (0, 1, 2),
    variants: Sequence[tuple[str, bool]] = (("developed", True), ("random", True), ("developed", False)),
    folder: Path | None = None,
) -> list[dict[str, Any]]:
    """One row a grid and variant: |E/E_reference − 1| of the mean spectrum of the seeds, averaged over all whole shells
    that the grid keeps and over the seven later times of the reference; the same up to half of these shells, for each
    time, and the least and most of single seeds; and the energy in these shells.

    Such a Reynolds number asks for 512 cells and more: without a closure a coarse grid has nowhere to leave the energy
    that arrives at its last waves.

    Args:
        variants: (begins, closed) as `decay` takes them.
    """
    shells, times, energies = reference_decay(data)
    rows = []
    for cells in grids:
        k = _last(cells)
        assert shells[k - 1] == k
        for begins, closed in variants:
            runs = [decay(data, cells, seed, begins, closed, folder=folder) for seed in seeds]
            found = np.array([[np.array(s)[:k] for s in run["spectrum"]] for run in runs])  # seed, time, shell
            truth = energies[:, :k]
            off = np.abs(found.mean(0) / truth - 1)[1:]
            single = np.abs(found / truth - 1)[:, 1:].mean((1, 2))
            energy = found.mean(0).sum(1) / truth.sum(1) - 1
            rows.append(
                {
                    "flow": "isotropic_decay_wray", "cells": cells, "begins": begins,
                    "closure": "spectral eddy viscosity" if closed else "none", "seeds": len(seeds), "shells": k,
                    "spectrum_relative_error": float(off.mean()),
                    "spectrum_relative_error_lower_half": float(off[:, : k // 2].mean()),
                    "spectrum_relative_error_of_seeds_least": float(single.min()),
                    "spectrum_relative_error_of_seeds_most": float(single.max()),
                    "spectrum_relative_error_by_time": off.mean(1).tolist(), "times": times[1:].tolist(),
                    "resolved_energy_relative_error_by_time": energy[1:].tolist(),
                    "largest_wave_times_kolmogorov_length": (k * _eta(energies, shells)[[0, -1]]).tolist(),
                    "cpu_seconds_a_run": mean([run["cpu_seconds"] for run in runs]),
                }
            )  # fmt: skip
    return rows


def _eta(energies: np.ndarray, shells: np.ndarray) -> np.ndarray:
    """(time,) the reference's Kolmogorov length."""
    dissipation = 2 * VISCOSITY * (energies * shells**2).sum(1)
    return (VISCOSITY**3 / dissipation) ** 0.25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with others' data")
    parser.add_argument(
        "--flow", nargs="+", choices=("taylor_green", "isotropic", "precision"), default=["taylor_green"]
    )
    parser.add_argument("--grids", nargs="+", type=int, default=None)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--last", type=float, default=10.0, help="time of the vortices")
    given = parser.parse_args()
    for flow in given.flow:
        if flow == "precision":
            print(json.dumps(dtypes()), flush=True)
            continue
        for cells in given.grids or ((32, 48, 64, 96) if flow == "taylor_green" else (64, 96)):
            if flow == "taylor_green":
                rows = taylor_green(given.data, (cells,), given.last)
            else:
                rows = isotropic(given.data, (cells,), given.seeds)
            for row in rows:
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
    main()
