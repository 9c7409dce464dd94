# mypy: ignore-errors
"""The micro-kernel in plain LLVM vectors, for hosts that only the JIT engine meets."""

from llvmlite import ir

from edge_demist.kernels.isa import I8, I32, I64, MicroKernel, load, shuffle, splat, store, vec


class Generic(MicroKernel):
    """Sixteen int32 sums a row; each k is one multiplication of the panel's 16 columns."""

    rows, columns, lines = 2, 16, 1

    def start(self, builder, module, rows, correction):
        """Signed activations need no correction."""
        return [ir.Constant(vec(I32, 16), [0] * 16)] * rows

    def step(self, builder, sums, a, w):
        """One line: columns interleaved by 4 k."""
        sums = list(sums)
        line = load(builder, w[0], vec(I8, 64), 64)
        for k in range(4):
            column = builder.sext(shuffle(builder, line, line, range(k, 64, 4)), vec(I32, 16))
            for m, row in enumerate(a):
                value = builder.sext(load(builder, builder.add(row, I64(k)), I8, 1), I32)
                sums[m] = builder.add(sums[m], builder.mul(column, splat(builder, value, vec(I32, 16))))
        return sums

    def finish(self, builder, sums, c):
        """Rows of int32, in column order."""
        for value, row in zip(sums, c, strict=True):
            store(builder, value, row)
