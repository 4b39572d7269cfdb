//! Rows looked up by their numbers, and losses of a sample of classes.

use crate::error::{Result, bail};
use crate::graph::{Graph, Output};
use crate::ops::Idx;
use crate::ops::convert::Arg;
use crate::ops::math::functions::{Axes, MatMulOptions};
use crate::ops::nn::python::{add, cast, div, mul, node, range, sub};
use crate::ops::random::Candidates;
use crate::ops::sparse::SparseTensor;
use crate::tensor::DType;

/// Which part of a partitioned table holds a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PartitionStrategy {
    /// Row `i` stands in part `i` modulo the number of parts.
    #[default]
    Mod,
    /// Rows stand in order, the first parts having one more where they can't be even.
    Div,
}

/// How the rows of one entry are combined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Combiner {
    /// Their weighted sum.
    Sum,
    /// The sum over the sum of weights.
    #[default]
    Mean,
    /// The sum over the root of the sum of squared weights.
    Sqrtn,
}

/// What a sampled loss is computed from.
#[derive(Clone, Copy, Debug)]
pub struct SampledLoss {
    /// How many classes are sampled.
    pub num_sampled: i64,
    /// How many classes there are.
    pub num_classes: i64,
    /// How many true classes an example has.
    pub num_true: i64,
    /// The sample; none for one of the log-uniform distribution.
    pub sampled_values: Option<Candidates>,
    /// Sampled classes that are true ones don't count.
    pub remove_accidental_hits: bool,
    /// How the weights and biases are partitioned.
    pub partition_strategy: PartitionStrategy,
    /// The seed of the sample.
    pub seed: Option<i64>,
}

fn floor_mod(g: &Graph, x: impl Into<Arg>, y: impl Into<Arg>) -> Result<Output> {
    g.operator("mod", "FloorMod", x, y)
}

fn floor_div(g: &Graph, x: impl Into<Arg>, y: impl Into<Arg>) -> Result<Output> {
    g.operator("floordiv", "FloorDiv", x, y)
}

impl Graph {
    /// The rows `ids` of a table, which may be cut into several parts (`tf.nn.embedding_lookup`). The result has the shape of
    /// `ids`, followed by a row's.
    ///
    /// # Errors
    /// `InvalidArgument` where there is no part, or their rows differ.
    pub fn embedding_lookup(&self, params: &[Output], ids: Output, strategy: PartitionStrategy) -> Result<Output> {
        let (g, scope) = self.enter("embedding_lookup")?;
        let Some(&first) = params.first() else {
            bail!(InvalidArgument, "Length of params is currently 0. Need at least one param.");
        };
        if params.len() == 1 {
            let gathered = {
                let _beside = g.colocate_only_with(Some(first.op))?;
                g.named(scope.name()).gather(first, ids)?
            };
            return g.identity(gathered);
        }
        let parts = params.len() as i32;
        let flat = g.reshape(ids, vec![-1i32])?;
        let size = g.size(flat)?;
        let original = range(&g, 0i32, size)?;
        let (assignments, new_ids) = match strategy {
            PartitionStrategy::Mod => (floor_mod(&g, flat, parts)?, floor_div(&g, flat, parts)?),
            PartitionStrategy::Div => g.divided_ids(params, flat)?,
        };
        let assignments = cast(&g, assignments, DType::Int32)?;
        let gather_ids = g.dynamic_partition(new_ids, assignments, params.len())?;
        let positions = g.dynamic_partition(original, assignments, params.len())?;
        let mut partitioned = Vec::with_capacity(params.len());
        for (&part, &ids) in params.iter().zip(&gather_ids) {
            let _beside = g.colocate_only_with(Some(part.op))?;
            partitioned.push(g.gather(part, ids)?);
        }
        let stitch = g.op("ParallelDynamicStitch").name(scope.name()).input_list(&positions);
        let stitched = stitch.input_list(&partitioned).output()?;
        let mut row = g.shape(first)?.slice_from(1);
        for &part in &params[1..] {
            row = row.merge(&g.shape(part)?.slice_from(1))?;
        }
        let row_shape: Arg = match row.to_dims() {
            Some(dims) => Arg::from(dims.iter().map(|&d| d as i32).collect::<Vec<_>>()),
            None => {
                let shape = {
                    let _beside = g.colocate_only_with(Some(first.op))?;
                    g.shape_tensor(first)?
                };
                g.index(shape, &[Idx::from(1..)])?.into()
            }
        };
        let ids_shape = g.shape_tensor(ids)?;
        let whole = g.concat(&[ids_shape.into(), row_shape], 0i32)?;
        let result = g.reshape(stitched, whole)?;
        g.set_shape(result, g.shape(ids)?.concatenate(&row))?;
        Ok(result)
    }

    /// The parts and rows of ids in a table of which the parts hold rows in order.
    fn divided_ids(&self, params: &[Output], flat: Output) -> Result<(Output, Output)> {
        let g = self;
        let (dtype, parts) = (g.dtype(flat)?, params.len() as i32);
        let mut sizes = Vec::with_capacity(params.len());
        for &part in params {
            sizes.push(g.shape(part)?.dim(0).map(|d| d as i32));
        }
        let known: Option<Vec<i32>> = sizes.iter().copied().collect();
        let total = match known {
            Some(sizes) => {
                let total: i64 = sizes.iter().map(|&s| i64::from(s)).sum();
                if dtype == DType::Int64 { g.constant(total)? } else { g.constant(total as i32)? }
            }
            None => {
                let mut rows: Vec<Arg> = Vec::with_capacity(params.len());
                for (&part, size) in params.iter().zip(sizes) {
                    rows.push(match size {
                        Some(size) => size.into(),
                        None => {
                            let _beside = g.colocate_only_with(Some(part.op))?;
                            let shape = g.shape_tensor(part)?;
                            g.index(shape, &[0.into()])?.into()
                        }
                    });
                }
                let stacked = g.stack_args(&rows, 0)?;
                let rows = cast(g, stacked, dtype)?;
                g.reduce_sum(rows, Axes::All, false)?
            }
        };
        let per_part = floor_div(g, total, parts)?;
        let extras = floor_mod(g, total, parts)?;
        let in_larger = floor_div(g, flat, add(g, per_part, 1i32)?)?;
        let in_smaller = floor_div(g, sub(g, flat, extras)?, per_part)?;
        let assignments = node(g, "Maximum", &[in_larger, in_smaller])?;
        let larger = g.less(assignments, extras)?;
        let row_larger = floor_mod(g, flat, add(g, per_part, 1i32)?)?;
        let row_smaller = floor_mod(g, sub(g, flat, extras)?, per_part)?;
        let rows = node(g, "Select", &[larger, row_larger, row_smaller])?;
        Ok((assignments, rows))
    }

    /// The rows of a table that the entries of a sparse matrix of ids name, combined for each row of the matrix
    /// (`tf.nn.embedding_lookup_sparse`).
    ///
    /// # Errors
    /// `InvalidArgument` as [`Graph::embedding_lookup`], or for weights whose shape isn't that of the ids.
    pub fn embedding_lookup_sparse(
        &self,
        params: &[Output],
        sp_ids: &SparseTensor,
        sp_weights: Option<&SparseTensor>,
        strategy: PartitionStrategy,
        combiner: Combiner,
    ) -> Result<Output> {
        let (g, scope) = self.enter("embedding_lookup_sparse")?;
        let mut segments = g.index(sp_ids.indices, &[(..).into(), 0.into()])?;
        let direct = sp_weights.is_none() && params.len() == 1 && g.op_device(params[0].op) == g.op_device(segments.op);
        let (mut embeddings, idx) = if direct {
            (params[0], sp_ids.values)
        } else {
            let (ids, idx) = g.unique(sp_ids.values)?;
            (g.embedding_lookup(params, ids, strategy)?, idx)
        };
        let Some(sp_weights) = sp_weights else {
            let op = match combiner {
                Combiner::Sum => "SparseSegmentSum",
                Combiner::Mean => "SparseSegmentMean",
                Combiner::Sqrtn => "SparseSegmentSqrtN",
            };
            let node = g.op(op).name(scope.name()).input(embeddings).input(idx).input(segments);
            return if direct { node.attr("sparse_gradient", true).output() } else { node.output() };
        };
        segments = cast(&g, segments, DType::Int32)?;
        embeddings = g.gather(embeddings, idx)?;
        let original = g.dtype(embeddings)?;
        if matches!(original, DType::Half | DType::Bfloat16) {
            embeddings = cast(&g, embeddings, DType::Float)?;
        }
        let mut weights = cast(&g, sp_weights.values, g.dtype(embeddings)?)?;
        let rank = g.rank(embeddings)?;
        let rest = sub(&g, rank, 1i32)?;
        let ones_shape = g.expand_dims(rest, 0i32)?;
        let ones = g.ones(ones_shape, DType::Int32)?;
        let weights_shape = g.shape_tensor(weights)?;
        let broadcast = g.concat(&[weights_shape.into(), ones.into()], 0i32)?;
        let static_shape = g.shape(weights)?;
        weights = g.reshape(weights, broadcast)?;
        if let Some(rank) = g.shape(embeddings)?.rank() {
            let ones = crate::tensor::Shape::known(&vec![1; rank.saturating_sub(1)]);
            g.set_shape(weights, static_shape.concatenate(&ones))?;
        }
        embeddings = mul(&g, embeddings, weights)?;
        let segment_sum = |name: Option<&str>, data: Output| {
            let named = name.map_or_else(|| g.clone(), |name| g.named(name));
            named.segment_sum(data, segments)
        };
        let combined = match combiner {
            Combiner::Sum => segment_sum(Some(scope.name()), embeddings)?,
            Combiner::Mean => {
                let sums = segment_sum(None, embeddings)?;
                let weight = segment_sum(None, weights)?;
                g.named(scope.name()).div_no_nan(sums, weight)?
            }
            Combiner::Sqrtn => {
                let sums = segment_sum(None, embeddings)?;
                let squares = g.math_pow(weights, 2f32)?;
                let weight = segment_sum(None, squares)?;
                let root = node(&g, "Sqrt", &[weight])?;
                g.named(scope.name()).div_no_nan(sums, root)?
            }
        };
        cast(&g, combined, original)
    }

    /// The sums of a matrix's rows, by a product with ones.
    fn sum_rows(&self, x: Output) -> Result<Output> {
        let g = self.plain();
        let shape = g.shape_tensor(x)?;
        let columns = g.index(shape, &[1.into()])?;
        let ones_shape = g.stack_args(&[columns.into(), Arg::from(1i32)], 0)?;
        let ones = g.ones(ones_shape, g.dtype(x)?)?;
        let sums = g.matmul(x, ones)?;
        g.reshape(sums, vec![-1i32])
    }

    /// The logits and labels of the true classes and the sampled ones.
    fn sampled_logits(
        &self,
        weights: &[Output],
        biases: &[Output],
        labels: Output,
        inputs: Output,
        loss: &SampledLoss,
    ) -> Result<(Output, Output)> {
        let (g, _scope) = self.enter("compute_sampled_logits")?;
        let dtype = g.dtype(inputs)?;
        let labels = cast(&g, labels, DType::Int64)?;
        let labels_flat = g.reshape(labels, vec![-1i32])?;
        let sample = match loss.sampled_values {
            Some(sample) => sample,
            None => {
                let (num_true, num_sampled) = (loss.num_true, loss.num_sampled);
                g.log_uniform_candidate_sampler(labels, num_true, num_sampled, true, loss.num_classes, loss.seed)?
            }
        };
        let sampled = g.stop_gradient(sample.sampled_candidates)?;
        let true_expected = g.stop_gradient(sample.true_expected_count)?;
        let sampled_expected = g.stop_gradient(sample.sampled_expected_count)?;
        let sampled = cast(&g, sampled, DType::Int64)?;
        let all_ids = g.concat(&[labels_flat.into(), sampled.into()], 0i32)?;
        let all_w = cast(&g, g.embedding_lookup(weights, all_ids, loss.partition_strategy)?, dtype)?;
        let count = |g: &Graph| -> Result<Output> {
            let shape = g.shape_tensor(labels_flat)?;
            g.index(shape, &[0.into()])
        };
        let size = g.stack_args(&[count(&g)?.into(), Arg::from(-1i32)], 0)?;
        let true_w = g.slice(all_w, vec![0i32, 0], size)?;
        let begin = g.stack_args(&[count(&g)?.into(), Arg::from(0i32)], 0)?;
        let sampled_w = g.slice(all_w, begin, vec![-1i32, -1])?;
        let transposed = MatMulOptions { transpose_b: true, ..MatMulOptions::default() };
        let mut sampled_logits = g.matmul_with(inputs, sampled_w, transposed)?;
        let all_b = cast(&g, g.embedding_lookup(biases, all_ids, loss.partition_strategy)?, dtype)?;
        let size = g.shape_tensor(labels_flat)?;
        let true_b = g.slice(all_b, vec![0i32], size)?;
        let begin = g.shape_tensor(labels_flat)?;
        let sampled_b = g.slice(all_b, begin, vec![-1i32])?;
        let shape = g.shape_tensor(true_w)?;
        let dim = g.index(shape, &[Idx::from(1..2)])?;
        let grouped = g.concat(&[Arg::from(vec![-1i32, loss.num_true as i32]), dim.into()], 0i32)?;
        let expanded = g.expand_dims(inputs, 1i32)?;
        let rows = g.reshape(true_w, grouped)?;
        let dots = node(&g, "Mul", &[expanded, rows])?;
        let flat = g.concat(&[Arg::from(vec![-1i32]), dim.into()], 0i32)?;
        let dots = g.reshape(dots, flat)?;
        let sums = g.sum_rows(dots)?;
        let mut true_logits = g.reshape(sums, vec![-1i32, loss.num_true as i32])?;
        let true_b = g.reshape(true_b, vec![-1i32, loss.num_true as i32])?;
        true_logits = add(&g, true_logits, true_b)?;
        sampled_logits = add(&g, sampled_logits, sampled_b)?;
        if loss.remove_accidental_hits {
            let [rows, ids, weights] = g.compute_accidental_hits(labels, sampled, loss.num_true, None)?;
            let rows = g.reshape(rows, vec![-1i32, 1])?;
            let ids = cast(&g, ids, DType::Int32)?;
            let ids = g.reshape(ids, vec![-1i32, 1])?;
            let indices = g.named("sparse_indices").concat(&[rows.into(), ids.into()], 1i32)?;
            let shape = g.shape_tensor(labels)?;
            let batch = g.index(shape, &[Idx::from(..1)])?;
            let sampled = g.call("ExpandDims").arg(loss.num_sampled as i32).arg(0i32).output()?;
            let whole = g.concat(&[batch.into(), sampled.into()], 0i32)?;
            let weights = cast(&g, weights, g.dtype(sampled_logits)?)?;
            let hits = g.call("SparseToDense").arg(indices).arg(whole).arg(weights).arg(0f32);
            let hits = hits.attr("validate_indices", false).output()?;
            sampled_logits = add(&g, sampled_logits, hits)?;
        }
        let log = node(&g, "Log", &[true_expected])?;
        true_logits = sub(&g, true_logits, log)?;
        let log = node(&g, "Log", &[sampled_expected])?;
        sampled_logits = sub(&g, sampled_logits, log)?;
        let logits = g.concat(&[true_logits.into(), sampled_logits.into()], 1i32)?;
        let ones = g.ones_like(true_logits)?;
        let share = div(&g, ones, loss.num_true as f32)?;
        let zeros = g.zeros_like(sampled_logits)?;
        let labels = g.concat(&[share.into(), zeros.into()], 1i32)?;
        Ok((logits, labels))
    }

    /// The noise-contrastive loss of each example (`tf.nn.nce_loss`): true classes are told from sampled ones.
    ///
    /// # Errors
    /// `InvalidArgument` for shapes that don't fit together.
    pub fn nce_loss(
        &self,
        weights: &[Output],
        biases: &[Output],
        labels: Output,
        inputs: Output,
        loss: &SampledLoss,
    ) -> Result<Output> {
        let g = self.plain();
        let (logits, labels) = self.named(self.name_or("nce_loss")).sampled_logits(weights, biases, labels, inputs, loss)?;
        let losses = g.named("sampled_losses").sigmoid_cross_entropy_with_logits(labels, logits)?;
        g.sum_rows(losses)
    }

    /// The softmax cross entropy of each example over the true classes and the sampled ones (`tf.nn.sampled_softmax_loss`).
    ///
    /// # Errors
    /// `InvalidArgument` for shapes that don't fit together.
    pub fn sampled_softmax_loss(
        &self,
        weights: &[Output],
        biases: &[Output],
        labels: Output,
        inputs: Output,
        loss: &SampledLoss,
    ) -> Result<Output> {
        let g = self.plain();
        let name = self.name_or("sampled_softmax_loss");
        let (logits, labels) = self.named(name).sampled_logits(weights, biases, labels, inputs, loss)?;
        let labels = g.named("labels_stop_gradient").stop_gradient(labels)?;
        g.softmax_cross_entropy_with_logits_v2(labels, logits)
    }
}
