//! Gradients of activations, biases and softmax.

use crate::error::Result;
use crate::graph::{Grads, Graph, Operation, Output};
use crate::ops::array::Idx;
use crate::ops::convert::Arg;
use crate::ops::nn::python::{Gradients, add, div, first_of, mul, node, node_like, some, sub, sum_over};

/// A gradient that is one node of the output's gradient and the op's output or input.
macro_rules! one_node {
    ($($name:ident: $op:literal, output $(, $attr:literal)?;)*) => {
        $(pub fn $name(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
            first_of(node_like(g, $op, &[grads.dense(g, 0)?, op.output(0)], op, &[$($attr)?])?, 1)
        })*
    };
}

/// The same of the op's input.
macro_rules! one_node_of_input {
    ($($name:ident: $op:literal $(, $attr:literal)?;)*) => {
        $(pub fn $name(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
            first_of(node_like(g, $op, &[grads.dense(g, 0)?, g.input(op, 0)?], op, &[$($attr)?])?, 1)
        })*
    };
}

/// The gradient of a gradient of a piecewise linear function: the same function again, and zeros.
macro_rules! linear_twice {
    ($($name:ident: $op:literal $(, $attr:literal)?;)*) => {
        $(pub fn $name(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
            let x = g.input(op, 1)?;
            let first = node_like(g, $op, &[grads.dense(g, 0)?, x], op, &[$($attr)?])?;
            Ok(vec![some(first), some(g.zeros_like(x)?)])
        })*
    };
}

one_node! {
    relu: "ReluGrad", output;
    relu6: "Relu6Grad", output;
    elu: "EluGrad", output;
    selu: "SeluGrad", output;
}

one_node_of_input! {
    leaky_relu: "LeakyReluGrad", "alpha";
    softsign: "SoftsignGrad";
}

linear_twice! {
    relu_grad: "ReluGrad";
    relu6_grad: "Relu6Grad";
    leaky_relu_grad: "LeakyReluGrad", "alpha";
}

fn exponential_twice(g: &Graph, op: Operation, grads: &Grads, kind: &str, zero: Arg) -> Gradients {
    let (grad, y) = (grads.dense(g, 0)?, g.input(op, 1)?);
    let first = node(g, kind, &[grad, y])?;
    let below = g.call("Less").arg(y).arg(zero).output()?;
    let product = mul(g, grad, g.input(op, 0)?)?;
    let zeros = g.zeros_like(y)?;
    let second = node(g, "Select", &[below, product, zeros])?;
    Ok(vec![some(first), some(second)])
}

pub fn elu_grad(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    exponential_twice(g, op, grads, "EluGrad", 0i32.into())
}

pub fn selu_grad(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    exponential_twice(g, op, grads, "SeluGrad", 0f32.into())
}

pub fn softplus(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let slope = node(g, "Sigmoid", &[g.input(op, 0)?])?;
    first_of(mul(g, grads.dense(g, 0)?, slope)?, 1)
}

pub fn softplus_grad(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (grad, dy, x) = (grads.dense(g, 0)?, g.input(op, 0)?, g.input(op, 1)?);
    let _after = g.control_dependencies(&[grad.op])?;
    let first = node(g, "SoftplusGrad", &[grad, x])?;
    let product = mul(g, grad, dy)?;
    let minus = node(g, "Neg", &[x])?;
    let minus = node(g, "Exp", &[minus])?;
    let sum = add(g, minus, 2f32)?;
    let plus = node(g, "Exp", &[x])?;
    let sum = add(g, sum, plus)?;
    Ok(vec![some(first), some(div(g, product, sum)?)])
}

pub fn softmax(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (grad, softmax) = (grads.dense(g, 0)?, op.output(0));
    let product = mul(g, grad, softmax)?;
    let sum = sum_over(g, product, -1, true)?;
    let difference = sub(g, grad, sum)?;
    first_of(mul(g, difference, softmax)?, 1)
}

pub fn log_softmax(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let grad = grads.dense(g, 0)?;
    let softmax = node(g, "Exp", &[op.output(0)])?;
    let sum = sum_over(g, grad, -1, true)?;
    let product = mul(g, sum, softmax)?;
    first_of(sub(g, grad, product)?, 1)
}

pub fn bias_add(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let grad = grads.dense(g, 0)?;
    let bias = node_like(g, "BiasAddGrad", &[grad], op, &["data_format"])?;
    Ok(vec![some(grad), some(bias)])
}

pub fn bias_add_v1(g: &Graph, _: Operation, grads: &Grads) -> Gradients {
    let grad = grads.dense(g, 0)?;
    let rank = g.rank(grad)?;
    let limit = sub(g, rank, 1i32)?;
    let axes = g.call("Range").default_name("range").arg(0i32).arg(limit).arg(1i32).output()?;
    let bias = g.op("Sum").input(grad).input(axes).attr("keep_dims", false).output()?;
    Ok(vec![some(grad), some(bias)])
}

pub fn bias_add_grad(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let grad = grads.dense(g, 0)?;
    let shape = g.shape_tensor(g.input(op, 0)?)?;
    let bias_shape = g.shape_tensor(grad)?;
    let part = |index: Idx| -> Result<Output> { g.index(shape, &[index]) };
    let ones = |index: Idx| -> Result<Output> { g.ones_like(part(index)?) };
    let (expanded, multiples) = if g.string_attr(op, "data_format")? == "NCHW" {
        let (before, after) = (ones((..1).into())?, ones((2..).into())?);
        let expanded = g.concat(&[before.into(), bias_shape.into(), after.into()], 0i32)?;
        let (before, after) = (part((..1).into())?, part((2..).into())?);
        (expanded, g.concat(&[before.into(), [1i32].into(), after.into()], 0i32)?)
    } else {
        let before = ones((..-1).into())?;
        let expanded = g.concat(&[before.into(), bias_shape.into()], 0i32)?;
        let before = part((..-1).into())?;
        (expanded, g.concat(&[before.into(), [1i32].into()], 0i32)?)
    };
    let reshaped = g.reshape(grad, expanded)?;
    first_of(g.tile(reshaped, multiples)?, 1)
}
