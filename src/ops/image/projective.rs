//! Projective transformations of images.

use super::{image_dims, size_input, sized_shape};
use crate::compute::pool::parallel_pieces;
use crate::error::{Result, bail};
use crate::graph::gradient::{Gradient, Grads};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::graph::{Graph, Operation, Output};
use crate::ops::{Arg, Idx};
use crate::tensor::{DType, Tensor, dispatch};
use num_traits::AsPrimitive;

const ATTRS: &[&str] =
    &["dtype: {uint8, int32, int64, half, float, double}", "interpolation: string", "fill_mode: string = 'CONSTANT'"];

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "ImageProjectiveTransformV2",
        ins: &["images: dtype", "transforms: float", "output_shape: int32"],
        outs: &["transformed_images: dtype"],
        attrs: ATTRS,
        shape,
        kernel: Kernel::Pure(transform),
        grad: Grad::Fn(|g, op, grads| gradient(g, op, grads, false)),
        rows: &[
            "interpolation='NEAREST'; i32[[[[1] [2]] [[3] [4]]]], f32[[1 0 1 0 1 0 0 0]], i32[2 2] => i32[[[[2] [0]] [[4] [0]]]]",
            "interpolation='BILINEAR'; f32[[[[1] [2]] [[3] [4]]]], f32[[1 0 0.5 0 1 0 0 0]], i32[2 2] => f32[[[[1.5] [1]] [[3.5] [2]]]]",
            "interpolation='NEAREST', fill_mode='REFLECT'; u8[[[[1] [2] [3]]]], f32[[1 0 2 0 1 0 0 0]], i32[1 4] \
             => u8[[[[3] [3] [2] [1]]]]",
        ],
    },
    Op {
        name: "ImageProjectiveTransformV3",
        ins: &["images: dtype", "transforms: float", "output_shape: int32", "fill_value: float"],
        outs: &["transformed_images: dtype"],
        attrs: ATTRS,
        shape,
        kernel: Kernel::Pure(transform),
        grad: Grad::Fn(|g, op, grads| gradient(g, op, grads, true)),
        rows: &[
            "interpolation='NEAREST'; i32[[[[1] [2]]]], f32[[1 0 1 0 1 0 0 0]], i32[1 2], f32 7 => i32[[[[2] [7]]]]",
            "interpolation='NEAREST', fill_mode='WRAP'; i32[[[[1] [2] [3]]]], f32[[1 0 2 0 1 0 0 0]], i32[1 4], f32 7 \
             => i32[[[[3] [1] [1] [1]]]]",
        ],
    },
];

fn shape(ctx: &mut InferCtx) -> Result<()> {
    let images = ctx.input(0).with_rank(4)?;
    let shape = sized_shape(ctx, images.dim(0), 2, images.dim(3))?;
    ctx.set(0, shape)
}

/// What is taken for a place beyond the image.
#[derive(Clone, Copy)]
enum Fill {
    Reflect,
    Wrap,
    Constant,
    Nearest,
}

impl Fill {
    fn new(name: &str) -> Result<Fill> {
        Ok(match name {
            "REFLECT" => Fill::Reflect,
            "WRAP" => Fill::Wrap,
            "CONSTANT" => Fill::Constant,
            "NEAREST" => Fill::Nearest,
            _ => bail!(InvalidArgument, "Invalid mode {name}. Supported types: REFLECT, WRAP, CONSTANT, NEAREST"),
        })
    }

    /// The place that stands for this one, along a side of the given length.
    fn map(self, place: f32, length: usize) -> f32 {
        let (size, last) = (length as f32, (length - 1) as f32);
        let outside = place < 0.0 || place > last;
        let mapped = match self {
            Fill::Constant => return place,
            Fill::Nearest => place,
            _ if !outside => place,
            _ if length <= 1 => 0.0,
            Fill::Reflect if place < 0.0 => {
                let period = 2.0 * size;
                let moved = if place < period { period * (-place / period).trunc() + place } else { place };
                if moved < -size { moved + period } else { -moved - 1.0 }
            }
            Fill::Reflect => {
                let period = 2.0 * size;
                let moved = place - period * (place / period).trunc();
                if moved >= size { period - moved - 1.0 } else { moved }
            }
            Fill::Wrap if place < 0.0 => place + size * ((-place / last).trunc() + 1.0),
            Fill::Wrap => place - size * (place / last).trunc(),
        };
        mapped.max(0.0).min(last)
    }
}

fn transform(ctx: &mut KernelCtx) -> Result<()> {
    let node = ctx.node();
    let bilinear = match node.string("interpolation")? {
        "NEAREST" => false,
        "BILINEAR" => true,
        other => bail!(InvalidArgument, "Invalid interpolation {other}. Supported types: NEAREST, BILINEAR"),
    };
    let mode = Fill::new(node.string("fill_mode")?)?;
    let (images, transforms) = (ctx.input(0)?, ctx.input(1)?);
    if images.rank() != 4 {
        bail!(InvalidArgument, "Input images must have rank 4");
    }
    let [batch, height, width, channels] = image_dims(images, "images")?;
    let one = match *transforms.dims() {
        [1, 8] => true,
        [count, 8] if count == batch => false,
        _ => bail!(InvalidArgument, "Input transform should be num_images x 8 or 1 x 8, got {:?}", transforms.dims()),
    };
    let [tall, wide] = size_input(ctx, 2, "output shape")?;
    if tall <= 0 || wide <= 0 {
        bail!(InvalidArgument, "output dimensions must be positive");
    }
    let (tall, wide) = (tall as usize, wide as usize);
    let outside = match ctx.num_inputs() {
        4 => {
            let fill = ctx.input(3)?;
            if !fill.is_scalar() {
                bail!(InvalidArgument, "fill_value must be a scalar, got shape {:?}", fill.dims());
            }
            fill.item::<f32>()?
        }
        _ => 0.0,
    };
    let mut output = Tensor::uninit(images.dtype(), &[batch, tall, wide, channels])?;
    if output.is_empty() {
        return ctx.set(0, output);
    }
    let transforms = transforms.as_slice::<f32>()?.as_chunks::<8>().0;
    dispatch!(images.dtype(), real, T => {
        let fill: T = outside.as_();
        let pixels = images.as_slice::<T>()?;
        let row = wide * channels;
        parallel_pieces(output.as_mut_slice::<T>()?, row, (1usize << 12).div_ceil(row), |first, rows| {
            for (i, to) in rows.chunks_exact_mut(row).enumerate() {
                let (image, out_y) = ((first + i) / tall, ((first + i) % tall) as f32);
                let t = &transforms[if one { 0 } else { image }];
                let read = |y: i64, x: i64, channel: usize| -> T {
                    if (0..height as i64).contains(&y) && (0..width as i64).contains(&x) {
                        pixels[((image * height + y as usize) * width + x as usize) * channels + channel]
                    } else {
                        fill
                    }
                };
                for (out_x, to) in to.chunks_exact_mut(channels).enumerate() {
                    let out_x = out_x as f32;
                    let projection = t[6] * out_x + t[7] * out_y + 1.0;
                    if projection == 0.0 || height == 0 || width == 0 {
                        to.fill(fill);
                        continue;
                    }
                    let x = mode.map((t[0] * out_x + t[1] * out_y + t[2]) / projection, width);
                    let y = mode.map((t[3] * out_x + t[4] * out_y + t[5]) / projection, height);
                    for (channel, to) in to.iter_mut().enumerate() {
                        if !bilinear {
                            *to = read(y.round() as i64, x.round() as i64, channel);
                            continue;
                        }
                        let (left, top) = (x.floor(), y.floor());
                        let line = |y: f32| -> f32 {
                            let at = |x: f32| -> f32 { read(y as i64, x as i64, channel).as_() };
                            (left + 1.0 - x) * at(left) + (x - left) * at(left + 1.0)
                        };
                        *to = ((top + 1.0 - y) * line(top) + (y - top) * line(top + 1.0)).as_();
                    }
                }
            }
        });
    });
    ctx.set(0, output)
}

/// Transformations as matrices `[n, 3, 3]`.
fn to_matrices(g: &Graph, transforms: Output) -> Result<Output> {
    let (g, _scope) = g.enter("flat_transforms_to_matrices")?;
    let shape = g.constant([-1i32, 8])?;
    let transforms = g.reshape(transforms, shape)?;
    let shape = g.shape_tensor(transforms)?;
    let count = g.index(shape, &[Idx::from(0)])?;
    let ones = g.ones([Arg::from(count), Arg::from(1)], DType::Float)?;
    let joined = g.concat(&[transforms.into(), ones.into()], 1)?;
    let shape = g.constant([-1i32, 3, 3])?;
    g.reshape(joined, shape)
}

fn from_matrices(g: &Graph, matrices: Output) -> Result<Output> {
    let (g, _scope) = g.enter("matrices_to_flat_transforms")?;
    let shape = g.constant([-1i32, 9])?;
    let transforms = g.reshape(matrices, shape)?;
    let last = g.index(transforms, &[Idx::from(..), Idx::from(8..9)])?;
    let transforms = g.truediv(transforms, last)?;
    g.index(transforms, &[Idx::from(..), Idx::from(..8)])
}

/// The gradient moves back: by the inverse transformation.
fn gradient(g: &Graph, op: Operation, grads: &Grads, fill: bool) -> Result<Vec<Option<Gradient>>> {
    let inputs = g.inputs(op);
    let transforms = match g.shape(inputs[1])?.rank() {
        Some(1) => g.index(inputs[1], &[Idx::NewAxis])?,
        Some(2) => inputs[1],
        _ => bail!(InvalidArgument, "Transforms should have rank 1 or 2."),
    };
    let matrices = to_matrices(g, transforms)?;
    let inverse = g.op("MatrixInverse").input(matrices).output()?;
    let transforms = from_matrices(g, inverse)?;
    let shape = g.shape_tensor(inputs[0])?;
    let size = g.index(shape, &[Idx::from(1..3)])?;
    let name = if fill { "ImageProjectiveTransformV3" } else { "ImageProjectiveTransformV2" };
    let mut call = g.call(name).arg(grads.dense(g, 0)?).arg(transforms).arg(size);
    if fill {
        call = call.arg(0f32);
    }
    let call = call.attr("interpolation", g.get_attr(op, "interpolation")?);
    let output = call.attr("fill_mode", g.get_attr(op, "fill_mode")?).output()?;
    let mut gradients = vec![Some(output.into()), None, None];
    gradients.extend(fill.then_some(None));
    Ok(gradients)
}
