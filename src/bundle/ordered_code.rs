//! The order-preserving code of a stored slice's key.

use super::TensorSlice;

/// The table's key of one slice of a tensor, as TensorFlow's `EncodeTensorNameSlice`: the number 0, the name, the
/// rank, then start and length of each dimension (0 and -1 for all of it).
pub(super) fn encode_tensor_name_slice(name: &str, slice: &TensorSlice) -> Vec<u8> {
    let mut key = Vec::with_capacity(name.len() + 4 + 4 * slice.rank());
    write_num_increasing(&mut key, 0);
    write_string(&mut key, name.as_bytes());
    write_num_increasing(&mut key, slice.rank() as u64);
    for &(start, length) in slice.raw() {
        write_signed_num_increasing(&mut key, start);
        write_signed_num_increasing(&mut key, length);
    }
    key
}

/// A byte that counts the bytes to come, then the number's bytes without leading zeros, the highest first.
fn write_num_increasing(out: &mut Vec<u8>, value: u64) {
    let bytes = value.to_be_bytes();
    let skip = value.leading_zeros() as usize / 8;
    out.push((8 - skip) as u8);
    out.extend_from_slice(&bytes[skip..]);
}

/// The bytes with 00 as 00 ff and ff as ff 00, ended by 00 01.
fn write_string(out: &mut Vec<u8>, value: &[u8]) {
    for &byte in value {
        match byte {
            0 => out.extend_from_slice(&[0, 0xff]),
            0xff => out.extend_from_slice(&[0xff, 0]),
            other => out.push(other),
        }
    }
    out.extend_from_slice(&[0, 1]);
}

/// A sign bit (1 for numbers from 0 on), one more bit like it for each byte after the first, a bit unlike it, and
/// the number in two's complement, the highest bit first.
fn write_signed_num_increasing(out: &mut Vec<u8>, value: i64) {
    let magnitude = if value < 0 { !value } else { value };
    let bits = 64 - magnitude.leading_zeros() as usize;
    let length = bits / 7 + 1;
    let mut wide = i128::from(value).to_be_bytes();
    let code = &mut wide[16 - length..];
    // The header is `length` ones from the top, xor-ed onto the sign-extended number.
    code[0] ^= if length >= 8 { 0xff } else { !(0xff >> length) };
    if length > 8 {
        code[1] ^= !(0xff >> (length - 8));
    }
    out.extend_from_slice(code);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_tensorflow() {
        let signed = |value| {
            let mut out = Vec::new();
            write_signed_num_increasing(&mut out, value);
            out
        };
        let table: &[(i64, &[u8])] = &[
            (0, &[0x80]),
            (-1, &[0x7f]),
            (63, &[0xbf]),
            (64, &[0xc0, 0x40]),
            (-64, &[0x40]),
            (-65, &[0x3f, 0xbf]),
            (-0x800, &[0x38, 0x00]),
            (0x424242, &[0xf0, 0x42, 0x42, 0x42]),
            (i64::MAX, &[0xff, 0xc0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            (i64::MIN, &[0x00, 0x3f, 0x80, 0, 0, 0, 0, 0, 0, 0]),
        ];
        for &(value, expected) in table {
            assert_eq!(signed(value), expected, "{value}");
        }
        let mut numbers: Vec<i64> = (0..63).flat_map(|b| [(1 << b) - 1, 1 << b, -(1 << b), -(1 << b) - 1]).collect();
        numbers.sort();
        numbers.dedup();
        assert!(numbers.windows(2).all(|w| signed(w[0]) < signed(w[1])));
        let slice = TensorSlice::parse("-:0,5:300,7").unwrap();
        let expected = b"\x00a\x00\xff\xc3\xbf\x00\x01\x01\x03\x80\x7f\x80\x85\xc1\x2c\x87";
        assert_eq!(encode_tensor_name_slice("a\0\u{ff}", &slice), expected);
    }
}
