//! Distributions whose values are independent of one another: uniform and normal ones.

use super::{PhiloxRandom, RandomFloat, RandomInt, SimplePhilox};
use crate::error::{Result, bail};
use std::marker::PhantomData;

/// The blocks that TensorFlow sets aside for a value that takes an unknown number of words.
const RESERVED_SAMPLES_PER_OUTPUT: usize = 256;

/// A distribution of independent values, which come in groups of [`Distribution::GROUP`]: the place of a group in the
/// stream follows from its number alone, so that parts of a slice can be filled in any order.
pub trait Distribution: Copy + Send + Sync {
    /// The values.
    type Output: Copy + Send;
    /// The number of values of a group.
    const GROUP: usize;

    /// Writes the values from group `start_group` on. The last group may be cut short.
    fn fill_groups(self, rng: PhiloxRandom, start_group: u64, out: &mut [Self::Output]);
}

macro_rules! standard {
    ($($(#[$doc:meta])* $name:ident;)*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name<T>(PhantomData<T>);

        impl<T> Default for $name<T> {
            fn default() -> $name<T> {
                $name(PhantomData)
            }
        }
    )* };
}

standard! {
    /// Uniform floats in [0, 1) (TensorFlow's `RandomUniform`).
    Uniform;
    /// Floats of the standard normal distribution (TensorFlow's `RandomStandardNormal`).
    Normal;
    /// Floats of the standard normal distribution between -2 and 2 (TensorFlow's `TruncatedNormal`).
    TruncatedNormal;
    /// Integers over the whole range of their type (TensorFlow's `StatelessRandomUniformFullInt`).
    UniformFullInt;
}

/// Integers in [minval, maxval) (TensorFlow's `RandomUniformInt`): a random word modulo the range, hence with a bias
/// towards small values if the range isn't a power of two.
#[derive(Clone, Copy, Debug)]
pub struct UniformInt<T: RandomInt> {
    minval: T,
    range: T::Unsigned,
}

impl<T: RandomInt + std::fmt::Display> UniformInt<T> {
    /// The integers from `minval` to below `maxval`.
    ///
    /// # Errors
    /// `InvalidArgument` unless `minval < maxval`.
    pub fn new(minval: T, maxval: T) -> Result<UniformInt<T>> {
        if minval >= maxval {
            bail!(InvalidArgument, "Need minval < maxval, got {minval} >= {maxval}");
        }
        Ok(UniformInt { minval, range: T::range(minval, maxval) })
    }
}

impl<T: RandomFloat> Distribution for Uniform<T> {
    type Output = T;
    const GROUP: usize = T::GROUP;

    fn fill_groups(self, rng: PhiloxRandom, start_group: u64, out: &mut [T]) {
        fill_blocks(rng.skipped(start_group), out, T::GROUP, T::uniform);
    }
}

impl<T: RandomFloat> Distribution for Normal<T> {
    type Output = T;
    const GROUP: usize = T::GROUP;

    fn fill_groups(self, rng: PhiloxRandom, start_group: u64, out: &mut [T]) {
        fill_blocks(rng.skipped(start_group), out, T::GROUP, T::normal);
    }
}

impl<T: RandomInt> Distribution for UniformFullInt<T> {
    type Output = T;
    const GROUP: usize = T::GROUP;

    fn fill_groups(self, rng: PhiloxRandom, start_group: u64, out: &mut [T]) {
        fill_blocks(rng.skipped(start_group), out, T::GROUP, T::full);
    }
}

impl<T: RandomInt> Distribution for UniformInt<T> {
    type Output = T;
    const GROUP: usize = T::GROUP;

    fn fill_groups(self, rng: PhiloxRandom, start_group: u64, out: &mut [T]) {
        fill_blocks(rng.skipped(start_group), out, T::GROUP, |block| T::bounded(block, self.minval, self.range));
    }
}

impl<T: RandomFloat> Distribution for TruncatedNormal<T> {
    type Output = T;
    const GROUP: usize = T::GROUP;

    fn fill_groups(self, rng: PhiloxRandom, start_group: u64, out: &mut [T]) {
        let blocks_per_group = (T::GROUP * RESERVED_SAMPLES_PER_OUTPUT / 4) as u64;
        for (group, values) in (start_group..).zip(out.chunks_mut(T::GROUP)) {
            let mut words = SimplePhilox::new(rng.skipped(group.wrapping_mul(blocks_per_group)));
            let mut filled = 0;
            while filled < values.len() {
                for value in T::normal_pair(&mut words) {
                    if value.abs() < 2.0 && filled < values.len() {
                        values[filled] = T::from_f64(value);
                        filled += 1;
                    }
                }
            }
        }
    }
}

/// Fills a slice with one group of `size` values per block of the stream. The compiler makes vector code of it.
fn fill_blocks<T: Copy, G: AsRef<[T]>>(rng: PhiloxRandom, out: &mut [T], size: usize, group: impl Fn([u32; 4]) -> G) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return unsafe { fill_blocks_avx2(rng, out, size, group) };
    }
    fill_blocks_with(rng, out, size, group);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn fill_blocks_avx2<T: Copy, G: AsRef<[T]>>(rng: PhiloxRandom, out: &mut [T], size: usize, group: impl Fn([u32; 4]) -> G) {
    fill_blocks_with(rng, out, size, group);
}

#[inline(always)]
fn fill_blocks_with<T: Copy, G: AsRef<[T]>>(mut rng: PhiloxRandom, out: &mut [T], size: usize, group: impl Fn([u32; 4]) -> G) {
    let mut groups = out.chunks_exact_mut(size);
    for values in &mut groups {
        values.copy_from_slice(group(rng.next_block()).as_ref());
    }
    let rest = groups.into_remainder();
    if !rest.is_empty() {
        rest.copy_from_slice(&group(rng.next_block()).as_ref()[..rest.len()]);
    }
}
