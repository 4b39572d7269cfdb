//! Hyper-rectangles of a tensor, and the copying between them.

use crate::error::{Error, Result, bail};
use crate::proto::{TensorSliceProto, tensor_slice_proto};
use crate::tensor::{Dims, Shape, Tensor, element_count};
use smallvec::SmallVec;
use std::fmt;
use std::str::FromStr;

/// The length that stands for all of a dimension.
const FULL: i64 = -1;

/// A hyper-rectangle of a tensor: in each dimension a start and a length, or all of it.
///
/// Its text form has one `start,length` or `-` a dimension, between colons.
///
/// ```
/// use metagraph::bundle::TensorSlice;
/// let slice = TensorSlice::parse("0,5:-")?;
/// assert_eq!(slice.extent(0), Some((0, 5)));
/// assert_eq!(slice.extent(1), None);
/// assert_eq!(slice.slice_dims(&[10, 20])?[..], [5, 20]);
/// assert_eq!(slice.to_string(), "0,5:-");
/// # Ok::<(), metagraph::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TensorSlice {
    /// Start and length; 0 and [`FULL`] for all of a dimension.
    extents: SmallVec<[(i64, i64); 4]>,
}

impl TensorSlice {
    /// All of a tensor of the given rank.
    pub fn full(rank: usize) -> TensorSlice {
        TensorSlice { extents: SmallVec::from_elem((0, FULL), rank) }
    }

    /// A slice from start and length of each dimension; `None` is all of it.
    ///
    /// # Errors
    /// `InvalidArgument` if a length is 0 or the end is past the largest integer.
    pub fn new(extents: &[Option<(usize, usize)>]) -> Result<TensorSlice> {
        let mut slice = TensorSlice { extents: SmallVec::with_capacity(extents.len()) };
        for extent in extents {
            let (start, length) = match *extent {
                None => (0, FULL),
                Some((s, l)) => (i64::try_from(s).unwrap_or(i64::MAX), i64::try_from(l).unwrap_or(i64::MAX)),
            };
            if extent.is_some() {
                check_extent(start, length, || format!("{start},{length}"))?;
            }
            slice.extents.push((start, length));
        }
        Ok(slice)
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// `InvalidArgument` if a part is neither `-` nor a pair of numbers, the start is negative, or the length isn't
    /// positive.
    pub fn parse(text: &str) -> Result<TensorSlice> {
        let mut slice = TensorSlice { extents: SmallVec::new() };
        for item in text.split(':').filter(|s| !s.is_empty()) {
            if item == "-" {
                slice.extents.push((0, FULL));
                continue;
            }
            let numbers: SmallVec<[Option<i64>; 2]> = item.split(',').filter(|s| !s.is_empty()).map(number).collect();
            let [Some(start), Some(length)] = numbers[..] else {
                bail!(InvalidArgument, "Expected a pair of numbers or '-' but got '{item}': string = {text}");
            };
            check_extent(start, length, || format!("string = {text}"))?;
            slice.extents.push((start, length));
        }
        Ok(slice)
    }

    /// From the message.
    ///
    /// # Errors
    /// `InvalidArgument` if a start is negative or a length that is given isn't positive.
    pub fn from_message(message: &TensorSliceProto) -> Result<TensorSlice> {
        let mut slice = TensorSlice { extents: SmallVec::with_capacity(message.extent.len()) };
        for extent in &message.extent {
            let length = match extent.has_length {
                Some(tensor_slice_proto::extent::HasLength::Length(length)) => length,
                None => FULL,
            };
            if extent.start != 0 || length != FULL {
                check_extent(extent.start, length, || format!("extent = {extent:?}"))?;
            }
            slice.extents.push((extent.start, length));
        }
        Ok(slice)
    }

    /// To the message.
    pub fn to_message(&self) -> TensorSliceProto {
        let extent = |&(start, length): &(i64, i64)| tensor_slice_proto::Extent {
            start,
            has_length: (length != FULL).then_some(tensor_slice_proto::extent::HasLength::Length(length)),
        };
        TensorSliceProto { extent: self.extents.iter().map(extent).collect() }
    }

    /// The number of dimensions.
    pub fn rank(&self) -> usize {
        self.extents.len()
    }

    /// True when every dimension is taken whole, without saying how long it is.
    pub fn is_full(&self) -> bool {
        self.extents.iter().all(|&(_, length)| length == FULL)
    }

    /// Start and length of a dimension, or `None` for all of it or a dimension that isn't there.
    pub fn extent(&self, dimension: usize) -> Option<(usize, usize)> {
        match self.extents.get(dimension) {
            Some(&(start, length)) if length != FULL => Some((start as usize, length as usize)),
            _ => None,
        }
    }

    /// Start and length of each dimension, 0 and -1 for all of it.
    pub(super) fn raw(&self) -> &[(i64, i64)] {
        &self.extents
    }

    /// The dimensions of this slice of a tensor with the given dimensions.
    ///
    /// # Errors
    /// `Internal` (TensorFlow's code) if the ranks differ or the slice exceeds the tensor.
    pub fn slice_dims(&self, dims: &[usize]) -> Result<Dims> {
        if self.rank() != dims.len() {
            bail!(Internal, "Mismatching ranks: shape = {}, slice = {self}", Shape::known(dims));
        }
        let mut sliced = Dims::from_slice(dims);
        for (d, size) in sliced.iter_mut().enumerate() {
            if let Some((start, length)) = self.extent(d) {
                if start + length > *size {
                    bail!(Internal, "Extent in dimension {d} out of bounds: shape = {}, slice = {self}", Shape::known(dims));
                }
                *size = length;
            }
        }
        Ok(sliced)
    }

    /// True when this slice is all of a tensor with the given dimensions.
    pub(super) fn covers(&self, dims: &[usize]) -> bool {
        self.is_full() || self.slice_dims(dims).is_ok_and(|d| d[..] == *dims)
    }

    /// What both have in common, if anything.
    pub(super) fn overlaps(&self, other: &TensorSlice) -> bool {
        let disjoint = |d: usize| match (self.extent(d), other.extent(d)) {
            (Some((a, n)), Some((b, m))) => a.max(b) >= (a + n).min(b + m),
            _ => false,
        };
        self.rank() == other.rank() && !(0..self.rank()).any(disjoint)
    }

    /// Start and length of a dimension of this size.
    pub(super) fn bounds(&self, dimension: usize, size: usize) -> (usize, usize) {
        self.extent(dimension).unwrap_or((0, size))
    }
}

/// A decimal number as TensorFlow reads it: white space around it is fine, a plus sign isn't.
fn number(text: &str) -> Option<i64> {
    let text = text.trim_matches(|c: char| c.is_ascii_whitespace());
    if text.starts_with('+') { None } else { text.parse().ok() }
}

fn check_extent(start: i64, length: i64, place: impl Fn() -> String) -> Result<()> {
    if start < 0 || length <= 0 {
        let place = place();
        bail!(
            InvalidArgument,
            "Expected non-negative start and positive length but got start = {start}, length = {length}: {place}"
        );
    }
    if start.checked_add(length).is_none() {
        bail!(InvalidArgument, "Extent end exceeds the maximum possible size: {}", place());
    }
    Ok(())
}

impl fmt::Display for TensorSlice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for d in 0..self.rank() {
            if d > 0 {
                f.write_str(":")?;
            }
            match self.extent(d) {
                None => f.write_str("-")?,
                Some((start, length)) => write!(f, "{start},{length}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for TensorSlice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TensorSlice({self})")
    }
}

impl FromStr for TensorSlice {
    type Err = Error;

    fn from_str(text: &str) -> Result<TensorSlice> {
        TensorSlice::parse(text)
    }
}

/// TensorFlow's "shape and slice": the dimensions of a whole tensor and a slice of it, as `10 20 0,5:-`.
///
/// ```
/// use metagraph::bundle::ShapeAndSlice;
/// let spec: ShapeAndSlice = "10 20 0,5:-".parse()?;
/// assert_eq!(spec.dims[..], [10, 20]);
/// assert_eq!(spec.slice_dims[..], [5, 20]);
/// assert_eq!(spec.to_string(), "10 20 0,5:-");
/// # Ok::<(), metagraph::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeAndSlice {
    /// The dimensions of the whole tensor.
    pub dims: Dims,
    /// The slice of it.
    pub slice: TensorSlice,
    /// The dimensions of the slice.
    pub slice_dims: Dims,
}

impl FromStr for ShapeAndSlice {
    type Err = Error;

    /// # Errors
    /// `InvalidArgument` for text of another form, `Internal` (TensorFlow's code) if the slice isn't within the tensor.
    fn from_str(text: &str) -> Result<ShapeAndSlice> {
        let Some((shape, slice)) = text.rsplit_once(' ') else {
            bail!(InvalidArgument, "Need least two elements in shape_and_slice specification: {text}");
        };
        let slice = TensorSlice::parse(slice)?;
        let dim = |s: &str| match number(s) {
            None => bail!(InvalidArgument, "Non numerical dimension in shape_and_slice: {text}"),
            Some(d) => match usize::try_from(d) {
                Ok(d) => Ok(d),
                Err(_) => bail!(InvalidArgument, "Expected a non-negative dimension in shape_and_slice, got {d}: {text}"),
            },
        };
        let dims = shape.split(' ').map(dim).collect::<Result<Dims>>()?;
        element_count(&dims)?;
        let slice_dims = slice.slice_dims(&dims)?;
        Ok(ShapeAndSlice { dims, slice, slice_dims })
    }
}

impl fmt::Display for ShapeAndSlice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for d in &self.dims {
            write!(f, "{d} ")?;
        }
        write!(f, "{}", self.slice)
    }
}

/// The error of a slice that is saved with a tensor of other dimensions.
pub(super) fn check_saved(dims: &[usize], slice: &TensorSlice, tensor: &Tensor) -> Result<()> {
    let slice_dims = slice.slice_dims(dims)?;
    if slice_dims[..] != *tensor.dims() {
        let spec = ShapeAndSlice { dims: dims.into(), slice: slice.clone(), slice_dims };
        bail!(
            InvalidArgument,
            "Slice in shape_and_slice specification does not match the shape of the tensor to  save: {spec}, tensor: {}",
            tensor.shape()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    #[test]
    fn specs_parse_as_in_tensorflow() {
        let ok = ["3 1,2", "3 -", "10 20 0,5:-", "0 -", "4 5 6 1,1:-:2,3"];
        for text in ok {
            assert_eq!(text.parse::<ShapeAndSlice>().unwrap().to_string(), text);
        }
        assert_eq!("3 0,,3:".parse::<ShapeAndSlice>().unwrap().to_string(), "3 0,3");
        let table = [
            ("3", Code::InvalidArgument, "Need least two elements in shape_and_slice specification: 3"),
            ("3 x,2", Code::InvalidArgument, "Expected a pair of numbers or '-' but got 'x,2': string = x,2"),
            ("3 0, 3", Code::InvalidArgument, "Expected a pair of numbers or '-' but got '3': string = 3"),
            ("3  -", Code::InvalidArgument, "Non numerical dimension in shape_and_slice: 3  -"),
            (" 3 -", Code::InvalidArgument, "Non numerical dimension in shape_and_slice:  3 -"),
            ("+3 -", Code::InvalidArgument, "Non numerical dimension in shape_and_slice: +3 -"),
            ("3 ", Code::Internal, "Mismatching ranks: shape = [3], slice = "),
            ("3 0,2:-", Code::Internal, "Mismatching ranks: shape = [3], slice = 0,2:-"),
            ("3 0,4", Code::Internal, "Extent in dimension 0 out of bounds: shape = [3], slice = 0,4"),
            (
                "3 -1,2",
                Code::InvalidArgument,
                "Expected non-negative start and positive length but got start = -1, length = 2: string = -1,2",
            ),
            (
                "3 1,0",
                Code::InvalidArgument,
                "Expected non-negative start and positive length but got start = 1, length = 0: string = 1,0",
            ),
            (
                "3 1,9223372036854775807",
                Code::InvalidArgument,
                "Extent end exceeds the maximum possible size: string = 1,9223372036854775807",
            ),
            ("-3 -", Code::InvalidArgument, "Expected a non-negative dimension in shape_and_slice, got -3: -3 -"),
        ];
        for (text, code, message) in table {
            let error = text.parse::<ShapeAndSlice>().unwrap_err();
            assert_eq!((error.code(), error.message()), (code, message), "{text}");
        }
    }
}
