//! AVX2 and AVX-512 vectors.

use super::{Kernel, Lanes};
use std::arch::x86_64::*;
use std::marker::PhantomData;

/// 256-bit lanes, on a machine with AVX2 and FMA.
#[derive(Clone, Copy)]
pub struct Avx2<T>(PhantomData<T>);

/// 512-bit lanes, on a machine with AVX-512 F, BW, DQ and VL.
#[derive(Clone, Copy)]
pub struct Avx512<T>(PhantomData<T>);

impl<T> Avx2<T> {
    /// # Safety
    /// The machine has AVX2 and FMA.
    pub unsafe fn new() -> Avx2<T> {
        Avx2(PhantomData)
    }
}

impl<T> Avx512<T> {
    /// # Safety
    /// The machine has AVX-512 F, BW, DQ and VL.
    pub unsafe fn new() -> Avx512<T> {
        Avx512(PhantomData)
    }
}

/// Runs a kernel compiled for AVX2.
#[target_feature(enable = "avx2,fma")]
pub fn run_avx2<T, K: Kernel<T>>(kernel: K, lanes: Avx2<T>) -> K::Output
where
    Avx2<T>: Lanes<Elem = T>,
{
    kernel.run(lanes)
}

/// Runs a kernel compiled for AVX-512.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
pub fn run_avx512<T, K: Kernel<T>>(kernel: K, lanes: Avx512<T>) -> K::Output
where
    Avx512<T>: Lanes<Elem = T>,
{
    kernel.run(lanes)
}

macro_rules! avx2 {
    ($float:ty, $int:ty, $n:literal, $v:ty, $i:ty, $m:ty, $mantissa:literal, $sign:literal,
     $set1:ident $loadu:ident $storeu:ident $maskload:ident $maskstore:ident $add:ident $sub:ident $mul:ident $div:ident $fmadd:ident $fnmadd:ident $sqrt:ident $max:ident $min:ident $cmp:ident $blend:ident $movemask:ident $bits:ident $from_bits:ident $iset1:ident $iadd:ident $isub:ident $slli:ident $srli:ident $transpose:ident) => {
        impl Lanes for Avx2<$float> {
            type Elem = $float;
            type V = $v;
            type I = $i;
            type M = $m;
            const N: usize = $n;
            const REGISTERS: usize = 16;

            #[inline(always)]
            fn splat(self, x: $float) -> Self::V {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $set1(x) }
            }
            #[inline(always)]
            unsafe fn load(self, from: *const $float) -> Self::V {
                // SAFETY: the caller gives a valid pointer, and the machine has the instructions: a value of this type exists.
                unsafe { $loadu(from) }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $float, v: Self::V) {
                // SAFETY: the caller gives a valid pointer, and the machine has the instructions: a value of this type exists.
                unsafe { $storeu(to, v) }
            }
            #[inline(always)]
            unsafe fn load_first(self, from: *const $float, count: usize) -> Self::V {
                // SAFETY: the caller gives a valid pointer, and the machine has the instructions: a value of this type exists.
                unsafe { $maskload(from, first::<$int, $n>(count)) }
            }
            #[inline(always)]
            unsafe fn store_first(self, to: *mut $float, v: Self::V, count: usize) {
                // SAFETY: the caller gives a valid pointer, and the machine has the instructions: a value of this type exists.
                unsafe { $maskstore(to, first::<$int, $n>(count), v) }
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
                unsafe { $fmadd(a, b, c) }
            }
            #[inline(always)]
            fn neg_mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $fnmadd(a, b, c) }
            }
            #[inline(always)]
            fn sqrt(self, a: Self::V) -> Self::V {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $sqrt(a) }
            }
            #[inline(always)]
            fn max(self, a: Self::V, b: Self::V) -> Self::V {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $max(a, b) }
            }
            #[inline(always)]
            fn min(self, a: Self::V, b: Self::V) -> Self::V {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $min(a, b) }
            }
            #[inline(always)]
            fn lt(self, a: Self::V, b: Self::V) -> Self::M {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $cmp::<_CMP_LT_OQ>(a, b) }
            }
            #[inline(always)]
            fn le(self, a: Self::V, b: Self::V) -> Self::M {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $cmp::<_CMP_LE_OQ>(a, b) }
            }
            #[inline(always)]
            fn eq(self, a: Self::V, b: Self::V) -> Self::M {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $cmp::<_CMP_EQ_OQ>(a, b) }
            }
            #[inline(always)]
            fn select(self, m: Self::M, a: Self::V, b: Self::V) -> Self::V {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $blend(b, a, m) }
            }
            #[inline(always)]
            fn all(self, m: Self::M) -> bool {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $movemask(m) == (1 << $n) - 1 }
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
                unsafe { $iset1(x) }
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
                unsafe { _mm256_and_si256(a, b) }
            }
            #[inline(always)]
            fn int_or(self, a: Self::I, b: Self::I) -> Self::I {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { _mm256_or_si256(a, b) }
            }
            #[inline(always)]
            fn int_xor(self, a: Self::I, b: Self::I) -> Self::I {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { _mm256_xor_si256(a, b) }
            }
            #[inline(always)]
            fn to_exponent(self, a: Self::I) -> Self::I {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $slli::<$mantissa>(a) }
            }
            #[inline(always)]
            fn exponent(self, a: Self::I) -> Self::I {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $srli::<$mantissa>(a) }
            }
            #[inline(always)]
            unsafe fn transpose_4x4(self, from: *const $float, from_stride: usize, to: *mut $float, to_stride: usize) {
                // SAFETY: the caller gives valid pointers, and the machine has the instructions: a value of this type exists.
                unsafe { $transpose(from, from_stride, to, to_stride) }
            }
            #[inline(always)]
            fn prefetch(self, address: *const $float) {
                // SAFETY: a hint for any address.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
            }
            #[inline(always)]
            fn to_sign(self, a: Self::I) -> Self::I {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $slli::<$sign>(a) }
            }
        }
    };
}

avx2!(
    f32, i32, 8, __m256, __m256i, __m256, 23, 31,
    _mm256_set1_ps _mm256_loadu_ps _mm256_storeu_ps _mm256_maskload_ps _mm256_maskstore_ps _mm256_add_ps _mm256_sub_ps _mm256_mul_ps _mm256_div_ps _mm256_fmadd_ps _mm256_fnmadd_ps _mm256_sqrt_ps _mm256_max_ps _mm256_min_ps _mm256_cmp_ps _mm256_blendv_ps _mm256_movemask_ps _mm256_castps_si256 _mm256_castsi256_ps _mm256_set1_epi32 _mm256_add_epi32 _mm256_sub_epi32 _mm256_slli_epi32 _mm256_srli_epi32 transpose_f32
);
avx2!(
    f64, i64, 4, __m256d, __m256i, __m256d, 52, 63,
    _mm256_set1_pd _mm256_loadu_pd _mm256_storeu_pd _mm256_maskload_pd _mm256_maskstore_pd _mm256_add_pd _mm256_sub_pd _mm256_mul_pd _mm256_div_pd _mm256_fmadd_pd _mm256_fnmadd_pd _mm256_sqrt_pd _mm256_max_pd _mm256_min_pd _mm256_cmp_pd _mm256_blendv_pd _mm256_movemask_pd _mm256_castpd_si256 _mm256_castsi256_pd _mm256_set1_epi64x _mm256_add_epi64 _mm256_sub_epi64 _mm256_slli_epi64 _mm256_srli_epi64 transpose_f64
);

macro_rules! avx512 {
    ($float:ty, $int:ty, $n:literal, $v:ty, $i:ty, $m:ty, $mantissa:literal, $sign:literal,
     $set1:ident $loadu:ident $storeu:ident $maskload:ident $maskstore:ident $add:ident $sub:ident $mul:ident $div:ident $fmadd:ident $fnmadd:ident $sqrt:ident $max:ident $min:ident $cmp:ident $blend:ident $bits:ident $from_bits:ident $iset1:ident $iadd:ident $isub:ident $slli:ident $srli:ident $transpose:ident $scale:ident) => {
        impl Lanes for Avx512<$float> {
            type Elem = $float;
            type V = $v;
            type I = $i;
            type M = $m;
            const N: usize = $n;
            const REGISTERS: usize = 32;

            #[inline(always)]
            fn splat(self, x: $float) -> Self::V {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $set1(x) }
            }
            #[inline(always)]
            unsafe fn load(self, from: *const $float) -> Self::V {
                // SAFETY: the caller gives a valid pointer, and the machine has the instructions: a value of this type exists.
                unsafe { $loadu(from) }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut $float, v: Self::V) {
                // SAFETY: the caller gives a valid pointer, and the machine has the instructions: a value of this type exists.
                unsafe { $storeu(to, v) }
            }
            #[inline(always)]
            unsafe fn load_first(self, from: *const $float, count: usize) -> Self::V {
                // SAFETY: the caller gives a valid pointer, and the machine has the instructions: a value of this type exists.
                unsafe { $maskload((1 << count) - 1, from) }
            }
            #[inline(always)]
            unsafe fn store_first(self, to: *mut $float, v: Self::V, count: usize) {
                // SAFETY: the caller gives a valid pointer, and the machine has the instructions: a value of this type exists.
                unsafe { $maskstore(to, (1 << count) - 1, v) }
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
                unsafe { $fmadd(a, b, c) }
            }
            #[inline(always)]
            fn neg_mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $fnmadd(a, b, c) }
            }
            #[inline(always)]
            fn sqrt(self, a: Self::V) -> Self::V {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $sqrt(a) }
            }
            #[inline(always)]
            fn max(self, a: Self::V, b: Self::V) -> Self::V {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $max(a, b) }
            }
            #[inline(always)]
            fn min(self, a: Self::V, b: Self::V) -> Self::V {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $min(a, b) }
            }
            #[inline(always)]
            fn lt(self, a: Self::V, b: Self::V) -> Self::M {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $cmp::<_CMP_LT_OQ>(a, b) }
            }
            #[inline(always)]
            fn le(self, a: Self::V, b: Self::V) -> Self::M {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $cmp::<_CMP_LE_OQ>(a, b) }
            }
            #[inline(always)]
            fn eq(self, a: Self::V, b: Self::V) -> Self::M {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $cmp::<_CMP_EQ_OQ>(a, b) }
            }
            #[inline(always)]
            fn select(self, m: Self::M, a: Self::V, b: Self::V) -> Self::V {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $blend(m, b, a) }
            }
            #[inline(always)]
            fn all(self, m: Self::M) -> bool {
                m == Self::M::MAX
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
                unsafe { $iset1(x) }
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
                unsafe { _mm512_and_si512(a, b) }
            }
            #[inline(always)]
            fn int_or(self, a: Self::I, b: Self::I) -> Self::I {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { _mm512_or_si512(a, b) }
            }
            #[inline(always)]
            fn int_xor(self, a: Self::I, b: Self::I) -> Self::I {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { _mm512_xor_si512(a, b) }
            }
            #[inline(always)]
            fn to_exponent(self, a: Self::I) -> Self::I {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $slli::<$mantissa>(a) }
            }
            #[inline(always)]
            fn exponent(self, a: Self::I) -> Self::I {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $srli::<$mantissa>(a) }
            }
            #[inline(always)]
            unsafe fn transpose_4x4(self, from: *const $float, from_stride: usize, to: *mut $float, to_stride: usize) {
                // SAFETY: the caller gives valid pointers, and the machine has the instructions: a value of this type exists.
                unsafe { $transpose(from, from_stride, to, to_stride) }
            }
            #[inline(always)]
            fn scale(self, v: Self::V, k: Self::V) -> Self::V {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $scale(v, k) }
            }
            #[inline(always)]
            fn prefetch(self, address: *const $float) {
                // SAFETY: a hint for any address.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
            }
            #[inline(always)]
            fn to_sign(self, a: Self::I) -> Self::I {
                // SAFETY: the machine has the instructions: a value of this type exists.
                unsafe { $slli::<$sign>(a) }
            }
        }
    };
}

avx512!(
    f32, i32, 16, __m512, __m512i, __mmask16, 23, 31,
    _mm512_set1_ps _mm512_loadu_ps _mm512_storeu_ps _mm512_maskz_loadu_ps _mm512_mask_storeu_ps _mm512_add_ps _mm512_sub_ps _mm512_mul_ps _mm512_div_ps _mm512_fmadd_ps _mm512_fnmadd_ps _mm512_sqrt_ps _mm512_max_ps _mm512_min_ps _mm512_cmp_ps_mask _mm512_mask_blend_ps _mm512_castps_si512 _mm512_castsi512_ps _mm512_set1_epi32 _mm512_add_epi32 _mm512_sub_epi32 _mm512_slli_epi32 _mm512_srli_epi32 transpose_f32 _mm512_scalef_ps
);
avx512!(
    f64, i64, 8, __m512d, __m512i, __mmask8, 52, 63,
    _mm512_set1_pd _mm512_loadu_pd _mm512_storeu_pd _mm512_maskz_loadu_pd _mm512_mask_storeu_pd _mm512_add_pd _mm512_sub_pd _mm512_mul_pd _mm512_div_pd _mm512_fmadd_pd _mm512_fnmadd_pd _mm512_sqrt_pd _mm512_max_pd _mm512_min_pd _mm512_cmp_pd_mask _mm512_mask_blend_pd _mm512_castpd_si512 _mm512_castsi512_pd _mm512_set1_epi64 _mm512_add_epi64 _mm512_sub_epi64 _mm512_slli_epi64 _mm512_srli_epi64 transpose_f64 _mm512_scalef_pd
);

/// A mask for `maskload` and `maskstore` with the first `count` of `N` lanes set.
#[inline(always)]
fn first<I: From<i8> + Copy, const N: usize>(count: usize) -> __m256i {
    let mask: [I; N] = std::array::from_fn(|i| I::from(if i < count { -1 } else { 0 }));
    // SAFETY: the array has 256 bits.
    unsafe { std::mem::transmute_copy(&mask) }
}

/// [`Lanes::transpose_4x4`] with 128-bit registers.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn transpose_f32(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
    // SAFETY: the caller's promise.
    let [a, b, c, d] = [0, 1, 2, 3].map(|i| unsafe { _mm_loadu_ps(from.add(i * from_stride)) });
    let (ab_low, ab_high) = (_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b));
    let (cd_low, cd_high) = (_mm_unpacklo_ps(c, d), _mm_unpackhi_ps(c, d));
    let columns = [
        _mm_movelh_ps(ab_low, cd_low),
        _mm_movehl_ps(cd_low, ab_low),
        _mm_movelh_ps(ab_high, cd_high),
        _mm_movehl_ps(cd_high, ab_high),
    ];
    for (j, column) in columns.into_iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { _mm_storeu_ps(to.add(j * to_stride), column) };
    }
}

/// [`Lanes::transpose_4x4`] with 256-bit registers.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn transpose_f64(from: *const f64, from_stride: usize, to: *mut f64, to_stride: usize) {
    // SAFETY: the caller's promise.
    let [a, b, c, d] = [0, 1, 2, 3].map(|i| unsafe { _mm256_loadu_pd(from.add(i * from_stride)) });
    let (ab_even, ab_odd) = (_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b));
    let (cd_even, cd_odd) = (_mm256_unpacklo_pd(c, d), _mm256_unpackhi_pd(c, d));
    let columns = [
        _mm256_permute2f128_pd::<0x20>(ab_even, cd_even),
        _mm256_permute2f128_pd::<0x20>(ab_odd, cd_odd),
        _mm256_permute2f128_pd::<0x31>(ab_even, cd_even),
        _mm256_permute2f128_pd::<0x31>(ab_odd, cd_odd),
    ];
    for (j, column) in columns.into_iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { _mm256_storeu_pd(to.add(j * to_stride), column) };
    }
}
