"""torch optimizers made of rules: replace `torch.optim` by `thalweg.optim`."""

from . import earlier_names
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

earlier_names.register()

__all__ = [
    "ASGD",
    "EMA",
    "LAMB",
    "LARS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamP",
    "AdamW",
    "Adamax",
    "Lion",
    "Lookahead",
    "LookaheadNesterov",
    "NAdam",
    "RAdam",
    "RMSprop",
    "RandomSearch",
    "Rprop",
    "RuleOptimizer",
    "SparseAdam",
    "from_rule",
]
