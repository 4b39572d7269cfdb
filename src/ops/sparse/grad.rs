//! Gradients that emit more than one node.

use super::SparseTensor;
use crate::error::Result;
use crate::graph::gradient::{Gradient, Grads};
use crate::graph::{Graph, Operation, Output, attr};
use crate::ops::array::Idx;
use crate::ops::convert::Arg;
use crate::tensor::{DType, Tensor};

type Gradients = Result<Vec<Option<Gradient>>>;

/// What Python's `SparseTensor(...)` leaves in a graph: a scope's name in use.
fn sparse_tensor(g: &Graph, indices: Output, values: Output, dense_shape: Output) -> Result<SparseTensor> {
    drop(g.plain().enter("SparseTensor")?);
    Ok(SparseTensor::new(indices, values, dense_shape))
}

fn all() -> Idx {
    Idx::Range { start: None, stop: None, step: None }
}

fn boolean(g: &Graph, op: Operation, name: &str) -> Result<bool> {
    attr::boolean(&g.get_attr(op, name)?)
}

pub(super) fn reorder(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let inputs = g.inputs(op);
    let count = g.index(g.shape_tensor(inputs[0])?, &[Idx::At(0i32.into())])?;
    let positions = g.call("Range").default_name("range").arg(0i32).arg(count).arg(1i32).output()?;
    let unordered = sparse_tensor(g, inputs[0], positions, inputs[2])?;
    let ordered = g.sparse_reorder(unordered)?;
    if let Some(dims) = g.constant_value_as_shape(inputs[2]).to_dims() {
        let (g, _scope) = g.plain().enter("SparseTensor")?;
        g.named("dense_shape").constant(dims.iter().map(|&d| d as i64).collect::<Vec<i64>>())?;
    }
    let inverse = g.invert_permutation(ordered.values)?;
    Ok(vec![None, Some(g.gather(grads.dense(g, 1)?, inverse)?.into()), None])
}

/// The shape of a reduced tensor with the reduced dimensions kept as 1: a value where shape and axes are constant.
fn reduced_shape(g: &Graph, shape: Output, axes: Output) -> Result<Arg> {
    let value = |output| g.constant_value(output).and_then(|v: Tensor| v.to_i64s().ok());
    if let (Some(mut sizes), Some(axes)) = (value(shape), value(axes)) {
        let rank = sizes.len() as i64;
        for axis in axes {
            let axis = if axis < 0 { axis + rank } else { axis };
            if let Some(size) = usize::try_from(axis).ok().and_then(|a| sizes.get_mut(a)) {
                *size = 1;
            }
        }
        return Ok(Arg::from(sizes.iter().map(|&s| s as i32).collect::<Vec<i32>>()));
    }
    let shape = g.call("Cast").arg(shape).attr("DstT", DType::Int32).output()?;
    let rank = g.size(shape)?;
    let sum = g.operator("add", "AddV2", axes, rank)?;
    let axes = g.operator("mod", "FloorMod", sum, rank)?;
    let axes_shape = g.shape_tensor(axes)?;
    let every = g.call("Range").default_name("range").arg(0i32).arg(rank).arg(1i32).output()?;
    let ones = g.ones(axes_shape, DType::Int32)?;
    Ok(g.op("DynamicStitch").input_list(&[every, axes]).input_list(&[shape, ones]).output()?.into())
}

pub(super) fn reduce_sum(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let inputs = g.inputs(op);
    let kept = reduced_shape(g, inputs[2], inputs[3])?;
    let reshaped = g.reshape(grads.dense(g, 0)?, kept.clone())?;
    let kept = g.call("Cast").arg(kept).attr("DstT", DType::Int64).output()?;
    let scale = g.operator("floordiv", "FloorDiv", inputs[2], kept)?;
    let indices = g.operator("floordiv", "FloorDiv", inputs[0], scale)?;
    Ok(vec![None, Some(g.gather_nd(reshaped, indices)?.into()), None, None])
}

pub(super) fn matmul(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let inputs = g.inputs(op);
    let (indices, b, grad) = (inputs[0], inputs[3], grads.dense(g, 0)?);
    let (adjoint_a, adjoint_b) = (boolean(g, op, "adjoint_a")?, boolean(g, op, "adjoint_b")?);
    let builder = g.op("SparseTensorDenseMatMul").input(indices).input(inputs[1]).input(inputs[2]).input(grad);
    let mut b_grad = builder.attr("adjoint_a", !adjoint_a).output()?;
    if adjoint_b {
        b_grad = g.matrix_transpose(b_grad, true)?;
    }
    let rows = g.index(indices, &[all(), Idx::At(0i32.into())])?;
    let columns = g.index(indices, &[all(), Idx::At(1i32.into())])?;
    let (of_grad, of_b) = if adjoint_a { (columns, rows) } else { (rows, columns) };
    let part_a = g.gather(grad, of_grad)?;
    let part_b = g.gather(if adjoint_b { g.transpose(b, None)? } else { b }, of_b)?;
    let (axis_a, axis_b): (i32, i32) = match (adjoint_a, adjoint_b) {
        (false, false) => (-2, -2),
        (true, false) => (-1, -1),
        (false, true) => (-2, -1),
        (true, true) => (-1, -2),
    };
    let (x, y) = (g.expand_dims(part_a, axis_a)?, g.expand_dims(part_b, axis_b)?);
    let product = g.op("BatchMatMulV2").name("MatMul").input(x).input(y);
    let product = product.attr("adj_x", adjoint_a).attr("adj_y", adjoint_a == adjoint_b).output()?;
    Ok(vec![None, Some(g.squeeze(product, &[-2, -1])?.into()), None, Some(b_grad.into())])
}

pub(super) fn cwise(g: &Graph, op: Operation, grads: &Grads, is_mul: bool) -> Gradients {
    let inputs = g.inputs(op);
    let (indices, x, x_shape, y) = (inputs[0], inputs[1], inputs[2], inputs[3]);
    let grad = grads.dense(g, 0)?;
    let y_shape = g.call("Cast").arg(g.shape_tensor(y)?).attr("DstT", DType::Int64).output()?;
    let (x_rank, y_rank) = (g.size(x_shape)?, g.size(y_shape)?);
    let added = g.expand_dims(g.operator("sub", "Sub", x_rank, y_rank)?, 0i32)?;
    let ones = g.ones(added, DType::Int64)?;
    let augmented = g.concat(&[ones.into(), y_shape.into()], 0i32)?;
    let scaling = g.operator("floordiv", "FloorDiv", x_shape, augmented)?;
    let scaled = g.operator("floordiv", "FloorDiv", indices, scaling)?;
    let start = g.concat(&[Arg::from([0i32]), added.into()], 0i32)?;
    let scaled = g.slice(scaled, start, [-1i32, -1])?;
    let beside = g.gather_nd(y, scaled)?;
    let (dx, dy) = if is_mul {
        (g.operator("mul", "Mul", grad, beside)?, g.operator("mul", "Mul", grad, x)?)
    } else {
        let dx = g.operator("truediv", "RealDiv", grad, beside)?;
        let negative = g.op("Neg").input(x).output()?;
        let square = g.op("Square").input(beside).output()?;
        let quotient = g.operator("truediv", "RealDiv", negative, square)?;
        (dx, g.operator("mul", "Mul", grad, quotient)?)
    };
    let zeros = g.zeros_like(y)?;
    let dy = sparse_tensor(g, scaled, dy, y_shape)?;
    let sum = g.op("SparseTensorDenseAdd").input(dy.indices).input(dy.values).input(dy.dense_shape).input(zeros).output()?;
    Ok(vec![None, Some(dx.into()), None, Some(sum.into())])
}

pub(super) fn softmax(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let inputs = g.inputs(op);
    let (output, grad) = (op.output(0), grads.dense(g, 0)?);
    sparse_tensor(g, inputs[0], output, inputs[2])?;
    let sp_grad = sparse_tensor(g, inputs[0], grad, inputs[2])?;
    let product = g.operator("mul", "Mul", output, grad)?;
    let product = sparse_tensor(g, inputs[0], product, inputs[2])?;
    let sum = g.sparse_reduce_sum(product, Some([-1i32].into()), true)?;
    let negative = g.op("Neg").input(sum).output()?;
    let shifted = g.sparse_dense_cwise_add(sp_grad, negative)?;
    drop(g.plain().enter("SparseTensor")?);
    let result = g.operator("mul", "Mul", shifted.values, output)?;
    Ok(vec![None, Some(result.into()), None])
}

/// The sum of all elements, as `reduce_sum` without axes emits it.
fn total(g: &Graph, x: Output) -> Result<Output> {
    let axes = match g.shape(x)?.rank() {
        Some(rank) => g.constant((0..rank as i32).collect::<Vec<i32>>())?,
        None => {
            let rank = g.rank(x)?;
            g.call("Range").default_name("range").arg(0i32).arg(rank).arg(1i32).output()?
        }
    };
    g.op("Sum").input(x).input(axes).output()
}

pub(super) fn to_dense(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let inputs = g.inputs(op);
    let grad = grads.dense(g, 0)?;
    let values = g.gather_nd(grad, inputs[0])?;
    let (whole, own) = (total(g, grad)?, total(g, values)?);
    let default = g.operator("sub", "Sub", whole, own)?;
    let (indices, shape) = (g.zeros_like(inputs[0])?, g.zeros_like(inputs[1])?);
    Ok(vec![Some(indices.into()), Some(shape.into()), Some(values.into()), Some(default.into())])
}
