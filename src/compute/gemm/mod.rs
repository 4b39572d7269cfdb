//! Products of matrices: `C = A B`, `C += A B` or `C = D + A B`.
//!
//! f32 and f64 read their operands where they lie where they have few rows or columns, or moderate depth (`direct`), else by
//! blocks that are laid out first (`blocked`), as matrices may be once for many products (`packed`); half and bfloat16 are
//! computed in f32 and rounded once; other numbers take a plain loop (`generic`), and integers wrap.
//! A sum's order depends on the shapes and the number of threads, nothing else.

mod blocked;
mod direct;
mod generic;
mod packed;
#[cfg(test)]
mod tests;

pub use packed::PackedB;

use super::lanes::Real;
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

    /// Whether the elements of a row lie beside one another.
    pub fn lies_by_rows(&self) -> bool {
        self.column_stride == 1
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

/// What a product is added to.
#[derive(Clone, Copy, Debug)]
pub enum Onto<'a, T> {
    /// `c = a b`
    Nothing,
    /// `c += a b`
    Itself,
    /// `c = this + a b`; elements of a row beside one another, rows at any distance, also 0.
    Rows(Matrix<'a, T>),
}

/// Where C goes, and what is added to the product.
#[derive(Clone, Copy)]
struct Target<T> {
    data: *mut T,
    row_stride: usize,
    column_stride: usize,
    /// Whether there is an addend; its element (i, j) is where C's is, by its own strides.
    adds: bool,
    addend: *const T,
    addend_row_stride: usize,
    addend_column_stride: usize,
}

// SAFETY: the pointers are only addresses; who writes through them keeps to a piece of C of its own.
unsafe impl<T: Send> Send for Target<T> {}
unsafe impl<T: Send> Sync for Target<T> {}

impl<T> Target<T> {
    fn new(data: *mut T, row_stride: usize) -> Target<T> {
        let addend = data.cast_const();
        Target { data, row_stride, column_stride: 1, adds: false, addend, addend_row_stride: row_stride, addend_column_stride: 1 }
    }

    fn of(c: &mut MatrixMut<'_, T>, onto: Onto<'_, T>) -> Target<T> {
        let target = Target::new(c.data.as_mut_ptr(), c.row_stride);
        match onto {
            Onto::Nothing => target,
            Onto::Itself => Target { adds: true, ..target },
            Onto::Rows(rows) => Target { adds: true, addend: rows.data.as_ptr(), addend_row_stride: rows.row_stride, ..target },
        }
    }

    /// The same place, to which more is added.
    fn onto_itself(self) -> Target<T> {
        Target {
            adds: true,
            addend: self.data.cast_const(),
            addend_row_stride: self.row_stride,
            addend_column_stride: self.column_stride,
            ..self
        }
    }

    /// The place of the transposed product.
    fn transposed(self) -> Target<T> {
        Target {
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            addend_row_stride: self.addend_column_stride,
            addend_column_stride: self.addend_row_stride,
            ..self
        }
    }

    /// The place from element (row, column) on.
    #[inline(always)]
    fn from(self, row: usize, column: usize) -> Target<T> {
        let data = self.data.wrapping_add(row * self.row_stride + column * self.column_stride);
        let addend = self.addend.wrapping_add(row * self.addend_row_stride + column * self.addend_column_stride);
        Target { data, addend, ..self }
    }
}

impl<T: Real> Target<T> {
    /// Writes an element.
    ///
    /// # Safety
    /// The element lies in C, and nobody else uses it.
    #[inline(always)]
    unsafe fn set(self, row: usize, column: usize, sum: T) {
        let place = self.from(row, column);
        // SAFETY: as the caller promises; the addend has the same elements.
        unsafe { *place.data = if place.adds { *place.addend + sum } else { sum } };
    }
}

/// Numbers that matrices can be made of.
pub trait GemmElement: Copy + Send + Sync + 'static {
    /// The product where shapes are known to agree and none is empty.
    #[doc(hidden)]
    fn product(a: Matrix<'_, Self>, b: Matrix<'_, Self>, c: MatrixMut<'_, Self>, onto: Onto<'_, Self>);
    /// Zero.
    #[doc(hidden)]
    fn zero() -> Self;
    /// The sum; integers wrap.
    #[doc(hidden)]
    fn add_wrapping(self, other: Self) -> Self;
}

/// The product of two matrices, by itself or added to something, split over the current pool.
///
/// Shapes are `[m, k] [k, n] -> [m, n]`, that of the addend too, else it panics. With `k = 0` the product is zero. NaN and
/// infinity propagate as in the sums written out: zeros are not skipped.
pub fn gemm<T: GemmElement>(a: Matrix<'_, T>, b: Matrix<'_, T>, c: MatrixMut<'_, T>, onto: Onto<'_, T>) {
    if let Some(c) = without_depth(&a, (b.rows, b.columns), c, onto) {
        T::product(a, b, c, onto);
    }
}

/// Checks shapes, and does what there is to do for products without elements or without depth; else gives C back.
fn without_depth<'c, T: GemmElement>(
    a: &Matrix<'_, T>,
    b: (usize, usize),
    c: MatrixMut<'c, T>,
    onto: Onto<'_, T>,
) -> Option<MatrixMut<'c, T>> {
    let (a, shape) = ((a.rows, a.columns), (c.rows, c.columns));
    assert!(a.1 == b.0 && (a.0, b.1) == shape, "a product of {a:?} and {b:?} can't go into {shape:?}");
    if let Onto::Rows(rows) = onto {
        let addend = (rows.rows, rows.columns);
        assert!(addend == shape && (rows.column_stride == 1 || shape.1 < 2), "{addend:?} can't be added to {shape:?}");
    }
    match shape {
        (0, _) | (_, 0) => None,
        _ if a.1 == 0 => {
            start(c, onto);
            None
        }
        _ => Some(c),
    }
}

/// Writes what a product is added to.
fn start<'c, T: GemmElement>(c: MatrixMut<'c, T>, onto: Onto<'_, T>) -> MatrixMut<'c, T> {
    for row in 0..c.rows {
        let to = &mut c.data[row * c.row_stride..][..c.columns];
        match onto {
            Onto::Nothing => to.fill(T::zero()),
            Onto::Itself => {}
            Onto::Rows(rows) => to.copy_from_slice(&rows.data[row * rows.row_stride..][..rows.columns]),
        }
    }
    c
}

/// Products with fewer multiplications than this run on one thread: about four microseconds.
const PARALLEL_FROM: usize = 1 << 16;

macro_rules! blocked_element {
    ($($float:ty),*) => {$(
        impl GemmElement for $float {
            fn product(a: Matrix<'_, $float>, b: Matrix<'_, $float>, mut c: MatrixMut<'_, $float>, onto: Onto<'_, $float>) {
                let target = Target::of(&mut c, onto);
                if !direct::product(a, b, target) {
                    blocked::product(a, b, target);
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
            fn product(a: Matrix<'_, $half>, b: Matrix<'_, $half>, c: MatrixMut<'_, $half>, onto: Onto<'_, $half>) {
                generic::through_f32(a, b, start(c, onto), <$half>::to_f32, <$half>::from_f32);
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
            fn product(a: Matrix<'_, $number>, b: Matrix<'_, $number>, c: MatrixMut<'_, $number>, onto: Onto<'_, $number>) {
                generic::product(a, b, start(c, onto), #[inline(always)] $mul_add);
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
