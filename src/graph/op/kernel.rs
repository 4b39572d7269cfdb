//! What a kernel sees when it runs: its node, inputs and outputs, and the state of step and session.

use crate::error::{Error, Result, bail};
use crate::graph::attr::{self, Attrs};
use crate::graph::op::Op;
use crate::proto::{AttrValue, NameAttrList};
use crate::tensor::{DType, Dims, Resource, ResourceHandle, Shape, Tensor};
use smallvec::SmallVec;
use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockWriteGuard};

/// How an op is computed.
#[derive(Clone, Copy)]
pub enum Kernel {
    /// The outputs depend on inputs and attributes alone.
    Pure(KernelFn),
    /// The same, with the attributes read once when a plan is made.
    PurePrepared(PrepareFn),
    /// Reads or changes state of the step or session.
    Stateful(KernelFn),
    /// The same, with attributes and state looked up once when a plan is made.
    StatefulPrepared(PrepareFn),
    /// Interpreted by the executor.
    Control(Control),
    /// Known, but can't be run here; the text says why.
    Missing(&'static str),
}

/// The control-flow primitives, which only the executor and the gradient builder interpret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Passes the one live input on.
    Merge,
    /// Passes a value into a frame.
    Enter,
    /// Passes a value out of a frame.
    Exit,
    /// Passes a value to the next iteration.
    NextIteration,
    /// Says whether there is another iteration.
    LoopCond,
    /// Runs even where its inputs are dead.
    ControlTrigger,
    /// Gives an argument of a function.
    Arg,
    /// Takes a result of a function.
    Retval,
}

/// Computes the outputs of a node: reads `ctx.input(i)`, calls `ctx.set(i, value)`.
pub type KernelFn = fn(&mut KernelCtx) -> Result<()>;

/// A kernel that holds what it read from the attributes.
pub type Prepared = Box<dyn Fn(&mut KernelCtx) -> Result<()> + Send + Sync>;

/// Reads the attributes of a node and returns its kernel.
pub type PrepareFn = fn(&PrepareCtx) -> Result<Prepared>;

/// A value on an edge.
#[derive(Clone, Default, Debug)]
pub enum Value {
    /// Nothing: on the branch not taken, or not set.
    #[default]
    Dead,
    /// A tensor.
    Tensor(Tensor),
    /// A reference to a variable.
    Ref(Arc<Variable>),
}

/// A variable: its dtype, static shape and value, none before it is initialized.
#[derive(Debug)]
pub struct Variable {
    /// The name by which errors call it.
    pub name: String,
    /// The element type.
    pub dtype: DType,
    /// The static shape.
    pub shape: Shape,
    value: RwLock<Option<Tensor>>,
}

impl Variable {
    /// A variable without a value.
    pub fn new(name: impl Into<String>, dtype: DType, shape: Shape) -> Variable {
        Variable { name: name.into(), dtype, shape, value: RwLock::new(None) }
    }

    /// The value, or none before the first assignment.
    pub fn get(&self) -> Option<Tensor> {
        self.value.read().unwrap_or_else(|e| e.into_inner()).clone()
    }

    /// The value.
    ///
    /// # Errors
    /// `FailedPrecondition` before the first assignment.
    pub fn read(&self) -> Result<Tensor> {
        self.get().ok_or_else(|| Error::failed_precondition(format!("Attempting to use uninitialized value {}", self.name)))
    }

    /// True once there is a value.
    pub fn is_initialized(&self) -> bool {
        self.value.read().unwrap_or_else(|e| e.into_inner()).is_some()
    }

    /// Sets or clears the value.
    pub fn set(&self, value: Option<Tensor>) {
        *self.value.write().unwrap_or_else(|e| e.into_inner()) = value;
    }

    /// Changes the value under the variable's lock. Where nothing else holds the tensor, it changes in place.
    ///
    /// # Errors
    /// What `change` returns; `FailedPrecondition` before the first assignment.
    pub fn update<R>(&self, change: impl FnOnce(&mut Tensor) -> Result<R>) -> Result<R> {
        let mut guard = self.value.write().unwrap_or_else(|e| e.into_inner());
        match guard.as_mut() {
            Some(tensor) => change(tensor),
            None => bail!(FailedPrecondition, "Attempting to use uninitialized value {}", self.name),
        }
    }
}

impl Variable {
    /// Changes several variables at once, under the locks of all of them. Where nothing else holds a tensor, it changes in
    /// place.
    ///
    /// # Errors
    /// What `change` returns; `FailedPrecondition` for a variable without a value, `InvalidArgument` where the same one is
    /// given twice.
    pub fn update_all<R>(variables: &[&Variable], change: impl FnOnce(&mut [&mut Tensor]) -> Result<R>) -> Result<R> {
        // Every thread takes the locks in the order of addresses.
        let mut order: SmallVec<[usize; 4]> = (0..variables.len()).collect();
        order.sort_by_key(|&i| std::ptr::from_ref(variables[i]));
        let mut guards: SmallVec<[Option<RwLockWriteGuard<'_, Option<Tensor>>>; 4]> = variables.iter().map(|_| None).collect();
        for (position, &i) in order.iter().enumerate() {
            if position > 0 && std::ptr::eq(variables[order[position - 1]], variables[i]) {
                bail!(InvalidArgument, "variable {} is given twice", variables[i].name);
            }
            guards[i] = Some(variables[i].value.write().unwrap_or_else(|e| e.into_inner()));
        }
        let mut tensors: SmallVec<[&mut Tensor; 4]> = SmallVec::new();
        for (guard, variable) in guards.iter_mut().flatten().zip(variables) {
            match guard.as_mut() {
                Some(tensor) => tensors.push(tensor),
                None => bail!(FailedPrecondition, "Attempting to use uninitialized value {}", variable.name),
            }
        }
        change(&mut tensors)
    }
}

impl Resource for Variable {
    fn kind(&self) -> &'static str {
        "Variable"
    }
}

/// What is known of a node when a plan is made and while it runs.
#[derive(Debug)]
pub struct NodeInfo {
    /// The node's name.
    pub name: Arc<str>,
    /// The op's type.
    pub op: &'static str,
    /// The attributes, defaults filled in.
    pub attrs: Attrs,
    /// The dtypes of the inputs.
    pub input_types: SmallVec<[DType; 4]>,
    /// The dtypes of the outputs.
    pub output_types: SmallVec<[DType; 2]>,
}

impl NodeInfo {
    /// An attribute.
    ///
    /// # Errors
    /// `InvalidArgument` if it is missing.
    pub fn attr(&self, name: &str) -> Result<&AttrValue> {
        self.attrs.get(name).ok_or_else(|| Error::invalid_argument(format!("No attr named '{name}' in NodeDef")))
    }

    /// An integer attribute.
    pub fn int(&self, name: &str) -> Result<i64> {
        attr::int(self.attr(name)?)
    }

    /// A float attribute.
    pub fn float(&self, name: &str) -> Result<f32> {
        attr::float(self.attr(name)?)
    }

    /// A boolean attribute.
    pub fn boolean(&self, name: &str) -> Result<bool> {
        attr::boolean(self.attr(name)?)
    }

    /// A string attribute.
    pub fn string(&self, name: &str) -> Result<&str> {
        attr::string(self.attr(name)?)
    }

    /// A dtype attribute.
    pub fn dtype(&self, name: &str) -> Result<DType> {
        attr::dtype(self.attr(name)?)
    }

    /// A list of dtypes.
    pub fn dtypes(&self, name: &str) -> Result<Vec<DType>> {
        attr::dtypes(self.attr(name)?)
    }

    /// A shape attribute.
    pub fn shape(&self, name: &str) -> Result<Shape> {
        attr::shape(self.attr(name)?)
    }

    /// A list of shapes.
    pub fn shapes(&self, name: &str) -> Result<Vec<Shape>> {
        attr::shapes(self.attr(name)?)
    }

    /// A list of integers.
    pub fn ints(&self, name: &str) -> Result<&[i64]> {
        Ok(&attr::list(self.attr(name)?)?.i)
    }

    /// A list of floats.
    pub fn floats(&self, name: &str) -> Result<&[f32]> {
        Ok(&attr::list(self.attr(name)?)?.f)
    }

    /// A list of strings.
    pub fn strings(&self, name: &str) -> Result<Vec<String>> {
        Ok(attr::list(self.attr(name)?)?.s.iter().map(|s| String::from_utf8_lossy(s).into_owned()).collect())
    }

    /// A tensor attribute.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        attr::tensor(self.attr(name)?)
    }

    /// A function attribute.
    pub fn func(&self, name: &str) -> Result<&NameAttrList> {
        attr::func(self.attr(name)?)
    }
}

/// State that lives as long as a session: resources by container, kind and name, and the state of single nodes.
#[derive(Default)]
pub struct SessionState {
    resources: Mutex<HashMap<(String, String), Arc<dyn Resource>>>,
    nodes: Mutex<HashMap<(Arc<str>, TypeId), Arc<dyn Any + Send + Sync>>>,
}

/// The container of resources whose node names none.
pub const DEFAULT_CONTAINER: &str = "localhost";

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

impl SessionState {
    /// The resource of that container and name, made if it isn't there.
    ///
    /// # Errors
    /// `InvalidArgument` if there is one of another kind; what `make` returns.
    pub fn resource<T: Resource>(&self, container: &str, name: &str, make: impl FnOnce() -> Result<T>) -> Result<Arc<T>> {
        let container = if container.is_empty() { DEFAULT_CONTAINER } else { container };
        let mut resources = lock(&self.resources);
        let key = (container.to_string(), name.to_string());
        let object: Arc<dyn Resource> = match resources.get(&key) {
            Some(object) => object.clone(),
            None => {
                let object: Arc<dyn Resource> = Arc::new(make()?);
                resources.insert(key, object.clone());
                object
            }
        };
        let kind = object.kind();
        let any: Arc<dyn Any + Send + Sync> = object;
        any.downcast::<T>()
            .map_err(|_| Error::invalid_argument(format!("Resource {container}/{name} is a {kind}, another kind was asked for")))
    }

    /// The resource of that container and name, if it is there and of that kind.
    pub fn find<T: Resource>(&self, container: &str, name: &str) -> Option<Arc<T>> {
        let container = if container.is_empty() { DEFAULT_CONTAINER } else { container };
        let object = lock(&self.resources).get(&(container.to_string(), name.to_string()))?.clone();
        let any: Arc<dyn Any + Send + Sync> = object;
        any.downcast::<T>().ok()
    }

    /// Takes a resource out of the session; handles to it go on working. False if there was none.
    pub fn remove(&self, container: &str, name: &str) -> bool {
        let container = if container.is_empty() { DEFAULT_CONTAINER } else { container };
        lock(&self.resources).remove(&(container.to_string(), name.to_string())).is_some()
    }

    /// All variables, by container and name.
    pub fn variables(&self) -> Vec<Arc<Variable>> {
        let objects: Vec<Arc<dyn Resource>> = lock(&self.resources).values().cloned().collect();
        let variable = |o: Arc<dyn Resource>| -> Option<Arc<Variable>> {
            let any: Arc<dyn Any + Send + Sync> = o;
            any.downcast().ok()
        };
        objects.into_iter().filter_map(variable).collect()
    }

    /// The state of one node, such as the counter of a random generator, made if it isn't there.
    pub fn node_state<T: Any + Send + Sync>(&self, node: &Arc<str>, make: impl FnOnce() -> T) -> Arc<T> {
        let key = (node.clone(), TypeId::of::<T>());
        let state = lock(&self.nodes).entry(key).or_insert_with(|| Arc::new(make())).clone();
        state.downcast::<T>().unwrap_or_else(|_| unreachable!("a state is stored under its own type"))
    }
}

/// Runs functions of the graph's library for kernels.
pub trait Caller: Sync {
    /// Runs a function on these arguments and returns its results.
    ///
    /// # Errors
    /// `NotFound` if there is no such function, `InvalidArgument` if the arguments don't fit, and what its nodes return.
    fn call(&self, function: &NameAttrList, arguments: Vec<Tensor>, step: &StepState) -> Result<Vec<Tensor>>;

    /// Runs a function's gradient: from the function's arguments and the gradients of its results to those of its
    /// arguments.
    ///
    /// # Errors
    /// As [`Caller::call`], and where the function can't be differentiated.
    fn call_gradient(&self, function: &NameAttrList, arguments: Vec<Tensor>, step: &StepState) -> Result<Vec<Tensor>>;
}

/// State that lives as long as one step.
pub struct StepState<'a> {
    /// The session's state.
    pub session: &'a Arc<SessionState>,
    /// Runs functions.
    pub caller: &'a dyn Caller,
    /// Objects of this step by name, such as temporary variables.
    pub objects: Mutex<HashMap<String, Arc<dyn Any + Send + Sync>>>,
    /// A number that no other step of the process has.
    pub id: u64,
}

/// What a kernel is prepared from.
pub struct PrepareCtx<'a> {
    /// The node.
    pub node: &'a Arc<NodeInfo>,
    /// The session's state.
    pub session: &'a Arc<SessionState>,
}

/// What a kernel sees when it runs.
pub struct KernelCtx<'a> {
    pub(crate) node: &'a Arc<NodeInfo>,
    pub(crate) inputs: &'a mut [Value],
    pub(crate) outputs: &'a mut [Value],
    pub(crate) step: &'a StepState<'a>,
}

impl<'a> KernelCtx<'a> {
    /// The node.
    pub fn node(&self) -> &'a NodeInfo {
        self.node
    }

    /// The node's name, shared.
    pub fn name(&self) -> &'a Arc<str> {
        &self.node.name
    }

    /// The step's state.
    pub fn step(&self) -> &'a StepState<'a> {
        self.step
    }

    /// The session's state.
    pub fn session(&self) -> &'a Arc<SessionState> {
        self.step.session
    }

    /// The number of inputs.
    pub fn num_inputs(&self) -> usize {
        self.inputs.len()
    }

    /// The number of outputs.
    pub fn num_outputs(&self) -> usize {
        self.outputs.len()
    }

    /// An input's value. A reference has been read before the kernel runs, unless the op asks for the reference.
    ///
    /// # Errors
    /// `InvalidArgument` if there is no such input.
    #[inline]
    pub fn input(&self, index: usize) -> Result<&Tensor> {
        match self.inputs.get(index) {
            Some(Value::Tensor(tensor)) => Ok(tensor),
            _ => Err(self.no_input(index)),
        }
    }

    #[cold]
    fn no_input(&self, index: usize) -> Error {
        let what = match self.inputs.get(index) {
            None => "doesn't exist",
            Some(Value::Dead) => "has been taken",
            Some(_) => "is a reference",
        };
        Error::internal(format!("input {index} of {} {what}", self.node.op))
    }

    /// Takes an input's value, so that its memory can be written over where nothing else holds it.
    ///
    /// # Errors
    /// `InvalidArgument` if there is no such input.
    #[inline]
    pub fn take(&mut self, index: usize) -> Result<Tensor> {
        match self.inputs.get_mut(index).map(std::mem::take) {
            Some(Value::Tensor(tensor)) => Ok(tensor),
            _ => Err(self.no_input(index)),
        }
    }

    /// The variable that an input refers to, for inputs declared as `Ref(T)`.
    ///
    /// # Errors
    /// `InvalidArgument` if the input is no reference.
    pub fn variable(&self, index: usize) -> Result<Arc<Variable>> {
        match self.inputs.get(index) {
            Some(Value::Ref(variable)) => Ok(variable.clone()),
            _ => bail!(InvalidArgument, "input {index} of {} isn't a reference to a variable", self.node.op),
        }
    }

    /// The resource behind a handle input.
    ///
    /// # Errors
    /// `InvalidArgument` if the input is no scalar handle, `NotFound` if its object is of another kind or gone.
    pub fn resource<T: Resource>(&self, index: usize) -> Result<Arc<T>> {
        let handle = self.handle_ref(index)?;
        if let Some(object) = handle.downcast::<T>() {
            return Ok(object);
        }
        if handle.object.is_none()
            && let Some(object) = self.session().find::<T>(&handle.container, &handle.name)
        {
            return Ok(object);
        }
        let found = handle.object.as_ref().map_or("nothing", |o| o.kind());
        bail!(NotFound, "Resource {}/{} is {found}, not what {} needs", handle.container, handle.name, self.node.op)
    }

    /// The handle at an input.
    ///
    /// # Errors
    /// `InvalidArgument` if the input is no handle.
    pub fn handle(&self, index: usize) -> Result<ResourceHandle> {
        self.handle_ref(index).cloned()
    }

    fn handle_ref(&self, index: usize) -> Result<&ResourceHandle> {
        match self.input(index)?.handles()? {
            [crate::tensor::Handle::Resource(handle)] => Ok(handle),
            _ => bail!(InvalidArgument, "input {index} of {} isn't a handle to a resource", self.node.op),
        }
    }

    /// An input's value as a scalar integer.
    pub fn int_input(&self, index: usize) -> Result<i64> {
        self.input(index)?.item_i64()
    }

    /// An input's value as dimensions.
    pub fn dims_input(&self, index: usize) -> Result<Dims> {
        self.input(index)?.to_dims()
    }

    /// Sets an output.
    ///
    /// # Errors
    /// `Internal` if there is no such output.
    #[inline]
    pub fn set(&mut self, index: usize, value: Tensor) -> Result<()> {
        match self.outputs.get_mut(index) {
            Some(slot) => {
                *slot = Value::Tensor(value);
                Ok(())
            }
            None => bail!(Internal, "{} has no output {index}", self.node.op),
        }
    }

    /// Sets an output that refers to a variable.
    ///
    /// # Errors
    /// `Internal` if there is no such output.
    pub fn set_ref(&mut self, index: usize, variable: Arc<Variable>) -> Result<()> {
        match self.outputs.get_mut(index) {
            Some(slot) => {
                *slot = Value::Ref(variable);
                Ok(())
            }
            None => bail!(Internal, "{} has no output {index}", self.node.op),
        }
    }

    /// Passes an input on to an output, whether value or reference.
    ///
    /// # Errors
    /// `Internal` if there is no such input or output.
    pub fn forward(&mut self, input: usize, output: usize) -> Result<()> {
        match (self.inputs.get_mut(input), self.outputs.get_mut(output)) {
            (Some(value), Some(slot)) => {
                *slot = std::mem::take(value);
                Ok(())
            }
            _ => bail!(Internal, "{} has no input {input} or no output {output}", self.node.op),
        }
    }

    /// Runs a function of the graph's library.
    ///
    /// # Errors
    /// As [`Caller::call`].
    pub fn call(&self, function: &NameAttrList, arguments: Vec<Tensor>) -> Result<Vec<Tensor>> {
        self.step.caller.call(function, arguments, self.step)
    }

    /// Runs the gradient of a function of the graph's library.
    ///
    /// # Errors
    /// As [`Caller::call_gradient`].
    pub fn call_gradient(&self, function: &NameAttrList, arguments: Vec<Tensor>) -> Result<Vec<Tensor>> {
        self.step.caller.call_gradient(function, arguments, self.step)
    }

    /// The state of this node in the session, made if it isn't there.
    pub fn node_state<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Arc<T> {
        self.session().node_state(&self.node.name, make)
    }
}

impl Op {
    /// True when the executor must hand references to the kernel rather than their values.
    pub(crate) fn takes_ref(&'static self, input: usize) -> bool {
        let inputs = &self.signature().inputs;
        // Lists of references (RefMerge, RefSelect) stand alone or last.
        inputs.get(input).or(inputs.last()).is_some_and(|a| a.is_ref)
    }
}
