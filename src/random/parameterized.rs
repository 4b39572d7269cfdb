//! Normal distributions truncated to given bounds.

use super::shard::block_size;
use super::{PhiloxRandom, RandomFloat};
use crate::error::{Result, bail};

/// Rejections in a row after which sampling fails.
const MAX_ITERATIONS: u64 = 1000;

/// The parameters of a truncated normal distribution.
#[derive(Clone, Copy, Debug)]
pub struct TruncatedNormalBounds<T> {
    /// The mean before truncation.
    pub mean: T,
    /// The standard deviation before truncation, above 0.
    pub stddev: T,
    /// The lower bound.
    pub minval: T,
    /// The upper bound, above the lower one. One of the two has to be finite.
    pub maxval: T,
}

/// Fills a slice with samples of truncated normal distributions, `samples` of each batch after those of the batch
/// before (TensorFlow's `ParameterizedTruncatedNormal`). The last batch may be short. Up to `batches * 2000 *
/// (samples + 3) / 4` blocks of the stream are used.
///
/// The method is Robert's ("Simulation of truncated normal variables", 1995): rejection from a normal, uniform or
/// exponential distribution. As TensorFlow's, the values depend on how many threads TensorFlow would use, when the
/// work is large enough for more than one.
///
/// # Errors
/// `InvalidArgument` for bounds that are not as said at [`TruncatedNormalBounds`]; `Internal` if no sample was
/// accepted in a thousand trials.
pub fn parameterized_truncated_normal<T: RandomFloat>(
    rng: PhiloxRandom,
    bounds: impl Fn(usize) -> TruncatedNormalBounds<T>,
    samples: usize,
    threads: usize,
    out: &mut [T],
) -> Result<()> {
    if samples == 0 || out.is_empty() {
        return Ok(());
    }
    let (initial, round) = costs::<T>();
    let cost = initial + round * 2.0 * samples as f64;
    let block = block_size(out.len().div_ceil(samples), cost, threads);
    let mut stream = rng;
    for (batch, values) in out.chunks_mut(samples).enumerate() {
        if batch % block == 0 {
            let before = (batch as u64 * 2 * MAX_ITERATIONS).wrapping_mul(samples as u64 + 3) / 4;
            stream = rng.skipped(before);
        }
        Sampler::new(bounds(batch))?.fill(&mut stream, values.iter_mut())?;
    }
    Ok(())
}

/// Fills a `[samples, batches]` array in row-major order with samples of truncated normal distributions, one for each
/// batch (TensorFlow's `StatelessParameterizedTruncatedNormal`). The rest is as for [`parameterized_truncated_normal`].
///
/// # Errors
/// As [`parameterized_truncated_normal`].
pub fn stateless_parameterized_truncated_normal<T: RandomFloat>(
    rng: PhiloxRandom,
    bounds: impl Fn(usize) -> TruncatedNormalBounds<T>,
    batches: usize,
    threads: usize,
    out: &mut [T],
) -> Result<()> {
    if batches == 0 || out.is_empty() {
        return Ok(());
    }
    let samples = out.len() / batches;
    let (initial, round) = costs::<T>();
    let block = block_size(out.len(), initial + round * 2.0, threads);
    let mut start = 0;
    while start < out.len() {
        let limit = out.len().min(start + block);
        let group = T::GROUP as u64;
        let mut stream = rng.skipped((start as u64 * 2 * MAX_ITERATIONS).div_ceil(group));
        let mut output = start;
        while output < limit {
            let (batch, first) = (output / samples, output % samples);
            let last = samples.min(first + limit - output);
            let values = out.iter_mut().skip(batch + first * batches).step_by(batches).take(last - first);
            Sampler::new(bounds(batch))?.fill(&mut stream, values)?;
            output += last - first;
        }
        start = limit;
    }
    Ok(())
}

/// The cycles that TensorFlow takes a batch, and a round of rejection sampling, to cost.
fn costs<T>() -> (f64, f64) {
    let (sqrt, exp) = match size_of::<T>() {
        2 => (8.0, 43.0),
        4 => (8.0, 34.0),
        _ => (28.0, 51.0),
    };
    (11.0 + sqrt + exp, 33.0 + exp)
}

/// Samples of one distribution, computed in the precision of their type.
struct Sampler<T> {
    mean: T,
    /// Negative where the distribution is reversed.
    stddev: T,
    /// The bounds as numbers of standard deviations from the mean.
    low: T,
    high: T,
}

impl<T: RandomFloat> Sampler<T> {
    fn new(bounds: TruncatedNormalBounds<T>) -> Result<Sampler<T>> {
        let TruncatedNormalBounds { mean, mut stddev, mut minval, mut maxval } = bounds;
        if !(stddev > T::zero() && minval < maxval && (minval.is_finite() || maxval.is_finite())) {
            bail!(
                InvalidArgument,
                "Invalid parameters: expected stddev > 0 and minval < maxval, one of them finite, got stddev {}, \
                 minval {}, maxval {}",
                wide(stddev),
                wide(minval),
                wide(maxval)
            );
        }
        // A single bound becomes the lower one, and two bounds below the mean become bounds above it.
        if (minval.is_infinite() && minval < T::zero()) || maxval < mean {
            std::mem::swap(&mut minval, &mut maxval);
            stddev = -stddev;
        }
        Ok(Sampler { mean, stddev, low: (minval - mean) / stddev, high: (maxval - mean) / stddev })
    }

    fn fill<'a>(&self, stream: &mut PhiloxRandom, values: impl Iterator<Item = &'a mut T>) -> Result<()> {
        let &Sampler { low, high, .. } = self;
        let [zero, half, two, four, inside] = [0.0, 0.5, 2.0, 4.0, 1.3].map(T::from_f64);
        let root = (low * low + four).sqrt();
        let cutoff = two * (half + (low * (low - root)) / four).exp() / (low + root);
        let range = high - low;
        if (low < -inside && high >= zero) || (high > inside && low <= zero) {
            return self.reject(values, MAX_ITERATIONS, || {
                trials(T::normal(stream.next_block()).as_ref().iter().map(|&z| (z, z >= low && z <= high)))
            });
        }
        if range < cutoff {
            let offset = if low < zero { zero } else { low * low };
            return self.reject(values, MAX_ITERATIONS - 1, || {
                let positions = T::uniform(stream.next_block());
                let heights = T::uniform(stream.next_block());
                trials(positions.as_ref().iter().zip(heights.as_ref()).map(|(&u, &height)| {
                    let z = u * range + low;
                    (z, height <= ((offset - z * z) / two).exp())
                }))
            });
        }
        let alpha = (low + root) / two;
        self.reject(values, MAX_ITERATIONS - 1, || {
            trials(T::uniform(stream.next_block()).as_ref().chunks_exact(2).map(|pair| {
                let z = -pair[0].ln() / alpha + low;
                let x = if low < alpha { alpha - z } else { low - alpha };
                (z, pair[1] <= (-x * x / two).exp() && z < high)
            }))
        })
    }

    /// Writes the accepted ones of trials, which come in groups; what is left of the last group is dropped.
    fn reject<'a>(
        &self,
        mut values: impl Iterator<Item = &'a mut T>,
        limit: u64,
        mut group: impl FnMut() -> [Option<(T, bool)>; 4],
    ) -> Result<()> {
        let mut next = values.next();
        let mut rejections = 0;
        while next.is_some() {
            for (z, accepted) in group().into_iter().flatten() {
                let Some(value) = &mut next else { break };
                if accepted {
                    **value = z * self.stddev + self.mean;
                    next = values.next();
                    rejections = 0;
                } else {
                    rejections += 1;
                    if rejections > limit {
                        bail!(Internal, "TruncatedNormal rejection sampler failed to accept a sample in {limit} trials");
                    }
                }
            }
        }
        Ok(())
    }
}

fn trials<T: Copy>(trials: impl Iterator<Item = (T, bool)>) -> [Option<(T, bool)>; 4] {
    let mut group = [None; 4];
    for (slot, trial) in group.iter_mut().zip(trials) {
        *slot = Some(trial);
    }
    group
}

fn wide<T: RandomFloat>(value: T) -> f64 {
    value.to_f64().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    #[test]
    fn failures() {
        let infinite = f32::INFINITY;
        for (mean, stddev, minval, maxval, code) in [
            (0.0, 0.0, -1.0, 1.0, Code::InvalidArgument),
            (0.0, f32::NAN, -1.0, 1.0, Code::InvalidArgument),
            (0.0, 1.0, 1.0, 1.0, Code::InvalidArgument),
            (0.0, 1.0, -infinite, infinite, Code::InvalidArgument),
            (f32::NAN, 1.0, -1.0, 1.0, Code::Internal),
        ] {
            let bounds = |_| TruncatedNormalBounds { mean, stddev, minval, maxval };
            let rng = PhiloxRandom::new(1, 2);
            let error = parameterized_truncated_normal(rng, bounds, 2, 1, &mut [0.0; 3]).unwrap_err();
            assert_eq!(error.code(), code);
            let error = stateless_parameterized_truncated_normal(rng, bounds, 2, 1, &mut [0.0; 4]).unwrap_err();
            assert_eq!(error.code(), code);
        }
    }
}
