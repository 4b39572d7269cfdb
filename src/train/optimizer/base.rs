//! What every optimizer has: its name, its slots, and hyperparameters.

use crate::error::{Error, Result, bail};
use crate::graph::{Graph, Output};
use crate::ops::convert::{Arg, cast_value};
use crate::tensor::{DType, Shape};
use crate::train::create::VariableOptions;
use crate::train::initializer::Initializer;
use crate::train::slot;
use crate::train::variable::Variable;
use indexmap::IndexMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// A number that steers an optimizer: a value, a tensor of the graph, or a function that makes one when the updates are
/// built. A float64 value counts as Python's float and becomes a float32 constant.
#[derive(Clone)]
pub enum Hyperparameter {
    /// A value or a tensor.
    Arg(Arg),
    /// A variable.
    Variable(Variable),
    /// A function that makes a tensor.
    Function(Arc<dyn Fn(&Graph) -> Result<Output> + Send + Sync>),
}

impl From<&Variable> for Hyperparameter {
    fn from(variable: &Variable) -> Hyperparameter {
        Hyperparameter::Variable(variable.clone())
    }
}

impl<T: Into<Arg>> From<T> for Hyperparameter {
    fn from(value: T) -> Hyperparameter {
        Hyperparameter::Arg(value.into())
    }
}

impl Hyperparameter {
    /// A hyperparameter that a function makes.
    pub fn from_fn(function: impl Fn(&Graph) -> Result<Output> + Send + Sync + 'static) -> Hyperparameter {
        Hyperparameter::Function(Arc::new(function))
    }

    /// The hyperparameter as a tensor, of which a value becomes a constant of that name.
    ///
    /// # Errors
    /// What the function returns; `InvalidArgument` for a list that isn't a tensor.
    pub fn to_tensor(&self, g: &Graph, name: &str) -> Result<Output> {
        match self {
            Hyperparameter::Arg(arg) => g.convert_to_tensor(as_python(arg)?, None, name),
            Hyperparameter::Variable(variable) => variable.value(),
            Hyperparameter::Function(function) => function(g),
        }
    }

    /// The hyperparameter in a dtype, as `tf.cast` gives it: a value becomes the constant `Cast/x`.
    ///
    /// # Errors
    /// As [`Hyperparameter::to_tensor`].
    pub fn cast(&self, g: &Graph, dtype: DType) -> Result<Output> {
        let output = match self {
            Hyperparameter::Arg(Arg::Output(output)) => Some(*output),
            Hyperparameter::Variable(v) if v.is_resource() && v.dtype() == dtype => Some(v.value()?),
            Hyperparameter::Function(function) => Some(function(g)?),
            _ => None,
        };
        if let Some(output) = output {
            return g.cast(output, dtype);
        }
        let (g, scope) = g.enter("Cast")?;
        let x = self.to_tensor(&g, "x")?;
        if g.dtype(x)? == dtype { Ok(x) } else { g.op("Cast").name(scope.name()).input(x).attr("DstT", dtype).output() }
    }

    /// The hyperparameter as the argument of an operator.
    ///
    /// # Errors
    /// As [`Hyperparameter::to_tensor`].
    pub(crate) fn operand(&self, g: &Graph) -> Result<Arg> {
        match self {
            Hyperparameter::Arg(arg) => as_python(arg),
            other => Ok(Arg::Output(other.to_tensor(g, "Const")?)),
        }
    }

    /// The value, where it is known when the optimizer is made.
    pub(in crate::train) fn number(&self) -> Option<f64> {
        let Hyperparameter::Arg(arg) = self else { return None };
        let value = cast_value(&arg.value().ok()??, DType::Double).ok()?;
        value.as_slice::<f64>().ok()?.first().copied()
    }
}

/// A float64 value as Python's float.
fn as_python(arg: &Arg) -> Result<Arg> {
    match arg {
        Arg::Value(value) if value.dtype() == DType::Double => Ok(Arg::Value(cast_value(value, DType::Float)?)),
        other => Ok(other.clone()),
    }
}

type Slots = IndexMap<String, IndexMap<Output, Variable>>;

/// What every optimizer has: a name, whether its updates take locks, and the variables that it keeps.
pub struct OptimizerBase {
    name: String,
    use_locking: bool,
    slots: Mutex<Slots>,
    others: Mutex<Vec<(String, Variable)>>,
}

impl OptimizerBase {
    /// The base of an optimizer of this name, which names its operation and its slots.
    pub fn new(name: &str) -> OptimizerBase {
        OptimizerBase { name: name.to_string(), use_locking: false, slots: Mutex::default(), others: Mutex::default() }
    }

    /// The optimizer's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether updates take locks: recorded in the nodes; updates of one variable never overlap in any case.
    pub fn use_locking(&self) -> bool {
        self.use_locking
    }

    pub(super) fn set_name(&mut self, name: &str) {
        self.name = name.to_string();
    }

    pub(super) fn set_use_locking(&mut self, use_locking: bool) {
        self.use_locking = use_locking;
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn others(&self) -> MutexGuard<'_, Vec<(String, Variable)>> {
        self.others.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The slot of that name that was made for a variable.
    ///
    /// # Errors
    /// `NotFound` if none was made.
    pub fn slot(&self, variable: &Variable, name: &str) -> Result<Variable> {
        let key = variable.handle()?;
        let found = self.slots().get(name).and_then(|slots| slots.get(&key)).cloned();
        found.ok_or_else(|| Error::not_found(format!("there is no slot '{name}' of the variable {}", variable.name())))
    }

    fn get_or_make(&self, variable: &Variable, name: &str, make: impl FnOnce() -> Result<Variable>) -> Result<Variable> {
        if let Ok(found) = self.slot(variable, name) {
            return Ok(found);
        }
        let slot = make()?;
        self.slots().entry(name.to_string()).or_default().insert(variable.handle()?, slot.clone());
        Ok(slot)
    }

    /// The slot `name` of a variable, made as `<variable>/<op_name>` with zeros if it isn't there.
    ///
    /// # Errors
    /// As [`Graph::get_variable_with`].
    pub fn zeros_slot(&self, g: &Graph, variable: &Variable, name: &str, op_name: &str) -> Result<Variable> {
        self.get_or_make(variable, name, || slot::create_zeros_slot(g, variable, op_name, true))
    }

    /// The slot `name` of a variable, made as `<variable>/<op_name>` with a tensor's value if it isn't there.
    ///
    /// # Errors
    /// As [`Graph::get_variable_with`].
    pub fn get_or_make_slot(&self, g: &Graph, variable: &Variable, value: Output, name: &str, op_name: &str) -> Result<Variable> {
        self.get_or_make(variable, name, || slot::create_slot(g, variable, value, op_name, true))
    }

    /// The slot `name` of a variable, made as `<variable>/<op_name>` by an initializer if it isn't there.
    ///
    /// # Errors
    /// As [`Graph::get_variable_with`].
    pub fn get_or_make_slot_with_initializer(
        &self,
        g: &Graph,
        variable: &Variable,
        initializer: Initializer,
        name: &str,
        op_name: &str,
    ) -> Result<Variable> {
        let (shape, dtype): (Shape, DType) = (variable.shape(), variable.dtype());
        let make = || slot::create_slot_with_initializer(g, variable, initializer, shape, dtype, op_name);
        self.get_or_make(variable, name, make)
    }

    /// A constant of a variable's shape and dtype, beside it.
    pub(super) fn constant_beside(&self, g: &Graph, variable: &Variable, value: f64) -> Result<Output> {
        let Some(dims) = variable.shape().to_dims() else {
            bail!(InvalidArgument, "{} has slots for variables of known shape alone, not {}", self.name, variable.name())
        };
        let _beside = g.colocate_with(variable.op()?)?;
        Initializer::constant(value).emit(g, &dims, Some(variable.dtype()), None)
    }

    /// A variable of the optimizer that belongs to none of those that it changes, made beside one of them if it isn't
    /// there.
    ///
    /// # Errors
    /// As [`Graph::variable_with`].
    pub fn create_non_slot_variable(
        &self,
        g: &Graph,
        initial: &Hyperparameter,
        name: &str,
        beside: &Variable,
    ) -> Result<Variable> {
        if let Some(found) = self.non_slot_variable(g, name) {
            return Ok(found);
        }
        let _beside = g.colocate_with(beside.op()?)?;
        let options =
            VariableOptions { trainable: Some(false), use_resource: Some(beside.is_resource()), ..VariableOptions::default() };
        let variable = g.named(name).variable_with(initial.operand(g)?, options)?;
        self.others().push((name.to_string(), variable.clone()));
        Ok(variable)
    }

    /// The variable of the optimizer of that name in this graph.
    pub fn non_slot_variable(&self, g: &Graph, name: &str) -> Option<Variable> {
        let here = |v: &Variable| v.graph().is_ok_and(|own| own.is_same(g));
        self.others().iter().find(|(n, v)| n == name && here(v)).map(|(_, v)| v.clone())
    }

    /// The names of the slots that were made, sorted.
    pub fn slot_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.slots().keys().cloned().collect();
        names.sort();
        names
    }

    /// All variables that were made in this graph, sorted by name.
    pub fn variables(&self, g: &Graph) -> Vec<Variable> {
        let slots = self.slots().values().flat_map(|slots| slots.values().cloned()).collect::<Vec<_>>();
        let others = self.others().iter().map(|(_, v)| v.clone()).collect::<Vec<_>>();
        let here = |v: &Variable| v.graph().is_ok_and(|own| own.is_same(g));
        let mut all: Vec<Variable> = others.into_iter().chain(slots).filter(here).collect();
        all.sort_by(|a, b| a.name().cmp(b.name()));
        all
    }
}
