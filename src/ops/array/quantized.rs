//! Quantized numbers: whole numbers of few bits that stand for a range of floats.

use super::quantize::Channels;
use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::graph::{Graph, Output};
use crate::ops::convert::Arg;
use crate::tensor::{DType, Shape, Tensor, dispatch};

const TYPES: &str = "T: {qint8, quint8, qint32, qint16, quint16}";
const MODES: &str = "mode: {'MIN_COMBINED', 'MIN_FIRST', 'SCALED'} = 'MIN_COMBINED'";
const NARROW: &str = "narrow_range: bool = false";
const AXIS: &str = "axis: int = -1";

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "QuantizeV2",
        ins: &["input: float", "min_range: float", "max_range: float"],
        outs: &["output: T", "output_min: float", "output_max: float"],
        attrs: &[
            TYPES,
            MODES,
            "round_mode: {'HALF_AWAY_FROM_ZERO', 'HALF_TO_EVEN'} = 'HALF_AWAY_FROM_ZERO'",
            NARROW,
            AXIS,
            "ensure_minimum_range: float = 0.009999999776482582",
        ],
        shape: quantize_shape,
        kernel: Kernel::Pure(quantize_kernel),
        grad: Grad::Missing,
        rows: &[
            "T=DT_QUINT8; f32[0 1 255], f32 0, f32 255 => qu8[0 1 255], f32 0, f32 255",
            "T=DT_QINT8, mode='SCALED'; f32[-127 2.4 64], f32 -127, f32 127 => qi8[-127 2 64], f32 -128, f32 127",
            "T=DT_QUINT8, mode='MIN_FIRST'; f32[-1 0.3 1 2], f32 -1, f32 2 => qu8[0 111 170 255], f32 -1, f32 2",
            "T=DT_QUINT8; f32[-1 0.3 1 2], f32 -1, f32 2 => qu8[0 110 170 255], f32 -1, f32 2",
            "T=DT_QINT8; f32[-1 0.3 1 2], f32 -1, f32 2 => qi8[-128 -18 42 127], f32 -1, f32 2",
        ],
    },
    Op {
        name: "Dequantize",
        ins: &["input: T", "min_range: float", "max_range: float"],
        outs: &["output: dtype"],
        attrs: &[TYPES, MODES, NARROW, AXIS, "dtype: {bfloat16, float} = DT_FLOAT"],
        shape: |ctx| {
            check_limits(ctx, 1)?;
            ctx.set(0, ctx.input(0))
        },
        kernel: Kernel::Pure(dequantize_kernel),
        grad: Grad::Missing,
        rows: &[
            "qu8[0 1 255], f32 0, f32 255 => f32[0 1 255]",
            "mode='SCALED'; qi8[-127 2 64], f32 -127, f32 127 => f32[-127 2 64]",
            "mode='MIN_FIRST'; qi8[-128 -1 0 127], f32 -1, f32 2 => f32[-1 0.49411768 0.5058824 2]",
        ],
    },
];

fn check_limits(ctx: &InferCtx, at: usize) -> Result<Shape> {
    let axis = ctx.int("axis")?;
    if axis < -1 {
        bail!(InvalidArgument, "axis should be at least -1, got {axis}");
    }
    let limits = ctx.input(at).merge(&ctx.input(at + 1))?;
    match axis {
        -1 => limits.with_rank(0),
        axis => {
            let size = ctx.input(0).with_rank_at_least(axis as usize + 1)?.dim(axis as isize);
            limits.with_rank(1)?.merge(&Shape::vector(size))
        }
    }
}

fn quantize_shape(ctx: &mut InferCtx) -> Result<()> {
    let limits = check_limits(ctx, 1)?;
    ctx.set(0, ctx.input(0))?;
    ctx.set(1, limits.clone())?;
    ctx.set(2, limits)
}

/// The numbers of a quantized type.
#[derive(Clone, Copy)]
struct Numbers {
    lowest: f64,
    highest: f64,
    bits: i32,
}

impl Numbers {
    fn of(dtype: DType) -> Result<Numbers> {
        let (lowest, highest, bits) = match dtype {
            DType::Qint8 => (f64::from(i8::MIN), f64::from(i8::MAX), 8),
            DType::Quint8 => (0.0, f64::from(u8::MAX), 8),
            DType::Qint16 => (f64::from(i16::MIN), f64::from(i16::MAX), 16),
            DType::Quint16 => (0.0, f64::from(u16::MAX), 16),
            DType::Qint32 => (f64::from(i32::MIN), f64::from(i32::MAX), 32),
            other => bail!(Unimplemented, "no quantized numbers of dtype {other}"),
        };
        Ok(Numbers { lowest, highest, bits })
    }

    /// The width of the range that a float range counts as, where each end of it is the middle of a step.
    fn steps(&self) -> (f64, f64) {
        let count = 2f64.powi(self.bits);
        (count, count / (count - 1.0))
    }

    /// The zero point of signed numbers, which stand in the middle.
    fn half(&self) -> f64 {
        if self.lowest < 0.0 { (self.highest - self.lowest + 1.0) / 2.0 } else { 0.0 }
    }
}

/// The range of each channel, from two inputs.
fn limits(ctx: &KernelCtx, channels: Channels) -> Result<Vec<(f32, f32)>> {
    let (min, max) = (ctx.input(1)?, ctx.input(2)?);
    if min.len() != channels.count || max.len() != channels.count {
        bail!(
            InvalidArgument,
            "min_range and max_range must have {} elements, got {} and {}",
            channels.count,
            min.len(),
            max.len()
        );
    }
    Ok(min.as_slice::<f32>()?.iter().copied().zip(max.as_slice::<f32>()?.iter().copied()).collect())
}

/// A range that holds zero and isn't too narrow.
fn widened((min, max): (f32, f32), least: f32) -> Result<(f32, f32)> {
    if !min.is_finite() || !max.is_finite() || max < min {
        bail!(InvalidArgument, "input_max_range must be larger than input_min_range, and both finite: got {min} and {max}");
    }
    let low = min.min(0.0);
    let epsilon = min.abs().max(max.abs()).max(1.0) * least;
    Ok((low, max.max(low + epsilon).max(0.0)))
}

/// How the floats of a channel become numbers, after clamping to the range.
struct Quantizer {
    min: f32,
    max: f32,
    scale: f32,
    mode: Mode,
}

#[derive(Clone, Copy)]
enum Mode {
    /// The least float is the lowest number; the half of the numbers is taken off signed ones.
    Combined { half: f32, signed: bool },
    /// Zero is a whole number; what is added makes the least float the lowest number.
    First { offset: f32 },
    /// Zero is zero.
    Scaled { to_even: bool },
}

impl Quantizer {
    fn new(numbers: Numbers, mode: &str, (narrow, to_even): (bool, bool), (min, max): (f32, f32)) -> Quantizer {
        let (lowest, highest) = (numbers.lowest as f32, numbers.highest as f32);
        match mode {
            "SCALED" => {
                let lowest = lowest + if narrow { 1.0 } else { 0.0 };
                let side = |number: f32, end: f32| if number * end > 0.0 { number / end } else { f32::INFINITY };
                let scale = side(lowest, min).min(side(highest, max));
                Quantizer { min: lowest / scale, max: highest / scale, scale, mode: Mode::Scaled { to_even } }
            }
            "MIN_FIRST" => {
                let scale = ((2f64.powi(numbers.bits) - 1.0) / f64::from(max - min)) as f32;
                Quantizer { min, max, scale, mode: Mode::First { offset: lowest - (min * scale).round() } }
            }
            _ => {
                let scale = ((numbers.highest - numbers.lowest) / f64::from(max - min)) as f32;
                let mode = Mode::Combined { half: numbers.half() as f32, signed: lowest < 0.0 };
                Quantizer { min, max, scale, mode }
            }
        }
    }

    fn number(&self, value: f32) -> f64 {
        let value = value.max(self.min).min(self.max);
        f64::from(match self.mode {
            Mode::Scaled { to_even: true } => (value * self.scale).round_ties_even(),
            Mode::Scaled { to_even: false } => (value * self.scale).round(),
            Mode::First { offset } => (value * self.scale).round() + offset,
            Mode::Combined { half, signed: true } => ((value - self.min) * self.scale - half).round(),
            Mode::Combined { .. } => ((value - self.min) * self.scale + 0.5).trunc(),
        })
    }
}

fn quantize_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let node = ctx.node();
    let (mode, narrow) = (node.string("mode")?, node.boolean("narrow_range")?);
    let to_even = node.string("round_mode")? == "HALF_TO_EVEN";
    let least = node.float("ensure_minimum_range")?;
    if to_even && mode != "SCALED" {
        bail!(InvalidArgument, "Round mode 'HALF_TO_EVEN' only supported for mode 'SCALED', but mode is '{mode}'.");
    }
    let dtype = node.output_types[0];
    let numbers = Numbers::of(dtype)?;
    let input = ctx.input(0)?;
    let axis = node.int("axis")?;
    let channels = Channels::of(input.dims(), axis)?;
    let ranges: Vec<Quantizer> = limits(ctx, channels)?
        .into_iter()
        .map(|range| Ok(Quantizer::new(numbers, mode, (narrow, to_even), widened(range, least)?)))
        .collect::<Result<_>>()?;
    let quantize = |(i, &value): (usize, &f32)| match ranges[channels.channel(i)].number(value) {
        // The greatest number is no float, and the processor's conversion wraps.
        over if mode == "SCALED" && over > numbers.highest && numbers.bits == 32 => numbers.lowest,
        number => number.clamp(numbers.lowest, numbers.highest),
    };
    let output = dispatch!(dtype.storage(), integers, T => {
        let values: Vec<T> = input.as_slice::<f32>()?.iter().enumerate().map(quantize).map(|v| v as T).collect();
        Tensor::new(input.dims(), values)?.with_dtype(dtype)
    });
    let dims: &[usize] = if axis == -1 { &[] } else { &[channels.count] };
    let min = Tensor::new(dims, ranges.iter().map(|r| r.min).collect())?;
    let max = Tensor::new(dims, ranges.iter().map(|r| r.max).collect())?;
    ctx.set(0, output)?;
    ctx.set(1, min)?;
    ctx.set(2, max)
}

fn dequantize_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let node = ctx.node();
    let (mode, narrow) = (node.string("mode")?, node.boolean("narrow_range")?);
    let input = ctx.input(0)?;
    let numbers = Numbers::of(input.dtype())?;
    let channels = Channels::of(input.dims(), node.int("axis")?)?;
    // A channel's numbers become `number * scale + offset`.
    let lines: Vec<(f64, f64)> = limits(ctx, channels)?
        .into_iter()
        .map(|(min, max)| {
            let (low, high) = (f64::from(min), f64::from(max));
            match mode {
                "SCALED" if numbers.lowest == 0.0 => (high / numbers.highest, 0.0),
                "SCALED" => {
                    let lowest = numbers.lowest + if narrow { 1.0 } else { 0.0 };
                    ((low / lowest).max(high / numbers.highest), 0.0)
                }
                "MIN_FIRST" if low == high => (0.0, low),
                "MIN_FIRST" => {
                    let (count, adjust) = numbers.steps();
                    let scale = (high - low) * adjust / count;
                    (scale, (low / scale).round() * scale - numbers.lowest * scale)
                }
                _ => {
                    let scale = (high - low) / (numbers.highest - numbers.lowest);
                    (scale, numbers.half() * scale + low)
                }
            }
        })
        .collect();
    let values: Vec<f32> = dispatch!(input.dtype().storage(), integers, T => {
        let line = |(i, &number): (usize, &T)| {
            let (scale, offset) = lines[channels.channel(i)];
            (number as f64 * scale + offset) as f32
        };
        input.as_slice::<T>()?.iter().enumerate().map(line).collect()
    });
    let output = match node.output_types[0] {
        DType::Bfloat16 => Tensor::new(input.dims(), values.into_iter().map(half::bf16::from_f32).collect())?,
        _ => Tensor::new(input.dims(), values)?,
    };
    ctx.set(0, output)
}

impl Graph {
    /// Floats as quantized numbers, and the range that these stand for (`tf.quantization.quantize`).
    ///
    /// # Errors
    /// `InvalidArgument` for a dtype that isn't quantized or an unknown mode (`MIN_COMBINED`, `MIN_FIRST`, `SCALED`).
    pub fn quantize(
        &self,
        input: Output,
        min_range: impl Into<Arg>,
        max_range: impl Into<Arg>,
        dtype: DType,
        mode: &str,
    ) -> Result<(Output, Output, Output)> {
        let call = self.call("QuantizeV2").arg(input).arg(min_range).arg(max_range).attr("T", dtype).attr("mode", mode);
        let outputs = call.outputs()?;
        Ok((outputs[0], outputs[1], outputs[2]))
    }

    /// The floats that quantized numbers stand for (`tf.quantization.dequantize`).
    ///
    /// # Errors
    /// `InvalidArgument` for a dtype that isn't quantized or an unknown mode.
    pub fn dequantize(&self, input: Output, min_range: impl Into<Arg>, max_range: impl Into<Arg>, mode: &str) -> Result<Output> {
        self.call("Dequantize").arg(input).arg(min_range).arg(max_range).attr("mode", mode).output()
    }
}
