//! Image ops: sizes, crops, colours, boxes, and files.

mod boxes;
mod build;
mod color;
mod crop;
mod files;
mod glimpse;
mod jpeg;
mod projective;
mod resize;
mod suppress;
mod translate;

use crate::error::{Result, bail};
use crate::graph::op::{InferCtx, KernelCtx, Op};
use crate::tensor::{Shape, Tensor};

pub use build::ResizeMethod;
pub use crop::CropAndResize;
pub use resize::ResizeOptions;

/// The records, by topic.
pub(super) static FAMILIES: &[&[Op]] = &[
    boxes::OPS,
    color::OPS,
    crop::OPS,
    files::OPS,
    glimpse::OPS,
    projective::OPS,
    resize::GRADIENTS,
    resize::OPS,
    suppress::OPS,
    translate::OPS,
];

/// The sizes of a batch of images: batch, height, width, channels.
fn image_dims(tensor: &Tensor, name: &str) -> Result<[usize; 4]> {
    match *tensor.dims() {
        [batch, height, width, channels] => Ok([batch, height, width, channels]),
        ref dims => bail!(InvalidArgument, "{name} must be 4-dimensional{dims:?}"),
    }
}

/// An input that gives height and width.
fn size_input(ctx: &KernelCtx, index: usize, name: &str) -> Result<[i64; 2]> {
    let size = ctx.input(index)?;
    if size.rank() != 1 {
        bail!(InvalidArgument, "{name} must be 1-dimensional{:?}", size.dims());
    }
    match size.to_i64s()?[..] {
        [height, width] => Ok([height, width]),
        _ => bail!(InvalidArgument, "{name} must have two elements{:?}", size.dims()),
    }
}

/// The shape of images of the height and width that an input gives.
fn sized_shape(ctx: &InferCtx, batch: Option<usize>, size: usize, channels: Option<usize>) -> Result<Shape> {
    ctx.input(size).merge(&Shape::known(&[2]))?;
    let known = ctx.constant(size).map(|v| v.to_i64s()).transpose()?;
    let dim = |i: usize| known.as_ref().and_then(|v| usize::try_from(*v.get(i)?).ok());
    Ok(Shape::from([batch, dim(0), dim(1), channels]))
}

/// The output has the shape of an input with another height and width.
fn resized_shape(ctx: &mut InferCtx) -> Result<()> {
    let input = ctx.input(0).with_rank(4)?;
    let shape = sized_shape(ctx, input.dim(0), 1, input.dim(3))?;
    ctx.set(0, shape)
}
