//! Builder methods with the nodes and names of TensorFlow's `image_ops_impl.py`. Where TensorFlow adds assertions about sizes that
//! aren't static, these add none: the ops themselves refuse such sizes.

use super::resize::ResizeOptions;
use crate::error::{Error, Result, bail};
use crate::graph::{Graph, Output};
use crate::ops::convert::{Arg, cast_value};
use crate::ops::math::functions::Axes;
use crate::tensor::{DType, Shape, Tensor};

/// How [`Graph::resize_images`] interpolates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResizeMethod {
    /// Between four pixels.
    #[default]
    Bilinear,
    /// The nearest pixel.
    NearestNeighbor,
    /// By cubic polynomials through sixteen pixels.
    Bicubic,
    /// The mean of the area covered.
    Area,
}

/// The range of an integer dtype.
fn limits(dtype: DType) -> Result<(i128, i128)> {
    Ok(match dtype {
        DType::Uint8 => (0, u8::MAX.into()),
        DType::Uint16 => (0, u16::MAX.into()),
        DType::Uint32 => (0, u32::MAX.into()),
        DType::Uint64 => (0, u64::MAX.into()),
        DType::Int8 => (i8::MIN.into(), i8::MAX.into()),
        DType::Int16 => (i16::MIN.into(), i16::MAX.into()),
        DType::Int32 => (i32::MIN.into(), i32::MAX.into()),
        DType::Int64 => (i64::MIN.into(), i64::MAX.into()),
        other => bail!(InvalidArgument, "dtype must be either floating point or integer, got {other}"),
    })
}

/// The float of a dtype nearest to a limit that isn't beyond it.
fn float_limit(dtype: DType, limit: i128) -> f64 {
    let (largest, digits) = match dtype {
        DType::Half => (65504.0, 11),
        DType::Float => (f64::from(f32::MAX), 24),
        _ => (f64::MAX, 53),
    };
    let magnitude = limit.unsigned_abs();
    let bits = 128 - magnitude.leading_zeros();
    let kept = if bits > digits { magnitude >> (bits - digits) << (bits - digits) } else { magnitude };
    (kept as f64).min(largest) * if limit < 0 { -1.0 } else { 1.0 }
}

fn rank_of(g: &Graph, image: Output) -> Result<usize> {
    match g.shape(image)?.rank() {
        Some(rank @ (3 | 4)) => Ok(rank),
        rank => bail!(InvalidArgument, "'image' must have either 3 or 4 dimensions, got {rank:?}"),
    }
}

impl Graph {
    /// The image in another dtype, scaled so that 1 as a float is the greatest integer (`tf.image.convert_image_dtype`). With
    /// `saturate`, values beyond the range become its ends.
    ///
    /// # Errors
    /// `InvalidArgument` for a dtype that isn't of numbers.
    pub fn convert_image_dtype(&self, image: Output, dtype: DType, saturate: bool) -> Result<Output> {
        let from = self.dtype(image)?;
        if from == dtype {
            return self.identity(image);
        }
        let (g, scope) = self.enter("convert_image")?;
        let named = g.named(scope.name());
        let narrowed = |x: Output, name: Option<&str>| match (saturate, name) {
            (true, Some(name)) => g.named(name).saturate_cast(x, dtype),
            (true, None) => g.saturate_cast(x, dtype),
            (false, Some(name)) => g.named(name).cast(x, dtype),
            (false, None) => g.cast(x, dtype),
        };
        match (from.is_integer(), dtype.is_integer()) {
            (true, true) => {
                let (source, target) = (limits(from)?.1, limits(dtype)?.1);
                if source > target {
                    let scale = (source + 1) / (target + 1);
                    let scaled = g.operator("floordiv", "FloorDiv", image, scale as i64)?;
                    narrowed(scaled, Some(scope.name()))
                } else {
                    let cast = narrowed(image, None)?;
                    named.call("Mul").arg(cast).arg(((target + 1) / (source + 1)) as i64).output()
                }
            }
            (false, false) => named.cast(image, dtype),
            (true, false) => {
                let cast = g.cast(image, dtype)?;
                named.call("Mul").arg(cast).arg(1.0 / limits(from)?.1 as f64).output()
            }
            (false, true) => {
                let scaled = g.call("Mul").arg(image).arg(limits(dtype)?.1 as f64 + 0.5).output()?;
                narrowed(scaled, Some(scope.name()))
            }
        }
    }

    /// Values in another dtype, those beyond its range as its ends (`tf.saturate_cast`).
    ///
    /// # Errors
    /// `InvalidArgument` for complex numbers.
    pub fn saturate_cast(&self, value: Output, dtype: DType) -> Result<Output> {
        let (g, scope) = self.enter("saturate_cast")?;
        let from = g.dtype(value)?;
        let mut value = value;
        if from.is_integer() && dtype.is_integer() {
            let ((low, high), (least, most)) = (limits(from)?, limits(dtype)?);
            if low < least || high > most {
                let constant = |v: i128| g.constant(cast_value(&Tensor::scalar(v as i64), from)?);
                let (least, most) = (constant(low.max(least))?, constant(high.min(most))?);
                value = g.op("ClipByValue").name("clamp").input(value).input(least).input(most).output()?;
            }
        } else if from.is_floating() && dtype.is_integer() {
            let (least, most) = limits(dtype)?;
            let constant = |v: i128| g.constant(cast_value(&Tensor::scalar(float_limit(from, v)), from)?);
            let (least, most) = (constant(least)?, constant(most)?);
            value = g.op("ClipByValue").name("clamp").input(value).input(least).input(most).output()?;
        } else if from.is_complex() {
            bail!(InvalidArgument, "saturate_cast of complex numbers isn't supported");
        }
        g.named(scope.name()).cast(value, dtype)
    }

    /// The image with its dtype kept, after an op on floats.
    fn adjusted(
        &self,
        scope: &str,
        image: Output,
        saturate: bool,
        adjust: impl FnOnce(&Graph, &str, Output) -> Result<Output>,
    ) -> Result<Output> {
        let (g, scope) = self.enter(scope)?;
        let dtype = g.dtype(image)?;
        let float = match dtype {
            DType::Half | DType::Float => image,
            _ => g.convert_image_dtype(image, DType::Float, false)?,
        };
        let adjusted = adjust(&g, scope.name(), float)?;
        g.convert_image_dtype(adjusted, dtype, saturate)
    }

    /// The image with `delta` added to its values as floats (`tf.image.adjust_brightness`).
    ///
    /// # Errors
    /// `InvalidArgument` for a dtype that isn't of numbers.
    pub fn adjust_brightness(&self, image: Output, delta: f32) -> Result<Output> {
        self.adjusted("adjust_brightness", image, true, |g, name, image| {
            let (inner, _scope) = g.enter("Cast")?;
            let delta = inner.named("x").constant(delta)?;
            drop(_scope);
            let dtype = g.dtype(image)?;
            let delta = if dtype == DType::Float { delta } else { g.cast(delta, dtype)? };
            g.named(name).math_add(image, delta)
        })
    }

    /// The image with each channel's distance from its mean multiplied (`tf.image.adjust_contrast`).
    ///
    /// # Errors
    /// `InvalidArgument` for an image of less than 3 dimensions.
    pub fn adjust_contrast(&self, images: Output, contrast_factor: f32) -> Result<Output> {
        self.adjusted("adjust_contrast", images, true, |g, name, images| {
            g.named(name).call("AdjustContrastv2").arg(images).arg(contrast_factor).output()
        })
    }

    /// The image with its hue turned by `delta` of the circle (`tf.image.adjust_hue`).
    ///
    /// # Errors
    /// `InvalidArgument` for an image without 3 channels.
    pub fn adjust_hue(&self, image: Output, delta: f32) -> Result<Output> {
        self.adjusted("adjust_hue", image, false, |g, _, image| g.call("AdjustHue").arg(image).arg(delta).output())
    }

    /// The image with its saturation multiplied (`tf.image.adjust_saturation`).
    ///
    /// # Errors
    /// `InvalidArgument` for an image without 3 channels.
    pub fn adjust_saturation(&self, image: Output, saturation_factor: f32) -> Result<Output> {
        self.adjusted("adjust_saturation", image, false, |g, _, image| {
            g.call("AdjustSaturation").arg(image).arg(saturation_factor).output()
        })
    }

    fn flip(&self, scope: &str, image: Output, axis: i32) -> Result<Output> {
        let (g, _scope) = self.enter(scope)?;
        let rank = rank_of(&g, image)?;
        let image = g.checked_image(image)?;
        g.reverse(image, vec![axis + rank as i32 - 3])
    }

    /// The image as it is, once checked: TensorFlow's node stands here.
    fn checked_image(&self, image: Output) -> Result<Output> {
        let g = self.plain();
        let (inner, scope) = g.enter("control_dependency")?;
        let _beside = inner.colocate_with(image.op)?;
        inner.op("Identity").name(scope.name()).input(image).output()
    }

    /// The image, or images, with left and right exchanged (`tf.image.flip_left_right`).
    ///
    /// # Errors
    /// `InvalidArgument` for an image whose rank isn't 3 or 4.
    pub fn flip_left_right(&self, image: Output) -> Result<Output> {
        self.flip("flip_left_right", image, 1)
    }

    /// The image, or images, upside down (`tf.image.flip_up_down`).
    ///
    /// # Errors
    /// `InvalidArgument` for an image whose rank isn't 3 or 4.
    pub fn flip_up_down(&self, image: Output) -> Result<Output> {
        self.flip("flip_up_down", image, 0)
    }

    /// The image, or images, with rows and columns exchanged (`tf.image.transpose`).
    ///
    /// # Errors
    /// `InvalidArgument` for an image whose rank isn't 3 or 4.
    pub fn transpose_image(&self, image: Output) -> Result<Output> {
        let (g, _scope) = self.enter("transpose")?;
        let rank = rank_of(&g, image)?;
        let image = g.checked_image(image)?;
        let order = if rank == 3 { vec![1i32, 0, 2] } else { vec![0, 2, 1, 3] };
        g.transpose(image, Some(order.into()))
    }

    /// The middle of an image, or of images: this fraction of each side (`tf.image.central_crop`). The sides must be static.
    ///
    /// # Errors
    /// `InvalidArgument` for a fraction outside (0, 1], or an image whose rank isn't 3 or 4.
    pub fn central_crop(&self, image: Output, central_fraction: f64) -> Result<Output> {
        let (g, _scope) = self.enter("central_crop")?;
        if !(central_fraction > 0.0 && central_fraction <= 1.0) {
            bail!(InvalidArgument, "central_fraction must be within (0, 1]");
        }
        if central_fraction == 1.0 {
            return Ok(image);
        }
        let rank = rank_of(&g, image)?;
        g.checked_image(image)?;
        let shape = g.shape(image)?;
        let side = |axis: isize| -> Result<(i32, i32)> {
            let size = shape.dim(axis).ok_or_else(|| Error::unimplemented("central_crop needs an image of static size"))?;
            let start = ((size as f64 - size as f64 * central_fraction) / 2.0) as i32;
            Ok((start, size as i32 - 2 * start))
        };
        let (rows, columns) = (side(-3)?, side(-2)?);
        let (mut begin, mut size) = (vec![rows.0, columns.0, 0], vec![rows.1, columns.1, -1]);
        if rank == 4 {
            begin.insert(0, 0);
            size.insert(0, -1);
        }
        let begin = g.convert_to_tensor(begin, None, "stack")?;
        let size = g.convert_to_tensor(size, None, "stack")?;
        let cropped = g.slice(image, begin, size)?;
        let known = shape.with_dim(-3, Some(rows.1 as usize)).with_dim(-2, Some(columns.1 as usize));
        g.set_shape(cropped, known)?;
        Ok(cropped)
    }

    /// A batch of images from one or several, and whether there were several.
    fn as_batch(&self, image: Output) -> Result<(Output, bool)> {
        match rank_of(self, image)? {
            4 => Ok((image, true)),
            _ => Ok((self.expand_dims(image, 0i32)?, false)),
        }
    }

    fn static_sides(&self, images: Output) -> Result<[i64; 2]> {
        let shape = self.shape(images)?;
        match (shape.dim(1), shape.dim(2)) {
            (Some(height), Some(width)) => Ok([height as i64, width as i64]),
            _ => bail!(Unimplemented, "an image of static size is needed, got {shape}"),
        }
    }

    /// The part of an image, or of images, that begins at an offset (`tf.image.crop_to_bounding_box`). The image's sides must be
    /// static.
    ///
    /// # Errors
    /// `InvalidArgument` for a part that isn't inside.
    pub fn crop_to_bounding_box(&self, image: Output, offset: [i64; 2], target: [i64; 2]) -> Result<Output> {
        let (g, _scope) = self.enter("crop_to_bounding_box")?;
        let (images, batch) = g.as_batch(image)?;
        let sides = g.static_sides(images)?;
        for i in 0..2 {
            if offset[i] < 0 || target[i] <= 0 || offset[i].saturating_add(target[i]) > sides[i] {
                bail!(InvalidArgument, "{offset:?} + {target:?} must be inside an image of {sides:?}");
            }
        }
        let images = g.checked_image(images)?;
        let (offset, target) = (offset.map(|v| v as i32), target.map(|v| v as i32));
        let begin = g.convert_to_tensor(vec![0, offset[0], offset[1], 0], None, "stack")?;
        let part = |at: i32| -> Result<Output> {
            let shape = g.shape_tensor(images)?;
            g.index(shape, &[at.into()])
        };
        let (first, last) = (part(0)?, part(3)?);
        let size = g.stack_args(&[first.into(), target[0].into(), target[1].into(), last.into()], 0)?;
        let cropped = g.slice(images, begin, size)?;
        let shape = g.shape(images)?;
        let known = Shape::from([shape.dim(0), Some(target[0] as usize), Some(target[1] as usize), shape.dim(3)]);
        g.set_shape(cropped, known)?;
        if batch { Ok(cropped) } else { g.squeeze(cropped, &[0]) }
    }

    /// An image, or images, with zeros around, so that it begins at an offset of a larger one (`tf.image.pad_to_bounding_box`). The
    /// image's sides must be static.
    ///
    /// # Errors
    /// `InvalidArgument` where it doesn't fit.
    pub fn pad_to_bounding_box(&self, image: Output, offset: [i64; 2], target: [i64; 2]) -> Result<Output> {
        let (g, _scope) = self.enter("pad_to_bounding_box")?;
        let (images, batch) = g.as_batch(image)?;
        let sides = g.static_sides(images)?;
        let after = [0, 1].map(|i| target[i].saturating_sub(offset[i]).saturating_sub(sides[i]));
        if offset.iter().chain(&after).any(|v| !(0..i64::from(i32::MAX)).contains(v)) {
            bail!(InvalidArgument, "an image of {sides:?} at {offset:?} doesn't fit into {target:?}");
        }
        let images = g.checked_image(images)?;
        let (offset, after) = (offset.map(|v| v as i32), after.map(|v| v as i32));
        let paddings = vec![0, 0, offset[0], after[0], offset[1], after[1], 0, 0];
        let paddings = g.convert_to_tensor(paddings, None, "stack")?;
        let paddings = g.reshape(paddings, vec![4i32, 2])?;
        let padded = g.pad(images, paddings)?;
        let shape = g.shape(images)?;
        let known = Shape::from([shape.dim(0), Some(target[0] as usize), Some(target[1] as usize), shape.dim(3)]);
        g.set_shape(padded, known)?;
        if batch { Ok(padded) } else { g.squeeze(padded, &[0]) }
    }

    /// An image, or images, in another size (`tf.image.resize_images`); as it is where it has that size already.
    ///
    /// # Errors
    /// `InvalidArgument` for an image whose rank isn't 3 or 4, or a size that isn't two integers.
    pub fn resize_images(
        &self,
        images: Output,
        size: impl Into<Arg>,
        method: ResizeMethod,
        align_corners: bool,
    ) -> Result<Output> {
        let (g, _scope) = self.enter("resize")?;
        let (images, batch) = g.as_batch(images)?;
        let size = g.convert_to_tensor(size, Some(DType::Int32), "size")?;
        g.shape(size)?.merge(&Shape::known(&[2]))?;
        let known = g.constant_value_as_shape(size);
        let (height, width) = (known.dim(0), known.dim(1));
        let shape = g.shape(images)?;
        let same = height.is_some() && width.is_some() && shape.dim(1) == height && shape.dim(2) == width;
        if same {
            return if batch { Ok(images) } else { g.squeeze(images, &[0]) };
        }
        let options = ResizeOptions { align_corners, half_pixel_centers: false };
        let resized = match method {
            ResizeMethod::Bilinear => g.resize_bilinear(images, size, options)?,
            ResizeMethod::NearestNeighbor => g.resize_nearest_neighbor(images, size, options)?,
            ResizeMethod::Bicubic => g.resize_bicubic(images, size, options)?,
            ResizeMethod::Area => g.resize_area(images, size, align_corners)?,
        };
        g.set_shape(resized, Shape::from([None, height, width, None]))?;
        if batch { Ok(resized) } else { g.squeeze(resized, &[0]) }
    }

    /// Images with a mean of 0 and a variance of 1, each (`tf.image.per_image_standardization`).
    ///
    /// # Errors
    /// `InvalidArgument` for an image of less than 3 dimensions.
    pub fn per_image_standardization(&self, image: Output) -> Result<Output> {
        let (g, scope) = self.enter("per_image_standardization")?;
        g.shape(image)?.with_rank_at_least(3)?;
        let image = g.checked_image(image)?;
        let image = g.cast(image, DType::Float)?;
        let shape = g.shape_tensor(image)?;
        let sides = g.index(shape, &[(-3..).into()])?;
        let pixels = g.reduce_prod(sides, Axes::All, false)?;
        let mean = g.reduce_mean(image, [-1, -2, -3], true)?;
        let deviation = g.reduce_std(image, [-1, -2, -3], true)?;
        let pixels = g.cast(pixels, DType::Float)?;
        let least = g.op("Rsqrt").input(pixels).output()?;
        let deviation = g.op("Maximum").input(deviation).input(least).output()?;
        let centered = g.operator("sub", "Sub", image, mean)?;
        g.op("RealDiv").name(scope.name()).input(centered).input(deviation).output()
    }
}
