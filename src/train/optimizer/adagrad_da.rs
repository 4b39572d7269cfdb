//! Adagrad with dual averaging.

use super::Optimizer;
use super::apply::{Scalar, Update, both_ways, check_positive, common, setters};
use super::base::{Hyperparameter, OptimizerBase};
use crate::error::Result;
use crate::graph::{Gradient, Graph, IndexedSlices, Operation, Output};
use crate::train::variable::Variable;

/// Adagrad with dual averaging (`tf.train.AdagradDAOptimizer`), which keeps linear models sparse. Slots hold the sums of
/// gradients and of squared gradients; both count from step one, so the optimizer reads the step counter.
pub struct AdagradDAOptimizer {
    base: OptimizerBase,
    learning_rate: Hyperparameter,
    global_step: Variable,
    initial_gradient_squared_accumulator_value: f64,
    l1_regularization_strength: Hyperparameter,
    l2_regularization_strength: Hyperparameter,
}

impl AdagradDAOptimizer {
    /// Dual averaging with this learning rate and int64 step counter; sums of squares begin at 0.1, there is no
    /// regularization. Named `AdagradDA`.
    pub fn new(learning_rate: impl Into<Hyperparameter>, global_step: &Variable) -> AdagradDAOptimizer {
        AdagradDAOptimizer {
            base: OptimizerBase::new("AdagradDA"),
            learning_rate: learning_rate.into(),
            global_step: global_step.clone(),
            initial_gradient_squared_accumulator_value: 0.1,
            l1_regularization_strength: 0.0.into(),
            l2_regularization_strength: 0.0.into(),
        }
    }

    fn update(&self, g: &Graph, prepared: &[Output], gradient: Gradient, variable: &Variable) -> Result<Operation> {
        let step = {
            let device = g.op_device(variable.op()?);
            let _device = (!device.is_empty()).then(|| g.device(&device));
            g.identity(prepared[1])?
        };
        Update::new("AdagradDA")
            .slot(self.base.slot(variable, "gradient_accumulator")?)
            .slot(self.base.slot(variable, "gradient_squared_accumulator")?)
            .scalar("lr", Scalar::Tensor(prepared[0]))
            .scalar("l1", Scalar::Cast(&self.l1_regularization_strength))
            .scalar("l2", Scalar::Cast(&self.l2_regularization_strength))
            .scalar("global_step", Scalar::Exact(step))
            .apply(g, &self.base, gradient, variable)
    }
}

common!(AdagradDAOptimizer);

setters!(AdagradDAOptimizer {
    /// What the sums of squares begin at, more than zero.
    initial_gradient_squared_accumulator_value: f64;
    /// The strength of L1 regularization.
    l1_regularization_strength: impl Into<Hyperparameter>;
    /// The strength of L2 regularization.
    l2_regularization_strength: impl Into<Hyperparameter>;
});

impl Optimizer for AdagradDAOptimizer {
    fn base(&self) -> &OptimizerBase {
        &self.base
    }

    fn create_slots(&self, g: &Graph, variables: &[Variable]) -> Result<()> {
        let initial = self.initial_gradient_squared_accumulator_value;
        check_positive("initial_gradient_squared_accumulator_value", initial)?;
        for variable in variables {
            let sums = self.base.constant_beside(g, variable, 0.0)?;
            let squares = self.base.constant_beside(g, variable, initial)?;
            self.base.get_or_make_slot(g, variable, sums, "gradient_accumulator", self.base.name())?;
            self.base.get_or_make_slot(g, variable, squares, "gradient_squared_accumulator", self.base.name())?;
        }
        Ok(())
    }

    fn prepare(&self, g: &Graph) -> Result<Vec<Output>> {
        let rate = self.learning_rate.to_tensor(g, "learning_rate")?;
        let _beside = g.colocate_with(rate.op)?;
        let step = {
            let (g, scope) = g.enter("Identity")?;
            let value = self.global_step.value()?;
            g.named(scope.name()).identity(value)?
        };
        Ok(vec![rate, g.add(step, 1i32)?])
    }

    both_ways!();
}
