//! What is drawn: nodes within boxes within boxes, which of them are open, and the edges between what is seen.

use crate::cli::describe::{describe, service_nodes};
use crate::cli::view::View;
use crate::graph::Graph;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Boxes are opened until so many things are seen.
const SEEN: usize = 60;
/// A graph of up to so many nodes shows its constants.
const SMALL: usize = 40;

/// So many things at most stand directly in one box; more are put into boxes of what follows one another.
const BESIDE: usize = 100;
/// Into so many boxes at most.
const GROUPS: usize = 50;

/// Boxes are nested as deep as this.
const DEEPEST: usize = 50;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name scope.
    Scope,
    /// A loop's frame.
    Loop,
    /// A variable with the nodes that read and initialize it.
    Variable,
    Node,
}

/// A node, or a box of items.
#[derive(Debug)]
pub(super) struct Item {
    pub kind: Kind,
    /// The whole name.
    pub name: String,
    /// What is written on it.
    pub label: String,
    /// The line below: op, shape or number of nodes.
    pub detail: String,
    pub parent: Option<usize>,
    pub children: Vec<usize>,
    /// The graph's node, of a node.
    pub node: Option<usize>,
    pub open: bool,
    /// The number of nodes within.
    pub size: usize,
    /// Serves saving, initializing, gradients or summaries alone.
    pub service: bool,
    /// Stands on a way from an input to an output.
    pub main: bool,
    pub role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Input,
    Output,
    Constant,
    Other,
}

/// An edge between two items that are seen.
#[derive(Debug)]
pub(super) struct Edge {
    pub from: usize,
    pub to: usize,
    pub label: String,
    pub control: bool,
    /// On a way from an input to an output.
    pub main: bool,
    /// Closes a loop.
    pub back: bool,
}

/// A drawing.
pub(super) struct Scene {
    pub items: Vec<Item>,
    pub roots: Vec<usize>,
    pub edges: Vec<Edge>,
    /// The item of each of the graph's nodes.
    pub of_node: HashMap<usize, usize>,
}

impl Scene {
    /// The drawing of the nodes that are kept, with boxes open as far as a person can take in.
    pub fn new(graph: &Graph, view: &View, keep: &[bool], scope: &str) -> Scene {
        let service = service_nodes(view);
        let description = describe(graph, view);
        let inputs: HashSet<usize> = description.inputs.iter().map(|t| t.output.op.id()).collect();
        let mut outputs: HashSet<usize> = description.outputs.iter().map(|t| t.output.op.id()).collect();
        outputs.extend(description.states.iter().map(|s| s.last.output.op.id()));
        let from_inputs = view.valued_from(inputs.iter().copied());
        let to_outputs = view.needed_by(outputs.iter().copied(), false);
        let main: Vec<bool> = (0..view.nodes.len()).map(|i| from_inputs[i] && to_outputs[i] && !service[i]).collect();
        let kept = keep.iter().filter(|k| **k).count();
        let mut scene = Scene { items: Vec::new(), roots: Vec::new(), edges: Vec::new(), of_node: HashMap::new() };
        let mut boxes: HashMap<String, usize> = HashMap::new();
        let base = scope.trim_end_matches('/');
        for (index, node) in view.nodes.iter().enumerate().filter(|(i, _)| keep[*i]) {
            let role = match () {
                () if inputs.contains(&index) => Role::Input,
                () if outputs.contains(&index) => Role::Output,
                () if &*node.op == "Const" => Role::Constant,
                () => Role::Other,
            };
            if role == Role::Constant && kept > SMALL {
                // Of a large graph, constants are told with their consumers only.
                continue;
            }
            let parent = scene.scope_of(shallow(&node.name), base, &mut boxes);
            let label = node.name.rsplit('/').next().unwrap_or(&node.name).to_string();
            let shape = match node.outputs {
                0 => String::new(),
                _ => shape_text(graph, graph_output(graph, index)),
            };
            let item = scene.items.len();
            scene.items.push(Item {
                kind: Kind::Node,
                name: node.name.to_string(),
                label,
                detail: format!("{} {shape}", node.op).trim_end().to_string(),
                parent,
                children: Vec::new(),
                node: Some(index),
                open: false,
                size: 1,
                service: service[index],
                main: main[index],
                role,
            });
            scene.of_node.insert(index, item);
            match parent {
                Some(parent) => scene.items[parent].children.push(item),
                None => scene.roots.push(item),
            }
        }
        scene.name_givers(&boxes);
        scene.group_many(view);
        scene.finish_boxes(view);
        let service: Vec<bool> = scene.items.iter().map(|i| i.service).collect();
        scene.roots.sort_by_key(|&i| service[i]);
        scene.items.iter_mut().for_each(|item| item.children.sort_by_key(|&i| service[i]));
        scene.open_boxes();
        scene.connect(graph, view, &main);
        scene
    }

    /// The box of the innermost scope that a name stands in, made with those around it. A node that a scope is named for
    /// stands within that scope.
    fn scope_of(&mut self, name: &str, base: &str, boxes: &mut HashMap<String, usize>) -> Option<usize> {
        let (scope, _) = name.rsplit_once('/')?;
        if scope == base || !base.is_empty() && !scope.starts_with(base) {
            return None;
        }
        if let Some(&known) = boxes.get(scope) {
            return Some(known);
        }
        let parent = self.scope_of(scope, base, boxes);
        let item = self.items.len();
        self.items.push(Item {
            kind: Kind::Scope,
            name: scope.to_string(),
            label: scope.rsplit('/').next().unwrap_or(scope).to_string(),
            detail: String::new(),
            parent,
            children: Vec::new(),
            node: None,
            open: false,
            size: 0,
            service: false,
            main: false,
            role: Role::Other,
        });
        boxes.insert(scope.to_string(), item);
        match parent {
            Some(parent) => self.items[parent].children.push(item),
            None => self.roots.push(item),
        }
        Some(item)
    }

    /// Moves a node with the name of a scope into its box.
    fn name_givers(&mut self, boxes: &HashMap<String, usize>) {
        for item in 0..self.items.len() {
            if self.items[item].kind == Kind::Node
                && let Some(&within) = boxes.get(&self.items[item].name)
            {
                match self.items[item].parent {
                    Some(parent) => self.items[parent].children.retain(|c| *c != item),
                    None => self.roots.retain(|c| *c != item),
                }
                self.items[item].parent = Some(within);
                self.items[within].children.insert(0, item);
            }
        }
    }

    /// Puts what stands directly in one box into boxes of what follows one another, where it is too much to look at.
    fn group_many(&mut self, view: &View) {
        let mut rank = vec![0; view.nodes.len()];
        let (order, stuck) = view.order();
        order.into_iter().chain(stuck).enumerate().for_each(|(at, node)| rank[node] = at);
        // A box stands where its first node does.
        let mut first = vec![usize::MAX; self.items.len()];
        for (&node, &item) in &self.of_node {
            let mut at = Some(item);
            while let Some(item) = at {
                first[item] = first[item].min(rank[node]);
                at = self.items[item].parent;
            }
        }
        let mut large: Vec<Option<usize>> = (0..self.items.len()).map(Some).collect();
        large.push(None);
        while let Some(parent) = large.pop() {
            let children = match parent {
                Some(parent) => &mut self.items[parent].children,
                None => &mut self.roots,
            };
            if children.len() <= BESIDE {
                continue;
            }
            let mut children = std::mem::take(children);
            children.sort_by_key(|&c| (self.items[c].service, first[c]));
            let served = children.partition_point(|&c| !self.items[c].service);
            let length = children.len().div_ceil(GROUPS).max(GROUPS / 2);
            let (model, service) = children.split_at(served);
            let mut groups = Vec::new();
            for members in model.chunks(length).chain(service.chunks(length)) {
                let &[start, .., end] = members else {
                    groups.extend_from_slice(members);
                    continue;
                };
                let group = self.items.len();
                let label = format!("{} … {}", self.items[start].label, self.items[end].label);
                self.items.push(Item {
                    kind: Kind::Scope,
                    name: format!("{} … {}", self.items[start].name, self.items[end].label),
                    label,
                    detail: String::new(),
                    parent,
                    children: members.to_vec(),
                    node: None,
                    open: false,
                    size: 0,
                    service: false,
                    main: false,
                    role: Role::Other,
                });
                members.iter().for_each(|&member| self.items[member].parent = Some(group));
                first.push(first[start]);
                groups.push(group);
                large.push(Some(group));
            }
            match parent {
                Some(parent) => self.items[parent].children = groups,
                None => self.roots = groups,
            }
        }
    }

    /// Sizes, kinds and labels of boxes, once all nodes stand in them.
    fn finish_boxes(&mut self, view: &View) {
        let frames = view.frames();
        let mut inside: Vec<BTreeMap<usize, usize>> = vec![BTreeMap::new(); self.items.len()];
        let mut service = vec![0usize; self.items.len()];
        let mut whole: BTreeMap<usize, usize> = BTreeMap::new();
        for &node in self.of_node.keys() {
            if let Some(frame) = frames.of[node] {
                *whole.entry(frame).or_insert(0) += 1;
            }
        }
        for (&node, &item) in &self.of_node {
            let mut at = self.items[item].parent;
            while let Some(parent) = at {
                self.items[parent].size += 1;
                self.items[parent].main |= self.items[item].main;
                service[parent] += usize::from(self.items[item].service);
                if let Some(frame) = frames.of[node] {
                    *inside[parent].entry(frame).or_insert(0) += 1;
                }
                let variable = crate::cli::source::is_variable(&view.nodes[node].op);
                if variable && self.items[parent].name == *view.nodes[node].name {
                    self.items[parent].kind = Kind::Variable;
                    self.items[parent].detail = self.items[item].detail.clone();
                }
                at = self.items[parent].parent;
            }
        }
        for item in 0..self.items.len() {
            let size = self.items[item].size;
            if self.items[item].kind == Kind::Scope {
                let looped = inside[item].iter().find(|(_, n)| **n * 10 >= size * 8);
                // Only the outermost box of a frame is the loop.
                let enters = looped.is_some_and(|(frame, _)| {
                    let (around, of) = match self.items[item].parent {
                        Some(parent) => (&inside[parent], self.items[parent].size),
                        None => (&whole, self.of_node.len()),
                    };
                    around.get(frame).is_none_or(|n| n * 10 < of * 8)
                });
                self.items[item].kind = if enters { Kind::Loop } else { Kind::Scope };
                let what = if enters { "loop, " } else { "" };
                self.items[item].detail = format!("{what}{}", crate::cli::style::count(size, "node"));
            }
            if self.items[item].kind != Kind::Node {
                self.items[item].service = service[item] * 10 >= size * 9;
            }
        }
    }

    /// Opens boxes from the outside in, those on the main path first, while a person can still take it in.
    fn open_boxes(&mut self) {
        let mut seen = self.roots.len();
        loop {
            let can_open = |i: &usize| {
                let item = &self.items[*i];
                let visible = item.parent.is_none_or(|p| self.items[p].open);
                let useful = !item.service && item.kind != Kind::Variable && !item.children.is_empty();
                visible && useful && !item.open && seen + item.children.len() <= SEEN.max(self.roots.len() + 1)
            };
            let depth = |mut i: usize| {
                let mut depth = 0usize;
                while let Some(parent) = self.items[i].parent {
                    depth += 1;
                    i = parent;
                }
                depth
            };
            let next = (0..self.items.len())
                .filter(can_open)
                .min_by_key(|&i| (!self.items[i].main, depth(i), std::cmp::Reverse(self.items[i].size)));
            let Some(next) = next else { return };
            seen += self.items[next].children.len();
            self.items[next].open = true;
        }
    }

    /// The item that is seen for one: itself, or the outermost closed box around it.
    pub fn seen(&self, item: usize) -> usize {
        let mut seen = item;
        let mut at = self.items[item].parent;
        while let Some(parent) = at {
            if !self.items[parent].open {
                seen = parent;
            }
            at = self.items[parent].parent;
        }
        seen
    }

    fn connect(&mut self, graph: &Graph, view: &View, main: &[bool]) {
        #[derive(Default)]
        struct Sum {
            shapes: Vec<String>,
            count: usize,
            main: bool,
        }
        let mut sums: BTreeMap<(usize, usize, bool, bool), Sum> = BTreeMap::new();
        for (index, node) in view.nodes.iter().enumerate() {
            let Some(&to) = self.of_node.get(&index) else { continue };
            let to = self.seen(to);
            let data = node.inputs.iter().map(|&(s, o)| (s, Some(o)));
            for (source, output) in data.chain(node.controls.iter().map(|&c| (c, None))) {
                let Some(&from) = self.of_node.get(&source) else { continue };
                let from = self.seen(from);
                // What serves the model stands beside it; lines to all of it would hide the model.
                if from == to || self.items[from].service != self.items[to].service {
                    continue;
                }
                let sum = sums.entry((from, to, output.is_none(), view.is_back_edge(source, index))).or_default();
                sum.count += 1;
                sum.main |= output.is_some() && main[source] && main[index];
                if let Some(output) = output {
                    let mut tensor = graph_output(graph, source);
                    tensor.index = output;
                    let shape = shape_text(graph, tensor);
                    if !sum.shapes.contains(&shape) {
                        sum.shapes.push(shape);
                    }
                }
            }
        }
        for ((from, to, control, back), sum) in sums {
            let label = match (control, sum.count, &sum.shapes[..]) {
                (true, ..) => String::new(),
                (_, 1, [shape]) => shape.clone(),
                (_, n, [shape]) if !shape.is_empty() => format!("{n} x {shape}"),
                (_, n, _) => format!("{n} tensors"),
            };
            self.edges.push(Edge { from, to, label, control, main: sum.main, back });
        }
    }
}

/// The name, cut where its scopes go deeper than anybody draws.
fn shallow(name: &str) -> &str {
    name.match_indices('/').nth(DEEPEST).map_or(name, |(at, _)| &name[..at])
}

/// A tensor's shape as text; empty where nothing is known of it.
pub(super) fn shape_text(graph: &Graph, output: crate::graph::Output) -> String {
    let shape = crate::cli::describe::fact(graph, output).shape;
    if shape.rank().is_some() { shape.to_string() } else { String::new() }
}

fn graph_output(graph: &Graph, node: usize) -> crate::graph::Output {
    graph.read().operation(node).output(0)
}
