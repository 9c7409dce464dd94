# mypy: ignore-errors
"""Element-wise mathematics and row operations of the encoder, in one written order of operations.

A row of n float32 numbers is walked in steps of 16; element k lives in lane k mod 16 throughout::

    x:  [ 0 .. 15 ][ 16 .. 31 ] ... [ n-16 .. n-1 ]        sum = halving tree over the 16 lane sums
"""

import numpy as np
from numba import njit

from edge_demist.kernels.simd import (
    absolute,
    activation_bytes,
    activation_offset,
    activation_ready,
    broadcast,
    float_bits,
    from_bits,
    larger_size,
    load,
    max_lanes,
    minimum,
    shift_left_23,
    store,
    store_bytes,
    store_f32,
    sum_lanes,
)

F32 = np.float32
OPTIONS = {"error_model": "numpy", "nogil": True}

ROUND = F32(12582912.0)  # 1.5 * 2**23: adding it leaves rint(x) in the low bits of the mantissa
GELU_LIMIT = F32(4.5)
GELU_SQUARE_SCALE = F32(2.0 / 4.5**2)
GELU = (
    -1.5656838659197092e-3, 4.655324853956699e-3, -6.6828178241848946e-3, 1.0140453465282917e-2, -1.8159236758947372e-2,
    2.8623970225453377e-2, -4.0295783430337906e-2, 5.467185005545616e-2, -7.718337327241898e-2, 1.5690529346466064e-1,
)  # fmt: skip


@njit(**OPTIONS)
def exp2(x):
    """2**x for x in [-64, 64], relative error below 2e-7; the lower limit keeps denormals away."""
    shifted = x + broadcast(ROUND)
    r = x - (shifted - broadcast(ROUND))
    p = broadcast(F32(1.326472731307149e-3)) * r + broadcast(F32(9.671512991189957e-3))
    p = p * r + broadcast(F32(5.550733581185341e-2))
    p = p * r + broadcast(F32(2.4022242426872253e-1))
    p = p * r + broadcast(F32(6.931470036506653e-1))
    p = p * r + broadcast(F32(1.0))
    return from_bits(float_bits(p) + shift_left_23(float_bits(shifted)))


@njit(**OPTIONS)
def _gelu_variable(x):
    """|x|, |x| cut at 4.5, and t of ``gelu_four``."""
    size = absolute(x)
    inside = minimum(size, broadcast(GELU_LIMIT))
    return size, inside, inside * inside * broadcast(GELU_SQUARE_SCALE) - broadcast(F32(1.0))


@njit(**OPTIONS)
def _horner_four(p0, p1, p2, p3, t0, t1, t2, t3, coefficient):
    """One step of four polynomials."""
    c = broadcast(F32(coefficient))
    return p0 * t0 + c, p1 * t1 + c, p2 * t2 + c, p3 * t3 + c


@njit(**OPTIONS)
def gelu(x):
    """``gelu_four`` of one vector."""
    size, inside, t = _gelu_variable(x)
    p = broadcast(F32(GELU[0])) * t + broadcast(F32(GELU[1]))
    p = p * t + broadcast(F32(GELU[2]))
    p = p * t + broadcast(F32(GELU[3]))
    p = p * t + broadcast(F32(GELU[4]))
    p = p * t + broadcast(F32(GELU[5]))
    p = p * t + broadcast(F32(GELU[6]))
    p = p * t + broadcast(F32(GELU[7]))
    p = p * t + broadcast(F32(GELU[8]))
    p = p * t + broadcast(F32(GELU[9]))
    return broadcast(F32(0.5)) * x + size * (inside * p)


@njit(**OPTIONS)
def gelu_four(x0, x1, x2, x3):
    """x/2 * (1 + erf(x / sqrt 2)) of four vectors: absolute error below 8e-6 up to |x| = 4.5, relative 8e-6 beyond.

    erf(x / sqrt 2) / (2 x) is even: a minimax polynomial of degree 9 in t = 2 (x / 4.5)**2 - 1, where |x| is
    cut at 4.5 (erf is 1 - 7e-6 there).  No division, no exponential.  Four at a time, because one polynomial is a
    chain of dependent steps and would leave the arithmetic units waiting.
    """
    s0, i0, t0 = _gelu_variable(x0)
    s1, i1, t1 = _gelu_variable(x1)
    s2, i2, t2 = _gelu_variable(x2)
    s3, i3, t3 = _gelu_variable(x3)
    p0 = broadcast(F32(GELU[0]))
    p1, p2, p3 = p0, p0, p0
    p0, p1, p2, p3 = _horner_four(p0, p1, p2, p3, t0, t1, t2, t3, GELU[1])
    p0, p1, p2, p3 = _horner_four(p0, p1, p2, p3, t0, t1, t2, t3, GELU[2])
    p0, p1, p2, p3 = _horner_four(p0, p1, p2, p3, t0, t1, t2, t3, GELU[3])
    p0, p1, p2, p3 = _horner_four(p0, p1, p2, p3, t0, t1, t2, t3, GELU[4])
    p0, p1, p2, p3 = _horner_four(p0, p1, p2, p3, t0, t1, t2, t3, GELU[5])
    p0, p1, p2, p3 = _horner_four(p0, p1, p2, p3, t0, t1, t2, t3, GELU[6])
    p0, p1, p2, p3 = _horner_four(p0, p1, p2, p3, t0, t1, t2, t3, GELU[7])
    p0, p1, p2, p3 = _horner_four(p0, p1, p2, p3, t0, t1, t2, t3, GELU[8])
    p0, p1, p2, p3 = _horner_four(p0, p1, p2, p3, t0, t1, t2, t3, GELU[9])
    half = broadcast(F32(0.5))
    return half * x0 + s0 * (i0 * p0), half * x1 + s1 * (i1 * p1), half * x2 + s2 * (i2 * p2), half * x3 + s3 * (i3 * p3)


@njit(**OPTIONS)
def quantize_row(x, n, largest, out):
    """Symmetric int8 of one row whose absolute maximum is ``largest``; returns the scale.

    The low byte of ROUND + offset + v is rint(v) + offset, so rounding and the shift to unsigned that some
    instructions want are one addition.  What else a level keeps of a row is made by ``activation_ready``.
    """
    factor = broadcast(F32(127.0) / largest)
    magic = broadcast(ROUND + F32(activation_offset()))
    for k in range(0, n, 16):
        value = load(x + 4 * k) * factor
        store_bytes(out + k, float_bits(value + magic))
    activation_ready(out, n)
    return largest * F32(1.0 / 127.0)


@njit(**OPTIONS)
def quantize_rows(rows, x, n, out, scales):
    """``quantize_row`` for ``rows`` rows of n numbers that follow each other."""
    for t in range(rows):
        row = x + 4 * t * n
        largest = broadcast(F32(1e-12))
        for k in range(0, n, 16):
            largest = larger_size(largest, absolute(load(row + 4 * k)))
        store_f32(scales + 4 * t, quantize_row(row, n, max_lanes(largest), out + t * n * activation_bytes()))


@njit(**OPTIONS)
def normalize_row(x, n, lane_sums, weight, bias, eps):
    """Layer norm of one row in place, given its 16 lane sums; returns the lane-wise maximum of |result|."""
    inverse = F32(1.0) / F32(n)
    mean = broadcast(sum_lanes(lane_sums) * inverse)
    squares = broadcast(F32(0.0))
    for k in range(0, n, 16):
        centred = load(x + 4 * k) - mean
        squares = squares + centred * centred
    factor = broadcast(F32(1.0) / np.sqrt(sum_lanes(squares) * inverse + eps))
    largest = broadcast(F32(1e-12))
    for k in range(0, n, 16):
        value = (load(x + 4 * k) - mean) * factor * load(weight + 4 * k) + load(bias + 4 * k)
        store(x + 4 * k, value)
        largest = larger_size(largest, absolute(value))
    return largest


@njit(**OPTIONS)
def normalize_rows(rows, x, n, sums, weight, bias, eps, out, scales):
    """Layer norm of each row (``sums``: 16 lane sums a row), then its int8 for the next linear layer."""
    for t in range(rows):
        row = x + 4 * t * n
        largest = normalize_row(row, n, load(sums + 64 * t), weight, bias, eps)
        store_f32(scales + 4 * t, quantize_row(row, n, max_lanes(largest), out + t * n * activation_bytes()))
