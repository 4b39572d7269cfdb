//! Serialized tensors.

use super::single_string;
use crate::error::{Result, bail};
use crate::graph::op::{Grad, Kernel, KernelCtx, Op};
use crate::graph::{Graph, Output};
use crate::ops::sparse::{tensor_bytes, tensor_of_bytes};
use crate::tensor::{DType, Shape, Tensor};

pub(super) static OPS: &[Op] = &[
    Op {
        name: "ParseTensor",
        ins: &["serialized: string"],
        outs: &["output: out_type"],
        attrs: &["out_type: type"],
        shape: |ctx| ctx.set(0, Shape::unknown()),
        kernel: Kernel::Pure(parse_tensor),
        grad: Grad::None("bytes"),
        rows: &["out_type=u8; str \"\\x08\\x04\\x12\\x04\\x12\\x02\\x08\\x02\\\"\\x02\\x07\\x08\" => u8[7 8]"],
    },
    Op {
        name: "SerializeTensor",
        ins: &["tensor: T"],
        outs: &["serialized: string"],
        attrs: &["T: type"],
        shape: |ctx| ctx.set(0, Shape::scalar()),
        kernel: Kernel::Pure(serialize_tensor),
        grad: Grad::None("bytes"),
        rows: &[
            "u8[7 8] => str \"\\x08\\x04\\x12\\x04\\x12\\x02\\x08\\x02\\\"\\x02\\x07\\x08\"",
            "str \"a\" => str \"\\x08\\x07\\x12\\x00B\\x01a\"",
        ],
    },
];

fn parse_tensor(ctx: &mut KernelCtx) -> Result<()> {
    let serialized = ctx.input(0)?;
    if serialized.rank() != 0 {
        bail!(InvalidArgument, "Expected `serialized` to be a scalar, got shape: {}", serialized.shape());
    }
    let (tensor, expected) = (tensor_of_bytes(&single_string(serialized)?)?, ctx.node().dtype("out_type")?);
    if tensor.dtype() != expected {
        bail!(InvalidArgument, "Type mismatch between parsed tensor ({}) and dtype ({expected})", tensor.dtype());
    }
    ctx.set(0, tensor)
}

fn serialize_tensor(ctx: &mut KernelCtx) -> Result<()> {
    let bytes = tensor_bytes(ctx.input(0)?)?;
    ctx.set(0, Tensor::string(bytes))
}

impl Graph {
    /// The tensor that a string holds in serialized form (`tf.io.parse_tensor`).
    ///
    /// # Errors
    /// `InvalidArgument` for a tensor that is no string.
    pub fn parse_tensor(&self, serialized: Output, out_type: DType) -> Result<Output> {
        self.op("ParseTensor").input(serialized).attr("out_type", out_type).output()
    }

    /// The tensor as a string (`tf.io.serialize_tensor`).
    ///
    /// # Errors
    /// `InvalidArgument` for a tensor of another graph.
    pub fn serialize_tensor(&self, tensor: Output) -> Result<Output> {
        self.op("SerializeTensor").input(tensor).output()
    }
}
