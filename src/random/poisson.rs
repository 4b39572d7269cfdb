//! The Poisson distribution.

use super::per_output::{Backwards, per_output};
use super::{CountOutput, PhiloxRandom, RandomFloat};

/// Candidates too large for the output's type that are drawn before the largest value is taken instead.
const MAX_OVERFLOWS: u32 = 1000;

/// Fills a slice with samples of Poisson distributions: by Knuth's products of uniforms below a rate of 10, else by
/// Hörmann's transformed rejection ("The transformed rejection method for generating Poisson random variables", 1993).
///
/// `out` is a `[samples, rates.len()]` array in row-major order. A rate below 0 counts as 0; an infinite one gives
/// infinity, or 0 as an integer; NaN gives NaN, or 0. Of `RandomPoisson`, `RandomPoissonV2` and
/// `StatelessRandomPoisson`.
pub fn poisson<T: CountOutput>(rng: PhiloxRandom, rates: &[f64], out: &mut [T]) {
    per_output(
        rng,
        rates.len(),
        out,
        |i| Poisson::new(rates[i]),
        |poisson, rng| {
            let rng = rng.by(256);
            match poisson {
                Poisson::Degenerate(value) => T::from_degenerate(*value),
                Poisson::Products { limit } => T::from_f64(products(*limit, rng)),
                Poisson::Rejection(rejection) => T::from_f64(rejection.sample(rng, T::HIGHEST)),
            }
        },
    );
}

enum Poisson {
    Degenerate(f64),
    Products { limit: f64 },
    Rejection(Rejection),
}

impl Poisson {
    fn new(rate: f64) -> Poisson {
        if rate < 10.0 {
            return Poisson::Products { limit: (-rate).exp() };
        }
        if !rate.is_finite() {
            return Poisson::Degenerate(rate);
        }
        let b = 0.931 + 2.53 * rate.sqrt();
        let a = -0.059 + 0.02483 * b;
        Poisson::Rejection(Rejection { rate, log_rate: rate.ln(), a, b, inv_alpha: 1.1239 + 1.1328 / (b - 3.4) })
    }
}

fn products(limit: f64, mut rng: PhiloxRandom) -> f64 {
    let mut uniforms = Backwards::default();
    let mut product = 1.0;
    let mut count = 0.0;
    loop {
        product *= uniforms.next(&mut rng, f64::uniform);
        if product <= limit {
            return count;
        }
        count += 1.0;
    }
}

struct Rejection {
    rate: f64,
    log_rate: f64,
    a: f64,
    b: f64,
    inv_alpha: f64,
}

impl Rejection {
    fn sample(&self, mut rng: PhiloxRandom, highest: f64) -> f64 {
        let &Rejection { rate, log_rate, a, b, inv_alpha } = self;
        let mut uniforms = Backwards::default();
        let mut overflows = 0;
        loop {
            let u = uniforms.next(&mut rng, f64::uniform) - 0.5;
            let v = uniforms.next(&mut rng, f64::uniform);
            let shifted = 0.5 - u.abs();
            let k = ((2.0 * a / shifted + b) * u + rate + 0.43).floor();
            if k > highest {
                overflows += 1;
                if overflows == MAX_OVERFLOWS {
                    return highest;
                }
                continue;
            }
            if shifted >= 0.07 && v <= 0.9277 - 3.6224 / (b - 2.0) {
                return k;
            }
            if k < 0.0 || (shifted < 0.013 && v > shifted) {
                continue;
            }
            let s = (v * inv_alpha / (a / (shifted * shifted) + b)).ln();
            if s <= -rate + k * log_rate - libm::lgamma(k + 1.0) {
                return k;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_sample() {
        let rng = PhiloxRandom::new(1, 2);
        let mut floats = [0f32; 3];
        poisson(rng, &[f64::NAN, f64::INFINITY, 1e300], &mut floats);
        assert!(floats[0].is_nan());
        assert_eq!(floats[1..], [f32::INFINITY, f32::MAX]);
        let mut integers = [1i32; 3];
        poisson(rng, &[f64::NAN, f64::INFINITY, 1e12], &mut integers);
        assert_eq!(integers, [0, 0, i32::MAX]);
    }
}
