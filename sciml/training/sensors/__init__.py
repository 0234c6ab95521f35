"""Training of operators that see what sparse sensors measure: from frames to sensors, instants and queries."""

from __future__ import annotations

from sciml.training.sensors.batches import SensorBatches, SensorSamples
from sciml.training.sensors.encoding import SensorEncoding, Sensors
from sciml.training.sensors.fitting import FittedSensors, fit_sensors

__all__ = ["FittedSensors", "SensorBatches", "SensorEncoding", "SensorSamples", "Sensors", "fit_sensors"]
