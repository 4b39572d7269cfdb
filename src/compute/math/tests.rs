use super::*;
use crate::compute::level::tests::at_every_level;

/// How many floats lie between the two, less than one of them counting as a fraction of the exact value's spacing.
fn ulps(got: f64, exact: f64, spacing: f64) -> f64 {
    if got == exact || got.is_nan() && exact.is_nan() { 0.0 } else { (got - exact).abs() / spacing }
}

fn spacing_of_f32(exact: f64) -> f64 {
    let magnitude = (exact.abs() as f32).clamp(f32::MIN_POSITIVE, f32::MAX);
    f64::from(magnitude) - f64::from(f32::from_bits(magnitude.to_bits() - 1))
}

fn spacing_of_f64(exact: f64) -> f64 {
    let magnitude = exact.abs().clamp(f64::MIN_POSITIVE, f64::MAX);
    magnitude - f64::from_bits(magnitude.to_bits() - 1)
}

/// Compares with a function of f64 over all magnitudes and both signs.
fn check_f32<F: Unary<f32>>(f: F, exact: impl Fn(f64) -> f64, most: f64) {
    let every = (0..=u32::MAX).step_by(1_000_003).map(f32::from_bits);
    let special =
        [0.0, -0.0, 1.0, -1.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX, f32::MIN_POSITIVE, 1e-40, 0.5, 88.0];
    let moderate = (-400..400).map(|i| i as f32 * 0.2503);
    let x: Vec<f32> = every.chain(special).chain(moderate).collect();
    let mut y = vec![0.0; x.len()];
    map(f, &x, &mut y);
    let mut worst = (0.0, 0.0, 0.0);
    for (x, y) in x.iter().zip(y) {
        let value = exact(f64::from(*x));
        // Results that aren't normal numbers may be flushed to zero.
        let rounded = value as f32;
        let error = if rounded.is_infinite() || rounded.abs() < f32::MIN_POSITIVE {
            let same = y == rounded || y.abs() < 2.0 * f32::MIN_POSITIVE && rounded.abs() < f32::MIN_POSITIVE;
            if same { 0.0 } else { f64::INFINITY }
        } else {
            ulps(f64::from(y), value, spacing_of_f32(value))
        };
        if error > worst.0 || error.is_nan() {
            worst = (error, *x, y);
        }
    }
    assert!(worst.0 <= most, "{} ulps at {:e}: {:e} for {:e}", worst.0, worst.1, worst.2, exact(f64::from(worst.1)));
}

fn check_f64<F: Unary<f64>>(f: F, exact: impl Fn(f64) -> f64) {
    let special = [0.0, -0.0, 1.0, -1.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, f64::MAX, f64::MIN_POSITIVE, 1e-310, 709.5];
    let powers = (-300..300).flat_map(|i| [1.37, -1.71].map(|x| x * 10f64.powi(i)));
    let moderate = (-1500..1500).map(|i| f64::from(i) * 0.4703);
    for x in special.into_iter().chain(powers).chain(moderate) {
        let (y, value) = (scalar(f, x), exact(x));
        let small = y.abs() < 2.0 * f64::MIN_POSITIVE && value.abs() < f64::MIN_POSITIVE;
        let error = if small { 0.0 } else { ulps(y, value, spacing_of_f64(value)) };
        assert!(error <= 3.0, "{error} ulps at {x:e}: {y:e} for {value:e}");
    }
}

fn sigmoid(x: f64) -> f64 {
    if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) }
}

fn elu(x: f64) -> f64 {
    if x < 0.0 { x.exp_m1() } else { x }
}

fn softplus(x: f64) -> f64 {
    if x > 40.0 { x } else { x.exp().ln_1p() }
}

fn selu(x: f64) -> f64 {
    1.050_700_987_355_480_5 * if x < 0.0 { 1.673_263_242_354_377_2 * x.exp_m1() } else { x }
}

#[test]
fn functions_of_f32_are_accurate() {
    at_every_level(|| {
        check_f32(Exp, f64::exp, 2.0);
        check_f32(Expm1, f64::exp_m1, 2.0);
        check_f32(Tanh, f64::tanh, 2.5);
        check_f32(Sigmoid, sigmoid, 2.5);
        check_f32(Elu, elu, 2.0);
        check_f32(Selu, selu, 3.0);
        check_f32(Log, f64::ln, 1.0);
        check_f32(Log1p, f64::ln_1p, 2.0);
        check_f32(Softplus, softplus, 2.5);
        check_f32(Erf, libm::erf, 2.0);
        check_f32(Sin, f64::sin, 3.0);
        check_f32(Cos, f64::cos, 3.0);
    });
}

#[test]
fn functions_of_f64_are_accurate() {
    at_every_level(|| {
        check_f64(Exp, f64::exp);
        check_f64(Expm1, f64::exp_m1);
        check_f64(Tanh, f64::tanh);
        check_f64(Sigmoid, sigmoid);
        check_f64(Log, f64::ln);
        check_f64(Log1p, f64::ln_1p);
        check_f64(Elu, elu);
        check_f64(Softplus, softplus);
    });
}

#[test]
fn signs_of_zero_are_kept() {
    at_every_level(|| {
        for zero in [0.0f32, -0.0] {
            let values = [scalar(Sin, zero), scalar(Tanh, zero), scalar(Expm1, zero), scalar(Log1p, zero), scalar(Erf, zero)];
            assert!(values.iter().all(|y| y.to_bits() == zero.to_bits()), "{zero}: {values:?}");
        }
    });
}

#[test]
fn all_lengths() {
    at_every_level(|| {
        for length in [0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 100, 20_000] {
            let x: Vec<f32> = (0..length).map(|i| i as f32 / 7.0 - 3.0).collect();
            let mut y = vec![9.0; length];
            map(Exp, &x, &mut y);
            let near = |(x, y): (&f32, &f32)| *y == x.exp() || (x.exp() - y).abs() <= 1e-6 * x.exp();
            assert!(x.iter().zip(&y).all(near), "{length}");
        }
    });
}
