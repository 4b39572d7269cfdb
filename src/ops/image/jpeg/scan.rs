//! The scans of a file: what they say of the blocks' coefficients.

use super::ZIGZAG;
use super::huffman::{Bits, Table};
use crate::error::{Result, bail};

/// The coefficients of one colour component.
pub(super) struct Component {
    pub id: u8,
    /// How often it is sampled across and down, relative to the others.
    pub sampling: [usize; 2],
    pub quantization: usize,
    /// The blocks that hold samples, across and down.
    pub blocks: [usize; 2],
    /// The blocks in a row of whole units.
    pub stride: usize,
    pub coefficients: Vec<i16>,
}

/// Which coefficients a scan codes, and to which bit.
pub(super) struct Spectrum {
    pub progressive: bool,
    pub start: usize,
    pub end: usize,
    pub high: u32,
    pub low: u32,
}

/// A component in a scan: its number, and those of its tables.
pub(super) struct Part {
    pub component: usize,
    pub dc: usize,
    pub ac: usize,
}

/// What is carried from block to block.
#[derive(Default)]
struct Carry {
    dc: [i32; 4],
    end_of_band: u32,
}

/// Reads one scan into the components' coefficients. Returns where it ends, and whether data were missing.
pub(super) fn read_scan(
    data: &[u8],
    at: usize,
    components: &mut [Component],
    parts: &[Part],
    tables: (&[Option<Table>; 4], &[Option<Table>; 4]),
    spectrum: &Spectrum,
    restart: usize,
    units: [usize; 2],
) -> Result<(usize, bool)> {
    let mut bits = Bits::new(data, at);
    let mut carry = Carry::default();
    let needs_dc = spectrum.start == 0 && spectrum.high == 0;
    let needs_ac = spectrum.end > 0;
    for part in parts {
        if (needs_dc && tables.0[part.dc].is_none()) || (needs_ac && tables.1[part.ac].is_none()) {
            bail!(InvalidArgument, "Huffman table was not defined");
        }
    }
    let single = parts.len() == 1;
    let [across, down] = if single { components[parts[0].component].blocks } else { units };
    for unit in 0..across * down {
        if restart > 0 && unit > 0 && unit % restart == 0 {
            bits.restart();
            carry = Carry::default();
        }
        let (x, y) = (unit % across, unit / across);
        for part in parts {
            let component = &mut components[part.component];
            let [wide, tall] = if single { [1, 1] } else { component.sampling };
            for block in 0..wide * tall {
                let place = (y * tall + block / wide) * component.stride + x * wide + block % wide;
                let Some((block, _)) = component.coefficients.get_mut(place * 64..).and_then(|c| c.split_first_chunk_mut::<64>())
                else {
                    bail!(Internal, "a block lies outside its component");
                };
                let (dc, ac) = (tables.0[part.dc].as_ref(), tables.1[part.ac].as_ref());
                if !spectrum.progressive {
                    sequential(&mut bits, block, dc, ac, &mut carry.dc[part.component]);
                } else if spectrum.start == 0 {
                    progressive_dc(&mut bits, block, dc, &mut carry.dc[part.component], spectrum);
                } else if let Some(ac) = ac {
                    match spectrum.high {
                        0 => progressive_ac(&mut bits, block, ac, &mut carry.end_of_band, spectrum),
                        _ => refine_ac(&mut bits, block, ac, &mut carry.end_of_band, spectrum),
                    }
                }
            }
        }
        if bits.exhausted && bits.at + 1 >= data.len() {
            return Ok((bits.at, true));
        }
    }
    Ok((bits.at, false))
}

fn sequential(bits: &mut Bits, block: &mut [i16; 64], dc: Option<&Table>, ac: Option<&Table>, last: &mut i32) {
    let (Some(dc), Some(ac)) = (dc, ac) else { return };
    let size = bits.symbol(dc).min(16);
    *last = last.wrapping_add(bits.signed(size.into()));
    block[0] = *last as i16;
    let mut k = 1;
    while k < 64 {
        let symbol = bits.symbol(ac);
        let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        if size == 0 {
            if run != 15 {
                break;
            }
            k += 16;
            continue;
        }
        k += run;
        let value = bits.signed(size);
        if k < 64 {
            block[ZIGZAG[k]] = value as i16;
        }
        k += 1;
    }
}

fn progressive_dc(bits: &mut Bits, block: &mut [i16; 64], dc: Option<&Table>, last: &mut i32, spectrum: &Spectrum) {
    if spectrum.high > 0 {
        if bits.take(1) == 1 {
            block[0] |= 1 << spectrum.low;
        }
        return;
    }
    let Some(dc) = dc else { return };
    let size = bits.symbol(dc).min(16);
    *last = last.wrapping_add(bits.signed(size.into()));
    block[0] = (*last << spectrum.low) as i16;
}

fn progressive_ac(bits: &mut Bits, block: &mut [i16; 64], ac: &Table, end_of_band: &mut u32, spectrum: &Spectrum) {
    if *end_of_band > 0 {
        *end_of_band -= 1;
        return;
    }
    let mut k = spectrum.start;
    while k <= spectrum.end {
        let symbol = bits.symbol(ac);
        let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        if size == 0 {
            if run != 15 {
                *end_of_band = (1 << run) - 1 + bits.take(run as u32) as u32;
                break;
            }
            k += 16;
            continue;
        }
        k += run;
        let value = bits.signed(size);
        if k <= spectrum.end {
            block[ZIGZAG[k]] = (value << spectrum.low) as i16;
        }
        k += 1;
    }
}

/// One more bit for each coefficient that isn't 0, and those that become something now.
fn refine_ac(bits: &mut Bits, block: &mut [i16; 64], ac: &Table, end_of_band: &mut u32, spectrum: &Spectrum) {
    let (plus, minus) = (1i16 << spectrum.low, -1i16 << spectrum.low);
    let refine = |bits: &mut Bits, value: &mut i16| {
        if bits.take(1) == 1 && *value & plus == 0 {
            *value = value.wrapping_add(if *value >= 0 { plus } else { minus });
        }
    };
    let mut k = spectrum.start;
    if *end_of_band == 0 {
        while k <= spectrum.end {
            let symbol = bits.symbol(ac);
            let (mut run, size) = (i32::from(symbol >> 4), symbol & 15);
            let mut new = 0;
            if size != 0 {
                new = if bits.take(1) == 1 { plus } else { minus };
            } else if run != 15 {
                *end_of_band = (1 << run) + bits.take(run as u32) as u32;
                break;
            }
            while k <= spectrum.end {
                let value = &mut block[ZIGZAG[k]];
                if *value != 0 {
                    refine(bits, value);
                } else {
                    run -= 1;
                    if run < 0 {
                        break;
                    }
                }
                k += 1;
            }
            if new != 0 && k <= spectrum.end {
                block[ZIGZAG[k]] = new;
            }
            k += 1;
        }
    }
    if *end_of_band > 0 {
        for k in k..=spectrum.end {
            let value = &mut block[ZIGZAG[k]];
            if *value != 0 {
                refine(bits, value);
            }
        }
        *end_of_band -= 1;
    }
}
