"""Auto-EDeepONet: the next frame by a basis of functions of the point, with a branch of its own for parameters."""

from __future__ import annotations

from torch import Tensor

from sciml import registry
from sciml.errors import InputError
from sciml.operators.auto_deeponet import AutoDeepONet


@registry.operators.register("auto_edeeponet")
class AutoEDeepONet(AutoDeepONet):
    """Auto-EDeepONet: y_c(s) = Σ_k b_ck(x) d_ck(p) t_ck(s) + a_c: a branch for the field, and one for parameters.

    Arguments as those of `AutoDeepONet`, with at least one parameter. With one channel in and out, 622,701 numbers on
    64 × 64 points with five parameters, as CFDBench's (623 thousand).

    Raises:
        InputError: no parameters, and what `AutoDeepONet` raises.

    Source: Tan, Chen, "Enhanced DeepONet for modeling partial differential operators considering multiple input
    functions", arXiv:2202.08942 (2022).
    """

    name, title = "auto_edeeponet", "Auto-EDeepONet"

    def branches(self) -> list[int]:
        if not self.n_params:
            raise InputError(f"{self.name}: n_params: expected at least one, got 0; auto_deeponet needs none")
        return [self.field_count, self.n_params]

    def coefficients(self, field: Tensor, params: Tensor | None) -> Tensor:
        assert params is not None
        of_field, of_params = self.branch
        return of_field(field) * of_params(params.to(field.dtype))
