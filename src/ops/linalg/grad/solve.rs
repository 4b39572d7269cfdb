//! Inverses, determinants, systems, roots.

use super::{Gradients, flag, one, product, times, two, unbroadcast};
use crate::error::{Result, bail};
use crate::graph::{Grads, Graph, Operation, Output};
use crate::ops::array::MatrixDiag;
use crate::ops::convert::Arg;
use crate::ops::linalg::build::EyeSize;

pub fn inverse(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (grad, inverse, adjoint) = (grads.dense(g, 0)?, op.output(0), flag(g, op, "adjoint")?);
    let inner = product(g, (grad, adjoint), (inverse, !adjoint))?;
    let outer = product(g, (inverse, !adjoint), (inner, false))?;
    one(g.neg(outer)?)
}

fn scaled_adjoint_inverse(g: &Graph, a: Output, multiplier: impl FnOnce() -> Result<Output>, shape_of: Output) -> Gradients {
    let inverse = g.op("MatrixInverse").input(a).attr("adjoint", true).output()?;
    let factor = multiplier()?;
    let shape = g.shape_tensor(shape_of)?;
    let shape = g.concat(&[shape.into(), Arg::from([1i32, 1])], 0i32)?;
    let multipliers = g.reshape(factor, shape)?;
    one(g.mul(multipliers, inverse)?)
}

pub fn determinant(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (a, c, grad) = (g.input(op, 0)?, op.output(0), grads.dense(g, 0)?);
    scaled_adjoint_inverse(g, a, || g.mul(grad, c), c)
}

pub fn log_determinant(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (a, c, grad) = (g.input(op, 0)?, op.output(1), grads.dense(g, 1)?);
    scaled_adjoint_inverse(g, a, || Ok(grad), c)
}

/// `-grad_b c^H`, or `-c grad_b^H` for an adjoint system.
fn matrix_part(g: &Graph, c: Output, grad_b: Output, adjoint: bool) -> Result<Output> {
    let outer = if adjoint { product(g, (c, false), (grad_b, true)) } else { product(g, (grad_b, false), (c, true)) }?;
    g.neg(outer)
}

pub fn solve(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (a, adjoint, grad) = (g.input(op, 0)?, flag(g, op, "adjoint")?, grads.dense(g, 0)?);
    let grad_b = g.matrix_solve(a, grad, !adjoint)?;
    two(matrix_part(g, op.output(0), grad_b, adjoint)?, grad_b)
}

pub fn triangular_solve(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (a, b, grad) = (g.input(op, 0)?, g.input(op, 1)?, grads.dense(g, 0)?);
    let (lower, adjoint) = (flag(g, op, "lower")?, flag(g, op, "adjoint")?);
    let grad_b = g.matrix_triangular_solve(a, grad, lower, !adjoint)?;
    let grad_a = matrix_part(g, op.output(0), grad_b, adjoint)?;
    let grad_a = if lower { g.matrix_band_part(grad_a, -1i32, 0i32)? } else { g.matrix_band_part(grad_a, 0i32, -1i32)? };
    unbroadcast(g, (a, grad_a), (b, grad_b))
}

pub fn banded_solve(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (a, b, grad) = (g.input(op, 0)?, g.input(op, 1)?, grads.dense(g, 0)?);
    let shape = g.shape_tensor(a)?;
    let bands = g.index(shape, &[(-2).into()])?;
    let (lower, adjoint) = (flag(g, op, "lower")?, flag(g, op, "adjoint")?);
    let grad_b = g.banded_triangular_solve_node(a, grad, lower, !adjoint)?;
    let grad_a = matrix_part(g, op.output(0), grad_b, adjoint)?;
    let last = g.sub(bands, 1i32)?;
    let k = if lower {
        Arg::from(vec![Arg::from(g.neg(last)?), Arg::from(0i32)])
    } else {
        Arg::from(vec![Arg::from(0i32), last.into()])
    };
    let options = MatrixDiag { k: Some(k), align: Some("LEFT_RIGHT".into()), ..Default::default() };
    let grad_a = g.matrix_diag_part(grad_a, options)?;
    unbroadcast(g, (a, grad_a), (b, grad_b))
}

pub fn least_squares(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    if !flag(g, op, "fast")? {
        bail!(InvalidArgument, "Gradient not defined for fast=False");
    }
    let (a, b, l2, grad) = (g.input(op, 0)?, g.input(op, 1)?, g.input(op, 2)?, grads.dense(g, 0)?);
    let shape = g.shape(a)?;
    let (Some(rows), Some(columns)) = (shape.dim(-2), shape.dim(-1)) else {
        bail!(Unimplemented, "the gradient of MatrixSolveLs needs static rows and columns, got shape {shape}");
    };
    let l2 = g.cast(l2, g.dtype(a)?)?;
    let tall = rows >= columns;
    let chol = g.regularized_gramian_cholesky(a, Some(l2.into()), tall)?;
    let (grad_a, grad_b) = if tall {
        let x = op.output(0);
        let z = g.cholesky_solve(chol, grad)?;
        let xzt = product(g, (x, false), (z, true))?;
        let symmetric = g.add(xzt, g.matrix_transpose(xzt, false)?)?;
        let first = times(g, a, symmetric)?;
        let first = g.neg(first)?;
        let grad_a = g.add(first, product(g, (b, false), (z, true))?)?;
        (grad_a, times(g, a, z)?)
    } else {
        let grad_b = g.cholesky_solve(chol, times(g, a, grad)?)?;
        let solved = g.cholesky_solve(chol, b)?;
        let a1 = product(g, (solved, true), (a, false))?;
        let a1 = times(g, grad_b, a1)?;
        let a1 = g.neg(a1)?;
        let rest = product(g, (a, true), (grad_b, false))?;
        let rest = g.sub(grad, rest)?;
        let a2 = product(g, (solved, false), (rest, true))?;
        (g.add(a1, a2)?, grad_b)
    };
    Ok(vec![Some(grad_a.into()), Some(grad_b.into()), None])
}

/// The Kronecker products of two batches of square matrices.
fn kronecker(g: &Graph, a: Output, b: Output) -> Result<Output> {
    let (shape_a, shape_b) = (g.shape_tensor(a)?, g.shape_tensor(b)?);
    let order_a = g.index(shape_a, &[(-1).into()])?;
    let order_b = g.index(shape_b, &[(-1).into()])?;
    let rank = g.size(shape_a)?;
    let size = g.subtract(rank, 2i32)?;
    let outer = g.slice(shape_a, [0i32], Arg::from([size]))?;
    let (o_a, o_b, unit) = (Arg::from([order_a]), Arg::from([order_b]), Arg::from([1i32]));
    let to_a = g.concat(&[outer.into(), o_a.clone(), unit.clone(), o_a, unit.clone()], 0i32)?;
    let to_b = g.concat(&[outer.into(), unit.clone(), o_b.clone(), unit, o_b], 0i32)?;
    let (a, b) = (g.reshape(a, to_a)?, g.reshape(b, to_b)?);
    let order = g.mul(order_a, order_b)?;
    let shape = g.concat(&[outer.into(), Arg::from([order]), Arg::from([order])], 0i32)?;
    g.reshape(g.mul(a, b)?, shape)
}

pub fn square_root(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (root, grad) = (op.output(0), grads.dense(g, 0)?);
    let shape = g.shape_tensor(root)?;
    let order = g.index(shape, &[(-1).into()])?;
    let outer = g.index(shape, &[(Arg::from(0i32)..Arg::from(-2i32)).into()])?;
    let count = g.reduce_prod(outer, crate::ops::math::functions::Axes::All, false)?;
    let eye = g.eye_of(EyeSize::Tensor(order), None, None, g.dtype(root)?)?;
    let flat = g.reshape(eye, [-1i32])?;
    let tiled = g.tile(flat, Arg::from([count]))?;
    let eyes = g.reshape(tiled, shape)?;
    let transposed = g.matrix_transpose(root, false)?;
    let k1 = kronecker(g, eyes, transposed)?;
    let k2 = kronecker(g, root, eyes)?;
    let sum = g.math_add(k1, k2)?;
    let rank = g.size(shape)?;
    let size = g.subtract(rank, 2i32)?;
    let outer = g.slice(shape, [0i32], Arg::from([size]))?;
    let square = g.mul(order, order)?;
    let vectors = g.concat(&[outer.into(), Arg::from([square]), Arg::from([1i32])], 0i32)?;
    let flat_grad = g.reshape(g.matrix_transpose(grad, false)?, vectors)?;
    let solved = g.matrix_solve(sum, flat_grad, false)?;
    let result = g.reshape(solved, shape)?;
    one(g.matrix_transpose(result, false)?)
}
