//! The executor's own cost: scalar ops in a chain, iterations of a small loop, import and first run of a large graph.

use criterion::{Criterion, criterion_group, criterion_main};
use metagraph::{DType, Graph, Output, Session, Shape, Tensor, proto};

/// `x + x + ...`, of scalar float32 ops.
fn chain(length: usize) -> (Graph, Output, Output) {
    let g = Graph::new();
    let x = g.placeholder(DType::Float, Shape::scalar()).expect("a placeholder");
    let mut y = x;
    for _ in 0..length {
        y = g.op("AddV2").input(y).input(x).output().expect("a sum");
    }
    (g, x, y)
}

/// `while i < limit: i, x = i + 1, x * 0.5`.
fn counting(limit: i32) -> (Graph, Output) {
    let g = Graph::new();
    let starts = [g.constant(0i32), g.constant(1f32)].map(|s| s.expect("a constant"));
    let constants = [g.constant(limit), g.constant(1i32)].map(|s| s.expect("a constant"));
    let half = g.constant(0.5f32).expect("a constant");
    let enter = |value, constant: bool| {
        g.op("Enter").input(value).attr("frame_name", "loop").attr("is_constant", constant).output().expect("an Enter")
    };
    let merges = starts.map(|s| {
        let e = enter(s, false);
        g.op("Merge").input_list(&[e, e]).finish().expect("a Merge")
    });
    let [limit, one] = constants.map(|c| enter(c, true));
    let half = enter(half, true);
    let less = g.op("Less").input(merges[0].output(0)).input(limit).output().expect("a comparison");
    let cond = g.op("LoopCond").input(less).output().expect("a condition");
    let switches = merges.map(|m| g.op("Switch").input(m.output(0)).input(cond).finish().expect("a Switch"));
    let exit = g.op("Exit").input(switches[1].output(0)).name("result").output().expect("an Exit");
    let next = [
        g.op("AddV2").input(switches[0].output(1)).input(one).output().expect("a sum"),
        g.op("Mul").input(switches[1].output(1)).input(half).output().expect("a product"),
    ];
    let next = next.map(|n| g.op("NextIteration").input(n).finish().expect("a NextIteration"));
    let names: Vec<(String, String)> = merges.iter().zip(next).map(|(m, n)| (g.op_name(*m), g.op_name(n))).collect();
    let exit = g.tensor_name(exit);
    let mut def = g.as_graph_def();
    for (merge, next) in names {
        let node = def.node.iter_mut().find(|n| n.name == merge).expect("the Merge");
        node.input[1] = next;
    }
    let closed = Graph::new();
    closed.import_graph_def(def, &Default::default()).expect("an import");
    let exit = closed.get_tensor_by_name(&exit).expect("the Exit");
    (closed, exit)
}

fn executor(c: &mut Criterion) {
    let (g, x, y) = chain(10_000);
    let session = Session::new(&g);
    let callable = session.callable(&[x], &[y], &[]).expect("a plan");
    let value = Tensor::scalar(1f32);
    c.bench_function("chain of 10,000 scalar ops", |b| b.iter(|| callable.run(&[&value]).expect("a run")));

    let (g, exit) = counting(100_000);
    let session = Session::new(&g);
    let callable = session.callable(&[], &[exit], &[]).expect("a plan");
    c.bench_function("loop of 100,000 iterations", |b| b.iter(|| callable.run(&[]).expect("a run")));

    let (g, ..) = chain(100_000);
    let def = g.as_graph_def();
    let bytes = prost::Message::encode_to_vec(&def);
    let names = (def.node[0].name.clone(), def.node[def.node.len() - 1].name.clone());
    let import = || {
        let def: proto::GraphDef = prost::Message::decode(&bytes[..]).expect("a message");
        let g = Graph::new();
        g.import_graph_def(def, &Default::default()).expect("an import");
        g
    };
    c.bench_function("import of 100,000 nodes", |b| b.iter(import));
    let g = import();
    let x = g.get_tensor_by_name(&format!("{}:0", names.0)).expect("x");
    let y = g.get_tensor_by_name(&format!("{}:0", names.1)).expect("y");
    c.bench_function("first run of 100,000 nodes", |b| b.iter(|| Session::new(&g).run(&[y], &[(x, &value)]).expect("a run")));
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = executor
}
criterion_main!(benches);
