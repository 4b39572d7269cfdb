//! Eigenvalues of general real matrices: Schur's real form by Francis's steps.

use super::eigen::hessenberg;
use super::householder::{apply_left, apply_right, reflect};
use super::rotation::{Rotation, real_givens};
use super::scalar::constant;
use super::{Mat, RealScalar, Scalar, squared_norm};
use num_complex::Complex;
use num_traits::Float;

/// The eigenvalues in the order in which they are split off, pairs with the positive imaginary part first, and, if asked for,
/// eigenvectors of length one as columns. `None` where the steps don't converge.
pub fn real_eigen<R: RealScalar>(a: &Mat<R>, vectors: bool) -> Option<(Vec<Complex<R>>, Option<Mat<Complex<R>>>)>
where
    Complex<R>: Scalar<Real = R>,
{
    let n = a.rows();
    let largest = a.largest();
    if !largest.is_finite() {
        return None;
    }
    let scale = if largest < R::min_positive_value() { R::ONE } else { largest };
    let (t, u) = real_schur(a.map(|v| v / scale), vectors)?;
    let t = t.map(|v| v * scale);
    let mut values = Vec::with_capacity(n);
    while values.len() < n {
        let i = values.len();
        if i + 1 == n || t[(i + 1, i)] == R::ZERO {
            values.push(Complex { re: t[(i, i)], im: R::ZERO });
            continue;
        }
        let p = (t[(i, i)] - t[(i + 1, i + 1)]) * constant::<R>(0.5);
        let (below, above) = (t[(i + 1, i)], t[(i, i + 1)]);
        let size = Float::abs(p).max(Float::abs(below)).max(Float::abs(above));
        let z = size * Float::abs((p / size) * (p / size) + (below / size) * (above / size)).sqrt();
        let re = t[(i + 1, i + 1)] + p;
        values.push(Complex { re, im: z });
        values.push(Complex { re, im: -z });
    }
    let columns = u.map(|u| {
        let mut v = u.map(|x| Complex { re: x, im: R::ZERO }).times(&quasi_triangle_vectors(&t, &values));
        for k in 0..n {
            let norm = squared_norm(v.column(k)).sqrt();
            v.column_mut(k).iter_mut().for_each(|x| *x = Complex { re: x.re / norm, im: x.im / norm });
        }
        v
    });
    Some((values, columns))
}

/// The X with `T X = X D` for a T with blocks of two rows where eigenvalues are complex.
fn quasi_triangle_vectors<R: RealScalar>(t: &Mat<R>, values: &[Complex<R>]) -> Mat<Complex<R>>
where
    Complex<R>: Scalar<Real = R>,
{
    let n = t.rows();
    let complex = |re: R| Complex { re, im: R::ZERO };
    let zero = complex(R::ZERO);
    let norm = t.largest().max(R::min_positive_value());
    let guarded = |z: Complex<R>| if z == zero { complex(R::epsilon() * norm) } else { z };
    let mut x: Mat<Complex<R>> = Mat::zeros(n, n);
    for k in 0..n {
        let value = values[k];
        if value.im < R::ZERO {
            for i in 0..n {
                x[(i, k)] = x[(i, k - 1)].conj();
            }
            continue;
        }
        let mut row = k;
        if value.im > R::ZERO {
            x[(k + 1, k)] = Complex { re: R::ZERO, im: R::ONE };
            x[(k, k)] = -((complex(t[(k + 1, k + 1)]) - value) * x[(k + 1, k)]) / complex(t[(k + 1, k)]);
        } else {
            x[(k, k)] = complex(R::ONE);
        }
        let last = if value.im > R::ZERO { k + 1 } else { k };
        let rest =
            |x: &Mat<Complex<R>>, i: usize, from: usize| (from..=last).fold(zero, |sum, j| sum + x[(j, k)] * complex(t[(i, j)]));
        while row > 0 {
            row -= 1;
            if values[row].im == R::ZERO {
                let known = rest(&x, row, row + 1);
                x[(row, k)] = -known / guarded(complex(t[(row, row)]) - value);
                continue;
            }
            let (first, second) = (row - 1, row);
            let (r1, r2) = (rest(&x, first, row + 1), rest(&x, second, row + 1));
            let (a, d) = (complex(t[(first, first)]) - value, complex(t[(second, second)]) - value);
            let (b, c) = (complex(t[(first, second)]), complex(t[(second, first)]));
            let determinant = guarded(a * d - b * c);
            x[(first, k)] = (b * r2 - d * r1) / determinant;
            x[(second, k)] = (c * r1 - a * r2) / determinant;
            row = first;
        }
    }
    x
}

/// `A = U T U^T` with T upper triangular but for blocks of two rows.
fn real_schur<R: RealScalar>(mut t: Mat<R>, vectors: bool) -> Option<(Mat<R>, Option<Mat<R>>)> {
    let n = t.rows();
    if n < 2 {
        return Some((t, vectors.then(|| Mat::identity(n, n))));
    }
    let reflections = hessenberg(&mut t);
    let mut u = vectors.then(|| reflections.matrix(n, n));
    let mut norm = R::ZERO;
    for j in 0..n {
        norm = t.column(j)[..n.min(j + 2)].iter().fold(norm, |sum, v| sum + Float::abs(*v));
    }
    if norm == R::ZERO {
        return Some((t, u));
    }
    let tiny = (norm * R::epsilon() * R::epsilon()).max(R::min_positive_value());
    let (mut end, mut round, mut total, mut moved) = (n, 0usize, 0usize, R::ZERO);
    while end > 0 {
        let last = end - 1;
        let first = small_below(&t, last, tiny);
        if first == last {
            t[(last, last)] = t[(last, last)] + moved;
            if last > 0 {
                t[(last, last - 1)] = R::ZERO;
            }
            end -= 1;
            round = 0;
        } else if first + 1 == last {
            split_two(&mut t, u.as_mut(), last, moved);
            end -= 2;
            round = 0;
        } else {
            let shift = shift(&mut t, last, round, &mut moved);
            round += 1;
            total += 1;
            if total > 40 * n {
                return None;
            }
            francis(&mut t, u.as_mut(), first, last, shift);
        }
    }
    Some((t, u))
}

/// The row above which the element beside the diagonal counts as zero.
fn small_below<R: RealScalar>(t: &Mat<R>, last: usize, tiny: R) -> usize {
    let mut row = last;
    while row > 0 {
        let around = Float::abs(t[(row - 1, row - 1)]) + Float::abs(t[(row, row)]);
        if Float::abs(t[(row, row - 1)]) <= (around * R::epsilon()).max(tiny) {
            break;
        }
        row -= 1;
    }
    row
}

/// Splits off a block of two rows, made triangular where its eigenvalues are real.
fn split_two<R: RealScalar>(t: &mut Mat<R>, u: Option<&mut Mat<R>>, last: usize, moved: R) {
    let n = t.rows();
    let p = (t[(last - 1, last - 1)] - t[(last, last)]) * constant::<R>(0.5);
    let q = p * p + t[(last, last - 1)] * t[(last - 1, last)];
    t[(last, last)] = t[(last, last)] + moved;
    t[(last - 1, last - 1)] = t[(last - 1, last - 1)] + moved;
    if q >= R::ZERO {
        let z = q.sqrt();
        let turn: Rotation<R> = real_givens(if p >= R::ZERO { p + z } else { p - z }, t[(last, last - 1)]);
        turn.adjoint().apply_left(t, last - 1, last, last - 1..n);
        turn.apply_right(t, last - 1, last, last + 1);
        t[(last, last - 1)] = R::ZERO;
        if let Some(u) = u {
            turn.apply_right(u, last - 1, last, n);
        }
    }
    if last > 1 {
        t[(last - 1, last - 2)] = R::ZERO;
    }
}

/// The last two diagonal elements and the product of those beside them; every sixteenth round others, so that a cycle ends.
fn shift<R: RealScalar>(t: &mut Mat<R>, last: usize, round: usize, moved: &mut R) -> [R; 3] {
    let mut shift = [t[(last, last)], t[(last - 1, last - 1)], t[(last, last - 1)] * t[(last - 1, last)]];
    if round == 0 || !round.is_multiple_of(16) {
        return shift;
    }
    let by = if !round.is_multiple_of(32) {
        let s = Float::abs(t[(last, last - 1)]) + Float::abs(t[(last - 1, last - 2)]);
        let by = shift[0];
        shift = [s * constant::<R>(0.75), s * constant::<R>(0.75), s * s * constant::<R>(-0.4375)];
        by
    } else {
        let half = (shift[1] - shift[0]) * constant::<R>(0.5);
        let square = half * half + shift[2];
        if !(square > R::ZERO) {
            return shift;
        }
        let root = if shift[1] < shift[0] { -square.sqrt() } else { square.sqrt() };
        let by = shift[0] - shift[2] / (root + half);
        shift = [constant::<R>(0.964); 3];
        by
    };
    *moved = *moved + by;
    for i in 0..=last {
        t[(i, i)] = t[(i, i)] - by;
    }
    shift
}

fn francis<R: RealScalar>(t: &mut Mat<R>, mut u: Option<&mut Mat<R>>, first: usize, last: usize, shift: [R; 3]) {
    let n = t.rows();
    let mut start = last - 2;
    let mut v;
    loop {
        let m = t[(start, start)];
        let (r, s) = (shift[0] - m, shift[1] - m);
        v = [
            (r * s - shift[2]) / t[(start + 1, start)] + t[(start, start + 1)],
            t[(start + 1, start + 1)] - m - r - s,
            t[(start + 2, start + 1)],
        ];
        if start == first {
            break;
        }
        let left = t[(start, start - 1)] * (Float::abs(v[1]) + Float::abs(v[2]));
        let around = Float::abs(t[(start - 1, start - 1)]) + Float::abs(m) + Float::abs(t[(start + 1, start + 1)]);
        if Float::abs(left) < R::epsilon() * v[0] * around {
            break;
        }
        start -= 1;
    }
    for k in start..last {
        let rows = (last + 1 - k).min(3);
        let mut x: Vec<R> = if k == start { v.to_vec() } else { t.column(k - 1)[k..k + rows].to_vec() };
        let (tau, beta) = reflect(&mut x);
        if beta == R::ZERO {
            continue;
        }
        if k == start {
            if k > first {
                t[(k, k - 1)] = -t[(k, k - 1)];
            }
        } else {
            t[(k, k - 1)] = beta;
        }
        apply_left(t, k, k..n, &x[1..], tau);
        apply_right(t, 0..last.min(k + 3) + 1, k, &x[1..], tau);
        if let Some(u) = u.as_deref_mut() {
            apply_right(u, 0..n, k, &x[1..], tau);
        }
    }
    for i in start + 2..=last {
        t[(i, i - 2)] = R::ZERO;
        if i > start + 2 {
            t[(i, i - 3)] = R::ZERO;
        }
    }
}
