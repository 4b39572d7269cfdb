//! Decoders: the best class at each step, and a search with a beam.

use super::beam::Search;
use super::{Sequences, sparse};
use crate::error::{Result, bail};
use crate::graph::op::KernelCtx;
use crate::ops::nn::wide::Wide;
use crate::tensor::{DType, Tensor};
use num_traits::Float;

pub(super) fn greedy(ctx: &mut KernelCtx) -> Result<()> {
    let (merge, blank) = (ctx.node().boolean("merge_repeated")?, ctx.node().int("blank_index")?);
    let inputs = ctx.take(0)?;
    let sequences = Sequences::new(&inputs, ctx.input(1)?)?;
    let classes = sequences.classes as i64;
    if blank < -classes || blank >= classes {
        bail!(InvalidArgument, "blank_index expected to be between {} and {} but was {blank}", -classes, classes - 1);
    }
    let blank = blank.rem_euclid(classes) as usize;
    let (decoded, scores) = match inputs.dtype() {
        DType::Double => best_classes::<f64>(&inputs, &sequences, blank, merge)?,
        _ => best_classes::<f32>(&inputs, &sequences, blank, merge)?,
    };
    for (index, tensor) in sparse(&decoded)?.into_iter().enumerate() {
        ctx.set(index, tensor)?;
    }
    ctx.set(3, scores)
}

fn best_classes<T: Wide + Float>(
    inputs: &Tensor,
    sequences: &Sequences,
    blank: usize,
    merge: bool,
) -> Result<(Vec<Vec<i64>>, Tensor)> {
    let values = inputs.as_slice::<T>()?;
    let (mut decoded, mut scores) = (Vec::new(), Vec::new());
    for (batch, &length) in sequences.lengths.iter().enumerate() {
        let (mut labels, mut score, mut previous) = (Vec::new(), T::zero(), None);
        for time in 0..length {
            let row = sequences.row(values, time, batch);
            let best = (1..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best });
            score = score - row[best];
            if best != blank && !(merge && previous == Some(best)) {
                labels.push(best as i64);
            }
            previous = Some(best);
        }
        decoded.push(labels);
        scores.push(score);
    }
    Ok((decoded, Tensor::new(&[sequences.batch, 1], scores)?))
}

pub(super) fn beam_search(ctx: &mut KernelCtx) -> Result<()> {
    let node = ctx.node();
    let merge = node.boolean("merge_repeated")?;
    let (width, paths) = (node.int("beam_width")?.max(1) as usize, node.int("top_paths")?.max(1) as usize);
    let inputs = ctx.take(0)?;
    let sequences = Sequences::new(&inputs, ctx.input(1)?)?;
    if paths > width {
        bail!(InvalidArgument, "requested more paths than the beam width.");
    }
    let (decoded, scores) = match inputs.dtype() {
        DType::Double => search::<f64>(&inputs, &sequences, width, paths, merge)?,
        _ => search::<f32>(&inputs, &sequences, width, paths, merge)?,
    };
    for (path, decoded) in decoded.iter().enumerate() {
        for (part, tensor) in sparse(decoded)?.into_iter().enumerate() {
            ctx.set(part * paths + path, tensor)?;
        }
    }
    ctx.set(3 * paths, scores)
}

/// The labels of each path of each element of the batch, path by path, and their logarithmic probabilities.
fn search<T: Wide<Wide = T> + Float>(
    inputs: &Tensor,
    sequences: &Sequences,
    width: usize,
    paths: usize,
    merge: bool,
) -> Result<(Vec<Vec<Vec<i64>>>, Tensor)> {
    let values = inputs.as_slice::<T>()?;
    let mut decoded = vec![Vec::with_capacity(sequences.batch); paths];
    let mut scores = Vec::with_capacity(sequences.batch * paths);
    for (batch, &length) in sequences.lengths.iter().enumerate() {
        let mut search = Search::new(sequences.classes, width);
        for time in 0..length {
            search.step(sequences.row(values, time, batch));
        }
        for (path, (labels, score)) in search.top(paths, merge)?.into_iter().enumerate() {
            decoded[path].push(labels);
            scores.push(score);
        }
    }
    Ok((decoded, Tensor::new(&[sequences.batch, paths], scores)?))
}
