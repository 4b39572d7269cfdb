//! The inverse cosine transforms of libjpeg, with its integers and its rounding.

/// How a block becomes samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// 16 bits, after Arai, Agui and Nakajima.
    Fast,
    /// 32 bits, after Loeffler, Ligtenberg and Moschytz.
    Accurate,
}

fn clamp(value: i32) -> u8 {
    (value + 128).clamp(0, 255) as u8
}

/// The factors by which coefficients are scaled: quantization steps, and for the fast method also its own.
pub(super) fn factors(method: Method, quantization: &[u16; 64]) -> [i32; 64] {
    let mut factors = quantization.map(i32::from);
    if method == Method::Fast {
        /// The method's scales along one side, times 2^14.
        const SCALES: [[i64; 8]; 8] = [
            [16384, 22725, 21407, 19266, 16384, 12873, 8867, 4520],
            [22725, 31521, 29692, 26722, 22725, 17855, 12299, 6270],
            [21407, 29692, 27969, 25172, 21407, 16819, 11585, 5906],
            [19266, 26722, 25172, 22654, 19266, 15137, 10426, 5315],
            [16384, 22725, 21407, 19266, 16384, 12873, 8867, 4520],
            [12873, 17855, 16819, 15137, 12873, 10114, 6967, 3552],
            [8867, 12299, 11585, 10426, 8867, 6967, 4799, 2446],
            [4520, 6270, 5906, 5315, 4520, 3552, 2446, 1247],
        ];
        for (i, factor) in factors.iter_mut().enumerate() {
            *factor = ((i64::from(*factor) * SCALES[i / 8][i % 8] + (1 << 11)) >> 12) as i32;
        }
    }
    factors
}

/// A block's samples: `size` (8, 4, 2 or 1) rows of as many.
pub(super) fn inverse(method: Method, size: usize, block: &[i16], factors: &[i32; 64], out: &mut [u8], stride: usize) {
    match (size, method) {
        (8, Method::Fast) => fast(block, factors, out, stride),
        (8, Method::Accurate) => accurate(block, factors, out, stride),
        (4, _) => four(block, factors, out, stride),
        (2, _) => two(block, factors, out, stride),
        _ => out[0] = clamp((i32::from(block[0]).wrapping_mul(factors[0]).wrapping_add(4)) >> 3),
    }
}

/// A product with a constant of 8 fractional bits, in 16 bits.
fn multiply(value: i16, constant: i32) -> i16 {
    ((i32::from(value.wrapping_shl(2)) * (constant << 6)) >> 16) as i16
}

fn fast_pass(v: [i16; 8]) -> [i16; 8] {
    let add = i16::wrapping_add;
    let sub = i16::wrapping_sub;
    let (t10, t11, t13) = (add(v[0], v[4]), sub(v[0], v[4]), add(v[2], v[6]));
    let t12 = sub(multiply(sub(v[2], v[6]), 362), t13);
    let (t0, t3, t1, t2) = (add(t10, t13), sub(t10, t13), add(t11, t12), sub(t11, t12));
    let (z13, z10, z11, z12) = (add(v[5], v[3]), sub(v[5], v[3]), add(v[1], v[7]), sub(v[1], v[7]));
    let t7 = add(z11, z13);
    let t11 = multiply(sub(z11, z13), 362);
    let z5 = multiply(add(z10, z12), 473);
    let t10 = sub(multiply(z12, 277), z5);
    let t12 = add(sub(multiply(z10, 256 - 669), z10), z5);
    let t6 = sub(t12, t7);
    let t5 = sub(t11, t6);
    let t4 = add(t10, t5);
    [add(t0, t7), add(t1, t6), add(t2, t5), sub(t3, t4), add(t3, t4), sub(t2, t5), sub(t1, t6), sub(t0, t7)]
}

fn fast(block: &[i16], factors: &[i32; 64], out: &mut [u8], stride: usize) {
    let mut work = [0i16; 64];
    for x in 0..8 {
        let column = std::array::from_fn(|y| block[y * 8 + x].wrapping_mul(factors[y * 8 + x] as i16));
        for (y, value) in fast_pass(column).into_iter().enumerate() {
            work[y * 8 + x] = value;
        }
    }
    for y in 0..8 {
        let row = fast_pass(std::array::from_fn(|x| work[y * 8 + x]));
        for (to, value) in out[y * stride..y * stride + 8].iter_mut().zip(row) {
            *to = clamp(i32::from(value >> 5));
        }
    }
}

fn accurate_pass(v: [i32; 8], shift: u32) -> [i32; 8] {
    let m = i32::wrapping_mul;
    let z1 = m(v[2].wrapping_add(v[6]), 4433);
    let (t2, t3) = (z1.wrapping_add(m(v[6], -15137)), z1.wrapping_add(m(v[2], 6270)));
    let (t0, t1) = (v[0].wrapping_add(v[4]) << 13, v[0].wrapping_sub(v[4]) << 13);
    let even = [t0.wrapping_add(t3), t1.wrapping_add(t2), t1.wrapping_sub(t2), t0.wrapping_sub(t3)];
    let (t0, t1, t2, t3) = (v[7], v[5], v[3], v[1]);
    let (z1, z2, z3, z4) = (t0.wrapping_add(t3), t1.wrapping_add(t2), t0.wrapping_add(t2), t1.wrapping_add(t3));
    let z5 = m(z3.wrapping_add(z4), 9633);
    let (z1, z2) = (m(z1, -7373), m(z2, -20995));
    let (z3, z4) = (m(z3, -16069).wrapping_add(z5), m(z4, -3196).wrapping_add(z5));
    let odd = [
        m(t3, 12299).wrapping_add(z1).wrapping_add(z4),
        m(t2, 25172).wrapping_add(z2).wrapping_add(z3),
        m(t1, 16819).wrapping_add(z2).wrapping_add(z4),
        m(t0, 2446).wrapping_add(z1).wrapping_add(z3),
    ];
    std::array::from_fn(|i| {
        let sum = if i < 4 { even[i].wrapping_add(odd[i]) } else { even[7 - i].wrapping_sub(odd[7 - i]) };
        sum.wrapping_add(1 << (shift - 1)) >> shift
    })
}

fn accurate(block: &[i16], factors: &[i32; 64], out: &mut [u8], stride: usize) {
    let mut work = [0i32; 64];
    for x in 0..8 {
        let column = std::array::from_fn(|y| i32::from(block[y * 8 + x]).wrapping_mul(factors[y * 8 + x]));
        for (y, value) in accurate_pass(column, 11).into_iter().enumerate() {
            work[y * 8 + x] = value;
        }
    }
    for y in 0..8 {
        let row = accurate_pass(std::array::from_fn(|x| work[y * 8 + x]), 18);
        for (to, value) in out[y * stride..y * stride + 8].iter_mut().zip(row) {
            *to = clamp(value);
        }
    }
}

fn four_pass(v: [i32; 8], shift: u32) -> [i32; 4] {
    let m = i32::wrapping_mul;
    let t0 = v[0] << 14;
    let t2 = m(v[2], 15137).wrapping_add(m(v[6], -6270));
    let (t10, t12) = (t0.wrapping_add(t2), t0.wrapping_sub(t2));
    let sum = |by: [i32; 4]| {
        let products = [m(v[7], by[0]), m(v[5], by[1]), m(v[3], by[2]), m(v[1], by[3])];
        products.into_iter().fold(0i32, i32::wrapping_add)
    };
    let (t0, t2) = (sum([-1730, 11893, -17799, 8697]), sum([-4176, -4926, 7373, 20995]));
    [t10.wrapping_add(t2), t12.wrapping_add(t0), t12.wrapping_sub(t0), t10.wrapping_sub(t2)]
        .map(|s| s.wrapping_add(1 << (shift - 1)) >> shift)
}

fn four(block: &[i16], factors: &[i32; 64], out: &mut [u8], stride: usize) {
    let mut work = [0i32; 32];
    for x in (0..8).filter(|&x| x != 4) {
        let column = std::array::from_fn(|y| i32::from(block[y * 8 + x]).wrapping_mul(factors[y * 8 + x]));
        for (y, value) in four_pass(column, 12).into_iter().enumerate() {
            work[y * 8 + x] = value;
        }
    }
    for y in 0..4 {
        let row = four_pass(std::array::from_fn(|x| work[y * 8 + x]), 19);
        for (to, value) in out[y * stride..y * stride + 4].iter_mut().zip(row) {
            *to = clamp(value);
        }
    }
}

fn two_pass(v: [i32; 8], shift: u32) -> [i32; 2] {
    let m = i32::wrapping_mul;
    let t10 = v[0] << 15;
    let products = [m(v[7], -5906), m(v[5], 6967), m(v[3], -10426), m(v[1], 29692)];
    let t0 = products.into_iter().fold(0i32, i32::wrapping_add);
    [t10.wrapping_add(t0), t10.wrapping_sub(t0)].map(|s| s.wrapping_add(1 << (shift - 1)) >> shift)
}

fn two(block: &[i16], factors: &[i32; 64], out: &mut [u8], stride: usize) {
    let mut work = [0i32; 16];
    for x in [0, 1, 3, 5, 7] {
        let column = std::array::from_fn(|y| i32::from(block[y * 8 + x]).wrapping_mul(factors[y * 8 + x]));
        for (y, value) in two_pass(column, 13).into_iter().enumerate() {
            work[y * 8 + x] = value;
        }
    }
    for y in 0..2 {
        let row = two_pass(std::array::from_fn(|x| work[y * 8 + x]), 20);
        for (to, value) in out[y * stride..y * stride + 2].iter_mut().zip(row) {
            *to = clamp(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flat_block_stays_flat() {
        let mut block = [0i16; 64];
        block[0] = 40;
        let quantization = [16u16; 64];
        for (method, size) in [(Method::Fast, 8), (Method::Accurate, 8), (Method::Fast, 4), (Method::Fast, 2), (Method::Fast, 1)]
        {
            let mut out = [0u8; 64];
            let accurate = if size == 8 { method } else { Method::Accurate };
            inverse(method, size, &block, &factors(accurate, &quantization), &mut out[..size * size], size);
            assert_eq!(out[..size * size], vec![208; size * size], "{method:?} {size}");
        }
    }
}
