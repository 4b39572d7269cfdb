//! Where the values of a group are, for inputs of certain shapes.

use super::{Arg, Axis, Fused, Outcome, Rule, VirtualOp};
use crate::compute::program::{Body, CHUNK, Column, Line, Number, Operation, Program, Splat, Stream, body};
use crate::tensor::{DType, Dims, Tensor};
use foldhash::{HashMap, HashMapExt};
use smallvec::SmallVec;

/// What holds for inputs of these shapes.
pub(super) struct Layout {
    pub shapes: Vec<Dims>,
    /// Inputs that must hold the last axis of a value of this rank.
    pub axes: Vec<(usize, usize)>,
    /// None where the shapes don't fit one program.
    pub bound: Option<Bound>,
}

/// A program and what it takes.
pub(super) struct Bound {
    /// Single elements that are read from inputs: input, byte offset, size, place.
    pub single_inputs: Vec<(usize, usize, usize, usize)>,
    /// Operations on single elements.
    pub single_ops: Vec<SingleOp>,
    pub num_singles: usize,
    /// What is computed for all elements, over the inputs and outputs that follow.
    pub program: Option<Program>,
    pub full_inputs: Vec<usize>,
    pub outputs: Vec<Output>,
}

pub(super) struct SingleOp {
    pub body: Body,
    pub args: [usize; 3],
    pub out: usize,
}

pub(super) struct Output {
    pub dims: Dims,
    pub dtype: DType,
    /// The place of a single element; else the output is written by the program.
    pub single: Option<usize>,
    /// An input whose memory may become the output's: all of it has been read before a chunk of the output is written.
    pub over: Option<usize>,
}

/// Outputs of fewer bytes are not written over inputs: they stay in a cache anyway.
const WORTH_WRITING_OVER: usize = 1 << 16;

/// What is known of a value.
#[derive(Clone)]
struct Known {
    dims: Dims,
    /// Whether it is a part of something along the last axis.
    parted: bool,
}

impl Known {
    fn is_single(&self) -> bool {
        self.dims.iter().all(|&d| d == 1)
    }
}

fn stripped(dims: &[usize]) -> &[usize] {
    let leading = dims.iter().take_while(|&&d| d == 1).count();
    &dims[leading..]
}

impl Layout {
    pub fn new(fused: &Fused, inputs: &[&Tensor]) -> Layout {
        let shapes = inputs.iter().map(|t| t.dims().into()).collect();
        match Shapes::new(fused, inputs) {
            Some(shape) => {
                let axes = fused.axes.iter().map(|a| (a.input, shape.known(a.of).map_or(0, |k| k.dims.len()))).collect();
                Layout { shapes, axes, bound: shape.bind(fused) }
            }
            None => Layout { shapes, axes: Vec::new(), bound: None },
        }
    }
}

struct Shapes<'a> {
    inputs: Vec<&'a [usize]>,
    values: Vec<Known>,
}

impl<'a> Shapes<'a> {
    fn new(fused: &Fused, inputs: &[&'a Tensor]) -> Option<Shapes<'a>> {
        let mut shapes = Shapes { inputs: inputs.iter().map(|t| t.dims()).collect(), values: Vec::new() };
        for op in &fused.ops {
            let args = op.args.iter().map(|&a| shapes.known(a)).collect::<Option<SmallVec<[Known; 3]>>>()?;
            shapes.values.push(result(op, &args)?);
        }
        for &Axis { of, parts, .. } in &fused.axes {
            let known = shapes.known(of)?;
            if known.dims.is_empty() || parts && !known.parted {
                return None;
            }
        }
        Some(shapes)
    }

    fn known(&self, arg: Arg) -> Option<Known> {
        match arg {
            Arg::Value(at) => self.values.get(at).cloned(),
            Arg::Input(at, part) => {
                let mut dims: Dims = self.inputs[at].into();
                if dims.contains(&0) {
                    return None;
                }
                let mut parted = false;
                if let (Some((_, count)), Some(last)) = (part, dims.last_mut())
                    && *last != 1
                {
                    if !last.is_multiple_of(count) {
                        return None;
                    }
                    *last /= count;
                    parted = true;
                }
                Some(Known { dims, parted })
            }
        }
    }

    /// The dimensions of all values that aren't single, without ones in front.
    fn space(&self) -> Option<Option<Dims>> {
        let mut space: Option<Dims> = None;
        for known in self.values.iter().filter(|k| !k.is_single()) {
            match &space {
                None => space = Some(stripped(&known.dims).into()),
                Some(space) if space[..] == *stripped(&known.dims) => {}
                Some(_) => return None,
            }
        }
        Some(space)
    }

    fn bind(&self, fused: &Fused) -> Option<Bound> {
        let space = self.space()?;
        let mut binder = Binder {
            shapes: self,
            bound: Bound {
                single_inputs: Vec::new(),
                single_ops: Vec::new(),
                num_singles: 0,
                program: None,
                full_inputs: Vec::new(),
                outputs: Vec::new(),
            },
            single_values: vec![None; fused.ops.len()],
            single_of: HashMap::new(),
            splats: HashMap::new(),
            columns: HashMap::new(),
            program: Program {
                lines: Vec::new(),
                splats: Vec::new(),
                column_values: Vec::new(),
                patterns: Vec::new(),
                chunk: CHUNK,
                registers: 0,
                rows: 1,
                columns: 1,
            },
            free: Vec::new(),
            memory_of: HashMap::new(),
            streams: vec![None; fused.ops.len()],
            contiguous: true,
        };
        if let Some(space) = &space {
            let columns = *space.last()?;
            binder.program.columns = columns;
            binder.program.rows = space[..space.len() - 1].iter().product();
        }
        binder.run(fused)?;
        binder.write_over_inputs();
        let mut bound = binder.bound;
        if space.is_some() {
            let mut program = binder.program;
            if binder.contiguous {
                program.columns *= program.rows;
                program.rows = 1;
            } else {
                program.join_rows();
            }
            // Rows of a few elements are better off with loops of their own.
            if program.rows > 4 && program.columns < 16 {
                return None;
            }
            bound.program = Some(program);
        }
        Some(bound)
    }
}

/// The shape of an operation's result; none where the op would refuse, or would repeat an operand in other ways than
/// programs can.
fn result(op: &VirtualOp, args: &[Known]) -> Option<Known> {
    let dims = match args {
        [x] => x.dims.clone(),
        [condition, x, y] if op.rule == Rule::Choice => {
            let is_column = condition.dims.len() == 1 && x.dims.len() == 2 && condition.dims[0] == x.dims[0];
            if x.dims != y.dims || condition.dims != x.dims && !condition.dims.is_empty() && !is_column {
                return None;
            }
            x.dims.clone()
        }
        [x, rest @ ..] => {
            let mut dims = x.dims.clone();
            for y in rest {
                dims = broadcast(&dims, &y.dims)?;
            }
            let fits = match op.rule {
                Rule::Broadcast | Rule::Choice => true,
                Rule::Same => args.iter().all(|a| a.dims == dims),
                Rule::Bias => x.dims == dims && x.dims.len() > 1 && args[1].dims[..] == x.dims[x.dims.len() - 1..],
            };
            if !fits || args.iter().all(|a| a.dims != dims) {
                return None;
            }
            dims
        }
        [] => return None,
    };
    Some(Known { dims, parted: args.iter().any(|a| a.parted) })
}

fn broadcast(a: &[usize], b: &[usize]) -> Option<Dims> {
    let rank = a.len().max(b.len());
    let at = |dims: &[usize], i: usize| if i + dims.len() >= rank { dims[i + dims.len() - rank] } else { 1 };
    (0..rank)
        .map(|i| match (at(a, i), at(b, i)) {
            (x, y) if x == y => Some(x),
            (1, y) => Some(y),
            (x, 1) => Some(x),
            _ => None,
        })
        .collect()
}

struct Binder<'a, 'b> {
    shapes: &'b Shapes<'a>,
    bound: Bound,
    /// The places of single values, and of single elements at offsets of inputs.
    single_values: Vec<Option<usize>>,
    single_of: HashMap<(Arg, usize), usize>,
    splats: HashMap<usize, usize>,
    /// The registers of inputs that are columns.
    columns: HashMap<usize, usize>,
    program: Program,
    /// Registers that can be used again, by their offsets.
    free: Vec<usize>,
    memory_of: HashMap<usize, usize>,
    streams: Vec<Option<Stream>>,
    contiguous: bool,
}

impl Binder<'_, '_> {
    fn run(&mut self, fused: &Fused) -> Option<()> {
        let mut last_use = vec![0; fused.ops.len()];
        for (at, op) in fused.ops.iter().enumerate() {
            for arg in &op.args {
                if let Arg::Value(value) = arg {
                    last_use[*value] = at;
                }
            }
        }
        // Memories: full inputs come first, so that outputs are numbered once all of those are known.
        for (at, op) in fused.ops.iter().enumerate() {
            if !self.shapes.values[at].is_single() {
                for &arg in &op.args {
                    self.note_input(arg)?;
                }
            }
        }
        for outcome in &fused.results {
            if let Outcome::Concat(args, _) = outcome {
                for &arg in args {
                    self.note_input(arg)?;
                }
            }
        }
        let first_output = self.bound.full_inputs.len() + 1;
        let mut copies: Vec<(Arg, Stream)> = Vec::new();
        for (number, outcome) in fused.results.iter().enumerate() {
            self.output(outcome, first_output + number, &mut copies)?;
        }
        for (at, op) in fused.ops.iter().enumerate() {
            if self.shapes.values[at].is_single() {
                self.single_op(at, op)?;
            } else {
                self.full_op(at, op, &last_use, &copies)?;
            }
        }
        let copy = body(Operation::Copy, Number::F32)?;
        for (arg, out) in copies {
            let from = self.stream(arg, 4)?;
            self.program.lines.push(Line { body: copy, args: [from; 3], out });
        }
        Some(())
    }

    /// Finds inputs in whose place outputs can be.
    fn write_over_inputs(&mut self) {
        let mut used: SmallVec<[usize; 4]> = SmallVec::new();
        let lines = &self.program.lines;
        let first = self.bound.full_inputs.len() + 1;
        for (number, output) in self.bound.outputs.iter_mut().enumerate() {
            let size = output.dtype.size();
            let whole = |memory: usize| (memory, 0, self.program.columns * size, size);
            let walk = |s: &Stream| (s.memory, s.offset, s.row_step, s.column_step);
            let is_large = output.dims.iter().product::<usize>() * size >= WORTH_WRITING_OVER;
            let Some(written) = lines.iter().position(|l| walk(&l.out) == whole(first + number)).filter(|_| is_large) else {
                continue;
            };
            let fits = |memory: usize, input: usize| {
                let is_memory = |s: &&Stream| s.memory == memory;
                self.shapes.inputs[input] == &output.dims[..]
                    && !used.contains(&input)
                    && self.program.column_values.iter().all(|c| c.from.memory != memory)
                    && self.bound.single_inputs.iter().all(|s| s.0 != input)
                    && lines[..written].iter().flat_map(|l| &l.args).filter(is_memory).all(|s| walk(s) == whole(memory))
                    && !lines[written..].iter().flat_map(|l| &l.args).any(|s| s.memory == memory)
            };
            output.over = (1..).zip(&self.bound.full_inputs).find(|&(memory, &input)| fits(memory, input)).map(|(_, &i)| i);
            used.extend(output.over);
        }
    }

    fn note_input(&mut self, arg: Arg) -> Option<()> {
        if let Arg::Input(at, _) = arg
            && !self.shapes.known(arg)?.is_single()
            && !self.memory_of.contains_key(&at)
        {
            self.bound.full_inputs.push(at);
            self.memory_of.insert(at, self.bound.full_inputs.len());
        }
        Some(())
    }

    fn output(&mut self, outcome: &Outcome, memory: usize, copies: &mut Vec<(Arg, Stream)>) -> Option<()> {
        let columns = self.program.columns;
        match outcome {
            &Outcome::Value(arg @ Arg::Value(value), dtype) => {
                let known = self.shapes.known(arg)?;
                let dims = known.dims.clone();
                if known.is_single() {
                    let single = self.place(arg, 0);
                    self.bound.outputs.push(Output { dims, dtype, single: Some(single), over: None });
                    return Some(());
                }
                let size = dtype.size();
                let stream = Stream { memory, offset: 0, row_step: columns * size, column_step: size };
                match &self.streams[value] {
                    Some(_) if size == 4 => copies.push((arg, stream)),
                    Some(_) => return None,
                    None => self.streams[value] = Some(stream),
                }
                self.bound.outputs.push(Output { dims, dtype, single: None, over: None });
            }
            Outcome::Value(Arg::Input(..), _) => return None,
            Outcome::Concat(args, dtype) => {
                let first = self.shapes.known(args[0])?;
                let mut dims = first.dims.clone();
                *dims.last_mut()? *= args.len();
                self.contiguous = false;
                for (number, &arg) in args.iter().enumerate() {
                    let known = self.shapes.known(arg)?;
                    if known.dims != first.dims || stripped(&known.dims) != self.space_dims() || known.is_single() {
                        return None;
                    }
                    let stream =
                        Stream { memory, offset: number * columns * 4, row_step: args.len() * columns * 4, column_step: 4 };
                    match arg {
                        Arg::Value(value) if self.streams[value].is_none() => self.streams[value] = Some(stream),
                        _ => copies.push((arg, stream)),
                    }
                }
                self.bound.outputs.push(Output { dims, dtype: *dtype, single: None, over: None });
            }
        }
        Some(())
    }

    /// The dimensions of the program's elements, without ones in front.
    fn space_dims(&self) -> &[usize] {
        self.shapes.values.iter().find(|k| !k.is_single()).map_or(&[], |k| stripped(&k.dims))
    }

    /// The place of a single element among the others.
    fn place(&mut self, arg: Arg, offset: usize) -> usize {
        let next = self.bound.num_singles;
        let place = match arg {
            Arg::Value(value) => *self.single_values[value].get_or_insert(next),
            Arg::Input(..) => *self.single_of.entry((arg, offset)).or_insert(next),
        };
        self.bound.num_singles += usize::from(place == next);
        place
    }

    fn single(&mut self, arg: Arg, size: usize) -> Option<usize> {
        match arg {
            Arg::Value(_) => Some(self.place(arg, 0)),
            Arg::Input(input, part) => {
                let known = self.shapes.known(arg)?;
                let offset = match part {
                    Some((number, _)) if known.parted => number * size,
                    _ => 0,
                };
                let before = self.bound.num_singles;
                let place = self.place(Arg::Input(input, None), offset);
                if place == before {
                    self.bound.single_inputs.push((input, offset, size, place));
                }
                Some(place)
            }
        }
    }

    fn single_op(&mut self, at: usize, op: &VirtualOp) -> Option<()> {
        let mut args = [0; 3];
        for (number, &arg) in op.args.iter().enumerate() {
            args[number] = self.single(arg, op.arg_size(number))?;
        }
        let out = self.place(Arg::Value(at), 0);
        self.bound.single_ops.push(SingleOp { body: body(op.operation, op.number)?, args, out });
        Some(())
    }

    fn register(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| self.new_register())
    }

    /// A register that was never used before, by its offset.
    fn new_register(&mut self) -> usize {
        self.program.registers += CHUNK;
        (self.program.registers - CHUNK) * 8
    }

    /// A column of as many elements as there are rows, each of which stands for its row.
    fn column(&mut self, input: usize, size: usize) -> Option<Stream> {
        let memory = *self.memory_of.get(&input)?;
        let offset = match self.columns.get(&input) {
            Some(&offset) => offset,
            None => {
                // These registers are never free.
                let offset = self.new_register();
                let from = Stream { memory, offset: 0, row_step: size, column_step: 0 };
                self.program.column_values.push(Column { offset, from, size });
                self.columns.insert(input, offset);
                offset
            }
        };
        self.contiguous &= self.program.rows == 1;
        Some(Stream::register(offset))
    }

    fn stream(&mut self, arg: Arg, size: usize) -> Option<Stream> {
        let known = self.shapes.known(arg)?;
        if known.is_single() {
            let single = self.single(arg, size)?;
            let offset = match self.splats.get(&single) {
                Some(&offset) => offset,
                None => {
                    // Registers of splats are never free.
                    let offset = self.new_register();
                    self.program.splats.push(Splat { offset, single, size });
                    self.splats.insert(single, offset);
                    offset
                }
            };
            return Some(Stream::register(offset));
        }
        match arg {
            Arg::Value(value) => self.streams[value],
            Arg::Input(input, part) => {
                let columns = self.program.columns;
                let (count, number) = match part {
                    Some((number, count)) if known.parted => (count, number),
                    _ => (1, 0),
                };
                let dims = stripped(&known.dims);
                if let ([leading @ .., last], [rows @ .., 1]) = (self.space_dims(), dims)
                    && *last > 1
                    && rows == leading
                {
                    return self.column(input, size);
                }
                let row_step = if dims == self.space_dims() {
                    count * columns * size
                } else if *dims == [columns] {
                    0
                } else {
                    return None;
                };
                self.contiguous &= row_step == columns * size || self.program.rows == 1;
                let memory = *self.memory_of.get(&input)?;
                Some(Stream { memory, offset: number * columns * size, row_step, column_step: size })
            }
        }
    }

    /// Whether the condition of a Select has a value for each row.
    fn chooses_rows(&self, op: &VirtualOp) -> Option<bool> {
        let (condition, of) = (self.shapes.known(op.args[0])?, self.shapes.known(op.args[1])?);
        Some(!condition.is_single() && condition.dims.len() < of.dims.len())
    }

    fn full_op(&mut self, at: usize, op: &VirtualOp, last_use: &[usize], copies: &[(Arg, Stream)]) -> Option<()> {
        let mut args = [Stream::default(); 3];
        for (number, &arg) in op.args.iter().enumerate() {
            args[number] = match arg {
                Arg::Input(input, _) if number == 0 && op.rule == Rule::Choice && self.chooses_rows(op)? => {
                    self.column(input, op.arg_size(0))?
                }
                _ => self.stream(arg, op.arg_size(number))?,
            };
        }
        let out = match self.streams[at] {
            Some(stream) => stream,
            None => {
                let offset = self.register();
                let stream = Stream::register(offset);
                self.streams[at] = Some(stream);
                stream
            }
        };
        self.program.lines.push(Line { body: body(op.operation, op.number)?, args, out });
        let mut freed: SmallVec<[usize; 3]> = SmallVec::new();
        for &arg in &op.args {
            if let Arg::Value(value) = arg
                && last_use[value] == at
                && !self.shapes.values[value].is_single()
                && let Some(Stream { memory: 0, offset, .. }) = self.streams[value]
                && !copies.iter().any(|c| c.0 == arg)
                && !freed.contains(&offset)
            {
                freed.push(offset);
            }
        }
        self.free.extend(freed);
        Some(())
    }
}
