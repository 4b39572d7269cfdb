//! Ops that pass their input on, some with a check.

use crate::error::{Result, bail};
use crate::graph::Gradient;
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::graph::{Grads, Graph, Operation, Output};
use crate::ops::shape;
use crate::tensor::{DType, Shape, Tensor, dispatch};

pub(in crate::ops) static OPS: &[Op] = &[
    forwarding("Identity", Grad::Fn(same)),
    forwarding("Snapshot", Grad::Missing),
    forwarding("StopGradient", Grad::None("its purpose")),
    forwarding("DebugGradientIdentity", Grad::Missing),
    forwarding("_EagerConst", Grad::Missing),
    Op {
        name: "IdentityN",
        ins: &["input: T"],
        outs: &["output: T"],
        attrs: &["T: list(type) >= 1"],
        shape: passed_on,
        kernel: Kernel::Pure(|ctx| (0..ctx.num_inputs()).try_for_each(|i| ctx.forward(i, i))),
        grad: Grad::Fn(same),
        rows: &["f32[1 2], i32 3 => f32[1 2], i32 3"],
    },
    Op {
        name: "PreventGradient",
        ins: &["input: T"],
        outs: &["output: T"],
        attrs: &["T: type", "message: string = ''"],
        shape: passed_on,
        kernel: Kernel::Pure(|ctx| ctx.forward(0, 0)),
        grad: Grad::Fn(prevented),
        rows: &["f32[1 2] => f32[1 2]"],
    },
    Op {
        name: "RefIdentity",
        ins: &["input: Ref(T)"],
        outs: &["output: Ref(T)"],
        attrs: &["T: type"],
        shape: passed_on,
        kernel: Kernel::Stateful(|ctx| ctx.forward(0, 0)),
        grad: Grad::Fn(same),
        rows: &[],
    },
    Op {
        name: "DebugGradientRefIdentity",
        ins: &["input: Ref(T)"],
        outs: &["output: Ref(T)"],
        attrs: &["T: type"],
        shape: passed_on,
        kernel: Kernel::Stateful(|ctx| ctx.forward(0, 0)),
        grad: Grad::Missing,
        rows: &[],
    },
    Op {
        name: "GuaranteeConst",
        ins: &["input: T"],
        outs: &["output: T"],
        attrs: &["T: type"],
        shape: passed_on,
        kernel: Kernel::Stateful(|ctx| {
            if ctx.input(0)?.dtype() == DType::Resource {
                bail!(InvalidArgument, "Input tensor cannot be a resource variable handle.");
            }
            ctx.forward(0, 0)
        }),
        grad: Grad::Missing,
        rows: &["f32[1 2] => f32[1 2]"],
    },
    Op {
        name: "DeepCopy",
        ins: &["x: T"],
        outs: &["y: T"],
        attrs: &["T: type"],
        shape: shape::unchanged,
        kernel: Kernel::Stateful(|ctx| {
            let copy = ctx.input(0)?.deep_copy()?;
            ctx.set(0, copy)
        }),
        grad: Grad::Missing,
        rows: &["f32[1 2] => f32[1 2]"],
    },
    Op {
        name: "Copy",
        ins: &["input: T"],
        outs: &["output: T"],
        attrs: &["T: type", "tensor_name: string = ''", "debug_ops_spec: list(string) = []"],
        shape: passed_on,
        kernel: Kernel::Pure(|ctx| ctx.forward(0, 0)),
        grad: Grad::Missing,
        rows: &["f32[1 2] => f32[1 2]"],
    },
    Op {
        name: "CopyHost",
        ins: &["input: T"],
        outs: &["output: T"],
        attrs: &["T: type", "tensor_name: string = ''", "debug_ops_spec: list(string) = []"],
        shape: passed_on,
        kernel: Kernel::Pure(|ctx| ctx.forward(0, 0)),
        grad: Grad::Missing,
        rows: &["f32[1 2] => f32[1 2]"],
    },
    Op {
        name: "CheckNumerics",
        ins: &["tensor: T"],
        outs: &["output: T"],
        attrs: &["T: {bfloat16, half, float, double}", "message: string"],
        shape: shape::unchanged,
        kernel: Kernel::Stateful(check_numerics),
        grad: Grad::Fn(|g, op, grads| check_numerics_grad(g, op, grads, "CheckNumerics")),
        rows: &["message='m'; f32[1 2] => f32[1 2]"],
    },
    Op {
        name: "CheckNumericsV2",
        ins: &["tensor: T"],
        outs: &["output: T"],
        attrs: &["T: {bfloat16, half, float, double}", "message: string"],
        shape: shape::unchanged,
        kernel: Kernel::Stateful(check_numerics_v2),
        grad: Grad::Fn(|g, op, grads| check_numerics_grad(g, op, grads, "CheckNumericsV2")),
        rows: &["message='m'; f32[1 2] => f32[1 2]"],
    },
    Op {
        name: "EnsureShape",
        ins: &["input: T"],
        outs: &["output: T"],
        attrs: &["shape: shape", "T: type"],
        shape: |ctx| ctx.set(0, ctx.input(0).merge(&ctx.shape_attr("shape")?)?),
        kernel: Kernel::Pure(ensure_shape),
        grad: Grad::Fn(same),
        rows: &["shape=shape[?, 2]; f32[[1 2]] => f32[[1 2]]", "shape=shape?; f32 1 => f32 1"],
    },
];

const fn forwarding(name: &'static str, grad: Grad) -> Op {
    Op {
        name,
        ins: &["input: T"],
        outs: &["output: T"],
        attrs: &["T: type"],
        shape: passed_on,
        kernel: Kernel::Pure(|ctx| ctx.forward(0, 0)),
        grad,
        rows: &["f32[1 2] => f32[1 2]", "str \"a\" => str \"a\""],
    }
}

/// Each output has the shape of the input of its number, and a handle refers to what it referred to.
pub(super) fn passed_on(ctx: &mut InferCtx) -> Result<()> {
    for output in 0..ctx.num_outputs() {
        ctx.set(output, ctx.input(output))?;
        if let Some(handle) = ctx.handle(output) {
            ctx.set_handle(output, handle);
        }
    }
    Ok(())
}

fn same(_: &Graph, _: Operation, grads: &Grads) -> Result<Vec<Option<Gradient>>> {
    Ok((0..grads.len()).map(|i| grads.get(i)).collect())
}

fn prevented(g: &Graph, op: Operation, _: &Grads) -> Result<Vec<Option<Gradient>>> {
    let message = g.get_attr(op, "message")?;
    bail!(NotFound, "Gradient explicitly disabled. Reason: {}", crate::graph::attr::string(&message)?)
}

fn check_numerics_grad(g: &Graph, op: Operation, grads: &Grads, kind: &str) -> Result<Vec<Option<Gradient>>> {
    let message = g.get_attr(op, "message")?;
    let message =
        format!("Not a number (NaN) or infinity (Inf) values detected in gradient. {}", crate::graph::attr::string(&message)?);
    let grad = grads.dense(g, 0)?;
    Ok(vec![Some(g.op(kind).input(grad).attr("message", message).output()?.into())])
}

/// Whether a tensor holds NaN, positive infinity, negative infinity.
fn abnormal(tensor: &Tensor) -> Result<(bool, bool, bool)> {
    dispatch!(tensor.dtype(), floats, T => {
        let values = tensor.as_slice::<T>()?;
        let (mut nan, mut positive, mut negative) = (false, false, false);
        for &value in values {
            let value = f64::from(value);
            nan |= value.is_nan();
            positive |= value == f64::INFINITY;
            negative |= value == f64::NEG_INFINITY;
        }
        Ok((nan, positive, negative))
    })
}

fn check_numerics(ctx: &mut KernelCtx) -> Result<()> {
    let (nan, positive, negative) = abnormal(ctx.input(0)?)?;
    let what = match (nan, positive || negative) {
        (false, false) => return ctx.forward(0, 0),
        (true, false) => "NaN",
        (false, true) => "Inf",
        (true, true) => "Inf and NaN",
    };
    bail!(InvalidArgument, "{} : Tensor had {what} values", ctx.node().string("message")?)
}

fn check_numerics_v2(ctx: &mut KernelCtx) -> Result<()> {
    let (nan, positive, negative) = abnormal(ctx.input(0)?)?;
    let found: Vec<&str> =
        [(negative, "-Inf"), (positive, "+Inf"), (nan, "NaN")].into_iter().filter(|f| f.0).map(|f| f.1).collect();
    match found.split_last() {
        None => ctx.forward(0, 0),
        Some((last, [])) => bail!(InvalidArgument, "{} : Tensor had {last} values", ctx.node().string("message")?),
        Some((last, others)) => {
            bail!(InvalidArgument, "{} : Tensor had {} and {last} values", ctx.node().string("message")?, others.join(", "))
        }
    }
}

fn ensure_shape(ctx: &mut KernelCtx) -> Result<()> {
    let expected = ctx.node().shape("shape")?;
    let input = ctx.input(0)?;
    if !expected.accepts(input.dims()) {
        bail!(
            InvalidArgument,
            "Shape of tensor {} {} is not compatible with expected shape {expected}.",
            ctx.node().name,
            input.shape()
        );
    }
    ctx.forward(0, 0)
}

impl Graph {
    /// The input itself, as a node of its own (`tf.identity`).
    ///
    /// # Errors
    /// `InvalidArgument` for a tensor of another graph.
    pub fn identity(&self, input: Output) -> Result<Output> {
        self.op("Identity").input(input).output()
    }

    /// The inputs themselves, each available once all are (`tf.identity_n`).
    ///
    /// # Errors
    /// `InvalidArgument` without inputs.
    pub fn identity_n(&self, inputs: &[Output]) -> Result<Vec<Output>> {
        self.op("IdentityN").input_list(inputs).outputs()
    }

    /// The input, through which no gradient flows (`tf.stop_gradient`).
    ///
    /// # Errors
    /// `InvalidArgument` for a tensor of another graph.
    pub fn stop_gradient(&self, input: Output) -> Result<Output> {
        self.op("StopGradient").input(input).output()
    }

    /// The input; asking for a gradient through it is an error with this message.
    ///
    /// # Errors
    /// `InvalidArgument` for a tensor of another graph.
    pub fn prevent_gradient(&self, input: Output, message: &str) -> Result<Output> {
        self.op("PreventGradient").input(input).attr("message", message).output()
    }

    /// The input; the step fails with `InvalidArgument` and this message where it holds NaN or infinity
    /// (`tf.debugging.check_numerics`).
    ///
    /// # Errors
    /// `InvalidArgument` for a tensor that isn't of floats.
    pub fn check_numerics(&self, input: Output, message: &str) -> Result<Output> {
        self.op("CheckNumerics").input(input).attr("message", message).output()
    }

    /// The input; the step fails with `InvalidArgument` where its shape contradicts this one (`tf.ensure_shape`).
    ///
    /// # Errors
    /// `InvalidArgument` where the static shape contradicts it already.
    pub fn ensure_shape(&self, input: Output, shape: impl Into<Shape>) -> Result<Output> {
        let (g, scope) = self.enter("EnsureShape")?;
        g.op("EnsureShape").name(scope.name()).input(input).attr("shape", shape.into()).output()
    }
}
