//! Splits the dataflow into regions, orders each, and assigns slots.

use super::dataflow::{Action, Dataflow, Source};
use super::frames::{self, Frames, ROOT};
use super::run::{Carry, EnterStep, Frame, FunctionCall, Input, Item, NO_FLAG, Plan, Region, Run, Step};
use crate::error::{Result, bail};
use crate::graph::op::{Control, Kernel, PrepareCtx, SessionState};
use smallvec::SmallVec;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

/// An item of a region: a node, or a whole frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Unit {
    Node(usize),
    Frame(usize),
}

struct Scheduler<'a> {
    flow: Dataflow,
    frames: Frames,
    session: &'a Arc<SessionState>,
    /// The slot of each node's first output, in the region where its outputs are.
    slots: Vec<usize>,
    /// The flag of each node, in the region where its outputs are.
    flags: Vec<u32>,
    /// Whether somebody waits for the node.
    waited: Vec<bool>,
    feeds: usize,
    /// The Enters of each frame.
    enters: Vec<Vec<usize>>,
    /// The Exits of each frame.
    exits: Vec<Vec<usize>>,
}

pub(super) fn schedule(flow: Dataflow, session: &Arc<SessionState>) -> Result<Plan> {
    let frames = frames::find(&flow)?;
    let count = flow.nodes.len();
    let mut waited = vec![false; count];
    for node in &flow.nodes {
        for &control in &node.controls {
            waited[control] = true;
        }
    }
    let feeds = flow.num_feeds;
    let (mut enters, mut exits) = (vec![Vec::new(); frames.parent.len()], vec![Vec::new(); frames.parent.len()]);
    for node in 0..count {
        match flow.nodes[node].control() {
            Some(Control::Enter) => enters[frames.of[node]].push(node),
            Some(Control::Exit) => exits[frames.of[node]].push(node),
            _ => {}
        }
    }
    let (slots, flags) = (vec![usize::MAX; count], vec![NO_FLAG; count]);
    let mut scheduler = Scheduler { flow, frames, session, slots, flags, waited, feeds, enters, exits };
    let units = scheduler.units();
    let mut root = scheduler.region(ROOT, &units)?;
    let fetches: Vec<usize> = scheduler
        .flow
        .fetches
        .iter()
        .map(|f| match *f {
            Source::Feed(feed) => Ok(feed),
            Source::Node(node, output) => {
                if scheduler.frames.of_outputs(node, &scheduler.flow) != ROOT {
                    bail!(
                        InvalidArgument,
                        "Operation '{}' is in a while loop and has been marked as not fetchable.",
                        scheduler.flow.nodes[node].info.name
                    );
                }
                Ok(scheduler.slots[node] + output)
            }
        })
        .collect::<Result<_>>()?;
    let mut keep = vec![false; root.num_slots];
    keep[..feeds].fill(true);
    fetches.iter().for_each(|&f| keep[f] = true);
    mark_last_uses(&mut root, &mut keep);
    Ok(Plan { root, fetches, num_feeds: feeds })
}

impl Scheduler<'_> {
    /// The units of each frame's region.
    fn units(&self) -> Vec<Vec<Unit>> {
        let mut units = vec![Vec::new(); self.frames.parent.len()];
        for node in 0..self.flow.nodes.len() {
            if self.flow.nodes[node].control() != Some(Control::Enter) {
                units[self.frames.of[node]].push(Unit::Node(node));
            }
        }
        let mut entered = vec![false; self.frames.parent.len()];
        for node in 0..self.flow.nodes.len() {
            entered[self.frames.of[node]] = true;
        }
        for frame in 1..self.frames.parent.len() {
            if entered[frame] {
                units[self.frames.parent[frame]].push(Unit::Frame(frame));
            }
        }
        units
    }

    /// The unit of `region` that gives the outputs of a node.
    fn producer(&self, node: usize, region: usize) -> Option<Unit> {
        let mut unit = Unit::Node(node);
        let mut frame = self.frames.of[node];
        if self.flow.nodes[node].control() == Some(Control::Enter) && frame == region {
            return None;
        }
        while frame != region {
            if frame == ROOT {
                return None;
            }
            unit = Unit::Frame(frame);
            frame = self.frames.parent[frame];
        }
        Some(unit)
    }

    fn sources(&self, node: usize) -> impl Iterator<Item = usize> + '_ {
        let flow = &self.flow.nodes[node];
        let data = flow.inputs.iter().filter_map(|s| if let Source::Node(n, _) = s { Some(*n) } else { None });
        data.chain(flow.controls.iter().copied())
    }

    /// The units of a region, each after those that it needs, otherwise in order of creation.
    fn order(&self, region: usize, units: &[Unit]) -> Result<Vec<Unit>> {
        let index: HashMap<Unit, usize> = units.iter().enumerate().map(|(i, &u)| (u, i)).collect();
        let mut pending = vec![0usize; units.len()];
        let mut consumers: Vec<Vec<usize>> = vec![Vec::new(); units.len()];
        let mut priority = vec![0usize; units.len()];
        for (at, unit) in units.iter().enumerate() {
            let single;
            let nodes: &[usize] = match unit {
                Unit::Node(node) => {
                    priority[at] = self.flow.nodes[*node].position;
                    single = [*node];
                    &single
                }
                Unit::Frame(frame) => {
                    let nodes = &self.enters[*frame];
                    priority[at] = nodes.iter().map(|&n| self.flow.nodes[n].position).min().unwrap_or(0);
                    nodes
                }
            };
            for &node in nodes {
                for source in self.sources(node) {
                    if frames::is_back_edge(&self.flow, source, node) {
                        continue;
                    }
                    if let Some(from) = self.producer(source, region).and_then(|u| index.get(&u).copied())
                        && from != at
                    {
                        consumers[from].push(at);
                        pending[at] += 1;
                    }
                }
            }
        }
        let mut ready: BinaryHeap<Reverse<(usize, usize)>> =
            (0..units.len()).filter(|&i| pending[i] == 0).map(|i| Reverse((priority[i], i))).collect();
        let mut order = Vec::with_capacity(units.len());
        while let Some(Reverse((_, at))) = ready.pop() {
            order.push(units[at]);
            for &consumer in &consumers[at] {
                pending[consumer] -= 1;
                if pending[consumer] == 0 {
                    ready.push(Reverse((priority[consumer], consumer)));
                }
            }
        }
        if order.len() < units.len() {
            bail!(InvalidArgument, "Graph is invalid, contains a cycle in frame '{}'", self.frames.name[region]);
        }
        Ok(order)
    }

    fn region(&mut self, frame: usize, units: &[Vec<Unit>]) -> Result<Region> {
        let order = self.order(frame, &units[frame])?;
        let mut slots = if frame == ROOT { self.feeds } else { 0 };
        let mut flags = 0u32;
        // Enters' values come first in a frame's slots.
        if frame != ROOT {
            for &enter in &self.enters[frame] {
                self.slots[enter] = slots;
                slots += 1;
                if self.waited[enter] {
                    self.flags[enter] = flags;
                    flags += 1;
                }
            }
        }
        // The outputs of nodes, and of inner frames' Exits, have slots here.
        for unit in &order {
            let givers: Vec<usize> = match unit {
                Unit::Node(node) if self.flow.nodes[*node].control() == Some(Control::Exit) => Vec::new(),
                Unit::Node(node) => vec![*node],
                Unit::Frame(inner) => self.exits[*inner].clone(),
            };
            for node in givers {
                self.slots[node] = slots;
                slots += self.flow.nodes[node].info.output_types.len().max(1);
                if self.waited[node] {
                    self.flags[node] = flags;
                    flags += 1;
                }
            }
        }
        // What the back edges bring stands behind.
        let mut carries = Vec::new();
        for unit in &order {
            if let Unit::Node(node) = unit
                && self.flow.nodes[*node].control() == Some(Control::NextIteration)
            {
                carries.push(Carry { from: self.slots[*node], to: slots });
                slots += 1;
            }
        }
        let carried: HashMap<usize, usize> = carries.iter().map(|c| (c.from, c.to)).collect();
        let mut items = Vec::with_capacity(order.len());
        for unit in order {
            match unit {
                Unit::Node(node) => items.push(Item::Step(self.step(node, frame, &carried)?)),
                Unit::Frame(inner) => items.push(Item::Frame(Box::new(self.frame(inner, frame, units)?))),
            }
        }
        Ok(Region { items, num_slots: slots, num_flags: flags as usize, carries })
    }

    fn frame(&mut self, inner: usize, outer: usize, units: &[Vec<Unit>]) -> Result<Frame> {
        let mut steps = Vec::new();
        for &enter in &self.enters[inner] {
            let input = self.inputs(enter, outer, &HashMap::new())?[0];
            let is_constant = self.flow.nodes[enter].info.boolean("is_constant")?;
            let controls = self.flow.nodes[enter].controls.iter().map(|&c| self.flags[c]).collect();
            steps.push((enter, EnterStep { input, controls, slot: 0, flag: NO_FLAG, is_constant }));
        }
        let mut body = self.region(inner, units)?;
        for (enter, step) in &mut steps {
            step.slot = self.slots[*enter];
            step.flag = self.flags[*enter];
        }
        let mut keep = vec![false; body.num_slots];
        for (_, step) in &steps {
            keep[step.slot] = step.is_constant;
        }
        body.carries.iter().for_each(|c| keep[c.from] = true);
        mark_last_uses(&mut body, &mut keep);
        let mut exits = Vec::new();
        for item in &mut body.items {
            if let Item::Step(step) = item
                && let Run::Exit(index) = &mut step.run
            {
                *index = exits.len();
                exits.push((step.outputs, step.flag));
            }
        }
        Ok(Frame { name: self.frames.name[inner].clone(), enters: steps.into_iter().map(|s| s.1).collect(), body, exits })
    }

    fn inputs(&self, node: usize, region: usize, carried: &HashMap<usize, usize>) -> Result<SmallVec<[Input; 4]>> {
        let flow = &self.flow.nodes[node];
        let takes_ref = |index: usize| match flow.action {
            Action::Op(op) => op.takes_ref(index),
            _ => false,
        };
        let mut inputs = SmallVec::with_capacity(flow.inputs.len());
        for (index, source) in flow.inputs.iter().enumerate() {
            let slot = match *source {
                Source::Feed(feed) if region == ROOT => feed,
                Source::Feed(_) => {
                    bail!(Unimplemented, "node {} takes a fed tensor within a loop", flow.info.name)
                }
                Source::Node(from, output) => {
                    let slot = self.slots[from] + output;
                    if frames::is_back_edge(&self.flow, from, node) { carried.get(&slot).copied().unwrap_or(slot) } else { slot }
                }
            };
            inputs.push(Input { slot: slot as u32, take: false, read: !takes_ref(index) });
        }
        Ok(inputs)
    }

    fn step(&mut self, node: usize, region: usize, carried: &HashMap<usize, usize>) -> Result<Step> {
        let inputs = self.inputs(node, region, carried)?;
        let flow = &mut self.flow.nodes[node];
        let info = flow.info.clone();
        let prepare = |prepare: crate::graph::op::PrepareFn| {
            prepare(&PrepareCtx { node: &info, session: self.session })
                .map_err(|e| e.within(format!("node {} ({})", info.name, info.op)))
        };
        let run = match &mut flow.action {
            Action::Call(call) => Run::Call(FunctionCall { function: call.clone() }),
            Action::Made(_) => {
                let call = crate::proto::NameAttrList::default();
                match std::mem::replace(&mut flow.action, Action::Call(call)) {
                    Action::Made(kernel) => Run::Prepared(kernel),
                    _ => bail!(Internal, "a made kernel is gone"),
                }
            }
            Action::Op(op) => match op.kernel {
                Kernel::Pure(run) | Kernel::Stateful(run) => Run::Fn(run),
                Kernel::PurePrepared(p) | Kernel::StatefulPrepared(p) => Run::Prepared(prepare(p)?),
                Kernel::Missing(why) => bail!(Unimplemented, "op {} can't be run: {why}", op.name),
                Kernel::Control(control) => match control {
                    Control::Merge => Run::Merge,
                    Control::Exit => Run::Exit(0),
                    Control::NextIteration | Control::LoopCond => Run::Forward,
                    Control::ControlTrigger => Run::Trigger,
                    Control::Enter | Control::Arg | Control::Retval => {
                        bail!(Internal, "{} can't stand here", op.name)
                    }
                },
            },
        };
        let controls = self.flow.nodes[node].controls.iter().map(|&c| self.flags[c]).collect();
        let num_outputs = if matches!(run, Run::Exit(_)) { 0 } else { info.output_types.len() };
        Ok(Step {
            info,
            run,
            inputs,
            controls,
            outputs: self.slots[node],
            num_outputs,
            flag: self.flags[node],
            drop: SmallVec::new(),
        })
    }
}

/// Marks the last use of each slot as the one that takes the value, and outputs that nothing uses as dropped at once.
fn mark_last_uses(region: &mut Region, keep: &mut [bool]) {
    let mut used = vec![false; keep.len()];
    for item in region.items.iter_mut().rev() {
        match item {
            Item::Step(step) => {
                for output in 0..step.num_outputs {
                    let slot = step.outputs + output;
                    if !used[slot] && !keep[slot] {
                        step.drop.push(slot as u32);
                    }
                }
                for input in step.inputs.iter_mut().rev() {
                    let slot = input.slot as usize;
                    input.take = !keep[slot] && !std::mem::replace(&mut used[slot], true);
                }
            }
            Item::Frame(frame) => {
                for enter in frame.enters.iter_mut().rev() {
                    let slot = enter.input.slot as usize;
                    enter.input.take = !keep[slot] && !std::mem::replace(&mut used[slot], true);
                }
            }
        }
    }
}
