//! A loop and the loop of its gradient: what the one computed and the other needs goes by way of stacks.

use super::accumulate;
use crate::control_flow::{self, Backprop, Kind, WhileData, primitive};
use crate::error::{Result, bail};
use crate::graph::{ContextId, Graph, Operation, Output};

use indexmap::IndexMap;
use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

/// The state of one loop in one gradient computation.
pub(super) struct LoopState {
    /// The loop.
    pub forward: ContextId,
    /// The state of the loop around.
    pub outer: Option<Arc<LoopState>>,
    /// The loop's exits before a counter was added.
    pub exits: Vec<Output>,
    /// The counter of the loop, for its next iteration.
    forward_index: OnceLock<Output>,
    /// The loop of the gradient.
    grad: OnceLock<ContextId>,
    /// The counter of the loop of the gradient, for its next iteration.
    grad_index: OnceLock<Output>,
    changing: Mutex<Changing>,
}

#[derive(Default)]
struct Changing {
    history: IndexMap<Output, Output>,
    switches: IndexMap<Operation, Output>,
    forward_sync: Option<Operation>,
    grad_sync: Option<Operation>,
    exits: Exits,
}

/// The exits that wait until it is known which of them have gradients.
#[derive(Default)]
pub(super) struct Exits {
    pub unused: Vec<Output>,
    pub deferred: Vec<Output>,
    pub pending: i64,
}

impl Backprop for LoopState {
    fn forward_context(&self) -> ContextId {
        self.forward
    }

    fn real_value(&self, graph: &Graph, value: Output) -> Result<Output> {
        self.get_real_value(graph, value)
    }
}

/// The state that belongs to the loop of a gradient.
pub(super) fn of_context(g: &Graph, context: ContextId) -> Option<Arc<LoopState>> {
    let any: Arc<dyn Any + Send + Sync> = control_flow::backprop(g, context)?;
    any.downcast().ok()
}

impl LoopState {
    /// Counts the loop's iterations, and makes the loop of the gradient that counts down.
    pub fn new(g: &Graph, forward: ContextId, outer: Option<Arc<LoopState>>) -> Result<Arc<LoopState>> {
        let data = control_flow::with_while(g, forward, |w| w.clone());
        let Some(data) = data else { bail!(Internal, "a conditional was taken for a loop") };
        let outer_forward = match &outer {
            Some(outer) => Some(outer.forward),
            None => control_flow::outer(g, forward),
        };
        let exits = Exits { pending: data.loop_exits.len() as i64, ..Exits::default() };
        let state = Arc::new(LoopState {
            forward,
            outer: outer.clone(),
            exits: data.loop_exits.clone(),
            forward_index: OnceLock::new(),
            grad: OnceLock::new(),
            grad_index: OnceLock::new(),
            changing: Mutex::new(Changing { exits, ..Changing::default() }),
        });
        let (count, forward_index) =
            control_flow::within(g, outer_forward, || accumulate::add_forward_counter(g, forward, outer.as_deref()))?;
        let _ = state.forward_index.set(forward_index);

        let new_grad_context = || {
            let mut own = WhileData::new(data.parallel_iterations, data.back_prop, data.swap_memory);
            own.maximum_iterations = data.maximum_iterations;
            own.backprop = Some(state.clone());
            let name = g.unique_name(&control_flow::with(g, forward, |c| c.name.clone()));
            let id = control_flow::new_context(g, name, Kind::While(Box::new(own)));
            let _ = state.grad.set(id);
            id
        };
        let grad_index = match &outer {
            Some(outer) => {
                // The loop runs anew in each iteration of the one around, so its counts are kept.
                control_flow::with(g, outer.forward, |c| c.values.insert(count));
                let history = outer.add_forward_accumulator(g, count, false)?;
                control_flow::within(g, Some(outer.grad_context()), || {
                    let id = new_grad_context();
                    let real = outer.add_accumulated_value(g, history, count, false)?;
                    accumulate::add_backprop_counter(g, id, real, Some(outer))
                })?
            }
            None => control_flow::within(g, outer_forward, || {
                let id = new_grad_context();
                accumulate::add_backprop_counter(g, id, count, None)
            })?,
        };
        let _ = state.grad_index.set(grad_index);
        Ok(state)
    }

    fn changing(&self) -> MutexGuard<'_, Changing> {
        self.changing.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The loop of the gradient.
    pub fn grad_context(&self) -> ContextId {
        *self.grad.get_or_init(|| self.forward)
    }

    /// The node that adds one to the loop's counter.
    pub fn forward_add(&self, g: &Graph) -> Result<Operation> {
        Ok(g.input(self.forward_index()?.op, 0)?.op)
    }

    fn forward_index(&self) -> Result<Output> {
        match self.forward_index.get() {
            Some(index) => Ok(*index),
            None => bail!(Internal, "a loop is not counted yet"),
        }
    }

    /// Reads or changes the exits that wait.
    pub fn with_exits<R>(&self, run: impl FnOnce(&mut Exits) -> R) -> R {
        run(&mut self.changing().exits)
    }

    /// The Merge that a Switch of the loop was given in the gradient.
    pub fn merge_of(&self, switch: Operation) -> Option<Output> {
        self.changing().switches.get(&switch).copied()
    }

    pub fn set_merge_of(&self, switch: Operation, merge: Output) {
        self.changing().switches.insert(switch, merge);
    }

    /// All such Merges.
    pub fn merges(&self) -> Vec<Output> {
        self.changing().switches.values().copied().collect()
    }

    /// What stands in the gradient for a tensor of the loop.
    pub fn history_of(&self, value: Output) -> Option<Output> {
        self.changing().history.get(&value).copied()
    }

    pub fn set_history_of(&self, value: Output, real: Output) {
        self.changing().history.insert(value, real);
    }

    /// What keeps the pushes of the loop in the order of iterations.
    fn forward_sync(&self, g: &Graph) -> Result<Operation> {
        if let Some(sync) = self.changing().forward_sync {
            return Ok(sync);
        }
        let sync = {
            let _none = g.cleared_control_dependencies();
            g.op("ControlTrigger").name("f_sync").finish()?
        };
        g.set_op_context(sync, Some(self.forward))?;
        g.add_control_inputs(self.forward_index()?.op, &[sync])?;
        self.changing().forward_sync = Some(sync);
        Ok(sync)
    }

    /// What keeps the pops of the gradient in the order of iterations.
    pub fn grad_sync(&self, g: &Graph) -> Result<Operation> {
        if let Some(sync) = self.changing().grad_sync {
            return Ok(sync);
        }
        let sync = {
            let _none = g.cleared_control_dependencies();
            g.op("ControlTrigger").name("b_sync").finish()?
        };
        g.set_op_context(sync, Some(self.grad_context()))?;
        if let Some(index) = self.grad_index.get() {
            g.add_control_inputs(index.op, &[sync])?;
        }
        self.changing().grad_sync = Some(sync);
        Ok(sync)
    }

    /// Keeps the value that a tensor has in each iteration of the loop. Returns the stack.
    pub fn add_forward_accumulator(&self, g: &Graph, value: Output, dead_branch: bool) -> Result<Output> {
        let current = g.current_context();
        let _none = g.cleared_control_dependencies();
        let stack = control_flow::within(g, current, || {
            let _beside = g.colocate_with(value.op)?;
            let unlimited = g.constant(-1i32)?;
            g.op("StackV2").input(unlimited).attr("elem_type", g.dtype(value)?).name("f_acc").output()
        })?;
        let entered = control_flow::add_value(g, self.forward, stack)?;
        let swap = control_flow::with_while(g, self.forward, |w| w.swap_memory).unwrap_or(false);
        let push = || g.op("StackPushV2").input(entered).input(value).attr("swap_memory", swap).finish();
        let context = control_flow::output_context(g, value.op);
        let push = if context == Some(self.forward) {
            let push = control_flow::within(g, context, push)?;
            g.add_control_inputs(self.forward_index()?.op, &[push])?;
            push
        } else {
            let Some(context) = context.filter(|&c| !control_flow::is_while(g, c)) else {
                bail!(
                    InvalidArgument,
                    "the value of '{}' is needed in a gradient, but stands in another loop",
                    g.tensor_name(value)
                )
            };
            let push = if dead_branch {
                let push = control_flow::within(g, control_flow::outer(g, context), push)?;
                g.set_op_context(push, Some(context))?;
                push
            } else {
                control_flow::within(g, Some(context), push)?
            };
            g.add_control_inputs(self.forward_sync(g)?, &[push])?;
            push
        };
        g.add_control_inputs(push, &[self.forward_add(g)?])?;
        Ok(stack)
    }

    /// Takes the value of one iteration from a stack, in the gradient.
    pub fn add_accumulated_value(&self, g: &Graph, history: Output, value: Output, dead_branch: bool) -> Result<Output> {
        let history_context = g.op_context(history.op);
        let mut guard = None;
        let mut at = g.op_context(value.op);
        while let Some(context) = at.filter(|_| at != history_context) {
            let (cond, outer) = control_flow::with(g, context, |c| {
                let cond = match c.kind {
                    Kind::Cond { pred, branch, .. } => Some((pred, branch)),
                    Kind::While(_) => None,
                };
                (cond, c.outer)
            });
            if cond.is_some() {
                guard = cond;
                break;
            }
            at = outer;
        }
        let pop = {
            let _none = g.cleared_control_dependencies();
            control_flow::within(g, Some(self.grad_context()), || {
                let mut history = history;
                if let Some((pred, branch)) = guard {
                    let mut real = None;
                    let mut state = Some(self);
                    while let (Some(at), None) = (state, real) {
                        real = at.history_of(pred);
                        state = at.outer.as_deref();
                    }
                    let branch = if dead_branch { 1 - branch } else { branch };
                    history = primitive::switch_ref_or_tensor(g, history, real.unwrap_or(pred), "Switch")?[branch];
                }
                let pop = g.op("StackPopV2").input(history).attr("elem_type", g.dtype(value)?).output()?;
                g.set_shape(pop, g.shape(value)?)?;
                Ok(pop)
            })?
        };
        let parallel = control_flow::with_while(g, self.grad_context(), |w| w.parallel_iterations).unwrap_or(1);
        if parallel > 1 {
            g.add_control_inputs(self.grad_sync(g)?, &[pop.op])?;
        }
        Ok(pop)
    }

    /// What stands in the gradient for a tensor of the loop: an invariant itself, a constant anew, else its history.
    fn get_real_value(&self, g: &Graph, value: Output) -> Result<Output> {
        if let Some(real) = self.history_of(value) {
            return Ok(real);
        }
        let mut current = value;
        let mut state: &LoopState = self;
        let real = loop {
            if let Some(enter) = constant_enter(g, current)? {
                current = g.input(enter, 0)?;
                match &state.outer {
                    Some(outer) => state = outer,
                    None => break control_flow::add_value(g, self.grad_context(), current)?,
                }
            } else if g.op_type(current.op) == "Const" {
                let Some(constant) = g.constant_value(current) else {
                    bail!(InvalidArgument, "the constant {} can't be read", g.tensor_name(current))
                };
                break g.constant(constant)?;
            } else {
                let grad = self.grad_context();
                let history = control_flow::outside(g, grad, || state.add_forward_accumulator(g, current, false))?;
                let mut real = state.add_accumulated_value(g, history, current, false)?;
                if !std::ptr::eq(state, self) {
                    real = control_flow::add_value(g, self.grad_context(), real)?;
                }
                break real;
            }
        };
        self.set_history_of(value, real);
        Ok(real)
    }
}

/// The Enter of the loop invariant that a tensor is, if it is one.
fn constant_enter(g: &Graph, value: Output) -> Result<Option<Operation>> {
    let mut op = value.op;
    while matches!(g.op_type(op).as_str(), "Switch" | "RefSwitch" | "Identity" | "RefIdentity") {
        op = g.input(op, 0)?.op;
    }
    Ok(control_flow::is_constant_enter(g, op).then_some(op))
}
