# mypy: ignore-errors
"""x86-64 micro-kernels with VNNI: AVX-VNNI, AVX-512 VNNI and AMX; ``isa_maddubs`` has those without."""

from llvmlite import ir

from edge_demist.kernels.isa import (
    C_STRIDE,
    I8,
    I32,
    I64,
    LINE,
    VOID,
    MicroKernel,
    block_function,
    broadcast4,
    declare,
    fetch_ahead,
    load,
    register_block,
    store,
    vec,
)
from edge_demist.kernels.simd import pointer


class Avx512Vnni(MicroKernel):
    """``vpdpbusd``: 16 columns x 4 k an instruction, unsigned activations x signed weights.

    ::

        6 rows x 4 panels = 24 zmm sums, 4 zmm weights, the activation broadcast from memory
        sums[m][p] += dot4(a[m][k..k+3] broadcast, w[p] line)
    """

    rows, columns, offset, lanes = 6, 64, 128, 16
    adapter_rows = 4

    def start(self, builder, module, rows, correction):
        """Sums start at the correction for unsigned activations."""
        n = self.lanes
        name = f"llvm.x86.avx512.vpdpbusd.{32 * n}"
        self.dot = declare(module, name, vec(I32, n), [vec(I32, n), vec(I8, 4 * n), vec(I8, 4 * n)])
        self.parts = self.columns // n
        return [load(builder, builder.add(correction, I64(4 * n * q)), vec(I32, n), 4) for q in range(self.parts)] * rows

    def step(self, builder, sums, a, w):
        """One line of each panel."""
        n, per_panel = self.lanes, 16 // self.lanes
        weights = []
        for q in range(self.parts):
            address = builder.add(w[q // per_panel], I64((q % per_panel) * 4 * n))
            weights.append(load(builder, address, vec(I8, 4 * n), 4 * n))
        result = []
        for m, row in enumerate(a):
            value = broadcast4(builder, row, n)
            for q in range(self.parts):
                result.append(builder.call(self.dot, [sums[m * self.parts + q], value, weights[q]]))
        return result

    def finish(self, builder, sums, c):
        """Rows of int32, in column order."""
        for m, row in enumerate(c):
            for q in range(self.parts):
                store(builder, sums[m * self.parts + q], builder.add(row, I64(4 * self.lanes * q)))


class AvxVnni(Avx512Vnni):
    """The 256-bit ``vpdpbusd`` of client cores: 6 rows x 16 columns = 12 ymm sums."""

    rows, columns, lanes = 6, 16, 8
    adapter_rows = 2


class Amx(Avx512Vnni):
    """``tdpbusd`` tiles from 7 rows on, AVX-512 VNNI below.

    ::

        up to 16 rows:  tmm0-3 = C[16 x 16] of four panels     up to 32 rows:  tmm0,1 = C rows 0-15,  two panels
                        tmm4   = A[16 rows x 64 k]                             tmm2,3 = C rows 16-31, two panels
                        tmm5-7 = W, 16 lines of a panel                        tmm4,5 = A, tmm6,7 = W

    A weight tile is 16 lines of a panel as they lie in memory.  Tiles are always 16 rows: rows past the end of
    the activations are read and written in scratch and never used.
    """

    max_rows = 32

    def blocks(self, module, rows, fetch):
        """Register blocks for few rows, one or two row tiles for more."""
        if rows <= self.rows:
            return [(0, 0, register_block(module, self, rows, fetch))]
        if rows <= 16:
            return [(0, 0, tile_block(module, 1, fetch))]
        return [(0, column, tile_block(module, 2, fetch)) for column in (0, 32)]

    def begin(self, builder, module, rows):
        """Palette 1, all eight tiles 16 rows x 64 bytes."""
        config = bytearray(64)
        config[0] = 1
        config[16:32] = bytes([64, 0] * 8)
        config[48:56] = bytes([16] * 8)
        array = ir.ArrayType(I8, 64)
        table = ir.GlobalVariable(module, array, "demist_tile_config")
        table.linkage, table.global_constant, table.align = "internal", True, 64
        table.initializer = ir.Constant(array, config)
        load_config = declare(module, "llvm.x86.ldtilecfg", VOID, [I8.as_pointer()])
        with builder.if_then(builder.icmp_signed(">=", rows, I64(self.rows + 1))):
            builder.call(load_config, [builder.bitcast(table, I8.as_pointer())])

    def end(self, builder, module):
        """Give the tile state back, so that context switches stay cheap."""
        builder.call(declare(module, "llvm.x86.tilerelease", VOID, []), [])


def tile_block(module, row_tiles, fetch):
    """16 x 64 columns (one row tile) or 32 x 32 columns (two)."""
    name = f"demist_tiles_{row_tiles}_{'fetch' if fetch else 'plain'}"
    if name in module.globals:
        return module.globals[name]
    function, b, (a, w, ahead, k4, c, correction) = block_function(module, name)
    lda, panel_bytes = b.shl(k4, I64(2)), b.shl(k4, I64(6))
    byte_pointer = I8.as_pointer()
    tile_load = declare(module, "llvm.x86.tileloadd64", VOID, [I8, byte_pointer, I64])
    tile_store = declare(module, "llvm.x86.tilestored64", VOID, [I8, byte_pointer, I64])
    tile_dot = declare(module, "llvm.x86.tdpbusd", VOID, [I8] * 3)
    entry = b.block
    columns = 4 // row_tiles

    def at(address):
        return pointer(b, address, I8)

    for m in range(row_tiles):
        for j in range(columns):  # stride 0: the correction line becomes every row
            b.call(tile_load, [I8(m * columns + j), at(b.add(correction, I64(64 * j))), I64(0)])
    loop, done = function.append_basic_block("k"), function.append_basic_block("done")
    b.branch(loop)
    b.position_at_end(loop)
    k = b.phi(I64)
    k.add_incoming(I64(0), entry)
    a_now, w_now = b.add(a, b.shl(k, I64(2))), b.add(w, b.shl(k, I64(6)))

    def weight(tile, j):
        panel = b.add(w_now, b.mul(panel_bytes, I64(j)))
        b.call(tile_load, [I8(tile), at(panel), I64(LINE)])
        for line in range(16 if fetch else 0):
            fetch_ahead(b, module, b.add(panel, b.add(ahead, I64(LINE * line))))

    b.call(tile_load, [I8(4), at(a_now), lda])
    if row_tiles == 1:
        for j in range(4):
            weight(5 + j % 3, j)
            b.call(tile_dot, [I8(j), I8(4), I8(5 + j % 3)])
    else:
        weight(6, 0)
        b.call(tile_dot, [I8(0), I8(4), I8(6)])
        weight(7, 1)
        b.call(tile_dot, [I8(1), I8(4), I8(7)])
        b.call(tile_load, [I8(5), at(b.add(a_now, b.shl(lda, I64(4)))), lda])
        b.call(tile_dot, [I8(2), I8(5), I8(6)])
        b.call(tile_dot, [I8(3), I8(5), I8(7)])
    following = b.add(k, I64(16))
    k.add_incoming(following, loop)
    b.cbranch(b.icmp_signed("<", following, k4), loop, done)
    b.position_at_end(done)
    for m in range(row_tiles):
        for j in range(columns):
            address = b.add(c, I64(C_STRIDE * 16 * m + 64 * j))
            b.call(tile_store, [I8(m * columns + j), at(address), I64(C_STRIDE)])
    b.ret_void()
    return function


__all__ = ["Amx", "Avx512Vnni", "AvxVnni"]
