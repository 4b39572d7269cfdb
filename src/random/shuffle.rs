//! Shuffles.

use super::{PhiloxRandom, SimplePhilox};

/// Shuffles a slice as TensorFlow's `RandomShuffle` does. It takes one word of the stream fewer than there are values.
pub fn shuffle<T>(rng: PhiloxRandom, values: &mut [T]) {
    let mut words = SimplePhilox::new(rng);
    for i in 0..values.len().saturating_sub(1) {
        let left = (values.len() - i) as u32;
        values.swap(i, i + words.rand32().checked_rem(left).unwrap_or(0) as usize);
    }
}

/// The order in which [`shuffle`] puts `size` values: where the value at each place comes from.
pub fn permutation(rng: PhiloxRandom, size: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..size).collect();
    shuffle(rng, &mut order);
    order
}
