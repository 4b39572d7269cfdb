//! Splitting strings into sparse rows, and n-grams.

use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::tensor::{DType, Shape, Tensor};
use bytes::Bytes;

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "StringSplit",
        ins: &["input: string", "delimiter: string"],
        outs: &["indices: int64", "values: string", "shape: int64"],
        attrs: &["skip_empty: bool = true"],
        shape: split_shape,
        kernel: Kernel::Pure(split),
        grad: Grad::None("strings"),
        rows: &["str[\"a b\" \"c\"], str \" \" => i64[[0 0] [0 1] [1 0]], str[\"a\" \"b\" \"c\"], i64[2 2]"],
    },
    Op {
        name: "StringSplitV2",
        ins: &["input: string", "sep: string"],
        outs: &["indices: int64", "values: string", "shape: int64"],
        attrs: &["maxsplit: int = -1"],
        shape: split_shape,
        kernel: Kernel::Pure(split_v2),
        grad: Grad::None("strings"),
        rows: &["str[\"a,,b\"], str \",\" => i64[[0 0] [0 1] [0 2]], str[\"a\" \"\" \"b\"], i64[1 3]"],
    },
    Op {
        name: "StringNGrams",
        ins: &["data: string", "data_splits: Tsplits"],
        outs: &["ngrams: string", "ngrams_splits: Tsplits"],
        attrs: &[
            "separator: string",
            "ngram_widths: list(int) >= 0",
            "left_pad: string",
            "right_pad: string",
            "pad_width: int",
            "preserve_short_sequences: bool",
            "Tsplits: {int32, int64} = DT_INT64",
        ],
        shape: ngrams_shape,
        kernel: Kernel::Pure(ngrams),
        grad: Grad::None("strings"),
        rows: &[
            "separator='|', ngram_widths=[2], left_pad='L', right_pad='R', pad_width=1, preserve_short_sequences=false; str[\"a\" \"b\"], i64[0 2] => str[\"L|a\" \"a|b\" \"b|R\"], i64[0 3]",
        ],
    },
];

fn split_shape(ctx: &mut InferCtx) -> Result<()> {
    ctx.input(0).with_rank(1)?;
    ctx.input(1).with_rank(0)?;
    ctx.set(0, Shape::matrix(None, Some(2)))?;
    ctx.set(1, Shape::vector(None))?;
    ctx.set(2, Shape::vector(Some(2)))
}

/// Sets the outputs to the pieces of each row as a sparse matrix.
fn set_rows(ctx: &mut KernelCtx, rows: Vec<Vec<Bytes>>) -> Result<()> {
    let widest = rows.iter().map(Vec::len).max().unwrap_or(0);
    let mut indices = Vec::new();
    for (row, pieces) in rows.iter().enumerate() {
        for column in 0..pieces.len() {
            indices.extend([row as i64, column as i64]);
        }
    }
    let shape = Tensor::from([rows.len() as i64, widest as i64]);
    let values: Vec<Bytes> = rows.into_iter().flatten().collect();
    ctx.set(0, Tensor::new(&[values.len(), 2], indices)?)?;
    ctx.set(1, Tensor::from_strings(&[values.len()], values)?)?;
    ctx.set(2, shape)
}

fn vector_and_separator(ctx: &KernelCtx) -> Result<(Vec<Bytes>, Bytes)> {
    let (input, separator) = (ctx.input(0)?, ctx.input(1)?);
    if input.rank() != 1 {
        bail!(InvalidArgument, "input must be a vector, got shape: {:?}", input.dims());
    }
    if separator.rank() != 0 {
        bail!(InvalidArgument, "delimiter must be a scalar, got shape: {:?}", separator.dims());
    }
    let [separator] = separator.strings()? else { bail!(Internal, "a scalar has one element") };
    Ok((input.strings()?.to_vec(), separator.clone()))
}

/// Splits at any of the delimiter's characters, or between characters where there are none.
fn split(ctx: &mut KernelCtx) -> Result<()> {
    let skip_empty = ctx.node().boolean("skip_empty")?;
    let (strings, delimiters) = vector_and_separator(ctx)?;
    let pieces = |string: &Bytes| -> Vec<Bytes> {
        if string.is_empty() {
            return Vec::new();
        }
        if delimiters.is_empty() {
            return (0..string.len()).map(|i| string.slice(i..=i)).collect();
        }
        let all = string.split(|b| delimiters.contains(b)).map(|p| string.slice_ref(p));
        all.filter(|p| !(skip_empty && p.is_empty())).collect()
    };
    let rows = strings.iter().map(pieces).collect();
    set_rows(ctx, rows)
}

/// Splits as Python's `str.split`: at a separator, or at runs of white space where it is empty.
fn split_v2(ctx: &mut KernelCtx) -> Result<()> {
    let most = ctx.node().int("maxsplit")?;
    let (strings, separator) = vector_and_separator(ctx)?;
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let pieces = |string: &Bytes| if separator.is_empty() { at_space(string, most) } else { at(string, &separator, most) };
    let rows = strings.iter().map(pieces).collect();
    set_rows(ctx, rows)
}

fn at(string: &Bytes, separator: &[u8], most: usize) -> Vec<Bytes> {
    let (mut pieces, mut start) = (Vec::new(), 0);
    while pieces.len() < most {
        let Some(found) = string[start..].windows(separator.len()).position(|w| w == separator) else { break };
        pieces.push(string.slice(start..start + found));
        start += found + separator.len();
    }
    pieces.push(string.slice(start..));
    pieces
}

fn at_space(string: &Bytes, most: usize) -> Vec<Bytes> {
    let (mut pieces, mut rest) = (Vec::new(), string.trim_ascii_start());
    while !rest.is_empty() {
        let end =
            if pieces.len() < most { rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len()) } else { rest.len() };
        let cut = pieces.len() < most;
        pieces.push(string.slice_ref(&rest[..end]));
        rest = rest[end..].trim_ascii_start();
        // What is left after the last cut counts, even if it is empty.
        if cut && pieces.len() == most && rest.is_empty() {
            pieces.push(Bytes::new());
        }
    }
    pieces
}

fn ngrams_shape(ctx: &mut InferCtx) -> Result<()> {
    ctx.set(0, Shape::vector(None))?;
    ctx.set(1, ctx.input(1).with_rank(1)?)
}

fn ngrams(ctx: &mut KernelCtx) -> Result<()> {
    let node = ctx.node();
    let (separator, left, right) = (node.string("separator")?, node.string("left_pad")?, node.string("right_pad")?);
    let (widths, pad_width) = (node.ints("ngram_widths")?, node.int("pad_width")?);
    let preserve = node.boolean("preserve_short_sequences")?;
    let (data, splits) = (ctx.input(0)?.strings()?, ctx.input(1)?);
    let bounds = splits.to_i64s()?;
    let fits = bounds.first().is_none_or(|&b| b == 0)
        && bounds.windows(2).all(|w| w[0] <= w[1])
        && bounds.last().is_none_or(|&b| b as usize == data.len());
    if !fits {
        bail!(InvalidArgument, "data_splits {splits} are not the splits of {} strings", data.len());
    }
    if let Some(width) = widths.iter().find(|&&w| w < 1) {
        bail!(InvalidArgument, "ngram_widths must contain positive values, got {width}");
    }
    let (mut out, mut out_splits) = (Vec::new(), vec![0i64; usize::from(!bounds.is_empty())]);
    for pair in bounds.windows(2) {
        let row = &data[pair[0] as usize..pair[1] as usize];
        let before = out.len();
        for &width in widths {
            grams(row, width as usize, pad_width, (left, right), separator, &mut out);
        }
        // A row too short for any width is one n-gram of what there is.
        if preserve && out.len() == before && !row.is_empty() {
            let pad = usize::try_from(pad_width).unwrap_or(0);
            grams(row, row.len() + 2 * pad, pad_width, (left, right), separator, &mut out);
        }
        out_splits.push(out.len() as i64);
    }
    let splits = match ctx.node().dtype("Tsplits")? {
        DType::Int32 => Tensor::from(out_splits.iter().map(|&s| s as i32).collect::<Vec<i32>>()),
        _ => Tensor::from(out_splits),
    };
    ctx.set(0, Tensor::from_strings(&[out.len()], out)?)?;
    ctx.set(1, splits)
}

fn grams(row: &[Bytes], width: usize, pad_width: i64, pads: (&str, &str), separator: &str, out: &mut Vec<Bytes>) {
    let pad = usize::try_from(pad_width).unwrap_or(usize::MAX).min(width - 1);
    let padded: Vec<&[u8]> = std::iter::repeat_n(pads.0.as_bytes(), pad)
        .chain(row.iter().map(|r| &r[..]))
        .chain(std::iter::repeat_n(pads.1.as_bytes(), pad))
        .collect();
    out.extend(padded.windows(width).map(|w| Bytes::from(w.join(separator.as_bytes()))));
}
