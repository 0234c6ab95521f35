"""Errors between solutions: array-API functions that need neither torch nor JAX."""

from sciml.metrics.clouds import carried, misplaced, occupancy
from sciml.metrics.energetics import Energetics, energetics
from sciml.metrics.flow import divergence, divergence_error, divergence_faces
from sciml.metrics.forces import force_within
from sciml.metrics.pointwise import (
    correlation,
    correlation_time,
    mae,
    max_error,
    mse,
    nmse,
    nmse_per_frame,
    relative_l2,
    rmse,
    vrmse,
)
from sciml.metrics.sobolev import sobolev_norm
from sciml.metrics.spectrum import energy_spectrum, spectrum_error
from sciml.metrics.sums import Sums

__all__ = [
    "Energetics",
    "Sums",
    "carried",
    "correlation",
    "correlation_time",
    "divergence",
    "divergence_error",
    "divergence_faces",
    "energetics",
    "energy_spectrum",
    "force_within",
    "mae",
    "max_error",
    "misplaced",
    "mse",
    "nmse",
    "nmse_per_frame",
    "occupancy",
    "relative_l2",
    "rmse",
    "sobolev_norm",
    "spectrum_error",
    "vrmse",
]
