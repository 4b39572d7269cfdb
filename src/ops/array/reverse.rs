//! Reversed and rotated dimensions, and one-hot vectors.

use super::items::{Item, View, moved, read_view, row_major};
use super::resolve_axis;
use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::graph::{Graph, Output};
use crate::ops::convert::Arg;
use crate::tensor::{DType, Dims, Shape, Tensor};

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "Reverse",
        ins: &["tensor: T", "dims: bool"],
        outs: &["output: T"],
        attrs: &[
            "T: {uint8, int8, uint16, int16, uint32, int32, uint64, int64, bool, bfloat16, half, float, double, complex64, complex128, string}",
        ],
        shape: |ctx| {
            let (input, dims) = (ctx.input(0), ctx.input(1).with_rank(1)?);
            let rank = dims.dim(0).or(input.rank());
            ctx.set(0, rank.map_or(Ok(Shape::unknown()), |r| input.with_rank(r))?)
        },
        kernel: Kernel::Pure(|ctx| {
            let (input, flags) = (ctx.input(0)?, ctx.input(1)?);
            if flags.rank() != 1 || flags.len() != input.rank() {
                bail!(InvalidArgument, "'dims' must have shape [{}], got {:?}", input.rank(), flags.dims());
            }
            let output = reversed(input, flags.as_slice::<bool>()?)?;
            ctx.set(0, output)
        }),
        grad: Grad::Fn(|g, op, grads| {
            let grad = grads.dense(g, 0)?;
            Ok(vec![Some(g.op("Reverse").input(grad).input(g.input(op, 1)?).output()?.into()), None])
        }),
        rows: &["f32[[1 2] [3 4]], bool[false true] => f32[[2 1] [4 3]]"],
    },
    Op {
        name: "ReverseV2",
        ins: &["tensor: T", "axis: Tidx"],
        outs: &["output: T"],
        attrs: &[
            "Tidx: {int32, int64} = DT_INT32",
            "T: {uint8, int8, uint16, int16, int32, uint32, int64, uint64, bool, bfloat16, half, float, double, complex64, complex128, string}",
        ],
        shape: reverse_v2_shape,
        kernel: Kernel::Pure(|ctx| {
            let (input, axes) = (ctx.input(0)?, ctx.input(1)?);
            if axes.rank() != 1 {
                bail!(InvalidArgument, "'axis' must be 1-dimension, not {}", axes.rank());
            }
            let output = match input.is_empty() || input.rank() == 0 {
                true => input.clone(),
                false => reversed(input, &reversed_axes(&axes.to_i64s()?, input.rank())?)?,
            };
            ctx.set(0, output)
        }),
        grad: Grad::Fn(|g, op, grads| {
            let grad = grads.dense(g, 0)?;
            Ok(vec![Some(g.op("ReverseV2").input(grad).input(g.input(op, 1)?).output()?.into()), None])
        }),
        rows: &["f32[[1 2] [3 4]], i32[0 -1] => f32[[4 3] [2 1]]", "str[\"a\" \"b\"], i64[0] => str[\"b\" \"a\"]"],
    },
    Op {
        name: "ReverseSequence",
        ins: &["input: T", "seq_lengths: Tlen"],
        outs: &["output: T"],
        attrs: &["seq_dim: int", "batch_dim: int = 0", "T: type", "Tlen: {int32, int64} = DT_INT64"],
        shape: reverse_sequence_shape,
        kernel: Kernel::Pure(reverse_sequence_kernel),
        grad: Grad::Fn(|g, op, grads| {
            let grad = grads.dense(g, 0)?;
            let (seq, batch) = (g.int_attr(op, "seq_dim")?, g.int_attr(op, "batch_dim")?);
            Ok(vec![Some(g.reverse_sequence(grad, g.input(op, 1)?, seq, batch)?.into()), None])
        }),
        rows: &[
            "seq_dim=1; f32[[1 2 3] [4 5 6]], i64[2 3] => f32[[2 1 3] [6 5 4]]",
            "seq_dim=0, batch_dim=1; i32[[1 2] [3 4]], i32[0 2] => i32[[1 4] [3 2]]",
        ],
    },
    Op {
        name: "Roll",
        ins: &["input: T", "shift: Tshift", "axis: Taxis"],
        outs: &["output: T"],
        attrs: &["T: type", "Tshift: {int32, int64}", "Taxis: {int32, int64}"],
        shape: |ctx| {
            ctx.input(1).with_rank_at_most(1)?;
            ctx.input(2).with_rank_at_most(1)?;
            ctx.set(0, ctx.input(0).with_rank_at_least(1)?)
        },
        kernel: Kernel::Pure(roll_kernel),
        grad: Grad::Fn(|g, op, grads| {
            let grad = grads.dense(g, 0)?;
            let back = g.op("Neg").input(g.input(op, 1)?).output()?;
            Ok(vec![Some(g.roll(grad, back, g.input(op, 2)?)?.into()), None, None])
        }),
        rows: &[
            "f32[1 2 3 4], i32 1, i32 0 => f32[4 1 2 3]",
            "i32[[1 2 3] [4 5 6]], i64[-1 4], i32[0 -1] => i32[[6 4 5] [3 1 2]]",
        ],
    },
    Op {
        name: "OneHot",
        ins: &["indices: TI", "depth: int32", "on_value: T", "off_value: T"],
        outs: &["output: T"],
        attrs: &["axis: int = -1", "T: type", "TI: {uint8, int8, int32, int64} = DT_INT64"],
        shape: one_hot_shape,
        kernel: Kernel::Pure(one_hot_kernel),
        grad: Grad::None("depends on integers alone"),
        rows: &[
            "i64[0 2 -1], i32 3, f32 5, f32 1 => f32[[5 1 1] [1 1 5] [1 1 1]]",
            "axis=0; i32[1 0], i32 2, str \"a\", str \"b\" => str[[\"b\" \"a\"] [\"a\" \"b\"]]",
        ],
    },
];

/// The tensor with the flagged dimensions reversed.
fn reversed(input: &Tensor, flags: &[bool]) -> Result<Tensor> {
    let mut view = View::of(input.dims());
    for ((&dim, stride), &flag) in input.dims().iter().zip(&mut view.strides).zip(flags) {
        if flag && dim > 1 {
            view.offset += (dim - 1) * stride.unsigned_abs();
            *stride = -*stride;
        }
    }
    if view.strides == row_major(input.dims()) { Ok(input.clone()) } else { read_view(input, &view) }
}

fn reversed_axes(axes: &[i64], rank: usize) -> Result<Vec<bool>> {
    let mut flags = vec![false; rank];
    for (i, &axis) in axes.iter().enumerate() {
        let limit = rank as i64;
        if !(-limit..limit).contains(&axis) {
            bail!(InvalidArgument, "'axis'[{i}] = {axis} is out of valid range [0, {}]", limit - 1);
        }
        if std::mem::replace(&mut flags[axis.rem_euclid(limit) as usize], true) {
            bail!(InvalidArgument, "axis {} specified more than once.", axis.rem_euclid(limit));
        }
    }
    Ok(flags)
}

fn reverse_v2_shape(ctx: &mut InferCtx) -> Result<()> {
    let (input, axes) = (ctx.input(0), ctx.input(1).with_rank(1)?);
    if let (Some(count), Some(rank)) = (axes.dim(0), input.rank())
        && count > rank
    {
        bail!(InvalidArgument, "reverse can't reverse {count} axes of a tensor of rank {rank}");
    }
    if let (Some(axes), Some(rank)) = (ctx.constant(1), input.rank()) {
        reversed_axes(&axes.to_i64s()?, rank)?;
    }
    ctx.set(0, input)
}

fn reverse_sequence_shape(ctx: &mut InferCtx) -> Result<()> {
    let (input, lengths) = (ctx.input(0), ctx.input(1).with_rank(1)?);
    let (seq, batch) = (ctx.int("seq_dim")?, ctx.int("batch_dim")?);
    let Some(rank) = input.rank() else { return ctx.set(0, input) };
    let limit = rank as i64;
    if batch >= limit || batch < 0 {
        bail!(InvalidArgument, "batch_dim must be < input rank: {batch} vs. {rank}");
    }
    if seq >= limit || seq < 0 {
        bail!(InvalidArgument, "seq_dim must be < input rank: {seq} vs. {rank}");
    }
    let merged = Shape::vector(input.dim(batch as isize)).merge(&lengths)?;
    ctx.set(0, input.with_dim(batch as isize, merged.dim(0)))
}

fn reverse_sequence_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let (input, lengths) = (ctx.input(0)?, ctx.input(1)?);
    let (seq, batch) = (ctx.node().int("seq_dim")?, ctx.node().int("batch_dim")?);
    let dims = input.dims();
    let at = |dim: i64| usize::try_from(dim).ok().filter(|&d| d < dims.len());
    let (Some(seq), Some(batch)) = (at(seq), at(batch)) else {
        bail!(InvalidArgument, "batch_dim {batch} and seq_dim {seq} must be within the input's rank {}", dims.len());
    };
    if seq == batch {
        bail!(InvalidArgument, "batch_dim == seq_dim == {seq}");
    }
    if lengths.rank() != 1 || lengths.len() != dims[batch] {
        bail!(InvalidArgument, "Length of seq_lengths != input.dims({batch}), ({} vs. {})", lengths.len(), dims[batch]);
    }
    let lengths = lengths.to_i64s()?;
    for (i, &length) in lengths.iter().enumerate() {
        if length < 0 {
            bail!(InvalidArgument, "seq_lens({i}) < 0");
        }
        if length > dims[seq] as i64 {
            bail!(InvalidArgument, "seq_lens({i}) > input.dims({seq})");
        }
    }
    let (first, second) = (batch.min(seq), batch.max(seq));
    let outer: usize = dims[..first].iter().product();
    let middle: usize = dims[first + 1..second].iter().product();
    let inner: usize = dims[second + 1..].iter().product();
    let (rows, columns) = (dims[first], dims[second]);
    let output = moved!(input.dtype(), T => {
        let from = T::of(input)?;
        T::build(input.dtype(), dims, |to| {
            let place = |o: usize, a: usize, m: usize, b: usize| (((o * rows + a) * middle + m) * columns + b) * inner;
            for o in 0..outer {
                for a in 0..rows {
                    for m in 0..middle {
                        for b in 0..columns {
                            let (item, step) = if batch == first { (a, b) } else { (b, a) };
                            let length = lengths[item] as usize;
                            let source = if step < length { length - 1 - step } else { step };
                            let start = if batch == first { place(o, a, m, source) } else { place(o, source, m, b) };
                            to[place(o, a, m, b)..][..inner].clone_from_slice(&from[start..start + inner]);
                        }
                    }
                }
            }
            Ok(())
        })
    })?;
    ctx.set(0, output)
}

fn roll_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let (input, shift, axis) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    if input.rank() < 1 {
        bail!(InvalidArgument, "input must be 1-D or higher");
    }
    if shift.rank() > 1 || axis.rank() > 1 || shift.dims() != axis.dims() {
        bail!(
            InvalidArgument,
            "shift and axis must be scalars or vectors of the same size, got shapes {:?} and {:?}",
            shift.dims(),
            axis.dims()
        );
    }
    let mut total = vec![0i64; input.rank()];
    for (&shift, &axis) in shift.to_i64s()?.iter().zip(&axis.to_i64s()?) {
        let at = resolve_axis(axis, input.rank(), "axis must be")?;
        let size = input.dims()[at].max(1) as i64;
        total[at] = (total[at] + shift.rem_euclid(size)) % size;
    }
    let mut output = input.clone();
    for (axis, &shift) in total.iter().enumerate() {
        if shift != 0 {
            let size = input.dims()[axis];
            let start = size - shift as usize;
            let places: Vec<usize> = (start..size).chain(0..start).collect();
            output = super::gather::take(&output, axis, &places)?;
        }
    }
    ctx.set(0, output)
}

fn one_hot_shape(ctx: &mut InferCtx) -> Result<()> {
    ctx.input(1).with_rank(0)?;
    ctx.input(2).with_rank(0)?;
    ctx.input(3).with_rank(0)?;
    let axis = ctx.int("axis")?;
    if axis < -1 {
        bail!(InvalidArgument, "axis must be >= -1");
    }
    let depth = ctx.constant(1).map(|d| d.item_i64()).transpose()?;
    if depth.is_some_and(|d| d < 0) {
        bail!(InvalidArgument, "depth must be non-negative, got: {}", depth.unwrap_or(0));
    }
    let indices = ctx.input(0);
    let Some(rank) = indices.rank() else { return ctx.set(0, Shape::unknown()) };
    let axis = if axis == -1 { rank as i64 } else { axis };
    if axis > rank as i64 {
        bail!(InvalidArgument, "axis must be < {}, got {axis}", rank + 1);
    }
    let depth = depth.and_then(|d| usize::try_from(d).ok());
    let axis = axis as isize;
    ctx.set(0, indices.slice(0, axis).push(depth).concatenate(&indices.slice_from(axis)))
}

fn one_hot_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let (indices, depth, on, off) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?, ctx.input(3)?);
    let axis = ctx.node().int("axis")?;
    let rank = indices.rank();
    if !(-1..=rank as i64).contains(&axis) {
        bail!(InvalidArgument, "Expected axis to be -1 or between [0, {}).  But received: {axis}", rank + 1);
    }
    for (name, input) in [("depth", depth), ("on_value", on), ("off_value", off)] {
        if input.rank() != 0 {
            bail!(InvalidArgument, "{name} must be a scalar, but got: {:?}", input.dims());
        }
    }
    let Ok(depth) = usize::try_from(depth.item_i64()?) else {
        bail!(InvalidArgument, "depth must be non-negative, got: {}", depth.item_i64()?);
    };
    let axis = if axis == -1 { rank } else { axis as usize };
    let mut dims = Dims::from_slice(indices.dims());
    dims.insert(axis, depth);
    let inner: usize = indices.dims()[axis..].iter().product();
    let places = indices.to_i64s()?;
    let output = moved!(on.dtype(), T => {
        let (on, off) = (&T::of(on)?[0], &T::of(off)?[0]);
        T::build(ctx.node().output_types[0], &dims, |to| {
            to.fill(off.clone());
            for (i, &place) in places.iter().enumerate() {
                if let Some(place) = usize::try_from(place).ok().filter(|&p| p < depth) {
                    to[(i / inner * depth + place) * inner + i % inner] = on.clone();
                }
            }
            Ok(())
        })
    })?;
    ctx.set(0, output)
}

/// The options of [`Graph::one_hot`].
#[derive(Clone, Debug, Default)]
pub struct OneHot {
    /// The value at the index; 1 if none is given.
    pub on_value: Option<Arg>,
    /// The value elsewhere; 0 if none is given.
    pub off_value: Option<Arg>,
    /// Where the new dimension stands; last if none is given.
    pub axis: Option<i64>,
    /// The dtype; that of the values, or float32 where there are none.
    pub dtype: Option<DType>,
}

impl Graph {
    /// The tensor with these dimensions reversed (`tf.reverse`).
    ///
    /// # Errors
    /// `InvalidArgument` for an axis out of range or given twice.
    pub fn reverse(&self, tensor: Output, axis: impl Into<Arg>) -> Result<Output> {
        self.call("ReverseV2").arg(tensor).arg(axis).output()
    }

    /// The tensor with the first `seq_lengths[i]` entries along `seq_axis` reversed, for entry `i` along `batch_axis`
    /// (`tf.reverse_sequence`).
    ///
    /// # Errors
    /// `InvalidArgument` for axes out of range or equal.
    pub fn reverse_sequence(&self, input: Output, seq_lengths: impl Into<Arg>, seq_axis: i64, batch_axis: i64) -> Result<Output> {
        let call = self.call("ReverseSequence").arg(input).arg(seq_lengths);
        call.attr("seq_dim", seq_axis).attr("batch_dim", batch_axis).output()
    }

    /// The tensor with the elements moved on by `shift` along `axis`, those at the end to the beginning (`tf.roll`).
    ///
    /// # Errors
    /// `InvalidArgument` for an axis out of range.
    pub fn roll(&self, input: Output, shift: impl Into<Arg>, axis: impl Into<Arg>) -> Result<Output> {
        self.call("Roll").arg(input).arg(shift).arg(axis).output()
    }

    /// For each index a vector of `depth` values: 1 at the index and 0 elsewhere (`tf.one_hot`).
    ///
    /// # Errors
    /// `InvalidArgument` for values of different dtypes, or an axis out of range.
    pub fn one_hot(&self, indices: impl Into<Arg>, depth: impl Into<Arg>, options: OneHot) -> Result<Output> {
        let (g, scope) = self.enter("one_hot")?;
        let hinted = |value: &Arg, hint: Option<DType>| -> Result<Output> {
            let hint = hint.filter(|&h| matches!(value.value(), Ok(Some(v)) if crate::ops::convert::cast_value(&v, h).is_ok()));
            g.convert(value, hint, "Const")
        };
        let on = options.on_value.map(|v| hinted(&v, options.dtype)).transpose()?;
        let off = options.off_value.map(|v| hinted(&v, options.dtype)).transpose()?;
        let given = on.or(off).map(|v| g.dtype(v)).transpose()?;
        let dtype = options.dtype.or(given).unwrap_or(DType::Float);
        let on = on.map_or_else(|| g.convert(&Arg::from(1i32), Some(dtype), "on_value"), Ok)?;
        let off = off.map_or_else(|| g.convert(&Arg::from(0i32), Some(dtype), "off_value"), Ok)?;
        for value in [on, off] {
            if g.dtype(value)? != dtype {
                bail!(InvalidArgument, "dtype {} of on_value or off_value does not match dtype {dtype}", g.dtype(value)?);
            }
        }
        let call = g.named(scope.name()).call("OneHot").arg(indices).arg(depth).arg(on).arg(off);
        call.attr("axis", options.axis.unwrap_or(-1)).output()
    }

    /// For each length a row that is true in as many places, the others false (`tf.sequence_mask`). Without `maxlen` the
    /// rows are as long as the greatest length.
    ///
    /// # Errors
    /// `InvalidArgument` for lengths that aren't integers, or a `maxlen` that is no scalar.
    pub fn sequence_mask(&self, lengths: impl Into<Arg>, maxlen: Option<Arg>, dtype: DType) -> Result<Output> {
        let (g, _scope) = self.enter("SequenceMask")?;
        let lengths = g.convert(&lengths.into(), None, "Const")?;
        let maxlen = match maxlen {
            Some(maxlen) => g.convert(&maxlen, None, "Const")?,
            None => {
                let axes = match g.shape(lengths)?.rank() {
                    Some(rank) => g.constant(Tensor::from((0..rank as i32).collect::<Vec<_>>()))?,
                    None => {
                        let rank = g.rank(lengths)?;
                        g.call("Range").arg(0i32).arg(rank).arg(1i32).output()?
                    }
                };
                let longest = g.op("Max").input(lengths).input(axes).attr("keep_dims", false).output()?;
                let zero = g.constant(super::scalar_of(g.dtype(longest)?, 0)?)?;
                g.op("Maximum").input(zero).input(longest).output()?
            }
        };
        if g.shape(maxlen)?.rank().is_some_and(|r| r != 0) {
            bail!(InvalidArgument, "Argument `maxlen` must be scalar for sequence_mask, received shape {}", g.shape(maxlen)?);
        }
        let own = g.dtype(maxlen)?;
        let (zero, one) = (g.constant(super::scalar_of(own, 0)?)?, g.constant(super::scalar_of(own, 1)?)?);
        let row = g.op("Range").input(zero).input(maxlen).input(one).output()?;
        let column = g.expand_dims(lengths, -1i32)?;
        let column = g.op("Cast").input(column).attr("DstT", own).output()?;
        let mask = g.op("Less").input(row).input(column).output()?;
        g.cast(mask, dtype)
    }
}
