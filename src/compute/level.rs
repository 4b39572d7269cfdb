//! The instruction set that kernels use, chosen at run time.

use std::sync::OnceLock;

/// A level of vector instructions, from the least to the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What the compilation target always has.
    Plain,
    /// AVX2 and FMA: 256 bits.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F, BW, DQ and VL: 512 bits.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// Arm's Advanced SIMD: 128 bits, with fused multiply-add.
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Level {
    /// The best level of this machine. The tests of this crate may choose a lower one for a thread.
    #[inline]
    pub fn current() -> Level {
        #[cfg(test)]
        if let Some(level) = tests::CHOSEN.get() {
            return level;
        }
        static BEST: OnceLock<Level> = OnceLock::new();
        *BEST.get_or_init(|| Level::available().pop().unwrap_or(Level::Plain))
    }

    /// All levels of this machine, the best last.
    pub fn available() -> Vec<Level> {
        #[allow(unused_mut)]
        let mut levels = vec![Level::Plain];
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            levels.push(Level::Avx2);
            let avx512 = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
            if avx512 && is_x86_feature_detected!("avx512dq") && is_x86_feature_detected!("avx512vl") {
                levels.push(Level::Avx512);
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            levels.push(Level::Neon);
        }
        levels
    }
}

/// Runs a closure compiled for the best instruction set, so that its plain loops become wide vector loops.
///
/// The closure and what it calls must be `#[inline(always)]` to be compiled anew. Multiplications and additions are not
/// fused, so that every level gives the same bits.
#[inline]
pub fn vectorize<R>(body: impl FnOnce() -> R) -> R {
    match Level::current() {
        Level::Plain => body(),
        // SAFETY: the level is only given where the machine has its features.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { vectorize_avx2(body) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { vectorize_avx512(body) },
        #[cfg(target_arch = "aarch64")]
        Level::Neon => body(),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn vectorize_avx2<R>(body: impl FnOnce() -> R) -> R {
    body()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn vectorize_avx512<R>(body: impl FnOnce() -> R) -> R {
    body()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::compute::pool::{Pool, enter};
    use std::cell::Cell;

    thread_local! {
        pub static CHOSEN: Cell<Option<Level>> = const { Cell::new(None) };
    }

    /// Runs a test at each level of this machine, on this thread alone, then once more with two threads.
    pub fn at_every_level(test: impl Fn()) {
        let alone = Pool::new(1);
        for level in Level::available() {
            let _entered = enter(&alone);
            CHOSEN.set(Some(level));
            test();
            CHOSEN.set(None);
        }
        let two = Pool::new(2);
        let _entered = enter(&two);
        test();
    }

    #[test]
    fn the_current_level_is_the_best() {
        assert_eq!(Some(&Level::current()), Level::available().last());
        assert_eq!(vectorize(|| 1 + 1), 2);
    }
}
