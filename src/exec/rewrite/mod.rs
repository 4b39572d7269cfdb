//! Rewrites of a plan. The graph itself never changes, a rewrite never changes a result beyond float reassociation,
//! and each can be switched off in [`Rewrites`].

mod accumulate;
mod duplicates;
mod fold;
pub(super) mod identity;
mod layouts;
mod products;
mod waits;

use super::dataflow::{Dataflow, FlowNode, Source};
use crate::error::Result;
use crate::graph::attr::Attrs;
use crate::graph::op::{Kernel, NodeInfo, Prepared};
use smallvec::SmallVec;
use std::sync::Arc;

macro_rules! rewrites {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Which rewrites are made. All are by default.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Rewrites {
            $($(#[$doc])* pub $name: bool,)*
        }

        impl Rewrites {
            /// Every rewrite.
            pub const ALL: Rewrites = Rewrites { $($name: true,)* };
            /// No rewrite: the plan runs the graph's nodes as they are.
            pub const NONE: Rewrites = Rewrites { $($name: false,)* };

            /// Choices to compare results with: `all`, `none`, each alone by its name, and all but each by `-` and its name.
            pub fn choices() -> Vec<(String, Rewrites)> {
                let mut choices = vec![("all".to_string(), Rewrites::ALL), ("none".to_string(), Rewrites::NONE)];
                $(
                    choices.push((stringify!($name).to_string(), Rewrites { $name: true, ..Rewrites::NONE }));
                    choices.push((concat!("-", stringify!($name)).to_string(), Rewrites { $name: false, ..Rewrites::ALL }));
                )*
                choices
            }
        }
    };
}

rewrites! {
    /// Who waits for a node without effects waits for that node's inputs instead.
    relax_waits,
    /// Nodes that only pass their input on are dropped.
    drop_identities,
    /// What depends on constants alone is computed when the plan is made.
    fold_constants,
    /// Nodes that compute the same from the same are merged.
    merge_duplicates,
    /// Of the product of `concat([x, h])` with a matrix in a loop, the part of x is computed before the loop.
    products_before_loops,
    /// A product of which a slice alone is used is computed for that slice alone.
    slice_before_products,
    /// A sum over a loop's iterations of products is one product after the loop.
    products_after_loops,
    /// A matrix that stays the same, in a loop or from run to run, is laid out once for the products with it. Takes as much
    /// memory again as such matrices do.
    lay_out_matrices,
    /// Loops of the usual form keep their variables in place, without Merge and Switch.
    simplify_loops,
    /// Chains of element-wise steps are one step, a pass over chunks that stay in the first cache.
    fuse_elementwise,
    /// What does not change from one iteration of a loop to the next is computed once.
    hoist_invariants,
    /// Loops that need nothing of each other run at the same time.
    loops_side_by_side,
}

impl Default for Rewrites {
    fn default() -> Rewrites {
        Rewrites::ALL
    }
}

/// A node waits for at most so many in the place of one that it waited for.
const MOST_WAITS: usize = 16;

/// Applies the rewrites that are switched on.
pub(super) fn rewrite(flow: &mut Dataflow, rewrites: &Rewrites) -> Result<()> {
    if rewrites.relax_waits {
        waits::relax_waits(flow);
    }
    if rewrites.drop_identities {
        identity::drop_identities(flow);
    }
    if rewrites.fold_constants {
        fold::fold_constants(flow);
    }
    if rewrites.merge_duplicates {
        duplicates::merge_duplicates(flow);
    }
    if rewrites.products_before_loops {
        products::products_before_loops(flow, rewrites.lay_out_matrices);
    }
    flow.remove_unused();
    if rewrites.slice_before_products {
        products::slice_before_products(flow, rewrites.lay_out_matrices);
    }
    if rewrites.products_after_loops {
        accumulate::products_after_loops(flow);
    }
    if rewrites.lay_out_matrices {
        layouts::lay_out_matrices(flow);
    }
    flow.remove_unused();
    Ok(())
}

impl Dataflow {
    /// Whether somebody waits for each node.
    pub fn waited(&self) -> Vec<bool> {
        let mut waited = vec![false; self.nodes.len()];
        self.nodes.iter().flat_map(|n| &n.controls).for_each(|&c| waited[c] = true);
        waited
    }

    /// Whether each node is fetched.
    fn fetched(&self) -> Vec<bool> {
        let mut fetched = vec![false; self.nodes.len()];
        for source in &self.fetches {
            if let Source::Node(node, _) = source {
                fetched[*node] = true;
            }
        }
        fetched
    }

    /// Whether each node is run for its effect.
    fn targeted(&self) -> Vec<bool> {
        let mut targeted = vec![false; self.nodes.len()];
        self.targets.iter().for_each(|&target| targeted[target] = true);
        targeted
    }

    /// Puts other sources in place of some, wherever they are taken or fetched.
    fn replace_sources(&mut self, replace: impl Fn(Source) -> Source) {
        let all = self.nodes.iter_mut().flat_map(|n| n.inputs.iter_mut()).chain(self.fetches.iter_mut());
        all.for_each(|source| *source = replace(*source));
    }

    /// Drops pure nodes whose outputs nobody needs any more.
    fn remove_unused(&mut self) {
        let count = self.nodes.len();
        let mut needed = vec![false; count];
        // Nodes that run for their own sake: targets, and what has effects.
        let mut stack: Vec<usize> = (0..count).filter(|&n| self.nodes[n].is_stateful()).collect();
        stack.extend(&self.targets);
        stack.extend(self.fetches.iter().filter_map(|s| if let Source::Node(n, _) = s { Some(*n) } else { None }));
        while let Some(node) = stack.pop() {
            if !std::mem::replace(&mut needed[node], true) {
                stack.extend(self.nodes[node].sources());
            }
        }
        if !needed.contains(&false) {
            return;
        }
        let mut place = vec![0; count];
        let mut next = 0;
        for node in 0..count {
            place[node] = next;
            next += usize::from(needed[node]);
        }
        let mut at = 0;
        self.nodes.retain(|_| {
            at += 1;
            needed[at - 1]
        });
        for node in &mut self.nodes {
            node.controls.iter_mut().for_each(|c| *c = place[*c]);
        }
        self.targets.iter_mut().for_each(|target| *target = place[*target]);
        self.replace_sources(|s| match s {
            Source::Node(n, output) => Source::Node(place[n], output),
            feed => feed,
        });
    }

    /// Adds a node whose kernel a rewrite made.
    fn add_made(&mut self, like: usize, label: &'static str, inputs: Vec<Source>, outputs: usize, kernel: Prepared) -> usize {
        let model = &self.nodes[like];
        let dtype = model.info.output_types.first().copied().unwrap_or(crate::tensor::DType::Variant);
        let info = NodeInfo {
            name: model.info.name.clone(),
            op: label,
            attrs: Attrs::new(),
            input_types: SmallVec::new(),
            output_types: SmallVec::from_elem(dtype, outputs),
        };
        let position = model.position;
        let action = super::dataflow::Action::Made(kernel);
        self.nodes.push(FlowNode { info: Arc::new(info), action, inputs: inputs.into(), controls: SmallVec::new(), position });
        self.nodes.len() - 1
    }
}

impl FlowNode {
    fn kernel(&self) -> Option<Kernel> {
        match self.action {
            super::dataflow::Action::Op(op) => Some(op.kernel),
            _ => None,
        }
    }

    pub fn is_pure(&self) -> bool {
        matches!(self.kernel(), Some(Kernel::Pure(_) | Kernel::PurePrepared(_)))
    }

    /// Calls count as stateful: what they call may be.
    pub fn is_stateful(&self) -> bool {
        match self.kernel() {
            Some(Kernel::Stateful(_) | Kernel::StatefulPrepared(_)) => !matches!(self.info.op, "Switch" | "NoOp"),
            Some(_) => false,
            None => matches!(self.action, super::dataflow::Action::Call(_)),
        }
    }

    /// True when an output is a reference to a variable, whose value may change between two uses.
    pub fn gives_ref(&self, output: usize) -> bool {
        match self.action {
            super::dataflow::Action::Op(op) => {
                let outputs = &op.signature().outputs;
                outputs.get(output).or(outputs.last()).is_some_and(|o| o.is_ref)
            }
            _ => false,
        }
    }

    pub fn is_op(&self, names: &[&str]) -> bool {
        matches!(self.action, super::dataflow::Action::Op(_)) && names.contains(&self.info.op)
    }
}
