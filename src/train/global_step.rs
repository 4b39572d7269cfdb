//! The counter of training steps.

use super::get_variable::GetVariable;
use super::initializer::Initializer;
use super::variable::Variable;
use crate::error::{Result, bail};
use crate::graph::{Graph, keys};
use crate::tensor::DType;

/// `tf.VariableAggregation.ONLY_FIRST_REPLICA`.
const ONLY_FIRST_REPLICA: i32 = 3;

fn check(step: &Variable) -> Result<()> {
    if !step.dtype().is_integer() {
        bail!(InvalidArgument, "Existing \"global_step\" does not have integer type: {}", step.dtype());
    }
    let shape = step.shape();
    if shape.is_fully_known() && shape.rank() != Some(0) {
        bail!(InvalidArgument, "Existing \"global_step\" is not scalar: {shape}");
    }
    Ok(())
}

impl Graph {
    /// The variable that counts training steps, if there is one: the only one of the collection `global_step`, or the
    /// variable of that name (`tf.train.get_global_step`).
    ///
    /// # Errors
    /// `InvalidArgument` if it is no scalar integer.
    pub fn get_global_step(&self) -> Result<Option<Variable>> {
        let found = match &self.variables_in(keys::GLOBAL_STEP, None)[..] {
            [one] => Some(one.clone()),
            [] => self.global_variables().into_iter().find(|v| v.op_name() == keys::GLOBAL_STEP),
            _ => None,
        };
        found.as_ref().map_or(Ok(()), check)?;
        Ok(found)
    }

    /// A new variable that counts training steps, int64 and zero, named `global_step` (`tf.train.create_global_step`).
    ///
    /// # Errors
    /// `InvalidArgument` if there is one already.
    pub fn create_global_step(&self) -> Result<Variable> {
        let g = self.plain();
        if g.get_global_step()?.is_some() {
            bail!(InvalidArgument, "\"global_step\" already exists.");
        }
        let _root = g.name_scope("")?;
        g.get_variable_with(
            keys::GLOBAL_STEP,
            GetVariable {
                shape: Some([0usize; 0].into()),
                dtype: Some(DType::Int64),
                initializer: Some(Initializer::zeros()),
                trainable: Some(false),
                aggregation: ONLY_FIRST_REPLICA,
                collections: Some(vec![keys::GLOBAL_VARIABLES.to_string(), keys::GLOBAL_STEP.to_string()]),
                ..GetVariable::default()
            },
        )
    }

    /// The variable that counts training steps, made if there is none (`tf.train.get_or_create_global_step`).
    ///
    /// # Errors
    /// As [`Graph::get_global_step`].
    pub fn get_or_create_global_step(&self) -> Result<Variable> {
        match self.get_global_step()? {
            Some(step) => Ok(step),
            None => self.create_global_step(),
        }
    }
}
