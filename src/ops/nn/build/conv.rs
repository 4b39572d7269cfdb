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
        let filter_shape = self.shape_tensor(filter)?;
        let rate = if options.dilations.is_empty() { &[1, 1] } else { options.dilations };
        self.spaced(input, rate, padding, &format, filter_shape, |g, input, padding| {
            let node = g.op("DepthwiseConv2dNative").name(name).input(input).input(filter).attr("strides", &strides[..]);
            let node = node.attr("padding", padding).attr("data_format", format.clone());
            node.attr("explicit_paddings", options.explicit_paddings).output()
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
        rate: &[i64],
        padding: &str,
        format: &str,
        filter_shape: Output,
        op: impl Fn(&Graph, Output, &str) -> Result<Output>,
    ) -> Result<Output> {
        let rates: Vec<i32> = rate.iter().map(|&r| r as i32).collect();
        self.named("dilation_rate").constant(rates.clone())?;
        if rate.iter().any(|&r| r < 1) {
            bail!(InvalidArgument, "`dilation_rate` must be positive. Received: dilation_rate={rate:?}");
        }
        if rate.iter().all(|&r| r == 1) {
            return op(self, input, padding);
        }
        if format.starts_with("NC") {
            bail!(Unimplemented, "dilation of images in the format {format} isn't supported");
        }
        let mut base = vec![0i32; 2 * rate.len()];
        if padding == "SAME" {
            let Some(sizes) = self.constant_value(filter_shape) else {
                bail!(Unimplemented, "the filter's shape must be static for dilation with the padding SAME");
            };
            for (i, (&size, &rate)) in sizes.to_i64s()?.iter().zip(rate).enumerate() {
                let extra = (size - 1) * rate;
                base[2 * i] = (extra / 2) as i32;
                base[2 * i + 1] = (extra - extra / 2) as i32;
            }
        }
        let base = Tensor::new(&[rate.len(), 2], base)?;
        let shape = self.shape(input)?;
        let spatial: Option<Vec<i32>> = (0..rate.len()).map(|i| Some(shape.dim(i as isize + 1)? as i32)).collect();
        let sizes: Arg = match spatial {
            Some(sizes) => sizes.into(),
            None => {
                let shape = self.shape_tensor(input)?;
                let parts = (0..rate.len() as i32).map(|i| self.index(shape, &[(i + 1).into()])).collect::<Result<Vec<_>>>()?;
                self.stack(&parts, 0)?.into()
            }
        };
        let (paddings, crops) = self.required_space_to_batch_paddings(sizes, rates.clone(), Some(base.into()))?;
        let spread = self.space_to_batch_nd(input, rates.clone(), paddings)?;
        let result = op(self, spread, "VALID")?;
        self.batch_to_space_nd(result, rates, crops)
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
