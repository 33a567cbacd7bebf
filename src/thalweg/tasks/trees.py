"""Tensors in tuples, lists, dicts and dataclasses: several inputs of a model, or its outputs.

torch's own map over such structures is private to it, and takes no dataclass that is not
registered there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

Tree = Any
"""A tensor, or a tuple, list, dict or dataclass of such, nested at will."""

Leaf = tuple[str, Any]


def named_leaves(tree: Tree, name: str) -> list[Leaf]:
    """What a tree holds that is no branch of it, each with its place: `inputs['ids'][0]`.

    Args:
        tree: to look into.
        name: of the whole.
    """
    if isinstance(tree, Tensor):
        return [(name, tree)]
    if _is_dataclass(tree):
        fields = ((f".{f.name}", getattr(tree, f.name)) for f in dataclasses.fields(tree))
    elif isinstance(tree, Mapping):
        fields = ((f"[{key!r}]", part) for key, part in tree.items())
    elif isinstance(tree, tuple | list):
        fields = ((f"[{number}]", part) for number, part in enumerate(tree))
    else:
        return [(name, tree)]
    return [leaf for place, part in fields for leaf in named_leaves(part, name + place)]


def tensors(tree: Tree) -> list[Tensor]:
    """The tensors of a tree, in order."""
    if isinstance(tree, Tensor):
        return [tree]
    return [leaf for _, leaf in named_leaves(tree, "") if isinstance(leaf, Tensor)]


def map_leaves(function: Callable[..., Any], tree: Tree, *others: Tree) -> Tree:
    """A tree of the same form, of what a function gives for every leaf.

    Args:
        function: takes the leaf of the tree, and those in its place in the others.
        tree: whose form counts.
        others: trees of this form.
    """
    if isinstance(tree, Tensor):
        return function(tree, *others)
    if _is_dataclass(tree):
        names = [f.name for f in dataclasses.fields(tree)]
        return dataclasses.replace(
            tree,
            **{
                name: map_leaves(
                    function, getattr(tree, name), *(getattr(other, name) for other in others)
                )
                for name in names
            },
        )
    if isinstance(tree, Mapping):
        made = {k: map_leaves(function, tree[k], *(other[k] for other in others)) for k in tree}
        return made if type(tree) is dict else type(tree)(made)  # type: ignore[call-arg]
    if isinstance(tree, tuple | list):
        parts = [map_leaves(function, *each) for each in zip(tree, *others, strict=True)]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return function(tree, *others)


def map_tensors(function: Callable[..., Any], tree: Tree, *others: Tree) -> Tree:
    """A tree of the same form, of what a function gives for every tensor; other leaves stay."""
    if isinstance(tree, Tensor):
        return function(tree, *others)
    return map_leaves(
        lambda leaf, *rest: function(leaf, *rest) if isinstance(leaf, Tensor) else leaf,
        tree,
        *others,
    )


def rebuilt(tree: Tree, leaves: Iterator[Tensor]) -> Tree:
    """A tree of the same form with other tensors, taken one after the other."""
    return map_tensors(lambda _: next(leaves), tree)


def count(tree: Tree) -> int:
    """The number of samples: the length of the first tensor."""
    return len(tree) if isinstance(tree, Tensor) else len(tensors(tree)[0])


def rows(tree: Tree, chosen: slice | Tensor) -> Tree:
    """The samples with these numbers."""
    return map_tensors(lambda values: values[chosen], tree)


def joined(parts: list[Tree], dim: int = 0) -> Tree:
    """Trees for parts of the samples as one for all; a tensor without such a dimension is kept.

    Args:
        parts: of one form.
        dim: in which the samples are counted.
    """
    if len(parts) == 1:
        return parts[0]
    return map_tensors(
        lambda *each: torch.cat(each, dim) if each[0].dim() > dim else each[0], *parts
    )


def in_order_of(tree: Tree, like: Tree) -> Tree:
    """The same tree with the entries of its dicts in the order of another's; as it is elsewhere."""
    if isinstance(tree, dict) and isinstance(like, dict) and set(tree) == set(like):
        return {key: in_order_of(tree[key], part) for key, part in like.items()}
    if isinstance(tree, tuple) and isinstance(like, tuple) and len(tree) == len(like):
        return tuple(in_order_of(*each) for each in zip(tree, like, strict=True))
    return tree


def without_objects(tree: Tree) -> Tree:
    """The same tree with None in the place of what is no tensor, number or text, as a cache."""
    return map_leaves(
        lambda leaf: leaf if isinstance(leaf, Tensor | int | float | str) else None, tree
    )


def nbytes(tree: Tree) -> int:
    """Bytes of all tensors."""
    return sum(values.nbytes for values in tensors(tree))


def is_branch(tree: Tree) -> bool:
    """Whether this is of several tensors, as far as inputs may be."""
    return isinstance(tree, tuple | dict)


def _is_dataclass(tree: object) -> bool:
    return dataclasses.is_dataclass(tree) and not isinstance(tree, type)
