//! From pixels to a baseline file with the usual tables.

use super::{ZIGZAG, color};
use crate::error::{Result, bail};

/// How a file is to be written.
#[derive(Clone, Debug)]
pub(crate) struct Settings<'a> {
    /// From 0 to 100.
    pub quality: i64,
    /// Chroma planes have half the width and height.
    pub chroma_downsampling: bool,
    /// 1 for inches, 2 for centimeters.
    pub density_unit: u8,
    /// Pixels per unit, across and down.
    pub density: [u16; 2],
    /// Metadata to embed; none if empty.
    pub xmp_metadata: &'a [u8],
}

/// The usual steps of luma, at a quality of 50.
const LUMA_STEPS: [u16; 64] = [
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80,
    62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98,
    112, 100, 103, 99,
];

/// The usual steps of chroma: these in the corner of low frequencies, 99 elsewhere.
const CHROMA_STEPS: [[u16; 4]; 4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]];

/// A Huffman table as a file holds it: how many codes of each length, and the symbols.
struct Codes {
    counts: [u8; 16],
    symbols: &'static [u8],
}

const DC_SYMBOLS: &[u8] = &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];

const DC: [Codes; 2] = [
    Codes { counts: [0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0], symbols: DC_SYMBOLS },
    Codes { counts: [0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0], symbols: DC_SYMBOLS },
];

const AC: [Codes; 2] = [
    Codes {
        counts: [0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7d],
        symbols: &[
            0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07, 0x22, 0x71, 0x14,
            0x32, 0x81, 0x91, 0xa1, 0x08, 0x23, 0x42, 0xb1, 0xc1, 0x15, 0x52, 0xd1, 0xf0, 0x24, 0x33, 0x62, 0x72, 0x82, 0x09,
            0x0a, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3a,
            0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x63, 0x64, 0x65,
            0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88,
            0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9,
            0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca,
            0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xe1, 0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea,
            0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
        ],
    },
    Codes {
        counts: [0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 0x77],
        symbols: &[
            0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71, 0x13, 0x22, 0x32,
            0x81, 0x08, 0x14, 0x42, 0x91, 0xa1, 0xb1, 0xc1, 0x09, 0x23, 0x33, 0x52, 0xf0, 0x15, 0x62, 0x72, 0xd1, 0x0a, 0x16,
            0x24, 0x34, 0xe1, 0x25, 0xf1, 0x17, 0x18, 0x19, 0x1a, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x35, 0x36, 0x37, 0x38, 0x39,
            0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x63, 0x64,
            0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x82, 0x83, 0x84, 0x85, 0x86,
            0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7,
            0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8,
            0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9,
            0xea, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
        ],
    },
];

impl Codes {
    /// The code and its length of each symbol.
    fn table(&self) -> [(u32, u32); 256] {
        let mut table = [(0, 0); 256];
        let (mut code, mut symbols) = (0, self.symbols.iter());
        for (length, &count) in (1..).zip(&self.counts) {
            for &symbol in symbols.by_ref().take(count.into()) {
                table[usize::from(symbol)] = (code, length);
                code += 1;
            }
            code <<= 1;
        }
        table
    }
}

fn steps(chroma: bool, quality: i64) -> [u16; 64] {
    let quality = quality.clamp(1, 100);
    let scale = if quality < 50 { 5000 / quality } else { 200 - quality * 2 };
    std::array::from_fn(|i| {
        let base = match chroma {
            false => LUMA_STEPS[i],
            true => CHROMA_STEPS.get(i / 8).and_then(|row| row.get(i % 8)).copied().unwrap_or(99),
        };
        ((i64::from(base) * scale + 50) / 100).clamp(1, 255) as u16
    })
}

fn transform_pass(v: [i32; 8], first: bool) -> [i32; 8] {
    let sum = |i: usize| v[i] + v[7 - i];
    let difference = |i: usize| v[i] - v[7 - i];
    let (t10, t13, t11, t12) = (sum(0) + sum(3), sum(0) - sum(3), sum(1) + sum(2), sum(1) - sum(2));
    let shift = if first { 11 } else { 15 };
    let descale = |x: i32| (x + (1 << (shift - 1))) >> shift;
    let plain = |x: i32| if first { x << 2 } else { (x + 2) >> 2 };
    let z1 = (t12 + t13) * 4433;
    let (t4, t5, t6, t7) = (difference(3), difference(2), difference(1), difference(0));
    let (z2, z3, z4) = ((t5 + t6) * -20995, t4 + t6, t5 + t7);
    let z5 = (z3 + z4) * 9633;
    let (z3, z4, z0) = (z3 * -16069 + z5, z4 * -3196 + z5, (t4 + t7) * -7373);
    [
        plain(t10 + t11),
        descale(t7 * 12299 + z0 + z4),
        descale(z1 + t13 * 6270),
        descale(t6 * 25172 + z2 + z3),
        plain(t10 - t11),
        descale(t5 * 16819 + z2 + z4),
        descale(z1 + t12 * -15137),
        descale(t4 * 2446 + z0 + z3),
    ]
}

/// The quantized coefficients of a block of samples, in the order of the file.
fn quantized(samples: &[u8], stride: usize, steps: &[u16; 64]) -> [i32; 64] {
    let mut work = [0i32; 64];
    for y in 0..8 {
        let row = std::array::from_fn(|x| i32::from(samples[y * stride + x]) - 128);
        work[y * 8..y * 8 + 8].copy_from_slice(&transform_pass(row, true));
    }
    for x in 0..8 {
        for (y, value) in transform_pass(std::array::from_fn(|y| work[y * 8 + x]), false).into_iter().enumerate() {
            work[y * 8 + x] = value;
        }
    }
    ZIGZAG.map(|place| {
        let step = i32::from(steps[place]) << 3;
        let size = (work[place].abs() + (step >> 1)) / step;
        if work[place] < 0 { -size } else { size }
    })
}

#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    held: u64,
    count: u32,
}

impl Bits {
    fn put(&mut self, value: u32, length: u32) {
        self.held = self.held << length | u64::from(value & ((1u64 << length) - 1) as u32);
        self.count += length;
        while self.count >= 8 {
            self.count -= 8;
            let byte = (self.held >> self.count) as u8;
            self.bytes.push(byte);
            if byte == 0xff {
                self.bytes.push(0);
            }
        }
    }

    /// A number's bits: as many as its size, one less for negative ones.
    fn put_value(&mut self, value: i32, size: u32) {
        self.put(if value < 0 { value - 1 } else { value } as u32, size);
    }
}

/// How many bits a number takes.
fn size_of(value: i32) -> u32 {
    32 - value.unsigned_abs().leading_zeros()
}

fn put_block(bits: &mut Bits, block: &[i32; 64], last: i32, dc: &[(u32, u32); 256], ac: &[(u32, u32); 256]) {
    let symbol = |bits: &mut Bits, table: &[(u32, u32); 256], symbol: u32| {
        let (code, length) = table[symbol as usize & 255];
        bits.put(code, length);
    };
    let change = block[0] - last;
    symbol(bits, dc, size_of(change));
    bits.put_value(change, size_of(change));
    let mut zeros = 0;
    for &value in &block[1..] {
        if value == 0 {
            zeros += 1;
            continue;
        }
        while zeros > 15 {
            symbol(bits, ac, 0xf0);
            zeros -= 16;
        }
        let size = size_of(value);
        symbol(bits, ac, zeros << 4 | size);
        bits.put_value(value, size);
        zeros = 0;
    }
    if zeros > 0 {
        symbol(bits, ac, 0);
    }
}

/// A component in whole blocks.
struct Plane {
    /// Blocks that hold samples, across and down.
    blocks: [usize; 2],
    sampling: usize,
    coefficients: Vec<[i32; 64]>,
}

/// Samples of one component at the image's size, brought to whole blocks and transformed.
fn plane(samples: Vec<u8>, size: [usize; 2], sampling: usize, largest: usize, steps: &[u16; 64]) -> Plane {
    let [height, width] = size;
    let blocks = [width, height].map(|s| (s * sampling).div_ceil(largest * 8));
    let (wide, tall) = (blocks[0] * 8, blocks[1] * 8);
    let mut whole = Vec::with_capacity(wide * tall);
    let at = |y: usize, x: usize| u16::from(samples[y.min(height - 1) * width + x.min(width - 1)]);
    let rows = (height * sampling).div_ceil(largest);
    for y in 0..tall {
        let y = y.min(rows - 1);
        for x in 0..wide {
            whole.push(if sampling == largest {
                at(y, x) as u8
            } else {
                let bias = if x % 2 == 0 { 1 } else { 2 };
                let sum = at(2 * y, 2 * x) + at(2 * y, 2 * x + 1) + at(2 * y + 1, 2 * x) + at(2 * y + 1, 2 * x + 1);
                ((sum + bias) >> 2) as u8
            });
        }
    }
    let block = |i: usize| quantized(&whole[i / blocks[0] * 8 * wide + i % blocks[0] * 8..], wide, steps);
    Plane { blocks, sampling, coefficients: (0..blocks[0] * blocks[1]).map(block).collect() }
}

fn segment(file: &mut Vec<u8>, marker: u8, content: &[&[u8]]) -> Result<()> {
    let length = 2 + content.iter().map(|c| c.len()).sum::<usize>();
    let Ok(length) = u16::try_from(length) else { bail!(InvalidArgument, "{length} bytes don't fit into a JPEG marker") };
    file.extend([0xff, marker]);
    file.extend(length.to_be_bytes());
    content.iter().for_each(|c| file.extend_from_slice(c));
    Ok(())
}

/// Encodes an image of one channel (gray) or three (colours).
///
/// # Errors
/// `InvalidArgument` for a size that a file can't hold, or metadata that are too long.
pub(crate) fn encode(pixels: &[u8], size: [usize; 2], channels: usize, settings: &Settings) -> Result<Vec<u8>> {
    let [height, width] = size;
    if [height, width].iter().any(|s| !(1..=65500).contains(s)) || pixels.len() != height * width * channels {
        bail!(InvalidArgument, "JPEG encoding failed: an image of {height} x {width} x {channels} can't be encoded");
    }
    let steps = [steps(false, settings.quality), steps(true, settings.quality)];
    let largest = if channels == 3 && settings.chroma_downsampling { 2 } else { 1 };
    let planes: Vec<Plane> = match channels {
        1 => vec![plane(pixels.to_vec(), size, 1, 1, &steps[0])],
        _ => {
            let ycc: Vec<[u8; 3]> = pixels.as_chunks::<3>().0.iter().map(|&p| color::to_ycc(p)).collect();
            let of = |c: usize| ycc.iter().map(|p| p[c]).collect::<Vec<u8>>();
            let sampling = |c: usize| if c == 0 { largest } else { 1 };
            (0..3).map(|c| plane(of(c), size, sampling(c), largest, &steps[usize::from(c > 0)])).collect()
        }
    };
    let mut file = vec![0xff, 0xd8];
    let [x, y] = settings.density.map(u16::to_be_bytes);
    segment(&mut file, 0xe0, &[b"JFIF\0\x01\x01", &[settings.density_unit], &x, &y, &[0, 0]])?;
    if !settings.xmp_metadata.is_empty() {
        segment(&mut file, 0xe1, &[b"http://ns.adobe.com/xap/1.0/\0", settings.xmp_metadata])?;
    }
    let tables = planes.len().min(2);
    for (i, steps) in steps.iter().take(tables).enumerate() {
        segment(&mut file, 0xdb, &[&[i as u8], &ZIGZAG.map(|place| steps[place] as u8)])?;
    }
    let [h, w] = [height as u16, width as u16].map(u16::to_be_bytes);
    let listed: Vec<u8> = (planes.iter().enumerate())
        .flat_map(|(c, p)| [c as u8 + 1, (p.sampling << 4 | p.sampling) as u8, u8::from(c > 0)])
        .collect();
    segment(&mut file, 0xc0, &[&[8], &h, &w, &[planes.len() as u8], &listed])?;
    for i in 0..tables {
        segment(&mut file, 0xc4, &[&[i as u8], &DC[i].counts, DC[i].symbols])?;
        segment(&mut file, 0xc4, &[&[0x10 | i as u8], &AC[i].counts, AC[i].symbols])?;
    }
    let used: Vec<u8> = (0..planes.len()).flat_map(|c| [c as u8 + 1, if c > 0 { 0x11 } else { 0 }]).collect();
    segment(&mut file, 0xda, &[&[planes.len() as u8], &used, &[0, 63, 0]])?;

    let codes: [_; 2] = std::array::from_fn(|i| (DC[i].table(), AC[i].table()));
    let (across, down) = (width.div_ceil(8 * largest), height.div_ceil(8 * largest));
    let mut bits = Bits::default();
    let mut last = [0i32; 3];
    for unit in 0..across * down {
        for (c, plane) in planes.iter().enumerate() {
            let side = plane.sampling;
            for block in 0..side * side {
                let (x, y) = (unit % across * side + block % side, unit / across * side + block / side);
                // Blocks beyond the image repeat the one before, without its details.
                let mut beyond = [0; 64];
                beyond[0] = last[c];
                let inside = x < plane.blocks[0] && y < plane.blocks[1];
                let coefficients = if inside { &plane.coefficients[y * plane.blocks[0] + x] } else { &beyond };
                let (dc, ac) = &codes[usize::from(c > 0)];
                put_block(&mut bits, coefficients, last[c], dc, ac);
                last[c] = coefficients[0];
            }
        }
    }
    if bits.count > 0 {
        bits.put(0x7f, 7);
    }
    file.extend(bits.bytes);
    file.extend([0xff, 0xd9]);
    Ok(file)
}
