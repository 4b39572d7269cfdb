//! Tridiagonal matrices.

use super::{Gradients, two};
use crate::error::Result;
use crate::graph::{Grads, Graph, Operation, Output, attr};
use crate::ops::Idx;
use crate::ops::convert::Arg;
use crate::tensor::{DType, Tensor};

/// Rows of zeros for the leading dimensions, and then these for the last ones.
fn paddings(g: &Graph, x: Output, last: &[[i32; 2]]) -> Result<Arg> {
    let rank = g.rank(x)?;
    let leading = g.sub(rank, 2i32)?;
    let zeros = g.zeros(Arg::from(vec![Arg::from(leading), Arg::from(2i32)]), DType::Int32)?;
    let last: Vec<i32> = last.iter().flatten().copied().collect();
    let last = g.constant(Tensor::new(&[last.len() / 2, 2], last)?)?;
    Ok(g.concat(&[zeros.into(), last.into()], 0i32)?.into())
}

fn rows_from_one(g: &Graph, x: Output) -> Result<Output> {
    g.index(x, &[Idx::Ellipsis, (Arg::from(1i32)..).into(), (..).into()])
}

fn rows_but_last(g: &Graph, x: Output) -> Result<Output> {
    g.index(x, &[Idx::Ellipsis, (..Arg::from(-1i32)).into(), (..).into()])
}

fn left_shift(g: &Graph, x: Output) -> Result<Output> {
    let pad = paddings(g, x, &[[0, 1], [0, 0]])?;
    g.pad(rows_from_one(g, x)?, pad)
}

fn right_shift(g: &Graph, x: Output) -> Result<Output> {
    let pad = paddings(g, x, &[[1, 0], [0, 0]])?;
    g.pad(rows_but_last(g, x)?, pad)
}

pub fn tridiagonal_product(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let grad = grads.dense(g, 0)?;
    let upper = g.matrix_transpose(g.input(op, 0)?, true)?;
    let main = g.matrix_transpose(g.input(op, 1)?, true)?;
    let lower = g.matrix_transpose(g.input(op, 2)?, true)?;
    let rhs = g.conj(g.input(op, 3)?)?;
    let sum = |factor: Output| g.reduce_sum(g.mul(factor, grad)?, -1, false);
    let d_upper = sum(left_shift(g, rhs)?)?;
    let d_main = sum(rhs)?;
    let d_lower = sum(right_shift(g, rhs)?)?;
    let first = right_shift(g, g.mul(upper, grad)?)?;
    let partial = g.add(first, g.mul(main, grad)?)?;
    let d_rhs = g.add(partial, left_shift(g, g.mul(lower, grad)?)?)?;
    let d_upper = g.expand_dims(d_upper, -2i32)?;
    let d_main = g.expand_dims(d_main, -2i32)?;
    let d_lower = g.expand_dims(d_lower, -2i32)?;
    Ok([d_upper, d_main, d_lower, d_rhs].into_iter().map(|o| Some(o.into())).collect())
}

pub fn tridiagonal_solve(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (diagonals, x, grad) = (g.input(op, 0)?, op.output(0), grads.dense(g, 0)?);
    let flag = |name: &str| attr::boolean(&g.get_attr(op, name)?);
    let transposed = transposed_diagonals(g, diagonals)?;
    let node = g.op("TridiagonalSolve").input(transposed).input(grad);
    let node = node.attr("partial_pivoting", flag("partial_pivoting")?);
    let grad_rhs = node.attr("perturb_singular", flag("perturb_singular")?).output()?;
    let grad_diagonals = g.neg(three_diagonals(g, grad_rhs, x)?)?;
    two(grad_diagonals, grad_rhs)
}

/// The diagonals of the transposed matrix.
fn transposed_diagonals(g: &Graph, diagonals: Output) -> Result<Output> {
    let main = g.index(diagonals, &[Idx::Ellipsis, 1.into(), (..).into()])?;
    let shape = g.shape(diagonals)?;
    let below = |g: &Graph| g.index(diagonals, &[Idx::Ellipsis, 2.into(), (Arg::from(1i32)..).into()]);
    let above = |g: &Graph| g.index(diagonals, &[Idx::Ellipsis, 0.into(), (..Arg::from(-1i32)).into()]);
    let (upper, lower) = if let Some(dims) = shape.to_dims() {
        let mut dims: Vec<usize> = dims[..dims.len() - 2].to_vec();
        dims.push(1);
        let zeros = g.zeros(Arg::from(dims), g.dtype(diagonals)?)?;
        let upper = g.concat(&[below(g)?.into(), zeros.into()], -1i32)?;
        (upper, g.concat(&[zeros.into(), above(g)?.into()], -1i32)?)
    } else {
        let rank = g.rank(diagonals)?;
        let leading = g.sub(rank, 2i32)?;
        let zeros = g.zeros(Arg::from(vec![Arg::from(leading), Arg::from(2i32)]), DType::Int32)?;
        let pad = g.concat(&[zeros.into(), g.constant([[0i32, 1]])?.into()], 0i32)?;
        let upper = g.pad(below(g)?, pad)?;
        let pad = g.concat(&[zeros.into(), g.constant([[1i32, 0]])?.into()], 0i32)?;
        (upper, g.pad(above(g)?, pad)?)
    };
    g.stack(&[upper, main, lower], -2)
}

/// Three diagonals of the product of a matrix and a transposed one.
fn three_diagonals(g: &Graph, x: Output, y: Output) -> Result<Output> {
    let sum = |y: Output| g.reduce_sum(g.mul(x, y)?, -1, false);
    let main = sum(y)?;
    let (shape_x, shape_y) = (g.shape(x)?, g.shape(y)?);
    let (upper, lower) = if let (true, Some(dims)) = (shape_y.is_fully_known(), shape_x.to_dims()) {
        let mut dims: Vec<usize> = dims.to_vec();
        let rank = dims.len();
        dims[rank - 2] = 1;
        let zeros = g.zeros(Arg::from(dims), g.dtype(x)?)?;
        let upper = sum(g.concat(&[rows_from_one(g, y)?.into(), zeros.into()], -2i32)?)?;
        (upper, sum(g.concat(&[zeros.into(), rows_but_last(g, y)?.into()], -2i32)?)?)
    } else {
        let rank = g.rank(y)?;
        let leading = g.sub(rank, 2i32)?;
        let zeros = g.zeros(Arg::from(vec![Arg::from(leading), Arg::from(2i32)]), DType::Int32)?;
        let pad = g.concat(&[zeros.into(), g.constant([[0i32, 1], [0, 0]])?.into()], 0i32)?;
        let upper = sum(g.pad(rows_from_one(g, y)?, pad)?)?;
        let pad = g.concat(&[zeros.into(), g.constant([[1i32, 0], [0, 0]])?.into()], 0i32)?;
        (upper, sum(g.pad(rows_but_last(g, y)?, pad)?)?)
    };
    g.stack(&[upper, main, lower], -2)
}
