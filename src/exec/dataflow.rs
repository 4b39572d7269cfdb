//! The needed part of a graph as rewrites see it: nodes by position, inputs by position and output.

use crate::graph::op::{Control, Kernel, NodeInfo, Op, Prepared};
use crate::proto::NameAttrList;
use smallvec::SmallVec;
use std::ops::Index;
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
    pub inputs: SmallVec<[Source; 2]>,
    pub controls: SmallVec<[usize; 2]>,
    /// The position in the graph, by which nodes that don't depend on each other are ordered.
    pub position: usize,
}

impl FlowNode {
    /// The nodes whose outputs the node takes, and those that it waits for.
    pub fn sources(&self) -> impl Iterator<Item = usize> + Clone {
        let data = self.inputs.iter().filter_map(|s| if let Source::Node(n, _) = s { Some(*n) } else { None });
        data.chain(self.controls.iter().copied())
    }

    pub fn control(&self) -> Option<Control> {
        match self.action {
            Action::Op(Op { kernel: Kernel::Control(control), .. }) => Some(*control),
            _ => None,
        }
    }
}

/// Lists of items in one piece of memory.
pub(super) struct Grouped<T> {
    /// Where each list begins; one more for the end.
    starts: Vec<usize>,
    items: Vec<T>,
}

impl<T: Copy + Default> Grouped<T> {
    /// So many lists, from pairs of a list's number and an item.
    pub fn new(count: usize, pairs: impl Iterator<Item = (usize, T)> + Clone) -> Grouped<T> {
        let mut starts = vec![0; count + 1];
        pairs.clone().for_each(|(list, _)| starts[list + 1] += 1);
        for list in 0..count {
            starts[list + 1] += starts[list];
        }
        let mut items = vec![T::default(); starts[count]];
        // While lists are filled, the start of each is where its next item goes.
        for (list, item) in pairs {
            items[starts[list]] = item;
            starts[list] += 1;
        }
        starts.rotate_right(1);
        starts[0] = 0;
        Grouped { starts, items }
    }
}

impl<T> Index<usize> for Grouped<T> {
    type Output = [T];

    fn index(&self, list: usize) -> &[T] {
        &self.items[self.starts[list]..self.starts[list + 1]]
    }
}

/// Who takes each node's outputs: node and input, by giving node.
pub(super) type Consumers = Grouped<(usize, usize)>;

/// The nodes that a step needs.
pub(super) struct Dataflow {
    pub nodes: Vec<FlowNode>,
    /// What is fetched, in order.
    pub fetches: Vec<Source>,
    pub num_feeds: usize,
    /// What is run for its effect.
    pub targets: Vec<usize>,
}

impl Dataflow {
    /// Who takes each output.
    pub fn consumers(&self) -> Consumers {
        let taken = self.nodes.iter().enumerate().flat_map(|(at, node)| {
            let data = node.inputs.iter().enumerate();
            data.filter_map(
                move |(input, source)| if let Source::Node(from, _) = source { Some((*from, (at, input))) } else { None },
            )
        });
        Grouped::new(self.nodes.len(), taken)
    }
}
