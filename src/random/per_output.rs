//! Samples of which each has a parameter and a part of the stream of its own.

use super::PhiloxRandom;
use crate::compute::pool::parallel_pieces;

/// The fewest samples that are worth a thread's while.
const SAMPLES_PER_PIECE: usize = 512;

/// Fills a `[samples, parameters]` array in row-major order with what `sample(parameter, rng)` returns.
///
/// `parameter(i)` is called at least once for each parameter. A value's part of the stream follows from its place,
/// counted parameter by parameter.
pub(super) fn per_output<P, T: Send>(
    rng: PhiloxRandom,
    parameters: usize,
    out: &mut [T],
    parameter: impl Fn(usize) -> P + Sync,
    sample: impl Fn(&P, Skipped) -> T + Sync,
) {
    let samples = out.len().checked_div(parameters).unwrap_or(0);
    parallel_pieces(out, 1, SAMPLES_PER_PIECE, |start, out| {
        for first in 0..out.len().min(parameters) {
            let i = (start + first) % parameters;
            let value = parameter(i);
            for (position, out) in out.iter_mut().enumerate().skip(first).step_by(parameters) {
                let output = i * samples + (start + position) / parameters;
                *out = sample(&value, Skipped { rng, output: output as u64 });
            }
        }
    });
}

/// The stream of all values, and the number of one of them.
#[derive(Clone, Copy)]
pub(super) struct Skipped {
    rng: PhiloxRandom,
    output: u64,
}

impl Skipped {
    /// The value's stream where each value has this many blocks.
    #[inline]
    pub(super) fn by(self, blocks: u64) -> PhiloxRandom {
        self.rng.skipped(self.output.wrapping_mul(blocks))
    }
}

/// The doubles of a stream, two at a time and the second before the first, as TensorFlow's samplers take them.
#[derive(Default)]
pub(super) struct Backwards {
    values: [f64; 2],
    left: usize,
}

impl Backwards {
    /// The next value, of a group made of the stream's next block if none is left.
    #[inline]
    pub(super) fn next(&mut self, rng: &mut PhiloxRandom, group: impl Fn([u32; 4]) -> [f64; 2]) -> f64 {
        if self.left == 0 {
            self.values = group(rng.next_block());
            self.left = 2;
        }
        self.left -= 1;
        self.values[self.left]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::pool::{Pool, enter};

    #[test]
    fn pieces_give_the_whole() {
        for (parameters, length) in [(1, 5000), (3, 9 * SAMPLES_PER_PIECE), (7000, 7000), (5, 0)] {
            let values = |threads| {
                let pool = Pool::new(threads);
                let _entered = enter(&pool);
                let mut out = vec![(0, [0; 4]); length];
                let sample = |&i: &usize, rng: Skipped| (i, rng.by(2).next_block());
                per_output(PhiloxRandom::new(1, 2), parameters, &mut out, |i| i, sample);
                out
            };
            let whole = values(1);
            assert!(values(3) == whole);
            for (place, &(i, block)) in whole.iter().enumerate() {
                let output = i * (length / parameters) + place / parameters;
                assert_eq!(i, place % parameters);
                assert_eq!(block, PhiloxRandom::new(1, 2).skipped(2 * output as u64).next_block());
            }
        }
    }
}
