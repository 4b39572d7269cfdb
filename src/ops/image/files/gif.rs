//! GIF files, frame upon frame.

use super::{Decoded, Samples};
use crate::error::{Error, Result, bail};
use gif::{ColorOutput, DecodeOptions, Frame, MemoryLimit};

/// Animations of more samples aren't decoded.
const MAX_SAMPLES: usize = 1 << 31;

/// Decodes the first frames of a file. Each frame is drawn over the one before; the first over black.
pub(super) fn decode(file: &[u8], most: usize) -> Result<Decoded> {
    let refuse = |e: &dyn std::fmt::Display| Error::invalid_argument(format!("Invalid GIF data (size {}), {e}", file.len()));
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    options.set_memory_limit(MemoryLimit::Bytes(std::num::NonZeroU64::new(1 << 30).unwrap_or(std::num::NonZeroU64::MIN)));
    let mut decoder = options.read_info(file).map_err(|e| refuse(&e))?;
    let global = decoder.global_palette().map(<[u8]>::to_vec);
    let mut frames: Vec<Frame<'static>> = Vec::new();
    while frames.len() < most {
        match decoder.read_next_frame() {
            Ok(Some(frame)) => frames.push(frame.clone()),
            Ok(None) => break,
            Err(e) => return Err(refuse(&e)),
        }
    }
    let side = |of: fn(&Frame) -> u16| frames.iter().map(of).max().map_or(0, usize::from);
    let (width, height) = (side(|f| f.width), side(|f| f.height));
    let size = width * height * 3;
    if frames.is_empty() || size == 0 {
        return Err(refuse(&"gif file does not contain any image"));
    }
    if size.checked_mul(frames.len()).is_none_or(|total| total > MAX_SAMPLES) {
        return Err(refuse(&"the animation is too large"));
    }
    let mut pixels: Vec<u8> = Vec::with_capacity(size * frames.len());
    for (number, frame) in frames.iter().enumerate() {
        let start = pixels.len();
        if number == 0 {
            pixels.resize(size, 0);
        } else {
            pixels.extend_from_within(start - size..);
        }
        let canvas = &mut pixels[start..];
        let Some(palette) = frame.palette.as_ref().or(global.as_ref()) else {
            bail!(InvalidArgument, "missing color map for frame {number}");
        };
        let (left, top, wide) = (usize::from(frame.left), usize::from(frame.top), usize::from(frame.width));
        for (y, row) in frame.buffer.chunks_exact(wide).enumerate() {
            for (x, &index) in row.iter().enumerate() {
                let (x, y) = (left + x, top + y);
                if x >= width || y >= height || frame.transparent == Some(index) {
                    continue;
                }
                let Some(color) = palette.get(usize::from(index) * 3..usize::from(index) * 3 + 3) else {
                    bail!(InvalidArgument, "found color index {index} outside of color map range {}", palette.len() / 3);
                };
                canvas[(y * width + x) * 3..][..3].copy_from_slice(color);
            }
        }
    }
    Ok(Decoded { dims: [frames.len(), height, width, 3], samples: Samples::Bytes(pixels) })
}
