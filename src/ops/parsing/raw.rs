//! Raw and compressed bytes.

use crate::error::{Error, Result, bail};
use crate::graph::op::{Grad, Kernel, KernelCtx, Op};
use crate::graph::{Graph, Output};
use crate::tensor::{DType, Tensor};
use bytes::Bytes;
use std::io::Read;

pub(super) static OPS: &[Op] = &[
    Op {
        name: "DecodeRaw",
        ins: &["bytes: string"],
        outs: &["output: out_type"],
        attrs: &[
            "out_type: {half, float, double, int32, uint16, uint8, int16, int8, int64, complex64, complex128, bool, bfloat16}",
            "little_endian: bool = true",
        ],
        shape: |ctx| ctx.set(0, ctx.input(0).push(None)),
        kernel: Kernel::Pure(decode_raw),
        grad: Grad::None("strings"),
        rows: &[
            "out_type=i16; str[\"\\x01\\x02\" \"\\x03\\x04\"] => i16[[513] [1027]]",
            "out_type=i16, little_endian=false; str \"\\x01\\x02\\x00\\x04\" => i16[258 4]",
            "out_type=f32; str[\"\" \"\"] => f32{2,0}[]",
        ],
    },
    Op {
        name: "DecodePaddedRaw",
        ins: &["input_bytes: string", "fixed_length: int32"],
        outs: &["output: out_type"],
        attrs: &[
            "out_type: {half, float, double, int32, uint16, uint8, int16, int8, int64, bfloat16}",
            "little_endian: bool = true",
        ],
        shape: |ctx| {
            ctx.input(1).with_rank(0)?;
            let size = ctx.dtype("out_type")?.size();
            let length = ctx.constant(1).and_then(|l| l.item_i64().ok()).and_then(|l| usize::try_from(l).ok());
            ctx.set(0, ctx.input(0).push(length.map(|l| l / size.max(1))))
        },
        kernel: Kernel::Pure(decode_padded_raw),
        grad: Grad::None("strings"),
        rows: &["out_type=i16; str[\"AAA\" \"B\"], i32 4 => i16[[16705 65] [66 0]]"],
    },
    Op {
        name: "DecodeCompressed",
        ins: &["bytes: string"],
        outs: &["output: string"],
        attrs: &["compression_type: string = ''"],
        shape: crate::ops::shape::unchanged,
        kernel: Kernel::Pure(decode_compressed),
        grad: Grad::Missing,
        rows: &[
            "str[\"as it is\"] => str[\"as it is\"]",
            "compression_type='ZLIB'; str \"x\\x9cKL\\x04\\x00\\x01\\x25\\x00\\xc3\" => str \"aa\"",
        ],
    },
];

/// Turns elements of `unit` bytes from big-endian order to the machine's.
fn swap(bytes: &mut [u8], unit: usize) {
    if unit > 1 {
        bytes.chunks_exact_mut(unit).for_each(<[u8]>::reverse);
    }
}

/// The bytes of a part that has an order of its own: half a complex number.
fn unit(dtype: DType) -> usize {
    dtype.real().size()
}

fn finish(dtype: DType, dims: &[usize], mut bytes: Vec<u8>, little_endian: bool) -> Result<Tensor> {
    if !little_endian {
        swap(&mut bytes, unit(dtype));
    }
    if dtype == DType::Bool {
        bytes.iter_mut().for_each(|b| *b = u8::from(*b != 0));
    }
    Tensor::from_le_bytes(dtype, dims, &bytes)
}

fn decode_raw(ctx: &mut KernelCtx) -> Result<()> {
    let dtype = ctx.node().dtype("out_type")?;
    let little_endian = ctx.node().boolean("little_endian")?;
    let output = {
        let input = ctx.input(0)?;
        let strings = input.strings()?;
        let mut dims = input.dims().to_vec();
        let length = strings.first().map_or(0, Bytes::len);
        if let Some((at, other)) = strings.iter().enumerate().find(|(_, s)| s.len() != length) {
            bail!(
                InvalidArgument,
                "DecodeRaw requires input strings to all be the same size, but element {at} has size {} != {length}",
                other.len()
            );
        }
        if length % dtype.size() != 0 {
            bail!(
                InvalidArgument,
                "Input to DecodeRaw has length {length} that is not a multiple of {}, the size of {dtype}",
                dtype.size()
            );
        }
        dims.push(length / dtype.size());
        finish(dtype, &dims, strings.concat(), little_endian)?
    };
    ctx.set(0, output)
}

fn decode_padded_raw(ctx: &mut KernelCtx) -> Result<()> {
    let dtype = ctx.node().dtype("out_type")?;
    let little_endian = ctx.node().boolean("little_endian")?;
    let output = {
        let (input, length) = (ctx.input(0)?, ctx.input(1)?);
        if length.rank() != 0 {
            bail!(InvalidArgument, "k must be scalar, got shape {}", length.shape());
        }
        let length = length.item_i64()?;
        let Some(width) = usize::try_from(length).ok().filter(|&l| l > 0 && l % dtype.size() == 0) else {
            bail!(
                InvalidArgument,
                "fixed_length ({length}) must be greater than zero and a multiple of the size of out_type ({})",
                dtype.size()
            );
        };
        let strings = input.strings()?;
        let mut bytes = Vec::new();
        if bytes.try_reserve(strings.len().saturating_mul(width)).is_err() {
            bail!(ResourceExhausted, "OOM when allocating {} rows of {width} bytes", strings.len());
        }
        for (row, string) in strings.iter().enumerate() {
            bytes.extend_from_slice(&string[..string.len().min(width)]);
            bytes.resize((row + 1) * width, 0);
        }
        let mut dims = input.dims().to_vec();
        dims.push(width / dtype.size());
        finish(dtype, &dims, bytes, little_endian)?
    };
    ctx.set(0, output)
}

fn decode_compressed(ctx: &mut KernelCtx) -> Result<()> {
    let kind = ctx.node().string("compression_type")?;
    let output = {
        let input = ctx.input(0)?;
        let inflate = |bytes: &Bytes| -> Result<Bytes> {
            let mut out = Vec::new();
            let read = match kind {
                "" => return Ok(bytes.clone()),
                "ZLIB" => flate2::read::ZlibDecoder::new(&bytes[..]).read_to_end(&mut out),
                "GZIP" => flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut out),
                other => bail!(InvalidArgument, "Only ZLIB, GZIP or NONE are supported compressions, got {other}"),
            };
            read.map_err(|e| Error::data_loss(format!("can't inflate {} bytes: {e}", bytes.len())))?;
            Ok(out.into())
        };
        Tensor::from_strings(input.dims(), input.strings()?.iter().map(inflate).collect::<Result<_>>()?)?
    };
    ctx.set(0, output)
}

impl Graph {
    /// The bytes of strings, all of one length, as elements of a type (`tf.io.decode_raw`): one more dimension.
    ///
    /// # Errors
    /// `InvalidArgument` for a tensor that holds no strings.
    pub fn decode_raw(&self, input_bytes: Output, out_type: DType) -> Result<Output> {
        self.op("DecodeRaw").input(input_bytes).attr("out_type", out_type).output()
    }
}
