//! From and to `ndarray`, without copies where the memory allows it.

use super::buffer::Buffer;
use super::{DType, Dims, Element, INLINE_BYTES, Storage, Tensor};
use crate::error::{Error, Result, bail};
use bytes::Bytes;
use ndarray::{Array, ArrayD, ArrayView, ArrayViewD, ArrayViewMutD, Dimension, IxDyn, Slice};
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

    /// A view of the elements as an array, to be changed. Shared elements are copied first.
    ///
    /// # Errors
    /// As [`Tensor::as_mut_slice`].
    pub fn view_mut<T: Element>(&mut self) -> Result<ArrayViewMutD<'_, T>> {
        let shape = IxDyn(self.dims());
        ArrayViewMutD::from_shape(shape, self.as_mut_slice()?).map_err(|e| Error::invalid_argument(e.to_string()))
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

impl<T: Element, D: Dimension> TryFrom<Tensor> for Array<T, D> {
    type Error = Error;

    /// [`Tensor::into_array`] with a known number of dimensions. `InvalidArgument` if the tensor has another.
    fn try_from(tensor: Tensor) -> Result<Array<T, D>> {
        let rank = tensor.rank();
        tensor.into_array()?.into_dimensionality().map_err(|_| wrong_rank::<D>(rank))
    }
}

impl<'a, T: Element, D: Dimension> TryFrom<&'a Tensor> for ArrayView<'a, T, D> {
    type Error = Error;

    /// [`Tensor::view`] with a known number of dimensions. `InvalidArgument` if the tensor has another.
    fn try_from(tensor: &'a Tensor) -> Result<ArrayView<'a, T, D>> {
        tensor.view()?.into_dimensionality().map_err(|_| wrong_rank::<D>(tensor.rank()))
    }
}

fn wrong_rank<D: Dimension>(rank: usize) -> Error {
    let expected = D::NDIM.map_or_else(|| "any".to_string(), |n| n.to_string());
    Error::invalid_argument(format!("expected a tensor of {expected} dimensions, got {rank}"))
}

impl<T: Element> TryFrom<Tensor> for Vec<T> {
    type Error = Error;

    /// The elements in row-major order. Nothing is copied where the tensor is their only owner and they are large.
    fn try_from(tensor: Tensor) -> Result<Vec<T>> {
        let count = tensor.len();
        let (vec, offset) = tensor.into_array::<T>()?.into_raw_vec_and_offset();
        let offset = offset.unwrap_or(0);
        if offset == 0 && vec.len() == count { Ok(vec) } else { Ok(vec[offset..offset + count].to_vec()) }
    }
}

impl<T: Element, D: Dimension> From<ArrayView<'_, T, D>> for Tensor {
    /// Copies the elements.
    fn from(view: ArrayView<'_, T, D>) -> Tensor {
        view.to_owned().into()
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

impl<T: Element, const N: usize, const M: usize> From<[[T; M]; N]> for Tensor {
    fn from(values: [[T; M]; N]) -> Tensor {
        Tensor::from_parts(T::DTYPE, Dims::from_slice(&[N, M]), values.into_iter().flatten().collect())
    }
}

impl<const N: usize> From<[&str; N]> for Tensor {
    fn from(values: [&str; N]) -> Tensor {
        values.iter().map(|v| v.to_string()).collect::<Vec<_>>().into()
    }
}

impl From<Vec<String>> for Tensor {
    fn from(values: Vec<String>) -> Tensor {
        let strings: Vec<Bytes> = values.into_iter().map(Bytes::from).collect();
        let dims = Dims::from_slice(&[strings.len()]);
        Tensor { dtype: DType::String, dims, storage: Storage::Strings(Arc::new(strings), 0) }
    }
}

impl From<String> for Tensor {
    fn from(value: String) -> Tensor {
        Tensor::string(value)
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

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array1, Array2, ArrayView2, array, s};

    #[test]
    fn large_arrays_move_without_copies() {
        let array = Array2::from_shape_fn((3, 4), |(i, j)| (i * 4 + j) as f32);
        let address = array.as_ptr();
        let tensor = Tensor::from(array);
        assert_eq!(tensor.as_slice::<f32>().unwrap().as_ptr(), address);
        assert_eq!(tensor.view::<f32>().unwrap().as_ptr(), address);
        let back = Array2::<f32>::try_from(tensor).unwrap();
        assert_eq!(back.as_ptr(), address);
        let tensor = Tensor::from(back);
        let vec = Vec::<f32>::try_from(tensor).unwrap();
        assert_eq!(vec.as_ptr(), address);
        // Rows of an array share its memory.
        let tensor = Tensor::from(Array2::from_shape_vec((3, 4), vec).unwrap());
        let rows = tensor.rows(1, 2).unwrap();
        drop(tensor);
        assert_eq!(rows.as_slice::<f32>().unwrap().as_ptr(), address.wrapping_add(4));
        let rows = Array2::<f32>::try_from(rows).unwrap();
        assert_eq!((rows.as_ptr(), rows[[1, 3]]), (address.wrapping_add(4), 11.0));
    }

    #[test]
    fn views_of_any_order_are_written_by_rows() {
        let array = array![[1i32, 2, 3], [4, 5, 6]];
        assert_eq!(Tensor::from(array.t()).to_string(), "i32[[1 4] [2 5] [3 6]]");
        assert_eq!(Tensor::from(array.slice(s![.., ..;-2])).to_string(), "i32[[3 1] [6 4]]");
        assert_eq!(Tensor::from(array.clone().reversed_axes()).to_string(), "i32[[1 4] [2 5] [3 6]]");
        let tensor = Tensor::from(array);
        let view = ArrayView2::<i32>::try_from(&tensor).unwrap();
        assert_eq!(view[[1, 0]], 4);
        let mut changed = tensor.clone();
        changed.view_mut::<i32>().unwrap()[[0, 0]] = 9;
        assert_eq!((tensor.view::<i32>().unwrap()[[0, 0]], changed.to_string().as_str()), (1, "i32[[9 2 3] [4 5 6]]"));
    }

    #[test]
    fn other_dtypes_and_ranks_are_refused() {
        let tensor = Tensor::from([[1f32, 2.0]]);
        let error = Array1::<f32>::try_from(tensor.clone()).unwrap_err();
        assert_eq!(error.message(), "expected a tensor of 1 dimensions, got 2");
        assert!(Array2::<f64>::try_from(tensor.clone()).is_err());
        assert!(ArrayView2::<i32>::try_from(&tensor).is_err());
        assert!(Vec::<i32>::try_from(tensor).is_err());
        assert_eq!(Tensor::from(["a", "b"]).to_string(), "str[\"a\" \"b\"]");
        assert_eq!(Tensor::from(Array2::<f32>::zeros((0, 3))).to_string(), "f32{0,3}[]");
        assert_eq!(Array2::<f32>::try_from("f32{0,3}[]".parse::<Tensor>().unwrap()).unwrap().dim(), (0, 3));
    }
}
