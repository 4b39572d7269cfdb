//! Samplers of candidate classes, for losses over many classes.

use super::generator;
use crate::error::{Error, Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, NodeInfo, Op, PrepareCtx, Prepared};
use crate::random::{RangeSampler, SimplePhilox};
use crate::tensor::{Shape, Tensor};
use std::collections::HashMap;
use std::fs;
use std::sync::{Mutex, PoisonError};

const OUTPUTS: &[&str] = &["sampled_candidates: int64", "true_expected_count: float", "sampled_expected_count: float"];
const RANGE_ATTRS: &[&str] =
    &["num_true: int >= 1", "num_sampled: int >= 1", "unique: bool", "range_max: int >= 1", "seed: int = 0", "seed2: int = 0"];

pub(super) static OPS: &[Op] = &[
    Op {
        name: "UniformCandidateSampler",
        ins: &["true_classes: int64"],
        outs: OUTPUTS,
        attrs: RANGE_ATTRS,
        shape: sampler_shape,
        kernel: Kernel::StatefulPrepared(|ctx| prepare(ctx, |node| RangeSampler::uniform(node.int("range_max")?))),
        grad: Grad::Missing,
        rows: &[],
    },
    Op {
        name: "LogUniformCandidateSampler",
        ins: &["true_classes: int64"],
        outs: OUTPUTS,
        attrs: RANGE_ATTRS,
        shape: sampler_shape,
        kernel: Kernel::StatefulPrepared(|ctx| prepare(ctx, |node| RangeSampler::log_uniform(node.int("range_max")?))),
        grad: Grad::Missing,
        rows: &[],
    },
    Op {
        name: "LearnedUnigramCandidateSampler",
        ins: &["true_classes: int64"],
        outs: OUTPUTS,
        attrs: RANGE_ATTRS,
        shape: sampler_shape,
        kernel: Kernel::StatefulPrepared(|ctx| prepare(ctx, learned_unigram)),
        grad: Grad::Missing,
        rows: &[],
    },
    Op {
        name: "ThreadUnsafeUnigramCandidateSampler",
        ins: &["true_classes: int64"],
        outs: OUTPUTS,
        attrs: RANGE_ATTRS,
        shape: sampler_shape,
        kernel: Kernel::StatefulPrepared(|ctx| prepare(ctx, learned_unigram)),
        grad: Grad::Missing,
        rows: &[],
    },
    Op {
        name: "FixedUnigramCandidateSampler",
        ins: &["true_classes: int64"],
        outs: OUTPUTS,
        attrs: &[
            "num_true: int >= 1",
            "num_sampled: int >= 1",
            "unique: bool",
            "range_max: int >= 1",
            "vocab_file: string = ''",
            "distortion: float = 1.0",
            "num_reserved_ids: int = 0",
            "num_shards: int >= 1 = 1",
            "shard: int >= 0 = 0",
            "unigrams: list(float) = []",
            "seed: int = 0",
            "seed2: int = 0",
        ],
        shape: sampler_shape,
        kernel: Kernel::StatefulPrepared(|ctx| prepare(ctx, fixed_unigram)),
        grad: Grad::Missing,
        rows: &[],
    },
    Op {
        name: "AllCandidateSampler",
        ins: &["true_classes: int64"],
        outs: OUTPUTS,
        attrs: &["num_true: int >= 1", "num_sampled: int >= 1", "unique: bool", "seed: int = 0", "seed2: int = 0"],
        shape: sampler_shape,
        kernel: Kernel::StatefulPrepared(|ctx| prepare(ctx, |node| RangeSampler::all(node.int("num_sampled")?))),
        grad: Grad::Missing,
        rows: &[],
    },
    Op {
        name: "ComputeAccidentalHits",
        ins: &["true_classes: int64", "sampled_candidates: int64"],
        outs: &["indices: int32", "ids: int64", "weights: float"],
        attrs: &["num_true: int", "seed: int = 0", "seed2: int = 0"],
        shape: hits_shape,
        kernel: Kernel::Pure(compute_accidental_hits),
        grad: Grad::Missing,
        rows: &[
            "num_true=2; i64[[1 2] [3 2]], i64[2 5 3] => i32[0 1 1], i64[0 2 0], f32[-3.4028235e38 -3.4028235e38 -3.4028235e38]",
            "num_true=1; i64[[1] [3]], i64[2] => i32[], i64[], f32[]",
        ],
    },
];

fn sampler_shape(ctx: &mut InferCtx) -> Result<()> {
    let rows = ctx.input(0).with_rank(2)?.dim(0);
    let (true_classes, sampled) = (ctx.int("num_true")?, ctx.int("num_sampled")?);
    ctx.set(0, Shape::from_signed([sampled]))?;
    ctx.set(1, Shape::from_signed([rows.map_or(-1, |rows| rows as i64), true_classes]))?;
    ctx.set(2, Shape::from_signed([sampled]))
}

fn hits_shape(ctx: &mut InferCtx) -> Result<()> {
    let true_classes = ctx.int("num_true")?;
    ctx.input(0).merge(&Shape::from_signed([-1, true_classes]))?;
    ctx.input(1).with_rank(1)?;
    for output in 0..3 {
        ctx.set(output, Shape::vector(None))?;
    }
    Ok(())
}

fn learned_unigram(node: &NodeInfo) -> Result<RangeSampler> {
    RangeSampler::learned_unigram(node.int("range_max")?)
}

fn fixed_unigram(node: &NodeInfo) -> Result<RangeSampler> {
    let (file, unigrams) = (node.string("vocab_file")?, node.floats("unigrams")?);
    let weights = match (file.is_empty(), unigrams.is_empty()) {
        (true, true) => bail!(InvalidArgument, "Must provide either vocab_file or unigrams."),
        (false, false) => bail!(InvalidArgument, "Must only provide one of vocab_file and unigrams."),
        (true, false) => unigrams.to_vec(),
        (false, true) => vocabulary_weights(file)?,
    };
    RangeSampler::fixed_unigram(
        node.int("range_max")?,
        weights,
        node.float("distortion")?,
        node.int("num_reserved_ids")?,
        node.int("num_shards")?,
        node.int("shard")?,
    )
}

/// The last fields of the lines of a file of comma-separated values.
fn vocabulary_weights(file: &str) -> Result<Vec<f32>> {
    let text = fs::read_to_string(file).map_err(|error| Error::from(error).within(file.to_string()))?;
    text.lines()
        .map(|line| {
            let field = line.rsplit(',').next().unwrap_or_default().trim();
            field.parse().map_err(|_| Error::invalid_argument(format!("Wrong vocabulary format at line: {line}")))
        })
        .collect()
}

/// A sampler lives in the session, so that its stream goes on and it keeps what it has learned.
fn prepare(ctx: &PrepareCtx, make: fn(&NodeInfo) -> Result<RangeSampler>) -> Result<Prepared> {
    let generator = generator(ctx)?;
    let made = Mutex::new(make(ctx.node)?);
    let sampler = ctx.session.node_state(&ctx.node.name, || made);
    let (true_classes, samples) = (ctx.node.int("num_true")?, ctx.node.int("num_sampled")?);
    let unique = ctx.node.boolean("unique")?;
    Ok(Box::new(move |ctx: &mut KernelCtx| {
        let given = ctx.input(0)?;
        if given.rank() != 2 {
            bail!(InvalidArgument, "true_classes must be a matrix, got shape {:?}", given.dims());
        }
        if given.dims()[1] as i64 != true_classes {
            bail!(InvalidArgument, "true_classes must have num_true = {true_classes} columns, got {}", given.dims()[1]);
        }
        let classes = given.as_slice::<i64>()?;
        let mut sampler = sampler.lock().unwrap_or_else(PoisonError::into_inner);
        let range = sampler.range();
        if let Some(class) = classes.iter().find(|class| !(0..range).contains(*class)) {
            bail!(InvalidArgument, "`true_candidate` out of range [0, {range}), received {class}");
        }
        let count = samples as usize;
        let reserved = (samples as u64).wrapping_mul(2048);
        let mut words = SimplePhilox::new(generator.reserve_samples32(reserved));
        let batch = sampler.sample_batch(&mut words, unique, count)?;
        let expected = |classes: &[i64]| classes.iter().map(|&class| sampler.expected_count(class, &batch)).collect::<Vec<f32>>();
        let (true_expected, sampled_expected) = (expected(classes), expected(&batch.candidates));
        sampler.update(classes);
        let dims = [given.dims()[0], given.dims()[1]];
        ctx.set(0, Tensor::new(&[count], batch.candidates)?)?;
        ctx.set(1, Tensor::new(&dims, true_expected)?)?;
        ctx.set(2, Tensor::new(&[count], sampled_expected)?)
    }))
}

fn compute_accidental_hits(ctx: &mut KernelCtx) -> Result<()> {
    let (given, sampled) = (ctx.input(0)?, ctx.input(1)?);
    let true_classes = ctx.node().int("num_true")?;
    if given.rank() != 2 || given.dims()[1] as i64 != true_classes {
        bail!(
            InvalidArgument,
            "true_candidates must be a batch_size * num_true matrix with num_true = {true_classes}, got shape {:?}",
            given.dims()
        );
    }
    if sampled.rank() != 1 {
        bail!(
            InvalidArgument,
            "sampled_candidates must be a vector, which is typically an output from CandidateSampler, got shape {:?}",
            sampled.dims()
        );
    }
    let places: HashMap<i64, i64> = sampled.as_slice::<i64>()?.iter().copied().zip(0..).collect();
    let columns = given.dims()[1].max(1);
    let (mut indices, mut ids) = (Vec::new(), Vec::new());
    for (position, class) in given.as_slice::<i64>()?.iter().enumerate() {
        if let Some(&place) = places.get(class) {
            indices.push((position / columns) as i32);
            ids.push(place);
        }
    }
    let weights = vec![f32::MIN; ids.len()];
    ctx.set(0, Tensor::from(indices))?;
    ctx.set(1, Tensor::from(ids))?;
    ctx.set(2, Tensor::from(weights))
}
