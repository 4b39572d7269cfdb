//! Finds the frame of every node: the part of the graph between the Enters and Exits of one `frame_name`.

use super::dataflow::{Dataflow, Grouped, Source};
use crate::error::{Result, bail};
use crate::graph::op::Control;
use foldhash::{HashMap, HashMapExt};

/// The frame outside of all loops.
pub(super) const ROOT: usize = 0;

pub(super) struct Frames {
    /// The frame in which each node runs. An Enter runs in the frame that it enters, an Exit in the one it leaves.
    pub of: Vec<usize>,
    /// The frame around each frame; the root is around itself.
    pub parent: Vec<usize>,
    /// The `frame_name` of each.
    pub name: Vec<String>,
}

impl Frames {
    /// The frame in which a node's outputs are.
    pub fn of_outputs(&self, node: usize, flow: &Dataflow) -> usize {
        match flow.nodes[node].control() {
            Some(Control::Exit) => self.parent[self.of[node]],
            _ => self.of[node],
        }
    }
}

pub(super) fn is_back_edge(flow: &Dataflow, from: usize, to: usize) -> bool {
    flow.nodes[to].control() == Some(Control::Merge) && flow.nodes[from].control() == Some(Control::NextIteration)
}

pub(super) fn find(flow: &Dataflow) -> Result<Frames> {
    let count = flow.nodes.len();
    let mut frames = Frames { of: vec![ROOT; count], parent: vec![ROOT], name: vec![String::new()] };
    let has_loops = flow.nodes.iter().any(|n| n.control() == Some(Control::Enter));
    if !has_loops {
        return Ok(frames);
    }
    let order = topological(flow)?;
    let mut by_name: HashMap<(usize, String), usize> = HashMap::new();
    for &node in &order {
        let mut frame: Option<(usize, usize)> = None;
        for source in flow.nodes[node].sources() {
            if is_back_edge(flow, source, node) {
                continue;
            }
            let of = frames.of_outputs(source, flow);
            match frame {
                None => frame = Some((of, source)),
                Some((known, first)) if known != of => {
                    bail!(
                        InvalidArgument,
                        "{} has inputs from different frames. The input {} is in frame '{}'. The input {} is in frame '{}'.",
                        flow.nodes[node].info.name,
                        flow.nodes[first].info.name,
                        frames.name[known],
                        flow.nodes[source].info.name,
                        frames.name[of]
                    );
                }
                Some(_) => {}
            }
        }
        let outer = frame.map_or(ROOT, |f| f.0);
        frames.of[node] = match flow.nodes[node].control() {
            Some(Control::Enter) => {
                let name = flow.nodes[node].info.string("frame_name")?.to_string();
                let next = frames.parent.len();
                let inner = *by_name.entry((outer, name.clone())).or_insert(next);
                if inner == next {
                    frames.parent.push(outer);
                    frames.name.push(name);
                }
                inner
            }
            Some(Control::Exit) if outer == ROOT => {
                bail!(InvalidArgument, "Exit node {} isn't within a loop's frame", flow.nodes[node].info.name)
            }
            _ => outer,
        };
    }
    split_components(flow, &mut frames);
    Ok(frames)
}

/// Two loops that happen to have one frame name but no edge between them are two frames.
fn split_components(flow: &Dataflow, frames: &mut Frames) {
    let count = flow.nodes.len();
    let mut sets = petgraph::unionfind::UnionFind::<usize>::new(count);
    for (to, node) in flow.nodes.iter().enumerate() {
        for from in node.sources() {
            let enters = node.control() == Some(Control::Enter);
            let exits = flow.nodes[from].control() == Some(Control::Exit);
            if !enters && !exits && frames.of[from] == frames.of[to] {
                sets.union(from, to);
            }
        }
    }
    // A frame and the loops within it hang together: an inner loop's Enters and Exits join their outer nodes.
    for (to, node) in flow.nodes.iter().enumerate() {
        for from in node.sources() {
            let crosses = node.control() == Some(Control::Enter) || flow.nodes[from].control() == Some(Control::Exit);
            if crosses && frames.of_outputs(from, flow) != ROOT {
                sets.union(from, to);
            }
        }
    }
    let mut part: HashMap<(usize, usize), usize> = HashMap::new();
    let mut first: HashMap<usize, usize> = HashMap::new();
    let (parent, name) = (frames.parent.clone(), frames.name.clone());
    let mut moved = vec![None; count];
    for node in 0..count {
        let frame = frames.of[node];
        // Only loops directly below the root are split; their inner loops follow.
        if frame == ROOT {
            continue;
        }
        let set = sets.find_mut(node);
        let owner = *first.entry(frame).or_insert(set);
        if owner != set {
            let next = frames.parent.len();
            let new = *part.entry((frame, set)).or_insert(next);
            if new == next {
                frames.parent.push(parent[frame]);
                frames.name.push(name[frame].clone());
            }
            moved[node] = Some(new);
        }
    }
    // The parents of split frames: the split part of the outer frame that holds an Enter's source.
    for (node, new) in moved.iter().enumerate() {
        if let Some(new) = new {
            frames.of[node] = *new;
        }
    }
    for node in 0..count {
        if flow.nodes[node].control() == Some(Control::Enter)
            && let Some(Source::Node(from, _)) = flow.nodes[node].inputs.first()
        {
            let frame = frames.of[node];
            frames.parent[frame] = frames.of_outputs(*from, flow);
        }
    }
}

/// The nodes in an order in which each comes after its inputs, back edges aside.
pub(super) fn topological(flow: &Dataflow) -> Result<Vec<usize>> {
    let count = flow.nodes.len();
    let needs = |to: usize| flow.nodes[to].sources().filter(move |&from| !is_back_edge(flow, from, to));
    // Graphs are mostly written in such an order.
    if (0..count).all(|to| flow.nodes[to].sources().all(|from| from < to || is_back_edge(flow, from, to))) {
        return Ok((0..count).collect());
    }
    let mut pending: Vec<u32> = (0..count).map(|to| needs(to).count() as u32).collect();
    let consumers = Grouped::new(count, (0..count).flat_map(|to| needs(to).map(move |from| (from, to as u32))));
    let mut ready: Vec<usize> = (0..count).rev().filter(|&n| pending[n] == 0).collect();
    let mut order = Vec::with_capacity(count);
    while let Some(node) = ready.pop() {
        order.push(node);
        for &consumer in &consumers[node] {
            pending[consumer as usize] -= 1;
            if pending[consumer as usize] == 0 {
                ready.push(consumer as usize);
            }
        }
    }
    if order.len() < count {
        let stuck = (0..count).find(|&n| pending[n] > 0).unwrap_or(0);
        bail!(InvalidArgument, "Graph is invalid, contains a cycle through node '{}'", flow.nodes[stuck].info.name);
    }
    Ok(order)
}
