//! Gradients: the nodes that TensorFlow's `gradients` builds, through loops and conditionals too.

mod accumulate;
mod aggregate;
mod builder;
mod connect;
mod default;
mod function;
mod loop_state;
mod loops;
mod primitive;

use crate::control_flow;
use crate::error::{Result, bail};
use crate::graph::{Gradient, Graph, Output};

/// How gradients that meet at one tensor are added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AggregationMethod {
    /// By one `AddN`.
    #[default]
    AddN,
    /// In pairs, so that each can be freed early (`EXPERIMENTAL_TREE`, `EXPERIMENTAL_ACCUMULATE_N`).
    Tree,
}

/// What the gradient of a tensor is that nothing depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnconnectedGradients {
    /// Nothing.
    #[default]
    None,
    /// A tensor of zeros.
    Zero,
}

/// What [`Graph::gradients`] can be told beside `ys` and `xs`.
#[derive(Clone, Debug, Default)]
pub struct GradientOptions {
    /// The gradients of `ys`, ones where none is given; empty for all ones.
    pub grad_ys: Vec<Option<Gradient>>,
    /// Whether nodes are colocated with those that they are the gradients of.
    pub colocate_gradients_with_ops: bool,
    /// Whether all gradients of a node's inputs are computed before any is used.
    pub gate_gradients: bool,
    /// How gradients that meet are added up.
    pub aggregation_method: AggregationMethod,
    /// Tensors that count as constants.
    pub stop_gradients: Vec<Output>,
    /// What the gradient of an `x` is that no `y` depends on.
    pub unconnected_gradients: UnconnectedGradients,
}

pub(crate) use function::differentiate;

impl Graph {
    /// The gradients of the sum of `ys` by each of `xs` (`tf.gradients`). Nodes are made in the scope `gradients`.
    ///
    /// ```
    /// # use metagraph::{DType, Graph, Session, Tensor};
    /// let g = Graph::new();
    /// let x = g.placeholder(DType::Float, [Some(2)])?;
    /// let y = g.mul(x, x)?;
    /// let dx = g.gradients(&[y], &[x], &Default::default())?[0].and_then(|d| d.dense()).unwrap();
    /// let out = Session::new(&g).run(&[dx], &[(x, &Tensor::from([1f32, 3.0]))])?;
    /// assert_eq!(out[0].to_string(), "f32[2 6]");
    /// # Ok::<(), metagraph::Error>(())
    /// ```
    ///
    /// # Errors
    /// `NotFound` where an op on the way has no gradient; `InvalidArgument` for a complex `y` without a gradient, a
    /// gradient of another dtype class than its `y`, or an `x` that is the first value of a loop variable while the
    /// gradient is taken within the loop; `Unimplemented` for second derivatives of a loop.
    pub fn gradients(&self, ys: &[Output], xs: &[Output], options: &GradientOptions) -> Result<Vec<Option<Gradient>>> {
        if !options.grad_ys.is_empty() && options.grad_ys.len() != ys.len() {
            bail!(InvalidArgument, "Length mismatch. Passed {} grad_ys for {} ys", options.grad_ys.len(), ys.len());
        }
        control_flow::recover(&self.plain())?;
        let context = self.current_context();
        let result = builder::build(self, ys, xs, options);
        self.set_current_context(context);
        result
    }
}
