//! What the functions need to know about f32 and f64.
//!
//! The polynomials are best approximations by Remez's algorithm.

use crate::compute::lanes::Real;

/// A float type that the functions are written for.
pub trait MathReal: Real {
    /// The bits of the mantissa.
    const MANTISSA: Self::Int;
    /// The bits of the square root of one half.
    const SQRT_HALF_BITS: Self::Int;
    /// The bits of 1.0 less `SQRT_HALF_BITS`.
    const ONE_LESS_SQRT_HALF_BITS: Self::Int;
    /// 1 / log 2.
    const LOG2_E: Self;
    /// The upper part of log 2, with so few bits that its product with an exponent is exact.
    const LN2_HIGH: Self;
    /// The rest of log 2.
    const LN2_LOW: Self;
    /// From here down, exp is zero.
    const EXP_ZERO: Self;
    /// From here up, exp is infinite.
    const EXP_INFINITE: Self;
    /// From here down, expm1 is -1.
    const EXPM1_MINUS_ONE: Self;
    /// From here up, tanh is 1.
    const TANH_ONE: Self;
    /// A power of two that makes every denormal number normal.
    const DENORMAL_SCALE: Self;
    /// The logarithm of `DENORMAL_SCALE` to base 2.
    const DENORMAL_EXPONENT: Self;
    /// (exp(r) - 1 - r) / r^2 for |r| up to log(2) / 2, in r.
    const EXP: &'static [Self];
    /// (log((1 + s) / (1 - s)) - 2 s) / s^3 for a quotient between the square roots of 1/2 and 2, in s^2.
    const LOG: &'static [Self];
}

impl MathReal for f32 {
    const MANTISSA: i32 = 0x007f_ffff;
    const SQRT_HALF_BITS: i32 = 0x3f35_04f3;
    const ONE_LESS_SQRT_HALF_BITS: i32 = 0x3f80_0000 - 0x3f35_04f3;
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    const LN2_HIGH: f32 = 0.693_145_75;
    const LN2_LOW: f32 = 1.428_606_8e-6;
    const EXP_ZERO: f32 = -104.0;
    const EXP_INFINITE: f32 = 89.0;
    const EXPM1_MINUS_ONE: f32 = -20.0;
    const TANH_ONE: f32 = 10.0;
    const DENORMAL_SCALE: f32 = 8_388_608.0;
    const DENORMAL_EXPONENT: f32 = 23.0;
    const EXP: &'static [f32] = &[0.5, 0.166_665_18, 0.041_666_206, 0.008_368_953, 0.001_395_060_2];
    const LOG: &'static [f32] = &[0.666_666_6, 0.400_003_37, 0.285_372_38, 0.235_835_69];
}

impl MathReal for f64 {
    const MANTISSA: i64 = 0x000f_ffff_ffff_ffff;
    const SQRT_HALF_BITS: i64 = 0x3fe6_a09e_667f_3bcd;
    const ONE_LESS_SQRT_HALF_BITS: i64 = 0x3ff0_0000_0000_0000 - 0x3fe6_a09e_667f_3bcd;
    const LOG2_E: f64 = std::f64::consts::LOG2_E;
    const LN2_HIGH: f64 = 0.693_147_180_559_890_3;
    const LN2_LOW: f64 = 5.497_923_018_708_371e-14;
    const EXP_ZERO: f64 = -746.0;
    const EXP_INFINITE: f64 = 710.0;
    const EXPM1_MINUS_ONE: f64 = -40.0;
    const TANH_ONE: f64 = 20.0;
    const DENORMAL_SCALE: f64 = 4_503_599_627_370_496.0;
    const DENORMAL_EXPONENT: f64 = 52.0;
    const EXP: &'static [f64] = &[
        0.5,
        0.166_666_666_666_666_85,
        0.041_666_666_666_666_73,
        0.008_333_333_333_316_617,
        0.001_388_888_888_885_832_8,
        0.000_198_412_698_973_625_37,
        2.480_158_737_393_439e-5,
        2.755_723_392_887_833e-6,
        2.755_723_320_971_51e-7,
        2.511_234_866_214_799e-8,
        2.092_698_665_409_807e-9,
    ];
    const LOG: &'static [f64] = &[
        0.666_666_666_666_666_6,
        0.400_000_000_000_062_86,
        0.285_714_285_690_729_7,
        0.222_222_226_487_497_45,
        0.181_817_755_085_648_05,
        0.153_870_976_498_208_6,
        0.132_499_620_377_253_67,
        0.132_527_548_065_445_48,
    ];
}
