//! QR decompositions by reflections.

use super::householder::{apply_left, reflect};
use super::scalar::constant;
use super::{Mat, Reflections, Scalar, squared_norm};
use num_traits::Float;

/// `A = Q R`.
pub struct Qr<T> {
    /// Q as a product of reflections.
    pub q: Reflections<T>,
    /// R, below whose diagonal are zeros, in the shape of A.
    pub r: Mat<T>,
}

impl<T: Scalar> Qr<T> {
    /// Decomposes a matrix.
    pub fn new(mut a: Mat<T>) -> Qr<T> {
        let mut q = Reflections::new(0);
        for k in 0..a.rows().min(a.columns()) {
            step(&mut a, k, &mut q);
        }
        Qr { q, r: a }
    }
}

/// Clears column k below the diagonal.
fn step<T: Scalar>(a: &mut Mat<T>, k: usize, q: &mut Reflections<T>) {
    let (tau, beta) = reflect(&mut a.column_mut(k)[k..]);
    let tail = a.column(k)[k + 1..].to_vec();
    a[(k, k)] = T::from_real(beta);
    a.column_mut(k)[k + 1..].fill(T::ZERO);
    apply_left(a, k, k + 1..a.columns(), &tail, tau);
    q.push(&tail, tau);
}

/// `A P = Q R` with columns exchanged so that the diagonal of R falls.
pub struct PivotedQr<T> {
    /// Q as a product of reflections.
    pub q: Reflections<T>,
    /// R, below whose diagonal are zeros, in the shape of A.
    pub r: Mat<T>,
    /// Column j of `A P` is this column of A.
    pub permutation: Vec<usize>,
}

impl<T: Scalar> PivotedQr<T> {
    /// Decomposes a matrix.
    pub fn new(mut a: Mat<T>) -> PivotedQr<T> {
        let columns = a.columns();
        let mut q = Reflections::new(0);
        let mut permutation: Vec<usize> = (0..columns).collect();
        let mut exact: Vec<T::Real> = (0..columns).map(|j| squared_norm(a.column(j)).sqrt()).collect();
        let mut norms = exact.clone();
        let inexact = T::Real::epsilon().sqrt();
        for k in 0..a.rows().min(columns) {
            let mut pivot = k;
            for j in k + 1..columns {
                if norms[j] > norms[pivot] {
                    pivot = j;
                }
            }
            a.swap_columns(k, pivot);
            permutation.swap(k, pivot);
            norms.swap(k, pivot);
            exact.swap(k, pivot);
            step(&mut a, k, &mut q);
            for j in k + 1..columns {
                if norms[j] == T::Real::ZERO {
                    continue;
                }
                let ratio = a[(k, j)].modulus() / norms[j];
                let rest = ((T::Real::ONE + ratio) * (T::Real::ONE - ratio)).max(T::Real::ZERO);
                let drift = norms[j] / exact[j];
                if rest * drift * drift <= inexact {
                    exact[j] = squared_norm(&a.column(j)[k + 1..]).sqrt();
                    norms[j] = exact[j];
                } else {
                    norms[j] = norms[j] * rest.sqrt();
                }
            }
        }
        PivotedQr { q, r: a, permutation }
    }

    /// The number of columns that are independent within the precision of the type.
    pub fn rank(&self) -> usize {
        let size = self.r.rows().min(self.r.columns());
        let largest = (0..size).fold(T::Real::ZERO, |m, i| m.max(self.r[(i, i)].modulus()));
        let threshold = largest * T::Real::epsilon() * constant::<T::Real>(size as f64);
        (0..size).filter(|&i| self.r[(i, i)].modulus() > threshold).count()
    }

    /// The X of least norm that minimises `|A X - B|`.
    pub fn solve(&self, b: &Mat<T>) -> Mat<T> {
        let (rows, columns, rank) = (self.r.rows(), self.r.columns(), self.rank());
        let mut c = b.clone();
        for (k, (tail, &tau)) in self.q.tails.iter().zip(&self.q.taus).enumerate() {
            apply_left(&mut c, k, 0..b.columns(), tail, tau);
        }
        debug_assert_eq!(c.rows(), rows);
        // The rows of R that count, as `R1 = L Z^H`.
        let top = Qr::new(self.r.resized(rank, columns).adjoint());
        let lower = top.r.resized(rank, rank);
        let mut y = c.resized(rank, b.columns());
        super::solve_triangular(&lower, &mut y, false, true, false);
        let mut x = y.resized(columns, b.columns());
        top.q.apply(&mut x);
        let mut out = Mat::zeros(columns, b.columns());
        for j in 0..b.columns() {
            for i in 0..columns {
                out[(self.permutation[i], j)] = x[(i, j)];
            }
        }
        out
    }
}
