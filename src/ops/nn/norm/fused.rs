//! Batch normalization in one op.

use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, NodeInfo, Op, PrepareCtx, Prepared};
use crate::ops::nn::gradients::norm as gradients;
use crate::ops::nn::window::Layout;
use crate::tensor::{DType, Shape, Tensor};

const EPSILON: &str = "epsilon: float = 9.999999747378752e-05";
const FACTOR: &str = "exponential_avg_factor: float = 1.0";
const FORMAT: &str = "data_format: {'NHWC', 'NCHW'} = 'NHWC'";
const ANY_FORMAT: &str = "data_format: {'NHWC', 'NCHW', 'NDHWC', 'NCDHW'} = 'NHWC'";
const TRAINING: &str = "is_training: bool = true";
const FLOAT: &str = "T: {float}";
const NARROW: &str = "T: {half, bfloat16, float}";

/// The record of a forward op.
macro_rules! forward {
    ($name:literal, $parameters:literal, $outs:expr, $attrs:expr, $grad:expr, $rows:expr) => {
        Op {
            name: $name,
            ins: &[
                "x: T",
                concat!("scale: ", $parameters),
                concat!("offset: ", $parameters),
                concat!("mean: ", $parameters),
                concat!("variance: ", $parameters),
            ],
            outs: $outs,
            attrs: $attrs,
            shape: forward_shape,
            kernel: Kernel::PurePrepared(prepare_forward),
            grad: Grad::Fn($grad),
            rows: $rows,
        }
    };
}

/// The record of a backward op.
macro_rules! backward {
    ($name:literal, $ins:expr, $outs:expr, $attrs:expr, $rows:expr) => {
        Op {
            name: $name,
            ins: $ins,
            outs: $outs,
            attrs: $attrs,
            shape: backward_shape,
            kernel: Kernel::PurePrepared(prepare_backward),
            grad: Grad::Fn(gradients::fused_grad),
            rows: $rows,
        }
    };
}

pub(in crate::ops) static OPS: &[Op] = &[
    forward!(
        "FusedBatchNorm",
        "T",
        &["y: T", "batch_mean: T", "batch_variance: T", "reserve_space_1: T", "reserve_space_2: T"],
        &[FLOAT, EPSILON, FACTOR, FORMAT, TRAINING],
        gradients::fused,
        &["epsilon=0; f32[[[[1 2]] [[3 6]]]], f32[1 2], f32[0 1], f32{0}[], f32{0}[] \
             => f32[[[[-1 -1]] [[1 3]]]], f32[2 4], f32[2 8], f32[2 4], f32[1 4]",]
    ),
    forward!(
        "FusedBatchNormV2",
        "U",
        &["y: T", "batch_mean: U", "batch_variance: U", "reserve_space_1: U", "reserve_space_2: U"],
        &[NARROW, "U: {float}", EPSILON, FACTOR, FORMAT, TRAINING],
        gradients::fused_v2,
        &[
            "epsilon=0, is_training=false; f16[[[[3 5]]]], f32[1 2], f32[0 1], f32[1 3], f32[4 1] => f16[[[[1 5]]]], f32[1 3], f32[4 1], _, _"
        ]
    ),
    forward!(
        "FusedBatchNormV3",
        "U",
        &["y: T", "batch_mean: U", "batch_variance: U", "reserve_space_1: U", "reserve_space_2: U", "reserve_space_3: U"],
        &[NARROW, "U: {bfloat16, float}", EPSILON, FACTOR, ANY_FORMAT, TRAINING],
        gradients::fused_v3,
        &[
            "epsilon=0, exponential_avg_factor=0.5, data_format='NCHW'; f32[[[[1 3]]]], f32[1], f32[0], f32[4], f32[4] \
             => f32[[[[-1 1]]]], f32[3], f32[3], f32[2], f32[1], f32 0",
            "f32{0,1,1,1}[], f32[1], f32[0], f32{0}[], f32{0}[] => f32{0,1,1,1}[], f32[NaN], f32[NaN], f32[NaN], f32[NaN], f32 0",
        ]
    ),
    backward!(
        "FusedBatchNormGrad",
        &["y_backprop: T", "x: T", "scale: T", "reserve_space_1: T", "reserve_space_2: T"],
        &["x_backprop: T", "scale_backprop: T", "offset_backprop: T", "reserve_space_3: T", "reserve_space_4: T"],
        &[FLOAT, EPSILON, FORMAT, TRAINING],
        &["epsilon=0; f32[[[[1]] [[2]] [[3]]]], f32[[[[0]] [[2]] [[4]]]], f32[1], f32[2], f32[4] \
             => f32[[[[-0.16666667]] [[0]] [[0.16666667]]]], f32[2], f32[6], f32{0}[], f32{0}[]",]
    ),
    backward!(
        "FusedBatchNormGradV2",
        &["y_backprop: T", "x: T", "scale: float", "reserve_space_1: U", "reserve_space_2: U"],
        &["x_backprop: T", "scale_backprop: U", "offset_backprop: U", "reserve_space_3: U", "reserve_space_4: U"],
        &[NARROW, "U: {float}", EPSILON, FORMAT, TRAINING],
        &["epsilon=0, is_training=false; f16[[[[1]] [[2]]]], f16[[[[1]] [[4]]]], f32[3], f32[2], f32[4] \
             => f16[[[[1.5]] [[3]]]], f32[1.5], f32[3], f32{0}[], f32{0}[]",]
    ),
    backward!(
        "FusedBatchNormGradV3",
        &["y_backprop: T", "x: T", "scale: float", "reserve_space_1: U", "reserve_space_2: U", "reserve_space_3: U"],
        &["x_backprop: T", "scale_backprop: U", "offset_backprop: U", "reserve_space_4: U", "reserve_space_5: U"],
        &[NARROW, "U: {float}", EPSILON, ANY_FORMAT, TRAINING],
        &["epsilon=0, data_format='NCHW'; f32[[[[1 2 3]]]], f32[[[[0 2 4]]]], f32[1], f32[2], f32[4], f32 0 \
             => f32[[[[-0.16666667 0 0.16666667]]]], f32[2], f32[6], f32{0}[], f32{0}[]",]
    ),
];

fn layout_of(name: &str) -> Result<(Layout, usize)> {
    let layout = Layout::from_name(name)?;
    Ok((layout, layout.rank()))
}

/// The input with its channels merged with the sizes of the parameters, and the channels.
fn merged(ctx: &InferCtx, x: usize, parameters: std::ops::Range<usize>) -> Result<(Shape, Shape)> {
    let (layout, rank) = layout_of(&ctx.string("data_format")?)?;
    let shape = ctx.input(x).with_rank(rank)?;
    let mut channels = Shape::from([shape.dim(layout.channel() as isize)]);
    for parameter in parameters {
        channels = channels.merge(&ctx.input(parameter).with_rank(1)?)?;
    }
    Ok((shape.with_dim(layout.channel() as isize, channels.dim(0)), channels))
}

fn forward_shape(ctx: &mut InferCtx) -> Result<()> {
    let parameters = if ctx.boolean("is_training")? { 1..3 } else { 1..5 };
    let (shape, channels) = merged(ctx, 0, parameters)?;
    ctx.set(0, shape)?;
    for output in 1..5 {
        ctx.set(output, channels.clone())?;
    }
    Ok(())
}

fn backward_shape(ctx: &mut InferCtx) -> Result<()> {
    let (gradient, _) = merged(ctx, 0, 0..0)?;
    let (x, _) = merged(ctx, 1, 2..5)?;
    let shape = gradient.merge(&x)?;
    let (layout, _) = layout_of(&ctx.string("data_format")?)?;
    let channels = Shape::from([shape.dim(layout.channel() as isize)]);
    ctx.set(0, shape)?;
    ctx.set(1, channels.clone())?;
    ctx.set(2, channels)?;
    ctx.set(3, Shape::from([0usize]))?;
    ctx.set(4, Shape::from([0usize]))
}

/// The attributes of both directions.
struct Attributes {
    op: &'static str,
    channels_first: bool,
    epsilon: f32,
    factor: f32,
    training: bool,
}

impl Attributes {
    fn new(node: &NodeInfo) -> Result<Attributes> {
        Ok(Attributes {
            op: node.op,
            channels_first: Layout::from_name(node.string("data_format")?)?.channels_first,
            epsilon: node.float("epsilon")?,
            factor: if node.attrs.contains_key("exponential_avg_factor") { node.float("exponential_avg_factor")? } else { 1.0 },
            training: node.boolean("is_training")?,
        })
    }

    /// The layout of a tensor of images or volumes.
    fn layout(&self, x: &Tensor) -> Result<Layout> {
        if x.rank() != 4 && x.rank() != 5 {
            bail!(InvalidArgument, "{}: input must be 4 or 5-dimensional, got {:?}", self.op, x.dims());
        }
        Ok(Layout { channels_first: self.channels_first, spatial: x.rank() - 2 })
    }

    /// A parameter of one value a channel, as floats.
    fn parameter(&self, tensor: &Tensor, name: &str, channels: usize) -> Result<Vec<f32>> {
        if tensor.rank() != 1 {
            bail!(InvalidArgument, "{}: {name} must be 1-dimensional, got {:?}", self.op, tensor.dims());
        }
        if tensor.len() != channels {
            bail!(InvalidArgument, "{}: {name} must have {channels} elements, one a channel, got {}", self.op, tensor.len());
        }
        as_floats(tensor)
    }
}

fn as_floats(tensor: &Tensor) -> Result<Vec<f32>> {
    match tensor.dtype() {
        DType::Float => Ok(tensor.as_slice::<f32>()?.to_vec()),
        DType::Bfloat16 => Ok(tensor.as_slice::<half::bf16>()?.iter().map(|x| x.to_f32()).collect()),
        DType::Half => Ok(tensor.as_slice::<half::f16>()?.iter().map(|x| x.to_f32()).collect()),
        other => bail!(InvalidArgument, "batch normalization in {other} is not supported"),
    }
}

fn from_floats(dtype: DType, dims: &[usize], values: Vec<f32>) -> Result<Tensor> {
    match dtype {
        DType::Bfloat16 => Tensor::new(dims, values.into_iter().map(half::bf16::from_f32).collect()),
        DType::Half => Tensor::new(dims, values.into_iter().map(half::f16::from_f32).collect()),
        _ => Tensor::new(dims, values),
    }
}

/// Sums over rows of channels of a function of channel and element.
fn channel_sums(values: &[f32], channels: usize, function: impl Fn(usize, f32) -> f32) -> Vec<f32> {
    const STRETCH: usize = 512;
    let mut totals = vec![0f64; channels];
    let mut sums = vec![0f32; channels];
    if channels == 0 {
        return sums;
    }
    // Sums of short stretches, so that rounding errors stay small.
    for stretch in values.chunks(STRETCH * channels) {
        sums.fill(0.0);
        for row in stretch.chunks_exact(channels) {
            for (channel, (sum, &x)) in sums.iter_mut().zip(row).enumerate() {
                *sum += function(channel, x);
            }
        }
        totals.iter_mut().zip(&sums).for_each(|(total, &sum)| *total += f64::from(sum));
    }
    totals.into_iter().map(|total| total as f32).collect()
}

fn prepare_forward(ctx: &PrepareCtx) -> Result<Prepared> {
    let attributes = Attributes::new(ctx.node)?;
    Ok(Box::new(move |ctx: &mut KernelCtx| forward(ctx, &attributes)))
}

fn forward(ctx: &mut KernelCtx, attributes: &Attributes) -> Result<()> {
    let x = ctx.take(0)?;
    let layout = attributes.layout(&x)?;
    let channels = x.dims()[layout.channel()];
    let parameter = |index: usize, name: &str| attributes.parameter(ctx.input(index)?, name, channels);
    let (scale, offset) = (parameter(1, "scale")?, parameter(2, "offset")?);
    let given = !attributes.training || attributes.factor != 1.0;
    let statistics = if given { Some((parameter(3, "mean")?, parameter(4, "variance")?)) } else { None };
    let parameter_type = ctx.input(1)?.dtype();
    let (x_type, dims) = (x.dtype(), layout.channels_last(x.dims()));
    let mut values = as_floats(&layout.to_channels_last(x)?)?;
    let count = values.len() / channels.max(1);

    let empty = values.is_empty();
    let (mean, variance, shown_mean, shown_variance);
    if empty {
        let nan = vec![f32::NAN; channels];
        (mean, variance, shown_mean, shown_variance) = (nan.clone(), nan.clone(), nan.clone(), nan);
    } else if attributes.training {
        let sums = channel_sums(&values, channels, |_, x| x);
        mean = sums.iter().map(|s| s / count as f32).collect::<Vec<f32>>();
        let squares = channel_sums(&values, channels, |c, x| (x - mean[c]) * (x - mean[c]));
        variance = squares.iter().map(|s| s / count as f32).collect::<Vec<f32>>();
        let correction = count as f32 / (count.max(2) - 1) as f32;
        let unbiased = variance.iter().map(|v| v * correction);
        (shown_mean, shown_variance) = match statistics {
            Some((old_mean, old_variance)) => {
                let factor = attributes.factor;
                let mix = |(old, new): (f32, f32)| (1.0 - factor) * old + factor * new;
                let means: Vec<f32> = old_mean.into_iter().zip(mean.iter().copied()).map(mix).collect();
                (means, old_variance.into_iter().zip(unbiased).map(mix).collect())
            }
            None => (mean.clone(), unbiased.collect()),
        };
    } else {
        (mean, variance) = statistics.unwrap_or_default();
        (shown_mean, shown_variance) = (mean.clone(), variance.clone());
    }

    let factors: Vec<f32> = variance.iter().zip(&scale).map(|(v, s)| s / (v + attributes.epsilon).sqrt()).collect();
    for row in values.chunks_exact_mut(channels.max(1)) {
        for (((x, m), f), o) in row.iter_mut().zip(&mean).zip(&factors).zip(&offset) {
            *x = (*x - m) * f + o;
        }
    }
    ctx.set(0, layout.to_own(from_floats(x_type, &dims, values)?)?)?;
    for (index, values) in [shown_mean, shown_variance, mean, variance].into_iter().enumerate() {
        ctx.set(index + 1, from_floats(parameter_type, &[channels], values)?)?;
    }
    if ctx.num_outputs() > 5 {
        ctx.set(5, Tensor::zeros(parameter_type, &[])?)?;
    }
    Ok(())
}

fn prepare_backward(ctx: &PrepareCtx) -> Result<Prepared> {
    let attributes = Attributes::new(ctx.node)?;
    Ok(Box::new(move |ctx: &mut KernelCtx| backward(ctx, &attributes)))
}

fn backward(ctx: &mut KernelCtx, attributes: &Attributes) -> Result<()> {
    let (gradient, x) = (ctx.take(0)?, ctx.take(1)?);
    let layout = attributes.layout(&x)?;
    if gradient.dims() != x.dims() {
        bail!(
            InvalidArgument,
            "{}: x and y_backprop must have same shape, but x has shape {:?} and y_backprop has shape {:?}",
            attributes.op,
            x.dims(),
            gradient.dims()
        );
    }
    let channels = x.dims()[layout.channel()];
    let parameter = |index: usize, name: &str| attributes.parameter(ctx.input(index)?, name, channels);
    let (scale, mean, variance) = (parameter(2, "scale")?, parameter(3, "reserve_space_1")?, parameter(4, "reserve_space_2")?);
    let (x_type, parameter_type) = (x.dtype(), ctx.input(3)?.dtype());
    let dims = layout.channels_last(x.dims());
    let x = as_floats(&layout.to_channels_last(x)?)?;
    let mut gradient = as_floats(&layout.to_channels_last(gradient)?)?;
    let count = (x.len() / channels.max(1)) as f32;

    let deviation: Vec<f32> = variance.iter().map(|v| 1.0 / (v + attributes.epsilon).sqrt()).collect();
    let offset_backprop = channel_sums(&gradient, channels, |_, g| g);
    let products: Vec<f32> = {
        let centred = gradient.chunks_exact(channels.max(1)).zip(x.chunks_exact(channels.max(1)));
        let product = |(g, x): (&[f32], &[f32])| g.iter().zip(x).zip(&mean).map(|((g, x), m)| g * (x - m)).collect::<Vec<f32>>();
        centred.flat_map(product).collect()
    };
    let sums = channel_sums(&products, channels, |_, p| p);
    let scaled = |(s, d): (&f32, &f32)| if x.is_empty() { 0.0 } else { s * d };
    let scale_backprop: Vec<f32> = sums.iter().zip(&deviation).map(scaled).collect();
    for (g, x) in gradient.chunks_exact_mut(channels.max(1)).zip(x.chunks_exact(channels.max(1))) {
        for c in 0..channels {
            let rest = match attributes.training {
                true => offset_backprop[c] / count + (x[c] - mean[c]) * deviation[c] * deviation[c] * sums[c] / count,
                false => 0.0,
            };
            g[c] = (g[c] - rest) * scale[c] * deviation[c];
        }
    }
    ctx.set(0, layout.to_own(from_floats(x_type, &dims, gradient)?)?)?;
    ctx.set(1, from_floats(parameter_type, &[channels], scale_backprop)?)?;
    ctx.set(2, from_floats(parameter_type, &[channels], offset_backprop)?)?;
    ctx.set(3, Tensor::zeros(parameter_type, &[0])?)?;
    ctx.set(4, Tensor::zeros(parameter_type, &[0])?)
}
