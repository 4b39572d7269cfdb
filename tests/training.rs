//! Training ops: what they do to variables and slots, as TensorFlow does it.

use metagraph::{Code, DType, Graph, Output, Session, Tensor};

/// A tensor of the numbers of another one.
fn cast(value: &Tensor, dtype: DType) -> Tensor {
    let Ok(numbers) = value.as_slice::<f64>() else { return value.clone() };
    match dtype {
        DType::Float => Tensor::new(value.dims(), numbers.iter().map(|&v| v as f32).collect()),
        DType::Half => Tensor::new(value.dims(), numbers.iter().map(|&v| half::f16::from_f64(v)).collect()),
        DType::Complex128 => Tensor::new(value.dims(), numbers.iter().map(|&v| num_complex::Complex::new(v, 0.0)).collect()),
        _ => Ok(value.clone()),
    }
    .unwrap()
}

fn numbers(value: &Tensor) -> Vec<f64> {
    match value.dtype() {
        DType::Float => value.as_slice::<f32>().unwrap().iter().map(|&v| v.into()).collect(),
        DType::Half => value.as_slice::<half::f16>().unwrap().iter().map(|&v| v.into()).collect(),
        DType::Complex128 => value.as_slice::<num_complex::Complex<f64>>().unwrap().iter().map(|v| v.re).collect(),
        _ => value.as_slice::<f64>().unwrap().to_vec(),
    }
}

/// Runs a training op on variables with these values, by reference or by handle, and returns the values after.
fn train(op: &str, attrs: &[&str], slots: &[Tensor], inputs: &[Tensor], by_handle: bool) -> metagraph::Result<Vec<Tensor>> {
    let g = Graph::new();
    let (mut variables, mut init) = (Vec::new(), Vec::new());
    for slot in slots {
        let (dtype, dims) = (slot.dtype(), slot.dims());
        let variable = if by_handle { g.var_handle_op(dtype, dims, "") } else { g.variable_op_v2(dtype, dims) }?;
        let value = g.constant(slot)?;
        init.push(if by_handle { g.assign_variable_op(variable, value)? } else { g.assign(variable, value)?.op });
        variables.push(variable);
    }
    let mut builder = variables.iter().fold(g.op(op), |b, &v| b.input(v));
    for input in inputs {
        builder = builder.input(g.constant(input)?);
    }
    for attr in attrs {
        let (name, value) = attr.split_once('=').unwrap();
        builder = builder.attr(name, value == "true");
    }
    let step = builder.finish()?;
    let read = |(&v, slot): (&Output, &Tensor)| if by_handle { g.read_variable_op(v, slot.dtype()) } else { Ok(v) };
    let reads = variables.iter().zip(slots).map(read).collect::<metagraph::Result<Vec<_>>>()?;
    let session = Session::new(&g);
    session.run_targets(&init, &[])?;
    session.run_targets(&[step], &[])?;
    session.run(&reads, &[])
}

struct Row {
    op: String,
    attrs: Vec<&'static str>,
    values: [Vec<Tensor>; 3],
}

fn rows() -> Vec<Row> {
    let row = |line: &'static str| {
        let mut fields = line.split(" | ");
        let mut words = fields.next().unwrap().split(' ');
        let op = words.next().unwrap().to_string();
        let values = [(); 3].map(|()| fields.next().unwrap().split("; ").map(|t| t.parse().unwrap()).collect());
        Row { op, attrs: words.collect(), values }
    };
    include_str!("data/training.txt").lines().map(row).collect()
}

#[test]
fn every_rule_does_as_tensorflow() {
    for Row { op, attrs, values: [slots, inputs, expected] } in rows() {
        let by_reference = op.trim_start_matches("Resource").to_string();
        for (name, by_handle) in [(op.as_str(), true), (by_reference.as_str(), false)] {
            if metagraph::ops::lookup(name).is_none() {
                continue;
            }
            for (dtype, tolerance) in [(DType::Double, 1e-12), (DType::Float, 2e-6), (DType::Half, 1e-2)] {
                let all = |ts: &[Tensor]| ts.iter().map(|t| cast(t, dtype)).collect::<Vec<_>>();
                let got = train(name, &attrs, &all(&slots), &all(&inputs), by_handle).unwrap();
                for (got, expected) in got.iter().zip(&expected) {
                    for (a, b) in numbers(got).into_iter().zip(numbers(expected)) {
                        assert!((a - b).abs() <= tolerance * (1.0 + b.abs()), "{name} {attrs:?} {dtype}: {got} for {expected}");
                    }
                }
            }
        }
    }
}

#[test]
fn rules_without_an_order_take_complex_numbers() {
    for Row { op, attrs, values: [slots, inputs, expected] } in rows() {
        let name = op.trim_start_matches("ResourceSparseApply").trim_start_matches("ResourceApply");
        if !["GradientDescent", "Momentum", "Adam", "Adagrad", "Adadelta", "RMSProp", "CenteredRMSProp"].contains(&name) {
            continue;
        }
        let all = |ts: &[Tensor]| ts.iter().map(|t| cast(t, DType::Complex128)).collect::<Vec<_>>();
        let got = train(&op, &attrs, &all(&slots), &all(&inputs), true).unwrap();
        for (a, b) in got.iter().flat_map(numbers).zip(expected.iter().flat_map(numbers)) {
            assert!((a - b).abs() <= 1e-12 * (1.0 + b.abs()), "{op}: {a} for {b}");
        }
    }
}

#[test]
fn large_variables_are_split_over_threads_without_a_gap() {
    let count = 100_003;
    let var = Tensor::new(&[count], (0..count).map(|i| i as f32).collect()).unwrap();
    let grad = Tensor::full(&[count], 2f32).unwrap();
    let got = train("ApplyGradientDescent", &[], &[var], &[Tensor::scalar(0.5f32), grad], false).unwrap();
    assert!(got[0].as_slice::<f32>().unwrap().iter().enumerate().all(|(i, &v)| v == i as f32 - 1.0));
}

#[test]
fn inputs_that_do_not_fit() {
    let t = |text: &str| text.parse::<Tensor>().unwrap();
    let rows: &[(&str, &[&str], &[&str])] = &[
        ("ResourceApplyGradientDescent", &["f32[1 2]"], &["f32 1", "f32[1]"]),
        ("ResourceApplyGradientDescent", &["f32[1 2]"], &["f32[1]", "f32[1 2]"]),
        ("ResourceApplyMomentum", &["f32[1 2]", "f32[1]"], &["f32 1", "f32[1 2]", "f32 1"]),
        ("ResourceSparseApplyMomentum", &["f32[1 2]", "f32[1 2]"], &["f32 1", "f32[1]", "i32[2]", "f32 1"]),
        ("ResourceSparseApplyMomentum", &["f32[1 2]", "f32[1 2]"], &["f32 1", "f32[1]", "i32[-1]", "f32 1"]),
        ("ResourceSparseApplyMomentum", &["f32[1 2]", "f32[1 2]"], &["f32 1", "f32[1 2]", "i32[0]", "f32 1"]),
        ("ResourceApplyFtrl", &["f32[1]", "f32[1]", "f32[1]"], &["f32[1]", "f32 0", "f32 0", "f32 0", "f32 -0.5"]),
        ("ResourceApplyFtrl", &["f32[1]", "f32[1]", "f32[1]"], &["f32[1]", "f32 1", "f32 -1", "f32 0", "f32 -0.5"]),
        ("ResourceApplyFtrl", &["f32[1]", "f32[1]", "f32[1]"], &["f32[1]", "f32 1", "f32 0", "f32 0", "f32 0.5"]),
        ("ResourceApplyProximalAdagrad", &["f32[1]", "f32[1]"], &["f32 0", "f32 0", "f32 0", "f32[1]"]),
    ];
    for (op, slots, inputs) in rows {
        let slots: Vec<Tensor> = slots.iter().map(|s| t(s)).collect();
        let inputs: Vec<Tensor> = inputs.iter().map(|s| t(s)).collect();
        let error = train(op, &[], &slots, &inputs, true).unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{op}: {error}");
    }
}
