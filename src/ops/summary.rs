//! Summaries: values as the messages that TensorBoard shows.

use super::audio::wave_file;
use super::shape;
use crate::error::{Error, Result, bail};
use crate::graph::op::{Grad, Kernel, KernelCtx, Op};
use crate::proto::summary::value::Value as Kind;
use crate::proto::summary::{Audio, Image, Value};
use crate::proto::{HistogramProto, Summary, SummaryMetadata, TensorProto};
use crate::tensor::{DType, Tensor, dispatch};
use bytes::Bytes;
use num_traits::{Float, ToPrimitive};
use prost::Message;
use std::collections::HashSet;
use std::sync::OnceLock;

const REAL: &str = "T: {float, double, int32, uint8, int16, int8, int64, bfloat16, uint16, half, uint32, uint64}";
const REAL_OR_FLOAT: &str =
    "T: {float, double, int32, uint8, int16, int8, int64, bfloat16, uint16, half, uint32, uint64} = DT_FLOAT";
const NO_GRADIENT: Grad = Grad::None("a message");

pub(super) static OPS: &[Op] = &[
    Op {
        name: "ScalarSummary",
        ins: &["tags: string", "values: T"],
        outs: &["summary: string"],
        attrs: &[REAL],
        shape: shape::scalar,
        kernel: Kernel::Pure(scalar),
        grad: NO_GRADIENT,
        rows: &["str \"loss\", i32 2 => str \"\\n\\x0b\\n\\x04loss\\x15\\x00\\x00\\x00@\"", "str[], f64[] => str \"\""],
    },
    Op {
        name: "HistogramSummary",
        ins: &["tag: string", "values: T"],
        outs: &["summary: string"],
        attrs: &[REAL_OR_FLOAT],
        shape: shape::scalar,
        kernel: Kernel::Pure(histogram),
        grad: NO_GRADIENT,
        rows: &["str \"h\", f32{0}[] => _"],
    },
    Op {
        name: "ImageSummary",
        ins: &["tag: string", "tensor: T"],
        outs: &["summary: string"],
        attrs: &["max_images: int >= 1 = 3", "T: {uint8, float, half, double} = DT_FLOAT", "bad_color: tensor = u8[255 0 0 255]"],
        shape: shape::scalar,
        kernel: Kernel::Pure(image),
        grad: NO_GRADIENT,
        rows: &["str \"i\", u8{0,1,1,3}[] => str \"\""],
    },
    Op {
        name: "AudioSummary",
        ins: &["tag: string", "tensor: float"],
        outs: &["summary: string"],
        attrs: &["sample_rate: float", "max_outputs: int >= 1 = 3"],
        shape: shape::scalar,
        kernel: Kernel::Pure(audio),
        grad: NO_GRADIENT,
        rows: &["sample_rate=8.0; str \"a\", f32{0,4}[] => str \"\""],
    },
    Op {
        name: "AudioSummaryV2",
        ins: &["tag: string", "tensor: float", "sample_rate: float"],
        outs: &["summary: string"],
        attrs: &["max_outputs: int >= 1 = 3"],
        shape: shape::scalar,
        kernel: Kernel::Pure(audio),
        grad: NO_GRADIENT,
        rows: &["str \"a\", f32{0,4}[], f32 8 => str \"\""],
    },
    Op {
        name: "TensorSummary",
        ins: &["tensor: T"],
        outs: &["summary: string"],
        attrs: &["T: type", "description: string = ''", "labels: list(string) = []", "display_name: string = ''"],
        shape: shape::scalar,
        kernel: Kernel::Pure(tensor),
        grad: NO_GRADIENT,
        rows: &["i32{0}[] => str \"\\n\\x0e:\\x04nodeB\\x06\\x08\\x03\\x12\\x02\\x12\\x00\""],
    },
    Op {
        name: "TensorSummaryV2",
        ins: &["tag: string", "tensor: T", "serialized_summary_metadata: string"],
        outs: &["summary: string"],
        attrs: &["T: type"],
        shape: shape::scalar,
        kernel: Kernel::Pure(tensor_v2),
        grad: NO_GRADIENT,
        rows: &["str \"t\", str \"hi\", str \"\\n\\x06\\n\\x04text\" => \
             str \"\\n\\x17\\n\\x01tB\\x08\\x08\\x07\\x12\\x00B\\x02hiJ\\x08\\n\\x06\\n\\x04text\""],
    },
    Op {
        name: "MergeSummary",
        ins: &["inputs: N * string"],
        outs: &["summary: string"],
        attrs: &["N: int >= 1"],
        shape: shape::scalar,
        kernel: Kernel::Pure(merge),
        grad: NO_GRADIENT,
        rows: &["N=2; str \"\\n\\x03\\n\\x01a\", str[\"\\n\\x03\\n\\x01b\" \"\"] => str \"\\n\\x03\\n\\x01a\\n\\x03\\n\\x01b\""],
    },
];

fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The only string of an input that may also be a vector of one.
fn tag(tensor: &Tensor, what: &str) -> Result<String> {
    match tensor.strings()? {
        [tag] => Ok(text(tag)),
        _ => bail!(InvalidArgument, "{what} must be a scalar, got shape {:?}", tensor.dims()),
    }
}

fn set(ctx: &mut KernelCtx, value: Vec<Value>) -> Result<()> {
    ctx.set(0, Tensor::string(Summary { value }.encode_to_vec()))
}

fn scalar(ctx: &mut KernelCtx) -> Result<()> {
    let (tags, values) = (ctx.input(0)?, ctx.input(1)?);
    if tags.dims() != values.dims() {
        let single = if let [tag] = tags.strings()? { format!(" (tag '{}')", text(tag)) } else { String::new() };
        bail!(InvalidArgument, "tags and values not the same shape: {:?} != {:?}{single}", tags.dims(), values.dims());
    }
    let numbers: Vec<f32> = dispatch!(values.dtype(), real, T => {
        values.as_slice::<T>()?.iter().map(|v| v.to_f32().unwrap_or(f32::NAN)).collect()
    });
    let value =
        |(tag, number): (&Bytes, f32)| Value { tag: text(tag), value: Some(Kind::SimpleValue(number)), ..Value::default() };
    let values = tags.strings()?.iter().zip(numbers).map(value).collect();
    set(ctx, values)
}

/// The upper limits of the buckets: 0, and from 1e-12 to 1e20 on either side, each 10 % further than the one before.
fn bucket_limits() -> &'static [f64] {
    static LIMITS: OnceLock<Vec<f64>> = OnceLock::new();
    LIMITS.get_or_init(|| {
        let mut positive = Vec::new();
        let mut limit = 1.0e-12;
        while limit < 1.0e20 {
            positive.push(limit);
            limit *= 1.1;
        }
        positive.push(f64::MAX);
        positive.iter().rev().map(|v| -v).chain([0.0]).chain(positive.iter().copied()).collect()
    })
}

/// The histogram of values; runs of empty buckets are one.
pub(crate) fn histogram_of(values: impl Iterator<Item = f64>) -> HistogramProto {
    let limits = bucket_limits();
    let mut counts = vec![0f64; limits.len()];
    let mut histogram = HistogramProto { min: f64::MAX, max: -f64::MAX, ..HistogramProto::default() };
    for value in values {
        let bucket = limits.partition_point(|&limit| limit <= value).min(limits.len() - 1);
        counts[bucket] += 1.0;
        histogram.min = histogram.min.min(value);
        histogram.max = histogram.max.max(value);
        histogram.num += 1.0;
        histogram.sum += value;
        histogram.sum_squares += value * value;
    }
    for (index, &count) in counts.iter().enumerate() {
        if count <= 0.0 && counts.get(index + 1).is_some_and(|&next| next <= 0.0) {
            continue;
        }
        histogram.bucket_limit.push(limits[index]);
        histogram.bucket.push(count);
    }
    histogram
}

fn histogram(ctx: &mut KernelCtx) -> Result<()> {
    let tag = tag(ctx.input(0)?, "tags")?;
    let values = ctx.input(1)?;
    let numbers: Vec<f64> = dispatch!(values.dtype(), real, T => {
        values.as_slice::<T>()?.iter().map(|v| v.to_f64().unwrap_or(f64::NAN)).collect()
    });
    for value in &numbers {
        if value.is_nan() {
            bail!(InvalidArgument, "Nan in summary histogram for: {}", ctx.name());
        }
        if value.is_infinite() {
            bail!(InvalidArgument, "Infinity in summary histogram for: {}", ctx.name());
        }
    }
    let histogram = histogram_of(numbers.into_iter());
    set(ctx, vec![Value { tag, value: Some(Kind::Histo(histogram)), ..Value::default() }])
}

fn image(ctx: &mut KernelCtx) -> Result<()> {
    let base = tag(ctx.input(0)?, "Tags")?;
    let tensor = ctx.input(1)?;
    let &[batch, height, width, depth] = tensor.dims() else {
        bail!(InvalidArgument, "Tensor must be 4-D with last dim 1, 3, or 4, not {:?}", tensor.dims())
    };
    if ![1, 3, 4].contains(&depth) {
        bail!(InvalidArgument, "Tensor must be 4-D with last dim 1, 3, or 4, not {:?}", tensor.dims());
    }
    let largest = i32::MAX as usize;
    if [batch, height, width].iter().any(|&d| d > largest) || height.saturating_mul(width) >= 1 << 29 {
        bail!(InvalidArgument, "Tensor too large for summary {:?}", tensor.dims());
    }
    let most = ctx.node().int("max_images")?;
    let bad = ctx.node().tensor("bad_color")?;
    if bad.dtype() != DType::Uint8 || bad.rank() != 1 {
        bail!(InvalidArgument, "bad_color must be a vector of uint8, got {} of shape {:?}", bad.dtype(), bad.dims());
    }
    if tensor.dtype() != DType::Uint8 && bad.len() < depth {
        bail!(InvalidArgument, "expected depth <= bad_color.size, got depth = {depth}, bad_color.size = {}", bad.len());
    }
    let size = height * width * depth;
    let mut values = Vec::new();
    for index in 0..batch.min(usize::try_from(most).unwrap_or(0)) {
        let range = index * size..(index + 1) * size;
        let bad = bad.as_slice::<u8>()?;
        let pixels = match tensor.dtype() {
            DType::Uint8 => tensor.as_slice::<u8>()?[range].to_vec(),
            DType::Half => normalized(&tensor.as_slice::<half::f16>()?[range], depth, bad),
            DType::Float => normalized(&tensor.as_slice::<f32>()?[range], depth, bad),
            _ => normalized(&tensor.as_slice::<f64>()?[range], depth, bad),
        };
        let tag = if most > 1 { format!("{base}/image/{index}") } else { format!("{base}/image") };
        let image = Image {
            height: height as i32,
            width: width as i32,
            colorspace: depth as i32,
            encoded_image_string: encode_png(&pixels, width, height, depth)?.into(),
        };
        values.push(Value { tag, value: Some(Kind::Image(image)), ..Value::default() });
    }
    set(ctx, values)
}

/// Pixels from floats: without negative values the largest becomes 255, otherwise 0 becomes 128 and the value furthest
/// from it 127 away. Pixels that aren't finite get the bad color.
fn normalized<T: Float>(values: &[T], depth: usize, bad: &[u8]) -> Vec<u8> {
    let is_finite = |pixel: &[T]| pixel.iter().all(|v| v.is_finite());
    let (mut lowest, mut highest) = (f32::INFINITY, f32::NEG_INFINITY);
    for value in values.chunks_exact(depth).filter(|p| is_finite(p)).flatten() {
        let value = value.to_f32().unwrap_or(0.0);
        lowest = lowest.min(value);
        highest = highest.max(value);
    }
    let (range, largest, offset) =
        if lowest < 0.0 { (lowest.abs().max(highest.abs()), 127.0, 128.0) } else { (highest, 255.0, 0.0) };
    let of = |value: f32| T::from(value).unwrap_or_else(T::zero);
    let (scale, offset) = (of(if range < 1e-6 { 0.0 } else { largest / range }), of(offset));
    let mut pixels = Vec::with_capacity(values.len());
    for pixel in values.chunks_exact(depth) {
        match is_finite(pixel) {
            true => pixels.extend(pixel.iter().map(|&v| (v * scale + offset).to_f64().unwrap_or(0.0) as u8)),
            false => pixels.extend(&bad[..depth]),
        }
    }
    pixels
}

/// A PNG of 8 bits a channel.
fn encode_png(pixels: &[u8], width: usize, height: usize, channels: usize) -> Result<Vec<u8>> {
    let failed = |e: png::EncodingError| Error::internal(format!("PNG encoding failed: {e}"));
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, width as u32, height as u32);
    encoder.set_color(match channels {
        1 => png::ColorType::Grayscale,
        3 => png::ColorType::Rgb,
        _ => png::ColorType::Rgba,
    });
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(pixels).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(out)
}

fn audio(ctx: &mut KernelCtx) -> Result<()> {
    let base = tag(ctx.input(0)?, "Tag")?;
    let tensor = ctx.input(1)?;
    let (batch, length, channels) = match *tensor.dims() {
        [batch, length] => (batch, length, 1),
        [batch, length, channels] => (batch, length, channels),
        _ => bail!(InvalidArgument, "Tensor must be 3-D or 2-D, got: {:?}", tensor.dims()),
    };
    let rate = if ctx.num_inputs() > 2 { ctx.input(2)?.item::<f32>()? } else { ctx.node().float("sample_rate")? };
    if !(rate > 0.0) {
        bail!(InvalidArgument, "sample_rate must be > 0");
    }
    let most = ctx.node().int("max_outputs")?;
    let samples = tensor.as_slice::<f32>()?;
    let mut values = Vec::new();
    for index in 0..batch.min(usize::try_from(most).unwrap_or(0)) {
        let size = length * channels;
        let file =
            wave_file(&samples[index * size..(index + 1) * size], rate.round_ties_even().max(1.0) as u32, length, channels)?;
        let tag = if most > 1 { format!("{base}/audio/{index}") } else { format!("{base}/audio") };
        let audio = Audio {
            sample_rate: rate,
            num_channels: channels as i64,
            length_frames: length as i64,
            encoded_audio_string: file.into(),
            content_type: "audio/wav".to_string(),
        };
        values.push(Value { tag, value: Some(Kind::Audio(audio)), ..Value::default() });
    }
    set(ctx, values)
}

/// The message of a tensor: strings as a list, everything else as raw bytes.
fn message(tensor: &Tensor) -> Result<TensorProto> {
    if tensor.dtype() == DType::String {
        return tensor.to_message();
    }
    Ok(TensorProto {
        dtype: tensor.dtype().number(),
        tensor_shape: Some(tensor.shape().to_message()),
        tensor_content: Bytes::copy_from_slice(&tensor.to_le_bytes()?),
        ..TensorProto::default()
    })
}

fn tensor(ctx: &mut KernelCtx) -> Result<()> {
    // The fields stand in the order of their numbers, in which TensorFlow writes them.
    let name = Value { node_name: ctx.name().to_string(), ..Value::default() };
    let value = Value { value: Some(Kind::Tensor(message(ctx.input(0)?)?)), ..Value::default() };
    let value = [name.encode_to_vec(), value.encode_to_vec()].concat();
    let mut out = vec![1 << 3 | 2];
    prost::encode_length_delimiter(value.len(), &mut out).map_err(|e| Error::internal(e.to_string()))?;
    out.extend(value);
    ctx.set(0, Tensor::string(out))
}

fn tensor_v2(ctx: &mut KernelCtx) -> Result<()> {
    let tag = tag(ctx.input(0)?, "tag")?;
    let metadata = match ctx.input(2)?.strings()? {
        [bytes] => SummaryMetadata::decode(bytes.clone()).unwrap_or_default(),
        _ => bail!(InvalidArgument, "serialized_summary_metadata must be a scalar"),
    };
    let value = Some(Kind::Tensor(message(ctx.input(1)?)?));
    set(ctx, vec![Value { tag, value, metadata: Some(metadata), ..Value::default() }])
}

fn merge(ctx: &mut KernelCtx) -> Result<()> {
    let mut tags = HashSet::new();
    let mut merged = Vec::new();
    for index in 0..ctx.num_inputs() {
        for bytes in ctx.input(index)?.strings()? {
            let Ok(summary) = Summary::decode(bytes.clone()) else {
                bail!(InvalidArgument, "Could not parse one of the summary inputs")
            };
            for value in summary.value {
                if !value.tag.is_empty() && tags.contains(&value.tag) {
                    bail!(InvalidArgument, "Duplicate tag {} found in summary inputs", value.tag);
                }
                tags.insert(value.tag);
            }
            merged.extend_from_slice(bytes);
        }
    }
    ctx.set(0, Tensor::string(merged))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values, and the histogram as TensorFlow writes it.
    #[test]
    fn histograms_are_tensorflows() {
        let cases: [(&[f64], &str); 3] = [
            (&[], "09ffffffffffffef7f11ffffffffffffefff3208ffffffffffffef7f3a080000000000000000"),
            (
                &[0.0],
                "19000000000000f03f3218000000000000000011ea2d819997713dffffffffffffef7f3a180000000000000000000000000000f03f00\
                 00000000000000",
            ),
            (
                &[1.0, 2.0, -3.5, 1e30, 0.5, 0.5],
                "090000000000000cc011ea8ca039593e294619000000000000184021ea8ca039593e29462945f3c2e4e4e9634c325081444bf80ba70e\
                 c075f872caaddd0bc0fae55a25d31fde3fb03125ee8091e03f08996919155aed3f2b14facdbe24f03fdc94cd2e8d75ff3fe011f10c74\
                 4d01404c549f0223831544ffffffffffffef7f3a500000000000000000000000000000f03f0000000000000000000000000000004000\
                 00000000000000000000000000f03f0000000000000000000000000000f03f0000000000000000000000000000f03f",
            ),
        ];
        for (values, expected) in cases {
            let hex: String = histogram_of(values.iter().copied()).encode_to_vec().iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(hex, expected, "{values:?}");
        }
    }

    #[test]
    fn floats_become_pixels_as_in_tensorflow() {
        let bad = [255, 0, 0, 255];
        assert_eq!(normalized(&[0f32, 0.5, 1.0, 0.25], 1, &bad), [0, 127, 255, 63]);
        assert_eq!(normalized(&[-1f32, 0.5, 1.0, 0.0], 1, &bad), [1, 191, 255, 128]);
        assert_eq!(normalized(&[1f64, 2.0, 4.0, f64::NAN, 1.0, 1.0], 3, &bad), [63, 127, 255, 255, 0, 0]);
        assert_eq!(normalized(&[f64::NAN, 0.0, 0.0], 3, &bad), [255, 0, 0]);
        assert_eq!(normalized(&[1e-7f32], 1, &bad), [0]);
    }
}
