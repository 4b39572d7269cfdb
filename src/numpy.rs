//! NumPy's files: `.npy` (one array) and `.npz` (a zip of named arrays).
//!
//! Numbers are little- or big-endian, in C or Fortran order; strings are `|S` (bytes, padded with zeros) or `<U`
//! (read as UTF-8). bfloat16, which NumPy lacks, is written as `|V2`.

use crate::error::{Error, Result, bail};
use crate::tensor::{DType, Tensor};
use bytes::Bytes;
use indexmap::IndexMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, Write};
use std::path::Path;
use zip::write::SimpleFileOptions;

const MAGIC: &[u8] = b"\x93NUMPY";
/// A header longer than this is refused.
const LONGEST_HEADER: usize = 1 << 20;
/// An array of strings without a width may have so many.
const MOST_EMPTY: usize = 1 << 20;

/// Writes a tensor as `.npy`.
///
/// # Errors
/// `InvalidArgument` for resources and variants; what writing returns.
pub fn write_npy(mut out: impl Write, tensor: &Tensor) -> Result<()> {
    let (descr, data) = encode(tensor)?;
    let dims: String = tensor.dims().iter().map(|d| format!("{d}, ")).collect();
    let dims = if tensor.rank() == 1 { dims.trim_end().to_string() } else { dims.trim_end_matches(", ").to_string() };
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({dims}), }}");
    // Magic, version and length are 10 bytes; the data starts at a multiple of 64.
    let padding = (64 - (10 + header.len() + 1) % 64) % 64;
    header.push_str(&" ".repeat(padding));
    header.push('\n');
    out.write_all(MAGIC)?;
    out.write_all(&[1, 0])?;
    out.write_all(&(header.len() as u16).to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    out.write_all(&data)?;
    Ok(())
}

fn encode(tensor: &Tensor) -> Result<(String, std::borrow::Cow<'_, [u8]>)> {
    if tensor.dtype() == DType::String {
        let strings = tensor.strings()?;
        let width = strings.iter().map(|s| s.len()).max().unwrap_or(0).max(1);
        let Some(total) = width.checked_mul(strings.len()) else {
            bail!(InvalidArgument, "the strings are too long for an |S array")
        };
        let mut data = vec![0u8; total];
        for (cell, string) in data.chunks_exact_mut(width).zip(strings) {
            cell[..string.len()].copy_from_slice(string);
        }
        return Ok((format!("|S{width}"), data.into()));
    }
    let descr = match tensor.dtype().storage() {
        DType::Bool => "|b1",
        DType::Int8 => "|i1",
        DType::Uint8 => "|u1",
        DType::Int16 => "<i2",
        DType::Int32 => "<i4",
        DType::Int64 => "<i8",
        DType::Uint16 => "<u2",
        DType::Uint32 => "<u4",
        DType::Uint64 => "<u8",
        DType::Half => "<f2",
        DType::Float => "<f4",
        DType::Double => "<f8",
        DType::Complex64 => "<c8",
        DType::Complex128 => "<c16",
        DType::Bfloat16 => "|V2",
        other => bail!(InvalidArgument, "a tensor of {other} can't be written as a NumPy array"),
    };
    Ok((descr.to_string(), tensor.to_le_bytes()?))
}

/// Reads an `.npy` array.
///
/// # Errors
/// `DataLoss` for bytes that are no `.npy` file or end early, `Unimplemented` for element types that no tensor has.
pub fn read_npy(mut input: impl Read) -> Result<Tensor> {
    let mut start = [0u8; 8];
    input.read_exact(&mut start)?;
    if &start[..6] != MAGIC {
        bail!(DataLoss, "not a .npy file: it starts with {:?}", &start[..6]);
    }
    let length = if start[6] == 1 {
        let mut bytes = [0u8; 2];
        input.read_exact(&mut bytes)?;
        usize::from(u16::from_le_bytes(bytes))
    } else {
        let mut bytes = [0u8; 4];
        input.read_exact(&mut bytes)?;
        u32::from_le_bytes(bytes) as usize
    };
    if length > LONGEST_HEADER {
        bail!(DataLoss, "a .npy header of {length} bytes");
    }
    let mut header = vec![0u8; length];
    input.read_exact(&mut header)?;
    let header = String::from_utf8_lossy(&header);
    let descr = quoted(&header, "descr")?;
    let fortran = field(&header, "fortran_order")?.starts_with("True");
    let shape = field(&header, "shape")?;
    let Some(inner) = shape.strip_prefix('(').and_then(|s| s.split_once(')')) else {
        bail!(DataLoss, "bad shape in .npy header {header:?}")
    };
    let dims: Vec<usize> = inner
        .0
        .split(',')
        .map(str::trim)
        .filter(|d| !d.is_empty())
        .map(|d| d.parse().map_err(|_| Error::data_loss(format!("bad dimension {d:?} in a .npy header"))))
        .collect::<Result<_>>()?;
    let stored: Vec<usize> = if fortran { dims.iter().rev().copied().collect() } else { dims };
    let tensor = decode(&descr, &stored, &mut input)?;
    if fortran { transposed(&tensor) } else { Ok(tensor) }
}

fn field<'a>(header: &'a str, name: &str) -> Result<&'a str> {
    let at =
        header.find(&format!("'{name}'")).ok_or_else(|| Error::data_loss(format!("a .npy header without {name}: {header:?}")))?;
    let rest = &header[at + name.len() + 2..];
    Ok(rest.trim_start().trim_start_matches(':').trim_start())
}

fn quoted(header: &str, name: &str) -> Result<String> {
    let rest = field(header, name)?;
    match rest.strip_prefix('\'').and_then(|r| r.split_once('\'')) {
        Some((value, _)) => Ok(value.to_string()),
        None => bail!(Unimplemented, "a .npy array of records: {header:?}"),
    }
}

fn decode(descr: &str, dims: &[usize], input: &mut impl Read) -> Result<Tensor> {
    let unknown = || Error::unimplemented(format!("a NumPy array of type {descr:?} has no dtype here"));
    let big = descr.starts_with('>');
    let kind = descr.trim_start_matches(['<', '>', '|', '=']);
    let (letter, size) = kind.split_at_checked(1).ok_or_else(unknown)?;
    let size: usize = size.parse().map_err(|_| unknown())?;
    let count = crate::tensor::element_count(dims)?;
    if letter == "S" || letter == "U" {
        return decode_strings(letter == "U", size, big, dims, count, input);
    }
    let dtype = match (letter, size) {
        ("b", 1) => DType::Bool,
        ("i", 1) => DType::Int8,
        ("i", 2) => DType::Int16,
        ("i", 4) => DType::Int32,
        ("i", 8) => DType::Int64,
        ("u", 1) => DType::Uint8,
        ("u", 2) => DType::Uint16,
        ("u", 4) => DType::Uint32,
        ("u", 8) => DType::Uint64,
        ("f", 2) => DType::Half,
        ("f", 4) => DType::Float,
        ("f", 8) => DType::Double,
        ("c", 8) => DType::Complex64,
        ("c", 16) => DType::Complex128,
        ("V", 2) => DType::Bfloat16,
        _ => return Err(unknown()),
    };
    let Some(bytes) = count.checked_mul(size) else { bail!(ResourceExhausted, "an array of shape {dims:?}") };
    let mut data = read_exactly(input, bytes)?;
    if big {
        let width = if letter == "c" { size / 2 } else { size };
        data.chunks_exact_mut(width).for_each(<[u8]>::reverse);
    }
    Tensor::from_le_bytes(dtype, dims, &data)
}

/// Reads so many bytes, without trusting the number before they are there.
fn read_exactly(input: &mut impl Read, bytes: usize) -> Result<Vec<u8>> {
    let mut data = Vec::new();
    input.take(bytes as u64).read_to_end(&mut data)?;
    if data.len() < bytes {
        bail!(DataLoss, "a .npy file ends after {} of {bytes} bytes", data.len());
    }
    Ok(data)
}

fn decode_strings(wide: bool, size: usize, big: bool, dims: &[usize], count: usize, input: &mut impl Read) -> Result<Tensor> {
    let width = if wide { size.saturating_mul(4) } else { size };
    if width == 0 {
        // No bytes of the file stand behind the count.
        if count > MOST_EMPTY {
            bail!(ResourceExhausted, "an array of {count} strings without a width");
        }
        return Tensor::from_strings(dims, vec![Bytes::new(); count]);
    }
    let Some(bytes) = count.checked_mul(width) else { bail!(ResourceExhausted, "an array of shape {dims:?}") };
    let data = read_exactly(input, bytes)?;
    let string = |cell: &[u8]| -> Result<Bytes> {
        if !wide {
            let end = cell.iter().rposition(|&b| b != 0).map_or(0, |at| at + 1);
            return Ok(Bytes::copy_from_slice(&cell[..end]));
        }
        let code = |c: &[u8; 4]| if big { u32::from_be_bytes(*c) } else { u32::from_le_bytes(*c) };
        let text: Option<String> = cell.as_chunks().0.iter().map(code).take_while(|&c| c != 0).map(char::from_u32).collect();
        text.map(Bytes::from).ok_or_else(|| Error::data_loss("a string of a NumPy array isn't Unicode"))
    };
    Tensor::from_strings(dims, data.chunks_exact(width).map(string).collect::<Result<_>>()?)
}

/// The tensor with its dimensions in reverse order.
fn transposed(tensor: &Tensor) -> Result<Tensor> {
    let dims: Vec<usize> = tensor.dims().iter().rev().copied().collect();
    let rank = dims.len();
    let mut order = Vec::with_capacity(tensor.len());
    let strides: Vec<usize> = (0..rank).map(|axis| tensor.dims()[rank - axis..].iter().product()).collect();
    let mut index = vec![0usize; rank];
    for _ in 0..tensor.len() {
        order.push(index.iter().zip(&strides).map(|(i, s)| i * s).sum::<usize>());
        for axis in (0..rank).rev() {
            index[axis] += 1;
            if index[axis] < dims[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    if let Ok(strings) = tensor.strings() {
        return Tensor::from_strings(&dims, order.iter().map(|&at| strings[at].clone()).collect());
    }
    let (bytes, size) = (tensor.bytes()?, tensor.dtype().size());
    let data: Vec<u8> = order.iter().flat_map(|&at| &bytes[at * size..(at + 1) * size]).copied().collect();
    let mut out = Tensor::zeros(tensor.dtype(), &dims)?;
    out.bytes_mut()?.copy_from_slice(&data);
    Ok(out)
}

fn zip_error(error: zip::result::ZipError) -> Error {
    Error::data_loss(format!("bad .npz file: {error}"))
}

/// Reads all arrays of an `.npz` file, by name and in the file's order.
///
/// # Errors
/// `NotFound` where there is no such file; `DataLoss` for one that is no `.npz`; as [`read_npy`], with the name.
pub fn read_npz(path: impl AsRef<Path>) -> Result<IndexMap<String, Tensor>> {
    let path = path.as_ref();
    let place = |e: Error| e.within(path.display().to_string());
    let file = File::open(path).map_err(|e| place(e.into()))?;
    read_npz_from(BufReader::new(file)).map_err(place)
}

fn read_npz_from(input: impl Read + Seek) -> Result<IndexMap<String, Tensor>> {
    let mut archive = zip::ZipArchive::new(input).map_err(zip_error)?;
    let mut arrays = IndexMap::new();
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(zip_error)?;
        let name = entry.name().map_err(zip_error)?;
        let name = name.strip_suffix(".npy").unwrap_or(&name).to_string();
        let array = read_npy(entry).map_err(|e| e.within(format!("array {name:?}")))?;
        arrays.insert(name, array);
    }
    Ok(arrays)
}

/// Writes named arrays as an `.npz` file, uncompressed as `numpy.savez` does.
///
/// # Errors
/// As [`write_npy`]; what writing returns.
pub fn write_npz<'a>(path: impl AsRef<Path>, arrays: impl IntoIterator<Item = (&'a str, &'a Tensor)>) -> Result<()> {
    let path = path.as_ref();
    let place = |e: Error| e.within(path.display().to_string());
    let file = File::create(path).map_err(|e| place(e.into()))?;
    let mut archive = zip::ZipWriter::new(BufWriter::new(file));
    let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored).large_file(true);
    for (name, tensor) in arrays {
        archive.start_file(format!("{name}.npy"), options).map_err(zip_error)?;
        write_npy(&mut archive, tensor).map_err(|e| place(e).within(format!("array {name:?}")))?;
    }
    archive.finish().map_err(zip_error)?.flush().map_err(|e| place(e.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_round_trip() {
        for text in [
            "f32[[1 2] [3 4]]",
            "i64 7",
            "str[\"a\" \"bc\" \"\"]",
            "bool[true false]",
            "c64[1:2]",
            "f64{0,3}[]",
            "bf16[1.5]",
            "f16[2]",
        ] {
            let tensor: Tensor = text.parse().unwrap();
            let mut bytes = Vec::new();
            write_npy(&mut bytes, &tensor).unwrap();
            assert_eq!(read_npy(&bytes[..]).unwrap(), tensor, "{text}");
            for end in 0..bytes.len() {
                let cut = read_npy(&bytes[..end]);
                assert!(cut.is_err(), "{text} cut at {end}: {cut:?}");
            }
        }
    }

    /// An `.npy` file without data.
    fn header(text: &str) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([1, 0]);
        bytes.extend((text.len() as u16).to_le_bytes());
        bytes.extend(text.as_bytes());
        bytes
    }

    #[test]
    fn what_a_header_promises_is_not_allocated() {
        for (descr, shape) in [
            ("|S0", "(1000000000000,)"),
            ("<U0", "(1000000000000,)"),
            ("|S4000000000", "(4000000000,)"),
            ("<f4", "(4000000000, 4000000000, 4000000000)"),
            ("<f8", "(1000000000000,)"),
            ("<f4", "(-1,)"),
            ("<f4", "(1.5,)"),
            ("<f4", "1"),
            ("|V0", "()"),
            ("|O", "()"),
            ("", "()"),
            ("é4", "()"),
        ] {
            for fortran in ["True", "False"] {
                let text = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
                assert!(read_npy(&header(&text)[..]).is_err(), "{text}");
            }
        }
        assert_eq!(
            read_npy(&header("{'descr': '|S0', 'fortran_order': False, 'shape': (2,), }\n")[..]).unwrap().to_string(),
            "str[\"\" \"\"]"
        );
    }

    #[test]
    fn fortran_order_and_big_endian_are_read() {
        let mut bytes = header("{'descr': '>i4', 'fortran_order': True, 'shape': (2, 3), }\n");
        for value in [1i32, 4, 2, 5, 3, 6] {
            bytes.extend(value.to_be_bytes());
        }
        assert_eq!(read_npy(&bytes[..]).unwrap().to_string(), "i32[[1 2 3] [4 5 6]]");
    }
}
