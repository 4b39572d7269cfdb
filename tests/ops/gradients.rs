//! Gradients against central differences, in double precision where the op has it.
//!
//! Every example of an op's record is a point to differentiate at, moved a little away from edges; ops whose examples
//! don't serve have a sample in `samples.rs`, which builds what is needed around the op.

use crate::samples::{NOT_BY_ROWS, NOT_DIFFERENTIATED, ONCE, OTHERWISE, SAMPLES, Sample, UNLIKE_DIFFERENCES};
use crate::{Outcome, Row, floats, is_list, parse_row};
use metagraph::graph::op::{ArgType, Grad, Op};
use metagraph::proto::AttrValue;
use metagraph::proto::attr_value::{ListValue, Value};
use metagraph::{DType, Gradient, GradientOptions, Graph, Output, Session, Shape, Tensor, UnconnectedGradients, ops};

/// At most so many components of an input are moved.
const MOST_COMPONENTS: usize = 24;

/// What is said where TensorFlow has no second derivative either.
const NO_SECOND: &[&str] = &[
    "No gradient defined",
    "there is no gradient",
    "Gradient explicitly disabled",
    "Second-order gradient for while loops not supported",
    "holds gradients already",
];

/// A graph with what is differentiated by what, at a point.
struct Point {
    graph: Graph,
    xs: Vec<Output>,
    ys: Vec<Output>,
    at: Vec<Tensor>,
}

/// How far a check got.
#[derive(Debug)]
enum Seen {
    /// Gradient and differences agree.
    Agree,
    /// The point says nothing: no numbers to differentiate, or values that aren't finite.
    Nothing,
}

fn say(e: metagraph::Error) -> String {
    e.to_string()
}

fn components(tensor: &Tensor) -> usize {
    tensor.len() * if tensor.dtype().is_complex() { 2 } else { 1 }
}

fn is_differentiable(dtype: DType) -> bool {
    matches!(dtype, DType::Float | DType::Double | DType::Complex64 | DType::Complex128)
}

/// A tensor of floats from its components, parts of complex ones side by side.
pub fn from_components(dtype: DType, dims: &[usize], values: &[f64]) -> Outcome<Tensor> {
    let pairs = || values.as_chunks::<2>().0.iter();
    match dtype {
        DType::Float => Tensor::new(dims, values.iter().map(|&v| v as f32).collect::<Vec<_>>()),
        DType::Double => Tensor::new(dims, values.to_vec()),
        DType::Complex64 => {
            Tensor::new(dims, pairs().map(|&[a, b]| num_complex::Complex::new(a as f32, b as f32)).collect::<Vec<_>>())
        }
        DType::Complex128 => Tensor::new(dims, pairs().map(|&[a, b]| num_complex::Complex::new(a, b)).collect::<Vec<_>>()),
        other => return Err(format!("{other} isn't a float")),
    }
    .map_err(say)
}

/// Numbers between -1 and 1 that are neither near zero nor near each other.
fn spread(seed: usize, count: usize) -> Vec<f64> {
    (0..count)
        .map(|i| {
            let u = ((i + 1) as f64 * 0.754_877_666 + seed as f64 * 0.569_840_291).fract();
            if u < 0.5 { -0.25 - 1.5 * u } else { 0.25 + 1.5 * (u - 0.5) }
        })
        .collect()
}

/// Where an example is looked at: as it is, nearer to zero, at positive values. Values that aren't finite are replaced, and
/// all are moved a little.
const VIEWS: &[fn(f64) -> f64] = &[|v| v, |v| 0.4 * v, |v| 0.6 + v.abs()];

fn moved(tensor: &Tensor, seed: usize, view: fn(f64) -> f64) -> Outcome<Tensor> {
    let shifts = spread(seed, components(tensor));
    let near = |v: f64| if v.is_finite() && v.abs() < 1e3 { v } else { 0.7 };
    let values: Vec<f64> = floats(tensor)?.iter().zip(&shifts).map(|(&v, s)| view(near(v)) + 0.03 * s).collect();
    from_components(tensor.dtype(), tensor.dims(), &values)
}

/// The point that an example gives; `double` where its floats become doubles, and the integers of an op of numbers where
/// the example has no floats.
fn point_of_row(op: &'static Op, row: &Row, view: fn(f64) -> f64, double: bool) -> Outcome<Point> {
    let whole = !row.inputs.iter().flatten().any(|t| t.dtype().is_floating() || t.dtype().is_complex());
    let precise = |dtype: DType| match dtype {
        DType::Float => DType::Double,
        DType::Complex64 => DType::Complex128,
        integer if integer.is_integer() && whole => DType::Double,
        other => other,
    };
    let graph = Graph::new();
    let mut builder = graph.op(op.name).name("node");
    let signature = op.signature();
    let wide = |dtype: DType, attr: &str| -> Outcome<DType> {
        let allowed = &signature.attr(attr).ok_or("there is no such attribute")?.allowed_types;
        let to = precise(dtype);
        Ok(if double && (allowed.is_empty() || allowed.contains(&to)) { to } else { dtype })
    };
    let given: Vec<&str> = row.attrs.iter().map(|a| a.0).collect();
    for spec in &signature.attrs {
        let text = row.attrs.iter().find(|a| a.0 == spec.name).map(|a| a.1);
        let from_input = signature.inputs.iter().any(|i| i.dtype == ArgType::Attr(spec.name.clone()));
        let value = match text {
            Some(text) => spec.parse_value(text).map_err(say)?,
            None => match &spec.default {
                Some(default) if spec.kind == "type" && !from_input => default.clone(),
                _ => continue,
            },
        };
        let value = match value.value {
            Some(Value::Type(number)) => {
                let dtype = wide(DType::try_from_number(number).map_err(say)?, &spec.name)?;
                AttrValue { value: Some(Value::Type(dtype.number())) }
            }
            Some(Value::List(ListValue { r#type, .. })) if spec.kind == "list(type)" => {
                let wide = |&n: &i32| Ok(wide(DType::try_from_number(n).map_err(say)?, &spec.name)?.number());
                let types = r#type.iter().map(wide).collect::<Outcome<Vec<_>>>()?;
                AttrValue { value: Some(Value::List(ListValue { r#type: types, ..Default::default() })) }
            }
            value => AttrValue { value },
        };
        if given.contains(&spec.name.as_str()) || double {
            builder = builder.attr(&spec.name, value);
        }
    }
    let (mut xs, mut at) = (Vec::new(), Vec::new());
    for (arg, tensors) in signature.inputs.iter().zip(&row.inputs) {
        let mut outputs = Vec::new();
        for tensor in tensors {
            let dtype = match &arg.dtype {
                ArgType::Attr(name) | ArgType::List(name) => wide(tensor.dtype(), name)?,
                ArgType::Fixed(dtype) => *dtype,
            };
            if !is_differentiable(dtype) || arg.is_ref {
                outputs.push(graph.constant(tensor).map_err(say)?);
                continue;
            }
            let values = match tensor.dtype().is_integer() {
                true => tensor.to_i64s().map_err(say)?.iter().map(|&v| v as f64).collect(),
                false => floats(tensor)?,
            };
            let value = moved(&from_components(dtype, tensor.dims(), &values)?, at.len(), view)?;
            let x = graph.placeholder(dtype, Shape::known(tensor.dims())).map_err(say)?;
            xs.push(x);
            at.push(value);
            outputs.push(x);
        }
        builder = if is_list(arg) { builder.input_list(&outputs) } else { builder.input(outputs[0]) };
    }
    let mut ys = builder.outputs().map_err(say)?;
    ys.retain(|&y| graph.dtype(y).is_ok_and(is_differentiable));
    Ok(Point { graph, xs, ys, at })
}

fn point_of_sample(sample: &Sample) -> Outcome<Point> {
    let graph = Graph::new();
    let (mut xs, mut at) = (Vec::new(), Vec::new());
    for text in sample.inputs {
        let value = crate::parse_tensor(text)?;
        xs.push(graph.placeholder(value.dtype(), Shape::known(value.dims())).map_err(say)?);
        at.push(value);
    }
    let ys = (sample.build)(&graph, &xs).map_err(say)?;
    let there = graph.get_operations().into_iter().any(|op| graph.op_type(op) == sample.op);
    if !there {
        return Err("the sample's graph is without the op".to_string());
    }
    let differentiated = (0..xs.len()).filter(|&i| is_differentiable(at[i].dtype()));
    let keep: Vec<usize> = differentiated.collect();
    if keep.len() < xs.len() {
        return Err("a sample's inputs are floats".to_string());
    }
    Ok(Point { graph, xs, ys, at })
}

/// The gradients of the weighted sum of `ys`.
fn gradients(g: &Graph, ys: &[Output], weights: &[Tensor], xs: &[Output]) -> Outcome<Vec<Output>> {
    let weights = weights.iter().map(|w| Ok(Some(Gradient::Dense(g.constant(w).map_err(say)?)))).collect::<Outcome<_>>()?;
    let options =
        GradientOptions { grad_ys: weights, unconnected_gradients: UnconnectedGradients::Zero, ..GradientOptions::default() };
    let found = g.gradients(ys, xs, &options).map_err(say)?;
    let dense = |gradient| match gradient {
        Some(Gradient::Dense(output)) => Ok(output),
        Some(Gradient::Sparse(slices)) => metagraph::ops::densify(g, &slices).map_err(say),
        None => Err("there is no gradient".to_string()),
    };
    found.into_iter().map(dense).collect()
}

/// The weighted sum of what values grow by.
fn growth(from: &[Tensor], to: &[Tensor], weights: &[Tensor]) -> Outcome<f64> {
    let mut sum = 0.0;
    for ((from, to), weight) in from.iter().zip(to).zip(weights) {
        sum += floats(from)?.iter().zip(floats(to)?).zip(floats(weight)?).map(|((a, b), w)| (b - a) * w).sum::<f64>();
    }
    Ok(sum)
}

/// Compares the gradient of a weighted sum of `ys` with differences, at a point; returns the gradients.
fn compare(point: &Point, ys: &[Output], unlike: &[usize], label: &str) -> Outcome<(Seen, Vec<Output>)> {
    let Point { graph, xs, at, .. } = point;
    let session = Session::new(graph);
    let feeds = |at: &[Tensor]| -> Vec<(Output, Tensor)> { xs.iter().copied().zip(at.iter().cloned()).collect() };
    let run = |fetches: &[Output], at: &[Tensor]| {
        let feeds = feeds(at);
        let feeds: Vec<(Output, &Tensor)> = feeds.iter().map(|(x, v)| (*x, v)).collect();
        session.run(fetches, &feeds).map_err(say)
    };
    let values = run(ys, at)?;
    let weights = values
        .iter()
        .enumerate()
        .map(|(i, v)| from_components(v.dtype(), v.dims(), &spread(i + 7, components(v))))
        .collect::<Outcome<Vec<_>>>()?;
    if !growth(&values, &values, &weights)?.is_finite() {
        return Ok((Seen::Nothing, Vec::new()));
    }
    let found = gradients(graph, ys, &weights, xs).map_err(|e| format!("{label}: {e}"))?;
    let analytic = run(&found, at).map_err(|e| format!("{label}: {e}"))?;
    let single = |t: &Tensor| matches!(t.dtype(), DType::Float | DType::Complex64);
    let (step, tolerance) = if at.iter().chain(&values).any(single) { (2e-3, 2e-2) } else { (1e-5, 1e-6) };
    let mut seen = Seen::Nothing;
    for (index, x) in at.iter().enumerate() {
        if unlike.contains(&index) {
            continue;
        }
        if analytic[index].dims() != x.dims() || analytic[index].dtype() != x.dtype() {
            return Err(format!("{label}: the gradient of input {index} is {:?}", analytic[index]));
        }
        let (start, gradient) = (floats(x)?, floats(&analytic[index])?);
        let stride = start.len().div_ceil(MOST_COMPONENTS).max(1);
        for component in (0..start.len()).step_by(stride) {
            let side = |shift: f64| -> Outcome<Vec<Tensor>> {
                let mut values = start.clone();
                values[component] += shift;
                let mut at = at.clone();
                at[index] = from_components(x.dtype(), x.dims(), &values)?;
                run(ys, &at)
            };
            let slope = |step: f64| Ok::<_, String>(growth(&side(-step)?, &side(step)?, &weights)? / (2.0 * step));
            let (wide, narrow) = (slope(step)?, slope(0.5 * step)?);
            let difference = (4.0 * narrow - wide) / 3.0;
            let analytic = gradient[component];
            let allowed = tolerance * (1.0 + difference.abs());
            if !difference.is_finite() || (wide - narrow).abs() > 10.0 * allowed {
                continue;
            }
            if (analytic - difference).abs() > allowed || !analytic.is_finite() {
                return Err(format!("{label}: input {index}, component {component}: {analytic}, differences give {difference}"));
            }
            seen = Seen::Agree;
        }
    }
    Ok((seen, found))
}

/// Checks the gradient, and where it can be built the gradient of the gradient.
fn check(op: &str, point: &Point, second: &mut bool) -> Outcome<Seen> {
    if point.xs.is_empty() || point.ys.is_empty() {
        return Ok(Seen::Nothing);
    }
    let unlike: Vec<usize> = UNLIKE_DIFFERENCES.iter().filter(|u| u.0 == op).map(|u| u.1).collect();
    let (seen, found) = compare(point, &point.ys, &unlike, "gradient")?;
    if matches!(seen, Seen::Agree) && !ONCE.iter().any(|o| o.0 == op) {
        match compare(point, &found, &unlike, "second") {
            Ok((Seen::Agree, _)) => *second = true,
            Ok(_) => {}
            Err(why) if NO_SECOND.iter().any(|part| why.contains(part)) => {}
            Err(why) => return Err(why),
        }
    }
    Ok(seen)
}

fn check_row(op: &'static Op, text: &str, second: &mut bool) -> Outcome<Seen> {
    let row = parse_row(op, text)?;
    let inferred = |point: &Point| point.ys.iter().all(|&y| point.graph.shape(y).is_ok());
    let single_only = |why: &str| ["kernel", "allowed values", "expected type"].iter().any(|part| why.contains(part));
    for &view in VIEWS {
        let seen = match point_of_row(op, &row, view, true) {
            Ok(point) if inferred(&point) => match check(op.name, &point, second) {
                Err(why) if single_only(&why) => check(op.name, &point_of_row(op, &row, view, false)?, second),
                other => other,
            },
            _ => check(op.name, &point_of_row(op, &row, view, false)?, second),
        };
        if !matches!(seen, Ok(Seen::Nothing)) {
            return seen;
        }
    }
    Ok(Seen::Nothing)
}

#[test]
fn gradients_agree_with_differences() {
    let (mut wrong, mut unchecked, mut without_second) = (Vec::new(), Vec::new(), Vec::new());
    for op in ops::all().filter(|op| matches!(op.grad, Grad::Fn(_) | Grad::Control)) {
        if OTHERWISE.iter().any(|o| o.0 == op.name) {
            continue;
        }
        let (mut agreed, mut second) = (false, false);
        let mut note = |what: String, seen: Outcome<Seen>| match seen {
            Ok(Seen::Agree) => agreed = true,
            Ok(Seen::Nothing) => {}
            Err(why) => wrong.push(format!("{}: {what}: {why}", op.name)),
        };
        let listed = |text: &str| NOT_DIFFERENTIATED.iter().any(|n| n.0 == op.name && n.1 == text);
        let rows = if NOT_BY_ROWS.iter().any(|n| n.0 == op.name) { &[] } else { op.rows };
        for text in rows.iter().filter(|text| !listed(text)) {
            note(text.to_string(), check_row(op, text, &mut second));
        }
        for sample in SAMPLES.iter().filter(|s| s.op == op.name) {
            note("sample".into(), point_of_sample(sample).and_then(|point| check(op.name, &point, &mut second)));
        }
        if !agreed {
            unchecked.push(op.name);
        }
        if !second {
            without_second.push(op.name);
        }
    }
    println!("no second derivative checked: {without_second:?}");
    assert!(
        wrong.is_empty() && unchecked.is_empty(),
        "{} gradients are wrong:\n{}\n{} ops have no gradient that was checked: {unchecked:?}",
        wrong.len(),
        wrong.join("\n"),
        unchecked.len()
    );
}

#[test]
fn exceptions_are_needed() {
    let unlike = UNLIKE_DIFFERENCES.iter().map(|u| u.0);
    for name in OTHERWISE.iter().chain(NOT_BY_ROWS).map(|o| o.0).chain(unlike) {
        let op = ops::lookup(name).unwrap_or_else(|| panic!("{name} isn't an op"));
        assert!(matches!(op.grad, Grad::Fn(_) | Grad::Control), "{name} isn't differentiated");
    }
    for (name, row, _) in NOT_DIFFERENTIATED {
        assert!(ops::lookup(name).is_some_and(|op| op.rows.contains(row)), "{name} has no row {row}");
    }
}
