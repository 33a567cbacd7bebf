"""How a model is given its inputs, and where in its outputs the scores and the loss are."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Literal

from torch import Tensor, nn

from ..errors import UsageError
from .trees import Tree

LABELS = "labels"
"""The keyword by which a model that computes its own loss takes the targets."""

Way = Literal["keywords", "positions", "whole"]


def call(model: nn.Module, inputs: Tree, **more: Any) -> Any:
    """What a model makes of inputs.

    A tensor is its one argument; a dict gives arguments by keyword, a tuple or list by position. A
    model whose forward() has a single parameter gets several inputs as one.

    Args:
        model: is called.
        inputs: a tensor, or several in a dict, tuple or list.
        **more: other arguments.

    Raises:
        UsageError: forward() does not take these inputs.
    """
    if isinstance(inputs, Tensor):
        return model(inputs, **more)
    keys = tuple(inputs) if isinstance(inputs, Mapping) else len(inputs)
    forward = model.forward
    function = getattr(forward, "__func__", forward)
    way = _way(function, forward is not function, keys, tuple(more))
    if way == "keywords":
        return model(**inputs, **more)
    if way == "positions":
        return model(*inputs, **more)
    return model(inputs, **more)


def takes(model: nn.Module, name: str) -> bool:
    """Whether forward() has a parameter of this name."""
    return name in inspect.signature(model.forward).parameters


def scores(outputs: Any) -> Tensor:
    """The tensor that a loss or metric known by name compares with the targets.

    The outputs themselves where they are a tensor; else their `logits`, an attribute or a key, as
    Hugging Face's models have; else the first of a tuple or list.

    Raises:
        UsageError: the outputs have none of these.
    """
    if isinstance(outputs, Tensor):
        return outputs
    found = part(outputs, "logits")
    if found is None and isinstance(outputs, tuple | list) and outputs:
        found = outputs[0]
    if isinstance(found, Tensor):
        return found
    raise UsageError(
        f"the model returns {_described(outputs)}; a loss or metric by name needs a tensor, a "
        "tuple that begins with one, or a dict or object with logits. Give a function of "
        "(outputs, targets) as loss and as metric"
    )


class ModelLoss:
    """A step that takes the loss from a model that computes it, given inputs and labels.

    Raises:
        UsageError: the model returns no loss.
    """

    def __call__(self, model: nn.Module, batch: tuple[Tree, Tree]) -> Tensor:
        """The loss of a batch (inputs, targets)."""
        inputs, targets = batch
        outputs = call(model, inputs, **{LABELS: targets})
        loss = part(outputs, "loss")
        if loss is None and isinstance(outputs, tuple | list) and outputs:
            loss = outputs[0]
        if not isinstance(loss, Tensor):
            raise UsageError(
                f'loss="model": given {LABELS}, the model returns {_described(outputs)}, which has '
                "no loss; it must return an object or dict with loss, or a tuple that begins with "
                'it. Else name a loss, as loss="cross_entropy"'
            )
        return loss


def part(outputs: Any, name: str) -> Any:
    """What outputs hold under a name, as an attribute or a key; None where they do not."""
    if isinstance(outputs, Mapping):
        return outputs.get(name)
    return getattr(outputs, name, None)


@lru_cache(maxsize=64)
def _way(
    function: Callable[..., Any], bound: bool, keys: tuple[str, ...] | int, more: tuple[str, ...]
) -> Way:
    """How a forward() takes these inputs; worked out once, because signatures are slow to read."""
    signature = inspect.signature(function)
    if bound:  # self is given
        signature = signature.replace(parameters=list(signature.parameters.values())[1:])
    extra = dict.fromkeys(more)
    try:
        if isinstance(keys, int):
            signature.bind(*[None] * keys, **extra)
            return "positions"
        signature.bind(**dict.fromkeys(keys), **extra)
        return "keywords"
    except TypeError as error:
        parameters = [
            p
            for p in signature.parameters.values()
            if p.kind is not p.VAR_KEYWORD and p.name not in more
        ]
        if len(parameters) == 1 and parameters[0].kind is not inspect.Parameter.KEYWORD_ONLY:
            return "whole"
        raise UsageError(_refusal(signature, keys, more, str(error))) from error


def _refusal(
    signature: inspect.Signature, keys: tuple[str, ...] | int, more: tuple[str, ...], why: str
) -> str:
    """Why the inputs do not fit, and what to change."""
    names = ", ".join(str(p.replace(annotation=p.empty)) for p in signature.parameters.values())
    if isinstance(keys, int):
        return (
            f"the model's forward({names}) does not take {keys} inputs by position ({why}); give "
            "as many as it has, or a dict to name them"
        )
    known = set(signature.parameters) | set(more)
    unknown = [key for key in keys if key not in known]
    fix = (
        f"leave {' and '.join(map(repr, unknown))} out or rename"
        if unknown
        else "name the entries of the dict as its arguments"
    )
    return (
        f"the model's forward({names}) does not take the inputs {', '.join(map(repr, keys))} by "
        f"keyword ({why}); {fix}, or have forward() take one argument, which is then the whole dict"
    )


def _described(outputs: Any) -> str:
    if isinstance(outputs, Mapping):
        return f"{type(outputs).__name__} with {', '.join(map(str, outputs)) or 'nothing'}"
    return type(outputs).__name__
