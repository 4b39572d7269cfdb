//! Bessel functions of orders 0 and 1.

use std::f64::consts::PI;

/// From here on the asymptotic series of the modified functions is exact to the last digits.
const LARGE: f64 = 25.0;

/// `e^-|x|` times the modified function of the first kind, for `x >= 0`.
fn scaled_i(order: i32, x: f64) -> f64 {
    if x < LARGE {
        let quarter = x * x / 4.0;
        let mut term = if order == 0 { 1.0 } else { x / 2.0 };
        let (mut sum, mut k) = (term, 1.0);
        while term > sum * 1e-17 {
            term *= quarter / (k * (k + f64::from(order)));
            sum += term;
            k += 1.0;
        }
        return sum * (-x).exp();
    }
    let mu = f64::from(4 * order * order);
    let (mut term, mut sum) = (1.0f64, 1.0f64);
    for k in 1..60 {
        let odd = f64::from(2 * k - 1);
        let next = -term * (mu - odd * odd) / (f64::from(k) * 8.0 * x);
        if next.abs() >= term.abs() || next.abs() < 1e-17 {
            break;
        }
        term = next;
        sum += term;
    }
    sum / (2.0 * PI * x).sqrt()
}

pub(crate) fn bessel_i0e(x: f64) -> f64 {
    if x.is_infinite() { 0.0 } else { scaled_i(0, x.abs()) }
}

pub(crate) fn bessel_i1e(x: f64) -> f64 {
    let size = if x.is_infinite() { 0.0 } else { scaled_i(1, x.abs()) };
    if x.is_nan() { x } else { size.copysign(x) }
}

pub(crate) fn bessel_i0(x: f64) -> f64 {
    bessel_i0e(x) * x.abs().exp()
}

pub(crate) fn bessel_i1(x: f64) -> f64 {
    bessel_i1e(x) * x.abs().exp()
}

/// `e^x` times the modified function of the second kind: the integral of `e^(x - x cosh t) cosh(order t)` over t from 0,
/// for which the trapezoidal rule converges faster than any power of its step.
fn scaled_k(order: i32, x: f64) -> f64 {
    if x <= 0.0 {
        return f64::INFINITY;
    }
    if x.is_nan() || x.is_infinite() {
        return if x.is_nan() { x } else { 0.0 };
    }
    // For large x the integrand is as narrow as 1 / sqrt(x).
    let step = 0.125f64.min(0.5 / x.sqrt());
    let mut sum = 0.5;
    for n in 1..100_000 {
        let t = f64::from(n) * step;
        let half_sinh = (t / 2.0).sinh();
        let term = (-2.0 * x * half_sinh * half_sinh).exp() * if order == 0 { 1.0 } else { t.cosh() };
        sum += term;
        if term < sum * 1e-18 {
            break;
        }
    }
    sum * step
}

pub(crate) fn bessel_k0e(x: f64) -> f64 {
    scaled_k(0, x)
}

pub(crate) fn bessel_k1e(x: f64) -> f64 {
    scaled_k(1, x)
}

pub(crate) fn bessel_k0(x: f64) -> f64 {
    if x <= 0.0 { f64::INFINITY } else { scaled_k(0, x) * (-x).exp() }
}

pub(crate) fn bessel_k1(x: f64) -> f64 {
    if x <= 0.0 { f64::INFINITY } else { scaled_k(1, x) * (-x).exp() }
}

fn unless_infinite(x: f64, f: fn(f64) -> f64) -> f64 {
    if x.is_infinite() { f64::NAN } else { f(x) }
}

pub(crate) fn bessel_j0(x: f64) -> f64 {
    unless_infinite(x, libm::j0)
}

pub(crate) fn bessel_j1(x: f64) -> f64 {
    unless_infinite(x, libm::j1)
}

pub(crate) fn bessel_y0(x: f64) -> f64 {
    if x <= 0.0 { f64::NEG_INFINITY } else { unless_infinite(x, libm::y0) }
}

pub(crate) fn bessel_y1(x: f64) -> f64 {
    if x <= 0.0 { f64::NEG_INFINITY } else { unless_infinite(x, libm::y1) }
}
