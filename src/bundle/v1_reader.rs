//! Reading V1 checkpoints: tables of `SavedTensorSlices` messages.

use super::glob::matching_files;
use super::ordered_code::encode_tensor_name_slice;
use super::reader::decode_dims;
use super::runs::{Runs, select};
use super::table::Table;
use super::{TensorSlice, VERSION, Variables, check_versions};
use crate::error::{Error, Result, bail};
use crate::proto::{SavedTensorSlices, TensorProto};
use crate::tensor::{DType, Dims, Shape, Tensor, element_count};
use bytes::Bytes;
use prost::Message;
use std::collections::BTreeMap;

/// Reads the tensors of a V1 checkpoint, a file or several shards.
///
/// Names, shapes and slices are read when the checkpoint is opened, tensors when they are asked for.
pub struct TensorSliceReader {
    pattern: String,
    tables: Vec<Table>,
    tensors: BTreeMap<String, Saved>,
}

struct Saved {
    dtype: i32,
    dims: Dims,
    slices: Vec<TensorSlice>,
    /// The table that has each slice.
    tables: Vec<usize>,
}

impl TensorSliceReader {
    /// Opens the files that a pattern matches, as `model.ckpt` or `model.ckpt-?????-of-00002`.
    ///
    /// # Errors
    /// `NotFound` if no file matches; `DataLoss` if one isn't a table; `Internal` (TensorFlow's code) if one isn't a
    /// checkpoint; `InvalidArgument` if it needs a newer reader or the shards contradict each other.
    pub fn open(pattern: &str) -> Result<TensorSliceReader> {
        let files = matching_files(pattern);
        if files.is_empty() {
            bail!(NotFound, "Unsuccessful TensorSliceReader constructor: Failed to find any matching files for {pattern}");
        }
        let mut reader = TensorSliceReader { pattern: pattern.into(), tables: Vec::new(), tensors: BTreeMap::new() };
        for file in files {
            reader.load(&file).map_err(|e| e.within(file))?;
        }
        Ok(reader)
    }

    fn load(&mut self, file: &str) -> Result<()> {
        let table = Table::open(file).map_err(|e| {
            Error::data_loss(format!(
                "Unable to open table file {file}: {e}: perhaps your file is in a different file format and you need \
                 to use a different restore operator?"
            ))
        })?;
        let record = table.get(b"")?.and_then(|bytes| SavedTensorSlices::decode(bytes).ok());
        let Some(meta) = record.and_then(|r| r.meta) else {
            bail!(Internal, "Failed to find the saved tensor slices at the beginning of the checkpoint file: {file}");
        };
        check_versions(meta.versions.as_ref(), VERSION)?;
        for tensor in meta.tensor {
            let name = tensor.name;
            let dims = decode_dims(tensor.shape.as_ref()).filter(|d| element_count(d).is_ok());
            let Some(dims) = dims else {
                bail!(DataLoss, "Invalid tensor shape: {name} {:?}", tensor.shape.unwrap_or_default());
            };
            let slices = tensor.slice.iter().map(TensorSlice::from_message).collect::<Result<Vec<_>>>()?;
            let saved = self.tensors.entry(name.clone()).or_insert_with(|| Saved {
                dtype: tensor.r#type,
                dims: dims.clone(),
                slices: Vec::new(),
                tables: Vec::new(),
            });
            if saved.dims != dims || saved.dtype != tensor.r#type {
                bail!(
                    Internal,
                    "Incompatible tensor shapes or dtypes detected for tensor {name}: existing = {:?} of dtype number \
                     {}, new = {dims:?} of {}",
                    saved.dims,
                    saved.dtype,
                    tensor.r#type
                );
            }
            saved.tables.resize(saved.tables.len() + slices.len(), self.tables.len());
            saved.slices.extend(slices);
        }
        self.tables.push(table);
        Ok(())
    }

    fn find(&self, name: &str) -> Result<&Saved> {
        match self.tensors.get(name) {
            Some(saved) => Ok(saved),
            None => bail!(NotFound, "Tensor name \"{name}\" not found in checkpoint files {}", self.pattern),
        }
    }

    /// True if there is a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The element type and the dimensions of a tensor, those of the whole if it is stored in slices.
    ///
    /// # Errors
    /// `NotFound` if there is no such tensor; `InvalidArgument` if its dtype is unknown.
    pub fn dtype_and_dims(&self, name: &str) -> Result<(DType, Dims)> {
        let saved = self.find(name)?;
        Ok((DType::try_from_number(saved.dtype)?, saved.dims.clone()))
    }

    /// All tensors, in the order of their names.
    ///
    /// # Errors
    /// `InvalidArgument` if a dtype is unknown.
    pub fn variables(&self) -> Result<Variables> {
        let entry = |(name, saved): (&String, &Saved)| {
            Ok((name.clone(), (DType::try_from_number(saved.dtype)?, Shape::known(&saved.dims))))
        };
        self.tensors.iter().map(entry).collect()
    }

    /// Reads a tensor, assembled if it is stored in slices.
    ///
    /// # Errors
    /// `NotFound` if there is no such tensor; `DataLoss` if the file is corrupt; `InvalidArgument` if slices are
    /// missing.
    pub fn read(&self, name: &str) -> Result<Tensor> {
        let rank = self.find(name)?.dims.len();
        self.read_slice(name, &TensorSlice::full(rank))
    }

    /// Reads a slice of a tensor, whatever slices it is stored in.
    ///
    /// # Errors
    /// As [`TensorSliceReader::read`]; `Internal` (TensorFlow's code) if the slice isn't within the tensor.
    pub fn read_slice(&self, name: &str, wanted: &TensorSlice) -> Result<Tensor> {
        let saved = self.find(name)?;
        let dtype = DType::try_from_number(saved.dtype)?;
        let dims = wanted.slice_dims(&saved.dims)?;
        let needed = select(name, &saved.dims, &saved.slices, wanted)?;
        // Records are small against what their shapes could claim, so that they are read before the result is
        // allocated; a single one, which is the common case, becomes the result.
        let part = |&i: &usize| self.read_record(name, saved, dtype, i);
        if let [only] = needed[..]
            && (saved.slices[only] == *wanted || saved.slices[only].covers(&saved.dims) && wanted.covers(&saved.dims))
        {
            return part(&only);
        }
        let parts = needed.iter().map(part).collect::<Result<Vec<_>>>()?;
        let mut strings = Vec::new();
        let mut tensor = Tensor::zeros(if dtype == DType::String { DType::Uint8 } else { dtype }, &dims)?;
        if dtype == DType::String {
            strings = vec![Bytes::new(); element_count(&dims)?];
        }
        for (i, part) in needed.into_iter().zip(parts) {
            for run in Runs::new(&saved.dims, &saved.slices[i], wanted) {
                if dtype == DType::String {
                    strings[run.destination..][..run.len].clone_from_slice(&part.strings()?[run.source..][..run.len]);
                } else {
                    let width = dtype.size();
                    let source = &part.bytes()?[run.source * width..][..run.len * width];
                    tensor.bytes_mut()?[run.destination * width..][..run.len * width].copy_from_slice(source);
                }
            }
        }
        if dtype == DType::String { Tensor::from_strings(&dims, strings) } else { Ok(tensor) }
    }

    /// Reads one stored slice.
    fn read_record(&self, name: &str, saved: &Saved, dtype: DType, i: usize) -> Result<Tensor> {
        let (slice, table) = (&saved.slices[i], &self.tables[saved.tables[i]]);
        let place = || format!("slice {slice} of {name} in {}", table.path().display());
        let Some(value) = table.get(&encode_tensor_name_slice(name, slice))? else {
            bail!(DataLoss, "Failed to seek to the record: {}", place());
        };
        let message = SavedTensorSlices::decode(value).ok().and_then(|m| m.data?.data);
        let Some(message) = message else { bail!(DataLoss, "Failed to parse the record: {}", place()) };
        let dims = slice.slice_dims(&saved.dims)?;
        let expected = element_count(&dims)?;
        let got = value_count(dtype, &message);
        if got != Some(expected) {
            let got = got.map_or("another dtype".into(), |n| format!("{n} values"));
            bail!(DataLoss, "expected {expected} values of {dtype}, got {got}: {}", place());
        }
        tensor_of(dtype, &dims, message).map_err(|e| e.within(place()))
    }
}

/// The number of elements in the list of the message that is for this dtype.
fn value_count(dtype: DType, m: &TensorProto) -> Option<usize> {
    Some(match dtype {
        DType::Float => m.float_val.len(),
        DType::Double => m.double_val.len(),
        DType::Int64 => m.int64_val.len(),
        DType::Uint32 => m.uint32_val.len(),
        DType::Uint64 => m.uint64_val.len(),
        DType::Bool => m.bool_val.len(),
        DType::Half | DType::Bfloat16 => m.half_val.len(),
        DType::Complex64 => m.scomplex_val.len() / 2,
        DType::Complex128 => m.dcomplex_val.len() / 2,
        DType::Float8E5m2 | DType::Float8E4m3fn => m.float8_val.len(),
        DType::String => m.string_val.len(),
        DType::Resource | DType::Variant => return None,
        _ => m.int_val.len(),
    })
}

/// The tensor of a message that has as many values as the dimensions say. The values of most become the tensor's own.
fn tensor_of(dtype: DType, dims: &[usize], mut message: TensorProto) -> Result<Tensor> {
    match dtype {
        DType::Float => Tensor::new(dims, message.float_val),
        DType::Double => Tensor::new(dims, message.double_val),
        DType::Int32 => Tensor::new(dims, message.int_val),
        DType::Int64 => Tensor::new(dims, message.int64_val),
        DType::String => Tensor::from_strings(dims, message.string_val),
        _ => {
            message.dtype = dtype.number();
            message.tensor_shape = Some(Shape::known(dims).to_message());
            message.tensor_content = Bytes::new();
            Tensor::from_message(&message)
        }
    }
}
