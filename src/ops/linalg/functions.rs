//! Functions of matrices: square root, logarithm, exponential.

use super::batch::{Batch, rows, run};
use super::{grad, shapes};
use crate::compute::linalg::{Mat, RealScalar, Scalar, logarithm, square_root};
use crate::error::{Error, Result, bail};
use crate::graph::op::{Grad, Kernel, KernelCtx, Op};
use crate::ops::math::cast::cast_tensor;
use crate::tensor::{DType, Element, Tensor};
use num_complex::Complex;

const fn record(
    name: &'static str,
    attrs: &'static [&'static str],
    kernel: Kernel,
    grad: Grad,
    rows: &'static [&'static str],
) -> Op {
    Op { name, ins: &["input: T"], outs: &["output: T"], attrs, shape: shapes::unchanged_square, kernel, grad, rows }
}

pub(super) static OPS: &[Op] = &[
    record(
        "MatrixSquareRoot",
        &["T: {double, float, half, complex64, complex128}"],
        Kernel::Pure(|ctx| run(ctx, square_root_kernel)),
        Grad::Fn(grad::square_root),
        &[
            "f64[[4 0] [5 9]] => f64[[2 0] [1 3]]",
            "f32[[-1 0] [0 4]] => f32[[nan nan] [nan nan]]",
            "c64[[-4:0]] => c64[[0:2]]",
            "f64{0,0}[] => f64{0,0}[]",
        ],
    ),
    record(
        "MatrixLogarithm",
        &["T: {complex64, complex128}"],
        Kernel::Pure(|ctx| run(ctx, logarithm_kernel)),
        Grad::Missing,
        &["c128[[1:0 2:0] [0:0 1:0]] => c128[[0:0 2:0] [0:0 0:0]]", "c128[[-1:0]] => c128[[0:3.141592653589793]]"],
    ),
    record(
        "MatrixExponential",
        &["T: {double, float, half, complex64, complex128}"],
        Kernel::Missing("it has been removed in version 27 of TensorFlow's graphs; tf.linalg.expm is built from other ops"),
        Grad::Missing,
        &[],
    ),
];

type Function<R> = fn(Mat<Complex<R>>) -> Option<Mat<Complex<R>>>;

/// A function of each matrix of a complex tensor.
fn apply<R: RealScalar>(input: Tensor, function: Function<R>) -> Result<Tensor>
where
    Complex<R>: Scalar<Real = R> + Element,
{
    let inputs = [input];
    let batch = Batch::new(&inputs)?;
    let n = batch.square()?;
    let nan = Complex { re: R::nan(), im: R::nan() };
    let parts = batch.map::<Complex<R>, _>(|m| {
        if (0..n).any(|j| m[0].column(j).iter().any(|v| !v.finite())) {
            return Ok(vec![nan; n * n]);
        }
        let failed = || Error::invalid_argument("Schur decomposition was not successful. The input might not be valid.");
        Ok(rows(&function(m[0].clone()).ok_or_else(failed)?))
    })?;
    batch.gather(&[n, n], parts)
}

fn logarithm_kernel(_: &KernelCtx, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    Ok(vec![match inputs[0].dtype() {
        DType::Complex64 => apply::<f32>(inputs[0].clone(), logarithm)?,
        DType::Complex128 => apply::<f64>(inputs[0].clone(), logarithm)?,
        other => bail!(InvalidArgument, "No OpKernel was registered to support the Op with dtype {other}"),
    }])
}

/// The principal root; of real matrices without a real one, NaN.
fn square_root_kernel(_: &KernelCtx, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let input = &inputs[0];
    Ok(vec![match input.dtype() {
        DType::Complex64 => apply::<f32>(input.clone(), square_root)?,
        DType::Complex128 => apply::<f64>(input.clone(), square_root)?,
        DType::Float => real_parts::<f32>(&apply::<f32>(cast_tensor(input, DType::Complex64)?, square_root)?)?,
        DType::Double => real_parts::<f64>(&apply::<f64>(cast_tensor(input, DType::Complex128)?, square_root)?)?,
        other => bail!(InvalidArgument, "No OpKernel was registered to support the Op with dtype {other}"),
    }])
}

fn real_parts<R: RealScalar + Element>(roots: &Tensor) -> Result<Tensor>
where
    Complex<R>: Element,
{
    let side = roots.dims().last().copied().unwrap_or(0);
    let mut out = Vec::with_capacity(roots.len());
    for root in roots.as_slice::<Complex<R>>()?.chunks((side * side).max(1)) {
        let largest =
            root.iter().fold(<R as Scalar>::ZERO, |m, v| m.max(num_traits::Float::abs(v.re)).max(num_traits::Float::abs(v.im)));
        let real = root.iter().all(|v| num_traits::Float::abs(v.im) <= largest * R::epsilon().sqrt());
        out.extend(root.iter().map(|v| if real { v.re } else { R::nan() }));
    }
    Tensor::new(roots.dims(), out)
}
