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

/// The gradient of the input: each output's gradient goes to where its maximum stands.
pub(super) fn backprop<T: Ordered>(geometry: &Geometry, input: &[T], out_backprop: &[T], output: &mut [T]) {
    output.fill(T::zero());
    let places = places(geometry, input);
    let each = geometry.rows() * geometry.row();
    if each == 0 || geometry.image() == 0 {
        return;
    }
    let images = output.chunks_exact_mut(geometry.image());
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
