//! Tables filled from the lines of a text file.

use crate::error::{Error, Result, bail};
use crate::graph::op::KernelCtx;
use crate::tensor::{DType, Tensor};
use bytes::Bytes;

/// The column that stands for the line's number.
const LINE_NUMBER: i64 = -1;
/// The column that stands for the whole line.
const WHOLE_LINE: i64 = -2;

pub(super) fn initialize(ctx: &mut KernelCtx) -> Result<()> {
    let table = super::table(ctx)?;
    let node = ctx.node();
    let (key_index, value_index) = (node.int("key_index")?, node.int("value_index")?);
    let (vocab_size, offset) = (node.int("vocab_size")?, node.int("offset")?);
    let delimiter = node.string("delimiter")?.as_bytes().to_vec();
    let [delimiter] = delimiter[..] else { bail!(InvalidArgument, "delimiter should be only 1 char, got {}", delimiter.len()) };
    check_column(key_index, table.key_dtype, "key")?;
    check_column(value_index, table.value_dtype, "value")?;
    let file = match ctx.input(1)?.strings()? {
        [name] if !name.is_empty() => String::from_utf8_lossy(name).into_owned(),
        [_] => bail!(InvalidArgument, "filename cannot be empty."),
        _ => bail!(InvalidArgument, "filename should be a single string but got shape {}", ctx.input(1)?.shape()),
    };
    let bytes = Bytes::from(std::fs::read(&file).map_err(|e| Error::from(e).within(file.clone()))?);
    let mut lines: Vec<Bytes> =
        bytes.split(|&b| b == b'\n').map(|l| bytes.slice_ref(l.strip_suffix(b"\r").unwrap_or(l))).collect();
    if lines.last().is_some_and(Bytes::is_empty) {
        lines.pop();
    }
    let lines = match usize::try_from(vocab_size) {
        Ok(size) if lines.len() < size => {
            bail!(InvalidArgument, "Invalid vocab_size in {file}: expected {size} but got {}", lines.len())
        }
        Ok(size) => &lines[..size],
        Err(_) => &lines[..],
    };
    if lines.is_empty() {
        bail!(OutOfRange, "end of file {file}");
    }
    let keys = column(lines, key_index, table.key_dtype, delimiter, offset, &file)?;
    let values = column(lines, value_index, table.value_dtype, delimiter, offset, &file)?;
    table.initialize(&keys, &values)
}

fn check_column(index: i64, dtype: DType, what: &str) -> Result<()> {
    if index == LINE_NUMBER && dtype != DType::Int64 {
        bail!(InvalidArgument, "{what}_index for line number requires {what} dtype of int64, got {dtype}");
    }
    if index == WHOLE_LINE && !matches!(dtype, DType::Int64 | DType::String) {
        bail!(InvalidArgument, "{what}_index for entire line requires {what} dtype of string or int64, got {dtype}");
    }
    Ok(())
}

fn column(lines: &[Bytes], index: i64, dtype: DType, delimiter: u8, offset: i64, file: &str) -> Result<Tensor> {
    if index == LINE_NUMBER {
        return Ok(Tensor::from((0..lines.len() as i64).map(|i| i.wrapping_add(offset)).collect::<Vec<i64>>()));
    }
    let mut fields = Vec::with_capacity(lines.len());
    for (number, line) in lines.iter().enumerate() {
        if index == WHOLE_LINE {
            fields.push(line.clone());
            continue;
        }
        let parts: Vec<&[u8]> = line.split(|&b| b == delimiter).collect();
        match usize::try_from(index).ok().and_then(|i| parts.get(i)) {
            Some(part) => fields.push(line.slice_ref(part)),
            None => bail!(
                InvalidArgument,
                "Invalid number of columns in {file} line {number} ({}): expected {index} got {}",
                line.escape_ascii(),
                parts.len()
            ),
        }
    }
    if dtype == DType::String {
        return Tensor::from_strings(&[fields.len()], fields);
    }
    macro_rules! numbers {
        ($($variant:ident $type:ty),*) => {
            match dtype {
                $(DType::$variant => parse::<$type>(&fields).map(Tensor::from),)*
                other => bail!(InvalidArgument, "Column {index} of {file} can't be read as {other}"),
            }
        };
    }
    numbers!(Int32 i32, Int64 i64, Float f32, Double f64)
}

fn parse<T: std::str::FromStr>(fields: &[Bytes]) -> Result<Vec<T>> {
    let number = |f: &Bytes| std::str::from_utf8(f).ok().and_then(|s| s.trim().parse().ok());
    let bad = |f: &Bytes| Error::invalid_argument(format!("Field {} in line is not a valid number", f.escape_ascii()));
    fields.iter().map(|f| number(f).ok_or_else(|| bad(f))).collect()
}
