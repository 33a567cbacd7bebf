"""A kernel's source compiled by numba. Importing this module imports numba, which takes long."""

from __future__ import annotations

import re
from typing import Any

import llvmlite.binding as llvm
from numba.core import codegen, config

from . import native


def build(source: str, file: str) -> tuple[native.Kernel, bytes | None]:
    """Compile.

    Args:
        source: a module that defines `kernel`, as `lift.source` writes it.
        file: where it can be read, for messages.

    Returns:
        The kernel, and its object code if that can be kept for other processes.
    """
    scope: dict[str, Any] = {"__name__": "thalweg_kernel"}
    exec(compile(source, file, "exec"), scope)
    compiled = scope["kernel"]
    module = llvm.parse_assembly(compiled.inspect_llvm())
    _without_errors(module)
    if not native.linkable(_called(module)):
        # numba knows more libraries than the C library, Intel's vector functions for one.
        return native.kernel(compiled.address, compiled), None
    module.get_function(compiled.native_name).name = native.ENTRY
    code = _target().emit_object(module)
    return native.link(code), code


def _without_errors(module: Any) -> None:
    """Remove what would raise: numba leaves it in where a kernel calls a function, but none does.

    It would call Python, which code that is kept must not.
    """
    passes = llvm.create_new_module_pass_manager()
    passes.add_ipsccp_pass()
    passes.add_simplify_cfg_pass()
    passes.add_strip_dead_prototype_pass()
    passes.run(module, llvm.create_pass_builder(_target(), llvm.create_pipeline_tuning_options()))


def _called(module: Any) -> set[str]:
    """The library functions that the module's code calls, by name or through intrinsics."""
    # What becomes instructions, as sums over vectors do, needs no library.
    free = {"fabs", "fma", "fmuladd", "copysign", "minnum", "maxnum", "select"}
    free |= {"smin", "smax", "umin", "umax", "uadd", "usub", "is", "vector", "masked"}
    named = (f.name for f in module.functions if f.is_declaration)
    plain = {re.sub(r"^llvm\.([a-z]+)\..*", r"\1", name) for name in named}
    return plain - free


def _target() -> Any:
    """The machine that numba optimized for, which its settings may hold below this one."""
    settings: Any = config
    cpu = settings.CPU_NAME or llvm.get_host_cpu_name()
    features = settings.CPU_FEATURES
    if features is None:
        features = codegen.get_host_cpu_features()
    host = llvm.Target.from_default_triple()
    reloc = "static" if host.name.startswith("x86") else "default"  # as numba does
    return host.create_target_machine(cpu=cpu, features=features, opt=3, reloc=reloc, jit=True)
