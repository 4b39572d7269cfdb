//! Layers: their graphs, node for node, as in TensorFlow.

mod common;

use common::compare_meta_graph;
use metagraph::layers::{self, BatchNormalizationOptions, Conv2dOptions, DenseOptions, LayerOptions, PoolOptions};
use metagraph::nn::Activation;
use metagraph::train::{Initializer, Reuse, ScopeOptions};
use metagraph::{DType, Graph, Result, Shape};

fn check(case: &str, build: impl FnOnce(&Graph) -> Result<()>) {
    let g = Graph::new();
    build(&g).unwrap_or_else(|e| panic!("{case}: {e}"));
    compare_meta_graph(&format!("layers/{case}"), &g, None);
}

fn relu() -> Option<Activation> {
    Some(Activation::new(|g, x| g.relu(x)))
}

#[test]
fn dense() {
    check("dense", |g| {
        let x = g.named("x").placeholder(DType::Float, [None, Some(3)])?;
        let h = layers::dense(g, x, 4, &DenseOptions { activation: relu(), ..DenseOptions::default() })?;
        let ones = Some(Initializer::ones());
        let options = DenseOptions { use_bias: false, kernel_initializer: ones, ..DenseOptions::default() };
        let h = layers::dense(&g.named("named"), h, 4, &options)?;
        let h = layers::dropout(g, h, 0.25, true, None)?;
        let h = layers::dropout(g, h, 0.5, false, None)?;
        {
            let options = ScopeOptions { use_resource: Some(true), ..ScopeOptions::default() };
            let _outer = g.variable_scope_with("outer", options)?;
            let options = DenseOptions {
                bias_initializer: Initializer::constant(0.5),
                layer: LayerOptions { frozen: true, ..LayerOptions::default() },
                ..DenseOptions::default()
            };
            layers::dense(g, h, 2, &options)?;
        }
        let _outer = g.variable_scope_with("outer", ScopeOptions { reuse: Reuse::Yes, ..ScopeOptions::default() })?;
        let y = g.placeholder(DType::Float, [5, 4])?;
        layers::dense(&g.named("dense"), y, 2, &DenseOptions::default()).map(drop)
    });
}

#[test]
fn convolution() {
    check("convolution", |g| {
        let x = g.named("x").placeholder(DType::Float, [None, Some(8), Some(8), Some(3)])?;
        let options = Conv2dOptions { padding: "same".to_string(), activation: relu(), ..Conv2dOptions::default() };
        let h = layers::conv2d(g, x, 4, [3, 3], &options)?;
        let h = layers::max_pooling2d(g, h, [2, 2], [2, 2], &PoolOptions::default())?;
        let options = Conv2dOptions { strides: [2, 1], use_bias: false, ..Conv2dOptions::default() };
        let h = layers::conv2d(&g.named("second"), h, 5, [3, 2], &options)?;
        let same = PoolOptions { padding: "same".to_string(), ..PoolOptions::default() };
        let h = layers::average_pooling2d(g, h, [1, 2], [1, 1], &same)?;
        layers::flatten(g, h)?;
        let y = g.named("y").placeholder(DType::Float, [None, None, Some(2)])?;
        layers::flatten(g, y).map(drop)
    });
}

#[test]
fn normalization() {
    check("normalization", |g| {
        let x = g.named("x").placeholder(DType::Float, [None, Some(4), Some(4), Some(3)])?;
        let h = layers::batch_normalization(g, x, true, &BatchNormalizationOptions::default())?;
        let options =
            BatchNormalizationOptions { momentum: 0.9, epsilon: 0.01, scale: false, ..BatchNormalizationOptions::default() };
        let h = layers::batch_normalization(&g.named("still"), h, false, &options)?;
        let h = layers::flatten(g, h)?;
        let options = BatchNormalizationOptions { center: false, ..BatchNormalizationOptions::default() };
        let h = layers::batch_normalization(g, h, true, &options)?;
        layers::batch_normalization(g, h, false, &BatchNormalizationOptions::default()).map(drop)
    });
}

#[test]
fn normalization_by_tensor() {
    check("normalization_by_tensor", |g| {
        let x = g.named("x").placeholder(DType::Float, [None, Some(4), Some(4), Some(3)])?;
        let default = g.named("training/input").constant(false)?;
        let training = g.named("training").placeholder_with_default(default, Shape::scalar())?;
        let h = layers::batch_normalization(g, x, training, &BatchNormalizationOptions::default())?;
        let flat = layers::flatten(g, h)?;
        layers::batch_normalization(g, flat, training, &BatchNormalizationOptions::default())?;
        layers::dropout(g, h, 0.5, training, None).map(drop)
    });
}
