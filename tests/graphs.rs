//! Graphs that are built here are TensorFlow's, node for node: `graphs/make.py` wrote what TensorFlow builds.

use metagraph::control_flow::{Nest, WhileOptions};
use metagraph::graph::CollectionItem;
use metagraph::ops::{Idx, TensorArrayOptions};
use metagraph::proto::attr_value::Value;
use metagraph::proto::control_flow_context_def::Ctxt;
use metagraph::proto::{AttrValue, CondContextDef, NodeDef, ValuesDef, WhileContextDef};
use metagraph::{
    AggregationMethod, DType, GradientOptions, Graph, Output, Result, Shape, Tensor, TensorArray, UnconnectedGradients,
};
use prost::Message;
use std::fmt::Write;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, b| {
        let _ = write!(text, "{b:02x}");
        text
    })
}

fn dtype(number: i32) -> String {
    DType::from_number(number).map_or(number.to_string(), |d| d.name().to_string())
}

fn tensor(t: &Tensor) -> String {
    let dims: Vec<String> = t.dims().iter().map(usize::to_string).collect();
    let bytes = match t.strings() {
        Ok(strings) => strings.iter().flat_map(|s| [&(s.len() as u32).to_le_bytes()[..], s].concat()).collect(),
        Err(_) => t.to_le_bytes().unwrap(),
    };
    format!("{}[{}]:{}", t.dtype().name(), dims.join(","), hex(&bytes))
}

fn value(v: &AttrValue) -> String {
    let text = |s: &[u8]| format!("\"{}\"", String::from_utf8_lossy(s));
    match v.value.as_ref().unwrap() {
        Value::B(b) => b.to_string(),
        Value::I(i) => i.to_string(),
        Value::F(f) => format!("f{}", hex(&f.to_le_bytes())),
        Value::S(s) => text(s),
        Value::Type(t) => dtype(*t),
        Value::Shape(s) => Shape::from_message(s).to_string(),
        Value::Tensor(t) => tensor(&Tensor::from_message(t).unwrap()),
        Value::Func(f) => format!("@{}", f.name),
        Value::Placeholder(p) => format!("${p}"),
        Value::List(l) => {
            let mut items: Vec<String> = l.s.iter().map(|s| text(s)).collect();
            items.extend(l.i.iter().map(i64::to_string));
            items.extend(l.f.iter().map(|f| format!("f{}", hex(&f.to_le_bytes()))));
            items.extend(l.b.iter().map(bool::to_string));
            items.extend(l.r#type.iter().map(|&t| dtype(t)));
            items.extend(l.shape.iter().map(|s| Shape::from_message(s).to_string()));
            format!("[{}]", items.join(", "))
        }
    }
}

fn node(n: &NodeDef) -> String {
    let attrs: Vec<String> = n.attr.iter().map(|(k, v)| format!("{k}={}", value(v))).collect();
    let device = if n.device.is_empty() { String::new() } else { format!(" @{}", n.device) };
    format!("{} = {}({}){device} {{{}}}", n.name, n.op, n.input.join(", "), attrs.join(", "))
}

fn values(def: &Option<ValuesDef>) -> String {
    let def = def.clone().unwrap_or_default();
    let external: Vec<String> = def.external_values.iter().map(|(k, v)| format!("{k}: {v}")).collect();
    format!("values=[{}] external={{{}}}", def.values.join(", "), external.join(", "))
}

fn context(c: &Ctxt, indent: &str, lines: &mut Vec<String>) {
    let nested = match c {
        Ctxt::CondCtxt(c) => {
            lines.push(format!(
                "{indent}cond {} pred={} pivot={} branch={} {}",
                c.context_name,
                c.pred_name,
                c.pivot_name,
                c.branch,
                values(&c.values_def)
            ));
            &c.nested_contexts
        }
        Ctxt::WhileCtxt(c) => {
            lines.push(format!(
                "{indent}while {} parallel={} back_prop={} swap={} maximum={} pivots=[{}, {}, {}] exits=[{}] enters=[{}] {}",
                c.context_name,
                c.parallel_iterations,
                c.back_prop,
                c.swap_memory,
                c.maximum_iterations_name,
                c.pivot_name,
                c.pivot_for_pred_name,
                c.pivot_for_body_name,
                c.loop_exit_names.join(", "),
                c.loop_enter_names.join(", "),
                values(&c.values_def)
            ));
            &c.nested_contexts
        }
    };
    for n in nested {
        context(n.ctxt.as_ref().unwrap(), &format!("{indent}  "), lines);
    }
}

fn dump(g: &Graph) -> Vec<String> {
    let mut lines: Vec<String> = g.as_graph_def().node.iter().map(node).collect();
    for name in ["while_context", "cond_context"] {
        for item in g.get_collection(name) {
            let CollectionItem::Object(object) = item else { panic!("{item:?} in {name}") };
            let bytes = object.to_bytes(g).unwrap();
            let ctxt = match name {
                "while_context" => Ctxt::WhileCtxt(WhileContextDef::decode(bytes).unwrap()),
                _ => Ctxt::CondCtxt(CondContextDef::decode(bytes).unwrap()),
            };
            context(&ctxt, "", &mut lines);
        }
    }
    lines
}

fn check(name: &str, build: fn(&Graph) -> Result<()>) {
    let path = format!("{}/tests/graphs/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let expected = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let expected: Vec<&str> = expected.lines().collect();
    let g = Graph::new();
    build(&g).unwrap_or_else(|e| panic!("{name}: {e}\n{}", dump(&g).join("\n")));
    let got = dump(&g);
    for index in 0..got.len().max(expected.len()) {
        let (a, b) = (got.get(index).map_or("nothing", |l| l), expected.get(index).map_or("nothing", |l| l));
        assert!(a == b, "{name}, line {}:\n       got {a}\n  expected {b}\n\nall:\n{}", index + 1, got.join("\n"));
    }
}

macro_rules! cases {
    ($($name:ident($g:ident) $body:block)*) => {
        $(#[test]
        fn $name() {
            fn build($g: &Graph) -> Result<()> {
                $body
                Ok(())
            }
            check(stringify!($name), build);
        })*
    };
}

fn x_and_w(g: &Graph) -> Result<(Output, Output)> {
    Ok((g.named("x").placeholder(DType::Float, [Some(2)])?, g.named("w").constant([1f32, 2.0])?))
}

fn predicate(g: &Graph, name: &str) -> Result<Output> {
    g.named(name).placeholder(DType::Bool, Shape::scalar())
}

fn unknown(g: &Graph, name: &str) -> Result<Output> {
    g.named(name).placeholder(DType::Float, [None, Some(3)])
}

fn gradient(g: &Graph, y: Output, x: Output) -> Result<Output> {
    Ok(g.gradients(&[y], &[x], &GradientOptions::default())?[0].and_then(|d| d.dense()).unwrap())
}

type Pair = (Output, Output);

/// A loop that counts to three beside another variable.
fn three<V: Nest>(g: &Graph, start: V, body: impl FnOnce(&Graph, Output, V) -> Result<V>) -> Result<V> {
    let zero = g.constant(0i32)?;
    let options = WhileOptions::default();
    let condition = |g: &Graph, (i, _): &(Output, V)| g.less(*i, 3i32);
    let body = |g: &Graph, (i, v): (Output, V)| Ok((g.add(i, 1i32)?, body(g, i, v)?));
    Ok(g.while_loop(condition, body, (zero, start), &options)?.1)
}

cases! {
    while_basic(g) {
        let (x, w) = x_and_w(g)?;
        three(g, x, |g, _, y| g.mul(y, w))?;
    }

    while_named_maximum(g) {
        let (_, w) = x_and_w(g)?;
        let options = WhileOptions {
            maximum_iterations: Some(7i32.into()),
            parallel_iterations: 1,
            back_prop: false,
            swap_memory: true,
            ..Default::default()
        };
        let zero = g.constant(0f32)?;
        let body = |g: &Graph, y| g.add(y, g.index(w, &[Idx::from(0)])?);
        g.named("limited").while_loop(|g, y| g.less(*y, 3f32), body, zero, &options)?;
    }

    while_nested(g) {
        let (x, w) = x_and_w(g)?;
        three(g, x, |g, i, y| {
            let zero = g.constant(0i32)?;
            let body = |g: &Graph, (j, z): Pair| Ok((g.add(j, 1i32)?, g.add(g.mul(z, w)?, y)?));
            Ok(g.while_loop(|g, (j, _)| g.less(*j, i), body, (zero, y), &WhileOptions::default())?.1)
        })?;
    }

    while_nested_invariant(g) {
        let (x, w) = x_and_w(g)?;
        three(g, x, |g, _, y| {
            let zero = g.constant(0i32)?;
            let body = |g: &Graph, (j, z): Pair| Ok((g.add(j, 1i32)?, g.mul(z, y)?));
            let (_, z) = g.while_loop(|g, (j, _)| g.less(*j, 2i32), body, (zero, w), &WhileOptions::default())?;
            g.add(y, z)
        })?;
    }

    while_shape_invariant(g) {
        let x = g.named("x").placeholder(DType::Float, [2, 3])?;
        let zero = g.constant(0i32)?;
        let body = |g: &Graph, (i, y): Pair| Ok((g.add(i, 1i32)?, g.concat(&[y.into(), y.into()], 0i32)?));
        let shape_invariants = Some(vec![Shape::scalar(), Shape::from([None, Some(3)])]);
        let options = WhileOptions { shape_invariants, ..Default::default() };
        g.while_loop(|g, (i, _)| g.less(*i, 3i32), body, (zero, x), &options)?;
    }

    while_control_inputs(g) {
        let (x, w) = x_and_w(g)?;
        let before = g.named("before").multiply(w, 2f32)?;
        let _after = g.control_dependencies(&[before.op])?;
        three(g, x, |g, _, y| {
            let inner = g.named("inner").multiply(y, 3f32)?;
            let _after = g.control_dependencies(&[inner.op])?;
            let c = g.constant(1f32)?;
            g.add(g.mul(y, c)?, w)
        })?;
    }

    while_waits_outside(g) {
        let (x, w) = x_and_w(g)?;
        let before = g.named("before").multiply(w, 2f32)?;
        let zero = g.constant(0i32)?;
        let body = |g: &Graph, (i, y): Pair| {
            let _after = g.control_dependencies(&[before.op])?;
            Ok((g.add(i, 1i32)?, g.mul(y, w)?))
        };
        g.while_loop(|g, (i, _)| g.less(*i, 3i32), body, (zero, x), &WhileOptions::default())?;
    }

    cond_basic(g) {
        let (x, w) = x_and_w(g)?;
        let p = predicate(g, "p")?;
        g.cond(p, |g| g.mul(x, w), |g| g.add(x, 1f32))?;
    }

    cond_lists(g) {
        let (x, w) = x_and_w(g)?;
        let p = predicate(g, "p")?;
        g.named("choice").cond(p, |g| Ok([x, w, g.constant(1i32)?]), |g| Ok([w, w, g.constant(2i32)?]))?;
    }

    cond_nested(g) {
        let (x, w) = x_and_w(g)?;
        let (p, q) = (predicate(g, "p")?, predicate(g, "q")?);
        g.cond(p, |g| g.cond(q, |g| g.mul(x, w), |g| g.sub(x, w)), |g| g.cond(q, |_| Ok(x), |_| Ok(w)))?;
    }

    cond_operations(g) {
        let (x, w) = x_and_w(g)?;
        let p = predicate(g, "p")?;
        g.cond(p, |g| g.group(&[g.mul(x, w)?.op]), |g| g.no_op())?;
    }

    cond_in_while(g) {
        let (x, w) = x_and_w(g)?;
        three(g, x, |g, i, y| g.cond(g.less(i, 2i32)?, |g| g.mul(y, w), |g| g.add(y, x)))?;
    }

    while_in_cond(g) {
        let (x, w) = x_and_w(g)?;
        let p = predicate(g, "p")?;
        g.cond(p, |g| three(g, x, |g, _, y| g.mul(y, w)), |_| Ok(x))?;
    }

    group_and_tuple(g) {
        let (x, w) = x_and_w(g)?;
        let (a, b) = (g.named("a").multiply(x, w)?, g.named("b").add(x, w)?);
        let c = {
            let _on = g.device("/device:CPU:0");
            g.named("c").multiply(x, x)?
        };
        g.group(&[a.op, b.op])?;
        g.named("all").group(&[a.op, b.op, c.op])?;
        g.tuple(&[a, b], &[c.op])?;
        g.named("later").with_dependencies(&[a.op], b)?;
    }

    tensor_array_loop(g) {
        let x = g.named("x").placeholder(DType::Float, [None, Some(3)])?;
        let n = g.index(g.shape_tensor(x)?, &[Idx::from(0)])?;
        let named = TensorArrayOptions { tensor_array_name: "in".into(), ..Default::default() };
        let source = TensorArray::new(g, DType::Float, n, &named)?.unstack(g, x)?;
        let sink = TensorArray::new(g, DType::Float, n, &TensorArrayOptions::default())?;
        let zero = g.constant(0i32)?;
        let (_, sink) = g.while_loop(
            |g, (i, _)| g.less(*i, n),
            |g, (i, t)| {
                let next = g.add(i, 1i32)?;
                Ok((next, t.write(g, i, g.mul(source.read(g, i)?, 2f32)?)?))
            },
            (zero, sink),
            &WhileOptions::default(),
        )?;
        sink.stack(g)?;
    }

    tensor_array_ops(g) {
        let x = g.named("x").placeholder(DType::Float, [6, 3])?;
        let options = TensorArrayOptions {
            dynamic_size: true,
            clear_after_read: false,
            element_shape: Shape::from([None, Some(3)]),
            infer_shape: false,
            ..Default::default()
        };
        let a = TensorArray::new(g, DType::Float, 3i32, &options)?;
        let a = a.write(g, 0i32, g.index(x, &[(..2i32).into()])?)?.split(g, x, vec![1i32, 2, 3])?;
        a.concat(g)?;
        a.gather(g, vec![0i32, 2])?;
        a.size(g)?;
        a.identity(g)?.read(&g.named("one"), 1i32)?;
        a.close(g)?;
        let b = TensorArray::new(&g.named("fixed"), DType::Float, 3i32, &TensorArrayOptions::default())?;
        let b = b.scatter(g, vec![2i32, 1, 0], g.index(x, &[(..3i32).into()])?)?;
        b.size(g)?;
        b.stack(&g.named("stacked"))?;
        b.grad(g, "gradients", None)?.read(g, 0i32)?;
    }

    grad_basic(g) {
        let (x, w) = x_and_w(g)?;
        let y = g.mul(x, w)?;
        let z = g.named("z").math_add(g.mul(y, y)?, x)?;
        g.gradients(&[z, y], &[x, w, z], &GradientOptions::default())?;
    }

    grad_options(g) {
        let (x, w) = x_and_w(g)?;
        let y = g.mul(x, w)?;
        let z = g.named("z").math_add(g.mul(y, y)?, x)?;
        let u = g.named("u").placeholder(DType::Float, [3])?;
        let options = GradientOptions {
            grad_ys: vec![Some(w.into())],
            colocate_gradients_with_ops: true,
            gate_gradients: true,
            aggregation_method: AggregationMethod::Tree,
            unconnected_gradients: UnconnectedGradients::Zero,
            ..Default::default()
        };
        g.named("gradients_of_z").gradients(&[z], &[x, w, u], &options)?;
        g.gradients(&[z], &[x, y], &GradientOptions { stop_gradients: vec![y], ..Default::default() })?;
    }

    grad_second(g) {
        let x = g.named("x").placeholder(DType::Float, [None, Some(3)])?;
        let y = g.mul(g.mul(x, x)?, x)?;
        let dx = gradient(g, y, x)?;
        gradient(g, dx, x)?;
    }

    grad_while(g) {
        let (x, w) = x_and_w(g)?;
        let y = three(g, x, |g, _, y| g.mul(y, w))?;
        g.gradients(&[y], &[x, w], &GradientOptions::default())?;
    }

    grad_while_unknown_shape(g) {
        let (x, w) = (unknown(g, "x")?, unknown(g, "w")?);
        let y = three(g, x, |g, _, y| g.mul(y, w))?;
        g.gradients(&[y], &[x, w], &GradientOptions::default())?;
    }

    grad_while_nested(g) {
        let (x, w) = x_and_w(g)?;
        let y = three(g, x, |g, _, y| g.mul(three(g, y, |g, _, z| g.add(g.mul(z, w)?, y))?, w))?;
        g.gradients(&[y], &[x, w], &GradientOptions::default())?;
    }

    grad_while_nested_unknown_shape(g) {
        let (x, w) = (unknown(g, "x")?, unknown(g, "w")?);
        let y = three(g, x, |g, _, y| g.mul(three(g, y, |g, _, z| g.add(g.mul(z, w)?, y))?, w))?;
        g.gradients(&[y], &[x, w], &GradientOptions::default())?;
    }

    grad_while_unused_exits(g) {
        let (x, w) = x_and_w(g)?;
        let zero = g.constant(0i32)?;
        let body = |g: &Graph, (i, y, z): (Output, Output, Output)| Ok((g.add(i, 1i32)?, g.mul(y, z)?, g.mul(z, w)?));
        let (_, y, _) = g.while_loop(|g, (i, _, _)| g.less(*i, 3i32), body, (zero, x, w), &WhileOptions::default())?;
        g.gradients(&[y], &[x, w], &GradientOptions::default())?;
    }

    grad_while_independent(g) {
        let x = g.named("x").placeholder(DType::Float, [2])?;
        let w = g.named("w").placeholder(DType::Float, [None])?;
        let start = (g.constant(0i32)?, x, x, w);
        let (_, y, z, v) = g.while_loop(
            |g, (i, ..)| g.less(*i, 3i32),
            |g, (i, y, _, _)| Ok((g.add(i, 1i32)?, g.mul(y, x)?, g.mul(x, x)?, g.mul(w, w)?)),
            start,
            &WhileOptions::default(),
        )?;
        g.gradients(&[y, z, v], &[x, w], &GradientOptions::default())?;
    }

    grad_while_cond(g) {
        let (x, w) = x_and_w(g)?;
        let y = three(g, x, |g, i, y| g.cond(g.less(i, 2i32)?, |g| g.mul(y, w), |g| g.mul(y, y)))?;
        g.gradients(&[y], &[x, w], &GradientOptions::default())?;
    }

    grad_while_cond_unknown_shape(g) {
        let (x, w) = (unknown(g, "x")?, unknown(g, "w")?);
        let y = three(g, x, |g, i, y| g.cond(g.less(i, 2i32)?, |g| g.mul(y, w), |g| g.mul(y, y)))?;
        g.gradients(&[y], &[x, w], &GradientOptions::default())?;
    }

    grad_cond(g) {
        let (x, w) = x_and_w(g)?;
        let p = predicate(g, "p")?;
        let y = g.cond(p, |g| g.mul(x, w), |g| g.add(x, 1f32))?;
        g.gradients(&[y], &[x, w], &GradientOptions::default())?;
    }

    grad_cond_nested(g) {
        let (x, w) = (unknown(g, "x")?, unknown(g, "w")?);
        let (p, q) = (predicate(g, "p")?, predicate(g, "q")?);
        let y = g.cond(p, |g| g.cond(q, |g| g.mul(x, w), |g| g.sub(x, w)), |g| g.mul(x, x))?;
        g.gradients(&[y], &[x, w], &GradientOptions::default())?;
    }

    grad_while_in_cond(g) {
        let (x, w) = x_and_w(g)?;
        let p = predicate(g, "p")?;
        let y = g.cond(p, |g| three(g, x, |g, _, y| g.mul(y, w)), |g| g.mul(x, w))?;
        g.gradients(&[y], &[x, w], &GradientOptions::default())?;
    }

    grad_within_while(g) {
        let (x, w) = x_and_w(g)?;
        three(g, x, |g, _, y| {
            let z = g.mul(g.mul(y, y)?, w)?;
            let gradients = g.gradients(&[z], &[y, w], &GradientOptions::default())?;
            Ok(gradients[0].and_then(|d| d.dense()).unwrap())
        })?;
    }

    grad_tensor_array(g) {
        let x = g.named("x").placeholder(DType::Float, [None, Some(3)])?;
        let n = g.index(g.shape_tensor(x)?, &[Idx::from(0)])?;
        let source = TensorArray::new(g, DType::Float, n, &TensorArrayOptions::default())?.unstack(g, x)?;
        let sink = TensorArray::new(g, DType::Float, n, &TensorArrayOptions::default())?;
        let start = (g.constant(0i32)?, g.constant([1f32, 2.0, 3.0])?, sink);
        let (_, s, sink) = g.while_loop(
            |g, (i, _, _)| g.less(*i, n),
            |g, (i, s, t)| {
                let next = g.add(i, 1i32)?;
                let sum = g.add(s, source.read(g, i)?)?;
                Ok((next, sum, t.write(g, i, g.mul(source.read(g, i)?, s)?)?))
            },
            start,
            &WhileOptions::default(),
        )?;
        let stacked = sink.stack(g)?;
        g.gradients(&[stacked, s], &[x], &GradientOptions::default())?;
    }

    grad_tensor_array_split(g) {
        let x = g.named("x").placeholder(DType::Float, [6, 3])?;
        let options = TensorArrayOptions { infer_shape: false, ..Default::default() };
        let a = TensorArray::new(g, DType::Float, 3i32, &options)?.split(g, x, vec![1i32, 2, 3])?;
        let y = a.concat(g)?;
        g.gradients(&[y], &[x], &GradientOptions::default())?;
    }

    grad_while_gather(g) {
        let x = g.named("x").placeholder(DType::Float, [5, 3])?;
        let zeros = g.constant([0f32; 3])?;
        let y = three(g, zeros, |g, i, s| g.add(s, g.gather(x, i)?))?;
        g.gradients(&[y], &[x], &GradientOptions::default())?;
    }
}
