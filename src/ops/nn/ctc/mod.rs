//! Connectionist temporal classification: the loss, and decoders.

mod beam;
mod decode;
mod loss;
mod records;

pub(in crate::ops) use records::OPS;

use crate::error::{Result, bail};
use crate::tensor::Tensor;

/// The sizes of the inputs `[time, batch, classes]`, and the length of each sequence.
struct Sequences {
    batch: usize,
    classes: usize,
    lengths: Vec<usize>,
}

impl Sequences {
    /// Checks the inputs and the lengths of their sequences.
    ///
    /// # Errors
    /// `InvalidArgument` for other ranks, a batch without elements, and lengths beyond the time steps.
    fn new(inputs: &Tensor, lengths: &Tensor) -> Result<Sequences> {
        let &[time, batch, classes] = inputs.dims() else {
            bail!(InvalidArgument, "inputs is not a 3-Tensor, got {:?}", inputs.dims());
        };
        if lengths.rank() != 1 {
            bail!(InvalidArgument, "sequence_length is not a vector, got {:?}", lengths.dims());
        }
        if lengths.len() != batch {
            bail!(
                InvalidArgument,
                "len(sequence_length) != batch_size.  len(sequence_length): {} batch_size: {batch}",
                lengths.len()
            );
        }
        if classes == 0 {
            bail!(InvalidArgument, "inputs must have at least one class, got {:?}", inputs.dims());
        }
        let lengths = lengths.to_i64s()?;
        if let Some((b, length)) = lengths.iter().enumerate().find(|&(_, &l)| l < 0 || l > time as i64) {
            bail!(InvalidArgument, "sequence_length({b}) must be within [0, {time}], got {length}");
        }
        Ok(Sequences { batch, classes, lengths: lengths.iter().map(|&l| l as usize).collect() })
    }

    /// The logits at a time step of an element of the batch.
    fn row<'a, T>(&self, values: &'a [T], time: usize, batch: usize) -> &'a [T] {
        &values[(time * self.batch + batch) * self.classes..][..self.classes]
    }
}

/// Sequences of one value each, as indices, values and shape of a sparse matrix.
fn sparse(sequences: &[Vec<i64>]) -> Result<[Tensor; 3]> {
    let (mut indices, mut values) = (Vec::new(), Vec::new());
    for (batch, sequence) in sequences.iter().enumerate() {
        for (place, &value) in sequence.iter().enumerate() {
            indices.extend([batch as i64, place as i64]);
            values.push(value);
        }
    }
    let longest = sequences.iter().map(Vec::len).max().unwrap_or(0);
    let shape = Tensor::from([sequences.len() as i64, longest as i64]);
    Ok([Tensor::new(&[values.len(), 2], indices)?, Tensor::from(values), shape])
}
