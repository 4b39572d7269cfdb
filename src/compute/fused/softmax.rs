//! Softmax and cross entropy, row by row.

use super::{check_length, load_part, store_part};
use crate::compute::lanes::{Kernel, Lanes, dispatch};
use crate::compute::math::{Exp, MathReal, Unary};
use crate::compute::pool::{SharedMut, parallel_pieces};
use crate::compute::reduce::{max, sum};

/// Elements that one piece of a parallel loop has at least: some microseconds of work.
const GRAIN: usize = 1 << 12;

/// Terms of a loss that are added in one go.
const PART: usize = 32;

/// Calls `body` for each row and its part of `out`, split over the current pool.
fn for_rows<T: Send>(columns: usize, out: &mut [T], body: impl Fn(usize, &mut [T]) + Sync) {
    parallel_pieces(out, columns, GRAIN.div_ceil(columns.max(1)), |first, rows| {
        for (row, out) in (first..).zip(rows.chunks_exact_mut(columns)) {
            body(row, out);
        }
    });
}

/// `exp(x - max x) / sum exp(x - max x)` for each row of `columns` elements (TF op Softmax).
pub fn softmax<T: MathReal>(x: &[T], columns: usize, out: &mut [T]) {
    check_length("out", out, x.len());
    for_rows(columns, out, |row, out| {
        let x = &x[row * columns..][..columns];
        dispatch(ExpLess { x, less: max(x), out });
        let scale = T::one() / sum(out);
        out.iter_mut().for_each(|y| *y = *y * scale);
    });
}

/// `x - max x - log sum exp(x - max x)` for each row of `columns` elements (TF op LogSoftmax).
pub fn log_softmax<T: MathReal>(x: &[T], columns: usize, out: &mut [T]) {
    check_length("out", out, x.len());
    for_rows(columns, out, |row, out| {
        let x = &x[row * columns..][..columns];
        let largest = max(x);
        dispatch(ExpLess { x, less: largest, out });
        let log = sum(out).ln();
        out.iter_mut().zip(x).for_each(|(y, x)| *y = *x - largest - log);
    });
}

/// The cross entropy of each row's softmax with its labels, and its gradient (TF op SoftmaxCrossEntropyWithLogits).
///
/// `logits`, `labels` and `backprop` are `[batch, columns]`, `loss` is `[batch]`;
/// `loss = sum(labels (log sum exp(logits - max) - (logits - max)))`, `backprop = softmax(logits) - labels`.
pub fn softmax_cross_entropy<T: MathReal>(logits: &[T], labels: &[T], columns: usize, loss: &mut [T], backprop: &mut [T]) {
    check_length("labels", labels, logits.len());
    check_length("backprop", backprop, logits.len());
    check_length("logits", logits, loss.len() * columns);
    if columns == 0 {
        return loss.fill(T::zero());
    }
    let losses = SharedMut(loss.as_mut_ptr());
    for_rows(columns, backprop, |row, out| {
        let (x, labels) = (&logits[row * columns..][..columns], &labels[row * columns..][..columns]);
        let largest = max(x);
        dispatch(ExpLess { x, less: largest, out });
        let total = sum(out);
        let (log, scale) = (total.ln(), T::one() / total);
        let mut loss = T::zero();
        for ((out, x), labels) in out.chunks_mut(PART).zip(x.chunks(PART)).zip(labels.chunks(PART)) {
            let mut part = T::zero();
            for ((y, x), label) in out.iter_mut().zip(x).zip(labels) {
                part += *label * (log - (*x - largest));
                *y = *y * scale - *label;
            }
            loss += part;
        }
        // SAFETY: there is a loss for each row, and rows are visited once.
        unsafe { *losses.get().add(row) = loss };
    });
}

/// As [`softmax_cross_entropy`], for labels that are one column each (TF op SparseSoftmaxCrossEntropyWithLogits).
///
/// `label` gives each row's column, which must be less than `columns`; else the row's loss and gradient are NaN.
pub fn sparse_softmax_cross_entropy<T: MathReal>(
    logits: &[T],
    label: impl Fn(usize) -> usize + Sync,
    columns: usize,
    loss: &mut [T],
    backprop: &mut [T],
) {
    check_length("backprop", backprop, logits.len());
    check_length("logits", logits, loss.len() * columns);
    let losses = SharedMut(loss.as_mut_ptr());
    for_rows(columns, backprop, |row, out| {
        let x = &logits[row * columns..][..columns];
        let (largest, label) = (max(x), label(row));
        let loss = if label < columns {
            dispatch(ExpLess { x, less: largest, out });
            let total = sum(out);
            let scale = T::one() / total;
            out.iter_mut().for_each(|y| *y = *y * scale);
            out[label] = out[label] - T::one();
            total.ln() - (x[label] - largest)
        } else {
            out.fill(T::nan());
            T::nan()
        };
        // SAFETY: there is a loss for each row, and rows are visited once.
        unsafe { *losses.get().add(row) = loss };
    });
}

/// `out[i] = exp(x[i] - less)`
struct ExpLess<'a, T> {
    x: &'a [T],
    less: T,
    out: &'a mut [T],
}

impl<T: MathReal> Kernel<T> for ExpLess<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, l: L) {
        let length = self.x.len().min(self.out.len());
        let less = l.splat(self.less);
        let mut at = 0;
        while at < length {
            let count = length - at;
            // SAFETY: `count` elements are left in both slices.
            unsafe {
                let x = load_part(l, self.x.as_ptr().add(at), count);
                store_part(l, self.out.as_mut_ptr().add(at), Exp.eval(l, l.sub(x, less)), count);
            }
            at += L::N;
        }
    }
}
