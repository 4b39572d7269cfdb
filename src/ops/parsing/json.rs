//! `Example` messages written as JSON.

use crate::error::{Error, Result, bail};
use crate::graph::op::{Grad, Kernel, KernelCtx, Op};
use crate::tensor::Tensor;
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use prost::encoding::{WireType, encode_key, encode_varint};
use serde_json::{Map, Value};

pub(super) static OPS: &[Op] = &[Op {
    name: "DecodeJSONExample",
    ins: &["json_examples: string"],
    outs: &["binary_examples: string"],
    attrs: &[],
    shape: crate::ops::shape::unchanged,
    kernel: Kernel::Pure(decode_json),
    grad: Grad::Missing,
    rows: &[
        "str[\"{}\" \"{\\\"features\\\": {\\\"feature\\\": {\\\"a\\\": {\\\"int64List\\\": {\\\"value\\\": [\\\"1\\\", 2]}}}}}\"] \
             => str[\"\" \"\\n\\r\\n\\x0b\\n\\x01a\\x12\\x06\\x1a\\x04\\x08\\x01\\x08\\x02\"]",
    ],
}];

fn decode_json(ctx: &mut KernelCtx) -> Result<()> {
    let output = {
        let input = ctx.input(0)?;
        let mut examples = Vec::with_capacity(input.len());
        for (at, text) in input.strings()?.iter().enumerate() {
            let unreadable = |why: String| Error::invalid_argument(format!("Error while parsing JSON at position {at}: {why}"));
            let value: Value = serde_json::from_slice(text).map_err(|e| unreadable(e.to_string()))?;
            let example = example(&value).map_err(|e| unreadable(e.message().to_string()))?;
            examples.push(Bytes::from(example));
        }
        Tensor::from_strings(input.dims(), examples)?
    };
    ctx.set(0, output)
}

/// A field of bytes: its number, its length, and them.
fn put(out: &mut Vec<u8>, tag: u32, body: &[u8]) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(body.len() as u64, out);
    out.extend_from_slice(body);
}

fn object<'a>(value: &'a Value, what: &str) -> Result<&'a Map<String, Value>> {
    value.as_object().ok_or_else(|| Error::invalid_argument(format!("{what} must be an object, got {value}")))
}

/// The message that an object stands for, field by field as they are written; `each` refuses names that it doesn't know.
fn message(value: &Value, what: &str, each: impl Fn(&str, &Value, &mut Vec<u8>) -> Result<bool>) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    for (name, value) in object(value, what)? {
        if !each(name, value, &mut out)? {
            bail!(InvalidArgument, "{what}: cannot find field {name}");
        }
    }
    Ok(out)
}

fn example(value: &Value) -> Result<Vec<u8>> {
    message(value, "Example", |name, value, out| {
        if name == "features" && !value.is_null() {
            put(out, 1, &features(value)?);
        }
        Ok(name == "features")
    })
}

fn features(value: &Value) -> Result<Vec<u8>> {
    message(value, "Features", |name, value, out| {
        if name == "feature" && !value.is_null() {
            for (key, value) in object(value, "feature")? {
                let mut entry = Vec::new();
                put(&mut entry, 1, key.as_bytes());
                put(&mut entry, 2, &feature(value)?);
                put(out, 1, &entry);
            }
        }
        Ok(name == "feature")
    })
}

fn feature(value: &Value) -> Result<Vec<u8>> {
    message(value, "Feature", |name, value, out| {
        let (tag, element): (u32, fn(&Value, &mut Vec<u8>) -> Result<()>) = match name {
            "bytesList" | "bytes_list" => (1, |value, out| {
                put(out, 1, &bytes(value)?);
                Ok(())
            }),
            "floatList" | "float_list" => (2, |value, out| {
                encode_key(1, WireType::ThirtyTwoBit, out);
                out.extend_from_slice(&float(value)?.to_le_bytes());
                Ok(())
            }),
            "int64List" | "int64_list" => (3, |value, out| {
                encode_key(1, WireType::Varint, out);
                encode_varint(int(value)? as u64, out);
                Ok(())
            }),
            _ => return Ok(false),
        };
        if !value.is_null() {
            put(out, tag, &list(value, element)?);
        }
        Ok(true)
    })
}

fn list(value: &Value, element: fn(&Value, &mut Vec<u8>) -> Result<()>) -> Result<Vec<u8>> {
    message(value, "list", |name, value, out| {
        match value {
            Value::Array(items) => items.iter().try_for_each(|item| element(item, out))?,
            Value::Null => {}
            other => bail!(InvalidArgument, "value must be an array, got {other}"),
        }
        Ok(name == "value")
    })
}

fn bytes(value: &Value) -> Result<Bytes> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let config = config.with_decode_allow_trailing_bits(true);
    let Some(text) = value.as_str() else { bail!(InvalidArgument, "bytes must be a string of base64, got {value}") };
    let web_safe = text.contains(['-', '_']);
    let alphabet = if web_safe { &alphabet::URL_SAFE } else { &alphabet::STANDARD };
    let decoded = GeneralPurpose::new(alphabet, config).decode(text);
    decoded.map(Bytes::from).map_err(|e| Error::invalid_argument(format!("{text:?} isn't base64: {e}")))
}

fn float(value: &Value) -> Result<f32> {
    let number = match value {
        Value::Number(number) => number.as_f64().map(|v| v as f32),
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f32::NAN),
            "Infinity" => Some(f32::INFINITY),
            "-Infinity" => Some(f32::NEG_INFINITY),
            text => text.parse().ok(),
        },
        _ => None,
    };
    number.ok_or_else(|| Error::invalid_argument(format!("{value} is no float")))
}

fn int(value: &Value) -> Result<i64> {
    let whole = |v: f64| (v.fract() == 0.0 && v.abs() < 9.3e18).then_some(v as i64);
    let number = match value {
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().and_then(whole)),
        Value::String(text) => text.parse().ok().or_else(|| text.parse().ok().and_then(whole)),
        _ => None,
    };
    number.ok_or_else(|| Error::invalid_argument(format!("{value} is no int64")))
}
