//! Runs graphs: prune, rewrite, split into regions, order, assign slots (a [`Plan`], frozen); then walk the slots (one
//! step).

mod dataflow;
mod frames;
mod function;
mod fuse;
mod loops;
mod prune;
mod reads;
mod rewrite;
mod run;
mod schedule;
mod trace;

pub(crate) use function::FunctionLibrary;
pub use rewrite::Rewrites;
pub(crate) use run::{Plan, StepOptions};
pub(crate) use trace::Tracer;
pub use trace::{NodeEvent, NodeTime, RunMetadata, RunOptions, TensorDescription};

use crate::error::Result;
use crate::graph::op::SessionState;
use crate::graph::{Graph, Operation, Output};
use std::sync::Arc;

/// What a plan is made for.
pub(crate) struct Request<'a> {
    pub feeds: &'a [Output],
    pub fetches: &'a [Output],
    pub targets: &'a [Operation],
    pub rewrites: &'a Rewrites,
}

/// Makes the plan for these feeds, fetches and targets.
pub(crate) fn plan(graph: &Graph, request: &Request, session: &Arc<SessionState>) -> Result<Plan> {
    let mut flow = prune::prune(graph, request.feeds, request.fetches, request.targets)?;
    reads::read_after_writes(&mut flow);
    rewrite::rewrite(&mut flow, request.rewrites)?;
    schedule::schedule(flow, session, request.rewrites)
}
