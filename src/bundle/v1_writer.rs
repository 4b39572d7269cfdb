//! Writing V1 checkpoints.

use super::file::TempFile;
use super::ordered_code::encode_tensor_name_slice;
use super::slice::check_saved;
use super::table::{Compression, TableWriter};
use super::{TensorSlice, VERSION};
use crate::error::{Result, bail};
use crate::proto::{SavedSlice, SavedSliceMeta, SavedTensorSliceMeta, SavedTensorSlices, TensorProto, VersionDef};
use crate::tensor::{DType, Shape, Tensor, element_count};
use half::f16;
use num_complex::Complex;
use prost::Message;
use std::collections::{BTreeMap, HashMap};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

/// Writes tensors as a V1 checkpoint of one file, byte for byte TensorFlow's.
///
/// The file appears under its name when [`TensorSliceWriter::finish`] has written it whole.
pub struct TensorSliceWriter {
    path: PathBuf,
    meta: SavedTensorSliceMeta,
    /// Where each name stands in the list of the meta record.
    indices: HashMap<String, usize>,
    records: BTreeMap<Vec<u8>, (String, TensorSlice, Tensor)>,
}

impl TensorSliceWriter {
    /// A writer for a file. Nothing is written before [`TensorSliceWriter::finish`].
    pub fn new(path: impl AsRef<Path>) -> TensorSliceWriter {
        let versions = Some(VersionDef { producer: VERSION, ..VersionDef::default() });
        TensorSliceWriter {
            path: path.as_ref().into(),
            meta: SavedTensorSliceMeta { versions, ..SavedTensorSliceMeta::default() },
            indices: HashMap::new(),
            records: BTreeMap::new(),
        }
    }

    /// Adds a tensor.
    ///
    /// # Errors
    /// As [`TensorSliceWriter::add_slice`].
    pub fn add(&mut self, name: &str, tensor: &Tensor) -> Result<()> {
        self.add_slice(name, tensor.dims(), &TensorSlice::full(tensor.rank()), tensor)
    }

    /// Adds one slice of a tensor whose whole has the given dimensions.
    ///
    /// # Errors
    /// `Internal` (TensorFlow's code) if the slice isn't within the whole, or dtype or whole differ from an earlier
    /// slice's; `InvalidArgument` if the tensor doesn't have the slice's dimensions or is too large for a message;
    /// `Unimplemented` for a dtype that the format lacks.
    pub fn add_slice(&mut self, name: &str, full_dims: &[usize], slice: &TensorSlice, tensor: &Tensor) -> Result<()> {
        element_count(full_dims)?;
        let shape = Shape::known(full_dims);
        if slice.rank() != full_dims.len() {
            bail!(Internal, "Incompatible tensor shape and slice: shape = {shape}, slice = {slice}");
        }
        check_saved(full_dims, slice, tensor)?;
        check_size(tensor)?;
        let number = tensor.dtype().number();
        let index = match self.indices.get(name) {
            Some(&index) => index,
            None => {
                let meta =
                    SavedSliceMeta { name: name.into(), shape: Some(shape.to_message()), r#type: number, slice: Vec::new() };
                self.meta.tensor.push(meta);
                self.indices.insert(name.into(), self.meta.tensor.len() - 1);
                self.meta.tensor.len() - 1
            }
        };
        let meta = &mut self.meta.tensor[index];
        let existing = meta.shape.as_ref().map(Shape::from_message).unwrap_or_default();
        if existing != shape {
            bail!(Internal, "Mismatching shapes: existing tensor = {existing}, trying to add name {name}, shape = {shape}");
        }
        if meta.r#type != number {
            let existing = DType::try_from_number(meta.r#type)?;
            bail!(
                Internal,
                "Mismatching types: existing type = {existing}, trying to add name {name}, type = {}",
                tensor.dtype()
            );
        }
        meta.slice.push(slice.to_message());
        let key = encode_tensor_name_slice(name, slice);
        self.records.entry(key).or_insert_with(|| (name.into(), slice.clone(), tensor.clone()));
        Ok(())
    }

    /// Writes the file.
    ///
    /// # Errors
    /// What the file system says.
    pub fn finish(self) -> Result<()> {
        let place = self.path.display().to_string();
        let file = self.write().map_err(|e| e.within(place))?;
        file.commit(false)
    }

    fn write(self) -> Result<TempFile> {
        let file = BufWriter::new(TempFile::create(&self.path)?);
        let mut table = TableWriter::new(file, Compression::None);
        let meta = SavedTensorSlices { meta: Some(self.meta), data: None };
        table.add(b"", &meta.encode_to_vec())?;
        for (key, (name, slice, tensor)) in self.records {
            let data = SavedSlice { name, slice: Some(slice.to_message()), data: Some(values(&tensor)?) };
            table.add(&key, &SavedTensorSlices { meta: None, data: Some(data) }.encode_to_vec())?;
        }
        table.finish()?.into_inner().map_err(|e| e.into_error().into())
    }
}

/// TensorFlow's bound of a record, with its own estimate of the bytes an element may take.
fn check_size(tensor: &Tensor) -> Result<()> {
    let per_element = match tensor.dtype() {
        DType::Bool => 1,
        DType::Uint8 | DType::Quint8 => 2,
        DType::Uint16 | DType::Quint16 | DType::Half => 3,
        DType::Float => 4,
        DType::Double | DType::Complex64 => 8,
        DType::Complex128 => 16,
        DType::Int8 | DType::Int16 | DType::Int32 | DType::Int64 => 10,
        DType::Qint8 | DType::Qint16 | DType::Qint32 | DType::String => 10,
        other @ (DType::Uint32 | DType::Uint64 | DType::Bfloat16) => {
            bail!(InvalidArgument, "Tensor slice serialization not implemented for dtype {other}")
        }
        other => bail!(Unimplemented, "Saving data type {other} not yet supported"),
    };
    let strings = if tensor.dtype() == DType::String { tensor.byte_size() } else { 0 };
    let bound = tensor.len().saturating_mul(per_element).saturating_add(strings).saturating_add(1 << 10);
    if bound >= 1 << 31 {
        bail!(InvalidArgument, "Tensor slice is too large to serialize (conservative estimate: {bound} bytes)");
    }
    Ok(())
}

/// The elements in the message's list for their dtype, without dtype and shape.
fn values(tensor: &Tensor) -> Result<TensorProto> {
    let mut m = TensorProto::default();
    match tensor.dtype() {
        DType::Float => m.float_val = tensor.as_slice::<f32>()?.to_vec(),
        DType::Double => m.double_val = tensor.as_slice::<f64>()?.to_vec(),
        DType::Int64 => m.int64_val = tensor.as_slice::<i64>()?.to_vec(),
        DType::Bool => m.bool_val = tensor.as_slice::<bool>()?.to_vec(),
        DType::Half => m.half_val = tensor.as_slice::<f16>()?.iter().map(|v| i32::from(v.to_bits())).collect(),
        DType::Complex64 => m.scomplex_val = tensor.as_slice::<Complex<f32>>()?.iter().flat_map(|v| [v.re, v.im]).collect(),
        DType::Complex128 => m.dcomplex_val = tensor.as_slice::<Complex<f64>>()?.iter().flat_map(|v| [v.re, v.im]).collect(),
        DType::String => m.string_val = tensor.strings()?.to_vec(),
        other => m.int_val = tensor.clone().with_dtype(other.storage()).to_i64s()?.iter().map(|&v| v as i32).collect(),
    }
    Ok(m)
}
