//! Activations and biases.

use crate::error::{Result, bail};
use crate::graph::{Graph, Output};
use crate::ops::convert::Arg;
use crate::ops::nn::python::cast;
use crate::tensor::DType;

macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident => $op:literal;)*) => {
        impl Graph {
            $($(#[$doc])*
            ///
            /// # Errors
            /// `InvalidArgument` for a dtype that the op doesn't take.
            pub fn $name(&self, features: Output) -> Result<Output> {
                self.op($op).input(features).output()
            })*
        }
    };
}

unary! {
    /// `max(x, 0)` of each element (`tf.nn.relu`).
    relu => "Relu";
    /// `min(max(x, 0), 6)` of each element (`tf.nn.relu6`).
    relu6 => "Relu6";
    /// `x`, or `exp(x) - 1` where `x < 0` (`tf.nn.elu`).
    elu => "Elu";
    /// The scaled exponential linear unit of each element (`tf.nn.selu`).
    selu => "Selu";
    /// `log(exp(x) + 1)` of each element (`tf.nn.softplus`).
    softplus => "Softplus";
    /// `x / (|x| + 1)` of each element (`tf.nn.softsign`).
    softsign => "Softsign";
}

impl Graph {
    /// `x`, or `alpha * x` where `x < 0` (`tf.nn.leaky_relu`, whose `alpha` is 0.2 if not given). Integers become float.
    ///
    /// # Errors
    /// `InvalidArgument` for a dtype that the op doesn't take.
    pub fn leaky_relu(&self, features: Output, alpha: f32) -> Result<Output> {
        let (g, scope) = self.enter("LeakyRelu")?;
        let integer = g.dtype(features)?.is_integer();
        let features = if integer { cast(&g, features, DType::Float)? } else { features };
        g.op("LeakyRelu").name(scope.name()).input(features).attr("alpha", alpha).output()
    }

    /// The positive parts of `x` and `-x`, one behind the other along the last dimension (`tf.nn.crelu`).
    ///
    /// # Errors
    /// `InvalidArgument` for a dtype that the op doesn't take.
    pub fn crelu(&self, features: Output) -> Result<Output> {
        let (g, scope) = self.enter("CRelu")?;
        let negative = g.op("Neg").input(features).output()?;
        let both = g.named(scope.name()).concat(&[features.into(), negative.into()], -1i32)?;
        g.relu(both)
    }

    /// Adds a vector to the last dimension of a tensor (`tf.nn.bias_add`).
    ///
    /// # Errors
    /// `InvalidArgument` where the value has less than two dimensions, or the bias isn't a vector of the last one's size.
    pub fn bias_add(&self, value: Output, bias: impl Into<Arg>) -> Result<Output> {
        self.bias_add_with(value, bias, None)
    }

    /// The same along the channels of a data format: `N...C` or `NC...`.
    ///
    /// # Errors
    /// As [`Graph::bias_add`]; for another data format.
    pub fn bias_add_with(&self, value: Output, bias: impl Into<Arg>, data_format: Option<&str>) -> Result<Output> {
        let (g, scope) = self.enter("BiasAdd")?;
        let data_format = match data_format {
            Some(format) if format.starts_with("NC") => "NCHW",
            Some(format) if !(format.starts_with('N') && format.ends_with('C')) => {
                bail!(InvalidArgument, "`data_format` must be of the form `N...C` or `NC...`. Received: data_format={format}")
            }
            _ => "NHWC",
        };
        let bias = g.convert(&bias.into(), Some(g.dtype(value)?), "bias")?;
        g.op("BiasAdd").name(scope.name()).input(value).input(bias).attr("data_format", data_format).output()
    }

    /// `x w + b` (`tf.nn.xw_plus_b`).
    ///
    /// # Errors
    /// `InvalidArgument` for shapes or dtypes that don't fit.
    pub fn xw_plus_b(&self, x: Output, weights: Output, biases: Output) -> Result<Output> {
        let (g, scope) = self.enter("xw_plus_b")?;
        let product = g.op("MatMul").input(x).input(weights).output()?;
        g.named(scope.name()).bias_add(product, biases)
    }

    /// `max(x w + b, 0)` (`tf.nn.relu_layer`).
    ///
    /// # Errors
    /// `InvalidArgument` for shapes or dtypes that don't fit.
    pub fn relu_layer(&self, x: Output, weights: Output, biases: Output) -> Result<Output> {
        let (g, scope) = self.enter("relu_layer")?;
        let product = g.op("MatMul").input(x).input(weights).output()?;
        let sum = g.bias_add(product, biases)?;
        g.named(scope.name()).relu(sum)
    }
}
