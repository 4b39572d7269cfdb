//! Special functions, computed in `f64` whatever the element type.
//!
//! Values outside of a function's domain (NaN or an infinity) are those of TensorFlow's CPU kernels.

mod bessel;
mod error_function;
mod gamma;
mod incomplete;
mod integrals;

pub(crate) use bessel::*;
pub(crate) use error_function::*;
pub(crate) use gamma::*;
pub(crate) use incomplete::*;
pub(crate) use integrals::*;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, f: impl Fn(f64) -> f64, values: &[(f64, f64)]) {
        for &(x, expected) in values {
            let got = f(x);
            let near = (got - expected).abs() <= 1e-12 + 1e-9 * expected.abs();
            assert!(near || got == expected || (got.is_nan() && expected.is_nan()), "{name}({x}) = {got}, not {expected}");
        }
    }

    #[test]
    fn values_are_those_of_tensorflow() {
        let (inf, nan) = (f64::INFINITY, f64::NAN);
        check("digamma", digamma, &[(0.5, -1.9635100260214235), (-1.5, 0.703156640645243), (0.0, nan), (-1.0, nan), (inf, inf)]);
        check("lgamma", lgamma, &[(0.5, 0.5723649429247001), (-1.5, 0.860047015376481), (0.0, inf), (1e5, 1051287.708973657)]);
        check("erf", erf, &[(0.5, 0.5204998778130465), (-3.0, -0.9999779095030014), (nan, nan)]);
        check("erfc", erfc, &[(0.5, 0.4795001221869535), (10.0, 2.088487583762545e-45)]);
        check(
            "erfinv",
            erfinv,
            &[
                (0.5, 0.4769362762044699),
                (1e-10, 8.862269254527581e-11),
                (-0.999999, -3.4589107372754997),
                (1.0, inf),
                (2.0, nan),
            ],
        );
        check("ndtri", ndtri, &[(0.5, 0.0), (0.1, -1.2815515655446004), (1e-10, -6.361340902404056), (0.0, -inf), (2.0, nan)]);
        check(
            "zeta(3, _)",
            |q| zeta(3.0, q),
            &[(1.0, 1.2020569031595942), (-1.5, 0.11810202582086413), (0.0, nan), (30.0, 0.0005743826018642998)],
        );
        check("zeta(_, 2)", |x| zeta(x, 2.0), &[(1.0, inf), (0.5, nan), (2.0, 0.6449340668482264)]);
        check("zeta(2, _)", |q| zeta(2.0, q), &[(0.0, inf), (-1.0, inf)]);
        check("polygamma(_, 2)", |n| polygamma(n, 2.0), &[(0.0, 0.4227843350984671), (1.0, 0.6449340668482264), (1.5, nan)]);
        check("i0", bessel_i0, &[(1.0, 1.2660658777520082), (-2.0, 2.279585302336067), (0.0, 1.0), (inf, nan)]);
        check(
            "i0e",
            bessel_i0e,
            &[(30.0, 0.07314594648223728), (1.0, 0.46575960759364043), (inf, 0.0), (24.0, 0.08186828833403062)],
        );
        check("i1", bessel_i1, &[(1.0, 0.5651591039924851), (-1.0, -0.5651591039924851), (30.0, 768532038938.9568)]);
        check("k0", bessel_k0, &[(1.0, 0.42102443824070834), (0.01, 4.721244730161095), (0.0, inf), (-1.0, inf), (inf, 0.0)]);
        check("k1", bessel_k1, &[(1.0, 0.6019072301972346), (0.01, 99.97389411829626), (30.0, 2.1677320018915495e-14)]);
        check("k1e", bessel_k1e, &[(1.0, 1.636153486263258), (1e3, 0.0396481308129602)]);
        check("j0", bessel_j0, &[(1.0, 0.7651976865579666), (30.0, -0.08636798358104821), (inf, nan)]);
        check("y1", bessel_y1, &[(1.0, -0.7812128213002887), (0.0, -inf), (-1.0, -inf)]);
        check(
            "dawsn",
            dawsn,
            &[(1.0, 0.5380795069127684), (-1.0, -0.5380795069127684), (30.0, 0.016675941401059175), (0.0, 0.0)],
        );
        check(
            "expint",
            expint,
            &[(1.0, 1.8951178163559368), (30.0, 368973209407.2742), (0.0, -inf), (50.0, 1.0585636897131690e20)],
        );
        check(
            "fresnel_cos",
            fresnel_cos,
            &[(1.0, 0.7798934003768228), (-5.0, -0.5636311887040122), (inf, 0.5), (2.9, 0.5623764502258239)],
        );
        check("fresnel_sin", fresnel_sin, &[(1.0, 0.4382591473903548), (5.0, 0.49919138191711687), (3.1, 0.5818158680858746)]);
        check(
            "spence",
            spence,
            &[
                (0.0, 1.6449340668482264),
                (1.0, 0.0),
                (0.1, 1.2997147230049587),
                (2.0, -0.8224670334241132),
                (30.0, -7.280084707384272),
                (-1.0, nan),
            ],
        );
    }

    #[test]
    fn incomplete_functions_are_those_of_tensorflow() {
        let (inf, nan) = (f64::INFINITY, f64::NAN);
        for (a, x, p) in [(2.0, 3.0, 0.8008517265285442), (1.0, 0.0, 0.0), (1.0, inf, 1.0), (inf, 1.0, 0.0), (0.0, 1.0, nan)] {
            check("igamma", |a| igamma(a, x), &[(a, p)]);
            check("igammac", |a| igammac(a, x), &[(a, 1.0 - p)]);
        }
        check("igammac(10, _)", |x| igammac(10.0, x), &[(50.0, 1.2596084591660847e-12), (1.0, 0.9999998885745216)]);
        check("igamma_grad_a(2, _)", |x| igamma_grad_a(2.0, x), &[(3.0, -0.19742541957920223), (0.0, 0.0)]);
        for (a, x, expected) in [
            (0.01, 1e-10, 2.2464965474394068e-07),
            (0.001, 1e-05, 0.10937472778081823),
            (0.5, 0.3, 1.0098019459488548),
            (1.0, 2.0, 1.6316914623496996),
            (20.0, 15.0, 0.8702478030170775),
            (1000.0, 1010.0, 1.0051509296764916),
            (0.5, 30.0, 5.310732160958596),
            (2.0, 0.0, 0.0),
            (2.0, 1000.0, 0.0),
            (0.0, 1.0, nan),
            (1.0, -1.0, nan),
            (0.0, 0.0, 0.0),
            (1.0, nan, nan),
        ] {
            check("gamma_sample_derivative", |a| gamma_sample_derivative(a, x), &[(a, expected)]);
        }
        for (a, b, x, expected) in [
            (1.0, 1.0, 0.5, 0.5),
            (2.0, 3.0, 0.3, 0.3483),
            (0.0, 1.0, 0.5, nan),
            (1.0, 1.0, 0.0, 0.0),
            (1.0, 2.0, 1.0, 1.0),
            (2.0, 2.0, -1.0, nan),
            (150.0, 120.0, 0.5, 0.03359019636276388),
        ] {
            let got = betainc(a, b, x);
            assert!((got - expected).abs() < 1e-8 || (got.is_nan() && expected.is_nan()), "betainc({a}, {b}, {x}) = {got}");
        }
    }
}
