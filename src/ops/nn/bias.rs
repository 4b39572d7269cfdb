//! Adding a vector to the channels of a tensor.

use super::gradients::activation as gradients;
use crate::compute::lanes::Real;
use crate::compute::level::vectorize;
use crate::compute::pool::parallel_pieces;
use crate::compute::reduce;
use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::tensor::{DType, Element, Shape, Tensor, dispatch};
use half::{bf16, f16};
use num_complex::Complex;

const NUMBERS: &str = "T: {float, double, int32, uint8, int16, int8, complex64, int64, qint8, quint8, qint32, bfloat16, qint16, \
                       quint16, uint16, complex128, half, uint32, uint64}";
/// Elements that one thread handles at least.
const GRAIN: usize = 16 << 10;

const DATA_FORMAT: &str = "data_format: {'NHWC', 'NCHW'} = 'NHWC'";

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "BiasAdd",
        ins: &["value: T", "bias: T"],
        outs: &["output: T"],
        attrs: &[NUMBERS, DATA_FORMAT],
        shape: bias_add_shape,
        kernel: Kernel::Pure(bias_add),
        grad: Grad::Fn(gradients::bias_add),
        rows: &[
            "f32[[1 2] [3 4]], f32[10 20] => f32[[11 22] [13 24]]",
            "data_format='NCHW'; i32[[[1 2] [3 4]]], i32[10 20] => i32[[[11 12] [23 24]]]",
            "f32{0,2}[], f32[1 2] => f32{0,2}[]",
        ],
    },
    Op {
        name: "BiasAddV1",
        ins: &["value: T", "bias: T"],
        outs: &["output: T"],
        attrs: &[NUMBERS],
        shape: bias_add_shape,
        kernel: Kernel::Pure(bias_add),
        grad: Grad::Fn(gradients::bias_add_v1),
        rows: &["f32[[1 2] [3 4]], f32[10 20] => f32[[11 22] [13 24]]"],
    },
    Op {
        name: "BiasAddGrad",
        ins: &["out_backprop: T"],
        outs: &["output: T"],
        attrs: &[NUMBERS, DATA_FORMAT],
        shape: bias_add_grad_shape,
        kernel: Kernel::Pure(bias_add_grad),
        grad: Grad::Fn(gradients::bias_add_grad),
        rows: &[
            "f32[[1 2] [3 4]] => f32[4 6]",
            "data_format='NCHW'; f32[[[1 2] [3 4]] [[5 6] [7 8]]] => f32[14 22]",
            "f32{0,2}[] => f32[0 0]",
        ],
    },
];

fn channels_first(ctx: &InferCtx) -> bool {
    ctx.string("data_format").is_ok_and(|f| f == "NCHW")
}

fn bias_add_shape(ctx: &mut InferCtx) -> Result<()> {
    let first = channels_first(ctx);
    let input = ctx.input(0).with_rank_at_least(2)?;
    let bias = ctx.input(1).with_rank(1)?;
    if input.rank().is_none() {
        return ctx.set(0, Shape::unknown());
    }
    let axis = if first { 1 } else { -1 };
    let channels = Shape::from([input.dim(axis)]).merge(&bias)?;
    ctx.set(0, input.with_dim(axis, channels.dim(0)))
}

fn bias_add_grad_shape(ctx: &mut InferCtx) -> Result<()> {
    let input = ctx.input(0).with_rank_at_least(2)?;
    let channels = input.dim(if channels_first(ctx) { 1 } else { -1 });
    ctx.set(0, Shape::vector(channels))
}

/// Dimensions as outer, channels and inner: those before the channel, and those after.
fn split(node: &crate::graph::op::NodeInfo, value: &Tensor) -> Result<(usize, usize, usize)> {
    let dims = value.dims();
    if dims.len() < 2 {
        bail!(InvalidArgument, "Input tensor must be at least 2D: {dims:?}");
    }
    let first = node.attrs.contains_key("data_format") && node.string("data_format")? == "NCHW";
    let axis = if first { 1 } else { dims.len() - 1 };
    Ok((dims[..axis].iter().product(), dims[axis], dims[axis + 1..].iter().product()))
}

fn bias_add(ctx: &mut KernelCtx) -> Result<()> {
    let (outer, channels, inner) = split(ctx.node(), ctx.input(0)?)?;
    let bias = ctx.take(1)?;
    if bias.rank() != 1 {
        bail!(InvalidArgument, "Biases must be 1D: {:?}", bias.dims());
    }
    if bias.len() != channels {
        bail!(
            InvalidArgument,
            "Must provide as many biases as the channel dimension of the input tensor: {:?} vs. {channels} channels in {:?}",
            bias.dims(),
            ctx.input(0)?.dims()
        );
    }
    let mut value = ctx.take(0)?;
    if outer * channels * inner > 0 {
        add_dispatch(&mut value, &bias, channels, inner)?;
    }
    ctx.set(0, value)
}

fn add_dispatch(value: &mut Tensor, bias: &Tensor, channels: usize, inner: usize) -> Result<()> {
    dispatch!(value.dtype(), numbers, T => {
        let bias = bias.as_slice::<T>()?;
        let row = channels * inner;
        parallel_pieces(value.as_mut_slice::<T>()?, row, GRAIN.div_ceil(row), |_, piece| {
            vectorize(#[inline(always)] || add_rows(piece, bias, inner));
        });
        Ok(())
    })
}

#[inline(always)]
fn add_rows<T: Sum>(piece: &mut [T], bias: &[T], inner: usize) {
    for row in piece.chunks_exact_mut(bias.len() * inner) {
        if inner == 1 {
            row.iter_mut().zip(bias).for_each(|(x, &b)| *x = x.plus(b));
        } else {
            for (channel, &b) in row.chunks_exact_mut(inner).zip(bias) {
                channel.iter_mut().for_each(|x| *x = x.plus(b));
            }
        }
    }
}

fn bias_add_grad(ctx: &mut KernelCtx) -> Result<()> {
    let value = ctx.take(0)?;
    let (_, channels, inner) = split(ctx.node(), &value)?;
    let output = match value.dtype() {
        DType::Half => narrow_sums(&value, channels, inner, f16::to_f32, f16::from_f32)?,
        DType::Bfloat16 => narrow_sums(&value, channels, inner, bf16::to_f32, bf16::from_f32)?,
        DType::Float if inner == 1 => sums_of_rows::<f32>(&value, channels)?,
        DType::Double if inner == 1 => sums_of_rows::<f64>(&value, channels)?,
        dtype => dispatch!(dtype, numbers, T => Tensor::from(sums(value.as_slice::<T>()?, channels, inner))),
    };
    ctx.set(0, output)
}

fn narrow_sums<T: Element>(
    value: &Tensor,
    channels: usize,
    inner: usize,
    widen: fn(T) -> f32,
    narrow: fn(f32) -> T,
) -> Result<Tensor> {
    let wide: Vec<f32> = value.as_slice::<T>()?.iter().map(|&x| widen(x)).collect();
    Ok(Tensor::from(sums(&wide, channels, inner).into_iter().map(narrow).collect::<Vec<T>>()))
}

fn sums_of_rows<T: Element + Real>(value: &Tensor, channels: usize) -> Result<Tensor> {
    let mut sums = vec![T::default(); channels];
    reduce::sum_rows(value.as_slice::<T>()?, &mut sums);
    Ok(Tensor::from(sums))
}

/// Sums over all but the channel dimension.
fn sums<T: Sum>(values: &[T], channels: usize, inner: usize) -> Vec<T> {
    let mut totals = vec![T::default(); channels];
    if values.is_empty() {
        return totals;
    }
    if inner == 1 {
        vectorize(
            #[inline(always)]
            || {
                for row in values.chunks_exact(channels) {
                    totals.iter_mut().zip(row).for_each(|(t, &x)| *t = t.plus(x));
                }
            },
        );
        return totals;
    }
    for block in values.chunks_exact(channels * inner) {
        for (total, channel) in totals.iter_mut().zip(block.chunks_exact(inner)) {
            *total = channel.iter().fold(*total, |t, &x| t.plus(x));
        }
    }
    totals
}

/// Addition, which wraps around for integers.
trait Sum: Element {
    fn plus(self, other: Self) -> Self;
}

macro_rules! sum {
    ($($type:ty: $a:ident, $b:ident => $sum:expr;)*) => {
        $(impl Sum for $type {
            #[inline(always)]
            fn plus(self, other: $type) -> $type {
                let ($a, $b) = (self, other);
                $sum
            }
        })*
    };
}

sum! {
    f32: a, b => a + b;
    f64: a, b => a + b;
    f16: a, b => a + b;
    bf16: a, b => a + b;
    Complex<f32>: a, b => a + b;
    Complex<f64>: a, b => a + b;
    i8: a, b => a.wrapping_add(b);
    i16: a, b => a.wrapping_add(b);
    i32: a, b => a.wrapping_add(b);
    i64: a, b => a.wrapping_add(b);
    u8: a, b => a.wrapping_add(b);
    u16: a, b => a.wrapping_add(b);
    u32: a, b => a.wrapping_add(b);
    u64: a, b => a.wrapping_add(b);
}
