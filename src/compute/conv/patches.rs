//! Windows as rows of a matrix.

use super::Conv2d;
use std::ops::Range;

/// Copies the windows of output pixels of one group to rows `[pixel][row tap][column tap][channel]`, zero outside of the image.
pub fn gather<T: Copy>(sizes: &Conv2d, input: &[T], group: usize, pixels: Range<usize>, zero: T, patches: &mut [T]) {
    let channels = sizes.in_channels / sizes.groups;
    let depth = sizes.depth();
    for (pixel, patch) in pixels.zip(patches.chunks_exact_mut(depth)) {
        let (image, row, column) = place(sizes, pixel);
        let image = &input[image * sizes.image_size()..][..sizes.image_size()];
        let columns = sizes.columns.taps(column);
        for (tap, line) in patch.chunks_exact_mut(sizes.columns.window * channels).enumerate() {
            let Some(y) = sizes.rows.position(row, tap).filter(|_| !columns.is_empty()) else {
                line.fill(zero);
                continue;
            };
            let image_row = &image[y * sizes.columns.input * sizes.in_channels..][..sizes.columns.input * sizes.in_channels];
            line[..columns.start * channels].fill(zero);
            line[columns.end * channels..].fill(zero);
            let x = column * sizes.columns.stride + columns.start * sizes.columns.dilation - sizes.columns.padding;
            let inside = &mut line[columns.start * channels..columns.end * channels];
            if sizes.columns.dilation == 1 && sizes.groups == 1 {
                inside.copy_from_slice(&image_row[x * channels..][..inside.len()]);
            } else {
                for (i, to) in inside.chunks_exact_mut(channels).enumerate() {
                    let from = (x + i * sizes.columns.dilation) * sizes.in_channels + group * channels;
                    to.copy_from_slice(&image_row[from..][..channels]);
                }
            }
        }
    }
}

/// Adds rows as [`gather`] makes them to the places that they came from; `input` begins with image `first_image`.
pub fn scatter<T: Copy>(
    sizes: &Conv2d,
    patches: &[T],
    group: usize,
    pixels: Range<usize>,
    add: impl Fn(T, T) -> T,
    first_image: usize,
    input: &mut [T],
) {
    let channels = sizes.in_channels / sizes.groups;
    let depth = sizes.depth();
    for (pixel, patch) in pixels.zip(patches.chunks_exact(depth)) {
        let (image, row, column) = place(sizes, pixel);
        let image = &mut input[(image - first_image) * sizes.image_size()..][..sizes.image_size()];
        for (tap, line) in patch.chunks_exact(sizes.columns.window * channels).enumerate() {
            let Some(y) = sizes.rows.position(row, tap) else { continue };
            for tap in sizes.columns.taps(column) {
                let x = column * sizes.columns.stride + tap * sizes.columns.dilation - sizes.columns.padding;
                let to = (y * sizes.columns.input + x) * sizes.in_channels + group * channels;
                for (to, from) in image[to..][..channels].iter_mut().zip(&line[tap * channels..]) {
                    *to = add(*to, *from);
                }
            }
        }
    }
}

/// The image, row and column of an output pixel.
fn place(sizes: &Conv2d, pixel: usize) -> (usize, usize, usize) {
    let (line, column) = (pixel / sizes.columns.output, pixel % sizes.columns.output);
    (line / sizes.rows.output, line % sizes.rows.output, column)
}
