//! CSV records.

use crate::error::{Error, Result, bail};
use crate::graph::op::{Grad, Kernel, KernelCtx, Op};
use crate::tensor::{DType, Tensor};
use bytes::Bytes;

pub(super) static OPS: &[Op] = &[Op {
    name: "DecodeCSV",
    ins: &["records: string", "record_defaults: OUT_TYPE"],
    outs: &["output: OUT_TYPE"],
    attrs: &[
        "OUT_TYPE: list({float, double, int32, int64, string}) >= 1",
        "field_delim: string = ','",
        "use_quote_delim: bool = true",
        "na_value: string = ''",
        "select_cols: list(int) = []",
    ],
    shape: |ctx| {
        for input in 1..ctx.num_inputs() {
            let default = ctx.input(input).with_rank_at_most(1)?;
            if default.rank() == Some(1) && default.dim(0).is_some_and(|n| n > 1) {
                crate::error::bail!(InvalidArgument, "Shape of a default must be a length-0 or length-1 vector, or a scalar.");
            }
        }
        (0..ctx.num_outputs()).try_for_each(|output| ctx.set(output, ctx.input(0)))
    },
    kernel: Kernel::Pure(decode_csv),
    grad: Grad::None("strings"),
    rows: &[
        "str[\"1,\\\"a \\\"\\\"b\\\"\\\" c\\\",\" \"2,,3.5\"], (i32[0], str[\"-\"], f32 7.5) => i32[1 2], str[\"a \\\"b\\\" c\" \"-\"], f32[7.5 3.5]",
        "field_delim='|', na_value='NA', select_cols=[1]; str \"x|NA|y\", (i64 9) => i64 9",
    ],
}];

fn decode_csv(ctx: &mut KernelCtx) -> Result<()> {
    let outputs = {
        let node = ctx.node();
        let delimiter = node.string("field_delim")?.as_bytes();
        let [delimiter] = *delimiter else { bail!(InvalidArgument, "field_delim should be only 1 char, got {delimiter:?}") };
        let quotes = node.boolean("use_quote_delim")?;
        if quotes && matches!(delimiter, b'"' | b'\n' | b'\r') {
            bail!(InvalidArgument, "field_delim can't be a quote or the end of a line");
        }
        let missing = node.string("na_value")?.as_bytes();
        let selected = node.ints("select_cols")?;
        let count = ctx.num_outputs();
        if !selected.is_empty() && selected.len() != count {
            bail!(InvalidArgument, "select_cols has {} columns for {count} defaults", selected.len());
        }
        if selected.iter().any(|&c| c < 0) || selected.windows(2).any(|w| w[0] >= w[1]) {
            bail!(InvalidArgument, "select_cols should be a strictly increasing list of non-negative columns, got {selected:?}");
        }
        for (field, default) in (1..ctx.num_inputs()).map(|i| ctx.input(i)).enumerate() {
            let default = default?;
            if default.len() > 1 {
                bail!(InvalidArgument, "There should only be 1 default per field but field {field} has {}", default.len());
            }
        }
        let records = ctx.input(0)?;
        let mut columns: Vec<Vec<Option<Bytes>>> = vec![Vec::with_capacity(records.len()); count];
        for (number, record) in records.strings()?.iter().enumerate() {
            let fields = split(record, delimiter, quotes).map_err(|e| e.within(format!("record {number}")))?;
            if selected.is_empty() && fields.len() != count {
                bail!(InvalidArgument, "Expect {count} fields but have {} in record {number}", fields.len());
            }
            for (at, column) in columns.iter_mut().enumerate() {
                let position = selected.get(at).map_or(at, |&c| c as usize);
                let Some(field) = fields.get(position) else {
                    bail!(
                        InvalidArgument,
                        "Expect at least {} fields but have {} in record {number}",
                        position + 1,
                        fields.len()
                    );
                };
                let absent = field.is_empty() || &field[..] == missing;
                if absent && ctx.input(at + 1)?.is_empty() {
                    bail!(InvalidArgument, "Field {at} is required but missing in record {number}!");
                }
                column.push((!absent).then(|| field.clone()));
            }
        }
        let mut outputs = Vec::with_capacity(count);
        for (at, column) in columns.into_iter().enumerate() {
            outputs.push(typed(column, at, ctx.input(at + 1)?)?.reshaped(records.dims())?);
        }
        outputs
    };
    outputs.into_iter().enumerate().try_for_each(|(i, tensor)| ctx.set(i, tensor))
}

/// The column's fields, or the default, as its type.
fn typed(column: Vec<Option<Bytes>>, at: usize, default: &Tensor) -> Result<Tensor> {
    macro_rules! numbers {
        ($($variant:ident $type:ty),*) => {
            match default.dtype() {
                DType::String => {
                    let default = default.strings()?.first().cloned().unwrap_or_default();
                    let fields: Vec<Bytes> = column.into_iter().map(|f| f.unwrap_or_else(|| default.clone())).collect();
                    Tensor::from_strings(&[fields.len()], fields)
                }
                $(DType::$variant => {
                    let default = default.as_slice::<$type>()?.first().copied().unwrap_or_default();
                    let parse = |(number, field): (usize, Option<Bytes>)| match field {
                        None => Ok(default),
                        Some(field) => std::str::from_utf8(&field).ok().and_then(|f| f.trim().parse().ok()).ok_or_else(|| {
                            let dtype = stringify!($variant).to_lowercase();
                            let text = field.escape_ascii();
                            Error::invalid_argument(format!("Field {at} in record {number} is not a valid {dtype}: {text}"))
                        }),
                    };
                    Ok(Tensor::from(column.into_iter().enumerate().map(parse).collect::<Result<Vec<$type>>>()?))
                })*
                other => bail!(InvalidArgument, "csv: data type {other} not supported in field {at}"),
            }
        };
    }
    numbers!(Float f32, Double f64, Int32 i32, Int64 i64)
}

/// The fields of a record. A quoted one may hold delimiters and ends of lines, and quotes doubled.
fn split(record: &Bytes, delimiter: u8, quotes: bool) -> Result<Vec<Bytes>> {
    let mut fields = Vec::new();
    if record.is_empty() {
        return Ok(vec![Bytes::new()]);
    }
    let mut at = 0;
    while at < record.len() {
        if quotes && record[at] == b'"' {
            at += 1;
            let mut field = Vec::new();
            loop {
                match (record.get(at), record.get(at + 1)) {
                    (Some(b'"'), Some(b'"')) => {
                        field.push(b'"');
                        at += 2;
                    }
                    (Some(b'"'), next) if next.is_none_or(|&n| n == delimiter) => break,
                    (Some(b'"'), _) => bail!(InvalidArgument, "Quote inside a string has to be escaped by another quote"),
                    (Some(&byte), _) => {
                        field.push(byte);
                        at += 1;
                    }
                    (None, _) => bail!(InvalidArgument, "Quoted field has to end with quote followed by delim or end"),
                }
            }
            at += 2;
            fields.push(Bytes::from(field));
        } else {
            let end = record[at..].iter().position(|&b| b == delimiter).map_or(record.len(), |p| at + p);
            if quotes && record[at..end].iter().any(|b| matches!(b, b'"' | b'\n' | b'\r')) {
                bail!(InvalidArgument, "Unquoted fields cannot have quotes/CRLFs inside");
            }
            fields.push(record.slice(at..end));
            at = end + 1;
        }
    }
    if record.last() == Some(&delimiter) && at <= record.len() {
        fields.push(Bytes::new());
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(record: &'static str, expected: &[&str]) {
        let fields = split(&Bytes::from_static(record.as_bytes()), b',', true);
        match (expected, fields) {
            (["error"], result) => assert!(result.is_err(), "{record}"),
            (expected, Ok(fields)) => assert_eq!(fields, expected, "{record}"),
            (_, Err(error)) => assert_eq!(error.message(), "", "{record}"),
        }
    }

    #[test]
    fn records_split_into_fields() {
        check("", &[""]);
        check("a,b", &["a", "b"]);
        check(",", &["", ""]);
        check("a,", &["a", ""]);
        check("\"a,b\",c", &["a,b", "c"]);
        check("\"a\"\"b\"", &["a\"b"]);
        check("\"a\",", &["a", ""]);
        check("a\"b", &["error"]);
        check("\"a\"b", &["error"]);
        check("\"a", &["error"]);
    }
}
