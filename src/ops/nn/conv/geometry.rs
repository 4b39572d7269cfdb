//! What a convolution's attributes and shapes say, checked.

use crate::error::{Result, bail};
use crate::graph::op::NodeInfo;
use crate::ops::nn::window::{Axis, Layout, Padding, check_length};
use crate::tensor::{Dims, Tensor};

/// The attributes of a convolution.
pub(in crate::ops::nn) struct Attributes {
    pub op: &'static str,
    pub layout: Layout,
    pub strides: Vec<i64>,
    pub dilations: Vec<i64>,
    pub padding: Padding,
}

impl Attributes {
    /// Reads the attributes of a node.
    ///
    /// # Errors
    /// `InvalidArgument` for lists of another length and sizes below 1, `Unimplemented` for strides or dilations over batch or
    /// channels.
    pub fn new(node: &NodeInfo) -> Result<Attributes> {
        let layout = match node.attrs.contains_key("data_format") {
            true => Layout::from_name(node.string("data_format")?)?,
            false => Layout { channels_first: false, spatial: 3 },
        };
        let strides = node.ints("strides")?.to_vec();
        let dilations = node.ints("dilations")?.to_vec();
        check_length(node.op, "strides", &strides, layout.rank())?;
        check_length(node.op, "dilations", &dilations, layout.rank())?;
        for (what, values) in [("strides", &strides), ("dilations", &dilations)] {
            if values[0] != 1 || values[layout.channel()] != 1 {
                bail!(
                    Unimplemented,
                    "Current implementation does not yet support {what} in the batch and depth dimensions, got {values:?}"
                );
            }
            if values.iter().any(|&v| v <= 0 || v > i64::from(i32::MAX)) {
                bail!(InvalidArgument, "{what} must be at least 1 and below 2**31, got {values:?}");
            }
        }
        let explicit = if node.attrs.contains_key("explicit_paddings") { node.ints("explicit_paddings")? } else { &[] };
        let padding = Padding::new(node.string("padding")?, explicit, layout)?;
        Ok(Attributes { op: node.op, layout, strides, dilations, padding })
    }

    /// The window over each spatial dimension. Sizes are those of the input in this layout, and of the filter.
    fn axes(&self, input: &[usize], filter: &[usize]) -> Result<[Axis; 3]> {
        let mut axes = [Axis::UNIT; 3];
        for i in 0..self.layout.spatial {
            let dim = self.layout.axis(i);
            let (stride, dilation) = (self.strides[dim] as usize, self.dilations[dim] as usize);
            axes[3 - self.layout.spatial + i] = Axis::new(input[dim], filter[i], stride, dilation, &self.padding, dim)?;
        }
        Ok(axes)
    }

    /// The geometry for an input (in this layout) and a filter `[window..., group's inputs, outputs]`.
    ///
    /// # Errors
    /// `InvalidArgument` where ranks or channels don't fit.
    pub fn geometry(&self, input: &[usize], filter: &[usize]) -> Result<Geometry> {
        let rank = self.layout.rank();
        for (what, dims) in [("input", input), ("filter", filter)] {
            if dims.len() != rank {
                bail!(InvalidArgument, "{}: {what} must be {rank}-dimensional: {dims:?}", self.op);
            }
        }
        let (in_channels, group_in, out_channels) = (input[self.layout.channel()], filter[rank - 2], filter[rank - 1]);
        if group_in == 0 {
            bail!(InvalidArgument, "{}: filter depth must be greater than 0, got filter {filter:?}", self.op);
        }
        if filter[..rank - 2].contains(&0) {
            bail!(InvalidArgument, "{}: filter must not have zero elements (i.e. empty windows), got {filter:?}", self.op);
        }
        if in_channels == 0 || !in_channels.is_multiple_of(group_in) {
            bail!(
                InvalidArgument,
                "{}: input depth must be evenly divisible by filter depth: {in_channels} vs {group_in}",
                self.op
            );
        }
        let groups = in_channels / group_in;
        if !out_channels.is_multiple_of(groups) {
            bail!(
                InvalidArgument,
                "{}: depth of output ({out_channels}) is not a multiple of the number of groups ({groups})",
                self.op
            );
        }
        Ok(Geometry { batch: input[0], axes: self.axes(input, filter)?, in_channels, group_in, out_channels })
    }

    /// The geometry of a depthwise convolution: a filter `[rows, columns, inputs, multiplier]`.
    ///
    /// # Errors
    /// `InvalidArgument` where ranks or channels don't fit.
    pub fn depthwise(&self, input: &[usize], filter: &[usize]) -> Result<Geometry> {
        for (what, dims) in [("input", input), ("filter", filter)] {
            if dims.len() != 4 {
                bail!(InvalidArgument, "{}: {what} must be 4-dimensional: {dims:?}", self.op);
            }
        }
        let in_channels = input[self.layout.channel()];
        if in_channels != filter[2] {
            bail!(
                InvalidArgument,
                "{}: input and filter must have the same depth: {in_channels} vs {}, input {input:?}, filter {filter:?}",
                self.op,
                filter[2]
            );
        }
        let Some(out_channels) = in_channels.checked_mul(filter[3]) else {
            bail!(InvalidArgument, "{}: too many output channels: filter {filter:?}", self.op);
        };
        Ok(Geometry { batch: input[0], axes: self.axes(input, filter)?, in_channels, group_in: 1, out_channels })
    }

    /// The output's dimensions in this layout.
    pub fn output_dims(&self, geometry: &Geometry) -> Dims {
        let mut dims = Dims::from_slice(&[geometry.batch]);
        dims.extend(geometry.axes[3 - self.layout.spatial..].iter().map(|a| a.output));
        dims.push(geometry.out_channels);
        self.layout.from_channels_last(&dims)
    }

    /// Checks that the gradient of the output has the output's dimensions.
    ///
    /// # Errors
    /// `InvalidArgument` where it hasn't.
    pub fn check_out_backprop(&self, geometry: &Geometry, out_backprop: &Tensor) -> Result<()> {
        let expected = self.output_dims(geometry);
        if out_backprop.dims() != &expected[..] {
            bail!(
                InvalidArgument,
                "{}: Size of out_backprop doesn't match computed: actual = {:?}, computed = {expected:?}",
                self.op,
                out_backprop.dims()
            );
        }
        Ok(())
    }

    /// The input's dimensions as an input of the op gives them: all, or the spatial ones alone.
    ///
    /// # Errors
    /// `InvalidArgument` for another number of sizes.
    pub fn input_sizes(&self, sizes: &Tensor, filter: &[usize], out_backprop: &[usize], spatial_too: bool) -> Result<Dims> {
        let (rank, spatial) = (self.layout.rank(), self.layout.spatial);
        if sizes.rank() != 1 {
            bail!(InvalidArgument, "{}: input_sizes input must be 1-dim, not {}", self.op, sizes.rank());
        }
        let sizes = sizes.to_dims()?;
        if sizes.len() == rank {
            return Ok(sizes);
        }
        if sizes.len() != spatial || !spatial_too || filter.len() != rank || out_backprop.len() != rank {
            bail!(
                InvalidArgument,
                "{}: input_sizes must contain {rank} values{}, got {}",
                self.op,
                if spatial_too { format!(" or {spatial} values") } else { String::new() },
                sizes.len()
            );
        }
        let mut dims = Dims::from_slice(&[out_backprop[0]]);
        dims.extend_from_slice(&sizes);
        dims.push(filter[rank - 2]);
        Ok(self.layout.from_channels_last(&dims))
    }
}

/// The sizes of a convolution. Two spatial dimensions are three, the first of them a [`Axis::UNIT`].
#[derive(Clone, Copy, Debug)]
pub(in crate::ops::nn) struct Geometry {
    pub batch: usize,
    pub axes: [Axis; 3],
    pub in_channels: usize,
    /// The input channels that each output channel depends on.
    pub group_in: usize,
    pub out_channels: usize,
}

impl Geometry {
    /// The number of groups of channels that don't depend on each other.
    pub fn groups(&self) -> usize {
        self.in_channels / self.group_in
    }

    /// The number of output positions of one image.
    pub fn positions(&self) -> usize {
        self.axes.iter().map(|a| a.output).product()
    }

    /// The number of elements of one image.
    pub fn image(&self) -> usize {
        self.axes.iter().map(|a| a.input).product::<usize>() * self.in_channels
    }

    /// The number of inputs that an output depends on.
    pub fn window(&self) -> usize {
        self.axes.iter().map(|a| a.window).product::<usize>() * self.group_in
    }

    /// True when each output position depends on the input position of its number alone.
    pub fn is_pointwise(&self) -> bool {
        self.axes.iter().all(|a| a.window == 1 && a.stride == 1 && a.before == 0 && a.output == a.input)
    }
}
