"""The residual of a problem's own balances as something to train with.

`Equations` says which balances an operator's answers can be held to, and gives every batch what these need;
`magnitudes` what each balance is measured in.
"""

from __future__ import annotations

from sciml.training.layout import Layout
from sciml.training.physics.equations import Equations, Supplied
from sciml.training.physics.magnitudes import magnitudes
from sciml.training.physics.unlabelled import Unlabelled, WithEquations

__all__ = ["Equations", "Layout", "Supplied", "Unlabelled", "WithEquations", "magnitudes"]
