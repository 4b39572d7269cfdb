//! Padding, with a value or with the tensor's own reflection.

use super::gather::take;
use super::items::{View, row_major, write_view};
use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::graph::{Gradient, Grads, Graph, Operation, Output};
use crate::ops::convert::Arg;
use crate::ops::math::number::Number;
use crate::tensor::{Dims, Shape, Tensor, dispatch};

const MIRROR_ATTRS: &[&str] = &["T: type", "Tpaddings: {int32, int64} = DT_INT32", "mode: {'REFLECT', 'SYMMETRIC'}"];

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "Pad",
        ins: &["input: T", "paddings: Tpaddings"],
        outs: &["output: T"],
        attrs: &["T: type", "Tpaddings: {int32, int64} = DT_INT32"],
        shape: pad_shape,
        kernel: Kernel::Pure(pad_kernel),
        grad: Grad::Fn(pad_grad),
        rows: &["f32[[1 2]], i32[[1 0] [0 2]] => f32[[0 0 0 0] [1 2 0 0]]", "f32 3, i32{0,2}[] => f32 3"],
    },
    Op {
        name: "PadV2",
        ins: &["input: T", "paddings: Tpaddings", "constant_values: T"],
        outs: &["output: T"],
        attrs: &["T: type", "Tpaddings: {int32, int64} = DT_INT32"],
        shape: pad_shape,
        kernel: Kernel::Pure(pad_kernel),
        grad: Grad::Fn(pad_grad),
        rows: &["f32[1 2], i64[[1 1]], f32 9 => f32[9 1 2 9]", "str[\"a\"], i32[[0 1]], str \"z\" => str[\"a\" \"z\"]"],
    },
    Op {
        name: "MirrorPad",
        ins: &["input: T", "paddings: Tpaddings"],
        outs: &["output: T"],
        attrs: MIRROR_ATTRS,
        shape: pad_shape,
        kernel: Kernel::Pure(mirror_pad_kernel),
        grad: Grad::Fn(|g, op, grads| mirror_grad(g, op, grads, "MirrorPadGrad")),
        rows: &[
            "mode='REFLECT'; f32[1 2 3], i32[[2 1]] => f32[3 2 1 2 3 2]",
            "mode='SYMMETRIC'; f32[1 2 3], i32[[2 1]] => f32[2 1 1 2 3 3]",
        ],
    },
    Op {
        name: "MirrorPadGrad",
        ins: &["input: T", "paddings: Tpaddings"],
        outs: &["output: T"],
        attrs: MIRROR_ATTRS,
        shape: mirror_pad_grad_shape,
        kernel: Kernel::Pure(mirror_pad_grad_kernel),
        grad: Grad::Fn(|g, op, grads| mirror_grad(g, op, grads, "MirrorPad")),
        rows: &["mode='REFLECT'; f32[1 2 3 4 5], i32[[1 1]] => f32[2 9 4]"],
    },
];

fn pad_shape(ctx: &mut InferCtx) -> Result<()> {
    let paddings = ctx.input(1).merge(&Shape::matrix(None, Some(2)))?;
    if ctx.num_inputs() > 2 {
        ctx.input(2).with_rank(0)?;
    }
    let input = ctx.input(0);
    let rank = paddings.dim(0).or(input.rank());
    let Some(rank) = rank else { return ctx.set(0, Shape::unknown()) };
    let input = input.with_rank(rank)?;
    paddings.merge(&Shape::matrix(Some(rank), Some(2)))?;
    let Some(paddings) = ctx.constant(1) else { return ctx.set(0, Shape::of_rank(rank)) };
    let mut dims = Vec::with_capacity(rank);
    for (i, pair) in paddings.to_i64s()?.chunks(2).enumerate() {
        if pair[0] < 0 || pair[1] < 0 {
            bail!(InvalidArgument, "Paddings must be non-negative: {} {}", pair[0], pair[1]);
        }
        let total = pair[0].checked_add(pair[1]).and_then(|p| usize::try_from(p).ok());
        dims.push(input.dim(i as isize).zip(total).and_then(|(d, p)| d.checked_add(p)));
    }
    ctx.set(0, Shape::from(dims))
}

/// How much is added before and after each dimension of `input`.
fn read_paddings(input: &Tensor, paddings: &Tensor) -> Result<Vec<(usize, usize)>> {
    if paddings.rank() != 2 || paddings.dims()[1] != 2 {
        bail!(InvalidArgument, "paddings must be a matrix with 2 columns: {:?}", paddings.dims());
    }
    if paddings.dims()[0] != input.rank() {
        bail!(
            InvalidArgument,
            "The first dimension of paddings must be the rank of inputs {:?} {:?}",
            paddings.dims(),
            input.dims()
        );
    }
    let mut pairs = Vec::with_capacity(input.rank());
    for (pair, &size) in paddings.to_i64s()?.chunks(2).zip(input.dims()) {
        let (Ok(before), Ok(after)) = (usize::try_from(pair[0]), usize::try_from(pair[1])) else {
            bail!(InvalidArgument, "Paddings must be non-negative: {} {}", pair[0], pair[1]);
        };
        if before.checked_add(after).and_then(|p| p.checked_add(size)).is_none() {
            bail!(InvalidArgument, "Paddings {before} and {after} are too large");
        }
        pairs.push((before, after));
    }
    Ok(pairs)
}

fn pad_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let input = ctx.input(0)?;
    let pairs = read_paddings(input, ctx.input(1)?)?;
    let value = match ctx.num_inputs() {
        2 => Tensor::zeros(input.dtype(), &[])?,
        _ => ctx.input(2)?.clone(),
    };
    if value.rank() != 0 {
        bail!(InvalidArgument, "constant_values must be a scalar. Found: {:?}", value.dims());
    }
    if pairs.iter().all(|&p| p == (0, 0)) {
        return ctx.forward(0, 0);
    }
    let dims: Dims = input.dims().iter().zip(&pairs).map(|(d, p)| d + p.0 + p.1).collect();
    let strides = row_major(&dims);
    let offset = pairs.iter().zip(&strides).map(|(p, s)| p.0 * s.unsigned_abs()).sum();
    let inside = View { dims: input.dims().into(), strides, offset };
    let padded = super::fill::full(&value, &dims)?;
    let output = write_view(input, &inside, padded)?;
    ctx.set(0, output)
}

fn pad_grad(g: &Graph, op: Operation, grads: &Grads) -> Result<Vec<Option<Gradient>>> {
    let inputs = g.inputs(op);
    let rank = g.rank(inputs[0])?;
    let shape = g.stack_args(&[rank.into(), 1i32.into()], 0)?;
    let before = g.slice(inputs[1], [0i32, 0], shape)?;
    let begin = g.reshape(before, [-1i32])?;
    let sizes = g.shape_tensor_as(inputs[0], g.dtype(begin)?)?;
    let grad = grads.dense(g, 0)?;
    let mut out = vec![None; inputs.len()];
    out[0] = Some(g.slice(grad, begin, sizes)?.into());
    Ok(out)
}

/// The distance of the first reflected element from the edge: the edge itself is repeated or not.
fn mirror_offset(mode: &str) -> usize {
    usize::from(mode == "REFLECT")
}

/// For each position of the padded dimension, where its value comes from.
fn mirrored(size: usize, (before, after): (usize, usize), offset: usize) -> Result<Vec<usize>> {
    if before.max(after) + offset > size {
        let (wanted, found) = if offset == 1 { ("less than", "not less than") } else { ("no greater than", "greater than") };
        bail!(InvalidArgument, "paddings must be {wanted} the dimension size: {before}, {after} {found} {size}");
    }
    let left = (0..before).map(|i| before - 1 - i + offset);
    let right = (0..after).map(|i| size - 1 - offset - i);
    Ok(left.chain(0..size).chain(right).collect())
}

fn mirror_pad_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let input = ctx.input(0)?;
    let pairs = read_paddings(input, ctx.input(1)?)?;
    let offset = mirror_offset(ctx.node().string("mode")?);
    let mut output = input.clone();
    for (axis, &pair) in pairs.iter().enumerate() {
        let places = mirrored(input.dims()[axis], pair, offset)?;
        if pair != (0, 0) {
            output = take(&output, axis, &places)?;
        }
    }
    ctx.set(0, output)
}

fn mirror_pad_grad_shape(ctx: &mut InferCtx) -> Result<()> {
    let paddings = ctx.input(1).merge(&Shape::matrix(None, Some(2)))?;
    let input = ctx.input(0);
    let Some(rank) = paddings.dim(0).or(input.rank()) else { return ctx.set(0, Shape::unknown()) };
    let input = input.with_rank(rank)?;
    let Some(paddings) = ctx.constant(1) else { return ctx.set(0, Shape::of_rank(rank)) };
    let mut dims = Vec::with_capacity(rank);
    for (i, pair) in paddings.to_i64s()?.chunks(2).enumerate() {
        let (Ok(before), Ok(after)) = (usize::try_from(pair[0]), usize::try_from(pair[1])) else {
            bail!(InvalidArgument, "Paddings must be non-negative: {} {}", pair[0], pair[1]);
        };
        let size = input.dim(i as isize);
        if size.is_some_and(|s| s < before.saturating_add(after)) {
            bail!(InvalidArgument, "Dimension {i} of {input} is smaller than its paddings {before} and {after}");
        }
        dims.push(size.map(|s| s - before - after));
    }
    ctx.set(0, Shape::from(dims))
}

fn mirror_pad_grad_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let input = ctx.input(0)?;
    let pairs = read_paddings(input, ctx.input(1)?)?;
    let offset = mirror_offset(ctx.node().string("mode")?);
    let mut output = input.clone();
    for (axis, &pair) in pairs.iter().enumerate() {
        let Some(size) = input.dims()[axis].checked_sub(pair.0 + pair.1) else {
            bail!(InvalidArgument, "Total paddings {} and {} exceed dimension {axis} of {:?}", pair.0, pair.1, input.dims());
        };
        if pair != (0, 0) {
            output = fold(&output, axis, &mirrored(size, pair, offset)?, size)?;
        }
    }
    ctx.set(0, output)
}

/// Adds each slice along an axis to the slice that `places` names.
fn fold(input: &Tensor, axis: usize, places: &[usize], size: usize) -> Result<Tensor> {
    let mut dims = Dims::from_slice(input.dims());
    dims[axis] = size;
    let inner: usize = dims[axis + 1..].iter().product();
    let mut output = Tensor::zeros(input.dtype(), &dims)?;
    dispatch!(input.dtype(), numbers, T => {
        let from = input.as_slice::<T>()?;
        let to = output.as_mut_slice::<T>()?;
        if inner * size > 0 {
            for (from, to) in from.chunks_exact(inner * places.len()).zip(to.chunks_exact_mut(inner * size)) {
                for (row, &place) in from.chunks_exact(inner).zip(places) {
                    for (to, &from) in to[place * inner..][..inner].iter_mut().zip(row) {
                        *to = Number::add(*to, from);
                    }
                }
            }
        }
    });
    Ok(output)
}

fn mirror_grad(g: &Graph, op: Operation, grads: &Grads, kind: &str) -> Result<Vec<Option<Gradient>>> {
    let grad = grads.dense(g, 0)?;
    let mode = g.string_attr(op, "mode")?;
    Ok(vec![Some(g.op(kind).input(grad).input(g.input(op, 1)?).attr("mode", mode).output()?.into()), None])
}

/// What stands in the padding.
#[derive(Clone, Debug, Default)]
pub enum PadMode {
    /// Zeros.
    #[default]
    Zeros,
    /// A value.
    Constant(Arg),
    /// The tensor reflected at its edges, which are not repeated.
    Reflect,
    /// The tensor reflected at its edges, which are repeated.
    Symmetric,
}

impl Graph {
    /// Adds zeros around a tensor: `paddings[i]` says how many before and after dimension `i` (`tf.pad`).
    ///
    /// # Errors
    /// `InvalidArgument` for paddings that aren't `[rank, 2]` or are negative.
    pub fn pad(&self, tensor: Output, paddings: impl Into<Arg>) -> Result<Output> {
        self.pad_with(tensor, paddings, PadMode::Zeros)
    }

    /// Adds something around a tensor.
    ///
    /// # Errors
    /// As [`Graph::pad`].
    pub fn pad_with(&self, tensor: Output, paddings: impl Into<Arg>, mode: PadMode) -> Result<Output> {
        let paddings = paddings.into();
        let padded = match mode {
            PadMode::Zeros => self.call("Pad").arg(tensor).arg(paddings).output()?,
            PadMode::Constant(value) => self.call("PadV2").arg(tensor).arg(paddings).arg(value).output()?,
            PadMode::Reflect => self.call("MirrorPad").arg(tensor).arg(paddings).attr("mode", "REFLECT").output()?,
            PadMode::Symmetric => self.call("MirrorPad").arg(tensor).arg(paddings).attr("mode", "SYMMETRIC").output()?,
        };
        let (input, known) = (self.shape(tensor)?, self.shape(padded)?);
        if !known.is_fully_known()
            && let (Some(dims), Some(rows)) = (input.sizes(), self.known_rows(self.input(padded.op, 1)?))
        {
            let size = |(dim, pad): (&Option<usize>, Option<usize>)| dim.zip(pad).map(|(d, p)| d + p);
            self.set_shape(padded, dims.iter().zip(rows).map(size).collect::<Vec<_>>())?;
        }
        Ok(padded)
    }

    /// The sum of each row of paddings, as far as it is known while the graph is built.
    fn known_rows(&self, paddings: Output) -> Option<Vec<Option<usize>>> {
        let sum = |row: &Tensor| {
            let sum: i64 = row.to_i64s().ok()?.iter().sum();
            usize::try_from(sum).ok()
        };
        if let Some(known) = self.constant_value(paddings) {
            return (0..*known.dims().first()?).map(|i| Some(sum(&known.row(i).ok()?))).collect();
        }
        if self.op_type(paddings.op) != "Pack" || self.int_attr(paddings.op, "axis").ok()? != 0 {
            return None;
        }
        Some(self.inputs(paddings.op).into_iter().map(|row| sum(&self.constant_value(row)?)).collect())
    }
}
