//! Crops: boxes cut out of images and resized, and a random one.

use super::{image_dims, size_input, sized_shape};
use crate::compute::pool::parallel_pieces;
use crate::error::{Result, bail};
use crate::graph::gradient::{Gradient, Grads};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op, PrepareCtx, Prepared};
use crate::graph::{Graph, Operation, Output};
use crate::ops::convert::Arg;
use crate::random::SimplePhilox;
use crate::tensor::{DType, Shape, Tensor, dispatch};
use num_traits::AsPrimitive;

const IMAGE: &str = "T: {uint8, uint16, int8, int16, int32, int64, half, float, double}";

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "CropAndResize",
        ins: &["image: T", "boxes: float", "box_ind: int32", "crop_size: int32"],
        outs: &["crops: float"],
        attrs: &[IMAGE, "method: {'bilinear', 'nearest'} = 'bilinear'", "extrapolation_value: float = 0"],
        shape: |ctx| {
            let (image, boxes) = (ctx.input(0).with_rank(4)?, box_shapes(ctx, 1, 2)?);
            let shape = sized_shape(ctx, boxes, 3, image.dim(3))?;
            ctx.set(0, shape)
        },
        kernel: Kernel::Pure(crop_and_resize),
        grad: Grad::Fn(crop_and_resize_grad),
        rows: &[
            "f32[[[[1] [2]] [[3] [4]]]], f32[[0 0 1 1] [1 1 0 0]], i32[0 0], i32[1 3] => f32[[[[2] [2.5] [3]]] [[[3] [2.5] [2]]]]",
            "method='nearest', extrapolation_value=9; u8[[[[1] [2]] [[3] [4]]]], f32[[0 0 1 2]], i32[0], i32[2 2] \
             => f32[[[[1] [9]] [[3] [9]]]]",
            "f32{1,2,2,1}[1 2 3 4], f32{0,4}[], i32{0}[], i32[1 3] => f32{0,1,3,1}[]",
        ],
    },
    Op {
        name: "CropAndResizeGradImage",
        ins: &["grads: float", "boxes: float", "box_ind: int32", "image_size: int32"],
        outs: &["output: T"],
        attrs: &["T: {float, half, double}", "method: {'bilinear', 'nearest'} = 'bilinear'"],
        shape: |ctx| {
            let grads = ctx.input(0).with_rank(4)?;
            let boxes = box_shapes(ctx, 1, 2)?;
            Shape::vector(grads.dim(0)).merge(&Shape::vector(boxes))?;
            let size = ctx.constant_shape(3).with_rank(4)?;
            Shape::vector(size.dim(3)).merge(&Shape::vector(grads.dim(3)))?;
            ctx.set(0, size)
        },
        kernel: Kernel::Pure(grad_image),
        grad: Grad::Missing,
        rows: &["T=DT_FLOAT; f32[[[[1] [2] [4]]]], f32[[0 0 1 1]], i32[0], i32[1 2 2 1] => f32[[[[1] [2.5]] [[1] [2.5]]]]"],
    },
    Op {
        name: "CropAndResizeGradBoxes",
        ins: &["grads: float", "image: T", "boxes: float", "box_ind: int32"],
        outs: &["output: float"],
        attrs: &[IMAGE, "method: {'bilinear'} = 'bilinear'"],
        shape: |ctx| ctx.set(0, ctx.input(2)),
        kernel: Kernel::Pure(grad_boxes),
        grad: Grad::Missing,
        rows: &["f32[[[[1] [2]]]], f32[[[[1] [2]] [[3] [4]]]], f32[[0 0 1 1]], i32[0] => f32[[3 0 3 0]]"],
    },
    Op {
        name: "RandomCrop",
        ins: &["image: T", "size: int64"],
        outs: &["output: T"],
        attrs: &["T: {uint8, int8, int16, int32, int64, float, double}", "seed: int = 0", "seed2: int = 0"],
        shape: |ctx| {
            let image = ctx.input(0).with_rank(3)?;
            let size = ctx.constant_shape(1).with_rank(2)?;
            ctx.set(0, Shape::from([size.dim(0), size.dim(1), image.dim(2)]))
        },
        kernel: Kernel::StatefulPrepared(random_crop),
        grad: Grad::None("random"),
        rows: &[],
    },
];

fn box_shapes(ctx: &InferCtx, boxes: usize, index: usize) -> Result<Option<usize>> {
    let boxes = ctx.input(boxes).merge(&Shape::matrix(None, Some(4)))?;
    Ok(Shape::vector(boxes.dim(0)).merge(&ctx.input(index).with_rank(1)?)?.dim(0))
}

/// Boxes, `[y1, x1, y2, x2]` each, and the images in which they lie.
struct Boxes<'a> {
    boxes: &'a [[f32; 4]],
    images: &'a [i32],
}

impl<'a> Boxes<'a> {
    fn new(boxes: &'a Tensor, index: &'a Tensor, images: usize) -> Result<Boxes<'a>> {
        if boxes.is_empty() && index.is_empty() {
            return Ok(Boxes { boxes: &[], images: &[] });
        }
        if boxes.rank() != 2 {
            bail!(InvalidArgument, "boxes must be 2-D, got: {:?}", boxes.dims());
        }
        if boxes.dims()[1] != 4 {
            bail!(InvalidArgument, "boxes must have 4 columns");
        }
        if index.rank() != 1 {
            bail!(InvalidArgument, "box_indices must be rank 1 but is shape {:?}", index.dims());
        }
        if index.dims()[0] != boxes.dims()[0] {
            bail!(InvalidArgument, "box_index has incompatible shape");
        }
        let indices = index.as_slice::<i32>()?;
        if indices.iter().any(|&i| usize::try_from(i).map_or(true, |i| i >= images)) {
            bail!(OutOfRange, "box_index has values outside [0, batch_size)");
        }
        Ok(Boxes { boxes: boxes.as_slice::<f32>()?.as_chunks().0, images: indices })
    }
}

/// Where the pixels of a crop stand along one side of the image.
struct Line {
    start: f32,
    step: f32,
    last: f32,
}

impl Line {
    fn new(from: f32, to: f32, image: usize, crop: usize) -> Line {
        let last = (image - 1) as f32;
        match crop {
            1 => Line { start: (0.5 * f64::from(from + to) * f64::from(last)) as f32, step: 0.0, last },
            _ => Line { start: from * last, step: (to - from) * last / (crop - 1) as f32, last },
        }
    }

    /// The place in the image of a crop's pixel, if it is inside.
    fn at(&self, i: usize) -> Option<f32> {
        let place = self.start + i as f32 * self.step;
        (!(place < 0.0) && !(place > self.last)).then_some(place)
    }
}

/// The pixels around a place: the one before, the one after, and how far the place is from the first.
fn around(place: f32) -> (usize, usize, f32) {
    (place.floor() as usize, place.ceil() as usize, place - place.floor())
}

fn check_size(dims: &[usize], what: &str) -> Result<()> {
    if dims.contains(&0) {
        bail!(InvalidArgument, "{what} dimensions must be positive");
    }
    Ok(())
}

fn crop_and_resize(ctx: &mut KernelCtx) -> Result<()> {
    let image = ctx.input(0)?;
    let [batch, height, width, depth] = image_dims(image, "input image")?;
    check_size(&[height, width], "image")?;
    let boxes = Boxes::new(ctx.input(1)?, ctx.input(2)?, batch)?;
    let [crop_height, crop_width] = size_input(ctx, 3, "crop_size")?;
    if crop_height <= 0 || crop_width <= 0 {
        bail!(InvalidArgument, "crop dimensions must be positive");
    }
    let (crop_height, crop_width) = (crop_height as usize, crop_width as usize);
    if !boxes.boxes.as_flattened().iter().all(|v| v.is_finite()) {
        bail!(InvalidArgument, "Boxes contains at least one element that is not finite");
    }
    let (nearest, outside) = (ctx.node().string("method")? == "nearest", ctx.node().float("extrapolation_value")?);
    let mut output = Tensor::uninit(DType::Float, &[boxes.boxes.len(), crop_height, crop_width, depth])?;
    if output.is_empty() {
        return ctx.set(0, output);
    }
    dispatch!(image.dtype(), real, T => {
        let pixels = image.as_slice::<T>()?;
        let unit = crop_width * depth;
        let value = |at: usize| -> f32 { pixels[at].as_() };
        parallel_pieces(output.as_mut_slice::<f32>()?, unit, (1usize << 12).div_ceil(unit), |first, rows| {
            for (i, row) in rows.chunks_exact_mut(unit).enumerate() {
                let (b, y) = ((first + i) / crop_height, (first + i) % crop_height);
                let [y1, x1, y2, x2] = boxes.boxes[b];
                let start = boxes.images[b] as usize * height;
                let Some(y) = Line::new(y1, y2, height, crop_height).at(y) else {
                    row.fill(outside);
                    continue;
                };
                let across = Line::new(x1, x2, width, crop_width);
                for (x, to) in row.chunks_exact_mut(depth).enumerate() {
                    let Some(x) = across.at(x) else {
                        to.fill(outside);
                        continue;
                    };
                    if nearest {
                        let from = ((start + y.round() as usize) * width + x.round() as usize) * depth;
                        to.iter_mut().enumerate().for_each(|(d, to)| *to = value(from + d));
                        continue;
                    }
                    let ((top, bottom, down), (left, right, along)) = (around(y), around(x));
                    let at = |y: usize, x: usize| ((start + y) * width + x) * depth;
                    let corners = [at(top, left), at(top, right), at(bottom, left), at(bottom, right)];
                    for (d, to) in to.iter_mut().enumerate() {
                        let [a, b, c, e] = corners.map(|corner| value(corner + d));
                        let (upper, lower) = (a + (b - a) * along, c + (e - c) * along);
                        *to = upper + (lower - upper) * down;
                    }
                }
            }
        });
    });
    ctx.set(0, output)
}

fn grad_image(ctx: &mut KernelCtx) -> Result<()> {
    let grads = ctx.input(0)?;
    let [count, crop_height, crop_width, depth] = image_dims(grads, "grads image")?;
    check_size(&[crop_height, crop_width], "grads")?;
    let size = ctx.input(3)?;
    if size.dims() != [4] {
        bail!(InvalidArgument, "image_size must be 1-D with 4 elements, got shape {:?}", size.dims());
    }
    let size = size.to_dims()?;
    let (batch, height, width) = (size[0], size[1], size[2]);
    check_size(&[height, width], "image")?;
    if size[3] != depth {
        bail!(InvalidArgument, "image_size and grads are incompatible");
    }
    let boxes = Boxes::new(ctx.input(1)?, ctx.input(2)?, batch)?;
    if boxes.boxes.len() != count {
        bail!(InvalidArgument, "boxes and grads have incompatible shape");
    }
    let (dtype, nearest) = (ctx.node().dtype("T")?, ctx.node().string("method")? == "nearest");
    let mut output = Tensor::zeros(dtype, &size)?;
    let from = grads.as_slice::<f32>()?;
    dispatch!(dtype, floats, T => {
        let out = output.as_mut_slice::<T>()?;
        for (b, (&[y1, x1, y2, x2], &image)) in boxes.boxes.iter().zip(boxes.images).enumerate() {
            let (down, across) = (Line::new(y1, y2, height, crop_height), Line::new(x1, x2, width, crop_width));
            for y in 0..crop_height {
                let Some(place_y) = down.at(y) else { continue };
                for x in 0..crop_width {
                    let Some(place_x) = across.at(x) else { continue };
                    let from = &from[((b * crop_height + y) * crop_width + x) * depth..][..depth];
                    let at = |y: usize, x: usize| ((image as usize * height + y) * width + x) * depth;
                    let mut add = |start: usize, scale: &dyn Fn(f32) -> f32| {
                        for (to, &value) in out[start..start + depth].iter_mut().zip(from) {
                            *to += AsPrimitive::<T>::as_(scale(value));
                        }
                    };
                    if nearest {
                        add(at(place_y.round() as usize, place_x.round() as usize), &|v| v);
                        continue;
                    }
                    let ((top, bottom, dy), (left, right, dx)) = (around(place_y), around(place_x));
                    add(at(top, left), &|v| (1.0 - dx) * ((1.0 - dy) * v));
                    add(at(top, right), &|v| dx * ((1.0 - dy) * v));
                    add(at(bottom, left), &|v| (1.0 - dx) * (dy * v));
                    add(at(bottom, right), &|v| dx * (dy * v));
                }
            }
        }
    });
    ctx.set(0, output)
}

fn grad_boxes(ctx: &mut KernelCtx) -> Result<()> {
    let (grads, image) = (ctx.input(0)?, ctx.input(1)?);
    let [count, crop_height, crop_width, depth] = image_dims(grads, "grads image")?;
    check_size(&[crop_height, crop_width], "grads")?;
    let [batch, height, width, image_depth] = image_dims(image, "input image")?;
    check_size(&[height, width], "image")?;
    if image_depth != depth {
        bail!(InvalidArgument, "image, grads depth differ");
    }
    let boxes = Boxes::new(ctx.input(2)?, ctx.input(3)?, batch)?;
    if boxes.boxes.len() != count {
        bail!(InvalidArgument, "boxes and grads have incompatible shape");
    }
    let from = grads.as_slice::<f32>()?;
    let mut output = vec![0f32; count * 4];
    let ratio = |image: usize, crop: usize| if crop > 1 { (image - 1) as f32 / (crop - 1) as f32 } else { 0.0 };
    let (ratio_y, ratio_x) = (ratio(height, crop_height), ratio(width, crop_width));
    // The share of a movement of the box's start and end that reaches the crop's pixel `i`.
    let shares = |i: usize, crop: usize, image: usize, ratio: f32| match crop {
        1 => (0.5 * (image - 1) as f32, 0.5 * (image - 1) as f32),
        _ => ((image - 1) as f32 - i as f32 * ratio, i as f32 * ratio),
    };
    dispatch!(image.dtype(), real, T => {
        let pixels = image.as_slice::<T>()?;
        let value = |at: usize| -> f32 { pixels[at].as_() };
        for (b, to) in output.chunks_exact_mut(4).enumerate() {
            let ([y1, x1, y2, x2], start) = (boxes.boxes[b], boxes.images[b] as usize * height);
            let (down, across) = (Line::new(y1, y2, height, crop_height), Line::new(x1, x2, width, crop_width));
            for y in 0..crop_height {
                let Some(place_y) = down.at(y) else { continue };
                for x in 0..crop_width {
                    let Some(place_x) = across.at(x) else { continue };
                    let ((top, bottom, dy), (left, right, dx)) = (around(place_y), around(place_x));
                    let at = |y: usize, x: usize| ((start + y) * width + x) * depth;
                    let corners = [at(top, left), at(top, right), at(bottom, left), at(bottom, right)];
                    let (share_y, share_x) =
                        (shares(y, crop_height, height, ratio_y), shares(x, crop_width, width, ratio_x));
                    for d in 0..depth {
                        let [a, b2, c, e] = corners.map(|corner| value(corner + d));
                        let gradient = from[((b * crop_height + y) * crop_width + x) * depth + d];
                        let by_y = ((1.0 - dx) * (c - a) + dx * (e - b2)) * gradient;
                        let by_x = ((1.0 - dy) * (b2 - a) + dy * (e - c)) * gradient;
                        to[0] += by_y * share_y.0;
                        to[2] += by_y * share_y.1;
                        to[1] += by_x * share_x.0;
                        to[3] += by_x * share_x.1;
                    }
                }
            }
        }
    });
    ctx.set(0, Tensor::new(&[count, 4], output)?)
}

fn crop_and_resize_grad(g: &Graph, op: Operation, grads: &Grads) -> Result<Vec<Option<Gradient>>> {
    let inputs = g.inputs(op);
    let grad = grads.dense(g, 0)?;
    let shape: Arg = match g.shape(inputs[0])?.to_dims() {
        Some(dims) => Arg::from(&dims[..]),
        None => g.shape_tensor(inputs[0])?.into(),
    };
    let image = match g.dtype(inputs[0])? {
        DType::Half | DType::Float | DType::Double => {
            let call = g.call("CropAndResizeGradImage").arg(grad).arg(inputs[1]).arg(inputs[2]).arg(shape);
            Some(call.attr("T", g.get_attr(op, "T")?).attr("method", g.get_attr(op, "method")?).output()?.into())
        }
        _ => None,
    };
    let boxes = g.op("CropAndResizeGradBoxes").input(grad).input(inputs[0]).input(inputs[1]).input(inputs[2]).output()?;
    Ok(vec![image, Some(boxes.into()), None, None])
}

fn random_crop(ctx: &PrepareCtx) -> Result<Prepared> {
    let generator = crate::ops::random::generator(ctx)?;
    Ok(Box::new(move |ctx: &mut KernelCtx| {
        let image = ctx.input(0)?;
        let &[height, width, channels] = image.dims() else {
            bail!(InvalidArgument, "input must be 3-dimensional{:?}", image.dims());
        };
        let [new_height, new_width] = size_input(ctx, 1, "shape_t")?;
        if new_height < 0 || new_width < 0 || new_height > height as i64 || new_width > width as i64 {
            bail!(
                FailedPrecondition,
                "width must be >= target_width: width = {width}, target_width = {new_width}; height = {height}, target_height = {new_height}"
            );
        }
        let (new_height, new_width) = (new_height as usize, new_width as usize);
        if (new_height, new_width) == (height, width) {
            return ctx.forward(0, 0);
        }
        let mut random = SimplePhilox::new(generator.reserve_samples32(2));
        let x = if new_width < width { random.uniform((width - new_width + 1) as u32) as usize } else { 0 };
        let y = if new_height < height { random.uniform((height - new_height + 1) as u32) as usize } else { 0 };
        let mut output = Tensor::zeros(image.dtype(), &[new_height, new_width, channels])?;
        let pixel = channels * image.dtype().size();
        let from = image.bytes()?;
        if new_width * pixel > 0 {
            for (row, to) in output.bytes_mut()?.chunks_exact_mut(new_width * pixel).enumerate() {
                to.copy_from_slice(&from[((y + row) * width + x) * pixel..][..new_width * pixel]);
            }
        }
        ctx.set(0, output)
    }))
}

/// What lies outside the image, and how pixels are interpolated.
#[derive(Clone, Copy, Debug)]
pub struct CropAndResize {
    /// Takes the nearest pixel rather than the mean of four.
    pub nearest: bool,
    /// The value of pixels outside the image.
    pub extrapolation_value: f32,
}

impl Default for CropAndResize {
    fn default() -> CropAndResize {
        CropAndResize { nearest: false, extrapolation_value: 0.0 }
    }
}

impl Graph {
    /// Boxes `[y1, x1, y2, x2]` (fractions of the image's sides) cut out of images and brought to one size, as floats
    /// (`tf.image.crop_and_resize`). `box_ind` says in which image each box lies.
    ///
    /// # Errors
    /// `InvalidArgument` for inputs of other ranks.
    pub fn crop_and_resize(
        &self,
        image: impl Into<Arg>,
        boxes: impl Into<Arg>,
        box_ind: impl Into<Arg>,
        crop_size: impl Into<Arg>,
        options: CropAndResize,
    ) -> Result<Output> {
        let call = self.call("CropAndResize").arg(image).arg(boxes).arg(box_ind).arg(crop_size);
        let call = call.attr("method", if options.nearest { "nearest" } else { "bilinear" });
        call.attr("extrapolation_value", options.extrapolation_value).output()
    }
}
