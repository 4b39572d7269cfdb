//! Loops over single numbers: their steps become operations on words, without values in slots.
//!
//! It holds where every step of condition and body is element-wise and sure to run. Whether all numbers are scalars is seen
//! when the loop starts; where not, it runs as any other.

use super::layout::SingleOp;
use super::{Item, Kind, Rule, kind};
use crate::compute::program::{Operation, body};
use crate::error::Result;
use crate::graph::op::Value;
use crate::tensor::{DType, Tensor};
use foldhash::HashMap;
use smallvec::SmallVec;

/// Iterations between two looks whether the step was cancelled.
const LOOK_EACH: u64 = 1 << 12;

/// A loop of which each value is a word.
pub(in crate::exec) struct ScalarLoop {
    condition: Part,
    body: Part,
    /// The place of the bool that says whether the body runs.
    predicate: usize,
    vars: Vec<Var>,
    places: usize,
}

#[derive(Default)]
struct Part {
    /// What is read from slots before the part runs first: slot, dtype, place.
    inputs: Vec<(usize, DType, usize)>,
    ops: Vec<SingleOp>,
}

struct Var {
    slot: usize,
    dtype: DType,
    place: usize,
    next: usize,
}

/// Gives places to slots.
#[derive(Default)]
struct Places {
    of_slot: HashMap<usize, (usize, DType)>,
    count: usize,
}

impl Places {
    fn new_place(&mut self) -> usize {
        self.count += 1;
        self.count - 1
    }

    /// The place of a value that is taken; what no step before gave is read from its slot.
    fn take(&mut self, slot: usize, dtype: DType, part: &mut Part) -> Option<usize> {
        match self.of_slot.get(&slot) {
            Some(&(place, known)) => (known == dtype).then_some(place),
            None => {
                let place = self.new_place();
                self.of_slot.insert(slot, (place, dtype));
                part.inputs.push((slot, dtype, place));
                Some(place)
            }
        }
    }

    fn part(&mut self, items: &[Item]) -> Option<Part> {
        let mut part = Part::default();
        for item in items {
            let Item::Step(step) = item else { return None };
            let mut args: SmallVec<[usize; 4]> = SmallVec::new();
            for (input, &dtype) in step.inputs.iter().zip(&step.info.input_types) {
                args.push(self.take(input.slot as usize, dtype, &mut part)?);
            }
            let &dtype = step.info.output_types.first()?;
            let out = match kind(step)? {
                Kind::Element(_, _, Rule::Bias) | Kind::Split | Kind::Concat => return None,
                Kind::Element(operation, number, _) => {
                    let out = self.new_place();
                    let arg = |at: usize| args.get(at).copied().unwrap_or(out);
                    part.ops.push(SingleOp { body: body(operation, number)?, args: [arg(0), arg(1), arg(2)], out });
                    out
                }
                Kind::Sum(number) => {
                    let mut sum = args[0];
                    for &arg in &args[1..] {
                        let out = self.new_place();
                        part.ops.push(SingleOp { body: body(Operation::Add, number)?, args: [sum, arg, out], out });
                        sum = out;
                    }
                    sum
                }
            };
            self.of_slot.insert(step.outputs, (out, dtype));
        }
        Some(part)
    }
}

impl ScalarLoop {
    /// The loop of these steps, if it can be one: of each variable its slot and that of its next value.
    pub fn new(condition: &[Item], body: &[Item], predicate: usize, vars: &[(usize, usize)]) -> Option<ScalarLoop> {
        let mut places = Places::default();
        let condition = places.part(condition)?;
        let &(predicate, DType::Bool) = places.of_slot.get(&predicate)? else { return None };
        let mut body = places.part(body)?;
        let mut all = Vec::new();
        for &(slot, next) in vars {
            let &(next, dtype) = places.of_slot.get(&next)?;
            // A variable that nothing reads still has to be a scalar: its next value is one.
            let place = places.take(slot, dtype, &mut body)?;
            all.push(Var { slot, dtype, place, next });
        }
        Some(ScalarLoop { condition, body, predicate, vars: all, places: places.count })
    }

    /// Runs the loop on the slots, if all that it takes is scalars; `before_body` runs before the first iteration. The
    /// variables' slots have their last values then. False, and nothing changed, where something isn't a scalar.
    ///
    /// # Errors
    /// What `before_body` returns, and what `look` returns, which is called now and then.
    pub fn run<S>(
        &self,
        state: &mut S,
        slots: impl Fn(&mut S) -> &mut [Value],
        before_body: impl FnOnce(&mut S) -> Result<()>,
        look: impl Fn() -> Result<()>,
    ) -> Result<bool> {
        let mut words = vec![0u64; self.places];
        if !self.condition.read(slots(state), &mut words) {
            return Ok(false);
        }
        self.condition.run(&mut words);
        if self.goes_on(&words) {
            before_body(state)?;
            if !self.body.read(slots(state), &mut words) {
                return Ok(false);
            }
            let mut nexts: SmallVec<[u64; 8]> = SmallVec::from_elem(0, self.vars.len());
            let mut iteration = 0u64;
            loop {
                self.body.run(&mut words);
                for (next, var) in nexts.iter_mut().zip(&self.vars) {
                    *next = words[var.next];
                }
                for (next, var) in nexts.iter().zip(&self.vars) {
                    words[var.place] = *next;
                }
                iteration += 1;
                if iteration.is_multiple_of(LOOK_EACH) {
                    look()?;
                }
                self.condition.run(&mut words);
                if !self.goes_on(&words) {
                    break;
                }
            }
            for var in &self.vars {
                slots(state)[var.slot] = Value::Tensor(Tensor::single(var.dtype, &[], words[var.place]));
            }
        }
        Ok(true)
    }

    fn goes_on(&self, words: &[u64]) -> bool {
        words[self.predicate].to_ne_bytes()[0] != 0
    }
}

impl Part {
    fn read(&self, slots: &[Value], words: &mut [u64]) -> bool {
        self.inputs.iter().all(|&(slot, dtype, place)| match &slots[slot] {
            Value::Tensor(tensor) if tensor.rank() == 0 && tensor.dtype() == dtype => match tensor.inline_word() {
                Some(word) => {
                    words[place] = word;
                    true
                }
                None => false,
            },
            _ => false,
        })
    }

    #[inline]
    fn run(&self, words: &mut [u64]) {
        let base: *mut u8 = words.as_mut_ptr().cast();
        for op in &self.ops {
            // SAFETY: the places exist and hold elements of the operation's type; the result has a place of its own.
            unsafe {
                let args = op.args.map(|place| base.add(place * 8).cast_const());
                (op.body)(args, base.add(op.out * 8), 1);
            }
        }
    }
}
