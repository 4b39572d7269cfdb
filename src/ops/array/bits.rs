//! Elements read as other elements, indices as positions, and distances of strings of elements.

use super::shaping::index_tensor;
use crate::error::{Error, Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::graph::{Graph, Output, edit_distance};
use crate::ops::convert::Arg;
use crate::tensor::{DType, Dims, Shape, Tensor, dispatch};
use std::collections::BTreeMap;

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "Bitcast",
        ins: &["input: T"],
        outs: &["output: type"],
        attrs: &[
            "T: {bfloat16, half, float, double, int64, int32, uint8, uint16, uint32, uint64, int8, int16, complex64, complex128, qint8, quint8, qint16, quint16, qint32}",
            "type: {bfloat16, half, float, double, int64, int32, uint8, uint16, uint32, uint64, int8, int16, complex64, complex128, qint8, quint8, qint16, quint16, qint32}",
        ],
        shape: bitcast_shape,
        kernel: Kernel::Pure(bitcast_kernel),
        grad: Grad::Missing,
        rows: &[
            "type=DT_INT32; f32[1 -2] => i32[1065353216 -1073741824]",
            "type=DT_UINT16; u32[65537] => u16[[1 1]]",
            "type=DT_UINT32; u16[[1 1]] => u32[65537]",
        ],
    },
    Op {
        name: "UnravelIndex",
        ins: &["indices: Tidx", "dims: Tidx"],
        outs: &["output: Tidx"],
        attrs: &["Tidx: {int32, int64} = DT_INT32"],
        shape: |ctx| {
            let (indices, count) = (ctx.input(0), ctx.input(1).with_rank(1)?.dim(0));
            match indices.rank() {
                Some(0) => ctx.set(0, Shape::vector(count)),
                Some(_) => ctx.set(0, Shape::matrix(count, indices.num_elements())),
                None => ctx.set(0, Shape::unknown()),
            }
        },
        kernel: Kernel::Pure(unravel_index_kernel),
        grad: Grad::Missing,
        rows: &["i32[22 41 37], i32[7 6] => i32[[3 6 6] [4 5 1]]", "i64 5, i64[2 3] => i64[1 2]"],
    },
    Op {
        name: "EditDistance",
        ins: &[
            "hypothesis_indices: int64",
            "hypothesis_values: T",
            "hypothesis_shape: int64",
            "truth_indices: int64",
            "truth_values: T",
            "truth_shape: int64",
        ],
        outs: &["output: float"],
        attrs: &["normalize: bool = true", "T: type"],
        shape: edit_distance_shape,
        kernel: Kernel::Pure(edit_distance_kernel),
        grad: Grad::None("depends on integers alone"),
        rows: &["i64[[0 0] [0 1]], i32[1 2], i64[1 2], i64[[0 0] [0 1] [0 2] [0 3]], i32[1 3 2 4], i64[1 4] => f32[0.5]"],
    },
    Op {
        name: "ImmutableConst",
        ins: &[],
        outs: &["tensor: dtype"],
        attrs: &["dtype: type", "shape: shape", "memory_region_name: string"],
        shape: |ctx| ctx.set(0, ctx.shape_attr("shape")?),
        kernel: Kernel::Stateful(immutable_const_kernel),
        grad: Grad::Missing,
        rows: &[],
    },
];

fn bitcast_shape(ctx: &mut InferCtx) -> Result<()> {
    let input = ctx.input(0);
    let (from, to) = (ctx.input_type(0)?.size(), ctx.output_type(0)?.size());
    if input.rank().is_none() || from == to {
        return ctx.set(0, input);
    }
    if from > to {
        return ctx.set(0, input.push(Some(from / to)));
    }
    let ratio = to / from;
    let input = input.with_rank_at_least(1)?;
    if input.dim(-1).is_some_and(|d| d != ratio) {
        bail!(InvalidArgument, "Cannot bitcast due to shape. {} does not match {ratio}", input.dim(-1).unwrap_or(0));
    }
    ctx.set(0, input.slice(0, -1))
}

fn bitcast_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let input = ctx.input(0)?;
    let dtype = ctx.node().output_types[0];
    let (from, to) = (input.dtype().size(), dtype.size());
    let mut dims = Dims::from_slice(input.dims());
    if from > to {
        dims.push(from / to);
    } else if from < to && dims.pop() != Some(to / from) {
        bail!(
            InvalidArgument,
            "Cannot bitcast from {} to {dtype}: the last dimension of shape {:?} isn't {}",
            input.dtype(),
            input.dims(),
            to / from
        );
    }
    let mut output = Tensor::uninit(dtype, &dims)?;
    output.bytes_mut()?.copy_from_slice(input.bytes()?);
    ctx.set(0, output)
}

fn unravel_index_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let (indices, dims) = (ctx.input(0)?, ctx.input(1)?);
    if dims.rank() != 1 || indices.rank() > 1 {
        bail!(
            InvalidArgument,
            "The indices can only be scalar or vector and dims a vector, got {:?} and {:?}",
            indices.dims(),
            dims.dims()
        );
    }
    let sizes = dims.to_i64s()?;
    if sizes.contains(&0) {
        bail!(InvalidArgument, "Input dims cannot contain a dim of zero, but dims contains zero");
    }
    let Ok(sizes) = dims.to_dims() else { bail!(InvalidArgument, "dims cannot be negative: {dims}") };
    let Some(total) = sizes.iter().try_fold(1i64, |n, &d| n.checked_mul(i64::try_from(d).ok()?)) else {
        bail!(InvalidArgument, "Input dims product is causing integer overflow: {dims}");
    };
    let count = indices.len();
    let mut positions = vec![0usize; sizes.len() * count];
    for (i, &index) in indices.to_i64s()?.iter().enumerate() {
        if !(0..total).contains(&index) {
            bail!(InvalidArgument, "index is out of bound as with dims");
        }
        let mut rest = index as usize;
        for (row, &size) in sizes.iter().enumerate().rev() {
            positions[row * count + i] = rest % size;
            rest /= size;
        }
    }
    let out_dims: &[usize] = if indices.rank() == 0 { &[sizes.len()] } else { &[sizes.len(), count] };
    let output = index_tensor(indices.dtype(), out_dims, positions)?;
    ctx.set(0, output)
}

fn edit_distance_shape(ctx: &mut InferCtx) -> Result<()> {
    for base in [0, 3] {
        let (indices, values) = (ctx.input(base).with_rank(2)?, ctx.input(base + 1).with_rank(1)?);
        let shape = ctx.input(base + 2).with_rank(1)?;
        Shape::vector(indices.dim(0)).merge(&values)?;
        Shape::vector(indices.dim(1)).merge(&shape)?;
    }
    let (Some(a), Some(b)) = (ctx.constant(2), ctx.constant(5)) else { return ctx.set(0, Shape::unknown()) };
    if a.len() != b.len() {
        bail!(InvalidArgument, "Num elements of hypothesis_shape does not match truth_shape: {} vs. {}", a.len(), b.len());
    }
    ctx.set(0, Shape::from_signed(grouped_dims(&a.to_i64s()?, &b.to_i64s()?)))
}

fn grouped_dims(a: &[i64], b: &[i64]) -> Vec<i64> {
    let count = a.len().saturating_sub(1);
    a.iter().zip(b).take(count).map(|(&a, &b)| a.max(b)).collect()
}

/// The numbers of the elements of each row of a sparse tensor, by the row's index.
fn sparse_rows(indices: &Tensor, values: &Tensor, shape: &Tensor) -> Result<BTreeMap<Vec<i64>, Vec<usize>>> {
    if indices.rank() != 2 || values.rank() != 1 || shape.rank() != 1 {
        bail!(
            InvalidArgument,
            "indices should be a matrix, values and shape vectors, but got shapes {:?}, {:?} and {:?}",
            indices.dims(),
            values.dims(),
            shape.dims()
        );
    }
    let rank = shape.len();
    if indices.dims()[0] != values.len() || indices.dims()[1] != rank || rank < 2 {
        bail!(
            InvalidArgument,
            "{} values of rank {rank} (at least 2) need indices of shape [{}, {rank}], got {:?}",
            values.len(),
            values.len(),
            indices.dims()
        );
    }
    let limits = shape.to_i64s()?;
    let mut rows: BTreeMap<Vec<i64>, Vec<usize>> = BTreeMap::new();
    let mut last: Option<&[i64]> = None;
    let indices = indices.to_i64s()?;
    for (i, index) in indices.chunks_exact(rank).enumerate() {
        if index.iter().zip(&limits).any(|(i, limit)| !(0..*limit).contains(i)) {
            bail!(InvalidArgument, "indices[{i}] = {index:?} is out of bounds: need 0 <= index < {limits:?}");
        }
        if last.is_some_and(|last| last >= index) {
            bail!(InvalidArgument, "indices[{i}] = {index:?} is out of order or repeated");
        }
        last = Some(index);
        rows.entry(index[..rank - 1].to_vec()).or_default().push(i);
    }
    Ok(rows)
}

fn distance_of(a: &Tensor, b: &Tensor, rows: (&[usize], &[usize])) -> Result<usize> {
    if a.dtype() == DType::String {
        let (a, b) = (a.strings()?, b.strings()?);
        let pick = |of: &[bytes::Bytes], rows: &[usize]| rows.iter().map(|&i| of[i].clone()).collect::<Vec<_>>();
        return Ok(edit_distance(&pick(a, rows.0), &pick(b, rows.1)));
    }
    dispatch!(a.dtype(), plain, T => {
        let (a, b) = (a.as_slice::<T>()?, b.as_slice::<T>()?);
        let pick = |of: &[T], rows: &[usize]| rows.iter().map(|&i| of[i]).collect::<Vec<_>>();
        Ok(edit_distance(&pick(a, rows.0), &pick(b, rows.1)))
    })
}

fn edit_distance_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let (a_shape, b_shape) = (ctx.input(2)?, ctx.input(5)?);
    let a_rows = sparse_rows(ctx.input(0)?, ctx.input(1)?, a_shape)?;
    let b_rows = sparse_rows(ctx.input(3)?, ctx.input(4)?, b_shape)?;
    if a_shape.len() != b_shape.len() {
        bail!(
            InvalidArgument,
            "truth_shape and hypothesis_shape should have the same length, got {} and {}",
            b_shape.len(),
            a_shape.len()
        );
    }
    let normalize = ctx.node().boolean("normalize")?;
    let dims = grouped_dims(&a_shape.to_i64s()?, &b_shape.to_i64s()?);
    let negative = || Error::invalid_argument(format!("shapes must not be negative: {dims:?}"));
    let out_dims: Dims = dims.iter().map(|&d| usize::try_from(d).map_err(|_| negative())).collect::<Result<_>>()?;
    let mut output = Tensor::zeros(DType::Float, &out_dims)?;
    let out = output.as_mut_slice::<f32>()?;
    let mut groups: Vec<&Vec<i64>> = a_rows.keys().chain(b_rows.keys()).collect();
    groups.sort();
    groups.dedup();
    for group in groups {
        let (a, b) = (a_rows.get(group).map_or(&[][..], |r| r), b_rows.get(group).map_or(&[][..], |r| r));
        let steps = distance_of(ctx.input(1)?, ctx.input(4)?, (a, b))? as f32;
        let place = group.iter().zip(&out_dims).fold(0, |at, (&i, &dim)| at * dim + i as usize);
        out[place] = match (normalize, b.len()) {
            (false, _) => steps,
            (true, 0) if a.is_empty() => 0.0,
            (true, 0) => f32::INFINITY,
            (true, length) => steps / length as f32,
        };
    }
    ctx.set(0, output)
}

fn immutable_const_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let node = ctx.node();
    let (dtype, name) = (node.dtype("dtype")?, node.string("memory_region_name")?);
    let Some(dims) = node.shape("shape")?.to_dims() else { bail!(InvalidArgument, "the shape must be fully known") };
    if !dtype.is_plain() {
        bail!(InvalidArgument, "Sorry, DT_{} is not currently supported", dtype.interface_name().to_uppercase());
    }
    let bytes = std::fs::read(name).map_err(|e| Error::from(e).within(format!("file {name}")))?;
    let mut output = Tensor::zeros(dtype, &dims)?;
    let to = output.bytes_mut()?;
    let Some(from) = bytes.get(..to.len()) else {
        bail!(InvalidArgument, "the memory region {name} has {} bytes, the tensor needs {}", bytes.len(), to.len());
    };
    if dtype == DType::Bool && from.iter().any(|&b| b > 1) {
        bail!(InvalidArgument, "the memory region {name} holds bytes that are no bools");
    }
    to.copy_from_slice(from);
    ctx.set(0, output)
}

impl Graph {
    /// The bytes of a tensor as elements of another dtype (`tf.bitcast`). Smaller elements get a dimension of their own,
    /// larger ones use up the last dimension.
    ///
    /// # Errors
    /// `InvalidArgument` where the last dimension doesn't make one larger element.
    pub fn bitcast(&self, input: Output, dtype: DType) -> Result<Output> {
        self.op("Bitcast").input(input).attr("type", dtype).output()
    }

    /// Flat indices as positions in a tensor of these dimensions (`tf.unravel_index`).
    ///
    /// # Errors
    /// `InvalidArgument` for indices that aren't a scalar or vector.
    pub fn unravel_index(&self, indices: Output, dims: impl Into<Arg>) -> Result<Output> {
        self.call("UnravelIndex").arg(indices).arg(dims).output()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_levenshtein_s() {
        for (a, b, expected) in [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3), ("abc", "abc", 0), ("ab", "ba", 2)] {
            assert_eq!(edit_distance(a.as_bytes(), b.as_bytes()), expected, "{a} {b}");
        }
    }
}
