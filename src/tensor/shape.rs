//! Static shapes, of which some dimensions or even the rank may be unknown.

use crate::error::{Result, bail};
use crate::proto;
use smallvec::SmallVec;
use std::fmt;

/// The dimensions of a value.
pub type Dims = SmallVec<[usize; 4]>;

/// A static shape: unknown rank, or a list of sizes of which each may be unknown.
///
/// ```
/// use metagraph::Shape;
/// let shape = Shape::from([None, Some(1), Some(103)]);
/// assert_eq!(shape.to_string(), "[?,1,103]");
/// assert!(shape.accepts(&[7, 1, 103]));
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Shape {
    /// `None` is unknown rank; a size of -1 is an unknown dimension.
    dims: Option<SmallVec<[i64; 4]>>,
}

impl Shape {
    /// A shape of unknown rank.
    pub const fn unknown() -> Shape {
        Shape { dims: None }
    }

    /// The shape of a scalar.
    pub fn scalar() -> Shape {
        Shape { dims: Some(SmallVec::new()) }
    }

    /// A shape of the given rank, all of whose dimensions are unknown.
    pub fn of_rank(rank: usize) -> Shape {
        Shape { dims: Some(SmallVec::from_elem(-1, rank)) }
    }

    /// A fully known shape.
    pub fn known(dims: &[usize]) -> Shape {
        Shape { dims: Some(dims.iter().map(|&d| d as i64).collect()) }
    }

    /// A shape from sizes of which any negative one is unknown.
    pub fn from_signed(dims: impl IntoIterator<Item = i64>) -> Shape {
        Shape { dims: Some(dims.into_iter().map(|d| d.max(-1)).collect()) }
    }

    /// A vector of the given size.
    pub fn vector(size: Option<usize>) -> Shape {
        Shape::from([size])
    }

    /// A matrix of the given sizes.
    pub fn matrix(rows: Option<usize>, columns: Option<usize>) -> Shape {
        Shape::from([rows, columns])
    }

    /// The rank, if known.
    pub fn rank(&self) -> Option<usize> {
        self.dims.as_ref().map(|d| d.len())
    }

    /// The sizes with -1 for unknown, if the rank is known.
    pub fn signed(&self) -> Option<&[i64]> {
        self.dims.as_deref()
    }

    /// The sizes, if the rank is known.
    pub fn sizes(&self) -> Option<SmallVec<[Option<usize>; 4]>> {
        self.dims.as_ref().map(|d| d.iter().map(|&d| usize::try_from(d).ok()).collect())
    }

    /// The size of one dimension (negative counts from the end); `None` where unknown or out of range.
    pub fn dim(&self, index: isize) -> Option<usize> {
        let dims = self.dims.as_ref()?;
        let index = if index < 0 { index + dims.len() as isize } else { index };
        usize::try_from(*dims.get(usize::try_from(index).ok()?)?).ok()
    }

    /// The dimensions, if all are known.
    pub fn to_dims(&self) -> Option<Dims> {
        self.dims.as_ref()?.iter().map(|&d| usize::try_from(d).ok()).collect()
    }

    /// True when rank and all sizes are known.
    pub fn is_fully_known(&self) -> bool {
        self.dims.as_ref().is_some_and(|d| d.iter().all(|&d| d >= 0))
    }

    /// The number of elements, if fully known.
    pub fn num_elements(&self) -> Option<usize> {
        self.to_dims()?.iter().try_fold(1usize, |n, &d| n.checked_mul(d))
    }

    /// True when a value with these dimensions fits.
    pub fn accepts(&self, dims: &[usize]) -> bool {
        match &self.dims {
            None => true,
            Some(own) => own.len() == dims.len() && own.iter().zip(dims).all(|(&a, &b)| a < 0 || a as usize == b),
        }
    }

    /// True when some value could have both shapes.
    pub fn is_compatible_with(&self, other: &Shape) -> bool {
        self.merge(other).is_ok()
    }

    /// The shape that says what both say.
    ///
    /// # Errors
    /// `InvalidArgument` when they contradict each other.
    pub fn merge(&self, other: &Shape) -> Result<Shape> {
        let (Some(a), Some(b)) = (&self.dims, &other.dims) else {
            return Ok(if self.dims.is_none() { other.clone() } else { self.clone() });
        };
        if a.len() != b.len() {
            bail!(InvalidArgument, "Shapes must be equal rank, but are {} and {}: {self} and {other}", a.len(), b.len());
        }
        let mut dims = SmallVec::with_capacity(a.len());
        for (i, (&x, &y)) in a.iter().zip(b).enumerate() {
            if x >= 0 && y >= 0 && x != y {
                bail!(
                    InvalidArgument,
                    "Dimension {i} in both shapes must be equal, but are {x} and {y}. Shapes are {self} and {other}."
                );
            }
            dims.push(x.max(y));
        }
        Ok(Shape { dims: Some(dims) })
    }

    /// The most exact shape that both are instances of: sizes that differ become unknown.
    pub fn relax(&self, other: &Shape) -> Shape {
        match (&self.dims, &other.dims) {
            (Some(a), Some(b)) if a.len() == b.len() => {
                Shape { dims: Some(a.iter().zip(b).map(|(&x, &y)| if x == y { x } else { -1 }).collect()) }
            }
            _ => Shape::unknown(),
        }
    }

    /// Merges with a shape of the given rank and all dimensions unknown.
    ///
    /// # Errors
    /// `InvalidArgument` when the rank is known and another.
    pub fn with_rank(&self, rank: usize) -> Result<Shape> {
        match &self.dims {
            None => Ok(Shape::of_rank(rank)),
            Some(d) if d.len() == rank => Ok(self.clone()),
            Some(d) => bail!(InvalidArgument, "Shape must be rank {rank} but is rank {} for shape {self}", d.len()),
        }
    }

    /// Checks that the rank, where known, is at least this.
    ///
    /// # Errors
    /// `InvalidArgument` when it is smaller.
    pub fn with_rank_at_least(&self, rank: usize) -> Result<Shape> {
        match self.rank() {
            Some(r) if r < rank => bail!(InvalidArgument, "Shape must be at least rank {rank} but is rank {r} for shape {self}"),
            _ => Ok(self.clone()),
        }
    }

    /// Checks that the rank, where known, is at most this.
    ///
    /// # Errors
    /// `InvalidArgument` when it is larger.
    pub fn with_rank_at_most(&self, rank: usize) -> Result<Shape> {
        match self.rank() {
            Some(r) if r > rank => bail!(InvalidArgument, "Shape must be at most rank {rank} but is rank {r} for shape {self}"),
            _ => Ok(self.clone()),
        }
    }

    /// The two shapes one behind the other; unknown when either rank is.
    pub fn concatenate(&self, other: &Shape) -> Shape {
        match (&self.dims, &other.dims) {
            (Some(a), Some(b)) => Shape { dims: Some(a.iter().chain(b).copied().collect()) },
            _ => Shape::unknown(),
        }
    }

    /// Dimensions `start..end` (negative counts from the end, both clamped); unknown when the rank is.
    pub fn slice(&self, start: isize, end: isize) -> Shape {
        let Some(dims) = &self.dims else { return Shape::unknown() };
        let rank = dims.len() as isize;
        let clamp = |i: isize| (if i < 0 { i + rank } else { i }).clamp(0, rank) as usize;
        let (start, end) = (clamp(start), clamp(end));
        Shape { dims: Some(dims[start..end.max(start)].iter().copied().collect()) }
    }

    /// Dimensions from `start` on; unknown when the rank is.
    pub fn slice_from(&self, start: isize) -> Shape {
        self.slice(start, isize::MAX)
    }

    /// The shape with one dimension (which must exist, if the rank is known) replaced.
    pub fn with_dim(&self, index: isize, size: Option<usize>) -> Shape {
        let mut shape = self.clone();
        if let Some(dims) = &mut shape.dims {
            let rank = dims.len() as isize;
            let index = if index < 0 { index + rank } else { index };
            if (0..rank).contains(&index) {
                dims[index as usize] = size.map_or(-1, |s| s as i64);
            }
        }
        shape
    }

    /// Appends a dimension; unknown rank stays unknown.
    #[must_use]
    pub fn push(&self, size: Option<usize>) -> Shape {
        self.concatenate(&Shape::from([size]))
    }

    /// From the message; an unknown rank and -1 dimensions carry over.
    pub fn from_message(message: &proto::TensorShapeProto) -> Shape {
        if message.unknown_rank {
            return Shape::unknown();
        }
        Shape::from_signed(message.dim.iter().map(|d| d.size))
    }

    /// To the message.
    pub fn to_message(&self) -> proto::TensorShapeProto {
        let dim = |&size: &i64| proto::tensor_shape_proto::Dim { size, name: String::new() };
        match &self.dims {
            None => proto::TensorShapeProto { unknown_rank: true, dim: Vec::new() },
            Some(dims) => proto::TensorShapeProto { unknown_rank: false, dim: dims.iter().map(dim).collect() },
        }
    }
}

impl<const N: usize> From<[Option<usize>; N]> for Shape {
    fn from(dims: [Option<usize>; N]) -> Shape {
        Shape::from(&dims[..])
    }
}

impl From<&[Option<usize>]> for Shape {
    fn from(dims: &[Option<usize>]) -> Shape {
        Shape { dims: Some(dims.iter().map(|d| d.map_or(-1, |d| d as i64)).collect()) }
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(dims: [usize; N]) -> Shape {
        Shape::known(&dims)
    }
}

impl From<&[usize]> for Shape {
    fn from(dims: &[usize]) -> Shape {
        Shape::known(dims)
    }
}

impl From<Vec<Option<usize>>> for Shape {
    fn from(dims: Vec<Option<usize>>) -> Shape {
        Shape::from(&dims[..])
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(dims) = &self.dims else { return f.write_str("<unknown>") };
        f.write_str("[")?;
        for (i, &dim) in dims.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            if dim < 0 { f.write_str("?")? } else { write!(f, "{dim}")? }
        }
        f.write_str("]")
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
