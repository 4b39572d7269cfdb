//! Adam.

use super::Optimizer;
use super::apply::{Scalar, Update, assign, assign_sub, common, setters};
use super::base::{Hyperparameter, OptimizerBase};
use crate::error::{Error, Result};
use crate::graph::{Graph, IndexedSlices, Operation, Output};
use crate::tensor::DType;
use crate::train::variable::Variable;

/// Adaptive moment estimation (`tf.train.AdamOptimizer`; Kingma and Ba, 2015).
///
/// Slots `m` and `v` hold the means of gradients and of their squares, and are named `<variable>/Adam` and
/// `<variable>/Adam_1`; the variables `beta1_power` and `beta2_power` hold the powers of the decay rates. A gradient of some
/// rows decays the means of all.
pub struct AdamOptimizer {
    base: OptimizerBase,
    learning_rate: Hyperparameter,
    beta1: Hyperparameter,
    beta2: Hyperparameter,
    epsilon: Hyperparameter,
}

impl AdamOptimizer {
    /// Adam with this learning rate and TensorFlow's defaults: decay rates 0.9 and 0.999, epsilon 1e-8, named `Adam`.
    pub fn new(learning_rate: impl Into<Hyperparameter>) -> AdamOptimizer {
        AdamOptimizer {
            base: OptimizerBase::new("Adam"),
            learning_rate: learning_rate.into(),
            beta1: 0.9.into(),
            beta2: 0.999.into(),
            epsilon: 1e-8.into(),
        }
    }

    fn powers(&self, g: &Graph) -> Result<[Variable; 2]> {
        let get = |name: &str| {
            let missing = || Error::failed_precondition(format!("{name} has not been made in this graph"));
            self.base.non_slot_variable(g, name).ok_or_else(missing)
        };
        Ok([get("beta1_power")?, get("beta2_power")?])
    }
}

common!(AdamOptimizer);

setters!(AdamOptimizer {
    /// The decay rate of the mean of gradients.
    beta1: impl Into<Hyperparameter>;
    /// The decay rate of the mean of squared gradients.
    beta2: impl Into<Hyperparameter>;
    /// What keeps the divisor from zero.
    epsilon: impl Into<Hyperparameter>;
});

/// The value of a variable in this dtype, as arithmetic takes it.
fn power_of(g: &Graph, variable: &Variable, dtype: DType) -> Result<impl Fn() -> Result<Output>> {
    let cast = if variable.is_resource() && variable.dtype() == dtype {
        None
    } else {
        Some(Hyperparameter::from(variable).cast(g, dtype)?)
    };
    let variable = variable.clone();
    Ok(move || match cast {
        Some(cast) => Ok(cast),
        None => variable.value(),
    })
}

/// `slot = slot * beta`, then `slot[indices] += values`; what the slot holds after that.
fn decay_and_add(
    g: &Graph,
    base: &OptimizerBase,
    slot: &Variable,
    beta: Output,
    indices: Output,
    values: Output,
) -> Result<(Output, Operation)> {
    let decayed = g.mul(slot.value()?, beta)?;
    let assigned = assign(g, base, slot, decayed)?;
    let _after = g.control_dependencies(&[assigned])?;
    let added = slot.scatter_op(g, "Add", indices.into(), values.into(), base.use_locking())?;
    if !slot.is_resource() {
        return Ok((added.output(0), added));
    }
    let _after = g.control_dependencies(&[added])?;
    let value = slot.value()?;
    Ok((value, value.op))
}

impl Optimizer for AdamOptimizer {
    fn base(&self) -> &OptimizerBase {
        &self.base
    }

    fn create_slots(&self, g: &Graph, variables: &[Variable]) -> Result<()> {
        if let Some(first) = variables.iter().min_by(|a, b| a.name().cmp(b.name())) {
            self.base.create_non_slot_variable(g, &self.beta1, "beta1_power", first)?;
            self.base.create_non_slot_variable(g, &self.beta2, "beta2_power", first)?;
        }
        for variable in variables {
            self.base.zeros_slot(g, variable, "m", self.base.name())?;
            self.base.zeros_slot(g, variable, "v", self.base.name())?;
        }
        Ok(())
    }

    fn prepare(&self, g: &Graph) -> Result<Vec<Output>> {
        Ok(vec![
            self.learning_rate.to_tensor(g, "learning_rate")?,
            self.beta1.to_tensor(g, "beta1")?,
            self.beta2.to_tensor(g, "beta2")?,
            self.epsilon.to_tensor(g, "epsilon")?,
        ])
    }

    fn apply_dense(&self, g: &Graph, prepared: &[Output], gradient: Output, variable: &Variable) -> Result<Operation> {
        let powers = self.powers(g)?;
        Update::new("Adam")
            .slot(self.base.slot(variable, "m")?)
            .slot(self.base.slot(variable, "v")?)
            .scalar("beta1_power", Scalar::Variable(&powers[0]))
            .scalar("beta2_power", Scalar::Variable(&powers[1]))
            .tensors(&["lr", "beta1", "beta2", "epsilon"], prepared)
            .apply(g, &self.base, gradient, variable)
    }

    fn apply_sparse(&self, g: &Graph, prepared: &[Output], gradient: IndexedSlices, variable: &Variable) -> Result<Operation> {
        let dtype = variable.dtype();
        let powers = self.powers(g)?;
        let beta1_power = power_of(g, &powers[0], dtype)?;
        let beta2_power = power_of(g, &powers[1], dtype)?;
        let mut tensors = [prepared[0]; 4];
        for (tensor, &given) in tensors.iter_mut().zip(prepared) {
            *tensor = g.cast(given, dtype)?;
        }
        let [lr, beta1, beta2, epsilon] = tensors;
        let root = g.sqrt(g.sub(1i32, beta2_power()?)?)?;
        let scaled = g.mul(lr, root)?;
        let lr = g.truediv(scaled, g.sub(1i32, beta1_power()?)?)?;
        let (m, v) = (self.base.slot(variable, "m")?, self.base.slot(variable, "v")?);
        let (values, indices) = (gradient.values, gradient.indices);

        let first = g.mul(values, g.sub(1i32, beta1)?)?;
        let (m, m_op) = decay_and_add(g, &self.base, &m, beta1, indices, first)?;
        let squared = g.mul(values, values)?;
        let second = g.mul(squared, g.sub(1i32, beta2)?)?;
        let (v, v_op) = decay_and_add(g, &self.base, &v, beta2, indices, second)?;
        let root = g.sqrt(v)?;
        let moved = g.mul(lr, m)?;
        let moved = g.truediv(moved, g.add(root, epsilon)?)?;
        let update = assign_sub(g, &self.base, variable, moved)?;
        g.group(&[update, m_op, v_op])
    }

    fn finish(&self, g: &Graph, prepared: &[Output], updates: &[Operation]) -> Result<Operation> {
        let inner = &g.plain();
        let mut all = updates.to_vec();
        {
            let _after = inner.control_dependencies(updates)?;
            let powers = self.powers(inner)?;
            let _beside = inner.colocate_with(powers[0].op()?)?;
            for (power, &beta) in powers.iter().zip(&prepared[1..]) {
                let next = inner.mul(power.value()?, beta)?;
                all.push(assign(inner, &self.base, power, next)?);
            }
        }
        g.group(&all)
    }
}
