//! The conversions from random words to values of each type.

use super::SimplePhilox;
use super::philox::join;
use half::{bf16, f16};
use num_traits::Float;
use std::f64::consts::PI;

/// Random numbers below this are raised to it before a logarithm is taken.
const SMALLEST: f64 = 1.0e-7;

/// A uniform number in [0, 1) of 23 random bits.
#[inline(always)]
pub(crate) fn uniform_f32(word: u32) -> f32 {
    f32::from_bits(0x3f80_0000 | word & 0x007f_ffff) - 1.0
}

/// A uniform number in [0, 1) of 10 random bits.
#[inline(always)]
fn uniform_f16(word: u32) -> f16 {
    // A float of so few bits is a normal half, or 0: its exponent is rebased, and the end of its mantissa is empty.
    let bits = ((word & 0x03ff) as f32 / 1024.0).to_bits();
    f16::from_bits((bits.saturating_sub(112 << 23) >> 13) as u16)
}

/// A uniform number in [0, 1) of 7 random bits.
#[inline(always)]
fn uniform_bf16(word: u32) -> bf16 {
    bf16::from_bits((((word & 0x007f) as f32 / 128.0).to_bits() >> 16) as u16)
}

/// A uniform number in [0, 1) of 52 random bits, 20 of them of the first word.
#[inline(always)]
pub(crate) fn uniform_f64(high: u32, low: u32) -> f64 {
    f64::from_bits(0x3ff0_0000_0000_0000 | join(low, high & 0x000f_ffff)) - 1.0
}

/// Two normal numbers by the Box-Muller transform, with single precision throughout.
#[inline(always)]
pub(crate) fn box_muller_f32(first: u32, second: u32) -> [f32; 2] {
    let radius = (-2.0 * uniform_f32(first).max(SMALLEST as f32).ln()).sqrt();
    let angle = (2.0 * PI * f64::from(uniform_f32(second))) as f32;
    let (sin, cos) = angle.sin_cos();
    [sin * radius, cos * radius]
}

/// Two normal numbers by the Box-Muller transform.
#[inline(always)]
pub(crate) fn box_muller_f64(words: [u32; 4]) -> [f64; 2] {
    let radius = (-2.0 * uniform_f64(words[0], words[1]).max(SMALLEST).ln()).sqrt();
    let (sin, cos) = (2.0 * PI * uniform_f64(words[2], words[3])).sin_cos();
    [sin * radius, cos * radius]
}

/// A float type that TensorFlow draws random values of.
pub trait RandomFloat: Float + Send + Sync + 'static {
    /// The values that come of one block: four, of doubles two.
    type Group: AsRef<[Self]> + Copy;
    /// The number of values of a group.
    const GROUP: usize;

    /// Uniform values in [0, 1).
    fn uniform(block: [u32; 4]) -> Self::Group;
    /// Standard normal values.
    fn normal(block: [u32; 4]) -> Self::Group;
    /// Two standard normal values in the precision in which they are computed.
    fn normal_pair(words: &mut SimplePhilox) -> [f64; 2];
    /// The value nearest to a double; of half and bfloat16, the one nearest to the float nearest to it. Subnormal
    /// floats and doubles become 0.
    fn from_f64(value: f64) -> Self;
}

macro_rules! narrow {
    ($($type:ident, $uniform:ident;)*) => { $(
        impl RandomFloat for $type {
            type Group = [$type; 4];
            const GROUP: usize = 4;

            #[inline(always)]
            fn uniform(block: [u32; 4]) -> [$type; 4] {
                block.map($uniform)
            }

            #[inline(always)]
            fn normal(block: [u32; 4]) -> [$type; 4] {
                <f32 as RandomFloat>::normal(block).map($type::from_f32)
            }

            #[inline(always)]
            fn normal_pair(words: &mut SimplePhilox) -> [f64; 2] {
                <f32 as RandomFloat>::normal_pair(words)
            }

            #[inline(always)]
            fn from_f64(value: f64) -> $type {
                $type::from_f32(<f32 as RandomFloat>::from_f64(value))
            }
        }
    )* };
}

narrow! {
    f16, uniform_f16;
    bf16, uniform_bf16;
}

impl RandomFloat for f32 {
    type Group = [f32; 4];
    const GROUP: usize = 4;

    #[inline(always)]
    fn uniform(block: [u32; 4]) -> [f32; 4] {
        block.map(uniform_f32)
    }

    #[inline(always)]
    fn normal(block: [u32; 4]) -> [f32; 4] {
        let [a, b] = box_muller_f32(block[0], block[1]);
        let [c, d] = box_muller_f32(block[2], block[3]);
        [a, b, c, d]
    }

    #[inline(always)]
    fn normal_pair(words: &mut SimplePhilox) -> [f64; 2] {
        let first = words.rand32();
        box_muller_f32(first, words.rand32()).map(f64::from)
    }

    #[inline(always)]
    fn from_f64(value: f64) -> f32 {
        flushed(value as f32)
    }
}

impl RandomFloat for f64 {
    type Group = [f64; 2];
    const GROUP: usize = 2;

    #[inline(always)]
    fn uniform(block: [u32; 4]) -> [f64; 2] {
        [uniform_f64(block[0], block[1]), uniform_f64(block[2], block[3])]
    }

    #[inline(always)]
    fn normal(block: [u32; 4]) -> [f64; 2] {
        box_muller_f64(block)
    }

    #[inline(always)]
    fn normal_pair(words: &mut SimplePhilox) -> [f64; 2] {
        box_muller_f64(std::array::from_fn(|_| words.rand32()))
    }

    #[inline(always)]
    fn from_f64(value: f64) -> f64 {
        flushed(value)
    }
}

/// Zero for a subnormal float: TensorFlow's kernels run with subnormals flushed.
#[inline(always)]
fn flushed<T: Float>(value: T) -> T {
    if value.is_subnormal() { T::zero() } else { value }
}

/// An integer type that TensorFlow draws random values of.
pub trait RandomInt: Copy + Ord + Send + Sync + 'static {
    /// The values that come of one block: four, of 64-bit integers two.
    type Group: AsRef<[Self]> + Copy;
    /// The number of values of a group.
    const GROUP: usize;
    /// The unsigned type of the same size.
    type Unsigned: Copy + Send + Sync;

    /// Values over the whole range of the type.
    fn full(block: [u32; 4]) -> Self::Group;
    /// `high - low`, which may be too large for the type itself.
    fn range(low: Self, high: Self) -> Self::Unsigned;
    /// Values in [low, low + range), for a range above 0.
    fn bounded(block: [u32; 4], low: Self, range: Self::Unsigned) -> Self::Group;
}

macro_rules! integers {
    ($($type:ident $unsigned:ident [$group:literal] $bits:expr;)*) => { $(
        impl RandomInt for $type {
            type Group = [$type; $group];
            const GROUP: usize = $group;
            type Unsigned = $unsigned;

            #[inline(always)]
            fn full(block: [u32; 4]) -> [$type; $group] {
                $bits(block).map(|bits: $unsigned| bits as $type)
            }

            fn range(low: $type, high: $type) -> $unsigned {
                high.wrapping_sub(low) as $unsigned
            }

            #[inline(always)]
            fn bounded(block: [u32; 4], low: $type, range: $unsigned) -> [$type; $group] {
                $bits(block).map(|bits: $unsigned| low.wrapping_add((bits % range) as $type))
            }
        }
    )* };
}

fn pairs(block: [u32; 4]) -> [u64; 2] {
    [join(block[0], block[1]), join(block[2], block[3])]
}

integers! {
    i32 u32 [4] |block: [u32; 4]| block;
    u32 u32 [4] |block: [u32; 4]| block;
    i64 u64 [2] pairs;
    u64 u64 [2] pairs;
}

/// A type in which TensorFlow gives Poisson and binomial samples: a float, int32 or int64.
pub trait CountOutput: Copy + Send + Sync + 'static {
    /// The largest finite value.
    const HIGHEST: f64;
    /// The value of a float: the nearest one, or towards zero and saturated for integers.
    fn from_f64(value: f64) -> Self;
    /// The sample of a distribution whose parameters are not finite: that value, or 0 for integers.
    fn from_degenerate(value: f64) -> Self;
}

macro_rules! counts {
    ($($type:ident, $highest:expr, $value:ident => $from:expr, $degenerate:expr;)*) => { $(
        impl CountOutput for $type {
            const HIGHEST: f64 = $highest;

            #[inline(always)]
            fn from_f64($value: f64) -> $type {
                $from
            }

            fn from_degenerate($value: f64) -> $type {
                $degenerate
            }
        }
    )* };
}

counts! {
    f16, f16::MAX.to_f64_const(), value => RandomFloat::from_f64(value), RandomFloat::from_f64(value);
    f32, f32::MAX as f64, value => RandomFloat::from_f64(value), value as f32;
    f64, f64::MAX, value => value, value;
    i32, i32::MAX as f64, value => value as i32, { let _ = value; 0 };
    i64, i64::MAX as f64, value => value as i64, { let _ = value; 0 };
}
