//! Chains of element-wise steps become one step that runs a program chunk by chunk.
//!
//! A group is a connected set of element-wise steps of one region; it runs where its last step stood. A group stops
//! growing as soon as a step outside of it takes one of its values, so that nothing comes before what it needs. Steps
//! that may be dead, wait for others, are waited for or read variables are left alone.
//!
//! Shapes are known only when the group runs. Where they don't fit one program (all values of one shape or single
//! elements; operands may be rows that repeat, and parts of Split and ConcatV2 along the last axis), the steps run one by
//! one as they were. A Select (of TensorFlow 1) may take a condition for each row: the condition stays outside then, for its
//! shape is another one.

mod layout;
mod run;
mod scalar;

use super::run::{Input, Item, NO_FLAG, Run, Step};
use crate::compute::program::{Number, Operation, body};
use crate::graph::attr::Attrs;
use crate::graph::op::{KernelFn, NodeInfo};
use crate::tensor::DType;
use foldhash::{HashMap, HashMapExt, HashSet};
use layout::Layout;
pub(super) use scalar::ScalarLoop;
use smallvec::SmallVec;
use std::sync::{Arc, Mutex, OnceLock};

/// A group of steps that run as one.
pub(super) struct Fused {
    /// What the group is called where a step is told.
    pub info: Arc<NodeInfo>,
    /// The values that it takes.
    pub inputs: Vec<Input>,
    /// The slots that it gives values to.
    pub outputs: Vec<u32>,
    /// Outputs that nothing uses.
    pub drop: SmallVec<[u32; 2]>,
    input_types: Vec<DType>,
    members: Vec<Member>,
    num_locals: usize,
    /// For each output, its number among the members' values.
    output_locals: Vec<usize>,
    ops: Vec<VirtualOp>,
    results: Vec<Outcome>,
    axes: Vec<Axis>,
    /// For the shapes of the first run, and for the latest others.
    first_layout: OnceLock<Layout>,
    layout: Mutex<Option<Arc<Layout>>>,
}

/// A step of the group as it was.
struct Member {
    info: Arc<NodeInfo>,
    kernel: KernelFn,
    inputs: SmallVec<[Local; 4]>,
    /// The number of its first output among the members' values.
    first: usize,
    num_outputs: usize,
}

/// A value within a group: one that it takes, or a member's.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Local {
    Input(usize),
    Value(usize),
}

/// An operand of a program's operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Arg {
    /// An input, or one part of as many along its last axis.
    Input(usize, Option<(usize, usize)>),
    /// What an operation gives.
    Value(usize),
}

/// How the shapes of operands must fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Broadcast,
    /// All are the same.
    Same,
    /// The second is a vector as long as the first one's last axis.
    Bias,
    /// The second and third are the same; the first is so too, a scalar, or a vector with a value for each of their rows.
    Choice,
}

struct VirtualOp {
    operation: Operation,
    rule: Rule,
    /// The type of the operands; of the second and third for `Select`.
    number: Number,
    args: SmallVec<[Arg; 3]>,
}

impl VirtualOp {
    /// The size of an operand's elements in bytes.
    fn arg_size(&self, arg: usize) -> usize {
        if self.operation == Operation::Select && arg == 0 { 1 } else { self.number.size() }
    }
}

/// What an output of the group is.
enum Outcome {
    Value(Arg, DType),
    /// Values side by side along the last axis.
    Concat(Vec<Arg>, DType),
}

/// An input that must say that an axis is the last one.
#[derive(Clone, Copy)]
struct Axis {
    input: usize,
    /// The value whose rank counts.
    of: Arg,
    /// Whether that is a part.
    parts: bool,
}

/// Puts groups in the place of steps; `used_outside` tells the slots that are used by others than these items.
pub(super) fn fuse(items: &mut Vec<Item>, used_outside: &dyn Fn(usize) -> bool) {
    let slots = items.iter().map(slots_of).max().unwrap_or(0);
    let groups = find_groups(items, slots);
    if groups.is_empty() {
        return;
    }
    let mut uses = vec![0u32; slots];
    items.iter().for_each(|item| for_inputs(item, |slot| uses[slot as usize] += 1));
    let mut inner = vec![0u32; slots];
    let mut locals = vec![None; slots];
    let mut fused_at: Vec<Option<Box<Fused>>> = Vec::new();
    fused_at.resize_with(items.len(), || None);
    let mut taken = vec![false; items.len()];
    for group in groups {
        let Some(&last) = group.last() else { continue };
        let steps: Vec<&Step> =
            group.iter().filter_map(|&at| if let Item::Step(s) = &items[at] { Some(s) } else { None }).collect();
        steps.iter().flat_map(|s| &s.inputs).for_each(|i| inner[i.slot as usize] += 1);
        let is_output = |slot: usize| used_outside(slot) || uses[slot] != inner[slot];
        if let Some(fused) = build(&steps, &is_output, &mut locals) {
            group.iter().for_each(|&at| taken[at] = true);
            fused_at[last] = Some(Box::new(fused));
        }
        for step in steps {
            step.inputs.iter().for_each(|i| (inner[i.slot as usize], locals[i.slot as usize]) = (0, None));
            locals[step.outputs..step.outputs + step.num_outputs].fill(None);
        }
    }
    let mut positions = 0..items.len();
    items.retain_mut(|item| {
        let at = positions.next().unwrap_or_default();
        match fused_at[at].take() {
            Some(fused) => *item = Item::Fused(fused),
            None => return !taken[at],
        }
        true
    });
}

/// Calls `visit` with each slot that an item takes.
pub(super) fn for_inputs(item: &Item, mut visit: impl FnMut(u32)) {
    match item {
        Item::Step(step) => step.inputs.iter().for_each(|i| visit(i.slot)),
        Item::Frames(frames) => frames.iter().flat_map(|f| &f.enters).for_each(|e| visit(e.input.slot)),
        Item::Fused(fused) => fused.inputs.iter().for_each(|i| visit(i.slot)),
    }
}

/// How many slots there are, as far as an item knows of them.
fn slots_of(item: &Item) -> usize {
    let mut slots = match item {
        Item::Step(step) => step.outputs + step.num_outputs,
        _ => 0,
    };
    for_inputs(item, |slot| slots = slots.max(slot as usize + 1));
    slots
}

/// The group of a Select's condition, if none of what it chooses from is of that group.
fn outside_condition(item: &Item, mut group: impl FnMut(u32) -> Option<usize>) -> Option<usize> {
    let Item::Step(step) = item else { return None };
    let &[condition, a, b] = &step.inputs[..] else { return None };
    let own = group(condition.slot).filter(|_| step.info.op == "Select")?;
    [a, b].iter().all(|input| group(input.slot) != Some(own)).then_some(own)
}

/// Groups of at least two steps, by their positions.
fn find_groups(items: &[Item], slots: usize) -> Vec<Vec<usize>> {
    let mut group_of: Vec<Option<usize>> = vec![None; slots];
    // Groups that were merged into others point to them.
    let mut parent: Vec<usize> = Vec::new();
    let mut closed: Vec<bool> = Vec::new();
    let mut members: Vec<Vec<usize>> = Vec::new();
    fn root(parent: &mut [usize], mut group: usize) -> usize {
        while parent[group] != group {
            parent[group] = parent[parent[group]];
            group = parent[group];
        }
        group
    }
    for (at, item) in items.iter().enumerate() {
        let mut sources: SmallVec<[usize; 4]> = SmallVec::new();
        for_inputs(item, |slot| {
            if let Some(group) = group_of[slot as usize] {
                let group = root(&mut parent, group);
                if !sources.contains(&group) {
                    sources.push(group);
                }
            }
        });
        if let Some(outside) = outside_condition(item, |slot| group_of[slot as usize].map(|g| root(&mut parent, g))) {
            closed[outside] = true;
        }
        let Item::Step(step) = item else {
            sources.iter().for_each(|&g| closed[g] = true);
            continue;
        };
        let fits = match kind(step) {
            None => false,
            // A ConcatV2 is worth it where it takes nothing but values of one group.
            Some(Kind::Concat) => {
                let count = step.inputs.len() - 1;
                let inside = step.inputs[..count].iter().filter(|i| group_of[i.slot as usize].is_some()).count();
                inside == count && sources.len() == 1 && !closed[sources[0]]
            }
            Some(_) => true,
        };
        if !fits {
            sources.iter().for_each(|&g| closed[g] = true);
            continue;
        }
        let mut own = None;
        for &group in &sources {
            if closed[group] {
                continue;
            }
            match own {
                None => own = Some(group),
                Some(to) => {
                    let (small, large) = if members[group].len() < members[to].len() { (group, to) } else { (to, group) };
                    parent[small] = large;
                    let moved = std::mem::take(&mut members[small]);
                    members[large].extend(moved);
                    own = Some(large);
                }
            }
        }
        let own = own.unwrap_or_else(|| {
            parent.push(parent.len());
            closed.push(false);
            members.push(Vec::new());
            parent.len() - 1
        });
        members[own].push(at);
        group_of[step.outputs..step.outputs + step.num_outputs].fill(Some(own));
    }
    members.retain(|m| m.len() > 1);
    members.iter_mut().for_each(|m| m.sort_unstable());
    members
}

/// What a step is to a group.
enum Kind {
    Element(Operation, Number, Rule),
    /// Takes the axis first.
    Split,
    /// Takes the axis last.
    Concat,
    /// A sum of any number of operands.
    Sum(Number),
}

fn number(dtype: DType) -> Option<Number> {
    Some(match dtype {
        DType::Float => Number::F32,
        DType::Double => Number::F64,
        DType::Int32 => Number::I32,
        DType::Int64 => Number::I64,
        DType::Bool => Number::Bool,
        _ => return None,
    })
}

fn kind(step: &Step) -> Option<Kind> {
    use Operation as O;
    let Run::Fn(_) = step.run else { return None };
    if step.flag != NO_FLAG || !step.controls.is_empty() || step.inputs.iter().any(|i| !i.read || i.refers) {
        return None;
    }
    let info = &step.info;
    let input = |at: usize| info.input_types.get(at).copied().and_then(number);
    let result = info.output_types.first().copied().and_then(number)?;
    if matches!(info.op, "Select" | "SelectV2") {
        let rule = if info.op == "Select" { Rule::Choice } else { Rule::Broadcast };
        return (input(0)? == Number::Bool).then_some(Kind::Element(O::Select, result, rule));
    }
    let first = input(0)?;
    let operation = match info.op {
        "Add" | "AddV2" => O::Add,
        "BiasAdd" if info.string("data_format").is_ok_and(|f| f == "NHWC") => O::Add,
        "Sub" => O::Sub,
        "Mul" => O::Mul,
        "RealDiv" => O::Div,
        "Maximum" => O::Maximum,
        "Minimum" => O::Minimum,
        "Neg" => O::Neg,
        "Square" => O::Square,
        "SquaredDifference" => O::SquaredDifference,
        "Abs" => O::Abs,
        "Sqrt" => O::Sqrt,
        "Rsqrt" => O::Rsqrt,
        "Exp" => O::Exp,
        "Log" => O::Log,
        "Sigmoid" => O::Sigmoid,
        "Tanh" => O::Tanh,
        "Relu" => O::Relu,
        "SigmoidGrad" => O::SigmoidGrad,
        "TanhGrad" => O::TanhGrad,
        "ReluGrad" => O::ReluGrad,
        "Less" => O::Less,
        "LessEqual" => O::LessEqual,
        "Greater" => O::Greater,
        "GreaterEqual" => O::GreaterEqual,
        "LogicalAnd" => O::And,
        "LogicalOr" => O::Or,
        "LogicalNot" => O::Not,
        "AddN" if info.input_types.len() > 1 => return body(O::Add, first).map(|_| Kind::Sum(first)),
        "Split" if input(1) == Some(Number::F32) => return Some(Kind::Split),
        "ConcatV2" if first == Number::F32 => return Some(Kind::Concat),
        _ => return None,
    };
    body(operation, first)?;
    let rule = match info.op {
        "BiasAdd" => Rule::Bias,
        "SigmoidGrad" | "TanhGrad" | "ReluGrad" => Rule::Same,
        _ => Rule::Broadcast,
    };
    Some(Kind::Element(operation, first, rule))
}

/// A value of the group as an expression.
enum Node {
    Input(usize),
    Op { operation: Operation, number: Number, rule: Rule, args: SmallVec<[usize; 3]> },
    Part { of: usize, part: (usize, usize), axis: usize },
    Concat { args: Vec<usize>, axis: usize },
}

/// Turns expressions into a program's operations.
struct Builder {
    nodes: Vec<Node>,
    ops: Vec<VirtualOp>,
    /// The value of each node, once it was asked for.
    known: Vec<Option<Arg>>,
    /// The same of a node's parts.
    parts: HashMap<(usize, (usize, usize)), Arg>,
    axes: Vec<Axis>,
}

impl Builder {
    fn add(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.known.push(None);
        self.nodes.len() - 1
    }

    /// The value of a node, or of a part of it. Sources come before their users, so that long chains need no recursion
    /// where each value is asked for in order.
    fn value(&mut self, node: usize, part: Option<(usize, usize)>) -> Option<Arg> {
        let known = part.map_or(self.known[node], |part| self.parts.get(&(node, part)).copied());
        if known.is_some() {
            return known;
        }
        let arg = match &self.nodes[node] {
            &Node::Input(input) => Arg::Input(input, part),
            &Node::Op { operation, number, rule, ref args } => {
                let nodes = args.clone();
                let args = nodes.into_iter().map(|n| self.value(n, part)).collect::<Option<_>>()?;
                self.ops.push(VirtualOp { operation, number, rule, args });
                Arg::Value(self.ops.len() - 1)
            }
            &Node::Part { of, part: own, axis } if part.is_none() => {
                let value = self.value(of, Some(own))?;
                self.axes.push(Axis { input: axis, of: value, parts: true });
                value
            }
            Node::Part { .. } => return None,
            Node::Concat { args, .. } => match part {
                Some((at, count)) if count == args.len() => {
                    let from = args[at];
                    self.value(from, None)?
                }
                _ => return None,
            },
        };
        match part {
            None => self.known[node] = Some(arg),
            Some(part) => _ = self.parts.insert((node, part), arg),
        }
        Some(arg)
    }
}

/// The group of these steps, if they can be one program. `locals` has room for each slot's value in the group.
fn build(steps: &[&Step], is_output: &dyn Fn(usize) -> bool, locals: &mut [Option<Local>]) -> Option<Fused> {
    let mut inputs: Vec<Input> = Vec::new();
    let mut input_types = Vec::new();
    let mut builder = Builder { nodes: Vec::new(), ops: Vec::new(), known: Vec::new(), parts: HashMap::new(), axes: Vec::new() };
    // The expression of each input and of each member's value.
    let (mut of_input, mut of_value): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
    let (mut members, mut outputs) = (Vec::new(), Vec::new());
    for step in steps {
        let mut own: SmallVec<[Local; 4]> = SmallVec::new();
        for (at, input) in step.inputs.iter().enumerate() {
            let local = *locals[input.slot as usize].get_or_insert_with(|| {
                inputs.push(Input { take: false, ..*input });
                input_types.push(step.info.input_types[at]);
                of_input.push(builder.add(Node::Input(inputs.len() - 1)));
                Local::Input(inputs.len() - 1)
            });
            own.push(local);
        }
        let node = |local: Local| match local {
            Local::Input(at) => of_input[at],
            Local::Value(at) => of_value[at],
        };
        let args: SmallVec<[usize; 4]> = own.iter().map(|&l| node(l)).collect();
        let axis = |local: Local| if let Local::Input(at) = local { Some(at) } else { None };
        let first = of_value.len();
        match kind(step)? {
            Kind::Element(operation, number, rule) => {
                let args = args.iter().copied().collect();
                let node = builder.add(Node::Op { operation, number, rule, args });
                of_value.push(node);
            }
            Kind::Sum(number) => {
                let mut sum = args[0];
                for &arg in &args[1..] {
                    let args = SmallVec::from_slice(&[sum, arg]);
                    sum = builder.add(Node::Op { operation: Operation::Add, number, rule: Rule::Same, args });
                }
                of_value.push(sum);
            }
            Kind::Split => {
                let (axis, of) = (axis(own[0])?, args[1]);
                for at in 0..step.num_outputs {
                    let node = builder.add(Node::Part { of, part: (at, step.num_outputs), axis });
                    of_value.push(node);
                }
            }
            Kind::Concat => {
                let last = own.len() - 1;
                let node = builder.add(Node::Concat { args: args[..last].to_vec(), axis: axis(own[last])? });
                of_value.push(node);
            }
        }
        for output in 0..step.num_outputs {
            let slot = step.outputs + output;
            locals[slot] = Some(Local::Value(first + output));
            if is_output(slot) {
                outputs.push((slot as u32, first + output, step.info.output_types[output]));
            }
        }
        let Run::Fn(kernel) = step.run else { return None };
        members.push(Member { info: step.info.clone(), kernel, inputs: own, first, num_outputs: step.num_outputs });
    }
    // Values that are split and used whole as well would be computed twice.
    let mut results = Vec::with_capacity(outputs.len());
    // In order, so that a long chain's values are known before they are used.
    let split: HashSet<usize> =
        builder.nodes.iter().filter_map(|n| if let Node::Part { of, .. } = n { Some(*of) } else { None }).collect();
    let feeds_split = feeding(&builder.nodes, &split);
    for &node in &of_value {
        if matches!(builder.nodes[node], Node::Op { .. }) && !feeds_split[node] {
            builder.value(node, None)?;
        }
    }
    for &(_, local, dtype) in &outputs {
        let node = of_value[local];
        let outcome = match &builder.nodes[node] {
            Node::Concat { args, axis } => {
                let (args, axis) = (args.clone(), *axis);
                let args = args.into_iter().map(|n| builder.value(n, None)).collect::<Option<Vec<Arg>>>()?;
                builder.axes.push(Axis { input: axis, of: args[0], parts: false });
                Outcome::Concat(args, dtype)
            }
            _ => match builder.value(node, None)? {
                arg @ Arg::Input(..) => {
                    let number = number(dtype)?;
                    let args = SmallVec::from_slice(&[arg]);
                    builder.ops.push(VirtualOp { operation: Operation::Copy, number, rule: Rule::Broadcast, args });
                    Outcome::Value(Arg::Value(builder.ops.len() - 1), dtype)
                }
                arg => Outcome::Value(arg, dtype),
            },
        };
        results.push(outcome);
    }
    let last = steps.last()?;
    let info = NodeInfo {
        name: last.info.name.clone(),
        op: "Fused",
        attrs: Attrs::new(),
        input_types: input_types.iter().copied().collect(),
        output_types: outputs.iter().map(|o| o.2).collect(),
    };
    Some(Fused {
        info: Arc::new(info),
        inputs,
        outputs: outputs.iter().map(|o| o.0).collect(),
        drop: SmallVec::new(),
        input_types,
        members,
        num_locals: of_value.len(),
        output_locals: outputs.iter().map(|o| o.1).collect(),
        ops: builder.ops,
        results,
        axes: builder.axes,
        first_layout: OnceLock::new(),
        layout: Mutex::new(None),
    })
}

/// Whether each node is computed only in parts: it is split, or everything that uses it is.
fn feeding(nodes: &[Node], split: &HashSet<usize>) -> Vec<bool> {
    let mut users: Vec<u32> = vec![0; nodes.len()];
    let mut split_users: Vec<u32> = vec![0; nodes.len()];
    let mut feeds = vec![false; nodes.len()];
    // Users come after what they use.
    for at in (0..nodes.len()).rev() {
        let is_split = split.contains(&at);
        feeds[at] = is_split || users[at] > 0 && users[at] == split_users[at];
        if let Node::Op { args, .. } = &nodes[at] {
            for &arg in args {
                users[arg] += 1;
                split_users[arg] += u32::from(feeds[at]);
            }
        }
    }
    feeds
}
