"""Vector products, tanh and the sigmoid for the event kernels, as numba compiles them.

Products go through `tile_of`: a block of outputs stays in vector registers over the whole sum, and each output adds its
terms one by one, in the order of the inputs. So a row's result does not depend on the rows beside it, to the last bit.
"""

from typing import Any

import numpy as np
from llvmlite import binding, ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils as numba_codegen
from numba.extending import intrinsic, overload

cgutils: Any = numba_codegen  # has no types
HAS_WIDE_VECTORS = bool(binding.get_host_cpu_features().get("avx512f", False))
VECTOR_BYTES = 64 if HAS_WIDE_VECTORS else 32
TILE_VECTORS, TAIL_VECTORS = 6, 2  # vectors of outputs in a tile, and in the tiles behind the last whole one
OPTIONS: Any = {"fastmath": {"contract"}, "error_model": "numpy"}
BLOCK_ROWS = 4 if HAS_WIDE_VECTORS else 2  # rows that share a tile: as many as leave all sums in registers


def tile_of(num_rows: int, num_vectors: int) -> Any:
    """An intrinsic: out[k] = first[k] + sum over j of x[j] * w[j, k], a block of outputs k for each of `num_rows` rows.

    Its arguments: w, flat, and where the block begins in it, (inputs, outputs of the block); first; x, and where each
    row begins in it; out likewise; the first of these rows; the first k; the first input and the number of inputs j;
    whether sums begin at `first`, or go on from out.
    """

    @intrinsic
    def tile(  # type: ignore[no-untyped-def]
        typing_context, w, w_begin, first, x, x_at, out, out_at, row, k, first_input, num_inputs, begins
    ):
        del typing_context
        scalar = ir.FloatType() if w.dtype == types.float32 else ir.DoubleType()
        item = w.dtype.bitwidth // 8
        lanes = VECTOR_BYTES // item
        vector = ir.VectorType(scalar, lanes)
        no_vector = ir.Constant(vector, ir.Undefined)
        first_lane = ir.Constant(ir.VectorType(ir.IntType(32), lanes), None)

        def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
            word = args[1].type
            data = [
                context.make_array(kind)(context, builder, array).data if isinstance(kind, types.Array) else None
                for kind, array in zip(signature.args, args, strict=True)
            ]
            w_data, first_data, x_data, out_data = data[0], data[2], data[3], data[5]
            row, k, first_input, num_inputs, begins = args[7:]

            def row_at(places: Any, number: int) -> Any:
                return builder.load(builder.gep(places, [builder.add(row, ir.Constant(word, number))]))

            def vector_at(place: Any, number: int) -> Any:
                return builder.bitcast(builder.gep(place, [ir.Constant(word, number * lanes)]), vector.as_pointer())

            x_rows = [
                builder.gep(x_data, [builder.add(row_at(data[4], number), first_input)]) for number in range(num_rows)
            ]
            outs = [builder.gep(out_data, [builder.add(row_at(data[6], number), k)]) for number in range(num_rows)]
            starts = builder.gep(first_data, [k])
            sums = [[cgutils.alloca_once(builder, vector) for _ in range(num_vectors)] for _ in range(num_rows)]
            for place, of_row in zip(outs, sums, strict=True):
                start = builder.select(begins, starts, place)
                for number, total in enumerate(of_row):
                    builder.store(builder.load(vector_at(start, number), align=item), total)
            name = f"llvm.fmuladd.v{lanes}f{8 * item}"  # one rounding where the machine can do so
            of_vectors = ir.FunctionType(vector, [vector] * 3)
            multiply_add = cgutils.get_or_insert_function(builder.module, of_vectors, name)
            with cgutils.for_range(builder, num_inputs, intp=word) as loop:
                begin = builder.add(args[1], builder.mul(loop.index, ir.Constant(word, num_vectors * lanes)))
                here = builder.gep(w_data, [begin])
                columns = [builder.load(vector_at(here, number), align=item) for number in range(num_vectors)]
                for x_row, of_row in zip(x_rows, sums, strict=True):
                    value = builder.load(builder.gep(x_row, [loop.index]))
                    value = builder.insert_element(no_vector, value, ir.Constant(ir.IntType(32), 0))
                    value = builder.shuffle_vector(value, no_vector, first_lane)
                    for total, column in zip(of_row, columns, strict=True):
                        builder.store(builder.call(multiply_add, [value, column, builder.load(total)]), total)
            for place, of_row in zip(outs, sums, strict=True):
                for number, total in enumerate(of_row):
                    builder.store(builder.load(total), vector_at(place, number), align=item)
            return context.get_dummy_value()

        return types.void(w, w_begin, first, x, x_at, out, out_at, row, k, first_input, num_inputs, begins), generate

    return tile


def _prefetch(typing_context, values, at):  # type: ignore[no-untyped-def]
    """Ask for the piece of memory with values[at], which is used soon."""
    del typing_context

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        whole = ir.IntType(32)
        place = builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [place.type, whole, whole, whole])
        ask = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        reading, keep, data_not_code = 0, 3, 1
        builder.call(ask, [place, *(ir.Constant(whole, number) for number in (reading, keep, data_not_code))])
        return context.get_dummy_value()

    return types.void(values, at), generate


prefetch: Any = intrinsic(_prefetch)


def _power_of_two(typing_context, shifted):  # type: ignore[no-untyped-def]
    """2 ** n for a float that holds n in its lowest bits, as float + SHIFT leaves it there."""
    del typing_context
    is_single = shifted == types.float32

    def generate(context, builder, signature, args):  # type: ignore[no-untyped-def]
        del context, signature
        whole = ir.IntType(32 if is_single else 64)
        bits = builder.bitcast(args[0], whole)
        mantissa, bias = (23, 127) if is_single else (52, 1023)
        exponent = builder.shl(builder.add(bits, ir.Constant(whole, bias)), ir.Constant(whole, mantissa))
        return builder.bitcast(exponent, args[0].type)

    return shifted(shifted), generate


power_of_two: Any = intrinsic(_power_of_two)

# exp(x) - 1 = 2^n (exp(r) - 1) + (2^n - 1),  x = n ln 2 + r,  |r| <= ln 2 / 2;  exp(r) - 1 by its Taylor series, which
# is off by less than half of the last bit after 8 terms (single) and 14 (double). 2^n - 1 is exact, so that small
# results keep all their digits. ln 2 is split in two, so that n times the first part is exact.
_FACTORIALS = [float(np.prod(np.arange(1.0, n + 1))) for n in range(15)]


def _constants(scalar: Any, shift: float, num_terms: int, high: float, low: float) -> tuple[Any, ...]:
    return (
        scalar(shift),
        scalar(1 / np.log(2)),
        scalar(high),
        scalar(low),
        tuple(scalar(1 / _FACTORIALS[n]) for n in range(num_terms, 1, -1)),
    )


SHIFT_32, LOG_32, HIGH_32, LOW_32, TAYLOR_32 = _constants(
    np.float32, 1.5 * 2**23, 8, 0.693359375, np.log(2) - 0.693359375
)
SHIFT_64, LOG_64, HIGH_64, LOW_64, TAYLOR_64 = _constants(
    np.float64, 1.5 * 2**52, 14, float.fromhex("0x1.62e42fee00000p-1"), 1.90821492927058770002e-10
)
ONE_32, TWO_32, FLAT_32, RANGE_32 = np.float32(1), np.float32(2), np.float32(10), np.float32(88)
ONE_64, TWO_64, FLAT_64, RANGE_64 = np.float64(1), np.float64(2), np.float64(20), np.float64(708)
C8, C7, C6, C5, C4, C3, C2 = TAYLOR_32
D14, D13, D12, D11, D10, D9, D8, D7, D6, D5, D4, D3, D2 = TAYLOR_64


def _exp_less_one(x: Any) -> Any:
    raise NotImplementedError("compiled code only")


@overload(_exp_less_one, jit_options=OPTIONS)
def _exp_less_one_as_compiled(x):  # type: ignore[no-untyped-def]
    def single(x):  # type: ignore[no-untyped-def]
        shifted = x * LOG_32 + SHIFT_32
        n = shifted - SHIFT_32
        r = (x - n * HIGH_32) - n * LOW_32
        series = C8
        series = C7 + r * series
        series = C6 + r * series
        series = C5 + r * series
        series = C4 + r * series
        series = C3 + r * series
        series = C2 + r * series
        scale = power_of_two(shifted)
        return scale * (r + r * r * series) + (scale - ONE_32)

    def double(x):  # type: ignore[no-untyped-def]
        shifted = x * LOG_64 + SHIFT_64
        n = shifted - SHIFT_64
        r = (x - n * HIGH_64) - n * LOW_64
        series = D14
        series = D13 + r * series
        series = D12 + r * series
        series = D11 + r * series
        series = D10 + r * series
        series = D9 + r * series
        series = D8 + r * series
        series = D7 + r * series
        series = D6 + r * series
        series = D5 + r * series
        series = D4 + r * series
        series = D3 + r * series
        series = D2 + r * series
        scale = power_of_two(shifted)
        return scale * (r + r * r * series) + (scale - ONE_64)

    return single if x == types.float32 else double


def tanh(x: Any) -> Any:
    """tanh in compiled code; off by a few units of the last bit (tests say how many). NaN stays NaN."""
    raise NotImplementedError("compiled code only")


@overload(tanh, jit_options=OPTIONS)
def _tanh_as_compiled(x):  # type: ignore[no-untyped-def]
    def single(x):  # type: ignore[no-untyped-def]
        x = FLAT_32 if x > FLAT_32 else x
        x = -FLAT_32 if x < -FLAT_32 else x
        t = _exp_less_one(x + x)
        return t / (t + TWO_32)

    def double(x):  # type: ignore[no-untyped-def]
        x = FLAT_64 if x > FLAT_64 else x
        x = -FLAT_64 if x < -FLAT_64 else x
        t = _exp_less_one(x + x)
        return t / (t + TWO_64)

    return single if x == types.float32 else double


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)) in compiled code; off by a few units of the last bit. NaN stays NaN."""
    raise NotImplementedError("compiled code only")


@overload(sigmoid, jit_options=OPTIONS)
def _sigmoid_as_compiled(x):  # type: ignore[no-untyped-def]
    def single(x):  # type: ignore[no-untyped-def]
        x = RANGE_32 if x > RANGE_32 else x
        x = -RANGE_32 if x < -RANGE_32 else x
        return ONE_32 / (TWO_32 + _exp_less_one(-x))

    def double(x):  # type: ignore[no-untyped-def]
        x = RANGE_64 if x > RANGE_64 else x
        x = -RANGE_64 if x < -RANGE_64 else x
        return ONE_64 / (TWO_64 + _exp_less_one(-x))

    return single if x == types.float32 else double
