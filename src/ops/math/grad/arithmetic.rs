//! Arithmetic of two operands, choice and clipping.

use super::broadcast::{broadcast_partials, reduce_gradient_args, shapes_are_equal};
use super::{Gradients, number, some};
use crate::error::Result;
use crate::graph::{Gradient, Grads, Graph, Operation, Output};
use crate::ops::convert::Arg;
use crate::tensor::DType;

/// The inputs of a node with two.
fn operands(g: &Graph, op: Operation) -> Result<(Output, Output)> {
    Ok((g.input(op, 0)?, g.input(op, 1)?))
}

pub fn add(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (x, y) = operands(g, op)?;
    let grad = grads.dense(g, 0)?;
    if shapes_are_equal(g, x, y, grad)? {
        return some([grad, grad]);
    }
    reduce_gradient_args(g, x, y, Some(grad), Some(grad))
}

pub fn sub(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (x, y) = operands(g, op)?;
    let grad = grads.dense(g, 0)?;
    let negative = g.neg(grad)?;
    if shapes_are_equal(g, x, y, grad)? {
        return some([grad, negative]);
    }
    reduce_gradient_args(g, x, y, Some(grad), Some(negative))
}

pub fn mul(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (x, y) = operands(g, op)?;
    let grad = grads.dense(g, 0)?;
    if shapes_are_equal(g, x, y, grad)? && matches!(g.dtype(grad)?, DType::Int32 | DType::Float) {
        return some([g.multiply(grad, y)?, g.multiply(grad, x)?]);
    }
    let gx = g.multiply(grad, g.conj(y)?)?;
    let gy = g.multiply(g.conj(x)?, grad)?;
    reduce_gradient_args(g, x, y, Some(gx), Some(gy))
}

pub fn mul_no_nan(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (x, y) = operands(g, op)?;
    let grad = grads.dense(g, 0)?;
    let product = |a: Output, b: Output| g.op("MulNoNan").input(a).input(b).output();
    let (gx, gy) = (product(grad, y)?, product(x, grad)?);
    if shapes_are_equal(g, x, y, grad)? {
        return some([gx, gy]);
    }
    reduce_gradient_args(g, x, y, Some(gx), Some(gy))
}

/// `grad / y` and `grad * (-x / y / y)` for any division.
fn quotient(g: &Graph, op: Operation, grads: &Grads, divide: impl Fn(Output, Output) -> Result<Output>) -> Gradients {
    let (x, y) = operands(g, op)?;
    let grad = grads.dense(g, 0)?;
    let (cx, cy) = (g.conj(x)?, g.conj(y)?);
    let gx = divide(grad, cy)?;
    let first = divide(g.neg(cx)?, cy)?;
    let second = divide(first, cy)?;
    let gy = g.mul(grad, second)?;
    reduce_gradient_args(g, x, y, Some(gx), Some(gy))
}

pub fn div(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    quotient(g, op, grads, |a, b| g.truediv(a, b))
}

pub fn real_div(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    quotient(g, op, grads, |a, b| g.realdiv(a, b))
}

pub fn div_no_nan(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    quotient(g, op, grads, |a, b| g.div_no_nan(a, b))
}

pub fn floor_mod(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (x, y) = operands(g, op)?;
    let grad = grads.dense(g, 0)?;
    let quotient = g.floor_div(g.conj(x)?, g.conj(y)?)?;
    let gy = g.mul(grad, g.neg(quotient)?)?;
    reduce_gradient_args(g, x, y, Some(grad), Some(gy))
}

pub fn pow(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (x, y) = operands(g, op)?;
    let grad = grads.dense(g, 0)?;
    let (cx, cy) = (g.conj(x)?, g.conj(y)?);
    let scaled = g.mul(grad, cy)?;
    let less_one = g.sub(cy, 1i32)?;
    let power = g.math_pow(cx, less_one)?;
    let gx = g.mul(scaled, power)?;
    let mask = if g.dtype(x)?.is_complex() { g.not_equal(cx, 0i32)? } else { g.greater(cx, 0i32)? };
    let safe_x = g.where_v1(mask, cx, g.ones_like(x)?)?;
    let log = g.log(safe_x)?;
    let log_x = g.where_v1(mask, log, g.zeros_like(x)?)?;
    let result = g.conj(op.output(0))?;
    let gy = g.mul(g.mul(grad, result)?, log_x)?;
    reduce_gradient_args(g, x, y, Some(gx), Some(gy))
}

fn extremum(g: &Graph, op: Operation, grads: &Grads, selects: impl Fn(Output, Output) -> Result<Output>) -> Gradients {
    let (x, y) = operands(g, op)?;
    let grad = grads.dense(g, 0)?;
    let zeros = g.zeros_like(grad)?;
    let mask = selects(x, y)?;
    let gx = g.where_v2(mask, grad, zeros)?;
    let gy = g.where_v2(mask, zeros, grad)?;
    reduce_gradient_args(g, x, y, Some(gx), Some(gy))
}

pub fn maximum(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    extremum(g, op, grads, |x, y| g.greater_equal(x, y))
}

pub fn minimum(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    extremum(g, op, grads, |x, y| g.less_equal(x, y))
}

pub fn squared_difference(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (x, y) = operands(g, op)?;
    let grad = grads.dense(g, 0)?;
    let gx = {
        let _after = g.control_dependencies(&[grad.op])?;
        let twice = g.scalar_mul(2f64, grad)?;
        g.mul(twice, g.sub(x, y)?)?
    };
    let gy = g.neg(gx)?;
    if shapes_are_equal(g, x, y, grad)? {
        return some([gx, gy]);
    }
    reduce_gradient_args(g, x, y, Some(gx), Some(gy))
}

pub fn atan2(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (y, x) = operands(g, op)?;
    let grad = grads.dense(g, 0)?;
    let _after = g.control_dependencies(&[grad.op])?;
    let (y2, x2) = (g.square(y)?, g.square(x)?);
    let inverse = g.truediv(grad, g.add(y2, x2)?)?;
    let gy = g.mul(x, inverse)?;
    let gx = g.mul(g.neg(y)?, inverse)?;
    reduce_gradient_args(g, y, x, Some(gy), Some(gx))
}

/// Where x isn't zero, as a number.
fn not_zero(g: &Graph, x: Output) -> Result<Output> {
    let dtype = g.dtype(x)?;
    // Python casts the number 0.0, a constant "Cast/x" that is already a float32.
    let zero = {
        let scope = g.name_scope("Cast")?;
        let zero = g.named("x").constant(0f32)?;
        if dtype == DType::Float { zero } else { g.named(scope.name()).cast(zero, dtype)? }
    };
    g.cast(g.not_equal(x, zero)?, dtype)
}

pub fn xlogy(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (x, y) = operands(g, op)?;
    broadcast_partials(g, (x, y), grads.dense(g, 0)?, |_, _| {
        let one = not_zero(g, x)?;
        Ok((Some(g.xlogy(one, y)?), Some(g.call("Xdivy").arg(x).arg(y).output()?)))
    })
}

pub fn xlog1py(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (x, y) = operands(g, op)?;
    broadcast_partials(g, (x, y), grads.dense(g, 0)?, |_, _| {
        let one = not_zero(g, x)?;
        let px = g.op("Xlog1py").input(one).input(y).output()?;
        let more = g.add(y, 1f64)?;
        Ok((Some(px), Some(g.op("Xdivy").input(x).input(more).output()?)))
    })
}

pub fn xdivy(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (x, y) = operands(g, op)?;
    broadcast_partials(g, (x, y), grads.dense(g, 0)?, |_, _| {
        let one = not_zero(g, x)?;
        let px = g.op("Xdivy").input(one).input(y).output()?;
        let negative = g.neg(x)?;
        let square = g.pow(y, 2i32)?;
        Ok((Some(px), Some(g.op("Xdivy").input(negative).input(square).output()?)))
    })
}

pub fn next_after(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (x, y) = operands(g, op)?;
    let (dx, dy) = (g.dtype(x)?, g.dtype(y)?);
    broadcast_partials(g, (x, y), grads.dense(g, 0)?, |sx, sy| Ok((Some(g.ones(sx, dx)?), Some(g.zeros(sy, dy)?))))
}

pub fn complex(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (x, y) = operands(g, op)?;
    let grad = grads.dense(g, 0)?;
    let (gx, gy) = (g.real(grad)?, g.imag(grad)?);
    reduce_gradient_args(g, x, y, Some(gx), Some(gy))
}

pub fn select(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (condition, x) = operands(g, op)?;
    let grad = grads.dense(g, 0)?;
    let zeros = g.zeros_like(x)?;
    let gx = g.where_v1(condition, grad, zeros)?;
    let gy = g.where_v1(condition, zeros, grad)?;
    Ok(vec![None, Some(gx.into()), Some(gy.into())])
}

pub fn select_v2(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (condition, x, y) = (g.input(op, 0)?, g.input(op, 1)?, g.input(op, 2)?);
    let (z, grad) = (op.output(0), grads.dense(g, 0)?);
    let zeros = g.zeros(Arg::List(Vec::new()), g.dtype(grad)?)?;
    let gx = g.where_v2(condition, grad, zeros)?;
    let gy = g.where_v2(condition, zeros, grad)?;
    let gx = reduce_gradient_args(g, x, z, Some(gx), None)?[0];
    let gy = reduce_gradient_args(g, y, z, Some(gy), None)?[0];
    Ok(vec![None, gx, gy])
}

pub fn clip_by_value(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (x, y, z) = (g.input(op, 0)?, g.input(op, 1)?, g.input(op, 2)?);
    let grad = grads.dense(g, 0)?;
    let (sx, sy, sz) = (g.shape_tensor(x)?, g.shape_tensor(y)?, g.shape_tensor(z)?);
    let grad_shape = g.shape_tensor(grad)?;
    let zeros = g.zeros(grad_shape, g.dtype(grad)?)?;
    let below = g.less(x, y)?;
    let above = g.greater(x, z)?;
    let ry = g.op("BroadcastGradientArgs").input(sx).input(sy).outputs()?[1];
    let rz = g.op("BroadcastGradientArgs").input(sx).input(sz).outputs()?[1];
    let gx = g.where_v1(g.logical_or(below, above)?, zeros, grad)?;
    let gy = g.where_v1(below, grad, zeros)?;
    let gz = g.where_v1(above, grad, zeros)?;
    let gy = g.reshape(g.reduce_sum(gy, ry, false)?, sy)?;
    let gz = g.reshape(g.reduce_sum(gz, rz, false)?, sz)?;
    some([gx, gy, gz])
}

pub fn real(g: &Graph, _: Operation, grads: &Grads) -> Gradients {
    let grad = grads.dense(g, 0)?;
    let zero = number(g, 0.0, g.dtype(grad)?)?;
    some([g.complex(grad, zero)?])
}

pub fn imag(g: &Graph, _: Operation, grads: &Grads) -> Gradients {
    let grad = grads.dense(g, 0)?;
    let zero = number(g, 0.0, g.dtype(grad)?)?;
    some([g.complex(zero, grad)?])
}

pub fn angle(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (x, grad) = (g.input(op, 0)?, grads.dense(g, 0)?);
    let _after = g.control_dependencies(&[grad.op])?;
    let (re, im) = (g.real(x)?, g.imag(x)?);
    let z = g.reciprocal(g.complex(im, re)?)?;
    let zero = number(g, 0.0, g.dtype(grad)?)?;
    let grad = g.complex(grad, zero)?;
    some([g.mul(g.neg(grad)?, z)?])
}

pub fn conj(g: &Graph, _: Operation, grads: &Grads) -> Gradients {
    some([g.conj(grads.dense(g, 0)?)?])
}

pub fn complex_abs(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (grad, size) = (grads.dense(g, 0)?, op.output(0));
    let wide = g.complex(grad, g.zeros_like(grad)?)?;
    let product = g.mul(wide, g.input(op, 0)?)?;
    let size = g.complex(size, g.zeros_like(size)?)?;
    some([g.div_no_nan(product, size)?])
}

pub fn cast(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let source = g.dtype(g.input(op, 0)?)?;
    let is_inexact = |d: DType| d.is_floating() || d.is_complex();
    let target = g.dtype(op.output(0))?;
    if !is_inexact(source) || !is_inexact(target) {
        return Ok(vec![None]);
    }
    match grads.get(0) {
        Some(Gradient::Sparse(mut slices)) => {
            let (inner, scope) = g.enter("Cast")?;
            slices.values = inner.named(scope.name()).cast(slices.values, source)?;
            Ok(vec![Some(Gradient::Sparse(slices))])
        }
        _ => some([g.cast(grads.dense(g, 0)?, source)?]),
    }
}
