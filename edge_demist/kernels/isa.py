# mypy: ignore-errors
"""The int8 micro-kernels: C (int32) = A (int8 rows) x W (int8 panels), written as LLVM IR per CPU level.

Weights (every level), one 64-byte line per step of 4 k::

    panel = 16 output columns      line k/4:  [ n0: k k+1 k+2 k+3 | n1: k .. k+3 | ... | n15: k .. k+3 ]
    panel p starts at w + p * panel_bytes, its lines follow each other

Activations: rows of K bytes (more where a level keeps more than q) that follow each other.  A micro-kernel makes ``rows`` x 64
columns of C.

Functions every level defines (see ``simd`` for their use):

``demist_tile_product(rows, a, w, ahead, k4, c, correction)``  rows of A follow each other, of C are 256 bytes apart
                                  and the lines ``ahead`` bytes after the ones in use are fetched into the L2 cache
``demist_tile_begin(rows)``, ``demist_tile_end()``   around all tiles of one matrix product
``demist_tile_rows()``            most rows a tile takes
``demist_activation_offset()``    0: signed activations; 128: unsigned (q + 128), corrected by -128 * sum_k W
``demist_activation_bytes()``     bytes a row takes, divided by K
``demist_side_by_side()``         4: polynomials of four vectors step by step together; 1: one after the other
``demist_adapter_rows()``         rows of one adapter that are worked on together: 4, 2 or 1
``demist_activation_ready(row, k)``  called when the K bytes of q of a row are written: makes what else the level keeps
"""

from llvmlite import ir
from numba.core.cgutils import for_range

from edge_demist.kernels.simd import I1, I8, I16, I32, I64, pointer, shuffle, splat

VOID = ir.VoidType()
SYMBOLS = (
    "demist_tile_product",
    "demist_tile_begin",
    "demist_tile_end",
    "demist_tile_rows",
    "demist_activation_offset",
    "demist_activation_bytes",
    "demist_activation_ready",
    "demist_side_by_side",
    "demist_adapter_rows",
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
    columns = 16  # columns a register block takes: 8, 16 or 64
    lines = 1  # weight lines (4 k each) one step takes
    offset = 0
    activation_bytes = 1
    length = None  # K, set while a block is written
    row_addresses = ()  # of A, set while a block is written
    max_rows = 0  # 0: same as rows
    side_by_side = 4  # 16-lane polynomials whose steps are interleaved: what the registers hold
    adapter_rows = 2  # rows that share the reading of an adapter: 4 takes 24 registers of 16 lanes
    read_ahead = True  # whether the tile that meets a panel first fetches the next one

    def start(self, builder, module, rows, correction):
        """Declare intrinsics; return the accumulators' first values."""
        raise NotImplementedError

    def step(self, builder, sums, a, w):
        """Add ``lines`` weight lines; ``a``: one address a row, ``w``: one address a panel (its own columns)."""
        raise NotImplementedError

    def finish(self, builder, sums, c):
        """Store the accumulators; ``c``: one address a row."""
        raise NotImplementedError

    def blocks(self, module, rows, fetch):
        """The tile as a list of (first row, first column, function)."""
        function = register_block(module, self, rows, fetch)
        return [(0, column, function) for column in range(0, 64, self.columns)]

    def row_address(self, builder, address):
        """Address of a row of A as the k loop uses it."""
        return address

    def ready(self, builder, module, row, k):
        """Code after a row of ``k`` quantised activations."""

    def mend(self, builder, module, arguments):
        """Code after the blocks of a tile; ``arguments``: rows, a, w, k4, c."""

    def begin(self, builder, module, rows):
        """Code before the tiles of a product."""

    def end(self, builder, module):
        """Code after them."""


def own_register(builder, address):
    """Keeps LLVM from making each row's address from the one before, in every step of the k loop."""
    return builder.asm(ir.FunctionType(I64, [I64]), "", "=r,0", [address], side_effect=False)


def block_function(module, name):
    """A new function that makes part of a tile: itself, a builder in its entry, its arguments."""
    function = ir.Function(module, ir.FunctionType(VOID, [I64] * 6), name)
    function.linkage = "internal"
    return function, ir.IRBuilder(function.append_basic_block("entry")), function.args


def fetch_ahead(builder, module, address):
    """Bring the line at ``address`` into the second-level cache."""
    fetch = declare(module, "llvm.prefetch.p0", VOID, [I8.as_pointer(), I32, I32, I32])
    builder.call(fetch, [pointer(builder, address, I8), I32(0), I32(2), I32(1)])


def register_block(module, kernel, rows, fetch):
    """``rows`` x ``columns`` of C held in registers over the whole k loop; ``fetch``: read ahead as well."""
    name = f"demist_block_{rows}_{'fetch' if fetch else 'plain'}"
    if name in module.globals:
        return module.globals[name]
    function, b, (a, w, ahead, k4, c, correction) = block_function(module, name)
    lda, panel_bytes = b.mul(k4, I64(4 * kernel.activation_bytes)), b.shl(k4, I64(6))
    kernel.length = b.shl(k4, I64(2))
    kernel.row_addresses = a_rows = [kernel.row_address(b, b.add(a, b.mul(lda, I64(m)))) for m in range(rows)]
    first = kernel.start(b, module, rows, correction)
    w_panels = [b.add(w, b.mul(panel_bytes, I64(p))) for p in range(max(1, kernel.columns // 16))]
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
    for panel in w_now if fetch else []:
        for line in range(kernel.lines):
            fetch_ahead(b, module, b.add(panel, b.add(ahead, I64(LINE * line))))
    after = kernel.step(b, sums, a_now, w_now)
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


def _call_blocks(b, blocks, arguments, lda):
    """Run the blocks of a tile: one after the other, or in a loop when there are many alike."""
    a, w, ahead, k4, c, correction = arguments

    def call(row, column, function):
        panel = b.mul(b.shl(k4, I64(6)), b.lshr(column, I64(4)))
        weights = b.add(b.add(w, panel), b.shl(b.and_(column, I64(15)), I64(2)))
        out = b.add(c, b.add(I64(C_STRIDE * row), b.shl(column, I64(2))))
        b.call(function, [b.add(a, b.mul(lda, I64(row))), weights, ahead, k4, out, b.add(correction, b.shl(column, I64(2)))])

    if len(blocks) <= 2:
        for row, column, function in blocks:
            call(row, I64(column), function)
        return
    with for_range(b, I64(len(blocks))) as loop:
        call(0, b.mul(loop.index, I64(64 // len(blocks))), blocks[0][2])


def emit(module, kernel):
    """Define the functions of ``kernel`` in an ``llvmlite.ir`` module."""
    most = kernel.max_rows or kernel.rows
    _constant(module, "demist_tile_rows", most)
    _constant(module, "demist_activation_offset", kernel.offset)
    _constant(module, "demist_activation_bytes", kernel.activation_bytes)
    _constant(module, "demist_side_by_side", kernel.side_by_side)
    _constant(module, "demist_adapter_rows", kernel.adapter_rows)

    begin = declare(module, "demist_tile_begin", VOID, [I64])
    b = ir.IRBuilder(begin.append_basic_block("entry"))
    kernel.begin(b, module, begin.args[0])
    b.ret_void()
    end = declare(module, "demist_tile_end", VOID, [])
    b = ir.IRBuilder(end.append_basic_block("entry"))
    kernel.end(b, module)
    b.ret_void()

    ready = declare(module, "demist_activation_ready", VOID, [I64] * 2)
    b = ir.IRBuilder(ready.append_basic_block("entry"))
    kernel.ready(b, module, *ready.args)
    b.ret_void()

    product = declare(module, "demist_tile_product", VOID, [I64] * 7)
    rows, a, w, ahead, k4, c, correction = product.args
    b = ir.IRBuilder(product.append_basic_block("entry"))
    lda = b.mul(k4, I64(4 * kernel.activation_bytes))
    again, done = product.append_basic_block("again"), product.append_basic_block("done")
    first = product.append_basic_block("first")
    b.cbranch(b.icmp_signed("==", ahead, I64(0)), again, first)
    for fetch, block in ((False, again), (kernel.read_ahead, first)):  # only the first rows to meet a panel read ahead
        b.position_at_end(block)
        switch = b.switch(rows, done)
        for count in range(1, most + 1):
            case = product.append_basic_block(f"rows_{count}")
            switch.add_case(I64(count), case)
            b.position_at_end(case)
            _call_blocks(b, kernel.blocks(module, count, fetch), (a, w, ahead, k4, c, correction), lda)
            b.branch(done)
    b.position_at_end(done)
    kernel.mend(b, module, (rows, a, w, k4, c))
    b.ret_void()


__all__ = [
    "C_STRIDE", "I1", "I8", "I16", "I32", "I64", "LINE", "SYMBOLS", "VOID", "MicroKernel", "block_function", "broadcast4",
    "declare", "emit", "fetch_ahead", "load", "own_register", "register_block", "shuffle", "splat", "store", "vec",
]  # fmt: skip
