//! Which loop and which branch each node of a graph stands in, as its Enter, Exit, Switch and Merge nodes tell.

use crate::graph::{Graph, Operation, attr};
use std::collections::HashMap;

/// What a node does to control flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Enter,
    Exit,
    Switch,
    Merge,
    NextIteration,
    LoopCond,
    Identity,
    Other,
}

/// A node as far as it matters here.
pub(super) struct NodeForm {
    pub form: Form,
    pub inputs: Vec<(usize, u32)>,
    pub controls: Vec<usize>,
    pub outputs: usize,
    pub has_context: bool,
    /// An Enter's frame.
    frame: String,
}

/// The nodes of a graph by position.
pub(super) struct Nodes {
    pub all: Vec<NodeForm>,
    pub operations: Vec<Operation>,
    consumers: Vec<Vec<(u32, usize)>>,
}

impl Nodes {
    pub fn read(graph: &Graph) -> Nodes {
        let inner = graph.read();
        let mut all = Vec::with_capacity(inner.nodes.len());
        let mut consumers: Vec<Vec<(u32, usize)>> = vec![Vec::new(); inner.nodes.len()];
        for (index, node) in inner.nodes.values().enumerate() {
            let form = match &*node.op_type {
                "Enter" | "RefEnter" => Form::Enter,
                "Exit" | "RefExit" => Form::Exit,
                "Switch" | "RefSwitch" => Form::Switch,
                "Merge" | "RefMerge" => Form::Merge,
                "NextIteration" | "RefNextIteration" => Form::NextIteration,
                "LoopCond" => Form::LoopCond,
                "Identity" | "RefIdentity" => Form::Identity,
                _ => Form::Other,
            };
            let inputs: Vec<(usize, u32)> = node.inputs.iter().map(|i| (i.op.index as usize, i.index)).collect();
            for &(from, port) in &inputs {
                consumers[from].push((port, index));
            }
            let frame = match form {
                Form::Enter => node.attrs.get("frame_name").and_then(|v| attr::string(v).ok()).unwrap_or_default(),
                _ => "",
            };
            all.push(NodeForm {
                form,
                inputs,
                controls: node.controls.iter().map(|c| c.index as usize).collect(),
                outputs: node.types.len(),
                has_context: node.context.is_some(),
                frame: frame.to_string(),
            });
        }
        let operations = (0..all.len()).map(|i| inner.operation(i)).collect();
        Nodes { all, operations, consumers }
    }

    /// The nodes that take this output.
    pub fn consumers(&self, index: usize, port: u32) -> impl Iterator<Item = usize> {
        self.consumers[index].iter().filter(move |c| c.0 == port).map(|c| c.1)
    }

    /// The tensor that stands behind Identity nodes.
    fn source(&self, mut tensor: (usize, u32)) -> (usize, u32) {
        let mut steps = 0;
        while self.all[tensor.0].form == Form::Identity && steps < self.all.len() {
            match self.all[tensor.0].inputs.first() {
                Some(&input) => tensor = input,
                None => break,
            }
            steps += 1;
        }
        tensor
    }

    pub fn is_loop_merge(&self, index: usize) -> bool {
        self.all[index].inputs.iter().any(|i| self.all[i.0].form == Form::NextIteration)
    }

    pub fn is_loop_switch(&self, index: usize) -> bool {
        self.all[index].inputs.get(1).is_some_and(|&pred| self.all[self.source(pred).0].form == Form::LoopCond)
    }

    /// The nodes in an order in which each comes after its inputs, back edges aside. Nodes on other cycles are left out.
    fn ordered(&self) -> Vec<usize> {
        let is_back = |from: usize, to: usize| self.all[from].form == Form::NextIteration && self.all[to].form == Form::Merge;
        let mut waits = vec![0usize; self.all.len()];
        let mut followers: Vec<Vec<usize>> = vec![Vec::new(); self.all.len()];
        for (index, node) in self.all.iter().enumerate() {
            for from in node.inputs.iter().map(|i| i.0).chain(node.controls.iter().copied()) {
                if !is_back(from, index) {
                    waits[index] += 1;
                    followers[from].push(index);
                }
            }
        }
        let mut order: Vec<usize> = (0..self.all.len()).filter(|&i| waits[i] == 0).collect();
        let mut at = 0;
        while let Some(&index) = order.get(at) {
            at += 1;
            for &next in &followers[index] {
                waits[next] -= 1;
                if waits[next] == 0 {
                    order.push(next);
                }
            }
        }
        order
    }
}

/// One side of a conditional.
#[derive(Clone)]
pub(super) struct Branch {
    pub pred: (usize, u32),
    pub pivot: (usize, u32),
    /// 1 where the predicate is true.
    pub side: usize,
}

#[derive(Clone)]
pub(super) enum RegionKind {
    Root,
    /// A loop with its frame's name.
    Frame(String),
    Branch(Branch),
}

pub(super) struct Region {
    pub parent: usize,
    pub kind: RegionKind,
}

/// The loops and branches of a graph, the root first, and where each node stands.
pub(super) struct Regions {
    pub all: Vec<Region>,
    of: Vec<usize>,
    needed: Vec<bool>,
    /// The region behind each side of a Switch.
    sides: HashMap<(usize, u32), usize>,
}

const ROOT: usize = 0;

impl Regions {
    pub fn find(nodes: &Nodes) -> Regions {
        let order = nodes.ordered();
        // Enters of one frame name whose values meet belong to one loop; which do is known after a pass.
        let mut classes = Classes((0..nodes.all.len()).collect());
        for _ in 0..8 {
            let (regions, changed) = Regions::pass(nodes, &order, &mut classes);
            if !changed {
                return regions.with_needs();
            }
        }
        Regions::pass(nodes, &order, &mut classes).0.with_needs()
    }

    fn pass(nodes: &Nodes, order: &[usize], classes: &mut Classes) -> (Regions, bool) {
        let mut regions = Regions {
            all: vec![Region { parent: ROOT, kind: RegionKind::Root }],
            of: vec![ROOT; nodes.all.len()],
            needed: Vec::new(),
            sides: HashMap::new(),
        };
        let mut changed = false;
        let mut frames: HashMap<usize, usize> = HashMap::new();
        let mut class_of: HashMap<usize, usize> = HashMap::new();
        let mut branches: HashMap<(usize, (usize, u32), u32), usize> = HashMap::new();
        for &index in order {
            let node = &nodes.all[index];
            if node.has_context {
                continue;
            }
            let is_loop_merge = node.form == Form::Merge && nodes.is_loop_merge(index);
            let mut from: Vec<usize> = Vec::new();
            for &(input, port) in &node.inputs {
                if !(is_loop_merge && nodes.all[input].form == Form::NextIteration) {
                    from.push(regions.behind(nodes, input, port));
                }
            }
            let data = from.len();
            from.extend(node.controls.iter().map(|&c| regions.behind(nodes, c, u32::MAX)));
            // Values of two frames that meet show that the frames are one.
            let mut first: Option<usize> = None;
            for &region in &from[..data] {
                let frame = regions.frame(region);
                if let (Some(seen), RegionKind::Frame(name)) = (first, &regions.all[frame].kind)
                    && seen != frame
                    && matches!(&regions.all[seen].kind, RegionKind::Frame(other) if other == name)
                {
                    changed |= classes.join(class_of[&seen], class_of[&frame]);
                }
                if frame != ROOT {
                    first.get_or_insert(frame);
                }
            }
            let deepest = from.iter().copied().max_by_key(|&r| regions.depth(r)).unwrap_or(ROOT);
            regions.of[index] = match node.form {
                Form::Enter => {
                    let class = classes.find(index);
                    match frames.get(&class) {
                        Some(&frame) => {
                            let around = regions.all[frame].parent;
                            // What enters one loop from two frames shows that these are one.
                            let (a, b) = (regions.frame(around), regions.frame(deepest));
                            if let (RegionKind::Frame(name), RegionKind::Frame(other)) =
                                (&regions.all[a].kind, &regions.all[b].kind)
                                && a != b
                                && name == other
                            {
                                changed |= classes.join(class_of[&a], class_of[&b]);
                            }
                            if regions.depth(deepest) > regions.depth(around) && !regions.is_inside(deepest, frame) {
                                regions.all[frame].parent = deepest;
                            }
                            frame
                        }
                        None => {
                            let frame = regions.add(deepest, RegionKind::Frame(node.frame.clone()));
                            frames.insert(class, frame);
                            class_of.insert(frame, class);
                            frame
                        }
                    }
                }
                Form::Exit => regions.frame(deepest),
                Form::Merge if !is_loop_merge => {
                    from[..data].iter().copied().reduce(|a, b| regions.common(a, b)).unwrap_or(deepest)
                }
                _ => deepest,
            };
            if node.form == Form::Switch && node.inputs.len() == 2 && !nodes.is_loop_switch(index) {
                let own = regions.of[index];
                let pred = nodes.source(node.inputs[1]);
                for side in 0..2 {
                    if nodes.consumers(index, side).next().is_none() {
                        continue;
                    }
                    let is_pivot = nodes.source(node.inputs[0]) == pred;
                    let branch = Branch { pred: node.inputs[1], pivot: (index, side), side: side as usize };
                    let child = match branches.get(&(own, pred, side)) {
                        Some(&child) => child,
                        None => {
                            let child = regions.add(own, RegionKind::Branch(branch));
                            branches.insert((own, pred, side), child);
                            child
                        }
                    };
                    if let (false, RegionKind::Branch(known)) = (is_pivot, &mut regions.all[child].kind) {
                        known.pred = node.inputs[1];
                    }
                    regions.sides.insert((index, side), child);
                }
            }
        }
        (regions, changed)
    }

    fn add(&mut self, parent: usize, kind: RegionKind) -> usize {
        self.all.push(Region { parent, kind });
        self.all.len() - 1
    }

    /// Where what an output feeds stands; `u32::MAX` for what waits for the node.
    fn behind(&self, nodes: &Nodes, index: usize, port: u32) -> usize {
        match nodes.all[index].form {
            _ if nodes.all[index].has_context => ROOT,
            Form::Exit => self.all[self.frame(self.of[index])].parent,
            Form::Switch => self.sides.get(&(index, port)).copied().unwrap_or(self.of[index]),
            _ => self.of[index],
        }
    }

    /// The innermost loop that a region is or stands in, or the root.
    fn frame(&self, mut region: usize) -> usize {
        while matches!(self.all[region].kind, RegionKind::Branch(_)) {
            region = self.all[region].parent;
        }
        region
    }

    fn depth(&self, mut region: usize) -> usize {
        let mut depth = 0;
        while region != ROOT {
            region = self.all[region].parent;
            depth += 1;
        }
        depth
    }

    fn is_inside(&self, mut region: usize, container: usize) -> bool {
        while region != container && region != ROOT {
            region = self.all[region].parent;
        }
        region == container
    }

    /// The innermost region that both stand in.
    fn common(&self, mut a: usize, mut b: usize) -> usize {
        while a != b {
            match self.depth(a) >= self.depth(b) {
                true => a = self.all[a].parent,
                false => b = self.all[b].parent,
            }
        }
        a
    }

    fn with_needs(mut self) -> Regions {
        self.needed = vec![false; self.all.len()];
        for region in 0..self.all.len() {
            let is_frame = matches!(self.all[region].kind, RegionKind::Frame(_));
            let mut at = region;
            if is_frame {
                while at != ROOT {
                    self.needed[at] = true;
                    at = self.all[at].parent;
                }
            } else if self.frame(region) != ROOT {
                self.needed[region] = true;
            }
        }
        self
    }

    /// True for loops, and for branches in or around them.
    pub fn is_needed(&self, region: usize) -> bool {
        self.needed[region]
    }

    /// The one side of a conditional's Switch that is used.
    pub fn side_of(&self, nodes: &Nodes, index: usize) -> Option<usize> {
        let used = |side: u32| self.sides.contains_key(&(index, side));
        match (nodes.all[index].form == Form::Switch, used(0), used(1)) {
            (true, true, false) => Some(0),
            (true, false, true) => Some(1),
            _ => None,
        }
    }

    /// The region whose context a node gets: a Switch that serves one branch stands in that.
    pub fn home(&self, nodes: &Nodes, index: usize) -> usize {
        match self.side_of(nodes, index) {
            Some(side) => self.sides[&(index, side as u32)],
            None => self.of[index],
        }
    }

    /// All regions, each after the one around it.
    pub fn parents_first(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.all.len()).collect();
        order.sort_by_key(|&r| self.depth(r));
        order
    }
}

/// Sets that can be joined.
struct Classes(Vec<usize>);

impl Classes {
    fn find(&self, mut item: usize) -> usize {
        while self.0[item] != item {
            item = self.0[item];
        }
        item
    }

    fn join(&mut self, a: usize, b: usize) -> bool {
        let (a, b) = (self.find(a), self.find(b));
        self.0[a.max(b)] = a.min(b);
        a != b
    }
}
