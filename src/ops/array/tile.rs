//! Repeating tensors, and stretching them to a larger shape.

use super::items::{View, read_view, read_view_as, row_major};
use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::graph::{Gradient, Grads, Graph, Operation, Output};
use crate::ops::convert::Arg;
use crate::ops::shape::broadcast_shapes;
use crate::tensor::{Dims, Shape, Tensor};
use smallvec::SmallVec;

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "Tile",
        ins: &["input: T", "multiples: Tmultiples"],
        outs: &["output: T"],
        attrs: &["T: type", "Tmultiples: {int32, int64} = DT_INT32"],
        shape: tile_shape,
        kernel: Kernel::Pure(tile_kernel),
        grad: Grad::Fn(tile_grad),
        rows: &[
            "f32[[1 2] [3 4]], i32[1 2] => f32[[1 2 1 2] [3 4 3 4]]",
            "f32[1 2], i64[0] => f32{0}[]",
            "str[\"a\"], i32[2] => str[\"a\" \"a\"]",
        ],
    },
    Op {
        name: "TileGrad",
        ins: &["input: T", "multiples: int32"],
        outs: &["output: T"],
        attrs: &["T: type"],
        shape: crate::ops::shape::unknown,
        kernel: Kernel::Missing("Op TileGrad is not available in GraphDef version 1645. It has been removed in version 3."),
        grad: Grad::Missing,
        rows: &[],
    },
    Op {
        name: "BroadcastTo",
        ins: &["input: T", "shape: Tidx"],
        outs: &["output: T"],
        attrs: &["T: type", "Tidx: {int32, int64} = DT_INT32"],
        shape: broadcast_to_shape,
        kernel: Kernel::Pure(|ctx| {
            let (input, shape) = (ctx.input(0)?, ctx.input(1)?);
            if shape.rank() != 1 {
                bail!(InvalidArgument, "shape must be a vector, got shape {:?}", shape.dims());
            }
            let output = broadcast(input, &shape.to_dims()?)?;
            ctx.set(0, output)
        }),
        grad: Grad::Fn(broadcast_to_grad),
        rows: &[
            "f32[1 2], i32[2 2] => f32[[1 2] [1 2]]",
            "f32[[1] [2]], i64[2 3] => f32[[1 1 1] [2 2 2]]",
            "f32 1, i32[0] => f32{0}[]",
        ],
    },
];

fn tile_shape(ctx: &mut InferCtx) -> Result<()> {
    let input = ctx.input(0);
    // Sizes below zero are for the kernel to refuse.
    let multiples = ctx.constant_shape(1);
    let rank = input.rank().or(multiples.rank()).or(ctx.input(1).dim(0));
    let Some(rank) = rank else { return ctx.set(0, Shape::unknown()) };
    let (input, multiples) = (input.with_rank(rank)?, multiples.with_rank(rank)?);
    let size = |i: isize| input.dim(i).zip(multiples.dim(i)).and_then(|(a, b)| a.checked_mul(b));
    ctx.set(0, (0..rank as isize).map(size).collect::<Vec<_>>().into())
}

fn tile_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let (input, multiples) = (ctx.input(0)?, ctx.input(1)?);
    if multiples.rank() != 1 || multiples.len() != input.rank() {
        bail!(
            InvalidArgument,
            "Expected multiples argument to be a vector of length {} but got length {}",
            input.rank(),
            multiples.len()
        );
    }
    let mut dims = Dims::new();
    let mut view = View { dims: Dims::new(), strides: SmallVec::new(), offset: 0 };
    for (i, &multiple) in multiples.to_i64s()?.iter().enumerate() {
        let Ok(multiple) = usize::try_from(multiple) else {
            bail!(InvalidArgument, "Expected multiples[{i}] >= 0, but got {multiple}");
        };
        let size = input.dims()[i];
        let Some(tiled) = size.checked_mul(multiple) else {
            bail!(InvalidArgument, "Expected a smaller output than {size} times {multiple} at dimension {i}");
        };
        dims.push(tiled);
        view.dims.extend([multiple, size]);
    }
    for &stride in &row_major(input.dims()) {
        view.strides.extend([0, stride]);
    }
    let output = if input.dims() == &dims[..] { input.clone() } else { read_view_as(input, &view, &dims)? };
    ctx.set(0, output)
}

fn tile_grad(g: &Graph, op: Operation, grads: &Grads) -> Result<Vec<Option<Gradient>>> {
    let (input, multiples) = (g.input(op, 0)?, g.input(op, 1)?);
    let dtype = g.dtype(multiples)?;
    let input_shape = g.shape_tensor_as(input, dtype)?;
    let pairs = g.stack(&[multiples, input_shape], 0)?;
    let pairs = g.transpose(pairs, None)?;
    let mut split_shape = g.reshape(pairs, [-1i32])?;
    let count = g.size(split_shape)?;
    let axes = g.range(0i32, count, 2i32)?;
    let grad = match grads.get(0) {
        Some(Gradient::Sparse(slices)) => {
            let rows = g.index(input_shape, &[0.into()])?;
            let rows = g.cast(rows, g.dtype(slices.indices)?)?;
            let indices = g.op("FloorMod").input(slices.indices).input(rows).output()?;
            let sum = g.op("UnsortedSegmentSum").input(slices.values).input(indices).input(rows).output()?;
            let rest = g.index(split_shape, &[(1..).into()])?;
            split_shape = g.concat(&[[1i32].into(), rest.into()], 0i32)?;
            sum
        }
        _ => grads.dense(g, 0)?,
    };
    let split = g.reshape(grad, split_shape)?;
    let sum = g.op("Sum").input(split).input(axes).attr("keep_dims", false).output()?;
    g.set_shape(sum, g.shape(input)?)?;
    Ok(vec![Some(sum.into()), None])
}

fn broadcast_to_shape(ctx: &mut InferCtx) -> Result<()> {
    let (input, target) = (ctx.input(0), ctx.constant_shape(1));
    ctx.input(1).with_rank(1)?;
    let (Some(have), Some(want)) = (input.rank(), target.rank()) else {
        let rank = ctx.input(1).dim(0);
        return ctx.set(0, if target.rank().is_some() { target } else { rank.map_or(Shape::unknown(), Shape::of_rank) });
    };
    if have > want {
        bail!(InvalidArgument, "Rank of input ({have}) must be no greater than rank of output shape ({want}).");
    }
    let merged = broadcast_shapes(&input, &target)?;
    for i in 1..=have as isize {
        if let (Some(from), Some(to)) = (input.dim(-i), target.dim(-i))
            && from != 1
            && from != to
        {
            bail!(InvalidArgument, "Incompatible shapes: {input} vs. {target}");
        }
    }
    let keep = |i: isize| target.dim(i).or_else(|| merged.dim(i).filter(|&d| d != 1));
    ctx.set(0, (0..want as isize).map(keep).collect::<Vec<_>>().into())
}

/// A tensor stretched to these dimensions: from the right, its sizes are equal to them or 1.
///
/// # Errors
/// `InvalidArgument` where they aren't.
pub(crate) fn broadcast(input: &Tensor, dims: &[usize]) -> Result<Tensor> {
    if input.dims() == dims {
        return Ok(input.clone());
    }
    if input.rank() > dims.len() {
        bail!(InvalidArgument, "Rank of input ({}) must be no greater than rank of output shape ({}).", input.rank(), dims.len());
    }
    let lead = dims.len() - input.rank();
    let mut view = View { dims: dims.into(), strides: SmallVec::from_elem(0, dims.len()), offset: 0 };
    for (i, (&have, &stride)) in input.dims().iter().zip(&row_major(input.dims())).enumerate() {
        if have != 1 && have != dims[lead + i] {
            bail!(InvalidArgument, "Incompatible shapes: {:?} vs. {dims:?}", input.dims());
        }
        if have != 1 {
            view.strides[lead + i] = stride;
        }
    }
    read_view(input, &view)
}

fn broadcast_to_grad(g: &Graph, op: Operation, grads: &Grads) -> Result<Vec<Option<Gradient>>> {
    let (input, mut shape) = (g.input(op, 0)?, g.input(op, 1)?);
    let dtype = g.dtype(shape)?;
    let input_shape = g.shape_tensor_as(input, dtype)?;
    if let Some(known) = g.evaluate_constant(shape)
        && known.to_i64s()?.iter().all(|&d| d >= 0)
    {
        shape = g.constant(known)?;
    }
    let axes = g.op("BroadcastGradientArgs").input(shape).input(input_shape).outputs()?[1];
    let grad = grads.dense(g, 0)?;
    let sum = g.op("Sum").input(grad).input(axes).attr("keep_dims", true).output()?;
    Ok(vec![Some(g.reshape(sum, input_shape)?.into()), None])
}

impl Graph {
    /// Repeats a tensor along each dimension as often as `multiples` says (`tf.tile`).
    ///
    /// # Errors
    /// `InvalidArgument` where there isn't a multiple for each dimension.
    pub fn tile(&self, input: Output, multiples: impl Into<Arg>) -> Result<Output> {
        self.call("Tile").arg(input).arg(multiples).output()
    }

    /// Stretches a tensor to a larger shape: from the right, its sizes are equal to those or 1 (`tf.broadcast_to`).
    ///
    /// # Errors
    /// `InvalidArgument` where they aren't.
    pub fn broadcast_to(&self, input: Output, shape: impl Into<Arg>) -> Result<Output> {
        self.call("BroadcastTo").arg(input).arg(shape).output()
    }
}
