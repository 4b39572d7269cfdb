//! Control-flow contexts: one for each branch of a conditional and for each loop.

use super::capture;
use crate::error::Result;
use crate::graph::{ContextId, Graph, Operation, Output};
use indexmap::IndexMap;
use std::any::Any;
use std::collections::HashSet;
use std::sync::Arc;

/// A loop, or a branch of a conditional.
pub(crate) struct Context {
    /// The unique name; a loop's is the `frame_name` of its Enters.
    pub name: String,
    /// The context around.
    pub outer: Option<ContextId>,
    /// The contexts within, in order of creation.
    pub nested: Vec<ContextId>,
    /// The tensors that the context has seen: those made in it, and those from outside that it uses.
    pub values: HashSet<Output>,
    /// What a tensor from outside is called inside: the output of a Switch or Enter.
    pub external: IndexMap<Output, Output>,
    /// What the current context was at each `enter` that is still open.
    pub entered: Vec<Option<ContextId>>,
    /// What differs between loops and conditionals.
    pub kind: Kind,
}

pub(crate) enum Kind {
    /// One branch of a conditional.
    Cond {
        /// The predicate.
        pred: Output,
        /// Lives where the branch is taken.
        pivot: Output,
        /// 1 where the predicate is true.
        branch: usize,
    },
    /// A loop.
    While(Box<WhileData>),
}

/// What a loop knows of itself.
#[derive(Clone)]
pub(crate) struct WhileData {
    pub maximum_iterations: Option<Output>,
    pub parallel_iterations: i64,
    pub back_prop: bool,
    pub swap_memory: bool,
    /// The first loop variable within the condition; constants of the condition wait for it.
    pub pivot_for_pred: Option<Output>,
    /// The first loop variable within the body; constants of the body wait for it.
    pub pivot_for_body: Option<Output>,
    /// The LoopCond.
    pub pivot: Option<Output>,
    pub loop_exits: Vec<Output>,
    pub loop_enters: Vec<Output>,
    /// For the loop of a gradient: where the values of the loop that it runs back through come from.
    pub backprop: Option<Arc<dyn Backprop>>,
}

impl WhileData {
    pub fn new(parallel_iterations: i64, back_prop: bool, swap_memory: bool) -> WhileData {
        WhileData {
            maximum_iterations: None,
            parallel_iterations,
            back_prop,
            swap_memory,
            pivot_for_pred: None,
            pivot_for_body: None,
            pivot: None,
            loop_exits: Vec::new(),
            loop_enters: Vec::new(),
            backprop: None,
        }
    }
}

/// What the loop of a gradient asks for when it uses a value of the forward loop.
pub(crate) trait Backprop: Any + Send + Sync {
    /// The forward loop.
    fn forward_context(&self) -> ContextId;
    /// The value of the forward loop's tensor in the iteration that is run back through.
    ///
    /// # Errors
    /// As the nodes that are made for it.
    fn real_value(&self, graph: &Graph, value: Output) -> Result<Output>;
}

#[derive(Default)]
struct Contexts {
    all: Vec<Context>,
}

/// Adds a context within the current one.
pub(crate) fn new_context(graph: &Graph, name: String, kind: Kind) -> ContextId {
    let outer = graph.current_context();
    graph.set_hook(capture::hook);
    graph.with_extension(|contexts: &mut Contexts| {
        let id = ContextId(contexts.all.len() as u32);
        let (values, external, entered) = Default::default();
        contexts.all.push(Context { name, outer, nested: Vec::new(), values, external, entered, kind });
        if let Some(outer) = outer {
            contexts.all[outer.0 as usize].nested.push(id);
        }
        id
    })
}

/// Reads or changes a context. The graph can't be used meanwhile.
pub(crate) fn with<R>(graph: &Graph, id: ContextId, run: impl FnOnce(&mut Context) -> R) -> R {
    graph.with_extension(|contexts: &mut Contexts| run(&mut contexts.all[id.0 as usize]))
}

/// Reads or changes what a loop knows of itself; nothing for a conditional.
pub(crate) fn with_while<R>(graph: &Graph, id: ContextId, run: impl FnOnce(&mut WhileData) -> R) -> Option<R> {
    with(graph, id, |c| match &mut c.kind {
        Kind::While(data) => Some(run(data)),
        Kind::Cond { .. } => None,
    })
}

/// Makes nodes in this context from now on.
pub(crate) fn enter(graph: &Graph, id: ContextId) {
    let previous = graph.set_current_context(Some(id));
    with(graph, id, |c| c.entered.push(previous));
}

/// Makes nodes in the context that was current before the context was entered.
pub(crate) fn exit(graph: &Graph, id: ContextId) {
    let previous = with(graph, id, |c| c.entered.pop());
    graph.set_current_context(previous.flatten());
}

/// Runs within a context, if one is given.
pub(crate) fn within<R>(graph: &Graph, id: Option<ContextId>, run: impl FnOnce() -> Result<R>) -> Result<R> {
    let Some(id) = id else { return run() };
    enter(graph, id);
    let result = run();
    exit(graph, id);
    result
}

/// Runs where the context was entered from, and enters it again.
pub(crate) fn outside<R>(graph: &Graph, id: ContextId, run: impl FnOnce() -> Result<R>) -> Result<R> {
    exit(graph, id);
    let result = run();
    enter(graph, id);
    result
}

/// Makes tensors known to the context around.
pub(crate) fn exit_result(graph: &Graph, id: ContextId, results: &[Output]) {
    if let Some(outer) = outer(graph, id) {
        with(graph, outer, |c| c.values.extend(results));
    }
}

pub(crate) fn outer(graph: &Graph, id: ContextId) -> Option<ContextId> {
    with(graph, id, |c| c.outer)
}

pub(crate) fn is_while(graph: &Graph, id: ContextId) -> bool {
    with(graph, id, |c| matches!(c.kind, Kind::While(_)))
}

/// The innermost loop that a context is or stands in.
pub(crate) fn containing_while(graph: &Graph, mut id: Option<ContextId>) -> Option<ContextId> {
    while let Some(context) = id {
        let (found, outer) = with(graph, context, |c| (matches!(c.kind, Kind::While(_)), c.outer));
        if found {
            return Some(context);
        }
        id = outer;
    }
    None
}

/// The innermost loop that a node was made in.
pub(crate) fn while_context_of(graph: &Graph, op: Operation) -> Option<ContextId> {
    containing_while(graph, graph.op_context(op))
}

/// The context that a node's outputs are in: for an Exit, the one around the loop.
pub(crate) fn output_context(graph: &Graph, op: Operation) -> Option<ContextId> {
    let context = graph.op_context(op)?;
    if is_exit(graph, op) { outer(graph, context) } else { Some(context) }
}

/// True where the first context is the second, or stands in it.
pub(crate) fn is_within(graph: &Graph, mut inner: Option<ContextId>, container: Option<ContextId>) -> bool {
    while inner != container {
        match inner {
            None => return false,
            Some(id) => inner = outer(graph, id),
        }
    }
    true
}

/// The tensor that constants of a context wait for.
pub(crate) fn control_pivot(graph: &Graph, id: ContextId) -> Option<Output> {
    with(graph, id, |c| match &c.kind {
        Kind::Cond { pivot, .. } => Some(*pivot),
        Kind::While(data) => data.pivot_for_body.or(data.pivot_for_pred),
    })
}

/// The gradient machinery of a loop, if it is the loop of a gradient.
pub(crate) fn backprop(graph: &Graph, id: ContextId) -> Option<Arc<dyn Backprop>> {
    with_while(graph, id, |w| w.backprop.clone()).flatten()
}

pub(crate) fn is_exit(graph: &Graph, op: Operation) -> bool {
    matches!(graph.op_type(op).as_str(), "Exit" | "RefExit")
}

pub(crate) fn is_enter(graph: &Graph, op: Operation) -> bool {
    matches!(graph.op_type(op).as_str(), "Enter" | "RefEnter")
}

pub(crate) fn is_switch(graph: &Graph, op: Operation) -> bool {
    matches!(graph.op_type(op).as_str(), "Switch" | "RefSwitch")
}

/// True for an Enter of a loop invariant.
pub(crate) fn is_constant_enter(graph: &Graph, op: Operation) -> bool {
    let constant = |op| graph.get_attr(op, "is_constant").and_then(|v| crate::graph::attr::boolean(&v));
    is_enter(graph, op) && constant(op).unwrap_or(false)
}

/// True for the Switch of a loop variable: one made in a loop some consumer of which isn't on a conditional's branch.
pub(crate) fn is_loop_switch(graph: &Graph, op: Operation) -> bool {
    let Some(context) = graph.op_context(op) else { return false };
    is_switch(graph, op) && is_while(graph, context) && !is_cond_switch(graph, op)
}

/// True for a Switch all of whose consumers are on branches of conditionals.
fn is_cond_switch(graph: &Graph, op: Operation) -> bool {
    graph.outputs(op).into_iter().all(|output| {
        graph.consumers(output).into_iter().all(|consumer| {
            let mut context = graph.op_context(consumer);
            if is_enter(graph, consumer) {
                context = context.and_then(|c| outer(graph, c));
            }
            context.is_some_and(|c| !is_while(graph, c))
        })
    })
}
