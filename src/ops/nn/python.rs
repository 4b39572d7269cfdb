//! What gradient functions and builders of this family write as Python does: operators and short calls.

use crate::error::Result;
use crate::graph::{Gradient, Graph, Operation, Output};
use crate::ops::convert::Arg;
use crate::tensor::DType;

/// What a gradient function returns.
pub(super) type Gradients = Result<Vec<Option<Gradient>>>;

pub(super) fn some(output: Output) -> Option<Gradient> {
    Some(output.into())
}

/// The gradient of an op's only differentiable input, the first of `count`.
pub(super) fn first_of(output: Output, count: usize) -> Gradients {
    let mut gradients = vec![None; count];
    if let Some(first) = gradients.first_mut() {
        *first = some(output);
    }
    Ok(gradients)
}

/// A node of an op's type and name, from tensors alone.
pub(super) fn node(g: &Graph, op: &str, inputs: &[Output]) -> Result<Output> {
    inputs.iter().fold(g.op(op), |builder, &input| builder.input(input)).output()
}

/// A node that takes attributes of the same names from another.
pub(super) fn node_like(g: &Graph, op: &str, inputs: &[Output], like: Operation, attrs: &[&str]) -> Result<Output> {
    let mut builder = inputs.iter().fold(g.op(op), |builder, &input| builder.input(input));
    for attr in attrs {
        builder = builder.attr(attr, g.get_attr(like, attr)?);
    }
    builder.output()
}

/// Python's `x * y`.
pub(super) fn mul(g: &Graph, x: impl Into<Arg>, y: impl Into<Arg>) -> Result<Output> {
    g.operator("mul", "Mul", x, y)
}

/// Python's `x + y`.
pub(super) fn add(g: &Graph, x: impl Into<Arg>, y: impl Into<Arg>) -> Result<Output> {
    g.operator("add", "AddV2", x, y)
}

/// Python's `x - y`.
pub(super) fn sub(g: &Graph, x: impl Into<Arg>, y: impl Into<Arg>) -> Result<Output> {
    g.operator("sub", "Sub", x, y)
}

/// Python's `x / y` of floats.
pub(super) fn div(g: &Graph, x: impl Into<Arg>, y: impl Into<Arg>) -> Result<Output> {
    g.operator("truediv", "RealDiv", x, y)
}

/// `tf.reduce_sum` over one axis.
pub(super) fn sum_over(g: &Graph, x: Output, axis: i32, keep_dims: bool) -> Result<Output> {
    g.call("Sum").arg(x).arg(axis).attr("keep_dims", keep_dims).output()
}

/// True for a tensor that was made as zeros, as the gradient of an output that nothing depends on is.
pub(super) fn is_zeros(g: &Graph, output: Output) -> bool {
    let last = g.op_name(output.op);
    let last = last.rsplit('/').next().unwrap_or_default();
    match g.op_type(output.op).as_str() {
        "ZerosLike" => true,
        "Const" | "Fill" => last.starts_with("zeros"),
        _ => false,
    }
}

/// `tf.cast`: nothing where the dtype is right already.
pub(super) fn cast(g: &Graph, x: Output, dtype: DType) -> Result<Output> {
    if g.dtype(x)? == dtype { Ok(x) } else { g.op("Cast").input(x).attr("DstT", dtype).output() }
}

/// `tf.range(start, limit)`.
pub(super) fn range(g: &Graph, start: impl Into<Arg>, limit: impl Into<Arg>) -> Result<Output> {
    g.call("Range").default_name("range").arg(start).arg(limit).arg(1i32).output()
}
