//! The kernels of all training ops: they find variable, slots, gradient and settings by the op's interface, and step the
//! elements by the op's rule.

use super::field::Stored;
use super::pass;
use super::rules::{Params, Rule};
use crate::error::{Error, Result, bail};
use crate::graph::op::{InferCtx, KernelCtx, Op, PrepareCtx, Variable};
use crate::ops::state::{position, variable_input, variable_shape};
use crate::tensor::{DType, Tensor};
use smallvec::SmallVec;

/// Where the inputs of a training op stand.
#[derive(Clone)]
pub(super) struct Layout {
    /// The variable and its slots come first.
    slots: usize,
    by_handle: bool,
    grad: usize,
    indices: Option<usize>,
    scalars: SmallVec<[usize; 8]>,
}

impl Layout {
    fn of(op: &'static Op) -> Layout {
        let inputs = &op.signature().inputs;
        let by_handle = inputs.first().is_some_and(|i| !i.is_ref);
        let is_slot = |i: &crate::graph::op::ArgSpec| i.is_ref || i.dtype == crate::graph::op::ArgType::Fixed(DType::Resource);
        let at = |name: &str| inputs.iter().position(|i| i.name == name);
        let slots = inputs.iter().take_while(|i| is_slot(i)).count();
        let (grad, indices) = (at("grad").or(at("delta")).unwrap_or(slots), at("indices"));
        let scalars = (slots..inputs.len()).filter(|&i| i != grad && Some(i) != indices).collect();
        Layout { slots, by_handle, grad, indices, scalars }
    }
}

/// What a kernel reads from its node once.
pub(super) struct Training {
    layout: Layout,
    flag: bool,
    names: SmallVec<[&'static str; 12]>,
}

impl Training {
    pub fn prepare(ctx: &PrepareCtx) -> Result<Training> {
        let Some(op) = crate::ops::lookup(ctx.node.op) else { bail!(NotFound, "Op type not registered '{}'", ctx.node.op) };
        let flag = |name: &str| ctx.node.boolean(name).ok();
        let flag = flag("use_nesterov").or(flag("update_slots")).or(flag("multiply_linear_by_lr")).unwrap_or(false);
        let names = op.signature().inputs.iter().map(|i| i.name.as_str()).collect();
        Ok(Training { layout: Layout::of(op), flag, names })
    }

    /// One step of the op whose elements are `T`, by the rule `R`.
    pub fn run<T: Stored, R: Rule<T::Field>>(&self, ctx: &mut KernelCtx) -> Result<()> {
        let layout = &self.layout;
        let mut scalars: SmallVec<[T::Field; 8]> = SmallVec::new();
        for &input in &layout.scalars {
            scalars.push(self.scalar::<T>(ctx, input)?);
        }
        let rule = R::new(&Params { scalars: &scalars, flag: self.flag, sparse: layout.indices.is_some() })?;
        let variables =
            (0..layout.slots).map(|i| variable_input(ctx, i)).collect::<Result<SmallVec<[std::sync::Arc<Variable>; 4]>>>()?;
        if layout.by_handle && variables.iter().any(|v| !v.is_initialized()) {
            bail!(Internal, "Invalid variable reference: a variable of {} has no value", ctx.node().name);
        }
        let grad = ctx.take(layout.grad)?;
        let indices = layout.indices.map(|i| ctx.take(i)).transpose()?;
        let borrowed: SmallVec<[&Variable; 4]> = variables.iter().map(|v| &**v).collect();
        Variable::update_all(&borrowed, |tensors| match &indices {
            None => self.dense::<T, R>(tensors, &grad, &rule),
            Some(indices) => self.sparse::<T, R>(tensors, &grad, indices, &rule),
        })?;
        if layout.by_handle { Ok(()) } else { ctx.forward(0, 0) }
    }

    fn scalar<T: Stored>(&self, ctx: &KernelCtx, input: usize) -> Result<T::Field> {
        let value = ctx.input(input)?;
        if !value.is_scalar() {
            bail!(InvalidArgument, "{} is not a scalar: {}", self.names[input], value.shape());
        }
        if value.dtype() == DType::Int64 {
            return Ok(super::field::Field::of(value.item_i64()? as f64));
        }
        Ok(value.item::<T>()?.load())
    }

    fn same_shapes(&self, tensors: &[&mut Tensor]) -> Result<()> {
        for (slot, tensor) in tensors.iter().enumerate().skip(1) {
            if tensor.dims() != tensors[0].dims() {
                bail!(
                    InvalidArgument,
                    "{} and {} do not have the same shape: {} {}",
                    self.names[0],
                    self.names[slot],
                    tensors[0].shape(),
                    tensor.shape()
                );
            }
        }
        Ok(())
    }

    fn dense<T: Stored, R: Rule<T::Field>>(&self, tensors: &mut [&mut Tensor], grad: &Tensor, rule: &R) -> Result<()> {
        self.same_shapes(tensors)?;
        if grad.dims() != tensors[0].dims() {
            bail!(
                InvalidArgument,
                "{} and {} do not have the same shape: {} {}",
                self.names[0],
                self.names[self.layout.grad],
                tensors[0].shape(),
                grad.shape()
            );
        }
        let mut slots = tensors.iter_mut().map(|t| t.as_mut_slice::<T>()).collect::<Result<SmallVec<[&mut [T]; 4]>>>()?;
        pass::dense(
            &mut slots,
            grad.as_slice::<T>()?,
            #[inline(always)]
            |s, g| rule.step(s, g),
        );
        Ok(())
    }

    fn sparse<T: Stored, R: Rule<T::Field>>(
        &self,
        tensors: &mut [&mut Tensor],
        grad: &Tensor,
        indices: &Tensor,
        rule: &R,
    ) -> Result<()> {
        self.same_shapes(tensors)?;
        let dims = tensors[0].dims().to_vec();
        let Some((&limit, inner)) = dims.split_first() else {
            bail!(InvalidArgument, "{} must be at least 1 dimensional", self.names[0]);
        };
        let [count] = *indices.dims() else { bail!(InvalidArgument, "indices must be one-dimensional") };
        if grad.dims().first() != Some(&count) {
            bail!(InvalidArgument, "grad must be the same size as indices in the first dimension.");
        }
        if grad.dims()[1..] != *inner {
            bail!(
                InvalidArgument,
                "{} and grad must match in all but the first dimension: {} {}",
                self.names[0],
                tensors[0].shape(),
                grad.shape()
            );
        }
        let len: usize = inner.iter().product();
        if len == 0 && count > 0 {
            bail!(InvalidArgument, "Inner dimension should be greater than zero.");
        }
        let grad = grad.as_slice::<T>()?;
        let mut slots = tensors.iter_mut().map(|t| t.as_mut_slice::<T>()).collect::<Result<SmallVec<[&mut [T]; 4]>>>()?;
        for (at, &index) in indices.to_i64s()?.iter().enumerate() {
            let Some(row) = usize::try_from(index).ok().filter(|&row| row < limit) else {
                bail!(
                    InvalidArgument,
                    "Index {index} at offset {at} in indices is out of range: indices{} is not in [0, {limit})",
                    position(&[count], at)
                );
            };
            let mut rows: SmallVec<[&mut [T]; 4]> = slots.iter_mut().map(|s| &mut s[row * len..(row + 1) * len]).collect();
            pass::run(
                &mut rows,
                &grad[at * len..(at + 1) * len],
                #[inline(always)]
                |s: &mut pass::State<T::Field>, g| rule.step(s, g),
            );
        }
        Ok(())
    }
}

/// Makes the kernel of a training op from its rule, for floats or for complex numbers too.
macro_rules! kernel {
    ($class:ident $rule:ident) => {
        crate::graph::op::Kernel::StatefulPrepared(|ctx| {
            let training = crate::ops::training::kernel::Training::prepare(ctx)?;
            let dtype = ctx.node.dtype("T")?;
            crate::tensor::dispatch!(dtype, $class, T => {
                Ok(Box::new(move |ctx: &mut crate::graph::op::KernelCtx| {
                    training.run::<T, crate::ops::training::rules::$rule<<T as crate::ops::training::field::Stored>::Field>>(ctx)
                }))
            })
        })
    };
}
pub(super) use kernel;

/// The shape function of all training ops: variable, slots and gradient fit, settings are scalars.
pub(super) fn infer(ctx: &mut InferCtx) -> Result<()> {
    let layout = Layout::of(ctx.op);
    let mut shape = variable_shape(ctx, 0);
    for slot in 1..layout.slots {
        shape = shape.merge(&variable_shape(ctx, slot))?;
    }
    for &scalar in &layout.scalars {
        ctx.input(scalar).with_rank(0)?;
    }
    let grad = ctx.input(layout.grad);
    match layout.indices {
        None => shape = shape.merge(&grad)?,
        Some(indices) => {
            let indices = ctx.input(indices).with_rank(1)?;
            let rows = shape.slice_from(1);
            let expected = indices.concatenate(&rows);
            expected.merge(&grad).map_err(|e: Error| e.within("the gradient of rows"))?;
        }
    }
    if ctx.num_outputs() > 0 {
        ctx.set(0, shape)?;
    }
    Ok(())
}
