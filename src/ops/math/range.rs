//! Sequences, cross products, and arithmetic on shapes.

use super::broadcast::broadcast_dims;
use super::grad;
use super::number::{Inexact, Integer, Number, Real};
use crate::error::{Error, Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::tensor::{DType, Shape, Tensor, dispatch};

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "Range",
        ins: &["start: Tidx", "limit: Tidx", "delta: Tidx"],
        outs: &["output: Tidx"],
        attrs: &["Tidx: {bfloat16, half, float, double, int8, int16, int32, int64, uint16, uint32} = DT_INT32"],
        shape: range_shape,
        kernel: Kernel::Pure(range),
        grad: Grad::None("a sequence"),
        rows: &[
            "i32 5, i32 0, i32 -2 => i32[5 3 1]",
            "f32 0, f32 1, f32 0.25 => f32[0 0.25 0.5 0.75]",
            "i64 3, i64 3, i64 1 => i64{0}[]",
            "u16 0, u16 5, u16 2 => u16[0 2 4]",
        ],
    },
    Op {
        name: "LinSpace",
        ins: &["start: T", "stop: T", "num: Tidx"],
        outs: &["output: T"],
        attrs: &["T: {bfloat16, half, float, double}", "Tidx: {int32, int64} = DT_INT32"],
        shape: lin_space_shape,
        kernel: Kernel::Pure(lin_space),
        grad: Grad::None("a sequence"),
        rows: &["f32 1, f32 5, i32 5 => f32[1 2 3 4 5]", "f64 1, f64 5, i64 1 => f64[1]"],
    },
    Op {
        name: "Cross",
        ins: &["a: T", "b: T"],
        outs: &["product: T"],
        attrs: &["T: {float, double, int32, uint8, int16, int8, int64, bfloat16, uint16, half, uint32, uint64}"],
        shape: cross_shape,
        kernel: Kernel::Pure(cross),
        grad: Grad::Fn(grad::cross),
        rows: &["f32[[1 2 3]], f32[[4 5 6]] => f32[[-3 6 -3]]"],
    },
    Op {
        name: "BroadcastArgs",
        ins: &["s0: T", "s1: T"],
        outs: &["r0: T"],
        attrs: &["T: {int32, int64} = DT_INT32"],
        shape: broadcast_args_shape,
        kernel: Kernel::Pure(broadcast_args),
        grad: Grad::None("a shape"),
        rows: &["i32[2 1], i32[5] => i32[2 5]", "i64{0}[], i64[3] => i64[3]"],
    },
    Op {
        name: "BroadcastGradientArgs",
        ins: &["s0: T", "s1: T"],
        outs: &["r0: T", "r1: T"],
        attrs: &["T: {int32, int64} = DT_INT32"],
        shape: gradient_args_shape,
        kernel: Kernel::Pure(gradient_args),
        grad: Grad::None("axes"),
        rows: &[
            "i32[2 3], i32[3] => i32{0}[], i32[0]",
            "i64[2 1 3], i64[1 5 1] => i64[1], i64[0 2]",
            "i32[1 1], i32[1] => i32[0 1], i32[0 1]",
            "i32[1 2], i32[1 2] => i32{0}[], i32{0}[]",
            "i32[0 1], i32[1 1] => i32[1], i32[0 1]",
        ],
    },
];

fn range_shape(ctx: &mut InferCtx) -> Result<()> {
    for (index, name) in ["start", "limit", "delta"].into_iter().enumerate() {
        ctx.input(index).with_rank(0).map_err(|e| e.within(format!("for '{name}'")))?;
    }
    let size = match (ctx.constant(0), ctx.constant(1), ctx.constant(2)) {
        (Some(start), Some(limit), Some(delta)) => Some(range_size(&start, &limit, &delta)?),
        _ => None,
    };
    ctx.set(0, Shape::vector(size))
}

/// A scalar without its dtype.
fn number(scalar: &Tensor) -> String {
    let text = scalar.to_string();
    text.split_once(' ').map_or(text.clone(), |(_, number)| number.to_string())
}

/// The length of a sequence.
///
/// # Errors
/// `InvalidArgument` for a step of zero, or one away from the limit.
fn range_size(start: &Tensor, limit: &Tensor, delta: &Tensor) -> Result<usize> {
    for (tensor, name) in [(start, "start"), (limit, "limit"), (delta, "delta")] {
        if tensor.len() != 1 {
            bail!(InvalidArgument, "{name} must be a scalar, not shape {:?}", tensor.dims());
        }
    }
    let check = |forward: bool, zero: bool, fits: bool| {
        if zero {
            bail!(InvalidArgument, "Requires delta != 0: 0");
        }
        if !fits {
            let (relation, sign) = if forward { ("<=", ">") } else { (">=", "<") };
            bail!(InvalidArgument, "Requires start {relation} limit when delta {sign} 0: {}/{}", number(start), number(limit));
        }
        Ok(())
    };
    let size = if start.dtype().is_integer() {
        let [start, limit, delta] = [start, limit, delta].map(|t| t.item_i64().map(i128::from));
        let (start, limit, delta) = (start?, limit?, delta?);
        check(delta > 0, delta == 0, if delta > 0 { start <= limit } else { start >= limit })?;
        (limit - start).unsigned_abs().div_ceil(delta.unsigned_abs()) as f64
    } else {
        let [start, limit, delta] = [scalar(start)?, scalar(limit)?, scalar(delta)?];
        check(delta > 0.0, delta == 0.0, if delta > 0.0 { start <= limit } else { start >= limit })?;
        ((limit - start) / delta).abs().ceil()
    };
    if size.is_nan() || size >= i64::MAX as f64 {
        bail!(InvalidArgument, "Requires ((limit - start) / delta) <= {}", i64::MAX);
    }
    Ok(size as usize)
}

/// The first element of a tensor of floats.
fn scalar(tensor: &Tensor) -> Result<f64> {
    let missing = || Error::invalid_argument("expected a scalar, got an empty tensor");
    dispatch!(tensor.dtype(), floats, T => tensor.as_slice::<T>()?.first().map(|&v| Real::to_f64(v)).ok_or_else(missing))
}

fn range(ctx: &mut KernelCtx) -> Result<()> {
    let (start, delta) = (ctx.input(0)?, ctx.input(2)?);
    let size = range_size(start, ctx.input(1)?, delta)?;
    let mut out = Tensor::uninit(start.dtype(), &[size])?;
    if start.dtype().is_integer() {
        let (start, delta) = (start.item_i64()?, delta.item_i64()?);
        dispatch!(out.dtype(), integers, T => {
            let values = out.as_mut_slice::<T>()?.iter_mut().enumerate();
            values.for_each(|(i, v)| *v = Integer::from_i64(start.wrapping_add((i as i64).wrapping_mul(delta))));
        });
    } else {
        let (start, delta) = (scalar(start)?, scalar(delta)?);
        dispatch!(out.dtype(), floats, T => {
            let values = out.as_mut_slice::<T>()?.iter_mut().enumerate();
            values.for_each(|(i, v)| *v = Number::from_f64(start + i as f64 * delta));
        });
    }
    ctx.set(0, out)
}

fn lin_space_shape(ctx: &mut InferCtx) -> Result<()> {
    for index in 0..3 {
        ctx.input(index).with_rank(0)?;
    }
    let num = ctx.constant(2).map(|n| n.item_i64()).transpose()?;
    if let Some(num) = num.filter(|&n| n <= 0) {
        bail!(InvalidArgument, "Requires num > 0: {num}");
    }
    ctx.set(0, Shape::vector(num.map(|n| n as usize)))
}

fn lin_space(ctx: &mut KernelCtx) -> Result<()> {
    let (start, stop, num) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    for (tensor, name) in [(start, "start"), (stop, "stop"), (num, "num")] {
        if !tensor.is_scalar() {
            bail!(InvalidArgument, "{name} must be a scalar, not shape {:?}", tensor.dims());
        }
    }
    let num = num.item_i64()?;
    if num <= 0 {
        bail!(InvalidArgument, "Requires num > 0: {num}");
    }
    let num = num as usize;
    let mut out = Tensor::uninit(start.dtype(), &[num])?;
    dispatch!(start.dtype(), floats, T => {
        let (start, stop) = (start.item::<T>()?, stop.item::<T>()?);
        let steps = <T as Number>::from_f64((num.max(2) - 1) as f64);
        let step = Inexact::div(Number::sub(stop, start), steps);
        let values = out.as_mut_slice::<T>()?;
        values[0] = start;
        for (i, value) in values.iter_mut().enumerate().skip(1) {
            *value = Number::add(start, Number::mul(step, Number::from_f64(i as f64)));
        }
        if num > 1 {
            values[num - 1] = stop;
        }
    });
    ctx.set(0, out)
}

fn cross_shape(ctx: &mut InferCtx) -> Result<()> {
    let merged = ctx.input(0).with_rank_at_least(1)?.merge(&ctx.input(1).with_rank_at_least(1)?)?;
    if let Some(last) = merged.dim(-1).filter(|&d| d != 3) {
        bail!(InvalidArgument, "Dimension must be 3 but is {last}: cross products are of 3-element vectors");
    }
    ctx.set(0, merged)
}

fn cross(ctx: &mut KernelCtx) -> Result<()> {
    let (a, b) = (ctx.input(0)?, ctx.input(1)?);
    if a.dims() != b.dims() {
        bail!(InvalidArgument, "Both inputs must be of same shape: {:?} vs. {:?}", a.dims(), b.dims());
    }
    if a.dims().last() != Some(&3) {
        bail!(FailedPrecondition, "Cross-products are only defined for 3-element vectors.");
    }
    let mut out = Tensor::uninit(a.dtype(), a.dims())?;
    dispatch!(a.dtype(), real, T => {
        let vectors = a.as_slice::<T>()?.chunks(3).zip(b.as_slice::<T>()?.chunks(3));
        for (out, (a, b)) in out.as_mut_slice::<T>()?.chunks_mut(3).zip(vectors) {
            let minor = |i: usize, j: usize| Number::sub(Number::mul(a[i], b[j]), Number::mul(a[j], b[i]));
            out.copy_from_slice(&[minor(1, 2), minor(2, 0), minor(0, 1)]);
        }
    });
    ctx.set(0, out)
}

/// The dimensions in two vectors, as kernels read them.
fn two_shapes(ctx: &KernelCtx) -> Result<[Vec<usize>; 2]> {
    let shape = |index: usize| -> Result<Vec<usize>> {
        let shape = ctx.input(index)?;
        if shape.rank() != 1 {
            bail!(InvalidArgument, "In[{index}] must be a vector.{:?}", shape.dims());
        }
        Ok(shape.to_dims()?.to_vec())
    };
    Ok([shape(0)?, shape(1)?])
}

fn set_indices(ctx: &mut KernelCtx, output: usize, values: &[usize]) -> Result<()> {
    let tensor = match ctx.node().output_types[output] {
        DType::Int32 => Tensor::new(&[values.len()], values.iter().map(|&v| v as i32).collect())?,
        _ => Tensor::new(&[values.len()], values.iter().map(|&v| v as i64).collect())?,
    };
    ctx.set(output, tensor)
}

fn broadcast_args_shape(ctx: &mut InferCtx) -> Result<()> {
    let (x, y) = (ctx.input(0).with_rank(1)?, ctx.input(1).with_rank(1)?);
    let size = x.dim(0).zip(y.dim(0)).map(|(x, y)| x.max(y));
    ctx.set(0, Shape::vector(size))
}

fn broadcast_args(ctx: &mut KernelCtx) -> Result<()> {
    let [x, y] = two_shapes(ctx)?;
    match broadcast_dims(&x, &y) {
        Some(dims) => set_indices(ctx, 0, &dims),
        None => Err(super::broadcast::incompatible(&x, &y)),
    }
}

fn gradient_args_shape(ctx: &mut InferCtx) -> Result<()> {
    ctx.input(0).with_rank(1)?;
    ctx.input(1).with_rank(1)?;
    ctx.set(0, Shape::vector(None))?;
    ctx.set(1, Shape::vector(None))
}

fn gradient_args(ctx: &mut KernelCtx) -> Result<()> {
    let [x, y] = two_shapes(ctx)?;
    let Some((x_axes, y_axes)) = reduction_axes(&x, &y) else { return Err(super::broadcast::incompatible(&x, &y)) };
    set_indices(ctx, 0, &x_axes)?;
    set_indices(ctx, 1, &y_axes)
}

/// The axes over which a gradient of the broadcast shape is summed for each of two operands; none where they don't
/// broadcast.
pub(crate) fn reduction_axes(x: &[usize], y: &[usize]) -> Option<(Vec<usize>, Vec<usize>)> {
    broadcast_dims(x, y)?;
    let (mut x_axes, mut y_axes) = (Vec::new(), Vec::new());
    if x == y {
        return Some((x_axes, y_axes));
    }
    let rank = x.len().max(y.len());
    let size = |dims: &[usize], i: usize| (i + dims.len()).checked_sub(rank).map_or(1, |at| dims[at]);
    for i in 0..rank {
        let (p, q) = (size(x, i), size(y, i));
        if p == 1 {
            x_axes.push(i);
        }
        if q == 1 {
            y_axes.push(i);
        }
    }
    Some((x_axes, y_axes))
}
