//! Between the colours of files and of images, in libjpeg's fixed-point numbers.

const HALF: i32 = 1 << 15;

/// A number with 16 fractional bits.
const fn fix(value: f64) -> i32 {
    (value * 65536.0 + 0.5) as i32
}

pub(super) fn to_rgb(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let clamp = |v: i32| v.clamp(0, 255) as u8;
    [
        clamp(y + ((fix(1.402) * cr + HALF) >> 16)),
        clamp(y + ((-fix(0.34414) * cb - fix(0.71414) * cr + HALF) >> 16)),
        clamp(y + ((fix(1.772) * cb + HALF) >> 16)),
    ]
}

pub(super) fn gray([r, g, b]: [u8; 3]) -> u8 {
    let (r, g, b) = (i32::from(r), i32::from(g), i32::from(b));
    ((fix(0.299) * r + fix(0.587) * g + fix(0.114) * b + HALF) >> 16) as u8
}

pub(super) fn to_ycc(rgb: [u8; 3]) -> [u8; 3] {
    const OFFSET: i32 = (128 << 16) + HALF - 1;
    let [r, g, b] = rgb.map(i32::from);
    [
        gray(rgb),
        ((-fix(0.16874) * r - fix(0.33126) * g + fix(0.5) * b + OFFSET) >> 16) as u8,
        ((fix(0.5) * r - fix(0.41869) * g - fix(0.08131) * b + OFFSET) >> 16) as u8,
    ]
}
