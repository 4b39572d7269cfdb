//! Counting: bins, buckets, histograms.

use super::number::{Number, Real};
use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, KernelFn, Op};
use crate::ops::shape;
use crate::tensor::{DType, Element, Shape, Tensor, dispatch};

const DENSE: &[&str] = &["Tidx: {int32, int64}", "T: {int32, int64, float, double}", "binary_output: bool = false"];

const fn op(
    name: &'static str,
    ins: &'static [&'static str],
    shape: crate::graph::op::ShapeFn,
    kernel: KernelFn,
    rows: &'static [&'static str],
) -> Op {
    Op { name, ins, outs: &["output: T"], attrs: DENSE, shape, kernel: Kernel::Pure(kernel), grad: Grad::None("counts"), rows }
}

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "Bincount",
        ins: &["arr: int32", "size: int32", "weights: T"],
        outs: &["bins: T"],
        attrs: &["T: {int32, int64, float, double}"],
        shape: bincount_shape,
        kernel: Kernel::Pure(bincount),
        grad: Grad::None("counts"),
        rows: &["i32[1 1 5], i32 3, f32[1 2 3] => f32[0 3 0]", "i32[[1 1] [0 2]], i32 3, i32{0}[] => i32[1 2 1]"],
    },
    op(
        "DenseBincount",
        &["input: Tidx", "size: Tidx", "weights: T"],
        dense_shape,
        dense_bincount,
        &[
            "i32[[1 1] [0 5]], i32 3, f32{0}[] => f32[[0 2 0] [1 0 0]]",
            "binary_output=true; i64[1 1 2], i64 3, i32{0}[] => i32[0 1 1]",
            "i32[[1 1] [0 2]], i32 3, i64[[1 2] [3 4]] => i64[[0 3 0] [3 0 4]]",
        ],
    ),
    op(
        "SparseBincount",
        &["indices: int64", "values: Tidx", "dense_shape: int64", "size: Tidx", "weights: T"],
        sparse_shape,
        sparse_bincount,
        &[
            "i64[[0 0] [1 1]], i32[1 2], i64[2 2], i32 3, f32{0}[] => f32[[0 1 0] [0 0 1]]",
            "i64[[0] [3]], i64[1 1], i64[4], i64 3, f64[0.5 1] => f64[0 1.5 0]",
        ],
    ),
    op(
        "RaggedBincount",
        &["splits: int64", "values: Tidx", "size: Tidx", "weights: T"],
        ragged_shape,
        ragged_bincount,
        &["i64[0 2 2 3], i32[1 1 2], i32 3, f32{0}[] => f32[[0 2 0] [0 0 0] [0 0 1]]"],
    ),
    Op {
        name: "Bucketize",
        ins: &["input: T"],
        outs: &["output: int32"],
        attrs: &["T: {int32, int64, float, double}", "boundaries: list(float)"],
        shape: shape::unchanged,
        kernel: Kernel::Pure(bucketize),
        grad: Grad::None("an index"),
        rows: &["boundaries=[0, 10, 100]; f32[NaN -5 0 10 10000] => i32[3 0 1 2 3]", "boundaries=[]; i32[1 2] => i32[0 0]"],
    },
    Op {
        name: "HistogramFixedWidth",
        ins: &["values: T", "value_range: T", "nbins: int32"],
        outs: &["out: dtype"],
        attrs: &["T: {int32, int64, float, double}", "dtype: {int32, int64} = DT_INT32"],
        shape: histogram_shape,
        kernel: Kernel::Pure(histogram),
        grad: Grad::None("counts"),
        rows: &[
            "f32[-1 0 1.5 2 5 15], f32[0 5], i32 5 => i32[2 1 1 0 2]",
            "dtype=i64; i32[1 5 9], i32[0 10], i32 4 => i64[1 0 1 1]",
        ],
    },
];

/// A count of bins given as a constant.
fn constant_size(ctx: &InferCtx, index: usize) -> Result<Option<usize>> {
    ctx.input(index).with_rank(0)?;
    let Some(size) = ctx.constant(index) else { return Ok(None) };
    check_size(&size).map(Some)
}

fn check_size(size: &Tensor) -> Result<usize> {
    if !size.is_scalar() {
        bail!(InvalidArgument, "Shape must be rank 0 but is rank {} for the size {size}", size.rank());
    }
    let size = size.item_i64()?;
    match usize::try_from(size) {
        Ok(size) => Ok(size),
        Err(_) => bail!(InvalidArgument, "size ({size}) must be non-negative"),
    }
}

fn bincount_shape(ctx: &mut InferCtx) -> Result<()> {
    let size = constant_size(ctx, 1)?;
    ctx.set(0, Shape::vector(size))
}

fn dense_shape(ctx: &mut InferCtx) -> Result<()> {
    let input = ctx.input(0).with_rank_at_most(2)?;
    let size = constant_size(ctx, 1)?;
    let out = match input.rank() {
        None => Shape::unknown(),
        Some(2) => Shape::matrix(input.dim(0), size),
        Some(_) => Shape::vector(size),
    };
    ctx.set(0, out)
}

fn sparse_shape(ctx: &mut InferCtx) -> Result<()> {
    ctx.input(2).with_rank(1)?;
    let size = constant_size(ctx, 3)?;
    let dense = ctx.constant_shape(2);
    let out = match dense.rank() {
        None => Shape::unknown(),
        Some(1) => Shape::vector(size),
        Some(_) => Shape::matrix(dense.dim(0), size),
    };
    ctx.set(0, out)
}

fn ragged_shape(ctx: &mut InferCtx) -> Result<()> {
    let splits = ctx.input(0).with_rank(1)?;
    let size = constant_size(ctx, 2)?;
    if splits.dim(0) == Some(0) {
        bail!(InvalidArgument, "Splits must be non-empty");
    }
    ctx.set(0, Shape::matrix(splits.dim(0).map(|n| n - 1), size))
}

/// Bins of `rows` rows of `size`, filled by adding a weight for each value to the bin of that number in a row.
struct Bins<'a> {
    rows: usize,
    size: usize,
    binary: bool,
    values: &'a Tensor,
    weights: &'a Tensor,
}

impl Bins<'_> {
    /// # Errors
    /// `InvalidArgument` for negative values, or weights that are neither empty nor one for each value.
    fn fill(&self, dims: &[usize], row_of: impl Fn(usize) -> Result<usize>) -> Result<Tensor> {
        if !self.weights.is_empty() && self.weights.dims() != self.values.dims() {
            bail!(
                InvalidArgument,
                "`weights` must be the same shape as `arr` or a length-0 `Tensor`, in which case it acts as all weights \
                 equal to 1. Received {:?}",
                self.weights.dims()
            );
        }
        let values = self.values.to_i64s()?;
        let mut out = Tensor::zeros(self.weights.dtype(), dims)?;
        dispatch!(self.weights.dtype(), real, T => {
            let (bins, weights) = (out.as_mut_slice::<T>()?, self.weights.as_slice::<T>()?);
            for (i, &value) in values.iter().enumerate() {
                if value < 0 {
                    bail!(InvalidArgument, "Input arr must be non-negative!");
                }
                let row = row_of(i)?;
                if row >= self.rows {
                    bail!(InvalidArgument, "Index out of bound. `batch` ({row}) must be less than the dimension size ({})", self.rows);
                }
                if value < self.size as i64 {
                    let bin = &mut bins[row * self.size + value as usize];
                    *bin = match (self.binary, weights.get(i)) {
                        (false, Some(&weight)) => Number::add(*bin, weight),
                        (false, None) => Number::add(*bin, Number::ONE),
                        (true, _) => Number::ONE,
                    };
                }
            }
        });
        Ok(out)
    }
}

fn bincount(ctx: &mut KernelCtx) -> Result<()> {
    let size = check_size(ctx.input(1)?)?;
    let bins = Bins { rows: 1, size, binary: false, values: ctx.input(0)?, weights: ctx.input(2)? };
    let out = bins.fill(&[size], |_| Ok(0))?;
    ctx.set(0, out)
}

fn dense_bincount(ctx: &mut KernelCtx) -> Result<()> {
    let (values, size) = (ctx.input(0)?, check_size(ctx.input(1)?)?);
    let binary = ctx.node().boolean("binary_output")?;
    let bins = |rows| -> Result<Bins> { Ok(Bins { rows, size, binary, values, weights: ctx.input(2)? }) };
    let out = match values.dims() {
        [rows, columns] => bins(*rows)?.fill(&[*rows, size], |i| Ok(i / columns))?,
        dims if dims.len() <= 1 => bins(1)?.fill(&[size], |_| Ok(0))?,
        dims => bail!(InvalidArgument, "Shape must be at most rank 2 but is rank {}", dims.len()),
    };
    ctx.set(0, out)
}

fn sparse_bincount(ctx: &mut KernelCtx) -> Result<()> {
    let (indices, values, dense) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    let size = check_size(ctx.input(3)?)?;
    let dense = dense.to_dims()?;
    if indices.rank() != 2 || indices.dims()[0] != values.len() || indices.dims()[1] != dense.len() || dense.is_empty() {
        bail!(
            InvalidArgument,
            "indices of shape {:?} don't fit {} values in a dense shape {dense:?}",
            indices.dims(),
            values.len()
        );
    }
    if values.rank() != 1 {
        bail!(InvalidArgument, "Sparse values must be rank 1 but is rank {}", values.rank());
    }
    let (is_vector, rank) = (dense.len() == 1, dense.len());
    let within = |index: &[i64]| index.iter().zip(&dense).all(|(&i, &size)| i >= 0 && (i as usize) < size);
    if let Some((at, index)) = indices.as_slice::<i64>()?.chunks_exact(rank).enumerate().find(|(_, index)| !within(index)) {
        bail!(InvalidArgument, "Sparse index tuple indices[{at}, :] = {index:?} is out of bounds for dense shape {dense:?}");
    }
    let rows = if is_vector { 1 } else { dense[0] };
    let bins = Bins { rows, size, binary: ctx.node().boolean("binary_output")?, values, weights: ctx.input(4)? };
    if is_vector {
        let out = bins.fill(&[size], |_| Ok(0))?;
        return ctx.set(0, out);
    }
    let positions = indices.as_slice::<i64>()?;
    let out = bins.fill(&[rows, size], |i| match usize::try_from(positions[i * rank]) {
        Ok(row) => Ok(row),
        Err(_) => bail!(InvalidArgument, "Index {} of a row must be non-negative", positions[i * rank]),
    })?;
    ctx.set(0, out)
}

fn ragged_bincount(ctx: &mut KernelCtx) -> Result<()> {
    let (splits, values) = (ctx.input(0)?.as_slice::<i64>()?, ctx.input(1)?);
    let size = check_size(ctx.input(2)?)?;
    let (Some(&first), Some(&last)) = (splits.first(), splits.last()) else { bail!(InvalidArgument, "Splits must be non-empty") };
    if first != 0 {
        bail!(InvalidArgument, "Splits must start with 0, not with {first}");
    }
    if last != values.len() as i64 || splits.windows(2).any(|w| w[0] > w[1]) {
        bail!(InvalidArgument, "Splits must increase and end with the number of values, got {last} instead of {}", values.len());
    }
    let rows = splits.len() - 1;
    let bins = Bins { rows, size, binary: ctx.node().boolean("binary_output")?, values, weights: ctx.input(3)? };
    let out = bins.fill(&[rows, size], |i| Ok(splits.partition_point(|&s| s <= i as i64) - 1))?;
    ctx.set(0, out)
}

fn bucketize(ctx: &mut KernelCtx) -> Result<()> {
    let boundaries = ctx.node().floats("boundaries")?;
    if !boundaries.is_sorted() {
        bail!(InvalidArgument, "Expected sorted boundaries");
    }
    let input = ctx.input(0)?;
    let mut out = Tensor::uninit(DType::Int32, input.dims())?;
    dispatch!(input.dtype(), real, T => {
        let bucket = |v: &T| boundaries.partition_point(|&b| {
            let value = Real::to_f64(*v);
            value >= f64::from(b) || value.is_nan()
        }) as i32;
        let buckets = input.as_slice::<T>()?.iter().map(bucket);
        out.as_mut_slice::<i32>()?.iter_mut().zip(buckets).for_each(|(o, b)| *o = b);
    });
    ctx.set(0, out)
}

fn histogram_shape(ctx: &mut InferCtx) -> Result<()> {
    let range = ctx.input(1).with_rank(1)?;
    if let Some(n) = range.dim(0).filter(|&n| n != 2) {
        bail!(InvalidArgument, "Dimension must be 2 but is {n} for value_range");
    }
    ctx.input(2).with_rank(0)?;
    let bins = ctx.constant(2).map(|n| n.item_i64()).transpose()?;
    if let Some(bins) = bins.filter(|&n| n <= 0) {
        bail!(InvalidArgument, "Requires nbins > 0: {bins}");
    }
    ctx.set(0, Shape::vector(bins.map(|n| n as usize)))
}

fn histogram(ctx: &mut KernelCtx) -> Result<()> {
    let (values, range, bins) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    if range.dims() != [2] || !bins.is_scalar() {
        bail!(InvalidArgument, "value_range should be a vector of 2 elements and nbins a scalar, got {range} and {bins}");
    }
    let bins = bins.item_i64()?;
    if bins <= 0 {
        bail!(InvalidArgument, "nbins should be a positive number, but got '{bins}'");
    }
    let mut total = Tensor::zeros(DType::Int64, &[bins as usize])?;
    let counts = total.as_mut_slice::<i64>()?;
    dispatch!(values.dtype(), real, T => {
        let &[low, high] = range.as_slice::<T>()? else { bail!(InvalidArgument, "value_range should be a vector of 2 elements") };
        let (low, high) = (Real::to_f64(low), Real::to_f64(high));
        if low.is_nan() || high.is_nan() || low >= high {
            bail!(InvalidArgument, "value_range should satisfy value_range[0] < value_range[1], but got '[{low}, {high}]'");
        }
        let step = (high - low) / bins as f64;
        for &value in values.as_slice::<T>()? {
            let value = Real::to_f64(value);
            if value.is_nan() {
                bail!(InvalidArgument, "Histogram values must not contain NaN");
            }
            counts[((value.max(low) - low) / step).min((bins - 1) as f64) as usize] += 1;
        }
    });
    fn narrow<T: Element>(counts: &[i64], convert: fn(i64) -> T) -> Tensor {
        counts.iter().map(|&c| convert(c)).collect::<Vec<T>>().into()
    }
    let out = match ctx.node().output_types[0] {
        DType::Int32 => narrow(counts, |c| c as i32),
        _ => total,
    };
    ctx.set(0, out)
}
