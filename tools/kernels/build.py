"""Build edge_demist/native/lib/*.so from edge_demist/kernels: every CPU level, from one machine, without a C compiler.

    python tools/kernels/build.py            rebuild all libraries and BUILD.json
    python tools/kernels/build.py --check    rebuild in memory and compare the bytes with the committed ones

Needs the pinned numba and llvmlite (their versions are in BUILD.json) and LLVM's linker, ``ld.lld``: Debian package
``lld-19``.  Numba's front end runs once, llvmlite optimises and emits each level, ld.lld links it.  The result has
no undefined symbol and needs no C library, so one file serves every distribution.
"""

import os

# Before numba is imported: plain IR, tuned for no CPU, the same wherever this runs.
os.environ.update(
    NUMBA_OPT="0",
    NUMBA_LOOP_VECTORIZE="0",
    NUMBA_SLP_VECTORIZE="0",
    NUMBA_CPU_NAME="generic",
    NUMBA_CPU_FEATURES="",
    NUMBA_DISABLE_INTEL_SVML="1",
)

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import llvmlite
import numba

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from edge_demist.kernels import compiler  # noqa: E402

LIB = ROOT / "edge_demist" / "native" / "lib"
LINK_OPTIONS = (
    "-shared", "--gc-sections", "--hash-style=gnu", "--build-id=none", "-z", "noexecstack", "-z", "relro", "-z", "now",
    "-s",
)  # fmt: skip


def find_linker() -> str:
    """Path of ld.lld."""
    for name in ("ld.lld-19", "ld.lld"):
        found = shutil.which(name)
        if found:
            return found
    sys.exit("ld.lld is missing: apt-get install lld-19")


def link(linker: str, target: compiler.Target, name: str, code: bytes, folder: Path) -> Path:
    """One shared library from one object file."""
    object_file, library = folder / f"{name}.o", folder / f"lib{name}.so"
    object_file.write_bytes(code)
    machine = "elf_x86_64" if target.triple == compiler.X86 else "aarch64linux"
    command = [linker, *LINK_OPTIONS, "-m", machine, "-soname", library.name, "-o", str(library), str(object_file)]
    subprocess.run(command, check=True)
    object_file.unlink()
    return library


def build(folder: Path, names: list[str], assembly: Path | None) -> dict[str, object]:
    """Build ``names`` into ``folder``; returns the content of BUILD.json."""
    linker = find_linker()
    front = compiler.front_end()
    libraries = {}
    for name in names:
        target = compiler.TARGETS[name]
        machine = compiler.target_machine(target)
        module = compiler.optimise(front, target, machine)
        data = link(linker, target, name, machine.emit_object(module), folder).read_bytes()
        if assembly is not None:  # after the object: emitting changes the module
            (assembly / f"{name}.s").write_text(machine.emit_assembly(module))
        libraries[f"lib{name}.so"] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        print(f"lib{name}.so  {len(data)} bytes", flush=True)
    version = subprocess.run([linker, "--version"], check=True, capture_output=True, text=True).stdout.split()
    return {
        "numba": numba.__version__,
        "llvmlite": llvmlite.__version__,
        "lld": next(word for word in version if word[0].isdigit()),
        "libraries": libraries,
    }


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the committed libraries, change nothing")
    parser.add_argument("--assembly", type=Path, help="also write the assembly into this folder")
    parser.add_argument("--output", type=Path, default=LIB)
    parser.add_argument("names", nargs="*", help="CPU levels; all when none is given")
    options = parser.parse_args()
    names = options.names or list(compiler.TARGETS)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        record = build(folder, names, options.assembly)
        if options.check:
            stale = [n for n in names if (LIB / f"lib{n}.so").read_bytes() != (folder / f"lib{n}.so").read_bytes()]
            print("stale: " + ", ".join(stale) if stale else "every library is what its source makes")
            return 1 if stale else 0
        options.output.mkdir(parents=True, exist_ok=True)
        for name in names:
            shutil.copyfile(folder / f"lib{name}.so", options.output / f"lib{name}.so")
        if not options.names:
            (options.output / "BUILD.json").write_text(json.dumps(record, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
