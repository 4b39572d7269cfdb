//! TensorFlow's nn functions: the nodes that they make, as in the meta graphs that TensorFlow wrote.

mod common;

use common::compare_meta_graph;
use metagraph::ops::sparse::SparseTensor;
use metagraph::ops::{Combiner, ConvOptions, CtcLoss, FusedBatchNorm, PartitionStrategy, SampledLoss};
use metagraph::{DType, Graph, Output, Result, Shape};

const F32: DType = DType::Float;
const I32: DType = DType::Int32;
const I64: DType = DType::Int64;

fn p(g: &Graph, name: &str, dtype: DType, shape: impl Into<Shape>) -> Result<Output> {
    g.named(name).placeholder(dtype, shape)
}

fn check(name: &str, build: fn(&Graph) -> Result<()>) {
    let g = Graph::new();
    build(&g).unwrap_or_else(|e| panic!("{name}: {e}"));
    compare_meta_graph(&format!("nn_functions/{name}"), &g, None);
}

#[test]
fn convolutions_and_pools() {
    check("convolutions", |g| {
        let usual = ConvOptions::default();
        let (x, w) = (p(g, "x", F32, [2, 9, 8, 3])?, p(g, "w", F32, [3, 3, 3, 4])?);
        g.conv2d(x, w, &[1, 2, 2, 1], "SAME", usual)?;
        g.named("named").conv2d(x, w, &[2], "VALID", ConvOptions { dilations: &[1, 2], ..usual })?;
        let explicit = ConvOptions { explicit_paddings: &[0, 0, 1, 2, 0, 3, 0, 0], ..usual };
        g.conv2d(x, w, &[1, 1], "EXPLICIT", explicit)?;
        let (s, ws) = (p(g, "s", F32, [Some(2), None, Some(3)])?, p(g, "ws", F32, [3, 3, 4])?);
        g.conv1d(s, ws, 2, "SAME", usual)?;
        let (v, wv) = (p(g, "v", F32, [1, 5, 5, 5, 2])?, p(g, "wv", F32, [2, 2, 2, 2, 3])?);
        g.conv3d(v, wv, &[1, 1, 2, 1, 1], "VALID", usual)?;
        let small = p(g, "small", F32, [2, 5, 4, 4])?;
        g.conv2d_transpose(small, w, [2i32, 9, 8, 3], &[1, 2, 2, 1], "SAME", usual)?;
        let d = p(g, "d", F32, [3, 3, 3, 2])?;
        let spread = |rate| ConvOptions { dilations: rate, ..usual };
        g.depthwise_conv2d(x, d, &[1, 1, 1, 1], "SAME", usual)?;
        g.named("spread").depthwise_conv2d(x, d, &[1, 1, 1, 1], "SAME", spread(&[2, 2]))?;
        g.depthwise_conv2d(x, d, &[1, 1, 1, 1], "VALID", spread(&[2, 3]))?;
        let free = p(g, "free", F32, [Some(2), None, None, Some(3)])?;
        g.depthwise_conv2d(free, d, &[1, 1, 1, 1], "SAME", spread(&[2, 2]))?;
        let point = p(g, "point", F32, [1, 1, 6, 5])?;
        g.separable_conv2d(x, d, point, &[1, 2, 2, 1], "SAME", usual)?;
        g.max_pool(x, &[1, 2, 2, 1], &[1, 2, 2, 1], "SAME", usual)?;
        g.named("pool").max_pool(x, &[3], &[1], "VALID", usual)?;
        g.avg_pool(x, &[1, 2, 3, 1], &[1, 1, 2, 1], "VALID", usual)?;
        let deep = p(g, "deep", F32, [1, 4, 4, 4, 2])?;
        g.max_pool3d(deep, &[2], &[2], "SAME", usual)?;
        Ok(())
    });
}

#[test]
fn means_and_normalizations() {
    check("norms", |g| {
        let x = p(g, "x", F32, [4, 3, 5])?;
        g.moments(x, &[0, 1], false)?;
        g.named("kept").moments(x, &[2], true)?;
        g.moments(p(g, "half", DType::Half, [Some(4), None])?, &[0], false)?;
        let weights = p(g, "weights", F32, [4, 3, 1])?;
        g.weighted_moments(x, &[0, 1], weights, false)?;
        let (mean, variance) = (p(g, "mean", F32, [5])?, p(g, "variance", F32, [5])?);
        let (offset, scale) = (p(g, "offset", F32, [5])?, p(g, "scale", F32, [5])?);
        g.batch_normalization(x, mean, variance, Some(offset), Some(scale), 0.001)?;
        g.named("plain").batch_normalization(x, mean, variance, None, None, 0.01)?;
        g.batch_normalization(x, mean, variance, Some(offset), None, 0.01)?;
        let images = p(g, "images", F32, [2, 4, 4, 5])?;
        g.fused_batch_norm(images, scale, offset, None, FusedBatchNorm::default())?;
        let options = FusedBatchNorm { is_training: false, ..FusedBatchNorm::default() };
        g.named("fused").fused_batch_norm(images, scale, offset, Some((mean, variance)), options)?;
        g.l2_normalize(x, 2, 1e-12)?;
        g.named("unit").l2_normalize(x, [0, 1], 0.5)?;
        g.l2_normalize(p(g, "c", DType::Complex64, [3])?, 0, 1e-12)?;
        g.l2_loss(x)?;
        g.local_response_normalization(images, 2, 1.0, 0.5, 0.75)?;
        Ok(())
    });
}

#[test]
fn embeddings() {
    check("embeddings", |g| {
        let (usual, div) = (PartitionStrategy::Mod, PartitionStrategy::Div);
        let ids = p(g, "ids", I64, [None, Some(2)])?;
        let one = p(g, "one", F32, [10, 4])?;
        let parts = [p(g, "a", F32, [4, 4])?, p(g, "b", F32, [3, 4])?, p(g, "c", F32, [3, 4])?];
        let free = [p(g, "d", F32, [None, Some(4)])?, p(g, "e", F32, [3, 4])?];
        g.embedding_lookup(&[one], ids, usual)?;
        g.named("named").embedding_lookup(&[one], ids, usual)?;
        g.embedding_lookup(&parts, ids, usual)?;
        g.named("div").embedding_lookup(&parts, ids, div)?;
        g.embedding_lookup(&free, p(g, "flat", I32, [None])?, div)?;
        let indices = p(g, "i", I64, [None, Some(2)])?;
        let sparse = SparseTensor::new(indices, p(g, "v", I64, [None])?, p(g, "s", I64, [2])?);
        let weights = SparseTensor::new(indices, p(g, "w", F32, [None])?, sparse.dense_shape);
        g.embedding_lookup_sparse(&[one], &sparse, None, usual, Combiner::Mean)?;
        g.named("summed").embedding_lookup_sparse(&parts, &sparse, None, usual, Combiner::Sum)?;
        g.embedding_lookup_sparse(&[one], &sparse, Some(&weights), usual, Combiner::Mean)?;
        g.embedding_lookup_sparse(&[one], &sparse, Some(&weights), usual, Combiner::Sqrtn)?;
        g.embedding_lookup_sparse(&parts, &sparse, Some(&weights), usual, Combiner::Sum)?;
        Ok(())
    });
}

#[test]
fn losses_of_sampled_classes() {
    check("sampled", |g| {
        g.set_random_seed(7);
        let (w, b) = (p(g, "w", F32, [20, 4])?, p(g, "b", F32, [20])?);
        let (labels, x) = (p(g, "labels", I64, [None, Some(1)])?, p(g, "x", F32, [None, Some(4)])?);
        let loss = SampledLoss {
            num_sampled: 5,
            num_classes: 20,
            num_true: 1,
            sampled_values: None,
            remove_accidental_hits: false,
            partition_strategy: PartitionStrategy::Mod,
            seed: None,
        };
        g.nce_loss(&[w], &[b], labels, x, &loss)?;
        g.sampled_softmax_loss(&[w], &[b], labels, x, &SampledLoss { remove_accidental_hits: true, seed: Some(3), ..loss })?;
        Ok(())
    });
}

#[test]
fn sequences_and_predictions() {
    check("sequences", |g| {
        let sparse = SparseTensor::new(p(g, "i", I64, [None, Some(2)])?, p(g, "v", I32, [None])?, p(g, "s", I64, [2])?);
        let (x, length) = (p(g, "x", F32, [6, 2, 4])?, p(g, "length", I32, [2])?);
        let usual = CtcLoss::default();
        g.ctc_loss(&sparse, x, length, usual)?;
        let y = p(g, "y", F32, [2, 6, 4])?;
        g.ctc_loss(&sparse, y, length, CtcLoss { preprocess_collapse_repeated: true, time_major: false, ..usual })?;
        g.ctc_greedy_decoder(x, length, true)?;
        g.ctc_beam_search_decoder(x, length, 8, 2, true)?;
        let (predictions, targets) = (p(g, "predictions", F32, [3, 5])?, p(g, "targets", I32, [3])?);
        g.in_top_k(predictions, targets, 2i32)?;
        Ok(())
    });
}
