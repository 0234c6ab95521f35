"""Linear systems of elliptic equations on grids, and what solves them.

A `LinearSystem` says what is to be solved, with coefficients that may vary, closed faces and a null space; a
`LinearSolver` solves it for one right-hand side after the other, as a pure function of arrays. Any of them serves as
`pressure_solver=` of a flow solver. `Direct` takes constant coefficients in a box and bodies within it, `MultigridCG`
everything.
"""

from sciml.solvers.linear._ends import End, Ends
from sciml.solvers.linear._system import Info, LinearSolver, LinearSystem
from sciml.solvers.linear.direct import Direct
from sciml.solvers.linear.multigrid import MultigridCG

__all__ = ["Direct", "End", "Ends", "Info", "LinearSolver", "LinearSystem", "MultigridCG"]
