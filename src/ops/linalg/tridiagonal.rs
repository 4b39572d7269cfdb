//! Tridiagonal matrices, given by their diagonals.

use super::batch::{Batch, linear, rows, run};
use super::{grad, shapes};
use crate::compute::linalg::{Mat, Scalar};
use crate::error::{Result, bail};
use crate::graph::op::{Grad, Kernel, KernelCtx, Op};
use crate::tensor::Tensor;

pub(super) static OPS: &[Op] = &[
    Op {
        name: "TridiagonalSolve",
        ins: &["diagonals: T", "rhs: T"],
        outs: &["output: T"],
        attrs: &["partial_pivoting: bool = true", "perturb_singular: bool = false", "T: {double, float, complex64, complex128}"],
        shape: shapes::tridiagonal_solve,
        kernel: Kernel::Pure(|ctx| run(ctx, solve_kernel)),
        grad: Grad::Fn(grad::tridiagonal_solve),
        rows: &[
            "f64[[1 2 0] [1 1 1] [0 3 4]], f64[[1] [2] [3]] => f64[[0.3] [0.7] [0.2]]",
            "partial_pivoting=false; f64[[1 2 0] [1 1 1] [0 3 4]], f64[[1] [2] [3]] => f64[[0.3] [0.7] [0.2]]",
            "f32[[0 2 0] [0 1 1] [0 3 4]], f32[[1] [2] [3]] => f32[[nan] [nan] [nan]]",
        ],
    },
    Op {
        name: "TridiagonalMatMul",
        ins: &["superdiag: T", "maindiag: T", "subdiag: T", "rhs: T"],
        outs: &["output: T"],
        attrs: &["T: {double, float, complex64, complex128}"],
        shape: shapes::tridiagonal_product,
        kernel: Kernel::Pure(|ctx| run(ctx, product_kernel)),
        grad: Grad::Fn(grad::tridiagonal_product),
        rows: &["f64[[1 2 9]], f64[[1 1 1]], f64[[9 3 4]], f64[[1] [2] [3]] => f64[[3] [11] [11]]"],
    },
];

fn solve_kernel(ctx: &KernelCtx, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let batch = Batch::new(inputs)?;
    let ((diagonals, m), (n, columns)) = (batch.sizes(0), batch.sizes(1));
    if diagonals != 3 {
        bail!(InvalidArgument, "Expected diagonals to have shape [..., 3, M], got {diagonals} diagonals");
    }
    if m != n {
        bail!(InvalidArgument, "The length of the diagonals and the rows of the right-hand side differ: {m} vs {n}");
    }
    let pivoting = ctx.node().boolean("partial_pivoting")?;
    let perturb = ctx.node().boolean("perturb_singular")?;
    linear!(inputs[0].dtype(), T => {
        let nan = T::from_real(<T as Scalar>::Real::NAN);
        let tiny = T::from_real(<T as Scalar>::Real::EPSILON);
        let parts = batch.map::<T, _>(|m| {
            let solved = if pivoting { pivoted(&m[0], &m[1], perturb.then_some(tiny)) } else { unpivoted(&m[0], &m[1]) };
            Ok(solved.map_or_else(|| vec![nan; n * columns], |x| rows(&x)))
        })?;
        Ok(vec![batch.gather(&[n, columns], parts)?])
    })
}

/// Thomas's elimination. `None` where a pivot is zero.
fn unpivoted<T: Scalar>(diagonals: &Mat<T>, rhs: &Mat<T>) -> Option<Mat<T>> {
    let n = rhs.rows();
    let mut x = rhs.clone();
    let mut upper = vec![T::ZERO; n];
    for i in 0..n {
        let below = if i > 0 { diagonals[(2, i)] } else { T::ZERO };
        let pivot = diagonals[(1, i)] - if i > 0 { below * upper[i - 1] } else { T::ZERO };
        if pivot == T::ZERO {
            return None;
        }
        upper[i] = diagonals[(0, i)] / pivot;
        for j in 0..x.columns() {
            let before = if i > 0 { below * x[(i - 1, j)] } else { T::ZERO };
            x[(i, j)] = (x[(i, j)] - before) / pivot;
        }
    }
    for i in (0..n.saturating_sub(1)).rev() {
        for j in 0..x.columns() {
            x[(i, j)] = x[(i, j)] - upper[i] * x[(i + 1, j)];
        }
    }
    Some(x)
}

/// Gauss's elimination with exchanges of neighbouring rows. `None` where a pivot is zero, unless it is replaced by the
/// smallest one that counts.
fn pivoted<T: Scalar>(diagonals: &Mat<T>, rhs: &Mat<T>, perturb: Option<T>) -> Option<Mat<T>> {
    let n = rhs.rows();
    let mut x = rhs.clone();
    if n == 0 {
        return Some(x);
    }
    // Three diagonals of U.
    let mut u = vec![[T::ZERO; 3]; n];
    let mut row = [diagonals[(1, 0)], if n > 1 { diagonals[(0, 0)] } else { T::ZERO }];
    for i in 0..n {
        if i + 1 == n {
            u[i] = [row[0], T::ZERO, T::ZERO];
        } else {
            let next = [diagonals[(2, i + 1)], diagonals[(1, i + 1)], if i + 2 < n { diagonals[(0, i + 1)] } else { T::ZERO }];
            if row[0].modulus() >= next[0].modulus() {
                u[i] = [row[0], row[1], T::ZERO];
                if u[i][0] == T::ZERO {
                    u[i][0] = perturb?;
                }
                let factor = next[0] / u[i][0];
                row = [next[1] - factor * row[1], next[2]];
                for j in 0..x.columns() {
                    x[(i + 1, j)] = x[(i + 1, j)] - factor * x[(i, j)];
                }
            } else {
                u[i] = next;
                let factor = row[0] / next[0];
                row = [row[1] - factor * next[1], -(factor * next[2])];
                x.swap_rows(i, i + 1);
                for j in 0..x.columns() {
                    x[(i + 1, j)] = x[(i + 1, j)] - factor * x[(i, j)];
                }
            }
        }
        if u[i][0] == T::ZERO {
            u[i][0] = perturb?;
        }
    }
    for i in (0..n).rev() {
        for j in 0..x.columns() {
            let mut value = x[(i, j)];
            for k in 1..3 {
                if i + k < n {
                    value = value - u[i][k] * x[(i + k, j)];
                }
            }
            x[(i, j)] = value / u[i][0];
        }
    }
    Some(x)
}

fn product_kernel(_: &KernelCtx, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let batch = Batch::new(inputs)?;
    let (n, columns) = batch.sizes(3);
    for (i, name) in ["superdiag", "maindiag", "subdiag"].into_iter().enumerate() {
        if batch.sizes(i) != (1, n) {
            bail!(InvalidArgument, "Expected {name} to have shape [..., 1, {n}], got {:?}", inputs[i].dims());
        }
    }
    linear!(inputs[0].dtype(), T => {
        let parts = batch.map::<T, _>(|m| {
            let x = &m[3];
            Ok(rows(&Mat::from_fn(n, columns, |i, j| {
                let mut sum = m[1][(0, i)] * x[(i, j)];
                if i + 1 < n {
                    sum = sum + m[0][(0, i)] * x[(i + 1, j)];
                }
                if i > 0 {
                    sum = sum + m[2][(0, i)] * x[(i - 1, j)];
                }
                sum
            })))
        })?;
        Ok(vec![batch.gather(&[n, columns], parts)?])
    })
}
