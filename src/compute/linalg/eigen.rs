//! Schur's form and eigenvectors of general complex matrices.

use super::householder::{apply_left, apply_right, reflect};
use super::rotation::complex_givens;
use super::scalar::constant;
use super::{Mat, RealScalar, Reflections, Scalar, squared_norm};
use num_complex::Complex;
use num_traits::Float;

/// `A = U T U^H` with an upper triangular T.
pub struct Schur<T> {
    /// T.
    pub triangle: Mat<T>,
    /// U, if it was asked for.
    pub unitary: Option<Mat<T>>,
}

impl<R: RealScalar> Schur<Complex<R>>
where
    Complex<R>: Scalar<Real = R>,
{
    /// Decomposes a square matrix. `None` where the steps don't converge.
    pub fn new(mut t: Mat<Complex<R>>, vectors: bool) -> Option<Schur<Complex<R>>> {
        let n = t.rows();
        if n < 2 {
            return Some(Schur { triangle: t, unitary: vectors.then(|| Mat::identity(n, n)) });
        }
        let reflections = hessenberg(&mut t);
        let mut u = vectors.then(|| reflections.matrix(n, n));
        let (mut last, mut rounds, mut total) = (n - 1, 0, 0);
        loop {
            while last > 0 && negligible(&mut t, last - 1) {
                rounds = 0;
                last -= 1;
            }
            if last == 0 {
                break;
            }
            rounds += 1;
            total += 1;
            if total > 30 * n {
                return None;
            }
            let mut first = last - 1;
            while first > 0 && !negligible(&mut t, first - 1) {
                first -= 1;
            }
            let shift = shift(&t, last, rounds);
            let (mut turn, _) = complex_givens(t[(first, first)] - shift, t[(first + 1, first)]);
            for i in first..last {
                if i > first {
                    let (next, size) = complex_givens(t[(i, i - 1)], t[(i + 1, i - 1)]);
                    turn = next;
                    t[(i, i - 1)] = size;
                    t[(i + 1, i - 1)] = <Complex<R> as Scalar>::ZERO;
                }
                turn.adjoint().apply_left(&mut t, i, i + 1, i..n);
                turn.apply_right(&mut t, i, i + 1, (i + 2).min(last) + 1);
                if let Some(u) = &mut u {
                    turn.apply_right(u, i, i + 1, n);
                }
            }
        }
        for j in 0..n {
            t.column_mut(j)[j + 1..].fill(<Complex<R> as Scalar>::ZERO);
        }
        Some(Schur { triangle: t, unitary: u })
    }
}

/// Makes a matrix Hessenberg's; `A = Q H Q^H` with the reflections as Q.
pub(super) fn hessenberg<T: Scalar>(a: &mut Mat<T>) -> Reflections<T> {
    let n = a.rows();
    let mut q = Reflections::new(1);
    for i in 0..n - 1 {
        let (tau, beta) = reflect(&mut a.column_mut(i)[i + 1..]);
        let tail = a.column(i)[i + 2..].to_vec();
        a[(i + 1, i)] = T::from_real(beta);
        a.column_mut(i)[i + 2..].fill(T::ZERO);
        apply_left(a, i + 1, i + 1..n, &tail, tau);
        apply_right(a, 0..n, i + 1, &tail, tau.conj());
        q.push(&tail, tau);
    }
    q
}

/// Whether the element below the diagonal in column i counts as zero, which it then becomes.
fn negligible<T: Scalar>(t: &mut Mat<T>, i: usize) -> bool {
    let around = t[(i, i)].norm1() + t[(i + 1, i + 1)].norm1();
    if t[(i + 1, i)].norm1() <= around * T::Real::epsilon() {
        t[(i + 1, i)] = T::ZERO;
        return true;
    }
    false
}

/// The eigenvalue of the lower 2x2 block that is nearest to its last element.
fn shift<R: RealScalar>(t: &Mat<Complex<R>>, last: usize, round: usize) -> Complex<R>
where
    Complex<R>: Scalar<Real = R>,
{
    if (round == 10 || round == 20) && last > 1 {
        return Complex::from_real(Float::abs(t[(last, last - 1)].re) + Float::abs(t[(last - 1, last - 2)].re));
    }
    let at = |i: usize, j: usize| t[(last - 1 + i, last - 1 + j)];
    let size = at(0, 0).modulus() + at(0, 1).modulus() + at(1, 0).modulus() + at(1, 1).modulus();
    let scaled = |i, j| at(i, j).scale(R::ONE / size);
    let (two, four) = (constant::<R>(2.0), constant::<R>(4.0));
    let b = scaled(0, 1) * scaled(1, 0);
    let c = scaled(0, 0) - scaled(1, 1);
    let root = complex_sqrt(c * c + b.scale(four));
    let determinant = scaled(0, 0) * scaled(1, 1) - b;
    let trace = scaled(0, 0) + scaled(1, 1);
    let mut first = (trace + root).scale(R::ONE / two);
    let mut second = (trace - root).scale(R::ONE / two);
    if first.norm1() > second.norm1() {
        second = determinant / first;
    } else if second.norm1() != R::ZERO {
        first = determinant / second;
    }
    let nearer = (first - scaled(1, 1)).norm1() < (second - scaled(1, 1)).norm1();
    (if nearer { first } else { second }).scale(size)
}

/// The square root with a real part that isn't negative.
pub(super) fn complex_sqrt<R: RealScalar>(z: Complex<R>) -> Complex<R> {
    if z.re == R::ZERO && z.im == R::ZERO {
        return Complex { re: R::ZERO, im: z.im };
    }
    let half = constant::<R>(0.5);
    let size = Float::hypot(z.re, z.im);
    if z.re >= R::ZERO {
        let re = ((size + z.re) * half).sqrt();
        Complex { re, im: z.im * half / re }
    } else {
        let im = ((size - z.re) * half).sqrt();
        let im = if z.im < R::ZERO || (z.im == R::ZERO && z.im.is_sign_negative()) { -im } else { im };
        Complex { re: z.im * half / im, im }
    }
}

/// The eigenvalues by rising absolute value and, if asked for, eigenvectors of length one as columns. `None` where the steps
/// don't converge.
pub fn eigen<R: RealScalar>(a: Mat<Complex<R>>, vectors: bool) -> Option<(Vec<Complex<R>>, Option<Mat<Complex<R>>>)>
where
    Complex<R>: Scalar<Real = R>,
{
    let n = a.rows();
    let Schur { triangle: t, unitary } = Schur::new(a, vectors)?;
    let mut values: Vec<Complex<R>> = (0..n).map(|i| t[(i, i)]).collect();
    let mut columns = unitary.map(|u| {
        let mut v = u.times(&triangle_vectors(&t));
        for k in 0..n {
            let norm = squared_norm(v.column(k)).sqrt();
            for value in v.column_mut(k) {
                *value = Complex { re: value.re / norm, im: value.im / norm };
            }
        }
        v
    });
    for i in 0..n {
        let mut least = i;
        for k in i + 1..n {
            if values[k].modulus() < values[least].modulus() {
                least = k;
            }
        }
        values.swap(i, least);
        if let Some(columns) = &mut columns {
            columns.swap_columns(i, least);
        }
    }
    Some((values, columns))
}

/// The X with ones on the diagonal for which `T X = X D`.
fn triangle_vectors<R: RealScalar>(t: &Mat<Complex<R>>) -> Mat<Complex<R>>
where
    Complex<R>: Scalar<Real = R>,
{
    let n = t.rows();
    let norm = (0..n).fold(R::ZERO, |sum, j| sum + squared_norm(t.column(j))).sqrt().max(R::min_positive_value());
    let mut x = Mat::zeros(n, n);
    for k in (0..n).rev() {
        x[(k, k)] = <Complex<R> as Scalar>::ONE;
        for i in (0..k).rev() {
            let mut value = -t[(i, k)];
            for j in i + 1..k {
                value = value - t[(i, j)] * x[(j, k)];
            }
            let mut z = t[(i, i)] - t[(k, k)];
            if z == <Complex<R> as Scalar>::ZERO {
                z.re = R::epsilon() * norm;
            }
            x[(i, k)] = value / z;
        }
    }
    x
}
