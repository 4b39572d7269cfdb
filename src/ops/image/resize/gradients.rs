//! The gradients of resized images: what went into each output goes back.

use super::bicubic::arounds;
use super::bilinear::betweens;
use super::{ALIGN, HALF_PIXEL, Places, image_dims, resized_shape, scale, size_input};
use crate::error::{Result, bail};
use crate::graph::op::{Grad, Kernel, KernelCtx, Op};
use crate::tensor::{DType, Tensor, dispatch};
use num_traits::AsPrimitive;

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "ResizeBilinearGrad",
        ins: &["grads: float", "original_image: T"],
        outs: &["output: T"],
        attrs: &["T: {float, bfloat16, half, double}", ALIGN, HALF_PIXEL],
        shape: |ctx| ctx.set(0, ctx.input(1)),
        kernel: Kernel::Pure(bilinear),
        grad: Grad::Missing,
        rows: &["f32[[[[1] [2] [3] [4]]]], f32[[[[0] [0]]]] => f32[[[[2] [8]]]]"],
    },
    Op {
        name: "ResizeBicubicGrad",
        ins: &["grads: float", "original_image: T"],
        outs: &["output: T"],
        attrs: &["T: {float, double}", ALIGN, HALF_PIXEL],
        shape: |ctx| ctx.set(0, ctx.input(1)),
        kernel: Kernel::Pure(bicubic),
        grad: Grad::Missing,
        rows: &["f32[[[[1] [2]]]], f64[[[[0] [0]]]] => f64[[[[1] [2]]]]"],
    },
    Op {
        name: "ResizeNearestNeighborGrad",
        ins: &["grads: T", "size: int32"],
        outs: &["output: T"],
        attrs: &["T: {uint8, int8, int32, half, float, double, bfloat16}", ALIGN, HALF_PIXEL],
        shape: resized_shape,
        kernel: Kernel::Pure(nearest),
        grad: Grad::Missing,
        rows: &["f32[[[[1] [2] [3] [4]]]], i32[1 2] => f32[[[[3] [7]]]]"],
    },
];

/// The sizes of the gradient, those of the original image, and the scales between them.
struct Back {
    resized: [usize; 4],
    original: [usize; 4],
    scale: [f32; 2],
}

fn back(ctx: &KernelCtx, places: Places) -> Result<Back> {
    let resized = image_dims(ctx.input(0)?, "input_grad")?;
    let original = image_dims(ctx.input(1)?, "original_image")?;
    if original[1] == 0 || original[2] == 0 || resized[1] == 0 || resized[2] == 0 {
        bail!(InvalidArgument, "images must be of non-zero size, got {resized:?} and {original:?}");
    }
    if original[0] != resized[0] || original[3] != resized[3] {
        bail!(
            InvalidArgument,
            "input_grad and original_image must have the same batch size and channels, got {resized:?} and {original:?}"
        );
    }
    let scale = [0, 1].map(|i| scale(original[i + 1], resized[i + 1], places.align_corners));
    Ok(Back { resized, original, scale })
}

fn bilinear(ctx: &mut KernelCtx) -> Result<()> {
    let places = Places::new(ctx.node())?;
    let Back { resized: [batch, height, width, channels], original, scale } = back(ctx, places)?;
    let (gradient, dtype) = (ctx.input(0)?, ctx.input(1)?.dtype());
    let mut output = Tensor::zeros(dtype, &original)?;
    let ys = betweens(places, height, original[1], scale[0]);
    let xs = betweens(places, width, original[2], scale[1]);
    let mut gradients = gradient.as_slice::<f32>()?.iter();
    dispatch!(dtype, floats, T => {
        let out = output.as_mut_slice::<T>()?;
        for image in 0..batch {
            for y in &ys {
                for x in &xs {
                    for channel in 0..channels {
                        let Some(&gradient) = gradients.next() else { break };
                        let at = |row: usize, column: usize| {
                            ((image * original[1] + row) * original[2] + column) * channels + channel
                        };
                        let mut add = |at: usize, value: f32| out[at] += AsPrimitive::<T>::as_(value);
                        add(at(y.lower, x.lower), gradient * (1.0 - y.fraction) * (1.0 - x.fraction));
                        add(at(y.lower, x.upper), gradient * (1.0 - y.fraction) * x.fraction);
                        add(at(y.upper, x.lower), gradient * y.fraction * (1.0 - x.fraction));
                        add(at(y.upper, x.upper), gradient * y.fraction * x.fraction);
                    }
                }
            }
        }
    });
    ctx.set(0, output)
}

fn bicubic(ctx: &mut KernelCtx) -> Result<()> {
    let places = Places::new(ctx.node())?;
    let Back { resized: [batch, height, width, channels], original, scale } = back(ctx, places)?;
    let (gradient, dtype) = (ctx.input(0)?, ctx.input(1)?.dtype());
    let mut output = Tensor::zeros(dtype, &original)?;
    let ys = arounds(places, height, original[1], scale[0]);
    let xs = arounds(places, width, original[2], scale[1]);
    let mut gradients = gradient.as_slice::<f32>()?.iter();
    dispatch!(dtype, floats, T => {
        let out = output.as_mut_slice::<T>()?;
        for image in 0..batch {
            for y in &ys {
                for x in &xs {
                    for channel in 0..channels {
                        let Some(&gradient) = gradients.next() else { break };
                        for (&row, &down) in y.index.iter().zip(&y.weight) {
                            let line = (image * original[1] + row) * original[2];
                            for (&column, &across) in x.index.iter().zip(&x.weight) {
                                out[(line + column) * channels + channel] += AsPrimitive::<T>::as_(gradient * down * across);
                            }
                        }
                    }
                }
            }
        }
    });
    ctx.set(0, output)
}

fn nearest(ctx: &mut KernelCtx) -> Result<()> {
    let places = Places::new(ctx.node())?;
    let gradient = ctx.input(0)?;
    let [batch, height, width, channels] = image_dims(gradient, "input")?;
    let [new_height, new_width] = size_input(ctx, 1, "shape_t")?;
    if new_height <= 0 || new_width <= 0 {
        bail!(InvalidArgument, "Expected size to be positive, got [{new_height}, {new_width}]");
    }
    let size = [new_height as usize, new_width as usize];
    let mut output = Tensor::zeros(gradient.dtype(), &[batch, size[0], size[1], channels])?;
    if output.is_empty() || gradient.is_empty() {
        return ctx.set(0, output);
    }
    let scale = [scale(size[0], height, places.align_corners), scale(size[1], width, places.align_corners)];
    let xs: Vec<usize> = (0..width).map(|x| places.nearest(x, scale[1], size[1])).collect();
    macro_rules! add {
        ($T:ty, $sum:expr) => {{
            let (from, out) = (gradient.as_slice::<$T>()?, output.as_mut_slice::<$T>()?);
            for (row, from) in from.chunks_exact(width * channels).enumerate() {
                let (image, y) = (row / height, places.nearest(row % height, scale[0], size[0]));
                for (from, x) in from.chunks_exact(channels).zip(&xs) {
                    let to = &mut out[((image * size[0] + y) * size[1] + x) * channels..][..channels];
                    for (to, &from) in to.iter_mut().zip(from) {
                        *to = $sum(*to, from);
                    }
                }
            }
        }};
    }
    match gradient.dtype() {
        DType::Uint8 => add!(u8, u8::wrapping_add),
        DType::Int8 => add!(i8, i8::wrapping_add),
        DType::Int32 => add!(i32, i32::wrapping_add),
        dtype => dispatch!(dtype, floats, T => add!(T, |a: T, b: T| a + b)),
    }
    ctx.set(0, output)
}
