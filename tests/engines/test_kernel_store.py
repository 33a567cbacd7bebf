"""Kernels kept on disk: compiled once, never run when damaged, no step lost to a bad folder."""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from oracles import TOLERANCE, Compiled, assert_agree, formula, problem
from thalweg.engines.numba import build, native, store
from thalweg.engines.numba.launch import KERNELS
from thalweg.engines.numba.lift import source
from thalweg.optim.stepping.batches import arrangement
from thalweg.rules import Rule, find, registry, rule
from thalweg.tape import trace


@rule
def tried(theta, g, m, t, *, lr=0.125):
    m = m - g
    return theta + lr * m, m


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache folder of the test's own, and no memory of kernels or warnings."""
    monkeypatch.setenv("THALWEG_CACHE", str(tmp_path / "kernels"))
    monkeypatch.setattr(KERNELS, "_kernels", {})
    monkeypatch.setattr(arrangement, "_arrangements", {})
    store._warn_once.cache_clear()
    yield tmp_path / "kernels"
    store._warn_once.cache_clear()


def steps_right(form: Rule = tried) -> None:
    theta, gradients = problem("float64")
    compiled = Compiled(form, "float64", [theta], [{}], [0])
    for g in gradients:
        compiled.step([g])
    assert_agree(compiled.result(), formula(form, theta, gradients, {}), TOLERANCE["float64"])


def new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KERNELS, "_kernels", {})
    monkeypatch.setattr(arrangement, "_arrangements", {})


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sources that numba has compiled in this test."""
    seen: list[str] = []
    compile_ = build.build

    def counted(source: str, file: str) -> Any:
        seen.append(file)
        return compile_(source, file)

    monkeypatch.setattr(build, "build", counted)
    return seen


def test_a_kernel_is_compiled_once_for_all_processes(
    place: Path, monkeypatch: pytest.MonkeyPatch, compilations: list[str]
) -> None:
    for _ in range(3):
        new_process(monkeypatch)
        steps_right()
    assert len(compilations) == 1
    assert sorted(p.suffix for p in place.iterdir()) == [".o", ".py"]
    assert place.stat().st_mode & 0o077 == 0
    assert compilations[0] == str(next(place.glob("*.py")))
    assert next(place.glob("*.py")).read_text() == source(trace(tried), "float64")


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(bytes(content))


def _zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def _empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [_truncate, _flip, _zero, _empty])
def test_damaged_machine_code_is_never_run(
    damage: Callable[[Path], None],
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    compilations: list[str],
) -> None:
    steps_right()
    damage(next(place.glob("*.o")))
    new_process(monkeypatch)
    with pytest.warns(RuntimeWarning, match=r"compiles .*tried-float64-.*\.o anew: damaged"):
        steps_right()
    new_process(monkeypatch)
    steps_right()
    assert len(compilations) == 2


@rule
def other(theta, g, m, t, *, lr=0.125):
    m = m + 2 * g
    return theta + lr * m, m


def test_the_machine_code_of_another_kernel_is_never_run(
    place: Path, monkeypatch: pytest.MonkeyPatch, compilations: list[str]
) -> None:
    for form in (tried, other):
        steps_right(form)
    (right,), (wrong,) = place.glob("tried-*.o"), place.glob("other-*.o")
    right.write_bytes(wrong.read_bytes())
    new_process(monkeypatch)
    with pytest.warns(RuntimeWarning, match=r"compiles .*tried.*\.o anew: damaged"):
        steps_right(tried)
    assert len(compilations) == 3


def test_a_damaged_source_is_restored_and_never_run(
    place: Path, monkeypatch: pytest.MonkeyPatch, compilations: list[str]
) -> None:
    steps_right()
    path = next(place.glob("*.py"))
    right = path.read_text()
    path.write_text("raise SystemExit('run')")
    new_process(monkeypatch)
    steps_right()
    assert path.read_text() == right
    assert len(compilations) == 1


def test_other_tools_or_settings_mean_another_kernel(
    place: Path, monkeypatch: pytest.MonkeyPatch, compilations: list[str]
) -> None:
    steps_right()
    for change in (
        lambda: monkeypatch.setattr(native, "machine", lambda: "another processor"),
        lambda: monkeypatch.setattr(store, "version", lambda _: "99"),
        lambda: monkeypatch.setenv("NUMBA_OPT", "2"),
    ):
        change()
        store._fingerprint.cache_clear()
        new_process(monkeypatch)
        steps_right()
    monkeypatch.undo()
    store._fingerprint.cache_clear()
    assert len(compilations) == 4
    assert len([*place.glob("*.o")]) == 4


def _below_a_file(place: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    place.write_text("a file")
    monkeypatch.setenv("THALWEG_CACHE", str(place / "kernels"))
    return "Not a directory"


def _open_to_all(place: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    place.mkdir()
    place.chmod(0o777)
    return "others may write"


def _open_to_the_group(place: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    place.mkdir()
    place.chmod(0o770)
    return "others may write"


def _somebody_elses(place: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    place.mkdir()
    if os.getuid() == 0:
        os.chown(place, 12345, 12345)
    else:
        mine = os.getuid()
        monkeypatch.setattr(os, "getuid", lambda: mine + 1)
    return "belongs to another user"


def _read_only(place: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "write_bytes", refuse)
    return "Read-only file system"


def _full(place: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    return "No space left"


def _homeless(place: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    def refuse() -> None:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("THALWEG_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", refuse)
    return "home directory"


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="permissions of another kind")
@pytest.mark.parametrize(
    "spoil",
    [
        _below_a_file,
        _open_to_all,
        _open_to_the_group,
        _somebody_elses,
        _read_only,
        _full,
        _homeless,
    ],
)
def test_a_folder_that_cannot_be_used_costs_one_warning(
    spoil: Callable[[Path, pytest.MonkeyPatch], str],
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    compilations: list[str],
) -> None:
    trouble = spoil(place, monkeypatch)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        steps_right()
        steps_right(find("sgd"))
        new_process(monkeypatch)
        steps_right()
    (one,) = caught
    assert one.category is RuntimeWarning
    assert "compiles its kernels anew in every process" in str(one.message)
    assert trouble in str(one.message)
    assert "Set THALWEG_CACHE" in str(one.message)
    assert len(compilations) == 3
    assert place.is_file() or not place.exists() or not [*place.iterdir()]


def test_a_kept_kernel_in_a_read_only_folder_serves_without_a_word(
    place: Path, monkeypatch: pytest.MonkeyPatch, compilations: list[str]
) -> None:
    steps_right()
    _read_only(place, monkeypatch)
    new_process(monkeypatch)
    steps_right()
    assert len(compilations) == 1


def test_a_kept_kernel_in_an_open_folder_is_not_trusted(
    place: Path, monkeypatch: pytest.MonkeyPatch, compilations: list[str]
) -> None:
    steps_right()
    place.chmod(0o777)
    new_process(monkeypatch)
    with pytest.warns(RuntimeWarning, match="others may write"):
        steps_right()
    assert len(compilations) == 2


def test_where_kernels_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("THALWEG_CACHE", "~/own")
    assert store.folder() == tmp_path / "own"
    monkeypatch.setenv("THALWEG_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert store.folder() == tmp_path / "x" / "thalweg"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/paths/do/not/count")
    assert store.folder() == tmp_path / ".cache" / "thalweg"


def test_a_name_is_never_a_path(place: Path) -> None:
    own = rule(tried.formula)
    object.__setattr__(own, "name", "../../" + "β/long name " * 40)
    steps_right(own)
    assert len([*place.glob("*.o")]) == 1
    assert all(p.parent == place and len(p.name) < 100 for p in place.iterdir())


def test_where_numba_refuses_the_eager_engine_steps_in(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from thalweg.engines import registry
    from thalweg.optim import from_rule

    def refuse(*_: object) -> None:
        raise NotImplementedError("no such machine")

    monkeypatch.setattr(build, "build", refuse)
    registry.warn_once.cache_clear()
    theta, gradients = problem("float64")
    p = torch.nn.Parameter(torch.from_numpy(theta.copy()))
    optimizer = from_rule(tried)([p])
    p.grad = torch.from_numpy(gradients[0])
    with pytest.warns(RuntimeWarning, match="no kernel for tried: NotImplementedError"):
        optimizer.step()
    for g in gradients[1:]:
        p.grad = torch.from_numpy(g)
        optimizer.step()
    expected = formula(tried, theta, gradients, {})["theta"]
    np.testing.assert_allclose(p.detach().numpy(), expected, rtol=1e-12)


def test_functions_no_c_library_has_keep_the_kernel_numbas_own(
    place: Path, monkeypatch: pytest.MonkeyPatch, compilations: list[str]
) -> None:
    """A missing function ends the process when LLVM links it: such code is never kept."""
    assert not native.linkable({"__svml_expf16"})
    monkeypatch.setattr(native, "linkable", lambda names: False)
    for _ in range(2):
        new_process(monkeypatch)
        steps_right()
    assert len(compilations) == 2
    assert not [*place.glob("*.o")]


@pytest.mark.parametrize("name", registry())
def test_machine_code_of_every_rule_is_kept_whatever_its_state_is_kept_in(name: str) -> None:
    program = trace(find(name))
    for state in ("float32", "int8"):
        formats = ["float32", "float32", *[state] * (len(program.arrays) - 2)]
        KERNELS.get(program, formats)
        kept = f"*-{store._fingerprint(source(program, formats))}.o"
        assert [*store.folder().glob(kept)], f"with a state in {state} it is compiled every time"
