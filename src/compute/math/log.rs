//! The natural logarithm and those made of it.
//!
//! x = 2^k (1 + f) with 1 + f between the square roots of 1/2 and 2; with s = f / (2 + f), log(1 + f) = 2 s + s^3 p(s^2).

use super::{Exp, MathReal, Unary, polynomial};
use crate::compute::lanes::{Lanes, Real};

/// The natural logarithm.
#[derive(Clone, Copy)]
pub struct Log;

/// The natural logarithm of 1 + x.
#[derive(Clone, Copy)]
pub struct Log1p;

/// log(1 + exp(x)) (TF op Softplus).
#[derive(Clone, Copy)]
pub struct Softplus;

/// log(x) + correction for normal x, of which `exponent` powers of two are left out.
#[inline(always)]
fn log_of_normal<L: Lanes>(l: L, x: L::V, exponent: L::V, correction: L::V) -> L::V
where
    L::Elem: MathReal,
{
    let one: L::Elem = num_traits::one();
    let bits = l.int_add(l.bits(x), l.splat_int(L::Elem::ONE_LESS_SQRT_HALF_BITS));
    let k = l.int_sub(l.exponent(bits), l.splat_int(L::Elem::BIAS));
    let k = l.sub(l.to_float(l.int_add(k, l.splat_int(L::Elem::ROUNDER_BITS))), l.splat(L::Elem::ROUNDER));
    let k = l.sub(k, exponent);
    let mantissa = l.int_and(bits, l.splat_int(L::Elem::MANTISSA));
    let f = l.sub(l.to_float(l.int_add(mantissa, l.splat_int(L::Elem::SQRT_HALF_BITS))), l.splat(one));
    let s = l.div(f, l.add(f, l.splat(one + one)));
    let z = l.mul(s, s);
    let p = l.mul(z, polynomial(l, z, L::Elem::LOG));
    let half_square = l.mul(l.mul(f, f), l.splat(one / (one + one)));
    let low = l.mul_add(k, l.splat(L::Elem::LN2_LOW), correction);
    let small = l.sub(half_square, l.mul_add(s, l.add(half_square, p), low));
    l.mul_add(k, l.splat(L::Elem::LN2_HIGH), l.sub(f, small))
}

/// The logarithm's value where `x` isn't positive and finite, else `result`.
#[inline(always)]
fn with_special_cases<L: Lanes>(l: L, x: L::V, result: L::V) -> L::V
where
    L::Elem: MathReal,
{
    use num_traits::Float;
    let zero = l.splat(num_traits::zero());
    let result = l.select(l.lt(x, l.splat(L::Elem::infinity())), result, x);
    let result = l.select(l.lt(x, zero), l.splat(L::Elem::nan()), result);
    l.select(l.eq(x, zero), l.splat(L::Elem::neg_infinity()), result)
}

impl<T: MathReal> Unary<T> for Log {
    #[inline(always)]
    fn eval<L: Lanes<Elem = T>>(self, l: L, x: L::V) -> L::V {
        let zero = l.splat(T::zero());
        let denormal = l.lt(x, l.splat(T::min_positive_value()));
        let normal = l.select(denormal, l.mul(x, l.splat(T::DENORMAL_SCALE)), x);
        let exponent = l.select(denormal, l.splat(T::DENORMAL_EXPONENT), zero);
        with_special_cases(l, x, log_of_normal(l, normal, exponent, zero))
    }
}

impl<T: MathReal> Unary<T> for Log1p {
    #[inline(always)]
    fn eval<L: Lanes<Elem = T>>(self, l: L, x: L::V) -> L::V {
        let one = l.splat(T::one());
        let sum = l.add(one, x);
        // What the sum lost by rounding, by the smaller addend.
        let lost = l.select(l.lt(l.abs(x), one), l.sub(x, l.sub(sum, one)), l.sub(one, l.sub(sum, x)));
        let result = log_of_normal(l, sum, l.splat(T::zero()), l.div(lost, sum));
        l.copy_sign(with_special_cases(l, sum, result), x)
    }
}

impl<T: MathReal> Unary<T> for Softplus {
    #[inline(always)]
    fn eval<L: Lanes<Elem = T>>(self, l: L, x: L::V) -> L::V {
        // From here up, exp(-x) is lost beside x.
        let large = T::TANH_ONE + T::TANH_ONE;
        l.select(l.lt(l.splat(large), x), x, Log1p.eval(l, Exp.eval(l, x)))
    }
}
