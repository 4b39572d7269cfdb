//! The records of the pooling ops.

use super::*;
use crate::graph::op::{Grad, Kernel, Op};
use crate::ops::nn::gradients::pool as gradients;

const KSIZE: &str = "ksize: list(int) >= 4";
const STRIDES: &str = "strides: list(int) >= 4";
const KSIZE_3D: &str = "ksize: list(int) >= 5";
const STRIDES_3D: &str = "strides: list(int) >= 5";
const PADDING: &str = "padding: {'SAME', 'VALID'}";
const ANY_PADDING: &str = "padding: {'SAME', 'VALID', 'EXPLICIT'}";
const EXPLICIT: &str = "explicit_paddings: list(int) = []";
const FORMAT: &str = "data_format: {'NHWC', 'NCHW'} = 'NHWC'";
const FORMAT_OR_VECT: &str = "data_format: {'NHWC', 'NCHW', 'NCHW_VECT_C'} = 'NHWC'";
const FORMAT_3D: &str = "data_format: {'NDHWC', 'NCDHW'} = 'NDHWC'";
const MAX_TYPES: &str = "T: {half, bfloat16, float, double, int32, int64, uint8, int16, int8, uint16, qint8} = DT_FLOAT";
const REAL: &str = "T: {float, double, int32, uint8, int16, int8, int64, bfloat16, uint16, half, uint32, uint64}";
const REAL_OR_FLOAT: &str =
    "T: {float, double, int32, uint8, int16, int8, int64, bfloat16, uint16, half, uint32, uint64} = DT_FLOAT";
const FLOATS: &str = "T: {half, bfloat16, float, double}";
const WITH_BATCH: &str = "include_batch_in_index: bool = false";

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "MaxPool",
        ins: &["input: T"],
        outs: &["output: T"],
        attrs: &[MAX_TYPES, KSIZE, STRIDES, ANY_PADDING, EXPLICIT, FORMAT_OR_VECT],
        shape: pooled,
        kernel: Kernel::PurePrepared(max_pool),
        grad: Grad::Fn(gradients::max_pool),
        rows: &[
            "ksize=[1,1,2,1], strides=[1,1,2,1], padding='VALID'; f32[[[[1] [5] [3] [2]]]] => f32[[[[5] [3]]]]",
            "ksize=[1,1,1,2], strides=[1,1,1,2], padding='VALID'; i32[[[[1 5 3 2]]]] => i32[[[[5 3]]]]",
        ],
    },
    Op {
        name: "MaxPoolV2",
        ins: &["input: T", "ksize: int32", "strides: int32"],
        outs: &["output: T"],
        attrs: &[MAX_TYPES, PADDING, FORMAT_OR_VECT],
        shape: pooled,
        kernel: Kernel::PurePrepared(max_pool),
        grad: Grad::Fn(gradients::max_pool_v2),
        rows: &["padding='VALID'; f32[[[[1] [5] [3] [2]]]], i32[1 1 2 1], i32[1 1 2 1] => f32[[[[5] [3]]]]"],
    },
    Op {
        name: "MaxPoolGrad",
        ins: &["orig_input: T", "orig_output: T", "grad: T"],
        outs: &["output: T"],
        attrs: &[KSIZE, STRIDES, ANY_PADDING, EXPLICIT, FORMAT, REAL_OR_FLOAT],
        shape: like_input::<4>,
        kernel: Kernel::PurePrepared(max_pool_grad),
        grad: Grad::Fn(gradients::max_pool_grad),
        rows: &[
            "ksize=[1,1,2,1], strides=[1,1,2,1], padding='VALID'; f32[[[[1] [5] [3] [3]]]], f32[[[[5] [3]]]], f32[[[[7] [8]]]] => f32[[[[0] [7] [8] [0]]]]",
            "ksize=[1,1,2,1], strides=[1,1,2,1], padding='VALID'; f32[[[[NaN] [5] [2] [NaN]]]], f32[[[[5] [2]]]], f32[[[[7] [8]]]] => f32[[[[7] [0] [8] [0]]]]",
        ],
    },
    Op {
        name: "MaxPoolGradV2",
        ins: &["orig_input: T", "orig_output: T", "grad: T", "ksize: int32", "strides: int32"],
        outs: &["output: T"],
        attrs: &[PADDING, FORMAT, REAL_OR_FLOAT],
        shape: like_input::<4>,
        kernel: Kernel::PurePrepared(max_pool_grad),
        grad: Grad::Fn(gradients::max_pool_grad_v2),
        rows: &[
            "padding='VALID'; f32[[[[1] [5] [3] [2]]]], f32[[[[5] [3]]]], f32[[[[7] [8]]]], i32[1 1 2 1], i32[1 1 2 1] => f32[[[[0] [7] [8] [0]]]]",
        ],
    },
    Op {
        name: "MaxPoolGradGrad",
        ins: &["orig_input: T", "orig_output: T", "grad: T"],
        outs: &["output: T"],
        attrs: &[KSIZE, STRIDES, PADDING, FORMAT, REAL],
        shape: twice,
        kernel: Kernel::PurePrepared(max_pool_grad_grad),
        grad: Grad::Fn(gradients::max_pool_grad_grad),
        rows: &[
            "ksize=[1,1,2,1], strides=[1,1,2,1], padding='VALID'; f32[[[[1] [5] [3] [3]]]], f32[[[[5] [3]]]], f32[[[[6] [7] [8] [9]]]] => f32[[[[7] [8]]]]",
        ],
    },
    Op {
        name: "MaxPoolGradGradV2",
        ins: &["orig_input: T", "orig_output: T", "grad: T", "ksize: int32", "strides: int32"],
        outs: &["output: T"],
        attrs: &[PADDING, FORMAT, REAL],
        shape: twice,
        kernel: Kernel::PurePrepared(max_pool_grad_grad),
        grad: Grad::Missing,
        rows: &[
            "padding='VALID'; f32[[[[1] [5] [3] [2]]]], f32[[[[5] [3]]]], f32[[[[6] [7] [8] [9]]]], i32[1 1 2 1], i32[1 1 2 1] => f32[[[[7] [8]]]]",
        ],
    },
    Op {
        name: "MaxPoolWithArgmax",
        ins: &["input: T"],
        outs: &["output: T", "argmax: Targmax"],
        attrs: &[KSIZE, STRIDES, "Targmax: {int32, int64} = DT_INT64", PADDING, WITH_BATCH, REAL],
        shape: pooled_with_argmax,
        kernel: Kernel::PurePrepared(max_pool_with_argmax),
        grad: Grad::Fn(gradients::max_pool_with_argmax),
        rows: &[
            "ksize=[1,1,2,1], strides=[1,1,2,1], padding='VALID'; f32[[[[1] [5]]] [[[3] [2]]]] => f32[[[[5]]] [[[3]]]], i64[[[[1]]] [[[0]]]]",
            "ksize=[1,1,2,1], strides=[1,1,2,1], padding='VALID', include_batch_in_index=true; f32[[[[1] [5]]] [[[3] [2]]]] => f32[[[[5]]] [[[3]]]], i64[[[[1]]] [[[2]]]]",
        ],
    },
    Op {
        name: "MaxPoolGradWithArgmax",
        ins: &["input: T", "grad: T", "argmax: Targmax"],
        outs: &["output: T"],
        attrs: &[KSIZE, STRIDES, PADDING, WITH_BATCH, "Targmax: {int32, int64}", REAL],
        shape: like_input::<4>,
        kernel: Kernel::PurePrepared(max_pool_grad_with_argmax),
        grad: Grad::Missing,
        rows: &[
            "ksize=[1,1,2,1], strides=[1,1,2,1], padding='VALID'; f32[[[[1] [5]]] [[[3] [2]]]], f32[[[[7]]] [[[8]]]], i64[[[[1]]] [[[0]]]] => f32[[[[0] [7]]] [[[8] [0]]]]",
        ],
    },
    Op {
        name: "MaxPoolGradGradWithArgmax",
        ins: &["input: T", "grad: T", "argmax: Targmax"],
        outs: &["output: T"],
        attrs: &[KSIZE, STRIDES, PADDING, WITH_BATCH, "Targmax: {int32, int64}", REAL],
        shape: argmax_twice,
        kernel: Kernel::PurePrepared(max_pool_grad_grad_with_argmax),
        grad: Grad::Missing,
        rows: &[
            "ksize=[1,1,2,1], strides=[1,1,2,1], padding='VALID'; f32[[[[1] [5]]] [[[3] [2]]]], f32[[[[6] [7]]] [[[8] [9]]]], i64[[[[1]]] [[[0]]]] => f32[[[[7]]] [[[8]]]]",
        ],
    },
    Op {
        name: "AvgPool",
        ins: &["value: T"],
        outs: &["output: T"],
        attrs: &[KSIZE, STRIDES, PADDING, FORMAT, FLOATS],
        shape: pooled,
        kernel: Kernel::PurePrepared(avg_pool),
        grad: Grad::Fn(gradients::avg_pool),
        rows: &[
            "ksize=[1,1,2,1], strides=[1,1,2,1], padding='VALID'; f32[[[[1] [5] [3] [2]]]] => f32[[[[3] [2.5]]]]",
            "ksize=[1,1,2,1], strides=[1,1,2,1], padding='SAME'; f64[[[[1] [5] [3]]]] => f64[[[[3] [3]]]]",
        ],
    },
    Op {
        name: "AvgPoolGrad",
        ins: &["orig_input_shape: int32", "grad: T"],
        outs: &["output: T"],
        attrs: &[KSIZE, STRIDES, PADDING, FORMAT, FLOATS],
        shape: stated::<4>,
        kernel: Kernel::PurePrepared(avg_pool_grad),
        grad: Grad::Fn(gradients::avg_pool_grad),
        rows: &[
            "ksize=[1,1,2,1], strides=[1,1,2,1], padding='VALID'; i32[1 1 4 1], f32[[[[4] [6]]]] => f32[[[[2] [2] [3] [3]]]]",
        ],
    },
    Op {
        name: "MaxPool3D",
        ins: &["input: T"],
        outs: &["output: T"],
        attrs: &[KSIZE_3D, STRIDES_3D, PADDING, FORMAT_3D, "T: {half, bfloat16, float}"],
        shape: pooled,
        kernel: Kernel::PurePrepared(max_pool),
        grad: Grad::Fn(gradients::max_pool_3d),
        rows: &["ksize=[1,1,1,2,1], strides=[1,1,1,2,1], padding='VALID'; f32[[[[[1] [5] [3] [2]]]]] => f32[[[[[5] [3]]]]]"],
    },
    Op {
        name: "MaxPool3DGrad",
        ins: &["orig_input: TInput", "orig_output: TInput", "grad: T"],
        outs: &["output: T"],
        attrs: &[
            KSIZE_3D,
            STRIDES_3D,
            PADDING,
            FORMAT_3D,
            "T: {half, bfloat16, float} = DT_FLOAT",
            "TInput: {half, bfloat16, float} = DT_FLOAT",
        ],
        shape: like_input::<5>,
        kernel: Kernel::PurePrepared(max_pool_grad),
        grad: Grad::Fn(gradients::max_pool_3d_grad),
        rows: &[
            "ksize=[1,1,1,2,1], strides=[1,1,1,2,1], padding='VALID'; f32[[[[[1] [5] [3] [3]]]]], f32[[[[[5] [3]]]]], f32[[[[[7] [8]]]]] => f32[[[[[0] [7] [8] [0]]]]]",
        ],
    },
    Op {
        name: "MaxPool3DGradGrad",
        ins: &["orig_input: T", "orig_output: T", "grad: T"],
        outs: &["output: T"],
        attrs: &[KSIZE_3D, STRIDES_3D, PADDING, FORMAT_3D, REAL],
        shape: twice,
        kernel: Kernel::PurePrepared(max_pool_grad_grad),
        grad: Grad::Fn(gradients::max_pool_3d_grad_grad),
        rows: &[
            "ksize=[1,1,1,2,1], strides=[1,1,1,2,1], padding='VALID'; f32[[[[[1] [5] [3] [2]]]]], f32[[[[[5] [3]]]]], f32[[[[[6] [7] [8] [9]]]]] => f32[[[[[7] [8]]]]]",
        ],
    },
    Op {
        name: "AvgPool3D",
        ins: &["input: T"],
        outs: &["output: T"],
        attrs: &[KSIZE_3D, STRIDES_3D, PADDING, FORMAT_3D, FLOATS],
        shape: pooled,
        kernel: Kernel::PurePrepared(avg_pool),
        grad: Grad::Fn(gradients::avg_pool_3d),
        rows: &["ksize=[1,1,1,2,1], strides=[1,1,1,2,1], padding='VALID'; f32[[[[[1] [5] [3] [2]]]]] => f32[[[[[3] [2.5]]]]]"],
    },
    Op {
        name: "AvgPool3DGrad",
        ins: &["orig_input_shape: int32", "grad: T"],
        outs: &["output: T"],
        attrs: &[KSIZE_3D, STRIDES_3D, PADDING, FORMAT_3D, FLOATS],
        shape: stated::<5>,
        kernel: Kernel::PurePrepared(avg_pool_grad),
        grad: Grad::Fn(gradients::avg_pool_3d_grad),
        rows: &[
            "ksize=[1,1,1,2,1], strides=[1,1,1,2,1], padding='VALID'; i32[1 1 1 4 1], f32[[[[[4] [6]]]]] => f32[[[[[2] [2] [3] [3]]]]]",
        ],
    },
];
