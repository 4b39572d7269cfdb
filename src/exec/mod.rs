//! Runs graphs: prune, rewrite, split into regions, order, assign slots (a [`Plan`], frozen); then walk the slots (one
//! step).

mod dataflow;
mod frames;
mod function;
mod prune;
mod run;
mod schedule;

pub(crate) use function::FunctionLibrary;
pub(crate) use run::{Plan, RunOptions};

use crate::error::Result;
use crate::graph::op::SessionState;
use crate::graph::{Graph, Operation, Output};
use std::sync::Arc;

/// Makes the plan for these feeds, fetches and targets.
pub(crate) fn plan(
    graph: &Graph,
    feeds: &[Output],
    fetches: &[Output],
    targets: &[Operation],
    session: &Arc<SessionState>,
) -> Result<Plan> {
    let flow = prune::prune(graph, feeds, fetches, targets)?;
    schedule::schedule(flow, session)
}
