//! Assertions and printing.

use super::shape;
use super::string::summary;
use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::graph::{Graph, Operation, Output};
use crate::tensor::{Shape, Tensor};
use std::io::Write;
use std::sync::atomic::{AtomicI64, Ordering};

pub(super) static OPS: &[Op] = &[
    Op {
        name: "Assert",
        ins: &["condition: bool", "data: T"],
        outs: &[],
        attrs: &["T: list(type) >= 1", "summarize: int = 3"],
        shape: shape::none,
        kernel: Kernel::Stateful(assert),
        grad: Grad::None("no outputs"),
        rows: &[],
    },
    Op {
        name: "Print",
        ins: &["input: T", "data: U"],
        outs: &["output: T"],
        attrs: &["T: type", "U: list(type) >= 0", "message: string = ''", "first_n: int = -1", "summarize: int = 3"],
        shape: shape::unchanged,
        kernel: Kernel::Stateful(print),
        grad: Grad::Fn(|g, op, grads| {
            let mut all = vec![None; g.inputs(op).len()];
            all[0] = grads.get(0);
            Ok(all)
        }),
        rows: &[],
    },
    Op {
        name: "PrintV2",
        ins: &["input: string"],
        outs: &[],
        attrs: &["output_stream: string = 'stderr'", "end: string = '\n'"],
        shape: print_v2_shape,
        kernel: Kernel::Stateful(print_v2),
        grad: Grad::None("no outputs"),
        rows: &[],
    },
    Op {
        name: "Timestamp",
        ins: &[],
        outs: &["ts: double"],
        attrs: &[],
        shape: shape::scalar,
        kernel: Kernel::Stateful(timestamp),
        grad: Grad::None("no inputs"),
        rows: &[],
    },
];

fn assert(ctx: &mut KernelCtx) -> Result<()> {
    let condition = ctx.input(0)?;
    if !condition.is_scalar() {
        bail!(InvalidArgument, "In[0] should be a scalar: {:?}", condition.dims());
    }
    if condition.item::<bool>()? {
        return Ok(());
    }
    let limit = ctx.node().int("summarize")?;
    let mut message = "assertion failed: ".to_string();
    for index in 1..ctx.num_inputs() {
        message += &format!("[{}]", summary::summarize(ctx.input(index)?, limit)?);
        if index + 1 < ctx.num_inputs() {
            message.push(' ');
        }
    }
    bail!(InvalidArgument, "{message}")
}

fn print(ctx: &mut KernelCtx) -> Result<()> {
    let node = ctx.node();
    let first_n = node.int("first_n")?;
    let count = ctx.node_state(|| AtomicI64::new(0)).fetch_add(1, Ordering::Relaxed);
    if first_n < 0 || count < first_n {
        let mut text = node.string("message")?.to_string();
        for index in 1..ctx.num_inputs() {
            text += &format!("[{}]", summary::summarize(ctx.input(index)?, node.int("summarize")?)?);
        }
        writeln!(std::io::stderr(), "{text}")?;
    }
    ctx.forward(0, 0)
}

fn print_v2_shape(ctx: &mut InferCtx) -> Result<()> {
    ctx.input(0).with_rank(0).map(drop)
}

fn print_v2(ctx: &mut KernelCtx) -> Result<()> {
    let node = ctx.node();
    let input = ctx.input(0)?;
    if !input.is_scalar() {
        bail!(InvalidArgument, "Input is expected to be scalar, but got shape {:?}", input.dims());
    }
    let text = &input.strings()?[0];
    let end = node.string("end")?;
    let put = |out: &mut dyn Write| -> std::io::Result<()> {
        out.write_all(text)?;
        out.write_all(end.as_bytes())?;
        out.flush()
    };
    match node.string("output_stream")? {
        "stdout" => put(&mut std::io::stdout())?,
        stream if stream.starts_with("file://") => {
            let path = &stream["file://".len()..];
            put(&mut std::fs::OpenOptions::new().append(true).create(true).open(path)?)?;
        }
        // The logs of other libraries go there as well.
        "stderr" | "log(info)" | "log(warning)" | "log(error)" => put(&mut std::io::stderr())?,
        other => bail!(
            InvalidArgument,
            "Unknown output stream: {other}, is not one of stdout, stderr, log(info), log(warning), log(error)"
        ),
    }
    Ok(())
}

fn timestamp(ctx: &mut KernelCtx) -> Result<()> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64());
    ctx.set(0, Tensor::scalar(now))
}

impl Graph {
    /// Fails with `InvalidArgument` and the values of `data` when `condition` is false at run time (the op `Assert`
    /// alone; `tf.Assert` puts it behind a cond).
    ///
    /// # Errors
    /// `InvalidArgument` for a condition that is no bool.
    pub fn assert_op(&self, condition: Output, data: &[Output], summarize: i64) -> Result<Operation> {
        self.op("Assert").input(condition).input_list(data).attr("summarize", summarize).finish()
    }

    /// Passes `input` on and writes `message` and the values of `data` to the standard error (`tf.Print`).
    ///
    /// # Errors
    /// `InvalidArgument` for tensors of another graph.
    pub fn print(&self, input: Output, data: &[Output], message: &str) -> Result<Output> {
        self.op("Print").input(input).input_list(data).attr("message", message).output()
    }

    /// The time in seconds since 1970, a float64 scalar.
    ///
    /// # Errors
    /// `InvalidArgument` for a bad name.
    pub fn timestamp(&self) -> Result<Output> {
        let output = self.op("Timestamp").output()?;
        self.set_shape(output, Shape::scalar())?;
        Ok(output)
    }
}
