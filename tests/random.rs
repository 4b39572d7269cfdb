//! Random ops: the nodes that builders make, streams that go on from run to run, state in variables, errors.

use metagraph::graph::op::Grad;
use metagraph::graph::{Gradient, Grads};
use metagraph::ops::convert::Arg;
use metagraph::ops::random::{FixedUnigram, RandomOptions};
use metagraph::{Code, DType, Graph, Operation, Output, Result, Session, Shape, Tensor};

fn value(text: &str) -> Tensor {
    text.parse().unwrap()
}

fn options(dtype: DType, seed: Option<i64>) -> RandomOptions {
    RandomOptions { dtype, seed }
}

/// The line that `fixtures/random/make.py` writes for a node.
fn line(g: &Graph, op: Operation) -> String {
    let node = g.node_def(op).unwrap();
    let mut line = format!("{} {}", g.op_name(op), g.op_type(op));
    if !node.input.is_empty() {
        line += &format!(" {}", node.input.join(","));
    }
    for name in ["seed", "seed2", "dtype", "output_dtype", "Tout"] {
        use metagraph::proto::attr_value::Value;
        match node.attr.get(name).and_then(|attr| attr.value.as_ref()) {
            Some(Value::I(number)) => line += &format!(" {name}={number}"),
            Some(Value::Type(number)) => line += &format!(" {name}={number}"),
            _ => {}
        }
    }
    line
}

/// The calls of `fixtures/random/make.py`.
fn build(g: &Graph) -> Result<()> {
    let plain = RandomOptions::default();
    g.random_uniform([2usize, 3], 0, 1, plain)?;
    g.set_random_seed(7);
    g.random_uniform([2usize, 3], 0, 5f32, plain)?;
    g.random_uniform([2usize], -1f32, 1f32, RandomOptions::seed(3))?;
    g.named("ints").random_uniform(Vec::<usize>::new(), 0, 10, options(DType::Int64, None))?;
    g.random_normal([4usize], 1f64, 2f64, options(DType::Double, None))?;
    g.truncated_normal([4usize], 0f32, 0.1f32, RandomOptions::seed(5))?;
    let bounds = || [0f32, 1.0, -2.0, 2.0].map(Arg::from);
    g.parameterized_truncated_normal([4usize], bounds(), RandomOptions::seed(5))?;
    let x = g.named("x").placeholder(DType::Float, [5, 3])?;
    g.random_shuffle(x, None)?;
    g.random_shuffle([1i32, 2, 3], Some(9))?;
    g.multinomial(x, 4, None)?;
    g.categorical(x, 4, DType::Int32, None)?;
    g.random_poisson([1f32, 2.0], [3usize], plain)?;
    g.random_gamma([3usize], [1f32, 2.0], None, plain)?;
    g.named("gammas").random_gamma([3usize], x, Some(2f32.into()), plain)?;
    let seed = g.named("seed").placeholder(DType::Int32, [2])?;
    g.stateless_random_uniform([3usize], seed, 0, 1, DType::Float)?;
    g.stateless_random_uniform([3usize], [1i32, 2], 0, 9, DType::Int32)?;
    g.stateless_random_full_int([3usize], seed, DType::Int64)?;
    g.stateless_random_normal([3usize], seed, 0f32, 1f32, DType::Float)?;
    g.stateless_truncated_normal([3usize], seed, 0f32, 2f32, DType::Float)?;
    g.stateless_categorical(x, 2, seed, DType::Int64)?;
    g.stateless_random_poisson([2usize, 2], seed, [1f32, 2.0], DType::Int32)?;
    g.stateless_random_binomial([2usize, 2], seed, [10f32, 20.0], 0.5f32, DType::Int32)?;
    g.stateless_parameterized_truncated_normal([2usize], seed, [0f32, 1.0, -1.0, 1.0].map(Arg::from))?;
    g.stateless_random_gamma([2usize, 5, 3], seed, x, None, DType::Float)?;
    g.stateless_shuffle(x, seed)?;
    let classes = g.named("classes").placeholder(DType::Int64, Shape::matrix(None, Some(2)))?;
    g.uniform_candidate_sampler(classes, 2, 3, true, 10, None)?;
    g.log_uniform_candidate_sampler(classes, 2, 3, true, 10, Some(1))?;
    g.learned_unigram_candidate_sampler(classes, 2, 3, true, 10, None)?;
    let weights = FixedUnigram { unigrams: vec![1.0, 2.0], ..FixedUnigram::default() };
    g.fixed_unigram_candidate_sampler(classes, 2, 3, true, 2, weights, None)?;
    let all = g.all_candidate_sampler(classes, 2, 10, true, None)?;
    g.compute_accidental_hits(classes, all.sampled_candidates, 2, None)?;
    Ok(())
}

#[test]
fn builders_make_the_nodes_of_tensorflow() {
    let g = Graph::new();
    build(&g).unwrap();
    let lines: Vec<String> = g.get_operations().into_iter().map(|op| line(&g, op)).collect();
    for (got, expected) in lines.iter().zip(include_str!("fixtures/random/nodes.txt").lines()) {
        assert_eq!(got, expected);
    }
    assert_eq!(lines.len(), include_str!("fixtures/random/nodes.txt").lines().count());
}

/// A node `samples` of the op, and its parameter `alpha`.
fn samples(g: &Graph, op: &str, known: bool) -> (Operation, Output) {
    let unknown = |rank: Shape| if known { rank } else { Shape::unknown() };
    let alpha = g.named("alpha").placeholder(DType::Float, unknown(Shape::known(&[2]))).unwrap();
    let length = Shape::vector(known.then_some(1));
    let shape = g.named("shape").placeholder(DType::Int32, length).unwrap();
    let constant = |name: &str, text: &str| g.named(name).constant(value(text)).unwrap();
    let node = g.op(op).name("samples").input(shape);
    let node = match op {
        "RandomGamma" => node.input(alpha).attr("seed", 1i64).attr("seed2", 2i64),
        "StatelessRandomGammaV2" => node.input(constant("seed", "i32[1 2]")).input(alpha),
        "StatelessRandomGammaV3" => {
            let node = node.input(constant("key", "u64[1]")).input(constant("counter", "u64[2 3]"));
            node.input(constant("alg", "i32 1")).input(alpha)
        }
        _ => {
            let node = node.input(constant("seed", "i32[1 2]")).input(alpha);
            node.input(constant("stddevs", "f32 1")).input(alpha).input(constant("maxvals", "f32 2"))
        }
    };
    (node.finish().unwrap(), alpha)
}

/// The gradients of the inputs of `samples`.
fn gradients(g: &Graph, op: Operation, grad: Output) -> Vec<Option<Gradient>> {
    let record = metagraph::ops::lookup(&g.op_type(op)).unwrap();
    let Grad::Fn(gradient) = record.grad else { panic!("{} has no gradient", record.name) };
    let _scope = g.name_scope("samples_grad/").unwrap();
    gradient(g, op, &Grads::new(&[Some(grad.into())], metagraph::ops::densify)).unwrap()
}

#[test]
fn gradients_make_the_nodes_of_tensorflow() {
    for part in include_str!("fixtures/random/gradients.txt").split("# ").skip(1) {
        let (head, expected) = part.split_once('\n').unwrap();
        let (name, known) = head.split_once(' ').unwrap();
        let g = Graph::new();
        let (op, _) = samples(&g, name, known == "True");
        let grad = g.named("grad").placeholder(DType::Float, g.shape(op.output(0)).unwrap()).unwrap();
        let since = g.len();
        gradients(&g, op, grad);
        let lines: Vec<String> = g.get_operations()[since..].iter().map(|&op| line(&g, op)).collect();
        for (got, expected) in lines.iter().zip(expected.lines()) {
            assert_eq!(got, expected, "{head}");
        }
        assert_eq!(lines.len(), expected.lines().count(), "{head}");
    }
}

/// Values of TensorFlow 2.15.
#[test]
fn gradients_of_samples() {
    let rows: [(&str, &str, &str, &[f32]); 3] = [
        ("RandomGamma", "i32[3]", "f32[0.5 2]", &[1.6706774, 2.4711475]),
        ("StatelessRandomGammaV2", "i32[3 2]", "f32[0.5 2]", &[2.6393623, 3.2333708]),
        (
            "StatelessParameterizedTruncatedNormal",
            "i32[3 2]",
            "f32[-0.5 1]",
            &[3.0, 3.0, 1.8533354, 2.4688213, 1.9516609, 0.8359564],
        ),
    ];
    for (name, shape, alpha, expected) in rows {
        let g = Graph::new();
        let (op, input) = samples(&g, name, false);
        let grad = g.ones_like(op.output(0)).unwrap();
        let found: Vec<Output> = gradients(&g, op, grad)
            .iter()
            .flatten()
            .map(|gradient| match gradient {
                Gradient::Dense(output) => *output,
                Gradient::Sparse(_) => panic!("{name}"),
            })
            .collect();
        let shape_input = g.input(op, 0).unwrap();
        let out = Session::new(&g).run(&found, &[(shape_input, &value(shape)), (input, &value(alpha))]).unwrap();
        let values: Vec<f32> = out.iter().flat_map(|tensor| tensor.as_slice::<f32>().unwrap().to_vec()).collect();
        assert_eq!(values.len(), expected.len());
        for (got, expected) in values.iter().zip(expected) {
            assert!((got - expected).abs() < 1e-5 * expected, "{name}: {values:?}");
        }
    }
}

/// Values of `tf.random_uniform([2], seed=1)` in TensorFlow: an op goes on in its stream from run to run, whatever else
/// is fetched, and begins anew in each session.
#[test]
fn streams_go_on_within_a_session() {
    let g = Graph::new();
    let uniform = || g.random_uniform([2usize], 0, 1, RandomOptions::seed(1)).unwrap();
    let (x, y) = (uniform(), uniform());
    let unseeded = g.random_uniform([2usize], 0, 1, RandomOptions::default()).unwrap();
    for _ in 0..2 {
        let session = Session::new(&g);
        let run =
            |fetches: &[Output]| -> Vec<String> { session.run(fetches, &[]).unwrap().iter().map(ToString::to_string).collect() };
        let first = "f32[0.2390374 0.92039955]";
        assert_eq!(run(&[x]), [first]);
        assert_eq!(run(&[y, x]), [first, "f32[0.34304976 0.1896193]"]);
        assert_ne!(run(&[unseeded]), run(&[unseeded]));
    }
}

#[test]
fn samplers_learn_and_go_on() {
    let g = Graph::new();
    let classes = g.constant([[3i64, 3], [3, 3]]).unwrap();
    let sampled = g.learned_unigram_candidate_sampler(classes, 2, 4, false, 4, Some(2)).unwrap();
    let session = Session::new(&g);
    let mut expected = Vec::new();
    for _ in 0..3 {
        let out = session.run(&[sampled.true_expected_count], &[]).unwrap();
        expected.push(out[0].as_slice::<f32>().unwrap()[0]);
    }
    // Of 4 samples, a quarter at first, and then 5 of 8 and 9 of 12.
    assert_eq!(expected, [1.0, 2.5, 3.0]);
}

/// Runs an op on a state `[1, 2, 3]` in a variable, and returns the output and the state afterwards.
fn with_state(op: &str, dtype: Option<DType>, arguments: &[&str]) -> std::result::Result<(String, String), Code> {
    let g = Graph::new();
    let state = g.var_handle_op(DType::Int64, [3], "state").unwrap();
    let start = g.constant([1i64, 2, 3]).unwrap();
    let init = g.assign_variable_op(state, start).unwrap();
    let mut node = g.op(op).input(state);
    for argument in arguments {
        node = node.input(g.constant(value(argument)).unwrap());
    }
    if let Some(dtype) = dtype {
        node = node.attr("dtype", dtype);
    }
    let op = node.finish().unwrap();
    let read = g.read_variable_op(state, DType::Int64).unwrap();
    let session = Session::new(&g);
    session.run_targets(&[init], &[]).unwrap();
    let out = session.run_with_targets(&g.outputs(op), &[op], &[]).map_err(|error| error.code())?;
    let out = out.first().map(ToString::to_string).unwrap_or_default();
    Ok((out, session.run(&[read], &[]).unwrap()[0].to_string()))
}

/// As in TensorFlow 2.15.
#[test]
fn state_in_variables() {
    let rows: &[(&str, Option<DType>, &[&str], &str, &str)] = &[
        ("RngReadAndSkip", None, &["i32 1", "u64 5"], "i64[1 2 3]", "i64[1281 2 3]"),
        ("RngReadAndSkip", None, &["i32 3", "u64 9223372036854775808"], "i64[1 2 3]", "i64[1 2 3]"),
        ("RngSkip", None, &["i64 1", "i64 5"], "", "i64[1281 2 3]"),
        ("StatefulUniform", Some(DType::Float), &["i64 1", "i64[2]"], "f32[0.45901167 0.53342485]", "i64[513 2 3]"),
        ("StatefulUniformInt", None, &["i64 1", "i64[3]", "i64 0", "i64 100"], "i64[89 83 38]", "i64[769 2 3]"),
        ("StatefulUniformFullInt", Some(DType::Uint64), &["i64 1", "i32[1]"], "u64[17457156414005493989]", "i64[257 2 3]"),
        ("StatefulStandardNormalV2", Some(DType::Float), &["i64 1", "i64[1]"], "f32[-0.26016375]", "i64[257 2 3]"),
        ("StatefulTruncatedNormal", Some(DType::Float), &["i64 1", "i64[1]"], "f32[-0.26016375]", "i64[257 2 3]"),
        ("StatefulRandomBinomial", Some(DType::Int32), &["i64 1", "i32[3]", "f32 10", "f32 0.5"], "i32[6 4 5]", "i64[76801 2 3]"),
    ];
    for (op, dtype, arguments, out, state) in rows {
        assert_eq!(with_state(op, *dtype, arguments), Ok((out.to_string(), state.to_string())), "{op}");
    }
    for (op, dtype, arguments, code) in [
        ("RngReadAndSkip", None, ["i32 2", "u64 5"], Code::Unimplemented),
        ("StatefulUniform", Some(DType::Float), ["i64 2", "i64[2]"], Code::Unimplemented),
    ] {
        assert_eq!(with_state(op, dtype, &arguments), Err(code), "{op}");
    }
}

/// Runs an op whose inputs shape inference can't see.
fn run(op: &str, attrs: &[(&str, i64)], inputs: &[&str]) -> std::result::Result<String, Code> {
    let g = Graph::new();
    let values: Vec<Tensor> = inputs.iter().map(|text| value(text)).collect();
    let fed: Vec<Output> = values.iter().map(|v| g.placeholder(v.dtype(), Shape::unknown()).unwrap()).collect();
    let mut node = fed.iter().fold(g.op(op), |node, &input| node.input(input));
    for (name, number) in attrs {
        node = match *name {
            "dtype" => node.attr("dtype", DType::Float),
            "unique" => node.attr("unique", *number == 1),
            name => node.attr(name, *number),
        };
    }
    let op = node.finish().map_err(|error| error.code())?;
    let feeds: Vec<(Output, &Tensor)> = fed.iter().copied().zip(&values).collect();
    let out = Session::new(&g).run(&[op.output(0)], &feeds).map_err(|error| error.code())?;
    Ok(out[0].to_string())
}

#[test]
fn what_ops_refuse() {
    let seeds: &[(&str, i64)] = &[("seed", 1), ("seed2", 2)];
    let dtype: &[(&str, i64)] = &[("dtype", 1)];
    let sampler: &[(&str, i64)] = &[("num_true", 1), ("num_sampled", 6), ("unique", 1), ("range_max", 5)];
    let small: &[(&str, i64)] = &[("num_true", 1), ("num_sampled", 2), ("unique", 1), ("range_max", 5)];
    let truncated = |shape, means, minvals| ["ParameterizedTruncatedNormal", shape, means, "f32 1", minvals, "f32 1"];
    let rows: &[(&str, &[(&str, i64)], &[&str])] = &[
        ("RandomUniform", dtype, &["i32 3"]),
        ("RandomUniform", dtype, &["i32[-1]"]),
        ("RandomUniformInt", seeds, &["i32[1]", "i32 2", "i32 1"]),
        ("RandomUniformInt", seeds, &["i32[1]", "i32[1]", "i32 2"]),
        ("Multinomial", seeds, &["f32[1 2]", "i32 1"]),
        ("Multinomial", seeds, &["f32[[1 2]]", "i32 -1"]),
        ("Multinomial", seeds, &["f32[[] []]", "i32 1"]),
        ("StatelessRandomUniform", dtype, &["i32[2]", "i32[1 2 3]"]),
        ("StatelessRandomUniformV2", dtype, &["i32[2]", "u64[1 2]", "u64[1 2]", "i32 1"]),
        ("StatelessRandomUniformV2", dtype, &["i32[2]", "u64[1]", "u64[1]", "i32 1"]),
        ("StatelessRandomUniformV2", dtype, &["i32[2]", "u64[1]", "u64[1 2]", "i32 2"]),
        ("StatelessRandomGammaV2", &[], &["i32[3]", "i32[1 2]", "f32[1 2]"]),
        ("StatelessRandomBinomial", dtype, &["i32[3]", "i32[1 2]", "f32[1 2]", "f32[1 2 3]"]),
        ("UniformCandidateSampler", sampler, &["i64[[1]]"]),
        ("UniformCandidateSampler", small, &["i64[[5]]"]),
        ("UniformCandidateSampler", small, &["i64[[-1]]"]),
        ("UniformCandidateSampler", small, &["i64[[1 2]]"]),
        ("FixedUnigramCandidateSampler", small, &["i64[[1]]"]),
        ("RandomIndexShuffle", &[], &["i32[1 2 3]", "i32[[1 2 3] [4 5 6]]", "i32 10"]),
        (truncated("", "", "")[0], seeds, &truncated("i32[]", "f32 0", "f32 -1")[1..]),
        (truncated("", "", "")[0], seeds, &truncated("i32[3]", "f32[[0]]", "f32 -1")[1..]),
        (truncated("", "", "")[0], seeds, &truncated("i32[3]", "f32[0 0]", "f32 -1")[1..]),
        (truncated("", "", "")[0], seeds, &truncated("i32[3]", "f32 0", "f32 2")[1..]),
    ];
    for (op, attrs, inputs) in rows {
        assert_eq!(run(op, attrs, inputs), Err(Code::InvalidArgument), "{op} {inputs:?}");
    }
    assert_eq!(run("RandomUniformInt", seeds, &["i32[0]", "i32 2", "i32 1"]), Ok("i32{0}[]".to_string()));
    assert_eq!(run("RandomShuffle", seeds, &["i32 3"]), Ok("i32 3".to_string()));
    let strings = "str[[\"a\" \"b\"] [\"c\" \"d\"] [\"e\" \"f\"]]";
    assert_eq!(run("RandomShuffle", seeds, &[strings]), Ok("str[[\"e\" \"f\"] [\"a\" \"b\"] [\"c\" \"d\"]]".to_string()));
}
