//! Adagrad.

use super::Optimizer;
use super::apply::{Update, both_ways, check_positive, common, setters};
use super::base::{Hyperparameter, OptimizerBase};
use crate::error::Result;
use crate::graph::{Gradient, Graph, IndexedSlices, Operation, Output};
use crate::train::initializer::Initializer;
use crate::train::variable::Variable;

/// Steps that grow smaller where gradients were large (`tf.train.AdagradOptimizer`; Duchi et al., 2011). The slot
/// `accumulator` holds the sum of squared gradients.
pub struct AdagradOptimizer {
    base: OptimizerBase,
    learning_rate: Hyperparameter,
    initial_accumulator_value: f64,
}

impl AdagradOptimizer {
    /// Adagrad with this learning rate and sums that begin at 0.1, named `Adagrad`.
    pub fn new(learning_rate: impl Into<Hyperparameter>) -> AdagradOptimizer {
        AdagradOptimizer {
            base: OptimizerBase::new("Adagrad"),
            learning_rate: learning_rate.into(),
            initial_accumulator_value: 0.1,
        }
    }

    fn update(&self, g: &Graph, prepared: &[Output], gradient: Gradient, variable: &Variable) -> Result<Operation> {
        let update = Update::new("Adagrad").slot(self.base.slot(variable, "accumulator")?);
        update.tensors(&["lr"], prepared).apply(g, &self.base, gradient, variable)
    }
}

common!(AdagradOptimizer);

setters!(AdagradOptimizer {
    /// What the sums begin at, more than zero.
    initial_accumulator_value: f64;
});

impl Optimizer for AdagradOptimizer {
    fn base(&self) -> &OptimizerBase {
        &self.base
    }

    fn create_slots(&self, g: &Graph, variables: &[Variable]) -> Result<()> {
        check_positive("initial_accumulator_value", self.initial_accumulator_value)?;
        for variable in variables {
            let initializer = if variable.shape().is_fully_known() {
                Initializer::constant(self.initial_accumulator_value)
            } else {
                let dims = g.shape_tensor(variable.value()?)?;
                let filled = g.fill(dims, self.initial_accumulator_value as f32)?;
                Initializer::from_value(g.cast(filled, variable.dtype())?)
            };
            self.base.get_or_make_slot_with_initializer(g, variable, initializer, "accumulator", self.base.name())?;
        }
        Ok(())
    }

    fn prepare(&self, g: &Graph) -> Result<Vec<Output>> {
        Ok(vec![self.learning_rate.to_tensor(g, "learning_rate")?])
    }

    both_ways!();
}
