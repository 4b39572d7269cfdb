//! Convolution and pooling over two dimensions.

use super::{LayerOptions, add_bias, layer, weight};
use crate::error::{Result, bail};
use crate::graph::{Graph, Output};
use crate::nn::Activation;
use crate::train::{Constraint, GetVariable, Initializer, Regularizer};
use std::cell::OnceCell;

/// The options of [`conv2d`], with TensorFlow's defaults.
#[derive(Clone)]
pub struct Conv2dOptions {
    /// The steps over rows and columns.
    pub strides: [i64; 2],
    /// `valid` or `same`.
    pub padding: String,
    /// True for `[batch, channels, rows, columns]` rather than `[batch, rows, columns, channels]`.
    pub channels_first: bool,
    /// The distances of the kernel's elements.
    pub dilation_rate: [i64; 2],
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

impl Default for Conv2dOptions {
    fn default() -> Conv2dOptions {
        Conv2dOptions {
            strides: [1, 1],
            padding: "valid".to_string(),
            channels_first: false,
            dilation_rate: [1, 1],
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

fn format(channels_first: bool) -> &'static str {
    if channels_first { "NCHW" } else { "NHWC" }
}

/// Two numbers for rows and columns with ones for batch and channels.
fn windows([rows, columns]: [i64; 2], channels_first: bool) -> Vec<i64> {
    if channels_first { vec![1, 1, rows, columns] } else { vec![1, rows, columns, 1] }
}

/// A convolution over images, with variables `kernel` `[rows, columns, channels, filters]` and `bias` `[filters]`
/// (`tf.layers.conv2d`).
///
/// # Errors
/// `InvalidArgument` for inputs that aren't of four dimensions or whose channels aren't known.
pub fn conv2d(g: &Graph, inputs: Output, filters: usize, kernel_size: [usize; 2], options: &Conv2dOptions) -> Result<Output> {
    let layer = layer(g, "conv2d", &options.layer)?;
    let shape = g.shape(inputs)?.with_rank(4)?;
    let Some(channels) = shape.dim(if options.channels_first { 1 } else { 3 }) else {
        bail!(InvalidArgument, "The channel dimension of the inputs should be defined, got {shape}")
    };
    let (kernel, bias) = (OnceCell::new(), OnceCell::new());
    let build = |g: &Graph, _: &crate::tensor::Shape| {
        let own = GetVariable {
            initializer: options.kernel_initializer.clone(),
            regularizer: options.kernel_regularizer.clone(),
            constraint: options.kernel_constraint.clone(),
            ..GetVariable::default()
        };
        let dims = [kernel_size[0], kernel_size[1], channels, filters];
        let _ = kernel.set(weight(g, &layer, "kernel", &dims, own)?);
        if options.use_bias {
            let own = GetVariable {
                initializer: Some(options.bias_initializer.clone()),
                regularizer: options.bias_regularizer.clone(),
                constraint: options.bias_constraint.clone(),
                ..GetVariable::default()
            };
            let _ = bias.set(weight(g, &layer, "bias", &[filters], own)?);
        }
        Ok(())
    };
    layer.call(g, inputs, build, |g| {
        let mut output = inputs;
        if let Some(kernel) = kernel.get() {
            let scope = g.name_scope("Conv2D")?;
            let kernel = kernel.value()?;
            let op = g.op("Conv2D").name(scope.name()).input(inputs).input(kernel);
            output = op
                .attr("strides", &windows(options.strides, options.channels_first)[..])
                .attr("dilations", &windows(options.dilation_rate, options.channels_first)[..])
                .attr("padding", options.padding.to_uppercase().as_str())
                .attr("data_format", format(options.channels_first))
                .output()?;
        }
        if let Some(bias) = bias.get() {
            output = add_bias(g, output, bias, format(options.channels_first))?;
        }
        match &options.activation {
            Some(activation) => activation.apply(g, output),
            None => Ok(output),
        }
    })
}

/// The options of pooling, with TensorFlow's defaults.
#[derive(Clone, Debug)]
pub struct PoolOptions {
    /// `valid` or `same`.
    pub padding: String,
    /// True for `[batch, channels, rows, columns]` rather than `[batch, rows, columns, channels]`.
    pub channels_first: bool,
}

impl Default for PoolOptions {
    fn default() -> PoolOptions {
        PoolOptions { padding: "valid".to_string(), channels_first: false }
    }
}

fn pool(
    g: &Graph,
    (class, op): (&'static str, &str),
    inputs: Output,
    pool_size: [i64; 2],
    strides: [i64; 2],
    options: &PoolOptions,
) -> Result<Output> {
    let layer = layer(g, class, &LayerOptions::default())?;
    layer.call(
        g,
        inputs,
        |_, _| Ok(()),
        |g| {
            g.op(op)
                .input(inputs)
                .attr("ksize", &windows(pool_size, options.channels_first)[..])
                .attr("strides", &windows(strides, options.channels_first)[..])
                .attr("padding", options.padding.to_uppercase().as_str())
                .attr("data_format", format(options.channels_first))
                .output()
        },
    )
}

/// The largest element of each window (`tf.layers.max_pooling2d`).
///
/// # Errors
/// `InvalidArgument` for inputs that aren't of four dimensions.
pub fn max_pooling2d(g: &Graph, inputs: Output, pool_size: [i64; 2], strides: [i64; 2], options: &PoolOptions) -> Result<Output> {
    pool(g, ("max_pooling2d", "MaxPool"), inputs, pool_size, strides, options)
}

/// The mean of each window (`tf.layers.average_pooling2d`).
///
/// # Errors
/// `InvalidArgument` for inputs that aren't of four dimensions.
pub fn average_pooling2d(
    g: &Graph,
    inputs: Output,
    pool_size: [i64; 2],
    strides: [i64; 2],
    options: &PoolOptions,
) -> Result<Output> {
    pool(g, ("average_pooling2d", "AvgPool"), inputs, pool_size, strides, options)
}
