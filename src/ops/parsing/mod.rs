//! Reading tensors from strings: `Example` messages, CSV, JSON, raw bytes, serialized tensors.

mod csv;
mod example;
mod json;
mod raw;
mod sequence;
mod tensor;
mod wire;

use crate::error::{Result, bail};
use crate::graph::op::{KernelCtx, Op};
use crate::tensor::Tensor;
use bytes::Bytes;

/// The family's lists of records.
pub(super) static FAMILIES: &[&[Op]] = &[csv::OPS, example::OPS, json::OPS, raw::OPS, sequence::OPS, tensor::OPS];

/// How many examples an op reads: one alone, or a vector of them.
#[derive(Clone, Copy)]
struct Batch {
    size: usize,
    is_single: bool,
}

impl Batch {
    /// # Errors
    /// `InvalidArgument` for serialized examples that are neither a scalar nor a vector.
    fn of(serialized: &Tensor) -> Result<Batch> {
        if serialized.rank() > 1 {
            bail!(InvalidArgument, "Expected serialized to be a scalar or vector, got shape: {}", serialized.shape());
        }
        Ok(Batch { size: serialized.len(), is_single: serialized.rank() == 0 })
    }

    /// The leading dimensions of what is read from the examples.
    fn dims(&self) -> Vec<usize> {
        if self.is_single { Vec::new() } else { vec![self.size] }
    }
}

/// Outputs in order.
#[derive(Default)]
struct Outputs(Vec<Tensor>);

impl Outputs {
    fn push(&mut self, tensor: Tensor) {
        self.0.push(tensor);
    }

    fn extend(&mut self, tensors: Vec<Tensor>) {
        self.0.extend(tensors);
    }

    fn set(self, ctx: &mut KernelCtx) -> Result<()> {
        self.0.into_iter().enumerate().try_for_each(|(i, tensor)| ctx.set(i, tensor))
    }
}

/// The only string in a tensor.
fn single_string(tensor: &Tensor) -> Result<Bytes> {
    match tensor.strings()? {
        [one] => Ok(one.clone()),
        many => bail!(InvalidArgument, "Expected a single string, got {} in shape {}", many.len(), tensor.shape()),
    }
}

/// The strings in a vector of keys.
fn key_list(ctx: &KernelCtx, input: usize) -> Result<Vec<Bytes>> {
    let keys = ctx.input(input)?;
    if keys.rank() != 1 {
        bail!(InvalidArgument, "Expected keys to be a vector, got shape: {}", keys.shape());
    }
    Ok(keys.strings()?.to_vec())
}
