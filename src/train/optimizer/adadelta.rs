//! Adadelta.

use super::Optimizer;
use super::apply::{Update, both_ways, common, setters};
use super::base::{Hyperparameter, OptimizerBase};
use crate::error::Result;
use crate::graph::{Gradient, Graph, IndexedSlices, Operation, Output};
use crate::train::variable::Variable;

/// Steps in proportion to the size of recent ones (`tf.train.AdadeltaOptimizer`; Zeiler, 2012). Slots `accum` and
/// `accum_update` hold the means of squared gradients and of squared steps.
pub struct AdadeltaOptimizer {
    base: OptimizerBase,
    learning_rate: Hyperparameter,
    rho: Hyperparameter,
    epsilon: Hyperparameter,
}

impl AdadeltaOptimizer {
    /// Adadelta with this learning rate and TensorFlow's defaults: rho 0.95, epsilon 1e-8, named `Adadelta`.
    pub fn new(learning_rate: impl Into<Hyperparameter>) -> AdadeltaOptimizer {
        AdadeltaOptimizer {
            base: OptimizerBase::new("Adadelta"),
            learning_rate: learning_rate.into(),
            rho: 0.95.into(),
            epsilon: 1e-8.into(),
        }
    }

    fn update(&self, g: &Graph, prepared: &[Output], gradient: Gradient, variable: &Variable) -> Result<Operation> {
        Update::new("Adadelta")
            .slot(self.base.slot(variable, "accum")?)
            .slot(self.base.slot(variable, "accum_update")?)
            .tensors(&["lr", "rho", "epsilon"], prepared)
            .apply(g, &self.base, gradient, variable)
    }
}

common!(AdadeltaOptimizer);

setters!(AdadeltaOptimizer {
    /// The decay rate of the means.
    rho: impl Into<Hyperparameter>;
    /// What keeps the divisor from zero.
    epsilon: impl Into<Hyperparameter>;
});

impl Optimizer for AdadeltaOptimizer {
    fn base(&self) -> &OptimizerBase {
        &self.base
    }

    fn create_slots(&self, g: &Graph, variables: &[Variable]) -> Result<()> {
        for variable in variables {
            self.base.zeros_slot(g, variable, "accum", self.base.name())?;
            self.base.zeros_slot(g, variable, "accum_update", self.base.name())?;
        }
        Ok(())
    }

    fn prepare(&self, g: &Graph) -> Result<Vec<Output>> {
        Ok(vec![self.learning_rate.to_tensor(g, "lr")?, self.rho.to_tensor(g, "rho")?, self.epsilon.to_tensor(g, "epsilon")?])
    }

    both_ways!();
}
