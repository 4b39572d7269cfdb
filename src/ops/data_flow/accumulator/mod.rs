//! Accumulators, which gather gradients of many steps and give their mean or sum.

mod kernels;
mod object;

use super::{handle, record};
use crate::error::Result;
use crate::graph::op::{Grad, InferCtx, Op};
use crate::ops::shape;
use crate::tensor::Shape;

const NONE: Grad = Grad::None("what it gathers comes from other steps");
const NUMBERS: &str = "dtype: {float, double, int32, uint8, int16, int8, complex64, int64, qint8, quint8, qint32, bfloat16, qint16, quint16, uint16, complex128, half, uint32, uint64}";
const CREATE: &[&str] =
    &[NUMBERS, "shape: shape", "container: string = ''", "shared_name: string = ''", "reduction_type: {'MEAN', 'SUM'} = 'MEAN'"];
const DTYPE: &[&str] = &[NUMBERS];
const REFERENCE: &[&str] = &["handle: Ref(string)"];
const RESOURCE: &[&str] = &["handle: resource"];

pub(super) static OPS: &[Op] = &[
    record("ConditionalAccumulator", &[], REFERENCE, CREATE, handle::shape, kernels::create, NONE),
    record("SparseConditionalAccumulator", &[], REFERENCE, CREATE, handle::shape, kernels::create, NONE),
    record("ResourceConditionalAccumulator", &[], RESOURCE, CREATE, handle::shape, kernels::create, Grad::Missing),
    record(
        "AccumulatorApplyGradient",
        &["handle: Ref(string)", "local_step: int64", "gradient: dtype"],
        &[],
        DTYPE,
        scalar_at_1,
        kernels::apply,
        NONE,
    ),
    record(
        "ResourceAccumulatorApplyGradient",
        &["handle: resource", "local_step: int64", "gradient: dtype"],
        &[],
        DTYPE,
        scalar_at_1,
        kernels::apply,
        Grad::Missing,
    ),
    record(
        "SparseAccumulatorApplyGradient",
        &[
            "handle: Ref(string)",
            "local_step: int64",
            "gradient_indices: int64",
            "gradient_values: dtype",
            "gradient_shape: int64",
        ],
        &[],
        &[NUMBERS, "has_known_shape: bool"],
        scalar_at_1,
        kernels::apply_sparse,
        NONE,
    ),
    record("AccumulatorNumAccumulated", REFERENCE, &["num_accumulated: int32"], &[], shape::scalar, kernels::count, NONE),
    record(
        "ResourceAccumulatorNumAccumulated",
        RESOURCE,
        &["num_accumulated: int32"],
        &[],
        shape::scalar,
        kernels::count,
        Grad::Missing,
    ),
    record(
        "AccumulatorSetGlobalStep",
        &["handle: Ref(string)", "new_global_step: int64"],
        &[],
        &[],
        scalar_at_1,
        kernels::set_step,
        NONE,
    ),
    record(
        "ResourceAccumulatorSetGlobalStep",
        &["handle: resource", "new_global_step: int64"],
        &[],
        &[],
        scalar_at_1,
        kernels::set_step,
        Grad::Missing,
    ),
    record(
        "AccumulatorTakeGradient",
        &["handle: Ref(string)", "num_required: int32"],
        &["average: dtype"],
        DTYPE,
        take_shape,
        kernels::take,
        NONE,
    ),
    record(
        "ResourceAccumulatorTakeGradient",
        &["handle: resource", "num_required: int32"],
        &["average: dtype"],
        DTYPE,
        take_shape,
        kernels::take,
        Grad::Missing,
    ),
    record(
        "SparseAccumulatorTakeGradient",
        &["handle: Ref(string)", "num_required: int32"],
        &["indices: int64", "values: dtype", "shape: int64"],
        DTYPE,
        take_shape,
        kernels::take_sparse,
        NONE,
    ),
];

fn scalar_at_1(ctx: &mut InferCtx) -> Result<()> {
    ctx.input(1).with_rank(0).map(drop)
}

fn take_shape(ctx: &mut InferCtx) -> Result<()> {
    scalar_at_1(ctx)?;
    (0..ctx.num_outputs()).try_for_each(|i| ctx.set(i, Shape::unknown()))
}
