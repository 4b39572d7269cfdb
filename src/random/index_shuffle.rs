//! Pseudorandom permutations that are not stored.

/// The least number of bits that are permuted.
const MIN_BLOCK_BITS: u32 = 16;

/// The place of `index` in the permutation of `0..=max_index` that `key` chooses (TensorFlow's `RandomIndexShuffle`):
/// the block cipher Simon (Beaulieu et al., 2013), walked until it gives a place in the range.
///
/// `rounds` should be even and at least 4; any other number counts as the next such one.
pub fn index_shuffle(index: u64, key: [u32; 3], max_index: u64, rounds: u32) -> u64 {
    if max_index == 0 {
        return 0;
    }
    let bits = (max_index as f64).log2().ceil() as u32;
    let word = (bits.div_ceil(2) * 2).clamp(MIN_BLOCK_BITS, 64) / 2;
    let cipher = Simon::new(word, key, rounds);
    let mut place = cipher.encrypt(index);
    let first = place;
    while place > max_index {
        place = cipher.encrypt(place);
        // Only an index outside of the range can be on a cycle that never enters it.
        if place == first {
            return index;
        }
    }
    place
}

/// The cipher for words of 8 to 32 bits.
struct Simon {
    bits: u32,
    keys: Vec<u64>,
}

impl Simon {
    fn new(bits: u32, key: [u32; 3], rounds: u32) -> Simon {
        let mut simon = Simon { bits, keys: Vec::new() };
        simon.keys = key.iter().map(|&k| simon.truncate(k.into())).collect();
        let mut constant = simon.truncate(0x7369_f885_192c_0ef5);
        for i in 3..rounds.next_multiple_of(2).max(4) as usize {
            let before = simon.keys[i - 1];
            let rotated = simon.rotate_right(before, 3) ^ simon.rotate_right(before, 4);
            let next = simon.truncate(0xffff_fffc) ^ constant & 1 ^ simon.keys[i - 3] ^ rotated;
            simon.keys.push(next);
            constant >>= 1;
        }
        simon
    }

    fn encrypt(&self, value: u64) -> u64 {
        let mut left = self.truncate(value >> self.bits);
        let mut right = self.truncate(value);
        for keys in self.keys.chunks_exact(2) {
            left ^= self.mix(right) ^ keys[0];
            right ^= self.mix(left) ^ keys[1];
        }
        left << self.bits | right
    }

    fn mix(&self, x: u64) -> u64 {
        self.rotate_left(x, 1) & self.rotate_left(x, 8) ^ self.rotate_left(x, 2)
    }

    fn truncate(&self, x: u64) -> u64 {
        x & ((1 << self.bits) - 1)
    }

    fn rotate_left(&self, x: u64, by: u32) -> u64 {
        self.truncate(x << by) | x >> (self.bits - by)
    }

    fn rotate_right(&self, x: u64, by: u32) -> u64 {
        self.rotate_left(x, self.bits - by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_once() {
        for largest in [1, 6, 999] {
            let mut places: Vec<u64> = (0..=largest).map(|i| index_shuffle(i, [1, 2, 3], largest, 4)).collect();
            places.sort_unstable();
            assert!(places.into_iter().eq(0..=largest));
        }
        assert_eq!(index_shuffle(0, [1, 2, 3], 0, 4), 0);
    }
}
