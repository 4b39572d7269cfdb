//! Writing slices at places that indices name.

use super::gather::slice_starts;
use super::items::{Item, moved};
use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::graph::{Gradient, Grads, Graph, Operation, Output};
use crate::ops::convert::Arg;
use crate::ops::math::number::{Number, Real};
use crate::ops::shape;
use crate::tensor::{DType, Shape, Tensor, dispatch};
use bytes::Bytes;

const ANY: &[&str] = &["T: type", "Tindices: {int32, int64}"];

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "ScatterNd",
        ins: &["indices: Tindices", "updates: T", "shape: Tindices"],
        outs: &["output: T"],
        attrs: &["T: type", "Tindices: {int16, int32, int64}"],
        shape: scatter_nd_shape,
        kernel: Kernel::Pure(scatter_nd_kernel),
        grad: Grad::Fn(|g, op, grads| {
            let grad = grads.dense(g, 0)?;
            Ok(vec![None, Some(g.gather_nd(grad, g.input(op, 0)?)?.into()), None])
        }),
        rows: &[
            "i32[[1] [3] [1]], f32[5 6 7], i32[4] => f32[0 12 0 6]",
            "i64[[1]], f32[[1 2]], i64[2 2] => f32[[0 0] [1 2]]",
            "i32{0,1}[], f32{0}[], i32[2] => f32[0 0]",
        ],
    },
    Op {
        name: "ScatterNdNonAliasingAdd",
        ins: &["input: T", "indices: Tindices", "updates: T"],
        outs: &["output: T"],
        attrs: &[
            "T: {float, double, int32, uint8, int16, int8, complex64, int64, qint8, quint8, qint32, bfloat16, qint16, quint16, uint16, complex128, half, uint32, uint64, bool}",
            "Tindices: {int32, int64}",
        ],
        shape: tensor_scatter_shape,
        kernel: Kernel::Pure(|ctx| tensor_scatter_kernel(ctx, Combine::Add)),
        grad: Grad::Fn(|g, op, grads| {
            let grad = grads.dense(g, 0)?;
            let updates = g.gather_nd(grad, g.input(op, 1)?)?;
            Ok(vec![Some(grad.into()), None, Some(updates.into())])
        }),
        rows: &["f32[1 2 3], i32[[0] [2] [0]], f32[10 20 30] => f32[41 2 23]"],
    },
    Op {
        name: "TensorScatterUpdate",
        ins: &["tensor: T", "indices: Tindices", "updates: T"],
        outs: &["output: T"],
        attrs: &["T: type", "Tindices: {int16, int32, int64, uint16}"],
        shape: tensor_scatter_shape,
        kernel: Kernel::Pure(|ctx| tensor_scatter_kernel(ctx, Combine::Update)),
        grad: Grad::Fn(update_grad),
        rows: &["f32[1 2 3], i32[[2]], f32[9] => f32[1 2 9]", "str[\"a\" \"b\"], i32[[0]], str[\"c\"] => str[\"c\" \"b\"]"],
    },
    tensor_scatter(
        "TensorScatterAdd",
        |ctx| tensor_scatter_kernel(ctx, Combine::Add),
        add_grad,
        &["f32[1 2 3], i32[[2] [2]], f32[9 1] => f32[1 2 13]"],
    ),
    tensor_scatter(
        "TensorScatterSub",
        |ctx| tensor_scatter_kernel(ctx, Combine::Sub),
        sub_grad,
        &["f32[1 2 3], i32[[2] [2]], f32[9 1] => f32[1 2 -7]"],
    ),
    tensor_scatter(
        "TensorScatterMin",
        |ctx| tensor_scatter_kernel(ctx, Combine::Min),
        extreme_grad,
        &["f32[1 2 3], i32[[2] [0]], f32[0 5] => f32[1 2 0]"],
    ),
    tensor_scatter(
        "TensorScatterMax",
        |ctx| tensor_scatter_kernel(ctx, Combine::Max),
        extreme_grad,
        &["f32[1 2 3], i32[[2] [0]], f32[0 5] => f32[5 2 3]"],
    ),
    inplace("InplaceUpdate", |ctx| change_rows(ctx, Combine::Update), &["f32[[1] [2]], i32[1], f32[[5]] => f32[[1] [5]]"]),
    inplace("InplaceAdd", |ctx| change_rows(ctx, Combine::Add), &["f32[[1] [2]], i32[1 1], f32[[5] [1]] => f32[[1] [8]]"]),
    inplace("InplaceSub", |ctx| change_rows(ctx, Combine::Sub), &["f32[[1] [2]], i32[-1], f32[[5]] => f32[[1] [-3]]"]),
];

const fn tensor_scatter(
    name: &'static str,
    kernel: fn(&mut KernelCtx) -> Result<()>,
    grad: crate::graph::op::GradFn,
    rows: &'static [&'static str],
) -> Op {
    Op {
        name,
        ins: &["tensor: T", "indices: Tindices", "updates: T"],
        outs: &["output: T"],
        attrs: ANY,
        shape: tensor_scatter_shape,
        kernel: Kernel::Pure(kernel),
        grad: Grad::Fn(grad),
        rows,
    }
}

const fn inplace(name: &'static str, kernel: fn(&mut KernelCtx) -> Result<()>, rows: &'static [&'static str]) -> Op {
    Op {
        name,
        ins: &["x: T", "i: int32", "v: T"],
        outs: &["y: T"],
        attrs: &["T: type"],
        shape: shape::unchanged,
        kernel: Kernel::Pure(kernel),
        grad: Grad::Missing,
        rows,
    }
}

/// What becomes of an element at whose place another is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Combine {
    Update,
    Add,
    Sub,
    Min,
    Max,
}

fn scatter_nd_shape(ctx: &mut InferCtx) -> Result<()> {
    let shape = ctx.constant_shape(2);
    ctx.input(2).with_rank(1)?;
    check_shapes(&ctx.input(0), &ctx.input(1), &shape)?;
    let fallback = ctx.input(2).dim(0).map_or(Shape::unknown(), Shape::of_rank);
    ctx.set(0, if shape.rank().is_some() { shape } else { fallback })
}

/// Checks that `updates` is one slice of `target` for each row of `indices`.
pub(crate) fn check_shapes(indices: &Shape, updates: &Shape, target: &Shape) -> Result<()> {
    if target.num_elements() == Some(0)
        && (indices.num_elements().is_some_and(|n| n > 0) || updates.num_elements().is_some_and(|n| n > 0))
    {
        bail!(InvalidArgument, "Indices and updates specified for empty output shape");
    }
    indices.with_rank_at_least(1)?;
    let Some(rank) = indices.rank() else { return Ok(()) };
    let outer = rank as isize - 1;
    updates.slice(0, outer).merge(&indices.slice(0, outer)).map_err(|e| {
        e.within(format!("dimensions [0,{outer}) of indices{indices} must match dimensions [0,{outer}) of updates{updates}"))
    })?;
    let (Some(depth), Some(target_rank)) = (indices.dim(-1), target.rank()) else { return Ok(()) };
    if depth > target_rank {
        bail!(InvalidArgument, "indices.shape[-1] must be <= the rank of the output, got {depth} for shape {target}");
    }
    updates.slice_from(outer).merge(&target.slice_from(depth as isize)).map_err(|e| {
        e.within(format!("dimensions [{depth},{target_rank}) of {target} must match dimensions [{outer},..) of updates{updates}"))
    })?;
    Ok(())
}

/// Checks the values that come: there, a vector of indices names one slice of the first dimension each. Returns how many
/// dimensions an index names.
fn check_updates(indices: &Tensor, updates: &Tensor, target: &[usize], last: usize) -> Result<usize> {
    if target.contains(&0) && (!indices.is_empty() || !updates.is_empty()) {
        bail!(InvalidArgument, "Indices and updates specified for empty output shape");
    }
    if updates.rank() == 0 {
        bail!(InvalidArgument, "Updates shape must have rank at least one. Found:[]");
    }
    let (depth, batch) = if indices.rank() > 1 { (last, indices.rank() - 1) } else { (1, 1) };
    let outer = &indices.dims()[..batch];
    if !updates.dims().starts_with(outer) {
        bail!(
            InvalidArgument,
            "Dimensions [0,{batch}) of indices[shape={:?}] must match dimensions [0,{batch}) of updates[shape={:?}]",
            indices.dims(),
            updates.dims()
        );
    }
    if target.get(depth..) != Some(&updates.dims()[batch..]) {
        bail!(
            InvalidArgument,
            "Dimensions [{depth},{}) of input[shape={target:?}] must match dimensions [{batch},{}) of updates[shape={:?}]",
            target.len(),
            updates.rank(),
            updates.dims()
        );
    }
    Ok(depth)
}

fn tensor_scatter_shape(ctx: &mut InferCtx) -> Result<()> {
    let input = ctx.input(0);
    check_shapes(&ctx.input(1), &ctx.input(2), &input)?;
    ctx.set(0, input)
}

/// Combines the slices of `updates` into those of `target` that the rows of `indices` name, one after another.
///
/// # Errors
/// `InvalidArgument` for shapes that don't fit or an index out of range, `Unimplemented` for a dtype that can't be so
/// combined.
pub(crate) fn scatter_nd(mut target: Tensor, indices: &Tensor, updates: &Tensor, how: Combine) -> Result<Tensor> {
    let Some(&depth) = indices.dims().last() else {
        bail!(InvalidArgument, "Indices shape must have rank at least one. Found: {:?}", indices.dims());
    };
    if target.rank() == 0 {
        bail!(InvalidArgument, "Output must be at least 1-D, got shape: []");
    }
    let depth = check_updates(indices, updates, target.dims(), depth)?;
    let starts = slice_starts(indices, depth, target.dims())?;
    let inner: usize = target.dims()[depth..].iter().product();
    if inner == 0 || starts.is_empty() {
        return Ok(target);
    }
    match (target.dtype(), how) {
        (_, Combine::Update) => moved!(target.dtype(), T => {
            let from = T::of(updates)?;
            T::change(target, |to| {
                for (row, &start) in from.chunks_exact(inner).zip(&starts) {
                    to[start * inner..][..inner].clone_from_slice(row);
                }
                Ok(())
            })
        }),
        (DType::Bool, Combine::Add | Combine::Max) => {
            combine(target.as_mut_slice::<bool>()?, updates.as_slice::<bool>()?, &starts, inner, |a, b| a | b);
            Ok(target)
        }
        (DType::Bool, Combine::Min) => {
            combine(target.as_mut_slice::<bool>()?, updates.as_slice::<bool>()?, &starts, inner, |a, b| a & b);
            Ok(target)
        }
        (DType::String, Combine::Add) => {
            let from = updates.strings()?;
            Bytes::change(target, |to| {
                for (row, &start) in from.chunks_exact(inner).zip(&starts) {
                    for (to, from) in to[start * inner..][..inner].iter_mut().zip(row) {
                        *to = Bytes::from([&to[..], from].concat());
                    }
                }
                Ok(())
            })
        }
        (dtype, Combine::Min | Combine::Max) => {
            dispatch!(dtype.storage(), real, T => {
                let (to, from) = (target.as_mut_slice::<T>()?, updates.as_slice::<T>()?);
                match how {
                    Combine::Min => combine(to, from, &starts, inner, Real::minimum),
                    _ => combine(to, from, &starts, inner, Real::maximum),
                }
            });
            Ok(target)
        }
        (dtype, _) => {
            dispatch!(dtype.storage(), numbers, T => {
                let (to, from) = (target.as_mut_slice::<T>()?, updates.as_slice::<T>()?);
                match how {
                    Combine::Sub => combine(to, from, &starts, inner, Number::sub),
                    _ => combine(to, from, &starts, inner, Number::add),
                }
            });
            Ok(target)
        }
    }
}

fn combine<T: Copy>(to: &mut [T], from: &[T], starts: &[usize], inner: usize, f: impl Fn(T, T) -> T) {
    for (row, &start) in from.chunks_exact(inner).zip(starts) {
        for (to, &from) in to[start * inner..][..inner].iter_mut().zip(row) {
            *to = f(*to, from);
        }
    }
}

fn scatter_nd_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let (indices, updates, shape) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    if shape.rank() != 1 {
        bail!(InvalidArgument, "Shape must be a vector, got shape {:?}", shape.dims());
    }
    if updates.rank() < 1 || indices.rank() < 1 {
        bail!(
            InvalidArgument,
            "Indices and updates must have rank at least one. Found: {:?} and {:?}",
            indices.dims(),
            updates.dims()
        );
    }
    let zeros = Tensor::zeros(updates.dtype(), &shape.to_dims()?)?;
    let output = scatter_nd(zeros, indices, updates, Combine::Add)?;
    ctx.set(0, output)
}

fn tensor_scatter_kernel(ctx: &mut KernelCtx, how: Combine) -> Result<()> {
    let target = ctx.take(0)?;
    let output = scatter_nd(target, ctx.input(1)?, ctx.input(2)?, how)?;
    ctx.set(0, output)
}

/// Combines the rows of `v` into rows of `x`: row `k` into row `i[k]` (negative ones count from the end).
fn change_rows(ctx: &mut KernelCtx, how: Combine) -> Result<()> {
    let (x, i, v) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    if v.rank() != x.rank() || x.rank() == 0 || x.dims()[1..] != v.dims()[1..] {
        bail!(InvalidArgument, "v.shape {:?} doesn't match x.shape {:?} past the first dimension", v.dims(), x.dims());
    }
    if i.rank() != 1 || v.dims()[0] != i.len() {
        bail!(InvalidArgument, "i must be a vector of {} indices, got shape {:?}", v.dims()[0], i.dims());
    }
    let count = x.dims()[0] as i32;
    if count == 0 && !i.is_empty() {
        bail!(InvalidArgument, "x has no rows to change");
    }
    let rows: Vec<i32> = i.as_slice::<i32>()?.iter().map(|row| row.rem_euclid(count.max(1))).collect();
    let indices = Tensor::new(&[rows.len(), 1], rows)?;
    let v = v.clone();
    let x = ctx.take(0)?;
    let y = scatter_nd(x, &indices, &v, how)?;
    ctx.set(0, y)
}

fn update_grad(g: &Graph, op: Operation, grads: &Grads) -> Result<Vec<Option<Gradient>>> {
    let (grad, indices) = (grads.dense(g, 0)?, g.input(op, 1)?);
    let updates = g.gather_nd(grad, indices)?;
    let copy = g.identity(grad)?;
    let zeros = g.zeros_like_with(g.input(op, 2)?, Some(g.dtype(grad)?), true)?;
    let tensor = g.op("TensorScatterUpdate").input(copy).input(indices).input(zeros).output()?;
    Ok(vec![Some(tensor.into()), None, Some(updates.into())])
}

fn add_grad(g: &Graph, op: Operation, grads: &Grads) -> Result<Vec<Option<Gradient>>> {
    let grad = grads.dense(g, 0)?;
    let updates = g.gather_nd(grad, g.input(op, 1)?)?;
    Ok(vec![Some(g.identity(grad)?.into()), None, Some(updates.into())])
}

fn sub_grad(g: &Graph, op: Operation, grads: &Grads) -> Result<Vec<Option<Gradient>>> {
    let grad = grads.dense(g, 0)?;
    let updates = g.gather_nd(grad, g.input(op, 1)?)?;
    let tensor = g.identity(grad)?;
    let updates = g.op("Neg").input(updates).output()?;
    Ok(vec![Some(tensor.into()), None, Some(updates.into())])
}

fn extreme_grad(g: &Graph, op: Operation, grads: &Grads) -> Result<Vec<Option<Gradient>>> {
    let (x, indices, y, output) = (g.input(op, 0)?, g.input(op, 1)?, g.input(op, 2)?, op.output(0));
    let grad = grads.dense(g, 0)?;
    let dtype = g.dtype(grad)?;
    let equal = |a: Output, b: Output| g.cast(g.op("Equal").input(a).input(b).output()?, dtype);
    let x_indicators = equal(x, output)?;
    let y_output = g.gather_nd(output, indices)?;
    let y_indicators = equal(y, y_output)?;
    let shape = g.shape_tensor_as(x, g.dtype(indices)?)?;
    let ys_indicators = g.scatter_nd(indices, y_indicators, shape)?;
    let indicators = g.operator("add", "AddV2", x_indicators, ys_indicators)?;
    let x_grad = g.operator("mul", "Mul", grad, x_indicators)?;
    let x_grad = g.operator("truediv", "RealDiv", x_grad, indicators)?;
    let share = g.operator("truediv", "RealDiv", grad, indicators)?;
    let share = g.gather_nd(share, indices)?;
    let y_grad = g.operator("mul", "Mul", share, y_indicators)?;
    Ok(vec![Some(x_grad.into()), None, Some(y_grad.into())])
}

impl Graph {
    /// A tensor of zeros of this shape with slices added at the places that the rows of `indices` name (`tf.scatter_nd`).
    ///
    /// # Errors
    /// `InvalidArgument` where `updates` isn't one slice for each row of `indices`.
    pub fn scatter_nd(&self, indices: impl Into<Arg>, updates: impl Into<Arg>, shape: impl Into<Arg>) -> Result<Output> {
        self.call("ScatterNd").arg(indices).arg(updates).arg(shape).output()
    }

    /// The tensor with slices replaced at the places that the rows of `indices` name (`tf.tensor_scatter_nd_update`).
    ///
    /// # Errors
    /// As [`Graph::scatter_nd`].
    pub fn tensor_scatter_nd_update(&self, tensor: Output, indices: impl Into<Arg>, updates: impl Into<Arg>) -> Result<Output> {
        self.call("TensorScatterUpdate").arg(tensor).arg(indices).arg(updates).output()
    }

    /// The tensor with slices added at the places that the rows of `indices` name (`tf.tensor_scatter_nd_add`).
    ///
    /// # Errors
    /// As [`Graph::scatter_nd`].
    pub fn tensor_scatter_nd_add(&self, tensor: Output, indices: impl Into<Arg>, updates: impl Into<Arg>) -> Result<Output> {
        self.call("TensorScatterAdd").arg(tensor).arg(indices).arg(updates).output()
    }
}
