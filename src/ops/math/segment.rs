//! Reductions over segments of rows, by sorted or by any segment ids.

use super::grad;
use super::number::{Integer, Number, Real};
use crate::error::{Result, bail};
use crate::graph::op::{Grad, GradFn, InferCtx, Kernel, KernelCtx, KernelFn, Op, ShapeFn};
use crate::tensor::{Shape, Tensor, dispatch};
use half::{bf16, f16};
use num_complex::Complex;

const NUMBERS: &str = "T: {float, double, int32, uint8, int16, int8, complex64, int64, qint8, quint8, qint32, bfloat16, qint16, quint16, uint16, complex128, half, uint32, uint64}";
const ORDERED: &str = "T: {float, double, int32, uint8, int16, int8, int64, bfloat16, uint16, half, uint32, uint64}";
const IDS: &str = "Tindices: {int32, int64}";
const COUNT: &str = "Tnumsegments: {int32, int64} = DT_INT32";

const fn op(
    name: &'static str,
    attrs: &'static [&'static str],
    shape: ShapeFn,
    kernel: KernelFn,
    grad: Grad,
    rows: &'static [&'static str],
) -> Op {
    Op {
        name,
        ins: &["data: T", "segment_ids: Tindices"],
        outs: &["output: T"],
        attrs,
        shape,
        kernel: Kernel::Pure(kernel),
        grad,
        rows,
    }
}

const fn sorted(
    name: &'static str,
    attrs: &'static [&'static str],
    kernel: KernelFn,
    grad: GradFn,
    rows: &'static [&'static str],
) -> Op {
    op(name, attrs, sorted_shape, kernel, Grad::Fn(grad), rows)
}

const fn counted(
    name: &'static str,
    attrs: &'static [&'static str],
    shape: ShapeFn,
    kernel: KernelFn,
    grad: Grad,
    rows: &'static [&'static str],
) -> Op {
    Op { ins: &["data: T", "segment_ids: Tindices", "num_segments: Tnumsegments"], ..op(name, attrs, shape, kernel, grad, rows) }
}

pub(in crate::ops) static OPS: &[Op] = &[
    sorted(
        "SegmentSum",
        &[NUMBERS, IDS],
        segment_sum,
        grad::segment_sum,
        &[
            "f32[1 2 3], i32[0 0 2] => f32[3 0 3]",
            "i32[[1 2] [3 4]], i64[1 1] => i32[[0 0] [4 6]]",
            "f32{0,2}[], i32{0}[] => f32{0,2}[]",
        ],
    ),
    sorted("SegmentMean", &[NUMBERS, IDS], segment_mean, grad::segment_mean, &["f32[1 2 3], i32[0 0 2] => f32[1.5 0 3]"]),
    sorted("SegmentProd", &[NUMBERS, IDS], segment_prod, grad::segment_prod, &["f32[1 2 3], i32[0 0 2] => f32[2 1 3]"]),
    sorted("SegmentMax", &[ORDERED, IDS], segment_max, grad::segment_extremum, &["f32[1 2 3], i32[0 0 2] => f32[2 0 3]"]),
    sorted("SegmentMin", &[ORDERED, IDS], segment_min, grad::segment_extremum, &["i8[1 2 3], i32[0 0 2] => i8[1 0 3]"]),
    counted(
        "SegmentSumV2",
        &[NUMBERS, IDS, COUNT],
        counted_shape,
        sum_v2,
        Grad::Missing,
        &["f32[1 2 3], i32[0 0 2], i32 4 => f32[3 0 3 0]"],
    ),
    counted(
        "SegmentProdV2",
        &[NUMBERS, IDS, COUNT],
        counted_shape,
        prod_v2,
        Grad::Missing,
        &["f32[1 2 3], i32[0 0 2], i32 4 => f32[2 1 3 1]"],
    ),
    counted(
        "SegmentMaxV2",
        &[ORDERED, IDS, COUNT],
        counted_shape,
        max_v2,
        Grad::Missing,
        &["i8[1 2 3], i32[0 0 2], i32 4 => i8[2 -128 3 -128]"],
    ),
    counted(
        "SegmentMinV2",
        &[ORDERED, IDS, COUNT],
        counted_shape,
        min_v2,
        Grad::Missing,
        &["u8[1 2 3], i32[0 0 2], i64 3 => u8[1 255 3]"],
    ),
    counted(
        "UnsortedSegmentSum",
        &[NUMBERS, "Tindices: {int16, int32, int64}", COUNT],
        unsorted_shape,
        unsorted_sum,
        Grad::Fn(grad::unsorted_segment_sum),
        &[
            "f32[1 2 3], i32[2 -1 2], i32 4 => f32[0 0 4 0]",
            "i32[[1 2] [3 4]], i64[[0 1] [1 1]], i32 3 => i32[1 9 0]",
            "c64[[1:1 2]], i32[0], i64 1 => c64[[1:1 2]]",
        ],
    ),
    counted(
        "UnsortedSegmentProd",
        &[NUMBERS, IDS, COUNT],
        unsorted_shape,
        unsorted_prod,
        Grad::Fn(grad::unsorted_segment_prod),
        &["f32[1 2 3], i32[2 -1 2], i32 4 => f32[1 1 3 1]"],
    ),
    counted(
        "UnsortedSegmentMax",
        &[ORDERED, IDS, COUNT],
        unsorted_shape,
        unsorted_max,
        Grad::Fn(grad::unsorted_segment_extremum),
        &["f32[1 2 3], i32[0 -1 0], i32 2 => f32[3 -3.4028235e38]", "i32[1 2], i32[0 0], i32 2 => i32[2 -2147483648]"],
    ),
    counted(
        "UnsortedSegmentMin",
        &[ORDERED, IDS, COUNT],
        unsorted_shape,
        unsorted_min,
        Grad::Fn(grad::unsorted_segment_extremum),
        &["f64[1 2 3], i32[0 -1 0], i32 1 => f64[1]"],
    ),
];

fn sorted_shape(ctx: &mut InferCtx) -> Result<()> {
    ctx.input(1).with_rank(1)?;
    let rest = ctx.input(0).with_rank_at_least(1)?.slice_from(1);
    ctx.set(0, Shape::vector(None).concatenate(&rest))
}

/// The number of segments, where it is a constant.
fn constant_count(ctx: &InferCtx, index: usize) -> Result<Option<usize>> {
    ctx.input(index).with_rank(0)?;
    let Some(count) = ctx.constant(index) else { return Ok(None) };
    let count = count.item_i64()?;
    match usize::try_from(count) {
        Ok(count) => Ok(Some(count)),
        Err(_) => bail!(InvalidArgument, "Dimension size, given by scalar input {index}, must be non-negative but is {count}"),
    }
}

fn counted_shape(ctx: &mut InferCtx) -> Result<()> {
    ctx.input(1).with_rank(1)?;
    let rest = ctx.input(0).with_rank_at_least(1)?.slice_from(1);
    let count = constant_count(ctx, 2)?;
    ctx.set(0, Shape::vector(count).concatenate(&rest))
}

fn unsorted_shape(ctx: &mut InferCtx) -> Result<()> {
    let (data, ids) = (ctx.input(0), ctx.input(1));
    let count = constant_count(ctx, 2)?;
    let Some(rank) = ids.rank() else { return ctx.set(0, Shape::unknown()) };
    let data = data.with_rank_at_least(rank)?;
    if data.rank().is_none() {
        return ctx.set(0, Shape::unknown());
    }
    data.slice(0, rank as isize).merge(&ids)?;
    ctx.set(0, Shape::vector(count).concatenate(&data.slice_from(rank as isize)))
}

/// How the rows of a segment become one.
#[derive(Clone, Copy)]
pub(super) struct Reduction<T> {
    /// What a segment starts with.
    pub start: T,
    /// What a segment without rows is.
    pub empty: T,
    pub merge: fn(T, T) -> T,
    /// Divides by the number of rows.
    pub is_mean: bool,
}

impl<T: Number> Reduction<T> {
    fn sum() -> Reduction<T> {
        Reduction { start: T::ZERO, empty: T::ZERO, merge: T::add, is_mean: false }
    }

    fn product() -> Reduction<T> {
        Reduction { start: T::ONE, empty: T::ONE, merge: T::mul, is_mean: false }
    }
}

/// A number that can be divided by a count, and whose least and largest finite values are known.
trait Averaged: Number {
    fn divided(self, count: usize) -> Self;
}

macro_rules! averaged {
    ($($type:ty, $x:ident, $n:ident: $value:expr;)*) => {
        $(impl Averaged for $type {
            fn divided(self, $n: usize) -> $type { let $x = self; $value }
        })*
    };
}

averaged! {
    f32, x, n: x / n as f32;
    f64, x, n: x / n as f64;
    f16, x, n: f16::from_f32(x.to_f32() / n as f32);
    bf16, x, n: bf16::from_f32(x.to_f32() / n as f32);
    Complex<f32>, x, n: x / n as f32;
    Complex<f64>, x, n: x / n as f64;
    i8, x, n: Integer::div(x as i64, n as i64) as i8;
    i16, x, n: Integer::div(x as i64, n as i64) as i16;
    i32, x, n: Integer::div(x as i64, n as i64) as i32;
    i64, x, n: Integer::div(x, n as i64);
    u8, x, n: Integer::div(x as u64, n as u64) as u8;
    u16, x, n: Integer::div(x as u64, n as u64) as u16;
    u32, x, n: Integer::div(x as u64, n as u64) as u32;
    u64, x, n: Integer::div(x, n as u64);
}

/// The finite bounds of an element type.
trait Bounded: Real {
    const LEAST: Self;
    const LARGEST: Self;
}

macro_rules! bounded {
    ($($type:ty)*) => {
        $(impl Bounded for $type {
            const LEAST: $type = <$type>::MIN;
            const LARGEST: $type = <$type>::MAX;
        })*
    };
}

bounded! { f32 f64 f16 bf16 i8 i16 i32 i64 u8 u16 u32 u64 }

fn largest<T: Bounded>(empty: T) -> Reduction<T> {
    Reduction { start: T::LEAST, empty, merge: T::maximum, is_mean: false }
}

fn least<T: Bounded>(empty: T) -> Reduction<T> {
    Reduction { start: T::LARGEST, empty, merge: T::minimum, is_mean: false }
}

/// Checks sorted ids and returns how many segments there are.
fn check_sorted(data: &Tensor, ids: &[i64], ids_rank: usize) -> Result<usize> {
    if data.rank() == 0 {
        bail!(InvalidArgument, "input must be at least rank 1");
    }
    if ids_rank != 1 {
        bail!(InvalidArgument, "segment_ids should be a vector.");
    }
    if ids.len() != data.dims()[0] {
        bail!(InvalidArgument, "segment_ids should be the same size as dimension 0 of input.");
    }
    check_increasing(ids)
}

/// Checks that ids increase from 0 or more, and returns one more than the last.
pub(super) fn check_increasing(ids: &[i64]) -> Result<usize> {
    let Some(&last) = ids.last() else { return Ok(0) };
    let count = last.checked_add(1).filter(|&c| c > 0);
    let Some(count) = count else { bail!(InvalidArgument, "segment ids must be >= 0") };
    for (at, &id) in ids.iter().enumerate() {
        if ids.get(at + 1).is_some_and(|&next| next < id) {
            bail!(InvalidArgument, "segment ids are not increasing");
        }
        if id < 0 || id >= count {
            bail!(
                InvalidArgument,
                "Segment id {id} out of range [0, {count}), possibly because 'segment_ids' input is not sorted."
            );
        }
    }
    Ok(count as usize)
}

fn reduce_sorted<T: Averaged>(ctx: &mut KernelCtx, reduction: Reduction<T>) -> Result<()> {
    let (data, ids) = (ctx.input(0)?, ctx.input(1)?);
    let ids_rank = ids.rank();
    let ids = ids.to_i64s()?;
    let count = check_sorted(data, &ids, ids_rank)?;
    let mut dims = data.dims().to_vec();
    dims[0] = count;
    let out = reduce_rows(data, &ids, dims, reduction)?;
    ctx.set(0, out)
}

/// Merges row i of the data, which has one row for each id, into row `ids[i]`; rows with negative ids are left out.
fn reduce_rows<T: Averaged>(data: &Tensor, ids: &[i64], dims: Vec<usize>, reduction: Reduction<T>) -> Result<Tensor> {
    let segments = dims[0];
    let mut out = Tensor::uninit(data.dtype(), &dims)?;
    let rows = out.as_mut_slice::<T>()?;
    rows.fill(reduction.start);
    let width = dims[1..].iter().product::<usize>();
    let values = data.as_slice::<T>()?;
    let mut counts = vec![0usize; segments];
    for (i, &id) in ids.iter().enumerate() {
        if id < 0 {
            continue;
        }
        let id = id as usize;
        counts[id] += 1;
        let row = &mut rows[id * width..][..width];
        for (acc, &value) in row.iter_mut().zip(&values[i * width..][..width]) {
            *acc = (reduction.merge)(*acc, value);
        }
    }
    for (segment, &count) in counts.iter().enumerate() {
        let row = &mut rows[segment * width..][..width];
        if count == 0 {
            row.fill(reduction.empty);
        } else if reduction.is_mean {
            row.iter_mut().for_each(|v| *v = v.divided(count));
        }
    }
    Ok(out)
}

/// The number of segments given by an input.
fn segment_count(count: &Tensor) -> Result<usize> {
    if !count.is_scalar() {
        bail!(InvalidArgument, "num_segments should be a scalar, not shape {:?}", count.dims());
    }
    let count = count.item_i64()?;
    match usize::try_from(count) {
        Ok(count) => Ok(count),
        Err(_) => bail!(InvalidArgument, "Input num_segments == {count} must not be negative."),
    }
}

fn reduce_counted<T: Averaged>(ctx: &mut KernelCtx, reduction: Reduction<T>) -> Result<()> {
    let (data, ids) = (ctx.input(0)?, ctx.input(1)?);
    let count = segment_count(ctx.input(2)?)?;
    let ids_rank = ids.rank();
    let ids = ids.to_i64s()?;
    let needed = check_sorted(data, &ids, ids_rank)?;
    if needed > count {
        bail!(InvalidArgument, "Segment id {} out of range [0, {count})", needed - 1);
    }
    let mut dims = data.dims().to_vec();
    dims[0] = count;
    let out = reduce_rows(data, &ids, dims, reduction)?;
    ctx.set(0, out)
}

fn reduce_unsorted<T: Averaged>(ctx: &mut KernelCtx, reduction: Reduction<T>) -> Result<()> {
    let (data, ids) = (ctx.input(0)?, ctx.input(1)?);
    let count = segment_count(ctx.input(2)?)?;
    if !data.dims().starts_with(ids.dims()) {
        bail!(InvalidArgument, "data.shape = {:?} does not start with segment_ids.shape = {:?}", data.dims(), ids.dims());
    }
    let mut dims = vec![count];
    dims.extend(&data.dims()[ids.rank()..]);
    let mut ids = ids.to_i64s()?;
    if data.is_empty() {
        ids.fill(-1);
    }
    if let Some((i, id)) = ids.iter().enumerate().find(|(_, id)| **id >= count as i64) {
        bail!(InvalidArgument, "segment_ids[{i}] = {id} is out of range [0, {count})");
    }
    let out = reduce_rows(data, &ids, dims, reduction)?;
    ctx.set(0, out)
}

macro_rules! kernels {
    ($($name:ident: $class:ident, $run:ident, $reduction:expr;)*) => {
        $(fn $name(ctx: &mut KernelCtx) -> Result<()> {
            dispatch!(ctx.input(0)?.dtype().storage(), $class, T => $run::<T>(ctx, $reduction))
        })*
    };
}

kernels! {
    segment_sum: numbers, reduce_sorted, Reduction::sum();
    segment_mean: numbers, reduce_sorted, Reduction { is_mean: true, ..Reduction::sum() };
    segment_prod: numbers, reduce_sorted, Reduction::product();
    segment_max: real, reduce_sorted, largest(Number::ZERO);
    segment_min: real, reduce_sorted, least(Number::ZERO);
    sum_v2: numbers, reduce_counted, Reduction::sum();
    prod_v2: numbers, reduce_counted, Reduction::product();
    max_v2: real, reduce_counted, largest(Bounded::LEAST);
    min_v2: real, reduce_counted, least(Bounded::LARGEST);
    unsorted_sum: numbers, reduce_unsorted, Reduction::sum();
    unsorted_prod: numbers, reduce_unsorted, Reduction::product();
    unsorted_max: real, reduce_unsorted, largest(Bounded::LEAST);
    unsorted_min: real, reduce_unsorted, least(Bounded::LARGEST);
}
