//! A stream taken word by word.

use super::PhiloxRandom;
use super::element::{uniform_f32, uniform_f64};
use super::philox::join;

/// A [`PhiloxRandom`] that gives its words one at a time (TensorFlow's `SingleSampleAdapter` and `SimplePhilox`).
#[derive(Clone, Debug)]
pub struct SimplePhilox {
    rng: PhiloxRandom,
    block: [u32; 4],
    used: usize,
}

impl SimplePhilox {
    /// The words of the stream, from its next block on.
    pub fn new(rng: PhiloxRandom) -> SimplePhilox {
        SimplePhilox { rng, block: [0; 4], used: 4 }
    }

    /// 32 random bits.
    #[inline]
    pub fn rand32(&mut self) -> u32 {
        if self.used == 4 {
            self.block = self.rng.next_block();
            self.used = 0;
        }
        self.used += 1;
        self.block[self.used - 1]
    }

    /// 64 random bits, the lower half first.
    #[inline]
    pub fn rand64(&mut self) -> u64 {
        let low = self.rand32();
        join(low, self.rand32())
    }

    /// A uniform number in [0, 1).
    pub fn rand_float(&mut self) -> f32 {
        uniform_f32(self.rand32())
    }

    /// A uniform number in [0, 1).
    pub fn rand_double(&mut self) -> f64 {
        let high = self.rand32();
        uniform_f64(high, self.rand32())
    }

    /// A uniform integer in [0, n), by rejection; 0 if `n` is 0.
    pub fn uniform(&mut self, n: u32) -> u32 {
        exact_uniform(n.into(), u32::MAX.into(), || self.rand32().into()) as u32
    }

    /// A uniform integer in [0, n), by rejection; 0 if `n` is 0.
    pub fn uniform64(&mut self, n: u64) -> u64 {
        exact_uniform(n, u64::MAX, || self.rand64())
    }
}

/// Takes random numbers in [0, max] until one is outside the part that would favour small results.
fn exact_uniform(n: u64, max: u64, mut random: impl FnMut() -> u64) -> u64 {
    if n == 0 {
        random();
        return 0;
    }
    if n.is_power_of_two() {
        return random() & (n - 1);
    }
    let rejected = max % n + 1;
    loop {
        let value = random();
        if value >= rejected {
            return value % n;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_follow_the_blocks() {
        let mut blocks = PhiloxRandom::new(1, 2);
        let mut words = SimplePhilox::new(blocks);
        for _ in 0..3 {
            for word in blocks.next_block() {
                assert_eq!(words.rand32(), word);
            }
        }
    }

    #[test]
    fn bounded_integers() {
        let mut words = [3u64, 0, 1, 2, 7].into_iter();
        let mut draw = |n| exact_uniform(n, 7, || words.next().unwrap());
        // 8 % 6 = 2 values are rejected, and none where n divides 8.
        assert_eq!([draw(0), draw(4), draw(6)], [0, 0, 2]);
        assert_eq!(draw(6), 1);
    }
}
