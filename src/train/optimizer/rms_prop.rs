//! RMSProp.

use super::Optimizer;
use super::apply::{Update, both_ways, common, setters};
use super::base::{Hyperparameter, OptimizerBase};
use crate::error::Result;
use crate::graph::{Gradient, Graph, IndexedSlices, Operation, Output};
use crate::train::initializer::Initializer;
use crate::train::variable::Variable;

/// Divides gradients by the root of the mean of their squares (`tf.train.RMSPropOptimizer`; Tieleman and Hinton, 2012).
///
/// Slots: `rms`, the mean of squared gradients, which begins at one; `momentum`; where it is centered `mg`, the mean of
/// gradients.
pub struct RMSPropOptimizer {
    base: OptimizerBase,
    learning_rate: Hyperparameter,
    decay: Hyperparameter,
    momentum: Hyperparameter,
    epsilon: Hyperparameter,
    centered: bool,
}

impl RMSPropOptimizer {
    /// RMSProp with this learning rate and TensorFlow's defaults: decay 0.9, no momentum, epsilon 1e-10, not centered, named
    /// `RMSProp`.
    pub fn new(learning_rate: impl Into<Hyperparameter>) -> RMSPropOptimizer {
        RMSPropOptimizer {
            base: OptimizerBase::new("RMSProp"),
            learning_rate: learning_rate.into(),
            decay: 0.9.into(),
            momentum: 0.0.into(),
            epsilon: 1e-10.into(),
            centered: false,
        }
    }

    fn update(&self, g: &Graph, prepared: &[Output], gradient: Gradient, variable: &Variable) -> Result<Operation> {
        let update = if self.centered {
            Update::new("CenteredRMSProp").slot(self.base.slot(variable, "mg")?)
        } else {
            Update::new("RMSProp")
        };
        update
            .slot(self.base.slot(variable, "rms")?)
            .slot(self.base.slot(variable, "momentum")?)
            .tensors(&["lr", "rho", "momentum", "epsilon"], prepared)
            .apply(g, &self.base, gradient, variable)
    }
}

common!(RMSPropOptimizer);

setters!(RMSPropOptimizer {
    /// The decay rate of the means.
    decay: impl Into<Hyperparameter>;
    /// The share of the last step that is taken again.
    momentum: impl Into<Hyperparameter>;
    /// What keeps the divisor from zero.
    epsilon: impl Into<Hyperparameter>;
    /// Whether gradients are divided by the estimate of their variance, rather than of their mean square.
    centered: bool;
});

impl Optimizer for RMSPropOptimizer {
    fn base(&self) -> &OptimizerBase {
        &self.base
    }

    fn create_slots(&self, g: &Graph, variables: &[Variable]) -> Result<()> {
        for variable in variables {
            let ones = if variable.shape().is_fully_known() {
                Initializer::ones()
            } else {
                Initializer::from_value(g.ones_like(variable.value()?)?)
            };
            self.base.get_or_make_slot_with_initializer(g, variable, ones, "rms", self.base.name())?;
            if self.centered {
                self.base.zeros_slot(g, variable, "mg", self.base.name())?;
            }
            self.base.zeros_slot(g, variable, "momentum", self.base.name())?;
        }
        Ok(())
    }

    fn prepare(&self, g: &Graph) -> Result<Vec<Output>> {
        Ok(vec![
            self.learning_rate.to_tensor(g, "learning_rate")?,
            self.decay.to_tensor(g, "decay")?,
            self.momentum.to_tensor(g, "momentum")?,
            self.epsilon.to_tensor(g, "epsilon")?,
        ])
    }

    both_ways!();
}
