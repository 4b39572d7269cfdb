//! One run of a group.

use super::layout::{Bound, Layout};
use super::{Fused, Local};
use crate::error::{Result, bail};
use crate::graph::op::{KernelCtx, StepState, Value};
use crate::tensor::Tensor;
use smallvec::SmallVec;
use std::sync::Arc;

impl Fused {
    /// Takes the inputs from their slots and puts the outputs into theirs.
    ///
    /// # Errors
    /// What the steps of the group return, with the step's name.
    pub fn run(&self, slots: &mut [Value], step: &StepState) -> Result<()> {
        let mut outputs: Outputs = SmallVec::new();
        let done = self.compute(slots, &mut outputs)?;
        if done {
            for input in self.inputs.iter().filter(|i| i.take) {
                slots[input.slot as usize] = Value::Dead;
            }
            for (&slot, output) in self.outputs.iter().zip(outputs) {
                slots[slot as usize] = Value::Tensor(output);
            }
        } else {
            self.one_by_one(slots, step)?;
        }
        for &slot in &self.drop {
            slots[slot as usize] = Value::Dead;
        }
        Ok(())
    }

    /// Computes the outputs; false where the inputs don't fit the program.
    fn compute(&self, slots: &mut [Value], outputs: &mut Outputs) -> Result<bool> {
        let mut inputs: SmallVec<[&Tensor; 16]> = SmallVec::new();
        for (input, dtype) in self.inputs.iter().zip(&self.input_types) {
            match &slots[input.slot as usize] {
                Value::Tensor(tensor) if tensor.dtype() == *dtype => inputs.push(tensor),
                _ => return Ok(false),
            }
        }
        let first = self.first_layout.get_or_init(|| Layout::new(self, &inputs));
        let other;
        let layout = match first.fits(&inputs) {
            true => first,
            false => {
                let mut known = self.layout.lock().unwrap_or_else(|e| e.into_inner());
                other = match &*known {
                    Some(layout) if layout.fits(&inputs) => layout.clone(),
                    _ => known.insert(Arc::new(Layout::new(self, &inputs))).clone(),
                };
                &*other
            }
        };
        let Some(bound) = layout.bound.as_ref().filter(|_| layout.fits_axes(&inputs)) else { return Ok(false) };
        let mut own: Own = SmallVec::new();
        for input in bound.outputs.iter().filter_map(|o| o.over) {
            if self.inputs[input].take && inputs[input].is_unique() {
                own.push((input, None));
            }
        }
        if own.is_empty() {
            return bound.run(&inputs, own, outputs).map(|()| true);
        }
        drop(inputs);
        for (input, tensor) in &mut own {
            if let Value::Tensor(value) = std::mem::take(&mut slots[self.inputs[*input].slot as usize]) {
                *tensor = Some(value);
            }
        }
        let nothing = Tensor::scalar(0);
        let inputs: SmallVec<[&Tensor; 16]> = self
            .inputs
            .iter()
            .map(|input| if let Value::Tensor(tensor) = &slots[input.slot as usize] { tensor } else { &nothing })
            .collect();
        bound.run(&inputs, own, outputs).map(|()| true)
    }

    /// Runs the steps as they were.
    fn one_by_one(&self, slots: &mut [Value], step: &StepState) -> Result<()> {
        let mut inputs: Vec<Value> = Vec::with_capacity(self.inputs.len());
        for input in &self.inputs {
            let slot = &mut slots[input.slot as usize];
            let value = if input.take { std::mem::take(slot) } else { slot.clone() };
            inputs.push(match value {
                Value::Ref(variable) => Value::Tensor(variable.read()?),
                value => value,
            });
        }
        let mut values: Vec<Value> = std::iter::repeat_with(Value::default).take(self.num_locals).collect();
        let mut arguments: Vec<Value> = Vec::new();
        for member in &self.members {
            arguments.clear();
            arguments.extend(member.inputs.iter().map(|&local| match local {
                Local::Input(at) => inputs[at].clone(),
                Local::Value(at) => values[at].clone(),
            }));
            if arguments.iter().any(|a| matches!(a, Value::Dead)) {
                continue;
            }
            let outputs = &mut values[member.first..member.first + member.num_outputs];
            let mut ctx = KernelCtx { node: &member.info, inputs: &mut arguments, outputs, step };
            (member.kernel)(&mut ctx).map_err(|e| super::super::run::locate(e, &member.info))?;
        }
        for (&slot, &local) in self.outputs.iter().zip(&self.output_locals) {
            slots[slot as usize] = values[local].clone();
        }
        Ok(())
    }
}

/// What a group computes.
type Outputs = SmallVec<[Tensor; 8]>;

/// Inputs whose memory becomes that of outputs, by their numbers.
type Own = SmallVec<[(usize, Option<Tensor>); 2]>;

impl Layout {
    /// Whether it was made for inputs of these shapes.
    #[inline]
    fn fits(&self, inputs: &[&Tensor]) -> bool {
        let same = |a: &[usize], b: &[usize]| a.len() == b.len() && (0..a.len()).all(|i| a[i] == b[i]);
        self.shapes.iter().zip(inputs).all(|(dims, input)| same(dims, input.dims()))
    }

    /// Whether the inputs that say an axis say the last one.
    fn fits_axes(&self, inputs: &[&Tensor]) -> bool {
        self.axes.iter().all(
            |&(input, rank)| matches!(inputs[input].as_slice::<i32>(), Ok([axis]) if *axis == -1 || *axis as usize == rank - 1),
        )
    }
}

impl Bound {
    fn run(&self, inputs: &[&Tensor], mut own: Own, outputs: &mut Outputs) -> Result<()> {
        let mut singles: SmallVec<[u64; 16]> = SmallVec::from_elem(0, self.num_singles);
        for &(input, offset, size, place) in &self.single_inputs {
            if let (0, Some(word)) = (offset, inputs[input].inline_word()) {
                singles[place] = word;
                continue;
            }
            let bytes = inputs[input].bytes()?;
            if bytes.len() < offset + size {
                bail!(Internal, "a single element of {size} bytes at {offset} isn't in {} bytes", bytes.len());
            }
            let mut word = [0; 8];
            word[..size].copy_from_slice(&bytes[offset..offset + size]);
            singles[place] = u64::from_ne_bytes(word);
        }
        let base: *mut u8 = singles.as_mut_ptr().cast();
        for op in &self.single_ops {
            // SAFETY: the places exist and hold elements of the operation's type; the result has a place of its own.
            unsafe {
                let args = op.args.map(|place| base.add(place * 8).cast_const());
                (op.body)(args, base.add(op.out * 8), 1);
            }
        }
        // The places of inputs in whose memory outputs are.
        let mut shared: SmallVec<[(usize, usize); 2]> = SmallVec::new();
        for output in &self.outputs {
            let place = own.iter_mut().find(|o| Some(o.0) == output.over);
            outputs.push(match (output.single, place.and_then(|o| o.1.take())) {
                (Some(place), _) => Tensor::single(output.dtype, &output.dims, singles[place]),
                (None, Some(tensor)) => {
                    shared.extend(output.over.map(|input| (input, outputs.len())));
                    tensor
                }
                (None, None) => Tensor::uninit(output.dtype, &output.dims)?,
            });
        }
        if let Some(program) = &self.program {
            let mut memories: SmallVec<[*mut u8; 16]> = SmallVec::new();
            for &input in &self.full_inputs {
                memories.push(match shared.iter().find(|s| s.0 == input) {
                    Some(&(_, output)) => outputs[output].bytes_mut()?.as_mut_ptr(),
                    None => inputs[input].bytes()?.as_ptr().cast_mut(),
                });
            }
            for output in &mut *outputs {
                memories.push(output.bytes_mut()?.as_mut_ptr());
            }
            // SAFETY: the layout was made for inputs of these shapes, whose dtypes are those of the plan; outputs are new, or in the
            // place of inputs of which no chunk is read once the output's is written.
            unsafe { program.run(&memories, &singles) };
        }
        Ok(())
    }
}
