//! From a file's markers to pixels.

use super::ZIGZAG;
use super::color;
use super::huffman::Table;
use super::idct::{Method, factors, inverse};
use super::scan::{Component, Part, Spectrum, read_scan};
use super::upsample::{Plane, upsample};
use crate::error::{Result, bail};

/// Larger images aren't decoded.
const MAX_SAMPLES: u64 = 1 << 29;

/// How a file is to be decoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// 0 for as many as the file has (3 at most), 1 for gray, 3 for colours.
    pub channels: usize,
    /// By how much the image is made smaller: 1, 2, 4 or 8.
    pub ratio: usize,
    /// Chroma planes are interpolated rather than repeated.
    pub fancy_upscaling: bool,
    /// The fast inverse transform rather than the accurate one.
    pub fast: bool,
    /// An image of which the end is missing is decoded all the same.
    pub try_recover_truncated: bool,
}

/// Pixels, row by row, the channels of each together.
pub(crate) struct Image {
    pub height: usize,
    pub width: usize,
    pub channels: usize,
    pub pixels: Vec<u8>,
}

/// What the file says before its scans.
#[derive(Default)]
struct Header {
    size: [usize; 2],
    progressive: bool,
    components: Vec<Component>,
    jfif: bool,
    adobe: Option<u8>,
}

/// A file that is being read.
struct Reader<'a> {
    data: &'a [u8],
    at: usize,
    header: Header,
    quantization: [Option<[u16; 64]>; 4],
    dc: [Option<Table>; 4],
    ac: [Option<Table>; 4],
    restart: usize,
}

impl<'a> Reader<'a> {
    fn new(data: &'a [u8]) -> Result<Reader<'a>> {
        if !data.starts_with(&[0xff, 0xd8]) {
            bail!(InvalidArgument, "Not a JPEG file: starts with {:02x?}", data.get(..2).unwrap_or(data));
        }
        let none = || [const { None }; 4];
        Ok(Reader { data, at: 2, header: Header::default(), quantization: [None; 4], dc: none(), ac: none(), restart: 0 })
    }

    /// The next marker; none where the file ends.
    fn marker(&mut self) -> Option<u8> {
        loop {
            let rest = self.data.get(self.at..)?;
            let start = rest.windows(2).position(|w| w[0] == 0xff && w[1] != 0 && w[1] != 0xff)?;
            self.at += start + 2;
            let marker = rest[start + 1];
            if !(0xd0..=0xd7).contains(&marker) && marker != 1 {
                return Some(marker);
            }
        }
    }

    /// What follows a marker.
    fn segment(&mut self) -> Result<&'a [u8]> {
        let length = match self.data.get(self.at..self.at + 2) {
            Some(bytes) => usize::from(u16::from_be_bytes([bytes[0], bytes[1]])),
            None => bail!(InvalidArgument, "Premature end of JPEG file"),
        };
        if length < 2 {
            bail!(InvalidArgument, "Bogus marker length");
        }
        let Some(segment) = self.data.get(self.at + 2..self.at + length) else {
            bail!(InvalidArgument, "Premature end of JPEG file");
        };
        self.at += length;
        Ok(segment)
    }

    fn quantization_tables(&mut self) -> Result<()> {
        let mut rest = self.segment()?;
        while let [head, values @ ..] = rest {
            let (wide, index) = (head >> 4 != 0, usize::from(head & 15));
            let length = if wide { 128 } else { 64 };
            let (Some(values), 0..4) = (values.get(..length), index) else { bail!(InvalidArgument, "Bogus DQT") };
            let mut table = [0u16; 64];
            for (k, &place) in ZIGZAG.iter().enumerate() {
                table[place] = if wide { u16::from_be_bytes([values[2 * k], values[2 * k + 1]]) } else { u16::from(values[k]) };
            }
            self.quantization[index] = Some(table);
            rest = &rest[1 + length..];
        }
        Ok(())
    }

    fn huffman_tables(&mut self) -> Result<()> {
        let mut rest = self.segment()?;
        while let [head, values @ ..] = rest {
            let (ac, index) = (head >> 4, usize::from(head & 15));
            let Some(counts) = values.get(..16) else { bail!(InvalidArgument, "Bogus DHT") };
            let total = counts.iter().map(|&c| usize::from(c)).sum::<usize>();
            let (Some(symbols), 0..2, 0..4) = (values.get(16..16 + total), ac, index) else {
                bail!(InvalidArgument, "Bogus DHT");
            };
            let table = Some(Table::new(counts, symbols)?);
            if ac == 1 {
                self.ac[index] = table
            } else {
                self.dc[index] = table
            }
            rest = &rest[17 + total..];
        }
        Ok(())
    }

    fn frame(&mut self, marker: u8) -> Result<()> {
        let segment = self.segment()?;
        if !self.header.components.is_empty() {
            bail!(InvalidArgument, "Unsupported JPEG: two SOF markers");
        }
        let &[bits, h1, h0, w1, w0, count, ref parts @ ..] = segment else { bail!(InvalidArgument, "Bogus SOF") };
        let size = [u16::from_be_bytes([h1, h0]), u16::from_be_bytes([w1, w0])].map(usize::from);
        if bits != 8 {
            bail!(InvalidArgument, "Unsupported JPEG data precision {bits}");
        }
        if size.contains(&0) || count == 0 || parts.len() != 3 * usize::from(count) || count > 4 {
            bail!(InvalidArgument, "Empty or unsupported JPEG image: {size:?}, {count} components");
        }
        if size[0] as u64 * size[1] as u64 * u64::from(count) >= MAX_SAMPLES {
            bail!(InvalidArgument, "Image too large: {size:?}");
        }
        self.header.size = size;
        self.header.progressive = marker == 0xc2;
        for part in parts.chunks_exact(3) {
            let sampling = [usize::from(part[1] >> 4), usize::from(part[1] & 15)];
            if sampling.iter().any(|s| !(1..=4).contains(s)) || part[2] > 3 {
                bail!(InvalidArgument, "Bogus sampling factors");
            }
            self.header.components.push(Component {
                id: part[0],
                sampling,
                quantization: part[2].into(),
                blocks: [0; 2],
                stride: 0,
                coefficients: Vec::new(),
            });
        }
        Ok(())
    }

    /// Reads markers up to the first scan or past it.
    fn read_marker(&mut self, marker: u8) -> Result<()> {
        match marker {
            0xdb => self.quantization_tables(),
            0xc4 => self.huffman_tables(),
            0xc0..=0xc2 => self.frame(marker),
            0xc3 | 0xc5..=0xc7 | 0xc9..=0xcf => bail!(InvalidArgument, "Unsupported JPEG process: SOF type 0x{marker:02x}"),
            0xdd => {
                let &[high, low] = self.segment()? else { bail!(InvalidArgument, "Bogus DRI") };
                self.restart = usize::from(u16::from_be_bytes([high, low]));
                Ok(())
            }
            0xe0 => {
                self.header.jfif |= self.segment()?.starts_with(b"JFIF\0");
                Ok(())
            }
            0xee => {
                let segment = self.segment()?;
                if segment.len() >= 12 && segment.starts_with(b"Adobe") {
                    self.header.adobe = Some(segment[11]);
                }
                Ok(())
            }
            _ => self.segment().map(drop),
        }
    }

    /// The units of which a scan of several components is made, across and down.
    fn units(&self) -> ([usize; 2], [usize; 2]) {
        let most = |i: usize| self.header.components.iter().map(|c| c.sampling[i]).max().unwrap_or(1);
        let most = [most(0), most(1)];
        let [height, width] = self.header.size;
        (most, [width.div_ceil(8 * most[0]), height.div_ceil(8 * most[1])])
    }

    fn allocate(&mut self, recover: bool) -> Result<()> {
        let (most, units) = self.units();
        let [height, width] = self.header.size;
        let blocks = |c: &Component| units[0] * units[1] * c.sampling[0] * c.sampling[1];
        // A block takes at least one bit, so that a short file can't ask for much memory.
        let total: usize = self.header.components.iter().map(blocks).sum();
        if !recover && self.data.len() < total / 8 {
            bail!(InvalidArgument, "Premature end of JPEG file");
        }
        for component in &mut self.header.components {
            let side = |size: usize, i: usize| (size * component.sampling[i]).div_ceil(8 * most[i]);
            component.blocks = [side(width, 0), side(height, 1)];
            component.stride = units[0] * component.sampling[0];
            component.coefficients = vec![0; blocks(component) * 64];
        }
        Ok(())
    }

    /// Reads one scan. True where data were missing.
    fn scan(&mut self) -> Result<bool> {
        let segment = self.segment()?;
        let [count, rest @ ..] = segment else { bail!(InvalidArgument, "Bogus SOS") };
        let count = usize::from(*count);
        let (Some(listed), Some(&[start, end, approximation, ..])) = (rest.get(..2 * count), rest.get(2 * count..)) else {
            bail!(InvalidArgument, "Bogus SOS");
        };
        let mut parts = Vec::new();
        for pair in listed.chunks_exact(2) {
            let Some(component) = self.header.components.iter().position(|c| c.id == pair[0]) else {
                bail!(InvalidArgument, "Bogus SOS: there is no component {}", pair[0]);
            };
            let (dc, ac) = (usize::from(pair[1] >> 4), usize::from(pair[1] & 15));
            if dc > 3 || ac > 3 || parts.iter().any(|p: &Part| p.component == component) {
                bail!(InvalidArgument, "Bogus SOS");
            }
            parts.push(Part { component, dc, ac });
        }
        let progressive = self.header.progressive;
        let spectrum = match progressive {
            false => Spectrum { progressive, start: 0, end: 63, high: 0, low: 0 },
            true => Spectrum {
                progressive,
                start: start.into(),
                end: end.into(),
                high: (approximation >> 4).into(),
                low: (approximation & 15).into(),
            },
        };
        let only_dc = spectrum.start == 0 && spectrum.end == 0;
        let only_ac = spectrum.start > 0 && spectrum.end >= spectrum.start && spectrum.end < 64 && count == 1;
        if count == 0 || spectrum.low > 13 || (progressive && !only_dc && !only_ac) {
            bail!(InvalidArgument, "Invalid progressive parameters");
        }
        let (_, units) = self.units();
        let components = &mut self.header.components;
        let tables = (&self.dc, &self.ac);
        let (at, missing) = read_scan(self.data, self.at, components, &parts, tables, &spectrum, self.restart, units)?;
        self.at = at;
        Ok(missing)
    }

    /// The planes of the components in the size of the output.
    fn planes(&mut self, options: &Options) -> Result<(Vec<Plane>, [usize; 2])> {
        let (most, _) = self.units();
        let [height, width] = self.header.size;
        let smallest = 8 / options.ratio;
        let size = [width.div_ceil(options.ratio), height.div_ceil(options.ratio)];
        let mut planes = Vec::new();
        for component in &mut self.header.components {
            let mut block = smallest;
            while block < 8 && (0..2).all(|i| (most[i] * smallest).is_multiple_of(component.sampling[i] * block * 2)) {
                block *= 2;
            }
            let Some(quantization) = &self.quantization[component.quantization] else {
                bail!(InvalidArgument, "Quantization table 0x{:02x} was not defined", component.quantization);
            };
            let method = if options.fast && block == 8 { Method::Fast } else { Method::Accurate };
            let factors = factors(method, quantization);
            let stride = component.blocks[0] * block;
            let mut samples = vec![0u8; stride * component.blocks[1] * block];
            for y in 0..component.blocks[1] {
                for x in 0..component.blocks[0] {
                    let coefficients = &component.coefficients[(y * component.stride + x) * 64..][..64];
                    inverse(method, block, coefficients, &factors, &mut samples[y * block * stride + x * block..], stride);
                }
            }
            component.coefficients = Vec::new();
            let side = |of: usize, i: usize| (of * component.sampling[i] * block).div_ceil(most[i] * 8);
            let (wide, tall) = (side(width, 0), side(height, 1));
            let cut = samples.chunks_exact(stride).take(tall).flat_map(|row| &row[..wide]).copied().collect();
            let plane = Plane { width: wide, height: tall, samples: cut };
            let expand = [0, 1].map(|i| (most[i] * smallest, component.sampling[i] * block));
            if expand.iter().any(|(whole, part)| whole % part != 0) {
                bail!(InvalidArgument, "Fractional sampling not implemented yet");
            }
            let [across, down] = expand.map(|(whole, part)| whole / part);
            planes.push(upsample(plane, across, down, options.fancy_upscaling && smallest > 1, size));
        }
        Ok((planes, size))
    }

    /// True where three components are red, green and blue, or four are inks without luma.
    fn is_direct(&self) -> bool {
        let ids: Vec<u8> = self.header.components.iter().map(|c| c.id).collect();
        match (ids.len(), self.header.adobe) {
            (4, adobe) => adobe != Some(2),
            (3, _) if self.header.jfif => false,
            (3, Some(transform)) => transform == 0,
            _ => ids == *b"RGB",
        }
    }
}

/// Height, width and number of components of an image.
///
/// # Errors
/// `InvalidArgument` for a file that is no JPEG file.
pub(crate) fn read_size(data: &[u8]) -> Result<[usize; 3]> {
    let mut reader = Reader::new(data)?;
    while let Some(marker) = reader.marker() {
        if marker == 0xda || marker == 0xd9 {
            break;
        }
        reader.read_marker(marker)?;
        if !reader.header.components.is_empty() {
            let [height, width] = reader.header.size;
            return Ok([height, width, reader.header.components.len()]);
        }
    }
    bail!(InvalidArgument, "Invalid JPEG data, size {}", data.len())
}

/// Decodes an image.
///
/// # Errors
/// `InvalidArgument` for a file that is damaged, of a kind that isn't supported, or too large.
pub(crate) fn decode(data: &[u8], options: &Options) -> Result<Image> {
    let mut reader = Reader::new(data)?;
    let mut missing = true;
    let mut scanned = false;
    while let Some(marker) = reader.marker() {
        match marker {
            0xd9 => {
                missing = false;
                break;
            }
            0xda => {
                if reader.header.components.is_empty() {
                    bail!(InvalidArgument, "Invalid JPEG file structure: SOS before SOF");
                }
                if !scanned {
                    reader.allocate(options.try_recover_truncated)?;
                }
                scanned = true;
                // A single scan that is whole needs no end marker.
                let short = reader.scan()?;
                missing = short || reader.header.progressive;
                if short {
                    break;
                }
            }
            marker => reader.read_marker(marker)?,
        }
    }
    if !scanned || (missing && !options.try_recover_truncated) {
        bail!(InvalidArgument, "Premature end of JPEG file");
    }
    let direct = reader.is_direct();
    let adobe = reader.header.adobe.is_some();
    let (planes, [width, height]) = reader.planes(options)?;
    let channels = if options.channels == 0 { planes.len().min(3) } else { options.channels };
    let mut pixels = Vec::with_capacity(width * height * channels);
    for i in 0..width * height {
        let rgb = match planes.len() {
            1 | 2 => [planes[0].samples[i]; 3],
            3 if direct => [0, 1, 2].map(|c| planes[c].samples[i]),
            3 if channels == 1 => [planes[0].samples[i]; 3],
            3 => color::to_rgb(planes[0].samples[i], planes[1].samples[i], planes[2].samples[i]),
            _ => {
                let inks = [0, 1, 2].map(|c| planes[c].samples[i]);
                let inks = if direct { inks } else { color::to_rgb(inks[0], inks[1], inks[2]).map(|v| 255 - v) };
                let black = u16::from(planes[3].samples[i]);
                inks.map(|ink| {
                    let product = if adobe { black * u16::from(ink) } else { (255 - black) * (255 - u16::from(ink)) };
                    (product / 255) as u8
                })
            }
        };
        match channels {
            1 if planes.len() < 3 || (planes.len() == 3 && !direct) => pixels.push(rgb[0]),
            1 => pixels.push(color::gray(rgb)),
            _ => pixels.extend(rgb),
        }
    }
    Ok(Image { height, width, channels, pixels })
}
