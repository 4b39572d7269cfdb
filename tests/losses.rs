//! Losses: their graphs, node for node, and their values, as in TensorFlow.

mod common;

use common::{assert_close, compare_meta_graph, fixture};
use metagraph::graph::keys;
use metagraph::losses::{self, LossOptions, Reduction};
use metagraph::{Code, DType, Graph, Output, Result, Session, Shape, Tensor};

fn check(case: &str, build: impl FnOnce(&Graph) -> Result<Vec<Output>>) {
    let g = Graph::new();
    let outputs = build(&g).unwrap_or_else(|e| panic!("{case}: {e}"));
    compare_meta_graph(&format!("losses/{case}"), &g, None);
    let got = Session::new(&g).run(&outputs, &[]).unwrap();
    let text = String::from_utf8(fixture("losses/values.txt")).unwrap();
    let expected = text.lines().filter_map(|line| line.strip_prefix(case)?.strip_prefix(' ')?.split_once(' '));
    let mut count = 0;
    for ((output, value), (name, expected)) in outputs.iter().zip(&got).zip(expected) {
        assert_eq!(g.tensor_name(*output), name, "{case}");
        assert_close(value, &expected.parse().unwrap(), 1e-5, &format!("{case}: {name}"));
        count += 1;
    }
    assert_eq!(count, outputs.len(), "{case}");
}

fn tensors(g: &Graph, shape: impl Into<Shape>) -> Result<(Output, Output)> {
    let shape = shape.into();
    let default = g.constant([[1i32, 0, 1], [0, 1, 1]])?;
    let labels = g.named("labels").placeholder_with_default(default, shape.clone())?;
    let default = g.constant([[0.5f32, 0.25, 0.75], [0.125, 0.5, 0.9]])?;
    Ok((labels, g.named("predictions").placeholder_with_default(default, shape)?))
}

#[test]
fn known_shapes() {
    check("known", |g| {
        let (l, p) = tensors(g, [2, 3])?;
        let options = LossOptions::default();
        let twice = LossOptions { weights: 2.0.into(), ..LossOptions::default() };
        let mut all = vec![
            losses::absolute_difference(g, l, p, &options)?,
            losses::mean_squared_error(g, l, p, &twice)?,
            losses::hinge_loss(&g.named("mine"), l, p, &options)?,
            losses::huber_loss(g, l, p, 0.375, &options)?,
            losses::log_loss(g, l, p, 1e-7, &options)?,
            losses::cosine_distance(g, l, p, 1, &options)?,
            losses::mean_pairwise_squared_error(g, l, p, &options)?,
            losses::sigmoid_cross_entropy(g, l, p, 0.25, &options)?,
            losses::softmax_cross_entropy(g, l, p, 0.25, &options)?,
        ];
        let scope = g.name_scope("sparse_softmax_cross_entropy_loss/remove_squeezable_dimensions/")?;
        let classes = g.constant([[2i32], [0]])?;
        drop(scope);
        all.push(losses::sparse_softmax_cross_entropy(g, classes, p, &options)?);
        all.push(losses::get_total_loss(g, true, None)?);
        Ok(all)
    });
}

#[test]
fn weights_and_reductions() {
    check("weighted", |g| {
        let (l, p) = tensors(g, [2, 3])?;
        let w = g.named("w").constant([[0.5f32], [0.0]])?;
        let reductions =
            [Reduction::None, Reduction::Sum, Reduction::SumOverBatchSize, Reduction::Mean, Reduction::SumByNonzeroWeights];
        let mut all = Vec::new();
        for reduction in reductions {
            let mut options = LossOptions { weights: w.into(), reduction, ..LossOptions::default() };
            if reduction == Reduction::None {
                options.loss_collection = None;
            }
            all.push(losses::mean_squared_error(g, l, p, &options)?);
        }
        {
            let _inner = g.name_scope("inner")?;
            let values = g.constant([1f64, 2.0])?;
            let options = LossOptions { weights: [1f32, 0.0].into(), loss_collection: None, ..LossOptions::default() };
            all.push(losses::compute_weighted_loss(g, values, &options)?);
            all.push(losses::absolute_difference(g, l, p, &LossOptions::default())?);
        }
        let classes = g.constant([2i32, 1])?;
        let weights = g.constant([[1f32], [2.0]])?;
        let options = LossOptions { weights: weights.into(), ..LossOptions::default() };
        all.push(losses::sparse_softmax_cross_entropy(g, classes, p, &options)?);
        let half = g.constant(0.5f32)?;
        g.add_to_collection(keys::REGULARIZATION_LOSSES, metagraph::graph::CollectionItem::Tensor(half));
        all.push(losses::get_total_loss(&g.named("sum"), true, None)?);
        all.push(losses::get_regularization_loss(g, None)?);
        all.push(losses::get_total_loss(g, false, Some("inner"))?);
        Ok(all)
    });
}

#[test]
fn unknown_shapes() {
    check("unknown", |g| {
        let (l, p) = tensors(g, [None, Some(3)])?;
        let default = g.constant([[1f32], [0.0]])?;
        let w = g.named("w").placeholder_with_default(default, [None, None])?;
        let options = LossOptions { weights: w.into(), ..LossOptions::default() };
        Ok(vec![losses::mean_squared_error(g, l, p, &LossOptions::default())?, losses::mean_squared_error(g, l, p, &options)?])
    });
}

#[test]
fn weights_that_do_not_fit() {
    let g = Graph::new();
    let (l, p) = tensors(&g, [2, 3]).unwrap();
    for (weights, says) in [("f32[1 2]", "weights.rank=1"), ("f32[[1] [1] [1]]", "Mismatch at dim 0")] {
        let options = LossOptions { weights: weights.parse::<Tensor>().unwrap().into(), ..LossOptions::default() };
        let error = losses::mean_squared_error(&g, l, p, &options).unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.to_string().contains(says), "{error}");
    }
    let w = g.placeholder(DType::Float, Shape::unknown()).unwrap();
    let loss = losses::mean_squared_error(&g, l, p, &LossOptions { weights: w.into(), ..LossOptions::default() }).unwrap();
    let error = Session::new(&g).run(&[loss], &[(w, &Tensor::from([1f32, 2.0]))]).unwrap_err();
    assert!(error.to_string().contains("weights can not be broadcast to values"), "{error}");
}
