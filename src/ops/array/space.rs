//! Moving blocks of positions to the batch or the depth, and back.

use super::items::{View, read_view, read_view_as, row_major};
use crate::error::{Error, Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::graph::{Gradient, Grads, Graph, Operation, Output};
use crate::ops::convert::Arg;
use crate::tensor::{Dims, Shape, Tensor};
use smallvec::SmallVec;

const DEPTH_ATTRS: &[&str] = &["T: type", "block_size: int >= 2", "data_format: {'NHWC', 'NCHW', 'NCHW_VECT_C'} = 'NHWC'"];

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "SpaceToBatch",
        ins: &["input: T", "paddings: Tpaddings"],
        outs: &["output: T"],
        attrs: &["T: type", "Tpaddings: {int32, int64} = DT_INT32", "block_size: int >= 2"],
        shape: |ctx| {
            ctx.input(0).with_rank(4)?;
            let size = ctx.int("block_size")?;
            space_to_batch_shape(ctx, Some(vec![size, size]), 2, 1)
        },
        kernel: Kernel::Pure(|ctx| {
            let size = ctx.node().int("block_size")?;
            space_to_batch_kernel(ctx, &[size, size], 1)
        }),
        grad: Grad::Fn(|g, op, grads| block_size_grad(g, op, grads, "BatchToSpace")),
        rows: &["block_size=2; f32[[[[1] [2]] [[3] [4]]]], i32[[0 0] [0 0]] => f32[[[[1]]] [[[2]]] [[[3]]] [[[4]]]]"],
    },
    Op {
        name: "SpaceToBatchND",
        ins: &["input: T", "block_shape: Tblock_shape", "paddings: Tpaddings"],
        outs: &["output: T"],
        attrs: &["T: type", "Tblock_shape: {int32, int64} = DT_INT32", "Tpaddings: {int32, int64} = DT_INT32"],
        shape: |ctx| {
            let count = ctx.input(1).with_rank(1)?.dim(0);
            let block = ctx.constant(1).map(|b| b.to_i64s()).transpose()?.map(|b| b.to_vec());
            let Some(count) = count else { return ctx.set(0, Shape::unknown()) };
            space_to_batch_shape(ctx, block, count, 2)
        },
        kernel: Kernel::Pure(|ctx| {
            let block = block_of(ctx)?;
            space_to_batch_kernel(ctx, &block, 2)
        }),
        grad: Grad::Fn(|g, op, grads| block_shape_grad(g, op, grads, "BatchToSpaceND")),
        rows: &["f32[[[1] [2] [3]]], i32[2], i32[[1 0]] => f32[[[0] [2]] [[1] [3]]]"],
    },
    Op {
        name: "BatchToSpace",
        ins: &["input: T", "crops: Tidx"],
        outs: &["output: T"],
        attrs: &["T: type", "block_size: int >= 2", "Tidx: {int32, int64} = DT_INT32"],
        shape: |ctx| {
            ctx.input(0).with_rank(4)?;
            let size = ctx.int("block_size")?;
            batch_to_space_shape(ctx, Some(vec![size, size]), 2, 1)
        },
        kernel: Kernel::Pure(|ctx| {
            let size = ctx.node().int("block_size")?;
            batch_to_space_kernel(ctx, &[size, size], 1)
        }),
        grad: Grad::Fn(|g, op, grads| block_size_grad(g, op, grads, "SpaceToBatch")),
        rows: &["block_size=2; f32[[[[1]]] [[[2]]] [[[3]]] [[[4]]]], i32[[0 0] [0 0]] => f32[[[[1] [2]] [[3] [4]]]]"],
    },
    Op {
        name: "BatchToSpaceND",
        ins: &["input: T", "block_shape: Tblock_shape", "crops: Tcrops"],
        outs: &["output: T"],
        attrs: &["T: type", "Tblock_shape: {int32, int64} = DT_INT32", "Tcrops: {int32, int64} = DT_INT32"],
        shape: |ctx| {
            let count = ctx.input(1).with_rank(1)?.dim(0);
            let block = ctx.constant(1).map(|b| b.to_i64s()).transpose()?.map(|b| b.to_vec());
            let Some(count) = count else { return ctx.set(0, Shape::unknown()) };
            batch_to_space_shape(ctx, block, count, 2)
        },
        kernel: Kernel::Pure(|ctx| {
            let block = block_of(ctx)?;
            batch_to_space_kernel(ctx, &block, 2)
        }),
        grad: Grad::Fn(|g, op, grads| block_shape_grad(g, op, grads, "SpaceToBatchND")),
        rows: &["f32[[[0] [2]] [[1] [3]]], i32[2], i32[[1 0]] => f32[[[1] [2] [3]]]"],
    },
    Op {
        name: "SpaceToDepth",
        ins: &["input: T"],
        outs: &["output: T"],
        attrs: DEPTH_ATTRS,
        shape: |ctx| depth_shape(ctx, true),
        kernel: Kernel::Pure(space_to_depth_kernel),
        grad: Grad::Fn(|g, op, grads| depth_grad(g, op, grads, "DepthToSpace")),
        rows: &["block_size=2; f32[[[[1] [2]] [[3] [4]]]] => f32[[[[1 2 3 4]]]]"],
    },
    Op {
        name: "DepthToSpace",
        ins: &["input: T"],
        outs: &["output: T"],
        attrs: DEPTH_ATTRS,
        shape: |ctx| depth_shape(ctx, false),
        kernel: Kernel::Pure(depth_to_space_kernel),
        grad: Grad::Fn(|g, op, grads| depth_grad(g, op, grads, "SpaceToDepth")),
        rows: &["block_size=2; f32[[[[1 2 3 4]]]] => f32[[[[1] [2]] [[3] [4]]]]"],
    },
];

fn block_of(ctx: &KernelCtx) -> Result<Vec<i64>> {
    let block = ctx.input(1)?;
    if block.rank() != 1 {
        bail!(InvalidArgument, "block_shape rank should be 1 instead of {}", block.rank());
    }
    Ok(block.to_i64s()?.to_vec())
}

/// The block sizes as positive numbers, and their product.
fn checked_block(block: &[i64]) -> Result<(Vec<usize>, usize)> {
    let mut product = 1usize;
    let mut sizes = Vec::with_capacity(block.len());
    for (i, &size) in block.iter().enumerate() {
        let Some(size) = usize::try_from(size).ok().filter(|&s| s >= 1) else {
            bail!(InvalidArgument, "block_shape[{i}] = {size} must be positive");
        };
        product =
            product.checked_mul(size).ok_or_else(|| Error::invalid_argument("Product of block sizes must be less than 2**63"))?;
        sizes.push(size);
    }
    Ok((sizes, product))
}

/// Pairs of numbers that aren't negative, one pair for each blocked dimension.
fn pairs(values: &Tensor, count: usize, what: &str) -> Result<Vec<(usize, usize)>> {
    if values.dims() != [count, 2] {
        bail!(InvalidArgument, "{what} should have shape [{count}, 2] instead of {:?}", values.dims());
    }
    let pair = |p: &[i64]| match (usize::try_from(p[0]), usize::try_from(p[1])) {
        (Ok(a), Ok(b)) if a.checked_add(b).is_some() => Ok((a, b)),
        _ => Err(Error::invalid_argument(format!("{what} cannot be negative: {} {}", p[0], p[1]))),
    };
    values.to_i64s()?.chunks(2).map(pair).collect()
}

fn space_to_batch_shape(ctx: &mut InferCtx, block: Option<Vec<i64>>, count: usize, pads: usize) -> Result<()> {
    let input = ctx.input(0).with_rank_at_least(count + 1)?;
    ctx.input(pads).merge(&Shape::matrix(Some(count), Some(2)))?;
    let Some(rank) = input.rank() else { return ctx.set(0, Shape::unknown()) };
    let Some(block) = block else {
        let dims = (0..rank).map(|i| if i > count { input.dim(i as isize) } else { None });
        return ctx.set(0, dims.collect::<Vec<_>>().into());
    };
    let (block, product) = checked_block(&block)?;
    let pads = ctx.constant(pads).map(|p| pairs(&p, count, "paddings")).transpose()?;
    let mut dims = vec![input.dim(0).and_then(|b| b.checked_mul(product))];
    for (i, &size) in block.iter().enumerate() {
        let padded = input.dim(i as isize + 1).zip(pads.as_ref()).and_then(|(d, p)| d.checked_add(p[i].0 + p[i].1));
        if padded.is_some_and(|p| p % size != 0) {
            bail!(InvalidArgument, "Dimension size must be evenly divisible by {size} but is {}", padded.unwrap_or(0));
        }
        dims.push(padded.map(|p| p / size));
    }
    dims.extend((count + 1..rank).map(|i| input.dim(i as isize)));
    ctx.set(0, Shape::from(dims))
}

fn space_to_batch_kernel(ctx: &mut KernelCtx, block: &[i64], pads: usize) -> Result<()> {
    let (input, count) = (ctx.input(0)?, block.len());
    if input.rank() < count + 1 || (pads == 1 && input.rank() != 4) {
        bail!(InvalidArgument, "input rank should be >= {} instead of {}", count + 1, input.rank());
    }
    let (block, product) = checked_block(block)?;
    let pads = pairs(ctx.input(pads)?, count, "paddings")?;
    let mut padded = Dims::from_slice(input.dims());
    for (i, pad) in pads.iter().enumerate() {
        padded[i + 1] = padded[i + 1].saturating_add(pad.0 + pad.1);
        if !padded[i + 1].is_multiple_of(block[i]) {
            bail!(InvalidArgument, "padded_shape[{i}]={} is not divisible by block_shape[{i}]={}", padded[i + 1], block[i]);
        }
    }
    let whole = pad_zeros(input, &padded, &pads)?;
    let strides = row_major(&padded);
    let mut view = View { dims: Dims::from_slice(&block), strides: strides[1..=count].into(), offset: 0 };
    view.dims.push(padded[0]);
    view.strides.push(strides[0]);
    let mut dims = Dims::from_slice(&[padded[0] * product]);
    for i in 0..count {
        view.dims.push(padded[i + 1] / block[i]);
        view.strides.push(strides[i + 1] * block[i] as isize);
        dims.push(padded[i + 1] / block[i]);
    }
    view.dims.extend_from_slice(&padded[count + 1..]);
    view.strides.extend_from_slice(&strides[count + 1..]);
    dims.extend_from_slice(&padded[count + 1..]);
    let output = read_view_as(&whole, &view, &dims)?;
    ctx.set(0, output)
}

/// The tensor with zeros around the dimensions from the second on.
fn pad_zeros(input: &Tensor, padded: &[usize], pads: &[(usize, usize)]) -> Result<Tensor> {
    if pads.iter().all(|&p| p == (0, 0)) {
        return Ok(input.clone());
    }
    let strides = row_major(padded);
    let offset = pads.iter().zip(&strides[1..]).map(|(p, s)| p.0 * s.unsigned_abs()).sum();
    let inside = View { dims: input.dims().into(), strides, offset };
    let zeros = Tensor::zeros(input.dtype(), padded)?;
    super::items::write_view(input, &inside, zeros)
}

fn batch_to_space_shape(ctx: &mut InferCtx, block: Option<Vec<i64>>, count: usize, crops: usize) -> Result<()> {
    let input = ctx.input(0).with_rank_at_least(count + 1)?;
    ctx.input(crops).merge(&Shape::matrix(Some(count), Some(2)))?;
    let Some(rank) = input.rank() else { return ctx.set(0, Shape::unknown()) };
    let Some(block) = block else {
        let dims = (0..rank).map(|i| if i > count { input.dim(i as isize) } else { None });
        return ctx.set(0, dims.collect::<Vec<_>>().into());
    };
    let (block, product) = checked_block(&block)?;
    let crops = ctx.constant(crops).map(|p| pairs(&p, count, "crops")).transpose()?;
    if input.dim(0).is_some_and(|b| b % product != 0) {
        bail!(InvalidArgument, "Dimension size must be evenly divisible by {product}, the product of block sizes, for {input}");
    }
    let mut dims = vec![input.dim(0).map(|b| b / product)];
    for (i, &size) in block.iter().enumerate() {
        let whole = input.dim(i as isize + 1).and_then(|d| d.checked_mul(size));
        let kept = match (whole, &crops) {
            (Some(whole), Some(crops)) => match whole.checked_sub(crops[i].0 + crops[i].1) {
                Some(kept) => Some(kept),
                None => bail!(InvalidArgument, "crops {:?} leave a negative size of {whole}", crops[i]),
            },
            _ => None,
        };
        dims.push(kept);
    }
    dims.extend((count + 1..rank).map(|i| input.dim(i as isize)));
    ctx.set(0, Shape::from(dims))
}

fn batch_to_space_kernel(ctx: &mut KernelCtx, block: &[i64], crops: usize) -> Result<()> {
    let (input, count) = (ctx.input(0)?, block.len());
    if input.rank() < count + 1 || (crops == 1 && input.rank() != 4) {
        bail!(InvalidArgument, "input rank should be >= {} instead of {}", count + 1, input.rank());
    }
    let (block, product) = checked_block(block)?;
    let crops = pairs(ctx.input(crops)?, count, "crops")?;
    let dims = input.dims();
    if !dims[0].is_multiple_of(product) {
        bail!(InvalidArgument, "Input batch dimension ({}) is not divisible by product of block sizes ({product})", dims[0]);
    }
    let batch = dims[0] / product;
    let strides = row_major(dims);
    let mut view = View { dims: Dims::from_slice(&[batch]), strides: SmallVec::from_slice(&[strides[0]]), offset: 0 };
    let mut whole = Dims::from_slice(&[batch]);
    let mut step = strides[0] * dims[0] as isize;
    for (i, &size) in block.iter().enumerate() {
        step /= size as isize;
        view.dims.extend([dims[i + 1], size]);
        view.strides.extend([strides[i + 1], step]);
        whole.push(dims[i + 1] * size);
    }
    view.dims.extend_from_slice(&dims[count + 1..]);
    view.strides.extend_from_slice(&strides[count + 1..]);
    whole.extend_from_slice(&dims[count + 1..]);
    let output = read_view_as(input, &view, &whole)?;
    let mut inside = View::of(&whole);
    for (i, crop) in crops.iter().enumerate() {
        let Some(kept) = whole[i + 1].checked_sub(crop.0 + crop.1) else {
            bail!(InvalidArgument, "cropped_shape[{i}] must be non-negative: {} without {crop:?}", whole[i + 1]);
        };
        inside.dims[i + 1] = kept;
        inside.offset += crop.0 * inside.strides[i + 1].unsigned_abs();
    }
    let output = if inside.dims == whole { output } else { read_view(&output, &inside)? };
    ctx.set(0, output)
}

fn block_size_grad(g: &Graph, op: Operation, grads: &Grads, kind: &str) -> Result<Vec<Option<Gradient>>> {
    let grad = grads.dense(g, 0)?;
    let size = g.int_attr(op, "block_size")?;
    // Python writes the square block of the general op.
    let general = if kind == "BatchToSpace" { "BatchToSpaceND" } else { "SpaceToBatchND" };
    let back = g.call(general).arg(grad).arg([size, size]).arg(g.input(op, 1)?).output()?;
    g.set_shape(back, g.shape(back)?.with_rank(4)?)?;
    Ok(vec![Some(back.into()), None])
}

fn block_shape_grad(g: &Graph, op: Operation, grads: &Grads, kind: &str) -> Result<Vec<Option<Gradient>>> {
    let grad = grads.dense(g, 0)?;
    let back = g.op(kind).input(grad).input(g.input(op, 1)?).input(g.input(op, 2)?).output()?;
    Ok(vec![Some(back.into()), None, None])
}

fn depth_shape(ctx: &mut InferCtx, to_depth: bool) -> Result<()> {
    let format = ctx.string("data_format")?;
    let rank = if format == "NCHW_VECT_C" { 5 } else { 4 };
    let input = ctx.input(0).with_rank(rank)?;
    let block = ctx.int("block_size")? as usize;
    let (height, width, depth) = if format == "NHWC" { (1, 2, 3) } else { (2, 3, 1) };
    let divided = |size: Option<usize>, by: usize| match size {
        Some(size) if size % by != 0 => {
            Err(Error::invalid_argument(format!("Dimension size must be evenly divisible by {by} but is {size}")))
        }
        size => Ok(size.map(|s| s / by)),
    };
    let scaled = |size: Option<usize>, by: usize| size.and_then(|s| s.checked_mul(by));
    let mut shape = input.clone();
    for axis in [height, width] {
        let size = if to_depth { divided(input.dim(axis), block)? } else { scaled(input.dim(axis), block) };
        shape = shape.with_dim(axis, size);
    }
    let area = block.saturating_mul(block);
    let size = if to_depth { scaled(input.dim(depth), area) } else { divided(input.dim(depth), area)? };
    ctx.set(0, shape.with_dim(depth, size))
}

fn depth_operands<'a>(ctx: &'a KernelCtx) -> Result<(&'a Tensor, usize)> {
    let format = ctx.node().string("data_format")?;
    if format != "NHWC" {
        bail!(InvalidArgument, "Only NHWC data_format supported on CPU. Got {format}");
    }
    let input = ctx.input(0)?;
    if input.rank() != 4 {
        bail!(InvalidArgument, "Input rank should be: 4 instead of: {}", input.rank());
    }
    Ok((input, ctx.node().int("block_size")? as usize))
}

fn space_to_depth_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let (input, block) = depth_operands(ctx)?;
    let &[batch, height, width, depth] = input.dims() else { bail!(InvalidArgument, "Input rank should be 4") };
    if height % block != 0 || width % block != 0 {
        bail!(InvalidArgument, "Image width {width} and height {height} should be divisible by block_size: {block}");
    }
    let s = row_major(input.dims());
    let step = block as isize;
    let view = View {
        dims: Dims::from_slice(&[batch, height / block, width / block, block, block, depth]),
        strides: SmallVec::from_slice(&[s[0], s[1] * step, s[2] * step, s[1], s[2], s[3]]),
        offset: 0,
    };
    let output = read_view_as(input, &view, &[batch, height / block, width / block, depth * block * block])?;
    ctx.set(0, output)
}

fn depth_to_space_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let (input, block) = depth_operands(ctx)?;
    let &[batch, height, width, depth] = input.dims() else { bail!(InvalidArgument, "Input rank should be 4") };
    if depth % (block * block) != 0 {
        bail!(InvalidArgument, "Input depth dimension {depth} should be divisible by: {}", block * block);
    }
    let rest = depth / (block * block);
    let s = row_major(input.dims());
    let view = View {
        dims: Dims::from_slice(&[batch, height, block, width, block, rest]),
        strides: SmallVec::from_slice(&[s[0], s[1], (block * rest) as isize, s[2], rest as isize, 1]),
        offset: 0,
    };
    let output = read_view_as(input, &view, &[batch, height * block, width * block, rest])?;
    ctx.set(0, output)
}

fn depth_grad(g: &Graph, op: Operation, grads: &Grads, kind: &str) -> Result<Vec<Option<Gradient>>> {
    let grad = grads.dense(g, 0)?;
    let (size, format) = (g.int_attr(op, "block_size")?, g.string_attr(op, "data_format")?);
    if format == "NCHW_VECT_C" {
        bail!(
            InvalidArgument,
            "Cannot compute {} gradient with NCHW_VECT_C. NCHW_VECT_C requires qint8 data type.",
            g.op_type(op)
        );
    }
    Ok(vec![Some(g.op(kind).input(grad).attr("block_size", size).attr("data_format", format).output()?.into())])
}

impl Graph {
    /// Zero-pads and then moves blocks of positions to the batch (`tf.space_to_batch_nd`).
    ///
    /// # Errors
    /// `InvalidArgument` where the padded sizes aren't multiples of the block's.
    pub fn space_to_batch_nd(&self, input: Output, block_shape: impl Into<Arg>, paddings: impl Into<Arg>) -> Result<Output> {
        self.call("SpaceToBatchND").arg(input).arg(block_shape).arg(paddings).output()
    }

    /// Moves parts of the batch to blocks of positions and then crops (`tf.batch_to_space`).
    ///
    /// # Errors
    /// `InvalidArgument` where the batch isn't a multiple of the block, or less than nothing would be left.
    pub fn batch_to_space_nd(&self, input: Output, block_shape: impl Into<Arg>, crops: impl Into<Arg>) -> Result<Output> {
        self.call("BatchToSpaceND").arg(input).arg(block_shape).arg(crops).output()
    }

    /// Moves blocks of positions of `[batch, height, width, depth]` to the depth (`tf.space_to_depth`).
    ///
    /// # Errors
    /// `InvalidArgument` where height or width isn't a multiple of the block size.
    pub fn space_to_depth(&self, input: Output, block_size: usize) -> Result<Output> {
        self.op("SpaceToDepth").input(input).attr("block_size", block_size).output()
    }

    /// Moves parts of the depth of `[batch, height, width, depth]` to blocks of positions (`tf.depth_to_space`).
    ///
    /// # Errors
    /// `InvalidArgument` where the depth isn't a multiple of the square of the block size.
    pub fn depth_to_space(&self, input: Output, block_size: usize) -> Result<Output> {
        self.op("DepthToSpace").input(input).attr("block_size", block_size).output()
    }
}
