//! Runs the examples that every op's record carries, and checks the registry itself.
//!
//! A row reads `attributes; inputs => outputs`, without the first part where there are no attributes to give:
//! `axis=1; f32[[1 2]], i32 0 => f32[1 2]`. An input that is a list of tensors stands in parentheses, which may be left out
//! where it is the op's only list; `_` stands for an output whose value isn't compared.

mod audit;
mod errors;
mod gradients;
mod program;
mod samples;
mod stateful;
mod statics;

use metagraph::graph::op::{ArgSpec, ArgType, Grad, Kernel, Op};
use metagraph::{DType, Graph, Output, Session, Shape, Tensor, ops};
use std::collections::{HashMap, HashSet};

type Outcome<T> = Result<T, String>;

/// An example in parts.
struct Row<'a> {
    attrs: Vec<(&'a str, &'a str)>,
    inputs: Vec<Vec<Tensor>>,
    outputs: Vec<Option<Tensor>>,
}

/// How the inputs of an example come into the graph.
#[derive(Clone, Copy, Debug)]
enum Feed {
    /// As constants, which shape functions may read.
    Constants,
    /// Through placeholders of known rank.
    KnownRank,
    /// Through placeholders about which nothing is known.
    Unknown,
}

/// Ops that refuse inputs whose shapes aren't known when the graph is built.
const NEED_STATIC_SHAPES: &[&str] = &["ParallelConcat"];

#[test]
fn rows_give_what_they_say() {
    let mut failures = Vec::new();
    for op in ops::all() {
        for text in op.rows {
            let feeds = [Feed::Constants, Feed::KnownRank, Feed::Unknown];
            let feeds = if NEED_STATIC_SHAPES.contains(&op.name) { &feeds[..1] } else { &feeds };
            for &feed in feeds {
                if let Err(why) = run_row(op, text, feed) {
                    failures.push(format!("{}: {text} ({feed:?}): {why}", op.name));
                    break;
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} rows fail:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_pure_op_has_a_row() {
    let pure = |op: &&Op| matches!(op.kernel, Kernel::Pure(_) | Kernel::PurePrepared(_));
    let bare: Vec<&str> = ops::all().filter(pure).filter(|op| op.rows.is_empty()).map(|op| op.name).collect();
    assert!(bare.is_empty(), "ops without a row: {bare:?}");
}

#[test]
fn interfaces_parse_and_names_are_unique() {
    let mut names = HashSet::new();
    for op in ops::all() {
        assert!(names.insert(op.name), "{} is there twice", op.name);
        assert!(op.name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_'), "{}", op.name);
        let signature = op.signature();
        let mut seen = HashSet::new();
        for name in signature.inputs.iter().map(|a| &a.name).chain(signature.attrs.iter().map(|a| &a.name)) {
            assert!(seen.insert(name), "{}: {name} is there twice", op.name);
        }
        for arg in signature.inputs.iter().chain(&signature.outputs) {
            let known = |name: &String, kind: &str| signature.attr(name).is_some_and(|a| a.kind == kind);
            assert!(arg.number.as_ref().is_none_or(|n| known(n, "int")), "{}: {}", op.name, arg.name);
        }
    }
}

/// Ops that TensorFlow differentiates, and this registry doesn't: op, why.
const UNDIFFERENTIATED: &[(&str, &str)] = &[
    ("SparseDenseCwiseAdd", "TensorFlow's function raises an error"),
    ("SparseSparseMaximum", "TensorFlow's function raises an error"),
    ("SparseSparseMinimum", "TensorFlow's function raises an error"),
    ("_EagerConst", "an op of eager execution"),
    ("DebugGradientIdentity", "an op of the debugger"),
    ("DebugGradientRefIdentity", "an op of the debugger"),
    ("OptionalFromValue", "optionals are not differentiated yet"),
    ("OptionalGetValue", "optionals are not differentiated yet"),
];

/// What TensorFlow decided on the gradient of each op: `data/gradients.py` wrote it.
#[test]
fn gradients_exist_where_tensorflow_has_them() {
    let text = include_str!("../data/gradients.txt");
    let theirs: HashMap<&str, &str> = text.lines().filter_map(|line| line.split_once(' ')).collect();
    let mut wrong = Vec::new();
    for op in ops::all() {
        let expected = theirs.get(op.name).copied().unwrap_or("nothing");
        let ours = match op.grad {
            Grad::Fn(_) => "function",
            Grad::None(_) => "none",
            Grad::Missing => "nothing",
            Grad::Control => continue,
        };
        // Where TensorFlow has nothing, no numbers come out of the op, or none go in.
        let listed = UNDIFFERENTIATED.iter().any(|u| u.0 == op.name);
        if listed && ours == "function" {
            wrong.push(format!("{} is listed as not differentiated", op.name));
        }
        if ours != expected && !listed && (ours, expected) != ("none", "nothing") {
            wrong.push(format!("{}: {ours}, TensorFlow has {expected}", op.name));
        }
    }
    assert!(wrong.is_empty(), "{} ops:\n{}", wrong.len(), wrong.join("\n"));
}

/// An op's node with what it gives.
struct Ran {
    graph: Graph,
    outputs: Vec<Output>,
    values: Vec<Tensor>,
}

fn run_node(op: &'static Op, row: &Row, feed: Feed) -> metagraph::Result<Ran> {
    let graph = Graph::new();
    let mut builder = graph.op(op.name).name("node");
    for (name, value) in &row.attrs {
        let spec = op.signature().attr(name).unwrap_or_else(|| panic!("{} has no attribute {name}", op.name));
        builder = builder.attr(name, spec.parse_value(value)?);
    }
    let mut feeds: Vec<(Output, &Tensor)> = Vec::new();
    for (arg, tensors) in op.signature().inputs.iter().zip(&row.inputs) {
        let mut outputs = Vec::new();
        for tensor in tensors {
            let shape = match feed {
                Feed::Constants => {
                    outputs.push(graph.constant(tensor)?);
                    continue;
                }
                Feed::KnownRank => Shape::from(vec![None; tensor.rank()]),
                Feed::Unknown => Shape::unknown(),
            };
            let placeholder = graph.placeholder(tensor.dtype(), shape)?;
            feeds.push((placeholder, tensor));
            outputs.push(placeholder);
        }
        builder = if is_list(arg) { builder.input_list(&outputs) } else { builder.input(outputs[0]) };
    }
    let outputs = builder.outputs()?;
    let values = Session::new(&graph).run(&outputs, &feeds)?;
    Ok(Ran { graph, outputs, values })
}

fn run_row(op: &'static Op, text: &str, feed: Feed) -> Outcome<()> {
    let say = |e: metagraph::Error| e.to_string();
    let row = parse_row(op, text)?;
    let Ran { graph, outputs, values } = run_node(op, &row, feed).map_err(say)?;
    if outputs.len() != row.outputs.len() {
        return Err(format!("{} outputs, the row has {}", outputs.len(), row.outputs.len()));
    }
    for (index, (got, expected)) in values.iter().zip(&row.outputs).enumerate() {
        if let Some(expected) = expected {
            compare(got, expected).map_err(|why| format!("output {index}: {why}"))?;
        }
        let inferred = graph.shape(outputs[index]).map_err(say)?;
        if !inferred.accepts(got.dims()) {
            return Err(format!("output {index} has shape {:?}, inferred was {inferred}", got.dims()));
        }
        let dtype = graph.dtype(outputs[index]).map_err(say)?;
        if dtype != got.dtype() {
            return Err(format!("output {index} is {}, inferred was {dtype}", got.dtype()));
        }
    }
    Ok(())
}

fn is_list(arg: &ArgSpec) -> bool {
    arg.number.is_some() || matches!(arg.dtype, ArgType::List(_))
}

fn parse_row<'a>(op: &'static Op, text: &'a str) -> Outcome<Row<'a>> {
    let (before, after) = text.split_once("=>").ok_or("there is no =>")?;
    let parts = split(before, ';');
    let (attrs, inputs) = match parts[..] {
        [inputs] => ("", inputs),
        [attrs, inputs] => (attrs, inputs),
        _ => return Err("there is more than one ;".into()),
    };
    let attr = |a: &'a str| a.split_once('=').map(|(n, v)| (n.trim(), v.trim())).ok_or(format!("{a}: no ="));
    let attrs = items(attrs).into_iter().map(attr).collect::<Outcome<Vec<_>>>()?;
    let args = &op.signature().inputs;
    let mut texts = items(inputs);
    let surplus = (texts.len() + 1).checked_sub(args.len());
    let mut inputs = Vec::new();
    for arg in args {
        let grouped = texts.first().is_some_and(|t| t.starts_with('('));
        let count = if is_list(arg) && !grouped { surplus.ok_or("inputs are missing")? } else { 1 };
        if texts.len() < count {
            return Err(format!("input {} is missing", arg.name));
        }
        let own: Vec<&str> = texts.drain(..count).collect();
        let group = |t: &&'a str| t.strip_prefix('(').and_then(|t| t.strip_suffix(')')).map(items).unwrap_or(vec![*t]);
        inputs.push(own.iter().flat_map(group).map(parse_tensor).collect::<Outcome<Vec<_>>>()?);
    }
    if !texts.is_empty() {
        return Err(format!("inputs are left over: {texts:?}"));
    }
    let output = |t: &str| if t == "_" { Ok(None) } else { parse_tensor(t).map(Some) };
    let outputs = items(after).into_iter().map(output).collect::<Outcome<Vec<_>>>()?;
    Ok(Row { attrs, inputs, outputs })
}

fn parse_tensor(text: &str) -> Outcome<Tensor> {
    text.parse().map_err(|e: metagraph::Error| format!("{text}: {e}"))
}

/// The parts between commas, none for blank text.
fn items(text: &str) -> Vec<&str> {
    if text.trim().is_empty() { Vec::new() } else { split(text, ',') }
}

/// Splits at a separator that stands within neither brackets nor quotes.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut start, mut depth, mut quote, mut escaped) = (Vec::new(), 0, 0, None, false);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), _) => quote = if c == open { None } else { quote },
            (None, '"' | '\'') => quote = Some(c),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') => depth -= 1,
            _ if c == separator && depth == 0 => {
                parts.push(text[start..at].trim());
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    parts
}

fn compare(got: &Tensor, expected: &Tensor) -> Outcome<()> {
    let differ = || Err(format!("got {got:?}, expected {expected:?}"));
    if got.dtype() != expected.dtype() || got.dims() != expected.dims() {
        return Err(format!("got {}{:?}, expected {}{:?}", got.dtype(), got.dims(), expected.dtype(), expected.dims()));
    }
    let tolerance = match got.dtype() {
        DType::Float | DType::Complex64 => 1e-5,
        DType::Double | DType::Complex128 => 1e-9,
        DType::Half => 2e-3,
        DType::Bfloat16 => 1e-2,
        _ => return if got == expected { Ok(()) } else { differ() },
    };
    let (a, b) = (floats(got)?, floats(expected)?);
    let near = |(p, q): (&f64, &f64)| p == q || (p.is_nan() && q.is_nan()) || (p - q).abs() <= tolerance * (1.0 + q.abs());
    if a.iter().zip(&b).all(near) { Ok(()) } else { differ() }
}

/// The elements of a tensor of floats, parts of complex ones side by side.
fn floats(tensor: &Tensor) -> Outcome<Vec<f64>> {
    let bytes = tensor.to_le_bytes().map_err(|e| e.to_string())?;
    Ok(match tensor.dtype() {
        DType::Float | DType::Complex64 => bytes.as_chunks().0.iter().map(|&c| f64::from(f32::from_le_bytes(c))).collect(),
        DType::Double | DType::Complex128 => bytes.as_chunks().0.iter().map(|&c| f64::from_le_bytes(c)).collect(),
        DType::Half => bytes.as_chunks().0.iter().map(|&c| half::f16::from_le_bytes(c).to_f64()).collect(),
        DType::Bfloat16 => bytes.as_chunks().0.iter().map(|&c| half::bf16::from_le_bytes(c).to_f64()).collect(),
        other => return Err(format!("{other} isn't a float")),
    })
}
