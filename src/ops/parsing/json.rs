//! `Example` messages written as JSON.

use crate::error::{Error, Result, bail};
use crate::graph::op::{Grad, Kernel, KernelCtx, Op};
use crate::proto::{BytesList, Example, Feature, Features, FloatList, Int64List, feature::Kind};
use crate::tensor::Tensor;
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use prost::Message;
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
             => str[\"\" \"\\n\\r\\n\\x0b\\n\\x01a\\x12\\x06\\x1a\\x04\\n\\x02\\x01\\x02\"]",
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
            examples.push(Bytes::from(example.encode_to_vec()));
        }
        Tensor::from_strings(input.dims(), examples)?
    };
    ctx.set(0, output)
}

fn object<'a>(value: &'a Value, what: &str) -> Result<&'a Map<String, Value>> {
    value.as_object().ok_or_else(|| Error::invalid_argument(format!("{what} must be an object, got {value}")))
}

/// The only fields that a message may have, by either of their names; others are refused.
fn known_fields(value: &Value, what: &str, mut each: impl FnMut(&str, &Value) -> Result<bool>) -> Result<()> {
    for (name, value) in object(value, what)? {
        if !each(name, value)? {
            bail!(InvalidArgument, "{what}: cannot find field {name}");
        }
    }
    Ok(())
}

fn example(value: &Value) -> Result<Example> {
    let mut example = Example::default();
    known_fields(value, "Example", |name, value| {
        if name == "features" && !value.is_null() {
            example.features = Some(features(value)?);
        }
        Ok(name == "features")
    })?;
    Ok(example)
}

fn features(value: &Value) -> Result<Features> {
    let mut features = Features::default();
    known_fields(value, "Features", |name, value| {
        if name == "feature" && !value.is_null() {
            for (key, value) in object(value, "feature")? {
                features.feature.insert(key.clone(), feature(value)?);
            }
        }
        Ok(name == "feature")
    })?;
    Ok(features)
}

fn feature(value: &Value) -> Result<Feature> {
    let mut kind = None;
    known_fields(value, "Feature", |name, value| {
        kind = Some(match name {
            "bytesList" | "bytes_list" => Kind::BytesList(BytesList { value: list(value, bytes)? }),
            "floatList" | "float_list" => Kind::FloatList(FloatList { value: list(value, float)? }),
            "int64List" | "int64_list" => Kind::Int64List(Int64List { value: list(value, int)? }),
            _ => return Ok(false),
        });
        Ok(true)
    })?;
    Ok(Feature { kind })
}

fn list<T>(value: &Value, element: fn(&Value) -> Result<T>) -> Result<Vec<T>> {
    let mut all = Vec::new();
    known_fields(value, "list", |name, value| {
        match value {
            Value::Array(items) => items.iter().try_for_each(|item| element(item).map(|e| all.push(e)))?,
            Value::Null => {}
            other => bail!(InvalidArgument, "value must be an array, got {other}"),
        }
        Ok(name == "value")
    })?;
    Ok(all)
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
