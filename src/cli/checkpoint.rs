//! Named tensors in files, read and written one at a time: checkpoints, `.npz`, `.safetensors`.

use super::source::Source;
use crate::bundle::{BundleWriter, CheckpointReader, Variables, io_error};
use crate::error::{Error, Result, bail};
use crate::numpy;
use crate::tensor::{DType, Shape, Tensor};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use zip::write::SimpleFileOptions;

/// The header of a `.safetensors` file may be as long as this.
const LONGEST_HEADER: u64 = 100 << 20;

const SAFE_TYPES: &[(&str, DType)] = &[
    ("BOOL", DType::Bool),
    ("U8", DType::Uint8),
    ("I8", DType::Int8),
    ("I16", DType::Int16),
    ("U16", DType::Uint16),
    ("F16", DType::Half),
    ("BF16", DType::Bfloat16),
    ("I32", DType::Int32),
    ("U32", DType::Uint32),
    ("F32", DType::Float),
    ("F64", DType::Double),
    ("I64", DType::Int64),
    ("U64", DType::Uint64),
    ("C64", DType::Complex64),
];

/// A file of named tensors.
pub(super) enum Values {
    Checkpoint(CheckpointReader),
    Npz(PathBuf, Mutex<zip::ZipArchive<BufReader<File>>>),
    Safe(SafeReader),
}

/// A `.safetensors` file: the length of a header, the header in JSON, then the bytes.
pub(super) struct SafeReader {
    path: PathBuf,
    file: Mutex<File>,
    entries: BTreeMap<String, (DType, Vec<usize>, u64, u64)>,
}

fn zip_error(path: &Path) -> impl Fn(zip::result::ZipError) -> Error {
    move |e| Error::data_loss(format!("bad .npz file: {e}")).within(path.display().to_string())
}

impl SafeReader {
    fn open(path: &Path) -> Result<SafeReader> {
        let place = |e: Error| e.within(path.display().to_string());
        let mut file = File::open(path).map_err(|e| io_error(path, &e))?;
        let length = file.metadata().map_err(|e| io_error(path, &e))?.len();
        let mut start = [0u8; 8];
        file.read_exact(&mut start).map_err(|e| place(e.into()))?;
        let header_length = u64::from_le_bytes(start);
        if header_length > LONGEST_HEADER || header_length + 8 > length {
            return Err(place(Error::data_loss(format!("a header of {header_length} bytes in a file of {length}"))));
        }
        let mut header = vec![0u8; header_length as usize];
        file.read_exact(&mut header).map_err(|e| place(e.into()))?;
        let header: Value =
            serde_json::from_slice(&header).map_err(|e| place(Error::data_loss(format!("the header is no JSON: {e}"))))?;
        let Some(header) = header.as_object() else { return Err(place(Error::data_loss("the header is no object"))) };
        let mut entries = BTreeMap::new();
        for (name, entry) in header.iter().filter(|(n, _)| *n != "__metadata__") {
            let parsed = SafeReader::entry(entry, 8 + header_length, length);
            entries.insert(name.clone(), parsed.map_err(|e| place(e.within(format!("tensor {name}"))))?);
        }
        Ok(SafeReader { path: path.into(), file: Mutex::new(file), entries })
    }

    fn entry(entry: &Value, start: u64, length: u64) -> Result<(DType, Vec<usize>, u64, u64)> {
        let name = entry["dtype"].as_str().unwrap_or_default();
        let Some(&(_, dtype)) = SAFE_TYPES.iter().find(|t| t.0 == name) else {
            bail!(Unimplemented, "the dtype {name:?} isn't known");
        };
        let number = |v: &Value| v.as_u64().ok_or_else(|| Error::data_loss(format!("expected a number, got {v}")));
        let list = |v: &Value| v.as_array().cloned().unwrap_or_default();
        let dims = list(&entry["shape"]).iter().map(|v| Ok(number(v)? as usize)).collect::<Result<Vec<_>>>()?;
        let offsets = list(&entry["data_offsets"]).iter().map(number).collect::<Result<Vec<_>>>()?;
        let bytes = crate::tensor::element_count(&dims)?.checked_mul(dtype.size()).map(|n| n as u64);
        match offsets[..] {
            [from, to] if from <= to && to <= length - start && Some(to - from) == bytes => {
                Ok((dtype, dims, start + from, to - from))
            }
            _ => bail!(DataLoss, "the offsets {offsets:?} don't fit {dtype}{dims:?} in a file of {length} bytes"),
        }
    }

    fn read(&self, name: &str) -> Result<Tensor> {
        let Some((dtype, dims, offset, length)) = self.entries.get(name) else {
            bail!(NotFound, "there is no tensor {name} in {}", self.path.display())
        };
        let mut bytes = vec![0u8; *length as usize];
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(*offset)).and_then(|_| file.read_exact(&mut bytes)).map_err(|e| io_error(&self.path, &e))?;
        Tensor::from_le_bytes(*dtype, dims, &bytes)
    }
}

impl Values {
    /// Opens what a source has of values.
    ///
    /// # Errors
    /// `InvalidArgument` for a source without values; what opening returns.
    pub fn open(source: &Source) -> Result<Values> {
        if let Some(path) = &source.arrays {
            if path.extension().is_some_and(|e| e == "safetensors") {
                return Ok(Values::Safe(SafeReader::open(path)?));
            }
            let file = File::open(path).map_err(|e| io_error(path, &e))?;
            let archive = zip::ZipArchive::new(BufReader::new(file)).map_err(zip_error(path))?;
            return Ok(Values::Npz(path.clone(), Mutex::new(archive)));
        }
        match source.reader()? {
            Some(reader) => Ok(Values::Checkpoint(reader)),
            None => bail!(InvalidArgument, "there are no values: {}", source.notes.join("; ")),
        }
    }

    /// The names, in the order of their names.
    ///
    /// # Errors
    /// `DataLoss` for a corrupt file.
    pub fn names(&self) -> Result<Vec<String>> {
        match self {
            Values::Checkpoint(reader) => Ok(reader.variables()?.into_keys().collect()),
            Values::Safe(reader) => Ok(reader.entries.keys().cloned().collect()),
            Values::Npz(path, archive) => {
                let archive = archive.lock().unwrap_or_else(PoisonError::into_inner);
                let stem = |n: &str| n.strip_suffix(".npy").unwrap_or(n).to_string();
                let mut names =
                    archive.file_names().map(|n| n.map(|n| stem(&n)).map_err(zip_error(path))).collect::<Result<Vec<_>>>()?;
                names.sort();
                Ok(names)
            }
        }
    }

    /// The dtypes and shapes by name. Of an `.npz` file every array is read for that.
    ///
    /// # Errors
    /// As [`Values::read`].
    pub fn variables(&self) -> Result<Variables> {
        match self {
            Values::Checkpoint(reader) => reader.variables(),
            Values::Safe(reader) => {
                Ok(reader.entries.iter().map(|(n, (dtype, dims, ..))| (n.clone(), (*dtype, Shape::known(dims)))).collect())
            }
            Values::Npz(..) => {
                let one = |n: String| self.read(&n).map(|t| (n, (t.dtype(), t.shape())));
                self.names()?.into_iter().map(one).collect()
            }
        }
    }

    /// Reads a tensor.
    ///
    /// # Errors
    /// `NotFound` if there is none of that name, `DataLoss` if it is corrupt.
    pub fn read(&self, name: &str) -> Result<Tensor> {
        match self {
            Values::Checkpoint(reader) => reader.read(name),
            Values::Safe(reader) => reader.read(name),
            Values::Npz(path, archive) => {
                let mut archive = archive.lock().unwrap_or_else(PoisonError::into_inner);
                let stored = [format!("{name}.npy"), name.to_string()].into_iter().find(|n| archive.index_for_name(n).is_some());
                let Some(stored) = stored else { bail!(NotFound, "there is no array {name} in {}", path.display()) };
                let entry = archive.by_name(&stored).map_err(zip_error(path))?;
                numpy::read_npy(entry).map_err(|e| e.within(format!("array {name} of {}", path.display())))
            }
        }
    }
}

/// A file of named tensors that is being written. It appears under its name when it is whole.
pub(super) enum Sink {
    Checkpoint(BundleWriter),
    Npz(Box<zip::ZipWriter<BufWriter<File>>>, Partial),
    Safe(BufWriter<File>, Partial),
}

/// A file under a temporary name.
pub(super) struct Partial {
    path: PathBuf,
    partial: PathBuf,
    done: bool,
}

impl Partial {
    fn create(path: &Path) -> Result<(Partial, BufWriter<File>)> {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let partial = path.with_file_name(format!(".{name}.partial"));
        let file = File::create(&partial).map_err(|e| io_error(path, &e))?;
        Ok((Partial { path: path.into(), partial, done: false }, BufWriter::new(file)))
    }

    fn commit(mut self) -> Result<()> {
        std::fs::rename(&self.partial, &self.path).map_err(|e| io_error(&self.path, &e))?;
        self.done = true;
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.done {
            let _ = std::fs::remove_file(&self.partial);
        }
    }
}

/// The tensors in the order in which a `.safetensors` file has them: wide dtypes first, so that all are aligned.
pub(super) fn order(variables: &Variables) -> Vec<&String> {
    let mut names: Vec<&String> = variables.keys().collect();
    names.sort_by_key(|n| std::cmp::Reverse(variables[*n].0.size()));
    names
}

impl Sink {
    /// Begins a file of the kind that its name says: `.npz`, `.safetensors`, or else a checkpoint's prefix. The tensors of
    /// a `.safetensors` file must come in the given [`order`].
    ///
    /// # Errors
    /// `InvalidArgument` for a dtype that the file can't hold; what the file system says.
    pub fn create(path: &str, variables: &Variables) -> Result<Sink> {
        let at = Path::new(path);
        match at.extension().and_then(|e| e.to_str()) {
            Some("npz") => {
                let (partial, file) = Partial::create(at)?;
                Ok(Sink::Npz(Box::new(zip::ZipWriter::new(file)), partial))
            }
            Some("safetensors") => {
                let header = safe_header(variables).map_err(|e| e.within(path.to_string()))?;
                let (partial, mut file) = Partial::create(at)?;
                let length = (header.len() as u64).to_le_bytes();
                file.write_all(&length).and_then(|()| file.write_all(header.as_bytes())).map_err(|e| io_error(at, &e))?;
                Ok(Sink::Safe(file, partial))
            }
            _ => Ok(Sink::Checkpoint(BundleWriter::new(at)?)),
        }
    }

    /// Adds a tensor.
    ///
    /// # Errors
    /// What writing returns.
    pub fn add(&mut self, name: &str, tensor: &Tensor) -> Result<()> {
        match self {
            Sink::Checkpoint(writer) => writer.add(name, tensor),
            Sink::Npz(archive, partial) => {
                let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored).large_file(true);
                archive.start_file(format!("{name}.npy"), options).map_err(zip_error(&partial.path))?;
                numpy::write_npy(archive, tensor).map_err(|e| e.within(format!("tensor {name}")))
            }
            Sink::Safe(file, partial) => file.write_all(&tensor.to_le_bytes()?).map_err(|e| io_error(&partial.path, &e)),
        }
    }

    /// Puts the file in place.
    ///
    /// # Errors
    /// What writing returns.
    pub fn finish(self) -> Result<()> {
        match self {
            Sink::Checkpoint(writer) => writer.finish(),
            Sink::Npz(archive, partial) => {
                let mut file = archive.finish().map_err(zip_error(&partial.path))?;
                file.flush().map_err(|e| io_error(&partial.path, &e))?;
                partial.commit()
            }
            Sink::Safe(mut file, partial) => {
                file.flush().map_err(|e| io_error(&partial.path, &e))?;
                partial.commit()
            }
        }
    }
}

/// The header of a `.safetensors` file, padded so that the data begins at a multiple of 8.
fn safe_header(variables: &Variables) -> Result<String> {
    let mut header = serde_json::Map::new();
    header.insert("__metadata__".into(), json!({ "format": "tf" }));
    let mut offset = 0u64;
    for name in order(variables) {
        let (dtype, shape) = &variables[name];
        let Some(&(code, _)) = SAFE_TYPES.iter().find(|t| t.1 == *dtype) else {
            bail!(InvalidArgument, "a .safetensors file can't hold {name}, which is of {dtype}: write an .npz file");
        };
        let dims = shape.to_dims().unwrap_or_default();
        let end = offset + (crate::tensor::element_count(&dims)? * dtype.size()) as u64;
        header.insert(name.clone(), json!({ "dtype": code, "shape": &dims[..], "data_offsets": [offset, end] }));
        offset = end;
    }
    let mut text = Value::Object(header).to_string();
    text.push_str(&" ".repeat((8 - text.len() % 8) % 8));
    Ok(text)
}
