//! TensorFlow's division of work among threads.

/// Cycles that starting to work in parallel costs, and that a further thread is worth.
const STARTUP_CYCLES: f64 = 100_000.0;
const PER_THREAD_CYCLES: f64 = 100_000.0;
/// Cycles of a block of work that is neither too small nor too large.
const TASK_CYCLES: f64 = 40_000.0;
/// Blocks per thread, at most.
const MAX_OVERSHARDING: usize = 4;

/// The size of the blocks into which TensorFlow divides `total` units of `cost` cycles each on so many threads (Eigen's
/// `ThreadPoolDevice::parallelFor`). Some samplers go on in the random stream through a block and jump at its start,
/// so that their values depend on it.
pub(super) fn block_size(total: usize, cost: f64, threads: usize) -> usize {
    let used = (total as f64 * cost - STARTUP_CYCLES) / PER_THREAD_CYCLES + 0.9;
    if total <= 1 || threads <= 1 || used < 2.0 {
        return total.max(1);
    }
    let efficiency = |blocks: usize| blocks as f64 / (blocks.div_ceil(threads) * threads) as f64;
    let mut size = total.min(total.div_ceil(MAX_OVERSHARDING * threads).max((TASK_CYCLES / cost) as usize));
    let largest = total.min(2 * size);
    let mut blocks = total.div_ceil(size);
    let mut best = efficiency(blocks);
    while best < 1.0 && blocks > 1 {
        let coarser = total.div_ceil(blocks - 1);
        if coarser > largest {
            break;
        }
        blocks = total.div_ceil(coarser);
        let coarser_efficiency = efficiency(blocks);
        if coarser_efficiency + 0.01 >= best {
            size = coarser;
            best = best.max(coarser_efficiency);
        }
    }
    size
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks() {
        for (total, cost, threads, size) in [
            (0, 1e9, 4, 1),
            (1000, 1e9, 1, 1000),
            (10, 20_000.0, 2, 10),
            (10, 22_000.0, 2, 3),
            (1000, 1e6, 2, 125),
            (9, 1e6, 2, 2),
            (1_000_000, 100.0, 4, 62_500),
        ] {
            assert_eq!(block_size(total, cost, threads), size, "{total} {cost} {threads}");
        }
    }
}
