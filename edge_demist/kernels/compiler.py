# mypy: ignore-errors
"""Numba's IR and one micro-kernel, linked, optimised and emitted for one CPU level.

The Numba front end runs once.  Its IR holds the micro-kernel's functions as external symbols, so the same IR serves
every target: per level the micro-kernel is linked in as LLVM IR, everything but the exports becomes internal, and
O3 inlines across the seam.  No flag that lets LLVM change floating point is ever set.
"""

import ctypes
import re
from dataclasses import dataclass, replace

import llvmlite
import llvmlite.binding as llvm
import numba
from llvmlite import ir
from numba import types

from edge_demist.kernels import (
    encoder,
    general,
    head,
    isa,
    isa_arm,
    isa_generic,
    isa_maddubs,
    isa_x86,
    nearest,
    ngrams,
    screen,
    shared,
    text,
    tokenizer,
)
from edge_demist.native import abi

X86 = "x86_64-unknown-linux-gnu"
ARM = "aarch64-unknown-linux-gnu"


@dataclass(frozen=True)
class Target:
    """How one CPU level is compiled: LLVM triple, CPU, features, and the micro-kernel's class."""

    triple: str
    cpu: str
    features: str
    kernel: type


TARGETS = {
    "x86_64_sse": Target(X86, "x86-64-v2", "", isa_maddubs.Ssse3),
    "x86_64_avx2": Target(X86, "x86-64-v3", "", isa_maddubs.Avx2),
    "x86_64_avxvnni": Target(X86, "x86-64-v3", "+avxvnni", isa_x86.AvxVnni),
    "x86_64_avx512vnni": Target(X86, "x86-64-v4", "+avx512vnni,-prefer-256-bit", isa_x86.Avx512Vnni),
    "x86_64_amx": Target(X86, "x86-64-v4", "+avx512vnni,+amx-tile,+amx-int8,-prefer-256-bit", isa_x86.Amx),
    "aarch64_neon": Target(ARM, "cortex-a72", "", isa_arm.Neon),
    "aarch64_neondot": Target(ARM, "cortex-a76", "", isa_arm.NeonDot),
}

FUNCTIONS = {
    "encode": encoder.encode,
    "scratch_bytes": encoder.scratch_bytes,
    "tokenize": tokenizer.tokenize,
    "ngrams": ngrams.ngrams,
    "encode_text": text.encode_text,
    "head": head.head,
    "classify_text": text.classify_text,
    "screen": screen.screen,
    "encode_shared": shared.encode_shared,
    "shared_scratch_bytes": shared.shared_scratch_bytes,
    "nearest": nearest.nearest,
    "nearest_panels": nearest.nearest_panels,
    "project": general.project,
    "project_text": text.project_text,
}
EXPORTS = {abi.PREFIX + name: (FUNCTIONS[name], count) for name, count in abi.EXPORTS.items()}
"""Exported name -> (function, number of int64 arguments); every one returns int64."""


def _entry(function, count):
    """A function of exactly ``count`` positional arguments, which ``cfunc`` needs."""
    names = ", ".join(f"a{k}" for k in range(count))
    space = {"function": function}
    exec(f"def entry({names}):\n    return function({names})", space)  # noqa: S102
    return space["entry"]


def front_end():
    """LLVM IR of every export, as Numba makes it; the micro-kernel stays external."""
    abort = ctypes.cast(ctypes.CDLL(None).abort, ctypes.c_void_p).value
    for symbol in isa.SYMBOLS:  # Numba links a host copy too; it is never called
        llvm.add_symbol(symbol, abort)
    modules = []
    for name, (function, count) in EXPORTS.items():
        signature = types.int64(*[types.int64] * count)
        compiled = numba.cfunc(signature, nopython=True, error_model="numpy")(_entry(function, count))
        modules.append(compiled.inspect_llvm().replace(compiled.native_name, name).replace(f'"{name}"', name))
    return modules


def _parse(source, machine, triple):
    """One module for ``machine``, whatever the front end tuned it for."""
    source = re.sub(r"^target (triple|datalayout) = .*$", "", source, flags=re.MULTILINE)
    source = re.sub(r'"(target-cpu|target-features|tune-cpu|prefer-vector-width|min-legal-vector-width)"="[^"]*"', "", source)
    module = llvm.parse_assembly(source)
    module.triple = triple
    module.data_layout = str(machine.target_data)
    return module


def optimise(front, target, machine):
    """The module of one CPU level: exports visible, everything else internal, O3."""
    own = ir.Module("micro_kernel")
    isa.emit(own, target.kernel())
    module = _parse(str(own), machine, target.triple)
    for source in front:
        module.link_in(_parse(source, machine, target.triple))
    for value in [*module.functions, *module.global_variables]:
        if not value.is_declaration:
            value.linkage = "external" if value.name in EXPORTS else "internal"
    options = llvm.create_pipeline_tuning_options(3)
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    module.verify()
    return module


def target_machine(target):
    """LLVM's code generator for one CPU level."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=3, reloc="pic", codemodel="small"
    )


def versions() -> str:
    """Versions of what compiles."""
    return f"numba {numba.__version__} llvmlite {llvmlite.__version__}"


def host_object(level: str) -> bytes:
    """Machine code for ``level`` (or ``generic``: whatever this host is), as an object file."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = TARGETS.get(level)
    if target is None:
        features = llvm.get_host_cpu_features().flatten()
        target = Target(llvm.get_process_triple(), llvm.get_host_cpu_name(), features, isa_generic.Generic)
    else:
        target = replace(target, triple=llvm.get_process_triple())
    machine = target_machine(target)
    return machine.emit_object(optimise(front_end(), target, machine))


def load_object(code: bytes) -> tuple[object, dict[str, int]]:
    """Bring an object file into this process: its owner, which must stay alive, and the exports' addresses."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine()
    owner = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    owner.add_object_file(llvm.ObjectFileRef.from_data(code))
    owner.finalize_object()
    return owner, {name: owner.get_function_address(name) for name in EXPORTS}
