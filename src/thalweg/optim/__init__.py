"""torch optimizers made of rules: change `torch.optim` to `thalweg.optim` and go on."""

from .adapter import RuleOptimizer, from_rule
from .classes import (
    ASGD,
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Lion,
    NAdam,
    RAdam,
    RMSprop,
    Rprop,
)
from .closures import LookaheadNesterov, RandomSearch
from .wrappers import EMA, Lookahead

__all__ = [
    "ASGD",
    "EMA",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
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
    "from_rule",
]
