"""Parts of the turbulence ledger that others' figures judge: periodic flows in space, and the double gyre."""

from __future__ import annotations

from typing import Any

from benchmarks import _turbulence_periodic, _turbulence_structure
from benchmarks._ledger import WORK, Ledger, extremes

MISSING = "needs --data with three_d/ and reference/"


def taylor_green(ledger: Ledger, work: Any) -> None:
    """Taylor-Green vortices at Re 1600 on finer and finer grids."""
    if work.data is None:
        ledger.check("taylor_green_1600_dissipation_peak_relative_error", None, MISSING)
        return
    grids = (16, 24) if work.quick else work.grids
    rows = _turbulence_periodic.taylor_green(work.data, grids, folder=WORK / "turbulence")
    for row in rows:
        ledger.row(section="taylor_green", **row)
    finest = rows[-1]
    note = f"{finest['cells']}³ cells, the finest run; k_max η {finest['largest_wave_times_kolmogorov_length']:.2g}"
    ledger.check("taylor_green_1600_dissipation_peak_relative_error", finest["dissipation_peak_relative_error"],
                 note, note=note)  # fmt: skip


def isotropic(ledger: Ledger, work: Any) -> None:
    """Decaying isotropic turbulence against Wray's spectra."""
    if work.data is None:
        ledger.check("isotropic_spectrum_vs_wray_relative", None, MISSING)
        return
    cells, seeds = (24, (0,)) if work.quick else (64, (0, 1, 2))
    ledger.seeds(*seeds)
    rows = _turbulence_periodic.isotropic(work.data, (cells,), seeds, folder=WORK / "turbulence")
    for row in rows:
        ledger.row(section="isotropic", **row)
    first = rows[0]
    note = (
        f"{cells}³ cells, {first['closure']}, eddies {first['begins']}; mean over {first['shells']} shells and 7 times"
    )
    told = "; ".join(f"{r['begins']}, closure {r['closure']}: {r['spectrum_relative_error']:.3g}" for r in rows)
    ends = [first["spectrum_relative_error_of_seeds_least"], first["spectrum_relative_error_of_seeds_most"]]
    ledger.check("isotropic_spectrum_vs_wray_relative", first["spectrum_relative_error"], f"{note} ({told})",
                 spread=extremes(ends, "single seeds"), note=f"{note}; all: {told}")  # fmt: skip


def double_gyre(ledger: Ledger, work: Any) -> None:
    """Ridges of exponents against the manifolds that they stand for."""
    found = _turbulence_structure.double_gyre(seeds=(25,) if work.quick else (50, 100))
    for row in found["rows"]:
        ledger.row(section="double_gyre", **row)
    means = extremes(found["means"], "means over ridge points, by direction, velocity and way")
    ledger.check("ftle_ridge_error_double_gyre", found["error"], found["note"], spread=means, note=found["note"])
