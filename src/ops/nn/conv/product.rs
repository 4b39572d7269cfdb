//! Convolutions as matrix products over gathered windows.

use super::geometry::Geometry;
use crate::compute::conv::{self, Conv2d};
use crate::compute::gemm::{GemmElement, Matrix, MatrixMut, Onto, gemm};
use crate::compute::pool::{current_threads, parallel_pieces};
use crate::ops::nn::window::Axis;
use crate::tensor::Element;

/// Elements of gathered windows that are held at a time.
const BLOCK: usize = 128 << 10;

/// An element that convolutions are computed in.
pub(super) trait ConvElement: Element + GemmElement {
    /// The sum, which wraps around for integers.
    fn plus(self, other: Self) -> Self;

    /// The convolution without laying out windows; tells whether it was computed.
    fn direct(_: &Conv2d, _input: &[Self], _filter: &[Self], _output: &mut [Self]) -> bool {
        false
    }

    /// The same for the filter's gradient.
    fn direct_filter(_: &Conv2d, _input: &[Self], _gradient: &[Self], _filter: &mut [Self]) -> bool {
        false
    }

    /// The same for the input's gradient.
    fn direct_input(_: &Conv2d, _filter: &[Self], _gradient: &[Self], _input: &mut [Self]) -> bool {
        false
    }
}

impl ConvElement for f32 {
    #[inline(always)]
    fn plus(self, other: f32) -> f32 {
        self + other
    }

    fn direct(sizes: &Conv2d, input: &[f32], filter: &[f32], output: &mut [f32]) -> bool {
        let fits = sizes.is_direct();
        if fits {
            conv::conv2d_direct(sizes, input, filter, output);
        }
        fits
    }

    fn direct_filter(sizes: &Conv2d, input: &[f32], gradient: &[f32], filter: &mut [f32]) -> bool {
        // With fewer images than threads, products share the work better.
        let fits = sizes.is_direct() && sizes.batch >= current_threads();
        if fits {
            conv::conv2d_backprop_filter_direct(sizes, input, gradient, filter);
        }
        fits
    }

    fn direct_input(sizes: &Conv2d, filter: &[f32], gradient: &[f32], input: &mut [f32]) -> bool {
        let turned = sizes.of_input_gradient();
        if let Some(turned) = &turned {
            conv::conv2d_backprop_input_direct(sizes, turned, filter, gradient, input);
        }
        turned.is_some()
    }
}

/// How windows move along a dimension.
pub(super) fn axis(axis: &Axis) -> conv::Axis {
    conv::Axis {
        input: axis.input,
        output: axis.output,
        window: axis.window,
        stride: axis.stride,
        dilation: axis.dilation,
        padding: axis.before,
    }
}

/// The sizes of a convolution over two dimensions; none for one over three.
fn plain_sizes(geometry: &Geometry) -> Option<Conv2d> {
    let [depth, rows, columns] = &geometry.axes;
    let flat = depth.input == 1 && depth.output == 1 && depth.window == 1 && depth.before == 0;
    flat.then(|| Conv2d {
        batch: geometry.batch,
        rows: axis(rows),
        columns: axis(columns),
        in_channels: geometry.in_channels,
        out_channels: geometry.out_channels,
        groups: geometry.groups(),
    })
}

impl ConvElement for f64 {
    #[inline(always)]
    fn plus(self, other: f64) -> f64 {
        self + other
    }
}

impl ConvElement for i32 {
    #[inline(always)]
    fn plus(self, other: i32) -> i32 {
        self.wrapping_add(other)
    }
}

/// The windows of some output positions of an image, walked over in the order of the filter.
struct Windows<'a> {
    geometry: &'a Geometry,
    group: usize,
}

impl Windows<'_> {
    /// Calls `inside(row's place, image's place, length)` for each stretch of a window that lies in the image, and
    /// `outside(row's place, length)` for each one that doesn't.
    #[inline(always)]
    fn walk(&self, position: usize, mut inside: impl FnMut(usize, usize, usize), mut outside: impl FnMut(usize, usize)) {
        let [depth, height, width] = &self.geometry.axes;
        let (x, y, z) =
            (position % width.output, position / width.output % height.output, position / width.output / height.output);
        let (channels, taken) = (self.geometry.in_channels, self.geometry.group_in);
        let first_channel = self.group * taken;
        let row = width.window * taken;
        let mut place = 0;
        for kz in 0..depth.window {
            let iz = depth.position(z, kz);
            for ky in 0..height.window {
                let (Some(iz), Some(iy)) = (iz, height.position(y, ky)) else {
                    outside(place, row);
                    place += row;
                    continue;
                };
                let line = (iz * height.input + iy) * width.input;
                if width.dilation == 1 && taken == channels {
                    let range = width.range(x);
                    let before = (width.before.saturating_sub(x * width.stride)).min(width.window);
                    let length = range.len();
                    outside(place, before * channels);
                    inside(place + before * channels, (line + range.start) * channels, length * channels);
                    outside(place + (before + length) * channels, (width.window - before - length) * channels);
                    place += row;
                    continue;
                }
                for kx in 0..width.window {
                    match width.position(x, kx) {
                        Some(ix) => inside(place, (line + ix) * channels + first_channel, taken),
                        None => outside(place, taken),
                    }
                    place += taken;
                }
            }
        }
    }
}

/// Gathers the windows of output positions from `first` on, one a row.
fn gather<T: ConvElement>(geometry: &Geometry, group: usize, input: &[T], first: usize, rows: &mut [T]) {
    let windows = Windows { geometry, group };
    let (positions, image) = (geometry.positions(), geometry.image());
    for (i, row) in rows.chunks_exact_mut(geometry.window()).enumerate() {
        let (batch, position) = ((first + i) / positions, (first + i) % positions);
        let input = &input[batch * image..][..image];
        // Both closures write to the row, one after the other.
        let cell = std::cell::RefCell::new(row);
        windows.walk(
            position,
            #[inline(always)]
            |to, from, length| cell.borrow_mut()[to..to + length].copy_from_slice(&input[from..from + length]),
            #[inline(always)]
            |to, length| cell.borrow_mut()[to..to + length].fill(T::default()),
        );
    }
}

/// Adds rows of windows, those of output positions from `first` on of one image, to the image.
fn scatter<T: ConvElement>(geometry: &Geometry, group: usize, image: &mut [T], first: usize, rows: &[T]) {
    let windows = Windows { geometry, group };
    for (i, row) in rows.chunks_exact(geometry.window()).enumerate() {
        windows.walk(
            first + i,
            #[inline(always)]
            |from, to, length| {
                for (out, &x) in image[to..to + length].iter_mut().zip(&row[from..from + length]) {
                    *out = ConvElement::plus(*out, x);
                }
            },
            |_, _| (),
        );
    }
}

fn block_rows(geometry: &Geometry) -> usize {
    (BLOCK / geometry.window().max(1)).clamp(8, 1024)
}

/// The convolution: `output[n, o, c]` from `input[n, i, c]` and `filter[k, c, c']`, channels last.
pub(super) fn forward<T: ConvElement>(geometry: &Geometry, input: &[T], filter: &[T], output: &mut [T]) {
    let (outputs, window, groups) = (geometry.out_channels, geometry.window(), geometry.groups());
    if output.is_empty() {
        return;
    }
    let each = outputs / groups;
    if geometry.is_pointwise() && groups == 1 {
        let rows = output.len() / outputs;
        let (a, b) = (Matrix::new(input, rows, window), Matrix::new(filter, window, outputs));
        return gemm(a, b, MatrixMut::new(output, rows, outputs), Onto::Nothing);
    }
    if plain_sizes(geometry).is_some_and(|sizes| T::direct(&sizes, input, filter, output)) {
        return;
    }
    let rows = block_rows(geometry);
    parallel_pieces(output, rows * outputs, 1, |first, piece| {
        let mut gathered = vec![T::default(); rows * window];
        for (i, block) in piece.chunks_mut(rows * outputs).enumerate() {
            let count = block.len() / outputs;
            let gathered = &mut gathered[..count * window];
            for group in 0..groups {
                gather(geometry, group, input, (first + i) * rows, gathered);
                let (a, b) =
                    (Matrix::new(gathered, count, window), Matrix::strided(&filter[group * each..], window, each, outputs, 1));
                gemm(a, b, MatrixMut::strided(&mut block[group * each..], count, each, outputs), Onto::Nothing);
            }
        }
    });
}

/// The gradient of the filter.
pub(super) fn backprop_filter<T: ConvElement>(geometry: &Geometry, input: &[T], out_backprop: &[T], filter: &mut [T]) {
    let (outputs, window, groups) = (geometry.out_channels, geometry.window(), geometry.groups());
    if filter.is_empty() {
        return;
    }
    if out_backprop.is_empty() {
        return filter.fill(T::default());
    }
    let (each, total) = (outputs / groups, out_backprop.len() / outputs);
    let rows = block_rows(geometry).min(total);
    let pointwise = geometry.is_pointwise() && groups == 1;
    if plain_sizes(geometry).is_some_and(|sizes| T::direct_filter(&sizes, input, out_backprop, filter)) {
        return;
    }
    let mut gathered = vec![T::default(); if pointwise { 0 } else { rows * window }];
    for first in (0..total).step_by(if pointwise { total } else { rows }) {
        let count = if pointwise { total } else { rows.min(total - first) };
        for group in 0..groups {
            let a = if pointwise {
                Matrix::new(input, total, window)
            } else {
                let gathered = &mut gathered[..count * window];
                parallel_pieces(gathered, window, 64, |start, piece| gather(geometry, group, input, first + start, piece));
                Matrix::new(gathered, count, window)
            };
            let b = Matrix::strided(&out_backprop[first * outputs + group * each..], count, each, outputs, 1);
            let onto = if first > 0 { Onto::Itself } else { Onto::Nothing };
            gemm(a.transposed(), b, MatrixMut::strided(&mut filter[group * each..], window, each, outputs), onto);
        }
    }
}

/// The gradient of the input.
pub(super) fn backprop_input<T: ConvElement>(geometry: &Geometry, filter: &[T], out_backprop: &[T], input: &mut [T]) {
    let (outputs, window, groups) = (geometry.out_channels, geometry.window(), geometry.groups());
    let (positions, image) = (geometry.positions(), geometry.image());
    if input.is_empty() {
        return;
    }
    if out_backprop.is_empty() {
        return input.fill(T::default());
    }
    let each = outputs / groups;
    if geometry.is_pointwise() && groups == 1 {
        let rows = out_backprop.len() / outputs;
        let (a, b) = (Matrix::new(out_backprop, rows, outputs), Matrix::new(filter, window, outputs).transposed());
        return gemm(a, b, MatrixMut::new(input, rows, window), Onto::Nothing);
    }
    if plain_sizes(geometry).is_some_and(|sizes| T::direct_input(&sizes, filter, out_backprop, input)) {
        return;
    }
    let rows = block_rows(geometry).min(positions);
    parallel_pieces(input, image, 1, |first_image, piece| {
        let mut products = vec![T::default(); rows * window];
        for (i, image) in piece.chunks_exact_mut(image).enumerate() {
            image.fill(T::default());
            let gradients = &out_backprop[(first_image + i) * positions * outputs..][..positions * outputs];
            for first in (0..positions).step_by(rows) {
                let count = rows.min(positions - first);
                for group in 0..groups {
                    let products = &mut products[..count * window];
                    let a = Matrix::strided(&gradients[first * outputs + group * each..], count, each, outputs, 1);
                    let b = Matrix::strided(&filter[group * each..], window, each, outputs, 1).transposed();
                    gemm(a, b, MatrixMut::new(products, count, window), Onto::Nothing);
                    scatter(geometry, group, image, first, products);
                }
            }
        }
    });
}
