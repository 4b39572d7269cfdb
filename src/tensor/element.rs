//! Rust types that stand in tensors, and the dispatch from a dtype to one.

use super::DType;
use half::{bf16, f16};
use num_complex::Complex;

mod sealed {
    pub trait Sealed {}
}

/// A plain Rust type that is the element of a tensor. Strings and handles are not plain.
pub trait Element: sealed::Sealed + Copy + Send + Sync + Default + PartialEq + std::fmt::Debug + 'static {
    /// The element type.
    const DTYPE: DType;
}

macro_rules! elements {
    ($($type:ty => $dtype:ident,)*) => {
        $(impl sealed::Sealed for $type {}
        impl Element for $type {
            const DTYPE: DType = DType::$dtype;
        })*
    };
}

elements! {
    f32 => Float, f64 => Double, f16 => Half, bf16 => Bfloat16,
    i8 => Int8, i16 => Int16, i32 => Int32, i64 => Int64,
    u8 => Uint8, u16 => Uint16, u32 => Uint32, u64 => Uint64,
    bool => Bool, Complex<f32> => Complex64, Complex<f64> => Complex128,
}

/// Runs a block with `$T` bound to the Rust type of a dtype.
///
/// `dispatch!(dtype, numbers, T => block)`, where the class is one of
/// `plain` (numbers, bool and quantized types), `numbers` (integers, floats, complex), `real` (integers, floats),
/// `floats` (half, bfloat16, float, double), `inexact` (floats and complex), `integers`, `index` (int32, int64).
/// Any other dtype returns an `InvalidArgument` error from the enclosing function.
macro_rules! dispatch {
    (@arms $dtype:expr, $T:ident => $body:expr, $($variant:ident $type:ty),*) => {
        match $dtype {
            $($crate::tensor::DType::$variant => {
                #[allow(dead_code)]
                type $T = $type;
                $body
            })*
            #[allow(unreachable_patterns)]
            other => $crate::error::bail!(InvalidArgument, "No OpKernel was registered to support the Op with dtype {}", other),
        }
    };
    ($dtype:expr, plain, $T:ident => $body:expr) => {
        $crate::tensor::dispatch!(@arms ($dtype).storage(), $T => $body, Float f32, Double f64, Half half::f16, Bfloat16 half::bf16,
            Int8 i8, Int16 i16, Int32 i32, Int64 i64, Uint8 u8, Uint16 u16, Uint32 u32, Uint64 u64, Bool bool,
            Complex64 num_complex::Complex<f32>, Complex128 num_complex::Complex<f64>)
    };
    ($dtype:expr, numbers, $T:ident => $body:expr) => {
        $crate::tensor::dispatch!(@arms $dtype, $T => $body, Float f32, Double f64, Half half::f16, Bfloat16 half::bf16,
            Int8 i8, Int16 i16, Int32 i32, Int64 i64, Uint8 u8, Uint16 u16, Uint32 u32, Uint64 u64,
            Complex64 num_complex::Complex<f32>, Complex128 num_complex::Complex<f64>)
    };
    ($dtype:expr, real, $T:ident => $body:expr) => {
        $crate::tensor::dispatch!(@arms $dtype, $T => $body, Float f32, Double f64, Half half::f16, Bfloat16 half::bf16,
            Int8 i8, Int16 i16, Int32 i32, Int64 i64, Uint8 u8, Uint16 u16, Uint32 u32, Uint64 u64)
    };
    ($dtype:expr, floats, $T:ident => $body:expr) => {
        $crate::tensor::dispatch!(@arms $dtype, $T => $body, Float f32, Double f64, Half half::f16, Bfloat16 half::bf16)
    };
    ($dtype:expr, wide, $T:ident => $body:expr) => {
        $crate::tensor::dispatch!(@arms $dtype, $T => $body, Float f32, Double f64)
    };
    ($dtype:expr, inexact, $T:ident => $body:expr) => {
        $crate::tensor::dispatch!(@arms $dtype, $T => $body, Float f32, Double f64, Half half::f16, Bfloat16 half::bf16,
            Complex64 num_complex::Complex<f32>, Complex128 num_complex::Complex<f64>)
    };
    ($dtype:expr, complex, $T:ident => $body:expr) => {
        $crate::tensor::dispatch!(@arms $dtype, $T => $body, Complex64 f32, Complex128 f64)
    };
    ($dtype:expr, integers, $T:ident => $body:expr) => {
        $crate::tensor::dispatch!(@arms $dtype, $T => $body,
            Int8 i8, Int16 i16, Int32 i32, Int64 i64, Uint8 u8, Uint16 u16, Uint32 u32, Uint64 u64)
    };
    ($dtype:expr, index, $T:ident => $body:expr) => {
        $crate::tensor::dispatch!(@arms $dtype, $T => $body, Int32 i32, Int64 i64)
    };
}
pub(crate) use dispatch;
