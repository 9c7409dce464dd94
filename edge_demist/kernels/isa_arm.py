# mypy: ignore-errors
"""AArch64 micro-kernels: NEON (ARMv8.0) and NEON with dot product (ARMv8.2)."""

from llvmlite import ir

from edge_demist.kernels.isa import (
    C_STRIDE,
    I8,
    I16,
    I32,
    I64,
    LINE,
    VOID,
    MicroKernel,
    block_function,
    declare,
    load,
    own_register,
    shuffle,
    store,
    vec,
)
from edge_demist.kernels.simd import pointer


def fence(builder):
    """Keep loads on their side: LLVM would start them so early that sums are spilled."""
    builder.asm(ir.FunctionType(VOID, []), "", "~{memory}", [], True)


class Arm(MicroKernel):
    """A register block walks its rows and its panel with one address each; nothing is fetched ahead.

    ``own_register`` also keeps the offsets of a loop's loads small and positive, as ``ldp`` needs them.
    A panel follows the one before it, so the weights of a matrix are one stream, which the cores' own prefetchers see.
    """

    lines, read_ahead, side_by_side = 16, False, 1
    row_step = 64  # bytes from one step's activations to the next one's
    row_start = 0  # a row's first activations, in K

    def step(self, builder, sums, a, w):
        """Add ``lines`` weight lines, ``w``: the address of the first; may leave the builder in another basic block."""
        raise NotImplementedError

    def blocks(self, module, rows, fetch):
        """Register blocks side by side."""
        function = self.block(module, rows)
        return [(0, column, function) for column in range(0, 64, self.columns)]

    def block(self, module, rows):
        """``rows`` x ``columns`` of C held in registers over the whole k loop."""
        name = f"demist_block_{rows}"
        if name in module.globals:
            return module.globals[name]
        function, b, (a, w, _, k4, c, correction) = block_function(module, name)
        lda = b.mul(k4, I64(4 * self.activation_bytes))
        sums = self.start(b, module, rows, correction)
        addresses = [b.add(a, b.add(b.mul(lda, I64(m)), b.mul(k4, I64(4 * self.row_start)))) for m in range(rows)] + [w]
        end = b.add(w, b.shl(k4, I64(6)))
        entry, loop, done = b.block, function.append_basic_block("k"), function.append_basic_block("done")
        b.branch(loop)
        b.position_at_end(loop)
        phis = [b.phi(value.type) for value in (*sums, *addresses)]
        for phi, value in zip(phis, (*sums, *addresses), strict=True):
            phi.add_incoming(value, entry)
        now = phis[len(sums) :]
        after = self.step(b, phis[: len(sums)], now[:-1], now[-1])
        steps = [self.row_step] * rows + [self.lines * LINE]
        following = [own_register(b, b.add(address, I64(size))) for address, size in zip(now, steps, strict=True)]
        for phi, value in zip(phis, (*after, *following), strict=True):
            phi.add_incoming(value, b.block)
        b.cbranch(b.icmp_unsigned("!=", following[-1], end), loop, done)
        b.position_at_end(done)
        self.finish(b, after, [b.add(c, I64(C_STRIDE * m)) for m in range(rows)])
        b.ret_void()
        return function


class NeonDot(Arm):
    """``sdot`` by element: four columns x 4 k an instruction.

    ::

        one q register of a row holds 16 k = the activations of 4 weight lines
        sums[m][q] += dot4(w line u, columns 4q..4q+3; a[m] lane u)

    Up to 5 rows by 16 columns; 6 and 7 rows by 8 columns, which leaves registers for pairs of loads.
    """

    rows = 7

    def blocks(self, module, rows, fetch):
        """Narrower ones from 6 rows on."""
        self.columns = 8 if rows >= 6 else 16
        return super().blocks(module, rows, fetch)

    def start(self, builder, module, rows, correction):
        """A q register of sums for four columns of a row."""
        quad, bytes_ = vec(I32, 4), vec(I8, 16)
        self.dot = declare(module, "llvm.aarch64.neon.sdot.v4i32.v16i8", quad, [quad, bytes_, bytes_])
        return [ir.Constant(quad, [0] * 4)] * (self.columns // 4 * rows)

    def step(self, builder, sums, a, w):
        """Sixteen lines in two halves; all loads are of neighbours, so that ``ldp`` takes them in pairs."""
        sums = list(sums)
        for half in range(2):
            fence(builder)
            values = [[load(builder, builder.add(row, I64(32 * half + 16 * n)), vec(I32, 4), 1) for n in range(2)] for row in a]
            for u in range(8):
                self.line(builder, sums, [value[u // 4] for value in values], builder.add(w, I64(LINE * (8 * half + u))), u % 4)
        return sums

    def line(self, builder, sums, values, line, lane):
        """One weight line with the lane of each row that belongs to it."""
        quads = self.columns // 4
        for q in range(quads):
            if q % 2 == 0:
                fence(builder)
                pair = [load(builder, builder.add(line, I64(16 * (q + n))), vec(I8, 16), 16) for n in range(2)]
            for m, value in enumerate(values):
                four = builder.bitcast(shuffle(builder, value, value, [lane] * 4), vec(I8, 16))
                sums[quads * m + q] = builder.call(self.dot, [sums[quads * m + q], pair[q % 2], four])

    def finish(self, builder, sums, c):
        """Rows of int32, in column order."""
        quads = self.columns // 4
        for m, row in enumerate(c):
            for q in range(quads):
                store(builder, sums[quads * m + q], builder.add(row, I64(16 * q)))


class Neon(Arm):
    """``smull`` + ``smlal`` + ``sadalp``: products of lines added in int16 while they fit, then pairwise into int32.

    ::

        a row:  [ q: K bytes ][ step 0 | step 1 | ... ]        a step: 32 k = 8 weight lines
        a step: [ k0..3 k0..3 k0..3 k0..3 | k4..7 k4..7 ... | ... ][ narrow ][ 15 unused ]      144 bytes

        lines u, u+1 ..., two columns:  p = w[u] * a[u] + w[u+1] * a[u+1] + ...    8 x int16: 2 columns x 4 k
        sums[m][columns] += p[0]+p[1], p[2]+p[3], ...                              4 x int32: 2 columns x 2 halves

    Two products always fit int16.  Four do, whatever the weights, where the sizes of the four activations add up to 254
    or less, for 254 * 128 < 2**15: nearly everywhere.  ``narrow`` is 1 in the other steps.
    """

    rows, lines, activation_bytes = 2, 8, 6
    row_step, row_start = 144, 1

    def start(self, builder, module, rows, correction):
        """Eight q registers of half sums a row."""
        half, pairs, quad = vec(I8, 8), vec(I16, 8), vec(I32, 4)
        self.multiply = declare(module, "llvm.aarch64.neon.smull.v8i16", pairs, [half, half])
        self.widen = declare(module, "llvm.aarch64.neon.saddlp.v4i32.v8i16", quad, [pairs])
        self.join = declare(module, "llvm.aarch64.neon.addp.v4i32", quad, [quad, quad])
        return [ir.Constant(quad, [0] * 4)] * (8 * rows)

    def step(self, builder, sums, a, w):
        """Eight lines, four at a time where every row allows it, else two at a time."""
        narrow = I8(0)
        for row in a:
            narrow = builder.or_(narrow, load(builder, builder.add(row, I64(128)), I8, 1))
        ways = {depth: builder.function.append_basic_block(f"by_{depth}") for depth in (4, 2)}
        joined = builder.function.append_basic_block("joined")
        builder.cbranch(builder.icmp_unsigned("==", narrow, I8(0)), ways[4], ways[2])
        results = []
        for depth, block in ways.items():
            builder.position_at_end(block)
            now = list(sums)
            for line in range(0, self.lines, depth):
                self.add_lines(builder, now, a, w, range(line, line + depth))
            results.append(now)
            builder.branch(joined)
        builder.position_at_end(joined)
        after = []
        for values in zip(*results, strict=True):
            after.append(builder.phi(values[0].type))
            for value, block in zip(values, ways.values(), strict=True):
                after[-1].add_incoming(value, block)
        return after

    def add_lines(self, builder, sums, a, w, lines):
        """Some lines, one addition to int32.

        The registers hold 16 sums, these lines of 8 columns and of one row: the rows take turns, and the second eight
        columns begin with the row that is there already.
        """
        held = None
        for q, order in ((0, range(len(a))), (2, reversed(range(len(a))))):
            fence(builder)
            columns = [builder.add(w, I64(16 * (q + n))) for n in range(2)]
            weights = [[load(builder, builder.add(column, I64(LINE * u)), vec(I8, 16), 16) for u in lines] for column in columns]
            for m in order:
                if held != m:
                    fence(builder)
                    values = [load(builder, builder.add(a[m], I64(16 * u)), vec(I8, 16), 16) for u in lines]
                    held = m
                self.add_columns(builder, sums, 8 * m + 2 * q, weights, values)

    def add_columns(self, builder, sums, where, weights, values):
        """Eight columns of one row."""
        for n in range(2):
            for h in range(2):
                total = None
                for weight, value in zip(weights[n], values, strict=True):
                    parts = [shuffle(builder, x, x, range(8 * h, 8 * h + 8)) for x in (weight, value)]
                    product = builder.call(self.multiply, parts)
                    total = product if total is None else builder.add(total, product)
                added = builder.call(self.widen, [total])
                sums[where + 2 * n + h] = builder.add(sums[where + 2 * n + h], added)

    def finish(self, builder, sums, c):
        """Join the halves: rows of int32, in column order."""
        for m, row in enumerate(c):
            for q in range(4):
                joined = builder.call(self.join, [sums[8 * m + 2 * q], sums[8 * m + 2 * q + 1]])
                store(builder, joined, builder.add(row, I64(16 * q)))

    def ready(self, builder, module, row, k):
        """Repeat every 4 k four times and mark the steps in which four products might not fit."""
        bytes_, half, quad = vec(I8, 16), vec(I8, 8), vec(I32, 4)
        size = declare(module, "llvm.aarch64.neon.abs.v16i8", bytes_, [bytes_])
        add = declare(module, "llvm.aarch64.neon.uqadd.v8i8", half, [half, half])
        largest = declare(module, "llvm.aarch64.neon.umaxv.i32.v8i8", I32, [half])
        entry, end = builder.block, builder.add(row, k)
        loop, done = builder.function.append_basic_block("step"), builder.function.append_basic_block("done")
        builder.branch(loop)
        builder.position_at_end(loop)
        source, target = builder.phi(I64), builder.phi(I64)
        sums = []
        for part in range(2):
            sixteen = load(builder, builder.add(source, I64(16 * part)), quad, 1)
            for u in range(4):
                store(builder, shuffle(builder, sixteen, sixteen, [u] * 4), builder.add(target, I64(64 * part + 16 * u)))
            sizes = builder.call(size, [builder.bitcast(sixteen, bytes_)])
            eight = builder.call(add, [shuffle(builder, sizes, sizes, range(8 * n, 8 * n + 8)) for n in range(2)])
            sums.append(builder.call(add, [eight, shuffle(builder, eight, eight, [4, 5, 6, 7, 0, 1, 2, 3])]))
        most = builder.call(largest, [shuffle(builder, *sums, [0, 1, 2, 3, 8, 9, 10, 11])])
        narrow = builder.zext(builder.icmp_unsigned("==", builder.trunc(most, I8), I8(255)), I8)
        builder.store(narrow, pointer(builder, builder.add(target, I64(128)), I8))
        following = builder.add(source, I64(32))
        for phi, first, value in ((source, row, following), (target, end, builder.add(target, I64(self.row_step)))):
            phi.add_incoming(first, entry)
            phi.add_incoming(value, loop)
        builder.cbranch(builder.icmp_unsigned("!=", following, end), loop, done)
        builder.position_at_end(done)


__all__ = ["Neon", "NeonDot"]
