//! Variables: kernels, builders, names, initial values.

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
