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
            let pattern = Regex::new(&re2(&scalar(ctx, 1, "Pattern")?)).map_err(bad_pattern)?;
            let rewrite = scalar(ctx, 2, "Rewrite")?;
            let all = ctx.node().boolean("replace_global")?;
            map(ctx, |s| Ok(replace(s, &pattern, &rewrite, all)))
        }),
        grad: Grad::None("strings"),
        rows: &[
            "str[\"abab\"], str \"(b)\", str \"<\\\\1>\" => str[\"a<b>a<b>\"]",
            r#"str["é a_1 {x}"], str "\\w+|\\p{Ll}|[[{]", str "<\\0>" => str["<é> <a_1> <{><x>}"]"#,
        ],
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
    Regex::new(&format!(r"\A(?:{})\z", re2(pattern))).map_err(bad_pattern)
}

/// A pattern of RE2 for the `regex` crate: classes by letter are ASCII, `\Q...\E` quotes, a brace that counts nothing and a
/// bracket within a class stand for themselves.
fn re2(pattern: &str) -> String {
    let (mut out, mut rest, mut in_class) = (String::with_capacity(pattern.len()), pattern, false);
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        rest = after;
        match c {
            '\\' => {
                let Some(letter) = after.chars().next() else {
                    out.push(c);
                    break;
                };
                rest = &after[letter.len_utf8()..];
                let set = match letter.to_ascii_lowercase() {
                    'w' => "0-9A-Za-z_",
                    'd' => "0-9",
                    's' => r"\t\n\f\r ",
                    _ => "",
                };
                match letter {
                    'Q' if !in_class => {
                        let (quoted, behind) = rest.split_once(r"\E").unwrap_or((rest, ""));
                        out += &regex::escape(quoted);
                        rest = behind;
                    }
                    'b' | 'B' if !in_class => out += &format!(r"(?-u:\{letter})"),
                    'C' if !in_class => out += "(?s-u:.)",
                    'w' | 'd' | 's' if in_class => out += set,
                    'w' | 'd' | 's' => out += &format!("[{set}]"),
                    'W' | 'D' | 'S' => out += &format!("[^{set}]"),
                    'p' | 'P' | 'x' if rest.starts_with('{') => {
                        let (name, behind) = rest.split_once('}').unwrap_or((rest, ""));
                        out += &format!(r"\{letter}{name}}}");
                        rest = behind;
                    }
                    _ => out.extend([c, letter]),
                }
            }
            '[' if in_class => match after.strip_prefix(':').and_then(|a| a.split_once(":]")) {
                Some((name, behind)) => {
                    out += &format!("[:{name}:]");
                    rest = behind;
                }
                None => out += r"\[",
            },
            '[' => {
                in_class = true;
                out.push(c);
                if let Some(behind) = rest.strip_prefix('^') {
                    out.push('^');
                    rest = behind;
                }
                if let Some(behind) = rest.strip_prefix(']') {
                    out += r"\]";
                    rest = behind;
                }
            }
            ']' => {
                in_class = false;
                out.push(c);
            }
            '&' | '~' if in_class => out.extend(['\\', c]),
            '{' if !in_class => {
                let counts = after.split_once('}').is_some_and(|(count, _)| {
                    count.starts_with(|c: char| c.is_ascii_digit())
                        && count.splitn(2, ',').all(|n| n.bytes().all(|b| b.is_ascii_digit()))
                });
                out += if counts { "{" } else { r"\{" };
            }
            _ => out.push(c),
        }
    }
    out
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
    let pattern = Regex::new(&re2(ctx.node.string("pattern")?)).map_err(bad_pattern)?;
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
