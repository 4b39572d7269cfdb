//! Writing a V2 checkpoint.

use super::coding::mask;
use super::data::{DataWriter, pack_int4};
use super::file::{TempFile, create_directory_of};
use super::ordered_code::encode_tensor_name_slice;
use super::slice::check_saved;
use super::table::{Compression, TableWriter};
use super::{TensorSlice, VERSION, data_filename, index_filename};
use crate::error::{Result, bail};
use crate::proto::{BundleEntryProto, BundleHeaderProto, VersionDef};
use crate::tensor::{DType, Shape, Tensor, element_count};
use prost::Message;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// How a [`BundleWriter`] writes.
#[derive(Clone, Copy, Debug)]
pub struct BundleWriterOptions {
    /// Each tensor's bytes start at a multiple of this in the data file; 1 packs them densely, as TensorFlow does.
    pub data_alignment: u64,
    /// Whether [`BundleWriter::finish`] waits until the bytes are on the disk. Without, a checkpoint survives the
    /// process, as TensorFlow's does, but not for certain a power failure.
    pub sync: bool,
}

impl Default for BundleWriterOptions {
    fn default() -> BundleWriterOptions {
        BundleWriterOptions { data_alignment: 1, sync: false }
    }
}

/// Writes tensors as a V2 checkpoint of one shard: `PREFIX.index` and `PREFIX.data-00000-of-00001`, byte for byte
/// TensorFlow's.
///
/// Both files are written under temporary names. [`BundleWriter::finish`] gives them their names when they are whole;
/// without it they are deleted, and an earlier checkpoint under the prefix stays as it was.
///
/// ```
/// use metagraph::bundle::{BundleReader, BundleWriter};
/// use metagraph::Tensor;
/// # let dir = std::env::temp_dir().join(format!("metagraph-doc-writer-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir)?;
/// let prefix = dir.join("model");
/// let mut writer = BundleWriter::new(&prefix)?;
/// writer.add("weights", &Tensor::new(&[2, 2], vec![1f32, 2.0, 3.0, 4.0])?)?;
/// writer.finish()?;
/// let reader = BundleReader::open(&prefix)?;
/// assert_eq!(reader.read("weights")?.to_string(), "f32[[1 2] [3 4]]");
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok::<(), metagraph::Error>(())
/// ```
pub struct BundleWriter {
    prefix: PathBuf,
    options: BundleWriterOptions,
    data: DataWriter,
    entries: BTreeMap<Vec<u8>, BundleEntryProto>,
}

impl BundleWriter {
    /// A writer for a prefix, whose directory is created if only that is missing.
    ///
    /// # Errors
    /// `NotFound`, `FailedPrecondition`, `PermissionDenied` or what else the file system says, with the path.
    pub fn new(prefix: impl AsRef<Path>) -> Result<BundleWriter> {
        BundleWriter::with_options(prefix, BundleWriterOptions::default())
    }

    /// A writer with options.
    ///
    /// # Errors
    /// As [`BundleWriter::new`], and `InvalidArgument` for an alignment of 0.
    pub fn with_options(prefix: impl AsRef<Path>, options: BundleWriterOptions) -> Result<BundleWriter> {
        if options.data_alignment == 0 {
            bail!(InvalidArgument, "data_alignment must be at least 1, got 0");
        }
        let prefix = prefix.as_ref().to_path_buf();
        create_directory_of(&prefix)?;
        let data = DataWriter::new(TempFile::create(&data_filename(&prefix, 0, 1))?);
        Ok(BundleWriter { prefix, options, data, entries: BTreeMap::new() })
    }

    /// Adds a tensor.
    ///
    /// # Errors
    /// `InvalidArgument` if the key is empty or was added before; `Unimplemented` for resources and variants; what the
    /// file system says.
    pub fn add(&mut self, key: &str, tensor: &Tensor) -> Result<()> {
        self.add_entry(key.as_bytes(), key, tensor)
    }

    fn add_entry(&mut self, key: &[u8], name: &str, tensor: &Tensor) -> Result<()> {
        if key.is_empty() {
            bail!(InvalidArgument, "a tensor's key in a checkpoint can't be empty");
        }
        if self.entries.contains_key(key) {
            bail!(InvalidArgument, "Adding duplicate key: {}", key.escape_ascii());
        }
        let offset = self.data.position();
        let crc = match tensor.dtype() {
            DType::String => self.data.append_strings(tensor.strings()?)?,
            DType::Resource | DType::Variant => {
                bail!(Unimplemented, "Saving data type {} not yet supported: {name}", tensor.dtype())
            }
            DType::Int4 | DType::Uint4 => self.data.append(&pack_int4(tensor.bytes()?), 0)?,
            _ => self.data.append(&tensor.to_le_bytes()?, 0)?,
        };
        let entry = BundleEntryProto {
            dtype: tensor.dtype().number(),
            shape: Some(tensor.shape().to_message()),
            offset: offset as i64,
            size: (self.data.position() - offset) as i64,
            crc32c: mask(crc),
            ..BundleEntryProto::default()
        };
        self.data.pad(self.options.data_alignment)?;
        self.entries.insert(key.to_vec(), entry);
        Ok(())
    }

    /// Adds one slice of a tensor whose whole has the given dimensions. A slice that is the whole is added as
    /// [`BundleWriter::add`] does. The slices of one tensor may come in any order, and from several writers whose
    /// bundles are merged later; that they don't overlap is checked when they are read.
    ///
    /// # Errors
    /// As [`BundleWriter::add`]; `Internal` (TensorFlow's code) if the slice isn't within the whole; `InvalidArgument`
    /// if the tensor doesn't have the slice's dimensions, or its dtype or whole differs from an earlier slice's.
    pub fn add_slice(&mut self, key: &str, full_dims: &[usize], slice: &TensorSlice, tensor: &Tensor) -> Result<()> {
        element_count(full_dims)?;
        check_saved(full_dims, slice, tensor)?;
        let full_shape = Shape::known(full_dims);
        if slice.covers(full_dims) {
            return self.add(key, tensor);
        }
        let number = tensor.dtype().number();
        if let Some(full) = self.entries.get(key.as_bytes()) {
            if full.slices.is_empty() {
                bail!(InvalidArgument, "Adding duplicate key: {key}");
            }
            let shape = full.shape.as_ref().map(Shape::from_message).unwrap_or_default();
            if full.dtype != number || shape != full_shape {
                let dtype = DType::try_from_number(full.dtype)?;
                bail!(
                    InvalidArgument,
                    "the slices of {key} disagree: expected {dtype} of {shape}, got {} of {full_shape}",
                    tensor.dtype()
                );
            }
        }
        if key.is_empty() {
            bail!(InvalidArgument, "a tensor's key in a checkpoint can't be empty");
        }
        self.add_entry(&encode_tensor_name_slice(key, slice), key, tensor)?;
        let full = self.entries.entry(key.as_bytes().to_vec()).or_insert_with(|| BundleEntryProto {
            dtype: number,
            shape: Some(full_shape.to_message()),
            ..BundleEntryProto::default()
        });
        full.slices.push(slice.to_message());
        Ok(())
    }

    /// Writes the index and puts both files in place, each at once. Between the two steps a reader that has the old
    /// index may find the new data, which the checksums tell.
    ///
    /// # Errors
    /// What the file system says.
    pub fn finish(self) -> Result<()> {
        let BundleWriter { prefix, options, data, entries } = self;
        let header = BundleHeaderProto {
            num_shards: 1,
            version: Some(VersionDef { producer: VERSION, ..VersionDef::default() }),
            ..BundleHeaderProto::default()
        };
        let data = data.finish(options.sync)?;
        let index = write_index(&prefix, &header, &entries, options.sync)?;
        data.commit(options.sync)?;
        index.commit(options.sync)
    }
}

/// Writes an index under its temporary name.
pub(super) fn write_index(
    prefix: &Path,
    header: &BundleHeaderProto,
    entries: &BTreeMap<Vec<u8>, BundleEntryProto>,
    sync: bool,
) -> Result<TempFile> {
    let mut table = TableWriter::new(Vec::new(), Compression::None);
    table.add(b"", &header.encode_to_vec())?;
    for (key, entry) in entries {
        table.add(key, &entry.encode_to_vec())?;
    }
    let bytes = table.finish()?;
    let mut file = TempFile::create(&index_filename(prefix))?;
    file.append(&bytes)?;
    file.close(sync)?;
    Ok(file)
}
