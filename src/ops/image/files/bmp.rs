//! BMP files without compression: 8 bits (gray), 24 or 32.

use super::{Decoded, Samples};
use crate::error::{Result, bail};

pub(super) fn decode(file: &[u8], channels: usize) -> Result<Decoded> {
    if file.len() < 32 {
        bail!(
            InvalidArgument,
            "Incomplete bmp content, requires at least 32 bytes to find the header size, width, height, and bpp, got {} bytes",
            file.len()
        );
    }
    let int = |at: usize| i64::from(i32::from_le_bytes([file[at], file[at + 1], file[at + 2], file[at + 3]]));
    let (start, width, height) = (int(10), int(18), int(22));
    let bits = usize::from(u16::from_le_bytes([file[28], file[29]]));
    if channels != 0 && channels * 8 != bits {
        bail!(InvalidArgument, "channels attribute {channels} does not match bits per pixel from file {bits}");
    }
    let found = bits / 8;
    if ![1, 3, 4].contains(&found) {
        bail!(InvalidArgument, "Number of channels inherent in the image must be 1, 3 or 4, was {found}");
    }
    if width <= 0 || height == 0 {
        bail!(InvalidArgument, "image size must be positive, got {height} x {width}");
    }
    let top_down = height < 0;
    let (width, height) = (width as usize, height.unsigned_abs() as usize);
    let line = width * found;
    let stride = line.div_ceil(4) * 4;
    let needed = stride.checked_mul(height - 1).and_then(|n| n.checked_add(line));
    let data = usize::try_from(start).ok().and_then(|start| file.get(start..));
    let (Some(needed), Some(data)) = (needed, data) else { bail!(InvalidArgument, "Incomplete bmp content") };
    if data.len() < needed {
        bail!(InvalidArgument, "Incomplete bmp content, requires at least {needed} bytes of pixels, got {} bytes", data.len());
    }
    let mut pixels = Vec::with_capacity(line * height);
    for row in 0..height {
        let row = if top_down { row } else { height - 1 - row };
        for pixel in data[row * stride..][..line].chunks_exact(found) {
            match *pixel {
                [b, g, r] => pixels.extend([r, g, b]),
                [b, g, r, a] => pixels.extend([r, g, b, a]),
                _ => pixels.extend_from_slice(pixel),
            }
        }
    }
    Ok(Decoded { dims: [1, height, width, found], samples: Samples::Bytes(pixels) })
}
