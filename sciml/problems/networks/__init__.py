"""Problems on networks: what lives at nodes and along edges, with no field between them.

A `Network` is one of them in numbers, with its answer where that is known. `PoreNetwork`s are pores joined by throats,
drawn at random, cut out of others or read from files; a `StateGraph` is a decision process on a graph.
"""

from sciml.problems.networks._network import Network
from sciml.problems.networks.pores import PoreNetwork, random_pores
from sciml.problems.networks.states import StateGraph, random_states
from sciml.problems.networks.statoil import read_statoil

__all__ = ["Network", "PoreNetwork", "StateGraph", "random_pores", "random_states", "read_statoil"]
