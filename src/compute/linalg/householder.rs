//! Householder reflections `I - tau v v^H`, where `v` begins with a one.

use super::{Mat, Scalar, add_scaled, dot, squared_norm};
use num_traits::Float;

/// Turns a vector into a reflection that maps it to a multiple of the first unit vector: its tail becomes that of `v`.
/// Returns `tau` and the multiple, which is real.
pub(super) fn reflect<T: Scalar>(x: &mut [T]) -> (T, T::Real) {
    let tail = squared_norm(&x[1..]);
    let first = x[0];
    let tiny = T::Real::min_positive_value();
    if tail <= tiny && first.imag() * first.imag() <= tiny {
        x[1..].fill(T::ZERO);
        return (T::ZERO, first.real());
    }
    let mut beta = (first.norm_sqr() + tail).sqrt();
    if first.real() >= T::Real::ZERO {
        beta = -beta;
    }
    let divisor = first - T::from_real(beta);
    for value in &mut x[1..] {
        *value = *value / divisor;
    }
    ((T::from_real(beta) - first).scale(T::Real::ONE / beta).conj(), beta)
}

/// `(I - tau v v^H) M` on the rows from `row` on of the given columns, `v` being one and the tail.
pub(super) fn apply_left<T: Scalar>(m: &mut Mat<T>, row: usize, columns: std::ops::Range<usize>, tail: &[T], tau: T) {
    if tau == T::ZERO {
        return;
    }
    for j in columns {
        let (first, rest) = match m.column_mut(j)[row..].split_first_mut() {
            Some(parts) => parts,
            None => return,
        };
        let rest = &mut rest[..tail.len()];
        let factor = tau * (*first + dot(tail, rest));
        *first = *first - factor;
        add_scaled(rest, -factor, tail);
    }
}

/// `M (I - tau v v^H)` on the columns from `column` on of the given rows.
pub(super) fn apply_right<T: Scalar>(m: &mut Mat<T>, rows: std::ops::Range<usize>, column: usize, tail: &[T], tau: T) {
    if tau == T::ZERO || rows.is_empty() {
        return;
    }
    let mut sums: Vec<T> = m.column(column)[rows.clone()].to_vec();
    for (k, &v) in tail.iter().enumerate() {
        add_scaled(&mut sums, v, &m.column(column + 1 + k)[rows.clone()]);
    }
    add_scaled(&mut m.column_mut(column)[rows.clone()], -tau, &sums);
    for (k, &v) in tail.iter().enumerate() {
        add_scaled(&mut m.column_mut(column + 1 + k)[rows.clone()], -(tau * v.conj()), &sums);
    }
}

/// The product of reflections `H_0^H H_1^H ...`, the k-th of which leaves the first `k + shift` components alone.
pub struct Reflections<T> {
    /// The tails of the vectors.
    pub(super) tails: Vec<Vec<T>>,
    /// The factors of the reflections `H_k`.
    pub(super) taus: Vec<T>,
    pub(super) shift: usize,
}

impl<T: Scalar> Reflections<T> {
    pub(super) fn new(shift: usize) -> Reflections<T> {
        Reflections { tails: Vec::new(), taus: Vec::new(), shift }
    }

    pub(super) fn push(&mut self, tail: &[T], tau: T) {
        self.tails.push(tail.to_vec());
        self.taus.push(tau);
    }

    /// Replaces a matrix by its product with these from the left.
    pub fn apply(&self, m: &mut Mat<T>) {
        for (k, (tail, tau)) in self.tails.iter().zip(&self.taus).enumerate().rev() {
            apply_left(m, k + self.shift, 0..m.columns(), tail, tau.conj());
        }
    }

    /// The first columns of the product as a matrix.
    pub fn matrix(&self, rows: usize, columns: usize) -> Mat<T> {
        let mut m = Mat::identity(rows, columns);
        for (k, (tail, tau)) in self.tails.iter().zip(&self.taus).enumerate().rev() {
            // Columns before this reflection's are still those of the identity.
            let first = (k + self.shift).min(columns);
            apply_left(&mut m, k + self.shift, first..columns, tail, tau.conj());
        }
        m
    }
}
