//! Gradients of pooling and of its gradients.

use crate::graph::{Grads, Graph, Operation};
use crate::ops::nn::python::{Gradients, first_of, node_like, some};
use crate::tensor::Tensor;

const WINDOW: &[&str] = &["ksize", "strides", "padding", "data_format"];
const WINDOW_OR_EXPLICIT: &[&str] = &["ksize", "strides", "padding", "explicit_paddings", "data_format"];
const FORMAT: &[&str] = &["padding", "data_format"];
const ARGMAX: &[&str] = &["ksize", "strides", "padding", "include_batch_in_index"];

fn average(g: &Graph, op: Operation, grads: &Grads, kind: &str) -> Gradients {
    let shape = g.shape_tensor(g.input(op, 0)?)?;
    first_of(node_like(g, kind, &[shape, grads.dense(g, 0)?], op, WINDOW)?, 1)
}

fn average_twice(g: &Graph, op: Operation, grads: &Grads, kind: &str) -> Gradients {
    let shape = g.stop_gradient(g.input(op, 0)?)?;
    let pooled = node_like(g, kind, &[grads.dense(g, 0)?], op, WINDOW)?;
    Ok(vec![some(shape), some(pooled)])
}

pub fn avg_pool(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    average(g, op, grads, "AvgPoolGrad")
}

pub fn avg_pool_grad(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    average_twice(g, op, grads, "AvgPool")
}

pub fn avg_pool_3d(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    average(g, op, grads, "AvgPool3DGrad")
}

pub fn avg_pool_3d_grad(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    average_twice(g, op, grads, "AvgPool3D")
}

fn maximum(g: &Graph, op: Operation, grads: &Grads, kind: &str, attrs: &[&str]) -> Gradients {
    let inputs = [g.input(op, 0)?, op.output(0), grads.dense(g, 0)?];
    first_of(node_like(g, kind, &inputs, op, attrs)?, 1)
}

pub fn max_pool(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    maximum(g, op, grads, "MaxPoolGrad", WINDOW_OR_EXPLICIT)
}

pub fn max_pool_3d(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    maximum(g, op, grads, "MaxPool3DGrad", WINDOW)
}

/// Zeros for the first two inputs, and a node of both and the gradient for the third.
fn maximum_again(g: &Graph, op: Operation, grads: &Grads, kind: &str) -> Gradients {
    let (input, output) = (g.input(op, 0)?, g.input(op, 1)?);
    let (first, second) = (g.zeros_like(input)?, g.zeros_like(output)?);
    let third = node_like(g, kind, &[input, output, grads.dense(g, 0)?], op, WINDOW)?;
    Ok(vec![some(first), some(second), some(third)])
}

pub fn max_pool_grad(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    maximum_again(g, op, grads, "MaxPoolGradGrad")
}

pub fn max_pool_grad_grad(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    maximum_again(g, op, grads, "MaxPoolGrad")
}

pub fn max_pool_3d_grad(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    maximum_again(g, op, grads, "MaxPool3DGradGrad")
}

pub fn max_pool_3d_grad_grad(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    maximum_again(g, op, grads, "MaxPool3DGrad")
}

pub fn max_pool_v2(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let inputs = [g.input(op, 0)?, op.output(0), grads.dense(g, 0)?, g.input(op, 1)?, g.input(op, 2)?];
    first_of(node_like(g, "MaxPoolGradV2", &inputs, op, FORMAT)?, 3)
}

pub fn max_pool_grad_v2(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (input, output) = (g.input(op, 0)?, g.input(op, 1)?);
    let (first, second) = (g.zeros_like(input)?, g.zeros_like(output)?);
    let inputs = [input, output, grads.dense(g, 0)?, g.input(op, 3)?, g.input(op, 4)?];
    let third = node_like(g, "MaxPoolGradGradV2", &inputs, op, FORMAT)?;
    Ok(vec![some(first), some(second), some(third), None, None])
}

pub fn max_pool_with_argmax(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let inputs = [g.input(op, 0)?, grads.dense(g, 0)?, op.output(1)];
    first_of(node_like(g, "MaxPoolGradWithArgmax", &inputs, op, ARGMAX)?, 1)
}

pub fn fractional_max_pool(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let inputs = [g.input(op, 0)?, op.output(0), grads.dense(g, 0)?, op.output(1), op.output(2)];
    first_of(node_like(g, "FractionalMaxPoolGrad", &inputs, op, &["overlapping"])?, 1)
}

pub fn fractional_avg_pool(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let static_shape = g.shape(g.input(op, 0)?)?;
    let dims: Vec<i64> = static_shape.signed().unwrap_or_default().to_vec();
    let call = g.call("FractionalAvgPoolGrad").arg(Tensor::from(dims)).arg(grads.dense(g, 0)?);
    let call = call.arg(op.output(1)).arg(op.output(2)).attr("overlapping", g.get_attr(op, "overlapping")?);
    first_of(call.output()?, 1)
}
