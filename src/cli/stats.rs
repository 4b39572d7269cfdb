//! Statistics of a tensor's elements, and a look at them.

use super::literal;
use crate::error::Result;
use crate::tensor::{DType, Tensor};
use serde_json::{Value, json};

/// What the elements of a numeric tensor are like. NaN and infinities are counted, and left out of the rest.
#[derive(Debug, PartialEq)]
pub(super) struct Stats {
    pub min: f64,
    pub max: f64,
    pub mean: f64,
    pub std: f64,
    pub zeros: usize,
    pub nans: usize,
    pub infinities: usize,
}

/// The elements as numbers; none for strings, handles and complex numbers.
pub(super) fn numbers(tensor: &Tensor) -> Option<Vec<f64>> {
    if !tensor.dtype().is_plain() || tensor.dtype().is_complex() {
        return None;
    }
    let values = literal::cast(tensor.clone(), Some(DType::Double)).ok()?;
    values.as_slice::<f64>().ok().map(<[f64]>::to_vec)
}

pub(super) fn stats(tensor: &Tensor) -> Option<Stats> {
    let values = numbers(tensor)?;
    let finite: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    let n = finite.len() as f64;
    let mean = finite.iter().sum::<f64>() / n;
    Some(Stats {
        min: finite.iter().copied().fold(f64::NAN, f64::min),
        max: finite.iter().copied().fold(f64::NAN, f64::max),
        mean,
        std: (finite.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt(),
        zeros: values.iter().filter(|&&v| v == 0.0).count(),
        nans: values.iter().filter(|v| v.is_nan()).count(),
        infinities: values.iter().filter(|v| v.is_infinite()).count(),
    })
}

/// A number with six digits.
pub(super) fn short(value: f64) -> String {
    if value == 0.0 || !value.is_finite() || (value == value.trunc() && value.abs() < 1e15) {
        return format!("{value}");
    }
    let exponent = value.abs().log10().floor() as i32;
    if !(-4..9).contains(&exponent) {
        let text = format!("{value:.5e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        return format!("{}e{exponent}", digits.trim_end_matches('0').trim_end_matches('.'));
    }
    let text = format!("{value:.*}", (5 - exponent).max(0) as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text }
}

impl Stats {
    pub fn line(&self) -> String {
        let mut line =
            format!("min {}  max {}  mean {}  std {}", short(self.min), short(self.max), short(self.mean), short(self.std));
        for (count, what) in [(self.zeros, "zeros"), (self.nans, "NaN"), (self.infinities, "infinite")] {
            if count > 0 {
                line += &format!("  {count} {what}");
            }
        }
        line
    }

    pub fn json(&self) -> Value {
        json!({
            "min": self.min, "max": self.max, "mean": self.mean, "std": self.std,
            "zeros": self.zeros, "nan": self.nans, "inf": self.infinities,
        })
    }
}

/// One element as text.
fn element(tensor: &Tensor, numbers: Option<&[f64]>, index: usize) -> String {
    if let Ok(strings) = tensor.strings() {
        let text = strings[index].escape_ascii().to_string();
        return if text.len() > 80 {
            format!("\"{}...\" ({} bytes)", &text[..80], strings[index].len())
        } else {
            format!("\"{text}\"")
        };
    }
    if tensor.dtype() == DType::Bool {
        return tensor.as_slice::<bool>().map(|b| b[index].to_string()).unwrap_or_default();
    }
    if tensor.dtype() == DType::Int64 {
        return tensor.as_slice::<i64>().map(|v| v[index].to_string()).unwrap_or_default();
    }
    if tensor.dtype() == DType::Uint64 {
        return tensor.as_slice::<u64>().map(|v| v[index].to_string()).unwrap_or_default();
    }
    match numbers {
        Some(values) => short(values[index]),
        None => bare(tensor, index),
    }
}

/// An element in the text form of tensors, without the dtype: `1:2` for a complex number.
fn bare(tensor: &Tensor, index: usize) -> String {
    let text = tensor.clone().reshaped(&[tensor.len()]).and_then(|t| t.row(index)).map(|t| t.to_string()).unwrap_or_default();
    text.split_once(' ').map_or(text.clone(), |parts| parts.1.to_string())
}

/// The elements in brackets, at most `edge` at the start and the end of each row where there are many, one row a line.
pub(super) fn look(tensor: &Tensor, edge: usize) -> String {
    if tensor.is_empty() {
        return format!("[] (shape {})", tensor.shape());
    }
    let numbers = numbers(tensor);
    let cut = tensor.len() > 8 * edge;
    let mut out = String::new();
    level(tensor, numbers.as_deref(), 0, 0, if cut { edge } else { usize::MAX }, &mut out);
    out
}

fn level(tensor: &Tensor, numbers: Option<&[f64]>, axis: usize, start: usize, edge: usize, out: &mut String) {
    let dims = tensor.dims();
    if axis == dims.len() {
        *out += &element(tensor, numbers, start);
        return;
    }
    let step: usize = dims[axis + 1..].iter().product();
    let last = axis + 1 == dims.len();
    out.push('[');
    let mut index = 0;
    while index < dims[axis] {
        if index > 0 {
            *out += &if last { " ".to_string() } else { format!("\n{}", " ".repeat(axis + 1)) };
        }
        if index == edge && dims[axis] > edge.saturating_mul(2) + 1 {
            *out += "...";
            index = dims[axis] - edge;
            continue;
        }
        level(tensor, numbers, axis + 1, start + index * step, edge, out);
        index += 1;
    }
    out.push(']');
}

/// `float32[2,3]`
pub(super) fn kind(tensor: &Tensor) -> String {
    format!("{}{}", tensor.dtype(), tensor.shape())
}

/// The elements as nested JSON lists; numbers that JSON lacks are strings: `NaN`, `inf`, `1:2` for a complex number.
pub(super) fn to_json(tensor: &Tensor) -> Result<Value> {
    fn nest(dims: &[usize], leaves: &mut impl Iterator<Item = Value>) -> Value {
        match dims {
            [] => leaves.next().unwrap_or(Value::Null),
            [n, rest @ ..] => (0..*n).map(|_| nest(rest, leaves)).collect(),
        }
    }
    let leaf = |v: f64| if v.is_finite() { json!(v) } else { json!(v.to_string()) };
    let leaves: Vec<Value> = if let Ok(strings) = tensor.strings() {
        strings.iter().map(|s| json!(String::from_utf8_lossy(s))).collect()
    } else if tensor.dtype() == DType::Bool {
        tensor.as_slice::<bool>()?.iter().map(|&b| json!(b)).collect()
    } else if tensor.dtype() == DType::Uint64 {
        tensor.as_slice::<u64>()?.iter().map(|&v| json!(v)).collect()
    } else if tensor.dtype().storage().is_integer() {
        literal::cast(tensor.clone(), Some(DType::Int64))?.as_slice::<i64>()?.iter().map(|&v| json!(v)).collect()
    } else {
        match numbers(tensor) {
            Some(values) => values.into_iter().map(leaf).collect(),
            None => (0..tensor.len()).map(|i| json!(bare(tensor, i))).collect(),
        }
    };
    Ok(nest(tensor.dims(), &mut leaves.into_iter()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_leave_out_what_is_not_finite() {
        let t: Tensor = "f32[1 3 0 nan inf]".parse().unwrap();
        let s = stats(&t).unwrap();
        assert_eq!((s.min, s.max, s.zeros, s.nans, s.infinities), (0.0, 3.0, 1, 1, 1));
        assert!((s.mean - 4.0 / 3.0).abs() < 1e-12);
        assert_eq!(stats(&"str \"a\"".parse().unwrap()), None);
    }

    #[test]
    fn long_rows_are_cut() {
        let t = Tensor::new(&[2, 100], (0..200).collect::<Vec<i32>>()).unwrap();
        assert_eq!(look(&t, 3), "[[0 1 2 ... 97 98 99]\n [100 101 102 ... 197 198 199]]");
        assert_eq!(look(&"f32[1.5 2]".parse().unwrap(), 3), "[1.5 2]");
    }

    #[test]
    fn numbers_are_short() {
        for (v, text) in
            [(0.1, "0.1"), (1.0 / 3.0, "0.333333"), (1234567.5, "1234568"), (1e-7, "1e-7"), (2.5e12, "2500000000000")]
        {
            assert_eq!(short(v), text);
        }
    }

    #[test]
    fn json_nests() {
        for (tensor, json) in [
            ("f32[[1 2] [3 nan]]", r#"[[1.0,2.0],[3.0,"NaN"]]"#),
            ("c64[1:2]", r#"["1:2"]"#),
            ("u64 18446744073709551615", "18446744073709551615"),
            ("f32{0,2}[]", "[]"),
        ] {
            assert_eq!(to_json(&tensor.parse().unwrap()).unwrap().to_string(), json, "{tensor}");
        }
    }
}
