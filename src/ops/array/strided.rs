//! Python's slices: `x[1:3, ..., None, 0]`.

use super::items::{View, read_view_as, row_major, write_view};
use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, NodeInfo, Op, PrepareCtx, Prepared};
use crate::graph::{Gradient, Grads, Graph, Operation, Output};
use crate::ops::convert::Arg;
use crate::tensor::{DType, Dims, Shape, Tensor};
use smallvec::SmallVec;

const ATTRS: &[&str] = &[
    "T: type",
    "Index: {int16, int32, int64}",
    "begin_mask: int = 0",
    "end_mask: int = 0",
    "ellipsis_mask: int = 0",
    "new_axis_mask: int = 0",
    "shrink_axis_mask: int = 0",
];

const WIDE_ATTRS: &[&str] = &[
    "T: type",
    "Index: {int32, int64}",
    "begin_mask: int = 0",
    "end_mask: int = 0",
    "ellipsis_mask: int = 0",
    "new_axis_mask: int = 0",
    "shrink_axis_mask: int = 0",
];

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "StridedSlice",
        ins: &["input: T", "begin: Index", "end: Index", "strides: Index"],
        outs: &["output: T"],
        attrs: ATTRS,
        shape: strided_slice_shape,
        kernel: Kernel::PurePrepared(prepare_strided_slice),
        grad: Grad::Fn(strided_slice_grad),
        rows: &[
            "f32[1 2 3 4], i32[1], i32[3], i32[1] => f32[2 3]",
            "f32[1 2 3 4], i32[-1], i32[-5], i32[-2] => f32[4 2]",
            "shrink_axis_mask=1; f32[[1 2] [3 4]], i32[-1], i32[0], i32[1] => f32[3 4]",
            "new_axis_mask=1, ellipsis_mask=2; f32[1 2], i32[0 0], i32[0 0], i32[1 1] => f32[[1 2]]",
            "begin_mask=1, end_mask=1; f32[1 2 3], i32[0], i32[0], i32[-1] => f32[3 2 1]",
        ],
    },
    Op {
        name: "StridedSliceGrad",
        ins: &["shape: Index", "begin: Index", "end: Index", "strides: Index", "dy: T"],
        outs: &["output: T"],
        attrs: WIDE_ATTRS,
        shape: |ctx| {
            let shape = ctx.constant_shape(0);
            ctx.set(0, shape)
        },
        kernel: Kernel::Pure(strided_slice_grad_kernel),
        grad: Grad::Fn(strided_slice_grad_grad),
        rows: &["i32[4], i32[1], i32[3], i32[1], f32[5 6] => f32[0 5 6 0]"],
    },
    Op {
        name: "StridedSliceAssign",
        ins: &["ref: Ref(T)", "begin: Index", "end: Index", "strides: Index", "value: T"],
        outs: &["output_ref: Ref(T)"],
        attrs: WIDE_ATTRS,
        shape: |ctx| ctx.set(0, ctx.input(0)),
        kernel: Kernel::Stateful(strided_slice_assign_kernel),
        grad: Grad::Missing,
        rows: &[],
    },
    Op {
        name: "TensorStridedSliceUpdate",
        ins: &["input: T", "begin: Index", "end: Index", "strides: Index", "value: T"],
        outs: &["output: T"],
        attrs: WIDE_ATTRS,
        shape: |ctx| ctx.set(0, ctx.input(0)),
        kernel: Kernel::Pure(|ctx| {
            let input = ctx.take(0)?;
            let updated = strided_assign(input, ctx.node(), ctx.input(1)?, ctx.input(2)?, ctx.input(3)?, ctx.input(4)?)?;
            ctx.set(0, updated)
        }),
        grad: Grad::Fn(tensor_strided_slice_update_grad),
        rows: &["f32[1 2 3 4], i32[1], i32[3], i32[1], f32[9] => f32[1 9 9 4]"],
    },
];

/// Which parts of a slice are left out or stand for something else; one bit for each part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StridedSliceMasks {
    /// The part has no begin.
    pub begin: i64,
    /// The part has no end.
    pub end: i64,
    /// The part is `...`; at most one is.
    pub ellipsis: i64,
    /// The part is a new dimension of size 1.
    pub new_axis: i64,
    /// The part is a single position, whose dimension is dropped.
    pub shrink_axis: i64,
}

impl StridedSliceMasks {
    fn of(node: &NodeInfo) -> Result<StridedSliceMasks> {
        StridedSliceMasks::read(|name| node.int(name))
    }

    fn read(int: impl Fn(&str) -> Result<i64>) -> Result<StridedSliceMasks> {
        Ok(StridedSliceMasks {
            begin: int("begin_mask")?,
            end: int("end_mask")?,
            ellipsis: int("ellipsis_mask")?,
            new_axis: int("new_axis_mask")?,
            shrink_axis: int("shrink_axis_mask")?,
        })
    }
}

/// What a slice does with one dimension of the result.
enum Kept {
    /// The dimension of the input.
    Dim(usize),
    NewAxis,
}

/// One dimension of the input, sliced; `size` is -1 where it isn't known.
#[derive(Clone, Copy)]
struct Axis {
    begin: i64,
    stride: i64,
    size: i64,
}

struct Resolved {
    axes: SmallVec<[Axis; 4]>,
    kept: SmallVec<[Kept; 4]>,
}

impl Resolved {
    /// The dimensions of the result, -1 where unknown.
    fn dims(&self) -> impl Iterator<Item = i64> {
        self.kept.iter().map(|k| match k {
            Kept::Dim(i) => self.axes[*i].size,
            Kept::NewAxis => 1,
        })
    }

    /// The dimensions of the result, all of which are known.
    fn known_dims(&self) -> Dims {
        self.dims().map(|d| d.max(0) as usize).collect()
    }

    /// The places that are sliced, in an input of these dimensions.
    fn view(&self, input: &[usize]) -> View {
        let own = row_major(input);
        let mut view = View { dims: Dims::new(), strides: Default::default(), offset: 0 };
        for (axis, &stride) in self.axes.iter().zip(&own) {
            view.dims.push(axis.size.max(0) as usize);
            view.strides.push(stride * axis.stride as isize);
            view.offset = view.offset.wrapping_add_signed(stride * axis.begin as isize);
        }
        view
    }
}

/// Resolves a slice of an input of these sizes (-1 where unknown), where `begin` and `end` may be unknown too.
fn resolve(
    input: &[i64],
    begin: Option<&[i64]>,
    end: Option<&[i64]>,
    strides: &[i64],
    masks: StridedSliceMasks,
) -> Result<Resolved> {
    let count = strides.len();
    if count > 32 || begin.is_some_and(|b| b.len() != count) || end.is_some_and(|e| e.len() != count) {
        bail!(
            InvalidArgument,
            "Expected begin, end, and strides to be 1D equal size tensors of at most 32, but got {:?}, {:?} and {count} elements",
            begin.map(<[i64]>::len),
            end.map(<[i64]>::len)
        );
    }
    let bit = |mask: i64, i: usize| mask >> i & 1 == 1;
    let rank = input.len();
    let ellipses = (0..count).filter(|&i| bit(masks.ellipsis, i)).count();
    if ellipses > 1 {
        bail!(InvalidArgument, "Multiple ellipses in slice spec not allowed");
    }
    let first_ellipsis = (0..count).find(|&i| bit(masks.ellipsis, i)).unwrap_or(count);
    let new_after = (first_ellipsis + 1..count).filter(|&i| bit(masks.new_axis, i)).count();
    let mut out = Resolved { axes: SmallVec::new(), kept: SmallVec::new() };
    let parts = count.max(first_ellipsis + 1);
    for i in 0..parts {
        let at = out.axes.len();
        if i == first_ellipsis {
            let next = (rank + 1 + new_after).saturating_sub(parts - i).min(rank);
            for (axis, &size) in input.iter().enumerate().take(next).skip(at) {
                out.axes.push(Axis { begin: 0, stride: 1, size });
                out.kept.push(Kept::Dim(axis));
            }
            continue;
        }
        if bit(masks.new_axis, i) {
            out.kept.push(Kept::NewAxis);
            continue;
        }
        let Some(&size) = input.get(at) else {
            bail!(InvalidArgument, "Index out of range using input dim {at}; input has only {rank} dims");
        };
        let shrink = bit(masks.shrink_axis, i);
        let part = Part {
            begin: begin.map(|b| b[i]),
            end: end.map(|e| e[i]),
            stride: strides[i],
            no_begin: bit(masks.begin, i),
            no_end: bit(masks.end, i),
            shrink,
        };
        out.axes.push(part.resolve(at, size)?);
        if !shrink {
            out.kept.push(Kept::Dim(at));
        }
    }
    Ok(out)
}

struct Part {
    begin: Option<i64>,
    end: Option<i64>,
    stride: i64,
    no_begin: bool,
    no_end: bool,
    shrink: bool,
}

impl Part {
    fn resolve(&self, at: usize, size: i64) -> Result<Axis> {
        let stride = self.stride;
        if stride == 0 {
            bail!(InvalidArgument, "strides[{at}] must be non-zero");
        }
        if self.shrink && stride < 0 {
            bail!(InvalidArgument, "only stride 1 allowed on non-range indexing.");
        }
        if size < 0 {
            return Ok(Axis { begin: 0, stride, size: if self.shrink { 1 } else { -1 } });
        }
        let (low, high) = if stride > 0 { (0, size) } else { (-1, size - 1) };
        let forward = |x: i64| if x < 0 { x.saturating_add(size) } else { x };
        if self.shrink {
            let Some(begin) = self.begin else { return Ok(Axis { begin: 0, stride: 1, size: 1 }) };
            let place = forward(begin);
            if !(0..size).contains(&place) {
                bail!(InvalidArgument, "slice index {begin} of dimension {at} out of bounds.");
            }
            return Ok(Axis { begin: place, stride: 1, size: 1 });
        }
        let begin = match self.begin {
            _ if self.no_begin => Some(if stride > 0 { low } else { high }),
            other => other.map(|b| forward(b).clamp(low, high)),
        };
        let end = match self.end {
            _ if self.no_end => Some(if stride > 0 { high } else { low }),
            other => other.map(|e| forward(e).clamp(low, high)),
        };
        let (Some(begin), Some(end)) = (begin, end) else { return Ok(Axis { begin: 0, stride, size: -1 }) };
        let length = end - begin;
        if length == 0 || (length < 0) != (stride < 0) {
            return Ok(Axis { begin: 0, stride, size: 0 });
        }
        Ok(Axis { begin, stride, size: length / stride + i64::from(length % stride != 0) })
    }
}

fn strided_slice_shape(ctx: &mut InferCtx) -> Result<()> {
    let mut spec = ctx.input(1).with_rank(1)?;
    for i in 2..4 {
        spec = spec.merge(&ctx.input(i).with_rank(1)?)?;
    }
    let input = ctx.input(0);
    let (Some(dims), Some(strides), Some(_)) = (input.signed(), ctx.constant(3), spec.dim(0)) else {
        return ctx.set(0, Shape::unknown());
    };
    let masks = StridedSliceMasks::read(|name| ctx.int(name))?;
    let ints = |i: usize| ctx.constant(i).map(|v| v.to_i64s()).transpose();
    let (begin, end) = (ints(1)?, ints(2)?);
    let resolved = resolve(dims, begin.as_deref(), end.as_deref(), &strides.to_i64s()?, masks)?;
    ctx.set(0, Shape::from_signed(resolved.dims()))?;
    if input.rank() == Some(0)
        && let Some(handle) = ctx.handle(0)
    {
        ctx.set_handle(0, handle);
    }
    Ok(())
}

fn resolve_tensors(dims: &[usize], [begin, end, strides]: [&Tensor; 3], masks: StridedSliceMasks) -> Result<Resolved> {
    if begin.rank() != 1 || end.rank() != 1 || strides.rank() != 1 || begin.len() != end.len() || begin.len() != strides.len() {
        bail!(
            InvalidArgument,
            "Expected begin, end, and strides to be 1D equal size tensors, but got shapes {:?}, {:?}, and {:?} instead.",
            begin.dims(),
            end.dims(),
            strides.dims()
        );
    }
    let dims: SmallVec<[i64; 8]> = dims.iter().map(|&d| d as i64).collect();
    resolve(&dims, Some(&begin.to_i64s()?), Some(&end.to_i64s()?), &strides.to_i64s()?, masks)
}

fn prepare_strided_slice(ctx: &PrepareCtx) -> Result<Prepared> {
    let masks = StridedSliceMasks::of(ctx.node)?;
    Ok(Box::new(move |ctx: &mut KernelCtx| strided_slice_kernel(ctx, masks)))
}

fn strided_slice_kernel(ctx: &mut KernelCtx, masks: StridedSliceMasks) -> Result<()> {
    let input = ctx.input(0)?;
    let resolved = resolve_tensors(input.dims(), [ctx.input(1)?, ctx.input(2)?, ctx.input(3)?], masks)?;
    let dims = resolved.known_dims();
    let whole = |axis: &Axis, size: usize| axis.stride == 1 && axis.size == size as i64;
    // Whole rows share the input's memory.
    let rows_only = resolved.axes.iter().zip(input.dims()).skip(1).all(|(a, &d)| whole(a, d));
    let output = match resolved.axes.first() {
        None => input.clone().reshaped(&dims)?,
        Some(first) if rows_only && first.stride == 1 => {
            input.rows(first.begin as usize, first.size as usize)?.reshaped(&dims)?
        }
        Some(_) => read_view_as(input, &resolved.view(input.dims()), &dims)?,
    };
    ctx.set(0, output)
}

fn strided_slice_grad_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let dims = ctx.dims_input(0)?;
    if ctx.input(0)?.rank() != 1 {
        bail!(InvalidArgument, "shape must be 1-D, got shape.shape = {:?}", ctx.input(0)?.dims());
    }
    let spec = [ctx.input(1)?, ctx.input(2)?, ctx.input(3)?];
    let resolved = resolve_tensors(&dims, spec, StridedSliceMasks::of(ctx.node())?)?;
    let dy = ctx.input(4)?;
    let expected = resolved.known_dims();
    if dy.dims() != &expected[..] {
        bail!(InvalidArgument, "shape of dy was {:?} instead of {expected:?}", dy.dims());
    }
    let zeros = Tensor::zeros(dy.dtype(), &dims)?;
    let output = write_view(dy, &resolved.view(&dims), zeros)?;
    ctx.set(0, output)
}

/// Writes `value`, which broadcasts to the slice, into a slice of `target`. The masks are the node's.
///
/// # Errors
/// `InvalidArgument` where the slice is out of bounds or the value doesn't broadcast to its shape.
pub(crate) fn strided_assign(
    target: Tensor,
    node: &NodeInfo,
    begin: &Tensor,
    end: &Tensor,
    strides: &Tensor,
    value: &Tensor,
) -> Result<Tensor> {
    let resolved = resolve_tensors(target.dims(), [begin, end, strides], StridedSliceMasks::of(node)?)?;
    let dims = resolved.known_dims();
    let value = super::tile::broadcast(value, &dims)?;
    let view = resolved.view(target.dims());
    write_view(&value, &view, target)
}

/// Replaces the slice of a variable, given by reference or by handle, in place where nothing else holds its value.
pub(in crate::ops) fn strided_slice_assign_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let variable = crate::ops::state::variable_input(ctx, 0)?;
    let (begin, end, strides, value) = (ctx.input(1)?, ctx.input(2)?, ctx.input(3)?, ctx.input(4)?);
    let node = ctx.node();
    let changed = variable.update(|tensor| {
        let resolved = resolve_tensors(tensor.dims(), [begin, end, strides], StridedSliceMasks::of(node)?)?;
        let value = super::tile::broadcast(value, &resolved.known_dims())?;
        let view = resolved.view(tensor.dims());
        if value.dtype() != tensor.dtype() {
            bail!(InvalidArgument, "a variable of {} can't be assigned {}", tensor.dtype(), value.dtype());
        }
        let whole = std::mem::replace(tensor, Tensor::scalar(false));
        *tensor = write_view(&value, &view, whole)?;
        Ok(())
    });
    if ctx.num_outputs() > 0 {
        changed?;
        return ctx.forward(0, 0);
    }
    changed.map_err(|e| crate::ops::state::resource_error(e, &variable))
}

/// The attributes of one slice on another node.
fn same_masks(g: &Graph, op: Operation) -> Result<StridedSliceMasks> {
    StridedSliceMasks::read(|name| g.int_attr(op, name))
}

fn strided_slice_grad(g: &Graph, op: Operation, grads: &Grads) -> Result<Vec<Option<Gradient>>> {
    let grad = grads.dense(g, 0)?;
    let inputs = g.inputs(op);
    let shape = g.shape_tensor_as(inputs[0], g.dtype(inputs[1])?)?;
    // What is known becomes a constant of the new node, so that no loop has to keep it.
    let known = |output: Output| match g.constant_value(output) {
        Some(value) => Arg::Value(value),
        None => Arg::Output(output),
    };
    let masks = same_masks(g, op)?;
    let call = g.call("StridedSliceGrad").arg(known(shape)).arg(known(inputs[1])).arg(known(inputs[2])).arg(known(inputs[3]));
    let dx = with_masks(call.arg(grad), masks).output()?;
    Ok(vec![Some(dx.into()), None, None, None])
}

fn with_masks(call: crate::ops::convert::Call, masks: StridedSliceMasks) -> crate::ops::convert::Call {
    call.attr("begin_mask", masks.begin)
        .attr("end_mask", masks.end)
        .attr("ellipsis_mask", masks.ellipsis)
        .attr("new_axis_mask", masks.new_axis)
        .attr("shrink_axis_mask", masks.shrink_axis)
}

fn strided_slice_grad_grad(g: &Graph, op: Operation, grads: &Grads) -> Result<Vec<Option<Gradient>>> {
    let grad = grads.dense(g, 0)?;
    let inputs = g.inputs(op);
    let dy = g.strided_slice(grad, inputs[1], inputs[2], Some(inputs[3].into()), same_masks(g, op)?)?;
    Ok(vec![None, None, None, None, Some(dy.into())])
}

fn tensor_strided_slice_update_grad(g: &Graph, op: Operation, grads: &Grads) -> Result<Vec<Option<Gradient>>> {
    let grad = grads.dense(g, 0)?;
    let (inputs, masks) = (g.inputs(op), same_masks(g, op)?);
    let (begin, end, strides) = (inputs[1], inputs[2], inputs[3]);
    let dy = g.strided_slice(grad, begin, end, Some(strides.into()), masks)?;
    let zeros = g.zeros_like(dy)?;
    let call = g.call("TensorStridedSliceUpdate").arg(grad).arg(begin).arg(end).arg(strides).arg(zeros);
    let dx = with_masks(call, masks).output()?;
    let dtype = g.dtype(begin)?;
    let slice_shape = g.shape_tensor_as(dy, dtype)?;
    let value_shape = g.shape_tensor_as(inputs[4], dtype)?;
    let axes = g.op("BroadcastGradientArgs").input(slice_shape).input(value_shape).outputs()?[1];
    let reduced = g.op("Sum").input(dy).input(axes).attr("keep_dims", true).output()?;
    let dy = g.reshape(reduced, value_shape)?;
    Ok(vec![Some(dx.into()), None, None, None, Some(dy.into())])
}

/// One part of an index in square brackets, as Python has them.
///
/// | Python | here |
/// |---|---|
/// | `x[3]`, `x[i]` | `3.into()`, `i.into()` |
/// | `x[:]` | `(..).into()` |
/// | `x[1:3]`, `x[1:]`, `x[:n]` | `(1..3).into()`, `(1..).into()`, `(..n).into()` |
/// | `x[::2]` | `Idx::step(None, None, 2)` |
/// | `x[...]` | `Idx::Ellipsis` |
/// | `x[None]` | `Idx::NewAxis` |
#[derive(Clone, Debug)]
pub enum Idx {
    /// A single position; its dimension is dropped.
    At(Arg),
    /// From `start` to before `stop`, in steps.
    Range {
        /// Where it starts.
        start: Option<Arg>,
        /// Before what it stops.
        stop: Option<Arg>,
        /// The step; 1 if none is given.
        step: Option<Arg>,
    },
    /// As many whole dimensions as there are left.
    Ellipsis,
    /// A new dimension of size 1.
    NewAxis,
}

impl Idx {
    /// `start:stop:step`.
    pub fn step(start: Option<Arg>, stop: Option<Arg>, step: impl Into<Arg>) -> Idx {
        Idx::Range { start, stop, step: Some(step.into()) }
    }
}

impl From<i32> for Idx {
    fn from(position: i32) -> Idx {
        Idx::At(position.into())
    }
}

impl From<Output> for Idx {
    fn from(position: Output) -> Idx {
        Idx::At(position.into())
    }
}

impl From<std::ops::RangeFull> for Idx {
    fn from(_: std::ops::RangeFull) -> Idx {
        Idx::Range { start: None, stop: None, step: None }
    }
}

impl<T: Into<Arg>> From<std::ops::Range<T>> for Idx {
    fn from(range: std::ops::Range<T>) -> Idx {
        Idx::Range { start: Some(range.start.into()), stop: Some(range.end.into()), step: None }
    }
}

impl<T: Into<Arg>> From<std::ops::RangeFrom<T>> for Idx {
    fn from(range: std::ops::RangeFrom<T>) -> Idx {
        Idx::Range { start: Some(range.start.into()), stop: None, step: None }
    }
}

impl<T: Into<Arg>> From<std::ops::RangeTo<T>> for Idx {
    fn from(range: std::ops::RangeTo<T>) -> Idx {
        Idx::Range { start: None, stop: Some(range.end.into()), step: None }
    }
}

impl Graph {
    /// Python's `input[...]`: the parts of the index are given one for each dimension from the left.
    ///
    /// ```
    /// # use metagraph::{DType, Graph};
    /// # use metagraph::ops::Idx;
    /// let g = Graph::new();
    /// let x = g.placeholder(DType::Float, [None, Some(3), Some(5)])?;
    /// let last = g.index(x, &[(..).into(), (-1).into(), (1..3).into()])?;
    /// assert_eq!(g.tensor_name(last), "strided_slice:0");
    /// assert_eq!(g.shape(last)?.to_string(), "[?,2]");
    /// # Ok::<(), metagraph::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidArgument` for more parts than dimensions, or a position out of range.
    pub fn index(&self, input: Output, index: &[Idx]) -> Result<Output> {
        let g = self.plain();
        let (mut begin, mut end, mut strides) = (Vec::new(), Vec::new(), Vec::new());
        let mut masks = StridedSliceMasks::default();
        for (i, part) in index.iter().enumerate() {
            let bit = 1i64 << i.min(62);
            match part {
                Idx::Range { start, stop, step } => {
                    let dtype = g.index_dtype(&[start, stop, step])?;
                    for (given, list, default, mask) in [
                        (start, &mut begin, 0, Some(&mut masks.begin)),
                        (stop, &mut end, 0, Some(&mut masks.end)),
                        (step, &mut strides, 1, None),
                    ] {
                        match given {
                            Some(given) => list.push(given.clone()),
                            None => {
                                list.push(match dtype {
                                    Some(dtype) => g.constant(super::scalar_of(dtype, default)?)?.into(),
                                    None => Arg::from(default as i32),
                                });
                                if let Some(mask) = mask {
                                    *mask |= bit;
                                }
                            }
                        }
                    }
                }
                Idx::Ellipsis | Idx::NewAxis => {
                    begin.push(Arg::from(0i32));
                    end.push(Arg::from(0i32));
                    strides.push(Arg::from(1i32));
                    *(if matches!(part, Idx::Ellipsis) { &mut masks.ellipsis } else { &mut masks.new_axis }) |= bit;
                }
                Idx::At(position) => {
                    begin.push(position.clone());
                    let (next, step) = g.after(position)?;
                    end.push(next);
                    strides.push(step);
                    masks.shrink_axis |= bit;
                }
            }
        }
        let (g, scope) = self.enter("strided_slice")?;
        let (begin, end, strides) = if index.is_empty() {
            let empty = g.constant(Tensor::zeros(DType::Int32, &[0])?)?;
            (empty, empty, empty)
        } else {
            let stacked = (g.stack_args(&begin, 0)?, g.stack_args(&end, 0)?, g.stack_args(&strides, 0)?);
            let wide = [stacked.0, stacked.1, stacked.2].iter().any(|&o| g.dtype(o).is_ok_and(|d| d == DType::Int64));
            let widened = |o: Output| if wide { g.cast(o, DType::Int64) } else { Ok(o) };
            (widened(stacked.0)?, widened(stacked.1)?, widened(stacked.2)?)
        };
        g.named(scope.name()).strided_slice(input, begin, end, Some(strides.into()), masks)
    }

    /// The integer dtype that the tensors of a range have; none where there are no tensors.
    fn index_dtype(&self, parts: &[&Option<Arg>]) -> Result<Option<DType>> {
        let mut dtype = None;
        for output in parts.iter().filter_map(|p| p.as_ref()?.output()) {
            dtype = match (self.dtype(output)?, dtype) {
                (DType::Int64, _) | (_, Some(DType::Int64)) => Some(DType::Int64),
                (DType::Int32, _) | (_, Some(DType::Int32)) => Some(DType::Int32),
                (DType::Int16, None) => Some(DType::Int16),
                (_, known) => known,
            };
        }
        Ok(dtype)
    }

    /// The position after one, and the step to it.
    fn after(&self, position: &Arg) -> Result<(Arg, Arg)> {
        match position {
            Arg::Output(output) => {
                let next = self.operator("add", "AddV2", *output, 1i32)?;
                let step = match self.dtype(*output)? {
                    dtype @ (DType::Int16 | DType::Int64) => self.constant(super::scalar_of(dtype, 1)?)?.into(),
                    _ => Arg::from(1i32),
                };
                Ok((next.into(), step))
            }
            other => {
                let Some(value) = other.value()? else { bail!(InvalidArgument, "an index is a number or a scalar tensor") };
                let next = value.item_i64()?.wrapping_add(1);
                Ok((super::scalar_of(value.dtype(), next)?.into(), Arg::from(1i32)))
            }
        }
    }

    /// The slice from `begin` to before `end` in steps of `strides` (1 where none are given) of each dimension
    /// (`tf.strided_slice`).
    ///
    /// # Errors
    /// `InvalidArgument` for vectors of different lengths, a stride of 0, or a position out of range.
    pub fn strided_slice(
        &self,
        input: Output,
        begin: impl Into<Arg>,
        end: impl Into<Arg>,
        strides: Option<Arg>,
        masks: StridedSliceMasks,
    ) -> Result<Output> {
        let begin = begin.into();
        let strides = match strides {
            Some(strides) => strides,
            None => {
                let (g, scope) = self.plain().enter("ones_like")?;
                let like = g.convert(&begin, None, "tensor")?;
                g.named(scope.name()).ones_like(like)?.into()
            }
        };
        with_masks(self.call("StridedSlice").arg(input).arg(begin).arg(end).arg(strides), masks).output()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(dims: &[usize], begin: &[i64], end: &[i64], strides: &[i64], masks: StridedSliceMasks, expected: &str) {
        let sizes: Vec<i64> = dims.iter().map(|&d| d as i64).collect();
        let got = match resolve(&sizes, Some(begin), Some(end), strides, masks) {
            Err(error) => error.message().to_string(),
            Ok(resolved) => {
                let count: usize = dims.iter().product();
                let input = Tensor::new(dims, (0..count as i32).collect()).unwrap();
                read_view_as(&input, &resolved.view(dims), &resolved.known_dims()).unwrap().to_string()
            }
        };
        assert_eq!(got, expected);
    }

    #[test]
    fn slices_follow_python() {
        let none = StridedSliceMasks::default();
        check(&[2, 3], &[0, -1], &[2, -4], &[1, -2], none, "i32[[2 0] [5 3]]");
        check(&[5], &[10], &[-10], &[-3], none, "i32[4 1]");
        check(&[5], &[3], &[1], &[1], none, "i32{0}[]");
        check(
            &[2, 2, 2],
            &[0, 1],
            &[0, 2],
            &[1, 1],
            StridedSliceMasks { ellipsis: 1, shrink_axis: 2, ..none },
            "i32[[1 3] [5 7]]",
        );
        check(&[2], &[0, 0], &[0, 1], &[1, 1], StridedSliceMasks { new_axis: 1, ..none }, "i32[[0]]");
        check(
            &[2],
            &[2],
            &[3],
            &[1],
            StridedSliceMasks { shrink_axis: 1, ..none },
            "slice index 2 of dimension 0 out of bounds.",
        );
        check(&[2], &[0, 0], &[1, 1], &[1, 1], none, "Index out of range using input dim 1; input has only 1 dims");
        check(&[2], &[0], &[1], &[0], none, "strides[0] must be non-zero");
        check(&[3], &[i64::MIN], &[i64::MAX], &[1], none, "i32[0 1 2]");
    }
}
