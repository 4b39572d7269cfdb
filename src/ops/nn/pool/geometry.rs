//! What a pooling op's attributes and shapes say, checked.

use crate::error::{Result, bail};
use crate::graph::op::{InferCtx, KernelCtx, NodeInfo};
use crate::ops::nn::window::{Axis, Layout, Padding, check_length, layout_shape, static_output_size};
use crate::tensor::{Dims, Shape};

/// The attributes of a pooling op; the window may be an input of the op instead.
pub(super) struct Attributes {
    op: &'static str,
    pub layout: Layout,
    window: Option<[Vec<i64>; 2]>,
    padding: Padding,
}

impl Attributes {
    /// Reads the attributes of a node.
    ///
    /// # Errors
    /// `InvalidArgument` for lists of another length, `Unimplemented` for windows over the batch.
    pub fn new(node: &NodeInfo) -> Result<Attributes> {
        let layout = match node.attrs.contains_key("data_format") {
            true => Layout::from_name(node.string("data_format")?)?,
            false => Layout { channels_first: false, spatial: 2 },
        };
        let explicit = if node.attrs.contains_key("explicit_paddings") { node.ints("explicit_paddings")? } else { &[] };
        let padding = Padding::new(node.string("padding")?, explicit, layout)?;
        let window = match node.attrs.contains_key("ksize") {
            true => Some([node.ints("ksize")?.to_vec(), node.ints("strides")?.to_vec()]),
            false => None,
        };
        let attributes = Attributes { op: node.op, layout, window, padding };
        if let Some(window) = &attributes.window {
            attributes.check_window(window)?;
        }
        Ok(attributes)
    }

    fn check_window(&self, window: &[Vec<i64>; 2]) -> Result<()> {
        for (what, values) in ["ksize", "strides"].into_iter().zip(window) {
            check_length(self.op, what, values, self.layout.rank())?;
            if values.iter().any(|&v| v <= 0 || v > i64::from(i32::MAX)) {
                bail!(InvalidArgument, "{}: Sliding window {what} must be > 0 and below 2**31, got {values:?}", self.op);
            }
            if values[0] != 1 {
                bail!(Unimplemented, "{}: Pooling is not yet supported on the batch dimension.", self.op);
            }
        }
        // A window of padding alone has no greatest value.
        if let (Padding::Explicit(_), true) = (&self.padding, self.op.starts_with("MaxPool")) {
            for dim in (0..self.layout.spatial).map(|i| self.layout.axis(i)) {
                let (before, after) = self.padding.of(dim);
                let (most, size) = (before.max(after) as i64, window[0][dim]);
                if most >= size {
                    bail!(InvalidArgument, "{}: padding {most} needs to be smaller than the window size {size}", self.op);
                }
            }
        }
        Ok(())
    }

    /// The windows over an input of these dimensions, given in this layout. `first` is the first of the two inputs that hold
    /// window and strides, where no attribute does.
    ///
    /// # Errors
    /// `InvalidArgument` for another rank or a window larger than the input, `Unimplemented` for windows over channels.
    pub fn geometry(&self, ctx: &KernelCtx, first: usize, dims: &[usize]) -> Result<Geometry> {
        let window = match &self.window {
            Some(window) => window.clone(),
            None => {
                let window = [ctx.input(first)?.to_i64s()?.to_vec(), ctx.input(first + 1)?.to_i64s()?.to_vec()];
                self.check_window(&window)?;
                window
            }
        };
        if dims.len() != self.layout.rank() {
            bail!(InvalidArgument, "{}: tensor_in must be {}-dimensional, got {dims:?}", self.op, self.layout.rank());
        }
        let channel = self.layout.channel();
        let mut geometry = Geometry { batch: dims[0], axes: [Axis::UNIT; 3], channels: dims[channel], depth_window: 1 };
        let [sizes, strides] = &window;
        for i in 0..self.layout.spatial {
            let dim = self.layout.axis(i);
            let (size, stride) = (sizes[dim] as usize, strides[dim] as usize);
            geometry.axes[3 - self.layout.spatial + i] = Axis::new(dims[dim], size, stride, 1, &self.padding, dim)?;
        }
        let (depth_window, depth_stride) = (sizes[channel] as usize, strides[channel] as usize);
        if depth_window == 1 && depth_stride == 1 {
            return Ok(geometry);
        }
        if !matches!(self.op, "MaxPool" | "MaxPoolV2") {
            bail!(Unimplemented, "{}: Non-spatial pooling is not yet supported", self.op);
        }
        if geometry.axes.iter().any(|a| a.window != 1) {
            bail!(Unimplemented, "{} supports exactly one of pooling across depth or pooling across width/height.", self.op);
        }
        if !geometry.channels.is_multiple_of(depth_window) {
            bail!(Unimplemented, "Depthwise max pooling requires the depth window to evenly divide the input depth");
        }
        if depth_window != depth_stride {
            bail!(Unimplemented, "Depthwise max pooling requires the depth window to equal the depth stride");
        }
        geometry.depth_window = depth_window;
        Ok(geometry)
    }

    /// Checks the dimensions of a tensor that has the shape of the pooled output.
    ///
    /// # Errors
    /// `InvalidArgument` where it hasn't.
    pub fn check_output(&self, geometry: &Geometry, what: &str, dims: &[usize]) -> Result<()> {
        let expected = self.layout.from_channels_last(&geometry.output_dims(self.layout));
        if dims != &expected[..] {
            bail!(InvalidArgument, "{}: Expected {what} shape to be {expected:?}, but got {dims:?}", self.op);
        }
        Ok(())
    }

    /// Checks that two shapes are the same.
    ///
    /// # Errors
    /// `InvalidArgument` where they aren't.
    pub fn check_same(&self, what: &str, dims: &[usize], expected: &[usize]) -> Result<()> {
        if dims != expected {
            bail!(InvalidArgument, "{}: Expected {what} shape to be {expected:?}, but got {dims:?}", self.op);
        }
        Ok(())
    }
}

/// The sizes of a pooling. Two spatial dimensions are three, the first of them a [`Axis::UNIT`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Geometry {
    pub batch: usize,
    pub axes: [Axis; 3],
    pub channels: usize,
    /// How many channels are pooled into one, where channels are pooled and not places.
    pub depth_window: usize,
}

impl Geometry {
    /// The output's dimensions: batch, places, channels.
    pub fn output_dims(&self, layout: Layout) -> Dims {
        let mut dims = Dims::from_slice(&[self.batch]);
        dims.extend(self.axes[3 - layout.spatial..].iter().map(|a| a.output));
        dims.push(self.channels / self.depth_window);
        dims
    }

    /// The number of elements of an image of the input.
    pub fn image(&self) -> usize {
        self.axes.iter().map(|a| a.input).product::<usize>() * self.channels
    }

    /// The number of elements of a row of the output.
    pub fn row(&self) -> usize {
        self.axes[2].output * self.channels
    }

    /// The number of rows of the output of one image.
    pub fn rows(&self) -> usize {
        self.axes[0].output * self.axes[1].output
    }

    /// Calls the function for each output position of a row of one image and each input position of its window, in order:
    /// the place of the output in its row, and that of the input in its image.
    #[inline(always)]
    pub fn windows(&self, row: usize, mut each: impl FnMut(usize, usize)) {
        for x in 0..self.axes[2].output {
            self.window(
                row,
                x,
                #[inline(always)]
                |from| each(x * self.channels, from),
            );
        }
    }

    /// Calls the function for each input position in the window of an output position of a row, in order: its place in the
    /// image.
    #[inline(always)]
    pub fn window(&self, row: usize, x: usize, mut each: impl FnMut(usize)) {
        let [depth, height, width] = &self.axes;
        let (z, y) = (row / height.output, row % height.output);
        for iz in depth.range(z) {
            for iy in height.range(y) {
                let line = (iz * height.input + iy) * width.input;
                for ix in width.range(x) {
                    each((line + ix) * self.channels);
                }
            }
        }
    }

    /// The number of input positions in the window of an output position of a row.
    #[inline(always)]
    pub fn count(&self, row: usize, x: usize) -> usize {
        let [depth, height, width] = &self.axes;
        let (z, y) = (row / height.output, row % height.output);
        depth.range(z).len() * height.range(y).len() * width.range(x).len()
    }
}

/// The shape of a pooled input 0, with window and strides from attributes or from constant inputs.
pub(super) fn pooled_shape(ctx: &mut InferCtx, first: usize) -> Result<Shape> {
    let layout = match ctx.has_attr("data_format") {
        true => Layout::from_name(&ctx.string("data_format")?)?,
        false => Layout { channels_first: false, spatial: 2 },
    };
    let rank = layout.rank();
    let input = ctx.input(0).with_rank(rank)?;
    let explicit = if ctx.has_attr("explicit_paddings") { ctx.ints("explicit_paddings")? } else { Vec::new() };
    let padding = Padding::new(&ctx.string("padding")?, &explicit, layout)?;
    let (sizes, strides) = if ctx.has_attr("ksize") {
        (ctx.ints("ksize")?, ctx.ints("strides")?)
    } else {
        match (ctx.constant(first), ctx.constant(first + 1)) {
            (Some(sizes), Some(strides)) => (sizes.to_i64s()?.to_vec(), strides.to_i64s()?.to_vec()),
            _ => return Ok(Shape::of_rank(rank)),
        }
    };
    check_length("Pooling", "ksize", &sizes, rank)?;
    check_length("Pooling", "strides", &strides, rank)?;
    let windowed = |dim: usize| {
        static_output_size(input.dim(dim as isize), usize::try_from(sizes[dim]).ok(), strides[dim], 1, &padding, dim)
    };
    let spatial = (0..layout.spatial).map(|i| windowed(layout.axis(i))).collect::<Result<Vec<_>>>()?;
    Ok(layout_shape(layout, input.dim(0), &spatial, windowed(layout.channel())?))
}
