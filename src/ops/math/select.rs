//! Choosing, clipping and adding up whole tensors; functions of three operands.

use super::broadcast::{Broadcast, grain, incompatible};
use super::elementwise::pairs_wide;
use super::grad;
use super::number::Number;
use super::special;
use crate::compute::pool;
use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::ops::shape::{self, broadcast_shapes};
use crate::tensor::{DType, Element, Handle, Tensor, dispatch};
use bytes::Bytes;

const SUMMABLE: &str = "T: {float, double, int32, uint8, int16, int8, complex64, int64, qint8, quint8, qint32, bfloat16, qint16, quint16, uint16, complex128, half, uint32, uint64}";

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "Select",
        ins: &["condition: bool", "t: T", "e: T"],
        outs: &["output: T"],
        attrs: &["T: type"],
        shape: select_shape,
        kernel: Kernel::Pure(select),
        grad: Grad::Fn(grad::select),
        rows: &[
            "bool[true false], f32[1 2], f32[3 4] => f32[1 4]",
            "bool[true false], i32[[1 2] [3 4]], i32[[5 6] [7 8]] => i32[[1 2] [7 8]]",
            "bool false, str[\"a\"], str[\"b\"] => str[\"b\"]",
        ],
    },
    Op {
        name: "SelectV2",
        ins: &["condition: bool", "t: T", "e: T"],
        outs: &["output: T"],
        attrs: &["T: type"],
        shape: select_v2_shape,
        kernel: Kernel::Pure(select_v2),
        grad: Grad::Fn(grad::select_v2),
        rows: &[
            "bool[[true] [false]], f32[1 2], f32 3 => f32[[1 2] [3 3]]",
            "bool[true false], str \"a\", str[\"b\" \"c\"] => str[\"a\" \"c\"]",
            "bool{0}[], i32 1, i32 2 => i32{0}[]",
        ],
    },
    Op {
        name: "ClipByValue",
        ins: &["t: T", "clip_value_min: T", "clip_value_max: T"],
        outs: &["output: T"],
        attrs: &[SUMMABLE],
        shape: shape::unchanged,
        kernel: Kernel::Pure(clip_by_value),
        grad: Grad::Fn(grad::clip_by_value),
        rows: &[
            "f32[1 NaN 5], f32 2, f32 3 => f32[2 NaN 3]",
            "f32[1 2 5], f32[3 3 3], f32 2 => f32[3 3 3]",
            "i32[1 5], i32[2 2], i32[3 4] => i32[2 4]",
        ],
    },
    Op {
        name: "AddN",
        ins: &["inputs: N * T"],
        outs: &["sum: T"],
        attrs: &[
            "N: int >= 1",
            "T: {float, double, int32, uint8, int16, int8, complex64, int64, qint8, quint8, qint32, bfloat16, qint16, quint16, uint16, complex128, half, uint32, uint64, variant}",
        ],
        shape: add_n_shape,
        kernel: Kernel::Pure(add_n),
        grad: Grad::Fn(grad::copied),
        rows: &["f32[1 2], f32[3 4], f32[5 6] => f32[9 12]", "i8 127, i8 1 => i8 -128"],
    },
    Op {
        name: "AccumulateNV2",
        ins: &["inputs: N * T"],
        outs: &["sum: T"],
        attrs: &["N: int >= 1", SUMMABLE, "shape: shape"],
        shape: |ctx| ctx.set(0, ctx.shape_attr("shape")?),
        kernel: Kernel::Pure(add_n),
        grad: Grad::Fn(grad::copied),
        rows: &["shape=shape[2]; f64[1 2], f64[3 4] => f64[4 6]"],
    },
    Op {
        name: "Betainc",
        ins: &["a: T", "b: T", "x: T"],
        outs: &["z: T"],
        attrs: &["T: {float, double}"],
        shape: betainc_shape,
        kernel: Kernel::Pure(betainc),
        grad: Grad::Fn(grad::betainc),
        rows: &["f64[1 2], f64[1 3], f64[0.5 0.3] => f64[0.5 0.3483]", "f32 2, f32 3, f32[0.3 1] => f32[0.3483 1]"],
    },
];

fn select_shape(ctx: &mut InferCtx) -> Result<()> {
    let (condition, data) = (ctx.input(0), ctx.input(1).merge(&ctx.input(2))?);
    if let (Some(handle), Some(other)) = (ctx.handle(1), ctx.handle(2))
        && handle == other
    {
        ctx.set_handle(0, handle);
    }
    let out = match (condition.rank(), data.rank()) {
        (None | Some(0), _) | (_, None) => data,
        (Some(1), Some(rank)) if rank != 1 => {
            let first = data.with_rank_at_least(1)?.slice(0, 1).merge(&condition)?;
            first.concatenate(&data.slice_from(1))
        }
        _ => data.merge(&condition)?,
    };
    ctx.set(0, out)
}

fn select_v2_shape(ctx: &mut InferCtx) -> Result<()> {
    let values = broadcast_shapes(&ctx.input(1), &ctx.input(2))?;
    let out = broadcast_shapes(&ctx.input(0), &values)?;
    ctx.set(0, out)
}

/// Takes each element from one of two tensors, as a condition says; all three broadcast.
fn choose<T: Clone + Send + Sync>(broadcast: &Broadcast<3>, condition: &[bool], t: &[T], e: &[T], out: &mut [T]) {
    broadcast.fill(out, 1, |run, part| {
        let (c, t, e) = (run.part(0, condition), run.part(1, t), run.part(2, e));
        let [moves_c, moves_t, moves_e] = run.moves.map(usize::from);
        if c.len() == 1 {
            let (from, moves) = if c[0] { (t, moves_t) } else { (e, moves_e) };
            match moves {
                1 => part.clone_from_slice(from),
                _ => part.fill(from[0].clone()),
            }
            return;
        }
        for (i, o) in part.iter_mut().enumerate() {
            *o = if c[i * moves_c] { t[i * moves_t].clone() } else { e[i * moves_e].clone() };
        }
    });
}

fn select_broadcast(ctx: &mut KernelCtx, condition_dims: &[usize]) -> Result<()> {
    let (condition, t, e) = (ctx.input(0)?.as_slice::<bool>()?, ctx.input(1)?, ctx.input(2)?);
    let broadcast = Broadcast::new([condition_dims, t.dims(), e.dims()])?;
    let out = match t.dtype() {
        DType::String => {
            let mut out = vec![Bytes::new(); broadcast.dims.iter().product()];
            choose(&broadcast, condition, t.strings()?, e.strings()?, &mut out);
            Tensor::from_strings(&broadcast.dims, out)?
        }
        DType::Resource | DType::Variant => {
            let mut out = vec![Handle::Empty; broadcast.dims.iter().product()];
            choose(&broadcast, condition, t.handles()?, e.handles()?, &mut out);
            Tensor::from_handles(t.dtype(), &broadcast.dims, out)?
        }
        dtype => {
            let mut out = Tensor::uninit(dtype, &broadcast.dims)?;
            dispatch!(dtype, plain, T => {
                choose(&broadcast, condition, t.as_slice::<T>()?, e.as_slice::<T>()?, out.as_mut_slice::<T>()?)
            });
            out
        }
    };
    ctx.set(0, out)
}

fn select(ctx: &mut KernelCtx) -> Result<()> {
    let (condition, t, e) = (ctx.input(0)?, ctx.input(1)?.dims(), ctx.input(2)?.dims());
    if t != e {
        bail!(InvalidArgument, "'then' and 'else' must have the same size, but got {t:?} and {e:?}");
    }
    let dims = condition.dims().to_vec();
    match dims.len() {
        0 => {
            let from = if condition.item::<bool>()? { 1 } else { 2 };
            ctx.forward(from, 0)
        }
        1 if t.len() != 1 => {
            if t.first() != dims.first() {
                bail!(InvalidArgument, "a vector 'cond' of shape {dims:?} must have the length of the first dimension of {t:?}");
            }
            let mut columns = vec![1; t.len()];
            columns[0] = dims[0];
            select_broadcast(ctx, &columns)
        }
        _ if *t == dims[..] => select_broadcast(ctx, &dims),
        _ => bail!(
            InvalidArgument,
            "Inputs to operation {} of type Select must have the same size and shape.  Input 0: {dims:?} != input 1: {t:?}",
            ctx.node().name
        ),
    }
}

fn select_v2(ctx: &mut KernelCtx) -> Result<()> {
    let dims = ctx.input(0)?.dims().to_vec();
    select_broadcast(ctx, &dims)
}

fn clip_by_value(ctx: &mut KernelCtx) -> Result<()> {
    let (mut t, low, high) = (ctx.take(0)?, ctx.take(1)?, ctx.take(2)?);
    for bound in [&low, &high] {
        if !bound.is_scalar() && bound.dims() != t.dims() {
            bail!(
                InvalidArgument,
                "clip_value_min and clip_value_max must be either of the same shape as input, or a scalar. input shape: {:?} \
                 clip_value_min shape: {:?} clip_value_max shape: {:?}",
                t.dims(),
                low.dims(),
                high.dims()
            );
        }
    }
    let dtype = t.dtype();
    dispatch!(dtype.storage(), real, T => {
        let (low, high) = (low.as_slice::<T>()?, high.as_slice::<T>()?);
        let clip = |v: T, low: T, high: T| {
            let v = if high < v { high } else { v };
            if v < low { low } else { v }
        };
        pool::parallel_pieces(t.as_mut_slice::<T>()?, 1, grain(1), |start, piece| match (low, high) {
            (&[low], &[high]) => piece.iter_mut().for_each(|v| *v = clip(*v, low, high)),
            _ => {
                let bound = |bounds: &[T], i: usize| if bounds.len() == 1 { bounds[0] } else { bounds[start + i] };
                piece.iter_mut().enumerate().for_each(|(i, v)| *v = clip(*v, bound(low, i), bound(high, i)));
            }
        });
    });
    ctx.set(0, t)
}

fn add_n_shape(ctx: &mut InferCtx) -> Result<()> {
    let mut out = ctx.input(ctx.num_inputs() - 1);
    for index in (0..ctx.num_inputs() - 1).rev() {
        out = ctx.input(index).merge(&out)?;
    }
    ctx.set(0, out)
}

fn add_n(ctx: &mut KernelCtx) -> Result<()> {
    let inputs = (0..ctx.num_inputs()).map(|i| ctx.take(i)).collect::<Result<Vec<_>>>()?;
    let out = sum_of(inputs)?;
    ctx.set(0, out)
}

/// The sum of tensors of one shape and type; there is at least one.
///
/// # Errors
/// `InvalidArgument` where shapes differ, `Unimplemented` for variants that can't be added.
pub(crate) fn sum_of(mut inputs: Vec<Tensor>) -> Result<Tensor> {
    for (index, input) in inputs.iter().enumerate() {
        if input.dims() != inputs[0].dims() {
            bail!(
                InvalidArgument,
                "Inputs to operation AddN must have the same size and shape. Input 0: {:?} != input {index}: {:?}",
                inputs[0].dims(),
                input.dims()
            );
        }
    }
    // The first tensor that nothing else holds takes the sum.
    let into = inputs.iter().position(Tensor::is_unique).unwrap_or(0);
    let mut sum = inputs.swap_remove(into);
    for input in &inputs {
        if sum.dtype() == DType::Variant {
            sum = add_variants(&sum, input)?;
            continue;
        }
        dispatch!(sum.dtype().storage(), numbers, T => add_into(sum.as_mut_slice::<T>()?, input.as_slice::<T>()?));
    }
    Ok(sum)
}

fn add_into<T: Number>(sum: &mut [T], other: &[T]) {
    pool::parallel_pieces(sum, 1, grain(1), |start, piece| {
        let mut ahead = [T::ZERO; 128];
        for (number, part) in piece.chunks_mut(128).enumerate() {
            let ahead = &mut ahead[..part.len()];
            pairs_wide(part, &other[start + number * 128..][..part.len()], ahead, Number::add);
            part.copy_from_slice(ahead);
        }
    });
}

fn add_variants(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let add = |(a, b): (&Handle, &Handle)| match (a, b) {
        (Handle::Variant(a), Handle::Variant(b)) => Ok(Handle::Variant(a.plus(&**b)?)),
        _ => bail!(InvalidArgument, "AddN can't add {a:?} and {b:?}"),
    };
    Tensor::from_handles(DType::Variant, a.dims(), a.handles()?.iter().zip(b.handles()?).map(add).collect::<Result<_>>()?)
}

fn betainc_shape(ctx: &mut InferCtx) -> Result<()> {
    let mut out = crate::tensor::Shape::unknown();
    for index in 0..3 {
        let shape = ctx.input(index);
        if shape.rank() != Some(0) {
            out = out.merge(&shape)?;
        }
    }
    let all_scalars = (0..3).all(|i| ctx.input(i).rank() == Some(0));
    ctx.set(0, if all_scalars { crate::tensor::Shape::scalar() } else { out })
}

fn betainc(ctx: &mut KernelCtx) -> Result<()> {
    let inputs = [ctx.input(0)?, ctx.input(1)?, ctx.input(2)?];
    let dims = inputs.iter().map(|t| t.dims()).find(|d| !d.is_empty()).unwrap_or(&[]);
    if let Some(other) = inputs.iter().find(|t| !t.is_scalar() && t.dims() != dims) {
        return Err(incompatible(dims, other.dims()));
    }
    let broadcast = Broadcast::new(inputs.map(Tensor::dims))?;
    fn run<T: Element + num_traits::AsPrimitive<f64>>(inputs: [&Tensor; 3], broadcast: &Broadcast<3>) -> Result<Tensor>
    where
        f64: num_traits::AsPrimitive<T>,
    {
        use num_traits::AsPrimitive;
        let [a, b, x] = [inputs[0].as_slice::<T>()?, inputs[1].as_slice::<T>()?, inputs[2].as_slice::<T>()?];
        let mut out = Tensor::uninit(T::DTYPE, &broadcast.dims)?;
        broadcast.fill(out.as_mut_slice::<T>()?, 300, |run, part| {
            for (i, o) in part.iter_mut().enumerate() {
                let at = |n: usize| run.at[n] + if run.moves[n] { i } else { 0 };
                *o = special::betainc(a[at(0)].as_(), b[at(1)].as_(), x[at(2)].as_()).as_();
            }
        });
        Ok(out)
    }
    let out = match inputs[0].dtype() {
        DType::Double => run::<f64>(inputs, &broadcast)?,
        _ => run::<f32>(inputs, &broadcast)?,
    };
    ctx.set(0, out)
}
