//! Integrals without a closed form.

use num_complex::Complex;
use std::f64::consts::{FRAC_PI_2, PI};

/// Dawson's integral, `e^(-x^2)` times the integral of `e^(t^2)` over t from 0 to x, by Rybicki's sum.
pub(crate) fn dawsn(x: f64) -> f64 {
    const STEP: f64 = 0.2;
    if !x.is_finite() {
        return if x.is_nan() { x } else { 0.0 };
    }
    let size = x.abs();
    // The sum over odd n of e^-(x - n h)^2 / n, around the odd number nearest to x / h. The centre is even.
    let centre = 2.0 * (0.5 * size / STEP).round();
    let offset = size - centre * STEP;
    let mut sum = 0.0;
    for k in 0..20 {
        let odd = f64::from(2 * k + 1);
        let (right, left) = (offset - odd * STEP, offset + odd * STEP);
        sum += (-right * right).exp() / (centre + odd) + (-left * left).exp() / (centre - odd);
    }
    (sum / PI.sqrt()).copysign(x)
}

/// The exponential integral Ei(x) for `x >= 0`.
pub(crate) fn expint(x: f64) -> f64 {
    const EULER: f64 = 0.577_215_664_901_532_9;
    if x == 0.0 {
        return f64::NEG_INFINITY;
    }
    if x < 0.0 || !x.is_finite() {
        return f64::NAN;
    }
    if x < 40.0 {
        let (mut power, mut sum, mut k) = (1.0, 0.0, 1.0);
        loop {
            power *= x / k;
            sum += power / k;
            if power / k < sum * 1e-17 {
                return EULER + x.ln() + sum;
            }
            k += 1.0;
        }
    }
    let (mut term, mut sum, mut k) = (1.0, 1.0, 1.0);
    while k < x && term > 1e-17 {
        term *= k / x;
        sum += term;
        k += 1.0;
    }
    // In two factors, so that it overflows no earlier than the result.
    (x / 2.0).exp() * (sum / x) * (x / 2.0).exp()
}

/// The integrals of cos and sin of `pi t^2 / 2` over t from 0 to x.
fn fresnel(x: f64) -> (f64, f64) {
    let size = x.abs();
    if size.is_nan() {
        return (x, x);
    }
    if size.is_infinite() {
        return (0.5f64.copysign(x), 0.5f64.copysign(x));
    }
    let phase = FRAC_PI_2 * size * size;
    let (cosine, sine) = if size < 1.6 {
        let (mut sums, mut term, mut k) = ([0.0f64; 2], size, 0i32);
        loop {
            let part = term / f64::from(2 * k + 1) * if k & 2 == 0 { 1.0 } else { -1.0 };
            sums[(k & 1) as usize] += part;
            k += 1;
            term *= phase / f64::from(k);
            if part.abs() < 1e-18 && f64::from(k) > phase {
                break (sums[0], sums[1]);
            }
        }
    } else {
        let rest = fresnel_rest(size, phase);
        (0.5 - rest.re, 0.5 - rest.im)
    };
    (cosine.copysign(x), sine.copysign(x))
}

/// What the integrals still lack at x: by the continued fraction of the complementary error function at
/// `z = sqrt(pi) (1 - i) x / 2`, in powers of `2 z^2 = -i pi x^2`, from its end.
fn fresnel_rest(x: f64, phase: f64) -> Complex<f64> {
    if x > 1e8 {
        return Complex::new(0.0, 0.0);
    }
    let square = Complex::new(0.0, -2.0 * phase);
    let mut tail = Complex::new(0.0, 0.0);
    for n in (1..200).rev() {
        let n = f64::from(n);
        tail = Complex::new((2.0 * n - 1.0) * 2.0 * n, 0.0) / (square + (4.0 * n + 1.0) - tail);
    }
    let (sin, cos) = phase.sin_cos();
    // (1 + i) / 2 times (1 - i) x e^(i phase) over the fraction
    Complex::new(cos, sin) * x / (square + 1.0 - tail)
}

/// Fresnel's cosine integral.
pub(crate) fn fresnel_cos(x: f64) -> f64 {
    fresnel(x).0
}

/// Fresnel's sine integral.
pub(crate) fn fresnel_sin(x: f64) -> f64 {
    fresnel(x).1
}

/// Spence's integral, minus the integral of `ln t / (t - 1)` over t from 1 to x.
pub(crate) fn spence(x: f64) -> f64 {
    const PI_SQUARED_6: f64 = PI * PI / 6.0;
    if x < 0.0 || !x.is_finite() {
        return f64::NAN;
    }
    if x == 0.0 {
        return PI_SQUARED_6;
    }
    if x > 2.0 {
        return -spence(1.0 / x) - 0.5 * x.ln() * x.ln();
    }
    if x < 0.5 {
        return PI_SQUARED_6 - x.ln() * (-x).ln_1p() - spence(1.0 - x);
    }
    // The dilogarithm of 1 - x as a series in u = -ln x with Bernoulli's numbers.
    const TERMS: [f64; 8] = [
        1.0 / 36.0,
        -1.0 / 3600.0,
        1.0 / 211_680.0,
        -1.0 / 10_886_400.0,
        1.0 / 526_901_760.0,
        -691.0 / 16_999_766_784_000.0,
        1.0 / 1_120_863_744_000.0,
        -3617.0 / 181_400_588_328_960_000.0,
    ];
    let u = -x.ln();
    let (mut sum, mut power) = (u - u * u / 4.0, u * u * u);
    for term in TERMS {
        sum += term * power;
        power *= u * u;
    }
    sum
}
