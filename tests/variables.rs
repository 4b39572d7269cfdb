//! Variables: kernels, builders, names, initial values.

use metagraph::train::{
    CustomGetter, Distribution, FanMode, GetVariable, Initializer, Partitioner, Reuse, ScopeName, ScopeOptions, VariableOptions,
};
use metagraph::{Code, DType, Graph, Output, Session, Tensor};

fn value(text: &str) -> Tensor {
    text.parse().unwrap()
}

fn constant(g: &Graph, text: &str) -> Output {
    g.constant(value(text)).unwrap()
}

/// Runs an update of a variable in a session of its own, by reference and by handle, and returns the value or the error.
fn updated(op: &str, start: &str, arguments: &[&str]) -> [Result<String, Code>; 2] {
    [false, true].map(|by_handle| {
        let g = Graph::new();
        let start = constant(&g, start);
        let (dtype, shape) = (g.dtype(start).unwrap(), g.shape(start).unwrap());
        let op_type = match (by_handle, op) {
            (false, op) => op.to_string(),
            (true, "AssignAdd" | "AssignSub") => format!("{op}VariableOp"),
            (true, op) => format!("Resource{op}"),
        };
        let variable = if by_handle { g.var_handle_op(dtype, shape, "v") } else { g.variable_op_v2(dtype, shape) }.unwrap();
        let init = if by_handle { g.assign_variable_op(variable, start).unwrap() } else { g.assign(variable, start).unwrap().op };
        let mut builder = g.op(&op_type).input(variable);
        for argument in arguments {
            let argument = value(argument);
            builder = builder.input(g.placeholder(argument.dtype(), metagraph::Shape::unknown()).unwrap());
        }
        let op = builder.finish().unwrap();
        let read = if by_handle { g.read_variable_op(variable, dtype).unwrap() } else { variable };
        let session = Session::new(&g);
        session.run_targets(&[init], &[]).unwrap();
        let arguments: Vec<Tensor> = arguments.iter().map(|a| value(a)).collect();
        let feeds: Vec<(Output, &Tensor)> = g.inputs(op)[1..].iter().copied().zip(&arguments).collect();
        session.run_targets(&[op], &feeds).map_err(|e| e.code())?;
        Ok(session.run(&[read], &[]).unwrap()[0].to_string())
    })
}

#[test]
fn updates_of_variables() {
    let rows: &[(&str, &str, &[&str], &str)] = &[
        ("AssignAdd", "f32[1 2]", &["f32[3 4]"], "f32[4 6]"),
        ("AssignSub", "i8[-128 2]", &["i8[1 1]"], "i8[127 1]"),
        ("AssignAdd", "c64[1:2]", &["c64[1:-3]"], "c64[2:-1]"),
        ("ScatterUpdate", "f32[[1 2] [3 4]]", &["i32[1]", "f32[[5 6]]"], "f32[[1 2] [5 6]]"),
        ("ScatterUpdate", "str[\"a\" \"b\"]", &["i32[0 0]", "str[\"c\" \"d\"]"], "str[\"d\" \"b\"]"),
        ("ScatterAdd", "f32[1 2 3]", &["i64[0 2 0]", "f32[10 20 30]"], "f32[41 2 23]"),
        ("ScatterAdd", "f32[1 2 3]", &["i64[1 2]", "f32 10"], "f32[1 12 13]"),
        ("ScatterSub", "i32[[1 2] [3 4]]", &["i32 1", "i32[1 1]"], "i32[[1 2] [2 3]]"),
        ("ScatterMul", "f64[1 2 3]", &["i32[2 2]", "f64[2 5]"], "f64[1 2 30]"),
        ("ScatterDiv", "i32[7 8]", &["i32[0]", "i32[2]"], "i32[3 8]"),
        ("ScatterMin", "f16[1 5]", &["i32[0 1]", "f16[2 2]"], "f16[1 2]"),
        ("ScatterMax", "i64[1 5]", &["i32[0 1]", "i64[2 2]"], "i64[2 5]"),
        ("ScatterNdUpdate", "f32[[1 2] [3 4]]", &["i32[[1 0]]", "f32[9]"], "f32[[1 2] [9 4]]"),
        ("ScatterNdAdd", "f32[[1 2] [3 4]]", &["i32[[1] [1]]", "f32[[1 1] [2 2]]"], "f32[[1 2] [6 7]]"),
        ("ScatterNdSub", "f32[1 2]", &["i32[1 1]", "f32[1 2]"], "f32[1 -1]"),
        ("ScatterNdMax", "f32[1 2]", &["i32[[0]]", "f32[5]"], "f32[5 2]"),
    ];
    for (op, start, arguments, expected) in rows {
        for (got, by) in updated(op, start, arguments).into_iter().zip(["reference", "handle"]) {
            assert_eq!(got, Ok(expected.to_string()), "{op} by {by}");
        }
    }
}

#[test]
fn updates_that_do_not_fit() {
    let rows: &[(&str, &str, &[&str])] = &[
        ("AssignAdd", "f32[1 2]", &["f32[3]"]),
        ("ScatterAdd", "f32[1 2]", &["i32[2]", "f32[1]"]),
        ("ScatterAdd", "f32[1 2]", &["i32[-1]", "f32[1]"]),
        ("ScatterAdd", "f32[[1 2]]", &["i32[0]", "f32[1 2]"]),
        ("ScatterDiv", "i32[1]", &["i32[0]", "i32[0]"]),
        ("ScatterNdAdd", "f32[1 2]", &["i32[[0]]", "f32 1"]),
        ("ScatterNdAdd", "f32[1 2]", &["i32[[5]]", "f32[1]"]),
        ("ScatterNdAdd", "f32[1 2]", &["i32[[0 0]]", "f32[1]"]),
    ];
    for (op, start, arguments) in rows {
        assert_eq!(updated(op, start, arguments), [Err(Code::InvalidArgument), Err(Code::InvalidArgument)], "{op}");
    }
}

#[test]
fn variables_without_a_value() {
    let g = Graph::new();
    let reference = g.variable_op_v2(DType::Float, [2]).unwrap();
    let handle = g.var_handle_op(DType::Float, [2], "").unwrap();
    let empty = g.variable_op_v2(DType::Float, [0]).unwrap();
    let one = constant(&g, "f32[1 1]");
    let rows = [
        (reference, Code::FailedPrecondition),
        (g.assign_add(reference, one).unwrap(), Code::FailedPrecondition),
        (g.read_variable_op(handle, DType::Float).unwrap(), Code::FailedPrecondition),
        (g.resource_gather(handle, constant(&g, "i32[0]"), DType::Float).unwrap(), Code::NotFound),
    ];
    let session = Session::new(&g);
    for (fetch, code) in rows {
        assert_eq!(session.run(&[fetch], &[]).map_err(|e| e.code()).map(|_| ()), Err(code), "{}", g.tensor_name(fetch));
    }
    let initialized = [reference, handle, empty].map(|v| g.is_variable_initialized(v).unwrap());
    let run = || session.run(&initialized, &[]).unwrap().iter().map(|t| t.item().unwrap()).collect::<Vec<bool>>();
    assert_eq!(run(), [false, false, true]);
    session.run_targets(&[g.assign(reference, one).unwrap().op, g.assign_variable_op(handle, one).unwrap()], &[]).unwrap();
    assert_eq!(run(), [true, true, true]);
    let destroy = g.op("DestroyResourceOp").input(handle).attr("ignore_lookup_error", false).finish().unwrap();
    session.run_targets(&[destroy], &[]).unwrap();
    assert_eq!(run(), [true, false, true]);
    assert_eq!(session.run_targets(&[destroy], &[]).unwrap_err().code(), Code::NotFound);
}

#[test]
fn a_value_that_was_read_stays_as_it_was() {
    let g = Graph::new();
    let start = constant(&g, "f32[1 2 3 4 5 6]");
    let variable = g.variable_op_v2(DType::Float, [6]).unwrap();
    let init = g.assign(variable, start).unwrap();
    let add = g.assign_add(variable, start).unwrap();
    let session = Session::new(&g);
    session.run_targets(&[init.op], &[]).unwrap();
    let before = session.run(&[variable], &[]).unwrap();
    let after = session.run(&[add], &[]).unwrap();
    assert_eq!(before[0].to_string(), "f32[1 2 3 4 5 6]");
    assert_eq!(after[0].to_string(), "f32[2 4 6 8 10 12]");
    assert_eq!(session.run(&[start], &[]).unwrap()[0].to_string(), "f32[1 2 3 4 5 6]");
}

#[test]
fn nodes_that_take_a_reference_stand_beside_it() {
    let g = Graph::new();
    let variable = g.named("v").variable_op_v2(DType::Float, [1]).unwrap();
    let assign = g.assign(variable, constant(&g, "f32[1]")).unwrap();
    let class = g.get_attr(assign.op, "_class").unwrap();
    assert_eq!(metagraph::graph::attr::list(&class).unwrap().s, ["loc:@v"]);
}

#[test]
fn counting_and_temporary_variables() {
    let g = Graph::new();
    let counter = g.variable_op_v2(DType::Int32, metagraph::Shape::scalar()).unwrap();
    let init = g.assign(counter, constant(&g, "i32 1")).unwrap();
    let next = g.count_up_to(counter, 3).unwrap();
    let temporary = g.temporary_variable(DType::Float, [1], "t").unwrap();
    let temporary = g.assign(temporary, constant(&g, "f32[4]")).unwrap();
    let temporary = g.assign_add(temporary, constant(&g, "f32[3]")).unwrap();
    let last = g.destroy_temporary_variable(temporary, "t").unwrap();
    let session = Session::new(&g);
    session.run_targets(&[init.op], &[]).unwrap();
    for expected in ["i32 1", "i32 2"] {
        assert_eq!(session.run(&[next], &[]).unwrap()[0].to_string(), expected);
    }
    assert_eq!(session.run(&[next], &[]).unwrap_err().code(), Code::OutOfRange);
    for _ in 0..2 {
        assert_eq!(session.run(&[last], &[]).unwrap()[0].to_string(), "f32[7]");
    }
}

/// Every node whose name begins with a prefix: `name = Op(inputs) _class`.
fn nodes(g: &Graph, prefix: &str) -> Vec<String> {
    let text = |n: metagraph::proto::NodeDef| {
        let class = n.attr.get("_class").and_then(|a| metagraph::graph::attr::list(a).ok());
        let class: String = class.into_iter().flat_map(|l| &l.s).map(|s| format!(" {}", String::from_utf8_lossy(s))).collect();
        format!("{} = {}({}){class}", n.name, n.op, n.input.join(", "))
    };
    g.as_graph_def().node.into_iter().filter(|n| n.name.starts_with(prefix)).map(text).collect()
}

fn of_shape<const N: usize>(dims: [usize; N], initializer: Initializer) -> GetVariable {
    GetVariable { shape: Some(dims.into()), initializer: Some(initializer), ..Default::default() }
}

#[test]
fn get_variable_makes_the_nodes_and_values_of_tensorflow() {
    let g = Graph::new();
    g.set_random_seed(7);
    let a = g.get_variable("a", [2, 2]).unwrap();
    let b = g.get_variable_with("b", of_shape([3], Initializer::truncated_normal(0f64, 0.5).seed(3))).unwrap();
    let init = g.global_variables_initializer().unwrap();
    let expected = "\
a/Initializer/random_uniform/shape = Const() loc:@a
a/Initializer/random_uniform/min = Const() loc:@a
a/Initializer/random_uniform/max = Const() loc:@a
a/Initializer/random_uniform/RandomUniform = RandomUniform(a/Initializer/random_uniform/shape) loc:@a
a/Initializer/random_uniform/sub = Sub(a/Initializer/random_uniform/max, a/Initializer/random_uniform/min) loc:@a
a/Initializer/random_uniform/mul = Mul(a/Initializer/random_uniform/RandomUniform, a/Initializer/random_uniform/sub) loc:@a
a/Initializer/random_uniform = AddV2(a/Initializer/random_uniform/mul, a/Initializer/random_uniform/min) loc:@a
a = VariableV2() loc:@a
a/Assign = Assign(a, a/Initializer/random_uniform) loc:@a
a/read = Identity(a) loc:@a";
    assert_eq!(nodes(&g, "a").join("\n"), expected);
    assert_eq!(nodes(&g, "init"), ["init = NoOp(^a/Assign, ^b/Assign)"]);
    let session = Session::new(&g);
    session.run_targets(&[init], &[]).unwrap();
    assert_eq!(a.eval(&session).unwrap().to_string(), "f32[[0.6215054 -1.0338376] [-0.1008966 0.87404406]]");
    assert_eq!(b.eval(&session).unwrap().to_string(), "f32[0.4723519 -0.48339534 0.40258583]");
}

#[test]
fn a_resource_variable_has_the_nodes_of_tensorflow() {
    let g = Graph::new();
    let options = VariableOptions { use_resource: Some(true), ..Default::default() };
    let v = g.named("v").variable_with([1f32, 2.0], options).unwrap();
    let add = v.assign_add([1f32, 1.0]).unwrap();
    let expected = "\
v/Initializer/initial_value = Const() loc:@v
v = VarHandleOp() loc:@v
v/IsInitialized/VarIsInitializedOp = VarIsInitializedOp(v)
v/Assign = AssignVariableOp(v, v/Initializer/initial_value)
v/Read/ReadVariableOp = ReadVariableOp(v)";
    assert_eq!(nodes(&g, "v").join("\n"), expected);
    let session = Session::new(&g);
    session.run_targets(&[v.initializer().unwrap()], &[]).unwrap();
    assert_eq!(session.run(&[add.output()], &[]).unwrap()[0].to_string(), "f32[2 3]");
    assert_eq!(v.eval(&session).unwrap().to_string(), "f32[2 3]");
    v.load(&value("f32[7 8]"), &session).unwrap();
    assert_eq!(v.eval(&session).unwrap().to_string(), "f32[7 8]");
}

#[test]
fn variable_scopes_name_and_share() {
    let g = Graph::new();
    let name = |n: &str| g.get_variable(n, [1]).map(|v| v.name().to_string()).map_err(|e| e.code());
    let kept = {
        let scope = g.variable_scope("a").unwrap();
        assert_eq!(name("w"), Ok("a/w:0".to_string()));
        assert_eq!(name("w"), Err(Code::InvalidArgument));
        let _inner = g.variable_scope("b").unwrap();
        assert_eq!(name("w"), Ok("a/b/w:0".to_string()));
        scope.scope().clone()
    };
    for expected in ["layer/w:0", "layer_1/w:0"] {
        let _scope = g.variable_scope(ScopeName::Default("layer".into())).unwrap();
        assert_eq!(name("w"), Ok(expected.to_string()));
    }
    {
        let _scope = g.variable_scope_with(&kept, ScopeOptions { reuse: Reuse::Yes, ..Default::default() }).unwrap();
        assert_eq!(g.constant(1f32).map(|c| g.tensor_name(c)).unwrap(), "a_1/Const:0");
        assert_eq!(name("w"), Ok("a/w:0".to_string()));
        assert_eq!(name("x"), Err(Code::InvalidArgument));
        assert!(g.get_variable("w", [2]).unwrap_err().message().contains("specified shape [2] and found shape [1]"));
        let _inner = g.variable_scope("b").unwrap();
        assert_eq!(name("w"), Ok("a/b/w:0".to_string()));
    }
    let options = ScopeOptions { reuse: Reuse::Auto, dtype: Some(DType::Double), ..Default::default() };
    let scope = g.variable_scope_with("c", options).unwrap();
    for _ in 0..2 {
        assert_eq!(name("w"), Ok("c/w:0".to_string()));
    }
    assert_eq!(g.get_variable("w", [1]).unwrap().dtype(), DType::Double);
    scope.scope().reuse_variables();
    assert_eq!(name("new"), Err(Code::InvalidArgument));
    drop(scope);
    assert_eq!(name("w"), Ok("w:0".to_string()));
    assert_eq!(g.variables_in("variables", Some("a")).len(), 2);
}

#[test]
fn custom_getters_stand_around_each_other() {
    let g = Graph::new();
    let suffix =
        |text: &'static str| CustomGetter::new(move |getter, g, name, options| getter(g, &format!("{name}{text}"), options));
    let with = |getter| ScopeOptions { custom_getter: Some(getter), ..Default::default() };
    let _outer = g.variable_scope_with("s", with(suffix("_outer"))).unwrap();
    let _inner = g.variable_scope_with("t", with(suffix("_inner"))).unwrap();
    assert_eq!(g.get_variable("v", [1]).unwrap().name(), "s/t/v_inner_outer:0");
}

#[test]
fn initializers_that_cannot_be() {
    let g = Graph::new();
    let code = |options: GetVariable| g.get_variable_with("v", options).map(|_| ()).map_err(|e| e.code());
    let shape = |dims: &[usize]| Some(metagraph::Shape::from(dims));
    let cases = [
        GetVariable::default(),
        GetVariable { shape: Some(metagraph::Shape::unknown()), ..Default::default() },
        GetVariable { shape: shape(&[1]), dtype: Some(DType::Complex64), ..Default::default() },
        of_shape([2], Initializer::from_value([1f32, 2.0])),
        of_shape([1], Initializer::constant([1f32, 2.0])),
        of_shape([2], Initializer::constant_of_shape(1f32)),
        of_shape([2], Initializer::variance_scaling(0.0, FanMode::FanIn, Distribution::Uniform)),
        GetVariable { dtype: Some(DType::Int32), ..of_shape([1], Initializer::constant(0.5f32)) },
        GetVariable { dtype: Some(DType::Double), initializer: Some(Initializer::from_value(1f32)), ..Default::default() },
    ];
    for (index, options) in cases.into_iter().enumerate() {
        assert_eq!(code(options), Err(Code::InvalidArgument), "case {index}");
    }
}

#[test]
fn partitioned_variables() {
    let g = Graph::new();
    let options = GetVariable { partitioner: Some(Partitioner::fixed_size(3, 0)), ..of_shape([7, 2], Initializer::ones()) };
    let v = g.get_variable_with("p", options.clone()).unwrap();
    let parts: Vec<String> = v.parts().iter().map(|p| p.save_slice_info().unwrap().spec()).collect();
    assert_eq!(parts, ["7 2 0,3:0,2", "7 2 3,2:0,2", "7 2 5,2:0,2"]);
    let whole = v.value().unwrap();
    assert_eq!((g.tensor_name(whole).as_str(), g.shape(whole).unwrap().to_string().as_str()), ("p:0", "[7,2]"));
    assert_eq!(v.value().unwrap(), whole);
    assert!(g.get_variable_with("p", options.clone()).is_err());
    let reuse = GetVariable { reuse: Some(Reuse::Yes), partitioner: None, ..options };
    assert_eq!(g.get_variable_with("p", reuse).unwrap(), v);
    let session = Session::new(&g);
    session.run_targets(&[g.global_variables_initializer().unwrap()], &[]).unwrap();
    assert_eq!(v.eval(&session).unwrap(), Tensor::full(&[7, 2], 1f32).unwrap());
    let rows = [(Partitioner::variable_axis_size(8, 0, None), [4, 1]), (Partitioner::variable_axis_size(8, 0, Some(2)), [2, 1])];
    let more = [(Partitioner::min_max_variable(10, 0, 16), [2, 1]), (Partitioner::min_max_variable(10, 1, 4), [1, 2])];
    for (index, (partitioner, expected)) in rows.into_iter().chain(more).enumerate() {
        let options = GetVariable { partitioner: Some(partitioner), ..of_shape([4, 2], Initializer::zeros()) };
        let v = g.get_variable_with(&format!("q{index}"), options).unwrap();
        assert_eq!(v.partitions(), Some(&expected[..]), "{index}");
    }
}

#[test]
fn variables_come_back_from_their_messages() {
    let g = Graph::new();
    let resource = VariableOptions { use_resource: Some(true), trainable: Some(false), ..Default::default() };
    let variables = [g.named("a").variable(1f32).unwrap(), g.named("b").variable_with([2i32], resource).unwrap()];
    for v in variables {
        let def = v.to_proto(None).unwrap().unwrap();
        let again = metagraph::train::Variable::from_proto(&g, &def, None).unwrap();
        assert_eq!(again, v);
        assert_eq!(again.to_proto(None).unwrap().unwrap(), def);
        assert_eq!((again.dtype(), again.shape(), again.trainable()), (v.dtype(), v.shape(), v.trainable()));
        assert_eq!(v.to_proto(Some("scope")).unwrap(), None);
    }
    let missing = metagraph::proto::VariableDef { variable_name: "c:0".into(), ..Default::default() };
    assert_eq!(metagraph::train::Variable::from_proto(&g, &missing, None).unwrap_err().code(), Code::NotFound);
}

#[test]
fn what_has_no_value_is_reported() {
    let g = Graph::new();
    let (a, _b) = (g.named("a").variable(1f32).unwrap(), g.named("b").variable(1f32).unwrap());
    let report = g.report_uninitialized_variables(None).unwrap();
    let session = Session::new(&g);
    assert_eq!(session.run(&[report], &[]).unwrap()[0].to_string(), "str[\"a\" \"b\"]");
    session.run_targets(&[a.initializer().unwrap()], &[]).unwrap();
    assert_eq!(session.run(&[report], &[]).unwrap()[0].to_string(), "str[\"b\"]");
}
