//! A frozen plan, and one step of it: arrays of slots are walked; nothing is looked up.

use super::fuse::{Fused, ScalarLoop};
use super::trace::Tracer;
use crate::compute::pool;
use crate::error::{Code, Error, Result, bail};
use crate::graph::op::{Caller, KernelCtx, KernelFn, NodeInfo, Prepared, SessionState, StepState, Value};
use crate::proto::NameAttrList;
use crate::tensor::Tensor;
use smallvec::SmallVec;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// The flag of a node that nobody waits for.
pub(super) const NO_FLAG: u32 = u32::MAX;

/// Everything that a step needs, made once for the same feeds, fetches and targets.
pub(crate) struct Plan {
    pub(super) root: Region,
    /// The slots of the fetches.
    pub(super) fetches: Vec<usize>,
    pub(super) num_feeds: usize,
}

/// Values that are in their slots from the start.
pub(super) type Constants = Vec<(usize, Value)>;

/// Nodes that run in a fixed order.
pub(super) struct Region {
    pub constants: Constants,
    pub items: Vec<Item>,
    pub num_slots: usize,
    /// Flags tell whether a node that others wait for ran.
    pub num_flags: usize,
}

/// A back edge: the value in slot `from` moves to slot `to` before the next iteration.
pub(super) struct Carry {
    pub from: usize,
    pub to: usize,
}

pub(super) enum Item {
    Step(Step),
    /// A loop, or several that need nothing of each other.
    Frames(Vec<Frame>),
    Fused(Box<Fused>),
}

#[derive(Clone, Copy)]
pub(super) struct Input {
    pub slot: u32,
    /// The last use of the slot takes the value.
    pub take: bool,
    /// A reference is read.
    pub read: bool,
    /// The source may be a reference.
    pub refers: bool,
}

pub(super) struct Step {
    pub info: Arc<NodeInfo>,
    pub run: Run,
    pub inputs: SmallVec<[Input; 4]>,
    pub controls: SmallVec<[u32; 2]>,
    /// The slot of the first output; for an Exit, a slot of the region around the frame.
    pub outputs: usize,
    pub num_outputs: usize,
    pub flag: u32,
    /// Outputs that nothing uses.
    pub drop: SmallVec<[u32; 2]>,
    /// The outputs depend on the inputs alone.
    pub is_pure: bool,
}

pub(super) enum Run {
    Fn(KernelFn),
    Prepared(Prepared),
    Call(FunctionCall),
    Merge,
    /// Passes the input on.
    Forward,
    /// Hands the input to the frame's exit of this number.
    Exit(usize),
    /// Runs even with dead inputs.
    Trigger,
}

pub(super) struct FunctionCall {
    pub function: NameAttrList,
}

/// A loop: its body runs as long as a back edge carries a value.
pub(super) struct Frame {
    pub name: String,
    /// Loops with the same number here need nothing of each other, and may run at the same time.
    pub meets: usize,
    pub enters: Vec<EnterStep>,
    pub body: Body,
    /// For each Exit, its slot and flag in the region around.
    pub exits: Vec<(usize, u32)>,
}

pub(super) enum Body {
    /// Nodes with Merge, Switch and dead values, and back edges.
    General(Region, Vec<Carry>),
    /// Variables in their slots, a condition part, a body part.
    Usual(Box<LoopBody>),
}

/// The body of a loop of the usual form.
pub(super) struct LoopBody {
    pub constants: Constants,
    /// What the condition needs and is the same at each iteration.
    pub once_condition: Vec<Item>,
    pub condition: Vec<Item>,
    /// The slot of the bool that says whether the body runs.
    pub predicate: usize,
    /// What the body needs and is the same at each iteration; computed if there is one.
    pub once_body: Vec<Item>,
    pub body: Vec<Item>,
    /// For each variable its slot, the slot of its next value, and whether that is used again.
    pub vars: Vec<(usize, usize, bool)>,
    /// For each Exit its number and the variable's slot.
    pub exits: Vec<(usize, usize)>,
    /// The whole loop as operations on words, if it can be that.
    pub scalar: Option<ScalarLoop>,
    pub num_slots: usize,
    pub num_flags: usize,
}

pub(super) struct EnterStep {
    pub info: Arc<NodeInfo>,
    pub input: Input,
    pub controls: SmallVec<[u32; 2]>,
    pub slot: usize,
    pub flag: u32,
    pub is_constant: bool,
}

/// What a run is given beside its feeds.
pub(crate) struct StepOptions<'a> {
    pub session: &'a Arc<SessionState>,
    pub caller: &'a dyn Caller,
    /// Set to stop the step between two nodes.
    pub cancelled: Option<&'a AtomicBool>,
    /// Collects what the nodes take.
    pub tracer: Option<&'a Tracer>,
}

impl Step {
    /// What the step gave, as long as nothing else has run.
    fn given<'a>(&self, memory: &'a Memory, exits: &'a [Value]) -> &'a [Value] {
        match self.run {
            Run::Exit(index) => &exits[index..=index],
            _ => &memory.slots[self.outputs..self.outputs + self.num_outputs],
        }
    }
}

struct Runner<'a> {
    step: StepState<'a>,
    cancelled: Option<&'a AtomicBool>,
    tracer: Option<&'a Tracer>,
}

struct Memory {
    slots: Vec<Value>,
    flags: Vec<bool>,
    scratch: Vec<Value>,
}

impl Memory {
    fn new(num_slots: usize, flags: usize, constants: &Constants) -> Memory {
        let mut slots = Vec::with_capacity(num_slots);
        slots.resize_with(num_slots, Value::default);
        for (slot, value) in constants {
            slots[*slot] = value.clone();
        }
        Memory { slots, flags: vec![false; flags], scratch: Vec::new() }
    }

    fn set_flag(&mut self, flag: u32, value: bool) {
        if flag != NO_FLAG {
            self.flags[flag as usize] = value;
        }
    }

    fn controls_dead(&self, controls: &[u32]) -> bool {
        controls.iter().any(|&c| !self.flags[c as usize])
    }
}

/// A loop whose values have come in.
struct BegunFrame {
    memory: Memory,
    exits: SmallVec<[Value; 8]>,
    /// Some value came in live.
    live: bool,
}

impl Plan {
    /// Runs one step and returns what is fetched.
    ///
    /// # Errors
    /// What a node returns, with the node's name; `InvalidArgument` where a fetched tensor is dead.
    pub fn run(&self, feeds: Vec<Tensor>, options: &StepOptions) -> Result<Vec<Tensor>> {
        let id = next_step();
        let step = StepState { session: options.session, caller: options.caller, objects: Mutex::default(), id };
        let runner = Runner { step, cancelled: options.cancelled, tracer: options.tracer };
        let mut memory = Memory::new(self.root.num_slots, self.root.num_flags, &self.root.constants);
        if feeds.len() != self.num_feeds {
            bail!(Internal, "{} feeds for a plan of {}", feeds.len(), self.num_feeds);
        }
        for (slot, feed) in feeds.into_iter().enumerate() {
            memory.slots[slot] = Value::Tensor(feed);
        }
        runner.items(&self.root.items, &mut memory, &mut [])?;
        let mut fetched = Vec::with_capacity(self.fetches.len());
        for (index, &slot) in self.fetches.iter().enumerate() {
            fetched.push(match &memory.slots[slot] {
                Value::Tensor(tensor) => tensor.clone(),
                Value::Ref(variable) => variable.read()?,
                Value::Dead => bail!(InvalidArgument, "Retval[{index}] does not have value"),
            });
        }
        Ok(fetched)
    }
}

fn next_step() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Runner<'_> {
    fn items(&self, items: &[Item], memory: &mut Memory, exits: &mut [Value]) -> Result<()> {
        for item in items {
            match item {
                Item::Step(step) => {
                    let start = self.tracer.map(|_| Instant::now());
                    self.step(step, memory, exits).map_err(|e| locate(e, &step.info))?;
                    if let (Some(tracer), Some(start)) = (self.tracer, start) {
                        tracer.record(&step.info, start, step.given(memory, exits));
                    }
                    for &slot in &step.drop {
                        memory.slots[slot as usize] = Value::Dead;
                    }
                }
                Item::Frames(frames) => self.frames(frames, memory)?,
                Item::Fused(fused) => {
                    let start = self.tracer.map(|_| Instant::now());
                    fused.run(&mut memory.slots, &self.step)?;
                    if let (Some(tracer), Some(start)) = (self.tracer, start) {
                        tracer.record(&fused.info, start, &[]);
                    }
                }
            }
        }
        self.check_cancelled()
    }

    fn check_cancelled(&self) -> Result<()> {
        if self.cancelled.is_some_and(|c| c.load(Ordering::Relaxed)) {
            return Err(Error::new(Code::Cancelled, "the step was cancelled"));
        }
        Ok(())
    }

    #[inline]
    fn step(&self, step: &Step, memory: &mut Memory, exits: &mut [Value]) -> Result<()> {
        match step.run {
            Run::Merge => return self.merge(step, memory),
            Run::Trigger => {
                memory.set_flag(step.flag, true);
                return Ok(());
            }
            _ => {}
        }
        let mut dead = memory.controls_dead(&step.controls);
        memory.scratch.clear();
        for input in &step.inputs {
            let slot = &mut memory.slots[input.slot as usize];
            let value = if input.take { std::mem::take(slot) } else { slot.clone() };
            let value = match value {
                Value::Dead => {
                    dead = true;
                    Value::Dead
                }
                Value::Ref(variable) if input.read && !dead => Value::Tensor(variable.read()?),
                value => value,
            };
            memory.scratch.push(value);
        }
        if let Run::Exit(index) = step.run {
            if !dead {
                exits[index] = std::mem::take(&mut memory.scratch[0]);
            }
            return Ok(());
        }
        let outputs = &mut memory.slots[step.outputs..step.outputs + step.num_outputs];
        outputs.fill_with(Value::default);
        if dead {
            memory.set_flag(step.flag, false);
            return Ok(());
        }
        let mut ctx = KernelCtx { node: &step.info, inputs: &mut memory.scratch, outputs, step: &self.step };
        match &step.run {
            Run::Fn(run) => run(&mut ctx)?,
            Run::Prepared(run) => run(&mut ctx)?,
            Run::Forward => ctx.forward(0, 0)?,
            Run::Call(call) => {
                let mut arguments = Vec::with_capacity(ctx.num_inputs());
                for index in 0..ctx.num_inputs() {
                    arguments.push(ctx.take(index)?);
                }
                for (index, result) in ctx.call(&call.function, arguments)?.into_iter().enumerate() {
                    ctx.set(index, result)?;
                }
            }
            Run::Merge | Run::Exit(_) | Run::Trigger => {}
        }
        memory.set_flag(step.flag, true);
        Ok(())
    }

    fn merge(&self, step: &Step, memory: &mut Memory) -> Result<()> {
        let mut live = None;
        for (index, input) in step.inputs.iter().enumerate() {
            let slot = &mut memory.slots[input.slot as usize];
            let value = if input.take { std::mem::take(slot) } else { slot.clone() };
            if live.is_none() && !matches!(value, Value::Dead) {
                live = Some((index, value));
            }
        }
        let dead = memory.controls_dead(&step.controls) || live.is_none();
        memory.set_flag(step.flag, !dead);
        let (mut value, mut at) = (Value::Dead, Value::Dead);
        if let (Some((index, live)), false) = (live, dead) {
            value = match live {
                Value::Ref(variable) if step.inputs[index].read => Value::Tensor(variable.read()?),
                other => other,
            };
            at = Value::Tensor(Tensor::scalar(index as i32));
        }
        memory.slots[step.outputs] = value;
        if step.num_outputs > 1 {
            memory.slots[step.outputs + 1] = at;
        }
        Ok(())
    }

    fn frames(&self, frames: &[Frame], outer: &mut Memory) -> Result<()> {
        let mut begun: SmallVec<[BegunFrame; 1]> = frames.iter().map(|frame| self.begin(frame, outer)).collect::<Result<_>>()?;
        let tasks: SmallVec<[_; 1]> =
            frames.iter().zip(&mut begun).map(|(frame, begun)| Mutex::new((frame, begun, Ok(())))).collect();
        pool::side_by_side(tasks.len(), |task| {
            let (frame, begun, done) = &mut *tasks[task].lock().unwrap_or_else(PoisonError::into_inner);
            *done = self.frame(frame, begun);
        });
        tasks.into_iter().try_for_each(|task| task.into_inner().unwrap_or_else(PoisonError::into_inner).2)?;
        for (frame, begun) in frames.iter().zip(begun) {
            for (value, &(slot, flag)) in begun.exits.into_iter().zip(&frame.exits) {
                outer.set_flag(flag, !matches!(value, Value::Dead));
                outer.slots[slot] = value;
            }
        }
        Ok(())
    }

    /// Takes a loop's values in.
    fn begin(&self, frame: &Frame, outer: &mut Memory) -> Result<BegunFrame> {
        let mut memory = match &frame.body {
            Body::General(region, _) => Memory::new(region.num_slots, region.num_flags, &region.constants),
            Body::Usual(body) => Memory::new(body.num_slots, body.num_flags, &body.constants),
        };
        let mut any = false;
        for enter in &frame.enters {
            let start = self.tracer.map(|_| Instant::now());
            let slot = &mut outer.slots[enter.input.slot as usize];
            let value = if enter.input.take { std::mem::take(slot) } else { slot.clone() };
            let value = match value {
                Value::Ref(variable) if enter.input.read => Value::Tensor(variable.read()?),
                value => value,
            };
            let live = !matches!(value, Value::Dead) && !outer.controls_dead(&enter.controls);
            any |= live;
            memory.slots[enter.slot] = if live { value } else { Value::Dead };
            memory.set_flag(enter.flag, live);
            if let (Some(tracer), Some(start)) = (self.tracer, start) {
                tracer.record(&enter.info, start, &memory.slots[enter.slot..=enter.slot]);
            }
        }
        let exits = std::iter::repeat_with(Value::default).take(frame.exits.len()).collect();
        Ok(BegunFrame { memory, exits, live: any })
    }

    fn frame(&self, frame: &Frame, begun: &mut BegunFrame) -> Result<()> {
        let BegunFrame { memory, exits, live } = begun;
        match &frame.body {
            _ if !*live => Ok(()),
            Body::General(region, carries) => self.general(frame, region, carries, memory, exits),
            Body::Usual(body) => self.usual(frame, body, memory, exits),
        }
    }

    fn general(&self, frame: &Frame, region: &Region, carries: &[Carry], memory: &mut Memory, exits: &mut [Value]) -> Result<()> {
        let mut iteration = 0u64;
        loop {
            self.items(&region.items, memory, exits).map_err(|e| in_frame(e, frame, iteration))?;
            let mut again = false;
            for carry in carries {
                let value = std::mem::take(&mut memory.slots[carry.from]);
                again |= !matches!(value, Value::Dead);
                memory.slots[carry.to] = value;
            }
            if !again {
                return Ok(());
            }
            if iteration == 0 {
                for enter in frame.enters.iter().filter(|e| !e.is_constant) {
                    memory.slots[enter.slot] = Value::Dead;
                    memory.set_flag(enter.flag, false);
                }
            }
            iteration += 1;
        }
    }

    fn usual(&self, frame: &Frame, body: &LoopBody, memory: &mut Memory, exits: &mut [Value]) -> Result<()> {
        // A variable without a value: the loop stands on a branch that is not taken.
        if body.vars.iter().any(|&(slot, ..)| matches!(memory.slots[slot], Value::Dead)) {
            return Ok(());
        }
        let mut nexts: SmallVec<[Value; 8]> = SmallVec::new();
        let mut iteration = 0u64;
        self.items(&body.once_condition, memory, exits).map_err(|e| in_frame(e, frame, iteration))?;
        // A step that is traced runs node by node.
        if let (Some(scalar), None) = (&body.scalar, self.tracer) {
            let before_body = |memory: &mut Memory| self.items(&body.once_body, memory, &mut []);
            let done = scalar.run(memory, |memory| &mut memory.slots[..], before_body, || self.check_cancelled());
            if done.map_err(|e| in_frame(e, frame, iteration))? {
                for &(index, slot) in &body.exits {
                    exits[index] = memory.slots[slot].clone();
                }
                return Ok(());
            }
        }
        loop {
            self.items(&body.condition, memory, exits).map_err(|e| in_frame(e, frame, iteration))?;
            let goes_on = match &memory.slots[body.predicate] {
                Value::Tensor(predicate) => predicate.item::<bool>().map_err(|e| in_frame(e, frame, iteration))?,
                _ => false,
            };
            if !goes_on {
                for &(index, slot) in &body.exits {
                    exits[index] = memory.slots[slot].clone();
                }
                return Ok(());
            }
            if iteration == 0 {
                self.items(&body.once_body, memory, exits).map_err(|e| in_frame(e, frame, iteration))?;
            }
            self.items(&body.body, memory, exits).map_err(|e| in_frame(e, frame, iteration))?;
            for &(_, next, shared) in &body.vars {
                let slot = &mut memory.slots[next];
                nexts.push(if shared { slot.clone() } else { std::mem::take(slot) });
            }
            for (&(slot, ..), value) in body.vars.iter().zip(nexts.drain(..)) {
                memory.slots[slot] = value;
            }
            iteration += 1;
        }
    }
}

#[cold]
fn in_frame(error: Error, frame: &Frame, iteration: u64) -> Error {
    error.within(format!("frame {}, iteration {iteration}", frame.name))
}

#[cold]
pub(super) fn locate(error: Error, info: &NodeInfo) -> Error {
    error.within(format!("node {{{{node {}}}}} ({})", info.name, info.op))
}
