//! From and to `ndarray`, without copies where the memory allows it.

use super::buffer::Buffer;
use super::{Dims, Element, INLINE_BYTES, Storage, Tensor};
use crate::error::{Error, Result, bail};
use ndarray::{Array, ArrayD, ArrayViewD, Dimension, IxDyn, Slice};
use std::sync::Arc;

impl<T: Element, D: Dimension> From<Array<T, D>> for Tensor {
    /// Takes over the array's memory if it is in row-major order, and copies it into that order otherwise.
    fn from(array: Array<T, D>) -> Tensor {
        let dims = Dims::from_slice(array.shape());
        if !array.is_standard_layout() {
            return Tensor::from_parts(T::DTYPE, dims, array.iter().copied().collect());
        }
        let count = array.len();
        let (vec, offset) = array.into_raw_vec_and_offset();
        let offset = offset.unwrap_or(0);
        if count * size_of::<T>() <= INLINE_BYTES {
            return Tensor::from_parts(T::DTYPE, dims, vec[offset..offset + count].to_vec());
        }
        let storage = Storage::Plain(Arc::new(Buffer::from_vec(vec)), offset * size_of::<T>());
        Tensor { dtype: T::DTYPE, dims, storage }
    }
}

impl Tensor {
    /// A view of the elements as an array.
    ///
    /// # Errors
    /// `InvalidArgument` if the element type isn't `T`.
    pub fn view<T: Element>(&self) -> Result<ArrayViewD<'_, T>> {
        let slice = self.as_slice::<T>()?;
        ArrayViewD::from_shape(IxDyn(self.dims()), slice).map_err(|e| Error::invalid_argument(e.to_string()))
    }

    /// The elements as an array. Nothing is copied where this tensor is their only owner and they are large.
    ///
    /// # Errors
    /// `InvalidArgument` if the element type isn't `T`.
    pub fn into_array<T: Element>(self) -> Result<ArrayD<T>> {
        if self.dtype != T::DTYPE {
            bail!(InvalidArgument, "expected a tensor of {}, got {}", T::DTYPE, self.dtype);
        }
        let count = self.len();
        let shape = IxDyn(self.dims());
        let whole = match self.storage {
            Storage::Plain(buffer, offset) => match Arc::try_unwrap(buffer).map(Buffer::into_vec::<T>) {
                Ok(Ok(vec)) => Ok((vec, offset)),
                Ok(Err(buffer)) => Err(Storage::Plain(Arc::new(buffer), offset)),
                Err(shared) => Err(Storage::Plain(shared, offset)),
            },
            other => Err(other),
        };
        match whole {
            Ok((vec, offset)) => {
                let start = (offset / size_of::<T>()) as isize;
                let mut array = Array::from_vec(vec);
                array.slice_axis_inplace(ndarray::Axis(0), Slice::new(start, Some(start + count as isize), 1));
                array.into_shape_with_order(shape).map_err(|e| Error::internal(e.to_string()))
            }
            Err(storage) => {
                let tensor = Tensor { dtype: self.dtype, dims: self.dims, storage };
                Ok(tensor.view::<T>()?.to_owned())
            }
        }
    }
}

impl<T: Element> TryFrom<Tensor> for ArrayD<T> {
    type Error = Error;

    fn try_from(tensor: Tensor) -> Result<ArrayD<T>> {
        tensor.into_array()
    }
}

impl<T: Element> From<T> for Tensor {
    fn from(value: T) -> Tensor {
        Tensor::scalar(value)
    }
}

impl<T: Element> From<&[T]> for Tensor {
    fn from(values: &[T]) -> Tensor {
        Tensor::vector(values)
    }
}

impl<T: Element, const N: usize> From<[T; N]> for Tensor {
    fn from(values: [T; N]) -> Tensor {
        Tensor::vector(&values)
    }
}

impl<T: Element> From<Vec<T>> for Tensor {
    fn from(values: Vec<T>) -> Tensor {
        Tensor::from_parts(T::DTYPE, Dims::from_slice(&[values.len()]), values)
    }
}

impl From<&str> for Tensor {
    fn from(value: &str) -> Tensor {
        Tensor::string(value.as_bytes().to_vec())
    }
}

impl From<&Tensor> for Tensor {
    fn from(value: &Tensor) -> Tensor {
        value.clone()
    }
}
