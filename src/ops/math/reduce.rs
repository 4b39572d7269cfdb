//! Reductions over axes: Sum, Prod, Max, Min, Mean, All, Any, EuclideanNorm.

use super::axes::{reduced_dimensions, reduction_shape};
use super::broadcast::grain;
use super::grad;
use super::number::{Integer, Number, Real};
use crate::compute::level::vectorize;
use crate::compute::pool;
use crate::error::Result;
use crate::graph::op::{Grad, Kernel, KernelCtx, KernelFn, Op};
use crate::tensor::{Dims, Element, Tensor, dispatch};
use half::{bf16, f16};
use num_complex::Complex;
use smallvec::SmallVec;

const NUMBERS: &[&str] = &[
    "keep_dims: bool = false",
    "T: {float, double, int32, uint8, int16, int8, complex64, int64, qint8, quint8, qint32, bfloat16, qint16, quint16, uint16, complex128, half, uint32, uint64}",
    "Tidx: {int32, int64} = DT_INT32",
];
const ORDERED: &[&str] = &[
    "keep_dims: bool = false",
    "T: {float, double, int32, uint8, int16, int8, int64, bfloat16, uint16, half, uint32, uint64, qint8, quint8, qint32, qint16, quint16}",
    "Tidx: {int32, int64} = DT_INT32",
];
const BOOLS: &[&str] = &["keep_dims: bool = false", "Tidx: {int32, int64} = DT_INT32"];

const fn op(
    name: &'static str,
    attrs: &'static [&'static str],
    kernel: KernelFn,
    grad: Grad,
    rows: &'static [&'static str],
) -> Op {
    Op {
        name,
        ins: &["input: T", "reduction_indices: Tidx"],
        outs: &["output: T"],
        attrs,
        shape: reduction_shape,
        kernel: Kernel::Pure(kernel),
        grad,
        rows,
    }
}

const fn logical(name: &'static str, kernel: KernelFn, rows: &'static [&'static str]) -> Op {
    Op {
        ins: &["input: bool", "reduction_indices: Tidx"],
        outs: &["output: bool"],
        ..op(name, BOOLS, kernel, Grad::None("a bool"), rows)
    }
}

pub(in crate::ops) static OPS: &[Op] = &[
    op(
        "Sum",
        NUMBERS,
        sum,
        Grad::Fn(grad::sum),
        &[
            "f32[[1 2] [3 4]], i32[0 1] => f32 10",
            "f32[[1 2] [3 4]], i32 -1 => f32[3 7]",
            "keep_dims=true; i32[[1 2] [3 4]], i64 0 => i32[[4 6]]",
            "f32[[[1 2] [3 4]] [[5 6] [7 8]]], i32[0 2] => f32[14 22]",
            "u8[100 100 100], i32 0 => u8 44",
            "f32{0,2}[], i32 0 => f32[0 0]",
            "f32[1 2], i32{0}[] => f32[1 2]",
        ],
    ),
    op("Prod", NUMBERS, prod, Grad::Fn(grad::prod), &["i32[[1 2] [3 4]], i32 1 => i32[2 12]", "f64{0}[], i32 0 => f64 1"]),
    op("Max", ORDERED, max, Grad::Fn(grad::extremum), &["f32[1 NaN 2], i32 0 => f32 NaN", "i8{0,1}[], i32 0 => i8[-128]"]),
    op("Min", ORDERED, min, Grad::Fn(grad::extremum), &["f32[[1 -2] [3 4]], i32 0 => f32[1 -2]", "f32{0}[], i32 0 => f32 inf"]),
    op(
        "Mean",
        NUMBERS,
        mean,
        Grad::Fn(grad::mean),
        &[
            "f32[[1 2] [3 5]], i32 1 => f32[1.5 4]",
            "u8[100 100 101], i32 0 => u8 100",
            "i32[-3 -4], i32 0 => i32 -3",
            "f32{0}[], i32 0 => f32 NaN",
        ],
    ),
    op(
        "EuclideanNorm",
        NUMBERS,
        euclidean_norm,
        Grad::Fn(grad::euclidean_norm),
        &["c64[3:4 0], i32 0 => c64 5", "i32[4 5 7], i32 0 => i32 9", "f32[[3 4] [6 8]], i32 1 => f32[5 10]"],
    ),
    logical("All", all, &["bool[[true false] [true true]], i32 1 => bool[false true]", "bool{0}[], i32 0 => bool true"]),
    logical("Any", any, &["bool[[true false] [false false]], i32 0 => bool[true false]"]),
];

/// A reduction of elements `T` to an accumulator and back.
trait Reducer<T>: Send + Sync {
    type Acc: Copy + Send + Sync;

    const START: Self::Acc;

    fn widen(value: T) -> Self::Acc;
    fn merge(a: Self::Acc, b: Self::Acc) -> Self::Acc;
    fn finish(acc: Self::Acc, count: usize) -> T;
}

/// How a tensor is reduced: adjacent dimensions of one kind are one.
struct Plan {
    /// Size of each dimension, and whether it is reduced; the kinds alternate.
    dims: SmallVec<[(usize, bool); 8]>,
    /// The shape of the result.
    out: Dims,
    /// Elements that go into one result.
    count: usize,
}

impl Plan {
    fn new(ctx: &KernelCtx) -> Result<Plan> {
        let input = ctx.input(0)?;
        let reduced = reduced_dimensions(input.rank(), ctx.input(1)?)?;
        let keep = ctx.node().boolean("keep_dims")?;
        let (mut dims, mut out, mut count) = (SmallVec::<[(usize, bool); 8]>::new(), Dims::new(), 1);
        for (&size, &reduced) in input.dims().iter().zip(&reduced) {
            if !reduced {
                out.push(size);
            } else {
                count *= size;
                if keep {
                    out.push(1);
                }
            }
            match dims.last_mut() {
                Some((last, kind)) if *kind == reduced => *last *= size,
                _ => dims.push((size, reduced)),
            }
        }
        dims.retain(|d| d.0 != 1);
        let mut merged = SmallVec::<[(usize, bool); 8]>::new();
        for (size, reduced) in dims {
            match merged.last_mut() {
                Some((last, kind)) if *kind == reduced => *last *= size,
                _ => merged.push((size, reduced)),
            }
        }
        Ok(Plan { dims: merged, out, count })
    }
}

/// Lanes of a contiguous reduction.
const LANES: usize = 32;
/// Elements whose lanes are merged at once, so that the error of long sums stays small.
const BLOCK: usize = 2048;

#[inline(always)]
fn reduce_block<T: Element, R: Reducer<T>>(data: &[T]) -> R::Acc {
    let mut lanes = [R::START; LANES];
    let (chunks, rest) = data.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = R::merge(*lane, R::widen(value));
        }
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for i in 0..width {
            lanes[i] = R::merge(lanes[i], lanes[i + width]);
        }
    }
    rest.iter().fold(lanes[0], |acc, &value| R::merge(acc, R::widen(value)))
}

fn reduce_slice<T: Element, R: Reducer<T>>(data: &[T]) -> R::Acc {
    if data.len() < LANES {
        return data.iter().fold(R::START, |acc, &value| R::merge(acc, R::widen(value)));
    }
    let block = |block: &[T]| {
        vectorize(
            #[inline(always)]
            || reduce_block::<T, R>(block),
        )
    };
    if data.len() <= BLOCK {
        return block(data);
    }
    // Halves of whole blocks, so that sums are added in pairs.
    let middle = (data.len() / 2).next_multiple_of(BLOCK);
    R::merge(reduce_slice::<T, R>(&data[..middle]), reduce_slice::<T, R>(&data[middle..]))
}

/// Adds a row to the accumulators.
fn add_row<T: Element, R: Reducer<T>>(acc: &mut [R::Acc], row: &[T]) {
    vectorize(
        #[inline(always)]
        || {
            for (acc, &value) in acc.iter_mut().zip(row) {
                *acc = R::merge(*acc, R::widen(value));
            }
        },
    );
}

/// Reduces `data` of these dimensions into the accumulators of the kept ones.
fn reduce_into<T: Element, R: Reducer<T>>(dims: &[(usize, bool)], data: &[T], acc: &mut [R::Acc]) {
    match dims {
        [] => acc[0] = R::merge(acc[0], R::widen(data[0])),
        [(_, true)] => acc[0] = R::merge(acc[0], reduce_slice::<T, R>(data)),
        [(_, false)] => add_row::<T, R>(acc, data),
        [(rows, true), (columns, false)] => {
            for row in 0..*rows {
                add_row::<T, R>(acc, &data[row * columns..][..*columns]);
            }
        }
        [(size, reduced), rest @ ..] => {
            let (part, kept) = (data.len() / size, acc.len() / if *reduced { 1 } else { *size });
            for i in 0..*size {
                let start = if *reduced { 0 } else { i * kept };
                reduce_into::<T, R>(rest, &data[i * part..][..part], &mut acc[start..start + kept]);
            }
        }
    }
}

fn reduce<T: Element, R: Reducer<T>>(ctx: &mut KernelCtx) -> Result<()> {
    let plan = Plan::new(ctx)?;
    let input = ctx.input(0)?;
    let data = input.as_slice::<T>()?;
    let mut out = Tensor::uninit(input.dtype(), &plan.out)?;
    let results = out.as_mut_slice::<T>()?;
    if data.is_empty() {
        results.fill(R::finish(R::START, plan.count));
        return ctx.set(0, out);
    }
    match plan.dims[..] {
        [(size, true)] if size > 4 * BLOCK => {
            let mut partial = vec![R::START; size.div_ceil(4 * BLOCK)];
            pool::parallel_pieces(&mut partial, 1, grain(1).div_ceil(4 * BLOCK), |first, piece| {
                for (i, acc) in piece.iter_mut().enumerate() {
                    let start = (first + i) * 4 * BLOCK;
                    *acc = reduce_slice::<T, R>(&data[start..size.min(start + 4 * BLOCK)]);
                }
            });
            results[0] = R::finish(partial.into_iter().fold(R::START, R::merge), plan.count);
        }
        [(outer, false), ref rest @ ..] => {
            let (part, kept) = (data.len() / outer, results.len() / outer);
            pool::parallel_pieces(results, kept, grain(1).div_ceil(part), |first, piece| {
                let mut acc = vec![R::START; kept];
                for (i, results) in piece.chunks_mut(kept).enumerate() {
                    acc.fill(R::START);
                    reduce_into::<T, R>(rest, &data[(first + i) * part..][..part], &mut acc);
                    finish::<T, R>(&acc, results, plan.count);
                }
            });
        }
        [(rows, true), (columns, false)] => {
            pool::parallel_pieces(results, 64, grain(1).div_ceil(64 * rows), |first, piece| {
                let mut acc = vec![R::START; piece.len()];
                for row in 0..rows {
                    add_row::<T, R>(&mut acc, &data[row * columns + first * 64..][..piece.len()]);
                }
                finish::<T, R>(&acc, piece, plan.count);
            });
        }
        ref dims => {
            let mut acc = vec![R::START; results.len()];
            reduce_into::<T, R>(dims, data, &mut acc);
            finish::<T, R>(&acc, results, plan.count);
        }
    }
    ctx.set(0, out)
}

fn finish<T: Element, R: Reducer<T>>(acc: &[R::Acc], results: &mut [T], count: usize) {
    for (result, &acc) in results.iter_mut().zip(acc) {
        *result = R::finish(acc, count);
    }
}

/// An element of which sums, products and means are taken.
trait Summed: Number {
    /// In which sums and products are kept: the type itself, or a wider float.
    type Acc: Number;
    /// In which means and norms are kept: a wide integer for integers.
    type Total: Number;

    fn widen(self) -> Self::Acc;
    fn narrow(acc: Self::Acc) -> Self;
    fn total(self) -> Self::Total;
    fn mean(total: Self::Total, count: usize) -> Self;
    fn root(total: Self::Total) -> Self;
}

macro_rules! summed {
    ($($type:ty, $acc:ty, $total:ty, $x:ident: $widen:expr, $narrow:expr, $to_total:expr, $mean:expr, $root:expr;)*) => {
        $(impl Summed for $type {
            type Acc = $acc;
            type Total = $total;

            #[inline(always)]
            fn widen(self) -> $acc { let $x = self; $widen }
            #[inline(always)]
            fn narrow($x: $acc) -> $type { $narrow }
            #[inline(always)]
            fn total(self) -> $total { let $x = self; $to_total }
            #[inline(always)]
            fn mean($x: $total, count: usize) -> $type { $mean($x, count) }
            #[inline(always)]
            fn root($x: $total) -> $type { $root }
        })*
    };
}

summed! {
    f32, f32, f32, x: x, x, x, |x: f32, n| x / n as f32, x.sqrt();
    f64, f64, f64, x: x, x, x, |x: f64, n| x / n as f64, x.sqrt();
    f16, f32, f32, x: x.to_f32(), f16::from_f32(x), x.to_f32(), |x: f32, n| f16::from_f32(x / n as f32), f16::from_f32(x.sqrt());
    bf16, f32, f32, x: x.to_f32(), bf16::from_f32(x), x.to_f32(), |x: f32, n| bf16::from_f32(x / n as f32), bf16::from_f32(x.sqrt());
    Complex<f32>, Complex<f32>, Complex<f32>, x: x, x, x, |x: Self, n| x / n as f32, Complex::new(x.re.sqrt(), 0.0);
    Complex<f64>, Complex<f64>, Complex<f64>, x: x, x, x, |x: Self, n| x / n as f64, Complex::new(x.re.sqrt(), 0.0);
    i8, i8, i64, x: x, x, i64::from(x), |x, n| Integer::div(x, n as i64) as i8, (x as f64).sqrt() as i8;
    i16, i16, i64, x: x, x, i64::from(x), |x, n| Integer::div(x, n as i64) as i16, (x as f64).sqrt() as i16;
    i32, i32, i64, x: x, x, i64::from(x), |x, n| Integer::div(x, n as i64) as i32, (x as f64).sqrt() as i32;
    i64, i64, i64, x: x, x, x, |x, n| Integer::div(x, n as i64), (x as f64).sqrt() as i64;
    u8, u8, u64, x: x, x, u64::from(x), |x, n| Integer::div(x, n as u64) as u8, (x as f64).sqrt() as u8;
    u16, u16, u64, x: x, x, u64::from(x), |x, n| Integer::div(x, n as u64) as u16, (x as f64).sqrt() as u16;
    u32, u32, u64, x: x, x, u64::from(x), |x, n| Integer::div(x, n as u64) as u32, (x as f64).sqrt() as u32;
    u64, u64, u64, x: x, x, x, |x, n| Integer::div(x, n as u64), (x as f64).sqrt() as u64;
}

macro_rules! reducers {
    ($($name:ident, $bound:ident, $acc:ty, $start:expr, $widen:expr, $merge:expr, $finish:expr;)*) => {
        $(struct $name;

        impl<T: $bound> Reducer<T> for $name {
            type Acc = $acc;
            const START: $acc = $start;
            #[inline(always)]
            fn widen(value: T) -> $acc { $widen(value) }
            #[inline(always)]
            fn merge(a: $acc, b: $acc) -> $acc { $merge(a, b) }
            #[inline(always)]
            fn finish(acc: $acc, count: usize) -> T { $finish(acc, count) }
        })*
    };
}

reducers! {
    Sum, Summed, T::Acc, T::Acc::ZERO, T::widen, Number::add, |acc, _| T::narrow(acc);
    Prod, Summed, T::Acc, T::Acc::ONE, T::widen, Number::mul, |acc, _| T::narrow(acc);
    Mean, Summed, T::Total, T::Total::ZERO, T::total, Number::add, T::mean;
    Norm, Summed, T::Total, T::Total::ZERO, |v: T| v.total().mul(v.conj().total()), Number::add, |acc, _| T::root(acc);
    Max, Real, T, T::LOWEST, |v: T| v, Real::maximum, |acc, _| acc;
    Min, Real, T, T::HIGHEST, |v: T| v, Real::minimum, |acc, _| acc;
}

struct All;
struct Any;

impl Reducer<bool> for All {
    type Acc = bool;
    const START: bool = true;
    #[inline(always)]
    fn widen(value: bool) -> bool {
        value
    }
    #[inline(always)]
    fn merge(a: bool, b: bool) -> bool {
        a & b
    }
    #[inline(always)]
    fn finish(acc: bool, _: usize) -> bool {
        acc
    }
}

impl Reducer<bool> for Any {
    type Acc = bool;
    const START: bool = false;
    #[inline(always)]
    fn widen(value: bool) -> bool {
        value
    }
    #[inline(always)]
    fn merge(a: bool, b: bool) -> bool {
        a | b
    }
    #[inline(always)]
    fn finish(acc: bool, _: usize) -> bool {
        acc
    }
}

macro_rules! kernels {
    ($($name:ident: $class:ident, $reducer:ident;)*) => {
        $(fn $name(ctx: &mut KernelCtx) -> Result<()> {
            dispatch!(ctx.input(0)?.dtype().storage(), $class, T => reduce::<T, $reducer>(ctx))
        })*
    };
}

kernels! {
    sum: numbers, Sum;
    prod: numbers, Prod;
    mean: numbers, Mean;
    euclidean_norm: numbers, Norm;
    max: real, Max;
    min: real, Min;
}

fn all(ctx: &mut KernelCtx) -> Result<()> {
    reduce::<bool, All>(ctx)
}

fn any(ctx: &mut KernelCtx) -> Result<()> {
    reduce::<bool, Any>(ctx)
}
