//! Named tensors in files, read and written one at a time: checkpoints, `.npz`, `.safetensors`.

use super::source::Source;
use crate::bundle::{BundleWriter, CheckpointReader, Variables, io_error};
use crate::error::{Error, Result, bail};
use crate::numpy;
use crate::safetensors::{SafetensorsReader, SafetensorsWriter};
use crate::tensor::Tensor;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use zip::write::SimpleFileOptions;

/// A file of named tensors.
pub(super) enum Values {
    Checkpoint(CheckpointReader),
    Npz(PathBuf, Mutex<zip::ZipArchive<BufReader<File>>>),
    Safe(SafetensorsReader),
}

fn zip_error(path: &Path) -> impl Fn(zip::result::ZipError) -> Error {
    move |e| Error::data_loss(format!("bad .npz file: {e}")).within(path.display().to_string())
}

impl Values {
    /// Opens what a source has of values.
    ///
    /// # Errors
    /// `InvalidArgument` for a source without values; what opening returns.
    pub fn open(source: &Source) -> Result<Values> {
        if let Some(path) = &source.arrays {
            if path.extension().is_some_and(|e| e == "safetensors") {
                return Ok(Values::Safe(SafetensorsReader::open(path)?));
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
            Values::Safe(reader) => Ok(reader.variables().into_keys().collect()),
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
            Values::Safe(reader) => Ok(reader.variables()),
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
    Safe(SafetensorsWriter),
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
            Some("safetensors") => Ok(Sink::Safe(SafetensorsWriter::create(at, variables)?)),
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
                numpy::write_npy(&mut **archive, tensor).map_err(|e| e.within(format!("tensor {name}")))
            }
            Sink::Safe(writer) => writer.add(name, tensor),
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
            Sink::Safe(writer) => writer.finish(),
        }
    }
}
