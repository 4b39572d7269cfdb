//! The error function, its complement and inverses.

use std::f64::consts::{FRAC_2_SQRT_PI, PI, SQRT_2};

/// The error function.
pub(crate) fn erf(x: f64) -> f64 {
    libm::erf(x)
}

/// One minus the error function.
pub(crate) fn erfc(x: f64) -> f64 {
    libm::erfc(x)
}

/// The inverse of [`erf`].
pub(crate) fn erfinv(x: f64) -> f64 {
    let size = x.abs();
    if size.is_nan() || size > 1.0 {
        return f64::NAN;
    }
    if size > 0.5 {
        return erfc_inverse(1.0 - size).copysign(x);
    }
    improve(guess(size), |z| erf(z) - size).copysign(x)
}

/// The inverse of the normal distribution function.
pub(crate) fn ndtri(p: f64) -> f64 {
    if !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    if p > 0.5 { SQRT_2 * erfc_inverse(2.0 * (1.0 - p)) } else { -SQRT_2 * erfc_inverse(2.0 * p) }
}

/// The inverse of [`erfc`] from 0 to 1, where it isn't negative.
fn erfc_inverse(y: f64) -> f64 {
    if y == 0.0 {
        return f64::INFINITY;
    }
    if y >= 0.5 {
        return improve(guess(1.0 - y), |z| erf(z) - (1.0 - y));
    }
    improve(guess_of_log((y * (2.0 - y)).ln()), |z| y - erfc(z))
}

/// Winitzki's approximation of the inverse of erf, good to 0.2 percent.
fn guess(x: f64) -> f64 {
    guess_of_log((-x * x).ln_1p())
}

/// The same from the logarithm of `1 - x^2`.
fn guess_of_log(log: f64) -> f64 {
    const A: f64 = 0.147;
    let half = 2.0 / (PI * A) + log / 2.0;
    ((half * half - log / A).sqrt() - half).max(0.0).sqrt()
}

/// Halley's steps towards the zero of a function whose derivative is that of erf.
fn improve(mut z: f64, f: impl Fn(f64) -> f64) -> f64 {
    for _ in 0..3 {
        let newton = f(z) / (FRAC_2_SQRT_PI * (-z * z).exp());
        if !newton.is_finite() {
            break;
        }
        z -= newton / (1.0 + z * newton);
    }
    z
}
