"""What the process of test_memory.py does: move memory under an optimizer's feet, beside torch.

Usage: python memory_attacks.py FIRST STEP [long] [python]. Runs every STEP-th attack from the FIRST
on; before each a line with its number and name, after it a line with what came of it. So a process
that dies has said over which. With "python", tensors are asked without the compiled audit.
"""

from __future__ import annotations

import itertools
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

import thalweg.optim
from thalweg.errors import UsageError
from thalweg.optim.stepping.audit import audit

SHAPES = ((4, 4), (33,), (2, 3, 4), (), (9, 9))
MARK = 7.0  # of the program's other tensors, which no step may change
REFUSED = (UsageError,)


class Attack(NamedTuple):
    """One way to move memory.

    Attributes:
        name: what is done to what.
        optimizer: torch's class and options.
        shapes: of the parameters.
        dtype: of these.
        own: options that torch has not; torch then steps without them, and is not compared with.
        act: what is done to an optimizer after some steps.
    """

    name: str
    optimizer: tuple[str, dict[str, Any]]
    shapes: tuple[tuple[int, ...], ...]
    dtype: torch.dtype
    own: dict[str, Any]
    act: Callable[[torch.optim.Optimizer], None]


OPTIMIZERS = (
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("Adam", {"lr": 0.1}),
    ("NAdam", {"lr": 0.1}),
    ("RMSprop", {"lr": 0.1, "momentum": 0.5, "centered": True}),
)

# ------------------------------------------------------------------ tensors in place


def _refill(x: Tensor) -> None:
    """As offloading does: the storage is freed, others take the memory, it is filled again."""
    kept, size = x.detach().clone(), x.untyped_storage().nbytes()
    x.untyped_storage().resize_(0)
    _program.append(torch.full((x.numel() + 8,), MARK))
    x.untyped_storage().resize_(size)
    with torch.no_grad():
        x.copy_(kept)


def _grow(x: Tensor) -> None:
    x.untyped_storage().resize_(4 * x.untyped_storage().nbytes() + 64)


def _swap(x: Tensor) -> None:
    torch.utils.swap_tensors(x, type(x)(x.detach().clone()) if type(x) is not Tensor else x.clone())


def _data(change: Callable[[Tensor], Tensor]) -> Callable[[Tensor], None]:
    def act(x: Tensor) -> None:
        x.data = change(x.data)

    return act


def _inside(x: Tensor) -> Tensor:
    """The same numbers in the middle of a longer array."""
    room = torch.full((x.numel() + 20,), MARK, dtype=x.dtype)
    room[9 : 9 + x.numel()] = x.reshape(-1)
    _program.append(room)
    return room[9 : 9 + x.numel()].view(x.shape)


def _gaps(x: Tensor) -> Tensor:
    room = torch.full((*x.shape, 2), MARK, dtype=x.dtype)
    room[..., 0] = x
    return room[..., 0]


IN_PLACE: dict[str, Callable[[Tensor], Any]] = {
    "share_memory_": lambda x: x.share_memory_(),
    "storage freed and refilled": _refill,
    "storage grown": _grow,
    "swap_tensors": _swap,
    "set_ to a copy": lambda x: x.data.set_(x.data.clone()) and x.set_(x.data.clone()),  # type: ignore[call-overload]
    "data = copy": _data(Tensor.clone),
    "data = middle of another": _data(_inside),
    "data = with gaps": _data(_gaps),
    "data = transposed": _data(lambda x: x.t() if x.dim() == 2 else x),
    "data = reversed order": _data(
        lambda x: (
            x.contiguous()
            .permute(*range(x.dim())[::-1])
            .contiguous()
            .permute(*range(x.dim())[::-1])
        )
    ),
    "data = negated view": _data(lambda x: torch._neg_view(-x)),
    "data = float64": _data(Tensor.double),
    "data = shorter": _data(lambda x: x[:1] if x.dim() else x),
    "data = expanded": _data(lambda x: x[:1].expand(x.shape) if x.dim() else x),
}

# ------------------------------------------------------------------ other tensors in a state

INSTEAD: dict[str, Callable[[Tensor], Any]] = {
    "a copy": Tensor.clone,
    "float64": Tensor.double,
    "with gaps": _gaps,
    "transposed": lambda x: x.t().contiguous().t() if x.dim() == 2 else x,
    "expanded": lambda x: torch.zeros(1).expand(x.shape) if x.dim() else x,
    "too short": lambda x: x.reshape(-1)[:-1].clone(),
    "empty": lambda x: x.new_empty(0),
    "an inference tensor": lambda x: _inference(x),
    "that needs a gradient": lambda x: x.clone().requires_grad_(),
}


def _inference(x: Tensor) -> Tensor:
    with torch.inference_mode():
        return x.clone()


def _replace(place: int, key: int, make: Callable[[Tensor], Any]) -> Callable[[Any], None]:
    def act(optimizer: Any) -> None:
        state = optimizer.state[_parameters(optimizer)[place]]
        name = _keys(state)[key]
        state[name] = make(state[name])

    return act


def _alias(optimizer: Any, place: int, key: int) -> Tensor:
    state = optimizer.state[_parameters(optimizer)[place]]
    return state[_keys(state)[key]]


# ------------------------------------------------------------------ gradients

GRADIENTS: dict[str, Callable[[Tensor, Any], Any]] = {
    "a negated view": lambda p, o: torch._neg_view(torch.ones_like(p)),
    "expanded": lambda p, o: torch.ones(()).expand(p.shape),
    "with gaps": lambda p, o: _gaps(torch.ones_like(p)),
    "the parameter itself": lambda p, o: p.detach(),
    "a part of the parameter": lambda p, o: (
        p.detach()[:1].expand(p.shape) if p.dim() else p.detach()
    ),
    "an inference tensor": lambda p, o: _inference(torch.ones_like(p)),
    "a parameter": lambda p, o: torch.nn.Parameter(torch.ones_like(p)),
    "that needs a gradient": lambda p, o: torch.ones_like(p).requires_grad_(),
}
OVERLAPS: dict[str, Callable[[Tensor, Any], Any]] = {
    "its state": lambda p, o: _alias(o, _index(o, p), 0),
    "another's state": lambda p, o: _alias(o, (_index(o, p) + 5) % len(_parameters(o)), 0),
}


def _gradient(place: int, make: Callable[[Tensor, Any], Any]) -> Callable[[Any], None]:
    def act(optimizer: Any) -> None:
        p = _parameters(optimizer)[place]
        _given[id(optimizer), place] = make(p, optimizer)

    return act


def _gradient_data(optimizer: Any) -> None:
    _changed.add(id(optimizer))


# ------------------------------------------------------------------ the run of one

_program: list[Tensor] = []  # other tensors of the program
_given: dict[tuple[int, int], Tensor] = {}  # gradients of an attack, by optimizer and place
_changed: set[int] = set()  # optimizers whose gradients change their dtype by `.data`


def _parameters(optimizer: Any) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def _index(optimizer: Any, p: Tensor) -> int:
    return next(k for k, q in enumerate(_parameters(optimizer)) if q is p)


def _keys(state: dict[str, Any]) -> list[str]:
    """Those of arrays, then those of numbers."""
    return sorted(state, key=lambda key: (key in ("step", "mu_product"), key))


def _steps(optimizer: Any, count: int, seed: int) -> None:
    for t in range(count):
        generator = torch.Generator().manual_seed(100 * seed + t)
        for k, p in enumerate(_parameters(optimizer)):
            drawn = torch.randn(p.shape, generator=generator, dtype=torch.float64)
            given = _given.get((id(optimizer), k))
            p.grad = drawn.to(p.dtype) if given is None else None
            if given is not None:
                p.grad = given
            if id(optimizer) in _changed:
                assert p.grad is not None
                p.grad.data = p.grad.data.double()
        optimizer.step()


def _begin(attack: Attack, library: Any, own: dict[str, Any]) -> Any:
    name, options = attack.optimizer
    generator = torch.Generator().manual_seed(1)
    parameters = [
        torch.nn.Parameter(torch.randn(shape, generator=generator).to(attack.dtype))
        for shape in attack.shapes
    ]
    torchs = {"foreach": False} if library is torch.optim else {}
    optimizer = getattr(library, name)(parameters, **options, **torchs, **own)
    _steps(optimizer, 2, 1)
    return optimizer


def _side(attack: Attack, library: Any, own: dict[str, Any]) -> tuple[Any, str]:
    """An optimizer after the attack and two more steps; and how it was stopped, if it was."""
    optimizer = _begin(attack, library, own)
    _program.extend(torch.full((n,), MARK) for n in (1, 16, 24, 33, 81) for _ in range(4))
    try:
        attack.act(optimizer)
        _program.extend(torch.full((n,), MARK) for n in (1, 16, 24, 33, 81) for _ in range(4))
        _steps(optimizer, 2, 2)
    except Exception as error:
        return optimizer, type(error).__name__
    return optimizer, ""


def _intact() -> bool:
    return all(
        bool((x.flatten()[-8:] == MARK).all()) and bool((x.flatten()[:8] == MARK).all())
        for x in _program
    )


def _equal(mine: Any, torchs: Any) -> str:
    for k, (p, q) in enumerate(zip(_parameters(mine), _parameters(torchs), strict=True)):
        pairs = [("parameter", p, q)]
        own, other = mine.state[p], torchs.state[q]
        pairs += [(key, own[key], other[key]) for key in other]
        for name, x, y in pairs:
            if isinstance(y, Tensor) and not torch.allclose(
                torch.as_tensor(x).double(), y.double(), rtol=1e-4, atol=1e-5, equal_nan=True
            ):
                return f"{name} {k} differs by {(x.double() - y.double()).abs().max():.2g}"
    return ""


def run(attack: Attack) -> str:
    """What came of an attack: "" if all is well."""
    _program.clear()
    _given.clear()
    _changed.clear()
    mine, stopped = _side(attack, thalweg.optim, attack.own)
    if not _intact():
        return "ANOTHER TENSOR WAS OVERWRITTEN"
    if attack.own or stopped == "UsageError":
        return ""
    theirs, refused = _side(attack, torch.optim, {})
    if stopped and refused:
        return ""
    if refused and "float64" in attack.name:
        return ""  # kernels mix number types, which torch's operations do not
    if stopped or refused:
        return f"ours {stopped or 'stepped'}, torch {refused or 'stepped'}"
    return _equal(mine, theirs)


def attacks(long: bool) -> Iterator[Attack]:
    """All of them."""
    empty = ((0,), *SHAPES)
    for optimizer, shapes in itertools.product(OPTIMIZERS, (SHAPES, empty)):
        first = len(shapes) - len(SHAPES)
        for place in (first, len(shapes) - 1) if not long else range(first, len(shapes)):
            yield from _of_parameter(optimizer, shapes, place)


def _of_parameter(
    optimizer: tuple[str, dict[str, Any]], shapes: tuple[tuple[int, ...], ...], place: int
) -> Iterator[Attack]:
    def attack(what: str, act: Callable[[Any], None], **own: Any) -> Attack:
        dtype = torch.bfloat16 if "rounding" in own else torch.float32
        first = ", an empty one first" if not shapes[0][0] else ""
        name = f"{optimizer[0]} {own or ''} {shapes[place]}{first}: {what}"
        return Attack(name, optimizer, shapes, dtype, own, act)

    def in_place(part: int, change: Callable[[Tensor], Any]) -> Callable[[Any], None]:
        def act(o: Any) -> None:
            p = _parameters(o)[place]
            change(p if part < 0 else o.state[p][_keys(o.state[p])[part]])

        return act

    parts = {"SGD": 1, "Adam": 3, "NAdam": 4, "RMSprop": 4}[optimizer[0]]
    for what, change in IN_PLACE.items():
        for part in range(-1, parts):
            yield attack(f"{what}, part {part}", in_place(part, change))
    for what, make in INSTEAD.items():
        for part in range(parts):
            yield attack(f"{what} in the state, part {part}", _replace(place, part, make))
    for what, make_gradient in {**GRADIENTS, **OVERLAPS}.items():
        yield attack(f"its gradient is {what}", _gradient(place, make_gradient))
    yield attack("its gradient's data = float64", _gradient_data)
    for own in ({"state_dtype": "int8"}, {"state_dtype": "bfloat16"}, {"rounding": "kahan"}):
        for what in (
            "storage freed and refilled",
            "data = copy",
            "data = float64",
            "share_memory_",
        ):
            for part in range(parts + 1):
                yield attack(f"{what}, part {part}", in_place(part, IN_PLACE[what]), **own)
        for what in ("float64", "too short", "empty", "expanded", "with gaps"):
            for part in range(parts + 1):
                yield attack(f"{what}, part {part}", _replace(place, part, INSTEAD[what]), **own)


def main() -> None:
    """Run those that the command line names."""
    first, step, kind = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    torch.set_num_threads(1)
    if "python" in kind:
        audit._proved = lambda: None  # type: ignore[assignment]
    warnings.simplefilter("ignore")
    chosen = list(enumerate(attacks("long" in kind)))
    for number, attack in chosen[first::step]:
        print(f"start {number} {attack.name}", flush=True)
        print(f"end {run(attack)}", flush=True)
    print("done", flush=True)


if __name__ == "__main__":
    main()
