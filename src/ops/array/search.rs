//! The largest elements, the n-th one, and where elements belong in a sorted row.

use super::shaping::index_tensor;
use crate::compute::pool::SharedMut;
use crate::compute::pool::parallel_for;
use crate::error::{Error, Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::graph::{Gradient, Grads, Graph, Operation, Output};
use crate::ops::convert::Arg;
use crate::tensor::{DType, Dims, Element, Shape, Tensor, dispatch};
use std::cmp::Ordering;

const REAL: &str = "T: {float, double, int32, uint8, int16, int8, int64, bfloat16, uint16, half, uint32, uint64}";

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "TopK",
        ins: &["input: T"],
        outs: &["values: T", "indices: int32"],
        attrs: &["k: int >= 0", "sorted: bool = true", REAL],
        shape: |ctx| {
            let k = usize::try_from(ctx.int("k")?).ok();
            top_k_shape(ctx, k)
        },
        kernel: Kernel::Pure(|ctx| {
            let k = ctx.node().int("k")?;
            top_k_kernel(ctx, k)
        }),
        grad: Grad::Fn(top_k_grad),
        rows: &["k=2; f32[[1 3 2]] => f32[[3 2]], i32[[1 2]]"],
    },
    Op {
        name: "TopKV2",
        ins: &["input: T", "k: Tk"],
        outs: &["values: T", "indices: index_type"],
        attrs: &[
            "sorted: bool = true",
            REAL,
            "Tk: {int16, int32, int64} = DT_INT32",
            "index_type: {int16, int32, int64} = DT_INT32",
        ],
        shape: |ctx| {
            ctx.input(1).with_rank(0)?;
            let k = ctx.constant(1).map(|k| k.item_i64()).transpose()?;
            if k.is_some_and(|k| k < 0) {
                bail!(InvalidArgument, "Need k >= 0, got {}", k.unwrap_or(0));
            }
            top_k_shape(ctx, k.and_then(|k| usize::try_from(k).ok()))
        },
        kernel: Kernel::Pure(|ctx| {
            if ctx.input(1)?.rank() != 0 {
                bail!(InvalidArgument, "k must be scalar, got shape {:?}", ctx.input(1)?.dims());
            }
            let k = ctx.int_input(1)?;
            top_k_kernel(ctx, k)
        }),
        grad: Grad::Fn(top_k_grad),
        rows: &["i32[[1 3 3] [5 4 6]], i32 2 => i32[[3 3] [6 5]], i32[[1 2] [2 0]]", "f32[1 2], i32 0 => f32{0}[], i32{0}[]"],
    },
    Op {
        name: "NthElement",
        ins: &["input: T", "n: int32"],
        outs: &["values: T"],
        attrs: &["reverse: bool = false", REAL],
        shape: nth_element_shape,
        kernel: Kernel::Pure(nth_element_kernel),
        grad: Grad::Fn(nth_element_grad),
        rows: &["f32[[3 1 2] [4 6 5]], i32 1 => f32[2 5]", "reverse=true; i32[3 1 2], i32 0 => i32 3"],
    },
    Op {
        name: "LowerBound",
        ins: &["sorted_inputs: T", "values: T"],
        outs: &["output: out_type"],
        attrs: &["T: type", "out_type: {int32, int64} = DT_INT32"],
        shape: bound_shape,
        kernel: Kernel::Pure(|ctx| bound_kernel(ctx, false)),
        grad: Grad::Missing,
        rows: &["i32[[1 2 2 3]], i32[[2 0 4]] => i32[[1 0 4]]"],
    },
    Op {
        name: "UpperBound",
        ins: &["sorted_inputs: T", "values: T"],
        outs: &["output: out_type"],
        attrs: &["T: type", "out_type: {int32, int64} = DT_INT32"],
        shape: bound_shape,
        kernel: Kernel::Pure(|ctx| bound_kernel(ctx, true)),
        grad: Grad::Missing,
        rows: &["out_type=DT_INT64; f32[[1 2 2 3]], f32[[2 0 4]] => i64[[3 0 4]]"],
    },
];

/// The order of two elements; NaN comes before all numbers.
fn order<T: PartialOrd>(a: &T, b: &T) -> Ordering {
    let is_nan = |v: &T| v.partial_cmp(v).is_none();
    a.partial_cmp(b).unwrap_or_else(|| is_nan(b).cmp(&is_nan(a)))
}

fn top_k_shape(ctx: &mut InferCtx, k: Option<usize>) -> Result<()> {
    let input = ctx.input(0).with_rank_at_least(1)?;
    if let (Some(k), Some(have)) = (k, input.dim(-1))
        && have < k
    {
        bail!(InvalidArgument, "input must have last dimension >= k = {k} but is {have}");
    }
    let shape = if input.rank().is_some() { input.with_dim(-1, k) } else { Shape::unknown() };
    ctx.set(0, shape.clone())?;
    ctx.set(1, shape)
}

/// The numbers of the `k` largest elements of a row: the largest first and equal ones in order, or else in the order in
/// which TensorFlow's heap leaves them.
fn largest<T: PartialOrd + Copy>(row: &[T], k: usize, sorted: bool, scratch: &mut Vec<u32>) {
    let descending = |&a: &u32, &b: &u32| order(&row[b as usize], &row[a as usize]).then(a.cmp(&b));
    scratch.clear();
    if k == 1 {
        let best = (1..row.len()).fold(0, |best, i| if order(&row[i], &row[best]).is_gt() { i } else { best });
        scratch.push(best as u32);
        return;
    }
    if !sorted && k < row.len() {
        return kept_in_heap(row.len(), k, descending, scratch);
    }
    scratch.extend(0..row.len() as u32);
    if !sorted {
        return;
    }
    if k < row.len() {
        if k > 0 {
            scratch.select_nth_unstable_by(k - 1, descending);
        }
        scratch.truncate(k);
    }
    scratch.sort_unstable_by(descending);
}

/// The `k` first of `0..count` in the given order, `0 < k < count`: a heap with the last of them at its root, from which the
/// root goes when a better one comes (the algorithms of C++'s `make_heap` and `pop_heap`, which fix the order).
fn kept_in_heap(count: usize, k: usize, order: impl Fn(&u32, &u32) -> std::cmp::Ordering, heap: &mut Vec<u32>) {
    let before = |a: u32, b: u32| order(&a, &b).is_lt();
    for item in 0..k as u32 + 1 {
        heap.push(item);
        let last = heap.len() - 1;
        if last > 0 && !before(heap[last], heap[0]) {
            heap.swap(0, last);
        }
    }
    for parent in (0..heap.len() / 2).rev() {
        let value = heap[parent];
        sift(heap, parent, k + 1, value, &before);
    }
    let pop = |heap: &mut Vec<u32>, before: &dyn Fn(u32, u32) -> bool| {
        let value = heap[k];
        heap[k] = heap[0];
        sift(heap, 0, k, value, before);
    };
    pop(heap, &before);
    for item in k as u32 + 1..count as u32 {
        if before(item, heap[0]) {
            heap[k] = item;
            pop(heap, &before);
        }
    }
    heap.truncate(k);
}

/// Moves the hole at `hole` of a heap of `len` items to a leaf, and `value` from there up to its place.
fn sift(heap: &mut [u32], mut hole: usize, len: usize, value: u32, before: &dyn Fn(u32, u32) -> bool) {
    let top = hole;
    let mut child = hole;
    while child < (len - 1) / 2 {
        child = 2 * (child + 1);
        if before(heap[child], heap[child - 1]) {
            child -= 1;
        }
        heap[hole] = heap[child];
        hole = child;
    }
    if len.is_multiple_of(2) && child == (len - 2) / 2 {
        child = 2 * (child + 1);
        heap[hole] = heap[child - 1];
        hole = child - 1;
    }
    while hole > top && before(heap[(hole - 1) / 2], value) {
        heap[hole] = heap[(hole - 1) / 2];
        hole = (hole - 1) / 2;
    }
    heap[hole] = value;
}

fn top_k_kernel(ctx: &mut KernelCtx, k: i64) -> Result<()> {
    let input = ctx.input(0)?;
    let Ok(k) = usize::try_from(k) else { bail!(InvalidArgument, "Need k >= 0, got {k}") };
    let Some((&columns, outer)) = input.dims().split_last() else {
        bail!(InvalidArgument, "input must be >= 1-D, got shape []");
    };
    if columns < k {
        bail!(InvalidArgument, "input must have at least k columns. Had {columns}, needed {k}");
    }
    if u32::try_from(columns).is_err() {
        bail!(InvalidArgument, "input has {columns} columns, at most 2**32 - 1 are possible");
    }
    let sorted = ctx.node().boolean("sorted")?;
    let mut dims = Dims::from_slice(outer);
    dims.push(k);
    let rows: usize = outer.iter().product();
    let mut places = vec![0u32; rows * k];
    let mut values = Tensor::zeros(input.dtype(), &dims)?;
    dispatch!(input.dtype(), real, T => {
        let from = input.as_slice::<T>()?;
        let to = values.as_mut_slice::<T>()?;
        let (to, at) = (SharedMut(to.as_mut_ptr()), SharedMut(places.as_mut_ptr()));
        parallel_for(rows, (1 << 14) / columns.max(1) + 1, |range| {
            let mut scratch = Vec::new();
            for row in range {
                let items = &from[row * columns..][..columns];
                if k > 0 {
                    largest(items, k, sorted, &mut scratch);
                }
                for (i, &place) in scratch.iter().enumerate() {
                    // SAFETY: each row has its own `k` places in both vectors, and is visited once.
                    unsafe {
                        to.get().add(row * k + i).write(items[place as usize]);
                        at.get().add(row * k + i).write(place);
                    }
                }
            }
        });
    });
    let indices = match ctx.node().output_types[1] {
        DType::Int16 => Tensor::new(&dims, places.iter().map(|&p| p as i16).collect())?,
        dtype => index_tensor(dtype, &dims, places.iter().map(|&p| p as usize))?,
    };
    ctx.set(0, values)?;
    ctx.set(1, indices)
}

fn top_k_grad(g: &Graph, op: Operation, grads: &Grads) -> Result<Vec<Option<Gradient>>> {
    let (input, indices) = (g.input(op, 0)?, op.output(1));
    let in_shape = g.shape_tensor(input)?;
    let ind_shape = g.shape_tensor(indices)?;
    let last = |shape: Output| -> Result<Output> {
        let wide = g.cast(shape, DType::Int64)?;
        let count = g.size(shape)?;
        let at = g.operator("sub", "Sub", count, 1i32)?;
        g.gather(wide, at)
    };
    let ind_last = last(ind_shape)?;
    let flat = g.stack_args(&[Arg::from(-1i32), ind_last.into()], 0)?;
    let rows = g.reshape(indices, flat)?;
    let in_last = last(in_shape)?;
    let row_shape = g.shape_tensor(rows)?;
    let outer = g.index(row_shape, &[0.into()])?;
    let outer = g.cast(outer, DType::Int64)?;
    let end = g.operator("mul", "Mul", outer, in_last)?;
    let starts = g.range(0i32, end, in_last)?;
    let starts = g.expand_dims(starts, -1i32)?;
    let starts = g.cast(starts, DType::Int32)?;
    let places = g.operator("add", "AddV2", rows, starts)?;
    let places = g.reshape(places, [-1i32])?;
    let places = g.expand_dims(places, -1i32)?;
    let grad = grads.dense(g, 0)?;
    let grad = g.reshape(grad, [-1i32])?;
    let axes = g.constant([0i32])?;
    let count = g.op("Prod").input(in_shape).input(axes).attr("keep_dims", false).output()?;
    let spread = g.scatter_nd(places, grad, [count])?;
    let input_grad = g.reshape(spread, in_shape)?;
    let zero = g.zeros(Arg::List(Vec::new()), DType::Int32)?;
    let mut out = vec![Some(input_grad.into()), Some(zero.into())];
    out.truncate(g.inputs(op).len());
    Ok(out)
}

fn nth_element_shape(ctx: &mut InferCtx) -> Result<()> {
    let input = ctx.input(0).with_rank_at_least(1)?;
    ctx.input(1).with_rank(0)?;
    let n = ctx.constant(1).map(|n| n.item_i64()).transpose()?;
    if n.is_some_and(|n| n < 0) {
        bail!(InvalidArgument, "Input n must be non-negative, got {}", n.unwrap_or(0));
    }
    if let (Some(n), Some(size)) = (n, input.dim(-1))
        && size as i64 <= n
    {
        bail!(InvalidArgument, "Input must have last dimension > n = {n} but is {size}");
    }
    ctx.set(0, if input.rank().is_some() { input.slice(0, -1) } else { input })
}

fn nth_element_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let (input, n) = (ctx.input(0)?, ctx.input(1)?);
    if n.rank() != 0 {
        bail!(InvalidArgument, "N must be scalar but has rank {}", n.rank());
    }
    let Ok(n) = usize::try_from(n.item_i64()?) else { bail!(InvalidArgument, "n must be non-negative but is {n}") };
    let Some((&columns, outer)) = input.dims().split_last() else {
        bail!(InvalidArgument, "Input must be at least rank 1 but is rank 0");
    };
    if columns <= n {
        bail!(InvalidArgument, "Input must have last dimension > n = {n}, got {columns}");
    }
    let n = if ctx.node().boolean("reverse")? { columns - 1 - n } else { n };
    let output = dispatch!(input.dtype(), real, T => {
        let mut row = Vec::with_capacity(columns);
        let mut found = Vec::with_capacity(outer.iter().product());
        for items in input.as_slice::<T>()?.chunks_exact(columns) {
            row.clear();
            row.extend_from_slice(items);
            found.push(*row.select_nth_unstable_by(n, order).1);
        }
        Tensor::new(outer, found)?
    });
    ctx.set(0, output)
}

fn nth_element_grad(g: &Graph, op: Operation, grads: &Grads) -> Result<Vec<Option<Gradient>>> {
    let grad = grads.dense(g, 0)?;
    let output = g.expand_dims(op.output(0), -1i32)?;
    let equal = g.op("Equal").input(output).input(g.input(op, 0)?).output()?;
    let indicators = g.cast(equal, g.dtype(grad)?)?;
    let grad = g.expand_dims(grad, -1i32)?;
    let axis = g.call("Sum").arg(indicators).arg(-1i32).attr("keep_dims", false).output()?;
    let selected = g.expand_dims(axis, -1i32)?;
    let share = g.operator("truediv", "RealDiv", indicators, selected)?;
    Ok(vec![Some(g.operator("mul", "Mul", share, grad)?.into()), None])
}

fn bound_shape(ctx: &mut InferCtx) -> Result<()> {
    let sorted = ctx.input(0).with_rank(2)?;
    let values = ctx.input(1).with_rank(2)?;
    Shape::vector(sorted.dim(0)).merge(&Shape::vector(values.dim(0)))?;
    ctx.set(0, values)
}

fn bounds<T: Element + PartialOrd>(sorted: &Tensor, values: &Tensor, upper: bool) -> Result<Vec<usize>> {
    let (columns, width) = (sorted.dims()[1], values.dims()[1]);
    let (sorted, values) = (sorted.as_slice::<T>()?, values.as_slice::<T>()?);
    let place = |(i, value): (usize, &T)| {
        let row = &sorted[i / width * columns..][..columns];
        row.partition_point(|item| if upper { item <= value } else { item < value })
    };
    Ok(values.iter().enumerate().map(place).collect())
}

fn bound_kernel(ctx: &mut KernelCtx, upper: bool) -> Result<()> {
    let (sorted, values) = (ctx.input(0)?, ctx.input(1)?);
    if sorted.rank() != 2 || values.rank() != 2 {
        bail!(InvalidArgument, "sorted input and values must be matrices, got {:?} and {:?}", sorted.dims(), values.dims());
    }
    if sorted.dims()[0] != values.dims()[0] {
        bail!(InvalidArgument, "Leading dim_size of both tensors must match: {:?} and {:?}", sorted.dims(), values.dims());
    }
    if sorted.dims()[1] > i32::MAX as usize && ctx.node().output_types[0] == DType::Int32 {
        return Err(Error::invalid_argument("values tensor size must fit in int32"));
    }
    let places = dispatch!(sorted.dtype(), real, T => bounds::<T>(sorted, values, upper)?);
    let output = index_tensor(ctx.node().output_types[0], values.dims(), places)?;
    ctx.set(0, output)
}

impl Graph {
    /// The `k` largest elements of each row and where they stand (`tf.nn.top_k`), the largest first.
    ///
    /// # Errors
    /// `InvalidArgument` for rows of less than `k` elements.
    pub fn top_k(&self, input: Output, k: impl Into<Arg>, sorted: bool) -> Result<(Output, Output)> {
        let outputs = self.call("TopKV2").arg(input).arg(k).attr("sorted", sorted).outputs()?;
        Ok((outputs[0], outputs[1]))
    }

    /// The element of each row that would stand at place `n` if the row were sorted (`tf.nn.nth_element`).
    ///
    /// # Errors
    /// `InvalidArgument` for rows of not more than `n` elements.
    pub fn nth_element(&self, input: Output, n: impl Into<Arg>, reverse: bool) -> Result<Output> {
        self.call("NthElement").arg(input).arg(n).attr("reverse", reverse).output()
    }

    /// Where values would be inserted into sorted rows, before (or, with `right`, after) elements that are equal
    /// (`tf.searchsorted`).
    ///
    /// # Errors
    /// `InvalidArgument` where the numbers of rows differ.
    pub fn searchsorted(&self, sorted_sequence: Output, values: Output, right: bool, out_type: DType) -> Result<Output> {
        let g = self.plain();
        let last = |of: Output| {
            let shape = g.shape_internal(of, None, true)?;
            g.index(shape, &[(-1).into()])
        };
        let sequence_size = last(sorted_sequence)?;
        let values_size = last(values)?;
        let sorted = g.reshape(sorted_sequence, [Arg::from(-1i32), sequence_size.into()])?;
        let rows = g.reshape(values, [Arg::from(-1i32), values_size.into()])?;
        let op = if right { "UpperBound" } else { "LowerBound" };
        let found = self.op(op).input(sorted).input(rows).attr("out_type", out_type).output()?;
        let shape = g.shape_internal(values, None, true)?;
        g.reshape(found, shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_are_found_in_order() {
        let row = [2.0f32, f32::NAN, 7.0, 2.0, -1.0, 7.0];
        let mut found = Vec::new();
        for (k, expected) in [(1, vec![2]), (3, vec![2, 5, 0]), (6, vec![2, 5, 0, 3, 4, 1])] {
            largest(&row, k, true, &mut found);
            assert_eq!(found, expected);
        }
    }
}
