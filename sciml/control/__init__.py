"""Control: what to do so that matter ends up where it is wanted.

    minimise  J(u) = goal(particles(u)) + ½ r |u|²     over  lower ≤ u ≤ upper,

where u are numbers from which a case is made (the knots of a plate's velocity, the place of an obstacle) and
particles(u) is what a solver says that becomes of it. With solvers that can be differentiated, numerical or learned, J
comes with its gradient; without, methods are used that need none.
"""

from sciml.control.goals import CentreOfMass, Goal, Inside
from sciml.control.gradients import Compared, compare_gradient
from sciml.control.steering import METHODS, Evaluation, Steered, steer
from sciml.control.task import Task

__all__ = [
    "METHODS",
    "CentreOfMass",
    "Compared",
    "Evaluation",
    "Goal",
    "Inside",
    "Steered",
    "Task",
    "compare_gradient",
    "steer",
]
