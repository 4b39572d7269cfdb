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
        let outputs = {
            let mut inputs: SmallVec<[&Tensor; 16]> = SmallVec::new();
            for input in &self.inputs {
                match &slots[input.slot as usize] {
                    Value::Tensor(tensor) => inputs.push(tensor),
                    _ => break,
                }
            }
            if inputs.len() == self.inputs.len() && of_types(&inputs, &self.input_types) { self.compute(&inputs)? } else { None }
        };
        match outputs {
            Some(outputs) => {
                for input in self.inputs.iter().filter(|i| i.take) {
                    slots[input.slot as usize] = Value::Dead;
                }
                for (&slot, output) in self.outputs.iter().zip(outputs) {
                    slots[slot as usize] = Value::Tensor(output);
                }
            }
            None => self.one_by_one(slots, step)?,
        }
        for &slot in &self.drop {
            slots[slot as usize] = Value::Dead;
        }
        Ok(())
    }

    /// The outputs, unless the inputs don't fit the program.
    fn compute(&self, inputs: &[&Tensor]) -> Result<Option<SmallVec<[Tensor; 8]>>> {
        let layout = self.layout(inputs);
        let Some(bound) = &layout.bound else { return Ok(None) };
        for &(input, rank) in &layout.axes {
            let Ok([axis]) = inputs[input].as_slice::<i32>() else { return Ok(None) };
            if *axis != -1 && *axis as usize != rank - 1 {
                return Ok(None);
            }
        }
        bound.run(inputs).map(Some)
    }

    fn layout(&self, inputs: &[&Tensor]) -> Arc<Layout> {
        let mut known = self.layout.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(layout) = &*known
            && layout.shapes.iter().zip(inputs).all(|(dims, input)| **dims == *input.dims())
        {
            return layout.clone();
        }
        let layout = Arc::new(Layout::new(self, inputs));
        *known = Some(layout.clone());
        layout
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

impl Bound {
    fn run(&self, inputs: &[&Tensor]) -> Result<SmallVec<[Tensor; 8]>> {
        let mut singles: SmallVec<[u64; 32]> = SmallVec::from_elem(0, self.num_singles);
        let base: *mut u8 = singles.as_mut_ptr().cast();
        for &(input, offset, size, place) in &self.single_inputs {
            let bytes = inputs[input].bytes()?;
            if bytes.len() < offset + size {
                bail!(Internal, "a single element of {size} bytes at {offset} isn't in {} bytes", bytes.len());
            }
            // SAFETY: the bytes are there, a place has 8 bytes, and there are `num_singles` places.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr().add(offset), base.add(place * 8), size) };
        }
        for op in &self.single_ops {
            // SAFETY: the places exist and hold elements of the operation's type; the result has a place of its own.
            unsafe {
                let args = op.args.map(|place| base.add(place * 8).cast_const());
                (op.body)(args, base.add(op.out * 8), 1);
            }
        }
        let mut outputs: SmallVec<[Tensor; 8]> = SmallVec::new();
        for output in &self.outputs {
            let mut tensor = Tensor::uninit(output.dtype, &output.dims)?;
            if let Some(place) = output.single {
                let bytes = tensor.bytes_mut()?;
                // SAFETY: a place has 8 bytes, and a single element no more; its bytes are valid for its type.
                unsafe { std::ptr::copy_nonoverlapping(base.add(place * 8), bytes.as_mut_ptr(), bytes.len().min(8)) };
            }
            outputs.push(tensor);
        }
        if let Some(program) = &self.program {
            let mut memories: SmallVec<[*mut u8; 16]> = SmallVec::new();
            for &input in &self.full_inputs {
                memories.push(inputs[input].bytes()?.as_ptr().cast_mut());
            }
            for output in &mut outputs {
                memories.push(output.bytes_mut()?.as_mut_ptr());
            }
            // SAFETY: the layout was made for inputs of these shapes, whose dtypes are those of the plan; outputs are new.
            unsafe { program.run(&memories, &singles) };
        }
        Ok(outputs)
    }
}

/// Whether the inputs are of the dtypes that the group was made for.
fn of_types(inputs: &[&Tensor], types: &[DType]) -> bool {
    inputs.iter().zip(types).all(|(input, dtype)| input.dtype() == *dtype)
}
