//! Layers in which every output depends on every input.

use super::{LayerOptions, add_bias, layer, weight};
use crate::error::{Result, bail};
use crate::graph::{Graph, Output};
use crate::nn::Activation;
use crate::nn::layer::with_variable;
use crate::ops::convert::Arg;
use crate::train::{Constraint, GetVariable, Initializer, Regularizer};
use std::cell::OnceCell;

/// The options of [`dense`], with TensorFlow's defaults.
#[derive(Clone)]
pub struct DenseOptions {
    /// What is applied to the outputs.
    pub activation: Option<Activation>,
    /// Whether a bias is added.
    pub use_bias: bool,
    /// The initializer of the kernel; the scope's, or `glorot_uniform`, unless given.
    pub kernel_initializer: Option<Initializer>,
    /// The initializer of the bias.
    pub bias_initializer: Initializer,
    /// Makes a loss of the kernel.
    pub kernel_regularizer: Option<Regularizer>,
    /// Makes a loss of the bias.
    pub bias_regularizer: Option<Regularizer>,
    /// The projection of the kernel after each update.
    pub kernel_constraint: Option<Constraint>,
    /// The projection of the bias after each update.
    pub bias_constraint: Option<Constraint>,
    /// What all layers can be told.
    pub layer: LayerOptions,
}

impl Default for DenseOptions {
    fn default() -> DenseOptions {
        DenseOptions {
            activation: None,
            use_bias: true,
            kernel_initializer: None,
            bias_initializer: Initializer::zeros(),
            kernel_regularizer: None,
            bias_regularizer: None,
            kernel_constraint: None,
            bias_constraint: None,
            layer: LayerOptions::default(),
        }
    }
}

/// `activation(inputs · kernel + bias)` over the last dimension, with variables `kernel` `[depth, units]` and `bias`
/// `[units]` (`tf.layers.dense`).
///
/// # Errors
/// `InvalidArgument` for inputs of less than two dimensions, whose last one must be known.
pub fn dense(g: &Graph, inputs: Output, units: usize, options: &DenseOptions) -> Result<Output> {
    let layer = layer(g, "dense", &options.layer)?;
    let shape = g.shape(inputs)?;
    let rank = shape.rank();
    if rank.is_some_and(|r| r < 2) {
        bail!(InvalidArgument, "A dense layer takes inputs of at least two dimensions, got {shape}");
    }
    let Some(depth) = rank.and_then(|r| shape.dim(r as isize - 1)) else {
        bail!(InvalidArgument, "The last dimension of the inputs to a Dense layer should be defined, got {shape}")
    };
    let (kernel, bias) = (OnceCell::new(), OnceCell::new());
    let build = |g: &Graph, _: &crate::tensor::Shape| {
        let own = GetVariable {
            initializer: options.kernel_initializer.clone(),
            regularizer: options.kernel_regularizer.clone(),
            constraint: options.kernel_constraint.clone(),
            ..GetVariable::default()
        };
        let _ = kernel.set(weight(g, &layer, "kernel", &[depth, units], own)?);
        if options.use_bias {
            let own = GetVariable {
                initializer: Some(options.bias_initializer.clone()),
                regularizer: options.bias_regularizer.clone(),
                constraint: options.bias_constraint.clone(),
                ..GetVariable::default()
            };
            let _ = bias.set(weight(g, &layer, "bias", &[units], own)?);
        }
        Ok(())
    };
    layer.call(g, inputs, build, |g| {
        let mut output = inputs;
        if let Some(kernel) = kernel.get() {
            output = if rank == Some(2) {
                with_variable(g, "MatMul", inputs, kernel)?
            } else {
                rows_times(g, inputs, kernel.value()?, depth, units)?
            };
        }
        if let Some(bias) = bias.get() {
            output = add_bias(g, output, bias, "NHWC")?;
        }
        match &options.activation {
            Some(activation) => activation.apply(g, output),
            None => Ok(output),
        }
    })
}

/// The product over the last dimension of a tensor of more than two.
fn rows_times(g: &Graph, inputs: Output, kernel: Output, depth: usize, units: usize) -> Result<Output> {
    let (g, scope) = g.enter("Tensordot")?;
    let shape = g.shape(inputs)?;
    let rows = g.reshape(inputs, [-1i32, depth as i32])?;
    let product = g.matmul(rows, kernel)?;
    let sizes = g.shape_tensor(inputs)?;
    let rank = shape.rank().unwrap_or(2);
    let mut outer: Vec<Arg> = Vec::with_capacity(rank);
    for axis in 0..rank - 1 {
        outer.push(g.index(sizes, &[(axis as i32).into()])?.into());
    }
    outer.push(Arg::from(units as i32));
    let output = g.named(scope.name()).reshape(product, Arg::List(outer))?;
    Ok(output)
}
