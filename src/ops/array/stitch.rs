//! Distributing rows by number, and putting them together again.

use super::gather::{position, take};
use super::items::{Item, moved};
use crate::error::{Error, Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::graph::{Gradient, Grads, Graph, Operation, Output};
use crate::ops::convert::Arg;
use crate::tensor::{Dims, Shape, Tensor};

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "DynamicPartition",
        ins: &["data: T", "partitions: int32"],
        outs: &["outputs: num_partitions * T"],
        attrs: &["num_partitions: int >= 1", "T: type"],
        shape: dynamic_partition_shape,
        kernel: Kernel::Pure(dynamic_partition_kernel),
        grad: Grad::Fn(dynamic_partition_grad),
        rows: &[
            "num_partitions=2; f32[1 2 3], i32[0 1 0] => f32[1 3], f32[2]",
            "num_partitions=2; f32[[1 2]], i32[1] => f32{0,2}[], f32[[1 2]]",
        ],
    },
    stitch("DynamicStitch"),
    stitch("ParallelDynamicStitch"),
];

const fn stitch(name: &'static str) -> Op {
    Op {
        name,
        ins: &["indices: N * int32", "data: N * T"],
        outs: &["merged: T"],
        attrs: &["N: int >= 1", "T: type"],
        shape: dynamic_stitch_shape,
        kernel: Kernel::Pure(dynamic_stitch_kernel),
        grad: Grad::Fn(dynamic_stitch_grad),
        rows: &["N=2; (i32[2 0], i32 1), (f32[[1 2] [3 4]], f32[5 6]) => f32[[3 4] [5 6] [1 2]]"],
    }
}

fn dynamic_partition_shape(ctx: &mut InferCtx) -> Result<()> {
    let (data, partitions) = (ctx.input(0), ctx.input(1));
    let Some(rank) = partitions.rank() else {
        return (0..ctx.num_outputs()).try_for_each(|i| ctx.set(i, Shape::unknown()));
    };
    let rank = rank as isize;
    data.slice(0, rank).merge(&partitions)?;
    let shape = Shape::vector(None).concatenate(&data.slice_from(rank));
    (0..ctx.num_outputs()).try_for_each(|i| ctx.set(i, shape.clone()))
}

fn dynamic_partition_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let (data, partitions) = (ctx.input(0)?, ctx.input(1)?);
    if !data.dims().starts_with(partitions.dims()) {
        bail!(
            InvalidArgument,
            "data.shape must start with partitions.shape, got data.shape = {:?}, partitions.shape = {:?}",
            data.dims(),
            partitions.dims()
        );
    }
    let count = ctx.num_outputs();
    let mut places = vec![Vec::new(); count];
    for (i, &partition) in partitions.as_slice::<i32>()?.iter().enumerate() {
        let Some(list) = usize::try_from(partition).ok().and_then(|p| places.get_mut(p)) else {
            bail!(InvalidArgument, "partitions{} = {partition} is not in [0, {count})", position(partitions.dims(), i));
        };
        list.push(i);
    }
    let mut dims = Dims::from_slice(&[partitions.len()]);
    dims.extend_from_slice(&data.dims()[partitions.rank()..]);
    let rows = data.clone().reshaped(&dims)?;
    let parts: Vec<Tensor> = places.iter().map(|p| take(&rows, 0, p)).collect::<Result<_>>()?;
    parts.into_iter().enumerate().try_for_each(|(i, part)| ctx.set(i, part))
}

fn dynamic_partition_grad(g: &Graph, op: Operation, grads: &Grads) -> Result<Vec<Option<Gradient>>> {
    let (data, indices) = (g.input(op, 0)?, g.input(op, 1)?);
    let prefix = g.shape_tensor(indices)?;
    let axes = g.constant([0i32])?;
    let count = g.op("Prod").input(prefix).input(axes).attr("keep_dims", false).output()?;
    let order = g.range(0i32, count, 1i32)?;
    let order = g.reshape(order, prefix)?;
    let places = g.dynamic_partition(order, indices, grads.len())?;
    let grads = (0..grads.len()).map(|i| grads.dense(g, i)).collect::<Result<Vec<_>>>()?;
    let whole = g.op("ParallelDynamicStitch").input_list(&places).input_list(&grads).output()?;
    let shape = g.shape_tensor(data)?;
    Ok(vec![Some(g.reshape(whole, shape)?.into()), None])
}

fn dynamic_stitch_shape(ctx: &mut InferCtx) -> Result<()> {
    let count = ctx.num_inputs() / 2;
    let (mut rest, mut largest) = (Shape::unknown(), Some(-1i64));
    for i in 0..count {
        let (indices, data) = (ctx.input(i), ctx.input(count + i));
        largest = match (largest, ctx.constant(i)) {
            (Some(largest), Some(values)) => Some(values.to_i64s()?.iter().copied().fold(largest, i64::max)),
            _ => None,
        };
        let Some(rank) = indices.rank() else { continue };
        data.slice(0, rank as isize).merge(&indices)?;
        rest = rest.merge(&data.slice_from(rank as isize))?;
    }
    ctx.set(0, Shape::vector(largest.and_then(|l| usize::try_from(l + 1).ok())).concatenate(&rest))
}

fn dynamic_stitch_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let count = ctx.num_inputs() / 2;
    let (mut rows, mut rest): (i64, Option<Dims>) = (0, None);
    for i in 0..count {
        let (indices, data) = (ctx.input(i)?, ctx.input(count + i)?);
        if !data.dims().starts_with(indices.dims()) {
            bail!(
                InvalidArgument,
                "data[{i}].shape = {:?} does not start with indices[{i}].shape = {:?}",
                data.dims(),
                indices.dims()
            );
        }
        let own = Dims::from_slice(&data.dims()[indices.rank()..]);
        if rest.get_or_insert_with(|| own.clone()) != &own {
            bail!(
                InvalidArgument,
                "Need data[0].shape[{}:] = data[{i}].shape[{}:], got shapes {:?} and {:?}",
                ctx.input(0)?.rank(),
                indices.rank(),
                ctx.input(count)?.dims(),
                data.dims()
            );
        }
        for (at, &index) in indices.as_slice::<i32>()?.iter().enumerate() {
            if index < 0 {
                bail!(
                    InvalidArgument,
                    "indices[{i}] is out of range: element {} is {index}, which must be >= 0",
                    position(indices.dims(), at)
                );
            }
            rows = rows.max(i64::from(index) + 1);
        }
    }
    let rest = rest.ok_or_else(|| Error::invalid_argument("there is nothing to stitch"))?;
    let mut dims = Dims::from_slice(&[rows as usize]);
    dims.extend_from_slice(&rest);
    let size: usize = rest.iter().product();
    let dtype = ctx.input(count)?.dtype();
    let zeros = Tensor::zeros(dtype, &dims)?;
    let output = moved!(dtype, T => T::change(zeros, |to| {
        for i in 0..count {
            let indices = ctx.input(i)?.as_slice::<i32>()?;
            let data = T::of(ctx.input(count + i)?)?;
            for (k, &index) in indices.iter().enumerate() {
                to[index as usize * size..][..size].clone_from_slice(&data[k * size..][..size]);
            }
        }
        Ok(())
    }))?;
    ctx.set(0, output)
}

fn dynamic_stitch_grad(g: &Graph, op: Operation, grads: &Grads) -> Result<Vec<Option<Gradient>>> {
    let inputs = g.inputs(op);
    let count = inputs.len() / 2;
    let grad = match grads.get(0) {
        Some(Gradient::Sparse(slices)) => {
            let shape = g.shape_tensor(op.output(0))?;
            let rows = g.index(shape, &[0.into()])?;
            g.op("UnsortedSegmentSum").input(slices.values).input(slices.indices).input(rows).output()?
        }
        _ => grads.dense(g, 0)?,
    };
    let mut out = vec![None; count];
    for &indices in &inputs[..count] {
        out.push(Some(g.gather(grad, indices)?.into()));
    }
    Ok(out)
}

impl Graph {
    /// Distributes rows over `num_partitions` tensors, in order: row `i` into that of number `partitions[i]`
    /// (`tf.dynamic_partition`).
    ///
    /// # Errors
    /// `InvalidArgument` where the shape of `data` doesn't begin with that of `partitions`.
    pub fn dynamic_partition(&self, data: Output, partitions: Output, num_partitions: usize) -> Result<Vec<Output>> {
        self.op("DynamicPartition").input(data).input(partitions).attr("num_partitions", num_partitions).outputs()
    }

    /// Puts rows together: row `i` of `data[k]` becomes row `indices[k][i]` (`tf.dynamic_stitch`).
    ///
    /// # Errors
    /// `InvalidArgument` where shapes don't fit or the dtypes differ.
    pub fn dynamic_stitch(&self, indices: &[Arg], data: &[Arg]) -> Result<Output> {
        self.call("DynamicStitch").list(indices.iter().cloned()).list(data.iter().cloned()).output()
    }
}
