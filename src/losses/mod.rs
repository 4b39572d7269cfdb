//! Losses with weights (`tf.losses`). Each is added to the collection `losses`, from which [`get_total_loss`] takes them.
//!
//! Labels and predictions are cast to float32. The name of [`Graph::named`] is that of the scope.

mod broadcast;
mod weighted;

pub use broadcast::{assert_broadcastable, broadcast_weights};
pub use weighted::{LossOptions, Reduction, compute_weighted_loss};

use crate::error::{Result, bail};
use crate::graph::{CollectionItem, Graph, Output, keys};
use crate::tensor::DType;
use crate::train::Hyperparameter;
use weighted::{add_loss, num_present};

fn check_shapes(g: &Graph, a: Output, b: Output) -> Result<()> {
    let (a, b) = (g.shape(a)?, g.shape(b)?);
    if !a.is_compatible_with(&b) {
        bail!(InvalidArgument, "Shapes {a} and {b} are incompatible");
    }
    Ok(())
}

/// Predictions and labels as float32, of one shape.
fn floats(g: &Graph, labels: Output, predictions: Output) -> Result<(Output, Output)> {
    let predictions = g.cast(predictions, DType::Float)?;
    let labels = g.cast(labels, DType::Float)?;
    check_shapes(g, predictions, labels)?;
    Ok((labels, predictions))
}

/// `|predictions - labels|`.
///
/// # Errors
/// `InvalidArgument` where the shapes don't fit.
pub fn absolute_difference(g: &Graph, labels: Output, predictions: Output, options: &LossOptions) -> Result<Output> {
    let (g, scope) = g.enter("absolute_difference")?;
    let (labels, predictions) = floats(&g, labels, predictions)?;
    let losses = g.abs(g.subtract(predictions, labels)?)?;
    compute_weighted_loss(&g.named(scope.name()), losses, options)
}

/// `1 - predictions · labels` along an axis; both are taken to be of unit length.
///
/// # Errors
/// `InvalidArgument` where the shapes don't fit or the axis is out of range.
pub fn cosine_distance(g: &Graph, labels: Output, predictions: Output, axis: i32, options: &LossOptions) -> Result<Output> {
    let (g, scope) = g.enter("cosine_distance_loss")?;
    let (labels, predictions) = floats(&g, labels, predictions)?;
    let products = g.multiply(predictions, labels)?;
    let losses = g.sub(1i32, g.reduce_sum(products, [axis], true)?)?;
    compute_weighted_loss(&g.named(scope.name()), losses, options)
}

/// `max(0, 1 - labels * logits)`, where labels of 0 count as -1.
///
/// # Errors
/// `InvalidArgument` where the shapes don't fit.
pub fn hinge_loss(g: &Graph, labels: Output, logits: Output, options: &LossOptions) -> Result<Output> {
    let (g, scope) = g.enter("hinge_loss")?;
    let (labels, logits) = floats(&g, labels, logits)?;
    let ones = g.ones_like(labels)?;
    let doubled = g.mul(2i32, labels)?;
    let signs = g.subtract(doubled, ones)?;
    let margin = g.multiply(signs, logits)?;
    let losses = g.relu(g.subtract(ones, margin)?)?;
    compute_weighted_loss(&g.named(scope.name()), losses, options)
}

/// Half the squared error up to `delta`, and from there on linear.
///
/// # Errors
/// `InvalidArgument` where the shapes don't fit.
pub fn huber_loss(g: &Graph, labels: Output, predictions: Output, delta: f64, options: &LossOptions) -> Result<Output> {
    let delta = delta as f32;
    let (g, scope) = g.enter("huber_loss")?;
    let (labels, predictions) = floats(&g, labels, predictions)?;
    let error = g.abs(g.subtract(predictions, labels)?)?;
    let quadratic = g.minimum(error, delta)?;
    let linear = g.subtract(error, quadratic)?;
    let half = g.constant(0.5f32)?;
    let near = g.multiply(half, g.multiply(quadratic, quadratic)?)?;
    let losses = g.math_add(near, g.multiply(delta, linear)?)?;
    compute_weighted_loss(&g.named(scope.name()), losses, options)
}

/// `-labels * log(predictions + epsilon) - (1 - labels) * log(1 - predictions + epsilon)`; TensorFlow's epsilon is 1e-7.
///
/// # Errors
/// `InvalidArgument` where the shapes don't fit.
pub fn log_loss(g: &Graph, labels: Output, predictions: Output, epsilon: f64, options: &LossOptions) -> Result<Output> {
    let (g, scope) = g.enter("log_loss")?;
    let (labels, predictions) = floats(&g, labels, predictions)?;
    let log = g.log(g.add(predictions, epsilon)?)?;
    let first = g.neg(g.multiply(labels, log)?)?;
    let others = g.sub(1i32, labels)?;
    let rest = g.sub(1i32, predictions)?;
    let log = g.log(g.add(rest, epsilon)?)?;
    let losses = g.sub(first, g.multiply(others, log)?)?;
    compute_weighted_loss(&g.named(scope.name()), losses, options)
}

/// `(predictions - labels)^2`.
///
/// # Errors
/// `InvalidArgument` where the shapes don't fit.
pub fn mean_squared_error(g: &Graph, labels: Output, predictions: Output, options: &LossOptions) -> Result<Output> {
    let (g, scope) = g.enter("mean_squared_error")?;
    let (labels, predictions) = floats(&g, labels, predictions)?;
    let losses = g.squared_difference(predictions, labels)?;
    compute_weighted_loss(&g.named(scope.name()), losses, options)
}

/// The mean of the squared differences between the errors of each two elements of a sample. The reduction of the options
/// doesn't count.
///
/// # Errors
/// `InvalidArgument` where the shapes don't fit.
pub fn mean_pairwise_squared_error(g: &Graph, labels: Output, predictions: Output, options: &LossOptions) -> Result<Output> {
    let (g, _scope) = g.enter("mean_pairwise_squared_error")?;
    let weights = options.weights.cast(&g, DType::Float)?;
    let labels = g.cast(labels, DType::Float)?;
    let check = assert_broadcastable(&g, &weights.into(), labels)?;
    let _after = g.control_dependencies(&[check])?;
    let predictions = g.cast(predictions, DType::Float)?;
    check_shapes(&g, predictions, labels)?;
    let diffs = g.subtract(predictions, labels)?;
    let axes = g.range(1i32, g.rank(diffs)?, 1i32)?;
    let squares = g.reduce_sum(g.square(diffs)?, axes, true)?;
    let present = num_present(&g, diffs, weights, true)?;
    let others = g.maximum(g.sub(present, 1i32)?, 0i32)?;
    let first = g.named("value").div_no_nan(squares, others)?;
    let first = g.mul(2f32, first)?;
    let sum = g.reduce_sum(diffs, axes, true)?;
    let squared = g.square(sum)?;
    let others = g.sub(present, 1i32)?;
    let pairs = g.maximum(g.multiply(present, others)?, 0i32)?;
    let second = g.named("value").div_no_nan(squared, pairs)?;
    let second = g.mul(2f32, second)?;
    let weighted = g.multiply(g.sub(first, second)?, weights)?;
    let loss = g.reduce_sum(weighted, None, false)?;
    let any = g.greater(g.reduce_sum(present, None, false)?, 0i32)?;
    let zero = g.zeros_like(loss)?;
    let mean = g.named("value").where_v1(any, loss, zero)?;
    add_loss(&g, mean, options);
    Ok(mean)
}

/// The cross-entropy of independent classes; with label smoothing, labels are drawn towards one half.
///
/// # Errors
/// `InvalidArgument` where the shapes don't fit.
pub fn sigmoid_cross_entropy(
    g: &Graph,
    multi_class_labels: Output,
    logits: Output,
    label_smoothing: f64,
    options: &LossOptions,
) -> Result<Output> {
    let (g, scope) = g.enter("sigmoid_cross_entropy_loss")?;
    let mut labels = g.cast(multi_class_labels, g.dtype(logits)?)?;
    check_shapes(&g, logits, labels)?;
    if label_smoothing > 0.0 {
        let kept = g.mul(labels, 1.0 - label_smoothing)?;
        labels = g.add(kept, 0.5 * label_smoothing)?;
    }
    let losses = g.named("xentropy").sigmoid_cross_entropy_with_logits(labels, logits)?;
    compute_weighted_loss(&g.named(scope.name()), losses, options)
}

/// The cross-entropy of classes of which one is right, given one-hot; with label smoothing, labels are drawn towards the
/// uniform distribution.
///
/// # Errors
/// `InvalidArgument` where the shapes don't fit.
pub fn softmax_cross_entropy(
    g: &Graph,
    onehot_labels: Output,
    logits: Output,
    label_smoothing: f64,
    options: &LossOptions,
) -> Result<Output> {
    let (g, scope) = g.enter("softmax_cross_entropy_loss")?;
    let dtype = g.dtype(logits)?;
    let mut labels = g.cast(onehot_labels, dtype)?;
    check_shapes(&g, logits, labels)?;
    if label_smoothing > 0.0 {
        let classes = g.index(g.shape_tensor(labels)?, &[(-1).into()])?;
        let classes = g.cast(classes, dtype)?;
        let others = Hyperparameter::from(label_smoothing).operand(&g)?;
        let others = g.truediv(others, classes)?;
        let kept = g.mul(labels, 1.0 - label_smoothing)?;
        labels = g.add(kept, others)?;
    }
    let labels = g.named("labels_stop_gradient").stop_gradient(labels)?;
    let losses = g.named("xentropy").softmax_cross_entropy_with_logits_v2(labels, logits)?;
    compute_weighted_loss(&g.named(scope.name()), losses, options)
}

/// The same with the numbers of the right classes.
///
/// # Errors
/// `InvalidArgument` where the shapes don't fit.
pub fn sparse_softmax_cross_entropy(g: &Graph, labels: Output, logits: Output, options: &LossOptions) -> Result<Output> {
    let (g, scope) = g.enter("sparse_softmax_cross_entropy_loss")?;
    let (labels, logits) = remove_squeezable_dimensions(&g, labels, logits, 1)?;
    let mut weights = options.weights.to_tensor(&g, "Const")?;
    match (g.shape(labels)?.rank(), g.shape(weights)?.rank()) {
        (Some(labels), Some(own)) if own == labels + 1 => weights = g.squeeze(weights, &[-1])?,
        (Some(_), Some(_)) => {}
        (_, own) => {
            let difference = g.sub(g.rank(weights)?, g.rank(labels)?)?;
            if own.is_none() || may_squeeze(&g, weights)? {
                let longer = g.equal(1i32, difference)?;
                weights = g.cond(longer, |g| g.squeeze(weights, &[-1]), |_| Ok(weights))?;
            }
        }
    }
    let losses = g.named("xentropy").sparse_softmax_cross_entropy_with_logits(labels, logits)?;
    let options = LossOptions { weights: weights.into(), ..options.clone() };
    compute_weighted_loss(&g.named(scope.name()), losses, &options)
}

/// True where the last dimension may be one.
fn may_squeeze(g: &Graph, tensor: Output) -> Result<bool> {
    let sizes = g.shape(tensor)?.sizes();
    Ok(sizes.is_some_and(|s| s.last().is_some_and(|d| d.is_none_or(|d| d == 1))))
}

/// Labels and predictions, of which one loses a last dimension of one where the difference of their ranks isn't the
/// expected one (`confusion_matrix.remove_squeezable_dimensions`).
///
/// # Errors
/// `InvalidArgument` for tensors of another graph.
pub fn remove_squeezable_dimensions(
    g: &Graph,
    labels: Output,
    predictions: Output,
    expected_rank_diff: i32,
) -> Result<(Output, Output)> {
    let (g, _scope) = g.enter("remove_squeezable_dimensions")?;
    let (labels_rank, predictions_rank) = (g.shape(labels)?.rank(), g.shape(predictions)?.rank());
    if let (Some(own), Some(other)) = (labels_rank, predictions_rank) {
        let difference = other as i32 - own as i32;
        if difference == expected_rank_diff + 1 && may_squeeze(&g, predictions)? {
            return Ok((labels, g.squeeze(predictions, &[-1])?));
        }
        if difference == expected_rank_diff - 1 && may_squeeze(&g, labels)? {
            return Ok((g.squeeze(labels, &[-1])?, predictions));
        }
        return Ok((labels, predictions));
    }
    let difference = g.sub(g.rank(predictions)?, g.rank(labels)?)?;
    let squeezed = |tensor: Output, rank: Option<usize>, expected: i32| -> Result<Output> {
        if rank.is_some() && !may_squeeze(&g, tensor)? {
            return Ok(tensor);
        }
        let longer = g.equal(expected, difference)?;
        g.cond(longer, |g| g.squeeze(tensor, &[-1]), |_| Ok(tensor))
    };
    let predictions = squeezed(predictions, predictions_rank, expected_rank_diff + 1)?;
    let labels = squeezed(labels, labels_rank, expected_rank_diff - 1)?;
    Ok((labels, predictions))
}

fn tensors_in(g: &Graph, collection: &str, scope: Option<&str>) -> Vec<Output> {
    let tensor = |item: &CollectionItem| match item {
        CollectionItem::Tensor(output) => Some(*output),
        CollectionItem::Node(name) => g.get_tensor_by_name(name).ok(),
        _ => None,
    };
    let all = g.get_collection(collection);
    let within = |o: &Output| scope.is_none_or(|s| g.tensor_name(*o).starts_with(s));
    all.iter().filter_map(tensor).filter(within).collect()
}

/// The losses of the collection, or of those whose name begins with `scope`.
pub fn get_losses(g: &Graph, scope: Option<&str>) -> Vec<Output> {
    tensors_in(g, keys::LOSSES, scope)
}

/// The losses of regularization.
pub fn get_regularization_losses(g: &Graph, scope: Option<&str>) -> Vec<Output> {
    tensors_in(g, keys::REGULARIZATION_LOSSES, scope)
}

/// The sum of the losses of regularization, named `total_regularization_loss`; zero where there are none.
///
/// # Errors
/// `InvalidArgument` for losses of different dtypes.
pub fn get_regularization_loss(g: &Graph, scope: Option<&str>) -> Result<Output> {
    let losses = get_regularization_losses(g, scope);
    if losses.is_empty() {
        return g.plain().constant(0f32);
    }
    let name = g.name_or("total_regularization_loss");
    g.named(name).add_n(&losses)
}

/// The sum of all losses, those of regularization included if asked for, named `total_loss`.
///
/// # Errors
/// `InvalidArgument` where there are none.
pub fn get_total_loss(g: &Graph, add_regularization_losses: bool, scope: Option<&str>) -> Result<Output> {
    let mut losses = get_losses(g, scope);
    if add_regularization_losses {
        losses.extend(get_regularization_losses(g, scope));
    }
    let name = g.name_or("total_loss");
    g.named(name).add_n(&losses)
}
