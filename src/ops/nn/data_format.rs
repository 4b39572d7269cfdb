//! Positions and vectors of one data format in another.

use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, NodeInfo, Op, PrepareCtx, Prepared};
use crate::ops::shape;
use crate::tensor::{Tensor, dispatch};

const ATTRS: &[&str] = &["T: {int32, int64} = DT_INT32", "src_format: string = 'NHWC'", "dst_format: string = 'NCHW'"];

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "DataFormatDimMap",
        ins: &["x: T"],
        outs: &["y: T"],
        attrs: ATTRS,
        shape: shape::unchanged,
        kernel: Kernel::PurePrepared(prepare_dim_map),
        grad: Grad::Missing,
        rows: &["i32[0 1 -1] => i32[0 2 1]", "src_format='NCHW', dst_format='NHWC'; i64 1 => i64 3"],
    },
    Op {
        name: "DataFormatVecPermute",
        ins: &["x: T"],
        outs: &["y: T"],
        attrs: ATTRS,
        shape: permute_shape,
        kernel: Kernel::PurePrepared(prepare_permute),
        grad: Grad::Missing,
        rows: &[
            "i32[7 4 9 3] => i32[7 3 4 9]",
            "i32[4 9] => i32[4 9]",
            "src_format='NHWC', dst_format='HWNC'; i32[[1 2] [3 4] [5 6] [7 8]] => i32[[3 4] [5 6] [1 2] [7 8]]",
        ],
    },
];

/// The two formats, permutations of the same letters.
fn formats(node: &NodeInfo) -> Result<(Vec<u8>, Vec<u8>)> {
    let (source, target) = (node.string("src_format")?.as_bytes().to_vec(), node.string("dst_format")?.as_bytes().to_vec());
    for (what, format) in [("Source", &source), ("Destination", &target)] {
        if format.len() != 4 && format.len() != 5 {
            bail!(InvalidArgument, "{what} format must be of length 4 or 5, received {}", String::from_utf8_lossy(format));
        }
    }
    let (mut a, mut b) = (source.clone(), target.clone());
    a.sort_unstable();
    b.sort_unstable();
    if a != b || a.windows(2).any(|pair| pair[0] == pair[1]) {
        bail!(
            InvalidArgument,
            "Destination and source format must determine a permutation, got {} and {}",
            String::from_utf8_lossy(&source),
            String::from_utf8_lossy(&target)
        );
    }
    Ok((source, target))
}

/// Where each letter of one list stands in another.
fn places(letters: &[u8], within: &[u8]) -> Vec<usize> {
    letters.iter().filter_map(|letter| within.iter().position(|other| other == letter)).collect()
}

fn prepare_dim_map(ctx: &PrepareCtx) -> Result<Prepared> {
    let (source, target) = formats(ctx.node)?;
    let places = places(&source, &target);
    Ok(Box::new(move |ctx: &mut KernelCtx| {
        let input = ctx.take(0)?;
        let rank = places.len() as i64;
        let mapped = input.to_i64s()?.iter().map(|&p| places[p.rem_euclid(rank) as usize] as i64).collect::<Vec<i64>>();
        let output = dispatch!(input.dtype(), index, T => {
            Tensor::new(input.dims(), mapped.into_iter().map(|v| v as T).collect())?
        });
        ctx.set(0, output)
    }))
}

fn permute_shape(ctx: &mut InferCtx) -> Result<()> {
    let shape = ctx.input(0).with_rank_at_least(1)?.with_rank_at_most(2)?;
    ctx.set(0, shape)
}

fn prepare_permute(ctx: &PrepareCtx) -> Result<Prepared> {
    let (source, target) = formats(ctx.node)?;
    Ok(Box::new(move |ctx: &mut KernelCtx| {
        let input = ctx.take(0)?;
        let (rows, width) = match *input.dims() {
            [rows] => (rows, 1),
            [rows, 2] => (rows, 2),
            ref dims => bail!(InvalidArgument, "input must be a vector or 2D tensor of two columns, but got shape {dims:?}"),
        };
        let spatial = |format: &[u8]| -> Vec<u8> { format.iter().copied().filter(|l| !b"NC".contains(l)).collect() };
        let order = if rows == source.len() {
            places(&target, &source)
        } else if rows + 2 == source.len() {
            places(&spatial(&target), &spatial(&source))
        } else {
            bail!(InvalidArgument, "input must have {} or {} rows, got {rows}", source.len(), source.len() - 2);
        };
        let output = dispatch!(input.dtype(), index, T => {
            let values = input.as_slice::<T>()?;
            Tensor::new(input.dims(), order.iter().flat_map(|&row| &values[row * width..][..width]).copied().collect())?
        });
        ctx.set(0, output)
    }))
}
