//! Arm's 128-bit vectors.

use super::Lanes;
use std::arch::aarch64::*;
use std::convert::identity;
use std::marker::PhantomData;

/// 128-bit lanes, on a machine with Advanced SIMD.
#[derive(Clone, Copy)]
pub struct Neon<T>(PhantomData<T>);

impl<T> Neon<T> {
    /// # Safety
    /// The machine has Advanced SIMD.
    pub unsafe fn new() -> Neon<T> {
        Neon(PhantomData)
    }
}

macro_rules! neon {
    ($float:ty, $int:ty, $n:literal, $v:ty, $i:ty, $m:ty, $mantissa:literal, $sign:literal,
     $dup:ident $ld1:ident $st1:ident $add:ident $sub:ident $mul:ident $div:ident $fma:ident $fms:ident $sqrt:ident $bsl:ident $cgt:ident $cge:ident $ceq:ident $as_words:ident $bits:ident $from_bits:ident $idup:ident $iadd:ident $isub:ident $iand:ident $ior:ident $ixor:ident $shl:ident $shr:ident $signed:ident $unsigned:ident) => {
        impl Lanes for Neon<$float> {
            type Elem = $float;
            type V = $v;
            type I = $i;
            type M = $m;
            const N: usize = $n;
            const REGISTERS: usize = 32;

            #[inline(always)]
            fn splat(self, x: $float) -> Self::V {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $dup(x) }
            }
            #[inline(always)]
            unsafe fn load(self, from: *const $float) -> Self::V {
                // SAFETY: the caller gives a valid pointer, and the machine has the instructions: a value of this type exists.
                unsafe { $ld1(from) }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $float, v: Self::V) {
                // SAFETY: the caller gives a valid pointer, and the machine has the instructions: a value of this type exists.
                unsafe { $st1(to, v) }
            }
            #[inline(always)]
            unsafe fn load_first(self, from: *const $float, count: usize) -> Self::V {
                let mut array = [0.0; $n];
                // SAFETY: the caller's promise for `count` elements.
                unsafe { std::ptr::copy_nonoverlapping(from, array.as_mut_ptr(), count) };
                // SAFETY: the array has as many elements as there are lanes.
                unsafe { self.load(array.as_ptr()) }
            }
            #[inline(always)]
            unsafe fn store_first(self, to: *mut $float, v: Self::V, count: usize) {
                // SAFETY: the caller's promise for `count` elements.
                unsafe { std::ptr::copy_nonoverlapping(self.array(v).as_ptr(), to, count) }
            }
            #[inline(always)]
            fn add(self, a: Self::V, b: Self::V) -> Self::V {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $add(a, b) }
            }
            #[inline(always)]
            fn sub(self, a: Self::V, b: Self::V) -> Self::V {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $sub(a, b) }
            }
            #[inline(always)]
            fn mul(self, a: Self::V, b: Self::V) -> Self::V {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $mul(a, b) }
            }
            #[inline(always)]
            fn div(self, a: Self::V, b: Self::V) -> Self::V {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $div(a, b) }
            }
            #[inline(always)]
            fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $fma(c, a, b) }
            }
            #[inline(always)]
            fn neg_mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $fms(c, a, b) }
            }
            #[inline(always)]
            fn sqrt(self, a: Self::V) -> Self::V {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $sqrt(a) }
            }
            #[inline(always)]
            fn max(self, a: Self::V, b: Self::V) -> Self::V {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $bsl($cgt(a, b), a, b) }
            }
            #[inline(always)]
            fn min(self, a: Self::V, b: Self::V) -> Self::V {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $bsl($cgt(b, a), a, b) }
            }
            #[inline(always)]
            fn lt(self, a: Self::V, b: Self::V) -> Self::M {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $cgt(b, a) }
            }
            #[inline(always)]
            fn le(self, a: Self::V, b: Self::V) -> Self::M {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $cge(b, a) }
            }
            #[inline(always)]
            fn eq(self, a: Self::V, b: Self::V) -> Self::M {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $ceq(a, b) }
            }
            #[inline(always)]
            fn select(self, m: Self::M, a: Self::V, b: Self::V) -> Self::V {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $bsl(m, a, b) }
            }
            #[inline(always)]
            fn all(self, m: Self::M) -> bool {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { vminvq_u32($as_words(m)) == u32::MAX }
            }
            #[inline(always)]
            fn bits(self, v: Self::V) -> Self::I {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $bits(v) }
            }
            #[inline(always)]
            fn to_float(self, i: Self::I) -> Self::V {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $from_bits(i) }
            }
            #[inline(always)]
            fn splat_int(self, x: $int) -> Self::I {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $idup(x) }
            }
            #[inline(always)]
            fn int_add(self, a: Self::I, b: Self::I) -> Self::I {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $iadd(a, b) }
            }
            #[inline(always)]
            fn int_sub(self, a: Self::I, b: Self::I) -> Self::I {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $isub(a, b) }
            }
            #[inline(always)]
            fn int_and(self, a: Self::I, b: Self::I) -> Self::I {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $iand(a, b) }
            }
            #[inline(always)]
            fn int_or(self, a: Self::I, b: Self::I) -> Self::I {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $ior(a, b) }
            }
            #[inline(always)]
            fn int_xor(self, a: Self::I, b: Self::I) -> Self::I {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $ixor(a, b) }
            }
            #[inline(always)]
            fn to_exponent(self, a: Self::I) -> Self::I {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $shl::<$mantissa>(a) }
            }
            #[inline(always)]
            fn exponent(self, a: Self::I) -> Self::I {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $signed($shr::<$mantissa>($unsigned(a))) }
            }
            #[inline(always)]
            fn to_sign(self, a: Self::I) -> Self::I {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $shl::<$sign>(a) }
            }
        }
    };
}

neon!(
    f32, i32, 4, float32x4_t, int32x4_t, uint32x4_t, 23, 31,
    vdupq_n_f32 vld1q_f32 vst1q_f32 vaddq_f32 vsubq_f32 vmulq_f32 vdivq_f32 vfmaq_f32 vfmsq_f32 vsqrtq_f32 vbslq_f32 vcgtq_f32 vcgeq_f32 vceqq_f32 identity vreinterpretq_s32_f32 vreinterpretq_f32_s32 vdupq_n_s32 vaddq_s32 vsubq_s32 vandq_s32 vorrq_s32 veorq_s32 vshlq_n_s32 vshrq_n_u32 vreinterpretq_s32_u32 vreinterpretq_u32_s32
);
neon!(
    f64, i64, 2, float64x2_t, int64x2_t, uint64x2_t, 52, 63,
    vdupq_n_f64 vld1q_f64 vst1q_f64 vaddq_f64 vsubq_f64 vmulq_f64 vdivq_f64 vfmaq_f64 vfmsq_f64 vsqrtq_f64 vbslq_f64 vcgtq_f64 vcgeq_f64 vceqq_f64 vreinterpretq_u32_u64 vreinterpretq_s64_f64 vreinterpretq_f64_s64 vdupq_n_s64 vaddq_s64 vsubq_s64 vandq_s64 vorrq_s64 veorq_s64 vshlq_n_s64 vshrq_n_u64 vreinterpretq_s64_u64 vreinterpretq_u64_s64
);
