//! Convolutions straight from the images, without laying out windows.
//!
//! A tile of the output is some pixels by some vectors of channels, summed in registers: at each tap, one number of each
//! pixel's window is multiplied with the filter's vectors. Of an image that needs it, a copy with zeros around is made first, so
//! that all windows lie inside.

use super::{Axis, Conv2d, check_length};
use crate::compute::lanes::{Kernel, Lanes, dispatch};
use crate::compute::pool::{SharedMut, current_threads, parallel_for, parallel_pieces};
use crate::compute::scratch::{self, Scratch};
use std::ops::Range;

/// Vectors of channels in a tile.
const VECTORS: usize = 3;
/// The longest window whose filter's part for a tile stays in the second cache.
const LONGEST: usize = 4096;
/// Images grow to this many elements by zeros around them, or to four times their size.
const MOST_ZEROS: usize = 1 << 16;
/// Output pixels that a piece of a loop within one image has at least.
const GRAIN: usize = 64;

/// Pixels, or taps, in a tile.
#[inline(always)]
const fn tile_rows<L: Lanes>() -> usize {
    if L::REGISTERS >= 32 { 8 } else { 4 }
}

/// The size of an image with its zeros.
fn padded(axis: &Axis) -> usize {
    ((axis.output - 1) * axis.stride + axis.window).max(axis.padding + axis.input)
}

impl Conv2d {
    /// Whether the convolution and its filter gradient can be computed directly, and windows are more than a pixel.
    pub fn is_direct(&self) -> bool {
        let plain = |axis: &Axis| axis.dilation == 1 && axis.output > 0;
        let channels = self.groups == 1 && self.in_channels > 0 && self.out_channels > 3 && self.batch > 0;
        if !channels || !plain(&self.rows) || !plain(&self.columns) || self.rows.window * self.columns.window < 2 {
            return false;
        }
        let zeros = padded(&self.rows).saturating_mul(padded(&self.columns)).saturating_mul(self.in_channels);
        self.depth() <= LONGEST && zeros <= (4 * self.image_size()).max(MOST_ZEROS)
    }

    /// The convolution by which the input's gradient is computed from the output's, with the filter turned around; none where
    /// there is no such.
    pub fn of_input_gradient(&self) -> Option<Conv2d> {
        let turn = |axis: &Axis| {
            let padding = (axis.window - 1).checked_sub(axis.padding).filter(|_| axis.stride == 1)?;
            Some(Axis { input: axis.output, output: axis.input, padding, ..*axis })
        };
        let (rows, columns) = (turn(&self.rows)?, turn(&self.columns)?);
        let turned = Conv2d { rows, columns, in_channels: self.out_channels, out_channels: self.in_channels, ..*self };
        turned.is_direct().then_some(turned)
    }

    /// The elements of an image with its zeros.
    fn padded_size(&self) -> usize {
        padded(&self.rows) * padded(&self.columns) * self.in_channels
    }

    fn needs_zeros(&self) -> bool {
        padded(&self.rows) != self.rows.input || padded(&self.columns) != self.columns.input
    }

    /// An image with its zeros: in `space` if it needs any.
    fn with_zeros<'a>(&self, image: &'a [f32], space: &'a mut [f32]) -> &'a [f32] {
        if !self.needs_zeros() {
            return image;
        }
        let (from, to) = (self.columns.input * self.in_channels, padded(&self.columns) * self.in_channels);
        space.fill(0.0);
        if from > 0 {
            let lines = space[self.rows.padding * to..].chunks_exact_mut(to);
            for (line, row) in lines.zip(image.chunks_exact(from)) {
                line[self.columns.padding * self.in_channels..][..from].copy_from_slice(row);
            }
        }
        space
    }

    fn space(&self) -> Scratch<f32> {
        scratch::take::<f32>(if self.needs_zeros() { self.padded_size() } else { 0 })
    }
}

/// The panels of a filter's channels: the first vector and the number of vectors of each.
fn panels(vectors: usize) -> impl Iterator<Item = (usize, usize)> {
    let count = vectors.div_ceil(VECTORS);
    let (each, more) = (vectors / count.max(1), vectors % count.max(1));
    (0..count).map(move |i| (i * each + i.min(more), each + usize::from(i < more)))
}

/// A filter `[depth, channels]` with the channels of each panel side by side, filled up with zeros.
struct Packed {
    data: Scratch<f32>,
}

struct Pack<'a> {
    filter: &'a [f32],
    depth: usize,
    channels: usize,
}

impl Kernel<f32> for Pack<'_> {
    type Output = Packed;

    #[inline(always)]
    fn run<L: Lanes<Elem = f32>>(self, _: L) -> Packed {
        let vectors = self.channels.div_ceil(L::N);
        let mut data = scratch::take::<f32>(vectors * L::N * self.depth);
        for (first, count) in panels(vectors) {
            let width = count * L::N;
            let used = width.min(self.channels - first * L::N);
            let lines = data[first * L::N * self.depth..][..width * self.depth].chunks_exact_mut(width);
            for (line, taps) in lines.zip(self.filter.chunks_exact(self.channels)) {
                line[..used].copy_from_slice(&taps[first * L::N..][..used]);
                line[used..].fill(0.0);
            }
        }
        Packed { data }
    }
}

/// The convolution (TF op Conv2D), where [`Conv2d::is_direct`].
pub fn conv2d_direct(sizes: &Conv2d, input: &[f32], filter: &[f32], output: &mut [f32]) {
    check_length("input", input, sizes.input_size());
    check_length("filter", filter, sizes.filter_size());
    check_length("output", output, sizes.output_size());
    let packed = dispatch(Pack { filter, depth: sizes.depth(), channels: sizes.out_channels });
    let (image, pixels) = (sizes.image_size(), sizes.rows.output * sizes.columns.output);
    let to = SharedMut(output.as_mut_ptr());
    let run = |at: usize, image: &[f32], pixels_of: Range<usize>| {
        // SAFETY: the image's output is at its place, and only this piece writes these pixels.
        let output = unsafe { to.get().add(at * pixels * sizes.out_channels) };
        dispatch(Forward { sizes, image, filter: &packed.data, pixels: pixels_of, output });
    };
    let of = |at: usize| &input[at * image..][..image];
    if sizes.batch >= current_threads() {
        parallel_for(sizes.batch, 1, |images| {
            let mut space = sizes.space();
            for at in images {
                run(at, sizes.with_zeros(of(at), &mut space), 0..pixels);
            }
        });
    } else {
        for at in 0..sizes.batch {
            let mut space = sizes.space();
            let image = sizes.with_zeros(of(at), &mut space);
            parallel_for(pixels, GRAIN, |pixels| run(at, image, pixels));
        }
    }
}

/// Some pixels of one image's output.
struct Forward<'a> {
    sizes: &'a Conv2d,
    /// With its zeros.
    image: &'a [f32],
    /// In panels.
    filter: &'a [f32],
    pixels: Range<usize>,
    /// Where the image's output begins.
    output: *mut f32,
}

impl Kernel<f32> for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = f32>>(self, l: L) {
        let depth = self.sizes.depth();
        for (first, count) in panels(self.sizes.out_channels.div_ceil(L::N)) {
            let panel = &self.filter[first * L::N * depth..][..count * L::N * depth];
            for pixel in self.pixels.clone().step_by(tile_rows::<L>()) {
                // SAFETY: the windows of the pixels lie in the image, the panel is complete, and the pixels in the output.
                unsafe {
                    match (count, L::REGISTERS >= 32) {
                        (1, true) => self.tile::<L, 8, 1>(l, panel, first, pixel),
                        (2, true) => self.tile::<L, 8, 2>(l, panel, first, pixel),
                        (_, true) => self.tile::<L, 8, 3>(l, panel, first, pixel),
                        (1, false) => self.tile::<L, 4, 1>(l, panel, first, pixel),
                        (2, false) => self.tile::<L, 4, 2>(l, panel, first, pixel),
                        (_, false) => self.tile::<L, 4, 3>(l, panel, first, pixel),
                    }
                }
            }
        }
    }
}

impl Forward<'_> {
    /// The pixels from `pixel` on, at most `ROWS`, and `USED` vectors of channels from vector `first` on.
    ///
    /// # Safety
    /// Their windows lie in the image, the panel has a line for each tap, and the output has room.
    #[inline(always)]
    unsafe fn tile<L: Lanes<Elem = f32>, const ROWS: usize, const USED: usize>(
        &self,
        l: L,
        panel: &[f32],
        first: usize,
        pixel: usize,
    ) {
        let sizes = self.sizes;
        let (channels, outputs) = (sizes.in_channels, sizes.out_channels);
        let line = padded(&sizes.columns) * channels;
        let count = ROWS.min(self.pixels.end - pixel);
        // SAFETY: as the caller promises; a pixel beyond the last one stands for the last.
        unsafe {
            let windows: [*const f32; ROWS] = std::array::from_fn(|i| {
                let pixel = pixel + i.min(count - 1);
                let (y, x) = (pixel / sizes.columns.output, pixel % sizes.columns.output);
                self.image.as_ptr().add(y * sizes.rows.stride * line + x * sizes.columns.stride * channels)
            });
            let mut sums = [[l.splat(0.0); USED]; ROWS];
            let mut taps = panel.as_ptr();
            for row in 0..sizes.rows.window {
                for at in row * line..row * line + sizes.columns.window * channels {
                    let vectors: [L::V; USED] = std::array::from_fn(|v| l.load(taps.add(v * L::N)));
                    for i in 0..ROWS {
                        let x = l.splat(*windows[i].add(at));
                        for v in 0..USED {
                            sums[i][v] = l.mul_add(x, vectors[v], sums[i][v]);
                        }
                    }
                    taps = taps.add(USED * L::N);
                }
            }
            // A copy, so that indexing it doesn't force the sums themselves out of the registers.
            let results = sums;
            for (i, sums) in results.iter().enumerate().take(count) {
                for (v, sum) in sums.iter().enumerate() {
                    let channel = (first + v) * L::N;
                    let to = self.output.add((pixel + i) * outputs + channel);
                    l.store_part(to, *sum, outputs - channel);
                }
            }
        }
    }
}

/// The gradient of the input (TF op Conv2DBackpropInput), where [`Conv2d::of_input_gradient`].
pub fn conv2d_backprop_input_direct(
    sizes: &Conv2d,
    turned: &Conv2d,
    filter: &[f32],
    gradient: &[f32],
    input_gradient: &mut [f32],
) {
    check_length("filter", filter, sizes.filter_size());
    let (inputs, outputs) = (sizes.in_channels, sizes.out_channels);
    let mut turned_filter = scratch::take::<f32>(sizes.filter_size());
    let taps = sizes.rows.window * sizes.columns.window;
    for (tap, to) in turned_filter.chunks_exact_mut(inputs * outputs).enumerate() {
        let from = &filter[(taps - 1 - tap) * inputs * outputs..][..inputs * outputs];
        for (output, to) in to.chunks_exact_mut(inputs).enumerate() {
            to.iter_mut().enumerate().for_each(|(input, to)| *to = from[input * outputs + output]);
        }
    }
    conv2d_direct(turned, gradient, &turned_filter, input_gradient);
}

/// The gradient of the filter (TF op Conv2DBackpropFilter), where [`Conv2d::is_direct`]; summed over the images of each
/// thread, then over the threads in order.
pub fn conv2d_backprop_filter_direct(sizes: &Conv2d, input: &[f32], gradient: &[f32], filter_gradient: &mut [f32]) {
    check_length("input", input, sizes.input_size());
    check_length("gradient", gradient, sizes.output_size());
    check_length("filter", filter_gradient, sizes.filter_size());
    let (image, output) = (sizes.image_size(), sizes.rows.output * sizes.columns.output * sizes.out_channels);
    let parts = current_threads().min(sizes.batch).max(1);
    let part = sizes.batch.div_ceil(parts);
    let mut all = scratch::take::<f32>(parts * sizes.filter_size());
    parallel_pieces(&mut all, sizes.filter_size(), 1, |first, sums| {
        let mut space = sizes.space();
        for (index, sums) in (first..).zip(sums.chunks_exact_mut(sizes.filter_size())) {
            sums.fill(0.0);
            for at in (index * part).min(sizes.batch)..((index + 1) * part).min(sizes.batch) {
                let image = sizes.with_zeros(&input[at * image..][..image], &mut space);
                dispatch(FilterGradient { sizes, image, gradient: &gradient[at * output..][..output], sums });
            }
        }
    });
    let (to, rest) = all.split_at(sizes.filter_size());
    filter_gradient.copy_from_slice(to);
    for sums in rest.chunks_exact(sizes.filter_size()) {
        filter_gradient.iter_mut().zip(sums).for_each(|(to, sum)| *to += *sum);
    }
}

/// One image's part of the filter's gradient.
struct FilterGradient<'a> {
    sizes: &'a Conv2d,
    /// With its zeros.
    image: &'a [f32],
    gradient: &'a [f32],
    sums: &'a mut [f32],
}

impl Kernel<f32> for FilterGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = f32>>(mut self, l: L) {
        let run = self.sizes.columns.window * self.sizes.in_channels;
        let outputs = self.sizes.out_channels;
        for row in 0..self.sizes.rows.window {
            let mut tap = 0;
            while tap < run {
                let whole = run - tap >= tile_rows::<L>();
                for (first, count) in panels(outputs.div_ceil(L::N)) {
                    let left = outputs - first * L::N;
                    let partial = left < count * L::N;
                    // SAFETY: the taps and channels are the filter's.
                    unsafe {
                        match (count, whole, L::REGISTERS >= 32) {
                            (1, true, true) => self.tile::<L, 8, 1>(l, row, tap, first, partial),
                            (2, true, true) => self.tile::<L, 8, 2>(l, row, tap, first, partial),
                            (_, true, true) => self.tile::<L, 8, 3>(l, row, tap, first, partial),
                            (1, true, false) => self.tile::<L, 4, 1>(l, row, tap, first, partial),
                            (2, true, false) => self.tile::<L, 4, 2>(l, row, tap, first, partial),
                            (_, true, false) => self.tile::<L, 4, 3>(l, row, tap, first, partial),
                            (1, false, _) => self.tile::<L, 1, 1>(l, row, tap, first, partial),
                            (2, false, _) => self.tile::<L, 1, 2>(l, row, tap, first, partial),
                            (_, false, _) => self.tile::<L, 1, 3>(l, row, tap, first, partial),
                        }
                    }
                }
                tap += if whole { tile_rows::<L>() } else { 1 };
            }
        }
    }
}

impl FilterGradient<'_> {
    /// Adds the products of all pixels for the taps `tap..tap + ROWS` of a line of the window and `USED` vectors of channels;
    /// of the last vector, `partial` tells that channels are missing.
    ///
    /// # Safety
    /// There are such taps and channels.
    #[inline(always)]
    unsafe fn tile<L: Lanes<Elem = f32>, const ROWS: usize, const USED: usize>(
        &mut self,
        l: L,
        row: usize,
        tap: usize,
        first: usize,
        partial: bool,
    ) {
        let sizes = self.sizes;
        let outputs = sizes.out_channels;
        let last = (outputs - (first + USED - 1) * L::N).min(L::N);
        let line = padded(&sizes.columns) * sizes.in_channels;
        let step = sizes.columns.stride * sizes.in_channels;
        let mut sums = [[l.splat(0.0); USED]; ROWS];
        // SAFETY: as the caller promises; windows lie in the image with its zeros.
        unsafe {
            for y in 0..sizes.rows.output {
                let mut x = self.image.as_ptr().add((y * sizes.rows.stride + row) * line + tap);
                let mut dy = self.gradient.as_ptr().add(y * sizes.columns.output * outputs + first * L::N);
                for _ in 0..sizes.columns.output {
                    let vectors: [L::V; USED] = std::array::from_fn(|v| {
                        if partial && v + 1 == USED { l.load_first(dy.add(v * L::N), last) } else { l.load(dy.add(v * L::N)) }
                    });
                    for i in 0..ROWS {
                        let factor = l.splat(*x.add(i));
                        for v in 0..USED {
                            sums[i][v] = l.mul_add(factor, vectors[v], sums[i][v]);
                        }
                    }
                    x = x.wrapping_add(step);
                    dy = dy.wrapping_add(outputs);
                }
            }
            // A copy, so that indexing it doesn't force the sums themselves out of the registers.
            let results = sums;
            let taps = row * sizes.columns.window * sizes.in_channels + tap;
            for (i, sums) in results.iter().enumerate() {
                for (v, sum) in sums.iter().enumerate() {
                    let to = self.sums.as_mut_ptr().add((taps + i) * outputs + (first + v) * L::N);
                    if partial && v + 1 == USED {
                        l.store_first(to, l.add(l.load_first(to, last), *sum), last);
                    } else {
                        l.store(to, l.add(l.load(to), *sum));
                    }
                }
            }
        }
    }
}
