//! Length, case, stripping, slicing, and templates.

use super::{map, summary};
use crate::error::{Error, Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::ops::shape;
use crate::tensor::Tensor;
use bytes::Bytes;

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "StringLength",
        ins: &["input: string"],
        outs: &["output: int32"],
        attrs: &["unit: {'BYTE', 'UTF8_CHAR'} = 'BYTE'"],
        shape: shape::unchanged,
        kernel: Kernel::Pure(length),
        grad: Grad::None("strings"),
        rows: &["str[\"abc\" \"\"] => i32[3 0]", "unit='UTF8_CHAR'; str \"aß\" => i32 2"],
    },
    Op {
        name: "StringLower",
        ins: &["input: string"],
        outs: &["output: string"],
        attrs: &["encoding: string = ''"],
        shape: shape::unchanged,
        kernel: Kernel::Pure(lower),
        grad: Grad::None("strings"),
        rows: &["str[\"aBC\"] => str[\"abc\"]"],
    },
    Op {
        name: "StringUpper",
        ins: &["input: string"],
        outs: &["output: string"],
        attrs: &["encoding: string = ''"],
        shape: shape::unchanged,
        kernel: Kernel::Pure(upper),
        grad: Grad::None("strings"),
        rows: &["str[\"aBc\"] => str[\"ABC\"]"],
    },
    Op {
        name: "StringStrip",
        ins: &["input: string"],
        outs: &["output: string"],
        attrs: &[],
        shape: shape::unchanged,
        kernel: Kernel::Pure(|ctx| map(ctx, |s| Ok(s.slice_ref(s.trim_ascii())))),
        grad: Grad::None("strings"),
        rows: &["str[\" a b \" \"\"] => str[\"a b\" \"\"]"],
    },
    Op {
        name: "Substr",
        ins: &["input: string", "pos: T", "len: T"],
        outs: &["output: string"],
        attrs: &["T: {int32, int64}", "unit: {'BYTE', 'UTF8_CHAR'} = 'BYTE'"],
        shape: substr_shape,
        kernel: Kernel::Pure(substr),
        grad: Grad::None("strings"),
        rows: &["str[\"hello\" \"world\"], i32 1, i32 3 => str[\"ell\" \"orl\"]", "str \"hello\", i32 -2, i32 9 => str \"lo\""],
    },
    Op {
        name: "StringFormat",
        ins: &["inputs: T"],
        outs: &["output: string"],
        attrs: &["T: list(type) >= 0", "template: string = '%s'", "placeholder: string = '%s'", "summarize: int = 3"],
        shape: shape::scalar,
        kernel: Kernel::Pure(format),
        grad: Grad::None("strings"),
        rows: &["template='x=%s!'; i32[1 2 3] => str \"x=[1 2 3]!\""],
    },
];

/// The byte offsets at which characters start, as far as bytes that don't continue one go.
fn starts(text: &[u8]) -> impl Iterator<Item = usize> + '_ {
    text.iter().enumerate().filter(|&(_, &b)| b & 0xC0 != 0x80).map(|(i, _)| i)
}

fn length(ctx: &mut KernelCtx) -> Result<()> {
    let by_byte = ctx.node().string("unit")? == "BYTE";
    let input = ctx.input(0)?;
    let count = |s: &Bytes| if by_byte { s.len() as i32 } else { starts(s).count() as i32 };
    let lengths = input.strings()?.iter().map(count).collect();
    let output = Tensor::new(input.dims(), lengths)?;
    ctx.set(0, output)
}

fn with_encoding(ctx: &mut KernelCtx, ascii: fn(&[u8]) -> Vec<u8>, unicode: fn(&str) -> String) -> Result<()> {
    match ctx.node().string("encoding")? {
        "" => map(ctx, |s| Ok(Bytes::from(ascii(s)))),
        "utf-8" => map(ctx, |s| Ok(Bytes::from(unicode(&String::from_utf8_lossy(s))))),
        other => bail!(InvalidArgument, "only utf-8 or '' (no encoding) is supported, received {other}"),
    }
}

fn lower(ctx: &mut KernelCtx) -> Result<()> {
    with_encoding(ctx, <[u8]>::to_ascii_lowercase, str::to_lowercase)
}

fn upper(ctx: &mut KernelCtx) -> Result<()> {
    with_encoding(ctx, <[u8]>::to_ascii_uppercase, str::to_uppercase)
}

fn substr_shape(ctx: &mut InferCtx) -> Result<()> {
    let (pos, len) = (ctx.input(1), ctx.input(2));
    if let (Some(a), Some(b)) = (pos.rank(), len.rank())
        && a != b
    {
        bail!(InvalidArgument, "pos and len must have the same rank, got shapes {pos} and {len}");
    }
    pos.merge(&len)?;
    let shape = shape::broadcast_shapes(&ctx.input(0), &pos)?;
    ctx.set(0, shape)
}

fn substr(ctx: &mut KernelCtx) -> Result<()> {
    let by_byte = ctx.node().string("unit")? == "BYTE";
    let (input, pos, len) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    if pos.dims() != len.dims() {
        bail!(InvalidArgument, "pos and len should have the same shape, got: {:?} vs. {:?}", pos.dims(), len.dims());
    }
    let (pos_values, len_values, strings) = (pos.to_i64s()?, len.to_i64s()?, input.strings()?);
    let Some(dims) = shape::broadcast_shapes(&input.shape(), &pos.shape()).ok().and_then(|s| s.to_dims()) else {
        bail!(InvalidArgument, "pos/len shape {:?} doesn't broadcast with input shape {:?}", pos.dims(), input.dims())
    };
    let count = crate::tensor::element_count(&dims)?;
    let mut out = Vec::with_capacity(count);
    for index in 0..count {
        let (string, at) = (&strings[source(index, &dims, input.dims())], source(index, &dims, pos.dims()));
        let range = range_of(string, pos_values[at], len_values[at], by_byte).ok_or_else(|| {
            Error::invalid_argument(format!(
                "pos {} out of range for string b'{}' at index {index}",
                pos_values[at],
                string.escape_ascii()
            ))
        })?;
        out.push(string.slice(range));
    }
    let output = Tensor::from_strings(&dims, out)?;
    ctx.set(0, output)
}

/// The element of a broadcast operand that stands at an element of the result.
fn source(index: usize, dims: &[usize], operand: &[usize]) -> usize {
    let (mut rest, mut at, mut step) = (index, 0, 1);
    for axis in (0..dims.len()).rev() {
        let i = rest % dims[axis];
        rest /= dims[axis];
        if let Some(own) = (axis + operand.len()).checked_sub(dims.len()) {
            at += if operand[own] == 1 { 0 } else { i * step };
            step *= operand[own];
        }
    }
    at
}

fn range_of(string: &[u8], pos: i64, len: i64, by_byte: bool) -> Option<std::ops::Range<usize>> {
    let offsets: Vec<usize> = if by_byte { Vec::new() } else { starts(string).collect() };
    let size = if by_byte { string.len() } else { offsets.len() } as i64;
    if pos > size || pos < -size {
        return None;
    }
    let start = if pos < 0 { pos + size } else { pos };
    let end = if len < 0 { size } else { start.saturating_add(len).min(size) };
    let byte = |at: i64| if by_byte { at as usize } else { offsets.get(at as usize).copied().unwrap_or(string.len()) };
    Some(byte(start)..byte(end))
}

fn format(ctx: &mut KernelCtx) -> Result<()> {
    let node = ctx.node();
    let (template, placeholder) = (node.string("template")?, node.string("placeholder")?);
    let parts: Vec<&str> = template.split(placeholder).collect();
    if parts.len() != ctx.num_inputs() + 1 {
        bail!(
            InvalidArgument,
            "num placeholders in template and num inputs must match: {} vs. {}",
            parts.len() - 1,
            ctx.num_inputs()
        );
    }
    let mut out = parts[0].to_string();
    for (index, part) in parts[1..].iter().enumerate() {
        out += &summary::summarize_edges(ctx.input(index)?, node.int("summarize")?)?;
        out += part;
    }
    ctx.set(0, Tensor::from(out.as_str()))
}
