//! Reading a V2 checkpoint.

use super::coding::unmask;
use super::data::{read_bytes, read_runs, read_strings, unpack_int4};
use super::file::ReadFile;
use super::ordered_code::encode_tensor_name_slice;
use super::runs::{Runs, select};
use super::table::Table;
use super::{TensorSlice, VERSION, Variables, check_versions, data_filename, index_filename};
use crate::error::{Error, Result, bail};
use crate::proto::bundle_header_proto::Endianness;
use crate::proto::{BundleEntryProto, BundleHeaderProto, TensorShapeProto};
use crate::tensor::{DType, Dims, Shape, Tensor, element_count};
use bytes::Bytes;
use prost::Message;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

type RawEntry = (Box<[u8]>, Bytes);

/// Reads the tensors of a V2 checkpoint (`PREFIX.index` and `PREFIX.data-?????-of-?????`).
///
/// The index is read when the checkpoint is opened, a data file when its first tensor is. Several threads may read
/// from one reader.
pub struct BundleReader {
    prefix: PathBuf,
    num_shards: i32,
    entries: Vec<RawEntry>,
    shards: Mutex<HashMap<i32, Arc<ReadFile>>>,
}

/// What the index says of a tensor, or of a stored slice.
struct Entry {
    dtype: DType,
    dims: Dims,
    shard: i32,
    offset: u64,
    size: u64,
    crc: u32,
    slices: Vec<TensorSlice>,
}

impl Entry {
    fn decode(key: &str, value: &Bytes) -> Result<Entry> {
        let Ok(message) = BundleEntryProto::decode(value.clone()) else {
            bail!(DataLoss, "Entry for key {key} not parseable.");
        };
        let dtype = DType::try_from_number(message.dtype)?;
        let dims = decode_dims(message.shape.as_ref());
        let Some(dims) = dims.filter(|d| element_count(d).is_ok()) else {
            bail!(DataLoss, "Invalid tensor shape: {key} {:?}", message.shape.unwrap_or_default());
        };
        let (Ok(offset), Ok(size)) = (u64::try_from(message.offset), u64::try_from(message.size)) else {
            bail!(DataLoss, "Invalid offset {} or size {} in bundle entry: key {key}", message.offset, message.size);
        };
        let slices = message.slices.iter().map(TensorSlice::from_message).collect::<Result<_>>()?;
        Ok(Entry { dtype, dims, shard: message.shard_id, offset, size, crc: unmask(message.crc32c), slices })
    }
}

/// The dimensions of a stored tensor; `None` if they aren't known.
pub(super) fn decode_dims(shape: Option<&TensorShapeProto>) -> Option<Dims> {
    shape.map_or(Some(Dims::new()), |s| Shape::from_message(s).to_dims())
}

/// The header, which is the entry of the empty key, and the first.
pub(super) fn read_header(table: &Table, first: Option<RawEntry>) -> Result<BundleHeaderProto> {
    let corrupt = |detail: &str| {
        Error::data_loss(format!(
            "Unable to read file ({}). Perhaps the file is corrupt or was produced by a newer version of TensorFlow \
             with format changes ({detail})",
            table.path().display()
        ))
    };
    let Some((_, value)) = first.filter(|(key, _)| key.is_empty()) else {
        return Err(corrupt("failed to seek to header entry"));
    };
    let header = BundleHeaderProto::decode(value).map_err(|_| corrupt("unable to parse header"))?;
    if header.endianness != Endianness::Little as i32 {
        bail!(Unimplemented, "TensorBundle {} is big-endian; only little-endian ones can be read", table.path().display());
    }
    check_versions(header.version.as_ref(), VERSION).map_err(|e| e.within(table.path().display().to_string()))?;
    Ok(header)
}

impl BundleReader {
    /// Opens the checkpoint with this prefix.
    ///
    /// # Errors
    /// `NotFound` if there is no index; `DataLoss` if it is corrupt; `InvalidArgument` if it needs a newer reader;
    /// `Unimplemented` if it is big-endian.
    pub fn open(prefix: impl AsRef<Path>) -> Result<BundleReader> {
        let prefix = prefix.as_ref().to_path_buf();
        let table = Table::open(index_filename(&prefix))?;
        let mut entries = table.entries()?;
        let first = (!entries.is_empty()).then(|| entries.remove(0));
        let header = read_header(&table, first)?;
        Ok(BundleReader { prefix, num_shards: header.num_shards, entries, shards: Mutex::default() })
    }

    /// The prefix of the checkpoint's files.
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    fn find(&self, key: &[u8]) -> Option<&Bytes> {
        let i = self.entries.binary_search_by(|(k, _)| (**k).cmp(key)).ok()?;
        Some(&self.entries[i].1)
    }

    fn entry(&self, key: &str) -> Result<Entry> {
        match self.find(key.as_bytes()) {
            Some(value) => Entry::decode(key, value).map_err(|e| self.place(e)),
            None => bail!(NotFound, "Key {key} not found in checkpoint"),
        }
    }

    fn place(&self, error: Error) -> Error {
        error.within(index_filename(&self.prefix).display().to_string())
    }

    /// True if there is a tensor with this key.
    pub fn contains(&self, key: &str) -> bool {
        self.find(key.as_bytes()).is_some()
    }

    /// The element type and the dimensions of a tensor, those of the whole if it is stored in slices.
    ///
    /// # Errors
    /// `NotFound` if there is no such key; `DataLoss` if its entry is corrupt.
    pub fn dtype_and_dims(&self, key: &str) -> Result<(DType, Dims)> {
        let entry = self.entry(key)?;
        Ok((entry.dtype, entry.dims))
    }

    /// The slices in which a tensor is stored; none if it is whole.
    ///
    /// # Errors
    /// As [`BundleReader::dtype_and_dims`].
    pub fn slices(&self, key: &str) -> Result<Vec<TensorSlice>> {
        Ok(self.entry(key)?.slices)
    }

    /// All tensors, in the order of their keys. The entries of stored slices are left out.
    ///
    /// # Errors
    /// `DataLoss` if an entry is corrupt or a key isn't UTF-8.
    pub fn variables(&self) -> Result<Variables> {
        let mut variables = Variables::new();
        let mut slices = HashSet::new();
        let mut add = |key: &[u8], value: &Bytes| {
            let Ok(name) = std::str::from_utf8(key) else {
                bail!(DataLoss, "the key {} isn't UTF-8", key.escape_ascii());
            };
            let entry = Entry::decode(name, value)?;
            variables.insert(name.to_string(), (entry.dtype, Shape::known(&entry.dims)));
            Ok(entry.slices.iter().map(|s| encode_tensor_name_slice(name, s)).collect::<Vec<_>>())
        };
        // The keys of slices start with a byte 0, so that they come first.
        let names = self.entries.partition_point(|(key, _)| key.first() == Some(&0));
        for (key, value) in &self.entries[names..] {
            slices.extend(add(key, value).map_err(|e| self.place(e))?);
        }
        for (key, value) in &self.entries[..names] {
            if !slices.contains(&**key) {
                add(key, value).map_err(|e| self.place(e))?;
            }
        }
        Ok(variables)
    }

    fn shard(&self, entry: &Entry) -> Result<Arc<ReadFile>> {
        let mut shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = shards.get(&entry.shard) {
            return Ok(file.clone());
        }
        let file = Arc::new(ReadFile::open(&data_filename(&self.prefix, entry.shard, self.num_shards))?);
        shards.insert(entry.shard, file.clone());
        Ok(file)
    }

    /// Checks that the entry's size fits its dtype and shape and its file, before anything is allocated for it.
    fn open_data(&self, key: &str, entry: &Entry) -> Result<Arc<ReadFile>> {
        match entry.dtype {
            DType::Resource | DType::Variant => {
                bail!(Unimplemented, "Restoring data type {} not yet supported: key {key}", entry.dtype)
            }
            DType::String => {}
            _ => {
                let expected = element_count(&entry.dims)?.checked_mul(entry.dtype.size()).map(|n| n as u64);
                if expected != Some(entry.size) {
                    let error = Error::data_loss(format!(
                        "Invalid size in bundle entry: key {key}; stored size {}; expected size {}",
                        entry.size,
                        expected.map_or("past 2**64".into(), |n| n.to_string())
                    ));
                    return Err(self.place(error));
                }
            }
        }
        let file = self.shard(entry)?;
        file.check_range(entry.offset, entry.size).map_err(|e| e.within(format!("key {key}")))?;
        Ok(file)
    }

    fn verify(&self, key: &str, entry: &Entry, crc: u32) -> Result<()> {
        if crc != entry.crc {
            let error = Error::data_loss(format!(
                "TensorBundle at {} shard {} ({} bytes): Checksum does not match: stored {} vs. calculated on the \
                 restored bytes {crc}",
                self.prefix.display(),
                entry.shard,
                entry.size,
                entry.crc
            ));
            return Err(self.data_place(error, key, entry));
        }
        Ok(())
    }

    fn data_place(&self, error: Error, key: &str, entry: &Entry) -> Error {
        let path = data_filename(&self.prefix, entry.shard, self.num_shards);
        error.within(format!("key {key}, {} at offset {}", path.display(), entry.offset))
    }

    /// Reads a tensor, assembled if it is stored in slices, and verifies its checksum.
    ///
    /// # Errors
    /// `NotFound` if there is no such key or its data file is missing; `DataLoss` if the entry or the data are corrupt;
    /// `OutOfRange` (TensorFlow's code) if the data file is too short; `Unimplemented` for resources and variants;
    /// `InvalidArgument` if slices are missing.
    pub fn read(&self, key: &str) -> Result<Tensor> {
        let entry = self.entry(key)?;
        if entry.slices.is_empty() { self.read_entry(key, &entry) } else { self.assemble(key, &entry, None) }
    }

    /// Reads a slice of a tensor, whatever slices it is stored in.
    ///
    /// # Errors
    /// As [`BundleReader::read`]; `Internal` (TensorFlow's code) if the slice isn't within the tensor.
    pub fn read_slice(&self, key: &str, slice: &TensorSlice) -> Result<Tensor> {
        let entry = self.entry(key)?;
        slice.slice_dims(&entry.dims)?;
        if entry.slices.is_empty() && slice.covers(&entry.dims) {
            return self.read_entry(key, &entry);
        }
        self.assemble(key, &entry, Some(slice))
    }

    fn read_entry(&self, key: &str, entry: &Entry) -> Result<Tensor> {
        let file = self.open_data(key, entry)?;
        if entry.dtype == DType::String {
            let (strings, crc) = read_strings(&file, entry.offset, entry.size, element_count(&entry.dims)?)
                .map_err(|e| self.data_place(e, key, entry))?;
            self.verify(key, entry, crc)?;
            return Tensor::from_strings(&entry.dims, strings);
        }
        let mut tensor = Tensor::uninit(entry.dtype, &entry.dims)?;
        let crc = read_bytes(&file, tensor.bytes_mut()?, entry.offset)?;
        self.verify(key, entry, crc)?;
        self.finish(tensor, key)
    }

    /// Turns the file's bytes into the tensor's. A bool that is neither 0 nor 1 would be undefined behaviour.
    fn finish(&self, mut tensor: Tensor, key: &str) -> Result<Tensor> {
        if matches!(tensor.dtype(), DType::Int4 | DType::Uint4) {
            let signed = tensor.dtype() == DType::Int4;
            unpack_int4(tensor.bytes_mut()?, signed);
        }
        if tensor.dtype() == DType::Bool && tensor.bytes()?.iter().any(|&b| b > 1) {
            bail!(DataLoss, "a bool is neither 0 nor 1: key {key} of {}", self.prefix.display());
        }
        if cfg!(target_endian = "big") {
            return Tensor::from_le_bytes(tensor.dtype(), tensor.dims(), tensor.bytes()?);
        }
        Ok(tensor)
    }

    /// Reads a slice, or all, from the stored slices.
    fn assemble(&self, key: &str, full: &Entry, wanted: Option<&TensorSlice>) -> Result<Tensor> {
        let whole = TensorSlice::full(full.dims.len());
        let wanted = wanted.unwrap_or(&whole);
        let stored = if full.slices.is_empty() { std::slice::from_ref(&whole) } else { &full.slices[..] };
        let mut parts = Vec::new();
        let mut files: HashMap<i32, u64> = HashMap::new();
        let mut total = 0u64;
        for i in select(key, &full.dims, stored, wanted)? {
            let slice = &stored[i];
            let entry = if full.slices.is_empty() { self.entry(key)? } else { self.slice_entry(key, full, slice)? };
            let file = self.open_data(key, &entry)?;
            total = total.saturating_add(entry.size);
            files.insert(entry.shard, file.len());
            parts.push((slice, entry, file));
        }
        // The tensor may have as many bytes as its slices, and these as many as there are in the files.
        if total > files.values().sum() {
            let error = Error::data_loss(format!("the slices of key {key} have {total} bytes, more than the data files"));
            return Err(self.place(error));
        }
        let dims = wanted.slice_dims(&full.dims)?;
        if full.dtype == DType::String {
            let mut strings = vec![Bytes::new(); element_count(&dims)?];
            for (slice, entry, _) in &parts {
                let part = self.read_entry(key, entry)?;
                for run in Runs::new(&full.dims, slice, wanted) {
                    strings[run.destination..][..run.len].clone_from_slice(&part.strings()?[run.source..][..run.len]);
                }
            }
            return Tensor::from_strings(&dims, strings);
        }
        let width = full.dtype.size();
        let mut tensor = Tensor::uninit(full.dtype, &dims)?;
        let bytes = tensor.bytes_mut()?;
        for (slice, entry, file) in &parts {
            let mut runs = Runs::new(&full.dims, slice, wanted);
            let first = runs.next();
            let size = entry.size as usize;
            let crc = match first {
                Some(run) if run.len * width == size => {
                    read_bytes(file, &mut bytes[run.destination * width..][..size], entry.offset)?
                }
                _ => {
                    let runs = Runs::new(&full.dims, slice, wanted);
                    read_runs(file, (entry.offset, size), width, runs, bytes)?
                }
            };
            self.verify(key, entry, crc)?;
        }
        self.finish(tensor, key)
    }

    fn slice_entry(&self, key: &str, full: &Entry, slice: &TensorSlice) -> Result<Entry> {
        let Some(value) = self.find(&encode_tensor_name_slice(key, slice)) else {
            bail!(NotFound, "Key {key} not found in checkpoint: its slice {slice} is missing");
        };
        let entry = Entry::decode(key, value).map_err(|e| self.place(e))?;
        let dims = slice.slice_dims(&full.dims)?;
        if entry.dtype != full.dtype || entry.dims != dims || !entry.slices.is_empty() {
            let error = Error::data_loss(format!(
                "slice {slice} of key {key}: expected {} of {:?}, got {} of {:?}",
                full.dtype, dims, entry.dtype, entry.dims
            ));
            return Err(self.place(error));
        }
        Ok(entry)
    }
}
