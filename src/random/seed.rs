//! The rule that gives a random op its two seeds.

/// The graph-level seed of an op that has a seed of its own in a graph that has none.
pub const DEFAULT_GRAPH_SEED: i64 = 87654321;

const MAX_INT32: i64 = i32::MAX as i64;

/// The attributes `seed` and `seed2` of a new random op, as `tf.get_seed` chooses them.
///
/// - Graph and op seed: both.
/// - Graph seed only: the op seed is `next_op_seed()`, the number of ops of this graph that were seeded in this way
///   before, counted from 0.
/// - Op seed only: [`DEFAULT_GRAPH_SEED`] and the op seed.
/// - Neither: `(0, 0)`, which makes the op draw its seeds from the operating system.
///
/// Seeds are taken modulo 2³¹ - 1; a pair that comes out as `(0, 0)` becomes `(0, 2³¹ - 1)`, since `(0, 0)` would
/// mean no seed.
///
/// ```
/// use metagraph::random::get_seed;
/// assert_eq!(get_seed(None, None, || 0), (0, 0));
/// assert_eq!(get_seed(None, Some(5), || 0), (87654321, 5));
/// assert_eq!(get_seed(Some(7), None, || 2), (7, 2));
/// assert_eq!(get_seed(Some(0), Some(0), || 0), (0, 2147483647));
/// ```
pub fn get_seed(graph_seed: Option<i64>, op_seed: Option<i64>, next_op_seed: impl FnOnce() -> i64) -> (i64, i64) {
    let (seed, seed2) = match (graph_seed, op_seed) {
        (None, None) => return (0, 0),
        (None, Some(op)) => (DEFAULT_GRAPH_SEED, op),
        (Some(graph), op) => (graph, op.unwrap_or_else(next_op_seed)),
    };
    match (seed.rem_euclid(MAX_INT32), seed2.rem_euclid(MAX_INT32)) {
        (0, 0) => (0, MAX_INT32),
        seeds => seeds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `tf.get_seed` of TensorFlow 2.15.
    #[test]
    fn as_tensorflow() {
        for (graph, op, seeds) in [
            (None, Some(-1), (87654321, 2147483646)),
            (Some(1), Some(2147483647), (1, 0)),
            (Some(2147483647), Some(0), (0, 2147483647)),
            (Some(2147483648), Some(1 << 40), (1, 512)),
            (Some(-3), None, (2147483644, 9)),
        ] {
            assert_eq!(get_seed(graph, op, || 9), seeds);
        }
    }
}
