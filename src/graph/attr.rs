//! Attributes of nodes: TensorFlow's messages, with typed access.

use crate::error::{Error, Result};
use crate::proto::{AttrValue, NameAttrList, attr_value::ListValue, attr_value::Value};
use crate::tensor::{DType, Shape, Tensor};
use bytes::Bytes;

pub use crate::proto::Attrs;

fn kind(value: &AttrValue) -> &'static str {
    match &value.value {
        None => "nothing",
        Some(Value::S(_)) => "string",
        Some(Value::I(_)) => "int",
        Some(Value::F(_)) => "float",
        Some(Value::B(_)) => "bool",
        Some(Value::Type(_)) => "type",
        Some(Value::Shape(_)) => "shape",
        Some(Value::Tensor(_)) => "tensor",
        Some(Value::List(_)) => "list",
        Some(Value::Func(_)) => "func",
        Some(Value::Placeholder(_)) => "placeholder",
    }
}

#[cold]
fn wrong(value: &AttrValue, expected: &str) -> Error {
    Error::invalid_argument(format!("AttrValue had value with type '{}' when '{expected}' expected", kind(value)))
}

/// The value as an integer.
pub fn int(value: &AttrValue) -> Result<i64> {
    if let Some(Value::I(v)) = value.value { Ok(v) } else { Err(wrong(value, "int")) }
}

/// The value as a float.
pub fn float(value: &AttrValue) -> Result<f32> {
    if let Some(Value::F(v)) = value.value { Ok(v) } else { Err(wrong(value, "float")) }
}

/// The value as a truth value.
pub fn boolean(value: &AttrValue) -> Result<bool> {
    if let Some(Value::B(v)) = value.value { Ok(v) } else { Err(wrong(value, "bool")) }
}

/// The value as bytes.
pub fn bytes(value: &AttrValue) -> Result<Bytes> {
    if let Some(Value::S(v)) = &value.value { Ok(v.clone()) } else { Err(wrong(value, "string")) }
}

/// The value as text.
pub fn string(value: &AttrValue) -> Result<&str> {
    let Some(Value::S(v)) = &value.value else { return Err(wrong(value, "string")) };
    std::str::from_utf8(v).map_err(|_| Error::invalid_argument("an attribute's string isn't UTF-8"))
}

/// The value as a dtype.
pub fn dtype(value: &AttrValue) -> Result<DType> {
    if let Some(Value::Type(v)) = value.value { DType::try_from_number(v) } else { Err(wrong(value, "type")) }
}

/// The value as a static shape.
pub fn shape(value: &AttrValue) -> Result<Shape> {
    if let Some(Value::Shape(v)) = &value.value { Ok(Shape::from_message(v)) } else { Err(wrong(value, "shape")) }
}

/// The value as a tensor.
pub fn tensor(value: &AttrValue) -> Result<Tensor> {
    if let Some(Value::Tensor(v)) = &value.value { Tensor::from_message(v) } else { Err(wrong(value, "tensor")) }
}

/// The value as a function's name and attributes.
pub fn func(value: &AttrValue) -> Result<&NameAttrList> {
    if let Some(Value::Func(v)) = &value.value { Ok(v) } else { Err(wrong(value, "func")) }
}

/// The value as a list.
pub fn list(value: &AttrValue) -> Result<&ListValue> {
    if let Some(Value::List(v)) = &value.value { Ok(v) } else { Err(wrong(value, "list")) }
}

/// The value as a list of dtypes.
pub fn dtypes(value: &AttrValue) -> Result<Vec<DType>> {
    list(value)?.r#type.iter().map(|&t| DType::try_from_number(t)).collect()
}

/// The value as a list of shapes.
pub fn shapes(value: &AttrValue) -> Result<Vec<Shape>> {
    Ok(list(value)?.shape.iter().map(Shape::from_message).collect())
}

/// Something that can be the value of an attribute.
pub trait IntoAttr {
    /// The message.
    fn into_attr(self) -> AttrValue;
}

impl IntoAttr for AttrValue {
    fn into_attr(self) -> AttrValue {
        self
    }
}

macro_rules! into_attr {
    ($($type:ty, $v:ident => $value:expr;)*) => {
        $(impl IntoAttr for $type {
            fn into_attr(self) -> AttrValue {
                let $v = self;
                AttrValue { value: Some($value) }
            }
        })*
    };
}

into_attr! {
    i64, v => Value::I(v);
    i32, v => Value::I(i64::from(v));
    usize, v => Value::I(v as i64);
    f32, v => Value::F(v);
    bool, v => Value::B(v);
    &str, v => Value::S(Bytes::copy_from_slice(v.as_bytes()));
    String, v => Value::S(v.into());
    &String, v => Value::S(Bytes::copy_from_slice(v.as_bytes()));
    Bytes, v => Value::S(v);
    DType, v => Value::Type(v.number());
    Shape, v => Value::Shape(v.to_message());
    &Shape, v => Value::Shape(v.to_message());
    NameAttrList, v => Value::Func(v);
    crate::proto::TensorProto, v => Value::Tensor(v);
    &[i64], v => Value::List(ListValue { i: v.to_vec(), ..Default::default() });
    &[f32], v => Value::List(ListValue { f: v.to_vec(), ..Default::default() });
    &[bool], v => Value::List(ListValue { b: v.to_vec(), ..Default::default() });
    &[DType], v => Value::List(ListValue { r#type: v.iter().map(|t| t.number()).collect(), ..Default::default() });
    &[Shape], v => Value::List(ListValue { shape: v.iter().map(Shape::to_message).collect(), ..Default::default() });
    &[&str], v => Value::List(ListValue { s: v.iter().map(|s| Bytes::copy_from_slice(s.as_bytes())).collect(), ..Default::default() });
    Vec<Bytes>, v => Value::List(ListValue { s: v, ..Default::default() });
    Vec<NameAttrList>, v => Value::List(ListValue { func: v, ..Default::default() });
}
