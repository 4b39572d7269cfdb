//! The gamma function's relatives, and the Hurwitz zeta function.

/// Bernoulli numbers B2, B4, ...
const BERNOULLI: [f64; 10] = [
    1.0 / 6.0,
    -1.0 / 30.0,
    1.0 / 42.0,
    -1.0 / 30.0,
    5.0 / 66.0,
    -691.0 / 2730.0,
    7.0 / 6.0,
    -3617.0 / 510.0,
    43867.0 / 798.0,
    -174611.0 / 330.0,
];

/// The logarithm of the absolute value of the gamma function.
pub(crate) fn lgamma(x: f64) -> f64 {
    libm::lgamma(x)
}

/// The derivative of [`lgamma`]; NaN at its poles.
pub(crate) fn digamma(x: f64) -> f64 {
    if x <= 0.0 {
        let fraction = x - x.floor();
        if fraction == 0.0 || x.is_infinite() {
            return f64::NAN;
        }
        return digamma(1.0 - x) - std::f64::consts::PI / (std::f64::consts::PI * fraction).tan();
    }
    let (mut x, mut sum) = (x, 0.0);
    while x < 10.0 {
        sum -= 1.0 / x;
        x += 1.0;
    }
    let square = 1.0 / (x * x);
    let mut power = square;
    sum += x.ln() - 0.5 / x;
    for (k, bernoulli) in BERNOULLI.iter().enumerate() {
        sum -= bernoulli / (2 * (k + 1)) as f64 * power;
        power *= square;
    }
    sum
}

/// The Hurwitz zeta function, the sum of `(q + k)^-x` over k from 0, by Euler and Maclaurin's formula.
pub(crate) fn zeta(x: f64, q: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    if x < 1.0 || x.is_nan() || q.is_nan() {
        return f64::NAN;
    }
    if x.is_infinite() || q == f64::INFINITY {
        return q.powf(-x);
    }
    if q <= 0.0 {
        if q == q.floor() {
            return if x % 2.0 == 0.0 { f64::INFINITY } else { f64::NAN };
        }
        if x != x.floor() || q < -1e6 {
            return f64::NAN;
        }
    }
    let (mut sum, mut a) = (0.0, q);
    while a < 10.0 {
        sum += a.powf(-x);
        a += 1.0;
    }
    let power = a.powf(-x);
    sum += power * (a / (x - 1.0) + 0.5);
    let mut factor = x * power / a;
    for (k, bernoulli) in BERNOULLI.iter().enumerate() {
        let n = 2.0 * (k + 1) as f64;
        factor /= if k == 0 { 2.0 } else { n * (n - 1.0) };
        sum += bernoulli * factor;
        factor *= (x + n - 1.0) * (x + n) / (a * a);
    }
    sum
}

/// The n-th derivative of [`digamma`] at x, for whole n.
pub(crate) fn polygamma(n: f64, x: f64) -> f64 {
    if n == 0.0 {
        return digamma(x);
    }
    if n < 0.0 || n != n.floor() {
        return f64::NAN;
    }
    let sign = if n % 2.0 == 0.0 { -1.0 } else { 1.0 };
    sign * lgamma(n + 1.0).exp() * zeta(n + 1.0, x)
}
