# mypy: ignore-errors
"""x86-64 before VNNI: ``vpmaddubsw``, exact and nearly as cheap as if its saturation did not exist (AVX2, SSSE3).

Weights are made unsigned (w + 128), activations stay signed.  Two lines of 4 k are joined in int16::

    sums += madd(maddubs(w[k] ^ 0x80, a[k]) + maddubs(w[k + 4] ^ 0x80, a[k + 4]), 1)     sums start at -128 * sum_k a

One int16 holds four products.  It is exact where the positive part of their four activations is at most 128 in sum and
the negative part, too: 255 * 128 < 2**15.  Few lines of real activations are larger.  They are taken out when the row is
quantised and added to the finished tile, exact for every a and w: |a| * sign(w, a) of a pair is at most 32258::

    sums += madd(maddubs(|a|, sign(w, a)), 1)

    row in memory:  K bytes a | K bytes a, large lines zero | int32 -128 * sum, int32 count, int16 number of each large line
"""

from llvmlite import ir
from numba.core.cgutils import alloca_once_value, for_range

from edge_demist.kernels.isa import (
    I1,
    I8,
    I16,
    I32,
    I64,
    LINE,
    MicroKernel,
    broadcast4,
    declare,
    load,
    own_register,
    shuffle,
    splat,
    store,
    vec,
)
from edge_demist.kernels.simd import pointer

LIMIT = 128
LIST_AT = 8  # the list of large lines, after the sum and the count


class Avx2(MicroKernel):
    """10 rows x 8 columns of sums in registers, or 4 rows x 16 columns."""

    rows, lines, lanes, activation_bytes = 10, 2, 8, 3
    few_rows = 4  # up to here a block is two registers wide
    names = "llvm.x86.avx2.pmadd.ub.sw", "llvm.x86.avx2.pmadd.wd", "llvm.x86.avx2.psign.b"

    def row_address(self, builder, address):
        """A register a row."""
        return own_register(builder, address)

    def blocks(self, module, rows, fetch):
        """Blocks of one or two registers of columns."""
        self.columns = self.lanes * (2 if rows <= self.few_rows else 1)
        return super().blocks(module, rows, fetch)

    def declare(self, module):
        """Types, constants and instructions of this register width."""
        n = self.lanes
        self.bytes, self.words, self.ints = vec(I8, 4 * n), vec(I16, 2 * n), vec(I32, n)
        self.multiply = declare(module, self.names[0], self.words, [self.bytes, self.bytes])
        self.widen = declare(module, self.names[1], self.ints, [self.words, self.words])
        self.sign = declare(module, self.names[2], self.bytes, [self.bytes, self.bytes])
        self.ones, self.zero = ir.Constant(self.words, [1] * (2 * n)), ir.Constant(self.ints, [0] * n)

    def start(self, builder, module, rows, correction):
        """Sums start at the correction for unsigned weights, which each row brings along."""
        self.declare(module)
        self.parts = self.columns // self.lanes
        sums = []
        for row in self.row_addresses:
            word = load(builder, builder.add(row, builder.shl(self.length, I64(1))), I32, 4)
            sums += [splat(builder, word, self.ints)] * self.parts
        return sums

    def step(self, builder, sums, a, w):
        """Two lines of one panel."""
        n, flip = self.lanes, ir.Constant(self.bytes, [-128] * (4 * self.lanes))
        weights = []
        for u in range(2):
            for q in range(self.parts):
                line = load(builder, builder.add(w[0], I64(LINE * u + 4 * n * q)), self.bytes, 4 * n)
                weights.append(builder.xor(line, flip))
        result = []
        for m, row in enumerate(a):
            values = [broadcast4(builder, builder.add(row, builder.add(self.length, I64(4 * u))), n) for u in range(2)]
            for q in range(self.parts):
                pairs = [builder.call(self.multiply, [weights[u * self.parts + q], values[u]]) for u in range(2)]
                quads = builder.call(self.widen, [builder.add(*pairs), self.ones])
                result.append(builder.add(sums[m * self.parts + q], quads))
        return result

    def finish(self, builder, sums, c):
        """Rows of int32, in column order."""
        for m, row in enumerate(c):
            for q in range(self.parts):
                store(builder, sums[m * self.parts + q], builder.add(row, I64(4 * self.lanes * q)))

    def ready(self, builder, module, row, k):
        """The copy without large lines, its sum, and the list of large lines."""
        self.declare(module)
        b, n = builder, self.lanes
        kept, table = b.add(row, k), b.add(row, b.shl(k, I64(1)))
        total, count = alloca_once_value(b, self.zero), alloca_once_value(b, I64(0))
        every_byte = ir.Constant(self.bytes, [1] * (4 * n))
        with for_range(b, b.udiv(k, I64(4 * n))) as loop:
            at = b.mul(loop.index, I64(4 * n))
            value = load(b, b.add(row, at), self.bytes, 1)
            large = self._large(b, value)
            small = b.bitcast(b.select(large, self.zero, b.bitcast(value, self.ints)), self.bytes)
            b.store(small, pointer(b, b.add(kept, at), self.bytes)).align = 1
            quads = b.call(self.widen, [b.call(self.multiply, [every_byte, small]), self.ones])
            b.store(b.add(b.load(total), quads), total)
            self._list(b, large, b.lshr(at, I64(2)), b.add(table, I64(LIST_AT)), count)
        whole = b.load(total)
        while n > 1:
            n //= 2
            whole = b.add(shuffle(b, whole, whole, range(n)), shuffle(b, whole, whole, range(n, 2 * n)))
        b.store(b.mul(b.extract_element(whole, I32(0)), I32(-128)), pointer(b, table, I32)).align = 4
        b.store(b.trunc(b.load(count), I32), pointer(b, b.add(table, I64(4)), I32)).align = 4

    def _large(self, b, value):
        """Which lines of a register of activations are to be taken out: of two that are too large together, the larger."""
        n, zero = self.lanes, ir.Constant(self.bytes, [0] * (4 * self.lanes))
        limit, half, shift = (ir.Constant(self.ints, [x] * n) for x in (LIMIT, 0xFFFF, 16))

        def partner(x):
            return b.bitcast(shuffle(b, b.bitcast(x, self.ints), self.zero, [lane ^ 1 for lane in range(n)]), x.type)

        def larger(x, y):
            return b.select(b.icmp_signed(">", x, y), x, y)

        def of_line(pairs):
            both = b.bitcast(pairs, self.ints)
            return larger(b.and_(both, half), b.lshr(both, shift))

        positive = b.select(b.icmp_signed(">", value, zero), value, zero)
        negative = b.select(b.icmp_signed("<", value, zero), b.sub(zero, value), zero)
        every_byte = ir.Constant(self.bytes, [1] * (4 * n))
        sums = [b.call(self.multiply, [part, every_byte]) for part in (positive, negative)]
        own, joint = of_line(larger(*sums)), of_line(larger(*(b.add(x, partner(x)) for x in sums)))
        other = partner(own)
        first = ir.Constant(vec(I1, n), [lane % 2 == 0 for lane in range(n)])
        worse = b.or_(b.icmp_signed(">", own, other), b.and_(b.icmp_signed("==", own, other), first))
        partner_stays = b.icmp_signed("<=", other, limit)
        joint_large = b.and_(b.icmp_signed(">", joint, limit), partner_stays)
        return b.or_(b.icmp_signed(">", own, limit), b.and_(joint_large, worse))

    def _list(self, b, large, first_line, place, count):
        """Append the numbers of the lines that ``large`` marks."""
        mask = b.zext(b.bitcast(large, ir.IntType(self.lanes)), I64)
        known = b.load(count)
        left = alloca_once_value(b, I64(0))
        b.store(mask, left)
        marked = b.call(declare(b.module, "llvm.ctpop.i64", I64, [I64]), [mask])
        with for_range(b, marked) as loop:
            bits = b.load(left)
            line = b.add(first_line, b.cttz(bits, I1(1)))
            at = b.add(place, b.shl(b.add(known, loop.index), I64(1)))
            b.store(b.trunc(line, I16), pointer(b, at, I16)).align = 2
            b.store(b.and_(bits, b.sub(bits, I64(1))), left)
        b.store(b.add(known, marked), count)

    def mend(self, builder, module, arguments):
        """Add the large lines of each row to its 64 columns, eight registers of sums at a time."""
        self.declare(module)
        b, n = builder, self.lanes
        rows, a, w, k4, c = arguments
        k, panel_bytes = b.shl(k4, I64(2)), b.shl(k4, I64(6))
        with for_range(b, rows) as row_loop:
            row = b.add(a, b.mul(b.mul(k, I64(self.activation_bytes)), row_loop.index))
            out = b.add(c, b.shl(row_loop.index, I64(8)))
            table = b.add(row, b.shl(k, I64(1)))
            count = b.zext(load(b, b.add(table, I64(4)), I32, 4), I64)
            with b.if_then(b.icmp_signed("!=", count, I64(0))):
                for column in range(0, 64, 8 * n):
                    places = [b.add(out, I64(4 * (column + n * q))) for q in range(8)]
                    sums = [alloca_once_value(b, self.zero) for _ in places]
                    for place, total in zip(places, sums, strict=True):
                        b.store(load(b, place, self.ints, 4), total)
                    with for_range(b, count) as loop:
                        at = b.add(table, b.add(I64(LIST_AT), b.shl(loop.index, I64(1))))
                        line = b.zext(load(b, at, I16, 2), I64)
                        signed = broadcast4(b, b.add(row, b.shl(line, I64(2))), n)
                        size = b.call(self.sign, [signed, signed])
                        lines = b.add(w, b.shl(line, I64(6)))
                        for q, total in enumerate(sums):
                            panel, inside = divmod(column + n * q, 16)
                            address = b.add(b.add(lines, b.mul(panel_bytes, I64(panel))), I64(4 * inside))
                            weight = load(b, address, self.bytes, 4 * n)
                            pairs = b.call(self.multiply, [size, b.call(self.sign, [weight, signed])])
                            b.store(b.add(b.load(total), b.call(self.widen, [pairs, self.ones])), total)
                    for place, total in zip(places, sums, strict=True):
                        store(b, b.load(total), place)


class Ssse3(Avx2):
    """The same with 128-bit registers, for x86-64-v2."""

    lanes = 4
    names = "llvm.x86.ssse3.pmadd.ub.sw.128", "llvm.x86.sse2.pmadd.wd", "llvm.x86.ssse3.psign.b.128"


__all__ = ["Avx2", "Ssse3"]
