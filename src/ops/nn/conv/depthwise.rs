//! Depthwise convolutions: each input channel has filters of its own.

use super::geometry::{Attributes, Geometry};
use super::{DILATIONS, EXPLICIT, FLOATS, FORMAT, PADDING, in_float, shapes, sizes_at};
use crate::compute::level::vectorize;
use crate::compute::pool::parallel_pieces;
use crate::error::Result;
use crate::graph::op::{Grad, Kernel, KernelCtx, Op, PrepareCtx, Prepared};
use crate::ops::nn::gradients::conv as gradients;
use crate::tensor::{DType, Element, Tensor};
use num_traits::Float;

const ATTRS: &[&str] = &[FLOATS, "strides: list(int)", PADDING, EXPLICIT, FORMAT, DILATIONS];

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "DepthwiseConv2dNative",
        ins: &["input: T", "filter: T"],
        outs: &["output: T"],
        attrs: ATTRS,
        shape: shapes::depthwise,
        kernel: Kernel::PurePrepared(prepare_forward),
        grad: Grad::Fn(gradients::depthwise),
        rows: &[
            "strides=[1,1,1,1], padding='VALID'; f32[[[[1 2] [3 4]]]], f32[[[[1] [1]] [[10] [100]]]] => f32[[[[31 402]]]]",
            "strides=[1,1,1,1], padding='SAME'; f64[[[[1 2]]]], f64[[[[1 10] [1 100]]]] => f64[[[[1 10 2 200]]]]",
        ],
    },
    Op {
        name: "DepthwiseConv2dNativeBackpropInput",
        ins: &["input_sizes: int32", "filter: T", "out_backprop: T"],
        outs: &["output: T"],
        attrs: ATTRS,
        shape: shapes::backprop_input,
        kernel: Kernel::PurePrepared(prepare_backprop_input),
        grad: Grad::Fn(gradients::depthwise_backprop_input),
        rows: &[
            "strides=[1,1,1,1], padding='VALID'; i32[1 1 2 2], f32[[[[1] [1]] [[10] [100]]]], f32[[[[1 2]]]] => f32[[[[1 2] [10 200]]]]",
        ],
    },
    Op {
        name: "DepthwiseConv2dNativeBackpropFilter",
        ins: &["input: T", "filter_sizes: int32", "out_backprop: T"],
        outs: &["output: T"],
        attrs: ATTRS,
        shape: shapes::backprop_filter,
        kernel: Kernel::PurePrepared(prepare_backprop_filter),
        grad: Grad::Fn(gradients::depthwise_backprop_filter),
        rows: &[
            "strides=[1,1,1,1], padding='VALID'; f32[[[[1 2] [3 4]]]], i32[1 2 2 1], f32[[[[1 10]]]] => f32[[[[1] [20]] [[3] [40]]]]",
        ],
    },
];

/// Calls the function for each pair of an output position of a row of windows and an element of a window that lies in the
/// image: the output's place, the image's place and the filter's place, in positions.
#[inline(always)]
fn pairs(geometry: &Geometry, y: usize, mut each: impl FnMut(usize, usize, usize)) {
    let [_, height, width] = &geometry.axes;
    for ky in 0..height.window {
        let Some(iy) = height.position(y, ky) else { continue };
        for x in 0..width.output {
            for kx in 0..width.window {
                if let Some(ix) = width.position(x, kx) {
                    each(x, iy * width.input + ix, ky * width.window + kx);
                }
            }
        }
    }
}

fn forward<T: Element + Float + std::ops::AddAssign>(geometry: &Geometry, input: &[T], filter: &[T], output: &mut [T]) {
    let (channels, outputs) = (geometry.in_channels, geometry.out_channels);
    let [_, height, width] = &geometry.axes;
    if output.is_empty() {
        return;
    }
    let (multiplier, image) = (outputs / channels, geometry.image());
    let row = width.output * outputs;
    let work = row * height.window * width.window;
    parallel_pieces(output, row, (16usize << 10).div_ceil(work.max(1)), |first, piece| {
        for (i, out) in piece.chunks_exact_mut(row).enumerate() {
            let (batch, y) = ((first + i) / height.output, (first + i) % height.output);
            let input = &input[batch * image..][..image];
            out.fill(T::zero());
            vectorize(
                #[inline(always)]
                || {
                    pairs(
                        geometry,
                        y,
                        #[inline(always)]
                        |o, p, k| {
                            let out = &mut out[o * outputs..][..outputs];
                            let (x, w) = (&input[p * channels..][..channels], &filter[k * outputs..][..outputs]);
                            if multiplier == 1 {
                                out.iter_mut().zip(x.iter().zip(w)).for_each(|(o, (&x, &w))| *o += x * w);
                            } else {
                                let pairs = out.chunks_exact_mut(multiplier).zip(w.chunks_exact(multiplier));
                                for ((out, w), &x) in pairs.zip(x) {
                                    out.iter_mut().zip(w).for_each(|(o, &w)| *o += x * w);
                                }
                            }
                        },
                    );
                },
            );
        }
    });
}

fn backprop_input<T: Element + Float + std::ops::AddAssign>(
    geometry: &Geometry,
    filter: &[T],
    out_backprop: &[T],
    input: &mut [T],
) {
    let (channels, outputs) = (geometry.in_channels, geometry.out_channels);
    let [_, height, width] = &geometry.axes;
    input.fill(T::zero());
    if input.is_empty() || out_backprop.is_empty() {
        return;
    }
    let multiplier = outputs / channels;
    parallel_pieces(input, geometry.image(), 1, |first, piece| {
        for (i, image) in piece.chunks_exact_mut(geometry.image()).enumerate() {
            for y in 0..height.output {
                let line = ((first + i) * height.output + y) * width.output * outputs;
                let gradients = &out_backprop[line..][..width.output * outputs];
                pairs(
                    geometry,
                    y,
                    #[inline(always)]
                    |o, p, k| {
                        let image = &mut image[p * channels..][..channels];
                        let (g, w) = (&gradients[o * outputs..][..outputs], &filter[k * outputs..][..outputs]);
                        for ((x, g), w) in image.iter_mut().zip(g.chunks_exact(multiplier)).zip(w.chunks_exact(multiplier)) {
                            g.iter().zip(w).for_each(|(&g, &w)| *x += g * w);
                        }
                    },
                );
            }
        }
    });
}

fn backprop_filter<T: Element + Float + std::ops::AddAssign>(
    geometry: &Geometry,
    input: &[T],
    out_backprop: &[T],
    filter: &mut [T],
) {
    let (channels, outputs) = (geometry.in_channels, geometry.out_channels);
    let [_, height, width] = &geometry.axes;
    filter.fill(T::zero());
    if filter.is_empty() || out_backprop.is_empty() {
        return;
    }
    let (multiplier, image) = (outputs / channels, geometry.image());
    for row in 0..geometry.batch * height.output {
        let (batch, y) = (row / height.output, row % height.output);
        let input = &input[batch * image..][..image];
        let gradients = &out_backprop[row * width.output * outputs..][..width.output * outputs];
        pairs(
            geometry,
            y,
            #[inline(always)]
            |o, p, k| {
                let filter = &mut filter[k * outputs..][..outputs];
                let (x, g) = (&input[p * channels..][..channels], &gradients[o * outputs..][..outputs]);
                for ((w, g), &x) in filter.chunks_exact_mut(multiplier).zip(g.chunks_exact(multiplier)).zip(x) {
                    w.iter_mut().zip(g).for_each(|(w, &g)| *w += x * g);
                }
            },
        );
    }
}

/// One of the three functions above, for float or double.
macro_rules! run {
    ($function:ident, $geometry:expr, $a:expr, $b:expr, $dims:expr) => {
        in_float([$a, $b], |[a, b]| {
            let mut output = Tensor::uninit(a.dtype(), $dims)?;
            match a.dtype() {
                DType::Double => $function::<f64>($geometry, a.as_slice()?, b.as_slice()?, output.as_mut_slice()?),
                _ => $function::<f32>($geometry, a.as_slice()?, b.as_slice()?, output.as_mut_slice()?),
            }
            Ok(output)
        })
    };
}

fn prepare_forward(ctx: &PrepareCtx) -> Result<Prepared> {
    let attributes = Attributes::new(ctx.node)?;
    Ok(Box::new(move |ctx: &mut KernelCtx| {
        let (input, filter) = (ctx.take(0)?, ctx.take(1)?);
        let geometry = attributes.depthwise(input.dims(), filter.dims())?;
        let dims = attributes.layout.channels_last(&attributes.output_dims(&geometry));
        let input = attributes.layout.to_channels_last(input)?;
        let output = run!(forward, &geometry, input, filter, &dims)?;
        ctx.set(0, attributes.layout.to_own(output)?)
    }))
}

fn prepare_backprop_input(ctx: &PrepareCtx) -> Result<Prepared> {
    let attributes = Attributes::new(ctx.node)?;
    Ok(Box::new(move |ctx: &mut KernelCtx| {
        let dims = sizes_at(ctx, 0, &attributes, false)?;
        let (filter, out_backprop) = (ctx.take(1)?, ctx.take(2)?);
        let geometry = attributes.depthwise(&dims, filter.dims())?;
        attributes.check_out_backprop(&geometry, &out_backprop)?;
        let out_backprop = attributes.layout.to_channels_last(out_backprop)?;
        let output = run!(backprop_input, &geometry, filter, out_backprop, &attributes.layout.channels_last(&dims))?;
        ctx.set(0, attributes.layout.to_own(output)?)
    }))
}

fn prepare_backprop_filter(ctx: &PrepareCtx) -> Result<Prepared> {
    let attributes = Attributes::new(ctx.node)?;
    Ok(Box::new(move |ctx: &mut KernelCtx| {
        let dims = sizes_at(ctx, 1, &attributes, false)?;
        let (input, out_backprop) = (ctx.take(0)?, ctx.take(2)?);
        let geometry = attributes.depthwise(input.dims(), &dims)?;
        attributes.check_out_backprop(&geometry, &out_backprop)?;
        let input = attributes.layout.to_channels_last(input)?;
        let out_backprop = attributes.layout.to_channels_last(out_backprop)?;
        let output = run!(backprop_filter, &geometry, input, out_backprop, &dims)?;
        ctx.set(0, output)
    }))
}
