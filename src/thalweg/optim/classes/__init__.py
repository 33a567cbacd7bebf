"""The classes of built-in rules.

Those by names of torch have torch's signatures, defaults and state keys. Every class also takes the
options of `BuiltinOptimizer`, among them `engine` and `convention`.
"""

from .adam import Adam, Adamax, AdamW, NAdam, RAdam
from .adaptive import Adadelta, Adagrad, RMSprop
from .beyond_torch import LAMB, LARS, AdamP, Lion
from .descent import ASGD, SGD, Rprop
from .sparse import SparseAdam

__all__ = [
    "ASGD",
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
    "NAdam",
    "RAdam",
    "RMSprop",
    "Rprop",
    "SparseAdam",
]
