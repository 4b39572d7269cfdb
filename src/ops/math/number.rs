//! Arithmetic of the element types, as TensorFlow's kernels do it: integers wrap, half types go through `f32`.

use crate::tensor::Element;
use half::{bf16, f16};
use num_complex::Complex;

/// A number of any kind.
pub(crate) trait Number: Element {
    const ZERO: Self;
    const ONE: Self;

    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn neg(self) -> Self;

    /// A small constant.
    fn from_f64(value: f64) -> Self;

    /// True for zero of either sign.
    #[inline(always)]
    fn is_zero(self) -> bool {
        self == Self::ZERO
    }

    /// The complex conjugate; real numbers are their own.
    #[inline(always)]
    fn conj(self) -> Self {
        self
    }
}

/// An ordered number.
pub(crate) trait Real: Number + PartialOrd {
    const LOWEST: Self;
    const HIGHEST: Self;

    fn to_f64(self) -> f64;

    /// The larger one; NaN where one is NaN.
    fn maximum(self, other: Self) -> Self;

    /// The smaller one; NaN where one is NaN.
    fn minimum(self, other: Self) -> Self;

    fn abs(self) -> Self;

    /// -1, 0 or 1; NaN stays.
    fn signum(self) -> Self;
}

/// An integer. Division by zero gives zero here; kernels look for it before.
pub(crate) trait Integer: Real + Eq + Ord {
    fn div(self, other: Self) -> Self;
    fn floor_div(self, other: Self) -> Self;
    fn rem(self, other: Self) -> Self;
    fn floor_rem(self, other: Self) -> Self;
    /// The power; negative exponents give zero, kernels look for them before.
    fn power(self, exponent: Self) -> Self;
    fn and(self, other: Self) -> Self;
    fn or(self, other: Self) -> Self;
    fn xor(self, other: Self) -> Self;
    fn not(self) -> Self;
    /// Shifts by 0 to the number of bits less 1; other counts mean the nearest of these.
    fn shift_left(self, count: Self) -> Self;
    fn shift_right(self, count: Self) -> Self;
    fn ones(self) -> u8;
    fn from_i64(value: i64) -> Self;
}

macro_rules! functions {
    ($with:ident) => {
        $with! {
            sqrt rsqrt exp exp_m1 ln ln_1p sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh sigmoid sign
        }
    };
}

macro_rules! declare_functions {
    ($($name:ident)*) => {
        /// A floating-point or complex number.
        pub(crate) trait Inexact: Number {
            fn div(self, other: Self) -> Self;
            fn power(self, exponent: Self) -> Self;
            $(fn $name(self) -> Self;)*
        }
    };
}

functions!(declare_functions);

/// A floating-point number.
pub(crate) trait Float: Inexact + Real {
    fn floor(self) -> Self;
    fn ceil(self) -> Self;
    fn round_even(self) -> Self;
    /// The remainder with the sign of the dividend.
    fn fmod(self, other: Self) -> Self;
    fn atan2(self, other: Self) -> Self;
    fn is_nan(self) -> bool;
    fn is_infinite(self) -> bool;
}

macro_rules! integers {
    ($($type:ty, $unsigned:ty, $signed:literal;)*) => {
        $(impl Number for $type {
            const ZERO: $type = 0;
            const ONE: $type = 1;

            #[inline(always)]
            fn add(self, other: $type) -> $type { self.wrapping_add(other) }
            #[inline(always)]
            fn sub(self, other: $type) -> $type { self.wrapping_sub(other) }
            #[inline(always)]
            fn mul(self, other: $type) -> $type { self.wrapping_mul(other) }
            #[inline(always)]
            fn neg(self) -> $type { self.wrapping_neg() }
            #[inline(always)]
            fn from_f64(value: f64) -> $type { value as $type }
        }

        impl Real for $type {
            const LOWEST: $type = <$type>::MIN;
            const HIGHEST: $type = <$type>::MAX;

            #[inline(always)]
            fn to_f64(self) -> f64 { self as f64 }
            #[inline(always)]
            fn maximum(self, other: $type) -> $type { self.max(other) }
            #[inline(always)]
            fn minimum(self, other: $type) -> $type { self.min(other) }
            #[inline(always)]
            fn abs(self) -> $type { if $signed && self < Self::ZERO { self.wrapping_neg() } else { self } }
            #[inline(always)]
            fn signum(self) -> $type {
                if self > Self::ZERO { 1 } else if self == Self::ZERO { 0 } else { Self::ZERO.wrapping_sub(1) }
            }
        }

        impl Integer for $type {
            #[inline(always)]
            fn div(self, other: $type) -> $type { if other == 0 { 0 } else { self.wrapping_div(other) } }
            #[inline(always)]
            fn floor_div(self, other: $type) -> $type {
                let quotient = Integer::div(self, other);
                let inexact = quotient.wrapping_mul(other) != self;
                if inexact && (self < Self::ZERO) != (other < Self::ZERO) { quotient.wrapping_sub(1) } else { quotient }
            }
            #[inline(always)]
            fn rem(self, other: $type) -> $type { if other == 0 { 0 } else { self.wrapping_rem(other) } }
            #[inline(always)]
            fn floor_rem(self, other: $type) -> $type {
                let rest = Integer::rem(self, other);
                if rest != 0 && (rest < Self::ZERO) != (other < Self::ZERO) { rest.wrapping_add(other) } else { rest }
            }
            #[inline(always)]
            fn power(self, exponent: $type) -> $type {
                let (mut base, mut exponent, mut result) = (self, exponent, 1 as $type);
                while exponent > Self::ZERO {
                    if exponent & 1 == 1 { result = result.wrapping_mul(base); }
                    base = base.wrapping_mul(base);
                    exponent >>= 1;
                }
                result
            }
            #[inline(always)]
            fn and(self, other: $type) -> $type { self & other }
            #[inline(always)]
            fn or(self, other: $type) -> $type { self | other }
            #[inline(always)]
            fn xor(self, other: $type) -> $type { self ^ other }
            #[inline(always)]
            fn not(self) -> $type { !self }
            #[inline(always)]
            fn shift_left(self, count: $type) -> $type {
                let last = (<$type>::BITS - 1) as $type;
                self << count.clamp(Self::ZERO, last)
            }
            #[inline(always)]
            fn shift_right(self, count: $type) -> $type {
                let last = (<$type>::BITS - 1) as $type;
                self >> count.clamp(Self::ZERO, last)
            }
            #[inline(always)]
            fn ones(self) -> u8 { self.count_ones() as u8 }
            #[inline(always)]
            fn from_i64(value: i64) -> $type { value as $type }
        })*
    };
}

integers! {
    i8, u8, true; i16, u16, true; i32, u32, true; i64, u64, true;
    u8, u8, false; u16, u16, false; u32, u32, false; u64, u64, false;
}

macro_rules! floats {
    ($($type:ident)*) => {
        $(impl Number for $type {
            const ZERO: $type = 0.0;
            const ONE: $type = 1.0;

            #[inline(always)]
            fn add(self, other: $type) -> $type { self + other }
            #[inline(always)]
            fn sub(self, other: $type) -> $type { self - other }
            #[inline(always)]
            fn mul(self, other: $type) -> $type { self * other }
            #[inline(always)]
            fn neg(self) -> $type { -self }
            #[inline(always)]
            fn from_f64(value: f64) -> $type { value as $type }
        }

        impl Real for $type {
            const LOWEST: $type = <$type>::NEG_INFINITY;
            const HIGHEST: $type = <$type>::INFINITY;

            #[inline(always)]
            fn to_f64(self) -> f64 { self as f64 }
            #[inline(always)]
            fn maximum(self, other: $type) -> $type { if self >= other || self.is_nan() { self } else { other } }
            #[inline(always)]
            fn minimum(self, other: $type) -> $type { if self <= other || self.is_nan() { self } else { other } }
            #[inline(always)]
            fn abs(self) -> $type { <$type>::abs(self) }
            #[inline(always)]
            fn signum(self) -> $type {
                if self > 0.0 { 1.0 } else if self < 0.0 { -1.0 } else if self == 0.0 { 0.0 } else { self }
            }
        }

        impl Inexact for $type {
            #[inline(always)]
            fn div(self, other: $type) -> $type { self / other }
            #[inline(always)]
            fn power(self, exponent: $type) -> $type { self.powf(exponent) }
            #[inline(always)]
            fn sqrt(self) -> $type { <$type>::sqrt(self) }
            #[inline(always)]
            fn rsqrt(self) -> $type { 1.0 / <$type>::sqrt(self) }
            #[inline(always)]
            fn exp(self) -> $type { <$type>::exp(self) }
            #[inline(always)]
            fn exp_m1(self) -> $type { <$type>::exp_m1(self) }
            #[inline(always)]
            fn ln(self) -> $type { <$type>::ln(self) }
            #[inline(always)]
            fn ln_1p(self) -> $type { <$type>::ln_1p(self) }
            #[inline(always)]
            fn sin(self) -> $type { <$type>::sin(self) }
            #[inline(always)]
            fn cos(self) -> $type { <$type>::cos(self) }
            #[inline(always)]
            fn tan(self) -> $type { <$type>::tan(self) }
            #[inline(always)]
            fn asin(self) -> $type { <$type>::asin(self) }
            #[inline(always)]
            fn acos(self) -> $type { <$type>::acos(self) }
            #[inline(always)]
            fn atan(self) -> $type { <$type>::atan(self) }
            #[inline(always)]
            fn sinh(self) -> $type { <$type>::sinh(self) }
            #[inline(always)]
            fn cosh(self) -> $type { <$type>::cosh(self) }
            #[inline(always)]
            fn tanh(self) -> $type { <$type>::tanh(self) }
            #[inline(always)]
            fn asinh(self) -> $type { <$type>::asinh(self) }
            #[inline(always)]
            fn acosh(self) -> $type { <$type>::acosh(self) }
            #[inline(always)]
            fn atanh(self) -> $type { <$type>::atanh(self) }
            #[inline(always)]
            fn sigmoid(self) -> $type { 1.0 / (1.0 + <$type>::exp(-self)) }
            #[inline(always)]
            fn sign(self) -> $type { Real::signum(self) }
        }

        impl Float for $type {
            #[inline(always)]
            fn floor(self) -> $type { <$type>::floor(self) }
            #[inline(always)]
            fn ceil(self) -> $type { <$type>::ceil(self) }
            #[inline(always)]
            fn round_even(self) -> $type { <$type>::round_ties_even(self) }
            #[inline(always)]
            fn fmod(self, other: $type) -> $type { self % other }
            #[inline(always)]
            fn atan2(self, other: $type) -> $type { <$type>::atan2(self, other) }
            #[inline(always)]
            fn is_nan(self) -> bool { <$type>::is_nan(self) }
            #[inline(always)]
            fn is_infinite(self) -> bool { <$type>::is_infinite(self) }
        })*
    };
}

floats! { f32 f64 }

macro_rules! half_functions {
    ($($name:ident)*) => {
        half_functions! { @type f16 $($name)* }
        half_functions! { @type bf16 $($name)* }
    };
    (@type $type:ident $($name:ident)*) => {
        impl Inexact for $type {
            #[inline(always)]
            fn div(self, other: $type) -> $type { $type::from_f32(self.to_f32() / other.to_f32()) }
            #[inline(always)]
            fn power(self, exponent: $type) -> $type { $type::from_f32(self.to_f32().powf(exponent.to_f32())) }
            $(#[inline(always)]
            fn $name(self) -> $type { $type::from_f32(Inexact::$name(self.to_f32())) })*
        }
    };
}

functions!(half_functions);

macro_rules! halves {
    ($($type:ident)*) => {
        $(impl Number for $type {
            const ZERO: $type = $type::ZERO;
            const ONE: $type = $type::ONE;

            #[inline(always)]
            fn add(self, other: $type) -> $type { $type::from_f32(self.to_f32() + other.to_f32()) }
            #[inline(always)]
            fn sub(self, other: $type) -> $type { $type::from_f32(self.to_f32() - other.to_f32()) }
            #[inline(always)]
            fn mul(self, other: $type) -> $type { $type::from_f32(self.to_f32() * other.to_f32()) }
            #[inline(always)]
            fn neg(self) -> $type { -self }
            #[inline(always)]
            fn from_f64(value: f64) -> $type { $type::from_f32(value as f32) }
        }

        impl Real for $type {
            const LOWEST: $type = $type::NEG_INFINITY;
            const HIGHEST: $type = $type::INFINITY;

            #[inline(always)]
            fn to_f64(self) -> f64 { $type::to_f64(self) }
            #[inline(always)]
            fn maximum(self, other: $type) -> $type { if self >= other || self.is_nan() { self } else { other } }
            #[inline(always)]
            fn minimum(self, other: $type) -> $type { if self <= other || self.is_nan() { self } else { other } }
            #[inline(always)]
            fn abs(self) -> $type { $type::from_bits(self.to_bits() & 0x7fff) }
            #[inline(always)]
            fn signum(self) -> $type { $type::from_f32(Real::signum(self.to_f32())) }
        }

        impl Float for $type {
            #[inline(always)]
            fn floor(self) -> $type { $type::from_f32(self.to_f32().floor()) }
            #[inline(always)]
            fn ceil(self) -> $type { $type::from_f32(self.to_f32().ceil()) }
            #[inline(always)]
            fn round_even(self) -> $type { $type::from_f32(self.to_f32().round_ties_even()) }
            #[inline(always)]
            fn fmod(self, other: $type) -> $type { $type::from_f32(self.to_f32() % other.to_f32()) }
            #[inline(always)]
            fn atan2(self, other: $type) -> $type { $type::from_f32(self.to_f32().atan2(other.to_f32())) }
            #[inline(always)]
            fn is_nan(self) -> bool { $type::is_nan(self) }
            #[inline(always)]
            fn is_infinite(self) -> bool { $type::is_infinite(self) }
        })*
    };
}

halves! { f16 bf16 }

macro_rules! complexes {
    ($($type:ty)*) => {
        $(impl Number for Complex<$type> {
            const ZERO: Self = Complex { re: 0.0, im: 0.0 };
            const ONE: Self = Complex { re: 1.0, im: 0.0 };

            #[inline(always)]
            fn add(self, other: Self) -> Self { self + other }
            #[inline(always)]
            fn sub(self, other: Self) -> Self { self - other }
            #[inline(always)]
            fn mul(self, other: Self) -> Self { self * other }
            #[inline(always)]
            fn neg(self) -> Self { -self }
            #[inline(always)]
            fn from_f64(value: f64) -> Self { Complex { re: value as $type, im: 0.0 } }
            #[inline(always)]
            fn conj(self) -> Self { Complex { re: self.re, im: -self.im } }
        })*
    };
}

complexes! { f32 f64 }

macro_rules! narrow_complex_functions {
    ($($name:ident)*) => {
        impl Inexact for Complex<f32> {
            #[inline(always)]
            fn div(self, other: Self) -> Self { narrow(Inexact::div(widen(self), widen(other))) }
            #[inline(always)]
            fn power(self, exponent: Self) -> Self { narrow(Inexact::power(widen(self), widen(exponent))) }
            $(#[inline(always)]
            fn $name(self) -> Self { narrow(Inexact::$name(widen(self))) })*
        }
    };
}

functions!(narrow_complex_functions);

#[inline(always)]
fn widen(value: Complex<f32>) -> Complex<f64> {
    Complex { re: f64::from(value.re), im: f64::from(value.im) }
}

#[inline(always)]
fn narrow(value: Complex<f64>) -> Complex<f32> {
    Complex { re: value.re as f32, im: value.im as f32 }
}

impl Inexact for Complex<f64> {
    fn div(self, other: Self) -> Self {
        self / other
    }
    fn power(self, exponent: Self) -> Self {
        if exponent == Self::ONE {
            return self;
        }
        (self.ln() * exponent).exp()
    }
    fn sqrt(self) -> Self {
        Complex::sqrt(self)
    }
    fn rsqrt(self) -> Self {
        Self::ONE / Complex::sqrt(self)
    }
    fn exp(self) -> Self {
        Complex::exp(self)
    }
    fn exp_m1(self) -> Self {
        // e^a cos b - 1 without cancellation near zero.
        let half_sine = (self.im / 2.0).sin();
        let re = self.re.exp_m1() * self.im.cos() - 2.0 * half_sine * half_sine;
        Complex { re, im: self.re.exp() * self.im.sin() }
    }
    fn ln(self) -> Self {
        Complex::ln(self)
    }
    fn ln_1p(self) -> Self {
        let one_more = Complex { re: self.re + 1.0, im: self.im };
        let re = if self.re.abs() < 0.5 && self.im.abs() < 0.5 {
            0.5 * (self.re * (2.0 + self.re) + self.im * self.im).ln_1p()
        } else {
            one_more.norm().ln()
        };
        Complex { re, im: one_more.arg() }
    }
    fn sin(self) -> Self {
        Complex::sin(self)
    }
    fn cos(self) -> Self {
        Complex::cos(self)
    }
    fn tan(self) -> Self {
        // tan z = -i tanh(i z)
        let t = Inexact::tanh(Complex { re: -self.im, im: self.re });
        Complex { re: t.im, im: -t.re }
    }
    fn asin(self) -> Self {
        // Kahan's formulas, whose branch cuts are those of C.
        let (plus, minus) = around_one(self);
        Complex { re: (self.re / (plus * minus).re).atan(), im: (minus.conj() * plus).im.asinh() }
    }
    fn acos(self) -> Self {
        let (plus, minus) = around_one(self);
        Complex { re: 2.0 * (minus.re / plus.re).atan(), im: (plus.conj() * minus).im.asinh() }
    }
    fn atan(self) -> Self {
        // atan z = -i atanh(i z), and so on for asinh.
        let t = Inexact::atanh(Complex { re: -self.im, im: self.re });
        Complex { re: t.im, im: -t.re }
    }
    fn sinh(self) -> Self {
        Complex::sinh(self)
    }
    fn cosh(self) -> Self {
        Complex::cosh(self)
    }
    fn tanh(self) -> Self {
        if self.re.abs() > 20.0 {
            let im = 4.0 * (self.im.sin() * self.im.cos()) * (-2.0 * self.re.abs()).exp();
            return Complex { re: 1f64.copysign(self.re), im };
        }
        Complex::tanh(self)
    }
    fn asinh(self) -> Self {
        let t = Inexact::asin(Complex { re: -self.im, im: self.re });
        Complex { re: t.im, im: -t.re }
    }
    fn acosh(self) -> Self {
        let minus = Complex { re: self.re - 1.0, im: self.im }.sqrt();
        let plus = Complex { re: self.re + 1.0, im: self.im }.sqrt();
        Complex { re: (minus.conj() * plus).re.asinh(), im: 2.0 * (minus.im / plus.re).atan() }
    }
    fn atanh(self) -> Self {
        let (plus, minus) = (Inexact::ln_1p(self), Inexact::ln_1p(Complex { re: -self.re, im: -self.im }));
        Complex { re: 0.5 * (plus.re - minus.re), im: 0.5 * (plus.im - minus.im) }
    }
    fn sigmoid(self) -> Self {
        if self.re < -700.0 {
            return Complex::exp(self);
        }
        Self::ONE / (Self::ONE + Complex::exp(-self))
    }
    fn sign(self) -> Self {
        let size = self.norm();
        if size == 0.0 { Self::ZERO } else { self / size }
    }
}

/// The roots of `1 + z` and `1 - z`.
fn around_one(z: Complex<f64>) -> (Complex<f64>, Complex<f64>) {
    (Complex { re: 1.0 + z.re, im: z.im }.sqrt(), Complex { re: 1.0 - z.re, im: -z.im }.sqrt())
}
