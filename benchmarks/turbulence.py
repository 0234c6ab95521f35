"""Turbulence: flow solvers against published flows, operators on a channel and on forced flow, statistics. Ledger
`turbulence`.

    python -m benchmarks.turbulence [--part learned ...] [--span 30] [--minutes 5] [--data FOLDER] [--grids 32 48 64]

Parts, the most telling first: `channel` (a growing wave, a minimal flow unit at Re_τ 180, subgrid models), `learned`
(operators on the channel against the same models: one step, then 500 steps with all statistics), `costs` (what their
steps cost, anew), `forced` (operators on forced flow in the plane, 25 times the training horizon), `structure` (the
double gyre), `taylor_green` and `isotropic` (periodic flow in three dimensions, with `--data` against published tables;
`--grids 64 96 128` where there is time or a GPU).

Flows and trained models are kept in benchmarks/work/turbulence, so that an interrupted run goes on.
"""

from __future__ import annotations

import os

from benchmarks._parts import Work, arguments, measured, parsed

#: part -> (module, function); each is imported when it is measured
PARTS = {
    "channel": ("_turbulence_channel", "measure"),
    "learned": ("_turbulence_learned", "measure"),
    "costs": ("_turbulence_learned", "measure_costs"),
    "forced": ("_turbulence_forced", "measure"),
    "structure": ("_turbulence_flows", "double_gyre"),
    "taylor_green": ("_turbulence_flows", "taylor_green"),
    "isotropic": ("_turbulence_flows", "isotropic"),
}


class Settings(Work):
    """What the parts share, for one set of arguments."""

    @property
    def span(self) -> float:
        """h/u_τ over which channels are averaged."""
        return float(self.given.span)

    @property
    def grids(self) -> tuple[int, ...]:
        """Cells along each side of the Taylor-Green vortices."""
        return tuple(self.given.grids)

    @property
    def minutes(self) -> float:
        """Of a training, on one core."""
        return float(self.given.minutes)

    @property
    def seeds(self) -> int:
        """Runs of the best two rows."""
        return int(self.given.seeds)


def main() -> None:
    parser = arguments(__doc__, PARTS)
    parser.add_argument("--span", type=float, default=30.0, help="h/u_tau over which channels are averaged")
    parser.add_argument("--grids", type=int, nargs="+", default=(32, 48, 64), help="of the Taylor-Green vortices")
    parser.add_argument("--minutes", type=float, default=5.0, help="of a training on a channel, 0.6 of it in the plane")
    parser.add_argument("--seeds", type=int, default=3, help="runs of the best two rows of operators")
    given = parsed(parser)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # before the parts import anything that reads them
    measured("turbulence", PARTS, given.part, Settings(given), dry=given.quick, threads=1)


if __name__ == "__main__":
    main()
