//! Features of `Example` and `SequenceExample` messages, read without building the messages.

use crate::error::{Error, Result, bail};
use crate::proto::{Feature, feature::Kind};
use crate::tensor::{DType, Tensor};
use bytes::{Buf, Bytes};
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use std::collections::HashMap;

/// Serialized features, or lists of them, by name; of those that stand there twice, the last.
pub(super) type Features = HashMap<Bytes, Bytes>;

fn corrupt(error: prost::DecodeError) -> Error {
    Error::invalid_argument(format!("Could not parse example input: {error}"))
}

/// Calls `each` with every length-delimited field.
fn fields(mut bytes: Bytes, mut each: impl FnMut(u32, Bytes) -> Result<()>) -> Result<()> {
    while bytes.has_remaining() {
        let (tag, wire) = decode_key(&mut bytes).map_err(corrupt)?;
        if wire != WireType::LengthDelimited {
            skip_field(wire, tag, &mut bytes, DecodeContext::default()).map_err(corrupt)?;
            continue;
        }
        let len = decode_varint(&mut bytes).map_err(corrupt)?;
        if len > bytes.remaining() as u64 {
            bail!(InvalidArgument, "Could not parse example input: a field of {len} bytes, {} are left", bytes.remaining());
        }
        each(tag, bytes.split_to(len as usize))?;
    }
    Ok(())
}

/// The entries of a map from names to messages, which is field 1.
fn entries(bytes: Bytes, into: &mut Features) -> Result<()> {
    fields(bytes, |tag, entry| {
        if tag != 1 {
            return Ok(());
        }
        let (mut key, mut value) = (Bytes::new(), Bytes::new());
        fields(entry, |tag, part| {
            match tag {
                1 => key = part,
                2 => value = part,
                _ => {}
            }
            Ok(())
        })?;
        into.insert(key, value);
        Ok(())
    })
}

/// The features of a serialized `Example`.
///
/// # Errors
/// `InvalidArgument` for bytes that are none.
pub(super) fn example(serialized: &Bytes) -> Result<Features> {
    let mut features = Features::new();
    fields(serialized.clone(), |tag, part| if tag == 1 { entries(part, &mut features) } else { Ok(()) })?;
    Ok(features)
}

/// The context and the feature lists of a serialized `SequenceExample`.
///
/// # Errors
/// `InvalidArgument` for bytes that are none.
pub(super) fn sequence_example(serialized: &Bytes) -> Result<(Features, Features)> {
    let (mut context, mut lists) = (Features::new(), Features::new());
    fields(serialized.clone(), |tag, part| match tag {
        1 => entries(part, &mut context),
        2 => entries(part, &mut lists),
        _ => Ok(()),
    })?;
    Ok((context, lists))
}

/// The features of a serialized `FeatureList`.
///
/// # Errors
/// `InvalidArgument` for bytes that are none.
pub(super) fn feature_list(serialized: &Bytes) -> Result<Vec<Bytes>> {
    let mut features = Vec::new();
    fields(serialized.clone(), |tag, part| {
        if tag == 1 {
            features.push(part);
        }
        Ok(())
    })?;
    Ok(features)
}

/// The values of a feature, or those of a column of features.
#[derive(Clone, Debug)]
pub(super) enum Values {
    Strings(Vec<Bytes>),
    Floats(Vec<f32>),
    Ints(Vec<i64>),
}

impl Values {
    /// The values of a serialized `Feature`; none where it has no kind.
    ///
    /// # Errors
    /// `InvalidArgument` for bytes that are none.
    pub fn decode(feature: &Bytes) -> Result<Option<Values>> {
        Ok(Feature::decode(feature.clone()).map_err(corrupt)?.kind.map(|kind| match kind {
            Kind::BytesList(list) => Values::Strings(list.value),
            Kind::FloatList(list) => Values::Floats(list.value),
            Kind::Int64List(list) => Values::Ints(list.value),
        }))
    }

    pub fn empty(dtype: DType) -> Result<Values> {
        Ok(match dtype {
            DType::String => Values::Strings(Vec::new()),
            DType::Float => Values::Floats(Vec::new()),
            DType::Int64 => Values::Ints(Vec::new()),
            other => bail!(InvalidArgument, "Features are strings, floats or int64, not {other}"),
        })
    }

    pub fn dtype(&self) -> DType {
        match self {
            Values::Strings(_) => DType::String,
            Values::Floats(_) => DType::Float,
            Values::Ints(_) => DType::Int64,
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Values::Strings(v) => v.len(),
            Values::Floats(v) => v.len(),
            Values::Ints(v) => v.len(),
        }
    }

    fn of_tensor(tensor: &Tensor) -> Result<Values> {
        Ok(match tensor.dtype() {
            DType::String => Values::Strings(tensor.strings()?.to_vec()),
            DType::Float => Values::Floats(tensor.as_slice()?.to_vec()),
            _ => Values::Ints(tensor.as_slice()?.to_vec()),
        })
    }

    pub fn append(&mut self, other: Values) {
        match (self, other) {
            (Values::Strings(to), Values::Strings(from)) => to.extend(from),
            (Values::Floats(to), Values::Floats(from)) => to.extend(from),
            (Values::Ints(to), Values::Ints(from)) => to.extend(from),
            _ => {}
        }
    }

    /// Rows of the given lengths, each filled up to `width` with one value.
    fn padded(self, lengths: &[usize], width: usize, pad: Option<&Tensor>) -> Result<Values> {
        fn rows<T: Clone>(from: &[T], lengths: &[usize], width: usize, pad: T) -> Result<Vec<T>> {
            let mut out = Vec::new();
            if out.try_reserve(lengths.len().saturating_mul(width)).is_err() {
                bail!(ResourceExhausted, "OOM when allocating {} rows of {width}", lengths.len());
            }
            let mut start = 0;
            for (row, &len) in lengths.iter().enumerate() {
                out.extend_from_slice(&from[start..start + len]);
                out.resize((row + 1) * width, pad.clone());
                start += len;
            }
            Ok(out)
        }
        Ok(match self {
            Values::Strings(v) => {
                let pad = pad.map(|p| p.strings()).transpose()?.and_then(|p| p.first()).cloned().unwrap_or_default();
                Values::Strings(rows(&v, lengths, width, pad)?)
            }
            Values::Floats(v) => {
                let pad = pad.map(|p| p.as_slice::<f32>()).transpose()?.and_then(|p| p.first()).copied().unwrap_or_default();
                Values::Floats(rows(&v, lengths, width, pad)?)
            }
            Values::Ints(v) => {
                let pad = pad.map(|p| p.as_slice::<i64>()).transpose()?.and_then(|p| p.first()).copied().unwrap_or_default();
                Values::Ints(rows(&v, lengths, width, pad)?)
            }
        })
    }

    pub fn tensor(self, dims: &[usize]) -> Result<Tensor> {
        match self {
            Values::Strings(v) => Tensor::from_strings(dims, v),
            Values::Floats(v) => Tensor::new(dims, v),
            Values::Ints(v) => Tensor::new(dims, v),
        }
    }
}

/// The values of one feature in many examples (or in many steps), one behind the other.
pub(super) struct Column {
    pub key: Bytes,
    pub values: Values,
    /// The number of values in each.
    pub lengths: Vec<usize>,
}

impl Column {
    pub fn new(key: &Bytes, dtype: DType) -> Result<Column> {
        Ok(Column { key: key.clone(), values: Values::empty(dtype)?, lengths: Vec::new() })
    }

    /// The feature's name for errors.
    pub fn name(&self) -> String {
        self.key.escape_ascii().to_string()
    }

    /// Adds an example's values; a feature that isn't there or has no kind counts as empty.
    ///
    /// # Errors
    /// `InvalidArgument` for values of another type; then the message names the example.
    pub fn push(&mut self, feature: Option<&Bytes>, example: &dyn Fn() -> String) -> Result<bool> {
        let found = feature.map(Values::decode).transpose()?.flatten();
        let Some(found) = found else {
            self.lengths.push(0);
            return Ok(false);
        };
        if found.dtype() != self.values.dtype() {
            bail!(
                InvalidArgument,
                "{}Key: {}. Data types don't match. Data type: {} but expected type: {}",
                example(),
                self.name(),
                found.dtype(),
                self.values.dtype()
            );
        }
        self.lengths.push(found.len());
        self.values.append(found);
        Ok(true)
    }

    /// Puts a default in the place of the last example's missing values.
    pub fn use_default(&mut self, default: &Tensor) -> Result<()> {
        if let Some(last) = self.lengths.last_mut() {
            *last = default.len();
        }
        self.values.append(Values::of_tensor(default)?);
        Ok(())
    }

    pub fn widest(&self) -> usize {
        self.lengths.iter().copied().max().unwrap_or(0)
    }

    /// All values, each example's filled up to `width` values.
    pub fn into_padded(self, width: usize, pad: Option<&Tensor>, dims: &[usize]) -> Result<Tensor> {
        self.values.padded(&self.lengths, width, pad)?.tensor(dims)
    }

    /// All values as a vector.
    pub fn into_vector(self) -> Result<Tensor> {
        let len = self.values.len();
        self.values.tensor(&[len])
    }

    /// Where each example's values start, and the end, in the given type.
    pub fn splits(&self, dtype: DType) -> Result<Tensor> {
        running_sum(&self.lengths, dtype)
    }
}

/// 0 and the running sums of lengths.
pub(super) fn running_sum(lengths: &[usize], dtype: DType) -> Result<Tensor> {
    let mut sum = 0usize;
    let mut splits = vec![0usize];
    for &len in lengths {
        sum += len;
        splits.push(sum);
    }
    if dtype == DType::Int64 {
        return Ok(Tensor::from(splits.iter().map(|&s| s as i64).collect::<Vec<i64>>()));
    }
    match splits.iter().map(|&s| i32::try_from(s)).collect::<std::result::Result<Vec<i32>, _>>() {
        Ok(splits) => Ok(Tensor::from(splits)),
        Err(_) => bail!(InvalidArgument, "Row splits are beyond int32"),
    }
}
