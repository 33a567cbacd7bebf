"""A module's text compiled by LLVM."""

from __future__ import annotations

import llvmlite.binding as llvm

from .. import native


def build(text: str) -> tuple[native.Kernel, bytes]:
    """The kernel of a module's text, and its object code, which other processes may keep."""
    native.prepare()
    module = llvm.parse_assembly(text)
    module.verify()
    target = llvm.Target.from_default_triple().create_target_machine(opt=2, jit=True)
    module.triple, module.data_layout = llvm.get_default_triple(), str(target.target_data)
    tuning = llvm.create_pipeline_tuning_options(speed_level=2)
    passes = llvm.create_pass_builder(target, tuning)
    passes.getModulePassManager().run(module, passes)
    code = target.emit_object(module)
    return native.link(code), code
