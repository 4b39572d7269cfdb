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
        for (i, out) in piece.chunks_exact_mut(geometry.row()).enumerate() {
            let (batch, row) = ((first + i) / rows, (first + i) % rows);
            let image = &input[batch * geometry.image()..][..geometry.image()];
            out.fill(T::min_value());
            vectorize(
                #[inline(always)]
                || {
                    geometry.windows(
                        row,
                        #[inline(always)]
                        |to, from| {
                            let pairs = out[to..to + channels].iter_mut().zip(&image[from..from + channels]);
                            pairs.for_each(|(m, &x)| *m = if x > *m { x } else { *m });
                        },
                    );
                },
            );
        }
    });
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
    const NONE: u32 = u32::MAX;
    output.fill(T::zero());
    let (row, image, channels) = (geometry.row(), geometry.image(), geometry.channels);
    let each = geometry.rows() * row;
    if each == 0 || image == 0 {
        return;
    }
    if image >= NONE as usize {
        return backprop_to(&places(geometry, input), each, image, out_backprop, output);
    }
    parallel_pieces(output, image, GRAIN.div_ceil(image), |first, piece| {
        let (mut maxima, mut places) = (vec![T::zero(); row], vec![NONE; row]);
        for (i, sums) in piece.chunks_exact_mut(image).enumerate() {
            let source = &input[(first + i) * image..][..image];
            let gradients = &out_backprop[(first + i) * each..][..each];
            for (y, gradients) in gradients.chunks_exact(row).enumerate() {
                places.fill(NONE);
                vectorize(
                    #[inline(always)]
                    || {
                        geometry.windows(
                            y,
                            #[inline(always)]
                            |to, from| {
                                let (maxima, places) = (&mut maxima[to..to + channels], &mut places[to..to + channels]);
                                let source = &source[from..from + channels];
                                for c in 0..channels {
                                    let larger = places[c] == NONE || maxima[c] < source[c];
                                    maxima[c] = if larger { source[c] } else { maxima[c] };
                                    places[c] = if larger { (from + c) as u32 } else { places[c] };
                                }
                            },
                        );
                    },
                );
                for (&place, &gradient) in places.iter().zip(gradients) {
                    if let Some(sum) = sums.get_mut(place as usize) {
                        *sum = *sum + gradient;
                    }
                }
            }
        }
    });
}

/// Adds gradients, `each` of an image, to their places in images.
fn backprop_to<T: Ordered>(places: &[i64], each: usize, image: usize, out_backprop: &[T], output: &mut [T]) {
    let images = output.chunks_exact_mut(image);
    for (image, (places, gradients)) in images.zip(places.chunks_exact(each).zip(out_backprop.chunks_exact(each))) {
        for (&place, &gradient) in places.iter().zip(gradients) {
            if let Some(x) = usize::try_from(place).ok().and_then(|p| image.get_mut(p)) {
                *x = *x + gradient;
            }
        }
    }
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
