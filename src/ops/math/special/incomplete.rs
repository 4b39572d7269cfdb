//! The regularized incomplete gamma and beta functions.

use super::gamma::{digamma, lgamma};
use std::ops::{Add, Div, Mul, Sub};

/// A value with its derivative.
#[derive(Clone, Copy)]
struct Dual {
    value: f64,
    slope: f64,
}

impl Dual {
    fn constant(value: f64) -> Dual {
        Dual { value, slope: 0.0 }
    }

    fn is_within(self, part: f64, other: Dual) -> bool {
        self.value.abs() <= part * other.value.abs() && self.slope.abs() <= part * other.slope.abs().max(other.value.abs())
    }

    /// Keeps a denominator away from zero.
    fn off_zero(self) -> Dual {
        if self.value.abs() < 1e-300 { Dual { value: 1e-300, ..self } } else { self }
    }
}

impl Add for Dual {
    type Output = Dual;
    fn add(self, other: Dual) -> Dual {
        Dual { value: self.value + other.value, slope: self.slope + other.slope }
    }
}

impl Sub for Dual {
    type Output = Dual;
    fn sub(self, other: Dual) -> Dual {
        Dual { value: self.value - other.value, slope: self.slope - other.slope }
    }
}

impl Mul for Dual {
    type Output = Dual;
    fn mul(self, other: Dual) -> Dual {
        Dual { value: self.value * other.value, slope: self.slope * other.value + self.value * other.slope }
    }
}

impl Div for Dual {
    type Output = Dual;
    fn div(self, other: Dual) -> Dual {
        let value = self.value / other.value;
        Dual { value, slope: (self.slope - value * other.slope) / other.value }
    }
}

/// Terms after which a series or fraction counts as converged.
const MAX_TERMS: usize = 20_000;
const PRECISION: f64 = 1e-16;

/// The lower and the upper part of the incomplete gamma function with their derivatives by `a`.
fn incomplete_gamma(a: f64, x: f64) -> (Dual, Dual) {
    let one = Dual::constant(1.0);
    let zero = Dual::constant(0.0);
    if a.is_nan() || x.is_nan() || a <= 0.0 || x < 0.0 {
        let nan = Dual { value: f64::NAN, slope: f64::NAN };
        return (nan, nan);
    }
    if x == 0.0 || a.is_infinite() {
        return (zero, one);
    }
    if x.is_infinite() {
        return (one, zero);
    }
    // x^a e^-x / gamma(a)
    let log_factor = a * x.ln() - x - lgamma(a);
    let factor = Dual { value: log_factor.exp(), slope: log_factor.exp() * (x.ln() - digamma(a)) };
    if x > 1.0 && x > a {
        let upper = if factor.value == 0.0 { zero } else { factor * upper_fraction(a, x) };
        return (one - upper, upper);
    }
    let lower = factor * lower_series(a, x);
    (lower, one - lower)
}

/// The sum of `x^n / (a (a + 1) ... (a + n))`.
fn lower_series(a: f64, x: f64) -> Dual {
    let x = Dual::constant(x);
    let mut denominator = Dual { value: a, slope: 1.0 };
    let mut term = Dual::constant(1.0) / denominator;
    let mut sum = term;
    for _ in 0..MAX_TERMS {
        denominator.value += 1.0;
        term = term * x / denominator;
        sum = sum + term;
        if term.is_within(PRECISION, sum) {
            break;
        }
    }
    sum
}

/// Legendre's continued fraction `1 / (x + 1 - a - 1 (1 - a) / (x + 3 - a - ...))`, evaluated from the front.
fn upper_fraction(a: f64, x: f64) -> Dual {
    let a = Dual { value: a, slope: 1.0 };
    let mut b = Dual::constant(x + 1.0) - a;
    let mut c = Dual::constant(1e300);
    let mut d = Dual::constant(1.0) / b.off_zero();
    let mut fraction = d;
    for n in 1..MAX_TERMS {
        let n = Dual::constant(n as f64);
        let numerator = n * (a - n);
        b.value += 2.0;
        d = Dual::constant(1.0) / (numerator * d + b).off_zero();
        c = (b + numerator / c).off_zero();
        let step = c * d;
        fraction = fraction * step;
        if (step - Dual::constant(1.0)).is_within(PRECISION * 4.0, Dual::constant(1.0)) {
            break;
        }
    }
    fraction
}

/// The regularized lower incomplete gamma function P(a, x).
pub(crate) fn igamma(a: f64, x: f64) -> f64 {
    incomplete_gamma(a, x).0.value
}

/// The regularized upper incomplete gamma function Q(a, x).
pub(crate) fn igammac(a: f64, x: f64) -> f64 {
    incomplete_gamma(a, x).1.value
}

/// The derivative of [`igamma`] by its first argument.
pub(crate) fn igamma_grad_a(a: f64, x: f64) -> f64 {
    incomplete_gamma(a, x).0.slope
}

/// The derivative by `a` of a sample `x` of the gamma distribution with that parameter, at a fixed probability: minus the
/// derivative of [`igamma`] over the density. Where the density is too small for a float, it is 0.
pub(crate) fn gamma_sample_derivative(a: f64, x: f64) -> f64 {
    if a.is_nan() || x.is_nan() || a <= 0.0 || x < 0.0 {
        return if x == 0.0 { 0.0 } else { f64::NAN };
    }
    let log_factor = a * x.ln() - x - lgamma(a);
    if x == 0.0 || log_factor.is_nan() || log_factor < -f64::MAX.ln() {
        return 0.0;
    }
    let scaled = |part: Dual| x * ((x.ln() - digamma(a)) * part.value + part.slope);
    if x > 1.0 && x > a { scaled(upper_fraction(a, x)) } else { -scaled(lower_series(a, x)) }
}

/// The regularized incomplete beta function.
pub(crate) fn betainc(a: f64, b: f64, x: f64) -> f64 {
    if a.is_nan() || b.is_nan() || a <= 0.0 || b <= 0.0 || !(0.0..=1.0).contains(&x) {
        return f64::NAN;
    }
    if x == 0.0 || x == 1.0 {
        return x;
    }
    let log_factor = a * x.ln() + b * (-x).ln_1p() + lgamma(a + b) - lgamma(a) - lgamma(b);
    if x < (a + 1.0) / (a + b + 2.0) {
        log_factor.exp() * beta_fraction(a, b, x) / a
    } else {
        1.0 - log_factor.exp() * beta_fraction(b, a, 1.0 - x) / b
    }
}

fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    let off_zero = |v: f64| if v.abs() < 1e-300 { 1e-300 } else { v };
    let mut c = 1.0;
    let mut d = 1.0 / off_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for m in 1..MAX_TERMS {
        let m = m as f64;
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut step = 1.0;
        for numerator in [even, odd] {
            d = 1.0 / off_zero(1.0 + numerator * d);
            c = off_zero(1.0 + numerator / c);
            step = c * d;
            fraction *= step;
        }
        if (step - 1.0).abs() <= PRECISION * 4.0 {
            break;
        }
    }
    fraction
}
