//! Eigenvalues of self-adjoint matrices: reduction to a tridiagonal one, then QR steps with Wilkinson's shift.

use super::householder::reflect;
use super::rotation::real_givens;
use super::scalar::constant;
use super::{Mat, Reflections, Scalar, add_scaled, dot};
use num_traits::Float;

/// The eigenvalues in rising order and, if asked for, eigenvectors as columns. Only the lower triangle is read. `None` where
/// the steps don't converge.
pub fn self_adjoint_eigen<T: Scalar>(a: &Mat<T>, vectors: bool) -> Option<(Vec<T::Real>, Option<Mat<T>>)> {
    let n = a.rows();
    if n == 1 {
        return Some((vec![a[(0, 0)].real()], vectors.then(|| Mat::identity(1, 1))));
    }
    let mut m = Mat::from_fn(n, n, |i, j| if i >= j { a[(i, j)] } else { T::ZERO });
    let largest = m.largest();
    let scale = if largest == T::Real::ZERO { T::Real::ONE } else { largest };
    let m_scaled = m.map(|v| T::from_parts(v.real() / scale, v.imag() / scale));
    m = m_scaled;
    let reflections = tridiagonalize(&mut m);
    let mut diagonal: Vec<T::Real> = (0..n).map(|i| m[(i, i)].real()).collect();
    let mut below: Vec<T::Real> = (1..n).map(|i| m[(i, i - 1)].real()).collect();
    let mut q = vectors.then(|| reflections.matrix(n, n));
    if !diagonalize(&mut diagonal, &mut below, q.as_mut()) {
        return None;
    }
    for i in 0..n.saturating_sub(1) {
        let mut least = i;
        for k in i + 1..n {
            if diagonal[k] < diagonal[least] {
                least = k;
            }
        }
        diagonal.swap(i, least);
        if let Some(q) = &mut q {
            q.swap_columns(i, least);
        }
    }
    Some((diagonal.into_iter().map(|v| v * scale).collect(), q))
}

/// Makes the lower triangle tridiagonal; `A = Q T Q^H` with the reflections as Q.
fn tridiagonalize<T: Scalar>(m: &mut Mat<T>) -> Reflections<T> {
    let n = m.rows();
    let mut reflections = Reflections::new(1);
    for i in 0..n.saturating_sub(1) {
        let (tau, beta) = reflect(&mut m.column_mut(i)[i + 1..]);
        let tail = m.column(i)[i + 2..].to_vec();
        let mut v = Vec::with_capacity(n - i - 1);
        v.push(T::ONE);
        v.extend_from_slice(&tail);
        // w = A (conj(tau) v) + ..., so that A becomes A - v w^H - w v^H.
        let mut w = vec![T::ZERO; v.len()];
        for k in 0..v.len() {
            let column = &m.column(i + 1 + k)[i + 1..];
            let factor = tau.conj() * v[k];
            w[k] = w[k] + factor.scale(column[k].real());
            add_scaled(&mut w[k + 1..], factor, &column[k + 1..]);
            let above: T = dot(&column[k + 1..], &v[k + 1..]);
            w[k] = w[k] + tau.conj() * above;
        }
        let correction = tau.conj().scale(constant::<T::Real>(-0.5)) * dot(&w, &v);
        add_scaled(&mut w, correction, &v);
        for k in 0..v.len() {
            let (vk, wk) = (v[k].conj(), w[k].conj());
            let column = &mut m.column_mut(i + 1 + k)[i + 1..];
            add_scaled(&mut column[k..], -wk, &v[k..]);
            add_scaled(&mut column[k..], -vk, &w[k..]);
        }
        m[(i + 1, i)] = T::from_real(beta);
        reflections.push(&tail, tau);
    }
    reflections
}

/// Makes a symmetric tridiagonal matrix diagonal and applies the rotations to the columns of q. False without convergence.
fn diagonalize<T: Scalar>(diagonal: &mut [T::Real], below: &mut [T::Real], mut q: Option<&mut Mat<T>>) -> bool {
    let n = diagonal.len();
    let tiny = T::Real::min_positive_value();
    let inverse = T::Real::ONE / T::Real::epsilon();
    let (mut end, mut rounds) = (n.saturating_sub(1), 0);
    let mut start = 0;
    while end > 0 {
        for i in start..end {
            if Float::abs(below[i]) < tiny {
                below[i] = T::Real::ZERO;
            } else {
                let scaled = inverse * below[i];
                if scaled * scaled <= Float::abs(diagonal[i]) + Float::abs(diagonal[i + 1]) {
                    below[i] = T::Real::ZERO;
                }
            }
        }
        while end > 0 && below[end - 1] == T::Real::ZERO {
            end -= 1;
        }
        if end == 0 {
            break;
        }
        rounds += 1;
        if rounds > 30 * n {
            return false;
        }
        start = end - 1;
        while start > 0 && below[start - 1] != T::Real::ZERO {
            start -= 1;
        }
        step(diagonal, below, start, end, q.as_deref_mut());
    }
    true
}

fn step<T: Scalar>(d: &mut [T::Real], b: &mut [T::Real], start: usize, end: usize, mut q: Option<&mut Mat<T>>) {
    let half = constant::<T::Real>(0.5);
    let td = (d[end - 1] - d[end]) * half;
    let e = b[end - 1];
    let mut mu = d[end];
    if td == T::Real::ZERO {
        mu = mu - Float::abs(e);
    } else if e != T::Real::ZERO {
        let e2 = e * e;
        let h = Float::hypot(td, e);
        let sum = td + if td > T::Real::ZERO { h } else { -h };
        mu = mu - if e2 == T::Real::ZERO { e / (sum / e) } else { e2 / sum };
    }
    let (mut x, mut z) = (d[start] - mu, b[start]);
    let mut k = start;
    while k < end && z != T::Real::ZERO {
        let turn = real_givens(x, z);
        let (c, s) = (turn.c, turn.s);
        let sdk = s * d[k] + c * b[k];
        let dkp1 = s * b[k] + c * d[k + 1];
        d[k] = c * (c * d[k] - s * b[k]) - s * (c * b[k] - s * d[k + 1]);
        d[k + 1] = s * sdk + c * dkp1;
        b[k] = c * sdk - s * dkp1;
        if k > start {
            b[k - 1] = c * b[k - 1] - s * z;
        }
        x = b[k];
        if k + 1 < end {
            z = -s * b[k + 1];
            b[k + 1] = c * b[k + 1];
        }
        if let Some(q) = q.as_deref_mut() {
            let (left, right) = q.two_columns(k, k + 1);
            for (l, r) in left.iter_mut().zip(right) {
                (*l, *r) = (l.scale(c) - r.scale(s), l.scale(s) + r.scale(c));
            }
        }
        k += 1;
    }
}
