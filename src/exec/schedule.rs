//! Splits the dataflow into regions, orders each, and assigns slots.

use super::Rewrites;
use super::dataflow::{Action, Dataflow, Grouped, Source};
use super::frames::{self, Frames, ROOT};
use super::fuse;
use super::loops::{self, UsualLoop};
use super::run::{
    Body, Carry, Constants, EnterStep, Frame, FunctionCall, Input, Item, LoopBody, NO_FLAG, Plan, Region, Run, Step,
};
use crate::compute::pages;
use crate::error::{Result, bail};
use crate::graph::op::{Control, Kernel, PrepareCtx, PrepareFn, SessionState};
use crate::graph::run_alone;
use crate::proto::NameAttrList;
use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};
use smallvec::SmallVec;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
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
    /// Outputs that share another's slot.
    shared: HashMap<Source, usize>,
    /// The flag of each node, in the region where its outputs are.
    flags: Vec<u32>,
    /// Whether somebody waits for the node.
    waited: Vec<bool>,
    /// Whether the node may be dead; where not, nobody has to look at its flag.
    may_die: Vec<bool>,
    /// The Enters of each frame.
    enters: Vec<Vec<usize>>,
    /// The Exits of each frame.
    exits: Vec<Vec<usize>>,
    usual: Vec<Option<UsualLoop>>,
    units: Units,
    /// Whether a frame could run at the same time as another one.
    apart: Vec<bool>,
    /// The first of the frames together with which each frame becomes ready: they need nothing of each other.
    meets: Vec<usize>,
    /// Whether nodes that only pass their input on share its slot.
    share_passing: bool,
    /// Whether constants are in place from the start.
    place_constants: bool,
    fuse: bool,
    hoist: bool,
    /// Whether loops may run at the same time.
    side_by_side: bool,
}

/// How many slots and flags a region has so far.
#[derive(Default)]
struct Counts {
    slots: usize,
    flags: u32,
}

impl Counts {
    fn take(&mut self, slots: usize) -> usize {
        self.slots += slots;
        self.slots - slots
    }
}

/// Makes the frozen plan, with the rewrites that concern regions.
pub(super) fn schedule(flow: Dataflow, session: &Arc<SessionState>, rewrites: &Rewrites) -> Result<Plan> {
    let simplify = rewrites.simplify_loops;
    let frames = frames::find(&flow)?;
    let count = flow.nodes.len();
    let mut waited = vec![false; count];
    flow.nodes.iter().flat_map(|n| &n.controls).for_each(|&c| waited[c] = true);
    let (mut enters, mut exits) = (vec![Vec::new(); frames.parent.len()], vec![Vec::new(); frames.parent.len()]);
    for node in 0..count {
        match flow.nodes[node].control() {
            Some(Control::Enter) => enters[frames.of[node]].push(node),
            Some(Control::Exit) => exits[frames.of[node]].push(node),
            _ => {}
        }
    }
    let usual = match simplify {
        true => loops::find(&flow, &frames, &flow.consumers()),
        false => (0..frames.parent.len()).map(|_| None).collect(),
    };
    let feeds = flow.num_feeds;
    let units = Units::new(&flow, &frames);
    let apart = apart(&flow, &frames);
    let meets = (0..frames.parent.len()).collect();
    let mut scheduler = Scheduler {
        flow,
        frames,
        session,
        slots: vec![usize::MAX; count],
        shared: HashMap::new(),
        flags: vec![NO_FLAG; count],
        waited,
        may_die: vec![false; count],
        enters,
        exits,
        usual,
        units,
        apart,
        meets,
        share_passing: simplify,
        place_constants: rewrites.fold_constants,
        fuse: rewrites.fuse_elementwise,
        hoist: rewrites.hoist_invariants,
        side_by_side: rewrites.loops_side_by_side,
    };
    let mut root = scheduler.root(feeds)?;
    let fetches: Vec<usize> = (0..scheduler.flow.fetches.len())
        .map(|at| {
            let fetch = scheduler.flow.fetches[at];
            if let Source::Node(node, _) = fetch
                && scheduler.frames.of_outputs(node, &scheduler.flow) != ROOT
            {
                let name = &scheduler.flow.nodes[node].info.name;
                bail!(InvalidArgument, "Operation '{name}' is in a while loop and has been marked as not fetchable.");
            }
            Ok(scheduler.slot(fetch))
        })
        .collect::<Result<_>>()?;
    let mut keep = vec![false; root.num_slots];
    keep[..feeds].fill(true);
    root.constants.iter().for_each(|c| keep[c.0] = true);
    fetches.iter().for_each(|&f| keep[f] = true);
    mark_last_uses(&mut root.items, &keep, &mut vec![false; keep.len()]);
    Ok(Plan { root, fetches, num_feeds: feeds })
}

/// The units of each frame's region.
struct Units {
    of: Vec<Vec<Unit>>,
    /// The place of each node, and of each frame, among the units of its region; `NO_PLACE` for one that is none.
    nodes: Vec<u32>,
    frames: Vec<u32>,
}

const NO_PLACE: u32 = u32::MAX;

impl Units {
    fn new(flow: &Dataflow, frames: &Frames) -> Units {
        let (nodes, count) = (flow.nodes.len(), frames.parent.len());
        let mut units = Units { of: vec![Vec::new(); count], nodes: vec![NO_PLACE; nodes], frames: vec![NO_PLACE; count] };
        let mut used = vec![false; count];
        for node in 0..nodes {
            let region = frames.of[node];
            used[region] = true;
            if flow.nodes[node].control() != Some(Control::Enter) {
                units.nodes[node] = units.of[region].len() as u32;
                units.of[region].push(Unit::Node(node));
            }
        }
        for frame in (1..used.len()).filter(|&f| used[f]) {
            let region = frames.parent[frame];
            units.frames[frame] = units.of[region].len() as u32;
            units.of[region].push(Unit::Frame(frame));
        }
        units
    }

    /// The place of a unit in its region.
    fn place(&self, unit: Unit) -> Option<usize> {
        let place = match unit {
            Unit::Node(node) => self.nodes[node],
            Unit::Frame(frame) => self.frames[frame],
        };
        (place != NO_PLACE).then_some(place as usize)
    }
}

/// For each frame, whether it could run at the same time as another one: nothing in it, or in a frame within, changes what
/// others see.
fn apart(flow: &Dataflow, frames: &Frames) -> Vec<bool> {
    let mut apart = vec![true; frames.parent.len()];
    for (node, &of) in flow.nodes.iter().zip(&frames.of) {
        let mut frame = of;
        if node.is_stateful() && !keeps_apart(node.info.op) {
            while std::mem::take(&mut apart[frame]) {
                frame = frames.parent[frame];
            }
        }
    }
    apart
}

/// Stateful ops that change nothing, draw numbers of their own, or touch an array or stack that one loop alone has.
fn keeps_apart(op: &str) -> bool {
    let reads = ["NoOp", "Assert", "ReadVariableOp", "ResourceGather", "ResourceGatherNd", "VariableShape"];
    let draws = ["RandomUniform", "RandomUniformInt", "RandomStandardNormal", "TruncatedNormal", "Multinomial"];
    op.starts_with("TensorArray") || op.starts_with("Stack") || reads.contains(&op) || draws.contains(&op)
}

/// Whether a frame runs at the same time as these.
fn joins(frames: &[Frame], frame: &Frame) -> bool {
    // What runs as a list of operations on words is done sooner than a thread could be told of it.
    let pays = |f: &Frame| !matches!(&f.body, Body::Usual(body) if body.scalar.is_some());
    pays(frame) && frames.iter().all(|f| f.meets == frame.meets && pays(f))
}

impl Scheduler<'_> {
    fn slot(&self, source: Source) -> usize {
        match source {
            Source::Feed(feed) => feed,
            Source::Node(node, output) => {
                self.shared.get(&source).copied().unwrap_or_else(|| self.slots[node].saturating_add(output))
            }
        }
    }

    /// The unit of `region` that gives the outputs of a node; none for its own Enters.
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

    /// The units of a region, each after those that it needs, otherwise in order of creation.
    fn order(&mut self, region: usize) -> Result<Vec<Unit>> {
        let this = &*self;
        let units = &this.units.of[region];
        let nodes = |at: usize| match &units[at] {
            Unit::Node(node) => std::slice::from_ref(node),
            Unit::Frame(frame) => &this.enters[*frame][..],
        };
        // The units that the one at this place needs, with its own place.
        let needs = |at: usize| {
            let sources = nodes(at).iter().flat_map(move |&node| this.flow.nodes[node].sources().map(move |from| (from, node)));
            let forward = sources.filter(|&(from, node)| !frames::is_back_edge(&this.flow, from, node));
            let places = forward.filter_map(move |(from, _)| this.producer(from, region).and_then(|u| this.units.place(u)));
            places.filter(move |&from| from != at).map(move |from| (from, at))
        };
        let position = |&node: &usize| this.flow.nodes[node].position;
        let priority: Vec<usize> = (0..units.len()).map(|at| nodes(at).iter().map(position).min().unwrap_or(0)).collect();
        // Mostly the order of creation has each unit after those that it needs.
        let mut created: Vec<usize> = (0..units.len()).collect();
        created.sort_by_key(|&at| priority[at]);
        let mut rank = vec![0; units.len()];
        created.iter().enumerate().for_each(|(number, &at)| rank[at] = number);
        // Loops that may run side by side wait until nothing else can be done before them, so that they meet.
        let apart = |at: usize| matches!(units[at], Unit::Frame(frame) if this.side_by_side && this.apart[frame]);
        let held = (0..units.len()).filter(|&at| apart(at)).nth(1).is_some();
        if !held && (0..units.len()).flat_map(needs).all(|(from, at)| rank[from] < rank[at]) {
            return Ok(created.into_iter().map(|at| units[at]).collect());
        }
        let mut pending: Vec<usize> = (0..units.len()).map(|at| needs(at).count()).collect();
        let consumers = Grouped::new(units.len(), (0..units.len()).flat_map(needs));
        let key = |at: usize| Reverse((held && apart(at), priority[at], at));
        let mut ready: BinaryHeap<_> = (0..units.len()).filter(|&i| pending[i] == 0).map(key).collect();
        let mut order = Vec::with_capacity(units.len());
        // Loops that are ready at the same time, then each other unit by itself.
        let mut together = Vec::new();
        let mut met = Vec::new();
        while let Some(Reverse((wait, _, at))) = ready.pop() {
            order.push(units[at]);
            together.push(at);
            if wait && ready.peek().is_some() {
                continue;
            }
            if let Unit::Frame(first) = units[together[0]] {
                met.extend(
                    together.iter().filter_map(|&at| if let Unit::Frame(f) = units[at] { Some((f, first)) } else { None }),
                );
            }
            for &consumer in together.drain(..).flat_map(|at| &consumers[at]) {
                pending[consumer] -= 1;
                if pending[consumer] == 0 {
                    ready.push(key(consumer));
                }
            }
        }
        if order.len() < units.len() {
            bail!(InvalidArgument, "Graph is invalid, contains a cycle in frame '{}'", this.frames.name[region]);
        }
        met.into_iter().for_each(|(frame, first)| self.meets[frame] = first);
        Ok(order)
    }

    fn root(&mut self, feeds: usize) -> Result<Region> {
        let order = self.order(ROOT)?;
        let mut counts = Counts { slots: feeds, flags: 0 };
        let mut items = pages::vec_with_capacity(order.len());
        for unit in order {
            self.emit(unit, ROOT, false, &mut counts, &mut items)?;
        }
        let constants = self.take_constants(&mut items);
        if self.fuse {
            let mut fetched = vec![false; counts.slots];
            for &fetch in &self.flow.fetches {
                if let Some(fetched) = fetched.get_mut(self.slot(fetch)) {
                    *fetched = true;
                }
            }
            fuse::fuse(&mut items, &|slot| fetched[slot]);
        }
        Ok(Region { constants, items, num_slots: counts.slots, num_flags: counts.flags as usize })
    }

    /// Takes out the steps that give the same at every run: constants, and references to variables.
    fn take_constants(&self, items: &mut Vec<Item>) -> Constants {
        let mut constants = Constants::new();
        let mut take = |step: &Step| {
            let Run::Prepared(kernel) = &step.run else { return false };
            let is_free = step.inputs.is_empty() && step.controls.is_empty() && step.flag == NO_FLAG;
            if !is_free || !step.is_pure && !matches!(step.info.op, "VariableV2" | "Variable") {
                return false;
            }
            // A node that fails does so when it runs.
            let Ok(values) = run_alone(&step.info, self.session, &mut Vec::new(), kernel) else { return false };
            constants.extend((step.outputs..).zip(values));
            true
        };
        if self.place_constants {
            items.retain(|item| !matches!(item, Item::Step(step) if take(step)));
        }
        constants
    }

    /// Adds the item of a unit; `unsure` where the region's values may all be dead.
    fn emit(&mut self, unit: Unit, region: usize, unsure: bool, counts: &mut Counts, items: &mut Vec<Item>) -> Result<()> {
        match unit {
            Unit::Frame(inner) => {
                let frame = self.frame(inner, region, counts)?;
                match items.last_mut() {
                    Some(Item::Frames(frames)) if joins(frames, &frame) => frames.push(frame),
                    _ => items.push(Item::Frames(vec![frame])),
                }
            }
            Unit::Node(node) => {
                self.may_die[node] = unsure || self.depends_on_dying(node);
                if self.passes(node) {
                    let slot = self.slot(self.flow.nodes[node].inputs[0]);
                    self.slots[node] = slot;
                    return Ok(());
                }
                let is_exit = self.flow.nodes[node].control() == Some(Control::Exit);
                if !is_exit {
                    self.slots[node] = counts.take(self.flow.nodes[node].info.output_types.len().max(1));
                    self.give_flag(node, counts);
                }
                items.push(Item::Step(self.step(node, region)?));
            }
        }
        Ok(())
    }

    fn give_flag(&mut self, node: usize, counts: &mut Counts) {
        if self.waited[node] && self.may_die[node] {
            self.flags[node] = counts.flags;
            counts.flags += 1;
        }
    }

    fn depends_on_dying(&self, node: usize) -> bool {
        let flow = &self.flow.nodes[node];
        let data = flow.inputs.iter().any(|&s| match s {
            Source::Node(n, _) => {
                self.may_die[n] || (self.flow.nodes[n].is_op(&["Switch", "RefSwitch"]) && !self.shared.contains_key(&s))
            }
            Source::Feed(_) => false,
        });
        // A Merge at the end of a cond lives if one side does, which the plan doesn't know.
        data || flow.controls.iter().any(|&c| self.may_die[c]) || flow.control() == Some(Control::Merge)
    }

    /// True for a node that needs no step, since it only passes its input on and nobody looks at its flag.
    fn passes(&self, node: usize) -> bool {
        let flow = &self.flow.nodes[node];
        if !self.share_passing || (self.waited[node] && self.may_die[node]) || !flow.is_op(&["Identity", "StopGradient"]) {
            return false;
        }
        let refers = matches!(flow.inputs[0], Source::Node(n, o) if self.flow.nodes[n].gives_ref(o));
        let checked = flow.controls.iter().any(|&c| self.may_die[c]);
        !refers && !checked
    }

    fn frame(&mut self, inner: usize, outer: usize, outer_counts: &mut Counts) -> Result<Frame> {
        let mut enters = Vec::new();
        for &enter in &self.enters[inner] {
            let input = self.inputs(enter, outer, &HashMap::new())?[0];
            let info = self.flow.nodes[enter].info.clone();
            let is_constant = info.boolean("is_constant")?;
            let controls = self.live_controls(enter);
            enters.push(EnterStep { info, input, controls, slot: 0, flag: NO_FLAG, is_constant });
        }
        let mut counts = Counts::default();
        let mut any_dying = false;
        for (at, &enter) in self.enters[inner].clone().iter().enumerate() {
            self.may_die[enter] = self.depends_on_dying(enter);
            any_dying |= self.may_die[enter];
            self.slots[enter] = counts.take(1);
            enters[at].slot = self.slots[enter];
        }
        let order = self.order(inner)?;
        let usual = self.usual[inner].take().and_then(|u| self.split(&u, inner, &order).map(|parts| (u, parts)));
        let is_usual = usual.is_some();
        for exit in self.exits[inner].clone() {
            self.may_die[exit] = !is_usual || any_dying;
            self.slots[exit] = outer_counts.take(1);
            self.give_flag(exit, outer_counts);
        }
        let body = match usual {
            Some((usual, parts)) => Body::Usual(Box::new(self.usual_body(inner, &usual, parts, &enters, &mut counts)?)),
            None => {
                let all = self.enters[inner].clone();
                for (at, enter) in all.into_iter().enumerate() {
                    self.may_die[enter] = true;
                    self.give_flag(enter, &mut counts);
                    enters[at].flag = self.flags[enter];
                }
                self.general_body(inner, order, &enters, counts)?
            }
        };
        let exits = self.exits[inner].iter().map(|&e| (self.slots[e], self.flags[e])).collect();
        Ok(Frame { name: self.frames.name[inner].clone(), meets: self.meets[inner], enters, body, exits })
    }

    fn general_body(&mut self, inner: usize, order: Vec<Unit>, enters: &[EnterStep], mut counts: Counts) -> Result<Body> {
        let mut carried = HashMap::new();
        for unit in &order {
            if let Unit::Node(node) = unit
                && self.flow.nodes[*node].control() == Some(Control::NextIteration)
            {
                carried.insert(*node, counts.take(1));
            }
        }
        let mut items = Vec::with_capacity(order.len());
        for unit in order {
            if let Unit::Node(node) = unit
                && self.flow.nodes[node].control() == Some(Control::Merge)
            {
                self.may_die[node] = true;
                self.slots[node] = counts.take(2);
                self.give_flag(node, &mut counts);
                items.push(Item::Step(self.step_with(node, inner, &carried)?));
                continue;
            }
            self.emit(unit, inner, true, &mut counts, &mut items)?;
        }
        let carries: Vec<Carry> = carried.iter().map(|(&node, &to)| Carry { from: self.slots[node], to }).collect();
        let mut keep = vec![false; counts.slots];
        enters.iter().for_each(|e| keep[e.slot] = e.is_constant);
        carries.iter().for_each(|c| keep[c.from] = true);
        mark_last_uses(&mut items, &keep, &mut vec![false; keep.len()]);
        self.number_exits(inner, &mut items);
        let constants = Constants::new();
        Ok(Body::General(Region { constants, items, num_slots: counts.slots, num_flags: counts.flags as usize }, carries))
    }

    /// Tells each Exit step its number in the frame's list.
    fn number_exits(&self, inner: usize, items: &mut [Item]) {
        let number: HashMap<usize, usize> = self.exits[inner].iter().enumerate().map(|(i, &e)| (self.slots[e], i)).collect();
        for item in items {
            if let Item::Step(step) = item
                && let Run::Exit(index) = &mut step.run
            {
                *index = number.get(&step.outputs).copied().unwrap_or(0);
            }
        }
    }

    /// The units of the condition part and of the body part, unless what is computed first needs the body.
    fn split(&self, usual: &UsualLoop, inner: usize, order: &[Unit]) -> Option<(Vec<Unit>, Vec<Unit>)> {
        let (absorbed, switches) = (usual.absorbed(), usual.switches());
        let mut in_body: HashSet<Unit> = HashSet::new();
        let (mut first, mut body) = (Vec::new(), Vec::new());
        let is_in_body = |in_body: &HashSet<Unit>, source: Source| match source {
            Source::Node(n, 1) if switches.contains(&n) => true,
            Source::Node(n, _) => self.producer(n, inner).is_some_and(|u| in_body.contains(&u)),
            Source::Feed(_) => false,
        };
        for &unit in order {
            let single;
            let nodes: &[usize] = match unit {
                Unit::Node(node) => {
                    single = [node];
                    &single
                }
                Unit::Frame(frame) => &self.enters[frame],
            };
            let needs_body = nodes.iter().any(|&n| {
                let flow = &self.flow.nodes[n];
                flow.inputs.iter().any(|&s| is_in_body(&in_body, s) && !frames_back(&self.flow, s, n))
                    || flow.controls.iter().any(|&c| self.producer(c, inner).is_some_and(|u| in_body.contains(&u)))
            });
            let own = matches!(unit, Unit::Node(n) if absorbed.contains(&n));
            if needs_body && !own {
                in_body.insert(unit);
                body.push(unit);
            } else if !own {
                first.push(unit);
            }
        }
        let condition = self.flow.nodes[usual.condition].inputs[0];
        let ends = !is_in_body(&in_body, condition) && !matches!(condition, Source::Feed(_));
        let goes_on = usual.vars.iter().all(|v| is_in_body(&in_body, self.flow.nodes[v.next].inputs[0]));
        (ends && goes_on).then_some((first, body))
    }

    fn usual_body(
        &mut self,
        inner: usize,
        usual: &UsualLoop,
        (first, rest): (Vec<Unit>, Vec<Unit>),
        enters: &[EnterStep],
        counts: &mut Counts,
    ) -> Result<LoopBody> {
        let mut vars = Vec::new();
        for var in &usual.vars {
            let slot = self.slots[var.enter];
            self.slots[var.merge] = slot;
            self.may_die[var.merge] = self.may_die[var.enter];
            if let Some(switch) = var.switch {
                self.shared.insert(Source::Node(switch, 0), slot);
                self.shared.insert(Source::Node(switch, 1), slot);
                self.may_die[switch] = self.may_die[var.enter];
            }
            vars.push(slot);
        }
        let mut condition = Vec::new();
        for unit in first {
            self.emit(unit, inner, false, counts, &mut condition)?;
        }
        let predicate = self.slot(self.flow.nodes[usual.condition].inputs[0]);
        self.slots[usual.condition] = predicate;
        let mut body = Vec::new();
        for unit in rest {
            self.emit(unit, inner, false, counts, &mut body)?;
        }
        let nexts: Vec<usize> = usual.vars.iter().map(|v| self.slot(self.flow.nodes[v.next].inputs[0])).collect();
        let number: HashMap<usize, usize> = self.exits[inner].iter().enumerate().map(|(i, &e)| (e, i)).collect();
        let mut exits = Vec::new();
        for (var, &slot) in usual.vars.iter().zip(&vars) {
            exits.extend(var.exits.iter().map(|e| (number[e], slot)));
        }
        let mut keep = vec![false; counts.slots];
        enters.iter().filter(|e| e.is_constant).for_each(|e| keep[e.slot] = true);
        let mut constants = self.take_constants(&mut condition);
        constants.extend(self.take_constants(&mut body));
        constants.iter().for_each(|c| keep[c.0] = true);
        let (mut once_condition, mut once_body) = (Vec::new(), Vec::new());
        if self.hoist {
            once_condition = take_invariants(&mut condition, &mut keep);
            once_body = take_invariants(&mut body, &mut keep);
        }
        let mut scalar = None;
        if self.fuse {
            let pairs: Vec<(usize, usize)> = vars.iter().copied().zip(nexts.iter().copied()).collect();
            scalar = fuse::ScalarLoop::new(&condition, &body, predicate, &pairs);
            let mut outside: HashSet<usize> = nexts.iter().copied().chain(exits.iter().map(|e| e.1)).collect();
            outside.insert(predicate);
            let taken_by = |items: &[Item]| {
                let mut taken = HashSet::new();
                items.iter().for_each(|item| fuse::for_inputs(item, |slot| _ = taken.insert(slot as usize)));
                taken
            };
            let by_body = taken_by(&body);
            fuse::fuse(&mut condition, &|slot| outside.contains(&slot) || by_body.contains(&slot));
            fuse::fuse(&mut body, &|slot| outside.contains(&slot));
        }
        let mut used = vec![false; counts.slots];
        nexts.iter().for_each(|&n| used[n] = true);
        mark_last_uses(&mut body, &keep, &mut used);
        exits.iter().for_each(|&(_, slot)| used[slot] = true);
        used[predicate] = true;
        mark_last_uses(&mut condition, &keep, &mut used);
        let shares = |at: usize| keep[nexts[at]] || nexts[at + 1..].contains(&nexts[at]);
        let vars = vars.iter().zip(&nexts).enumerate().map(|(at, (&slot, &next))| (slot, next, shares(at))).collect();
        Ok(LoopBody {
            constants,
            once_condition,
            condition,
            predicate,
            once_body,
            body,
            vars,
            exits,
            scalar,
            num_slots: counts.slots,
            num_flags: counts.flags as usize,
        })
    }

    fn live_controls(&self, node: usize) -> SmallVec<[u32; 2]> {
        self.flow.nodes[node].controls.iter().map(|&c| self.flags[c]).filter(|&f| f != NO_FLAG).collect()
    }

    fn inputs(&self, node: usize, region: usize, carried: &HashMap<usize, usize>) -> Result<SmallVec<[Input; 4]>> {
        let flow = &self.flow.nodes[node];
        let takes_ref = |index: usize| match flow.action {
            Action::Op(op) => op.takes_ref(index),
            _ => false,
        };
        let mut inputs = SmallVec::with_capacity(flow.inputs.len());
        for (index, &source) in flow.inputs.iter().enumerate() {
            let slot = match source {
                Source::Feed(_) if region != ROOT => {
                    bail!(Unimplemented, "node {} takes a fed tensor within a loop", flow.info.name)
                }
                Source::Node(from, _) if frames::is_back_edge(&self.flow, from, node) => carried.get(&from).copied().unwrap_or(0),
                other => self.slot(other),
            };
            let refers = matches!(source, Source::Node(n, o) if self.flow.nodes[n].gives_ref(o));
            inputs.push(Input { slot: slot as u32, take: false, read: !takes_ref(index), refers });
        }
        Ok(inputs)
    }

    fn step(&mut self, node: usize, region: usize) -> Result<Step> {
        self.step_with(node, region, &HashMap::new())
    }

    fn step_with(&mut self, node: usize, region: usize, carried: &HashMap<usize, usize>) -> Result<Step> {
        let inputs = self.inputs(node, region, carried)?;
        let controls = self.live_controls(node);
        let flow = &mut self.flow.nodes[node];
        let is_constant = matches!(flow.action, Action::Made(_)) && flow.inputs.is_empty();
        let is_pure = flow.is_pure() || is_constant || matches!(flow.action, Action::MadePure(_));
        let info = flow.info.clone();
        let prepare = |prepare: PrepareFn| {
            let ctx = PrepareCtx { node: &info, session: self.session };
            prepare(&ctx).map_err(|e| e.within(format!("node {{{{node {}}}}} ({})", info.name, info.op)))
        };
        let run = match std::mem::replace(&mut flow.action, Action::Call(NameAttrList::default())) {
            Action::Call(function) => Run::Call(FunctionCall { function }),
            Action::Made(kernel) | Action::MadePure(kernel) => Run::Prepared(kernel),
            Action::Op(op) => {
                flow.action = Action::Op(op);
                match op.kernel {
                    Kernel::Pure(run) | Kernel::Stateful(run) => Run::Fn(run),
                    Kernel::PurePrepared(p) | Kernel::StatefulPrepared(p) => Run::Prepared(prepare(p)?),
                    Kernel::Missing(why) => bail!(InvalidArgument, "op {} can't be run: {why}", op.name),
                    Kernel::Control(control) => match control {
                        Control::Merge => Run::Merge,
                        Control::Exit => Run::Exit(0),
                        Control::NextIteration | Control::LoopCond => Run::Forward,
                        Control::ControlTrigger => Run::Trigger,
                        Control::Enter | Control::Arg | Control::Retval => bail!(Internal, "{} can't stand here", op.name),
                    },
                }
            }
        };
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
            is_pure,
        })
    }
}

/// Takes out the steps that compute the same at each iteration, and keeps what they give.
fn take_invariants(items: &mut Vec<Item>, keep: &mut [bool]) -> Vec<Item> {
    let mut once = Vec::new();
    let mut rest = Vec::with_capacity(items.len());
    for item in std::mem::take(items) {
        match item {
            Item::Step(step)
                if step.is_pure
                    && step.flag == NO_FLAG
                    && step.controls.is_empty()
                    && matches!(step.run, Run::Fn(_) | Run::Prepared(_))
                    && step.inputs.iter().all(|i| keep[i.slot as usize] && !i.refers) =>
            {
                keep[step.outputs..step.outputs + step.num_outputs].fill(true);
                once.push(Item::Step(step));
            }
            item => rest.push(item),
        }
    }
    *items = rest;
    once
}

fn frames_back(flow: &Dataflow, source: Source, to: usize) -> bool {
    matches!(source, Source::Node(from, _) if frames::is_back_edge(flow, from, to))
}

/// Marks the last use of each slot as the one that takes the value, and outputs that nothing uses as dropped at once.
/// `used` tells the slots that are used after these items.
fn mark_last_uses(items: &mut [Item], keep: &[bool], used: &mut [bool]) {
    for item in items.iter_mut().rev() {
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
            Item::Fused(fused) => {
                let unused = fused.outputs.iter().copied().filter(|&slot| !used[slot as usize] && !keep[slot as usize]);
                fused.drop = unused.collect();
                for input in fused.inputs.iter_mut().rev() {
                    let slot = input.slot as usize;
                    input.take = !keep[slot] && !std::mem::replace(&mut used[slot], true);
                }
            }
            Item::Frames(frames) => {
                for enter in frames.iter_mut().rev().flat_map(|frame| frame.enters.iter_mut().rev()) {
                    let slot = enter.input.slot as usize;
                    enter.input.take = !keep[slot] && !std::mem::replace(&mut used[slot], true);
                }
            }
        }
    }
}
