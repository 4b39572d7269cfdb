//! Momentum.

use super::Optimizer;
use super::apply::{Update, both_ways, common, setters};
use super::base::{Hyperparameter, OptimizerBase};
use crate::error::Result;
use crate::graph::{Gradient, Graph, IndexedSlices, Operation, Output};
use crate::train::variable::Variable;

/// Gradient descent with momentum (`tf.train.MomentumOptimizer`): the slot `momentum` gathers gradients, each step keeping
/// a share of it.
pub struct MomentumOptimizer {
    base: OptimizerBase,
    learning_rate: Hyperparameter,
    momentum: Hyperparameter,
    use_nesterov: bool,
}

impl MomentumOptimizer {
    /// Momentum with this learning rate and share, named `Momentum`.
    pub fn new(learning_rate: impl Into<Hyperparameter>, momentum: impl Into<Hyperparameter>) -> MomentumOptimizer {
        MomentumOptimizer {
            base: OptimizerBase::new("Momentum"),
            learning_rate: learning_rate.into(),
            momentum: momentum.into(),
            use_nesterov: false,
        }
    }

    fn update(&self, g: &Graph, prepared: &[Output], gradient: Gradient, variable: &Variable) -> Result<Operation> {
        Update::new("Momentum")
            .slot(self.base.slot(variable, "momentum")?)
            .tensors(&["lr", "momentum"], prepared)
            .attr("use_nesterov", self.use_nesterov)
            .apply(g, &self.base, gradient, variable)
    }
}

common!(MomentumOptimizer);

setters!(MomentumOptimizer {
    /// Whether the step is taken from where the momentum leads (Sutskever et al., 2013).
    use_nesterov: bool;
});

impl Optimizer for MomentumOptimizer {
    fn base(&self) -> &OptimizerBase {
        &self.base
    }

    fn create_slots(&self, g: &Graph, variables: &[Variable]) -> Result<()> {
        variables.iter().try_for_each(|v| self.base.zeros_slot(g, v, "momentum", self.base.name()).map(drop))
    }

    fn prepare(&self, g: &Graph) -> Result<Vec<Output>> {
        Ok(vec![self.learning_rate.to_tensor(g, "learning_rate")?, self.momentum.to_tensor(g, "momentum")?])
    }

    both_ways!();
}
