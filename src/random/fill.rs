//! Filling slices.

use super::{Distribution, PhiloxRandom};
use crate::compute::pool::parallel_pieces;

/// The fewest groups that are worth a thread's while.
const GROUPS_PER_PIECE: usize = 4096;

/// Fills a slice with values of a distribution, in parallel if it is long. The values don't depend on that.
pub fn fill<D: Distribution>(distribution: D, rng: PhiloxRandom, out: &mut [D::Output]) {
    parallel_pieces(out, D::GROUP, GROUPS_PER_PIECE, |group, values| distribution.fill_groups(rng, group as u64, values));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::pool::{Pool, enter};
    use crate::random::{Normal, TruncatedNormal, Uniform, UniformFullInt, UniformInt};

    fn check<D: Distribution<Output: PartialEq + Default + std::fmt::Debug>>(distribution: D) {
        let rng = PhiloxRandom::new(3, 4);
        let length = 3 * GROUPS_PER_PIECE * D::GROUP + 7;
        let mut expected = vec![D::Output::default(); length];
        distribution.fill_groups(rng, 0, &mut expected);
        let pool = Pool::new(3);
        let _entered = enter(&pool);
        let mut values = vec![D::Output::default(); length];
        fill(distribution, rng, &mut values);
        assert!(values == expected);
        // A shorter slice is a prefix, whatever its length modulo the group.
        for shorter in [0, 1, 2, 3, 5, 63] {
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
        check(Uniform::<f32>::default());
        check(Normal::<f64>::default());
        check(TruncatedNormal::<f32>::default());
        check(TruncatedNormal::<f64>::default());
        check(Uniform::<half::bf16>::default());
        check(UniformFullInt::<u64>::default());
        check(UniformInt::<i32>::new(-7, 9).unwrap());
    }
}
