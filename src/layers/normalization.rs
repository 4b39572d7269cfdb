//! Normalization over batches.

use super::{LayerOptions, layer, weight};
use crate::control_flow::Nest;
use crate::error::{Result, bail};
use crate::graph::{CollectionItem, Graph, Operation, Output, keys};
use crate::tensor::DType;
use crate::train::{Constraint, GetVariable, Initializer, Regularizer, Variable};
use std::cell::OnceCell;

/// `tf.VariableSynchronization.ON_READ`.
const ON_READ: i32 = 3;
/// `tf.VariableAggregation.MEAN`.
const MEAN: i32 = 2;
/// The least epsilon of the fused op.
const MIN_EPSILON: f64 = 1.001e-5;

/// Whether a layer is trained or used: known when the graph is built, or told by a scalar bool.
#[derive(Clone, Copy, Debug)]
pub enum Training {
    /// Known.
    Known(bool),
    /// A scalar bool.
    Tensor(Output),
}

impl From<bool> for Training {
    fn from(known: bool) -> Training {
        Training::Known(known)
    }
}

impl From<Output> for Training {
    fn from(tensor: Output) -> Training {
        Training::Tensor(tensor)
    }
}

impl Training {
    /// What one of the functions makes, or a conditional of both.
    pub(super) fn choose<R: Nest>(
        self,
        g: &Graph,
        in_training: impl FnOnce(&Graph) -> Result<R>,
        in_use: impl FnOnce(&Graph) -> Result<R>,
    ) -> Result<R> {
        match self {
            Training::Known(true) => in_training(g),
            Training::Known(false) => in_use(g),
            Training::Tensor(training) => g.cond(training, in_training, in_use),
        }
    }
}

/// The options of [`batch_normalization`], with TensorFlow's defaults.
#[derive(Clone)]
pub struct BatchNormalizationOptions {
    /// The dimension that is kept, the last one by default.
    pub axis: i64,
    /// The share of the moving averages that each step keeps.
    pub momentum: f64,
    /// What is added to the variance.
    pub epsilon: f64,
    /// Whether `beta` is added.
    pub center: bool,
    /// Whether `gamma` is multiplied by.
    pub scale: bool,
    /// The initializer of `beta`.
    pub beta_initializer: Initializer,
    /// The initializer of `gamma`.
    pub gamma_initializer: Initializer,
    /// The initializer of the moving mean.
    pub moving_mean_initializer: Initializer,
    /// The initializer of the moving variance.
    pub moving_variance_initializer: Initializer,
    /// Makes a loss of `beta`.
    pub beta_regularizer: Option<Regularizer>,
    /// Makes a loss of `gamma`.
    pub gamma_regularizer: Option<Regularizer>,
    /// The projection of `beta` after each update.
    pub beta_constraint: Option<Constraint>,
    /// The projection of `gamma` after each update.
    pub gamma_constraint: Option<Constraint>,
    /// Whether the fused op is used for images, as it is by default.
    pub fused: bool,
    /// What all layers can be told.
    pub layer: LayerOptions,
}

impl Default for BatchNormalizationOptions {
    fn default() -> BatchNormalizationOptions {
        BatchNormalizationOptions {
            axis: -1,
            momentum: 0.99,
            epsilon: 0.001,
            center: true,
            scale: true,
            beta_initializer: Initializer::zeros(),
            gamma_initializer: Initializer::ones(),
            moving_mean_initializer: Initializer::zeros(),
            moving_variance_initializer: Initializer::ones(),
            beta_regularizer: None,
            gamma_regularizer: None,
            beta_constraint: None,
            gamma_constraint: None,
            fused: true,
            layer: LayerOptions::default(),
        }
    }
}

struct Variables {
    gamma: Option<Variable>,
    beta: Option<Variable>,
    mean: Variable,
    variance: Variable,
}

/// The inputs, shifted and scaled so that along the other dimensions they have mean zero and variance one, then scaled by
/// `gamma` and shifted by `beta` (`tf.layers.batch_normalization`; Ioffe and Szegedy, 2015). In training by the batch's mean
/// and variance, of which moving averages are kept by operations in the collection `update_ops`; in use by these averages.
///
/// # Errors
/// `InvalidArgument` for an axis out of range or whose size isn't known.
pub fn batch_normalization(
    g: &Graph,
    inputs: Output,
    training: impl Into<Training>,
    options: &BatchNormalizationOptions,
) -> Result<Output> {
    let training = training.into();
    let layer = layer(g, "batch_normalization", &options.layer)?;
    let shape = g.shape(inputs)?;
    let Some(rank) = shape.rank() else { bail!(InvalidArgument, "Inputs to a normalization must have a known rank") };
    let axis = if options.axis < 0 { options.axis + rank as i64 } else { options.axis };
    if axis < 0 || axis >= rank as i64 {
        bail!(InvalidArgument, "Invalid value for `axis` argument. Expected 0 <= axis < {rank}, got {}", options.axis);
    }
    let axis = axis as usize;
    let Some(depth) = shape.dim(axis as isize) else {
        bail!(InvalidArgument, "Input has undefined `axis` dimension. Received input with shape {shape} and axis={axis}")
    };
    let variables = OnceCell::new();
    let build = |g: &Graph, _: &crate::tensor::Shape| {
        let make = |name: &str, initializer: &Initializer, regularizer: &Option<Regularizer>, constraint: &Option<Constraint>| {
            let own = GetVariable {
                initializer: Some(initializer.clone()),
                regularizer: regularizer.clone(),
                constraint: constraint.clone(),
                ..GetVariable::default()
            };
            weight(g, &layer, name, &[depth], own)
        };
        let o = options;
        let gamma =
            if o.scale { Some(make("gamma", &o.gamma_initializer, &o.gamma_regularizer, &o.gamma_constraint)?) } else { None };
        let beta =
            if o.center { Some(make("beta", &o.beta_initializer, &o.beta_regularizer, &o.beta_constraint)?) } else { None };
        let moving = |name: &str, initializer: &Initializer| {
            let own = GetVariable {
                initializer: Some(initializer.clone()),
                trainable: Some(false),
                synchronization: ON_READ,
                aggregation: MEAN,
                ..GetVariable::default()
            };
            weight(g, &layer, name, &[depth], own)
        };
        let mean = moving("moving_mean", &o.moving_mean_initializer)?;
        let variance = moving("moving_variance", &o.moving_variance_initializer)?;
        let _ = variables.set(Variables { gamma, beta, mean, variance });
        Ok(())
    };
    layer.call(g, inputs, build, |g| {
        let Some(variables) = variables.get() else { bail!(Internal, "the variables were not made") };
        if options.fused && rank == 4 && (axis == 1 || axis == 3) {
            return fused(g, inputs, training, variables, options, if axis == 1 { "NCHW" } else { "NHWC" }, depth);
        }
        plain(g, inputs, training, variables, options, axis, rank)
    })
}

fn fused(
    g: &Graph,
    inputs: Output,
    training: Training,
    variables: &Variables,
    options: &BatchNormalizationOptions,
    data_format: &str,
    depth: usize,
) -> Result<Output> {
    let constant = |value: f64, variable: &Option<Variable>| match variable {
        Some(_) => Ok(None),
        None => Initializer::constant(value).emit(g, &[depth], Some(DType::Float), None).map(Some),
    };
    let beta = constant(0.0, &variables.beta)?;
    let gamma = constant(1.0, &variables.gamma)?;
    let value = |variable: &Option<Variable>, constant: Option<Output>| match (variable, constant) {
        (Some(variable), _) => variable.value(),
        (None, Some(constant)) => Ok(constant),
        (None, None) => bail!(Internal, "neither a variable nor a constant"),
    };
    let node = |g: &Graph, is_training: bool| -> Result<Vec<Output>> {
        let scale = value(&variables.gamma, gamma)?;
        let offset = value(&variables.beta, beta)?;
        let scope = g.name_scope("FusedBatchNormV3")?;
        let op = g.op("FusedBatchNormV3").name(scope.name()).input(inputs).input(scale).input(offset);
        let outputs = op
            .input(variables.mean.value()?)
            .input(variables.variance.value()?)
            .attr("epsilon", options.epsilon.max(MIN_EPSILON) as f32)
            .attr("data_format", data_format)
            .attr("is_training", is_training)
            .outputs()?;
        Ok(outputs[..3].to_vec())
    };
    let outputs = training.choose(g, |g| node(g, true), |g| node(g, false))?;
    if matches!(training, Training::Known(false)) {
        return Ok(outputs[0]);
    }
    let momentum = options.momentum as f32;
    let momentum = training.choose(g, |g| g.constant(momentum), |g| g.constant(1f32))?;
    for (variable, value) in [(&variables.mean, outputs[1]), (&variables.variance, outputs[2])] {
        let update = assign_moving_average(g, variable, value, |g| g.sub(1f32, momentum))?;
        add_update(g, update);
    }
    Ok(outputs[0])
}

fn add_update(g: &Graph, update: Operation) {
    g.add_to_collection(keys::UPDATE_OPS, CollectionItem::Operation(update));
}

/// `variable -= (variable - value) * decay`.
fn assign_moving_average(
    g: &Graph,
    variable: &Variable,
    value: Output,
    decay: impl FnOnce(&Graph) -> Result<Output>,
) -> Result<Operation> {
    let (g, scope) = g.enter("AssignMovingAvg")?;
    let _beside = g.colocate_with(variable.op()?)?;
    let decay = decay(&g)?;
    let decay = g.cast(decay, variable.dtype())?;
    let value = g.cast(value, variable.dtype())?;
    let delta = g.sub(variable.value()?, value)?;
    let delta = g.mul(delta, decay)?;
    if variable.is_resource() {
        return Ok(variable.assign_sub(delta)?.op());
    }
    Ok(g.named(scope.name()).assign_sub(variable.handle()?, delta)?.op)
}

/// Mean and variance over some dimensions (`tf.nn.moments`).
fn moments(g: &Graph, x: Output, axes: &[i32]) -> Result<(Output, Output)> {
    let (g, _scope) = g.enter("moments")?;
    let mean = g.named("mean").reduce_mean(x, axes, true)?;
    let centre = g.stop_gradient(mean)?;
    let squares = g.squared_difference(x, centre)?;
    let variance = g.named("variance").reduce_mean(squares, axes, true)?;
    let wide: Vec<i64> = axes.iter().map(|&a| a.into()).collect();
    Ok((g.squeeze(mean, &wide)?, g.squeeze(variance, &wide)?))
}

fn plain(
    g: &Graph,
    inputs: Output,
    training: Training,
    variables: &Variables,
    options: &BatchNormalizationOptions,
    axis: usize,
    rank: usize,
) -> Result<Output> {
    let axes: Vec<i32> = (0..rank).filter(|&a| a != axis).map(|a| a as i32).collect();
    let last = axis == rank - 1;
    let shape: Vec<i32> = (0..rank).map(|a| if a == axis { -1 } else { 1 }).collect();
    let broadcast = |v: Output| if last { Ok(v) } else { g.reshape(v, shape.clone()) };
    let gamma = if last { None } else { variables.gamma.as_ref().map(|v| broadcast(v.value()?)).transpose()? };
    let beta = if last { None } else { variables.beta.as_ref().map(|v| broadcast(v.value()?)).transpose()? };
    let (mut mean, mut variance) = (None, None);
    if !matches!(training, Training::Known(false)) {
        let (of_batch, spread) = moments(g, inputs, &axes)?;
        let chosen = training.choose(g, |_| Ok(of_batch), |_| variables.mean.value())?;
        let chosen_spread = training.choose(g, |_| Ok(spread), |_| variables.variance.value())?;
        let rest = (1.0 - options.momentum) as f32;
        for (variable, value) in [(&variables.mean, chosen), (&variables.variance, chosen_spread)] {
            let update = training.choose(
                g,
                |g| assign_moving_average(g, variable, value, |g| g.named("decay").constant(rest)).map(|op| op.output(0)),
                |_| variable.value(),
            )?;
            add_update(g, update.op);
        }
        mean = Some(broadcast(chosen)?);
        variance = Some(broadcast(chosen_spread)?);
    }
    let own = |known: Option<Output>, variable: &Variable| match known {
        Some(known) => Ok(known),
        None => broadcast(variable.value()?),
    };
    let (g, _scope) = g.enter("batchnorm")?;
    let variance = own(variance, &variables.variance)?;
    let mut inverse = g.rsqrt(g.add(variance, options.epsilon)?)?;
    if let Some(variable) = &variables.gamma {
        let scope = g.name_scope("mul")?;
        let gamma = gamma.map_or_else(|| variable.value(), Ok)?;
        inverse = g.op("Mul").name(scope.name()).input(inverse).input(gamma).output()?;
    }
    let scaled = g.mul(inputs, inverse)?;
    let mean = own(mean, &variables.mean)?;
    let offset = match &variables.beta {
        Some(variable) => {
            let beta = beta.map_or_else(|| variable.value(), Ok)?;
            let shift = g.mul(mean, inverse)?;
            g.sub(beta, shift)?
        }
        None => g.mul(g.neg(mean)?, inverse)?,
    };
    g.add(scaled, offset)
}
