//! Images of another size.

mod area;
mod bicubic;
mod bilinear;
mod gradients;
mod nearest;

pub(super) use gradients::OPS as GRADIENTS;

use super::{image_dims, resized_shape, size_input};
use crate::error::{Result, bail};
use crate::graph::gradient::{Gradient, Grads};
use crate::graph::op::{Grad, Kernel, KernelCtx, NodeInfo, Op};
use crate::graph::{Graph, Operation, Output};
use crate::ops::convert::Arg;
use crate::tensor::{DType, Tensor};

const IMAGES: &str = "T: {int8, uint8, int16, uint16, int32, int64, half, float, double, bfloat16}";
const ALIGN: &str = "align_corners: bool = false";
const HALF_PIXEL: &str = "half_pixel_centers: bool = false";

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "ResizeBilinear",
        ins: &["images: T", "size: int32"],
        outs: &["resized_images: float"],
        attrs: &[IMAGES, ALIGN, HALF_PIXEL],
        shape: resized_shape,
        kernel: Kernel::Pure(bilinear::kernel),
        grad: Grad::Fn(|g, op, grads| to_original(g, op, grads, "ResizeBilinearGrad")),
        rows: &[
            "f32[[[[1] [2]] [[3] [4]]]], i32[3 3] => f32[[[[1] [1.6666667] [2]] [[2.3333335] [3] [3.3333335]] [[3] [3.6666667] [4]]]]",
            "half_pixel_centers=true; u8[[[[10] [20]]]], i32[1 4] => f32[[[[10] [12.5] [17.5] [20]]]]",
            "align_corners=true; f64[[[[1] [3]]]], i32[1 3] => f32[[[[1] [2] [3]]]]",
        ],
    },
    Op {
        name: "ResizeNearestNeighbor",
        ins: &["images: T", "size: int32"],
        outs: &["resized_images: T"],
        attrs: &[IMAGES, ALIGN, HALF_PIXEL],
        shape: resized_shape,
        kernel: Kernel::Pure(nearest::kernel),
        grad: Grad::Fn(nearest_grad),
        rows: &[
            "i32[[[[1] [2] [3]]]], i32[2 2] => i32[[[[1] [2]] [[1] [2]]]]",
            "align_corners=true; i32[[[[1] [2] [3]]]], i32[1 2] => i32[[[[1] [3]]]]",
            "half_pixel_centers=true; u8[[[[1] [2] [3]]]], i32[1 2] => u8[[[[1] [3]]]]",
        ],
    },
    Op {
        name: "ResizeBicubic",
        ins: &["images: T", "size: int32"],
        outs: &["resized_images: float"],
        attrs: &[IMAGES, ALIGN, HALF_PIXEL],
        shape: resized_shape,
        kernel: Kernel::Pure(bicubic::kernel),
        grad: Grad::Fn(bicubic_grad),
        rows: &[
            "f32[[[[1] [2] [4]]]], i32[1 3] => f32[[[[1] [2] [4]]]]",
            "u8[[[[0] [64]]]], i32[1 4] => f32[[[[0] [32] [64] [70]]]]",
        ],
    },
    Op {
        name: "ResizeArea",
        ins: &["images: T", "size: int32"],
        outs: &["resized_images: float"],
        attrs: &[IMAGES, ALIGN],
        shape: resized_shape,
        kernel: Kernel::Pure(area::kernel),
        grad: Grad::Missing,
        rows: &["f32[[[[1] [2] [3] [4]]]], i32[1 2] => f32[[[[1.5] [3.5]]]]"],
    },
];

/// How far one step in the output goes in the input.
fn scale(input: usize, output: usize, align_corners: bool) -> f32 {
    if align_corners && output > 1 { (input - 1) as f32 / (output - 1) as f32 } else { input as f32 / output as f32 }
}

/// What the attributes say about the places of pixels.
#[derive(Clone, Copy)]
struct Places {
    align_corners: bool,
    half_pixel_centers: bool,
}

impl Places {
    fn new(node: &NodeInfo) -> Result<Places> {
        let align_corners = node.boolean("align_corners")?;
        let half_pixel_centers = node.attrs.contains_key("half_pixel_centers") && node.boolean("half_pixel_centers")?;
        if align_corners && half_pixel_centers {
            bail!(InvalidArgument, "If half_pixel_centers is True, align_corners must be False.");
        }
        Ok(Places { align_corners, half_pixel_centers })
    }

    /// Where an output's pixel stands in the input.
    fn position(self, index: usize, scale: f32) -> f32 {
        if self.half_pixel_centers { (index as f32 + 0.5) * scale - 0.5 } else { index as f32 * scale }
    }

    /// The input's pixel that is nearest to an output's.
    fn nearest(self, index: usize, scale: f32, input: usize) -> usize {
        let at = if self.half_pixel_centers { (index as f32 + 0.5) * scale } else { index as f32 * scale };
        let at = if self.align_corners { at.round() } else { at.floor() };
        (at.max(0.0) as usize).min(input - 1)
    }
}

/// Sizes before and after.
struct Sizes {
    batch: usize,
    input: [usize; 2],
    output: [usize; 2],
    channels: usize,
    scale: [f32; 2],
}

impl Sizes {
    fn new(ctx: &KernelCtx, places: Places) -> Result<Sizes> {
        /// Larger images can't be addressed by floats.
        const LIMIT: usize = i32::MAX as usize;
        let [batch, height, width, channels] = image_dims(ctx.input(0)?, "input")?;
        let [new_height, new_width] = size_input(ctx, 1, "shape_t")?;
        if new_height <= 0 || new_width <= 0 {
            bail!(InvalidArgument, "output dimensions must be positive");
        }
        if channels == 0 {
            bail!(InvalidArgument, "image must have at least one channel");
        }
        if height == 0 || width == 0 {
            bail!(InvalidArgument, "input image must be of non-zero size");
        }
        if height >= LIMIT || width >= LIMIT {
            bail!(InvalidArgument, "input sizes must be between 0 and max int32");
        }
        let (input, output) = ([height, width], [new_height as usize, new_width as usize]);
        let scale = [0, 1].map(|i| scale(input[i], output[i], places.align_corners));
        Ok(Sizes { batch, input, output, channels, scale })
    }

    fn output_dims(&self) -> [usize; 4] {
        [self.batch, self.output[0], self.output[1], self.channels]
    }

    fn row(&self) -> usize {
        self.input[1] * self.channels
    }
}

fn to_original(g: &Graph, op: Operation, grads: &Grads, gradient: &str) -> Result<Vec<Option<Gradient>>> {
    let original = g.input(op, 0)?;
    let builder = g.op(gradient).input(grads.dense(g, 0)?).input(original);
    let builder = builder.attr("align_corners", g.get_attr(op, "align_corners")?);
    let output = builder.attr("half_pixel_centers", g.get_attr(op, "half_pixel_centers")?).output()?;
    Ok(vec![Some(output.into()), None])
}

fn bicubic_grad(g: &Graph, op: Operation, grads: &Grads) -> Result<Vec<Option<Gradient>>> {
    match g.dtype(g.input(op, 0)?)? {
        DType::Float | DType::Double => to_original(g, op, grads, "ResizeBicubicGrad"),
        _ => Ok(vec![None, None]),
    }
}

fn nearest_grad(g: &Graph, op: Operation, grads: &Grads) -> Result<Vec<Option<Gradient>>> {
    let image = g.input(op, 0)?;
    let shape = g.shape(image)?;
    let size: Arg = match (shape.dim(1), shape.dim(2)) {
        (Some(height), Some(width)) => Arg::from(vec![height as i32, width as i32]),
        _ => {
            let shape = g.shape_tensor(image)?;
            g.index(shape, &[crate::ops::Idx::from(1..3)])?.into()
        }
    };
    let call = g.call("ResizeNearestNeighborGrad").arg(grads.dense(g, 0)?).arg(size);
    let call = call.attr("align_corners", g.get_attr(op, "align_corners")?);
    let output = call.attr("half_pixel_centers", g.get_attr(op, "half_pixel_centers")?).output()?;
    Ok(vec![Some(output.into()), None])
}

impl Graph {
    fn resize_op(&self, op: &str, images: Arg, size: Arg, options: ResizeOptions) -> Result<Output> {
        let call = self.call(op).arg(images).arg(size).attr("align_corners", options.align_corners);
        if op == "ResizeArea" {
            return call.output();
        }
        call.attr("half_pixel_centers", options.half_pixel_centers).output()
    }

    /// Images `[batch, height, width, channels]` in another size by bilinear interpolation, as floats
    /// (`tf.image.resize_bilinear`).
    ///
    /// # Errors
    /// `InvalidArgument` for images of another rank.
    pub fn resize_bilinear(&self, images: impl Into<Arg>, size: impl Into<Arg>, options: ResizeOptions) -> Result<Output> {
        self.resize_op("ResizeBilinear", images.into(), size.into(), options)
    }

    /// Images in another size of which each pixel is the nearest of the given ones (`tf.image.resize_nearest_neighbor`).
    ///
    /// # Errors
    /// `InvalidArgument` for images of another rank.
    pub fn resize_nearest_neighbor(
        &self,
        images: impl Into<Arg>,
        size: impl Into<Arg>,
        options: ResizeOptions,
    ) -> Result<Output> {
        self.resize_op("ResizeNearestNeighbor", images.into(), size.into(), options)
    }

    /// Images in another size by bicubic interpolation, as floats (`tf.image.resize_bicubic`).
    ///
    /// # Errors
    /// `InvalidArgument` for images of another rank.
    pub fn resize_bicubic(&self, images: impl Into<Arg>, size: impl Into<Arg>, options: ResizeOptions) -> Result<Output> {
        self.resize_op("ResizeBicubic", images.into(), size.into(), options)
    }

    /// Images in another size of which each pixel is the mean of what it covers, as floats (`tf.image.resize_area`).
    ///
    /// # Errors
    /// `InvalidArgument` for images of another rank.
    pub fn resize_area(&self, images: impl Into<Arg>, size: impl Into<Arg>, align_corners: bool) -> Result<Output> {
        self.resize_op("ResizeArea", images.into(), size.into(), ResizeOptions { align_corners, ..ResizeOptions::default() })
    }
}

/// Where the pixels of an image stand when it is resized.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResizeOptions {
    /// The centers of the corner pixels stay where they are.
    pub align_corners: bool,
    /// Pixels stand at their centers, half a pixel from the edge.
    pub half_pixel_centers: bool,
}

/// An output without elements, or one to be written.
fn allocate(dtype: DType, sizes: &Sizes) -> Result<Tensor> {
    Tensor::uninit(dtype, &sizes.output_dims())
}
