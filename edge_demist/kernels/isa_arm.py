# mypy: ignore-errors
"""AArch64 micro-kernels: NEON (ARMv8.0) and NEON with dot product (ARMv8.2)."""

from llvmlite import ir

from edge_demist.kernels.isa import I8, I16, I32, I64, MicroKernel, declare, load, shuffle, store, vec


class NeonDot(MicroKernel):
    """``sdot`` by element: four columns x 4 k an instruction.

    ::

        one q register of a row holds 16 k = the activations of 4 weight lines
        sums[m][q] += dot4(w line u, columns 4q..4q+3; a[m] lane u)
    """

    rows, columns, lines = 6, 16, 4

    def start(self, builder, module, rows, correction):
        """Four q registers of sums a row."""
        quad, bytes_ = vec(I32, 4), vec(I8, 16)
        self.dot = declare(module, "llvm.aarch64.neon.sdot.v4i32.v16i8", quad, [quad, bytes_, bytes_])
        return [ir.Constant(quad, [0] * 4)] * (4 * rows)

    def step(self, builder, sums, a, w):
        """Four lines: 16 k."""
        sums = list(sums)
        values = [load(builder, row, vec(I32, 4), 1) for row in a]
        for u in range(4):
            for q in range(4):
                weight = load(builder, builder.add(w[0], I64(64 * u + 16 * q)), vec(I8, 16), 16)
                for m, value in enumerate(values):
                    lane = builder.bitcast(shuffle(builder, value, value, [u] * 4), vec(I8, 16))
                    sums[4 * m + q] = builder.call(self.dot, [sums[4 * m + q], weight, lane])
        return sums

    def finish(self, builder, sums, c):
        """Rows of int32, in column order."""
        for m, row in enumerate(c):
            for q in range(4):
                store(builder, sums[4 * m + q], builder.add(row, I64(16 * q)))


class Neon(MicroKernel):
    """``smull`` + ``smlal`` + ``sadalp``: two products of at most 16129 fit int16.

    ::

        lines u and u+1, two columns:   p = w[u] * a[u] + w[u+1] * a[u+1]      8 x int16: 2 columns x 4 k
        sums[m][columns] += p[0]+p[1], p[2]+p[3], ...                          4 x int32: 2 columns x 2 halves
    """

    rows, columns, lines = 2, 16, 2

    def start(self, builder, module, rows, correction):
        """Eight q registers of half sums a row."""
        half, pairs, quad = vec(I8, 8), vec(I16, 8), vec(I32, 4)
        self.multiply = declare(module, "llvm.aarch64.neon.smull.v8i16", pairs, [half, half])
        self.widen = declare(module, "llvm.aarch64.neon.saddlp.v4i32.v8i16", quad, [pairs])
        # A table look-up and no shuffle: LLVM would fold the upper half of a repeated value into its lower half and
        # then move the upper half of every weight (ext) instead of using smull2.
        self.pick = declare(module, "llvm.aarch64.neon.tbl1.v16i8", vec(I8, 16), [vec(I8, 16), vec(I8, 16)])
        self.repeat = [ir.Constant(vec(I8, 16), [4 * u + k % 4 for k in range(16)]) for u in range(2)]
        self.join = declare(module, "llvm.aarch64.neon.addp.v4i32", quad, [quad, quad])
        return [ir.Constant(quad, [0] * 4)] * (8 * rows)

    def step(self, builder, sums, a, w):
        """Two lines: 8 k."""
        sums = list(sums)
        values = []
        for row in a:
            eight = load(builder, row, vec(I8, 8), 1)
            wide = shuffle(builder, eight, eight, range(16))
            values.append([builder.call(self.pick, [wide, self.repeat[u]]) for u in range(2)])
        for q in range(4):
            lines = [load(builder, builder.add(w[0], I64(64 * u + 16 * q)), vec(I8, 16), 16) for u in range(2)]
            for h in range(2):
                half = range(8 * h, 8 * h + 8)
                weights = [shuffle(builder, line, line, half) for line in lines]
                for m in range(len(a)):
                    parts = [shuffle(builder, value, value, half) for value in values[m]]
                    products = [builder.call(self.multiply, [weights[u], parts[u]]) for u in range(2)]
                    added = builder.call(self.widen, [builder.add(*products)])
                    where = 8 * m + 2 * q + h
                    sums[where] = builder.add(sums[where], added)
        return sums

    def finish(self, builder, sums, c):
        """Join the halves: rows of int32, in column order."""
        for m, row in enumerate(c):
            for q in range(4):
                joined = builder.call(self.join, [sums[8 * m + 2 * q], sums[8 * m + 2 * q + 1]])
                store(builder, joined, builder.add(row, I64(16 * q)))


__all__ = ["Neon", "NeonDot"]
