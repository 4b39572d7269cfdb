//! Cross entropies.

use crate::error::{Result, bail};
use crate::graph::{Graph, Output};
use crate::ops::convert::Arg;
use crate::ops::nn::python::{add, cast, mul, node, range, sub};
use crate::tensor::{DType, Shape};

impl Graph {
    /// The softmax cross entropy between logits and labels `[..., classes]`, without gradients for the labels
    /// (`tf.nn.softmax_cross_entropy_with_logits` of TF 1).
    ///
    /// # Errors
    /// `InvalidArgument` for shapes or dtypes that don't fit.
    pub fn softmax_cross_entropy_with_logits(&self, labels: Output, logits: Output) -> Result<Output> {
        let (g, scope) = self.enter("softmax_cross_entropy_with_logits_sg")?;
        let labels = g.named("labels_stop_gradient").stop_gradient(labels)?;
        let name = scope.name().to_string();
        drop(scope);
        g.named(&name).softmax_cross_entropy_with_logits_v2(labels, logits)
    }

    /// The softmax cross entropy between logits and labels `[..., classes]`, differentiable with respect to both
    /// (`tf.nn.softmax_cross_entropy_with_logits_v2`).
    ///
    /// # Errors
    /// `InvalidArgument` for shapes or dtypes that don't fit.
    pub fn softmax_cross_entropy_with_logits_v2(&self, labels: Output, logits: Output) -> Result<Output> {
        self.softmax_cross_entropy_along(labels, logits, -1)
    }

    /// The same with the classes along another dimension.
    ///
    /// # Errors
    /// As [`Graph::softmax_cross_entropy_with_logits_v2`].
    pub fn softmax_cross_entropy_along(&self, labels: Output, logits: Output, axis: i32) -> Result<Output> {
        let (g, scope) = self.enter("softmax_cross_entropy_with_logits")?;
        let dtype = g.dtype(logits)?;
        let narrow = matches!(dtype, DType::Half | DType::Bfloat16);
        let mut precise = if narrow { cast(&g, logits, DType::Float)? } else { logits };
        let mut labels = cast(&g, labels, g.dtype(precise)?)?;
        let rank = g.rank(precise)?;
        let shape = g.shape(logits)?;
        if axis != -1 {
            precise = move_to_end(&g, precise, axis, rank)?;
            labels = move_to_end(&g, labels, axis, rank)?;
        }
        let input_shape = g.shape_tensor(precise)?;
        let precise = flatten_outer_dims(&g, precise)?;
        let labels = flatten_outer_dims(&g, labels)?;
        let op = g.op("SoftmaxCrossEntropyWithLogits").name(scope.name()).input(precise).input(labels).finish()?;
        let count = g.call("Sub").arg(rank).arg(1i32).output()?;
        let output_shape = g.slice(input_shape, [0i32], [count])?;
        let cost = g.reshape(op.output(0), output_shape)?;
        if let Some(sizes) = shape.sizes() {
            let mut sizes = sizes.to_vec();
            let place = if axis < 0 { axis + sizes.len() as i32 } else { axis };
            if (place as usize) < sizes.len() {
                sizes.remove(place as usize);
                g.set_shape(cost, sizes)?;
            }
        }
        if narrow { cast(&g, cost, dtype) } else { Ok(cost) }
    }

    /// The softmax cross entropy between logits `[..., classes]` and labels `[...]`, each the number of a class
    /// (`tf.nn.sparse_softmax_cross_entropy_with_logits`).
    ///
    /// # Errors
    /// `InvalidArgument` for shapes or dtypes that don't fit.
    pub fn sparse_softmax_cross_entropy_with_logits(&self, labels: Output, logits: Output) -> Result<Output> {
        const OP: &str = "SparseSoftmaxCrossEntropyWithLogits";
        let own_name = self.name_or(OP).to_string();
        let (g, _scope) = self.enter(OP)?;
        let dtype = g.dtype(logits)?;
        let narrow = dtype == DType::Half;
        let precise = if narrow { cast(&g, logits, DType::Float)? } else { logits };
        let (labels_shape, logits_shape) = (g.shape(labels)?, g.shape(logits)?);
        let dynamic_labels_shape = g.shape_tensor(labels)?;
        if logits_shape.rank() == Some(0) {
            bail!(InvalidArgument, "`logits` cannot be a scalar");
        }
        if let (Some(labels), Some(logits)) = (labels_shape.rank(), logits_shape.rank())
            && labels + 1 != logits
        {
            bail!(
                InvalidArgument,
                "`labels.shape.rank` must equal `logits.shape.rank - 1`. Received: labels.shape={labels_shape} and \
                 logits.shape={logits_shape}"
            );
        }
        let outer = logits_shape.slice(0, -1);
        if labels_shape.is_fully_known() && outer.is_fully_known() && labels_shape != outer {
            bail!(
                InvalidArgument,
                "`labels.shape` must equal `logits.shape` except for the last dimension. Received: \
                 labels.shape={labels_shape} and logits.shape={logits_shape}"
            );
        }
        let cost_of =
            |logits: Output, labels: Output| g.op(OP).name(&own_name).input(logits).input(labels).finish().map(|op| op.output(0));
        if logits_shape.rank() == Some(2) {
            let cost = cost_of(precise, labels)?;
            return if narrow { cast(&g, cost, dtype) } else { Ok(cost) };
        }
        let dynamic = g.shape_tensor(logits)?;
        let rank = g.rank(logits)?;
        let last = sub(&g, rank, 1i32)?;
        let classes = g.index(dynamic, &[last.into()])?;
        let flat = g.reshape(precise, [Arg::from(-1i32), classes.into()])?;
        let flat_labels = g.reshape(labels, [-1i32])?;
        let cost = cost_of(flat, flat_labels)?;
        let cost = g.reshape(cost, dynamic_labels_shape)?;
        g.set_shape(cost, labels_shape)?;
        if narrow { cast(&g, cost, dtype) } else { Ok(cost) }
    }

    /// The cross entropy between independent labels and the sigmoid of logits of the same shape
    /// (`tf.nn.sigmoid_cross_entropy_with_logits`).
    ///
    /// # Errors
    /// `InvalidArgument` for shapes that differ.
    pub fn sigmoid_cross_entropy_with_logits(&self, labels: Output, logits: Output) -> Result<Output> {
        let (g, scope) = self.enter("logistic_loss")?;
        check_same_shape(&g, labels, logits)?;
        let zeros = g.zeros_like(logits)?;
        let positive = g.op("GreaterEqual").input(logits).input(zeros).output()?;
        let relu = node(&g, "Select", &[positive, logits, zeros])?;
        let negative = node(&g, "Neg", &[logits])?;
        let minus_absolute = node(&g, "Select", &[positive, negative, logits])?;
        let product = mul(&g, logits, labels)?;
        let linear = sub(&g, relu, product)?;
        let exponential = node(&g, "Exp", &[minus_absolute])?;
        let log = node(&g, "Log1p", &[exponential])?;
        g.op("AddV2").name(scope.name()).input(linear).input(log).output()
    }

    /// The cross entropy of [`Graph::sigmoid_cross_entropy_with_logits`] with the positive labels weighted
    /// (`tf.nn.weighted_cross_entropy_with_logits`).
    ///
    /// # Errors
    /// `InvalidArgument` for shapes that differ.
    pub fn weighted_cross_entropy_with_logits(
        &self,
        labels: Output,
        logits: Output,
        pos_weight: impl Into<Arg>,
    ) -> Result<Output> {
        let (g, scope) = self.enter("logistic_loss")?;
        check_same_shape(&g, labels, logits)?;
        let surplus = match pos_weight.into() {
            Arg::Output(weight) => sub(&g, weight, 1i32)?.into(),
            Arg::Value(weight) => {
                let one = crate::ops::convert::cast_value(&crate::Tensor::scalar(1i32), weight.dtype())?;
                Arg::Value(difference(&weight, &one)?)
            }
            Arg::List(_) => bail!(InvalidArgument, "pos_weight must be a number or a tensor"),
        };
        let product = mul(&g, surplus, labels)?;
        let weight = add(&g, 1i32, product)?;
        let complement = sub(&g, 1i32, labels)?;
        let first = mul(&g, complement, logits)?;
        let absolute = node(&g, "Abs", &[logits])?;
        let negative = node(&g, "Neg", &[absolute])?;
        let exponential = node(&g, "Exp", &[negative])?;
        let log = node(&g, "Log1p", &[exponential])?;
        let minus = node(&g, "Neg", &[logits])?;
        let relu = g.relu(minus)?;
        let sum = add(&g, log, relu)?;
        let second = mul(&g, weight, sum)?;
        g.op("AddV2").name(scope.name()).input(first).input(second).output()
    }
}

/// `a - b` of two scalars of one float dtype.
fn difference(a: &crate::Tensor, b: &crate::Tensor) -> Result<crate::Tensor> {
    match a.dtype() {
        DType::Double => Ok(crate::Tensor::scalar(a.item::<f64>()? - b.item::<f64>()?)),
        DType::Float => Ok(crate::Tensor::scalar(a.item::<f32>()? - b.item::<f32>()?)),
        DType::Int32 => Ok(crate::Tensor::scalar(a.item::<i32>()? - b.item::<i32>()?)),
        other => bail!(InvalidArgument, "a weight of dtype {other} is not supported as a number"),
    }
}

fn check_same_shape(g: &Graph, labels: Output, logits: Output) -> Result<()> {
    let (a, b): (Shape, Shape) = (g.shape(labels)?, g.shape(logits)?);
    if !a.is_compatible_with(&b) {
        bail!(InvalidArgument, "`logits` and `labels` must have the same shape, received ({b} vs {a}).");
    }
    Ok(())
}

fn move_to_end(g: &Graph, tensor: Output, axis: i32, rank: Output) -> Result<Output> {
    let before = range(g, 0i32, axis)?;
    let after = range(g, axis.wrapping_add(1), rank)?;
    let order = g.concat(&[before.into(), after.into(), [axis].into()], 0i32)?;
    g.transpose(tensor, Some(order.into()))
}

/// A matrix whose rows are the last dimension.
pub(super) fn flatten_outer_dims(g: &Graph, logits: Output) -> Result<Output> {
    let rank = g.rank(logits)?;
    let shape = g.shape_tensor(logits)?;
    let last = g.call("Sub").arg(rank).arg(1i32).output()?;
    let size = g.slice(shape, [last], [1i32])?;
    let flat = g.concat(&[[-1i32].into(), size.into()], 0i32)?;
    let output = g.reshape(logits, flat)?;
    if let Some(sizes) = g.shape(logits)?.sizes()
        && let Some((&last, outer)) = sizes.split_last()
        && let Some(rows) = outer.iter().try_fold(1usize, |n, d| d.and_then(|d| n.checked_mul(d)))
    {
        g.set_shape(output, [Some(rows), last])?;
    }
    Ok(output)
}
