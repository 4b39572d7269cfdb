//! Gradients of functions, and of branches and loops whose bodies are functions.

use super::{GradientOptions, UnconnectedGradients, builder, default};
use crate::control_flow::{self, WhileOptions};
use crate::error::{Result, bail};
use crate::graph::{Gradient, Grads, Graph, Operation, Output, attr};
use crate::ops::array::densify;
use crate::proto::{AttrValue, NameAttrList, attr_value::Value};
use crate::tensor::{DType, Shape};

type Gradients = Result<Vec<Option<Gradient>>>;

/// True for a call of a function: a node whose op is a function of the library, or one of the ops that call.
pub(super) fn is_call(g: &Graph, op: Operation) -> bool {
    let op_type = g.op_type(op);
    matches!(op_type.as_str(), "PartitionedCall" | "StatefulPartitionedCall") || g.is_function(&op_type)
}

/// True where the gradient of a node is made here.
pub(super) fn is_functional(op_type: &str) -> bool {
    matches!(op_type, "If" | "StatelessIf" | "Case" | "StatelessCase" | "While" | "StatelessWhile")
}

/// Gradients within the body of a function: zeros for arguments that no result depends on.
///
/// # Errors
/// As [`Graph::gradients`].
pub(crate) fn differentiate(g: &Graph, ys: &[Output], xs: &[Output], grad_ys: &[Output]) -> Result<Vec<Output>> {
    control_flow::recover(g)?;
    let (mut used, mut given) = (Vec::new(), Vec::new());
    for (&y, &grad) in ys.iter().zip(grad_ys) {
        if default::is_trainable(g, y) {
            used.push(y);
            given.push(Some(grad.into()));
        }
    }
    let gradients = through(g, &used, xs, given)?;
    xs.iter()
        .zip(gradients)
        .map(|(&x, gradient)| match gradient {
            Some(Gradient::Dense(output)) => Ok(output),
            Some(Gradient::Sparse(slices)) => densify(g, &slices),
            None => default::zeros_like(g, x),
        })
        .collect()
}

fn through(g: &Graph, ys: &[Output], xs: &[Output], grad_ys: Vec<Option<Gradient>>) -> Gradients {
    if ys.is_empty() {
        return Ok(vec![None; xs.len()]);
    }
    let options = GradientOptions { grad_ys, unconnected_gradients: UnconnectedGradients::None, ..Default::default() };
    let context = g.current_context();
    let result = builder::build(g, ys, xs, &options);
    g.set_current_context(context);
    result
}

/// The gradient of a call: one `SymbolicGradient` node.
///
/// # Errors
/// As the node that is made.
pub(super) fn call(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let inputs = g.inputs(op);
    let mut arguments = inputs.clone();
    for output in 0..grads.len() {
        arguments.push(grads.dense(g, output)?);
    }
    let def = g.node_def(op)?;
    let name = match g.get_attr(op, "f") {
        Ok(function) if !g.is_function(&def.op) => attr::func(&function)?.name.clone(),
        _ => def.op.clone(),
    };
    let types = inputs.iter().map(|&x| default::zeros_dtype(g, x)).collect::<Result<Vec<DType>>>()?;
    let outputs = g
        .op("SymbolicGradient")
        .input_list(&arguments)
        .attr("Tout", &types[..])
        .attr("f", function_value(NameAttrList { name, attr: def.attr.into() }))
        .outputs()?;
    Ok(outputs.into_iter().map(|o| Some(o.into())).collect())
}

fn function_value(function: NameAttrList) -> AttrValue {
    AttrValue { value: Some(Value::Func(function)) }
}

/// The gradient of a branch or loop whose bodies are functions. It is built anew from `cond` and `while_loop` with calls of
/// the functions, and that is differentiated: what the bodies computed is computed again.
///
/// # Errors
/// As the nodes that are made.
pub(super) fn functional(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let op_type = g.op_type(op);
    let inputs = g.inputs(op);
    let is_loop = op_type.ends_with("While");
    let first = usize::from(!is_loop);
    let mut xs = Vec::with_capacity(inputs.len());
    for &input in &inputs[first..] {
        xs.push(g.identity(input)?);
    }
    let ys = match is_loop {
        true => again(g, op, &xs)?,
        false => choose(g, op, inputs[0], &xs)?,
    };
    let (mut used, mut given) = (Vec::new(), Vec::new());
    for (index, &y) in ys.iter().enumerate() {
        if let (Some(gradient), true) = (grads.get(index), default::is_trainable(g, y)) {
            used.push(y);
            given.push(Some(gradient));
        }
    }
    let gradients = through(g, &used, &xs, given)?;
    Ok(std::iter::repeat_n(None, first).chain(gradients).collect())
}

/// The results of a call that is made anew.
fn call_of(g: &Graph, function: &NameAttrList, arguments: &[Output], types: &[DType]) -> Result<Vec<Output>> {
    g.op("StatefulPartitionedCall")
        .input_list(arguments)
        .attr("Tout", types)
        .attr("f", function_value(function.clone()))
        .outputs()
}

fn function_attr(g: &Graph, op: Operation, name: &str) -> Result<NameAttrList> {
    Ok(attr::func(&g.get_attr(op, name)?)?.clone())
}

fn choose(g: &Graph, op: Operation, selector: Output, xs: &[Output]) -> Result<Vec<Output>> {
    let types = attr::dtypes(&g.get_attr(op, "Tout")?)?;
    if let Ok(then) = function_attr(g, op, "then_branch") {
        let otherwise = function_attr(g, op, "else_branch")?;
        let pred = match g.dtype(selector)? {
            DType::Bool => selector,
            _ => g.op("ToBool").input(selector).output()?,
        };
        return g.cond(pred, |g| call_of(g, &then, xs, &types), |g| call_of(g, &otherwise, xs, &types));
    }
    let branches = attr::list(&g.get_attr(op, "branches")?)?.func.clone();
    case(g, 0, &branches, selector, xs, &types)
}

/// The branch whose number `index` is, the last one for any other number.
fn case(g: &Graph, number: i32, branches: &[NameAttrList], index: Output, xs: &[Output], types: &[DType]) -> Result<Vec<Output>> {
    match branches {
        [] => bail!(InvalidArgument, "Case has no branches"),
        [last] => call_of(g, last, xs, types),
        [first, rest @ ..] => {
            let is_first = g.equal(index, number)?;
            g.cond(is_first, |g| call_of(g, first, xs, types), |g| case(g, number + 1, rest, index, xs, types))
        }
    }
}

/// The loop made anew. Variables that the body hands on as they came are invariants of the loop.
fn again(g: &Graph, op: Operation, xs: &[Output]) -> Result<Vec<Output>> {
    let types = attr::dtypes(&g.get_attr(op, "T")?)?;
    let (condition, body) = (function_attr(g, op, "cond")?, function_attr(g, op, "body")?);
    let Some(def) = g.function_def(&body.name) else { bail!(NotFound, "Function {} is not defined.", body.name) };
    let signature = def.signature.unwrap_or_default();
    let handed_on = |index: usize| match (signature.input_arg.get(index), signature.output_arg.get(index)) {
        (Some(arg), Some(result)) if signature.input_arg.len() == xs.len() => def.ret.get(&result.name) == Some(&arg.name),
        _ => false,
    };
    let mut varies: Vec<usize> = (0..xs.len()).filter(|&i| !handed_on(i)).collect();
    if varies.is_empty() {
        varies = (0..xs.len()).collect();
    }
    let all = |values: &[Output]| {
        let mut all = xs.to_vec();
        varies.iter().zip(values).for_each(|(&i, &value)| all[i] = value);
        all
    };
    let variables: Vec<Output> = varies.iter().map(|&i| xs[i]).collect();
    let options = WhileOptions { shape_invariants: Some(vec![Shape::unknown(); variables.len()]), ..WhileOptions::default() };
    let results = g.while_loop(
        |g, values: &Vec<Output>| match call_of(g, &condition, &all(values), &[DType::Bool])?[..] {
            [goes_on] => Ok(goes_on),
            _ => bail!(InvalidArgument, "the condition of a loop gives one value"),
        },
        |g, values: Vec<Output>| {
            let results = call_of(g, &body, &all(&values), &types)?;
            Ok(varies.iter().map(|&i| results[i]).collect())
        },
        variables,
        &options,
    )?;
    Ok(all(&results))
}
