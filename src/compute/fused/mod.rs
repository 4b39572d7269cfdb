//! Several ops in one pass over memory: what a plan puts in the place of chains of small ops.
//!
//! All formulas are those of TensorFlow's kernels and cells; results differ from the chain's by float rounding only.

mod gru;
mod lstm;
mod optimizers;
mod softmax;
#[cfg(test)]
mod tests;

pub use gru::{GruGatesGradient, GruOutputGradient, gru_gates, gru_gates_gradient, gru_output, gru_output_gradient};
pub use lstm::{LstmGradient, LstmStep, lstm_gradient, lstm_step};
pub use optimizers::{
    Adam, Momentum, RmsProp, adagrad, adagrad_v2, adam, centered_rms_prop, gradient_descent, keras_momentum, momentum, rms_prop,
};
pub use softmax::{log_softmax, softmax, softmax_cross_entropy, sparse_softmax_cross_entropy};

use super::lanes::Lanes;

/// A row's elements `j..j + count`, where `count` may be less than a vector.
///
/// # Safety
/// They can be read.
#[inline(always)]
unsafe fn load_part<L: Lanes>(l: L, from: *const L::Elem, count: usize) -> L::V {
    // SAFETY: as the caller promises.
    unsafe { if count >= L::N { l.load(from) } else { l.load_first(from, count) } }
}

/// Writes the first `count` lanes, or all.
///
/// # Safety
/// They can be written.
#[inline(always)]
unsafe fn store_part<L: Lanes>(l: L, to: *mut L::Elem, v: L::V, count: usize) {
    // SAFETY: as the caller promises.
    unsafe { if count >= L::N { l.store(to, v) } else { l.store_first(to, v, count) } }
}

/// Panics unless a slice has the length that its role demands.
fn check_length<T>(what: &str, slice: &[T], expected: usize) {
    assert_eq!(slice.len(), expected, "{what} has {} elements, expected {expected}", slice.len());
}
