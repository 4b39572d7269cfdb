//! Regular expressions in RE2's syntax.

use super::map;
use crate::error::{Error, Result, bail};
use crate::graph::op::{Grad, Kernel, KernelCtx, Op, PrepareCtx, Prepared};
use crate::ops::shape;
use crate::tensor::Tensor;
use bytes::Bytes;
use regex::bytes::{Captures, Regex};

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "RegexFullMatch",
        ins: &["input: string", "pattern: string"],
        outs: &["output: bool"],
        attrs: &[],
        shape: shape::unchanged,
        kernel: Kernel::Pure(|ctx| {
            let pattern = compile(&scalar(ctx, 1, "Pattern")?)?;
            full_match(ctx, &pattern)
        }),
        grad: Grad::None("strings"),
        rows: &["str[\"abc\" \"abcd\"], str \"a.c\" => bool[true false]"],
    },
    Op {
        name: "StaticRegexFullMatch",
        ins: &["input: string"],
        outs: &["output: bool"],
        attrs: &["pattern: string"],
        shape: shape::unchanged,
        kernel: Kernel::PurePrepared(prepare_full_match),
        grad: Grad::None("strings"),
        rows: &["pattern='[a-c]*'; str[\"abc\" \"abcd\"] => bool[true false]"],
    },
    Op {
        name: "RegexReplace",
        ins: &["input: string", "pattern: string", "rewrite: string"],
        outs: &["output: string"],
        attrs: &["replace_global: bool = true"],
        shape: shape::unchanged,
        kernel: Kernel::Pure(|ctx| {
            let pattern = Regex::new(&scalar(ctx, 1, "Pattern")?).map_err(bad_pattern)?;
            let rewrite = scalar(ctx, 2, "Rewrite")?;
            let all = ctx.node().boolean("replace_global")?;
            map(ctx, |s| Ok(replace(s, &pattern, &rewrite, all)))
        }),
        grad: Grad::None("strings"),
        rows: &["str[\"abab\"], str \"(b)\", str \"<\\\\1>\" => str[\"a<b>a<b>\"]"],
    },
    Op {
        name: "StaticRegexReplace",
        ins: &["input: string"],
        outs: &["output: string"],
        attrs: &["pattern: string", "rewrite: string", "replace_global: bool = true"],
        shape: shape::unchanged,
        kernel: Kernel::PurePrepared(prepare_replace),
        grad: Grad::None("strings"),
        rows: &["pattern='b', rewrite='x', replace_global=false; str[\"abab\"] => str[\"axab\"]"],
    },
];

fn bad_pattern(error: regex::Error) -> Error {
    Error::invalid_argument(format!("Invalid pattern: {error}"))
}

/// A pattern that must match a whole string.
fn compile(pattern: &str) -> Result<Regex> {
    Regex::new(&format!(r"\A(?:{pattern})\z")).map_err(bad_pattern)
}

fn scalar(ctx: &KernelCtx, index: usize, what: &str) -> Result<String> {
    let tensor = ctx.input(index)?;
    if !tensor.is_scalar() {
        bail!(InvalidArgument, "{what} must be scalar, but received {:?}", tensor.dims());
    }
    Ok(String::from_utf8_lossy(&tensor.strings()?[0]).into_owned())
}

fn full_match(ctx: &mut KernelCtx, pattern: &Regex) -> Result<()> {
    let input = ctx.input(0)?;
    let output = Tensor::new(input.dims(), input.strings()?.iter().map(|s| pattern.is_match(s)).collect())?;
    ctx.set(0, output)
}

fn prepare_full_match(ctx: &PrepareCtx) -> Result<Prepared> {
    let pattern = compile(ctx.node.string("pattern")?)?;
    Ok(Box::new(move |ctx: &mut KernelCtx| full_match(ctx, &pattern)))
}

fn prepare_replace(ctx: &PrepareCtx) -> Result<Prepared> {
    let pattern = Regex::new(ctx.node.string("pattern")?).map_err(bad_pattern)?;
    let (rewrite, all) = (ctx.node.string("rewrite")?.to_string(), ctx.node.boolean("replace_global")?);
    Ok(Box::new(move |ctx: &mut KernelCtx| map(ctx, |s| Ok(replace(s, &pattern, &rewrite, all)))))
}

/// Replaces the first match or all; in `rewrite`, `\0` to `\9` stand for groups and `\\` for a backslash. A rewrite that
/// names a group which isn't there changes nothing, as in RE2.
fn replace(text: &Bytes, pattern: &Regex, rewrite: &str, all: bool) -> Bytes {
    let groups =
        rewrite.as_bytes().windows(2).filter(|w| w[0] == b'\\' && w[1].is_ascii_digit()).map(|w| usize::from(w[1] - b'0')).max();
    if groups.is_some_and(|g| g >= pattern.captures_len()) {
        return text.clone();
    }
    let expand = |captures: &Captures| {
        let mut out = Vec::new();
        let mut bytes = rewrite.bytes();
        while let Some(byte) = bytes.next() {
            match (byte, if byte == b'\\' { bytes.next() } else { None }) {
                (b'\\', Some(d)) if d.is_ascii_digit() => {
                    out.extend_from_slice(captures.get(usize::from(d - b'0')).map_or(&[][..], |m| m.as_bytes()));
                }
                (b'\\', Some(other)) => out.push(other),
                (other, _) => out.push(other),
            }
        }
        out
    };
    Bytes::from(pattern.replacen(text, usize::from(!all), expand).into_owned())
}
