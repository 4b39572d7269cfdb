//! Numbers to strings and back.

use super::printf;
use crate::error::{Error, Result, bail};
use crate::graph::op::{Grad, Kernel, KernelCtx, Op};
use crate::ops::shape;
use crate::tensor::{DType, Tensor, dispatch};
use bytes::Bytes;
use num_complex::Complex;

pub(super) static OPS: &[Op] = &[
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
        if width > -1 { printf::pad(text, width, fill) } else { text }
    };
    let integer = |text: String| if width > -1 { printf::pad(text, width, fill) } else { text };
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
    fn parse<T: std::str::FromStr>(string: &Bytes, dtype: DType) -> Result<T> {
        let text = std::str::from_utf8(string).unwrap_or_default().trim_matches([' ', '\t', '\n', '\r']);
        let text = text.strip_prefix('+').filter(|t| !t.starts_with(['+', '-'])).unwrap_or(text);
        text.parse().map_err(|_| {
            Error::invalid_argument(format!("StringToNumberOp could not correctly convert string: {} to {dtype}", String::from_utf8_lossy(string)))
        })
    }
    let strings = input.strings()?;
    macro_rules! convert {
        ($type:ty) => {
            Tensor::new(input.dims(), strings.iter().map(|s| parse::<$type>(s, dtype)).collect::<Result<Vec<_>>>()?)?
        };
    }
    let output = match dtype {
        DType::Float => convert!(f32),
        DType::Double => convert!(f64),
        DType::Int32 => convert!(i32),
        _ => convert!(i64),
    };
    ctx.set(0, output)
}
