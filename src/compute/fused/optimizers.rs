//! Updates of variables by optimizers, in one pass over the variable, its slots and its gradient.
//!
//! The formulas and the order of operations are those of TensorFlow's training ops.

use crate::compute::elementwise::{update_with, update2_with, update3_with, update4_with};
use crate::compute::lanes::Real;

/// `var -= grad lr` (TF op ApplyGradientDescent).
pub fn gradient_descent<T: Real>(var: &mut [T], lr: T, grad: &[T]) {
    update_with(var, grad, |var, grad| *var = *var - grad * lr);
}

/// What [`momentum`] is told besides the slices.
#[derive(Clone, Copy, Debug)]
pub struct Momentum<T> {
    /// The learning rate.
    pub lr: T,
    /// The decay of the accumulator.
    pub momentum: T,
    /// Whether the step looks ahead.
    pub use_nesterov: bool,
}

/// `accum = accum momentum + grad`, then `var -= accum lr`, or `var -= grad lr + accum momentum lr` with Nesterov's momentum
/// (TF op ApplyMomentum).
pub fn momentum<T: Real>(var: &mut [T], accum: &mut [T], grad: &[T], options: Momentum<T>) {
    let Momentum { lr, momentum, use_nesterov } = options;
    if use_nesterov {
        update2_with(var, accum, grad, |var, accum, grad| {
            *accum = *accum * momentum + grad;
            *var = *var - (grad * lr + *accum * momentum * lr);
        });
    } else {
        update2_with(var, accum, grad, |var, accum, grad| {
            *accum = *accum * momentum + grad;
            *var = *var - *accum * lr;
        });
    }
}

/// `accum = accum momentum - grad lr`, then `var += accum`, or `var += accum momentum - grad lr` with Nesterov's momentum
/// (TF op ResourceApplyKerasMomentum).
pub fn keras_momentum<T: Real>(var: &mut [T], accum: &mut [T], grad: &[T], options: Momentum<T>) {
    let Momentum { lr, momentum, use_nesterov } = options;
    if use_nesterov {
        update2_with(var, accum, grad, |var, accum, grad| {
            *accum = *accum * momentum - grad * lr;
            *var += *accum * momentum - grad * lr;
        });
    } else {
        update2_with(var, accum, grad, |var, accum, grad| {
            *accum = *accum * momentum - grad * lr;
            *var += *accum;
        });
    }
}

/// `accum += grad^2` if `update_slots`, then `var -= grad lr / sqrt(accum)` (TF op ApplyAdagrad).
pub fn adagrad<T: Real>(var: &mut [T], accum: &mut [T], lr: T, grad: &[T], update_slots: bool) {
    update2_with(var, accum, grad, |var, accum, grad| {
        *accum = if update_slots { *accum + grad * grad } else { *accum };
        *var = *var - grad * lr * (T::one() / accum.sqrt());
    });
}

/// `accum += grad^2` if `update_slots`, then `var -= grad lr / (sqrt(accum) + epsilon)` (TF op ApplyAdagradV2).
pub fn adagrad_v2<T: Real>(var: &mut [T], accum: &mut [T], lr: T, epsilon: T, grad: &[T], update_slots: bool) {
    update2_with(var, accum, grad, |var, accum, grad| {
        *accum = if update_slots { *accum + grad * grad } else { *accum };
        *var = *var - grad * lr / (accum.sqrt() + epsilon);
    });
}

/// What [`rms_prop`] and [`centered_rms_prop`] are told besides the slices.
#[derive(Clone, Copy, Debug)]
pub struct RmsProp<T> {
    /// The learning rate.
    pub lr: T,
    /// The decay of the mean square.
    pub rho: T,
    /// The decay of the momentum.
    pub momentum: T,
    /// What keeps the divisor from zero.
    pub epsilon: T,
}

/// `ms += (grad^2 - ms) (1 - rho)`, `mom = mom momentum + grad lr / sqrt(ms + epsilon)`, `var -= mom` (TF op ApplyRMSProp).
pub fn rms_prop<T: Real>(var: &mut [T], ms: &mut [T], mom: &mut [T], grad: &[T], options: RmsProp<T>) {
    let RmsProp { lr, rho, momentum, epsilon } = options;
    let fresh = T::one() - rho;
    update3_with(var, ms, mom, grad, |var, ms, mom, grad| {
        *ms += (grad * grad - *ms) * fresh;
        *mom = *mom * momentum + grad * lr / (*ms + epsilon).sqrt();
        *var = *var - *mom;
    });
}

/// As [`rms_prop`], with `mg += (grad - mg) (1 - rho)` and the divisor `sqrt(ms - mg^2 + epsilon)` (TF op ApplyCenteredRMSProp).
pub fn centered_rms_prop<T: Real>(var: &mut [T], mg: &mut [T], ms: &mut [T], mom: &mut [T], grad: &[T], options: RmsProp<T>) {
    let RmsProp { lr, rho, momentum, epsilon } = options;
    let fresh = T::one() - rho;
    update4_with(var, mg, ms, mom, grad, |var, mg, ms, mom, grad| {
        *ms += (grad * grad - *ms) * fresh;
        *mg += (grad - *mg) * fresh;
        *mom = *mom * momentum + grad * lr / (*ms - *mg * *mg + epsilon).sqrt();
        *var = *var - *mom;
    });
}

/// What [`adam`] is told besides the slices.
#[derive(Clone, Copy, Debug)]
pub struct Adam<T> {
    /// The first decay to the power of the steps so far.
    pub beta1_power: T,
    /// The second decay to the power of the steps so far.
    pub beta2_power: T,
    /// The learning rate.
    pub lr: T,
    /// The decay of the mean.
    pub beta1: T,
    /// The decay of the mean square.
    pub beta2: T,
    /// What keeps the divisor from zero.
    pub epsilon: T,
    /// Whether the step looks ahead.
    pub use_nesterov: bool,
}

/// `m += (grad - m) (1 - beta1)`, `v += (grad^2 - v) (1 - beta2)`, `var -= m alpha / (sqrt(v) + epsilon)` with
/// `alpha = lr sqrt(1 - beta2_power) / (1 - beta1_power)`; with Nesterov's momentum `grad (1 - beta1) + beta1 m` stands for m
/// (TF op ApplyAdam).
pub fn adam<T: Real>(var: &mut [T], m: &mut [T], v: &mut [T], grad: &[T], options: Adam<T>) {
    let Adam { beta1_power, beta2_power, lr, beta1, beta2, epsilon, use_nesterov } = options;
    let one = T::one();
    let alpha = lr * (one - beta2_power).sqrt() / (one - beta1_power);
    let (fresh1, fresh2) = (one - beta1, one - beta2);
    if use_nesterov {
        update3_with(var, m, v, grad, |var, m, v, grad| {
            *m += (grad - *m) * fresh1;
            *v += (grad * grad - *v) * fresh2;
            *var = *var - (grad * fresh1 + beta1 * *m) * alpha / (v.sqrt() + epsilon);
        });
    } else {
        update3_with(var, m, v, grad, |var, m, v, grad| {
            *m += (grad - *m) * fresh1;
            *v += (grad * grad - *v) * fresh2;
            *var = *var - *m * alpha / (v.sqrt() + epsilon);
        });
    }
}
