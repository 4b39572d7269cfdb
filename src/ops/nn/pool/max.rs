//! Maxima over windows, and what their gradients need: where the maxima stand.

use super::geometry::Geometry;
use crate::compute::level::vectorize;
use crate::compute::pool::parallel_pieces;
use crate::tensor::Element;
use num_traits::{Bounded, Num};

/// An element that has an order.
pub(super) trait Ordered: Element + PartialOrd + Bounded + Num {}

impl<T: Element + PartialOrd + Bounded + Num> Ordered for T {}

/// Elements that one thread reads at least.
const GRAIN: usize = 16 << 10;

/// Channels that are computed at once: a loop of a known length becomes vectors as a whole.
const BLOCK: usize = 16;

/// Rows of the output for one thread.
fn grain(geometry: &Geometry) -> usize {
    let window: usize = geometry.axes.iter().map(|a| a.window).product();
    GRAIN.div_ceil(geometry.row().saturating_mul(window).max(1))
}

/// The maxima. NaN are passed over.
pub(super) fn forward<T: Ordered>(geometry: &Geometry, input: &[T], output: &mut [T]) {
    if output.is_empty() {
        return;
    }
    if geometry.depth_window > 1 {
        for (out, window) in output.iter_mut().zip(input.chunks_exact(geometry.depth_window)) {
            *out = window.iter().fold(T::min_value(), |m, &x| if x > m { x } else { m });
        }
        return;
    }
    let (rows, channels) = (geometry.rows(), geometry.channels);
    parallel_pieces(output, geometry.row(), grain(geometry), |first, piece| {
        let mut taps: Vec<usize> = Vec::new();
        for (i, out) in piece.chunks_exact_mut(geometry.row()).enumerate() {
            let (batch, row) = ((first + i) / rows, (first + i) % rows);
            let image = &input[batch * geometry.image()..][..geometry.image()];
            vectorize(
                #[inline(always)]
                || {
                    for (x, out) in out.chunks_exact_mut(channels).enumerate() {
                        taps.clear();
                        geometry.window(row, x, |from| taps.push(from));
                        let (blocks, rest) = out.as_chunks_mut::<BLOCK>();
                        for (out, at) in blocks.iter_mut().zip((0..).step_by(BLOCK)) {
                            *out = window_maxima(image, &taps, at);
                        }
                        for (out, at) in rest.iter_mut().zip(channels / BLOCK * BLOCK..) {
                            [*out] = window_maxima(image, &taps, at);
                        }
                    }
                },
            );
        }
    });
}

/// The maxima over a window of some channels from channel `at` on.
#[inline(always)]
fn window_maxima<T: Ordered, const N: usize>(image: &[T], taps: &[usize], at: usize) -> [T; N] {
    let mut maxima = [T::min_value(); N];
    for tap in taps {
        let values: [T; N] = block(image, tap + at);
        for c in 0..N {
            maxima[c] = if values[c] > maxima[c] { values[c] } else { maxima[c] };
        }
    }
    maxima
}

/// Some elements, read as a whole: what is read one by one, where it is needed, becomes branches.
#[inline(always)]
fn block<T: Copy, const N: usize>(from: &[T], at: usize) -> [T; N] {
    let values: &[T; N] = from[at..][..N].try_into().expect("as many elements");
    *values
}

/// The place of each maximum in its image: the first, where several are equal. A window's first element counts even if it
/// is NaN.
pub(super) fn places<T: Ordered>(geometry: &Geometry, input: &[T]) -> Vec<i64> {
    const NONE: i64 = -1;
    let (rows, channels, image) = (geometry.rows(), geometry.channels, geometry.image());
    let mut places = vec![NONE; geometry.batch * rows * geometry.row()];
    if places.is_empty() {
        return places;
    }
    parallel_pieces(&mut places, geometry.row(), grain(geometry), |first, piece| {
        for (i, out) in piece.chunks_exact_mut(geometry.row()).enumerate() {
            let (batch, row) = ((first + i) / rows, (first + i) % rows);
            let image = &input[batch * image..][..image];
            geometry.windows(
                row,
                #[inline(always)]
                |to, from| {
                    for (channel, place) in out[to..to + channels].iter_mut().enumerate() {
                        let here = from + channel;
                        if *place == NONE || image[*place as usize] < image[here] {
                            *place = here as i64;
                        }
                    }
                },
            );
        }
    });
    places
}

/// The gradient of the input: each output's gradient goes to where its maximum stands, as [`places`] finds it.
pub(super) fn backprop<T: Ordered>(geometry: &Geometry, input: &[T], out_backprop: &[T], output: &mut [T]) {
    let (row, image, channels) = (geometry.row(), geometry.image(), geometry.channels);
    let each = geometry.rows() * row;
    if each == 0 || image == 0 {
        return output.fill(T::zero());
    }
    parallel_pieces(output, image, GRAIN.div_ceil(image), |first, piece| {
        let mut taps: Vec<usize> = Vec::new();
        for (i, sums) in piece.chunks_exact_mut(image).enumerate() {
            sums.fill(T::zero());
            let source = &input[(first + i) * image..][..image];
            let gradients = &out_backprop[(first + i) * each..][..each];
            for (y, gradients) in gradients.chunks_exact(row).enumerate() {
                vectorize(
                    #[inline(always)]
                    || {
                        for (x, gradients) in gradients.chunks_exact(channels).enumerate() {
                            taps.clear();
                            geometry.window(y, x, |from| taps.push(from));
                            let (blocks, rest) = gradients.as_chunks::<BLOCK>();
                            for (gradients, at) in blocks.iter().zip((0..).step_by(BLOCK)) {
                                backprop_window(source, sums, gradients, &taps, at);
                            }
                            for (gradient, at) in rest.iter().zip(channels / BLOCK * BLOCK..) {
                                backprop_window(source, sums, &[*gradient], &taps, at);
                            }
                        }
                    },
                );
            }
        }
    });
}

/// Adds the gradients of some channels of one output, from channel `at` on, to where the maxima stand among the window's taps.
#[inline(always)]
fn backprop_window<T: Ordered, const N: usize>(source: &[T], sums: &mut [T], gradients: &[T; N], taps: &[usize], at: usize) {
    let [first, rest @ ..] = taps else { return };
    let mut maxima: [T; N] = block(source, first + at);
    for tap in rest {
        let values: [T; N] = block(source, tap + at);
        for c in 0..N {
            maxima[c] = if maxima[c] < values[c] { values[c] } else { maxima[c] };
        }
    }
    let mut left = *gradients;
    // If the first is NaN, so is the maximum.
    give(source, sums, &mut left, first + at, |value, c| !(value < maxima[c]));
    for tap in rest {
        give(source, sums, &mut left, tap + at, |value, c| value == maxima[c]);
    }
}

/// Adds what is left of gradients to the elements from `at` on that are the maxima, and zero to the others, which takes vectors.
#[inline(always)]
fn give<T: Ordered, const N: usize>(
    source: &[T],
    sums: &mut [T],
    left: &mut [T; N],
    at: usize,
    is_maximum: impl Fn(T, usize) -> bool,
) {
    let values: [T; N] = block(source, at);
    let mut all: [T; N] = block(sums, at);
    for c in 0..N {
        let found = is_maximum(values[c], c);
        all[c] = all[c] + if found { left[c] } else { T::zero() };
        left[c] = if found { T::zero() } else { left[c] };
    }
    sums[at..][..N].copy_from_slice(&all);
}

/// The gradient of [`backprop`] with respect to the gradients of the output: the element of `gradients` that stands where
/// the first input equal to the output does.
pub(super) fn backprop_twice<T: Ordered>(geometry: &Geometry, input: &[T], maxima: &[T], gradients: &[T], output: &mut [T]) {
    let (rows, channels, image) = (geometry.rows(), geometry.channels, geometry.image());
    let mut found = vec![false; geometry.row()];
    if output.is_empty() {
        return;
    }
    for (i, out) in output.chunks_exact_mut(geometry.row()).enumerate() {
        let start = i / rows * image;
        let maxima = &maxima[i * geometry.row()..][..geometry.row()];
        out.fill(T::zero());
        found.fill(false);
        geometry.windows(i % rows, |to, from| {
            for channel in 0..channels {
                if !found[to + channel] && input[start + from + channel] == maxima[to + channel] {
                    found[to + channel] = true;
                    out[to + channel] = gradients[start + from + channel];
                }
            }
        });
    }
}
