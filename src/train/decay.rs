//! Learning rates that fall as training goes on (`tf.train.exponential_decay` and its kin).
//!
//! Each takes the first learning rate and the step, as numbers, tensors or variables, and gives the learning rate as a
//! tensor.

use super::optimizer::Hyperparameter;
use crate::control_flow::Branch;
use crate::error::{Result, bail};
use crate::graph::{Graph, Output};
use crate::ops::convert::Arg;
use crate::ops::random::RandomOptions;
use crate::tensor::DType;
use std::f32::consts::PI;

/// What the cosine decays share: the first learning rate, its dtype, and parameters cast to it.
struct Start {
    rate: Output,
    dtype: DType,
}

fn start(g: &Graph, learning_rate: impl Into<Hyperparameter>) -> Result<Start> {
    let rate = learning_rate.into().to_tensor(g, "initial_learning_rate")?;
    Ok(Start { rate, dtype: g.dtype(rate)? })
}

impl Start {
    fn cast(&self, g: &Graph, parameter: impl Into<Hyperparameter>) -> Result<Output> {
        parameter.into().cast(g, self.dtype)
    }
}

/// `0.5 * (1 + cos(pi * fraction))`, the first factor given.
fn cosine(g: &Graph, half: impl Into<Arg>, fraction: Output) -> Result<Output> {
    let pi = g.constant(PI)?;
    let angle = g.mul(pi, fraction)?;
    let cosine = g.add(1f32, g.cos(angle)?)?;
    g.mul(half, cosine)
}

/// The options of [`Graph::linear_cosine_decay`], with TensorFlow's defaults.
#[derive(Clone, Copy, Debug)]
pub struct LinearCosineOptions {
    /// How often the cosine turns.
    pub num_periods: f64,
    /// What is added to the linear part.
    pub alpha: f64,
    /// What is added at the end.
    pub beta: f64,
}

impl Default for LinearCosineOptions {
    fn default() -> LinearCosineOptions {
        LinearCosineOptions { num_periods: 0.5, alpha: 0.0, beta: 0.001 }
    }
}

/// The options of [`Graph::polynomial_decay`], with TensorFlow's defaults.
#[derive(Clone)]
pub struct PolynomialOptions {
    /// The last learning rate.
    pub end_learning_rate: Hyperparameter,
    /// The power.
    pub power: Hyperparameter,
    /// Whether it begins anew after `decay_steps`, over more steps each time.
    pub cycle: bool,
}

impl Default for PolynomialOptions {
    fn default() -> PolynomialOptions {
        PolynomialOptions { end_learning_rate: 0.0001.into(), power: 1.0.into(), cycle: false }
    }
}

/// The options of [`Graph::cosine_decay_restarts`], with TensorFlow's defaults.
#[derive(Clone)]
pub struct RestartOptions {
    /// By how much each period is longer than the one before.
    pub t_mul: Hyperparameter,
    /// By how much each period's first learning rate is larger.
    pub m_mul: Hyperparameter,
    /// The least learning rate, as a share of the first.
    pub alpha: Hyperparameter,
}

impl Default for RestartOptions {
    fn default() -> RestartOptions {
        RestartOptions { t_mul: 2.0.into(), m_mul: 1.0.into(), alpha: 0.0.into() }
    }
}

impl Graph {
    /// `learning_rate * decay_rate ^ (global_step / decay_steps)`, where the exponent may be rounded down
    /// (`tf.train.exponential_decay`).
    ///
    /// # Errors
    /// `InvalidArgument` where the arguments aren't scalars of numbers.
    pub fn exponential_decay(
        &self,
        learning_rate: impl Into<Hyperparameter>,
        global_step: impl Into<Hyperparameter>,
        decay_steps: impl Into<Hyperparameter>,
        decay_rate: impl Into<Hyperparameter>,
        staircase: bool,
    ) -> Result<Output> {
        let (g, scope) = self.enter("ExponentialDecay")?;
        let s = start(&g, learning_rate)?;
        let decay_steps = s.cast(&g, decay_steps)?;
        let decay_rate = s.cast(&g, decay_rate)?;
        let step = s.cast(&g, global_step)?;
        let mut p = g.truediv(step, decay_steps)?;
        if staircase {
            p = g.floor(p)?;
        }
        let power = g.math_pow(decay_rate, p)?;
        g.named(scope.name()).multiply(s.rate, power)
    }

    /// `learning_rate * exp(-decay_rate * global_step / decay_steps)` (`tf.train.natural_exp_decay`).
    ///
    /// # Errors
    /// As [`Graph::exponential_decay`].
    pub fn natural_exp_decay(
        &self,
        learning_rate: impl Into<Hyperparameter>,
        global_step: impl Into<Hyperparameter>,
        decay_steps: impl Into<Hyperparameter>,
        decay_rate: impl Into<Hyperparameter>,
        staircase: bool,
    ) -> Result<Output> {
        let g = self.plain();
        let negative = g.call("Neg").arg(decay_rate.into().operand(&g)?).output()?;
        let rate = g.exp(negative)?;
        self.exponential_decay(learning_rate, global_step, decay_steps, rate, staircase)
    }

    /// `learning_rate / (1 + decay_rate * global_step / decay_steps)` (`tf.train.inverse_time_decay`).
    ///
    /// # Errors
    /// As [`Graph::exponential_decay`].
    pub fn inverse_time_decay(
        &self,
        learning_rate: impl Into<Hyperparameter>,
        global_step: impl Into<Hyperparameter>,
        decay_steps: impl Into<Hyperparameter>,
        decay_rate: impl Into<Hyperparameter>,
        staircase: bool,
    ) -> Result<Output> {
        let (g, scope) = self.enter("InverseTimeDecay")?;
        let s = start(&g, learning_rate)?;
        let decay_steps = s.cast(&g, decay_steps)?;
        let decay_rate = s.cast(&g, decay_rate)?;
        let step = s.cast(&g, global_step)?;
        let mut p = g.truediv(step, decay_steps)?;
        if staircase {
            p = g.floor(p)?;
        }
        let one = g.cast(g.constant(1i32)?, s.dtype)?;
        let denominator = g.math_add(one, g.multiply(decay_rate, p)?)?;
        g.named(scope.name()).truediv(s.rate, denominator)
    }

    /// From the first learning rate to the last by a power of the share of `decay_steps` that is left
    /// (`tf.train.polynomial_decay`).
    ///
    /// # Errors
    /// As [`Graph::exponential_decay`].
    pub fn polynomial_decay(
        &self,
        learning_rate: impl Into<Hyperparameter>,
        global_step: impl Into<Hyperparameter>,
        decay_steps: impl Into<Hyperparameter>,
        options: &PolynomialOptions,
    ) -> Result<Output> {
        let decay_steps = decay_steps.into();
        let (g, scope) = self.enter("PolynomialDecay")?;
        let s = start(&g, learning_rate)?;
        let last = options.end_learning_rate.cast(&g, s.dtype)?;
        let power = options.power.cast(&g, s.dtype)?;
        let mut step = s.cast(&g, global_step)?;
        let mut steps = decay_steps.cast(&g, s.dtype)?;
        if options.cycle {
            let at_start = g.equal(step, 0i32)?;
            let periods = g.truediv(step, decay_steps.operand(&g)?)?;
            let periods = g.ceil(periods)?;
            let multiplier = g.where_v2(at_start, 1f32, periods)?;
            steps = g.multiply(steps, multiplier)?;
        } else {
            step = g.minimum(step, steps)?;
        }
        let p = g.truediv(step, steps)?;
        let range = g.sub(s.rate, last)?;
        let left = g.sub(1i32, p)?;
        let factor = g.math_pow(left, power)?;
        let above = g.multiply(range, factor)?;
        g.named(scope.name()).math_add(above, last)
    }

    /// The value of the stretch of steps that `x` is in: the first up to the first boundary, the next up to the second, and
    /// so on (`tf.train.piecewise_constant`).
    ///
    /// # Errors
    /// `InvalidArgument` where there isn't one more value than there are boundaries, or the dtypes differ.
    pub fn piecewise_constant(
        &self,
        x: impl Into<Hyperparameter>,
        boundaries: &[Arg],
        values: &[Hyperparameter],
    ) -> Result<Output> {
        let x = x.into();
        if boundaries.is_empty() || boundaries.len() + 1 != values.len() {
            bail!(
                InvalidArgument,
                "The length of boundaries should be 1 less than the length of values: {} and {}",
                boundaries.len(),
                values.len()
            );
        }
        let g = self.plain();
        let mut limits = Vec::with_capacity(boundaries.len());
        for boundary in boundaries {
            limits.push(Hyperparameter::Arg(boundary.clone()).to_tensor(&g, "Const")?);
        }
        let tensors = values.iter().map(|v| v.to_tensor(&g, "Const")).collect::<Result<Vec<_>>>()?;
        let dtype = g.dtype(x.to_tensor(&g, "Const")?)?;
        for limit in &mut limits {
            let own = g.dtype(*limit)?;
            if own != dtype && (own, dtype) != (DType::Int32, DType::Int64) {
                bail!(InvalidArgument, "Boundaries ({own}) must have the same dtype as x ({dtype}).");
            }
            *limit = g.cast(*limit, dtype)?;
        }
        for &value in &tensors {
            if g.dtype(value)? != g.dtype(tensors[0])? {
                bail!(InvalidArgument, "Values must have elements all with the same dtype.");
            }
        }
        let (g, _scope) = self.enter("PiecewiseConstant")?;
        let x = x.to_tensor(&g, "Const")?;
        let value = |i: usize| -> Branch<Output> {
            let tensor = tensors[i];
            Box::new(move |_| Ok(tensor))
        };
        let last = limits.len() - 1;
        let mut branches = vec![(g.less_equal(x, limits[0])?, value(0))];
        branches.push((g.greater(x, limits[last])?, value(last + 1)));
        for i in 0..last {
            let above = g.greater(x, limits[i])?;
            let within = g.less_equal(x, limits[i + 1])?;
            branches.push((g.and(above, within)?, value(i + 1)));
        }
        g.case(branches, value(0), true)
    }

    /// Along half a turn of a cosine over `decay_steps`, down to the share `alpha` of the first learning rate
    /// (`tf.train.cosine_decay`; Loshchilov and Hutter, 2016).
    ///
    /// # Errors
    /// As [`Graph::exponential_decay`].
    pub fn cosine_decay(
        &self,
        learning_rate: impl Into<Hyperparameter>,
        global_step: impl Into<Hyperparameter>,
        decay_steps: impl Into<Hyperparameter>,
        alpha: impl Into<Hyperparameter>,
    ) -> Result<Output> {
        let alpha = alpha.into();
        let (g, _scope) = self.enter("CosineDecay")?;
        let s = start(&g, learning_rate)?;
        let steps = s.cast(&g, decay_steps)?;
        let step = s.cast(&g, global_step)?;
        let step = g.minimum(step, steps)?;
        let fraction = g.truediv(step, steps)?;
        let cosine = cosine(&g, 0.5f32, fraction)?;
        let share = match alpha.number() {
            Some(alpha) => g.mul(1.0 - alpha, cosine)?,
            None => {
                let rest = g.sub(1i32, alpha.operand(&g)?)?;
                g.mul(rest, cosine)?
            }
        };
        let decayed = g.add(share, alpha.operand(&g)?)?;
        g.multiply(s.rate, decayed)
    }

    /// Along half a turn of a cosine, again and again, each time over more steps (`tf.train.cosine_decay_restarts`).
    ///
    /// # Errors
    /// As [`Graph::exponential_decay`].
    pub fn cosine_decay_restarts(
        &self,
        learning_rate: impl Into<Hyperparameter>,
        global_step: impl Into<Hyperparameter>,
        first_decay_steps: impl Into<Hyperparameter>,
        options: &RestartOptions,
    ) -> Result<Output> {
        let (g, scope) = self.enter("SGDRDecay")?;
        let s = start(&g, learning_rate)?;
        let first = s.cast(&g, first_decay_steps)?;
        let alpha = options.alpha.cast(&g, s.dtype)?;
        let t_mul = options.t_mul.cast(&g, s.dtype)?;
        let m_mul = options.m_mul.cast(&g, s.dtype)?;
        let step = s.cast(&g, global_step)?;
        let fraction = g.truediv(step, first)?;
        let even = g.equal(t_mul, 1f32)?;
        let parts = g.cond(
            even,
            |g| {
                let restart = g.floor(fraction)?;
                Ok(vec![restart, g.sub(fraction, restart)?])
            },
            |g| {
                let grown = g.mul(fraction, g.sub(1f32, t_mul)?)?;
                let log = g.log(g.sub(1f32, grown)?)?;
                let restart = g.floor(g.truediv(log, g.log(t_mul)?)?)?;
                let power = g.pow(t_mul, restart)?;
                let done = g.sub(1f32, power)?;
                let sum = g.truediv(done, g.sub(1f32, t_mul)?)?;
                let left = g.sub(fraction, sum)?;
                let length = g.pow(t_mul, restart)?;
                Ok(vec![restart, g.truediv(left, length)?])
            },
        )?;
        let factor = g.pow(m_mul, parts[0])?;
        let half = g.mul(0.5f32, factor)?;
        let cosine = cosine(&g, half, parts[1])?;
        let rest = g.sub(1i32, alpha)?;
        let share = g.mul(rest, cosine)?;
        let decayed = g.add(share, alpha)?;
        g.named(scope.name()).multiply(s.rate, decayed)
    }

    /// A line times a cosine (`tf.train.linear_cosine_decay`; Bello et al., 2017).
    ///
    /// # Errors
    /// As [`Graph::exponential_decay`].
    pub fn linear_cosine_decay(
        &self,
        learning_rate: impl Into<Hyperparameter>,
        global_step: impl Into<Hyperparameter>,
        decay_steps: impl Into<Hyperparameter>,
        options: &LinearCosineOptions,
    ) -> Result<Output> {
        let (g, scope) = self.enter("LinearCosineDecay")?;
        linear_cosine(&g, scope.name(), start(&g, learning_rate)?, global_step.into(), decay_steps.into(), options, None)
    }

    /// [`Graph::linear_cosine_decay`] with noise on the line, whose variance begins at `initial_variance` and falls by the
    /// power `variance_decay` of the step (`tf.train.noisy_linear_cosine_decay`).
    ///
    /// # Errors
    /// As [`Graph::exponential_decay`].
    pub fn noisy_linear_cosine_decay(
        &self,
        learning_rate: impl Into<Hyperparameter>,
        global_step: impl Into<Hyperparameter>,
        decay_steps: impl Into<Hyperparameter>,
        (initial_variance, variance_decay): (f64, f64),
        options: &LinearCosineOptions,
    ) -> Result<Output> {
        let (g, scope) = self.enter("NoisyLinearCosineDecay")?;
        let noise = Some((initial_variance, variance_decay));
        linear_cosine(&g, scope.name(), start(&g, learning_rate)?, global_step.into(), decay_steps.into(), options, noise)
    }
}

fn linear_cosine(
    g: &Graph,
    name: &str,
    s: Start,
    global_step: Hyperparameter,
    decay_steps: Hyperparameter,
    options: &LinearCosineOptions,
    noise: Option<(f64, f64)>,
) -> Result<Output> {
    let steps = s.cast(g, decay_steps)?;
    let noise = match noise {
        Some((variance, decay)) => Some((s.cast(g, variance)?, s.cast(g, decay)?)),
        None => None,
    };
    let periods = s.cast(g, options.num_periods)?;
    let alpha = s.cast(g, options.alpha)?;
    let beta = s.cast(g, options.beta)?;
    let step = s.cast(g, global_step)?;
    let step = g.minimum(step, steps)?;
    let left = g.sub(steps, step)?;
    let mut linear = g.truediv(left, steps)?;
    if let Some((initial, decay)) = noise {
        let count = g.add(1f32, step)?;
        let variance = g.truediv(initial, g.math_pow(count, decay)?)?;
        let deviation = g.sqrt(variance)?;
        let dims = g.shape(linear)?.to_dims().unwrap_or_default();
        let random = g.random_normal(&dims[..], 0f32, deviation, RandomOptions { dtype: DType::Float, seed: None })?;
        linear = g.add(linear, random)?;
    }
    let fraction = g.truediv(step, steps)?;
    let turns = g.mul(g.mul(2f32, periods)?, fraction)?;
    let cosine = cosine(g, 0.5f32, turns)?;
    let raised = g.add(alpha, linear)?;
    let decayed = g.add(g.mul(raised, cosine)?, beta)?;
    g.named(name).multiply(s.rate, decayed)
}
