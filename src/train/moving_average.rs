//! Moving averages of variables and tensors.

use super::get_variable::GetVariable;
use super::initializer::Initializer;
use super::optimizer::Hyperparameter;
use super::scope::Reuse;
use super::slot;
use super::variable::{Variable, is_variable};
use crate::error::{Result, bail};
use crate::graph::{CollectionItem, Graph, Operation, Output, keys};
use crate::tensor::{DType, Shape};
use indexmap::IndexMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// What an average is kept of.
#[derive(Clone, Debug)]
pub enum Averaged {
    /// A variable; the average begins at its initial value.
    Variable(Variable),
    /// A tensor; the average begins at zero.
    Tensor(Output),
}

impl From<&Variable> for Averaged {
    fn from(variable: &Variable) -> Averaged {
        Averaged::Variable(variable.clone())
    }
}

impl From<Output> for Averaged {
    fn from(output: Output) -> Averaged {
        Averaged::Tensor(output)
    }
}

impl Averaged {
    fn key(&self) -> Result<Output> {
        match self {
            Averaged::Variable(variable) => variable.handle(),
            Averaged::Tensor(output) => Ok(*output),
        }
    }

    fn dtype(&self, g: &Graph) -> Result<DType> {
        match self {
            Averaged::Variable(variable) => Ok(variable.dtype()),
            Averaged::Tensor(output) => g.dtype(*output),
        }
    }

    fn value(&self) -> Result<Output> {
        match self {
            Averaged::Variable(variable) => variable.value(),
            Averaged::Tensor(output) => Ok(*output),
        }
    }
}

/// Keeps moving averages of variables, in variables named `<variable>/ExponentialMovingAverage`
/// (`tf.train.ExponentialMovingAverage`): `average -= (1 - decay) * (average - variable)`.
pub struct ExponentialMovingAverage {
    decay: Hyperparameter,
    num_updates: Option<Hyperparameter>,
    zero_debias: bool,
    name: String,
    averages: Mutex<IndexMap<Output, Variable>>,
}

impl ExponentialMovingAverage {
    /// Averages that keep the share `decay` of what they were at each update.
    pub fn new(decay: impl Into<Hyperparameter>) -> ExponentialMovingAverage {
        ExponentialMovingAverage {
            decay: decay.into(),
            num_updates: None,
            zero_debias: false,
            name: "ExponentialMovingAverage".to_string(),
            averages: Mutex::default(),
        }
    }

    /// The number of updates so far, by which the share is at most `(1 + n) / (10 + n)`, so that averages move faster at
    /// first.
    #[must_use]
    pub fn num_updates(mut self, num_updates: impl Into<Hyperparameter>) -> ExponentialMovingAverage {
        self.num_updates = Some(num_updates.into());
        self
    }

    /// Whether averages of tensors, which begin at zero, are corrected for that.
    #[must_use]
    pub fn zero_debias(mut self, zero_debias: bool) -> ExponentialMovingAverage {
        self.zero_debias = zero_debias;
        self
    }

    /// The name of the averages and of the operation that updates them.
    #[must_use]
    pub fn name(mut self, name: &str) -> ExponentialMovingAverage {
        self.name = name.to_string();
        self
    }

    fn averages(&self) -> MutexGuard<'_, IndexMap<Output, Variable>> {
        self.averages.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// An operation that updates the averages of these variables and tensors, or of all trainable variables. Averages are
    /// made where there are none yet.
    ///
    /// # Errors
    /// `InvalidArgument` for what isn't of floats; as [`Graph::get_variable_with`].
    pub fn apply(&self, g: &Graph, items: Option<&[Averaged]>) -> Result<Operation> {
        let g = &g.plain();
        let items = match items {
            Some(given) => given.to_vec(),
            None => g.trainable_variables().iter().map(Averaged::from).collect(),
        };
        let mut corrected = Vec::new();
        for item in &items {
            let dtype = item.dtype(g)?;
            let key = item.key()?;
            if !dtype.is_floating() {
                bail!(InvalidArgument, "The variables must be half, float, or double: {}", g.tensor_name(key));
            }
            if self.averages().contains_key(&key) {
                continue;
            }
            let average = self.make(g, item)?;
            if self.zero_debias && matches!(item, Averaged::Tensor(_)) {
                corrected.push(key);
            }
            self.averages().insert(key, average);
        }
        let scope = g.name_scope(&self.name)?;
        let mut decay = match &self.decay {
            Hyperparameter::Arg(arg) => g.convert_to_tensor(arg.clone(), Some(DType::Float), "decay")?,
            other => other.to_tensor(g, "decay")?,
        };
        if let Some(count) = &self.num_updates {
            let count = count.cast(&g.named("num_updates"), DType::Float)?;
            let above = g.add(1f32, count)?;
            let share = g.truediv(above, g.add(10f32, count)?)?;
            decay = g.minimum(decay, share)?;
        }
        let mut updates = Vec::with_capacity(items.len());
        for item in &items {
            let key = item.key()?;
            let average = self.averages().get(&key).cloned();
            if let Some(average) = average {
                let decay = Hyperparameter::from(decay);
                updates.push(assign(g, &average, item, &decay, corrected.contains(&key))?);
            }
        }
        g.named(scope.name()).group(&updates)
    }

    fn make(&self, g: &Graph, item: &Averaged) -> Result<Variable> {
        let _outside = g.cleared_control_dependencies();
        let variable = match item {
            Averaged::Tensor(output) => {
                let colocate = is_variable(&g.op_type(output.op));
                return slot::create_zeros_slot_of(g, *output, &self.name, colocate);
            }
            Averaged::Variable(variable) => variable,
        };
        let initial = {
            let device = g.op_device(variable.op()?);
            let _device = (!device.is_empty()).then(|| g.device(&device));
            let initialized = variable.is_initialized()?;
            let Some(initial) = variable.initial_value()? else {
                bail!(InvalidArgument, "variable {} has no initial value", variable.name())
            };
            g.cond(initialized, |_| variable.read_value(), |_| Ok(initial))?
        };
        let average = slot::create_slot(g, variable, initial, &self.name, true)?;
        g.add_to_collection(keys::MOVING_AVERAGE_VARIABLES, CollectionItem::Object(Arc::new(variable.clone())));
        Ok(average)
    }

    /// The average that is kept of a variable or tensor.
    pub fn average(&self, item: impl Into<Averaged>) -> Option<Variable> {
        self.averages().get(&item.into().key().ok()?).cloned()
    }

    /// The name of the average of a variable, made or not.
    pub fn average_name(&self, g: &Graph, variable: &Variable) -> String {
        match self.average(variable) {
            Some(average) => average.op_name().to_string(),
            None => g.free_name(&format!("{}/{}", variable.op_name(), self.name)),
        }
    }

    /// The variables and the keys under which a Saver restores them, so that those that have averages get these: the given
    /// ones, or the trainable ones and those of the collection `moving_average_variables`.
    pub fn variables_to_restore(&self, g: &Graph, averaged: Option<&[Variable]>) -> Vec<(String, Variable)> {
        let averaged = match averaged {
            Some(given) => given.to_vec(),
            None => [g.trainable_variables(), g.variables_in(keys::MOVING_AVERAGE_VARIABLES, None)].concat(),
        };
        let mut map: IndexMap<String, Variable> = IndexMap::new();
        for variable in &averaged {
            map.insert(self.average_name(g, variable), variable.clone());
        }
        for variable in g.global_variables() {
            if !averaged.iter().any(|v| v.name() == variable.name()) {
                map.entry(variable.op_name().to_string()).or_insert(variable);
            }
        }
        map.into_iter().collect()
    }
}

/// `x - value`, in which a variable by handle is read within the scope of the operator.
fn minus(g: &Graph, x: Output, item: &Averaged) -> Result<Output> {
    let (g, scope) = g.enter("sub")?;
    let y = item.value()?;
    g.op("Sub").name(scope.name()).input(x).input(y).output()
}

fn assign(g: &Graph, average: &Variable, item: &Averaged, decay: &Hyperparameter, zero_debias: bool) -> Result<Operation> {
    let (g, scope) = g.enter("AssignMovingAvg")?;
    let mut rest = match decay.number() {
        Some(decay) => g.named("decay").constant((1.0 - decay) as f32)?,
        None => g.sub(1f32, decay.operand(&g)?)?,
    };
    rest = g.cast(rest, average.dtype())?;
    if zero_debias {
        return assign_corrected(&g, average, item, rest);
    }
    let delta = minus(&g, average.value()?, item)?;
    let delta = g.mul(delta, rest)?;
    if average.is_resource() {
        return Ok(average.assign_sub(delta)?.op());
    }
    Ok(g.named(scope.name()).assign_sub(average.handle()?, delta)?.op)
}

/// The average divided by what it would be of ones, which a second average and a count of updates give.
fn assign_corrected(g: &Graph, average: &Variable, item: &Averaged, rest: Output) -> Result<Operation> {
    let (biased, count) = correction(g, average)?;
    let delta = minus(g, biased.value()?, item)?;
    let biased = biased.assign_sub(g.mul(delta, rest)?)?;
    let count = count.assign_add(1i32)?;
    let kept = g.sub(1f32, rest)?;
    let power = g.math_pow(kept, count.value()?)?;
    let factor = g.sub(1i32, power)?;
    let value = g.truediv(biased.value()?, factor)?;
    if average.is_resource() {
        return Ok(average.assign(value)?.op());
    }
    let name = format!("{}/", g.current_name_scope());
    Ok(g.named(&name).assign(average.handle()?, value)?.op)
}

/// The second average and the count of updates, in the average's own variable scope.
fn correction(g: &Graph, average: &Variable) -> Result<(Variable, Variable)> {
    let scope = g.variable_scope(average.op_name())?;
    let free = |name: &str| {
        if scope.scope().reuse() == Reuse::Yes {
            return name.to_string();
        }
        let prefix = scope.scope().name();
        let taken = |n: &str| g.global_variables().iter().any(|v| v.op_name() == format!("{prefix}/{n}"));
        let numbered = (1..).map(|i| format!("{name}_{i}"));
        std::iter::once(name.to_string()).chain(numbered).find(|n| !taken(n)).unwrap_or_default()
    };
    let make = |name: &str, shape: Shape| {
        let options = GetVariable {
            shape: Some(shape),
            dtype: Some(average.dtype()),
            initializer: Some(Initializer::zeros()),
            trainable: Some(false),
            ..GetVariable::default()
        };
        g.get_variable_with(&free(name), options)
    };
    let _beside = g.colocate_with(average.op()?)?;
    Ok((make("biased", average.shape())?, make("local_step", Shape::scalar())?))
}

impl Graph {
    /// An operation that moves a variable towards a value: `variable -= (1 - decay) * (variable - value)`
    /// (`moving_averages.assign_moving_average`). With `zero_debias` the variable is taken to begin at zero, and corrected
    /// for that.
    ///
    /// # Errors
    /// `InvalidArgument` where dtypes or shapes don't fit.
    pub fn assign_moving_average(
        &self,
        variable: &Variable,
        value: impl Into<Averaged>,
        decay: impl Into<Hyperparameter>,
        zero_debias: bool,
    ) -> Result<Operation> {
        assign(self, variable, &value.into(), &decay.into(), zero_debias)
    }
}
