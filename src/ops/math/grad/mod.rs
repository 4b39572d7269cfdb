//! The gradients of mathematical ops: the nodes that TensorFlow's `math_grad.py` makes, in its order.

mod arithmetic;
mod broadcast;
mod functions;
mod products;
mod reductions;
mod segments;
mod special;

pub(super) use arithmetic::*;
pub(super) use functions::*;
pub(super) use products::*;
pub(crate) use reductions::reduced_shape;
pub(super) use reductions::*;
pub(super) use segments::*;
pub(super) use special::*;

use crate::error::Result;
use crate::graph::op::{Grad, GradFn};
use crate::graph::{Gradient, Grads, Graph, Operation, Output};
use crate::ops::convert::cast_value;
use crate::tensor::{DType, Tensor};

/// What a gradient function returns.
pub(crate) type Gradients = Result<Vec<Option<Gradient>>>;

/// Gradients that exist.
pub(crate) fn some<const N: usize>(outputs: [Output; N]) -> Gradients {
    Ok(outputs.into_iter().map(|o| Some(o.into())).collect())
}

/// A gradient for the first input alone, of two.
pub(crate) fn first_of_two(output: Output) -> Gradients {
    Ok(vec![Some(output.into()), None])
}

/// No gradient for any input, where TensorFlow registers a function that says so.
pub(crate) const NONE: Grad = {
    const FUNCTION: GradFn = |g, op, _| Ok(vec![None; g.inputs(op).len()]);
    Grad::Fn(FUNCTION)
};

/// A constant of a number.
pub(crate) fn number(g: &Graph, value: f64, dtype: DType) -> Result<Output> {
    g.constant(cast_value(&Tensor::scalar(value), dtype)?)
}

/// A constant of a whole number.
pub(crate) fn whole(g: &Graph, value: i32, dtype: DType) -> Result<Output> {
    g.constant(cast_value(&Tensor::scalar(value), dtype)?)
}

/// The gradient of each input is that of the output.
pub(super) fn copied(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    Ok(vec![grads.get(0); g.inputs(op).len()])
}
