"""Kernels for GPUs that are not here: compiled to the machine code of several, and read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from oracles import FORMS
from thalweg.rules import Rule, clip_norm, find
from thalweg.tape import trace

triton = pytest.importorskip("triton")

from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from thalweg.engines.triton.build import _warn_once, build  # noqa: E402
from thalweg.engines.triton.launch import KERNELS, TILE  # noqa: E402
from thalweg.engines.triton.lift import source  # noqa: E402

A100 = GPUTarget("cuda", 80, 32)
H100 = GPUTarget("cuda", 90, 32)
MI300 = GPUTarget("hip", "gfx942", 64)

_INTEGERS = {"pointers", "chunks", "seed", "tensors", "moving", "every", "pieces"}
_SETTINGS = {"TILE": TILE, "ALIGNED": True}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


def compiled(kernel: Any, target: GPUTarget, warps: int = 4) -> dict[str, Any]:
    """The texts of a kernel for a target, as a launch on such a device would have it compiled."""
    settings = {k: v for k, v in _SETTINGS.items() if k in kernel.arg_names}
    signature = {
        name: "constexpr" if name in settings else "*i64" if name in _INTEGERS else "*fp64"
        for name in kernel.arg_names
    }
    source = ASTSource(kernel, signature, settings)
    options = {"num_warps": warps, "enable_fp_fusion": False}
    return triton.compile(source, target=target, options=options).asm


def entries(form: Rule, formats: str | list[str]) -> dict[str, Any]:
    """The kernels that are launched, of all functions of a source."""
    found = KERNELS.get(trace(form), formats)
    launched = r"prologue|step|(measure|finish|model_totals)_\d+"
    return {name: found[name] for name in found if re.fullmatch(launched, name)}


def wide(text: str, action: str, bits: int = 128) -> int:
    """How many vector instructions of PTX move so many bits from or to global memory."""
    kinds = re.findall(rf"{action}\.global(?:\.\w+)*?\.v(\d)\.b(\d+)", text)
    return sum(int(count) * int(size) == bits for count, size in kinds)


@pytest.mark.parametrize("form", FORMS, ids=lambda r: r.name)
def test_every_rule_moves_16_bytes_at_a_time(form: Rule) -> None:
    """In float32 on compute capability 9.0: each array of the loop over whole tiles."""
    program = trace(form)
    step = compiled(entries(form, "float32")["step"], H100)["ptx"]
    assert wide(step, "ld") >= len(program.reads)
    assert wide(step, "st") >= len(program.outputs)
    assert "div.full" not in step, "division is correctly rounded"
    assert "sqrt.approx" not in step


@pytest.mark.parametrize("target", [A100, H100, MI300], ids=lambda t: str(t.arch))
@pytest.mark.parametrize("name", ["adam", "nadam", "adamp", "lamb", "clip"])
def test_kernels_of_every_kind_compile_for_every_target(name: str, target: GPUTarget) -> None:
    form = clip_norm(find("sgd")) if name == "clip" else find(name)
    for kernel_name, kernel in entries(form, "float32").items():
        found = compiled(kernel, target, 1 if kernel_name == "prologue" else 4)
        assert found["cubin" if target.backend == "cuda" else "hsaco"]
        if kernel_name == "step" and target is MI300:
            assert found["amdgcn"].count("global_load_dwordx4") >= len(trace(form).reads)


@pytest.mark.parametrize("target", [H100, MI300], ids=lambda t: str(t.arch))
@pytest.mark.parametrize(
    "formats",
    [
        "float16",
        "bfloat16",
        "float64",
        ["bfloat16+", "bfloat16", "bfloat16~", "bfloat16~"],
        ["float32", "float32", "int8", "int8"],
        ["bfloat16~", "float64", "int8", "float32"],
    ],
    ids=str,
)
def test_every_format_compiles(formats: str | list[str], target: GPUTarget) -> None:
    step = compiled(entries(find("adam"), formats)["step"], target)
    if target is H100 and "int8" not in formats:
        assert wide(step["ptx"], "ld") >= 4
        assert wide(step["ptx"], "st") >= 3
    elif target is H100:  # a row of 256 codes to each warp: 8 codes per thread
        assert wide(step["ptx"], "ld", 64) + wide(step["ptx"], "ld") >= 3


def test_a_folder_that_others_can_write_to_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o777)
    monkeypatch.setenv("THALWEG_CACHE", str(tmp_path))
    _warn_once.cache_clear()
    with pytest.warns(RuntimeWarning, match="no sources of its GPU kernels: others may write"):
        found = build("adam", source(trace(find("adam")), "float32"))
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "triton"))
    assert not list(tmp_path.glob("*.py"))
    assert compiled(found["step"], H100)["cubin"], "Triton reads the text from memory"
