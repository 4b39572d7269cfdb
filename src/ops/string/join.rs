//! Joining strings: of several tensors, along axes, by segments.

use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::tensor::{Shape, Tensor};
use bytes::{Bytes, BytesMut};

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "StringJoin",
        ins: &["inputs: N * string"],
        outs: &["output: string"],
        attrs: &["N: int >= 0", "separator: string = ''"],
        shape: join_shape,
        kernel: Kernel::Pure(join),
        grad: Grad::None("strings"),
        rows: &["separator='-'; (str[\"a\" \"b\"], str \"c\") => str[\"a-c\" \"b-c\"]"],
    },
    Op {
        name: "ReduceJoin",
        ins: &["inputs: string", "reduction_indices: int32"],
        outs: &["output: string"],
        attrs: &["keep_dims: bool = false", "separator: string = ''"],
        shape: reduce_join_shape,
        kernel: Kernel::Pure(reduce_join),
        grad: Grad::None("strings"),
        rows: &[
            "str[[\"a\" \"b\"] [\"c\" \"d\"]], i32 0 => str[\"ac\" \"bd\"]",
            "separator='.'; str[[\"a\" \"b\"] [\"c\" \"d\"]], i32[1 0] => str \"a.b.c.d\"",
        ],
    },
    Op {
        name: "UnsortedSegmentJoin",
        ins: &["inputs: string", "segment_ids: Tindices", "num_segments: Tnumsegments"],
        outs: &["output: string"],
        attrs: &["separator: string = ''", "Tindices: {int32, int64}", "Tnumsegments: {int32, int64} = DT_INT32"],
        shape: segment_join_shape,
        kernel: Kernel::Pure(segment_join),
        grad: Grad::None("strings"),
        rows: &["separator=':'; str[\"a\" \"b\" \"c\"], i32[0 1 0], i32 2 => str[\"a:c\" \"b\"]"],
    },
];

fn join_shape(ctx: &mut InferCtx) -> Result<()> {
    let mut shape = Shape::scalar();
    for index in 0..ctx.num_inputs() {
        let input = ctx.input(index);
        if input.rank() != Some(0) {
            shape = if shape.rank() == Some(0) { input } else { shape.merge(&input)? };
        }
    }
    ctx.set(0, shape)
}

fn join(ctx: &mut KernelCtx) -> Result<()> {
    let separator = ctx.node().string("separator")?;
    let mut dims: &[usize] = &[];
    let mut parts = Vec::new();
    for index in 0..ctx.num_inputs() {
        let input = ctx.input(index)?;
        if !input.is_scalar() {
            if !dims.is_empty() && dims != input.dims() {
                bail!(InvalidArgument, "Input shapes do not match: {dims:?} vs. {:?}", input.dims());
            }
            dims = input.dims();
        }
        parts.push((input.strings()?, input.is_scalar()));
    }
    let count = crate::tensor::element_count(dims)?;
    let one = |at: usize| {
        let pieces: Vec<&[u8]> = parts.iter().map(|(s, scalar)| &s[if *scalar { 0 } else { at }][..]).collect();
        Bytes::from(pieces.join(separator.as_bytes()))
    };
    let output = Tensor::from_strings(dims, (0..count).map(one).collect())?;
    ctx.set(0, output)
}

/// Axes without negative numbers, in the order given.
fn axes(indices: &[i64], rank: usize) -> Result<Vec<usize>> {
    let mut axes = Vec::with_capacity(indices.len());
    for &index in indices {
        let axis = if index < 0 { index + rank as i64 } else { index };
        if !(0..rank as i64).contains(&axis) {
            bail!(OutOfRange, "Invalid reduction dimension {index} for input with {rank} dimension(s)");
        }
        if axes.contains(&(axis as usize)) {
            bail!(InvalidArgument, "Duplicate reduction dimension {index}");
        }
        axes.push(axis as usize);
    }
    Ok(axes)
}

fn reduce_join_shape(ctx: &mut InferCtx) -> Result<()> {
    let input = ctx.input(0);
    let keep = ctx.boolean("keep_dims")?;
    let (Some(sizes), Some(indices)) = (input.sizes(), ctx.constant(1)) else {
        return ctx.set(0, if keep { input.rank().map_or(Shape::unknown(), Shape::of_rank) } else { Shape::unknown() });
    };
    let axes = axes(&indices.to_i64s()?, sizes.len())?;
    let reduced = |axis: usize| axes.contains(&axis);
    let mut dims = Vec::new();
    for (axis, &size) in sizes.iter().enumerate() {
        match (reduced(axis), keep) {
            (false, _) => dims.push(size),
            (true, true) => dims.push(Some(1)),
            (true, false) => {}
        }
    }
    ctx.set(0, Shape::from(dims))
}

fn reduce_join(ctx: &mut KernelCtx) -> Result<()> {
    let (separator, keep) = (ctx.node().string("separator")?, ctx.node().boolean("keep_dims")?);
    let (input, indices) = (ctx.input(0)?, ctx.input(1)?);
    let (dims, strings) = (input.dims(), input.strings()?);
    let axes = axes(&indices.to_i64s()?, dims.len())?;
    let stride = |axis: usize| dims[axis + 1..].iter().product::<usize>();
    let kept: Vec<usize> = (0..dims.len()).filter(|a| !axes.contains(a)).collect();
    let offsets = |order: &[usize]| {
        let mut all = vec![0usize];
        for &axis in order {
            all = all
                .iter()
                .flat_map(|&base| (0..dims[axis]).map(move |i| (base, i)))
                .map(|(base, i)| base + i * stride(axis))
                .collect();
        }
        all
    };
    // The first axis is joined first, so it varies fastest.
    let inner = offsets(&axes.iter().rev().copied().collect::<Vec<usize>>());
    let out: Vec<Bytes> = offsets(&kept)
        .iter()
        .map(|base| Bytes::from(inner.iter().map(|o| &strings[base + o][..]).collect::<Vec<&[u8]>>().join(separator.as_bytes())))
        .collect();
    let out_dims: Vec<usize> =
        (0..dims.len()).filter(|a| keep || kept.contains(a)).map(|a| if kept.contains(&a) { dims[a] } else { 1 }).collect();
    let output = Tensor::from_strings(&out_dims, out)?;
    ctx.set(0, output)
}

fn segment_join_shape(ctx: &mut InferCtx) -> Result<()> {
    let ids = ctx.input(1);
    let count = ctx.constant(2).and_then(|c| c.item_i64().ok()).and_then(|c| usize::try_from(c).ok());
    let rest = match ids.rank() {
        Some(rank) => ctx.input(0).slice_from(rank as isize),
        None => Shape::unknown(),
    };
    ctx.set(0, Shape::vector(count).concatenate(&rest))
}

fn segment_join(ctx: &mut KernelCtx) -> Result<()> {
    let separator = ctx.node().string("separator")?;
    let (input, ids, count) = (ctx.input(0)?, ctx.input(1)?, ctx.int_input(2)?);
    if !input.dims().starts_with(ids.dims()) {
        bail!(InvalidArgument, "segment_ids' shape {:?} must be a prefix of data.shape {:?}", ids.dims(), input.dims());
    }
    let Ok(count) = usize::try_from(count) else { bail!(InvalidArgument, "num_segments should be >= 0, got {count}") };
    let rest = &input.dims()[ids.rank()..];
    let row: usize = rest.iter().product();
    let mut dims = vec![count];
    dims.extend_from_slice(rest);
    let mut out = vec![BytesMut::new(); crate::tensor::element_count(&dims)?];
    let strings = input.strings()?;
    for (at, &id) in ids.to_i64s()?.iter().enumerate() {
        if id < 0 {
            continue;
        }
        if id as usize >= count {
            bail!(InvalidArgument, "segment id {id} at index {at} is not less than num_segments {count}");
        }
        for column in 0..row {
            let piece = &strings[at * row + column];
            let text = &mut out[id as usize * row + column];
            if !text.is_empty() {
                text.extend_from_slice(separator.as_bytes());
            }
            text.extend_from_slice(piece);
        }
    }
    let output = Tensor::from_strings(&dims, out.into_iter().map(BytesMut::freeze).collect())?;
    ctx.set(0, output)
}
