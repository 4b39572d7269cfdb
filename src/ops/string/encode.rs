//! Base64, in the alphabet that URLs bear.

use super::map;
use crate::error::{Error, Result};
use crate::graph::op::{Grad, Kernel, KernelCtx, Op};
use crate::ops::shape;
use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "EncodeBase64",
        ins: &["input: string"],
        outs: &["output: string"],
        attrs: &["pad: bool = false"],
        shape: shape::unchanged,
        kernel: Kernel::Pure(encode),
        grad: Grad::None("strings"),
        rows: &["str[\"a\" \"\"] => str[\"YQ\" \"\"]", "pad=true; str \"a\" => str \"YQ==\""],
    },
    Op {
        name: "DecodeBase64",
        ins: &["input: string"],
        outs: &["output: string"],
        attrs: &[],
        shape: shape::unchanged,
        kernel: Kernel::Pure(decode),
        grad: Grad::None("strings"),
        rows: &["str[\"YQ==\" \"YQ\"] => str[\"a\" \"a\"]"],
    },
];

fn engine(pad: bool, decoding: DecodePaddingMode) -> GeneralPurpose {
    let config = GeneralPurposeConfig::new()
        .with_encode_padding(pad)
        .with_decode_padding_mode(decoding)
        .with_decode_allow_trailing_bits(true);
    GeneralPurpose::new(&URL_SAFE, config)
}

fn encode(ctx: &mut KernelCtx) -> Result<()> {
    let engine = engine(ctx.node().boolean("pad")?, DecodePaddingMode::Indifferent);
    map(ctx, |s| Ok(Bytes::from(engine.encode(s))))
}

fn decode(ctx: &mut KernelCtx) -> Result<()> {
    // Padding may be left out, but where it is there it must be whole.
    let (padded, bare) = (engine(true, DecodePaddingMode::RequireCanonical), engine(true, DecodePaddingMode::RequireNone));
    let bad = |e: base64::DecodeError| Error::invalid_argument(format!("Invalid character found in base64: {e}"));
    map(ctx, |s| if s.ends_with(b"=") { &padded } else { &bare }.decode(s).map(Bytes::from).map_err(bad))
}
