//! ArgMax and ArgMin.

use super::axes::canonical_axis;
use super::broadcast::grain;
use super::number::Real;
use crate::compute::pool;
use crate::error::{Result, bail};
use crate::graph::op::{InferCtx, Kernel, KernelCtx, Op};
use crate::tensor::{DType, Element, Shape, Tensor, dispatch};

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "ArgMax",
        ins: &["input: T", "dimension: Tidx"],
        outs: &["output: output_type"],
        attrs: &[
            "T: {float, double, int32, uint8, int16, int8, int64, bfloat16, uint16, half, uint32, uint64, qint8, quint8, qint32, qint16, quint16, bool}",
            "Tidx: {int16, int32, int64} = DT_INT32",
            "output_type: {int16, uint16, int32, int64} = DT_INT64",
        ],
        shape: arg_shape,
        kernel: Kernel::Pure(|ctx| arg(ctx, true)),
        grad: super::grad::NONE,
        rows: &[
            "f32[1 NaN 3 3], i32 0 => i64 2",
            "output_type=i32; i32[[1 5] [4 2]], i32 -1 => i32[1 0]",
            "i32[[1 5] [4 2]], i32 0 => i64[1 0]",
            "bool[false true true], i32 0 => i64 1",
        ],
    },
    Op {
        name: "ArgMin",
        ins: &["input: T", "dimension: Tidx"],
        outs: &["output: output_type"],
        attrs: &[
            "T: {float, double, int32, uint8, int16, int8, int64, bfloat16, uint16, half, uint32, uint64, qint8, quint8, qint32, qint16, quint16, bool}",
            "Tidx: {int32, int64} = DT_INT32",
            "output_type: {int32, int64} = DT_INT64",
        ],
        shape: arg_shape,
        kernel: Kernel::Pure(|ctx| arg(ctx, false)),
        grad: super::grad::NONE,
        rows: &["f32[3 NaN 1 1], i32 0 => i64 2", "u8[[1 5] [4 2]], i64 0 => i64[0 1]"],
    },
];

fn arg_shape(ctx: &mut InferCtx) -> Result<()> {
    ctx.input(1).with_rank(0)?;
    let input = ctx.input(0);
    let out = match (input.signed(), ctx.constant(1)) {
        (None, _) => Shape::unknown(),
        (Some(dims), _) if dims.len() <= 1 => Shape::scalar(),
        (Some(dims), None) => Shape::of_rank(dims.len() - 1),
        (Some(dims), Some(axis)) => {
            let axis = axis.item_i64()?;
            let Some(axis) = canonical_axis(axis, dims.len()) else {
                bail!(InvalidArgument, "Dimension ({axis}) must be in the range [{}, {})", -(dims.len() as i64), dims.len());
            };
            Shape::from_signed(dims.iter().enumerate().filter(|(i, _)| *i != axis).map(|(_, &d)| d))
        }
    };
    ctx.set(0, out)
}

fn arg(ctx: &mut KernelCtx, largest: bool) -> Result<()> {
    let (input, dimension) = (ctx.input(0)?, ctx.input(1)?);
    if !dimension.is_scalar() {
        bail!(InvalidArgument, "dim must be a scalar, but received tensor of shape: {:?}", dimension.dims());
    }
    let (dims, axis) = (input.dims(), dimension.item_i64()?);
    let Some(axis) = canonical_axis(axis, dims.len()) else {
        let rank = dims.len() as i64;
        bail!(InvalidArgument, "Expected dimension in the range [{}, {rank}), but got {axis}", -rank);
    };
    if dims[axis] == 0 {
        bail!(InvalidArgument, "Reduction axis {axis} is empty in shape {dims:?}");
    }
    let mut out_dims = dims.to_vec();
    out_dims.remove(axis);
    let (size, inner) = (dims[axis], dims[axis + 1..].iter().product::<usize>());
    let mut best = vec![0usize; out_dims.iter().product()];
    if input.dtype() == DType::Bool {
        let data: Vec<u8> = input.as_slice::<bool>()?.iter().map(|&b| u8::from(b)).collect();
        search(&data, size, inner, largest, &mut best);
    } else {
        dispatch!(input.dtype().storage(), real, T => search(input.as_slice::<T>()?, size, inner, largest, &mut best));
    }
    fn indices<I: Element>(dims: &[usize], best: &[usize], convert: fn(usize) -> I) -> Result<Tensor> {
        Tensor::new(dims, best.iter().map(|&i| convert(i)).collect())
    }
    let out = match ctx.node().output_types[0] {
        DType::Int16 => indices(&out_dims, &best, |i| i as i16)?,
        DType::Uint16 => indices(&out_dims, &best, |i| i as u16)?,
        DType::Int32 => indices(&out_dims, &best, |i| i as i32)?,
        _ => indices(&out_dims, &best, |i| i as i64)?,
    };
    ctx.set(0, out)
}

/// The first index of the best element along the middle one of the dimensions `[outer, size, inner]`; NaN is never better.
fn search<T: Real>(data: &[T], size: usize, inner: usize, largest: bool, best: &mut [usize]) {
    let better = |a: T, b: T| if largest { a > b } else { a < b };
    let worst = if largest { T::LOWEST } else { T::HIGHEST };
    pool::parallel_pieces(best, inner, grain(1).div_ceil(size * inner.max(1)), |first, piece| {
        let mut values = vec![worst; inner];
        for (number, best) in piece.chunks_mut(inner).enumerate() {
            let block = &data[(first + number) * size * inner..][..size * inner];
            values.fill(worst);
            for (index, row) in block.chunks(inner).enumerate() {
                for ((&value, top), best) in row.iter().zip(&mut values).zip(&mut *best) {
                    if better(value, *top) {
                        *top = value;
                        *best = index;
                    }
                }
            }
        }
    });
}
