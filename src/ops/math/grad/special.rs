//! Special functions.

use super::broadcast::broadcast_partials;
use super::{Gradients, some};
use crate::error::Result;
use crate::graph::{Gradient, Grads, Graph, Operation, Output};
use std::f64::consts::PI;

/// `grad` times a partial derivative made from input and output, after the gradient.
fn partial(g: &Graph, op: Operation, grads: &Grads, make: impl FnOnce(Output, Output) -> Result<Output>) -> Gradients {
    let (x, y, grad) = (g.input(op, 0)?, op.output(0), grads.dense(g, 0)?);
    let _after = g.control_dependencies(&[grad.op])?;
    let derivative = make(x, y)?;
    some([g.mul(grad, derivative)?])
}

pub fn dawsn(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    partial(g, op, grads, |x, y| {
        let product = g.mul(g.mul(2i32, x)?, y)?;
        g.sub(1f64, product)
    })
}

pub fn expint(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (x, grad) = (g.input(op, 0)?, grads.dense(g, 0)?);
    let _after = g.control_dependencies(&[grad.op])?;
    let product = g.mul(grad, g.exp(x)?)?;
    some([g.truediv(product, x)?])
}

pub fn fresnel_cos(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    partial(g, op, grads, |x, _| g.cos(g.mul(PI / 2.0, g.square(x)?)?))
}

pub fn fresnel_sin(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    partial(g, op, grads, |x, _| g.sin(g.mul(PI / 2.0, g.square(x)?)?))
}

pub fn spence(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    partial(g, op, grads, |x, _| {
        let log = g.log(x)?;
        let derivative = g.truediv(log, g.sub(1i32, x)?)?;
        let is_one = g.equal(x, 1f64)?;
        let limit = g.neg(g.ones_like(x)?)?;
        g.where_v1(is_one, limit, derivative)
    })
}

pub fn bessel_i0(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    partial(g, op, grads, |x, _| g.bessel_i1(x))
}

pub fn bessel_i0e(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    partial(g, op, grads, |x, y| {
        let first = g.bessel_i1e(x)?;
        g.sub(first, g.mul(g.sign(x)?, y)?)
    })
}

/// Chooses the limit at zero where x is zero. Python casts a number, a constant "Cast/x".
fn except_at_zero(g: &Graph, x: Output, limit: f64, otherwise: impl FnOnce() -> Result<Output>) -> Result<Output> {
    let is_zero = g.equal(x, 0f64)?;
    let limit = {
        let scope = g.name_scope("Cast")?;
        let limit = g.named("x").constant(limit as f32)?;
        g.named(scope.name()).cast(limit, g.dtype(x)?)?
    };
    g.where_v2(is_zero, limit, otherwise()?)
}

pub fn bessel_i1(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    partial(g, op, grads, |x, y| {
        except_at_zero(g, x, 1.0, || {
            let first = g.bessel_i0(x)?;
            g.sub(first, g.div_v1(y, x)?)
        })
    })
}

pub fn bessel_i1e(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    partial(g, op, grads, |x, y| {
        except_at_zero(g, x, 0.5, || {
            let first = g.bessel_i0e(x)?;
            let sign = g.sign(x)?;
            let factor = g.add(sign, g.reciprocal(x)?)?;
            g.sub(first, g.mul(y, factor)?)
        })
    })
}

pub fn bessel_k0(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    partial(g, op, grads, |x, _| g.neg(g.bessel_k1(x)?))
}

pub fn bessel_k0e(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    partial(g, op, grads, |x, y| g.sub(y, g.bessel_k1e(x)?))
}

pub fn bessel_k1(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    partial(g, op, grads, |x, y| {
        let first = g.neg(g.bessel_k0(x)?)?;
        g.sub(first, g.div_v1(y, x)?)
    })
}

pub fn bessel_k1e(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    partial(g, op, grads, |x, y| {
        let factor = g.sub(1f64, g.reciprocal(x)?)?;
        let product = g.mul(y, factor)?;
        g.sub(product, g.bessel_k0e(x)?)
    })
}

pub fn bessel_j0(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    partial(g, op, grads, |x, _| g.neg(g.bessel_j1(x)?))
}

pub fn bessel_j1(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    partial(g, op, grads, |x, y| {
        except_at_zero(g, x, 0.5, || {
            let first = g.bessel_j0(x)?;
            g.sub(first, g.div_v1(y, x)?)
        })
    })
}

pub fn bessel_y0(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    partial(g, op, grads, |x, _| g.neg(g.bessel_y1(x)?))
}

pub fn bessel_y1(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    partial(g, op, grads, |x, y| {
        let first = g.bessel_y0(x)?;
        g.sub(first, g.div_v1(y, x)?)
    })
}

fn igamma_gradients(g: &Graph, op: Operation, grads: &Grads) -> Result<Vec<Option<Gradient>>> {
    let (a, x) = (g.input(op, 0)?, g.input(op, 1)?);
    broadcast_partials(g, (a, x), grads.dense(g, 0)?, |_, _| {
        let pa = g.op("IgammaGradA").input(a).input(x).output()?;
        let negative = g.neg(x)?;
        let less = g.sub(a, 1i32)?;
        let scaled = g.mul(less, g.log(x)?)?;
        let exponent = g.add(negative, scaled)?;
        let exponent = g.sub(exponent, g.lgamma(a)?)?;
        Ok((Some(pa), Some(g.exp(exponent)?)))
    })
}

pub fn igamma(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    igamma_gradients(g, op, grads)
}

pub fn igammac(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let gradients = igamma_gradients(g, op, grads)?;
    let negative = |gradient: Option<Gradient>| match gradient {
        Some(Gradient::Dense(output)) => Ok(Some(g.neg(output)?.into())),
        other => Ok(other),
    };
    gradients.into_iter().map(negative).collect()
}

pub fn betainc(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (a, b, x) = (g.input(op, 0)?, g.input(op, 1)?, g.input(op, 2)?);
    let grad = grads.dense(g, 0)?;
    let (sa, sx) = (g.shape_tensor(a)?, g.shape_tensor(x)?);
    let rx = g.op("BroadcastGradientArgs").input(sa).input(sx).outputs()?[1];
    let lgamma_a = g.lgamma(a)?;
    let both = g.add(lgamma_a, g.lgamma(b)?)?;
    let log_beta = g.sub(both, g.lgamma(g.add(a, b)?)?)?;
    let less_b = g.sub(b, 1i32)?;
    let right = g.xlog1py(less_b, g.neg(x)?)?;
    let less_a = g.sub(a, 1i32)?;
    let left = g.xlogy(less_a, x)?;
    let exponent = g.sub(g.add(right, left)?, log_beta)?;
    let px = g.exp(exponent)?;
    let sum = g.reduce_sum(g.mul(px, grad)?, rx, false)?;
    Ok(vec![None, None, Some(g.reshape(sum, sx)?.into())])
}

pub fn zeta(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (x, q) = (g.input(op, 0)?, g.input(op, 1)?);
    broadcast_partials(g, (x, q), grads.dense(g, 0)?, |_, _| {
        let negative = g.neg(x)?;
        let more = g.add(x, 1i32)?;
        Ok((None, Some(g.mul(negative, g.zeta(more, q)?)?)))
    })
}

pub fn polygamma(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (n, x) = (g.input(op, 0)?, g.input(op, 1)?);
    broadcast_partials(g, (n, x), grads.dense(g, 0)?, |_, _| {
        let more = g.add(n, 1i32)?;
        Ok((None, Some(g.polygamma(more, x)?)))
    })
}
