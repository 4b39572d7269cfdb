//! One step of a batch whose sequences have different lengths.

use super::nested::State;
use crate::error::Result;
use crate::graph::{Graph, Output};

/// What decides which sequences go on at a step.
#[derive(Clone, Copy)]
pub(super) struct Lengths {
    pub all: Output,
    pub least: Output,
    pub greatest: Output,
}

impl Lengths {
    /// Finds the least and the greatest length.
    ///
    /// # Errors
    /// As the nodes that are made.
    pub fn new(g: &Graph, all: Output) -> Result<Lengths> {
        let extreme = |op: &str| -> Result<Output> {
            let axes = g.constant([0i32])?;
            g.op(op).input(all).input(axes).attr("keep_dims", false).output()
        };
        Ok(Lengths { all, least: extreme("Min")?, greatest: extreme("Max")? })
    }
}

/// For sequences that are over, what was before in place of what came out: zeros for the output, and the old state.
///
/// # Errors
/// As the nodes that are made.
pub(super) fn copy_some_through(
    g: &Graph,
    is_over: Output,
    before: &(Output, State),
    after: &(Output, State),
) -> Result<(Output, State)> {
    let through = |old: Output, new: Output| -> Result<Output> {
        if g.shape(old)?.rank() == Some(0) {
            return Ok(new);
        }
        let _beside = g.colocate_with(new.op)?;
        g.op("Select").input(is_over).input(old).input(new).output()
    };
    let output = through(before.0, after.0)?;
    let mut old = before.1.flatten().into_iter();
    let state = after.1.try_map(&mut |&new| match old.next() {
        Some(old) => through(old, new),
        None => Ok(new),
    })?;
    Ok((output, state))
}

/// Gives the results of a step the static shapes of what was before.
///
/// # Errors
/// `InvalidArgument` where they contradict each other.
pub(super) fn keep_shapes(g: &Graph, before: &(Output, State), after: &(Output, State)) -> Result<()> {
    g.set_shape(after.0, g.shape(before.0)?)?;
    for (old, new) in before.1.flatten().into_iter().zip(after.1.flatten()) {
        g.set_shape(new, g.shape(old)?)?;
    }
    Ok(())
}
