//! The variables of a graph, and the operations that initialize them.

use super::variable::Variable;
use crate::error::Result;
use crate::graph::{CollectionItem, Graph, Operation, Output, keys};
use crate::tensor::{DType, Tensor};
use std::any::Any;
use std::sync::Arc;

/// The variable that an entry of a collection holds, if it holds one.
pub(crate) fn as_variable(item: &CollectionItem) -> Option<Variable> {
    let CollectionItem::Object(object) = item else { return None };
    let any: Arc<dyn Any + Send + Sync> = object.clone();
    any.downcast::<Variable>().ok().map(|v| (*v).clone())
}

impl Graph {
    /// The variables in a collection, in the order in which they were added; with a scope, those whose name begins with
    /// it.
    pub fn variables_in(&self, collection: &str, scope: Option<&str>) -> Vec<Variable> {
        let all = self.get_collection(collection);
        all.iter().filter_map(as_variable).filter(|v| scope.is_none_or(|s| v.name().starts_with(s))).collect()
    }

    /// The variables that are saved (`tf.global_variables`).
    pub fn global_variables(&self) -> Vec<Variable> {
        self.variables_in(keys::GLOBAL_VARIABLES, None)
    }

    /// The variables that are local to a process (`tf.local_variables`).
    pub fn local_variables(&self) -> Vec<Variable> {
        self.variables_in(keys::LOCAL_VARIABLES, None)
    }

    /// The variables that optimizers train (`tf.trainable_variables`).
    pub fn trainable_variables(&self) -> Vec<Variable> {
        self.variables_in(keys::TRAINABLE_VARIABLES, None)
    }

    /// An operation that initializes these variables (`tf.variables_initializer`), named `init`.
    ///
    /// # Errors
    /// `InvalidArgument` for partitioned variables.
    pub fn variables_initializer(&self, variables: &[Variable]) -> Result<Operation> {
        let name = self.name_or("init");
        if variables.is_empty() {
            return self.plain().named(name).no_op();
        }
        let initializers = variables.iter().map(Variable::initializer).collect::<Result<Vec<_>>>()?;
        self.plain().named(name).group(&initializers)
    }

    /// An operation that initializes the variables that are saved (`tf.global_variables_initializer`).
    ///
    /// # Errors
    /// As [`Graph::variables_initializer`].
    pub fn global_variables_initializer(&self) -> Result<Operation> {
        self.plain().variables_initializer(&self.global_variables())
    }

    /// An operation that initializes the local variables (`tf.local_variables_initializer`).
    ///
    /// # Errors
    /// As [`Graph::variables_initializer`].
    pub fn local_variables_initializer(&self) -> Result<Operation> {
        self.plain().variables_initializer(&self.local_variables())
    }

    /// An operation that initializes all tables (`tf.tables_initializer`), named `init_all_tables`.
    ///
    /// # Errors
    /// `InvalidArgument` for a name that can't be a scope's.
    pub fn tables_initializer(&self) -> Result<Operation> {
        let name = self.name_or("init_all_tables");
        let operation = |item: &CollectionItem| match item {
            CollectionItem::Operation(op) => Some(*op),
            CollectionItem::Tensor(tensor) => Some(tensor.op),
            _ => None,
        };
        let initializers: Vec<Operation> = self.get_collection(keys::TABLE_INITIALIZERS).iter().filter_map(operation).collect();
        if initializers.is_empty() { self.plain().named(name).no_op() } else { self.plain().named(name).group(&initializers) }
    }

    /// The names of the variables that have no value, of those given or else of all global and local ones
    /// (`tf.report_uninitialized_variables`).
    ///
    /// # Errors
    /// `InvalidArgument` for partitioned variables.
    pub fn report_uninitialized_variables(&self, variables: Option<&[Variable]>) -> Result<Output> {
        let variables = match variables {
            Some(given) => given.to_vec(),
            None => [self.global_variables(), self.local_variables()].concat(),
        };
        let mut handles = variables.iter().map(Variable::handle).collect::<Result<Vec<_>>>()?;
        if handles.is_empty() {
            let references = self.get_operations().into_iter();
            handles
                .extend(references.filter(|&op| matches!(&*self.op_type(op), "Variable" | "VariableV2")).map(|op| op.output(0)));
        }
        let (g, _scope) = self.enter("report_uninitialized_variables")?;
        let initialized = handles.iter().map(|&h| g.is_variable_initialized(h)).collect::<Result<Vec<_>>>()?;
        let _device = g.device("/cpu:0");
        if handles.is_empty() {
            return g.constant(Tensor::zeros(DType::String, &[0])?);
        }
        let mask = g.op("LogicalNot").input(g.stack(&initialized, 0)?).output()?;
        let names = handles.iter().map(|h| g.op_name(h.op).into()).collect::<Vec<bytes::Bytes>>();
        let names = g.constant(Tensor::from_strings(&[names.len()], names)?)?;
        g.boolean_mask(names, mask, 0)
    }
}

/// An entry of a collection from its message: the variables of TensorFlow's own collections become variables again.
pub(super) fn from_bytes(g: &Graph, collection: &str, bytes: bytes::Bytes, import_scope: Option<&str>) -> CollectionItem {
    use prost::Message;
    let variables = [
        keys::GLOBAL_VARIABLES,
        keys::TRAINABLE_VARIABLES,
        keys::LOCAL_VARIABLES,
        keys::MODEL_VARIABLES,
        keys::MOVING_AVERAGE_VARIABLES,
        keys::METRIC_VARIABLES,
    ];
    if variables.contains(&collection)
        && let Ok(def) = crate::proto::VariableDef::decode(bytes.clone())
        && let Ok(variable) = Variable::from_proto(g, &def, import_scope)
    {
        return CollectionItem::Object(Arc::new(variable));
    }
    CollectionItem::Bytes(bytes)
}
