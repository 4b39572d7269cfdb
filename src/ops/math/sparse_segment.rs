//! Reductions over segments of gathered rows, and their gradients.

use super::grad;
use super::number::{Float, Number, Real};
use super::segment::check_increasing;
use crate::error::{Result, bail};
use crate::graph::op::{Grad, GradFn, InferCtx, Kernel, KernelCtx, KernelFn, Op};
use crate::tensor::{DType, Shape, Tensor, dispatch};

const FLOATS: &str = "T: {bfloat16, half, float, double}";
const ORDERED: &str = "T: {float, double, int32, uint8, int16, int8, int64, bfloat16, uint16, half, uint32, uint64}";
const INDICES: &str = "Tidx: {int32, int64} = DT_INT32";
const COUNT: &str = "Tnumsegments: {int32, int64} = DT_INT32";
const IDS: &str = "Tsegmentids: {int32, int64} = DT_INT32";
const SPARSE: &str = "sparse_gradient: bool = false";

const fn op(
    name: &'static str,
    attrs: &'static [&'static str],
    kernel: KernelFn,
    grad: GradFn,
    rows: &'static [&'static str],
) -> Op {
    Op {
        name,
        ins: &["data: T", "indices: Tidx", "segment_ids: Tsegmentids"],
        outs: &["output: T"],
        attrs,
        shape: segment_shape,
        kernel: Kernel::Pure(kernel),
        grad: Grad::Fn(grad),
        rows,
    }
}

const fn counted(
    name: &'static str,
    attrs: &'static [&'static str],
    kernel: KernelFn,
    grad: GradFn,
    rows: &'static [&'static str],
) -> Op {
    Op {
        ins: &["data: T", "indices: Tidx", "segment_ids: Tsegmentids", "num_segments: Tnumsegments"],
        shape: counted_shape,
        ..op(name, attrs, kernel, grad, rows)
    }
}

const fn gradient(name: &'static str, kernel: KernelFn, rows: &'static [&'static str]) -> Op {
    Op {
        name,
        ins: &["grad: T", "indices: Tidx", "segment_ids: Tsegmentids", "output_dim0: int32"],
        outs: &["output: T"],
        attrs: &[FLOATS, INDICES, IDS],
        shape: gradient_shape,
        kernel: Kernel::Pure(kernel),
        grad: Grad::Missing,
        rows,
    }
}

const fn gradient_v2(name: &'static str, kernel: KernelFn, rows: &'static [&'static str]) -> Op {
    Op {
        ins: &["grad: T", "indices: Tidx", "segment_ids: Tsegmentids", "dense_output_dim0: int32"],
        outs: &["output: T", "sorted_unique_indices: Tidx"],
        shape: gradient_v2_shape,
        ..gradient(name, kernel, rows)
    }
}

pub(in crate::ops) static OPS: &[Op] = &[
    op(
        "SparseSegmentSum",
        &[ORDERED, INDICES, IDS, SPARSE],
        sum,
        grad::sparse_segment_sum,
        &[
            "f32[[1 2] [3 4] [5 6]], i32[0 2 1], i32[0 0 2] => f32[[6 8] [0 0] [3 4]]",
            "i32[1 2 3], i64[2 2], i64[0 0] => i32[6]",
            "f32{0,2}[], i32{0}[], i32{0}[] => f32{0,2}[]",
        ],
    ),
    op(
        "SparseSegmentMean",
        &[FLOATS, INDICES, IDS, SPARSE],
        mean,
        grad::sparse_segment_mean,
        &["f32[[1 2] [3 4] [5 6]], i32[0 2 1], i32[0 0 2] => f32[[3 4] [0 0] [3 4]]"],
    ),
    op(
        "SparseSegmentSqrtN",
        &[FLOATS, INDICES, IDS, SPARSE],
        sqrt_n,
        grad::sparse_segment_sqrt_n,
        &["f64[1 2 3], i32[0 2 1], i32[0 0 2] => f64[2.8284271247461903 0 2]"],
    ),
    counted(
        "SparseSegmentSumWithNumSegments",
        &[ORDERED, INDICES, COUNT, IDS, SPARSE],
        sum,
        grad::sparse_segment_sum,
        &["f32[1 2 3], i32[0 2 1], i32[0 0 2], i32 4 => f32[4 0 2 0]"],
    ),
    counted(
        "SparseSegmentMeanWithNumSegments",
        &[FLOATS, INDICES, COUNT, IDS, SPARSE],
        mean,
        grad::sparse_segment_mean,
        &["f16[1 2 3], i32[0 2 1], i32[0 0 2], i32 4 => f16[2 0 2 0]"],
    ),
    counted(
        "SparseSegmentSqrtNWithNumSegments",
        &[FLOATS, INDICES, COUNT, IDS, SPARSE],
        sqrt_n,
        grad::sparse_segment_sqrt_n,
        &["f64[1 2 3], i32[0 2 1], i32[0 0 2], i64 3 => f64[2.8284271247461903 0 2]"],
    ),
    gradient(
        "SparseSegmentSumGrad",
        sum_grad,
        &["f32[[1 2] [3 4] [5 6]], i32[0 2 1], i32[0 0 2], i32 4 => f32[[1 2] [5 6] [1 2] [0 0]]"],
    ),
    gradient("SparseSegmentMeanGrad", mean_grad, &["f32[1 2 3], i32[0 2 1], i32[0 0 2], i32 4 => f32[0.5 3 0.5 0]"]),
    gradient(
        "SparseSegmentSqrtNGrad",
        sqrt_n_grad,
        &["f64[1 2 3], i32[0 2 1], i32[0 0 2], i32 3 => f64[0.7071067811865476 3 0.7071067811865476]"],
    ),
    gradient_v2(
        "SparseSegmentSumGradV2",
        sum_grad_v2,
        &["f32[[1 2] [3 4] [5 6]], i32[0 2 0], i32[0 0 2], i32 4 => f32[[6 8] [1 2]], i32[0 2]"],
    ),
    gradient_v2(
        "SparseSegmentMeanGradV2",
        mean_grad_v2,
        &["f32[1 2 3], i32[0 2 0], i32[0 0 2], i32 4 => f32[3.5 0.5], i32[0 2]"],
    ),
    gradient_v2("SparseSegmentSqrtNGradV2", sqrt_n_grad_v2, &["f64[1 2 3], i64[1 0], i32[0 2], i32 4 => f64[3 1], i64[0 1]"]),
];

fn check_ids(ctx: &InferCtx) -> Result<()> {
    let ids = ctx.input(2).with_rank(1)?;
    ctx.input(1).with_rank(1)?.merge(&ids)?;
    Ok(())
}

fn segment_shape(ctx: &mut InferCtx) -> Result<()> {
    check_ids(ctx)?;
    let rest = ctx.input(0).with_rank_at_least(1)?.slice_from(1);
    ctx.set(0, Shape::vector(None).concatenate(&rest))
}

fn constant_size(ctx: &InferCtx, index: usize) -> Result<Option<usize>> {
    ctx.input(index).with_rank(0)?;
    let Some(size) = ctx.constant(index) else { return Ok(None) };
    let size = size.item_i64()?;
    match usize::try_from(size) {
        Ok(size) => Ok(Some(size)),
        Err(_) => bail!(InvalidArgument, "Cannot specify a negative value for the size {size}"),
    }
}

fn counted_shape(ctx: &mut InferCtx) -> Result<()> {
    check_ids(ctx)?;
    let rest = ctx.input(0).with_rank_at_least(1)?.slice_from(1);
    let count = constant_size(ctx, 3)?;
    ctx.set(0, Shape::vector(count).concatenate(&rest))
}

fn gradient_shape(ctx: &mut InferCtx) -> Result<()> {
    check_ids(ctx)?;
    let rest = ctx.input(0).with_rank_at_least(1)?.slice_from(1);
    let size = constant_size(ctx, 3)?;
    ctx.set(0, Shape::vector(size).concatenate(&rest))
}

fn gradient_v2_shape(ctx: &mut InferCtx) -> Result<()> {
    check_ids(ctx)?;
    ctx.input(3).with_rank(0)?;
    let rest = ctx.input(0).with_rank_at_least(1)?.slice_from(1);
    ctx.set(0, Shape::vector(None).concatenate(&rest))?;
    ctx.set(1, Shape::vector(None))
}

/// By what the sum of a segment is divided.
#[derive(Clone, Copy, PartialEq)]
enum Scale {
    One,
    Count,
    Root,
}

impl Scale {
    fn divisor(self, count: usize) -> f64 {
        match self {
            Scale::One => 1.0,
            Scale::Count => count as f64,
            Scale::Root => (count as f64).sqrt(),
        }
    }
}

/// The indices and segment ids of a node, vectors of one length.
fn read_ids(ctx: &KernelCtx) -> Result<(crate::tensor::SmallInts, crate::tensor::SmallInts)> {
    let (indices, ids) = (ctx.input(1)?, ctx.input(2)?);
    if indices.rank() != 1 {
        bail!(InvalidArgument, "indices should be a vector.");
    }
    if ids.rank() != 1 {
        bail!(InvalidArgument, "segment_ids should be a vector.");
    }
    if indices.len() != ids.len() {
        bail!(InvalidArgument, "segment_ids and indices should have same size.");
    }
    Ok((indices.to_i64s()?, ids.to_i64s()?))
}

/// Adds row `indices[i]` of the data to the segment `ids[i]`. `divide` scales the sum of a segment of so many rows.
fn reduce<T: Number>(ctx: &mut KernelCtx, divide: impl Fn(T, usize) -> T) -> Result<()> {
    let data = ctx.input(0)?;
    if data.rank() == 0 {
        bail!(InvalidArgument, "input must be at least rank 1");
    }
    let (indices, ids) = read_ids(ctx)?;
    let needed = check_increasing(&ids)?;
    let mut dims = data.dims().to_vec();
    let rows = dims[0] as i64;
    dims[0] = if ctx.num_inputs() > 3 {
        let count = ctx.input(3)?.item_i64()?;
        if count < 0 {
            bail!(InvalidArgument, "segment ids must be >= 0");
        }
        if needed as i64 > count {
            bail!(InvalidArgument, "segment ids must be < num_segments");
        }
        count as usize
    } else {
        needed
    };
    if let Some((i, index)) = indices.iter().enumerate().find(|(_, index)| !(0..rows).contains(*index)) {
        bail!(InvalidArgument, "Bad: indices[{i}] == {index} out of range [0, {rows})");
    }
    let mut out = Tensor::zeros(data.dtype(), &dims)?;
    let width = dims[1..].iter().product::<usize>();
    let (values, sums) = (data.as_slice::<T>()?, out.as_mut_slice::<T>()?);
    let mut start = 0;
    while start < ids.len() {
        let end = start + ids[start..].iter().take_while(|&&id| id == ids[start]).count();
        let sum = &mut sums[ids[start] as usize * width..][..width];
        for &index in &indices[start..end] {
            for (sum, &value) in sum.iter_mut().zip(&values[index as usize * width..][..width]) {
                *sum = sum.add(value);
            }
        }
        sum.iter_mut().for_each(|v| *v = divide(*v, end - start));
        start = end;
    }
    ctx.set(0, out)
}

fn sum(ctx: &mut KernelCtx) -> Result<()> {
    dispatch!(ctx.input(0)?.dtype(), real, T => reduce::<T>(ctx, |sum, _| sum))
}

fn reduce_floats(ctx: &mut KernelCtx, scale: Scale) -> Result<()> {
    dispatch!(ctx.input(0)?.dtype(), floats, T => {
        reduce::<T>(ctx, |sum, count| Number::from_f64(Real::to_f64(sum) / scale.divisor(count)))
    })
}

fn mean(ctx: &mut KernelCtx) -> Result<()> {
    reduce_floats(ctx, Scale::Count)
}

fn sqrt_n(ctx: &mut KernelCtx) -> Result<()> {
    reduce_floats(ctx, Scale::Root)
}

/// A checked gradient node: the number of rows of the dense result, positions and segments, and how many positions share
/// each segment.
struct Scatter {
    rows: usize,
    indices: crate::tensor::SmallInts,
    ids: crate::tensor::SmallInts,
    counts: Vec<usize>,
}

impl Scatter {
    fn new(ctx: &KernelCtx) -> Result<Scatter> {
        let (grad, rows) = (ctx.input(0)?, ctx.input(3)?);
        if !rows.is_scalar() {
            bail!(InvalidArgument, "output_dim0 should be a scalar, not shape {:?}", rows.dims());
        }
        if grad.rank() == 0 {
            bail!(InvalidArgument, "grad must be at least rank 1");
        }
        let rows = rows.item_i64()?;
        let Ok(rows) = usize::try_from(rows) else { bail!(InvalidArgument, "output_dim0 must be non-negative, got {rows}") };
        let (indices, ids) = read_ids(ctx)?;
        let segments = grad.dims()[0];
        let mut counts = vec![0; segments];
        for &id in &ids {
            if !(0..segments as i64).contains(&id) {
                bail!(InvalidArgument, "Segment id {id} out of range [0, {segments}).");
            }
            counts[id as usize] += 1;
        }
        for &index in &indices {
            if !(0..rows as i64).contains(&index) {
                bail!(InvalidArgument, "Index {index} out of range [0, {rows}).");
            }
        }
        Ok(Scatter { rows, indices, ids, counts })
    }

    /// Adds the scaled gradient of each segment to the rows that `row_of` gives for its positions.
    fn add<T: Float>(&self, grad: &Tensor, rows: usize, scale: Scale, row_of: impl Fn(i64) -> usize) -> Result<Tensor> {
        let mut dims = grad.dims().to_vec();
        dims[0] = rows;
        let mut out = Tensor::zeros(grad.dtype(), &dims)?;
        let width = dims[1..].iter().product::<usize>();
        let (values, sums) = (grad.as_slice::<T>()?, out.as_mut_slice::<T>()?);
        for (&index, &id) in self.indices.iter().zip(&self.ids) {
            let factor: T = Number::from_f64(1.0 / scale.divisor(self.counts[id as usize]));
            let sum = &mut sums[row_of(index) * width..][..width];
            for (sum, &value) in sum.iter_mut().zip(&values[id as usize * width..][..width]) {
                *sum = sum.add(value.mul(factor));
            }
        }
        Ok(out)
    }
}

fn dense_gradient(ctx: &mut KernelCtx, scale: Scale) -> Result<()> {
    let scatter = Scatter::new(ctx)?;
    let grad = ctx.input(0)?;
    let out = dispatch!(grad.dtype(), floats, T => scatter.add::<T>(grad, scatter.rows, scale, |index| index as usize)?);
    ctx.set(0, out)
}

fn sparse_gradient(ctx: &mut KernelCtx, scale: Scale) -> Result<()> {
    let scatter = Scatter::new(ctx)?;
    let grad = ctx.input(0)?;
    let mut unique = scatter.indices.to_vec();
    unique.sort_unstable();
    unique.dedup();
    let row_of = |index: i64| unique.binary_search(&index).unwrap_or(0);
    let out = dispatch!(grad.dtype(), floats, T => scatter.add::<T>(grad, unique.len(), scale, row_of)?);
    let indices = match ctx.node().output_types[1] {
        DType::Int32 => Tensor::from(unique.iter().map(|&i| i as i32).collect::<Vec<i32>>()),
        _ => Tensor::from(unique),
    };
    ctx.set(0, out)?;
    ctx.set(1, indices)
}

fn sum_grad(ctx: &mut KernelCtx) -> Result<()> {
    dense_gradient(ctx, Scale::One)
}

fn mean_grad(ctx: &mut KernelCtx) -> Result<()> {
    dense_gradient(ctx, Scale::Count)
}

fn sqrt_n_grad(ctx: &mut KernelCtx) -> Result<()> {
    dense_gradient(ctx, Scale::Root)
}

fn sum_grad_v2(ctx: &mut KernelCtx) -> Result<()> {
    sparse_gradient(ctx, Scale::One)
}

fn mean_grad_v2(ctx: &mut KernelCtx) -> Result<()> {
    sparse_gradient(ctx, Scale::Count)
}

fn sqrt_n_grad_v2(ctx: &mut KernelCtx) -> Result<()> {
    sparse_gradient(ctx, Scale::Root)
}
