"""Flows with bodies, inflow and outflow, and of two fluids: published coefficients, measured profiles, gradients,
killed generations. Ledger `flows`.

    python -m benchmarks.flows [--part channel|two_fluids|front_cylinder|...] [--quick]

Each part takes the rows and checks of its own; each run is kept in benchmarks/work, so that an interrupted measurement
goes on. `--quick` tries all on small grids, and writes nothing. The published drag of the impulsively started cylinder
(Koumoutsakos and Leonard 1995, Re 40; columns U t/R and drag coefficient) is not part of this package: a text file that
`--drag` or the environment variable SCIML_CYLINDER_DRAG names; nor are the profiles of the wet-bed dam break (SPHERIC
test 5, spheric05_wetbed_d38_1.csv to _8.csv), of a folder that `--wet-bed` or SCIML_WET_BED names.
"""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import (
    _flows_channel,
    _flows_collapse,
    _flows_cost,
    _flows_front,
    _flows_gradients,
    _flows_kills,
    _flows_race,
    _flows_referee,
    _flows_two_fluids,
    _openfoam,
)
from benchmarks._flows_channel import CONVERGED, DRAG, DRAG_MOST, LIFT, LIFT_MOST, PRESSURE, STROUHAL, off
from benchmarks._ledger import WORK, Kept, Ledger
from sciml.solvers import TwoPhaseFlow

PARTS = (
    "channel",
    "two_fluids",
    "front_cylinder",
    "front_two_fluids",
    "referee",
    "gradients",
    "impulsive",
    "kills",
    "cost",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, help="one part alone")
    parser.add_argument("--quick", action="store_true", help="small grids, nothing written")
    parser.add_argument("--drag", type=Path, default=os.environ.get("SCIML_CYLINDER_DRAG"), help="published drag")
    parser.add_argument("--wet-bed", type=Path, default=os.environ.get("SCIML_WET_BED"), help="measured profiles")
    arguments = parser.parse_args()
    kept = Kept("flows", dry=arguments.quick)
    for part in PARTS if arguments.part is None else (arguments.part,):
        ledger = Ledger("flows", part=part, packages=("distributed",))
        globals()[part](ledger, kept, arguments)
        ledger.write(dry=arguments.quick)


def channel(ledger: Ledger, kept: Kept, given: argparse.Namespace) -> None:
    """Test cases 2D-1 and 2D-2, each on three grids."""
    grids = (5, 10) if given.quick else (10, 20, 40)
    rows = [kept(lambda n=n: _flows_channel.steady(n), piece="2D-1", across=n) for n in grids]
    _told(ledger, "2D-1", rows, {"drag": DRAG, "lift": LIFT, "pressure_difference": PRESSURE})
    last = rows[-1]
    finest = f"{last['cells_across']} cells across the cylinder; deviation from the middle of the published interval"
    coarser = _listed(rows[:-1], "drag", DRAG)
    ledger.check(
        "dfg_2d1_drag_relative_error", off(last["drag"], DRAG),
        note=f"c_D = {last['drag']:.4f}, published 5.57 to 5.59; {finest}; {coarser}",
    )  # fmt: skip
    coarser = _listed(rows[:-1], "pressure_difference", PRESSURE)
    ledger.check(
        "dfg_2d1_pressure_difference_relative_error", off(last["pressure_difference"], PRESSURE),
        note=f"{last['pressure_difference']:.4f}, published 0.1172 to 0.1176; {finest}; {coarser}",
    )  # fmt: skip
    rows = [kept(lambda n=n: _flows_channel.shedding(n), piece="2D-2", across=n) for n in grids]
    _told(ledger, "2D-2", rows, {"strouhal": STROUHAL, "drag_most": DRAG_MOST, "lift_most": LIFT_MOST})
    last = rows[-1]
    coarser = _listed(rows[:-1], "strouhal", STROUHAL)
    ledger.check(
        "dfg_2d2_strouhal_relative_error", off(last["strouhal"], STROUHAL),
        note=f"St = {last['strouhal']:.4f}, published 0.295 to 0.305; {finest}; {coarser}",
    )  # fmt: skip
    coarser = _listed(rows[:-1], "drag_most", DRAG_MOST)
    ledger.check(
        "dfg_2d2_max_drag_relative_error", off(last["drag_most"], DRAG_MOST),
        note=f"{last['drag_most']:.4f}, published 3.22 to 3.24; {finest}; {coarser}; largest lift "
        f"{last['lift_most']:.4f}, published 0.99 to 1.01",
    )  # fmt: skip


def two_fluids(ledger: Ledger, kept: Kept, given: argparse.Namespace) -> None:
    """What is known of two fluids: exact, by theory, published or measured."""
    quick = given.quick

    def rows(section: str, make: Any, each: Any, key: str) -> list[dict[str, Any]]:
        found = [kept(partial(make, n), piece=section, **{key: n}) for n in each]
        for n, row in zip(each, found, strict=True):
            ledger.row(section=section, **{key: n} | row)
        return found

    rows("vortex", _flows_two_fluids.vortex, (16,) if quick else (32, 64, 128), "cells")
    rows("one fluid alone", _flows_two_fluids.vortices, (16,) if quick else (32, 64, 128), "cells")
    rows("growth", _flows_two_fluids.growth, (16,) if quick else (32, 64, 128), "cells")
    for dtype in ("float32", "float64"):
        rest = kept(partial(_flows_two_fluids.at_rest, 16 if quick else 64, dtype), piece="at rest", dtype=dtype)
        ledger.row(section="at rest", dtype=dtype, **rest)
    tubes = rows("tube", _flows_two_fluids.tube, (8,) if quick else (8, 16, 32), "cells_across")
    dams = []
    for values in ({}, {"velocity": 2.0}, {"density": 1000.0, "viscosity": 0.01}, {"barrier_height": 0.15}):
        dams.append(kept(partial(_flows_two_fluids.dam, **values), piece="dam", **values))
        ledger.row(section="dam", case=", ".join(f"{k} {v:g}" for k, v in values.items()) or "baseline", **dams[-1])
        if quick:
            break
    filled = [*tubes, *dams]
    where = f"{len(tubes)} tubes and {len(dams)} dams, single precision"
    ledger.check("water_volume_balance_relative", max(r["water_off_by"] for r in filled),
                 note=f"of {where}: water against what has come in, and of a full tube against the tube")  # fmt: skip
    ledger.check("volume_fraction_overshoot", max(r["overshoot"] for r in filled), note=f"of {where}")
    slopes = kept(_flows_two_fluids.gradient, piece="gradient")
    ledger.row(section="gradient", **slopes)
    ledger.check("vjp_cosine_two_phase", slopes["cosine"],
                 note=f"1 − {slopes['one_minus_cosine']:.1e}; none of {slopes['entries']} entries off by over "
                 f"{slopes['worst_entry']:.1e}")  # fmt: skip
    collapse(ledger, kept, given)


def referee(ledger: Ledger, kept: Kept, given: argparse.Namespace) -> None:
    """OpenFOAM beside ours; no goal, a page of the documentation."""
    if _openfoam.environment() is None:
        print("OpenFOAM is not installed (Debian package openfoam): no rows")
        return
    for flow in _flows_referee.FLOWS:
        for half in (True,) if given.quick else (True, False):
            make = partial(_flows_referee.agreement, flow, half)
            row = kept(make, piece="referee", flow=flow, half=half, version=_openfoam.version())
            ledger.row(section="OpenFOAM and ours", flow=flow, **row)


def front_cylinder(ledger: Ledger, kept: Kept, given: argparse.Namespace) -> None:
    """Error against cost past a cylinder, by OpenFOAM and ours."""
    _raced(ledger, given, False, "cylinder_front.png")


def front_two_fluids(ledger: Ledger, kept: Kept, given: argparse.Namespace) -> None:
    """Error against cost of two fluids, by OpenFOAM and ours."""
    _raced(ledger, given, True, "two_fluids_front.png")


def _raced(ledger: Ledger, given: argparse.Namespace, two: bool, out: str) -> None:
    if _openfoam.environment() is None:
        ledger.check(_flows_race.IDS[two], None, "OpenFOAM is not installed (Debian package openfoam)")
        return
    kept = Kept("flows", dry=given.quick, files=("_openfoam.py", "_front.py", "_cavity_runs.py"))
    flows = _flows_front.QUICK if given.quick else _flows_front.FLOWS
    docs = Path(__file__).resolve().parent.parent / "docs"
    chosen = {name: flow for name, flow in flows.items() if flow.two == two}
    _flows_race.compare(ledger, kept, chosen, None if given.quick else docs / out)


def collapse(ledger: Ledger, kept: Kept, given: argparse.Namespace) -> None:
    """Measured collapses of water."""
    quick = given.quick
    fronts = []
    for n in (8,) if quick else (8, 16, 32):
        solver = TwoPhaseFlow((5 * n // 2, 6 * n))
        fronts.append(kept(partial(_flows_collapse.column, solver, n), piece="column", cells=n))
        ledger.row(section="column", **fronts[-1])
    last = fronts[-1]
    ahead = ", ".join(f"{100 * f['mean_ahead']:.1f} % at {f['cells']}" for f in fronts)
    ledger.check(
        "dam_front_vs_martin_moyce_relative", last["mean_relative_error"],
        f"ahead of the measured front by {ahead} cells to its width",
        note=f"{last['cells']} cells to the width of the column, mean over {len(_flows_collapse.FRONT)} published "
        f"places, recalled; largest {100 * last['largest']:.0f} %; "
        f"{100 * last['mean_relative_error_shifted']:.1f} % were the dam gone "
        f"{-last['best_shift']:.2g} √(a/2g) late; all: {ahead} cells",
    )  # fmt: skip
    id = "wet_bed_dam_break_profile_error"
    if given.wet_bed is None:
        ledger.check(id, None, "no data: neither --wet-bed nor SCIML_WET_BED names the folder of measured profiles")
        return
    measured = _flows_collapse.profiles(Path(given.wet_bed))
    beds = []
    for cell in (0.01,) if quick else (0.01, 0.005, 0.0025):
        solver = TwoPhaseFlow((round(0.25 / cell), round(1.2 / cell)))
        beds.append(kept(partial(_flows_collapse.wet_bed, solver, cell, measured), piece="wet bed", cell=cell))
        ledger.row(section="wet bed", **beds[-1])
    last = beds[-1]
    coarser = ", ".join(f"{r['mean_error']:.3f} at {1000 * r['cell_m']:g} mm" for r in beds[:-1])
    ledger.check(
        id, last["mean_error"],
        note=f"cells of {1000 * last['cell_m']:g} mm, mean of {len(measured)} times, which are recalled, worst "
        f"{last['worst_profile']:.3f}; {coarser}; the gate of the experiment took time to rise, ours is gone at once: "
        f"{last['mean_error_shifted']:.3f} were it {-last['best_shift_s']:.2g} s late",
    )  # fmt: skip


def impulsive(ledger: Ledger, kept: Kept, given: argparse.Namespace) -> None:
    id = "impulsive_cylinder_drag_re40_relative_error"
    if given.drag is None:
        ledger.check(id, None, "no data: neither --drag nor SCIML_CYLINDER_DRAG names the published table")
        return
    settings = ((8, 4.0),) if given.quick else ((16, 6.0), (32, 6.0), (64, 6.0), (32, 10.0), (32, 16.0))
    rows = [
        kept(partial(_flows_channel.impulsive, n, s, Path(given.drag)), piece="impulsive", across=n, side=s)
        for n, s in settings
    ]
    for row in rows:
        ledger.row(section="impulsive start, Re 40", **row)
    best = rows[-1]  # the widest, whichever has the least error
    ledger.check(
        id, best["mean_relative_error"],
        note=f"{best['cells_across']} cells across, sides {best['sides_in_diameters']:g} diameters away; mean over "
        f"{len(best['times'])} published times (read off a figure), largest {100 * best['largest']:.1f} % at "
        f"{best['at_radii_over_u']:.2g} R/U, mean after R/U {100 * best['after_one']:.1f} %; at the first time "
        f"ours is {best['first_over_law']:.3f} and theirs {best['published_first_over_law']:.3f} of the exact law",
    )  # fmt: skip


def gradients(ledger: Ledger, kept: Kept, given: argparse.Namespace) -> None:
    """Vector-Jacobian products, and many steps."""
    small = {"cavity": 16, "cylinder": 3, "drag_by_inflow": 3, "vortices": 16, "burgers": 32}
    solvers = {"cavity": "incompressible_flow", "cylinder": "incompressible_flow", "vortices": "pseudo_spectral",
               "burgers": "finite_volume", "drag_by_inflow": "incompressible_flow"}  # fmt: skip
    found = {}
    for name, solver in solvers.items():
        make = getattr(_flows_gradients, name)
        found[name] = kept((lambda m=make, n=name: m(small[n])) if given.quick else make, piece=name)
        ledger.row(section="gradients", loss=name, solver=solver, what=" ".join(make.__doc__.split()), **found[name])
    cosines = {n: r["cosine"] for n, r in found.items()}
    least = min(cosines, key=lambda n: cosines[n])
    worst = max(r.get("worst_entry_steps_held", r["worst_entry"]) for r in found.values())
    ledger.check(
        "vjp_cosine_to_finite_differences", cosines[least],
        note=f"least of {len(found)}, {least}: 1 − {1 - cosines[least]:.1e}; no entry is off by more than {worst:.1e} "
        "where differences take the same steps",
    )  # fmt: skip
    drag = found["drag_by_inflow"]
    ledger.check(
        "vjp_cosine_of_drag_by_inflow", drag["cosine"],
        note=f"1 − {1 - drag['cosine']:.1e}; none of {drag['entries']} entries off by over {drag['worst_entry']:.1e}",
    )  # fmt: skip
    rows = {
        (dtype, steps): kept(
            lambda s=steps, d=dtype: _flows_gradients.horizon(s, d), piece="horizon", steps=steps, dtype=dtype
        )
        for dtype in ("float32", "float64")
        for steps in ((20, 40) if given.quick else (125, 250, 500, 1000))
    }
    for row in rows.values():
        ledger.row(section="many steps", **row)
    double = [row for (dtype, _), row in rows.items() if dtype == "float64"]
    memory = [
        f"{row['peak_memory_bytes'] / 2**20:.0f} MiB over {row['steps']} steps" for row in (double[-1], double[0])
    ]
    most = min(max(r["steps"] for (d, _), r in rows.items() if d == dtype) for dtype in ("float32", "float64"))
    ledger.check(
        "steps_with_finite_gradients", float(most) if all(r["finite"] for r in rows.values()) else 0.0, "see the rows",
        note=f"all that were tried, in float32 and float64; in float64 off differences along the gradient that take "
        f"the same steps by at most {max(row['off_differences_steps_held'] for row in double):.1e}, the best of four "
        f"distances; peak memory of the "
        f"process {', '.join(memory)}",
    )  # fmt: skip


def _told(ledger: Ledger, section: str, rows: list[dict[str, Any]], published: dict[str, tuple[float, float]]) -> None:
    """Rows with their deviations from the middle of published intervals, from converged values where there are some,
    and what lies outside its interval."""
    for row in rows:
        errors: dict[str, Any] = {f"{k}_relative_error": off(row[k], interval) for k, interval in published.items()}
        if section == "2D-1":
            errors |= {f"{k}_off_converged": abs(row[k] / v - 1) for k, v in CONVERGED.items()}
        outside = [k.replace("_", " ") for k, (low, high) in published.items() if not low <= row[k] <= high]
        ledger.row(section=section, **row, **errors, outside=", ".join(outside) or "none")


def _listed(rows: list[dict[str, Any]], key: str, interval: tuple[float, float]) -> str:
    """Deviations on coarser grids, in words."""
    return ", ".join(f"{100 * off(row[key], interval):.2f} % at {row['cells_across']}" for row in rows)


def kills(ledger: Ledger, kept: Kept, given: argparse.Namespace) -> None:
    """Killed runs and killed workers against an undisturbed run."""
    folder = WORK / "flows_kills"
    folder.mkdir(parents=True, exist_ok=True)
    whole = _flows_kills.undisturbed(folder)
    ledger.row(section="kills", of="nothing", kills=0, **whole)
    count, survived = (1, 0) if given.quick else (10, 0)
    for make, seed in ((_flows_kills.of_runs, 1), (_flows_kills.of_workers, 2)):
        row = make(folder, count, whole["seconds"], seed)
        same = row["sha256"] == whole["sha256"]
        ledger.row(section="kills", identical=same, **row)
        survived = survived + count if same else survived
    ledger.check(
        "random_kills_survived_bit_identical", float(survived if survived == 2 * count else 0), "see the rows",
        note=f"{count} kills of the run, {count} of workers of a Dask cluster of two; {_flows_kills.CASES} cases of "
        "the cylinder",
    )  # fmt: skip


def cost(ledger: Ledger, kept: Kept, given: argparse.Namespace) -> None:
    """Seconds of some cases, and from them the cost of the whole release; no goal, a page of the documentation."""
    for problem in _flows_cost.RELEASE:
        frames = 3 if given.quick else _flows_cost.SAMPLED_FRAMES
        numbers = _flows_cost.sampled(problem, frames)
        rows = []
        for n in numbers[:2] if given.quick else numbers:
            make = partial(_flows_cost.measured, problem, frames, n)
            rows.append(kept(make, piece="cost", problem=problem, frames=frames, number=n))
        for row in rows:
            ledger.row(section="cost of a case", **row)
        factor = sum(r["seconds"] for r in rows) / sum(r["estimated_seconds"] for r in rows)
        ledger.row(
            section="cost of the release", measured_over_estimated=factor, **_flows_cost.release(problem, factor)
        )


if __name__ == "__main__":
    main()
