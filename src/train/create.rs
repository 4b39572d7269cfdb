//! Making variables, with the nodes and names of `tf.Variable`.

use super::variable::{Constraint, Kind, Parts, Single, Variable};
use super::{dependencies, scope};
use crate::error::{Result, bail};
use crate::graph::attr::IntoAttr;
use crate::graph::{CollectionItem, Graph, Output, keys};
use crate::ops::convert::Arg;
use crate::ops::state::AssignOptions;
use crate::tensor::{DType, Shape};
use bytes::Bytes;
use std::sync::{Arc, Mutex};

/// Emits the nodes of an initial value.
pub type InitialFn = Arc<dyn Fn(&Graph) -> Result<Output> + Send + Sync>;

/// What a variable starts with.
#[derive(Clone)]
pub enum InitialValue {
    /// A tensor of the graph, or a value that becomes a constant.
    Arg(Arg),
    /// Nodes that a function emits in the scope `<name>/Initializer`; the way to make a variable within a loop or
    /// conditional.
    Function(InitialFn),
}

impl<T: Into<Arg>> From<T> for InitialValue {
    fn from(value: T) -> InitialValue {
        InitialValue::Arg(value.into())
    }
}

impl InitialValue {
    /// An initial value whose nodes a function emits.
    pub fn from_fn(function: impl Fn(&Graph) -> Result<Output> + Send + Sync + 'static) -> InitialValue {
        InitialValue::Function(Arc::new(function))
    }
}

/// How a variable is made (`tf.Variable`).
#[derive(Clone)]
pub struct VariableOptions {
    /// Whether optimizers train the variable; true unless said otherwise.
    pub trainable: Option<bool>,
    /// The collections that hold it; [`keys::GLOBAL_VARIABLES`] unless said otherwise.
    pub collections: Option<Vec<String>>,
    /// Whether the initial value's shape must be known, and is the variable's.
    pub validate_shape: bool,
    /// A device on which the value that is read is cached.
    pub caching_device: Option<String>,
    /// The dtype that the initial value is converted to.
    pub dtype: Option<DType>,
    /// A projection that optimizers apply after each update.
    pub constraint: Option<Constraint>,
    /// True for a variable that is passed by handle; the variable scope's setting unless said otherwise.
    pub use_resource: Option<bool>,
    /// The variable's shape, if it isn't that of the initial value.
    pub shape: Option<Shape>,
    /// `tf.VariableSynchronization`, recorded with the variable.
    pub synchronization: i32,
    /// `tf.VariableAggregation`, recorded with the variable.
    pub aggregation: i32,
}

impl Default for VariableOptions {
    fn default() -> VariableOptions {
        VariableOptions {
            trainable: None,
            collections: None,
            validate_shape: true,
            caching_device: None,
            dtype: None,
            constraint: None,
            use_resource: None,
            shape: None,
            synchronization: 0,
            aggregation: 0,
        }
    }
}

/// `tf.VariableSynchronization.ON_READ`, under which a variable isn't trained unless that is asked for.
const ON_READ: i32 = 3;

impl Graph {
    /// A variable with an initial value (`tf.Variable`): the nodes `<name>/initial_value`, `<name>`, `<name>/Assign`,
    /// `<name>/read`. The name is that of [`Graph::named`], or `Variable`.
    ///
    /// # Errors
    /// `InvalidArgument` for an initial value whose shape isn't known, or that stands in a loop or conditional.
    pub fn variable(&self, initial_value: impl Into<InitialValue>) -> Result<Variable> {
        self.variable_with(initial_value, VariableOptions::default())
    }

    /// [`Graph::variable`] with options.
    ///
    /// # Errors
    /// As [`Graph::variable`]; `InvalidArgument` where the options contradict the initial value.
    pub fn variable_with(&self, initial_value: impl Into<InitialValue>, options: VariableOptions) -> Result<Variable> {
        let use_resource = match options.use_resource {
            Some(choice) => choice,
            None => scope::current(self).use_resource().unwrap_or(false),
        };
        let g = self.plain();
        let name = self.name_or("Variable").to_string();
        let trainable = match (options.trainable, options.synchronization) {
            (Some(true), ON_READ) => bail!(
                InvalidArgument,
                "Synchronization value can be set to VariableSynchronization.ON_READ only for non-trainable variables. You have \
                 specified trainable=True and synchronization=VariableSynchronization.ON_READ."
            ),
            (Some(choice), _) => choice,
            (None, synchronization) => synchronization != ON_READ,
        };
        let mut collections = options.collections.clone().unwrap_or_else(|| vec![keys::GLOBAL_VARIABLES.to_string()]);
        if trainable && !collections.iter().any(|c| c == keys::TRAINABLE_VARIABLES) {
            collections.push(keys::TRAINABLE_VARIABLES.to_string());
        }
        let alone = g.cleared_control_dependencies();
        let (single, dtype, shape) = if use_resource {
            resource(&g, &name, initial_value.into(), &options)?
        } else {
            reference(&g, &name, initial_value.into(), &options)?
        };
        drop(alone);
        let variable = Variable(Arc::new(Parts {
            graph: g.downgrade(),
            name: g.tensor_name(single.handle),
            dtype,
            shape,
            kind: Kind::Single(single),
            trainable,
            validate_shape: options.validate_shape,
            caching_device: options.caching_device.clone(),
            constraint: options.constraint,
            synchronization: options.synchronization,
            aggregation: options.aggregation,
            save_slice_info: Mutex::new(None),
        }));
        let mut unique: Vec<&String> = Vec::new();
        for collection in &collections {
            if !unique.contains(&collection) {
                unique.push(collection);
                g.add_to_collection(collection, CollectionItem::Object(Arc::new(variable.clone())));
            }
        }
        Ok(variable)
    }
}

/// The `_class` attribute of nodes that stand beside a variable's node.
fn class_of(name: &str) -> crate::proto::AttrValue {
    vec![Bytes::from(format!("loc:@{name}"))].into_attr()
}

/// Emits the initial value's nodes in the scope `Initializer`, beside the variable's node.
fn initialize(g: &Graph, initial: &InitialValue, options: &VariableOptions) -> Result<Output> {
    let _scope = g.name_scope("Initializer")?;
    let _device = g.device("");
    match initial {
        InitialValue::Function(function) => {
            let value = function(g)?;
            g.convert(&value.into(), options.dtype, "initial_value")
        }
        InitialValue::Arg(arg) => g.convert(arg, options.dtype, "initial_value"),
    }
}

fn refuse_context(g: &Graph, name: &str, initial: Output) -> Result<()> {
    if g.op_context(initial.op).is_some() {
        bail!(
            InvalidArgument,
            "Initializer for variable {name} is from inside a control-flow construct, such as a loop or conditional. When \
             creating a variable inside a loop or conditional, use a function as the initializer."
        );
    }
    Ok(())
}

fn reference(g: &Graph, name: &str, initial: InitialValue, options: &VariableOptions) -> Result<(Single, DType, Shape)> {
    let scope = g.name_scope(name)?;
    let own = scope.name().trim_end_matches('/').to_string();
    let declared = |value: Output| -> Result<Shape> {
        match &options.shape {
            Some(shape) => Ok(shape.clone()),
            None if options.validate_shape => g.shape(value),
            None => Ok(Shape::unknown()),
        }
    };
    let node = |value: Output| -> Result<Output> {
        let op = g.op("VariableV2").name(scope.name()).attr("shape", declared(value)?);
        op.attr("dtype", g.dtype(value)?).output()
    };
    let (value, handle) = match &initial {
        InitialValue::Function(_) => {
            let _class = g.attr_scope("_class", Some(class_of(&own)));
            let value = initialize(g, &initial, options)?;
            (value, node(value)?)
        }
        InitialValue::Arg(arg) => {
            let value = g.convert(arg, options.dtype, "initial_value")?;
            refuse_context(g, &own, value)?;
            (value, node(value)?)
        }
    };
    let value_shape = g.shape(value)?;
    if options.validate_shape && !value_shape.is_fully_known() {
        bail!(InvalidArgument, "initial_value must have a shape specified: {} has {value_shape}", g.tensor_name(value));
    }
    let safe = dependencies::guarded(g, scope.name(), value)?;
    let options_of_assign = AssignOptions { validate_shape: options.validate_shape, use_locking: None };
    let initializer = g.assign_with(handle, safe, options_of_assign)?.op;
    let snapshot = match &options.caching_device {
        Some(device) => {
            let _device = (!device.is_empty()).then(|| g.device(device));
            g.named("read").identity(handle)?
        }
        None => {
            let _beside = g.colocate_with(handle.op)?;
            g.named("read").identity(handle)?
        }
    };
    let single = Single { handle, is_resource: false, initializer, initial_value: Some(value), snapshot, cached: None };
    Ok((single, g.dtype(value)?, g.shape(handle)?))
}

fn resource(g: &Graph, name: &str, initial: InitialValue, options: &VariableOptions) -> Result<(Single, DType, Shape)> {
    let scope = g.name_scope(name)?;
    let own = scope.name().trim_end_matches('/').to_string();
    let class = g.attr_scope("_class", Some(class_of(&own)));
    let value = initialize(g, &initial, options)?;
    let (dtype, value_shape) = (g.dtype(value)?, g.shape(value)?);
    let shape = match &options.shape {
        Some(shape) if !shape.is_compatible_with(&value_shape) => bail!(
            InvalidArgument,
            "In this variable creation, the initial value's shape ({value_shape}) is not compatible with the explicitly \
             supplied `shape` argument ({shape})."
        ),
        Some(shape) => shape.clone(),
        None => value_shape,
    };
    let op = g.op("VarHandleOp").name(scope.name()).attr("shape", &shape).attr("dtype", dtype);
    let handle = op.attr("shared_name", &own).attr("debug_name", scope.name()).output()?;
    drop(class);
    refuse_context(g, &own, value)?;
    {
        let _scope = g.name_scope("IsInitialized")?;
        g.op("VarIsInitializedOp").input(handle).output()?;
    }
    let device = g.op_device(handle.op);
    let initializer = {
        let assign = g.name_scope("Assign")?;
        let _alone = g.colocate_only_with(None)?;
        let _device = g.device(&device);
        let safe = dependencies::guarded(g, scope.name(), value)?;
        g.op("AssignVariableOp").name(assign.name()).input(handle).input(safe).finish()?
    };
    let _scope = g.name_scope("Read")?;
    let snapshot = {
        let _device = g.device(&device);
        g.read_variable_op(handle, dtype)?
    };
    let cached = match &options.caching_device {
        Some(device) => {
            let _alone = g.colocate_only_with(None)?;
            let _device = (!device.is_empty()).then(|| g.device(device));
            Some(g.identity(snapshot)?)
        }
        None => None,
    };
    let single = Single { handle, is_resource: true, initializer, initial_value: Some(value), snapshot, cached };
    Ok((single, dtype, shape))
}
