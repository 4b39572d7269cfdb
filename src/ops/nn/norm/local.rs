//! Local response normalization: over neighbouring channels.

use crate::compute::pool::parallel_pieces;
use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, NodeInfo, Op};
use crate::ops::nn::gradients::norm as gradients;
use crate::ops::nn::wide::{Wide, lit};
use crate::tensor::{Tensor, dispatch};
use num_traits::{Float, Zero};

const ATTRS: &[&str] = &[
    "depth_radius: int = 5",
    "bias: float = 1.0",
    "alpha: float = 1.0",
    "beta: float = 0.5",
    "T: {half, bfloat16, float} = DT_FLOAT",
];

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "LRN",
        ins: &["input: T"],
        outs: &["output: T"],
        attrs: ATTRS,
        shape: images,
        kernel: Kernel::Pure(lrn),
        grad: Grad::Fn(gradients::lrn),
        rows: &["depth_radius=1, bias=0, beta=0.5; f32[[[[3 4 0 5]]]] => f32[[[[0.6 0.8 0 1]]]]"],
    },
    Op {
        name: "LRNGrad",
        ins: &["input_grads: T", "input_image: T", "output_image: T"],
        outs: &["output: T"],
        attrs: ATTRS,
        shape: merged_images,
        kernel: Kernel::Pure(lrn_grad),
        grad: Grad::Missing,
        rows: &["depth_radius=0, bias=1, alpha=0; f32[[[[3 4]]]], f32[[[[1 2]]]], f32[[[[1 2]]]] => f32[[[[3 4]]]]"],
    },
];

fn images(ctx: &mut InferCtx) -> Result<()> {
    let shape = ctx.input(0).with_rank(4)?;
    ctx.set(0, shape)
}

fn merged_images(ctx: &mut InferCtx) -> Result<()> {
    let shape = ctx.input(0).merge(&ctx.input(1))?.merge(&ctx.input(2))?.with_rank(4)?;
    ctx.set(0, shape)
}

struct Parameters<F> {
    radius: usize,
    bias: F,
    alpha: F,
    beta: F,
}

impl<F: Float> Parameters<F> {
    fn new(node: &NodeInfo) -> Result<Parameters<F>> {
        let Ok(radius) = usize::try_from(node.int("depth_radius")?) else {
            bail!(InvalidArgument, "depth_radius = {} must be at least 0", node.int("depth_radius")?);
        };
        let float = |name| node.float(name).map(|v| lit(v.into()));
        Ok(Parameters { radius, bias: float("bias")?, alpha: float("alpha")?, beta: float("beta")? })
    }

    /// The channels next to one.
    fn around(&self, channel: usize, channels: usize) -> std::ops::Range<usize> {
        channel.saturating_sub(self.radius)..channel.saturating_add(self.radius).saturating_add(1).min(channels)
    }

    /// The sums of squares around each channel, scaled.
    fn norms<T: Wide<Wide = F>>(&self, row: &[T]) -> Vec<F>
    where
        F: std::iter::Sum,
    {
        let norm = |c| self.bias + self.alpha * row[self.around(c, row.len())].iter().map(|x| x.widen() * x.widen()).sum::<F>();
        (0..row.len()).map(norm).collect()
    }
}

fn check(image: &Tensor) -> Result<usize> {
    match *image.dims() {
        [_, _, _, channels] => Ok(channels.max(1)),
        _ => bail!(InvalidArgument, "in must be 4-dimensional, got {:?}", image.dims()),
    }
}

fn lrn(ctx: &mut KernelCtx) -> Result<()> {
    let input = ctx.take(0)?;
    let channels = check(&input)?;
    let mut output = Tensor::uninit(input.dtype(), input.dims())?;
    dispatch!(input.dtype(), floats, T => {
        let parameters = Parameters::new(ctx.node())?;
        let input = input.as_slice::<T>()?;
        parallel_pieces(output.as_mut_slice::<T>()?, channels, 64, |first, piece| {
            lrn_rows::<T>(&parameters, channels, &input[first * channels..][..piece.len()], piece);
        });
    });
    ctx.set(0, output)
}

fn lrn_rows<T: Wide>(parameters: &Parameters<T::Wide>, channels: usize, input: &[T], output: &mut [T]) {
    for (x, y) in input.chunks_exact(channels).zip(output.chunks_exact_mut(channels)) {
        for ((y, &x), norm) in y.iter_mut().zip(x).zip(parameters.norms(x)) {
            *y = T::narrow(x.widen() * norm.powf(-parameters.beta));
        }
    }
}

fn lrn_grad(ctx: &mut KernelCtx) -> Result<()> {
    let (gradient, image, result) = (ctx.take(0)?, ctx.take(1)?, ctx.take(2)?);
    let channels = check(&gradient)?;
    if gradient.dims() != image.dims() || image.dims() != result.dims() {
        bail!(
            InvalidArgument,
            "input_grads, input_image, and out_image should have the same shape, got {:?}, {:?}, {:?}",
            gradient.dims(),
            image.dims(),
            result.dims()
        );
    }
    let mut output = Tensor::uninit(image.dtype(), image.dims())?;
    dispatch!(image.dtype(), floats, T => {
        let parameters = Parameters::new(ctx.node())?;
        let rows = gradient.as_slice::<T>()?.chunks_exact(channels).zip(image.as_slice::<T>()?.chunks_exact(channels));
        let rows = rows.zip(result.as_slice::<T>()?.chunks_exact(channels));
        for (((g, x), y), out) in rows.zip(output.as_mut_slice::<T>()?.chunks_exact_mut(channels)) {
            lrn_grad_row(&parameters, g, x, y, out);
        }
    });
    ctx.set(0, output)
}

fn lrn_grad_row<T: Wide>(parameters: &Parameters<T::Wide>, gradient: &[T], image: &[T], result: &[T], out: &mut [T]) {
    let mut sums = vec![T::Wide::zero(); image.len()];
    let two: T::Wide = lit(-2.0);
    for (channel, norm) in parameters.norms(image).into_iter().enumerate() {
        let gradient = gradient[channel].widen();
        let slope = two * parameters.alpha * parameters.beta * result[channel].widen() / norm;
        for near in parameters.around(channel, image.len()) {
            let mut change = slope * image[near].widen();
            if near == channel {
                change += norm.powf(-parameters.beta);
            }
            sums[near] += change * gradient;
        }
    }
    out.iter_mut().zip(sums).for_each(|(out, sum)| *out = T::narrow(sum));
}
