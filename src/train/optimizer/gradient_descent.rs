//! Gradient descent.

use super::Optimizer;
use super::apply::{Update, common};
use super::base::{Hyperparameter, OptimizerBase};
use crate::error::Result;
use crate::graph::{Graph, IndexedSlices, Operation, Output};
use crate::train::variable::Variable;

/// Subtracts the gradient times the learning rate (`tf.train.GradientDescentOptimizer`).
pub struct GradientDescentOptimizer {
    base: OptimizerBase,
    learning_rate: Hyperparameter,
}

impl GradientDescentOptimizer {
    /// Gradient descent with this learning rate, named `GradientDescent`.
    pub fn new(learning_rate: impl Into<Hyperparameter>) -> GradientDescentOptimizer {
        GradientDescentOptimizer { base: OptimizerBase::new("GradientDescent"), learning_rate: learning_rate.into() }
    }
}

common!(GradientDescentOptimizer);

impl Optimizer for GradientDescentOptimizer {
    fn base(&self) -> &OptimizerBase {
        &self.base
    }

    fn prepare(&self, g: &Graph) -> Result<Vec<Output>> {
        Ok(vec![self.learning_rate.to_tensor(g, "learning_rate")?])
    }

    fn apply_dense(&self, g: &Graph, prepared: &[Output], gradient: Output, variable: &Variable) -> Result<Operation> {
        Update::new("GradientDescent").tensors(&["alpha"], prepared).apply(g, &self.base, gradient, variable)
    }

    fn apply_sparse(&self, g: &Graph, prepared: &[Output], gradient: IndexedSlices, variable: &Variable) -> Result<Operation> {
        let values = gradient.values;
        if variable.is_resource() {
            let negative = g.neg(values)?;
            let rate = g.cast(prepared[0], g.dtype(values)?)?;
            return g.resource_scatter("Add", variable.handle()?, gradient.indices, g.mul(negative, rate)?);
        }
        let rate = g.cast(prepared[0], variable.dtype())?;
        let delta = g.mul(values, rate)?;
        variable.scatter_op(g, "Sub", gradient.indices.into(), delta.into(), self.base.use_locking())
    }

    fn apply_sparse_duplicate_indices(
        &self,
        g: &Graph,
        prepared: &[Output],
        gradient: IndexedSlices,
        variable: &Variable,
    ) -> Result<Operation> {
        self.apply_sparse(g, prepared, gradient, variable)
    }
}
