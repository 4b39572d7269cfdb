//! The ops by which optimizers update variables, dense and at indices, by reference and by handle.

mod field;
mod kernel;
mod pass;
mod rules;

use crate::graph::op::{Grad, Op};
use crate::ops::state::number_type;
use kernel::{infer, kernel};

/// The records of one rule: by reference and by handle, dense and at indices. The slots' names come first, then the other
/// inputs, and the rule's own attributes.
macro_rules! training {
    (@attrs dense $($attr:literal)*) => { &[number_type!("T"), "use_locking: bool = false", $($attr),*] };
    (@attrs sparse $($attr:literal)*) => {
        &[number_type!("T"), "Tindices: {int32, int64}", "use_locking: bool = false", $($attr),*]
    };
    (@op reference $name:literal, $form:ident [$($slot:literal)*] [$($input:literal)*] {$($attr:literal)*} $class:ident $rule:ident) => {
        Op {
            name: $name,
            ins: &[$(concat!($slot, ": Ref(T)"),)* $($input),*],
            outs: &["out: Ref(T)"],
            attrs: training!(@attrs $form $($attr)*),
            shape: infer,
            kernel: kernel!($class $rule),
            grad: Grad::Missing,
            rows: &[],
        }
    };
    (@op handle $name:literal, $form:ident [$($slot:literal)*] [$($input:literal)*] {$($attr:literal)*} $class:ident $rule:ident) => {
        Op {
            name: $name,
            ins: &[$(concat!($slot, ": resource"),)* $($input),*],
            outs: &[],
            attrs: training!(@attrs $form $($attr)*),
            shape: infer,
            kernel: kernel!($class $rule),
            grad: Grad::Missing,
            rows: &[],
        }
    };
    ($($class:ident $rule:ident $slots:tt $attrs:tt {
        $($by:ident $form:ident $name:literal $input:tt;)*
    })*) => {
        &[$($(training!(@op $by $name, $form $slots $input $attrs $class $rule)),*),*]
    };
}

pub(super) static OPS: &[Op] = training! {
    floats AdaMax ["var" "m" "v"] {} {
        reference dense "ApplyAdaMax" ["beta1_power: T" "lr: T" "beta1: T" "beta2: T" "epsilon: T" "grad: T"];
        handle dense "ResourceApplyAdaMax" ["beta1_power: T" "lr: T" "beta1: T" "beta2: T" "epsilon: T" "grad: T"];
    }
    inexact Adadelta ["var" "accum" "accum_update"] {} {
        reference dense "ApplyAdadelta" ["lr: T" "rho: T" "epsilon: T" "grad: T"];
        handle dense "ResourceApplyAdadelta" ["lr: T" "rho: T" "epsilon: T" "grad: T"];
        reference sparse "SparseApplyAdadelta" ["lr: T" "rho: T" "epsilon: T" "grad: T" "indices: Tindices"];
        handle sparse "ResourceSparseApplyAdadelta" ["lr: T" "rho: T" "epsilon: T" "grad: T" "indices: Tindices"];
    }
    inexact Adagrad ["var" "accum"] {"update_slots: bool = true"} {
        reference dense "ApplyAdagrad" ["lr: T" "grad: T"];
        handle dense "ResourceApplyAdagrad" ["lr: T" "grad: T"];
        reference sparse "SparseApplyAdagrad" ["lr: T" "grad: T" "indices: Tindices"];
        handle sparse "ResourceSparseApplyAdagrad" ["lr: T" "grad: T" "indices: Tindices"];
    }
    floats AdagradDa ["var" "gradient_accumulator" "gradient_squared_accumulator"] {} {
        reference dense "ApplyAdagradDA" ["grad: T" "lr: T" "l1: T" "l2: T" "global_step: int64"];
        handle dense "ResourceApplyAdagradDA" ["grad: T" "lr: T" "l1: T" "l2: T" "global_step: int64"];
        reference sparse "SparseApplyAdagradDA" ["grad: T" "indices: Tindices" "lr: T" "l1: T" "l2: T" "global_step: int64"];
        handle sparse "ResourceSparseApplyAdagradDA" ["grad: T" "indices: Tindices" "lr: T" "l1: T" "l2: T" "global_step: int64"];
    }
    inexact AdagradV2 ["var" "accum"] {"update_slots: bool = true"} {
        reference dense "ApplyAdagradV2" ["lr: T" "epsilon: T" "grad: T"];
        handle dense "ResourceApplyAdagradV2" ["lr: T" "epsilon: T" "grad: T"];
        reference sparse "SparseApplyAdagradV2" ["lr: T" "epsilon: T" "grad: T" "indices: Tindices"];
        handle sparse "ResourceSparseApplyAdagradV2" ["lr: T" "epsilon: T" "grad: T" "indices: Tindices"];
    }
    inexact Adam ["var" "m" "v"] {"use_nesterov: bool = false"} {
        reference dense "ApplyAdam" ["beta1_power: T" "beta2_power: T" "lr: T" "beta1: T" "beta2: T" "epsilon: T" "grad: T"];
        handle dense "ResourceApplyAdam" ["beta1_power: T" "beta2_power: T" "lr: T" "beta1: T" "beta2: T" "epsilon: T" "grad: T"];
    }
    floats Amsgrad ["var" "m" "v" "vhat"] {} {
        handle dense "ResourceApplyAdamWithAmsgrad" ["beta1_power: T" "beta2_power: T" "lr: T" "beta1: T" "beta2: T" "epsilon: T" "grad: T"];
    }
    floats AddSign ["var" "m"] {} {
        reference dense "ApplyAddSign" ["lr: T" "alpha: T" "sign_decay: T" "beta: T" "grad: T"];
        handle dense "ResourceApplyAddSign" ["lr: T" "alpha: T" "sign_decay: T" "beta: T" "grad: T"];
    }
    inexact CenteredRmsProp ["var" "mg" "ms" "mom"] {} {
        reference dense "ApplyCenteredRMSProp" ["lr: T" "rho: T" "momentum: T" "epsilon: T" "grad: T"];
        handle dense "ResourceApplyCenteredRMSProp" ["lr: T" "rho: T" "momentum: T" "epsilon: T" "grad: T"];
        reference sparse "SparseApplyCenteredRMSProp" ["lr: T" "rho: T" "momentum: T" "epsilon: T" "grad: T" "indices: Tindices"];
        handle sparse "ResourceSparseApplyCenteredRMSProp" ["lr: T" "rho: T" "momentum: T" "epsilon: T" "grad: T" "indices: Tindices"];
    }
    floats FtrlV1 ["var" "accum" "linear"] {"multiply_linear_by_lr: bool = false"} {
        reference dense "ApplyFtrl" ["grad: T" "lr: T" "l1: T" "l2: T" "lr_power: T"];
        handle dense "ResourceApplyFtrl" ["grad: T" "lr: T" "l1: T" "l2: T" "lr_power: T"];
        reference sparse "SparseApplyFtrl" ["grad: T" "indices: Tindices" "lr: T" "l1: T" "l2: T" "lr_power: T"];
        handle sparse "ResourceSparseApplyFtrl" ["grad: T" "indices: Tindices" "lr: T" "l1: T" "l2: T" "lr_power: T"];
    }
    floats Ftrl ["var" "accum" "linear"] {"multiply_linear_by_lr: bool = false"} {
        reference dense "ApplyFtrlV2" ["grad: T" "lr: T" "l1: T" "l2: T" "l2_shrinkage: T" "lr_power: T"];
        handle dense "ResourceApplyFtrlV2" ["grad: T" "lr: T" "l1: T" "l2: T" "l2_shrinkage: T" "lr_power: T"];
        reference sparse "SparseApplyFtrlV2" ["grad: T" "indices: Tindices" "lr: T" "l1: T" "l2: T" "l2_shrinkage: T" "lr_power: T"];
        handle sparse "ResourceSparseApplyFtrlV2" ["grad: T" "indices: Tindices" "lr: T" "l1: T" "l2: T" "l2_shrinkage: T" "lr_power: T"];
    }
    inexact GradientDescent ["var"] {} {
        reference dense "ApplyGradientDescent" ["alpha: T" "delta: T"];
        handle dense "ResourceApplyGradientDescent" ["alpha: T" "delta: T"];
    }
    inexact KerasMomentum ["var" "accum"] {"use_nesterov: bool = false"} {
        handle dense "ResourceApplyKerasMomentum" ["lr: T" "grad: T" "momentum: T"];
        handle sparse "ResourceSparseApplyKerasMomentum" ["lr: T" "grad: T" "indices: Tindices" "momentum: T"];
    }
    inexact Momentum ["var" "accum"] {"use_nesterov: bool = false"} {
        reference dense "ApplyMomentum" ["lr: T" "grad: T" "momentum: T"];
        handle dense "ResourceApplyMomentum" ["lr: T" "grad: T" "momentum: T"];
        reference sparse "SparseApplyMomentum" ["lr: T" "grad: T" "indices: Tindices" "momentum: T"];
        handle sparse "ResourceSparseApplyMomentum" ["lr: T" "grad: T" "indices: Tindices" "momentum: T"];
    }
    floats PowerSign ["var" "m"] {} {
        reference dense "ApplyPowerSign" ["lr: T" "logbase: T" "sign_decay: T" "beta: T" "grad: T"];
        handle dense "ResourceApplyPowerSign" ["lr: T" "logbase: T" "sign_decay: T" "beta: T" "grad: T"];
    }
    floats ProximalAdagrad ["var" "accum"] {} {
        reference dense "ApplyProximalAdagrad" ["lr: T" "l1: T" "l2: T" "grad: T"];
        handle dense "ResourceApplyProximalAdagrad" ["lr: T" "l1: T" "l2: T" "grad: T"];
        reference sparse "SparseApplyProximalAdagrad" ["lr: T" "l1: T" "l2: T" "grad: T" "indices: Tindices"];
        handle sparse "ResourceSparseApplyProximalAdagrad" ["lr: T" "l1: T" "l2: T" "grad: T" "indices: Tindices"];
    }
    floats ProximalGradientDescent ["var"] {} {
        reference dense "ApplyProximalGradientDescent" ["alpha: T" "l1: T" "l2: T" "delta: T"];
        handle dense "ResourceApplyProximalGradientDescent" ["alpha: T" "l1: T" "l2: T" "delta: T"];
        reference sparse "SparseApplyProximalGradientDescent" ["alpha: T" "l1: T" "l2: T" "grad: T" "indices: Tindices"];
        handle sparse "ResourceSparseApplyProximalGradientDescent" ["alpha: T" "l1: T" "l2: T" "grad: T" "indices: Tindices"];
    }
    inexact RmsProp ["var" "ms" "mom"] {} {
        reference dense "ApplyRMSProp" ["lr: T" "rho: T" "momentum: T" "epsilon: T" "grad: T"];
        handle dense "ResourceApplyRMSProp" ["lr: T" "rho: T" "momentum: T" "epsilon: T" "grad: T"];
        reference sparse "SparseApplyRMSProp" ["lr: T" "rho: T" "momentum: T" "epsilon: T" "grad: T" "indices: Tindices"];
        handle sparse "ResourceSparseApplyRMSProp" ["lr: T" "rho: T" "momentum: T" "epsilon: T" "grad: T" "indices: Tindices"];
    }
};
