"""Classical movers: published figures, high and thin rings, what kept factors save, time and memory.

The published figures are those of the demonstrations of the package `movement`: linear elements for u − ∇²u = f on
20 × 20 squares, u a bump of the width 0.1 at (0.51, 0.65), m = 1 + 5‖∇∇u‖/max; and rings
m = 1 + a/cosh²(b (|x − c|² − r²)). Peak memory is that of a process of its own, `python -m benchmarks._mesh_classical
SPEC`, SPEC being JSON: {"mover", "n"}, less what it was before the move.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks._ledger import HERE, Kept, Ledger, extremes
from sciml.errors import InputError
from sciml.meshing import Elastic, Gaussians, MeshMover, MongeAmpere, NewtonMongeAmpere, Springs
from sciml.meshing._transport import State, Transport
from sciml.meshing.linear_elements import LinearElements
from sciml.meshing.mover import Domain, Proposal
from sciml.meshing.samples import rows

ERROR = 0.0059558  # published, on the moved mesh
BUMP = Gaussians(np.array([[0.51, 0.65]]), np.ones(1), 10 * np.eye(2)[None])
SIDES = (20, 50, 99)  # 441, 2,601 and 10,000 nodes
#: height, square of the radius, sharpness, squares a side; the first two are published: ratio and σ/μ after
RINGS = ((20, 0.16, 200, 20), (20, 0.15, 200, 20), (10, 0.15, 200, 20), (50, 0.15, 200, 60), (100, 0.15, 200, 60),
         (100, 0.15, 200, 20), (20, 0.16, 800, 60))  # fmt: skip
PUBLISHED = {(20, 0.16): (9.19, 0.349), (20, 0.15): (8.84, 0.348)}


class PlainRelaxation(MeshMover):
    """The relaxation with a step that is kept and, where asked, matrices that are assembled and factored in each step,
    as a program does that sets up its three linear systems where it solves them. What is not solved with is kept."""

    name = "plain_relaxation"

    def __init__(self, tolerance: float, max_iterations: int = 1000, anew: bool = True, step: float | None = None):
        self.tolerance, self.max_iterations, self.anew, self.step = tolerance, max_iterations, anew, step

    def _propose(self, domain: Domain) -> Proposal:
        work = Transport(domain)
        best = now = State(domain, work, np.zeros(len(domain.points)))
        count = 0
        while best.residual > self.tolerance and count < self.max_iterations and now.residual < 1e2:
            count += 1
            if self.anew:
                work.factorise()
            # the published step is 0.1 for m as it is given
            step = MongeAmpere().step if self.step is None else self.step * domain.unit
            now = State(domain, work, now.phi + step * work.poisson(now.right))
            best = now if now.residual < best.residual else best
        if best.residual > self.tolerance:  # what the program would hand on is where it stopped
            best = now
        return Proposal(best.points, count, best.residual, best.residual <= self.tolerance)


class Ring:
    """See above."""

    def __init__(self, height: float, square: float, sharpness: float):
        self.height, self.square, self.sharpness = height, square, sharpness

    def __call__(self, x: np.ndarray) -> np.ndarray:
        at = np.clip(self.sharpness * (((x - 0.5) ** 2).sum(1) - self.square), -300, 300)
        return 1 + self.height / np.cosh(at) ** 2


def bend(x: np.ndarray) -> np.ndarray:
    """The monitor of the bump."""
    size = np.sqrt((BUMP.hessian(x) ** 2).sum((1, 2)))
    return 1 + 5 * size / size.max()


def movers() -> dict[str, Callable[[], MeshMover]]:
    """Row -> mover; those that need a package that is not there are left out."""
    found: dict[str, Callable[[], MeshMover]] = {
        "springs": Springs,
        "elastic": Elastic,
        "relaxation, 1e-3": lambda: MongeAmpere(1e-3),
        "relaxation, 1e-8": lambda: MongeAmpere(1e-8),
        "relaxation, mixed, 1e-3": lambda: MongeAmpere(1e-3, memory=5),
        "relaxation, mixed, 1e-8": lambda: MongeAmpere(1e-8, memory=5),
        "Newton, 1e-3": lambda: NewtonMongeAmpere(1e-3),
        "Newton, 1e-8": lambda: NewtonMongeAmpere(1e-8),
    }
    try:
        MongeAmpere(factor="cholesky")
    except InputError:
        return found
    return found | {
        "relaxation, CHOLMOD, 1e-3": lambda: MongeAmpere(1e-3, factor="cholesky"),
        "relaxation, mixed, CHOLMOD, 1e-3": lambda: MongeAmpere(1e-3, memory=5, factor="cholesky"),
        "Newton, CHOLMOD, 1e-3": lambda: NewtonMongeAmpere(1e-3, factor="cholesky"),
    }


def measure(ledger: Ledger, work: Any) -> None:
    """All of it."""
    kept = Kept("mesh", packages=("cholespy",), dry=work.quick, files=("_mesh_classical.py",))
    published(ledger)
    rings(ledger, work.quick)
    prefactored(ledger, kept, work.quick)
    beside(ledger, kept, work.quick)


def published(ledger: Ledger) -> None:
    """Figures of the bump."""
    points, cells = rows(20)
    elements = LinearElements(BUMP)
    off = {}
    for name, mover in {"relaxation": MongeAmpere(1e-8), "Newton": NewtonMongeAmpere(1e-8)}.items():
        x, info = mover.move(points, cells, monitor=bend)
        error = elements.error(x, cells).l2
        off[name] = abs(error / ERROR - 1)
        ledger.row(section="published", row=name, error=error, error_before=elements.error(points, cells).l2,
                   error_published=ERROR, **_told(info))  # fmt: skip
    ledger.check(
        "monge_ampere_error_vs_reference", max(off.values()), "see the rows",
        note="the worse of relaxation and Newton, both to 1e-8: their meshes are one; published 0.0059558 on 20 × 20",
    )  # fmt: skip


def rings(ledger: Ledger, quick: bool) -> None:
    """High and thin rings by all."""
    inverted, places = [], []
    for height, square, sharpness, n in RINGS[: 2 if quick else None]:
        points, cells = rows(n)
        several: dict[str, MeshMover] = {
            "relaxation, step kept at 0.1": PlainRelaxation(1e-3, 500, anew=False, step=0.1),
            "relaxation": MongeAmpere(1e-3, 500),
            "relaxation, mixed": MongeAmpere(1e-3, 500, memory=5),
            "Newton": NewtonMongeAmpere(1e-3),
            "Newton, 1e-8": NewtonMongeAmpere(1e-8),
            "elastic": Elastic(),
        }
        for name, mover in several.items():
            _, info = mover.move(points, cells, monitor=Ring(height, square, sharpness))
            ratio, spread = PUBLISHED.get((height, square), (None, None))
            ledger.row(section="rings", row=name, height=height, radius_squared=square, sharpness=sharpness,
                       nodes=len(points), volume_ratio_published=ratio, equidistribution_published=spread,
                       **_told(info))  # fmt: skip
            if name == "Newton, 1e-8" and (height, square) in PUBLISHED and n == 20:
                inverted.append(info.inverted if info.converged else len(cells))
                places.append(f"r² = {square}: {info.volume_ratio:.3f}, {info.equidistribution:.4f}")
        print(f"ring {height} {square} {sharpness} {n}", flush=True)
    ledger.check(
        "ring_20_inverted_elements", max(inverted), "Newton did not converge",
        note="Newton to 1e-8, before any safeguard, volume ratio and σ/μ for " + "; ".join(places)
        + " (published 9.19, 0.349 and 8.84, 0.348)",
    )  # fmt: skip


def prefactored(ledger: Ledger, kept: Kept, quick: bool) -> None:
    """Factors kept against matrices assembled and factored in each step, by turns."""
    worst = []
    for n in SIDES[: 1 if quick else None]:
        points, cells = rows(n)
        repeats = 5 if n < 60 else 2

        def run(points: Any = points, cells: Any = cells, repeats: int = repeats) -> list[list[float]]:
            found = []
            for _ in range(repeats):
                pair = []
                for mover in (PlainRelaxation(1e-3), MongeAmpere(1e-3)):
                    began = time.process_time()
                    info = mover.move(points, cells, monitor=bend)[1]
                    pair.append(time.process_time() - began)
                found.append([*pair, info.iterations])
            return found

        found = kept(run, what="prefactored", n=n, repeats=repeats)
        ratios = [plain / ours for plain, ours, _ in found]
        worst.append(statistics.median(ratios))
        ledger.row(section="prefactored", nodes=len(points), iterations=found[0][2], ratio=worst[-1],
                   ratio_least=min(ratios), ratio_most=max(ratios), repeats=repeats,
                   plain_cpu_seconds=min(p for p, _, _ in found),
                   prefactored_cpu_seconds=min(o for _, o, _ in found))  # fmt: skip
        print(f"prefactored {len(points)}: {worst[-1]:.1f}", flush=True)
    ledger.check(
        "prefactored_monge_ampere_vs_plain_relaxation", min(worst), "see the rows",
        spread=extremes(worst, "medians at 441, 2,601 and 10,000 nodes"),
        note="the least of the sizes; both take the same iterations to 1e-3, set-up counted; the plain one assembles "
        "and factors its three matrices in each step and is spared everything else that is kept",
    )  # fmt: skip


def beside(ledger: Ledger, kept: Kept, quick: bool) -> None:
    """All movers on the bump, by turns."""
    elements = LinearElements(BUMP)
    for n in SIDES[: 1 if quick else None]:
        points, cells = rows(n)

        def run(points: Any = points, cells: Any = cells) -> dict[str, Any]:
            before, found = elements.error(points, cells).l2, {}
            for _ in range(3):
                for name, make in movers().items():
                    began = time.process_time()
                    x, info = make().move(points, cells, monitor=bend)
                    seconds = time.process_time() - began
                    error = elements.error(x, cells).l2
                    one = found.setdefault(name, {"cpu_seconds": []})
                    one["cpu_seconds"].append(seconds)
                    one.update(error=error, error_reduction=1 - error / before, **_told(info))
            return found

        found = kept(run, what="beside", n=n)
        base = min(found["relaxation, 1e-3"]["cpu_seconds"])
        for name, one in found.items():
            seconds = one.pop("cpu_seconds")
            memory = kept(lambda name=name, n=n: peak(name, n), what="memory", n=n, mover=name)
            ledger.row(section="beside", row=name, nodes=len(points), cpu_seconds=min(seconds),
                       cpu_seconds_most=max(seconds), over_relaxation=min(seconds) / base, peak_mebibytes=memory,
                       **one)  # fmt: skip


def _told(info: Any) -> dict[str, Any]:
    return {
        "iterations": info.iterations, "residual": info.residual if np.isfinite(info.residual) else None,
        "converged": info.converged, "inverted": info.inverted, "safeguard": info.safeguard,
        "volume_ratio": info.volume_ratio, "equidistribution": info.equidistribution,
        "equidistribution_before": info.equidistribution_before,
    }  # fmt: skip


def peak(mover: str, n: int) -> float | None:
    """MiB beyond what the process had before; None where the system does not tell."""
    if not Path("/proc/self/clear_refs").exists():
        return None
    command = [sys.executable, "-m", "benchmarks._mesh_classical", json.dumps({"mover": mover, "n": n})]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=HERE.parent)
    return float(done.stdout.split()[-1])


def _named(row: str) -> MeshMover:
    """A row of this part, or of the table of all movers."""
    known = movers()
    if row in known:
        return known[row]()
    from benchmarks._mesh_learned import movers as learned
    from benchmarks._mesh_table import classical

    table = classical()
    return table[row] if row in table else learned(SimpleNamespace(quick=False))[row]


def _child(spec: dict[str, Any]) -> None:
    points, cells = rows(spec["n"])
    mover = _named(spec["mover"])
    mover.move(*rows(4), monitor=bend)  # whatever is imported late
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _resident()
    mover.move(points, cells, monitor=bend)
    print((_resident() - before) / 1024)


def _resident() -> int:
    """Peak, in KiB."""
    return int(re.findall(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[0])


if __name__ == "__main__":
    _child(json.loads(sys.argv[1]))
