//! Values: element types, shapes, and tensors over `ndarray`.

mod array;
mod buffer;
mod dtype;
mod element;
mod handle;
mod message;
mod shape;
mod text;
mod variant_number;

pub use dtype::DType;
pub use element::Element;
pub(crate) use element::dispatch;
pub use handle::{Handle, Resource, ResourceHandle, Variant};
pub use shape::{Dims, Shape};

use crate::error::{Error, Result, bail};
use buffer::Buffer;
pub(crate) use buffer::release_kept;
use bytes::Bytes;
use std::sync::Arc;

/// Plain values of at most this many bytes are stored within the tensor itself.
const INLINE_BYTES: usize = 16;

/// A value: an element type, dimensions, and elements in row-major order.
///
/// Cloning shares the elements; [`Tensor::as_mut_slice`] copies them first if they are shared.
///
/// ```
/// use metagraph::{DType, Tensor};
/// let t = Tensor::new(&[2, 2], vec![1f32, 2.0, 3.0, 4.0])?;
/// assert_eq!(t.dtype(), DType::Float);
/// assert_eq!(t.as_slice::<f32>()?[3], 4.0);
/// assert_eq!(t.to_string(), "f32[[1 2] [3 4]]");
/// # Ok::<(), metagraph::Error>(())
/// ```
#[derive(Clone)]
pub struct Tensor {
    dtype: DType,
    dims: Dims,
    storage: Storage,
}

#[derive(Clone)]
enum Storage {
    Inline([u64; 2]),
    /// Plain bytes, from an offset in bytes.
    Plain(Arc<Buffer>, usize),
    /// Strings, from an offset in elements.
    Strings(Arc<Vec<Bytes>>, usize),
    /// Resources and variants, from an offset in elements.
    Handles(Arc<Vec<Handle>>, usize),
}

/// The number of elements of these dimensions, or an error where it overflows.
pub(crate) fn element_count(dims: &[usize]) -> Result<usize> {
    let count = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    match count.filter(|&n| isize::try_from(n).is_ok()) {
        Some(n) => Ok(n),
        // A zero among sizes that overflow is still empty.
        None if dims.contains(&0) => Ok(0),
        None => bail!(InvalidArgument, "Shape {dims:?} would have more than 2**63 - 1 elements"),
    }
}

impl Tensor {
    /// A tensor of plain elements.
    ///
    /// # Errors
    /// `InvalidArgument` if the number of elements isn't the product of the dimensions.
    pub fn new<T: Element>(dims: &[usize], values: Vec<T>) -> Result<Tensor> {
        let count = element_count(dims)?;
        if count != values.len() {
            bail!(InvalidArgument, "shape {dims:?} holds {count} elements, got {}", values.len());
        }
        Ok(Tensor::from_parts(T::DTYPE, dims.into(), values))
    }

    fn from_parts<T: Element>(dtype: DType, dims: Dims, values: Vec<T>) -> Tensor {
        let bytes = size_of_val(&values[..]);
        if bytes <= INLINE_BYTES {
            return Tensor { dtype, dims, storage: inline(&values) };
        }
        Tensor { dtype, dims, storage: Storage::Plain(Arc::new(Buffer::from_vec(values)), 0) }
    }

    /// A tensor of one plain element of up to 8 bytes, by the bytes that a word begins with.
    pub(crate) fn single(dtype: DType, dims: &[usize], word: u64) -> Tensor {
        debug_assert!(dims.iter().all(|&d| d == 1) && dtype.is_plain() && dtype.size() <= 8);
        Tensor { dtype, dims: dims.into(), storage: Storage::Inline([word, 0]) }
    }

    /// The first 8 bytes of a tensor that is stored within itself, as a word that begins with them.
    #[inline]
    pub(crate) fn inline_word(&self) -> Option<u64> {
        match self.storage {
            Storage::Inline([word, _]) => Some(word),
            _ => None,
        }
    }

    /// A scalar.
    pub fn scalar<T: Element>(value: T) -> Tensor {
        Tensor { dtype: T::DTYPE, dims: Dims::new(), storage: inline(&[value]) }
    }

    /// A vector.
    pub fn vector<T: Element>(values: &[T]) -> Tensor {
        Tensor::from_parts(T::DTYPE, Dims::from_slice(&[values.len()]), values.to_vec())
    }

    /// A tensor of strings.
    ///
    /// # Errors
    /// `InvalidArgument` if the number of elements isn't the product of the dimensions.
    pub fn from_strings(dims: &[usize], values: Vec<Bytes>) -> Result<Tensor> {
        let count = element_count(dims)?;
        if count != values.len() {
            bail!(InvalidArgument, "shape {dims:?} holds {count} elements, got {}", values.len());
        }
        Ok(Tensor { dtype: DType::String, dims: dims.into(), storage: Storage::Strings(Arc::new(values), 0) })
    }

    /// A scalar string.
    pub fn string(value: impl Into<Bytes>) -> Tensor {
        Tensor { dtype: DType::String, dims: Dims::new(), storage: Storage::Strings(Arc::new(vec![value.into()]), 0) }
    }

    /// A tensor of resources or of variants.
    ///
    /// # Errors
    /// `InvalidArgument` if the number of elements isn't the product of the dimensions.
    pub fn from_handles(dtype: DType, dims: &[usize], values: Vec<Handle>) -> Result<Tensor> {
        let count = element_count(dims)?;
        if count != values.len() || !matches!(dtype, DType::Resource | DType::Variant) {
            bail!(InvalidArgument, "shape {dims:?} holds {count} handles of dtype {dtype}, got {}", values.len());
        }
        Ok(Tensor { dtype, dims: dims.into(), storage: Storage::Handles(Arc::new(values), 0) })
    }

    /// A scalar resource.
    pub fn resource(handle: ResourceHandle) -> Tensor {
        let handles = Arc::new(vec![Handle::Resource(handle)]);
        Tensor { dtype: DType::Resource, dims: Dims::new(), storage: Storage::Handles(handles, 0) }
    }

    /// A scalar variant.
    pub fn variant(value: Arc<dyn Variant>) -> Tensor {
        let handles = Arc::new(vec![Handle::Variant(value)]);
        Tensor { dtype: DType::Variant, dims: Dims::new(), storage: Storage::Handles(handles, 0) }
    }

    /// A tensor of zeros, `false`, empty strings or empty variants.
    ///
    /// # Errors
    /// `ResourceExhausted` when there isn't enough memory.
    pub fn zeros(dtype: DType, dims: &[usize]) -> Result<Tensor> {
        Tensor::allocate(dtype, dims, true)
    }

    /// A tensor whose plain elements the caller is about to write, every one. Their values are unspecified.
    pub(crate) fn uninit(dtype: DType, dims: &[usize]) -> Result<Tensor> {
        Tensor::allocate(dtype, dims, dtype == DType::Bool)
    }

    fn allocate(dtype: DType, dims: &[usize], zeroed: bool) -> Result<Tensor> {
        let count = element_count(dims)?;
        let storage = match dtype {
            DType::String => Storage::Strings(Arc::new(reserve(count, Bytes::new())?), 0),
            DType::Resource | DType::Variant => Storage::Handles(Arc::new(reserve(count, Handle::Empty)?), 0),
            plain => {
                let Some(bytes) = count.checked_mul(plain.size()) else {
                    bail!(ResourceExhausted, "OOM when allocating tensor with shape {dims:?} and type {dtype}");
                };
                if bytes <= INLINE_BYTES {
                    Storage::Inline([0; 2])
                } else {
                    let align = plain.size().clamp(1, 8);
                    let align = if plain == DType::Complex64 { 4 } else { align };
                    let (buffer, offset) = Buffer::allocate(bytes, align, zeroed).map_err(|_| {
                        Error::resource_exhausted(format!("OOM when allocating tensor with shape {dims:?} and type {dtype}"))
                    })?;
                    Storage::Plain(Arc::new(buffer), offset)
                }
            }
        };
        Ok(Tensor { dtype, dims: dims.into(), storage })
    }

    /// A tensor of which every element is this one.
    ///
    /// # Errors
    /// `ResourceExhausted` when there isn't enough memory.
    pub fn full<T: Element>(dims: &[usize], value: T) -> Result<Tensor> {
        let mut tensor = Tensor::uninit(T::DTYPE, dims)?;
        tensor.as_mut_slice::<T>()?.fill(value);
        Ok(tensor)
    }

    /// The element type.
    #[inline]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The dimensions; none for a scalar.
    #[inline]
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// The dimensions as a static shape.
    pub fn shape(&self) -> Shape {
        Shape::known(&self.dims)
    }

    /// The number of dimensions.
    #[inline]
    pub fn rank(&self) -> usize {
        self.dims.len()
    }

    /// The number of elements.
    #[inline]
    pub fn len(&self) -> usize {
        self.dims.iter().product()
    }

    /// True when there are no elements.
    pub fn is_empty(&self) -> bool {
        self.dims.contains(&0)
    }

    /// True when there are no dimensions.
    pub fn is_scalar(&self) -> bool {
        self.dims.is_empty()
    }

    /// The size in bytes of plain elements, or of the strings together.
    pub fn byte_size(&self) -> usize {
        match self.strings() {
            Ok(strings) => strings.iter().map(|s| s.len()).sum(),
            Err(_) => self.len() * self.dtype.size(),
        }
    }

    #[inline]
    fn pointer(&self) -> *const u8 {
        match &self.storage {
            Storage::Inline(words) => words.as_ptr().cast(),
            // SAFETY: the offset lies within the buffer.
            Storage::Plain(buffer, offset) => unsafe { buffer.pointer().add(*offset) },
            _ => std::ptr::NonNull::<u64>::dangling().as_ptr().cast(),
        }
    }

    /// The elements as `T`.
    ///
    /// # Errors
    /// `InvalidArgument` if the element type is another (quantized types count as the integers that store them).
    #[inline]
    pub fn as_slice<T: Element>(&self) -> Result<&[T]> {
        if self.dtype.storage() != T::DTYPE {
            return Err(self.wrong_type(T::DTYPE));
        }
        // SAFETY: the storage holds `len` initialized elements of this type from the pointer on, aligned for it.
        Ok(unsafe { std::slice::from_raw_parts(self.pointer().cast(), self.len()) })
    }

    #[cold]
    fn wrong_type(&self, expected: DType) -> Error {
        Error::invalid_argument(format!("expected a tensor of {expected}, got {} of shape {:?}", self.dtype, self.dims))
    }

    /// The elements as `T`, to be changed. Shared elements are copied first.
    ///
    /// # Errors
    /// `InvalidArgument` if the element type is another, `ResourceExhausted` if a copy doesn't fit in memory.
    #[inline]
    pub fn as_mut_slice<T: Element>(&mut self) -> Result<&mut [T]> {
        if self.dtype.storage() != T::DTYPE {
            return Err(self.wrong_type(T::DTYPE));
        }
        let len = self.len();
        self.make_unique()?;
        let pointer = match &mut self.storage {
            Storage::Inline(words) => words.as_mut_ptr().cast(),
            // SAFETY: the offset lies within the buffer.
            Storage::Plain(buffer, offset) => unsafe { buffer.pointer().add(*offset) },
            _ => std::ptr::NonNull::<u64>::dangling().as_ptr().cast(),
        };
        // SAFETY: as in `as_slice`; the buffer isn't shared with any other tensor.
        Ok(unsafe { std::slice::from_raw_parts_mut(pointer.cast(), len) })
    }

    /// True when no other tensor shares the elements, so that a kernel may write over them.
    #[inline]
    pub fn is_unique(&self) -> bool {
        match &self.storage {
            Storage::Inline(_) => true,
            Storage::Plain(buffer, _) => Arc::strong_count(buffer) == 1,
            Storage::Strings(strings, _) => Arc::strong_count(strings) == 1,
            Storage::Handles(handles, _) => Arc::strong_count(handles) == 1,
        }
    }

    fn make_unique(&mut self) -> Result<()> {
        if let Storage::Plain(buffer, _) = &mut self.storage {
            match Arc::get_mut(buffer) {
                Some(own) => own.change(),
                None => *self = self.deep_copy()?,
            }
        }
        Ok(())
    }

    /// Numbers that tell what the elements are: as long as they are the same, so are the elements. None for tensors that are
    /// stored within themselves, and for strings and handles.
    pub(crate) fn stamp(&self) -> Option<(u64, usize)> {
        match &self.storage {
            Storage::Plain(buffer, offset) => Some((buffer.stamp(), *offset)),
            _ => None,
        }
    }

    /// A copy that shares nothing.
    ///
    /// # Errors
    /// `ResourceExhausted` when there isn't enough memory.
    pub fn deep_copy(&self) -> Result<Tensor> {
        match &self.storage {
            Storage::Plain(..) => {
                let mut copy = Tensor::uninit(self.dtype, &self.dims)?;
                copy.bytes_mut()?.copy_from_slice(self.bytes()?);
                Ok(copy)
            }
            _ => Ok(self.clone()),
        }
    }

    /// The bytes of plain elements, in the machine's order.
    ///
    /// # Errors
    /// `InvalidArgument` for strings, resources and variants.
    pub fn bytes(&self) -> Result<&[u8]> {
        if !self.dtype.is_plain() {
            bail!(InvalidArgument, "a tensor of {} has no plain bytes", self.dtype);
        }
        // SAFETY: plain elements are initialized bytes.
        Ok(unsafe { std::slice::from_raw_parts(self.pointer(), self.len() * self.dtype.size()) })
    }

    /// The bytes of plain elements, to be changed. The caller keeps bools valid.
    pub(crate) fn bytes_mut(&mut self) -> Result<&mut [u8]> {
        if !self.dtype.is_plain() {
            bail!(InvalidArgument, "a tensor of {} has no plain bytes", self.dtype);
        }
        let len = self.len() * self.dtype.size();
        self.make_unique()?;
        // SAFETY: as in `as_mut_slice`.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.pointer().cast_mut(), len) })
    }

    /// The elements of a tensor of strings.
    ///
    /// # Errors
    /// `InvalidArgument` for any other element type.
    pub fn strings(&self) -> Result<&[Bytes]> {
        match &self.storage {
            Storage::Strings(strings, offset) => Ok(&strings[*offset..*offset + self.len()]),
            _ => Err(self.wrong_type(DType::String)),
        }
    }

    /// The elements of a tensor of resources or variants.
    ///
    /// # Errors
    /// `InvalidArgument` for any other element type.
    pub fn handles(&self) -> Result<&[Handle]> {
        match &self.storage {
            Storage::Handles(handles, offset) => Ok(&handles[*offset..*offset + self.len()]),
            _ => Err(self.wrong_type(DType::Resource)),
        }
    }

    /// The elements of a tensor of resources or variants, which are copied only where they are shared.
    pub(crate) fn into_handles(self) -> Result<Vec<Handle>> {
        let len = self.len();
        match self.storage {
            Storage::Handles(handles, offset) => match Arc::try_unwrap(handles) {
                Ok(handles) if offset == 0 && handles.len() == len => Ok(handles),
                Ok(handles) => Ok(handles[offset..offset + len].to_vec()),
                Err(shared) => Ok(shared[offset..offset + len].to_vec()),
            },
            _ => Err(self.wrong_type(DType::Variant)),
        }
    }

    /// The only element.
    ///
    /// # Errors
    /// `InvalidArgument` if there isn't exactly one element, or it is of another type.
    pub fn item<T: Element>(&self) -> Result<T> {
        match self.as_slice::<T>()? {
            [value] => Ok(*value),
            values => bail!(InvalidArgument, "expected one element, got {} in shape {:?}", values.len(), self.dims),
        }
    }

    /// The only element of a tensor of any integer type.
    ///
    /// # Errors
    /// `InvalidArgument` if there isn't exactly one element, or it isn't an integer.
    pub fn item_i64(&self) -> Result<i64> {
        match self.to_i64s()?[..] {
            [value] => Ok(value),
            ref values => bail!(InvalidArgument, "expected one element, got {} in shape {:?}", values.len(), self.dims),
        }
    }

    /// The elements of a tensor of any integer type as `i64`, as shapes, axes and indices are given.
    ///
    /// # Errors
    /// `InvalidArgument` if the elements aren't integers.
    pub fn to_i64s(&self) -> Result<SmallInts> {
        Ok(match self.dtype {
            DType::Int32 => self.as_slice::<i32>()?.iter().map(|&v| i64::from(v)).collect(),
            DType::Int64 => self.as_slice::<i64>()?.iter().copied().collect(),
            DType::Int16 => self.as_slice::<i16>()?.iter().map(|&v| i64::from(v)).collect(),
            DType::Int8 => self.as_slice::<i8>()?.iter().map(|&v| i64::from(v)).collect(),
            DType::Uint8 => self.as_slice::<u8>()?.iter().map(|&v| i64::from(v)).collect(),
            DType::Uint16 => self.as_slice::<u16>()?.iter().map(|&v| i64::from(v)).collect(),
            DType::Uint32 => self.as_slice::<u32>()?.iter().map(|&v| i64::from(v)).collect(),
            DType::Uint64 => self.as_slice::<u64>()?.iter().map(|&v| v as i64).collect(),
            other => bail!(InvalidArgument, "expected integers, got a tensor of {other}"),
        })
    }

    /// The elements of an integer vector as dimensions.
    ///
    /// # Errors
    /// `InvalidArgument` if they aren't integers, or one is negative.
    pub fn to_dims(&self) -> Result<Dims> {
        self.to_i64s()?
            .iter()
            .map(|&d| {
                usize::try_from(d).map_err(|_| Error::invalid_argument(format!("Dimension {d} must be >= 0 in shape {self}")))
            })
            .collect()
    }

    /// The same elements in other dimensions; nothing is copied.
    ///
    /// # Errors
    /// `InvalidArgument` if the number of elements differs.
    pub fn reshaped(mut self, dims: &[usize]) -> Result<Tensor> {
        if element_count(dims)? != self.len() {
            bail!(
                InvalidArgument,
                "Input to reshape is a tensor with {} values, but the requested shape {dims:?} has {}",
                self.len(),
                element_count(dims)?
            );
        }
        self.dims = dims.into();
        Ok(self)
    }

    /// The same bytes as another element type of the same size.
    pub(crate) fn with_dtype(mut self, dtype: DType) -> Tensor {
        debug_assert_eq!(self.dtype.size(), dtype.size());
        self.dtype = dtype;
        self
    }

    /// Rows `start..start + count` of the first dimension; large ones share the elements.
    ///
    /// # Errors
    /// `InvalidArgument` for a scalar or a range that isn't within the first dimension.
    pub fn rows(&self, start: usize, count: usize) -> Result<Tensor> {
        if self.rank() == 0 || start.checked_add(count).is_none_or(|end| end > self.dims[0]) {
            bail!(InvalidArgument, "rows {start}..{start}+{count} are not within shape {:?}", self.dims);
        }
        let row: usize = self.dims[1..].iter().product();
        let mut dims = self.dims.clone();
        dims[0] = count;
        let storage = match &self.storage {
            Storage::Strings(strings, offset) => Storage::Strings(strings.clone(), offset + start * row),
            Storage::Handles(handles, offset) => Storage::Handles(handles.clone(), offset + start * row),
            plain => {
                let size = self.dtype.size();
                let (from, bytes) = (start * row * size, count * row * size);
                if bytes <= INLINE_BYTES {
                    inline(&self.bytes()?[from..from + bytes])
                } else {
                    let Storage::Plain(buffer, offset) = plain else { bail!(Internal, "an inline tensor has large rows") };
                    Storage::Plain(buffer.clone(), offset + from)
                }
            }
        };
        Ok(Tensor { dtype: self.dtype, dims, storage })
    }

    /// One row of the first dimension, without that dimension.
    ///
    /// # Errors
    /// `InvalidArgument` for a scalar or an index out of range.
    pub fn row(&self, index: usize) -> Result<Tensor> {
        let mut row = self.rows(index, 1)?;
        row.dims.remove(0);
        Ok(row)
    }
}

/// Integers of any size, widened.
pub type SmallInts = smallvec::SmallVec<[i64; 8]>;

fn reserve<T: Clone>(count: usize, value: T) -> Result<Vec<T>> {
    let mut vec = Vec::new();
    if vec.try_reserve_exact(count).is_err() {
        bail!(ResourceExhausted, "OOM when allocating a tensor of {count} elements");
    }
    vec.resize(count, value);
    Ok(vec)
}

fn inline<T: Copy>(values: &[T]) -> Storage {
    let mut words = [0u64; 2];
    let bytes = size_of_val(values);
    assert!(bytes <= INLINE_BYTES);
    // SAFETY: plain values, at most 16 bytes of them.
    unsafe { std::ptr::copy_nonoverlapping(values.as_ptr().cast::<u8>(), words.as_mut_ptr().cast(), bytes) };
    Storage::Inline(words)
}
