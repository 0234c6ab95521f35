"""Training loops over any iterable of batches: losses, schedules, averaging, checkpoints, progress."""

from sciml.training import losses, schedules
from sciml.training.callbacks import Callback, EarlyStopping, MetricsLog, TensorBoard
from sciml.training.checkpoint import read_tensors, write_tensors
from sciml.training.ema import ExponentialMovingAverage
from sciml.training.normalisation import FeatureScaler, FieldScaler
from sciml.training.progress import ProgressDisplay
from sciml.training.settings import TrainingSettings
from sciml.training.trainer import Trainer

__all__ = [
    "Callback",
    "EarlyStopping",
    "ExponentialMovingAverage",
    "FeatureScaler",
    "FieldScaler",
    "MetricsLog",
    "ProgressDisplay",
    "TensorBoard",
    "Trainer",
    "TrainingSettings",
    "losses",
    "read_tensors",
    "schedules",
    "write_tensors",
]
