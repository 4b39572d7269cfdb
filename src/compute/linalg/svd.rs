//! Singular values: Jacobi's rotations for matrices of less than sixteen columns, else reduction to a bidiagonal matrix.

use super::householder::{apply_left, apply_right, reflect};
use super::rotation::{Rotation, real_givens};
use super::scalar::constant;
use super::{Mat, PivotedQr, Qr, RealScalar, Reflections, Scalar};
use num_traits::Float;

/// `A = U S V^H` with singular values in falling order.
pub struct Svd<T: Scalar> {
    /// The singular values, as many as the smaller side.
    pub values: Vec<T::Real>,
    /// U, square if all of it was asked for.
    pub u: Mat<T>,
    /// V, likewise.
    pub v: Mat<T>,
}

/// From this number of columns on a matrix is made bidiagonal first.
const SMALL: usize = 16;

/// Sides whose ratio is at least this are first made square by a QR decomposition.
const TALL: usize = 4;

/// Decomposes a matrix with neither side empty. `vectors` says whether U and V are wanted, and all columns of them; without
/// them both are empty. `None` for elements that aren't finite.
pub fn svd<T: Scalar>(a: &Mat<T>, vectors: Option<bool>) -> Option<Svd<T>> {
    let largest = a.largest();
    if !largest.is_finite() {
        return None;
    }
    let scale = if largest == T::Real::ZERO { T::Real::ONE } else { largest };
    let scaled = a.map(|v| T::from_parts(v.real() / scale, v.imag() / scale));
    let mut svd = if a.columns() < SMALL { jacobi(scaled, vectors) } else { bidiagonal(scaled, vectors)? };
    for value in &mut svd.values {
        *value = *value * scale;
    }
    Some(svd)
}

/// The first columns of Q, as many as are wanted.
fn basis<T: Scalar>(q: &Reflections<T>, rows: usize, size: usize, vectors: Option<bool>) -> Mat<T> {
    match vectors {
        None => Mat::zeros(0, 0),
        Some(full) => q.matrix(rows, if full { rows } else { size }),
    }
}

fn permutation<T: Scalar>(columns: &[usize]) -> Mat<T> {
    let mut m = Mat::zeros(columns.len(), columns.len());
    for (j, &i) in columns.iter().enumerate() {
        m[(i, j)] = T::ONE;
    }
    m
}

/// The method of two-sided rotations, after a QR decomposition where the matrix isn't square.
fn jacobi<T: Scalar>(a: Mat<T>, vectors: Option<bool>) -> Svd<T> {
    let (rows, columns) = (a.rows(), a.columns());
    let size = rows.min(columns);
    let (mut work, mut u, mut v);
    if rows > columns {
        let qr = PivotedQr::new(a);
        u = basis(&qr.q, rows, size, vectors);
        v = permutation(&qr.permutation);
        work = qr.r.resized(size, size);
    } else if rows < columns {
        let qr = PivotedQr::new(a.adjoint());
        v = basis(&qr.q, columns, size, vectors);
        u = permutation(&qr.permutation);
        work = qr.r.resized(size, size).adjoint();
    } else {
        (u, v) = (Mat::identity(size, size), Mat::identity(size, size));
        work = a;
    }
    if vectors.is_none() {
        (u, v) = (Mat::zeros(0, 0), Mat::zeros(0, 0));
    }
    rotate_to_diagonal(&mut work, &mut u, &mut v);
    let mut values = Vec::with_capacity(size);
    for i in 0..size {
        let d = work[(i, i)];
        let (value, phase) = if T::COMPLEX && Float::abs(d.imag()) > T::Real::min_positive_value() {
            let value = d.modulus();
            (value, T::from_parts(d.real() / value, d.imag() / value))
        } else {
            (Float::abs(d.real()), if d.real() < T::Real::ZERO { -T::ONE } else { T::ONE })
        };
        values.push(value);
        if vectors.is_some() && phase != T::ONE {
            for x in u.column_mut(i) {
                *x = *x * phase;
            }
        }
    }
    sort(&mut values, &mut u, &mut v);
    Svd { values, u, v }
}

fn sort<T: Scalar>(values: &mut [T::Real], u: &mut Mat<T>, v: &mut Mat<T>) {
    for i in 0..values.len() {
        let mut largest = i;
        for k in i + 1..values.len() {
            if values[k] > values[largest] {
                largest = k;
            }
        }
        if values[largest] == T::Real::ZERO {
            break;
        }
        values.swap(i, largest);
        for m in [&mut *u, &mut *v] {
            if m.columns() > 0 {
                m.swap_columns(i, largest);
            }
        }
    }
}

fn rotate_to_diagonal<T: Scalar>(work: &mut Mat<T>, u: &mut Mat<T>, v: &mut Mat<T>) {
    let size = work.rows();
    let tiny = T::Real::min_positive_value();
    let precision = T::Real::epsilon() * constant::<T::Real>(2.0);
    let mut largest = (0..size).fold(T::Real::ZERO, |m, i| m.max(work[(i, i)].modulus()));
    let mut finished = false;
    while !finished {
        finished = true;
        for p in 1..size {
            for q in 0..p {
                let threshold = tiny.max(precision * largest);
                if !(work[(p, q)].modulus() > threshold || work[(q, p)].modulus() > threshold) {
                    continue;
                }
                finished = false;
                if T::COMPLEX {
                    make_real(work, u, v, p, q);
                    largest = largest.max(work[(p, p)].modulus()).max(work[(q, q)].modulus());
                    let threshold = tiny.max(precision * largest);
                    if !(work[(p, q)].modulus() > threshold || work[(q, p)].modulus() > threshold) {
                        continue;
                    }
                }
                let (left, right) = two_by_two(work, p, q);
                let complex = |r: Rotation<T::Real>| Rotation { c: T::from_real(r.c), s: T::from_real(r.s) };
                let (left, right) = (complex(left), complex(right));
                left.apply_left(work, p, q, 0..size);
                right.apply_right(work, p, q, size);
                if u.columns() > 0 {
                    let rows = u.rows();
                    left.transpose().apply_right(u, p, q, rows);
                    let rows = v.rows();
                    right.apply_right(v, p, q, rows);
                }
                largest = largest.max(work[(p, p)].modulus()).max(work[(q, q)].modulus());
            }
        }
    }
}

/// Makes the 2x2 block at p and q real.
fn make_real<T: Scalar>(work: &mut Mat<T>, u: &mut Mat<T>, v: &mut Mat<T>, p: usize, q: usize) {
    let size = work.rows();
    let tiny = T::Real::min_positive_value();
    let vectors = u.columns() > 0;
    let scale_row = |m: &mut Mat<T>, row: usize, factor: T| {
        for j in 0..size {
            m[(row, j)] = m[(row, j)] * factor;
        }
    };
    let scale_column = |m: &mut Mat<T>, column: usize, factor: T| {
        for x in m.column_mut(column) {
            *x = *x * factor;
        }
    };
    let unphase = |z: T| T::from_real(z.modulus()) / z;
    let n = (work[(p, p)].norm_sqr() + work[(q, p)].norm_sqr()).sqrt();
    if n == T::Real::ZERO {
        work[(p, p)] = T::ZERO;
        work[(q, p)] = T::ZERO;
        for (row, element) in [(p, (p, q)), (q, (q, q))] {
            if Float::abs(work[element].imag()) > tiny {
                let z = unphase(work[element]);
                scale_row(work, row, z);
                if vectors {
                    scale_column(u, row, z.conj());
                }
            }
        }
        return;
    }
    let turn = Rotation { c: work[(p, p)].conj().scale(T::Real::ONE / n), s: work[(q, p)].scale(T::Real::ONE / n) };
    turn.apply_left(work, p, q, 0..size);
    if vectors {
        let rows = u.rows();
        turn.adjoint().apply_right(u, p, q, rows);
    }
    if Float::abs(work[(p, q)].imag()) > tiny {
        let z = unphase(work[(p, q)]);
        scale_column(work, q, z);
        if vectors {
            scale_column(v, q, z);
        }
    }
    if Float::abs(work[(q, q)].imag()) > tiny {
        let z = unphase(work[(q, q)]);
        scale_row(work, q, z);
        if vectors {
            scale_column(u, q, z.conj());
        }
    }
}

/// The rotations from left and right that make the real block at p and q diagonal.
fn two_by_two<T: Scalar>(work: &Mat<T>, p: usize, q: usize) -> (Rotation<T::Real>, Rotation<T::Real>) {
    let at = |i, j| work[(i, j)].real();
    let (one, tiny) = (T::Real::ONE, T::Real::min_positive_value());
    let (a, b, c, d) = (at(p, p), at(p, q), at(q, p), at(q, q));
    let (sum, difference) = (a + d, c - b);
    let first = if Float::abs(difference) < tiny {
        Rotation { c: one, s: T::Real::ZERO }
    } else {
        let ratio = sum / difference;
        let length = (one + ratio * ratio).sqrt();
        Rotation { c: ratio / length, s: one / length }
    };
    // The first rotation makes the block symmetric: [x y; y z].
    let x = first.c * a + first.s * c;
    let y = first.c * b + first.s * d;
    let z = first.c * d - first.s * b;
    let right = symmetric(x, y, z);
    (first.times(right.transpose()), right)
}

/// The rotation J with diagonal `J^T [x y; y z] J`.
fn symmetric<R: RealScalar>(x: R, y: R, z: R) -> Rotation<R> {
    let twice = Float::abs(y) * constant::<R>(2.0);
    if twice < R::min_positive_value() {
        return Rotation { c: R::ONE, s: R::ZERO };
    }
    let tau = (x - z) / twice;
    let w = (tau * tau + R::ONE).sqrt();
    let t = if tau > R::ZERO { R::ONE / (tau + w) } else { R::ONE / (tau - w) };
    let n = R::ONE / (t * t + R::ONE).sqrt();
    let sign = if t > R::ZERO { R::ONE } else { -R::ONE };
    Rotation { c: n, s: -sign * (y / Float::abs(y)) * Float::abs(t) * n }
}

fn bidiagonal<T: Scalar>(a: Mat<T>, vectors: Option<bool>) -> Option<Svd<T>> {
    let wide = a.columns() > a.rows();
    let mut tall = if wide { a.adjoint() } else { a };
    let (rows, size) = (tall.rows(), tall.columns());
    let mut outer = None;
    if rows >= TALL * size {
        let qr = Qr::new(tall);
        tall = qr.r.resized(size, size);
        outer = Some(qr.q);
    }
    let (left, right, diagonal, above) = bidiagonalize(tall);
    let (values, p, q) = if size < SMALL {
        // The lower bidiagonal matrix with a row of zeros below.
        let lower = Mat::from_fn(size + 1, size, |i, j| {
            if i == j {
                diagonal[i]
            } else if i == j + 1 && i < size {
                above[j]
            } else {
                T::Real::ZERO
            }
        });
        let base = jacobi(lower, vectors.map(|_| true));
        (base.values, base.v, base.u.resized(size.min(base.u.rows()), size.min(base.u.columns())))
    } else {
        implicit_qr(diagonal, above, vectors.is_some())?
    };
    if vectors.is_none() {
        return Some(Svd { values, u: Mat::zeros(0, 0), v: Mat::zeros(0, 0) });
    }
    let full = vectors == Some(true);
    let mut u = extended(&p, rows, if full { rows } else { size });
    let mut v = extended(&q, size, size);
    match outer {
        None => left.apply(&mut u),
        Some(outer) => {
            // The inner reflections move the first rows only.
            left.apply(&mut u);
            outer.apply(&mut u);
        }
    }
    right.apply(&mut v);
    Some(if wide { Svd { values, u: v, v: u } } else { Svd { values, u, v } })
}

/// A real square matrix as the upper left part of an identity.
fn extended<T: Scalar>(m: &Mat<T::Real>, rows: usize, columns: usize) -> Mat<T> {
    let size = m.rows();
    Mat::from_fn(rows, columns, |i, j| {
        if i < size && j < size {
            T::from_real(m[(i, j)])
        } else if i == j {
            T::ONE
        } else {
            T::ZERO
        }
    })
}

/// `A = P B Q^H` with a real upper bidiagonal B: P, Q, the diagonal and what stands above it.
fn bidiagonalize<T: Scalar>(mut a: Mat<T>) -> (Reflections<T>, Reflections<T>, Vec<T::Real>, Vec<T::Real>) {
    let (rows, columns) = (a.rows(), a.columns());
    let (mut left, mut right) = (Reflections::new(0), Reflections::new(1));
    let (mut diagonal, mut above) = (Vec::with_capacity(columns), Vec::with_capacity(columns));
    for k in 0..columns {
        let (tau, beta) = reflect(&mut a.column_mut(k)[k..]);
        let tail = a.column(k)[k + 1..].to_vec();
        diagonal.push(beta);
        apply_left(&mut a, k, k + 1..columns, &tail, tau);
        left.push(&tail, tau);
        if k + 1 == columns {
            break;
        }
        let mut row: Vec<T> = (k + 1..columns).map(|j| a[(k, j)].conj()).collect();
        let (tau, beta) = reflect(&mut row);
        above.push(beta);
        apply_right(&mut a, k + 1..rows, k + 1, &row[1..], tau.conj());
        right.push(&row[1..], tau);
    }
    (left, right, diagonal, above)
}

/// The singular values of an upper bidiagonal matrix `B = P S Q^T` by shifted QR steps. The signs of the pairs of vectors are
/// those of a division in halves: the component of P at the middle row isn't positive.
fn implicit_qr<R: RealScalar>(mut d: Vec<R>, mut e: Vec<R>, vectors: bool) -> Option<(Vec<R>, Mat<R>, Mat<R>)> {
    let n = d.len();
    let empty = || Mat::zeros(0, 0);
    let (mut p, mut q) = if vectors { (Mat::identity(n, n), Mat::identity(n, n)) } else { (empty(), empty()) };
    let turn = |m: &mut Mat<R>, i: usize, j: usize, c: R, s: R| {
        if m.columns() > 0 {
            let (a, b) = m.two_columns(i, j);
            for (x, y) in a.iter_mut().zip(b) {
                (*x, *y) = (c * *x + s * *y, c * *y - s * *x);
            }
        }
    };
    let epsilon = R::epsilon();
    let largest = d.iter().chain(&e).fold(R::ZERO, |m, &x| m.max(Float::abs(x)));
    let tiny = largest * epsilon * R::min_positive_value().sqrt();
    let (mut end, mut rounds) = (n - 1, 0);
    while end > 0 {
        for i in 0..end {
            if Float::abs(e[i]) <= epsilon * (Float::abs(d[i]) + Float::abs(d[i + 1])) || Float::abs(e[i]) <= tiny {
                e[i] = R::ZERO;
            }
        }
        if e[end - 1] == R::ZERO {
            end -= 1;
            continue;
        }
        rounds += 1;
        if rounds > 60 * n {
            return None;
        }
        let mut start = end - 1;
        while start > 0 && e[start - 1] != R::ZERO {
            start -= 1;
        }
        // A zero on the diagonal lets its row be cleared.
        if let Some(zero) = (start..end).find(|&i| Float::abs(d[i]) <= epsilon * largest * epsilon) {
            d[zero] = R::ZERO;
            let mut f = e[zero];
            e[zero] = R::ZERO;
            for j in zero + 1..=end {
                let r = Float::hypot(d[j], f);
                let (c, s) = (d[j] / r, f / r);
                d[j] = r;
                turn(&mut p, j, zero, c, s);
                if j < end {
                    f = -s * e[j];
                    e[j] = c * e[j];
                }
            }
            continue;
        }
        if Float::abs(d[end]) <= epsilon * largest * epsilon {
            // A zero at the end lets its column be cleared.
            d[end] = R::ZERO;
            let mut f = e[end - 1];
            e[end - 1] = R::ZERO;
            for j in (start..end).rev() {
                let r = Float::hypot(d[j], f);
                let (c, s) = (d[j] / r, f / r);
                d[j] = r;
                turn(&mut q, j, end, c, s);
                if j > start {
                    f = -s * e[j - 1];
                    e[j - 1] = c * e[j - 1];
                }
            }
            continue;
        }
        let shift = shift(&d, &e, start, end);
        let (mut x, mut z) = (d[start] - shift / d[start] * shift, e[start]);
        if shift == R::ZERO {
            x = d[start];
        }
        for k in start..end {
            let right = real_givens(x, z);
            let (c, s) = (right.c, -right.s);
            if k > start {
                e[k - 1] = c * x + s * z;
            }
            let (dk, ek, dn) = (d[k], e[k], d[k + 1]);
            let (a, b) = (c * dk + s * ek, c * ek - s * dk);
            let (below, next) = (s * dn, c * dn);
            turn(&mut q, k, k + 1, c, s);
            let left = real_givens(a, below);
            let (c, s) = (left.c, -left.s);
            d[k] = c * a + s * below;
            e[k] = c * b + s * next;
            d[k + 1] = c * next - s * b;
            turn(&mut p, k, k + 1, c, s);
            if k + 1 < end {
                x = e[k];
                z = s * e[k + 1];
                e[k + 1] = c * e[k + 1];
            }
        }
    }
    for k in 0..n {
        if d[k] < R::ZERO {
            d[k] = -d[k];
            if vectors {
                q.column_mut(k).iter_mut().for_each(|x| *x = -*x);
            }
        }
        if vectors && p[(n / 2, k)] > R::ZERO {
            p.column_mut(k).iter_mut().for_each(|x| *x = -*x);
            q.column_mut(k).iter_mut().for_each(|x| *x = -*x);
        }
    }
    sort(&mut d, &mut p, &mut q);
    Some((d, p, q))
}

/// The square root of the eigenvalue of the lower block of `B^T B` that is nearest to its last element, or zero where that
/// isn't of use.
fn shift<R: RealScalar>(d: &[R], e: &[R], start: usize, end: usize) -> R {
    let before = if end - 1 > start { e[end - 2] } else { R::ZERO };
    let a = d[end - 1] * d[end - 1] + before * before;
    let b = d[end - 1] * e[end - 1];
    let c = d[end] * d[end] + e[end - 1] * e[end - 1];
    let half = (a - c) * constant::<R>(0.5);
    let root = Float::hypot(half, b);
    let sum = half + if half >= R::ZERO { root } else { -root };
    let mu = if sum == R::ZERO { c } else { c - b * b / sum };
    mu.max(R::ZERO).sqrt()
}
