//! Glimpses: windows of images around given places, with noise where they reach beyond the image.

use super::{image_dims, size_input, sized_shape};
use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, NodeInfo, Op};
use crate::graph::{Graph, Output};
use crate::ops::convert::Arg;
use crate::random::{PhiloxRandom, SimplePhilox, random_u64};
use crate::tensor::{DType, Shape, Tensor};

const ATTRS: &[&str] =
    &["centered: bool = true", "normalized: bool = true", "uniform_noise: bool = true", "noise: string = 'uniform'"];

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "ExtractGlimpse",
        ins: &["input: float", "size: int32", "offsets: float"],
        outs: &["glimpse: float"],
        attrs: ATTRS,
        shape,
        kernel: Kernel::Pure(|ctx| extract(ctx, true)),
        grad: Grad::None("no gradient is defined"),
        rows: &[
            "uniform_noise=false, noise='zero'; f32[[[[1] [2]] [[3] [4]]]], i32[2 2], f32[[0 0]] => f32[[[[1] [2]] [[3] [4]]]]",
            "uniform_noise=false, noise='zero', centered=false, normalized=false; f32[[[[1] [2]] [[3] [4]]]], i32[2 2], f32[[0 1]] \
             => f32[[[[0] [0]] [[1] [2]]]]",
        ],
    },
    Op {
        name: "ExtractGlimpseV2",
        ins: &["input: float", "size: int32", "offsets: float"],
        outs: &["glimpse: float"],
        attrs: ATTRS,
        shape,
        kernel: Kernel::Pure(|ctx| extract(ctx, false)),
        grad: Grad::Missing,
        rows: &[
            "uniform_noise=false, noise='zero', centered=false, normalized=false; f32[[[[1] [2]] [[3] [4]]]], i32[2 1], f32[[0 1]] \
             => f32[[[[2]] [[4]]]]",
        ],
    },
];

fn shape(ctx: &mut InferCtx) -> Result<()> {
    let (input, offsets) = (ctx.input(0).with_rank(4)?, ctx.input(2).merge(&Shape::matrix(None, Some(2)))?);
    let batch = Shape::vector(input.dim(0)).merge(&Shape::vector(offsets.dim(0)))?.dim(0);
    let shape = sized_shape(ctx, batch, 1, input.dim(3))?;
    ctx.set(0, shape)
}

enum Noise {
    Zero,
    Uniform,
    Gaussian,
}

impl Noise {
    fn new(node: &NodeInfo) -> Result<Noise> {
        let uniform = node.boolean("uniform_noise")?;
        let noise = node.string("noise")?;
        if uniform && !["", "uniform"].contains(&noise) {
            bail!(InvalidArgument, "The uniform_noise and noise should not be specified at the same time");
        }
        Ok(match noise {
            "" if !uniform => Noise::Gaussian,
            "" | "uniform" => Noise::Uniform,
            "gaussian" => Noise::Gaussian,
            "zero" => Noise::Zero,
            _ => bail!(InvalidArgument, "Unknown noise: {noise}, it should be one of: [uniform, gaussian, zero]"),
        })
    }

    /// Fills a glimpse with values like those of the image.
    fn fill(&self, image: &[f32], to: &mut [f32]) {
        let mut random = SimplePhilox::new(PhiloxRandom::new(random_u64(), random_u64()));
        match self {
            Noise::Zero => to.fill(0.0),
            Noise::Uniform => {
                let (least, most) = image.iter().fold((f32::MAX, f32::MIN), |(l, m), &v| (l.min(v), m.max(v)));
                to.iter_mut().for_each(|v| *v = least + (most - least) * random.rand_float());
            }
            Noise::Gaussian => {
                let count = image.len().max(1) as f32;
                let mean = image.iter().sum::<f32>() / count;
                let deviation = (image.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>() / count).sqrt();
                for v in to {
                    let radius = (-2.0 * (1.0 - random.rand_double()).ln()).sqrt();
                    let normal = radius * (2.0 * std::f64::consts::PI * random.rand_double()).cos();
                    *v = mean + deviation * normal as f32;
                }
            }
        }
    }
}

/// Where a glimpse begins along one side.
fn begin(offset: f32, size: usize, window: usize, node: (bool, bool), first_version: bool) -> i64 {
    let (centered, normalized) = node;
    let (size, half) = (size as f32, window as f32 / 2.0);
    let place = if first_version {
        let place = if normalized { offset * size } else { offset };
        let place = if centered { place / 2.0 + size / 2.0 } else { place };
        place - half
    } else {
        match (normalized, centered) {
            (true, true) => offset * size / 2.0 + size / 2.0 - half,
            (true, false) => offset * size,
            (false, true) => offset + size / 2.0,
            (false, false) => offset,
        }
    };
    place as i64
}

/// Where a window of this length, placed at `begin`, overlaps an image: the first place in the window and in the image, and
/// how long.
fn common(begin: i64, window: usize, size: usize) -> (usize, usize, usize) {
    let end = begin.saturating_add(window as i64).min(size as i64);
    let start = begin.max(0);
    match usize::try_from(end - start) {
        Ok(length) if length > 0 => ((start - begin) as usize, start as usize, length),
        _ => (0, 0, 0),
    }
}

fn extract(ctx: &mut KernelCtx, first_version: bool) -> Result<()> {
    let node = ctx.node();
    let input = ctx.input(0)?;
    if input.rank() != 4 {
        bail!(InvalidArgument, "input must be 4-dimensional (batch_size, height, width, depth){:?}", input.dims());
    }
    let [batch, height, width, depth] = image_dims(input, "input")?;
    if ctx.input(1)?.dims() != [2] {
        bail!(InvalidArgument, "input must be a vector of size 2 (height, width){:?}", ctx.input(1)?.dims());
    }
    let window = size_input(ctx, 1, "size")?;
    let [Ok(tall), Ok(wide)] = window.map(usize::try_from) else {
        bail!(InvalidArgument, "the size of a glimpse must not be negative, got {window:?}");
    };
    let offsets = ctx.input(2)?;
    if offsets.dims() != [batch, 2] {
        bail!(
            InvalidArgument,
            "offsets must be a matrix of one row (y, x) for each of {batch} images, got shape {:?}",
            offsets.dims()
        );
    }
    let noise = Noise::new(node)?;
    let places = (node.boolean("centered")?, node.boolean("normalized")?);
    let mut output = Tensor::zeros(DType::Float, &[batch, tall, wide, depth])?;
    if output.is_empty() {
        return ctx.set(0, output);
    }
    let (values, offsets) = (input.as_slice::<f32>()?, offsets.as_slice::<f32>()?.as_chunks::<2>().0);
    let size = height * width * depth;
    for (image, to) in output.as_mut_slice::<f32>()?.chunks_exact_mut(tall * wide * depth).enumerate() {
        let (from, [y, x]) = (&values[image * size..][..size], offsets[image]);
        let rows = common(begin(y, height, tall, places, first_version), tall, height);
        let columns = common(begin(x, width, wide, places, first_version), wide, width);
        if rows.2 < tall || columns.2 < wide {
            noise.fill(from, to);
        }
        for row in 0..rows.2 {
            let at = ((rows.1 + row) * width + columns.1) * depth;
            let start = ((rows.0 + row) * wide + columns.0) * depth;
            let length = columns.2 * depth;
            to[start..start + length].copy_from_slice(&from[at..at + length]);
        }
    }
    ctx.set(0, output)
}

impl Graph {
    /// Windows of images around places `[batch, 2]` (`tf.image.extract_glimpse`), with uniform noise where they reach beyond
    /// the image.
    ///
    /// # Errors
    /// `InvalidArgument` for inputs of other ranks.
    pub fn extract_glimpse(
        &self,
        input: impl Into<Arg>,
        size: impl Into<Arg>,
        offsets: impl Into<Arg>,
        centered: bool,
        normalized: bool,
    ) -> Result<Output> {
        let call = self.call("ExtractGlimpse").arg(input).arg(size).arg(offsets);
        let call = call.attr("centered", centered).attr("normalized", normalized);
        call.attr("uniform_noise", true).attr("noise", "uniform").output()
    }
}
