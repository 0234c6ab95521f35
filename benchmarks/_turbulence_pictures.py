"""Pictures of the turbulence ledger.

    python -m benchmarks._turbulence_pictures

draws those of the channel anew from the ledger: mean, fluctuations and shear stress of the resolved flow and of
large-eddy simulations over the points of Moser, Kim and Mansour (1999), and spectra.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks._ledger import HERE, RESULTS
from sciml.problems import _mkm
from sciml.reporting import _style

DOCS = HERE.parent / "docs"
LOOKS = {
    "direct": ("#1b1f24", "-"), "coarse, no model": ("#8d939c", (0, (4, 2))), "coarse, WALE": ("#0072B2", "-"),
    "coarse, dynamic Smagorinsky": ("#D55E00", "-"),
}  # fmt: skip
UP_TO = 40.0  # y⁺: beyond, so small a box has statistics of its own

Rows = list[dict[str, Any]]


@_style.style()
def channel(rows: Rows, out: Path) -> None:
    """Four panels against y⁺."""
    figure = Figure(figsize=(9.5, 7.0), layout="constrained")
    (mean, rms), (shear, spectrum) = figure.subplots(2, 2)
    at, shown = _mkm.y(), {}
    dots: dict[str, Any] = {"marker": "o", "ls": "", "mfc": "none", "mec": "#5b6470", "ms": 4, "zorder": 1}
    (points,) = mean.semilogx(at[1:], _mkm.mean()[1:], **dots)
    y = np.geomspace(1, 10, 40)
    mean.semilogx(y, y, color="#a3a8b0", lw=0.8)
    mean.semilogx(np.geomspace(20, 178, 20), np.log(np.geomspace(20, 178, 20)) / 0.41 + 5.2, color="#a3a8b0", lw=0.8)
    shown["Moser, Kim, Mansour (1999)"] = points
    for name, pair in (("u", "uu"), ("v", "vv"), ("w", "ww")):
        rms.plot(at, np.sqrt(_mkm.stress(pair)), **dots)
        rms.annotate(name, (26, {"u": 2.45, "v": 0.5, "w": 1.2}[name]), fontsize=9)
    shear.plot(at, -_mkm.stress("uv"), **dots)
    for row in (r for r in rows if r["section"] == "profiles"):
        colour, dash = LOOKS[row["row"]]
        look: dict[str, Any] = {"color": colour, "ls": dash, "lw": 1.4}
        (drawn,) = mean.semilogx(row["y_plus"], row["mean_u"], **look)
        shown[row["row"]] = drawn
        for name in "uvw":
            rms.plot(row["y_plus"], row[f"rms_{name}"], **look)
        shear.plot(row["y_plus"], row["shear_stress"], **look)
    near = [r for r in rows if r["section"] == "spectra" and r["along"] == "x" and 10 < r["y_plus"] < 20]
    for row in near:
        colour, dash = LOOKS[row["row"]]
        k, energy = np.array(row["wavenumber_h"]), np.array(row["energy_u"])
        seen = (k > 0) & (energy > 1e-8 * energy.max())
        spectrum.loglog(k[seen], energy[seen], color=colour, ls=dash, lw=1.4)
    for panel in (mean, rms, shear):
        panel.axvspan(UP_TO, 178, color="#f2f3f5", zorder=0)
        panel.set_xlim(right=178)
    mean.set_xlim(1, 178)
    _style.caption(mean, "mean velocity", "y⁺", "U⁺")
    _style.caption(rms, "root mean squares", "y⁺", "u′, v′, w′ (u_τ)")
    _style.caption(shear, "Reynolds' shear stress", "y⁺", "−⟨u′v′⟩ (u_τ²)")
    _style.caption(spectrum, "spectrum of u along the stream, y⁺ ≈ 15", "kₓ h", "E (u_τ²)")
    figure.legend(shown.values(), shown, loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    out.write_bytes(_style.png(figure))


def main() -> None:
    rows = json.loads((RESULTS / "turbulence.json").read_text())["rows"]
    channel(rows, DOCS / "turbulence_channel.png")


if __name__ == "__main__":
    main()
