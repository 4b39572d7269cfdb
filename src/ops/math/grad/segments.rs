//! Segments.

use super::{Gradients, first_of_two};
use crate::error::Result;
use crate::graph::{Gradient, Grads, Graph, IndexedSlices, Operation, Output, attr};
use crate::ops::convert::Arg;
use crate::tensor::DType;

pub fn segment_sum(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    first_of_two(g.gather(grads.dense(g, 0)?, g.input(op, 1)?)?)
}

pub fn segment_mean(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (data, ids, grad) = (g.input(op, 0)?, g.input(op, 1)?, grads.dense(g, 0)?);
    let rank = g.rank(data)?;
    let ids_shape = g.shape_tensor(ids)?;
    let inner = g.expand_dims(g.sub(rank, 1i32)?, 0i32)?;
    let inner_ones = g.ones(inner, DType::Int32)?;
    let shape = g.concat(&[ids_shape.into(), inner_ones.into()], 0i32)?;
    let ones = g.ones(shape, g.dtype(grad)?)?;
    let scaled = g.truediv(grad, g.segment_sum(ones, ids)?)?;
    first_of_two(g.gather(scaled, ids)?)
}

pub fn segment_extremum(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (data, ids, grad) = (g.input(op, 0)?, g.input(op, 1)?, grads.dense(g, 0)?);
    let zeros = g.zeros_like(data)?;
    let gathered = g.gather(op.output(0), ids)?;
    let selected = g.equal(data, gathered)?;
    let count = g.segment_sum(g.cast(selected, g.dtype(grad)?)?, ids)?;
    let weighted = g.gather(g.truediv(grad, count)?, ids)?;
    first_of_two(g.where_v2(selected, weighted, zeros)?)
}

pub fn segment_prod(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (data, ids, grad) = (g.input(op, 0)?, g.input(op, 1)?, grads.dense(g, 0)?);
    let is_zero = g.equal(data, 0i32)?;
    let zeros = g.segment_sum(g.cast(is_zero, DType::Int32)?, ids)?;
    let many = g.greater(zeros, 1i32)?;
    let grad = g.where_v2(many, g.zeros_like(grad)?, grad)?;
    let non_zero = g.where_v2(is_zero, g.ones_like(data)?, data)?;
    let non_zero_prod = g.op("SegmentProd").input(non_zero).input(ids).output()?;
    let prod = g.gather(op.output(0), ids)?;
    let non_zero_prod = g.gather(non_zero_prod, ids)?;
    let divided = g.truediv(prod, non_zero)?;
    let partial = g.where_v2(is_zero, non_zero_prod, divided)?;
    first_of_two(g.mul(g.gather(grad, ids)?, partial)?)
}

/// The parts of `_GatherDropNegatives` that later calls use again.
struct Gathered {
    values: Output,
    clipped: Output,
    is_positive: Output,
}

/// Gathers rows, with zeros for negative ids.
fn gather_drop_negatives(g: &Graph, params: Output, ids: Output, clipped: Option<Output>) -> Result<Gathered> {
    let clipped = match clipped {
        Some(clipped) => clipped,
        None => g.maximum(ids, g.zeros_like(ids)?)?,
    };
    let values = g.gather(params, clipped)?;
    let is_positive = g.greater_equal(ids, 0i32)?;
    let shape = g.shape_tensor(is_positive)?;
    let (values_rank, mask_rank) = (g.rank(values)?, g.rank(is_positive)?);
    let missing = g.sub(values_rank, mask_rank)?;
    let ones = g.ones(Arg::from([missing]), g.dtype(shape)?)?;
    let shape = g.concat(&[shape.into(), ones.into()], 0i32)?;
    let is_positive = g.reshape(is_positive, shape)?;
    let is_positive = g.and(is_positive, g.ones_like_with(values, Some(DType::Bool), true)?)?;
    let zeros = g.zeros_like(values)?;
    Ok(Gathered { values: g.where_v2(is_positive, values, zeros)?, clipped, is_positive })
}

fn first_of_three(output: Output) -> Gradients {
    Ok(vec![Some(output.into()), None, None])
}

pub fn unsorted_segment_sum(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    first_of_three(gather_drop_negatives(g, grads.dense(g, 0)?, g.input(op, 1)?, None)?.values)
}

pub fn unsorted_segment_extremum(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (data, ids, count, grad) = (g.input(op, 0)?, g.input(op, 1)?, g.input(op, 2)?, grads.dense(g, 0)?);
    let gathered = gather_drop_negatives(g, op.output(0), ids, None)?;
    let selected = g.equal(data, gathered.values)?;
    let selected = g.logical_and(selected, gathered.is_positive)?;
    let selected_count = g.unsorted_segment_sum(g.cast(selected, g.dtype(grad)?)?, ids, count)?;
    let weighted = g.truediv(grad, selected_count)?;
    let values = g.gather(weighted, gathered.clipped)?;
    let zeros = g.zeros_like(values)?;
    let values = g.where_v2(gathered.is_positive, values, zeros)?;
    let zeros = g.zeros_like(values)?;
    first_of_three(g.where_v2(selected, values, zeros)?)
}

pub fn unsorted_segment_prod(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (data, ids, count, grad) = (g.input(op, 0)?, g.input(op, 1)?, g.input(op, 2)?, grads.dense(g, 0)?);
    let is_zero = g.equal(data, 0i32)?;
    let zeros = g.unsorted_segment_sum(g.cast(is_zero, DType::Int32)?, ids, count)?;
    let many = g.greater(zeros, 1i32)?;
    let grad = g.where_v2(many, g.zeros_like(grad)?, grad)?;
    let non_zero = g.where_v2(is_zero, g.ones_like(data)?, data)?;
    let non_zero_prod = g.op("UnsortedSegmentProd").input(non_zero).input(ids).input(count).output()?;
    let clipped = g.maximum(ids, g.zeros_like(ids)?)?;
    let prod = g.gather(op.output(0), clipped)?;
    let non_zero_prod = g.gather(non_zero_prod, clipped)?;
    let divided = g.truediv(prod, data)?;
    let partial = g.where_v2(is_zero, non_zero_prod, divided)?;
    let gathered = gather_drop_negatives(g, grad, ids, Some(clipped))?.values;
    first_of_three(g.mul(gathered, partial)?)
}

/// The gradient of a reduction over segments of gathered rows, by the op of that name, or by its second version where the
/// node asks for a sparse gradient.
fn sparse_segment(g: &Graph, op: Operation, grads: &Grads, dense_op: &str, sparse_op: &str) -> Gradients {
    let (data, indices, ids, grad) = (g.input(op, 0)?, g.input(op, 1)?, g.input(op, 2)?, grads.dense(g, 0)?);
    let shape = g.shape_tensor(data)?;
    let rows = g.index(shape, &[0i32.into()])?;
    let is_sparse = g.get_attr(op, "sparse_gradient").is_ok_and(|v| attr::boolean(&v).unwrap_or(false));
    let node = |name: &str| g.op(name).input(grad).input(indices).input(ids).input(rows).outputs();
    let gradient = if is_sparse {
        let outputs = node(sparse_op)?;
        Gradient::Sparse(IndexedSlices { values: outputs[0], indices: outputs[1], dense_shape: Some(shape) })
    } else {
        node(dense_op)?[0].into()
    };
    let mut gradients = vec![None; g.inputs(op).len()];
    gradients[0] = Some(gradient);
    Ok(gradients)
}

pub fn sparse_segment_sum(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    sparse_segment(g, op, grads, "SparseSegmentSumGrad", "SparseSegmentSumGradV2")
}

pub fn sparse_segment_mean(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    sparse_segment(g, op, grads, "SparseSegmentMeanGrad", "SparseSegmentMeanGradV2")
}

pub fn sparse_segment_sqrt_n(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    sparse_segment(g, op, grads, "SparseSegmentSqrtNGrad", "SparseSegmentSqrtNGradV2")
}
