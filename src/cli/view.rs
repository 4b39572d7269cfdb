//! A graph by positions, with its edges in both directions: what the analyses of the commands walk.

use super::saving;
use crate::graph::Graph;
use crate::graph::op::Kernel;
use std::collections::HashMap;
use std::sync::Arc;

/// A node.
pub(super) struct Node {
    pub name: Arc<str>,
    pub op: Arc<str>,
    /// The node and output of each data input.
    pub inputs: Vec<(usize, u32)>,
    pub controls: Vec<usize>,
    /// The nodes that take an output: consumer, and which output.
    pub consumers: Vec<(usize, u32)>,
    pub outputs: usize,
    /// Why the node can't be run, if it can't.
    pub unsupported: Option<&'static str>,
    /// True for what writes or reads checkpoints, and for calls of functions that do.
    pub saving: bool,
    pub frame_name: Option<String>,
}

/// All nodes of a graph in order of creation.
pub(super) struct View {
    pub nodes: Vec<Node>,
    pub by_name: HashMap<Arc<str>, usize>,
}

impl View {
    pub fn new(graph: &Graph) -> View {
        let inner = graph.read();
        let mut nodes: Vec<Node> = Vec::with_capacity(inner.nodes.len());
        let mut by_name = HashMap::with_capacity(inner.nodes.len());
        for (index, node) in inner.nodes.values().enumerate() {
            by_name.insert(node.name.clone(), index);
            let unsupported = match node.record {
                None if inner.functions.contains_key(&*node.op_type) => None,
                None => Some("the op isn't known"),
                Some(record) => match record.kernel {
                    Kernel::Missing(why) => Some(why),
                    _ => None,
                },
            };
            let frame_name = || crate::graph::attr::string(inner.attr(node, "frame_name")?).ok().map(str::to_string);
            nodes.push(Node {
                name: node.name.clone(),
                op: node.op_type.clone(),
                inputs: node.inputs.iter().map(|i| (i.op.id(), i.index)).collect(),
                controls: node.controls.iter().map(|c| c.id()).collect(),
                consumers: Vec::new(),
                outputs: node.types.len(),
                unsupported,
                saving: saving::is_saving(&node.op_type) || saving::called(&inner, node).is_some_and(saving::saves),
                frame_name: if node.op_type.ends_with("Enter") { frame_name() } else { None },
            });
        }
        drop(inner);
        for index in 0..nodes.len() {
            for at in 0..nodes[index].inputs.len() {
                let (source, output) = nodes[index].inputs[at];
                nodes[source].consumers.push((index, output));
            }
        }
        View { nodes, by_name }
    }

    /// True for the edge that closes a loop.
    pub fn is_back_edge(&self, from: usize, to: usize) -> bool {
        self.nodes[from].op.ends_with("NextIteration") && self.nodes[to].op.ends_with("Merge")
    }

    /// The nodes that these lead to by their values, these among them: not by a shape or a loop's condition alone.
    pub fn valued_from(&self, starts: impl IntoIterator<Item = usize>) -> Vec<bool> {
        let mut seen = vec![false; self.nodes.len()];
        let mut stack: Vec<usize> = starts.into_iter().collect();
        while let Some(index) = stack.pop() {
            let passes = !matches!(&*self.nodes[index].op, "Shape" | "ShapeN" | "Size" | "Rank" | "LoopCond" | "VariableShape");
            if passes && !std::mem::replace(&mut seen[index], true) {
                stack.extend(self.nodes[index].consumers.iter().map(|c| c.0));
            }
        }
        seen
    }

    /// The nodes that these need, these among them; control inputs count where asked.
    pub fn needed_by(&self, starts: impl IntoIterator<Item = usize>, controls: bool) -> Vec<bool> {
        let mut seen = vec![false; self.nodes.len()];
        let mut stack: Vec<usize> = starts.into_iter().collect();
        while let Some(index) = stack.pop() {
            if !std::mem::replace(&mut seen[index], true) {
                stack.extend(self.nodes[index].inputs.iter().map(|i| i.0));
                if controls {
                    stack.extend(&self.nodes[index].controls);
                }
            }
        }
        seen
    }
}

/// The loops of a graph.
pub(super) struct Frames {
    /// The frame in which each node runs; none outside of all. An Enter runs in the frame that it enters, an Exit in the
    /// one that it leaves.
    pub of: Vec<Option<usize>>,
    pub names: Vec<String>,
    /// The frame around each frame.
    pub parents: Vec<Option<usize>>,
}

impl View {
    /// The nodes in an order in which each comes after its inputs, back edges aside, and those that can't be ordered
    /// since they stand in a cycle or after one.
    pub fn order(&self) -> (Vec<usize>, Vec<usize>) {
        let count = self.nodes.len();
        let mut pending = vec![0usize; count];
        let mut followers: Vec<Vec<usize>> = vec![Vec::new(); count];
        for (to, node) in self.nodes.iter().enumerate() {
            for from in node.inputs.iter().map(|i| i.0).chain(node.controls.iter().copied()) {
                if !self.is_back_edge(from, to) {
                    pending[to] += 1;
                    followers[from].push(to);
                }
            }
        }
        let mut ready: std::collections::VecDeque<usize> = (0..count).filter(|&i| pending[i] == 0).collect();
        let mut order = Vec::with_capacity(count);
        while let Some(at) = ready.pop_front() {
            order.push(at);
            for &next in &followers[at] {
                pending[next] -= 1;
                if pending[next] == 0 {
                    ready.push_back(next);
                }
            }
        }
        (order, (0..count).filter(|&i| pending[i] > 0).collect())
    }

    /// The frame of every node.
    pub fn frames(&self) -> Frames {
        let mut frames = Frames { of: vec![None; self.nodes.len()], names: Vec::new(), parents: Vec::new() };
        let mut known: HashMap<(Option<usize>, String), usize> = HashMap::new();
        for at in self.order().0 {
            let node = &self.nodes[at];
            let around = |from: usize| match frames.of[from] {
                Some(frame) if self.nodes[from].op.ends_with("Exit") => frames.parents[frame],
                of => of,
            };
            // A constant within a loop hangs on it by a control edge, or stands outside.
            let sources = node.inputs.iter().map(|i| i.0).chain(node.controls.iter().copied());
            let outer = sources.filter(|&s| !self.is_back_edge(s, at)).find_map(around);
            frames.of[at] = match &node.frame_name {
                Some(name) => {
                    let next = frames.names.len();
                    let frame = *known.entry((outer, name.clone())).or_insert(next);
                    if frame == next {
                        frames.names.push(name.clone());
                        frames.parents.push(outer);
                    }
                    Some(frame)
                }
                None => outer,
            };
        }
        frames
    }
}
