//! Convolutions of each channel by itself.

use super::{DepthwiseConv2d, check_length};
use crate::compute::lanes::Real;
use crate::compute::level::vectorize;
use crate::compute::pool::{SharedMut, parallel_for, parallel_pieces};

/// Multiplications that one piece of a parallel loop has at least.
const GRAIN: usize = 1 << 15;

impl DepthwiseConv2d {
    /// Elements of the input.
    pub fn input_size(&self) -> usize {
        self.batch * self.image_size()
    }

    /// Elements of the filter.
    pub fn filter_size(&self) -> usize {
        self.rows.window * self.columns.window * self.outputs()
    }

    /// Elements of the output.
    pub fn output_size(&self) -> usize {
        self.batch * self.rows.output * self.columns.output * self.outputs()
    }

    /// The channels of an output pixel.
    fn outputs(&self) -> usize {
        self.channels * self.multiplier
    }

    fn image_size(&self) -> usize {
        self.rows.input * self.columns.input * self.channels
    }

    /// Calls `body(input pixel's offset, filter tap's offset)` for the taps of an output pixel's window that are inside.
    #[inline(always)]
    fn for_taps(&self, image: usize, row: usize, column: usize, mut body: impl FnMut(usize, usize)) {
        for row_tap in self.rows.taps(row) {
            let y = row * self.rows.stride + row_tap * self.rows.dilation - self.rows.padding;
            for column_tap in self.columns.taps(column) {
                let x = column * self.columns.stride + column_tap * self.columns.dilation - self.columns.padding;
                let pixel = (image * self.rows.input + y) * self.columns.input + x;
                body(pixel * self.channels, (row_tap * self.columns.window + column_tap) * self.outputs());
            }
        }
    }
}

/// Adds each channel's element, times each of its `multiplier` factors, to the sum beside that factor.
#[inline(always)]
fn add_products<T: Real>(multiplier: usize, sums: &mut [T], x: &[T], factors: &[T]) {
    if multiplier == 1 {
        for ((sum, x), factor) in sums.iter_mut().zip(x).zip(factors) {
            *sum += *x * *factor;
        }
    } else {
        let channels = sums.chunks_exact_mut(multiplier).zip(x).zip(factors.chunks_exact(multiplier));
        for ((sums, x), factors) in channels {
            sums.iter_mut().zip(factors).for_each(|(sum, factor)| *sum += *x * *factor);
        }
    }
}

/// The convolution (TF op DepthwiseConv2dNative).
pub fn depthwise_conv2d<T: Real>(sizes: &DepthwiseConv2d, input: &[T], filter: &[T], output: &mut [T]) {
    check_length("input", input, sizes.input_size());
    check_length("filter", filter, sizes.filter_size());
    check_length("output", output, sizes.output_size());
    let (outputs, multiplier) = (sizes.outputs(), sizes.multiplier);
    if output.is_empty() {
        return;
    }
    let line = sizes.columns.output * outputs;
    let grain = GRAIN.div_ceil(line * (sizes.rows.window * sizes.columns.window).max(1));
    parallel_pieces(output, line, grain, |first, lines| {
        for (index, line) in (first..).zip(lines.chunks_exact_mut(line)) {
            let (image, row) = (index / sizes.rows.output, index % sizes.rows.output);
            vectorize(
                #[inline(always)]
                || {
                    for (column, sums) in line.chunks_exact_mut(outputs).enumerate() {
                        sums.fill(T::zero());
                        sizes.for_taps(
                            image,
                            row,
                            column,
                            #[inline(always)]
                            |pixel, tap| {
                                let (x, w) = (&input[pixel..][..sizes.channels], &filter[tap..][..outputs]);
                                add_products(multiplier, sums, x, w);
                            },
                        );
                    }
                },
            );
        }
    });
}

/// The gradient with respect to the input (TF op DepthwiseConv2dNativeBackpropInput).
pub fn depthwise_conv2d_backprop_input<T: Real>(sizes: &DepthwiseConv2d, filter: &[T], gradient: &[T], input_gradient: &mut [T]) {
    check_length("filter", filter, sizes.filter_size());
    check_length("gradient", gradient, sizes.output_size());
    check_length("input gradient", input_gradient, sizes.input_size());
    let (outputs, multiplier) = (sizes.outputs(), sizes.multiplier);
    input_gradient.fill(T::zero());
    if input_gradient.is_empty() || gradient.is_empty() {
        return;
    }
    parallel_pieces(input_gradient, sizes.image_size(), 1, |first, images| {
        for (image, sums) in (first..).zip(images.chunks_exact_mut(sizes.image_size())) {
            let dy = &gradient[image * sizes.rows.output * sizes.columns.output * outputs..];
            for (pixel, dy) in dy.chunks_exact(outputs).take(sizes.rows.output * sizes.columns.output).enumerate() {
                vectorize(
                    #[inline(always)]
                    || {
                        sizes.for_taps(
                            0,
                            pixel / sizes.columns.output,
                            pixel % sizes.columns.output,
                            #[inline(always)]
                            |pixel, tap| {
                                let (sums, w) = (&mut sums[pixel..][..sizes.channels], &filter[tap..][..outputs]);
                                if multiplier == 1 {
                                    for ((sum, dy), w) in sums.iter_mut().zip(dy).zip(w) {
                                        *sum += *dy * *w;
                                    }
                                } else {
                                    let products = dy.chunks_exact(multiplier).zip(w.chunks_exact(multiplier));
                                    for (sum, (dy, w)) in sums.iter_mut().zip(products) {
                                        *sum = dy.iter().zip(w).fold(*sum, |sum, (dy, w)| sum + *dy * *w);
                                    }
                                }
                            },
                        );
                    },
                );
            }
        }
    });
}

/// The gradient with respect to the filter (TF op DepthwiseConv2dNativeBackpropFilter).
pub fn depthwise_conv2d_backprop_filter<T: Real>(
    sizes: &DepthwiseConv2d,
    input: &[T],
    gradient: &[T],
    filter_gradient: &mut [T],
) {
    check_length("input", input, sizes.input_size());
    check_length("gradient", gradient, sizes.output_size());
    check_length("filter gradient", filter_gradient, sizes.filter_size());
    let (outputs, multiplier) = (sizes.outputs(), sizes.multiplier);
    filter_gradient.fill(T::zero());
    if filter_gradient.is_empty() || gradient.is_empty() || input.is_empty() {
        return;
    }
    let to = SharedMut(filter_gradient.as_mut_ptr());
    let taps = sizes.rows.window * sizes.columns.window;
    parallel_for(taps, GRAIN.div_ceil(gradient.len()), |range| {
        for tap in range {
            // SAFETY: the pieces take different taps of the gradient, which stays borrowed.
            let sums = unsafe { std::slice::from_raw_parts_mut(to.get().add(tap * outputs), outputs) };
            let (row_tap, column_tap) = (tap / sizes.columns.window, tap % sizes.columns.window);
            for (pixel, dy) in gradient.chunks_exact(outputs).enumerate() {
                let (line, column) = (pixel / sizes.columns.output, pixel % sizes.columns.output);
                let (image, row) = (line / sizes.rows.output, line % sizes.rows.output);
                let Some(y) = sizes.rows.position(row, row_tap) else { continue };
                let Some(x) = sizes.columns.position(column, column_tap) else { continue };
                let pixel = (image * sizes.rows.input + y) * sizes.columns.input + x;
                let x = &input[pixel * sizes.channels..][..sizes.channels];
                vectorize(
                    #[inline(always)]
                    || add_products(multiplier, sums, x, dy),
                );
            }
        }
    });
}
