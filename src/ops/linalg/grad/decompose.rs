//! Decompositions.

use super::{Gradients, columns, flag, one, outer, product, times};
use crate::error::{Result, bail};
use crate::graph::{Grads, Graph, Operation, Output};
use crate::ops::array::MatrixDiag;
use crate::ops::convert::Arg;
use crate::ops::linalg::build::EyeSize;

fn diagonal(g: &Graph, x: Output) -> Result<Output> {
    g.matrix_diag(x, MatrixDiag::default())
}

fn set_diagonal(g: &Graph, x: Output, diagonal: Output) -> Result<Output> {
    g.matrix_set_diag(x, diagonal, MatrixDiag::default())
}

fn diagonal_part(g: &Graph, x: Output) -> Result<Output> {
    g.matrix_diag_part(x, MatrixDiag::default())
}

/// `x / (x^2 + 1e-20)`.
fn safe_reciprocal(g: &Graph, x: Output) -> Result<Output> {
    let square = g.mul(x, x)?;
    let sum = g.add(square, 1e-20)?;
    g.mul(x, g.reciprocal(sum)?)
}

/// `1 / (e_j - e_i)` off the diagonal, and zeros on it.
fn differences(g: &Graph, e: Output) -> Result<Output> {
    let (rows, columns) = (g.expand_dims(e, -2i32)?, g.expand_dims(e, -1i32)?);
    let inverse = safe_reciprocal(g, g.sub(rows, columns)?)?;
    let zeros = g.zeros_like(e)?;
    set_diagonal(g, inverse, zeros)
}

pub fn cholesky(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (l, grad) = (op.output(0), grads.dense(g, 0)?);
    let shape = g.shape_tensor(l)?;
    let rows = g.index(shape, &[(-1).into()])?;
    let shape = g.shape_tensor(l)?;
    let batch = outer(g, shape)?;
    let eye = g.eye_of(EyeSize::Tensor(rows), None, Some(batch.into()), g.dtype(l)?)?;
    let inverse = g.matrix_triangular_solve(l, eye, true, false)?;
    let middle = product(g, (l, true), (grad, false))?;
    let half = g.mul(0.5, diagonal_part(g, middle)?)?;
    let middle = set_diagonal(g, middle, half)?;
    let middle = g.matrix_band_part(middle, -1i32, 0i32)?;
    let inner = product(g, (inverse, true), (middle, false))?;
    let grad_a = times(g, inner, inverse)?;
    let sum = g.add(grad_a, g.adjoint(grad_a)?)?;
    one(g.mul(sum, 0.5)?)
}

/// The gradients of the outputs; zeros where an output has none.
fn all(g: &Graph, op: Operation, grads: &Grads) -> Result<Vec<Output>> {
    (0..grads.len()).map(|i| if grads.get(i).is_some() { grads.dense(g, i) } else { g.zeros_like(op.output(i)) }).collect()
}

fn divided_by_triangle(g: &Graph, x: Output, r: Output) -> Result<Output> {
    let x = g.adjoint(x)?;
    g.adjoint(g.matrix_triangular_solve(r, x, false, false)?)
}

fn qr_deep(g: &Graph, q: Output, r: Output, dq: Output, dr: Output) -> Result<Output> {
    let qdq = product(g, (q, true), (dq, false))?;
    let skew_q = g.sub(qdq, g.adjoint(qdq)?)?;
    let rdr = product(g, (r, false), (dr, true))?;
    let skew_r = g.sub(rdr, g.adjoint(rdr)?)?;
    let lower = g.matrix_band_part(g.add(skew_q, skew_r)?, -1i32, 0i32)?;
    let solved = divided_by_triangle(g, lower, r)?;
    let grad_a = times(g, q, g.add(dr, solved)?)?;
    let rest = g.sub(dq, times(g, q, qdq)?)?;
    let grad_b = divided_by_triangle(g, rest, r)?;
    let mut out = g.add(grad_a, grad_b)?;
    let dtype = g.dtype(q)?;
    if dtype.is_complex() {
        let m = g.sub(rdr, g.adjoint(qdq)?)?;
        let (zeros, part) = (g.zeros_like(m)?, diagonal_part(g, m)?);
        let only = set_diagonal(g, zeros, part)?;
        let real = g.cast(g.real(only)?, dtype)?;
        let correction = g.sub(only, real)?;
        let turned = times(g, q, g.adjoint(correction)?)?;
        out = g.add(out, divided_by_triangle(g, turned, r)?)?;
    }
    Ok(out)
}

pub fn qr(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (q, r) = (op.output(0), op.output(1));
    let (shape_q, shape_r) = (g.shape(q)?, g.shape(r)?);
    let (Some(rows_r), Some(columns_r)) = (shape_r.dim(-2), shape_r.dim(-1)) else {
        bail!(Unimplemented, "QrGrad not implemented with dynamic shapes. Received r.shape: {shape_r}");
    };
    let Some(rows) = shape_q.dim(-2) else {
        bail!(Unimplemented, "QrGrad not implemented with dynamic shapes. Received q.shape: {shape_q}");
    };
    if rows_r > columns_r && shape_q.dim(-1) == Some(rows) {
        bail!(
            Unimplemented,
            "QrGrad not implemented when nrows > ncols and full_matrices is true. Received r.shape={shape_r} with nrows={rows_r} and ncols={columns_r}."
        );
    }
    let grads = all(g, op, grads)?;
    let (dq, dr) = (grads[0], grads[1]);
    if rows >= columns_r {
        return one(qr_deep(g, q, r, dq, dr)?);
    }
    let a = g.input(op, 0)?;
    let y = columns(g, a, Some(rows), None)?;
    let u = columns(g, r, None, Some(rows))?;
    let dv = columns(g, dr, Some(rows), None)?;
    let du = columns(g, dr, None, Some(rows))?;
    let dy = times(g, q, dv)?;
    let dq = g.add(dq, product(g, (y, false), (dv, true))?)?;
    let dx = qr_deep(g, q, u, dq, du)?;
    one(g.concat(&[dx.into(), dy.into()], -1i32)?)
}

pub fn eig(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let grads = all(g, op, grads)?;
    let (grad_e, grad_v) = (grads[0], grads[1]);
    let (a, e) = (g.input(op, 0)?, op.output(0));
    let _after = g.control_dependencies(&[grad_e.op, grad_v.op])?;
    let grad_a = if flag(g, op, "compute_v")? {
        let v = op.output(1);
        let vt = g.adjoint(v)?;
        let f = g.conj(differences(g, e)?)?;
        let vgv = times(g, vt, grad_v)?;
        let mid = diagonal(g, grad_e)?;
        let real = g.cast(g.real(vgv)?, g.dtype(vgv)?)?;
        let part = diagonal(g, diagonal_part(g, real)?)?;
        let vtv = times(g, vt, v)?;
        let rest = g.sub(vgv, times(g, vtv, part)?)?;
        let mid = g.add(mid, g.mul(f, rest)?)?;
        let right = times(g, mid, vt)?;
        g.matrix_solve(vt, right, false)?
    } else {
        let vectors = g.op("Eig").input(a).attr("compute_v", true).attr("Tout", g.dtype(e)?).outputs()?;
        let vt = g.adjoint(vectors[1])?;
        let right = times(g, diagonal(g, grad_e)?, vt)?;
        g.matrix_solve(vt, right, false)?
    };
    one(g.cast(grad_a, g.dtype(a)?)?)
}

pub fn self_adjoint_eig(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let grads = all(g, op, grads)?;
    let (grad_e, grad_v) = (grads[0], grads[1]);
    let e = op.output(0);
    let _after = g.control_dependencies(&[grad_e.op, grad_v.op])?;
    let grad_a = if flag(g, op, "compute_v")? {
        let v = op.output(1);
        let f = differences(g, e)?;
        let values = diagonal(g, grad_e)?;
        let vectors = product(g, (v, true), (grad_v, false))?;
        let middle = g.add(values, g.mul(f, vectors)?)?;
        let right = product(g, (middle, false), (v, true))?;
        times(g, v, right)?
    } else {
        let v = g.self_adjoint_eig(g.input(op, 0)?)?.1;
        let right = product(g, (diagonal(g, grad_e)?, false), (v, true))?;
        times(g, v, right)?
    };
    let symmetric = g.add(grad_a, g.adjoint(grad_a)?)?;
    let lower = g.matrix_band_part(symmetric, -1i32, 0i32)?;
    let half = g.mul(0.5, diagonal_part(g, lower)?)?;
    one(set_diagonal(g, lower, half)?)
}

pub fn svd(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let a = g.input(op, 0)?;
    let dtype = g.dtype(a)?;
    let grads = all(g, op, grads)?;
    let shape_a = g.shape(a)?.with_rank_at_least(2)?;
    let grad_s = g.cast(grads[0], dtype)?;
    let grad_s_mat = diagonal(g, grad_s)?;
    if !flag(g, op, "compute_uv")? {
        let (_, u, v) = g.svd(a, false)?;
        let right = product(g, (grad_s_mat, false), (v, true))?;
        let grad_a = times(g, u, right)?;
        g.set_shape(grad_a, shape_a)?;
        return one(grad_a);
    }
    let full = flag(g, op, "full_matrices")?;
    let (mut grad_u, mut grad_v) = (grads[1], grads[2]);
    let (Some(m), Some(n)) = (shape_a.dim(-2).or(g.shape(grad_u)?.dim(-2)), shape_a.dim(-1).or(g.shape(grad_v)?.dim(-2))) else {
        bail!(Unimplemented, "SVD gradient has not been implemented for input with unknown inner matrix shape.");
    };
    let shape_a = shape_a.with_dim(-2, Some(m)).with_dim(-1, Some(n));
    let (s, mut u, mut v) = (op.output(0), op.output(1), op.output(2));
    let s = g.cast(s, dtype)?;
    let use_adjoint = m > n;
    let (mut rows, mut cols) = (m, n);
    if use_adjoint {
        (rows, cols) = (n, m);
        (u, v) = (v, u);
        (grad_u, grad_v) = (grad_v, grad_u);
    }
    let _after = g.control_dependencies(&[grad_s.op, grad_u.op, grad_v.op])?;
    if full && cols - rows > 1 {
        bail!(
            Unimplemented,
            "svd gradient is not implemented for abs(m - n) > 1 when full_matrices is True. Received: m={rows} and n={cols} with shape={shape_a}."
        );
    }
    let s_mat = diagonal(g, s)?;
    let s2 = g.square(s)?;
    let s_shape = g.shape_tensor(s)?;
    let f = differences(g, s2)?;
    let s_inv = diagonal(g, safe_reciprocal(g, s)?)?;
    let v1 = columns(g, v, None, Some(rows))?;
    let grad_v1 = columns(g, grad_v, None, Some(rows))?;
    let u_gu = product(g, (u, true), (grad_u, false))?;
    let v_gv = product(g, (v1, true), (grad_v1, false))?;
    let (f_u, f_v) = (g.mul(f, u_gu)?, g.mul(f, v_gv)?);
    let left = times(g, g.add(f_u, g.adjoint(f_u)?)?, s_mat)?;
    let middle = g.add(grad_s_mat, left)?;
    let right = times(g, s_mat, g.add(f_v, g.adjoint(f_v)?)?)?;
    let middle = g.add(middle, right)?;
    let term1 = times(g, u, product(g, (middle, false), (v1, true))?)?;
    let mut grad_a = term1;
    if rows != cols {
        let gv1t = g.matrix_transpose(grad_v1, true)?;
        let gv1t_v1 = times(g, gv1t, v1)?;
        let mut rest = g.sub(gv1t, product(g, (gv1t_v1, false), (v1, true))?)?;
        if full {
            let v2 = columns(g, v, Some(rows), Some(cols))?;
            let grad_v2 = columns(g, grad_v, Some(rows), Some(cols))?;
            let v1t_gv2 = product(g, (v1, true), (grad_v2, false))?;
            rest = g.sub(rest, product(g, (v1t_gv2, false), (v2, true))?)?;
        }
        let u_s_inv = times(g, u, s_inv)?;
        grad_a = g.add(term1, times(g, u_s_inv, rest)?)?;
    }
    if dtype.is_complex() {
        let last = g.index(s_shape, &[(-1).into()])?;
        let batch = g.index(s_shape, &[(..Arg::from(-1i32)).into()])?;
        let eye = g.eye_of(EyeSize::Tensor(last), None, Some(batch.into()), dtype)?;
        let l = g.mul(eye, v_gv)?;
        let skew = g.sub(g.adjoint(l)?, l)?;
        let inner = times(g, s_inv, skew)?;
        let outer = times(g, u, product(g, (inner, false), (v1, true))?)?;
        grad_a = g.add(grad_a, g.mul(0.5, outer)?)?;
    }
    if use_adjoint {
        grad_a = g.matrix_transpose(grad_a, true)?;
    }
    g.set_shape(grad_a, shape_a)?;
    one(grad_a)
}
