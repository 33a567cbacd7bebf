"""Recurrent layers as plain operations, which `torch.func.vmap` can run over lanes.

torch has no batching rule for its own. The functions here take the arguments of `torch.lstm`,
`torch.gru`, `torch.rnn_tanh`, `torch.rnn_relu` and of their cells, and give the same numbers up to
rounding. A state is held as (features, batch): the gates are then contiguous blocks of rows, and
the gradient of a weight comes out in the weight's own layout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import UsageError

State = tuple[Tensor, ...]  # h, and for an LSTM c, as (features, batch)


class _Weights(NamedTuple):
    """The weights of one direction of one layer, under the names that torch gives them."""

    ih: Tensor  # (gates × hidden, inputs)
    hh: Tensor  # (gates × hidden, outputs)
    bias_ih: Tensor | None = None
    bias_hh: Tensor | None = None
    hr: Tensor | None = None  # an LSTM's projection (outputs, hidden)


_Step = Callable[[Tensor, State, _Weights], State]


def _lstm_step(projected: Tensor, state: State, weights: _Weights) -> State:
    h, c = state
    i, f, g, o = (projected + weights.hh @ h).chunk(4)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    h = o.sigmoid() * c.tanh()
    return (h if weights.hr is None else weights.hr @ h), c


def _gru_step(projected: Tensor, state: State, weights: _Weights) -> State:
    (h,) = state
    recurrent = weights.hh @ h
    if weights.bias_hh is not None:
        recurrent = recurrent + weights.bias_hh[:, None]
    gates = 2 * len(h)
    r, z = (projected[:gates] + recurrent[:gates]).sigmoid().chunk(2)
    n = (projected[gates:] + r * recurrent[gates:]).tanh()
    return (n + z * (h - n),)


def _tanh_step(projected: Tensor, state: State, weights: _Weights) -> State:
    return ((projected + weights.hh @ state[0]).tanh(),)


def _relu_step(projected: Tensor, state: State, weights: _Weights) -> State:
    return ((projected + weights.hh @ state[0]).relu(),)


def _project(x: Tensor, step: _Step, weights: _Weights) -> Tensor:
    """The part of the gates that does not depend on the state, of columns x (inputs, columns).

    The bias of the state joins it, but in a GRU, which multiplies that by a gate.
    """
    projected = weights.ih @ x
    bias = weights.bias_ih
    if bias is not None and weights.bias_hh is not None and step is not _gru_step:
        bias = bias + weights.bias_hh
    return projected if bias is None else projected + bias[:, None]


def _direction(
    x: Tensor, state: State, step: _Step, weights: _Weights, *, backwards: bool
) -> tuple[Tensor, State]:
    """One direction of one layer: outputs (time, batch, outputs) and the last state.

    Args:
        x: inputs (time, batch, inputs).
        state: the first one.
        step: of the kind of layer.
        weights: of the direction.
        backwards: from the last time to the first.
    """
    time, batch, inputs = x.shape
    columns = x.permute(2, 0, 1).reshape(inputs, time * batch)
    projected = _project(columns, step, weights).unflatten(1, (time, batch)).unbind(1)
    outputs = []
    for own in reversed(projected) if backwards else projected:
        state = step(own, state, weights)
        outputs.append(state[0])
    return torch.stack(outputs[::-1] if backwards else outputs).mT, state


def _layers(
    x: Tensor,
    first: Sequence[Tensor],
    step: _Step,
    weights: Iterator[_Weights],
    layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, list[Tensor]]:
    """All layers: outputs, and the last states (layers × directions, batch, features).

    Args:
        x: inputs (time, batch, inputs), or (batch, time, inputs) where `batch_first`.
        first: the states at the beginning, shaped like those at the end.
        step: of the kind of layer.
        weights: of every direction of every layer, in this order.
        layers: how many.
        dropout: the share of a layer's outputs that the next one does not get.
        train: whether there is dropout at all.
        bidirectional: whether every layer has a second direction, from the last time to the first.
        batch_first: the order of the first two dimensions of inputs and outputs.
    """
    x = x.transpose(0, 1) if batch_first else x
    states = zip(*(tensor.mT.unbind(0) for tensor in first), strict=True)
    last: list[State] = []
    for layer in range(layers):
        if layer and dropout:
            x = functional.dropout(x, dropout, train)
        outputs = []
        for backwards in (False, True) if bidirectional else (False,):
            output, state = _direction(x, next(states), step, next(weights), backwards=backwards)
            outputs.append(output)
            last.append(state)
        x = torch.cat(outputs, 2) if bidirectional else outputs[0]
    x = x.transpose(0, 1) if batch_first else x
    return x, [torch.stack(parts).mT for parts in zip(*last, strict=True)]


def _grouped(flat: Sequence[Tensor], biases: bool, projections: bool = False) -> Iterator[_Weights]:
    """The list of weights as torch's layers pass it, by layers and directions."""
    each = 2 + 2 * biases + projections
    for k in range(0, len(flat), each):
        own = list(flat[k : k + each])
        hr = own.pop() if projections else None
        bias_ih, bias_hh = own[2:] if biases else (None, None)
        yield _Weights(own[0], own[1], bias_ih, bias_hh, hr)


def lstm(
    input: Tensor,
    hx: Sequence[Tensor],
    params: Sequence[Tensor],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, ...]:
    """`torch.lstm`: outputs, last h and last c."""
    if not isinstance(has_biases, bool):
        refuse_packed()
    weights = _grouped(params, has_biases, projections=hx[0].shape[2] != hx[1].shape[2])
    options = num_layers, dropout, train, bidirectional, batch_first
    output, last = _layers(input, hx, _lstm_step, weights, *options)
    return output, *last


def _layer_of(step: _Step) -> Callable[..., tuple[Tensor, ...]]:
    """A layer whose state is one tensor, with the arguments of `torch.gru`."""

    def layer(
        input: Tensor,
        hx: Tensor,
        params: Sequence[Tensor],
        has_biases: bool,
        num_layers: int,
        dropout: float,
        train: bool,
        bidirectional: bool,
        batch_first: bool,
    ) -> tuple[Tensor, ...]:
        if not isinstance(has_biases, bool):
            refuse_packed()
        options = num_layers, dropout, train, bidirectional, batch_first
        output, last = _layers(input, [hx], step, _grouped(params, has_biases), *options)
        return output, *last

    return layer


def _cell_of(step: _Step) -> Callable[..., Any]:
    """A cell with the arguments of `torch.lstm_cell`, or of `torch.gru_cell`: one state."""

    def cell(
        input: Tensor,
        hx: Tensor | Sequence[Tensor],
        w_ih: Tensor,
        w_hh: Tensor,
        b_ih: Tensor | None = None,
        b_hh: Tensor | None = None,
    ) -> Any:
        weights = _Weights(w_ih, w_hh, b_ih, b_hh)
        before = (hx,) if isinstance(hx, Tensor) else hx
        state = tuple(tensor.mT for tensor in before)
        state = step(_project(input.mT, step, weights), state, weights)
        after = tuple(tensor.mT for tensor in state)
        return after[0] if isinstance(hx, Tensor) else after

    return cell


def refuse_packed(*args: Any, **kwargs: Any) -> Any:
    """Refuse packed sequences, which torch's layers pass as data and sizes.

    Raises:
        UsageError: always.
    """
    raise UsageError(
        "packed sequences have no lanes: their lengths differ from run to run, and lanes compute "
        "each time step of all runs together; pad the sequences and mask the loss, or pick each "
        "sample's output at its length"
    )


FORMS: dict[Any, Callable[..., Any]] = {
    torch.lstm: lstm,
    torch.gru: _layer_of(_gru_step),
    torch.rnn_tanh: _layer_of(_tanh_step),
    torch.rnn_relu: _layer_of(_relu_step),
    torch.lstm_cell: _cell_of(_lstm_step),
    torch.gru_cell: _cell_of(_gru_step),
    torch.rnn_tanh_cell: _cell_of(_tanh_step),
    torch.rnn_relu_cell: _cell_of(_relu_step),
    torch._VF._pack_padded_sequence: refuse_packed,
}
"""What takes the place of torch's functions in lanes."""
