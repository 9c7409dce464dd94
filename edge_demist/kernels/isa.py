# mypy: ignore-errors
"""The int8 micro-kernels: C (int32) = A (int8 rows) x W (int8 panels), written as LLVM IR per CPU level.

Weights (every level), one 64-byte line per step of 4 k::

    panel = 16 output columns      line k/4:  [ n0: k k+1 k+2 k+3 | n1: k .. k+3 | ... | n15: k .. k+3 ]
    panel p starts at w + p * panel_bytes, its lines follow each other

Activations: rows of K bytes, ``lda`` apart.  A micro-kernel makes ``rows`` x 64 columns of C, ``ldc`` bytes a row.

Functions every level defines (see ``simd`` for their use):

``demist_tile_product(rows, a, lda, plane, w, panel_bytes, k4, c, correction)``  C rows are 256 bytes apart
``demist_tile_begin(rows)``, ``demist_tile_end()``   around all tiles of one matrix product
``demist_tile_rows()``            most rows a tile takes
``demist_activation_offset()``    0: signed activations; 128: unsigned (q + 128), corrected by -128 * sum_k W
``demist_activation_planes()``    2: |q| follows q, ``plane`` bytes on
"""

from llvmlite import ir

from edge_demist.kernels.simd import I1, I8, I16, I32, I64, pointer, shuffle, splat

VOID = ir.VoidType()
SYMBOLS = (
    "demist_tile_product",
    "demist_tile_begin",
    "demist_tile_end",
    "demist_tile_rows",
    "demist_activation_offset",
    "demist_activation_planes",
)
C_STRIDE = 256
LINE = 64


def vec(element, count):
    """Shorthand for an LLVM vector type."""
    return ir.VectorType(element, count)


def declare(module, name, result, arguments):
    """The function ``name`` of ``module``, declared when new."""
    known = module.globals.get(name)
    return known if known is not None else ir.Function(module, ir.FunctionType(result, arguments), name)


def load(builder, address, llvm_type, align):
    """Aligned load from an int64 address."""
    value = builder.load(pointer(builder, address, llvm_type))
    value.align = align
    return value


def store(builder, value, address):
    """Store of a vector of int32 to an int64 address."""
    builder.store(value, pointer(builder, address, value.type)).align = 4


def broadcast4(builder, address, lanes):
    """Four consecutive bytes of a row, repeated ``lanes`` times."""
    word = load(builder, address, I32, 1)
    return builder.bitcast(splat(builder, word, vec(I32, lanes)), vec(I8, 4 * lanes))


class MicroKernel:
    """One CPU level.  Subclasses give the accumulators of a block of rows and one step of the k loop."""

    rows = 4  # most rows a register block takes
    panels = 1  # 16-column panels a register block takes
    lines = 1  # weight lines (4 k each) one step takes
    offset = 0
    planes = 1
    max_rows = 0  # 0: same as rows

    def start(self, builder, module, rows, correction):
        """Declare intrinsics; return the accumulators' first values."""
        raise NotImplementedError

    def step(self, builder, sums, a, plane, w):
        """Add ``lines`` weight lines; ``a``: one address a row, ``w``: one address a panel."""
        raise NotImplementedError

    def finish(self, builder, sums, c):
        """Store the accumulators; ``c``: one address a row."""
        raise NotImplementedError

    def blocks(self, module, rows):
        """The tile as a list of (first row, first panel, function)."""
        function = register_block(module, self, rows)
        return [(0, panel, function) for panel in range(0, 4, self.panels)]

    def begin(self, builder, module, rows):
        """Code before the tiles of a product."""

    def end(self, builder, module):
        """Code after them."""


def register_block(module, kernel, rows):
    """``rows`` x (16 * panels) of C held in registers over the whole k loop."""
    name = f"demist_block_{rows}"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(VOID, [I64] * 8), name)
    function.linkage = "internal"
    a, lda, plane, w, panel_bytes, k4, c, correction = function.args
    b = ir.IRBuilder(function.append_basic_block("entry"))
    first = kernel.start(b, module, rows, correction)
    a_rows = [b.add(a, b.mul(lda, I64(m))) for m in range(rows)]
    w_panels = [b.add(w, b.mul(panel_bytes, I64(p))) for p in range(kernel.panels)]
    entry, loop, done = b.block, function.append_basic_block("k"), function.append_basic_block("done")
    b.branch(loop)
    b.position_at_end(loop)
    k = b.phi(I64)
    k.add_incoming(I64(0), entry)
    sums = []
    for value in first:
        phi = b.phi(value.type)
        phi.add_incoming(value, entry)
        sums.append(phi)
    a_now = [b.add(row, b.shl(k, I64(2))) for row in a_rows]
    w_now = [b.add(panel, b.shl(k, I64(6))) for panel in w_panels]
    after = kernel.step(b, sums, a_now, plane, w_now)
    following = b.add(k, I64(kernel.lines))
    k.add_incoming(following, loop)
    for phi, value in zip(sums, after, strict=True):
        phi.add_incoming(value, loop)
    b.cbranch(b.icmp_signed("<", following, k4), loop, done)
    b.position_at_end(done)
    kernel.finish(b, after, [b.add(c, I64(C_STRIDE * m)) for m in range(rows)])
    b.ret_void()
    return function


def _constant(module, name, value):
    function = declare(module, name, I64, [])
    function.attributes.add("alwaysinline")
    ir.IRBuilder(function.append_basic_block("entry")).ret(I64(value))


def emit(module, kernel):
    """Define the six functions of ``kernel`` in an ``llvmlite.ir`` module."""
    most = kernel.max_rows or kernel.rows
    _constant(module, "demist_tile_rows", most)
    _constant(module, "demist_activation_offset", kernel.offset)
    _constant(module, "demist_activation_planes", kernel.planes)

    begin = declare(module, "demist_tile_begin", VOID, [I64])
    b = ir.IRBuilder(begin.append_basic_block("entry"))
    kernel.begin(b, module, begin.args[0])
    b.ret_void()
    end = declare(module, "demist_tile_end", VOID, [])
    b = ir.IRBuilder(end.append_basic_block("entry"))
    kernel.end(b, module)
    b.ret_void()

    product = declare(module, "demist_tile_product", VOID, [I64] * 9)
    rows, a, lda, plane, w, panel_bytes, k4, c, correction = product.args
    b = ir.IRBuilder(product.append_basic_block("entry"))
    done = product.append_basic_block("done")
    switch = b.switch(rows, done)
    for count in range(1, most + 1):
        case = product.append_basic_block(f"rows_{count}")
        switch.add_case(I64(count), case)
        b.position_at_end(case)
        for row, panel, block in kernel.blocks(module, count):
            b.call(
                block,
                [
                    b.add(a, b.mul(lda, I64(row))),
                    lda,
                    plane,
                    b.add(w, b.mul(panel_bytes, I64(panel))),
                    panel_bytes,
                    k4,
                    b.add(c, I64(C_STRIDE * row + 64 * panel)),
                    b.add(correction, I64(64 * panel)),
                ],
            )
        b.branch(done)
    b.position_at_end(done)
    b.ret_void()


__all__ = [
    "C_STRIDE", "I1", "I8", "I16", "I32", "I64", "LINE", "SYMBOLS", "VOID", "MicroKernel", "broadcast4", "declare",
    "emit", "load", "register_block", "shuffle", "splat", "store", "vec",
]  # fmt: skip
