//! The binomial distribution.

use super::per_output::{Backwards, Skipped, per_output};
use super::{CountOutput, PhiloxRandom, RandomFloat};

/// Fills a slice with samples of binomial distributions: sums of geometric variables where `count * prob < 10`, else
/// Hörmann's transformed rejection ("The generation of binomial random variates", 1993).
///
/// `out` is a `[samples, counts.len()]` array in row-major order, where `counts` and `probs` are of one length. A count
/// or probability not above 0 gives 0, a probability of 1 or more gives the count, and NaN gives NaN, or 0 as an
/// integer. Of `StatelessRandomBinomial` and `StatefulRandomBinomial`.
pub fn binomial<T: RandomFloat, U: CountOutput>(rng: PhiloxRandom, counts: &[T], probs: &[T], out: &mut [U]) {
    per_output(
        rng,
        counts.len().min(probs.len()),
        out,
        |i| Binomial::new(counts[i], probs[i]),
        |binomial, rng| U::from_f64(binomial.sample(rng)),
    );
}

enum Binomial {
    Constant(f64),
    /// `prob` is at most a half; where it was above, the sample is subtracted from the count.
    Random {
        count: f64,
        prob: f64,
        inverted: bool,
        inversion: bool,
    },
}

impl Binomial {
    fn new<T: RandomFloat>(count: T, prob: T) -> Binomial {
        let wide = |value: T| value.to_f64().unwrap_or(f64::NAN);
        let (half, ten) = (T::from_f64(0.5), T::from_f64(10.0));
        if wide(count) <= 0.0 || prob <= T::zero() {
            return Binomial::Constant(0.0);
        }
        if prob >= T::one() {
            return Binomial::Constant(wide(count));
        }
        if prob.is_nan() || !count.is_finite() {
            return Binomial::Constant(f64::NAN);
        }
        let inverted = prob > half;
        let prob = if inverted { T::one() - prob } else { prob };
        Binomial::Random { count: wide(count), prob: wide(prob), inverted, inversion: count * prob < ten }
    }

    fn sample(&self, rng: Skipped) -> f64 {
        match *self {
            Binomial::Constant(value) => value,
            Binomial::Random { count, prob, inverted, inversion } => {
                let sample = if inversion {
                    // Fewer than 42 uniforms are needed where count * prob < 10, save with negligible probability.
                    sum_of_geometrics(count, prob, rng.by(42))
                } else {
                    transformed_rejection(count, prob, rng.by(256))
                };
                if inverted { count - sample } else { sample }
            }
        }
    }
}

fn sum_of_geometrics(count: f64, prob: f64, mut rng: PhiloxRandom) -> f64 {
    let mut uniforms = Backwards::default();
    let mut sum = 0.0;
    let mut successes = 0.0;
    loop {
        let u = uniforms.next(&mut rng, f64::uniform);
        sum += (u.ln() / (-prob).ln_1p()).ceil();
        if sum > count || sum.is_nan() {
            return successes;
        }
        successes += 1.0;
    }
}

fn transformed_rejection(count: f64, prob: f64, mut rng: PhiloxRandom) -> f64 {
    let stddev = (count * prob * (1.0 - prob)).sqrt();
    let b = 1.15 + 2.53 * stddev;
    let a = -0.0873 + 0.0248 * b + 0.01 * prob;
    let c = count * prob + 0.5;
    let tight = 0.92 - 4.2 / b;
    let r = prob / (1.0 - prob);
    let alpha = (2.83 + 5.1 / b) * stddev;
    let m = ((count + 1.0) * prob).floor();
    let mut uniforms = Backwards::default();
    loop {
        let u = uniforms.next(&mut rng, f64::uniform) - 0.5;
        let v = uniforms.next(&mut rng, f64::uniform);
        let shifted = 0.5 - u.abs();
        let k = ((2.0 * a / shifted + b) * u + c).floor();
        if shifted >= 0.07 && v <= tight {
            return k;
        }
        if k < 0.0 || k > count {
            continue;
        }
        let upper = (m + 0.5) * ((m + 1.0) / (r * (count - m + 1.0))).ln()
            + (count + 1.0) * ((count - m + 1.0) / (count - k + 1.0)).ln()
            + (k + 0.5) * (r * (count - k + 1.0) / (k + 1.0)).ln()
            + stirling_tail(m)
            + stirling_tail(count - m)
            - stirling_tail(k)
            - stirling_tail(count - k);
        if (v * alpha / (a / (shifted * shifted) + b)).ln() <= upper {
            return k;
        }
    }
}

/// `ln(k!)` less Stirling's formula for it.
fn stirling_tail(k: f64) -> f64 {
    const TAILS: [f64; 10] = [
        0.0810614667953272,
        0.0413406959554092,
        0.0276779256849983,
        0.02079067210376509,
        0.0166446911898211,
        0.0138761288230707,
        0.0118967099458917,
        0.0104112652619720,
        0.00925546218271273,
        0.00833056343336287,
    ];
    if k <= 9.0 {
        return TAILS[k as usize];
    }
    let square = (k + 1.0) * (k + 1.0);
    (1.0 / 12.0 - (1.0 / 360.0 - 1.0 / 1260.0 / square) / square) / (k + 1.0)
}
