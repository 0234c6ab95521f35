"""Solutions of equations in torch, differentiable with respect to whatever stands in the equations.

Values have the type of the guess, float32 or float64, and nothing is cast. With `batched` the first axis holds systems
that are independent: each is done by itself, and stands still from then on. Reverse mode, once; `torch.func.grad` and
`vjp` too; instead of `torch.func.vmap` there is `batched`.
"""

from sciml.implicit.torch._anderson import Anderson
from sciml.implicit.torch._levenberg_marquardt import LevenbergMarquardt
from sciml.implicit.torch._newton import Newton
from sciml.implicit.torch._solve import fixed_point, least_squares, linear_solve, root

__all__ = ["Anderson", "LevenbergMarquardt", "Newton", "fixed_point", "least_squares", "linear_solve", "root"]
