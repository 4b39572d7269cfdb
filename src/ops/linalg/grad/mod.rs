//! The gradients of linear algebra: the nodes that TensorFlow's `linalg_grad.py` makes, in its order.

mod decompose;
mod einsum;
mod solve;
mod tridiagonal;

pub(super) use decompose::*;
pub(super) use einsum::*;
pub(super) use solve::*;
pub(super) use tridiagonal::*;

use crate::error::Result;
use crate::graph::{Gradient, Graph, Operation, Output, attr};
use crate::ops::Idx;
use crate::ops::convert::Arg;
use crate::ops::math::functions::MatMulOptions;

/// What a gradient function returns.
type Gradients = Result<Vec<Option<Gradient>>>;

/// A gradient for the only input.
fn one(output: Output) -> Gradients {
    Ok(vec![Some(output.into())])
}

fn two(a: Output, b: Output) -> Gradients {
    Ok(vec![Some(a.into()), Some(b.into())])
}

fn flag(g: &Graph, op: Operation, name: &str) -> Result<bool> {
    attr::boolean(&g.get_attr(op, name)?)
}

/// `matmul(a, b, adjoint_a, adjoint_b)`.
fn product(g: &Graph, (a, adjoint_a): (Output, bool), (b, adjoint_b): (Output, bool)) -> Result<Output> {
    g.matmul_with(a, b, MatMulOptions { adjoint_a, adjoint_b, ..Default::default() })
}

fn times(g: &Graph, a: Output, b: Output) -> Result<Output> {
    product(g, (a, false), (b, false))
}

/// The leading dimensions of a shape vector: `shape[:-2]`.
fn outer(g: &Graph, shape: Output) -> Result<Output> {
    g.index(shape, &[(..Arg::from(-2i32)).into()])
}

/// Sums the gradients of two batches over the outer dimensions along which they were broadcast.
fn unbroadcast(g: &Graph, (a, grad_a): (Output, Output), (b, grad_b): (Output, Output)) -> Gradients {
    let (shape_a, shape_b) = (g.shape(a)?, g.shape(b)?);
    if shape_a.is_fully_known() && shape_b.is_fully_known() && shape_a.slice(0, -2) == shape_b.slice(0, -2) {
        return two(grad_a, grad_b);
    }
    let (shape_a, shape_b) = (g.shape_tensor(a)?, g.shape_tensor(b)?);
    let axes = {
        let (outer_a, outer_b) = (outer(g, shape_a)?, outer(g, shape_b)?);
        g.op("BroadcastGradientArgs").input(outer_a).input(outer_b).outputs()?
    };
    let sum_a = g.reduce_sum(grad_a, axes[0], false)?;
    let grad_a = g.reshape(sum_a, shape_a)?;
    let sum_b = g.reduce_sum(grad_b, axes[1], false)?;
    two(grad_a, g.reshape(sum_b, shape_b)?)
}

/// `x[..., :, from:to]`.
fn columns(g: &Graph, x: Output, from: Option<usize>, to: Option<usize>) -> Result<Output> {
    let arg = |n: usize| Arg::from(n as i32);
    let range = Idx::Range { start: from.map(arg), stop: to.map(arg), step: None };
    g.index(x, &[Idx::Ellipsis, (..).into(), range])
}
