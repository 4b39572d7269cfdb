//! The variable object: the nodes that make up one variable, and what can be done with it.

use crate::error::{Result, bail};
use crate::graph::{CollectionObject, Graph, Operation, Output, WeakGraph};
use crate::ops::convert::Arg;
use crate::ops::state::AssignOptions;
use crate::proto::{SaveSliceInfoDef, VariableDef};
use crate::session::Session;
use crate::tensor::{DType, Shape, Tensor};
use bytes::Bytes;
use prost::Message;
use std::sync::{Arc, Mutex};

/// A projection that an optimizer applies to a variable after it updated it.
pub type Constraint = Arc<dyn Fn(&Graph, Output) -> Result<Output> + Send + Sync>;

/// Which part of a larger variable one is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaveSliceInfo {
    /// The name of the whole.
    pub full_name: String,
    /// The shape of the whole.
    pub full_shape: Vec<i64>,
    /// Where the part begins, in each dimension.
    pub var_offset: Vec<i64>,
    /// The shape of the part.
    pub var_shape: Vec<i64>,
}

impl SaveSliceInfo {
    /// The text form that checkpoints use: the full shape, a space, then `offset,size` in each dimension.
    pub fn spec(&self) -> String {
        let full: String = self.full_shape.iter().map(|d| format!("{d} ")).collect();
        let parts: Vec<String> = self.var_offset.iter().zip(&self.var_shape).map(|(o, s)| format!("{o},{s}")).collect();
        full + &parts.join(":")
    }

    fn to_message(&self) -> SaveSliceInfoDef {
        SaveSliceInfoDef {
            full_name: self.full_name.clone(),
            full_shape: self.full_shape.clone(),
            var_offset: self.var_offset.clone(),
            var_shape: self.var_shape.clone(),
        }
    }

    fn from_message(message: &SaveSliceInfoDef, scope: &str) -> SaveSliceInfo {
        SaveSliceInfo {
            full_name: prepend(&message.full_name, scope),
            full_shape: message.full_shape.clone(),
            var_offset: message.var_offset.clone(),
            var_shape: message.var_shape.clone(),
        }
    }
}

/// A variable of a graph (`tf.Variable`). Cheap to clone.
///
/// ```
/// use metagraph::{Graph, Session, Tensor};
/// let g = Graph::new();
/// let v = g.named("counter").variable(1f32)?;
/// let add = v.assign_add(2f32)?;
/// let session = Session::new(&g);
/// session.run_targets(&[g.global_variables_initializer()?], &[])?;
/// session.run_targets(&[add.op()], &[])?;
/// assert_eq!(v.eval(&session)?, Tensor::scalar(3f32));
/// # Ok::<(), metagraph::Error>(())
/// ```
#[derive(Clone)]
pub struct Variable(pub(super) Arc<Parts>);

/// What a variable is made of.
pub(super) struct Parts {
    pub graph: WeakGraph,
    pub name: String,
    pub dtype: DType,
    pub shape: Shape,
    pub kind: Kind,
    pub trainable: bool,
    pub validate_shape: bool,
    pub caching_device: Option<String>,
    pub constraint: Option<Constraint>,
    pub synchronization: i32,
    pub aggregation: i32,
    pub save_slice_info: Mutex<Option<SaveSliceInfo>>,
}

pub(super) enum Kind {
    /// A variable of one node: a reference, or a handle to a resource.
    Single(Single),
    /// A variable that is split along one dimension.
    Partitioned { parts: Vec<Variable>, partitions: Vec<usize>, value: Mutex<Option<Output>> },
}

pub(super) struct Single {
    pub handle: Output,
    pub is_resource: bool,
    pub initializer: Operation,
    pub initial_value: Option<Output>,
    /// The value: of a reference, the node `read`; of a resource, the first `ReadVariableOp`.
    pub snapshot: Output,
    /// The cached value on the caching device.
    pub cached: Option<Output>,
}

impl std::fmt::Debug for Variable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<Variable {:?} shape={} dtype={}>", self.name(), self.shape(), self.dtype())
    }
}

impl PartialEq for Variable {
    /// True for the same nodes of the same graph.
    fn eq(&self, other: &Variable) -> bool {
        match (&self.0.kind, &other.0.kind) {
            (Kind::Single(a), Kind::Single(b)) => a.handle == b.handle,
            _ => Arc::ptr_eq(&self.0, &other.0),
        }
    }
}

impl Eq for Variable {}

/// An assignment to a variable.
#[derive(Clone, Debug)]
pub struct Assignment {
    variable: Variable,
    op: Operation,
    output: Output,
}

impl Assignment {
    /// The operation that assigns.
    pub fn op(&self) -> Operation {
        self.op
    }

    /// The variable after the assignment, to be fetched: of a reference, the reference; of a resource, a read of it.
    pub fn output(&self) -> Output {
        self.output
    }

    /// The variable after the assignment, as ops take it: of a reference, the reference; of a resource, a new read.
    ///
    /// # Errors
    /// `FailedPrecondition` if the graph is gone.
    pub fn value(&self) -> Result<Output> {
        if !self.variable.is_resource() {
            return Ok(self.output);
        }
        let g = self.variable.graph()?;
        let _after = g.control_dependencies(&[self.op])?;
        g.read_variable_op(self.variable.handle()?, self.variable.dtype())
    }
}

impl Variable {
    /// The graph.
    ///
    /// # Errors
    /// `FailedPrecondition` if it is gone.
    pub fn graph(&self) -> Result<Graph> {
        self.0.graph.upgrade()
    }

    /// The name of the variable's tensor, `v:0`; of a partitioned variable, the name of the whole.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The name of the variable's node, `v`.
    pub fn op_name(&self) -> &str {
        self.0.name.strip_suffix(":0").unwrap_or(&self.0.name)
    }

    /// The dtype of the value.
    pub fn dtype(&self) -> DType {
        self.0.dtype
    }

    /// The static shape of the value.
    pub fn shape(&self) -> Shape {
        self.0.shape.clone()
    }

    /// True for a variable that optimizers train.
    pub fn trainable(&self) -> bool {
        self.0.trainable
    }

    /// True for a variable that is passed by handle.
    pub fn is_resource(&self) -> bool {
        match &self.0.kind {
            Kind::Single(single) => single.is_resource,
            Kind::Partitioned { parts, .. } => parts.iter().any(Variable::is_resource),
        }
    }

    /// The projection that an optimizer applies after each update.
    pub fn constraint(&self) -> Option<&Constraint> {
        self.0.constraint.as_ref()
    }

    pub(super) fn single(&self) -> Result<&Single> {
        match &self.0.kind {
            Kind::Single(single) => Ok(single),
            Kind::Partitioned { .. } => bail!(InvalidArgument, "variable {} is partitioned, use its parts", self.name()),
        }
    }

    /// The parts of a partitioned variable, or the variable itself.
    pub fn parts(&self) -> Vec<Variable> {
        match &self.0.kind {
            Kind::Single(_) => vec![self.clone()],
            Kind::Partitioned { parts, .. } => parts.clone(),
        }
    }

    /// How many parts a partitioned variable has in each dimension.
    pub fn partitions(&self) -> Option<&[usize]> {
        match &self.0.kind {
            Kind::Single(_) => None,
            Kind::Partitioned { partitions, .. } => Some(partitions),
        }
    }

    /// The reference or handle: what ops take that change the variable.
    ///
    /// # Errors
    /// `InvalidArgument` for a partitioned variable.
    pub fn handle(&self) -> Result<Output> {
        Ok(self.single()?.handle)
    }

    /// The variable's node.
    ///
    /// # Errors
    /// `InvalidArgument` for a partitioned variable.
    pub fn op(&self) -> Result<Operation> {
        Ok(self.single()?.handle.op)
    }

    /// The operation that assigns the initial value.
    ///
    /// # Errors
    /// `InvalidArgument` for a partitioned variable.
    pub fn initializer(&self) -> Result<Operation> {
        Ok(self.single()?.initializer)
    }

    /// The initial value; none for an imported variable whose definition doesn't name one.
    ///
    /// # Errors
    /// `InvalidArgument` for a partitioned variable.
    pub fn initial_value(&self) -> Result<Option<Output>> {
        Ok(self.single()?.initial_value)
    }

    /// The tensor that a fetch of the variable gives: the reference, or the first read of a resource.
    ///
    /// # Errors
    /// `InvalidArgument` for a partitioned variable.
    pub fn graph_element(&self) -> Result<Output> {
        let single = self.single()?;
        Ok(if single.is_resource { single.snapshot } else { single.handle })
    }

    /// The value as a tensor, as ops take it: the cached read of a reference, a new `ReadVariableOp` of a resource, the
    /// parts of a partitioned variable put together.
    ///
    /// # Errors
    /// `FailedPrecondition` if the graph is gone.
    pub fn value(&self) -> Result<Output> {
        match &self.0.kind {
            Kind::Single(single) if !single.is_resource => Ok(single.snapshot),
            Kind::Single(Single { cached: Some(cached), .. }) => Ok(*cached),
            Kind::Single(_) => {
                let g = self.graph()?;
                let _alone = g.colocate_only_with(None)?;
                self.read_resource(&g)
            }
            Kind::Partitioned { parts, partitions, value } => {
                let g = self.graph()?;
                let mut value = value.lock().unwrap_or_else(|e| e.into_inner());
                match *value {
                    Some(whole) => Ok(whole),
                    None => Ok(*value.insert(super::partition::whole(&g, self.name(), parts, partitions)?)),
                }
            }
        }
    }

    fn read_resource(&self, g: &Graph) -> Result<Output> {
        let single = self.single()?;
        let _device = match &self.0.caching_device {
            Some(device) => Some((g.colocate_only_with(None)?, (!device.is_empty()).then(|| g.device(device)))),
            None => None,
        };
        g.read_variable_op(single.handle, self.dtype())
    }

    /// A new node that reads the value when it runs (`read_value`), after whatever it is made to wait for.
    ///
    /// # Errors
    /// `FailedPrecondition` if the graph is gone.
    pub fn read_value(&self) -> Result<Output> {
        let g = self.graph()?;
        let single = self.single()?;
        if !single.is_resource {
            return g.named("read").identity(single.handle);
        }
        let value = {
            let _scope = g.name_scope("Read")?;
            self.read_resource(&g)?
        };
        g.identity(value)
    }

    /// The value if the variable has one, and the initial value otherwise (`initialized_value`).
    ///
    /// # Errors
    /// `InvalidArgument` for a variable without an initial value.
    pub fn initialized_value(&self) -> Result<Output> {
        let g = self.graph()?;
        let Some(initial) = self.initial_value()? else {
            bail!(InvalidArgument, "variable {} has no initial value", self.name())
        };
        super::dependencies::initialized_value(&g, self, initial)
    }

    /// Whether the variable has a value.
    ///
    /// # Errors
    /// `InvalidArgument` for a partitioned variable.
    pub fn is_initialized(&self) -> Result<Output> {
        self.graph()?.is_variable_initialized(self.handle()?)
    }

    /// The assignment that an operation makes; of a resource, with a read after it.
    fn assigned(&self, op: Operation) -> Result<Assignment> {
        let single = self.single()?;
        let output = if single.is_resource {
            let g = self.graph()?;
            let _after = g.control_dependencies(&[op])?;
            g.read_variable_op(single.handle, self.dtype())?
        } else {
            op.output(0)
        };
        Ok(Assignment { variable: self.clone(), op, output })
    }

    /// Assigns a value.
    ///
    /// # Errors
    /// `InvalidArgument` for a partitioned variable, or a value of another dtype or shape.
    pub fn assign(&self, value: impl Into<Arg>) -> Result<Assignment> {
        self.assigned(self.assign_op(&self.graph()?, value.into())?)
    }

    /// The operation that assigns a value, without a read after it. The graph's handle may carry a name.
    pub(crate) fn assign_op(&self, g: &Graph, value: Arg) -> Result<Operation> {
        let single = self.single()?;
        if !single.is_resource {
            let options = AssignOptions { use_locking: Some(false), ..AssignOptions::default() };
            return Ok(g.assign_with(single.handle, value, options)?.op);
        }
        let plain = g.plain();
        let value = plain.convert(&value, Some(self.dtype()), "Const")?;
        let shape = plain.shape(value)?;
        if !self.shape().is_compatible_with(&shape) {
            bail!(
                InvalidArgument,
                "Cannot assign value to variable '{}': Shape mismatch. The variable shape {}, and the assigned value shape \
                 {shape} are incompatible.",
                self.name(),
                self.shape()
            );
        }
        let validate = self.0.validate_shape && self.shape().is_fully_known();
        g.op("AssignVariableOp").input(single.handle).input(value).attr("validate_shape", validate).finish()
    }

    /// Adds a value.
    ///
    /// # Errors
    /// As [`Variable::assign`].
    pub fn assign_add(&self, delta: impl Into<Arg>) -> Result<Assignment> {
        self.assigned(self.update_op(&self.graph()?, "AssignAdd", delta.into())?)
    }

    /// Subtracts a value.
    ///
    /// # Errors
    /// As [`Variable::assign`].
    pub fn assign_sub(&self, delta: impl Into<Arg>) -> Result<Assignment> {
        self.assigned(self.update_op(&self.graph()?, "AssignSub", delta.into())?)
    }

    /// The operation that adds or subtracts a value, without a read after it. The graph's handle may carry a name.
    pub(crate) fn update_op(&self, g: &Graph, op: &str, delta: Arg) -> Result<Operation> {
        let single = self.single()?;
        if !single.is_resource {
            return g.call(op).arg(single.handle).arg(delta).finish();
        }
        let delta = g.plain().convert(&delta, Some(self.dtype()), "Const")?;
        let _after = match single.cached {
            Some(cached) => Some(g.control_dependencies(&[cached.op])?),
            None => None,
        };
        g.op(&format!("{op}VariableOp")).input(single.handle).input(delta).finish()
    }

    /// Updates the rows at `indices`: `op` is `Update`, `Add`, `Sub`, `Mul`, `Div`, `Min` or `Max`.
    ///
    /// # Errors
    /// As [`Variable::assign`]; `NotFound` for another `op`.
    pub fn scatter(&self, op: &str, indices: impl Into<Arg>, updates: impl Into<Arg>) -> Result<Assignment> {
        self.assigned(self.scatter_op(&self.graph()?, op, indices.into(), updates.into(), false)?)
    }

    /// The operation of [`Variable::scatter`], without a read after it. The graph's handle may carry a name.
    pub(crate) fn scatter_op(&self, g: &Graph, op: &str, indices: Arg, updates: Arg, use_locking: bool) -> Result<Operation> {
        let single = self.single()?;
        let name = if single.is_resource { format!("ResourceScatter{op}") } else { format!("Scatter{op}") };
        if crate::ops::lookup(&name).is_none() {
            bail!(NotFound, "there is no scattered update '{op}'");
        }
        let call = g.call(&name).arg(single.handle).arg(indices).arg(updates);
        if single.is_resource { call } else { call.attr("use_locking", use_locking) }.finish()
    }

    /// Increments a scalar integer variable and returns its old value, until it reaches `limit`.
    ///
    /// # Errors
    /// `InvalidArgument` for a variable that isn't a scalar integer.
    pub fn count_up_to(&self, limit: i64) -> Result<Output> {
        let g = self.graph()?;
        let single = self.single()?;
        if single.is_resource {
            return g.op("ResourceCountUpTo").input(single.handle).attr("limit", limit).attr("T", self.dtype()).output();
        }
        g.count_up_to(single.handle, limit)
    }

    /// The value in a session.
    ///
    /// # Errors
    /// `FailedPrecondition` for a variable without a value.
    pub fn eval(&self, session: &Session) -> Result<Tensor> {
        let element = match self.0.kind {
            Kind::Single(_) => self.graph_element()?,
            Kind::Partitioned { .. } => self.value()?,
        };
        Ok(session.run(&[element], &[])?.swap_remove(0))
    }

    /// Sets the value in a session, by running the initializer with another initial value; the graph stays as it is.
    ///
    /// # Errors
    /// `InvalidArgument` for a value of another dtype or shape.
    pub fn load(&self, value: &Tensor, session: &Session) -> Result<()> {
        let g = self.graph()?;
        let single = self.single()?;
        session.run_targets(&[single.initializer], &[(g.input(single.initializer, 1)?, value)])
    }

    /// Which part of a larger variable this is, if it is one.
    pub fn save_slice_info(&self) -> Option<SaveSliceInfo> {
        self.0.save_slice_info.lock().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// Says which part of a larger variable this is, so that savers store it as one.
    pub fn set_save_slice_info(&self, info: Option<SaveSliceInfo>) {
        *self.0.save_slice_info.lock().unwrap_or_else(|e| e.into_inner()) = info;
    }

    /// The variable as a message; with an export scope, none for one outside it, and names without it.
    ///
    /// # Errors
    /// `InvalidArgument` for a partitioned variable, `FailedPrecondition` if the graph is gone.
    pub fn to_proto(&self, export_scope: Option<&str>) -> Result<Option<VariableDef>> {
        let g = self.graph()?;
        let single = self.single()?;
        let scope = export_scope.unwrap_or("");
        let handle = g.tensor_name(single.handle);
        if !handle.starts_with(scope) {
            return Ok(None);
        }
        let strip = |name: String| strip(&name, scope);
        let slice = self.save_slice_info().filter(|s| s.full_name.starts_with(scope)).map(|s| {
            let mut message = s.to_message();
            message.full_name = strip(message.full_name);
            message
        });
        Ok(Some(VariableDef {
            variable_name: strip(handle),
            initial_value_name: single.initial_value.map(|v| strip(g.tensor_name(v))).unwrap_or_default(),
            initializer_name: strip(g.op_name(single.initializer)),
            snapshot_name: strip(g.tensor_name(single.cached.unwrap_or(single.snapshot))),
            save_slice_info_def: slice,
            is_resource: single.is_resource,
            trainable: self.trainable(),
            synchronization: self.0.synchronization,
            aggregation: self.0.aggregation,
        }))
    }

    /// The variable that a message describes, whose nodes are in the graph, within an import scope if one is given.
    ///
    /// # Errors
    /// `NotFound` where the graph lacks one of the nodes, `InvalidArgument` for bad names.
    pub fn from_proto(g: &Graph, def: &VariableDef, import_scope: Option<&str>) -> Result<Variable> {
        let scope = import_scope.unwrap_or("");
        let tensor = |name: &str| g.get_tensor_by_name(&prepend(name, scope));
        let handle = tensor(&def.variable_name)?;
        let initial_value = match def.initial_value_name.as_str() {
            "" => None,
            name => Some(tensor(name)?),
        };
        let initializer = g.get_operation_by_name(&prepend(&def.initializer_name, scope))?;
        let (mut snapshot, mut cached) = match def.snapshot_name.as_str() {
            "" if def.is_resource => (g.get_tensor_by_name(&format!("{}/Read/ReadVariableOp:0", g.op_name(handle.op)))?, None),
            name => (tensor(name)?, None),
        };
        if def.is_resource && g.op_type(snapshot.op) != "ReadVariableOp" {
            cached = Some(snapshot);
            while g.op_type(snapshot.op) != "ReadVariableOp" {
                snapshot = g.input(snapshot.op, 0)?;
            }
        }
        let (dtype, shape) = if def.is_resource {
            let attr = |name: &str| g.get_attr(handle.op, name);
            (crate::graph::attr::dtype(&attr("dtype")?)?, crate::graph::attr::shape(&attr("shape")?)?)
        } else {
            (g.dtype(handle)?, g.shape(handle)?)
        };
        Ok(Variable(Arc::new(Parts {
            graph: g.downgrade(),
            name: g.tensor_name(handle),
            dtype,
            shape,
            kind: Kind::Single(Single { handle, is_resource: def.is_resource, initializer, initial_value, snapshot, cached }),
            trainable: def.trainable,
            validate_shape: true,
            caching_device: None,
            constraint: None,
            synchronization: def.synchronization,
            aggregation: def.aggregation,
            save_slice_info: Mutex::new(def.save_slice_info_def.as_ref().map(|s| SaveSliceInfo::from_message(s, scope))),
        })))
    }
}

/// A name without the scope that is exported.
fn strip(name: &str, scope: &str) -> String {
    let inner = |n: &str| n.strip_prefix(scope.trim_end_matches('/')).and_then(|n| n.strip_prefix('/')).map(str::to_string);
    if scope.is_empty() { name.to_string() } else { inner(name).unwrap_or_else(|| name.to_string()) }
}

/// A name within an import scope.
fn prepend(name: &str, scope: &str) -> String {
    if scope.is_empty() { name.to_string() } else { format!("{}/{name}", scope.trim_end_matches('/')) }
}

impl CollectionObject for Variable {
    fn to_bytes(&self, _: &Graph) -> Result<Bytes> {
        match self.to_proto(None)? {
            Some(def) => Ok(def.encode_to_vec().into()),
            None => Ok(Bytes::new()),
        }
    }
}

/// True for the op types of variables, by reference and by handle.
pub(super) fn is_variable(op_type: &str) -> bool {
    matches!(op_type, "Variable" | "VariableV2" | "VarHandleOp")
}
