//! Products of matrices: `C = A B` or `C += A B`.
//!
//! f32 and f64 run on packed blocks in registers (`blocked`), with ways of their own for a few rows or columns (`narrow`);
//! half and bfloat16 are computed in f32 and rounded once; other numbers take a plain loop (`generic`), and integers wrap.
//! A sum's order depends on the shapes and the number of threads, nothing else.

mod blocked;
mod generic;
mod narrow;
mod packed;
#[cfg(test)]
mod tests;

pub use packed::PackedB;

use half::{bf16, f16};
use num_complex::Complex;

/// A matrix in a slice: element (i, j) is at `i * row_stride + j * column_stride`.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a, T> {
    data: &'a [T],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

/// A matrix to write to: element (i, j) is at `i * row_stride + j`.
#[derive(Debug)]
pub struct MatrixMut<'a, T> {
    data: &'a mut [T],
    rows: usize,
    columns: usize,
    row_stride: usize,
}

/// One past the last element's position, none for a matrix without elements.
fn extent(rows: usize, columns: usize, row_stride: usize, column_stride: usize) -> usize {
    if rows == 0 || columns == 0 { 0 } else { (rows - 1) * row_stride + (columns - 1) * column_stride + 1 }
}

impl<'a, T> Matrix<'a, T> {
    /// Rows one after another.
    pub fn new(data: &'a [T], rows: usize, columns: usize) -> Matrix<'a, T> {
        Matrix::strided(data, rows, columns, columns, 1)
    }

    /// Any strides. Panics if the slice is too short.
    pub fn strided(data: &'a [T], rows: usize, columns: usize, row_stride: usize, column_stride: usize) -> Matrix<'a, T> {
        let extent = extent(rows, columns, row_stride, column_stride);
        assert!(extent <= data.len(), "a matrix [{rows}, {columns}] needs {extent} elements, got {}", data.len());
        Matrix { data, rows, columns, row_stride, column_stride }
    }

    /// The transposed matrix, in the same memory.
    #[must_use]
    pub fn transposed(self) -> Matrix<'a, T> {
        let Matrix { data, rows, columns, row_stride, column_stride } = self;
        Matrix { data, rows: columns, columns: rows, row_stride: column_stride, column_stride: row_stride }
    }

    /// The transposed matrix if `transpose`, else the same.
    #[must_use]
    pub fn transposed_if(self, transpose: bool) -> Matrix<'a, T> {
        if transpose { self.transposed() } else { self }
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }
}

impl<'a, T> MatrixMut<'a, T> {
    /// Rows one after another.
    pub fn new(data: &'a mut [T], rows: usize, columns: usize) -> MatrixMut<'a, T> {
        MatrixMut::strided(data, rows, columns, columns)
    }

    /// Rows at a distance of `row_stride`, at least `columns` unless there is one row only. Panics if the slice is too short.
    pub fn strided(data: &'a mut [T], rows: usize, columns: usize, row_stride: usize) -> MatrixMut<'a, T> {
        let extent = extent(rows, columns, row_stride, 1);
        assert!(extent <= data.len(), "a matrix [{rows}, {columns}] needs {extent} elements, got {}", data.len());
        assert!(rows <= 1 || row_stride >= columns, "rows of {columns} elements overlap at a distance of {row_stride}");
        MatrixMut { data, rows, columns, row_stride }
    }
}

/// Numbers that matrices can be made of.
pub trait GemmElement: Copy + Send + Sync + 'static {
    /// `c = a b`, or `c += a b` where shapes are known to agree and none is empty.
    #[doc(hidden)]
    fn product(a: Matrix<'_, Self>, b: Matrix<'_, Self>, c: MatrixMut<'_, Self>, accumulate: bool);
    /// Zero.
    #[doc(hidden)]
    fn zero() -> Self;
    /// The sum; integers wrap.
    #[doc(hidden)]
    fn add_wrapping(self, other: Self) -> Self;
}

/// `c = a b`, or `c += a b` if `accumulate`, split over the current pool.
///
/// Shapes are `[m, k] [k, n] -> [m, n]`, else it panics. With `k = 0` the product is zero. NaN and infinity propagate as in
/// the sums written out: zeros are not skipped.
pub fn gemm<T: GemmElement>(a: Matrix<'_, T>, b: Matrix<'_, T>, c: MatrixMut<'_, T>, accumulate: bool) {
    check_shapes((a.rows, a.columns), (b.rows, b.columns), (c.rows, c.columns));
    if c.rows == 0 || c.columns == 0 {
        return;
    }
    if a.columns == 0 {
        if !accumulate {
            fill_rows(c, T::zero());
        }
        return;
    }
    T::product(a, b, c, accumulate);
}

fn check_shapes(a: (usize, usize), b: (usize, usize), c: (usize, usize)) {
    assert!(a.1 == b.0 && (a.0, b.1) == c, "a product of {a:?} and {b:?} can't go into {c:?}");
}

fn fill_rows<T: Copy>(c: MatrixMut<'_, T>, value: T) {
    for row in 0..c.rows {
        c.data[row * c.row_stride..][..c.columns].fill(value);
    }
}

/// Products with fewer multiplications than this run on one thread: about four microseconds.
const PARALLEL_FROM: usize = 1 << 16;

macro_rules! blocked_element {
    ($($float:ty),*) => {$(
        impl GemmElement for $float {
            fn product(a: Matrix<'_, $float>, b: Matrix<'_, $float>, mut c: MatrixMut<'_, $float>, accumulate: bool) {
                if !narrow::product(a, b, &mut c, accumulate) {
                    blocked::product(a, b, c, accumulate);
                }
            }
            fn zero() -> $float {
                0.0
            }
            fn add_wrapping(self, other: $float) -> $float {
                self + other
            }
        }
    )*};
}

macro_rules! half_element {
    ($($half:ty),*) => {$(
        impl GemmElement for $half {
            fn product(a: Matrix<'_, $half>, b: Matrix<'_, $half>, c: MatrixMut<'_, $half>, accumulate: bool) {
                generic::through_f32(a, b, c, accumulate, <$half>::to_f32, <$half>::from_f32);
            }
            fn zero() -> $half {
                <$half>::ZERO
            }
            fn add_wrapping(self, other: $half) -> $half {
                self + other
            }
        }
    )*};
}

macro_rules! generic_element {
    ($($number:ty: $zero:expr, $plus:expr, $mul_add:expr;)*) => {$(
        impl GemmElement for $number {
            fn product(a: Matrix<'_, $number>, b: Matrix<'_, $number>, c: MatrixMut<'_, $number>, accumulate: bool) {
                generic::product(a, b, c, accumulate, $zero, #[inline(always)] $mul_add);
            }
            fn zero() -> $number {
                $zero
            }
            fn add_wrapping(self, other: $number) -> $number {
                $plus(self, other)
            }
        }
    )*};
}

macro_rules! integer_element {
    ($($integer:ty),*) => {
        generic_element! { $($integer: 0, <$integer>::wrapping_add, |x, y, sum| x.wrapping_mul(y).wrapping_add(sum);)* }
    };
}

blocked_element!(f32, f64);
half_element!(f16, bf16);
integer_element!(i8, i16, i32, i64, u8, u16, u32, u64);
generic_element! {
    Complex<f32>: Complex { re: 0.0, im: 0.0 }, std::ops::Add::add, |x, y, sum| x * y + sum;
    Complex<f64>: Complex { re: 0.0, im: 0.0 }, std::ops::Add::add, |x, y, sum| x * y + sum;
}
