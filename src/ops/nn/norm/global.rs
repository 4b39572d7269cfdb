//! Batch normalization with given statistics, of the first graph versions.

use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::ops::nn::gradients::norm as gradients;
use crate::ops::nn::wide::{Wide, lit};
use crate::tensor::{Shape, Tensor, dispatch};
use num_traits::{Float, Zero};

const ATTRS: &[&str] = &[
    "T: {float, double, int32, uint8, int16, int8, complex64, int64, qint8, quint8, qint32, bfloat16, qint16, quint16, \
     uint16, complex128, half, uint32, uint64}",
    "variance_epsilon: float",
    "scale_after_normalization: bool",
];

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "BatchNormWithGlobalNormalization",
        ins: &["t: T", "m: T", "v: T", "beta: T", "gamma: T"],
        outs: &["result: T"],
        attrs: ATTRS,
        shape: forward_shape,
        kernel: Kernel::Pure(forward),
        grad: Grad::Fn(gradients::global),
        rows: &[
            "variance_epsilon=0, scale_after_normalization=true; f32[[[[3 5]]]], f32[1 1], f32[4 1], f32[10 20], f32[2 3] => f32[[[[12 32]]]]",
            "variance_epsilon=0, scale_after_normalization=false; f64[[[[3 5]]]], f64[1 1], f64[4 1], f64[10 20], f64[2 3] => f64[[[[11 24]]]]",
        ],
    },
    Op {
        name: "BatchNormWithGlobalNormalizationGrad",
        ins: &["t: T", "m: T", "v: T", "gamma: T", "backprop: T"],
        outs: &["dx: T", "dm: T", "dv: T", "db: T", "dg: T"],
        attrs: ATTRS,
        shape: backward_shape,
        kernel: Kernel::Pure(backward),
        grad: Grad::Missing,
        rows: &[
            "variance_epsilon=0, scale_after_normalization=true; f32[[[[3]] [[5]]]], f32[1], f32[4], f32[2], f32[[[[1]] [[2]]]] \
             => f32[[[[1]] [[2]]]], f32[-3], f32[-1.25], f32[3], f32[5]",
        ],
    },
];

fn merged(ctx: &InferCtx, parameters: &[usize]) -> Result<(Shape, Shape)> {
    let input = ctx.input(0).with_rank(4)?;
    let mut channels = Shape::from([input.dim(3)]);
    for &parameter in parameters {
        channels = channels.merge(&ctx.input(parameter).with_rank(1)?)?;
    }
    Ok((input.with_dim(3, channels.dim(0)), channels))
}

fn forward_shape(ctx: &mut InferCtx) -> Result<()> {
    let (shape, _) = merged(ctx, &[1, 2, 3, 4])?;
    ctx.set(0, shape)
}

fn backward_shape(ctx: &mut InferCtx) -> Result<()> {
    let (shape, channels) = merged(ctx, &[1, 2, 3])?;
    let shape = shape.merge(&ctx.input(4))?;
    ctx.set(0, shape)?;
    for output in 1..5 {
        ctx.set(output, channels.clone())?;
    }
    Ok(())
}

/// Checks the shapes and returns the number of channels.
fn check(ctx: &KernelCtx, parameters: &[usize]) -> Result<usize> {
    let dims = ctx.input(0)?.dims();
    let &[_, _, _, channels] = dims else { bail!(InvalidArgument, "input must be 4-dimensional, got {dims:?}") };
    for &parameter in parameters {
        if ctx.input(parameter)?.dims() != [channels] {
            bail!(
                InvalidArgument,
                "{}: input {parameter} must have one element a channel, [{channels}], got {:?}",
                ctx.node().op,
                ctx.input(parameter)?.dims()
            );
        }
    }
    Ok(channels)
}

/// The inverse of the standard deviation of each channel.
fn deviations<T: Wide>(variance: &[T], epsilon: f32) -> Vec<T::Wide> {
    let epsilon: T::Wide = lit(epsilon.into());
    variance.iter().map(|v| (v.widen() + epsilon).sqrt().recip()).collect()
}

fn forward(ctx: &mut KernelCtx) -> Result<()> {
    let channels = check(ctx, &[1, 2, 3, 4])?;
    let (epsilon, scaled) = (ctx.node().float("variance_epsilon")?, ctx.node().boolean("scale_after_normalization")?);
    let mut output = ctx.take(0)?;
    dispatch!(output.dtype(), floats, T => {
        let [mean, variance, beta, gamma] = [1, 2, 3, 4].map(|i| ctx.input(i).and_then(|t| t.as_slice::<T>()));
        let (mean, beta, gamma) = (mean?, beta?, gamma?);
        let mut factors = deviations(variance?, epsilon);
        if scaled {
            factors.iter_mut().zip(gamma).for_each(|(f, g)| *f *= g.widen());
        }
        for row in output.as_mut_slice::<T>()?.chunks_exact_mut(channels.max(1)) {
            for c in 0..channels {
                row[c] = T::narrow((row[c].widen() - mean[c].widen()) * factors[c] + beta[c].widen());
            }
        }
    });
    ctx.set(0, output)
}

fn backward(ctx: &mut KernelCtx) -> Result<()> {
    check(ctx, &[1, 2, 3])?;
    if ctx.input(4)?.dims() != ctx.input(0)?.dims() {
        bail!(
            InvalidArgument,
            "backprop must have the shape of the input, {:?}, got {:?}",
            ctx.input(0)?.dims(),
            ctx.input(4)?.dims()
        );
    }
    let (epsilon, scaled) = (ctx.node().float("variance_epsilon")?, ctx.node().boolean("scale_after_normalization")?);
    let outputs = dispatch!(ctx.input(0)?.dtype(), floats, T => backward_of::<T>(ctx, epsilon, scaled)?);
    for (index, output) in outputs.into_iter().enumerate() {
        ctx.set(index, output)?;
    }
    Ok(())
}

fn backward_of<T: Wide>(ctx: &KernelCtx, epsilon: f32, scaled: bool) -> Result<[Tensor; 5]> {
    let input = ctx.input(0)?;
    let [x, mean, variance, gamma, gradient] = [0, 1, 2, 3, 4].map(|i| ctx.input(i).and_then(|t| t.as_slice::<T>()));
    let (x, mean, variance, gamma, gradient) = (x?, mean?, variance?, gamma?, gradient?);
    let channels = mean.len();
    let deviation = deviations(variance, epsilon);
    let one: T::Wide = lit(1.0);
    let scale: Vec<T::Wide> = gamma.iter().map(|g| if scaled { g.widen() } else { one }).collect();
    let (mut sums, mut products) = (vec![T::Wide::zero(); channels], vec![T::Wide::zero(); channels]);
    let mut dx = Vec::with_capacity(x.len());
    for (x, g) in x.chunks_exact(channels.max(1)).zip(gradient.chunks_exact(channels.max(1))) {
        for c in 0..channels {
            let g = g[c].widen();
            sums[c] += g;
            products[c] += g * (x[c].widen() - mean[c].widen());
            dx.push(T::narrow(g * deviation[c] * scale[c]));
        }
    }
    let vector = |value: &dyn Fn(usize) -> T::Wide| Tensor::from((0..channels).map(|c| T::narrow(value(c))).collect::<Vec<T>>());
    let cube = |c: usize| deviation[c] * deviation[c] * deviation[c];
    Ok([
        Tensor::new(input.dims(), dx)?,
        vector(&|c| -sums[c] * deviation[c] * scale[c]),
        vector(&|c| products[c] * cube(c) * lit(-0.5) * scale[c]),
        vector(&|c| sums[c]),
        vector(&|c| if scaled { products[c] * deviation[c] } else { T::Wide::zero() }),
    ])
}
