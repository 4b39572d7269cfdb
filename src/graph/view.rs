//! The graph as petgraph sees it: a derived view for order, cycles and reachability.

use super::{Graph, Inner};
use crate::error::{Result, bail};
use petgraph::algo;
use petgraph::graph::{DiGraph, NodeIndex};

impl Inner {
    /// Nodes by position, with an edge for each data or control input. Back edges of loops are left out where asked.
    pub(crate) fn view(&self, cut_back_edges: bool) -> DiGraph<(), ()> {
        let mut view = DiGraph::with_capacity(self.nodes.len(), self.nodes.len() * 2);
        for _ in 0..self.nodes.len() {
            view.add_node(());
        }
        for (index, node) in self.nodes.values().enumerate() {
            let is_merge = node.op_type.ends_with("Merge");
            let sources = node.inputs.iter().map(|i| i.op.index as usize).chain(node.controls.iter().map(|c| c.index as usize));
            for source in sources {
                let back = is_merge && self.nodes[source].op_type.ends_with("NextIteration");
                if !(cut_back_edges && back) {
                    view.add_edge(NodeIndex::new(source), NodeIndex::new(index), ());
                }
            }
        }
        view
    }
}

impl Graph {
    /// Checks the whole graph: shapes agree, and there is no cycle but a loop's back edge.
    ///
    /// # Errors
    /// `InvalidArgument` that names a node.
    pub fn check(&self) -> Result<()> {
        let mut inner = self.write();
        if let Err(cycle) = algo::toposort(&inner.view(true), None) {
            bail!(
                InvalidArgument,
                "Graph is invalid, contains a cycle through node '{}'",
                inner.nodes[cycle.node_id().index()].name
            );
        }
        for index in 0..inner.nodes.len() {
            let op = inner.operation(index);
            inner.infer_to(op)?;
        }
        Ok(())
    }
}
