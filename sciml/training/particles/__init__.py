"""Training of operators that move particles: from frames of displacement and velocity to accelerations."""

from __future__ import annotations

from sciml.training.particles.batches import ParticleBatches
from sciml.training.particles.bodies import Bodies
from sciml.training.particles.encoding import Nodes, ParticleEncoding
from sciml.training.particles.fitting import FittedParticles, fit_particles
from sciml.training.particles.motion import Motion, Scene

__all__ = [
    "Bodies",
    "FittedParticles",
    "Motion",
    "Nodes",
    "ParticleBatches",
    "ParticleEncoding",
    "Scene",
    "fit_particles",
]
