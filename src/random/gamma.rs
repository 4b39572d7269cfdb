//! The gamma distribution.

use super::per_output::{Backwards, per_output};
use super::{PhiloxRandom, RandomFloat};

/// Fills a slice with samples of gamma distributions with scale 1, by Marsaglia and Tsang's method ("A simple method
/// for generating gamma variables", 2000).
///
/// `out` is a `[samples, alphas.len()]` array in row-major order. An `alpha` that is not above 0 gives values without
/// meaning. Of `RandomGamma`, `StatelessRandomGammaV2` and `StatelessRandomGammaV3`.
pub fn gamma<T: RandomFloat>(rng: PhiloxRandom, alphas: &[f64], out: &mut [T]) {
    per_output(rng, alphas.len(), out, |i| Gamma::new(alphas[i]), |gamma, rng| T::from_f64(gamma.sample(rng.by(256))));
}

struct Gamma {
    alpha: f64,
    d: f64,
    c: f64,
}

impl Gamma {
    fn new(alpha: f64) -> Gamma {
        let d = alpha + if alpha < 1.0 { 2.0 / 3.0 } else { -1.0 / 3.0 };
        Gamma { alpha, d, c: 1.0 / 3.0 / d.sqrt() }
    }

    fn sample(&self, mut rng: PhiloxRandom) -> f64 {
        let &Gamma { alpha, d, c } = self;
        let mut uniforms = Backwards::default();
        if alpha == 1.0 {
            return -(-uniforms.next(&mut rng, f64::uniform)).ln_1p();
        }
        let mut normals = Backwards::default();
        // Without a number c no sample would ever be accepted.
        if !c.is_finite() {
            return f64::NAN;
        }
        loop {
            let x = normals.next(&mut rng, f64::normal);
            let root = 1.0 + c * x;
            if root <= 0.0 {
                continue;
            }
            let v = root * root * root;
            let u = uniforms.next(&mut rng, f64::uniform);
            if u < 1.0 - 0.0331 * (x * x) * (x * x) || u.ln() < 0.5 * x * x + d * (1.0 - v + v.ln()) {
                let sample = d * v;
                if alpha < 1.0 {
                    return sample * uniforms.next(&mut rng, f64::uniform).powf(1.0 / alpha);
                }
                return sample;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_distribution() {
        let mut samples = [0f64; 3];
        gamma(PhiloxRandom::new(1, 2), &[f64::NAN, -1.0, f64::INFINITY], &mut samples);
        assert!(samples[0].is_nan() && samples[1].is_nan());
        assert_eq!(samples[2], f64::INFINITY);
    }
}
