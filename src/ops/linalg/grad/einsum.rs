//! Einstein sums.

use super::{Gradients, one, two};
use crate::error::{Error, Result};
use crate::graph::{Grads, Graph, Operation, Output};
use crate::ops::Idx;
use crate::ops::convert::Arg;
use crate::ops::math::reduced_shape;
use crate::tensor::{DType, Shape};

const ELLIPSIS: &str = "...";

/// The axis of a label: from the left before an ellipsis, negative from the right after it.
fn axis_of(subscripts: &str, label: char) -> Option<i32> {
    let (before, after) = subscripts.split_once(ELLIPSIS).unwrap_or((subscripts, ""));
    if let Some(at) = before.find(label) {
        return Some(at as i32);
    }
    after.find(label).map(|at| at as i32 - after.len() as i32)
}

/// The labels of a subscript that are in none of the others, each once, in order.
fn reduced_labels(subscripts: &str, others: &str) -> Vec<char> {
    let mut labels = Vec::new();
    for c in subscripts.chars().filter(|c| *c != '.' && !others.contains(*c)) {
        if !labels.contains(&c) {
            labels.push(c);
        }
    }
    labels
}

fn einsum_node(g: &Graph, inputs: &[Output], equation: String) -> Result<Output> {
    g.op("Einsum").input_list(inputs).attr("equation", equation.as_str()).output()
}

fn distinct(text: &str) -> usize {
    let mut seen: Vec<char> = text.chars().collect();
    seen.sort_unstable();
    seen.dedup();
    seen.len()
}

/// The gradient of the input of a unary sum in which labels disappear.
fn unreduced(g: &Graph, grad: Output, out: &str, input: &str, input_shape: Output, gone: &[char]) -> Result<Output> {
    let missing = || Error::internal(format!("a label of {gone:?} isn't in {input}"));
    let axes: Vec<i32> = gone.iter().map(|&c| axis_of(input, c).ok_or_else(missing)).collect::<Result<_>>()?;
    let mut sizes = Vec::with_capacity(axes.len());
    for &axis in &axes {
        sizes.push(g.index(input_shape, &[axis.into()])?);
    }
    let sizes = g.stack(&sizes, 0)?;
    let repeated = distinct(input) + distinct(out) < input.len() + out.len();
    let kept: String = input.chars().filter(|c| !gone.contains(c)).collect();
    if !repeated && kept == out {
        let axes = g.constant(axes)?;
        let shape = reduced_shape(g, input_shape, axes)?;
        let reshaped = g.reshape(grad, shape)?;
        return g.broadcast_to(reshaped, input_shape);
    }
    let grad_shape = g.shape_tensor(grad)?;
    let with_gone = g.concat(&[sizes.into(), grad_shape.into()], 0i32)?;
    let ones = g.ones(Arg::from(gone.len()), DType::Int32)?;
    let grad_shape = g.shape_tensor(grad)?;
    let shape = g.concat(&[ones.into(), grad_shape.into()], 0i32)?;
    let reshaped = g.reshape(grad, shape)?;
    let spread = g.broadcast_to(reshaped, with_gone)?;
    let labels: String = gone.iter().collect();
    einsum_node(g, &[spread], format!("{labels}{out}->{input}"))
}

/// The gradient of one input of a binary sum, before what was broadcast is summed.
fn of_input(g: &Graph, grad: Output, other: Output, shape: Output, (input, others, out): (&str, &str, &str)) -> Result<Output> {
    let gone = reduced_labels(input, &format!("{out}{others}"));
    let left: String = input.chars().filter(|c| !gone.contains(c)).collect();
    let reduced = einsum_node(g, &[grad, other], format!("{out},{others}->{left}"))?;
    if gone.is_empty() {
        return Ok(reduced);
    }
    unreduced(g, reduced, &left, input, shape, &gone)
}

/// From where to where the dimensions of the ellipsis stand; zero to zero without one.
fn broadcast_range(subscripts: &str) -> (i32, Option<i32>) {
    match subscripts.split_once(ELLIPSIS) {
        None => (0, Some(0)),
        Some((before, after)) => (before.len() as i32, (!after.is_empty()).then(|| -(after.len() as i32))),
    }
}

pub fn einsum(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let grad = grads.dense(g, 0)?;
    let equation = g.string_attr(op, "equation")?;
    let (inputs, out) = equation.split_once("->").ok_or_else(|| Error::invalid_argument(format!("{equation} has no '->'")))?;
    let operands = g.inputs(op);
    if let [input] = operands[..] {
        let shape = g.shape_tensor(input)?;
        let gone = reduced_labels(inputs, out);
        if gone.is_empty() {
            return one(einsum_node(g, &[grad], format!("{out}->{inputs}"))?);
        }
        return one(unreduced(g, grad, out, inputs, shape, &gone)?);
    }
    let (x_text, y_text) =
        inputs.split_once(',').ok_or_else(|| Error::invalid_argument(format!("{equation} has one subscript")))?;
    let (mut x_text, mut y_text) = (x_text.to_string(), y_text.to_string());
    let broadcasts = out.contains(ELLIPSIS);
    if broadcasts {
        for text in [&mut x_text, &mut y_text] {
            if !text.contains(ELLIPSIS) {
                text.push_str(ELLIPSIS);
            }
        }
    }
    let (mut x, mut y) = (g.input(op, 0)?, g.input(op, 1)?);
    if g.dtype(grad)?.is_complex() {
        (x, y) = (g.conj(x)?, g.conj(y)?);
    }
    let (x_shape, y_shape) = (g.shape_tensor(x)?, g.shape_tensor(y)?);
    let grad_x = of_input(g, grad, y, x_shape, (&x_text, &y_text, out))?;
    let grad_y = of_input(g, grad, x, y_shape, (&y_text, &x_text, out))?;
    if !broadcasts {
        return two(grad_x, grad_y);
    }
    let (x_range, y_range) = (broadcast_range(&x_text), broadcast_range(&y_text));
    let part =
        |shape: &Shape, (start, end): (i32, Option<i32>)| shape.slice(start as isize, end.map_or(isize::MAX, |e| e as isize));
    let (x_static, y_static) = (g.shape(x)?, g.shape(y)?);
    if x_static.is_fully_known() && y_static.is_fully_known() && part(&x_static, x_range) == part(&y_static, y_range) {
        return two(grad_x, grad_y);
    }
    let slice = |shape: Output, (start, end): (i32, Option<i32>)| {
        g.index(shape, &[Idx::Range { start: Some(start.into()), stop: end.map(Arg::from), step: None }])
    };
    let (outer_x, outer_y) = (slice(x_shape, x_range)?, slice(y_shape, y_range)?);
    let axes = g.op("BroadcastGradientArgs").input(outer_x).input(outer_y).outputs()?;
    let axes_x = g.add(x_range.0, axes[0])?;
    let grad_x = g.reshape(g.reduce_sum(grad_x, axes_x, false)?, x_shape)?;
    let axes_y = g.add(y_range.0, axes[1])?;
    let grad_y = g.reshape(g.reduce_sum(grad_y, axes_y, false)?, y_shape)?;
    two(grad_x, grad_y)
}
