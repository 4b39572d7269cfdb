//! Strings: joining, splitting, slicing, case, numbers, hashes, regular expressions, base64, Unicode.

pub(super) mod basic;
pub(super) mod encode;
pub(super) mod hash;
pub(super) mod join;
pub(super) mod number;
mod printf;
pub(super) mod regex;
pub(super) mod split;
pub(super) mod summary;
pub(super) mod unicode;

use crate::error::Result;
use crate::graph::op::KernelCtx;
use crate::tensor::Tensor;
use bytes::Bytes;

/// Sets output 0 to the strings of input 0, each changed.
fn map(ctx: &mut KernelCtx, change: impl Fn(&Bytes) -> Result<Bytes>) -> Result<()> {
    let input = ctx.input(0)?;
    let strings = input.strings()?.iter().map(change).collect::<Result<Vec<Bytes>>>()?;
    let output = Tensor::from_strings(input.dims(), strings)?;
    ctx.set(0, output)
}
