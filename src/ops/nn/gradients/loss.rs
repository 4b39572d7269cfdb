//! Gradients of losses.

use crate::error::Result;
use crate::graph::{Grads, Graph, Operation, Output};
use crate::ops::nn::python::{Gradients, add, first_of, is_zeros, mul, node, some, sub};

/// A vector times the rows of a matrix.
fn broadcast_mul(g: &Graph, vector: Output, matrix: Output) -> Result<Output> {
    let column = g.expand_dims(vector, -1i32)?;
    mul(g, column, matrix)
}

/// The gradient of the logits, from those of the loss and of the op's second output.
fn logits_gradient(g: &Graph, op: Operation, grads: &Grads) -> Result<Output> {
    let gradient = broadcast_mul(g, grads.dense(g, 0)?, op.output(1))?;
    if grads.get(1).is_none() {
        return Ok(gradient);
    }
    let second = grads.dense(g, 1)?;
    if is_zeros(g, second) {
        return Ok(gradient);
    }
    let softmax = node(g, "Softmax", &[g.input(op, 0)?])?;
    let row = g.expand_dims(second, 1i32)?;
    let column = g.expand_dims(softmax, 2i32)?;
    let product = g.op("BatchMatMulV2").default_name("MatMul").input(row).input(column).output()?;
    let inner = g.squeeze(product, &[1])?;
    let difference = sub(g, second, inner)?;
    let change = mul(g, difference, softmax)?;
    add(g, gradient, change)
}

pub fn softmax_cross_entropy(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let logits = logits_gradient(g, op, grads)?;
    let log_softmax = node(g, "LogSoftmax", &[g.input(op, 0)?])?;
    let negative = node(g, "Neg", &[log_softmax])?;
    let labels = broadcast_mul(g, grads.dense(g, 0)?, negative)?;
    Ok(vec![some(logits), some(labels)])
}

pub fn sparse_softmax_cross_entropy(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    first_of(logits_gradient(g, op, grads)?, 2)
}

pub fn l2_loss(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    first_of(mul(g, g.input(op, 0)?, grads.dense(g, 0)?)?, 1)
}

pub fn ctc_loss(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    const MESSAGE: &str = "Currently there is no way to take the second  derivative of ctc_loss due to the fused implementation's \
                           interaction  with tf.gradients()";
    let gradient = g.prevent_gradient(op.output(1), MESSAGE)?;
    let loss = g.expand_dims(grads.dense(g, 0)?, -1i32)?;
    first_of(mul(g, loss, gradient)?, 4)
}
