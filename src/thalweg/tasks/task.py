"""What a task is: a model, its data, a loss, and the metric a run is judged by."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..inits import AUTO, GIVEN
from ..orders import SHUFFLED
from . import calling, description, initial_weights, losses, pairs
from .fingerprint import code_texts
from .initial_weights import Weights
from .losses import own_loss
from .metric import Criterion, Metric
from .order import Order, check_order
from .pairs import Pair
from .prepare import is_classes, parts
from .sources import Samples, read
from .trees import Tree, count, in_order_of, named_leaves, tensors, without_objects
from .user_errors import describe_error

_BATCH = 32

Step = Callable[[nn.Module, Pair], Tensor]


@dataclass(frozen=True, eq=False, repr=False)
class Task:
    """A model to train, the data to train it on, and how a run is judged.

    Data may be a pair (inputs, targets) of tensors, arrays or frames, inputs alone in a tensor or
    array, a torch `Dataset` or `DataLoader`, a frame of pandas or polars, the path of a CSV or
    Parquet file or of a folder of images, or a pair of paths of IDX files. Several inputs are a
    dict, which the model gets by keyword, or a tuple, which it gets by position. Once the task is
    made, it holds pairs of tensors; inputs alone are their own targets.

    Attributes:
        name: the name of the task; a built-in one is found again by it.
        model: builds a model from torch's global generator, which the caller seeds; picklable if
            runs are to be spread over processes. Or a model, of which every run gets a copy.
        train: inputs (N, …) and targets (N, …) that gradients are taken on.
        validation: those that hyperparameters are chosen on; split off `train` if None.
        test: those that the chosen ones are reported on; split off `train` if None.
        loss: the name of a loss, or (outputs, targets) to the scalar mean over the batch, working
            under `torch.func.vmap`; "model" for a model that computes it, given `labels`; by
            default cross-entropy for classes and the mean squared error for numbers.
        metric: what a run is judged by: a name, a `Metric`, or (outputs, targets) to a scalar;
            by default accuracy for classes, R² for numbers, and else the loss.
        batch_size: samples in a mini-batch; by default 32, or all where there are fewer.
        epochs: passes over the training data; enough for a well-tuned run to level off.
        title: one line that says what is trained on what.
        floor: the lowest training loss possible, where it is known.
        step: takes the model and a batch (inputs, targets) and returns the loss, for what
            loss(model(inputs), targets) does not fit.
        target: the column or the entry with the targets, where the data has columns or is a dict.
        metrics: several: the first is `metric`, the others are measured beside it and decide
            nothing; None where there is one, which may be written here too.
        order: of the training samples in an epoch: "shuffled", "replacement" (each drawn anew),
            "sequential", a torch `Sampler`, or a function of the epoch's number, from 0, and a
            `numpy.random.Generator` to the sample numbers, as many as there are samples.
        drop_last: leave out the last mini-batch of an epoch where it is smaller than the others.
        init: what the runs of a model start from: its own weights ("given"), or others for every
            seed ("fresh", by the layers' `reset_parameters`; frozen parameters stay). By default
            ("auto") its own where it has frozen parameters or looks trained. Of a function that
            builds a model, "fresh" draws anew what it loads.
        notes: what was decided about the data, for a person to read.

    Raises:
        UsageError: something of the above cannot work; the message names it and the fix.
    """

    name: str = "task"
    model: Any = None
    train: Any = None
    validation: Any = None
    test: Any = None
    loss: Any = None
    metric: Any = None
    batch_size: int = None  # type: ignore[assignment]
    epochs: int = 20
    title: str = ""
    floor: float | None = None
    step: Step | None = None
    target: str | None = None
    metrics: Any = None
    order: Order = SHUFFLED
    drop_last: bool = False
    init: str = AUTO
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.name:
            raise UsageError(f"name={self.name!r}: give the task a name, as 'my-task'")
        if self.train is None:
            raise UsageError(
                f"task {self.name!r}: give it data to train on: train=(inputs, targets)"
            )
        self._check_functions()
        object.__setattr__(self, "model", initial_weights.builder(self.name, self.model, self.init))
        check_order(self.name, self.order)
        train = read(self.train, self.target, f"task {self.name!r}: train")
        if train.targets is None:
            self._own_targets()
        kind = self._choose_loss(train)
        self._choose_metric(kind)
        given = {"train": train, "validation": self.validation, "test": self.test}
        if not all(map(pairs.is_pair_of_tensors, (self.train, self.validation, self.test))):
            found, notes = parts(
                self.name, given, self.target, kind=kind, tokens=self._takes_tokens()
            )
            for part, pair in found.items():
                object.__setattr__(self, part, pair)
            object.__setattr__(self, "notes", (*self.notes, *notes))
        for part in ("train", "validation", "test"):
            object.__setattr__(self, part, in_order_of(getattr(self, part), self.train))
            pairs.check_pair(self.name, part, getattr(self, part), like=self.train)
        if self.batch_size is None:
            object.__setattr__(self, "batch_size", min(_BATCH, self.samples))
        if not (_whole(self.batch_size) and 1 <= self.batch_size <= self.samples):
            raise UsageError(
                f"task {self.name!r}: batch_size={self.batch_size!r} must be a whole number from "
                f"1 to {self.samples}, the number of training samples"
            )
        if not (_whole(self.epochs) and self.epochs >= 1):
            raise UsageError(
                f"task {self.name!r}: epochs={self.epochs!r} must be a whole number >= 1"
            )
        if self.floor is not None and not math.isfinite(self.floor):
            raise UsageError(
                f"task {self.name!r}: floor={self.floor} must be finite; None where unknown"
            )

    def _own_targets(self) -> None:
        """Take inputs alone as their own targets, where a loss or a step says that it is meant."""
        if self.loss is None and self.step is None:
            raise UsageError(
                f"task {self.name!r}: train has inputs and no targets; give train=(inputs, "
                "targets), or for a task without targets a loss of (outputs, inputs), as "
                'loss="mse" of an autoencoder'
            )
        self._note("train has no targets: the loss and the metrics compare outputs with inputs")

    def _choose_loss(self, train: Samples) -> str | None:
        """Put functions in the place of names; what the loss wants targets to be."""
        targets = train.inputs if train.targets is None else train.targets
        given = self.loss
        # Labels among the inputs of a model that takes them may be shifted or masked by it.
        own = train.inside and calling.takes(self._build(), calling.LABELS)
        if own and given is None and self.step is None:
            given = losses.MODEL
            self._note(
                f"loss: the model's own, because {train.target!r} is among the inputs and the "
                f"model takes {calling.LABELS}"
            )
        if given == losses.MODEL:
            if self.step is not None:
                raise UsageError(
                    f"task {self.name!r}: loss={losses.MODEL!r} and step are both given"
                )
            object.__setattr__(self, "step", calling.ModelLoss())
            object.__setattr__(self, "loss", losses.mean_output)
            return ("classes" if is_classes(targets) else "numbers") if targets.ndim == 1 else None
        if self.step is not None and given is None:
            given = losses.mean_output
        if given is None and not isinstance(targets, Tensor | np.ndarray):
            raise UsageError(
                f"task {self.name!r}: targets are several; give a loss of (outputs, targets), or a "
                "step"
            )
        given = given or ("cross_entropy" if is_classes(targets) else "mse")
        function, kind = losses.loss(self.name, given)
        object.__setattr__(self, "loss", function)
        return None if self.step is not None else kind

    def _note(self, note: str) -> None:
        """Add to what was decided, unless it is there."""
        if note not in self.notes:
            object.__setattr__(self, "notes", (*self.notes, note))

    def _choose_metric(self, kind: str | None) -> None:
        metrics, notes = losses.metrics(self.name, self.metric, self.metrics, kind)
        object.__setattr__(self, "metric", metrics[0])
        object.__setattr__(self, "metrics", metrics if len(metrics) > 1 else None)
        object.__setattr__(self, "notes", (*self.notes, *notes))

    def _takes_tokens(self) -> bool:
        """Whether the model looks whole numbers up in a table."""
        return any(isinstance(m, nn.Embedding | nn.EmbeddingBag) for m in self._build().modules())

    @property
    def samples(self) -> int:
        """The number of training samples."""
        return count(self.train[0])

    def objective(self, model: nn.Module, x: Tree, y: Tree) -> Tensor:
        """The loss of a model on a batch, with gradients if they are on."""
        process = os.getpid()
        if self.step is None:
            loss = self.judged(self.loss, calling.call(model, x), y)
        else:
            loss = self.step(model, (x, y))
        _end_copies(process)
        return loss

    def outputs(self, model: nn.Module, x: Tree) -> Any:
        """What the loss and the metrics compare with targets: a model's outputs, or its scores."""
        process = os.getpid()
        found = calling.call(model, x)
        _end_copies(process)
        functions = [self.loss, *(metric.function for metric in self.measured)]
        if all(map(losses.is_named, functions)):
            return calling.scores(found)
        if not tensors(found):
            raise UsageError(
                f"task {self.name!r}: the model returns {type(found).__name__}, in which no tensor "
                "is found; return a tensor, or some in a tuple, dict or dataclass"
            )
        return found if isinstance(found, Tensor) else without_objects(found)

    def judged(self, function: Criterion, outputs: Any, y: Tree) -> Tensor:
        """What a loss or metric says of outputs; one known by name gets the scores among them."""
        return function(calling.scores(outputs) if losses.is_named(function) else outputs, y)

    @property
    def measured(self) -> tuple[Metric, ...]:
        """All metrics, the one that a run is judged by first."""
        return self.metrics or (self.metric,)

    @property
    def also(self) -> tuple[Metric, ...]:
        """The metrics that are measured and decide nothing."""
        return self.measured[1:]

    @property
    def judged_by_loss(self) -> bool:
        """Whether the loss itself is all that is measured, so that no outputs are needed."""
        return all(metric.function is own_loss for metric in self.measured)

    def _check_functions(self) -> None:
        if not callable(self.model):
            raise UsageError(
                f"task {self.name!r}: model must be a function that builds a new model, because "
                f"every run starts from its own; got {type(self.model).__name__}. Give the class, "
                "a function such as `def model(): return Net()`, or a model, which is copied"
            )
        if self.step is not None and not callable(self.step):
            raise UsageError(
                f"task {self.name!r}: step={self.step!r} is no function; give one that takes "
                "(model, batch) and returns the loss"
            )

    def parameters(self) -> int:
        """Number of trainable parameters.

        Raises:
            UsageError: the model has none, or `model` does not build one.
        """
        count = sum(p.numel() for p in self._build().parameters() if p.requires_grad)
        if not count:
            raise UsageError(f"task {self.name!r}: the model has no trainable parameter")
        return count

    @cached_property
    def weights(self) -> Weights:
        """What the runs start from, by the names of parameters: given, drawn anew, or frozen.

        Raises:
            UsageError: init is "given", and the model is built with other weights for every seed.
        """
        found = initial_weights.compared(self._build(0), self._build(1))
        if self.init == GIVEN and found.drawn:
            raise UsageError(
                f"task {self.name!r}: init='given', but model() builds other weights for every "
                f"seed, as {found.drawn[0]}; load them there, give the model itself, or leave init "
                "out"
            )
        return found

    @property
    def remarks(self) -> list[str]:
        """What a person should know before a race, beginning with the weights."""
        unusual = not self.weights.usual or isinstance(self.model, initial_weights.ModelBuilder)
        first = [self.weights.note(self.model, self.order)] if unusual else []
        return [*first, *self.notes]

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 of what is trained: name, data, architecture, loss and metric.

        The same on every run of the program; different as soon as a value of the data is, or a
        layer, or the code of model, loss, metric or step, or anything of the person's own that
        this code uses; or the weights that a model is built with, as those read from a file,
        unless they are others at every call.
        """
        model, again = self._build(), self._build()
        state = [[k, [*v.shape], str(v.dtype)] for k, v in model.state_dict().items()]
        kinds = list(dict.fromkeys(type(m) for m in model.modules()))
        functions = [metric.function for metric in self.measured]
        written = code_texts(self.model, *kinds, self.loss, self.step, *functions)
        judged = [part for m in self.measured for part in (m.name, m.higher_is_better)]
        known = [self.name, repr(model), state, judged, written]
        if self.order != SHUFFLED:
            known.append(self.order if isinstance(self.order, str) else code_texts(self.order))
        digest = hashlib.sha256(json.dumps(known).encode())
        pairs = zip(model.state_dict().values(), again.state_dict().values(), strict=False)
        weights = [one for one, other in pairs if torch.equal(one, other)]
        everything = (self.train, self.validation, self.test)
        if any(not isinstance(tree, Tensor) for pair in everything for tree in pair):
            places = [[name for name, _ in named_leaves(tree, "")] for tree in self.train]
            digest.update(json.dumps(places).encode())
        for tensor in (*tensors(everything), *weights):
            data = tensor.detach().cpu().contiguous()
            digest.update(json.dumps([[*data.shape], str(data.dtype)]).encode())
            digest.update(data.flatten().view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def _build(self, seed: int = 0) -> nn.Module:
        """A model to look at, built without moving the caller's random numbers."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            try:
                model = self.model()
            except UsageError:
                raise
            except Exception as error:
                raise UsageError(
                    f"task {self.name!r}: the model cannot be built: "
                    f"{describe_error(error, self.model)}"
                ) from error
        if not isinstance(model, nn.Module):
            raise UsageError(
                f"task {self.name!r}: model() must return a torch.nn.Module, "
                f"not {type(model).__name__}"
            )
        initial_weights.check_shapes(self.name, model)
        return model

    def describe(self) -> str:
        """The task in a few lines: model, data, loss, metric, batches, fingerprint."""
        return description.text(self)

    def __repr__(self) -> str:
        sizes = "/".join(str(count(part[0])) for part in (self.train, self.validation, self.test))
        return (
            f"<Task {self.name!r}: {sizes} train/validation/test samples, "
            f"batches of {self.batch_size}, {self.epochs} epochs>"
        )

    def _repr_html_(self) -> str:
        return description.table(self)


def _end_copies(process: int) -> None:
    """End this process if a model forked it off: two would write the same records."""
    if os.getpid() != process:
        os._exit(1)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
