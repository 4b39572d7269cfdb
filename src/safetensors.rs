//! Safetensors files: named tensors with a header in JSON.
//!
//! ```text
//! u64 little-endian   length of the header
//! header              {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}, padded with spaces
//! bytes               the tensors, little-endian, without gaps, at their offsets
//! ```
//!
//! ```
//! use metagraph::{Tensor, safetensors};
//! # let path = std::env::temp_dir().join(format!("metagraph-doc-{}.safetensors", std::process::id()));
//! safetensors::write(&path, [("w", &Tensor::from([1f32, 2.0])), ("step", &Tensor::scalar(7i64))])?;
//! let tensors = safetensors::read(&path)?;
//! assert_eq!(tensors["w"].to_string(), "f32[1 2]");
//! # std::fs::remove_file(&path)?;
//! # Ok::<(), metagraph::Error>(())
//! ```

use crate::bundle::{ReadFile, TempFile, Variables, io_error};
use crate::error::{Error, Result, bail};
use crate::tensor::{DType, Dims, Shape, Tensor, element_count};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// The header may be as long as this.
const LONGEST_HEADER: u64 = 100 << 20;

const DTYPES: &[(&str, DType)] = &[
    ("BOOL", DType::Bool),
    ("U8", DType::Uint8),
    ("I8", DType::Int8),
    ("F8_E5M2", DType::Float8E5m2),
    ("F8_E4M3", DType::Float8E4m3fn),
    ("I16", DType::Int16),
    ("U16", DType::Uint16),
    ("F16", DType::Half),
    ("BF16", DType::Bfloat16),
    ("I32", DType::Int32),
    ("U32", DType::Uint32),
    ("F32", DType::Float),
    ("C64", DType::Complex64),
    ("F64", DType::Double),
    ("I64", DType::Int64),
    ("U64", DType::Uint64),
];

/// Where a tensor lies in the file.
struct Entry {
    dtype: DType,
    dims: Dims,
    start: u64,
    size: u64,
}

/// Reads the tensors of a file one at a time.
pub struct SafetensorsReader {
    file: ReadFile,
    entries: BTreeMap<String, Entry>,
    metadata: BTreeMap<String, String>,
}

impl SafetensorsReader {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// `NotFound` where there is no such file, `DataLoss` for a header that is none or doesn't fit the file,
    /// `Unimplemented` for an element type that no tensor has.
    pub fn open(path: impl AsRef<Path>) -> Result<SafetensorsReader> {
        let path = path.as_ref();
        let place = |e: Error| e.within(path.display().to_string());
        let file = ReadFile::open(path)?;
        if file.len() < 8 {
            return Err(place(Error::data_loss(format!("a safetensors file of {} bytes", file.len()))));
        }
        let head = file.read_range(0, 8)?;
        let length = head.iter().rev().fold(0u64, |n, &b| n << 8 | u64::from(b));
        if length > LONGEST_HEADER || length > file.len() - 8 {
            return Err(place(Error::data_loss(format!("a header of {length} bytes in a file of {}", file.len()))));
        }
        let header = file.read_range(8, length)?;
        let (entries, metadata) = parse_header(&header, 8 + length, file.len()).map_err(place)?;
        Ok(SafetensorsReader { file, entries, metadata })
    }

    /// The dtypes and shapes by name.
    pub fn variables(&self) -> Variables {
        self.entries.iter().map(|(name, e)| (name.clone(), (e.dtype, Shape::known(&e.dims)))).collect()
    }

    /// What the file says of itself.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Reads a tensor.
    ///
    /// # Errors
    /// `NotFound` where there is none of that name; what reading returns.
    pub fn read(&self, name: &str) -> Result<Tensor> {
        let Some(entry) = self.entries.get(name) else {
            bail!(NotFound, "there is no tensor {name} in {}", self.file.path().display())
        };
        let bytes = self.file.read_range(entry.start, entry.size)?;
        Tensor::from_le_bytes(entry.dtype, &entry.dims, &bytes)
    }
}

fn parse_header(header: &[u8], start: u64, length: u64) -> Result<(BTreeMap<String, Entry>, BTreeMap<String, String>)> {
    let header: Value = serde_json::from_slice(header).map_err(|e| Error::data_loss(format!("the header is no JSON: {e}")))?;
    let Some(header) = header.as_object() else { bail!(DataLoss, "the header is no object") };
    let (mut entries, mut metadata) = (BTreeMap::new(), BTreeMap::new());
    for (name, value) in header {
        if name == "__metadata__" {
            let text = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_string);
            metadata = value.as_object().into_iter().flatten().map(|(k, v)| (k.clone(), text(v))).collect();
            continue;
        }
        let entry = parse_entry(value, start, length).map_err(|e| e.within(format!("tensor {name}")))?;
        entries.insert(name.clone(), entry);
    }
    let mut spans: Vec<(u64, u64)> = entries.values().map(|e: &Entry| (e.start, e.start + e.size)).collect();
    spans.sort_unstable();
    let end = spans.iter().try_fold(start, |end, &(from, to)| if from == end { Some(to) } else { None });
    if end != Some(length) {
        bail!(DataLoss, "the tensors don't fill the file without gaps and overlaps");
    }
    Ok((entries, metadata))
}

fn parse_entry(entry: &Value, start: u64, length: u64) -> Result<Entry> {
    let name = entry["dtype"].as_str().unwrap_or_default();
    let Some(&(_, dtype)) = DTYPES.iter().find(|t| t.0 == name) else {
        bail!(Unimplemented, "the dtype {name:?} isn't known");
    };
    let number = |v: &Value| v.as_u64().ok_or_else(|| Error::data_loss(format!("expected a number, got {v}")));
    let list = |key: &str| -> Result<Vec<u64>> {
        let Some(values) = entry[key].as_array() else { bail!(DataLoss, "expected the list '{key}', got {}", entry[key]) };
        values.iter().map(number).collect()
    };
    let too_large = |_| Error::data_loss("a dimension beyond the address space");
    let dims = list("shape")?.into_iter().map(|d| usize::try_from(d).map_err(too_large)).collect::<Result<Dims>>()?;
    let offsets = list("data_offsets")?;
    let bytes = element_count(&dims)?.checked_mul(dtype.size()).map(|n| n as u64);
    match offsets[..] {
        [from, to] if from <= to && to <= length - start && Some(to - from) == bytes => {
            Ok(Entry { dtype, dims, start: start + from, size: to - from })
        }
        _ => bail!(DataLoss, "the offsets {offsets:?} don't fit {dtype}{dims:?} in a file of {length} bytes"),
    }
}

/// The names in the order in which a file has the tensors: wide dtypes first, so that all are aligned.
pub fn order(variables: &Variables) -> Vec<&String> {
    let mut names: Vec<&String> = variables.keys().collect();
    names.sort_by_key(|n| std::cmp::Reverse(variables[*n].0.size()));
    names
}

/// Writes the tensors of a file one at a time. The file appears under its name when it is whole.
pub struct SafetensorsWriter {
    path: PathBuf,
    file: BufWriter<TempFile>,
    /// The tensors that are still to come.
    left: VecDeque<(String, DType, Dims)>,
}

impl SafetensorsWriter {
    /// Begins a file of these tensors, which are to be added in their [`order`].
    ///
    /// # Errors
    /// `InvalidArgument` for a dtype that the file can't hold or a shape that isn't known; what the file system returns.
    pub fn create(path: impl AsRef<Path>, variables: &Variables) -> Result<SafetensorsWriter> {
        let path = path.as_ref();
        let place = |e: Error| e.within(path.display().to_string());
        let mut header = Map::new();
        header.insert("__metadata__".into(), json!({ "format": "tf" }));
        let (mut offset, mut left) = (0u64, VecDeque::new());
        for name in order(variables) {
            let (dtype, shape) = &variables[name];
            let (dims, end) = extent(*dtype, shape, offset).map_err(|e| place(e.within(format!("tensor {name}"))))?;
            let code = DTYPES.iter().find(|t| t.1 == *dtype).map(|t| t.0).unwrap_or_default();
            header.insert(name.clone(), json!({ "dtype": code, "shape": &dims[..], "data_offsets": [offset, end] }));
            left.push_back((name.clone(), *dtype, dims));
            offset = end;
        }
        let mut text = Value::Object(header).to_string();
        text.push_str(&" ".repeat((8 - text.len() % 8) % 8));
        let mut writer = SafetensorsWriter { path: path.into(), file: BufWriter::new(TempFile::create(path)?), left };
        writer.put(&(text.len() as u64).to_le_bytes())?;
        writer.put(text.as_bytes())?;
        Ok(writer)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|e| io_error(&self.path, &e))
    }

    /// Adds the next tensor.
    ///
    /// # Errors
    /// `InvalidArgument` for another tensor than the one whose turn it is; what writing returns.
    pub fn add(&mut self, name: &str, tensor: &Tensor) -> Result<()> {
        match self.left.pop_front() {
            Some((next, dtype, dims)) if next == name && dtype == tensor.dtype() && dims[..] == *tensor.dims() => {}
            Some((next, dtype, dims)) => bail!(
                InvalidArgument,
                "expected the tensor {next} of {dtype}{dims:?}, got {name} of {}{:?}",
                tensor.dtype(),
                tensor.dims()
            ),
            None => bail!(InvalidArgument, "expected no more tensors, got {name}"),
        }
        self.put(&tensor.to_le_bytes()?)
    }

    /// Puts the file in place.
    ///
    /// # Errors
    /// `FailedPrecondition` where tensors are missing; what writing returns.
    pub fn finish(self) -> Result<()> {
        if let Some((name, ..)) = self.left.front() {
            bail!(FailedPrecondition, "the tensor {name} is missing in {}", self.path.display());
        }
        self.file.into_inner().map_err(|e| io_error(&self.path, e.error()))?.commit(false)
    }
}

/// The dimensions of a tensor, and the offset at which it ends.
fn extent(dtype: DType, shape: &Shape, offset: u64) -> Result<(Dims, u64)> {
    if !DTYPES.iter().any(|t| t.1 == dtype) {
        bail!(InvalidArgument, "a safetensors file can't hold {dtype}");
    }
    let Some(dims) = shape.to_dims() else { bail!(InvalidArgument, "the shape {shape} isn't known") };
    let bytes = element_count(&dims)?.checked_mul(dtype.size()).and_then(|n| offset.checked_add(n as u64));
    let Some(end) = bytes else { bail!(InvalidArgument, "the shape {shape} is too large") };
    Ok((dims, end))
}

/// Reads all tensors of a file, by name.
///
/// # Errors
/// As [`SafetensorsReader::open`] and [`SafetensorsReader::read`].
pub fn read(path: impl AsRef<Path>) -> Result<BTreeMap<String, Tensor>> {
    let reader = SafetensorsReader::open(path)?;
    reader.entries.keys().map(|name| Ok((name.clone(), reader.read(name)?))).collect()
}

/// Writes named tensors; of two with one name, the last counts.
///
/// # Errors
/// As [`SafetensorsWriter::create`].
pub fn write<'a>(path: impl AsRef<Path>, tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>) -> Result<()> {
    let tensors: BTreeMap<&str, &Tensor> = tensors.into_iter().collect();
    let variables: Variables = tensors.iter().map(|(n, t)| (n.to_string(), (t.dtype(), t.shape()))).collect();
    let mut writer = SafetensorsWriter::create(path, &variables)?;
    for name in order(&variables) {
        writer.add(name, tensors[name.as_str()])?;
    }
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;
    use std::fs;

    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("metagraph-safetensors-{name}-{}", std::process::id()))
    }

    #[test]
    fn every_dtype_round_trips() {
        let texts = [
            "f32[[1 2] [3 4]]",
            "f64 1.5",
            "f16[1 -2]",
            "bf16[1.5]",
            "i8[-1]",
            "u8[255]",
            "i16[-2]",
            "u16[3]",
            "i32{0,3}[]",
            "u32[4]",
            "i64[-5]",
            "u64[6]",
            "bool[true false]",
            "c64[1:2]",
        ];
        let tensors: Vec<(String, Tensor)> = texts.iter().map(|t| (format!("{t} é"), t.parse().unwrap())).collect();
        let path = path("all");
        write(&path, tensors.iter().map(|(n, t)| (n.as_str(), t))).unwrap();
        let read = read(&path).unwrap();
        assert_eq!(read, tensors.into_iter().collect());
        assert_eq!(SafetensorsReader::open(&path).unwrap().metadata()["format"], "tf");
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn what_a_file_cannot_be_is_refused() {
        let path = path("bad");
        let file = |header: &str, data: &[u8]| [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat();
        let entry = |dtype: &str, shape: &str, offsets: &str| {
            format!("{{\"a\":{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":{offsets}}}}}")
        };
        let table = [
            (b"\x01\0\0".to_vec(), Code::DataLoss),
            (u64::MAX.to_le_bytes().to_vec(), Code::DataLoss),
            (file("[]", b""), Code::DataLoss),
            (file("{", b""), Code::DataLoss),
            (file("{}", b"a gap"), Code::DataLoss),
            (file("{\"a\":1}", b""), Code::Unimplemented),
            (file(&entry("F3", "[1]", "[0,4]"), b"1234"), Code::Unimplemented),
            (file(&entry("F32", "[1]", "[0,8]"), b"12345678"), Code::DataLoss),
            (file(&entry("F32", "[1]", "[4,8]"), b"12345678"), Code::DataLoss),
            (file(&entry("F32", "[1]", "[0,4]"), b"123"), Code::DataLoss),
            (file(&entry("F32", "[-1]", "[0,4]"), b"1234"), Code::DataLoss),
            (file(&entry("F32", "1", "[0,4]"), b"1234"), Code::DataLoss),
            (file(&entry("F32", "[9223372036854775807,9]", "[0,4]"), b"1234"), Code::InvalidArgument),
        ];
        for (bytes, code) in table {
            fs::write(&path, &bytes).unwrap();
            let error = SafetensorsReader::open(&path).err().map(|e| e.code());
            assert_eq!(error, Some(code), "{}", String::from_utf8_lossy(&bytes));
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(SafetensorsReader::open(&path).err().map(|e| e.code()), Some(Code::NotFound));
        assert_eq!(write(&path, [("s", &Tensor::from("text"))]).unwrap_err().code(), Code::InvalidArgument);
        let variables = Variables::from([("a".to_string(), (DType::Float, Shape::scalar()))]);
        let mut writer = SafetensorsWriter::create(&path, &variables).unwrap();
        assert_eq!(writer.add("b", &Tensor::from(1f32)).unwrap_err().code(), Code::InvalidArgument);
        let writer = SafetensorsWriter::create(&path, &variables).unwrap();
        assert_eq!(writer.finish().unwrap_err().code(), Code::FailedPrecondition);
        assert!(!path.exists());
    }
}
