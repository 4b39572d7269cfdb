//! Optimizers with a proximal step for L1 and L2 regularization.

use super::Optimizer;
use super::apply::{Update, both_ways, check_positive, common, setters};
use super::base::{Hyperparameter, OptimizerBase};
use crate::error::Result;
use crate::graph::{Gradient, Graph, IndexedSlices, Operation, Output};
use crate::train::variable::Variable;

/// Gradient descent with a proximal step (`tf.train.ProximalGradientDescentOptimizer`; Duchi and Singer, 2009).
pub struct ProximalGradientDescentOptimizer {
    base: OptimizerBase,
    learning_rate: Hyperparameter,
    l1_regularization_strength: Hyperparameter,
    l2_regularization_strength: Hyperparameter,
}

impl ProximalGradientDescentOptimizer {
    /// Gradient descent with this learning rate and no regularization, named `ProximalGradientDescent`.
    pub fn new(learning_rate: impl Into<Hyperparameter>) -> ProximalGradientDescentOptimizer {
        ProximalGradientDescentOptimizer {
            base: OptimizerBase::new("ProximalGradientDescent"),
            learning_rate: learning_rate.into(),
            l1_regularization_strength: 0.0.into(),
            l2_regularization_strength: 0.0.into(),
        }
    }

    fn update(&self, g: &Graph, prepared: &[Output], gradient: Gradient, variable: &Variable) -> Result<Operation> {
        let update = Update::new("ProximalGradientDescent").tensors(&["alpha", "l1", "l2"], prepared);
        update.apply(g, &self.base, gradient, variable)
    }
}

common!(ProximalGradientDescentOptimizer);

setters!(ProximalGradientDescentOptimizer {
    /// The strength of L1 regularization.
    l1_regularization_strength: impl Into<Hyperparameter>;
    /// The strength of L2 regularization.
    l2_regularization_strength: impl Into<Hyperparameter>;
});

fn tensors(g: &Graph, rate: &Hyperparameter, l1: &Hyperparameter, l2: &Hyperparameter) -> Result<Vec<Output>> {
    Ok(vec![
        rate.to_tensor(g, "learning_rate")?,
        l1.to_tensor(g, "l1_regularization_strength")?,
        l2.to_tensor(g, "l2_regularization_strength")?,
    ])
}

impl Optimizer for ProximalGradientDescentOptimizer {
    fn base(&self) -> &OptimizerBase {
        &self.base
    }

    fn prepare(&self, g: &Graph) -> Result<Vec<Output>> {
        tensors(g, &self.learning_rate, &self.l1_regularization_strength, &self.l2_regularization_strength)
    }

    both_ways!();
}

/// Adagrad with a proximal step (`tf.train.ProximalAdagradOptimizer`). The slot `accumulator` holds the sum of squared
/// gradients.
pub struct ProximalAdagradOptimizer {
    base: OptimizerBase,
    learning_rate: Hyperparameter,
    initial_accumulator_value: f64,
    l1_regularization_strength: Hyperparameter,
    l2_regularization_strength: Hyperparameter,
}

impl ProximalAdagradOptimizer {
    /// Adagrad with this learning rate, sums that begin at 0.1 and no regularization, named `ProximalAdagrad`.
    pub fn new(learning_rate: impl Into<Hyperparameter>) -> ProximalAdagradOptimizer {
        ProximalAdagradOptimizer {
            base: OptimizerBase::new("ProximalAdagrad"),
            learning_rate: learning_rate.into(),
            initial_accumulator_value: 0.1,
            l1_regularization_strength: 0.0.into(),
            l2_regularization_strength: 0.0.into(),
        }
    }

    fn update(&self, g: &Graph, prepared: &[Output], gradient: Gradient, variable: &Variable) -> Result<Operation> {
        let update = Update::new("ProximalAdagrad").slot(self.base.slot(variable, "accumulator")?);
        update.tensors(&["lr", "l1", "l2"], prepared).apply(g, &self.base, gradient, variable)
    }
}

common!(ProximalAdagradOptimizer);

setters!(ProximalAdagradOptimizer {
    /// What the sums begin at, more than zero.
    initial_accumulator_value: f64;
    /// The strength of L1 regularization.
    l1_regularization_strength: impl Into<Hyperparameter>;
    /// The strength of L2 regularization.
    l2_regularization_strength: impl Into<Hyperparameter>;
});

impl Optimizer for ProximalAdagradOptimizer {
    fn base(&self) -> &OptimizerBase {
        &self.base
    }

    fn create_slots(&self, g: &Graph, variables: &[Variable]) -> Result<()> {
        check_positive("initial_accumulator_value", self.initial_accumulator_value)?;
        for variable in variables {
            let initial = self.base.constant_beside(g, variable, self.initial_accumulator_value)?;
            self.base.get_or_make_slot(g, variable, initial, "accumulator", self.base.name())?;
        }
        Ok(())
    }

    fn prepare(&self, g: &Graph) -> Result<Vec<Output>> {
        tensors(g, &self.learning_rate, &self.l1_regularization_strength, &self.l2_regularization_strength)
    }

    both_ways!();
}
