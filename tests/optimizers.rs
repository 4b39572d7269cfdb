//! Optimizers: the graph that `minimize` makes, node for node, and what its steps do, as in TensorFlow.

mod common;

use common::{assert_close, compare_meta_graph, fixture};
use metagraph::nn::{LSTMCell, LSTMStateTuple, RnnOptions};
use metagraph::train::{
    AdadeltaOptimizer, AdagradDAOptimizer, AdagradOptimizer, AdamOptimizer, Constraint, ExponentialMovingAverage, FtrlOptimizer,
    Gate, GetVariable, GradientDescentOptimizer, Hyperparameter, Initializer, LinearCosineOptions, MinimizeOptions,
    MomentumOptimizer, Optimizer, Partitioner, PolynomialOptions, ProximalAdagradOptimizer, ProximalGradientDescentOptimizer,
    RMSPropOptimizer, RestartOptions, Saver, ScopeOptions, Variable,
};
use metagraph::{DType, Gradient, Graph, IndexedSlices, Operation, Output, Result, Session, Tensor};
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

/// The names and values of a case.
fn values_of(case: &str) -> Vec<(String, Tensor)> {
    let text = String::from_utf8(fixture("optimizers/values.txt")).unwrap();
    let values: Vec<(String, Tensor)> = text
        .lines()
        .filter_map(|line| line.strip_prefix(case)?.strip_prefix(' ')?.split_once(' '))
        .map(|(name, value)| (name.to_string(), value.parse().unwrap()))
        .collect();
    assert!(!values.is_empty(), "{case} has no values");
    values
}

/// Compares the graph with that of the case, and what the third run of these tensors gives.
fn check_outputs(case: &str, build: impl FnOnce(&Graph) -> Result<Vec<Output>>) {
    let g = Graph::new();
    let outputs = build(&g).unwrap_or_else(|e| panic!("{case}: {e}"));
    compare_meta_graph(&format!("optimizers/{case}"), &g, None);
    let session = Session::new(&g);
    let initialize = g.global_variables_initializer().unwrap();
    session.run_targets(&[initialize], &[]).unwrap();
    let got = (0..3).map(|_| session.run(&outputs, &[]).unwrap()).last().unwrap();
    for ((output, value), (name, expected)) in outputs.iter().zip(&got).zip(values_of(case)) {
        assert_eq!(g.tensor_name(*output), name, "{case}");
        assert_close(value, &expected, 1e-5, &format!("{case}: {name}"));
    }
}

/// Compares the graph with that of the case, and the variables after three steps with its values.
fn check(case: &str, build: impl FnOnce(&Graph) -> Result<Option<Operation>>) {
    let g = Graph::new();
    let step = build(&g).unwrap_or_else(|e| panic!("{case}: {e}"));
    compare_meta_graph(&format!("optimizers/{case}"), &g, None);
    let Some(step) = step else { return };
    let expected = values_of(case);
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

/// By reference and by handle.
fn two_forms(name: &str, optimizer: impl Fn(&Graph) -> Box<dyn Optimizer>) {
    check(&format!("{name}_reference"), |g| {
        let optimizer = optimizer(g);
        let (w, e) = variables(g, DType::Float, false)?;
        let loss = loss_of(g, &w, &e)?;
        optimizer.minimize(g, loss).map(Some)
    });
    check(&format!("{name}_handle"), |g| {
        let optimizer = optimizer(g);
        let (w, e) = variables(g, DType::Float, true)?;
        let loss = loss_of(g, &w, &e)?;
        optimizer.minimize(&g.named("training"), loss).map(Some)
    });
}

/// By reference and by handle, in float32 and in float64 with a step counter.
fn four_forms(name: &str, optimizer: impl Fn(&Graph) -> Box<dyn Optimizer>) {
    two_forms(name, &optimizer);
    check(&format!("{name}_double"), |g| {
        let optimizer = optimizer(g);
        let (w, e) = variables(g, DType::Double, false)?;
        let loss = loss_of(g, &w, &e)?;
        let options = MinimizeOptions { global_step: Some(g.get_or_create_global_step()?), ..MinimizeOptions::default() };
        optimizer.minimize_with(g, loss, &options).map(Some)
    });
    check(&format!("{name}_double_handle"), |g| {
        let options = ScopeOptions { use_resource: Some(true), ..ScopeOptions::default() };
        let _scope = g.variable_scope_with("model", options)?;
        let (w, e) = variables(g, DType::Double, true)?;
        let initializer = Some(Initializer::from_value(0i32));
        let step = g.get_variable_with("step", GetVariable { initializer, trainable: Some(false), ..GetVariable::default() })?;
        let optimizer = optimizer(g);
        let loss = loss_of(g, &w, &e)?;
        let options = MinimizeOptions { global_step: Some(step), ..MinimizeOptions::default() };
        optimizer.minimize_with(&g.named("training"), loss, &options).map(Some)
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
fn momentum() {
    four_forms("momentum", |_| Box::new(MomentumOptimizer::new(0.1, 0.9)));
    let rate = || Hyperparameter::from_fn(|g| g.constant(0.05f32));
    four_forms("nesterov", |_| Box::new(MomentumOptimizer::new(rate(), 0.5).use_nesterov(true).name("Nesterov")));
}

#[test]
fn adagrad() {
    four_forms("adagrad", |_| Box::new(AdagradOptimizer::new(0.5).initial_accumulator_value(0.25)));
    four_forms("adagrad_da", |g| {
        let step = g.get_or_create_global_step().unwrap();
        Box::new(AdagradDAOptimizer::new(0.5, &step).l1_regularization_strength(0.001).l2_regularization_strength(0.01))
    });
}

#[test]
fn adadelta() {
    four_forms("adadelta", |_| Box::new(AdadeltaOptimizer::new(2.0).rho(0.9).epsilon(1e-4)));
}

#[test]
fn rms_prop() {
    four_forms("rms_prop", |_| Box::new(RMSPropOptimizer::new(0.1).momentum(0.5)));
    four_forms("rms_prop_centered", |_| Box::new(RMSPropOptimizer::new(0.1).decay(0.8).epsilon(0.01).centered(true)));
}

#[test]
fn ftrl() {
    four_forms("ftrl", |_| Box::new(FtrlOptimizer::new(0.5).l1_regularization_strength(0.01).l2_regularization_strength(0.1)));
    four_forms("ftrl_shrinkage", |_| {
        let optimizer = FtrlOptimizer::new(0.5).learning_rate_power(-0.25).l2_shrinkage_regularization_strength(0.1);
        Box::new(optimizer.accum_name("A").linear_name("L").beta(0.5))
    });
}

#[test]
fn proximal() {
    two_forms("proximal", |_| Box::new(ProximalGradientDescentOptimizer::new(0.1).l1_regularization_strength(0.1)));
    two_forms("proximal_adagrad", |_| Box::new(ProximalAdagradOptimizer::new(0.5).l2_regularization_strength(0.1)));
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

#[test]
fn decays() {
    check_outputs("decays", |g| {
        let step = g.get_or_create_global_step()?;
        let bump = g.assign_add(step.handle()?, 7i32)?;
        let now = {
            let _after = g.control_dependencies(&[bump.op])?;
            step.read_value()?
        };
        g.named("stairs").exponential_decay(0.1, &step, 10i32, 0.5, true)?;
        let values = [1.0, 0.5, 0.25, 0.125].map(Hyperparameter::from);
        let twice = PolynomialOptions { power: 2.0.into(), ..PolynomialOptions::default() };
        let cycle = PolynomialOptions { end_learning_rate: 0.01.into(), cycle: true, ..PolynomialOptions::default() };
        let restarts = RestartOptions { alpha: 0.1.into(), ..RestartOptions::default() };
        Ok(vec![
            g.exponential_decay(0.1, now, 10i32, 0.5, false)?,
            g.natural_exp_decay(0.1, now, 10i32, 0.5, false)?,
            g.inverse_time_decay(0.1, now, 10i32, 0.5, true)?,
            g.polynomial_decay(0.1, now, 15i32, &twice)?,
            g.polynomial_decay(0.1, now, 6i32, &cycle)?,
            g.piecewise_constant(now, &[8i32.into(), 14i32.into(), 20i32.into()], &values)?,
            g.cosine_decay(0.1, now, 20i32, 0.1)?,
            g.cosine_decay_restarts(0.1, now, 6i32, &restarts)?,
            g.linear_cosine_decay(0.1, now, 20i32, &LinearCosineOptions::default())?,
        ])
    });
    check_outputs("decays_of_resources", |g| {
        let nine = g.constant(9i64)?;
        let step = g.get_variable_with(
            "step",
            GetVariable {
                initializer: Some(Initializer::from_value(nine)),
                trainable: Some(false),
                use_resource: Some(true),
                ..GetVariable::default()
            },
        )?;
        let rate = g.constant(0.1f64)?;
        let values = [1.0, 0.5, 0.25].map(Hyperparameter::from);
        let restarts = RestartOptions { t_mul: 1.0.into(), m_mul: 0.5.into(), ..RestartOptions::default() };
        let mut all = vec![g.exponential_decay(rate, &step, 10i32, 0.5, false)?];
        all.push(g.piecewise_constant(&step, &[5i32.into(), 12i32.into()], &values)?);
        let alpha = g.constant(0.25f32)?;
        all.push(g.cosine_decay(0.1, &step, 20i32, alpha)?);
        all.push(g.cosine_decay_restarts(0.1, &step, 6i32, &restarts)?);
        Ok(all)
    });
    check("noisy", |g| {
        let step = g.get_or_create_global_step()?;
        let options = LinearCosineOptions::default();
        g.noisy_linear_cosine_decay(0.1, &step, 20i32, (0.5, 0.55), &options).map(|_| None)
    });
}

#[test]
fn moving_averages() {
    check("averages", |g| {
        let (w, e) = variables(g, DType::Float, false)?;
        let r = g.get_variable_with(
            "r",
            GetVariable {
                initializer: Some(Initializer::from_value([1f32, -1.0])),
                use_resource: Some(true),
                ..GetVariable::default()
            },
        )?;
        let step = g.get_or_create_global_step()?;
        let moves = [
            w.assign(g.mul(w.value()?, 0.5f32)?)?.op(),
            e.assign_add(g.ones(&[4usize, 2][..], DType::Float)?)?.op(),
            r.assign(g.add(r.value()?, 1f32)?)?.op(),
            step.assign_add(1i32)?.op(),
        ];
        let moved = g.group(&moves)?;
        let average = ExponentialMovingAverage::new(0.75).num_updates(&step);
        let first = {
            let _after = g.control_dependencies(&[moved])?;
            average.apply(g, None)?
        };
        let half = g.constant(0.5f32)?;
        let other = ExponentialMovingAverage::new(half).zero_debias(true).name("Other");
        let _after = g.control_dependencies(&[first])?;
        let loss = g.named("loss").reduce_sum(g.mul(w.value()?, w.value()?)?, None, false)?;
        let update = other.apply(g, Some(&[loss.into(), (&e).into(), (&r).into()]))?;
        assert_eq!(average.average_name(g, &w), "w/ExponentialMovingAverage");
        assert_eq!(other.average_name(g, &w), "w/Other");
        let keys: Vec<String> = average.variables_to_restore(g, None).into_iter().map(|(key, _)| key).collect();
        assert!(keys.contains(&"e/ExponentialMovingAverage".to_string()) && keys.contains(&"global_step".to_string()));
        Ok(Some(update))
    });
}

#[test]
fn clips() {
    check_outputs("clips", |g| {
        let t = g.named("t").constant([[3f32, -4.0], [0.5, 12.0]])?;
        let default = g.constant([1f32, 2.0, -2.0])?;
        let u = g.named("u").placeholder_with_default(default, [None])?;
        let (indices, shape) = (g.constant([0i32, 2])?, g.constant([4i32, 2])?);
        let rows = IndexedSlices { values: t, indices, dense_shape: Some(shape) };
        let all = [Some(t.into()), None, Some(Gradient::Sparse(rows)), Some(u.into())];
        let (clipped, norm) = g.clip_by_global_norm(&all, 5f32, None)?;
        let (limit, used) = (g.constant(2f32)?, g.constant(8f32)?);
        let (given, _) = g.named("given").clip_by_global_norm(&[Some(u.into())], limit, Some(used))?;
        let values = |c: &Option<Gradient>| match c {
            Some(Gradient::Dense(output)) => *output,
            Some(Gradient::Sparse(slices)) => slices.values,
            None => norm,
        };
        let bound = |value: f32| g.constant(value);
        Ok(vec![
            g.clip_by_value(t, -1f32, 2f32)?,
            g.named("bounded").clip_by_value(rows, bound(-2.0)?, 3f32)?.values,
            g.clip_by_norm(t, 5f32, None)?,
            g.named("small").clip_by_norm(u, bound(1.0)?, None)?,
            g.clip_by_norm(t, 2f32, [1])?,
            values(&clipped[0]),
            values(&clipped[2]),
            values(&clipped[3]),
            norm,
            values(&given[0]),
            g.clip_by_average_norm(t, 0.5f32)?,
        ])
    });
}
