//! Averages over windows; padding doesn't count.

use super::geometry::Geometry;
use crate::compute::level::vectorize;
use crate::compute::pool::parallel_pieces;
use crate::ops::nn::wide::{Wide, lit};
use num_traits::Zero;

/// The averages.
pub(super) fn forward<T: Wide>(geometry: &Geometry, input: &[T], output: &mut [T]) {
    let (rows, channels, image) = (geometry.rows(), geometry.channels, geometry.image());
    if output.is_empty() {
        return;
    }
    let window: usize = geometry.axes.iter().map(|a| a.window).product();
    let grain = (16usize << 10).div_ceil(geometry.row().saturating_mul(window).max(1));
    parallel_pieces(output, geometry.row(), grain, |first, piece| {
        let mut sums = vec![T::Wide::zero(); geometry.row()];
        for (i, out) in piece.chunks_exact_mut(geometry.row()).enumerate() {
            let (batch, row) = ((first + i) / rows, (first + i) % rows);
            let image = &input[batch * image..][..image];
            sums.fill(T::Wide::zero());
            vectorize(
                #[inline(always)]
                || {
                    geometry.windows(
                        row,
                        #[inline(always)]
                        |to, from| {
                            let pairs = sums[to..to + channels].iter_mut().zip(&image[from..from + channels]);
                            pairs.for_each(|(s, &x)| *s += x.widen());
                        },
                    );
                },
            );
            for (x, (out, sums)) in out.chunks_exact_mut(channels).zip(sums.chunks_exact(channels)).enumerate() {
                let count: T::Wide = lit(geometry.count(row, x) as f64);
                out.iter_mut().zip(sums).for_each(|(out, &sum)| *out = T::narrow(sum / count));
            }
        }
    });
}

/// The gradient of the input: each output's gradient is spread evenly over its window.
pub(super) fn backprop<T: Wide>(geometry: &Geometry, out_backprop: &[T], output: &mut [T]) {
    let (rows, channels, row_length) = (geometry.rows(), geometry.channels, geometry.row());
    if output.is_empty() {
        return;
    }
    parallel_pieces(output, geometry.image(), 1, |first, piece| {
        let mut sums = vec![T::Wide::zero(); geometry.image()];
        let mut shares = vec![T::Wide::zero(); row_length];
        for (i, image) in piece.chunks_exact_mut(geometry.image()).enumerate() {
            sums.fill(T::Wide::zero());
            for row in 0..rows {
                let gradients = &out_backprop[((first + i) * rows + row) * row_length..][..row_length];
                let places = shares.chunks_exact_mut(channels).zip(gradients.chunks_exact(channels));
                for (x, (shares, gradients)) in places.enumerate() {
                    let count: T::Wide = lit(geometry.count(row, x) as f64);
                    shares.iter_mut().zip(gradients).for_each(|(share, &g)| *share = g.widen() / count);
                }
                geometry.windows(
                    row,
                    #[inline(always)]
                    |from, to| {
                        let pairs = sums[to..to + channels].iter_mut().zip(&shares[from..from + channels]);
                        pairs.for_each(|(sum, &share)| *sum += share);
                    },
                );
            }
            image.iter_mut().zip(&sums).for_each(|(x, &sum)| *x = T::narrow(sum));
        }
    });
}
