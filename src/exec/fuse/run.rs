//! One run of a group.

use super::layout::{Bound, Layout};
use super::{Fused, Local};
use crate::error::{Result, bail};
use crate::graph::op::{KernelCtx, StepState, Value};
use crate::tensor::{DType, Tensor};
use smallvec::SmallVec;
use std::sync::Arc;

impl Fused {
    /// Takes the inputs from their slots and puts the outputs into theirs.
    ///
    /// # Errors
    /// What the steps of the group return, with the step's name.
    pub fn run(&self, slots: &mut [Value], step: &StepState) -> Result<()> {
        let mut outputs: Outputs = SmallVec::new();
        let done = {
            let mut inputs: SmallVec<[&Tensor; 16]> = SmallVec::new();
            for input in &self.inputs {
                match &slots[input.slot as usize] {
                    Value::Tensor(tensor) => inputs.push(tensor),
                    _ => break,
                }
            }
            inputs.len() == self.inputs.len() && of_types(&inputs, &self.input_types) && self.compute(&inputs, &mut outputs)?
        };
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
    fn compute(&self, inputs: &[&Tensor], outputs: &mut Outputs) -> Result<bool> {
        let first = self.first_layout.get_or_init(|| Layout::new(self, inputs));
        if first.fits(inputs) {
            return first.run(inputs, outputs);
        }
        let layout = {
            let mut known = self.layout.lock().unwrap_or_else(|e| e.into_inner());
            match &*known {
                Some(layout) if layout.fits(inputs) => layout.clone(),
                _ => known.insert(Arc::new(Layout::new(self, inputs))).clone(),
            }
        };
        layout.run(inputs, outputs)
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

impl Layout {
    /// Whether it was made for inputs of these shapes.
    #[inline]
    fn fits(&self, inputs: &[&Tensor]) -> bool {
        let same = |a: &[usize], b: &[usize]| a.len() == b.len() && (0..a.len()).all(|i| a[i] == b[i]);
        self.shapes.iter().zip(inputs).all(|(dims, input)| same(dims, input.dims()))
    }

    fn run(&self, inputs: &[&Tensor], outputs: &mut Outputs) -> Result<bool> {
        let Some(bound) = &self.bound else { return Ok(false) };
        for &(input, rank) in &self.axes {
            let Ok([axis]) = inputs[input].as_slice::<i32>() else { return Ok(false) };
            if *axis != -1 && *axis as usize != rank - 1 {
                return Ok(false);
            }
        }
        bound.run(inputs, outputs).map(|()| true)
    }
}

impl Bound {
    fn run(&self, inputs: &[&Tensor], outputs: &mut Outputs) -> Result<()> {
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
        for output in &self.outputs {
            outputs.push(match output.single {
                Some(place) => Tensor::single(output.dtype, &output.dims, singles[place]),
                None => Tensor::uninit(output.dtype, &output.dims)?,
            });
        }
        if let Some(program) = &self.program {
            let mut memories: SmallVec<[*mut u8; 16]> = SmallVec::new();
            for &input in &self.full_inputs {
                memories.push(inputs[input].bytes()?.as_ptr().cast_mut());
            }
            for output in &mut *outputs {
                memories.push(output.bytes_mut()?.as_mut_ptr());
            }
            // SAFETY: the layout was made for inputs of these shapes, whose dtypes are those of the plan; outputs are new.
            unsafe { program.run(&memories, &singles) };
        }
        Ok(())
    }
}

/// Whether the inputs are of the dtypes that the group was made for.
fn of_types(inputs: &[&Tensor], types: &[DType]) -> bool {
    inputs.iter().zip(types).all(|(input, dtype)| input.dtype() == *dtype)
}
