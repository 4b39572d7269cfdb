//! Products of numbers without a way of their own.

use super::{GemmElement, Matrix, MatrixMut, Onto, PARALLEL_FROM, gemm};
use crate::compute::level::vectorize;
use crate::compute::pool::{SharedMut, parallel_for};
use std::borrow::Cow;

/// Rows of B that are added in one pass over a row of C.
const STEP: usize = 4;

/// `c += a b` by sums of multiples of B's rows. `mul_add` must be inline.
pub fn product<T: GemmElement>(
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    c: MatrixMut<'_, T>,
    mul_add: impl Fn(T, T, T) -> T + Copy + Sync,
) {
    let (m, k, n) = (a.rows, a.columns, b.columns);
    let b_rows = row_major(b);
    let grain = (PARALLEL_FROM / 4).div_ceil(k);
    let row_stride = c.row_stride;
    let pointer = SharedMut(c.data.as_mut_ptr());
    let span = |i: usize, columns: std::ops::Range<usize>| {
        // SAFETY: the parts of rows that the pieces of the loop take don't overlap and lie in C, which is borrowed.
        let sums = unsafe { std::slice::from_raw_parts_mut(pointer.get().add(i * row_stride + columns.start), columns.len()) };
        vectorize(
            #[inline(always)]
            || {
                let x = |p: usize| a.data[i * a.row_stride + p * a.column_stride];
                let row = |p: usize| &b_rows[p * n..][columns.clone()];
                let mut p = 0;
                while p + STEP <= k {
                    let (x0, x1, x2, x3) = (x(p), x(p + 1), x(p + 2), x(p + 3));
                    let pairs = row(p).iter().zip(row(p + 1)).zip(row(p + 2).iter().zip(row(p + 3)));
                    for (sum, ((y0, y1), (y2, y3))) in sums.iter_mut().zip(pairs) {
                        *sum = mul_add(x3, *y3, mul_add(x2, *y2, mul_add(x1, *y1, mul_add(x0, *y0, *sum))));
                    }
                    p += STEP;
                }
                for p in p..k {
                    sums.iter_mut().zip(row(p)).for_each(|(sum, y)| *sum = mul_add(x(p), *y, *sum));
                }
            },
        );
    };
    if m >= n {
        parallel_for(m, grain.div_ceil(n), |rows| rows.for_each(|i| span(i, 0..n)));
    } else {
        parallel_for(n, grain.div_ceil(m).max(16), |columns| (0..m).for_each(|i| span(i, columns.clone())));
    }
}

/// The elements row after row.
fn row_major<T: Copy>(matrix: Matrix<'_, T>) -> Cow<'_, [T]> {
    let Matrix { data, rows, columns, row_stride, column_stride } = matrix;
    if column_stride == 1 && row_stride == columns {
        return Cow::Borrowed(data);
    }
    let row = |i: usize| (0..columns).map(move |j| data[i * row_stride + j * column_stride]);
    Cow::Owned((0..rows).flat_map(row).collect())
}

/// `c += a b`, computed in f32 and rounded once.
pub fn through_f32<T: Copy>(
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    c: MatrixMut<'_, T>,
    widen: impl Fn(T) -> f32 + Copy,
    round: impl Fn(f32) -> T,
) {
    let widened = |matrix: Matrix<'_, T>| -> Vec<f32> { row_major(matrix).iter().map(|x| widen(*x)).collect() };
    let (m, k, n) = (a.rows, a.columns, b.columns);
    let (a, b) = (widened(a), widened(b));
    let mut sums = widened(Matrix::strided(c.data, m, n, c.row_stride, 1));
    gemm(Matrix::new(&a, m, k), Matrix::new(&b, k, n), MatrixMut::new(&mut sums, m, n), Onto::Itself);
    for (i, row) in sums.chunks_exact(n).enumerate() {
        c.data[i * c.row_stride..][..n].iter_mut().zip(row).for_each(|(y, x)| *y = round(*x));
    }
}
