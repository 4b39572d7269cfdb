//! Images read from files and written to them.

mod bmp;
mod gif;
mod png;

use super::jpeg::{self, Options, Settings};
use crate::error::{Error, Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, NodeInfo, Op};
use crate::graph::{Graph, Output};
use crate::ops::convert::Arg;
use crate::tensor::{DType, Shape, Tensor};

const JPEG_ATTRS: &[&str] = &[
    "channels: int = 0",
    "ratio: int = 1",
    "fancy_upscaling: bool = true",
    "try_recover_truncated: bool = false",
    "acceptable_fraction: float = 1",
    "dct_method: string = ''",
];

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "DecodeJpeg",
        ins: &["contents: string"],
        outs: &["image: uint8"],
        attrs: JPEG_ATTRS,
        shape: decoded_shape,
        kernel: Kernel::Pure(decode),
        grad: Grad::Missing,
        rows: &[GRAY_BMP],
    },
    Op {
        name: "DecodeAndCropJpeg",
        ins: &["contents: string", "crop_window: int32"],
        outs: &["image: uint8"],
        attrs: JPEG_ATTRS,
        shape: |ctx| {
            ctx.input(0).with_rank(0)?;
            ctx.input(1).merge(&Shape::known(&[4]))?;
            let known = ctx.constant(1).map(|v| v.to_i64s()).transpose()?;
            let side = |i: usize| known.as_ref().and_then(|v| usize::try_from(*v.get(i)?).ok());
            let channels = channels_attr(ctx)?;
            ctx.set(0, Shape::from([side(2), side(3), channels]))
        },
        kernel: Kernel::Pure(decode),
        grad: Grad::Missing,
        rows: &[concat!(
            r#"channels=1; str "\xff\xd8\xff\xdb\x00C\x00\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10"#,
            r#"\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10"#,
            r#"\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10\x10"#,
            r#"\xff\xc0\x00\x0b\x08\x00\x02\x00\x03\x01\x01\x11\x00"#,
            r#"\xff\xc4\x00\x15\x00\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05\x00"#,
            r#"\xff\xc4\x00\x14\x10\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"#,
            r#"\xff\xda\x00\x08\x01\x01\x00\x00?\x00Q\xff\xd9", i32[1 1 1 2] => _"#
        )],
    },
    Op {
        name: "DecodePng",
        ins: &["contents: string"],
        outs: &["image: dtype"],
        attrs: &["channels: int = 0", "dtype: {uint8, uint16} = DT_UINT8"],
        shape: decoded_shape,
        kernel: Kernel::Pure(decode),
        grad: Grad::Missing,
        rows: &[GRAY_BMP],
    },
    Op {
        name: "DecodeGif",
        ins: &["contents: string"],
        outs: &["image: uint8"],
        attrs: &[],
        shape: |ctx| {
            ctx.input(0).with_rank(0)?;
            ctx.set(0, Shape::from([None, None, None, Some(3)]))
        },
        kernel: Kernel::Pure(decode),
        grad: Grad::Missing,
        rows: &[
            r#"str "GIF89a\x02\x00\x01\x00\x80\x00\x00\xff\x00\x00\x00\x00\xff,\x00\x00\x00\x00\x02\x00\x01\x00\x00\x02\x02D\x0a\x00;"
             => u8[[[[255 0 0] [0 0 255]]]]"#,
        ],
    },
    Op {
        name: "DecodeBmp",
        ins: &["contents: string"],
        outs: &["image: uint8"],
        attrs: &["channels: int = 0"],
        shape: decoded_shape,
        kernel: Kernel::Pure(decode),
        grad: Grad::Missing,
        rows: &[GRAY_BMP],
    },
    Op {
        name: "DecodeImage",
        ins: &["contents: string"],
        outs: &["image: dtype"],
        attrs: &["channels: int = 0", "dtype: {uint8, uint16, float} = DT_UINT8", "expand_animations: bool = true"],
        shape: |ctx| match ctx.boolean("expand_animations")? {
            true => {
                ctx.input(0).with_rank(0)?;
                channels_attr(ctx)?;
                ctx.set(0, Shape::unknown())
            }
            false => decoded_shape(ctx),
        },
        kernel: Kernel::Pure(decode),
        grad: Grad::Missing,
        rows: &[GRAY_BMP],
    },
    Op {
        name: "ExtractJpegShape",
        ins: &["contents: string"],
        outs: &["image_shape: output_type"],
        attrs: &["output_type: {int32, int64} = DT_INT32"],
        shape: |ctx| {
            ctx.input(0).with_rank(0)?;
            ctx.set(0, Shape::known(&[3]))
        },
        kernel: Kernel::Pure(extract_shape),
        grad: Grad::Missing,
        rows: &[r#"str "\xff\xd8\xff\xc0\x00\x0b\x08\x00\x02\x00\x03\x01\x01\x11\x00" => i32[2 3 1]"#],
    },
    Op {
        name: "EncodeJpeg",
        ins: &["image: uint8"],
        outs: &["contents: string"],
        attrs: &[
            "format: {'', 'grayscale', 'rgb'} = ''",
            "quality: int = 95",
            "progressive: bool = false",
            "optimize_size: bool = false",
            "chroma_downsampling: bool = true",
            "density_unit: {'in', 'cm'} = 'in'",
            "x_density: int = 300",
            "y_density: int = 300",
            "xmp_metadata: string = ''",
        ],
        shape: |ctx| {
            ctx.input(0).with_rank(3)?;
            ctx.set(0, Shape::scalar())
        },
        kernel: Kernel::Pure(encode_jpeg),
        grad: Grad::Missing,
        rows: &["u8[[[1] [2]] [[3] [4]]] => _"],
    },
    Op {
        name: "EncodeJpegVariableQuality",
        ins: &["images: uint8", "quality: int32"],
        outs: &["contents: string"],
        attrs: &[],
        shape: |ctx| {
            ctx.input(0).with_rank(3)?;
            ctx.input(1).with_rank(0)?;
            ctx.set(0, Shape::scalar())
        },
        kernel: Kernel::Pure(encode_variable_quality),
        grad: Grad::Missing,
        rows: &["u8[[[1 2 3] [4 5 6]]], i32 50 => _"],
    },
    Op {
        name: "EncodePng",
        ins: &["image: T"],
        outs: &["contents: string"],
        attrs: &["compression: int = -1", "T: {uint8, uint16} = DT_UINT8"],
        shape: |ctx| {
            let image = ctx.input(0).with_rank_at_least(3)?;
            ctx.set(0, image.slice(0, -3))
        },
        kernel: Kernel::Pure(encode_png),
        grad: Grad::Missing,
        rows: &["u8[[[1] [2]] [[3] [4]]] => _"],
    },
];

/// A BMP file of two gray pixels, one above the other; every decoder but the one for animations reads it.
const GRAY_BMP: &str = r#"str "BM>\x00\x00\x00\x00\x00\x00\x006\x00\x00\x00(\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x01\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x09\x00\x00\x00" => u8[[[9]] [[7]]]"#;

fn channels_attr(ctx: &InferCtx) -> Result<Option<usize>> {
    match ctx.int("channels")? {
        0 => Ok(None),
        channels => match usize::try_from(channels) {
            Ok(channels) => Ok(Some(channels)),
            Err(_) => bail!(InvalidArgument, "channels must be non-negative, got {channels}"),
        },
    }
}

fn decoded_shape(ctx: &mut InferCtx) -> Result<()> {
    ctx.input(0).with_rank(0)?;
    let channels = channels_attr(ctx)?;
    ctx.set(0, Shape::from([None, None, channels]))
}

/// A decoded image: frames, height, width, channels.
struct Decoded {
    dims: [usize; 4],
    samples: Samples,
}

enum Samples {
    Bytes(Vec<u8>),
    Words(Vec<u16>),
}

impl Samples {
    fn into_tensor(self, dtype: DType, dims: &[usize]) -> Result<Tensor> {
        Ok(match (self, dtype) {
            (Samples::Bytes(bytes), DType::Uint8) => Tensor::new(dims, bytes)?,
            (Samples::Bytes(bytes), DType::Uint16) => Tensor::new(dims, bytes.iter().map(|&b| u16::from(b) << 8).collect())?,
            (Samples::Bytes(bytes), _) => Tensor::new(dims, bytes.iter().map(|&b| f32::from(b) * (1.0 / 255.0)).collect())?,
            (Samples::Words(words), DType::Uint16) => Tensor::new(dims, words)?,
            (Samples::Words(words), DType::Uint8) => Tensor::new(dims, words.iter().map(|&w| (w >> 8) as u8).collect())?,
            (Samples::Words(words), _) => Tensor::new(dims, words.iter().map(|&w| f32::from(w) * (1.0 / 65535.0)).collect())?,
        })
    }
}

fn contents<'a>(ctx: &'a KernelCtx) -> Result<&'a [u8]> {
    let contents = ctx.input(0)?;
    match contents.strings()? {
        [file] if contents.is_scalar() => Ok(file),
        _ => bail!(InvalidArgument, "`contents` must be scalar but got shape {:?}", contents.dims()),
    }
}

/// The attribute, where the op has it.
fn int_or(node: &NodeInfo, name: &str, default: i64) -> Result<i64> {
    if node.attrs.contains_key(name) { node.int(name) } else { Ok(default) }
}

fn jpeg_options(node: &NodeInfo, channels: usize) -> Result<Options> {
    let mut options = Options { channels, ratio: 1, fancy_upscaling: true, fast: true, try_recover_truncated: false };
    if node.attrs.contains_key("ratio") {
        let ratio = node.int("ratio")?;
        if ![1, 2, 4, 8].contains(&ratio) {
            bail!(InvalidArgument, "`ratio` must be 1, 2, 4, or 8, got {ratio}");
        }
        options.ratio = ratio as usize;
        options.fancy_upscaling = node.boolean("fancy_upscaling")?;
        options.try_recover_truncated = node.boolean("try_recover_truncated")?;
        options.fast = match node.string("dct_method")? {
            "" | "INTEGER_FAST" => true,
            "INTEGER_ACCURATE" => false,
            other => bail!(InvalidArgument, "dct_method must be one of {{'', 'INTEGER_FAST', 'INTEGER_ACCURATE'}}, got {other}"),
        };
    }
    Ok(options)
}

/// The part of an image that a window `[y, x, height, width]` shows.
fn crop(image: jpeg::Image, window: &Tensor) -> Result<jpeg::Image> {
    if window.dims() != [4] {
        bail!(InvalidArgument, "crop_window must be 1-D and have four elements, got shape {:?}", window.dims());
    }
    let values = window.to_i64s()?;
    let [y, x, height, width] = [0, 1, 2, 3].map(|i| usize::try_from(values[i]).unwrap_or(usize::MAX));
    let inside = |start: usize, size: usize, whole: usize| size > 0 && start.checked_add(size).is_some_and(|end| end <= whole);
    if !inside(y, height, image.height) || !inside(x, width, image.width) {
        bail!(InvalidArgument, "Invalid JPEG data or crop window: {window} of an image of {} x {}", image.height, image.width);
    }
    let stride = image.width * image.channels;
    let rows = image.pixels.chunks_exact(stride).skip(y).take(height);
    let pixels = rows.flat_map(|row| &row[x * image.channels..(x + width) * image.channels]).copied().collect();
    Ok(jpeg::Image { height, width, channels: image.channels, pixels })
}

fn decode(ctx: &mut KernelCtx) -> Result<()> {
    let node = ctx.node();
    let op = node.op;
    let channels = int_or(node, "channels", if op == "DecodeGif" { 3 } else { 0 })?;
    let (dtype, file) = (node.output_types[0], contents(ctx)?);
    let allowed: &[i64] = match op {
        "DecodeJpeg" | "DecodeAndCropJpeg" => &[0, 1, 3],
        _ => &[0, 1, 3, 4],
    };
    if !allowed.contains(&channels) {
        bail!(InvalidArgument, "`channels` must be one of {allowed:?}, got {channels}");
    }
    let wrong = |format: &str, right: &str| {
        Error::invalid_argument(format!(
            "Trying to decode {format} format using a wrong op. Use `{right}` or `decode_image` instead. Op used: {op}"
        ))
    };
    let crops = op == "DecodeAndCropJpeg";
    let decoded = if file.starts_with(b"\xff\xd8\xff") {
        if op == "DecodeBmp" {
            return Err(wrong("JPEG", "decode_jpeg"));
        }
        if channels == 4 {
            bail!(InvalidArgument, "`channels` must be 0, 1, or 3 for JPEG, but got {channels}");
        }
        let image = jpeg::decode(file, &jpeg_options(node, channels as usize)?)
            .map_err(|e| e.within(format!("Invalid JPEG data, size {}", file.len())))?;
        let image = if crops { crop(image, ctx.input(1)?)? } else { image };
        Decoded { dims: [1, image.height, image.width, image.channels], samples: Samples::Bytes(image.pixels) }
    } else if file.starts_with(b"\x89PNG\r\n\x1a\n") {
        if op == "DecodeBmp" || crops {
            return Err(wrong("PNG", "decode_png"));
        }
        png::decode(file, channels as usize, dtype)?
    } else if file.starts_with(b"GIF8") {
        if op == "DecodeBmp" || crops {
            return Err(wrong("GIF", "decode_gif"));
        }
        if channels != 0 && channels != 3 {
            bail!(InvalidArgument, "channels must be 0 or 3 for GIF, but got {channels}");
        }
        let all = op == "DecodeGif" || (op == "DecodeImage" && node.boolean("expand_animations")?);
        let decoded = gif::decode(file, if op == "DecodeImage" && !all { 1 } else { usize::MAX })?;
        if !all && decoded.dims[0] > 1 {
            bail!(
                InvalidArgument,
                "Got {} frames, but animated gifs can only be decoded by tf.io.decode_gif or tf.io.decode_image",
                decoded.dims[0]
            );
        }
        if all {
            let Decoded { dims, samples } = decoded;
            return ctx.set(0, samples.into_tensor(dtype, &dims)?);
        }
        decoded
    } else if file.starts_with(b"BM") {
        if channels == 1 && op == "DecodeImage" {
            bail!(InvalidArgument, "`channels` must be 0, 3 or 4 for BMP, but got {channels}");
        }
        if crops || op == "DecodeGif" {
            return Err(wrong("BMP", "decode_bmp"));
        }
        bmp::decode(file, channels as usize)?
    } else {
        bail!(InvalidArgument, "Unknown image file format. One of JPEG, PNG, GIF, BMP required.");
    };
    let dims = if op == "DecodeGif" { &decoded.dims[..] } else { &decoded.dims[1..] };
    let output = decoded.samples.into_tensor(dtype, dims)?;
    ctx.set(0, output)
}

fn extract_shape(ctx: &mut KernelCtx) -> Result<()> {
    let size = jpeg::read_size(contents(ctx)?)?;
    let output = match ctx.node().output_types[0] {
        DType::Int64 => Tensor::vector(&size.map(|s| s as i64)),
        _ => Tensor::vector(&size.map(|s| s as i32)),
    };
    ctx.set(0, output)
}

/// Height, width and channels of an image to be encoded.
fn pixels(ctx: &KernelCtx) -> Result<([usize; 2], usize)> {
    match *ctx.input(0)?.dims() {
        [height, width, channels] => Ok(([height, width], channels)),
        ref dims => bail!(InvalidArgument, "image must be 3-dimensional {dims:?}"),
    }
}

fn check_quality(quality: i64) -> Result<i64> {
    if !(0..=100).contains(&quality) {
        bail!(InvalidArgument, "quality must be in [0,100], got {quality}");
    }
    Ok(quality)
}

fn encode_jpeg(ctx: &mut KernelCtx) -> Result<()> {
    let node = ctx.node();
    let (size, channels) = pixels(ctx)?;
    let wanted = match node.string("format")? {
        "grayscale" => Some(1),
        "rgb" => Some(3),
        _ => None,
    };
    match wanted {
        Some(wanted) if wanted != channels => {
            bail!(InvalidArgument, "format '{}' expects {wanted} channels, got {channels}", node.string("format")?)
        }
        None if channels != 1 && channels != 3 => bail!(InvalidArgument, "image must have 1 or 3 channels, got {channels}"),
        _ => {}
    }
    let density = |name: &str| {
        let value = node.int(name)?;
        u16::try_from(value).map_err(|_| Error::invalid_argument(format!("{name} must be in [0, 65535], got {value}")))
    };
    let settings = Settings {
        quality: check_quality(node.int("quality")?)?,
        chroma_downsampling: node.boolean("chroma_downsampling")?,
        density_unit: if node.string("density_unit")? == "cm" { 2 } else { 1 },
        density: [density("x_density")?, density("y_density")?],
        xmp_metadata: node.string("xmp_metadata")?.as_bytes(),
    };
    let file = jpeg::encode(ctx.input(0)?.as_slice::<u8>()?, size, channels, &settings)?;
    ctx.set(0, Tensor::string(file))
}

fn encode_variable_quality(ctx: &mut KernelCtx) -> Result<()> {
    let (size, channels) = pixels(ctx)?;
    if channels != 1 && channels != 3 {
        bail!(InvalidArgument, "image must have 1 or 3 channels, got {channels}");
    }
    let quality = ctx.input(1)?;
    if !quality.is_scalar() {
        bail!(InvalidArgument, "quality must be scalar: {:?}", quality.dims());
    }
    let quality = check_quality(quality.item_i64()?)?;
    let settings = Settings { quality, chroma_downsampling: true, density_unit: 1, density: [300, 300], xmp_metadata: &[] };
    let file = jpeg::encode(ctx.input(0)?.as_slice::<u8>()?, size, channels, &settings)?;
    ctx.set(0, Tensor::string(file))
}

fn encode_png(ctx: &mut KernelCtx) -> Result<()> {
    let image = ctx.input(0)?;
    let compression = ctx.node().int("compression")?;
    if !(-1..=9).contains(&compression) {
        bail!(InvalidArgument, "compression should be in [-1,9], got {compression}");
    }
    let Some((outer, &[height, width, channels])) = image.dims().split_last_chunk() else {
        bail!(InvalidArgument, "images must be at least rank 3, got shape {:?}", image.dims());
    };
    if !(1..=4).contains(&channels) {
        bail!(InvalidArgument, "image must have 1, 2, 3, or 4 channels, got {channels}");
    }
    if image.is_empty() {
        bail!(InvalidArgument, "Invalid image provided: its shape is {:?}", image.dims());
    }
    let words = image.dtype() == DType::Uint16;
    let mut bytes = image.bytes()?.to_vec();
    if words {
        bytes = image.as_slice::<u16>()?.iter().flat_map(|w| w.to_be_bytes()).collect();
    }
    let size = height * width * channels * image.dtype().size();
    let files = bytes.chunks_exact(size).map(|b| png::encode(b, [height, width], channels, words, compression));
    let files = files.map(|f| f.map(bytes::Bytes::from)).collect::<Result<Vec<_>>>()?;
    let output = Tensor::from_strings(outer, files)?;
    ctx.set(0, output)
}

impl Graph {
    /// The image in a JPEG file, `[height, width, channels]` of uint8 (`tf.image.decode_jpeg`). 0 channels means as many as the
    /// file has.
    ///
    /// # Errors
    /// `InvalidArgument` for contents that aren't a scalar.
    pub fn decode_jpeg(&self, contents: impl Into<Arg>, channels: i64) -> Result<Output> {
        self.call("DecodeJpeg").arg(contents).attr("channels", channels).output()
    }

    /// The image in a PNG file as uint8 or uint16 (`tf.image.decode_png`).
    ///
    /// # Errors
    /// `InvalidArgument` for contents that aren't a scalar.
    pub fn decode_png(&self, contents: impl Into<Arg>, channels: i64, dtype: DType) -> Result<Output> {
        self.call("DecodePng").arg(contents).attr("channels", channels).attr("dtype", dtype).output()
    }

    /// The frames of a GIF file, `[frames, height, width, 3]` of uint8 (`tf.image.decode_gif`).
    ///
    /// # Errors
    /// `InvalidArgument` for contents that aren't a scalar.
    pub fn decode_gif(&self, contents: impl Into<Arg>) -> Result<Output> {
        self.call("DecodeGif").arg(contents).output()
    }

    /// The image in a BMP file (`tf.image.decode_bmp`).
    ///
    /// # Errors
    /// `InvalidArgument` for contents that aren't a scalar.
    pub fn decode_bmp(&self, contents: impl Into<Arg>, channels: i64) -> Result<Output> {
        self.call("DecodeBmp").arg(contents).attr("channels", channels).output()
    }

    /// An image as a JPEG file of the given quality, from 0 to 100 (`tf.image.encode_jpeg`).
    ///
    /// # Errors
    /// `InvalidArgument` for an image of another rank.
    pub fn encode_jpeg(&self, image: impl Into<Arg>, quality: i64) -> Result<Output> {
        self.call("EncodeJpeg").arg(image).attr("quality", quality).output()
    }

    /// An image as a PNG file (`tf.image.encode_png`); a compression of -1 is the usual one.
    ///
    /// # Errors
    /// `InvalidArgument` for an image of another rank.
    pub fn encode_png(&self, image: impl Into<Arg>, compression: i64) -> Result<Output> {
        self.call("EncodePng").arg(image).attr("compression", compression).output()
    }
}
