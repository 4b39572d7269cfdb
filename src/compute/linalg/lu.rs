//! Gauss's elimination with row exchanges.

use super::{Mat, Scalar, add_scaled, solve_triangular};
use num_traits::Float;

/// `P A = L U` of a square matrix.
pub struct Lu<T> {
    /// L below the diagonal, whose own diagonal is ones, and U from the diagonal on.
    pub factors: Mat<T>,
    /// Row i of `P A` is this row of A.
    pub permutation: Vec<usize>,
    /// Whether the number of exchanges is odd.
    pub odd: bool,
}

impl<T: Scalar> Lu<T> {
    /// Decomposes a square matrix.
    pub fn new(mut a: Mat<T>) -> Lu<T> {
        let n = a.rows();
        let mut permutation: Vec<usize> = (0..n).collect();
        let mut odd = false;
        for k in 0..n {
            // The column takes what the finished ones to its left hold.
            for done in 0..k {
                let (from, to) = a.two_columns(done, k);
                let factor = to[done];
                add_scaled(&mut to[done + 1..], -factor, &from[done + 1..]);
            }
            let mut pivot = k;
            for i in k + 1..n {
                if a[(i, k)].modulus() > a[(pivot, k)].modulus() {
                    pivot = i;
                }
            }
            if pivot != k {
                a.swap_rows(k, pivot);
                permutation.swap(k, pivot);
                odd = !odd;
            }
            let diagonal = a[(k, k)];
            if diagonal != T::ZERO {
                for value in &mut a.column_mut(k)[k + 1..] {
                    *value = *value / diagonal;
                }
            }
        }
        Lu { factors: a, permutation, odd }
    }

    /// True when no pivot is zero or NaN.
    pub fn is_invertible(&self) -> bool {
        (0..self.factors.rows()).all(|i| self.factors[(i, i)].modulus() > T::Real::ZERO)
    }

    /// The solution X of `A X = B`, or of `A^H X = B` if `adjoint`.
    pub fn solve(&self, b: &Mat<T>, adjoint: bool) -> Mat<T> {
        let n = self.factors.rows();
        if adjoint {
            let mut x = b.clone();
            solve_triangular(&self.factors, &mut x, false, true, false);
            solve_triangular(&self.factors, &mut x, true, true, true);
            let mut out = Mat::zeros(n, b.columns());
            for j in 0..b.columns() {
                for i in 0..n {
                    out[(self.permutation[i], j)] = x[(i, j)];
                }
            }
            return out;
        }
        let mut x = Mat::from_fn(n, b.columns(), |i, j| b[(self.permutation[i], j)]);
        solve_triangular(&self.factors, &mut x, true, false, true);
        solve_triangular(&self.factors, &mut x, false, false, false);
        x
    }

    /// The determinant.
    pub fn determinant(&self) -> T {
        let product = (0..self.factors.rows()).fold(T::ONE, |p, i| p * self.factors[(i, i)]);
        if self.odd { -product } else { product }
    }

    /// The determinant as a number of absolute value one and the logarithm of its absolute value; zero and minus infinity
    /// where that isn't finite.
    pub fn log_determinant(&self) -> (T, T::Real) {
        let mut sign = if self.odd { -T::ONE } else { T::ONE };
        let mut log = T::Real::ZERO;
        for i in 0..self.factors.rows() {
            let pivot = self.factors[(i, i)];
            let size = pivot.modulus();
            sign = sign * T::from_parts(pivot.real() / size, pivot.imag() / size);
            log = log + size.ln();
        }
        if log.is_finite() { (sign, log) } else { (T::ZERO, T::Real::neg_infinity()) }
    }
}
