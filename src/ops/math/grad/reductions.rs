//! Reductions.

use super::{Gradients, first_of_two, number};
use crate::error::Result;
use crate::graph::{Grads, Graph, Operation, Output, attr};
use crate::ops::convert::Arg;
use crate::ops::math::axes::canonical_axis;
use crate::ops::math::functions::ScanOptions;
use crate::tensor::DType;
use std::collections::HashSet;

fn keeps_dims(g: &Graph, op: Operation) -> Result<bool> {
    attr::boolean(&g.get_attr(op, "keep_dims")?)
}

/// Static dimensions with those at the axes set to 1.
fn with_ones(dims: &[i64], axes: &[i64]) -> Vec<i32> {
    let mut kept: Vec<i32> = dims.iter().map(|&d| d as i32).collect();
    for &axis in axes {
        if let Some(index) = canonical_axis(axis, kept.len()) {
            kept[index] = 1;
        }
    }
    kept
}

/// The shape of a reduction that keeps the reduced dimensions (`math_ops.reduced_shape`): a value where both arguments are
/// constants.
///
/// # Errors
/// `InvalidArgument` where the arguments aren't integers.
pub(crate) fn reduced_shape(g: &Graph, input_shape: Output, axes: Output) -> Result<Arg> {
    if let (Some(dims), Some(axes)) = (g.constant_value(input_shape), g.constant_value(axes)) {
        return Ok(with_ones(&dims.to_i64s()?, &axes.to_i64s()?).into());
    }
    let input_shape = g.cast(input_shape, DType::Int32)?;
    let axes = g.cast(axes, DType::Int32)?;
    let rank = g.size(input_shape)?;
    let axes = g.mod_(g.add(axes, rank)?, rank)?;
    let axes_shape = g.shape_tensor(axes)?;
    let all = g.range(0i32, rank, 1i32)?;
    let ones = g.ones(axes_shape, DType::Int32)?;
    Ok(g.op("DynamicStitch").input_list(&[all, axes]).input_list(&[input_shape, ones]).output()?.into())
}

/// The static shapes and axes for which the nodes that Python leaves behind have been made in a graph.
#[derive(Default)]
struct ReducedShapes(HashSet<(Vec<i64>, Vec<i64>)>);

/// The gradient of `Sum` and, before it is scaled, of `Mean`.
fn spread(g: &Graph, op: Operation, grad: Output) -> Result<Output> {
    let (input, axes_input) = (g.input(op, 0)?, g.input(op, 1)?);
    let shape = g.shape(input)?;
    if let (Some(dims), Some(axes)) = (shape.signed(), g.constant_value(axes_input)) {
        let is_vector = axes.rank() == 1;
        let axes = axes.to_i64s()?.to_vec();
        if is_vector && axes.len() == dims.len() && axes.iter().enumerate().all(|(i, &a)| a == i as i64) {
            let grad = g.reshape(grad, vec![1i32; dims.len()])?;
            let sizes = if shape.is_fully_known() {
                g.constant(dims.iter().map(|&d| d as i32).collect::<Vec<i32>>())?
            } else {
                g.shape_tensor(input)?
            };
            return g.tile(grad, sizes);
        }
        if shape.is_fully_known() {
            let kept = with_ones(dims, &axes);
            let is_new = g.with_extension::<ReducedShapes, _>(|known| known.0.insert((dims.to_vec(), axes.clone())));
            if is_new {
                // Python divides the two shapes in the graph, evaluates the quotient, and leaves the nodes.
                let at_least_one = g.maximum(kept.clone(), 1i32)?;
                g.floordiv(dims.iter().map(|&d| d as i32).collect::<Vec<i32>>(), at_least_one)?;
            }
            let scaling: Vec<i32> = dims.iter().zip(&kept).map(|(&d, &k)| d as i32 / k.max(1)).collect();
            let grad = g.reshape(grad, kept)?;
            return g.tile(grad, scaling);
        }
    }
    let sizes = g.shape_tensor(input)?;
    let mut grad = grad;
    if !keeps_dims(g, op)? {
        let kept = {
            let _colocated = g.colocate_with(sizes.op)?;
            reduced_shape(g, sizes, axes_input)?
        };
        grad = g.reshape(grad, kept)?;
    }
    g.broadcast_to(grad, sizes)
}

pub fn sum(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    first_of_two(spread(g, op, grads.dense(g, 0)?)?)
}

pub fn mean(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let sum = spread(g, op, grads.dense(g, 0)?)?;
    let (input, dtype) = (g.input(op, 0)?, g.dtype(sum)?);
    let factor = match (g.shape(input)?.num_elements(), g.shape(op.output(0))?.num_elements()) {
        (Some(from), Some(to)) => number(g, (from / to.max(1)) as f64, dtype)?,
        _ => {
            let sizes = g.shape_tensor(input)?;
            let rank = g.size(sizes)?;
            let axes = g.mod_(g.add(g.input(op, 1)?, rank)?, rank)?;
            g.reduce_prod(g.gather(sizes, axes)?, super::super::functions::Axes::All, false)?
        }
    };
    let factor = g.cast(factor, dtype)?;
    first_of_two(g.truediv(sum, factor)?)
}

pub fn extremum(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (input, axes) = (g.input(op, 0)?, g.input(op, 1)?);
    let (mut y, mut grad) = (op.output(0), grads.dense(g, 0)?);
    let sizes = g.shape_tensor(input)?;
    let kept = if keeps_dims(g, op)? {
        g.shape_tensor(y)?.into()
    } else {
        let kept = reduced_shape(g, sizes, axes)?;
        y = g.reshape(y, kept.clone())?;
        grad = g.reshape(grad, kept.clone())?;
        kept
    };
    let indicators = g.cast(g.equal(y, input)?, g.dtype(grad)?)?;
    let selected = g.reshape(g.reduce_sum(indicators, axes, false)?, kept)?;
    let share = g.truediv(indicators, selected)?;
    first_of_two(g.mul(share, grad)?)
}

pub fn euclidean_norm(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (input, axes) = (g.input(op, 0)?, g.input(op, 1)?);
    let (mut output, mut grad) = (op.output(0), grads.dense(g, 0)?);
    if !keeps_dims(g, op)? {
        let kept = reduced_shape(g, g.shape_tensor(input)?, axes)?;
        output = g.reshape(output, kept.clone())?;
        grad = g.reshape(grad, kept)?;
    }
    let scale = g.truediv(output, grad)?;
    first_of_two(g.truediv(input, scale)?)
}

pub fn prod(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (input, axes) = (g.input(op, 0)?, g.input(op, 1)?);
    let mut grad = grads.dense(g, 0)?;
    let sizes = g.shape_tensor(input)?;
    let flat_axes = g.reshape(axes, [-1i32])?;
    if !keeps_dims(g, op)? {
        let kept = reduced_shape(g, sizes, axes)?;
        grad = g.reshape(grad, kept)?;
    }
    grad = g.broadcast_to(grad, sizes)?;
    let (perm, reduced_count, other_count) = {
        let _device = g.device("/device:CPU:0");
        let rank = g.rank(input)?;
        let canonical = g.mod_(g.add(flat_axes, rank)?, rank)?;
        let reduced = g.cast(canonical, DType::Int32)?;
        let all = g.range(0i32, rank, 1i32)?;
        let other = g.op("ListDiff").input(all).input(reduced).attr("out_idx", DType::Int32).outputs()?[0];
        let perm = g.concat(&[reduced.into(), other.into()], 0i32)?;
        let count = |part: Output| g.reduce_prod(g.gather(sizes, part)?, super::super::functions::Axes::All, false);
        let reduced_count = count(reduced)?;
        (perm, reduced_count, count(other)?)
    };
    let permuted = g.transpose(input, Some(perm.into()))?;
    let permuted_sizes = g.shape_tensor(permuted)?;
    let matrix = g.reshape(permuted, [reduced_count, other_count])?;
    let left = g.cumprod(matrix, 0i32, ScanOptions { exclusive: true, reverse: false })?;
    let right = g.cumprod(matrix, 0i32, ScanOptions { exclusive: true, reverse: true })?;
    let (left, right) = (g.conj(left)?, g.conj(right)?);
    let rest = g.reshape(g.mul(left, right)?, permuted_sizes)?;
    let back = g.invert_permutation(perm)?;
    let out = g.mul(grad, g.transpose(rest, Some(back.into()))?)?;
    first_of_two(g.reshape(out, sizes)?)
}
