//! Functional control flow: calls, branches and loops whose bodies are functions of the graph's library; optionals.

use super::shape;
use crate::error::{Error, Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::proto::NameAttrList;
use crate::tensor::{DType, Handle, Shape, Tensor, Variant};
use std::any::Any;
use std::sync::Arc;

macro_rules! functional {
    ($({ $name:literal, $ins:expr => $outs:expr, $attrs:expr, $shape:expr, $kernel:expr, $grad:ident },)*) => {
        &[$(Op {
            name: $name,
            ins: $ins,
            outs: $outs,
            attrs: $attrs,
            shape: $shape,
            kernel: Kernel::Stateful($kernel),
            grad: Grad::$grad,
            rows: &[],
        },)*]
    };
}

const IF: &[&str] = &[
    "Tcond: type",
    "Tin: list(type) >= 0",
    "Tout: list(type) >= 0",
    "then_branch: func",
    "else_branch: func",
    "output_shapes: list(shape) = []",
];
const CASE: &[&str] =
    &["Tin: list(type) >= 0", "Tout: list(type) >= 0", "branches: list(func) >= 1", "output_shapes: list(shape) = []"];
const WHILE: &[&str] =
    &["T: list(type) >= 0", "cond: func", "body: func", "output_shapes: list(shape) = []", "parallel_iterations: int = 10"];
const CALL: &[&str] = &[
    "Tin: list(type) >= 0",
    "Tout: list(type) >= 0",
    "f: func",
    "config: string = ''",
    "config_proto: string = ''",
    "executor_type: string = ''",
];

pub(super) static OPS: &[Op] = functional! {
    { "If", &["cond: Tcond", "input: Tin"] => &["output: Tout"], IF, stated_shapes, branch, Control },
    { "StatelessIf", &["cond: Tcond", "input: Tin"] => &["output: Tout"], IF, stated_shapes, branch, Control },
    { "Case", &["branch_index: int32", "input: Tin"] => &["output: Tout"], CASE, stated_shapes, case, Control },
    { "StatelessCase", &["branch_index: int32", "input: Tin"] => &["output: Tout"], CASE, stated_shapes, case, Control },
    { "While", &["input: T"] => &["output: T"], WHILE, loop_shapes, repeat, Control },
    { "StatelessWhile", &["input: T"] => &["output: T"], WHILE, loop_shapes, repeat, Control },
    { "For", &["start: int32", "limit: int32", "delta: int32", "input: T"] => &["output: T"],
      &["T: list(type) >= 0", "body: func"], shape::unknown, count, Missing },
    { "PartitionedCall", &["args: Tin"] => &["output: Tout"], CALL, shape::unknown, call, Control },
    { "StatefulPartitionedCall", &["args: Tin"] => &["output: Tout"], CALL, shape::unknown, call, Control },
    { "RemoteCall", &["target: string", "args: Tin"] => &["output: Tout"],
      &["Tin: list(type) >= 1", "Tout: list(type) >= 1", "f: func"], shape::unknown, remote_call, Missing },
    { "SymbolicGradient", &["input: Tin"] => &["output: Tout"],
      &["Tin: list(type) >= 1", "Tout: list(type) >= 1", "f: func"], gradient_shapes, call_gradient, Missing },
    { "ToBool", &["input: T"] => &["output: bool"], &["T: type"], shape::scalar, to_bool, Missing },
    { "FakeParam", &[] => &["output: dtype"], &["dtype: type", "shape: shape"], fake_shape, fake, Missing },
    { "OptionalFromValue", &["components: Toutput_types"] => &["optional: variant"],
      &["Toutput_types: list(type) >= 1"], shape::scalar, optional_from_value, Missing },
    { "OptionalNone", &[] => &["optional: variant"], &[], shape::scalar, |ctx| set_optional(ctx, None), Missing },
    { "OptionalHasValue", &["optional: variant"] => &["has_value: bool"], &[], shape::scalar, optional_has_value, Missing },
    { "OptionalGetValue", &["optional: variant"] => &["components: output_types"],
      &["output_types: list(type) >= 1", "output_shapes: list(shape) >= 1"], stated_shapes, optional_get_value, Missing },
};

fn stated_shapes(ctx: &mut InferCtx) -> Result<()> {
    let shapes = ctx.shapes("output_shapes")?;
    for output in 0..ctx.num_outputs() {
        ctx.set(output, shapes.get(output).cloned().unwrap_or_default())?;
    }
    Ok(())
}

/// Where no shapes are stated, those of the inputs.
fn loop_shapes(ctx: &mut InferCtx) -> Result<()> {
    if !ctx.shapes("output_shapes")?.is_empty() {
        return stated_shapes(ctx);
    }
    (0..ctx.num_outputs()).try_for_each(|output| ctx.set(output, ctx.input(output)))
}

fn fake_shape(ctx: &mut InferCtx) -> Result<()> {
    ctx.set(0, ctx.shape_attr("shape")?)
}

/// Stands for an output that a branch doesn't give; its value is never looked at.
fn fake(ctx: &mut KernelCtx) -> Result<()> {
    let dims = ctx.node().shape("shape")?.to_dims().unwrap_or_default();
    let value = Tensor::zeros(ctx.node().dtype("dtype")?, &dims)?;
    ctx.set(0, value)
}

/// A scalar is true unless zero or an empty string; any other tensor is true unless empty.
fn truth(value: &Tensor) -> Result<bool> {
    if !value.is_scalar() {
        return Ok(!value.is_empty());
    }
    Ok(match value.dtype() {
        DType::Bool => value.item::<bool>()?,
        DType::String => !value.strings()?[0].is_empty(),
        DType::Float => value.item::<f32>()? != 0.0,
        DType::Double => value.item::<f64>()? != 0.0,
        other if other.is_integer() => value.item_i64()? != 0,
        other => bail!(InvalidArgument, "{other} cannot be converted to a boolean"),
    })
}

fn to_bool(ctx: &mut KernelCtx) -> Result<()> {
    let is_true = truth(ctx.input(0)?)?;
    ctx.set(0, Tensor::scalar(is_true))
}

fn arguments(ctx: &mut KernelCtx, from: usize) -> Result<Vec<Tensor>> {
    (from..ctx.num_inputs()).map(|i| ctx.take(i)).collect()
}

fn set_results(ctx: &mut KernelCtx, results: Vec<Tensor>) -> Result<()> {
    if results.len() != ctx.num_outputs() {
        bail!(InvalidArgument, "a function gave {} results, {} are expected", results.len(), ctx.num_outputs());
    }
    for (output, result) in results.into_iter().enumerate() {
        ctx.set(output, result)?;
    }
    Ok(())
}

fn call(ctx: &mut KernelCtx) -> Result<()> {
    let arguments = arguments(ctx, 0)?;
    let results = ctx.call(ctx.node().func("f")?, arguments)?;
    set_results(ctx, results)
}

/// Calls a function; all devices are this one.
fn remote_call(ctx: &mut KernelCtx) -> Result<()> {
    if ctx.input(0)?.rank() != 0 {
        bail!(InvalidArgument, "the target of RemoteCall must be a scalar, got shape {:?}", ctx.input(0)?.dims());
    }
    let arguments = arguments(ctx, 1)?;
    let results = ctx.call(ctx.node().func("f")?, arguments)?;
    set_results(ctx, results)
}

fn call_gradient(ctx: &mut KernelCtx) -> Result<()> {
    let arguments = arguments(ctx, 0)?;
    let results = ctx.call_gradient(ctx.node().func("f")?, arguments)?;
    set_results(ctx, results)
}

/// The gradients have the shapes of the function's arguments, which come first.
fn gradient_shapes(ctx: &mut InferCtx) -> Result<()> {
    if ctx.num_outputs() > ctx.num_inputs() {
        bail!(InvalidArgument, "len(inputs) < len(outputs)");
    }
    for output in 0..ctx.num_outputs() {
        if ctx.input_type(output)? != DType::Resource {
            ctx.set(output, ctx.input(output))?;
        }
    }
    Ok(())
}

fn branch(ctx: &mut KernelCtx) -> Result<()> {
    let taken = if truth(ctx.input(0)?)? { "then_branch" } else { "else_branch" };
    let arguments = arguments(ctx, 1)?;
    let results = ctx.call(ctx.node().func(taken)?, arguments)?;
    set_results(ctx, results)
}

fn case(ctx: &mut KernelCtx) -> Result<()> {
    let index = ctx.int_input(0)?;
    let branches = &crate::graph::attr::list(ctx.node().attr("branches")?)?.func;
    // An index out of range takes the last branch.
    let chosen = usize::try_from(index).ok().and_then(|i| branches.get(i)).or(branches.last());
    let Some(branch) = chosen else { bail!(InvalidArgument, "Case has no branches") };
    let arguments = arguments(ctx, 1)?;
    let results = ctx.call(branch, arguments)?;
    set_results(ctx, results)
}

fn repeat(ctx: &mut KernelCtx) -> Result<()> {
    let (condition, body): (&NameAttrList, &NameAttrList) = (ctx.node().func("cond")?, ctx.node().func("body")?);
    let mut values = arguments(ctx, 0)?;
    loop {
        let goes_on = ctx.call(condition, values.clone())?;
        let [goes_on] = &goes_on[..] else { bail!(InvalidArgument, "Expected a single scalar return value from WhileOp cond.") };
        if !truth(goes_on)? {
            break;
        }
        let count = values.len();
        values = ctx.call(body, values)?;
        if values.len() != count {
            bail!(InvalidArgument, "While loop body returned {} arguments. Expected: {count}", values.len());
        }
    }
    set_results(ctx, values)
}

fn count(ctx: &mut KernelCtx) -> Result<()> {
    let (start, limit, delta) = (ctx.int_input(0)?, ctx.int_input(1)?, ctx.int_input(2)?);
    if delta == 0 && start != limit {
        bail!(InvalidArgument, "Invalid start/limit/delta: {start} {limit} {delta}");
    }
    if delta != 0 && (limit - start).signum() * delta.signum() < 0 {
        bail!(InvalidArgument, "Invalid start/limit/delta: {start} {limit} {delta}");
    }
    let mut values = arguments(ctx, 3)?;
    let mut at = start;
    while if delta > 0 { at < limit } else { at > limit } {
        let mut all = vec![Tensor::scalar(at as i32)];
        all.append(&mut values);
        values = ctx.call(ctx.node().func("body")?, all)?;
        at += delta;
    }
    set_results(ctx, values)
}

/// A value that may be missing.
#[derive(Debug)]
struct Optional(Option<Vec<Tensor>>);

impl Variant for Optional {
    fn type_name(&self) -> &'static str {
        "tensorflow::data::Optional"
    }

    fn zeros_like(&self) -> Result<Arc<dyn Variant>> {
        let zeros = |values: &Vec<Tensor>| values.iter().map(super::array::zeros_of).collect::<Result<Vec<_>>>();
        Ok(Arc::new(Optional(self.0.as_ref().map(zeros).transpose()?)))
    }

    fn plus(&self, other: &dyn Variant) -> Result<Arc<dyn Variant>> {
        let Some(other) = (other as &dyn Any).downcast_ref::<Optional>() else {
            bail!(InvalidArgument, "an Optional and a {} can't be added", other.type_name())
        };
        match (&self.0, &other.0) {
            (None, None) => Ok(Arc::new(Optional(None))),
            (Some(a), Some(b)) if a.len() == b.len() => {
                let add = |(a, b): (&Tensor, &Tensor)| super::math::select::sum_of(vec![a.clone(), b.clone()]);
                Ok(Arc::new(Optional(Some(a.iter().zip(b).map(add).collect::<Result<_>>()?))))
            }
            _ => bail!(InvalidArgument, "Cannot add optionals because one has a value and the other doesn't."),
        }
    }
}

fn set_optional(ctx: &mut KernelCtx, values: Option<Vec<Tensor>>) -> Result<()> {
    ctx.set(0, Tensor::variant(Arc::new(Optional(values))))
}

fn optional_from_value(ctx: &mut KernelCtx) -> Result<()> {
    let values = arguments(ctx, 0)?;
    set_optional(ctx, Some(values))
}

fn optional(ctx: &KernelCtx) -> Result<Arc<Optional>> {
    let wrong = || Error::invalid_argument("Input to OptionalGetValue must be a scalar optional");
    let [Handle::Variant(variant)] = ctx.input(0)?.handles()? else { return Err(wrong()) };
    let any: Arc<dyn Any + Send + Sync> = variant.clone();
    any.downcast().map_err(|_| wrong())
}

fn optional_has_value(ctx: &mut KernelCtx) -> Result<()> {
    let has = optional(ctx)?.0.is_some();
    ctx.set(0, Tensor::scalar(has))
}

fn optional_get_value(ctx: &mut KernelCtx) -> Result<()> {
    let optional = optional(ctx)?;
    let Some(values) = &optional.0 else { bail!(InvalidArgument, "The given optional does not have a value.") };
    let (types, shapes) = (ctx.node().dtypes("output_types")?, ctx.node().shapes("output_shapes")?);
    for (index, value) in values.iter().enumerate() {
        let shape = shapes.get(index).cloned().unwrap_or(Shape::unknown());
        if types.get(index) != Some(&value.dtype()) || !shape.accepts(value.dims()) {
            bail!(
                InvalidArgument,
                "component {index} of the optional is {} of shape {:?}, expected shape {shape}",
                value.dtype(),
                value.dims()
            );
        }
    }
    set_results(ctx, values.clone())
}
