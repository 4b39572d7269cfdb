//! Inverses, determinants and systems of equations.

use super::batch::{Batch, linear, rows, run};
use super::{grad, shapes};
use crate::compute::linalg::{Lu, Mat, PivotedQr, Scalar, cholesky, solve_triangular};
use crate::error::{Result, bail};
use crate::graph::op::{Grad, Kernel, KernelCtx, Op};
use crate::ops::math::broadcast::Broadcast;
use crate::tensor::Tensor;

const fn determinant_op(name: &'static str, attrs: &'static [&'static str], grad: Grad) -> Op {
    Op {
        name,
        ins: &["input: T"],
        outs: &["output: T"],
        attrs,
        shape: shapes::determinant,
        kernel: Kernel::Pure(|ctx| run(ctx, determinant_kernel)),
        grad,
        rows: &[
            "f64[[1 2] [3 4]] => f64 -2",
            "f32[[1 2] [2 4]] => f32 0",
            "f32{2,0,0}[] => f32[1 1]",
            "c128[[0:1 0:0] [0:0 0:1]] => c128 -1:0",
        ],
    }
}

const fn inverse_op(name: &'static str, attrs: &'static [&'static str], grad: Grad) -> Op {
    Op {
        name,
        ins: &["input: T"],
        outs: &["output: T"],
        attrs,
        shape: shapes::unchanged_square,
        kernel: Kernel::Pure(|ctx| run(ctx, inverse_kernel)),
        grad,
        rows: &[
            "f64[[1 2] [3 4]] => f64[[-2 1] [1.5 -0.5]]",
            "adjoint=true; f64[[1 2] [3 4]] => f64[[-2 1.5] [1 -0.5]]",
            "f32{0,3,3}[] => f32{0,3,3}[]",
        ],
    }
}

const fn solve_op(name: &'static str, attrs: &'static [&'static str], grad: Grad) -> Op {
    Op {
        name,
        ins: &["matrix: T", "rhs: T"],
        outs: &["output: T"],
        attrs,
        shape: shapes::solve,
        kernel: Kernel::Pure(|ctx| run(ctx, solve_kernel)),
        grad,
        rows: &[
            "f64[[0 2] [4 0]], f64[[2] [4]] => f64[[1] [1]]",
            "adjoint=true; f64[[1 2] [3 4]], f64[[1] [0]] => f64[[-2] [1]]",
            "f32{0,0}[], f32{0,3}[] => f32{0,3}[]",
        ],
    }
}

const fn triangular_op(name: &'static str, attrs: &'static [&'static str], grad: Grad) -> Op {
    Op {
        name,
        ins: &["matrix: T", "rhs: T"],
        outs: &["output: T"],
        attrs,
        shape: shapes::triangular_solve,
        kernel: Kernel::Pure(|ctx| run(ctx, triangular_kernel)),
        grad,
        rows: &[
            "f64[[2 nan] [1 4]], f64[[2] [9]] => f64[[1] [2]]",
            "lower=false, adjoint=true; f64[[2 1] [nan 4]], f64[[2] [9]] => f64[[1] [2]]",
            "f32[[[2]] [[4]]], f32[[8 4]] => f32[[[4 2]] [[2 1]]]",
            "f32[[1 2] [2 0]], f32[[1] [1]] => f32[[1] [-inf]]",
        ],
    }
}

const fn least_squares_op(name: &'static str, attrs: &'static [&'static str], grad: Grad) -> Op {
    Op {
        name,
        ins: &["matrix: T", "rhs: T", "l2_regularizer: double"],
        outs: &["output: T"],
        attrs,
        shape: shapes::least_squares,
        kernel: Kernel::Pure(least_squares_kernel),
        grad,
        rows: &[
            "f64[[1] [1]], f64[[1] [3]], f64 0 => f64[[2]]",
            "f64[[1] [1]], f64[[1] [3]], f64 2 => f64[[1]]",
            "f64[[3 4]], f64[[25]], f64 0 => f64[[3] [4]]",
            "fast=false; f64[[1 1] [1 1]], f64[[1] [2]], f64 0 => f64[[0.75] [0.75]]",
        ],
    }
}

pub(super) static OPS: &[Op] = &[
    determinant_op("MatrixDeterminant", &["T: {half, float, double, complex64, complex128}"], Grad::Fn(grad::determinant)),
    determinant_op("BatchMatrixDeterminant", &["T: {float, double, complex64, complex128}"], Grad::Missing),
    Op {
        name: "LogMatrixDeterminant",
        ins: &["input: T"],
        outs: &["sign: T", "log_abs_determinant: T"],
        attrs: &["T: {half, float, double, complex64, complex128}"],
        shape: shapes::determinant,
        kernel: Kernel::Pure(|ctx| run(ctx, log_determinant_kernel)),
        grad: Grad::Fn(grad::log_determinant),
        rows: &["f64[[0 1] [1 0]] => f64 -1, f64 0", "f32[[1 2] [2 4]] => f32 0, f32 -inf", "f32{0,0}[] => f32 1, f32 0"],
    },
    inverse_op(
        "MatrixInverse",
        &["adjoint: bool = false", "T: {double, float, half, complex64, complex128}"],
        Grad::Fn(grad::inverse),
    ),
    inverse_op("BatchMatrixInverse", &["adjoint: bool = false", "T: {double, float}"], Grad::Missing),
    solve_op("MatrixSolve", &["adjoint: bool = false", "T: {double, float, half, complex64, complex128}"], Grad::Fn(grad::solve)),
    solve_op("BatchMatrixSolve", &["adjoint: bool = false", "T: {double, float}"], Grad::Missing),
    triangular_op(
        "MatrixTriangularSolve",
        &["lower: bool = true", "adjoint: bool = false", "T: {bfloat16, double, float, half, complex64, complex128}"],
        Grad::Fn(grad::triangular_solve),
    ),
    triangular_op(
        "BatchMatrixTriangularSolve",
        &["lower: bool = true", "adjoint: bool = false", "T: {double, float}"],
        Grad::Missing,
    ),
    least_squares_op(
        "MatrixSolveLs",
        &["T: {double, float, half, complex64, complex128}", "fast: bool = true"],
        Grad::Fn(grad::least_squares),
    ),
    least_squares_op("BatchMatrixSolveLs", &["T: {double, float}", "fast: bool = true"], Grad::Missing),
    Op {
        name: "BandedTriangularSolve",
        ins: &["matrix: T", "rhs: T"],
        outs: &["output: T"],
        attrs: &["lower: bool = true", "adjoint: bool = false", "T: {double, float, half, complex64, complex128}"],
        shape: shapes::banded_solve,
        kernel: Kernel::Pure(|ctx| run(ctx, banded_kernel)),
        grad: Grad::Fn(grad::banded_solve),
        rows: &[
            "f64[[1 2 3] [4 5 6]], f64[[1] [2] [3]] => f64[[1] [-1.5] [4]]",
            "lower=false; f64[[1 2 3] [4 5 6]], f64[[1] [2] [3]] => f64[[0.2] [0.2] [0.5]]",
            "adjoint=true; f64[[1 2 3] [4 5 6]], f64[[1] [2] [3]] => f64[[11] [-2] [1]]",
            "f32[[1] [1] [1]], f32[[3]] => f32[[3]]",
        ],
    },
];

fn determinant_kernel(_: &KernelCtx, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let batch = Batch::new(inputs)?;
    batch.square()?;
    linear!(inputs[0].dtype(), T => {
        let parts = batch.map::<T, _>(|m| {
            let (sign, log) = Lu::new(m[0].clone()).log_determinant();
            Ok(vec![sign.scale(log.exp())])
        })?;
        Ok(vec![batch.gather(&[], parts)?])
    })
}

fn log_determinant_kernel(_: &KernelCtx, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let batch = Batch::new(inputs)?;
    batch.square()?;
    linear!(inputs[0].dtype(), T => {
        let parts = batch.map::<T, _>(|m| Ok(Lu::new(m[0].clone()).log_determinant()))?;
        let signs = batch.gather(&[], parts.iter().map(|p| vec![p.0]))?;
        Ok(vec![signs, batch.gather(&[], parts.iter().map(|p| vec![T::from_real(p.1)]))?])
    })
}

fn inverse_kernel(ctx: &KernelCtx, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let batch = Batch::new(inputs)?;
    let n = batch.square()?;
    let adjoint = ctx.node().boolean("adjoint")?;
    linear!(inputs[0].dtype(), T => {
        let parts = batch.map::<T, _>(|m| {
            let lu = Lu::new(m[0].clone());
            if !lu.is_invertible() {
                bail!(InvalidArgument, "Input is not invertible.");
            }
            Ok(rows(&lu.solve(&Mat::identity(n, n), adjoint)))
        })?;
        Ok(vec![batch.gather(&[n, n], parts)?])
    })
}

fn solve_kernel(ctx: &KernelCtx, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let batch = Batch::new(inputs)?;
    batch.solver(true)?;
    let (n, columns) = batch.sizes(1);
    let adjoint = ctx.node().boolean("adjoint")?;
    linear!(inputs[0].dtype(), T => {
        let parts = batch.map::<T, _>(|m| {
            let lu = Lu::new(m[0].clone());
            if !lu.is_invertible() {
                bail!(InvalidArgument, "Input matrix is not invertible.");
            }
            Ok(rows(&lu.solve(&m[1], adjoint)))
        })?;
        Ok(vec![batch.gather(&[n, columns], parts)?])
    })
}

/// The tensors with outer dimensions broadcast against each other.
fn broadcast_outer(inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    for (i, input) in inputs.iter().enumerate() {
        if input.rank() < 2 {
            bail!(InvalidArgument, "In[{i}] ndims must be >= 2: {}", input.rank());
        }
    }
    let outer = |t: &Tensor| t.dims()[..t.rank() - 2].to_vec();
    let (a, b) = (outer(&inputs[0]), outer(&inputs[1]));
    if a == b {
        return Ok(inputs.to_vec());
    }
    let Ok(broadcast) = Broadcast::new([&a, &b]) else {
        bail!(
            InvalidArgument,
            "In[0] and In[1] must have compatible batch dimensions: {:?} vs. {:?}",
            inputs[0].dims(),
            inputs[1].dims()
        );
    };
    let dims = broadcast.dims.to_vec();
    inputs
        .iter()
        .map(|input| {
            let inner = &input.dims()[input.rank() - 2..];
            let target: Vec<usize> = dims.iter().chain(inner).copied().collect();
            let own = crate::ops::array::row_major(input.dims());
            let lead = target.len() - input.rank();
            let stride = |i: usize| {
                if i < lead || (input.dims()[i - lead] == 1 && target[i] != 1) { 0 } else { own[i - lead] }
            };
            let strides = (0..target.len()).map(stride).collect();
            let view = crate::ops::array::View { dims: target.as_slice().into(), strides, offset: 0 };
            crate::ops::array::read_view(input, &view)
        })
        .collect()
}

fn triangular_kernel(ctx: &KernelCtx, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let inputs = broadcast_outer(inputs)?;
    let batch = Batch::new(&inputs)?;
    let ((m, n), (rhs, columns)) = (batch.sizes(0), batch.sizes(1));
    if m != n {
        bail!(InvalidArgument, "In[0] matrices in the last dimensions must be square ({m} =/= {n})");
    }
    if n != rhs {
        bail!(InvalidArgument, "In[0] mismatch In[1] shape: {n} vs. {rhs}: the matrix and the right-hand side don't fit");
    }
    let (lower, adjoint) = (ctx.node().boolean("lower")?, ctx.node().boolean("adjoint")?);
    linear!(inputs[0].dtype(), T => {
        let parts = batch.map::<T, _>(|m| {
            let mut x = m[1].clone();
            solve_triangular(&m[0], &mut x, lower, adjoint, false);
            Ok(rows(&x))
        })?;
        Ok(vec![batch.gather(&[n, columns], parts)?])
    })
}

fn least_squares_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let l2 = ctx.input(2)?;
    if l2.rank() != 0 {
        bail!(InvalidArgument, "l2_regularizer must be scalar, got shape {:?}", l2.dims());
    }
    if l2.item::<f64>()? < 0.0 {
        bail!(InvalidArgument, "l2_regularizer must be >= 0.");
    }
    run(ctx, |ctx, inputs| {
        let (l2, fast) = (inputs[2].item::<f64>()?, ctx.node().boolean("fast")?);
        let batch = Batch::new(&inputs[..2])?;
        batch.solver(false)?;
        let ((_, n), (_, columns)) = (batch.sizes(0), batch.sizes(1));
        linear!(inputs[0].dtype(), T => {
            let l2 = T::from_real(l2 as <T as Scalar>::Real);
            let parts = batch.map::<T, _>(|m| Ok(rows(&least_squares(&m[0], &m[1], l2, fast)?)))?;
            Ok(vec![batch.gather(&[n, columns], parts)?])
        })
    })
}

/// The X that minimises `|A X - B|^2 + l2 |X|^2`: by normal equations if `fast`, else of least norm by a QR decomposition.
fn least_squares<T: Scalar>(a: &Mat<T>, b: &Mat<T>, l2: T, fast: bool) -> Result<Mat<T>> {
    let (rows, columns) = (a.rows(), a.columns());
    if rows == 0 || columns == 0 || b.columns() == 0 {
        return Ok(Mat::zeros(columns, b.columns()));
    }
    if !fast {
        return Ok(PivotedQr::new(a.clone()).solve(b));
    }
    let adjoint = a.adjoint();
    let tall = rows >= columns;
    let mut gramian = if tall { adjoint.times(a) } else { a.times(&adjoint) };
    for i in 0..gramian.rows() {
        gramian[(i, i)] = gramian[(i, i)] + l2;
    }
    let Some(l) = cholesky(&gramian) else {
        bail!(
            InvalidArgument,
            "Input matrix was rank deficient or ill-conditioned. Try setting fast=False or provide a larger l2_regularizer > 0."
        );
    };
    let mut x = if tall { adjoint.times(b) } else { b.clone() };
    solve_triangular(&l, &mut x, true, false, false);
    solve_triangular(&l, &mut x, true, true, false);
    Ok(if tall { x } else { adjoint.times(&x) })
}

/// Bands as `matrix_diag_part` gives them: the upper diagonals first, those above the main one aligned to the left, those
/// below it to the right.
fn banded_kernel(ctx: &KernelCtx, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let inputs = broadcast_outer(inputs)?;
    let batch = Batch::new(&inputs)?;
    let ((bands, n), (rhs, columns)) = (batch.sizes(0), batch.sizes(1));
    if bands == 0 {
        bail!(InvalidArgument, "Input matrix must have at least one band");
    }
    if n != rhs {
        bail!(InvalidArgument, "In[0] mismatch In[1] shape: {n} vs. {rhs}: the matrix and the right-hand side don't fit");
    }
    let (lower, adjoint) = (ctx.node().boolean("lower")?, ctx.node().boolean("adjoint")?);
    let main = if lower { 0 } else { bands - 1 };
    linear!(inputs[0].dtype(), T => {
        let parts = batch.map::<T, _>(|m| {
            let (a, mut x) = (&m[0], m[1].clone());
            if (0..n).any(|i| a[(main, i)] == <T as Scalar>::ZERO) {
                bail!(InvalidArgument, "Input matrix is not invertible.");
            }
            // The element at row i and column j of the matrix that the bands stand for.
            let at = |i: usize, j: usize| if lower { a[(i - j, i)] } else { a[(bands - 1 - (j - i), i)] };
            let forward = lower != adjoint;
            for column in 0..columns {
                let x = x.column_mut(column);
                for step in 0..n {
                    let k = if forward { step } else { n - 1 - step };
                    let reach = bands.min(n) - 1;
                    let known = if forward { k.saturating_sub(reach)..k } else { k + 1..n.min(k + 1 + reach) };
                    let mut sum = x[k];
                    for j in known {
                        let element = if adjoint { at(j, k).conj() } else { at(k, j) };
                        sum = sum - element * x[j];
                    }
                    let diagonal = if adjoint { at(k, k).conj() } else { at(k, k) };
                    x[k] = sum / diagonal;
                }
            }
            Ok(rows(&x))
        })?;
        Ok(vec![batch.gather(&[n, columns], parts)?])
    })
}
