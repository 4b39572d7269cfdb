//! Draws from categories.

use super::shard::block_size;
use super::{PhiloxRandom, SimplePhilox};
use num_traits::Float;

/// The values for which an execution of `Multinomial` reserves the stream, each with 256 blocks.
pub fn multinomial_reserve(rows: usize, samples: usize) -> u64 {
    (rows as u64).wrapping_mul((samples as u64).div_ceil(4) * 4 * 2)
}

/// Draws `samples` categories for each row of `logits`, a `[rows, classes]` array in row-major order of unnormalized
/// log-probabilities, and gives each to `write`, row by row. Logits that are not finite have no probability; where
/// no logit is finite the result is `classes`. Of `Multinomial` and `StatelessMultinomial`.
///
/// As TensorFlow's, the values of several rows depend on how many threads TensorFlow would use, when the work is
/// large enough for more than one.
pub fn multinomial<T: Float>(
    rng: PhiloxRandom,
    logits: &[T],
    classes: usize,
    samples: usize,
    threads: usize,
    mut write: impl FnMut(usize),
) {
    if classes == 0 {
        return;
    }
    let rows = logits.len() / classes;
    let cost = 50.0 * (samples as f64 * (classes as f64).ln() / 2f64.ln() + classes as f64);
    let block = block_size(rows, cost.trunc(), threads);
    let mut words = SimplePhilox::new(rng);
    let mut cumulated = vec![0f64; classes];
    for (row, logits) in logits.chunks_exact(classes).enumerate() {
        if row % block == 0 {
            words = SimplePhilox::new(rng.skipped((row as u64).wrapping_mul(samples as u64 + 3) / 4));
        }
        let finite = logits.iter().copied().filter(|logit| logit.is_finite());
        let largest = finite.fold(T::min_value(), T::max).to_f64().unwrap_or(0.0);
        let mut total = 0.0;
        for (logit, sum) in logits.iter().zip(&mut cumulated) {
            if logit.is_finite() {
                total += (logit.to_f64().unwrap_or(0.0) - largest).exp();
            }
            *sum = total;
        }
        for _ in 0..samples {
            let target = words.rand_double() * total;
            write(cumulated.partition_point(|&sum| sum <= target));
        }
    }
}
