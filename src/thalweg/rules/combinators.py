"""Combinators: formulas that go in front of a rule and melt into its kernel."""

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
