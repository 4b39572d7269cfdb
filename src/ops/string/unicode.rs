//! Unicode: code points of encoded strings, and back.

use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, NodeInfo, Op};
use crate::ops::shape;
use crate::tensor::{DType, Shape, Tensor};
use bytes::Bytes;

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "UnicodeDecode",
        ins: &["input: string"],
        outs: &["row_splits: Tsplits", "char_values: int32"],
        attrs: &[
            "input_encoding: string",
            "errors: {'strict', 'replace', 'ignore'} = 'replace'",
            "replacement_char: int = 65533",
            "replace_control_characters: bool = false",
            "Tsplits: {int32, int64} = DT_INT64",
        ],
        shape: decode_shape,
        kernel: Kernel::Pure(decode),
        grad: Grad::None("strings"),
        rows: &["input_encoding='UTF-8'; str[\"aß\" \"\"] => i64[0 2 2], i32[97 223]"],
    },
    Op {
        name: "UnicodeDecodeWithOffsets",
        ins: &["input: string"],
        outs: &["row_splits: Tsplits", "char_values: int32", "char_to_byte_starts: int64"],
        attrs: &[
            "input_encoding: string",
            "errors: {'strict', 'replace', 'ignore'} = 'replace'",
            "replacement_char: int = 65533",
            "replace_control_characters: bool = false",
            "Tsplits: {int32, int64} = DT_INT64",
        ],
        shape: decode_shape,
        kernel: Kernel::Pure(decode),
        grad: Grad::None("strings"),
        rows: &["input_encoding='UTF-8'; str[\"ßa\"] => i64[0 2], i32[223 97], i64[0 2]"],
    },
    Op {
        name: "UnicodeEncode",
        ins: &["input_values: int32", "input_splits: Tsplits"],
        outs: &["output: string"],
        attrs: &[
            "errors: {'ignore', 'replace', 'strict'} = 'replace'",
            "output_encoding: {'UTF-8', 'UTF-16-BE', 'UTF-32-BE'}",
            "replacement_char: int = 65533",
            "Tsplits: {int32, int64} = DT_INT64",
        ],
        shape: encode_shape,
        kernel: Kernel::Pure(encode),
        grad: Grad::None("strings"),
        rows: &["output_encoding='UTF-8'; i32[97 223], i64[0 1 2] => str[\"a\" \"ß\"]"],
    },
    Op {
        name: "UnicodeTranscode",
        ins: &["input: string"],
        outs: &["output: string"],
        attrs: &[
            "input_encoding: string",
            "output_encoding: {'UTF-8', 'UTF-16-BE', 'UTF-32-BE'}",
            "errors: {'strict', 'replace', 'ignore'} = 'replace'",
            "replacement_char: int = 65533",
            "replace_control_characters: bool = false",
        ],
        shape: shape::unchanged,
        kernel: Kernel::Pure(transcode),
        grad: Grad::None("strings"),
        rows: &["input_encoding='UTF-8', output_encoding='UTF-16-BE'; str \"a\" => str \"\\x00a\""],
    },
];

/// A code point, or none where the bytes are no character, and the byte at which it starts.
type Decoded = Vec<(Option<u32>, usize)>;

fn code_points(text: &[u8], encoding: &str) -> Result<Decoded> {
    let by_width = |width: usize, unit: &dyn Fn(&[u8]) -> Option<u32>| -> Decoded {
        text.chunks(width).enumerate().map(|(i, c)| (if c.len() == width { unit(c) } else { None }, i * width)).collect()
    };
    Ok(match encoding.to_ascii_uppercase().as_str() {
        "UTF-8" | "UTF8" => utf8(text),
        "UTF-16-BE" | "UTF-16BE" | "UTF-16" => utf16(text, u16::from_be_bytes),
        "UTF-16-LE" | "UTF-16LE" => utf16(text, u16::from_le_bytes),
        "UTF-32-BE" | "UTF-32BE" | "UTF-32" => {
            by_width(4, &|c| c.try_into().ok().map(u32::from_be_bytes).filter(|&p| char::from_u32(p).is_some()))
        }
        "US-ASCII" | "ASCII" => by_width(1, &|c| Some(u32::from(c[0])).filter(|&p| p < 128)),
        "ISO-8859-1" | "LATIN1" | "LATIN-1" => by_width(1, &|c| Some(u32::from(c[0]))),
        _ => {
            let Some(encoding) = encoding_rs::Encoding::for_label(encoding.replace('_', "-").as_bytes()) else {
                bail!(InvalidArgument, "Could not create converter for input encoding: {encoding}")
            };
            let (decoded, _) = encoding.decode_without_bom_handling(text);
            // Offsets within other encodings are those at which each character would be encoded again.
            let mut at = 0;
            let step = |c: char| {
                let start = at;
                at += encoding.encode(c.encode_utf8(&mut [0; 4])).0.len();
                (if c == '\u{FFFD}' { None } else { Some(u32::from(c)) }, start)
            };
            decoded.chars().map(step).collect()
        }
    })
}

fn utf8(text: &[u8]) -> Decoded {
    let (mut out, mut at) = (Vec::new(), 0);
    for chunk in text.utf8_chunks() {
        for (offset, c) in chunk.valid().char_indices() {
            out.push((Some(u32::from(c)), at + offset));
        }
        at += chunk.valid().len();
        if !chunk.invalid().is_empty() {
            out.push((None, at));
            at += chunk.invalid().len();
        }
    }
    out
}

fn utf16(text: &[u8], read: fn([u8; 2]) -> u16) -> Decoded {
    let (pairs, rest) = text.as_chunks::<2>();
    let mut at = 0;
    let mut out: Decoded = char::decode_utf16(pairs.iter().map(|&p| read(p)))
        .map(|unit| {
            let start = at;
            at += 2 * unit.as_ref().map_or(1, |c| c.len_utf16());
            (unit.ok().map(u32::from), start)
        })
        .collect();
    if !rest.is_empty() {
        out.push((None, at));
    }
    out
}

/// How malformed input is treated.
struct Errors {
    strict: bool,
    /// What stands for a malformed character; none leaves it out.
    replacement: Option<u32>,
    replace_control: bool,
}

impl Errors {
    fn of(node: &NodeInfo) -> Result<Errors> {
        let replacement = node.int("replacement_char")?;
        let valid = u32::try_from(replacement).ok().filter(|&c| char::from_u32(c).is_some());
        let Some(valid) = valid else { bail!(InvalidArgument, "replacement_char out of unicode codepoint range: {replacement}") };
        let mode = node.string("errors")?;
        Ok(Errors {
            strict: mode == "strict",
            replacement: if mode == "ignore" { None } else { Some(valid) },
            replace_control: node.attrs.contains_key("replace_control_characters")
                && node.boolean("replace_control_characters")?,
        })
    }

    /// The code points that stand in the output, with where each starts.
    fn apply(&self, decoded: Decoded) -> Result<Vec<(u32, usize)>> {
        let mut out = Vec::with_capacity(decoded.len());
        for (code, start) in decoded {
            if code.is_none() && self.strict {
                bail!(InvalidArgument, "Invalid formatting on input string");
            }
            if let Some(c) = code.filter(|&c| !(self.replace_control && c <= 0x1F)).or(self.replacement) {
                out.push((c, start))
            }
        }
        Ok(out)
    }
}

fn decode_shape(ctx: &mut InferCtx) -> Result<()> {
    let rows = ctx.input(0).num_elements();
    ctx.set(0, Shape::vector(rows.map(|r| r + 1)))?;
    for output in 1..ctx.num_outputs() {
        ctx.set(output, Shape::vector(None))?;
    }
    Ok(())
}

fn splits_tensor(dtype: DType, splits: Vec<i64>) -> Tensor {
    match dtype {
        DType::Int32 => Tensor::from(splits.iter().map(|&s| s as i32).collect::<Vec<i32>>()),
        _ => Tensor::from(splits),
    }
}

fn decode(ctx: &mut KernelCtx) -> Result<()> {
    let node = ctx.node();
    let (errors, encoding) = (Errors::of(node)?, node.string("input_encoding")?);
    let (mut splits, mut values, mut starts) = (vec![0i64], Vec::new(), Vec::new());
    code_points(b"", encoding)?;
    for string in ctx.input(0)?.strings()? {
        for (code, start) in errors.apply(code_points(string, encoding)?)? {
            values.push(code as i32);
            starts.push(start as i64);
        }
        splits.push(values.len() as i64);
    }
    ctx.set(0, splits_tensor(node.dtype("Tsplits")?, splits))?;
    ctx.set(1, Tensor::from(values))?;
    if ctx.num_outputs() > 2 {
        ctx.set(2, Tensor::from(starts))?;
    }
    Ok(())
}

fn put(out: &mut Vec<u8>, code: u32, encoding: &str) {
    let c = char::from_u32(code).unwrap_or('\u{FFFD}');
    match encoding {
        "UTF-16-BE" => c.encode_utf16(&mut [0; 2]).iter().for_each(|u| out.extend(u.to_be_bytes())),
        "UTF-32-BE" => out.extend(u32::from(c).to_be_bytes()),
        _ => out.extend(c.encode_utf8(&mut [0; 4]).bytes()),
    }
}

fn encode_shape(ctx: &mut InferCtx) -> Result<()> {
    ctx.input(0).with_rank(1)?;
    let rows = ctx.input(1).with_rank(1)?.dim(0);
    ctx.set(0, Shape::vector(rows.map(|r| r.saturating_sub(1))))
}

/// True for a code point that stands for a character: no surrogate and no noncharacter.
fn is_character(code: u32) -> bool {
    char::from_u32(code).is_some() && !(0xFDD0..=0xFDEF).contains(&code) && code & 0xFFFE != 0xFFFE
}

fn encode(ctx: &mut KernelCtx) -> Result<()> {
    let node = ctx.node();
    let (errors, encoding) = (Errors::of(node)?, node.string("output_encoding")?);
    let values = ctx.input(0)?.as_slice::<i32>()?;
    let splits = ctx.input(1)?.to_i64s()?;
    if splits.is_empty() {
        bail!(InvalidArgument, "Input_splits should contain elements, but was empty.");
    }
    if splits[0] != 0 {
        bail!(InvalidArgument, "First value in input_splits must be zero, got {}", splits[0]);
    }
    if splits[splits.len() - 1] != values.len() as i64 {
        bail!(
            InvalidArgument,
            "Last value in input_splits must be equal to the number of input_values, got {}",
            splits[splits.len() - 1]
        );
    }
    let mut out = Vec::with_capacity(splits.len() - 1);
    for pair in splits.windows(2) {
        let row = usize::try_from(pair[0]).ok().zip(usize::try_from(pair[1]).ok()).and_then(|(a, b)| values.get(a..b));
        let Some(row) = row else { bail!(InvalidArgument, "Values in input_splits must be equal or in ascending order.") };
        let mut text = Vec::new();
        for &value in row {
            match u32::try_from(value).ok().filter(|&c| is_character(c)) {
                Some(code) => put(&mut text, code, encoding),
                None if errors.strict => bail!(InvalidArgument, "Code point is out of range for Unicode, or a noncharacter."),
                None => errors.replacement.into_iter().for_each(|c| put(&mut text, c, encoding)),
            }
        }
        out.push(Bytes::from(text));
    }
    ctx.set(0, Tensor::from_strings(&[out.len()], out)?)
}

fn transcode(ctx: &mut KernelCtx) -> Result<()> {
    let node = ctx.node();
    let (errors, from, to) = (Errors::of(node)?, node.string("input_encoding")?, node.string("output_encoding")?);
    code_points(b"", from)?;
    super::map(ctx, |string| {
        let mut text = Vec::with_capacity(string.len());
        for (code, _) in errors.apply(code_points(string, from)?)? {
            put(&mut text, code, to);
        }
        Ok(Bytes::from(text))
    })
}
