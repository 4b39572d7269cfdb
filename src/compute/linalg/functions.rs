//! Functions of square matrices by Schur's form.

use super::eigen::complex_sqrt;
use super::scalar::constant;
use super::{Mat, RealScalar, Scalar, Schur, solve_triangular};
use num_complex::Complex;
use num_traits::Float;

/// The principal square root. `None` where Schur's form isn't found.
pub fn square_root<R: RealScalar>(a: Mat<Complex<R>>) -> Option<Mat<Complex<R>>>
where
    Complex<R>: Scalar<Real = R>,
{
    by_schur(a, |t| triangle_root(&t))
}

/// The principal logarithm. `None` where Schur's form isn't found.
pub fn logarithm<R: RealScalar>(a: Mat<Complex<R>>) -> Option<Mat<Complex<R>>>
where
    Complex<R>: Scalar<Real = R>,
{
    by_schur(a, triangle_logarithm)
}

fn by_schur<R: RealScalar>(
    a: Mat<Complex<R>>,
    function: impl FnOnce(Mat<Complex<R>>) -> Mat<Complex<R>>,
) -> Option<Mat<Complex<R>>>
where
    Complex<R>: Scalar<Real = R>,
{
    let Schur { triangle, unitary } = Schur::new(a, true)?;
    let u = unitary?;
    Some(u.times(&function(triangle)).times(&u.adjoint()))
}

fn triangle_root<R: RealScalar>(t: &Mat<Complex<R>>) -> Mat<Complex<R>>
where
    Complex<R>: Scalar<Real = R>,
{
    let n = t.rows();
    let mut root = Mat::zeros(n, n);
    for j in 0..n {
        root[(j, j)] = complex_sqrt(t[(j, j)]);
        for i in (0..j).rev() {
            let mut known = <Complex<R> as Scalar>::ZERO;
            for k in i + 1..j {
                known = known + root[(i, k)] * root[(k, j)];
            }
            let rest = t[(i, j)] - known;
            root[(i, j)] = if rest == <Complex<R> as Scalar>::ZERO { rest } else { rest / (root[(i, i)] + root[(j, j)]) };
        }
    }
    root
}

/// Nodes in (0, 1) and weights of the Gauss-Legendre rule of ten points, one half of each.
const NODES: [(f64, f64); 5] = [
    (0.013_046_735_741_414_139_96, 0.033_335_672_154_344_068_80),
    (0.067_468_316_655_507_744_63, 0.074_725_674_575_290_296_57),
    (0.160_295_215_850_487_796_88, 0.109_543_181_257_991_021_99),
    (0.283_302_302_935_376_404_60, 0.134_633_359_654_998_177_54),
    (0.425_562_830_509_184_394_56, 0.147_762_112_357_376_435_09),
];

/// Square roots until the triangle is near one, then `log(I + X)` as the integral of `X (I + x X)^-1` over x from 0 to 1.
fn triangle_logarithm<R: RealScalar>(t: Mat<Complex<R>>) -> Mat<Complex<R>>
where
    Complex<R>: Scalar<Real = R>,
{
    let n = t.rows();
    let mut near = t.clone();
    let mut roots = 0;
    let distance = |m: &Mat<Complex<R>>| {
        (0..n).fold(R::ZERO, |largest, j| {
            let sum = (0..=j).fold(R::ZERO, |sum, i| {
                sum + (m[(i, j)] - if i == j { <Complex<R> as Scalar>::ONE } else { <Complex<R> as Scalar>::ZERO }).modulus()
            });
            largest.max(sum)
        })
    };
    while roots < 60 && distance(&near) > constant::<R>(0.25) {
        near = triangle_root(&near);
        roots += 1;
    }
    let x =
        Mat::from_fn(n, n, |i, j| near[(i, j)] - if i == j { <Complex<R> as Scalar>::ONE } else { <Complex<R> as Scalar>::ZERO });
    let mut sum: Mat<Complex<R>> = Mat::zeros(n, n);
    for (node, weight) in NODES.into_iter().flat_map(|(node, weight)| [(node, weight), (1.0 - node, weight)]) {
        let (node, weight) = (constant::<R>(node), constant::<R>(weight));
        let denominator = Mat::from_fn(n, n, |i, j| {
            x[(i, j)].scale(node) + if i == j { <Complex<R> as Scalar>::ONE } else { <Complex<R> as Scalar>::ZERO }
        });
        let mut term = x.clone();
        solve_triangular(&denominator, &mut term, false, false, false);
        sum = Mat::from_fn(n, n, |i, j| sum[(i, j)] + term[(i, j)].scale(weight));
    }
    let factor = constant::<R>(2f64.powi(roots));
    Mat::from_fn(n, n, |i, j| {
        if i == j {
            let value = t[(i, i)];
            return Complex { re: value.modulus().ln(), im: Float::atan2(value.im, value.re) };
        }
        sum[(i, j)].scale(factor)
    })
}
