//! The error function of f32.

use super::{Exp, Unary, polynomial};
use crate::compute::lanes::Lanes;

/// The error function.
#[derive(Clone, Copy)]
pub struct Erf;

/// Where the two ways of computing it meet.
const SMALL: f32 = 0.93;

/// From here up it is 1.
const ONE: f32 = 4.0;

/// erf(x) / x - 1 for x up to `SMALL`, in x^2.
const NEAR_ZERO: [f32; 7] =
    [0.128_379_17, -0.376_126_35, 0.112_836_94, -0.026_859_27, 0.005_200_634, -0.000_813_743_86, 8.345_228e-5];

/// log(1 - erf(x)) for x from `SMALL` to `ONE`.
const LOG_REST: [f32; 8] = [
    0.000_175_873_84,
    -1.129_520_8,
    -0.633_334_64,
    -0.108_293_93,
    0.025_128_618,
    -0.004_174_64,
    0.000_435_218_24,
    -2.116_184_6e-5,
];

impl Unary<f32> for Erf {
    #[inline(always)]
    fn eval<L: Lanes<Elem = f32>>(self, l: L, x: L::V) -> L::V {
        let magnitude = l.min(l.splat(ONE), l.abs(x));
        let small = l.mul_add(x, polynomial(l, l.mul(x, x), &NEAR_ZERO), x);
        let rest = Exp.eval(l, polynomial(l, magnitude, &LOG_REST));
        let large = l.copy_sign(l.sub(l.splat(1.0), rest), x);
        l.select(l.lt(magnitude, l.splat(SMALL)), small, large)
    }
}
