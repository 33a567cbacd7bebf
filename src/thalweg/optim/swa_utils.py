"""torch's averaging of weights, which takes the optimizers of this package as it takes torch's."""

from torch.optim.swa_utils import *  # noqa: F403
from torch.optim.swa_utils import __all__ as __all__
