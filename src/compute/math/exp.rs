//! The exponential function and those made of it.
//!
//! exp(x) = 2^k exp(r) with r between -log(2) / 2 and log(2) / 2, where exp(r) = 1 + r + r^2 q(r).

use super::{MathReal, Unary, polynomial};
use crate::compute::lanes::{Lanes, Real};

/// e to the power of x.
#[derive(Clone, Copy)]
pub struct Exp;

/// e to the power of x, less one.
#[derive(Clone, Copy)]
pub struct Expm1;

/// The hyperbolic tangent.
#[derive(Clone, Copy)]
pub struct Tanh;

/// 1 / (1 + exp(-x)).
#[derive(Clone, Copy)]
pub struct Sigmoid;

/// x from zero up, else exp(x) - 1 (TF op Elu).
#[derive(Clone, Copy)]
pub struct Elu;

/// A scaled Elu (TF op Selu).
#[derive(Clone, Copy)]
pub struct Selu;

/// x = k log(2) + r: the bits of k as an integer, k, and exp(r) - 1.
#[inline(always)]
fn reduce<L: Lanes>(l: L, x: L::V) -> (L::I, L::V, L::V)
where
    L::Elem: MathReal,
{
    let rounder = l.splat(L::Elem::ROUNDER);
    let rounded = l.mul_add(x, l.splat(L::Elem::LOG2_E), rounder);
    let k = l.sub(rounded, rounder);
    let r = l.neg_mul_add(k, l.splat(L::Elem::LN2_HIGH), x);
    let r = l.neg_mul_add(k, l.splat(L::Elem::LN2_LOW), r);
    let q = polynomial(l, r, L::Elem::EXP);
    (l.int_sub(l.bits(rounded), l.splat_int(L::Elem::ROUNDER_BITS)), k, l.mul_add(l.mul(r, r), q, r))
}

/// `x`, but not outside of `low..=high`; NaN stays.
#[inline(always)]
fn clamp<L: Lanes>(l: L, x: L::V, low: L::Elem, high: L::Elem) -> L::V {
    l.min(l.splat(high), l.max(l.splat(low), x))
}

impl<T: MathReal> Unary<T> for Exp {
    #[inline(always)]
    fn eval<L: Lanes<Elem = T>>(self, l: L, x: L::V) -> L::V {
        let x = clamp(l, x, T::EXP_ZERO, T::EXP_INFINITE);
        let (_, k, p) = reduce(l, x);
        l.scale(l.add(p, l.splat(T::one())), k)
    }
}

/// exp(x) - 1 for x that aren't so large that it overflows, or zero with a sign.
#[inline(always)]
fn expm1_of_moderate<L: Lanes>(l: L, x: L::V) -> L::V
where
    L::Elem: MathReal,
{
    let (k, _, p) = reduce(l, x);
    let scale = l.power_of_two(k);
    l.mul_add(scale, p, l.sub(scale, l.splat(num_traits::one())))
}

impl<T: MathReal> Unary<T> for Expm1 {
    #[inline(always)]
    fn eval<L: Lanes<Elem = T>>(self, l: L, x: L::V) -> L::V {
        let (one, zero) = (T::one(), T::zero());
        let half = one / (one + one);
        let (k, k_float, p) = reduce(l, clamp(l, x, T::EXPM1_MINUS_ONE, T::EXP_INFINITE));
        // Half of the scale, which doesn't overflow where the result doesn't.
        let scale = l.power_of_two(l.int_sub(k, l.splat_int(T::INT_ONE)));
        let result = l.mul_add(scale, p, l.sub(scale, l.splat(half)));
        let result = l.select(l.eq(k_float, l.splat(zero)), p, l.add(result, result));
        l.copy_sign(result, x)
    }
}

impl<T: MathReal> Unary<T> for Tanh {
    #[inline(always)]
    fn eval<L: Lanes<Elem = T>>(self, l: L, x: L::V) -> L::V {
        let magnitude = l.min(l.splat(T::TANH_ONE), l.abs(x));
        let t = expm1_of_moderate(l, l.add(magnitude, magnitude));
        l.copy_sign(l.div(t, l.add(t, l.splat(T::one() + T::one()))), x)
    }
}

impl<T: MathReal> Unary<T> for Sigmoid {
    #[inline(always)]
    fn eval<L: Lanes<Elem = T>>(self, l: L, x: L::V) -> L::V {
        let one = l.splat(T::one());
        let exp = Exp.eval(l, l.sub(l.splat(T::zero()), x));
        l.div(one, l.add(one, exp))
    }
}

impl<T: MathReal> Unary<T> for Elu {
    #[inline(always)]
    fn eval<L: Lanes<Elem = T>>(self, l: L, x: L::V) -> L::V {
        l.select(l.lt(x, l.splat(T::zero())), Expm1.eval(l, x), x)
    }
}

impl<T: MathReal> Unary<T> for Selu {
    #[inline(always)]
    fn eval<L: Lanes<Elem = T>>(self, l: L, x: L::V) -> L::V {
        let scale = num(1.050_700_987_355_480_5);
        let scale_alpha = num(1.758_099_340_847_376_6);
        let negative = l.mul(l.splat(scale_alpha), Expm1.eval(l, x));
        l.select(l.lt(x, l.splat(T::zero())), negative, l.mul(l.splat(scale), x))
    }
}

/// The nearest number of the type.
fn num<T: MathReal>(x: f64) -> T {
    T::from(x).expect("a float holds every constant")
}
