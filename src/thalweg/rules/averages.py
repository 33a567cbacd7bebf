"""Averages of the iterates: the average stands where a rule has its parameter, and the newest
iterate where a rule has the gradient."""

from .core import Reference, rule


@rule(
    reference=Reference(
        "Zhang et al.", 2019, "Lookahead Optimizer: k Steps Forward, 1 Step Back",
        "NeurIPS, arXiv:1907.08610",
    ),
)  # fmt: skip
def average(theta, g, t, *, weight=0.5):
    """The average moves towards the newest iterate by a share of the way (Zhang et al. 2019)."""
    return theta + weight * (g - theta)


@rule(
    reference=Reference(
        "Kingma & Ba", 2015, "Adam: A Method for Stochastic Optimization",
        "ICLR, arXiv:1412.6980, section 7.2",
    ),
)  # fmt: skip
def corrected_average(theta, g, t, *, decay=0.999):
    """The exponential average that is 1/(1 - decay^t) times the one begun at 0."""
    return theta + (1 - decay) / (1 - decay**t) * (g - theta)
