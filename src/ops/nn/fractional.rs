//! Pooling over regions of random sizes (Graham 2014).

use super::gradients::pool as gradients;
use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, NodeInfo, Op, PrepareCtx, Prepared};
use crate::random::{GuardedPhiloxRandom, SimplePhilox, random_u64, shuffle};
use crate::tensor::{Element, Shape, Tensor, dispatch};
use num_traits::{Num, NumCast};
use std::ops::Range;

const TYPE: &str = "T: {float, double, int32, int64}";
const ATTRS: &[&str] = &[
    "pooling_ratio: list(float) >= 4",
    "pseudo_random: bool = false",
    "overlapping: bool = false",
    "deterministic: bool = false",
    "seed: int = 0",
    "seed2: int = 0",
    TYPE,
];

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "FractionalMaxPool",
        ins: &["value: T"],
        outs: &["output: T", "row_pooling_sequence: int64", "col_pooling_sequence: int64"],
        attrs: ATTRS,
        shape: pooled,
        kernel: Kernel::StatefulPrepared(|ctx| prepare(ctx, false)),
        grad: Grad::Fn(gradients::fractional_max_pool),
        rows: &["pooling_ratio=[1,1.5,1.5,1], deterministic=true, seed=3, seed2=4; \
             i32[[[[0] [1] [2]] [[3] [4] [5]] [[6] [7] [8]]]] => _, _, _"],
    },
    Op {
        name: "FractionalMaxPoolGrad",
        ins: &[
            "orig_input: T",
            "orig_output: T",
            "out_backprop: T",
            "row_pooling_sequence: int64",
            "col_pooling_sequence: int64",
        ],
        outs: &["output: T"],
        attrs: &["overlapping: bool = false", TYPE],
        shape: |ctx| {
            let shape = ctx.input(0).with_rank(4)?;
            ctx.set(0, shape)
        },
        kernel: Kernel::Pure(max_backprop),
        grad: Grad::Missing,
        rows: &["i32[[[[1] [5] [3]]]], i32[[[[5] [3]]]], i32[[[[7] [8]]]], i64[0 1], i64[0 2 3] => i32[[[[0] [7] [8]]]]"],
    },
    Op {
        name: "FractionalAvgPool",
        ins: &["value: T"],
        outs: &["output: T", "row_pooling_sequence: int64", "col_pooling_sequence: int64"],
        attrs: ATTRS,
        shape: pooled,
        kernel: Kernel::StatefulPrepared(|ctx| prepare(ctx, true)),
        grad: Grad::Fn(gradients::fractional_avg_pool),
        rows: &["pooling_ratio=[1,1,2,1]; f32[[[[0] [1] [2] [3]]]] => f32[[[[0.5] [2.5]]]], i64[0 1], i64[0 2 4]"],
    },
    Op {
        name: "FractionalAvgPoolGrad",
        ins: &["orig_input_tensor_shape: int64", "out_backprop: T", "row_pooling_sequence: int64", "col_pooling_sequence: int64"],
        outs: &["output: T"],
        attrs: &["overlapping: bool = false", TYPE],
        shape: |ctx| {
            let shape = ctx.constant_shape(0).with_rank(4)?;
            ctx.set(0, shape)
        },
        kernel: Kernel::Pure(average_backprop),
        grad: Grad::Missing,
        rows: &["i64[1 1 3 1], f32[[[[7] [8]]]], i64[0 1], i64[0 2 3] => f32[[[[3.5] [3.5] [8]]]]"],
    },
];

fn pooled(ctx: &mut InferCtx) -> Result<()> {
    let input = ctx.input(0).with_rank(4)?;
    let ratios = crate::graph::attr::list(ctx.attr("pooling_ratio")?)?.f.clone();
    if ratios.len() != 4 {
        bail!(InvalidArgument, "pooling_ratio field must specify 4 dimensions");
    }
    if let Some(ratio) = ratios.iter().find(|&&r| r.is_nan() || r < 1.0) {
        bail!(InvalidArgument, "pooling_ratio should be larger than or equal to 1, got: {ratio}");
    }
    let sizes = input.sizes().unwrap_or_default();
    let output: Vec<Option<usize>> =
        sizes.iter().zip(&ratios).map(|(size, ratio)| size.map(|s| (s as f32 / ratio) as usize)).collect();
    let rows_and_columns = [output[1], output[2]];
    ctx.set(0, Shape::from(output))?;
    for (index, size) in rows_and_columns.into_iter().enumerate() {
        ctx.set(index + 1, Shape::vector(size.map(|s| s + 1)))?;
    }
    Ok(())
}

struct Attributes {
    ratios: Vec<f32>,
    pseudo_random: bool,
    overlapping: bool,
    seeds: (i64, i64),
}

impl Attributes {
    fn new(node: &NodeInfo) -> Result<Attributes> {
        let ratios = node.floats("pooling_ratio")?.to_vec();
        if ratios.len() != 4 {
            bail!(InvalidArgument, "pooling_ratio field must specify 4 dimensions");
        }
        if let Some(ratio) = ratios.iter().find(|&&r| r.is_nan() || r < 1.0) {
            bail!(InvalidArgument, "pooling_ratio cannot be smaller than 1, got: {ratio}");
        }
        if ratios[0] != 1.0 || ratios[3] != 1.0 {
            bail!(Unimplemented, "Fractional pooling is not yet supported on the batch nor channel dimension.");
        }
        let mut seeds = (node.int("seed")?, node.int("seed2")?);
        if node.boolean("deterministic")? {
            if seeds == (0, 0) {
                seeds = (random_u64() as i64, random_u64() as i64);
            }
        } else if seeds != (0, 0) {
            bail!(InvalidArgument, "Both seed and seed2 should be 0 if deterministic is false.");
        }
        let (pseudo_random, overlapping) = (node.boolean("pseudo_random")?, node.boolean("overlapping")?);
        Ok(Attributes { ratios, pseudo_random, overlapping, seeds })
    }
}

/// Where the regions of a dimension begin, and its end. Regions of one size take random numbers as well.
fn sequence(input: usize, output: usize, generator: &GuardedPhiloxRandom, pseudo_random: bool) -> Vec<i64> {
    let sizes: Vec<i64> = if pseudo_random {
        let ratio = input as f64 / output as f64;
        let least = (input / output) as f64;
        let bound = ((least + 2.0) / ratio - 1.0).min((input as f64 + 1.0 - least) / ratio - (output as f64 - 1.0));
        let u = SimplePhilox::new(generator.reserve_samples32(2)).rand_double() * bound;
        let start = |i: usize| match i {
            0 => 1,
            i if i == output => input as i64 + 1,
            i => (ratio * (i as f64 + u)).ceil() as i64,
        };
        (0..output).map(|i| start(i + 1) - start(i)).collect()
    } else {
        let mut sizes: Vec<i64> = (0..output).map(|i| (input / output) as i64 + (i < input % output) as i64).collect();
        shuffle(generator.reserve_samples32(output as u64), &mut sizes);
        sizes
    };
    let mut starts = vec![0];
    for size in sizes {
        starts.push(starts[starts.len() - 1] + size);
    }
    starts
}

/// The regions of a dimension of this size.
fn regions(starts: &[i64], size: usize, overlapping: bool) -> Result<Vec<Range<usize>>> {
    let region = |pair: &[i64]| {
        let end = if overlapping { pair[1].saturating_add(1) } else { pair[1] }.min(size as i64);
        match usize::try_from(pair[0]) {
            Ok(start) if start < size && end > start as i64 => Ok(start..end as usize),
            _ => bail!(InvalidArgument, "a pooling sequence must ascend from 0 to the size {size}, got {starts:?}"),
        }
    };
    starts.windows(2).map(region).collect()
}

fn prepare(ctx: &PrepareCtx, average: bool) -> Result<Prepared> {
    let attributes = Attributes::new(ctx.node)?;
    Ok(Box::new(move |ctx: &mut KernelCtx| {
        let input = ctx.take(0)?;
        let &[batch, height, width, channels] = input.dims() else {
            bail!(InvalidArgument, "tensor_in must be 4-dimensional, got {:?}", input.dims());
        };
        let mut output = [height, width];
        for (i, size) in output.iter_mut().enumerate() {
            let ratio = attributes.ratios[i + 1];
            if (*size as f32) < ratio {
                bail!(
                    InvalidArgument,
                    "Pooling ratio is higher than input dimension size for dimension {}. Input dim size: {size} pooling ratio: {ratio}",
                    i + 1
                );
            }
            *size = (*size as f32 / ratio) as usize;
        }
        let generator = GuardedPhiloxRandom::new(attributes.seeds.0, attributes.seeds.1);
        let rows = sequence(height, output[0], &generator, attributes.pseudo_random);
        let columns = sequence(width, output[1], &generator, attributes.pseudo_random);
        let pooling = Pooling {
            batch,
            size: [height, width],
            channels,
            rows: regions(&rows, height, attributes.overlapping)?,
            columns: regions(&columns, width, attributes.overlapping)?,
        };
        let output = dispatch!(input.dtype(), real, T => {
            let values = input.as_slice::<T>()?;
            let values = if average { pooling.averages(values) } else { pooling.maxima(values).map(|p| values[p]).collect() };
            Tensor::new(&pooling.output_dims(), values)?
        });
        ctx.set(0, output)?;
        ctx.set(1, Tensor::from(rows))?;
        ctx.set(2, Tensor::from(columns))
    }))
}

struct Pooling {
    batch: usize,
    size: [usize; 2],
    channels: usize,
    rows: Vec<Range<usize>>,
    columns: Vec<Range<usize>>,
}

impl Pooling {
    /// The pooling that the inputs of a gradient describe.
    fn of_inputs(ctx: &KernelCtx, dims: &[usize], out_backprop: &Tensor, first: usize) -> Result<Pooling> {
        let &[batch, height, width, channels] = dims else {
            bail!(InvalidArgument, "orig_input must be 4-dimensional, got {dims:?}");
        };
        let overlapping = ctx.node().boolean("overlapping")?;
        let (rows, columns) = (ctx.input(first)?, ctx.input(first + 1)?);
        for sequence in [rows, columns] {
            if sequence.rank() != 1 {
                bail!(InvalidArgument, "a pooling sequence must be a vector, got {:?}", sequence.dims());
            }
        }
        let pooling = Pooling {
            batch,
            size: [height, width],
            channels,
            rows: regions(rows.as_slice::<i64>()?, height, overlapping)?,
            columns: regions(columns.as_slice::<i64>()?, width, overlapping)?,
        };
        if out_backprop.dims() != pooling.output_dims() {
            bail!(
                InvalidArgument,
                "Expected out_backprop shape to be {:?}, but got {:?}",
                pooling.output_dims(),
                out_backprop.dims()
            );
        }
        Ok(pooling)
    }

    fn output_dims(&self) -> [usize; 4] {
        [self.batch, self.rows.len(), self.columns.len(), self.channels]
    }

    /// The places in the input of each output's region.
    fn cells(&self) -> impl Iterator<Item = impl Iterator<Item = usize> + Clone + '_> + '_ {
        let cells = (0..self.batch).flat_map(move |b| self.rows.iter().map(move |r| (b, r)));
        let cells = cells.flat_map(move |(b, r)| self.columns.iter().map(move |c| (b, r, c)));
        cells.flat_map(move |(b, r, c)| (0..self.channels).map(move |d| (b, r, c, d))).map(move |(b, r, c, d)| {
            let columns = move |y: usize| c.clone().map(move |x| ((b * self.size[0] + y) * self.size[1] + x) * self.channels + d);
            r.clone().flat_map(columns)
        })
    }

    /// The place of the first maximum of each output.
    fn maxima<'a, T: Element + PartialOrd>(&'a self, input: &'a [T]) -> impl Iterator<Item = usize> + 'a {
        self.cells().map(|cell| cell.reduce(|best, place| if input[best] < input[place] { place } else { best }).unwrap_or(0))
    }

    fn averages<T: Element + Num + NumCast>(&self, input: &[T]) -> Vec<T> {
        let average = |cell: &mut dyn Iterator<Item = usize>| {
            let (sum, count) = cell.fold((T::zero(), 0usize), |(sum, count), place| (sum + input[place], count + 1));
            sum / <T as NumCast>::from(count).unwrap_or_else(T::one)
        };
        self.cells().map(|mut cell| average(&mut cell)).collect()
    }
}

fn max_backprop(ctx: &mut KernelCtx) -> Result<()> {
    let (input, output, gradient) = (ctx.take(0)?, ctx.take(1)?, ctx.take(2)?);
    let pooling = Pooling::of_inputs(ctx, input.dims(), &gradient, 3)?;
    if output.dims() != gradient.dims() {
        bail!(
            InvalidArgument,
            "orig_output and out_backprop must have the same shape: {:?}, {:?}",
            output.dims(),
            gradient.dims()
        );
    }
    let mut result = Tensor::zeros(input.dtype(), input.dims())?;
    dispatch!(input.dtype(), real, T => {
        let sums = result.as_mut_slice::<T>()?;
        for (place, &g) in pooling.maxima(input.as_slice::<T>()?).zip(gradient.as_slice::<T>()?) {
            sums[place] = sums[place] + g;
        }
    });
    ctx.set(0, result)
}

fn average_backprop(ctx: &mut KernelCtx) -> Result<()> {
    let (sizes, gradient) = (ctx.take(0)?, ctx.take(1)?);
    if sizes.dims() != [4] {
        bail!(InvalidArgument, "original input tensor shape must be 1-dimensional and 4 elements, got {sizes}");
    }
    let dims = sizes.to_dims()?;
    let pooling = Pooling::of_inputs(ctx, &dims, &gradient, 2)?;
    let mut sums = vec![0f64; crate::tensor::element_count(&dims)?];
    let result = dispatch!(gradient.dtype(), real, T => {
        for (cell, &g) in pooling.cells().zip(gradient.as_slice::<T>()?) {
            let share = <f64 as NumCast>::from(g).unwrap_or(f64::NAN) / cell.clone().count() as f64;
            cell.for_each(|place| sums[place] += share);
        }
        Tensor::new(&dims, sums.iter().map(|&s| <T as NumCast>::from(s).unwrap_or_default()).collect())?
    });
    ctx.set(0, result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_are_tensorflows() {
        let both = |input: [usize; 2], output: [usize; 2], pseudo_random: bool| {
            let generator = GuardedPhiloxRandom::new(3, 4);
            [0, 1].map(|i| sequence(input[i], output[i], &generator, pseudo_random))
        };
        assert_eq!(both([7, 14], [4, 9], false), [vec![0, 2, 4, 5, 7], vec![0, 2, 3, 5, 6, 8, 10, 11, 13, 14]]);
        assert_eq!(both([7, 14], [4, 8], true), [vec![0, 2, 3, 5, 7], vec![0, 2, 3, 5, 7, 9, 10, 12, 14]]);
    }
}
