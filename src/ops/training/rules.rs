//! The update rules: what one step does to an element of the variable (`s[0]`) and of its slots (`s[1..]`).

use super::field::{Field, Ordered};
use super::pass::State;
use crate::error::{Result, bail};

/// What a rule is made from.
pub(super) struct Params<'a, C> {
    /// The scalar inputs, in the op's order.
    pub scalars: &'a [C],
    /// The op's own flag: `use_nesterov`, `update_slots` or `multiply_linear_by_lr`.
    pub flag: bool,
    /// Whether rows are updated at indices.
    pub sparse: bool,
}

impl<C: Copy> Params<'_, C> {
    fn take<const N: usize>(&self) -> Result<[C; N]> {
        match self.scalars.try_into() {
            Ok(scalars) => Ok(scalars),
            Err(_) => bail!(Internal, "{} scalars for a rule of {N}", self.scalars.len()),
        }
    }
}

/// An update rule.
pub(super) trait Rule<C>: Sized + Sync {
    /// The rule with these settings.
    ///
    /// # Errors
    /// `InvalidArgument` for settings that it can't have.
    fn new(params: &Params<C>) -> Result<Self>;
    /// One step of one element.
    fn step(&self, s: &mut State<C>, g: C);
}

macro_rules! rule {
    (
        $(#[$doc:meta])* $name:ident<$bound:ident> [$($scalar:ident)*] $([flag $flag:ident])?
        |$this:ident, $s:ident, $g:ident| $step:block
    ) => {
        $(#[$doc])*
        pub(super) struct $name<C> {
            $($scalar: C,)*
            $($flag: bool,)?
        }
        impl<C: $bound> Rule<C> for $name<C> {
            fn new(params: &Params<C>) -> Result<Self> {
                let [$($scalar),*] = params.take()?;
                $(let $flag = params.flag;)?
                Ok(Self { $($scalar,)* $($flag,)? })
            }
            #[inline(always)]
            fn step(&self, $s: &mut State<C>, $g: C) {
                let $this = self;
                $step
            }
        }
    };
}

rule! {
    /// `var -= alpha * delta`
    GradientDescent<Field> [alpha] |r, s, g| { s[0] = s[0] - g * r.alpha; }
}

rule! {
    /// Slots: the mean squared gradient, the mean squared update.
    Adadelta<Field> [lr rho epsilon] |r, s, g| {
        let one = C::of(1.0);
        s[1] = s[1] * r.rho + g.square() * (one - r.rho);
        let update = (s[2] + r.epsilon).sqrt() * (s[1] + r.epsilon).rsqrt() * g;
        s[0] = s[0] - update * r.lr;
        s[2] = s[2] * r.rho + update.square() * (one - r.rho);
    }
}

rule! {
    /// Gradient descent with a proximal step for L1 and L2.
    ProximalGradientDescent<Ordered> [alpha l1 l2] |r, s, g| {
        let zero = C::of(0.0);
        let moved = s[0] - g * r.alpha;
        let shrunk = if r.l1 > zero { moved.sign() * (moved.abs() - r.alpha * r.l1).max(zero) } else { moved };
        s[0] = shrunk / (C::of(1.0) + r.l2 * r.alpha);
    }
}

rule! {
    /// Slot: the sum of squared gradients.
    Adagrad<Field> [lr] [flag update_slots] |r, s, g| {
        if r.update_slots {
            s[1] = s[1] + g.square();
        }
        s[0] = s[0] - g * r.lr * s[1].rsqrt();
    }
}

rule! {
    /// Slot: the sum of squared gradients.
    AdagradV2<Field> [lr epsilon] [flag update_slots] |r, s, g| {
        if r.update_slots {
            s[1] = s[1] + g.square();
        }
        s[0] = s[0] - g * r.lr / (s[1].sqrt() + r.epsilon);
    }
}

/// Refuses a learning rate that isn't positive, and strengths of regularization that are negative.
fn check_strengths<C: Ordered>(lr: C, zero_lr: bool, strengths: &[(&str, C)]) -> Result<()> {
    let zero = C::of(0.0);
    if !(lr > zero || zero_lr && lr >= zero) {
        bail!(InvalidArgument, "lr is not a positive scalar");
    }
    for (name, strength) in strengths {
        if !(*strength >= zero) {
            bail!(InvalidArgument, "{name} regularization strength is not a non-negative scalar");
        }
    }
    Ok(())
}

/// Adagrad with a proximal step for L1 and L2. Slot: the sum of squared gradients.
pub(super) struct ProximalAdagrad<C> {
    lr: C,
    l1: C,
    l2: C,
}

impl<C: Ordered> Rule<C> for ProximalAdagrad<C> {
    fn new(params: &Params<C>) -> Result<Self> {
        let [lr, l1, l2] = params.take()?;
        check_strengths(lr, false, &[("l1", l1), ("l2", l2)])?;
        Ok(Self { lr, l1, l2 })
    }

    #[inline(always)]
    fn step(&self, s: &mut State<C>, g: C) {
        let zero = C::of(0.0);
        s[1] = s[1] + g.square();
        let rate = self.lr * s[1].rsqrt();
        let moved = s[0] - g * rate;
        let shrunk = if self.l1 > zero { moved.sign() * (moved.abs() - rate * self.l1).max(zero) } else { moved };
        s[0] = shrunk / (C::of(1.0) + self.l2 * rate);
    }
}

/// Dual averaging. Slots: the sum of gradients, the sum of squared gradients.
pub(super) struct AdagradDa<C> {
    lr: C,
    l1: C,
    l2: C,
    global_step: C,
    sparse: bool,
}

impl<C: Ordered> Rule<C> for AdagradDa<C> {
    fn new(params: &Params<C>) -> Result<Self> {
        let [lr, l1, l2, global_step] = params.take()?;
        Ok(Self { lr, l1, l2, global_step, sparse: params.sparse })
    }

    #[inline(always)]
    fn step(&self, s: &mut State<C>, g: C) {
        let zero = C::of(0.0);
        s[1] = s[1] + g;
        s[2] = s[2] + g.square();
        let (sum, root) = (s[1], s[2].sqrt());
        // The sparse form divides by the number of steps first, so that it can tell apart where there was none.
        s[0] = if self.sparse {
            let mean = if self.l1 > zero {
                sum.sign() * (sum.abs() / self.global_step - self.l1).max(zero)
            } else {
                sum / self.global_step
            };
            -mean / (self.l2 + root / (self.global_step * self.lr))
        } else {
            let shrunk = if self.l1 > zero { sum.sign() * (sum.abs() - self.global_step * self.l1).max(zero) } else { sum };
            -(self.lr * shrunk) / (self.l2 * (self.global_step * self.lr) + root)
        };
    }
}

/// Follow the regularized leader. Slots: the sum of squared gradients, the linear term.
pub(super) struct Ftrl<C> {
    lr: C,
    l1: C,
    l2: C,
    l2_shrinkage: C,
    lr_power: C,
    root: bool,
    multiply: bool,
}

impl<C: Ordered> Ftrl<C> {
    fn of(params: &Params<C>, [lr, l1, l2, l2_shrinkage, lr_power]: [C; 5]) -> Result<Self> {
        let multiply = params.flag;
        check_strengths(lr, multiply, &[("l1", l1), ("l2", l2), ("l2 shrinkage", l2_shrinkage)])?;
        if !(lr_power <= C::of(0.0)) {
            bail!(InvalidArgument, "lr_power is not a non-positive scalar");
        }
        Ok(Ftrl { lr, l1, l2, l2_shrinkage, lr_power, root: lr_power == C::of(-0.5), multiply })
    }

    #[inline(always)]
    fn power(&self, x: C) -> C {
        if self.root { x.sqrt() } else { x.power(-self.lr_power) }
    }

    #[inline(always)]
    fn update(&self, s: &mut State<C>, g: C) {
        let (lr, two) = (self.lr, C::of(2.0));
        let shrunk = g + two * self.l2_shrinkage * s[0];
        let accum = s[1] + g.square();
        let (new, old) = (self.power(accum), self.power(s[1]));
        let (linear, bound, quadratic) = if self.multiply {
            (s[2] + shrunk * lr - (new - old) * s[0], self.l1 * lr, new + two * self.l2 * lr)
        } else {
            (s[2] + shrunk - (new - old) / lr * s[0], self.l1, new / lr + two * self.l2)
        };
        let clipped = if linear > bound {
            bound
        } else if linear < -bound {
            -bound
        } else {
            linear
        };
        s[0] = (clipped - linear) / quadratic;
        s[1] = accum;
        s[2] = linear;
    }
}

/// [`Ftrl`] without shrinkage.
pub(super) struct FtrlV1<C>(Ftrl<C>);

impl<C: Ordered> Rule<C> for FtrlV1<C> {
    fn new(params: &Params<C>) -> Result<Self> {
        let [lr, l1, l2, lr_power] = params.take()?;
        Ok(FtrlV1(Ftrl::of(params, [lr, l1, l2, C::of(0.0), lr_power])?))
    }

    #[inline(always)]
    fn step(&self, s: &mut State<C>, g: C) {
        self.0.update(s, g);
    }
}

impl<C: Ordered> Rule<C> for Ftrl<C> {
    fn new(params: &Params<C>) -> Result<Self> {
        Ftrl::of(params, params.take()?)
    }

    #[inline(always)]
    fn step(&self, s: &mut State<C>, g: C) {
        self.update(s, g);
    }
}

rule! {
    /// Slot: the accumulated gradient.
    Momentum<Field> [lr momentum] [flag use_nesterov] |r, s, g| {
        s[1] = s[1] * r.momentum + g;
        s[0] = s[0] - if r.use_nesterov { g * r.lr + s[1] * r.momentum * r.lr } else { s[1] * r.lr };
    }
}

rule! {
    /// Slot: the velocity, which holds the learning rate.
    KerasMomentum<Field> [lr momentum] [flag use_nesterov] |r, s, g| {
        s[1] = s[1] * r.momentum - g * r.lr;
        s[0] = s[0] + if r.use_nesterov { s[1] * r.momentum - g * r.lr } else { s[1] };
    }
}

/// Slots: the mean gradient, the mean squared gradient.
pub(super) struct Adam<C> {
    alpha: C,
    beta1: C,
    rest1: C,
    rest2: C,
    epsilon: C,
    use_nesterov: bool,
}

impl<C: Field> Rule<C> for Adam<C> {
    fn new(params: &Params<C>) -> Result<Self> {
        let [beta1_power, beta2_power, lr, beta1, beta2, epsilon] = params.take()?;
        let one = C::of(1.0);
        let alpha = lr * (one - beta2_power).sqrt() / (one - beta1_power);
        Ok(Adam { alpha, beta1, rest1: one - beta1, rest2: one - beta2, epsilon, use_nesterov: params.flag })
    }

    #[inline(always)]
    fn step(&self, s: &mut State<C>, g: C) {
        s[1] = s[1] + (g - s[1]) * self.rest1;
        s[2] = s[2] + (g.square() - s[2]) * self.rest2;
        let mean = if self.use_nesterov { g * self.rest1 + self.beta1 * s[1] } else { s[1] };
        s[0] = s[0] - (mean * self.alpha) / (s[2].sqrt() + self.epsilon);
    }
}

/// Adam whose mean squared gradient never falls. Slots: the mean gradient, the mean squared gradient, its maximum.
pub(super) struct Amsgrad<C>(Adam<C>);

impl<C: Ordered> Rule<C> for Amsgrad<C> {
    fn new(params: &Params<C>) -> Result<Self> {
        Ok(Amsgrad(Adam::new(params)?))
    }

    #[inline(always)]
    fn step(&self, s: &mut State<C>, g: C) {
        let r = &self.0;
        s[1] = s[1] + (g - s[1]) * r.rest1;
        s[2] = s[2] + (g.square() - s[2]) * r.rest2;
        s[3] = s[3].max(s[2]);
        s[0] = s[0] - (s[1] * r.alpha) / (s[3].sqrt() + r.epsilon);
    }
}

rule! {
    /// Slots: the mean gradient, the exponentially weighted infinity norm.
    AdaMax<Ordered> [beta1_power lr beta1 beta2 epsilon] |r, s, g| {
        let one = C::of(1.0);
        s[1] = s[1] + (g - s[1]) * (one - r.beta1);
        s[2] = (r.beta2 * s[2]).max(g.abs());
        s[0] = s[0] - r.lr / (one - r.beta1_power) * (s[1] / (s[2] + r.epsilon));
    }
}

rule! {
    /// Slots: the mean squared gradient, the accumulated update.
    RmsProp<Field> [lr rho momentum epsilon] |r, s, g| {
        s[1] = s[1] + (g.square() - s[1]) * (C::of(1.0) - r.rho);
        s[2] = s[2] * r.momentum + (g * r.lr) / (s[1] + r.epsilon).sqrt();
        s[0] = s[0] - s[2];
    }
}

rule! {
    /// Slots: the mean gradient, the mean squared gradient, the accumulated update.
    CenteredRmsProp<Field> [lr rho momentum epsilon] |r, s, g| {
        let rest = C::of(1.0) - r.rho;
        s[2] = s[2] + (g.square() - s[2]) * rest;
        s[1] = s[1] + (g - s[1]) * rest;
        let variance = (s[2] - s[1].square()) + r.epsilon;
        s[3] = s[3] * r.momentum + (g * r.lr) / variance.sqrt();
        s[0] = s[0] - s[3];
    }
}

rule! {
    /// Slot: the mean gradient.
    AddSign<Ordered> [lr alpha sign_decay beta] |r, s, g| {
        s[1] = s[1] * r.beta + g * (C::of(1.0) - r.beta);
        s[0] = s[0] - r.lr * (r.alpha + r.sign_decay * (g.sign() * s[1].sign())) * g;
    }
}

rule! {
    /// Slot: the mean gradient.
    PowerSign<Ordered> [lr logbase sign_decay beta] |r, s, g| {
        s[1] = s[1] * r.beta + g * (C::of(1.0) - r.beta);
        s[0] = s[0] - r.lr * (r.logbase * r.sign_decay * (g.sign() * s[1].sign())).exp() * g;
    }
}
