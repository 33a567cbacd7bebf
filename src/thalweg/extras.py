"""Packages that only some uses need: which extra installs each, and the error for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from .errors import MissingPackage

# By extra of pyproject.toml, the modules that it brings.
EXTRAS: Mapping[str, tuple[str, ...]] = {
    "plots": ("matplotlib",),
    "images": ("PIL",),
    "tables": ("pandas", "pyarrow"),
    "optuna": ("optuna",),
    "ray": ("ray",),
    "tensorboard": ("tensorboard",),
    "mlflow": ("mlflow", "sqlalchemy", "alembic"),
    "wandb": ("wandb",),
    "jax": ("jax", "optax"),
    "gpu": ("triton",),
}


@contextmanager
def needed(purpose: str) -> Iterator[None]:
    """Import inside what only an extra installs.

    Args:
        purpose: what needs it, as the subject of a sentence: "drawing a figure".

    Raises:
        MissingPackage: a package of an extra is not installed; the message names both. Any other
            failure to import, as of a broken installation, is raised as it is.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        extra = next((extra for extra, own in EXTRAS.items() if package in own), None)
        if extra is None:
            raise
        raise MissingPackage(
            f"{purpose} needs {package}, which is not installed: pip install 'thalweg[{extra}]'"
        ) from error
