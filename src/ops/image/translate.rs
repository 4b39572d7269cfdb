//! Images scaled and moved, sampled with a kernel.

use super::{image_dims, size_input, sized_shape};
use crate::error::{Result, bail};
use crate::graph::gradient::{Gradient, Grads};
use crate::graph::op::{Grad, Kernel, KernelCtx, Op};
use crate::graph::{Graph, Operation};
use crate::tensor::{DType, Shape, Tensor, dispatch};
use num_traits::AsPrimitive;
use std::f32::consts::PI;

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "ScaleAndTranslate",
        ins: &["images: T", "size: int32", "scale: float", "translation: float"],
        outs: &["resized_images: float"],
        attrs: &[
            "T: {int8, uint8, int16, uint16, int32, int64, bfloat16, half, float, double}",
            "kernel_type: string = 'lanczos3'",
            "antialias: bool = true",
        ],
        shape: |ctx| {
            let images = ctx.input(0).with_rank(4)?;
            ctx.input(2).merge(&Shape::known(&[2]))?;
            ctx.input(3).merge(&Shape::known(&[2]))?;
            let shape = sized_shape(ctx, images.dim(0), 1, images.dim(3))?;
            ctx.set(0, shape)
        },
        kernel: Kernel::Pure(forward),
        grad: Grad::Fn(gradient),
        rows: &[
            "kernel_type='triangle'; f32[[[[1] [2] [3] [4]]]], i32[1 2], f32[1 0.5], f32[0 0] => f32[[[[1.7142859] [3.2857146]]]]",
            "kernel_type='box', antialias=false; u8[[[[1] [2]]]], i32[1 4], f32[1 2], f32[0 1] => f32[[[[0] [1] [1] [2]]]]",
        ],
    },
    Op {
        name: "ScaleAndTranslateGrad",
        ins: &["grads: T", "original_image: T", "scale: float", "translation: float"],
        outs: &["output: T"],
        attrs: &["T: {float}", "kernel_type: string = 'lanczos3'", "antialias: bool = true"],
        shape: |ctx| ctx.set(0, ctx.input(1)),
        kernel: Kernel::Pure(backward),
        grad: Grad::Missing,
        rows: &["kernel_type='box', antialias=false; f32[[[[5] [1] [2] [4]]]], f32[[[[1] [2]]]], f32[1 2], f32[0 1] \
             => f32[[[[3] [4]]]]"],
    },
];

/// How much a pixel counts by its distance from the place that is sampled.
#[derive(Clone, Copy)]
enum Sampling {
    Lanczos(f32),
    Gaussian,
    Box,
    Triangle,
    KeysCubic,
    MitchellCubic,
}

impl Sampling {
    fn new(name: &str) -> Result<Sampling> {
        Ok(match name {
            "lanczos1" => Sampling::Lanczos(1.0),
            "lanczos3" => Sampling::Lanczos(3.0),
            "lanczos5" => Sampling::Lanczos(5.0),
            "gaussian" => Sampling::Gaussian,
            "box" => Sampling::Box,
            "triangle" => Sampling::Triangle,
            "keyscubic" => Sampling::KeysCubic,
            "mitchellcubic" => Sampling::MitchellCubic,
            _ => bail!(InvalidArgument, "Unrecognized kernel type: {name}"),
        })
    }

    fn radius(self) -> f32 {
        match self {
            Sampling::Lanczos(radius) => radius,
            Sampling::Gaussian => 1.5,
            Sampling::Box => 1.0,
            Sampling::Triangle => 1.0,
            Sampling::KeysCubic | Sampling::MitchellCubic => 2.0,
        }
    }

    fn weight(self, x: f32) -> f32 {
        match self {
            Sampling::Lanczos(radius) => {
                if x > radius {
                    0.0
                } else if x <= 1e-3 {
                    1.0
                } else {
                    radius * (PI * x).sin() * (PI * x / radius).sin() / (PI * PI * x * x)
                }
            }
            Sampling::Gaussian => {
                const SIGMA: f32 = 0.5;
                if x >= 1.5 { 0.0 } else { (-x * x / (2.0 * SIGMA * SIGMA)).exp() }
            }
            Sampling::Box => match x {
                x if x < 0.5 => 1.0,
                0.5 => 0.5,
                _ => 0.0,
            },
            Sampling::Triangle => (1.0 - x).max(0.0),
            Sampling::KeysCubic => {
                if x >= 2.0 {
                    0.0
                } else if x >= 1.0 {
                    ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
                } else {
                    ((1.5 * x - 2.5) * x) * x + 1.0
                }
            }
            Sampling::MitchellCubic => {
                if x >= 2.0 {
                    0.0
                } else if x >= 1.0 {
                    (((-7.0 / 18.0) * x + 2.0) * x - 10.0 / 3.0) * x + 16.0 / 9.0
                } else {
                    (((7.0 / 6.0) * x - 2.0) * x) * x + 8.0 / 9.0
                }
            }
        }
    }
}

/// The pixels of which each output is made: the first one, and the weights from there on. There are none where the place
/// lies outside the image.
type Spans = Vec<(usize, Vec<f32>)>;

fn spans(sampling: Sampling, output: usize, input: usize, scale: f32, translation: f32, antialias: bool) -> Spans {
    let inverse = (1.0 / f64::from(scale)) as f32;
    let shift = -inverse * translation;
    let kernel_scale = if antialias { inverse.max(1.0) } else { 1.0 };
    let reach = sampling.radius() * kernel_scale;
    let one_over = 1.0 / kernel_scale;
    let span = |x: usize| {
        let at = (x as f32 + 0.5) * inverse + shift;
        if !(at >= 0.0 && at <= input as f32) {
            return (0, Vec::new());
        }
        let last = input as i64 - 1;
        let start = ((at - reach - 0.5).ceil() as i64).clamp(0, last) as usize;
        let end = ((at + reach - 0.5).floor() as i64).clamp(0, last) as usize + 1;
        let mut weights: Vec<f32> =
            (start..end).map(|source| sampling.weight(((source as f32 + 0.5 - at) * one_over).abs())).collect();
        let sum: f32 = weights.iter().sum();
        if sum.abs() >= 1000.0 * f32::MIN_POSITIVE {
            weights.iter_mut().for_each(|w| *w *= 1.0 / sum);
        } else {
            weights.fill(0.0);
        }
        (start, weights)
    };
    (0..output).map(span).collect()
}

/// Spans the other way round: the outputs to which each pixel contributes.
fn transposed(spans: &Spans, input: usize) -> Spans {
    let mut back: Spans = vec![(0, Vec::new()); input];
    for (output, (start, weights)) in spans.iter().enumerate() {
        for (offset, &weight) in weights.iter().enumerate() {
            if weight != 0.0 {
                let (first, to) = &mut back[start + offset];
                if to.is_empty() {
                    *first = output;
                }
                to.resize(output - *first + 1, 0.0);
                to[output - *first] += weight;
            }
        }
    }
    back
}

/// Rows and then columns, each a weighted sum of the input's.
fn sample(input: &[f32], dims: [usize; 4], rows: &Spans, columns: &Spans) -> Vec<f32> {
    let [batch, height, width, channels] = dims;
    let mut output = Vec::with_capacity(batch * rows.len() * columns.len() * channels);
    let line = width * channels;
    let mut mixed = vec![0f32; line];
    for image in 0..batch {
        for (start, weights) in rows {
            mixed.fill(0.0);
            for (offset, &weight) in weights.iter().enumerate() {
                let from = &input[(image * height + start + offset) * line..][..line];
                mixed.iter_mut().zip(from).for_each(|(to, from)| *to += from * weight);
            }
            for (start, weights) in columns {
                let at = output.len();
                output.resize(at + channels, 0.0);
                for (offset, &weight) in weights.iter().enumerate() {
                    let from = &mixed[(start + offset) * channels..][..channels];
                    output[at..].iter_mut().zip(from).for_each(|(to, from)| *to += from * weight);
                }
            }
        }
    }
    output
}

fn pair(ctx: &KernelCtx, index: usize) -> Result<[f32; 2]> {
    let values = ctx.input(index)?;
    match (values.rank(), values.as_slice::<f32>()?) {
        (1, &[y, x]) => Ok([y, x]),
        _ => bail!(InvalidArgument, "t must be 1-dimensional and have two elements, got shape {:?}", values.dims()),
    }
}

/// The scale and translation of rows and columns.
fn movement(ctx: &KernelCtx) -> Result<([f32; 2], [f32; 2])> {
    let (scale, translation) = (pair(ctx, 2)?, pair(ctx, 3)?);
    if !(scale[0] > 0.0 && scale[1] > 0.0) {
        bail!(InvalidArgument, "Scale must be greater than zero.");
    }
    Ok((scale, translation))
}

fn check_image(height: usize, width: usize, channels: usize) -> Result<()> {
    if channels == 0 {
        bail!(InvalidArgument, "image must have at least one channel");
    }
    if height == 0 || width == 0 {
        bail!(InvalidArgument, "input image must be of non-zero size");
    }
    Ok(())
}

fn forward(ctx: &mut KernelCtx) -> Result<()> {
    let input = ctx.input(0)?;
    let dims = image_dims(input, "input")?;
    let [batch, height, width, channels] = dims;
    let [new_height, new_width] = size_input(ctx, 1, "output_shape_t")?;
    if new_height <= 0 || new_width <= 0 {
        bail!(InvalidArgument, "output dimensions must be positive");
    }
    check_image(height, width, channels)?;
    let (scale, translation) = movement(ctx)?;
    let (sampling, antialias) = (Sampling::new(ctx.node().string("kernel_type")?)?, ctx.node().boolean("antialias")?);
    let (new_height, new_width) = (new_height as usize, new_width as usize);
    let output_dims = [batch, new_height, new_width, channels];
    if batch == 0 {
        return ctx.set(0, Tensor::zeros(DType::Float, &output_dims)?);
    }
    crate::tensor::element_count(&output_dims)?;
    let rows = spans(sampling, new_height, height, scale[0], translation[0], antialias);
    let columns = spans(sampling, new_width, width, scale[1], translation[1], antialias);
    let values: Vec<f32> = dispatch!(input.dtype(), real, T => input.as_slice::<T>()?.iter().map(|&v| v.as_()).collect());
    let output = Tensor::new(&output_dims, sample(&values, dims, &rows, &columns))?;
    ctx.set(0, output)
}

fn backward(ctx: &mut KernelCtx) -> Result<()> {
    let grads = ctx.input(0)?;
    let dims = image_dims(grads, "input_grad")?;
    let original = image_dims(ctx.input(1)?, "original_image")?;
    let [batch, height, width, channels] = original;
    check_image(height, width, channels)?;
    if dims[0] != batch || dims[3] != channels {
        bail!(InvalidArgument, "grads and original_image differ in batch or channels: {dims:?}, {original:?}");
    }
    let (scale, translation) = movement(ctx)?;
    let (sampling, antialias) = (Sampling::new(ctx.node().string("kernel_type")?)?, ctx.node().boolean("antialias")?);
    let rows = spans(sampling, dims[1], height, scale[0], translation[0], antialias);
    let columns = spans(sampling, dims[2], width, scale[1], translation[1], antialias);
    let values = sample(grads.as_slice::<f32>()?, dims, &transposed(&rows, height), &transposed(&columns, width));
    ctx.set(0, Tensor::new(&original, values)?)
}

fn gradient(g: &Graph, op: Operation, grads: &Grads) -> Result<Vec<Option<Gradient>>> {
    let inputs = g.inputs(op);
    let builder = g.op("ScaleAndTranslateGrad").input(grads.dense(g, 0)?).input(inputs[0]).input(inputs[2]).input(inputs[3]);
    let builder = builder.attr("kernel_type", g.get_attr(op, "kernel_type")?);
    let output = builder.attr("antialias", g.get_attr(op, "antialias")?).output()?;
    Ok(vec![Some(output.into()), None, None, None])
}
