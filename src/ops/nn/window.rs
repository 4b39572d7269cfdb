//! Sliding windows: data formats, padding, output sizes.

use crate::error::{Result, bail};
use crate::tensor::{Dims, Shape, Tensor};

/// Where the dimensions of a batch of images stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// True for NCHW and NCDHW.
    pub channels_first: bool,
    /// The number of spatial dimensions.
    pub spatial: usize,
}

impl Layout {
    /// From the name of a data format.
    ///
    /// # Errors
    /// `InvalidArgument` for another name, `Unimplemented` for the vectorized format.
    pub fn from_name(name: &str) -> Result<Layout> {
        let (channels_first, spatial) = match name {
            "NHWC" => (false, 2),
            "NCHW" => (true, 2),
            "NDHWC" => (false, 3),
            "NCDHW" => (true, 3),
            "NCHW_VECT_C" => bail!(Unimplemented, "data format NCHW_VECT_C is not supported on the CPU"),
            _ => bail!(InvalidArgument, "Invalid data format string: {name}"),
        };
        Ok(Layout { channels_first, spatial })
    }

    /// The number of dimensions.
    pub fn rank(self) -> usize {
        self.spatial + 2
    }

    /// The channels' dimension.
    pub fn channel(self) -> usize {
        if self.channels_first { 1 } else { self.spatial + 1 }
    }

    /// A spatial dimension.
    pub fn axis(self, spatial: usize) -> usize {
        spatial + if self.channels_first { 2 } else { 1 }
    }

    /// Batch, spatial sizes and channels, in this order, of dimensions in this layout.
    pub fn channels_last(self, dims: &[usize]) -> Dims {
        let mut last = Dims::from_slice(dims);
        if self.channels_first && last.len() == self.rank() {
            last[1..].rotate_left(1);
        }
        last
    }

    /// Dimensions in this layout, from batch, spatial sizes and channels.
    pub fn from_channels_last(self, dims: &[usize]) -> Dims {
        let mut own = Dims::from_slice(dims);
        if self.channels_first && own.len() == self.rank() {
            own[1..].rotate_right(1);
        }
        own
    }

    /// The values in the order of batch, spatial dimensions, channels.
    ///
    /// # Errors
    /// `ResourceExhausted` when there isn't enough memory.
    pub fn to_channels_last(self, tensor: Tensor) -> Result<Tensor> {
        if !self.channels_first || tensor.rank() != self.rank() {
            return Ok(tensor);
        }
        let dims = tensor.dims();
        let (channels, places) = (dims[1], dims[2..].iter().product());
        swap_inner(&tensor, channels, places, &self.channels_last(tensor.dims()))
    }

    /// The values in this layout, from those in the order of batch, spatial dimensions, channels.
    ///
    /// # Errors
    /// `ResourceExhausted` when there isn't enough memory.
    pub fn to_own(self, tensor: Tensor) -> Result<Tensor> {
        if !self.channels_first || tensor.rank() != self.rank() {
            return Ok(tensor);
        }
        let dims = tensor.dims();
        let (places, channels) = (dims[1..=self.spatial].iter().product(), dims[self.spatial + 1]);
        swap_inner(&tensor, places, channels, &self.from_channels_last(tensor.dims()))
    }
}

/// Matrices `[rows, columns]`, one for each element of the batch, transposed.
fn swap_inner(tensor: &Tensor, rows: usize, columns: usize, dims: &[usize]) -> Result<Tensor> {
    let mut output = Tensor::uninit(tensor.dtype(), dims)?;
    let size = tensor.dtype().size();
    let matrix = rows * columns * size;
    if matrix > 0 {
        for (from, to) in tensor.bytes()?.chunks_exact(matrix).zip(output.bytes_mut()?.chunks_exact_mut(matrix)) {
            match size {
                4 => transpose(from.as_chunks::<4>().0, to.as_chunks_mut::<4>().0, rows, columns),
                8 => transpose(from.as_chunks::<8>().0, to.as_chunks_mut::<8>().0, rows, columns),
                2 => transpose(from.as_chunks::<2>().0, to.as_chunks_mut::<2>().0, rows, columns),
                _ => transpose(from.as_chunks::<1>().0, to.as_chunks_mut::<1>().0, rows, columns),
            }
        }
    }
    Ok(output)
}

fn transpose<T: Copy>(from: &[T], to: &mut [T], rows: usize, columns: usize) {
    for (column, out) in to.chunks_exact_mut(rows).enumerate() {
        for (row, out) in out.iter_mut().enumerate() {
            *out = from[row * columns + column];
        }
    }
}

/// How borders are padded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Padding {
    /// As many outputs as there are strides in the input.
    Same,
    /// Only whole windows.
    Valid,
    /// Before and after each dimension.
    Explicit(Vec<usize>),
}

impl Padding {
    /// From the attributes `padding` and `explicit_paddings`.
    ///
    /// # Errors
    /// `InvalidArgument` where they don't fit each other or the layout.
    pub fn new(padding: &str, explicit: &[i64], layout: Layout) -> Result<Padding> {
        if padding == "EXPLICIT" {
            if explicit.len() != 2 * layout.rank() {
                bail!(
                    InvalidArgument,
                    "explicit_paddings attribute must contain {} values, but got: {}",
                    2 * layout.rank(),
                    explicit.len()
                );
            }
            let Ok(values) = explicit.iter().map(|&p| usize::try_from(p)).collect::<std::result::Result<Vec<usize>, _>>() else {
                bail!(InvalidArgument, "All elements of explicit_paddings must be nonnegative");
            };
            if [0, layout.channel()].iter().any(|&d| values[2 * d] != 0 || values[2 * d + 1] != 0) {
                bail!(InvalidArgument, "Nonzero explicit padding in the batch or depth dimensions is not supported");
            }
            if values.iter().any(|&v| v > i32::MAX as usize) {
                bail!(InvalidArgument, "explicit paddings must be less than 2**31");
            }
            return Ok(Padding::Explicit(values));
        }
        if !explicit.is_empty() {
            bail!(InvalidArgument, "explicit_paddings attribute must be empty if the padding attribute is not EXPLICIT");
        }
        Ok(if padding == "SAME" { Padding::Same } else { Padding::Valid })
    }

    /// The padding before and after a dimension, if it is explicit.
    pub(super) fn of(&self, dim: usize) -> (usize, usize) {
        match self {
            Padding::Explicit(values) => (values[2 * dim], values[2 * dim + 1]),
            _ => (0, 0),
        }
    }
}

/// One dimension of a sliding window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Axis {
    /// The input's size.
    pub input: usize,
    /// The number of elements of a window.
    pub window: usize,
    /// The distance between windows.
    pub stride: usize,
    /// The distance between a window's elements.
    pub dilation: usize,
    /// The number of windows.
    pub output: usize,
    /// How far the first window starts before the input.
    pub before: usize,
}

impl Axis {
    /// A dimension of size 1 that nothing slides along.
    pub const UNIT: Axis = Axis { input: 1, window: 1, stride: 1, dilation: 1, output: 1, before: 0 };

    /// The windows over a dimension, which is number `dim` of the input.
    ///
    /// # Errors
    /// `InvalidArgument` where the window is larger than the padded input.
    pub fn new(input: usize, window: usize, stride: usize, dilation: usize, padding: &Padding, dim: usize) -> Result<Axis> {
        let (output, before) = output_size(input as i64, window as i64, stride as i64, dilation as i64, padding, dim)?;
        Ok(Axis { input, window, stride, dilation, output, before })
    }

    /// The position in the input of an element of a window, none in the padding.
    #[inline(always)]
    pub fn position(&self, output: usize, element: usize) -> Option<usize> {
        (output * self.stride + element * self.dilation).checked_sub(self.before).filter(|&p| p < self.input)
    }

    /// The part of a window, without dilation, that lies in the input.
    #[inline(always)]
    pub fn range(&self, output: usize) -> std::ops::Range<usize> {
        let start = output * self.stride;
        let end = (start + self.window).saturating_sub(self.before).min(self.input);
        start.saturating_sub(self.before).min(end)..end
    }
}

/// The number of windows, and the padding before the first.
///
/// # Errors
/// `InvalidArgument` for a stride or dilation below 1, or where the window is larger than the padded input.
pub(super) fn output_size(
    input: i64,
    window: i64,
    stride: i64,
    dilation: i64,
    padding: &Padding,
    dim: usize,
) -> Result<(usize, usize)> {
    if stride <= 0 {
        bail!(InvalidArgument, "Stride must be > 0, but got {stride}");
    }
    if dilation < 1 {
        bail!(InvalidArgument, "Dilation rate must be >= 1, but got {dilation}");
    }
    let Some(effective) = (window - 1).checked_mul(dilation).and_then(|w| w.checked_add(1)) else {
        bail!(InvalidArgument, "a window of {window} elements with dilation {dilation} is too large");
    };
    let (before, after) = padding.of(dim);
    let (output, before) = match padding {
        Padding::Same => {
            let output = input.checked_add(stride - 1).map_or(0, |n| n / stride);
            let reach = output.saturating_sub(1).saturating_mul(stride).saturating_add(effective);
            (output, (reach.saturating_sub(input)).max(0) / 2)
        }
        _ => {
            let padded = input.saturating_add(before as i64).saturating_add(after as i64);
            ((padded - effective).saturating_add(stride) / stride, before as i64)
        }
    };
    if output < 0 {
        bail!(
            InvalidArgument,
            "Computed output size would be negative: {output} [input_size: {input}, effective_filter_size: {effective}, \
             stride: {stride}]"
        );
    }
    Ok((output as usize, before as usize))
}

/// The number of windows of static sizes; unknown where one that counts is.
///
/// # Errors
/// As [`output_size`].
pub(super) fn static_output_size(
    input: Option<usize>,
    window: Option<usize>,
    stride: i64,
    dilation: i64,
    padding: &Padding,
    dim: usize,
) -> Result<Option<usize>> {
    let (Some(input), Some(window)) = (input, window) else {
        output_size(1, 1, stride, dilation, &Padding::Same, dim)?;
        let only_stride = *padding == Padding::Same;
        return match input {
            Some(input) if only_stride => Ok(Some(output_size(input as i64, 1, stride, 1, padding, dim)?.0)),
            _ => Ok(None),
        };
    };
    Ok(Some(output_size(input as i64, window as i64, stride, dilation, padding, dim)?.0))
}

/// A list attribute of one entry a dimension.
///
/// # Errors
/// `InvalidArgument` for another length.
pub(super) fn check_length(op: &str, what: &str, values: &[i64], rank: usize) -> Result<()> {
    if values.len() != rank {
        bail!(InvalidArgument, "{op} requires the {what} attribute to contain {rank} values, but got: {}", values.len());
    }
    Ok(())
}

/// A static shape in the layout, from batch, spatial sizes and channels.
pub(super) fn layout_shape(layout: Layout, batch: Option<usize>, spatial: &[Option<usize>], channels: Option<usize>) -> Shape {
    let mut dims = vec![batch];
    dims.extend_from_slice(spatial);
    dims.insert(if layout.channels_first { 1 } else { dims.len() }, channels);
    Shape::from(dims)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_padding() {
        let same = |input, window, stride, dilation| output_size(input, window, stride, dilation, &Padding::Same, 1).unwrap();
        let valid = |input, window, stride, dilation| output_size(input, window, stride, dilation, &Padding::Valid, 1).ok();
        assert_eq!(same(5, 3, 2, 1), (3, 1));
        assert_eq!(same(4, 3, 2, 1), (2, 0));
        assert_eq!(same(5, 3, 1, 2), (5, 2));
        assert_eq!(same(0, 3, 2, 1), (0, 0));
        assert_eq!(valid(5, 3, 2, 1), Some((2, 0)));
        assert_eq!(valid(5, 3, 1, 2), Some((1, 0)));
        assert_eq!(valid(5, 6, 1, 1), Some((0, 0)));
        assert_eq!(valid(5, 7, 1, 1), None);
        assert_eq!(valid(5, 3, 0, 1), None);
        let explicit = Padding::Explicit(vec![0, 0, 2, 1, 0, 0, 0, 0]);
        assert_eq!(output_size(5, 3, 2, 1, &explicit, 1).unwrap(), (3, 2));
    }

    #[test]
    fn ranges_keep_within_the_input() {
        let axis = Axis::new(4, 3, 2, 1, &Padding::Explicit(vec![0, 0, 3, 3, 0, 0, 0, 0]), 1).unwrap();
        let ranges: Vec<_> = (0..axis.output).map(|o| axis.range(o)).collect();
        assert_eq!(ranges, [0..0, 0..2, 1..4, 3..4]);
        assert_eq!(axis.position(1, 0), None);
        assert_eq!(axis.position(1, 1), Some(0));
    }
}
