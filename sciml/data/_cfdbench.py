"""The folder layout in which CFDBench was published, as far as importer and exporter share it.

    <problem>/<subset>/caseNNNN/{u.npy, v.npy, case.json}

Arrays are (T, y, x) in SI units, first row at y_min, at cell centres of spacing L / n. The layout stores neither times
nor masks; Δt differs by problem. `case.json` holds the parameters, in no fixed order and with keys beyond those below.

Source: Y. Luo, Y. Chen, Z. Zhang, CFDBench, arXiv 2310.05963 (2023).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

SUBSETS = ("bc", "geo", "prop")


@dataclass(frozen=True)
class Layout:
    """One problem of the layout.

    Args:
        folder: its folder.
        problem: the problem's name in this package.
        keys: key in case.json -> (parameter name, units).
        telling: keys that only this problem has.
        time_step: Δt of the published arrays, s.
        mask: (parameters, x, y) -> (y, x) uint8, 1 = fluid; None where everything is fluid.
    """

    folder: str
    problem: str
    keys: Mapping[str, tuple[str, str]]
    telling: tuple[str, ...]
    time_step: float
    mask: Callable[[Mapping[str, float], np.ndarray, np.ndarray], np.ndarray] | None = None

    def extents(self, p: Mapping[str, float]) -> dict[str, float]:
        if "x_min" in p:
            return {k: p[k] for k in ("x_min", "x_max", "y_min", "y_max")}
        return {"x_min": 0.0, "x_max": p["width"], "y_min": 0.0, "y_max": p["height"]}


def _disc(p: Mapping[str, float], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Fluid outside the cylinder, whose axis is the origin of the coordinates that case.json gives."""
    return (x[None, :] ** 2 + y[:, None] ** 2 > p["radius"] ** 2).astype(np.uint8)


STEP_FRONT = 0.5  # m: the published dam stands with its front face here, on the floor


def _step(p: Mapping[str, float], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Fluid outside the step."""
    inside = (x[None, :] >= STEP_FRONT) & (x[None, :] <= STEP_FRONT + p["barrier_width"])
    return (~(inside & (y[:, None] <= p["barrier_height"]))).astype(np.uint8)


_FLUID = {"density": ("density", "kg m-3"), "viscosity": ("viscosity", "Pa s")}
_SIZE = {"height": ("height", "m"), "width": ("width", "m")}
_BOX = {k: (k, "m") for k in ("x_min", "x_max", "y_min", "y_max")}

LAYOUTS = (
    Layout(
        "cavity", "lid_driven_cavity", {"vel_top": ("lid_velocity", "m s-1"), **_FLUID, **_SIZE}, ("vel_top",), 0.1
    ),
    Layout(
        "tube",
        "tube_flow",
        {"vel_in": ("inlet_velocity", "m s-1"), **_FLUID, "height": ("diameter", "m"), "width": ("length", "m")},
        ("vel_in",),
        0.01,
    ),
    Layout(
        "dam",
        "dam_flow",
        {
            "velocity": ("velocity", "m s-1"), **_FLUID,
            "barrier_height": ("barrier_height", "m"), "barrier_width": ("barrier_width", "m"), **_SIZE,
        },
        ("barrier_height", "barrier_width"),
        0.1,
        _step,
    ),
    Layout(
        "cylinder",
        "cylinder_flow",
        {"vel_in": ("inlet_velocity", "m s-1"), **_FLUID, "radius": ("radius", "m"), **_BOX},
        ("radius",),
        0.001,
        _disc,
    ),
)  # fmt: skip


def by_keys(keys: set[str]) -> Layout | None:
    """The problem that the keys of a case.json tell of; tube and cylinder share "vel_in", and the radius decides."""
    for folder in ("cylinder", "dam", "cavity", "tube"):
        layout = next(found for found in LAYOUTS if found.folder == folder)
        if keys & set(layout.telling):
            return layout
    return None
