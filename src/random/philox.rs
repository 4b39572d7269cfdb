//! Philox4x32-10, the counter-based generator of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011).

/// The rounds of Philox4x32-10.
const ROUNDS: u32 = 10;
const MULTIPLIERS: [u64; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// A stream of 128-bit blocks, addressed by a 128-bit counter under a 64-bit key. Copying it forks the stream.
///
/// ```
/// use metagraph::random::PhiloxRandom;
/// let mut rng = PhiloxRandom::new(0, 0);
/// assert_eq!(rng.next_block(), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhiloxRandom {
    counter: u128,
    key: u64,
}

impl PhiloxRandom {
    /// The stream of the two seeds of a TensorFlow op: `seed` is the key, `seed2` the upper half of the counter.
    pub fn new(seed: u64, seed2: u64) -> PhiloxRandom {
        PhiloxRandom { counter: u128::from(seed2) << 64, key: seed }
    }

    /// The stream at a counter, lower half first, under a key: the `counter` and `key` inputs of TensorFlow's ops.
    pub fn from_counter_key(counter: [u64; 2], key: u64) -> PhiloxRandom {
        PhiloxRandom { counter: u128::from(counter[0]) | u128::from(counter[1]) << 64, key }
    }

    /// The stream of the seed pair of a stateless op. The pair is scrambled by one block under a fixed key, so that
    /// no part of it has to be strong.
    pub fn from_stateless_seed(seed: [u64; 2]) -> PhiloxRandom {
        let mut mixer = PhiloxRandom::from_counter_key(seed, 0x0246_1E29_3EC8_F720);
        let [key_low, key_high, low, high] = mixer.next_block();
        PhiloxRandom::new(join(key_low, key_high), join(low, high))
    }

    /// The counter, lower half first.
    pub fn counter(&self) -> [u64; 2] {
        [self.counter as u64, (self.counter >> 64) as u64]
    }

    /// The key.
    pub fn key(&self) -> u64 {
        self.key
    }

    /// Skips `count` blocks of four 32-bit words.
    pub fn skip(&mut self, count: u64) {
        self.counter = self.counter.wrapping_add(u128::from(count));
    }

    /// The stream `count` blocks on.
    #[must_use]
    pub fn skipped(mut self, count: u64) -> PhiloxRandom {
        self.skip(count);
        self
    }

    /// The next four 32-bit words.
    #[inline(always)]
    pub fn next_block(&mut self) -> [u32; 4] {
        let mut block = [0, 32, 64, 96].map(|shift| (self.counter >> shift) as u32);
        let mut key = [self.key as u32, (self.key >> 32) as u32];
        self.skip(1);
        for _ in 0..ROUNDS {
            let first = u64::from(block[0]) * MULTIPLIERS[0];
            let second = u64::from(block[2]) * MULTIPLIERS[1];
            block = [
                (second >> 32) as u32 ^ block[1] ^ key[0],
                second as u32,
                (first >> 32) as u32 ^ block[3] ^ key[1],
                first as u32,
            ];
            key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
        }
        block
    }
}

/// A 64-bit word of two 32-bit ones, the lower first.
#[inline(always)]
pub(crate) fn join(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers of the authors' Random123 distribution.
    #[test]
    fn known_answers() {
        let rows: [([u64; 2], u64, [u32; 4]); 3] = [
            ([0, 0], 0, [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]),
            ([u64::MAX; 2], u64::MAX, [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]),
            ([0x85a308d3_243f6a88, 0x03707344_13198a2e], 0x299f31d0_a4093822, [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]),
        ];
        for (counter, key, words) in rows {
            assert_eq!(PhiloxRandom::from_counter_key(counter, key).next_block(), words);
        }
    }

    #[test]
    fn skips_carry() {
        let start = PhiloxRandom::from_counter_key([u64::MAX - 3, u64::MAX], 7);
        let mut rng = start;
        for n in 0..8 {
            assert_eq!(start.skipped(n), rng);
            rng.next_block();
        }
        assert_eq!(rng.counter(), [4, 0]);
    }

    /// `StatelessRandomGetKeyCounter` of TensorFlow 2.15.
    #[test]
    fn stateless_seeds() {
        for (seed, key, counter) in [
            ([0, 0], 0xdf7a3ef6dd5b9083u64, 0xff2f51a833da8054u64),
            ([1, 2], 0x908502c96d2f7fba, 0xf7734320619cb60b),
            ([-5i64 as u64, 1 << 40], 0xa27eb443b7fc6227, 0x85be81e9b5b9630e),
        ] {
            let rng = PhiloxRandom::from_stateless_seed(seed);
            assert_eq!((rng.key(), rng.counter()), (key, [0, counter]));
        }
    }
}
