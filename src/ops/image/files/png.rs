//! PNG files.

use super::{Decoded, Samples};
use crate::error::{Error, Result, bail};
use crate::tensor::DType;
use png::{BitDepth, ColorType, Compression, Decoder, Encoder, Limits, Transformations};
use std::io::Cursor;

/// Decodes an image with 8 bits for each sample, or 16 for other types than bytes. 0 channels means as many as the file has.
pub(super) fn decode(file: &[u8], channels: usize, dtype: DType) -> Result<Decoded> {
    let refuse = |e: png::DecodingError| Error::invalid_argument(format!("Invalid PNG data, size {}: {e}", file.len()));
    let mut decoder = Decoder::new_with_limits(Cursor::new(file), Limits { bytes: 1 << 30 });
    decoder.set_transformations(Transformations::EXPAND);
    let mut reader = decoder.read_info().map_err(refuse)?;
    let info = reader.info();
    let (height, width) = (info.height as usize, info.width as usize);
    let (kind, transparent) = (info.color_type, info.trns.is_some());
    // Where alpha is added, its value is the greatest of the file's bits, even where they are scaled up.
    let opaque = ((1u32 << info.bit_depth as u32) - 1) as u16;
    let own = match kind {
        ColorType::Indexed if transparent => 4,
        ColorType::Indexed => 3,
        kind => kind.samples(),
    };
    let channels = if channels == 0 { own } else { channels };
    let size = height.checked_mul(width).and_then(|n| n.checked_mul(8)).filter(|&n| n < 1 << 31);
    if size.is_none() {
        bail!(InvalidArgument, "PNG size too large for int: {width} by {height}");
    }
    let Some(needed) = reader.output_buffer_size() else { bail!(InvalidArgument, "Invalid PNG data: too large") };
    let mut buffer = vec![0u8; needed];
    let frame = reader.next_frame(&mut buffer).map_err(refuse)?;
    let wide = frame.bit_depth == BitDepth::Sixteen;
    let buffer = &buffer[..frame.buffer_size()];
    let values: Vec<u16> = match wide {
        true => buffer.as_chunks::<2>().0.iter().map(|&b| u16::from_be_bytes(b)).collect(),
        false => buffer.iter().map(|&b| u16::from(b)).collect(),
    };
    // Samples of 16 bits lose their lower half before colours are mixed.
    let narrow = wide && dtype == DType::Uint8;
    let values: Vec<u16> = if narrow { values.iter().map(|v| v >> 8).collect() } else { values };
    let sixteen = wide && !narrow;
    let opaque = if narrow { 255 } else { opaque };
    let found = frame.color_type.samples();
    let mut mixed = Vec::with_capacity(height * width * channels);
    for pixel in values.chunks_exact(found) {
        let (color, alpha) = match found {
            2 | 4 => (&pixel[..found - 1], Some(pixel[found - 1])),
            _ => (pixel, None),
        };
        match (color, channels < 3) {
            (&[gray], true) => mixed.push(gray),
            (&[gray], false) => mixed.extend([gray; 3]),
            (&[r, g, b], true) => mixed.push(to_gray([r, g, b], sixteen)),
            (color, _) => mixed.extend_from_slice(color),
        }
        if channels % 2 == 0 {
            mixed.push(alpha.unwrap_or(opaque));
        }
    }
    let samples = match dtype {
        DType::Uint8 => Samples::Bytes(mixed.iter().map(|&v| v as u8).collect()),
        _ if sixteen => Samples::Words(mixed),
        _ => Samples::Words(mixed.iter().map(|v| v << 8 | v).collect()),
    };
    Ok(Decoded { dims: [1, height, width, channels], samples })
}

/// The gray of a colour, with TensorFlow's weights: green and blue have changed places.
fn to_gray([r, g, b]: [u16; 3], sixteen: bool) -> u16 {
    const RED: u32 = 9798;
    const GREEN: u32 = 3736;
    const BLUE: u32 = 32768 - RED - GREEN;
    if r == g && g == b {
        return r;
    }
    let sum = RED * u32::from(r) + GREEN * u32::from(g) + BLUE * u32::from(b);
    ((sum + if sixteen { 16384 } else { 0 }) >> 15) as u16
}

/// Encodes samples, big-endian where they are words.
pub(super) fn encode(bytes: &[u8], size: [usize; 2], channels: usize, words: bool, compression: i64) -> Result<Vec<u8>> {
    let [Ok(height), Ok(width)] = size.map(u32::try_from) else {
        bail!(InvalidArgument, "PNG can't hold an image of {size:?}");
    };
    let refuse = |e: png::EncodingError| Error::internal(format!("PNG encoding failed: {e}"));
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, width, height);
    encoder.set_color(match channels {
        1 => ColorType::Grayscale,
        2 => ColorType::GrayscaleAlpha,
        3 => ColorType::Rgb,
        _ => ColorType::Rgba,
    });
    encoder.set_depth(if words { BitDepth::Sixteen } else { BitDepth::Eight });
    encoder.set_compression(match compression {
        0 => Compression::NoCompression,
        1..=3 => Compression::Fast,
        9 => Compression::High,
        _ => Compression::Balanced,
    });
    let mut writer = encoder.write_header().map_err(refuse)?;
    writer.write_image_data(bytes).map_err(refuse)?;
    writer.finish().map_err(refuse)?;
    Ok(file)
}
