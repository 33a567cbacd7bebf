"""Adam for sparse gradients, such as those of an embedding, that have a few rows of many."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from ...errors import UsageError
from ...rules import find, maximize
from ...rules.core import Rule
from ..optimizer import RuleOptimizer

_ADAM = find("keras:adam")  # torch's SparseAdam adds ε to the uncorrected root as well
_CLIMBING = maximize(_ADAM)


class SparseAdam(RuleOptimizer, torch.optim.SparseAdam):
    """Adam that updates only the rows that a sparse gradient has: torch.optim.SparseAdam.

    Args:
        engine: "auto" or "eager"; sparse gradients are stepped with PyTorch operations. All others
            are those of torch.optim.SparseAdam.

    Raises:
        UsageError: a parameter is sparse or complex, or an option is out of its range.
    """

    state_keys = {"m": "exp_avg", "v": "exp_avg_sq"}
    lazy = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (_ADAM.defaults["beta1"], _ADAM.defaults["beta2"]),
        eps: float = 1e-8,
        maximize: bool = False,
        *,
        engine: str = "auto",
    ) -> None:
        options = {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize}
        super().__init__(params, options, engine=engine)

    def rule(self, group: Mapping[str, Any]) -> Rule:
        return _CLIMBING if group["maximize"] else _ADAM

    def check(self, group: Mapping[str, Any]) -> None:
        super().check(group)
        for option, label in (("lr", "learning rate"), ("eps", "epsilon value")):
            if not group[option] > 0:
                raise UsageError(f"Invalid {label}: {group[option]}; it must be above 0")

    def _check_parameters(self, parameters: list[Tensor]) -> None:
        sparse = [k for k, p in enumerate(parameters) if p.is_sparse]
        if sparse:
            raise UsageError(
                f"Sparse params at indices {sparse}: SparseAdam requires dense parameter tensors"
            )
        complex_ = [k for k, p in enumerate(parameters) if p.is_complex()]
        if complex_:
            raise UsageError(
                f"Complex params at indices {complex_}: SparseAdam does not support complex "
                "parameters"
            )
        super()._check_parameters(parameters)

    def state_dict(self) -> dict[str, Any]:
        """The state with step counts as integers, as in torch's class."""
        saved = super().state_dict()
        saved["state"] = {
            key: {**state, "step": int(state["step"])} if isinstance(key, int) else state
            for key, state in saved["state"].items()
        }
        return saved
