//! Variables with each initializer and savers with their options: the nodes that they make, as in the meta graphs that
//! TensorFlow wrote. `fixtures/train/make.py` wrote them.

mod common;

use common::compare_meta_graph;
use metagraph::ops::Arg;
use metagraph::train::{
    Distribution, FanMode, GetVariable, Initializer, Partitioner, Saver, SaverOptions, ScopeOptions, Variable,
};
use metagraph::{DType, Graph, Result, Shape, Tensor};

fn check(name: &str, build: impl FnOnce(&Graph) -> Result<Option<Saver>>) {
    let g = Graph::new();
    let saver = build(&g).unwrap_or_else(|e| panic!("{name}: {e}"));
    compare_meta_graph(&format!("train/{name}"), &g, saver.as_ref());
}

/// Each initializer, with the shape of a variable; for doubles where there is a seed.
fn all_initializers(seed: Option<i64>) -> Vec<(Initializer, Vec<usize>)> {
    let scaling = Initializer::variance_scaling;
    let number = |v: f64| if seed.is_some() { Arg::from(v) } else { Arg::from(v as f32) };
    let constant = |text: &str| Initializer::constant(text.parse::<Tensor>().unwrap());
    let all = vec![
        (Initializer::zeros(), vec![2, 3]),
        (Initializer::ones(), vec![2, 3]),
        (Initializer::constant(Tensor::scalar(0.5f32)), vec![2, 3]),
        (constant("f32[1 2 3 4]"), vec![2, 2]),
        (Initializer::random_uniform(number(-0.1), number(0.1)), vec![2, 3]),
        (Initializer::random_normal(number(1.0), number(2.0)), vec![2, 3]),
        (Initializer::truncated_normal(number(0.0), number(0.3)), vec![2, 3]),
        (Initializer::uniform_unit_scaling(1.5), vec![2, 3]),
        (scaling(2.0, FanMode::FanAvg, Distribution::Uniform), vec![3, 3, 2, 4]),
        (scaling(1.0, FanMode::FanOut, Distribution::UntruncatedNormal), vec![4]),
        (Initializer::glorot_uniform(), vec![5, 4]),
        (Initializer::glorot_normal(), vec![5, 4]),
        (Initializer::lecun_uniform(), vec![5, 4]),
        (Initializer::lecun_normal(), vec![5, 4]),
        (Initializer::he_uniform(), vec![5, 4]),
        (Initializer::he_normal(), vec![5, 4]),
        (Initializer::orthogonal(1.5), vec![4, 3]),
        (Initializer::orthogonal(1.0), vec![2, 5]),
        (Initializer::identity(2.0), vec![3, 4]),
    ];
    all.into_iter().map(|(initializer, dims)| (seed.into_iter().fold(initializer, Initializer::seed), dims)).collect()
}

fn of_shape(dims: &[usize]) -> GetVariable {
    GetVariable { shape: Some(Shape::known(dims)), ..GetVariable::default() }
}

#[test]
fn initializers() {
    check("initializers", |g| {
        g.set_random_seed(4);
        for (index, (initializer, dims)) in all_initializers(None).into_iter().enumerate() {
            g.get_variable_with(&format!("v{index}"), GetVariable { initializer: Some(initializer), ..of_shape(&dims) })?;
        }
        g.get_variable_with("default", of_shape(&[2, 3]))?;
        g.get_variable_with("integers", GetVariable { dtype: Some(DType::Int32), ..of_shape(&[2]) })?;
        g.get_variable_with("truth", GetVariable { dtype: Some(DType::Bool), ..of_shape(&[2]) })?;
        let value = Initializer::from_value([[1f32, 2.0]]);
        g.get_variable_with("value", GetVariable { initializer: Some(value), ..GetVariable::default() })?;
        Ok(None)
    });
}

#[test]
fn initializers_of_resources() {
    check("initializers_of_resources", |g| {
        for (index, (initializer, dims)) in all_initializers(Some(9)).into_iter().enumerate() {
            let options = GetVariable {
                initializer: Some(initializer),
                dtype: Some(DType::Double),
                use_resource: Some(true),
                ..of_shape(&dims)
            };
            g.get_variable_with(&format!("v{index}"), options)?;
        }
        g.get_variable_with("default", GetVariable { use_resource: Some(true), ..of_shape(&[2, 3]) })?;
        let value = Some(Initializer::from_value([[1f32, 2.0]]));
        g.get_variable_with("value", GetVariable { initializer: value, use_resource: Some(true), ..GetVariable::default() })?;
        Ok(None)
    });
}

fn held(g: &Graph) -> Result<[Variable; 3]> {
    let a = g.get_variable_with("a", of_shape(&[2, 3]))?;
    let b = {
        let _device = g.device("/cpu:0");
        g.get_variable_with("b", GetVariable { dtype: Some(DType::Double), use_resource: Some(true), ..of_shape(&[4]) })?
    };
    let options = ScopeOptions { partitioner: Some(Partitioner::fixed_size(2, 0)), ..ScopeOptions::default() };
    let _scope = g.variable_scope_with("net", options)?;
    Ok([a, b, g.get_variable_with("c", of_shape(&[5, 2]))?])
}

fn saver(name: &str, options: SaverOptions) {
    check(name, |g| {
        held(g)?;
        Saver::with_options(g, &options).map(Some)
    });
}

#[test]
fn savers() {
    let usual = SaverOptions::default;
    saver("saver", usual());
    saver("saver_sharded", SaverOptions { sharded: true, max_to_keep: 0, ..usual() });
    saver("saver_v1", SaverOptions { write_v1: true, keep_checkpoint_every_n_hours: 0.5, ..usual() });
    saver("saver_v1_sharded", SaverOptions { write_v1: true, sharded: true, ..usual() });
    saver("saver_reshaping", SaverOptions { reshape: true, name: "store".into(), filename: "other".into(), ..usual() });
    check("saver_of_none", |g| Saver::with_options(g, &SaverOptions { allow_empty: true, ..usual() }).map(Some));
}

#[test]
fn savers_of_some_variables() {
    check("saver_of_some", |g| {
        let keys = ["first", "second", "third"].map(String::from);
        let list = keys.into_iter().zip(held(g)?).collect();
        Saver::with_options(g, &SaverOptions { var_list: Some(list), max_to_keep: 2, ..SaverOptions::default() }).map(Some)
    });
    check("two_savers", |g| {
        let [a, b, _] = held(g)?;
        let keyed = |v: &Variable| (v.op_name().to_string(), v.clone());
        let options = |list: &[&Variable]| SaverOptions {
            var_list: Some(list.iter().map(|v| keyed(v)).collect()),
            ..SaverOptions::default()
        };
        {
            let _scope = g.name_scope("outer")?;
            Saver::with_options(g, &options(&[&a]))?;
        }
        Saver::with_options(g, &options(&[&b, &a])).map(Some)
    });
}
