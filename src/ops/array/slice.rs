//! Slices given by where they begin and how large they are.

use super::items::{View, read_view};
use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::graph::{Gradient, Grads, Graph, Operation, Output};
use crate::ops::convert::Arg;
use crate::tensor::Shape;

pub(in crate::ops) static OPS: &[Op] = &[Op {
    name: "Slice",
    ins: &["input: T", "begin: Index", "size: Index"],
    outs: &["output: T"],
    attrs: &["T: type", "Index: {int32, int64}"],
    shape: slice_shape,
    kernel: Kernel::Pure(slice_kernel),
    grad: Grad::Fn(slice_grad),
    rows: &[
        "f32[[1 2 3] [4 5 6]], i32[0 1], i32[2 -1] => f32[[2 3] [5 6]]",
        "f32[1 2 3], i64[1], i64[1] => f32[2]",
        "str[\"a\" \"b\"], i32[2], i32[0] => str{0}[]",
    ],
}];

fn slice_shape(ctx: &mut InferCtx) -> Result<()> {
    let input = ctx.input(0);
    let spec = ctx.input(1).with_rank(1)?.merge(&ctx.input(2).with_rank(1)?)?;
    let rank = input.rank().or(spec.dim(0));
    let Some(rank) = rank else { return ctx.set(0, Shape::unknown()) };
    if let Some(count) = spec.dim(0) {
        input.with_rank(count)?;
    }
    let begin = ctx.constant_shape(1);
    let sizes = match ctx.constant(2) {
        Some(sizes) => sizes.to_i64s()?.to_vec(),
        // A size that isn't known may be -1 as well as any other.
        None => ctx
            .constant_shape(2)
            .signed()
            .map_or(vec![i64::MIN; rank], |d| d.iter().map(|&d| if d < 0 { i64::MIN } else { d }).collect()),
    };
    if sizes.len() != rank || begin.rank().is_some_and(|r| r != rank) {
        bail!(InvalidArgument, "Expected begin and size arguments to be 1-D tensors of size {rank}, got {begin} and {sizes:?}");
    }
    let mut dims = Vec::with_capacity(rank);
    for (i, &size) in sizes.iter().enumerate() {
        let (from, have) = (begin.dim(i as isize), input.dim(i as isize));
        dims.push(match (size, from, have) {
            (-1, Some(from), Some(have)) if from > have => {
                bail!(InvalidArgument, "Expected begin[{i}] in [0, {have}], but got {from}")
            }
            (-1, Some(from), Some(have)) => (have - from) as i64,
            (i64::MIN | -1, _, _) => -1,
            (size, _, _) if size < 0 => bail!(InvalidArgument, "Expected size[{i}] >= -1, got {size}"),
            (size, _, _) => size,
        });
    }
    ctx.set(0, Shape::from_signed(dims))
}

fn slice_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let input = ctx.input(0)?;
    let (begin, size) = (ctx.input(1)?, ctx.input(2)?);
    let rank = input.rank();
    if begin.rank() != 1 || size.rank() != 1 || begin.len() != rank || size.len() != rank {
        bail!(
            InvalidArgument,
            "Expected begin and size arguments to be 1-D tensors of size {rank}, but got shapes {:?} and {:?} instead.",
            begin.dims(),
            size.dims()
        );
    }
    let mut view = View::of(input.dims());
    for (i, (&from, &size)) in begin.to_i64s()?.iter().zip(&size.to_i64s()?).enumerate() {
        let have = input.dims()[i] as i64;
        let size = if size == -1 { have.saturating_sub(from) } else { size };
        if have == 0 {
            if from != 0 || size != 0 {
                bail!(
                    InvalidArgument,
                    "Expected begin[{i}] == 0 (got {from}) and size[{i}] == 0 (got {size}) when input.dim_size({i}) == 0"
                );
            }
        } else if !(0..=have).contains(&from) {
            bail!(InvalidArgument, "Expected begin[{i}] in [0, {have}], but got {from}");
        } else if size < 0 || from + size > have {
            bail!(InvalidArgument, "Expected size[{i}] in [0, {}], but got {size}", have - from);
        }
        view.offset += from as usize * view.strides[i].unsigned_abs();
        view.dims[i] = size as usize;
    }
    let whole_rows = view.dims.iter().zip(input.dims()).skip(1).all(|(a, b)| a == b);
    let output = if rank > 0 && whole_rows {
        let row = view.strides[0].unsigned_abs().max(1);
        input.rows(view.offset / row, view.dims[0])?
    } else {
        read_view(input, &view)?
    };
    ctx.set(0, output)
}

fn slice_grad(g: &Graph, op: Operation, grads: &Grads) -> Result<Vec<Option<Gradient>>> {
    let (input, begin) = (g.input(op, 0)?, g.input(op, 1)?);
    let dtype = g.dtype(begin)?;
    let rank = g.rank(input)?;
    let size = g.shape_tensor_as(op.output(0), dtype)?;
    let shape = g.stack_args(&[rank.into(), 1i32.into()], 0)?;
    let before = g.reshape(begin, shape)?;
    let whole = g.shape_tensor_as(input, dtype)?;
    let rest = g.operator("sub", "Sub", whole, size)?;
    let rest = g.operator("sub", "Sub", rest, begin)?;
    let after = g.reshape(rest, shape)?;
    let paddings = g.concat(&[before.into(), after.into()], 1i32)?;
    let grad = grads.dense(g, 0)?;
    Ok(vec![Some(g.pad(grad, paddings)?.into()), None, None])
}

impl Graph {
    /// The part of a tensor that begins at `begin` and has these sizes; -1 means all that is left (`tf.slice`).
    ///
    /// # Errors
    /// `InvalidArgument` where the part isn't within the tensor.
    pub fn slice(&self, input: Output, begin: impl Into<Arg>, size: impl Into<Arg>) -> Result<Output> {
        self.call("Slice").arg(input).arg(begin).arg(size).output()
    }
}
