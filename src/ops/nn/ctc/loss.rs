//! The loss: minus the logarithm of the probability of all paths that give the labels, by Graves et al. (2006).

use super::Sequences;
use crate::error::{Result, bail};
use crate::graph::op::KernelCtx;
use crate::ops::nn::softmax::max_of;
use crate::ops::nn::wide::Wide;
use crate::tensor::{DType, Tensor};
use num_traits::{Float, Zero};

/// The attributes.
struct Options {
    collapse_repeated: bool,
    merge_repeated: bool,
    ignore_longer: bool,
}

pub(super) fn ctc_loss(ctx: &mut KernelCtx) -> Result<()> {
    let node = ctx.node();
    let options = Options {
        collapse_repeated: node.boolean("preprocess_collapse_repeated")?,
        merge_repeated: node.boolean("ctc_merge_repeated")?,
        ignore_longer: node.boolean("ignore_longer_outputs_than_inputs")?,
    };
    let inputs = ctx.take(0)?;
    let sequences = Sequences::new(&inputs, ctx.input(3)?)?;
    let labels = labels(ctx.input(1)?, ctx.input(2)?, &sequences)?;
    let targets = targets(&labels, &sequences, &options)?;
    let (loss, gradient) = match inputs.dtype() {
        DType::Double => losses::<f64>(&inputs, &sequences, &targets, &options)?,
        _ => losses::<f32>(&inputs, &sequences, &targets, &options)?,
    };
    ctx.set(0, loss)?;
    ctx.set(1, gradient)
}

/// The labels of each element of the batch.
fn labels(indices: &Tensor, values: &Tensor, sequences: &Sequences) -> Result<Vec<Vec<i64>>> {
    let [count, 2] = indices.dims() else {
        bail!(InvalidArgument, "labels_indices is not a matrix of two columns, got {:?}", indices.dims());
    };
    if values.rank() != 1 {
        bail!(InvalidArgument, "labels_values is not a vector, got {:?}", values.dims());
    }
    if *count != values.len() {
        bail!(
            InvalidArgument,
            "labels_indices and labels_values must contain the same number of rows, got {count} and {}",
            values.len()
        );
    }
    if sequences.batch == 0 {
        bail!(InvalidArgument, "batch_size must not be 0");
    }
    let (pairs, _) = indices.as_slice::<i64>()?.as_chunks::<2>();
    let mut labels = vec![Vec::new(); sequences.batch];
    for (i, (&[batch, place], &label)) in pairs.iter().zip(values.as_slice::<i32>()?).enumerate() {
        let Some(row) = usize::try_from(batch).ok().and_then(|b| labels.get_mut(b)).filter(|_| place >= 0) else {
            bail!(
                InvalidArgument,
                "label SparseTensor is not valid: indices[{i}] = [{batch},{place}] is out of bounds: need 0 <= index < [{}, ...]",
                sequences.batch
            );
        };
        if i > 0 && pairs[i - 1] >= [batch, place] {
            bail!(
                InvalidArgument,
                "label SparseTensor is not valid: indices[{i}] = [{batch},{place}] is out of order or repeated"
            );
        }
        row.push(i64::from(label));
    }
    Ok(labels)
}

fn listed(labels: &[i64]) -> String {
    labels.iter().map(i64::to_string).collect::<Vec<_>>().join(",")
}

/// The labels with a blank before, between and after them.
fn targets(labels: &[Vec<i64>], sequences: &Sequences, options: &Options) -> Result<Vec<Vec<usize>>> {
    let blank = sequences.classes - 1;
    let mut targets = Vec::with_capacity(labels.len());
    for (batch, labels) in labels.iter().enumerate() {
        if labels.is_empty() {
            bail!(InvalidArgument, "Labels length is zero in batch {batch}");
        }
        let mut kept: Vec<usize> = Vec::new();
        let mut finished = false;
        for (i, &label) in labels.iter().enumerate() {
            if options.collapse_repeated && i > 0 && labels[i - 1] == label {
                continue;
            }
            let Ok(label) = usize::try_from(label) else {
                bail!(InvalidArgument, "All labels must be nonnegative integers, batch: {batch} labels: {}", listed(labels));
            };
            if label >= blank {
                finished = true;
            } else if finished {
                bail!(
                    InvalidArgument,
                    "Saw a non-null label (index >= num_classes - 1) following a null label, batch: {batch} num_classes: {} labels: {}",
                    sequences.classes,
                    listed(labels)
                );
            } else {
                kept.push(label);
            }
        }
        let time = sequences.lengths[batch];
        if !options.ignore_longer && kept.len() > time {
            bail!(
                InvalidArgument,
                "Not enough time for target transition sequence (required: {}, available: {time}) in batch {batch}. You can turn \
                 this error into a warning by using the flag ignore_longer_outputs_than_inputs",
                kept.len()
            );
        }
        let mut target = vec![blank];
        target.extend(kept.into_iter().flat_map(|label| [label, blank]));
        targets.push(target);
    }
    Ok(targets)
}

fn losses<T: Wide<Wide = T> + Float>(
    inputs: &Tensor,
    sequences: &Sequences,
    targets: &[Vec<usize>],
    options: &Options,
) -> Result<(Tensor, Tensor)> {
    let values = inputs.as_slice::<T>()?;
    let mut loss = Tensor::zeros(inputs.dtype(), &[sequences.batch])?;
    let mut gradient = Tensor::zeros(inputs.dtype(), inputs.dims())?;
    let out = gradient.as_mut_slice::<T>()?;
    for (batch, (loss, target)) in loss.as_mut_slice::<T>()?.iter_mut().zip(targets).enumerate() {
        let length = sequences.lengths[batch];
        if length == 0 {
            continue;
        }
        let probabilities: Vec<Vec<T>> = (0..length).map(|t| softmax(sequences.row(values, t, batch))).collect();
        let paths = Paths { target, probabilities: &probabilities, blank: sequences.classes - 1, merge: options.merge_repeated };
        let (forward, backward) = (paths.forward(), paths.backward());
        let width = target.len();
        let total = (0..width).fold(T::neg_infinity(), |sum, u| log_add(sum, forward[u] + backward[u]));
        *loss = -total;
        for (t, probabilities) in probabilities.iter().enumerate() {
            let mut sums = vec![T::neg_infinity(); sequences.classes];
            if total != T::neg_infinity() {
                for (u, &label) in target.iter().enumerate() {
                    sums[label] = log_add(sums[label], forward[t * width + u] + backward[t * width + u]);
                }
            }
            let row = &mut out[(t * sequences.batch + batch) * sequences.classes..][..sequences.classes];
            for ((g, &p), &sum) in row.iter_mut().zip(probabilities).zip(&sums) {
                *g = if sum == T::neg_infinity() { p } else { p - (sum - total).exp() };
            }
        }
    }
    Ok((loss, gradient))
}

fn softmax<T: Wide<Wide = T> + Float>(row: &[T]) -> Vec<T> {
    let max = max_of(row);
    let exponentials: Vec<T> = row.iter().map(|&x| (x - max).exp()).collect();
    let sum = exponentials.iter().fold(T::zero(), |sum, &e| sum + e);
    exponentials.into_iter().map(|e| e / sum).collect()
}

/// `log(exp(a) + exp(b))`.
pub(super) fn log_add<T: Float>(a: T, b: T) -> T {
    if a == T::neg_infinity() {
        b
    } else if b == T::neg_infinity() {
        a
    } else {
        a.max(b) + (-(a - b).abs()).exp().ln_1p()
    }
}

/// The paths through the labels of one element of the batch.
struct Paths<'a, T> {
    target: &'a [usize],
    probabilities: &'a [Vec<T>],
    blank: usize,
    merge: bool,
}

impl<T: Float + Zero> Paths<'_, T> {
    /// The places of the target that a path can be at.
    fn reachable(&self, t: usize) -> std::ops::Range<usize> {
        let (width, left) = (self.target.len(), self.probabilities.len() - t);
        width.saturating_sub(2 * left)..width.min(2 * (t + 1))
    }

    fn log_probability(&self, t: usize, u: usize) -> T {
        self.probabilities[t][self.target[u]].ln()
    }

    /// True where a path may stay at a place.
    fn may_stay(&self, u: usize) -> bool {
        self.merge || self.target[u] == self.blank
    }

    /// True where a path may go from a place to the next but one, past the blank.
    fn may_skip(&self, from: usize, to: usize) -> bool {
        self.target[to] != self.blank && !(self.merge && self.target[to] == self.target[from])
    }

    /// The logarithm of the probability of all ways to each place, its own included.
    fn forward(&self) -> Vec<T> {
        let width = self.target.len();
        let mut forward = vec![T::neg_infinity(); width * self.probabilities.len()];
        for u in 0..width.min(2) {
            forward[u] = self.log_probability(0, u);
        }
        for t in 1..self.probabilities.len() {
            for u in self.reachable(t) {
                let before = &forward[(t - 1) * width..t * width];
                let mut sum = if self.may_stay(u) { before[u] } else { T::neg_infinity() };
                if u > 0 {
                    sum = log_add(sum, before[u - 1]);
                }
                if u > 1 && self.may_skip(u - 2, u) {
                    sum = log_add(sum, before[u - 2]);
                }
                forward[t * width + u] = sum + self.log_probability(t, u);
            }
        }
        forward
    }

    /// The logarithm of the probability of all ways from each place to the end, its own left out.
    fn backward(&self) -> Vec<T> {
        let (width, time) = (self.target.len(), self.probabilities.len());
        let mut backward = vec![T::neg_infinity(); width * time];
        for u in width.saturating_sub(2)..width {
            backward[(time - 1) * width + u] = T::zero();
        }
        for t in (0..time - 1).rev() {
            for u in self.reachable(t) {
                let after = |u: usize| backward[(t + 1) * width + u] + self.log_probability(t + 1, u);
                let mut sum = if self.may_stay(u) { after(u) } else { T::neg_infinity() };
                if u + 1 < width {
                    sum = log_add(sum, after(u + 1));
                }
                if u + 2 < width && self.target[u] != self.blank && self.may_skip(u, u + 2) {
                    sum = log_add(sum, after(u + 2));
                }
                backward[t * width + u] = sum;
            }
        }
        backward
    }
}
