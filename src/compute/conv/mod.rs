//! Convolutions over images in NHWC, filters in HWIO.
//!
//! The caller works out paddings and output sizes; what a window reads outside of the image is zero.

mod dense;
mod depthwise;
mod direct;
mod patches;
#[cfg(test)]
mod tests;

pub use dense::{conv2d, conv2d_backprop_filter, conv2d_backprop_input};
pub use depthwise::{depthwise_conv2d, depthwise_conv2d_backprop_filter, depthwise_conv2d_backprop_input};
pub use direct::{conv2d_backprop_filter_direct, conv2d_backprop_input_direct, conv2d_direct};

use std::ops::Range;

/// How windows move along one spatial dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Axis {
    /// The image's size.
    pub input: usize,
    /// The number of windows.
    pub output: usize,
    /// The window's number of taps.
    pub window: usize,
    /// The distance from window to window.
    pub stride: usize,
    /// The distance from tap to tap.
    pub dilation: usize,
    /// How far the first window begins before the image.
    pub padding: usize,
}

impl Axis {
    /// The position that a tap of an output's window reads, if it is inside.
    #[inline]
    pub fn position(&self, output: usize, tap: usize) -> Option<usize> {
        (output * self.stride + tap * self.dilation).checked_sub(self.padding).filter(|position| *position < self.input)
    }

    /// The taps of an output's window that are inside.
    #[inline]
    pub fn taps(&self, output: usize) -> Range<usize> {
        let begin = output * self.stride;
        let dilation = self.dilation.max(1);
        let first = self.padding.saturating_sub(begin).div_ceil(dilation);
        let end = (self.input + self.padding).saturating_sub(begin).div_ceil(dilation).min(self.window);
        first.min(end)..end
    }
}

/// The sizes of a two-dimensional convolution.
///
/// Input `[batch, rows.input, columns.input, in_channels]`, filter `[rows.window, columns.window, in_channels / groups,
/// out_channels]`, output `[batch, rows.output, columns.output, out_channels]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2d {
    /// The number of images.
    pub batch: usize,
    /// How windows move down.
    pub rows: Axis,
    /// How windows move right.
    pub columns: Axis,
    /// The channels of an input pixel.
    pub in_channels: usize,
    /// The channels of an output pixel.
    pub out_channels: usize,
    /// Into how many groups the channels are cut; each group of outputs reads its group of inputs. Divides both.
    pub groups: usize,
}

impl Conv2d {
    /// Elements of the input.
    pub fn input_size(&self) -> usize {
        self.batch * self.image_size()
    }

    /// Elements of the filter.
    pub fn filter_size(&self) -> usize {
        self.depth() * self.out_channels
    }

    /// Elements of the output.
    pub fn output_size(&self) -> usize {
        self.pixels() * self.out_channels
    }

    /// Elements of one image.
    fn image_size(&self) -> usize {
        self.rows.input * self.columns.input * self.in_channels
    }

    /// The number of output pixels.
    fn pixels(&self) -> usize {
        self.batch * self.rows.output * self.columns.output
    }

    /// The inputs of a group that a window reads.
    fn depth(&self) -> usize {
        self.rows.window * self.columns.window * (self.in_channels / self.groups.max(1))
    }
}

/// The sizes of a depthwise convolution: each input channel gives `multiplier` output channels, side by side.
///
/// Filter `[rows.window, columns.window, channels, multiplier]`, output `[batch, rows.output, columns.output, channels *
/// multiplier]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DepthwiseConv2d {
    /// The number of images.
    pub batch: usize,
    /// How windows move down.
    pub rows: Axis,
    /// How windows move right.
    pub columns: Axis,
    /// The channels of an input pixel.
    pub channels: usize,
    /// The outputs of a channel.
    pub multiplier: usize,
}

/// Panics unless a slice has the length that its role demands.
fn check_length<T>(what: &str, slice: &[T], expected: usize) {
    assert_eq!(slice.len(), expected, "{what} has {} elements, expected {expected}", slice.len());
}
