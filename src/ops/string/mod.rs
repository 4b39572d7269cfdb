//! Strings: joining, splitting, slicing, case, numbers, hashes, regular expressions, base64, Unicode.

mod basic;
mod encode;
mod hash;
mod join;
mod number;
mod printf;
mod regex;
mod split;
pub(super) mod summary;
mod unicode;

use crate::error::Result;
use crate::graph::op::{KernelCtx, Op};
use crate::tensor::Tensor;
use bytes::Bytes;

pub(super) use hash::hash64;

/// The families within, for the registry.
pub(super) static FAMILIES: &[&[Op]] = &[basic::OPS, encode::OPS, hash::OPS, join::OPS, number::OPS, regex::OPS, split::OPS, unicode::OPS];

/// Sets output 0 to the strings of input 0, each changed.
fn map(ctx: &mut KernelCtx, change: impl Fn(&Bytes) -> Result<Bytes>) -> Result<()> {
    let input = ctx.input(0)?;
    let strings = input.strings()?.iter().map(change).collect::<Result<Vec<Bytes>>>()?;
    let output = Tensor::from_strings(input.dims(), strings)?;
    ctx.set(0, output)
}
