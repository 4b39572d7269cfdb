//! Boxes drawn on images, and random ones.

use super::image_dims;
use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, NodeInfo, Op, PrepareCtx, Prepared};
use crate::graph::{Graph, Output};
use crate::ops::convert::Arg;
use crate::ops::nn::Wide;
use crate::random::{PhiloxRandom, SimplePhilox};
use crate::tensor::{Shape, Tensor, dispatch};
use num_traits::AsPrimitive;

const SIZE: &str = "T: {uint8, int8, int16, int32, int64}";
const ASPECT: &str = "aspect_ratio_range: list(float) = [0.75, 1.33]";
const AREA: &str = "area_range: list(float) = [0.05, 1]";
const ATTEMPTS: &str = "max_attempts: int = 100";
const WHOLE: &str = "use_image_if_no_bounding_boxes: bool = false";

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "DrawBoundingBoxes",
        ins: &["images: T", "boxes: float"],
        outs: &["output: T"],
        attrs: &["T: {float, half} = DT_FLOAT"],
        shape: |ctx| ctx.set(0, ctx.input(0).with_rank_at_least(3)?),
        kernel: Kernel::Pure(draw),
        grad: Grad::None("draws"),
        rows: &[
            "f32[[[[0] [0] [0]] [[0] [0] [0]] [[0] [0] [0]]]], f32[[[0 0 1 0.5]]] => f32[[[[1] [1] [0]] [[1] [1] [0]] [[1] [1] [0]]]]",
        ],
    },
    Op {
        name: "DrawBoundingBoxesV2",
        ins: &["images: T", "boxes: float", "colors: float"],
        outs: &["output: T"],
        attrs: &["T: {float, half} = DT_FLOAT"],
        shape: |ctx| ctx.set(0, ctx.input(0).with_rank_at_least(3)?),
        kernel: Kernel::Pure(draw),
        grad: Grad::Missing,
        rows: &["f16[[[[0] [0] [0]] [[0] [0] [0]] [[0] [0] [0]]]], f32[[[0 0 2 2]]], f32[[7 8 9]] \
             => f16[[[[7] [7] [7]] [[7] [0] [0]] [[7] [0] [0]]]]"],
    },
    Op {
        name: "SampleDistortedBoundingBox",
        ins: &["image_size: T", "bounding_boxes: float"],
        outs: &["begin: T", "size: T", "bboxes: float"],
        attrs: &[SIZE, "seed: int = 0", "seed2: int = 0", "min_object_covered: float = 0.1", ASPECT, AREA, ATTEMPTS, WHOLE],
        shape: sample_shape,
        kernel: Kernel::StatefulPrepared(sample_stateful),
        grad: Grad::None("random"),
        rows: &[],
    },
    Op {
        name: "SampleDistortedBoundingBoxV2",
        ins: &["image_size: T", "bounding_boxes: float", "min_object_covered: float"],
        outs: &["begin: T", "size: T", "bboxes: float"],
        attrs: &[SIZE, "seed: int = 0", "seed2: int = 0", ASPECT, AREA, ATTEMPTS, WHOLE],
        shape: sample_shape,
        kernel: Kernel::StatefulPrepared(sample_stateful),
        grad: Grad::None("random"),
        rows: &[],
    },
    Op {
        name: "StatelessSampleDistortedBoundingBox",
        ins: &["image_size: T", "bounding_boxes: float", "min_object_covered: float", "seed: Tseed"],
        outs: &["begin: T", "size: T", "bboxes: float"],
        attrs: &[SIZE, "Tseed: {int32, int64}", ASPECT, AREA, ATTEMPTS, WHOLE],
        shape: sample_shape,
        kernel: Kernel::Pure(|ctx| {
            let random = crate::ops::random::seed_input(ctx, 3)?;
            sample(ctx, &Options::new(ctx.node())?, random)
        }),
        grad: Grad::Missing,
        rows: &["i32[40 50 3], f32[[[0 0 1 1]]], f32 0.5, i32[1 2] => _, _, _"],
    },
];

/// The colours of boxes where none are given: yellow, blue, red, lime, purple, olive, maroon, navy, aqua, fuchsia.
const COLORS: [[f32; 4]; 10] = [
    [1.0, 1.0, 0.0, 1.0],
    [0.0, 0.0, 1.0, 1.0],
    [1.0, 0.0, 0.0, 1.0],
    [0.0, 1.0, 0.0, 1.0],
    [0.5, 0.0, 0.5, 1.0],
    [0.5, 0.5, 0.0, 1.0],
    [0.5, 0.0, 0.0, 1.0],
    [0.0, 0.0, 0.5, 1.0],
    [0.0, 1.0, 1.0, 1.0],
    [1.0, 0.0, 1.0, 1.0],
];

fn color_table(ctx: &KernelCtx, depth: usize) -> Result<Vec<Vec<f32>>> {
    if ctx.num_inputs() == 3 {
        let colors = ctx.input(2)?;
        let &[_, width] = colors.dims() else { bail!(InvalidArgument, "colors must be a 2-D matrix{:?}", colors.dims()) };
        if width < depth {
            bail!(InvalidArgument, "colors must have equal or more channels than the image provided: {:?}", colors.dims());
        }
        if !colors.is_empty() {
            return Ok(colors.as_slice::<f32>()?.chunks_exact(width).map(|c| c[..depth].to_vec()).collect());
        }
    }
    let gray = |mut color: Vec<f32>| {
        if depth == 1 {
            color[0] = 1.0;
        }
        color
    };
    Ok(COLORS.iter().map(|c| gray(c[..depth].to_vec())).collect())
}

fn draw(ctx: &mut KernelCtx) -> Result<()> {
    let (images, boxes) = (ctx.input(0)?, ctx.input(1)?);
    if images.rank() != 4 {
        bail!(InvalidArgument, "The rank of the images should be 4");
    }
    let [batch, height, width, depth] = image_dims(images, "images")?;
    let &[box_batch, count, coordinates] = boxes.dims() else {
        bail!(InvalidArgument, "The rank of the boxes tensor should be 3");
    };
    if box_batch != batch {
        bail!(InvalidArgument, "The batch sizes should be the same");
    }
    if ![1, 3, 4].contains(&depth) {
        bail!(InvalidArgument, "Channel depth should be either 1 (GRY), 3 (RGB), or 4 (RGBA)");
    }
    if coordinates != 4 {
        bail!(InvalidArgument, "The size of the third dimension of the box must be 4. Received: {coordinates}");
    }
    let colors = color_table(ctx, depth)?;
    let boxes = boxes.clone();
    let mut output = ctx.take(0)?;
    if output.is_empty() || count == 0 {
        return ctx.set(0, output);
    }
    dispatch!(output.dtype(), floats, T => {
        let canvas = output.as_mut_slice::<T>()?;
        for (i, corners) in boxes.as_slice::<f32>()?.as_chunks::<4>().0.iter().enumerate() {
            let color: Vec<T> = colors[i % count % colors.len()].iter().map(|&c| <T as Wide>::narrow(c.as_())).collect();
            let at = |value: f32, size: usize| (value * (size as i64 - 1) as f32) as i64;
            let (top, left) = (at(corners[0], height), at(corners[1], width));
            let (bottom, right) = (at(corners[2], height), at(corners[3], width));
            let (last_row, last_column) = (height as i64 - 1, width as i64 - 1);
            let inverted = top > bottom || left > right;
            if inverted || top > last_row || bottom < 0 || left > last_column || right < 0 {
                continue;
            }
            let image = i / count * height;
            let mut dot = |row: i64, column: i64| {
                let start = ((image + row as usize) * width + column as usize) * depth;
                canvas[start..start + depth].copy_from_slice(&color);
            };
            for row in [top, bottom].into_iter().filter(|r| (0..=last_row).contains(r)) {
                (left.max(0)..=right.min(last_column)).for_each(|column| dot(row, column));
            }
            for column in [left, right].into_iter().filter(|c| (0..=last_column).contains(c)) {
                (top.max(0)..=bottom.min(last_row)).for_each(|row| dot(row, column));
            }
        }
    });
    ctx.set(0, output)
}

fn sample_shape(ctx: &mut InferCtx) -> Result<()> {
    ctx.input(0).merge(&Shape::known(&[3]))?;
    ctx.input(1).merge(&Shape::from([None, None, Some(4)]))?;
    if ctx.num_inputs() > 2 {
        ctx.input(2).with_rank(0)?;
    }
    if ctx.num_inputs() > 3 {
        ctx.input(3).merge(&Shape::known(&[2]))?;
    }
    ctx.set(0, Shape::known(&[3]))?;
    ctx.set(1, Shape::known(&[3]))?;
    ctx.set(2, Shape::known(&[1, 1, 4]))
}

/// What a random box must be like.
struct Options {
    min_object_covered: Option<f32>,
    aspect_ratio: [f32; 2],
    area: [f32; 2],
    max_attempts: u32,
    whole_image: bool,
}

impl Options {
    fn new(node: &NodeInfo) -> Result<Options> {
        let min_object_covered = if node.input_types.len() == 2 { Some(node.float("min_object_covered")?) } else { None };
        if let Some(covered) = min_object_covered.filter(|c| !(*c >= 0.0)) {
            bail!(InvalidArgument, "Min object covered must be non-negative: {covered}");
        }
        let &[low, high] = node.floats("aspect_ratio_range")? else {
            bail!(InvalidArgument, "Aspect ratio range field must specify 2 dimensions");
        };
        if !(low > 0.0 && high > 0.0) {
            bail!(InvalidArgument, "Aspect ratio range must be non-negative: [{low}, {high}]");
        }
        let &[least, most] = node.floats("area_range")? else {
            bail!(InvalidArgument, "Area range field must specify 2 dimensions");
        };
        if !(least > 0.0 && most > 0.0) {
            bail!(InvalidArgument, "Area range must be non-negative: [{least}, {most}]");
        }
        if !(least <= 1.0 && most <= 1.0) {
            bail!(InvalidArgument, "Area range must be less then or equal to 1.0: [{least}, {most}]");
        }
        let attempts = node.int("max_attempts")?;
        let Some(max_attempts) = u32::try_from(attempts).ok().filter(|&a| a > 0) else {
            bail!(InvalidArgument, "Max attempts must be non-negative: {attempts}");
        };
        let whole_image = node.boolean("use_image_if_no_bounding_boxes")?;
        Ok(Options { min_object_covered, aspect_ratio: [low, high], area: [least, most], max_attempts, whole_image })
    }
}

/// A box of whole pixels.
#[derive(Clone, Copy)]
struct Rectangle {
    left: i32,
    top: i32,
    right: i32,
    bottom: i32,
}

impl Rectangle {
    fn area(self) -> f32 {
        self.right.wrapping_sub(self.left).wrapping_mul(self.bottom.wrapping_sub(self.top)) as f32
    }

    fn common_area(self, other: Rectangle) -> f32 {
        let (left, top) = (self.left.max(other.left), self.top.max(other.top));
        let (right, bottom) = (self.right.min(other.right), self.bottom.min(other.bottom));
        if left > right || top > bottom { 0.0 } else { Rectangle { left, top, right, bottom }.area() }
    }

    /// True where enough of one of the objects is inside.
    fn covers(self, objects: &[Rectangle], least: f32) -> bool {
        let covered = |o: &Rectangle| o.area() >= 1.0 && self.common_area(*o) / o.area() >= least;
        self.area() >= 1.0 && objects.iter().any(covered)
    }
}

/// A random crop of an image whose area is a part of the image's within bounds, and whose width is `ratio` heights.
fn random_crop(width: i32, height: i32, area: [f32; 2], ratio: f32, random: &mut SimplePhilox) -> Option<Rectangle> {
    if area[1] <= 0.0 || ratio <= 0.0 || width <= 0 || height <= 0 || area[0] > area[1] {
        return None;
    }
    let round = |x: f32| x.round_ties_even() as i32;
    let wide = |tall: i32| round(tall as f32 * ratio);
    let [least, most] = area.map(|a| a * width as f32 * height as f32);
    let mut tall = round((least / ratio).sqrt());
    let mut tallest = round((most / ratio).sqrt());
    if wide(tallest) > width {
        /// Keeps the quotient below the half that would round up.
        const EPSILON: f32 = 0.000_000_1;
        tallest = ((f64::from(width) + 0.5 - f64::from(EPSILON)) / f64::from(ratio)) as i32;
        if wide(tallest) > width {
            tallest -= 1;
        }
    }
    tallest = tallest.min(height);
    tall = tall.min(tallest);
    if tall < tallest {
        tall += random.uniform((tallest - tall + 1) as u32) as i32;
    }
    let size = |tall: i32| (wide(tall), wide(tall).wrapping_mul(tall) as f32);
    let (mut crop_width, mut crop_area) = size(tall);
    if crop_area < least {
        tall += 1;
        (crop_width, crop_area) = size(tall);
    }
    if crop_area > most {
        tall -= 1;
        (crop_width, crop_area) = size(tall);
    }
    let fits = crop_area >= least && crop_area <= most && crop_width <= width && tall <= height;
    if !fits || crop_width <= 0 || tall <= 0 {
        return None;
    }
    let top = if tall < height { random.uniform((height - tall) as u32) as i32 } else { 0 };
    let left = if crop_width < width { random.uniform((width - crop_width) as u32) as i32 } else { 0 };
    Some(Rectangle { left, top, right: left + crop_width, bottom: top + tall })
}

fn sample_stateful(ctx: &PrepareCtx) -> Result<Prepared> {
    let generator = crate::ops::random::generator(ctx)?;
    let options = Options::new(ctx.node)?;
    Ok(Box::new(move |ctx: &mut KernelCtx| {
        let random = generator.reserve_samples32(4 * u64::from(options.max_attempts));
        sample(ctx, &options, random)
    }))
}

#[allow(clippy::unnecessary_cast)] // The same for any integer.
fn sample(ctx: &mut KernelCtx, options: &Options, random: PhiloxRandom) -> Result<()> {
    let size = ctx.input(0)?;
    if size.dims() != [3] {
        bail!(InvalidArgument, "image_size must be 1-dimensional and contain 3 elements, got shape {:?}", size.dims());
    }
    let dtype = size.dtype();
    let sizes = dispatch!(dtype, integers, T => size.as_slice::<T>()?.iter().map(|&v| v as i64).collect::<Vec<_>>());
    let side = |value: i64, name: &str| match i32::try_from(value) {
        Ok(side) if (0..i32::MAX).contains(&side) => Ok(side),
        _ => bail!(InvalidArgument, "image {name} cannot be >= int32 max"),
    };
    let (height, width) = (side(sizes[0], "height")?, side(sizes[1], "width")?);
    let boxes = ctx.input(1)?;
    if boxes.rank() != 3 {
        bail!(InvalidArgument, "input boxes must be 3-dimensional [batch, num_boxes, coords]: {:?}", boxes.dims());
    }
    if boxes.dims()[2] != 4 {
        bail!(InvalidArgument, "bounding boxes must have shape [4] or [*, 4], got {:?}", boxes.dims());
    }
    let covered = match options.min_object_covered {
        Some(covered) => covered,
        None => {
            let covered = ctx.input(2)?;
            if !covered.is_scalar() {
                bail!(InvalidArgument, "min_object_covered must be 0-D, got shape {:?}", covered.dims());
            }
            covered.item::<f32>()?
        }
    };
    if !(covered >= 0.0) {
        bail!(InvalidArgument, "Min object covered must be non-negative: {covered}");
    }
    let whole = Rectangle { left: 0, top: 0, right: width, bottom: height };
    let mut objects = Vec::new();
    for corners in boxes.as_slice::<f32>()?.as_chunks::<4>().0 {
        if let Some(bad) = corners.iter().find(|c| !(0.0..=1.0).contains(*c)) {
            bail!(InvalidArgument, "All bounding box coordinates must be in [0.0, 1.0]: {bad}");
        }
        let [top, left, bottom, right] = *corners;
        let place = |part: f32, side: i32| (part * side as f32) as i32;
        objects.push(Rectangle {
            left: place(left, width),
            top: place(top, height),
            right: place(right, width),
            bottom: place(bottom, height),
        });
    }
    if objects.is_empty() {
        if !options.whole_image {
            bail!(
                InvalidArgument,
                "No bounding boxes provided as input. One must enable use_image_if_no_bounding_boxes if you wish to not provide any bounding boxes."
            );
        }
        objects.push(whole);
    }
    let mut random = SimplePhilox::new(random);
    let [low, high] = options.aspect_ratio;
    let mut attempt = || {
        let ratio = random.rand_float() * (high - low) + low;
        random_crop(width, height, options.area, ratio, &mut random).filter(|crop| crop.covers(&objects, covered))
    };
    let crop = (0..options.max_attempts).find_map(|_| attempt()).unwrap_or(whole);
    let (tall, wide) = (height as f32, width as f32);
    let corners = vec![crop.top as f32 / tall, crop.left as f32 / wide, crop.bottom as f32 / tall, crop.right as f32 / wide];
    let (begin, size) = ([crop.top, crop.left, 0], [crop.bottom - crop.top, crop.right - crop.left, -1]);
    let (begin, size) = dispatch!(dtype, integers, T => (
        Tensor::vector(&begin.map(|v| v as T)),
        Tensor::vector(&size.map(|v| v as T)),
    ));
    ctx.set(0, begin)?;
    ctx.set(1, size)?;
    ctx.set(2, Tensor::new::<f32>(&[1, 1, 4], corners)?)
}

impl Graph {
    /// Images with boxes `[batch, boxes, 4]` drawn on them, each in the next of the colours
    /// (`tf.image.draw_bounding_boxes`).
    ///
    /// # Errors
    /// `InvalidArgument` for images of another rank.
    pub fn draw_bounding_boxes(&self, images: impl Into<Arg>, boxes: impl Into<Arg>) -> Result<Output> {
        self.call("DrawBoundingBoxes").arg(images).arg(boxes).output()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::PhiloxRandom;

    #[test]
    fn crops_keep_to_their_bounds() {
        let mut random = SimplePhilox::new(PhiloxRandom::new(1, 2));
        for ratio in [0.5, 1.0, 1.7] {
            for _ in 0..50 {
                let Some(crop) = random_crop(40, 30, [0.2, 0.5], ratio, &mut random) else { continue };
                assert!(crop.left >= 0 && crop.top >= 0 && crop.right <= 40 && crop.bottom <= 30);
                assert!((240.0..=600.0).contains(&crop.area()), "{}", crop.area());
            }
        }
        assert!(random_crop(0, 30, [0.2, 0.5], 1.0, &mut random).is_none());
    }

    #[test]
    fn a_box_covers_what_lies_inside() {
        let of = |left, top, right, bottom| Rectangle { left, top, right, bottom };
        let object = of(0, 0, 10, 10);
        for (crop, least, expected) in [
            (of(0, 0, 5, 10), 0.5, true),
            (of(0, 0, 5, 10), 0.6, false),
            (of(20, 20, 30, 30), 0.1, false),
            (of(3, 3, 3, 9), 0.0, false),
        ] {
            assert_eq!(crop.covers(&[object], least), expected);
        }
    }
}
