//! Decompositions: Cholesky's, LU, QR, singular values, eigenvalues.

use super::batch::{Batch, linear, rows, run};
use super::{grad, shapes};
use crate::compute::linalg::{
    Lu, Mat, Qr, RealScalar, Scalar, Svd, cholesky, eigen, real_eigen, self_adjoint_eigen, solve_triangular, svd,
};
use crate::error::{Error, Result, bail};
use crate::graph::op::{Grad, Kernel, KernelCtx, Op};
use crate::ops::math::cast::cast_tensor;
use crate::tensor::{DType, Element, Tensor};
use num_complex::Complex;

/// The message of an eigenvalue decomposition that found none.
const NO_EIGENVALUES: &str = "Self-adjoint eigen decomposition was not successful. The input might not be valid.";

const fn cholesky_op(name: &'static str, attrs: &'static [&'static str], grad: Grad) -> Op {
    Op {
        name,
        ins: &["input: T"],
        outs: &["output: T"],
        attrs,
        shape: shapes::unchanged_square,
        kernel: Kernel::Pure(|ctx| run(ctx, cholesky_kernel)),
        grad,
        rows: &[
            "f64[[4 2] [2 5]] => f64[[2 0] [1 2]]",
            "f32[[4 nan] [2 5]] => f32[[2 0] [1 2]]",
            "f32[[-1 0] [0 1]] => f32[[nan 0] [nan nan]]",
            "f64{2,0,0}[] => f64{2,0,0}[]",
        ],
    }
}

const fn cholesky_grad_op(name: &'static str, attrs: &'static [&'static str]) -> Op {
    Op {
        name,
        ins: &["l: T", "grad: T"],
        outs: &["output: T"],
        attrs,
        shape: shapes::two_squares,
        kernel: Kernel::Pure(|ctx| run(ctx, cholesky_grad_kernel)),
        grad: Grad::Missing,
        rows: &[
            "f64[[1 0] [2 3]], f64[[1 5] [2 7]] => f64[[3.1666666666666665 -1.3333333333333333] [-1.3333333333333333 1.1666666666666667]]",
        ],
    }
}

const fn svd_op(name: &'static str, attrs: &'static [&'static str], grad: Grad) -> Op {
    Op {
        name,
        ins: &["input: T"],
        outs: &["s: T", "u: T", "v: T"],
        attrs,
        shape: shapes::svd,
        kernel: Kernel::Pure(|ctx| run(ctx, svd_kernel)),
        grad,
        rows: &[
            "f64[[0 3] [-2 0]] => f64[3 2], f64[[1 0] [0 -1]], f64[[0 1] [1 0]]",
            "compute_uv=false; f32[[1 2 2]] => f32[3], f32{0}[], f32{0}[]",
            "full_matrices=true; f32{0,2}[] => f32{0}[], f32{0,0}[], f32[[1 0] [0 1]]",
            "f32[[nan]] => f32[nan], f32[[nan]], f32[[nan]]",
        ],
    }
}

const fn eig_op(name: &'static str, attrs: &'static [&'static str], grad: Grad) -> Op {
    Op {
        name,
        ins: &["input: T"],
        outs: &["e: T", "v: T"],
        attrs,
        shape: shapes::eigen,
        kernel: Kernel::Pure(|ctx| run(ctx, self_adjoint_kernel)),
        grad,
        rows: &[
            "compute_v=false; f64[[2 9] [1 2]] => f64[1 3], f64{0}[]",
            "f32[[3 0] [0 1]] => f32[1 3], f32[[0 1] [1 0]]",
            "f64{0,0}[] => f64{0}[], f64{0,0}[]",
        ],
    }
}

const fn eig_v1_op(name: &'static str, attrs: &'static [&'static str]) -> Op {
    Op {
        name,
        ins: &["input: T"],
        outs: &["output: T"],
        attrs,
        shape: shapes::self_adjoint_eig_v1,
        kernel: Kernel::Pure(|ctx| run(ctx, self_adjoint_v1_kernel)),
        grad: Grad::Missing,
        rows: &["f64[[3 0] [0 1]] => f64[[1 3] [0 1] [1 0]]"],
    }
}

pub(super) static OPS: &[Op] = &[
    cholesky_op("Cholesky", &["T: {double, float, half, complex64, complex128}"], Grad::Fn(grad::cholesky)),
    cholesky_op("BatchCholesky", &["T: {double, float}"], Grad::Missing),
    cholesky_grad_op("CholeskyGrad", &["T: {half, float, double}"]),
    cholesky_grad_op("BatchCholeskyGrad", &["T: {float, double}"]),
    Op {
        name: "Lu",
        ins: &["input: T"],
        outs: &["lu: T", "p: output_idx_type"],
        attrs: &["T: {double, float, half, complex64, complex128}", "output_idx_type: {int32, int64} = DT_INT32"],
        shape: shapes::lu,
        kernel: Kernel::Pure(|ctx| run(ctx, lu_kernel)),
        grad: Grad::Missing,
        rows: &[
            "f64[[1 2] [4 4]] => f64[[4 4] [0.25 1]], i32[1 0]",
            "output_idx_type=i64; c64[[[2:0]]] => c64[[[2:0]]], i64[[0]]",
        ],
    },
    Op {
        name: "Qr",
        ins: &["input: T"],
        outs: &["q: T", "r: T"],
        attrs: &["full_matrices: bool = false", "T: {double, float, half, complex64, complex128}"],
        shape: shapes::qr,
        kernel: Kernel::Pure(|ctx| run(ctx, qr_kernel)),
        grad: Grad::Fn(grad::qr),
        rows: &[
            "f64[[3] [4]] => f64[[-0.6] [-0.8]], f64[[-5]]",
            "full_matrices=true; f64[[3] [4]] => f64[[-0.6 -0.8] [-0.8 0.6]], f64[[-5] [0]]",
            "f64[[0 2] [0 0]] => f64[[1 0] [0 1]], f64[[0 2] [0 0]]",
            "f16[[2]] => f16[[1]], f16[[2]]",
        ],
    },
    svd_op(
        "Svd",
        &["compute_uv: bool = true", "full_matrices: bool = false", "T: {double, float, half, complex64, complex128}"],
        Grad::Fn(grad::svd),
    ),
    svd_op(
        "BatchSvd",
        &["compute_uv: bool = true", "full_matrices: bool = false", "T: {double, float, complex64, complex128}"],
        Grad::Missing,
    ),
    eig_op(
        "SelfAdjointEigV2",
        &["compute_v: bool = true", "T: {double, float, half, complex64, complex128}"],
        Grad::Fn(grad::self_adjoint_eig),
    ),
    eig_op("BatchSelfAdjointEigV2", &["compute_v: bool = true", "T: {double, float}"], Grad::Missing),
    eig_v1_op("SelfAdjointEig", &["T: {double, float, half}"]),
    eig_v1_op("BatchSelfAdjointEig", &["T: {double, float}"]),
    Op {
        name: "Eig",
        ins: &["input: T"],
        outs: &["e: Tout", "v: Tout"],
        attrs: &["compute_v: bool = true", "T: {float, double, complex64, complex128}", "Tout: {complex64, complex128}"],
        shape: shapes::eigen,
        kernel: Kernel::Pure(|ctx| run(ctx, eig_kernel)),
        grad: Grad::Fn(grad::eig),
        rows: &[
            "compute_v=false, Tout=c128; f64[[0 -1] [1 0]] => _, c128{0}[]",
            "Tout=c64; f32[[2 0] [0 1]] => c64[2:0 1:0], c64[[1:0 0:0] [0:0 1:0]]",
            "Tout=c64; c64[[2:0 0:0] [0:0 1:0]] => c64[1:0 2:0], c64[[0:0 1:0] [1:0 0:0]]",
        ],
    },
];

fn cholesky_kernel(_: &KernelCtx, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let batch = Batch::new(inputs)?;
    let n = batch.square()?;
    linear!(inputs[0].dtype(), T => {
        let parts = batch.map::<T, _>(|m| {
            Ok(rows(&cholesky(&m[0]).unwrap_or_else(|| {
                let nan = T::from_real(<T as Scalar>::Real::NAN);
                Mat::from_fn(n, n, |i, j| if i >= j { nan } else { <T as Scalar>::ZERO })
            })))
        })?;
        Ok(vec![batch.gather(&[n, n], parts)?])
    })
}

/// `(P + P^T) / 2` for `P = L^-T F(L^T G) L^-1`, where F halves the diagonal and drops what stands above it.
fn cholesky_grad_kernel(_: &KernelCtx, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let batch = Batch::new(inputs)?;
    let n = batch.square()?;
    if batch.sizes(1) != (n, n) {
        bail!(InvalidArgument, "Inputs must be square matrices of one shape, got sides {n} and {:?}", batch.sizes(1));
    }
    linear!(inputs[0].dtype(), T => {
        let half = <T as Scalar>::ONE / (<T as Scalar>::ONE + <T as Scalar>::ONE);
        let parts = batch.map::<T, _>(|m| {
            let lower = |a: &Mat<T>| Mat::from_fn(n, n, |i, j| if i >= j { a[(i, j)] } else { <T as Scalar>::ZERO });
            let (l, g) = (lower(&m[0]), lower(&m[1]));
            let product = l.adjoint().times(&g);
            let mut p = Mat::from_fn(n, n, |i, j| match i.cmp(&j) {
                std::cmp::Ordering::Greater => product[(i, j)],
                std::cmp::Ordering::Equal => product[(i, j)] * half,
                std::cmp::Ordering::Less => <T as Scalar>::ZERO,
            });
            solve_triangular(&l, &mut p, true, true, false);
            let mut p = p.adjoint();
            solve_triangular(&l, &mut p, true, true, false);
            Ok(rows(&Mat::from_fn(n, n, |i, j| (p[(i, j)] + p[(j, i)].conj()) * half)))
        })?;
        Ok(vec![batch.gather(&[n, n], parts)?])
    })
}

fn lu_kernel(ctx: &KernelCtx, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let batch = Batch::new(inputs)?;
    let n = batch.square()?;
    let index = ctx.node().output_types[1];
    linear!(inputs[0].dtype(), T => {
        let parts = batch.map::<T, _>(|m| {
            let lu = Lu::new(m[0].clone());
            if !lu.is_invertible() {
                bail!(InvalidArgument, "Input is not invertible.");
            }
            Ok((rows(&lu.factors), lu.permutation.iter().map(|&p| p as i64).collect::<Vec<i64>>()))
        })?;
        let (factors, permutations): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        Ok(vec![batch.gather(&[n, n], factors)?, cast_tensor(&batch.gather(&[n], permutations)?, index)?])
    })
}

fn qr_kernel(ctx: &KernelCtx, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let batch = Batch::new(inputs)?;
    let (m, n) = batch.sizes(0);
    let inner = if ctx.node().boolean("full_matrices")? { m } else { m.min(n) };
    linear!(inputs[0].dtype(), T => {
        let parts = batch.map::<T, _>(|matrices| {
            let qr = Qr::new(matrices[0].clone());
            Ok((rows(&qr.q.matrix(m, inner)), rows(&qr.r.resized(inner, n))))
        })?;
        let (q, r): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        Ok(vec![batch.gather(&[m, inner], q)?, batch.gather(&[inner, n], r)?])
    })
}

fn svd_kernel(ctx: &KernelCtx, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let batch = Batch::new(inputs)?;
    let (m, n) = batch.sizes(0);
    let size = m.min(n);
    let full = ctx.node().boolean("full_matrices")?;
    let vectors = ctx.node().boolean("compute_uv")?.then_some(full);
    let (left, right) = if full { (m, n) } else { (size, size) };
    linear!(inputs[0].dtype(), T => {
        let nan = T::from_real(<T as Scalar>::Real::NAN);
        let parts = batch.map::<T, _>(|matrices| {
            if size == 0 {
                return Ok((Vec::new(), rows(&Mat::identity(m, left)), rows(&Mat::identity(n, right))));
            }
            Ok(match svd(&matrices[0], vectors) {
                Some(Svd { values, u, v }) => (values.into_iter().map(T::from_real).collect(), rows(&u), rows(&v)),
                None => (vec![nan; size], vec![nan; m * left], vec![nan; n * right]),
            })
        })?;
        let (mut values, mut u, mut v) = (Vec::new(), Vec::new(), Vec::new());
        for part in parts {
            values.push(part.0);
            u.push(part.1);
            v.push(part.2);
        }
        let s = batch.gather(&[size], values)?;
        if vectors.is_none() {
            let none = Tensor::zeros(T::DTYPE, &[0])?;
            return Ok(vec![s, none.clone(), none]);
        }
        Ok(vec![s, batch.gather(&[m, left], u)?, batch.gather(&[n, right], v)?])
    })
}

fn self_adjoint_parts<T: Scalar + Element>(batch: &Batch, vectors: bool) -> Result<Vec<(Vec<T>, Option<Mat<T>>)>> {
    batch.map::<T, _>(|m| {
        let found = self_adjoint_eigen(&m[0], vectors).ok_or_else(|| Error::invalid_argument(NO_EIGENVALUES))?;
        Ok((found.0.into_iter().map(T::from_real).collect(), found.1))
    })
}

fn self_adjoint_kernel(ctx: &KernelCtx, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let batch = Batch::new(inputs)?;
    let n = batch.square()?;
    let vectors = ctx.node().boolean("compute_v")?;
    linear!(inputs[0].dtype(), T => {
        let (values, columns): (Vec<_>, Vec<_>) = self_adjoint_parts::<T>(&batch, vectors)?.into_iter().unzip();
        let values = batch.gather(&[n], values)?;
        if !vectors {
            return Ok(vec![values, Tensor::zeros(T::DTYPE, &[0])?]);
        }
        Ok(vec![values, batch.gather(&[n, n], columns.iter().flatten().map(rows))?])
    })
}

fn self_adjoint_v1_kernel(_: &KernelCtx, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let batch = Batch::new(inputs)?;
    let n = batch.square()?;
    linear!(inputs[0].dtype(), T => {
        let parts = self_adjoint_parts::<T>(&batch, true)?.into_iter().map(|(mut values, columns)| {
            values.extend(columns.iter().flat_map(rows));
            values
        });
        Ok(vec![batch.gather(&[n + 1, n], parts)?])
    })
}

fn eig_kernel(ctx: &KernelCtx, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let out = ctx.node().output_types[0];
    let dtype = inputs[0].dtype();
    if dtype.real() != out.real() {
        bail!(InvalidArgument, "Eigenvalues of {dtype} matrices can't be {out}");
    }
    let vectors = ctx.node().boolean("compute_v")?;
    match dtype {
        DType::Float => general::<f32, f32>(inputs, vectors, |m| real_eigen(m, vectors)),
        DType::Double => general::<f64, f64>(inputs, vectors, |m| real_eigen(m, vectors)),
        DType::Complex64 => general::<Complex<f32>, f32>(inputs, vectors, |m| eigen(m.clone(), vectors)),
        DType::Complex128 => general::<Complex<f64>, f64>(inputs, vectors, |m| eigen(m.clone(), vectors)),
        other => bail!(InvalidArgument, "No OpKernel was registered to support the Op with dtype {other}"),
    }
}

/// Eigenvalues and, if asked for, eigenvectors.
type Found<R> = Option<(Vec<Complex<R>>, Option<Mat<Complex<R>>>)>;

fn general<T: Scalar + Element, R: RealScalar>(
    inputs: &[Tensor],
    vectors: bool,
    find: impl Fn(&Mat<T>) -> Found<R> + Sync,
) -> Result<Vec<Tensor>>
where
    Complex<R>: Scalar<Real = R> + Element,
{
    let batch = Batch::new(inputs)?;
    let n = batch.square()?;
    let parts = batch.map::<T, _>(|m| {
        let failed = || Error::invalid_argument("Eigen decomposition was not successful. The input might not be valid.");
        let (values, columns) = find(&m[0]).ok_or_else(failed)?;
        if !values.iter().all(|v| v.finite()) {
            return Err(failed());
        }
        Ok((values, columns))
    })?;
    let (values, columns): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
    let values = batch.gather(&[n], values)?;
    if !vectors {
        return Ok(vec![values, Tensor::zeros(<Complex<R> as Element>::DTYPE, &[0])?]);
    }
    Ok(vec![values, batch.gather(&[n, n], columns.iter().flatten().map(rows))?])
}
