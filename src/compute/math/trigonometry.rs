//! Sine and cosine of f32.
//!
//! x = j pi / 2 + r with r between -pi / 4 and pi / 4; pi / 2 is taken away in four parts, of which all but the last have so few
//! bits that their products with j are exact.

use super::{Unary, polynomial};
use crate::compute::lanes::{Lanes, Real};

/// The sine.
#[derive(Clone, Copy)]
pub struct Sin;

/// The cosine.
#[derive(Clone, Copy)]
pub struct Cos;

/// Up to here the reduction holds; f64 takes over beyond.
const LARGEST: f32 = 8192.0;

/// (sin(r) - r) / r^3, in r^2.
const SIN: [f32; 4] = [-0.166_666_67, 0.008_333_329, -0.000_198_393_19, 2.718_162_7e-6];

/// (cos(r) - 1 + r^2 / 2) / r^4, in r^2.
const COS: [f32; 4] = [0.041_666_668, -0.001_388_888_3, 2.479_950_3e-5, -2.720_885_6e-7];

/// The sine of `x` plus `quarters` quarters of a turn.
#[inline(always)]
fn sine<L: Lanes<Elem = f32>>(l: L, x: L::V, quarters: i32, exact: impl Fn(f64) -> f64) -> L::V {
    let rounder = l.splat(f32::ROUNDER);
    let rounded = l.mul_add(x, l.splat(std::f32::consts::FRAC_2_PI), rounder);
    let j = l.sub(rounded, rounder);
    let parts = [1.570_312_5, 0.000_483_512_88, 3.138_557e-7, 6.077_100_6e-11];
    let mut r = x;
    for part in parts {
        r = l.neg_mul_add(j, l.splat(part), r);
    }
    let z = l.mul(r, r);
    let sin = l.mul_add(l.mul(r, z), polynomial(l, z, &SIN), r);
    let cos = l.mul_add(l.mul(z, z), polynomial(l, z, &COS), l.neg_mul_add(z, l.splat(0.5), l.splat(1.0)));
    let turns = l.int_add(l.bits(rounded), l.splat_int(quarters));
    let bit_is_zero = |bit| l.eq(l.to_float(l.to_exponent(l.int_and(turns, l.splat_int(bit)))), l.splat(0.0));
    let value = l.select(bit_is_zero(1), sin, cos);
    let value = l.select(bit_is_zero(2), value, l.to_float(l.int_xor(l.bits(value), l.splat_int(i32::MIN))));
    let magnitude = l.abs(x);
    if l.all(l.le(magnitude, l.splat(LARGEST))) {
        return value;
    }
    let (mut values, arguments) = (l.array(value), l.array(x));
    for (value, x) in values.iter_mut().zip(arguments) {
        if x.abs() > LARGEST {
            *value = exact(f64::from(x)) as f32;
        }
    }
    // SAFETY: the array has at least as many elements as there are lanes.
    unsafe { l.load(values.as_ptr()) }
}

impl Unary<f32> for Sin {
    #[inline(always)]
    fn eval<L: Lanes<Elem = f32>>(self, l: L, x: L::V) -> L::V {
        let result = sine(l, x, 0, f64::sin);
        l.select(l.eq(x, l.splat(0.0)), x, result)
    }
}

impl Unary<f32> for Cos {
    #[inline(always)]
    fn eval<L: Lanes<Elem = f32>>(self, l: L, x: L::V) -> L::V {
        sine(l, x, 1, f64::cos)
    }
}
