//! Convolutions and pooling.

use crate::error::{Result, bail};
use crate::graph::{Graph, Output};
use crate::ops::convert::Arg;
use crate::tensor::{DType, Tensor};

/// How a convolution or a pool lies on its input. Lists of sizes may name all dimensions, the spatial ones, or one size for
/// all spatial ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConvOptions<'a> {
    /// `"NHWC"` (or `"NDHWC"`, `"NWC"`), the default if empty, or `"NCHW"` and so on.
    pub data_format: &'a str,
    /// The distances between the elements of the filter; 1 if empty.
    pub dilations: &'a [i64],
    /// The zeros before and after each dimension, for the padding `"EXPLICIT"`.
    pub explicit_paddings: &'a [i64],
}

impl ConvOptions<'_> {
    fn format(&self, default: &'static str) -> String {
        if self.data_format.is_empty() { default.to_string() } else { self.data_format.to_string() }
    }
}

/// The zeros around an image for a filter of these sizes whose elements stand `rate` apart, for the padding SAME: `[n, 2]`.
fn base_paddings(sizes: &[i64], rate: &[i64]) -> Result<Tensor> {
    let extra = sizes.iter().zip(rate).map(|(&size, &rate)| ((size - 1) * rate) as i32);
    Tensor::new(&[rate.len(), 2], extra.flat_map(|e| [e / 2, e - e / 2]).collect::<Vec<_>>())
}

/// Sizes for all dimensions of a format, from those of the spatial ones.
fn sequence(values: &[i64], spatial: usize, format: &str, name: &str) -> Result<Vec<i64>> {
    let values = match values.len() {
        0 => vec![1; spatial],
        1 => vec![values[0]; spatial],
        length if length == spatial || length == spatial + 2 => values.to_vec(),
        length => bail!(InvalidArgument, "{name} should be of length 1, {spatial} or {}, got {length}", spatial + 2),
    };
    if values.len() == spatial + 2 {
        return Ok(values);
    }
    let mut all = vec![1];
    if format.starts_with("NC") {
        all.push(1);
        all.extend(values);
    } else {
        all.extend(values);
        all.push(1);
    }
    Ok(all)
}

impl Graph {
    /// The convolution of images `[batch, height, width, channels]` with a filter `[height, width, in, out]`
    /// (`tf.nn.conv2d`). `padding` is `"SAME"`, `"VALID"` or `"EXPLICIT"`.
    ///
    /// # Errors
    /// `InvalidArgument` for inputs of other ranks or sizes that don't fit.
    pub fn conv2d(
        &self,
        input: impl Into<Arg>,
        filter: impl Into<Arg>,
        strides: &[i64],
        padding: &str,
        options: ConvOptions,
    ) -> Result<Output> {
        let format = options.format("NHWC");
        let strides = sequence(strides, 2, &format, "strides")?;
        let dilations = sequence(options.dilations, 2, &format, "dilations")?;
        let call = self.call("Conv2D").arg(input).arg(filter).attr("strides", &strides[..]).attr("padding", padding);
        let call = call.attr("explicit_paddings", options.explicit_paddings).attr("data_format", format);
        call.attr("dilations", &dilations[..]).output()
    }

    /// The convolution of sequences `[batch, width, channels]` with a filter `[width, in, out]` (`tf.nn.conv1d`).
    ///
    /// # Errors
    /// `InvalidArgument` for inputs of other ranks or sizes that don't fit.
    pub fn conv1d(&self, value: Output, filters: Output, stride: i64, padding: &str, options: ConvOptions) -> Result<Output> {
        let (g, scope) = self.enter("conv1d")?;
        let (format, axis) = match options.data_format {
            "" | "NHWC" | "NWC" => ("NHWC", -3),
            "NCHW" | "NCW" => ("NCHW", -2),
            other => bail!(InvalidArgument, "`data_format` must be 'NWC' or 'NCW'. Received: data_format={other}"),
        };
        let along = |values: &[i64], name: &str| -> Result<Vec<i64>> {
            let mut all = vec![1];
            all.extend(sequence(values, 1, format, name)?);
            Ok(all)
        };
        let (strides, dilations) = (along(&[stride], "stride")?, along(options.dilations, "dilations")?);
        let value = g.expand_dims(value, axis)?;
        let filters = g.expand_dims(filters, 0i32)?;
        let node = g.op("Conv2D").name(scope.name()).input(value).input(filters).attr("strides", &strides[..]);
        let node = node.attr("padding", padding).attr("data_format", format).attr("dilations", &dilations[..]);
        g.squeeze(node.output()?, &[axis.into()])
    }

    /// The convolution of volumes `[batch, depth, height, width, channels]` with a filter `[depth, height, width, in, out]`
    /// (`tf.nn.conv3d`).
    ///
    /// # Errors
    /// `InvalidArgument` for inputs of other ranks or sizes that don't fit.
    pub fn conv3d(
        &self,
        input: impl Into<Arg>,
        filter: impl Into<Arg>,
        strides: &[i64],
        padding: &str,
        options: ConvOptions,
    ) -> Result<Output> {
        let format = options.format("NDHWC");
        let strides = sequence(strides, 3, &format, "strides")?;
        let dilations = sequence(options.dilations, 3, &format, "dilations")?;
        let call = self.call("Conv3D").arg(input).arg(filter).attr("strides", &strides[..]).attr("padding", padding);
        call.attr("data_format", format).attr("dilations", &dilations[..]).output()
    }

    /// The transpose of a convolution: images of the size that `output_shape` gives, of which [`Graph::conv2d`] would make ones
    /// of the input's size (`tf.nn.conv2d_transpose`). The filter is `[height, width, out, in]`.
    ///
    /// # Errors
    /// `InvalidArgument` for inputs of other ranks or sizes that don't fit.
    pub fn conv2d_transpose(
        &self,
        value: impl Into<Arg>,
        filter: impl Into<Arg>,
        output_shape: impl Into<Arg>,
        strides: &[i64],
        padding: &str,
        options: ConvOptions,
    ) -> Result<Output> {
        let (g, scope) = self.enter("conv2d_transpose")?;
        let format = options.format("NHWC");
        let strides = sequence(strides, 2, &format, "strides")?;
        let dilations = sequence(options.dilations, 2, &format, "dilations")?;
        let call = g.named(scope.name()).call("Conv2DBackpropInput").arg(output_shape).arg(filter).arg(value);
        let call = call.attr("strides", &strides[..]).attr("padding", padding).attr("data_format", format);
        let call = call.attr("explicit_paddings", options.explicit_paddings);
        call.attr("dilations", &dilations[..]).output()
    }

    /// Each channel's convolution with filters of its own, `[height, width, in, multiplier]` (`tf.nn.depthwise_conv2d`).
    /// `options.dilations` are the rates of the spatial dimensions.
    ///
    /// # Errors
    /// `InvalidArgument` for inputs of other ranks or sizes that don't fit.
    pub fn depthwise_conv2d(
        &self,
        input: Output,
        filter: Output,
        strides: &[i64],
        padding: &str,
        options: ConvOptions,
    ) -> Result<Output> {
        let (g, scope) = self.enter("depthwise")?;
        g.depthwise(input, filter, strides, padding, options, scope.name())
    }

    fn depthwise(
        &self,
        input: Output,
        filter: Output,
        strides: &[i64],
        padding: &str,
        options: ConvOptions,
        name: &str,
    ) -> Result<Output> {
        let format = options.format("NHWC");
        let strides = sequence(strides, 2, &format, "strides")?;
        let rate = if options.dilations.is_empty() { &[1, 1] } else { options.dilations };
        self.spaced(input, filter, rate, padding, (&format, options.explicit_paddings), |g, input, padding| {
            let node = g.op("DepthwiseConv2dNative").name(name).input(input).input(filter).attr("strides", &strides[..]);
            let node = node.attr("padding", padding).attr("data_format", format.clone());
            node.attr("explicit_paddings", if padding == "EXPLICIT" { options.explicit_paddings } else { &[] }).output()
        })
    }

    /// A depthwise convolution followed by one of single pixels, `[1, 1, in * multiplier, out]`
    /// (`tf.nn.separable_conv2d`).
    ///
    /// # Errors
    /// `InvalidArgument` for inputs of other ranks or sizes that don't fit.
    pub fn separable_conv2d(
        &self,
        input: Output,
        depthwise_filter: Output,
        pointwise_filter: Output,
        strides: &[i64],
        padding: &str,
        options: ConvOptions,
    ) -> Result<Output> {
        let (g, scope) = self.enter("separable_conv2d")?;
        let depthwise = g.depthwise(input, depthwise_filter, strides, padding, options, "depthwise")?;
        let format = ConvOptions { data_format: options.data_format, ..ConvOptions::default() };
        g.named(scope.name()).conv2d(depthwise, pointwise_filter, &[1, 1, 1, 1], "VALID", format)
    }

    /// An operation on images whose elements stand `rate` apart: they are moved into the batch, and back
    /// (`with_space_to_batch`).
    fn spaced(
        &self,
        input: Output,
        filter: Output,
        rate: &[i64],
        padding: &str,
        (format, explicit): (&str, &[i64]),
        op: impl Fn(&Graph, Output, &str) -> Result<Output>,
    ) -> Result<Output> {
        let filter_shape = self.shape_tensor(filter)?;
        let rates: Vec<i32> = rate.iter().map(|&r| r as i32).collect();
        let count = rate.len();
        let block = self.named("dilation_rate").constant(rates)?;
        if rate.iter().any(|&r| r < 1) {
            bail!(InvalidArgument, "`dilation_rate` must be positive. Received: dilation_rate={rate:?}");
        }
        if rate.iter().all(|&r| r == 1) {
            return op(self, input, padding);
        }
        let first = if format.starts_with("NC") { 2 } else { 1 };
        let mut base: Option<Arg> = match padding {
            "SAME" => match self.constant_value(filter_shape) {
                Some(sizes) => Some(self.named("stack").constant(base_paddings(&sizes.to_i64s()?, rate)?)?.into()),
                None => None,
            },
            "EXPLICIT" => {
                let own: Vec<i32> = explicit.iter().skip(2 * first).take(2 * count).map(|&p| p as i32).collect();
                Some(Tensor::new(&[count, 2], own)?.into())
            }
            _ => Some(Tensor::new(&[count, 2], vec![0i32; 2 * count])?.into()),
        };
        let shape = self.shape(input)?;
        let spatial: Option<Vec<i32>> = (0..count).map(|i| Some(shape.dim((i + first) as isize)? as i32)).collect();
        let sizes: Arg = match spatial {
            Some(sizes) => sizes.into(),
            None => {
                let shape = self.shape_tensor(input)?;
                let parts = (0..count).map(|i| self.index(shape, &[((i + first) as i32).into()])).collect::<Result<Vec<_>>>()?;
                self.stack(&parts, 0)?.into()
            }
        };
        if base.is_none() {
            base = Some(self.computed_base_paddings(filter, rate)?.into());
        }
        let (paddings, crops) = self.required_space_to_batch_paddings(sizes, block, base)?;
        let block = self.for_all_dims(block, 1, first)?;
        let paddings = self.for_all_dims(paddings, 0, first)?;
        let crops = self.for_all_dims(crops, 0, first)?;
        let spread = self.space_to_batch_nd(input, block.clone(), paddings)?;
        let result = op(self, spread, "VALID")?;
        self.batch_to_space_nd(result, block, crops)
    }

    /// [`base_paddings`] of a filter whose shape isn't static.
    fn computed_base_paddings(&self, filter: Output, rate: &[i64]) -> Result<Output> {
        let sizes = self.index(self.shape_tensor(filter)?, &[(..rate.len() as i32).into()])?;
        let rates: Vec<i32> = rate.iter().map(|&r| r as i32).collect();
        let extra = self.mul(self.sub(sizes, 1i32)?, rates)?;
        let start = self.floordiv(extra, 2i32)?;
        let end = self.sub(extra, start)?;
        let mut pairs = Vec::new();
        for i in 0..rate.len() as i32 {
            pairs.push(Arg::from([self.index(start, &[i.into()])?, self.index(end, &[i.into()])?]));
        }
        self.stack_args(&pairs, 0)
    }

    /// What stands for the spatial dimensions, with rows of `fill` for those between the batch and the first of them.
    fn for_all_dims(&self, given: Output, fill: i32, first: usize) -> Result<Arg> {
        let mut dims = self.shape(given)?.to_dims().unwrap_or_default();
        let count = dims.first().copied().unwrap_or(0);
        if let Some(dim) = dims.first_mut() {
            *dim = first - 1;
        }
        let missing = vec![fill; dims.iter().product()];
        if let Some(value) = self.constant_value(given) {
            let all: Vec<i32> = missing.into_iter().chain(value.to_i64s()?.into_iter().map(|v| v as i32)).collect();
            dims[0] = count + first - 1;
            return Ok(Tensor::new(&dims, all)?.into());
        }
        let mut parts = Vec::new();
        if first > 1 {
            parts.push(Tensor::new(&dims, missing)?.into());
        }
        parts.push(self.index(given, &[(0..count as i32).into()])?.into());
        Ok(self.concat(&parts, 0i32)?.into())
    }

    /// The greatest of each window of images (`tf.nn.max_pool`).
    ///
    /// # Errors
    /// `InvalidArgument` for inputs of other ranks or sizes that don't fit.
    pub fn max_pool(
        &self,
        value: impl Into<Arg>,
        ksize: &[i64],
        strides: &[i64],
        padding: &str,
        options: ConvOptions,
    ) -> Result<Output> {
        let (g, scope) = self.enter("MaxPool")?;
        let format = options.format("NHWC");
        let (ksize, strides) = (sequence(ksize, 2, &format, "ksize")?, sequence(strides, 2, &format, "strides")?);
        if ksize.contains(&0) {
            bail!(InvalidArgument, "`ksize` cannot be zero. Received: ksize={ksize:?}");
        }
        let call = g.named(scope.name()).call("MaxPool").arg(value).attr("ksize", &ksize[..]).attr("strides", &strides[..]);
        let call = call.attr("padding", padding).attr("data_format", format);
        call.attr("explicit_paddings", options.explicit_paddings).output()
    }

    /// The mean of each window of images (`tf.nn.avg_pool`).
    ///
    /// # Errors
    /// `InvalidArgument` for inputs of other ranks or sizes that don't fit.
    pub fn avg_pool(
        &self,
        value: impl Into<Arg>,
        ksize: &[i64],
        strides: &[i64],
        padding: &str,
        options: ConvOptions,
    ) -> Result<Output> {
        let (g, scope) = self.enter("AvgPool")?;
        let format = options.format("NHWC");
        let (ksize, strides) = (sequence(ksize, 2, &format, "ksize")?, sequence(strides, 2, &format, "strides")?);
        let call = g.named(scope.name()).call("AvgPool").arg(value).attr("ksize", &ksize[..]).attr("strides", &strides[..]);
        call.attr("padding", padding).attr("data_format", format).output()
    }

    /// Of each window of volumes the greatest (`tf.nn.max_pool3d`).
    ///
    /// # Errors
    /// `InvalidArgument` for inputs of other ranks or sizes that don't fit.
    pub fn max_pool3d(
        &self,
        value: impl Into<Arg>,
        ksize: &[i64],
        strides: &[i64],
        padding: &str,
        options: ConvOptions,
    ) -> Result<Output> {
        self.pool3d("MaxPool3D", value.into(), ksize, strides, padding, options)
    }

    /// Of each window of volumes the mean (`tf.nn.avg_pool3d`).
    ///
    /// # Errors
    /// `InvalidArgument` for inputs of other ranks or sizes that don't fit.
    pub fn avg_pool3d(
        &self,
        value: impl Into<Arg>,
        ksize: &[i64],
        strides: &[i64],
        padding: &str,
        options: ConvOptions,
    ) -> Result<Output> {
        self.pool3d("AvgPool3D", value.into(), ksize, strides, padding, options)
    }

    fn pool3d(
        &self,
        op: &str,
        value: Arg,
        ksize: &[i64],
        strides: &[i64],
        padding: &str,
        options: ConvOptions,
    ) -> Result<Output> {
        let (g, scope) = self.enter(op)?;
        let format = options.format("NDHWC");
        let (ksize, strides) = (sequence(ksize, 3, &format, "ksize")?, sequence(strides, 3, &format, "strides")?);
        let call = g.named(scope.name()).call(op).arg(value).attr("ksize", &ksize[..]).attr("strides", &strides[..]);
        call.attr("padding", padding).attr("data_format", format).output()
    }

    /// The greatest of each window, and where in the image it stands (`tf.nn.max_pool_with_argmax`).
    ///
    /// # Errors
    /// `InvalidArgument` for inputs of other ranks or sizes that don't fit.
    pub fn max_pool_with_argmax(
        &self,
        input: impl Into<Arg>,
        ksize: &[i64],
        strides: &[i64],
        padding: &str,
        include_batch_in_index: bool,
    ) -> Result<(Output, Output)> {
        let call = self.call("MaxPoolWithArgmax").arg(input).attr("ksize", ksize).attr("strides", strides);
        let call = call.attr("padding", padding).attr("Targmax", DType::Int64);
        let outputs = call.attr("include_batch_in_index", include_batch_in_index).outputs()?;
        Ok((outputs[0], outputs[1]))
    }
}
