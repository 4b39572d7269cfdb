//! One front for checkpoints of both versions.

use super::{BundleReader, TensorSlice, TensorSliceReader, Variables, index_filename};
use crate::error::{Result, bail};
use crate::tensor::{DType, Dims, Tensor};
use std::path::{Path, PathBuf};

/// Reads the tensors of a checkpoint, whatever its version.
///
/// ```
/// use metagraph::bundle::CheckpointReader;
/// let error = CheckpointReader::open("no/such/model").err().unwrap();
/// assert_eq!(error.code(), metagraph::Code::NotFound);
/// ```
pub enum CheckpointReader {
    /// A V2 checkpoint.
    V2(BundleReader),
    /// A V1 checkpoint.
    V1(TensorSliceReader),
}

impl CheckpointReader {
    /// Opens a checkpoint by its prefix, as `Saver.save` returns it, or by one of its files (`.index`, `.data-*`, a V1
    /// file or shard, a pattern of V1 shards).
    ///
    /// # Errors
    /// `NotFound` with the path if there is no such checkpoint; what [`BundleReader::open`] and
    /// [`TensorSliceReader::open`] give.
    pub fn open(path: impl AsRef<Path>) -> Result<CheckpointReader> {
        let path = path.as_ref();
        if let Some(prefix) = v2_prefix(path) {
            return Ok(CheckpointReader::V2(BundleReader::open(prefix)?));
        }
        let Some(pattern) = path.to_str() else {
            bail!(InvalidArgument, "a checkpoint's path must be UTF-8, got {}", path.display());
        };
        match TensorSliceReader::open(pattern) {
            Err(e) if e.code() == crate::error::Code::NotFound => {
                // The shards of a V1 checkpoint that is named without them.
                let shards = TensorSliceReader::open(&format!("{pattern}-?????-of-?????"));
                shards.map(CheckpointReader::V1).map_err(|_| e)
            }
            result => result.map(CheckpointReader::V1),
        }
    }

    /// All tensors in the order of their names, each with its element type and shape. Slices that are stored apart
    /// count as the tensor that they are parts of.
    ///
    /// # Errors
    /// `DataLoss` or `InvalidArgument` if an entry is corrupt or of an unknown dtype.
    pub fn variables(&self) -> Result<Variables> {
        match self {
            CheckpointReader::V2(reader) => reader.variables(),
            CheckpointReader::V1(reader) => reader.variables(),
        }
    }

    /// True if there is a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        match self {
            CheckpointReader::V2(reader) => reader.contains(name),
            CheckpointReader::V1(reader) => reader.contains(name),
        }
    }

    /// The element type and the dimensions of a tensor, those of the whole if it is stored in slices.
    ///
    /// # Errors
    /// `NotFound` if there is no such tensor; `DataLoss` if its entry is corrupt.
    pub fn dtype_and_dims(&self, name: &str) -> Result<(DType, Dims)> {
        match self {
            CheckpointReader::V2(reader) => reader.dtype_and_dims(name),
            CheckpointReader::V1(reader) => reader.dtype_and_dims(name),
        }
    }

    /// Reads a tensor, assembled if it is stored in slices.
    ///
    /// # Errors
    /// `NotFound` if there is no such tensor; `DataLoss` if it is corrupt; see [`BundleReader::read`].
    pub fn read(&self, name: &str) -> Result<Tensor> {
        match self {
            CheckpointReader::V2(reader) => reader.read(name),
            CheckpointReader::V1(reader) => reader.read(name),
        }
    }

    /// Reads a slice of a tensor, whatever slices it is stored in.
    ///
    /// # Errors
    /// As [`CheckpointReader::read`]; `Internal` (TensorFlow's code) if the slice isn't within the tensor.
    pub fn read_slice(&self, name: &str, slice: &TensorSlice) -> Result<Tensor> {
        match self {
            CheckpointReader::V2(reader) => reader.read_slice(name, slice),
            CheckpointReader::V1(reader) => reader.read_slice(name, slice),
        }
    }
}

/// The prefix of the V2 checkpoint that a path names, if there is one.
fn v2_prefix(path: &Path) -> Option<PathBuf> {
    if index_filename(path).is_file() {
        return Some(path.into());
    }
    let text = path.to_str()?;
    let prefix = text.strip_suffix(".index").or_else(|| {
        let (prefix, shard) = text.rsplit_once(".data-")?;
        let (shard, of) = shard.split_once("-of-")?;
        let number = |s: &str| s.len() >= 5 && s.bytes().all(|b| b.is_ascii_digit() || b == b'?');
        (number(shard) && number(of)).then_some(prefix)
    })?;
    index_filename(Path::new(prefix)).is_file().then(|| prefix.into())
}
