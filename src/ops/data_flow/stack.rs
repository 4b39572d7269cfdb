//! Stacks, in which gradients of loops find the values of each iteration again.

use super::{handle, record};
use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, KernelCtx, Op};
use crate::ops::shape;
use crate::tensor::{DType, Resource, Tensor};
use std::sync::{Mutex, MutexGuard};

const NONE: Grad = Grad::None("a stack holds no value of its own");

pub(super) static OPS: &[Op] = &[
    record("Stack", &[], &["handle: Ref(string)"], CREATE, handle::shape, create, NONE),
    record("StackV2", &["max_size: int32"], &["handle: resource"], CREATE, handle::shape, create, Grad::Missing),
    record("StackPush", &["handle: Ref(string)", "elem: T"], &["output: T"], PUSH, push_shape, push, NONE),
    record("StackPushV2", &["handle: resource", "elem: T"], &["output: T"], PUSH, push_shape, push, Grad::Missing),
    record("StackPop", &["handle: Ref(string)"], &["elem: elem_type"], POP, shape::unknown, pop, NONE),
    record("StackPopV2", &["handle: resource"], &["elem: elem_type"], POP, shape::unknown, pop, Grad::Missing),
    record("StackClose", &["handle: Ref(string)"], &[], &[], handle::check_shape, close, NONE),
    record("StackCloseV2", &["handle: resource"], &[], &[], handle::check_shape, close, Grad::Missing),
];

const CREATE: &[&str] = &["elem_type: type", "stack_name: string = ''"];
const PUSH: &[&str] = &["T: type", "swap_memory: bool = false"];
const POP: &[&str] = &["elem_type: type"];

struct Stack {
    name: String,
    dtype: DType,
    max_size: usize,
    /// None once it is closed.
    elements: Mutex<Option<Vec<Tensor>>>,
}

impl Resource for Stack {
    fn kind(&self) -> &'static str {
        "Stack"
    }
}

impl Stack {
    fn elements(&self) -> MutexGuard<'_, Option<Vec<Tensor>>> {
        self.elements.lock().unwrap_or_else(|e| e.into_inner())
    }
}

fn push_shape(ctx: &mut InferCtx) -> Result<()> {
    ctx.set(0, ctx.input(1))
}

fn create(ctx: &mut KernelCtx) -> Result<()> {
    let mut max_size = usize::MAX;
    if ctx.num_inputs() > 0 {
        let size = ctx.input(0)?;
        if !size.is_scalar() {
            bail!(InvalidArgument, "Stack size must be a scalar, but had shape: {:?}", size.dims());
        }
        max_size = usize::try_from(size.item_i64()?).unwrap_or(usize::MAX);
    }
    let node = ctx.node();
    let base = match node.string("stack_name")? {
        "" => &node.name,
        name => name,
    };
    let name = handle::unique_name(base);
    let dtype = node.dtype("elem_type")?;
    let stack = Stack { name: name.clone(), dtype, max_size, elements: Mutex::new(Some(Vec::new())) };
    handle::output(ctx, "_stacks", &name, std::sync::Arc::new(stack))
}

fn push(ctx: &mut KernelCtx) -> Result<()> {
    let stack = handle::input::<Stack>(ctx)?;
    let value = ctx.take(1)?;
    if value.dtype() != stack.dtype {
        bail!(InvalidArgument, "Must have type {} but got {}", stack.dtype, value.dtype());
    }
    match stack.elements().as_mut() {
        None => bail!(InvalidArgument, "Stack[{}] has already been closed.", stack.name),
        Some(elements) if elements.len() >= stack.max_size => {
            bail!(InvalidArgument, "Stack[{}] overflowed its max_size ({})", stack.name, stack.max_size)
        }
        Some(elements) => elements.push(value.clone()),
    }
    ctx.set(0, value)
}

fn pop(ctx: &mut KernelCtx) -> Result<()> {
    let stack = handle::input::<Stack>(ctx)?;
    let value = match stack.elements().as_mut() {
        None => bail!(InvalidArgument, "Stack[{}] has already been closed.", stack.name),
        Some(elements) => elements.pop(),
    };
    let Some(value) = value else { bail!(InvalidArgument, "Stack[{}] is empty when calling Pop().", stack.name) };
    ctx.set(0, value)
}

fn close(ctx: &mut KernelCtx) -> Result<()> {
    *handle::input::<Stack>(ctx)?.elements() = None;
    Ok(())
}
