//! The needed part of a graph as rewrites see it: nodes by position, inputs by position and output.

use crate::graph::op::{Control, Kernel, NodeInfo, Op, Prepared};
use crate::proto::NameAttrList;
use smallvec::SmallVec;
use std::sync::Arc;

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// An output of a node.
    Node(usize, usize),
    /// A fed value.
    Feed(usize),
}

/// How a node is run.
pub(super) enum Action {
    /// By its op's kernel.
    Op(&'static Op),
    /// By calling a function of the library.
    Call(NameAttrList),
    /// By a kernel that a rewrite made.
    Made(Prepared),
    /// The same, of which the outputs depend on the inputs alone.
    MadePure(Prepared),
}

pub(super) struct FlowNode {
    pub info: Arc<NodeInfo>,
    pub action: Action,
    pub inputs: Vec<Source>,
    pub controls: SmallVec<[usize; 2]>,
    /// The position in the graph, by which nodes that don't depend on each other are ordered.
    pub position: usize,
}

impl FlowNode {
    pub fn control(&self) -> Option<Control> {
        match self.action {
            Action::Op(Op { kernel: Kernel::Control(control), .. }) => Some(*control),
            _ => None,
        }
    }
}

/// The nodes that a step needs.
pub(super) struct Dataflow {
    pub nodes: Vec<FlowNode>,
    /// What is fetched, in order.
    pub fetches: Vec<Source>,
    pub num_feeds: usize,
    /// What is run for its effect.
    pub targets: Vec<usize>,
}
