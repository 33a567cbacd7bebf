"""torch optimizers made of rules: change `torch.optim` to `thalweg.optim` and go on."""

from .adapter import RuleOptimizer, from_rule
from .beyond import LAMB, LARS, AdamP, Lion
from .classes import (
    ASGD,
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    NAdam,
    RAdam,
    RMSprop,
    Rprop,
)
from .closures import LookaheadNesterov, RandomSearch
from .sparse import SparseAdam
from .wrappers import EMA, Lookahead

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
