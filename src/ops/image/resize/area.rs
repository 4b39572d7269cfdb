//! Each pixel is the mean of the area that it covers.

use super::{Places, Sizes, allocate};
use crate::compute::pool::parallel_pieces;
use crate::error::Result;
use crate::graph::op::KernelCtx;
use crate::tensor::{DType, dispatch};
use num_traits::AsPrimitive;

/// The pixels that one output covers, and how much of each.
struct Cover {
    parts: Vec<(usize, f32)>,
}

fn covers(output: usize, input: usize, scale: f32) -> Vec<Cover> {
    let cover = |i: usize| {
        let (from, to) = (i as f32 * scale, (i + 1) as f32 * scale);
        let part = |at: i64| {
            let (low, high) = (at as f32, (at + 1) as f32);
            let weight = match (low < from, high > to) {
                (true, true) => scale,
                (true, false) => high - from,
                (false, true) => to - low,
                (false, false) => 1.0,
            };
            (at.clamp(0, input as i64 - 1) as usize, weight)
        };
        Cover { parts: (from.floor() as i64..to.ceil() as i64).map(part).collect() }
    };
    (0..output).map(cover).collect()
}

pub(super) fn kernel(ctx: &mut KernelCtx) -> Result<()> {
    let mut sizes = Sizes::new(ctx, Places::new(ctx.node())?)?;
    // The only pixel of a side is what every output covers.
    sizes.scale = sizes.scale.map(|s| if s == 0.0 { 1.0 } else { s });
    let mut output = allocate(DType::Float, &sizes)?;
    if output.is_empty() {
        return ctx.set(0, output);
    }
    let input = ctx.input(0)?;
    dispatch!(input.dtype(), real, T => average(&sizes, input.as_slice::<T>()?, output.as_mut_slice()?));
    ctx.set(0, output)
}

fn average<T: AsPrimitive<f32> + Sync>(sizes: &Sizes, input: &[T], output: &mut [f32]) {
    let [height, width] = sizes.output;
    let (channels, row) = (sizes.channels, sizes.row());
    let ys = covers(height, sizes.input[0], sizes.scale[0]);
    let xs = covers(width, sizes.input[1], sizes.scale[1]);
    let scale = 1.0 / (sizes.scale[0] * sizes.scale[1]);
    parallel_pieces(output, width * channels, (1usize << 12).div_ceil(width * channels), |first, rows| {
        for (i, to) in rows.chunks_exact_mut(width * channels).enumerate() {
            let (image, y) = ((first + i) / height, &ys[(first + i) % height]);
            for (to, x) in to.chunks_exact_mut(channels).zip(&xs) {
                for (channel, to) in to.iter_mut().enumerate() {
                    let mut sum = 0.0f32;
                    for &(line, part) in &y.parts {
                        let line = &input[(image * sizes.input[0] + line) * row..][..row];
                        let mut along = 0.0f32;
                        for &(at, part) in &x.parts {
                            along += line[at * channels + channel].as_() * part;
                        }
                        sum += along * part;
                    }
                    *to = sum * scale;
                }
            }
        }
    });
}
