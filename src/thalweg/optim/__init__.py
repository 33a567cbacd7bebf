"""torch optimizers made of rules: replace `torch.optim` by `thalweg.optim`.

Public names of `torch.optim` that are no optimizers of this package's are torch's own here.
"""

from typing import TYPE_CHECKING, Any

import torch

from . import earlier_names, lr_scheduler, swa_utils
from .backward import step_in_backward
from .classes import (
    ASGD,
    LAMB,
    LARS,
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamP,
    AdamW,
    Lion,
    NAdam,
    RAdam,
    RMSprop,
    Rprop,
    SparseAdam,
)
from .closures import LookaheadNesterov, RandomSearch
from .optimizer import RuleOptimizer
from .rule_classes import from_rule
from .wrappers import EMA, Lookahead

if TYPE_CHECKING:
    from torch.optim import (
        LBFGS,
        Adafactor,
        Muon,
        Optimizer,
        swap_in_optimizer_params_and_state,
    )

earlier_names.register()

__all__ = [
    "ASGD",
    "EMA",
    "LAMB",
    "LARS",
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamP",
    "AdamW",
    "Adamax",
    "Lion",
    "Lookahead",
    "LookaheadNesterov",
    "Muon",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "RandomSearch",
    "Rprop",
    "RuleOptimizer",
    "SparseAdam",
    "from_rule",
    "lr_scheduler",
    "step_in_backward",
    "swa_utils",
    "swap_in_optimizer_params_and_state",
]

_FROM_TORCH = ("Adafactor", "LBFGS", "Muon", "Optimizer", "swap_in_optimizer_params_and_state")
for _name in _FROM_TORCH:
    if not hasattr(torch.optim, _name):  # a torch before it
        __all__.remove(_name)


if not TYPE_CHECKING:  # with it, type checkers would take any name for one that exists

    def __getattr__(name: str) -> Any:
        if name in _FROM_TORCH:
            return getattr(torch.optim, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
