//! Looking elements up by index.

use super::items::{Item, moved};
use crate::compute::pool::parallel_pieces;
use crate::error::{Error, Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, Op};
use crate::graph::{Gradient, Grads, Graph, IndexedSlices, Operation, Output};
use crate::ops::convert::Arg;
use crate::tensor::{DType, Dims, Shape, Tensor};

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "Gather",
        ins: &["params: Tparams", "indices: Tindices"],
        outs: &["output: Tparams"],
        attrs: &["validate_indices: bool = true", "Tparams: type", "Tindices: {int32, int64}"],
        shape: |ctx| {
            let params = ctx.input(0).with_rank_at_least(1)?;
            ctx.set(0, ctx.input(1).concatenate(&params.slice_from(1)))
        },
        kernel: Kernel::Pure(|ctx| {
            let output = gather_tensor(ctx.input(0)?, ctx.input(1)?, 0, 0)?;
            ctx.set(0, output)
        }),
        grad: Grad::Fn(gather_grad),
        rows: &["f32[[1 2] [3 4]], i32[1 0 1] => f32[[3 4] [1 2] [3 4]]"],
    },
    Op {
        name: "GatherV2",
        ins: &["params: Tparams", "indices: Tindices", "axis: Taxis"],
        outs: &["output: Tparams"],
        attrs: &["batch_dims: int = 0", "Tparams: type", "Tindices: {int16, int32, int64}", "Taxis: {int32, int64}"],
        shape: gather_v2_shape,
        kernel: Kernel::Pure(|ctx| {
            if ctx.input(2)?.rank() != 0 {
                bail!(InvalidArgument, "axis must be scalar, got shape {:?}", ctx.input(2)?.dims());
            }
            let (axis, batch_dims) = (ctx.int_input(2)?, ctx.node().int("batch_dims")?);
            let output = gather_tensor(ctx.input(0)?, ctx.input(1)?, axis, batch_dims)?;
            ctx.set(0, output)
        }),
        grad: Grad::Fn(gather_v2_grad),
        rows: &[
            "f32[[1 2] [3 4]], i32 1, i32 -1 => f32[2 4]",
            "f32[[1 2] [3 4]], i64[[1] [0]], i32 0 => f32[[[3 4]] [[1 2]]]",
            "batch_dims=1; f32[[1 2] [3 4]], i32[[1] [0]], i32 1 => f32[[2] [3]]",
        ],
    },
    Op {
        name: "GatherNd",
        ins: &["params: Tparams", "indices: Tindices"],
        outs: &["output: Tparams"],
        attrs: &["Tparams: type", "Tindices: {int16, int32, int64}"],
        shape: gather_nd_shape,
        kernel: Kernel::Pure(|ctx| {
            let output = gather_nd_tensor(ctx.input(0)?, ctx.input(1)?)?;
            ctx.set(0, output)
        }),
        grad: Grad::Fn(gather_nd_grad),
        rows: &[
            "f32[[1 2] [3 4]], i32[[0 1] [1 0]] => f32[2 3]",
            "f32[[1 2] [3 4]], i64[[1]] => f32[[3 4]]",
            "f32[1 2], i32{2,0}[] => f32[[1 2] [1 2]]",
        ],
    },
];

/// Copying below this many elements stays on one thread.
const GRAIN: usize = 1 << 15;

/// A position as `[1,0,2]`, for messages.
pub(crate) fn position(dims: &[usize], flat: usize) -> String {
    let mut rest = flat;
    let mut index: Vec<String> = Vec::with_capacity(dims.len());
    for &dim in dims.iter().rev() {
        index.push((rest % dim.max(1)).to_string());
        rest /= dim.max(1);
    }
    index.reverse();
    if index.is_empty() { String::new() } else { format!("[{}]", index.join(",")) }
}

/// The indices, all of which are below `limit`.
///
/// # Errors
/// `InvalidArgument` that names the first one that isn't.
pub(crate) fn checked_indices(indices: &Tensor, limit: usize) -> Result<Vec<usize>> {
    let check = |(at, value): (usize, i64)| {
        usize::try_from(value).ok().filter(|&i| i < limit).ok_or_else(|| {
            let place = position(indices.dims(), at);
            Error::invalid_argument(format!("indices{place} = {value} is not in [0, {limit})"))
        })
    };
    match indices.dtype() {
        DType::Int32 => indices.as_slice::<i32>()?.iter().map(|&v| i64::from(v)).enumerate().map(check).collect(),
        DType::Int64 => indices.as_slice::<i64>()?.iter().copied().enumerate().map(check).collect(),
        _ => indices.to_i64s()?.iter().copied().enumerate().map(check).collect(),
    }
}

/// Slices of a tensor along an axis, in the order of `places`, all of which exist.
pub(crate) fn take(params: &Tensor, axis: usize, places: &[usize]) -> Result<Tensor> {
    let mut dims = Dims::from_slice(params.dims());
    dims[axis] = places.len();
    copy_slices(params, axis, 0, places, &dims)
}

/// Copies, for each index of the dimensions before `axis`, the slices that `places` names. With batch dimensions, each of
/// their indices has its own part of `places`.
fn copy_slices(params: &Tensor, axis: usize, batch_dims: usize, places: &[usize], dims: &[usize]) -> Result<Tensor> {
    let batches: usize = params.dims()[..batch_dims].iter().product();
    let outer: usize = params.dims()[batch_dims..axis].iter().product();
    let limit = params.dims()[axis];
    let inner: usize = params.dims()[axis + 1..].iter().product();
    let count = if batches == 0 { 0 } else { places.len() / batches };
    let dtype = params.dtype();
    moved!(dtype, T => {
        let from = T::of(params)?;
        T::build(dtype, dims, |to| {
            if inner == 0 || to.is_empty() {
                return Ok(());
            }
            parallel_pieces(to, inner, GRAIN.div_ceil(inner), |first, piece| {
                for (row, to) in piece.chunks_exact_mut(inner).enumerate() {
                    let row = first + row;
                    let (lead, at) = (row / count, row % count);
                    let place = places[lead / outer * count + at];
                    let start = (lead * limit + place) * inner;
                    if inner == 1 {
                        to[0] = from[start].clone();
                    } else {
                        to.clone_from_slice(&from[start..start + inner]);
                    }
                }
            });
            Ok(())
        })
    })
}

/// `GatherV2`: the slices of `params` along `axis` that `indices` name; the first `batch_dims` dimensions of both go
/// together.
///
/// # Errors
/// `InvalidArgument` for an axis, number of batch dimensions or index out of range.
pub(crate) fn gather_tensor(params: &Tensor, indices: &Tensor, axis: i64, batch_dims: i64) -> Result<Tensor> {
    if params.rank() == 0 {
        bail!(InvalidArgument, "params must be at least 1 dimensional");
    }
    let axis = super::resolve_axis(axis, params.rank(), "Expected axis")?;
    let rank = indices.rank() as i64;
    if !(-rank..=rank).contains(&batch_dims) {
        bail!(InvalidArgument, "Expected batch_dims in the range [{}, {rank}], but got {batch_dims}", -rank);
    }
    let batch = (if batch_dims < 0 { batch_dims + rank } else { batch_dims }) as usize;
    if batch >= params.rank() {
        bail!(InvalidArgument, "batch_dims ({batch}) must be less than rank(params) ({}).", params.rank());
    }
    if axis < batch {
        bail!(InvalidArgument, "batch_dims ({batch}) must be less than or equal to axis ({axis}).");
    }
    if let Some(i) = (0..batch).find(|&i| params.dims()[i] != indices.dims()[i]) {
        bail!(
            InvalidArgument,
            "params.shape[{i}]: {} should be equal to indices.shape[{i}]: {}",
            params.dims()[i],
            indices.dims()[i]
        );
    }
    let mut dims = Dims::from_slice(&params.dims()[..axis]);
    dims.extend_from_slice(&indices.dims()[batch..]);
    dims.extend_from_slice(&params.dims()[axis + 1..]);
    if dims.contains(&0) {
        return Tensor::zeros(params.dtype(), &dims);
    }
    let places = checked_indices(indices, params.dims()[axis])?;
    if let ([place], 0, 0) = (&places[..], axis, indices.rank()) {
        return params.row(*place);
    }
    copy_slices(params, axis, batch, &places, &dims)
}

fn gather_v2_shape(ctx: &mut InferCtx) -> Result<()> {
    let params = ctx.input(0).with_rank_at_least(1)?;
    let indices = ctx.input(1);
    ctx.input(2).with_rank(0)?;
    let mut batch = ctx.int("batch_dims")?;
    if let Some(rank) = indices.rank() {
        let rank = rank as i64;
        if !(-rank..=rank).contains(&batch) {
            bail!(InvalidArgument, "Expected batch_dims in the range [{}, {rank}], but got {batch}", -rank);
        }
        batch += if batch < 0 { rank } else { 0 };
    } else if batch < 0 {
        return ctx.set(0, Shape::unknown());
    }
    if params.rank().is_some_and(|r| batch >= r as i64) {
        bail!(InvalidArgument, "batch_dims ({batch}) must be less than rank(params) ({params})");
    }
    let Some(axis) = ctx.constant(2) else {
        let ranks = params.rank().zip(indices.rank());
        return ctx.set(0, ranks.map_or(Shape::unknown(), |(p, i)| Shape::of_rank(p + i - 1 - batch as usize)));
    };
    let axis = axis.item_i64()? as isize;
    params.with_rank_at_least(if axis < 0 { axis.unsigned_abs() } else { axis as usize + 1 })?;
    if let Some(rank) = params.rank() {
        let axis = if axis < 0 { axis + rank as isize } else { axis };
        if (axis as i64) < batch {
            bail!(InvalidArgument, "batch_dims ({batch}) must be less than or equal to axis ({axis}).");
        }
    }
    if batch > 0 {
        indices.slice(0, batch as isize).merge(&params.slice(0, batch as isize))?;
    }
    let after = if axis == -1 { Shape::scalar() } else { params.slice_from(axis + 1) };
    let before = if params.rank().is_some() { params.slice(0, axis) } else { Shape::unknown() };
    ctx.set(0, before.concatenate(&indices.slice_from(batch as isize)).concatenate(&after))
}

fn gather_nd_shape(ctx: &mut InferCtx) -> Result<()> {
    let (params, indices) = (ctx.input(0), ctx.input(1).with_rank_at_least(1)?);
    let Some(depth) = indices.dim(-1) else { return ctx.set(0, Shape::unknown()) };
    if params.rank().is_some_and(|r| depth > r) {
        bail!(
            InvalidArgument,
            "indices.shape[-1] must be <= params.rank, but saw indices shape: {indices} and params shape: {params}"
        );
    }
    ctx.set(0, indices.slice(0, -1).concatenate(&params.slice_from(depth as isize)))
}

/// Where the slices start that the rows of `indices` name in elements of these dimensions, in units of slices.
///
/// # Errors
/// `InvalidArgument` that names the first row with an index out of range.
pub(crate) fn slice_starts(indices: &Tensor, depth: usize, dims: &[usize]) -> Result<Vec<usize>> {
    let count = if depth == 0 { indices.dims()[..indices.rank() - 1].iter().product() } else { indices.len() / depth };
    let mut starts = Vec::with_capacity(count);
    if depth == 0 {
        starts.resize(count, 0);
        return Ok(starts);
    }
    for (at, row) in indices.to_i64s()?.chunks_exact(depth).enumerate() {
        let mut start = 0usize;
        for (&index, &dim) in row.iter().zip(dims) {
            let Some(index) = usize::try_from(index).ok().filter(|&i| i < dim) else {
                let place = position(&indices.dims()[..indices.rank() - 1], at);
                bail!(InvalidArgument, "indices{place} = {row:?} does not index into param shape {dims:?}");
            };
            start = start * dim + index;
        }
        starts.push(start);
    }
    Ok(starts)
}

/// `GatherNd`: the slices of `params` that the rows of `indices` name.
///
/// # Errors
/// `InvalidArgument` for rows longer than the rank, or an index out of range.
pub(crate) fn gather_nd_tensor(params: &Tensor, indices: &Tensor) -> Result<Tensor> {
    if params.rank() == 0 {
        bail!(InvalidArgument, "params must be at least a vector");
    }
    let Some((&depth, outer)) = indices.dims().split_last() else {
        bail!(InvalidArgument, "indices must be at least a vector");
    };
    if depth > params.rank() {
        bail!(InvalidArgument, "index innermost dimension length must be <= params rank; saw: {depth} vs. {}", params.rank());
    }
    let mut dims = Dims::from_slice(outer);
    dims.extend_from_slice(&params.dims()[depth..]);
    if params.is_empty() && outer.iter().product::<usize>() > 0 {
        bail!(InvalidArgument, "Requested more than 0 entries, but params is empty.  Params shape: {:?}", params.dims());
    }
    let starts = slice_starts(indices, depth, params.dims())?;
    let count: usize = params.dims()[..depth].iter().product();
    let mut flat = Dims::from_slice(&[count]);
    flat.extend_from_slice(&params.dims()[depth..]);
    take(&params.clone().reshaped(&flat)?, 0, &starts)?.reshaped(&dims)
}

fn gather_grad(g: &Graph, op: Operation, grads: &Grads) -> Result<Vec<Option<Gradient>>> {
    let (params, indices) = (g.input(op, 0)?, g.input(op, 1)?);
    let params_shape = {
        let _colocated = g.colocate_with(params.op)?;
        g.shape_tensor(params)?
    };
    let size = g.size(indices)?;
    let size = g.expand_dims(size, 0i32)?;
    let rest = g.index(params_shape, &[(1..).into()])?;
    let values_shape = g.concat(&[size.into(), rest.into()], 0i32)?;
    let grad = grads.dense(g, 0)?;
    let values = g.reshape(grad, values_shape)?;
    let indices = g.reshape(indices, size)?;
    let slices = IndexedSlices { values, indices, dense_shape: Some(params_shape) };
    Ok(vec![Some(Gradient::Sparse(slices)), None])
}

fn gather_v2_grad(g: &Graph, op: Operation, grads: &Grads) -> Result<Vec<Option<Gradient>>> {
    let (params, indices, axis) = (g.input(op, 0)?, g.input(op, 1)?, g.input(op, 2)?);
    let params_shape = {
        let _colocated = g.colocate_with(params.op)?;
        let wide = g.shape_tensor_as(params, DType::Int64)?;
        g.cast(wide, DType::Int32)?
    };
    let size = g.size(indices)?;
    let size = g.expand_dims(size, 0i32)?;
    let mut batch_dims = g.int_attr(op, "batch_dims")?;
    if batch_dims < 0 {
        let Some(rank) = g.shape(indices)?.rank() else {
            bail!(
                InvalidArgument,
                "Currently, it is unsupported to take the gradient of tf.gather when batch_dims < 0 and the rank of the indices is unknown."
            );
        };
        batch_dims += rank as i64;
    }
    if g.constant_value(axis).is_some_and(|a| a.item_i64().ok() == Some(0)) {
        let rest = g.index(params_shape, &[(1..).into()])?;
        let values_shape = g.concat(&[size.into(), rest.into()], 0i32)?;
        let grad = grads.dense(g, 0)?;
        let values = g.reshape(grad, values_shape)?;
        let indices = g.reshape(indices, size)?;
        let slices = IndexedSlices { values, indices, dense_shape: Some(params_shape) };
        return Ok(vec![Some(Gradient::Sparse(slices)), None, None]);
    }
    let batch = batch_dims as i32;
    let outer = g.index(params_shape, &[(..axis).into()])?;
    let inner = g.index(params_shape, &[(axis..).into()])?;
    let inner = g.index(inner, &[(1..).into()])?;
    let values_shape = g.concat(&[outer.into(), [-1i32].into(), inner.into()], 0i32)?;
    let values_dims = g.size(values_shape)?;
    let axis_dims = g.size(outer)?;
    let outer_batches = g.range(0i32, batch, 1i32)?;
    let batch_axis = g.range(batch, axis_dims, 1i32)?;
    let after_axis = g.operator("add", "AddV2", axis_dims, 1i32)?;
    let inner_axes = g.range(after_axis, values_dims, 1i32)?;
    let grad = grads.dense(g, 0)?;
    let values = g.reshape(grad, values_shape)?;
    let order = g.concat(&[outer_batches.into(), [axis_dims].into(), batch_axis.into(), inner_axes.into()], 0i32)?;
    let values = g.transpose(values, Some(order.into()))?;
    let shape = g.gather(params_shape, order)?;
    let rows = g.index(params_shape, &[axis.into()])?;
    let grad = batch_gather_grad(g, shape, values, indices, batch, rows)?;
    let next = g.operator("add", "AddV2", batch_axis, 1i32)?;
    let order = g.concat(&[outer_batches.into(), next.into(), [batch].into(), inner_axes.into()], 0i32)?;
    let grad = g.transpose(grad, Some(order.into()))?;
    Ok(vec![Some(grad.into()), None, None])
}

fn batch_gather_grad(
    g: &Graph,
    params_shape: Output,
    values: Output,
    indices: Output,
    batch_dims: i32,
    rows: Output,
) -> Result<Output> {
    let size = g.size(indices)?;
    let size = g.expand_dims(size, 0i32)?;
    if batch_dims == 0 {
        let indices = g.reshape(indices, size)?;
        return g.op("UnsortedSegmentSum").input(values).input(indices).input(rows).output();
    }
    let values_shape = g.shape_tensor(values)?;
    let outer = g.index(values_shape, &[(..batch_dims).into()])?;
    let inner = g.index(values_shape, &[(batch_dims..).into()])?;
    let inner = g.index(inner, &[(1..).into()])?;
    let batches = g.call("Prod").arg(outer).arg([0i32]).attr("keep_dims", false).output()?;
    let flat = g.concat(&[[-1i32].into(), inner.into()], 0i32)?;
    let rows = g.operator("mul", "Mul", rows, batches)?;
    let indices = batch_indices(g, params_shape, indices, batch_dims)?;
    let values = g.reshape(values, flat)?;
    let indices = g.reshape(indices, size)?;
    let grad = g.op("UnsortedSegmentSum").input(values).input(indices).input(rows).output()?;
    let shape = g.concat(&[outer.into(), flat.into()], 0i32)?;
    g.reshape(grad, shape)
}

/// Indices into the flattened batches: each one plus the offset of its batch.
fn batch_indices(g: &Graph, params_shape: Output, indices: Output, batch_dims: i32) -> Result<Output> {
    let dtype = g.dtype(indices)?;
    let shape = g.cast(params_shape, dtype)?;
    let mut all = indices;
    let mut step = g.ones(Arg::List(Vec::new()), dtype)?;
    for dim in (1..=batch_dims).rev() {
        let count = g.index(shape, &[(dim - 1).into()])?;
        let size = g.index(shape, &[dim.into()])?;
        step = g.operator("mul", "Mul", step, size)?;
        let start = g.zeros(Arg::List(Vec::new()), dtype)?;
        let one = g.ones(Arg::List(Vec::new()), dtype)?;
        let offsets = g.range(start, count, one)?;
        let offsets = g.operator("mul", "Mul", offsets, step)?;
        let lead = g.call("Tile").arg([1i32]).arg([dim - 1]).output()?;
        let rank = g.rank(indices)?;
        let tail = g.operator("sub", "Sub", rank, dim)?;
        let tail = g.call("Tile").arg([1i32]).arg([tail]).output()?;
        let dim_shape = g.concat(&[lead.into(), [count].into(), tail.into()], 0i32)?;
        let offsets = g.reshape(offsets, dim_shape)?;
        all = g.operator("add", "AddV2", all, offsets)?;
    }
    Ok(all)
}

fn gather_nd_grad(g: &Graph, op: Operation, grads: &Grads) -> Result<Vec<Option<Gradient>>> {
    let (params, indices) = (g.input(op, 0)?, g.input(op, 1)?);
    let shape = g.shape_tensor_as(params, g.dtype(indices)?)?;
    let index_shape = g.shape(indices)?;
    let grad = grads.dense(g, 0)?;
    if index_shape.rank() == Some(2) && index_shape.dim(-1) == Some(1) {
        let indices = g.squeeze(indices, &[-1])?;
        let slices = IndexedSlices { values: grad, indices, dense_shape: Some(shape) };
        return Ok(vec![Some(Gradient::Sparse(slices)), None]);
    }
    Ok(vec![Some(g.scatter_nd(indices, grad, shape)?.into()), None])
}

impl Graph {
    /// The rows of `params` that `indices` name (`tf.gather`).
    ///
    /// # Errors
    /// `InvalidArgument` for params that are a scalar, or indices that aren't integers.
    pub fn gather(&self, params: Output, indices: impl Into<Arg>) -> Result<Output> {
        self.gather_with(params, indices, 0i32, 0)
    }

    /// The slices of `params` along `axis` that `indices` name; the first `batch_dims` dimensions of both go together.
    ///
    /// # Errors
    /// `InvalidArgument` for an axis or number of batch dimensions out of range.
    pub fn gather_with(&self, params: Output, indices: impl Into<Arg>, axis: impl Into<Arg>, batch_dims: i64) -> Result<Output> {
        self.call("GatherV2").arg(params).arg(indices).arg(axis).attr("batch_dims", batch_dims).output()
    }

    /// The slices of `params` that the rows of `indices` name (`tf.gather_nd`).
    ///
    /// # Errors
    /// `InvalidArgument` for rows longer than the rank of `params`.
    pub fn gather_nd(&self, params: Output, indices: impl Into<Arg>) -> Result<Output> {
        self.call("GatherNd").arg(params).arg(indices).output()
    }
}
