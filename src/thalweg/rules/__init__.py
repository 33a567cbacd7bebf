"""The formulas: every optimizer of the package, each written once, in the order of its history."""

from . import keras, optax, papers
from .adam import adam, adamax, adamw, amsgrad, nadam, radam
from .adaptive import (
    adadelta,
    adagrad,
    rmsprop,
    rmsprop_centered,
    rmsprop_centered_momentum,
    rmsprop_momentum,
)
from .combinators import (
    clip_layer_norm,
    clip_norm,
    clip_value,
    coupled_weight_decay,
    decoupled_weight_decay,
    maximize,
    scheduled_weight_decay,
)
from .core import (
    Combinator,
    LogRange,
    Reference,
    Rule,
    RuleError,
    combinator,
    rule,
)
from .descent import asgd, lion, momentum, nesterov, rprop, sgd
from .layerwise import adamp, lamb, lars
from .names import conventions, find, registry
from .ranges import Choice, LinearRange, NearOne, Range

for _rule in (
    sgd, momentum, nesterov, asgd, rprop, adagrad, adadelta, rmsprop, rmsprop_centered,
    rmsprop_momentum, rmsprop_centered_momentum, adam, amsgrad, adamw, adamax, nadam, radam, lion,
    lars, lamb, adamp,
):  # fmt: skip
    _rule.register()

__all__ = [
    "Choice",
    "Combinator",
    "LinearRange",
    "LogRange",
    "NearOne",
    "Range",
    "Reference",
    "Rule",
    "RuleError",
    "adadelta",
    "adagrad",
    "adam",
    "adamax",
    "adamp",
    "adamw",
    "amsgrad",
    "asgd",
    "clip_layer_norm",
    "clip_norm",
    "clip_value",
    "combinator",
    "conventions",
    "coupled_weight_decay",
    "decoupled_weight_decay",
    "find",
    "keras",
    "lamb",
    "lars",
    "lion",
    "maximize",
    "momentum",
    "nadam",
    "nesterov",
    "optax",
    "papers",
    "radam",
    "registry",
    "rmsprop",
    "rmsprop_centered",
    "rmsprop_centered_momentum",
    "rmsprop_momentum",
    "rprop",
    "rule",
    "scheduled_weight_decay",
    "sgd",
]
