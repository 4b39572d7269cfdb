//! Gradients of samples by their parameters, by implicit reparameterization (Figurnov et al., 2018).

use crate::error::{Result, bail};
use crate::graph::{Gradient, Grads, Graph, Operation, Output};
use crate::ops::convert::Arg;
use crate::tensor::DType;

type Gradients = Result<Vec<Option<Gradient>>>;

/// Of the inputs `shape` and `alpha`.
pub(super) fn random_gamma(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let grad = grads.dense(g, 0)?;
    let _after = g.control_dependencies(&[grad.op])?;
    let shape = g.shape_tensor(g.input(op, 0)?)?;
    let sample_dims = g.index(shape, &[0.into()])?;
    let alpha_grad = gamma_grad(g, op, g.input(op, 1)?, sample_dims, grad)?;
    Ok(vec![None, Some(alpha_grad.into())])
}

/// Of the inputs `shape`, `seed` and `alpha`.
pub(super) fn stateless_random_gamma_v2(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    stateless_gamma(g, op, grads, 2)
}

/// Of the inputs `shape`, `key`, `counter`, `alg` and `alpha`.
pub(super) fn stateless_random_gamma_v3(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    stateless_gamma(g, op, grads, 4)
}

fn stateless_gamma(g: &Graph, op: Operation, grads: &Grads, alpha: usize) -> Gradients {
    let grad = grads.dense(g, 0)?;
    let _after = g.control_dependencies(&[grad.op])?;
    let mut gradients = vec![None; alpha];
    let alpha = g.input(op, alpha)?;
    let shape = g.shape_tensor(g.input(op, 0)?)?;
    let dims = g.index(shape, &[0.into()])?;
    let rank = g.rank(alpha)?;
    let sample_dims = g.operator("sub", "Sub", dims, rank)?;
    gradients.push(Some(gamma_grad(g, op, alpha, sample_dims, grad)?.into()));
    Ok(gradients)
}

/// The gradient of `alpha`, where the samples have `sample_dims` dimensions before those of `alpha`.
fn gamma_grad(g: &Graph, op: Operation, alpha: Output, sample_dims: Output, grad: Output) -> Result<Output> {
    let ones = g.ones(Arg::from([sample_dims]), DType::Int32)?;
    let alpha_shape = g.shape_tensor(alpha)?;
    let new_shape = g.concat(&[ones.into(), alpha_shape.into()], 0i32)?;
    let broadcastable = g.reshape(alpha, new_shape)?;
    let partial = g.op("RandomGammaGrad").input(broadcastable).input(op.output(0)).output()?;
    let product = g.operator("mul", "Mul", grad, partial)?;
    let axes = range(g, sample_dims)?;
    sum(g, product, axes, false)
}

fn range(g: &Graph, limit: Output) -> Result<Output> {
    g.call("Range").default_name("range").arg(0i32).arg(limit).arg(1i32).output()
}

fn sum(g: &Graph, input: Output, axes: Output, keep_dims: bool) -> Result<Output> {
    g.op("Sum").input(input).input(axes).attr("keep_dims", keep_dims).output()
}

/// Of the inputs `shape`, `seed`, `means`, `stddevs`, `minvals` and `maxvals`.
pub(super) fn stateless_parameterized_truncated_normal(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let grad = grads.dense(g, 0)?;
    let [shape, _, mean, stddev, minval, maxval] = g.inputs(op)[..] else {
        bail!(InvalidArgument, "StatelessParameterizedTruncatedNormal takes 6 inputs");
    };
    let _after = g.control_dependencies(&[grad.op])?;
    let [min_std, max_std, sample_std] = [minval, maxval, op.output(0)].map(|value| {
        let centered = g.operator("sub", "Sub", value, mean)?;
        g.operator("truediv", "RealDiv", centered, stddev)
    });
    let (min_std, max_std, sample_std) = (min_std?, max_std?, sample_std?);
    let above_min = {
        let (sample, min) = (normal_distribution(g, sample_std)?, normal_distribution(g, min_std)?);
        g.operator("sub", "Sub", sample, min)?
    };
    let whole = {
        let (max, min) = (normal_distribution(g, max_std)?, normal_distribution(g, min_std)?);
        g.operator("sub", "Sub", max, min)?
    };
    let fraction = g.operator("truediv", "RealDiv", above_min, whole)?;
    let (tiny, epsilon) = match g.dtype(mean)? {
        DType::Half => (half::f16::MIN_POSITIVE.to_f64(), half::f16::EPSILON.to_f64()),
        DType::Float => (f32::MIN_POSITIVE.into(), f32::EPSILON.into()),
        _ => (f64::MIN_POSITIVE, f64::EPSILON),
    };
    let fraction = {
        let (g, scope) = g.enter("clip_by_value")?;
        let below = g.call("Minimum").arg(fraction).arg(1.0 - epsilon).output()?;
        g.named(scope.name()).call("Maximum").arg(below).arg(tiny).output()?
    };
    let max_exponent = half_difference_of_squares(g, sample_std, max_std)?;
    let log = g.op("Log").input(fraction).output()?;
    let max_grad = exp_of_sum(g, max_exponent, log)?;
    let min_exponent = half_difference_of_squares(g, sample_std, min_std)?;
    let negated = g.op("Neg").input(fraction).output()?;
    let log = g.op("Log1p").input(negated).output()?;
    let min_grad = exp_of_sum(g, min_exponent, log)?;
    let mean_grad = g.ones_like(sample_std)?;

    let parameters = [mean, stddev, minval, maxval];
    let mut shapes = Vec::with_capacity(parameters.len());
    for parameter in parameters {
        shapes.push(g.shape_tensor(parameter)?);
    }
    let mut broadcast = g.op("BroadcastArgs").input(shapes[0]).input(shapes[1]).output()?;
    for &shape in &shapes[2..] {
        broadcast = g.op("BroadcastArgs").input(shape).input(broadcast).output()?;
    }
    let (all, own) = (g.size(shape)?, g.size(broadcast)?);
    let extra = g.operator("sub", "Sub", all, own)?;
    let extra = range(g, extra)?;
    let mut sums = Vec::with_capacity(parameters.len());
    for partial in [mean_grad, sample_std, min_grad, max_grad] {
        let product = g.operator("mul", "Mul", grad, partial)?;
        sums.push(sum(g, product, extra, false)?);
    }
    let mut axes = Vec::with_capacity(parameters.len());
    for &shape in &shapes {
        axes.push(g.op("BroadcastGradientArgs").input(broadcast).input(shape).finish()?.output(1));
    }
    let mut gradients = vec![None, None];
    for ((partial, axes), shape) in sums.into_iter().zip(axes).zip(shapes) {
        let reduced = sum(g, partial, axes, true)?;
        gradients.push(Some(g.reshape(reduced, shape)?.into()));
    }
    Ok(gradients)
}

/// The distribution function of the standard normal distribution.
fn normal_distribution(g: &Graph, x: Output) -> Result<Output> {
    let half_sqrt_2 = g.convert_to_tensor(0.5 * 2f64.sqrt(), Some(g.dtype(x)?), "half_sqrt_2")?;
    let w = g.operator("mul", "Mul", x, half_sqrt_2)?;
    let z = g.op("Abs").input(w).output()?;
    let is_near = g.op("Less").input(z).input(half_sqrt_2).output()?;
    let erf = g.op("Erf").input(w).output()?;
    let near = g.operator("add", "AddV2", 1f64, erf)?;
    let is_positive = g.call("Greater").arg(w).arg(0f64).output()?;
    let erfc = g.op("Erfc").input(z).output()?;
    let above = g.operator("sub", "Sub", 2f64, erfc)?;
    let below = g.op("Erfc").input(z).output()?;
    let far = g.op("Select").input(is_positive).input(above).input(below).output()?;
    let y = g.op("Select").input(is_near).input(near).input(far).output()?;
    g.operator("mul", "Mul", 0.5f64, y)
}

/// `(a² - b²) / 2`.
fn half_difference_of_squares(g: &Graph, a: Output, b: Output) -> Result<Output> {
    let (a, b) = (g.operator("pow", "Pow", a, 2f64)?, g.operator("pow", "Pow", b, 2f64)?);
    let difference = g.operator("sub", "Sub", a, b)?;
    g.operator("mul", "Mul", 0.5f64, difference)
}

fn exp_of_sum(g: &Graph, a: Output, b: Output) -> Result<Output> {
    let sum = g.operator("add", "AddV2", a, b)?;
    g.op("Exp").input(sum).output()
}
