//! Rounding to a grid of few bits, as training for quantized inference does.

use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::graph::{Gradient, Grads, Graph, Operation, Output};
use crate::ops::convert::Arg;
use crate::ops::math::number::{Number, Real};
use crate::ops::shape;
use crate::tensor::{Dims, Shape, Tensor, dispatch};

const T: &str = "T: {bfloat16, half, float, double}";
const SIGNED: &str = "signed_input: bool = true";
const BITS: &str = "num_bits: int = 8";
const NARROW: &str = "narrow_range: bool = false";
const AXIS: &str = "axis: int = -1";
const ROUND: &str = "round_mode: {'HALF_TO_EVEN', 'HALF_UP'} = 'HALF_TO_EVEN'";

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "QuantizeAndDequantize",
        ins: &["input: T"],
        outs: &["output: T"],
        attrs: &[SIGNED, BITS, "range_given: bool = false", "input_min: float = 0.0", "input_max: float = 0.0", T],
        shape: shape::unchanged,
        kernel: Kernel::Pure(quantize_kernel),
        grad: Grad::Fn(passed),
        rows: &["num_bits=3; f32[-1 0.3 1] => f32[-1 0.33333334 1]"],
    },
    Op {
        name: "QuantizeAndDequantizeV2",
        ins: &["input: T", "input_min: T", "input_max: T"],
        outs: &["output: T"],
        attrs: &[SIGNED, BITS, "range_given: bool = false", T, ROUND, NARROW, AXIS],
        shape: quantize_shape,
        kernel: Kernel::Pure(quantize_kernel),
        grad: Grad::Fn(passed),
        rows: &[
            "range_given=true, num_bits=4; f32[-1 0.3 1], f32 -1, f32 1 => f32[-1 0.2857143 1]",
            "num_bits=8, axis=0; f32[[-128 3.3] [1.27 0.004]], f32[0 0], f32[0 0] => f32[[-128 3] [1.27 0]]",
        ],
    },
    Op {
        name: "QuantizeAndDequantizeV3",
        ins: &["input: T", "input_min: T", "input_max: T", "num_bits: int32"],
        outs: &["output: T"],
        attrs: &[SIGNED, "range_given: bool = true", T, NARROW, AXIS],
        shape: quantize_shape,
        kernel: Kernel::Pure(quantize_kernel),
        grad: Grad::Fn(passed),
        rows: &["f32[-1 0.3 1], f32 -1, f32 1, i32 4 => f32[-1 0.2857143 1]"],
    },
    Op {
        name: "QuantizeAndDequantizeV4",
        ins: &["input: T", "input_min: T", "input_max: T"],
        outs: &["output: T"],
        attrs: &[SIGNED, BITS, "range_given: bool = false", T, ROUND, NARROW, AXIS],
        shape: quantize_shape,
        kernel: Kernel::Pure(quantize_kernel),
        grad: Grad::Fn(quantize_v4_grad),
        rows: &["range_given=true, num_bits=4; f32[-1 0.3 1], f32 -1, f32 1 => f32[-1 0.2857143 1]"],
    },
    Op {
        name: "QuantizeAndDequantizeV4Grad",
        ins: &["gradients: T", "input: T", "input_min: T", "input_max: T"],
        outs: &["input_backprop: T", "input_min_backprop: T", "input_max_backprop: T"],
        attrs: &[T, AXIS],
        shape: quantize_grad_shape,
        kernel: Kernel::Pure(quantize_grad_kernel),
        grad: Grad::Fn(quantize_v4_grad),
        rows: &["f32[1 2 3], f32[-2 0 2], f32 -1, f32 1 => f32[0 2 0], f32 0, f32 0"],
    },
    Op {
        name: "FakeQuantWithMinMaxArgs",
        ins: &["inputs: float"],
        outs: &["outputs: float"],
        attrs: &["min: float = -6.0", "max: float = 6.0", BITS, NARROW],
        shape: shape::unchanged,
        kernel: Kernel::Pure(|ctx| fake_kernel(ctx, 0)),
        grad: Grad::Fn(|g, op, grads| fake_grad(g, op, grads, "FakeQuantWithMinMaxArgsGradient", &["min", "max"])),
        rows: &["min=0.0, max=255.0; f32[-3 1.4 300] => f32[0 1 255]"],
    },
    Op {
        name: "FakeQuantWithMinMaxArgsGradient",
        ins: &["gradients: float", "inputs: float"],
        outs: &["backprops: float"],
        attrs: &["min: float = -6.0", "max: float = 6.0", BITS, NARROW],
        shape: |ctx| ctx.set(0, ctx.input(0).merge(&ctx.input(1))?),
        kernel: Kernel::Pure(fake_grad_kernel),
        grad: Grad::Missing,
        rows: &["min=0.0, max=255.0; f32[1 2 3], f32[-3 1.4 300] => f32[0 2 0]"],
    },
    Op {
        name: "FakeQuantWithMinMaxVars",
        ins: &["inputs: float", "min: float", "max: float"],
        outs: &["outputs: float"],
        attrs: &[BITS, NARROW],
        shape: |ctx| {
            ctx.input(1).with_rank(0)?;
            ctx.input(2).with_rank(0)?;
            ctx.set(0, ctx.input(0))
        },
        kernel: Kernel::Pure(|ctx| fake_kernel(ctx, 0)),
        grad: Grad::Fn(|g, op, grads| fake_grad(g, op, grads, "FakeQuantWithMinMaxVarsGradient", &[])),
        rows: &["f32[-3 1.4 300], f32 0, f32 255 => f32[0 1 255]"],
    },
    Op {
        name: "FakeQuantWithMinMaxVarsGradient",
        ins: &["gradients: float", "inputs: float", "min: float", "max: float"],
        outs: &["backprops_wrt_input: float", "backprop_wrt_min: float", "backprop_wrt_max: float"],
        attrs: &[BITS, NARROW],
        shape: |ctx| {
            ctx.set(0, ctx.input(0).merge(&ctx.input(1))?)?;
            ctx.set(1, Shape::scalar())?;
            ctx.set(2, Shape::scalar())
        },
        kernel: Kernel::Pure(fake_grad_kernel),
        grad: Grad::Missing,
        rows: &["f32[1 2 3], f32[-3 1.4 300], f32 0, f32 255 => f32[0 2 0], f32 1, f32 3"],
    },
    Op {
        name: "FakeQuantWithMinMaxVarsPerChannel",
        ins: &["inputs: float", "min: float", "max: float"],
        outs: &["outputs: float"],
        attrs: &[BITS, NARROW],
        shape: |ctx| {
            let input = ctx.input(0).with_rank_at_least(1)?;
            let channels = ctx.input(1).with_rank(1)?.merge(&ctx.input(2).with_rank(1)?)?;
            let channels = channels.merge(&Shape::vector(input.dim(-1)))?;
            ctx.set(0, if input.rank().is_some() { input.with_dim(-1, channels.dim(0)) } else { input })
        },
        kernel: Kernel::Pure(|ctx| fake_kernel(ctx, 1)),
        grad: Grad::Fn(|g, op, grads| fake_grad(g, op, grads, "FakeQuantWithMinMaxVarsPerChannelGradient", &[])),
        rows: &["f32[[-3 1.4] [300 0.6]], f32[0 0], f32[255 1] => f32[[0 1] [255 0.6]]"],
    },
    Op {
        name: "FakeQuantWithMinMaxVarsPerChannelGradient",
        ins: &["gradients: float", "inputs: float", "min: float", "max: float"],
        outs: &["backprops_wrt_input: float", "backprop_wrt_min: float", "backprop_wrt_max: float"],
        attrs: &[BITS, NARROW],
        shape: |ctx| {
            ctx.set(0, ctx.input(0).merge(&ctx.input(1))?)?;
            let channels = ctx.input(2).with_rank(1)?.merge(&ctx.input(3).with_rank(1)?)?;
            ctx.set(1, channels.clone())?;
            ctx.set(2, channels)
        },
        kernel: Kernel::Pure(fake_grad_kernel),
        grad: Grad::Missing,
        rows: &["f32[[1 2] [3 4]], f32[[-3 1.4] [300 0.6]], f32[0 0], f32[255 1] => f32[[0 0] [0 4]], f32[1 0], f32[3 2]"],
    },
];

fn passed(g: &Graph, op: Operation, grads: &Grads) -> Result<Vec<Option<Gradient>>> {
    let mut out = vec![None; g.inputs(op).len()];
    out[0] = grads.get(0);
    Ok(out)
}

fn quantize_shape(ctx: &mut InferCtx) -> Result<()> {
    let axis = ctx.int("axis")?;
    let (input, limits) = (ctx.input(0), ctx.input(1).merge(&ctx.input(2))?);
    if axis < -1 {
        bail!(InvalidArgument, "axis should be at least -1, got {axis}");
    }
    if axis == -1 {
        limits.with_rank(0)?;
    } else if ctx.boolean("range_given")? {
        limits.merge(&Shape::vector(input.with_rank_at_least(axis as usize + 1)?.dim(axis as isize)))?;
    }
    ctx.set(0, input)
}

/// A number as `T` holds it.
fn rounded<T: Real>(value: f64) -> f64 {
    <T as Number>::from_f64(value).to_f64()
}

/// The grid of whole numbers, and how it is rounded to.
struct Grid {
    lowest: f64,
    highest: f64,
    half_up: bool,
}

impl Grid {
    /// The numbers that a range, shrunk where the grid asks for it, is clamped to, and the scale from it to the grid and
    /// back.
    fn fit<T: Real>(&self, min: f64, max: f64) -> (f64, f64, f64, f64) {
        let side = |grid: f64, end: f64| if grid * end > 0.0 { rounded::<T>(grid / end) } else { f64::MAX };
        let (from_min, from_max) = (side(self.lowest, min), side(self.highest, max));
        if from_min < from_max {
            let back = rounded::<T>(min / self.lowest);
            (min, rounded::<T>(self.highest * back), from_min, back)
        } else {
            let back = rounded::<T>(max / self.highest);
            (rounded::<T>(self.lowest * back), max, from_max, back)
        }
    }

    fn round(&self, value: f64) -> f64 {
        if self.half_up { (value + 0.5).floor() } else { value.round_ties_even() }
    }
}

/// How elements belong to channels: `channels` of them, each `inner` elements long, again and again.
#[derive(Clone, Copy)]
pub(super) struct Channels {
    pub count: usize,
    inner: usize,
}

impl Channels {
    pub fn of(dims: &[usize], axis: i64) -> Result<Channels> {
        if axis == -1 {
            return Ok(Channels { count: 1, inner: dims.iter().product::<usize>().max(1) });
        }
        let Some(&count) = usize::try_from(axis).ok().and_then(|a| dims.get(a)) else {
            bail!(InvalidArgument, "Axis requested is larger than input dimensions: {axis} for shape {dims:?}");
        };
        Ok(Channels { count, inner: dims[axis as usize + 1..].iter().product::<usize>().max(1) })
    }

    pub fn channel(&self, element: usize) -> usize {
        element / self.inner % self.count.max(1)
    }
}

/// The least and the greatest value of each channel, as given or as found.
fn ranges<T: Real>(ctx: &KernelCtx, values: &[T], channels: Channels, given: bool) -> Result<Vec<(f64, f64)>> {
    if !given {
        let mut ranges = vec![(f64::INFINITY, f64::NEG_INFINITY); channels.count];
        for (i, &value) in values.iter().enumerate() {
            let range = &mut ranges[channels.channel(i)];
            *range = (range.0.min(value.to_f64()), range.1.max(value.to_f64()));
        }
        return Ok(ranges);
    }
    if ctx.num_inputs() == 1 {
        return Ok(vec![(f64::from(ctx.node().float("input_min")?), f64::from(ctx.node().float("input_max")?))]);
    }
    let (min, max) = (ctx.input(1)?, ctx.input(2)?);
    if min.len() != channels.count || max.len() != channels.count {
        bail!(
            InvalidArgument,
            "input_min and input_max have incorrect sizes, {} and {}, expected {}",
            min.len(),
            max.len(),
            channels.count
        );
    }
    let pairs: Vec<(f64, f64)> =
        min.as_slice::<T>()?.iter().zip(max.as_slice::<T>()?).map(|(a, b)| (a.to_f64(), b.to_f64())).collect();
    if let Some(bad) = pairs.iter().find(|p| p.0 > p.1) {
        bail!(InvalidArgument, "Invalid range: input_min {} > input_max {}", bad.0, bad.1);
    }
    Ok(pairs)
}

fn quantize_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let node = ctx.node();
    let signed = node.boolean("signed_input")?;
    let bits = if ctx.num_inputs() == 4 { ctx.int_input(3)? } else { node.int("num_bits")? };
    if bits <= 0 || bits >= if signed { 62 } else { 63 } {
        bail!(InvalidArgument, "num_bits is out of range: {bits} with signed_input_ {signed}");
    }
    let narrow = node.boolean("narrow_range").unwrap_or(false);
    let half_up = node.string("round_mode").is_ok_and(|m| m == "HALF_UP");
    let (lowest, highest) = match signed {
        true => (-((1i64 << (bits - 1)) as f64) + if narrow { 1.0 } else { 0.0 }, ((1i64 << (bits - 1)) - 1) as f64),
        false => (0.0, ((1i64 << bits) - 1) as f64),
    };
    let grid = Grid { lowest, highest, half_up };
    let given = node.boolean("range_given")?;
    let input = ctx.input(0)?;
    let channels = Channels::of(input.dims(), node.int("axis").unwrap_or(-1))?;
    let output = dispatch!(input.dtype(), floats, T => {
        let values = input.as_slice::<T>()?;
        let fits: Vec<_> =
            ranges::<T>(ctx, values, channels, given)?.into_iter().map(|(min, max)| grid.fit::<T>(min, max)).collect();
        let quantized = values.iter().enumerate().map(|(i, &value)| {
            let (min, max, scale, back) = fits[channels.channel(i)];
            let value = value.to_f64();
            let value = if given { value.max(min).min(max) } else { value };
            <T as Number>::from_f64(grid.round(rounded::<T>(value * scale)) * back)
        });
        Tensor::new(input.dims(), quantized.collect())?
    });
    ctx.set(0, output)
}

fn quantize_v4_grad(g: &Graph, op: Operation, grads: &Grads) -> Result<Vec<Option<Gradient>>> {
    let inputs = g.inputs(op);
    let grad = grads.dense(g, 0)?;
    let axis = g.int_attr(op, "axis")?;
    let node = g.op("QuantizeAndDequantizeV4Grad").input(grad).input(inputs[0]).input(inputs[1]).input(inputs[2]);
    let mut out: Vec<Option<Gradient>> = node.attr("axis", axis).outputs()?.into_iter().map(|o| Some(o.into())).collect();
    out.resize(inputs.len(), None);
    Ok(out)
}

fn quantize_grad_shape(ctx: &mut InferCtx) -> Result<()> {
    ctx.set(0, ctx.input(0).merge(&ctx.input(1))?)?;
    ctx.set(1, ctx.input(2))?;
    ctx.set(2, ctx.input(3))
}

fn quantize_grad_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let (gradients, input, min, max) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?, ctx.input(3)?);
    if gradients.dims() != input.dims() {
        bail!(InvalidArgument, "gradient and input must be the same size: {:?} and {:?}", gradients.dims(), input.dims());
    }
    let channels = Channels::of(input.dims(), ctx.node().int("axis")?)?;
    if min.len() != channels.count || max.len() != channels.count {
        bail!(
            InvalidArgument,
            "input_min and input_max must have {} elements, got {} and {}",
            channels.count,
            min.len(),
            max.len()
        );
    }
    let inside = dispatch!(input.dtype(), floats, T => {
        let (inputs, min, max) = (input.as_slice::<T>()?, min.as_slice::<T>()?, max.as_slice::<T>()?);
        let ranges: Vec<_> = min.iter().zip(max).map(|(a, b)| (a.to_f64(), b.to_f64())).collect();
        Tensor::new(input.dims(), gradient_within(gradients.as_slice::<T>()?, inputs, channels, &ranges))?
    });
    // TensorFlow's kernel gives the limits no gradient.
    let none = [Tensor::zeros(min.dtype(), min.dims())?, Tensor::zeros(max.dtype(), max.dims())?];
    [inside].into_iter().chain(none).enumerate().try_for_each(|(i, o)| ctx.set(i, o))
}

/// The gradient where the input is within its channel's range, and zero elsewhere.
fn gradient_within<T: Real>(gradients: &[T], inputs: &[T], channels: Channels, ranges: &[(f64, f64)]) -> Vec<T> {
    let pass = |(i, (&gradient, &input)): (usize, (&T, &T))| {
        let (min, max) = ranges[channels.channel(i)];
        if (min..=max).contains(&input.to_f64()) { gradient } else { T::default() }
    };
    gradients.iter().zip(inputs).enumerate().map(pass).collect()
}

/// The gradient where the input is within its channel's range, and the sums of it below and above.
fn split_gradient<T: Real>(
    gradients: &[T],
    inputs: &[T],
    channels: Channels,
    dims: &[usize],
    limits: (&[usize], &[usize]),
    ranges: &[(f64, f64)],
) -> Result<[Tensor; 3]> {
    let (mut below, mut above) = (vec![0f64; channels.count], vec![0f64; channels.count]);
    let inside = gradient_within(gradients, inputs, channels, ranges);
    for (i, (&gradient, &input)) in gradients.iter().zip(inputs).enumerate() {
        let channel = channels.channel(i);
        let (min, max) = ranges[channel];
        if input.to_f64() < min {
            below[channel] += gradient.to_f64();
        }
        if input.to_f64() > max {
            above[channel] += gradient.to_f64();
        }
    }
    let narrow = |sums: Vec<f64>| sums.into_iter().map(<T as Number>::from_f64).collect();
    Ok([Tensor::new(dims, inside)?, Tensor::new(limits.0, narrow(below))?, Tensor::new(limits.1, narrow(above))?])
}

/// A range moved so that zero is on the grid: least and greatest value, and the grid's step.
fn nudge(min: f32, max: f32, lowest: f32, highest: f32) -> (f32, f32, f32) {
    let scale = (max - min) / (highest - lowest);
    let zero = (lowest - min / scale).clamp(lowest, highest).round();
    ((lowest - zero) * scale, (highest - zero) * scale, scale)
}

/// The nudged ranges of a fake-quantization node: from inputs `at` and `at + 1`, or from its attributes.
fn fake_ranges(ctx: &KernelCtx, at: usize) -> Result<Vec<Option<(f32, f32, f32)>>> {
    let node = ctx.node();
    let bits = node.int("num_bits")?;
    if !(2..=16).contains(&bits) {
        bail!(InvalidArgument, "num_bits must be between 2 and 16, inclusive, got {bits}");
    }
    let lowest = if node.boolean("narrow_range")? { 1.0 } else { 0.0 };
    let highest = ((1i64 << bits) - 1) as f32;
    let nudged = |min: f32, max: f32| if min == 0.0 && max == 0.0 { None } else { Some(nudge(min, max, lowest, highest)) };
    if ctx.num_inputs() <= at {
        let (min, max) = (node.float("min")?, node.float("max")?);
        if min >= max {
            bail!(InvalidArgument, "min has to be smaller than max, was: {min} >= {max}");
        }
        return Ok(vec![nudged(min, max)]);
    }
    let (min, max) = (ctx.input(at)?, ctx.input(at + 1)?);
    if min.dims() != max.dims() || min.rank() > 1 {
        bail!(InvalidArgument, "min and max must be scalars or vectors of one size, got {:?} and {:?}", min.dims(), max.dims());
    }
    Ok(min.as_slice::<f32>()?.iter().zip(max.as_slice::<f32>()?).map(|(&a, &b)| nudged(a, b)).collect())
}

fn fake_kernel(ctx: &mut KernelCtx, rank: usize) -> Result<()> {
    let ranges = fake_ranges(ctx, 1)?;
    let input = ctx.input(0)?;
    if rank == 1 && input.dims().last() != Some(&ranges.len()) {
        bail!(InvalidArgument, "min has incorrect size, expected the last of {:?} was {}", input.dims(), ranges.len());
    }
    let count = ranges.len().max(1);
    let mut output = ctx.take(0)?;
    for (i, value) in output.as_mut_slice::<f32>()?.iter_mut().enumerate() {
        *value = match ranges[i % count] {
            None => 0.0,
            Some((min, max, scale)) => {
                let shifted = if value.is_nan() { *value } else { value.min(max).max(min) - min };
                (shifted * (1.0 / scale) + 0.5).floor() * scale + min
            }
        };
    }
    ctx.set(0, output)
}

fn fake_grad_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let ranges = fake_ranges(ctx, 2)?;
    let (gradients, input) = (ctx.input(0)?, ctx.input(1)?);
    if gradients.dims() != input.dims() {
        bail!(InvalidArgument, "gradient and input must be the same size: {:?} and {:?}", gradients.dims(), input.dims());
    }
    let limits = if ctx.num_inputs() > 2 { Dims::from_slice(ctx.input(2)?.dims()) } else { Dims::new() };
    if limits.len() == 1 && input.dims().last() != Some(&ranges.len()) {
        bail!(InvalidArgument, "min has incorrect size, expected the last of {:?} was {}", input.dims(), ranges.len());
    }
    // An empty range, from 0 to 0, lets everything through.
    let bounds: Vec<(f64, f64)> = ranges
        .iter()
        .map(|r| r.map_or((f64::NEG_INFINITY, f64::INFINITY), |(min, max, _)| (f64::from(min), f64::from(max))))
        .collect();
    let channels = Channels { count: ranges.len(), inner: 1 };
    let outputs = split_gradient(
        gradients.as_slice::<f32>()?,
        input.as_slice::<f32>()?,
        channels,
        input.dims(),
        (&limits, &limits),
        &bounds,
    )?;
    let count = ctx.num_outputs();
    outputs.into_iter().take(count).enumerate().try_for_each(|(i, o)| ctx.set(i, o))
}

fn fake_grad(g: &Graph, op: Operation, grads: &Grads, kind: &str, attrs: &[&str]) -> Result<Vec<Option<Gradient>>> {
    let grad = grads.dense(g, 0)?;
    let mut node = g.op(kind).input(grad);
    for input in g.inputs(op) {
        node = node.input(input);
    }
    for name in attrs.iter().chain(&["num_bits", "narrow_range"]) {
        node = node.attr(name, g.get_attr(op, name)?);
    }
    Ok(node.outputs()?.into_iter().map(|o| Some(o.into())).collect())
}

/// The options of the fake quantizations.
#[derive(Clone, Copy, Debug)]
pub struct FakeQuant {
    /// The number of bits, 2 to 16.
    pub num_bits: i64,
    /// Whether the lowest number of the grid is left out.
    pub narrow_range: bool,
}

impl Default for FakeQuant {
    fn default() -> FakeQuant {
        FakeQuant { num_bits: 8, narrow_range: false }
    }
}

impl Graph {
    /// Rounds to a grid between two fixed values (`tf.quantization.fake_quant_with_min_max_args`).
    ///
    /// # Errors
    /// `InvalidArgument` for a tensor that isn't of float32.
    pub fn fake_quant_with_min_max_args(&self, inputs: Output, min: f32, max: f32, options: FakeQuant) -> Result<Output> {
        let op = self.op("FakeQuantWithMinMaxArgs").input(inputs).attr("min", min).attr("max", max);
        op.attr("num_bits", options.num_bits).attr("narrow_range", options.narrow_range).output()
    }

    /// Rounds to a grid between two scalars (`tf.quantization.fake_quant_with_min_max_vars`).
    ///
    /// # Errors
    /// `InvalidArgument` for a tensor that isn't of float32.
    pub fn fake_quant_with_min_max_vars(
        &self,
        inputs: Output,
        min: impl Into<Arg>,
        max: impl Into<Arg>,
        options: FakeQuant,
    ) -> Result<Output> {
        let call = self.call("FakeQuantWithMinMaxVars").arg(inputs).arg(min).arg(max);
        call.attr("num_bits", options.num_bits).attr("narrow_range", options.narrow_range).output()
    }
}
