//! Each pixel from the nearest one.

use super::{Places, Sizes, allocate};
use crate::compute::pool::parallel_pieces;
use crate::error::Result;
use crate::graph::op::KernelCtx;
use crate::tensor::dispatch;

pub(super) fn kernel(ctx: &mut KernelCtx) -> Result<()> {
    let places = Places::new(ctx.node())?;
    let sizes = Sizes::new(ctx, places)?;
    let input = ctx.input(0)?;
    let mut output = allocate(input.dtype(), &sizes)?;
    if output.is_empty() {
        return ctx.set(0, output);
    }
    let [height, width] = sizes.output;
    let (channels, row) = (sizes.channels, sizes.row());
    let places_of = |i: usize| (0..sizes.output[i]).map(move |at| places.nearest(at, sizes.scale[i], sizes.input[i]));
    let ys: Vec<usize> = places_of(0).collect();
    let xs: Vec<usize> = places_of(1).map(|x| x * channels).collect();
    dispatch!(input.dtype(), real, T => {
        let from = input.as_slice::<T>()?;
        let unit = width * channels;
        parallel_pieces(output.as_mut_slice::<T>()?, unit, (1usize << 14).div_ceil(unit), |first, rows| {
            for (i, to) in rows.chunks_exact_mut(unit).enumerate() {
                let (image, y) = ((first + i) / height, ys[(first + i) % height]);
                let from = &from[(image * sizes.input[0] + y) * row..][..row];
                for (to, &x) in to.chunks_exact_mut(channels).zip(&xs) {
                    to.copy_from_slice(&from[x..x + channels]);
                }
            }
        });
    });
    ctx.set(0, output)
}
