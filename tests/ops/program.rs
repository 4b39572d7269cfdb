//! Programs as text, a node a line, which run line by line.
//!
//! A line reads `name = Op(attributes; inputs)`, as examples of ops do, where an input is the name of an earlier line
//! (`name:1` for its second output), a tensor, another expression, or a list of these in parentheses.
//! `def f(x f32) = expression` is a function of the graph's library.

use crate::{Outcome, is_list, items, split};
use metagraph::proto::{FunctionDef, NodeDef, OpDef, op_def::ArgDef};
use metagraph::{DType, Graph, Operation, Output, Shape, Tensor, ops};
use std::collections::HashMap;

/// The programs of a text, each with its title.
pub fn programs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let parts = text.split("\n\n").filter_map(|part| part.trim().strip_prefix("# "));
    parts.map(|part| part.split_once('\n').unwrap_or((part, "")))
}

/// A graph that grows line by line.
pub struct Program<'a> {
    graph: &'a Graph,
    names: HashMap<String, Vec<Output>>,
    last: Option<Operation>,
}

fn say(error: metagraph::Error) -> String {
    error.to_string()
}

impl<'a> Program<'a> {
    /// Adds the nodes of a text.
    pub fn build(graph: &'a Graph, text: &str) -> Outcome<()> {
        let mut program = Program { graph, names: HashMap::new(), last: None };
        text.lines().try_for_each(|line| program.line(line).map_err(|why| format!("{line}: {why}")))
    }

    fn line(&mut self, line: &str) -> Outcome<()> {
        if let Some(function) = line.strip_prefix("def ") {
            return self.graph.add_function(define(function)?).map_err(say);
        }
        let (name, expression) = match line.split_once(" = ") {
            Some((name, expression)) if !name.contains('(') => (name, expression),
            _ => ("", line),
        };
        let (op, outputs) = self.node(name, expression)?;
        self.names.insert(name.to_string(), outputs);
        self.last = Some(op);
        Ok(())
    }

    fn node(&self, name: &str, text: &str) -> Outcome<(Operation, Vec<Output>)> {
        let (op, inner) = text.split_once('(').ok_or("there is no (")?;
        let record = ops::lookup(op).ok_or(format!("{op} isn't an op"))?;
        let inner = inner.strip_suffix(')').ok_or("there is no ) at the end")?;
        let (attrs, inputs) = match split(inner, ';')[..] {
            [inputs] => ("", inputs),
            [attrs, inputs] => (attrs, inputs),
            _ => return Err("there is more than one ;".into()),
        };
        let mut builder = self.graph.op(record.name);
        if !name.is_empty() {
            builder = builder.name(name);
        }
        for attr in items(attrs) {
            let (name, value) = attr.split_once('=').ok_or(format!("{attr}: no ="))?;
            let spec = record.signature().attr(name).ok_or(format!("there is no attribute {name}"))?;
            builder = builder.attr(name, spec.parse_value(value).map_err(say)?);
        }
        let inputs = items(inputs);
        let args = &record.signature().inputs;
        if inputs.len() != args.len() {
            return Err(format!("{} inputs, {op} has {}", inputs.len(), args.len()));
        }
        for (arg, input) in args.iter().zip(inputs) {
            builder = match input.strip_prefix('(').and_then(|i| i.strip_suffix(')')) {
                Some(list) if is_list(arg) => {
                    builder.input_list(&items(list).into_iter().map(|i| self.input(i)).collect::<Outcome<Vec<_>>>()?)
                }
                _ => builder.input(self.input(input)?),
            };
        }
        let op = self.last.into_iter().fold(builder, |b, last| b.control(last)).finish().map_err(say)?;
        Ok((op, self.graph.outputs(op)))
    }

    fn input(&self, text: &str) -> Outcome<Output> {
        let (name, index) = text.split_once(':').unwrap_or((text, "0"));
        if let (Some(outputs), Ok(index)) = (self.names.get(name), index.parse::<usize>()) {
            return outputs.get(index).copied().ok_or(format!("{name} has no output {index}"));
        }
        if text.ends_with(')') {
            return self.node("", text)?.1.first().copied().ok_or(format!("{text} has no output"));
        }
        self.graph.constant(text.parse::<Tensor>().map_err(say)?).map_err(say)
    }
}

/// A function `f(x f32, y i32) = expression`; its result is the expression's first output.
fn define(text: &str) -> Outcome<FunctionDef> {
    let (head, expression) = text.split_once(" = ").ok_or("there is no =")?;
    let (name, parameters) = head.split_once('(').ok_or("there is no (")?;
    let graph = Graph::new();
    let mut program = Program { graph: &graph, names: HashMap::new(), last: None };
    let mut signature = OpDef { name: name.to_string(), ..OpDef::default() };
    let arg = |name: &str, dtype: DType| ArgDef { name: name.to_string(), r#type: dtype.number(), ..ArgDef::default() };
    for parameter in items(parameters.trim_end_matches(')')) {
        let (name, dtype) = parameter.split_once(' ').ok_or("a parameter has no type")?;
        let dtype = DType::from_name(dtype).ok_or(format!("{dtype} is no type"))?;
        let placeholder = graph.named(name).placeholder(dtype, Shape::unknown()).map_err(say)?;
        program.names.insert(name.to_string(), vec![placeholder]);
        signature.input_arg.push(arg(name, dtype));
    }
    let (_, outputs) = program.node("", expression)?;
    signature.output_arg.push(arg("result", graph.dtype(outputs[0]).map_err(say)?));
    // In a function an input is an argument, or `node:name of the output:0`.
    let within = |name: &str| -> Outcome<String> {
        if program.names.contains_key(name) {
            return Ok(name.to_string());
        }
        let op = graph.op_type(graph.get_operation_by_name(name).map_err(say)?);
        let record = ops::lookup(&op).ok_or(format!("{op} isn't an op"))?;
        Ok(format!("{name}:{}:0", record.signature().outputs[0].name))
    };
    let mut function = FunctionDef::default();
    for node in graph.as_graph_def().node.into_iter().filter(|n| n.op != "Placeholder") {
        let input = node.input.iter().map(|i| within(i)).collect::<Outcome<_>>()?;
        function.node_def.push(NodeDef { input, ..node });
    }
    function.ret.insert("result".into(), within(&graph.op_name(outputs[0].op))?);
    function.signature = Some(signature);
    Ok(function)
}
