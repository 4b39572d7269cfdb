//! Joining tensors: along a dimension, or stacked along a new one.

use super::items::{Item, moved};
use super::shaping::index_tensor;
use crate::compute::elementwise::concatenate;
use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::graph::{Gradient, Grads, Graph, IndexedSlices, Operation, Output};
use crate::ops::convert::Arg;
use crate::tensor::{DType, Dims, Shape, Tensor};
use std::borrow::Borrow;

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "Concat",
        ins: &["concat_dim: int32", "values: N * T"],
        outs: &["output: T"],
        attrs: &["N: int >= 2", "T: type"],
        shape: |ctx| concat_shape(ctx, 0, 1..ctx.num_inputs()),
        kernel: Kernel::Pure(|ctx| concat_kernel(ctx, 0, 1..ctx.num_inputs())),
        grad: Grad::Fn(|g, op, grads| concat_grad(g, op, grads, true)),
        rows: &["N=2; i32 0, f32[1], f32[2 3] => f32[1 2 3]"],
    },
    Op {
        name: "ConcatV2",
        ins: &["values: N * T", "axis: Tidx"],
        outs: &["output: T"],
        attrs: &["N: int >= 2", "T: type", "Tidx: {int32, int64} = DT_INT32"],
        shape: |ctx| {
            let last = ctx.num_inputs().saturating_sub(1);
            concat_shape(ctx, last, 0..last)
        },
        kernel: Kernel::Pure(|ctx| {
            let last = ctx.num_inputs().saturating_sub(1);
            concat_kernel(ctx, last, 0..last)
        }),
        grad: Grad::Fn(|g, op, grads| concat_grad(g, op, grads, false)),
        rows: &[
            "N=2; f32[[1] [2]], f32[[3 4] [5 6]], i32 -1 => f32[[1 3 4] [2 5 6]]",
            "N=2; f32{0,2}[], f32[[1 2]], i32 0 => f32[[1 2]]",
            "N=2; str[\"a\"], str[\"b\"], i64 0 => str[\"a\" \"b\"]",
        ],
    },
    Op {
        name: "ConcatOffset",
        ins: &["concat_dim: int32", "shape: N * shape_type"],
        outs: &["offset: N * shape_type"],
        attrs: &["N: int >= 2", "shape_type: {int32, int64} = DT_INT32"],
        shape: |ctx| {
            let mut shape = Shape::of_rank(1);
            for i in 1..ctx.num_inputs() {
                shape = shape.merge(&ctx.input(i).with_rank(1)?)?;
            }
            (0..ctx.num_outputs()).try_for_each(|i| ctx.set(i, shape.clone()))
        },
        kernel: Kernel::Pure(concat_offset_kernel),
        grad: Grad::None("integers"),
        rows: &["N=2; i32 1, i32[2 3 4], i32[2 5 4] => i32[0 0 0], i32[0 3 0]"],
    },
    Op {
        name: "Pack",
        ins: &["values: N * T"],
        outs: &["output: T"],
        attrs: &["N: int >= 1", "T: type", "axis: int = 0"],
        shape: pack_shape,
        kernel: Kernel::Pure(pack_kernel),
        grad: Grad::Fn(|g, op, grads| {
            let grad = grads.dense(g, 0)?;
            let (count, axis) = (g.inputs(op).len(), g.int_attr(op, "axis")?);
            Ok(g.unstack_with(grad, Some(count), axis)?.into_iter().map(|o| Some(o.into())).collect())
        }),
        rows: &["N=2; f32[1 2], f32[3 4] => f32[[1 2] [3 4]]", "N=2, axis=-1; f32[1 2], f32[3 4] => f32[[1 3] [2 4]]"],
    },
    Op {
        name: "ParallelConcat",
        ins: &["values: N * T"],
        outs: &["output: T"],
        attrs: &["N: int >= 1", "T: type", "shape: shape"],
        shape: parallel_concat_shape,
        kernel: Kernel::Pure(parallel_concat_kernel),
        grad: Grad::Missing,
        rows: &["N=2, shape=shape[2, 2]; f32[[1 2]], f32[[3 4]] => f32[[1 2] [3 4]]"],
    },
];

/// Brings an axis into `0..rank`.
///
/// # Errors
/// `InvalidArgument` where it isn't in `-rank..rank`; the message names the op.
pub(crate) fn resolve_axis(axis: i64, rank: usize, what: &str) -> Result<usize> {
    let limit = rank as i64;
    if !(-limit..limit).contains(&axis) {
        bail!(InvalidArgument, "{what} in the range [{}, {limit}), but got {axis}", -limit);
    }
    Ok((if axis < 0 { axis + limit } else { axis }) as usize)
}

fn concat_shape(ctx: &mut InferCtx, axis: usize, values: std::ops::Range<usize>) -> Result<()> {
    if ctx.input(axis).num_elements().is_some_and(|n| n != 1) {
        ctx.input(axis).with_rank(0)?;
    }
    let Some(axis) = ctx.constant(axis) else {
        let rank = values.clone().find_map(|i| ctx.input(i).rank());
        let Some(rank) = rank else { return ctx.set(0, Shape::unknown()) };
        if rank == 0 {
            bail!(InvalidArgument, "Can't concatenate scalars (use tf.stack instead)");
        }
        for i in values {
            ctx.input(i).with_rank(rank)?;
        }
        return ctx.set(0, Shape::of_rank(rank));
    };
    let axis = axis.item_i64()? as isize;
    let least = if axis < 0 { axis.unsigned_abs() } else { axis as usize + 1 };
    let (mut before, mut after, mut middle) = (Shape::unknown(), Shape::unknown(), Some(0usize));
    for i in values {
        let input = ctx.input(i);
        if input.rank() == Some(0) {
            bail!(InvalidArgument, "Can't concatenate scalars (use tf.stack instead)");
        }
        input.with_rank_at_least(least)?;
        before = before.merge(&input.slice(0, axis))?;
        middle = middle.zip(input.dim(axis)).and_then(|(a, b)| a.checked_add(b));
        after = after.merge(&if axis == -1 { Shape::scalar() } else { input.slice_from(axis + 1) })?;
    }
    ctx.set(0, before.push(middle).concatenate(&after))
}

/// The elements of all tensors, of which there is one at least, one tensor's behind the other's.
pub(in crate::ops) fn one_by_one(parts: &[impl Borrow<Tensor>], dims: &[usize]) -> Result<Tensor> {
    let dtype = parts[0].borrow().dtype();
    let parts = || parts.iter().map(Borrow::borrow);
    match dtype {
        DType::String => {
            let all = parts().map(Tensor::strings).collect::<Result<Vec<_>>>()?;
            Tensor::from_strings(dims, all.concat())
        }
        DType::Resource | DType::Variant => {
            let all = parts().map(Tensor::handles).collect::<Result<Vec<_>>>()?;
            Tensor::from_handles(dtype, dims, all.concat())
        }
        _ => {
            let parts = parts().map(Tensor::bytes).collect::<Result<Vec<_>>>()?;
            let mut whole = Tensor::uninit(dtype, dims)?;
            concatenate(&parts, whole.bytes_mut()?);
            Ok(whole)
        }
    }
}

/// Copies tensors of equal dimensions but for `axis` one behind the other along it.
fn join(parts: &[&Tensor], axis: usize, dims: &[usize]) -> Result<Tensor> {
    let dtype = parts[0].dtype();
    let inner: usize = dims[axis + 1..].iter().product();
    let outer: usize = dims[..axis].iter().product();
    if outer == 1 {
        return one_by_one(parts, dims);
    }
    moved!(dtype, T => {
        let parts: Vec<(&[T], usize)> =
            parts.iter().map(|p| Ok((T::of(p)?, p.dims()[axis] * inner))).collect::<Result<_>>()?;
        T::build(dtype, dims, |to| {
            let mut done = 0;
            for row in 0..outer {
                for (from, width) in &parts {
                    to[done..done + width].clone_from_slice(&from[row * width..(row + 1) * width]);
                    done += width;
                }
            }
            Ok(())
        })
    })
}

fn concat_kernel(ctx: &mut KernelCtx, axis: usize, values: std::ops::Range<usize>) -> Result<()> {
    let axis_input = ctx.input(axis)?;
    if axis_input.len() != 1 || axis_input.rank() > 1 {
        bail!(InvalidArgument, "Concat dim tensor should be a scalar integer, but got shape {:?}", axis_input.dims());
    }
    let parts: Vec<&Tensor> = values.map(|i| ctx.input(i)).collect::<Result<_>>()?;
    let output = concat_tensors(&parts, axis_input.item_i64()?)?;
    ctx.set(0, output)
}

/// Tensors one behind the other along an axis.
///
/// # Errors
/// `InvalidArgument` for an axis out of range, or dimensions beside it that differ.
pub(crate) fn concat_tensors(parts: &[&Tensor], axis: i64) -> Result<Tensor> {
    let Some(first) = parts.first() else { bail!(InvalidArgument, "there is nothing to concatenate") };
    let axis = resolve_axis(axis, first.rank(), "ConcatOp : Expected concatenating dimensions")?;
    let mut dims = Dims::from_slice(first.dims());
    for (i, part) in parts.iter().enumerate().skip(1) {
        if part.rank() != first.rank() {
            bail!(
                InvalidArgument,
                "ConcatOp : Ranks of all input tensors should match: shape[0] = {:?} vs. shape[{i}] = {:?}",
                first.dims(),
                part.dims()
            );
        }
        if let Some(at) = (0..dims.len()).find(|&d| d != axis && dims[d] != part.dims()[d]) {
            bail!(
                InvalidArgument,
                "ConcatOp : Dimension {at} in both shapes must be equal: shape[0] = {:?} vs. shape[{i}] = {:?}",
                first.dims(),
                part.dims()
            );
        }
        dims[axis] += part.dims()[axis];
    }
    let mut filled = parts.iter().filter(|p| !p.is_empty());
    if let (Some(only), None) = (filled.next(), filled.next()) {
        return (*only).clone().reshaped(&dims);
    }
    join(parts, axis, &dims)
}

fn concat_offset_kernel(ctx: &mut KernelCtx) -> Result<()> {
    if ctx.input(0)?.rank() != 0 {
        bail!(InvalidArgument, "Concat dim tensor should be a scalar integer, but got shape {:?}", ctx.input(0)?.dims());
    }
    let shapes: Vec<Dims> = (1..ctx.num_inputs()).map(|i| ctx.dims_input(i)).collect::<Result<_>>()?;
    for i in 1..ctx.num_inputs() {
        if ctx.input(i)?.rank() != 1 {
            bail!(InvalidArgument, "input {} should be a vector, but got shape {:?}", i - 1, ctx.input(i)?.dims());
        }
    }
    let first = &shapes[0];
    let axis = resolve_axis(ctx.int_input(0)?, first.len(), "Concat dim is out of range: expected")?;
    let mut offset = 0;
    for (i, shape) in shapes.iter().enumerate() {
        if shape.len() != first.len() {
            bail!(InvalidArgument, "input {i} should contain {} elements, but got {}", first.len(), shape.len());
        }
        if let Some(at) = (0..first.len()).find(|&d| d != axis && shape[d] != first[d]) {
            bail!(
                InvalidArgument,
                "All dimensions except {axis} must match. Input {i} has shape {shape:?} and doesn't match input 0 with shape {first:?} at {at}"
            );
        }
        let offsets = (0..shape.len()).map(|d| if d == axis { offset } else { 0 });
        let offsets = index_tensor(ctx.node().output_types[i], &[shape.len()], offsets)?;
        ctx.set(i, offsets)?;
        offset += shape[axis];
    }
    Ok(())
}

fn pack_shape(ctx: &mut InferCtx) -> Result<()> {
    let mut value = Shape::unknown();
    for i in 0..ctx.num_inputs() {
        value = value.merge(&ctx.input(i))?;
    }
    let Some(rank) = value.rank() else { return ctx.set(0, Shape::unknown()) };
    let axis = resolve_axis(ctx.int("axis")?, rank + 1, "Invalid axis: expected")? as isize;
    ctx.set(0, value.slice(0, axis).push(Some(ctx.num_inputs())).concatenate(&value.slice_from(axis)))
}

fn pack_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let dims = Dims::from_slice(ctx.input(0)?.dims());
    let axis = resolve_axis(ctx.node().int("axis")?, dims.len() + 1, "axis must be")?;
    let count = ctx.num_inputs();
    let mut packed = dims.clone();
    packed.insert(axis, count);
    if count == 1 {
        let output = ctx.take(0)?.reshaped(&packed)?;
        return ctx.set(0, output);
    }
    let mut parts = Vec::with_capacity(count);
    for i in 0..count {
        let part = ctx.input(i)?;
        if part.dims() != &dims[..] {
            bail!(
                InvalidArgument,
                "Shapes of all inputs must match: values[0].shape = {dims:?} != values[{i}].shape = {:?}",
                part.dims()
            );
        }
        parts.push(part);
    }
    let outer: usize = dims[..axis].iter().product();
    let width: usize = dims[axis..].iter().product();
    let dtype = parts[0].dtype();
    let output = moved!(dtype, T => {
        let parts: Vec<&[T]> = parts.iter().map(|p| T::of(p)).collect::<Result<_>>()?;
        T::build(dtype, &packed, |to| {
            let mut done = 0;
            for row in 0..outer {
                for from in &parts {
                    to[done..done + width].clone_from_slice(&from[row * width..(row + 1) * width]);
                    done += width;
                }
            }
            Ok(())
        })
    })?;
    ctx.set(0, output)
}

fn parallel_concat_shape(ctx: &mut InferCtx) -> Result<()> {
    let shape = ctx.shape_attr("shape")?;
    if !shape.is_fully_known() {
        bail!(InvalidArgument, "shape attr must be fully defined");
    }
    let mut value = shape.clone();
    if value.rank().is_none_or(|r| r == 0) {
        bail!(InvalidArgument, "shape attr must have at least one dimension, got {shape}");
    }
    value = value.with_dim(0, Some(1));
    for i in 0..ctx.num_inputs() {
        if !ctx.input(i).is_fully_known() {
            bail!(InvalidArgument, "All input shapes must be fully defined.");
        }
        if ctx.input(i).dim(0) != Some(1) {
            bail!(InvalidArgument, "Size of first dimension must be 1.");
        }
        value.merge(&ctx.input(i))?;
    }
    ctx.set(0, shape)
}

fn parallel_concat_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let Some(dims) = ctx.node().shape("shape")?.to_dims() else {
        bail!(InvalidArgument, "shape attr must be fully defined");
    };
    let parts: Vec<&Tensor> = (0..ctx.num_inputs()).map(|i| ctx.input(i)).collect::<Result<_>>()?;
    let output = concat_tensors(&parts, 0)?;
    if output.dims() != &dims[..] {
        bail!(InvalidArgument, "the inputs make a tensor of shape {:?}, not {dims:?}", output.dims());
    }
    ctx.set(0, output)
}

/// True where the gradient of a node with this output is made in the control-flow context of `op`.
fn same_context(g: &Graph, op: Operation, grad: Output) -> bool {
    let (own, other) = (g.op_context(op), g.op_context(grad.op));
    // A value that leaves a loop counts as made around it.
    if matches!(&*g.op_type(grad.op), "Exit" | "RefExit") { own != other } else { own == other }
}

fn concat_grad(g: &Graph, op: Operation, grads: &Grads, axis_first: bool) -> Result<Vec<Option<Gradient>>> {
    let mut values = g.inputs(op);
    let axis = if axis_first { values.remove(0) } else { values.pop().unwrap_or(op.output(0)) };
    let mut out = match grads.get(0) {
        None => vec![None; values.len()],
        Some(grad) if values.len() == 1 => vec![Some(grad)],
        Some(Gradient::Dense(grad)) => dense_concat_grad(g, axis, &values, grad)?,
        Some(Gradient::Sparse(grad)) => sparse_concat_grad(g, axis, &values, &grad)?,
    };
    if axis_first {
        out.insert(0, None)
    } else {
        out.push(None)
    }
    Ok(out)
}

fn dense_concat_grad(g: &Graph, axis: Output, values: &[Output], grad: Output) -> Result<Vec<Option<Gradient>>> {
    /// From this many inputs on, one `Split` is made in place of many slices.
    const MANY: usize = 17;
    let mut axis = axis;
    if g.op_type(axis.op) == "Const" && !same_context(g, axis.op, grad) {
        let value = g.constant_value(axis).unwrap_or_else(|| Tensor::scalar(0i32));
        axis = g.constant(value)?;
    }
    let rank = g.rank(values[0])?;
    let axis = g.operator("mod", "FloorMod", axis, rank)?;
    let mut sizes = Vec::with_capacity(values.len());
    for &value in values {
        let size = g.shape_tensor(value)?;
        if g.op_type(size.op) != "Const" {
            break;
        }
        sizes.push(size);
    }
    if sizes.len() < values.len() {
        sizes = g.shape_n(values, DType::Int32)?;
    }
    if sizes.len() >= MANY {
        let stacked = g.stack(&sizes, 1)?;
        let column = g.slice(stacked, [Arg::from(axis), Arg::from(0i32)], [1i32, -1])?;
        let sizes = g.squeeze(column, &[])?;
        return Ok(g.split_v(grad, sizes, axis, None)?.into_iter().map(|o| Some(o.into())).collect());
    }
    let offsets = g.op("ConcatOffset").input(axis).input_list(&sizes).outputs()?;
    offsets.iter().zip(&sizes).map(|(&begin, &size)| Ok(Some(g.slice(grad, begin, size)?.into()))).collect()
}

fn sparse_concat_grad(g: &Graph, axis: Output, values: &[Output], grad: &IndexedSlices) -> Result<Vec<Option<Gradient>>> {
    let rank = g.rank(values[0])?;
    let non_negative = g.operator("mod", "FloorMod", axis, rank)?;
    let Some(mut known) = g.constant_value(axis).map(|v| v.item_i64()).transpose()? else {
        bail!(InvalidArgument, "Can only compute IndexedSlices gradient with statically-known concat_dim");
    };
    if known < 0 {
        let rank = g.rank(values[0])?;
        let Some(rank) = g.constant_value(rank).map(|v| v.item_i64()).transpose()? else {
            bail!(
                InvalidArgument,
                "Can only compute IndexedSlices gradient with negative concat_dim when first value rank is statically-known."
            );
        };
        known = known.rem_euclid(rank.max(1));
    }
    let sizes: Vec<Output> = values.iter().map(|&v| g.shape_tensor(v)).collect::<Result<_>>()?;
    if known > 0 { sliced_values(g, non_negative, &sizes, grad) } else { selected_rows(g, non_negative, &sizes, grad) }
}

/// The join isn't along the rows: every input gets all rows, sliced.
fn sliced_values(g: &Graph, axis: Output, sizes: &[Output], grad: &IndexedSlices) -> Result<Vec<Option<Gradient>>> {
    let rank = g.shape_tensor(sizes[0])?;
    let before = g.expand_dims(axis, 0i32)?;
    let before = g.zeros(before, DType::Int32)?;
    let after = g.operator("sub", "Sub", rank, axis)?;
    let after = g.operator("sub", "Sub", after, 1i32)?;
    let after = g.zeros(after, DType::Int32)?;
    let mask = g.concat(&[before.into(), [1i32].into(), after.into()], 0i32)?;
    let mut begin = g.zeros(rank, DType::Int32)?;
    let mut out = Vec::with_capacity(sizes.len());
    for &size in sizes {
        let tail = g.slice(size, [1i32], [-1i32])?;
        let size_of_rows = g.concat(&[[-1i32].into(), tail.into()], 0i32)?;
        let values = g.slice(grad.values, begin, size_of_rows)?;
        out.push(Some(Gradient::Sparse(IndexedSlices { values, indices: grad.indices, dense_shape: Some(size) })));
        let step = g.operator("mul", "Mul", size, mask)?;
        begin = g.op("AddV2").name("Add").input(begin).input(step).output()?;
    }
    Ok(out)
}

/// The join is along the rows: every input gets the rows that stood in it.
fn selected_rows(g: &Graph, axis: Output, sizes: &[Output], grad: &IndexedSlices) -> Result<Vec<Option<Gradient>>> {
    let dtype = g.dtype(grad.indices)?;
    let zero = crate::ops::convert::cast_value(&Tensor::scalar(0i32), dtype)?;
    let mut start = g.constant(zero)?;
    let mut out = Vec::with_capacity(sizes.len());
    for &size in sizes {
        let mut rows = g.gather(size, axis)?;
        if g.dtype(rows)? != dtype {
            rows = g.op("Cast").input(rows).attr("DstT", dtype).output()?;
        }
        let end = g.operator("add", "AddV2", start, rows)?;
        let from = g.call("GreaterEqual").arg(grad.indices).arg(start).output()?;
        let to = g.call("Less").arg(grad.indices).arg(end).output()?;
        let inside = g.op("LogicalAnd").input(from).input(to).output()?;
        let inside = g.where_true(inside)?;
        let inside = g.squeeze(inside, &[1])?;
        let indices = g.gather(grad.indices, inside)?;
        let indices = g.operator("sub", "Sub", indices, start)?;
        let values = g.gather(grad.values, inside)?;
        out.push(Some(Gradient::Sparse(IndexedSlices { values, indices, dense_shape: Some(size) })));
        start = end;
    }
    Ok(out)
}

impl Graph {
    /// Tensors one behind the other along a dimension (`tf.concat`). A single tensor is passed on.
    ///
    /// # Errors
    /// `InvalidArgument` for an axis out of range, or dimensions beside it that differ.
    pub fn concat(&self, values: &[Arg], axis: impl Into<Arg>) -> Result<Output> {
        if let [only] = values {
            let name = self.name_or("concat").to_string();
            let (g, _scope) = self.enter(&name)?;
            let axis = g.convert(&axis.into(), Some(DType::Int32), "concat_dim")?;
            g.shape(axis)?.with_rank(0)?;
            return g.named(&name).call("Identity").arg(only.clone()).output();
        }
        self.call("ConcatV2").default_name("concat").list(values.iter().cloned()).arg(axis).output()
    }

    /// Tensors of one shape stacked along a new dimension (`tf.stack`, at times called `pack`).
    ///
    /// # Errors
    /// `InvalidArgument` for shapes or dtypes that differ, or an axis out of range.
    pub fn stack(&self, values: &[Output], axis: i64) -> Result<Output> {
        let values: Vec<Arg> = values.iter().map(|&v| v.into()).collect();
        self.stack_args(&values, axis)
    }

    /// The same, where some of what is stacked may be values.
    ///
    /// # Errors
    /// As [`Graph::stack`].
    pub fn stack_args(&self, values: &[Arg], axis: i64) -> Result<Output> {
        let name = self.name_or("stack").to_string();
        if axis == 0
            && let Ok(output) = self.plain().convert(&Arg::List(values.to_vec()), None, &name)
        {
            return Ok(output);
        }
        if let Some(value) = values.first().filter(|v| v.output().is_none()) {
            self.plain().convert(value, None, &name)?;
        }
        self.named(&name).call("Pack").list(values.iter().cloned()).attr("axis", axis).output()
    }
}
