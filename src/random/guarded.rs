//! The state of a random op.

use super::PhiloxRandom;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

/// A stream from which executions of an op reserve parts, one after the other. Any thread may reserve.
#[derive(Debug)]
pub struct GuardedPhiloxRandom(Mutex<PhiloxRandom>);

impl GuardedPhiloxRandom {
    /// The generator of an op with the attributes `seed` and `seed2`. If both are 0 the operating system gives the
    /// seeds.
    pub fn new(seed: i64, seed2: i64) -> GuardedPhiloxRandom {
        if seed == 0 && seed2 == 0 {
            return PhiloxRandom::new(random_u64(), random_u64()).into();
        }
        PhiloxRandom::new(seed as u64, seed2 as u64).into()
    }

    /// Reserves blocks of 128 bits: gives the stream where it stands, and moves on past them.
    pub fn reserve_samples128(&self, samples: u64) -> PhiloxRandom {
        let mut generator = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let reserved = *generator;
        generator.skip(samples);
        reserved
    }

    /// Reserves words of 32 bits, rounded up to whole blocks.
    pub fn reserve_samples32(&self, samples: u64) -> PhiloxRandom {
        self.reserve_samples128(samples.div_ceil(4))
    }

    /// Reserves `multiplier` blocks for each of `count` values. TensorFlow's ops take a multiplier of 256.
    pub fn reserve_random_outputs(&self, count: u64, multiplier: u64) -> PhiloxRandom {
        self.reserve_samples128(count.wrapping_mul(multiplier))
    }
}

impl From<PhiloxRandom> for GuardedPhiloxRandom {
    fn from(generator: PhiloxRandom) -> GuardedPhiloxRandom {
        GuardedPhiloxRandom(Mutex::new(generator))
    }
}

/// 64 bits that nobody can foresee. The keys of the standard hasher come from the operating system.
pub(crate) fn random_u64() -> u64 {
    RandomState::new().hash_one(0u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserves_move_on() {
        let generator = GuardedPhiloxRandom::new(5, -1);
        let start = PhiloxRandom::new(5, u64::MAX);
        assert_eq!(generator.reserve_random_outputs(3, 256), start);
        assert_eq!(generator.reserve_samples32(5), start.skipped(768));
        assert_eq!(generator.reserve_samples128(1), start.skipped(770));
    }

    #[test]
    fn no_seed_is_a_new_stream() {
        let streams: Vec<_> = (0..4).map(|_| GuardedPhiloxRandom::new(0, 0).reserve_samples128(0)).collect();
        for (i, stream) in streams.iter().enumerate() {
            assert!(!streams[..i].contains(stream));
        }
    }
}
