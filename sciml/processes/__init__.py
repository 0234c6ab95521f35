"""Distributions of functions, given some of their values: plain torch modules, tensors in and out.

They stand beside the operators and are none: what comes in are values of the answer itself, at any points of the same
case, what goes out is a distribution, and training needs the answer within the network (an approximate posterior),
which no batch of an operator holds.
"""

from sciml.processes.attentive import AttentiveNeuralProcess as AttentiveNeuralProcess
from sciml.processes.attentive import Predicted as Predicted

__all__ = ["AttentiveNeuralProcess", "Predicted"]
