//! The accumulator itself.

use crate::error::{Result, bail};
use crate::ops::math::number::Number;
use crate::ops::math::select::sum_of;
use crate::tensor::{DType, Resource, Shape, Tensor, dispatch};
use std::sync::{Condvar, Mutex, MutexGuard};

/// Gradients gathered since the last were taken.
pub(super) struct Accumulator {
    pub sparse: bool,
    pub dtype: DType,
    pub shape: Shape,
    /// Whether the mean is given, rather than the sum.
    pub mean: bool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    global_step: i64,
    count: usize,
    sum: Option<Sum>,
}

enum Sum {
    Dense(Tensor),
    Sparse(Slices),
}

/// Rows of a larger tensor. Each row of the values belongs at one index.
pub(super) struct Slices {
    pub indices: Vec<i64>,
    pub values: Tensor,
    /// How many rows were added at each index.
    pub counts: Vec<u32>,
}

impl Resource for Accumulator {
    fn kind(&self) -> &'static str {
        "ConditionalAccumulator"
    }
}

impl Accumulator {
    pub fn new(sparse: bool, dtype: DType, shape: Shape, mean: bool) -> Accumulator {
        Accumulator { sparse, dtype, shape, mean, state: Mutex::default(), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub fn count(&self) -> usize {
        self.lock().count
    }

    pub fn set_global_step(&self, step: i64) {
        self.lock().global_step = step;
    }

    /// Adds a gradient, unless it was computed at a step before the present one.
    ///
    /// # Errors
    /// `InvalidArgument` for a gradient of another shape.
    pub fn apply(&self, local_step: i64, gradient: Tensor) -> Result<()> {
        let mut state = self.lock();
        if local_step < state.global_step {
            return Ok(());
        }
        if !self.shape.accepts(gradient.dims()) {
            bail!(InvalidArgument, "Shape mismatch: expected {}, got {}", self.shape, gradient.shape());
        }
        state.sum = Some(Sum::Dense(match state.sum.take() {
            None => gradient,
            Some(Sum::Dense(sum)) if sum.dims() != gradient.dims() => {
                let message = format!("Shape mismatch: expected {}, got {}", sum.shape(), gradient.shape());
                state.sum = Some(Sum::Dense(sum));
                bail!(InvalidArgument, "{message}")
            }
            Some(Sum::Dense(sum)) => sum_of(vec![sum, gradient])?,
            Some(Sum::Sparse(_)) => bail!(Internal, "a sparse sum in an accumulator of dense gradients"),
        }));
        state.count += 1;
        self.changed.notify_all();
        Ok(())
    }

    /// The same for rows. `shape` is the shape of the whole, if it is known.
    ///
    /// # Errors
    /// `InvalidArgument` for rows of another shape, or beyond the shape of the whole.
    pub fn apply_slices(&self, local_step: i64, slices: Slices, shape: Option<&[i64]>) -> Result<()> {
        let mut state = self.lock();
        if local_step < state.global_step {
            return Ok(());
        }
        self.check_slices(state.sum.as_ref(), &slices, shape)?;
        state.sum = Some(Sum::Sparse(match state.sum.take() {
            Some(Sum::Sparse(sum)) => merge(&sum, &slices)?,
            _ => slices,
        }));
        state.count += 1;
        self.changed.notify_all();
        Ok(())
    }

    fn check_slices(&self, sum: Option<&Sum>, slices: &Slices, shape: Option<&[i64]>) -> Result<()> {
        let own = self.shape.signed().unwrap_or_default();
        let dims = slices.values.dims();
        if let Some(shape) = shape {
            if own.len() > shape.len() {
                bail!(InvalidArgument, "Shape mismatch: expected shape rank at least {}, got {}", own.len(), shape.len());
            }
            if let Some(i) = (0..own.len()).find(|&i| own[i] != -1 && own[i] != shape[i]) {
                bail!(InvalidArgument, "Shape mismatch: expected shape dim {i} to be {}, got {}", own[i], shape[i]);
            }
        }
        if let Some(&limit) = own.first().filter(|&&d| d != -1)
            && let Some((i, index)) = slices.indices.iter().enumerate().find(|&(_, &index)| index >= limit)
        {
            bail!(
                InvalidArgument,
                "Shape mismatch: index of slice {i} exceeded limits of shape; index is {index} exceeded {limit}"
            );
        }
        let (rank, expected): (usize, Vec<i64>) = match sum {
            Some(Sum::Sparse(sum)) => {
                if sum.values.rank() != dims.len() {
                    bail!(InvalidArgument, "Shape mismatch: expected values rank {}, got {}", sum.values.rank(), dims.len());
                }
                (dims.len(), sum.values.dims().iter().map(|&d| d as i64).collect())
            }
            _ => (own.len(), own.to_vec()),
        };
        if rank > dims.len() {
            bail!(InvalidArgument, "Shape mismatch: expected values rank at least {rank}, got {}", dims.len());
        }
        if let Some(i) = (1..rank).find(|&i| expected[i] != -1 && expected[i] != dims[i] as i64) {
            bail!(InvalidArgument, "Shape mismatch: expected values dim {i} to be {}, got {}", expected[i], dims[i]);
        }
        Ok(())
    }

    /// Waits until there are as many gradients as required, and gives their mean or sum. The global step goes on.
    ///
    /// # Errors
    /// What the arithmetic returns.
    pub fn take(&self, required: usize) -> Result<Tensor> {
        match self.take_sum(required)? {
            (count, Sum::Dense(sum)) => self.mean_of(sum, &[u32::try_from(count).unwrap_or(u32::MAX)]),
            _ => bail!(Internal, "a sparse sum in an accumulator of dense gradients"),
        }
    }

    /// The same for rows, each the mean of those added at its index.
    ///
    /// # Errors
    /// What the arithmetic returns.
    pub fn take_slices(&self, required: usize) -> Result<Slices> {
        match self.take_sum(required)? {
            (_, Sum::Sparse(mut sum)) => {
                let values = std::mem::replace(&mut sum.values, Tensor::scalar(0.0f32));
                sum.values = self.mean_of(values, &sum.counts)?;
                Ok(sum)
            }
            _ => bail!(Internal, "a dense sum in an accumulator of sparse gradients"),
        }
    }

    fn take_sum(&self, required: usize) -> Result<(usize, Sum)> {
        let mut state = self.lock();
        while state.count < required || state.sum.is_none() {
            state = self.changed.wait(state).unwrap_or_else(|e| e.into_inner());
        }
        let Some(sum) = state.sum.take() else { bail!(Internal, "an accumulator without a sum") };
        state.global_step = state.global_step.wrapping_add(1);
        Ok((std::mem::take(&mut state.count), sum))
    }

    /// Divides each of `counts.len()` equal parts by its count, where the mean is asked for.
    fn mean_of(&self, mut sum: Tensor, counts: &[u32]) -> Result<Tensor> {
        if self.mean && !sum.is_empty() {
            dispatch!(sum.dtype(), floats, T => {
                let values = sum.as_mut_slice::<T>()?;
                let row = values.len() / counts.len().max(1);
                for (part, &count) in values.chunks_mut(row.max(1)).zip(counts) {
                    let count = T::from_f64(f64::from(count));
                    part.iter_mut().for_each(|v| *v = *v / count);
                }
            });
        }
        Ok(sum)
    }
}

/// The sum of two lists of rows, both in the order of their indices.
fn merge(a: &Slices, b: &Slices) -> Result<Slices> {
    let (mut i, mut j) = (0, 0);
    let (mut indices, mut counts, mut from) = (Vec::new(), Vec::new(), Vec::new());
    while i < a.indices.len() || j < b.indices.len() {
        let order = match (a.indices.get(i), b.indices.get(j)) {
            (Some(x), Some(y)) => x.cmp(y),
            (Some(_), None) => std::cmp::Ordering::Less,
            _ => std::cmp::Ordering::Greater,
        };
        let (left, right) = (order.is_le().then_some(i), order.is_ge().then_some(j));
        indices.push(left.map_or_else(|| b.indices[j], |i| a.indices[i]));
        counts.push(left.map_or(0, |i| a.counts[i]) + right.map_or(0, |j| b.counts[j]));
        from.push((left, right));
        i += usize::from(left.is_some());
        j += usize::from(right.is_some());
    }
    let mut dims = a.values.dims().to_vec();
    dims[0] = from.len();
    let values = dispatch!(a.values.dtype(), floats, T => {
        let (x, y) = (a.values.as_slice::<T>()?, b.values.as_slice::<T>()?);
        let row: usize = dims[1..].iter().product();
        let mut all = Vec::with_capacity(from.len() * row);
        for &(left, right) in &from {
            match (left, right) {
                (Some(i), Some(j)) => {
                    let (p, q) = (&x[i * row..(i + 1) * row], &y[j * row..(j + 1) * row]);
                    all.extend(p.iter().zip(q).map(|(&p, &q)| p + q));
                }
                (Some(i), None) => all.extend_from_slice(&x[i * row..(i + 1) * row]),
                (None, Some(j)) => all.extend_from_slice(&y[j * row..(j + 1) * row]),
                (None, None) => {}
            }
        }
        Tensor::new(&dims, all)?
    });
    Ok(Slices { indices, values, counts })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slices(indices: &[i64], values: &[f32]) -> Slices {
        let values = Tensor::new(&[indices.len(), values.len() / indices.len()], values.to_vec()).unwrap();
        Slices { indices: indices.to_vec(), values, counts: vec![1; indices.len()] }
    }

    #[test]
    fn means_of_dense_gradients() {
        let accumulator = Accumulator::new(false, DType::Float, Shape::from([2]), true);
        accumulator.apply(0, Tensor::vector(&[1.0f32, 2.0])).unwrap();
        accumulator.apply(0, Tensor::vector(&[3.0f32, 6.0])).unwrap();
        assert!(accumulator.apply(0, Tensor::vector(&[3.0f32])).is_err());
        assert_eq!(accumulator.count(), 2);
        assert_eq!(accumulator.take(2).unwrap().as_slice::<f32>().unwrap(), [2.0, 4.0]);
        accumulator.apply(0, Tensor::vector(&[1.0f32, 2.0])).unwrap();
        assert_eq!(accumulator.count(), 0, "a gradient of an earlier step is dropped");
    }

    #[test]
    fn means_of_rows() {
        let accumulator = Accumulator::new(true, DType::Float, Shape::from([4, 2]), true);
        accumulator.apply_slices(0, slices(&[0, 2], &[1.0, 2.0, 3.0, 4.0]), None).unwrap();
        accumulator.apply_slices(0, slices(&[2, 3], &[5.0, 6.0, 7.0, 8.0]), Some(&[4, 2])).unwrap();
        assert!(accumulator.apply_slices(0, slices(&[4], &[5.0, 6.0]), None).is_err());
        let taken = accumulator.take_slices(1).unwrap();
        assert_eq!(taken.indices, [0, 2, 3]);
        assert_eq!(taken.values.as_slice::<f32>().unwrap(), [1.0, 2.0, 4.0, 5.0, 7.0, 8.0]);
    }
}
