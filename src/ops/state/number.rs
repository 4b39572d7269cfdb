//! Arithmetic on elements as the update kernels do it: integers wrap, half types compute in `f32`.

use crate::error::{Result, bail};
use crate::tensor::Element;
use half::{bf16, f16};
use num_complex::Complex;

/// A number of any dtype.
pub(crate) trait Number: Element {
    /// `self + other`.
    fn plus(self, other: Self) -> Self;
    /// `self - other`.
    fn minus(self, other: Self) -> Self;
    /// `self * other`.
    fn times(self, other: Self) -> Self;
    /// `self / other`; none for an integer division by zero.
    fn over(self, other: Self) -> Option<Self>;
}

/// A number of an ordered dtype.
pub(crate) trait Real: Number {
    /// The smaller one; `self` where either isn't a number, unless `other` is smaller.
    fn least(self, other: Self) -> Self;
    /// The greater one.
    fn greatest(self, other: Self) -> Self;
}

macro_rules! numbers {
    (@real $type:ty) => {
        impl Real for $type {
            #[inline]
            fn least(self, other: Self) -> Self {
                if other < self { other } else { self }
            }
            #[inline]
            fn greatest(self, other: Self) -> Self {
                if other > self { other } else { self }
            }
        }
    };
    (ints: $($int:ty),*; floats: $($float:ty),*; complex: $($complex:ty),*) => {
        $(impl Number for $int {
            #[inline]
            fn plus(self, other: Self) -> Self { self.wrapping_add(other) }
            #[inline]
            fn minus(self, other: Self) -> Self { self.wrapping_sub(other) }
            #[inline]
            fn times(self, other: Self) -> Self { self.wrapping_mul(other) }
            #[inline]
            fn over(self, other: Self) -> Option<Self> {
                if other == 0 { None } else { Some(self.wrapping_div(other)) }
            }
        }
        numbers!(@real $int);)*
        $(numbers!(@field $float);
        numbers!(@real $float);)*
        $(numbers!(@field $complex);)*
    };
    (@field $type:ty) => {
        impl Number for $type {
            #[inline]
            fn plus(self, other: Self) -> Self { self + other }
            #[inline]
            fn minus(self, other: Self) -> Self { self - other }
            #[inline]
            fn times(self, other: Self) -> Self { self * other }
            #[inline]
            fn over(self, other: Self) -> Option<Self> { Some(self / other) }
        }
    };
}

numbers! {
    ints: i8, i16, i32, i64, u8, u16, u32, u64;
    floats: f32, f64, f16, bf16;
    complex: Complex<f32>, Complex<f64>
}

/// An update of one element by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Update {
    /// Replace it.
    Set,
    /// Add to it.
    Add,
    /// Subtract from it.
    Sub,
    /// Multiply it.
    Mul,
    /// Divide it.
    Div,
    /// Keep the smaller one.
    Min,
    /// Keep the greater one.
    Max,
}

/// Updates elements by as many others.
///
/// # Errors
/// `InvalidArgument` for an integer division by zero.
pub(crate) fn update_numbers<T: Number>(update: Update, target: &mut [T], source: &[T]) -> Result<()> {
    let pairs = target.iter_mut().zip(source);
    match update {
        Update::Set => pairs.for_each(|(t, &s)| *t = s),
        Update::Add => pairs.for_each(|(t, &s)| *t = t.plus(s)),
        Update::Sub => pairs.for_each(|(t, &s)| *t = t.minus(s)),
        Update::Mul => pairs.for_each(|(t, &s)| *t = t.times(s)),
        Update::Div => {
            for (t, &s) in pairs {
                let Some(quotient) = t.over(s) else { bail!(InvalidArgument, "Integer division by zero") };
                *t = quotient;
            }
        }
        Update::Min | Update::Max => bail!(Unimplemented, "{update:?} needs an ordered dtype, got {}", T::DTYPE),
    }
    Ok(())
}

/// Updates elements of an ordered dtype by as many others.
///
/// # Errors
/// As [`update_numbers`].
pub(crate) fn update_reals<T: Real>(update: Update, target: &mut [T], source: &[T]) -> Result<()> {
    let pairs = target.iter_mut().zip(source);
    match update {
        Update::Min => pairs.for_each(|(t, &s)| *t = t.least(s)),
        Update::Max => pairs.for_each(|(t, &s)| *t = t.greatest(s)),
        _ => return update_numbers(update, target, source),
    }
    Ok(())
}
