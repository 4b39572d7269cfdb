//! The loops that one gradient computation runs back through.

use super::default;
use super::loop_state::{Exits, LoopState};
use crate::control_flow::{self, Kind, primitive};
use crate::error::{Result, bail};
use crate::graph::{ContextId, Graph, Operation, Output};
use crate::tensor::{DType, Tensor};
use indexmap::IndexMap;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The state of each loop, by the loop.
#[derive(Default)]
pub(super) struct ControlFlowState {
    states: IndexMap<ContextId, Arc<LoopState>>,
}

impl ControlFlowState {
    /// The state of the loop that a node is in. `before` counts an Exit as behind its loop.
    pub fn state_of(&self, g: &Graph, op: Operation, before: bool) -> Option<Arc<LoopState>> {
        let mut context = control_flow::while_context_of(g, op)?;
        if before && control_flow::is_exit(g, op) {
            let own = g.op_context(op)?;
            context = control_flow::containing_while(g, control_flow::outer(g, own))?;
        }
        self.states.get(&context).cloned()
    }

    /// Adds the loop of an Exit, and its other Exits to the nodes between.
    pub fn add_loop_of(
        &mut self,
        g: &Graph,
        exit: Operation,
        list: &mut Vec<Operation>,
        between: &mut HashSet<Operation>,
    ) -> Result<()> {
        let Some(forward) = control_flow::while_context_of(g, exit) else {
            bail!(InvalidArgument, "Failed to call gradients on the while loop of '{}': it has no context", g.op_name(exit))
        };
        if self.states.contains_key(&forward) {
            return Ok(());
        }
        let outer = control_flow::containing_while(g, control_flow::outer(g, forward));
        let outer = outer.and_then(|o| self.states.get(&o).cloned());
        let state = LoopState::new(g, forward, outer)?;
        for exit in &state.exits {
            if between.insert(exit.op) {
                list.push(exit.op);
            }
        }
        self.states.insert(forward, state);
        Ok(())
    }

    /// The Exits that nothing hands gradients to and that must nevertheless be run back through now.
    pub fn unused_exits(&self, g: &Graph, pending: &mut HashMap<Operation, i64>, to: &HashSet<Operation>) -> Vec<Output> {
        let mut exits = Vec::new();
        for state in self.states.values() {
            for &exit in &state.exits {
                if pending.get(&exit.op).copied().unwrap_or(0) == 0 {
                    state.with_exits(|e| {
                        e.pending -= 1;
                        if !to.contains(&exit.op) {
                            e.unused.push(exit);
                        }
                        if e.pending == 0 {
                            exits.extend(&e.unused);
                        }
                    });
                }
            }
            let enters = control_flow::with_while(g, state.forward, |w| w.loop_enters.clone()).unwrap_or_default();
            for enter in enters {
                let count = pending.entry(enter.op).or_default();
                if *count == 0 {
                    *count = 1;
                }
            }
        }
        exits
    }

    /// Notes that an Exit has all its gradients. Once all Exits of the loop have: those to run back through now.
    pub fn defer_exit(&self, g: &Graph, exit: Output, has_gradient: impl Fn(Operation) -> bool) -> Option<ReadyExits> {
        let state = self.state_of(g, exit.op, false)?;
        state.with_exits(|e: &mut Exits| {
            e.deferred.push(exit);
            e.pending -= 1;
            if e.pending > 0 {
                return None;
            }
            let (with_gradient, without): (Vec<Output>, Vec<Output>) = e.deferred.iter().partition(|exit| has_gradient(exit.op));
            e.unused.extend(without);
            Some(ReadyExits { with_gradient, unused: e.unused.clone() })
        })
    }

    pub fn enter_grad_context(&self, g: &Graph, op: Operation, before: bool) {
        if let Some(state) = self.state_of(g, op, before) {
            control_flow::enter(g, state.grad_context());
        }
    }

    pub fn exit_grad_context(&self, g: &Graph, op: Operation, before: bool) {
        if let Some(state) = self.state_of(g, op, before) {
            control_flow::exit(g, state.grad_context());
        }
    }

    /// The zeros that stand for the gradient of an Exit.
    pub fn zeros_for_exit(&self, g: &Graph, exit: Output) -> Result<Output> {
        let (shape, dtype) = (g.shape(exit)?, g.dtype(exit)?);
        let Some(forward) = g.op_context(exit.op) else { bail!(Internal, "an Exit is in no loop") };
        let around = control_flow::outer(g, forward);
        let outer = control_flow::containing_while(g, around).and_then(|o| self.states.get(&o).cloned());
        if dtype == DType::Variant {
            let context = outer.map(|o| o.grad_context());
            return control_flow::within(g, context, || g.zeros_like_with(exit, None, false));
        }
        let Some(outer) = outer else {
            return match shape.to_dims() {
                Some(dims) => g.zeros(&dims[..], dtype),
                None => g.zeros_like_with(exit, None, false),
            };
        };
        let grad = outer.grad_context();
        if let Some(dims) = shape.to_dims() {
            return control_flow::within(g, Some(grad), || g.zeros(&dims[..], dtype));
        }
        let shape = control_flow::within(g, around, || g.shape_internal(exit, None, false))?;
        let history = outer.add_forward_accumulator(g, shape, false)?;
        control_flow::within(g, Some(grad), || {
            let real = outer.add_accumulated_value(g, history, shape, false)?;
            g.zeros(real, dtype)
        })
    }

    /// Zeros for an output of a node without a gradient; none for the Switch of a loop. The loop of the gradient is the
    /// current context.
    pub fn zeros_like_output(&self, g: &Graph, op: Operation, index: usize) -> Result<Option<Output>> {
        if control_flow::is_loop_switch(g, op) {
            return Ok(None);
        }
        let state = control_flow::while_context_of(g, op).and_then(|f| self.states.get(&f).cloned());
        let Some(state) = state else { return default::zeros_of_output(g, op, index).map(Some) };
        let branch = if control_flow::is_switch(g, op) { default::branch_of(g, op) } else { None };
        let value = op.output(index);
        let (shape, dtype) = (g.shape(value)?, g.dtype(value)?);
        if dtype == DType::Variant && branch.is_none() {
            return g.zeros_like_with(value, None, false).map(Some);
        }
        if let Some(dims) = shape.to_dims() {
            let zeros = match dtype {
                DType::Variant => g.zeros_like_with(g.input(op, 0)?, None, false)?,
                DType::Resource => {
                    let shape = g.variable_shape(value)?;
                    g.zeros(shape, default::zeros_dtype(g, value)?)?
                }
                _ => g.constant(Tensor::zeros(dtype, &dims)?)?,
            };
            let Some((pred, branch)) = branch else { return Ok(Some(zeros)) };
            let Some(pred) = state.history_of(pred) else {
                bail!(Internal, "the predicate of a conditional in a loop was not kept")
            };
            return Ok(Some(primitive::switch_ref_or_tensor(g, zeros, pred, "Switch")?[1 - branch]));
        }
        let Some(context) = g.op_context(op) else { bail!(Internal, "a node of a loop has no context") };
        let shape = match branch {
            Some((pred, branch)) => control_flow::within(g, control_flow::outer(g, context), || {
                let switched = primitive::switch_ref_or_tensor(g, g.input(op, 0)?, pred, "Switch")?[1 - branch];
                let shape = g.shape_internal(switched, None, false)?;
                g.set_op_context(switched.op, Some(context))?;
                g.set_op_context(shape.op, Some(context))?;
                Ok(shape)
            })?,
            None => control_flow::within(g, Some(context), || g.shape_internal(value, None, false))?,
        };
        let keep = || state.add_forward_accumulator(g, shape, branch.is_some());
        let history = control_flow::outside(g, state.grad_context(), keep)?;
        let real = state.add_accumulated_value(g, history, shape, branch.is_some())?;
        g.zeros(real, dtype).map(Some)
    }

    /// Gives zeros to loop variables whose value in an iteration doesn't depend on the one before.
    pub fn finish(&self, g: &Graph) -> Result<()> {
        for state in self.states.values() {
            for merge in state.merges() {
                let (first, second) = (g.input(merge.op, 0)?, g.input(merge.op, 1)?);
                if first == second {
                    let next = zero_next(g, state.grad_context(), first)?;
                    g.update_input(merge.op, 1, next)?;
                }
            }
        }
        Ok(())
    }
}

/// The Exits of a loop that are to be run back through.
pub(super) struct ReadyExits {
    pub with_gradient: Vec<Output>,
    pub unused: Vec<Output>,
}

fn zero_next(g: &Graph, grad: ContextId, first: Output) -> Result<Output> {
    let (shape, dtype) = (g.shape(first)?, g.dtype(first)?);
    if let Some(dims) = shape.to_dims() {
        return control_flow::within(g, Some(grad), || {
            let zeros = match dtype {
                DType::Variant => g.zeros_like_with(first, None, false)?,
                _ => g.constant(Tensor::zeros(dtype, &dims)?)?,
            };
            primitive::next_iteration(g, zeros)
        });
    }
    let zeros = control_flow::within(g, control_flow::outer(g, grad), || {
        let shape = g.shape_internal(g.input(first.op, 0)?, None, false)?;
        g.zeros(shape, dtype)
    })?;
    control_flow::within(g, Some(grad), || primitive::next_iteration(g, zeros))
}

/// True for the Switch of a loop whose own context is the given one.
pub(super) fn is_switch_of(g: &Graph, op: Operation, context: Option<ContextId>) -> bool {
    let own = g.op_context(op);
    control_flow::is_switch(g, op)
        && own == context
        && own.is_some_and(|c| control_flow::with(g, c, |c| matches!(c.kind, Kind::While(_))))
}
