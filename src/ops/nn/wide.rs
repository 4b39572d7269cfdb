//! The type in which a kernel computes for elements of another: half and bfloat16 are computed in float.

use crate::error::Result;
use crate::ops::math::cast::cast_tensor;
use crate::tensor::{DType, Element, Tensor};
use half::{bf16, f16};

/// A tensor of half or bfloat16 as one of float; others as they are.
pub(super) fn widened(tensor: Tensor) -> Result<Tensor> {
    match tensor.dtype() {
        DType::Half | DType::Bfloat16 => cast_tensor(&tensor, DType::Float),
        _ => Ok(tensor),
    }
}

/// What was computed of widened tensors, in their own type.
pub(super) fn narrowed(tensor: Tensor, dtype: DType) -> Result<Tensor> {
    if tensor.dtype() == dtype { Ok(tensor) } else { cast_tensor(&tensor, dtype) }
}

/// A floating-point element and the type in which sums and functions of it are computed.
pub(crate) trait Wide: Element + PartialOrd {
    /// The type of intermediate results.
    type Wide: num_traits::Float + Default + Send + Sync + std::ops::AddAssign + std::ops::MulAssign + std::iter::Sum + 'static;

    /// To the type of intermediate results.
    fn widen(self) -> Self::Wide;

    /// Back, rounded.
    fn narrow(value: Self::Wide) -> Self;
}

macro_rules! wide {
    ($($type:ty => $wide:ty, $x:ident: $widen:expr, $narrow:expr;)*) => {
        $(impl Wide for $type {
            type Wide = $wide;

            #[inline(always)]
            fn widen(self) -> $wide {
                let $x = self;
                $widen
            }

            #[inline(always)]
            fn narrow($x: $wide) -> $type {
                $narrow
            }
        })*
    };
}

wide! {
    f32 => f32, x: x, x;
    f64 => f64, x: x, x;
    f16 => f32, x: x.to_f32(), f16::from_f32(x);
    bf16 => f32, x: x.to_f32(), bf16::from_f32(x);
}

/// A constant of the type of intermediate results.
#[inline(always)]
pub(crate) fn lit<F: num_traits::Float>(value: f64) -> F {
    F::from(value).unwrap_or_else(F::nan)
}
