//! Convolutions over all channels of a group, as products of matrices.

use super::{Conv2d, check_length, patches};
use crate::compute::gemm::{GemmElement, Matrix, MatrixMut, Onto, gemm};
use crate::compute::pool::{SharedMut, current_threads, parallel_for, parallel_pieces};
use std::ops::Range;

/// Elements of the windows that are laid out at a time.
const PATCHES: usize = 1 << 17;
/// Multiplications that one piece of a parallel loop has at least.
const GRAIN: usize = 1 << 16;
/// Elements of a filter up to which each piece of the loop over pixels sums a filter gradient of its own.
const OWN_FILTER: usize = 1 << 18;

/// Pixels whose windows are laid out at a time.
fn block(sizes: &Conv2d) -> usize {
    (PATCHES / sizes.depth().max(1)).clamp(16, 4096)
}

/// Whether a window is one pixel, and windows are the input's pixels in order.
fn is_pointwise(sizes: &Conv2d) -> bool {
    let trivial = |axis: &super::Axis| axis.window == 1 && axis.stride == 1 && axis.padding == 0 && axis.input == axis.output;
    trivial(&sizes.rows) && trivial(&sizes.columns)
}

/// The windows of some pixels of a group as a matrix: the input itself where it is one, else laid out in `space`.
fn windows<'a, T: GemmElement>(
    sizes: &Conv2d,
    input: &'a [T],
    group: usize,
    pixels: Range<usize>,
    space: &'a mut Vec<T>,
) -> Matrix<'a, T> {
    let (depth, channels) = (sizes.depth(), sizes.in_channels);
    if is_pointwise(sizes) {
        let rows = &input[pixels.start * channels + group * depth..];
        return Matrix::strided(rows, pixels.len(), depth, channels, 1);
    }
    space.resize(pixels.len() * depth, T::zero());
    patches::gather(sizes, input, group, pixels.clone(), T::zero(), space);
    Matrix::new(space, pixels.len(), depth)
}

/// The filter of a group as a matrix `[depth, outputs]`.
fn filter_of<'a, T>(sizes: &Conv2d, filter: &'a [T], group: usize) -> Matrix<'a, T> {
    let outputs = sizes.out_channels / sizes.groups;
    Matrix::strided(&filter[group * outputs..], sizes.depth(), outputs, sizes.out_channels, 1)
}

/// Output pixels of a group as a matrix `[pixels, outputs]`.
fn outputs_of<'a, T>(sizes: &Conv2d, output: &'a [T], group: usize, pixels: &Range<usize>) -> Matrix<'a, T> {
    let outputs = sizes.out_channels / sizes.groups;
    let rows = &output[pixels.start * sizes.out_channels + group * outputs..];
    Matrix::strided(rows, pixels.len(), outputs, sizes.out_channels, 1)
}

/// Calls `body` with blocks of a range of pixels.
fn for_blocks(sizes: &Conv2d, pixels: Range<usize>, mut body: impl FnMut(Range<usize>)) {
    let block = block(sizes);
    pixels.clone().step_by(block).for_each(|first| body(first..(first + block).min(pixels.end)));
}

fn is_empty(sizes: &Conv2d) -> bool {
    sizes.output_size() == 0 || sizes.groups == 0
}

/// The convolution (TF op Conv2D). Memory: some megabytes a thread.
pub fn conv2d<T: GemmElement>(sizes: &Conv2d, input: &[T], filter: &[T], output: &mut [T]) {
    check_length("input", input, sizes.input_size());
    check_length("filter", filter, sizes.filter_size());
    check_length("output", output, sizes.output_size());
    if is_empty(sizes) {
        return;
    }
    if sizes.depth() == 0 {
        return output.fill(T::zero());
    }
    let to = SharedMut(output.as_mut_ptr());
    let grain = GRAIN.div_ceil(sizes.depth() * sizes.out_channels).max(16);
    parallel_for(sizes.pixels(), grain, |pixels| {
        // SAFETY: the pieces take different pixels of the output, which stays borrowed.
        let output = unsafe {
            let start = pixels.start * sizes.out_channels;
            std::slice::from_raw_parts_mut(to.get().add(start), pixels.len() * sizes.out_channels)
        };
        let outputs = sizes.out_channels / sizes.groups;
        let mut space = Vec::new();
        for_blocks(sizes, pixels.clone(), |block| {
            for group in 0..sizes.groups {
                let at = (block.start - pixels.start) * sizes.out_channels + group * outputs;
                let c = MatrixMut::strided(&mut output[at..], block.len(), outputs, sizes.out_channels);
                gemm(windows(sizes, input, group, block.clone(), &mut space), filter_of(sizes, filter, group), c, Onto::Nothing);
            }
        });
    });
}

/// The gradient with respect to the input (TF op Conv2DBackpropInput). Memory: some megabytes a thread.
pub fn conv2d_backprop_input<T: GemmElement>(sizes: &Conv2d, filter: &[T], gradient: &[T], input_gradient: &mut [T]) {
    check_length("filter", filter, sizes.filter_size());
    check_length("gradient", gradient, sizes.output_size());
    check_length("input gradient", input_gradient, sizes.input_size());
    input_gradient.fill(T::zero());
    if is_empty(sizes) || sizes.input_size() == 0 || sizes.depth() == 0 {
        return;
    }
    let image_pixels = sizes.rows.output * sizes.columns.output;
    let outputs = sizes.out_channels / sizes.groups;
    let images = |images: Range<usize>, to: &mut [T]| {
        let mut space = Vec::new();
        for image in images.clone() {
            for_blocks(sizes, image * image_pixels..(image + 1) * image_pixels, |block| {
                for group in 0..sizes.groups {
                    let dy = outputs_of(sizes, gradient, group, &block);
                    space.resize(block.len() * sizes.depth(), T::zero());
                    let c = MatrixMut::new(&mut space, block.len(), sizes.depth());
                    gemm(dy, filter_of(sizes, filter, group).transposed(), c, Onto::Nothing);
                    patches::scatter(sizes, &space, group, block.clone(), T::add_wrapping, images.start, to);
                }
            });
        }
    };
    if sizes.batch < current_threads() {
        // Too few images to share out: the products are split instead.
        return images(0..sizes.batch, input_gradient);
    }
    let to = SharedMut(input_gradient.as_mut_ptr());
    let grain = GRAIN.div_ceil(image_pixels * sizes.depth() * outputs);
    parallel_for(sizes.batch, grain, |range| {
        // SAFETY: the pieces take different images of the gradient, which stays borrowed.
        let to = unsafe {
            let size = sizes.image_size();
            std::slice::from_raw_parts_mut(to.get().add(range.start * size), range.len() * size)
        };
        images(range, to);
    });
}

/// The gradient with respect to the filter (TF op Conv2DBackpropFilter). Memory: some megabytes a thread.
pub fn conv2d_backprop_filter<T: GemmElement>(sizes: &Conv2d, input: &[T], gradient: &[T], filter_gradient: &mut [T]) {
    check_length("input", input, sizes.input_size());
    check_length("gradient", gradient, sizes.output_size());
    check_length("filter gradient", filter_gradient, sizes.filter_size());
    filter_gradient.fill(T::zero());
    if is_empty(sizes) || sizes.depth() == 0 {
        return;
    }
    let outputs = sizes.out_channels / sizes.groups;
    let accumulate = |pixels: Range<usize>, sums: &mut [T]| {
        let mut space = Vec::new();
        for_blocks(sizes, pixels, |block| {
            for group in 0..sizes.groups {
                let dy = outputs_of(sizes, gradient, group, &block);
                let c = MatrixMut::strided(&mut sums[group * outputs..], sizes.depth(), outputs, sizes.out_channels);
                gemm(windows(sizes, input, group, block.clone(), &mut space).transposed(), dy, c, Onto::Itself);
            }
        });
    };
    let (pixels, threads) = (sizes.pixels(), current_threads());
    let worth_splitting = pixels * sizes.depth() * outputs >= 2 * GRAIN && pixels >= 2 * threads;
    if threads == 1 || sizes.filter_size() > OWN_FILTER || !worth_splitting {
        return accumulate(0..pixels, filter_gradient);
    }
    let mut sums = vec![T::zero(); threads * sizes.filter_size()];
    let part = pixels.div_ceil(threads);
    parallel_pieces(&mut sums, sizes.filter_size(), 1, |first, sums| {
        for (index, sums) in (first..).zip(sums.chunks_exact_mut(sizes.filter_size())) {
            accumulate((index * part).min(pixels)..((index + 1) * part).min(pixels), sums);
        }
    });
    for sums in sums.chunks_exact(sizes.filter_size()) {
        filter_gradient.iter_mut().zip(sums).for_each(|(to, sum)| *to = T::add_wrapping(*to, *sum));
    }
}
