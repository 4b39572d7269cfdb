//! Follow the regularized leader.

use super::Optimizer;
use super::apply::{Update, both_ways, common, setters};
use super::base::{Hyperparameter, OptimizerBase};
use crate::error::{Result, bail};
use crate::graph::{Gradient, Graph, IndexedSlices, Operation, Output};
use crate::train::initializer::Initializer;
use crate::train::variable::Variable;

/// Follow the regularized leader (`tf.train.FtrlOptimizer`; McMahan et al., 2013). Slots `accum` and `linear` hold the sum
/// of squared gradients and the linear term.
pub struct FtrlOptimizer {
    base: OptimizerBase,
    learning_rate: Hyperparameter,
    learning_rate_power: Hyperparameter,
    initial_accumulator_value: f64,
    l1_regularization_strength: Hyperparameter,
    l2_regularization_strength: Hyperparameter,
    l2_shrinkage_regularization_strength: Hyperparameter,
    beta: Hyperparameter,
    accum_name: Option<String>,
    linear_name: Option<String>,
}

impl FtrlOptimizer {
    /// FTRL with this learning rate and TensorFlow's defaults: the power -0.5, sums that begin at 0.1, no regularization,
    /// named `Ftrl`.
    pub fn new(learning_rate: impl Into<Hyperparameter>) -> FtrlOptimizer {
        FtrlOptimizer {
            base: OptimizerBase::new("Ftrl"),
            learning_rate: learning_rate.into(),
            learning_rate_power: (-0.5).into(),
            initial_accumulator_value: 0.1,
            l1_regularization_strength: 0.0.into(),
            l2_regularization_strength: 0.0.into(),
            l2_shrinkage_regularization_strength: 0.0.into(),
            beta: 0.0.into(),
            accum_name: None,
            linear_name: None,
        }
    }

    /// The name of the slot `accum`, in place of the optimizer's.
    #[must_use]
    pub fn accum_name(mut self, name: &str) -> FtrlOptimizer {
        self.accum_name = Some(name.to_string());
        self
    }

    /// The name of the slot `linear`, in place of the optimizer's.
    #[must_use]
    pub fn linear_name(mut self, name: &str) -> FtrlOptimizer {
        self.linear_name = Some(name.to_string());
        self
    }

    fn check(&self) -> Result<()> {
        let at_least_zero = [
            ("initial_accumulator_value", Some(self.initial_accumulator_value)),
            ("l1_regularization_strength", self.l1_regularization_strength.number()),
            ("l2_regularization_strength", self.l2_regularization_strength.number()),
            ("l2_shrinkage_regularization_strength", self.l2_shrinkage_regularization_strength.number()),
        ];
        for (name, value) in at_least_zero {
            if let Some(value) = value.filter(|v| *v < 0.0) {
                bail!(InvalidArgument, "{name} {value:.6} needs to be positive or zero");
            }
        }
        if let Some(power) = self.learning_rate_power.number().filter(|p| *p > 0.0) {
            bail!(InvalidArgument, "learning_rate_power {power:.6} needs to be negative or zero");
        }
        Ok(())
    }

    fn update(&self, g: &Graph, prepared: &[Output], gradient: Gradient, variable: &Variable) -> Result<Operation> {
        let shrinks = !self.l2_shrinkage_regularization_strength.number().is_some_and(|s| s <= 0.0);
        let update = Update::new(if shrinks { "FtrlV2" } else { "Ftrl" })
            .slot(self.base.slot(variable, "accum")?)
            .slot(self.base.slot(variable, "linear")?)
            .tensors(&["lr", "l1", "l2"], prepared);
        let update = if shrinks { update.tensors(&["l2_shrinkage"], &prepared[3..]) } else { update };
        update.tensors(&["lr_power"], &prepared[4..]).apply(g, &self.base, gradient, variable)
    }
}

common!(FtrlOptimizer);

setters!(FtrlOptimizer {
    /// The power by which the learning rate falls, at most zero.
    learning_rate_power: impl Into<Hyperparameter>;
    /// What the sums of squares begin at.
    initial_accumulator_value: f64;
    /// The strength of L1 regularization.
    l1_regularization_strength: impl Into<Hyperparameter>;
    /// The strength of L2 regularization.
    l2_regularization_strength: impl Into<Hyperparameter>;
    /// The strength of L2 shrinkage, a penalty on the size of gradients' effects.
    l2_shrinkage_regularization_strength: impl Into<Hyperparameter>;
    /// The beta of the paper, which adds to L2 regularization.
    beta: impl Into<Hyperparameter>;
});

impl Optimizer for FtrlOptimizer {
    fn base(&self) -> &OptimizerBase {
        &self.base
    }

    fn create_slots(&self, g: &Graph, variables: &[Variable]) -> Result<()> {
        self.check()?;
        let initial = self.initial_accumulator_value;
        for variable in variables {
            let accum = Initializer::from_fn(move |g, dims, dtype| {
                let ones = g.ones(dims, dtype)?;
                g.mul(ones, initial)
            });
            let name = self.accum_name.as_deref().unwrap_or(self.base.name());
            self.base.get_or_make_slot_with_initializer(g, variable, accum, "accum", name)?;
            let name = self.linear_name.as_deref().unwrap_or(self.base.name());
            self.base.zeros_slot(g, variable, "linear", name)?;
        }
        Ok(())
    }

    fn prepare(&self, g: &Graph) -> Result<Vec<Output>> {
        let rate = self.learning_rate.to_tensor(g, "learning_rate")?;
        let l1 = self.l1_regularization_strength.to_tensor(g, "l1_regularization_strength")?;
        let least = g.maximum(self.learning_rate.operand(g)?, 1e-36f32)?;
        let doubled = g.mul(2f32, least)?;
        let rest = g.truediv(self.beta.operand(g)?, doubled)?;
        let l2 = g.add(self.l2_regularization_strength.operand(g)?, rest)?;
        self.beta.to_tensor(g, "beta")?;
        let shrinkage = self.l2_shrinkage_regularization_strength.to_tensor(g, "l2_shrinkage_regularization_strength")?;
        Ok(vec![rate, l1, l2, shrinkage, self.learning_rate_power.to_tensor(g, "learning_rate_power")?])
    }

    both_ways!();
}
