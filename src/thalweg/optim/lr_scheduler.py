"""torch's schedulers, which take the optimizers of this package as they take torch's."""

from torch.optim.lr_scheduler import *  # noqa: F403
from torch.optim.lr_scheduler import __all__ as __all__
from torch.optim.lr_scheduler import (
    _LRScheduler as _LRScheduler,  # the earlier name of LRScheduler, which programs still use
)
