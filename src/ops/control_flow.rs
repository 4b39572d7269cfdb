//! The control-flow primitives.

use super::shape;
use crate::error::{Result, bail};
use crate::graph::op::{Control, Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::tensor::{DType, Shape};

macro_rules! primitives {
    ($({ $name:literal, $reference:literal, ins: $ins:expr, outs: $outs:expr, ref_ins: $ref_ins:expr, ref_outs: $ref_outs:expr, attrs: $attrs:expr, shape: $shape:expr, kernel: $kernel:expr, grad: $grad:expr },)*) => {
        &[$(
            Op { name: $name, ins: $ins, outs: $outs, attrs: $attrs, shape: $shape, kernel: $kernel, grad: $grad, rows: &[] },
            Op { name: $reference, ins: $ref_ins, outs: $ref_outs, attrs: $attrs, shape: $shape, kernel: $kernel, grad: $grad, rows: &[] },
        )*
        Op {
            name: "LoopCond",
            ins: &["input: bool"],
            outs: &["output: bool"],
            attrs: &[],
            shape: loop_cond_shape,
            kernel: Kernel::Control(Control::LoopCond),
            grad: Grad::Control,
            rows: &[],
        },
        Op {
            name: "RefSelect",
            ins: &["index: int32", "inputs: N * Ref(T)"],
            outs: &["output: Ref(T)"],
            attrs: &["T: type", "N: int >= 1"],
            shape: ref_select_shape,
            kernel: Kernel::Stateful(ref_select),
            grad: Grad::Missing,
            rows: &[],
        },
        Op {
            name: "Abort",
            ins: &[],
            outs: &[],
            attrs: &["error_msg: string = ''", "exit_without_error: bool = false"],
            shape: shape::none,
            kernel: Kernel::Stateful(abort),
            grad: Grad::Missing,
            rows: &[],
        },
        Op {
            name: "ControlTrigger",
            ins: &[],
            outs: &[],
            attrs: &[],
            shape: shape::none,
            kernel: Kernel::Control(Control::ControlTrigger),
            grad: Grad::None("no outputs"),
            rows: &[],
        },
        ]
    };
}

pub(super) static OPS: &[Op] = primitives! {
    {
        "Switch", "RefSwitch",
        ins: &["data: T", "pred: bool"], outs: &["output_false: T", "output_true: T"],
        ref_ins: &["data: Ref(T)", "pred: bool"], ref_outs: &["output_false: Ref(T)", "output_true: Ref(T)"],
        attrs: &["T: type"], shape: switch_shape, kernel: Kernel::Stateful(switch), grad: Grad::Control
    },
    {
        "Merge", "RefMerge",
        ins: &["inputs: N * T"], outs: &["output: T", "value_index: int32"],
        ref_ins: &["inputs: N * Ref(T)"], ref_outs: &["output: Ref(T)", "value_index: int32"],
        attrs: &["T: type", "N: int >= 1"], shape: merge_shape, kernel: Kernel::Control(Control::Merge), grad: Grad::Control
    },
    {
        "Enter", "RefEnter",
        ins: &["data: T"], outs: &["output: T"], ref_ins: &["data: Ref(T)"], ref_outs: &["output: Ref(T)"],
        attrs: &["T: type", "frame_name: string", "is_constant: bool = false", "parallel_iterations: int = 10"],
        shape: enter_shape, kernel: Kernel::Control(Control::Enter), grad: Grad::Control
    },
    {
        "Exit", "RefExit",
        ins: &["data: T"], outs: &["output: T"], ref_ins: &["data: Ref(T)"], ref_outs: &["output: Ref(T)"],
        attrs: &["T: type"], shape: passed_shape, kernel: Kernel::Control(Control::Exit), grad: Grad::Control
    },
    {
        "NextIteration", "RefNextIteration",
        ins: &["data: T"], outs: &["output: T"], ref_ins: &["data: Ref(T)"], ref_outs: &["output: Ref(T)"],
        attrs: &["T: type"], shape: passed_shape, kernel: Kernel::Control(Control::NextIteration), grad: Grad::Control
    },
};

fn switch(ctx: &mut KernelCtx) -> Result<()> {
    let taken = ctx.input(1)?.item::<bool>()?;
    ctx.forward(0, usize::from(taken))
}

fn ref_select(ctx: &mut KernelCtx) -> Result<()> {
    let index = ctx.int_input(0)?;
    match usize::try_from(index) {
        Ok(at) if at + 1 < ctx.num_inputs() => ctx.forward(at + 1, 0),
        _ => bail!(InvalidArgument, "Index must be in the range [0, {}) but got {index}", ctx.num_inputs() - 1),
    }
}

/// The shape that all variables share, if they do.
fn ref_select_shape(ctx: &mut InferCtx) -> Result<()> {
    ctx.input(0).with_rank(0)?;
    let mut shape = ctx.input(1);
    for input in 2..ctx.num_inputs() {
        shape = shape.relax(&ctx.input(input));
    }
    ctx.set(0, shape)
}

/// Ends the step with an error: a library doesn't end the process.
fn abort(ctx: &mut KernelCtx) -> Result<()> {
    let message = ctx.node().string("error_msg")?;
    bail!(Aborted, "Abort_op intentional failure; {message}")
}

fn switch_shape(ctx: &mut InferCtx) -> Result<()> {
    ctx.input(1).with_rank(0)?;
    let data = ctx.input(0);
    ctx.set(0, data.clone())?;
    ctx.set(1, data)?;
    for output in 0..2 {
        if let Some(handle) = ctx.handle(0) {
            ctx.set_handle(output, handle);
        }
    }
    Ok(())
}

/// The shape that all inputs share; sizes that differ are unknown.
fn merge_shape(ctx: &mut InferCtx) -> Result<()> {
    let mut shape = ctx.input(0);
    for input in 1..ctx.num_inputs() {
        shape = shape.relax(&ctx.input(input));
    }
    ctx.set(0, shape)?;
    ctx.set(1, Shape::scalar())?;
    // Of lists that are merged, each may have elements of its own shape.
    if ctx.input_type(0)? == DType::Resource
        && let Some(handle) = ctx.handle(0)
    {
        ctx.set_handle(0, handle);
    }
    Ok(())
}

/// Only the shape of a loop invariant is sure to hold in each iteration; a reference's is taken to.
fn enter_shape(ctx: &mut InferCtx) -> Result<()> {
    if ctx.boolean("is_constant")? || ctx.op.name == "RefEnter" {
        ctx.set(0, ctx.input(0))?;
    }
    if let Some(handle) = ctx.handle(0) {
        ctx.set_handle(0, handle);
    }
    Ok(())
}

fn passed_shape(ctx: &mut InferCtx) -> Result<()> {
    ctx.set(0, ctx.input(0))?;
    if let Some(handle) = ctx.handle(0) {
        ctx.set_handle(0, handle);
    }
    Ok(())
}

fn loop_cond_shape(ctx: &mut InferCtx) -> Result<()> {
    ctx.input(0).with_rank(0)?;
    ctx.set(0, Shape::scalar())
}
