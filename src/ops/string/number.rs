//! Numbers to strings and back.

use super::printf;
use crate::error::{Error, Result, bail};
use crate::graph::op::{Grad, Kernel, KernelCtx, Op};
use crate::ops::shape;
use crate::tensor::{DType, Tensor, dispatch};
use bytes::Bytes;
use num_complex::Complex;

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "AsString",
        ins: &["input: T"],
        outs: &["output: string"],
        attrs: &[
            "T: {float, double, int32, uint8, int16, int8, int64, bfloat16, uint16, half, uint32, uint64, complex64, complex128, bool, variant, string}",
            "precision: int = -1",
            "scientific: bool = false",
            "shortest: bool = false",
            "width: int = -1",
            "fill: string = ''",
        ],
        shape: shape::unchanged,
        kernel: Kernel::Pure(as_string),
        grad: Grad::None("strings"),
        rows: &["f32[1.5] => str[\"1.500000\"]", "precision=2; f64 -1 => str \"-1.00\"", "i32[-3] => str[\"-3\"]"],
    },
    Op {
        name: "StringToNumber",
        ins: &["string_tensor: string"],
        outs: &["output: out_type"],
        attrs: &["out_type: {float, double, int32, int64} = DT_FLOAT"],
        shape: shape::unchanged,
        kernel: Kernel::Pure(to_number),
        grad: Grad::None("strings"),
        rows: &["str[\"1.5\" \" -2e1 \"] => f32[1.5 -20]", "out_type=DT_INT32; str[\"7\"] => i32[7]"],
    },
];

fn as_string(ctx: &mut KernelCtx) -> Result<()> {
    let node = ctx.node();
    let (precision, width, fill) = (node.int("precision")?, node.int("width")?, node.string("fill")?);
    let (scientific, shortest) = (node.boolean("scientific")?, node.boolean("shortest")?);
    let input = ctx.input(0)?;
    let dtype = input.dtype();
    if !(dtype.is_floating() || dtype.is_complex()) {
        if scientific || shortest {
            bail!(InvalidArgument, "scientific and shortest format not supported for datatype {dtype}");
        }
        if precision >= 0 {
            bail!(InvalidArgument, "precision not supported for datatype {dtype}");
        }
    }
    if fill.len() > 1 {
        bail!(InvalidArgument, "Fill string must be one or fewer characters");
    }
    if scientific && shortest {
        bail!(InvalidArgument, "Cannot select both scientific and shortest notation");
    }
    let digits = usize::try_from(precision).unwrap_or(6).min(1 << 10);
    let number = |value: f64| {
        let text = match (shortest, scientific) {
            (true, _) => printf::general(value, digits),
            (_, true) => printf::scientific(value, digits),
            _ => printf::fixed(value, digits),
        };
        printf::pad(text, width, fill)
    };
    // A flag for signs says nothing to numbers without.
    let has_sign = !matches!(dtype, DType::Uint8 | DType::Uint16 | DType::Uint32 | DType::Uint64);
    let fill_integer = if has_sign || matches!(fill, "0" | "-") { fill } else { "" };
    let integer = |text: String| printf::pad(text, width, fill_integer);
    let texts: Vec<String> = match dtype {
        DType::Float => input.as_slice::<f32>()?.iter().map(|&v| number(f64::from(v))).collect(),
        DType::Double => input.as_slice::<f64>()?.iter().map(|&v| number(v)).collect(),
        DType::Half => input.as_slice::<half::f16>()?.iter().map(|v| number(v.to_f64())).collect(),
        DType::Bfloat16 => input.as_slice::<half::bf16>()?.iter().map(|v| number(v.to_f64())).collect(),
        DType::Complex64 => {
            let pair = |v: &Complex<f32>| format!("({},{})", number(f64::from(v.re)), number(f64::from(v.im)));
            input.as_slice::<Complex<f32>>()?.iter().map(pair).collect()
        }
        DType::Complex128 => {
            input.as_slice::<Complex<f64>>()?.iter().map(|v| format!("({},{})", number(v.re), number(v.im))).collect()
        }
        DType::Bool => input.as_slice::<bool>()?.iter().map(ToString::to_string).collect(),
        DType::String => return ctx.forward(0, 0),
        DType::Variant => input.handles()?.iter().map(|h| format!("{h:?}")).collect(),
        other => dispatch!(other, integers, T => input.as_slice::<T>()?.iter().map(|v| integer(v.to_string())).collect()),
    };
    let output = Tensor::from_strings(input.dims(), texts.into_iter().map(Bytes::from).collect())?;
    ctx.set(0, output)
}

fn to_number(ctx: &mut KernelCtx) -> Result<()> {
    let dtype = ctx.node().dtype("out_type")?;
    let input = ctx.input(0)?;
    let bad = |string: &Bytes| {
        Error::invalid_argument(format!(
            "StringToNumberOp could not correctly convert string: {} to {dtype}",
            String::from_utf8_lossy(string)
        ))
    };
    let strings = input.strings()?;
    macro_rules! convert {
        ($type:ty, $parse:expr) => {
            Tensor::new(
                input.dims(),
                strings.iter().map(|s| $parse(trim(s)).ok_or_else(|| bad(s))).collect::<Result<Vec<$type>>>()?,
            )?
        };
    }
    let output = match dtype {
        DType::Float => convert!(f32, |t: &str| if is_hex(t) { parse_float(t).map(|v| v as f32) } else { t.parse().ok() }),
        DType::Double => convert!(f64, parse_float),
        DType::Int32 => convert!(i32, |t: &str| if t.starts_with('+') { None } else { t.parse().ok() }),
        _ => convert!(i64, |t: &str| if t.starts_with('+') { None } else { t.parse().ok() }),
    };
    ctx.set(0, output)
}

fn trim(string: &Bytes) -> &str {
    std::str::from_utf8(string).unwrap_or_default().trim_matches([' ', '\t', '\n', '\r'])
}

fn is_hex(text: &str) -> bool {
    let digits = text.trim_start_matches(['+', '-']);
    digits.starts_with("0x") || digits.starts_with("0X")
}

/// A decimal number, `inf`, `nan`, or a hexadecimal integer.
fn parse_float(text: &str) -> Option<f64> {
    if !is_hex(text) {
        return text.parse().ok();
    }
    let magnitude = u64::from_str_radix(text.trim_start_matches(['+', '-']).get(2..)?, 16).ok()? as f64;
    Some(if text.starts_with('-') { -magnitude } else { magnitude })
}
