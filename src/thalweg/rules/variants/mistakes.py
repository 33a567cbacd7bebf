"""Adam with one mistake each, as they are found in teaching material: to be seen, not to be used.

They are in no list of optimizers. The playground shows what each one does to a path.
"""

from ...ops import sqrt
from ..core import rule


@rule
def adam_uncorrected(theta, g, m, v, t, *, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    """Adam without bias correction: v starts at 0 and stays too small, so first steps are long."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    return theta - lr * m / (sqrt(v) + eps), m, v


@rule
def adam_restarted(theta, g, m, v, t, *, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    """Adam whose step counter restarts at 1 with every call, so that it corrects for ever."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    m_hat = m / (1 - beta1)
    v_hat = v / (1 - beta2)
    return theta - lr * m_hat / (sqrt(v_hat) + eps), m, v


@rule
def adam_eps_subtracted(theta, g, m, v, t, *, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    """Adam that subtracts ε: the divisor can be 0, or below it where gradients are small."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    return theta - lr * m_hat / (sqrt(v_hat) - eps), m, v


@rule
def adam_wrong_root(theta, g, m, v, t, *, lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    """Adam with the root on the first moment: no number where the mean gradient is negative."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    return theta - lr * sqrt(m_hat) / (v_hat + eps), m, v


MISTAKES = (adam_uncorrected, adam_restarted, adam_eps_subtracted, adam_wrong_root)
"""All of them."""
