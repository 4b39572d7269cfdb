//! Bilinear interpolation.

use super::{Places, Sizes, allocate};
use crate::compute::pool::parallel_pieces;
use crate::error::Result;
use crate::graph::op::KernelCtx;
use crate::tensor::{DType, dispatch};
use num_traits::AsPrimitive;

/// The two pixels around a place, and how far it is from the first.
pub(super) struct Between {
    pub lower: usize,
    pub upper: usize,
    pub fraction: f32,
}

/// The pixels around the places of all outputs along one dimension.
pub(super) fn betweens(places: Places, output: usize, input: usize, scale: f32) -> Vec<Between> {
    let between = |i: usize| {
        let at = places.position(i, scale);
        let floor = at.floor();
        let upper = (at.ceil().max(0.0) as usize).min(input - 1);
        Between { lower: (floor.max(0.0) as usize).min(upper), upper, fraction: at - floor }
    };
    (0..output).map(between).collect()
}

pub(super) fn kernel(ctx: &mut KernelCtx) -> Result<()> {
    let places = Places::new(ctx.node())?;
    let sizes = Sizes::new(ctx, places)?;
    let mut output = allocate(DType::Float, &sizes)?;
    if output.is_empty() {
        return ctx.set(0, output);
    }
    let input = ctx.input(0)?;
    dispatch!(input.dtype(), real, T => interpolate(&sizes, places, input.as_slice::<T>()?, output.as_mut_slice()?));
    ctx.set(0, output)
}

fn interpolate<T: AsPrimitive<f32> + Sync>(sizes: &Sizes, places: Places, input: &[T], output: &mut [f32]) {
    let [height, width] = sizes.output;
    if sizes.input == sizes.output {
        output.iter_mut().zip(input).for_each(|(to, from)| *to = from.as_());
        return;
    }
    let channels = sizes.channels;
    let ys = betweens(places, height, sizes.input[0], sizes.scale[0]);
    let mut xs = betweens(places, width, sizes.input[1], sizes.scale[1]);
    for x in &mut xs {
        x.lower *= channels;
        x.upper *= channels;
    }
    let row = sizes.row();
    parallel_pieces(output, width * channels, (1usize << 13).div_ceil(width * channels), |first, rows| {
        for (i, to) in rows.chunks_exact_mut(width * channels).enumerate() {
            let (image, y) = ((first + i) / height, &ys[(first + i) % height]);
            let start = image * sizes.input[0] * row;
            let (top, bottom) = (&input[start + y.lower * row..][..row], &input[start + y.upper * row..][..row]);
            for (to, x) in to.chunks_exact_mut(channels).zip(&xs) {
                let (a, b) = (&top[x.lower..][..channels], &top[x.upper..][..channels]);
                let (c, d) = (&bottom[x.lower..][..channels], &bottom[x.upper..][..channels]);
                for i in 0..channels {
                    let (a, b, c, d): (f32, f32, f32, f32) = (a[i].as_(), b[i].as_(), c[i].as_(), d[i].as_());
                    let upper = a + (b - a) * x.fraction;
                    let lower = c + (d - c) * x.fraction;
                    to[i] = upper + (lower - upper) * y.fraction;
                }
            }
        }
    });
}
