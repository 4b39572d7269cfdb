//! Samples of which each has a parameter and a part of the stream of its own.

use super::PhiloxRandom;

/// Calls `sample(parameter, rng)` for the values of a `[samples, parameters]` array, and writes what it returns.
///
/// `out` holds the array's values from flat position `start` on. `parameter(i)` is called once for each parameter
/// that occurs. A value's part of the stream follows from its place, counted parameter by parameter.
pub(super) fn per_output<P, T>(
    rng: PhiloxRandom,
    (samples, parameters): (usize, usize),
    start: usize,
    out: &mut [T],
    parameter: impl Fn(usize) -> P,
    sample: impl Fn(&P, Skipped) -> T,
) {
    let phase = start.checked_rem(parameters).unwrap_or(0);
    for i in 0..parameters {
        let first = (i + parameters - phase) % parameters;
        if first >= out.len() {
            continue;
        }
        let value = parameter(i);
        for (position, out) in out.iter_mut().enumerate().skip(first).step_by(parameters) {
            let output = i * samples + (start + position) / parameters;
            *out = sample(&value, Skipped { rng, output: output as u64 });
        }
    }
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
