//! Interpolation by cubic polynomials, of which the weights are looked up in a table of 1024 steps.

use super::{Places, Sizes, allocate};
use crate::compute::pool::parallel_pieces;
use crate::error::Result;
use crate::graph::op::KernelCtx;
use crate::tensor::{DType, dispatch};
use num_traits::AsPrimitive;

/// The steps between two pixels at which weights are known.
const STEPS: usize = 1 << 10;

/// The four pixels around a place, and their weights.
pub(super) struct Around {
    pub index: [usize; 4],
    pub weight: [f32; 4],
}

/// The weight of a pixel at a distance below 1 and at one more, in each step. `a` is the polynomial's free parameter.
fn table(a: f64) -> Vec<[f32; 2]> {
    let weights = |step: usize| {
        let x = (step as f64 / STEPS as f64) as f32;
        let near = ((a + 2.0) * f64::from(x) - (a + 3.0)) * f64::from(x) * f64::from(x) + 1.0;
        let x = f64::from(x + 1.0);
        let far = ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a;
        [near as f32, far as f32]
    };
    (0..=STEPS).map(weights).collect()
}

/// The pixels around the places of all outputs along one dimension. With half-pixel centers (Keys' polynomial), pixels
/// beyond the edge have no weight; otherwise the edge repeats.
pub(super) fn arounds(places: Places, output: usize, input: usize, scale: f32) -> Vec<Around> {
    let keys = places.half_pixel_centers;
    let table = table(if keys { -0.5 } else { -0.75 });
    let around = |i: usize| {
        let at = places.position(i, scale);
        let first = at.floor() as i64;
        let step = (((at - at.floor()) * STEPS as f32).round_ties_even() as usize).min(STEPS);
        let wanted = [-1, 0, 1, 2].map(|offset| first.saturating_add(offset));
        let index = wanted.map(|w| w.clamp(0, input as i64 - 1) as usize);
        let mut weight = [table[step][1], table[step][0], table[STEPS - step][0], table[STEPS - step][1]];
        if keys {
            for k in 0..4 {
                if index[k] as i64 != wanted[k] {
                    weight[k] = 0.0;
                }
            }
            let sum: f32 = weight.iter().sum();
            if sum.abs() >= 1000.0 * f32::MIN_POSITIVE {
                weight = weight.map(|w| w * (1.0 / sum));
            }
        }
        Around { index, weight }
    };
    (0..output).map(around).collect()
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
    let (channels, row) = (sizes.channels, sizes.row());
    let ys = arounds(places, height, sizes.input[0], sizes.scale[0]);
    let xs = arounds(places, width, sizes.input[1], sizes.scale[1]);
    parallel_pieces(output, width * channels, (1usize << 12).div_ceil(width * channels), |first, rows| {
        let mut mixed = vec![0f32; row];
        for (i, to) in rows.chunks_exact_mut(width * channels).enumerate() {
            let (image, y) = ((first + i) / height, &ys[(first + i) % height]);
            let lines = y.index.map(|line| &input[(image * sizes.input[0] + line) * row..][..row]);
            for (i, value) in mixed.iter_mut().enumerate() {
                let [a, b, c, d]: [f32; 4] = lines.map(|l| l[i].as_());
                *value = a * y.weight[0] + b * y.weight[1] + c * y.weight[2] + d * y.weight[3];
            }
            for (to, x) in to.chunks_exact_mut(channels).zip(&xs) {
                for (i, to) in to.iter_mut().enumerate() {
                    let [a, b, c, d] = x.index.map(|at| mixed[at * channels + i]);
                    *to = a * x.weight[0] + b * x.weight[1] + c * x.weight[2] + d * x.weight[3];
                }
            }
        }
    });
}
