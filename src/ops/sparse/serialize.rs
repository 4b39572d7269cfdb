//! Sparse tensors as strings: three serialized `TensorProto` each.

use super::arrange::join;
use super::{Sparse, index_matrix, pick, set_sparse, sparse_input, sparse_output};
use crate::error::{Error, Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::proto::TensorProto;
use crate::tensor::{DType, Handle, Shape, Tensor, Variant};
use bytes::Bytes;
use prost::Message;
use std::any::Any;
use std::sync::Arc;

pub(super) static OPS: &[Op] = &[
    Op {
        name: "SerializeSparse",
        ins: &["sparse_indices: int64", "sparse_values: T", "sparse_shape: int64"],
        outs: &["serialized_sparse: out_type"],
        attrs: &["T: type", "out_type: {string, variant} = DT_STRING"],
        shape: |ctx| {
            sparse_input(ctx, 0)?;
            ctx.set(0, Shape::vector(Some(3)))
        },
        kernel: Kernel::Pure(serialize),
        grad: Grad::Missing,
        rows: &[
            "i64[[1]], u8[7], i64[2] => str[\"\\x08\\t\\x12\\x08\\x12\\x02\\x08\\x01\\x12\\x02\\x08\\x01\\\"\\x08\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\" \
                 \"\\x08\\x04\\x12\\x04\\x12\\x02\\x08\\x01\\\"\\x01\\x07\" \
                 \"\\x08\\t\\x12\\x04\\x12\\x02\\x08\\x01\\\"\\x08\\x02\\x00\\x00\\x00\\x00\\x00\\x00\\x00\"]",
        ],
    },
    Op {
        name: "SerializeManySparse",
        ins: &["sparse_indices: int64", "sparse_values: T", "sparse_shape: int64"],
        outs: &["serialized_sparse: out_type"],
        attrs: &["T: type", "out_type: {string, variant} = DT_STRING"],
        shape: |ctx| {
            sparse_input(ctx, 0)?;
            ctx.set(0, Shape::matrix(None, Some(3)))
        },
        kernel: Kernel::Pure(serialize_many),
        grad: Grad::Missing,
        rows: &["i64{0,2}[], u8{0}[], i64[0 2] => str{0,3}[]"],
    },
    Op {
        name: "DeserializeSparse",
        ins: &["serialized_sparse: Tserialized"],
        outs: &["sparse_indices: int64", "sparse_values: dtype", "sparse_shape: int64"],
        attrs: &["dtype: type", "Tserialized: {string, variant} = DT_STRING"],
        shape: deserialize_shape,
        kernel: Kernel::Pure(deserialize),
        grad: Grad::Missing,
        rows: &[SERIALIZED],
    },
    Op {
        name: "DeserializeManySparse",
        ins: &["serialized_sparse: string"],
        outs: &["sparse_indices: int64", "sparse_values: dtype", "sparse_shape: int64"],
        attrs: &["dtype: type"],
        shape: |ctx| {
            let serialized = ctx.input(0).with_rank(2)?;
            check_columns(&serialized)?;
            sparse_output(ctx, 0, None, None)
        },
        kernel: Kernel::Pure(deserialize),
        grad: Grad::Missing,
        rows: &[SERIALIZED],
    },
];

/// One sparse tensor `i64[[1]], u8[7], i64[2]` in a batch.
const SERIALIZED: &str = "dtype=u8; str[[\"\\x08\\t\\x12\\x08\\x12\\x02\\x08\\x01\\x12\\x02\\x08\\x01\\\"\\x08\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\" \
     \"\\x08\\x04\\x12\\x04\\x12\\x02\\x08\\x01\\\"\\x01\\x07\" \
     \"\\x08\\t\\x12\\x04\\x12\\x02\\x08\\x01\\\"\\x08\\x02\\x00\\x00\\x00\\x00\\x00\\x00\\x00\"]] => i64[[0 1]], u8[7], i64[1 2]";

fn check_columns(serialized: &Shape) -> Result<()> {
    match serialized.dim(-1) {
        Some(columns) if columns != 3 => {
            bail!(InvalidArgument, "Serialized sparse should have 3 as the last dimension but has {columns}")
        }
        _ => Ok(()),
    }
}

fn deserialize_shape(ctx: &mut InferCtx) -> Result<()> {
    check_columns(&ctx.input(0).with_rank_at_least(1)?)?;
    sparse_output(ctx, 0, None, None)
}

/// A tensor as the bytes of a `TensorProto`, plain elements in `tensor_content`.
///
/// # Errors
/// `InvalidArgument` for resources and variants.
pub(crate) fn tensor_bytes(tensor: &Tensor) -> Result<Bytes> {
    let mut message = TensorProto { dtype: tensor.dtype().number(), ..TensorProto::default() };
    message.tensor_shape = Some(tensor.shape().to_message());
    match tensor.strings() {
        Ok(strings) => message.string_val = strings.to_vec(),
        Err(_) => message.tensor_content = tensor.to_le_bytes()?.into_owned().into(),
    }
    Ok(message.encode_to_vec().into())
}

/// The tensor of the bytes of a `TensorProto`.
///
/// # Errors
/// `InvalidArgument` for bytes that are none.
pub(crate) fn tensor_of_bytes(bytes: &Bytes) -> Result<Tensor> {
    let unreadable = |_| Error::invalid_argument("Could not parse `serialized` as TensorProto".to_string());
    let message = TensorProto::decode(&bytes[..]).map_err(unreadable)?;
    Tensor::from_message(&message).map_err(|e| Error::invalid_argument(e.message()))
}

/// A tensor within a variant.
#[derive(Debug)]
struct Held(Tensor);

impl Variant for Held {
    fn type_name(&self) -> &'static str {
        "tensorflow::Tensor"
    }
}

/// One part of a serialized sparse tensor.
enum Part {
    Text(Bytes),
    Value(Handle),
}

/// A part as the output's type asks for it.
fn part(ctx: &KernelCtx, tensor: Tensor) -> Result<Part> {
    match ctx.node().output_types[0] {
        DType::String => tensor_bytes(&tensor).map(Part::Text),
        _ => Ok(Part::Value(Handle::Variant(Arc::new(Held(tensor))))),
    }
}

/// Parts of one kind as a tensor.
fn assemble(dims: &[usize], parts: Vec<Part>, dtype: DType) -> Result<Tensor> {
    let (mut texts, mut values) = (Vec::new(), Vec::new());
    for part in parts {
        match part {
            Part::Text(text) => texts.push(text),
            Part::Value(value) => values.push(value),
        }
    }
    match dtype {
        DType::String => Tensor::from_strings(dims, texts),
        _ => Tensor::from_handles(DType::Variant, dims, values),
    }
}

/// The tensors of all parts.
fn disassemble(serialized: &Tensor) -> Result<Vec<Tensor>> {
    if serialized.dtype() == DType::String {
        return serialized.strings()?.iter().map(tensor_of_bytes).collect();
    }
    let held = |handle: &Handle| match handle {
        Handle::Variant(value) => (&**value as &dyn Any).downcast_ref::<Held>().map(|held| held.0.clone()),
        _ => None,
    };
    let tensor = |handle| held(handle).ok_or_else(|| Error::invalid_argument("Serialized sparse should hold tensors"));
    serialized.handles()?.iter().map(tensor).collect()
}

fn serialize(ctx: &mut KernelCtx) -> Result<()> {
    let parts = {
        Sparse::inputs(ctx, 0)?;
        (0..3).map(|i| part(ctx, ctx.input(i)?.clone())).collect::<Result<Vec<_>>>()?
    };
    let dtype = ctx.node().output_types[0];
    ctx.set(0, assemble(&[3], parts, dtype)?)
}

fn serialize_many(ctx: &mut KernelCtx) -> Result<()> {
    let (rows, all) = {
        let sparse = Sparse::inputs(ctx, 0)?;
        if sparse.rank() < 2 {
            bail!(InvalidArgument, "Rank of input SparseTensor should be > 1, but saw rank: {}", sparse.rank());
        }
        sparse.check_bounds()?;
        let rows = sparse.shape[0] as usize;
        let shape = Tensor::vector(&sparse.shape[1..]);
        let order = sparse.order();
        let mut next = 0;
        let mut all = Vec::new();
        for row in 0..rows {
            let start = next;
            while next < order.len() && sparse.index(order[next])[0] as usize == row {
                next += 1;
            }
            let at = &order[start..next];
            let indices = at.iter().flat_map(|&at| &sparse.index(at)[1..]).copied().collect();
            all.push(part(ctx, index_matrix(at.len(), sparse.rank() - 1, indices)?)?);
            all.push(part(ctx, pick(sparse.values, at)?)?);
            all.push(part(ctx, shape.clone())?);
        }
        (rows, all)
    };
    let dtype = ctx.node().output_types[0];
    ctx.set(0, assemble(&[rows, 3], all, dtype)?)
}

fn deserialize(ctx: &mut KernelCtx) -> Result<()> {
    let (indices, values, shape) = {
        let serialized = ctx.input(0)?;
        let Some((3, batch)) = serialized.dims().split_last() else {
            bail!(InvalidArgument, "Serialized sparse should have 3 as the last dimension but has shape {}", serialized.shape());
        };
        let dtype = ctx.node().dtype("dtype")?;
        if serialized.is_empty() {
            bail!(InvalidArgument, "Serialized sparse should have at least one element, got shape {}", serialized.shape());
        }
        let mut parts = Vec::new();
        let all = disassemble(serialized)?;
        for tensors in all.chunks_exact(3) {
            if tensors[0].dtype() != DType::Int64 || tensors[2].dtype() != DType::Int64 {
                bail!(
                    InvalidArgument,
                    "Expected serialized indices and shape of int64, got {} and {}",
                    tensors[0].dtype(),
                    tensors[2].dtype()
                );
            }
            if tensors[1].dtype() != dtype {
                bail!(
                    InvalidArgument,
                    "Requested SparseTensor of type {dtype} but SparseTensor has values of {}",
                    tensors[1].dtype()
                );
            }
            parts.push(tensors);
        }
        let rank = parts[0][2].len();
        let mut shape: Vec<i64> = vec![0; rank];
        let (mut indices, mut count) = (Vec::new(), 0);
        for (number, part) in parts.iter().enumerate() {
            let sparse = Sparse::new(&part[0], &part[1], &part[2])?;
            if sparse.rank() != rank {
                bail!(
                    InvalidArgument,
                    "Inconsistent rank across SparseTensors: rank {} at {number}, rank {rank} before",
                    sparse.rank()
                );
            }
            shape.iter_mut().zip(sparse.shape).for_each(|(size, &own)| *size = own.max(*size));
            for at in 0..sparse.len() {
                let (mut rest, start) = (number, indices.len());
                indices.resize(start + batch.len(), 0i64);
                for (d, &size) in batch.iter().enumerate().rev() {
                    indices[start + d] = (rest % size) as i64;
                    rest /= size;
                }
                indices.extend_from_slice(sparse.index(at));
                count += 1;
            }
        }
        let values = join(&parts.iter().map(|p| &p[1]).collect::<Vec<_>>())?;
        let shape: Vec<i64> = batch.iter().map(|&d| d as i64).chain(shape).collect();
        (index_matrix(count, batch.len() + rank, indices)?, values, shape)
    };
    set_sparse(ctx, 0, indices, values, &shape)
}
