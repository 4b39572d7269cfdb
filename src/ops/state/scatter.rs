//! Scattered updates of variables, by reference and by handle.

use super::rows::{checked_rows, scatter_nd_rows, update_rows};
use super::{Update, number_type, resource_error, variable_input, variable_shape};
use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::graph::{Graph, Operation, Output};
use crate::tensor::{DType, Shape};

macro_rules! scatters {
    (
        refs: $($name:literal $update:ident $attr:expr;)*
        resources: $($r_name:literal $r_update:ident $r_attr:expr;)*
        nd: $($nd_name:literal $nd_update:ident $nd_attr:expr, $nd_locking:literal;)*
        resources_nd: $($rnd_name:literal $rnd_update:ident;)*
    ) => {
        &[
            $(Op {
                name: $name,
                ins: &["ref: Ref(T)", "indices: Tindices", "updates: T"],
                outs: &["output_ref: Ref(T)"],
                attrs: &[$attr, "Tindices: {int32, int64}",
                    if matches!(Update::$update, Update::Set) { "use_locking: bool = true" } else { "use_locking: bool = false" }],
                shape: scatter_shape,
                kernel: Kernel::Stateful(|ctx| scatter(ctx, Update::$update)),
                grad: scatter_grad(Update::$update),
                rows: &[],
            },)*
            $(Op {
                name: $r_name,
                ins: &["resource: resource", "indices: Tindices", "updates: dtype"],
                outs: &[],
                attrs: &[$r_attr, "Tindices: {int32, int64}"],
                shape: resource_scatter_shape,
                kernel: Kernel::Stateful(|ctx| scatter(ctx, Update::$r_update)),
                grad: Grad::Missing,
                rows: &[],
            },)*
            $(Op {
                name: $nd_name,
                ins: &["ref: Ref(T)", "indices: Tindices", "updates: T"],
                outs: &["output_ref: Ref(T)"],
                attrs: &[$nd_attr, "Tindices: {int32, int64}", $nd_locking],
                shape: scatter_nd_shape,
                kernel: Kernel::Stateful(|ctx| scatter_nd(ctx, Update::$nd_update)),
                grad: if matches!(Update::$nd_update, Update::Set) { Grad::None("changes a variable") } else { scatter_grad(Update::$nd_update) },
                rows: &[],
            },)*
            $(Op {
                name: $rnd_name,
                ins: &["ref: resource", "indices: Tindices", "updates: T"],
                outs: &[],
                attrs: &["T: type", "Tindices: {int32, int64}", "use_locking: bool = true"],
                shape: scatter_nd_shape,
                kernel: Kernel::Stateful(|ctx| scatter_nd(ctx, Update::$rnd_update)),
                grad: Grad::Missing,
                rows: &[],
            },)*
        ]
    };
}

pub(super) static OPS: &[Op] = scatters! {
    refs:
    "ScatterUpdate" Set "T: type";
    "ScatterAdd" Add number_type!("T");
    "ScatterSub" Sub number_type!("T");
    "ScatterMul" Mul number_type!("T");
    "ScatterDiv" Div number_type!("T");
    "ScatterMin" Min "T: {half, bfloat16, float, double, int32, int64}";
    "ScatterMax" Max "T: {half, bfloat16, float, double, int32, int64}";
    resources:
    "ResourceScatterUpdate" Set "dtype: type";
    "ResourceScatterAdd" Add number_type!("dtype");
    "ResourceScatterSub" Sub number_type!("dtype");
    "ResourceScatterMul" Mul number_type!("dtype");
    "ResourceScatterDiv" Div number_type!("dtype");
    "ResourceScatterMin" Min number_type!("dtype");
    "ResourceScatterMax" Max number_type!("dtype");
    nd:
    "ScatterNdUpdate" Set "T: type", "use_locking: bool = true";
    "ScatterNdAdd" Add number_type!("T"), "use_locking: bool = false";
    "ScatterNdSub" Sub number_type!("T"), "use_locking: bool = false";
    "ScatterNdMin" Min number_type!("T"), "use_locking: bool = false";
    "ScatterNdMax" Max number_type!("T"), "use_locking: bool = false";
    resources_nd:
    "ResourceScatterNdUpdate" Set;
    "ResourceScatterNdAdd" Add;
    "ResourceScatterNdSub" Sub;
    "ResourceScatterNdMin" Min;
    "ResourceScatterNdMax" Max;
};

/// TensorFlow declares most scattered updates by reference as not differentiable, and says nothing of the others.
const fn scatter_grad(update: Update) -> Grad {
    match update {
        Update::Set | Update::Min | Update::Max => Grad::Missing,
        _ => Grad::None("changes a variable"),
    }
}

fn check_updates(ctx: &InferCtx, variable: &Shape) -> Result<()> {
    let (indices, updates) = (ctx.input(1), ctx.input(2));
    let row = variable.slice_from(1);
    if updates.rank() != Some(0) {
        updates.merge(&indices.concatenate(&row))?;
    }
    Ok(())
}

fn scatter_shape(ctx: &mut InferCtx) -> Result<()> {
    let variable = ctx.input(0);
    check_updates(ctx, &variable)?;
    ctx.set(0, variable)
}

fn resource_scatter_shape(ctx: &mut InferCtx) -> Result<()> {
    check_updates(ctx, &variable_shape(ctx, 0))
}

fn scatter_nd_shape(ctx: &mut InferCtx) -> Result<()> {
    let variable = variable_shape(ctx, 0);
    check_scatter_nd(&ctx.input(1), &ctx.input(2), &variable)?;
    if ctx.num_outputs() > 0 {
        ctx.set(0, variable)?;
    }
    Ok(())
}

/// Checks the shapes of indices and updates of a `ScatterNd` op against that of what they update.
///
/// # Errors
/// `InvalidArgument` where known sizes don't fit.
pub(crate) fn check_scatter_nd(indices: &Shape, updates: &Shape, target: &Shape) -> Result<()> {
    let some = |s: &Shape| s.num_elements().is_some_and(|n| n > 0);
    if target.num_elements() == Some(0) && (some(indices) || some(updates)) {
        bail!(InvalidArgument, "Indices and updates specified for empty input");
    }
    let (Some(rank), Some(updates_rank)) = (indices.rank(), updates.rank()) else { return Ok(()) };
    let Some(depth) = indices.dim(-1) else { return Ok(()) };
    if updates_rank == 0 {
        return Ok(());
    }
    let outer = rank as isize - 1;
    let place = |what: &str, at: isize| format!("dimensions of {what} from {at} on must match those of updates {updates}");
    let prefix = indices.slice(0, outer).merge(&updates.slice(0, outer));
    prefix.map_err(|e| e.within(place(&format!("indices {indices}"), 0)))?;
    let suffix = target.with_rank_at_least(depth)?.slice_from(depth as isize).merge(&updates.slice_from(outer));
    suffix.map(drop).map_err(|e| e.within(place(&format!("the input {target}"), depth as isize)))
}

fn scatter(ctx: &mut KernelCtx, update: Update) -> Result<()> {
    let variable = variable_input(ctx, 0)?;
    let (indices, updates) = (ctx.take(1)?, ctx.take(2)?);
    let change = |target: &mut crate::tensor::Tensor| {
        let Some((&limit, row)) = target.dims().split_first() else {
            bail!(InvalidArgument, "params must be at least 1-D, got shape []");
        };
        let asked = indices.dims().iter().chain(row);
        if !updates.is_scalar() && !asked.eq(updates.dims()) {
            bail!(
                InvalidArgument,
                "Must have updates.shape = indices.shape + params.shape[1:] or updates.shape = [], got updates.shape {:?}, \
                 indices.shape {:?}, params.shape {:?}",
                updates.dims(),
                indices.dims(),
                target.dims()
            );
        }
        let len = row.iter().product();
        update_rows(update, target, &checked_rows(&indices, limit)?, len, &updates)
    };
    if ctx.num_outputs() > 0 {
        variable.update(change)?;
        return ctx.forward(0, 0);
    }
    variable.update(change).map_err(|e| resource_error(e, &variable))
}

fn scatter_nd(ctx: &mut KernelCtx, update: Update) -> Result<()> {
    let variable = variable_input(ctx, 0)?;
    let (indices, updates) = (ctx.take(1)?, ctx.take(2)?);
    let change = |target: &mut crate::tensor::Tensor| {
        let (rows, len) = scatter_nd_rows(&indices, updates.dims(), target.dims())?;
        update_rows(update, target, &rows, len, &updates)
    };
    if ctx.num_outputs() > 0 {
        variable.update(change)?;
        return ctx.forward(0, 0);
    }
    variable.update(change).map_err(|e| resource_error(e, &variable))
}

macro_rules! builders {
    ($($(#[$doc:meta])* $method:ident => $op:literal;)*) => {
        impl Graph {
            $($(#[$doc])*
            ///
            /// # Errors
            /// `InvalidArgument` for a tensor that is no reference, or shapes or dtypes that don't fit.
            pub fn $method(&self, variable: Output, indices: Output, updates: Output) -> Result<Output> {
                self.op($op).input(variable).input(indices).input(updates).output()
            })*
        }
    };
}

builders! {
    /// Replaces the rows at `indices` of a variable given by reference, and returns the reference (`tf.scatter_update`).
    scatter_update => "ScatterUpdate";
    /// Adds to the rows at `indices` of a variable given by reference (`tf.scatter_add`).
    scatter_add => "ScatterAdd";
    /// Subtracts from the rows at `indices` of a variable given by reference (`tf.scatter_sub`).
    scatter_sub => "ScatterSub";
    /// Multiplies the rows at `indices` of a variable given by reference (`tf.scatter_mul`).
    scatter_mul => "ScatterMul";
    /// Divides the rows at `indices` of a variable given by reference (`tf.scatter_div`).
    scatter_div => "ScatterDiv";
    /// Lowers the rows at `indices` of a variable given by reference to at most the updates (`tf.scatter_min`).
    scatter_min => "ScatterMin";
    /// Raises the rows at `indices` of a variable given by reference to at least the updates (`tf.scatter_max`).
    scatter_max => "ScatterMax";
    /// Replaces the slices at index tuples of a variable given by reference (`tf.scatter_nd_update`).
    scatter_nd_update => "ScatterNdUpdate";
    /// Adds to the slices at index tuples of a variable given by reference (`tf.scatter_nd_add`).
    scatter_nd_add => "ScatterNdAdd";
    /// Subtracts from the slices at index tuples of a variable given by reference (`tf.scatter_nd_sub`).
    scatter_nd_sub => "ScatterNdSub";
}

impl Graph {
    /// Updates the rows at `indices` of a variable given by handle: `op` is `Add`, `Sub`, `Mul`, `Div`, `Min`, `Max` or
    /// `Update`, the end of the op's type.
    ///
    /// # Errors
    /// `NotFound` for any other `op`; `InvalidArgument` for a tensor that is no handle, or shapes or dtypes that don't
    /// fit.
    pub fn resource_scatter(&self, op: &str, handle: Output, indices: Output, updates: Output) -> Result<Operation> {
        if self.dtype(handle)? != DType::Resource {
            bail!(InvalidArgument, "expected a handle to a variable, got {}", self.tensor_name(handle));
        }
        self.op(&format!("ResourceScatter{op}")).input(handle).input(indices).input(updates).finish()
    }
}
