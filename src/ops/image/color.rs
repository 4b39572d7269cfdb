//! Contrast, hue, saturation, and colours as hue, saturation and value.

use crate::compute::pool::parallel_pieces;
use crate::error::{Result, bail};
use crate::graph::gradient::{Gradient, Grads};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::graph::{Graph, Operation, Output};
use crate::ops::Idx;
use crate::ops::convert::Arg;
use crate::ops::nn::{Wide, lit};
use crate::tensor::{DType, Shape, Tensor, dispatch};
use num_traits::{AsPrimitive, Float};

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "AdjustContrast",
        ins: &["images: T", "contrast_factor: float", "min_value: float", "max_value: float"],
        outs: &["output: float"],
        attrs: &["T: {uint8, int8, int16, int32, int64, float, double}"],
        shape: adjusted_shape,
        kernel: Kernel::Pure(contrast_v1),
        grad: Grad::Missing,
        rows: &["u8[[[10] [20]]], f32 2, f32 6, f32 100 => f32[[[6] [25]]]"],
    },
    Op {
        name: "AdjustContrastv2",
        ins: &["images: T", "contrast_factor: float"],
        outs: &["output: T"],
        attrs: &["T: {half, float} = DT_FLOAT"],
        shape: adjusted_shape,
        kernel: Kernel::Pure(contrast),
        grad: Grad::Missing,
        rows: &["f32[[[[1 2] [3 6]]] [[[0 0] [1 4]]]], f32 2 => f32[[[[0 0] [4 8]]] [[[-0.5 -2] [1.5 6]]]]"],
    },
    Op {
        name: "AdjustHue",
        ins: &["images: T", "delta: float"],
        outs: &["output: T"],
        attrs: &["T: {half, float} = DT_FLOAT"],
        shape: adjusted_shape,
        kernel: Kernel::Pure(adjust_hue),
        grad: Grad::Missing,
        rows: &["f32[[[1 0 0] [0.5 0.5 0.5] [4 2 1]]], f32 0.5 => f32[[[0 1 1] [0.5 0.5 0.5] [1 3 4]]]"],
    },
    Op {
        name: "AdjustSaturation",
        ins: &["images: T", "scale: float"],
        outs: &["output: T"],
        attrs: &["T: {half, float} = DT_FLOAT"],
        shape: adjusted_shape,
        kernel: Kernel::Pure(adjust_saturation),
        grad: Grad::Missing,
        rows: &["f32[[[4 2 0] [0 0 0] [2 2 2]]], f32 0.5 => f32[[[4 3 2] [0 0 0] [2 2 2]]]"],
    },
    Op {
        name: "RGBToHSV",
        ins: &["images: T"],
        outs: &["output: T"],
        attrs: &["T: {half, bfloat16, float, double} = DT_FLOAT"],
        shape: colors_shape,
        kernel: Kernel::Pure(|ctx| map_pixels(ctx, PixelMap::ToHsv)),
        grad: Grad::Fn(rgb_to_hsv_grad),
        rows: &[
            "f64[[1 0.5 0.5] [0 0.25 0] [0 0 0] [1 0 0.5]] => f64[[0 0.5 1] [0.3333333333333333 1 0.25] [0 0 0] [0.9166666666666667 1 1]]",
        ],
    },
    Op {
        name: "HSVToRGB",
        ins: &["images: T"],
        outs: &["output: T"],
        attrs: &["T: {half, bfloat16, float, double} = DT_FLOAT"],
        shape: colors_shape,
        kernel: Kernel::Pure(|ctx| map_pixels(ctx, PixelMap::ToRgb)),
        grad: Grad::None("no gradient is defined"),
        rows: &["f32[[0 0.5 1] [0.5 1 0.25] [0 0 0]] => f32[[1 0.5 0.5] [0 0.25 0.25] [0 0 0]]"],
    },
];

fn adjusted_shape(ctx: &mut InferCtx) -> Result<()> {
    let images = ctx.input(0).with_rank_at_least(3)?;
    (1..ctx.num_inputs()).try_for_each(|i| ctx.input(i).with_rank(0).map(drop))?;
    ctx.set(0, images)
}

fn colors_shape(ctx: &mut InferCtx) -> Result<()> {
    let images = ctx.input(0).with_rank_at_least(1)?;
    Shape::vector(images.dim(-1)).merge(&Shape::known(&[3]))?;
    let shape = if images.rank().is_some() { images.with_dim(-1, Some(3)) } else { images };
    ctx.set(0, shape)
}

fn check_rank(images: &Tensor) -> Result<()> {
    if images.rank() < 3 {
        bail!(InvalidArgument, "input must be at least 3-D, got shape{:?}", images.dims());
    }
    Ok(())
}

/// TensorFlow has these kernels for half on other devices only.
fn check_float(images: &Tensor, op: &str) -> Result<()> {
    if images.dtype() != DType::Float {
        bail!(InvalidArgument, "No OpKernel was registered to support Op '{op}' with attrs: [T={}]", images.dtype());
    }
    Ok(())
}

fn scalar(ctx: &KernelCtx, index: usize, name: &str) -> Result<f32> {
    let value = ctx.input(index)?;
    if !value.is_scalar() {
        bail!(InvalidArgument, "{name} must be scalar: {:?}", value.dims());
    }
    value.item()
}

/// Moves each channel's values away from its mean over the image.
fn stretch(values: &mut [f32], pixels: usize, channels: usize, factor: f32) {
    if values.is_empty() {
        return;
    }
    for image in values.chunks_exact_mut(pixels * channels) {
        let mut sums = vec![0f64; channels];
        for pixel in image.chunks_exact(channels) {
            sums.iter_mut().zip(pixel).for_each(|(sum, &v)| *sum += f64::from(v));
        }
        let means: Vec<f32> = sums.iter().map(|s| (s / pixels as f64) as f32).collect();
        for pixel in image.chunks_exact_mut(channels) {
            pixel.iter_mut().zip(&means).for_each(|(v, mean)| *v = (*v - mean) * factor + mean);
        }
    }
}

/// Height times width, and the number of channels.
fn extent(images: &Tensor) -> (usize, usize) {
    let dims = &images.dims()[images.rank() - 3..];
    (dims[0] * dims[1], dims[2])
}

fn contrast(ctx: &mut KernelCtx) -> Result<()> {
    let factor = scalar(ctx, 1, "contrast_factor")?;
    let mut images = ctx.take(0)?;
    check_rank(&images)?;
    check_float(&images, "AdjustContrastv2")?;
    let (pixels, channels) = extent(&images);
    stretch(images.as_mut_slice::<f32>()?, pixels, channels, factor);
    ctx.set(0, images)
}

fn contrast_v1(ctx: &mut KernelCtx) -> Result<()> {
    let factor = scalar(ctx, 1, "contrast_factor")?;
    let (least, most) = (scalar(ctx, 2, "min_value")?, scalar(ctx, 3, "max_value")?);
    let images = ctx.input(0)?;
    check_rank(images)?;
    let (pixels, channels) = extent(images);
    let mut values: Vec<f32> = dispatch!(images.dtype(), real, T => images.as_slice::<T>()?.iter().map(|&v| v.as_()).collect());
    stretch(&mut values, pixels, channels, factor);
    values.iter_mut().for_each(|v| *v = v.min(most).max(least));
    let output = Tensor::new(images.dims(), values)?;
    ctx.set(0, output)
}

fn adjust(ctx: &mut KernelCtx, map: impl Fn([f32; 3]) -> [f32; 3] + Sync) -> Result<()> {
    let mut images = ctx.take(0)?;
    check_rank(&images)?;
    let channels = images.dims()[images.rank() - 1];
    if channels != 3 {
        bail!(InvalidArgument, "input must have 3 channels but instead has {channels} channels.");
    }
    check_float(&images, ctx.node().op)?;
    parallel_pieces(images.as_mut_slice::<f32>()?, 3, 1 << 12, |_, pixels| {
        for pixel in pixels.as_chunks_mut::<3>().0 {
            *pixel = map(*pixel);
        }
    });
    ctx.set(0, images)
}

fn adjust_hue(ctx: &mut KernelCtx) -> Result<()> {
    let delta = scalar(ctx, 1, "delta")? * 6.0;
    adjust(ctx, |[r, g, b]| {
        let (most, least) = (r.max(g).max(b), r.min(g).min(b));
        let range = most - least;
        // The hue counts sixths of the circle.
        let hue = if range <= 0.0 {
            0.0
        } else if r == most {
            (g - b) / range
        } else if g == most {
            (b - r) / range + 2.0
        } else {
            (r - g) / range + 4.0
        };
        let hue = (hue + delta).rem_euclid(6.0);
        let channel = |at: f32| {
            let k = (at + hue).rem_euclid(6.0);
            // The ends stay exactly as they are.
            match k.min(4.0 - k) {
                share if share <= 0.0 => most,
                share if share >= 1.0 => least,
                share => least + range * (1.0 - share),
            }
        };
        [channel(5.0), channel(3.0), channel(1.0)]
    })
}

fn adjust_saturation(ctx: &mut KernelCtx) -> Result<()> {
    let scale = scalar(ctx, 1, "scale")?;
    adjust(ctx, |rgb| {
        let [hue, saturation, value] = to_hsv(rgb);
        to_rgb([hue, (saturation * scale).clamp(0.0, 1.0), value])
    })
}

fn to_hsv<F: Float>([r, g, b]: [F; 3]) -> [F; 3] {
    let value = r.max(g).max(b);
    let range = value - r.min(g).min(b);
    let saturation = if value > F::zero() { range / value } else { F::zero() };
    if !(range > F::zero()) {
        return [F::zero(), saturation, value];
    }
    let norm = F::one() / (lit::<F>(6.0) * range);
    let hue = if r == value {
        norm * (g - b)
    } else if g == value {
        norm * (b - r) + lit(2.0 / 6.0)
    } else {
        norm * (r - g) + lit(4.0 / 6.0)
    };
    [if hue < F::zero() { hue + F::one() } else { hue }, saturation, value]
}

fn to_rgb<F: Float>([hue, saturation, value]: [F; 3]) -> [F; 3] {
    let sixths = hue * lit(6.0);
    let clip = |x: F| x.max(F::zero()).min(F::one());
    let share = [
        clip((sixths - lit(3.0)).abs() - F::one()),
        clip(lit::<F>(2.0) - (sixths - lit(2.0)).abs()),
        clip(lit::<F>(2.0) - (sixths - lit(4.0)).abs()),
    ];
    share.map(|s| (F::one() - saturation + saturation * s) * value)
}

enum PixelMap {
    ToHsv,
    ToRgb,
}

fn map_pixels(ctx: &mut KernelCtx, map: PixelMap) -> Result<()> {
    let mut images = ctx.take(0)?;
    let Some(&channels) = images.dims().last() else { bail!(InvalidArgument, "input must be at least 1D") };
    if channels != 3 {
        bail!(FailedPrecondition, "input must have 3 channels but input only has {channels} channels.");
    }
    dispatch!(images.dtype(), floats, T => {
        parallel_pieces(images.as_mut_slice::<T>()?, 3, 1 << 12, |_, pixels| {
            for pixel in pixels.as_chunks_mut::<3>().0 {
                let wide = pixel.map(Wide::widen);
                let mapped = if matches!(map, PixelMap::ToHsv) { to_hsv(wide) } else { to_rgb(wide) };
                *pixel = mapped.map(<T as Wide>::narrow);
            }
        });
    });
    ctx.set(0, images)
}

/// Builds the nodes of the derivatives, in TensorFlow's order.
struct Parts<'a> {
    g: &'a Graph,
    dtype: DType,
}

impl Parts<'_> {
    fn channel(&self, of: Output, index: i32) -> Result<Output> {
        self.g.index(of, &[Idx::Ellipsis, Idx::from(index)])
    }

    /// `cast(a & b)`.
    fn both(&self, a: Output, b: Output) -> Result<Output> {
        self.g.cast(self.g.and(a, b)?, self.dtype)
    }

    fn positive(&self, x: Output) -> Result<Output> {
        self.g.cast(self.g.greater(x, 0)?, self.dtype)
    }

    /// 1 over a number, and 0 over 0.
    fn reciprocal(&self, x: Output) -> Result<Output> {
        let one = self.g.named("Cast/x").constant(1f32)?;
        let one = if self.dtype == DType::Float { one } else { self.g.cast(one, self.dtype)? };
        self.g.div_no_nan(one, x)
    }

    fn product(&self, factors: &[Output]) -> Result<Output> {
        let mut product = factors[0];
        for &factor in &factors[1..] {
            product = self.g.mul(product, factor)?;
        }
        Ok(product)
    }
}

/// The partial derivatives of hue, saturation and value by each colour, case by case.
fn rgb_to_hsv_grad(g: &Graph, op: Operation, grads: &Grads) -> Result<Vec<Option<Gradient>>> {
    let grad = grads.dense(g, 0)?;
    let (input, output) = (g.input(op, 0)?, op.output(0));
    let p = Parts { g, dtype: g.dtype(input)? };
    let (reds, greens, blues) = (p.channel(input, 0)?, p.channel(input, 1)?, p.channel(input, 2)?);
    let (saturation, value) = (p.channel(output, 1)?, p.channel(output, 2)?);
    let red_biggest = p.both(g.greater_equal(reds, blues)?, g.greater_equal(reds, greens)?)?;
    let green_biggest = p.both(g.greater(greens, reds)?, g.greater_equal(greens, blues)?)?;
    let blue_biggest = p.both(g.greater(blues, reds)?, g.greater(blues, greens)?)?;
    let red_smallest = p.both(g.less(reds, blues)?, g.less(reds, greens)?)?;
    let green_smallest = p.both(g.less_equal(greens, reds)?, g.less(greens, blues)?)?;
    let blue_smallest = p.both(g.less_equal(blues, reds)?, g.less_equal(blues, greens)?)?;

    // Saturation: where the colour is the greatest, and where it is the least.
    let by_saturation = |own: [Output; 3], first: [Output; 3], second: [Output; 3]| -> Result<Output> {
        let [color, biggest, smallest] = own;
        let ([a, a_biggest, a_smallest], [b, b_biggest, b_smallest]) = (first, second);
        let positive = p.positive(color)?;
        let least = g.math_add(g.mul(a_smallest, a)?, g.mul(b_smallest, b)?)?;
        let as_biggest = g.mul(biggest, least)?;
        let as_biggest = g.mul(as_biggest, p.reciprocal(g.square(color)?)?)?;
        let negative = g.mul(smallest, -1)?;
        let most = g.add(g.mul(a_biggest, a)?, g.mul(b_biggest, b)?)?;
        let as_smallest = g.mul(negative, p.reciprocal(most)?)?;
        g.mul(positive, g.math_add(as_biggest, as_smallest)?)
    };
    let red = [reds, red_biggest, red_smallest];
    let green = [greens, green_biggest, green_smallest];
    let blue = [blues, blue_biggest, blue_smallest];
    let ds_dr = by_saturation(red, green, blue)?;
    let ds_dg = by_saturation(green, red, blue)?;
    let ds_db = by_saturation(blue, green, red)?;

    // Hue: where the colour is the greatest, and where one of the others is, with the colour the least or not.
    let as_biggest = |color: Output, biggest: Output, a: Output, b: Output| -> Result<Output> {
        let factors = g.mul(g.mul(p.positive(color)?, biggest)?, -1)?;
        let factors = g.mul(factors, g.sub(a, b)?)?;
        let factors = g.mul(factors, p.reciprocal(g.square(saturation)?)?)?;
        g.mul(60, g.mul(factors, p.reciprocal(g.square(value)?)?)?)
    };
    let as_least = |other: Output, masks: [Output; 2], a: Output, b: Output, c: Output, d: Output| -> Result<Output> {
        let factors = p.product(&[p.positive(other)?, masks[0], masks[1]])?;
        let factors = g.mul(factors, g.sub(a, b)?)?;
        g.mul(60, g.mul(factors, p.reciprocal(g.square(g.sub(c, d)?)?)?)?)
    };
    let between = |other: Output, masks: [Output; 2], negative: bool, a: Output, b: Output| -> Result<Output> {
        let mut factors = p.product(&[p.positive(other)?, masks[0], masks[1]])?;
        if negative {
            factors = g.mul(factors, -1)?;
        }
        g.mul(60, g.mul(factors, p.reciprocal(g.sub(a, b)?)?)?)
    };
    let total = |parts: [Output; 5]| -> Result<Output> {
        let mut sum = parts[0];
        for &part in &parts[1..] {
            sum = g.add(sum, part)?;
        }
        g.truediv(sum, 360)
    };
    let dh_dr = total([
        as_biggest(reds, red_biggest, greens, blues)?,
        as_least(greens, [green_biggest, red_smallest], blues, greens, reds, greens)?,
        between(greens, [green_biggest, blue_smallest], true, greens, blues)?,
        as_least(blues, [blue_biggest, red_smallest], blues, greens, blues, reds)?,
        between(blues, [blue_biggest, green_smallest], false, blues, greens)?,
    ])?;
    let dh_dg = total([
        as_biggest(greens, green_biggest, blues, reds)?,
        as_least(reds, [red_biggest, green_smallest], reds, blues, reds, greens)?,
        between(reds, [red_biggest, blue_smallest], false, reds, blues)?,
        as_least(blues, [blue_biggest, green_smallest], reds, blues, blues, greens)?,
        between(blues, [blue_biggest, red_smallest], true, blues, reds)?,
    ])?;
    let dh_db = total([
        as_biggest(blues, blue_biggest, reds, greens)?,
        as_least(reds, [red_biggest, blue_smallest], greens, reds, reds, blues)?,
        between(reds, [red_biggest, green_smallest], true, reds, greens)?,
        as_least(greens, [green_biggest, blue_smallest], greens, reds, greens, blues)?,
        between(greens, [green_biggest, red_smallest], false, greens, reds)?,
    ])?;

    let stacked = |channel: i32, parts: [Output; 3]| -> Result<Output> {
        let mut products = Vec::with_capacity(3);
        for part in parts {
            products.push(g.mul(p.channel(grad, channel)?, part)?);
        }
        g.stack(&products, -1)
    };
    let by_value = stacked(2, [red_biggest, green_biggest, blue_biggest])?;
    let by_saturation = stacked(1, [ds_dr, ds_dg, ds_db])?;
    let by_hue = stacked(0, [dh_dr, dh_dg, dh_db])?;
    let gradient = g.math_add(g.math_add(by_value, by_saturation)?, by_hue)?;
    Ok(vec![Some(gradient.into())])
}

impl Graph {
    /// Colours as hue, saturation and value, each in [0, 1] (`tf.image.rgb_to_hsv`). The last dimension is 3.
    ///
    /// # Errors
    /// `InvalidArgument` where it isn't.
    pub fn rgb_to_hsv(&self, images: impl Into<Arg>) -> Result<Output> {
        self.call("RGBToHSV").arg(images).output()
    }

    /// Hue, saturation and value as colours (`tf.image.hsv_to_rgb`).
    ///
    /// # Errors
    /// `InvalidArgument` where the last dimension isn't 3.
    pub fn hsv_to_rgb(&self, images: impl Into<Arg>) -> Result<Output> {
        self.call("HSVToRGB").arg(images).output()
    }
}
