"""Combinators: formulas that go in front of a rule and melt into its kernel."""

from ..ops import clamp, minimum, norm
from .core import combinator


@combinator
def coupled_weight_decay(theta, g, *, weight_decay=0.0):
    """L2 regularization: the penalty's gradient is added to the gradient."""
    g = g + weight_decay * theta
    return theta, g


@combinator
def decoupled_weight_decay(theta, g, *, lr, weight_decay=0.0):
    """Decoupled weight decay: the parameter shrinks by lr·weight_decay before the step."""
    theta = theta * (1 - lr * weight_decay)
    return theta, g


@combinator
def scheduled_weight_decay(theta, g, *, schedule=1.0, weight_decay=1e-5):
    """Weight decay by the schedule alone: lr is α·schedule, and α has no part in the decay."""
    theta = theta * (1 - schedule * weight_decay)
    return theta, g


@combinator
def maximize(theta, g):
    """Ascent: the gradient changes its sign."""
    g = -g
    return theta, g


@combinator
def clip_norm(theta, g, *, max_norm=1.0):
    """Gradient clipping: all gradients together are no longer than max_norm."""
    g = g * minimum(1.0, max_norm / (norm(g, "all") + 1e-6))
    return theta, g


@combinator
def clip_layer_norm(theta, g, *, max_norm=1.0):
    """Gradient clipping by layer: no tensor's gradient is longer than max_norm."""
    g = g * minimum(1.0, max_norm / (norm(g) + 1e-6))
    return theta, g


@combinator
def clip_value(theta, g, *, max_value=1.0):
    """Gradient clipping by value: no element leaves [-max_value, max_value]."""
    g = clamp(g, -max_value, max_value)
    return theta, g
