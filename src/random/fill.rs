//! Filling slices, on one thread or several.

use super::{Distribution, PhiloxRandom};

/// A thread is worth its start from this many values on.
const VALUES_PER_THREAD: usize = 1 << 16;

/// Fills a slice with values of a distribution.
pub fn fill<D: Distribution>(distribution: D, rng: PhiloxRandom, out: &mut [D::Output]) {
    distribution.fill_groups(rng, 0, out);
}

/// Fills a slice with the same values as [`fill`], on at most `threads` threads.
pub fn fill_parallel<D: Distribution>(distribution: D, rng: PhiloxRandom, out: &mut [D::Output], threads: usize) {
    let parts = threads.min(out.len() / VALUES_PER_THREAD);
    if parts <= 1 {
        return fill(distribution, rng, out);
    }
    let groups = out.len().div_ceil(D::GROUP).div_ceil(parts);
    std::thread::scope(|scope| {
        let mut parts = out.chunks_mut(groups * D::GROUP).enumerate();
        let own = parts.next();
        for (part, values) in parts {
            scope.spawn(move || distribution.fill_groups(rng, (part * groups) as u64, values));
        }
        if let Some((_, values)) = own {
            distribution.fill_groups(rng, 0, values);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Normal, TruncatedNormal, Uniform, UniformFullInt, UniformInt};

    fn check<D: Distribution<Output: PartialEq + Default + std::fmt::Debug>>(distribution: D, length: usize) {
        let rng = PhiloxRandom::new(3, 4);
        let mut expected = vec![D::Output::default(); length];
        fill(distribution, rng, &mut expected);
        for threads in [1, 2, 3] {
            let mut values = vec![D::Output::default(); length];
            fill_parallel(distribution, rng, &mut values, threads);
            assert!(values == expected);
        }
        // A shorter slice is a prefix, whatever its length modulo the group and the lanes.
        for shorter in [0, 1, 2, 3, 5, 63, 65, 127, 130] {
            let mut values = vec![D::Output::default(); shorter];
            fill(distribution, rng, &mut values);
            assert_eq!(values, expected[..shorter]);
        }
        // A later group is where it was in the whole.
        let mut values = vec![D::Output::default(); 77];
        distribution.fill_groups(rng, 9, &mut values);
        assert_eq!(values, expected[9 * D::GROUP..][..77]);
    }

    #[test]
    fn any_division_gives_the_same() {
        let length = 3 * VALUES_PER_THREAD + 7;
        check(Uniform::<f32>::default(), length);
        check(Normal::<f64>::default(), length);
        check(TruncatedNormal::<f32>::default(), length);
        check(TruncatedNormal::<f64>::default(), length);
        check(Uniform::<half::bf16>::default(), length);
        check(UniformFullInt::<u64>::default(), length);
        check(UniformInt::<i32>::new(-7, 9).unwrap(), length);
    }
}
