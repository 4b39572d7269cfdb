//! Running sums and products.

use super::axes::canonical_axis;
use super::broadcast::grain;
use super::grad;
use super::number::{Float, Inexact, Number, Real};
use crate::compute::pool;
use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, KernelFn, Op};
use crate::tensor::{Tensor, dispatch};
use half::{bf16, f16};
use num_complex::Complex;

const NUMBERS: &[&str] = &[
    "exclusive: bool = false",
    "reverse: bool = false",
    "T: {float, double, int32, uint8, int16, int8, complex64, int64, qint8, quint8, qint32, bfloat16, qint16, quint16, uint16, complex128, half, uint32, uint64}",
    "Tidx: {int32, int64} = DT_INT32",
];
const FLOATS: &[&str] = &[
    "exclusive: bool = false",
    "reverse: bool = false",
    "T: {bfloat16, half, float, double}",
    "Tidx: {int32, int64} = DT_INT32",
];

const fn op(
    name: &'static str,
    attrs: &'static [&'static str],
    kernel: KernelFn,
    grad: Grad,
    rows: &'static [&'static str],
) -> Op {
    Op {
        name,
        ins: &["x: T", "axis: Tidx"],
        outs: &["out: T"],
        attrs,
        shape: scan_shape,
        kernel: Kernel::Pure(kernel),
        grad,
        rows,
    }
}

pub(in crate::ops) static OPS: &[Op] = &[
    op(
        "Cumsum",
        NUMBERS,
        cumsum,
        Grad::Fn(grad::cumsum),
        &[
            "f32[[1 2] [3 4]], i32 0 => f32[[1 2] [4 6]]",
            "exclusive=true; f32[1 2 3], i32 -1 => f32[0 1 3]",
            "reverse=true; i32[1 2 3], i64 0 => i32[6 5 3]",
            "exclusive=true, reverse=true; u8[1 2 3], i32 0 => u8[5 3 0]",
            "f32{0}[], i32 0 => f32{0}[]",
        ],
    ),
    op(
        "Cumprod",
        NUMBERS,
        cumprod,
        Grad::Fn(grad::cumprod),
        &["f32[[1 2] [3 4]], i32 1 => f32[[1 2] [3 12]]", "exclusive=true, reverse=true; c64[0:1 2 3], i32 0 => c64[6 3 1]"],
    ),
    op(
        "CumulativeLogsumexp",
        FLOATS,
        cumulative_logsumexp,
        Grad::Fn(grad::cumulative_logsumexp),
        &[
            "f32[1 2 -inf], i32 0 => f32[1 2.3132617 2.3132617]",
            "exclusive=true; f32[1 2 -inf], i32 0 => f32[-inf 1 2.3132617]",
            "reverse=true; f64[-inf 1 -inf 2], i32 0 => f64[2.313261687518223 2.313261687518223 2 2]",
            "f32[1 nan nan], i32 0 => f32[1 1.6931472 2.3862944]",
            "f32[1 inf inf], i32 0 => f32[1 inf nan]",
        ],
    ),
];

fn scan_shape(ctx: &mut InferCtx) -> Result<()> {
    ctx.set(0, ctx.input(0))
}

/// Scans along an axis: accumulators start at `start`, take each element by `step`, and become results by `narrow`.
fn scan<T: Number, A: Copy + Send + Sync>(
    ctx: &mut KernelCtx,
    start: A,
    step: impl Fn(A, T) -> A + Sync,
    narrow: impl Fn(A) -> T + Sync,
) -> Result<()> {
    let (input, axis) = (ctx.input(0)?, ctx.input(1)?);
    if axis.rank() != 0 {
        bail!(InvalidArgument, "ScanOp: axis must be a scalar, not {:?}", axis.dims());
    }
    let (dims, axis) = (input.dims(), axis.item_i64()?);
    let Some(axis) = canonical_axis(axis, dims.len()) else {
        let rank = dims.len() as i64;
        bail!(InvalidArgument, "ScanOp: Expected scan axis in the range [{}, {rank}), but got {axis}", -rank);
    };
    let (exclusive, reverse) = (ctx.node().boolean("exclusive")?, ctx.node().boolean("reverse")?);
    let (size, inner) = (dims[axis], dims[axis + 1..].iter().product::<usize>());
    let data = input.as_slice::<T>()?;
    let mut out = Tensor::uninit(input.dtype(), dims)?;
    let block = size * inner;
    pool::parallel_pieces(out.as_mut_slice::<T>()?, block, grain(2).div_ceil(block.max(1)), |first, piece| {
        let mut acc = vec![start; inner];
        for (number, results) in piece.chunks_mut(block).enumerate() {
            let data = &data[(first + number) * block..][..block];
            acc.fill(start);
            for i in 0..size {
                let row = if reverse { size - 1 - i } else { i } * inner;
                let pairs = results[row..row + inner].iter_mut().zip(&data[row..row + inner]);
                for (acc, (result, &value)) in acc.iter_mut().zip(pairs) {
                    let next = step(*acc, value);
                    *result = narrow(if exclusive { *acc } else { next });
                    *acc = next;
                }
            }
        }
    });
    ctx.set(0, out)
}

/// A number with the type in which its running sums are kept.
trait Scanned: Number {
    type Acc: Number;
    fn widen(self) -> Self::Acc;
    fn narrow(acc: Self::Acc) -> Self;
}

macro_rules! scanned {
    ($($type:ty, $acc:ty, $x:ident: $widen:expr, $narrow:expr;)*) => {
        $(impl Scanned for $type {
            type Acc = $acc;
            #[inline(always)]
            fn widen(self) -> $acc { let $x = self; $widen }
            #[inline(always)]
            fn narrow($x: $acc) -> $type { $narrow }
        })*
    };
}

scanned! {
    f32, f32, x: x, x;
    f64, f64, x: x, x;
    f16, f32, x: x.to_f32(), f16::from_f32(x);
    bf16, f32, x: x.to_f32(), bf16::from_f32(x);
    i8, i8, x: x, x;
    i16, i16, x: x, x;
    i32, i32, x: x, x;
    i64, i64, x: x, x;
    u8, u8, x: x, x;
    u16, u16, x: x, x;
    u32, u32, x: x, x;
    u64, u64, x: x, x;
    Complex<f32>, Complex<f32>, x: x, x;
    Complex<f64>, Complex<f64>, x: x, x;
}

fn cumsum(ctx: &mut KernelCtx) -> Result<()> {
    dispatch!(ctx.input(0)?.dtype().storage(), numbers, T => {
        scan::<T, <T as Scanned>::Acc>(ctx, Number::ZERO, |acc, v| Number::add(acc, Scanned::widen(v)), <T as Scanned>::narrow)
    })
}

fn cumprod(ctx: &mut KernelCtx) -> Result<()> {
    dispatch!(ctx.input(0)?.dtype().storage(), numbers, T => {
        scan::<T, <T as Scanned>::Acc>(ctx, Number::ONE, |acc, v| Number::mul(acc, Scanned::widen(v)), <T as Scanned>::narrow)
    })
}

fn cumulative_logsumexp(ctx: &mut KernelCtx) -> Result<()> {
    dispatch!(ctx.input(0)?.dtype(), floats, T => {
        type Acc = <T as Scanned>::Acc;
        scan::<T, Acc>(ctx, <Acc as Real>::LOWEST, |acc, v| log_add_exp(acc, Scanned::widen(v)), <T as Scanned>::narrow)
    })
}

/// `ln(e^a + e^b)` without overflow. As in TensorFlow, `b` counts as `a` where it is no number, and two positive infinities
/// give none.
fn log_add_exp<T: Float>(a: T, b: T) -> T {
    let low = if b < a { b } else { a };
    let high = if a < b { b } else { a };
    if high == <T as Real>::LOWEST {
        return high;
    }
    Number::add(high, Inexact::ln_1p(Inexact::exp(Number::sub(low, high))))
}
