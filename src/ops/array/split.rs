//! Cutting a tensor along a dimension.

use super::concat::resolve_axis;
use super::items::{View, read_view, row_major};
use crate::error::{Error, Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::graph::{Gradient, Grads, Graph, Operation, Output};
use crate::ops::convert::Arg;
use crate::tensor::{Dims, Shape, Tensor};

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "Split",
        ins: &["split_dim: int32", "value: T"],
        outs: &["output: num_split * T"],
        attrs: &["num_split: int >= 1", "T: type"],
        shape: split_shape,
        kernel: Kernel::Pure(split_kernel),
        grad: Grad::Fn(|g, op, grads| Ok(vec![None, Some(joined(g, grads, g.input(op, 0)?)?)])),
        rows: &[
            "num_split=2; i32 0, f32[1 2 3 4] => f32[1 2], f32[3 4]",
            "num_split=2; i32 -1, f32[[1 2]] => f32[[1]], f32[[2]]",
        ],
    },
    Op {
        name: "SplitV",
        ins: &["value: T", "size_splits: Tlen", "split_dim: int32"],
        outs: &["output: num_split * T"],
        attrs: &["num_split: int >= 1", "T: type", "Tlen: {int8, int32, int64} = DT_INT64"],
        shape: split_v_shape,
        kernel: Kernel::Pure(split_v_kernel),
        grad: Grad::Fn(|g, op, grads| Ok(vec![Some(joined(g, grads, g.input(op, 2)?)?), None, None])),
        rows: &["num_split=3; f32[1 2 3 4], i32[1 -1 1], i32 0 => f32[1], f32[2 3], f32[4]"],
    },
    Op {
        name: "Unpack",
        ins: &["value: T"],
        outs: &["output: num * T"],
        attrs: &["num: int >= 0", "T: type", "axis: int = 0"],
        shape: unpack_shape,
        kernel: Kernel::Pure(unpack_kernel),
        grad: Grad::Fn(unpack_grad),
        rows: &["num=2; f32[[1 2] [3 4]] => f32[1 2], f32[3 4]", "num=2, axis=-1; f32[[1 2] [3 4]] => f32[1 3], f32[2 4]"],
    },
];

/// The gradients of all outputs, joined along `axis`.
fn joined(g: &Graph, grads: &Grads, axis: Output) -> Result<Gradient> {
    let parts: Vec<Arg> = (0..grads.len()).map(|i| Ok(grads.dense(g, i)?.into())).collect::<Result<_>>()?;
    Ok(g.concat(&parts, axis)?.into())
}

fn unpack_grad(g: &Graph, op: Operation, grads: &Grads) -> Result<Vec<Option<Gradient>>> {
    let parts: Vec<Output> = (0..grads.len()).map(|i| grads.dense(g, i)).collect::<Result<_>>()?;
    Ok(vec![Some(g.stack(&parts, g.int_attr(op, "axis")?)?.into())])
}

fn split_shape(ctx: &mut InferCtx) -> Result<()> {
    let count = ctx.num_outputs();
    let input = ctx.input(1);
    let shape = match (ctx.constant(0), input.rank()) {
        (None, Some(rank)) => Shape::of_rank(rank),
        (_, None) => Shape::unknown(),
        (Some(axis), Some(rank)) => {
            let axis = resolve_axis(axis.item_i64()?, rank, "Expected split_dim")? as isize;
            let part = input.dim(axis).map(|size| evenly(axis as usize, size, count)).transpose()?;
            input.with_dim(axis, part)
        }
    };
    (0..count).try_for_each(|i| ctx.set(i, shape.clone()))
}

/// The size of one of `count` equal parts of dimension `axis`.
fn evenly(axis: usize, size: usize, count: usize) -> Result<usize> {
    if count == 0 || !size.is_multiple_of(count) {
        bail!(
            InvalidArgument,
            "Number of ways to split should evenly divide the split dimension, but got split_dim {axis} (size = {size}) and num_split \
             {count}"
        );
    }
    Ok(size / count)
}

fn split_axis(axis: &Tensor, rank: usize) -> Result<usize> {
    if axis.len() != 1 {
        bail!(InvalidArgument, "split_dim must be a scalar but has shape {:?}", axis.dims());
    }
    if rank == 0 {
        bail!(InvalidArgument, "Can't split scalars");
    }
    resolve_axis(axis.item_i64()?, rank, "Expected split_dim")
}

/// Parts of these sizes along an axis.
fn cut(value: &Tensor, axis: usize, sizes: impl IntoIterator<Item = usize>) -> Result<Vec<Tensor>> {
    let strides = row_major(value.dims());
    let mut start = 0;
    let mut parts = Vec::new();
    for size in sizes {
        let part = if value.dims()[..axis].iter().all(|&d| d == 1) {
            let mut dims = Dims::from_slice(value.dims());
            dims[axis] = size;
            value.clone().reshaped(&value.dims()[axis..])?.rows(start, size)?.reshaped(&dims)?
        } else {
            let mut view = View::of(value.dims());
            view.dims[axis] = size;
            view.strides = strides.clone();
            view.offset = start * strides[axis] as usize;
            read_view(value, &view)?
        };
        parts.push(part);
        start += size;
    }
    Ok(parts)
}

fn set_all(ctx: &mut KernelCtx, parts: Vec<Tensor>) -> Result<()> {
    parts.into_iter().enumerate().try_for_each(|(i, part)| ctx.set(i, part))
}

fn split_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let (value, count) = (ctx.input(1)?, ctx.num_outputs());
    let axis = split_axis(ctx.input(0)?, value.rank())?;
    let size = evenly(axis, value.dims()[axis], count)?;
    let parts = cut(value, axis, std::iter::repeat_n(size, count))?;
    set_all(ctx, parts)
}

fn split_v_shape(ctx: &mut InferCtx) -> Result<()> {
    let count = ctx.num_outputs();
    let input = ctx.input(0);
    ctx.input(1).with_rank(1)?;
    let Some(rank) = input.rank() else {
        return (0..count).try_for_each(|i| ctx.set(i, Shape::unknown()));
    };
    let Some(axis) = ctx.constant(2) else {
        return (0..count).try_for_each(|i| ctx.set(i, Shape::of_rank(rank)));
    };
    let axis = resolve_axis(axis.item_i64()?, rank, "Expected split_dim")? as isize;
    let Some(sizes) = ctx.constant(1) else {
        return (0..count).try_for_each(|i| ctx.set(i, input.with_dim(axis, None)));
    };
    let sizes = sizes.to_i64s()?;
    if sizes.len() != count {
        bail!(InvalidArgument, "Length of size_splits should be equal to num_outputs: {} and {count}", sizes.len());
    }
    if let Some(size) = input.dim(axis) {
        for (i, part) in resolve_sizes(&sizes, size)?.into_iter().enumerate() {
            ctx.set(i, input.with_dim(axis, Some(part)))?;
        }
        return Ok(());
    }
    for (i, &part) in sizes.iter().enumerate() {
        ctx.set(i, input.with_dim(axis, usize::try_from(part).ok()))?;
    }
    Ok(())
}

/// The sizes of the parts, of which one may be -1 and takes what remains.
fn resolve_sizes(sizes: &[i64], total: usize) -> Result<Vec<usize>> {
    let mut rest = None;
    let mut sum = 0usize;
    for (i, &size) in sizes.iter().enumerate() {
        match usize::try_from(size) {
            Ok(size) => sum = sum.saturating_add(size),
            Err(_) if size == -1 && rest.is_none() => rest = Some(i),
            Err(_) if size == -1 => bail!(InvalidArgument, "There can only be one -1 in the input."),
            Err(_) => bail!(InvalidArgument, "Split size at index {i} must be >= 0. Got: {size}"),
        }
    }
    if sum > total || (rest.is_none() && sum != total) {
        bail!(
            InvalidArgument,
            "Determined shape must either match input shape along split_dim exactly if fully specified, or be less than the size of the input along split_dim if not fully specified. Got: {sum} of {total}"
        );
    }
    Ok(sizes.iter().map(|&s| usize::try_from(s).unwrap_or(total - sum)).collect())
}

fn split_v_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let (value, sizes) = (ctx.input(0)?, ctx.input(1)?);
    let axis = split_axis(ctx.input(2)?, value.rank())?;
    if ctx.num_outputs() == 1 && sizes.dims() == [1] {
        return ctx.forward(0, 0);
    }
    if sizes.rank() != 1 || sizes.len() != ctx.num_outputs() {
        bail!(InvalidArgument, "size_splits must be a vector of {} sizes, got shape {:?}", ctx.num_outputs(), sizes.dims());
    }
    let sizes = resolve_sizes(&sizes.to_i64s()?, value.dims()[axis])?;
    let parts = cut(value, axis, sizes)?;
    set_all(ctx, parts)
}

fn unpack_shape(ctx: &mut InferCtx) -> Result<()> {
    let input = ctx.input(0).with_rank_at_least(1)?;
    let Some(rank) = input.rank() else { return Ok(()) };
    let axis = resolve_axis(ctx.int("axis")?, rank, "Invalid axis: expected")? as isize;
    if let Some(size) = input.dim(axis)
        && size != ctx.num_outputs()
    {
        bail!(InvalidArgument, "Dimension must be {} but is {size}, for axis {axis} of shape {input}", ctx.num_outputs());
    }
    let part = input.slice(0, axis).concatenate(&input.slice_from(axis + 1));
    (0..ctx.num_outputs()).try_for_each(|i| ctx.set(i, part.clone()))
}

fn unpack_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let value = ctx.input(0)?;
    let axis = resolve_axis(ctx.node().int("axis")?, value.rank(), "axis must be")?;
    let count = ctx.num_outputs();
    if value.dims()[axis] != count {
        bail!(InvalidArgument, "Input shape axis {axis} must equal {count}, got shape {:?}", value.dims());
    }
    let mut dims = Dims::from_slice(value.dims());
    dims.remove(axis);
    let parts = cut(value, axis, std::iter::repeat_n(1, count))?;
    let parts = parts.into_iter().map(|p| p.reshaped(&dims)).collect::<Result<_>>()?;
    set_all(ctx, parts)
}

impl Graph {
    /// Cuts a tensor into `count` parts of one size along a dimension (`tf.split` with a number).
    ///
    /// # Errors
    /// `InvalidArgument` for an axis out of range, or a size that isn't a multiple of `count`.
    pub fn split(&self, value: Output, count: usize, axis: impl Into<Arg>) -> Result<Vec<Output>> {
        self.call("Split").default_name("split").arg(axis).arg(value).attr("num_split", count).outputs()
    }

    /// Cuts a tensor into parts of the given sizes along a dimension (`tf.split` with sizes). One size may be -1. `count`
    /// says how many there are where the static shape of the sizes doesn't.
    ///
    /// # Errors
    /// `InvalidArgument` where the number of sizes isn't known, or the sizes don't fit.
    pub fn split_v(
        &self,
        value: Output,
        sizes: impl Into<Arg>,
        axis: impl Into<Arg>,
        count: Option<usize>,
    ) -> Result<Vec<Output>> {
        let sizes = self.plain().convert(&sizes.into(), None, "Const")?;
        let known = self.shape(sizes)?;
        if known.rank() == Some(0) {
            bail!(InvalidArgument, "Rank-0 tensors are not supported as the num_or_size_splits argument to split.");
        }
        let count = count.or(known.dim(0));
        let count = count.ok_or_else(|| Error::invalid_argument(format!("Cannot infer argument `num` from shape {known}")))?;
        let axis: Arg = axis.into();
        self.call("SplitV").default_name("split").arg(value).arg(sizes).arg(axis).attr("num_split", count).outputs()
    }

    /// Cuts a tensor into rows along its first dimension, whose size must be static (`tf.unstack`).
    ///
    /// # Errors
    /// `InvalidArgument` where the size isn't known.
    pub fn unstack(&self, value: Output) -> Result<Vec<Output>> {
        self.unstack_with(value, None, 0)
    }

    /// Cuts a tensor into `count` slices along `axis`; without a count, the size must be static.
    ///
    /// # Errors
    /// `InvalidArgument` where the size isn't known or another, or the axis is out of range.
    pub fn unstack_with(&self, value: Output, count: Option<usize>, axis: i64) -> Result<Vec<Output>> {
        let count = match count {
            Some(count) => count,
            None => {
                let shape = self.shape(value)?;
                if let Some(rank) = shape.rank() {
                    resolve_axis(axis, rank, "Argument `axis` must be")?;
                }
                let size = shape.dim(axis as isize);
                size.ok_or_else(|| Error::invalid_argument(format!("Cannot infer argument `num` from shape {shape}")))?
            }
        };
        self.op("Unpack").default_name("unstack").input(value).attr("num", count).attr("axis", axis).outputs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::array::concat::concat_tensors;

    #[test]
    fn cutting_and_joining_are_inverse() {
        let value = Tensor::new(&[2, 5, 3], (0..30).collect::<Vec<i32>>()).unwrap();
        for (axis, sizes) in [(0, vec![1, 1]), (1, vec![0, 4, 1]), (2, vec![2, 1])] {
            let parts = cut(&value, axis as usize, sizes).unwrap();
            assert_eq!(concat_tensors(&parts.iter().collect::<Vec<_>>(), axis).unwrap(), value);
        }
        assert_eq!(resolve_sizes(&[2, -1, 1], 7).unwrap(), [2, 4, 1]);
        assert!(resolve_sizes(&[2, -1, -1], 7).is_err());
        assert!(resolve_sizes(&[2, 2], 7).is_err());
    }
}
