"""Pairs (inputs, targets) of tensors: their check before they are trained on, and their sizes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import UsageError
from .trees import Leaf, Tree, count, named_leaves

Pair = tuple[Tree, Tree]
ROLES = ("inputs", "targets")


def is_pair_of_tensors(given: object) -> bool:
    """Whether data is a pair of tensors, or of several in tuples and dicts."""
    return isinstance(given, tuple) and len(given) == 2 and all(map(_is_ready, given))


def _is_ready(tree: object) -> bool:
    if isinstance(tree, Tensor):
        return True
    parts = tree if type(tree) is tuple else tree.values() if type(tree) is dict else ()
    return bool(parts) and all(map(_is_ready, parts))


def check_pair(task: str, part: str, pair: Pair, like: Pair) -> None:
    """Refuse a pair that cannot be trained on, or that is of another kind than the training data.

    Args:
        task, part: name the data in messages.
        pair: to look at.
        like: the training data.

    Raises:
        UsageError: samples are missing, not finite, of different number or of another kind.
    """
    for role, tree, model in zip(ROLES, pair, like, strict=True):
        what = f"task {task!r}: {part} {role}"
        leaves, models = named_leaves(tree, what), named_leaves(model, "")
        if [name.removeprefix(what) for name, _ in leaves] != [name for name, _ in models]:
            raise UsageError(
                f"{what} are {in_words(tree)}, but those of train are {in_words(model)}; "
                "the three parts must be alike"
            )
        for (name, tensor), (_, other) in zip(leaves, models, strict=True):
            _check(name, tensor, other, alone=len(leaves) == 1)
        check_lengths(what, [(name.removeprefix(what), tensor) for name, tensor in leaves])
    if count(pair[0]) != count(pair[1]):
        raise UsageError(
            f"task {task!r}: {part} has {count(pair[0])} inputs but {count(pair[1])} targets"
        )


def _check(what: str, tensor: Tensor, model: Tensor, alone: bool) -> None:
    """Refuse a tensor that cannot be trained on; one of several may be a mask of truth values."""
    if tensor.dim() == 0 or not tensor.numel():
        raise UsageError(f"{what} of shape {tuple(tensor.shape)} hold no sample")
    refused = (torch.float16, torch.bool) if alone else (torch.float16,)
    if tensor.dtype in refused or tensor.is_complex():
        raise UsageError(
            f"{what} are {_dtype(tensor)}; give float32 or float64 numbers, or int64 class numbers"
        )
    if tensor.is_floating_point() and not (finite := tensor.isfinite()).all():
        bad = tensor.numel() - int(finite.sum())
        raise UsageError(f"{what} contain {bad} NaN or infinite values; remove or fill them")
    if tensor.dtype != model.dtype or tensor.shape[1:] != model.shape[1:]:
        raise UsageError(
            f"{what} are {in_words(tensor)}, but those of train are {in_words(model)}; "
            "the three parts must be alike"
        )


def check_lengths(what: str, leaves: Sequence[Leaf]) -> None:
    """Refuse several inputs or targets of different length.

    Args:
        what: names them in messages.
        leaves: arrays or tensors, each with its place.

    Raises:
        UsageError: one has more samples than another.
    """
    for place, values in leaves[1:]:
        first, model = leaves[0]
        if len(values) != len(model):
            raise UsageError(
                f"{what}{first} have {len(model)} samples but {place} {len(values)}; each needs "
                "one entry per sample"
            )


def sizes(pair: Pair) -> str:
    """How many samples a pair has, and what each is."""
    total = count(pair[0])
    return (
        f"{total:,} sample{'s' * (total != 1)}; inputs {in_words(pair[0])}, "
        f"targets {in_words(pair[1])}"
    )


def in_words(tree: Tree) -> str:
    """The type and shape of a sample: "float32 64", or "['ids'] int64 7, ['mask'] float32 7"."""
    return ", ".join(f"{name} {_each(leaf)}".strip() for name, leaf in named_leaves(tree, ""))


def shapes(tree: Tree) -> str:
    """The types and shapes of tensors: "float32 of shape (12, 64)"."""
    leaves = [leaf for leaf in named_leaves(tree, "") if isinstance(leaf[1], Tensor)]
    return ", ".join(f"{name} {_shape(leaf)}".strip() for name, leaf in leaves)


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _each(tensor: Tensor) -> str:
    shape = "×".join(map(str, tensor.shape[1:]))
    return f"{_dtype(tensor)} {shape}" if shape else _dtype(tensor)


def _shape(tensor: Tensor) -> str:
    return f"{_dtype(tensor)} of shape {tuple(tensor.shape)}"
