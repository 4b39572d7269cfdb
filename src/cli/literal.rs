//! Values on the command line: `3.5`, `[[1,2],[3,4]]`, `"text"`, `i64[1 2]`, or a file `x.npy`.

use crate::error::{Error, Result, bail};
use crate::graph::Graph;
use crate::numpy;
use crate::session::Session;
use crate::tensor::{DType, Tensor};
use bytes::Bytes;
use serde_json::Value;
use std::fs::File;
use std::io::BufReader;

/// A value for a tensor of this dtype: a `.npy` file, the text form of tensors, or nested lists as JSON has them.
///
/// # Errors
/// `InvalidArgument` for what is none of these, `NotFound` for a file that isn't there.
pub(super) fn parse(text: &str, dtype: Option<DType>) -> Result<Tensor> {
    if text.ends_with(".npy") {
        let place = |e: Error| e.within(text.to_string());
        let file = File::open(text).map_err(|e| place(e.into()))?;
        return cast(numpy::read_npy(BufReader::new(file)).map_err(place)?, dtype);
    }
    let word = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
    if word > 0
        && word < text.len()
        && DType::from_name(&text[..word]).is_some()
        && text[word..].trim_start_matches(' ').starts_with(['[', '{'])
    {
        return text.parse();
    }
    let value: Value = match serde_json::from_str(text) {
        Ok(value) => value,
        // A bare word is a string, where one is wanted.
        Err(_) if dtype.is_none_or(|d| d == DType::String) && !text.starts_with(['[', '"']) => Value::String(text.into()),
        Err(_) => python(text)?,
    };
    // A number is a string as well, where one is wanted.
    let value = match value {
        Value::Number(_) | Value::Bool(_) if dtype == Some(DType::String) => Value::String(text.into()),
        other => other,
    };
    from_json(&value, dtype)
}

/// Words that JSON lacks: Python's booleans, `inf` and `nan`.
fn python(text: &str) -> Result<Value> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "+-._".contains(c))).unwrap_or(rest.len());
        if end == 0 {
            out.push(match c {
                '(' => '[',
                ')' => ']',
                '\'' => '"',
                c => c,
            });
            rest = &rest[c.len_utf8()..];
            continue;
        }
        let word = &rest[..end];
        match word.to_ascii_lowercase().trim_start_matches(['-', '+']) {
            "true" | "false" => out += &word.to_ascii_lowercase(),
            "inf" | "nan" | "infinity" => out += &format!("\"{word}\""),
            _ => match word.parse::<f64>() {
                Ok(_) => out += &complete(word),
                Err(_) => out += word,
            },
        }
        rest = &rest[end..];
    }
    let out = out.replace(",]", "]");
    serde_json::from_str(&out)
        .map_err(|_| Error::invalid_argument(format!("{text:?} is no value: write 3.5, [1,2], \"text\", f32[1 2] or FILE.npy")))
}

/// A number as JSON has it: with digits before and after the point.
fn complete(word: &str) -> String {
    let (sign, digits) = if let Some(rest) = word.strip_prefix('-') { ("-", rest) } else { ("", word.trim_start_matches('+')) };
    let digits = if digits.starts_with('.') { format!("0{digits}") } else { digits.to_string() };
    let digits = match digits.split_once('.') {
        Some((whole, rest)) if !rest.starts_with(|c: char| c.is_ascii_digit()) => format!("{whole}.0{rest}"),
        _ => digits,
    };
    format!("{sign}{digits}")
}

fn from_json(value: &Value, dtype: Option<DType>) -> Result<Tensor> {
    let mut dims = Vec::new();
    let mut at = value;
    while let Value::Array(items) = at {
        dims.push(items.len());
        match items.first() {
            Some(first) => at = first,
            None => break,
        }
    }
    let mut items = Vec::new();
    flatten(value, &dims, &mut items)?;
    let special = |s: &str| s.to_ascii_lowercase().replace("infinity", "inf").parse::<f64>().ok();
    let strings = items.iter().any(|v| v.is_string()) && dtype.is_none_or(|d| d == DType::String);
    if strings || dtype == Some(DType::String) {
        let text = |v: &&Value| match v {
            Value::String(s) => Ok(Bytes::from(s.clone())),
            other => Err(Error::invalid_argument(format!("expected a string, got {other}"))),
        };
        return Tensor::from_strings(&dims, items.iter().map(text).collect::<Result<_>>()?);
    }
    if items.iter().all(|v| v.is_boolean()) && !items.is_empty() {
        let bools = Tensor::new(&dims, items.iter().map(|v| v.as_bool() == Some(true)).collect())?;
        return cast(bools, dtype);
    }
    if items.iter().all(|v| v.is_i64() || v.is_u64()) && dtype.is_none_or(|d| d.is_integer()) {
        // Wide numbers wrap in the cast, as they do in TensorFlow's.
        let ints = items.iter().map(|v| v.as_i64().or_else(|| v.as_u64().map(|u| u as i64)).unwrap_or(0)).collect();
        return cast(Tensor::new::<i64>(&dims, ints)?, dtype.or(Some(DType::Int32)));
    }
    let number = |v: &&Value| match v {
        Value::String(s) => special(s).ok_or_else(|| Error::invalid_argument(format!("expected a number, got {v}"))),
        other => other.as_f64().ok_or_else(|| Error::invalid_argument(format!("expected a number, got {other}"))),
    };
    let numbers = items.iter().map(number).collect::<Result<Vec<f64>>>()?;
    cast(Tensor::new(&dims, numbers)?, dtype.or(Some(DType::Float)))
}

fn flatten<'a>(value: &'a Value, dims: &[usize], out: &mut Vec<&'a Value>) -> Result<()> {
    match (value, dims) {
        (Value::Array(items), [first, rest @ ..]) => {
            if items.len() != *first {
                bail!(InvalidArgument, "the rows of a value differ in length: {} and {first}", items.len());
            }
            items.iter().try_for_each(|item| flatten(item, rest, out))
        }
        (Value::Array(_), []) => bail!(InvalidArgument, "a row stands beside a number"),
        (_, [_, ..]) => bail!(InvalidArgument, "a number stands beside a row"),
        (leaf, []) => {
            out.push(leaf);
            Ok(())
        }
    }
}

/// The tensor as another dtype, as TensorFlow's sessions convert what they are fed; strings stay strings.
///
/// # Errors
/// `InvalidArgument` where there is no such conversion.
pub(super) fn cast(tensor: Tensor, dtype: Option<DType>) -> Result<Tensor> {
    let Some(to) = dtype.filter(|&d| d != tensor.dtype()) else { return Ok(tensor) };
    if !to.is_plain() || !tensor.dtype().is_plain() {
        bail!(InvalidArgument, "a value of {} can't be fed where {to} is wanted", tensor.dtype());
    }
    if tensor.dtype().storage() == to.storage() {
        return Tensor::from_le_bytes(to, tensor.dims(), &tensor.to_le_bytes()?);
    }
    let graph = Graph::new();
    let input = graph.op("Placeholder").attr("dtype", tensor.dtype()).output()?;
    let output = graph.op("Cast").input(input).attr("DstT", to).output()?;
    let mut results = Session::new(&graph).run(&[output], &[(input, &tensor)])?;
    results.pop().ok_or_else(|| Error::internal("a cast gave nothing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_become_tensors() {
        let table: [(&str, Option<DType>, &str); 17] = [
            ("3", None, "i32 3"),
            ("3", Some(DType::Float), "f32 3"),
            ("3.5", None, "f32 3.5"),
            ("[[1,2],[3,4]]", Some(DType::Int64), "i64[[1 2] [3 4]]"),
            ("[1, 2.5]", Some(DType::Half), "f16[1 2.5]"),
            ("[]", Some(DType::Float), "f32{0}[]"),
            ("[true,false]", Some(DType::Bool), "bool[true false]"),
            ("True", Some(DType::Bool), "bool true"),
            ("(1., -.5)", Some(DType::Double), "f64[1 -0.5]"),
            ("-inf", Some(DType::Float), "f32 -inf"),
            ("hello world", Some(DType::String), "str \"hello world\""),
            ("5", Some(DType::String), "str \"5\""),
            ("[\"a\", \"b\"]", None, "str[\"a\" \"b\"]"),
            ("i64[1 2]", None, "i64[1 2]"),
            ("f32{0,3}[]", Some(DType::Float), "f32{0,3}[]"),
            ("2", Some(DType::Complex64), "c64 2:0"),
            ("1", Some(DType::Bool), "bool true"),
        ];
        for (text, dtype, expected) in table {
            assert_eq!(parse(text, dtype).unwrap().to_string(), expected, "{text} as {dtype:?}");
        }
        for (text, dtype) in [
            ("[1,[2]]", DType::Float),
            ("[[1],[2,3]]", DType::Float),
            ("x", DType::Float),
            ("no.npy", DType::Float),
            ("[1", DType::Int32),
        ] {
            assert!(parse(text, Some(dtype)).is_err(), "{text}");
        }
    }
}
