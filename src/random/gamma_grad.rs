//! The derivative of gamma samples.

/// Terms of a series after which it counts as summed.
const MAX_TERMS: usize = 2000;
/// Numerators and denominators above this are scaled down.
const BIG: f64 = 4503599627370496.0;

/// The derivative of a sample of the gamma distribution with respect to its parameter `alpha`, at a fixed probability:
/// minus the derivative of the distribution function over the density (Figurnov et al., "Implicit reparameterization
/// gradients", 2018). It is NaN for an `alpha` not above 0 or a sample below 0. Of `RandomGammaGrad`.
pub fn gamma_sample_derivative(alpha: f64, sample: f64) -> f64 {
    if sample == 0.0 {
        return 0.0;
    }
    if sample.is_nan() || alpha.is_nan() || sample < 0.0 || alpha <= 0.0 {
        return f64::NAN;
    }
    // Where the density vanishes, so does the derivative.
    let log_density = alpha * sample.ln() - sample - libm::lgamma(alpha);
    if log_density.is_nan() || log_density < -f64::MAX.ln() || sample.is_infinite() {
        return 0.0;
    }
    if sample > 1.0 && sample > alpha { by_fraction(alpha, sample) } else { by_series(alpha, sample) }
}

/// By the power series of the lower incomplete gamma function, differentiated term by term.
fn by_series(alpha: f64, sample: f64) -> f64 {
    let (mut term, mut sum) = (1.0, 1.0);
    let (mut d_term, mut d_sum) = (0.0f64, 0.0f64);
    let mut r = alpha;
    for _ in 0..MAX_TERMS {
        r += 1.0;
        let factor = sample / r;
        d_term = factor * d_term - sample / (r * r) * term;
        d_sum += d_term;
        term *= factor;
        sum += term;
        if d_term.abs() <= f64::EPSILON / 2.0 * d_sum.abs() {
            break;
        }
    }
    -(d_sum + sum * (sample.ln() - digamma(alpha + 1.0))) * sample / alpha
}

/// By the continued fraction of the upper incomplete gamma function and its derivative.
fn by_fraction(alpha: f64, sample: f64) -> f64 {
    let (mut y, mut c) = (1.0 - alpha, 0.0);
    let mut z = sample + y + 1.0;
    // Numerator and denominator of the last two convergents, and their derivatives.
    let mut before = [1.0, sample, 0.0, 0.0];
    let mut last = [sample + 1.0, z * sample, 0.0, -sample];
    let mut value = last[0] / last[1];
    let mut derivative = (last[2] - value * last[3]) / last[1];
    for _ in 0..MAX_TERMS {
        c += 1.0;
        y += 1.0;
        z += 2.0;
        let yc = y * c;
        let next = [
            last[0] * z - before[0] * yc,
            last[1] * z - before[1] * yc,
            last[2] * z - last[0] - before[2] * yc + before[0] * c,
            last[3] * z - last[1] - before[3] * yc + before[1] * c,
        ];
        let previous = derivative;
        if next[1] != 0.0 {
            value = next[0] / next[1];
            derivative = (next[2] - value * next[3]) / next[1];
            if (derivative - previous).abs() <= f64::EPSILON / 2.0 {
                break;
            }
        }
        (before, last) = (last, next);
        if last[0].abs() > BIG {
            before = before.map(|v| v / BIG);
            last = last.map(|v| v / BIG);
        }
    }
    (derivative + value * (sample.ln() - digamma(alpha))) * sample
}

/// The derivative of the logarithm of the gamma function, for positive numbers: the recurrence up to 10, and then the
/// asymptotic series.
fn digamma(x: f64) -> f64 {
    const COEFFICIENTS: [f64; 7] =
        [1.0 / 12.0, -1.0 / 120.0, 1.0 / 252.0, -1.0 / 240.0, 1.0 / 132.0, -691.0 / 32760.0, 1.0 / 12.0];
    let (mut x, mut shift) = (x, 0.0);
    while x < 10.0 {
        shift += 1.0 / x;
        x += 1.0;
    }
    let square = 1.0 / (x * x);
    let series = COEFFICIENTS.iter().rev().fold(0.0, |sum, coefficient| (sum + coefficient) * square);
    x.ln() - 0.5 / x - series - shift
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `RandomGammaGrad` of TensorFlow 2.15.
    #[test]
    fn as_tensorflow() {
        for (alpha, sample, expected) in [
            (0.01, 1e-10, 2.2464965474394068e-07),
            (0.1, 0.2, 3.228961454769042),
            (0.5, 0.3, 1.0098019459488548),
            (1.0, 2.0, 1.6316914623496996),
            (1.5, 0.7, 0.7402100424043949),
            (3.0, 8.0, 1.6573507846590498),
            (20.0, 15.0, 0.8702478030170775),
            (1000.0, 1010.0, 1.0051509296764916),
            (2.0, 0.0, 0.0),
            (2.0, 1000.0, 0.0),
            (0.5, 30.0, 5.310732160958596),
            (0.001, 1e-05, 0.10937472778081823),
            (5.0, 5.5, 1.0839979734601939),
        ] {
            let derivative = gamma_sample_derivative(alpha, sample);
            assert!((derivative - expected).abs() <= 1e-9 * expected, "{alpha} {sample}: {derivative}, expected {expected}");
        }
        for (alpha, sample) in [(0.0, 1.0), (-1.0, 1.0), (1.0, -1.0), (f64::NAN, 1.0), (1.0, f64::NAN)] {
            assert!(gamma_sample_derivative(alpha, sample).is_nan());
        }
    }
}
