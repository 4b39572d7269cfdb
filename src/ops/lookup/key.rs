//! Keys and values of tables.

use crate::error::{Result, bail};
use crate::ops::string::hash::hash64;
use crate::tensor::{DType, Handle, Tensor};
use bytes::Bytes;

/// A key: an integer of any size, or a string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Int(i64),
    Text(Bytes),
}

impl Key {
    /// The hash that TensorFlow's tables use.
    pub fn hash(&self) -> u64 {
        match self {
            Key::Int(value) => *value as u64,
            Key::Text(text) => hash64(text),
        }
    }
}

/// The keys in a tensor.
///
/// # Errors
/// `InvalidArgument` for elements that can't be keys.
pub(super) fn keys_of(tensor: &Tensor) -> Result<Vec<Key>> {
    match tensor.dtype() {
        DType::String => Ok(tensor.strings()?.iter().cloned().map(Key::Text).collect()),
        dtype if dtype.is_integer() => Ok(tensor.to_i64s()?.iter().map(|&i| Key::Int(i)).collect()),
        other => bail!(InvalidArgument, "a table can't have keys of type {other}"),
    }
}

/// Keys as a tensor.
pub(super) fn key_tensor<'a>(dtype: DType, dims: &[usize], keys: impl Iterator<Item = &'a Key>) -> Result<Tensor> {
    match dtype {
        DType::String => {
            let text = |k: &Key| if let Key::Text(text) = k { text.clone() } else { Bytes::new() };
            Tensor::from_strings(dims, keys.map(text).collect())
        }
        _ => {
            let wide: Vec<i64> = keys.map(|k| if let Key::Int(i) = k { *i } else { 0 }).collect();
            crate::ops::convert::cast_value(&Tensor::new(dims, wide)?, dtype)
        }
    }
}

/// Values in slots of one width.
pub(super) struct Cells {
    dtype: DType,
    width: usize,
    data: Data,
}

enum Data {
    Plain(Vec<u8>),
    Strings(Vec<Bytes>),
    Handles(Vec<Handle>),
}

impl Cells {
    pub fn new(dtype: DType, width: usize) -> Cells {
        let data = match dtype {
            DType::String => Data::Strings(Vec::new()),
            DType::Resource | DType::Variant => Data::Handles(Vec::new()),
            _ => Data::Plain(Vec::new()),
        };
        Cells { dtype, width, data }
    }

    fn unit(&self) -> usize {
        self.width * if matches!(self.data, Data::Plain(_)) { self.dtype.size() } else { 1 }
    }

    /// Makes room for this many slots; new ones hold zeros.
    ///
    /// # Errors
    /// `ResourceExhausted` when there isn't enough memory.
    pub fn resize(&mut self, slots: usize) -> Result<()> {
        let Some(len) = slots.checked_mul(self.unit()) else { bail!(ResourceExhausted, "a table of {slots} slots is too large") };
        let failed = match &mut self.data {
            Data::Plain(v) => v.try_reserve(len.saturating_sub(v.len())).map(|()| v.resize(len, 0)).is_err(),
            Data::Strings(v) => v.try_reserve(len.saturating_sub(v.len())).map(|()| v.resize(len, Bytes::new())).is_err(),
            Data::Handles(v) => v.try_reserve(len.saturating_sub(v.len())).map(|()| v.resize(len, Handle::Empty)).is_err(),
        };
        if failed {
            bail!(ResourceExhausted, "OOM when allocating a table of {slots} slots");
        }
        Ok(())
    }

    /// Copies row `row` of a tensor of values into a slot, which is made if it is the next one.
    ///
    /// # Errors
    /// `InvalidArgument` for values of another type.
    pub fn write(&mut self, slot: usize, values: &Tensor, row: usize) -> Result<()> {
        let unit = self.unit();
        let len = match &self.data {
            Data::Plain(v) => v.len(),
            Data::Strings(v) => v.len(),
            Data::Handles(v) => v.len(),
        };
        if (slot + 1) * unit > len {
            self.resize(slot + 1)?;
        }
        let (to, from) = (slot * unit..(slot + 1) * unit, row * unit..(row + 1) * unit);
        match &mut self.data {
            Data::Plain(v) => v[to].copy_from_slice(&values.bytes()?[from]),
            Data::Strings(v) => v[to].clone_from_slice(&values.strings()?[from]),
            Data::Handles(v) => v[to].clone_from_slice(&values.handles()?[from]),
        }
        Ok(())
    }

    /// The values of slots as a tensor; where a slot is none, those of a row of `default`.
    ///
    /// # Errors
    /// `InvalidArgument` for a default of another type.
    pub fn gather(
        &self,
        dims: &[usize],
        slots: impl Iterator<Item = Result<usize, usize>>,
        default: Option<&Tensor>,
    ) -> Result<Tensor> {
        let unit = self.unit();
        let part = |slot: usize| slot * unit..(slot + 1) * unit;
        match &self.data {
            Data::Plain(v) => {
                let mut out = Tensor::zeros(self.dtype, dims)?;
                let default = default.map(|d| d.bytes()).transpose()?.unwrap_or_default();
                let to = out.bytes_mut()?;
                for (at, slot) in slots.enumerate() {
                    to[part(at)].copy_from_slice(match slot {
                        Ok(slot) => &v[part(slot)],
                        Err(row) => &default[part(row)],
                    });
                }
                Ok(out)
            }
            Data::Strings(v) => {
                let (mut out, default) = (Vec::new(), default.map(|d| d.strings()).transpose()?.unwrap_or_default());
                slots.for_each(|slot| {
                    out.extend_from_slice(match slot {
                        Ok(slot) => &v[part(slot)],
                        Err(row) => &default[part(row)],
                    })
                });
                Tensor::from_strings(dims, out)
            }
            Data::Handles(v) => {
                let (mut out, default) = (Vec::new(), default.map(|d| d.handles()).transpose()?.unwrap_or_default());
                slots.for_each(|slot| {
                    out.extend_from_slice(match slot {
                        Ok(slot) => &v[part(slot)],
                        Err(row) => &default[part(row)],
                    })
                });
                Tensor::from_handles(self.dtype, dims, out)
            }
        }
    }
}
