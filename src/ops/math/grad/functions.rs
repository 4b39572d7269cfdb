//! Functions of one operand.

use super::{Gradients, number, some, whole};
use crate::error::Result;
use crate::graph::{Grads, Graph, Operation, Output};
use std::f64::consts::PI;

/// Makes the gradient from the input, conjugated, and the gradient, after the latter.
fn of_input(g: &Graph, op: Operation, grads: &Grads, make: impl FnOnce(Output, Output) -> Result<Output>) -> Gradients {
    let (x, grad) = (g.input(op, 0)?, grads.dense(g, 0)?);
    let _after = g.control_dependencies(&[grad.op])?;
    let x = g.conj(x)?;
    some([make(x, grad)?])
}

/// The same from the output.
fn of_output(g: &Graph, op: Operation, grads: &Grads, make: impl FnOnce(Output, Output) -> Result<Output>) -> Gradients {
    let grad = grads.dense(g, 0)?;
    let _after = g.control_dependencies(&[grad.op])?;
    let y = g.conj(op.output(0))?;
    some([make(y, grad)?])
}

/// A node that takes the output and the gradient, after nothing.
fn grad_node(g: &Graph, op: Operation, grads: &Grads, name: &str) -> Gradients {
    some([g.op(name).input(op.output(0)).input(grads.dense(g, 0)?).output()?])
}

pub fn abs(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let grad = grads.dense(g, 0)?;
    some([g.mul(grad, g.sign(g.input(op, 0)?)?)?])
}

pub fn neg(g: &Graph, _: Operation, grads: &Grads) -> Gradients {
    some([g.neg(grads.dense(g, 0)?)?])
}

pub fn reciprocal(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    grad_node(g, op, grads, "ReciprocalGrad")
}

pub fn sqrt(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    grad_node(g, op, grads, "SqrtGrad")
}

pub fn rsqrt(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    grad_node(g, op, grads, "RsqrtGrad")
}

pub fn square(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    of_input(g, op, grads, |x, grad| {
        let two = number(g, 2.0, g.dtype(x)?)?;
        g.multiply(grad, g.multiply(x, two)?)
    })
}

pub fn exp(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    of_output(g, op, grads, |y, grad| g.mul(grad, y))
}

pub fn expm1(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    of_input(g, op, grads, |x, grad| g.mul(grad, g.exp(x)?))
}

pub fn log(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    of_input(g, op, grads, |x, grad| g.mul(grad, g.reciprocal(x)?))
}

pub fn log1p(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    of_input(g, op, grads, |x, grad| g.mul(grad, g.reciprocal(g.add(1i32, x)?)?))
}

pub fn sinh(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    of_input(g, op, grads, |x, grad| g.mul(grad, g.cosh(x)?))
}

pub fn cosh(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    of_input(g, op, grads, |x, grad| g.mul(grad, g.sinh(x)?))
}

pub fn tanh(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    of_output(g, op, grads, |y, grad| g.op("TanhGrad").input(y).input(grad).output())
}

pub fn sigmoid(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    of_output(g, op, grads, |y, grad| g.op("SigmoidGrad").input(y).input(grad).output())
}

pub fn asinh(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    of_output(g, op, grads, |y, grad| g.truediv(grad, g.cosh(y)?))
}

pub fn acosh(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    of_output(g, op, grads, |y, grad| g.truediv(grad, g.sinh(y)?))
}

pub fn atanh(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    of_input(g, op, grads, |x, grad| {
        let square = g.square(x)?;
        let one = whole(g, 1, g.dtype(grad)?)?;
        g.mul(grad, g.reciprocal(g.subtract(one, square)?)?)
    })
}

pub fn sin(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    of_input(g, op, grads, |x, grad| g.mul(grad, g.cos(x)?))
}

pub fn cos(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    of_input(g, op, grads, |x, grad| g.mul(g.neg(grad)?, g.sin(x)?))
}

pub fn tan(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    of_input(g, op, grads, |x, grad| g.mul(g.square(g.reciprocal(g.cos(x)?)?)?, grad))
}

/// `1 / sqrt(1 - x^2)`.
fn inverse_of_root(g: &Graph, x: Output, grad: Output) -> Result<Output> {
    let square = g.square(x)?;
    let one = whole(g, 1, g.dtype(grad)?)?;
    g.reciprocal(g.sqrt(g.subtract(one, square)?)?)
}

pub fn asin(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    of_input(g, op, grads, |x, grad| g.mul(grad, inverse_of_root(g, x, grad)?))
}

pub fn acos(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    of_input(g, op, grads, |x, grad| {
        let inverse = inverse_of_root(g, x, grad)?;
        g.mul(g.neg(grad)?, inverse)
    })
}

pub fn atan(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    of_input(g, op, grads, |x, grad| {
        let square = g.square(x)?;
        let one = whole(g, 1, g.dtype(grad)?)?;
        g.mul(grad, g.reciprocal(g.math_add(one, square)?)?)
    })
}

pub fn sign(g: &Graph, op: Operation, _: &Grads) -> Gradients {
    some([g.zeros_like(g.input(op, 0)?)?])
}

/// The gradient of `-dy conj(y)^2`.
pub fn reciprocal_grad(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (a, b, grad) = (g.input(op, 0)?, g.input(op, 1)?, grads.dense(g, 0)?);
    let _after = g.control_dependencies(&[grad.op])?;
    let (ca, cg) = (g.conj(a)?, g.conj(grad)?);
    let ga = g.mul(g.mul(g.mul(cg, -2f64)?, b)?, ca)?;
    some([ga, g.op("ReciprocalGrad").input(ca).input(grad).output()?])
}

pub fn sqrt_grad(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (a, y, grad) = (g.input(op, 0)?, op.output(0), grads.dense(g, 0)?);
    let _after = g.control_dependencies(&[grad.op])?;
    let ga = g.truediv(grad, a)?;
    let first = g.mul(g.neg(g.conj(ga)?)?, y)?;
    some([first, g.mul(0.5f64, ga)?])
}

pub fn rsqrt_grad(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (a, b, grad) = (g.input(op, 0)?, g.input(op, 1)?, grads.dense(g, 0)?);
    let _after = g.control_dependencies(&[grad.op])?;
    let (ca, cg) = (g.conj(a)?, g.conj(grad)?);
    let scaled = g.mul(g.mul(-1.5f64, cg)?, b)?;
    let ga = g.mul(scaled, g.square(ca)?)?;
    some([ga, g.op("RsqrtGrad").input(ca).input(grad).output()?])
}

pub fn tanh_grad(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (a, b, grad) = (g.input(op, 0)?, g.input(op, 1)?, grads.dense(g, 0)?);
    let _after = g.control_dependencies(&[grad.op])?;
    let (a, b) = (g.conj(a)?, g.conj(b)?);
    let ga = g.mul(g.mul(g.mul(grad, -2f64)?, b)?, a)?;
    some([ga, g.op("TanhGrad").input(a).input(grad).output()?])
}

pub fn sigmoid_grad(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (a, b, grad) = (g.input(op, 0)?, g.input(op, 1)?, grads.dense(g, 0)?);
    let _after = g.control_dependencies(&[grad.op])?;
    let (a, b) = (g.conj(a)?, g.conj(b)?);
    let gb = g.mul(grad, b)?;
    let twice = g.mul(g.mul(2f64, gb)?, a)?;
    let ga = g.sub(gb, twice)?;
    some([ga, g.op("SigmoidGrad").input(a).input(grad).output()?])
}

/// `grad * factor * exp(-x^2)`.
fn gaussian(g: &Graph, op: Operation, grads: &Grads, factor: f64) -> Gradients {
    let factor = number(g, factor, g.dtype(grads.dense(g, 0)?)?)?;
    of_input(g, op, grads, |x, grad| {
        let scaled = g.mul(grad, factor)?;
        g.mul(scaled, g.exp(g.neg(g.square(x)?)?)?)
    })
}

pub fn erf(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    gaussian(g, op, grads, 2.0 / PI.sqrt())
}

pub fn erfc(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    gaussian(g, op, grads, -2.0 / PI.sqrt())
}

pub fn erfinv(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let grad = grads.dense(g, 0)?;
    let factor = number(g, PI.sqrt() / 2.0, g.dtype(grad)?)?;
    let _after = g.control_dependencies(&[grad.op])?;
    let scaled = g.mul(grad, factor)?;
    some([g.mul(scaled, g.exp(g.square(op.output(0))?)?)?])
}

pub fn ndtri(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let grad = grads.dense(g, 0)?;
    let factor = number(g, (2.0 * PI).sqrt(), g.dtype(grad)?)?;
    let _after = g.control_dependencies(&[grad.op])?;
    let scaled = g.mul(grad, factor)?;
    let half = g.truediv(g.square(op.output(0))?, 2f64)?;
    some([g.mul(scaled, g.exp(half)?)?])
}

pub fn lgamma(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    of_input(g, op, grads, |x, grad| g.mul(grad, g.digamma(x)?))
}

pub fn digamma(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    of_input(g, op, grads, |x, grad| {
        let one = whole(g, 1, g.dtype(x)?)?;
        g.mul(grad, g.polygamma(one, x)?)
    })
}
