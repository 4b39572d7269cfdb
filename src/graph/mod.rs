//! Dataflow graphs: named operations in creation order, their interfaces, and TensorFlow's rules for names, scopes,
//! control dependencies, colocation and shapes.
//!
//! This module knows what an op is ([`Op`](op::Op)) but lists none; a graph is given its ops by a lookup function.

pub mod attr;
mod builder;
mod collection;
mod constant;
mod device;
pub(crate) mod gradient;
mod infer;
pub mod keys;
mod message;
mod names;
mod node;
pub mod op;
mod query;
mod scopes;
mod view;

pub use builder::OpBuilder;
pub use collection::{CollectionItem, CollectionObject};
pub use gradient::{Gradient, Grads, IndexedSlices};
pub(crate) use infer::{KnownInterfaces, run_alone, run_pure};
pub(crate) use message::FunctionRecord;
pub use message::ImportOptions;
pub(crate) use names::edit_distance;
pub use names::{NameScope, is_valid_op_name, is_valid_scope_name};
pub(crate) use node::{ContextId, Node};
pub use node::{Operation, Output, OutputType};
pub use scopes::ScopeGuard;

use crate::error::{Error, Result, bail};
use crate::proto::{AttrValue, GradientDef, RegisteredGradient, VersionDef};
use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};
use indexmap::IndexMap;
use op::{Differentiate, Lookup};
use std::any::{Any, TypeId};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

/// TensorFlow 2.15's graph version, which new graphs carry.
const PRODUCER: i32 = 1645;
/// The oldest consumer of such graphs.
const MIN_CONSUMER: i32 = 0;

/// A dataflow graph. Cloning the handle shares the graph.
///
/// ```
/// use metagraph::{Graph, Session, Tensor};
/// let g = Graph::new();
/// let x = g.named("x").placeholder(metagraph::DType::Float, [None])?;
/// let y = g.named("y").square(x)?;
/// let session = Session::new(&g);
/// let out = session.run(&[y], &[(x, &Tensor::from([1f32, 2.0, 3.0]))])?;
/// assert_eq!(out[0].to_string(), "f32[1 4 9]");
/// # Ok::<(), metagraph::Error>(())
/// ```
#[derive(Clone)]
pub struct Graph {
    inner: Arc<RwLock<Inner>>,
    pending_name: Option<Arc<str>>,
}

/// A handle to a graph that doesn't keep it alive.
#[derive(Clone)]
pub(crate) struct WeakGraph(Weak<RwLock<Inner>>);

impl WeakGraph {
    /// The graph.
    ///
    /// # Errors
    /// `FailedPrecondition` if it is gone.
    pub fn upgrade(&self) -> Result<Graph> {
        match self.0.upgrade() {
            Some(inner) => Ok(Graph { inner, pending_name: None }),
            None => bail!(FailedPrecondition, "the graph has been dropped"),
        }
    }
}

/// What a graph calls after it made a node, so that a control-flow context can route the node's inputs.
pub(crate) type Hook = fn(&Graph, Operation) -> Result<()>;

/// Nodes by name.
type Nodes = IndexMap<Arc<str>, Node, foldhash::fast::RandomState>;

pub(crate) struct Inner {
    pub id: u32,
    pub lookup: Lookup,
    pub differentiate: Differentiate,
    /// The nodes by name, in order of creation.
    pub nodes: Nodes,
    interned: HashSet<Arc<str>>,
    names_in_use: HashMap<String, u32>,
    /// How many nodes, from the first, `names_in_use` knows. Those of an import follow when a name is asked for.
    names_known: usize,
    name_stack: String,
    scopes: scopes::Scopes,
    pub collections: IndexMap<String, Vec<CollectionItem>>,
    pub functions: IndexMap<String, Arc<FunctionRecord>>,
    pub gradients: Vec<GradientDef>,
    pub registered_gradients: Vec<RegisteredGradient>,
    pub versions: VersionDef,
    /// The graph's random seed.
    pub seed: Option<i64>,
    pub hook: Option<Hook>,
    extensions: HashMap<TypeId, Box<dyn Any + Send + Sync>>,
    /// Counts changes, so that a session knows when its plans are stale.
    pub version: u64,
}

impl Graph {
    /// An empty graph whose ops are found, and whose functions differentiated, by the given functions.
    pub(crate) fn with_ops(lookup: Lookup, differentiate: Differentiate) -> Graph {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let inner = Inner {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            lookup,
            differentiate,
            nodes: IndexMap::default(),
            interned: HashSet::new(),
            names_in_use: HashMap::new(),
            names_known: 0,
            name_stack: String::new(),
            scopes: scopes::Scopes::default(),
            collections: IndexMap::new(),
            functions: IndexMap::new(),
            gradients: Vec::new(),
            registered_gradients: Vec::new(),
            versions: VersionDef { producer: PRODUCER, min_consumer: MIN_CONSUMER, bad_consumers: Vec::new() },
            seed: None,
            hook: None,
            extensions: HashMap::new(),
            version: 0,
        };
        Graph { inner: Arc::new(RwLock::new(inner)), pending_name: None }
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(|e| e.into_inner())
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(|e| e.into_inner())
    }

    /// A handle that doesn't keep the graph alive, for objects that the graph itself holds.
    pub(crate) fn downgrade(&self) -> WeakGraph {
        WeakGraph(Arc::downgrade(&self.inner))
    }

    /// True when both handles are of one graph.
    pub fn is_same(&self, other: &Graph) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Sets the graph's random seed, from which the seeds of random ops derive (`tf.set_random_seed`).
    pub fn set_random_seed(&self, seed: i64) {
        self.write().seed = Some(seed);
    }

    /// The graph's random seed.
    pub fn random_seed(&self) -> Option<i64> {
        self.read().seed
    }

    /// State that a higher layer keeps with the graph (variable scopes, control-flow contexts), by its type. Made by
    /// `Default` at first use.
    pub(crate) fn with_extension<T: Default + Any + Send + Sync, R>(&self, run: impl FnOnce(&mut T) -> R) -> R {
        let mut inner = self.write();
        let state = inner.extensions.entry(TypeId::of::<T>()).or_insert_with(|| Box::new(T::default()));
        run(state.downcast_mut().expect("an extension is stored under its own type"))
    }

    /// Sets the function that is called after each new node.
    pub(crate) fn set_hook(&self, hook: Hook) {
        self.write().hook = Some(hook);
    }

    /// Replaces an input of a node, as loop building does for back edges.
    ///
    /// # Errors
    /// `InvalidArgument` if there is no such input, or the dtype differs.
    pub(crate) fn update_input(&self, op: Operation, index: usize, new: Output) -> Result<()> {
        let mut inner = self.write();
        let dtype = inner.output_type(new)?.dtype;
        let old = inner.node(op)?.inputs.get(index).copied();
        let Some(old) = old else { bail!(InvalidArgument, "node '{}' has no input {index}", inner.node(op)?.name) };
        if let Ok(ty) = inner.output_type(old)
            && ty.dtype != dtype
        {
            bail!(InvalidArgument, "Cannot update edge, incompatible shapes or types: {dtype} and {}", ty.dtype);
        }
        inner.version += 1;
        inner.node_mut(op)?.inputs[index] = new;
        Ok(())
    }

    /// Adds control inputs to a node that exists.
    ///
    /// # Errors
    /// `InvalidArgument` for nodes of another graph.
    pub(crate) fn add_control_inputs(&self, op: Operation, controls: &[Operation]) -> Result<()> {
        let mut inner = self.write();
        for &control in controls {
            inner.node(control)?;
            inner.version += 1;
            let node = inner.node_mut(op)?;
            if !node.controls.contains(&control) {
                node.controls.push(control);
            }
        }
        Ok(())
    }

    /// Takes all control inputs off a node and returns them.
    pub(crate) fn remove_control_inputs(&self, op: Operation) -> Result<Vec<Operation>> {
        let mut inner = self.write();
        inner.version += 1;
        Ok(std::mem::take(&mut inner.node_mut(op)?.controls).into_vec())
    }

    /// Takes a set of control inputs as the node's own.
    pub(crate) fn set_control_inputs(&self, op: Operation, controls: &[Operation]) -> Result<()> {
        self.remove_control_inputs(op)?;
        self.add_control_inputs(op, controls)
    }

    /// The control-flow context that nodes are made in now.
    pub(crate) fn current_context(&self) -> Option<ContextId> {
        self.read().scopes.context()
    }

    /// Makes nodes in this control-flow context from now on; returns the one before.
    pub(crate) fn set_current_context(&self, context: Option<ContextId>) -> Option<ContextId> {
        self.write().scopes.set_context(context)
    }

    /// The control-flow context of a node; none for a node of another graph.
    pub(crate) fn op_context(&self, op: Operation) -> Option<ContextId> {
        self.read().node(op).ok()?.context
    }

    /// Moves a node to a control-flow context.
    pub(crate) fn set_op_context(&self, op: Operation, context: Option<ContextId>) -> Result<()> {
        self.write().node_mut(op)?.context = context;
        Ok(())
    }

    /// Says that a session can't fetch the node's outputs.
    pub(crate) fn prevent_fetching(&self, op: Operation) -> Result<()> {
        self.write().node_mut(op)?.unfetchable = true;
        Ok(())
    }

    /// Says that a session can't feed the node's outputs.
    pub(crate) fn prevent_feeding(&self, op: Operation) -> Result<()> {
        self.write().node_mut(op)?.unfeedable = true;
        Ok(())
    }

    /// Sets an attribute of a node that exists.
    ///
    /// # Errors
    /// `InvalidArgument` for a node of another graph.
    pub fn set_attr(&self, op: Operation, name: &str, value: impl attr::IntoAttr) -> Result<()> {
        let mut inner = self.write();
        inner.version += 1;
        inner.node_mut(op)?.attrs.insert(name.to_string(), value.into_attr());
        Ok(())
    }
}

impl Inner {
    pub fn node(&self, op: Operation) -> Result<&Node> {
        if op.graph != self.id {
            return Err(Error::invalid_argument("a node or tensor of another graph was given"));
        }
        match self.nodes.get_index(op.index as usize) {
            Some((_, node)) => Ok(node),
            None => Err(Error::invalid_argument(format!("the graph has no node {op:?}"))),
        }
    }

    pub fn node_mut(&mut self, op: Operation) -> Result<&mut Node> {
        self.node(op)?;
        Ok(&mut self.nodes[op.index as usize])
    }

    pub fn operation(&self, index: usize) -> Operation {
        Operation { graph: self.id, index: index as u32 }
    }

    /// The type of an output.
    ///
    /// # Errors
    /// `InvalidArgument` if there is no such output; `Unimplemented` for one of an op that isn't known.
    pub fn output_type(&self, output: Output) -> Result<OutputType> {
        let node = self.node(output.op)?;
        match node.types.get(output.index as usize) {
            Some(ty) => Ok(*ty),
            None if node.record.is_none() && node.types.is_empty() => {
                Err(Error::unimplemented(format!("the outputs of node '{}' of op {} aren't known", node.name, node.op_type)))
            }
            None => Err(Error::invalid_argument(format!(
                "node '{}' has {} outputs, output {} was asked for",
                node.name,
                node.types.len(),
                output.index
            ))),
        }
    }

    pub fn intern(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.interned.get(text) {
            return known.clone();
        }
        let new: Arc<str> = Arc::from(text);
        self.interned.insert(new.clone());
        new
    }

    /// Adds a finished node.
    fn add(&mut self, node: Node) -> Result<Operation> {
        let Ok(index) = u32::try_from(self.nodes.len()) else { bail!(ResourceExhausted, "a graph holds at most 2**32 nodes") };
        let op = Operation { graph: self.id, index };
        self.version += 1;
        self.nodes.insert(node.name.clone(), node);
        self.scopes.saw(op);
        Ok(op)
    }

    pub(crate) fn attr<'a>(&self, node: &'a Node, name: &str) -> Option<&'a AttrValue> {
        let default = || node.record.and_then(|r| r.signature().attr(name)).and_then(|a| a.default.as_ref());
        node.attrs.get(name).or_else(default)
    }
}
