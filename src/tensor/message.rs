//! From and to `tensorflow.TensorProto`.

use super::variant_number::variants;
use super::{DType, Dims, Element, Tensor, dispatch, element_count};
use crate::error::{Error, Result, bail};
use crate::proto::{TensorProto, TensorShapeProto};
use bytes::Bytes;
use half::{bf16, f16};
use num_complex::Complex;

impl Tensor {
    /// From the message: raw little-endian bytes, or a typed list whose last value repeats.
    ///
    /// # Errors
    /// `InvalidArgument` for an unknown dtype, a shape that isn't fully known or too large, or too many values.
    pub fn from_message(message: &TensorProto) -> Result<Tensor> {
        let dtype = DType::try_from_number(message.dtype)?;
        let dims = dims_of(message.tensor_shape.as_ref())?;
        let count = element_count(&dims)?;
        if !message.tensor_content.is_empty() && dtype.is_plain() {
            let bytes = &message.tensor_content;
            if count.checked_mul(dtype.size()) != Some(bytes.len()) {
                bail!(
                    InvalidArgument,
                    "tensor_content holds {} bytes, but shape {dims:?} of {dtype} needs {}",
                    bytes.len(),
                    count.saturating_mul(dtype.size())
                );
            }
            return Tensor::from_le_bytes(dtype, &dims, bytes);
        }
        let m = message;
        match dtype {
            DType::Float => fill(dtype, dims, count, &m.float_val, |v| v),
            DType::Double => fill(dtype, dims, count, &m.double_val, |v| v),
            DType::Int32 | DType::Qint32 => fill(dtype, dims, count, &m.int_val, |v| v),
            DType::Int16 | DType::Qint16 => fill(dtype, dims, count, &m.int_val, |v| v as i16),
            DType::Int8 | DType::Qint8 | DType::Int4 => fill(dtype, dims, count, &m.int_val, |v| v as i8),
            DType::Uint8 | DType::Quint8 | DType::Uint4 => fill(dtype, dims, count, &m.int_val, |v| v as u8),
            DType::Uint16 | DType::Quint16 => fill(dtype, dims, count, &m.int_val, |v| v as u16),
            DType::Uint32 => fill(dtype, dims, count, &m.uint32_val, |v| v),
            DType::Uint64 => fill(dtype, dims, count, &m.uint64_val, |v| v),
            DType::Int64 => fill(dtype, dims, count, &m.int64_val, |v| v),
            DType::Bool => fill(dtype, dims, count, &m.bool_val, |v| v),
            DType::Half => fill(dtype, dims, count, &m.half_val, |v| f16::from_bits(v as u16)),
            DType::Bfloat16 => fill(dtype, dims, count, &m.half_val, |v| bf16::from_bits(v as u16)),
            DType::Complex64 => fill(dtype, dims, count, &pairs(&m.scomplex_val), |v| v),
            DType::Complex128 => fill(dtype, dims, count, &pairs(&m.dcomplex_val), |v| v),
            DType::Float8E5m2 | DType::Float8E4m3fn => fill(dtype, dims, count, &m.float8_val, |v| v),
            DType::String => {
                let mut values = Vec::new();
                if values.try_reserve_exact(count).is_err() || m.string_val.len() > count.max(1) {
                    bail!(InvalidArgument, "{} strings for shape {dims:?}", m.string_val.len());
                }
                values.extend(m.string_val.iter().cloned());
                let last = values.last().cloned().unwrap_or_default();
                values.resize(count, last);
                Tensor::from_strings(&dims, values)
            }
            DType::Variant => variants(&dims, count, &m.variant_val),
            DType::Resource => Tensor::zeros(dtype, &dims),
        }
    }

    /// From raw little-endian bytes.
    ///
    /// # Errors
    /// `InvalidArgument` if the length isn't that of the shape; `DataLoss` for a bool that is neither 0 nor 1.
    pub fn from_le_bytes(dtype: DType, dims: &[usize], bytes: &[u8]) -> Result<Tensor> {
        let needed = element_count(dims)?.checked_mul(dtype.size());
        if !dtype.is_plain() || needed != Some(bytes.len()) {
            bail!(InvalidArgument, "{} bytes can't be a tensor of {dtype} with shape {dims:?}", bytes.len());
        }
        if dtype == DType::Bool && bytes.iter().any(|&b| b > 1) {
            bail!(DataLoss, "a bool is neither 0 nor 1");
        }
        let mut tensor = Tensor::uninit(dtype, dims)?;
        tensor.bytes_mut()?.copy_from_slice(bytes);
        tensor.swap_if_big_endian()?;
        Ok(tensor)
    }

    /// The plain elements as little-endian bytes.
    ///
    /// # Errors
    /// `InvalidArgument` for strings, resources and variants.
    pub fn to_le_bytes(&self) -> Result<std::borrow::Cow<'_, [u8]>> {
        if cfg!(target_endian = "big") {
            let mut copy = self.deep_copy()?;
            copy.swap_if_big_endian()?;
            return Ok(copy.bytes()?.to_vec().into());
        }
        Ok(self.bytes()?.into())
    }

    fn swap_if_big_endian(&mut self) -> Result<()> {
        if cfg!(target_endian = "big") {
            let size = if self.dtype.is_complex() { self.dtype.size() / 2 } else { self.dtype.size() };
            self.bytes_mut()?.chunks_exact_mut(size).for_each(<[u8]>::reverse);
        }
        Ok(())
    }

    /// To the message, as `tf.make_tensor_proto` writes it: a scalar as a typed value, everything else as raw
    /// bytes, strings as a list.
    ///
    /// # Errors
    /// `InvalidArgument` for resources and variants.
    pub fn to_message(&self) -> Result<TensorProto> {
        let mut m =
            TensorProto { dtype: self.dtype.number(), tensor_shape: Some(self.shape().to_message()), ..TensorProto::default() };
        if self.dtype == DType::String {
            m.string_val = self.strings()?.to_vec();
            return Ok(m);
        }
        if self.len() > 1 {
            m.tensor_content = Bytes::copy_from_slice(&self.to_le_bytes()?);
            return Ok(m);
        }
        match self.dtype {
            DType::Float => m.float_val = self.as_slice::<f32>()?.to_vec(),
            DType::Double => m.double_val = self.as_slice::<f64>()?.to_vec(),
            DType::Int64 => m.int64_val = self.as_slice::<i64>()?.to_vec(),
            DType::Uint32 => m.uint32_val = self.as_slice::<u32>()?.to_vec(),
            DType::Uint64 => m.uint64_val = self.as_slice::<u64>()?.to_vec(),
            DType::Bool => m.bool_val = self.as_slice::<bool>()?.to_vec(),
            DType::Half => m.half_val = self.as_slice::<f16>()?.iter().map(|v| i32::from(v.to_bits())).collect(),
            DType::Bfloat16 => m.half_val = self.as_slice::<bf16>()?.iter().map(|v| i32::from(v.to_bits())).collect(),
            DType::Complex64 => m.scomplex_val = self.as_slice::<Complex<f32>>()?.iter().flat_map(|v| [v.re, v.im]).collect(),
            DType::Complex128 => m.dcomplex_val = self.as_slice::<Complex<f64>>()?.iter().flat_map(|v| [v.re, v.im]).collect(),
            DType::Float8E5m2 | DType::Float8E4m3fn => m.float8_val = Bytes::copy_from_slice(self.bytes()?),
            DType::Resource | DType::Variant | DType::String => {
                bail!(InvalidArgument, "a tensor of {} can't be written as a message", self.dtype)
            }
            _ => {
                let dtype = self.dtype.storage();
                m.int_val = match dtype {
                    DType::Uint16 => self.as_slice::<u16>()?.iter().map(|&v| i32::from(v)).collect(),
                    DType::Uint8 => self.as_slice::<u8>()?.iter().map(|&v| i32::from(v)).collect(),
                    _ => self.clone().with_dtype(dtype).to_i64s()?.iter().map(|&v| v as i32).collect(),
                }
            }
        }
        Ok(m)
    }
}

fn dims_of(shape: Option<&TensorShapeProto>) -> Result<Dims> {
    let Some(shape) = shape else { return Ok(Dims::new()) };
    if shape.unknown_rank {
        bail!(InvalidArgument, "a tensor's shape must be known");
    }
    let dim = |d: &crate::proto::tensor_shape_proto::Dim| {
        usize::try_from(d.size).map_err(|_| Error::invalid_argument(format!("a tensor's dimension is {}", d.size)))
    };
    shape.dim.iter().map(dim).collect()
}

fn pairs<T: Copy>(values: &[T]) -> Vec<Complex<T>> {
    values.chunks_exact(2).map(|p| Complex::new(p[0], p[1])).collect()
}

fn fill<S: Copy, T: Element>(dtype: DType, dims: Dims, count: usize, values: &[S], convert: impl Fn(S) -> T) -> Result<Tensor> {
    if values.len() > count {
        bail!(InvalidArgument, "{} values for shape {dims:?} of {count} elements", values.len());
    }
    let mut tensor = Tensor::zeros(dtype, &dims)?;
    let out = tensor.as_mut_slice::<T>()?;
    for (o, &v) in out.iter_mut().zip(values) {
        *o = convert(v);
    }
    if let Some(&last) = values.last() {
        out[values.len()..].fill(convert(last));
    }
    Ok(tensor)
}

/// Elements of one plain type, compared bit by bit.
pub(super) fn same_bytes(a: &Tensor, b: &Tensor) -> Result<bool> {
    dispatch!(a.dtype(), plain, _T => Ok(a.bytes()? == b.bytes()?))
}
