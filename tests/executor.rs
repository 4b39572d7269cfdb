//! The executor on graphs of raw control-flow ops, with every rewrite and with none.

use metagraph::{DType, Graph, Operation, Output, Result, Rewrites, Session, SessionOptions, Shape, Tensor};

/// Runs fetches with all rewrites and with none, checks that both agree, and returns the values as text.
fn run(g: &Graph, fetches: &[Output], feeds: &[(Output, &Tensor)]) -> Result<Vec<String>> {
    let text = |rewrites: Rewrites| -> Result<Vec<String>> {
        let mut options = SessionOptions::default();
        options.rewrites = rewrites;
        let session = Session::with_options(g, options);
        // Twice, since the second step uses the cached plan.
        let first = session.run(fetches, feeds)?;
        let second = session.run(fetches, feeds)?;
        assert_eq!(first, second);
        Ok(first.iter().map(ToString::to_string).collect())
    };
    let plain = text(Rewrites::NONE);
    let rewritten = text(Rewrites::ALL);
    match (&plain, &rewritten) {
        (Ok(a), Ok(b)) => assert_eq!(a, b),
        (Err(a), Err(b)) => assert_eq!(a.code(), b.code(), "{a} {b}"),
        (a, b) => panic!("{a:?} without rewrites, {b:?} with them"),
    }
    rewritten
}

struct Loop<'a> {
    g: &'a Graph,
    frame: &'a str,
    merges: Vec<Operation>,
    values: Vec<Output>,
}

/// The head of a loop: an Enter and a Merge for each variable.
fn enter<'a>(g: &'a Graph, frame: &'a str, starts: &[Output]) -> Result<Loop<'a>> {
    let (mut merges, mut values) = (Vec::new(), Vec::new());
    for &start in starts {
        let enter = g.op("Enter").input(start).attr("frame_name", frame).output()?;
        let merge = g.op("Merge").input_list(&[enter, enter]).finish()?;
        merges.push(merge);
        values.push(merge.output(0));
    }
    Ok(Loop { g, frame, merges, values })
}

impl Loop<'_> {
    fn constant(&self, value: Output) -> Result<Output> {
        self.g.op("Enter").input(value).attr("frame_name", self.frame).attr("is_constant", true).output()
    }

    /// Closes the loop by importing the graph anew with its back edges in place, and returns it with its exits.
    fn close(&self, condition: Output, body: impl Fn(&[Output]) -> Result<Vec<Output>>) -> Result<(Graph, Vec<Output>)> {
        let g = self.g;
        let cond = g.op("LoopCond").input(condition).output()?;
        let (mut taken, mut exits) = (Vec::new(), Vec::new());
        for &value in &self.values {
            let switch = g.op("Switch").input(value).input(cond).finish()?;
            exits.push(g.op_name(g.op("Exit").input(switch.output(0)).finish()?));
            taken.push(switch.output(1));
        }
        let mut edges = Vec::new();
        for (next, merge) in body(&taken)?.into_iter().zip(&self.merges) {
            let next = g.op("NextIteration").input(next).finish()?;
            edges.push((g.op_name(*merge), g.op_name(next)));
        }
        let mut def = g.as_graph_def();
        for (merge, next) in edges {
            let node = def.node.iter_mut().find(|n| n.name == merge).unwrap();
            node.input[1] = next;
        }
        let closed = Graph::new();
        closed.import_graph_def(def, &Default::default())?;
        let exits = exits.iter().map(|e| closed.get_tensor_by_name(&format!("{e}:0"))).collect::<Result<_>>()?;
        Ok((closed, exits))
    }
}

/// `while i < limit: i, x = i + 1, f(x)`, the sum of `step` in the plain case.
fn counting(start: i32, limit: i32) -> Result<Vec<String>> {
    let g = Graph::new();
    let (i, x) = (g.constant(start)?, g.constant(1i32)?);
    let limit = g.constant(limit)?;
    let l = enter(&g, "w", &[i, x])?;
    let condition = g.op("Less").input(l.values[0]).input(l.constant(limit)?).output()?;
    let one = g.constant(1i32)?;
    let one = l.constant(one)?;
    let (g, exits) = l.close(condition, |v| {
        let i = g.op("AddV2").input(v[0]).input(one).output()?;
        let x = g.op("AddV2").input(v[1]).input(v[1]).output()?;
        Ok(vec![i, x])
    })?;
    run(&g, &exits, &[])
}

#[test]
fn loops_count() {
    assert_eq!(counting(0, 5).unwrap(), ["i32 5", "i32 32"]);
    assert_eq!(counting(5, 5).unwrap(), ["i32 5", "i32 1"], "no iteration");
    assert_eq!(counting(0, 1).unwrap(), ["i32 1", "i32 2"], "one iteration");
}

#[test]
fn variables_may_swap_and_stay() {
    let g = Graph::new();
    let starts = [g.constant(0i32).unwrap(), g.constant(1i32).unwrap(), g.constant(2i32).unwrap(), g.constant(7i32).unwrap()];
    let limit = g.constant(3i32).unwrap();
    let one = g.constant(1i32).unwrap();
    let l = enter(&g, "w", &starts).unwrap();
    let condition = g.op("Less").input(l.values[0]).input(l.constant(limit).unwrap()).output().unwrap();
    let one = l.constant(one).unwrap();
    let (g, exits) = l.close(condition, |v| Ok(vec![g.op("AddV2").input(v[0]).input(one).output()?, v[2], v[1], v[3]])).unwrap();
    assert_eq!(run(&g, &exits, &[]).unwrap(), ["i32 3", "i32 2", "i32 1", "i32 7"]);
}

#[test]
fn a_switch_kills_one_side() {
    let g = Graph::new();
    let x = g.placeholder(DType::Float, Shape::scalar()).unwrap();
    let pred = g.placeholder(DType::Bool, Shape::scalar()).unwrap();
    let switch = g.op("Switch").input(x).input(pred).finish().unwrap();
    let negative = g.op("Neg").input(switch.output(0)).output().unwrap();
    let square = g.op("Square").input(switch.output(1)).output().unwrap();
    let merge = g.op("Merge").input_list(&[negative, square]).finish().unwrap();
    let value = Tensor::scalar(3f32);
    for (taken, expected) in [(false, ["f32 -3", "i32 0"]), (true, ["f32 9", "i32 1"])] {
        let feeds = [(x, &value), (pred, &Tensor::scalar(taken))];
        assert_eq!(run(&g, &[merge.output(0), merge.output(1)], &feeds).unwrap(), expected);
    }
    let dead = run(&g, &[negative], &[(x, &value), (pred, &Tensor::scalar(true))]);
    assert_eq!(dead.unwrap_err().code(), metagraph::Code::InvalidArgument);
}

#[test]
fn weights_are_summed_over_iterations() {
    let g = Graph::new();
    let a = g.constant([[1f32, 2.0], [3.0, 4.0], [5.0, 6.0]]).unwrap();
    let b = g.constant([[1f32], [0.5], [2.0]]).unwrap();
    let start = g.constant([[10f32], [20.0]]).unwrap();
    let zero = g.constant(0i32).unwrap();
    let l = enter(&g, "w", &[zero, start]).unwrap();
    let (limit, one) = (g.constant(4i32).unwrap(), g.constant(1i32).unwrap());
    let condition = g.op("Less").input(l.values[0]).input(l.constant(limit).unwrap()).output().unwrap();
    let (one, a, b) = (l.constant(one).unwrap(), l.constant(a).unwrap(), l.constant(b).unwrap());
    let (g, exits) = l
        .close(condition, |v| {
            let count = g.op("AddV2").input(v[0]).input(one).output()?;
            let scale = g.op("Cast").input(v[0]).attr("DstT", DType::Float).output()?;
            let rows = g.op("Mul").input(a).input(scale).output()?;
            let product = g.op("MatMul").input(rows).input(b).attr("transpose_a", true).output()?;
            Ok(vec![count, g.op("AddN").input_list(&[v[1], product]).output()?])
        })
        .unwrap();
    // The sum of 0..4 is 6, and aᵀ b is [12.5, 16].
    assert_eq!(run(&g, &exits, &[]).unwrap(), ["i32 4", "f32[[85] [116]]"]);
}

#[test]
fn an_unknown_op_stands_in_nobodys_way() {
    let g = Graph::new();
    let mut def = metagraph::proto::GraphDef::default();
    let node = |name: &str, op: &str, input: &[&str]| metagraph::proto::NodeDef {
        name: name.into(),
        op: op.into(),
        input: input.iter().map(|i| i.to_string()).collect(),
        ..Default::default()
    };
    def.node = vec![node("strange", "NoSuchOp", &[]), node("after", "NoOp", &["^strange"]), node("apart", "NoOp", &[])];
    g.import_graph_def(def.clone(), &Default::default()).unwrap();
    let session = Session::new(&g);
    session.run_named(&["apart"], &[]).unwrap();
    let error = session.run_named(&["after"], &[]).unwrap_err();
    assert_eq!(error.code(), metagraph::Code::NotFound);
    assert!(error.message().contains("NoSuchOp") && error.message().contains("strange -> after"), "{error}");
    assert_eq!(g.as_graph_def().node, def.node, "exported unchanged");
}

/// In TensorFlow an Identity of a reference shares the variable's memory, so that who runs after an assignment sees it.
#[test]
fn values_read_before_an_assignment_are_those_after_it_for_who_waits() -> Result<()> {
    let g = Graph::new();
    let v = g.op("VariableV2").attr("shape", Shape::scalar()).attr("dtype", DType::Float).output()?;
    let start = g.op("Assign").input(v).input(g.constant(2f32)?).finish()?;
    let read = g.op("Identity").name("read").input(v).output()?;
    let passed = g.op("Identity").input(read).output()?;
    let doubled = g.op("Mul").input(read).input(g.constant(2f32)?).output()?;
    let assign = g.op("Assign").input(v).input(doubled).finish()?;
    let after = g.op("Add").input(passed).input(g.constant(0.5f32)?).control(assign).output()?;
    let late = g.op("Identity").input(v).control(assign).finish()?;
    let waits = g.op("Add").input(g.constant(1f32)?).input(g.constant(1f32)?).control(late).output()?;
    for rewrites in [Rewrites::NONE, Rewrites::ALL] {
        let mut options = SessionOptions::default();
        options.rewrites = rewrites;
        let session = Session::with_options(&g, options);
        session.run_targets(&[start], &[])?;
        assert_eq!(session.run(&[after], &[])?[0].to_string(), "f32 4.5", "{rewrites:?}");
        assert_eq!(session.run(&[waits], &[])?[0].to_string(), "f32 2", "{rewrites:?}");
        assert_eq!(session.run(&[v], &[])?[0].to_string(), "f32 8", "{rewrites:?}");
    }
    Ok(())
}
