"""Flows with bodies, inflow and outflow: published coefficients, gradients, killed generations. Ledger `flows`.

    python -m benchmarks.flows [--part channel|impulsive|gradients|kills|cost] [--quick]

Each part takes the rows and checks of its own; each run is kept in benchmarks/work, so that an interrupted measurement
goes on. `--quick` tries all on small grids, and writes nothing. The published drag of the impulsively started cylinder
(Koumoutsakos and Leonard 1995, Re 40; columns U t/R and drag coefficient) is not part of this package: a text file that
`--drag` or the environment variable SCIML_CYLINDER_DRAG names.
"""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import _flows_channel, _flows_cost, _flows_gradients, _flows_kills
from benchmarks._flows_channel import CONVERGED, DRAG, DRAG_MOST, LIFT, LIFT_MOST, PRESSURE, STROUHAL, off
from benchmarks._ledger import WORK, Kept, Ledger

PARTS = ("channel", "impulsive", "gradients", "kills", "cost")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, help="one part alone")
    parser.add_argument("--quick", action="store_true", help="small grids, nothing written")
    parser.add_argument("--drag", type=Path, default=os.environ.get("SCIML_CYLINDER_DRAG"), help="published drag")
    arguments = parser.parse_args()
    kept = Kept("flows", dry=arguments.quick)
    for part in PARTS if arguments.part is None else (arguments.part,):
        ledger = Ledger("flows", part=part, packages=("distributed",))
        makers: dict[str, Any] = {"channel": channel, "impulsive": impulsive, "gradients": gradients, "kills": kills,
                                  "cost": cost}  # fmt: skip
        makers[part](ledger, kept, arguments.quick, arguments.drag)
        ledger.write(dry=arguments.quick)


def channel(ledger: Ledger, kept: Kept, quick: bool, published: Path | None) -> None:
    """Test cases 2D-1 and 2D-2, each on three grids."""
    grids = (5, 10) if quick else (10, 20, 40)
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


def impulsive(ledger: Ledger, kept: Kept, quick: bool, published: Path | None) -> None:
    id = "impulsive_cylinder_drag_re40_relative_error"
    if published is None:
        ledger.check(id, None, "no data: neither --drag nor SCIML_CYLINDER_DRAG names the published table")
        return
    settings = ((8, 4.0),) if quick else ((16, 6.0), (32, 6.0), (64, 6.0), (32, 10.0), (32, 16.0))
    rows = [
        kept(partial(_flows_channel.impulsive, n, s, published), piece="impulsive", across=n, side=s)
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


def gradients(ledger: Ledger, kept: Kept, quick: bool, published: Path | None) -> None:
    """Vector-Jacobian products, and many steps."""
    small = {"cavity": 16, "cylinder": 3, "drag_by_inflow": 3, "vortices": 16, "burgers": 32}
    solvers = {"cavity": "incompressible_flow", "cylinder": "incompressible_flow", "vortices": "pseudo_spectral",
               "burgers": "finite_volume", "drag_by_inflow": "incompressible_flow"}  # fmt: skip
    found = {}
    for name, solver in solvers.items():
        make = getattr(_flows_gradients, name)
        found[name] = kept((lambda m=make, n=name: m(small[n])) if quick else make, piece=name)
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
        for steps in ((20, 40) if quick else (125, 250, 500, 1000))
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


def kills(ledger: Ledger, kept: Kept, quick: bool, published: Path | None) -> None:
    """Killed runs and killed workers against an undisturbed run."""
    folder = WORK / "flows_kills"
    folder.mkdir(parents=True, exist_ok=True)
    whole = _flows_kills.undisturbed(folder)
    ledger.row(section="kills", of="nothing", kills=0, **whole)
    count, survived = (1, 0) if quick else (10, 0)
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


def cost(ledger: Ledger, kept: Kept, quick: bool, published: Path | None) -> None:
    """Seconds of some cases, and from them the cost of the whole release; no goal, a page of the documentation."""
    for problem in _flows_cost.RELEASE:
        frames = 3 if quick else _flows_cost.SAMPLED_FRAMES
        numbers = _flows_cost.sampled(problem, frames)
        rows = []
        for n in numbers[:2] if quick else numbers:
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
