"""Pictures and a film of what operators make of turbulence.

    python -m benchmarks._turbulence_learned_pictures [--film]

draws those of the ledger anew; with `--film` also velocities near a wall of the channel, which the part
`learned` left in benchmarks/work.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from benchmarks._ledger import HERE, RESULTS
from benchmarks._turbulence_learned import LAYERS
from sciml.reporting import _style
from sciml.reporting.moving import save_film

DOCS = HERE.parent / "docs"
INK = "#1b1f24"
#: row -> colour and line, the same in all pictures
LOOKS: dict[str, tuple[str, Any]] = {
    "truth": (INK, "-"), "LES, no model": ("#8d939c", (0, (4, 2))), "LES, WALE": ("#8d939c", "-"),
    "LES, dynamic Smagorinsky": ("#8d939c", (0, (1, 1.5))), "IFactFormer-m": ("#0072B2", "-"),
    "IFactFormer-o": ("#56B4E9", "-"), "FNO": ("#D55E00", "-"), "IFNO": ("#E69F00", "-"),
    "FactFormer": ("#009E73", "-"), "Transformer": ("#CC79A7", "-"), "U-Net": ("#7a5195", "-"),
    "IFactFormer-m, one step": ("#0072B2", (0, (1, 1.5))), "FNO, one step": ("#D55E00", (0, (1, 1.5))),
    "FNO, one step, noise 0.05": ("#D55E00", (0, (4, 2))), "simulation, 64²": ("#8d939c", "-"),
    "simulation, 32²": ("#8d939c", (0, (4, 2))),
}  # fmt: skip
TITLES = {"truth": "filtered direct simulation"}
SPACING = 2  # steps between frames of the film

Rows = list[dict[str, Any]]


def _look(row: str) -> dict[str, Any]:
    colour, dash = LOOKS[row]
    return {"color": colour, "ls": dash, "lw": 1.9 if row == "truth" else 1.2, "zorder": 5 if row == "truth" else 3}


def _of(rows: Rows, section: str, **wanted: Any) -> Iterator[dict[str, Any]]:
    found = [r for r in rows if r["section"] == section and all(r[k] == v for k, v in wanted.items())]
    return iter(sorted(found, key=lambda r: list(LOOKS).index(r["row"])))


@_style.style()
def channel(rows: Rows, out: Path) -> None:
    """Six panels: what every row is after its rollout, against the data that it learned from."""
    figure = Figure(figsize=(12.5, 7.6), layout="constrained")
    (energy, mean, shear), (along, across, spectrum) = figure.subplots(2, 3)
    shown: dict[str, Any] = {}
    for row in _of(rows, "learned_energy"):
        (drawn,) = energy.semilogy(row["time_h_over_u_tau"], row["fluctuation_energy"], **_look(row["row"]))
        shown[str(TITLES.get(row["row"], row["row"]))] = drawn
    true = np.array(next(_of(rows, "learned_energy", row="truth"))["fluctuation_energy"], float)
    energy.set_ylim(true.min() / 20, true.max() * 20)
    for bound in (true.min() / 4, true.max() * 4):
        energy.axhline(bound, color="#a3a8b0", lw=0.8, ls=":")
    kept = list(_of(rows, "learned_profiles"))
    for row in kept:
        y, look = np.array(row["y_plus"]), _look(row["row"])
        mean.semilogx(y, row["mean_u"], **look)
        shear.plot(y, row["shear_stress"], **look)
        along.plot(y, row["rms_u"], **look)
        across.plot(y, row["rms_v"], **look)
    truth = next(r for r in kept if r["row"] == "truth")
    for panel, key in ((mean, "mean_u"), (shear, "shear_stress"), (along, "rms_u"), (across, "rms_v")):
        most = float(np.max(truth[key]))
        panel.set_ylim(-0.3 * most if key == "shear_stress" else 0, (1.5 if key == "mean_u" else 2.5) * most)
    for row in _of(rows, "learned_spectra", along="x"):
        k, e = np.array(row["wavenumber_h"], float), np.array(row["energy_u"], float)
        seen = (k > 0) & (e > 1e-8 * e.max())  # beyond are waves that a grid does not keep
        spectrum.loglog(k[seen], e[seen], **_look(row["row"]))
    spectrum.set_ylim(1e-6, 1e2)
    spectrum.xaxis.set_minor_formatter(NullFormatter())
    spectrum.set_xticks([2, 4, 6, 10, 14], ["2", "4", "6", "10", "14"])
    _style.caption(energy, "energy of fluctuations along the rollout", "time (h/u_τ)", "k′ (u_τ²)")
    _style.caption(mean, "mean velocity", "y⁺", "U⁺")
    _style.caption(shear, "Reynolds' shear stress", "y⁺", "−⟨u′v′⟩ (u_τ²)")
    _style.caption(along, "fluctuations along the stream", "y⁺", "u′ (u_τ)")
    _style.caption(across, "fluctuations across the walls", "y⁺", "v′ (u_τ)")
    _style.caption(spectrum, "spectrum of u along the stream, y⁺ ≈ 15", "kₓ h", "E (u_τ²)")
    figure.legend(shown.values(), shown, loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    out.write_bytes(_style.png(figure))


@_style.style()
def forced(rows: Rows, out: Path) -> None:
    """Energy over 25 training horizons, and spectra."""
    figure = Figure(figsize=(10.5, 4.6), layout="constrained")
    energy, spectrum = figure.subplots(1, 2)
    shown: dict[str, Any] = {}
    for row in _of(rows, "forced_energy"):
        (drawn,) = energy.semilogy(row["time"], row["kinetic_energy"], **_look(row["row"]))
        shown[str({"truth": "simulation of the data"}.get(row["row"], row["row"]))] = drawn
    true = np.array(next(_of(rows, "forced_energy", row="truth"))["kinetic_energy"], float)
    energy.set_ylim(true.min() / 8, true.max() * 8)
    for row in _of(rows, "forced_spectra"):
        k, e = np.array(row["wavenumber"], float), np.array(row["energy"], float)
        seen = (k > 0) & (e > 0)
        spectrum.loglog(k[seen], e[seen], **_look(row["row"]))
    e = np.array(next(_of(rows, "forced_spectra", row="truth"))["energy"], float)[1:]
    spectrum.set_ylim(e[e > 0].min() / 10, e.max() * 10)
    _style.caption(energy, "kinetic energy of one rollout, 25 training horizons", "time (s)", "k (m²/s²)")
    _style.caption(spectrum, "spectrum, averaged over the rollout", "wavenumber", "E")
    figure.legend(shown.values(), shown, loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    out.write_bytes(_style.png(figure))


@_style.style()
def film(layers: Mapping[str, np.ndarray], out: Path) -> Path:
    """u beside a wall (row -> (time, z, x)) of rollouts from one frame, at the same times."""
    order = [row for row in LOOKS if row in layers]
    truth = layers["truth"]
    scale = np.quantile(truth, 0.002), np.quantile(truth, 0.998)

    def frames() -> Iterator[Figure]:
        for k in range(0, len(truth), SPACING):
            figure = Figure(figsize=(9.0, 0.7 + 1.02 * -(-len(order) // 3)), layout="constrained")
            panels = figure.subplots(-(-len(order) // 3), 3, squeeze=False).ravel()
            for panel in panels:
                panel.set_axis_off()
            for panel, row in zip(panels, order, strict=False):
                shown = layers[row][k]
                panel.set_title(TITLES.get(row, row), fontsize=8, loc="left")
                panel.imshow(shown, vmin=scale[0], vmax=scale[1], cmap="RdBu_r", origin="lower",
                             extent=(0, np.pi, 0, 0.34 * np.pi), interpolation="bilinear")  # fmt: skip
            figure.suptitle(f"u at y⁺ ≈ 15, flow to the right, step {k + 1} ({0.04 * (k + 1):.2f} h/u_τ)", fontsize=9)
            yield figure

    return save_film(frames(), out, milliseconds=100, dpi=72)


def main() -> None:
    rows = json.loads((RESULTS / "turbulence.json").read_text())["rows"]
    channel(rows, DOCS / "turbulence_learned.png")
    forced(rows, DOCS / "turbulence_forced.png")
    if "--film" in sys.argv[1:]:
        with np.load(LAYERS) as layers:
            film(dict(layers), DOCS / "turbulence_learned.webp")


if __name__ == "__main__":
    main()
