//! Which elements are true, which are different, which are missing.

use super::shaping::index_tensor;
use crate::error::{Error, Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::graph::{Graph, Output};
use crate::tensor::{DType, Shape, Tensor, dispatch};
use bytes::Bytes;
use half::{bf16, f16};
use num_complex::Complex;
use std::collections::HashMap;
use std::hash::Hash;

const OUT_IDX: &str = "out_idx: {int32, int64} = DT_INT32";
const AXIS: &str = "Taxis: {int32, int64} = DT_INT64";

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "Where",
        ins: &["input: T"],
        outs: &["index: int64"],
        attrs: &[
            "T: {float, double, int32, uint8, int16, int8, complex64, int64, qint8, quint8, qint32, bfloat16, qint16, quint16, uint16, complex128, half, uint32, uint64, bool} = DT_BOOL",
        ],
        shape: |ctx| ctx.set(0, Shape::matrix(None, ctx.input(0).rank())),
        kernel: Kernel::Pure(where_kernel),
        grad: Grad::Missing,
        rows: &["bool[[true false] [false true]] => i64[[0 0] [1 1]]", "f32[0 2] => i64[[1]]"],
    },
    Op {
        name: "Unique",
        ins: &["x: T"],
        outs: &["y: T", "idx: out_idx"],
        attrs: &["T: type", OUT_IDX],
        shape: |ctx| {
            ctx.set(0, Shape::of_rank(1))?;
            ctx.set(1, ctx.input(0).with_rank(1)?)
        },
        kernel: Kernel::Pure(unique_kernel),
        grad: Grad::Missing,
        rows: &[
            "i32[1 1 2 4 4 7] => i32[1 2 4 7], i32[0 0 1 2 2 3]",
            "out_idx=DT_INT64; str[\"b\" \"a\" \"b\"] => str[\"b\" \"a\"], i64[0 1 0]",
        ],
    },
    Op {
        name: "UniqueV2",
        ins: &["x: T", "axis: Taxis"],
        outs: &["y: T", "idx: out_idx"],
        attrs: &["T: type", AXIS, OUT_IDX],
        shape: unique_v2_shape,
        kernel: Kernel::Pure(unique_kernel),
        grad: Grad::Missing,
        rows: &["i32[[1 0] [1 0] [2 0]], i64[0] => i32[[1 0] [2 0]], i32[0 0 1]", "i32[3 3], i64{0}[] => i32[3], i32[0 0]"],
    },
    Op {
        name: "UniqueWithCounts",
        ins: &["x: T"],
        outs: &["y: T", "idx: out_idx", "count: out_idx"],
        attrs: &["T: type", OUT_IDX],
        shape: |ctx| {
            ctx.set(0, Shape::of_rank(1))?;
            ctx.set(1, ctx.input(0).with_rank(1)?)?;
            ctx.set(2, Shape::of_rank(1))
        },
        kernel: Kernel::Pure(unique_kernel),
        grad: Grad::Missing,
        rows: &["f32[1 1 2] => f32[1 2], i32[0 0 1], i32[2 1]"],
    },
    Op {
        name: "UniqueWithCountsV2",
        ins: &["x: T", "axis: Taxis"],
        outs: &["y: T", "idx: out_idx", "count: out_idx"],
        attrs: &["T: type", AXIS, OUT_IDX],
        shape: unique_v2_shape,
        kernel: Kernel::Pure(unique_kernel),
        grad: Grad::Missing,
        rows: &["i32[[1 2 1]], i64[1] => i32[[1 2]], i32[0 1 0], i32[2 1]"],
    },
    Op {
        name: "ListDiff",
        ins: &["x: T", "y: T"],
        outs: &["out: T", "idx: out_idx"],
        attrs: &["T: type", OUT_IDX],
        shape: |ctx| {
            ctx.input(0).with_rank(1)?;
            ctx.input(1).with_rank(1)?;
            ctx.set(0, Shape::of_rank(1))?;
            ctx.set(1, Shape::of_rank(1))
        },
        kernel: Kernel::Pure(list_diff_kernel),
        grad: Grad::Missing,
        rows: &["i32[1 2 3 4 5 6], i32[1 3 5] => i32[2 4 6], i32[1 3 5]"],
    },
];

/// Where the elements that are true or not zero stand, one row each, in row-major order.
pub(crate) fn true_places(input: &Tensor) -> Result<Tensor> {
    let places: Vec<usize> = dispatch!(input.dtype(), plain, T => {
        let zero = T::default();
        input.as_slice::<T>()?.iter().enumerate().filter(|(_, v)| **v != zero).map(|(i, _)| i).collect()
    });
    let rank = input.rank();
    let mut rows = vec![0i64; places.len() * rank];
    if rank > 0 {
        for (row, place) in rows.chunks_exact_mut(rank).zip(places.iter().copied()) {
            let mut rest = place;
            for (index, &dim) in row.iter_mut().zip(input.dims()).rev() {
                *index = (rest % dim) as i64;
                rest /= dim;
            }
        }
    }
    Tensor::new(&[places.len(), rank], rows)
}

fn where_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let input = ctx.input(0)?;
    if input.dtype() == DType::Half {
        bail!(Unimplemented, "No WhereOp available for float16/half type on CPU");
    }
    if input.rank() == 0 {
        bail!(InvalidArgument, "WhereOp : Unhandled input dimensions: 0");
    }
    let output = true_places(input)?;
    ctx.set(0, output)
}

fn unique_v2_shape(ctx: &mut InferCtx) -> Result<()> {
    if ctx.num_outputs() == 3 {
        ctx.set(2, Shape::of_rank(1))?;
    }
    ctx.set(1, Shape::of_rank(1))?;
    let input = ctx.input(0);
    let Some(axes) = ctx.constant(1) else { return ctx.set(0, input.rank().map_or(Shape::unknown(), Shape::of_rank)) };
    let axes = axes.to_i64s()?;
    let Some(&axis) = axes.first() else {
        let count = input.num_elements().filter(|_| input.rank() == Some(1));
        ctx.set(1, Shape::vector(count))?;
        return ctx.set(0, Shape::of_rank(1));
    };
    let Some(rank) = input.rank() else { return ctx.set(0, Shape::unknown()) };
    let axis = super::resolve_axis(axis, rank, "axis expected to be")? as isize;
    ctx.set(1, Shape::vector(input.dim(axis)))?;
    ctx.set(0, input.with_dim(axis, None))
}

/// An element by which equal ones are found: floats compare by value, and NaN is equal to nothing.
trait Key {
    type Key: Hash + Eq;
    /// The key; none for what is equal to nothing.
    fn key(&self) -> Option<Self::Key>;
}

macro_rules! keys {
    ($($type:ty, $v:ident => $key:expr, $out:ty;)*) => {
        $(impl Key for $type {
            type Key = $out;
            fn key(&self) -> Option<$out> {
                let $v = self;
                $key
            }
        })*
    };
}

/// The bits of a float, with one zero; none for NaN.
fn float_bits(value: f64) -> Option<u64> {
    if value.is_nan() { None } else { Some((value + 0.0).to_bits()) }
}

keys! {
    i8, v => Some(*v), i8; i16, v => Some(*v), i16; i32, v => Some(*v), i32; i64, v => Some(*v), i64;
    u8, v => Some(*v), u8; u16, v => Some(*v), u16; u32, v => Some(*v), u32; u64, v => Some(*v), u64;
    bool, v => Some(*v), bool;
    f32, v => float_bits(f64::from(*v)), u64; f64, v => float_bits(*v), u64;
    f16, v => float_bits(f64::from(*v)), u64; bf16, v => float_bits(f64::from(*v)), u64;
    Complex<f32>, v => float_bits(f64::from(v.re)).zip(float_bits(f64::from(v.im))), (u64, u64);
    Complex<f64>, v => float_bits(v.re).zip(float_bits(v.im)), (u64, u64);
    Bytes, v => Some(v.clone()), Bytes;
}

/// The number of each group of equal slices in order of appearance, for each of `count` slices; and of each group the
/// first slice and how many there are. Slice `i` has the elements `at(i, 0..width)`.
struct Groups {
    of: Vec<usize>,
    first: Vec<usize>,
    sizes: Vec<usize>,
}

fn group<T: Key>(items: &[T], count: usize, width: usize, at: impl Fn(usize, usize) -> usize) -> Groups {
    let mut groups = Groups { of: Vec::with_capacity(count), first: Vec::new(), sizes: Vec::new() };
    let mut add = |known: Option<usize>, i: usize| {
        let number = known.unwrap_or(groups.first.len());
        if number == groups.first.len() {
            groups.first.push(i);
            groups.sizes.push(0);
        }
        groups.sizes[number] += 1;
        groups.of.push(number);
        number
    };
    if width == 1 {
        let mut seen: HashMap<T::Key, usize> = HashMap::new();
        for i in 0..count {
            match items[at(i, 0)].key() {
                None => {
                    add(None, i);
                }
                Some(key) => {
                    let known = seen.get(&key).copied();
                    let number = add(known, i);
                    if known.is_none() {
                        seen.insert(key, number);
                    }
                }
            }
        }
        return groups;
    }
    let mut seen: HashMap<Vec<T::Key>, usize> = HashMap::new();
    for i in 0..count {
        let key: Option<Vec<T::Key>> = (0..width).map(|j| items[at(i, j)].key()).collect();
        match key {
            None => {
                add(None, i);
            }
            Some(key) => {
                let known = seen.get(&key).copied();
                let number = add(known, i);
                if known.is_none() {
                    seen.insert(key, number);
                }
            }
        }
    }
    groups
}

/// Groups the slices of a tensor along an axis.
fn groups_of(input: &Tensor, axis: usize) -> Result<Groups> {
    let count = input.dims()[axis];
    let inner: usize = input.dims()[axis + 1..].iter().product();
    let outer: usize = input.dims()[..axis].iter().product();
    let at = |i: usize, j: usize| (j / inner * count + i) * inner + j % inner;
    let width = inner * outer;
    if input.dtype() == DType::String {
        return Ok(group(input.strings()?, count, width, at));
    }
    dispatch!(input.dtype(), plain, T => Ok(group(input.as_slice::<T>()?, count, width, at)))
}

fn unique_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let input = ctx.input(0)?;
    let axis = if ctx.num_inputs() > 1 {
        let axes = ctx.input(1)?;
        if axes.rank() != 1 || axes.len() > 1 {
            bail!(InvalidArgument, "axis expects a 1D vector of at most one element, got shape {:?}", axes.dims());
        }
        match axes.to_i64s()?.first() {
            Some(&axis) => super::resolve_axis(axis, input.rank(), "axis has to be")?,
            None if input.rank() == 1 => 0,
            None => bail!(InvalidArgument, "unique expects a 1D vector."),
        }
    } else if input.rank() == 1 {
        0
    } else {
        bail!(InvalidArgument, "unique expects a 1D vector.")
    };
    let groups = groups_of(input, axis)?;
    let values = super::gather::take(input, axis, &groups.first)?;
    let types = &ctx.node().output_types;
    let numbers = index_tensor(types[1], &[groups.of.len()], groups.of.iter().copied())?;
    let sizes = types.get(2).map(|&t| index_tensor(t, &[groups.sizes.len()], groups.sizes.iter().copied())).transpose()?;
    ctx.set(0, values)?;
    ctx.set(1, numbers)?;
    sizes.map_or(Ok(()), |sizes| ctx.set(2, sizes))
}

fn missing_places<T: Key>(x: &[T], y: &[T]) -> Vec<usize> {
    let known: std::collections::HashSet<T::Key> = y.iter().filter_map(Key::key).collect();
    let is_missing = |v: &T| v.key().is_none_or(|k| !known.contains(&k));
    x.iter().enumerate().filter(|(_, v)| is_missing(v)).map(|(i, _)| i).collect()
}

fn list_diff_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let (x, y) = (ctx.input(0)?, ctx.input(1)?);
    if x.rank() != 1 || y.rank() != 1 {
        bail!(InvalidArgument, "x and y should be 1D vectors, got shapes {:?} and {:?}", x.dims(), y.dims());
    }
    let places = match x.dtype() {
        DType::String => missing_places(x.strings()?, y.strings()?),
        dtype => dispatch!(dtype, plain, T => missing_places(x.as_slice::<T>()?, y.as_slice::<T>()?)),
    };
    let kept = super::gather::take(x, 0, &places)?;
    let places = index_tensor(ctx.node().output_types[1], &[places.len()], places)?;
    ctx.set(0, kept)?;
    ctx.set(1, places)
}

impl Graph {
    /// Where the elements are true or not zero: one row of int64 indices each (`tf.where` with one argument).
    ///
    /// # Errors
    /// `InvalidArgument` for strings.
    pub fn where_true(&self, condition: Output) -> Result<Output> {
        self.op("Where").input(condition).output()
    }

    /// The different elements of a vector in order of appearance, and for each element the number of its like
    /// (`tf.unique`), as int32.
    ///
    /// # Errors
    /// `InvalidArgument` for a tensor that isn't a vector.
    pub fn unique(&self, x: Output) -> Result<(Output, Output)> {
        let outputs = self.op("Unique").input(x).outputs()?;
        Ok((outputs[0], outputs[1]))
    }

    /// The different elements of a vector, for each element the number of its like, and how many there are of each
    /// (`tf.unique_with_counts`).
    ///
    /// # Errors
    /// `InvalidArgument` for a tensor that isn't a vector.
    pub fn unique_with_counts(&self, x: Output) -> Result<(Output, Output, Output)> {
        let outputs = self.op("UniqueWithCounts").input(x).outputs()?;
        Ok((outputs[0], outputs[1], outputs[2]))
    }

    /// The elements of one vector that aren't in another, and where they stand (`tf.setdiff1d`).
    ///
    /// # Errors
    /// `InvalidArgument` for tensors that aren't vectors of one dtype.
    pub fn setdiff1d(&self, x: Output, y: Output) -> Result<(Output, Output)> {
        let outputs = self.op("ListDiff").input(x).input(y).outputs()?;
        Ok((outputs[0], outputs[1]))
    }

    /// The elements, or slices from `axis` on, at which `mask` is true, one behind the other (`tf.boolean_mask`). The
    /// rank of `mask` must be static and above 0.
    ///
    /// # Errors
    /// `InvalidArgument` where the shapes don't fit.
    pub fn boolean_mask(&self, tensor: Output, mask: Output, axis: i64) -> Result<Output> {
        let (g, _scope) = self.enter("boolean_mask")?;
        let (tensor_shape, mask_shape) = (g.shape(tensor)?, g.shape(mask)?);
        let Some(rank) = mask_shape.rank() else {
            bail!(InvalidArgument, "Number of mask dimensions must be specified, even if some dimensions are None.");
        };
        if rank == 0 {
            bail!(InvalidArgument, "mask cannot be scalar.");
        }
        let start = axis as i32;
        let end = i32::try_from(axis + rank as i64).map_err(|_| Error::invalid_argument("axis is too large"))?;
        let masked = tensor_shape.slice(axis as isize, end as isize);
        masked.merge(&mask_shape)?;
        let whole = g.shape_tensor(tensor)?;
        let leading = g.index(whole, &[(start..end).into()])?;
        let leading = g.call("Prod").arg(leading).arg([0i32]).attr("keep_dims", false).output()?;
        let before = g.shape_tensor(tensor)?;
        let before = g.index(before, &[(..start).into()])?;
        let after = g.shape_tensor(tensor)?;
        let after = g.index(after, &[(end..).into()])?;
        let shape = g.concat(&[before.into(), [leading].into(), after.into()], 0i32)?;
        let flat = g.reshape(tensor, shape)?;
        if let Some(known) = tensor_shape.rank() {
            let end = (end as isize).min(known as isize);
            let shape = tensor_shape.slice(0, axis as isize).push(masked.num_elements());
            g.set_shape(flat, shape.concatenate(&tensor_shape.slice_from(end)))?;
        }
        let mask = g.reshape(mask, [-1i32])?;
        let places = g.where_true(mask)?;
        let places = g.squeeze(places, &[1])?;
        g.gather_with(flat, places, start, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_is_equal_to_nothing() {
        let tensor: Tensor = "f32[NaN 1 -0 0 NaN]".parse().unwrap();
        let groups = groups_of(&tensor, 0).unwrap();
        assert_eq!(groups.of, [0, 1, 2, 2, 3]);
        assert_eq!(groups.sizes, [1, 1, 2, 1]);
    }
}
