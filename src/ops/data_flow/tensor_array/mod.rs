//! Arrays of tensors that are written once an element, as loops produce them: the ops `TensorArray*` and their builder.

mod builder;
mod grad;
mod kernels;
mod object;

pub(crate) use kernels::elements;

pub use builder::{TensorArray, TensorArrayOptions};

use super::handle::check_shape as check_handle;
use super::record;
use crate::error::Result;
use crate::graph::op::{Grad, HandleData, InferCtx, Op};
use crate::ops::shape;
use crate::tensor::Shape;

const NONE: Grad = Grad::None("a handle holds no value of its own");

const CREATE_V1: &[&str] = &[
    "dtype: type",
    "dynamic_size: bool = false",
    "clear_after_read: bool = true",
    "tensor_array_name: string = ''",
    "element_shape: shape = shape?",
];
const CREATE_V2: &[&str] = &[
    "dtype: type",
    "element_shape: shape = shape?",
    "dynamic_size: bool = false",
    "clear_after_read: bool = true",
    "tensor_array_name: string = ''",
];
const CREATE_V3: &[&str] = &[
    "dtype: type",
    "element_shape: shape = shape?",
    "dynamic_size: bool = false",
    "clear_after_read: bool = true",
    "identical_element_shapes: bool = false",
    "tensor_array_name: string = ''",
];
const SOURCE: &[&str] = &["source: string"];
const T: &[&str] = &["T: type"];
const DTYPE: &[&str] = &["dtype: type"];
const GATHER: &[&str] = &["dtype: type", "element_shape: shape = shape?"];
const CONCAT: &[&str] = &["dtype: type", "element_shape_except0: shape = shape?"];
const FLOW_OUT: &[&str] = &["flow_out: float"];
const VALUE: &[&str] = &["value: dtype"];
const VALUE_LENGTHS: &[&str] = &["value: dtype", "lengths: int64"];

/// The three versions of each op, which differ in the type of the handle; then single ops.
macro_rules! versions {
    ($({ $name:literal, [$($ins:literal),*], $outs:expr, $attrs:expr, $shape:expr, $kernel:expr, $grad:expr },)* $(; $single:expr)*) => {
        &[
            $(
                record($name, &["handle: Ref(string)" $(, $ins)*], $outs, $attrs, $shape, $kernel, $grad),
                record(concat!($name, "V2"), &["handle: string" $(, $ins)*], $outs, $attrs, $shape, $kernel, $grad),
                record(concat!($name, "V3"), &["handle: resource" $(, $ins)*], $outs, $attrs, $shape, $kernel, $grad),
            )*
            $($single,)*
        ]
    };
}

pub(super) static OPS: &[Op] = versions! {
    { "TensorArrayRead", ["index: int32", "flow_in: float"], VALUE, DTYPE, read_shape, kernels::read, Grad::Fn(grad::read) },
    {
        "TensorArrayWrite", ["index: int32", "value: T", "flow_in: float"], FLOW_OUT, T,
        write_shape, kernels::write, Grad::Fn(grad::write)
    },
    {
        "TensorArrayGather", ["indices: int32", "flow_in: float"], VALUE, GATHER,
        gather_shape, kernels::gather, Grad::Fn(grad::gather)
    },
    {
        "TensorArrayScatter", ["indices: int32", "value: T", "flow_in: float"], FLOW_OUT, T,
        scatter_shape, kernels::scatter, Grad::Fn(grad::scatter)
    },
    { "TensorArrayConcat", ["flow_in: float"], VALUE_LENGTHS, CONCAT, concat_shape, kernels::concat, Grad::Fn(grad::concat) },
    {
        "TensorArraySplit", ["value: T", "lengths: int64", "flow_in: float"], FLOW_OUT, T,
        split_shape, kernels::split, Grad::Fn(grad::split)
    },
    { "TensorArraySize", ["flow_in: float"], &["size: int32"], &[], size_shape, kernels::size, NONE },
    { "TensorArrayClose", [], &[], &[], check_handle, kernels::close, NONE },
    ; record("TensorArray", &["size: int32"], &["handle: Ref(string)"], CREATE_V1, create_shape, kernels::create, NONE)
    ; record("TensorArrayV2", &["size: int32"], &["handle: string"], CREATE_V2, create_shape, kernels::create, NONE)
    ; record("TensorArrayV3", &["size: int32"], &["handle: resource", "flow: float"], CREATE_V3, create_shape, kernels::create, NONE)
    ; record("TensorArrayGrad", &["handle: string", "flow_in: float"], &["grad_handle: Ref(string)"], SOURCE, grad_shape, kernels::gradient, NONE)
    ; record("TensorArrayGradV2", &["handle: string", "flow_in: float"], &["grad_handle: string"], SOURCE, grad_shape, kernels::gradient, NONE)
    ; record("TensorArrayGradV3", &["handle: resource", "flow_in: float"], GRAD_V3, SOURCE, grad_shape, kernels::gradient, NONE)
    ; record("TensorArrayGradWithShape", &["handle: resource", "flow_in: float", "shape_to_prepend: int32"], GRAD_V3, SOURCE, grad_shape, kernels::gradient, NONE)
    ; record("TensorArrayPack", &["handle: Ref(string)", "flow_in: float"], VALUE, GATHER, shape::unknown, kernels::pack, Grad::Missing)
    ; record("TensorArrayUnpack", &["handle: Ref(string)", "value: T", "flow_in: float"], FLOW_OUT, T, shape::scalar, kernels::unpack, Grad::Missing)
};

const GRAD_V3: &[&str] = &["grad_handle: resource", "flow_out: float"];

fn create_shape(ctx: &mut InferCtx) -> Result<()> {
    ctx.input(0).with_rank(0)?;
    ctx.set(0, Shape::from([2]))?;
    if ctx.num_outputs() > 1 {
        ctx.set(1, Shape::scalar())?;
        let data = HandleData { dtype: ctx.dtype("dtype")?, shape: ctx.shape_attr("element_shape")? };
        ctx.set_handle(0, data);
    }
    Ok(())
}

fn grad_shape(ctx: &mut InferCtx) -> Result<()> {
    check_handle(ctx)?;
    ctx.set(0, Shape::from([2]))?;
    if ctx.num_outputs() > 1 {
        ctx.set(1, Shape::scalar())?;
    }
    if let Some(mut data) = ctx.handle(0) {
        if ctx.num_inputs() > 2 {
            let rank = ctx.input(2).with_rank(1)?.dim(0);
            let front = rank.map_or(Shape::unknown(), Shape::of_rank);
            data.shape = front.concatenate(&data.shape);
        }
        ctx.set_handle(0, data);
    }
    Ok(())
}

/// The static shape of the elements, as the handle tells.
fn element_shape(ctx: &InferCtx) -> Shape {
    ctx.handle(0).map(|data| data.shape).unwrap_or_default()
}

fn read_shape(ctx: &mut InferCtx) -> Result<()> {
    check_handle(ctx)?;
    ctx.input(1).with_rank(0)?;
    ctx.input(2).with_rank(0)?;
    ctx.set(0, element_shape(ctx))
}

fn write_shape(ctx: &mut InferCtx) -> Result<()> {
    check_handle(ctx)?;
    ctx.input(1).with_rank(0)?;
    ctx.input(3).with_rank(0)?;
    element_shape(ctx).merge(&ctx.input(2))?;
    ctx.set(0, Shape::scalar())
}

fn gather_shape(ctx: &mut InferCtx) -> Result<()> {
    check_handle(ctx)?;
    let indices = ctx.input(1).with_rank(1)?;
    ctx.input(2).with_rank(0)?;
    let element = match ctx.handle(0) {
        Some(data) => data.shape,
        None => ctx.shape_attr("element_shape")?,
    };
    ctx.set(0, indices.concatenate(&element))
}

fn scatter_shape(ctx: &mut InferCtx) -> Result<()> {
    check_handle(ctx)?;
    let indices = ctx.input(1).with_rank(1)?;
    ctx.input(3).with_rank(0)?;
    let value = ctx.input(2);
    if value.rank().is_some() {
        let value = value.with_rank_at_least(1)?;
        value.slice(0, 1).merge(&indices)?;
        value.slice_from(1).merge(&element_shape(ctx))?;
    }
    ctx.set(0, Shape::scalar())
}

fn concat_shape(ctx: &mut InferCtx) -> Result<()> {
    check_handle(ctx)?;
    ctx.input(1).with_rank(0)?;
    ctx.set(1, Shape::of_rank(1))
}

fn split_shape(ctx: &mut InferCtx) -> Result<()> {
    check_handle(ctx)?;
    ctx.input(2).with_rank(1)?;
    ctx.input(3).with_rank(0)?;
    ctx.set(0, Shape::scalar())
}

fn size_shape(ctx: &mut InferCtx) -> Result<()> {
    check_handle(ctx)?;
    ctx.set(0, Shape::scalar())
}
