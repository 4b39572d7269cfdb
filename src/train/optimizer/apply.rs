//! One update: the training op with its inputs cast to the variable's dtype.

use super::base::{Hyperparameter, OptimizerBase};
use crate::error::{Error, Result, bail};
use crate::graph::attr::IntoAttr;
use crate::graph::{Gradient, Graph, Operation, Output};
use crate::ops::convert::Arg;
use crate::ops::state::AssignOptions;
use crate::proto::AttrValue;
use crate::tensor::DType;
use crate::train::variable::Variable;

/// A number that an update takes beside gradient and slots.
pub(super) enum Scalar<'a> {
    /// A tensor, cast to the variable's dtype.
    Tensor(Output),
    /// A tensor that is passed as it is.
    Exact(Output),
    /// A variable's value.
    Variable(&'a Variable),
    /// A hyperparameter, cast to the variable's dtype.
    Cast(&'a Hyperparameter),
}

/// A number that is ready to be passed on: a tensor, or a variable by handle that is read within the op's scope.
#[derive(Clone)]
enum Ready {
    Output(Output),
    Read(Variable),
}

/// An update of a variable by one of the training ops.
pub(super) struct Update<'a> {
    op: &'a str,
    slots: Vec<Variable>,
    scalars: Vec<(&'a str, Scalar<'a>)>,
    attrs: Vec<(&'a str, AttrValue)>,
}

impl<'a> Update<'a> {
    /// An update by the op `Apply<op>` and its kin.
    pub fn new(op: &'a str) -> Update<'a> {
        Update { op, slots: Vec::new(), scalars: Vec::new(), attrs: Vec::new() }
    }

    /// The next slot.
    pub fn slot(mut self, slot: Variable) -> Update<'a> {
        self.slots.push(slot);
        self
    }

    /// The input of that name.
    pub fn scalar(mut self, name: &'a str, scalar: Scalar<'a>) -> Update<'a> {
        self.scalars.push((name, scalar));
        self
    }

    /// The inputs of these names, tensors that are cast.
    pub fn tensors(self, names: &[&'a str], tensors: &[Output]) -> Update<'a> {
        names.iter().zip(tensors).fold(self, |u, (name, &tensor)| u.scalar(name, Scalar::Tensor(tensor)))
    }

    /// An attribute.
    pub fn attr(mut self, name: &'a str, value: impl IntoAttr) -> Update<'a> {
        self.attrs.push((name, value.into_attr()));
        self
    }

    /// Makes the node.
    ///
    /// # Errors
    /// `InvalidArgument` where gradient and variable don't fit.
    pub fn apply(self, g: &Graph, base: &OptimizerBase, gradient: impl Into<Gradient>, variable: &Variable) -> Result<Operation> {
        let (values, indices) = match gradient.into() {
            Gradient::Dense(output) => (output, None),
            Gradient::Sparse(slices) => (slices.values, Some(slices.indices)),
        };
        let by_handle = if variable.is_resource() { "Resource" } else { "" };
        let sparse = if indices.is_some() { "Sparse" } else { "" };
        let op = format!("{by_handle}{sparse}Apply{}", self.op);
        let Some(record) = crate::ops::lookup(&op) else {
            return Err(Error::not_found(format!("Op type not registered '{op}'")));
        };
        let dtype = if variable.is_resource() { g.dtype(values)? } else { variable.dtype() };
        let mut ready = Vec::with_capacity(self.scalars.len());
        for (name, scalar) in &self.scalars {
            ready.push((*name, cast(g, scalar, dtype)?));
        }
        let (g, scope) = g.enter(&op)?;
        let mut builder = g.op(&op).name(scope.name()).attr("use_locking", base.use_locking());
        let own = std::iter::once(variable).chain(&self.slots);
        let inputs = &record.signature().inputs;
        let slots = self.slots.len() + 1;
        for variable in own {
            builder = builder.input(variable.handle()?);
        }
        for input in inputs.iter().skip(slots) {
            let output = match (input.name.as_str(), indices) {
                ("grad" | "delta", _) => values,
                ("indices", Some(indices)) => indices,
                (name, _) => match ready.iter().find(|(n, _)| *n == name) {
                    Some((_, Ready::Output(output))) => *output,
                    Some((_, Ready::Read(variable))) => variable.value()?,
                    None => return Err(Error::internal(format!("no value for the input '{name}' of {op}"))),
                },
            };
            builder = builder.input(output);
        }
        for (name, value) in self.attrs {
            builder = builder.attr(name, value);
        }
        builder.finish()
    }
}

fn cast(g: &Graph, scalar: &Scalar, dtype: DType) -> Result<Ready> {
    Ok(Ready::Output(match scalar {
        Scalar::Exact(output) => *output,
        Scalar::Tensor(output) => g.cast(*output, dtype)?,
        Scalar::Variable(variable) if variable.is_resource() && variable.dtype() == dtype => {
            return Ok(Ready::Read((*variable).clone()));
        }
        Scalar::Variable(variable) => Hyperparameter::from(*variable).cast(g, dtype)?,
        Scalar::Cast(parameter) => parameter.cast(g, dtype)?,
    }))
}

/// Refuses a first value of a sum that isn't more than zero.
pub(super) fn check_positive(name: &str, value: f64) -> Result<()> {
    if value <= 0.0 {
        bail!(InvalidArgument, "{name} must be positive: {value}");
    }
    Ok(())
}

/// Assigns to a variable.
pub(super) fn assign(g: &Graph, base: &OptimizerBase, variable: &Variable, value: impl Into<Arg>) -> Result<Operation> {
    if variable.is_resource() {
        return Ok(variable.assign(value)?.op());
    }
    let options = AssignOptions { use_locking: Some(base.use_locking()), ..AssignOptions::default() };
    Ok(g.assign_with(variable.handle()?, value, options)?.op)
}

/// Subtracts from a variable.
pub(super) fn assign_sub(g: &Graph, base: &OptimizerBase, variable: &Variable, value: impl Into<Arg>) -> Result<Operation> {
    if variable.is_resource() {
        return Ok(variable.assign_sub(value)?.op());
    }
    g.call("AssignSub").arg(variable.handle()?).arg(value).attr("use_locking", base.use_locking()).finish()
}

/// Makes the setters that every optimizer has, and its way to the base.
macro_rules! common {
    ($type:ident) => {
        impl $type {
            /// The same optimizer under another name, which names its operation and its slots.
            #[must_use]
            pub fn name(mut self, name: &str) -> $type {
                self.base.set_name(name);
                self
            }

            /// The same optimizer, whose updates take locks or don't.
            #[must_use]
            pub fn use_locking(mut self, use_locking: bool) -> $type {
                self.base.set_use_locking(use_locking);
                self
            }
        }
    };
}
pub(super) use common;

/// Makes the two ways of applying a gradient from `update`, which takes either kind.
macro_rules! both_ways {
    () => {
        fn apply_dense(&self, g: &Graph, prepared: &[Output], gradient: Output, variable: &Variable) -> Result<Operation> {
            self.update(g, prepared, gradient.into(), variable)
        }

        fn apply_sparse(
            &self,
            g: &Graph,
            prepared: &[Output],
            gradient: IndexedSlices,
            variable: &Variable,
        ) -> Result<Operation> {
            self.update(g, prepared, Gradient::Sparse(gradient), variable)
        }
    };
}
pub(super) use both_ways;

/// Makes setters of fields.
macro_rules! setters {
    ($type:ident { $($(#[$doc:meta])* $field:ident: $argument:ty;)* }) => {
        impl $type {
            $($(#[$doc])*
            #[must_use]
            pub fn $field(mut self, $field: $argument) -> $type {
                self.$field = $field.into();
                self
            })*
        }
    };
}
pub(super) use setters;
