//! Decompositions of dense matrices of real and complex numbers.
//!
//! Signs and phases, which a decomposition leaves open, are those of the usual Householder and Givens conventions: a
//! reflection maps a vector to `-sign(re x0) |x| e0`, and eigenvalues are found by shifted QR steps from the lower end.

mod cholesky;
mod eigen;
mod functions;
mod householder;
mod lu;
mod qr;
mod real_eigen;
mod rotation;
mod scalar;
mod self_adjoint;
mod svd;
#[cfg(test)]
mod tests;
mod triangular;

pub use cholesky::cholesky;
pub use eigen::{Schur, eigen};
pub use functions::{logarithm, square_root};
pub use householder::Reflections;
pub use lu::Lu;
pub use qr::{PivotedQr, Qr};
pub use real_eigen::real_eigen;
pub use scalar::{RealScalar, Scalar};
pub use self_adjoint::self_adjoint_eigen;
pub use svd::{Svd, svd};
pub use triangular::solve_triangular;

use std::ops::{Index, IndexMut};

/// A matrix of its own memory, column after column.
#[derive(Clone, Debug, PartialEq)]
pub struct Mat<T> {
    data: Vec<T>,
    rows: usize,
    columns: usize,
}

impl<T> Index<(usize, usize)> for Mat<T> {
    type Output = T;

    #[inline(always)]
    fn index(&self, (row, column): (usize, usize)) -> &T {
        &self.data[column * self.rows + row]
    }
}

impl<T> IndexMut<(usize, usize)> for Mat<T> {
    #[inline(always)]
    fn index_mut(&mut self, (row, column): (usize, usize)) -> &mut T {
        &mut self.data[column * self.rows + row]
    }
}

impl<T: Scalar> Mat<T> {
    /// A matrix of zeros.
    pub fn zeros(rows: usize, columns: usize) -> Mat<T> {
        Mat { data: vec![T::ZERO; rows * columns], rows, columns }
    }

    /// A matrix with ones on the diagonal and zeros elsewhere.
    pub fn identity(rows: usize, columns: usize) -> Mat<T> {
        let mut matrix = Mat::zeros(rows, columns);
        for i in 0..rows.min(columns) {
            matrix[(i, i)] = T::ONE;
        }
        matrix
    }

    /// A matrix of the values that a function gives for row and column.
    pub fn from_fn(rows: usize, columns: usize, mut value: impl FnMut(usize, usize) -> T) -> Mat<T> {
        let mut data = Vec::with_capacity(rows * columns);
        for column in 0..columns {
            data.extend((0..rows).map(|row| value(row, column)));
        }
        Mat { data, rows, columns }
    }

    /// A matrix from its rows one after another. Panics if the slice is too short.
    pub fn from_rows(data: &[T], rows: usize, columns: usize) -> Mat<T> {
        Mat::from_fn(rows, columns, |i, j| data[i * columns + j])
    }

    /// Appends the rows one after another.
    pub fn append_rows(&self, to: &mut Vec<T>) {
        for i in 0..self.rows {
            to.extend((0..self.columns).map(|j| self[(i, j)]));
        }
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// One column.
    pub fn column(&self, column: usize) -> &[T] {
        &self.data[column * self.rows..][..self.rows]
    }

    /// One column, to be changed.
    pub fn column_mut(&mut self, column: usize) -> &mut [T] {
        &mut self.data[column * self.rows..][..self.rows]
    }

    /// Two different columns, to be changed.
    pub(crate) fn two_columns(&mut self, p: usize, q: usize) -> (&mut [T], &mut [T]) {
        let rows = self.rows;
        let (low, high) = (p.min(q), p.max(q));
        let (head, tail) = self.data.split_at_mut(high * rows);
        let (first, second) = (&mut head[low * rows..][..rows], &mut tail[..rows]);
        if p < q { (first, second) } else { (second, first) }
    }

    /// Exchanges two columns.
    pub fn swap_columns(&mut self, p: usize, q: usize) {
        if p != q {
            let (a, b) = self.two_columns(p, q);
            a.swap_with_slice(b);
        }
    }

    /// Exchanges two rows.
    pub fn swap_rows(&mut self, p: usize, q: usize) {
        if p != q {
            for column in self.data.chunks_exact_mut(self.rows) {
                column.swap(p, q);
            }
        }
    }

    /// The conjugate transpose.
    #[must_use]
    pub fn adjoint(&self) -> Mat<T> {
        Mat::from_fn(self.columns, self.rows, |i, j| self[(j, i)].conj())
    }

    /// The upper left part, filled up with zeros where it is larger.
    #[must_use]
    pub fn resized(&self, rows: usize, columns: usize) -> Mat<T> {
        Mat::from_fn(rows, columns, |i, j| if i < self.rows && j < self.columns { self[(i, j)] } else { T::ZERO })
    }

    /// Each element through a function.
    #[must_use]
    pub fn map<R>(&self, function: impl FnMut(T) -> R) -> Mat<R> {
        Mat { data: self.data.iter().copied().map(function).collect(), rows: self.rows, columns: self.columns }
    }

    /// The product with another matrix, whose rows are as many as these columns.
    #[must_use]
    pub fn times(&self, other: &Mat<T>) -> Mat<T> {
        let mut product = Mat::zeros(self.rows, other.columns);
        for j in 0..other.columns {
            for k in 0..self.columns {
                add_scaled(product.column_mut(j), other[(k, j)], self.column(k));
            }
        }
        product
    }

    /// The largest absolute value; NaN where there is one.
    pub fn largest(&self) -> T::Real {
        let mut largest = T::Real::ZERO;
        for value in &self.data {
            let size = value.modulus();
            if !(size <= largest) {
                largest = size;
                if num_traits::Float::is_nan(size) {
                    break;
                }
            }
        }
        largest
    }
}

/// `to += factor * from`.
#[inline]
pub(crate) fn add_scaled<T: Scalar>(to: &mut [T], factor: T, from: &[T]) {
    for (t, &f) in to.iter_mut().zip(from) {
        *t = *t + factor * f;
    }
}

/// The sum of `conj(a) b`.
#[inline]
pub(crate) fn dot<T: Scalar>(a: &[T], b: &[T]) -> T {
    a.iter().zip(b).fold(T::ZERO, |sum, (&x, &y)| sum + x.conj() * y)
}

/// The sum of squared absolute values.
#[inline]
pub(crate) fn squared_norm<T: Scalar>(a: &[T]) -> T::Real {
    a.iter().fold(T::Real::ZERO, |sum, x| sum + x.norm_sqr())
}
