//! Optimizers: the graph that `minimize` makes, node for node, and what its steps do, as in TensorFlow.

mod common;

use common::{assert_close, compare_meta_graph, fixture};
use metagraph::nn::{LSTMCell, LSTMStateTuple, RnnOptions};
use metagraph::train::{
    AdamOptimizer, Constraint, Gate, GetVariable, GradientDescentOptimizer, Hyperparameter, Initializer, MinimizeOptions,
    Optimizer, Partitioner, Saver, ScopeOptions, Variable,
};
use metagraph::{DType, Gradient, Graph, Operation, Output, Result, Session, Tensor};
use std::sync::Arc;

/// A tensor from its text, in another dtype.
fn numbers(text: &str, dtype: DType) -> Tensor {
    let tensor: Tensor = format!("f64{text}").parse().unwrap();
    match dtype {
        DType::Double => tensor,
        _ => Tensor::new(tensor.dims(), tensor.as_slice::<f64>().unwrap().iter().map(|&v| v as f32).collect()).unwrap(),
    }
}

/// A variable with a dense gradient, and one of which some rows are gathered.
fn variables(g: &Graph, dtype: DType, use_resource: bool) -> Result<(Variable, Variable)> {
    let make = |name: &str, values: &str| {
        let value = g.constant(numbers(values, dtype))?;
        let initializer = Some(Initializer::from_value(value));
        g.get_variable_with(name, GetVariable { initializer, use_resource: Some(use_resource), ..GetVariable::default() })
    };
    Ok((make("w", "[[0.5 -1] [2 0.25] [-0.75 1.5]]")?, make("e", "[[1 2] [-1 0.5] [0.25 -2] [3 1]]")?))
}

fn loss_of(g: &Graph, w: &Variable, e: &Variable) -> Result<Output> {
    let x = g.named("x").constant(numbers("[[1 -2 0.5]]", w.dtype()))?;
    let product = matmul(g, x, w)?;
    let dense = g.reduce_sum(g.square(product)?, None, false)?;
    let rows = if e.is_resource() {
        let (scope, handle) = (g.name_scope("Gather")?, e.handle()?);
        let indices = g.named("indices").constant([1i32, 3, 1])?;
        g.named(scope.name()).resource_gather(handle, indices, e.dtype())?
    } else {
        g.gather(e.value()?, [1i32, 3, 1])?
    };
    let sparse = g.reduce_sum(g.square(rows)?, None, false)?;
    g.named("loss").math_add(dense, sparse)
}

/// Compares the graph with that of the case, and the variables after three steps with its values.
fn check(case: &str, build: impl FnOnce(&Graph) -> Result<Option<Operation>>) {
    let g = Graph::new();
    let step = build(&g).unwrap_or_else(|e| panic!("{case}: {e}"));
    compare_meta_graph(&format!("optimizers/{case}"), &g, None);
    let Some(step) = step else { return };
    let text = String::from_utf8(fixture("optimizers/values.txt")).unwrap();
    let expected: Vec<(&str, Tensor)> = text
        .lines()
        .filter_map(|line| line.strip_prefix(case)?.strip_prefix(' ')?.split_once(' '))
        .map(|(name, value)| (name, value.parse().unwrap()))
        .collect();
    assert!(!expected.is_empty(), "{case} has no values");
    let session = Session::new(&g);
    let initialize = g.global_variables_initializer().unwrap();
    session.run_targets(&[initialize], &[]).unwrap();
    for _ in 0..3 {
        session.run_targets(&[step], &[]).unwrap();
    }
    for (variable, (name, value)) in g.global_variables().iter().zip(expected) {
        assert_eq!(variable.name(), name, "{case}");
        let got = variable.eval(&session).unwrap();
        let tolerance = if got.dtype() == DType::Double { 1e-7 } else { 2e-5 };
        assert_close(&got, &value, tolerance, &format!("{case}: {name}"));
    }
}

/// By reference, by handle, in float64, with a step counter.
fn four_forms(name: &str, optimizer: impl Fn(&Graph) -> Box<dyn Optimizer>) {
    check(&format!("{name}_reference"), |g| {
        let (w, e) = variables(g, DType::Float, false)?;
        let loss = loss_of(g, &w, &e)?;
        optimizer(g).minimize(g, loss).map(Some)
    });
    check(&format!("{name}_handle"), |g| {
        let (w, e) = variables(g, DType::Float, true)?;
        let loss = loss_of(g, &w, &e)?;
        optimizer(g).minimize(&g.named("training"), loss).map(Some)
    });
    check(&format!("{name}_double"), |g| {
        let (w, e) = variables(g, DType::Double, false)?;
        let loss = loss_of(g, &w, &e)?;
        let options = MinimizeOptions { global_step: Some(g.get_or_create_global_step()?), ..MinimizeOptions::default() };
        optimizer(g).minimize_with(g, loss, &options).map(Some)
    });
    check(&format!("{name}_double_handle"), |g| {
        let options = ScopeOptions { use_resource: Some(true), ..ScopeOptions::default() };
        let _scope = g.variable_scope_with("model", options)?;
        let (w, e) = variables(g, DType::Double, true)?;
        let initializer = Some(Initializer::from_value(0i32));
        let step = g.get_variable_with("step", GetVariable { initializer, trainable: Some(false), ..GetVariable::default() })?;
        let loss = loss_of(g, &w, &e)?;
        let options = MinimizeOptions { global_step: Some(step), ..MinimizeOptions::default() };
        optimizer(g).minimize_with(&g.named("training"), loss, &options).map(Some)
    });
}

#[test]
fn gradient_descent() {
    four_forms("gradient_descent", |_| Box::new(GradientDescentOptimizer::new(0.1)));
}

#[test]
fn adam() {
    four_forms("adam", |_| Box::new(AdamOptimizer::new(0.1)));
    four_forms("adam_options", |_| {
        Box::new(AdamOptimizer::new(0.1).beta1(0.8).beta2(0.95).epsilon(0.5).use_locking(true).name("Mine"))
    });
}

#[test]
fn the_reference_program() {
    let build = |g: &Graph| -> Result<Saver> {
        g.set_random_seed(42);
        let (vocab, hidden) = (5, 4);
        let x = g.named("x").placeholder(DType::Float, [None, Some(1), Some(vocab)])?;
        let y = g.named("y").placeholder(DType::Float, [None, Some(1), Some(vocab)])?;
        let init_state = g.named("init_state").placeholder(DType::Float, [2, 1, hidden])?;
        let start = LSTMStateTuple { c: g.index(init_state, &[0.into()])?, h: g.index(init_state, &[1.into()])? };
        let w = g.get_variable("out_w", [hidden, vocab])?;
        let b = g.get_variable("out_b", [vocab])?;
        let options = RnnOptions {
            initial_state: Some(start.into()),
            time_major: true,
            dtype: Some(DType::Float),
            ..RnnOptions::default()
        };
        let (h, _) = g.dynamic_rnn(&LSTMCell::new(hidden).name("celula"), x, &options)?;
        let last = g.index(h, &[(..).into(), 0.into(), (..).into()])?;
        let logits = g.add(g.matmul(last, w.value()?)?, b.value()?)?;
        g.named("probabilities").softmax(logits)?;
        let losses = g.softmax_cross_entropy_with_logits_v2(y, logits)?;
        let loss = g.named("loss").reduce_mean(losses, None, false)?;
        AdamOptimizer::new(0.01).minimize(&g.named("training"), loss)?;
        g.global_variables_initializer()?;
        Saver::new(g)
    };
    let g = Graph::new();
    let saver = build(&g).unwrap();
    compare_meta_graph("optimizers/reference", &g, Some(&saver));
}

#[test]
fn options_of_minimize() {
    check("options", |g| {
        let (w, e) = variables(g, DType::Float, false)?;
        let loss = loss_of(g, &w, &e)?;
        let rate = Hyperparameter::from_fn(|g| g.named("rate").constant(0.5f32));
        let optimizer = GradientDescentOptimizer::new(rate).use_locking(true).name("Descent");
        let scale = g.named("scale").constant(2f32)?;
        let first = {
            let _outer = g.name_scope("outer")?;
            let options = MinimizeOptions {
                var_list: Some(vec![e, w.clone()]),
                gate_gradients: Gate::Graph,
                grad_loss: Some(scale),
                colocate_gradients_with_ops: true,
                ..MinimizeOptions::default()
            };
            optimizer.minimize_with(g, loss, &options)?
        };
        let options = MinimizeOptions { var_list: Some(vec![w]), gate_gradients: Gate::None, ..MinimizeOptions::default() };
        let mut pairs = optimizer.compute_gradients(g, loss, &options)?;
        let _after = g.control_dependencies(&[first])?;
        for (gradient, _) in &mut pairs {
            if let Some(Gradient::Dense(dense)) = gradient {
                *dense = g.mul(*dense, 0.125f32)?;
            }
        }
        optimizer.apply_gradients(g, &pairs, None).map(Some)
    });
}

#[test]
fn constraints() {
    let build = |g: &Graph, use_resource| -> Result<Operation> {
        let constraint: Constraint = Arc::new(|g, value| g.relu(value));
        let initializer = Some(Initializer::from_value([1f32, -2.0]));
        let options =
            GetVariable { initializer, constraint: Some(constraint), use_resource: Some(use_resource), ..GetVariable::default() };
        let w = g.get_variable_with("w", options)?;
        AdamOptimizer::new(0.5).minimize(g, g.reduce_sum(g.square(w.value()?)?, None, false)?)
    };
    check("constraint_reference", |g| build(g, false).map(|_| None));
    check("constraint_handle", |g| build(g, true).map(Some));
}

#[test]
fn partitioned_variables() {
    let build = |g: &Graph| -> Result<Saver> {
        let options = ScopeOptions { partitioner: Some(Partitioner::fixed_size(2, 0)), ..ScopeOptions::default() };
        let scope = g.variable_scope_with("model", options)?;
        let options =
            GetVariable { shape: Some([3, 2].into()), initializer: Some(Initializer::ones()), ..GetVariable::default() };
        let w = g.get_variable_with("w", options)?;
        drop(scope);
        AdamOptimizer::new(0.5).minimize(g, g.reduce_sum(g.square(w.value()?)?, None, false)?)?;
        Saver::new(g)
    };
    let g = Graph::new();
    let saver = build(&g).unwrap();
    compare_meta_graph("optimizers/partitioned", &g, Some(&saver));
}

/// `tf.matmul`, which reads a variable by handle within its own scope.
fn matmul(g: &Graph, x: Output, w: &Variable) -> Result<Output> {
    let scope = g.name_scope("MatMul")?;
    let w = w.value()?;
    g.op("MatMul").name(scope.name()).input(x).input(w).output()
}
