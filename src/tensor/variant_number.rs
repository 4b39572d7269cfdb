//! Variants that hold one plain number, as constants of TensorFlow's graphs may.

use super::{DType, Dims, Handle, Tensor, Variant};
use crate::error::{Result, bail};
use crate::proto::VariantTensorDataProto;
use std::any::Any;
use std::sync::Arc;

/// A number in a variant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum VariantNumber {
    Int(i32),
    Float(f32),
    Double(f64),
    Bool(bool),
}

impl VariantNumber {
    /// The number that a message holds; none for another kind of value.
    fn from_message(message: &VariantTensorDataProto) -> Option<VariantNumber> {
        let bytes = &message.metadata[..];
        match message.type_name.as_str() {
            "int" => Some(VariantNumber::Int(i32::from_le_bytes(bytes.try_into().ok()?))),
            "float" => Some(VariantNumber::Float(f32::from_le_bytes(bytes.try_into().ok()?))),
            "double" => Some(VariantNumber::Double(f64::from_le_bytes(bytes.try_into().ok()?))),
            "bool" => Some(VariantNumber::Bool(*bytes.first()? != 0)),
            _ => None,
        }
    }
}

impl Variant for VariantNumber {
    fn type_name(&self) -> &'static str {
        match self {
            VariantNumber::Int(_) => "int",
            VariantNumber::Float(_) => "float",
            VariantNumber::Double(_) => "double",
            VariantNumber::Bool(_) => "bool",
        }
    }

    fn zeros_like(&self) -> Result<Arc<dyn Variant>> {
        Ok(Arc::new(match self {
            VariantNumber::Int(_) => VariantNumber::Int(0),
            VariantNumber::Float(_) => VariantNumber::Float(0.0),
            VariantNumber::Double(_) => VariantNumber::Double(0.0),
            VariantNumber::Bool(_) => VariantNumber::Bool(false),
        }))
    }

    fn plus(&self, other: &dyn Variant) -> Result<Arc<dyn Variant>> {
        let other_number = (other as &dyn Any).downcast_ref::<VariantNumber>();
        Ok(Arc::new(match (*self, other_number.copied()) {
            (VariantNumber::Int(a), Some(VariantNumber::Int(b))) => VariantNumber::Int(a.wrapping_add(b)),
            (VariantNumber::Float(a), Some(VariantNumber::Float(b))) => VariantNumber::Float(a + b),
            (VariantNumber::Double(a), Some(VariantNumber::Double(b))) => VariantNumber::Double(a + b),
            (VariantNumber::Bool(a), Some(VariantNumber::Bool(b))) => VariantNumber::Bool(a || b),
            _ => bail!(Internal, "variants of type {} and {} can't be added", self.type_name(), other.type_name()),
        }))
    }
}

/// A tensor of variants. The last value repeats; a kind of value that isn't known stays empty.
pub(super) fn variants(dims: &Dims, count: usize, values: &[VariantTensorDataProto]) -> Result<Tensor> {
    if values.is_empty() {
        return Tensor::zeros(DType::Variant, dims);
    }
    if values.len() > count {
        bail!(InvalidArgument, "{} values for shape {dims:?} of {count} elements", values.len());
    }
    let element = |message| VariantNumber::from_message(message).map_or(Handle::Empty, |n| Handle::Variant(Arc::new(n)));
    let mut handles = Vec::new();
    if handles.try_reserve_exact(count).is_err() {
        bail!(ResourceExhausted, "{count} variants are too many");
    }
    handles.extend(values.iter().map(element));
    let last = handles.last().cloned().unwrap_or_default();
    handles.resize(count, last);
    Tensor::from_handles(DType::Variant, dims, handles)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::TensorProto;

    #[test]
    fn a_constant_of_a_variant_keeps_its_number() {
        let value = VariantTensorDataProto {
            type_name: "int".into(),
            metadata: 3i32.to_le_bytes().to_vec().into(),
            ..Default::default()
        };
        let message = TensorProto { dtype: DType::Variant.number(), variant_val: vec![value], ..Default::default() };
        let tensor = Tensor::from_message(&message).unwrap();
        let [Handle::Variant(number)] = tensor.handles().unwrap() else { panic!("no variant") };
        assert_eq!(format!("{:?}", number.plus(&VariantNumber::Int(4)).unwrap()), "Int(7)");
        assert!(number.plus(&VariantNumber::Float(4.0)).is_err());
    }
}
