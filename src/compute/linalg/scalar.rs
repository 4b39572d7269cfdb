//! The numbers of which matrices are decomposed.

use crate::compute::gemm::GemmElement;
use num_complex::Complex;
use num_traits::Float;
use std::fmt::Debug;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// A real or complex number.
pub trait Scalar:
    Copy
    + Debug
    + PartialEq
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + GemmElement
{
    /// The type of the real part.
    type Real: RealScalar;
    /// Zero.
    const ZERO: Self;
    /// One.
    const ONE: Self;
    /// Whether there is an imaginary part.
    const COMPLEX: bool;

    /// A number with this real part.
    fn from_real(real: Self::Real) -> Self;
    /// A number with these parts; a real one takes the first.
    fn from_parts(real: Self::Real, imag: Self::Real) -> Self;
    /// The real part.
    fn real(self) -> Self::Real;
    /// The imaginary part.
    fn imag(self) -> Self::Real;
    /// The complex conjugate.
    fn conj(self) -> Self;
    /// The squared absolute value.
    fn norm_sqr(self) -> Self::Real;
    /// The absolute value.
    fn modulus(self) -> Self::Real;
    /// The product with a real number.
    fn scale(self, factor: Self::Real) -> Self;
    /// Whether both parts are finite.
    fn finite(self) -> bool;

    /// The sum of the absolute values of the parts.
    fn norm1(self) -> Self::Real {
        Float::abs(self.real()) + Float::abs(self.imag())
    }

    /// As a complex number.
    fn complex(self) -> Complex<Self::Real> {
        Complex { re: self.real(), im: self.imag() }
    }
}

/// A real number.
pub trait RealScalar: Scalar<Real = Self> + Float {}

macro_rules! scalars {
    ($($real:ty),*) => {
        $(impl Scalar for $real {
            type Real = $real;
            const ZERO: $real = 0.0;
            const ONE: $real = 1.0;
            const COMPLEX: bool = false;

            #[inline(always)]
            fn from_real(real: $real) -> $real { real }
            #[inline(always)]
            fn from_parts(real: $real, _: $real) -> $real { real }
            #[inline(always)]
            fn real(self) -> $real { self }
            #[inline(always)]
            fn imag(self) -> $real { 0.0 }
            #[inline(always)]
            fn conj(self) -> $real { self }
            #[inline(always)]
            fn norm_sqr(self) -> $real { self * self }
            #[inline(always)]
            fn modulus(self) -> $real { <$real>::abs(self) }
            #[inline(always)]
            fn scale(self, factor: $real) -> $real { self * factor }
            #[inline(always)]
            fn finite(self) -> bool { <$real>::is_finite(self) }
        }

        impl RealScalar for $real {}

        impl Scalar for Complex<$real> {
            type Real = $real;
            const ZERO: Complex<$real> = Complex { re: 0.0, im: 0.0 };
            const ONE: Complex<$real> = Complex { re: 1.0, im: 0.0 };
            const COMPLEX: bool = true;

            #[inline(always)]
            fn from_real(real: $real) -> Self { Complex { re: real, im: 0.0 } }
            #[inline(always)]
            fn from_parts(re: $real, im: $real) -> Self { Complex { re, im } }
            #[inline(always)]
            fn real(self) -> $real { self.re }
            #[inline(always)]
            fn imag(self) -> $real { self.im }
            #[inline(always)]
            fn conj(self) -> Self { Complex { re: self.re, im: -self.im } }
            #[inline(always)]
            fn norm_sqr(self) -> $real { self.re * self.re + self.im * self.im }
            #[inline(always)]
            fn modulus(self) -> $real { self.re.hypot(self.im) }
            #[inline(always)]
            fn scale(self, factor: $real) -> Self { Complex { re: self.re * factor, im: self.im * factor } }
            #[inline(always)]
            fn finite(self) -> bool { self.re.is_finite() && self.im.is_finite() }
        })*
    };
}

scalars!(f32, f64);

/// A real constant.
pub(crate) fn constant<R: RealScalar>(value: f64) -> R {
    <R as num_traits::NumCast>::from(value).unwrap_or(R::ZERO)
}
