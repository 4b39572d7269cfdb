//! Layers of networks (`tf.layers`): functions that make variables in a scope of their own and the nodes that use them.
//!
//! The name of [`Graph::named`](crate::Graph::named) is that of the layer's variable scope; without one the scope is called
//! by the kind of layer, and numbered.

mod convolution;
mod dense;
mod normalization;
mod simple;

pub use convolution::{Conv2dOptions, PoolOptions, average_pooling2d, conv2d, max_pooling2d};
pub use dense::{DenseOptions, dense};
pub use normalization::{BatchNormalizationOptions, Training, batch_normalization};
pub use simple::{dropout, flatten};

use crate::error::Result;
use crate::graph::{CollectionItem, Graph, Output, keys};
use crate::nn::layer::Layer;
use crate::train::{GetVariable, Regularizer, Reuse, Variable};

/// What all layers with variables can be told.
#[derive(Clone, Default)]
pub struct LayerOptions {
    /// Whether the variables are left out of training.
    pub frozen: bool,
    /// Whether variables of the named scope are used again.
    pub reuse: Reuse,
}

/// A layer of this class, under the name that the handle carries.
fn layer(g: &Graph, class: &'static str, options: &LayerOptions) -> Result<Layer> {
    let mut layer = Layer::new(class);
    layer.options.frozen = options.frozen;
    layer.options.reuse = options.reuse;
    if let Some(name) = g.pending_name() {
        layer.options.name = Some(name.to_string());
        layer.open(g)?;
    }
    Ok(layer)
}

/// A variable of a layer, whose regularizer's loss is added to the collection of those.
fn weight(g: &Graph, layer: &Layer, name: &str, dims: &[usize], options: GetVariable) -> Result<Variable> {
    let regularizer: Option<Regularizer> = options.regularizer.clone();
    let before = g.global_variables().len();
    let variable = layer.add_weight_with(g, name, dims, GetVariable { regularizer: None, ..options })?;
    if let Some(regularizer) = regularizer.filter(|_| g.global_variables().len() > before) {
        let _scope = g.name_scope(&format!("{name}/Regularizer"))?;
        if let Some(loss) = regularizer(g, &variable)? {
            g.add_to_collection(keys::REGULARIZATION_LOSSES, CollectionItem::Tensor(loss));
        }
    }
    Ok(variable)
}

/// `value + bias`, where a variable by handle is read within the node's scope.
fn add_bias(g: &Graph, value: Output, bias: &Variable, data_format: &str) -> Result<Output> {
    let (g, scope) = g.enter("BiasAdd")?;
    let bias = bias.value()?;
    g.named(scope.name()).bias_add_with(value, bias, Some(data_format))
}
