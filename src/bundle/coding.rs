//! Varints, and the masked CRC32C that both the table and the data files use.

/// Appends a varint of at most ten bytes, seven bits a byte, the lowest first.
pub(super) fn put_varint(buffer: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        buffer.push(value as u8 | 0x80);
        value >>= 7;
    }
    buffer.push(value as u8);
}

/// Takes a varint off the front; `None` if it doesn't end or exceeds 64 bits.
pub(super) fn get_varint(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for (i, &byte) in input.iter().enumerate().take(10) {
        if i == 9 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            *input = &input[i + 1..];
            return Some(value);
        }
    }
    None
}

/// Takes a varint of at most 32 bits off the front.
pub(super) fn get_varint32(input: &mut &[u8]) -> Option<usize> {
    u32::try_from(get_varint(input)?).ok().map(|v| v as usize)
}

/// Takes four little-endian bytes off the front.
pub(super) fn get_fixed32(input: &mut &[u8]) -> Option<u32> {
    let (head, tail) = input.split_first_chunk::<4>()?;
    *input = tail;
    Some(u32::from_le_bytes(*head))
}

const MASK_DELTA: u32 = 0xa282_ead8;

/// The form in which a CRC is stored, so that a CRC over data that holds CRCs stays sound.
pub(crate) fn mask(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(MASK_DELTA)
}

/// The inverse of [`mask`].
pub(crate) fn unmask(masked: u32) -> u32 {
    masked.wrapping_sub(MASK_DELTA).rotate_left(15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_round_trip() {
        for value in [0, 1, 127, 128, 300, 1 << 14, u64::from(u32::MAX), 1 << 63, u64::MAX] {
            let mut buffer = Vec::new();
            put_varint(&mut buffer, value);
            let mut input = &buffer[..];
            assert_eq!((get_varint(&mut input), input.len()), (Some(value), 0));
            assert_eq!(get_varint(&mut &buffer[..buffer.len() - 1]), None, "{value} cut off");
        }
        assert_eq!(get_varint(&mut &[0xff; 10][..]), None);
        assert_eq!(get_varint(&mut &[0xff; 11][..]), None);
        assert_eq!(get_varint32(&mut &[0xff, 0xff, 0xff, 0xff, 0x10][..]), None);
    }

    #[test]
    fn masks_invert() {
        for crc in [0, 1, 0xdead_beef, u32::MAX] {
            assert_eq!(unmask(mask(crc)), crc);
            assert_ne!(mask(crc), crc);
        }
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
    }
}
