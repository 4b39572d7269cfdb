//! Numbers that optimizers compute with, and how tensors store them: half types compute in `f32`.

use crate::tensor::Element;
use half::{bf16, f16};
use num_complex::Complex;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// A number that an update computes with.
pub(super) trait Field:
    Copy
    + Send
    + Sync
    + Default
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// A small constant.
    fn of(value: f64) -> Self;
    /// The square root.
    fn sqrt(self) -> Self;
    /// The reciprocal of the square root.
    #[inline(always)]
    fn rsqrt(self) -> Self {
        Self::of(1.0) / self.sqrt()
    }
    /// The product with itself.
    #[inline(always)]
    fn square(self) -> Self {
        self * self
    }
}

/// A number that has an order.
pub(super) trait Ordered: Field + PartialOrd {
    /// The magnitude.
    fn abs(self) -> Self;
    /// The larger one.
    fn max(self, other: Self) -> Self;
    /// The power.
    fn power(self, exponent: Self) -> Self;
    /// The exponential.
    fn exp(self) -> Self;
    /// -1, 0 or 1.
    #[inline(always)]
    fn sign(self) -> Self {
        let zero = Self::of(0.0);
        if self > zero {
            Self::of(1.0)
        } else if self < zero {
            Self::of(-1.0)
        } else {
            self
        }
    }
}

macro_rules! fields {
    ($($float:ident)*) => {
        $(impl Field for $float {
            #[inline(always)]
            fn of(value: f64) -> $float {
                value as $float
            }
            #[inline(always)]
            fn sqrt(self) -> $float {
                $float::sqrt(self)
            }
        }
        impl Ordered for $float {
            #[inline(always)]
            fn abs(self) -> $float {
                $float::abs(self)
            }
            #[inline(always)]
            fn max(self, other: $float) -> $float {
                if self < other { other } else { self }
            }
            fn power(self, exponent: $float) -> $float {
                self.powf(exponent)
            }
            fn exp(self) -> $float {
                $float::exp(self)
            }
        }
        impl Field for Complex<$float> {
            #[inline(always)]
            fn of(value: f64) -> Complex<$float> {
                Complex::new(value as $float, 0.0)
            }
            #[inline(always)]
            fn sqrt(self) -> Complex<$float> {
                Complex::sqrt(self)
            }
        }
        impl Stored for $float {
            type Field = $float;
            #[inline(always)]
            fn load(self) -> $float {
                self
            }
            #[inline(always)]
            fn store(value: $float) -> $float {
                value
            }
        }
        impl Stored for Complex<$float> {
            type Field = Complex<$float>;
            #[inline(always)]
            fn load(self) -> Complex<$float> {
                self
            }
            #[inline(always)]
            fn store(value: Complex<$float>) -> Complex<$float> {
                value
            }
        })*
    };
}

/// An element of a tensor that an optimizer updates.
pub(super) trait Stored: Element {
    /// What it computes in.
    type Field: Field;
    /// The element as a number to compute with.
    fn load(self) -> Self::Field;
    /// The number as an element.
    fn store(value: Self::Field) -> Self;
}

fields! { f32 f64 }

macro_rules! halves {
    ($($half:ident)*) => {
        $(impl Stored for $half {
            type Field = f32;
            #[inline(always)]
            fn load(self) -> f32 {
                self.to_f32()
            }
            #[inline(always)]
            fn store(value: f32) -> $half {
                $half::from_f32(value)
            }
        })*
    };
}

halves! { f16 bf16 }
