"""Sparse gradients: stepped by rows where torch does so, refused elsewhere."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import comparisons
import thalweg.optim as ours
from optim_cases import ENGINES, TOLERANCE, Case, away_from_zero, parameters
from thalweg import rules
from thalweg.errors import UsageError
from thalweg.optim.stepping.batches.sparse import steps_by_rows

every_engine = pytest.mark.parametrize("engine", ENGINES)

CASES = [
    Case("SGD", {"lr": 0.1}),
    Case("SGD", {"lr": 0.1, "maximize": True}),
    Case("Adagrad", {"lr": 0.1}),
    Case("Adagrad", {"lr": 0.1, "lr_decay": 0.2, "initial_accumulator_value": 0.3, "eps": 1e-3}),
    Case("Adagrad", {"lr": torch.tensor(0.125, dtype=torch.float64), "maximize": True}),
    Case("SparseAdam", {}),
    Case("SparseAdam", {"lr": 0.1, "betas": (0.5, 0.7), "eps": 1e-3}),
    Case("SparseAdam", {"lr": torch.tensor(0.125, dtype=torch.float64), "maximize": True}),
]
# Momentum moves rows that no gradient names: these gradients stand for dense ones.
MOVING = [
    Case("SGD", {"lr": 0.1, "momentum": 0.9}),
    Case("SGD", {"lr": 0.1, "momentum": 0.8, "dampening": 0.3, "maximize": True}),
    Case("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    Case("SGD", {"lr": torch.tensor(0.125), "momentum": 0.5, "nesterov": True, "maximize": True}),
]
cases = pytest.mark.parametrize("case", [*CASES, *MOVING], ids=str)

# torch says once in a process that it makes sparse tensors unchecked, its own classes as well.
pytestmark = pytest.mark.filterwarnings("ignore:Sparse invariant checks are implicitly disabled")


def sparse(
    shape: Sequence[int], rows: Sequence[int], random: torch.Generator, dtype: torch.dtype
) -> Tensor:
    """A gradient that names these rows; the same row may come several times."""
    values = away_from_zero((len(rows), *shape[1:]), dtype, random)
    with torch.sparse.check_sparse_tensor_invariants():
        return torch.sparse_coo_tensor(torch.tensor([list(rows)]).long(), values, tuple(shape))


def assert_alike(theirs: torch.optim.Optimizer, mine: torch.optim.Optimizer) -> None:
    """Parameters and states of both: the same keys and close values."""
    for p, q in zip(parameters(theirs), parameters(mine), strict=True):
        tolerance = TOLERANCE[p.real.dtype]
        torch.testing.assert_close(q, p, rtol=tolerance, atol=tolerance)
        expected, got = theirs.state.get(p, {}), mine.state.get(q, {})
        assert got.keys() == expected.keys()
        for key, value in expected.items():
            if key == "step":  # torch counts in an int or in a tensor
                assert float(got[key]) == float(value)
            else:
                value = value.to_dense() if value.is_sparse else value  # a momentum of torch
                torch.testing.assert_close(got[key], value, rtol=tolerance, atol=tolerance)
    comparisons.count(theirs)


def pair(case: Case, dtype: torch.dtype, engine: str) -> tuple[Any, Any]:
    return tuple(
        make(
            [
                away_from_zero(shape, dtype, torch.Generator().manual_seed(3)).requires_grad_()
                for shape in ((7, 3), (5,))
            ]
        )
        for make in (case.theirs, lambda params: case.ours(params, engine))
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@every_engine
@cases
def test_steps_are_torch_s(case: Case, engine: str, dtype: torch.dtype) -> None:
    """With rows named twice, in any order, all of them, and none."""
    theirs, mine = pair(case, dtype, engine)
    random = torch.Generator().manual_seed(0)
    patterns = [[2, 0], [4, 4, 1], [], [3, 0, 1, 2, 4], [1], [0, 1, 0, 1, 0], [4, 2], [3]] * 3
    for rows in patterns:
        for p, q in zip(parameters(theirs), parameters(mine), strict=True):
            p.grad = sparse(p.shape, rows, random, dtype)
            q.grad = p.grad.clone()
        given = [(q.grad, q.grad.clone()) for q in parameters(mine)]
        theirs.step()
        mine.step()
        assert_alike(theirs, mine)
        for g, before in given:  # gradients are read and left alone
            assert g.is_coalesced() == before.is_coalesced()
            assert torch.equal(g.to_dense(), before.to_dense())


@cases
def test_gradients_that_name_single_elements(case: Case) -> None:
    theirs, mine = pair(case, torch.float64, "auto")
    for t in range(6):
        for optimizer in (theirs, mine):
            for p in parameters(optimizer):
                dense = torch.zeros_like(p).detach()
                dense.view(-1)[t % 5 :: 2] = 0.5 + t
                p.grad = dense.to_sparse()  # as many sparse dimensions as there are
                assert p.grad.sparse_dim() == p.dim()
        theirs.step()
        mine.step()
        assert_alike(theirs, mine)


@every_engine
@cases
def test_embeddings_are_trained(case: Case, engine: str) -> None:
    """Real embeddings, one of them idle at times; gradients accumulated over two batches."""
    nets, optimizers = [], []
    for make in (case.theirs, lambda params: case.ours(params, engine)):
        torch.manual_seed(0)
        nets.append(
            nn.ModuleList(
                [
                    nn.Embedding(20, 4, sparse=True),
                    nn.EmbeddingBag(9, 4, sparse=True, mode="sum"),
                ]
            ).double()
        )
        optimizers.append(make(nets[-1].parameters()))
    random = torch.Generator().manual_seed(5)
    for t in range(1, 13):
        batches = [torch.randint(0, 9, (6, 2), generator=random) for _ in range(2)]
        for net, optimizer in zip(nets, optimizers, strict=True):
            optimizer.zero_grad()
            for words in batches:
                out = net[0](words).sum(1)
                (out + net[1](words) if t % 3 else out).square().sum().backward()
            optimizer.step()
        assert_alike(*optimizers)


@every_engine
@pytest.mark.parametrize("name", ["SGD", "Adagrad"])
def test_sparse_and_dense_in_turns(name: str, engine: str) -> None:
    theirs, mine = pair(Case(name, {"lr": 0.1}), torch.float64, engine)
    random = torch.Generator().manual_seed(0)
    for t in range(9):
        for k, (p, q) in enumerate(zip(parameters(theirs), parameters(mine), strict=True)):
            g = sparse(p.shape, [1, 3], random, p.dtype)
            p.grad = g.to_dense() if (t // 2 + k) % 2 else g
            q.grad = p.grad.clone()
        theirs.step()
        mine.step()
        assert_alike(theirs, mine)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rows_without_gradient_stand_still(case: Case) -> None:
    """Also with momentum in SparseAdam, which Adam would go on to spend."""
    _, mine = pair(case, torch.float64, "auto")
    p, random = parameters(mine)[0], torch.Generator().manual_seed(0)
    p.grad = sparse(p.shape, range(7), random, p.dtype)
    mine.step()
    before = p.detach().clone()
    p.grad = sparse(p.shape, [2, 5], random, p.dtype)
    mine.step()
    moved = (p != before).all(1)
    assert moved.nonzero().flatten().tolist() == [2, 5]
    assert (p == before).any(1).sum() == 5


def steps(theirs: Any, mine: Any, count: int, layouts: str = "s") -> None:
    """Step both with sparse gradients, or in turns with dense ones, and compare."""
    random = torch.Generator().manual_seed(0)
    for t in range(count):
        for p, q in zip(parameters(theirs), parameters(mine), strict=True):
            g = sparse(p.shape, [t % 4, 3, 3], random, p.dtype)
            p.grad = g.to_dense() if layouts[t % len(layouts)] == "d" else g
            q.grad = p.grad.clone()
        theirs.step()
        mine.step()
        assert_alike(theirs, mine)


@pytest.mark.parametrize("options", [{"lr": 0.1}, {"lr": 0.1, "momentum": 0.9}], ids=str)
def test_complex_rows(options: dict[str, Any]) -> None:
    steps(*pair(Case("SGD", options), torch.complex128, "auto"), 3)


@every_engine
@pytest.mark.parametrize("case", MOVING, ids=str)
def test_momentum_of_sparse_gradients_is_that_of_dense_ones(case: Case, engine: str) -> None:
    """In turns with dense ones too, which torch does not always take: so it gets dense ones."""
    theirs, mine = pair(case, torch.float64, engine)
    random = torch.Generator().manual_seed(0)
    for t in range(12):
        for p, q in zip(parameters(theirs), parameters(mine), strict=True):
            q.grad = sparse(p.shape, [t % 4, 3, 3], random, p.dtype)
            p.grad = q.grad.to_dense()
            q.grad = p.grad.clone() if t % 5 == 3 else q.grad
        theirs.step()
        mine.step()
        assert_alike(theirs, mine)


@pytest.mark.parametrize("case", MOVING, ids=str)
def test_momentum_goes_to_torch_and_back(case: Case) -> None:
    """Ours is dense; with Nesterov, torch adds that to a dense gradient only."""
    theirs, mine = pair(case, torch.float64, "auto")
    steps(theirs, mine, 3)
    saved = [optimizer.state_dict() for optimizer in (theirs, mine)]
    theirs.load_state_dict(saved[1])
    mine.load_state_dict(saved[0])
    assert all(s["momentum_buffer"].is_sparse for s in saved[0]["state"].values())
    steps(theirs, mine, 3, layouts="d" if case.options.get("nesterov") else "s")


def test_half_precision_momentum_of_sparse_gradients() -> None:
    p = torch.zeros(3, dtype=torch.bfloat16, requires_grad=True)
    mine = ours.SGD([p], lr=0.5, momentum=0.5)
    for row in (1, 2):
        p.grad = torch.sparse_coo_tensor([[row]], torch.ones(1, dtype=p.dtype), (3,))
        mine.step()
    assert p.tolist() == [0, -0.75, -0.5]


def test_half_precision_rows_are_stepped_in_single() -> None:
    p = torch.ones(4, 2, dtype=torch.bfloat16, requires_grad=True)
    mine = ours.SparseAdam([p], lr=0.5)
    p.grad = torch.sparse_coo_tensor([[1]], torch.full((1, 2), 3.0, dtype=p.dtype), (4, 2))
    mine.step()
    assert p.tolist() == [[1, 1], [0.5, 0.5], [1, 1], [1, 1]]  # a first step is lr long


REFUSED = [
    *(
        (name, {})
        for name in (
            "ASGD",
            "Rprop",
            "Adadelta",
            "RMSprop",
            "Adam",
            "AdamW",
            "Adamax",
            "NAdam",
            "RAdam",
            "Lion",
        )
    ),
    ("SGD", {"weight_decay": 0.1}),
    ("SGD", {"momentum": 0.9, "weight_decay": 0.1}),
    ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1, "maximize": True}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.1, "convention": "keras"}),
    ("Adagrad", {"weight_decay": 0.1}),
]


@every_engine
@pytest.mark.parametrize(("name", "options"), REFUSED)
def test_rules_that_move_every_element_refuse(
    name: str, options: dict[str, Any], engine: str
) -> None:
    net = nn.Embedding(5, 2, sparse=True)
    bias = torch.ones(3, requires_grad=True)
    mine = getattr(ours, name)([bias, *net.parameters()], **options, engine=engine)
    before = net.weight.detach().clone()
    net(torch.tensor([1, 3])).sum().backward()
    bias.grad = torch.ones(3)
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"sparse=False.*SparseAdam"):
            mine.step()
    if hasattr(torch.optim, name) and "convention" not in options:  # torch refuses as well
        with pytest.raises((RuntimeError, NotImplementedError)):
            getattr(torch.optim, name)(net.parameters(), **options).step()
    assert torch.equal(net.weight, before)
    assert torch.equal(bias, torch.ones(3))


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr], ids=str)
def test_sparse_parameters_are_refused(layout: torch.layout) -> None:
    p = torch.eye(3).to_sparse(layout=layout).requires_grad_()
    p.grad = torch.eye(3).to_sparse(layout=layout)
    with pytest.raises(RuntimeError, match=f"layout {layout} are not supported"):
        ours.SGD([p]).step()


def test_the_compiled_engine_insisted_on_takes_no_sparse_gradient() -> None:
    p = torch.ones(3, requires_grad=True)
    mine = ours.SGD([p], engine="numba")
    p.grad = torch.ones(3).to_sparse()
    with pytest.raises(UsageError, match="gradient is sparse"):
        mine.step()


@pytest.mark.parametrize("name", rules.registry())
def test_which_rules_step_by_rows(name: str) -> None:
    """Those that a zero gradient leaves at rest, whatever the state: known by name here."""
    assert steps_by_rows(rules.find(name)) == (name in ("sgd", "adagrad"))
    assert not steps_by_rows(rules.coupled_weight_decay(rules.find(name)))
    assert not steps_by_rows(rules.clip_norm(rules.find(name)))


def test_any_rule_that_rests_without_gradient_takes_sparse_ones() -> None:
    signs = ours.from_rule(rules.maximize(rules.clip_value(rules.find("sgd"))), lr=1.0)
    p = torch.zeros(4, requires_grad=True)
    p.grad = torch.sparse_coo_tensor([[2, 2]], [0.25, 3.0], (4,))
    signs([p]).step()
    assert p.tolist() == [0, 0, 1, 0]


# -- SparseAdam ----------------------------------------------------------------------------------


def test_signature_is_torch_s_and_an_engine() -> None:
    mine = dict(inspect.signature(ours.SparseAdam).parameters)
    del mine["engine"]
    theirs = inspect.signature(torch.optim.SparseAdam).parameters
    assert [(p.name, p.kind, p.default) for p in mine.values()] == [
        (p.name, p.kind, p.default) for p in theirs.values()
    ]
    assert ours.SparseAdam([torch.zeros(2)]).defaults == (
        torch.optim.SparseAdam([torch.zeros(2)]).defaults
    )


def test_dense_gradients_are_refused() -> None:
    p = torch.ones(3, requires_grad=True)
    p.grad = torch.ones(3)
    for package in (torch.optim, ours):
        with pytest.raises(RuntimeError, match="SparseAdam does not support dense gradients"):
            package.SparseAdam([p]).step()
    assert torch.equal(p, torch.ones(3))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"lr": 0.0}, "Invalid learning rate"),
        ({"lr": -1.0}, "Invalid learning rate"),
        ({"eps": 0.0}, "Invalid epsilon value"),
        ({"betas": (1.0, 0.9)}, "Invalid beta parameter at index 0"),
        ({"betas": (0.9, 1.5)}, "Invalid beta parameter at index 1"),
        ({"lr": torch.tensor([0.1, 0.1])}, "Tensor lr must be 1-element"),
    ],
)
def test_options_that_torch_refuses(options: dict[str, Any], text: str) -> None:
    for package in (torch.optim, ours):
        with pytest.raises(ValueError, match=text):
            package.SparseAdam([torch.zeros(2)], **options)


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (lambda: torch.zeros(2).to_sparse(), r"Sparse params at indices \[.*1"),
        (lambda: torch.zeros(2, dtype=torch.complex64), r"Complex params at indices \[.*1"),
    ],
)
def test_parameters_that_torch_refuses(bad: Any, text: str) -> None:
    for package in (torch.optim, ours):
        with pytest.raises(ValueError, match=text):
            package.SparseAdam([torch.zeros(2), bad()])


def test_checkpoints_both_ways() -> None:
    theirs, mine = pair(Case("SparseAdam", {"lr": 0.1}), torch.float64, "auto")
    steps(theirs, mine, 3)
    saved = [optimizer.state_dict() for optimizer in (theirs, mine)]
    theirs.load_state_dict(saved[1])
    mine.load_state_dict(saved[0])
    steps(theirs, mine, 3)
