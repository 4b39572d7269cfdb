//! Softmax and cross entropy, row by row.

use crate::compute::elementwise::{map, update};
use crate::compute::lanes::{Kernel, Lanes, dispatch};
use crate::compute::math::{Exp, MathReal, Unary};
use crate::compute::pool::{SharedMut, parallel_pieces};
use crate::compute::reduce::{max, sum};

/// Elements that one piece of a parallel loop has at least: some microseconds of work.
const GRAIN: usize = 1 << 12;

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
        scale(T::one() / sum(out), out);
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
        map(x, out, |x| x - largest - log);
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
        let loss = dispatch(Loss { x, labels, less: largest, log: total.ln(), scale: T::one() / total, out });
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
            scale(T::one() / total, out);
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
                let x = l.load_part(self.x.as_ptr().add(at), count);
                l.store_part(self.out.as_mut_ptr().add(at), Exp.eval(l, l.sub(x, less)), count);
            }
            at += L::N;
        }
    }
}

/// `out[i] *= factor`
fn scale<T: MathReal>(factor: T, out: &mut [T]) {
    update(out, |y| *y = *y * factor);
}

/// The sum of `labels[i] (log - (x[i] - less))`; then `out[i] = out[i] scale - labels[i]`.
struct Loss<'a, T> {
    x: &'a [T],
    labels: &'a [T],
    less: T,
    log: T,
    scale: T,
    out: &'a mut [T],
}

impl<T: MathReal> Kernel<T> for Loss<'_, T> {
    type Output = T;

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, l: L) -> T {
        let length = self.x.len().min(self.labels.len()).min(self.out.len());
        let (less, log, scale) = (l.splat(self.less), l.splat(self.log), l.splat(self.scale));
        let mut loss = l.splat(T::zero());
        for at in (0..length).step_by(L::N) {
            let count = length - at;
            // SAFETY: `count` elements are left in all slices. Lanes past them have a label of zero.
            unsafe {
                let (x, label) = (l.load_part(self.x.as_ptr().add(at), count), l.load_part(self.labels.as_ptr().add(at), count));
                let y = self.out.as_mut_ptr().add(at);
                loss = l.add(loss, l.mul(label, l.sub(log, l.sub(x, less))));
                l.store_part(y, l.sub(l.mul(l.load_part(y, count), scale), label), count);
            }
        }
        l.sum(loss)
    }
}

/// Panics unless a slice has the length that its role demands.
fn check_length<T>(what: &str, slice: &[T], expected: usize) {
    assert_eq!(slice.len(), expected, "{what} has {} elements, expected {expected}", slice.len());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::level::tests::at_every_level;

    /// Numbers between -1.5 and 1.5 without a pattern.
    fn data(length: usize, seed: usize) -> Vec<f64> {
        (0..length).map(|i| (((i + 1) * (2 * seed + 7) * 7919) % 1000) as f64 / 333.0 - 1.5).collect()
    }

    fn narrow(x: &[f64]) -> Vec<f32> {
        x.iter().map(|x| *x as f32).collect()
    }

    fn assert_close(what: &str, got: &[f32], expected: &[f64]) {
        assert_eq!(got.len(), expected.len(), "{what}");
        for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
            let error = (f64::from(*got) - expected).abs();
            assert!(error <= 1e-6 * (1.0 + expected.abs()), "{what}[{i}]: {got}, expected {expected}");
        }
    }

    #[test]
    fn softmax_and_cross_entropy() {
        at_every_level(|| {
            for (batch, columns) in [(0, 3), (1, 1), (2, 3), (5, 17), (3, 100), (40, 103), (2, 3000)] {
                let x = data(batch * columns, 1);
                let labels: Vec<f64> = data(batch * columns, 2).iter().map(|x| x / columns as f64).collect();
                let row = |i: usize| &x[i * columns..][..columns];
                let log = |i: usize| row(i).iter().map(|x| x.exp()).sum::<f64>().ln();
                let all = |f: &dyn Fn(usize) -> f64| (0..x.len()).map(f).collect::<Vec<f64>>();
                let probability = |at: usize| (x[at] - log(at / columns)).exp();
                let (logits, mut out, mut loss) = (narrow(&x), vec![0.0; x.len()], vec![0.0; batch]);
                softmax(&logits, columns, &mut out);
                assert_close("softmax", &out, &all(&probability));
                log_softmax(&logits, columns, &mut out);
                assert_close("log softmax", &out, &all(&|at| x[at] - log(at / columns)));
                softmax_cross_entropy(&logits, &narrow(&labels), columns, &mut loss, &mut out);
                assert_close("backprop", &out, &all(&|at| probability(at) - labels[at]));
                let term = |at: usize| labels[at] * (log(at / columns) - x[at]);
                let expected: Vec<f64> = (0..batch).map(|i| (0..columns).map(|j| term(i * columns + j)).sum()).collect();
                assert_close("loss", &loss, &expected);
                sparse_softmax_cross_entropy(&logits, |row| (row * 7) % columns, columns, &mut loss, &mut out);
                let label = |i: usize| i * columns + (i * 7) % columns;
                assert_close("sparse backprop", &out, &all(&|at| probability(at) - f64::from(at == label(at / columns))));
                assert_close("sparse loss", &loss, &(0..batch).map(|i| log(i) - x[label(i)]).collect::<Vec<f64>>());
            }
        });
    }

    #[test]
    fn softmax_of_special_values_is_tensorflows() {
        let infinity = f32::INFINITY;
        let logits = [0.0, -infinity, -infinity, -infinity, infinity, 0.0];
        let mut out = [0.0; 6];
        softmax(&logits, 2, &mut out);
        assert_eq!(out[..2], [1.0, 0.0]);
        assert!(out[2..5].iter().all(|x| x.is_nan()));
        log_softmax(&logits, 2, &mut out);
        assert_eq!(out[..2], [0.0, -infinity]);
        assert!(out[2..].iter().all(|x| x.is_nan()));
        let (mut loss, mut backprop) = ([0.0; 2], [0.0; 4]);
        softmax_cross_entropy(&[0.0, -infinity, 1.0, 2.0], &[1.0, 0.0, 0.0, 0.0], 2, &mut loss, &mut backprop);
        assert!(loss[0].is_nan() && loss[1] == 0.0);
        assert_eq!(backprop[..2], [0.0, 0.0]);
        softmax_cross_entropy::<f32>(&[], &[], 0, &mut loss, &mut []);
        assert_eq!(loss, [0.0, 0.0]);
        sparse_softmax_cross_entropy(&[1.0f32, 2.0], |_| 2, 2, &mut loss[..1], &mut backprop[..2]);
        assert!(loss[0].is_nan() && backprop[0].is_nan() && backprop[1].is_nan());
    }
}
