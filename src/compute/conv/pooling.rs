//! The largest or the mean element of each window.

use super::{Pool2d, check_length};
use crate::compute::level::vectorize;
use crate::compute::pool::{SharedMut, parallel_for, parallel_pieces};
use std::ops::AddAssign;

/// Elements that one piece of a parallel loop reads at least.
const GRAIN: usize = 1 << 14;

impl Pool2d {
    /// Calls `body(offset)` for the pixels of an output pixel's window that are inside, in the image's order.
    #[inline(always)]
    fn for_window(&self, row: usize, column: usize, mut body: impl FnMut(usize)) {
        for row_tap in self.rows.taps(row) {
            let y = row * self.rows.stride + row_tap * self.rows.dilation - self.rows.padding;
            for column_tap in self.columns.taps(column) {
                let x = column * self.columns.stride + column_tap * self.columns.dilation - self.columns.padding;
                body((y * self.columns.input + x) * self.channels);
            }
        }
    }

    /// The number of pixels of a window that are inside.
    fn count(&self, row: usize, column: usize) -> usize {
        self.rows.taps(row).len() * self.columns.taps(column).len()
    }

    /// Calls `body(image, row, output line)` for each line of the output, split over the current pool.
    fn for_lines<T: Send>(&self, output: &mut [T], body: impl Fn(usize, usize, &mut [T]) + Sync) {
        let line = self.columns.output * self.channels;
        let grain = GRAIN.div_ceil((line * self.rows.window * self.columns.window).max(1));
        parallel_pieces(output, line, grain, |first, lines| {
            for (index, line) in (first..).zip(lines.chunks_exact_mut(line)) {
                body(index / self.rows.output, index % self.rows.output, line);
            }
        });
    }

    fn image<'a, T>(&self, input: &'a [T], image: usize) -> &'a [T] {
        &input[image * self.image_size()..][..self.image_size()]
    }
}

/// The largest element of each window, `lowest` for an empty one (TF op MaxPool). NaN is passed over.
pub fn max_pool<T: Copy + PartialOrd + Send + Sync>(sizes: &Pool2d, input: &[T], lowest: T, output: &mut [T]) {
    check_length("input", input, sizes.input_size());
    check_length("output", output, sizes.output_size());
    if output.is_empty() {
        return;
    }
    sizes.for_lines(output, |image, row, line| {
        let image = sizes.image(input, image);
        for (column, largest) in line.chunks_exact_mut(sizes.channels).enumerate() {
            largest.fill(lowest);
            vectorize(
                #[inline(always)]
                || {
                    sizes.for_window(row, column, |at| {
                        for (largest, x) in largest.iter_mut().zip(&image[at..]) {
                            *largest = if *x > *largest { *x } else { *largest };
                        }
                    });
                },
            );
        }
    });
}

/// The largest element of each window and where it is: `(row * width + column) * channels + channel` in its image, the first of
/// equals; -1 for an empty window (TF op MaxPoolWithArgmax without the batch in the index).
pub fn max_pool_with_argmax<T: Copy + PartialOrd + Send + Sync>(
    sizes: &Pool2d,
    input: &[T],
    lowest: T,
    output: &mut [T],
    argmax: &mut [i64],
) {
    check_length("input", input, sizes.input_size());
    check_length("output", output, sizes.output_size());
    check_length("argmax", argmax, sizes.output_size());
    if output.is_empty() {
        return;
    }
    let places = SharedMut(argmax.as_mut_ptr());
    let line_length = sizes.columns.output * sizes.channels;
    sizes.for_lines(output, |image, row, line| {
        // SAFETY: lines are visited once, and there are as many indices as outputs.
        let places = unsafe {
            let start = (image * sizes.rows.output + row) * line_length;
            std::slice::from_raw_parts_mut(places.get().add(start), line_length)
        };
        let image = sizes.image(input, image);
        let pixels = line.chunks_exact_mut(sizes.channels).zip(places.chunks_exact_mut(sizes.channels));
        for (column, (largest, places)) in pixels.enumerate() {
            largest.fill(lowest);
            places.fill(-1);
            sizes.for_window(row, column, |at| {
                for (channel, (largest, place)) in largest.iter_mut().zip(&mut *places).enumerate() {
                    let x = image[at + channel];
                    if x > *largest || *place < 0 {
                        (*largest, *place) = (x, (at + channel) as i64);
                    }
                }
            });
        }
    });
}

/// The gradient of [`max_pool`]: each output's goes to the first largest element of its window (TF op MaxPoolGrad).
pub fn max_pool_gradient<T: Copy + PartialOrd + AddAssign + Send + Sync>(
    sizes: &Pool2d,
    input: &[T],
    gradient: &[T],
    zero: T,
    input_gradient: &mut [T],
) {
    check_length("input", input, sizes.input_size());
    check_length("gradient", gradient, sizes.output_size());
    for_images(sizes, gradient, zero, input_gradient, |image, row, column, dy, sums| {
        let image = sizes.image(input, image);
        for (channel, dy) in dy.iter().enumerate() {
            let mut largest: Option<usize> = None;
            sizes.for_window(row, column, |at| {
                if largest.is_none_or(|place| image[at + channel] > image[place]) {
                    largest = Some(at + channel);
                }
            });
            if let Some(place) = largest {
                sums[place] += *dy;
            }
        }
    });
}

/// The mean of each window's elements that are inside of the image (TF op AvgPool); `divide(sum, count)` makes it from their sum.
pub fn avg_pool<T: Copy + AddAssign + Send + Sync>(
    sizes: &Pool2d,
    input: &[T],
    zero: T,
    divide: impl Fn(T, usize) -> T + Sync,
    output: &mut [T],
) {
    check_length("input", input, sizes.input_size());
    check_length("output", output, sizes.output_size());
    if output.is_empty() {
        return;
    }
    sizes.for_lines(output, |image, row, line| {
        let image = sizes.image(input, image);
        for (column, sums) in line.chunks_exact_mut(sizes.channels).enumerate() {
            sums.fill(zero);
            vectorize(
                #[inline(always)]
                || sizes.for_window(row, column, |at| sums.iter_mut().zip(&image[at..]).for_each(|(sum, x)| *sum += *x)),
            );
            let count = sizes.count(row, column);
            sums.iter_mut().for_each(|sum| *sum = divide(*sum, count));
        }
    });
}

/// The gradient of [`avg_pool`]: each output's is shared out among its window (TF op AvgPoolGrad).
pub fn avg_pool_gradient<T: Copy + AddAssign + Send + Sync>(
    sizes: &Pool2d,
    gradient: &[T],
    zero: T,
    divide: impl Fn(T, usize) -> T + Sync,
    input_gradient: &mut [T],
) {
    check_length("gradient", gradient, sizes.output_size());
    for_images(sizes, gradient, zero, input_gradient, |_, row, column, dy, sums| {
        let count = sizes.count(row, column);
        sizes.for_window(row, column, |at| {
            sums[at..].iter_mut().zip(dy).for_each(|(sum, dy)| *sum += divide(*dy, count));
        });
    });
}

/// Clears the sums and calls `body(image, row, column, gradient, image's sums)` for each output pixel in order, the images split
/// over the current pool.
fn for_images<T: Copy + Send + Sync>(
    sizes: &Pool2d,
    gradient: &[T],
    zero: T,
    sums: &mut [T],
    body: impl Fn(usize, usize, usize, &[T], &mut [T]) + Sync,
) {
    check_length("input gradient", sums, sizes.input_size());
    sums.fill(zero);
    if sums.is_empty() || gradient.is_empty() {
        return;
    }
    let (rows, columns) = (sizes.rows.output, sizes.columns.output);
    let grain = GRAIN.div_ceil(sizes.image_size());
    let to = SharedMut(sums.as_mut_ptr());
    parallel_for(sizes.batch, grain, |images| {
        for image in images {
            // SAFETY: the pieces take different images of the sums, which stay borrowed.
            let sums = unsafe { std::slice::from_raw_parts_mut(to.get().add(image * sizes.image_size()), sizes.image_size()) };
            for row in 0..rows {
                for column in 0..columns {
                    let at = ((image * rows + row) * columns + column) * sizes.channels;
                    body(image, row, column, &gradient[at..][..sizes.channels], sums);
                }
            }
        }
    });
}
